//! Work of one call that several threads do: the first failure ends it for all of them, and so do the caller's token and a deadline.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rustix::event::PollFlags;

use crate::cancel::CancelToken;
use crate::error::{Error, ErrorKind, Result};
use crate::process::{Deadline, poll, spawn_helper};

/// How often a token without a descriptor is looked at.
const TICK: Duration = Duration::from_millis(50);

/// What the threads of a call share.
#[derive(Debug)]
pub(crate) struct Halt {
    token: CancelToken,
    first: Mutex<Option<Error>>,
}

impl Halt {
    /// Does the work of a call. Its token is cancelled by the first failure, with the caller's, and when the deadline is over.
    pub(crate) fn under<T>(
        cancel: &CancelToken,
        deadline: Deadline,
        work: impl FnOnce(&Halt) -> Result<T>,
    ) -> Result<T> {
        cancel.check()?;
        let halt = Halt { token: CancelToken::new(), first: Mutex::new(None) };
        let result = if cancel.is_never() && deadline.left().is_none() {
            work(&halt)
        } else {
            let end = CancelToken::new();
            std::thread::scope(|scope| {
                let watcher = spawn_helper(scope, "coble-watch", || watch(&halt, cancel, deadline, &end));
                watcher.map_err(|error| Error::io("clone", "thread", &error))?;
                // Also if the work panics: the scope waits for the watcher.
                let _over = Over(&end);
                work(&halt)
            })
        };
        match result {
            Ok(value) => Ok(value),
            Err(error) => Err(halt.take().unwrap_or(error)),
        }
    }

    /// For a thread that does a part of the work: if it panics, which a callback of the caller's may do on it, the others do not wait for its part for ever.
    pub(crate) fn part(&self) -> Part<'_> {
        Part(self)
    }

    /// The token for everything that the work calls.
    pub(crate) fn token(&self) -> &CancelToken {
        &self.token
    }

    /// Ends the work with an error, unless it has ended already.
    pub(crate) fn fail(&self, error: Error) {
        let mut first = self.first.lock().unwrap_or_else(PoisonError::into_inner);
        // What fails since the token is cancelled says nothing new.
        if first.is_none() && !self.token.is_cancelled() {
            *first = Some(error);
        }
        self.token.cancel();
    }

    /// Fails if the work has ended.
    pub(crate) fn check(&self) -> Result<()> {
        self.token.check()
    }

    /// Whether this is what the work ended with.
    pub(crate) fn failed_with(&self, kind: ErrorKind) -> bool {
        let first = self.first.lock().unwrap_or_else(PoisonError::into_inner);
        first.as_ref().is_some_and(|error| error.kind() == kind)
    }

    /// Waits, as long as nothing fails.
    pub(crate) fn pause(&self, time: Duration) -> Result<()> {
        let mut ready = Vec::new();
        poll(&[], &mut ready, Deadline::after(Some(time)), &self.token).map(drop)
    }

    fn take(&self) -> Option<Error> {
        self.first.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

struct Over<'a>(&'a CancelToken);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

/// See [`Halt::part`].
#[must_use]
pub(crate) struct Part<'a>(&'a Halt);

impl Drop for Part<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.token.cancel();
        }
    }
}

fn watch(halt: &Halt, cancel: &CancelToken, deadline: Deadline, end: &CancelToken) {
    loop {
        let bounded = cancel.as_fd().is_some() && end.as_fd().is_some();
        let tick = Deadline::after(Some(deadline.left().map_or(TICK, |left| left.min(TICK))));
        let until = if bounded { deadline } else { tick };
        let wanted: Vec<_> = end.as_fd().map(|fd| (fd, PollFlags::IN)).into_iter().collect();
        let result = poll(&wanted, &mut Vec::new(), until, cancel);
        if end.is_cancelled() {
            return;
        }
        match result {
            Err(error) => return halt.fail(error),
            Ok(_) if deadline.is_over() => {
                return halt.fail(Error::new(ErrorKind::Timeout, "it was not complete in time"));
            }
            Ok(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    #[test]
    fn the_first_failure_is_the_one_that_counts() {
        let result = Halt::under(&CancelToken::never(), Deadline::never(), |halt| {
            halt.fail(Error::new(ErrorKind::StorageFull, "full"));
            halt.fail(Error::new(ErrorKind::Io, "later"));
            halt.check()
        });
        assert_eq!(result.unwrap_err().kind(), ErrorKind::StorageFull);
        let result = Halt::under(&CancelToken::never(), Deadline::never(), |halt| {
            halt.pause(Duration::from_millis(1))?;
            Ok(7)
        });
        assert_eq!(result.unwrap(), 7);
    }

    #[test]
    fn who_panics_ends_it_for_all() {
        let result = std::panic::catch_unwind(|| {
            Halt::under(&CancelToken::never(), Deadline::never(), |halt| {
                std::thread::scope(|scope| {
                    scope.spawn(|| {
                        let _part = halt.part();
                        std::panic::resume_unwind(Box::new("a callback"));
                    });
                    halt.pause(Duration::from_secs(60))
                })
            })
        });
        // The scope goes on with the panic, and does not get there before the pause is over.
        assert!(result.is_err());
        // One that is over is no panic.
        let result = Halt::under(&CancelToken::never(), Deadline::never(), |halt| {
            drop(halt.part());
            halt.check()
        });
        assert!(result.is_ok());
    }

    #[test]
    fn the_caller_and_the_clock_end_it() {
        let cancel = CancelToken::new();
        let begin = Instant::now();
        let result = std::thread::scope(|scope| {
            scope.spawn(|| {
                std::thread::sleep(Duration::from_millis(50));
                cancel.cancel();
            });
            Halt::under(&cancel, Deadline::never(), |halt| halt.pause(Duration::from_secs(60)))
        });
        assert_eq!(result.unwrap_err().kind(), ErrorKind::Cancelled);
        let soon = Deadline::after(Some(Duration::from_millis(50)));
        for cancel in [CancelToken::new(), CancelToken::never()] {
            let result = Halt::under(&cancel, soon, |halt| halt.pause(Duration::from_secs(60)));
            assert_eq!(result.unwrap_err().kind(), ErrorKind::Timeout);
        }
        assert!(begin.elapsed() < Duration::from_secs(10));
    }
}
