//! The files of one log, oldest first, as one stream of records. They are put aside and taken away while they are read.

use std::fs::File;
use std::io::{BufRead, BufReader, ErrorKind as IoKind, Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use serde::Deserialize;

use coble_protocol::{LogForm, LogFrame};

use super::mend::{next_frame, numbered, read_at};
use crate::container::{LogRecord, LogSource};
use crate::error::{Call, Error, ErrorKind, Result};

/// As much as a pipe holds.
const BUFFER: usize = 64 * 1024;
/// The longest line of JSON. Docker's writer makes none of more than a quarter of that.
pub(super) const MAX_LINE: u64 = 1 << 20;
/// How every line begins. A quote in a line of output has a backslash before it, so that this is nowhere else.
const LINE: &[u8] = b"{\"log\":\"";

/// A log that is being read.
#[derive(Debug)]
pub(super) struct Files {
    path: PathBuf,
    form: LogForm,
    current: Option<Current>,
}

#[derive(Debug)]
struct Current {
    file: BufReader<File>,
    inode: u64,
    /// Of the next record.
    position: u64,
}

impl Current {
    fn open(path: &Path) -> Result<Option<Current>> {
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == IoKind::NotFound => return Ok(None),
            Err(error) => return Err(Error::io("open", path, &error)),
        };
        Current::of(file, path).map(Some)
    }

    fn of(file: File, path: &Path) -> Result<Current> {
        let inode = file.metadata().call("fstat", path)?.ino();
        Ok(Current { file: BufReader::with_capacity(BUFFER, file), inode, position: 0 })
    }

    /// One whole record; None if the file ends before it does, and then the position stays. What is left of a record whose writer was killed is passed over.
    fn record(&mut self, form: LogForm, path: &Path) -> Result<Option<LogRecord>> {
        let damaged = |position: u64| {
            Error::new(ErrorKind::Io, format!("\"{}\" is damaged at byte {position}", path.display()))
                .with_object(path.to_string_lossy())
        };
        loop {
            let read = match form {
                LogForm::Frames => frame(&mut self.file, self.position).call("read", path)?,
                LogForm::Json => line(&mut self.file).call("read", path)?,
            };
            match read {
                Found::Whole(record, length) => {
                    self.position += length;
                    return Ok(Some(record));
                }
                Found::Torn(record, next) => {
                    self.move_to(next, path)?;
                    return Ok(Some(record));
                }
                Found::Damaged => {
                    let next = match form {
                        LogForm::Frames => {
                            next_frame(self.file.get_ref(), self.position).call("read", path)?
                        }
                        LogForm::Json => None,
                    };
                    self.move_to(next.ok_or_else(|| damaged(self.position))?, path)?;
                }
                Found::Part => {
                    self.move_to(self.position, path)?;
                    return Ok(None);
                }
            }
        }
    }

    fn move_to(&mut self, position: u64, path: &Path) -> Result<()> {
        self.file.seek(SeekFrom::Start(position)).call("lseek", path)?;
        self.position = position;
        Ok(())
    }
}

/// What reading a record came to.
enum Found {
    /// It, and how long it is in the file.
    Whole(LogRecord, u64),
    /// What was written of it, and where the next one begins.
    Torn(LogRecord, u64),
    /// The file ends before it does.
    Part,
    /// It is none.
    Damaged,
}

fn frame(file: &mut BufReader<File>, position: u64) -> std::io::Result<Found> {
    let mut header = [0; LogFrame::SIZE];
    if !fill(file, &mut header)? {
        return Ok(Found::Part);
    }
    let Some(frame) = LogFrame::decode(&header) else { return Ok(Found::Damaged) };
    let mut data = vec![0; frame.length as usize];
    if !fill(file, &mut data)? {
        return Ok(Found::Part);
    }
    let length = (header.len() + data.len()) as u64;
    let mut record = LogRecord {
        time: UNIX_EPOCH + Duration::from_nanos(frame.time),
        source: if frame.stream == 1 { LogSource::Stdout } else { LogSource::Stderr },
        data,
    };
    // Without the header of another record after it, this one perhaps was torn, and has swallowed those that were written later.
    let whole = match file.buffer().first_chunk() {
        Some(header) => LogFrame::decode(header).is_some(),
        None => {
            let read = read_at(file.get_ref(), &mut header, position + length)?;
            read < header.len() || LogFrame::decode(&header).is_some()
        }
    };
    if !whole
        && let Some(next) = next_frame(file.get_ref(), position)?.filter(|next| *next < position + length)
    {
        record.data.truncate(next.saturating_sub(position + LogFrame::SIZE as u64) as usize);
        return Ok(Found::Torn(record, next));
    }
    Ok(Found::Whole(record, length))
}

/// A line of docker's form. What else docker writes there is passed over.
#[derive(Deserialize)]
struct Entry {
    log: String,
    stream: String,
    time: String,
}

fn line(file: &mut BufReader<File>) -> std::io::Result<Found> {
    let mut bytes = Vec::new();
    file.take(MAX_LINE).read_until(b'\n', &mut bytes)?;
    if bytes.last() != Some(&b'\n') {
        return Ok(if bytes.len() as u64 == MAX_LINE { Found::Damaged } else { Found::Part });
    }
    let Some(entry) = entry(&bytes) else { return Ok(Found::Damaged) };
    let source = match entry.stream.as_str() {
        "stdout" => LogSource::Stdout,
        "stderr" => LogSource::Stderr,
        _ => return Ok(Found::Damaged),
    };
    let Some(nanos) = nanoseconds(&entry.time) else { return Ok(Found::Damaged) };
    let time = UNIX_EPOCH + Duration::from_nanos(nanos);
    Ok(Found::Whole(LogRecord { time, source, data: entry.log.into_bytes() }, bytes.len() as u64))
}

/// The entry of a line, or, after the first part of one whose writer was killed, which has no end of its own, the one at its end.
fn entry(line: &[u8]) -> Option<Entry> {
    let last = || line.windows(LINE.len()).rposition(|part| part == LINE).filter(|start| *start > 0);
    let parse = |text| serde_json::from_slice(text).ok();
    parse(line).or_else(|| line.get(last()?..).and_then(parse))
}

/// A time as the writer has it: RFC 3339 in UTC, with up to nine digits of a second.
fn nanoseconds(text: &str) -> Option<u64> {
    let (seconds, fraction) = match text.strip_suffix('Z')?.split_once('.') {
        Some((seconds, fraction)) => (seconds, fraction),
        None => (text.strip_suffix('Z')?, ""),
    };
    let seconds = crate::state::parse_rfc3339(&format!("{seconds}Z"))?;
    let digits = fraction.len();
    if digits > 9 || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let fraction = if digits == 0 { 0 } else { fraction.parse::<u64>().ok()? };
    // The parser counts in microseconds.
    u64::try_from(seconds).ok()?.checked_mul(1000)?.checked_add(fraction * 10u64.pow(9 - digits as u32))
}

/// Fills the buffer; false if the file ends before that.
fn fill(file: &mut BufReader<File>, buffer: &mut [u8]) -> std::io::Result<bool> {
    match file.read_exact(buffer) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == IoKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

impl Files {
    /// Begins with the oldest file.
    pub(super) fn open(path: PathBuf, form: LogForm) -> Result<Files> {
        let mut files = Files { path, form, current: None };
        files.current = files.oldest()?;
        Ok(files)
    }

    /// Begins at the position of a record in one of its files.
    pub(super) fn open_at(path: PathBuf, form: LogForm, file: File, position: u64) -> Result<Files> {
        let mut current = Current::of(file, &path)?;
        current.move_to(position, &path)?;
        Ok(Files { path, form, current: Some(current) })
    }

    fn name(&self, number: u32) -> PathBuf {
        numbered(&self.path, number)
    }

    fn oldest(&self) -> Result<Option<Current>> {
        self.choose(|all| all.last())
    }

    /// Opens one of the files, as they are at one moment: the newest first, by their inodes.
    fn choose(&self, which: impl Fn(&[(u32, u64)]) -> Option<&(u32, u64)>) -> Result<Option<Current>> {
        for _ in 0..1000 {
            let all = self.all();
            let Some((number, inode)) = which(&all) else { return Ok(None) };
            if let Some(current) = Current::open(&self.name(*number))?
                && current.inode == *inode
            {
                return Ok(Some(current));
            }
        }
        let why = format!("\"{}\" is put aside faster than it can be read", self.path.display());
        Err(Error::new(ErrorKind::Io, why).with_object(self.path.to_string_lossy()))
    }

    /// The files with their numbers, the newest first. While they are being put aside, which takes one after the other, one number is missing; what is seen twice was so
    /// in between.
    fn all(&self) -> Vec<(u32, u64)> {
        let look = || {
            let mut all = Vec::new();
            let mut missing = 0;
            for number in 0.. {
                match std::fs::metadata(self.name(number)) {
                    Ok(found) => {
                        all.push((number, found.ino()));
                        missing = 0;
                    }
                    Err(_) if missing == 1 => break,
                    Err(_) => missing += 1,
                }
            }
            all
        };
        let mut seen = look();
        for _ in 0..1000 {
            let again = look();
            if again == seen {
                break;
            }
            seen = again;
        }
        seen
    }

    /// The next record; None if there is none yet.
    pub(super) fn next(&mut self) -> Result<Option<LogRecord>> {
        loop {
            let Some(current) = &mut self.current else {
                self.current = Current::open(&self.path)?;
                if self.current.is_none() {
                    return Ok(None);
                }
                continue;
            };
            if let Some(record) = current.record(self.form, &self.path)? {
                return Ok(Some(record));
            }
            let inode = current.inode;
            let Some(newer) = self.newer(inode)? else { return Ok(None) };
            // What was written between the last look and the moment when it was put aside.
            if let Some(current) = &mut self.current
                && let Some(record) = current.record(self.form, &self.path)?
            {
                return Ok(Some(record));
            }
            self.current = Some(newer);
        }
    }

    /// The file after the one with this number of an inode, if that is written to no more.
    fn newer(&self, inode: u64) -> Result<Option<Current>> {
        if std::fs::metadata(&self.path).is_ok_and(|found| found.ino() == inode) {
            return Ok(None);
        }
        self.choose(|all| match all.iter().position(|(_, other)| *other == inode) {
            // The newer one is not there yet.
            Some(0) => None,
            Some(n) => all.get(n - 1),
            // It was taken away.
            None => all.last(),
        })
    }
}

/// The file of a log that has this number of an inode, with the position in it; the beginning of the newest one if it was taken away. `open` is what was open before the
/// number was known.
pub(crate) fn find(
    path: &Path,
    open: Option<File>,
    inode: u64,
    position: u64,
) -> Result<Option<(File, u64)>> {
    if let Some(file) = open
        && file.metadata().call("fstat", path)?.ino() == inode
    {
        return Ok(Some((file, position)));
    }
    let files = Files { path: path.to_path_buf(), form: LogForm::Frames, current: None };
    let found = files.choose(|all| all.iter().find(|(_, other)| *other == inode))?;
    match found {
        Some(current) => Ok(Some((current.file.into_inner(), position))),
        None => Ok(files.choose(|all| all.first())?.map(|current| (current.file.into_inner(), 0))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn write(path: &Path, texts: &[&str]) {
        let mut file = File::options().append(true).create(true).open(path).unwrap();
        for text in texts {
            let header = LogFrame { time: 5, length: text.len() as u32, stream: 1 }.encode();
            file.write_all(&[&header[..], text.as_bytes()].concat()).unwrap();
        }
    }

    fn rest(files: &mut Files) -> Vec<String> {
        let mut texts = Vec::new();
        while let Some(record) = files.next().unwrap() {
            texts.push(String::from_utf8(record.data).unwrap());
        }
        texts
    }

    #[test]
    fn files_that_are_put_aside_are_read_on() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("log");
        let put_aside = |last: u32| {
            for number in (0..last).rev() {
                let name =
                    |n: u32| if n == 0 { path.clone() } else { scratch.path().join(format!("log.{n}")) };
                let _ = std::fs::rename(name(number), name(number + 1));
            }
        };
        let mut files = Files::open(path.clone(), LogForm::Frames).unwrap();
        assert!(rest(&mut files).is_empty());
        write(&path, &["a", "b"]);
        assert_eq!(rest(&mut files), ["a", "b"]);
        write(&path, &["c"]);
        put_aside(2);
        write(&path, &["d"]);
        put_aside(2);
        write(&path, &["e"]);
        assert_eq!(rest(&mut files), ["c", "d", "e"]);
        assert_eq!(rest(&mut Files::open(path.clone(), LogForm::Frames).unwrap()), ["a", "b", "c", "d", "e"]);
        let file = File::open(&path).unwrap();
        let (inode, length) = (file.metadata().unwrap().ino(), file.metadata().unwrap().len());
        let mut later = Files::open_at(path.clone(), LogForm::Frames, file, length).unwrap();
        // Found by its inode where it was put aside before it was open.
        let before = File::open(scratch.path().join("log.1")).unwrap();
        put_aside(2);
        write(&path, &["z"]);
        let (found, at) = find(&path, Some(before), inode, length).unwrap().unwrap();
        assert_eq!((found.metadata().unwrap().ino(), at), (inode, length));
        assert_eq!(rest(&mut later), ["z"]);
        assert_eq!(find(&path, None, 0, length).unwrap().unwrap().1, 0);
        for text in ["f", "g", "h", "i"] {
            put_aside(2);
            write(&path, &[text]);
        }
        // What it stood in is gone, and with it what came next.
        assert_eq!(rest(&mut later), ["g", "h", "i"]);
    }

    #[test]
    fn a_number_that_is_missing_while_files_are_put_aside_hides_nothing() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("log");
        let name = |number| numbered(&path, number);
        for (number, text) in [(4, "a"), (3, "b"), (1, "d"), (0, "e")] {
            write(&name(number), &[text]);
        }
        let open = || Files::open(path.clone(), LogForm::Frames).unwrap();
        assert_eq!(rest(&mut open()), ["a", "b", "d", "e"]);
        let mut files = open();
        assert_eq!(files.next().unwrap().unwrap().data, b"a");
        // The newest one is put aside, and there is none in its place yet.
        std::fs::rename(name(1), name(2)).unwrap();
        std::fs::rename(name(0), name(1)).unwrap();
        assert_eq!(rest(&mut files), ["b", "d", "e"]);
        write(&path, &["f"]);
        assert_eq!(rest(&mut files), ["f"]);
    }

    #[test]
    fn what_a_killed_writer_left_is_passed_over() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("log");
        let record = |text: &[u8]| {
            let header = LogFrame { time: 5, length: text.len() as u32, stream: 1 }.encode();
            [&header[..], text].concat()
        };
        let read = |content: &[u8]| {
            std::fs::write(&path, content).unwrap();
            rest(&mut Files::open(path.clone(), LogForm::Frames).unwrap())
        };
        let (torn, big) = (record(&[b'x'; 3000]), record(&[b'y'; LogFrame::MAX_DATA]));
        for length in 1..40 {
            let content = [&record(b"a"), &torn[..length], &record(b"b"), &big, &record(b"c")[..]].concat();
            let texts = read(&content);
            assert_eq!(texts[0], "a");
            if length >= LogFrame::SIZE {
                assert_eq!(texts[1], "x".repeat(length - LogFrame::SIZE));
            }
            assert_eq!(texts[texts.len() - 3], "b", "{length}");
            assert_eq!(texts[texts.len() - 1], "c", "{length}");
        }
        let many = [&torn[..100], &record(b"a"), &torn[..2000], &record(b"b"), &big, &torn[..7]].concat();
        assert_eq!(read(&many)[..4], ["x".repeat(84), "a".into(), "x".repeat(1984), "b".into()]);
        // A log that a program has printed is its output, and no more.
        let inner = [record(b"in"), record(b"side")].concat();
        assert_eq!(read(&[record(&inner), record(&inner)].concat()).len(), 2);
    }

    #[test]
    fn the_form_of_docker() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("json.log");
        let text = concat!(
            "{\"log\":\"one\\n\",\"stream\":\"stdout\",\"time\":\"2024-05-06T07:08:09.5Z\"}\n",
            "{\"log\":\"\\u0001\",\"stream\":\"stderr\",\"attrs\":{\"a\":\"b\"},\"time\":\"2024-05-06T07:08:10.000000001Z\"}\n",
            "{\"log\":\"not whole",
        );
        std::fs::write(&path, text).unwrap();
        let mut files = Files::open(path.clone(), LogForm::Json).unwrap();
        let first = files.next().unwrap().unwrap();
        assert_eq!((first.data.as_slice(), first.source), (&b"one\n"[..], LogSource::Stdout));
        let nanos = first.time.duration_since(UNIX_EPOCH).unwrap().as_nanos();
        assert_eq!(nanos, 1_714_979_289_500_000_000);
        let second = files.next().unwrap().unwrap();
        assert_eq!((second.data.as_slice(), second.source), (&b"\x01"[..], LogSource::Stderr));
        assert!(files.next().unwrap().is_none());
        let torn = "{\"log\":\"t{\"log\":\"{\\\"log\\\":\\\"\",\"stream\":\"stdout\",\"time\":\"2024-05-06T07:08:09Z\"}\n";
        std::fs::write(&path, torn).unwrap();
        let record = Files::open(path.clone(), LogForm::Json).unwrap().next().unwrap().unwrap();
        assert_eq!(record.data, b"{\"log\":\"");
        std::fs::write(&path, [text, "\",\"stream\":\"stdin\",\"time\":\"x\"}\n"].concat()).unwrap();
        assert!(files.next().is_err());
    }
}
