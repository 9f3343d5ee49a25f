//! The default profile as data: which system calls a container may make, and under which conditions.
//!
//! The facts are those of docker's default profile: an allow-list, extended by what the container's capabilities make
//! harmless or intended. A call is judged by the first rule that names it and whose condition holds; a call that no
//! rule allows fails with `EPERM`, and a number without a name fails with `ENOSYS`, as on a kernel that does not have
//! the call, so that C libraries fall back to older ones.
//!
//! Where it is stricter than docker's:
//!
//! - `ioctl` refuses `TIOCSTI` and `TIOCLINUX`, which type into the terminal the container was started from. Only the low
//!   32 bits are compared, because the kernel ignores the others: a filter that compares all 64 can be tricked.
//! - `socketcall`, the 32-bit x86 multiplexer whose arguments no filter can see, does not make sockets, or it would
//!   be a way around the list of address families. It answers `ENOSYS`; the direct call works. Images for 32-bit x86, whose C library may
//!   know nothing else, get it (see [`super::Options::socketcall`]).
//!
//! Where it is the same in other words: docker's runtime answers `ENOSYS` for numbers above the newest one that the profile
//! names. Here the calls that are newer than the profile are listed with that answer.

use crate::isolation::capabilities as caps;

/// What happens with a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    /// The kernel executes it.
    Allow,
    /// It fails with this errno.
    Errno(u16),
    /// The filter returns this.
    Return(u32),
}

/// How an argument is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operator {
    Equal,
    NotEqual,
    Less,
    NotLess,
    Greater,
    NotGreater,
}

/// A comparison of one argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Condition {
    /// Index of the argument.
    pub(super) arg: u8,
    /// The comparison.
    pub(super) operator: Operator,
    /// The bits that count.
    pub(super) mask: u64,
    /// What they are compared with.
    pub(super) value: u64,
}

/// A condition on arguments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Test<'a> {
    /// The whole argument, masked, has this value.
    Masked {
        /// Index of the argument.
        arg: u8,
        /// The bits that count.
        mask: u64,
        /// Their value.
        value: u64,
    },
    /// The whole argument is in one of these ranges: sorted, disjoint, both ends included.
    Within {
        /// Index of the argument.
        arg: u8,
        /// The ranges.
        ranges: &'a [(u32, u32)],
    },
    /// The low 32 bits of the argument have one of these values.
    Low {
        /// Index of the argument.
        arg: u8,
        /// The values.
        values: &'a [u32],
    },
    /// All of these hold.
    All(&'a [Condition]),
}

/// On which containers a rule applies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum When {
    /// All.
    Always,
    /// Those that have the capability in their bounding set.
    With(u8),
    /// Those that do not have it.
    Without(u8),
    /// Those that run on x86.
    X86,
    /// Those that run on arm.
    Arm,
    /// Those that may not make sockets with `socketcall`.
    NoSocketcall,
}

/// A line of the profile.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rule<'a> {
    /// The calls.
    pub(super) names: &'a [&'a str],
    /// What happens.
    pub(super) action: Action,
    /// On which containers.
    pub(super) when: When,
    /// On which arguments; None: any.
    pub(super) test: Option<Test<'a>>,
}

const fn allow(when: When, names: &'static [&'static str]) -> Rule<'static> {
    Rule { names, action: Action::Allow, when, test: None }
}

const fn allow_if(when: When, names: &'static [&'static str], test: Test<'static>) -> Rule<'static> {
    Rule { names, action: Action::Allow, when, test: Some(test) }
}

const fn refuse(
    when: When,
    names: &'static [&'static str],
    errno: i32,
    test: Option<Test<'static>>,
) -> Rule<'static> {
    Rule { names, action: Action::Errno(errno as u16), when, test }
}

/// Every flag of `clone` that makes a namespace, but for the time namespace, which `clone` cannot make.
const CLONE_NAMESPACES: u64 = (libc::CLONE_NEWNS
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUSER
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWNET
    | libc::CLONE_NEWCGROUP) as u64;

/// The address families of `socket`: all that the kernel still implements, but for `AF_ALG` (38: the kernel's
/// cryptography, which a container does without and which has been a way to the host), `AF_VSOCK` (40: reaches
/// the host's virtual machines from every network namespace) and those that were removed from the kernel.
const ADDRESS_FAMILIES: &[(u32, u32)] =
    &[(0, 11), (13, 18), (21, 22), (24, 24), (26, 33), (35, 36), (39, 39), (41, 45)];

/// `personality`: Linux, with 32-bit `uname` and with address layout as usual, and the question for the current one.
const PERSONALITIES: &[(u32, u32)] =
    &[(0, 0), (8, 8), (0x2_0000, 0x2_0000), (0x2_0008, 0x2_0008), (u32::MAX, u32::MAX)];

/// `TIOCSTI` and `TIOCLINUX`. The numbers are the same on all ABIs here.
const TERMINAL_INPUT: &[u32] = &[0x5412, 0x541c];

/// `SYS_SOCKET` of `socketcall`.
const SOCKETCALL_SOCKET: &[u32] = &[1];

/// The profile.
pub(super) const DEFAULT: &[Rule<'static>] = &[
    refuse(When::Always, &["ioctl"], libc::EPERM, Some(Test::Low { arg: 1, values: TERMINAL_INPUT })),
    refuse(
        When::NoSocketcall,
        &["socketcall"],
        libc::ENOSYS,
        Some(Test::Low { arg: 0, values: SOCKETCALL_SOCKET }),
    ),
    allow(When::Always, ALWAYS),
    allow_if(When::Always, &["socket"], Test::Within { arg: 0, ranges: ADDRESS_FAMILIES }),
    allow_if(When::Always, &["personality"], Test::Within { arg: 0, ranges: PERSONALITIES }),
    allow(When::Arm, &["arm_fadvise64_64", "arm_sync_file_range", "breakpoint", "cacheflush", "set_tls"]),
    allow(When::X86, &["arch_prctl", "modify_ldt"]),
    allow(When::With(caps::DAC_READ_SEARCH), &["open_by_handle_at"]),
    allow(When::With(caps::SYS_ADMIN), ADMINISTRATION),
    allow_if(
        When::Without(caps::SYS_ADMIN),
        &["clone"],
        Test::Masked { arg: 0, mask: CLONE_NAMESPACES, value: 0 },
    ),
    // Its flags are behind a pointer, so C libraries have to fall back to clone.
    refuse(When::Without(caps::SYS_ADMIN), &["clone3"], libc::ENOSYS, None),
    allow(When::With(caps::SYS_BOOT), &["reboot"]),
    allow(When::With(caps::SYS_CHROOT), &["chroot"]),
    allow(When::With(caps::SYS_MODULE), &["delete_module", "init_module", "finit_module"]),
    allow(When::With(caps::SYS_PACCT), &["acct"]),
    allow(When::With(caps::SYS_PTRACE), &["kcmp", "pidfd_getfd", "process_madvise"]),
    allow(When::With(caps::SYS_RAWIO), &["iopl", "ioperm"]),
    allow(When::With(caps::SYS_TIME), &["settimeofday", "stime", "clock_settime", "clock_settime64"]),
    allow(When::With(caps::SYS_TTY_CONFIG), &["vhangup"]),
    allow(
        When::With(caps::SYS_NICE),
        &["get_mempolicy", "mbind", "set_mempolicy", "set_mempolicy_home_node"],
    ),
    allow(When::With(caps::SYSLOG), &["syslog"]),
    allow(When::With(caps::BPF), &["bpf"]),
    allow(When::With(caps::PERFMON), &["perf_event_open"]),
    refuse(When::Always, NEWER, libc::ENOSYS, None),
];

/// Calls that came after docker's profile.
const NEWER: &[&str] = &["file_getattr", "file_setattr", "listns", "open_tree_attr", "uprobe"];

/// What `CAP_SYS_ADMIN` in the container's user namespace is for.
const ADMINISTRATION: &[&str] = &[
    "bpf",
    "clone",
    "clone3",
    "fanotify_init",
    "fsconfig",
    "fsmount",
    "fsopen",
    "fspick",
    "lookup_dcookie",
    "lsm_get_self_attr",
    "lsm_list_modules",
    "lsm_set_self_attr",
    "mount",
    "mount_setattr",
    "move_mount",
    "open_tree",
    "perf_event_open",
    "quotactl",
    "quotactl_fd",
    "setdomainname",
    "sethostname",
    "setns",
    "syslog",
    "umount",
    "umount2",
    "unshare",
];

/// What every container may do. `ptrace` and its kin are harmless since Linux 4.8, where a tracer can no longer get around a filter.
const ALWAYS: &[&str] = &[
    "_llseek",
    "_newselect",
    "accept",
    "accept4",
    "access",
    "adjtimex",
    "alarm",
    "bind",
    "brk",
    "cachestat",
    "capget",
    "capset",
    "chdir",
    "chmod",
    "chown",
    "chown32",
    "clock_adjtime",
    "clock_adjtime64",
    "clock_getres",
    "clock_getres_time64",
    "clock_gettime",
    "clock_gettime64",
    "clock_nanosleep",
    "clock_nanosleep_time64",
    "close",
    "close_range",
    "connect",
    "copy_file_range",
    "creat",
    "dup",
    "dup2",
    "dup3",
    "epoll_create",
    "epoll_create1",
    "epoll_ctl",
    "epoll_ctl_old",
    "epoll_pwait",
    "epoll_pwait2",
    "epoll_wait",
    "epoll_wait_old",
    "eventfd",
    "eventfd2",
    "execve",
    "execveat",
    "exit",
    "exit_group",
    "faccessat",
    "faccessat2",
    "fadvise64",
    "fadvise64_64",
    "fallocate",
    "fanotify_mark",
    "fchdir",
    "fchmod",
    "fchmodat",
    "fchmodat2",
    "fchown",
    "fchown32",
    "fchownat",
    "fcntl",
    "fcntl64",
    "fdatasync",
    "fgetxattr",
    "flistxattr",
    "flock",
    "fork",
    "fremovexattr",
    "fsetxattr",
    "fstat",
    "fstat64",
    "fstatat64",
    "fstatfs",
    "fstatfs64",
    "fsync",
    "ftruncate",
    "ftruncate64",
    "futex",
    "futex_requeue",
    "futex_time64",
    "futex_wait",
    "futex_waitv",
    "futex_wake",
    "futimesat",
    "get_robust_list",
    "get_thread_area",
    "getcpu",
    "getcwd",
    "getdents",
    "getdents64",
    "getegid",
    "getegid32",
    "geteuid",
    "geteuid32",
    "getgid",
    "getgid32",
    "getgroups",
    "getgroups32",
    "getitimer",
    "getpeername",
    "getpgid",
    "getpgrp",
    "getpid",
    "getppid",
    "getpriority",
    "getrandom",
    "getresgid",
    "getresgid32",
    "getresuid",
    "getresuid32",
    "getrlimit",
    "getrusage",
    "getsid",
    "getsockname",
    "getsockopt",
    "gettid",
    "gettimeofday",
    "getuid",
    "getuid32",
    "getxattr",
    "getxattrat",
    "inotify_add_watch",
    "inotify_init",
    "inotify_init1",
    "inotify_rm_watch",
    "io_cancel",
    "io_destroy",
    "io_getevents",
    "io_pgetevents",
    "io_pgetevents_time64",
    "io_setup",
    "io_submit",
    "ioctl",
    "ioprio_get",
    "ioprio_set",
    "ipc",
    "kill",
    "landlock_add_rule",
    "landlock_create_ruleset",
    "landlock_restrict_self",
    "lchown",
    "lchown32",
    "lgetxattr",
    "link",
    "linkat",
    "listen",
    "listmount",
    "listxattr",
    "listxattrat",
    "llistxattr",
    "lremovexattr",
    "lseek",
    "lsetxattr",
    "lstat",
    "lstat64",
    "madvise",
    "map_shadow_stack",
    "membarrier",
    "memfd_create",
    "memfd_secret",
    "mincore",
    "mkdir",
    "mkdirat",
    "mknod",
    "mknodat",
    "mlock",
    "mlock2",
    "mlockall",
    "mmap",
    "mmap2",
    "mprotect",
    "mq_getsetattr",
    "mq_notify",
    "mq_open",
    "mq_timedreceive",
    "mq_timedreceive_time64",
    "mq_timedsend",
    "mq_timedsend_time64",
    "mq_unlink",
    "mremap",
    "mseal",
    "msgctl",
    "msgget",
    "msgrcv",
    "msgsnd",
    "msync",
    "munlock",
    "munlockall",
    "munmap",
    "name_to_handle_at",
    "nanosleep",
    "newfstatat",
    "open",
    "openat",
    "openat2",
    "pause",
    "pidfd_open",
    "pidfd_send_signal",
    "pipe",
    "pipe2",
    "pkey_alloc",
    "pkey_free",
    "pkey_mprotect",
    "poll",
    "ppoll",
    "ppoll_time64",
    "prctl",
    "pread64",
    "preadv",
    "preadv2",
    "prlimit64",
    "process_mrelease",
    "pselect6",
    "pselect6_time64",
    "pwrite64",
    "pwritev",
    "pwritev2",
    "read",
    "readahead",
    "readlink",
    "readlinkat",
    "readv",
    "recv",
    "recvfrom",
    "recvmmsg",
    "recvmmsg_time64",
    "recvmsg",
    "remap_file_pages",
    "removexattr",
    "removexattrat",
    "rename",
    "renameat",
    "renameat2",
    "restart_syscall",
    "rmdir",
    "rseq",
    "rt_sigaction",
    "rt_sigpending",
    "rt_sigprocmask",
    "rt_sigqueueinfo",
    "rt_sigreturn",
    "rt_sigsuspend",
    "rt_sigtimedwait",
    "rt_sigtimedwait_time64",
    "rt_tgsigqueueinfo",
    "sched_get_priority_max",
    "sched_get_priority_min",
    "sched_getaffinity",
    "sched_getattr",
    "sched_getparam",
    "sched_getscheduler",
    "sched_rr_get_interval",
    "sched_rr_get_interval_time64",
    "sched_setaffinity",
    "sched_setattr",
    "sched_setparam",
    "sched_setscheduler",
    "sched_yield",
    "seccomp",
    "select",
    "semctl",
    "semget",
    "semop",
    "semtimedop",
    "semtimedop_time64",
    "send",
    "sendfile",
    "sendfile64",
    "sendmmsg",
    "sendmsg",
    "sendto",
    "set_robust_list",
    "set_thread_area",
    "set_tid_address",
    "setfsgid",
    "setfsgid32",
    "setfsuid",
    "setfsuid32",
    "setgid",
    "setgid32",
    "setgroups",
    "setgroups32",
    "setitimer",
    "setpgid",
    "setpriority",
    "setregid",
    "setregid32",
    "setresgid",
    "setresgid32",
    "setresuid",
    "setresuid32",
    "setreuid",
    "setreuid32",
    "setrlimit",
    "setsid",
    "setsockopt",
    "setuid",
    "setuid32",
    "setxattr",
    "setxattrat",
    "shmat",
    "shmctl",
    "shmdt",
    "shmget",
    "shutdown",
    "sigaltstack",
    "signalfd",
    "signalfd4",
    "sigprocmask",
    "sigreturn",
    "socketcall",
    "socketpair",
    "splice",
    "stat",
    "stat64",
    "statfs",
    "statfs64",
    "statmount",
    "statx",
    "symlink",
    "symlinkat",
    "sync",
    "sync_file_range",
    "syncfs",
    "sysinfo",
    "tee",
    "tgkill",
    "time",
    "timer_create",
    "timer_delete",
    "timer_getoverrun",
    "timer_gettime",
    "timer_gettime64",
    "timer_settime",
    "timer_settime64",
    "timerfd_create",
    "timerfd_gettime",
    "timerfd_gettime64",
    "timerfd_settime",
    "timerfd_settime64",
    "times",
    "tkill",
    "truncate",
    "truncate64",
    "ugetrlimit",
    "umask",
    "uname",
    "unlink",
    "unlinkat",
    "uretprobe",
    "utime",
    "utimensat",
    "utimensat_time64",
    "utimes",
    "vfork",
    "vmsplice",
    "wait4",
    "waitid",
    "waitpid",
    "write",
    "writev",
    "process_vm_readv",
    "process_vm_writev",
    "ptrace",
];
