//! What containers wrote.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use coble::CancelToken;
use pyo3::prelude::*;

use crate::convert;
use crate::enter::{Homed, block_with};
use crate::errors::raise;
use crate::results::LogRecord;

/// A container's output, read piece by piece: an iterator, and a context manager that closes it. Any thread may close it, which ends
/// the iteration of another one.
#[pyclass(frozen, module = "coble")]
pub(crate) struct LogStream {
    stream: Homed<Mutex<Option<coble::LogStream>>>,
    closed: AtomicBool,
    /// What cancels the read that is under way.
    reading: Mutex<CancelToken>,
}

impl LogStream {
    pub(crate) fn new(stream: coble::LogStream) -> LogStream {
        LogStream {
            stream: Homed::new(Mutex::new(Some(stream))),
            closed: AtomicBool::new(false),
            reading: Mutex::new(CancelToken::never()),
        }
    }

    fn next(&self, py: Python<'_>, deadline: Option<Instant>) -> PyResult<Option<LogRecord>> {
        let stream = self.stream.get_for(py)?;
        let token = CancelToken::new();
        // Nobody panics with these locks held.
        let record = block_with(py, &token.clone(), deadline, |token| {
            let mut stream = stream.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            *self.reading.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = token.clone();
            let outcome = match stream.as_mut() {
                Some(open) if !self.closed.load(Ordering::SeqCst) => open.next(token),
                _ => Ok(None),
            };
            if self.closed.load(Ordering::SeqCst) {
                *stream = None;
                return Ok(None);
            }
            outcome
        })?;
        record.map(|record| LogRecord::new(py, &record)).transpose()
    }
}

#[pymethods]
impl LogStream {
    fn __iter__(slf: PyRef<'_, Self>) -> PyRef<'_, Self> {
        slf
    }

    fn __next__(&self, py: Python<'_>) -> PyResult<Option<LogRecord>> {
        self.next(py, None)
    }

    /// The next piece, or None at the end. Raises `TimeoutError` if there is none within `timeout` seconds.
    #[pyo3(signature = (*, timeout=None))]
    fn read(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<Option<LogRecord>> {
        let deadline =
            convert::seconds(py, timeout, "timeout")?.and_then(|time| Instant::now().checked_add(time));
        self.next(py, deadline)
    }

    /// Closes the stream; iterating over it ends. Closing again does nothing.
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        self.closed.store(true, Ordering::SeqCst);
        let Ok(stream) = self.stream.get() else { return Ok(()) };
        py.detach(|| {
            self.reading.lock().unwrap_or_else(std::sync::PoisonError::into_inner).cancel();
            // A reader that has it closes it itself when it is back.
            if let Ok(mut stream) = stream.try_lock() {
                *stream = None;
            }
        });
        Ok(())
    }

    /// Whether it is closed.
    #[getter]
    fn closed(&self) -> bool {
        self.closed.load(Ordering::SeqCst)
    }

    fn __enter__(slf: PyRef<'_, Self>) -> PyResult<PyRef<'_, Self>> {
        if slf.closed() {
            let error = coble::Error::new(coble::ErrorKind::Closed, "the log stream is closed");
            return Err(raise(slf.py(), error));
        }
        Ok(slf)
    }

    #[pyo3(signature = (*_exception))]
    fn __exit__(&self, py: Python<'_>, _exception: &Bound<'_, pyo3::types::PyTuple>) -> PyResult<()> {
        self.close(py)
    }
}
