//! The entry: an engine over a store.

use std::path::PathBuf;
use std::sync::Arc;

use coble::{Engine, EngineOptions, EventOptions};
use pyo3::prelude::*;
use pyo3::types::PyDict;
use pyo3::{PyTraverseError, PyVisit};

use crate::container::PyContainers;
use crate::convert::{Command, ImageName, Natural, Seconds, Time};
use crate::credentials::{Callable, Provider, Way};
use crate::enter::{Own, blocking, quick};
use crate::errors::to_py;
use crate::events::PyEventStream;
use crate::image::PyImages;
use crate::image_store::{self, Filters};
use crate::options::{Collect, Create, Streams, read};
use crate::progress::told;
use crate::registry::PyRegistry;
use crate::values::{DiskUsage, Info, Report, RunResult, Scrub};
use crate::volume::PyVolumes;

/// What an engine is opened with, as the caller gives it.
#[derive(Default)]
struct Given {
    data_root: Option<PathBuf>,
    run_root: Option<PathBuf>,
    rootless: Option<bool>,
    lock_file: Option<PathBuf>,
    offline: Option<bool>,
    connections: Option<u32>,
    connections_per_host: Option<u32>,
    way: Way,
}

impl Given {
    fn options(self) -> EngineOptions {
        let mut options = EngineOptions::default();
        options.data_root = self.data_root;
        options.run_root = self.run_root;
        options.rootless = self.rootless;
        options.lock_file = self.lock_file;
        options.offline = self.offline;
        options.connections = self.connections;
        options.connections_per_host = self.connections_per_host;
        options.registry = self.way.options();
        options
    }
}

/// Looks at the host, also when no engine can be opened on it.
#[pyfunction]
#[pyo3(signature = (*, data_root=None, run_root=None, rootless=None))]
pub(crate) fn doctor(
    py: Python<'_>,
    data_root: Option<PathBuf>,
    run_root: Option<PathBuf>,
    rootless: Option<bool>,
) -> PyResult<Report> {
    let options = Given { data_root, run_root, rootless, ..Given::default() }.options();
    quick(py, || Ok(coble::doctor(&options))).map(Report)
}

/// A container engine in this process, over a store that other processes may use at the same time.
#[pyclass(frozen, name = "Engine", module = "coble")]
pub(crate) struct PyEngine {
    engine: Own<Engine>,
    /// The credential provider. It may lead back to the engine.
    provider: Option<Arc<Callable>>,
}

impl PyEngine {
    pub(crate) fn engine(&self, py: Python<'_>) -> PyResult<&Engine> {
        self.engine.get().map_err(|error| to_py(py, error))
    }

    /// Whether this process made it.
    pub(crate) fn is_ours(&self) -> bool {
        self.engine.is_ours()
    }
}

#[pymethods]
impl PyEngine {
    #[new]
    #[expect(clippy::too_many_arguments, reason = "they are keywords")]
    #[pyo3(signature = (data_root=None, run_root=None, rootless=None, lock_file=None, offline=None, connections=None, connections_per_host=None, *, connect_timeout=None, idle_timeout=None, mirrors=None, registries_conf=None, hosts_dir=None, credential_provider=None))]
    fn new(
        py: Python<'_>,
        data_root: Option<PathBuf>,
        run_root: Option<PathBuf>,
        rootless: Option<bool>,
        lock_file: Option<PathBuf>,
        offline: Option<bool>,
        connections: Option<u32>,
        connections_per_host: Option<u32>,
        connect_timeout: Option<Seconds>,
        idle_timeout: Option<Seconds>,
        mirrors: Option<Vec<String>>,
        registries_conf: Option<PathBuf>,
        hosts_dir: Option<PathBuf>,
        credential_provider: Option<Provider>,
    ) -> PyResult<PyEngine> {
        let provider = credential_provider.as_ref().map(Provider::callable);
        let way =
            Way { connect_timeout, idle_timeout, mirrors, registries_conf, hosts_dir, credential_provider };
        let given = Given {
            data_root,
            run_root,
            rootless,
            lock_file,
            offline,
            connections,
            connections_per_host,
            way,
        };
        let options = given.options();
        Ok(PyEngine { engine: Own::new(quick(py, || Engine::open(options))?), provider })
    }

    /// The images of the store.
    #[getter]
    fn images(slf: Py<Self>) -> PyImages {
        PyImages { engine: slf }
    }

    /// The volumes of the store.
    #[getter]
    fn volumes(slf: Py<Self>) -> PyVolumes {
        PyVolumes { engine: slf }
    }

    /// The registries.
    #[getter]
    fn registry(slf: Py<Self>) -> PyRegistry {
        PyRegistry { engine: slf }
    }

    /// The containers of the store.
    #[getter]
    fn containers(slf: Py<Self>) -> PyContainers {
        PyContainers { engine: slf }
    }

    /// Runs a program in a new container, collects its output and removes the container.
    ///
    /// Options: see Containers.create and Engine.run in the stub `coble/_coble.pyi`.
    #[pyo3(signature = (image=None, command=None, **options))]
    #[pyo3(
        text_signature = "($self, image=None, command=None, *, rootfs=None, bundle=None, platform=None, pull=\"missing\", entrypoint=None, name=None, environment=None, working_dir=None, user=None, \
                             group_add=None, use_config_proxy=False, hostname=None, domainname=None, tz=None, passwd=True, passwd_entry=None, group_entry=None, network=None, network_mode=None, network_disabled=False, exposed_ports=None, pid_mode=None, ipc_mode=None, uts_mode=None, cgroupns=None, userns_mode=None, uidmap=None, gidmap=None, mem_limit=None, cpus=None, nano_cpus=None, pids_limit=None, mem_reservation=None, memswap_limit=None, mem_swappiness=None, oom_kill_disable=False, oom_score_adj=None, cpu_shares=None, cpu_quota=None, cpu_period=None, cpuset_cpus=None, cpuset_mems=None, blkio_weight=None, blkio_weight_device=None, device_read_bps=None, device_write_bps=None, device_read_iops=None, device_write_iops=None, ulimits=None, sysctls=None, unified=None, cgroup_parent=None, \
                             cap_add=None, cap_drop=None, read_only=False, security_opt=None, masked_paths=None, readonly_paths=None, labels=None, hooks=None, healthcheck=None, annotations=None, stop_signal=None, \
                             stop_timeout=None, run_timeout=None, shm_size=None, extra_hosts=None, dns=None, dns_search=None, dns_opt=None, log_driver=None, log_opt=None, log_config=None, init=False, tty=False, stdin_open=False, stdin_once=False, console_size=None, volumes=None, volumes_from=None, mounts=None, tmpfs=None, secrets=None, devices=None, device_cgroup_rules=None, privileged=False, input=None, stdin=None, stdout=None, \
                             stderr=None, check=False, timeout=None, capture_limit=None, text=False, encoding=None, errors=None)"
    )]
    fn run(
        &self,
        py: Python<'_>,
        image: Option<ImageName>,
        command: Option<Command>,
        options: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<RunResult> {
        let (mut create, mut collect, mut streams) =
            (Create::default(), Collect::default(), Streams::default());
        read("Engine.run", options, &mut [&mut create, &mut collect, &mut streams])?;
        let spec = create.spec(py, image, command)?;
        let decoder = collect.decoder(py)?;
        let options = collect.options(py, streams)?;
        let engine = self.engine(py)?;
        let result = blocking(py, |cancel| engine.run(spec, options, cancel));
        RunResult::outcome(py, result, decoder.as_ref())
    }

    /// Facts about the engine and its host.
    fn info(&self, py: Python<'_>) -> PyResult<Info> {
        let engine = self.engine(py)?;
        quick(py, || engine.info()).map(Info)
    }

    /// Looks at the host.
    fn doctor(&self, py: Python<'_>) -> PyResult<Report> {
        let engine = self.engine(py)?;
        quick(py, || Ok(engine.doctor())).map(Report)
    }

    /// Looks for damage in the store. Empty when nothing is wrong.
    #[pyo3(signature = (*, progress=None))]
    fn verify(&self, py: Python<'_>, progress: Option<Py<PyAny>>) -> PyResult<Vec<String>> {
        let engine = self.engine(py)?;
        told(py, progress, |sink, cancel| engine.verify(sink, cancel))
    }

    /// What happens to containers, images and volumes, whichever process does it.
    #[pyo3(signature = (*, since=None, until=None, after=None, filters=None, follow=true))]
    fn events(
        &self,
        py: Python<'_>,
        since: Option<Time>,
        until: Option<Time>,
        after: Option<Natural>,
        filters: Option<Filters>,
        follow: bool,
    ) -> PyResult<PyEventStream> {
        let mut options = EventOptions::default();
        options.since = since.map(|Time(time)| time);
        options.until = until.map(|Time(time)| time);
        options.after = after.map(|Natural(id)| id);
        options.filters = filters.unwrap_or_default().0;
        options.follow = follow;
        PyEventStream::open(py, self.engine(py)?, &options)
    }

    /// What the store takes of the disk.
    fn disk_usage(&self, py: Python<'_>) -> PyResult<DiskUsage> {
        image_store::disk_usage(py, self.engine(py)?)
    }

    /// Looks at every byte of the store, and mends what can be mended if asked to.
    #[pyo3(signature = (*, repair=false, progress=None))]
    fn scrub(&self, py: Python<'_>, repair: bool, progress: Option<Py<PyAny>>) -> PyResult<Scrub> {
        image_store::scrub(py, self.engine(py)?, repair, progress)
    }

    /// Closes the engine and removes the session-scoped containers that it started. Closing again does nothing.
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        // In a forked child there is nothing of ours to close.
        let Ok(engine) = self.engine.get() else { return Ok(()) };
        quick(py, || {
            engine.close();
            Ok(())
        })
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
        let _ = (exc_type, exc_value, traceback);
        self.close(py)
    }

    /// Whoever can make the engine ask its provider has this object, so that it goes with the last of them.
    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.provider.as_ref().map_or(Ok(()), |provider| provider.traverse(&visit))
    }

    fn __clear__(&self) {
        if let Some(provider) = &self.provider {
            provider.clear();
        }
    }

    fn __repr__(&self) -> &'static str {
        "<coble.Engine>"
    }
}
