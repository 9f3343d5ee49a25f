//! Handles. Each type that C sees as an opaque pointer is owned in exactly one way: in a box of its own, made by [`Handle::into_raw`] and
//! freed by [`delete`]. Borrowed ones are references into such a box, given out as const pointers.

use core::Result;

use crate::boundary::{Out, invalid};

/// An opaque type of the header that is given to C in a box. Handles move between threads.
pub(crate) trait Handle: Sized + Send {
    /// What it is called in messages.
    const NAME: &'static str;

    /// Gives it to the caller.
    fn into_raw(self) -> *mut Self {
        Box::into_raw(Box::new(self))
    }

    /// Gives it to the caller through an out parameter.
    fn give(self, out: Out<*mut Self>) {
        out.set(self.into_raw());
    }
}

/// A handle that C has lent us.
///
/// # Safety
/// The pointer is NULL, or came from [`Handle::into_raw`] (or points into such a handle), is not deleted before the call ends, and
/// nobody has it mutably: the caller's side of the header's rule on threads.
pub(crate) unsafe fn borrow<'a, T: Handle + Sync>(pointer: *const T) -> Result<&'a T> {
    // SAFETY: NULL gives None; otherwise valid and shared, as said above.
    unsafe { pointer.as_ref() }.ok_or_else(|| invalid(T::NAME, "is NULL"))
}

/// A handle that C has lent us for itself alone.
///
/// # Safety
/// As [`borrow`], and nobody else uses it during the call.
pub(crate) unsafe fn borrow_mut<'a, T: Handle>(pointer: *mut T) -> Result<&'a mut T> {
    // SAFETY: NULL gives None; otherwise valid and exclusive, as said above.
    unsafe { pointer.as_mut() }.ok_or_else(|| invalid(T::NAME, "is NULL"))
}

/// Frees a handle. NULL is fine.
///
/// # Safety
/// The pointer is NULL, or came from [`Handle::into_raw`] and was not deleted before.
pub(crate) unsafe fn delete<T: Handle>(pointer: *mut T) {
    if !pointer.is_null() {
        // SAFETY: made by `into_raw`, and the caller gives it back for good.
        drop(unsafe { Box::from_raw(pointer) });
    }
}
