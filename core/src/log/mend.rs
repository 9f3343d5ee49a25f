//! What is left of a record whose writer was killed: where the next record begins, and how a file is cut to its last whole record before somebody appends to it.

use std::fs::File;
use std::io::Result;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};

use coble_protocol::{LogForm, LogFrame};

use super::files::MAX_LINE;
use crate::error::{self, Call, Error};

/// The longest record.
const RECORD: usize = LogFrame::SIZE + LogFrame::MAX_DATA;
/// Bytes read at once.
const PIECE: usize = 64 * 1024;
/// The longest file that is looked at from its beginning; a longer one is put aside as it is.
const LONG: u64 = 256 << 20;

/// Cuts a log that nobody writes to. `capped` says that it is put aside when it is full.
pub(super) fn mend(path: &Path, form: LogForm, capped: bool) -> error::Result<()> {
    mend_up_to(path, form, if capped { u64::MAX } else { LONG })
}

fn mend_up_to(path: &Path, form: LogForm, most: u64) -> error::Result<()> {
    let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = match rustix::fs::open(path, flags, Mode::empty()) {
        Ok(file) => File::from(file),
        Err(rustix::io::Errno::NOENT) => return Ok(()),
        Err(errno) => return Err(errno).call("open", path),
    };
    let length = file.metadata().call("fstat", path)?.len();
    let whole = match form {
        LogForm::Frames if length > most => return put_aside(path),
        LogForm::Frames => end_of_frames(&file, length),
        LogForm::Json => end_of_lines(&file, length),
    };
    let whole = whole.call("read", path)?;
    if whole < length { file.set_len(whole).call("ftruncate", path) } else { Ok(()) }
}

/// Where the last whole record ends. What is no record for longer than a record can be stays.
fn end_of_frames(file: &File, length: u64) -> Result<u64> {
    let mut window = Window { file, start: 0, bytes: Vec::new() };
    let mut position = 0;
    while position < length {
        let end =
            window.header(position)?.map(|frame| position + LogFrame::SIZE as u64 + u64::from(frame.length));
        match end {
            Some(end) if end == length || (end < length && window.begins(end, length)?) => position = end,
            _ => match next_frame(file, position)? {
                Some(next) => position = next,
                None if end.is_some_and(|end| end < length) => position = end.unwrap_or(length),
                None if length - position <= RECORD as u64 => return Ok(position),
                None => return Ok(length),
            },
        }
    }
    Ok(length)
}

/// The part of a file that was read last.
struct Window<'a> {
    file: &'a File,
    start: u64,
    bytes: Vec<u8>,
}

impl Window<'_> {
    fn at(&mut self, position: u64) -> Result<&[u8]> {
        let there = |window: &Self| {
            let offset = usize::try_from(position.checked_sub(window.start)?).ok()?;
            window.bytes.get(offset..).filter(|rest| rest.len() >= LogFrame::SIZE).map(|_| offset)
        };
        if there(self).is_none() {
            self.bytes.resize(PIECE, 0);
            let length = read_at(self.file, &mut self.bytes, position)?;
            self.bytes.truncate(length);
            self.start = position;
        }
        Ok(self.bytes.get((position - self.start) as usize..).unwrap_or_default())
    }

    fn header(&mut self, position: u64) -> Result<Option<LogFrame>> {
        Ok(self.at(position)?.first_chunk().and_then(LogFrame::decode))
    }

    /// Whether a record begins there, as far as can be seen.
    fn begins(&mut self, position: u64, length: u64) -> Result<bool> {
        Ok(length - position < LogFrame::SIZE as u64 || self.header(position)?.is_some())
    }
}

/// Where the next record begins after one that is not whole. It is one that ends with the file, or that another one follows.
pub(super) fn next_frame(file: &File, damaged: u64) -> Result<Option<u64>> {
    let mut bytes = vec![0; 2 * RECORD + LogFrame::SIZE];
    let length = read_at(file, &mut bytes, damaged)?;
    bytes.truncate(length);
    let header = |at: usize| bytes.get(at..)?.first_chunk().and_then(LogFrame::decode);
    let is_whole = |at: &usize| {
        let Some(frame) = header(*at) else { return false };
        let end = at + LogFrame::SIZE + frame.length as usize;
        end == length || (end < length && (length - end < LogFrame::SIZE || header(end).is_some()))
    };
    Ok((1..=RECORD).find(is_whole).map(|at| damaged + at as u64))
}

fn end_of_lines(file: &File, length: u64) -> Result<u64> {
    let mut bytes = vec![0; PIECE];
    let mut end = length;
    while end > 0 && length - end < MAX_LINE {
        let start = end.saturating_sub(PIECE as u64);
        let piece = bytes.get_mut(..(end - start) as usize).unwrap_or_default();
        let read = read_at(file, piece, start)?;
        if let Some(at) = piece.get(..read).unwrap_or_default().iter().rposition(|byte| *byte == b'\n') {
            return Ok(start + at as u64 + 1);
        }
        end = start;
    }
    Ok(if end == 0 { 0 } else { length })
}

/// Reads up to the end of the file.
pub(super) fn read_at(file: &File, bytes: &mut [u8], position: u64) -> Result<usize> {
    let mut filled = 0;
    while let Some(rest) = bytes.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, position + filled as u64) {
            Ok(0) => break,
            Ok(length) => filled += length,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// Gives a log the next number, as a full one gets it: whoever reads the files takes what is not whole at the end of one as its end.
fn put_aside(path: &Path) -> error::Result<()> {
    let last = (1..).find(|number| !numbered(path, *number).exists()).unwrap_or(1);
    for number in (0..last).rev() {
        let (from, to) = (numbered(path, number), numbered(path, number + 1));
        std::fs::rename(&from, to).map_err(|error| Error::io("rename", &from, &error))?;
    }
    Ok(())
}

/// The name of a log file that was put aside so many times.
pub(super) fn numbered(path: &Path, number: u32) -> PathBuf {
    if number == 0 {
        return path.to_path_buf();
    }
    let mut name = path.to_path_buf().into_os_string();
    name.push(format!(".{number}"));
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(text: &[u8]) -> Vec<u8> {
        let header = LogFrame { time: 5, length: text.len() as u32, stream: 1 }.encode();
        [&header[..], text].concat()
    }

    fn mended(content: &[u8], form: LogForm) -> Vec<u8> {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("log");
        std::fs::write(&path, content).unwrap();
        mend(&path, form, false).unwrap();
        std::fs::read(&path).unwrap()
    }

    #[test]
    fn a_torn_record_goes_and_nothing_else() {
        let whole = [record(b"one"), record(b""), record(&[7; LogFrame::MAX_DATA]), record(b"last")].concat();
        assert!(mended(&whole, LogForm::Frames) == whole);
        for cut in whole.len() - 19..whole.len() {
            assert!(mended(&whole[..cut], LogForm::Frames) == whole[..whole.len() - 20], "{cut}");
        }
        assert!(mended(&record(b"torn")[..18], LogForm::Frames).is_empty());
        // One in the middle stays, with what follows it.
        let torn = record(&[9; 1000]);
        let middle = [&whole[..], &torn[..500], &whole[..]].concat();
        assert!(mended(&middle, LogForm::Frames) == middle);
        assert!(mended(&[&middle[..], &torn[..17]].concat(), LogForm::Frames) == middle);
        // What is no log is not touched.
        let other = vec![0xff; 3 * RECORD];
        assert!(mended(&other, LogForm::Frames) == other);
    }

    #[test]
    fn a_torn_line_goes_and_nothing_else() {
        let mended = |text: &[u8]| mended(text, LogForm::Json);
        assert_eq!(mended(b"{}\n{}\n"), b"{}\n{}\n");
        assert_eq!(mended(b"{}\n{\"log"), b"{}\n");
        assert_eq!(mended(b"{\"log"), b"");
        let long = [b"{}\n", &[b'x'; 3 * PIECE][..]].concat();
        assert_eq!(mended(&long), b"{}\n");
        let other = vec![b'x'; MAX_LINE as usize + PIECE];
        assert!(mended(&other) == other);
    }

    #[test]
    fn what_is_too_long_to_look_at_is_put_aside() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("log");
        for (n, text) in [b"a", b"b"].into_iter().enumerate() {
            std::fs::write(&path, [record(text), record(b"torn")[..5].to_vec()].concat()).unwrap();
            mend_up_to(&path, LogForm::Frames, 3).unwrap();
            assert!(!path.exists() && numbered(&path, n as u32 + 1).exists());
        }
        std::fs::write(&path, record(b"c")).unwrap();
        let mut files = super::super::files::Files::open(path, LogForm::Frames).unwrap();
        let next = || files.next().unwrap().map(|record| record.data);
        let all: Vec<_> = std::iter::from_fn(next).collect();
        assert_eq!(all, [b"a", b"b", b"c"]);
    }
}
