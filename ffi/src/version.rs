//! Versions.

use std::ffi::{CStr, c_char};

/// The version of the binary interface: the number in the file name libcoble.so.N. It changes when programs have to be built anew.
pub const COBLE_ABI_VERSION: u32 = 0;

const VERSION: &CStr = match CStr::from_bytes_with_nul(concat!(env!("CARGO_PKG_VERSION"), "\0").as_bytes()) {
    Ok(version) => version,
    Err(_) => c"",
};

/// The version of the library that runs, such as "0.1.0". Compare with COBLE_VERSION, that of the header. Valid for ever.
#[unsafe(no_mangle)]
pub extern "C" fn coble_version() -> *const c_char {
    boundary_value!(c"".as_ptr(), { VERSION.as_ptr() })
}

/// COBLE_ABI_VERSION of the library that runs.
#[unsafe(no_mangle)]
pub extern "C" fn coble_abi_version() -> u32 {
    boundary_value!(0, { COBLE_ABI_VERSION })
}
