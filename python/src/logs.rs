//! The stream of a container's output.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, TryLockError};

use coble::{CancelToken, Error, ErrorKind, LogSource};
use pyo3::exceptions::PyStopIteration;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::convert::{Seconds, seconds};
use crate::enter::{Call, Own, lock, quick};
use crate::errors::to_py;
use crate::text::Decoder;
use crate::values::LogRecord;

/// How much is read ahead when it is there: a call for each record would cost more than the record.
const AHEAD_RECORDS: usize = 256;
const AHEAD_BYTES: usize = 1 << 20;

/// What a container's program wrote, record by record. An iterator and a context manager; any thread may close it.
#[pyclass(frozen, name = "LogStream", module = "coble")]
pub(crate) struct PyLogStream {
    shared: Own<Shared>,
}

struct Shared {
    follow: bool,
    reader: Mutex<Reader>,
    closed: AtomicBool,
    /// The token of the read that is going on.
    reading: Mutex<Option<CancelToken>>,
}

struct Reader {
    stream: Option<coble::LogStream>,
    ahead: VecDeque<coble::LogRecord>,
}

impl Shared {
    fn reader(&self) -> coble::Result<MutexGuard<'_, Reader>> {
        match self.reader.try_lock() {
            Ok(reader) => Ok(reader),
            Err(TryLockError::Poisoned(poisoned)) => Ok(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => {
                Err(Error::new(ErrorKind::InvalidState, "another thread is reading this stream"))
            }
        }
    }

    fn is_closed(&self) -> bool {
        self.closed.load(Ordering::SeqCst)
    }

    /// The next record, and what can be had after it without waiting.
    fn read(&self, cancel: &CancelToken) -> coble::Result<Option<coble::LogRecord>> {
        let mut reader = self.reader()?;
        let Reader { stream: Some(stream), ahead } = &mut *reader else { return Ok(None) };
        *lock(&self.reading) = Some(cancel.clone());
        // Looked at after the token is in its place: whoever closes either is seen here, or sees the token.
        let result = if self.is_closed() { Ok(None) } else { stream.next(cancel) };
        *lock(&self.reading) = None;
        let first = match result {
            Err(error) if error.kind() == ErrorKind::Cancelled && self.is_closed() => return Ok(None),
            result => result?,
        };
        let mut bytes = 0;
        while first.is_some() && ahead.len() < AHEAD_RECORDS && bytes < AHEAD_BYTES {
            let Some(record) = stream.try_next()? else { break };
            bytes += record.data.len();
            ahead.push_back(record);
        }
        Ok(first)
    }
}

impl PyLogStream {
    pub(crate) fn new(stream: coble::LogStream, follow: bool) -> PyLogStream {
        let reader = Mutex::new(Reader { stream: Some(stream), ahead: VecDeque::new() });
        let shared = Shared { follow, reader, closed: AtomicBool::new(false), reading: Mutex::new(None) };
        PyLogStream { shared: Own::new(shared) }
    }

    fn advance(&self, py: Python<'_>, timeout: Option<Seconds>) -> PyResult<Option<coble::LogRecord>> {
        let shared = self.shared.get().map_err(|error| to_py(py, error))?;
        if shared.is_closed() {
            return Ok(None);
        }
        if let Some(record) = shared.reader().map_err(|error| to_py(py, error))?.ahead.pop_front() {
            return Ok(Some(record));
        }
        if !shared.follow {
            return quick(py, || shared.read(&CancelToken::never()));
        }
        let limit = seconds(timeout).map(|timeout| (timeout, "no output in time"));
        Call::begin(py, true)?.run(py, limit, |cancel| shared.read(cancel))
    }
}

#[pymethods]
impl PyLogStream {
    fn __iter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __next__(&self, py: Python<'_>) -> PyResult<Option<LogRecord>> {
        Ok(self.advance(py, None)?.map(|record| LogRecord::new(py, record)))
    }

    /// The next record; None at the end.
    #[pyo3(signature = (timeout=None))]
    fn next(&self, py: Python<'_>, timeout: Option<Seconds>) -> PyResult<Option<LogRecord>> {
        Ok(self.advance(py, timeout)?.map(|record| LogRecord::new(py, record)))
    }

    /// The next record if it was read ahead, for coble.aio.
    fn _ahead(&self, py: Python<'_>) -> PyResult<Option<LogRecord>> {
        let shared = self.shared.get().map_err(|error| to_py(py, error))?;
        let Ok(mut reader) = shared.reader() else { return Ok(None) };
        Ok(reader.ahead.pop_front().map(|record| LogRecord::new(py, record)))
    }

    /// All the bytes until the end.
    fn read<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        let mut bytes = Vec::new();
        while let Some(record) = self.advance(py, None)? {
            bytes.extend_from_slice(&record.data);
        }
        Ok(PyBytes::new(py, &bytes))
    }

    fn __bytes__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        self.read(py)
    }

    /// An iterator over whole lines, without their ends.
    #[pyo3(signature = (*, text=false, encoding=None, errors=None))]
    fn lines(
        slf: Py<Self>,
        py: Python<'_>,
        text: bool,
        encoding: Option<String>,
        errors: Option<String>,
    ) -> PyResult<LogLines> {
        let decoder = Decoder::of(py, text, encoding, errors)?;
        Ok(LogLines { stream: slf, state: Mutex::new(Lines::default()), decoder })
    }

    /// Ends the stream, also for a thread that is waiting in it.
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        let Ok(shared) = self.shared.get() else { return Ok(()) };
        shared.closed.store(true, Ordering::SeqCst);
        if let Some(token) = &*lock(&shared.reading) {
            token.cancel();
        }
        quick(py, || {
            let mut reader = lock(&shared.reader);
            reader.ahead.clear();
            reader.stream = None;
            Ok(())
        })
    }

    /// Whether the stream was closed.
    #[getter]
    fn closed(&self) -> bool {
        self.shared.get().map_or(true, Shared::is_closed)
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

/// The lines of a stream. Those of standard output and standard error are put together separately.
#[pyclass(frozen, generic, module = "coble")]
pub(crate) struct LogLines {
    stream: Py<PyLogStream>,
    state: Mutex<Lines>,
    decoder: Option<Decoder>,
}

impl LogLines {
    fn line<'py>(&self, py: Python<'py>, line: &[u8]) -> PyResult<Bound<'py, PyAny>> {
        let bytes = PyBytes::new(py, line);
        match &self.decoder {
            Some(decoder) => decoder.line(&bytes),
            None => Ok(bytes.into_any()),
        }
    }
}

#[derive(Default)]
struct Lines {
    ready: VecDeque<Vec<u8>>,
    unfinished: [Vec<u8>; 2],
    ended: bool,
}

impl Lines {
    fn add(&mut self, record: &coble::LogRecord) {
        let [out, err] = &mut self.unfinished;
        let unfinished = if record.source == LogSource::Stderr { err } else { out };
        let mut pieces = record.data.split(|byte| *byte == b'\n');
        let last = pieces.next_back().unwrap_or_default();
        for piece in pieces {
            unfinished.extend_from_slice(piece);
            self.ready.push_back(std::mem::take(unfinished));
        }
        unfinished.extend_from_slice(last);
    }

    fn end(&mut self) {
        self.ended = true;
        let unfinished = self.unfinished.iter_mut().filter(|line| !line.is_empty()).map(std::mem::take);
        self.ready.extend(unfinished);
    }
}

#[pymethods]
impl LogLines {
    /// The next line if it is complete already, for coble.aio.
    fn _ahead<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let line = lock(&self.state).ready.pop_front();
        line.map(|line| self.line(py, &line)).transpose()
    }

    fn __iter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __next__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        loop {
            let (line, ended) = {
                let mut state = lock(&self.state);
                (state.ready.pop_front(), state.ended)
            };
            match line {
                Some(line) => return self.line(py, &line),
                None if ended => return Err(PyStopIteration::new_err(())),
                None => {}
            }
            // Not under the lock, which would be held while others need the GIL.
            let record = self.stream.get().advance(py, None)?;
            let mut state = lock(&self.state);
            match record {
                Some(record) => state.add(&record),
                None => state.end(),
            }
        }
    }
}
