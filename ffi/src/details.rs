//! Everything about one container.

use std::ffi::{CString, c_char};

use core::ContainerDetails;

use crate::boundary::Out;
use crate::container::{coble_container_summary_t, coble_container_t};
use crate::error::coble_error_t;
use crate::handle::{self, Handle, borrow};
use crate::isolation::coble_isolation_t;
use crate::status::coble_status_t;
use crate::string::coble_string_t;
use crate::strings::{c_string, pointer_or_null};
use crate::warning::Warnings;

/// A container as it was when it was inspected.
pub struct coble_container_details_t {
    summary: coble_container_summary_t,
    error: Option<CString>,
    isolation: Option<coble_isolation_t>,
    warnings: Warnings,
    details: ContainerDetails,
}

impl Handle for coble_container_details_t {
    const NAME: &'static str = "details";
}

impl coble_container_details_t {
    fn new(details: ContainerDetails) -> coble_container_details_t {
        coble_container_details_t {
            summary: coble_container_summary_t::new(details.summary.clone()),
            error: details.error.as_deref().map(c_string),
            isolation: details.isolation.clone().map(coble_isolation_t::new),
            warnings: Warnings::new(&details.warnings),
            details,
        }
    }
}

/// Everything about the container.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_container_inspect(
    container: *const coble_container_t,
    details: *mut *mut coble_container_details_t,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        let (container, out) = unsafe { (borrow(container)?, Out::new(details, "details")?) };
        coble_container_details_t::new(container.container.inspect()?).give(out);
    })
}

/// What a list shows of it: names, image, state, exit code, times. Borrowed from the details; NULL if they are NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_container_details_summary(
    details: *const coble_container_details_t,
) -> *const coble_container_summary_t {
    boundary_value!(std::ptr::null(), {
        // SAFETY: the caller's, by the contract of the header.
        unsafe { borrow(details) }.map_or(std::ptr::null(), |details| &raw const details.summary)
    })
}

/// The process id of its program on the host, or -1 if it does not run.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_container_details_pid(details: *const coble_container_details_t) -> i32 {
    boundary_value!(-1, {
        // SAFETY: the caller's, by the contract of the header.
        unsafe { borrow(details) }.ok().and_then(|details| details.details.pid).unwrap_or(-1)
    })
}

/// Why the last start failed. NULL if it did not.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_container_details_error(
    details: *const coble_container_details_t,
) -> *const c_char {
    boundary_value!(std::ptr::null(), {
        // SAFETY: the caller's, by the contract of the header.
        unsafe { borrow(details) }.map_or(std::ptr::null(), |details| pointer_or_null(&details.error))
    })
}

/// The isolation of the current or last run. Borrowed from the details; NULL if it never ran.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_container_details_isolation(
    details: *const coble_container_details_t,
) -> *const coble_isolation_t {
    boundary_value!(std::ptr::null(), {
        // SAFETY: the caller's, by the contract of the header.
        let isolation = unsafe { borrow(details) }.ok().and_then(|details| details.isolation.as_ref());
        isolation.map_or(std::ptr::null(), std::ptr::from_ref)
    })
}

/// How many things the last run did not get that were not essential.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_container_details_warning_count(
    details: *const coble_container_details_t,
) -> usize {
    boundary_value!(0, {
        // SAFETY: the caller's, by the contract of the header.
        unsafe { borrow(details) }.map_or(0, |details| details.warnings.count())
    })
}

/// The stable code of a warning, such as "memory-limit-not-applied". NULL if the index is too large.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_container_details_warning_code(
    details: *const coble_container_details_t,
    index: usize,
) -> *const c_char {
    boundary_value!(std::ptr::null(), {
        // SAFETY: the caller's, by the contract of the header.
        unsafe { borrow(details) }.map_or(std::ptr::null(), |details| details.warnings.code(index))
    })
}

/// The explanation of a warning. NULL if the index is too large.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_container_details_warning_message(
    details: *const coble_container_details_t,
    index: usize,
) -> *const c_char {
    boundary_value!(std::ptr::null(), {
        // SAFETY: the caller's, by the contract of the header.
        unsafe { borrow(details) }.map_or(std::ptr::null(), |details| details.warnings.message(index))
    })
}

/// All of it as a JSON object, with what was asked for.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_container_details_json(
    details: *const coble_container_details_t,
    json: *mut *mut coble_string_t,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        let (details, out) = unsafe { (borrow(details)?, Out::new(json, "json")?) };
        coble_string_t::json(&details.details)?.give(out);
    })
}

/// Deletes details, with what was borrowed from them. NULL is fine.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_container_details_delete(details: *mut coble_container_details_t) {
    boundary_value!((), {
        // SAFETY: the caller's, by the contract of the header.
        unsafe { handle::delete(details) }
    })
}
