//! Reading the log that a container's monitor writes: records of [`LogFrame`] headers and data, in order of arrival.

use std::fs::File;
use std::io::{ErrorKind as IoKind, Read, Seek, SeekFrom};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

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
    /// The rest of the record that the tail begins in.
    backlog: Option<LogRecord>,
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
        let mut stream =
            LogStream { path, file, options, container, backlog: None, watch: None, complete: false };
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
            if let Some(record) = self.backlog.take() {
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
            if let Some(record) = self.backlog.take() {
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
            Ok(state) => Ok(matches!(state, State::Running | State::Paused)),
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

    /// Skips all but the last lines of the wanted records. Reads what is there twice, and keeps no more than one record of it.
    fn keep_tail(&mut self, lines: u64) -> Result<()> {
        let (mut total, mut finished, mut ends) = (0, true, 0);
        while let Some(record) = self.read_record()? {
            if self.is_late(&record) {
                break;
            }
            if self.wanted(&record) {
                total += newlines(&record.data);
                finished = record.data.ends_with(b"\n");
            }
            ends += 1;
        }
        // The last line counts though it has no end yet.
        let mut surplus = (total + u64::from(!finished)).saturating_sub(lines);
        if let Some(file) = &mut self.file {
            file.rewind().call("lseek", &self.path)?;
        }
        for _ in 0..ends {
            if surplus == 0 && lines > 0 {
                break;
            }
            let Some(mut record) = self.read_record()? else { break };
            if !self.wanted(&record) {
                continue;
            }
            let count = newlines(&record.data);
            if count < surplus || lines == 0 {
                surplus = surplus.saturating_sub(count);
                continue;
            }
            let mut ends = record.data.iter().enumerate().filter(|(_, byte)| **byte == b'\n');
            let from = ends.nth(surplus.saturating_sub(1) as usize).map_or(0, |(at, _)| at + 1);
            surplus = 0;
            record.data.drain(..from);
            if !record.data.is_empty() {
                self.backlog = Some(record);
            }
        }
        Ok(())
    }
}

fn newlines(data: &[u8]) -> u64 {
    data.iter().filter(|byte| **byte == b'\n').count() as u64
}

/// Fills the buffer; false if the file ends before that.
fn fill(file: &mut File, buffer: &mut [u8]) -> std::io::Result<bool> {
    match file.read_exact(buffer) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == IoKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}
