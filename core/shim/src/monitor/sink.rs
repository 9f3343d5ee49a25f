//! The log file: appended to, one record after the other, and put aside when it is full.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use coble_protocol::{Failure, Fds, LogForm, LogFrame, LogSink, Rotation, Step};
use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::{Errno, IoSlice};

use super::journald::Journald;
use super::json;
use crate::container::wall_clock;
use crate::failure::During;

/// Bytes read at once where a record can be several times as long as what it is of.
const SMALL: usize = 16 * 1024;
/// How long a record is without what it says of its container, when it is of an empty line.
const RECORD: usize = 96;
/// Bytes of records that are written at once.
const WRITTEN: usize = 64 * 1024;
const STREAMS: [&str; 2] = ["stdout", "stderr"];

/// An open log file.
pub(crate) struct Sink {
    file: OwnedFd,
    /// Its length up to the last whole record.
    length: u64,
    form: LogForm,
    /// What each record has besides, as a JSON object.
    attributes: Option<String>,
    rotation: Option<(OwnedFd, Rotation)>,
    journal: Option<Journald>,
    /// Beginnings of characters.
    carry: [Vec<u8>; 2],
}

impl Sink {
    /// Takes what the engine has opened.
    pub(crate) fn take(sink: &LogSink, fds: &mut Fds) -> Result<Sink, Failure> {
        let mut one = |index| fds.take(index).during(Step::Protocol, "descriptors");
        let file = one(sink.file)?;
        let length = rustix::fs::fstat(&file).during(Step::Log, "log")?.st_size as u64;
        let rotation = match &sink.rotation {
            Some(rotation) => Some((one(rotation.directory)?, rotation.clone())),
            None => None,
        };
        let journal = match &sink.journald {
            Some(journal) => Some(Journald::new(one(journal.socket)?, &journal.fields)),
            None => None,
        };
        Ok(Sink {
            file,
            length,
            form: sink.form,
            attributes: sink.attributes.clone(),
            rotation,
            journal,
            carry: Default::default(),
        })
    }

    /// The number of its inode, and its length up to the last whole record.
    pub(crate) fn place(&self) -> Result<(u64, u64), Errno> {
        Ok((rustix::fs::fstat(&self.file)?.st_ino, self.length))
    }

    /// How much to read at once.
    pub(crate) fn piece(&self) -> usize {
        match self.form {
            LogForm::Frames => LogFrame::MAX_DATA,
            // The less the more is written of each byte, so that nobody has to wait for it for long.
            LogForm::Json => {
                let more = self.attributes.as_ref().map_or(0, String::len);
                (SMALL / (1 + more / RECORD)).max(256)
            }
        }
    }

    /// Appends a piece of a stream: 0 is standard output.
    pub(crate) fn append(&mut self, number: usize, data: &[u8]) -> Result<(), Errno> {
        if let Some(journal) = &mut self.journal {
            journal.take(number, data);
        }
        let time = wall_clock();
        match self.form {
            LogForm::Frames => {
                let header = LogFrame { time, length: data.len() as u32, stream: number as u8 + 1 }.encode();
                self.write(&[IoSlice::new(&header), IoSlice::new(data)])
            }
            LogForm::Json => self.lines(number, Some((time, data))),
        }
    }

    /// Appends what waited for more.
    pub(crate) fn finish(&mut self) -> Result<(), Errno> {
        if let Some(journal) = &mut self.journal {
            journal.finish();
        }
        (0..STREAMS.len()).try_for_each(|number| self.lines(number, None))
    }

    /// Appends the lines of a piece of a stream, or of its end.
    fn lines(&mut self, number: usize, piece: Option<(u64, &[u8])>) -> Result<(), Errno> {
        let (Some(carry), Some(stream)) = (self.carry.get_mut(number), STREAMS.get(number)) else {
            return Ok(());
        };
        let mut carry = std::mem::take(carry);
        let attributes = self.attributes.take();
        let facts = json::Facts { stream, attributes: attributes.as_deref() };
        // A file that is put aside is at most a line longer than it may be.
        let most = self.rotation.as_ref().map_or(u64::MAX, |(_, rotation)| rotation.max_size);
        let enough = WRITTEN.min(usize::try_from(most).unwrap_or(WRITTEN));
        let mut lines = json::Lines::new(enough, |text: &[u8]| self.write(&[IoSlice::new(text)]));
        let added = match piece {
            Some((time, data)) => json::encode(&mut lines, &mut carry, facts, time, data),
            None => json::finish(&mut lines, &mut carry, facts, wall_clock()),
        };
        let added = added.and_then(|()| lines.end());
        self.attributes = attributes;
        if let Some(kept) = self.carry.get_mut(number) {
            *kept = carry;
        }
        added
    }

    /// A record is whole or not there at all.
    fn write(&mut self, parts: &[IoSlice<'_>]) -> Result<(), Errno> {
        let total: usize = parts.iter().map(|part| part.len()).sum();
        if total == 0 {
            return Ok(());
        }
        if let Some((directory, rotation)) = &self.rotation
            && self.length > 0
            && self.length.saturating_add(total as u64) > rotation.max_size
            // Where that cannot be done, the log is too long, and whole.
            && let Ok(file) = rotate(directory.as_fd(), rotation)
        {
            self.file = file;
            self.length = 0;
        }
        let written = rustix::io::retry_on_intr(|| rustix::io::writev(&self.file, parts));
        match written {
            Ok(written) if written == total => {
                self.length += total as u64;
                Ok(())
            }
            result => {
                let _ = rustix::fs::ftruncate(&self.file, self.length);
                Err(result.err().unwrap_or(Errno::NOSPC))
            }
        }
    }
}

/// Puts the full file aside, and the last one away. Who reads one of them has it open. The new one comes first: where there is no room for it, all is as it was.
fn rotate(directory: BorrowedFd<'_>, rotation: &Rotation) -> Result<OwnedFd, Errno> {
    let name = |number: u32| match number {
        0 => rotation.name.clone(),
        number => format!("{}.{number}", rotation.name),
    };
    let fresh = format!("{}.new", rotation.name);
    let flags =
        OFlags::WRONLY | OFlags::APPEND | OFlags::CREATE | OFlags::TRUNC | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = rustix::fs::openat(directory, &fresh, flags, Mode::RUSR | Mode::WUSR)?;
    let put = || {
        for number in (0..rotation.max_files.saturating_sub(1)).rev() {
            match rustix::fs::renameat(directory, name(number), directory, name(number + 1)) {
                Ok(()) | Err(Errno::NOENT) => {}
                Err(errno) => return Err(errno),
            }
        }
        // In the place of the old one, if that is not kept.
        rustix::fs::renameat(directory, &fresh, directory, name(0))
    };
    put().map(|()| file).inspect_err(|_| {
        let _ = rustix::fs::unlinkat(directory, &fresh, AtFlags::empty());
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rotation_without_room_changes_nothing() {
        let place = tempfile::tempdir().unwrap();
        let path = |name: &str| place.path().join(name);
        let directory = std::fs::File::open(place.path()).unwrap();
        for max_files in [1, 3] {
            let index = coble_protocol::FdList::default().push(directory.as_fd());
            let rotation = Rotation { directory: index, name: "log".into(), max_size: 1, max_files };
            std::fs::write(path("log"), "old").unwrap();
            std::fs::write(path("log.1"), "older").unwrap();
            std::fs::create_dir(path("log.new")).unwrap();
            assert!(rotate(directory.as_fd(), &rotation).is_err());
            let read = |name: &str| std::fs::read_to_string(path(name)).unwrap();
            assert_eq!((read("log"), read("log.1")), ("old".into(), "older".into()));
            std::fs::remove_dir(path("log.new")).unwrap();
            // What an administrator has removed is no hindrance.
            std::fs::remove_file(path("log")).unwrap();
            rotate(directory.as_fd(), &rotation).unwrap();
            assert_eq!(read("log"), "");
            assert!(!path("log.new").exists());
        }
    }

    #[test]
    fn a_file_is_put_aside_also_in_the_middle_of_a_piece() {
        let place = tempfile::tempdir().unwrap();
        let directory = std::fs::File::open(place.path()).unwrap();
        let max_size = 100_000;
        let index = coble_protocol::FdList::default().push(directory.as_fd());
        let rotation = Rotation { directory: index, name: "log".into(), max_size, max_files: 2 };
        let mut sink = Sink {
            file: std::fs::File::create(place.path().join("log")).unwrap().into(),
            length: 0,
            form: LogForm::Json,
            attributes: Some(format!("{{\"a\":\"{}\"}}", "x".repeat(4000))),
            rotation: Some((directory.into(), rotation)),
            journal: None,
            carry: Default::default(),
        };
        for _ in 0..2 {
            sink.append(0, &vec![b'\n'; sink.piece()]).unwrap();
            for name in ["log", "log.1"] {
                let text = std::fs::read_to_string(place.path().join(name)).unwrap();
                assert!(text.len() as u64 <= max_size + 5000, "{}", text.len());
                assert!(text.lines().all(|line| line.starts_with("{\"log\"") && line.ends_with("Z\"}")));
            }
        }
    }
}
