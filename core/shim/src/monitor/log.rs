//! The container's log: what the program writes to its output streams, in the order of arrival. A log that cannot be written loses output; it never
//! holds up the program.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use coble_protocol::{Failure, LogFrame, Step};
use rustix::fs::OFlags;
use rustix::io::{Errno, IoSlice};
use rustix::pipe::PipeFlags;

use crate::container::wall_clock;
use crate::failure::{During, explained};

/// Both streams and the file that they go to.
pub(crate) struct Log {
    file: OwnedFd,
    /// The length of the file up to the last whole record.
    length: u64,
    streams: [Option<OwnedFd>; 2],
    /// Made when the first output comes.
    buffer: Vec<u8>,
    lost: u64,
    errno: Option<Errno>,
}

impl Log {
    /// Opens the streams; the ends for the program come back too.
    pub(crate) fn new(file: OwnedFd) -> Result<(Log, [OwnedFd; 2]), Failure> {
        let step = Step::Log;
        let length = rustix::fs::fstat(&file).during(step, "log")?.st_size as u64;
        let pipe = || {
            let (read, write) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC).during(step, "pipe")?;
            // Only ours: the program must be able to wait.
            rustix::fs::fcntl_setfl(&read, OFlags::NONBLOCK).during(step, "pipe")?;
            Ok::<_, Failure>((read, write))
        };
        let ((out, stdout), (err, stderr)) = (pipe()?, pipe()?);
        let streams = [Some(out), Some(err)];
        Ok((Log { file, length, streams, buffer: Vec::new(), lost: 0, errno: None }, [stdout, stderr]))
    }

    /// The streams that are still open.
    pub(crate) fn streams(&self) -> impl Iterator<Item = (usize, BorrowedFd<'_>)> {
        self.streams.iter().enumerate().filter_map(|(n, stream)| Some((n, stream.as_ref()?.as_fd())))
    }

    /// Takes one piece of a stream. False when there is none for now, or no stream any more.
    pub(crate) fn take(&mut self, number: usize) -> bool {
        let Some(slot) = self.streams.get_mut(number) else { return false };
        let Some(stream) = slot else { return false };
        if self.buffer.is_empty() {
            self.buffer = vec![0; LogFrame::MAX_DATA];
        }
        match rustix::io::read(&*stream, &mut self.buffer[..]) {
            Ok(0) => {
                *slot = None;
                false
            }
            Ok(length) => {
                self.append(number, length);
                true
            }
            Err(Errno::INTR) => true,
            Err(Errno::AGAIN) => false,
            Err(_) => {
                *slot = None;
                false
            }
        }
    }

    /// Takes what is left in the pipes after all writers are dead. A descriptor that found its way out of the container may keep a pipe open; it is
    /// not waited for.
    pub(crate) fn drain(&mut self) {
        for number in 0..self.streams.len() {
            while self.take(number) {}
        }
    }

    fn append(&mut self, number: usize, length: usize) {
        let frame = LogFrame { time: wall_clock(), length: length as u32, stream: number as u8 + 1 };
        let header = frame.encode();
        let total = header.len() + length;
        let parts = [IoSlice::new(&header), IoSlice::new(&self.buffer[..length])];
        let written = rustix::io::retry_on_intr(|| rustix::io::writev(&self.file, &parts));
        match written {
            Ok(written) if written == total => self.length += total as u64,
            result => {
                self.lost += length as u64;
                self.errno = Some(result.err().unwrap_or(Errno::NOSPC));
                // A record is whole or not there at all.
                let _ = rustix::fs::ftruncate(&self.file, self.length);
            }
        }
    }

    /// What was lost.
    pub(crate) fn loss(&self) -> Option<Failure> {
        let errno = self.errno?;
        Some(explained(Step::Log, errno, format!("{} bytes", self.lost), "output of the program was lost"))
    }
}
