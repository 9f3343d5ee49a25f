//! Images and archives of containers.

use std::ffi::{c_char, c_void};

use core::{CommitOptions, Sink};

use crate::boundary::Out;
use crate::cancel::{coble_cancel_t, token};
use crate::container::coble_container_t;
use crate::error::coble_error_t;
use crate::handle::{self, Handle, borrow, borrow_mut};
use crate::image::coble_image_t;
use crate::options::flag;
use crate::progress::{Callback, Listener, coble_progress_callback_t};
use crate::status::coble_status_t;
use crate::stdio::duplicate;
use crate::string::coble_string_t;
use crate::strings::{optional_text, owned_text, path, text};

/// How an image is made of a container.
pub struct coble_commit_options_t {
    options: CommitOptions,
    listener: Listener,
}

impl Handle for coble_commit_options_t {
    const NAME: &'static str = "options";
}

/// Every default: a running container is paused, and the layer is compressed with gzip.
#[unsafe(no_mangle)]
pub extern "C" fn coble_commit_options_new() -> *mut coble_commit_options_t {
    boundary_value!(std::ptr::null_mut(), {
        let listener = Listener::nobody();
        coble_commit_options_t { options: CommitOptions::default(), listener }.into_raw()
    })
}

/// Adds a change of the configuration, an instruction as in a Dockerfile: CMD, ENTRYPOINT, ENV, EXPOSE, HEALTHCHECK, LABEL, ONBUILD, STOPSIGNAL,
/// USER, VOLUME or WORKDIR.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_commit_options_add_change(
    options: *mut coble_commit_options_t,
    change: *const c_char,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        let (options, change) = unsafe { (borrow_mut(options)?, text(change, "change")?) };
        options.options.changes.push(change.to_owned());
    })
}

/// Sets the author. NULL: none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_commit_options_set_author(
    options: *mut coble_commit_options_t,
    author: *const c_char,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        unsafe { borrow_mut(options)?.options.author = owned_text(author, "author")? };
    })
}

/// Sets the comment for the history. NULL: none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_commit_options_set_message(
    options: *mut coble_commit_options_t,
    message: *const c_char,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        unsafe { borrow_mut(options)?.options.message = owned_text(message, "message")? };
    })
}

/// Sets whether a running container is stopped while its files are read: 0 or 1.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_commit_options_set_pause(
    options: *mut coble_commit_options_t,
    pause: i32,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        unsafe { borrow_mut(options)?.options.pause = flag(pause, "pause")? };
    })
}

/// Sets how the layer is compressed: "gzip", "zstd" or "none". NULL: gzip.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_commit_options_set_compression(
    options: *mut coble_commit_options_t,
    compression: *const c_char,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        unsafe { borrow_mut(options)?.options.compression = owned_text(compression, "compression")? };
    })
}

/// Sets who hears how far a commit with them is. NULL: nobody. `userdata` has to live as long as calls are made with these options. See coble_progress_callback_t.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_commit_options_set_progress(
    options: *mut coble_commit_options_t,
    progress: coble_progress_callback_t,
    userdata: *mut c_void,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        unsafe { borrow_mut(options)?.listener = Listener::new(progress, userdata) };
    })
}

/// Deletes options. NULL is fine.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_commit_options_delete(options: *mut coble_commit_options_t) {
    boundary_value!((), {
        // SAFETY: the caller's, by the contract of the header.
        unsafe { handle::delete(options) }
    })
}

/// Makes an image of a container: its image's layers, one more with what it changed, and its configuration. `reference`, the name of the new image, may be
/// NULL, and so may the options.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_container_commit(
    container: *const coble_container_t,
    reference: *const c_char,
    options: *const coble_commit_options_t,
    cancel: *const coble_cancel_t,
    image: *mut *mut coble_image_t,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        let (container, reference, options, callback, out) = unsafe {
            let (options, listener) = borrow(options).map_or_else(
                |_| (CommitOptions::default(), Listener::nobody()),
                |options| (options.options.clone(), options.listener),
            );
            let reference = optional_text(reference, "reference")?;
            let callback = listener.callback(token(cancel));
            (borrow(container)?, reference, options, callback, Out::new(image, "image")?)
        };
        let told = |progress: &core::Progress| callback.tell(progress);
        let made = container.container.commit(reference, &options, &told, callback.token())?;
        coble_image_t::new(made).give(out);
    })
}

/// What a container changed of its image: a JSON array of objects with "kind" ("added", "changed", "deleted") and "path".
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_container_diff(
    container: *const coble_container_t,
    cancel: *const coble_cancel_t,
    json: *mut *mut coble_string_t,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        let (container, cancel, out) =
            unsafe { (borrow(container)?, token(cancel), Out::new(json, "json")?) };
        coble_string_t::json(&container.container.diff(&cancel)?)?.give(out);
    })
}

/// Writes a container's root file system as a tar to a file, which appears when it is complete. `json`, which may be NULL, gets an object with
/// "bytes", "entries" and "warnings".
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_container_export(
    container: *const coble_container_t,
    file: *const c_char,
    cancel: *const coble_cancel_t,
    json: *mut *mut coble_string_t,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        let (container, file, cancel, out) =
            unsafe { (borrow(container)?, path(file, "file")?, token(cancel), Out::new(json, "json")) };
        let exported = container.container.export(Sink::Path(file), &|_| {}, &cancel)?;
        if let Ok(out) = out {
            coble_string_t::json(&exported)?.give(out);
        }
    })
}

/// As coble_container_export, with a callback for the progress, which may be NULL; see coble_progress_callback_t.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_container_export_with_progress(
    container: *const coble_container_t,
    file: *const c_char,
    progress: coble_progress_callback_t,
    userdata: *mut c_void,
    cancel: *const coble_cancel_t,
    json: *mut *mut coble_string_t,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        let (container, file, cancel, out) =
            unsafe { (borrow(container)?, path(file, "file")?, token(cancel), Out::new(json, "json")) };
        let callback = Callback::new(progress, userdata, cancel);
        let told = |progress: &core::Progress| callback.tell(progress);
        let exported = container.container.export(Sink::Path(file), &told, callback.token())?;
        callback.end()?;
        if let Ok(out) = out {
            coble_string_t::json(&exported)?.give(out);
        }
    })
}

/// As coble_container_export, to an open file or pipe, which stays open.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_container_export_fd(
    container: *const coble_container_t,
    fd: i32,
    cancel: *const coble_cancel_t,
    json: *mut *mut coble_string_t,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        let (container, fd, cancel, out) =
            unsafe { (borrow(container)?, duplicate(fd, "fd")?, token(cancel), Out::new(json, "json")) };
        let exported = container.container.export(Sink::Fd(fd), &|_| {}, &cancel)?;
        if let Ok(out) = out {
            coble_string_t::json(&exported)?.give(out);
        }
    })
}

/// As coble_container_export_fd, with a callback for the progress, which may be NULL; see coble_progress_callback_t.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_container_export_fd_with_progress(
    container: *const coble_container_t,
    fd: i32,
    progress: coble_progress_callback_t,
    userdata: *mut c_void,
    cancel: *const coble_cancel_t,
    json: *mut *mut coble_string_t,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        let (container, fd, cancel, out) =
            unsafe { (borrow(container)?, duplicate(fd, "fd")?, token(cancel), Out::new(json, "json")) };
        let callback = Callback::new(progress, userdata, cancel);
        let told = |progress: &core::Progress| callback.tell(progress);
        let exported = container.container.export(Sink::Fd(fd), &told, callback.token())?;
        callback.end()?;
        if let Ok(out) = out {
            coble_string_t::json(&exported)?.give(out);
        }
    })
}

/// Writes what is at a path of a container, and everything below it, as a tar to a file, which appears when it is complete. The names begin with the path's
/// last component. A link there is followed if `follow_link` is not 0. No link leads out of the container, and what is mounted in it is not seen.
/// `json`, which may be NULL, gets an object as of coble_container_export.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_container_get_archive(
    container: *const coble_container_t,
    source: *const c_char,
    file: *const c_char,
    follow_link: i32,
    cancel: *const coble_cancel_t,
    json: *mut *mut coble_string_t,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        let (container, source, file, cancel, out) = unsafe {
            let out = Out::new(json, "json");
            (borrow(container)?, text(source, "source")?, path(file, "file")?, token(cancel), out)
        };
        let follow = flag(follow_link, "follow_link")?;
        let copied = container.container.get_archive(source, Sink::Path(file), follow, &cancel)?;
        if let Ok(out) = out {
            coble_string_t::json(&copied)?.give(out);
        }
    })
}

/// As coble_container_get_archive, to an open file or pipe, which stays open.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_container_get_archive_fd(
    container: *const coble_container_t,
    source: *const c_char,
    fd: i32,
    follow_link: i32,
    cancel: *const coble_cancel_t,
    json: *mut *mut coble_string_t,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        let (container, source, fd, cancel, out) = unsafe {
            let out = Out::new(json, "json");
            (borrow(container)?, text(source, "source")?, duplicate(fd, "fd")?, token(cancel), out)
        };
        let follow = flag(follow_link, "follow_link")?;
        let copied = container.container.get_archive(source, Sink::Fd(fd), follow, &cancel)?;
        if let Ok(out) = out {
            coble_string_t::json(&copied)?.give(out);
        }
    })
}
