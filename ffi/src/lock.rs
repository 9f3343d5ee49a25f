//! Lock files, which pin names to digests.

use std::ffi::{CString, c_char};

use core::Pin;

use crate::boundary::Out;
use crate::cancel::coble_cancel_t;
use crate::engine::coble_engine_t;
use crate::error::coble_error_t;
use crate::handle::{self, Handle, borrow};
use crate::registry_options::{coble_registry_options_t, reach};
use crate::status::coble_status_t;
use crate::string::coble_string_t;
use crate::strings::{c_string, path, texts};

/// Names and what they are pinned to.
pub struct coble_pin_list_t {
    pins: Vec<Pin>,
    items: Vec<(CString, CString)>,
}

impl Handle for coble_pin_list_t {
    const NAME: &'static str = "pins";
}

/// Asks the registries what `count` names stand for, and pins them to it in a lock file, which is made if it is not there. Pins of other names stay as
/// they are. The options and `pins` may be NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_image_lock(
    engine: *const coble_engine_t,
    references: *const *const c_char,
    count: usize,
    file: *const c_char,
    options: *const coble_registry_options_t,
    cancel: *const coble_cancel_t,
    pins: *mut *mut coble_pin_list_t,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        let (engine, references, file, (options, callback), out) = unsafe {
            let (references, file) = (texts(references, count, "references")?, path(file, "file")?);
            (borrow(engine)?, references, file, reach(options, cancel), Out::new(pins, "pins"))
        };
        let references: Vec<&str> = references.iter().map(String::as_str).collect();
        let told = |progress: &core::Progress| callback.tell(progress);
        let pins = engine.0.images().lock(&references, &file, &options, &told, callback.token())?;
        callback.end()?;
        if let Ok(out) = out {
            let items = pins.iter().map(|pin| (c_string(&pin.reference), c_string(&pin.digest))).collect();
            coble_pin_list_t { pins, items }.give(out);
        }
    })
}

/// How many pins there are.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_pin_list_count(pins: *const coble_pin_list_t) -> usize {
    boundary_value!(0, {
        // SAFETY: the caller's, by the contract of the header.
        unsafe { borrow(pins) }.map_or(0, |pins| pins.items.len())
    })
}

/// The canonical name of a pin. NULL if the index is too large.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_pin_list_reference(
    pins: *const coble_pin_list_t,
    index: usize,
) -> *const c_char {
    boundary_value!(std::ptr::null(), {
        // SAFETY: the caller's, by the contract of the header.
        let item = unsafe { borrow(pins) }.ok().and_then(|pins| pins.items.get(index));
        item.map_or(std::ptr::null(), |item| item.0.as_ptr())
    })
}

/// The digest of the manifest or index that a name is pinned to. NULL if the index is too large.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_pin_list_digest(pins: *const coble_pin_list_t, index: usize) -> *const c_char {
    boundary_value!(std::ptr::null(), {
        // SAFETY: the caller's, by the contract of the header.
        let item = unsafe { borrow(pins) }.ok().and_then(|pins| pins.items.get(index));
        item.map_or(std::ptr::null(), |item| item.1.as_ptr())
    })
}

/// The pins as a JSON array of objects.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_pin_list_json(
    pins: *const coble_pin_list_t,
    json: *mut *mut coble_string_t,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        let (pins, out) = unsafe { (borrow(pins)?, Out::new(json, "json")?) };
        coble_string_t::json(&pins.pins)?.give(out);
    })
}

/// Deletes a list of pins; the lock file stays. NULL is fine.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_pin_list_delete(pins: *mut coble_pin_list_t) {
    boundary_value!((), {
        // SAFETY: the caller's, by the contract of the header.
        unsafe { handle::delete(pins) }
    })
}
