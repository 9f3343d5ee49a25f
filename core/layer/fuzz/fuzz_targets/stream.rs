//! Decoders, limits and parser together.
#![no_main]

use coble_layer::{Error, Limits, Reader, Stream};
use libfuzzer_sys::fuzz_target;

fn read(archive: &[u8]) -> Result<(), Error> {
    let limits = Limits { max_bytes: 64 << 20, max_entries: 1000, ..Limits::default() };
    let mut reader = Reader::new(Stream::new(archive, limits)?, limits);
    while reader.advance()? {
        while reader.chunk()?.is_some() {}
    }
    reader.into_source().finish().map(drop)
}

fuzz_target!(|archive: &[u8]| {
    let _ = read(archive);
});
