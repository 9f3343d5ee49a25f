//! Image references.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    coble::fuzz::reference(input);
});
