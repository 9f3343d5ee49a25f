//! What a container can be waited for after its start.

use std::ffi::c_char;
use std::time::Duration;

use core::{Ready, Result};

use crate::boundary::{Out, invalid};
use crate::cancel::{coble_cancel_t, token};
use crate::container::coble_container_t;
use crate::error::coble_error_t;
use crate::exec::coble_exec_spec_t;
use crate::handle::{self, Handle, borrow};
use crate::options::flag;
use crate::run::optional_duration;
use crate::status::coble_status_t;
use crate::strings::text;

/// What a container can be waited for with coble_container_wait_ready. It may be used for many containers, also at once.
pub struct coble_ready_t(Ready);

impl Handle for coble_ready_t {
    const NAME: &'static str = "ready";
}

/// Reads a condition from a text: "log=PATTERN" (a regular expression matches the output), "port=NUMBER" (a program of the container listens on the TCP port), "http=PORT" or "http=PORT/PATH" (a GET is answered
/// with a status of 200 to 399), "file=PATH" (the path is there), "exec=COMMAND" (the program, words as in a shell without one, ends with 0) or "healthy" (the health checks say so).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_ready_parse(
    condition: *const c_char,
    ready: *mut *mut coble_ready_t,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        let (condition, out) = unsafe { (text(condition, "condition")?, Out::new(ready, "ready")?) };
        coble_ready_t(Ready::parse(condition)?).give(out);
    })
}

/// A regular expression that has matched the output `times` times, on standard output if `standard_output` is 1 and on standard error if `standard_error` is 1. The streams are searched separately, from the container's
/// first start; `^` and `$` match at every line.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_ready_log(
    pattern: *const c_char,
    times: u32,
    standard_output: i32,
    standard_error: i32,
    ready: *mut *mut coble_ready_t,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        let (pattern, out) = unsafe { (text(pattern, "pattern")?, Out::new(ready, "ready")?) };
        let (stdout, stderr) =
            (flag(standard_output, "standard_output")?, flag(standard_error, "standard_error")?);
        give(Ready::Log { pattern: pattern.to_owned(), times, stdout, stderr }, out)?;
    })
}

/// A GET of a path, on a TCP port of a container on the host's network, that is answered with this status; 0 is any of 200 to 399.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_ready_http(
    port: u16,
    path: *const c_char,
    status: u16,
    ready: *mut *mut coble_ready_t,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        let (path, out) = unsafe { (text(path, "path")?, Out::new(ready, "ready")?) };
        let status = Some(status).filter(|status| *status != 0);
        give(Ready::Http { port, path: path.to_owned(), status, headers: Vec::new() }, out)?;
    })
}

/// A program that, run in the container again and again, ends with this exit code. Its output is thrown away. `interval_ms` is the pause after a failure, in milliseconds. One that the image does not have fails the
/// wait with COBLE_ERR_COMMAND_NOT_FOUND.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_ready_exec(
    spec: *const coble_exec_spec_t,
    exit_code: i32,
    interval_ms: u32,
    ready: *mut *mut coble_ready_t,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        let (spec, out) = unsafe { (borrow(spec)?, Out::new(ready, "ready")?) };
        let interval = Duration::from_millis(interval_ms.into());
        give(Ready::Exec { spec: spec.0.clone(), exit_code, interval }, out)?;
    })
}

/// Each of the conditions has held once. They are copied.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_ready_all_of(
    conditions: *const *const coble_ready_t,
    count: usize,
    ready: *mut *mut coble_ready_t,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        let (all, out) = unsafe { (conditions_of(conditions, count)?, Out::new(ready, "ready")?) };
        give(Ready::AllOf(all), out)?;
    })
}

/// One of the conditions holds. They are copied.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_ready_any_of(
    conditions: *const *const coble_ready_t,
    count: usize,
    ready: *mut *mut coble_ready_t,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        let (all, out) = unsafe { (conditions_of(conditions, count)?, Out::new(ready, "ready")?) };
        give(Ready::AnyOf(all), out)?;
    })
}

/// Waits until the container, which has been started, is ready. COBLE_ERR_CONTAINER_EXIT at once if it ends before: the error has a run result (coble_error_run_result) with the exit code and the last 20 lines of each
/// stream. COBLE_ERR_TIMEOUT after `timeout_ms` milliseconds; a negative number waits for ever. COBLE_ERR_INVALID_STATE if it was not started, or there is nothing to wait for, as with the health of a container that has no
/// health checks.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_container_wait_ready(
    container: *const coble_container_t,
    ready: *const coble_ready_t,
    timeout_ms: i64,
    cancel: *const coble_cancel_t,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        let (container, ready, cancel) = unsafe { (borrow(container)?, borrow(ready)?, token(cancel)) };
        container.container.wait_ready(&ready.0, optional_duration(timeout_ms), &cancel)?;
    })
}

/// Deletes a condition; those made of it stay. NULL is fine.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_ready_delete(ready: *mut coble_ready_t) {
    boundary_value!((), {
        // SAFETY: the caller's, by the contract of the header.
        unsafe { handle::delete(ready) }
    })
}

fn give(ready: Ready, out: Out<*mut coble_ready_t>) -> Result<()> {
    ready.check()?;
    coble_ready_t(ready).give(out);
    Ok(())
}

/// # Safety
/// `array` is NULL or has `count` pointers, each NULL or as in [`borrow`].
unsafe fn conditions_of(array: *const *const coble_ready_t, count: usize) -> Result<Vec<Ready>> {
    if count == 0 {
        return Ok(Vec::new());
    }
    if array.is_null() {
        return Err(invalid("conditions", "is NULL"));
    }
    if count > isize::MAX as usize / size_of::<*const coble_ready_t>() {
        return Err(invalid("conditions", "has an impossible count"));
    }
    // SAFETY: not NULL, `count` pointers long by the contract of this function, and no longer than an object can be.
    let pointers = unsafe { std::slice::from_raw_parts(array, count) };
    // SAFETY: each is a condition or NULL, which `borrow` refuses.
    pointers.iter().map(|pointer| Ok(unsafe { borrow(*pointer) }?.0.clone())).collect()
}
