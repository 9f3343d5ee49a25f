//! Seccomp profiles.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    coble::fuzz::seccomp_profile(input);
});
