//! What a registry says in its answers.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    coble::fuzz::answer(input);
});
