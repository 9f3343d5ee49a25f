//! Frames over a stream socket: a little-endian `u32` length, then a postcard message. Descriptors travel with the length.

use std::fmt;
use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// The longest message. A process environment may have megabytes.
const MAX_FRAME: usize = 16 << 20;
/// The most descriptors of one frame. The kernel's own bound is 253.
const MAX_FDS: usize = 200;

/// The position of a descriptor among those of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct FdIndex(u8);

/// Collects the descriptors of a frame that is being made.
#[derive(Debug, Default)]
pub struct FdList<'a>(Vec<BorrowedFd<'a>>);

impl<'a> FdList<'a> {
    /// Adds a descriptor.
    pub fn push(&mut self, fd: BorrowedFd<'a>) -> FdIndex {
        self.0.push(fd);
        FdIndex((self.0.len() - 1).min(u8::MAX as usize) as u8)
    }

    /// The descriptors, for [`Connection::send`].
    pub fn as_slice(&self) -> &[BorrowedFd<'a>] {
        &self.0
    }
}

/// The descriptors that came with a frame. All are close-on-exec. Those not taken are closed.
#[derive(Debug, Default)]
pub struct Fds(Vec<Option<OwnedFd>>);

impl Fds {
    /// Takes a descriptor out. Each can be taken once.
    pub fn take(&mut self, index: FdIndex) -> Result<OwnedFd, ProtocolError> {
        self.0.get_mut(index.0 as usize).and_then(Option::take).ok_or(ProtocolError::MissingDescriptor)
    }

    /// Takes the n-th descriptor, for messages with a fixed list.
    pub fn take_nth(&mut self, n: u8) -> Result<OwnedFd, ProtocolError> {
        self.take(FdIndex(n))
    }

    /// Descriptors that came in another way.
    pub fn of(fds: Vec<OwnedFd>) -> Fds {
        Fds(fds.into_iter().map(Some).collect())
    }

    /// How many came.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether none came.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Why a frame could not be sent or received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProtocolError {
    /// The socket failed.
    Socket(Errno),
    /// The other end closed in the middle of a frame.
    Truncated,
    /// Longer than the limit, or too many descriptors.
    TooLarge,
    /// Not a message of the expected type.
    Malformed,
    /// A message names a descriptor that did not come with it.
    MissingDescriptor,
}

impl ProtocolError {
    /// The errno that comes closest.
    pub fn errno(self) -> i32 {
        match self {
            ProtocolError::Socket(errno) => errno.raw_os_error(),
            ProtocolError::Truncated => Errno::PIPE.raw_os_error(),
            ProtocolError::TooLarge => Errno::MSGSIZE.raw_os_error(),
            ProtocolError::Malformed | ProtocolError::MissingDescriptor => Errno::BADMSG.raw_os_error(),
        }
    }
}

impl fmt::Display for ProtocolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ProtocolError::Socket(errno) => write!(f, "socket: {errno}"),
            ProtocolError::Truncated => f.write_str("the other end closed in the middle of a message"),
            ProtocolError::TooLarge => f.write_str("message too large"),
            ProtocolError::Malformed => f.write_str("malformed message"),
            ProtocolError::MissingDescriptor => f.write_str("message without its descriptor"),
        }
    }
}

impl std::error::Error for ProtocolError {}

/// One end of a stream socket that carries frames.
#[derive(Debug)]
pub struct Connection(OwnedFd);

impl Connection {
    /// Wraps a connected, blocking stream socket.
    pub fn new(socket: OwnedFd) -> Connection {
        Connection(socket)
    }

    /// Sends a message with its descriptors. Never raises SIGPIPE.
    pub fn send<T: Serialize>(&self, message: &T, fds: &[BorrowedFd<'_>]) -> Result<(), ProtocolError> {
        self.send_with(message, fds, SendFlags::NOSIGNAL)
    }

    /// As [`Connection::send`], for a sender that must not be held up by a receiver who does not read: fails with `EAGAIN` when the
    /// socket has no room for the whole message. The connection is of no use after that, since a part may have been sent.
    pub fn try_send<T: Serialize>(&self, message: &T, fds: &[BorrowedFd<'_>]) -> Result<(), ProtocolError> {
        self.send_with(message, fds, SendFlags::NOSIGNAL | SendFlags::DONTWAIT)
    }

    fn send_with<T: Serialize>(
        &self,
        message: &T,
        fds: &[BorrowedFd<'_>],
        flags: SendFlags,
    ) -> Result<(), ProtocolError> {
        let body = postcard::to_stdvec(message).map_err(|_| ProtocolError::Malformed)?;
        if body.len() > MAX_FRAME || fds.len() > MAX_FDS {
            return Err(ProtocolError::TooLarge);
        }
        let length = (body.len() as u32).to_le_bytes();
        let mut space = vec![MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        if !fds.is_empty() && !ancillary.push(SendAncillaryMessage::ScmRights(fds)) {
            return Err(ProtocolError::TooLarge);
        }
        let mut sent = loop {
            let parts = [IoSlice::new(&length), IoSlice::new(&body)];
            match rustix::net::sendmsg(&self.0, &parts, &mut ancillary, flags) {
                Ok(sent) => break sent,
                Err(Errno::INTR) => {}
                Err(errno) => return Err(ProtocolError::Socket(errno)),
            }
        };
        while sent < 4 + body.len() {
            let rest = if sent < 4 { &length[sent..] } else { &body[sent - 4..] };
            match rustix::net::send(&self.0, rest, flags) {
                Ok(n) => sent += n,
                Err(Errno::INTR) => {}
                Err(errno) => return Err(ProtocolError::Socket(errno)),
            }
        }
        Ok(())
    }

    /// Receives a message and its descriptors. None if the other end closed between frames.
    pub fn recv<T: DeserializeOwned>(&self) -> Result<Option<(T, Fds)>, ProtocolError> {
        let mut fds = Fds::default();
        let mut header = [0; 4];
        if !self.fill(&mut header, &mut fds)? {
            return Ok(None);
        }
        let length = u32::from_le_bytes(header) as usize;
        if length > MAX_FRAME {
            return Err(ProtocolError::TooLarge);
        }
        let mut body = vec![0; length];
        if length > 0 && !self.fill(&mut body, &mut fds)? {
            return Err(ProtocolError::Truncated);
        }
        let message = postcard::from_bytes(&body).map_err(|_| ProtocolError::Malformed)?;
        Ok(Some((message, fds)))
    }

    /// Fills the buffer; false if the stream was at its end before the first byte.
    fn fill(&self, buffer: &mut [u8], fds: &mut Fds) -> Result<bool, ProtocolError> {
        let mut filled = 0;
        while filled < buffer.len() {
            match self.read_some(&mut buffer[filled..], fds, RecvFlags::empty())? {
                0 if filled == 0 => return Ok(false),
                0 => return Err(ProtocolError::Truncated),
                n => filled += n,
            }
        }
        Ok(true)
    }

    /// One read of bytes and descriptors.
    fn read_some(&self, buffer: &mut [u8], fds: &mut Fds, flags: RecvFlags) -> Result<usize, ProtocolError> {
        let mut space = vec![MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let received = loop {
            let mut parts = [IoSliceMut::new(buffer)];
            match rustix::net::recvmsg(&self.0, &mut parts, &mut ancillary, RecvFlags::CMSG_CLOEXEC | flags) {
                Ok(received) => break received,
                Err(Errno::INTR) => {}
                Err(errno) => return Err(ProtocolError::Socket(errno)),
            }
        };
        for message in ancillary.drain() {
            if let RecvAncillaryMessage::ScmRights(received) = message {
                fds.0.extend(received.map(Some));
            }
        }
        if fds.0.len() > MAX_FDS { Err(ProtocolError::TooLarge) } else { Ok(received.bytes) }
    }
}

/// What [`FrameReader::read`] found.
#[derive(Debug)]
pub enum Incoming<T> {
    /// A whole message with its descriptors.
    Frame(T, Fds),
    /// Nothing more to read for now.
    Wait,
    /// The other end closed between frames.
    End,
}

/// Receives frames piece by piece without ever waiting, for one process that serves many connections. Takes no more memory than
/// what has really arrived, whatever length a frame announces.
#[derive(Debug, Default)]
pub struct FrameReader {
    bytes: Vec<u8>,
    fds: Fds,
}

impl FrameReader {
    /// How much is read at once.
    const PIECE: usize = 16 * 1024;

    /// Whether a part of a frame has arrived.
    pub fn is_partial(&self) -> bool {
        !self.bytes.is_empty()
    }

    /// Reads what is there, up to the end of a frame.
    pub fn read<T: DeserializeOwned>(
        &mut self,
        connection: &Connection,
    ) -> Result<Incoming<T>, ProtocolError> {
        loop {
            let filled = self.bytes.len();
            let wanted = match self.bytes.first_chunk::<4>() {
                None => 4,
                Some(header) => {
                    let length = u32::from_le_bytes(*header) as usize;
                    if length > MAX_FRAME {
                        return Err(ProtocolError::TooLarge);
                    }
                    4 + length
                }
            };
            if filled >= 4 && filled == wanted {
                let message = postcard::from_bytes(&self.bytes[4..]).map_err(|_| ProtocolError::Malformed)?;
                self.bytes = Vec::new();
                return Ok(Incoming::Frame(message, std::mem::take(&mut self.fds)));
            }
            self.bytes.resize(filled + (wanted - filled).min(Self::PIECE), 0);
            let received =
                connection.read_some(&mut self.bytes[filled..], &mut self.fds, RecvFlags::DONTWAIT);
            self.bytes.truncate(filled + received.unwrap_or(0));
            match received {
                Ok(0) if filled == 0 => return Ok(Incoming::End),
                Ok(0) => return Err(ProtocolError::Truncated),
                Ok(_) => {}
                Err(ProtocolError::Socket(Errno::AGAIN)) => return Ok(Incoming::Wait),
                Err(error) => return Err(error),
            }
        }
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

    fn pair() -> (Connection, Connection) {
        let (a, b) = socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None).unwrap();
        (Connection::new(a), Connection::new(b))
    }

    #[test]
    fn messages_and_descriptors_arrive() {
        let (a, b) = pair();
        let (read, write) = rustix::pipe::pipe().unwrap();
        let reader = std::thread::spawn(move || b.recv::<(FdIndex, Vec<u8>)>().unwrap().unwrap());
        let mut list = FdList::default();
        let index = list.push(write.as_fd());
        a.send(&(index, vec![7u8; 300_000]), list.as_slice()).unwrap();
        drop(write);
        let ((index, bytes), mut fds): ((FdIndex, Vec<u8>), Fds) = reader.join().unwrap();
        assert_eq!(bytes.len(), 300_000);
        rustix::io::write(fds.take(index).unwrap(), b"x").unwrap();
        let mut byte = [0];
        assert_eq!(rustix::io::read(read, &mut byte).unwrap(), 1);
        assert_eq!(fds.take(index).unwrap_err(), ProtocolError::MissingDescriptor);
    }

    #[test]
    fn a_reader_takes_frames_piece_by_piece() {
        let (a, b) = pair();
        let mut reader = FrameReader::default();
        assert!(matches!(reader.read::<Vec<u8>>(&b).unwrap(), Incoming::Wait));
        assert!(!reader.is_partial());
        let text = vec![9u8; 40_000];
        let body = postcard::to_stdvec(&text).unwrap();
        let mut frame = (body.len() as u32).to_le_bytes().to_vec();
        frame.extend(body);
        frame.extend([1, 0, 0, 0, 0]);
        for piece in [&frame[..3], &frame[3..5], &frame[5..30_000]] {
            rustix::io::write(&a, piece).unwrap();
            assert!(matches!(reader.read::<Vec<u8>>(&b).unwrap(), Incoming::Wait));
            assert!(reader.is_partial());
        }
        rustix::io::write(&a, &frame[30_000..]).unwrap();
        assert!(matches!(reader.read::<Vec<u8>>(&b).unwrap(), Incoming::Frame(got, _) if got == text));
        assert!(matches!(reader.read::<Vec<u8>>(&b).unwrap(), Incoming::Frame(got, _) if got.is_empty()));
        drop(a);
        assert!(matches!(reader.read::<Vec<u8>>(&b).unwrap(), Incoming::End));
        let (a, b) = pair();
        rustix::io::write(&a, &u32::MAX.to_le_bytes()).unwrap();
        assert_eq!(FrameReader::default().read::<String>(&b).unwrap_err(), ProtocolError::TooLarge);
    }

    #[test]
    fn a_sender_that_must_not_wait_fails_when_nobody_reads() {
        let (a, _b) = pair();
        let big = vec![0u8; 1 << 20];
        assert_eq!(a.try_send(&big, &[]).unwrap_err(), ProtocolError::Socket(Errno::AGAIN));
    }

    #[test]
    fn bad_frames_are_errors() {
        let (a, b) = pair();
        rustix::io::write(&a, &u32::MAX.to_le_bytes()).unwrap();
        assert_eq!(b.recv::<String>().unwrap_err(), ProtocolError::TooLarge);
        let (a, b) = pair();
        rustix::io::write(&a, &[5, 0, 0, 0, 200]).unwrap();
        drop(a);
        assert_eq!(b.recv::<String>().unwrap_err(), ProtocolError::Truncated);
        let (a, b) = pair();
        rustix::io::write(&a, &[1, 0, 0, 0, 200]).unwrap();
        assert_eq!(b.recv::<String>().unwrap_err(), ProtocolError::Malformed);
        drop(a);
        assert!(b.recv::<String>().unwrap().is_none());
    }
}
