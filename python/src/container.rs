//! `engine.containers` and one container.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use coble::{
    AttachOptions, Container, ContainerRows, ContainerSummary, Engine, Error, ErrorKind, ExecSpec, Lifetime,
    ListOptions, LogOptions, Signal, WaitCondition,
};
use pyo3::exceptions::PyResourceWarning;
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::{PyBytes, PyDict, PyList};
use pyo3::{PyTraverseError, PyVisit};

use crate::convert::{
    Command, Environment, ImageName, Natural, Seconds, Stream, Tar, Text, Time, file, seconds, signal,
    terminal,
};
use crate::engine::PyEngine;
use crate::enter::{Own, attentive, blocking, lock, quick};
use crate::errors::{invalid, to_py};
use crate::files;
use crate::image::{PyImage, short};
use crate::image_store::{self, Commit, Filters, Target};
use crate::logs::PyLogStream;
use crate::options::{Collect, Create, Keywords, Stay, Streams, Update, Wait, read};
use crate::process::PyProcess;
use crate::ready::{PyReadyWait, Words};
use crate::stats::PyStatsStream;
use crate::values::{
    ContainerDetails, ContainersPruned, Exported, FileEntry, Health, PathChange, RunResult, Stats, Top,
    Warning, plain, word,
};

/// How long leaving a `with` block lets the program end by itself.
const GRACE: Duration = Duration::from_millis(500);

/// The containers of an engine.
#[pyclass(frozen, name = "Containers", module = "coble")]
pub(crate) struct PyContainers {
    pub(crate) engine: Py<PyEngine>,
}

impl PyContainers {
    fn engine(&self, py: Python<'_>) -> PyResult<&Engine> {
        self.engine.get().engine(py)
    }

    fn make(
        &self,
        py: Python<'_>,
        image: Option<ImageName>,
        command: Option<Command>,
        create: Create,
        stay: &Stay,
        default: Lifetime,
    ) -> PyResult<PyContainer> {
        let engine = self.engine(py)?;
        let mut spec = create.spec(py, image, command)?;
        stay.apply(py, &mut spec, default)?;
        let session = spec.lifetime == Lifetime::Session;
        let made = Mutex::new(None);
        let result = blocking(py, |cancel| {
            let container = engine.containers().create_within(spec, &|_| {}, cancel)?;
            *lock(&made) = Some(container);
            Ok(())
        });
        let made = lock(&made).take();
        match (result, made) {
            (Ok(()), Some(container)) => Ok(PyContainer::made(self.engine.clone_ref(py), container, session)),
            (Err(error), made) => {
                // A signal came when it was made already, and nobody will know of it.
                if let Some(container) = made {
                    let _ = quick(py, || container.remove(true));
                }
                Err(error)
            }
            (Ok(()), None) => Err(to_py(py, Error::new(ErrorKind::Internal, "no container was made"))),
        }
    }
}

#[pymethods]
impl PyContainers {
    /// Makes a container. It does not run yet.
    ///
    /// Options: see Containers.create in the stub `coble/_coble.pyi`.
    #[pyo3(signature = (image=None, command=None, **options))]
    #[pyo3(
        text_signature = "($self, image=None, command=None, *, rootfs=None, bundle=None, platform=None, pull=\"missing\", entrypoint=None, name=None, environment=None, working_dir=None, user=None, \
                             group_add=None, use_config_proxy=False, hostname=None, domainname=None, tz=None, passwd=True, passwd_entry=None, group_entry=None, network=None, network_mode=None, network_disabled=False, exposed_ports=None, pid_mode=None, ipc_mode=None, uts_mode=None, cgroupns=None, userns_mode=None, uidmap=None, gidmap=None, mem_limit=None, cpus=None, nano_cpus=None, pids_limit=None, mem_reservation=None, memswap_limit=None, mem_swappiness=None, oom_kill_disable=False, oom_score_adj=None, cpu_shares=None, cpu_quota=None, cpu_period=None, cpuset_cpus=None, cpuset_mems=None, blkio_weight=None, blkio_weight_device=None, device_read_bps=None, device_write_bps=None, device_read_iops=None, device_write_iops=None, ulimits=None, sysctls=None, unified=None, cgroup_parent=None, \
                             cap_add=None, cap_drop=None, read_only=False, security_opt=None, masked_paths=None, readonly_paths=None, labels=None, hooks=None, healthcheck=None, annotations=None, stop_signal=None, \
                             stop_timeout=None, run_timeout=None, shm_size=None, extra_hosts=None, dns=None, dns_search=None, dns_opt=None, log_driver=None, log_opt=None, log_config=None, init=False, tty=False, stdin_open=False, stdin_once=False, console_size=None, volumes=None, volumes_from=None, mounts=None, tmpfs=None, secrets=None, devices=None, device_cgroup_rules=None, privileged=False, lifetime='detached', restart_policy=None, auto_remove=False)"
    )]
    fn create(
        &self,
        py: Python<'_>,
        image: Option<ImageName>,
        command: Option<Command>,
        options: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<PyContainer> {
        let (mut create, mut stay) = (Create::default(), Stay::default());
        read("Containers.create", options, &mut [&mut create, &mut stay])?;
        self.make(py, image, command, create, &stay, Lifetime::Detached)
    }

    /// Makes a container, starts it and waits until it is ready.
    ///
    /// Options: see Containers.create and Containers.run in the stub `coble/_coble.pyi`.
    #[pyo3(signature = (image=None, command=None, **options))]
    #[pyo3(
        text_signature = "($self, image=None, command=None, *, rootfs=None, bundle=None, platform=None, pull=\"missing\", entrypoint=None, name=None, environment=None, working_dir=None, user=None, \
                             group_add=None, use_config_proxy=False, hostname=None, domainname=None, tz=None, passwd=True, passwd_entry=None, group_entry=None, network=None, network_mode=None, network_disabled=False, exposed_ports=None, pid_mode=None, ipc_mode=None, uts_mode=None, cgroupns=None, userns_mode=None, uidmap=None, gidmap=None, mem_limit=None, cpus=None, nano_cpus=None, pids_limit=None, mem_reservation=None, memswap_limit=None, mem_swappiness=None, oom_kill_disable=False, oom_score_adj=None, cpu_shares=None, cpu_quota=None, cpu_period=None, cpuset_cpus=None, cpuset_mems=None, blkio_weight=None, blkio_weight_device=None, device_read_bps=None, device_write_bps=None, device_read_iops=None, device_write_iops=None, ulimits=None, sysctls=None, unified=None, cgroup_parent=None, \
                             cap_add=None, cap_drop=None, read_only=False, security_opt=None, masked_paths=None, readonly_paths=None, labels=None, hooks=None, healthcheck=None, annotations=None, stop_signal=None, \
                             stop_timeout=None, run_timeout=None, shm_size=None, extra_hosts=None, dns=None, dns_search=None, dns_opt=None, log_driver=None, log_opt=None, log_config=None, init=False, tty=False, stdin_open=False, stdin_once=False, console_size=None, volumes=None, volumes_from=None, mounts=None, tmpfs=None, secrets=None, devices=None, device_cgroup_rules=None, privileged=False, lifetime='session', restart_policy=None, auto_remove=False, \
                             stdin=None, stdout=None, stderr=None, wait=None, wait_timeout=60.0)"
    )]
    fn run<'py>(
        &self,
        py: Python<'py>,
        image: Option<ImageName>,
        command: Option<Command>,
        options: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<Bound<'py, PyContainer>> {
        let (mut create, mut stay, mut streams, mut wait) =
            (Create::default(), Stay::default(), Streams::default(), Wait::default());
        let groups: &mut [&mut dyn Keywords] = &mut [&mut create, &mut stay, &mut streams, &mut wait];
        read("Containers.run", options, groups)?;
        let stdio = streams.logged(py)?;
        let made = self.make(py, image, command, create, &stay, Lifetime::Session)?;
        let made = Bound::new(py, made)?;
        let container = made.get();
        let started = (|| {
            let handle = container.handle(py)?;
            blocking(py, |cancel| handle.container()?.start(stdio, cancel))?;
            match &wait.wait {
                Some(strategy) => wait_for(&made, strategy.bind(py), wait.limit().as_secs_f64()),
                None => Ok(()),
            }
        })();
        if let Err(error) = started {
            // The first failure is the one that matters; what cannot be removed now is removed by the sweep.
            let _ = container.discard(py, Duration::ZERO);
            return Err(error);
        }
        Ok(made)
    }

    /// The running containers, or those that are asked for, newest first.
    #[pyo3(signature = (*, all=false, filters=None, limit=None, size=false))]
    fn list(
        &self,
        py: Python<'_>,
        all: bool,
        filters: Option<Filters>,
        limit: Option<Natural>,
        size: bool,
    ) -> PyResult<Py<PyList>> {
        let engine = self.engine(py)?;
        let mut options = ListOptions::default();
        options.all = all;
        options.filters = filters.unwrap_or_default().0;
        options.limit = limit.map(|Natural(limit)| limit);
        options.size = size;
        let rows = Arc::new(quick(py, || engine.containers().rows(&options))?);
        let list = PyList::empty(py);
        for index in 0..rows.len() {
            let listed = PyContainer::listed(self.engine.clone_ref(py), Arc::clone(&rows), index);
            list.append(Bound::new(py, listed)?)?;
        }
        Ok(list.unbind())
    }

    /// Removes the containers that do not run and meet conditions.
    #[pyo3(signature = (*, filters=None))]
    fn prune(&self, py: Python<'_>, filters: Option<Filters>) -> PyResult<ContainersPruned> {
        let engine = self.engine(py)?;
        let filters = filters.unwrap_or_default().0;
        quick(py, || engine.containers().prune(&filters)).map(ContainersPruned)
    }

    /// The container with this name, id, or unambiguous prefix of an id.
    fn get(&self, py: Python<'_>, name_or_id: &str) -> PyResult<PyContainer> {
        let engine = self.engine(py)?;
        let container = quick(py, || engine.containers().get(name_or_id))?;
        Ok(PyContainer::made(self.engine.clone_ref(py), container, false))
    }

    /// Nothing has to be cleared: what leads back here ends at the engine.
    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.engine)
    }

    fn __repr__(&self) -> &'static str {
        "<coble.Containers>"
    }
}

fn wait_for(container: &Bound<'_, PyContainer>, strategy: &Bound<'_, PyAny>, timeout: f64) -> PyResult<()> {
    let module = container.py().import("coble.wait")?;
    module.call_method1("until", (container, strategy, timeout))?;
    Ok(())
}

/// A container. Any thread may use it.
#[pyclass(frozen, name = "Container", module = "coble")]
pub(crate) struct PyContainer {
    engine: Py<PyEngine>,
    known: Known,
    /// The engine's object, once somebody has asked for it.
    container: OnceLock<Own<Container>>,
    /// The name since a renaming.
    renamed: Mutex<Option<Box<str>>>,
    /// What never changes, once somebody has asked for it.
    facts: OnceLock<Box<ContainerSummary>>,
    /// Made here for this session, and not removed yet.
    owned: AtomicBool,
}

/// Where its id and the name that it had come from.
enum Known {
    Made {
        id: Box<str>,
        name: Box<str>,
    },
    /// A list, from which everything else is read when somebody asks, too: it has thousands that nobody asks about.
    Listed {
        rows: Arc<ContainerRows>,
        index: usize,
    },
}

impl Known {
    fn id(&self) -> &str {
        match self {
            Known::Made { id, .. } => id,
            Known::Listed { rows, index } => rows.id(*index).unwrap_or_default(),
        }
    }

    fn name(&self) -> &str {
        match self {
            Known::Made { name, .. } => name,
            Known::Listed { rows, index } => rows.name(*index).unwrap_or_default(),
        }
    }
}

/// The way to the engine's object, for those who do not hold the GIL.
#[derive(Clone, Copy)]
struct Handle<'a> {
    engine: &'a Engine,
    of: &'a PyContainer,
}

impl<'a> Handle<'a> {
    /// The engine's object. Its name is the one that it had when it was looked up.
    fn container(self) -> coble::Result<&'a Container> {
        if let Some(container) = self.of.container.get() {
            return container.get();
        }
        let found = self.engine.containers().get(self.of.known.id())?;
        self.of.container.get_or_init(|| Own::new(found)).get()
    }
}

impl PyContainer {
    /// Its id.
    pub(crate) fn identity(&self) -> &str {
        self.known.id()
    }

    fn new(
        engine: Py<PyEngine>,
        known: Known,
        container: OnceLock<Own<Container>>,
        owned: bool,
    ) -> PyContainer {
        PyContainer {
            engine,
            known,
            container,
            renamed: Mutex::new(None),
            facts: OnceLock::new(),
            owned: AtomicBool::new(owned),
        }
    }

    fn made(engine: Py<PyEngine>, container: Container, owned: bool) -> PyContainer {
        let known = Known::Made { id: container.id().into(), name: container.name().into() };
        PyContainer::new(engine, known, OnceLock::from(Own::new(container)), owned)
    }

    fn listed(engine: Py<PyEngine>, rows: Arc<ContainerRows>, index: usize) -> PyContainer {
        PyContainer::new(engine, Known::Listed { rows, index }, OnceLock::new(), false)
    }

    fn name_now(&self) -> String {
        lock(&self.renamed).as_deref().unwrap_or_else(|| self.known.name()).to_owned()
    }

    fn handle(&self, py: Python<'_>) -> PyResult<Handle<'_>> {
        Ok(Handle { engine: self.engine.get().engine(py)?, of: self })
    }

    fn details(&self, py: Python<'_>) -> PyResult<coble::ContainerDetails> {
        let handle = self.handle(py)?;
        quick(py, || handle.container()?.inspect())
    }

    fn facts(&self, py: Python<'_>) -> PyResult<&ContainerSummary> {
        if let Some(facts) = self.facts.get() {
            return Ok(facts);
        }
        let listed = match &self.known {
            Known::Listed { rows, index } => {
                rows.summary(*index).transpose().map_err(|error| to_py(py, error))?
            }
            Known::Made { .. } => None,
        };
        let facts = match listed {
            Some(summary) => summary,
            None => self.details(py)?.summary,
        };
        Ok(self.facts.get_or_init(|| Box::new(facts)))
    }

    fn attached(&self, py: Python<'_>, mut process: coble::Process) -> PyResult<PyProcess> {
        let stdin = file(py, process.take_stdin(), "wb")?;
        let stdout = file(py, process.take_stdout(), "rb")?;
        let stderr = file(py, process.take_stderr(), "rb")?;
        Ok(PyProcess::new(process, self.facts(py)?.command.clone(), [stdin, stdout, stderr], true))
    }

    /// Stops and removes it. One that is gone is fine.
    fn discard(&self, py: Python<'_>, grace: Duration) -> PyResult<()> {
        let handle = self.handle(py)?;
        let result = blocking(py, |cancel| {
            let remove = || {
                let container = handle.container()?;
                if !grace.is_zero() {
                    // What does not stop is killed by the removal.
                    match container.stop(Some(grace), cancel) {
                        Err(error) if error.kind() == ErrorKind::ContainerNotFound => return Err(error),
                        _ => {}
                    }
                }
                container.remove(true)
            };
            match remove() {
                Err(error) if error.kind() == ErrorKind::ContainerNotFound => Ok(()),
                // The engine removed it when it was closed.
                Err(error) if error.kind() == ErrorKind::Closed && self.owned.load(Ordering::SeqCst) => {
                    Ok(())
                }
                result => result,
            }
        });
        if result.is_ok() {
            self.owned.store(false, Ordering::SeqCst);
        }
        result
    }
}

impl Drop for PyContainer {
    /// Takes back a container of this session that nobody removed, and says so.
    fn drop(&mut self) {
        if !self.owned.load(Ordering::SeqCst) || !self.engine.get().is_ours() {
            return;
        }
        Python::try_attach(|py| {
            let Ok(handle) = self.handle(py) else { return };
            // A destructor must not disturb an exception that is on its way.
            let pending = PyErr::take(py);
            let removed = quick(py, || {
                // Gone, by itself or with its engine: nothing is wrong.
                let Ok(container) = handle.container() else { return Ok(false) };
                if container.state().is_err() {
                    return Ok(false);
                }
                container.remove(true).map(|()| true)
            });
            if !matches!(removed, Ok(false)) {
                let text = format!(
                    "container \"{}\" ({}) was not removed: use it in a with block",
                    self.name_now(),
                    short(self.known.id())
                );
                let text = CString::new(text).unwrap_or_default();
                if let Err(error) = PyErr::warn(py, &py.get_type::<PyResourceWarning>(), &text, 1) {
                    error.write_unraisable(py, None);
                }
            }
            if let Some(pending) = pending {
                pending.restore(py);
            }
        });
    }
}

#[pymethods]
impl PyContainer {
    /// Writes the root file system as a tar.
    #[pyo3(signature = (target, *, progress=None))]
    fn export(&self, py: Python<'_>, target: Target, progress: Option<Py<PyAny>>) -> PyResult<Exported> {
        let handle = self.handle(py)?;
        image_store::export(py, || handle.container(), target, progress)
    }

    /// Writes one path as a tar.
    #[pyo3(signature = (path, target, *, follow_link=false))]
    fn get_archive(
        &self,
        py: Python<'_>,
        path: &str,
        target: Target,
        follow_link: bool,
    ) -> PyResult<Exported> {
        let handle = self.handle(py)?;
        files::get_archive(py, || handle.container(), path, target, follow_link)
    }

    /// Unpacks a tar.
    fn put_archive(&self, py: Python<'_>, path: &str, archive: Tar) -> PyResult<Exported> {
        let handle = self.handle(py)?;
        files::put_archive(py, || handle.container(), path, archive)
    }

    /// Copies from the host.
    #[pyo3(signature = (source, dest, *, follow_link=false, archive=false))]
    fn copy_to(
        &self,
        py: Python<'_>,
        source: PathBuf,
        dest: &str,
        follow_link: bool,
        archive: bool,
    ) -> PyResult<Exported> {
        let handle = self.handle(py)?;
        files::copy_to(py, || handle.container(), &source, dest, (follow_link, archive))
    }

    /// Copies to the host.
    #[pyo3(signature = (source, dest, *, follow_link=false, archive=false))]
    fn copy_from(
        &self,
        py: Python<'_>,
        source: &str,
        dest: PathBuf,
        follow_link: bool,
        archive: bool,
    ) -> PyResult<Exported> {
        let handle = self.handle(py)?;
        files::copy_from(py, || handle.container(), source, &dest, (follow_link, archive))
    }

    /// The content of a file.
    #[pyo3(signature = (path, *, max_size=16777216))]
    fn read_file<'py>(&self, py: Python<'py>, path: &str, max_size: u64) -> PyResult<Bound<'py, PyBytes>> {
        let handle = self.handle(py)?;
        let content = files::read_file(py, || handle.container(), path, max_size)?;
        Ok(PyBytes::new(py, &content))
    }

    /// Makes or replaces a file.
    #[pyo3(signature = (path, data, *, mode=None, user=None))]
    fn write_file(
        &self,
        py: Python<'_>,
        path: &str,
        data: PyBackedBytes,
        mode: Option<u32>,
        user: Option<String>,
    ) -> PyResult<()> {
        let handle = self.handle(py)?;
        files::write_file(py, || handle.container(), path, &data, mode, user)
    }

    /// The entries of a directory.
    fn list_files(&self, py: Python<'_>, path: &str) -> PyResult<Vec<FileEntry>> {
        let handle = self.handle(py)?;
        files::list_files(py, || handle.container(), path)
    }

    /// A container with the files that this one has now.
    #[pyo3(signature = (name=None, *, pause=true))]
    fn snapshot(&self, py: Python<'_>, name: Option<String>, pause: bool) -> PyResult<PyContainer> {
        let handle = self.handle(py)?;
        let made = files::snapshot(py, || handle.container(), name, pause)?;
        Ok(PyContainer::made(self.engine.clone_ref(py), made, false))
    }

    /// What it changed of its image.
    fn diff(&self, py: Python<'_>) -> PyResult<Vec<PathChange>> {
        let handle = self.handle(py)?;
        image_store::container_diff(py, || handle.container())
    }

    /// Makes an image of it.
    #[pyo3(signature = (reference=None, *, changes=None, author=None, message=None, pause=true, compression=None, progress=None))]
    #[expect(clippy::too_many_arguments, reason = "one for each option")]
    fn commit(
        &self,
        py: Python<'_>,
        reference: Option<&str>,
        changes: Option<Vec<String>>,
        author: Option<String>,
        message: Option<String>,
        pause: bool,
        compression: Option<String>,
        progress: Option<Py<PyAny>>,
    ) -> PyResult<PyImage> {
        let given = Commit { changes, author, message, pause, compression, progress };
        let handle = self.handle(py)?;
        image_store::commit(py, handle.engine, || handle.container(), reference, given)
    }

    /// 64 hexadecimal digits.
    #[getter]
    fn id(&self) -> &str {
        self.known.id()
    }

    /// The first 12 digits of the id.
    #[getter]
    fn short_id(&self) -> String {
        short(self.known.id())
    }

    /// The name.
    #[getter]
    fn name(&self) -> String {
        self.name_now()
    }

    /// The image as the caller named it.
    #[getter]
    fn image(&self, py: Python<'_>) -> PyResult<&str> {
        Ok(&self.facts(py)?.image)
    }

    /// The image's id.
    #[getter]
    fn image_id(&self, py: Python<'_>) -> PyResult<&str> {
        Ok(&self.facts(py)?.image_id)
    }

    /// Program and arguments.
    #[getter]
    fn command(&self, py: Python<'_>) -> PyResult<Vec<String>> {
        Ok(self.facts(py)?.command.clone())
    }

    /// When it was made, RFC 3339.
    #[getter]
    fn created(&self, py: Python<'_>) -> PyResult<&str> {
        Ok(&self.facts(py)?.created)
    }

    /// Labels.
    #[getter]
    fn labels(&self, py: Python<'_>) -> PyResult<BTreeMap<String, String>> {
        Ok(self.facts(py)?.labels.clone())
    }

    /// "session" or "detached".
    #[getter]
    fn lifetime(&self, py: Python<'_>) -> PyResult<String> {
        Ok(word(&self.facts(py)?.lifetime))
    }

    /// Its state now: "created", "running", "paused" or "exited".
    #[getter]
    fn state(&self, py: Python<'_>) -> PyResult<&'static str> {
        let handle = self.handle(py)?;
        Ok(quick(py, || handle.container()?.state())?.name())
    }

    /// Bytes of the disk that it wrote, if the list that it is from was to measure them.
    #[getter]
    fn size_rw(&self, py: Python<'_>) -> PyResult<Option<u64>> {
        Ok(self.facts(py)?.size_rw)
    }

    /// The health of its program; None if that is not looked at.
    #[getter]
    fn health(&self, py: Python<'_>) -> PyResult<Option<Health>> {
        let handle = self.handle(py)?;
        Ok(quick(py, || handle.container()?.health())?.map(Health))
    }

    /// The exit code of the last run; None before its end.
    #[getter]
    fn exit_code(&self, py: Python<'_>) -> PyResult<Option<i32>> {
        Ok(self.details(py)?.summary.exit_code)
    }

    /// Starts the program. Returns when it runs.
    #[pyo3(signature = (**options), text_signature = "($self, *, stdin=None, stdout=None, stderr=None)")]
    fn start(&self, py: Python<'_>, options: Option<&Bound<'_, PyDict>>) -> PyResult<()> {
        let mut streams = Streams::default();
        read("Container.start", options, &mut [&mut streams])?;
        let stdio = streams.logged(py)?;
        let handle = self.handle(py)?;
        blocking(py, |cancel| handle.container()?.start(stdio, cancel))
    }

    /// Sends the stop signal, and SIGKILL when the time is over. A container that does not run is fine.
    #[pyo3(signature = (timeout=None, *, signal=None))]
    fn stop(&self, py: Python<'_>, timeout: Option<Seconds>, signal: Option<Text>) -> PyResult<()> {
        let signal = signal.map(|text| self::signal(py, &text)).transpose()?;
        let handle = self.handle(py)?;
        let timeout = seconds(timeout);
        blocking(py, |cancel| handle.container()?.stop_with(signal, timeout, cancel))
    }

    /// Sends a signal to the program.
    #[pyo3(signature = (signal=None), text_signature = "($self, signal='SIGKILL')")]
    fn kill(&self, py: Python<'_>, signal: Option<Text>) -> PyResult<()> {
        let number = match signal {
            Some(text) => self::signal(py, &text)?,
            None => Signal::KILL,
        };
        let handle = self.handle(py)?;
        quick(py, || handle.container()?.kill(number))
    }

    /// Waits for a condition and returns the exit code that it came with.
    #[pyo3(signature = (timeout=None, *, condition="not-running", check=false))]
    fn wait(&self, py: Python<'_>, timeout: Option<Seconds>, condition: &str, check: bool) -> PyResult<i32> {
        let condition = WaitCondition::parse(condition).map_err(|error| to_py(py, error))?;
        let handle = self.handle(py)?;
        let timeout = seconds(timeout);
        blocking(py, |cancel| match check {
            true => handle.container()?.wait_checked(condition, timeout, cancel).map(|()| 0),
            false => handle.container()?.wait_until(condition, timeout, cancel),
        })
    }

    /// Stops all of its processes, without their notice.
    fn pause(&self, py: Python<'_>) -> PyResult<()> {
        let handle = self.handle(py)?;
        quick(py, || handle.container()?.pause())
    }

    /// Lets the processes of a paused container go on.
    fn unpause(&self, py: Python<'_>) -> PyResult<()> {
        let handle = self.handle(py)?;
        quick(py, || handle.container()?.unpause())
    }

    /// Stops it, and starts it again.
    #[pyo3(signature = (timeout=None, *, signal=None))]
    fn restart(&self, py: Python<'_>, timeout: Option<Seconds>, signal: Option<Text>) -> PyResult<()> {
        let signal = signal.map(|text| self::signal(py, &text)).transpose()?;
        let handle = self.handle(py)?;
        let timeout = seconds(timeout);
        blocking(py, |cancel| handle.container()?.restart_with(signal, timeout, cancel))
    }

    /// Gives it another name.
    fn rename(&self, py: Python<'_>, name: String) -> PyResult<()> {
        let handle = self.handle(py)?;
        quick(py, || handle.container()?.rename(&name))?;
        *lock(&self.renamed) = Some(name.into());
        Ok(())
    }

    /// Changes limits, and when it is started again.
    #[pyo3(signature = (**options))]
    #[pyo3(
        text_signature = "($self, *, mem_limit=None, mem_reservation=None, memswap_limit=None, cpus=None, nano_cpus=None, cpu_shares=None, cpu_quota=None, \
                             cpu_period=None, cpuset_cpus=None, cpuset_mems=None, pids_limit=None, blkio_weight=None, blkio_weight_device=None, device_read_bps=None, device_write_bps=None, \
                             device_read_iops=None, device_write_iops=None, unified=None, restart_policy=None)"
    )]
    fn update(&self, py: Python<'_>, options: Option<&Bound<'_, PyDict>>) -> PyResult<Vec<Warning>> {
        let mut update = Update::default();
        read("Container.update", options, &mut [&mut update])?;
        let options = update.options(py)?;
        let handle = self.handle(py)?;
        let warnings = quick(py, || handle.container()?.update(&options))?;
        Ok(warnings.into_iter().map(Warning).collect())
    }

    /// Its processes as a table.
    #[pyo3(signature = (ps_args=None))]
    fn top(&self, py: Python<'_>, ps_args: Option<Command>) -> PyResult<Top> {
        let handle = self.handle(py)?;
        let words = ps_args.map_or_else(Vec::new, |Command(words)| words);
        quick(py, || handle.container()?.top_with(&words)).map(Top)
    }

    /// What each record of its log says of it.
    fn log_attributes(&self, py: Python<'_>) -> PyResult<BTreeMap<String, String>> {
        let handle = self.handle(py)?;
        quick(py, || handle.container()?.log_attributes())
    }

    /// What it uses, once or again and again.
    #[pyo3(signature = (*, stream=false, interval=None), text_signature = "($self, *, stream=False, interval=1.0)")]
    fn stats<'py>(
        &self,
        py: Python<'py>,
        stream: bool,
        interval: Option<Seconds>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let interval = match interval {
            None => Duration::from_secs(1),
            Some(Seconds(Some(interval))) => interval,
            Some(Seconds(None)) => return Err(invalid(py, "interval is endless")),
        };
        let handle = self.handle(py)?;
        if stream {
            let stream = quick(py, || handle.container()?.stats_stream(interval))?;
            return Ok(Bound::new(py, PyStatsStream::new(stream))?.into_any());
        }
        let found = blocking(py, |cancel| handle.container()?.stats(interval, cancel))?;
        Ok(Bound::new(py, Stats(found))?.into_any())
    }

    /// Everything about it as docker inspect has it.
    #[pyo3(signature = (*, size=false))]
    fn inspect_docker(&self, py: Python<'_>, size: bool) -> PyResult<Py<PyAny>> {
        let handle = self.handle(py)?;
        let found = quick(py, || {
            let container = handle.container()?;
            if size { container.inspect_docker_with_size() } else { container.inspect_docker() }
        })?;
        plain(py, &found)
    }

    /// Waits until a strategy of coble.wait is satisfied.
    #[pyo3(signature = (strategy, timeout=60.0))]
    fn wait_for(slf: &Bound<'_, Self>, strategy: &Bound<'_, PyAny>, timeout: f64) -> PyResult<()> {
        wait_for(slf, strategy, timeout)
    }

    /// Removes the container and everything it wrote.
    #[pyo3(signature = (*, force=false, v=false))]
    fn remove(&self, py: Python<'_>, force: bool, v: bool) -> PyResult<()> {
        let handle = self.handle(py)?;
        quick(py, || {
            let container = handle.container()?;
            if v { container.remove_with_volumes(force) } else { container.remove(force) }
        })?;
        self.owned.store(false, Ordering::SeqCst);
        Ok(())
    }

    /// Everything about it.
    fn inspect(&self, py: Python<'_>) -> PyResult<ContainerDetails> {
        self.details(py).map(ContainerDetails)
    }

    /// Runs another program in the running container and collects its output.
    ///
    /// Options: see Container.exec in the stub `coble/_coble.pyi`.
    #[pyo3(signature = (command, *, environment=None, working_dir=None, user=None, privileged=false, tty=false, console_size=None, **options))]
    #[pyo3(
        text_signature = "($self, command, *, environment=None, working_dir=None, user=None, privileged=False, tty=False, console_size=None, input=None, stdin=None, stdout=None, \
                             stderr=None, check=False, timeout=None, capture_limit=None, text=False, encoding=None, errors=None)"
    )]
    #[expect(clippy::too_many_arguments, reason = "they are keywords")]
    fn exec(
        &self,
        py: Python<'_>,
        command: Command,
        environment: Option<Environment>,
        working_dir: Option<String>,
        user: Option<Text>,
        privileged: bool,
        tty: bool,
        console_size: Option<(u16, u16)>,
        options: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<RunResult> {
        let (mut collect, mut streams) = (Collect::default(), Streams::default());
        read("Container.exec", options, &mut [&mut collect, &mut streams])?;
        let spec = exec_spec(command, environment, working_dir, user, privileged, (tty, console_size));
        let decoder = collect.decoder(py)?;
        let options = collect.options(py, streams)?;
        let handle = self.handle(py)?;
        let result = attentive(py, |cancel| handle.container()?.exec(spec, options, cancel));
        RunResult::outcome(py, result, decoder.as_ref())
    }

    /// Starts another program in the running container.
    #[pyo3(signature = (command, *, environment=None, working_dir=None, user=None, privileged=false, tty=false, console_size=None, **options))]
    #[pyo3(
        text_signature = "($self, command, *, environment=None, working_dir=None, user=None, privileged=False, tty=False, console_size=None, stdin=None, stdout=None, stderr=None)"
    )]
    #[expect(clippy::too_many_arguments, reason = "they are keywords")]
    fn popen(
        &self,
        py: Python<'_>,
        command: Command,
        environment: Option<Environment>,
        working_dir: Option<String>,
        user: Option<Text>,
        privileged: bool,
        tty: bool,
        console_size: Option<(u16, u16)>,
        options: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<PyProcess> {
        let mut streams = Streams::default();
        read("Container.popen", options, &mut [&mut streams])?;
        let (stdio, merged) = if tty { (streams.terminal(py)?, None) } else { streams.popen(py)? };
        let spec = exec_spec(command, environment, working_dir, user, privileged, (tty, console_size));
        let args = spec.command.clone();
        let handle = self.handle(py)?;
        let mut process = quick(py, || handle.container()?.popen(spec, stdio))?;
        let stdin = file(py, process.take_stdin(), "wb")?;
        let stdout = match tty {
            true => terminal(py, process.take_stdout())?,
            false => file(py, process.take_stdout().or(merged), "rb")?,
        };
        let stderr = file(py, process.take_stderr(), "rb")?;
        Ok(PyProcess::new(process, args, [stdin, stdout, stderr], false))
    }

    /// Connects to the standard streams of its program.
    #[pyo3(signature = (*, stdin=false, stdout=true, stderr=true, logs=false))]
    fn attach(
        &self,
        py: Python<'_>,
        stdin: bool,
        stdout: bool,
        stderr: bool,
        logs: bool,
    ) -> PyResult<PyProcess> {
        let options = attach_options(stdin, stdout, stderr, logs);
        let handle = self.handle(py)?;
        let process = quick(py, || handle.container()?.attach(&options))?;
        self.attached(py, process)
    }

    /// Starts the program and connects to it.
    #[pyo3(signature = (*, stdin=Feed::Monitor(false), stdout=true, stderr=true, logs=false, paced=false), text_signature = "($self, *, stdin=False, stdout=True, stderr=True, logs=False, paced=False)")]
    fn start_attached(
        &self,
        py: Python<'_>,
        stdin: Feed,
        stdout: bool,
        stderr: bool,
        logs: bool,
        paced: bool,
    ) -> PyResult<PyProcess> {
        let mut options = attach_options(false, stdout, stderr, logs);
        options.paced = paced;
        match stdin {
            Feed::Monitor(stdin) => options.stdin = stdin,
            Feed::Stream(Stream::Pipe) => options.stdin = true,
            Feed::Stream(Stream::Null) => {}
            Feed::Stream(Stream::Fd(fd)) => options.input = Some(fd),
            Feed::Stream(Stream::Stdout) => return Err(invalid(py, "stdin cannot be STDOUT")),
        }
        let handle = self.handle(py)?;
        let process = blocking(py, |cancel| handle.container()?.start_attached(&options, cancel))?;
        self.attached(py, process)
    }

    /// Sets the size of its terminal.
    fn resize(&self, py: Python<'_>, height: u16, width: u16) -> PyResult<()> {
        let handle = self.handle(py)?;
        quick(py, || handle.container()?.resize(height, width))
    }

    /// What its program wrote.
    #[pyo3(signature = (*, follow=false, stdout=true, stderr=true, tail=None, since=None, until=None))]
    #[expect(clippy::too_many_arguments, reason = "they are keywords")]
    fn logs(
        &self,
        py: Python<'_>,
        follow: bool,
        stdout: bool,
        stderr: bool,
        tail: Option<Natural>,
        since: Option<Time>,
        until: Option<Time>,
    ) -> PyResult<PyLogStream> {
        let mut options = LogOptions::default();
        options.follow = follow;
        options.stdout = stdout;
        options.stderr = stderr;
        options.tail = tail.map(|Natural(lines)| lines);
        options.since = since.map(|Time(time)| time);
        options.until = until.map(|Time(time)| time);
        let handle = self.handle(py)?;
        let stream = quick(py, || handle.container()?.logs(options))?;
        Ok(PyLogStream::new(stream, follow))
    }

    /// Begins a wait of the engine, for coble.wait.
    fn _begin_wait(&self, py: Python<'_>, words: Words) -> PyResult<PyReadyWait> {
        let ready = words.ready(py)?;
        let handle = self.handle(py)?;
        quick(py, || handle.container()?.begin_wait(&ready)).map(PyReadyWait::new)
    }

    fn __enter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    #[pyo3(signature = (exc_type=None, exc_value=None, traceback=None, /))]
    fn __exit__(
        &self,
        py: Python<'_>,
        exc_type: Option<&Bound<'_, PyAny>>,
        exc_value: Option<&Bound<'_, PyAny>>,
        traceback: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        let _ = (exc_type, traceback);
        self.discard(py, GRACE).inspect_err(|error| {
            // Raised from here, the exception of the block would be lost.
            if let Some(value) = exc_value.filter(|value| !value.is_none()) {
                let _ = error.value(py).setattr("__context__", value);
            }
        })
    }

    fn __eq__(&self, other: &Bound<'_, PyAny>) -> bool {
        other.cast::<PyContainer>().is_ok_and(|other| other.get().known.id() == self.known.id())
    }

    fn __hash__(&self, py: Python<'_>) -> PyResult<isize> {
        pyo3::types::PyString::new(py, self.known.id()).hash()
    }

    /// Nothing has to be cleared: what leads back here ends at the engine.
    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.engine)
    }

    fn __repr__(&self) -> String {
        format!("<coble.Container {} {:?}>", short(self.known.id()), self.name_now())
    }
}

/// Where the standard input of a start comes from: from whoever is connected, or from a file.
#[derive(FromPyObject)]
pub(crate) enum Feed {
    Monitor(bool),
    Stream(Stream),
}

fn attach_options(stdin: bool, stdout: bool, stderr: bool, logs: bool) -> AttachOptions {
    let mut options = AttachOptions::default();
    (options.stdin, options.stdout, options.stderr, options.logs) = (stdin, stdout, stderr, logs);
    options
}

fn exec_spec(
    Command(command): Command,
    environment: Option<Environment>,
    working_dir: Option<String>,
    user: Option<Text>,
    privileged: bool,
    (tty, console_size): (bool, Option<(u16, u16)>),
) -> ExecSpec {
    let mut spec = ExecSpec::new(command);
    spec.environment = environment.map_or_else(Vec::new, |Environment(all)| all);
    spec.working_dir = working_dir;
    spec.user = user.map(|Text(text)| text);
    spec.privileged = privileged;
    spec.tty = tty;
    spec.console_size = console_size;
    spec
}
