//! Starting the shim, talking to it, and moving the bytes of standard streams. Not for policy: what a container gets is decided elsewhere.

mod collect;
mod descriptors;
mod failure;
mod hooks;
mod host_program;
mod pidfd;
pub(crate) mod reader;
mod shim;
mod thread;
mod worker;
pub(crate) mod writer;

pub(crate) use collect::{Collected, Collector, Ended, Order};
pub(crate) use descriptors::spare_descriptors;
pub(crate) use failure::{error_of, error_of_layer, warning_of, warning_of_layer};
pub(crate) use hooks::begin_owed;
pub(crate) use host_program::{Answered, ask_program};
pub(crate) use pidfd::{host_pid, is_over, of_this_process, send_signal, wait_for_other};
pub(crate) use shim::{Shim, report};
pub(crate) use thread::beside;
pub use thread::{spawn_helper, spawn_worker};
pub(crate) use worker::{Workers, names_in, remove_tree};

use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;

use crate::cancel::CancelToken;
use crate::error::{Call, Error, ErrorKind, Result};
use crate::interrupt;

/// When a call has to be over.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Deadline(Option<Instant>);

impl Deadline {
    pub(crate) fn after(timeout: Option<Duration>) -> Deadline {
        // A time-out beyond what the clock can express is no time-out.
        Deadline(timeout.and_then(|timeout| Instant::now().checked_add(timeout)))
    }

    pub(crate) const fn never() -> Deadline {
        Deadline(None)
    }

    /// What is left; None if there is no end.
    pub(crate) fn left(self) -> Option<Duration> {
        self.0.map(|end| end.saturating_duration_since(Instant::now()))
    }

    pub(crate) fn is_over(self) -> bool {
        self.left() == Some(Duration::ZERO)
    }
}

/// Waits until one of the descriptors has one of its events, the deadline is over (0 is returned) or the token is cancelled (an error).
pub(crate) fn poll(
    wanted: &[(BorrowedFd<'_>, PollFlags)],
    ready: &mut Vec<PollFlags>,
    deadline: Deadline,
    cancel: &CancelToken,
) -> Result<usize> {
    loop {
        cancel.check()?;
        let mut fds: Vec<PollFd<'_>> =
            wanted.iter().map(|(fd, events)| PollFd::from_borrowed_fd(*fd, *events)).collect();
        if let Some(fd) = cancel.as_fd() {
            fds.push(PollFd::from_borrowed_fd(fd, PollFlags::IN));
        }
        let slice = interrupt::asks().then_some(interrupt::SLICE);
        let left = deadline.left().into_iter().chain(slice).min().map(|left| Timespec {
            tv_sec: left.as_secs().min(i32::MAX as u64) as i64,
            tv_nsec: i64::from(left.subsec_nanos()),
        });
        let happened = match rustix::event::poll(&mut fds, left.as_ref()) {
            Err(Errno::INTR) => 0,
            result => result.call("poll", "standard streams and control socket")?,
        };
        // Also when there always is something.
        interrupt::ask(happened == 0);
        cancel.check()?;
        ready.clear();
        ready.extend(fds.iter().take(wanted.len()).map(PollFd::revents));
        let count = ready.iter().filter(|events| !events.is_empty()).count();
        if count > 0 || deadline.is_over() {
            return Ok(count);
        }
    }
}

/// Waits until a descriptor is readable or at its end.
pub(crate) fn readable(fd: impl AsFd, deadline: Deadline, cancel: &CancelToken, what: &str) -> Result<()> {
    let mut ready = Vec::new();
    if poll(&[(fd.as_fd(), PollFlags::IN)], &mut ready, deadline, cancel)? == 0 {
        return Err(Error::new(ErrorKind::Timeout, format!("no answer in time: {what}")));
    }
    Ok(())
}
