//! Programs started with coble_container_popen, or connected to with coble_container_attach.

use std::ffi::c_char;
use std::os::fd::IntoRawFd;

use core::{Process, Signal};

use crate::boundary::Out;
use crate::cancel::{coble_cancel_t, token};
use crate::error::coble_error_t;
use crate::handle::{self, Handle, borrow, borrow_mut};
use crate::run::optional_duration;
use crate::status::coble_status_t;
use crate::warning::Warnings;

/// A program started with coble_container_popen, or connected to with coble_container_attach. Deleting the handle closes its pipes and leaves the program alone.
pub struct coble_process_t {
    process: Process,
    warnings: Warnings,
}

impl Handle for coble_process_t {
    const NAME: &'static str = "process";
}

impl coble_process_t {
    pub(crate) fn new(process: Process) -> coble_process_t {
        coble_process_t { warnings: Warnings::new(process.warnings()), process }
    }
}

/// Gives the write end of standard input, which is the caller's to close; -1 if it is no pipe or was given before.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_process_take_stdin(process: *mut coble_process_t) -> i32 {
    boundary_value!(-1, {
        // SAFETY: the caller's, by the contract of the header.
        unsafe { borrow_mut(process) }
            .ok()
            .and_then(|process| process.process.take_stdin())
            .map_or(-1, |fd| fd.into_raw_fd())
    })
}

/// Gives the read end of standard output, which is the caller's to close; -1 if it is no pipe or was given before.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_process_take_stdout(process: *mut coble_process_t) -> i32 {
    boundary_value!(-1, {
        // SAFETY: the caller's, by the contract of the header.
        let fd = unsafe { borrow_mut(process) }.ok().and_then(|process| process.process.take_stdout());
        fd.map_or(-1, |fd| fd.into_raw_fd())
    })
}

/// Gives the read end of standard error, which is the caller's to close; -1 if it is no pipe or was given before.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_process_take_stderr(process: *mut coble_process_t) -> i32 {
    boundary_value!(-1, {
        // SAFETY: the caller's, by the contract of the header.
        let fd = unsafe { borrow_mut(process) }.ok().and_then(|process| process.process.take_stderr());
        fd.map_or(-1, |fd| fd.into_raw_fd())
    })
}

/// Its process id on the host, or -1 if the process is NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_process_pid(process: *const coble_process_t) -> i32 {
    boundary_value!(-1, {
        // SAFETY: the caller's, by the contract of the header.
        unsafe { borrow(process) }.map_or(-1, |process| process.process.pid())
    })
}

/// How many things the program could not be given and were not essential.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_process_warning_count(process: *const coble_process_t) -> usize {
    boundary_value!(0, {
        // SAFETY: the caller's, by the contract of the header.
        unsafe { borrow(process) }.map_or(0, |process| process.warnings.count())
    })
}

/// The stable code of a warning. NULL if the index is too large.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_process_warning_code(
    process: *const coble_process_t,
    index: usize,
) -> *const c_char {
    boundary_value!(std::ptr::null(), {
        // SAFETY: the caller's, by the contract of the header.
        unsafe { borrow(process) }.map_or(std::ptr::null(), |process| process.warnings.code(index))
    })
}

/// The explanation of a warning. NULL if the index is too large.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_process_warning_message(
    process: *const coble_process_t,
    index: usize,
) -> *const c_char {
    boundary_value!(std::ptr::null(), {
        // SAFETY: the caller's, by the contract of the header.
        unsafe { borrow(process) }.map_or(std::ptr::null(), |process| process.warnings.message(index))
    })
}

/// Waits for the program's end and gives its exit code, or 128 plus the signal that ended it. COBLE_ERR_TIMEOUT after `timeout_ms`
/// milliseconds; a negative number waits for ever.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_process_wait(
    process: *const coble_process_t,
    timeout_ms: i64,
    cancel: *const coble_cancel_t,
    exit_code: *mut i32,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        let (process, cancel, out) =
            unsafe { (borrow(process)?, token(cancel), Out::new(exit_code, "exit_code")?) };
        out.set(process.process.wait(optional_duration(timeout_ms), &cancel)?);
    })
}

/// Looks whether the program ended: `exited` becomes 1 and `exit_code` its exit code, or `exited` becomes 0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_process_poll(
    process: *const coble_process_t,
    exited: *mut i32,
    exit_code: *mut i32,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        let (process, exited, exit_code) =
            unsafe { (borrow(process)?, Out::new(exited, "exited")?, Out::new(exit_code, "exit_code")?) };
        let code = process.process.poll()?;
        exited.set(code.is_some().into());
        if let Some(code) = code {
            exit_code.set(code);
        }
    })
}

/// Sends a signal, such as SIGTERM, to the program.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_process_send_signal(
    process: *const coble_process_t,
    signal: i32,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        let process = unsafe { borrow(process)? };
        process.process.send_signal(Signal::new(signal)?)?;
    })
}

/// Sets height and width of the program's terminal, in characters; it is told with SIGWINCH. COBLE_ERR_INVALID_STATE if it has none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_process_resize(
    process: *const coble_process_t,
    height: u16,
    width: u16,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        unsafe { borrow(process)? }.process.resize(height, width)?;
    })
}

/// Leaves the program, as docker's keys do: it goes on, and there is an event `detach`, or `exec_detach` for one of coble_container_popen. The descriptors that were taken are to be
/// closed now. A terminal is not hung up, as deleting the handle does it: what is written to it from here on is lost.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_process_detach(
    process: *const coble_process_t,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        unsafe { borrow(process)? }.process.detach()?;
    })
}

/// Deletes the handle, and closes the pipes that were not taken; the program goes on. NULL is fine.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_process_delete(process: *mut coble_process_t) {
    boundary_value!((), {
        // SAFETY: the caller's, by the contract of the header.
        unsafe { handle::delete(process) }
    })
}
