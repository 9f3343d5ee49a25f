//! The progress of long calls, and the callback that gets it.

use std::ffi::{CString, c_char, c_void};
use std::sync::atomic::{AtomicBool, Ordering};

use core::{CancelToken, Progress, ProgressKind, Result};

use crate::handle::{Handle, borrow};
use crate::strings::{c_string, pointer_or_null};

/// The reference is being looked up at the registry.
pub const COBLE_PROGRESS_RESOLVE: i32 = 0;
/// A blob begins to be transferred.
pub const COBLE_PROGRESS_BLOB_START: i32 = 1;
/// A part of a blob was transferred.
pub const COBLE_PROGRESS_BLOB_PROGRESS: i32 = 2;
/// A blob was transferred and verified.
pub const COBLE_PROGRESS_BLOB_DONE: i32 = 3;
/// A blob was there already.
pub const COBLE_PROGRESS_BLOB_CACHED: i32 = 4;
/// The registry took a blob from another repository of its own.
pub const COBLE_PROGRESS_BLOB_MOUNTED: i32 = 5;
/// A layer is being unpacked.
pub const COBLE_PROGRESS_UNPACK: i32 = 6;
/// A layer was unpacked.
pub const COBLE_PROGRESS_UNPACK_DONE: i32 = 7;
/// A request failed and is made again; the message says why.
pub const COBLE_PROGRESS_RETRY: i32 = 8;
/// The registry says how many requests are left, in the message.
pub const COBLE_PROGRESS_RATE_LIMIT: i32 = 9;
/// The registry, or the engine, has something to say, in the message.
pub const COBLE_PROGRESS_WARNING: i32 = 10;
/// The call is complete.
pub const COBLE_PROGRESS_DONE: i32 = 11;
/// A part was read of what an image or an archive is made of: an archive, a container's files, or those of the host.
pub const COBLE_PROGRESS_READ: i32 = 12;
/// A part of the store was checked.
pub const COBLE_PROGRESS_CHECK: i32 = 13;

/// A step of a long call. Borrowed by a callback for as long as it runs.
pub struct coble_progress_t {
    kind: i32,
    name: CString,
    reference: CString,
    digest: Option<CString>,
    message: Option<CString>,
    current: u64,
    total: u64,
    overall_current: u64,
    overall_total: u64,
}

impl Handle for coble_progress_t {
    const NAME: &'static str = "progress";
}

impl coble_progress_t {
    fn new(progress: &Progress) -> coble_progress_t {
        coble_progress_t {
            kind: number(progress.kind),
            name: c_string(progress.kind.name()),
            reference: c_string(&progress.reference),
            digest: progress.digest.as_deref().map(c_string),
            message: progress.message.as_deref().map(c_string),
            current: progress.current,
            total: progress.total,
            overall_current: progress.overall_current,
            overall_total: progress.overall_total,
        }
    }
}

fn number(kind: ProgressKind) -> i32 {
    match kind {
        ProgressKind::Resolve => COBLE_PROGRESS_RESOLVE,
        ProgressKind::BlobStart => COBLE_PROGRESS_BLOB_START,
        ProgressKind::BlobProgress => COBLE_PROGRESS_BLOB_PROGRESS,
        ProgressKind::BlobDone => COBLE_PROGRESS_BLOB_DONE,
        ProgressKind::BlobCached => COBLE_PROGRESS_BLOB_CACHED,
        ProgressKind::BlobMounted => COBLE_PROGRESS_BLOB_MOUNTED,
        ProgressKind::Unpack => COBLE_PROGRESS_UNPACK,
        ProgressKind::UnpackDone => COBLE_PROGRESS_UNPACK_DONE,
        ProgressKind::Retry => COBLE_PROGRESS_RETRY,
        ProgressKind::RateLimit => COBLE_PROGRESS_RATE_LIMIT,
        ProgressKind::Done => COBLE_PROGRESS_DONE,
        ProgressKind::Read => COBLE_PROGRESS_READ,
        ProgressKind::Check => COBLE_PROGRESS_CHECK,
        // What is new has a name, and for those who look at numbers only it is something to tell.
        _ => COBLE_PROGRESS_WARNING,
    }
}

/// A function of the caller that gets the progress of a long call, with the pointer that was given along with it. Calls to registries that move nothing have
/// coble_registry_options_set_progress, and tell of retries, rate limits and warnings.
///
/// It may be called on threads of the call's own, but never twice at a time, and never after the call that it was given to
/// has returned, so that there is nothing to finalize. It has to be quick, must not call the engine with the same image, and must not throw. A return value other than 0
/// cancels the call, which then fails with COBLE_ERR_CANCELLED, and it is not called again.
pub type coble_progress_callback_t =
    Option<unsafe extern "C" fn(progress: *const coble_progress_t, userdata: *mut c_void) -> i32>;

/// A callback with what it needs, during one call.
pub(crate) struct Callback {
    function: coble_progress_callback_t,
    userdata: *mut c_void,
    token: CancelToken,
    over: AtomicBool,
}

// SAFETY: the pointer is handed to the callback and not looked at; the header says that the callback is called on other threads.
unsafe impl Sync for Callback {}

/// A callback and its pointer, as options keep them.
#[derive(Clone, Copy)]
pub(crate) struct Listener {
    function: coble_progress_callback_t,
    userdata: *mut c_void,
}

// SAFETY: as of `Callback`.
unsafe impl Send for Listener {}
// SAFETY: as of `Callback`.
unsafe impl Sync for Listener {}

impl Listener {
    pub(crate) fn new(function: coble_progress_callback_t, userdata: *mut c_void) -> Listener {
        Listener { function, userdata }
    }

    pub(crate) fn nobody() -> Listener {
        Listener::new(None, std::ptr::null_mut())
    }

    /// For one call, with the token of its caller.
    pub(crate) fn callback(self, token: CancelToken) -> Callback {
        Callback::new(self.function, self.userdata, token)
    }
}

impl Callback {
    /// The token is that of the caller; the one of the call is [`Callback::token`].
    pub(crate) fn new(
        function: coble_progress_callback_t,
        userdata: *mut c_void,
        token: CancelToken,
    ) -> Callback {
        // Without a callback nobody else can cancel.
        let token = if function.is_some() { token.child() } else { token };
        Callback { function, userdata, token, over: AtomicBool::new(false) }
    }

    pub(crate) fn token(&self) -> &CancelToken {
        &self.token
    }

    /// Whether the call went on to its end. One that was told to stop when nothing was left to do has not done what its caller wants.
    pub(crate) fn end(&self) -> Result<()> {
        if self.over.load(Ordering::SeqCst) { self.token.check() } else { Ok(()) }
    }

    /// Tells the callback.
    pub(crate) fn tell(&self, progress: &Progress) {
        let Some(function) = self.function else { return };
        if self.over.load(Ordering::SeqCst) {
            return;
        }
        let progress = coble_progress_t::new(progress);
        // SAFETY: the caller's function, called as the header says, with a pointer that is valid until it returns.
        if unsafe { function(&raw const progress, self.userdata) } != 0 {
            self.over.store(true, Ordering::SeqCst);
            self.token.cancel();
        }
    }
}

/// What happened: one of the COBLE_PROGRESS_ numbers. Kinds that later versions add are COBLE_PROGRESS_WARNING here and have names of their own. -1 if the progress is NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_progress_kind(progress: *const coble_progress_t) -> i32 {
    boundary_value!(-1, {
        // SAFETY: the caller's, by the contract of the header.
        unsafe { borrow(progress) }.map_or(-1, |progress| progress.kind)
    })
}

/// The name of what happened, such as "blob-done". NULL if the progress is NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_progress_kind_name(progress: *const coble_progress_t) -> *const c_char {
    boundary_value!(std::ptr::null(), {
        // SAFETY: the caller's, by the contract of the header.
        unsafe { borrow(progress) }.map_or(std::ptr::null(), |progress| progress.name.as_ptr())
    })
}

/// What the call is about: a reference, the name of a container, or the path of an archive or a store. NULL if the progress is NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_progress_reference(progress: *const coble_progress_t) -> *const c_char {
    boundary_value!(std::ptr::null(), {
        // SAFETY: the caller's, by the contract of the header.
        unsafe { borrow(progress) }.map_or(std::ptr::null(), |progress| progress.reference.as_ptr())
    })
}

/// The digest of the blob or manifest that it is about, or in a scrub the chain id of a layer. NULL if it is about none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_progress_digest(progress: *const coble_progress_t) -> *const c_char {
    boundary_value!(std::ptr::null(), {
        // SAFETY: the caller's, by the contract of the header.
        unsafe { borrow(progress) }.map_or(std::ptr::null(), |progress| pointer_or_null(&progress.digest))
    })
}

/// Words for people. NULL if there are none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_progress_message(progress: *const coble_progress_t) -> *const c_char {
    boundary_value!(std::ptr::null(), {
        // SAFETY: the caller's, by the contract of the header.
        unsafe { borrow(progress) }.map_or(std::ptr::null(), |progress| pointer_or_null(&progress.message))
    })
}

/// How many bytes of it are done.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_progress_current(progress: *const coble_progress_t) -> u64 {
    boundary_value!(0, {
        // SAFETY: the caller's, by the contract of the header.
        unsafe { borrow(progress) }.map_or(0, |progress| progress.current)
    })
}

/// How many bytes it has. 0: not known.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_progress_total(progress: *const coble_progress_t) -> u64 {
    boundary_value!(0, {
        // SAFETY: the caller's, by the contract of the header.
        unsafe { borrow(progress) }.map_or(0, |progress| progress.total)
    })
}

/// How many bytes are done of everything that the call moves, reads or checks.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_progress_overall_current(progress: *const coble_progress_t) -> u64 {
    boundary_value!(0, {
        // SAFETY: the caller's, by the contract of the header.
        unsafe { borrow(progress) }.map_or(0, |progress| progress.overall_current)
    })
}

/// How many bytes all of that has. 0: not known yet, or nothing.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_progress_overall_total(progress: *const coble_progress_t) -> u64 {
    boundary_value!(0, {
        // SAFETY: the caller's, by the contract of the header.
        unsafe { borrow(progress) }.map_or(0, |progress| progress.overall_total)
    })
}
