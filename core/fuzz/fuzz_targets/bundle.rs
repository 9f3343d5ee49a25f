//! The configuration of an OCI bundle.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    coble::fuzz::bundle(input);
});
