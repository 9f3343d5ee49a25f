//! A container's root as its processes have it, or would have it: with what is mounted inside while it runs, else as its layers show it.

use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use coble_protocol::{FdList, Live, Place, Request, Response, Rootfs};

use super::super::Container;
use super::super::live::RunDir;
use super::super::monitor::Monitor;
use super::super::places;
use super::super::tree::Tree;
use crate::cancel::CancelToken;
use crate::engine::Inner;
use crate::error::{Error, ErrorKind, Result};
use crate::process::reader::View;
use crate::process::{Deadline, Workers};
use crate::state::Pause;

/// How long a monitor may take to answer.
const ANSWER: Duration = Duration::from_secs(5);

/// The files of a container.
pub(super) enum Files {
    /// It runs: a pidfd of its first process, and whether that is in another user namespace than the engine.
    Running(OwnedFd, bool, Box<Tree>),
    /// It does not, and nobody starts or removes it meanwhile.
    Stopped(Box<Tree>),
}

impl Container {
    /// Opens the container's files.
    pub(super) fn files(&self, inner: &Inner, cancel: &CancelToken) -> Result<Files> {
        let mut pause = Pause::default();
        loop {
            let tree = self.tree(inner, cancel)?;
            if !tree.running {
                return Ok(Files::Stopped(Box::new(tree)));
            }
            if let Some(init) = self.init(inner, cancel)? {
                let userns = super::super::spaces::is_elsewhere(&init)?;
                let Some(userns) = userns else {
                    pause.wait(cancel)?;
                    continue;
                };
                return Ok(Files::Running(init, userns, Box::new(tree)));
            }
            // It has ended just now.
            pause.wait(cancel)?;
        }
    }

    /// A pidfd of the first process; None if the container does not run any more.
    fn init(&self, inner: &Inner, cancel: &CancelToken) -> Result<Option<OwnedFd>> {
        let Some(run_dir) = RunDir::open(&inner.run_root, self.id())? else { return Ok(None) };
        let Some(monitor) = Monitor::of(&run_dir, self.name())? else { return Ok(None) };
        let late = format!("the monitor of \"{}\" was asked for its container", self.name());
        let answer = monitor.ask(&Request::Init, &[], Deadline::after(Some(ANSWER)), cancel, &late)?;
        match answer {
            Some((Response::Ok, mut fds)) => fds.take_nth(0).map(Some).map_err(|error| {
                Error::new(ErrorKind::MonitorLost, format!("the monitor's answer: {error}"))
            }),
            Some(_) => Err(Error::new(ErrorKind::MonitorLost, "an unexpected answer of the monitor")),
            None => Ok(None),
        }
    }
}

impl Files {
    /// Who works on them.
    pub(super) fn workers<'a>(&'a self, inner: &'a Inner) -> Workers<'a> {
        match self {
            Files::Running(_, _, tree) | Files::Stopped(tree) => tree.workers(inner),
        }
    }

    /// For reading.
    pub(super) fn view<'a>(&'a self, inner: &'a Inner) -> View<'a> {
        match self {
            Files::Running(init, userns, _) => View::Live(init.as_fd(), *userns),
            Files::Stopped(tree) => tree.view(inner),
        }
    }

    /// For writing.
    pub(super) fn place<'a>(&'a self, inner: &'a Inner, fds: &mut FdList<'a>) -> Result<Place> {
        Ok(match self {
            Files::Running(init, userns, tree) => Place::Live {
                container: Live { init: fds.push(init.as_fd()), userns: *userns },
                directory: fds.push(tree.directory.as_fd()),
            },
            Files::Stopped(tree) => Place::Stopped {
                rootfs: Rootfs::Overlay {
                    layers: fds.push(inner.store.layers.as_fd()),
                    // As at a start: a directory that is made must not hide what belongs below it then.
                    lower: tree.lower.clone(),
                    directory: tree.rootfs.as_ref().map(|fd| fds.push(fd.as_fd())),
                    base: places::base(inner, &tree.row.id),
                    container: fds.push(tree.directory.as_fd()),
                    userxattr: inner.rootless(),
                },
                readonly: tree.row.spec()?.read_only,
            },
        })
    }

    /// What keeps others away, if it has to be kept by the worker, too.
    pub(super) fn lock(&self) -> Option<&OwnedFd> {
        match self {
            Files::Running(..) => None,
            Files::Stopped(tree) => tree.lock(),
        }
    }
}
