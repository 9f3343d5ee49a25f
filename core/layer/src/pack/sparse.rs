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
/// The most pieces of a file that has a map: as many as can be read again, with one for the end.
const PIECES_MAX: usize = (256 << 10) - 1;
/// A file that cannot have a map is written with its zeros if it is at most so many times what it takes of the disk: as much as the holes may come to that count as data.
const ZEROS: u64 = 16;

/// How the content of a file is written.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Content {
    /// As it is.
    Whole,
    /// The pieces that have data, as offset and length.
    Pieces(Vec<(u64, u64)>),
    /// Not at all: it has too many holes for a map, and without one it would be far more than it is now.
    TooManyHoles,
}

/// Finds the holes of a file.
pub(super) fn content(fd: BorrowedFd<'_>, size: u64, blocks: u64) -> Result<Content, Errno> {
    content_within(fd, size, blocks, PIECES_MAX)
}

fn content_within(fd: BorrowedFd<'_>, size: u64, blocks: u64, most: usize) -> Result<Content, Errno> {
    Ok(match pieces(fd, size, blocks, most)? {
        Found::Pieces(pieces) => Content::Pieces(pieces),
        Found::None => Content::Whole,
        Found::TooMany if size / ZEROS <= blocks.saturating_mul(512) => Content::Whole,
        Found::TooMany => Content::TooManyHoles,
    })
}

enum Found {
    Pieces(Vec<(u64, u64)>),
    /// No holes that are worth a map.
    None,
    TooMany,
}

fn pieces(fd: BorrowedFd<'_>, size: u64, blocks: u64, most: usize) -> Result<Found, Errno> {
    if blocks.saturating_mul(512).saturating_add(WORTH) > size {
        return Ok(Found::None);
    }
    let mut pieces: Vec<(u64, u64)> = Vec::new();
    let mut at = 0;
    while at < size {
        let start = match rustix::fs::seek(fd, SeekFrom::Data(at)) {
            Ok(start) => start,
            // No more data.
            Err(Errno::NXIO) => break,
            Err(Errno::INVAL | Errno::OPNOTSUPP) => return Ok(Found::None),
            Err(errno) => return Err(errno),
        };
        let end = match rustix::fs::seek(fd, SeekFrom::Hole(start)) {
            Ok(end) => end,
            Err(Errno::NXIO) => break,
            Err(errno) => return Err(errno),
        };
        if end <= at {
            return Ok(Found::None);
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
        if pieces.len() > most {
            return Ok(Found::TooMany);
        }
    }
    let data: u64 = pieces.iter().map(|(_, length)| length).sum();
    Ok(if size - data >= WORTH { Found::Pieces(pieces) } else { Found::None })
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    #[test]
    fn too_many_holes_are_found_before_anything_is_written() {
        const STEP: u64 = 1 << 20;

        let file = tempfile::tempfile().unwrap();
        for n in 0..5 {
            rustix::io::pwrite(&file, &[1; 4096], n * STEP).unwrap();
        }
        rustix::fs::ftruncate(&file, 5 * STEP).unwrap();
        let found = |blocks, most| match content_within(file.as_fd(), 5 * STEP, blocks, most).unwrap() {
            Content::Pieces(pieces) => pieces.len(),
            Content::Whole => 0,
            Content::TooManyHoles => usize::MAX,
        };
        // 20 KiB of the disk for 5 MiB, and 2 MiB of it.
        assert_eq!((found(40, 5), found(40, 4)), (5, usize::MAX));
        assert_eq!((found(4096, 5), found(4096, 4)), (5, 0));
        assert_eq!(found(10_000, 5), 0);
    }
}
