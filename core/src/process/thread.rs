//! Helper threads of a call: they end with it, and get no signals, since the host's handlers must not run on a thread of ours.

use std::thread::{Builder, JoinHandle, Scope, ScopedJoinHandle};

use crate::sys::SignalsBlocked;

/// Starts one. That it cannot be started is for the caller to deal with: the host may be at its limit of threads.
pub fn spawn_helper<'scope, T: Send + 'scope>(
    scope: &'scope Scope<'scope, '_>,
    name: &str,
    work: impl FnOnce() -> T + Send + 'scope,
) -> std::io::Result<ScopedJoinHandle<'scope, T>> {
    let _quiet = SignalsBlocked::begin();
    Builder::new().name(name.to_owned()).spawn_scoped(scope, work)
}

/// Starts one that may outlive the call: whoever gets the handle joins it.
pub fn spawn_worker<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> std::io::Result<JoinHandle<T>> {
    let _quiet = SignalsBlocked::begin();
    Builder::new().name(name.to_owned()).spawn(work)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_gets_no_signals_and_leaves_the_callers_alone() {
        let blocked = || {
            let status = std::fs::read_to_string("/proc/thread-self/status").unwrap();
            let line = status.lines().find_map(|line| line.strip_prefix("SigBlk:\t")).unwrap();
            u64::from_str_radix(line, 16).unwrap()
        };
        let before = blocked();
        let inside =
            std::thread::scope(|scope| spawn_helper(scope, "test", blocked).unwrap().join().unwrap());
        assert_eq!(inside, spawn_worker("test", blocked).unwrap().join().unwrap());
        assert_eq!(blocked(), before);
        for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGCHLD, libc::SIGALRM] {
            assert_ne!(inside & (1 << (signal - 1)), 0, "{signal}");
        }
        assert_eq!(inside & (1 << (libc::SIGSEGV - 1)), 0);
    }
}
