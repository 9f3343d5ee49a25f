//! Reading and applying OCI image layers.
//!
//! Bytes go one way: [`Decoder`] (gzip, zstd, bzip2, xz or plain, told by the first bytes) into [`Stream`] (limits, and the digest
//! of the uncompressed stream, which is the diff id) into [`Reader`] (a strict tar parser that touches no file system) into
//! [`Applier`] (an empty directory that becomes an overlay lower directory, reached by descriptors only). [`Remover`] takes whole
//! trees away in the same manner. [`apply`] does all of it.
//!
//! Everything that comes in is hostile. The rule of the parser is: where two tar implementations could understand an
//! archive differently, it is refused. Memory is bounded, whatever the archive says.
//!
//! The other way, [`pack`] writes a tree as a tar, and [`changes`], [`compare`] and [`usage`] look at trees. They are as hostile as archives.
//!
//! This crate is not for confining itself: the archive role of the shim does that, around it.

#![forbid(unsafe_code)]

mod apply;
mod changes;
mod decode;
mod error;
mod pack;
mod path;
mod stream;
mod tar;
#[cfg(test)]
mod testing;
mod tree;
mod usage;
mod walk;

pub use apply::{Applied, Applier, Layers, Merge, Options, Warning, WarningKind, xattr};
pub use changes::{Change, changes, compare};
pub use decode::{Decoder, Format};
pub use error::{Act, Error};
pub use pack::{Form, One, PackOptions, Packed, file_header, pack, pack_one, plain_header};
pub use stream::{Limits, Source, Stream, Summary};
pub use tar::{Entry, Kind, Reader, Time, Xattr};
pub use tree::Remover;
pub use usage::usage;

use std::io::Read;

/// Applies a layer archive to an empty directory, as described at [`Applier`], and reads it to its very end.
pub fn apply<R: Read>(input: R, limits: Limits, options: Options) -> Result<(Applied, Summary), Error> {
    let mut reader = Reader::new(Stream::new(input, limits)?, limits);
    let mut applier = Applier::new(options, limits)?;
    while reader.advance()? {
        applier.entry(&mut reader)?;
    }
    // The digest covers what stands behind the end of the archive, too, and a lie told there must be known before the layer counts as applied.
    let summary = reader.into_source().finish()?;
    let applied = applier.finish()?;
    Ok((applied, summary))
}
