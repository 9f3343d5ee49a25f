//! The options of containers, runs and imported images, as Python gives them.

use coble::{ContainerSpec, ExecSpec, ImportOptions, Lifetime, NetworkMode, RunOptions};
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;

use crate::convert;
use crate::errors::raise;
use crate::images::Image;
use crate::streams::Stream;

type Any<'a, 'py> = Option<&'a Bound<'py, PyAny>>;

/// The options that `Engine.run`, `containers.create` and `containers.run` share: their names are the parameters'.
pub(crate) struct CreateArgs<'a, 'py> {
    pub(crate) image: &'a Bound<'py, PyAny>,
    pub(crate) command: Any<'a, 'py>,
    pub(crate) name: Option<String>,
    pub(crate) entrypoint: Any<'a, 'py>,
    pub(crate) environment: Any<'a, 'py>,
    pub(crate) working_dir: Option<String>,
    pub(crate) user: Any<'a, 'py>,
    pub(crate) group_add: Any<'a, 'py>,
    pub(crate) hostname: Option<String>,
    pub(crate) network: Option<String>,
    pub(crate) mem_limit: Any<'a, 'py>,
    pub(crate) cpus: Option<f64>,
    pub(crate) pids_limit: Any<'a, 'py>,
    pub(crate) cap_add: Any<'a, 'py>,
    pub(crate) cap_drop: Any<'a, 'py>,
    pub(crate) read_only: bool,
    pub(crate) security_opt: Any<'a, 'py>,
    pub(crate) labels: Any<'a, 'py>,
    pub(crate) stop_signal: Any<'a, 'py>,
    pub(crate) stop_timeout: Any<'a, 'py>,
    pub(crate) shm_size: Any<'a, 'py>,
    pub(crate) extra_hosts: Any<'a, 'py>,
    pub(crate) dns: Any<'a, 'py>,
    pub(crate) auto_remove: bool,
    pub(crate) lifetime: Option<String>,
}

impl CreateArgs<'_, '_> {
    pub(crate) fn spec(self) -> PyResult<ContainerSpec> {
        let py = self.image.py();
        let mut spec = ContainerSpec::new(image_name(self.image)?);
        spec.command = convert::command(self.command)?;
        spec.entrypoint = convert::command(self.entrypoint)?;
        spec.name = self.name;
        spec.environment = convert::environment(self.environment)?;
        spec.working_dir = self.working_dir;
        spec.user = self.user.map(convert::word).transpose()?;
        spec.group_add = convert::words(self.group_add)?;
        spec.hostname = self.hostname;
        if let Some(network) = self.network {
            spec.network = NetworkMode::parse(&network).map_err(|error| raise(py, error))?;
        }
        spec.mem_limit = convert::size(self.mem_limit, "mem_limit")?;
        spec.nano_cpus = self.cpus.map(coble::parse::cpus).transpose().map_err(|error| raise(py, error))?;
        spec.pids_limit = convert::number(self.pids_limit, "pids_limit")?;
        spec.cap_add = convert::optional_strings(self.cap_add)?;
        spec.cap_drop = convert::optional_strings(self.cap_drop)?;
        spec.read_only = self.read_only;
        spec.security_opt = convert::optional_strings(self.security_opt)?;
        spec.labels = convert::labels(self.labels)?;
        spec.stop_signal = self.stop_signal.map(convert::word).transpose()?;
        spec.stop_timeout = convert::number(self.stop_timeout, "stop_timeout")?;
        spec.shm_size = convert::size(self.shm_size, "shm_size")?;
        spec.extra_hosts = convert::hosts(self.extra_hosts)?;
        spec.dns = convert::optional_strings(self.dns)?;
        spec.auto_remove = self.auto_remove;
        if let Some(lifetime) = self.lifetime {
            spec.lifetime = Lifetime::parse(&lifetime).map_err(|error| raise(py, error))?;
        }
        Ok(spec)
    }
}

/// An image by its name, or an `Image`, which is meant by its id.
pub(crate) fn image_name(image: &Bound<'_, PyAny>) -> PyResult<String> {
    match image.cast::<Image>() {
        Ok(image) => Ok(image.get().id().to_owned()),
        Err(_) => image.extract(),
    }
}

/// The options that `Engine.run` and `Container.exec` share.
pub(crate) struct RunArgs<'a, 'py> {
    pub(crate) check: bool,
    pub(crate) timeout: Option<f64>,
    pub(crate) input: Option<PyBackedBytes>,
    pub(crate) capture_limit: Any<'a, 'py>,
    pub(crate) stdin: Any<'a, 'py>,
    pub(crate) stdout: Any<'a, 'py>,
    pub(crate) stderr: Any<'a, 'py>,
}

impl RunArgs<'_, '_> {
    pub(crate) fn options(self, py: Python<'_>) -> PyResult<RunOptions> {
        let mut options = RunOptions::default();
        options.input = self.input.map(|input| input.to_vec());
        options.timeout = convert::seconds(py, self.timeout, "timeout")?;
        options.check = self.check;
        options.capture_limit = convert::size(self.capture_limit, "capture_limit")?;
        options.stdin = Stream::new(self.stdin)?.for_run(py, 0)?;
        options.stdout = Stream::new(self.stdout)?.for_run(py, 1)?;
        options.stderr = Stream::new(self.stderr)?.for_run(py, 2)?;
        Ok(options)
    }
}

/// Another program in a container.
pub(crate) fn exec_spec(
    command: &Bound<'_, PyAny>,
    environment: Any<'_, '_>,
    working_dir: Option<String>,
    user: Any<'_, '_>,
) -> PyResult<ExecSpec> {
    let mut spec = ExecSpec::new(convert::command(Some(command))?.unwrap_or_default());
    spec.environment = convert::environment(environment)?;
    spec.working_dir = working_dir;
    spec.user = user.map(convert::word).transpose()?;
    Ok(spec)
}

/// The configuration of an image that is made from files.
pub(crate) struct ImportArgs<'a, 'py> {
    pub(crate) command: Any<'a, 'py>,
    pub(crate) entrypoint: Any<'a, 'py>,
    pub(crate) environment: Any<'a, 'py>,
    pub(crate) working_dir: Option<String>,
    pub(crate) user: Any<'a, 'py>,
    pub(crate) labels: Any<'a, 'py>,
    pub(crate) message: Option<String>,
}

impl ImportArgs<'_, '_> {
    pub(crate) fn options(self) -> PyResult<ImportOptions> {
        let mut options = ImportOptions::default();
        options.command = convert::command(self.command)?;
        options.entrypoint = convert::command(self.entrypoint)?;
        options.environment = convert::environment(self.environment)?;
        options.working_dir = self.working_dir;
        options.user = self.user.map(convert::word).transpose()?;
        options.labels = convert::labels(self.labels)?;
        options.message = self.message;
        Ok(options)
    }
}
