//! What a caller may ask of a container. Setters only fill in; coble_container_create and coble_engine_run check.

use std::ffi::c_char;

use core::{ContainerSpec, Lifetime, NetworkMode};

use crate::boundary::{Out, invalid};
use crate::error::coble_error_t;
use crate::handle::{self, Handle, borrow_mut};
use crate::options::flag;
use crate::pull::policy;
use crate::status::coble_status_t;
use crate::strings::{owned_text, text, texts};

/// The options of a new container.
pub struct coble_container_spec_t(pub(crate) ContainerSpec);

impl Handle for coble_container_spec_t {
    const NAME: &'static str = "spec";
}

/// No network but loopback.
pub const COBLE_NETWORK_NONE: i32 = 0;
/// The network of the host.
pub const COBLE_NETWORK_HOST: i32 = 1;

/// The container outlives its starter.
pub const COBLE_LIFETIME_DETACHED: i32 = 0;
/// The container dies with the process that started it, however that process ends.
pub const COBLE_LIFETIME_SESSION: i32 = 1;

/// A container of an image, with every default. The image is a reference, an id, or an unambiguous id prefix of at least four digits.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_container_spec_new(
    image: *const c_char,
    spec: *mut *mut coble_container_spec_t,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        let (image, out) = unsafe { (text(image, "image")?, Out::new(spec, "spec")?) };
        coble_container_spec_t(ContainerSpec::new(image)).give(out);
    })
}

/// Deletes a specification; containers made from it stay. NULL is fine.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_container_spec_delete(spec: *mut coble_container_spec_t) {
    boundary_value!((), {
        // SAFETY: the caller's, by the contract of the header.
        unsafe { handle::delete(spec) }
    })
}

/// Sets the command: `count` strings. Not set: the image's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_container_spec_set_command(
    spec: *mut coble_container_spec_t,
    command: *const *const c_char,
    count: usize,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        let (spec, command) = unsafe { (borrow_mut(spec)?, texts(command, count, "command")?) };
        spec.0.command = Some(command);
    })
}

/// Sets the entrypoint: `count` strings, and drops the image's command. None removes the image's entrypoint. Not set: the image's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_container_spec_set_entrypoint(
    spec: *mut coble_container_spec_t,
    entrypoint: *const *const c_char,
    count: usize,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        let (spec, entrypoint) = unsafe { (borrow_mut(spec)?, texts(entrypoint, count, "entrypoint")?) };
        spec.0.entrypoint = Some(entrypoint);
    })
}

/// Sets the name: `[a-zA-Z0-9][a-zA-Z0-9_.-]*`, at most 128 characters. NULL: one is made up.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_container_spec_set_name(
    spec: *mut coble_container_spec_t,
    name: *const c_char,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        let (spec, name) = unsafe { (borrow_mut(spec)?, owned_text(name, "name")?) };
        spec.0.name = name;
    })
}

/// Adds an environment variable, over the image's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_container_spec_add_environment(
    spec: *mut coble_container_spec_t,
    name: *const c_char,
    value: *const c_char,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        let (spec, name, value) = unsafe { (borrow_mut(spec)?, text(name, "name")?, text(value, "value")?) };
        spec.0.environment.push((name.to_owned(), value.to_owned()));
    })
}

/// Sets the working directory, which is absolute and made when missing. NULL: the image's, or /.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_container_spec_set_working_dir(
    spec: *mut coble_container_spec_t,
    working_dir: *const c_char,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        let (spec, working_dir) = unsafe { (borrow_mut(spec)?, owned_text(working_dir, "working_dir")?) };
        spec.0.working_dir = working_dir;
    })
}

/// Sets the user: name, uid, name:group or uid:gid. NULL: the image's, or 0:0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_container_spec_set_user(
    spec: *mut coble_container_spec_t,
    user: *const c_char,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        let (spec, user) = unsafe { (borrow_mut(spec)?, owned_text(user, "user")?) };
        spec.0.user = user;
    })
}

/// Adds one more group, by id or name.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_container_spec_add_group(
    spec: *mut coble_container_spec_t,
    group: *const c_char,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        let (spec, group) = unsafe { (borrow_mut(spec)?, text(group, "group")?) };
        spec.0.group_add.push(group.to_owned());
    })
}

/// Sets the host name. NULL: the first 12 characters of the id, or the host's name on the host's network.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_container_spec_set_hostname(
    spec: *mut coble_container_spec_t,
    hostname: *const c_char,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        let (spec, hostname) = unsafe { (borrow_mut(spec)?, owned_text(hostname, "hostname")?) };
        spec.0.hostname = hostname;
    })
}

/// Sets the network: COBLE_NETWORK_NONE, which is the default, or COBLE_NETWORK_HOST.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_container_spec_set_network(
    spec: *mut coble_container_spec_t,
    network: i32,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        let spec = unsafe { borrow_mut(spec)? };
        spec.0.network = match network {
            COBLE_NETWORK_NONE => NetworkMode::None,
            COBLE_NETWORK_HOST => NetworkMode::Host,
            other => return Err(invalid("network", format_args!("has the unknown value {other}"))),
        };
    })
}

/// Sets the memory limit in bytes. 0: none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_container_spec_set_mem_limit(
    spec: *mut coble_container_spec_t,
    mem_limit: u64,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        let spec = unsafe { borrow_mut(spec)? };
        spec.0.mem_limit = (mem_limit != 0).then_some(mem_limit);
    })
}

/// Sets the CPU limit in billionths of a CPU. 0: none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_container_spec_set_nano_cpus(
    spec: *mut coble_container_spec_t,
    nano_cpus: u64,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        let spec = unsafe { borrow_mut(spec)? };
        spec.0.nano_cpus = (nano_cpus != 0).then_some(nano_cpus);
    })
}

/// Sets the limit on the number of processes and threads. 0: none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_container_spec_set_pids_limit(
    spec: *mut coble_container_spec_t,
    pids_limit: u64,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        let spec = unsafe { borrow_mut(spec)? };
        spec.0.pids_limit = (pids_limit != 0).then_some(pids_limit);
    })
}

/// Adds a capability to the default set: a name with or without CAP_, or ALL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_container_spec_add_capability(
    spec: *mut coble_container_spec_t,
    capability: *const c_char,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        let (spec, capability) = unsafe { (borrow_mut(spec)?, text(capability, "capability")?) };
        spec.0.cap_add.push(capability.to_owned());
    })
}

/// Takes a capability from the default set: a name with or without CAP_, or ALL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_container_spec_drop_capability(
    spec: *mut coble_container_spec_t,
    capability: *const c_char,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        let (spec, capability) = unsafe { (borrow_mut(spec)?, text(capability, "capability")?) };
        spec.0.cap_drop.push(capability.to_owned());
    })
}

/// Sets whether the root file system is mounted read-only: 0 or 1.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_container_spec_set_read_only(
    spec: *mut coble_container_spec_t,
    read_only: i32,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        let (spec, read_only) = (unsafe { borrow_mut(spec)? }, flag(read_only, "read_only")?);
        spec.0.read_only = read_only;
    })
}

/// Adds a security option: seccomp=unconfined, no-new-privileges, no-new-privileges=false or systempaths=unconfined.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_container_spec_add_security_opt(
    spec: *mut coble_container_spec_t,
    option: *const c_char,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        let (spec, option) = unsafe { (borrow_mut(spec)?, text(option, "option")?) };
        spec.0.security_opt.push(option.to_owned());
    })
}

/// Adds a label.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_container_spec_add_label(
    spec: *mut coble_container_spec_t,
    name: *const c_char,
    value: *const c_char,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        let (spec, name, value) = unsafe { (borrow_mut(spec)?, text(name, "name")?, text(value, "value")?) };
        spec.0.labels.insert(name.to_owned(), value.to_owned());
    })
}

/// Sets the platform of the image, such as "linux/arm64/v8", if its name has several. NULL: the one for the host.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_container_spec_set_platform(
    spec: *mut coble_container_spec_t,
    platform: *const c_char,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        let (spec, platform) = unsafe { (borrow_mut(spec)?, owned_text(platform, "platform")?) };
        spec.0.platform = platform;
    })
}

/// Sets when a registry is asked for the image: one of the COBLE_PULL_ numbers. Not set: COBLE_PULL_MISSING.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_container_spec_set_pull(
    spec: *mut coble_container_spec_t,
    pull: i32,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        unsafe { borrow_mut(spec)?.0.pull = policy(pull)? };
    })
}

/// Sets the signal that stops the container: a name or a number. NULL: the image's, or SIGTERM.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_container_spec_set_stop_signal(
    spec: *mut coble_container_spec_t,
    stop_signal: *const c_char,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        let (spec, stop_signal) = unsafe { (borrow_mut(spec)?, owned_text(stop_signal, "stop_signal")?) };
        spec.0.stop_signal = stop_signal;
    })
}

/// Sets the seconds that stop waits before it kills. Not set: 10.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_container_spec_set_stop_timeout(
    spec: *mut coble_container_spec_t,
    stop_timeout: u32,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        let spec = unsafe { borrow_mut(spec)? };
        spec.0.stop_timeout = Some(stop_timeout);
    })
}

/// Sets the size of /dev/shm in bytes. 0: 64 MiB.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_container_spec_set_shm_size(
    spec: *mut coble_container_spec_t,
    shm_size: u64,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        let spec = unsafe { borrow_mut(spec)? };
        spec.0.shm_size = (shm_size != 0).then_some(shm_size);
    })
}

/// Adds a line to /etc/hosts.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_container_spec_add_host(
    spec: *mut coble_container_spec_t,
    name: *const c_char,
    address: *const c_char,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        let (spec, name, address) =
            unsafe { (borrow_mut(spec)?, text(name, "name")?, text(address, "address")?) };
        spec.0.extra_hosts.push((name.to_owned(), address.to_owned()));
    })
}

/// Adds a name server for /etc/resolv.conf. None: the host's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_container_spec_add_dns(
    spec: *mut coble_container_spec_t,
    address: *const c_char,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        let (spec, address) = unsafe { (borrow_mut(spec)?, text(address, "address")?) };
        spec.0.dns.push(address.to_owned());
    })
}

/// Sets whether the container is removed when it ends: 0 or 1.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_container_spec_set_auto_remove(
    spec: *mut coble_container_spec_t,
    auto_remove: i32,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        let (spec, auto_remove) = (unsafe { borrow_mut(spec)? }, flag(auto_remove, "auto_remove")?);
        spec.0.auto_remove = auto_remove;
    })
}

/// Sets how long the container may live: COBLE_LIFETIME_DETACHED, which is the default, or COBLE_LIFETIME_SESSION.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_container_spec_set_lifetime(
    spec: *mut coble_container_spec_t,
    lifetime: i32,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        let spec = unsafe { borrow_mut(spec)? };
        spec.0.lifetime = match lifetime {
            COBLE_LIFETIME_DETACHED => Lifetime::Detached,
            COBLE_LIFETIME_SESSION => Lifetime::Session,
            other => return Err(invalid("lifetime", format_args!("has the unknown value {other}"))),
        };
    })
}
