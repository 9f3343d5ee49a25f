//! Pulling images, and what a pull would do.

use std::ffi::{CString, c_char, c_void};

use core::{PullOptions, PullPlan, PullPolicy, Result};

use crate::boundary::{Out, invalid};
use crate::cancel::{coble_cancel_t, token};
use crate::engine::coble_engine_t;
use crate::error::coble_error_t;
use crate::handle::{self, Handle, borrow, borrow_mut};
use crate::image::coble_image_t;
use crate::options::flag;
use crate::progress::{Callback, Listener, coble_progress_callback_t};
use crate::registry_options::{coble_registry_options_t, listener, registry_options};
use crate::status::coble_status_t;
use crate::string::coble_string_t;
use crate::strings::{c_string, optional_path, owned_text, text};

/// The registry is asked each time; what is in the store already is not fetched again.
pub const COBLE_PULL_ALWAYS: i32 = 0;
/// The registry is asked for an image that the store does not have.
pub const COBLE_PULL_MISSING: i32 = 1;
/// The registry is never asked.
pub const COBLE_PULL_NEVER: i32 = 2;
/// The image is pulled if the registry has another one; if it cannot be reached, the store's is good enough.
pub const COBLE_PULL_NEWER: i32 = 3;

/// The policy of a number.
pub(crate) fn policy(number: i32) -> Result<PullPolicy> {
    match number {
        COBLE_PULL_ALWAYS => Ok(PullPolicy::Always),
        COBLE_PULL_MISSING => Ok(PullPolicy::Missing),
        COBLE_PULL_NEVER => Ok(PullPolicy::Never),
        COBLE_PULL_NEWER => Ok(PullPolicy::Newer),
        other => Err(invalid("policy", format_args!("has the unknown value {other}"))),
    }
}

/// How an image is pulled.
pub struct coble_pull_options_t {
    options: PullOptions,
    /// Of a plan; a pull has a callback of its own.
    listener: Listener,
}

impl Handle for coble_pull_options_t {
    const NAME: &'static str = "options";
}

/// # Safety
/// As [`borrow`].
unsafe fn pull_options(options: *const coble_pull_options_t) -> PullOptions {
    // SAFETY: passed on.
    unsafe { borrow(options) }.map_or_else(|_| PullOptions::default(), |options| options.options.clone())
}

/// Every default: the registry is asked for the host's platform.
#[unsafe(no_mangle)]
pub extern "C" fn coble_pull_options_new() -> *mut coble_pull_options_t {
    boundary_value!(std::ptr::null_mut(), {
        let listener = Listener::nobody();
        coble_pull_options_t { options: PullOptions::default(), listener }.into_raw()
    })
}

/// Sets the platform, such as "linux/arm64/v8", or "all" for every one that the name has. NULL: the host's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_pull_options_set_platform(
    options: *mut coble_pull_options_t,
    platform: *const c_char,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        unsafe { borrow_mut(options)?.options.platform = owned_text(platform, "platform")? };
    })
}

/// Sets when the registry is asked: one of the COBLE_PULL_ numbers.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_pull_options_set_policy(
    options: *mut coble_pull_options_t,
    policy: i32,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        unsafe { borrow_mut(options)?.options.policy = self::policy(policy)? };
    })
}

/// Sets how many blobs are fetched at once, 1 to 64. 0: 4.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_pull_options_set_jobs(
    options: *mut coble_pull_options_t,
    jobs: u32,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        unsafe { borrow_mut(options)?.options.jobs = (jobs != 0).then_some(jobs) };
    })
}

/// Sets a lock file that names are checked against. NULL: the engine's, if it has one.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_pull_options_set_lock(
    options: *mut coble_pull_options_t,
    lock: *const c_char,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        unsafe { borrow_mut(options)?.options.lock = optional_path(lock) };
    })
}

/// Sets whether what the registry does not have is fetched from the URLs that its descriptor names, as that of a layer that is not distributable does: 1 or 0, which is the default. They are
/// asked over TLS, without credentials, on public addresses and on the registry's own host; what comes is verified. At most 16 URLs of each are tried.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_pull_options_set_allow_foreign_urls(
    options: *mut coble_pull_options_t,
    allow: i32,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        unsafe { borrow_mut(options)?.options.allow_foreign_urls = flag(allow, "allow")? };
    })
}

/// Adds a host, "host" or "host:port", that such URLs may have although its addresses are not public. Plain HTTP is used only for what registries.conf says to be insecure.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_pull_options_add_foreign_url_host(
    options: *mut coble_pull_options_t,
    host: *const c_char,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        let (options, host) = unsafe { (borrow_mut(options)?, text(host, "host")?) };
        options.options.foreign_url_hosts.push(host.to_owned());
    })
}

/// Sets how the registry is reached; a copy is kept. NULL: the defaults.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_pull_options_set_registry(
    options: *mut coble_pull_options_t,
    registry: *const coble_registry_options_t,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        let (options, registry, listener) =
            unsafe { (borrow_mut(options)?, registry_options(registry), listener(registry)) };
        options.options.registry = registry;
        options.listener = listener;
    })
}

/// Deletes options. NULL is fine.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_pull_options_delete(options: *mut coble_pull_options_t) {
    boundary_value!((), {
        // SAFETY: the caller's, by the contract of the header.
        unsafe { handle::delete(options) }
    })
}

/// Fetches an image from its registry, verified, and unpacks its layers while they come in. A tag names the image afterwards, a digest does not. When the call
/// fails or is cancelled, nothing has changed; what was fetched of a blob is kept for a while, and the next pull goes on from there. The options, the
/// callback and `image` may be NULL; see coble_progress_callback_t.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_image_pull(
    engine: *const coble_engine_t,
    reference: *const c_char,
    options: *const coble_pull_options_t,
    progress: coble_progress_callback_t,
    userdata: *mut c_void,
    cancel: *const coble_cancel_t,
    image: *mut *mut coble_image_t,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        let (engine, reference, options, cancel, out) = unsafe {
            let reference = text(reference, "reference")?;
            (borrow(engine)?, reference, pull_options(options), token(cancel), Out::new(image, "image"))
        };
        let callback = Callback::new(progress, userdata, cancel);
        let told = |progress: &core::Progress| callback.tell(progress);
        let pulled = engine.0.images().pull(reference, &options, &told, callback.token())?;
        callback.end()?;
        if let Ok(out) = out {
            coble_image_t::new(pulled).give(out);
        }
    })
}

/// What a pull would fetch.
pub struct coble_pull_plan_t {
    plan: PullPlan,
    reference: CString,
    digest: CString,
    items: Vec<CString>,
}

impl Handle for coble_pull_plan_t {
    const NAME: &'static str = "plan";
}

impl coble_pull_plan_t {
    fn new(plan: PullPlan) -> coble_pull_plan_t {
        coble_pull_plan_t {
            reference: c_string(&plan.reference),
            digest: c_string(&plan.digest),
            items: plan.blobs.iter().map(|blob| c_string(&blob.digest)).collect(),
            plan,
        }
    }
}

/// Finds out what a pull would fetch, and fetches nothing but manifests. Options may be NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_image_plan(
    engine: *const coble_engine_t,
    reference: *const c_char,
    options: *const coble_pull_options_t,
    cancel: *const coble_cancel_t,
    plan: *mut *mut coble_pull_plan_t,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        let (engine, reference, options, listener, cancel, out) = unsafe {
            let reference = text(reference, "reference")?;
            let listener = borrow(options).map_or_else(|_| Listener::nobody(), |options| options.listener);
            let options = pull_options(options);
            (borrow(engine)?, reference, options, listener, token(cancel), Out::new(plan, "plan")?)
        };
        let callback = listener.callback(cancel);
        let told = |progress: &core::Progress| callback.tell(progress);
        let plan = engine.0.images().plan(reference, &options, &told, callback.token())?;
        callback.end()?;
        coble_pull_plan_t::new(plan).give(out);
    })
}

/// The canonical name. NULL if the plan is NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_pull_plan_reference(plan: *const coble_pull_plan_t) -> *const c_char {
    boundary_value!(std::ptr::null(), {
        // SAFETY: the caller's, by the contract of the header.
        unsafe { borrow(plan) }.map_or(std::ptr::null(), |plan| plan.reference.as_ptr())
    })
}

/// The digest of the manifest or index that the name stands for. NULL if the plan is NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_pull_plan_digest(plan: *const coble_pull_plan_t) -> *const c_char {
    boundary_value!(std::ptr::null(), {
        // SAFETY: the caller's, by the contract of the header.
        unsafe { borrow(plan) }.map_or(std::ptr::null(), |plan| plan.digest.as_ptr())
    })
}

/// How many bytes would be fetched.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_pull_plan_missing_bytes(plan: *const coble_pull_plan_t) -> u64 {
    boundary_value!(0, {
        // SAFETY: the caller's, by the contract of the header.
        unsafe { borrow(plan) }.map_or(0, |plan| plan.plan.missing_bytes)
    })
}

/// How many bytes are in the store already.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_pull_plan_present_bytes(plan: *const coble_pull_plan_t) -> u64 {
    boundary_value!(0, {
        // SAFETY: the caller's, by the contract of the header.
        unsafe { borrow(plan) }.map_or(0, |plan| plan.plan.present_bytes)
    })
}

/// How many blobs the image has: configurations and layers, in the order of the manifest, each once.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_pull_plan_blob_count(plan: *const coble_pull_plan_t) -> usize {
    boundary_value!(0, {
        // SAFETY: the caller's, by the contract of the header.
        unsafe { borrow(plan) }.map_or(0, |plan| plan.items.len())
    })
}

/// The digest of a blob. NULL if the index is too large.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_pull_plan_blob_digest(
    plan: *const coble_pull_plan_t,
    index: usize,
) -> *const c_char {
    boundary_value!(std::ptr::null(), {
        // SAFETY: the caller's, by the contract of the header.
        let item = unsafe { borrow(plan) }.ok().and_then(|plan| plan.items.get(index));
        item.map_or(std::ptr::null(), |item| item.as_ptr())
    })
}

/// The bytes of a blob.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_pull_plan_blob_size(plan: *const coble_pull_plan_t, index: usize) -> u64 {
    boundary_value!(0, {
        // SAFETY: the caller's, by the contract of the header.
        let item = unsafe { borrow(plan) }.ok().and_then(|plan| plan.plan.blobs.get(index));
        item.map_or(0, |item| item.size)
    })
}

/// 1 if the store has the blob, or 0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_pull_plan_blob_present(plan: *const coble_pull_plan_t, index: usize) -> i32 {
    boundary_value!(0, {
        // SAFETY: the caller's, by the contract of the header.
        let item = unsafe { borrow(plan) }.ok().and_then(|plan| plan.plan.blobs.get(index));
        item.map_or(0, |item| item.present.into())
    })
}

/// The plan as a JSON object.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_pull_plan_json(
    plan: *const coble_pull_plan_t,
    json: *mut *mut coble_string_t,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        let (plan, out) = unsafe { (borrow(plan)?, Out::new(json, "json")?) };
        coble_string_t::json(&plan.plan)?.give(out);
    })
}

/// Deletes a plan. NULL is fine.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_pull_plan_delete(plan: *mut coble_pull_plan_t) {
    boundary_value!((), {
        // SAFETY: the caller's, by the contract of the header.
        unsafe { handle::delete(plan) }
    })
}
