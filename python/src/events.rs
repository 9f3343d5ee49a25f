//! The stream of events.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, TryLockError};
use std::time::UNIX_EPOCH;

use coble::{CancelToken, Error, ErrorKind, EventOptions};
use pyo3::prelude::*;

use crate::convert::{Seconds, seconds};
use crate::enter::{Call, Own, lock, quick};
use crate::errors::to_py;
use crate::values::{Json, datetime};

/// Something that happened to a container or an image.
#[pyclass(frozen, eq, skip_from_py_object, module = "coble")]
#[derive(Clone, PartialEq)]
pub(crate) struct Event(coble::Event);

#[pymethods]
impl Event {
    /// Grows from event to event, in the order in which they went on record.
    #[getter]
    fn id(&self) -> u64 {
        self.0.id
    }

    /// When it happened, as a datetime in UTC, to the microsecond.
    #[getter]
    fn time<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        datetime(py, self.time_ns())
    }

    /// When it happened, in nanoseconds since the epoch.
    #[getter]
    fn time_ns(&self) -> u64 {
        let since = self.0.time.duration_since(UNIX_EPOCH);
        since.map_or(0, |since| since.as_nanos().min(u128::from(u64::MAX)) as u64)
    }

    /// "container" or "image".
    #[getter]
    fn r#type(&self) -> &str {
        &self.0.kind
    }

    /// What happened, in docker's words.
    #[getter]
    fn action(&self) -> &str {
        &self.0.action
    }

    /// The id of the container or image, or for "pull" and "push" the image's name.
    #[getter]
    fn actor(&self) -> &str {
        &self.0.actor
    }

    /// More about it.
    #[getter]
    fn attributes(&self) -> BTreeMap<String, String> {
        self.0.attributes.clone()
    }

    /// The event as docker's API has it.
    fn to_dict(&self) -> Json {
        Json::new(self.0.to_docker())
    }

    fn __repr__(slf: &Bound<'_, Self>) -> PyResult<String> {
        crate::values::repr(slf.as_any(), "Event", &["id", "time", "type", "action", "actor", "attributes"])
    }
}

/// What happens to containers and images, event by event. An iterator and a context manager; any thread may close it.
#[pyclass(frozen, name = "EventStream", module = "coble")]
pub(crate) struct PyEventStream {
    shared: Own<Shared>,
}

struct Shared {
    stream: Mutex<Option<coble::EventStream>>,
    closed: AtomicBool,
    /// The token of the event that is waited for.
    waiting: Mutex<Option<CancelToken>>,
}

impl Shared {
    fn next(&self, cancel: &CancelToken) -> coble::Result<Option<coble::Event>> {
        let mut stream = match self.stream.try_lock() {
            Ok(stream) => stream,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => {
                return Err(Error::new(ErrorKind::InvalidState, "another thread is reading this stream"));
            }
        };
        let Some(stream) = &mut *stream else { return Ok(None) };
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

impl PyEventStream {
    pub(crate) fn open(
        py: Python<'_>,
        engine: &coble::Engine,
        options: &EventOptions,
    ) -> PyResult<PyEventStream> {
        let stream = quick(py, || engine.events(options))?;
        let shared = Shared {
            stream: Mutex::new(Some(stream)),
            closed: AtomicBool::new(false),
            waiting: Mutex::new(None),
        };
        Ok(PyEventStream { shared: Own::new(shared) })
    }
}

#[pymethods]
impl PyEventStream {
    fn __iter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __next__(&self, py: Python<'_>) -> PyResult<Option<Event>> {
        self.next(py, None)
    }

    /// Waits for the next event; None at the end, or when the stream was closed.
    #[pyo3(signature = (timeout=None))]
    fn next(&self, py: Python<'_>, timeout: Option<Seconds>) -> PyResult<Option<Event>> {
        let shared = self.shared.get().map_err(|error| to_py(py, error))?;
        let limit = seconds(timeout).map(|timeout| (timeout, "no event in time"));
        let found = Call::begin(py, true)?.run(py, limit, |cancel| shared.next(cancel))?;
        Ok(found.map(Event))
    }

    /// Ends the stream, also for a thread that is waiting in it.
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        let Ok(shared) = self.shared.get() else { return Ok(()) };
        shared.closed.store(true, Ordering::SeqCst);
        if let Some(token) = &*lock(&shared.waiting) {
            token.cancel();
        }
        quick(py, || {
            // Whoever waited has the lock until he sees it.
            *lock(&shared.stream) = None;
            Ok(())
        })
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
        py: Python<'_>,
        exc_type: Option<&Bound<'_, PyAny>>,
        exc_value: Option<&Bound<'_, PyAny>>,
        traceback: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        let _ = (exc_type, exc_value, traceback);
        self.close(py)
    }
}
