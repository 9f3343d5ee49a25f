//! Images.

use std::ffi::{CString, c_char, c_void};

use core::{HostItem, ImageSummary, LoadOptions, Result, Source};

use crate::boundary::Out;
use crate::cancel::{coble_cancel_t, token};
use crate::engine::coble_engine_t;
use crate::error::coble_error_t;
use crate::handle::{self, Handle, borrow};
use crate::import::{coble_import_options_t, import_options};
use crate::options::flag;
use crate::progress::{Callback, coble_progress_callback_t};
use crate::status::coble_status_t;
use crate::stdio::duplicate;
use crate::string::coble_string_t;
use crate::strings::{c_string, optional_text, owned_text, path, pointer_or_null, text, texts};
use crate::warning::Warnings;

/// An image of the store, as it was when it was looked up.
pub struct coble_image_t {
    summary: ImageSummary,
    id: CString,
    digest: CString,
    references: Vec<CString>,
    repo_digests: Vec<CString>,
    created: Option<CString>,
    architecture: CString,
    os: CString,
    variant: Option<CString>,
    os_version: Option<CString>,
    os_features: Vec<CString>,
    labels: Vec<(CString, CString)>,
    warnings: Warnings,
}

impl Handle for coble_image_t {
    const NAME: &'static str = "image";
}

impl coble_image_t {
    pub(crate) fn new(summary: ImageSummary) -> coble_image_t {
        coble_image_t {
            id: c_string(&summary.id),
            digest: c_string(&summary.digest),
            references: summary.references.iter().map(|text| c_string(text)).collect(),
            repo_digests: summary.repo_digests.iter().map(|text| c_string(text)).collect(),
            created: summary.created.as_deref().map(c_string),
            architecture: c_string(&summary.architecture),
            os: c_string(&summary.os),
            variant: summary.variant.as_deref().map(c_string),
            os_version: summary.os_version.as_deref().map(c_string),
            os_features: summary.os_features.iter().map(|text| c_string(text)).collect(),
            labels: summary.labels.iter().map(|(name, value)| (c_string(name), c_string(value))).collect(),
            warnings: Warnings::new(&summary.warnings),
            summary,
        }
    }
}

/// Some images. Those in it are borrowed from it.
pub struct coble_image_list_t(Vec<coble_image_t>);

impl Handle for coble_image_list_t {
    const NAME: &'static str = "list";
}

impl coble_image_list_t {
    fn new(images: Vec<ImageSummary>) -> coble_image_list_t {
        coble_image_list_t(images.into_iter().map(coble_image_t::new).collect())
    }
}

/// # Safety
/// As [`owned_text`].
unsafe fn load_options(platform: *const c_char) -> Result<LoadOptions> {
    let mut options = LoadOptions::default();
    // SAFETY: passed on.
    options.platform = unsafe { owned_text(platform, "platform") }?;
    Ok(options)
}

/// Loads images from a docker-archive tar, or an OCI image layout (directory or tar). The tar may be compressed. `platform` is one such as "linux/arm64/v8", or
/// "all", or NULL for the host's. An image that is not for the platform that was asked for, by its configuration, is COBLE_ERR_INVALID_IMAGE; with NULL one that
/// is not for the host has a warning ("foreign-platform").
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_image_load(
    engine: *const coble_engine_t,
    archive: *const c_char,
    platform: *const c_char,
    cancel: *const coble_cancel_t,
    images: *mut *mut coble_image_list_t,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        let (engine, archive, options, cancel, out) = unsafe {
            let options = load_options(platform)?;
            (borrow(engine)?, path(archive, "archive")?, options, token(cancel), Out::new(images, "images")?)
        };
        let loaded = engine.0.images().load(Source::Path(archive), &options, &|_| {}, &cancel)?;
        coble_image_list_t::new(loaded).give(out);
    })
}

/// As coble_image_load, with a callback for the progress, which may be NULL; see coble_progress_callback_t.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_image_load_with_progress(
    engine: *const coble_engine_t,
    archive: *const c_char,
    platform: *const c_char,
    progress: coble_progress_callback_t,
    userdata: *mut c_void,
    cancel: *const coble_cancel_t,
    images: *mut *mut coble_image_list_t,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        let (engine, archive, options, cancel, out) = unsafe {
            let options = load_options(platform)?;
            (borrow(engine)?, path(archive, "archive")?, options, token(cancel), Out::new(images, "images")?)
        };
        let callback = Callback::new(progress, userdata, cancel);
        let told = |progress: &core::Progress| callback.tell(progress);
        let loaded = engine.0.images().load(Source::Path(archive), &options, &told, callback.token())?;
        coble_image_list_t::new(loaded).give(out);
    })
}

/// As coble_image_load, from an open file or pipe, which is read to its end and stays open.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_image_load_fd(
    engine: *const coble_engine_t,
    fd: i32,
    platform: *const c_char,
    cancel: *const coble_cancel_t,
    images: *mut *mut coble_image_list_t,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        let (engine, fd, options, cancel, out) = unsafe {
            let options = load_options(platform)?;
            (borrow(engine)?, duplicate(fd, "fd")?, options, token(cancel), Out::new(images, "images")?)
        };
        let loaded = engine.0.images().load(Source::Fd(fd), &options, &|_| {}, &cancel)?;
        coble_image_list_t::new(loaded).give(out);
    })
}

/// As coble_image_load_fd, with a callback for the progress, which may be NULL; see coble_progress_callback_t.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_image_load_fd_with_progress(
    engine: *const coble_engine_t,
    fd: i32,
    platform: *const c_char,
    progress: coble_progress_callback_t,
    userdata: *mut c_void,
    cancel: *const coble_cancel_t,
    images: *mut *mut coble_image_list_t,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        let (engine, fd, options, cancel, out) = unsafe {
            let options = load_options(platform)?;
            (borrow(engine)?, duplicate(fd, "fd")?, options, token(cancel), Out::new(images, "images")?)
        };
        let callback = Callback::new(progress, userdata, cancel);
        let told = |progress: &core::Progress| callback.tell(progress);
        let loaded = engine.0.images().load(Source::Fd(fd), &options, &told, callback.token())?;
        coble_image_list_t::new(loaded).give(out);
    })
}

/// Makes an image of one layer from a root file system tar, plain or compressed with gzip, zstd, bzip2 or xz. The reference may be NULL, for an image
/// without a name; so may the options.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_image_import_rootfs(
    engine: *const coble_engine_t,
    archive: *const c_char,
    reference: *const c_char,
    options: *const coble_import_options_t,
    cancel: *const coble_cancel_t,
    image: *mut *mut coble_image_t,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        let (engine, archive, reference, (options, callback), out) = unsafe {
            let (archive, reference) = (path(archive, "archive")?, optional_text(reference, "reference")?);
            (borrow(engine)?, archive, reference, import_options(options, cancel), Out::new(image, "image")?)
        };
        let told = |progress: &core::Progress| callback.tell(progress);
        let made = engine.0.images().import_rootfs(
            Source::Path(archive),
            reference,
            options,
            &told,
            callback.token(),
        )?;
        coble_image_t::new(made).give(out);
    })
}

/// As coble_image_import_rootfs, from an open file or pipe, which is read to its end and stays open.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_image_import_rootfs_fd(
    engine: *const coble_engine_t,
    fd: i32,
    reference: *const c_char,
    options: *const coble_import_options_t,
    cancel: *const coble_cancel_t,
    image: *mut *mut coble_image_t,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        let (engine, fd, reference, (options, callback), out) = unsafe {
            let (fd, reference) = (duplicate(fd, "fd")?, optional_text(reference, "reference")?);
            (borrow(engine)?, fd, reference, import_options(options, cancel), Out::new(image, "image")?)
        };
        let told = |progress: &core::Progress| callback.tell(progress);
        let made =
            engine.0.images().import_rootfs(Source::Fd(fd), reference, options, &told, callback.token())?;
        coble_image_t::new(made).give(out);
    })
}

/// Makes an image of `count` files of the host, with the interpreters and shared libraries that its programs need. An item is a path, or
/// the bare name of a program that is looked up in PATH; "source:target" puts it elsewhere in the image. The reference may be NULL, for an image without a name; so
/// may the options. A script that is named brings the interpreter of its first line, which has to be there; of scripts in a directory those interpreters are taken that the host has in full,
/// and others are no error.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_image_from_host(
    engine: *const coble_engine_t,
    items: *const *const c_char,
    count: usize,
    reference: *const c_char,
    options: *const coble_import_options_t,
    cancel: *const coble_cancel_t,
    image: *mut *mut coble_image_t,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        let (engine, items, reference, (options, callback), out) = unsafe {
            let (items, reference) = (texts(items, count, "items")?, optional_text(reference, "reference")?);
            (borrow(engine)?, items, reference, import_options(options, cancel), Out::new(image, "image")?)
        };
        let items: Vec<HostItem> = items.iter().map(|item| HostItem::from(item.as_str())).collect();
        let told = |progress: &core::Progress| callback.tell(progress);
        let made = engine.0.images().from_host(&items, reference, options, &told, callback.token())?;
        coble_image_t::new(made).give(out);
    })
}

/// The images that meet all of `count` conditions, or all images, newest first. Conditions are "dangling=true", "label=name" or "label=name=value", "label!=...",
/// "reference=pattern", "before=image", "since=image", "until=time".
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_image_list(
    engine: *const coble_engine_t,
    filters: *const *const c_char,
    count: usize,
    images: *mut *mut coble_image_list_t,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        let (engine, filters, out) =
            unsafe { (borrow(engine)?, texts(filters, count, "filters")?, Out::new(images, "images")?) };
        coble_image_list_t::new(engine.0.images().list(&filters)?).give(out);
    })
}

/// The image with this reference, id, or unambiguous id prefix of at least four digits.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_image_get(
    engine: *const coble_engine_t,
    name: *const c_char,
    image: *mut *mut coble_image_t,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        let (engine, name, out) =
            unsafe { (borrow(engine)?, text(name, "name")?, Out::new(image, "image")?) };
        coble_image_t::new(engine.0.images().get(name)?).give(out);
    })
}

/// As coble_image_get, of the images that a name has the one for a platform, such as "linux/arm64". Its id says to other functions that this one is meant.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_image_get_platform(
    engine: *const coble_engine_t,
    name: *const c_char,
    platform: *const c_char,
    image: *mut *mut coble_image_t,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        let (engine, name, platform, out) = unsafe {
            (borrow(engine)?, text(name, "name")?, text(platform, "platform")?, Out::new(image, "image")?)
        };
        coble_image_t::new(engine.0.images().get_platform(name, platform)?).give(out);
    })
}

/// Everything about an image, as a JSON object.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_image_inspect(
    engine: *const coble_engine_t,
    name: *const c_char,
    json: *mut *mut coble_string_t,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        let (engine, name, out) = unsafe { (borrow(engine)?, text(name, "name")?, Out::new(json, "json")?) };
        coble_string_t::json(&engine.0.images().inspect(name)?)?.give(out);
    })
}

/// Everything about an image as a JSON object in docker's form: Id, RepoTags, RepoDigests, Created, Config, RootFS and so on; Coble has what coble_image_inspect
/// gives.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_image_inspect_docker(
    engine: *const coble_engine_t,
    name: *const c_char,
    json: *mut *mut coble_string_t,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        let (engine, name, out) = unsafe { (borrow(engine)?, text(name, "name")?, Out::new(json, "json")?) };
        coble_string_t::json(&engine.0.images().inspect_docker(name)?)?.give(out);
    })
}

/// How an image was made, newest step first, as a JSON array of objects.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_image_history(
    engine: *const coble_engine_t,
    name: *const c_char,
    json: *mut *mut coble_string_t,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        let (engine, name, out) = unsafe { (borrow(engine)?, text(name, "name")?, Out::new(json, "json")?) };
        coble_string_t::json(&engine.0.images().history(name)?)?.give(out);
    })
}

/// Gives an image one more name.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_image_tag(
    engine: *const coble_engine_t,
    name: *const c_char,
    reference: *const c_char,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        let (engine, name, reference) =
            unsafe { (borrow(engine)?, text(name, "name")?, text(reference, "reference")?) };
        engine.0.images().tag(name, reference)?;
    })
}

/// Takes a name away. The image stays, also without a name.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_image_untag(
    engine: *const coble_engine_t,
    reference: *const c_char,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        let (engine, reference) = unsafe { (borrow(engine)?, text(reference, "reference")?) };
        engine.0.images().untag(reference)?;
    })
}

/// Removes an image. By reference: takes the name away, and deletes the image with its last name. By id: deletes it; one with several
/// names only with `force`, which is 0 or 1. An image that a container uses is refused with COBLE_ERR_IN_USE; with `force` one whose containers do not run
/// loses its names and stays for them, until they are gone and it is pruned. `json`, which may be NULL, gets an object with the arrays "untagged" and "deleted".
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_image_remove(
    engine: *const coble_engine_t,
    name: *const c_char,
    force: i32,
    json: *mut *mut coble_string_t,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        let (engine, name, out) = unsafe { (borrow(engine)?, text(name, "name")?, Out::new(json, "json")) };
        let removed = engine.0.images().remove(name, flag(force, "force")?)?;
        if let Ok(out) = out {
            coble_string_t::json(&removed)?.give(out);
        }
    })
}

/// The id: the digest of the image's configuration. NULL if the image is NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_image_id(image: *const coble_image_t) -> *const c_char {
    boundary_value!(std::ptr::null(), {
        // SAFETY: the caller's, by the contract of the header.
        unsafe { borrow(image) }.map_or(std::ptr::null(), |image| image.id.as_ptr())
    })
}

/// The digest of the image's manifest. NULL if the image is NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_image_digest(image: *const coble_image_t) -> *const c_char {
    boundary_value!(std::ptr::null(), {
        // SAFETY: the caller's, by the contract of the header.
        unsafe { borrow(image) }.map_or(std::ptr::null(), |image| image.digest.as_ptr())
    })
}

/// How many names the image has.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_image_reference_count(image: *const coble_image_t) -> usize {
    boundary_value!(0, {
        // SAFETY: the caller's, by the contract of the header.
        unsafe { borrow(image) }.map_or(0, |image| image.references.len())
    })
}

/// A name of the image, in canonical form. NULL if the index is too large.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_image_reference(image: *const coble_image_t, index: usize) -> *const c_char {
    boundary_value!(std::ptr::null(), {
        // SAFETY: the caller's, by the contract of the header.
        let reference = unsafe { borrow(image) }.ok().and_then(|image| image.references.get(index));
        reference.map_or(std::ptr::null(), |reference| reference.as_ptr())
    })
}

/// How many digests the image is known by in registries.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_image_repo_digest_count(image: *const coble_image_t) -> usize {
    boundary_value!(0, {
        // SAFETY: the caller's, by the contract of the header.
        unsafe { borrow(image) }.map_or(0, |image| image.repo_digests.len())
    })
}

/// What the image is in a registry, "repository@digest": a manifest or index that it was pulled or pushed as. NULL if the index is too large.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_image_repo_digest(image: *const coble_image_t, index: usize) -> *const c_char {
    boundary_value!(std::ptr::null(), {
        // SAFETY: the caller's, by the contract of the header.
        let name = unsafe { borrow(image) }.ok().and_then(|image| image.repo_digests.get(index));
        name.map_or(std::ptr::null(), |name| name.as_ptr())
    })
}

/// When the image was made, as it says itself, in RFC 3339. NULL if it does not say.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_image_created(image: *const coble_image_t) -> *const c_char {
    boundary_value!(std::ptr::null(), {
        // SAFETY: the caller's, by the contract of the header.
        unsafe { borrow(image) }.map_or(std::ptr::null(), |image| pointer_or_null(&image.created))
    })
}

/// The bytes of the image's blobs: manifest, configuration and compressed layers.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_image_size(image: *const coble_image_t) -> u64 {
    boundary_value!(0, {
        // SAFETY: the caller's, by the contract of the header.
        unsafe { borrow(image) }.map_or(0, |image| image.summary.size)
    })
}

/// The CPU architecture, such as "amd64". NULL if the image is NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_image_architecture(image: *const coble_image_t) -> *const c_char {
    boundary_value!(std::ptr::null(), {
        // SAFETY: the caller's, by the contract of the header.
        unsafe { borrow(image) }.map_or(std::ptr::null(), |image| image.architecture.as_ptr())
    })
}

/// The operating system, such as "linux". NULL if the image is NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_image_os(image: *const coble_image_t) -> *const c_char {
    boundary_value!(std::ptr::null(), {
        // SAFETY: the caller's, by the contract of the header.
        unsafe { borrow(image) }.map_or(std::ptr::null(), |image| image.os.as_ptr())
    })
}

/// The variant of the architecture, such as "v7". NULL if there is none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_image_variant(image: *const coble_image_t) -> *const c_char {
    boundary_value!(std::ptr::null(), {
        // SAFETY: the caller's, by the contract of the header.
        unsafe { borrow(image) }.map_or(std::ptr::null(), |image| pointer_or_null(&image.variant))
    })
}

/// The version of the operating system that the image is made for, as the image specification has it (`os.version`): of Windows the build, such as "10.0.17763.1". NULL if it
/// does not say. Valid as long as the image.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_image_os_version(image: *const coble_image_t) -> *const c_char {
    boundary_value!(std::ptr::null(), {
        // SAFETY: the caller's, by the contract of the header.
        unsafe { borrow(image) }.map_or(std::ptr::null(), |image| pointer_or_null(&image.os_version))
    })
}

/// How many things the operating system has to be able to do for the image (`os.features` of the image specification).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_image_os_feature_count(image: *const coble_image_t) -> usize {
    boundary_value!(0, {
        // SAFETY: the caller's, by the contract of the header.
        unsafe { borrow(image) }.map_or(0, |image| image.os_features.len())
    })
}

/// Something that the operating system has to be able to do for the image, such as "win32k". NULL if the index is too large. Valid as long as the image.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_image_os_feature(image: *const coble_image_t, index: usize) -> *const c_char {
    boundary_value!(std::ptr::null(), {
        // SAFETY: the caller's, by the contract of the header.
        let feature = unsafe { borrow(image) }.ok().and_then(|image| image.os_features.get(index));
        feature.map_or(std::ptr::null(), |feature| feature.as_ptr())
    })
}

/// How many labels the image has.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_image_label_count(image: *const coble_image_t) -> usize {
    boundary_value!(0, {
        // SAFETY: the caller's, by the contract of the header.
        unsafe { borrow(image) }.map_or(0, |image| image.labels.len())
    })
}

/// The name of a label, in their order. NULL if the index is too large.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_image_label_name(image: *const coble_image_t, index: usize) -> *const c_char {
    boundary_value!(std::ptr::null(), {
        // SAFETY: the caller's, by the contract of the header.
        let label = unsafe { borrow(image) }.ok().and_then(|image| image.labels.get(index));
        label.map_or(std::ptr::null(), |(name, _)| name.as_ptr())
    })
}

/// The value of a label. NULL if the index is too large.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_image_label_value(image: *const coble_image_t, index: usize) -> *const c_char {
    boundary_value!(std::ptr::null(), {
        // SAFETY: the caller's, by the contract of the header.
        let label = unsafe { borrow(image) }.ok().and_then(|image| image.labels.get(index));
        label.map_or(std::ptr::null(), |(_, value)| value.as_ptr())
    })
}

/// How many things of the image's layers could not be kept. Known to the call that unpacked the layers (a load or an import); 0 for an
/// image that was looked up.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_image_warning_count(image: *const coble_image_t) -> usize {
    boundary_value!(0, {
        // SAFETY: the caller's, by the contract of the header.
        unsafe { borrow(image) }.map_or(0, |image| image.warnings.count())
    })
}

/// The stable code of a warning, such as "device". NULL if the index is too large.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_image_warning_code(
    image: *const coble_image_t,
    index: usize,
) -> *const c_char {
    boundary_value!(std::ptr::null(), {
        // SAFETY: the caller's, by the contract of the header.
        unsafe { borrow(image) }.map_or(std::ptr::null(), |image| image.warnings.code(index))
    })
}

/// The explanation of a warning. NULL if the index is too large.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_image_warning_message(
    image: *const coble_image_t,
    index: usize,
) -> *const c_char {
    boundary_value!(std::ptr::null(), {
        // SAFETY: the caller's, by the contract of the header.
        unsafe { borrow(image) }.map_or(std::ptr::null(), |image| image.warnings.message(index))
    })
}

/// The image as a JSON object, with its labels.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_image_json(
    image: *const coble_image_t,
    json: *mut *mut coble_string_t,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        let (image, out) = unsafe { (borrow(image)?, Out::new(json, "json")?) };
        coble_string_t::json(&image.summary)?.give(out);
    })
}

/// Deletes the handle; the image stays in the store. NULL is fine.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_image_delete(image: *mut coble_image_t) {
    boundary_value!((), {
        // SAFETY: the caller's, by the contract of the header.
        unsafe { handle::delete(image) }
    })
}

/// How many images the list has.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_image_list_count(images: *const coble_image_list_t) -> usize {
    boundary_value!(0, {
        // SAFETY: the caller's, by the contract of the header.
        unsafe { borrow(images) }.map_or(0, |images| images.0.len())
    })
}

/// An image of the list, borrowed from it. NULL if the index is too large.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_image_list_get(
    images: *const coble_image_list_t,
    index: usize,
) -> *const coble_image_t {
    boundary_value!(std::ptr::null(), {
        // SAFETY: the caller's, by the contract of the header.
        let image = unsafe { borrow(images) }.ok().and_then(|images| images.0.get(index));
        image.map_or(std::ptr::null(), |image| image as *const _)
    })
}

/// Deletes a list and the images in it; those of the store stay. NULL is fine.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_image_list_delete(images: *mut coble_image_list_t) {
    boundary_value!((), {
        // SAFETY: the caller's, by the contract of the header.
        unsafe { handle::delete(images) }
    })
}
