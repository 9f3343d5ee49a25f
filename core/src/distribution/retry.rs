//! Trying again: only what may have passed, later each time, never in step with others, and not for ever.

use std::time::Duration;

use super::event::Event;
use crate::cancel::CancelToken;
use crate::error::{Error, Result};
use crate::process::{Deadline, poll};

/// How often a request is tried again, if the caller does not say.
pub(super) const DEFAULT_RETRIES: u32 = 5;
/// A server that asks for more patience than this is not waited for.
const MAX_WAIT: Duration = Duration::from_secs(120);
const MAX_BACK_OFF: Duration = Duration::from_secs(30);

/// How failures that may pass are dealt with.
pub(super) struct Persistence<'a> {
    pub(super) retries: u32,
    /// The first pause; each further one is twice as long.
    pub(super) first_pause: Duration,
    pub(super) cancel: &'a CancelToken,
    pub(super) events: &'a (dyn Fn(Event) + Sync),
}

impl Persistence<'_> {
    /// Makes the call until it succeeds, fails for good, or has failed too often.
    pub(super) fn until_done<T>(&self, what: &str, mut call: impl FnMut() -> Result<T>) -> Result<T> {
        let mut attempt = 0;
        loop {
            self.cancel.check()?;
            let error = match call() {
                Err(error) if error.is_transient() && attempt < self.retries => error,
                // What is given up here is not begun again by who made the call in an attempt of his own.
                result => return result.map_err(Error::lasting),
            };
            self.cancel.check()?;
            let Some(delay) = self.delay(attempt, error.retry_after()) else {
                return Err(error.lasting());
            };
            attempt += 1;
            let cause = error.message().to_owned();
            (self.events)(Event::Retry { what: what.to_owned(), attempt, delay, cause });
            poll(&[], &mut Vec::new(), Deadline::after(Some(delay)), self.cancel)?;
        }
    }

    /// The pause before the next attempt; None if the server asks for too long a one.
    fn delay(&self, attempt: u32, asked: Option<Duration>) -> Option<Duration> {
        if asked.is_some_and(|asked| asked > MAX_WAIT) {
            return None;
        }
        let back_off = self.first_pause.saturating_mul(1 << attempt.min(16)).min(MAX_BACK_OFF);
        let spread = back_off.mul_f64(0.5 + random() / 2.0);
        Some(spread.max(asked.unwrap_or_default()))
    }
}

/// From 0 to 1.
fn random() -> f64 {
    let mut bytes = [0; 4];
    // Without, everybody waits the same time, which is a nuisance and no defect.
    let _ = rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::NONBLOCK);
    f64::from(u32::from_ne_bytes(bytes)) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;
    use std::sync::Mutex;
    use std::time::Instant;

    fn busy(asked: Option<u64>) -> Error {
        Error::new(ErrorKind::RateLimited, "busy").transient_after(asked.map(Duration::from_secs))
    }

    #[test]
    fn pauses_grow_are_spread_and_obey_the_server() {
        let (cancel, nobody) = (CancelToken::never(), |_: Event| {});
        let persistence =
            Persistence { retries: 5, first_pause: Duration::from_secs(1), cancel: &cancel, events: &nobody };
        for attempt in 0..40 {
            let delay = persistence.delay(attempt, None).unwrap();
            let full = Duration::from_secs(1 << attempt.min(16)).min(MAX_BACK_OFF);
            assert!(delay >= full / 2 && delay <= full, "{attempt}: {delay:?}");
        }
        assert_eq!(persistence.delay(0, Some(Duration::from_secs(60))), Some(Duration::from_secs(60)));
        assert_eq!(persistence.delay(0, Some(Duration::from_secs(3600))), None);
    }

    #[test]
    fn only_what_may_pass_is_tried_again_and_not_for_ever() {
        let cancel = CancelToken::never();
        let seen = Mutex::new(Vec::new());
        let watch = |event: Event| seen.lock().unwrap().push(event);
        let persistence = Persistence {
            retries: 2,
            first_pause: Duration::from_millis(1),
            cancel: &cancel,
            events: &watch,
        };
        let count = |failure: &dyn Fn() -> Error| {
            let mut calls = 0;
            let result: Result<()> = persistence.until_done("x", || {
                calls += 1;
                Err(failure())
            });
            (calls, result.unwrap_err().kind())
        };
        assert_eq!(count(&|| busy(None)), (3, ErrorKind::RateLimited));
        assert_eq!(count(&|| busy(Some(100_000))), (1, ErrorKind::RateLimited));
        assert_eq!(count(&|| Error::new(ErrorKind::Registry, "no")), (1, ErrorKind::Registry));
        assert_eq!(seen.lock().unwrap().len(), 2);
        // One attempt inside another is tried again once, not as often as both say.
        let mut calls = 0;
        let result: Result<()> = persistence.until_done("outer", || {
            persistence.until_done("inner", || {
                calls += 1;
                Err(busy(None))
            })
        });
        assert_eq!((calls, result.unwrap_err().kind()), (3, ErrorKind::RateLimited));
    }

    #[test]
    fn cancelling_ends_a_pause() {
        let (cancel, nobody) = (CancelToken::new(), |_: Event| {});
        let persistence = Persistence {
            retries: 9,
            first_pause: Duration::from_secs(20),
            cancel: &cancel,
            events: &nobody,
        };
        let begin = Instant::now();
        let other = cancel.clone();
        std::thread::scope(|scope| {
            scope.spawn(move || {
                std::thread::sleep(Duration::from_millis(50));
                other.cancel();
            });
            let result: Result<()> = persistence.until_done("x", || Err(busy(Some(30))));
            assert_eq!(result.unwrap_err().kind(), ErrorKind::Cancelled);
        });
        assert!(begin.elapsed() < Duration::from_secs(5));
    }
}
