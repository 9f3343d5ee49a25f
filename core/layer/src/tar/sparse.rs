//! Maps of sparse files, in the four forms that exist.

use super::header::{BLOCK, number};

/// As many pieces as a sparse file may have: 4 MiB of memory.
const SEGMENTS_MAX: usize = 256 << 10;
const BAD: &str = "the map of a sparse file is malformed";

/// A piece of a sparse file that has data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Segment {
    pub(crate) offset: u64,
    pub(crate) length: u64,
}

pub(super) fn push(segments: &mut Vec<Segment>, segment: Segment) -> Result<(), &'static str> {
    if segments.len() == SEGMENTS_MAX {
        return Err("a sparse file has too many pieces");
    }
    segments.push(segment);
    Ok(())
}

/// Checks that a map is in order, lies in the file and accounts for exactly the data that follows.
pub(super) fn check(segments: &[Segment], size: u64, data: u64) -> Result<(), &'static str> {
    if size > i64::MAX as u64 {
        return Err("a size is out of range");
    }
    let (mut end, mut total) = (0u64, 0u64);
    for segment in segments {
        if segment.offset < end {
            return Err("the pieces of a sparse file overlap");
        }
        // Some tools start every piece at a block of the archive, others do not: they agree only if all but the last are whole blocks.
        if segment.length > 0 && !total.is_multiple_of(BLOCK as u64) {
            return Err("a piece of a sparse file does not start at a block");
        }
        end = segment.offset.checked_add(segment.length).filter(|&end| end <= size).ok_or(BAD)?;
        total += segment.length;
    }
    if total != data { Err("the map of a sparse file disagrees with its data") } else { Ok(()) }
}

/// `offset,length,offset,length...`
pub(super) fn comma_map(text: &[u8]) -> Result<Vec<Segment>, &'static str> {
    let mut segments = Vec::new();
    if text.is_empty() {
        return Ok(segments);
    }
    let mut numbers = text.split(|&byte| byte == b',').map(super::pax::decimal);
    while let Some(offset) = numbers.next() {
        push(&mut segments, Segment { offset: offset?, length: numbers.next().ok_or(BAD)?? })?;
    }
    Ok(segments)
}

/// The map in header blocks of type `S`.
pub(super) struct OldMap {
    pub(super) segments: Vec<Segment>,
    pub(super) size: u64,
    extended: bool,
}

impl OldMap {
    pub(super) fn new(block: &[u8; BLOCK]) -> Result<OldMap, &'static str> {
        let size = block.get(483..495).map(number).transpose()?.flatten().ok_or(BAD)?;
        let size = u64::try_from(size).map_err(|_| BAD)?;
        let mut map = OldMap { segments: Vec::new(), size, extended: false };
        map.take(block.get(386..482).unwrap_or_default(), block.get(482).copied().unwrap_or_default())?;
        Ok(map)
    }

    /// Whether another block of the map follows.
    pub(super) fn more(&self) -> bool {
        self.extended
    }

    pub(super) fn extend(&mut self, block: &[u8; BLOCK]) -> Result<(), &'static str> {
        self.take(block.get(..504).unwrap_or_default(), block.get(504).copied().unwrap_or_default())
    }

    fn take(&mut self, fields: &[u8], extended: u8) -> Result<(), &'static str> {
        self.extended = extended != 0;
        let mut ended = false;
        for pair in fields.chunks_exact(24) {
            let (offset, length) = pair.split_at(12);
            if offset.first() == Some(&0) || length.first() == Some(&0) {
                // The end of the map: everything behind it has to be empty.
                ended = true;
            }
            if ended {
                if pair.iter().any(|&byte| byte != 0) {
                    return Err(BAD);
                }
                continue;
            }
            let part = |field| -> Result<u64, &'static str> {
                number(field)?.and_then(|value| u64::try_from(value).ok()).ok_or(BAD)
            };
            push(&mut self.segments, Segment { offset: part(offset)?, length: part(length)? })?;
        }
        if ended && self.extended { Err(BAD) } else { Ok(()) }
    }
}

/// The map as lines of decimal numbers before the data: how many, then offset and length of each.
#[derive(Default)]
pub(super) struct TextMap {
    pub(super) segments: Vec<Segment>,
    expected: Option<u64>,
    offset: Option<u64>,
    line: Vec<u8>,
}

impl TextMap {
    pub(super) fn complete(&self) -> bool {
        self.expected == Some(self.segments.len() as u64)
    }

    pub(super) fn extend(&mut self, block: &[u8; BLOCK]) -> Result<(), &'static str> {
        for &byte in block {
            if self.complete() {
                // The rest of the block is filled up, with zeros.
                if byte != 0 {
                    return Err(BAD);
                }
            } else if byte == b'\n' {
                let value = super::pax::decimal(&self.line)?;
                self.line.clear();
                match (self.expected, self.offset.take()) {
                    (None, _) if value > SEGMENTS_MAX as u64 => {
                        return Err("a sparse file has too many pieces");
                    }
                    (None, _) => self.expected = Some(value),
                    (Some(_), None) => self.offset = Some(value),
                    (Some(_), Some(offset)) => push(&mut self.segments, Segment { offset, length: value })?,
                }
            } else if self.line.len() < 20 {
                self.line.push(byte);
            } else {
                return Err(BAD);
            }
        }
        Ok(())
    }
}
