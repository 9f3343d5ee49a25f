//! The configuration of images that are made from files.

use std::ffi::{c_char, c_void};

use core::ImportOptions;

use crate::cancel::{coble_cancel_t, token};
use crate::error::coble_error_t;
use crate::handle::{self, Handle, borrow, borrow_mut};
use crate::progress::{Callback, Listener, coble_progress_callback_t};
use crate::status::coble_status_t;
use crate::strings::{owned_text, text, texts};

/// The configuration of an image that is made from files instead of from another image.
pub struct coble_import_options_t {
    options: ImportOptions,
    listener: Listener,
}

impl Handle for coble_import_options_t {
    const NAME: &'static str = "options";
}

/// The options of a call, and who hears how far it is; NULL is all defaults.
///
/// # Safety
/// As [`borrow`], of both.
pub(crate) unsafe fn import_options(
    options: *const coble_import_options_t,
    cancel: *const coble_cancel_t,
) -> (ImportOptions, Callback) {
    // SAFETY: passed on.
    let (options, token) = unsafe { (borrow(options), token(cancel)) };
    options.map_or_else(
        |_| (ImportOptions::default(), Listener::nobody().callback(token.clone())),
        |options| (options.options.clone(), options.listener.callback(token.clone())),
    )
}

/// A configuration with every default.
#[unsafe(no_mangle)]
pub extern "C" fn coble_import_options_new() -> *mut coble_import_options_t {
    boundary_value!(std::ptr::null_mut(), {
        let listener = Listener::nobody();
        coble_import_options_t { options: ImportOptions::default(), listener }.into_raw()
    })
}

/// Sets the default command: `count` strings.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_import_options_set_command(
    options: *mut coble_import_options_t,
    command: *const *const c_char,
    count: usize,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        unsafe { borrow_mut(options)?.options.command = Some(texts(command, count, "command")?) };
    })
}

/// Sets the entrypoint: `count` strings.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_import_options_set_entrypoint(
    options: *mut coble_import_options_t,
    entrypoint: *const *const c_char,
    count: usize,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        unsafe { borrow_mut(options)?.options.entrypoint = Some(texts(entrypoint, count, "entrypoint")?) };
    })
}

/// Adds an environment variable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_import_options_add_environment(
    options: *mut coble_import_options_t,
    name: *const c_char,
    value: *const c_char,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        let (options, name, value) =
            unsafe { (borrow_mut(options)?, text(name, "name")?, text(value, "value")?) };
        options.options.environment.push((name.to_owned(), value.to_owned()));
    })
}

/// Sets the default working directory. NULL: none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_import_options_set_working_dir(
    options: *mut coble_import_options_t,
    working_dir: *const c_char,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        unsafe { borrow_mut(options)?.options.working_dir = owned_text(working_dir, "working_dir")? };
    })
}

/// Sets the default user. NULL: none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_import_options_set_user(
    options: *mut coble_import_options_t,
    user: *const c_char,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        unsafe { borrow_mut(options)?.options.user = owned_text(user, "user")? };
    })
}

/// Adds a label.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_import_options_add_label(
    options: *mut coble_import_options_t,
    name: *const c_char,
    value: *const c_char,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        let (options, name, value) =
            unsafe { (borrow_mut(options)?, text(name, "name")?, text(value, "value")?) };
        options.options.labels.insert(name.to_owned(), value.to_owned());
    })
}

/// Sets the comment for the history. NULL: none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_import_options_set_message(
    options: *mut coble_import_options_t,
    message: *const c_char,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        unsafe { borrow_mut(options)?.options.message = owned_text(message, "message")? };
    })
}

/// Sets who hears how far a call with them is. NULL: nobody. `userdata` has to live as long as calls are made with these options. See coble_progress_callback_t.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_import_options_set_progress(
    options: *mut coble_import_options_t,
    progress: coble_progress_callback_t,
    userdata: *mut c_void,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        unsafe { borrow_mut(options)?.listener = Listener::new(progress, userdata) };
    })
}

/// Sets the author. NULL: none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_import_options_set_author(
    options: *mut coble_import_options_t,
    author: *const c_char,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        unsafe { borrow_mut(options)?.options.author = owned_text(author, "author")? };
    })
}

/// Adds a change of the configuration, an instruction of a Dockerfile: CMD, ENTRYPOINT, ENV, EXPOSE, HEALTHCHECK, LABEL, ONBUILD, STOPSIGNAL, USER, VOLUME or WORKDIR.
/// It comes after what the other options say.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_import_options_add_change(
    options: *mut coble_import_options_t,
    change: *const c_char,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        let (options, change) = unsafe { (borrow_mut(options)?, text(change, "change")?) };
        options.options.changes.push(change.to_owned());
    })
}

/// Sets what the files are for, such as "linux/arm64/v8". NULL: the host's platform.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_import_options_set_platform(
    options: *mut coble_import_options_t,
    platform: *const c_char,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        unsafe { borrow_mut(options)?.options.platform = owned_text(platform, "platform")? };
    })
}

/// Deletes a configuration. NULL is fine.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_import_options_delete(options: *mut coble_import_options_t) {
    boundary_value!((), {
        // SAFETY: the caller's, by the contract of the header.
        unsafe { handle::delete(options) }
    })
}
