//! bzip2 streams.

use std::io::Read;

use bzip2::{Decompress, Status};

use super::{CORRUPT, Format, Input, MEMORY, TRUNCATED};
use crate::error::Error;

pub(super) struct Bzip2 {
    /// None between two streams.
    decompress: Option<Decompress>,
    first: bool,
}

fn error(rule: &'static str) -> Error {
    Format::Bzip2.error(rule)
}

impl Bzip2 {
    pub(super) fn new() -> Bzip2 {
        Bzip2 { decompress: None, first: true }
    }

    pub(super) fn read<R: Read>(&mut self, input: &mut Input<R>, out: &mut [u8]) -> Result<usize, Error> {
        loop {
            if self.decompress.is_none() && !self.first && !input.want(3)?.starts_with(b"BZh") {
                input.padding(Format::Bzip2)?;
                return Ok(0);
            }
            self.first = false;
            let decompress = self.decompress.get_or_insert_with(|| Decompress::new(false));
            let bytes = input.fill()?;
            let ended = bytes.is_empty();
            let (before_in, before_out) = (decompress.total_in(), decompress.total_out());
            let status = decompress.decompress(bytes, out).map_err(|_| error(CORRUPT))?;
            let taken = (decompress.total_in() - before_in) as usize;
            let made = (decompress.total_out() - before_out) as usize;
            input.consume(taken);
            match status {
                Status::StreamEnd => self.decompress = None,
                Status::MemNeeded => return Err(error(MEMORY)),
                _ if taken == 0 && made == 0 => return Err(error(if ended { TRUNCATED } else { CORRUPT })),
                _ => {}
            }
            if made > 0 {
                return Ok(made);
            }
        }
    }
}
