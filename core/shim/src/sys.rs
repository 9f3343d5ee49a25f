//! The system calls that have no safe form elsewhere, and nothing else: all unsafe code of the shim is here.
//!
//! The shim has one thread from its exec to its end. Every SAFETY comment below that says so relies on that: nobody in this
//! program creates a thread.

#![allow(unsafe_code)]

use std::convert::Infallible;
use std::ffi::{CStr, CString};
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::sync::OnceLock;

use libc::{c_int, c_long, c_uint, c_ulong};
use rustix::io::{Errno, Result};
use rustix::mount::{MountAttrFlags, MountPropagationFlags};
use rustix::process::{Pid, Signal, WaitOptions};
use rustix::thread::UnshareFlags;

/// The resource of core files, the same number on every machine (libc gives it different types).
pub(crate) const RLIMIT_CORE: u32 = 4;
pub(crate) const RLIMIT_NPROC: u32 = 6;

/// That of descriptors.
const RLIMIT_NOFILE: u32 = 7;

/// `CLONE_INTO_CGROUP`.
const INTO_CGROUP: u64 = 0x2_0000_0000;

/// The result of a raw system call.
fn check(value: c_long) -> Result<c_long> {
    if value >= 0 { Ok(value) } else { Err(last_errno()) }
}

fn last_errno() -> Errno {
    // SAFETY: __errno_location returns a valid pointer to this thread's errno.
    Errno::from_raw_os_error(unsafe { *libc::__errno_location() })
}

/// Which side of [`clone`] this is.
pub(crate) enum Clone {
    /// The new process.
    Child,
    /// The caller, with the new process's pidfd.
    Parent(OwnedFd),
}

/// Makes a process that goes on here, as fork does, with namespaces of its own as the `CLONE_NEW*` flags say, in the version 2 cgroup of
/// this directory.
pub(crate) fn clone(namespaces: c_int, cgroup: Option<BorrowedFd<'_>>) -> Result<Clone> {
    let mut pidfd: RawFd = -1;
    // SAFETY: clone_args is a struct of integers, for which zero is valid and means "not asked for".
    let mut args: libc::clone_args = unsafe { MaybeUninit::zeroed().assume_init() };
    args.flags = (namespaces | libc::CLONE_PIDFD) as u64;
    args.pidfd = (&raw mut pidfd) as u64;
    if let Some(cgroup) = cgroup {
        args.flags |= INTO_CGROUP;
        args.cgroup = cgroup.as_raw_fd() as u64;
    }
    args.exit_signal = libc::SIGCHLD as u64;
    // SAFETY: without CLONE_VM this is fork. The process has one thread, so no lock of the allocator or of libc can be held by a
    // thread that the child lacks. `args` and `pidfd` outlive the call.
    match check(unsafe { libc::syscall(libc::SYS_clone3, &raw mut args, size_of_val(&args)) })? {
        0 => Ok(Clone::Child),
        // SAFETY: the kernel has just stored a new descriptor, which nobody else knows.
        _ => Ok(Clone::Parent(unsafe { OwnedFd::from_raw_fd(pidfd) })),
    }
}

/// As [`clone`], but the new process is a child of the caller's parent.
pub(crate) fn clone_sibling(namespaces: c_int, cgroup: Option<BorrowedFd<'_>>) -> Result<Clone> {
    let mut pidfd: RawFd = -1;
    // SAFETY: as in `clone`.
    let mut args: libc::clone_args = unsafe { MaybeUninit::zeroed().assume_init() };
    // The signal at its end is the one of the caller's own, and may not be given.
    args.flags = (namespaces | libc::CLONE_PARENT | libc::CLONE_PIDFD) as u64;
    args.pidfd = (&raw mut pidfd) as u64;
    if let Some(cgroup) = cgroup {
        args.flags |= INTO_CGROUP;
        args.cgroup = cgroup.as_raw_fd() as u64;
    }
    // SAFETY: as in `clone`.
    match check(unsafe { libc::syscall(libc::SYS_clone3, &raw mut args, size_of_val(&args)) })? {
        0 => Ok(Clone::Child),
        // SAFETY: the kernel has just stored a new descriptor, which nobody else knows.
        _ => Ok(Clone::Parent(unsafe { OwnedFd::from_raw_fd(pidfd) })),
    }
}

/// How [`become_sibling`] makes a process. The signal at its end is the one of the caller's own, and may not be given.
pub(crate) const SIBLING: c_int = libc::CLONE_PARENT | libc::CLONE_VFORK;

/// Goes on as another process, a sibling of this one and of the namespaces that were entered for children. This one waits in the kernel until the other has executed a program or has ended, as with
/// vfork, and then ends. If it is killed before, the other goes on all the same. `shared`: they have the memory in common, which is quicker. Not where somebody can trace the other one: he must not have this
/// one do anything, which is outside.
pub(crate) fn become_sibling(shared: bool) -> Result<()> {
    let flags = SIBLING | if shared { libc::CLONE_VM } else { 0 };
    // Of the width of a register, all of which the kernel looks at.
    const NONE: isize = 0;
    let result: isize;
    // SAFETY: with an empty stack pointer the new process has this one's stack, or a copy of it. With CLONE_VM it is alone with the memory all the time: after the call this process executes only the
    // instructions here, which end it and use no memory. There is one thread, without a robust list, so no lock is held by one that the new process lacks; nothing in the memory depends on which process
    // it is, and no signal has a handler.
    #[cfg(target_arch = "x86_64")]
    unsafe {
        std::arch::asm!(
            "syscall",
            "test rax, rax",
            "jle 2f",
            "mov eax, {exit}",
            "xor edi, edi",
            "syscall",
            "ud2",
            "2:",
            exit = const libc::SYS_exit_group,
            inlateout("rax") libc::SYS_clone as isize => result,
            in("rdi") flags as isize, in("rsi") NONE, in("rdx") NONE, in("r10") NONE, in("r8") NONE,
            lateout("rcx") _, lateout("r11") _,
        );
    }
    // SAFETY: as above.
    #[cfg(target_arch = "aarch64")]
    unsafe {
        std::arch::asm!(
            "svc #0",
            "cmp x0, #0",
            "b.le 2f",
            "mov x8, #{exit}",
            "mov x0, #0",
            "svc #0",
            "brk #1",
            "2:",
            exit = const libc::SYS_exit_group,
            in("x8") libc::SYS_clone as isize,
            inlateout("x0") flags as isize => result,
            in("x1") NONE, in("x2") NONE, in("x3") NONE, in("x4") NONE,
        );
    }
    match result {
        0 => Ok(()),
        negative => Err(Errno::from_raw_os_error(-negative as i32)),
    }
}

/// Leaves namespaces for new ones.
pub(crate) fn unshare(flags: UnshareFlags) -> Result<()> {
    // SAFETY: only namespace flags are passed (no CLONE_FILES), and there is one thread whose descriptor table could be affected.
    unsafe { rustix::thread::unshare_unsafe(flags) }
}

/// Ends the process at once, without running anything that was registered for exit.
pub(crate) fn exit(code: c_int) -> ! {
    // SAFETY: _exit has no preconditions.
    unsafe { libc::_exit(code) }
}

/// Executes a program. Returns only when that failed.
pub(crate) fn execve(program: &CStr, argv: &[CString], env: &[CString]) -> Result<Infallible> {
    let list = |strings: &[CString]| {
        strings.iter().map(|s| s.as_ptr()).chain([std::ptr::null()]).collect::<Vec<_>>()
    };
    let (argv, env) = (list(argv), list(env));
    // SAFETY: all strings end in NUL, both lists end in a null pointer, and the strings outlive the call.
    unsafe { libc::execve(program.as_ptr(), argv.as_ptr(), env.as_ptr()) };
    Err(last_errno())
}

/// Makes a process that goes on here, by the call that filters of system calls know. None in the new one.
pub(crate) fn fork() -> Result<Option<Pid>> {
    // SAFETY: as in `clone`: there is one thread, so no lock is held by one that the child lacks.
    match check(unsafe { libc::fork() }.into())? {
        0 => Ok(None),
        pid => Ok(Pid::from_raw(pid as libc::pid_t)),
    }
}

/// Goes on as a child of this process, in the namespaces that were entered for children. This one ends with it, and as it did.
pub(crate) fn fork_and_wait() -> Result<()> {
    let Some(child) = fork()? else {
        return rustix::process::set_parent_process_death_signal(Some(Signal::KILL));
    };
    let status = rustix::io::retry_on_intr(|| rustix::process::waitpid(Some(child), WaitOptions::empty()))?;
    exit(status.map_or(1, |(_, status)| {
        status.exit_status().unwrap_or_else(|| 128 + status.terminating_signal().unwrap_or_default())
    }))
}

/// Sends a signal of any number to a child.
pub(crate) fn kill(pid: Pid, signal: c_int) -> Result<()> {
    // SAFETY: no memory is touched; the number is that of a child that is not reaped yet.
    check(unsafe { libc::kill(pid.as_raw_nonzero().get(), signal) }.into()).map(drop)
}

/// All signals, blocked and waited for.
pub(crate) struct Signals(libc::sigset_t);

impl Signals {
    /// Blocks them.
    pub(crate) fn block_all() -> Signals {
        let mut all = MaybeUninit::<libc::sigset_t>::uninit();
        // SAFETY: the set is a local that the first call writes; the second one reads it.
        unsafe {
            libc::sigfillset(all.as_mut_ptr());
            libc::sigprocmask(libc::SIG_BLOCK, all.as_ptr(), std::ptr::null_mut());
            Signals(all.assume_init())
        }
    }

    /// Blocks none any more.
    pub(crate) fn unblock_all(&self) {
        // SAFETY: reads the set.
        unsafe { libc::sigprocmask(libc::SIG_UNBLOCK, &raw const self.0, std::ptr::null_mut()) };
    }

    /// The next one.
    pub(crate) fn wait(&self) -> c_int {
        loop {
            // SAFETY: reads the set; nobody wants to know more of the signal.
            let signal = unsafe { libc::sigwaitinfo(&raw const self.0, std::ptr::null_mut()) };
            if signal > 0 {
                return signal;
            }
        }
    }
}

/// The bytes of what is read from [`child_signals`].
pub(crate) const SIGNAL_SIZE: usize = size_of::<libc::signalfd_siginfo>();

/// Blocks SIGCHLD: a descriptor from which it is read. Nothing is read when there is none.
pub(crate) fn child_signals() -> Result<OwnedFd> {
    let only = child_signal(libc::SIG_BLOCK)?;
    // SAFETY: the set is read only and outlives the call.
    let fd = unsafe { libc::signalfd(-1, &raw const only, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) };
    check(fd.into())?;
    // SAFETY: the kernel has just made the descriptor, which nobody else knows.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Unblocks SIGCHLD, in a child of a process that has blocked it: a program inherits that.
pub(crate) fn unblock_child_signals() -> Result<()> {
    child_signal(libc::SIG_UNBLOCK).map(drop)
}

fn child_signal(how: c_int) -> Result<libc::sigset_t> {
    let mut only = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: the set is a local that the first call writes; the others add to it and read it.
    unsafe {
        libc::sigemptyset(only.as_mut_ptr());
        libc::sigaddset(only.as_mut_ptr(), libc::SIGCHLD);
        check(libc::sigprocmask(how, only.as_ptr(), std::ptr::null_mut()).into())?;
        Ok(only.assume_init())
    }
}

/// The number of a child that has ended and can be reaped: of any, or of this one. It stays there.
pub(crate) fn ended_child(pidfd: Option<BorrowedFd<'_>>) -> Result<Option<Pid>> {
    let (kind, id) = match pidfd {
        Some(pidfd) => (libc::P_PIDFD, pidfd.as_raw_fd() as libc::id_t),
        None => (libc::P_ALL, 0),
    };
    // SAFETY: siginfo is integers and unions of them, for which zero is valid.
    let mut info: libc::siginfo_t = unsafe { MaybeUninit::zeroed().assume_init() };
    // SAFETY: the kernel writes to the structure, which outlives the call.
    let done =
        unsafe { libc::waitid(kind, id, &raw mut info, libc::WEXITED | libc::WNOHANG | libc::WNOWAIT) };
    check(done.into())?;
    // SAFETY: waitid has filled in the fields of SIGCHLD, or nothing, and then they are zero.
    Ok(Pid::from_raw(unsafe { info.si_pid() }))
}

/// Sets every signal to its default action and blocks none. The shim's starter may have ignored or blocked any of them.
pub(crate) fn reset_signals() {
    // The kernel's sigaction: handler, flags, restorer, mask. Zero is SIG_DFL without flags.
    let default = [0u64; 4];
    let none = 0u64;
    for signal in 1..=64 {
        // SAFETY: the structure is at least as large as the kernel's on 64-bit machines and is read only. Raw calls, since libc
        // hides its two internal signals. Fails for SIGKILL and SIGSTOP, which have no other action anyway.
        unsafe { libc::syscall(libc::SYS_rt_sigaction, signal, &raw const default, 0usize, 8usize) };
    }
    // SAFETY: the set is 8 bytes and is read only.
    unsafe { libc::syscall(libc::SYS_rt_sigprocmask, libc::SIG_SETMASK, &raw const none, 0usize, 8usize) };
}

/// Ignores SIGPIPE, or gives it its default action, which a program inherits.
pub(crate) fn set_sigpipe(ignored: bool) -> Result<()> {
    let handler = if ignored { libc::SIG_IGN } else { libc::SIG_DFL };
    // SAFETY: neither action runs code of ours.
    match unsafe { libc::signal(libc::SIGPIPE, handler) } {
        libc::SIG_ERR => Err(last_errno()),
        _ => Ok(()),
    }
}

/// Takes possession of the control socket, if there is one.
pub(crate) fn control_socket() -> Result<OwnedFd> {
    // SAFETY: F_SETFD on a number has no effect but on that descriptor, if it is open at all.
    let done = unsafe { libc::fcntl(coble_protocol::CONTROL_FD, libc::F_SETFD, libc::FD_CLOEXEC) };
    check(done.into())?;
    // SAFETY: open, as just seen, and this function is called once, before anything else could have taken the number.
    Ok(unsafe { OwnedFd::from_raw_fd(coble_protocol::CONTROL_FD) })
}

/// Makes the descriptor available as this number.
pub(crate) fn place(fd: BorrowedFd<'_>, number: RawFd, close_on_exec: bool) -> Result<()> {
    if fd.as_raw_fd() == number {
        let flags = if close_on_exec { libc::FD_CLOEXEC } else { 0 };
        // SAFETY: changes a flag of a descriptor that the caller borrows to us.
        return check(unsafe { libc::fcntl(number, libc::F_SETFD, flags) }.into()).map(drop);
    }
    let flags = if close_on_exec { libc::O_CLOEXEC } else { 0 };
    // SAFETY: replaces what is at `number`. Callers are processes about to become a program; they never use or drop the object that owned it.
    check(unsafe { libc::dup3(fd.as_raw_fd(), number, flags) }.into()).map(drop)
}

/// Copies the descriptor to the lowest free number that is at least `from`.
pub(crate) fn copy_above(fd: BorrowedFd<'_>, from: RawFd) -> Result<OwnedFd> {
    rustix::io::fcntl_dupfd_cloexec(fd, from)
}

/// The descriptor with this number, which must be open for as long as the process lives.
pub(crate) fn number(number: RawFd) -> OwnedFd {
    // SAFETY: callers have just placed a descriptor there with `place` and own the number from then on.
    unsafe { OwnedFd::from_raw_fd(number) }
}

/// Closes all descriptors from this number on.
pub(crate) fn close_from(first: c_uint) -> Result<()> {
    // SAFETY: callers are processes about to become a program; they never use or drop the objects that owned these descriptors.
    check(unsafe { libc::syscall(libc::SYS_close_range, first, c_uint::MAX, 0) }).map(drop)
}

/// Lets exec close all descriptors from this number on.
pub(crate) fn close_on_exec_from(first: c_uint) -> Result<()> {
    // SAFETY: changes flags only.
    check(unsafe { libc::syscall(libc::SYS_close_range, first, c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC) })
        .map(drop)
}

/// Adds attributes to a mount, and to those below it if `recursive`.
pub(crate) fn mount_setattr(mount: BorrowedFd<'_>, set: MountAttrFlags, recursive: bool) -> Result<()> {
    let attr =
        libc::mount_attr { attr_set: u64::from(set.bits()), attr_clr: 0, propagation: 0, userns_fd: 0 };
    set_attributes(mount, &attr, recursive)
}

/// Mounts with the ids of a user namespace: a file has on such a mount the id that its own is mapped to there.
pub(crate) fn mount_idmap(mount: BorrowedFd<'_>, userns: BorrowedFd<'_>, recursive: bool) -> Result<()> {
    let attr = libc::mount_attr {
        attr_set: libc::MOUNT_ATTR_IDMAP,
        attr_clr: 0,
        propagation: 0,
        userns_fd: userns.as_raw_fd() as u64,
    };
    set_attributes(mount, &attr, recursive)
}

/// Makes files from now on as another user and group, and keeps every capability.
pub(crate) fn set_file_ids(uid: u32, gid: u32) -> Result<()> {
    // SAFETY: takes numbers only. That of the thread is that of the process, which has one thread.
    unsafe {
        libc::syscall(libc::SYS_setfsgid, gid);
        libc::syscall(libc::SYS_setfsuid, uid);
    }
    // SAFETY: as above. No id is this one, so nothing is changed, and what is in force is returned.
    let found =
        unsafe { (libc::syscall(libc::SYS_setfsuid, u32::MAX), libc::syscall(libc::SYS_setfsgid, u32::MAX)) };
    if found != (uid as c_long, gid as c_long) {
        return Err(Errno::PERM);
    }
    // The kernel takes those for files out of the effective set.
    let permitted = permitted()?;
    capset(permitted, permitted, 0)
}

fn set_attributes(mount: BorrowedFd<'_>, attr: &libc::mount_attr, recursive: bool) -> Result<()> {
    let flags = libc::AT_EMPTY_PATH | if recursive { libc::AT_RECURSIVE } else { 0 };
    // SAFETY: the path is an empty C string; the structure is read only and outlives the call.
    let done = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_raw_fd(),
            c"".as_ptr(),
            flags,
            std::ptr::from_ref(attr),
            size_of_val(attr),
        )
    };
    check(done).map(drop)
}

/// Changes what a mount, and those below it if `recursive`, and their peers tell each other.
pub(crate) fn mount_propagation(
    mount: BorrowedFd<'_>,
    kind: MountPropagationFlags,
    recursive: bool,
) -> Result<()> {
    let attr =
        libc::mount_attr { attr_set: 0, attr_clr: 0, propagation: u64::from(kind.bits()), userns_fd: 0 };
    set_attributes(mount, &attr, recursive)
}

/// Sends a signal, of any number.
pub(crate) fn pidfd_signal(pidfd: BorrowedFd<'_>, signal: c_int) -> Result<()> {
    send_signal(pidfd, signal, 0)
}

/// Sends a signal to the process group that this process leads, or led. `EINVAL` before Linux 6.9.
pub(crate) fn pidfd_signal_group(leader: BorrowedFd<'_>, signal: c_int) -> Result<()> {
    /// `PIDFD_SIGNAL_PROCESS_GROUP`.
    const GROUP: c_uint = 4;
    send_signal(leader, signal, GROUP)
}

fn send_signal(pidfd: BorrowedFd<'_>, signal: c_int, flags: c_uint) -> Result<()> {
    let info = std::ptr::null::<u8>();
    // SAFETY: no siginfo is passed.
    check(unsafe { libc::syscall(libc::SYS_pidfd_send_signal, pidfd.as_raw_fd(), signal, info, flags) })
        .map(drop)
}

/// Installs a seccomp filter: pairs of `struct sock_filter` bytes.
pub(crate) fn seccomp(program: &[libc::sock_filter]) -> Result<()> {
    let length = u16::try_from(program.len()).map_err(|_| Errno::INVAL)?;
    let program = libc::sock_fprog { len: length, filter: program.as_ptr().cast_mut() };
    // SAFETY: the kernel copies and checks the program; it does not write to it.
    check(unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0, &raw const program) })
        .map(drop)
}

/// The version of Landlock that the kernel has.
pub(crate) fn landlock_version() -> Result<u32> {
    const VERSION: c_uint = 1;
    let none = std::ptr::null::<u8>();
    // SAFETY: nothing is read or written.
    let version = check(unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, none, 0usize, VERSION) })?;
    u32::try_from(version).map_err(|_| Errno::NOSYS)
}

/// Makes rules of Landlock that handle these rights to files and ports, and these scopes.
pub(crate) fn landlock_ruleset(files: u64, ports: u64, scopes: u64) -> Result<OwnedFd> {
    // `struct landlock_ruleset_attr`; an older kernel takes a longer one if what it does not know is zero.
    let handled = [files, ports, scopes];
    let size = size_of_val(&handled);
    // SAFETY: the structure has the size that is given and is read only.
    let fd = check(unsafe {
        libc::syscall(libc::SYS_landlock_create_ruleset, &raw const handled, size, 0 as c_uint)
    })?;
    let fd = RawFd::try_from(fd).map_err(|_| Errno::BADF)?;
    // SAFETY: the kernel has just made it, and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Allows rights to a file and what is below it.
pub(crate) fn landlock_path(rules: BorrowedFd<'_>, file: BorrowedFd<'_>, allowed: u64) -> Result<()> {
    #[repr(C, packed)]
    struct Beneath {
        allowed: u64,
        file: i32,
    }
    let rule = Beneath { allowed, file: file.as_raw_fd() };
    // SAFETY: `struct landlock_path_beneath_attr`, which is packed and read only; 1 is its kind.
    check(unsafe {
        libc::syscall(libc::SYS_landlock_add_rule, rules.as_raw_fd(), 1, &raw const rule, 0 as c_uint)
    })
    .map(drop)
}

/// Allows rights to a TCP port.
pub(crate) fn landlock_port(rules: BorrowedFd<'_>, port: u16, allowed: u64) -> Result<()> {
    let rule = [allowed, u64::from(port)];
    // SAFETY: `struct landlock_net_port_attr`, which is read only; 2 is its kind.
    check(unsafe {
        libc::syscall(libc::SYS_landlock_add_rule, rules.as_raw_fd(), 2, &raw const rule, 0 as c_uint)
    })
    .map(drop)
}

/// Puts rules in force for this process and all that it makes.
pub(crate) fn landlock_enforce(rules: BorrowedFd<'_>) -> Result<()> {
    // SAFETY: numbers only.
    check(unsafe { libc::syscall(libc::SYS_landlock_restrict_self, rules.as_raw_fd(), 0 as c_uint) })
        .map(drop)
}

/// A `prctl` whose arguments are all numbers.
pub(crate) fn prctl(option: c_int, a: c_ulong, b: c_ulong) -> Result<c_int> {
    // SAFETY: callers pass only options without pointers (capabilities, no_new_privs, dumpable).
    check(unsafe { libc::prctl(option, a, b, 0, 0) }.into()).map(|value| value as c_int)
}

/// Sets the permitted, effective and inheritable capabilities.
pub(crate) fn capset(permitted: u64, effective: u64, inheritable: u64) -> Result<()> {
    const VERSION_3: u32 = 0x2008_0522;
    let header = [VERSION_3, 0];
    let half = |shift: u32| [effective, permitted, inheritable].map(|set| (set >> shift) as u32);
    let data = [half(0), half(32)];
    // SAFETY: header and data have the layout of version 3 and are read only.
    check(unsafe { libc::syscall(libc::SYS_capset, &raw const header, &raw const data) }).map(drop)
}

/// The permitted capabilities.
pub(crate) fn permitted() -> Result<u64> {
    const VERSION_3: u32 = 0x2008_0522;
    let mut header = [VERSION_3, 0];
    let mut data = [[0u32; 3]; 2];
    // SAFETY: header and data have the layout and size of version 3.
    check(unsafe { libc::syscall(libc::SYS_capget, &raw mut header, &raw mut data) })?;
    Ok(u64::from(data[0][1]) | u64::from(data[1][1]) << 32)
}

/// Brings up the loopback interface of the current network namespace.
pub(crate) fn loopback_up() -> Result<()> {
    let socket = rustix::net::socket_with(
        rustix::net::AddressFamily::INET,
        rustix::net::SocketType::DGRAM,
        rustix::net::SocketFlags::CLOEXEC,
        None,
    )?;
    // SAFETY: ifreq is integers and a union of them, for which zero is valid.
    let mut request: libc::ifreq = unsafe { MaybeUninit::zeroed().assume_init() };
    request.ifr_name[0] = b'l' as libc::c_char;
    request.ifr_name[1] = b'o' as libc::c_char;
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
    // SAFETY: the request is a valid ifreq with a terminated name, and outlives the call.
    check(unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &raw mut request) }.into()).map(drop)
}

/// Gives memory that is free back to the kernel.
pub(crate) fn trim_memory() {
    #[cfg(target_env = "gnu")]
    // SAFETY: malloc_trim has no preconditions.
    unsafe {
        libc::malloc_trim(0)
    };
}

/// Unmaps the pages of the program itself. What is used from now on is mapped again when it is, with the pages around it.
pub(crate) fn forget_program() {
    unsafe extern "C" {
        /// Where the linker puts the program's first byte, and the end of its instructions.
        static __executable_start: u8;
        static etext: u8;
    }
    let (start, end) = (&raw const __executable_start as usize, &raw const etext as usize);
    // SAFETY: the range is of private mappings of a file that nobody has written to and nobody can write to, so all of its pages come back as they were.
    unsafe { libc::madvise(start as *mut libc::c_void, end.saturating_sub(start), libc::MADV_DONTNEED) };
}

/// The user id of the process at the other end of a connected socket, as seen in this user namespace.
pub(crate) fn peer_uid(socket: BorrowedFd<'_>) -> Result<u32> {
    // Not rustix's call: the peer is outside of this pid namespace, so its number is 0 here, which rustix's type cannot hold.
    let mut peer = libc::ucred { pid: 0, uid: 0, gid: 0 };
    let mut length = size_of_val(&peer) as libc::socklen_t;
    // SAFETY: the kernel writes at most `length` bytes to the structure, and both outlive the call.
    let done = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_PEERCRED,
            (&raw mut peer).cast(),
            &raw mut length,
        )
    };
    check(done.into()).map(|_| peer.uid)
}

/// The soft limit of descriptors that this process was started with, once it has raised it.
static DESCRIPTORS: OnceLock<u64> = OnceLock::new();

/// Lets this process have as many descriptors as it may at most.
pub(crate) fn raise_descriptor_limit() -> Result<()> {
    let (soft, hard) = prlimit(RLIMIT_NOFILE, None)?;
    prlimit(RLIMIT_NOFILE, Some((hard, hard)))?;
    DESCRIPTORS.get_or_init(|| soft);
    Ok(())
}

/// Puts the limit back that was there before: some programs look at every descriptor that they may have, and `select` knows no more than 1024.
pub(crate) fn restore_descriptor_limit() -> Result<()> {
    let Some(soft) = DESCRIPTORS.get() else { return Ok(()) };
    let (_, hard) = prlimit(RLIMIT_NOFILE, None)?;
    prlimit(RLIMIT_NOFILE, Some(((*soft).min(hard), hard))).map(drop)
}

/// Reads and, if asked, replaces a resource limit (soft, hard); returns the old one.
pub(crate) fn prlimit(resource: u32, new: Option<(u64, u64)>) -> Result<(u64, u64)> {
    let new = new.map(|(soft, hard)| libc::rlimit64 { rlim_cur: soft, rlim_max: hard });
    let mut old = libc::rlimit64 { rlim_cur: 0, rlim_max: 0 };
    let new = new.as_ref().map_or(std::ptr::null(), |limit| &raw const *limit);
    // SAFETY: both pointers are null or point to a limit that outlives the call.
    check(unsafe { libc::syscall(libc::SYS_prlimit64, 0, resource, new, &raw mut old) })?;
    Ok((old.rlim_cur, old.rlim_max))
}
