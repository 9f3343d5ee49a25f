//! Holes of files: found, and written as a map (version 1.0 of GNU's format, inside an extended header).

use std::os::fd::BorrowedFd;

use rustix::fs::SeekFrom;
use rustix::io::Errno;

use super::header::BLOCK;

/// Holes that are worth a map, all together.
const WORTH: u64 = 1 << 20;
/// A smaller hole counts as data.
const SMALLEST: u64 = 64 << 10;
/// Pieces are aligned to this.
const ALIGN: u64 = 4096;
/// A file with more pieces is written with its zeros.
const PIECES_MAX: usize = 64 << 10;

/// The pieces of a file that have data, as offset and length; None if the file is to be written as it is.
pub(super) fn pieces(fd: BorrowedFd<'_>, size: u64, blocks: u64) -> Result<Option<Vec<(u64, u64)>>, Errno> {
    if blocks.saturating_mul(512).saturating_add(WORTH) > size {
        return Ok(None);
    }
    let mut pieces: Vec<(u64, u64)> = Vec::new();
    let mut at = 0;
    while at < size {
        let start = match rustix::fs::seek(fd, SeekFrom::Data(at)) {
            Ok(start) => start,
            // No more data.
            Err(Errno::NXIO) => break,
            Err(Errno::INVAL | Errno::OPNOTSUPP) => return Ok(None),
            Err(errno) => return Err(errno),
        };
        let end = match rustix::fs::seek(fd, SeekFrom::Hole(start)) {
            Ok(end) => end,
            Err(Errno::NXIO) => break,
            Err(errno) => return Err(errno),
        };
        if end <= at {
            return Ok(None);
        }
        at = end;
        let start = start / ALIGN * ALIGN;
        let end = end.next_multiple_of(ALIGN).min(size);
        match pieces.last_mut() {
            Some((first, length)) if start < *first + *length + SMALLEST => {
                *length = end.saturating_sub(*first)
            }
            _ if start < end => pieces.push((start, end - start)),
            _ => {}
        }
        if pieces.len() > PIECES_MAX {
            return Ok(None);
        }
    }
    let data: u64 = pieces.iter().map(|(_, length)| length).sum();
    Ok(Some(pieces).filter(|_| size - data >= WORTH))
}

/// The map that stands before the data, padded to whole blocks.
pub(super) fn map(pieces: &[(u64, u64)], size: u64) -> Vec<u8> {
    // An empty piece at the end says how long the file is, as GNU tar has it.
    let end = pieces.last().map_or(0, |(offset, length)| offset + length);
    let last = (end < size).then_some((size, 0));
    let count = pieces.len() + usize::from(last.is_some());
    let mut text = format!("{count}\n").into_bytes();
    for (offset, length) in pieces.iter().copied().chain(last) {
        text.extend_from_slice(format!("{offset}\n{length}\n").as_bytes());
    }
    text.resize(text.len().next_multiple_of(BLOCK), 0);
    text
}
