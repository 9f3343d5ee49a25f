//! Stopping the processes of a container while its files are read. Whatever ends this process while they are stopped and it can still do
//! anything, they go on: at the end of the work, at a failure, and when the engine dies, which the signal handler of [`watch`](super::watch) notices.

use std::os::fd::{AsRawFd, IntoRawFd, OwnedFd};
use std::sync::atomic::{AtomicI32, Ordering};

use coble_protocol::{Failure, Step};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

/// `cgroup.freeze` of what is frozen now.
static FROZEN: AtomicI32 = AtomicI32::new(-1);

/// How many seconds the kernel may take to stop all processes.
const PATIENCE: i64 = 10;

/// Processes that are stopped until this is dropped.
pub(super) struct Frozen(());

impl Drop for Frozen {
    fn drop(&mut self) {
        thaw();
    }
}

/// Lets go what is frozen. Async-signal-safe.
pub(super) fn thaw() {
    let fd = FROZEN.swap(-1, Ordering::Relaxed);
    if fd >= 0 {
        // SAFETY: one byte of a constant; the descriptor was given away by its owner and is closed nowhere else.
        unsafe {
            libc::write(fd, c"0".as_ptr().cast(), 1);
            libc::close(fd);
        }
    }
}

fn fail(errno: Errno) -> Failure {
    Failure::new(Step::Freeze, errno.raw_os_error(), "cgroup.freeze")
}

/// Stops the processes of a cgroup, and waits until the kernel says that all are.
pub(super) fn freeze(file: OwnedFd, events: &OwnedFd) -> Result<Frozen, Failure> {
    // The handler has to know before it begins.
    let raw = file.as_raw_fd();
    FROZEN.store(file.into_raw_fd(), Ordering::Relaxed);
    let frozen = Frozen(());
    // SAFETY: one byte of a constant, to a descriptor that stays open as long as `frozen` lives.
    if unsafe { libc::write(raw, c"1".as_ptr().cast(), 1) } != 1 {
        return Err(fail(Errno::from_raw_os_error(
            std::io::Error::last_os_error().raw_os_error().unwrap_or(5),
        )));
    }
    loop {
        let mut text = [0; 256];
        let length = rustix::io::pread(events, &mut text[..], 0).map_err(fail)?;
        if text.get(..length).unwrap_or_default().split(|&byte| byte == b'\n').any(|line| line == b"frozen 1")
        {
            return Ok(frozen);
        }
        let mut fds = [PollFd::new(events, PollFlags::PRI)];
        let limit = Timespec { tv_sec: PATIENCE, tv_nsec: 0 };
        match poll(&mut fds, Some(&limit)) {
            Ok(0) => return Err(fail(Errno::TIMEDOUT)),
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(fail(errno)),
        }
    }
}
