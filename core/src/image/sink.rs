//! Writing to a file, pipe or descriptor of the caller's, with cancelling. A file appears under its name only when it is complete.

use std::ffi::OsString;
use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::event::{PollFd, PollFlags};
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags};
use rustix::io::Errno;

use super::Sink;
use crate::cancel::CancelToken;
use crate::content::Wrapped;
use crate::error::{Call, Error, ErrorKind, Result};
use crate::state::random_hex;

/// An output that is open.
pub(crate) struct Output {
    file: File,
    pub(crate) what: String,
    place: Option<Place>,
    /// A pipe or socket, whose reader may keep us waiting.
    waits: bool,
    cancel: CancelToken,
}

/// The most bytes that a pipe takes without waiting once it says that it is ready.
const PIECE: usize = 4096;

/// Where a file goes when it is complete.
struct Place {
    path: PathBuf,
    /// The name that it has already, if the file system knows no files without one.
    named: Option<PathBuf>,
}

/// Opens an output. The mode of a new file is 0600, as what it holds may be anything.
pub(crate) fn create(sink: Sink, cancel: &CancelToken) -> Result<Output> {
    let path = match sink {
        Sink::Fd(fd) => {
            let what = "standard output or descriptor".to_owned();
            return Output::plain(fd, what, cancel);
        }
        Sink::Path(path) => path,
    };
    let what = path.to_string_lossy().into_owned();
    match rustix::fs::stat(&path) {
        Ok(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile => {}
        Ok(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::Directory => {
            return Err(Error::new(ErrorKind::InvalidArgument, format!("\"{what}\" is a directory"))
                .with_object(what));
        }
        // A pipe or a device: written as it is.
        Ok(_) => {
            let flags = OFlags::WRONLY | OFlags::NOCTTY | OFlags::CLOEXEC;
            let fd = rustix::fs::open(&path, flags, Mode::empty()).call("open", &path)?;
            return Output::plain(fd, what, cancel);
        }
        Err(_) => {}
    }
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let mode = Mode::RUSR | Mode::WUSR;
    let unnamed = OFlags::RDWR | OFlags::TMPFILE | OFlags::CLOEXEC;
    let (fd, named) = match rustix::fs::open(parent, unnamed, mode) {
        Ok(fd) => (fd, None),
        Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::INVAL) => {
            let name = temporary(&path)?;
            let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            (rustix::fs::open(&name, flags, mode).call("open", &name)?, Some(name))
        }
        Err(errno) => return Err(Error::syscall("open", parent, errno.raw_os_error())),
    };
    let place = Some(Place { path, named });
    Ok(Output { file: fd.into(), what, place, waits: false, cancel: cancel.clone() })
}

/// A name beside a path that nobody uses.
fn temporary(path: &Path) -> Result<PathBuf> {
    let mut name = OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(format!(".{}", random_hex(6)?));
    Ok(path.with_file_name(name))
}

impl Output {
    /// Something that is written as it is.
    fn plain(fd: OwnedFd, what: String, cancel: &CancelToken) -> Result<Output> {
        let stat = rustix::fs::fstat(&fd).call("fstat", &what)?;
        let waits = matches!(FileType::from_raw_mode(stat.st_mode), FileType::Fifo | FileType::Socket);
        Ok(Output { file: fd.into(), what, place: None, waits, cancel: cancel.clone() })
    }

    /// The open file.
    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }

    /// Gives a complete file its name.
    pub(crate) fn finish(mut self) -> Result<()> {
        let Some(place) = &mut self.place else { return Ok(()) };
        let name = match &place.named {
            Some(name) => name.clone(),
            None => {
                let name = temporary(&place.path)?;
                let own = format!("/proc/self/fd/{}", self.file.as_raw_fd());
                rustix::fs::linkat(CWD, own, CWD, &name, AtFlags::SYMLINK_FOLLOW).call("link", &name)?;
                place.named = Some(name.clone());
                name
            }
        };
        rustix::fs::rename(&name, &place.path).call("rename", &place.path)?;
        place.named = None;
        Ok(())
    }

    /// The error of writing.
    pub(crate) fn error(&self, error: &std::io::Error) -> Error {
        crate::content::write_error(error, &self.what)
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        if let Some(Place { named: Some(name), .. }) = &self.place {
            let _ = std::fs::remove_file(name);
        }
    }
}

impl Output {
    /// Waits until something can be written.
    fn wait(&self) -> std::io::Result<()> {
        let mut fds = vec![PollFd::from_borrowed_fd(self.file.as_fd(), PollFlags::OUT)];
        fds.extend(self.cancel.as_fd().map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)));
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

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let mut bytes = bytes;
        loop {
            self.cancel.check().map_err(Wrapped::io)?;
            if self.waits {
                self.wait()?;
                self.cancel.check().map_err(Wrapped::io)?;
                bytes = bytes.get(..PIECE).unwrap_or(bytes);
            }
            match crate::sys::write_without_sigpipe(self.file.as_fd(), bytes) {
                Err(Errno::AGAIN) => self.wait()?,
                Err(Errno::INTR) => {}
                result => return Ok(result?),
            }
        }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
