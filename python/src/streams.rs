//! Standard streams as Python names them: `PIPE` and the like as in `subprocess`, descriptors, files.

use coble::{Error, ErrorKind, StdioMode};
use pyo3::prelude::*;
use rustix::fd::OwnedFd;

use crate::enter::duplicate;
use crate::errors::{invalid, raise};

/// As `subprocess.PIPE`.
pub(crate) const PIPE: i32 = -1;
/// As `subprocess.STDOUT`.
pub(crate) const STDOUT: i32 = -2;
/// As `subprocess.DEVNULL`.
pub(crate) const DEVNULL: i32 = -3;
/// The program's own stream of the same number.
pub(crate) const INHERIT: i32 = -4;

/// A standard stream that a caller asked for.
pub(crate) enum Stream {
    /// Nothing was asked for.
    Default,
    Pipe,
    /// Where standard output goes.
    Stdout,
    Null,
    Inherit,
    Fd(OwnedFd),
}

/// The descriptor of a number or of something with a `fileno`.
pub(crate) fn descriptor(value: &Bound<'_, PyAny>) -> PyResult<i32> {
    match value.extract::<i32>() {
        Ok(fd) => Ok(fd),
        Err(_) => value.call_method0("fileno")?.extract(),
    }
}

impl Stream {
    pub(crate) fn new(value: Option<&Bound<'_, PyAny>>) -> PyResult<Stream> {
        let Some(value) = value else { return Ok(Stream::Default) };
        let py = value.py();
        match descriptor(value)? {
            PIPE => Ok(Stream::Pipe),
            STDOUT => Ok(Stream::Stdout),
            DEVNULL => Ok(Stream::Null),
            INHERIT => Ok(Stream::Inherit),
            fd => Ok(Stream::Fd(duplicate(fd).map_err(|error| raise(py, error))?)),
        }
    }

    /// For `start` and `popen`. [`Stream::Stdout`] is the caller's to resolve.
    pub(crate) fn mode(self, py: Python<'_>, default: StdioMode) -> PyResult<StdioMode> {
        match self {
            Stream::Default => Ok(default),
            Stream::Pipe => Ok(StdioMode::Pipe),
            Stream::Stdout => Err(invalid(py, "STDOUT is only for standard error of popen")),
            Stream::Null => Ok(StdioMode::Null),
            Stream::Inherit => Ok(StdioMode::Inherit),
            Stream::Fd(fd) => Ok(StdioMode::Fd(fd)),
        }
    }

    /// For a run, where None is what the run does by itself.
    pub(crate) fn for_run(self, py: Python<'_>, number: i32) -> PyResult<Option<OwnedFd>> {
        match self {
            Stream::Default => Ok(None),
            Stream::Pipe | Stream::Stdout => {
                Err(invalid(py, "PIPE and STDOUT are only for popen: a run collects its output"))
            }
            Stream::Null => {
                let null = std::fs::File::options().read(true).write(true).open("/dev/null");
                let null = null.map_err(|error| raise(py, Error::io("open", "/dev/null", &error)))?;
                Ok(Some(null.into()))
            }
            Stream::Inherit => duplicate(number).map(Some).map_err(|error| raise(py, error)),
            Stream::Fd(fd) => Ok(Some(fd)),
        }
    }
}

/// A pipe whose write end both outputs of a program share: (read end, write end, write end).
pub(crate) fn shared_pipe() -> coble::Result<(OwnedFd, OwnedFd, OwnedFd)> {
    let failed = |call: &str, errno: rustix::io::Errno| Error::syscall(call, "pipe", errno.raw_os_error());
    let (read, write) =
        rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).map_err(|errno| failed("pipe2", errno))?;
    let second = rustix::io::fcntl_dupfd_cloexec(&write, 3).map_err(|errno| failed("fcntl", errno))?;
    Ok((read, write, second))
}

/// A duplicate of a stream that goes to a descriptor.
pub(crate) fn same(mode: &StdioMode) -> coble::Result<Option<StdioMode>> {
    Ok(match mode {
        StdioMode::Null => Some(StdioMode::Null),
        StdioMode::Fd(fd) => {
            let fd = rustix::io::fcntl_dupfd_cloexec(fd, 3);
            Some(StdioMode::Fd(
                fd.map_err(|errno| Error::syscall("fcntl", "descriptor", errno.raw_os_error()))?,
            ))
        }
        StdioMode::Inherit => {
            let fd = duplicate(1).map_err(|error| {
                if error.kind() == ErrorKind::Io {
                    error.while_doing("inheriting standard output")
                } else {
                    error
                }
            })?;
            Some(StdioMode::Fd(fd))
        }
        _ => None,
    })
}
