//! The ends of the monitor's children. Nothing here waits.
//!
//! A child that has ended is not always its parent's to reap: whoever traces it keeps it for as long as they like, and a program of the container may trace another one.
//! So a pidfd that says that its process has ended says no more than that. When the tracer lets go, the kernel tells the parent with SIGCHLD, as it does for every end.
//!
//! Nor are all children known by a pidfd: a process that joins the container can be killed when it has made the one that enters it, and has not told so. The kernel does not
//! let the container's first process end before all others of its namespace have been reaped, so these are reaped, too, whatever they are.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use coble_protocol::{Exit, Failure, Step};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{WaitId, WaitIdOptions};

use crate::container::wall_clock;
use crate::failure::During;
use crate::sys;

/// What a program is said to have ended with of which nobody saw the end: as if it was killed.
const UNSEEN: i32 = 128 + libc::SIGKILL;
/// How long killed processes may take to end before nobody waits for them any more.
pub(super) const ENDING: Duration = Duration::from_secs(10);

/// Where SIGCHLD is heard of.
pub(crate) struct Ends(OwnedFd);

impl Ends {
    /// From now on. Children that are made from now on have to unblock the signal.
    pub(crate) fn hear() -> Result<Ends, Failure> {
        sys::child_signals().map(Ends).during(Step::Internal, "signals")
    }

    /// Forgets what was heard so far.
    pub(crate) fn clear(&self) {
        // A signal is pending once, however often it was sent. A descriptor that has none has nothing to read.
        let mut signal = [0; sys::SIGNAL_SIZE];
        let _ = rustix::io::retry_on_intr(|| rustix::io::read(&self.0, &mut signal));
    }
}

impl AsFd for Ends {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Reaps a child. None if it runs, or is kept by whoever traces it.
pub(crate) fn reap(pidfd: BorrowedFd<'_>) -> Option<Exit> {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
    let status = match rustix::io::retry_on_intr(|| rustix::process::waitid(WaitId::PidFd(pidfd), options)) {
        Ok(status) => status?,
        // It is nobody's any more.
        Err(_) => return Some(unseen()),
    };
    let signal = status.terminating_signal();
    let code = status.exit_status().or(signal.map(|signal| 128 + signal)).unwrap_or(UNSEEN);
    Some(Exit { code, signal, finished_at: wall_clock(), core_dumped: status.dumped(), timed_out: false })
}

/// The end of a child that nobody saw.
pub(crate) fn unseen() -> Exit {
    Exit { code: UNSEEN, signal: None, finished_at: wall_clock(), core_dumped: false, timed_out: false }
}

/// Reaps children of whose end nobody wants to know, until there is none, or one of those that are known. That one, then.
pub(crate) fn reap_others<'a>(known: impl Iterator<Item = BorrowedFd<'a>> + Clone) -> Option<usize> {
    while let Ok(Some(pid)) = sys::ended_child(None) {
        // Until it is reaped, no other process has its number.
        if let Some(n) = known.clone().position(|pidfd| sys::ended_child(Some(pidfd)) == Ok(Some(pid))) {
            return Some(n);
        }
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
        if !matches!(rustix::process::waitid(WaitId::Pid(pid), options), Ok(Some(_))) {
            return None;
        }
    }
    None
}

/// Ends the container. The kernel would do it when this process ends, but who hears of a failure may rely on nothing being left.
pub(crate) fn end(init: &OwnedFd) {
    let _ = sys::pidfd_signal(init.as_fd(), libc::SIGKILL);
    over(init);
    reap(init.as_fd());
}

/// Waits until the process has ended, which is so when all of its namespace have: but not for ever for one that is frozen by cgroup version 1, where SIGKILL waits, too.
fn over(pidfd: &OwnedFd) {
    let end = Instant::now() + ENDING;
    loop {
        let left = end.saturating_duration_since(Instant::now());
        let timeout = Timespec { tv_sec: left.as_secs() as i64, tv_nsec: i64::from(left.subsec_nanos()) };
        if poll(&mut [PollFd::new(pidfd, PollFlags::IN)], Some(&timeout)) != Err(Errno::INTR) {
            return;
        }
    }
}

/// How the first process ended, of which that is known.
pub(crate) fn last_words(init: &OwnedFd) -> Option<Exit> {
    over(init);
    reap(init.as_fd())
}
