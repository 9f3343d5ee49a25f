//! The only unsafe code of the crate: what the standard library and `rustix` cannot say safely.

#![allow(unsafe_code)]

pub(crate) mod bpf;
pub(crate) mod probe;
mod sigpipe;
mod spawn;

pub(crate) use sigpipe::write_without_sigpipe;
pub(crate) use spawn::{NotStarted, spawn_shim};

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

/// The permitted capabilities of the calling thread. Not by rustix, which hands memory that nobody has written to a call of which valgrind knows half of what it writes.
pub(crate) fn permitted_capabilities() -> Result<u64, Errno> {
    const VERSION_3: u32 = 0x2008_0522;
    let mut header = [VERSION_3, 0];
    // Twice effective, permitted, inheritable: the lower half of each, then the upper one.
    let mut sets = [[0u32; 3]; 2];
    // SAFETY: header and sets have the layout and the size of version 3, and outlive the call.
    match unsafe { libc::syscall(libc::SYS_capget, header.as_mut_ptr(), sets.as_mut_ptr()) } {
        0 => Ok(u64::from(sets[0][1]) | u64::from(sets[1][1]) << 32),
        _ => Err(Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::INVAL)),
    }
}

/// In how many parts of a second the kernel counts the time of a process. Asked of libc, since the kernel's own answer to the program may be hidden from it (as valgrind does).
pub(crate) fn clock_ticks() -> u64 {
    configured(libc::_SC_CLK_TCK)
}

/// The size of a page in bytes.
pub(crate) fn page_size() -> u64 {
    configured(libc::_SC_PAGESIZE)
}

/// A setting that every Linux has.
fn configured(name: libc::c_int) -> u64 {
    // SAFETY: sysconf takes any number and touches no memory of ours.
    u64::try_from(unsafe { libc::sysconf(name) }).unwrap_or(0).max(1)
}

/// Gives the calling thread a network namespace of its own, and returns that. For a thread that does nothing else.
pub(crate) fn new_network_namespace() -> Result<OwnedFd, Errno> {
    // SAFETY: the flag concerns the namespaces of this thread; the descriptor table stays that of the process.
    unsafe { rustix::thread::unshare_unsafe(rustix::thread::UnshareFlags::NEWNET) }?;
    network_namespace()
}

/// The network namespace of the calling thread.
pub(crate) fn network_namespace() -> Result<OwnedFd, Errno> {
    let flags = rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::CLOEXEC;
    rustix::fs::open("/proc/thread-self/ns/net", flags, rustix::fs::Mode::empty())
}

/// A sysfs as this thread's network namespace has it, read-only and attached nowhere.
pub(crate) fn sysfs() -> Result<OwnedFd, Errno> {
    use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsmount, fsopen};
    let context = fsopen("sysfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_create(&context)?;
    let attributes = MountAttrFlags::MOUNT_ATTR_RDONLY
        | MountAttrFlags::MOUNT_ATTR_NOSUID
        | MountAttrFlags::MOUNT_ATTR_NODEV
        | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes)
}

/// Brings up the loopback interface of this thread's network namespace.
pub(crate) fn loopback_up() -> Result<(), Errno> {
    let socket = rustix::net::socket_with(
        rustix::net::AddressFamily::INET,
        rustix::net::SocketType::DGRAM,
        rustix::net::SocketFlags::CLOEXEC,
        None,
    )?;
    // SAFETY: ifreq is integers and a union of them, for which zero is valid.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    request.ifr_name[0] = b'l' as libc::c_char;
    request.ifr_name[1] = b'o' as libc::c_char;
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
    // SAFETY: the request is a valid ifreq with a terminated name, and outlives the call.
    match unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &raw mut request) } {
        0 => Ok(()),
        _ => Err(Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::INVAL)),
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

/// While it lives, the thread that made it gets no signals but those of its own faults, and threads that it starts inherit that.
pub(crate) struct SignalsBlocked {
    before: libc::sigset_t,
    /// A mask belongs to its thread.
    _here: std::marker::PhantomData<*const ()>,
}

impl SignalsBlocked {
    pub(crate) fn begin() -> SignalsBlocked {
        let mut all = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
        let mut before = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
        // SAFETY: both sets are locals, written by these calls before they are read; the calls cannot fail with these arguments.
        unsafe {
            libc::sigfillset(all.as_mut_ptr());
            for fault in
                [libc::SIGSEGV, libc::SIGBUS, libc::SIGFPE, libc::SIGILL, libc::SIGTRAP, libc::SIGABRT]
            {
                libc::sigdelset(all.as_mut_ptr(), fault);
            }
            libc::pthread_sigmask(libc::SIG_BLOCK, all.as_ptr(), before.as_mut_ptr());
            SignalsBlocked { before: before.assume_init(), _here: std::marker::PhantomData }
        }
    }
}

impl Drop for SignalsBlocked {
    fn drop(&mut self) {
        // SAFETY: the set is the one that `begin` got from the same call on the same thread, since the type is not Send.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const self.before, std::ptr::null_mut()) };
    }
}
