//! bpf(2): device programs for cgroup v2. Programs come from `cgroup::devices`; nothing is decided here.

use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use rustix::io::Errno;

const BPF_PROG_LOAD: libc::c_int = 5;
const BPF_PROG_ATTACH: libc::c_int = 8;
const BPF_PROG_TYPE_CGROUP_DEVICE: u32 = 15;
const BPF_CGROUP_DEVICE: u32 = 6;
const BPF_F_ALLOW_MULTI: u32 = 2;

/// The part of `union bpf_attr` for `BPF_PROG_LOAD` that is used. The kernel takes missing bytes as zero.
#[repr(C)]
#[derive(Clone, Copy)]
struct ProgramLoad {
    program_type: u32,
    instruction_count: u32,
    instructions: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buffer: u64,
    kernel_version: u32,
    flags: u32,
}

/// The part of `union bpf_attr` for `BPF_PROG_ATTACH` that is used.
#[repr(C)]
#[derive(Clone, Copy)]
struct ProgramAttach {
    target: u32,
    program: u32,
    attach_type: u32,
    flags: u32,
}

/// Loads a device program (`struct bpf_insn` array, as 64-bit words in native byte order).
pub(crate) fn load_device_program(instructions: &[u64]) -> Result<OwnedFd, Errno> {
    let license = c"Apache-2.0";
    let attributes = ProgramLoad {
        program_type: BPF_PROG_TYPE_CGROUP_DEVICE,
        instruction_count: u32::try_from(instructions.len()).map_err(|_| Errno::TOOBIG)?,
        instructions: instructions.as_ptr() as u64,
        license: license.as_ptr() as u64,
        log_level: 0,
        log_size: 0,
        log_buffer: 0,
        kernel_version: 0,
        flags: 0,
    };
    let fd = bpf(BPF_PROG_LOAD, &attributes)?;
    // SAFETY: a successful BPF_PROG_LOAD returns a new descriptor that nobody else has. The kernel makes it close-on-exec.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Attaches a device program to a cgroup, beside those that are there: all of them have to agree to an access.
pub(crate) fn attach_device_program(program: BorrowedFd<'_>, cgroup: BorrowedFd<'_>) -> Result<(), Errno> {
    let attributes = ProgramAttach {
        target: cgroup.as_raw_fd() as u32,
        program: program.as_raw_fd() as u32,
        attach_type: BPF_CGROUP_DEVICE,
        flags: BPF_F_ALLOW_MULTI,
    };
    bpf(BPF_PROG_ATTACH, &attributes).map(drop)
}

fn bpf<T: Copy>(command: libc::c_int, attributes: &T) -> Result<libc::c_int, Errno> {
    // In front of zeroes, since checkers of memory look at members of the kernel's union that lie behind the size.
    #[repr(C)]
    struct Union<T>(T, [u64; 24]);
    let padded = Union(*attributes, [0; 24]);
    // SAFETY: the callers pass the attribute structure of the command, whose pointers refer to memory that they hold across the call;
    // its size goes along, and the kernel does not write to it for these commands.
    let result =
        unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_ref(&padded), size_of::<T>()) };
    if result < 0 {
        let code = std::io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO);
        return Err(Errno::from_raw_os_error(code));
    }
    Ok(result as libc::c_int)
}

/// Confines the calling thread with a filter and says what some calls then fail with: unshare of a user namespace, keyctl, clone3,
/// ioctl TIOCSTI with high bits, getppid. Only for a thread that ends after it.
#[cfg(test)]
pub(crate) fn probe_filter(program: &[u8]) -> std::io::Result<[Option<i32>; 5]> {
    let filter: Vec<libc::sock_filter> = program
        .chunks_exact(8)
        .map(|bytes| libc::sock_filter {
            code: u16::from_ne_bytes([bytes[0], bytes[1]]),
            jt: bytes[2],
            jf: bytes[3],
            k: u32::from_ne_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]),
        })
        .collect();
    let program = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_ptr().cast_mut() };
    let failure = |result: libc::c_long| {
        (result < 0).then(|| std::io::Error::last_os_error().raw_os_error().unwrap_or(0))
    };
    // SAFETY: the program outlives the call that reads it; the other calls pass no pointers but null, which the kernel checks.
    unsafe {
        if libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0
            || libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &program) != 0
        {
            return Err(std::io::Error::last_os_error());
        }
        Ok([
            failure(libc::syscall(libc::SYS_unshare, libc::CLONE_NEWUSER)),
            failure(libc::syscall(libc::SYS_keyctl, 0, 0, 0, 0, 0)),
            failure(libc::syscall(libc::SYS_clone3, 0, 0)),
            failure(libc::syscall(libc::SYS_ioctl, 0, 0xdead_0000_5412_u64, 0)),
            failure(libc::syscall(libc::SYS_getppid)),
        ])
    }
}
