//! Everything, onto a directory.
#![no_main]

#[allow(dead_code)]
mod bodies;

libfuzzer_sys::fuzz_target!(|archive: &[u8]| {
    bodies::onto_a_directory(archive);
});
