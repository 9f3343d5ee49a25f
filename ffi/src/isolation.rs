//! The isolation that a program really got.

use std::ffi::{CString, c_char};

use core::Isolation;

use crate::boundary::Out;
use crate::error::coble_error_t;
use crate::handle::{Handle, borrow};
use crate::status::coble_status_t;
use crate::string::coble_string_t;
use crate::strings::{c_string, pointer_or_null};

/// The isolation that a program really got, read back from its process. Borrowed from the result or the details that it belongs to.
pub struct coble_isolation_t {
    isolation: Isolation,
    seccomp: CString,
    seccomp_profile: CString,
    apparmor: Option<CString>,
    device_rules: Vec<CString>,
    namespaces: Vec<CString>,
    capabilities: Vec<CString>,
    landlock: Vec<CString>,
    limits: Vec<CString>,
    requested: Vec<CString>,
    applied: Vec<Option<CString>>,
}

impl Handle for coble_isolation_t {
    const NAME: &'static str = "isolation";
}

impl coble_isolation_t {
    pub(crate) fn new(isolation: Isolation) -> coble_isolation_t {
        coble_isolation_t {
            seccomp: c_string(&isolation.seccomp),
            seccomp_profile: c_string(&isolation.seccomp_profile),
            apparmor: isolation.apparmor.as_deref().map(c_string),
            device_rules: isolation.device_rules.iter().map(|rule| c_string(rule)).collect(),
            namespaces: isolation.namespaces.iter().map(|item| c_string(&item.name)).collect(),
            capabilities: isolation.capabilities.effective.iter().map(|name| c_string(name)).collect(),
            landlock: isolation.landlock.iter().map(|rule| c_string(rule)).collect(),
            limits: isolation.limits.iter().map(|limit| c_string(&limit.name)).collect(),
            requested: isolation.limits.iter().map(|limit| c_string(&limit.requested_text)).collect(),
            applied: isolation
                .limits
                .iter()
                .map(|limit| limit.applied_text.as_deref().map(c_string))
                .collect(),
            isolation,
        }
    }
}

/// Whether it runs in a user namespace of the caller: 1 or 0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_isolation_rootless(isolation: *const coble_isolation_t) -> i32 {
    boundary_value!(0, {
        // SAFETY: the caller's, by the contract of the header.
        unsafe { borrow(isolation) }.map_or(0, |isolation| isolation.isolation.rootless.into())
    })
}

/// Whether no_new_privs is set: 1 or 0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_isolation_no_new_privileges(isolation: *const coble_isolation_t) -> i32 {
    boundary_value!(0, {
        // SAFETY: the caller's, by the contract of the header.
        unsafe { borrow(isolation) }.map_or(0, |isolation| isolation.isolation.no_new_privileges.into())
    })
}

/// Whether the root file system is mounted read-only: 1 or 0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_isolation_root_readonly(isolation: *const coble_isolation_t) -> i32 {
    boundary_value!(0, {
        // SAFETY: the caller's, by the contract of the header.
        unsafe { borrow(isolation) }.map_or(0, |isolation| isolation.isolation.root_readonly.into())
    })
}

/// "filter" if a seccomp filter is in force, or "none". NULL if the isolation is NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_isolation_seccomp(isolation: *const coble_isolation_t) -> *const c_char {
    boundary_value!(std::ptr::null(), {
        // SAFETY: the caller's, by the contract of the header.
        unsafe { borrow(isolation) }.map_or(std::ptr::null(), |isolation| isolation.seccomp.as_ptr())
    })
}

/// Which profile the seccomp filter is from: "default", "unconfined", or of the caller's own the digest of its text, such as "sha256:...". NULL if the isolation is NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_isolation_seccomp_profile(
    isolation: *const coble_isolation_t,
) -> *const c_char {
    boundary_value!(std::ptr::null(), {
        // SAFETY: the caller's, by the contract of the header.
        unsafe { borrow(isolation) }.map_or(std::ptr::null(), |isolation| isolation.seccomp_profile.as_ptr())
    })
}

/// The AppArmor profile that was asked for, as the kernel says it, such as "web (enforce)". NULL if none was asked for, or the kernel does not say.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_isolation_apparmor(isolation: *const coble_isolation_t) -> *const c_char {
    boundary_value!(std::ptr::null(), {
        // SAFETY: the caller's, by the contract of the header.
        let label = unsafe { borrow(isolation) }.ok().and_then(|isolation| isolation.apparmor.as_ref());
        label.map_or(std::ptr::null(), |label| label.as_ptr())
    })
}

/// The bits that new files of the program do not get; UINT32_MAX if the isolation is NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_isolation_umask(isolation: *const coble_isolation_t) -> u32 {
    boundary_value!(u32::MAX, {
        // SAFETY: the caller's, by the contract of the header.
        unsafe { borrow(isolation) }.map_or(u32::MAX, |isolation| isolation.isolation.umask)
    })
}

/// How many device rules are in force: what none of them allows is refused. 0 if there are none, as for a rootless or privileged container.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_isolation_device_rule_count(isolation: *const coble_isolation_t) -> usize {
    boundary_value!(0, {
        // SAFETY: the caller's, by the contract of the header.
        unsafe { borrow(isolation) }.map_or(0, |isolation| isolation.device_rules.len())
    })
}

/// A device rule in force, such as "c 1:3 rwm". NULL if the index is too large.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_isolation_device_rule(
    isolation: *const coble_isolation_t,
    index: usize,
) -> *const c_char {
    boundary_value!(std::ptr::null(), {
        // SAFETY: the caller's, by the contract of the header.
        let rule = unsafe { borrow(isolation) }.ok().and_then(|isolation| isolation.device_rules.get(index));
        rule.map_or(std::ptr::null(), |rule| rule.as_ptr())
    })
}

/// The program's user id inside; UINT32_MAX if the isolation is NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_isolation_uid(isolation: *const coble_isolation_t) -> u32 {
    boundary_value!(u32::MAX, {
        // SAFETY: the caller's, by the contract of the header.
        unsafe { borrow(isolation) }.map_or(u32::MAX, |isolation| isolation.isolation.user.uid)
    })
}

/// The program's group id inside; UINT32_MAX if the isolation is NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_isolation_gid(isolation: *const coble_isolation_t) -> u32 {
    boundary_value!(u32::MAX, {
        // SAFETY: the caller's, by the contract of the header.
        unsafe { borrow(isolation) }.map_or(u32::MAX, |isolation| isolation.isolation.user.gid)
    })
}

/// How many kinds of namespaces there are.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_isolation_namespace_count(isolation: *const coble_isolation_t) -> usize {
    boundary_value!(0, {
        // SAFETY: the caller's, by the contract of the header.
        unsafe { borrow(isolation) }.map_or(0, |isolation| isolation.namespaces.len())
    })
}

/// The name of a namespace as in /proc/self/ns, such as "net". NULL if the index is too large.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_isolation_namespace_name(
    isolation: *const coble_isolation_t,
    index: usize,
) -> *const c_char {
    boundary_value!(std::ptr::null(), {
        // SAFETY: the caller's, by the contract of the header.
        let name = unsafe { borrow(isolation) }.ok().and_then(|isolation| isolation.namespaces.get(index));
        name.map_or(std::ptr::null(), |name| name.as_ptr())
    })
}

/// Whether a namespace is the container's own (1) or the host's (0). 0 if the index is too large.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_isolation_namespace_own(
    isolation: *const coble_isolation_t,
    index: usize,
) -> i32 {
    boundary_value!(0, {
        // SAFETY: the caller's, by the contract of the header.
        let isolation = unsafe { borrow(isolation) }.ok();
        let namespace = isolation.and_then(|isolation| isolation.isolation.namespaces.get(index));
        namespace.map_or(0, |namespace| namespace.own.into())
    })
}

/// How many capabilities the program has in effect.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_isolation_capability_count(isolation: *const coble_isolation_t) -> usize {
    boundary_value!(0, {
        // SAFETY: the caller's, by the contract of the header.
        unsafe { borrow(isolation) }.map_or(0, |isolation| isolation.capabilities.len())
    })
}

/// A capability that the program has in effect, such as "CAP_CHOWN". NULL if the index is too large.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_isolation_capability(
    isolation: *const coble_isolation_t,
    index: usize,
) -> *const c_char {
    boundary_value!(std::ptr::null(), {
        // SAFETY: the caller's, by the contract of the header.
        let name = unsafe { borrow(isolation) }.ok().and_then(|isolation| isolation.capabilities.get(index));
        name.map_or(std::ptr::null(), |name| name.as_ptr())
    })
}

/// How many rules of Landlock the program is under.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_isolation_landlock_count(isolation: *const coble_isolation_t) -> usize {
    boundary_value!(0, {
        // SAFETY: the caller's, by the contract of the header.
        unsafe { borrow(isolation) }.map_or(0, |isolation| isolation.landlock.len())
    })
}

/// A rule of Landlock that the program is under, in the words of coble_container_spec_add_security_opt, such as "read:/usr". They are as the program has put them in force: the kernel
/// does not show them. NULL if the index is too large.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_isolation_landlock(
    isolation: *const coble_isolation_t,
    index: usize,
) -> *const c_char {
    boundary_value!(std::ptr::null(), {
        // SAFETY: the caller's, by the contract of the header.
        let rule = unsafe { borrow(isolation) }.ok().and_then(|isolation| isolation.landlock.get(index));
        rule.map_or(std::ptr::null(), |rule| rule.as_ptr())
    })
}

/// How many limits were asked for.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_isolation_limit_count(isolation: *const coble_isolation_t) -> usize {
    boundary_value!(0, {
        // SAFETY: the caller's, by the contract of the header.
        unsafe { borrow(isolation) }.map_or(0, |isolation| isolation.limits.len())
    })
}

/// The name of a limit, such as "mem_limit". NULL if the index is too large.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_isolation_limit_name(
    isolation: *const coble_isolation_t,
    index: usize,
) -> *const c_char {
    boundary_value!(std::ptr::null(), {
        // SAFETY: the caller's, by the contract of the header.
        let name = unsafe { borrow(isolation) }.ok().and_then(|isolation| isolation.limits.get(index));
        name.map_or(std::ptr::null(), |name| name.as_ptr())
    })
}

/// What was asked for. 0 if the index is too large.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_isolation_limit_requested(
    isolation: *const coble_isolation_t,
    index: usize,
) -> u64 {
    boundary_value!(0, {
        // SAFETY: the caller's, by the contract of the header.
        let isolation = unsafe { borrow(isolation) }.ok();
        let limit = isolation.and_then(|isolation| isolation.isolation.limits.get(index));
        limit.map_or(0, |limit| limit.requested)
    })
}

/// Gives what the kernel says is in force, and 1. 0, and `applied` stays untouched, if the limit is not in force (a warning says why) or the
/// index is too large. `applied` may be NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_isolation_limit_applied(
    isolation: *const coble_isolation_t,
    index: usize,
    applied: *mut u64,
) -> i32 {
    boundary_value!(0, {
        // SAFETY: the caller's, by the contract of the header.
        let (isolation, out) = unsafe { (borrow(isolation).ok(), Out::new(applied, "applied")) };
        let limit = isolation.and_then(|isolation| isolation.isolation.limits.get(index));
        let Some(value) = limit.and_then(|limit| limit.applied) else { return 0 };
        if let Ok(out) = out {
            out.set(value);
        }
        1
    })
}

/// What was asked for, in words, such as "0-3" or "unlimited". NULL if the index is too large.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_isolation_limit_requested_text(
    isolation: *const coble_isolation_t,
    index: usize,
) -> *const c_char {
    boundary_value!(std::ptr::null(), {
        // SAFETY: the caller's, by the contract of the header.
        let text = unsafe { borrow(isolation) }.ok().and_then(|isolation| isolation.requested.get(index));
        text.map_or(std::ptr::null(), |text| text.as_ptr())
    })
}

/// What is in force, in words. NULL if it is not in force or the index is too large.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_isolation_limit_applied_text(
    isolation: *const coble_isolation_t,
    index: usize,
) -> *const c_char {
    boundary_value!(std::ptr::null(), {
        // SAFETY: the caller's, by the contract of the header.
        let text = unsafe { borrow(isolation) }.ok().and_then(|isolation| isolation.applied.get(index));
        text.map_or(std::ptr::null(), pointer_or_null)
    })
}

/// All of it as a JSON object.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_isolation_json(
    isolation: *const coble_isolation_t,
    json: *mut *mut coble_string_t,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        let (isolation, out) = unsafe { (borrow(isolation)?, Out::new(json, "json")?) };
        coble_string_t::json(&isolation.isolation)?.give(out);
    })
}
