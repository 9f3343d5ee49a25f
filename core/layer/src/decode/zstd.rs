//! zstd frames (RFC 8878), skippable ones included, with a bounded window.

use std::io::Read;

use zstd::zstd_safe::{DCtx, DParameter, InBuffer, OutBuffer};

use super::{CORRUPT, Format, Input, MEMORY, TRUNCATED, WINDOW_LOG_MAX};
use crate::error::Error;

pub(super) struct Zstd {
    context: DCtx<'static>,
    /// Between two frames.
    between: bool,
    first: bool,
}

fn error(rule: &'static str) -> Error {
    Format::Zstd.error(rule)
}

/// The library numbers its errors as the negative of `ZSTD_ErrorCode`, which is stable for these.
fn of_code(code: usize) -> Error {
    error(match code.wrapping_neg() {
        16 => "a frame needs a larger window than allowed",
        32 => "a frame needs a dictionary",
        22 => "the checksum is wrong",
        64 => MEMORY,
        _ => CORRUPT,
    })
}

impl Zstd {
    pub(super) fn new() -> Result<Zstd, Error> {
        let mut context = DCtx::try_create().ok_or_else(|| error(MEMORY))?;
        context.set_parameter(DParameter::WindowLogMax(WINDOW_LOG_MAX)).map_err(of_code)?;
        Ok(Zstd { context, between: true, first: true })
    }

    pub(super) fn read<R: Read>(&mut self, input: &mut Input<R>, out: &mut [u8]) -> Result<usize, Error> {
        loop {
            let bytes = input.fill()?;
            if self.between && !self.first && bytes.first().is_none_or(|&byte| byte == 0) {
                input.padding(Format::Zstd)?;
                return Ok(0);
            }
            let ended = bytes.is_empty();
            let mut from = InBuffer::around(bytes);
            let mut to = OutBuffer::around(&mut *out);
            let hint = self.context.decompress_stream(&mut to, &mut from).map_err(of_code)?;
            let (taken, made) = (from.pos(), to.pos());
            input.consume(taken);
            self.first = false;
            self.between = hint == 0;
            if made > 0 {
                return Ok(made);
            }
            if taken == 0 && !self.between {
                return Err(error(if ended { TRUNCATED } else { CORRUPT }));
            }
        }
    }
}
