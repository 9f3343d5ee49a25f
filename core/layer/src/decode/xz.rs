//! xz streams, with a bounded dictionary.

use std::io::Read;

use liblzma::stream::{Action, CONCATENATED, Error as LzmaError, Status, Stream};

use super::{CORRUPT, Format, Input, MEMORY, TRUNCATED, XZ_MEMORY};
use crate::error::Error;

pub(super) struct Xz {
    stream: Stream,
    ended: bool,
}

fn error(error: LzmaError) -> Error {
    Format::Xz.error(match error {
        LzmaError::MemLimit => "the stream needs more memory than allowed",
        LzmaError::Mem => MEMORY,
        LzmaError::Options => "the stream uses unsupported options",
        LzmaError::NoCheck | LzmaError::UnsupportedCheck => "the stream uses an unsupported check",
        _ => CORRUPT,
    })
}

impl Xz {
    pub(super) fn new() -> Result<Xz, Error> {
        Ok(Xz { stream: Stream::new_stream_decoder(XZ_MEMORY, CONCATENATED).map_err(error)?, ended: false })
    }

    pub(super) fn read<R: Read>(&mut self, input: &mut Input<R>, out: &mut [u8]) -> Result<usize, Error> {
        while !self.ended {
            let bytes = input.fill()?;
            // Only the end of the file tells the decoder that no other stream follows.
            let last = bytes.is_empty();
            let action = if last { Action::Finish } else { Action::Run };
            let (before_in, before_out) = (self.stream.total_in(), self.stream.total_out());
            let status = self.stream.process(bytes, out, action).map_err(error)?;
            let taken = (self.stream.total_in() - before_in) as usize;
            let made = (self.stream.total_out() - before_out) as usize;
            input.consume(taken);
            match status {
                Status::StreamEnd => self.ended = true,
                _ if taken == 0 && made == 0 => {
                    return Err(Format::Xz.error(if last { TRUNCATED } else { CORRUPT }));
                }
                _ => {}
            }
            if made > 0 {
                return Ok(made);
            }
        }
        Ok(0)
    }
}
