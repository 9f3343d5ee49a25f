//! An archive on its way from one who writes it to a worker that unpacks it: a socket pair, since its end can be told, where that of a pipe does not come as long
//! as a child that the host forked has a copy.

use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd};

use rustix::io::Errno;
use rustix::net::{AddressFamily, SendFlags, Shutdown, SocketFlags, SocketType, shutdown, socketpair};

use crate::error::{Call, Error, ErrorKind, Result};
use crate::process::spawn_helper;

/// Lets `write` write what `read` reads, each on a thread of its own. Of two errors, the one that came first counts: that the other side has gone is its consequence.
pub(crate) fn through<A: Send, B>(
    write: impl FnOnce(BorrowedFd<'_>) -> Result<A> + Send,
    read: impl FnOnce(BorrowedFd<'_>) -> Result<B>,
) -> Result<(A, B)> {
    let (to, from) = socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)
        .call("socketpair", "archive")?;
    let (written, done) = std::thread::scope(|scope| -> Result<_> {
        let to = &to;
        let writer = spawn_helper(scope, "coble-copy", move || {
            let written = write(to.as_fd());
            // With an error the archive ends too early, which the reader notices.
            let _ = shutdown(to, Shutdown::Write);
            written
        })
        .map_err(|error| Error::io("clone", "helper thread", &error))?;
        let done = read(from.as_fd());
        // Whoever still writes has nobody to write to.
        let _ = shutdown(&from, Shutdown::Both);
        let gone = |_| Error::new(ErrorKind::Internal, "the thread that writes the archive has ended");
        Ok((writer.join().map_err(gone)?, done))
    })?;
    match (written, done) {
        (Err(error), _) if error.errno() != Some(libc::EPIPE) => Err(error),
        (_, Err(error)) | (Err(error), Ok(_)) => Err(error),
        (Ok(written), Ok(done)) => Ok((written, done)),
    }
}

/// The writing end, for a thread of this process.
pub(super) struct Pipe<'a>(pub(super) BorrowedFd<'a>);

impl Write for Pipe<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        loop {
            // A host that has not ignored SIGPIPE is not to get one.
            match rustix::net::send(self.0, bytes, SendFlags::NOSIGNAL) {
                Err(Errno::INTR) => {}
                result => return Ok(result?),
            }
        }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// The error of writing to the pipe.
pub(super) fn broken(error: &std::io::Error) -> Error {
    Error::io("send", "archive", error)
}
