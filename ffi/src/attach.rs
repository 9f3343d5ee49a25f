//! Connecting to the program of a container.

use core::{AttachOptions, Result, StdioMode};

use crate::boundary::{Out, invalid};
use crate::cancel::{coble_cancel_t, token};
use crate::container::coble_container_t;
use crate::error::coble_error_t;
use crate::handle::{Handle, borrow};
use crate::options::{self, Options, flag};
use crate::process::coble_process_t;
use crate::status::coble_status_t;
use crate::stdio::{coble_stream_t, duplicate};

/// Standard input: a bit of coble_attach_options_t.streams.
pub const COBLE_ATTACH_STDIN: i32 = 1;
/// Standard output, which is all output of a terminal: a bit of coble_attach_options_t.streams.
pub const COBLE_ATTACH_STDOUT: i32 = 2;
/// Standard error: a bit of coble_attach_options_t.streams.
pub const COBLE_ATTACH_STDERR: i32 = 4;

/// Which streams to connect to. Zero everything but the size for the defaults.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct coble_attach_options_t {
    /// sizeof(coble_attach_options_t).
    pub size: usize,
    /// COBLE_ATTACH_STDIN, COBLE_ATTACH_STDOUT and COBLE_ATTACH_STDERR together. 0: both outputs.
    pub streams: i32,
    /// 1: first what the program has written already.
    pub logs: i32,
    /// Of coble_container_start_attached. 1: the program keeps pace with whoever reads its output, which comes from it and not from the log, though that gets it, too. It is held up by who
    /// reads slowly, and hears when nobody reads any more, as of any pipe. Not for a terminal, and not with `logs`.
    pub paced: i32,
    /// Must be 0.
    pub reserved: i32,
    /// Of coble_container_start_attached: what the program reads, itself, with nobody between, by COBLE_STREAM_INHERIT or COBLE_STREAM_FD. Not for a terminal, and not with
    /// COBLE_ATTACH_STDIN. COBLE_STREAM_DEFAULT and COBLE_STREAM_NULL: nothing.
    pub input: coble_stream_t,
}

const _: () = assert!(size_of::<coble_attach_options_t>() == size_of::<usize>() + 24, "padding");

// SAFETY: repr(C), size first, integers only, and no padding as asserted above.
unsafe impl Options for coble_attach_options_t {
    const NAME: &'static str = "options";
}

/// # Safety
/// As [`options::read`].
unsafe fn read(options: *const coble_attach_options_t) -> Result<AttachOptions> {
    // SAFETY: passed on.
    let given = unsafe { options::read(options) }?;
    if !(0..=7).contains(&given.streams) {
        return Err(invalid("options.streams", format_args!("has the unknown value {}", given.streams)));
    }
    let mut options = AttachOptions::default();
    options.logs = flag(given.logs, "options.logs")?;
    options.paced = flag(given.paced, "options.paced")?;
    if given.reserved != 0 {
        return Err(invalid("options.reserved", format_args!("is not 0")));
    }
    options.input = match given.input.mode(StdioMode::Null, "options.input")? {
        StdioMode::Null => None,
        StdioMode::Inherit => Some(duplicate(0, "options.input")?),
        StdioMode::Fd(fd) => Some(fd),
        _ => return Err(invalid("options.input", format_args!("is neither a descriptor nor nothing"))),
    };
    if given.streams != 0 {
        options.stdin = given.streams & COBLE_ATTACH_STDIN != 0;
        options.stdout = given.streams & COBLE_ATTACH_STDOUT != 0;
        options.stderr = given.streams & COBLE_ATTACH_STDERR != 0;
    }
    Ok(options)
}

/// Connects to the standard streams of the container's program, which goes on without whoever is connected. Output is read from the log, so it has to be kept there; input
/// needs coble_container_spec_set_stdin_open. The streams are pipes, which coble_process_take_stdin and its like give. `options` may be NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_container_attach(
    container: *const coble_container_t,
    options: *const coble_attach_options_t,
    process: *mut *mut coble_process_t,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        let (container, options, out) =
            unsafe { (borrow(container)?, read(options)?, Out::new(process, "process")?) };
        coble_process_t::new(container.container.attach(&options)?).give(out);
    })
}

/// Starts the program with its output kept in the log, and connects to it as coble_container_attach does before it can have written anything. `options` and `cancel` may
/// be NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_container_start_attached(
    container: *const coble_container_t,
    options: *const coble_attach_options_t,
    cancel: *const coble_cancel_t,
    process: *mut *mut coble_process_t,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        let (container, options, cancel, out) =
            unsafe { (borrow(container)?, read(options)?, token(cancel), Out::new(process, "process")?) };
        coble_process_t::new(container.container.start_attached(&options, &cancel)?).give(out);
    })
}

/// Sets height and width of the terminal of the container's program, in characters; it is told with SIGWINCH. COBLE_ERR_INVALID_STATE if it has none, or does not run.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_container_resize(
    container: *const coble_container_t,
    height: u16,
    width: u16,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        unsafe { borrow(container)? }.container.resize(height, width)?;
    })
}
