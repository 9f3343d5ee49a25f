//! What a container's monitor does for it: health checks, and starting its program again.

use std::ffi::c_char;

use core::{HealthCheck, RestartPolicy, Result};

use crate::boundary::Out;
use crate::container::coble_container_t;
use crate::error::coble_error_t;
use crate::handle::{Handle as _, borrow, borrow_mut};
use crate::options::{self, Options};
use crate::spec::coble_container_spec_t;
use crate::status::coble_status_t;
use crate::string::coble_string_t;
use crate::strings::{text, texts};

/// How the health of a container's program is looked at. Zero everything but the size for what the image says, or docker's defaults.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct coble_healthcheck_t {
    /// sizeof(coble_healthcheck_t).
    pub size: usize,
    /// "CMD" and the words of a command, "CMD-SHELL" and a line for /bin/sh, or "NONE", for no checks whatever the image says. NULL: the image's.
    pub test: *const *const c_char,
    /// How many strings there are.
    pub test_count: usize,
    /// Nanoseconds from the end of a check to the start of the next. 0: 30 s.
    pub interval_ns: u64,
    /// How many nanoseconds a check may take before its processes are killed. 0: 30 s.
    pub timeout_ns: u64,
    /// For how many nanoseconds after the start failures do not count, unless a check has succeeded.
    pub start_period_ns: u64,
    /// The interval in that time. 0: 5 s.
    pub start_interval_ns: u64,
    /// How many failures in a row make it unhealthy. 0: 3.
    pub retries: u32,
    /// 0.
    pub reserved: i32,
}

const _: () = assert!(size_of::<coble_healthcheck_t>() == 3 * size_of::<usize>() + 40, "padding");

// SAFETY: repr(C), size first, raw pointers and integers only, and no padding as asserted above.
unsafe impl Options for coble_healthcheck_t {
    const NAME: &'static str = "check";
}

/// # Safety
/// As [`options::read`], and the test as [`texts`].
unsafe fn read(check: *const coble_healthcheck_t) -> Result<HealthCheck> {
    // SAFETY: passed on.
    let given = unsafe { options::read(check) }?;
    options::reserved(given.reserved, "check.reserved")?;
    let mut check = HealthCheck::default();
    // SAFETY: passed on.
    check.test = unsafe { texts(given.test, given.test_count, "check.test") }?;
    let time = |nanoseconds: u64| (nanoseconds > 0).then_some(nanoseconds);
    check.interval = time(given.interval_ns);
    check.timeout = time(given.timeout_ns);
    check.start_period = time(given.start_period_ns);
    check.start_interval = time(given.start_interval_ns);
    check.retries = (given.retries > 0).then_some(given.retries);
    Ok(check)
}

/// Sets how the health of the program is looked at.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_container_spec_set_healthcheck(
    spec: *mut coble_container_spec_t,
    check: *const coble_healthcheck_t,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        let (spec, check) = unsafe { (borrow_mut(spec)?, read(check)?) };
        spec.0.healthcheck = Some(check);
    })
}

/// Sets when the program is started again after its end: "no", "on-failure", "on-failure:N", "always" or "unless-stopped".
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_container_spec_set_restart_policy(
    spec: *mut coble_container_spec_t,
    policy: *const c_char,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        let (spec, policy) = unsafe { (borrow_mut(spec)?, text(policy, "policy")?) };
        spec.0.restart_policy = RestartPolicy::parse(policy)?;
    })
}

/// The health of the container's program as a JSON object: "status" (starting, healthy or unhealthy), "failing_streak", and in "log" the last checks; "null" if that is not
/// looked at.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_container_health(
    container: *const coble_container_t,
    json: *mut *mut coble_string_t,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        let (container, out) = unsafe { (borrow(container)?, Out::new(json, "json")?) };
        coble_string_t::json(&container.container.health()?)?.give(out);
    })
}
