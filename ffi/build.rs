//! Gives the shared library its soname. The number is that of the binary interface, not of the version.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=src/version.rs");
    let source = std::fs::read_to_string("src/version.rs").unwrap_or_default();
    let number = source
        .lines()
        .find_map(|line| line.strip_prefix("pub const COBLE_ABI_VERSION: u32 = ")?.strip_suffix(';'))
        .unwrap_or_else(|| panic!("src/version.rs does not define COBLE_ABI_VERSION"));
    println!("cargo:rustc-cdylib-link-arg=-Wl,-soname,libcoble.so.{number}");
}
