//! What can be done with a container besides starting and ending it.

use std::ffi::c_char;

use core::{RestartPolicy, Result, UpdateOptions, WaitCondition, parse};

use crate::boundary::{Out, invalid};
use crate::cancel::{coble_cancel_t, token};
use crate::container::coble_container_t;
use crate::engine::coble_engine_t;
use crate::error::coble_error_t;
use crate::handle::{Handle, borrow, borrow_mut};
use crate::options::{self, Options};
use crate::run::{optional_duration, optional_signal};
use crate::status::coble_status_t;
use crate::string::coble_string_t;
use crate::strings::{owned_text, text, texts};

/// It does not run.
pub const COBLE_WAIT_NOT_RUNNING: i32 = 0;
/// The next end of its program, which may still have to be started.
pub const COBLE_WAIT_NEXT_EXIT: i32 = 1;
/// It is gone.
pub const COBLE_WAIT_REMOVED: i32 = 2;
/// Its program is healthy, by its health checks; the exit code is 0. COBLE_ERR_INVALID_STATE if it has none, or ends before.
pub const COBLE_WAIT_HEALTHY: i32 = 3;

/// Stops all processes of the container, without their notice, until coble_container_unpause. COBLE_ERR_INVALID_STATE if it does not run or is paused,
/// COBLE_ERR_UNSUPPORTED where the host has no freezer for it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_container_pause(
    container: *const coble_container_t,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        unsafe { borrow(container)? }.container.pause()?;
    })
}

/// Lets the processes of a paused container go on. COBLE_ERR_INVALID_STATE if it is not paused.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_container_unpause(
    container: *const coble_container_t,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        unsafe { borrow(container)? }.container.unpause()?;
    })
}

/// Stops the container as coble_container_stop does, and starts it again, with its output kept for logs. One that does not run is started.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_container_restart(
    container: *const coble_container_t,
    timeout_ms: i64,
    cancel: *const coble_cancel_t,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        let (container, cancel) = unsafe { (borrow(container)?, token(cancel)) };
        container.container.restart(optional_duration(timeout_ms), &cancel)?;
    })
}

/// As coble_container_restart, stopped with this signal instead of the container's stop signal; 0 is that.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_container_restart_with_signal(
    container: *const coble_container_t,
    signal: i32,
    timeout_ms: i64,
    cancel: *const coble_cancel_t,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        let (container, cancel) = unsafe { (borrow(container)?, token(cancel)) };
        let signal = optional_signal(signal)?;
        container.container.restart_with(signal, optional_duration(timeout_ms), &cancel)?;
    })
}

/// Gives the container another name. What coble_container_name returned for this handle is not valid any more. Other handles have the old name, and work.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_container_rename(
    container: *mut coble_container_t,
    name: *const c_char,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        let (container, name) = unsafe { (borrow_mut(container)?, text(name, "name")?) };
        let renamed = container.container.rename(name)?;
        container.become_known_as(renamed);
    })
}

/// Waits for a condition, COBLE_WAIT_NOT_RUNNING, COBLE_WAIT_NEXT_EXIT, COBLE_WAIT_REMOVED or COBLE_WAIT_HEALTHY, and gives the exit code that it came with. COBLE_ERR_TIMEOUT
/// after `timeout_ms` milliseconds; a negative number waits for ever.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_container_wait_until(
    container: *const coble_container_t,
    condition: i32,
    timeout_ms: i64,
    cancel: *const coble_cancel_t,
    exit_code: *mut i32,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        let (container, cancel, out) =
            unsafe { (borrow(container)?, token(cancel), Out::new(exit_code, "exit_code")?) };
        let condition = self::condition(condition)?;
        out.set(container.container.wait_until(condition, optional_duration(timeout_ms), &cancel)?);
    })
}

/// As coble_container_wait_until, but an exit code other than 0 is COBLE_ERR_CONTAINER_EXIT, and the error has a run result (coble_error_run_result): the exit code and, as far as the log keeps them and
/// the container is still there, the last 64 KiB that this run of the program wrote to each stream.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_container_wait_checked(
    container: *const coble_container_t,
    condition: i32,
    timeout_ms: i64,
    cancel: *const coble_cancel_t,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        let (container, cancel) = unsafe { (borrow(container)?, token(cancel)) };
        let condition = self::condition(condition)?;
        container.container.wait_checked(condition, optional_duration(timeout_ms), &cancel)?;
    })
}

fn condition(number: i32) -> core::Result<WaitCondition> {
    Ok(match number {
        COBLE_WAIT_NOT_RUNNING => WaitCondition::NotRunning,
        COBLE_WAIT_NEXT_EXIT => WaitCondition::NextExit,
        COBLE_WAIT_REMOVED => WaitCondition::Removed,
        COBLE_WAIT_HEALTHY => WaitCondition::Healthy,
        other => return Err(invalid("condition", format_args!("has the unknown value {other}"))),
    })
}

/// What to change with coble_container_update; the fields mean what the setters of coble_container_spec_t say. Zero is no change.
///
/// What is said of block devices is a list of texts of the form "path:number"; a number of 0 takes the limit of that device away, and devices that are not named stay as they are.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct coble_update_options_t {
    /// sizeof(coble_update_options_t).
    pub size: usize,
    /// CPUs that may be used, such as "0-2,7".
    pub cpuset_cpus: *const c_char,
    /// NUMA nodes that memory may come from.
    pub cpuset_mems: *const c_char,
    /// Bytes of memory.
    pub mem_limit: u64,
    /// Bytes of memory that are taken from it last.
    pub mem_reservation: u64,
    /// Bytes of memory and swap together; -1 for swap without limit.
    pub memswap_limit: i64,
    /// Billionths of a CPU.
    pub nano_cpus: u64,
    /// CPU weight.
    pub cpu_shares: u64,
    /// Microseconds of CPU time in each period; UINT64_MAX takes any limit of CPU time away.
    pub cpu_quota: u64,
    /// The period in microseconds.
    pub cpu_period: u64,
    /// Processes and threads; UINT64_MAX for as many as the host lets.
    pub pids_limit: u64,
    /// Block I/O weight.
    pub blkio_weight: u64,
    /// When the program is started again, as coble_container_spec_set_restart_policy has it. It holds for the program that runs; one that was started without any, with files of the caller's as its
    /// streams or with secrets, gets none while it runs: COBLE_ERR_INVALID_STATE.
    pub restart_policy: *const c_char,
    /// Weights of block devices.
    pub blkio_weight_device: *const *const c_char,
    /// How many.
    pub blkio_weight_device_count: usize,
    /// Bytes that may be read each second.
    pub device_read_bps: *const *const c_char,
    /// How many.
    pub device_read_bps_count: usize,
    /// Bytes that may be written each second.
    pub device_write_bps: *const *const c_char,
    /// How many.
    pub device_write_bps_count: usize,
    /// Reads each second.
    pub device_read_iops: *const *const c_char,
    /// How many.
    pub device_read_iops_count: usize,
    /// Writes each second.
    pub device_write_iops: *const *const c_char,
    /// How many.
    pub device_write_iops_count: usize,
    /// Files of the container's version 2 cgroup, as "file=value".
    pub unified: *const *const c_char,
    /// How many.
    pub unified_count: usize,
}

const _: () = assert!(size_of::<coble_update_options_t>() == 16 * size_of::<usize>() + 72, "padding");

// SAFETY: repr(C), size first, raw pointers and integers only, and no padding as asserted above.
unsafe impl Options for coble_update_options_t {
    const NAME: &'static str = "options";
}

/// # Safety
/// As [`options::read`], and the texts as [`owned_text`].
unsafe fn update_options(options: *const coble_update_options_t) -> Result<UpdateOptions> {
    // SAFETY: passed on.
    let given = unsafe { options::read(options) }?;
    let number = |value: u64| (value != 0).then_some(value);
    let mut options = UpdateOptions::default();
    options.mem_limit = number(given.mem_limit);
    options.mem_reservation = number(given.mem_reservation);
    options.memswap_limit = (given.memswap_limit != 0).then_some(given.memswap_limit);
    options.nano_cpus = number(given.nano_cpus);
    options.cpu_shares = number(given.cpu_shares);
    options.cpu_quota = number(given.cpu_quota);
    options.cpu_period = number(given.cpu_period);
    options.pids_limit = number(given.pids_limit);
    options.blkio_weight = number(given.blkio_weight);
    // SAFETY: passed on.
    unsafe {
        options.cpuset_cpus = owned_text(given.cpuset_cpus, "options.cpuset_cpus")?;
        options.cpuset_mems = owned_text(given.cpuset_mems, "options.cpuset_mems")?;
        if let Some(policy) = owned_text(given.restart_policy, "options.restart_policy")? {
            options.restart_policy = Some(RestartPolicy::parse(&policy)?);
        }
        let count = given.blkio_weight_device_count;
        for text in texts(given.blkio_weight_device, count, "options.blkio_weight_device")? {
            options.blkio_weight_device.push(parse::device_weight(&text)?);
        }
        for (list, count, name, rates) in [
            (
                given.device_read_bps,
                given.device_read_bps_count,
                "options.device_read_bps",
                &mut options.device_read_bps,
            ),
            (
                given.device_write_bps,
                given.device_write_bps_count,
                "options.device_write_bps",
                &mut options.device_write_bps,
            ),
            (
                given.device_read_iops,
                given.device_read_iops_count,
                "options.device_read_iops",
                &mut options.device_read_iops,
            ),
            (
                given.device_write_iops,
                given.device_write_iops_count,
                "options.device_write_iops",
                &mut options.device_write_iops,
            ),
        ] {
            for text in texts(list, count, name)? {
                rates.push(parse::device_rate(&text)?);
            }
        }
        for text in texts(given.unified, given.unified_count, "options.unified")? {
            let (name, value) = parse::assignment(&text)?;
            options.unified.insert(name, value.unwrap_or_default());
        }
    }
    Ok(options)
}

/// Changes limits, and when it is started again, of a container in any state. While it runs they are in force when this returns, or all are as they were; one that does not run has them
/// from its next start. `warnings`, which may be NULL, gets a JSON array of objects with "code" and "message".
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_container_update(
    container: *const coble_container_t,
    options: *const coble_update_options_t,
    warnings: *mut *mut coble_string_t,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        let (container, options, out) =
            unsafe { (borrow(container)?, update_options(options)?, Out::new(warnings, "warnings")) };
        let told = container.container.update(&options)?;
        if let Ok(out) = out {
            coble_string_t::json(&told)?.give(out);
        }
    })
}

/// Removes the containers that do not run and meet conditions: until, label and label!. `json`, which may be NULL, gets an object with the array "deleted" of
/// ids and the number "reclaimed" of bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_container_prune(
    engine: *const coble_engine_t,
    filters: *const *const c_char,
    filter_count: usize,
    json: *mut *mut coble_string_t,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        let (engine, filters, out) =
            unsafe { (borrow(engine)?, texts(filters, filter_count, "filters")?, Out::new(json, "json")) };
        let pruned = engine.0.containers().prune(&filters)?;
        if let Ok(out) = out {
            coble_string_t::json(&pruned)?.give(out);
        }
    })
}

/// Everything about the container as a JSON object in docker's form: Id, Created, State, Config, HostConfig, NetworkSettings and so on; Coble has what
/// coble_container_details_json gives.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_container_inspect_docker(
    container: *const coble_container_t,
    json: *mut *mut coble_string_t,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        let (container, out) = unsafe { (borrow(container)?, Out::new(json, "json")?) };
        coble_string_t::json(&container.container.inspect_docker()?)?.give(out);
    })
}

/// As coble_container_inspect_docker, with what is to be measured on the disk, in bytes: SizeRw, what the container wrote, and SizeRootFs, that and the files of its image.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_container_inspect_docker_with_size(
    container: *const coble_container_t,
    json: *mut *mut coble_string_t,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        let (container, out) = unsafe { (borrow(container)?, Out::new(json, "json")?) };
        coble_string_t::json(&container.container.inspect_docker_with_size()?)?.give(out);
    })
}
