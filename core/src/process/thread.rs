//! Helper threads of a call: they end with it, and get no signals, since the host's handlers must not run on a thread of ours.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Mutex, PoisonError};
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

/// Does `there` on a helper thread, if there can be one, while this thread does `here`; otherwise one after the other, `here` first. It does not wait for the kernel
/// to be done with the thread, only for its work. A panic of either goes on in the caller.
pub(crate) fn beside<A, B: Send>(
    name: &str,
    there: impl FnOnce() -> B + Send,
    here: impl FnOnce() -> A,
) -> (A, B) {
    // Where the work is until somebody does it, so that it is not lost when there is no thread for it.
    let (todo, done) = (Mutex::new(Some(there)), Mutex::new(None));
    let work = || {
        let there = todo.lock().unwrap_or_else(PoisonError::into_inner).take();
        let result = there.map(|there| catch_unwind(AssertUnwindSafe(there)));
        *done.lock().unwrap_or_else(PoisonError::into_inner) = result;
    };
    let result = std::thread::scope(|scope| {
        let helper = spawn_helper(scope, name, work);
        let result = here();
        if helper.is_err() {
            work();
        }
        result
    });
    match done.into_inner().unwrap_or_else(PoisonError::into_inner) {
        Some(Ok(done)) => (result, done),
        Some(Err(panic)) => resume_unwind(panic),
        None => unreachable!("the scope waits for the helper, which does the work"),
    }
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
    fn work_on_both_sides_can_wait_for_the_other_and_a_panic_comes_back() {
        let (sender, receiver) = std::sync::mpsc::channel();
        let both = beside("test", move || receiver.recv().unwrap() + 1, || sender.send(41).unwrap());
        assert_eq!(both, ((), 42));
        let panic = std::panic::catch_unwind(|| beside("test", || -> () { std::panic::panic_any(7) }, || ()));
        assert_eq!(panic.unwrap_err().downcast_ref(), Some(&7));
        // One that waits for what does not come.
        let panic = std::panic::catch_unwind(|| {
            let (sender, receiver) = std::sync::mpsc::channel();
            let here = move || {
                if sender.send(1).is_ok() {
                    std::panic::panic_any(8)
                }
            };
            beside("test", move || receiver.iter().count(), here)
        });
        assert_eq!(panic.unwrap_err().downcast_ref(), Some(&8));
    }

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
