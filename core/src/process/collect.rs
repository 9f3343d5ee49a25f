//! Feeding a program's input and collecting its output, while waiting for its end. One thread, one `poll`.

use std::os::fd::{AsFd, OwnedFd};

use rustix::event::PollFlags;
use rustix::fs::OFlags;
use rustix::io::Errno;

use super::{Deadline, poll};
use crate::cancel::CancelToken;
use crate::error::{Call, Error, ErrorKind, Result};
use crate::sys;

/// The streams of a program, as far as the engine holds them.
#[derive(Debug, Default)]
pub(crate) struct Collector {
    /// The write end of standard input and what goes there.
    pub(crate) input: Option<(OwnedFd, Vec<u8>)>,
    /// The read end of standard output.
    pub(crate) stdout: Option<OwnedFd>,
    /// The read end of standard error.
    pub(crate) stderr: Option<OwnedFd>,
    /// The most bytes of each stream.
    pub(crate) limit: u64,
    /// The other end of the terminal that standard output is. While it is open, the program may close its terminal and open it again.
    pub(crate) terminal: Option<OwnedFd>,
}

/// What was collected.
#[derive(Debug, Default)]
pub(crate) struct Collected {
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: Vec<u8>,
    pub(crate) order: Order,
}

impl Collected {
    /// Takes note of what has been read since the last time.
    fn note(&mut self) {
        self.order.add(self.stdout.len(), self.stderr.len());
    }
}

/// In which order the pieces of both streams were read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Order {
    /// Lengths; the highest bit says that it is of standard error.
    pieces: Vec<u32>,
    /// How much of each they are.
    known: [usize; 2],
}

impl Order {
    const STDERR: u32 = 1 << 31;
    /// The most pieces: a program that changes with every byte must not cost many times its output.
    const MOST: usize = 1 << 20;

    /// From now on the streams are that long.
    fn add(&mut self, stdout: usize, stderr: usize) {
        for (index, length) in [stdout, stderr].into_iter().enumerate() {
            let bit = if index == 1 { Order::STDERR } else { 0 };
            let mut more = length.saturating_sub(self.known[index]);
            while more > 0 {
                let full = self.pieces.len() >= Order::MOST;
                let most = (Order::STDERR - 1) as usize;
                let length = |piece: u32| (piece & !Order::STDERR) as usize;
                let step = match self.pieces.last_mut() {
                    Some(last) if *last & Order::STDERR == bit && length(*last) < most => {
                        let step = more.min(most - length(*last));
                        *last += step as u32;
                        step
                    }
                    _ if full => return,
                    _ => {
                        let step = more.min(most);
                        self.pieces.push(bit | step as u32);
                        step
                    }
                };
                self.known[index] += step;
                more -= step;
            }
        }
    }

    /// The pieces: whether it is of standard error, and where in its stream it is. What there was no place for comes at the end.
    pub(crate) fn pieces(&self, lengths: [usize; 2]) -> impl Iterator<Item = (bool, std::ops::Range<usize>)> {
        let mut at = [0_usize; 2];
        let all =
            self.pieces.iter().map(|piece| (piece & Order::STDERR != 0, (piece & !Order::STDERR) as usize));
        let rest = [(false, usize::MAX), (true, usize::MAX)];
        all.chain(rest).filter_map(move |(stderr, length)| {
            let index = usize::from(stderr);
            let start = at[index];
            // It may have been cut to its limit.
            let end = start.saturating_add(length).min(lengths[index]);
            at[index] = end.max(start);
            (end > start).then_some((stderr, start..end))
        })
    }
}

/// What a look at the control socket told.
#[derive(Debug)]
pub(crate) enum Ended<T> {
    /// The program ended.
    Yes(T),
    /// Something else arrived.
    NotYet,
}

/// Bytes read at once. As much as a pipe holds.
const CHUNK: usize = 64 * 1024;

impl Collector {
    /// Moves bytes until the program has ended. `control` is readable when there may be news of that, which `ended` then reads.
    ///
    /// What is in the pipes at that moment is read too. Their own end is not waited for: what the program left running may have them open, and so
    /// may a child that the host program forked.
    ///
    /// `out` has what was collected also when this fails: it tells best why a program took too long. It is never more than the limit.
    pub(crate) fn collect<T>(
        mut self,
        control: &impl AsFd,
        ended: impl FnMut() -> Result<Ended<T>>,
        deadline: Deadline,
        cancel: &CancelToken,
        out: &mut Collected,
    ) -> Result<T> {
        let result = self.until_the_end(control, ended, deadline, cancel, out);
        out.note();
        if result.is_err() {
            // The error that ended it is the one to tell.
            let _ = self.drain(out);
            out.note();
        }
        result
    }

    fn until_the_end<T>(
        &mut self,
        control: &impl AsFd,
        mut ended: impl FnMut() -> Result<Ended<T>>,
        deadline: Deadline,
        cancel: &CancelToken,
        out: &mut Collected,
    ) -> Result<T> {
        let ours = [self.input.as_ref().map(|(fd, _)| fd), self.stdout.as_ref(), self.stderr.as_ref()];
        for fd in ours.into_iter().flatten() {
            nonblocking(fd)?;
        }
        if self.input.as_ref().is_some_and(|(_, data)| data.is_empty()) {
            self.input = None;
        }
        let mut sent = 0;
        let mut ready = Vec::new();
        loop {
            let mut wanted = Vec::with_capacity(4);
            let mut sources = Vec::with_capacity(4);
            wanted.push((control.as_fd(), PollFlags::IN));
            sources.push(0);
            if let Some((fd, _)) = &self.input {
                wanted.push((fd.as_fd(), PollFlags::OUT));
                sources.push(1);
            }
            if let Some(fd) = &self.stdout {
                wanted.push((fd.as_fd(), PollFlags::IN));
                sources.push(2);
            }
            if let Some(fd) = &self.stderr {
                wanted.push((fd.as_fd(), PollFlags::IN));
                sources.push(3);
            }
            poll(&wanted, &mut ready, deadline, cancel)?;
            drop(wanted);
            for (source, events) in sources.iter().zip(&ready) {
                if events.is_empty() {
                    continue;
                }
                match source {
                    0 => {
                        if let Ended::Yes(value) = ended()? {
                            self.drain(out)?;
                            return Ok(value);
                        }
                    }
                    1 => {
                        if let Some((fd, data)) = &self.input {
                            match sys::write_without_sigpipe(fd.as_fd(), data.get(sent..).unwrap_or_default())
                            {
                                Ok(n) => sent += n,
                                Err(Errno::AGAIN | Errno::INTR) => {}
                                // The program does not want more.
                                Err(Errno::PIPE | Errno::IO) => sent = data.len(),
                                Err(errno) => return Err(errno).call("write", "standard input"),
                            }
                            if sent >= data.len() {
                                self.input = None;
                            }
                        }
                    }
                    2 => take(&mut self.stdout, &mut out.stdout, self.limit, "standard output")?,
                    _ => take(&mut self.stderr, &mut out.stderr, self.limit, "standard error")?,
                }
                out.note();
            }
            // Also when there always is something.
            if deadline.is_over() {
                return Err(Error::new(ErrorKind::Timeout, "the program did not end in time"));
            }
        }
    }

    /// Reads what is there now.
    fn drain(&mut self, out: &mut Collected) -> Result<()> {
        if self.terminal.is_some() {
            return drain_terminal(&mut self.stdout, &mut out.stdout, self.limit);
        }
        drain(&mut self.stdout, &mut out.stdout, self.limit, "standard output")?;
        drain(&mut self.stderr, &mut out.stderr, self.limit, "standard error")
    }
}

/// Reads what is in a pipe now, and no more, whoever goes on writing.
fn drain(stream: &mut Option<OwnedFd>, into: &mut Vec<u8>, limit: u64, name: &str) -> Result<()> {
    let Some(fd) = stream else { return Ok(()) };
    let there = rustix::io::ioctl_fionread(&*fd).call("ioctl(FIONREAD)", name)?;
    let end = (into.len() as u64).saturating_add(there);
    while stream.is_some() && (into.len() as u64) < end {
        take(stream, into, limit, name)?;
    }
    Ok(())
}

/// As [`drain`] for a terminal, which does not tell how much there is. It holds less than is read here.
fn drain_terminal(stream: &mut Option<OwnedFd>, into: &mut Vec<u8>, limit: u64) -> Result<()> {
    const MOST: usize = 1 << 20;
    let start = into.len();
    loop {
        let before = into.len();
        take(stream, into, limit, "terminal")?;
        if into.len() == before || into.len() - start > MOST {
            return Ok(());
        }
    }
}

/// Reads what is there; closes the stream at its end.
fn take(stream: &mut Option<OwnedFd>, into: &mut Vec<u8>, limit: u64, name: &str) -> Result<()> {
    let Some(fd) = stream else { return Ok(()) };
    if into.capacity() - into.len() < CHUNK {
        into.try_reserve(CHUNK.max(into.capacity()))
            .map_err(|_| Error::new(ErrorKind::LimitExceeded, format!("no memory for more of {name}")))?;
    }
    match rustix::io::read(&*fd, rustix::buffer::spare_capacity(into)) {
        Ok(0) => *stream = None,
        Ok(_) if into.len() as u64 > limit => {
            into.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
            return Err(Error::new(ErrorKind::LimitExceeded, format!("{name} is longer than {limit} bytes"))
                .with_hint("give the run a file or pipe for its output, or a larger limit"));
        }
        Ok(_) | Err(Errno::AGAIN | Errno::INTR) => {}
        // A terminal that nobody has open any more.
        Err(Errno::IO) => *stream = None,
        Err(errno) => return Err(errno).call("read", name),
    }
    Ok(())
}

fn nonblocking(fd: &OwnedFd) -> Result<()> {
    let flags = rustix::fs::fcntl_getfl(fd).call("fcntl", "standard stream")?;
    rustix::fs::fcntl_setfl(fd, flags | OFlags::NONBLOCK).call("fcntl", "standard stream")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_in_the_order_of_their_reading() {
        let mut order = Order::default();
        for (stdout, stderr) in [(2, 0), (2, 3), (4, 3), (5, 3), (5, 3), (6, 4)] {
            order.add(stdout, stderr);
        }
        let pieces = |order: &Order, lengths| order.pieces(lengths).collect::<Vec<_>>();
        let all = [(false, 0..2), (true, 0..3), (false, 2..6), (true, 3..4)];
        assert_eq!(pieces(&order, [6, 4]), all);
        // Cut, and with more than anybody has noted.
        assert_eq!(
            pieces(&order, [3, 5]),
            [(false, 0..2), (true, 0..3), (false, 2..3), (true, 3..4), (true, 4..5)]
        );
        assert_eq!(pieces(&Order::default(), [1, 1]), [(false, 0..1), (true, 0..1)]);
        let mut many = Order::default();
        (1..=Order::MOST).for_each(|n| many.add(n, n));
        assert!(many.pieces.len() <= Order::MOST);
        let lengths = [Order::MOST; 2];
        let total: usize = many.pieces(lengths).map(|(_, range)| range.len()).sum();
        assert_eq!(total, 2 * Order::MOST);
    }
    use rustix::pipe::{PipeFlags, pipe_with};

    #[test]
    fn input_goes_through_and_output_comes_back() {
        let (stdin_read, stdin_write) = pipe_with(PipeFlags::CLOEXEC).unwrap();
        let (stdout_read, stdout_write) = pipe_with(PipeFlags::CLOEXEC).unwrap();
        let (control_read, control_write) = pipe_with(PipeFlags::CLOEXEC).unwrap();
        let data: Vec<u8> = (0..500_000u32).map(|i| i as u8).collect();
        let echo = std::thread::spawn(move || {
            std::io::copy(&mut std::fs::File::from(stdin_read), &mut std::fs::File::from(stdout_write))
                .unwrap();
            drop(control_write);
        });
        let collector = Collector {
            input: Some((stdin_write, data.clone())),
            stdout: Some(stdout_read),
            stderr: None,
            limit: 1 << 20,
            terminal: None,
        };
        let mut collected = Collected::default();
        let ended = || Ok(Ended::Yes(()));
        collector
            .collect(&control_read, ended, Deadline::never(), &CancelToken::never(), &mut collected)
            .unwrap();
        echo.join().unwrap();
        assert_eq!(collected.stdout, data);
    }

    #[test]
    fn limits_deadlines_and_cancelling_end_it() {
        let run = |limit, deadline, cancel: &CancelToken| {
            let (read, write) = pipe_with(PipeFlags::CLOEXEC).unwrap();
            let (control, _keep) = pipe_with(PipeFlags::CLOEXEC).unwrap();
            rustix::io::write(&write, &[0; 100]).unwrap();
            let collector = Collector { stdout: Some(read), limit, ..Collector::default() };
            let mut out = Collected::default();
            let ended = || Ok(Ended::<()>::NotYet);
            let error = collector.collect(&control, ended, deadline, cancel, &mut out).unwrap_err();
            (error.kind(), out.stdout.len())
        };
        let soon = Deadline::after(Some(std::time::Duration::from_millis(20)));
        assert_eq!(run(99, Deadline::never(), &CancelToken::never()), (ErrorKind::LimitExceeded, 99));
        assert_eq!(run(100, soon, &CancelToken::never()), (ErrorKind::Timeout, 100));
        // Over from the start: what is there is read all the same.
        let over = Deadline::after(Some(std::time::Duration::ZERO));
        assert_eq!(run(100, over, &CancelToken::never()), (ErrorKind::Timeout, 100));
        let token = CancelToken::new();
        token.cancel();
        assert_eq!(run(100, Deadline::never(), &token), (ErrorKind::Cancelled, 100));
    }

    #[test]
    fn a_deadline_counts_also_while_there_always_is_output() {
        let stdout = Some(std::fs::File::open("/dev/zero").unwrap().into());
        let (control, _keep) = pipe_with(PipeFlags::CLOEXEC).unwrap();
        let collector = Collector { stdout, limit: 1 << 24, ..Collector::default() };
        let over = Deadline::after(Some(std::time::Duration::ZERO));
        let (ended, mut out) = (|| Ok(Ended::<()>::NotYet), Collected::default());
        let error = collector.collect(&control, ended, over, &CancelToken::never(), &mut out).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Timeout);
        assert!(!out.stdout.is_empty());
    }
}
