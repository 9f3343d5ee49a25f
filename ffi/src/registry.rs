//! Registries: logging in and out, and what there is in them.

use std::ffi::{CString, c_char};

use core::{CancelToken, RemoteImage};

use crate::boundary::{Out, invalid};
use crate::cancel::coble_cancel_t;
use crate::engine::coble_engine_t;
use crate::error::coble_error_t;
use crate::handle::{self, Handle, borrow};
use crate::registry_options::{coble_registry_options_t, reach};
use crate::status::coble_status_t;
use crate::string::coble_string_t;
use crate::strings::{c_string, optional_path, optional_text, owned_text, text};

/// Asks a registry whether it takes the credentials of the options, and stores them as docker does: in the helper that is configured for the
/// registry, or in the credentials file. Docker Hub is "docker.io". `json`, which may be NULL, gets an object with "server", "username" and "stored_in".
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_registry_login(
    engine: *const coble_engine_t,
    server: *const c_char,
    options: *const coble_registry_options_t,
    cancel: *const coble_cancel_t,
    json: *mut *mut coble_string_t,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        let (engine, server, (options, callback), out) = unsafe {
            let server = text(server, "server")?;
            (borrow(engine)?, server, reach(options, cancel), Out::new(json, "json"))
        };
        let credentials =
            options.credentials.as_ref().ok_or_else(|| invalid("options", "has no credentials"))?;
        let told = |progress: &core::Progress| callback.tell(progress);
        let done = engine.0.registry().login(server, credentials, &options, &told, callback.token())?;
        callback.end()?;
        if let Ok(out) = out {
            coble_string_t::json(&done)?.give(out);
        }
    })
}

/// Forgets the credentials of a registry. `auth_file` is the file to look in, and NULL the ones of docker and podman. `removed`, which may be NULL, becomes 1 if there
/// were any, or 0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_registry_logout(
    engine: *const coble_engine_t,
    server: *const c_char,
    auth_file: *const c_char,
    removed: *mut i32,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        let (engine, server, auth_file, out) = unsafe {
            let server = text(server, "server")?;
            (borrow(engine)?, server, optional_path(auth_file), Out::new(removed, "removed"))
        };
        let found = engine.0.registry().logout(server, auth_file.as_deref(), &CancelToken::never())?;
        if let Ok(out) = out {
            out.set(found.into());
        }
    })
}

/// The tags of a repository, such as "registry.example/team/app", as a JSON array of strings. Options may be NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_registry_tags(
    engine: *const coble_engine_t,
    repository: *const c_char,
    options: *const coble_registry_options_t,
    cancel: *const coble_cancel_t,
    json: *mut *mut coble_string_t,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        let (engine, repository, (options, callback), out) = unsafe {
            let repository = text(repository, "repository")?;
            (borrow(engine)?, repository, reach(options, cancel), Out::new(json, "json")?)
        };
        let told = |progress: &core::Progress| callback.tell(progress);
        let tags = engine.0.registry().tags(repository, &options, &told, callback.token())?;
        callback.end()?;
        coble_string_t::json(&tags)?.give(out);
    })
}

/// The repositories of a registry, as a JSON array of strings. Many registries refuse to say. Options may be NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_registry_catalog(
    engine: *const coble_engine_t,
    server: *const c_char,
    options: *const coble_registry_options_t,
    cancel: *const coble_cancel_t,
    json: *mut *mut coble_string_t,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        let (engine, server, (options, callback), out) = unsafe {
            let server = text(server, "server")?;
            (borrow(engine)?, server, reach(options, cancel), Out::new(json, "json")?)
        };
        let told = |progress: &core::Progress| callback.tell(progress);
        let names = engine.0.registry().catalog(server, &options, &told, callback.token())?;
        callback.end()?;
        coble_string_t::json(&names)?.give(out);
    })
}

/// Takes a tag away from a registry, or with a digest the manifest with all its tags, or else the blob with that digest. Many registries do not allow it. Options may be
/// NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_registry_delete(
    engine: *const coble_engine_t,
    reference: *const c_char,
    options: *const coble_registry_options_t,
    cancel: *const coble_cancel_t,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        let (engine, reference, (options, callback)) =
            unsafe { (borrow(engine)?, text(reference, "reference")?, reach(options, cancel)) };
        let told = |progress: &core::Progress| callback.tell(progress);
        engine.0.registry().delete(reference, &options, &told, callback.token())?;
        callback.end()?;
    })
}

/// What refers to an image in its registry, such as signatures and bills of materials: a JSON array of objects with "digest", "media_type", "artifact_type", "size" and "annotations". `artifact_type` may be NULL: all. Options may be NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_registry_referrers(
    engine: *const coble_engine_t,
    reference: *const c_char,
    artifact_type: *const c_char,
    options: *const coble_registry_options_t,
    cancel: *const coble_cancel_t,
    json: *mut *mut coble_string_t,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        let (engine, reference, kind, (options, callback), out) = unsafe {
            let reference = text(reference, "reference")?;
            let kind = optional_text(artifact_type, "artifact_type")?;
            (borrow(engine)?, reference, kind, reach(options, cancel), Out::new(json, "json")?)
        };
        let told = |progress: &core::Progress| callback.tell(progress);
        let found = engine.0.registry().referrers(reference, kind, &options, &told, callback.token())?;
        callback.end()?;
        coble_string_t::json(&found)?.give(out);
    })
}

/// An image as its registry has it.
pub struct coble_remote_image_t {
    image: RemoteImage,
    reference: CString,
    digest: CString,
    media_type: CString,
    items: Vec<CString>,
}

impl Handle for coble_remote_image_t {
    const NAME: &'static str = "image";
}

impl coble_remote_image_t {
    fn new(image: RemoteImage) -> coble_remote_image_t {
        coble_remote_image_t {
            reference: c_string(&image.reference),
            digest: c_string(&image.digest),
            media_type: c_string(&image.media_type),
            items: image.platforms.iter().map(|platform| c_string(platform)).collect(),
            image,
        }
    }
}

/// Looks at an image in its registry without pulling it. With a `platform`, such as "linux/arm64", the image of that; with NULL, of an index the index itself.
/// Options may be NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_registry_inspect(
    engine: *const coble_engine_t,
    reference: *const c_char,
    platform: *const c_char,
    options: *const coble_registry_options_t,
    cancel: *const coble_cancel_t,
    image: *mut *mut coble_remote_image_t,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        let (engine, reference, platform, (options, callback), out) = unsafe {
            let (reference, platform) = (text(reference, "reference")?, owned_text(platform, "platform")?);
            (borrow(engine)?, reference, platform, reach(options, cancel), Out::new(image, "image")?)
        };
        let told = |progress: &core::Progress| callback.tell(progress);
        let platform = platform.as_deref();
        let found = engine.0.registry().inspect(reference, platform, &options, &told, callback.token())?;
        callback.end()?;
        coble_remote_image_t::new(found).give(out);
    })
}

/// The canonical name. NULL if the image is NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_remote_image_reference(image: *const coble_remote_image_t) -> *const c_char {
    boundary_value!(std::ptr::null(), {
        // SAFETY: the caller's, by the contract of the header.
        unsafe { borrow(image) }.map_or(std::ptr::null(), |image| image.reference.as_ptr())
    })
}

/// The digest of the manifest or index. NULL if the image is NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_remote_image_digest(image: *const coble_remote_image_t) -> *const c_char {
    boundary_value!(std::ptr::null(), {
        // SAFETY: the caller's, by the contract of the header.
        unsafe { borrow(image) }.map_or(std::ptr::null(), |image| image.digest.as_ptr())
    })
}

/// The media type of the manifest or index. NULL if the image is NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_remote_image_media_type(image: *const coble_remote_image_t) -> *const c_char {
    boundary_value!(std::ptr::null(), {
        // SAFETY: the caller's, by the contract of the header.
        unsafe { borrow(image) }.map_or(std::ptr::null(), |image| image.media_type.as_ptr())
    })
}

/// The bytes of the manifest, the configuration and the layers together; of an index, those of the index alone.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_remote_image_size(image: *const coble_remote_image_t) -> u64 {
    boundary_value!(0, {
        // SAFETY: the caller's, by the contract of the header.
        unsafe { borrow(image) }.map_or(0, |image| image.image.size)
    })
}

/// How many platforms the name has.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_remote_image_platform_count(image: *const coble_remote_image_t) -> usize {
    boundary_value!(0, {
        // SAFETY: the caller's, by the contract of the header.
        unsafe { borrow(image) }.map_or(0, |image| image.items.len())
    })
}

/// A platform of the name, such as "linux/arm64/v8". NULL if the index is too large.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_remote_image_platform(
    image: *const coble_remote_image_t,
    index: usize,
) -> *const c_char {
    boundary_value!(std::ptr::null(), {
        // SAFETY: the caller's, by the contract of the header.
        let item = unsafe { borrow(image) }.ok().and_then(|image| image.items.get(index));
        item.map_or(std::ptr::null(), |item| item.as_ptr())
    })
}

/// All of it as a JSON object, with "manifest" and "config".
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_remote_image_json(
    image: *const coble_remote_image_t,
    json: *mut *mut coble_string_t,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        let (image, out) = unsafe { (borrow(image)?, Out::new(json, "json")?) };
        coble_string_t::json(&image.image)?.give(out);
    })
}

/// Deletes the handle; the image stays in the registry. NULL is fine.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_remote_image_delete(image: *mut coble_remote_image_t) {
    boundary_value!((), {
        // SAFETY: the caller's, by the contract of the header.
        unsafe { handle::delete(image) }
    })
}
