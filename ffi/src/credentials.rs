//! The callback that knows credentials.

use std::ffi::{CString, c_char, c_void};

use core::{CredentialProvider, Credentials, Error, ErrorKind};

use crate::error::coble_error_t;
use crate::handle::{Handle, borrow, borrow_mut};
use crate::status::coble_status_t;
use crate::strings::{c_string, text};

/// What a callback for credentials is asked, and its answer. Borrowed by the callback for as long as it runs.
pub struct coble_credential_request_t {
    registry: CString,
    repository: CString,
    refused: bool,
    answer: Option<Credentials>,
}

impl Handle for coble_credential_request_t {
    const NAME: &'static str = "request";
}

/// A function of the caller that knows credentials, with the pointer that was given along with it. It is called when a registry wants to know who asks, or an
/// engine knows that from before, and the options have no credentials: at most once for each registry of a call, and once more for each answer that was refused.
/// What it sets with one of coble_credential_request_set_ is for that registry; if it sets nothing, the files are looked into. A return value other than 0
/// fails the call with COBLE_ERR_UNAUTHORIZED.
///
/// It is called on threads of the call, by several calls at once if there are several, and may call the engine itself. It must not throw. There is nothing to
/// finalize: `userdata` has to live as long as calls are made with the options, a copy of them, or an engine that was opened with them.
pub type coble_credential_callback_t =
    Option<unsafe extern "C" fn(request: *mut coble_credential_request_t, userdata: *mut c_void) -> i32>;

/// The pointer of a callback.
struct Userdata(*mut c_void);

// SAFETY: the pointer is handed to the callback and not looked at; the header says that the callback is called on other threads.
unsafe impl Send for Userdata {}
// SAFETY: as above; the header says that several threads call it at once.
unsafe impl Sync for Userdata {}

impl Userdata {
    /// A method, so that a closure has the whole and not the pointer in it.
    fn get(&self) -> *mut c_void {
        self.0
    }
}

/// The provider that a callback is.
pub(crate) fn provider(
    callback: coble_credential_callback_t,
    userdata: *mut c_void,
) -> Option<CredentialProvider> {
    let callback = callback?;
    let userdata = Userdata(userdata);
    Some(CredentialProvider::new(move |asked| {
        let mut request = coble_credential_request_t {
            registry: c_string(&asked.registry),
            repository: c_string(&asked.repository),
            refused: asked.refused,
            answer: None,
        };
        // SAFETY: the function is the caller's, and the request lives until it returns.
        match unsafe { callback(&raw mut request, userdata.get()) } {
            0 => Ok(request.answer),
            code => Err(Error::new(
                ErrorKind::Unauthorized,
                format!("the callback for credentials returned {code}"),
            )
            .with_object(asked.registry.as_str())),
        }
    }))
}

/// The registry, as it is called in references and credential files. A mirror is asked for by its own name. NULL if the request is NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_credential_request_registry(
    request: *const coble_credential_request_t,
) -> *const c_char {
    boundary_value!(std::ptr::null(), {
        // SAFETY: the caller's, by the contract of the header.
        unsafe { borrow(request) }.map_or(std::ptr::null(), |request| request.registry.as_ptr())
    })
}

/// The repository there, without the registry; empty for what concerns none. NULL if the request is NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_credential_request_repository(
    request: *const coble_credential_request_t,
) -> *const c_char {
    boundary_value!(std::ptr::null(), {
        // SAFETY: the caller's, by the contract of the header.
        unsafe { borrow(request) }.map_or(std::ptr::null(), |request| request.repository.as_ptr())
    })
}

/// Whether the registry has refused the last answer in this call: 0 or 1.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_credential_request_refused(request: *const coble_credential_request_t) -> i32 {
    boundary_value!(0, {
        // SAFETY: the caller's, by the contract of the header.
        unsafe { borrow(request) }.map_or(0, |request| i32::from(request.refused))
    })
}

/// Answers with a user name and a password.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_credential_request_set_password(
    request: *mut coble_credential_request_t,
    username: *const c_char,
    password: *const c_char,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        let (request, username, password) =
            unsafe { (borrow_mut(request)?, text(username, "username")?, text(password, "password")?) };
        request.answer = Some(Credentials::password(username, password));
    })
}

/// Answers with an identity token, which a token server exchanges for access tokens.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_credential_request_set_identity_token(
    request: *mut coble_credential_request_t,
    token: *const c_char,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        let (request, token) = unsafe { (borrow_mut(request)?, text(token, "token")?) };
        request.answer = Some(Credentials::IdentityToken(token.to_owned()));
    })
}

/// Answers with an access token, which is sent to the registry as it is.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_credential_request_set_token(
    request: *mut coble_credential_request_t,
    token: *const c_char,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        let (request, token) = unsafe { (borrow_mut(request)?, text(token, "token")?) };
        request.answer = Some(Credentials::Token(token.to_owned()));
    })
}
