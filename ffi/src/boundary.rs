//! The edge: panics end here, errors become status codes, pointers are checked.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use core::{Error, ErrorKind, Result};

use crate::error::coble_error_t;
use crate::status::{COBLE_OK, coble_status_t};

/// The body of an export that can fail: `boundary!(error, { ... })`, with `?` inside.
macro_rules! boundary {
    ($error:expr, $body:block) => {{
        let body = move || -> core::Result<()> {
            $body
            Ok(())
        };
        // SAFETY: by the contract of the header `$error` is NULL or a place for a pointer.
        unsafe { $crate::boundary::status($error, body) }
    }};
}

/// The body of an export that cannot fail, with the value that it has if it panics: `boundary_value!(0, { ... })`.
macro_rules! boundary_value {
    ($fallback:expr, $body:block) => {
        $crate::boundary::value($fallback, move || $body)
    };
}

/// Runs the body of an export and turns its outcome into a status code and an error object.
///
/// # Safety
/// `error` is NULL or valid for writing a pointer.
pub(crate) unsafe fn status(
    error: *mut *mut coble_error_t,
    body: impl FnOnce() -> Result<()>,
) -> coble_status_t {
    // Nothing of the body is looked at after a panic: what it had borrowed is either untouched or behind the engine's own locks.
    let failure = match catch_unwind(AssertUnwindSafe(body)) {
        Ok(Ok(())) => return COBLE_OK,
        Ok(Err(failure)) => failure,
        Err(payload) => panicked(payload),
    };
    let code = failure.kind().code();
    if !error.is_null() {
        let object = value(std::ptr::null_mut(), || Box::into_raw(Box::new(coble_error_t::new(failure))));
        // SAFETY: checked for NULL above; valid for writing by the contract of this function.
        unsafe { error.write(object) };
    }
    code
}

/// Runs the body of an export that cannot fail.
pub(crate) fn value<T>(fallback: T, body: impl FnOnce() -> T) -> T {
    match catch_unwind(AssertUnwindSafe(body)) {
        Ok(value) => value,
        Err(payload) => {
            // Dropping a payload of an unknown type could panic again.
            std::mem::forget(payload);
            fallback
        }
    }
}

fn panicked(payload: Box<dyn Any + Send>) -> Error {
    let message = match (payload.downcast_ref::<&str>(), payload.downcast_ref::<String>()) {
        (Some(text), _) => (*text).to_owned(),
        (_, Some(text)) => text.clone(),
        _ => "unknown".to_owned(),
    };
    std::mem::forget(payload);
    Error::new(ErrorKind::Panic, format!("panic: {message}"))
}

/// The error of an argument that no call could accept.
pub(crate) fn invalid(argument: &str, why: impl std::fmt::Display) -> Error {
    Error::new(ErrorKind::InvalidArgument, format!("argument \"{argument}\" {why}")).with_object(argument)
}

/// A place for a result, checked before any work is done and written only when all of it is.
pub(crate) struct Out<T>(*mut T);

impl<T> Out<T> {
    /// # Safety
    /// `pointer` is NULL or valid for writing until the end of the call.
    pub(crate) unsafe fn new(pointer: *mut T, argument: &str) -> Result<Out<T>> {
        if pointer.is_null() { Err(invalid(argument, "is NULL")) } else { Ok(Out(pointer)) }
    }

    pub(crate) fn set(self, value: T) {
        // SAFETY: checked for NULL in `new`, whose caller keeps it valid; the old content may be uninitialised, so it is not dropped.
        unsafe { self.0.write(value) }
    }
}
