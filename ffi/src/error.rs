//! Errors.

use std::ffi::{CString, c_char};

use crate::handle::{self, Handle, borrow};
use crate::run::coble_run_result_t;
use crate::status::{self, coble_status_t};
use crate::strings::{c_string, pointer_or_null};

/// What went wrong. Made by a function that failed; the caller's.
pub struct coble_error_t {
    kind: core::ErrorKind,
    message: CString,
    hint: Option<CString>,
    object: Option<CString>,
    errno: i32,
    context: Vec<CString>,
    run_result: Option<coble_run_result_t>,
}

impl Handle for coble_error_t {
    const NAME: &'static str = "error";
}

impl coble_error_t {
    pub(crate) fn new(error: core::Error) -> coble_error_t {
        coble_error_t {
            kind: error.kind(),
            message: c_string(&error.to_string()),
            hint: error.hint().map(c_string),
            object: error.object().map(c_string),
            errno: error.errno().unwrap_or(0),
            context: error.context().iter().map(|text| c_string(text)).collect(),
            run_result: error.run_result().cloned().map(coble_run_result_t::new),
        }
    }
}

/// The status code of an error, which the failed function returned too.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_error_code(error: *const coble_error_t) -> coble_status_t {
    boundary_value!(status::COBLE_ERR_PANIC, {
        // SAFETY: the caller's, by the contract of the header.
        unsafe { borrow(error) }.map_or(status::COBLE_ERR_INVALID_ARGUMENT, |error| error.kind.code())
    })
}

/// The name of an error's kind, such as "ImageNotFound". Valid for ever; NULL if the error is NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_error_kind_name(error: *const coble_error_t) -> *const c_char {
    boundary_value!(std::ptr::null(), {
        // SAFETY: the caller's, by the contract of the header.
        unsafe { borrow(error) }.map_or(std::ptr::null(), |error| status::kind_name(error.kind))
    })
}

/// The whole message for people: what was being done, what went wrong, and the way out on a line of its own. NULL if the error is NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_error_message(error: *const coble_error_t) -> *const c_char {
    boundary_value!(std::ptr::null(), {
        // SAFETY: the caller's, by the contract of the header.
        unsafe { borrow(error) }.map_or(std::ptr::null(), |error| error.message.as_ptr())
    })
}

/// The errno of the system call that failed, or 0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_error_errno(error: *const coble_error_t) -> i32 {
    boundary_value!(0, {
        // SAFETY: the caller's, by the contract of the header.
        unsafe { borrow(error) }.map_or(0, |error| error.errno)
    })
}

/// The name of the object that the error is about: a reference, an id, a path. NULL if there is none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_error_object(error: *const coble_error_t) -> *const c_char {
    boundary_value!(std::ptr::null(), {
        // SAFETY: the caller's, by the contract of the header.
        unsafe { borrow(error) }.map_or(std::ptr::null(), |error| pointer_or_null(&error.object))
    })
}

/// A way out. NULL if there is none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_error_hint(error: *const coble_error_t) -> *const c_char {
    boundary_value!(std::ptr::null(), {
        // SAFETY: the caller's, by the contract of the header.
        unsafe { borrow(error) }.map_or(std::ptr::null(), |error| pointer_or_null(&error.hint))
    })
}

/// How many items the chain of context has: what the engine was doing, outermost first.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_error_context_count(error: *const coble_error_t) -> usize {
    boundary_value!(0, {
        // SAFETY: the caller's, by the contract of the header.
        unsafe { borrow(error) }.map_or(0, |error| error.context.len())
    })
}

/// An item of the chain of context. NULL if the index is too large.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_error_context_get(error: *const coble_error_t, index: usize) -> *const c_char {
    boundary_value!(std::ptr::null(), {
        // SAFETY: the caller's, by the contract of the header.
        let item = unsafe { borrow(error) }.ok().and_then(|error| error.context.get(index));
        item.map_or(std::ptr::null(), |item| item.as_ptr())
    })
}

/// What a program left: for COBLE_ERR_CONTAINER_EXIT everything that the run returned; when coble_engine_run or coble_container_exec ended otherwise after the start of the program, as with COBLE_ERR_TIMEOUT and COBLE_ERR_LIMIT_EXCEEDED, what was collected
/// until then, at most the capture limit, and the exit code 137, since the program was killed. NULL for other errors. Borrowed from the error.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_error_run_result(error: *const coble_error_t) -> *const coble_run_result_t {
    boundary_value!(std::ptr::null(), {
        // SAFETY: the caller's, by the contract of the header.
        let result = unsafe { borrow(error) }.ok().and_then(|error| error.run_result.as_ref());
        result.map_or(std::ptr::null(), |result| result as *const _)
    })
}

/// Deletes an error. NULL is fine.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_error_delete(error: *mut coble_error_t) {
    boundary_value!((), {
        // SAFETY: the caller's, by the contract of the header.
        unsafe { handle::delete(error) }
    })
}
