//! Starting the shim: the only place that creates a process.
//!
//! The caller is a thread of a program that is not ours, with locks held by other threads, handlers installed and gigabytes mapped. So:
//!
//! - The memory is shared until exec (`CLONE_VM | CLONE_VFORK`): nothing is copied, the calling thread sleeps meanwhile.
//! - Between clone and exec only this file's two functions run, on a stack of their own. They make raw system calls, touch no errno, no lock,
//!   no allocator, and cannot panic.
//! - All signals are blocked, and stay blocked until the shim has reset its dispositions, so no handler of the host runs on shared memory.
//! - A stepping stone, whose exit signal is 0 and which no ordinary wait meets, starts the shim and exits. The shim is an orphan from its first
//!   instruction: the host does not have it as a child, unless it adopts orphans.

use std::arch::asm;
use std::ffi::{CStr, c_char};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::ptr;
use std::sync::atomic::{AtomicI32, AtomicU8, Ordering};

use rustix::io::Errno;

use coble_protocol::CONTROL_FD;

/// Bytes of each of the two stacks. The functions on them need a few hundred.
const STACK: usize = 16 * 1024;
const SYS_CLOSE_RANGE: usize = 436;
const CLOSE_RANGE_CLOEXEC: usize = 4;
const AT_EMPTY_PATH: usize = 0x1000;
const F_DUPFD_CLOEXEC: usize = 1030;

/// Everything the two functions need, made beforehand.
#[repr(C)]
struct Plan {
    exe: usize,
    control: usize,
    null: usize,
    empty: *const c_char,
    argv: [*const c_char; 2],
    envp: [*const c_char; 1],
    second_stack: *mut u8,
    second_flags: usize,
    /// What is being done, and the errno of what failed; shared memory makes them visible to the caller.
    step: AtomicU8,
    failed: AtomicI32,
}

/// What a process that could not be started was not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NotStarted {
    /// Made.
    Cloned(Errno),
    /// Given its descriptors.
    Prepared(Errno),
    /// Executed.
    Executed(Errno),
}

const CLONE: u8 = 0;
const PREPARE: u8 = 1;
const EXECUTE: u8 = 2;

/// Starts the program `exe` as an orphan with `control` as descriptor [`CONTROL_FD`], `/dev/null` as 0 to 2, nothing else open, an empty environment, all
/// signals blocked, and if asked for as the first process of a pid namespace. Returns when it is started or has failed to.
pub(crate) fn spawn_shim(
    exe: BorrowedFd<'_>,
    control: BorrowedFd<'_>,
    pid_namespace: bool,
) -> Result<(), NotStarted> {
    let null = rustix::fs::open(
        c"/dev/null",
        rustix::fs::OFlags::RDWR | rustix::fs::OFlags::CLOEXEC,
        rustix::fs::Mode::empty(),
    )
    .map_err(NotStarted::Prepared)?;
    let name: &CStr = c"coble-shim";
    let mut stacks = vec![0u128; 2 * STACK / 16];
    // SAFETY: both offsets are within, or one past the end of, the allocation, which outlives the clone below.
    let (first_stack, second_stack) = unsafe {
        let base = stacks.as_mut_ptr().cast::<u8>();
        (base.add(STACK), base.add(2 * STACK))
    };
    let plan = Box::new(Plan {
        exe: exe.as_raw_fd() as usize,
        control: control.as_raw_fd() as usize,
        null: null.as_fd().as_raw_fd() as usize,
        empty: c"".as_ptr(),
        argv: [name.as_ptr(), ptr::null()],
        envp: [ptr::null()],
        second_stack,
        second_flags: (libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD) as usize
            | if pid_namespace { libc::CLONE_NEWPID as usize } else { 0 },
        step: AtomicU8::new(CLONE),
        failed: AtomicI32::new(0),
    });

    let all: u64 = !0;
    let mut before: u64 = 0;
    // SAFETY: the kernel's signal set is 8 bytes; both pointers are to locals of that size.
    unsafe {
        syscall(
            libc::SYS_rt_sigprocmask as usize,
            [libc::SIG_SETMASK as usize, &raw const all as usize, &raw mut before as usize, 8, 0],
        );
    }
    // SAFETY: `first_stack` is the top of a live stack that nothing else uses; CLONE_VFORK keeps this thread here until the child has exited, so
    // `plan` and the stacks outlive every use; `stepping_stone` does not return.
    let pid = unsafe {
        clone_onto(
            (libc::CLONE_VM | libc::CLONE_VFORK) as usize,
            first_stack,
            stepping_stone,
            &raw const *plan,
        )
    };
    // SAFETY: as for the call that blocked them.
    unsafe {
        syscall(
            libc::SYS_rt_sigprocmask as usize,
            [libc::SIG_SETMASK as usize, &raw const before as usize, 0, 8, 0],
        );
    }
    if pid < 0 {
        return Err(NotStarted::Cloned(Errno::from_raw_os_error(-(pid as i32))));
    }
    if !reap(pid) {
        // Somebody has killed the stepping stone, and what it started may still be on its way, on this memory.
        std::mem::forget((plan, stacks));
        return Err(NotStarted::Cloned(Errno::INTR));
    }
    drop(stacks);
    let errno = match plan.failed.load(Ordering::SeqCst) {
        0 => return Ok(()),
        errno => Errno::from_raw_os_error(errno),
    };
    Err(match plan.step.load(Ordering::SeqCst) {
        CLONE => NotStarted::Cloned(errno),
        PREPARE => NotStarted::Prepared(errno),
        _ => NotStarted::Executed(errno),
    })
}

/// Waits for exactly the stepping stone, and tells whether it has exited, since it can also be killed. Its exit signal is 0, hence `__WALL`.
fn reap(pid: isize) -> bool {
    // The kernel does without, but checkers of memory complain about a null siginfo.
    let mut info = std::mem::MaybeUninit::<libc::siginfo_t>::zeroed();
    loop {
        // SAFETY: `info` is a siginfo; the pid is an unreaped child of this process, so it names no other process.
        let result = unsafe {
            syscall(
                libc::SYS_waitid as usize,
                [
                    libc::P_PID as usize,
                    pid as usize,
                    info.as_mut_ptr() as usize,
                    (libc::WEXITED | libc::__WALL) as usize,
                    0,
                ],
            )
        };
        if result != -(libc::EINTR as isize) {
            // SAFETY: zeroed at first, which is valid for a siginfo, and filled by the kernel if the call succeeded.
            return result < 0 || unsafe { info.assume_init_ref() }.si_code == libc::CLD_EXITED;
        }
    }
}

/// The process between: starts the shim, and exits.
extern "C" fn stepping_stone(plan: *const Plan) -> ! {
    // SAFETY: `plan` is alive: the caller of the clone sleeps until this process has ended, and gives the memory free only if it has exited, after that which it starts was executed or
    // had failed. The second stack is used by nobody else.
    unsafe {
        let result = clone_onto((*plan).second_flags, (*plan).second_stack, become_shim, plan);
        if result < 0 {
            (*plan).failed.store(-(result as i32), Ordering::SeqCst);
        }
        leave()
    }
}

/// The process that becomes the shim. Its descriptor table is its own.
extern "C" fn become_shim(plan: *const Plan) -> ! {
    // SAFETY: `plan` and what it points to are alive: the stepping stone sleeps until this process has called exec or exited, and if it is killed before, the caller leaves the memory
    // alone. The system calls read the prepared arrays and change only this process's descriptors.
    unsafe {
        let plan = &*plan;
        plan.step.store(PREPARE, Ordering::SeqCst);
        // First out of the way of the numbers that will be used, then to their places.
        let exe = syscall(libc::SYS_fcntl as usize, [plan.exe, F_DUPFD_CLOEXEC, 10, 0, 0]);
        let control = syscall(libc::SYS_fcntl as usize, [plan.control, F_DUPFD_CLOEXEC, 10, 0, 0]);
        let null = syscall(libc::SYS_fcntl as usize, [plan.null, F_DUPFD_CLOEXEC, 10, 0, 0]);
        let mut result = exe.min(control).min(null);
        if result >= 0 {
            let places = [(null, 0), (null, 1), (null, 2), (control, CONTROL_FD as usize)];
            let mut i = 0;
            while i < 4 && result >= 0 {
                // SAFETY: `i` is below the length of `places`.
                let (from, to) = *places.as_ptr().add(i);
                result = syscall(libc::SYS_dup3 as usize, [from as usize, to, 0, 0, 0]);
                i += 1;
            }
        }
        if result >= 0 {
            result = syscall(
                SYS_CLOSE_RANGE,
                [CONTROL_FD as usize + 1, u32::MAX as usize, CLOSE_RANGE_CLOEXEC, 0, 0],
            );
        }
        if result >= 0 {
            plan.step.store(EXECUTE, Ordering::SeqCst);
            let (argv, envp) = (plan.argv.as_ptr() as usize, plan.envp.as_ptr() as usize);
            result = syscall(
                libc::SYS_execveat as usize,
                [exe as usize, plan.empty as usize, argv, envp, AT_EMPTY_PATH],
            );
        }
        plan.failed.store(-(result as i32), Ordering::SeqCst);
        leave()
    }
}

/// Ends this process without running anything of the host.
///
/// # Safety
///
/// Only for a process that shares memory with a sleeping caller: nothing is flushed or unlocked.
unsafe fn leave() -> ! {
    loop {
        // SAFETY: the call ends the process.
        unsafe { syscall(libc::SYS_exit_group as usize, [0; 5]) };
    }
}

/// A raw system call: no errno, no cancellation point, no lock. Returns the kernel's value, negative errno on failure.
///
/// # Safety
///
/// As the system call itself.
#[inline(always)]
unsafe fn syscall(number: usize, args: [usize; 5]) -> isize {
    let result: isize;
    // SAFETY: the registers are those of the kernel's calling convention; what it clobbers is declared.
    #[cfg(target_arch = "x86_64")]
    unsafe {
        asm!("syscall", inlateout("rax") number as isize => result, in("rdi") args[0], in("rsi") args[1], in("rdx") args[2],
            in("r10") args[3], in("r8") args[4], out("rcx") _, out("r11") _, options(nostack));
    }
    // SAFETY: as above.
    #[cfg(target_arch = "aarch64")]
    unsafe {
        asm!("svc #0", in("x8") number, inlateout("x0") args[0] as isize => result, in("x1") args[1], in("x2") args[2],
            in("x3") args[3], in("x4") args[4], options(nostack));
    }
    result
}

/// `clone` whose child runs `entry(plan)` on the stack that ends at `stack_top`. The parent gets the pid or a negative errno.
///
/// # Safety
///
/// `stack_top` is the 16-byte aligned end of a stack that nothing else uses while the child runs on it; `entry` never returns; whatever it uses stays alive.
#[inline(never)]
unsafe fn clone_onto(
    flags: usize,
    stack_top: *mut u8,
    entry: extern "C" fn(*const Plan) -> !,
    plan: *const Plan,
) -> isize {
    let result: isize;
    // SAFETY: only the parent leaves this block by its end; the child is on another stack and never comes back, so nothing of this frame
    // is written by it. The alignment is done again in the child because tools that emulate vfork with fork leave it on a copy of this stack.
    #[cfg(target_arch = "x86_64")]
    unsafe {
        asm!(
            "syscall",
            "test rax, rax",
            "jnz 2f",
            "xor ebp, ebp",
            "and rsp, -16",
            "mov rdi, {plan}",
            "call {entry}",
            "ud2",
            "2:",
            plan = in(reg) plan,
            entry = in(reg) entry,
            inlateout("rax") libc::SYS_clone as isize => result,
            in("rdi") flags,
            in("rsi") stack_top,
            in("rdx") 0,
            in("r10") 0,
            in("r8") 0,
            out("rcx") _,
            out("r11") _,
        );
    }
    // SAFETY: as above.
    #[cfg(target_arch = "aarch64")]
    unsafe {
        asm!(
            "svc #0",
            "cbnz x0, 2f",
            "mov x29, xzr",
            "mov x0, {plan}",
            "blr {entry}",
            "brk #1",
            "2:",
            plan = in(reg) plan,
            entry = in(reg) entry,
            in("x8") libc::SYS_clone,
            inlateout("x0") flags as isize => result,
            in("x1") stack_top,
            in("x2") 0,
            in("x3") 0,
            in("x4") 0,
        );
    }
    result
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
compile_error!("coble runs on x86-64 and arm64");

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

    /// The environment and the descriptors that the program gets, as a shell sees them. The control socket is also its output.
    #[test]
    fn the_program_gets_the_socket_and_nothing_else() {
        let (ours, theirs) =
            socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None).unwrap();
        // A shell script cannot be executed by descriptor when that is close-on-exec, so take a program whose behaviour without
        // arguments is known: `cat` copies standard input, which is /dev/null, and exits.
        let exe = rustix::fs::open(
            "/bin/cat",
            rustix::fs::OFlags::PATH | rustix::fs::OFlags::CLOEXEC,
            rustix::fs::Mode::empty(),
        )
        .unwrap();
        spawn_shim(exe.as_fd(), theirs.as_fd(), false).unwrap();
        drop(theirs);
        let mut byte = [0];
        assert_eq!(rustix::io::read(&ours, &mut byte).unwrap(), 0, "end of file when the program is gone");
    }

    #[test]
    fn what_cannot_be_executed_is_an_error_and_leaves_no_child() {
        let (_ours, theirs) =
            socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None).unwrap();
        let exe = rustix::fs::open(
            "/etc/passwd",
            rustix::fs::OFlags::PATH | rustix::fs::OFlags::CLOEXEC,
            rustix::fs::Mode::empty(),
        )
        .unwrap();
        assert_eq!(spawn_shim(exe.as_fd(), theirs.as_fd(), false), Err(NotStarted::Executed(Errno::ACCESS)));
    }
}
