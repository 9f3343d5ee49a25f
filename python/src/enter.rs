//! The one door out of Python: it releases the GIL, calls the engine, and comes back with a result or a Python exception.
//!
//! [`quick`] is for calls that cannot be cancelled, [`blocking`] and [`Call`] are for those that take a token. While such a call blocks the
//! main thread, signals are still handled: it runs on a helper thread and the main thread looks for signals, or the engine asks about them while it waits
//! ([`attentive`]). A handler that raises (Ctrl-C) cancels the call, waits until the engine has cleaned up, and its exception is what the caller gets. No
//! signal handler is installed, and no thread is left when the call is over.

use std::cell::RefCell;
use std::mem::ManuallyDrop;
use std::os::fd::{AsFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use coble::{CancelToken, Error, ErrorKind};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};

use crate::errors;

/// How long a signal may go unnoticed when it is delivered to a thread that is not the main one. Otherwise it interrupts the wait.
const SLICE: Duration = Duration::from_millis(50);

/// Calls the engine without the GIL.
pub(crate) fn quick<T: Send>(py: Python<'_>, call: impl FnOnce() -> coble::Result<T> + Send) -> PyResult<T> {
    detached(py, || guarded(call)).map_err(|error| errors::to_py(py, error))
}

/// Calls the engine without the GIL, with a token that signals and the [`PyCancelToken`]s of this thread cancel.
pub(crate) fn blocking<T: Send>(
    py: Python<'_>,
    call: impl FnOnce(&CancelToken) -> coble::Result<T> + Send,
) -> PyResult<T> {
    Call::begin(py, false)?.run(py, None, call)
}

/// As [`blocking`], for a call that asks about signals itself while it waits ([`coble::attentive`]), and so needs no helper thread for them.
pub(crate) fn attentive<T: Send>(
    py: Python<'_>,
    call: impl FnOnce(&CancelToken) -> coble::Result<T> + Send,
) -> PyResult<T> {
    let begun = Call::begin(py, false)?;
    let token = &begun.token;
    let (result, raised) = match begun.main {
        true => detached(py, || attended(token, call)),
        false => (detached(py, || guarded(|| call(token))), None),
    };
    finished(py, result, raised)
}

/// A call that is about to be made.
pub(crate) struct Call {
    token: CancelToken,
    main: bool,
    _registrations: Vec<Registration>,
}

impl Call {
    /// Prepares a call from this thread. `closable` if somebody else than signals and scopes may cancel its token.
    pub(crate) fn begin(py: Python<'_>, closable: bool) -> PyResult<Call> {
        let main = is_main_thread(py)?;
        let scopes = SCOPES.with_borrow(Clone::clone);
        let token =
            if main || closable || !scopes.is_empty() { CancelToken::new() } else { CancelToken::never() };
        let registrations = scopes.into_iter().map(|scope| Registration::new(scope, &token)).collect();
        Ok(Call { token, main, _registrations: registrations })
    }

    /// Makes the call. When the time of `limit` is over, it is cancelled and fails with [`ErrorKind::Timeout`] and the text. With a limit, even an endless
    /// one, the call has a thread of its own that gets no signals.
    pub(crate) fn run<T: Send>(
        self,
        py: Python<'_>,
        limit: Option<(Duration, &str)>,
        call: impl FnOnce(&CancelToken) -> coble::Result<T> + Send,
    ) -> PyResult<T> {
        let token = &self.token;
        if !self.main && limit.is_none() {
            return detached(py, || guarded(|| call(token))).map_err(|error| errors::to_py(py, error));
        }
        let (result, raised) = detached(py, || supervised(token, self.main, limit, call));
        finished(py, result, raised)
    }
}

/// What the caller gets.
fn finished<T>(py: Python<'_>, result: coble::Result<T>, raised: Option<PyErr>) -> PyResult<T> {
    match raised {
        Some(exception) => Err(exception),
        None => result.map_err(|error| errors::to_py(py, error)),
    }
}

/// Makes the call on this thread, which handles signals when it is asked to. One that raises cancels it.
fn attended<T>(
    token: &CancelToken,
    call: impl FnOnce(&CancelToken) -> coble::Result<T>,
) -> (coble::Result<T>, Option<PyErr>) {
    let raised = Rc::new(RefCell::new(None));
    let ask = {
        let (token, raised) = (token.clone(), raised.clone());
        move || {
            if raised.borrow().is_none()
                && let Err(exception) = Python::attach(|py| py.check_signals())
            {
                raised.replace(Some(exception));
                token.cancel();
            }
        }
    };
    let result = coble::attentive(Rc::new(ask), || guarded(|| call(token)));
    (result, raised.take())
}

/// Waits, as a call that can be cancelled, for coble.wait.
#[pyfunction]
pub(crate) fn _pause(py: Python<'_>, seconds: f64) -> PyResult<()> {
    let pause = Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or(Duration::MAX);
    blocking(py, |cancel| {
        let limit = Timespec {
            tv_sec: pause.as_secs().min(i32::MAX as u64) as i64,
            tv_nsec: i64::from(pause.subsec_nanos()),
        };
        let mut fds: Vec<PollFd<'_>> =
            cancel.as_fd().map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)).into_iter().collect();
        // An interruption only makes it shorter, and who pauses looks again afterwards.
        let _ = poll(&mut fds, Some(&limit));
        cancel.check()
    })
}

/// Runs the call on a helper thread and watches over it.
fn supervised<T: Send>(
    token: &CancelToken,
    signals: bool,
    limit: Option<(Duration, &str)>,
    call: impl FnOnce(&CancelToken) -> coble::Result<T> + Send,
) -> (coble::Result<T>, Option<PyErr>) {
    let done = match eventfd(0, EventfdFlags::CLOEXEC) {
        Ok(done) => done,
        Err(errno) => return (Err(Error::syscall("eventfd2", "call", errno.raw_os_error())), None),
    };
    // Where the call is until somebody makes it, so that it is not lost when there is no thread for it, and where its result is afterwards.
    let (call, result) = (Mutex::new(Some(call)), Mutex::new(None));
    let make = || {
        let call = lock(&call).take();
        *lock(&result) = call.map(|call| guarded(|| call(token)));
        // Cannot fail: the counter is far from full.
        let _ = rustix::io::write(&done, &1u64.to_ne_bytes());
    };
    let (raised, expired) =
        std::thread::scope(|scope| match coble::spawn_helper(scope, "coble-call", make) {
            Ok(helper) => {
                let watched = watch(&done, token, signals, limit.map(|(time, _)| time));
                // Cannot have panicked. The scope would wait for its work only, and the host program may count its threads.
                let _ = helper.join();
                watched
            }
            Err(_) => {
                make();
                (None, false)
            }
        });
    let result = lock(&result).take();
    match result.unwrap_or_else(|| Err(Error::new(ErrorKind::Internal, "a call was not made"))) {
        Err(error) if expired && error.kind() == ErrorKind::Cancelled => {
            (Err(Error::new(ErrorKind::Timeout, limit.map_or("", |(_, text)| text))), raised)
        }
        result => (result, raised),
    }
}

/// Waits until the call is over, handles signals meanwhile, and cancels it when one raises or the time is over.
fn watch(
    done: &OwnedFd,
    token: &CancelToken,
    signals: bool,
    limit: Option<Duration>,
) -> (Option<PyErr>, bool) {
    let deadline = limit.and_then(|limit| Instant::now().checked_add(limit));
    let (mut raised, mut expired) = (None, false);
    loop {
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        if left == Some(Duration::ZERO) && !expired {
            expired = true;
            token.cancel();
        }
        let watching = signals && raised.is_none();
        let slice = match left.filter(|_| !expired) {
            Some(left) if watching => Some(left.min(SLICE)),
            Some(left) => Some(left),
            None => watching.then_some(SLICE),
        };
        let slice = slice.map(|slice| Timespec {
            tv_sec: slice.as_secs().min(i32::MAX as u64) as i64,
            tv_nsec: i64::from(slice.subsec_nanos()),
        });
        let mut fds = [PollFd::from_borrowed_fd(done.as_fd(), PollFlags::IN)];
        // An interruption is a signal.
        if matches!(poll(&mut fds, slice.as_ref()), Ok(count) if count > 0) {
            return (raised, expired);
        }
        if watching && let Err(exception) = Python::attach(|py| py.check_signals()) {
            raised = Some(exception);
            token.cancel();
        }
    }
}

/// Whether this is the thread on which Python handles signals.
fn is_main_thread(py: Python<'_>) -> PyResult<bool> {
    static FUNCTIONS: PyOnceLock<(Py<PyAny>, Py<PyAny>)> = PyOnceLock::new();
    let (main_thread, get_ident) = FUNCTIONS.get_or_try_init(py, || {
        let threading = py.import("threading")?;
        PyResult::Ok((threading.getattr("main_thread")?.unbind(), threading.getattr("get_ident")?.unbind()))
    })?;
    let main = main_thread.bind(py).call0()?.getattr(pyo3::intern!(py, "ident"))?;
    main.eq(get_ident.bind(py).call0()?)
}

#[expect(clippy::disallowed_methods, reason = "the door itself")]
fn detached<T: Send>(py: Python<'_>, call: impl FnOnce() -> T + Send) -> T {
    py.detach(call)
}

/// Turns a panic into an error.
pub(crate) fn guarded<T>(call: impl FnOnce() -> coble::Result<T>) -> coble::Result<T> {
    // What a panic left half done is behind the engine's own locks, and those do not trust it either.
    catch_unwind(AssertUnwindSafe(call)).unwrap_or_else(|panic| Err(panicked(&*panic)))
}

fn panicked(panic: &(dyn std::any::Any + Send)) -> Error {
    let text = panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("a panic without a message");
    Error::new(ErrorKind::Panic, text)
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// An object of the engine inside a Python object. It belongs to the process that made it: in a forked child it cannot be used, and
/// nothing of it is dropped there, since its locks may be held by threads that the child does not have. Dropping releases the GIL.
pub(crate) struct Own<T: Send> {
    value: ManuallyDrop<T>,
    pid: u32,
}

impl<T: Send> Own<T> {
    pub(crate) fn new(value: T) -> Own<T> {
        Own { value: ManuallyDrop::new(value), pid: std::process::id() }
    }

    /// The object, in the process that made it.
    pub(crate) fn get(&self) -> coble::Result<&T> {
        if self.is_ours() {
            Ok(&self.value)
        } else {
            Err(Error::new(
                ErrorKind::Closed,
                "the engine belongs to the process that opened it, and this one was forked from it",
            )
            .with_hint("open an engine in this process"))
        }
    }

    pub(crate) fn is_ours(&self) -> bool {
        self.pid == std::process::id()
    }
}

impl<T: Send> Drop for Own<T> {
    fn drop(&mut self) {
        if !self.is_ours() {
            return;
        }
        // SAFETY: this is the drop of the only owner, so the value is taken once and not used afterwards.
        let value = unsafe { ManuallyDrop::take(&mut self.value) };
        let mut value = Some(value);
        // Not attached any more when the interpreter is on its way out.
        Python::try_attach(|py| {
            let value = value.take();
            detached(py, move || drop(value));
        });
    }
}

thread_local! {
    static SCOPES: RefCell<Vec<Arc<Scope>>> = const { RefCell::new(Vec::new()) };
}

#[derive(Default)]
struct Scope(Mutex<Calls>);

#[derive(Default)]
struct Calls {
    cancelled: bool,
    next: u64,
    running: Vec<(u64, CancelToken)>,
}

/// A token of a scope's call, as long as it runs.
struct Registration(Arc<Scope>, u64);

impl Registration {
    fn new(scope: Arc<Scope>, token: &CancelToken) -> Registration {
        let mut calls = lock(&scope.0);
        let number = calls.next;
        calls.next += 1;
        calls.running.push((number, token.clone()));
        if calls.cancelled {
            token.cancel();
        }
        drop(calls);
        Registration(scope, number)
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        lock(&self.0.0).running.retain(|(number, _)| *number != self.1);
    }
}

/// Cancels the blocking calls of the threads that are inside its `with` block, from any thread.
#[pyclass(frozen, name = "CancelToken", module = "coble")]
#[derive(Default)]
pub(crate) struct PyCancelToken(Arc<Scope>);

#[pymethods]
impl PyCancelToken {
    #[new]
    fn new() -> PyCancelToken {
        PyCancelToken::default()
    }

    /// Cancels the calls under the token, now and later: they clean up and raise CancelledError.
    fn cancel(&self) {
        let mut calls = lock(&self.0.0);
        calls.cancelled = true;
        for (_, token) in &calls.running {
            token.cancel();
        }
    }

    /// Whether it was cancelled.
    #[getter]
    fn cancelled(&self) -> bool {
        lock(&self.0.0).cancelled
    }

    fn __enter__(slf: Py<Self>) -> Py<Self> {
        SCOPES.with_borrow_mut(|scopes| scopes.push(slf.get().0.clone()));
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
        SCOPES.with_borrow_mut(|scopes| {
            if let Some(index) = scopes.iter().rposition(|scope| Arc::ptr_eq(scope, &self.0)) {
                scopes.remove(index);
            }
        });
    }
}
