//! The entry handle.

use std::path::PathBuf;
use std::sync::Arc;

use serde::Serialize;

use crate::cancel::CancelToken;
use crate::container::{ContainerSpec, Containers, RunOptions, RunResult};
use crate::doctor::Report;
use crate::error::{Error, ErrorKind, Result};
use crate::image::Images;

/// Where an engine keeps its things. Everything has a default.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct EngineOptions {
    /// Images, layers, containers, database. Default: `/var/lib/coble` for root, `$XDG_DATA_HOME/coble` or `~/.local/share/coble` otherwise.
    pub data_root: Option<PathBuf>,
    /// Sockets, locks, state of running containers. Default: `/run/coble` for root, `$XDG_RUNTIME_DIR/coble` otherwise; with a `data_root` of
    /// the caller's and no `run_root`, a directory of its own below the default.
    pub run_root: Option<PathBuf>,
    /// Whether containers run in a user namespace. Default: unless the caller is root with the needed capabilities.
    pub rootless: Option<bool>,
}

impl EngineOptions {
    /// Sets the data root.
    pub fn data_root(mut self, path: impl Into<PathBuf>) -> EngineOptions {
        self.data_root = Some(path.into());
        self
    }

    /// Sets the run root.
    pub fn run_root(mut self, path: impl Into<PathBuf>) -> EngineOptions {
        self.run_root = Some(path.into());
        self
    }
}

/// A container engine in this process, over a store that other processes may use at the same time. Clones are the same engine.
#[derive(Debug, Clone)]
pub struct Engine(Arc<()>);

/// Facts about an engine and its host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Info {
    /// Version of coble.
    pub version: String,
    /// The data root.
    pub data_root: PathBuf,
    /// The run root.
    pub run_root: PathBuf,
    /// Whether containers run in a user namespace.
    pub rootless: bool,
    /// Number of images.
    pub images: u64,
    /// Number of containers.
    pub containers: u64,
    /// Number of running containers.
    pub running: u64,
    /// `v1`, `hybrid`, `v2` or `none`.
    pub cgroup_version: String,
    /// Release of the kernel.
    pub kernel: String,
}

impl Engine {
    /// Opens the store, making it if it is not there, and sweeps what crashed processes left.
    pub fn open(_options: EngineOptions) -> Result<Engine> {
        unfinished()
    }

    /// The images of the store.
    pub fn images(&self) -> Images<'_> {
        Images { engine: self }
    }

    /// The containers of the store.
    pub fn containers(&self) -> Containers<'_> {
        Containers { engine: self }
    }

    /// Creates a session-scoped container, starts it, waits, collects its output and removes it.
    pub fn run(&self, _spec: ContainerSpec, _options: RunOptions, _cancel: &CancelToken) -> Result<RunResult> {
        unfinished()
    }

    /// Facts about the engine and its host.
    pub fn info(&self) -> Result<Info> {
        unfinished()
    }

    /// Looks at the host.
    pub fn doctor(&self) -> Report {
        Report { checks: Vec::new() }
    }

    /// Looks for damage in the store. Empty when nothing is wrong.
    pub fn verify(&self) -> Result<Vec<String>> {
        unfinished()
    }

    /// Closes the engine. Later calls fail with [`ErrorKind::Closed`]; closing again does nothing.
    pub fn close(&self) {}
}

/// What an engine is made of.
pub(crate) struct Inner {
    pub(crate) store: crate::state::Store,
}

/// Stands where the helper's archive role will be.
pub(crate) struct NoWorker;

impl crate::snapshot::Worker for NoWorker {
    fn apply(
        &self,
        _: std::os::fd::BorrowedFd<'_>,
        _: std::os::fd::BorrowedFd<'_>,
        _: &[std::os::fd::BorrowedFd<'_>],
        _: &CancelToken,
    ) -> Result<coble_protocol::ArchiveDone> {
        unfinished()
    }

    fn remove(&self, _: std::os::fd::BorrowedFd<'_>, _: &[&str]) -> Result<()> {
        unfinished()
    }
}

impl Inner {
    pub(crate) fn worker(&self) -> NoWorker {
        NoWorker
    }
}

impl Engine {
    pub(crate) fn inner(&self) -> Result<&Inner> {
        unfinished()
    }
}

pub(crate) fn unfinished<T>() -> Result<T> {
    Err(Error::new(ErrorKind::Internal, "unfinished"))
}
