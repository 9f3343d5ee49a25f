//! Containers: one file for each verb of their life.

mod attach;
mod bundle;
mod checked;
mod command;
mod commit;
mod create;
mod details;
mod diff;
mod exec;
mod export;
pub(crate) mod files;
mod filter;
pub(crate) mod frozen;
mod health;
mod hooks;
mod inspect;
mod kill;
mod known;
mod list;
mod live;
mod look;
mod monitor;
pub(crate) mod mount;
mod names;
mod namespace;
pub mod parse;
mod pause;
mod places;
mod policy;
mod processes;
mod proxies;
mod prune;
mod ps;
mod ready;
mod remove;
mod rename;
mod report;
mod resources;
mod restart;
mod rows;
mod run;
pub(crate) mod secret;
mod security;
mod signal;
mod snapshot;
mod source;
mod spaces;
mod spec;
mod start;
mod stats;
mod stop;
pub(crate) mod sweep;
mod take;
mod top;
mod tree;
mod types;
mod update;
pub(crate) mod userns;
pub(crate) mod validate;
mod volumes;
mod wait;

pub use crate::log::LogStream;
pub use exec::Process;
pub use health::{Health, HealthCheck, HealthProbe};
pub use hooks::{Hook, Hooks};
pub use mount::{BindRecursive, Mount, MountKind, Propagation};
pub use policy::RestartPolicy;
pub use ready::{Ready, ReadyWait};
pub use rows::ContainerRows;
pub use secret::Secret;
pub use signal::Signal;
pub use spaces::NamespaceMode;
pub use spec::*;
pub use stats::StatsStream;
pub use types::*;
pub use userns::UsernsMode;

#[cfg(any(test, fuzzing))]
pub(crate) use bundle::fuzz as fuzz_bundle;
pub(crate) use create::has_directory;
pub(crate) use known::KnownProcesses;
pub(crate) use list::{running_on, settle};
pub(crate) use look::{look_at, look_at_running};
pub(crate) use names::id as new_id;
pub(crate) use namespace::Spare as SpareNetwork;
pub(crate) use resources::ulimit_name;
pub(crate) use run::run;
pub(crate) use spaces::Names;

use crate::engine::{Engine, Inner};
use crate::error::Result;
use crate::image::{self, ResolvedImage};
use crate::state::ContainerRow;

/// The containers of an engine.
#[derive(Debug, Clone, Copy)]
pub struct Containers<'a> {
    pub(crate) engine: &'a Engine,
}

/// A container. Clones are the same container; any thread may use it.
#[derive(Debug, Clone)]
pub struct Container {
    engine: Engine,
    id: String,
    name: String,
}

/// The image of a container. One that has a directory instead has an image with nothing in it.
fn image_of(inner: &Inner, row: &ContainerRow) -> Result<ResolvedImage> {
    match row.image_id.as_str() {
        "" => Ok(ResolvedImage::nothing()),
        id => image::resolve(&inner.store, id),
    }
}

impl Container {
    fn new(engine: Engine, row: &ContainerRow) -> Container {
        Container { engine, id: row.id.clone(), name: row.name.clone() }
    }

    /// 64 hexadecimal digits.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where the lock and the last word of its monitor are.
    pub(crate) fn run_path(&self) -> Result<std::path::PathBuf> {
        Ok(live::RunDir::path_of(&self.engine.inner()?.run_root, &self.id))
    }

    /// What its program wrote, if it was started with [`StdioMode::Log`].
    pub fn logs(&self, options: LogOptions) -> Result<LogStream> {
        let inner = &*self.engine.inner()?;
        let settings = crate::log::driver::Settings::of(&self.row(inner)?.spec()?)?;
        LogStream::open(self.clone(), &create::directory(inner, &self.id), &settings, options)
    }
}
