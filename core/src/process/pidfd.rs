//! Processes by descriptor.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::{Mode, OFlags};
use rustix::io::{Errno, retry_on_intr};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use rustix::process::{Pid, PidfdFlags, getpid, pidfd_open};

use crate::container::Signal;
use crate::error::{Call, Error, ErrorKind, Result};

/// A pidfd of this process. Checkers of memory that stand between a program and the kernel may not know `pidfd_open`; a socket says
/// the same to them.
pub(crate) fn of_this_process() -> Result<OwnedFd> {
    match pidfd_open(getpid(), PidfdFlags::empty()) {
        Err(Errno::NOSYS) => peer_of_a_socket().map_err(|_| Errno::NOSYS),
        result => result,
    }
    .call("pidfd_open", "this process")
}

fn peer_of_a_socket() -> std::result::Result<OwnedFd, Errno> {
    let (socket, _other) = socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    crate::sys::peer_pidfd(socket.as_fd())
}

/// The process id of a pidfd, in this process's own pid namespace. None when the process is gone or not visible.
pub(crate) fn host_pid(pidfd: impl AsFd) -> Option<i32> {
    let path = format!("/proc/self/fdinfo/{}", pidfd.as_fd().as_raw_fd());
    let file = rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).ok()?;
    // The kernel makes all of it at once, and it has a hundred bytes or two.
    let mut bytes = [0; 1024];
    let length = retry_on_intr(|| rustix::io::read(&file, &mut bytes)).ok()?;
    let info = std::str::from_utf8(bytes.get(..length)?).ok()?;
    let pid = info.lines().find_map(|line| line.strip_prefix("Pid:"))?.trim().parse().ok()?;
    (pid > 0).then_some(pid)
}

/// Whether the process has ended.
pub(crate) fn is_over(pidfd: impl AsFd) -> bool {
    let mut fds = [PollFd::from_borrowed_fd(pidfd.as_fd(), PollFlags::IN)];
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    matches!(retry_on_intr(|| rustix::event::poll(&mut fds, Some(&now))), Ok(1))
}

/// Waits for the end of a process in another pid namespace, but not for longer than that. One of that number in our own has it since the other one ended.
pub(crate) fn wait_for_other(pid: i32, time: Duration) {
    // A number that no process has is not for `Pid`, either.
    let Some(pid) = (pid > 0).then(|| Pid::from_raw(pid)).flatten() else { return };
    let Ok(pidfd) = pidfd_open(pid, PidfdFlags::empty()) else { return };
    let namespace = |of: &str| rustix::fs::readlink(format!("/proc/{of}/ns/pid"), Vec::new()).ok();
    let other = namespace(&pid.as_raw_nonzero().to_string());
    if other.is_none() || other == namespace("self") {
        return;
    }
    let deadline = Instant::now() + time;
    let mut fds = [PollFd::new(&pidfd, PollFlags::IN)];
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let left = Timespec { tv_sec: left.as_secs() as i64, tv_nsec: left.subsec_nanos().into() };
        match rustix::event::poll(&mut fds, Some(&left)) {
            Err(Errno::INTR) => {}
            _ => return,
        }
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_waits_for_one_of_our_own_namespace_or_for_nobody() {
        let begin = Instant::now();
        wait_for_other(std::process::id() as i32, Duration::from_secs(60));
        wait_for_other(i32::MAX, Duration::from_secs(60));
        wait_for_other(-1, Duration::from_secs(60));
        assert!(begin.elapsed() < Duration::from_secs(30));
    }

    #[test]
    fn both_ways_lead_to_this_process() {
        let own = Some(std::process::id() as i32);
        assert_eq!(host_pid(of_this_process().unwrap()), own);
        match peer_of_a_socket() {
            Ok(pidfd) => assert_eq!(host_pid(pidfd), own),
            // Before Linux 6.5.
            Err(errno) => assert_eq!(errno, Errno::NOPROTOOPT),
        }
    }
}
