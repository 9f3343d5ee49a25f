//! Strings and arrays that C passes in, and text that goes out.

use std::ffi::{CStr, CString, OsStr, c_char};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use core::Result;

use crate::boundary::invalid;

/// A string of the caller.
///
/// # Safety
/// `pointer` is NULL or a NUL-terminated string that does not change during the call.
pub(crate) unsafe fn text<'a>(pointer: *const c_char, argument: &str) -> Result<&'a str> {
    // SAFETY: passed on.
    unsafe { optional_text(pointer, argument) }?.ok_or_else(|| invalid(argument, "is NULL"))
}

/// A string of the caller that may be missing.
///
/// # Safety
/// As [`text`].
pub(crate) unsafe fn optional_text<'a>(pointer: *const c_char, argument: &str) -> Result<Option<&'a str>> {
    if pointer.is_null() {
        return Ok(None);
    }
    // SAFETY: not NULL, and a string by the contract of this function.
    let bytes = unsafe { CStr::from_ptr(pointer) };
    bytes.to_str().map(Some).map_err(|_| invalid(argument, "is not UTF-8"))
}

/// A string of the caller that may be missing, as an owned one.
///
/// # Safety
/// As [`text`].
pub(crate) unsafe fn owned_text(pointer: *const c_char, argument: &str) -> Result<Option<String>> {
    // SAFETY: passed on.
    Ok(unsafe { optional_text(pointer, argument) }?.map(str::to_owned))
}

/// A file name of the host that may be missing: any bytes.
///
/// # Safety
/// As [`text`].
pub(crate) unsafe fn optional_path(pointer: *const c_char) -> Option<PathBuf> {
    if pointer.is_null() {
        return None;
    }
    // SAFETY: not NULL, and a string by the contract of this function.
    let bytes = unsafe { CStr::from_ptr(pointer) }.to_bytes();
    Some(OsStr::from_bytes(bytes).into())
}

/// A file name of the host.
///
/// # Safety
/// As [`text`].
pub(crate) unsafe fn path(pointer: *const c_char, argument: &str) -> Result<PathBuf> {
    // SAFETY: passed on.
    unsafe { optional_path(pointer) }.ok_or_else(|| invalid(argument, "is NULL"))
}

/// An array of strings of the caller. A NULL array is empty if its count is 0.
///
/// # Safety
/// `array` is NULL or has `count` pointers, each NULL or as in [`text`].
pub(crate) unsafe fn texts(array: *const *const c_char, count: usize, argument: &str) -> Result<Vec<String>> {
    if count == 0 {
        return Ok(Vec::new());
    }
    if array.is_null() {
        return Err(invalid(argument, "is NULL"));
    }
    if count > isize::MAX as usize / size_of::<*const c_char>() {
        return Err(invalid(argument, "has an impossible count"));
    }
    // SAFETY: not NULL, `count` pointers long by the contract of this function, and no longer than an object can be.
    let pointers = unsafe { std::slice::from_raw_parts(array, count) };
    // SAFETY: each is a string or NULL, which `text` refuses.
    pointers.iter().map(|pointer| unsafe { text(*pointer, argument) }.map(str::to_owned)).collect()
}

/// Text as a C string. A NUL, which only hostile content could bring, becomes the replacement character.
pub(crate) fn c_string(text: &str) -> CString {
    CString::new(text).or_else(|_| CString::new(text.replace('\0', "\u{fffd}"))).unwrap_or_default()
}

/// The pointer of text that may be missing.
pub(crate) fn pointer_or_null(text: &Option<CString>) -> *const c_char {
    text.as_ref().map_or(std::ptr::null(), |text| text.as_ptr())
}
