//! Pushing images, and copying them from one registry to another.

use std::ffi::{CString, c_char, c_void};

use core::{CopyOptions, PushOptions, Pushed};

use crate::boundary::Out;
use crate::cancel::{coble_cancel_t, token};
use crate::engine::coble_engine_t;
use crate::error::coble_error_t;
use crate::handle::{self, Handle, borrow, borrow_mut};
use crate::options::flag;
use crate::progress::{Callback, coble_progress_callback_t};
use crate::registry_options::{coble_registry_options_t, registry_options};
use crate::status::coble_status_t;
use crate::string::coble_string_t;
use crate::strings::{c_string, owned_text, text};
use crate::warning::Warnings;

/// How an image is pushed.
pub struct coble_push_options_t(PushOptions);

impl Handle for coble_push_options_t {
    const NAME: &'static str = "options";
}

/// Every default: all platforms that the name has, byte for byte.
#[unsafe(no_mangle)]
pub extern "C" fn coble_push_options_new() -> *mut coble_push_options_t {
    boundary_value!(std::ptr::null_mut(), { coble_push_options_t(PushOptions::default()).into_raw() })
}

/// Sets the platform, such as "linux/arm64/v8". NULL: all that the name has in the store, with their index.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_push_options_set_platform(
    options: *mut coble_push_options_t,
    platform: *const c_char,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        unsafe { borrow_mut(options)?.0.platform = owned_text(platform, "platform")? };
    })
}

/// Sets what layers that were made here are compressed with: "gzip", "zstd" or "none", which gives the image another digest in the registry. NULL: everything goes byte for byte.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_push_options_set_compression(
    options: *mut coble_push_options_t,
    compression: *const c_char,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        unsafe { borrow_mut(options)?.0.compression = owned_text(compression, "compression")? };
    })
}

/// Sets how hard is tried to make such layers small: 1 to 9 of gzip, 1 to 22 of zstd. 0: quickly, and a layer that has the compression stays as it is.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_push_options_set_compression_level(
    options: *mut coble_push_options_t,
    level: u32,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        unsafe { borrow_mut(options)?.0.compression_level = (level != 0).then_some(level) };
    })
}

/// Sets the form of the manifests that are sent: "oci", or "v2s2" for those of docker's schema 2, which gives the image another digest there. What is in that form already stays as it is. Layers that are compressed with zstd, which have no place in "v2s2", are compressed anew with gzip. NULL: as they are.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_push_options_set_format(
    options: *mut coble_push_options_t,
    format: *const c_char,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        unsafe { borrow_mut(options)?.0.format = owned_text(format, "format")? };
    })
}

/// Sets whether layers are sent, too, that are not meant to be passed on (foreign, or non-distributable, by their media types): 1 or 0, which is the default.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_push_options_set_allow_nondistributable_artifacts(
    options: *mut coble_push_options_t,
    allow: i32,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        unsafe { borrow_mut(options)?.0.allow_nondistributable_artifacts = flag(allow, "allow")? };
    })
}

/// Adds a tag that the image gets in the same repository, beside the one of its reference. A registry that can do so sets all of them with one request.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_push_options_add_tag(
    options: *mut coble_push_options_t,
    tag: *const c_char,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        let (options, tag) = unsafe { (borrow_mut(options)?, text(tag, "tag")?) };
        options.0.tags.push(tag.to_owned());
    })
}

/// Sets the bytes of the pieces that blobs are sent in. 0: each blob goes in one request.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_push_options_set_chunk_size(
    options: *mut coble_push_options_t,
    chunk_size: u64,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        unsafe { borrow_mut(options)?.0.chunk_size = (chunk_size != 0).then_some(chunk_size) };
    })
}

/// Sets how many blobs are sent at once, 1 to 64. 0: 4.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_push_options_set_jobs(
    options: *mut coble_push_options_t,
    jobs: u32,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        unsafe { borrow_mut(options)?.0.jobs = (jobs != 0).then_some(jobs) };
    })
}

/// Sets how the registry is reached; a copy is kept. NULL: the defaults.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_push_options_set_registry(
    options: *mut coble_push_options_t,
    registry: *const coble_registry_options_t,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        unsafe { borrow_mut(options)?.0.registry = registry_options(registry) };
    })
}

/// Deletes options. NULL is fine.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_push_options_delete(options: *mut coble_push_options_t) {
    boundary_value!((), {
        // SAFETY: the caller's, by the contract of the header.
        unsafe { handle::delete(options) }
    })
}

/// How an image is copied.
pub struct coble_copy_options_t(CopyOptions);

impl Handle for coble_copy_options_t {
    const NAME: &'static str = "options";
}

/// Every default: everything that the name stands for, byte for byte.
#[unsafe(no_mangle)]
pub extern "C" fn coble_copy_options_new() -> *mut coble_copy_options_t {
    boundary_value!(std::ptr::null_mut(), { coble_copy_options_t(CopyOptions::default()).into_raw() })
}

/// Sets the platform, such as "linux/arm64/v8". NULL: everything that the name stands for in the source.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_copy_options_set_platform(
    options: *mut coble_copy_options_t,
    platform: *const c_char,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        unsafe { borrow_mut(options)?.0.platform = owned_text(platform, "platform")? };
    })
}

/// Sets the form that the manifests get: "oci", or "v2s2" for those of docker's schema 2, which gives the image another digest there. What is in that form already stays as it is. Layers are never changed, so that one that is compressed with zstd is an error with "v2s2". NULL: everything goes byte for byte.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_copy_options_set_format(
    options: *mut coble_copy_options_t,
    format: *const c_char,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        unsafe { borrow_mut(options)?.0.format = owned_text(format, "format")? };
    })
}

/// Sets whether layers are copied, too, that are not meant to be passed on (foreign, or non-distributable, by their media types): 1 or 0, which is the default.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_copy_options_set_allow_nondistributable_artifacts(
    options: *mut coble_copy_options_t,
    allow: i32,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        unsafe { borrow_mut(options)?.0.allow_nondistributable_artifacts = flag(allow, "allow")? };
    })
}

/// Sets how many blobs are copied at once, 1 to 64. 0: 4.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_copy_options_set_jobs(
    options: *mut coble_copy_options_t,
    jobs: u32,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        unsafe { borrow_mut(options)?.0.jobs = (jobs != 0).then_some(jobs) };
    })
}

/// Sets whether what the registry does not have is fetched from the URLs that its descriptor names, as that of a layer that is not distributable does: 1 or 0, which is the default. They are
/// asked over TLS, without credentials, on public addresses and on the registry's own host; what comes is verified. At most 16 URLs of each are tried.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_copy_options_set_allow_foreign_urls(
    options: *mut coble_copy_options_t,
    allow: i32,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        unsafe { borrow_mut(options)?.0.allow_foreign_urls = flag(allow, "allow")? };
    })
}

/// Adds a host, "host" or "host:port", that such URLs may have although its addresses are not public. Plain HTTP is used only for what registries.conf says to be insecure.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_copy_options_add_foreign_url_host(
    options: *mut coble_copy_options_t,
    host: *const c_char,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        let (options, host) = unsafe { (borrow_mut(options)?, text(host, "host")?) };
        options.0.foreign_url_hosts.push(host.to_owned());
    })
}

/// Sets how the registry is reached that has the image; a copy is kept. NULL: the defaults.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_copy_options_set_source(
    options: *mut coble_copy_options_t,
    source: *const coble_registry_options_t,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        unsafe { borrow_mut(options)?.0.source = registry_options(source) };
    })
}

/// Sets how the registry is reached that gets the image; a copy is kept. NULL: the defaults.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_copy_options_set_target(
    options: *mut coble_copy_options_t,
    target: *const coble_registry_options_t,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        unsafe { borrow_mut(options)?.0.target = registry_options(target) };
    })
}

/// Deletes options. NULL is fine.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_copy_options_delete(options: *mut coble_copy_options_t) {
    boundary_value!((), {
        // SAFETY: the caller's, by the contract of the header.
        unsafe { handle::delete(options) }
    })
}

/// What a push or copy did.
pub struct coble_pushed_t {
    pushed: Pushed,
    reference: CString,
    digest: CString,
    media_type: CString,
    tags: Vec<CString>,
    warnings: Warnings,
}

impl Handle for coble_pushed_t {
    const NAME: &'static str = "pushed";
}

impl coble_pushed_t {
    fn new(pushed: Pushed) -> coble_pushed_t {
        coble_pushed_t {
            reference: c_string(&pushed.reference),
            digest: c_string(&pushed.digest),
            media_type: c_string(&pushed.media_type),
            tags: pushed.tags.iter().map(|tag| c_string(tag)).collect(),
            warnings: Warnings::new(&pushed.warnings),
            pushed,
        }
    }
}

/// Sends an image to the registry of its name, with what the registry does not have. The options, the callback and `pushed` may be NULL; see
/// coble_progress_callback_t.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_image_push(
    engine: *const coble_engine_t,
    reference: *const c_char,
    options: *const coble_push_options_t,
    progress: coble_progress_callback_t,
    userdata: *mut c_void,
    cancel: *const coble_cancel_t,
    pushed: *mut *mut coble_pushed_t,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        let (engine, reference, options, cancel, out) = unsafe {
            let options =
                borrow(options).map_or_else(|_| PushOptions::default(), |options| options.0.clone());
            (
                borrow(engine)?,
                text(reference, "reference")?,
                options,
                token(cancel),
                Out::new(pushed, "pushed"),
            )
        };
        let callback = Callback::new(progress, userdata, cancel);
        let told = |progress: &core::Progress| callback.tell(progress);
        let done = engine.0.images().push(reference, &options, &told, callback.token())?;
        callback.end()?;
        if let Ok(out) = out {
            coble_pushed_t::new(done).give(out);
        }
    })
}

/// Copies an image from one registry to another, byte for byte unless the options say another form. A target with a digest in place of a tag gets no name there, and has to be what is copied. The store is not touched. The options, the callback and `pushed` may be NULL; see
/// coble_progress_callback_t.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_image_copy(
    engine: *const coble_engine_t,
    source: *const c_char,
    target: *const c_char,
    options: *const coble_copy_options_t,
    progress: coble_progress_callback_t,
    userdata: *mut c_void,
    cancel: *const coble_cancel_t,
    pushed: *mut *mut coble_pushed_t,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        let (engine, source, target, options, cancel, out) = unsafe {
            let options =
                borrow(options).map_or_else(|_| CopyOptions::default(), |options| options.0.clone());
            let (source, target) = (text(source, "source")?, text(target, "target")?);
            (borrow(engine)?, source, target, options, token(cancel), Out::new(pushed, "pushed"))
        };
        let callback = Callback::new(progress, userdata, cancel);
        let told = |progress: &core::Progress| callback.tell(progress);
        let done = engine.0.images().copy(source, target, &options, &told, callback.token())?;
        callback.end()?;
        if let Ok(out) = out {
            coble_pushed_t::new(done).give(out);
        }
    })
}

/// The canonical name that the image has in the registry now. NULL if the argument is NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_pushed_reference(pushed: *const coble_pushed_t) -> *const c_char {
    boundary_value!(std::ptr::null(), {
        // SAFETY: the caller's, by the contract of the header.
        unsafe { borrow(pushed) }.map_or(std::ptr::null(), |pushed| pushed.reference.as_ptr())
    })
}

/// How many tags were set: the one of the name, and those that were added.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_pushed_tag_count(pushed: *const coble_pushed_t) -> usize {
    boundary_value!(0, {
        // SAFETY: the caller's, by the contract of the header.
        unsafe { borrow(pushed) }.map_or(0, |pushed| pushed.tags.len())
    })
}

/// A tag that was set. NULL if the index is too large.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_pushed_tag(pushed: *const coble_pushed_t, index: usize) -> *const c_char {
    boundary_value!(std::ptr::null(), {
        // SAFETY: the caller's, by the contract of the header.
        let tag = unsafe { borrow(pushed) }.ok().and_then(|pushed| pushed.tags.get(index));
        tag.map_or(std::ptr::null(), |tag| tag.as_ptr())
    })
}

/// The digest of the manifest or index that the name stands for. NULL if the argument is NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_pushed_digest(pushed: *const coble_pushed_t) -> *const c_char {
    boundary_value!(std::ptr::null(), {
        // SAFETY: the caller's, by the contract of the header.
        unsafe { borrow(pushed) }.map_or(std::ptr::null(), |pushed| pushed.digest.as_ptr())
    })
}

/// The media type of that manifest or index. NULL if the argument is NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_pushed_media_type(pushed: *const coble_pushed_t) -> *const c_char {
    boundary_value!(std::ptr::null(), {
        // SAFETY: the caller's, by the contract of the header.
        unsafe { borrow(pushed) }.map_or(std::ptr::null(), |pushed| pushed.media_type.as_ptr())
    })
}

/// The bytes of that manifest or index.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_pushed_size(pushed: *const coble_pushed_t) -> u64 {
    boundary_value!(0, {
        // SAFETY: the caller's, by the contract of the header.
        unsafe { borrow(pushed) }.map_or(0, |pushed| pushed.pushed.size)
    })
}

/// How many blobs were sent.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_pushed_blobs_sent(pushed: *const coble_pushed_t) -> u64 {
    boundary_value!(0, {
        // SAFETY: the caller's, by the contract of the header.
        unsafe { borrow(pushed) }.map_or(0, |pushed| pushed.pushed.blobs_sent)
    })
}

/// How many blobs the registry took from another of its repositories.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_pushed_blobs_mounted(pushed: *const coble_pushed_t) -> u64 {
    boundary_value!(0, {
        // SAFETY: the caller's, by the contract of the header.
        unsafe { borrow(pushed) }.map_or(0, |pushed| pushed.pushed.blobs_mounted)
    })
}

/// How many blobs were there already.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_pushed_blobs_present(pushed: *const coble_pushed_t) -> u64 {
    boundary_value!(0, {
        // SAFETY: the caller's, by the contract of the header.
        unsafe { borrow(pushed) }.map_or(0, |pushed| pushed.pushed.blobs_present)
    })
}

/// How many bytes of blobs were sent.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_pushed_bytes_sent(pushed: *const coble_pushed_t) -> u64 {
    boundary_value!(0, {
        // SAFETY: the caller's, by the contract of the header.
        unsafe { borrow(pushed) }.map_or(0, |pushed| pushed.pushed.bytes_sent)
    })
}

/// How many warnings there are: what is not in the registry as it is in the source, such as annotations that docker's form has no place for, or layers that are not distributable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_pushed_warning_count(pushed: *const coble_pushed_t) -> usize {
    boundary_value!(0, {
        // SAFETY: the caller's, by the contract of the header.
        unsafe { borrow(pushed) }.map_or(0, |pushed| pushed.warnings.count())
    })
}

/// The stable code of a warning: "annotations-dropped", "attestations-dropped" or "nondistributable-skipped". NULL if the index is too large.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_pushed_warning_code(
    pushed: *const coble_pushed_t,
    index: usize,
) -> *const c_char {
    boundary_value!(std::ptr::null(), {
        // SAFETY: the caller's, by the contract of the header.
        unsafe { borrow(pushed) }.map_or(std::ptr::null(), |pushed| pushed.warnings.code(index))
    })
}

/// The explanation of a warning. NULL if the index is too large.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_pushed_warning_message(
    pushed: *const coble_pushed_t,
    index: usize,
) -> *const c_char {
    boundary_value!(std::ptr::null(), {
        // SAFETY: the caller's, by the contract of the header.
        unsafe { borrow(pushed) }.map_or(std::ptr::null(), |pushed| pushed.warnings.message(index))
    })
}

/// All of it as a JSON object.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_pushed_json(
    pushed: *const coble_pushed_t,
    json: *mut *mut coble_string_t,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        let (pushed, out) = unsafe { (borrow(pushed)?, Out::new(json, "json")?) };
        coble_string_t::json(&pushed.pushed)?.give(out);
    })
}

/// Deletes what a push or copy gave. NULL is fine.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_pushed_delete(pushed: *mut coble_pushed_t) {
    boundary_value!((), {
        // SAFETY: the caller's, by the contract of the header.
        unsafe { handle::delete(pushed) }
    })
}
