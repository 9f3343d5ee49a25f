//! The entry handle: one store, one host, the calls on both.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock};

use serde::Serialize;

use coble_protocol::UserNamespace;

use crate::cancel::CancelToken;
use crate::cgroup::Cgroups;
use crate::container::{self, ContainerSpec, Containers, RunOptions, RunResult, Warning};
use crate::distribution::{Network, RegistryOptions};
use crate::doctor::{self, Report};
use crate::error::{Context, Error, ErrorKind, Result};
use crate::image::Images;
use crate::isolation::userns;
use crate::paths::{Roots, key_of, make_private_dir, make_run_root};
use crate::process::Shim;
use crate::progress::{ProgressKind, ProgressSink, Reporter};
use crate::session::EngineSession;
use crate::state::{self, Store, containers};
use crate::volume::{self, Volumes};

/// Where an engine keeps its things. Everything has a default.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct EngineOptions {
    /// Images, layers, containers, database. Default: `/var/lib/coble` for root, `$XDG_DATA_HOME/coble` or `~/.local/share/coble` otherwise.
    pub data_root: Option<PathBuf>,
    /// Sockets, locks, state of running containers. Default: below `/run/coble` for root, `$XDG_RUNTIME_DIR/coble` otherwise, a directory for
    /// each data root. Processes that share a data root must share the run root.
    pub run_root: Option<PathBuf>,
    /// Whether containers run in a user namespace. Default: unless the caller is root with the needed capabilities.
    pub rootless: Option<bool>,
    /// A lock file (`coble.lock`) that every pull of the engine obeys: a name that it pins stands for that digest, or the pull fails with
    /// [`ErrorKind::DigestDrift`].
    pub lock_file: Option<PathBuf>,
    /// Whether no registry, and no other server, is asked for anything: what is here works, and what would need a connection fails at once with
    /// [`ErrorKind::Offline`]. Containers are not concerned. Default: what the environment variable `COBLE_OFFLINE` says (`1`, `true`, `yes`, `on`, or their
    /// opposites), otherwise no.
    pub offline: Option<bool>,
    /// How many connections to registries all calls of the engine together use at once. Who comes later waits for his turn. Default: 24.
    pub connections: Option<u32>,
    /// How many of them to one host. Default: 6.
    pub connections_per_host: Option<u32>,
    /// How registries are talked to where a call says nothing: time-outs, mirrors, files. Credentials, `insecure` and `cert_dir` are for one registry, and not
    /// taken.
    pub registry: RegistryOptions,
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

    /// Sets whether containers run in a user namespace.
    pub fn rootless(mut self, rootless: bool) -> EngineOptions {
        self.rootless = Some(rootless);
        self
    }

    /// Sets the lock file.
    pub fn lock_file(mut self, path: impl Into<PathBuf>) -> EngineOptions {
        self.lock_file = Some(path.into());
        self
    }

    /// Sets how many connections to registries are used at once.
    pub fn connections(mut self, connections: u32) -> EngineOptions {
        self.connections = Some(connections);
        self
    }

    /// Sets how many connections to one host are used at once.
    pub fn connections_per_host(mut self, connections: u32) -> EngineOptions {
        self.connections_per_host = Some(connections);
        self
    }

    /// Sets how registries are talked to where a call says nothing.
    pub fn registry(mut self, registry: RegistryOptions) -> EngineOptions {
        self.registry = registry;
        self
    }

    /// Sets whether no registry is asked for anything.
    pub fn offline(mut self, offline: bool) -> EngineOptions {
        self.offline = Some(offline);
        self
    }
}

/// A container engine in this process, over a store that other processes may use at the same time. Clones are the same engine; any thread may
/// use it. A process that was forked cannot: it opens its own.
///
/// When the last clone is dropped, or with [`Engine::close`], the session-scoped containers that it started are removed.
#[derive(Debug, Clone)]
pub struct Engine(Arc<Handle>);

/// What the clones of an engine share: the engine's inside, until it is closed.
#[derive(Debug)]
struct Handle {
    inner: Mutex<Option<Arc<Inner>>>,
    /// The options that the doctor needs, also of a closed engine.
    options: EngineOptions,
    /// The process that opened it.
    pid: u32,
}

/// What an engine is made of.
#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) store: Store,
    /// The run root, without symbolic links.
    pub(crate) run_root: PathBuf,
    pub(crate) cgroups: Cgroups,
    pub(crate) userns: Option<UserNamespace>,
    /// What the host lacks for every container.
    pub(crate) host_warnings: Vec<Warning>,
    /// The lock file that every pull obeys.
    pub(crate) lock_file: Option<PathBuf>,
    pub(crate) network: Network,
    pub(crate) known_processes: container::KnownProcesses,
    /// The secrets of containers that no other process knows.
    pub(crate) secrets: container::secret::Kept,
    pub(crate) spare_network: Arc<container::SpareNetwork>,
    shim: OnceLock<Shim>,
    session: Mutex<Option<EngineSession>>,
}

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
    pub fn open(options: EngineOptions) -> Result<Engine> {
        let roots = Roots::of(&options)?;
        let doing = || format!("opening the store at \"{}\"", roots.data.display());
        let rootless = options.rootless.unwrap_or_else(|| !is_privileged());
        let network = Network::of(&options)?;
        let (userns, idmap, host_warnings) = userns::plan(rootless).context(doing)?;
        let store = Store::open(&roots.data, idmap)?;
        make_private_dir(&store.paths.data.join("containers")).context(doing)?;
        volume::make_directories(&store).context(doing)?;
        let run_root = make_run_root(&roots.run)?;
        let cgroups = Cgroups::detect(rootless, &key_of(&run_root), &run_root);
        let inner = Inner {
            store,
            run_root,
            cgroups,
            userns,
            host_warnings,
            lock_file: options.lock_file.clone(),
            network,
            known_processes: container::KnownProcesses::default(),
            secrets: container::secret::Kept::default(),
            spare_network: Arc::default(),
            shim: OnceLock::new(),
            session: Mutex::new(None),
        };
        inner.sweep().context(doing)?;
        let options = EngineOptions {
            data_root: Some(inner.store.paths.data.clone()),
            run_root: Some(inner.run_root.clone()),
            rootless: Some(inner.rootless()),
            lock_file: options.lock_file,
            offline: options.offline,
            connections: options.connections,
            connections_per_host: options.connections_per_host,
            registry: options.registry,
        };
        let pid = std::process::id();
        Ok(Engine(Arc::new(Handle { inner: Mutex::new(Some(Arc::new(inner))), options, pid })))
    }

    /// The images of the store.
    pub fn images(&self) -> Images<'_> {
        Images { engine: self }
    }

    /// The containers of the store.
    pub fn containers(&self) -> Containers<'_> {
        Containers { engine: self }
    }

    /// The volumes of the store.
    pub fn volumes(&self) -> Volumes<'_> {
        Volumes { engine: self }
    }

    /// Creates a session-scoped container, starts it, waits, collects its output and removes it. An error after the start has what was collected until then
    /// ([`Error::run_result`](crate::Error::run_result)).
    pub fn run(&self, spec: ContainerSpec, options: RunOptions, cancel: &CancelToken) -> Result<RunResult> {
        container::run(&*self.inner()?, spec, options, cancel)
    }

    /// Facts about the engine and its host.
    pub fn info(&self) -> Result<Info> {
        let inner = &*self.inner()?;
        let all = self.containers().rows(&container::ListOptions { all: true, ..Default::default() })?;
        Ok(Info {
            version: crate::version().to_owned(),
            data_root: inner.store.paths.data.clone(),
            run_root: inner.run_root.clone(),
            rootless: inner.rootless(),
            images: self.images().list(&[])?.len() as u64,
            containers: all.len() as u64,
            running: (0..all.len())
                .filter(|index| {
                    use container::State::{Paused, Restarting, Running};
                    matches!(all.state(*index), Some(Running | Paused | Restarting))
                })
                .count() as u64,
            cgroup_version: inner.cgroups.version().to_owned(),
            kernel: rustix::system::uname().release().to_string_lossy().into_owned(),
        })
    }

    /// Looks at the host.
    pub fn doctor(&self) -> Report {
        doctor::doctor(&self.0.options)
    }

    /// Looks for damage in the store, for blobs and layers that belong to nothing (unless somebody is at work on images), and for what a crash left and cannot
    /// be removed. Empty when nothing is wrong.
    pub fn verify(&self, progress: ProgressSink<'_>, cancel: &CancelToken) -> Result<Vec<String>> {
        let inner = &*self.inner()?;
        let reporter = Reporter::new(&inner.store.paths.data.to_string_lossy(), progress);
        let mut problems: Vec<String> =
            state::verify(&inner.store, &reporter, cancel)?.into_iter().map(|flaw| flaw.message).collect();
        problems.extend(inner.sweep()?.iter().map(Error::to_string));
        for id in containers::ids(&inner.store.db)? {
            if !container::has_directory(inner, &id) {
                problems.push(format!("container \"{id}\" has no directory"));
            }
        }
        problems.extend(volume::verify(inner)?);
        reporter.tell(ProgressKind::Done, None);
        Ok(problems)
    }

    /// Closes the engine and all its clones, and removes the session-scoped containers that it started. Later calls fail with
    /// [`ErrorKind::Closed`]; closing again does nothing.
    pub fn close(&self) {
        self.0.close();
    }

    /// The inside of an open engine that belongs to this process. Calls that are under way when the engine is closed still have it.
    pub(crate) fn inner(&self) -> Result<Arc<Inner>> {
        self.0.check_process()?;
        self.0.lock().clone().ok_or_else(|| Error::new(ErrorKind::Closed, "the engine is closed"))
    }
}

/// Whether the caller can make a container's namespaces and mounts without a user namespace.
fn is_privileged() -> bool {
    use rustix::thread::CapabilitySet;
    let needed = CapabilitySet::SYS_ADMIN
        | CapabilitySet::SETUID
        | CapabilitySet::SETGID
        | CapabilitySet::CHOWN
        | CapabilitySet::SETPCAP;
    rustix::process::geteuid().is_root()
        && rustix::thread::capabilities(None).is_ok_and(|sets| sets.effective.contains(needed))
}

impl Inner {
    /// Whether containers run in a user namespace of the caller.
    pub(crate) fn rootless(&self) -> bool {
        self.userns.is_some()
    }

    /// Cleans up what crashed processes left. What cannot be cleaned up now, which comes back, keeps nobody from using the rest of the store.
    pub(crate) fn sweep(&self) -> Result<Vec<Error>> {
        let mut problems = container::sweep::sweep(self)?;
        let swept = [
            state::sweep(&self.store, self),
            crate::session::sweep(&self.run_root),
            volume::files::sweep(self),
        ];
        for result in swept {
            match result {
                Err(error) if error.kind() == ErrorKind::Database => return Err(error),
                result => problems.extend(result.err()),
            }
        }
        Ok(problems)
    }

    /// The helper executable, made ready at its first use.
    pub(crate) fn shim(&self) -> Result<&Shim> {
        if let Some(shim) = self.shim.get() {
            return Ok(shim);
        }
        let made = Shim::new(&self.run_root)?;
        Ok(self.shim.get_or_init(|| made))
    }

    /// The name of this engine's session, which is made at its first use.
    pub(crate) fn session(&self) -> Result<String> {
        let mut session = self.session.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(session) = &*session {
            return Ok(session.name().to_owned());
        }
        let made = EngineSession::begin(&self.run_root)?;
        Ok(session.insert(made).name().to_owned())
    }

    /// Whether a session is this engine's own.
    pub(crate) fn owns_session(&self, name: &str) -> bool {
        let session = self.session.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        session.as_ref().is_some_and(|session| session.name() == name)
    }

    /// Whether the engine of a session still lives.
    pub(crate) fn session_lives(&self, name: &str) -> bool {
        EngineSession::lives(&self.run_root, name)
    }

    /// Ends the session of the engine, if it has one.
    fn end_session(&self) {
        let session = self.session.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
        if let Some(session) = session {
            // What cannot be removed now is removed by the sweep, since the session is over.
            let _ = container::sweep::end_session(self, session.name());
            session.end();
        }
    }
}

impl Handle {
    /// An engine belongs to the process that opened it. Asked before any lock is taken: in a forked child another thread's may be held for ever.
    fn check_process(&self) -> Result<()> {
        if self.pid == std::process::id() {
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::Closed,
            "the engine belongs to the process that opened it, and this one was forked from it",
        )
        .with_hint("open an engine in this process"))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Arc<Inner>>> {
        self.inner.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn close(&self) {
        if self.check_process().is_err() {
            return;
        }
        let inner = self.lock().take();
        if let Some(inner) = inner {
            inner.end_session();
            // Streams of events that wait see that they are at their end.
            inner.store.db.nudge();
        }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.close();
    }
}
