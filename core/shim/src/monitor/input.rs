//! What others give the container's program to read: from their pipes into its standard input or its terminal, a piece at a time. Whoever has more than the
//! program reads waits at their own pipe.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use coble_protocol::{Failure, Step};
use rustix::event::PollFlags;
use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::pipe::PipeFlags;

use crate::failure::During;

/// Bytes moved at once, and so the most that is kept here.
const PIECE: usize = 4096;
/// Givers at once.
const MAX_SOURCES: usize = 64;

/// The way into the program.
pub(crate) struct Input {
    /// Where it goes; None once that is closed.
    target: Option<OwnedFd>,
    /// The end of the first giver is the end of all.
    once: bool,
    /// Clients, and the pipes that they give.
    sources: Vec<(u64, OwnedFd)>,
    /// What did not fit yet.
    pending: Vec<u8>,
    /// Nothing comes after that.
    ending: bool,
}

/// What is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// Something from a client.
    Piece(u64),
    /// Room for the rest of a piece.
    Room,
}

impl Input {
    /// A pipe, whose other end is the program's.
    pub(crate) fn pipe(once: bool) -> Result<(Input, OwnedFd), Failure> {
        let (read, write) =
            rustix::pipe::pipe_with(PipeFlags::CLOEXEC).during(Step::Stdio, "standard input")?;
        Input::into(write, once).map(|input| (input, read))
    }

    /// The program's terminal. Its end is not the program's: that would see no end of it.
    pub(crate) fn terminal(master: &OwnedFd) -> Result<Input, Failure> {
        let copy = rustix::io::fcntl_dupfd_cloexec(master, 0).during(Step::Terminal, "master")?;
        Input::into(copy, false)
    }

    fn into(target: OwnedFd, once: bool) -> Result<Input, Failure> {
        nonblocking(target.as_fd())?;
        Ok(Input { target: Some(target), once, sources: Vec::new(), pending: Vec::new(), ending: false })
    }

    /// Takes one more giver.
    pub(crate) fn add(&mut self, client: u64, source: OwnedFd) -> Result<(), Failure> {
        if self.target.is_none() || self.ending {
            return Err(Failure::rule(Step::Stdio, "container", "its standard input has ended"));
        }
        if self.sources.len() >= MAX_SOURCES {
            return Err(Failure::rule(Step::Stdio, "container", "too many give it input"));
        }
        nonblocking(source.as_fd())?;
        self.sources.push((client, source));
        Ok(())
    }

    /// What there is to wait for.
    pub(crate) fn wanted(&self) -> Vec<(Wanted, BorrowedFd<'_>, PollFlags)> {
        match &self.target {
            None => Vec::new(),
            Some(target) if !self.pending.is_empty() => vec![(Wanted::Room, target.as_fd(), PollFlags::OUT)],
            Some(_) => self
                .sources
                .iter()
                .map(|(client, source)| (Wanted::Piece(*client), source.as_fd(), PollFlags::IN))
                .collect(),
        }
    }

    /// Moves a piece, or the rest of one.
    pub(crate) fn advance(&mut self, wanted: Wanted) {
        match wanted {
            Wanted::Room => self.flush(),
            Wanted::Piece(client) if self.pending.is_empty() => self.take(client),
            // Somebody else's piece came first.
            Wanted::Piece(_) => {}
        }
    }

    fn take(&mut self, client: u64) {
        let Some((_, source)) = self.sources.iter().find(|(number, _)| *number == client) else { return };
        let mut piece = [0; PIECE];
        match rustix::io::read(source, &mut piece) {
            Ok(0) => self.end(client),
            Ok(length) => {
                self.pending.extend_from_slice(piece.get(..length).unwrap_or_default());
                self.flush();
            }
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(_) => self.end(client),
        }
    }

    fn flush(&mut self) {
        let Some(target) = &self.target else { return };
        match rustix::io::write(target, &self.pending) {
            Ok(length) => drop(self.pending.drain(..length.min(self.pending.len()))),
            Err(Errno::AGAIN | Errno::INTR) => {}
            // The program does not read any more. Whoever writes to it hears the same.
            Err(_) => return self.close(),
        }
        if self.pending.is_empty() {
            self.pending = Vec::new();
            if self.ending {
                self.close();
            }
        }
    }

    /// A client gives nothing more, or is gone.
    fn end(&mut self, client: u64) {
        let before = self.sources.len();
        self.sources.retain(|(number, _)| *number != client);
        if self.once && self.sources.len() < before {
            self.ending = true;
            self.sources.clear();
            if self.pending.is_empty() {
                self.close();
            }
        }
    }

    fn close(&mut self) {
        *self =
            Input { target: None, once: self.once, sources: Vec::new(), pending: Vec::new(), ending: true };
    }
}

/// Lets reads and writes fail where they would have to wait.
pub(crate) fn nonblocking(fd: BorrowedFd<'_>) -> Result<(), Failure> {
    rustix::fs::fcntl_getfl(fd)
        .and_then(|flags| rustix::fs::fcntl_setfl(fd, flags | OFlags::NONBLOCK))
        .during(Step::Stdio, "standard input")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pump(input: &mut Input, client: u64) {
        for _ in 0..10_000 {
            let wanted: Vec<Wanted> = input.wanted().into_iter().map(|(wanted, ..)| wanted).collect();
            match wanted.first() {
                Some(Wanted::Room) => return,
                Some(_) => input.advance(Wanted::Piece(client)),
                None => return,
            }
        }
    }

    #[test]
    fn pieces_go_through_in_order_and_no_more_than_one_is_kept() {
        let (mut input, program) = Input::pipe(true).unwrap();
        let (source, giver) = rustix::pipe::pipe().unwrap();
        input.add(7, source).unwrap();
        let sent: Vec<u8> = (0..200_000u32).map(|n| n as u8).collect();
        let writer = {
            let sent = sent.clone();
            std::thread::spawn(move || {
                let mut rest = &sent[..];
                while !rest.is_empty() {
                    rest = &rest[rustix::io::write(&giver, rest).unwrap()..];
                }
            })
        };
        let mut got = Vec::new();
        nonblocking(program.as_fd()).unwrap();
        let mut buffer = [0; 70_000];
        while got.len() < sent.len() {
            pump(&mut input, 7);
            assert!(input.pending.len() <= PIECE);
            match rustix::io::read(&program, &mut buffer) {
                Ok(length) => got.extend_from_slice(&buffer[..length]),
                Err(errno) => assert_eq!(errno, Errno::AGAIN),
            }
            if !input.pending.is_empty() {
                input.advance(Wanted::Room);
            }
        }
        writer.join().unwrap();
        assert!(got == sent);
        pump(&mut input, 7);
        assert_eq!(rustix::io::read(&program, &mut buffer).unwrap(), 0, "once: its end is the end");
        assert!(input.add(8, rustix::pipe::pipe().unwrap().0).is_err());
    }

    #[test]
    fn without_once_others_may_come_after() {
        let (mut input, program) = Input::pipe(false).unwrap();
        for (client, text) in [(1, b"a"), (2, b"b")] {
            let (source, giver) = rustix::pipe::pipe().unwrap();
            input.add(client, source).unwrap();
            rustix::io::write(&giver, text).unwrap();
            input.advance(Wanted::Piece(client));
            drop(giver);
            input.advance(Wanted::Piece(client));
            assert!(input.wanted().is_empty());
            let mut byte = [0; 2];
            assert_eq!(rustix::io::read(&program, &mut byte).unwrap(), 1);
            assert_eq!(byte[0], text[0]);
        }
        let (source, giver) = rustix::pipe::pipe().unwrap();
        input.add(3, source).unwrap();
        drop(program);
        rustix::io::write(&giver, b"x").unwrap();
        input.advance(Wanted::Piece(3));
        assert!(input.wanted().is_empty(), "the program does not read any more");
        assert_eq!(rustix::io::write(&giver, b"x").unwrap_err(), Errno::PIPE);
    }
}
