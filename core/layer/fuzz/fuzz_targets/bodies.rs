//! What the fuzz targets do with their input, shared with the bounded tests in `tests/fuzz.rs`. A panic is a finding; errors are fine.

use std::fs;
use std::os::fd::OwnedFd;

use coble_layer::{Error, Limits, Merge, Options, Reader, Stream, apply};

/// The parser alone: nothing outside of the bounds. Whether the archive was read to its end.
pub(crate) fn tar(archive: &[u8]) -> bool {
    let limits = Limits { max_bytes: 1 << 30, max_entries: 1000, ..Limits::default() };
    let mut reader = Reader::new(archive, limits);
    let mut given = 0;
    let mut read = || -> Result<(), Error> {
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
    };
    read().is_ok()
}

/// Decoders, limits and parser together.
pub(crate) fn stream(archive: &[u8]) -> bool {
    let limits = Limits { max_bytes: 64 << 20, max_entries: 1000, ..Limits::default() };
    let read = || -> Result<(), Error> {
        let mut reader = Reader::new(Stream::new(archive, limits)?, limits);
        while reader.advance()? {
            while reader.chunk()?.is_some() {}
        }
        reader.into_source().finish().map(drop)
    };
    read().is_ok()
}

/// Everything, onto a directory. What is beside the directory stays as it is.
pub(crate) fn onto_a_directory(archive: &[u8]) -> bool {
    let place = tempfile::tempdir().expect("a temporary directory");
    let (target, canary) = (place.path().join("target"), place.path().join("canary"));
    fs::create_dir(&target).expect("mkdir");
    fs::write(&canary, "alive").expect("write");
    // As a layer, and then as a copy to where the layer is already.
    let ways = [None, Some(Merge { follow: false, owner: None, host: true, root: true })];
    let [applied, _] = ways.map(|merge| {
        let options = Options {
            target: OwnedFd::from(fs::File::open(&target).expect("open")),
            lower: coble_layer::Layers::none(),
            ready: None,
            userxattr: true,
            merge,
        };
        let limits = Limits { max_bytes: 16 << 20, max_entries: 1000, ..Limits::default() };
        apply(archive, limits, options).is_ok()
    });
    assert_eq!(fs::read(&canary).expect("read"), b"alive");
    assert_eq!(fs::read_dir(place.path()).expect("list").count(), 2);
    applied
}
