//! A container's files, seen from outside: what its layers and its writable directory show together.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{Mode, OFlags};

use super::take::Held;
use super::{Container, create, frozen, source, userns};
use crate::cancel::CancelToken;
use crate::engine::Inner;
use crate::error::{Call, Error, ErrorKind, Result};
use crate::isolation::userns::OtherIds;
use crate::process::Workers;
use crate::process::reader::View;
use crate::snapshot;
use crate::state::{ContainerRow, Locked};

/// The open files of a container.
pub(super) struct Tree {
    pub(super) row: ContainerRow,
    /// Names of its frozen layers and its image's, uppermost first.
    pub(super) lower: Vec<String>,
    /// What is below those, if it is not an image's.
    pub(super) rootfs: Option<OwnedFd>,
    /// The directory that has `upper`.
    pub(super) directory: OwnedFd,
    pub(super) running: bool,
    /// What its files are owned by on the disk, if not as those of other containers.
    pub(super) owners: Option<OtherIds>,
    /// Keeps a container that does not run from being started or removed.
    lock: Option<Locked>,
}

impl Container {
    /// Opens the container's files.
    pub(super) fn tree(&self, inner: &Inner, cancel: &CancelToken) -> Result<Tree> {
        // An end that nobody has noticed is noticed before the lock is taken, since whoever notices it takes that.
        let _ = super::look_at(inner, self.id());
        let (row, lock) = match self.hold(inner, cancel)? {
            Held::Running(row) => (row, None),
            Held::Stopped { row, lock, .. } => (row, Some(lock)),
        };
        let running = lock.is_none();
        let image = super::image_of(inner, &row)?;
        let spec = row.spec()?;
        let rootfs = source::open(&spec)?;
        let owners = userns::on_disk(inner, &row, &spec)?;
        let mut lower = frozen::lower(&row)?;
        let workers = Workers::new(inner, owners.as_ref());
        lower.extend(snapshot::ensure(&inner.store, &workers, &image, cancel)?);
        let directory = open(&create::directory(inner, self.id()))?;
        Ok(Tree { row, lower, rootfs, directory, running, owners, lock })
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
    /// Who works on the files.
    pub(super) fn workers<'a>(&'a self, inner: &'a Inner) -> Workers<'a> {
        Workers::new(inner, self.owners.as_ref())
    }

    pub(super) fn view<'a>(&'a self, inner: &'a Inner) -> View<'a> {
        View::Merged {
            layers: inner.store.layers.as_fd(),
            lower: &self.lower,
            directory: self.rootfs.as_ref().map(AsFd::as_fd),
            container: Some(self.directory.as_fd()),
        }
    }

    /// What keeps others away from a container that does not run.
    pub(super) fn lock(&self) -> Option<&OwnedFd> {
        self.lock.as_ref().map(Locked::fd)
    }

    /// The writable directory.
    pub(super) fn upper(&self) -> Result<OwnedFd> {
        frozen::open_at(&self.directory, Path::new("upper")).call("open", "upper")
    }
}

fn open(path: &std::path::Path) -> Result<OwnedFd> {
    rustix::fs::open(path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
        .call("open", path)
}
