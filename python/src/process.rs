//! Programs started with `popen`, without their streams: `coble.Process`, which has those, is written in Python over this.

use pyo3::prelude::*;

use crate::containers::signal;
use crate::convert;
use crate::enter::{Homed, block, quick};

/// A program in a container, without its streams.
#[pyclass(frozen, module = "coble._coble")]
pub(crate) struct RawProcess(Homed<coble::Process>);

impl RawProcess {
    pub(crate) fn new(process: coble::Process) -> RawProcess {
        RawProcess(Homed::new(process))
    }
}

#[pymethods]
impl RawProcess {
    /// Its process id on the host.
    #[getter]
    fn pid(&self, py: Python<'_>) -> PyResult<i32> {
        Ok(self.0.get_for(py)?.pid())
    }

    /// Waits for its end and returns its exit code. Raises `TimeoutError` when `timeout` seconds are over.
    #[pyo3(signature = (timeout=None))]
    fn wait(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<i32> {
        let (process, timeout) = (self.0.get_for(py)?, convert::seconds(py, timeout, "timeout")?);
        block(py, |cancel| process.wait(timeout, cancel))
    }

    /// Its exit code, if it ended.
    fn poll(&self, py: Python<'_>) -> PyResult<Option<i32>> {
        let process = self.0.get_for(py)?;
        quick(py, || process.poll())
    }

    /// Sends it a signal, by number or name.
    #[pyo3(signature = (signal))]
    fn send_signal(&self, py: Python<'_>, signal: &Bound<'_, PyAny>) -> PyResult<()> {
        let (process, signal) = (self.0.get_for(py)?, self::signal(signal)?);
        quick(py, || process.send_signal(signal))
    }
}
