//! Cancelling long calls.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::event::epoll;

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
    /// The token that this one is cancelled with, too.
    parent: CancelToken,
    /// Readable when one of both events is: what `poll` gets if there is a parent.
    either: Option<OwnedFd>,
}

impl CancelToken {
    /// A token that can be cancelled.
    pub fn new() -> CancelToken {
        CancelToken(Some(Arc::new(State {
            cancelled: AtomicBool::new(false),
            event: event(),
            parent: CancelToken::never(),
            either: None,
        })))
    }

    /// A token that is cancelled when this one is, and can be cancelled without it: for a call that somebody else may end, too, such as a
    /// callback.
    pub fn child(&self) -> CancelToken {
        let event = event();
        // Without a descriptor of its own for both, whoever polls does so with a time-out.
        let either = match (&event, self.as_fd()) {
            (Some(own), Some(parents)) => readable_with(own.as_fd(), parents),
            _ => None,
        };
        CancelToken(Some(Arc::new(State {
            cancelled: AtomicBool::new(false),
            event,
            parent: self.clone(),
            either,
        })))
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
        self.0
            .as_ref()
            .is_some_and(|state| state.cancelled.load(Ordering::SeqCst) || state.parent.is_cancelled())
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
        let state = self.0.as_ref()?;
        let event = if state.parent.is_never() { &state.event } else { &state.either };
        event.as_ref().map(AsFd::as_fd)
    }
}

/// Something that becomes readable when it is written to, for ever.
fn event() -> Option<OwnedFd> {
    use rustix::event::EventfdFlags;
    rustix::event::eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).ok()
}

/// A descriptor that is readable when one of both is.
fn readable_with(one: BorrowedFd<'_>, other: BorrowedFd<'_>) -> Option<OwnedFd> {
    let both = epoll::create(epoll::CreateFlags::CLOEXEC).ok()?;
    for fd in [one, other] {
        epoll::add(&both, fd, epoll::EventData::new_u64(0), epoll::EventFlags::IN).ok()?;
    }
    Some(both)
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

    fn readable(token: &CancelToken) -> bool {
        let mut fds =
            [rustix::event::PollFd::from_borrowed_fd(token.as_fd().unwrap(), rustix::event::PollFlags::IN)];
        rustix::event::poll(&mut fds, Some(&Default::default())).unwrap() == 1
    }

    #[test]
    fn a_child_is_cancelled_with_its_parent_and_without_it() {
        let parent = CancelToken::new();
        let [one, other] = [parent.child(), parent.child()];
        assert!(!readable(&one) && one.check().is_ok());
        one.cancel();
        assert!(readable(&one) && one.is_cancelled());
        assert!(!readable(&other) && !other.is_cancelled() && !parent.is_cancelled());
        parent.cancel();
        assert!(readable(&other) && other.is_cancelled() && readable(&parent.child()));
        let alone = CancelToken::never().child();
        assert!(!readable(&alone));
        alone.cancel();
        assert!(readable(&alone) && alone.is_cancelled());
    }
}
