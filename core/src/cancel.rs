//! Cancelling long calls.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::error::{Error, ErrorKind, Result};

/// A token that ends long calls early. Clones share one state; any thread may cancel, and it stays cancelled.
///
/// A call that is cancelled fails with [`ErrorKind::Cancelled`] and leaves nothing half done.
#[derive(Debug, Clone, Default)]
pub struct CancelToken(Option<Arc<State>>);

#[derive(Debug)]
struct State {
    cancelled: AtomicBool,
    event: Option<OwnedFd>,
}

impl CancelToken {
    /// A token that can be cancelled.
    pub fn new() -> CancelToken {
        let event = rustix::event::eventfd(
            0,
            rustix::event::EventfdFlags::CLOEXEC | rustix::event::EventfdFlags::NONBLOCK,
        );
        CancelToken(Some(Arc::new(State { cancelled: AtomicBool::new(false), event: event.ok() })))
    }

    /// A token that nobody can cancel.
    pub const fn never() -> CancelToken {
        CancelToken(None)
    }

    /// Whether nobody can cancel it.
    pub(crate) const fn is_never(&self) -> bool {
        self.0.is_none()
    }

    /// Cancels every call that uses the token, now and later.
    pub fn cancel(&self) {
        if let Some(state) = &self.0 {
            state.cancelled.store(true, Ordering::SeqCst);
            if let Some(event) = &state.event {
                // A full counter is already readable, which is all that is wanted.
                let _ = rustix::io::write(event, &1u64.to_ne_bytes());
            }
        }
    }

    /// Whether the token was cancelled.
    pub fn is_cancelled(&self) -> bool {
        self.0.as_ref().is_some_and(|state| state.cancelled.load(Ordering::SeqCst))
    }

    /// Fails with [`ErrorKind::Cancelled`] if the token was cancelled.
    pub fn check(&self) -> Result<()> {
        if self.is_cancelled() {
            Err(Error::new(ErrorKind::Cancelled, "cancelled by the caller"))
        } else {
            Ok(())
        }
    }

    /// A descriptor that becomes readable when the token is cancelled, for `poll`. None for [`CancelToken::never`], and
    /// when no descriptor could be had: then poll with a time-out.
    pub fn as_fd(&self) -> Option<BorrowedFd<'_>> {
        self.0.as_ref()?.event.as_ref().map(AsFd::as_fd)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cancelled_token_stays_cancelled_and_wakes_poll() {
        let token = CancelToken::new();
        assert!(token.check().is_ok());
        token.clone().cancel();
        assert_eq!(token.check().unwrap_err().kind(), ErrorKind::Cancelled);
        let fd = token.as_fd().unwrap();
        let mut fds = [rustix::event::PollFd::from_borrowed_fd(fd, rustix::event::PollFlags::IN)];
        assert_eq!(rustix::event::poll(&mut fds, Some(&Default::default())).unwrap(), 1);
        CancelToken::never().cancel();
        assert!(!CancelToken::never().is_cancelled());
    }
}
