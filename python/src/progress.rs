//! The progress of a transfer: told to a callable, or as a stream.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use coble::{CancelToken, Engine, Error, ErrorKind, ImageSummary, ProgressKind, ProgressSink, Pushed};
use pyo3::IntoPyObjectExt;
use pyo3::exceptions::PyBaseException;
use pyo3::prelude::*;
use pyo3::{PyTraverseError, PyVisit};
use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};
use rustix::io::Errno;

use crate::convert::{Seconds, seconds};
use crate::engine::PyEngine;
use crate::enter::{Call, Own, blocking, lock, quick};
use crate::errors::to_py;
use crate::image::PyImage;
use crate::values::{self, Progress};

/// Runs a transfer. The callable gets its progress, on the threads of the transfer; what it raises ends the transfer.
pub(crate) fn told<T: Send>(
    py: Python<'_>,
    callable: Option<Py<PyAny>>,
    work: impl FnOnce(ProgressSink<'_>, &CancelToken) -> coble::Result<T> + Send,
) -> PyResult<T> {
    let Some(callable) = callable else { return blocking(py, |cancel| work(&|_| {}, cancel)) };
    let raised = Mutex::new(None);
    let result = Call::begin(py, true)?.run(py, None, |cancel| {
        let tell = |progress: &coble::Progress| {
            if lock(&raised).is_some() {
                return;
            }
            let progress = Progress(progress.clone());
            match Python::try_attach(|py| callable.call1(py, (progress,)).map(drop)) {
                Some(Ok(())) => {}
                Some(Err(exception)) => {
                    *lock(&raised) = Some(exception);
                    cancel.cancel();
                }
                // The interpreter is on its way out.
                None => cancel.cancel(),
            }
        };
        work(&tell, cancel)
    });
    let exception = lock(&raised).take();
    exception.map_or(result, Err)
}

/// What a transfer leads to.
#[derive(Clone)]
pub(crate) enum Done {
    Image(Box<ImageSummary>),
    Pushed(Pushed),
}

/// A pull, push or copy that is under way: an iterator of its progress, and a context manager. Any thread may close it.
#[pyclass(frozen, generic, name = "ProgressStream", module = "coble")]
pub(crate) struct PyProgressStream {
    transfer: Own<Transfer>,
    /// The transfer may ask the credential provider, which goes with this object. It is here and not with the transfer's thread, which has no business with Python.
    engine: Py<PyEngine>,
}

struct Transfer {
    engine: Engine,
    queue: Arc<Queue>,
    /// Until it is over: it has a descriptor, which nobody should have to wait for the garbage collector for.
    token: Mutex<Option<CancelToken>>,
    worker: Mutex<Option<JoinHandle<()>>>,
    closed: AtomicBool,
}

/// What the transfer says, until somebody asks.
#[derive(Default)]
struct Queue(Mutex<State>);

#[derive(Default)]
struct State {
    /// Readable as long as there is an event or an outcome. None when nobody waits any more, since it is over.
    ready: Option<Arc<OwnedFd>>,
    events: VecDeque<coble::Progress>,
    outcome: Option<Outcome>,
}

enum Outcome {
    Done(Done),
    Failed(Error),
    /// The same, after somebody looked. Its traceback may lead back to the stream, which only the garbage collector can see.
    Raised(Py<PyBaseException>),
}

impl Queue {
    fn new() -> coble::Result<Queue> {
        let ready = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)
            .map_err(|errno| Error::syscall("eventfd2", "stream", errno.raw_os_error()))?;
        Ok(Queue(Mutex::new(State { ready: Some(Arc::new(ready)), ..State::default() })))
    }

    fn add(&self, progress: &coble::Progress) {
        let mut state = lock(&self.0);
        // Whoever is slow learns of the newest state of a blob, so that what waits for him has a bound.
        if matches!(progress.kind, ProgressKind::BlobProgress) {
            let same = |waiting: &&mut coble::Progress| {
                waiting.kind == progress.kind && waiting.digest == progress.digest
            };
            if let Some(waiting) = state.events.iter_mut().rev().find(same) {
                *waiting = progress.clone();
                return;
            }
        }
        state.events.push_back(progress.clone());
        state.signal();
    }

    fn end(&self, result: coble::Result<Done>) {
        let mut state = lock(&self.0);
        state.outcome = Some(match result {
            Ok(done) => Outcome::Done(done),
            Err(error) => Outcome::Failed(error),
        });
        state.signal();
    }

    /// The next event; None at the end.
    fn next(&self, cancel: &CancelToken) -> coble::Result<Option<coble::Progress>> {
        loop {
            let ready = {
                let mut state = lock(&self.0);
                let event = state.events.pop_front();
                if event.is_some() || state.outcome.is_some() {
                    state.settle();
                    return Ok(event);
                }
                state.ready.clone()
            };
            // Without it the transfer is over, and without an outcome that is being looked at.
            let Some(ready) = ready else { return Ok(None) };
            wait(&ready, cancel)?;
        }
    }

    /// Waits until there is an outcome; what happens until then is for nobody.
    fn finish(&self, cancel: &CancelToken) -> coble::Result<()> {
        while self.next(cancel)?.is_some() {}
        Ok(())
    }
}

impl State {
    fn signal(&self) {
        if let Some(ready) = &self.ready {
            // A full counter is readable, which is all that is wanted.
            let _ = rustix::io::write(ready, &1u64.to_ne_bytes());
        }
    }

    /// Makes the descriptor say what there is, after something was taken.
    fn settle(&self) {
        if let (Some(ready), true, None) = (&self.ready, self.events.is_empty(), &self.outcome) {
            let mut count = [0; 8];
            let _ = rustix::io::read(ready, &mut count);
        }
    }
}

/// Waits until there may be something to be had.
fn wait(ready: &OwnedFd, cancel: &CancelToken) -> coble::Result<()> {
    cancel.check()?;
    let mut fds = vec![PollFd::new(ready, PollFlags::IN)];
    fds.extend(cancel.as_fd().map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)));
    match poll(&mut fds, None) {
        Ok(_) | Err(Errno::INTR) => cancel.check(),
        Err(errno) => Err(Error::syscall("poll", "stream", errno.raw_os_error())),
    }
}

impl Transfer {
    /// Cancels it if it goes on, and waits until it is over.
    fn stop(&self) {
        if let Some(token) = &*lock(&self.token) {
            token.cancel();
        }
        let mut worker = lock(&self.worker);
        if let Some(worker) = worker.take() {
            // A panic of the worker has become the outcome.
            let _ = worker.join();
        }
        *lock(&self.token) = None;
        lock(&self.queue.0).ready = None;
    }
}

impl Drop for Transfer {
    fn drop(&mut self) {
        self.stop();
    }
}

impl PyProgressStream {
    /// Starts a transfer on a thread of its own.
    pub(crate) fn start(
        py: Python<'_>,
        object: &Py<PyEngine>,
        work: impl FnOnce(&Engine, ProgressSink<'_>, &CancelToken) -> coble::Result<Done> + Send + 'static,
    ) -> PyResult<PyProgressStream> {
        let engine = object.get().engine(py)?.clone();
        let transfer = quick(py, move || {
            let (queue, token) = (Arc::new(Queue::new()?), CancelToken::new());
            let (theirs, cancel, on) = (queue.clone(), token.clone(), engine.clone());
            let worker = coble::spawn_worker("coble-transfer", move || {
                let tell = |progress: &coble::Progress| theirs.add(progress);
                theirs.end(crate::enter::guarded(|| work(&on, &tell, &cancel)));
            });
            let worker = worker.map_err(|error| Error::io("clone", "thread of a transfer", &error))?;
            let (worker, token) = (Mutex::new(Some(worker)), Mutex::new(Some(token)));
            Ok(Transfer { engine, queue, token, worker, closed: AtomicBool::new(false) })
        })?;
        Ok(PyProgressStream { transfer: Own::new(transfer), engine: object.clone_ref(py) })
    }

    fn transfer(&self, py: Python<'_>) -> PyResult<&Transfer> {
        self.transfer.get().map_err(|error| to_py(py, error))
    }

    fn advance(&self, py: Python<'_>, timeout: Option<Seconds>) -> PyResult<Option<Progress>> {
        let transfer = self.transfer(py)?;
        if transfer.closed.load(Ordering::SeqCst) {
            return Ok(None);
        }
        let limit = seconds(timeout).map(|timeout| (timeout, "no progress in time"));
        let event = Call::begin(py, true)?.run(py, limit, |cancel| transfer.queue.next(cancel))?;
        if event.is_none() && !transfer.closed.load(Ordering::SeqCst) {
            // The end: whoever only iterates learns of a failure, too.
            transfer.outcome(py)?;
        }
        Ok(event.map(Progress))
    }
}

impl Transfer {
    /// What it led to, once it is over.
    fn outcome(&self, py: Python<'_>) -> PyResult<Done> {
        // Nobody who has this lock waits for the GIL.
        let mut state = lock(&self.queue.0);
        let (outcome, result) = match state.outcome.take() {
            Some(Outcome::Done(done)) => (Outcome::Done(done.clone()), Ok(done)),
            Some(Outcome::Failed(error)) => {
                let exception = to_py(py, error);
                (Outcome::Raised(exception.value(py).clone().unbind()), Err(exception))
            }
            Some(Outcome::Raised(exception)) => {
                let again = PyErr::from_value(exception.bind(py).clone().into_any());
                (Outcome::Raised(exception), Err(again))
            }
            None => {
                let defect = Error::new(ErrorKind::Internal, "a transfer is not over yet");
                return Err(to_py(py, defect));
            }
        };
        state.outcome = Some(outcome);
        result
    }
}

#[pymethods]
impl PyProgressStream {
    fn __iter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __next__(&self, py: Python<'_>) -> PyResult<Option<Progress>> {
        self.advance(py, None)
    }

    /// The next event; None at the end.
    #[pyo3(signature = (timeout=None))]
    fn next(&self, py: Python<'_>, timeout: Option<Seconds>) -> PyResult<Option<Progress>> {
        self.advance(py, timeout)
    }

    /// Waits for the end and returns what the transfer led to.
    #[pyo3(signature = (timeout=None))]
    fn result<'py>(&self, py: Python<'py>, timeout: Option<Seconds>) -> PyResult<Bound<'py, PyAny>> {
        let transfer = self.transfer(py)?;
        let limit = seconds(timeout).map(|timeout| (timeout, "the transfer is not over in time"));
        Call::begin(py, true)?.run(py, limit, |cancel| transfer.queue.finish(cancel))?;
        match transfer.outcome(py)? {
            Done::Image(summary) => PyImage::new(&transfer.engine, *summary).into_bound_py_any(py),
            Done::Pushed(pushed) => values::Pushed(pushed).into_bound_py_any(py),
        }
    }

    /// Cancels the transfer if it goes on, and ends the stream, also for a thread that is waiting in it.
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        let Ok(transfer) = self.transfer.get() else { return Ok(()) };
        transfer.closed.store(true, Ordering::SeqCst);
        quick(py, || {
            transfer.stop();
            Ok(())
        })
    }

    /// Whether the stream was closed.
    #[getter]
    fn closed(&self) -> bool {
        self.transfer.get().map_or(true, |transfer| transfer.closed.load(Ordering::SeqCst))
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

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        // Whoever has the lock is in the middle of a call, so that the stream is in use.
        let Ok(transfer) = self.transfer.get() else { return Ok(()) };
        if let Ok(state) = transfer.queue.0.try_lock()
            && let Some(Outcome::Raised(exception)) = &state.outcome
        {
            visit.call(exception)?;
        }
        // As long as it goes on, its thread has the engine, too, which the garbage collector would not know of.
        match transfer.worker.try_lock() {
            Ok(worker) if worker.as_ref().is_none_or(JoinHandle::is_finished) => visit.call(&self.engine),
            _ => Ok(()),
        }
    }

    fn __clear__(&self) {
        if let Ok(transfer) = self.transfer.get() {
            let outcome = lock(&transfer.queue.0).outcome.take();
            drop(outcome);
        }
    }

    fn __repr__(&self) -> &'static str {
        "<coble.ProgressStream>"
    }
}
