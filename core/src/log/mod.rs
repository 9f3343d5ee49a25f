//! Reading the log that a container's monitor writes, record by record in the order of arrival.

pub(crate) mod attributes;
pub(crate) mod driver;
mod files;
mod mend;

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::event::PollFlags;
use rustix::fs::inotify;
use rustix::io::Errno;

use coble_protocol::LogForm;

use crate::cancel::CancelToken;
use crate::container::{Container, LogOptions, LogRecord, LogSource, State};
use crate::error::{Call, Error, ErrorKind, Result};
use crate::process::{Deadline, poll};
use driver::Settings;
use files::Files;
pub(crate) use files::find;

/// A container's output, read piece by piece. Pieces are as the program wrote them, at most 64 KiB each; they are not lines.
#[derive(Debug)]
pub struct LogStream {
    path: PathBuf,
    form: LogForm,
    files: Files,
    options: LogOptions,
    container: Container,
    /// The rest of the record that the tail begins in.
    backlog: Option<LogRecord>,
    /// And the number of the watch for the log.
    watch: Option<(OwnedFd, i32)>,
    /// Something may have happened to the container.
    look: bool,
    /// Nothing will be written any more.
    complete: bool,
}

impl LogStream {
    pub(crate) fn open(
        container: Container,
        directory: &Path,
        settings: &Settings,
        options: LogOptions,
    ) -> Result<LogStream> {
        let mut stream = LogStream::begin(container, directory, settings, options, None)?;
        if let Some(lines) = stream.options.tail {
            stream.keep_tail(lines)?;
        }
        Ok(stream)
    }

    /// What comes after a position in one of its files, which is that of a record; without one, all.
    pub(crate) fn from_position(
        container: Container,
        directory: &Path,
        settings: &Settings,
        options: LogOptions,
        position: Option<(File, u64)>,
    ) -> Result<LogStream> {
        LogStream::begin(container, directory, settings, options, position)
    }

    fn begin(
        container: Container,
        directory: &Path,
        settings: &Settings,
        options: LogOptions,
        position: Option<(File, u64)>,
    ) -> Result<LogStream> {
        let (Some(name), Some(form)) = (settings.file(), settings.form()) else {
            let why = "what the container writes is not kept";
            return Err(Error::new(ErrorKind::Unsupported, why)
                .with_object(container.name())
                .with_hint("its log driver is none"));
        };
        let path = directory.join(name);
        let files = match position {
            Some((file, position)) => Files::open_at(path.clone(), form, file, position)?,
            None => Files::open(path.clone(), form)?,
        };
        let mut stream = LogStream {
            path,
            form,
            files,
            options,
            container,
            backlog: None,
            watch: None,
            look: true,
            complete: false,
        };
        if stream.options.follow {
            let watch = inotify::init(inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK)
                .call("inotify_init1", directory)?;
            let events =
                inotify::WatchFlags::MODIFY | inotify::WatchFlags::CREATE | inotify::WatchFlags::DELETE_SELF;
            let log = inotify::add_watch(&watch, directory, events).call("inotify_add_watch", directory)?;
            // The monitor leaves its last word there, and closes its lock however it ends.
            let run_dir = stream.container.run_path()?;
            let events = inotify::WatchFlags::MOVED_TO | inotify::WatchFlags::CLOSE_WRITE;
            match inotify::add_watch(&watch, &run_dir, events | inotify::WatchFlags::DELETE_SELF) {
                Ok(_) | Err(Errno::NOENT) => {}
                Err(errno) => return Err(errno).call("inotify_add_watch", run_dir),
            }
            stream.watch = Some((watch, log));
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
            match self.files.next()? {
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
            match self.files.next()? {
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

    /// Has something when there may be more, if it follows.
    pub(crate) fn changes(&self) -> Option<BorrowedFd<'_>> {
        self.watch.as_ref().map(|(watch, _)| watch.as_fd())
    }

    /// Takes note of the changes so far: what they were about is to be looked at afterwards.
    pub(crate) fn heard(&mut self) {
        let Some((watch, log)) = &self.watch else { return };
        let mut events = [std::mem::MaybeUninit::uninit(); 4096];
        let mut reader = inotify::Reader::new(watch, &mut events);
        while let Ok(event) = reader.next() {
            self.look |= event.wd() != *log;
        }
    }

    fn is_running(&mut self) -> Result<bool> {
        if !std::mem::take(&mut self.look) {
            return Ok(true);
        }
        match self.container.state() {
            Ok(state) => Ok(matches!(state, State::Running | State::Paused | State::Restarting)),
            Err(error) if error.kind() == ErrorKind::ContainerNotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Waits for a change of the log, or for one that may be the end of the container. Looks now and then all the same.
    fn wait(&mut self, cancel: &CancelToken) -> Result<()> {
        let Some((watch, _)) = &self.watch else { return Ok(()) };
        let mut ready = Vec::new();
        let limit = Deadline::after(Some(Duration::from_secs(1)));
        if poll(&[(watch.as_fd(), PollFlags::IN)], &mut ready, limit, cancel)? == 0 {
            self.look = true;
            return Ok(());
        }
        self.heard();
        Ok(())
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

    /// Skips all but the last lines of the wanted records. Reads what is there twice, and keeps no more than one record of it.
    fn keep_tail(&mut self, lines: u64) -> Result<()> {
        let (mut total, mut finished, mut ends) = (0, true, 0);
        while let Some(record) = self.files.next()? {
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
        self.files = Files::open(self.path.clone(), self.form)?;
        for _ in 0..ends {
            if surplus == 0 && lines > 0 {
                break;
            }
            let Some(mut record) = self.files.next()? else { break };
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
