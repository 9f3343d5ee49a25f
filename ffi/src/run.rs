//! Options and results of programs that are run to their end.

use std::ffi::{CString, c_char, c_void};
use std::os::fd::OwnedFd;
use std::time::Duration;

use core::{Error, LogSource, Result, RunOptions, RunResult, Signal, StdioMode};

use crate::boundary::{Out, invalid};
use crate::handle::{self, Handle, borrow};
use crate::isolation::coble_isolation_t;
use crate::log::{COBLE_LOG_STDERR, COBLE_LOG_STDOUT};
use crate::options::{self, Options, flag};
use crate::stdio::{coble_stream_t, duplicate};
use crate::strings::c_string;
use crate::warning::Warnings;

/// How coble_engine_run and coble_container_exec treat the program. Zero everything but the size for the defaults.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct coble_run_options_t {
    /// sizeof(coble_run_options_t).
    pub size: usize,
    /// Bytes for standard input, or NULL.
    pub input: *const c_void,
    /// How many bytes `input` has.
    pub input_length: usize,
    /// Milliseconds after which the program is killed and the call fails with COBLE_ERR_TIMEOUT. 0: never. What was collected until then: see coble_error_run_result.
    pub timeout_ms: i64,
    /// The most bytes that are collected of each output; more fails with COBLE_ERR_LIMIT_EXCEEDED. 0: 1 GiB.
    pub capture_limit: u64,
    /// 1: fail with COBLE_ERR_CONTAINER_EXIT unless the exit code is 0. See coble_error_run_result.
    pub check: i32,
    /// Has to be 0.
    pub reserved: i32,
    /// Standard input. COBLE_STREAM_DEFAULT: `input`, or /dev/null.
    pub stdin_stream: coble_stream_t,
    /// Standard output. COBLE_STREAM_DEFAULT: collected.
    pub stdout_stream: coble_stream_t,
    /// Standard error. COBLE_STREAM_DEFAULT: collected.
    pub stderr_stream: coble_stream_t,
}

const _: () = assert!(size_of::<coble_run_options_t>() == 3 * size_of::<usize>() + 48, "padding");

// SAFETY: repr(C), size first, raw pointers and integers only, and no padding as asserted above.
unsafe impl Options for coble_run_options_t {
    const NAME: &'static str = "options";
}

impl coble_run_options_t {
    /// # Safety
    /// As [`options::read`], and `input` has `input_length` readable bytes.
    pub(crate) unsafe fn read(options: *const coble_run_options_t) -> Result<RunOptions> {
        // SAFETY: passed on.
        let given = unsafe { options::read(options) }?;
        options::reserved(given.reserved, "options.reserved")?;
        let mut options = RunOptions::default();
        if !given.input.is_null() {
            if given.input_length > isize::MAX as usize {
                return Err(invalid("options.input_length", "is impossible"));
            }
            // SAFETY: not NULL, that long by the contract of this function, and no longer than an object can be.
            let input = unsafe { std::slice::from_raw_parts(given.input.cast::<u8>(), given.input_length) };
            options.input = Some(input.to_vec());
        } else if given.input_length != 0 {
            return Err(invalid("options.input", "is NULL and has a length"));
        }
        options.timeout = match given.timeout_ms {
            0 => None,
            milliseconds => Some(duration(milliseconds, "options.timeout_ms")?),
        };
        options.capture_limit = (given.capture_limit != 0).then_some(given.capture_limit);
        options.check = flag(given.check, "options.check")?;
        options.stdin = descriptor(given.stdin_stream, 0, "options.stdin_stream")?;
        options.stdout = descriptor(given.stdout_stream, 1, "options.stdout_stream")?;
        options.stderr = descriptor(given.stderr_stream, 2, "options.stderr_stream")?;
        Ok(options)
    }
}

/// A duration of the caller in milliseconds.
pub(crate) fn duration(milliseconds: i64, argument: &str) -> Result<Duration> {
    let milliseconds = u64::try_from(milliseconds).map_err(|_| invalid(argument, "is negative"))?;
    Ok(Duration::from_millis(milliseconds))
}

/// A duration of the caller in milliseconds, where a negative number means that there is none.
pub(crate) fn optional_duration(milliseconds: i64) -> Option<Duration> {
    u64::try_from(milliseconds).ok().map(Duration::from_millis)
}

/// A signal of the caller, where 0 means that there is none.
pub(crate) fn optional_signal(number: i32) -> Result<Option<Signal>> {
    if number == 0 { Ok(None) } else { Signal::new(number).map(Some) }
}

/// The descriptor of a stream, for a run; None where the run itself has to do with it.
fn descriptor(stream: coble_stream_t, own: i32, argument: &str) -> Result<Option<OwnedFd>> {
    // The default is marked by a mode that a run cannot have.
    if stream.mode == crate::stdio::COBLE_STREAM_DEFAULT {
        return Ok(None);
    }
    match stream.mode(StdioMode::Null, argument)? {
        StdioMode::Null => {
            let null = std::fs::File::options().read(true).write(true).open("/dev/null");
            Ok(Some(null.map_err(|error| Error::io("open", "/dev/null", &error))?.into()))
        }
        StdioMode::Inherit => duplicate(own, argument).map(Some),
        StdioMode::Fd(fd) => Ok(Some(fd)),
        _ => Err(invalid(argument, "has a mode that a run cannot have")),
    }
}

/// What a program left.
pub struct coble_run_result_t {
    result: RunResult,
    /// Whether it is of standard error, and where in its stream it is.
    records: Vec<(bool, std::ops::Range<usize>)>,
    timings: Vec<CString>,
    warnings: Warnings,
    isolation: Option<coble_isolation_t>,
}

impl Handle for coble_run_result_t {
    const NAME: &'static str = "result";
}

impl coble_run_result_t {
    pub(crate) fn new(result: RunResult) -> coble_run_result_t {
        let mut at = [0; 2];
        let records = result.records().map(|(source, piece)| {
            let stderr = source == LogSource::Stderr;
            let start = &mut at[usize::from(stderr)];
            let range = *start..*start + piece.len();
            *start = range.end;
            (stderr, range)
        });
        coble_run_result_t {
            records: records.collect(),
            timings: result.timings.iter().map(|(name, _)| c_string(name)).collect(),
            warnings: Warnings::new(&result.warnings),
            isolation: result.isolation.clone().map(coble_isolation_t::new),
            result,
        }
    }
}

/// The program's exit code, or 128 plus the signal that ended it; -1 if the result is NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_run_result_exit_code(result: *const coble_run_result_t) -> i32 {
    boundary_value!(-1, {
        // SAFETY: the caller's, by the contract of the header.
        unsafe { borrow(result) }.map_or(-1, |result| result.result.exit_code)
    })
}

/// Standard output, if it was collected, and its length. Borrowed; `length` may be NULL. There is no NUL at the end.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_run_result_stdout(
    result: *const coble_run_result_t,
    length: *mut usize,
) -> *const u8 {
    boundary_value!(std::ptr::null(), {
        // SAFETY: the caller's, by the contract of the header.
        unsafe { output(result, length, |result| &result.stdout) }
    })
}

/// How many pieces both streams have in the order in which they were read. 0 if nothing was collected.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_run_result_record_count(result: *const coble_run_result_t) -> usize {
    boundary_value!(0, {
        // SAFETY: the caller's, by the contract of the header.
        unsafe { borrow(result) }.map_or(0, |result| result.records.len())
    })
}

/// A piece of the output, in the order in which it was read, and its length: of what a program had written to both streams before either was read, standard output comes first. `source`, which may be NULL, gets COBLE_LOG_STDOUT or
/// COBLE_LOG_STDERR. Borrowed; `length` may be NULL. There is no NUL at the end. NULL if the index is too large.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_run_result_record(
    result: *const coble_run_result_t,
    index: usize,
    source: *mut i32,
    length: *mut usize,
) -> *const u8 {
    boundary_value!(std::ptr::null(), {
        // SAFETY: the caller's, by the contract of the header.
        let Ok(result) = (unsafe { borrow(result) }) else { return std::ptr::null() };
        let Some((stderr, range)) = result.records.get(index) else { return std::ptr::null() };
        let data = if *stderr { &result.result.stderr } else { &result.result.stdout };
        let piece = data.get(range.clone()).unwrap_or_default();
        // SAFETY: the caller's, by the contract of the header.
        let (source, length) = unsafe { (Out::new(source, "source"), Out::new(length, "length")) };
        if let Ok(source) = source {
            source.set(if *stderr { COBLE_LOG_STDERR } else { COBLE_LOG_STDOUT });
        }
        if let Ok(length) = length {
            length.set(piece.len());
        }
        piece.as_ptr()
    })
}

/// Standard error, if it was collected, and its length. Borrowed; `length` may be NULL. There is no NUL at the end.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_run_result_stderr(
    result: *const coble_run_result_t,
    length: *mut usize,
) -> *const u8 {
    boundary_value!(std::ptr::null(), {
        // SAFETY: the caller's, by the contract of the header.
        unsafe { output(result, length, |result| &result.stderr) }
    })
}

/// # Safety
/// As [`borrow`]; `length` is NULL or writable.
unsafe fn output(
    result: *const coble_run_result_t,
    length: *mut usize,
    stream: impl Fn(&RunResult) -> &Vec<u8>,
) -> *const u8 {
    // SAFETY: passed on.
    let data = unsafe { borrow(result) }.map_or(&[][..], |result| stream(&result.result).as_slice());
    // SAFETY: passed on; the caller may not want the length.
    if let Ok(length) = unsafe { Out::new(length, "length") } {
        length.set(data.len());
    }
    data.as_ptr()
}

/// How many phases were timed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_run_result_timing_count(result: *const coble_run_result_t) -> usize {
    boundary_value!(0, {
        // SAFETY: the caller's, by the contract of the header.
        unsafe { borrow(result) }.map_or(0, |result| result.timings.len())
    })
}

/// The name of a phase, in order. NULL if the index is too large.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_run_result_timing_name(
    result: *const coble_run_result_t,
    index: usize,
) -> *const c_char {
    boundary_value!(std::ptr::null(), {
        // SAFETY: the caller's, by the contract of the header.
        let name = unsafe { borrow(result) }.ok().and_then(|result| result.timings.get(index));
        name.map_or(std::ptr::null(), |name| name.as_ptr())
    })
}

/// How long a phase took, in nanoseconds. 0 if the index is too large.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_run_result_timing_ns(result: *const coble_run_result_t, index: usize) -> u64 {
    boundary_value!(0, {
        // SAFETY: the caller's, by the contract of the header.
        let timing = unsafe { borrow(result) }.ok().and_then(|result| result.result.timings.get(index));
        timing.map_or(0, |(_, time)| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX))
    })
}

/// How many things could not be given and were not essential.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_run_result_warning_count(result: *const coble_run_result_t) -> usize {
    boundary_value!(0, {
        // SAFETY: the caller's, by the contract of the header.
        unsafe { borrow(result) }.map_or(0, |result| result.warnings.count())
    })
}

/// The stable code of a warning, such as "memory-limit-not-applied". NULL if the index is too large.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_run_result_warning_code(
    result: *const coble_run_result_t,
    index: usize,
) -> *const c_char {
    boundary_value!(std::ptr::null(), {
        // SAFETY: the caller's, by the contract of the header.
        unsafe { borrow(result) }.map_or(std::ptr::null(), |result| result.warnings.code(index))
    })
}

/// The explanation of a warning. NULL if the index is too large.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_run_result_warning_message(
    result: *const coble_run_result_t,
    index: usize,
) -> *const c_char {
    boundary_value!(std::ptr::null(), {
        // SAFETY: the caller's, by the contract of the header.
        unsafe { borrow(result) }.map_or(std::ptr::null(), |result| result.warnings.message(index))
    })
}

/// The isolation that the program really had. Borrowed from the result; NULL for exec, which has that of its container.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_run_result_isolation(
    result: *const coble_run_result_t,
) -> *const coble_isolation_t {
    boundary_value!(std::ptr::null(), {
        // SAFETY: the caller's, by the contract of the header.
        let isolation = unsafe { borrow(result) }.ok().and_then(|result| result.isolation.as_ref());
        isolation.map_or(std::ptr::null(), std::ptr::from_ref)
    })
}

/// Deletes a result, which is not one borrowed from an error. NULL is fine.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_run_result_delete(result: *mut coble_run_result_t) {
    boundary_value!((), {
        // SAFETY: the caller's, by the contract of the header.
        unsafe { handle::delete(result) }
    })
}
