//! The stream of what a container uses.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, TryLockError};

use coble::{CancelToken, Error, ErrorKind};
use pyo3::prelude::*;

use crate::convert::{Seconds, seconds};
use crate::enter::{Call, Own, lock};
use crate::errors::to_py;
use crate::values::Stats;

/// What a container uses, look by look. An iterator and a context manager; any thread may close it.
#[pyclass(frozen, name = "StatsStream", module = "coble")]
pub(crate) struct PyStatsStream {
    shared: Own<Shared>,
}

struct Shared {
    stream: Mutex<coble::StatsStream>,
    closed: AtomicBool,
    /// The token of the look that is waited for.
    waiting: Mutex<Option<CancelToken>>,
}

impl Shared {
    fn next(&self, cancel: &CancelToken) -> coble::Result<Option<coble::Stats>> {
        let mut stream = match self.stream.try_lock() {
            Ok(stream) => stream,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => {
                return Err(Error::new(ErrorKind::InvalidState, "another thread is reading this stream"));
            }
        };
        *lock(&self.waiting) = Some(cancel.clone());
        // Looked at after the token is in its place: whoever closes either is seen here, or sees the token.
        let closed = || self.closed.load(Ordering::SeqCst);
        let result = if closed() { Ok(None) } else { stream.next(cancel) };
        *lock(&self.waiting) = None;
        match result {
            Err(error) if error.kind() == ErrorKind::Cancelled && closed() => Ok(None),
            result => result,
        }
    }
}

impl PyStatsStream {
    pub(crate) fn new(stream: coble::StatsStream) -> PyStatsStream {
        let shared =
            Shared { stream: Mutex::new(stream), closed: AtomicBool::new(false), waiting: Mutex::new(None) };
        PyStatsStream { shared: Own::new(shared) }
    }
}

#[pymethods]
impl PyStatsStream {
    fn __iter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __next__(&self, py: Python<'_>) -> PyResult<Option<Stats>> {
        self.next(py, None)
    }

    /// Waits for the next look; None when the container does not run any more, or the stream was closed.
    #[pyo3(signature = (timeout=None))]
    fn next(&self, py: Python<'_>, timeout: Option<Seconds>) -> PyResult<Option<Stats>> {
        let shared = self.shared.get().map_err(|error| to_py(py, error))?;
        let limit = seconds(timeout).map(|timeout| (timeout, "no look in time"));
        let found = Call::begin(py, true)?.run(py, limit, |cancel| shared.next(cancel))?;
        Ok(found.map(Stats))
    }

    /// Ends the stream, also for a thread that is waiting in it.
    fn close(&self) {
        let Ok(shared) = self.shared.get() else { return };
        shared.closed.store(true, Ordering::SeqCst);
        if let Some(token) = &*lock(&shared.waiting) {
            token.cancel();
        }
    }

    /// Whether it was closed.
    #[getter]
    fn closed(&self) -> bool {
        self.shared.get().map_or(true, |shared| shared.closed.load(Ordering::SeqCst))
    }

    fn __enter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    #[pyo3(signature = (exc_type=None, exc_value=None, traceback=None, /))]
    fn __exit__(
        &self,
        exc_type: Option<&Bound<'_, PyAny>>,
        exc_value: Option<&Bound<'_, PyAny>>,
        traceback: Option<&Bound<'_, PyAny>>,
    ) {
        let _ = (exc_type, exc_value, traceback);
        self.close();
    }
}
