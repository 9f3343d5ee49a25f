//! What containers wrote.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use core::{LogOptions, LogRecord, LogSource, LogStream, Result};

use crate::boundary::{Out, invalid};
use crate::cancel::{coble_cancel_t, token};
use crate::error::coble_error_t;
use crate::handle::{self, Handle, borrow, borrow_mut};
use crate::options::{self, Options, flag};
use crate::status::coble_status_t;

/// Standard output: a record's source, and a bit of coble_log_options_t.sources.
pub const COBLE_LOG_STDOUT: i32 = 1;
/// Standard error: a record's source, and a bit of coble_log_options_t.sources.
pub const COBLE_LOG_STDERR: i32 = 2;

/// Which part of a log to read. Zero everything but the size for the defaults.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct coble_log_options_t {
    /// sizeof(coble_log_options_t).
    pub size: usize,
    /// Only what came at or after this time, in nanoseconds since the epoch. 0: from the beginning.
    pub since_ns: i64,
    /// Only what came before this time, in nanoseconds since the epoch. 0: to the end.
    pub until_ns: i64,
    /// Only the last lines. 0: all.
    pub tail: u64,
    /// 1: wait for more until the container ends.
    pub follow: i32,
    /// COBLE_LOG_STDOUT, COBLE_LOG_STDERR, or both together. 0: both.
    pub sources: i32,
}

const _: () = assert!(size_of::<coble_log_options_t>() == size_of::<usize>() + 32, "padding");

// SAFETY: repr(C), size first, integers only, and no padding as asserted above.
unsafe impl Options for coble_log_options_t {
    const NAME: &'static str = "options";
}

impl coble_log_options_t {
    /// # Safety
    /// As [`options::read`].
    pub(crate) unsafe fn read(options: *const coble_log_options_t) -> Result<LogOptions> {
        // SAFETY: passed on.
        let given = unsafe { options::read(options) }?;
        if !(0..=3).contains(&given.sources) {
            return Err(invalid("options.sources", format_args!("has the unknown value {}", given.sources)));
        }
        let mut options = LogOptions::default();
        options.follow = flag(given.follow, "options.follow")?;
        options.stdout = given.sources == 0 || given.sources & COBLE_LOG_STDOUT != 0;
        options.stderr = given.sources == 0 || given.sources & COBLE_LOG_STDERR != 0;
        options.tail = (given.tail != 0).then_some(given.tail);
        options.since = time(given.since_ns, "options.since_ns")?;
        options.until = time(given.until_ns, "options.until_ns")?;
        Ok(options)
    }
}

fn time(nanoseconds: i64, argument: &str) -> Result<Option<SystemTime>> {
    let nanoseconds = u64::try_from(nanoseconds).map_err(|_| invalid(argument, "is negative"))?;
    Ok((nanoseconds != 0).then(|| UNIX_EPOCH + Duration::from_nanos(nanoseconds)))
}

/// The output of a container, read piece by piece.
pub struct coble_log_stream_t {
    stream: LogStream,
    record: Option<coble_log_record_t>,
}

impl Handle for coble_log_stream_t {
    const NAME: &'static str = "stream";
}

impl coble_log_stream_t {
    pub(crate) fn new(stream: LogStream) -> coble_log_stream_t {
        coble_log_stream_t { stream, record: None }
    }
}

/// A piece of output, as it arrived. Borrowed from its stream until the next call on that.
pub struct coble_log_record_t(LogRecord);

impl Handle for coble_log_record_t {
    const NAME: &'static str = "record";
}

/// Gives the next piece, or NULL at the end. Blocks only when the options say to follow. The piece is valid until the next call on the stream.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_log_stream_next(
    stream: *mut coble_log_stream_t,
    cancel: *const coble_cancel_t,
    record: *mut *const coble_log_record_t,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        let (stream, cancel, out) =
            unsafe { (borrow_mut(stream)?, token(cancel), Out::new(record, "record")?) };
        stream.record = None;
        stream.record = stream.stream.next(&cancel)?.map(coble_log_record_t);
        out.set(stream.record.as_ref().map_or(std::ptr::null(), |record| record as *const _));
    })
}

/// Gives the next piece that is there already, or NULL; it never blocks, and NULL says nothing about the end. The piece is valid until the
/// next call on the stream.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_log_stream_try_next(
    stream: *mut coble_log_stream_t,
    record: *mut *const coble_log_record_t,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        let (stream, out) = unsafe { (borrow_mut(stream)?, Out::new(record, "record")?) };
        stream.record = None;
        stream.record = stream.stream.try_next()?.map(coble_log_record_t);
        out.set(stream.record.as_ref().map_or(std::ptr::null(), |record| record as *const _));
    })
}

/// When a piece arrived, in nanoseconds since the epoch.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_log_record_time_ns(record: *const coble_log_record_t) -> i64 {
    boundary_value!(0, {
        // SAFETY: the caller's, by the contract of the header.
        let time =
            unsafe { borrow(record) }.ok().and_then(|record| record.0.time.duration_since(UNIX_EPOCH).ok());
        time.map_or(0, |time| i64::try_from(time.as_nanos()).unwrap_or(i64::MAX))
    })
}

/// Where a piece was written: COBLE_LOG_STDOUT or COBLE_LOG_STDERR; 0 if the record is NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_log_record_source(record: *const coble_log_record_t) -> i32 {
    boundary_value!(0, {
        // SAFETY: the caller's, by the contract of the header.
        unsafe { borrow(record) }.map_or(0, |record| match record.0.source {
            LogSource::Stderr => COBLE_LOG_STDERR,
            _ => COBLE_LOG_STDOUT,
        })
    })
}

/// The bytes of a piece, and their number. `length` may be NULL. There is no NUL at the end.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_log_record_data(
    record: *const coble_log_record_t,
    length: *mut usize,
) -> *const u8 {
    boundary_value!(std::ptr::null(), {
        // SAFETY: the caller's, by the contract of the header.
        let data = unsafe { borrow(record) }.map_or(&[][..], |record| record.0.data.as_slice());
        // SAFETY: likewise; the caller may not want the length.
        if let Ok(length) = unsafe { Out::new(length, "length") } {
            length.set(data.len());
        }
        data.as_ptr()
    })
}

/// Deletes a stream. NULL is fine.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_log_stream_delete(stream: *mut coble_log_stream_t) {
    boundary_value!((), {
        // SAFETY: the caller's, by the contract of the header.
        unsafe { handle::delete(stream) }
    })
}
