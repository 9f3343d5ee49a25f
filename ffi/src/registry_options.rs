//! How a registry is reached: who asks, over what.

use std::ffi::{c_char, c_void};
use std::time::Duration;

use core::{Credentials, RegistryOptions};

use crate::cancel::{coble_cancel_t, token};
use crate::credentials::{coble_credential_callback_t, provider};
use crate::error::coble_error_t;
use crate::handle::{self, Handle, borrow, borrow_mut};
use crate::options::flag;
use crate::progress::{Callback, Listener, coble_progress_callback_t};
use crate::status::coble_status_t;
use crate::strings::{optional_path, text};

/// How a registry is reached. By default the files of docker and podman say it, and the system's certificates are trusted.
pub struct coble_registry_options_t {
    options: RegistryOptions,
    listener: Listener,
}

impl Handle for coble_registry_options_t {
    const NAME: &'static str = "options";
}

/// The options of a call; NULL is all defaults.
///
/// # Safety
/// As [`borrow`].
pub(crate) unsafe fn registry_options(options: *const coble_registry_options_t) -> RegistryOptions {
    // SAFETY: passed on.
    unsafe { borrow(options) }.map_or_else(|_| RegistryOptions::default(), |options| options.options.clone())
}

/// Who hears what registries say beside their answers.
///
/// # Safety
/// As [`borrow`].
pub(crate) unsafe fn listener(options: *const coble_registry_options_t) -> Listener {
    // SAFETY: passed on.
    unsafe { borrow(options) }.map_or_else(|_| Listener::nobody(), |options| options.listener)
}

/// The options of a call that moves nothing, and who hears what the registry says beside its answers.
///
/// # Safety
/// As [`borrow`], of both.
pub(crate) unsafe fn reach(
    options: *const coble_registry_options_t,
    cancel: *const coble_cancel_t,
) -> (RegistryOptions, Callback) {
    // SAFETY: passed on.
    unsafe { (registry_options(options), listener(options).callback(token(cancel))) }
}

/// Every default.
#[unsafe(no_mangle)]
pub extern "C" fn coble_registry_options_new() -> *mut coble_registry_options_t {
    boundary_value!(std::ptr::null_mut(), {
        let listener = Listener::nobody();
        coble_registry_options_t { options: RegistryOptions::default(), listener }.into_raw()
    })
}

/// Sets a user name and a password, which take the place of other credentials.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_registry_options_set_password(
    options: *mut coble_registry_options_t,
    username: *const c_char,
    password: *const c_char,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        let (options, username, password) =
            unsafe { (borrow_mut(options)?, text(username, "username")?, text(password, "password")?) };
        options.options.credentials =
            Some(Credentials::Password { username: username.to_owned(), password: password.to_owned() });
    })
}

/// Sets an identity token, which a token server exchanges for access tokens. It takes the place of other credentials.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_registry_options_set_identity_token(
    options: *mut coble_registry_options_t,
    token: *const c_char,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        let (options, token) = unsafe { (borrow_mut(options)?, text(token, "token")?) };
        options.options.credentials = Some(Credentials::IdentityToken(token.to_owned()));
    })
}

/// Sets an access token, which is sent to the registry as it is. It takes the place of other credentials.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_registry_options_set_token(
    options: *mut coble_registry_options_t,
    token: *const c_char,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        let (options, token) = unsafe { (borrow_mut(options)?, text(token, "token")?) };
        options.options.credentials = Some(Credentials::Token(token.to_owned()));
    })
}

/// Sets whether the registry may be reached by plain HTTP, and with a certificate that nobody vouches for: 0 or 1.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_registry_options_set_insecure(
    options: *mut coble_registry_options_t,
    insecure: i32,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        unsafe { borrow_mut(options)?.options.insecure = flag(insecure, "insecure")? };
    })
}

/// Sets the only file that credentials are read from, and that login and logout write. NULL: docker's and podman's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_registry_options_set_auth_file(
    options: *mut coble_registry_options_t,
    auth_file: *const c_char,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        unsafe { borrow_mut(options)?.options.auth_file = optional_path(auth_file) };
    })
}

/// Sets a directory with certificates for this registry: *.crt of authorities, *.cert and *.key of ours. NULL: certs.d of docker and
/// podman.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_registry_options_set_cert_dir(
    options: *mut coble_registry_options_t,
    cert_dir: *const c_char,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        unsafe { borrow_mut(options)?.options.cert_dir = optional_path(cert_dir) };
    })
}

/// Sets how often a request is made again that failed for a reason that may pass. 0: never.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_registry_options_set_retries(
    options: *mut coble_registry_options_t,
    retries: u32,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        unsafe { borrow_mut(options)?.options.retries = Some(retries) };
    })
}

/// Sets how many milliseconds are waited for a connection, with name and TLS. 0: the engine's, or 30 seconds.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_registry_options_set_connect_timeout(
    options: *mut coble_registry_options_t,
    timeout_ms: u64,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        unsafe { borrow_mut(options)?.options.connect_timeout = time(timeout_ms) };
    })
}

/// Sets how many milliseconds are waited for data of a connection that is there; a transfer that moves has no end. 0: the engine's, or 60 seconds.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_registry_options_set_idle_timeout(
    options: *mut coble_registry_options_t,
    timeout_ms: u64,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        unsafe { borrow_mut(options)?.options.idle_timeout = time(timeout_ms) };
    })
}

fn time(milliseconds: u64) -> Option<Duration> {
    (milliseconds != 0).then_some(Duration::from_millis(milliseconds))
}

/// Adds a mirror to ask first, after those that were added before and before those of the files: a URL, for every registry or with one and a `=` in front
/// ("docker.io=https://mirror.example"). It is asked as those of hosts.toml are: never with the credentials of the call, and never for what is pushed. With none,
/// the engine's are asked.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_registry_options_add_mirror(
    options: *mut coble_registry_options_t,
    mirror: *const c_char,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        let (options, mirror) = unsafe { (borrow_mut(options)?, text(mirror, "mirror")?) };
        options.options.mirrors.push(mirror.to_owned());
    })
}

/// Sets the only file in the form of registries.conf that is read. NULL: the engine's, or those in the usual places.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_registry_options_set_registries_conf(
    options: *mut coble_registry_options_t,
    registries_conf: *const c_char,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        unsafe { borrow_mut(options)?.options.registries_conf = optional_path(registries_conf) };
    })
}

/// Sets a directory with one directory for each registry, instead of certs.d of docker, podman and containerd. NULL: the engine's, or those.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_registry_options_set_hosts_dir(
    options: *mut coble_registry_options_t,
    hosts_dir: *const c_char,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        unsafe { borrow_mut(options)?.options.hosts_dir = optional_path(hosts_dir) };
    })
}

/// Sets who is asked for credentials that the options do not have, before the files are. NULL: the engine's, or nobody. `userdata` has to live as long as
/// calls are made with these options, a copy of them, or an engine that was opened with them.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_registry_options_set_credential_provider(
    options: *mut coble_registry_options_t,
    callback: coble_credential_callback_t,
    userdata: *mut c_void,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        unsafe { borrow_mut(options)?.options.credential_provider = provider(callback, userdata) };
    })
}

/// Sets who hears what registries say beside their answers: retries, rate limits and warnings, of login, search, plan, lock and everything that begins with
/// coble_registry_. What moves images has a callback of its own. NULL: nobody. `userdata` has to live as long as calls are made with these options or a copy of
/// them.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_registry_options_set_progress(
    options: *mut coble_registry_options_t,
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
pub unsafe extern "C" fn coble_registry_options_delete(options: *mut coble_registry_options_t) {
    boundary_value!((), {
        // SAFETY: the caller's, by the contract of the header.
        unsafe { handle::delete(options) }
    })
}
