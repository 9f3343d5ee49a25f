//! The monitor's end of the journal: it appends, and lets whoever looks on know.

use std::os::fd::{AsFd, OwnedFd};

use coble_protocol::{Happening, JOURNAL, JOURNAL_BYTES, JOURNAL_OLD, Record};
use rustix::fs::{Mode, OFlags};

use crate::container::wall_clock;

/// What is known of the journal. The file is made with the first record, so that a container to which nothing happens has none.
#[derive(Debug)]
pub(crate) struct Journal {
    number: u64,
    length: u64,
}

impl Journal {
    /// After the record with this number, which an earlier run may have written.
    pub(crate) fn after(number: u64) -> Journal {
        Journal { number, length: 0 }
    }

    /// The number of the last record.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// Appends a record. A journal that cannot be written loses it: the container goes on.
    pub(crate) fn note(&mut self, run_dir: &OwnedFd, what: Happening) {
        self.number += 1;
        let record = Record { number: self.number, time: wall_clock(), what };
        let Ok(bytes) = record.encode() else { return };
        if self.append(run_dir, &bytes).is_ok() {
            nudge(run_dir);
        }
    }

    fn append(&mut self, run_dir: &OwnedFd, bytes: &[u8]) -> rustix::io::Result<()> {
        let head = if self.length == 0 { &Record::head()[..] } else { &[] };
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::APPEND | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let start = if self.length == 0 { OFlags::TRUNC } else { OFlags::empty() };
        let file = rustix::fs::openat(run_dir, JOURNAL, flags | start, Mode::from_raw_mode(0o600))?;
        // In one piece: a reader sees the whole record, or knows by its length that it is not.
        let whole = [head, bytes].concat();
        let written = rustix::io::retry_on_intr(|| rustix::io::write(&file, &whole))?;
        if written < whole.len() {
            let _ = rustix::fs::ftruncate(&file, self.length);
            return Err(rustix::io::Errno::NOSPC);
        }
        self.length += written as u64;
        if self.length >= JOURNAL_BYTES {
            rustix::fs::renameat(run_dir, JOURNAL, run_dir, JOURNAL_OLD)?;
            self.length = 0;
        }
        Ok(())
    }
}

/// Wakes whoever watches the directory that the run directory is in: opening a directory and closing it is something that such a watch tells.
pub(crate) fn nudge(run_dir: &OwnedFd) {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    drop(rustix::fs::openat(run_dir.as_fd(), ".", flags, Mode::empty()));
}
