//! Reading from a file or pipe of the caller's, with cancelling.

use std::fs::File;
use std::io::{Read, Seek, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::event::{PollFd, PollFlags};
use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;

use super::Source;
use crate::cancel::CancelToken;
use crate::content::Wrapped;
use crate::error::{Call, Error, ErrorKind, Result};

/// An open source.
pub(super) enum Opened {
    Directory { fd: OwnedFd, path: PathBuf },
    Stream { reader: Cancellable, what: String },
}

impl Opened {
    /// What it is called.
    pub(super) fn what(&self) -> String {
        match self {
            Opened::Directory { path, .. } => path.to_string_lossy().into_owned(),
            Opened::Stream { what, .. } => what.clone(),
        }
    }
}

/// Opens a source. What is neither a directory nor a file nor a pipe is refused before it is read.
pub(super) fn open(source: Source, cancel: &CancelToken) -> Result<Opened> {
    let (fd, path) = match source {
        Source::Path(path) => {
            // Without waiting, so that a pipe nobody writes to can be cancelled, and a device does nothing.
            let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
            match rustix::fs::open(&path, flags, Mode::empty()) {
                Err(Errno::NOENT) if is_url(&path) => return Err(url(&path)),
                fd => (fd.call("open", &path)?, path),
            }
        }
        Source::Fd(fd) => (fd, PathBuf::from("standard input or descriptor")),
        Source::Bytes(bytes) => (memory(&bytes)?, PathBuf::from("bytes in memory")),
    };
    let stat = rustix::fs::fstat(&fd).call("fstat", &path)?;
    let what = path.to_string_lossy().into_owned();
    let stream = |polled| {
        Ok(Opened::Stream {
            reader: Cancellable {
                file: File::from(fd.try_clone().call("dup", &path)?),
                polled,
                cancel: cancel.clone(),
            },
            what: what.clone(),
        })
    };
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => Ok(Opened::Directory { fd, path }),
        FileType::RegularFile => stream(false),
        FileType::Fifo | FileType::Socket => stream(true),
        _ => Err(Error::new(
            ErrorKind::InvalidArgument,
            format!("\"{what}\" is not a file, directory or pipe"),
        )
        .with_object(what)
        .with_hint("name a file, or send one to standard input")),
    }
}

fn is_url(path: &Path) -> bool {
    let scheme = path.to_str().and_then(|text| text.split_once("://")).map(|(scheme, _)| scheme);
    scheme
        .is_some_and(|scheme| ["http", "https", "ftp"].iter().any(|known| scheme.eq_ignore_ascii_case(known)))
}

/// The error for what docker would fetch: who asks, through which proxy and with whose trust is the caller's business.
fn url(path: &Path) -> Error {
    let text = path.to_string_lossy();
    // What is before an @ may be a password.
    let shown = match text.split_once("://") {
        Some((scheme, rest)) => format!("{scheme}://{}", rest.rsplit('@').next().unwrap_or_default()),
        None => text.into_owned(),
    };
    Error::new(ErrorKind::InvalidArgument, format!("\"{shown}\" is a URL, not a file"))
        .with_object(shown)
        .with_hint("fetch it first, and name the file, or send it to standard input")
}

/// Opens a source that has to be a stream.
pub(super) fn open_stream(source: Source, cancel: &CancelToken) -> Result<(Cancellable, String)> {
    match open(source, cancel)? {
        Opened::Stream { reader, what } => Ok((reader, what)),
        Opened::Directory { path, .. } => Err(not_archive(&path)),
    }
}

/// Bytes in memory as a file.
fn memory(bytes: &[u8]) -> Result<OwnedFd> {
    let fd = rustix::fs::memfd_create(c"coble-archive", rustix::fs::MemfdFlags::CLOEXEC)
        .call("memfd_create", "archive")?;
    let mut file = File::from(fd);
    file.write_all(bytes).map_err(|error| Error::io("write", "archive", &error))?;
    file.rewind().map_err(|error| Error::io("lseek", "archive", &error))?;
    Ok(file.into())
}

/// Opens an archive for a worker, which waits for what comes by itself. What is neither a file nor a pipe is refused.
pub(crate) fn archive_input(source: Source) -> Result<OwnedFd> {
    match open(source, &CancelToken::never())? {
        Opened::Stream { reader, .. } => Ok(reader.file.into()),
        Opened::Directory { path, .. } => Err(not_archive(&path)),
    }
}

fn not_archive(path: &Path) -> Error {
    Error::new(ErrorKind::InvalidArgument, format!("\"{}\" is a directory, not an archive", path.display()))
        .with_object(path.to_string_lossy())
}

/// A file or pipe whose reads end when the token is cancelled.
pub(super) struct Cancellable {
    file: File,
    polled: bool,
    cancel: CancelToken,
}

impl Cancellable {
    /// How many bytes are left of a file; 0 if that is not known.
    pub(super) fn size(&self) -> u64 {
        let Ok(stat) = rustix::fs::fstat(&self.file) else { return 0 };
        let at = rustix::fs::tell(&self.file).unwrap_or(0);
        if self.polled { 0 } else { u64::try_from(stat.st_size).unwrap_or(0).saturating_sub(at) }
    }

    fn wait(&self) -> std::io::Result<()> {
        let mut fds = vec![PollFd::from_borrowed_fd(self.file.as_fd(), PollFlags::IN)];
        if let Some(fd) = self.cancel.as_fd() {
            fds.push(PollFd::from_borrowed_fd(fd, PollFlags::IN));
        }
        loop {
            match rustix::event::poll(&mut fds, None) {
                Ok(_) => return Ok(()),
                // A signal says nothing of the file: whoever went on would wait where nobody can cancel.
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
    }
}

impl Read for Cancellable {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        loop {
            self.cancel.check().map_err(Wrapped::io)?;
            if self.polled {
                self.wait()?;
                self.cancel.check().map_err(Wrapped::io)?;
            }
            match self.file.read(buffer) {
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock && self.polled => {}
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                result => return result,
            }
        }
    }
}
