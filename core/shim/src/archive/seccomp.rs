//! The worker's system calls: a list of what it needs, everything else fails with EPERM.
//!
//! So there is no exec, no new process, no socket, no mount, no namespace, no ioctl, no key, no bpf, whatever capabilities are left; and no
//! memory becomes executable. Namespaces for network, IPC and host name would add nothing to that, and a network namespace costs more than everything else that the sandbox does.

use coble_protocol::{Failure, Step};

/// Always allowed.
const ALLOWED: &[libc::c_long] = &[
    // Data.
    libc::SYS_read,
    libc::SYS_write,
    libc::SYS_readv,
    libc::SYS_writev,
    libc::SYS_pread64,
    libc::SYS_pwrite64,
    libc::SYS_lseek,
    libc::SYS_copy_file_range,
    libc::SYS_ftruncate,
    libc::SYS_syncfs,
    libc::SYS_fsync,
    // Entries of directories.
    libc::SYS_openat,
    libc::SYS_openat2,
    libc::SYS_close,
    libc::SYS_dup,
    libc::SYS_fcntl,
    libc::SYS_getdents64,
    libc::SYS_mkdirat,
    libc::SYS_mknodat,
    libc::SYS_symlinkat,
    libc::SYS_linkat,
    libc::SYS_unlinkat,
    libc::SYS_renameat2,
    libc::SYS_readlinkat,
    // Attributes.
    libc::SYS_fstat,
    libc::SYS_newfstatat,
    libc::SYS_statx,
    libc::SYS_fchmod,
    libc::SYS_fchmodat,
    libc::SYS_fchown,
    libc::SYS_fchownat,
    libc::SYS_utimensat,
    libc::SYS_fgetxattr,
    libc::SYS_fsetxattr,
    libc::SYS_flistxattr,
    libc::SYS_fremovexattr,
    // The control socket, which is there already.
    libc::SYS_sendmsg,
    libc::SYS_sendto,
    libc::SYS_recvmsg,
    libc::SYS_recvfrom,
    libc::SYS_ppoll,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_poll,
    // The process itself.
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_madvise,
    libc::SYS_brk,
    libc::SYS_futex,
    libc::SYS_getrandom,
    libc::SYS_clock_gettime,
    libc::SYS_getpid,
    libc::SYS_gettid,
    libc::SYS_getuid,
    libc::SYS_geteuid,
    libc::SYS_getgid,
    libc::SYS_getegid,
    libc::SYS_capget,
    libc::SYS_sched_yield,
    libc::SYS_restart_syscall,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sigaltstack,
    libc::SYS_exit,
    libc::SYS_exit_group,
];

/// Allowed unless they ask for executable memory.
const NOT_EXECUTABLE: &[libc::c_long] = &[libc::SYS_mmap, libc::SYS_mprotect];

#[cfg(target_arch = "x86_64")]
const ARCH: u32 = 0xc000_003e;
#[cfg(target_arch = "aarch64")]
const ARCH: u32 = 0xc000_00b7;

/// Offsets in `struct seccomp_data`, and the low half of the third argument (both architectures are little-endian).
const NR: u32 = 0;
const ARCH_AT: u32 = 4;
const PROT: u32 = 16 + 2 * 8;

const LOAD: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
const EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
const ANY_BIT: u16 = (libc::BPF_JMP | libc::BPF_JSET | libc::BPF_K) as u16;
const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;

fn step(code: u16, k: u32, jt: u8, jf: u8) -> libc::sock_filter {
    libc::sock_filter { code, jt, jf, k }
}

fn program() -> Vec<libc::sock_filter> {
    let deny = libc::SECCOMP_RET_ERRNO | libc::EPERM as u32;
    let mut program = vec![
        step(LOAD, ARCH_AT, 0, 0),
        step(EQUAL, ARCH, 1, 0),
        step(RETURN, libc::SECCOMP_RET_KILL_PROCESS, 0, 0),
        step(LOAD, NR, 0, 0),
    ];
    // One pair of instructions for each call, so that no jump is ever long. Calls of the x32 ABI have numbers of their own, which are not among these.
    for &call in ALLOWED {
        program.push(step(EQUAL, call as u32, 0, 1));
        program.push(step(RETURN, libc::SECCOMP_RET_ALLOW, 0, 0));
    }
    for &call in NOT_EXECUTABLE {
        program.push(step(EQUAL, call as u32, 0, 4));
        program.push(step(LOAD, PROT, 0, 0));
        program.push(step(ANY_BIT, libc::PROT_EXEC as u32, 1, 0));
        program.push(step(RETURN, libc::SECCOMP_RET_ALLOW, 0, 0));
        program.push(step(RETURN, deny, 0, 0));
    }
    program.push(step(RETURN, deny, 0, 0));
    program
}

/// Installs the filter. It cannot be taken off again. Needs `no_new_privs`.
pub(super) fn install() -> Result<(), Failure> {
    let mut program = program();
    let filter = libc::sock_fprog { len: program.len() as u16, filter: program.as_mut_ptr() };
    // SAFETY: `filter` points to `program`, which lives through the call; the kernel copies and checks it.
    let result =
        unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0, &raw const filter) };
    if result != 0 {
        let errno = std::io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO);
        return Err(Failure::new(Step::Sandbox, errno, "seccomp"));
    }
    Ok(())
}
