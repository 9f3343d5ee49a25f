//! `Process.communicate`: feeds a program and collects what it writes, until it has closed its outputs. What was moved when the time is over
//! is kept for the next call.

use std::os::fd::{AsFd, OwnedFd};

use coble::{CancelToken, Error};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::Errno;

/// As much as a pipe holds.
const CHUNK: usize = 64 * 1024;

/// The streams of a program and what went through them.
#[derive(Default)]
pub(crate) struct Exchange {
    input: Vec<u8>,
    sent: usize,
    stdin: Option<OwnedFd>,
    stdout: Option<Output>,
    stderr: Option<Output>,
}

/// One stream that is collected.
struct Output {
    fd: Option<OwnedFd>,
    data: Vec<u8>,
}

impl Exchange {
    /// Takes over the streams. `ahead` is what was already read of each output.
    pub(crate) fn new(
        stdin: Option<OwnedFd>,
        input: Vec<u8>,
        stdout: Option<(OwnedFd, Vec<u8>)>,
        stderr: Option<(OwnedFd, Vec<u8>)>,
    ) -> Exchange {
        let output =
            |given: Option<(OwnedFd, Vec<u8>)>| given.map(|(fd, data)| Output { fd: Some(fd), data });
        // Without input, the program sees its end at once.
        let stdin = stdin.filter(|_| !input.is_empty());
        Exchange { input, sent: 0, stdin, stdout: output(stdout), stderr: output(stderr) }
    }

    /// Moves bytes until all is done.
    pub(crate) fn run(&mut self, cancel: &CancelToken) -> coble::Result<()> {
        loop {
            cancel.check()?;
            let mut fds = Vec::with_capacity(4);
            for (fd, events) in [
                (self.stdin.as_ref(), PollFlags::OUT),
                (self.stdout.as_ref().and_then(|out| out.fd.as_ref()), PollFlags::IN),
                (self.stderr.as_ref().and_then(|out| out.fd.as_ref()), PollFlags::IN),
            ] {
                fds.extend(fd.map(|fd| PollFd::from_borrowed_fd(fd.as_fd(), events)));
            }
            if fds.is_empty() {
                return Ok(());
            }
            fds.extend(cancel.as_fd().map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)));
            match poll(&mut fds, None) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(errno) => return Err(Error::syscall("poll", "standard streams", errno.raw_os_error())),
            }
            drop(fds);
            // None of them blocks, so all may be tried.
            self.send()?;
            for output in [&mut self.stdout, &mut self.stderr].into_iter().flatten() {
                output.receive()?;
            }
        }
    }

    fn send(&mut self) -> coble::Result<()> {
        let Some(fd) = &self.stdin else { return Ok(()) };
        match rustix::io::write(fd, self.input.get(self.sent..).unwrap_or_default()) {
            Ok(count) => self.sent += count,
            Err(Errno::AGAIN | Errno::INTR) => {}
            // The program does not want more.
            Err(Errno::PIPE | Errno::IO) => self.sent = self.input.len(),
            Err(errno) => return Err(Error::syscall("write", "standard input", errno.raw_os_error())),
        }
        if self.sent >= self.input.len() {
            self.stdin = None;
        }
        Ok(())
    }

    /// What was collected.
    pub(crate) fn take(&mut self) -> (Option<Vec<u8>>, Option<Vec<u8>>) {
        let data =
            |output: &mut Option<Output>| output.as_mut().map(|output| std::mem::take(&mut output.data));
        (data(&mut self.stdout), data(&mut self.stderr))
    }
}

impl Output {
    fn receive(&mut self) -> coble::Result<()> {
        let Some(fd) = &self.fd else { return Ok(()) };
        let before = self.data.len();
        self.data.resize(before + CHUNK, 0);
        let result = rustix::io::read(fd, self.data.get_mut(before..).unwrap_or_default());
        self.data.truncate(before + *result.as_ref().unwrap_or(&0));
        match result {
            // The latter of a terminal that no program has open any more.
            Ok(0) | Err(Errno::IO) => self.fd = None,
            Ok(_) | Err(Errno::AGAIN | Errno::INTR) => {}
            Err(errno) => return Err(Error::syscall("read", "standard output", errno.raw_os_error())),
        }
        Ok(())
    }
}

/// Lets reads and writes return when they would have to wait. The other end of a pipe is not affected.
pub(crate) fn nonblocking(fd: &OwnedFd) -> coble::Result<()> {
    fcntl_getfl(fd)
        .and_then(|flags| fcntl_setfl(fd, flags | OFlags::NONBLOCK))
        .map_err(|errno| Error::syscall("fcntl", "standard stream", errno.raw_os_error()))
}
