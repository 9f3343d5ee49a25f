//! The engine.

use std::sync::Arc;

use coble::EngineOptions;
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;

use crate::args::{CreateArgs, RunArgs};
use crate::containers::Containers;
use crate::convert;
use crate::enter::{Homed, block, quick};
use crate::images::Images;
use crate::results::{Info, Report, RunResult};

/// What everything that came from one engine shares.
pub(crate) type Shared = Arc<Homed<coble::Engine>>;

/// A container engine in this process, over a store that other processes may use at the same time.
#[pyclass(frozen, module = "coble")]
pub(crate) struct Engine(Shared);

fn options(
    data_root: Option<&Bound<'_, PyAny>>,
    run_root: Option<&Bound<'_, PyAny>>,
    rootless: Option<bool>,
) -> PyResult<EngineOptions> {
    let mut options = EngineOptions::default();
    options.data_root = data_root.map(convert::path).transpose()?;
    options.run_root = run_root.map(convert::path).transpose()?;
    options.rootless = rootless;
    Ok(options)
}

#[pymethods]
impl Engine {
    #[new]
    #[pyo3(signature = (*, data_root=None, run_root=None, rootless=None))]
    fn new(
        py: Python<'_>,
        data_root: Option<&Bound<'_, PyAny>>,
        run_root: Option<&Bound<'_, PyAny>>,
        rootless: Option<bool>,
    ) -> PyResult<Engine> {
        let options = options(data_root, run_root, rootless)?;
        // It sweeps, which can take long and must not be left in the middle: no cancellation.
        let engine = quick(py, || coble::Engine::open(options))?;
        Ok(Engine(Arc::new(Homed::new(engine))))
    }

    /// The images of the store.
    #[getter]
    fn images(&self) -> Images {
        Images::new(self.0.clone())
    }

    /// The containers of the store.
    #[getter]
    fn containers(&self) -> Containers {
        Containers::new(self.0.clone())
    }

    /// Creates a session-scoped container, starts it, waits, collects its output and removes it.
    #[pyo3(signature = (
        image, command=None, *, name=None, entrypoint=None, environment=None, working_dir=None, user=None, group_add=None,
        hostname=None, network=None, mem_limit=None, cpus=None, pids_limit=None, cap_add=None, cap_drop=None,
        read_only=false, security_opt=None, labels=None, stop_signal=None, stop_timeout=None, shm_size=None,
        extra_hosts=None, dns=None, check=false, timeout=None, input=None, capture_limit=None, stdin=None, stdout=None,
        stderr=None,
    ))]
    #[allow(clippy::too_many_arguments)]
    fn run<'py>(
        &self,
        py: Python<'py>,
        image: &Bound<'py, PyAny>,
        command: Option<&Bound<'py, PyAny>>,
        name: Option<String>,
        entrypoint: Option<&Bound<'py, PyAny>>,
        environment: Option<&Bound<'py, PyAny>>,
        working_dir: Option<String>,
        user: Option<&Bound<'py, PyAny>>,
        group_add: Option<&Bound<'py, PyAny>>,
        hostname: Option<String>,
        network: Option<String>,
        mem_limit: Option<&Bound<'py, PyAny>>,
        cpus: Option<f64>,
        pids_limit: Option<&Bound<'py, PyAny>>,
        cap_add: Option<&Bound<'py, PyAny>>,
        cap_drop: Option<&Bound<'py, PyAny>>,
        read_only: bool,
        security_opt: Option<&Bound<'py, PyAny>>,
        labels: Option<&Bound<'py, PyAny>>,
        stop_signal: Option<&Bound<'py, PyAny>>,
        stop_timeout: Option<&Bound<'py, PyAny>>,
        shm_size: Option<&Bound<'py, PyAny>>,
        extra_hosts: Option<&Bound<'py, PyAny>>,
        dns: Option<&Bound<'py, PyAny>>,
        check: bool,
        timeout: Option<f64>,
        input: Option<PyBackedBytes>,
        capture_limit: Option<&Bound<'py, PyAny>>,
        stdin: Option<&Bound<'py, PyAny>>,
        stdout: Option<&Bound<'py, PyAny>>,
        stderr: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<RunResult> {
        let (auto_remove, lifetime) = (false, None);
        let spec = CreateArgs {
            image,
            command,
            name,
            entrypoint,
            environment,
            working_dir,
            user,
            group_add,
            hostname,
            network,
            mem_limit,
            cpus,
            pids_limit,
            cap_add,
            cap_drop,
            read_only,
            security_opt,
            labels,
            stop_signal,
            stop_timeout,
            shm_size,
            extra_hosts,
            dns,
            auto_remove,
            lifetime,
        }
        .spec()?;
        let options = RunArgs { check, timeout, input, capture_limit, stdin, stdout, stderr }.options(py)?;
        let engine = self.0.get_for(py)?;
        let result = block(py, |cancel| engine.run(spec, options, cancel))?;
        RunResult::new(py, result)
    }

    /// Facts about the engine and its host.
    fn info(&self, py: Python<'_>) -> PyResult<Info> {
        let engine = self.0.get_for(py)?;
        Info::new(py, quick(py, || engine.info())?)
    }

    /// Looks at the host.
    fn doctor(&self, py: Python<'_>) -> PyResult<Report> {
        let engine = self.0.get_for(py)?;
        Report::new(py, quick(py, || Ok(engine.doctor()))?)
    }

    /// Looks for damage in the store. Empty when nothing is wrong.
    fn verify(&self, py: Python<'_>) -> PyResult<Vec<String>> {
        let engine = self.0.get_for(py)?;
        quick(py, || engine.verify())
    }

    /// Closes the engine. Later calls raise `ClosedError`; closing again does nothing.
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        match self.0.get() {
            Ok(engine) => quick(py, || {
                engine.close();
                Ok(())
            }),
            // In a child after a fork it was never open.
            Err(_) => Ok(()),
        }
    }

    fn __enter__(slf: PyRef<'_, Self>) -> PyRef<'_, Self> {
        slf
    }

    #[pyo3(signature = (*_exception))]
    fn __exit__(&self, py: Python<'_>, _exception: &Bound<'_, pyo3::types::PyTuple>) -> PyResult<()> {
        self.close(py)
    }

    fn __repr__(&self) -> &'static str {
        "<coble.Engine>"
    }
}

/// Looks at the host, also when no engine can be opened.
#[pyfunction]
#[pyo3(signature = (*, data_root=None, run_root=None, rootless=None))]
pub(crate) fn doctor(
    py: Python<'_>,
    data_root: Option<&Bound<'_, PyAny>>,
    run_root: Option<&Bound<'_, PyAny>>,
    rootless: Option<bool>,
) -> PyResult<Report> {
    let options = options(data_root, run_root, rootless)?;
    Report::new(py, quick(py, || Ok(coble::doctor(&options)))?)
}
