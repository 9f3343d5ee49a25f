//! Decompression, told by the first bytes, in this process: no other program is ever started.
//!
//! After the last complete gzip, zstd or bzip2 member only zeros may follow (padding of tapes and block devices); anything else is refused, since
//! tools disagree about it. xz has padding of its own.

mod bzip2;
mod gzip;
mod xz;
mod zstd;

use std::io::{ErrorKind, Read};

use crate::error::Error;

/// Bytes read from the input at once.
const INPUT: usize = 128 << 10;
/// The most memory for the window of a zstd frame and for the dictionary of an xz stream. What the ordinary
/// levels of both tools need is below it.
const WINDOW_LOG_MAX: u32 = 27;
const XZ_MEMORY: u64 = 128 << 20;

/// The compression of an archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// None.
    Plain,
    /// gzip, one member or many.
    Gzip,
    /// zstd, one frame or many.
    Zstd,
    /// bzip2, one stream or many.
    Bzip2,
    /// xz, one stream or many.
    Xz,
}

impl Format {
    /// The name in words.
    pub const fn name(self) -> &'static str {
        match self {
            Format::Plain => "plain",
            Format::Gzip => "gzip",
            Format::Zstd => "zstd",
            Format::Bzip2 => "bzip2",
            Format::Xz => "xz",
        }
    }

    fn of(head: &[u8]) -> Format {
        const BZIP2_BLOCK: &[u8] = &[0x31, 0x41, 0x59, 0x26, 0x53, 0x59];
        const BZIP2_END: &[u8] = &[0x17, 0x72, 0x45, 0x38, 0x50, 0x90];
        match head {
            [0x1f, 0x8b, ..] => Format::Gzip,
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Format::Zstd,
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Format::Xz,
            // "BZh9" alone could be the name of a file in a plain archive.
            [b'B', b'Z', b'h', b'1'..=b'9', rest @ ..]
                if rest.starts_with(BZIP2_BLOCK) || rest.starts_with(BZIP2_END) =>
            {
                Format::Bzip2
            }
            _ => Format::Plain,
        }
    }

    fn error(self, rule: &'static str) -> Error {
        Error::Decode { format: self, rule }
    }
}

/// What a decoder says about a stream that ends too early.
const TRUNCATED: &str = "the stream is truncated";
/// What a decoder says about damage.
const CORRUPT: &str = "the stream is corrupt";
/// What a decoder says when malloc failed.
const MEMORY: &str = "out of memory";

/// The compressed bytes.
struct Input<R> {
    reader: R,
    buffer: Box<[u8]>,
    start: usize,
    end: usize,
    total: u64,
    ended: bool,
}

impl<R: Read> Input<R> {
    /// Reads from the file into `room`; 0 at its end.
    fn read_file(reader: &mut R, total: &mut u64, room: &mut [u8]) -> Result<usize, Error> {
        loop {
            match reader.read(room) {
                Ok(count) => {
                    *total += count as u64;
                    return Ok(count);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => {
                    return Err(Error::Read(
                        error.raw_os_error().unwrap_or(rustix::io::Errno::IO.raw_os_error()),
                    ));
                }
            }
        }
    }

    /// The bytes at hand; empty only at the end of the file.
    fn fill(&mut self) -> Result<&[u8], Error> {
        self.want(1)
    }

    /// The bytes at hand, at least `count` of them unless the file ends before. `count` is small.
    fn want(&mut self, count: usize) -> Result<&[u8], Error> {
        while self.end - self.start < count && !self.ended {
            self.buffer.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
            let room = self.buffer.get_mut(self.end..).unwrap_or_default();
            match Input::read_file(&mut self.reader, &mut self.total, room)? {
                0 => self.ended = true,
                count => self.end += count,
            }
        }
        Ok(self.buffer.get(self.start..self.end).unwrap_or_default())
    }

    fn consume(&mut self, count: usize) {
        self.start = (self.start + count).min(self.end);
    }

    fn byte(&mut self) -> Result<Option<u8>, Error> {
        let byte = self.fill()?.first().copied();
        self.consume(1);
        Ok(byte)
    }

    /// After the last member: only zeros up to the end.
    fn padding(&mut self, format: Format) -> Result<(), Error> {
        loop {
            let bytes = self.fill()?;
            if bytes.iter().any(|&byte| byte != 0) {
                return Err(format.error("the compressed stream is followed by something else"));
            }
            match bytes.len() {
                0 => return Ok(()),
                count => self.consume(count),
            }
        }
    }
}

enum Codec {
    Plain,
    Gzip(gzip::Gzip),
    Zstd(zstd::Zstd),
    Bzip2(bzip2::Bzip2),
    Xz(xz::Xz),
}

/// Decompresses an archive.
pub struct Decoder<R> {
    input: Input<R>,
    format: Format,
    codec: Codec,
}

impl<R: Read> Decoder<R> {
    /// Looks at the first bytes.
    pub fn new(reader: R) -> Result<Decoder<R>, Error> {
        let buffer = vec![0; INPUT].into_boxed_slice();
        let mut input = Input { reader, buffer, start: 0, end: 0, total: 0, ended: false };
        let format = Format::of(input.want(10)?);
        let codec = match format {
            Format::Plain => Codec::Plain,
            Format::Gzip => Codec::Gzip(gzip::Gzip::new()),
            Format::Zstd => Codec::Zstd(zstd::Zstd::new()?),
            Format::Bzip2 => Codec::Bzip2(bzip2::Bzip2::new()),
            Format::Xz => Codec::Xz(xz::Xz::new()?),
        };
        Ok(Decoder { input, format, codec })
    }

    /// The compression found.
    pub fn format(&self) -> Format {
        self.format
    }

    /// How many bytes were read from the file.
    pub fn compressed_bytes(&self) -> u64 {
        self.input.total
    }

    /// Decodes into `out`, which must not be empty. 0 only at the proper end of the stream.
    pub fn read(&mut self, out: &mut [u8]) -> Result<usize, Error> {
        match &mut self.codec {
            Codec::Plain => {
                let left = self.input.end - self.input.start;
                if left == 0 {
                    return Input::read_file(&mut self.input.reader, &mut self.input.total, out);
                }
                let count = left.min(out.len());
                if let (Some(to), Some(from)) = (out.get_mut(..count), self.input.fill()?.get(..count)) {
                    to.copy_from_slice(from);
                }
                self.input.consume(count);
                Ok(count)
            }
            Codec::Gzip(codec) => codec.read(&mut self.input, out),
            Codec::Zstd(codec) => codec.read(&mut self.input, out),
            Codec::Bzip2(codec) => codec.read(&mut self.input, out),
            Codec::Xz(codec) => codec.read(&mut self.input, out),
        }
    }
}

#[cfg(test)]
mod tests;
