//! What of the host a container is given: files and devices.

use std::ffi::{c_char, c_void};

use core::{Secret, parse};

use crate::boundary::invalid;
use crate::error::coble_error_t;
use crate::handle::borrow_mut;
use crate::options::flag;
use crate::spec::coble_container_spec_t;
use crate::status::coble_status_t;
use crate::strings::{owned_text, text};

/// Mounts a directory or file of the host, or a volume: "source:target" or "source:target:options", as docker's --volume has it, or "target" alone, which is an anonymous volume. A source that begins neither with / nor with . is
/// the name of a volume, which is made when it is missing; an empty one gets what the image has at the target, unless an option is nocopy. The options are a comma-separated list of ro or rw,
/// rprivate, private, rslave, slave, rshared or shared, noexec, nosuid, nodev, z or Z. A missing source is made, as a directory.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_container_spec_add_volume(
    spec: *mut coble_container_spec_t,
    volume: *const c_char,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        let (spec, volume) = unsafe { (borrow_mut(spec)?, text(volume, "volume")?) };
        spec.0.volumes.push(parse::volume(volume)?);
    })
}

/// Mounts what another container has mounted at the same places: "name", "name:ro" or "name:rw". Where the container has something mounted of its own, that counts.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_container_spec_add_volumes_from(
    spec: *mut coble_container_spec_t,
    container: *const c_char,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        let (spec, container) = unsafe { (borrow_mut(spec)?, text(container, "container")?) };
        spec.0.volumes_from.push(container.to_owned());
    })
}

/// Mounts something: a comma-separated list of key=value, as docker's --mount has it: type (volume, which is the default, bind or tmpfs), src, dst, readonly, bind-propagation, bind-recursive,
/// bind-create-src, tmpfs-size, tmpfs-mode, volume-nocopy, volume-subpath, volume-label. A field may stand in double quotes, with commas in it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_container_spec_add_mount(
    spec: *mut coble_container_spec_t,
    mount: *const c_char,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        let (spec, mount) = unsafe { (borrow_mut(spec)?, text(mount, "mount")?) };
        spec.0.mounts.push(parse::mount(mount)?);
    })
}

/// Mounts a file system in memory, which goes with the container. The options, or NULL, are a comma-separated list as docker's --tmpfs has it: size=BYTES, mode=OCTAL, uid=,
/// gid=, ro, exec, suid, dev and their opposites; without any it is noexec,nosuid,nodev.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_container_spec_add_tmpfs(
    spec: *mut coble_container_spec_t,
    target: *const c_char,
    options: *const c_char,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        let (spec, target) = unsafe { (borrow_mut(spec)?, text(target, "target")?) };
        // SAFETY: as above.
        let options = unsafe { owned_text(options, "options")? };
        spec.0.tmpfs.push(parse::tmpfs_options(target, options.as_deref().unwrap_or_default())?);
    })
}

/// Adds a file whose content is in memory alone: a comma-separated list of id=NAME, src=FILE or env=VARIABLE, and target=, uid=, gid= and mode= (octal). It is at /run/secrets/NAME, read-only,
/// with mode 0444, unless told otherwise. Unless `data` is NULL, it consists of these bytes, which are copied, instead of a file or variable. A file or variable is read at each start; bytes are known
/// to the engine that makes the container only, so another one cannot start it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_container_spec_add_secret(
    spec: *mut coble_container_spec_t,
    secret: *const c_char,
    data: *const c_void,
    size: usize,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        let (spec, secret) = unsafe { (borrow_mut(spec)?, text(secret, "secret")?) };
        let data = match (data.is_null(), size) {
            (true, 0) => None,
            (true, _) => return Err(invalid("data", "is NULL")),
            (false, 0) => Some(Vec::new()),
            // SAFETY: the caller's: so many bytes are readable there, and nobody changes them during the call.
            (false, size) => Some(unsafe { std::slice::from_raw_parts(data.cast::<u8>(), size) }.to_vec()),
        };
        spec.0.secrets.push(Secret::parse(secret, data)?);
    })
}

/// Gives the container a device of the host: "source", "source:target", "source:access" or "source:target:access", where access is some of r, w and m. A directory stands for
/// the devices in it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_container_spec_add_device(
    spec: *mut coble_container_spec_t,
    device: *const c_char,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        let (spec, device) = unsafe { (borrow_mut(spec)?, text(device, "device")?) };
        spec.0.devices.push(device.to_owned());
    })
}

/// Lets the container use more devices, such as "c 10:* rwm".
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_container_spec_add_device_cgroup_rule(
    spec: *mut coble_container_spec_t,
    rule: *const c_char,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        let (spec, rule) = unsafe { (borrow_mut(spec)?, text(rule, "rule")?) };
        spec.0.device_cgroup_rules.push(rule.to_owned());
    })
}

/// Holds nothing back that the caller has, if not 0: all capabilities, the host's devices, no seccomp filter, nothing masked or read-only. Default: 0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_container_spec_set_privileged(
    spec: *mut coble_container_spec_t,
    privileged: i32,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        let (spec, privileged) = (unsafe { borrow_mut(spec)? }, flag(privileged, "privileged")?);
        spec.0.privileged = privileged;
    })
}
