//! The engine's own waits for a container to become ready, for coble.wait.

use std::sync::Mutex;
use std::time::Duration;

use coble::{CancelToken, Ready, ReadyWait};
use pyo3::prelude::*;

use crate::convert::{Command, Environment, Text};
use crate::enter::{Own, attentive, lock, quick};
use crate::errors::{invalid, to_py};

/// A wait for one container: a `Waiter` of coble.wait.
#[pyclass(frozen, name = "_ReadyWait", module = "coble")]
pub(crate) struct PyReadyWait {
    wait: Own<Mutex<Option<ReadyWait>>>,
}

impl PyReadyWait {
    pub(crate) fn new(wait: ReadyWait) -> PyReadyWait {
        PyReadyWait { wait: Own::new(Mutex::new(Some(wait))) }
    }
}

#[pymethods]
impl PyReadyWait {
    fn ready(&self, py: Python<'_>, seconds: f64) -> PyResult<bool> {
        let limit = Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or(Duration::MAX);
        let wait = self.wait.get().map_err(|error| to_py(py, error))?;
        attentive(py, |cancel: &CancelToken| match &mut *lock(wait) {
            Some(wait) => wait.ready(limit, cancel),
            None => Ok(false),
        })
    }

    fn close(&self, py: Python<'_>) -> PyResult<()> {
        let wait = self.wait.get().map_err(|error| to_py(py, error))?;
        quick(py, || {
            *lock(wait) = None;
            Ok(())
        })
    }
}

/// The words of a strategy of coble.wait.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
pub(crate) struct Words {
    kind: String,
    #[pyo3(default)]
    number: u16,
    #[pyo3(default)]
    path: String,
    #[pyo3(default)]
    status: Option<u16>,
    #[pyo3(default)]
    headers: Vec<(String, String)>,
    #[pyo3(default)]
    command: Option<Command>,
    #[pyo3(default)]
    exit_code: i32,
    #[pyo3(default)]
    interval: f64,
    #[pyo3(default)]
    environment: Option<Environment>,
    #[pyo3(default)]
    user: Option<Text>,
}

impl Words {
    pub(crate) fn ready(self, py: Python<'_>) -> PyResult<Ready> {
        Ok(match self.kind.as_str() {
            "port" => Ready::Port(self.number),
            "http" => {
                Ready::Http { port: self.number, path: self.path, status: self.status, headers: self.headers }
            }
            "file" => Ready::File(self.path),
            "exec" => {
                let Command(command) = self.command.unwrap_or(Command(Vec::new()));
                let mut spec = coble::ExecSpec::new(command);
                spec.environment = self.environment.map_or_else(Vec::new, |Environment(all)| all);
                spec.user = self.user.map(|Text(text)| text);
                let interval = Duration::try_from_secs_f64(self.interval)
                    .map_err(|_| invalid(py, "interval is not a number of seconds"))?;
                Ready::Exec { spec, exit_code: self.exit_code, interval }
            }
            "healthy" => Ready::Healthy,
            kind => return Err(invalid(py, format!("unknown kind of wait {kind:?}"))),
        })
    }
}
