//! Standard streams.

use std::os::fd::{BorrowedFd, OwnedFd};

use core::{Error, Result, Stdio, StdioMode};

use crate::boundary::invalid;
use crate::options::{self, Options};

/// What the function does when nobody asks: it says so.
pub const COBLE_STREAM_DEFAULT: i32 = 0;
/// /dev/null.
pub const COBLE_STREAM_NULL: i32 = 1;
/// Kept for coble_container_logs. Only for output of a container's own program.
pub const COBLE_STREAM_LOG: i32 = 2;
/// A new pipe, whose other end the process object has. Only for coble_container_popen.
pub const COBLE_STREAM_PIPE: i32 = 3;
/// The caller's own stream of the same number: 0, 1 or 2.
pub const COBLE_STREAM_INHERIT: i32 = 4;
/// The descriptor `fd`, which is duplicated.
pub const COBLE_STREAM_FD: i32 = 5;

/// Where a standard stream goes.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct coble_stream_t {
    /// One of COBLE_STREAM_DEFAULT, COBLE_STREAM_NULL, COBLE_STREAM_LOG, COBLE_STREAM_PIPE, COBLE_STREAM_INHERIT, COBLE_STREAM_FD.
    pub mode: i32,
    /// The descriptor of COBLE_STREAM_FD.
    pub fd: i32,
}

/// The three standard streams of a program.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct coble_stdio_t {
    /// sizeof(coble_stdio_t).
    pub size: usize,
    /// Standard input.
    pub stdin_stream: coble_stream_t,
    /// Standard output.
    pub stdout_stream: coble_stream_t,
    /// Standard error.
    pub stderr_stream: coble_stream_t,
}

const _: () = assert!(size_of::<coble_stdio_t>() == size_of::<usize>() + 24, "padding");

// SAFETY: repr(C), size first, integers only, and no padding as asserted above.
unsafe impl Options for coble_stdio_t {
    const NAME: &'static str = "stdio";
}

/// A descriptor of our own for one of the caller's.
pub(crate) fn duplicate(fd: i32, argument: &str) -> Result<OwnedFd> {
    if fd < 0 {
        return Err(invalid(argument, format_args!("is {fd}, which is no descriptor")));
    }
    // SAFETY: not negative. That it is open is what the duplication finds out: nothing else is done with it.
    let borrowed = unsafe { BorrowedFd::borrow_raw(fd) };
    borrowed.try_clone_to_owned().map_err(|error| Error::io("fcntl", format!("descriptor {fd}"), &error))
}

impl coble_stream_t {
    /// What was asked for, with the default of the function.
    pub(crate) fn mode(self, default: StdioMode, argument: &str) -> Result<StdioMode> {
        match self.mode {
            COBLE_STREAM_DEFAULT => Ok(default),
            COBLE_STREAM_NULL => Ok(StdioMode::Null),
            COBLE_STREAM_LOG => Ok(StdioMode::Log),
            COBLE_STREAM_PIPE => Ok(StdioMode::Pipe),
            COBLE_STREAM_INHERIT => Ok(StdioMode::Inherit),
            COBLE_STREAM_FD => Ok(StdioMode::Fd(duplicate(self.fd, argument)?)),
            other => Err(invalid(argument, format_args!("has the unknown mode {other}"))),
        }
    }
}

/// The streams that were asked for.
///
/// # Safety
/// As [`options::read`].
pub(crate) unsafe fn streams(stdio: *const coble_stdio_t, defaults: Stdio) -> Result<Stdio> {
    // SAFETY: passed on.
    let given = unsafe { options::read(stdio) }?;
    Ok(Stdio {
        stdin: given.stdin_stream.mode(defaults.stdin, "stdio.stdin_stream")?,
        stdout: given.stdout_stream.mode(defaults.stdout, "stdio.stdout_stream")?,
        stderr: given.stderr_stream.mode(defaults.stderr, "stdio.stderr_stream")?,
    })
}
