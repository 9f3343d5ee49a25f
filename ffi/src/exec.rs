//! What a caller may ask of another program in a running container.

use std::ffi::c_char;

use core::ExecSpec;

use crate::boundary::Out;
use crate::error::coble_error_t;
use crate::handle::{self, Handle, borrow_mut};
use crate::options::flag;
use crate::status::coble_status_t;
use crate::strings::{owned_text, text, texts};

/// The options of another program in a running container.
pub struct coble_exec_spec_t(pub(crate) ExecSpec);

impl Handle for coble_exec_spec_t {
    const NAME: &'static str = "spec";
}

/// A program and its arguments, `count` strings, with every default.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_exec_spec_new(
    command: *const *const c_char,
    count: usize,
    spec: *mut *mut coble_exec_spec_t,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        let (command, out) = unsafe { (texts(command, count, "command")?, Out::new(spec, "spec")?) };
        coble_exec_spec_t(ExecSpec::new(command)).give(out);
    })
}

/// Adds an environment variable, over the container's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_exec_spec_add_environment(
    spec: *mut coble_exec_spec_t,
    name: *const c_char,
    value: *const c_char,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        let (spec, name, value) = unsafe { (borrow_mut(spec)?, text(name, "name")?, text(value, "value")?) };
        spec.0.environment.push((name.to_owned(), value.to_owned()));
    })
}

/// Sets the working directory. NULL: the container's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_exec_spec_set_working_dir(
    spec: *mut coble_exec_spec_t,
    working_dir: *const c_char,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        let (spec, working_dir) = unsafe { (borrow_mut(spec)?, owned_text(working_dir, "working_dir")?) };
        spec.0.working_dir = working_dir;
    })
}

/// Sets the user. NULL: the container's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_exec_spec_set_user(
    spec: *mut coble_exec_spec_t,
    user: *const c_char,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        let (spec, user) = unsafe { (borrow_mut(spec)?, owned_text(user, "user")?) };
        spec.0.user = user;
    })
}

/// Sets whether the program has every capability that the caller has, whatever the container has: 0 or 1. They are those of user 0; all else stays the container's (seccomp, AppArmor, Landlock,
/// no_new_privs, what is masked, and which devices may be used).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_exec_spec_set_privileged(
    spec: *mut coble_exec_spec_t,
    privileged: i32,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        let (spec, privileged) = (unsafe { borrow_mut(spec)? }, flag(privileged, "privileged")?);
        spec.0.privileged = privileged;
    })
}

/// Sets whether the program has a terminal: 0 or 1. coble_container_popen then gives copies of its master for COBLE_STREAM_PIPE; reading from that fails with EIO when
/// no program has the terminal open any more.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_exec_spec_set_tty(
    spec: *mut coble_exec_spec_t,
    tty: i32,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        let (spec, tty) = (unsafe { borrow_mut(spec)? }, flag(tty, "tty")?);
        spec.0.tty = tty;
    })
}

/// Sets height and width of the terminal at first, in characters. Both 0: not known yet.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_exec_spec_set_console_size(
    spec: *mut coble_exec_spec_t,
    height: u16,
    width: u16,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        let spec = unsafe { borrow_mut(spec)? };
        spec.0.console_size = Some((height, width)).filter(|size| *size != (0, 0));
    })
}

/// Deletes a specification; programs made from it go on. NULL is fine.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_exec_spec_delete(spec: *mut coble_exec_spec_t) {
    boundary_value!((), {
        // SAFETY: the caller's, by the contract of the header.
        unsafe { handle::delete(spec) }
    })
}
