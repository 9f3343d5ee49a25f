//! The image store: saving, comparing, mounting and pruning images.

use std::ffi::{c_char, c_void};
use std::os::fd::{AsFd, AsRawFd};

use core::{ImageMount, PruneOptions, Result, SaveFormat, SaveOptions, Sink};

use crate::boundary::Out;
use crate::cancel::{coble_cancel_t, token};
use crate::engine::coble_engine_t;
use crate::error::coble_error_t;
use crate::handle::{self, Handle, borrow};
use crate::options::{self, Options, flag, reserved};
use crate::progress::{Callback, coble_progress_callback_t};
use crate::status::coble_status_t;
use crate::stdio::duplicate;
use crate::string::coble_string_t;
use crate::strings::{optional_text, owned_text, path, text, texts};

/// # Safety
/// As [`optional_text`].
unsafe fn save_options(format: *const c_char, platform: *const c_char) -> Result<SaveOptions> {
    let mut options = SaveOptions::default();
    // SAFETY: passed on.
    if let Some(format) = unsafe { optional_text(format, "format") }? {
        options.format = SaveFormat::parse(format)?;
    }
    // SAFETY: passed on.
    options.platform = unsafe { owned_text(platform, "platform") }?;
    Ok(options)
}

/// Saves `count` images to a file, which appears when it is complete, or to a directory. The format is "oci-archive" (NULL is the same), a tar of an OCI image
/// layout that is a docker archive, too; "oci-dir", a layout as a directory; or "docker-archive". `platform`, such as "linux/arm64", may be NULL: all
/// that the names have in the store; for "docker-archive", which has one image for a name, the one for the host.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_image_save(
    engine: *const coble_engine_t,
    names: *const *const c_char,
    count: usize,
    file: *const c_char,
    format: *const c_char,
    platform: *const c_char,
    cancel: *const coble_cancel_t,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        let (engine, names, file, options, cancel) = unsafe {
            let options = save_options(format, platform)?;
            (borrow(engine)?, texts(names, count, "names")?, path(file, "file")?, options, token(cancel))
        };
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        engine.0.images().save(&names, Sink::Path(file), &options, &|_| {}, &cancel)?;
    })
}

/// As coble_image_save, with a callback for the progress, which may be NULL; see coble_progress_callback_t.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_image_save_with_progress(
    engine: *const coble_engine_t,
    names: *const *const c_char,
    count: usize,
    file: *const c_char,
    format: *const c_char,
    platform: *const c_char,
    progress: coble_progress_callback_t,
    userdata: *mut c_void,
    cancel: *const coble_cancel_t,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        let (engine, names, file, options, cancel) = unsafe {
            let options = save_options(format, platform)?;
            (borrow(engine)?, texts(names, count, "names")?, path(file, "file")?, options, token(cancel))
        };
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let callback = Callback::new(progress, userdata, cancel);
        let told = |progress: &core::Progress| callback.tell(progress);
        engine.0.images().save(&names, Sink::Path(file), &options, &told, callback.token())?;
        callback.end()?;
    })
}

/// As coble_image_save, to an open file or pipe, which stays open. Not for "oci-dir".
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_image_save_fd(
    engine: *const coble_engine_t,
    names: *const *const c_char,
    count: usize,
    fd: i32,
    format: *const c_char,
    platform: *const c_char,
    cancel: *const coble_cancel_t,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        let (engine, names, fd, options, cancel) = unsafe {
            let options = save_options(format, platform)?;
            (borrow(engine)?, texts(names, count, "names")?, duplicate(fd, "fd")?, options, token(cancel))
        };
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        engine.0.images().save(&names, Sink::Fd(fd), &options, &|_| {}, &cancel)?;
    })
}

/// As coble_image_save_fd, with a callback for the progress, which may be NULL; see coble_progress_callback_t.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_image_save_fd_with_progress(
    engine: *const coble_engine_t,
    names: *const *const c_char,
    count: usize,
    fd: i32,
    format: *const c_char,
    platform: *const c_char,
    progress: coble_progress_callback_t,
    userdata: *mut c_void,
    cancel: *const coble_cancel_t,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        let (engine, names, fd, options, cancel) = unsafe {
            let options = save_options(format, platform)?;
            (borrow(engine)?, texts(names, count, "names")?, duplicate(fd, "fd")?, options, token(cancel))
        };
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let callback = Callback::new(progress, userdata, cancel);
        let told = |progress: &core::Progress| callback.tell(progress);
        engine.0.images().save(&names, Sink::Fd(fd), &options, &told, callback.token())?;
        callback.end()?;
    })
}

/// What is different in one image's root file system against another's: a JSON array of objects with "kind" ("added", "changed", "deleted") and
/// "path".
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_image_diff(
    engine: *const coble_engine_t,
    old_name: *const c_char,
    new_name: *const c_char,
    cancel: *const coble_cancel_t,
    json: *mut *mut coble_string_t,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        let (engine, old, new, cancel, out) = unsafe {
            let (old, new) = (text(old_name, "old_name")?, text(new_name, "new_name")?);
            (borrow(engine)?, old, new, token(cancel), Out::new(json, "json")?)
        };
        coble_string_t::json(&engine.0.images().diff(old, new, &cancel)?)?.give(out);
    })
}

/// An image's root file system, mounted read-only where only the holder sees it.
pub struct coble_image_mount_t(ImageMount);

impl Handle for coble_image_mount_t {
    const NAME: &'static str = "mount";
}

/// Mounts an image's root file system read-only. It is nowhere in the tree of the host, but reached through a descriptor, and goes with
/// that, however the process ends. Links in an image may lead anywhere: paths that an image chose are opened with openat2 and RESOLVE_IN_ROOT.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_image_mount(
    engine: *const coble_engine_t,
    name: *const c_char,
    cancel: *const coble_cancel_t,
    mount: *mut *mut coble_image_mount_t,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        let (engine, name, cancel, out) =
            unsafe { (borrow(engine)?, text(name, "name")?, token(cancel), Out::new(mount, "mount")?) };
        coble_image_mount_t(engine.0.images().mount(name, &cancel)?).give(out);
    })
}

/// The descriptor of the root directory, for openat and the like. It belongs to the mount. -1 if that is NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_image_mount_fd(mount: *const coble_image_mount_t) -> i32 {
    boundary_value!(-1, {
        // SAFETY: the caller's, by the contract of the header.
        unsafe { borrow(mount) }.map_or(-1, |mount| mount.0.as_fd().as_raw_fd())
    })
}

/// Unmounts. NULL is fine.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_image_mount_delete(mount: *mut coble_image_mount_t) {
    boundary_value!((), {
        // SAFETY: the caller's, by the contract of the header.
        unsafe { handle::delete(mount) }
    })
}

/// Which images coble_image_prune removes. Zero everything but the size for the defaults.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct coble_prune_options_t {
    /// sizeof(coble_prune_options_t).
    pub size: usize,
    /// Conditions as of coble_image_list, or NULL.
    pub filters: *const *const c_char,
    /// How many conditions there are.
    pub filter_count: usize,
    /// Keep at least this many bytes of blobs and unpacked layers. 0: none.
    pub reserved_space: u64,
    /// Remove only what it takes to have no more than this many bytes. 0: no such bound.
    pub max_used_space: u64,
    /// Remove only what it takes for the file system to have this many bytes free. 0: no such bound.
    pub min_free_space: u64,
    /// 1: every image that no container uses. 0: those without a name.
    pub all: i32,
    /// Has to be 0.
    pub reserved: i32,
}

const _: () = assert!(size_of::<coble_prune_options_t>() == 3 * size_of::<usize>() + 32, "padding");

// SAFETY: repr(C), size first, raw pointers and integers only, and no padding as asserted above.
unsafe impl Options for coble_prune_options_t {
    const NAME: &'static str = "options";
}

/// # Safety
/// As [`options::read`], and the filters as [`texts`].
unsafe fn prune_options(options: *const coble_prune_options_t) -> Result<PruneOptions> {
    // SAFETY: passed on.
    let given = unsafe { options::read(options) }?;
    reserved(given.reserved, "options.reserved")?;
    let bound = |bytes: u64| Some(bytes).filter(|bytes| *bytes > 0);
    let mut options = PruneOptions::default();
    options.all = flag(given.all, "options.all")?;
    // SAFETY: passed on.
    options.filters = unsafe { texts(given.filters, given.filter_count, "options.filters") }?;
    options.reserved = bound(given.reserved_space);
    options.max_used = bound(given.max_used_space);
    options.min_free = bound(given.min_free_space);
    Ok(options)
}

/// Removes images that are not used. Options may be NULL. `json`, which may be NULL, gets an object with the arrays "untagged" and "deleted" and the
/// number "reclaimed" of bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_image_prune(
    engine: *const coble_engine_t,
    options: *const coble_prune_options_t,
    cancel: *const coble_cancel_t,
    json: *mut *mut coble_string_t,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        let (engine, options, cancel, out) =
            unsafe { (borrow(engine)?, prune_options(options)?, token(cancel), Out::new(json, "json")) };
        let pruned = engine.0.images().prune(&options, &cancel)?;
        if let Ok(out) = out {
            coble_string_t::json(&pruned)?.give(out);
        }
    })
}

/// What the store takes of the disk, in bytes of allocated blocks, in all and for each image and container, as a JSON object. "total" is what du sees
/// of the data root.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_engine_disk_usage(
    engine: *const coble_engine_t,
    cancel: *const coble_cancel_t,
    json: *mut *mut coble_string_t,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        let (engine, cancel, out) = unsafe { (borrow(engine)?, token(cancel), Out::new(json, "json")?) };
        coble_string_t::json(&engine.0.disk_usage(&cancel)?)?.give(out);
    })
}

/// Looks at every byte of the store, and with `repair`, which is 0 or 1, mends what can be mended. The result is a JSON object with the number of "blobs" and
/// "layers" that were looked at and the array "problems", whose objects have "kind" ("blob", "layer", "stray" for what belongs to nothing,
/// "store"), "object", "message", "images" and "repaired".
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_engine_scrub(
    engine: *const coble_engine_t,
    repair: i32,
    cancel: *const coble_cancel_t,
    json: *mut *mut coble_string_t,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        let (engine, cancel, out) = unsafe { (borrow(engine)?, token(cancel), Out::new(json, "json")?) };
        coble_string_t::json(&engine.0.scrub(flag(repair, "repair")?, &|_| {}, &cancel)?)?.give(out);
    })
}

/// As coble_engine_scrub, with a callback for the progress, which may be NULL; see coble_progress_callback_t.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_engine_scrub_with_progress(
    engine: *const coble_engine_t,
    repair: i32,
    progress: coble_progress_callback_t,
    userdata: *mut c_void,
    cancel: *const coble_cancel_t,
    json: *mut *mut coble_string_t,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        let (engine, cancel, out) = unsafe { (borrow(engine)?, token(cancel), Out::new(json, "json")?) };
        let callback = Callback::new(progress, userdata, cancel);
        let told = |progress: &core::Progress| callback.tell(progress);
        let found = engine.0.scrub(flag(repair, "repair")?, &told, callback.token())?;
        callback.end()?;
        coble_string_t::json(&found)?.give(out);
    })
}
