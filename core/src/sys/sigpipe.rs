//! Writing to a pipe whose reader may be gone, in a process whose signal dispositions are not ours.

use std::mem::MaybeUninit;
use std::os::fd::BorrowedFd;

use rustix::io::Errno;

/// `write(2)` that never delivers SIGPIPE, whatever the process does with that signal: it is blocked in this thread for the call,
/// and the one that the call raised is taken off the thread again.
pub(crate) fn write_without_sigpipe(fd: BorrowedFd<'_>, data: &[u8]) -> Result<usize, Errno> {
    let mut pipe_only = MaybeUninit::<libc::sigset_t>::uninit();
    let mut before = MaybeUninit::<libc::sigset_t>::uninit();
    let mut pending = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: the sets are initialised by sigemptyset, sigpending and pthread_sigmask before they are read; the pointers are to locals.
    let was_pending = unsafe {
        libc::sigemptyset(pipe_only.as_mut_ptr());
        libc::sigaddset(pipe_only.as_mut_ptr(), libc::SIGPIPE);
        libc::sigemptyset(pending.as_mut_ptr());
        libc::sigpending(pending.as_mut_ptr());
        libc::pthread_sigmask(libc::SIG_BLOCK, pipe_only.as_ptr(), before.as_mut_ptr());
        libc::sigismember(pending.as_ptr(), libc::SIGPIPE) == 1
    };
    let result = rustix::io::write(fd, data);
    // SAFETY: as above; the time is a local. A SIGPIPE that was pending before the call is left for its owner.
    unsafe {
        if result == Err(Errno::PIPE) && !was_pending {
            let now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
            libc::sigtimedwait(pipe_only.as_ptr(), std::ptr::null_mut(), &now);
        }
        libc::pthread_sigmask(libc::SIG_SETMASK, before.as_ptr(), std::ptr::null_mut());
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    #[test]
    fn a_closed_reader_is_an_error_and_no_signal() {
        let (read, write) = rustix::pipe::pipe().unwrap();
        drop(read);
        assert_eq!(write_without_sigpipe(write.as_fd(), b"x"), Err(Errno::PIPE));
    }
}
