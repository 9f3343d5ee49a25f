//! coble: an embeddable container engine.
//!
//! [`Engine`] is the entry. It works inside the caller's process: no daemon, no root needed, no external programs. All calls block and
//! are thread-safe; those that can take long take a [`CancelToken`].
//!
//! ```no_run
//! use coble::{CancelToken, ContainerSpec, Engine, EngineOptions, RunOptions};
//!
//! # fn main() -> coble::Result<()> {
//! let engine = Engine::open(EngineOptions::default())?;
//! let never = CancelToken::never();
//! engine.images().from_host(&["sh".into(), "echo".into()], "demo", Default::default(), &never)?;
//! let done = engine.run(ContainerSpec::new("demo").command(["echo", "hello"]), RunOptions::default(), &never)?;
//! assert_eq!((done.exit_code, done.stdout.as_slice()), (0, b"hello\n".as_slice()));
//! # Ok(())
//! # }
//! ```

#![deny(unsafe_code)]

mod cancel;
mod cgroup;
mod container;
mod content;
mod doctor;
mod engine;
mod error;
mod image;
mod isolation;
mod log;
mod oci;
mod paths;
mod process;
mod session;
mod snapshot;
mod state;
mod sys;

pub use cancel::CancelToken;
pub use container::{
    CapabilityInfo, Container, ContainerDetails, ContainerSpec, ContainerSummary, Containers, ExecSpec,
    Isolation, Lifetime, LimitInfo, LogOptions, LogRecord, LogSource, LogStream, NamespaceInfo, NetworkMode,
    Process, RunOptions, RunResult, Signal, State, Stdio, StdioMode, UserInfo, Warning, parse,
};
pub use doctor::{Check, CheckStatus, Report, doctor};
pub use engine::{Engine, EngineOptions, Info};
pub use error::{Error, ErrorKind, Result};
pub use image::{
    HistoryEntry, HostItem, ImageDetails, ImageSummary, Images, ImportOptions, LayerInfo, Removed, Source,
};

/// The version of the engine.
pub const fn version() -> &'static str {
    env!("CARGO_PKG_VERSION")
}
