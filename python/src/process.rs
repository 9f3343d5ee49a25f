//! A program that was started in a running container, in the form of `subprocess.Popen`.

use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, OnceLock, TryLockError};
use std::time::Duration;

use coble::{Error, ErrorKind, Signal};
use pyo3::exceptions::{PyBrokenPipeError, PyKeyboardInterrupt};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyType};

use crate::convert::{Input, Seconds, Text, duplicate, seconds, signal};
use crate::enter::{Call, Own, blocking, quick};
use crate::errors::{invalid, to_py};
use crate::exchange::{Exchange, nonblocking};
use crate::values::Warning;

/// A program in a running container. Its streams are files with descriptors; dropping it closes them and leaves the program alone.
#[pyclass(frozen, name = "Process", module = "coble")]
pub(crate) struct PyProcess {
    process: Own<coble::Process>,
    args: Vec<String>,
    streams: [Option<Py<PyAny>>; 3],
    returncode: OnceLock<i32>,
    exchange: Mutex<Option<Exchange>>,
    /// It is a container's own, or was left: it goes on without whoever is connected to it.
    goes_on: AtomicBool,
}

/// What was collected of a stream, if it is a pipe.
type Collected<'py> = Option<Bound<'py, PyBytes>>;

impl PyProcess {
    pub(crate) fn new(
        process: coble::Process,
        args: Vec<String>,
        streams: [Option<Py<PyAny>>; 3],
        attached: bool,
    ) -> PyProcess {
        PyProcess {
            process: Own::new(process),
            args,
            streams,
            returncode: OnceLock::new(),
            exchange: Mutex::new(None),
            goes_on: AtomicBool::new(attached),
        }
    }

    fn process(&self, py: Python<'_>) -> PyResult<&coble::Process> {
        self.process.get().map_err(|error| to_py(py, error))
    }

    fn ended(&self, code: i32) -> i32 {
        *self.returncode.get_or_init(|| code)
    }

    fn send(&self, py: Python<'_>, signal: Signal) -> PyResult<()> {
        let process = self.process(py)?;
        quick(py, || process.send_signal(signal))
    }

    /// Hands the files over to an exchange, and closes them.
    fn hand_over(&self, py: Python<'_>, input: Option<Input>) -> PyResult<Exchange> {
        let [stdin, stdout, stderr] = &self.streams;
        if input.is_some() && stdin.is_none() {
            return Err(invalid(py, "input was given, but stdin is not a pipe"));
        }
        let input = input.map_or_else(Vec::new, |Input(bytes)| bytes);
        let stdin = match open_file(py, stdin)? {
            Some(file) => {
                // While it still waits for the reader.
                ignore_broken_pipe(py, file.call_method0("flush"))?;
                let fd = take_descriptor(&file)?;
                ignore_broken_pipe(py, file.call_method0("close"))?;
                Some(fd)
            }
            None => None,
        };
        let output = |file: &Option<Py<PyAny>>| {
            let Some(file) = open_file(py, file)? else { return Ok(None) };
            let fd = take_descriptor(&file)?;
            // What the file has read ahead. It does not wait any more.
            let ahead = file.call_method0("peek")?.extract::<Vec<u8>>()?;
            file.call_method0("close")?;
            PyResult::Ok(Some((fd, ahead)))
        };
        Ok(Exchange::new(stdin, input, output(stdout)?, output(stderr)?))
    }
}

/// The file, if there is one and it is open.
fn open_file<'py>(py: Python<'py>, file: &Option<Py<PyAny>>) -> PyResult<Option<Bound<'py, PyAny>>> {
    let Some(file) = file else { return Ok(None) };
    let file = file.bind(py);
    Ok((!file.getattr("closed")?.is_truthy()?).then(|| file.clone()))
}

/// A copy of a file's descriptor that does not block.
fn take_descriptor(file: &Bound<'_, PyAny>) -> PyResult<OwnedFd> {
    let number = file.call_method0("fileno")?.extract()?;
    let copy = || {
        let fd = duplicate(number)?;
        nonblocking(&fd)?;
        Ok(fd)
    };
    copy().map_err(|error| to_py(file.py(), error))
}

/// A program may end without having read its input.
fn ignore_broken_pipe(py: Python<'_>, result: PyResult<Bound<'_, PyAny>>) -> PyResult<()> {
    match result {
        Err(error) if !error.is_instance_of::<PyBrokenPipeError>(py) => Err(error),
        _ => Ok(()),
    }
}

#[pymethods]
impl PyProcess {
    /// Standard input: a binary file to write to, if it is a pipe.
    #[getter]
    fn stdin(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        self.streams[0].as_ref().map(|file| file.clone_ref(py))
    }

    /// Standard output: a binary file to read from, if it is a pipe.
    #[getter]
    fn stdout(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        self.streams[1].as_ref().map(|file| file.clone_ref(py))
    }

    /// Standard error: a binary file to read from, if it is a pipe.
    #[getter]
    fn stderr(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        self.streams[2].as_ref().map(|file| file.clone_ref(py))
    }

    /// Program and arguments.
    #[getter]
    fn args(&self) -> Vec<String> {
        self.args.clone()
    }

    /// Its process id on the host.
    #[getter]
    fn pid(&self, py: Python<'_>) -> PyResult<i32> {
        Ok(self.process(py)?.pid())
    }

    /// Its exit code, once poll, wait or communicate has seen its end.
    #[getter]
    fn returncode(&self) -> Option<i32> {
        self.returncode.get().copied()
    }

    /// What it could not be given and was not essential.
    #[getter]
    fn warnings(&self, py: Python<'_>) -> PyResult<Vec<Warning>> {
        Ok(self.process(py)?.warnings().iter().cloned().map(Warning).collect())
    }

    /// Its exit code if it ended, otherwise None.
    fn poll(&self, py: Python<'_>) -> PyResult<Option<i32>> {
        let process = self.process(py)?;
        Ok(quick(py, || process.poll())?.map(|code| self.ended(code)))
    }

    /// Waits for its end.
    #[pyo3(signature = (timeout=None))]
    fn wait(&self, py: Python<'_>, timeout: Option<Seconds>) -> PyResult<i32> {
        let process = self.process(py)?;
        let timeout = seconds(timeout);
        let code = blocking(py, |cancel| process.wait(timeout, cancel))?;
        Ok(self.ended(code))
    }

    /// Sends input, collects the outputs until their end, waits.
    #[pyo3(signature = (input=None, timeout=None))]
    fn communicate<'py>(
        &self,
        py: Python<'py>,
        input: Option<Input>,
        timeout: Option<Seconds>,
    ) -> PyResult<(Collected<'py>, Collected<'py>)> {
        let process = self.process(py)?;
        let mut exchange = match self.exchange.try_lock() {
            Ok(exchange) => exchange,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => {
                let message = "another thread communicates with this program";
                return Err(to_py(py, Error::new(ErrorKind::InvalidState, message)));
            }
        };
        let exchange = match &mut *exchange {
            Some(_) if input.is_some() => {
                return Err(invalid(py, "input was already given to the communicate that was not finished"));
            }
            Some(exchange) => exchange,
            none => none.insert(self.hand_over(py, input)?),
        };
        let limit = (seconds(timeout).unwrap_or(Duration::MAX), "the program did not end in time");
        let code = Call::begin(py, true)?.run(py, Some(limit), |cancel| {
            exchange.run(cancel)?;
            process.wait(None, cancel)
        })?;
        self.ended(code);
        let (stdout, stderr) = exchange.take();
        let bytes = |data: Option<Vec<u8>>| data.map(|data| PyBytes::new(py, &data));
        Ok((bytes(stdout), bytes(stderr)))
    }

    /// Sends a signal. A program that has ended is left alone.
    #[pyo3(name = "send_signal")]
    fn py_send_signal(&self, py: Python<'_>, sig: Text) -> PyResult<()> {
        let signal = signal(py, &sig)?;
        self.send(py, signal)
    }

    /// Sets the size of its terminal.
    fn resize(&self, py: Python<'_>, height: u16, width: u16) -> PyResult<()> {
        let process = self.process(py)?;
        quick(py, || process.resize(height, width))
    }

    /// Leaves it to itself.
    fn detach(&self, py: Python<'_>) -> PyResult<()> {
        let process = self.process(py)?;
        quick(py, || process.detach())?;
        self.goes_on.store(true, Ordering::Relaxed);
        for file in self.streams.iter().rev().flatten() {
            ignore_broken_pipe(py, file.bind(py).call_method0("close"))?;
        }
        Ok(())
    }

    /// Sends SIGTERM.
    fn terminate(&self, py: Python<'_>) -> PyResult<()> {
        self.send(py, Signal::TERM)
    }

    /// Sends SIGKILL.
    fn kill(&self, py: Python<'_>) -> PyResult<()> {
        self.send(py, Signal::KILL)
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
        let _ = (exc_value, traceback);
        for file in self.streams.iter().rev().flatten() {
            ignore_broken_pipe(py, file.bind(py).call_method0("close"))?;
        }
        let process = self.process(py)?;
        quick(py, || {
            process.hang_up();
            Ok(())
        })?;
        // As subprocess does it: somebody who pressed Ctrl-C does not want to wait.
        let interrupted = match exc_type {
            Some(exc_type) => exc_type.cast::<PyType>()?.is_subclass_of::<PyKeyboardInterrupt>()?,
            None => false,
        };
        if !interrupted && !self.goes_on.load(Ordering::Relaxed) {
            self.wait(py, None)?;
        }
        Ok(())
    }

    fn __repr__(&self) -> String {
        let code = self.returncode.get().map_or_else(|| "None".to_owned(), i32::to_string);
        let program = self.args.first().map_or("", String::as_str);
        format!("<coble.Process {program:?} returncode={code}>")
    }
}
