//! gzip members (RFC 1952) around raw deflate.

use std::io::Read;

use flate2::{Crc, Decompress, FlushDecompress, Status};

use super::{CORRUPT, Format, Input, TRUNCATED};
use crate::error::Error;

const FHCRC: u8 = 2;
const FEXTRA: u8 = 4;
const FNAME: u8 = 8;
const FCOMMENT: u8 = 16;
const RESERVED: u8 = 0xe0;

enum State {
    First,
    Between,
    Body,
    End,
}

pub(super) struct Gzip {
    inflate: Decompress,
    crc: Crc,
    state: State,
}

fn error(rule: &'static str) -> Error {
    Format::Gzip.error(rule)
}

fn must<R: Read>(input: &mut Input<R>) -> Result<u8, Error> {
    input.byte()?.ok_or_else(|| error(TRUNCATED))
}

fn number<R: Read>(input: &mut Input<R>) -> Result<u32, Error> {
    let mut bytes = [0; 4];
    for byte in &mut bytes {
        *byte = must(input)?;
    }
    Ok(u32::from_le_bytes(bytes))
}

impl Gzip {
    pub(super) fn new() -> Gzip {
        Gzip { inflate: Decompress::new(false), crc: Crc::new(), state: State::First }
    }

    /// Reads the header of a member.
    fn header<R: Read>(&mut self, input: &mut Input<R>) -> Result<(), Error> {
        let mut crc = Crc::new();
        let mut next = |input: &mut Input<R>| -> Result<u8, Error> {
            let byte = must(input)?;
            crc.update(&[byte]);
            Ok(byte)
        };
        if next(input)? != 0x1f || next(input)? != 0x8b || next(input)? != 8 {
            return Err(error(CORRUPT));
        }
        let flags = next(input)?;
        if flags & RESERVED != 0 {
            return Err(error("the header has unknown flags"));
        }
        for _ in 0..6 {
            next(input)?;
        }
        if flags & FEXTRA != 0 {
            let length = u16::from_le_bytes([next(input)?, next(input)?]);
            for _ in 0..length {
                next(input)?;
            }
        }
        for flag in [FNAME, FCOMMENT] {
            while flags & flag != 0 && next(input)? != 0 {}
        }
        if flags & FHCRC != 0 {
            let expected = crc.sum() as u16;
            if u16::from_le_bytes([must(input)?, must(input)?]) != expected {
                return Err(error("the header's checksum is wrong"));
            }
        }
        self.inflate.reset(false);
        self.crc.reset();
        Ok(())
    }

    pub(super) fn read<R: Read>(&mut self, input: &mut Input<R>, out: &mut [u8]) -> Result<usize, Error> {
        loop {
            match self.state {
                State::End => return Ok(0),
                State::Between if input.fill()?.first().is_none_or(|&byte| byte == 0) => {
                    input.padding(Format::Gzip)?;
                    self.state = State::End;
                }
                State::Between if !input.want(2)?.starts_with(&[0x1f, 0x8b]) => {
                    input.padding(Format::Gzip)?
                }
                State::First | State::Between => {
                    self.header(input)?;
                    self.state = State::Body;
                }
                State::Body => {
                    let bytes = input.fill()?;
                    let ended = bytes.is_empty();
                    let (before_in, before_out) = (self.inflate.total_in(), self.inflate.total_out());
                    let status = self
                        .inflate
                        .decompress(bytes, out, FlushDecompress::None)
                        .map_err(|_| error(CORRUPT))?;
                    let taken = (self.inflate.total_in() - before_in) as usize;
                    let made = (self.inflate.total_out() - before_out) as usize;
                    input.consume(taken);
                    self.crc.update(out.get(..made).unwrap_or_default());
                    if status == Status::StreamEnd {
                        let (crc, length) = (number(input)?, number(input)?);
                        if crc != self.crc.sum() || length != self.crc.amount() {
                            return Err(error("the checksum is wrong"));
                        }
                        self.state = State::Between;
                    } else if taken == 0 && made == 0 {
                        return Err(error(if ended { TRUNCATED } else { CORRUPT }));
                    }
                    if made > 0 {
                        return Ok(made);
                    }
                }
            }
        }
    }
}
