//! The only unsafe code of the crate: what the standard library and `rustix` cannot say safely.

#![allow(unsafe_code)]

pub(crate) mod bpf;
pub(crate) mod probe;
mod sigpipe;
mod spawn;

pub(crate) use sigpipe::write_without_sigpipe;
pub(crate) use spawn::spawn_shim;

use std::os::fd::{AsRawFd, BorrowedFd};

use rustix::io::Errno;

/// `pidfd_send_signal` for the numbers that have no name.
pub(crate) fn pidfd_send_realtime(pidfd: BorrowedFd<'_>, signal: i32) -> Result<(), Errno> {
    // SAFETY: the call reads no memory of ours, since the siginfo is null; the descriptor is open for the call.
    let result = unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            pidfd.as_raw_fd(),
            signal,
            std::ptr::null::<libc::siginfo_t>(),
            0,
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::INVAL))
    }
}
