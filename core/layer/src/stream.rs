//! The uncompressed stream: decoded, counted, bounded and hashed on its way to the parser.

use std::io::Read;

use sha2::{Digest, Sha256};

use crate::decode::Decoder;
use crate::error::Error;

/// Fits into the second-level cache with room to spare: decoded, hashed and written while it is warm there.
const BUFFER: usize = 256 << 10;
/// The ratio says nothing about small archives: a few kilobytes of zeros compress without bound.
const RATIO_FREE: u64 = 64 << 20;

/// Bounds on what an archive may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of the uncompressed stream, of the files written, and of a single sparse file with its holes.
    pub max_bytes: u64,
    /// Entries.
    pub max_entries: u64,
    /// Uncompressed bytes for each compressed byte, beyond the first 64 MiB.
    pub max_ratio: u32,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { max_bytes: 1 << 40, max_entries: 20_000_000, max_ratio: 1000 }
    }
}

/// Where the parser's bytes come from.
pub trait Source {
    /// The bytes at hand. Empty only at the end of the stream.
    fn fill(&mut self) -> Result<&[u8], Error>;
    /// Takes `count` of them away; at most as many as [`Source::fill`] gave.
    fn consume(&mut self, count: usize);
}

impl Source for &[u8] {
    fn fill(&mut self) -> Result<&[u8], Error> {
        Ok(self)
    }

    fn consume(&mut self, count: usize) {
        *self = self.get(count..).unwrap_or_default();
    }
}

/// What is known about a stream that was read to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// SHA-256 of all uncompressed bytes: the diff id.
    pub diff_sha256: [u8; 32],
    /// How many there were.
    pub uncompressed_bytes: u64,
    /// How many bytes were read.
    pub compressed_bytes: u64,
}

/// A [`Source`] over an archive file.
pub struct Stream<R> {
    decoder: Decoder<R>,
    limits: Limits,
    hasher: Sha256,
    buffer: Box<[u8]>,
    start: usize,
    end: usize,
    total: u64,
}

impl<R: Read> Stream<R> {
    /// Looks at the first bytes and chooses the decoder.
    pub fn new(input: R, limits: Limits) -> Result<Stream<R>, Error> {
        let decoder = Decoder::new(input)?;
        let buffer = vec![0; BUFFER].into_boxed_slice();
        Ok(Stream { decoder, limits, hasher: Sha256::new(), buffer, start: 0, end: 0, total: 0 })
    }

    /// Reads what is left, however much the parser wanted of it, and sums up.
    pub fn finish(mut self) -> Result<Summary, Error> {
        while !self.fill()?.is_empty() {
            self.start = self.end;
        }
        Ok(Summary {
            diff_sha256: self.hasher.finalize().into(),
            uncompressed_bytes: self.total,
            compressed_bytes: self.decoder.compressed_bytes(),
        })
    }

    fn refill(&mut self) -> Result<(), Error> {
        self.start = 0;
        self.end = 0;
        while let Some(room) = self.buffer.get_mut(self.end..)
            && !room.is_empty()
        {
            let count = self.decoder.read(room)?;
            if count == 0 {
                break;
            }
            self.end += count;
        }
        self.total += self.end as u64;
        self.hasher.update(self.buffer.get(..self.end).unwrap_or_default());
        if self.total > self.limits.max_bytes {
            return Err(Error::limit(b"", "more uncompressed bytes than allowed"));
        }
        let ratio = u64::from(self.limits.max_ratio).saturating_mul(self.decoder.compressed_bytes());
        if self.total > RATIO_FREE && self.total > ratio {
            return Err(Error::limit(b"", "a higher compression ratio than allowed"));
        }
        Ok(())
    }
}

impl<R: Read> Source for Stream<R> {
    fn fill(&mut self) -> Result<&[u8], Error> {
        if self.start == self.end {
            self.refill()?;
        }
        Ok(self.buffer.get(self.start..self.end).unwrap_or_default())
    }

    fn consume(&mut self, count: usize) {
        self.start = (self.start + count).min(self.end);
    }
}
