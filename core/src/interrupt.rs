//! Signals of a host program that handles them itself, between the steps of a call that waits on the thread that gets them.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant};

/// How long a signal may go unnoticed that comes when the thread does not wait, or to another thread. Otherwise it interrupts the wait.
pub(crate) const SLICE: Duration = Duration::from_millis(50);

struct Asking {
    ask: Rc<dyn Fn()>,
    last: Cell<Instant>,
}

thread_local! {
    static ASK: RefCell<Option<Asking>> = const { RefCell::new(None) };
}

/// Makes a call that asks about signals: while it waits on this thread, whenever a wait was interrupted and at least every 50 milliseconds, it calls `ask`, which may cancel
/// the token of the call. Only for calls that say so.
pub fn attentive<T>(ask: Rc<dyn Fn()>, call: impl FnOnce() -> T) -> T {
    /// Puts back what was there before: `ask` may make a call, too.
    struct Before(Option<Asking>);
    impl Drop for Before {
        fn drop(&mut self) {
            ASK.set(self.0.take());
        }
    }
    let asking = Asking { ask, last: Cell::new(Instant::now()) };
    let _before = Before(ASK.replace(Some(asking)));
    call()
}

/// Whether this thread is in a call that asks.
pub(crate) fn asks() -> bool {
    ASK.with_borrow(Option::is_some)
}

/// Asks, if this thread is in a call that does: `now`, or if that was a while ago.
pub(crate) fn ask(now: bool) {
    // Not borrowed while it is asked: that may come here again.
    let ask = ASK.with_borrow(|asking| {
        let asking = asking.as_ref()?;
        let due = now || asking.last.get().elapsed() >= SLICE;
        due.then(|| {
            asking.last.set(Instant::now());
            asking.ask.clone()
        })
    });
    if let Some(ask) = ask {
        ask();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cancel::CancelToken;
    use crate::error::ErrorKind;
    use crate::process::{self, Deadline};

    #[test]
    fn a_call_asks_while_it_waits_and_what_is_asked_may_cancel_it() {
        let (token, asked) = (CancelToken::new(), Rc::new(Cell::new(0)));
        let ask = {
            let (token, asked) = (token.clone(), asked.clone());
            Rc::new(move || {
                asked.set(asked.get() + 1);
                // One inside of it.
                attentive(Rc::new(|| ()), || assert!(asks()));
                if asked.get() == 3 {
                    token.cancel();
                }
            })
        };
        let (read, _write) = rustix::pipe::pipe().unwrap();
        let wait = || process::readable(&read, Deadline::never(), &token, "nothing");
        assert_eq!(attentive(ask.clone(), wait).unwrap_err().kind(), ErrorKind::Cancelled);
        assert_eq!(asked.get(), 3);
        // Where there is always something to do, too.
        let (read, write) = rustix::pipe::pipe().unwrap();
        rustix::io::write(&write, &[0]).unwrap();
        let (before, begin) = (asked.get(), Instant::now());
        attentive(ask, || {
            while asked.get() == before && begin.elapsed() < SLICE * 200 {
                process::readable(&read, Deadline::never(), &CancelToken::never(), "nothing").unwrap();
            }
        });
        assert!(asked.get() == before + 1 && begin.elapsed() >= SLICE, "{}", asked.get());
        assert!(!asks());
    }
}
