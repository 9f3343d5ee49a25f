//! What a seccomp filter says of the few calls that are left to a process which enters the processes of a container with its filter on.

use crate::sys;

const LOAD: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
const AND: u16 = (libc::BPF_ALU | libc::BPF_AND | libc::BPF_K) as u16;
const JUMP: u16 = (libc::BPF_JMP | libc::BPF_JA) as u16;
const IF_EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
const IF_GREATER: u16 = (libc::BPF_JMP | libc::BPF_JGT | libc::BPF_K) as u16;
const IF_NOT_LESS: u16 = (libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K) as u16;
const IF_ANY: u16 = (libc::BPF_JMP | libc::BPF_JSET | libc::BPF_K) as u16;
const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;

/// The kernel's number of the architecture that this program is for.
#[cfg(target_arch = "x86_64")]
const ARCHITECTURE: u32 = 0xc000_003e;
#[cfg(target_arch = "aarch64")]
const ARCHITECTURE: u32 = 0xc000_00b7;

/// Whether a call goes through, as the kernel would find. What is not understood is not allowed: the engine's own filters use nothing else than what is here.
pub(super) fn allows(filter: &[libc::sock_filter], call: libc::c_long, args: [u64; 6]) -> bool {
    if filter.is_empty() {
        return true;
    }
    let word = |offset: u32| -> Option<u32> {
        Some(match offset {
            0 => call as u32,
            4 => ARCHITECTURE,
            // Whatever address the call is made from.
            8 | 12 => return None,
            16..64 if offset.is_multiple_of(4) => {
                let argument = args[(offset as usize - 16) / 8];
                (if offset.is_multiple_of(8) { argument } else { argument >> 32 }) as u32
            }
            _ => return None,
        })
    };
    let (mut at, mut value) = (0, 0);
    loop {
        let Some(step) = filter.get(at) else { return false };
        at += 1;
        let branch = |taken| usize::from(if taken { step.jt } else { step.jf });
        match step.code {
            LOAD => match word(step.k) {
                Some(loaded) => value = loaded,
                None => return false,
            },
            AND => value &= step.k,
            // Only forward, so there is an end.
            JUMP => at = at.saturating_add(step.k as usize),
            IF_EQUAL => at += branch(value == step.k),
            IF_GREATER => at += branch(value > step.k),
            IF_NOT_LESS => at += branch(value >= step.k),
            IF_ANY => at += branch(value & step.k != 0),
            RETURN => {
                return matches!(
                    step.k & libc::SECCOMP_RET_ACTION_FULL,
                    libc::SECCOMP_RET_ALLOW | libc::SECCOMP_RET_LOG
                );
            }
            _ => return false,
        }
    }
}

/// Whether a process with this filter gets where a container's processes are, see [`crate::container::join`].
pub(super) fn allows_entering(filter: &[libc::sock_filter], terminal: bool) -> bool {
    let plain = |call| allows(filter, call, [0; 6]);
    allows(filter, libc::SYS_clone, [sys::SIBLING as u64, 0, 0, 0, 0, 0])
        && [libc::SYS_getpid, libc::SYS_pidfd_open, libc::SYS_sendmsg, libc::SYS_recvmsg]
            .into_iter()
            .all(plain)
        && (!terminal
            || plain(libc::SYS_setsid) && allows(filter, libc::SYS_ioctl, [0, libc::TIOCSCTTY, 0, 0, 0, 0]))
}

/// Whether the number of processes can be limited with this filter on.
pub(super) fn allows_limits(filter: &[libc::sock_filter]) -> bool {
    allows(filter, libc::SYS_prlimit64, [0; 6])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(code: u16, jt: u8, jf: u8, k: u32) -> libc::sock_filter {
        libc::sock_filter { code, jt, jf, k }
    }

    #[test]
    fn what_a_filter_allows() {
        assert!(allows(&[], libc::SYS_clone, [0; 6]));
        // No other architecture, no clone with a user namespace, no ioctl with the number 7 in the upper half.
        let filter = [
            step(LOAD, 0, 0, 4),
            step(IF_EQUAL, 0, 8, ARCHITECTURE),
            step(LOAD, 0, 0, 0),
            step(IF_EQUAL, 0, 3, libc::SYS_clone as u32),
            step(LOAD, 0, 0, 16),
            step(AND, 0, 0, libc::CLONE_NEWUSER as u32),
            step(IF_EQUAL, 2, 3, 0),
            step(IF_NOT_LESS, 2, 0, 1 << 30),
            step(JUMP, 0, 0, 0),
            step(RETURN, 0, 0, libc::SECCOMP_RET_ALLOW),
            step(RETURN, 0, 0, libc::SECCOMP_RET_ERRNO | 1),
        ];
        let clone = |flags: i32| allows(&filter, libc::SYS_clone, [flags as u64, 0, 0, 0, 0, 0]);
        assert!(clone(sys::SIBLING) && !clone(libc::CLONE_NEWUSER | sys::SIBLING));
        assert!(allows(&filter, libc::SYS_read, [0; 6]) && !allows(&filter, 1 << 30, [0; 6]));
        assert!(allows_entering(&filter, true));
        for odd in [step(RETURN, 0, 0, libc::SECCOMP_RET_KILL_PROCESS), step(7, 0, 0, 0), step(LOAD, 0, 0, 8)]
        {
            assert!(!allows(&[odd], libc::SYS_read, [0; 6]));
        }
        assert!(!allows(&[step(JUMP, 0, 0, u32::MAX)], libc::SYS_read, [0; 6]));
    }
}
