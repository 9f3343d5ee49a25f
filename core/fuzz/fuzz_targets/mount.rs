//! The words for mounts and devices.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    coble::fuzz::mount(input);
});
