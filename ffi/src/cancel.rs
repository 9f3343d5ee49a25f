//! Cancelling long calls.

use core::CancelToken;

use crate::handle::{self, Handle, borrow};

/// A token that ends long calls early. A cancelled call fails with COBLE_ERR_CANCELLED and leaves nothing half done.
pub struct coble_cancel_t(CancelToken);

impl Handle for coble_cancel_t {
    const NAME: &'static str = "cancel";
}

/// The token of a call; NULL is one that nobody can cancel.
///
/// # Safety
/// As [`borrow`].
pub(crate) unsafe fn token(cancel: *const coble_cancel_t) -> CancelToken {
    // SAFETY: passed on.
    unsafe { borrow(cancel) }.map_or(CancelToken::never(), |cancel| cancel.0.clone())
}

/// A new token.
#[unsafe(no_mangle)]
pub extern "C" fn coble_cancel_new() -> *mut coble_cancel_t {
    boundary_value!(std::ptr::null_mut(), { coble_cancel_t(CancelToken::new()).into_raw() })
}

/// Cancels every call that uses the token, now and later. Any thread may do it; it is not for signal handlers.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_cancel_cancel(cancel: *const coble_cancel_t) {
    boundary_value!((), {
        // SAFETY: the caller's, by the contract of the header.
        unsafe { token(cancel) }.cancel()
    })
}

/// 1 if the token was cancelled, or 0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_cancel_is_cancelled(cancel: *const coble_cancel_t) -> i32 {
    boundary_value!(0, {
        // SAFETY: the caller's, by the contract of the header.
        unsafe { token(cancel) }.is_cancelled().into()
    })
}

/// Deletes a token. Calls that use it go on. NULL is fine.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_cancel_delete(cancel: *mut coble_cancel_t) {
    boundary_value!((), {
        // SAFETY: the caller's, by the contract of the header.
        unsafe { handle::delete(cancel) }
    })
}
