//! A TCP connection whose every wait ends when the caller cancels, or when the other side has been silent for too long.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::PollFlags;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, sockopt};

use super::Patience;
use crate::cancel::CancelToken;
use crate::error::{Error, ErrorKind, Result, errno_text};
use crate::process::{Deadline, poll};

/// What has to come within the time for silence. A server that sends less is not slow but stuck.
const USEFUL: u64 = 16 << 10;
/// How long one of several addresses is tried before the next.
const ONE_ADDRESS: Duration = Duration::from_secs(5);

/// The connection.
#[derive(Debug)]
pub(super) struct Socket {
    stream: TcpStream,
    cancel: CancelToken,
    idle: Duration,
    /// How long was waited, and what has moved, since the last useful amount.
    waited: Duration,
    moved: u64,
}

impl Socket {
    /// Connects to the first of the addresses that can be reached.
    pub(super) fn connect(
        addresses: &[SocketAddr],
        name: &str,
        patience: Patience,
        cancel: &CancelToken,
    ) -> Result<Socket> {
        let end = Deadline::after(Some(patience.connect));
        let mut failure = unreachable(name, "the name has no address");
        for (i, address) in addresses.iter().enumerate() {
            let left = end.left().unwrap_or_default();
            let last = i + 1 == addresses.len();
            let budget = if last { left } else { left.min(ONE_ADDRESS) };
            match connect_one(address, Deadline::after(Some(budget)), cancel) {
                Ok(stream) => {
                    let socket = Socket {
                        stream,
                        cancel: cancel.clone(),
                        idle: patience.idle,
                        waited: Duration::ZERO,
                        moved: 0,
                    };
                    return Ok(socket);
                }
                Err(Refusal::Cancelled(error)) => return Err(error),
                Err(Refusal::Errno(errno)) => {
                    failure =
                        unreachable(name, &errno_text(errno.raw_os_error())).with_errno(errno.raw_os_error());
                    if matches!(errno, Errno::TIMEDOUT | Errno::CONNRESET | Errno::CONNREFUSED) {
                        failure = failure.transient();
                    }
                }
            }
        }
        Err(failure)
    }

    /// Begins a new exchange: silence is counted anew.
    pub(super) fn begin(&mut self) {
        self.waited = Duration::ZERO;
        self.moved = 0;
    }

    /// Whether there is something to read, the end included, without waiting.
    pub(super) fn is_readable(&self) -> bool {
        let mut byte = [0];
        !matches!(self.stream.peek(&mut byte), Err(error) if error.kind() == io::ErrorKind::WouldBlock)
    }

    fn wait(&mut self, events: PollFlags) -> io::Result<()> {
        let begin = Instant::now();
        let left = self.idle.saturating_sub(self.waited);
        let count = poll(
            &[(self.stream.as_fd(), events)],
            &mut Vec::new(),
            Deadline::after(Some(left)),
            &self.cancel,
        )
        .map_err(io::Error::other)?;
        self.waited += begin.elapsed();
        if count == 0 {
            let text = format!("the server has sent next to nothing for {} s", self.idle.as_secs());
            return Err(io::Error::other(Error::new(ErrorKind::Network, text).transient()));
        }
        Ok(())
    }

    fn has_moved(&mut self, amount: usize) {
        self.moved += amount as u64;
        if self.moved >= USEFUL {
            self.begin();
        }
    }
}

impl Read for Socket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            self.cancel.check().map_err(io::Error::other)?;
            match self.stream.read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.wait(PollFlags::IN)?,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(amount) => {
                    self.has_moved(amount);
                    return Ok(amount);
                }
                Err(error) => return Err(error),
            }
        }
    }
}

/// One buffer at a time, by `send`: unlike `writev`, it raises no signal when the other side is gone.
impl Write for Socket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            self.cancel.check().map_err(io::Error::other)?;
            match self.stream.write(bytes) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.wait(PollFlags::OUT)?,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(amount) => {
                    self.has_moved(amount);
                    return Ok(amount);
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A failure to reach a host.
pub(super) fn unreachable(name: &str, why: &str) -> Error {
    Error::new(ErrorKind::Network, format!("cannot reach \"{name}\": {why}")).with_object(name)
}

enum Refusal {
    Cancelled(Error),
    Errno(Errno),
}

impl From<Errno> for Refusal {
    fn from(errno: Errno) -> Refusal {
        Refusal::Errno(errno)
    }
}

fn connect_one(address: &SocketAddr, end: Deadline, cancel: &CancelToken) -> Result<TcpStream, Refusal> {
    cancel.check().map_err(Refusal::Cancelled)?;
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket: OwnedFd = rustix::net::socket_with(family, SocketType::STREAM, flags, None)?;
    match rustix::net::connect(&socket, address) {
        Ok(()) => {}
        Err(Errno::INPROGRESS | Errno::INTR) => {
            let mut ready = Vec::new();
            let wanted = [(socket.as_fd(), PollFlags::OUT)];
            if poll(&wanted, &mut ready, end, cancel).map_err(Refusal::Cancelled)? == 0 {
                return Err(Errno::TIMEDOUT.into());
            }
            sockopt::socket_error(&socket)??;
        }
        Err(errno) => return Err(errno.into()),
    }
    let stream = TcpStream::from(socket);
    let _ = stream.set_nodelay(true);
    Ok(stream)
}
