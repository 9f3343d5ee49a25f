//! The container's log: what the program writes to its output streams, in the order of arrival. A log that cannot be written loses output; it never
//! holds up the program.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use coble_protocol::{Failure, LogFrame, Step};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, SpliceFlags, fcntl_getpipe_size, fcntl_setpipe_size};

use super::sink::Sink;
use crate::failure::{During, explained};

/// More than a terminal keeps.
const TERMINAL: usize = 1 << 20;
/// How many pieces are taken at once.
const PIECES: usize = 16;
/// The length of pipes that somebody waits for.
const WIDE: usize = 1 << 20;

/// The program's output streams and the file that they go to.
pub(crate) struct Log {
    /// None: nobody wants it.
    sink: Option<Sink>,
    streams: [Option<OwnedFd>; 2],
    /// Who reads them as they come, beside the log.
    readers: [Option<Reader>; 2],
    /// The other end of a terminal: while it is open, the program may close the terminal and open it again.
    slave: Option<OwnedFd>,
    /// Made when the first output comes.
    buffer: Vec<u8>,
    lost: u64,
    errno: Option<Errno>,
}

impl Log {
    /// Of two pipes, whose ends for the program come back too.
    pub(crate) fn of_pipes(
        sink: Option<Sink>,
        readers: [Option<OwnedFd>; 2],
    ) -> Result<(Log, [OwnedFd; 2]), Failure> {
        let (streams, theirs) = pipes()?;
        let readers = readers.map(|pipe| pipe.map(|pipe| Reader { pipe, full: false, rest: Vec::new() }));
        let log = Log { readers, ..Log::new(sink, streams, None) };
        log.widen();
        Ok((log, theirs))
    }

    /// Opens the pipes anew, for the next run of the program: its ends.
    pub(crate) fn renew(&mut self) -> Result<[OwnedFd; 2], Failure> {
        let (streams, theirs) = pipes()?;
        self.streams = streams;
        self.widen();
        Ok(theirs)
    }

    /// The terminal of the next run of the program.
    pub(crate) fn renew_terminal(&mut self, (master, slave): (OwnedFd, OwnedFd)) -> Result<(), Failure> {
        nonblocking(&master)?;
        self.streams = [Some(master), None];
        self.slave = Some(slave);
        Ok(())
    }

    /// Of a terminal.
    pub(crate) fn of_terminal(
        sink: Option<Sink>,
        (master, slave): (OwnedFd, OwnedFd),
    ) -> Result<Log, Failure> {
        nonblocking(&master)?;
        Ok(Log::new(sink, [Some(master), None], Some(slave)))
    }

    fn new(sink: Option<Sink>, streams: [Option<OwnedFd>; 2], slave: Option<OwnedFd>) -> Log {
        Log { sink, streams, readers: [None, None], slave, buffer: Vec::new(), lost: 0, errno: None }
    }

    /// The master of the program's terminal, if it has one.
    pub(crate) fn terminal(&self) -> Option<&OwnedFd> {
        self.streams[0].as_ref().filter(|_| self.slave.is_some())
    }

    /// The streams that are still open, but those whose reader is to be waited for.
    pub(crate) fn streams(&self) -> impl Iterator<Item = (usize, BorrowedFd<'_>)> {
        let open = self.streams.iter().zip(&self.readers).enumerate();
        open.filter(|(_, (_, reader))| !reader.as_ref().is_some_and(Reader::is_behind))
            .filter_map(|(n, (stream, _))| Some((n, stream.as_ref()?.as_fd())))
    }

    /// The readers that are to be waited for.
    pub(crate) fn behind(&self) -> impl Iterator<Item = (usize, BorrowedFd<'_>)> {
        let readers = self.readers.iter().enumerate();
        readers
            .filter_map(|(n, reader)| Some((n, reader.as_ref().filter(|one| one.is_behind())?.pipe.as_fd())))
    }

    /// Pipes that hold more, where somebody waits for what comes out of them. Who may have no more of them has the usual ones.
    fn widen(&self) {
        for (stream, reader) in self.streams.iter().zip(&self.readers) {
            if let (Some(stream), Some(reader)) = (stream, reader) {
                for pipe in [stream, &reader.pipe] {
                    let _ = fcntl_setpipe_size(pipe, WIDE);
                }
            }
        }
    }

    /// A reader can take more.
    pub(crate) fn catch_up(&mut self, number: usize) {
        let gone = |reader: &mut Reader| {
            reader.full = false;
            reader.give(&[]).is_err()
        };
        if self.readers.get_mut(number).and_then(Option::as_mut).is_some_and(gone) {
            self.forget_reader(number);
        }
    }

    /// Nobody reads a stream any more: the program hears of it, as of any pipe.
    fn forget_reader(&mut self, number: usize) {
        self.empty(number, false);
        if let (Some(reader), Some(stream)) = (self.readers.get_mut(number), self.streams.get_mut(number)) {
            (*reader, *stream) = (None, None);
        }
    }

    /// Gives readers what they have not got yet, for as long as they are there.
    pub(crate) fn deliver(&mut self) {
        for reader in self.readers.iter_mut().flatten() {
            while !reader.rest.is_empty() {
                let mut fds = [PollFd::new(&reader.pipe, PollFlags::OUT)];
                if poll(&mut fds, None).is_err_and(|errno| errno != Errno::INTR) || reader.give(&[]).is_err()
                {
                    break;
                }
            }
        }
    }

    /// Takes one piece of a stream: its length. None when there is none for now, or no stream any more.
    pub(crate) fn take(&mut self, number: usize) -> Option<usize> {
        let piece = self.piece();
        let most = match (self.streams.get(number)?, self.readers.get_mut(number)?) {
            (Some(stream), Some(reader)) => match reader.take(stream, piece) {
                Ok(most) => most,
                Err(Errno::AGAIN) => return None,
                Err(_) => {
                    self.forget_reader(number);
                    return None;
                }
            },
            _ => piece,
        };
        self.read(number, most, false)
    }

    /// Takes some pieces of a stream, as long as they are large ones: nothing else is looked at in between.
    pub(crate) fn take_some(&mut self, number: usize) {
        for _ in 0..PIECES {
            if self.take(number).is_none_or(|taken| taken < self.piece()) {
                return;
            }
        }
    }

    /// The most that is read at once.
    fn piece(&self) -> usize {
        self.sink.as_ref().map_or(LogFrame::MAX_DATA, Sink::piece)
    }

    /// Reads at most so much of a stream. `given`: its reader gets it from here.
    fn read(&mut self, number: usize, most: usize, given: bool) -> Option<usize> {
        let piece = self.piece();
        let slot = self.streams.get_mut(number)?;
        let stream = slot.as_ref()?;
        if self.buffer.is_empty() {
            self.buffer = vec![0; piece];
        }
        let buffer = self.buffer.get_mut(..most)?;
        match rustix::io::retry_on_intr(|| rustix::io::read(stream, &mut *buffer)) {
            Ok(0) => {
                *slot = None;
                None
            }
            Ok(length) => {
                self.append(number, length);
                if let (true, Some(Some(reader))) = (given, self.readers.get_mut(number)) {
                    let _ = reader.give(self.buffer.get(..length).unwrap_or_default());
                }
                Some(length)
            }
            Err(Errno::AGAIN) => None,
            Err(_) => {
                *slot = None;
                None
            }
        }
    }

    /// Takes what is left in the pipes after all writers are dead. A descriptor that found its way out of the container may keep a pipe open; it is
    /// not waited for, and what is written to it meanwhile is not read for ever.
    pub(crate) fn drain(&mut self) {
        for number in 0..self.streams.len() {
            self.empty(number, true);
        }
        if let Some(Err(errno)) = self.sink.as_mut().map(Sink::finish) {
            self.errno = Some(errno);
        }
    }

    /// Takes what is in a stream, and no more than one that is full can have. `given`: its reader gets it.
    fn empty(&mut self, number: usize, given: bool) {
        let stream = self.streams.get(number).and_then(Option::as_ref);
        let mut left = stream.and_then(|pipe| fcntl_getpipe_size(pipe).ok()).unwrap_or(TERMINAL);
        while left > 0
            && let Some(taken) = self.read(number, self.piece(), given)
        {
            left = left.saturating_sub(taken);
        }
    }

    fn append(&mut self, number: usize, length: usize) {
        let Some(sink) = &mut self.sink else { return };
        if let Err(errno) = sink.append(number, self.buffer.get(..length).unwrap_or_default()) {
            self.lost += length as u64;
            self.errno = Some(errno);
        }
    }

    /// The number of the file's inode and its length up to the last whole record, if there is one.
    pub(crate) fn place(&self) -> Option<(u64, u64)> {
        self.sink.as_ref().and_then(|sink| sink.place().ok())
    }

    /// What was lost.
    pub(crate) fn loss(&self) -> Option<Failure> {
        let errno = self.errno?;
        Some(explained(Step::Log, errno, format!("{} bytes", self.lost), "output of the program was lost"))
    }
}

/// Somebody who reads a stream as it comes.
struct Reader {
    /// It does not wait.
    pipe: OwnedFd,
    /// Whether nothing more went into it.
    full: bool,
    /// What it has not got yet of the end.
    rest: Vec<u8>,
}

impl Reader {
    fn is_behind(&self) -> bool {
        self.full || !self.rest.is_empty()
    }

    /// Lets it have what comes next in a stream, at most so much, without taking it from there: how much that was. Fails with `AGAIN` if there is nothing, or no
    /// room for it.
    fn take(&mut self, stream: &OwnedFd, most: usize) -> Result<usize, Errno> {
        let taken = loop {
            match rustix::pipe::tee(stream, &self.pipe, most, SpliceFlags::NONBLOCK) {
                Err(Errno::INTR) => {}
                taken => break taken,
            }
        };
        if taken == Err(Errno::AGAIN) {
            self.full = rustix::io::ioctl_fionread(stream)? > 0;
        }
        // At the end of the stream there is nothing to read, which is its end.
        taken.map(|taken| if taken == 0 { most } else { taken })
    }

    /// Gives it what is left and more, and keeps what does not go. Fails when nobody reads any more.
    fn give(&mut self, data: &[u8]) -> Result<(), Errno> {
        let mut whole = std::mem::take(&mut self.rest);
        let mut left = match whole.is_empty() {
            true => data,
            false => {
                whole.extend_from_slice(data);
                &whole[..]
            }
        };
        while !left.is_empty() {
            match rustix::io::write(&self.pipe, left) {
                Ok(length) => left = left.get(length..).unwrap_or_default(),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => {
                    self.rest = left.to_vec();
                    return Ok(());
                }
                Err(errno) => return Err(errno),
            }
        }
        Ok(())
    }
}

/// A master that is never waited for.
fn nonblocking(master: &OwnedFd) -> Result<(), Failure> {
    let flags = rustix::fs::fcntl_getfl(master).during(Step::Log, "terminal")?;
    rustix::fs::fcntl_setfl(master, flags | OFlags::NONBLOCK).during(Step::Log, "terminal")
}

/// A pipe for each output stream: our ends, and those of the program.
fn pipes() -> Result<([Option<OwnedFd>; 2], [OwnedFd; 2]), Failure> {
    let step = Step::Log;
    let pipe = || {
        let (read, write) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC).during(step, "pipe")?;
        // Only ours: the program must be able to wait.
        rustix::fs::fcntl_setfl(&read, OFlags::NONBLOCK).during(step, "pipe")?;
        Ok::<_, Failure>((read, write))
    };
    let ((out, stdout), (err, stderr)) = (pipe()?, pipe()?);
    Ok(([Some(out), Some(err)], [stdout, stderr]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_for_ever_is_not_read_for_ever() {
        let (mut log, [stdout, _stderr]) = Log::of_pipes(None, [None, None]).unwrap();
        let size = rustix::pipe::fcntl_setpipe_size(&stdout, 1 << 18).unwrap();
        assert_eq!(rustix::io::write(&stdout, &vec![0; size]).unwrap(), size);
        // All that was there is taken, though the other end is still open.
        log.drain();
        assert_eq!(rustix::io::ioctl_fionread(log.streams[0].as_ref().unwrap()).unwrap(), 0);
        // As a pipe that is filled as fast as it is read.
        let endless = rustix::fs::open("/dev/zero", OFlags::RDONLY, rustix::fs::Mode::empty()).unwrap();
        log.streams[0] = Some(endless);
        log.drain();
    }
}
