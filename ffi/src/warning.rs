//! Warnings, as C reads them: by an index.

use std::ffi::{CString, c_char};

use core::Warning;

use crate::strings::c_string;

/// The warnings of one object; the texts live as long as it.
pub(crate) struct Warnings(Vec<(CString, CString)>);

impl Warnings {
    pub(crate) fn new(warnings: &[Warning]) -> Warnings {
        Warnings(warnings.iter().map(|item| (c_string(&item.code), c_string(&item.message))).collect())
    }

    pub(crate) fn count(&self) -> usize {
        self.0.len()
    }

    /// NULL if the index is too large.
    pub(crate) fn code(&self, index: usize) -> *const c_char {
        self.0.get(index).map_or(std::ptr::null(), |(code, _)| code.as_ptr())
    }

    /// NULL if the index is too large.
    pub(crate) fn message(&self, index: usize) -> *const c_char {
        self.0.get(index).map_or(std::ptr::null(), |(_, message)| message.as_ptr())
    }
}
