//! What the processes of a container are, and what they use.

use core::StatsStream;
use std::ffi::c_char;
use std::time::Duration;

use crate::boundary::Out;
use crate::cancel::{coble_cancel_t, token};
use crate::container::coble_container_t;
use crate::error::coble_error_t;
use crate::handle::{self, Handle, borrow, borrow_mut};
use crate::status::coble_status_t;
use crate::string::coble_string_t;
use crate::strings::texts;

/// What a container uses, again and again.
pub struct coble_stats_stream_t(StatsStream);

impl Handle for coble_stats_stream_t {
    const NAME: &'static str = "stream";
}

/// The processes of the container as a JSON object: "titles" has those of the columns of ps -ef, "processes" has a row of texts for each. The numbers are those of the
/// host, times are UTC. COBLE_ERR_INVALID_STATE if it does not run.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_container_top(
    container: *const coble_container_t,
    json: *mut *mut coble_string_t,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        let (container, out) = unsafe { (borrow(container)?, Out::new(json, "json")?) };
        coble_string_t::json(&container.container.top()?)?.give(out);
    })
}

/// As coble_container_top, with the columns that options of ps ask for, `count` texts of a word or several each: -ef, aux, or -o (-eo, --format) and a list such as pid,ppid,user,stat,etime,rss,comm,args.
/// COBLE_ERR_INVALID_ARGUMENT for what is not known.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_container_top_with(
    container: *const coble_container_t,
    ps_args: *const *const c_char,
    count: usize,
    json: *mut *mut coble_string_t,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        let (container, ps_args, out) =
            unsafe { (borrow(container)?, texts(ps_args, count, "ps_args")?, Out::new(json, "json")?) };
        coble_string_t::json(&container.container.top_with(&ps_args)?)?.give(out);
    })
}

/// What the log options of the container have each record of its log say of it, as a JSON object of texts: labels, variables and the tag. Empty for a driver that has no such options.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_container_log_attributes(
    container: *const coble_container_t,
    json: *mut *mut coble_string_t,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        let (container, out) = unsafe { (borrow(container)?, Out::new(json, "json")?) };
        coble_string_t::json(&container.container.log_attributes()?)?.give(out);
    })
}

/// What the container uses, as a JSON object: "cpu_percent", which is that of `interval_ms` milliseconds that are waited for (0: it is 0), "memory_usage",
/// "memory_limit", "pids", "block_read", "block_write", "network_rx", "network_tx" and so on. COBLE_ERR_INVALID_STATE if it does not run.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_container_stats(
    container: *const coble_container_t,
    interval_ms: u32,
    cancel: *const coble_cancel_t,
    json: *mut *mut coble_string_t,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        let (container, cancel, out) =
            unsafe { (borrow(container)?, token(cancel), Out::new(json, "json")?) };
        let interval = Duration::from_millis(interval_ms.into());
        coble_string_t::json(&container.container.stats(interval, &cancel)?)?.give(out);
    })
}

/// What the container uses, again and again: at once, and then after each interval.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_container_stats_stream(
    container: *const coble_container_t,
    interval_ms: u32,
    stream: *mut *mut coble_stats_stream_t,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        let (container, out) = unsafe { (borrow(container)?, Out::new(stream, "stream")?) };
        let interval = Duration::from_millis(interval_ms.into());
        coble_stats_stream_t(container.container.stats_stream(interval)?).give(out);
    })
}

/// Waits for the next look, and gives it as coble_container_stats does; NULL when the container does not run any more.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_stats_stream_next(
    stream: *mut coble_stats_stream_t,
    cancel: *const coble_cancel_t,
    json: *mut *mut coble_string_t,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        let (stream, cancel, out) = unsafe { (borrow_mut(stream)?, token(cancel), Out::new(json, "json")?) };
        match stream.0.next(&cancel)? {
            Some(stats) => coble_string_t::json(&stats)?.give(out),
            None => out.set(std::ptr::null_mut()),
        }
    })
}

/// Deletes a stream. NULL is fine.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_stats_stream_delete(stream: *mut coble_stats_stream_t) {
    boundary_value!((), {
        // SAFETY: the caller's, by the contract of the header.
        unsafe { handle::delete(stream) }
    })
}
