//! Processes by descriptor.

use std::os::fd::{AsFd, AsRawFd};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;

use crate::container::Signal;
use crate::error::{Call, Error, ErrorKind, Result};

/// The process id of a pidfd, in this process's own pid namespace. None when the process is gone or not visible.
pub(crate) fn host_pid(pidfd: impl AsFd) -> Option<i32> {
    let path = format!("/proc/self/fdinfo/{}", pidfd.as_fd().as_raw_fd());
    let info = std::fs::read_to_string(path).ok()?;
    let pid = info.lines().find_map(|line| line.strip_prefix("Pid:"))?.trim().parse().ok()?;
    (pid > 0).then_some(pid)
}

/// Whether the process has ended.
pub(crate) fn is_over(pidfd: impl AsFd) -> bool {
    let mut fds = [PollFd::from_borrowed_fd(pidfd.as_fd(), PollFlags::IN)];
    matches!(rustix::event::poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })), Ok(1))
}

/// Sends a signal. A process that is gone is an error of the kind InvalidState.
pub(crate) fn send_signal(pidfd: impl AsFd, signal: Signal, whom: &str) -> Result<()> {
    let gone = || Error::new(ErrorKind::InvalidState, format!("\"{whom}\" is not running")).with_object(whom);
    let number = match rustix::process::Signal::from_named_raw(signal.number()) {
        Some(known) => known,
        None => {
            return crate::sys::pidfd_send_realtime(pidfd.as_fd(), signal.number())
                .call("pidfd_send_signal", whom);
        }
    };
    match rustix::process::pidfd_send_signal(pidfd, number) {
        Err(Errno::SRCH) => Err(gone()),
        result => result.call("pidfd_send_signal", whom),
    }
}
