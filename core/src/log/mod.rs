//! Reading the log that a container's monitor writes: records of [`LogFrame`] headers and data, in order of arrival.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{ErrorKind as IoKind, Read, Seek, SeekFrom};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::fs::inotify;

use coble_protocol::LogFrame;

use crate::cancel::CancelToken;
use crate::container::{Container, LogOptions, LogRecord, LogSource, State};
use crate::error::{Call, Error, ErrorKind, Result};
use crate::process::{Deadline, readable};

/// The name of the log in a container's directory.
pub(crate) const FILE: &str = "log";

/// A container's output, read piece by piece. Pieces are as the program wrote them, at most 64 KiB each; they are not lines.
#[derive(Debug)]
pub struct LogStream {
    path: PathBuf,
    file: Option<File>,
    options: LogOptions,
    container: Container,
    /// What `tail` chose, before the rest of the file.
    backlog: VecDeque<LogRecord>,
    watch: Option<OwnedFd>,
    /// Nothing will be written any more.
    complete: bool,
}

impl LogStream {
    pub(crate) fn open(container: Container, directory: &Path, options: LogOptions) -> Result<LogStream> {
        let path = directory.join(FILE);
        let file = match File::open(&path) {
            Ok(file) => Some(file),
            Err(error) if error.kind() == IoKind::NotFound => None,
            Err(error) => return Err(Error::io("open", &path, &error)),
        };
        let mut stream = LogStream {
            path,
            file,
            options,
            container,
            backlog: VecDeque::new(),
            watch: None,
            complete: false,
        };
        if stream.options.follow {
            let watch = inotify::init(inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK)
                .call("inotify_init1", directory)?;
            let events =
                inotify::WatchFlags::MODIFY | inotify::WatchFlags::CREATE | inotify::WatchFlags::DELETE_SELF;
            inotify::add_watch(&watch, directory, events).call("inotify_add_watch", directory)?;
            stream.watch = Some(watch);
        }
        if let Some(lines) = stream.options.tail {
            stream.keep_tail(lines)?;
        }
        Ok(stream)
    }

    /// The next piece; None at the end: of the file, or, when following, of the container. Blocks only when following.
    pub fn next(&mut self, cancel: &CancelToken) -> Result<Option<LogRecord>> {
        loop {
            if let Some(record) = self.backlog.pop_front() {
                return Ok(Some(record));
            }
            cancel.check()?;
            match self.read_record()? {
                Some(record) if self.is_late(&record) => return Ok(None),
                Some(record) if self.wanted(&record) => return Ok(Some(record)),
                Some(_) => {}
                None if self.complete => return Ok(None),
                // Asked after the file seemed at its end, so one more look: what was written until the container ended is there now.
                None if !self.options.follow || !self.is_running()? => self.complete = true,
                None => self.wait(cancel)?,
            }
        }
    }

    /// The next piece that is there already, without waiting for one. None says nothing about the end.
    pub fn try_next(&mut self) -> Result<Option<LogRecord>> {
        loop {
            if let Some(record) = self.backlog.pop_front() {
                return Ok(Some(record));
            }
            match self.read_record()? {
                // All that follows is later still, so `next` need not wait for it.
                Some(record) if self.is_late(&record) => {
                    self.complete = true;
                    return Ok(None);
                }
                Some(record) if self.wanted(&record) => return Ok(Some(record)),
                Some(_) => {}
                None => return Ok(None),
            }
        }
    }

    fn is_running(&self) -> Result<bool> {
        match self.container.state() {
            Ok(state) => Ok(state == State::Running),
            Err(error) if error.kind() == ErrorKind::ContainerNotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Waits for a change in the directory, and looks again now and then, since the end of a container changes nothing there.
    fn wait(&mut self, cancel: &CancelToken) -> Result<()> {
        if self.file.is_none() {
            self.file = File::open(&self.path).ok();
        }
        let Some(watch) = &self.watch else { return Ok(()) };
        match readable(watch, Deadline::after(Some(Duration::from_millis(200))), cancel, "the log") {
            Ok(()) => {
                let mut events = [std::mem::MaybeUninit::uninit(); 4096];
                let mut reader = inotify::Reader::new(watch, &mut events);
                while reader.next().is_ok() {}
                Ok(())
            }
            Err(error) if error.kind() == ErrorKind::Timeout => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn wanted(&self, record: &LogRecord) -> bool {
        let source = match record.source {
            LogSource::Stdout => self.options.stdout,
            LogSource::Stderr => self.options.stderr,
        };
        source && self.options.since.is_none_or(|since| record.time >= since)
    }

    fn is_late(&self, record: &LogRecord) -> bool {
        self.options.until.is_some_and(|until| record.time >= until)
    }

    /// Reads one whole record; None if the file ends before it does, and then the position stays.
    fn read_record(&mut self) -> Result<Option<LogRecord>> {
        let Some(file) = &mut self.file else { return Ok(None) };
        let start = file.stream_position().call("lseek", &self.path)?;
        let mut header = [0; LogFrame::SIZE];
        let mut complete = fill(file, &mut header).call("read", &self.path)?;
        let mut data = Vec::new();
        let frame = if complete {
            let frame = LogFrame::decode(&header).ok_or_else(|| {
                Error::new(ErrorKind::Io, format!("\"{}\" is damaged at byte {start}", self.path.display()))
                    .with_object(self.path.to_string_lossy())
            })?;
            data.resize(frame.length as usize, 0);
            complete = fill(file, &mut data).call("read", &self.path)?;
            Some(frame)
        } else {
            None
        };
        match frame {
            Some(frame) if complete => Ok(Some(LogRecord {
                time: UNIX_EPOCH + Duration::from_nanos(frame.time),
                source: if frame.stream == 1 { LogSource::Stdout } else { LogSource::Stderr },
                data,
            })),
            _ => {
                file.seek(SeekFrom::Start(start)).call("lseek", &self.path)?;
                Ok(None)
            }
        }
    }

    /// Reads to the end and keeps the last lines of the wanted records.
    fn keep_tail(&mut self, lines: u64) -> Result<()> {
        let mut kept: VecDeque<(LogRecord, u64)> = VecDeque::new();
        let mut total = 0;
        while let Some(record) = self.read_record()? {
            if self.is_late(&record) {
                break;
            }
            if !self.wanted(&record) {
                continue;
            }
            let count = record.data.iter().filter(|byte| **byte == b'\n').count() as u64;
            total += count;
            kept.push_back((record, count));
            // One line more than asked for stays, since the last one may be without its end.
            while kept.front().is_some_and(|(_, first)| total - first > lines) {
                if let Some((_, first)) = kept.pop_front() {
                    total -= first;
                }
            }
        }
        let unfinished = kept.back().is_some_and(|(record, _)| record.data.last() != Some(&b'\n'));
        let mut surplus = (total + u64::from(unfinished)).saturating_sub(lines);
        for (mut record, _) in kept {
            let mut from = 0;
            while surplus > 0 {
                match record.data.get(from..).and_then(|rest| rest.iter().position(|byte| *byte == b'\n')) {
                    Some(end) => {
                        from += end + 1;
                        surplus -= 1;
                    }
                    None => {
                        from = record.data.len();
                        break;
                    }
                }
            }
            record.data.drain(..from);
            if !record.data.is_empty() && lines > 0 {
                self.backlog.push_back(record);
            }
        }
        Ok(())
    }
}

/// Fills the buffer; false if the file ends before that.
fn fill(file: &mut File, buffer: &mut [u8]) -> std::io::Result<bool> {
    match file.read_exact(buffer) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == IoKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

/// A time as docker writes it: RFC 3339 in UTC with nanoseconds.
pub(crate) fn rfc3339(time: SystemTime) -> String {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let (days, seconds) = ((since.as_secs() / 86_400) as i64, since.as_secs() % 86_400);
    // Civil date from the day number: eras of 400 years that begin on 1 March.
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_index = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_index + 2) / 5 + 1;
    let month = if month_index < 10 { month_index + 3 } else { month_index - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    format!(
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{:09}Z",
        seconds / 3600,
        seconds / 60 % 60,
        seconds % 60,
        since.subsec_nanos()
    )
}

/// A time of a database row or message: nanoseconds since the epoch.
pub(crate) fn from_nanos(nanos: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_nanos(nanos)
}

/// Now, in nanoseconds since the epoch.
pub(crate) fn now_nanos() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_nanos().min(u128::from(u64::MAX)) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_rfc_3339() {
        assert_eq!(rfc3339(UNIX_EPOCH), "1970-01-01T00:00:00.000000000Z");
        assert_eq!(rfc3339(UNIX_EPOCH + Duration::new(951_782_400, 5)), "2000-02-29T00:00:00.000000005Z");
        assert_eq!(
            rfc3339(UNIX_EPOCH + Duration::from_secs(1_798_761_599)),
            "2026-12-31T23:59:59.000000000Z"
        );
    }
}
