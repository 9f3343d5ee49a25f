//! The parser alone: no panic, and nothing outside of the bounds.
#![no_main]

use coble_layer::{Error, Limits, Reader};
use libfuzzer_sys::fuzz_target;

fn read(archive: &[u8]) -> Result<(), Error> {
    let limits = Limits { max_bytes: 1 << 30, max_entries: 1000, ..Limits::default() };
    let mut reader = Reader::new(archive, limits);
    let mut given = 0;
    while reader.advance()? {
        let size = reader.entry().size;
        assert!(size <= limits.max_bytes);
        while let Some((offset, bytes)) = reader.chunk()? {
            assert!(offset + bytes.len() as u64 <= size);
            given += bytes.len();
        }
        assert!(given <= archive.len());
    }
    Ok(())
}

fuzz_target!(|archive: &[u8]| {
    let _ = read(archive);
});
