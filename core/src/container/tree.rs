//! A container's files, seen from outside: what its layers and its writable directory show together.

use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{Mode, OFlags};

use super::take::Held;
use super::{Container, create};
use crate::cancel::CancelToken;
use crate::engine::Inner;
use crate::error::{Call, Error, ErrorKind, Result};
use crate::image;
use crate::process::reader::View;
use crate::snapshot;
use crate::state::{ContainerRow, Locked};

/// The open files of a container.
pub(super) struct Tree {
    pub(super) row: ContainerRow,
    /// Names of its image's layers, uppermost first.
    pub(super) lower: Vec<String>,
    /// The directory that has `upper`.
    pub(super) directory: OwnedFd,
    pub(super) running: bool,
    /// Keeps a container that does not run from being started or removed.
    _lock: Option<Locked>,
}

impl Container {
    /// Opens the container's files.
    pub(super) fn tree(&self, inner: &Inner, cancel: &CancelToken) -> Result<Tree> {
        let (row, lock) = match self.hold(inner, cancel)? {
            Held::Running(row) => (row, None),
            Held::Stopped { row, lock, .. } => (row, Some(lock)),
        };
        let running = lock.is_none();
        let image = image::resolve(&inner.store, &row.image_id)?;
        let lower = snapshot::ensure(&inner.store, inner, &image, cancel)?;
        let directory = open(&create::directory(inner, self.id()))?;
        Ok(Tree { row, lower, directory, running, _lock: lock })
    }

    /// Fails if the container was removed while its files were read.
    pub(super) fn still_there(&self, inner: &Inner) -> Result<()> {
        self.row(inner).map(drop).map_err(|error| match error.kind() {
            ErrorKind::ContainerNotFound => Error::new(
                ErrorKind::InvalidState,
                format!("container \"{}\" was removed while its files were read", self.name()),
            )
            .with_object(self.name()),
            _ => error,
        })
    }
}

impl Tree {
    pub(super) fn view<'a>(&'a self, inner: &'a Inner) -> View<'a> {
        View::Merged {
            layers: inner.store.layers.as_fd(),
            lower: &self.lower,
            container: Some(self.directory.as_fd()),
        }
    }

    /// The writable directory.
    pub(super) fn upper(&self) -> Result<OwnedFd> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        rustix::fs::openat(&self.directory, "upper", flags, Mode::empty()).call("open", "upper")
    }
}

fn open(path: &std::path::Path) -> Result<OwnedFd> {
    rustix::fs::open(path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
        .call("open", path)
}
