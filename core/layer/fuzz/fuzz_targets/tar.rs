//! The parser alone.
#![no_main]

#[allow(dead_code)]
mod bodies;

libfuzzer_sys::fuzz_target!(|archive: &[u8]| {
    bodies::tar(archive);
});
