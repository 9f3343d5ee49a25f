//! Containers: one file for each verb of their life.

mod command;
mod commit;
mod copy;
mod create;
mod diff;
mod exec;
mod export;
mod filter;
mod inspect;
mod kill;
mod list;
mod live;
mod monitor;
mod names;
mod namespace;
pub mod parse;
mod pause;
mod processes;
mod prune;
mod remove;
mod rename;
mod report;
mod resources;
mod restart;
mod run;
mod signal;
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
mod validate;
mod wait;

pub use crate::log::LogStream;
pub use exec::Process;
pub use signal::Signal;
pub use spec::*;
pub use stats::StatsStream;
pub use types::*;

pub(crate) use create::has_directory;
pub(crate) use list::running_on;
pub(crate) use names::id as new_id;
pub(crate) use resources::ulimit_name;
pub(crate) use run::run;

use crate::engine::Engine;
use crate::error::Result;
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

    /// What its program wrote, if it was started with [`StdioMode::Log`].
    pub fn logs(&self, options: LogOptions) -> Result<LogStream> {
        let inner = &*self.engine.inner()?;
        self.row(inner)?;
        LogStream::open(self.clone(), &create::directory(inner, &self.id), options)
    }
}
