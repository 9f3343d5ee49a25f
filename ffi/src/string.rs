//! Text that the library gives away, such as JSON.

use std::ffi::{CString, c_char};

use core::{Error, ErrorKind, Result};
use serde::Serialize;

use crate::handle::{self, Handle, borrow};
use crate::strings::c_string;

/// Text that is the caller's.
pub struct coble_string_t(CString);

impl Handle for coble_string_t {
    const NAME: &'static str = "string";
}

impl coble_string_t {
    /// Something of the engine as JSON.
    pub(crate) fn json(value: &impl Serialize) -> Result<coble_string_t> {
        let text = serde_json::to_string(value);
        let text = text.map_err(|error| Error::new(ErrorKind::Internal, format!("json: {error}")))?;
        Ok(coble_string_t(c_string(&text)))
    }
}

/// The text, NUL-terminated. Borrowed; NULL if the string is NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_string_data(string: *const coble_string_t) -> *const c_char {
    boundary_value!(std::ptr::null(), {
        // SAFETY: the caller's, by the contract of the header.
        unsafe { borrow(string) }.map_or(std::ptr::null(), |string| string.0.as_ptr())
    })
}

/// The length of the text in bytes, without the NUL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_string_length(string: *const coble_string_t) -> usize {
    boundary_value!(0, {
        // SAFETY: the caller's, by the contract of the header.
        unsafe { borrow(string) }.map_or(0, |string| string.0.as_bytes().len())
    })
}

/// Deletes text. NULL is fine.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_string_delete(string: *mut coble_string_t) {
    boundary_value!((), {
        // SAFETY: the caller's, by the contract of the header.
        unsafe { handle::delete(string) }
    })
}
