//! The engine.

use std::ffi::{c_char, c_void};

use core::{CancelToken, Engine, EngineOptions, Result};

use crate::boundary::{Out, invalid};
use crate::cancel::{coble_cancel_t, token};
use crate::error::coble_error_t;
use crate::handle::{self, Handle, borrow};
use crate::options::{self, Options};
use crate::progress::{Callback, coble_progress_callback_t};
use crate::registry_options::{coble_registry_options_t, registry_options};
use crate::run::{coble_run_options_t, coble_run_result_t};
use crate::spec::coble_container_spec_t;
use crate::status::coble_status_t;
use crate::string::coble_string_t;
use crate::strings::optional_path;

/// A container engine in this process, over a store that other processes may use at the same time.
pub struct coble_engine_t(pub(crate) Engine);

impl Handle for coble_engine_t {
    const NAME: &'static str = "engine";
}

/// Rootless unless the caller is root with the needed capabilities.
pub const COBLE_ROOTLESS_AUTO: i32 = 0;
/// Containers run in a user namespace.
pub const COBLE_ROOTLESS_YES: i32 = 1;
/// Containers run without a user namespace.
pub const COBLE_ROOTLESS_NO: i32 = 2;

/// Offline if the environment variable COBLE_OFFLINE says so.
pub const COBLE_OFFLINE_AUTO: i32 = 0;
/// No registry is asked for anything.
pub const COBLE_OFFLINE_YES: i32 = 1;
/// Registries are asked, whatever the environment says.
pub const COBLE_OFFLINE_NO: i32 = 2;

/// Where an engine keeps its things. Zero everything but the size for the defaults.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct coble_engine_options_t {
    /// sizeof(coble_engine_options_t).
    pub size: usize,
    /// Directory of images, layers, containers and the database. NULL: the default of the user.
    pub data_root: *const c_char,
    /// Directory of sockets, locks and the state of running containers. NULL: the default of the user, or one for this data root.
    pub run_root: *const c_char,
    /// COBLE_ROOTLESS_AUTO, COBLE_ROOTLESS_YES or COBLE_ROOTLESS_NO.
    pub rootless: i32,
    /// COBLE_OFFLINE_AUTO, COBLE_OFFLINE_YES or COBLE_OFFLINE_NO: offline, what would need a registry fails at once with COBLE_ERR_OFFLINE.
    pub offline: i32,
    /// A lock file that every pull of the engine obeys, as coble_image_lock writes it. NULL: none.
    pub lock_file: *const c_char,
    /// How many connections to registries all calls of the engine together use at once. 0: the default.
    pub connections: u32,
    /// How many of them to one host. 0: the default.
    pub connections_per_host: u32,
    /// How registries are reached where a call says nothing: time-outs, mirrors, files, who is asked for credentials. Copied. Credentials, certificates and
    /// plain HTTP are for one registry, and refused. NULL: the defaults.
    pub registry: *const coble_registry_options_t,
}

const _: () = assert!(size_of::<coble_engine_options_t>() == 5 * size_of::<usize>() + 16, "padding");

// SAFETY: repr(C), size first, raw pointers and integers only, and no padding as asserted above.
unsafe impl Options for coble_engine_options_t {
    const NAME: &'static str = "options";
}

/// # Safety
/// As [`options::read`], and the strings as [`optional_path`].
unsafe fn engine_options(options: *const coble_engine_options_t) -> Result<EngineOptions> {
    // SAFETY: passed on.
    let given = unsafe { options::read(options) }?;
    let mut options = EngineOptions::default();
    // SAFETY: passed on.
    options.data_root = unsafe { optional_path(given.data_root) };
    // SAFETY: passed on.
    options.run_root = unsafe { optional_path(given.run_root) };
    // SAFETY: passed on.
    options.lock_file = unsafe { optional_path(given.lock_file) };
    // SAFETY: passed on.
    options.registry = unsafe { registry_options(given.registry) };
    options.rootless = match given.rootless {
        COBLE_ROOTLESS_AUTO => None,
        COBLE_ROOTLESS_YES => Some(true),
        COBLE_ROOTLESS_NO => Some(false),
        other => return Err(invalid("options.rootless", format_args!("has the unknown value {other}"))),
    };
    options.connections = (given.connections != 0).then_some(given.connections);
    options.connections_per_host = (given.connections_per_host != 0).then_some(given.connections_per_host);
    options.offline = match given.offline {
        COBLE_OFFLINE_AUTO => None,
        COBLE_OFFLINE_YES => Some(true),
        COBLE_OFFLINE_NO => Some(false),
        other => return Err(invalid("options.offline", format_args!("has the unknown value {other}"))),
    };
    Ok(options)
}

/// Opens the store, making it if it is not there, and sweeps what crashed processes left. Options may be NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_engine_open(
    options: *const coble_engine_options_t,
    engine: *mut *mut coble_engine_t,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        let (options, out) = unsafe { (engine_options(options)?, Out::new(engine, "engine")?) };
        coble_engine_t(Engine::open(options)?).give(out);
    })
}

/// Closes an engine. Later calls on it and on its containers fail with COBLE_ERR_CLOSED; closing it again does nothing. It still has to be
/// deleted. NULL is fine.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_engine_close(engine: *const coble_engine_t) {
    boundary_value!((), {
        // SAFETY: the caller's, by the contract of the header.
        if let Ok(engine) = unsafe { borrow(engine) } {
            engine.0.close();
        }
    })
}

/// Deletes an engine. Containers made with it stay usable. NULL is fine.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_engine_delete(engine: *mut coble_engine_t) {
    boundary_value!((), {
        // SAFETY: the caller's, by the contract of the header.
        unsafe { handle::delete(engine) }
    })
}

/// Creates a container, starts it, waits, collects its output and removes it. The container dies with this process, however that ends.
/// Options may be NULL. A program that ends with a status other than 0 is not an error, unless the options say so.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_engine_run(
    engine: *const coble_engine_t,
    spec: *const coble_container_spec_t,
    options: *const coble_run_options_t,
    cancel: *const coble_cancel_t,
    result: *mut *mut coble_run_result_t,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        let (engine, spec, options, cancel, out) = unsafe {
            let options = coble_run_options_t::read(options)?;
            (borrow(engine)?, borrow(spec)?, options, token(cancel), Out::new(result, "result")?)
        };
        coble_run_result_t::new(engine.0.run(spec.0.clone(), options, &cancel)?).give(out);
    })
}

/// Facts about the engine and its host, as a JSON object.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_engine_info(
    engine: *const coble_engine_t,
    json: *mut *mut coble_string_t,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        let (engine, out) = unsafe { (borrow(engine)?, Out::new(json, "json")?) };
        coble_string_t::json(&engine.0.info()?)?.give(out);
    })
}

/// Looks for damage in the store, and for what belongs to nothing. Gives a JSON array of strings, which is empty when nothing is wrong.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_engine_verify(
    engine: *const coble_engine_t,
    json: *mut *mut coble_string_t,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        let (engine, out) = unsafe { (borrow(engine)?, Out::new(json, "json")?) };
        coble_string_t::json(&engine.0.verify(&|_| {}, &CancelToken::never())?)?.give(out);
    })
}

/// As coble_engine_verify, with a token that ends it and a callback for the progress, which may be NULL; see coble_progress_callback_t.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_engine_verify_with_progress(
    engine: *const coble_engine_t,
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
        let found = engine.0.verify(&told, callback.token())?;
        callback.end()?;
        coble_string_t::json(&found)?.give(out);
    })
}

/// Looks at the host of an engine: as coble_doctor, with the engine's own options.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_engine_doctor(
    engine: *const coble_engine_t,
    ok: *mut i32,
    json: *mut *mut coble_string_t,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        let (engine, ok, out) = unsafe { (borrow(engine)?, Out::new(ok, "ok")?, Out::new(json, "json")?) };
        let report = engine.0.doctor();
        coble_string_t::json(&report)?.give(out);
        ok.set(report.ok().into());
    })
}

/// Looks at the host, also when no engine can be opened. `ok` becomes 1 if containers can run, or 0; the JSON object says what
/// was found and how to mend it. Options may be NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_doctor(
    options: *const coble_engine_options_t,
    ok: *mut i32,
    json: *mut *mut coble_string_t,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        let (options, ok, out) =
            unsafe { (engine_options(options)?, Out::new(ok, "ok")?, Out::new(json, "json")?) };
        let report = core::doctor(&options);
        coble_string_t::json(&report)?.give(out);
        ok.set(report.ok().into());
    })
}
