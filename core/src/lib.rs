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
//! engine.images().from_host(&["sh".into(), "echo".into()], "demo", Default::default(), &|_| {}, &never)?;
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
mod distribution;
mod doctor;
mod engine;
mod error;
mod event;
#[cfg(all(test, not(fuzzing)))]
#[allow(unreachable_pub)]
mod fuzz;
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzz;
mod halt;
mod image;
mod interrupt;
mod isolation;
mod log;
mod oci;
mod paths;
mod process;
mod progress;
mod scrub;
mod session;
mod snapshot;
mod state;
mod sys;
mod text;
mod usage;
mod volume;

pub use cancel::CancelToken;
pub use container::{
    AttachOptions, BindRecursive, CapabilityInfo, CommitOptions, Container, ContainerDetails, ContainerRows,
    ContainerSpec, ContainerSummary, Containers, ContainersPruned, ExecSpec, Exported, FileCopyOptions,
    FileEntry, FileKind, Health, HealthCheck, HealthProbe, Hook, Hooks, Isolation, Lifetime, LimitInfo,
    ListOptions, LogOptions, LogRecord, LogSource, LogStream, Mount, MountInfo, MountKind, NamespaceInfo,
    NamespaceMode, NetworkMode, Pressure, PressureShare, Process, Propagation, Ready, ReadyWait,
    RestartPolicy, RunOptions, RunResult, Secret, Signal, SnapshotOptions, State, Stats, StatsStream, Stdio,
    StdioMode, Top, UpdateOptions, UserInfo, UsernsMode, WaitCondition, Warning, WriteOptions, parse,
};
pub use distribution::{
    CopyOptions, CredentialProvider, CredentialRequest, Credentials, LoginResult, Pin, PlannedBlob,
    PullOptions, PullPlan, PullPolicy, PushOptions, Pushed, Referrer, Registries, RegistryOptions,
    RemoteImage, SearchOptions, SearchResult,
};
pub use doctor::{Check, CheckStatus, Report, doctor};
pub use engine::{Engine, EngineOptions, Info};
pub use error::{Error, ErrorKind, Result};
pub use event::{Event, EventOptions, EventStream};
pub use image::{
    ChangeKind, HistoryEntry, HostItem, ImageDetails, ImageMount, ImageSummary, Images, ImportOptions,
    LayerInfo, LoadOptions, PathChange, PruneOptions, Pruned, Removed, SaveFormat, SaveOptions, Sink, Source,
};
#[doc(hidden)] // For the bindings.
pub use interrupt::attentive;
pub use process::{spawn_helper, spawn_worker};
pub use progress::{Progress, ProgressKind, ProgressSink};
pub use scrub::{Problem, Scrub};
pub use text::visible;
pub use usage::{ContainerUsage, DiskUsage, ImageUsage, VolumeUsage};
pub use volume::{
    Volume, VolumeDetails, VolumeOptions, VolumePruneOptions, VolumeSummary, Volumes, VolumesPruned,
};

/// The version of the engine.
pub const fn version() -> &'static str {
    env!("CARGO_PKG_VERSION")
}
