//! The only unsafe code of the crate: what the standard library and `rustix` cannot say safely.

#![allow(unsafe_code)]

pub(crate) mod bpf;
pub(crate) mod probe;
mod sigpipe;
mod spawn;

pub(crate) use sigpipe::write_without_sigpipe;
pub(crate) use spawn::spawn_shim;

use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

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

/// The pidfd of the process at the other end of a socket (`SO_PEERPIDFD`, Linux 6.5).
pub(crate) fn peer_pidfd(socket: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    const SO_PEERPIDFD: libc::c_int = 77;
    let mut fd: libc::c_int = -1;
    let mut length = size_of::<libc::c_int>() as libc::socklen_t;
    // SAFETY: the two pointers are to locals, of which the second says how large the first one is.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            SO_PEERPIDFD,
            (&raw mut fd).cast(),
            &raw mut length,
        )
    };
    if result != 0 || fd < 0 {
        return Err(Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::INVAL));
    }
    // SAFETY: the kernel has just made it for us, and nobody else has it. It is close-on-exec.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}
