//! Ending with the engine.
//!
//! The worker may be deep in a system call on a large file when the engine dies, so nothing that only looks between entries would do. The kernel
//! sends a signal when something happens on the control socket; the handler ends the process if the other end is closed.

use std::os::fd::{AsRawFd, BorrowedFd};
use std::sync::atomic::{AtomicI32, Ordering};

use coble_protocol::{Failure, Step};

static CONTROL: AtomicI32 = AtomicI32::new(-1);

/// The status of a worker whose engine is gone. Nobody is there to see it.
const ORPHANED: i32 = 1;

/// Ends the process if the other end of the control socket is closed. Async-signal-safe.
fn end_if_closed() {
    let mut poll = libc::pollfd { fd: CONTROL.load(Ordering::Relaxed), events: libc::POLLRDHUP, revents: 0 };
    // SAFETY: `poll` is one valid entry and lives through the call.
    let ready = unsafe { libc::poll(&raw mut poll, 1, 0) };
    if ready == 1 && poll.revents & (libc::POLLHUP | libc::POLLRDHUP | libc::POLLERR | libc::POLLNVAL) != 0 {
        super::freeze::thaw();
        // SAFETY: ends the process without running anything else of it.
        unsafe { libc::_exit(ORPHANED) };
    }
}

extern "C" fn on_signal(_: libc::c_int) {
    // SAFETY: the location of errno belongs to this thread, and saving it around the call is what keeps interrupted code right.
    unsafe {
        let errno = libc::__errno_location();
        let saved = *errno;
        end_if_closed();
        *errno = saved;
    }
}

/// Makes the end of the control socket's other end the end of this process. From then on, at any moment.
pub(crate) fn watch(control: BorrowedFd<'_>) -> Result<(), Failure> {
    let raw = control.as_raw_fd();
    CONTROL.store(raw, Ordering::Relaxed);
    let check = |result: libc::c_int| {
        if result == -1 {
            let errno = std::io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO);
            return Err(Failure::new(Step::Sandbox, errno, "watch of the control socket"));
        }
        Ok(result)
    };
    // SAFETY: the handler is async-signal-safe, the structures are initialised, and the descriptor is the caller's.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = on_signal as *const () as usize;
        action.sa_flags = libc::SA_RESTART;
        check(libc::sigaction(libc::SIGIO, &raw const action, std::ptr::null_mut()))?;
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        libc::sigaddset(&raw mut set, libc::SIGIO);
        check(libc::sigprocmask(libc::SIG_UNBLOCK, &raw const set, std::ptr::null_mut()))?;
        check(libc::fcntl(raw, libc::F_SETOWN, libc::getpid()))?;
        let flags = check(libc::fcntl(raw, libc::F_GETFL))?;
        check(libc::fcntl(raw, libc::F_SETFL, flags | libc::O_ASYNC))?;
    }
    // It may have happened before the signal was armed.
    end_if_closed();
    Ok(())
}
