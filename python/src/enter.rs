//! The one door out of Python: every call of the engine leaves the interpreter here.
//!
//! [`block`] is for calls that can wait: it releases the interpreter, and on the main thread it looks for signals, so that Ctrl-C
//! cancels the call, lets it clean up, and raises `KeyboardInterrupt`. Python's own signal handlers stay as they are. The engine's call
//! runs on a helper thread for that long, because only the main thread may run Python's handlers; a thread of its own costs some microseconds, a
//! hundredth of what the shortest call that waits costs. Calls on other threads, where no handler ever runs, stay where they are.
//! [`quick`] is for calls that wait for nothing but the disk.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use coble::{CancelToken, Error, ErrorKind, Result};
use pyo3::prelude::*;
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::fd::{AsFd, OwnedFd};

use crate::cancel;
use crate::errors::raise;

/// How often the main thread looks for signals that another thread was given by the kernel. One that it gets itself wakes it at once.
const SLICE: Duration = Duration::from_millis(50);

/// The process that something was made in. After a fork the child must not use it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Home(u32);

impl Home {
    pub(crate) fn here() -> Home {
        Home(std::process::id())
    }

    /// Whether this is the process that it was made in.
    pub(crate) fn is_here(self) -> bool {
        self == Home::here()
    }

    pub(crate) fn check(self) -> Result<()> {
        if self.is_here() {
            return Ok(());
        }
        Err(Error::new(ErrorKind::Closed, "this object was made in another process, before a fork")
            .with_hint("open a new engine in the child"))
    }
}

/// A core object that is forgotten, and not dropped, in a child after a fork: what it would release belongs to the parent.
#[derive(Debug)]
pub(crate) struct Homed<T> {
    home: Home,
    value: std::mem::ManuallyDrop<T>,
}

impl<T> Homed<T> {
    pub(crate) fn new(value: T) -> Homed<T> {
        Homed { home: Home::here(), value: std::mem::ManuallyDrop::new(value) }
    }

    pub(crate) fn get(&self) -> Result<&T> {
        self.home.check().map(|()| &*self.value)
    }

    pub(crate) fn get_for(&self, py: Python<'_>) -> PyResult<&T> {
        self.get().map_err(|error| raise(py, error))
    }

    pub(crate) fn is_here(&self) -> bool {
        self.home.is_here()
    }
}

impl<T> Drop for Homed<T> {
    fn drop(&mut self) {
        if self.home.is_here() {
            // SAFETY: dropped once, here, in the drop of its only owner.
            unsafe { std::mem::ManuallyDrop::drop(&mut self.value) }
        }
    }
}

/// Calls the engine where nothing has to be waited for but the disk.
pub(crate) fn quick<T: Send>(py: Python<'_>, call: impl FnOnce() -> Result<T> + Send) -> PyResult<T> {
    outside(py, call)
}

/// Runs something without the interpreter.
pub(crate) fn outside<T: Send>(py: Python<'_>, call: impl FnOnce() -> Result<T> + Send) -> PyResult<T> {
    py.detach(|| guarded(call)).map_err(|error| raise(py, error))
}

/// Calls the engine where it can take long.
pub(crate) fn block<T: Send>(
    py: Python<'_>,
    call: impl FnOnce(&CancelToken) -> Result<T> + Send,
) -> PyResult<T> {
    block_with(py, &CancelToken::new(), None, call)
}

/// As [`block`], with a token that others may cancel too, and with a deadline, after which the call fails with a time-out.
pub(crate) fn block_with<T: Send>(
    py: Python<'_>,
    token: &CancelToken,
    deadline: Option<Instant>,
    call: impl FnOnce(&CancelToken) -> Result<T> + Send,
) -> PyResult<T> {
    let callers = cancel::current();
    let main = rustix::thread::gettid() == rustix::process::getpid();
    if !main && callers.is_none() && deadline.is_none() {
        return outside(py, || call(token));
    }
    let done = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK);
    let done: OwnedFd =
        done.map_err(|errno| raise(py, Error::syscall("eventfd", "call", errno.raw_os_error())))?;
    std::thread::scope(|scope| {
        let worker = std::thread::Builder::new().name("coble-call".to_owned()).spawn_scoped(scope, || {
            let outcome = guarded(|| call(token));
            // The counter is 0 before, so that this can neither fail nor block.
            let _ = rustix::io::write(&done, &1u64.to_ne_bytes());
            outcome
        });
        let worker = worker.map_err(|error| raise(py, Error::io("clone", "thread of a call", &error)))?;
        let watch = Watch { done: &done, callers: callers.as_ref(), deadline, main };
        let end = watch.until_done(py, token);
        // At most what the engine needs to take back what it had begun.
        let outcome = py.detach(|| worker.join());
        let outcome = outcome.unwrap_or_else(|_| Err(Error::new(ErrorKind::Panic, "panic in a call")));
        match (end?, outcome) {
            (End::TimedOut, Err(error)) if error.kind() == ErrorKind::Cancelled => {
                Err(raise(py, Error::new(ErrorKind::Timeout, "the time is over")))
            }
            (_, outcome) => outcome.map_err(|error| raise(py, error)),
        }
    })
}

/// What a thread looks at while a call runs on another one.
struct Watch<'a> {
    done: &'a OwnedFd,
    callers: Option<&'a CancelToken>,
    deadline: Option<Instant>,
    main: bool,
}

enum End {
    Done,
    TimedOut,
}

impl Watch<'_> {
    /// Waits for the call's end. A signal whose handler raises, the caller's token and the deadline cancel it.
    fn until_done(&self, py: Python<'_>, token: &CancelToken) -> PyResult<End> {
        let mut callers = self.callers;
        loop {
            let remaining = self.deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            let slice = match (self.main, remaining) {
                (true, Some(remaining)) => Some(SLICE.min(remaining)),
                (true, None) => Some(SLICE),
                (false, remaining) => remaining,
            };
            let (done, cancelled) = py.detach(|| look(self.done, callers, slice));
            if done {
                return Ok(End::Done);
            }
            if let Err(interrupt) = py.check_signals() {
                token.cancel();
                return Err(interrupt);
            }
            if cancelled || callers.is_some_and(CancelToken::is_cancelled) {
                token.cancel();
                // It stays readable: do not look at it again.
                callers = None;
            }
            if remaining.is_some_and(|remaining| remaining.is_zero()) {
                token.cancel();
                return Ok(End::TimedOut);
            }
        }
    }
}

/// Waits for the end of the call, a cancellation, a signal or the end of a slice of time.
fn look(done: &OwnedFd, callers: Option<&CancelToken>, slice: Option<Duration>) -> (bool, bool) {
    let mut fds = vec![PollFd::new(done, PollFlags::IN)];
    if let Some(fd) = callers.and_then(CancelToken::as_fd) {
        fds.push(PollFd::from_borrowed_fd(fd, PollFlags::IN));
    }
    let slice = slice.and_then(|slice| Timespec::try_from(slice).ok());
    match poll(&mut fds, slice.as_ref()) {
        Ok(_) => {
            let ready = |index: usize| fds.get(index).is_some_and(|fd| !fd.revents().is_empty());
            (ready(0), ready(1))
        }
        // A signal: that is what this is for.
        Err(_) => (false, false),
    }
}

/// A panic of the engine is an error like others, and not an exception that nobody catches.
fn guarded<T>(call: impl FnOnce() -> Result<T>) -> Result<T> {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(outcome) => outcome,
        Err(payload) => {
            let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
            let text = text.or_else(|| payload.downcast_ref::<String>().cloned());
            Err(Error::new(ErrorKind::Panic, format!("panic: {}", text.as_deref().unwrap_or("unknown"))))
        }
    }
}

/// Asserts at compile time what the whole module rests on.
const _: () = {
    const fn shared<T: Send + Sync>() {}
    shared::<coble::Engine>();
    shared::<coble::Container>();
    shared::<coble::Process>();
    shared::<CancelToken>();
};

/// A descriptor of our own for one of the caller's.
pub(crate) fn duplicate(fd: i32) -> Result<OwnedFd> {
    if fd < 0 {
        return Err(Error::new(ErrorKind::InvalidArgument, format!("{fd} is no file descriptor")));
    }
    // SAFETY: not negative. That it is open is what the duplication finds out: nothing else is done with it.
    let borrowed = unsafe { rustix::fd::BorrowedFd::borrow_raw(fd) };
    rustix::io::fcntl_dupfd_cloexec(borrowed.as_fd(), 3)
        .map_err(|errno| Error::syscall("fcntl", format!("descriptor {fd}"), errno.raw_os_error()))
}
