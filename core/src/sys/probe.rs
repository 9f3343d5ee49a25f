//! Asks the kernel whether it has a system call, by calls that cannot succeed. For the doctor.

use rustix::io::Errno;

/// The error of `clone3` without arguments: `EINVAL` where it is there. No process is made.
pub(crate) fn clone3() -> Errno {
    // SAFETY: a size of zero is refused before anything is read or made.
    errno(unsafe { libc::syscall(libc::SYS_clone3, std::ptr::null::<libc::c_void>(), 0usize) })
}

/// The error of `mount_setattr` without arguments: `EINVAL` where it is there. No mount is changed.
pub(crate) fn mount_setattr() -> Errno {
    // SAFETY: a size of zero is refused before anything is read or changed; the path is a string that lives on.
    errno(unsafe {
        libc::syscall(libc::SYS_mount_setattr, -1, c"".as_ptr(), 0, std::ptr::null::<libc::c_void>(), 0usize)
    })
}

fn errno(result: libc::c_long) -> Errno {
    if result >= 0 {
        // Not possible: see the callers.
        return Errno::INVAL;
    }
    Errno::from_raw_os_error(std::io::Error::last_os_error().raw_os_error().unwrap_or(libc::EINVAL))
}
