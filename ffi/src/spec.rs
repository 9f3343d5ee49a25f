//! What a caller may ask of a container. Setters only fill in; coble_container_create and coble_engine_run check.

use std::ffi::c_char;

use core::{ContainerSpec, Lifetime, NamespaceMode, NetworkMode, UsernsMode};

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

/// A container of an image, with every default. The image is a reference, an id, or an unambiguous id prefix of at least four digits. NULL: none; then
/// coble_container_spec_set_rootfs or coble_container_spec_set_bundle has to follow.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_container_spec_new(
    image: *const c_char,
    spec: *mut *mut coble_container_spec_t,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        let (image, out) = unsafe { (owned_text(image, "image")?, Out::new(spec, "spec")?) };
        coble_container_spec_t(ContainerSpec::new(image.unwrap_or_default())).give(out);
    })
}

/// Sets a directory of this host that is the root file system instead of an image. Nothing is written to it: what the container writes is its own. NULL: none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_container_spec_set_rootfs(
    spec: *mut coble_container_spec_t,
    rootfs: *const c_char,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        let (spec, rootfs) = unsafe { (borrow_mut(spec)?, owned_text(rootfs, "rootfs")?) };
        spec.0.rootfs = rootfs;
    })
}

/// Sets the directory of an OCI bundle, instead of an image: its config.json says what is not said here, with the caller's rights. What cannot be given is
/// COBLE_ERR_UNSUPPORTED when the container is created, and the error names it. NULL: none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_container_spec_set_bundle(
    spec: *mut coble_container_spec_t,
    bundle: *const c_char,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        let (spec, bundle) = unsafe { (borrow_mut(spec)?, owned_text(bundle, "bundle")?) };
        spec.0.bundle = bundle;
    })
}

/// Sets hooks: programs that are run at moments of the container's life, as the OCI runtime specification has them, in JSON, such as {"poststop": [{"path": "/bin/x"}]}.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_container_spec_set_hooks(
    spec: *mut coble_container_spec_t,
    hooks: *const c_char,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        let (spec, hooks) = unsafe { (borrow_mut(spec)?, text(hooks, "hooks")?) };
        spec.0.hooks = core::Hooks::parse(hooks)?;
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

/// Sets whether its programs have the proxies of docker's client configuration (proxies.default in config.json) as HTTP_PROXY, HTTPS_PROXY, FTP_PROXY, NO_PROXY and
/// ALL_PROXY, in both cases: over the image's, not over those of coble_container_spec_add_environment. They are read at each start and kept nowhere: 0 or 1.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_container_spec_set_use_config_proxy(
    spec: *mut coble_container_spec_t,
    use_config_proxy: i32,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        let (spec, use_config_proxy) =
            (unsafe { borrow_mut(spec)? }, flag(use_config_proxy, "use_config_proxy")?);
        spec.0.use_config_proxy = use_config_proxy;
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

/// Sets the domain name, with which the host name is complete. NULL: none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_container_spec_set_domainname(
    spec: *mut coble_container_spec_t,
    domainname: *const c_char,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        let (spec, domainname) = unsafe { (borrow_mut(spec)?, owned_text(domainname, "domainname")?) };
        spec.0.domainname = domainname;
    })
}

/// Sets the time zone of /etc/localtime: a name of the host's zone data, as Europe/Berlin, or local for the host's own. NULL: what the image has.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_container_spec_set_tz(
    spec: *mut coble_container_spec_t,
    tz: *const c_char,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        let (spec, tz) = unsafe { (borrow_mut(spec)?, owned_text(tz, "tz")?) };
        spec.0.tz = tz;
    })
}

/// Sets whether a user or group of the program that the image lacks gets a line in the container's /etc/passwd or /etc/group: 0, or 1, which is the default.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_container_spec_set_passwd(
    spec: *mut coble_container_spec_t,
    passwd: i32,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        let (spec, passwd) = (unsafe { borrow_mut(spec)? }, flag(passwd, "passwd")?);
        spec.0.passwd = passwd;
    })
}

/// Sets that line of /etc/passwd, with $USERNAME, $UID, $GID, $NAME and $HOME replaced. NULL: $USERNAME:*:$UID:$GID:$NAME:$HOME:/bin/sh.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_container_spec_set_passwd_entry(
    spec: *mut coble_container_spec_t,
    passwd_entry: *const c_char,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        let (spec, passwd_entry) = unsafe { (borrow_mut(spec)?, owned_text(passwd_entry, "passwd_entry")?) };
        spec.0.passwd_entry = passwd_entry;
    })
}

/// Sets that line of /etc/group, with $GROUPNAME, $GID and $USERLIST replaced. NULL: $GROUPNAME:x:$GID:$USERLIST.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_container_spec_set_group_entry(
    spec: *mut coble_container_spec_t,
    group_entry: *const c_char,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        let (spec, group_entry) = unsafe { (borrow_mut(spec)?, owned_text(group_entry, "group_entry")?) };
        spec.0.group_entry = group_entry;
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

/// Gives it the network of another container that runs, by its name or id: that has its names and name servers, too.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_container_spec_set_network_of(
    spec: *mut coble_container_spec_t,
    container: *const c_char,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        let (spec, container) = unsafe { (borrow_mut(spec)?, text(container, "container")?) };
        spec.0.network = NetworkMode::parse(&format!("container:{container}"))?;
    })
}

/// Sets whether it has no network but loopback: 0 or 1. Any network but COBLE_NETWORK_NONE is an error then.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_container_spec_set_network_disabled(
    spec: *mut coble_container_spec_t,
    network_disabled: i32,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        let (spec, network_disabled) =
            (unsafe { borrow_mut(spec)? }, flag(network_disabled, "network_disabled")?);
        spec.0.network_disabled = network_disabled;
    })
}

/// Adds a port that its programs listen on, as "80", "53/udp" or "8000-8010/tcp", beside the image's: for inspect, and for images that are made of it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_container_spec_add_exposed_port(
    spec: *mut coble_container_spec_t,
    port: *const c_char,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        let (spec, port) = unsafe { (borrow_mut(spec)?, text(port, "port")?) };
        spec.0.exposed_ports.push(port.to_owned());
    })
}

/// Sets whose processes it sees: private, which is the default, host, or container: and a name or id. Other than private needs a cgroup of version 2.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_container_spec_set_pid_mode(
    spec: *mut coble_container_spec_t,
    pid_mode: *const c_char,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        let (spec, pid_mode) = unsafe { (borrow_mut(spec)?, text(pid_mode, "pid_mode")?) };
        spec.0.pid_mode = NamespaceMode::parse(pid_mode)?;
    })
}

/// Sets whose System V objects, message queues and /dev/shm it has: private, which is the default, shareable, none, host, or container: and a name or id.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_container_spec_set_ipc_mode(
    spec: *mut coble_container_spec_t,
    ipc_mode: *const c_char,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        let (spec, ipc_mode) = unsafe { (borrow_mut(spec)?, text(ipc_mode, "ipc_mode")?) };
        spec.0.ipc_mode = NamespaceMode::parse(ipc_mode)?;
    })
}

/// Sets whose host name and domain name it has: private, which is the default, or host.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_container_spec_set_uts_mode(
    spec: *mut coble_container_spec_t,
    uts_mode: *const c_char,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        let (spec, uts_mode) = unsafe { (borrow_mut(spec)?, text(uts_mode, "uts_mode")?) };
        spec.0.uts_mode = NamespaceMode::parse(uts_mode)?;
    })
}

/// Sets how it sees cgroups: private, which is the default, or host.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_container_spec_set_cgroupns(
    spec: *mut coble_container_spec_t,
    cgroupns: *const c_char,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        let (spec, cgroupns) = unsafe { (borrow_mut(spec)?, text(cgroupns, "cgroupns")?) };
        spec.0.cgroupns = NamespaceMode::parse(cgroupns)?;
    })
}

/// Sets which user namespace it has: "" (the default: its own if there are maps for it, else that of the engine's containers), host, auto, auto:size= and a number of ids, or private, for
/// which maps are added. In its own one its programs are nobody on the host. Rootless there are keep-id, keep-id:uid=N,gid=N (who the caller is outside is who he is inside) and nomap (he is nobody inside), too, which fail with
/// COBLE_ERR_UNSUPPORTED for root; auto and private are ids of the caller's ranges in /etc/subuid there, and fail with COBLE_ERR_UNSUPPORTED if he has none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_container_spec_set_userns_mode(
    spec: *mut coble_container_spec_t,
    userns_mode: *const c_char,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        let (spec, userns_mode) = unsafe { (borrow_mut(spec)?, text(userns_mode, "userns_mode")?) };
        spec.0.userns_mode = UsernsMode::parse(userns_mode)?;
    })
}

/// Adds a line of the map of user ids of its own user namespace, as "container:host:count", of which the count may be left out. Without any, the map is that of group ids. Rootless, 0 is the caller
/// instead of an id of the host, and his ranges in /etc/subuid follow one another from 1.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_container_spec_add_uidmap(
    spec: *mut coble_container_spec_t,
    line: *const c_char,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        let (spec, line) = unsafe { (borrow_mut(spec)?, text(line, "line")?) };
        spec.0.uidmap.push(line.to_owned());
    })
}

/// Adds a line of the map of group ids, as coble_container_spec_add_uidmap does it for users.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_container_spec_add_gidmap(
    spec: *mut coble_container_spec_t,
    line: *const c_char,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        let (spec, line) = unsafe { (borrow_mut(spec)?, text(line, "line")?) };
        spec.0.gidmap.push(line.to_owned());
    })
}

/// Sets the cgroup that the container's is in: a path below where the caller may make any, such as /jobs/night. NULL: one of the engine's own.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_container_spec_set_cgroup_parent(
    spec: *mut coble_container_spec_t,
    cgroup_parent: *const c_char,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        let (spec, cgroup_parent) =
            unsafe { (borrow_mut(spec)?, owned_text(cgroup_parent, "cgroup_parent")?) };
        spec.0.cgroup_parent = cgroup_parent;
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

/// Sets the limit on the number of processes and threads. 0 and UINT64_MAX: none.
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

/// Sets the bytes of memory that are taken from the container last when the host runs out of it. 0: none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_container_spec_set_mem_reservation(
    spec: *mut coble_container_spec_t,
    mem_reservation: u64,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        let spec = unsafe { borrow_mut(spec)? };
        spec.0.mem_reservation = (mem_reservation != 0).then_some(mem_reservation);
    })
}

/// Sets the CPU weight against others, 2 to 262144. 0: none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_container_spec_set_cpu_shares(
    spec: *mut coble_container_spec_t,
    cpu_shares: u64,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        let spec = unsafe { borrow_mut(spec)? };
        spec.0.cpu_shares = (cpu_shares != 0).then_some(cpu_shares);
    })
}

/// Sets the microseconds of CPU time in each period. 0 and UINT64_MAX: no limit.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_container_spec_set_cpu_quota(
    spec: *mut coble_container_spec_t,
    cpu_quota: u64,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        let spec = unsafe { borrow_mut(spec)? };
        spec.0.cpu_quota = (cpu_quota != 0).then_some(cpu_quota);
    })
}

/// Sets the length of that period in microseconds. 0: 100000.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_container_spec_set_cpu_period(
    spec: *mut coble_container_spec_t,
    cpu_period: u64,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        let spec = unsafe { borrow_mut(spec)? };
        spec.0.cpu_period = (cpu_period != 0).then_some(cpu_period);
    })
}

/// Sets the block I/O weight against others, 10 to 1000. 0: none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_container_spec_set_blkio_weight(
    spec: *mut coble_container_spec_t,
    blkio_weight: u64,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        let spec = unsafe { borrow_mut(spec)? };
        spec.0.blkio_weight = (blkio_weight != 0).then_some(blkio_weight);
    })
}

/// Adds the weight of a block device against others, 10 to 1000.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_container_spec_add_blkio_weight_device(
    spec: *mut coble_container_spec_t,
    path: *const c_char,
    weight: u64,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        let (spec, path) = unsafe { (borrow_mut(spec)?, text(path, "path")?) };
        spec.0.blkio_weight_device.push((path.to_owned(), weight));
    })
}

/// Sets the bytes of memory and swap together; -1 for swap without limit, 0 for twice the memory.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_container_spec_set_memswap_limit(
    spec: *mut coble_container_spec_t,
    memswap_limit: i64,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        let spec = unsafe { borrow_mut(spec)? };
        spec.0.memswap_limit = (memswap_limit != 0).then_some(memswap_limit);
    })
}

/// Sets how willingly the kernel swaps the container's memory out, 0 to 100; UINT64_MAX: none. Only with cgroup version 1.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_container_spec_set_mem_swappiness(
    spec: *mut coble_container_spec_t,
    mem_swappiness: u64,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        let spec = unsafe { borrow_mut(spec)? };
        spec.0.mem_swappiness = Some(mem_swappiness);
    })
}

/// Sets how likely the kernel is to kill the container's programs when the host runs out of memory, -1000 to 1000.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_container_spec_set_oom_score_adj(
    spec: *mut coble_container_spec_t,
    oom_score_adj: i32,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        let spec = unsafe { borrow_mut(spec)? };
        spec.0.oom_score_adj = Some(oom_score_adj);
    })
}

/// Sets whether programs wait for memory instead of being killed for want of it: 0 or 1. Only with cgroup version 1.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_container_spec_set_oom_kill_disable(
    spec: *mut coble_container_spec_t,
    oom_kill_disable: i32,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        let (spec, disable) = (unsafe { borrow_mut(spec)? }, flag(oom_kill_disable, "oom_kill_disable")?);
        spec.0.oom_kill_disable = disable;
    })
}

/// Sets the CPUs that may be used, such as "0-2,7". NULL: all.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_container_spec_set_cpuset_cpus(
    spec: *mut coble_container_spec_t,
    cpuset_cpus: *const c_char,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        let (spec, cpuset_cpus) = unsafe { (borrow_mut(spec)?, owned_text(cpuset_cpus, "cpuset_cpus")?) };
        spec.0.cpuset_cpus = cpuset_cpus;
    })
}

/// Sets the NUMA nodes that memory may come from. NULL: all.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_container_spec_set_cpuset_mems(
    spec: *mut coble_container_spec_t,
    cpuset_mems: *const c_char,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        let (spec, cpuset_mems) = unsafe { (borrow_mut(spec)?, owned_text(cpuset_mems, "cpuset_mems")?) };
        spec.0.cpuset_mems = cpuset_mems;
    })
}

/// Adds a limit on the bytes that are read of a block device each second.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_container_spec_add_device_read_bps(
    spec: *mut coble_container_spec_t,
    path: *const c_char,
    rate: u64,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        let (spec, path) = unsafe { (borrow_mut(spec)?, text(path, "path")?) };
        spec.0.device_read_bps.push((path.to_owned(), rate));
    })
}

/// Adds a limit on the bytes that are written to a block device each second.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_container_spec_add_device_write_bps(
    spec: *mut coble_container_spec_t,
    path: *const c_char,
    rate: u64,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        let (spec, path) = unsafe { (borrow_mut(spec)?, text(path, "path")?) };
        spec.0.device_write_bps.push((path.to_owned(), rate));
    })
}

/// Adds a limit on the reads of a block device each second.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_container_spec_add_device_read_iops(
    spec: *mut coble_container_spec_t,
    path: *const c_char,
    rate: u64,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        let (spec, path) = unsafe { (borrow_mut(spec)?, text(path, "path")?) };
        spec.0.device_read_iops.push((path.to_owned(), rate));
    })
}

/// Adds a limit on the writes to a block device each second.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_container_spec_add_device_write_iops(
    spec: *mut coble_container_spec_t,
    path: *const c_char,
    rate: u64,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        let (spec, path) = unsafe { (borrow_mut(spec)?, text(path, "path")?) };
        spec.0.device_write_iops.push((path.to_owned(), rate));
    })
}

/// Adds a resource limit of processes, as "name=soft:hard" or "name=both"; -1 is no limit.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_container_spec_add_ulimit(
    spec: *mut coble_container_spec_t,
    ulimit: *const c_char,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        let (spec, ulimit) = unsafe { (borrow_mut(spec)?, text(ulimit, "ulimit")?) };
        spec.0.ulimits.push(ulimit.to_owned());
    })
}

/// Sets a parameter of the kernel that the container has for itself, such as "net.core.somaxconn".
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_container_spec_add_sysctl(
    spec: *mut coble_container_spec_t,
    name: *const c_char,
    value: *const c_char,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        let (spec, name, value) = unsafe { (borrow_mut(spec)?, text(name, "name")?, text(value, "value")?) };
        spec.0.sysctls.insert(name.to_owned(), value.to_owned());
    })
}

/// Writes to a file of the container's version 2 cgroup, such as "memory.high".
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_container_spec_add_unified(
    spec: *mut coble_container_spec_t,
    name: *const c_char,
    value: *const c_char,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        let (spec, name, value) = unsafe { (borrow_mut(spec)?, text(name, "name")?, text(value, "value")?) };
        spec.0.unified.insert(name.to_owned(), value.to_owned());
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

/// Adds a security option: seccomp= and a file or the text of a profile in docker's JSON format, or unconfined or builtin; no-new-privileges, no-new-privileges=false,
/// systempaths=unconfined, writable-cgroups, apparmor= and a profile, label= and a label, mask= and paths with colons between them, unmask= and such paths, patterns or ALL,
/// landlock= and read:PATH, write:PATH, exec:PATH, bind:PORT, connect:PORT or scope.
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

/// Sets the paths that are made invisible, instead of the usual ones: `count` strings. None: nothing is. Not set: the usual ones. A path that is not there is left out.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_container_spec_set_masked_paths(
    spec: *mut coble_container_spec_t,
    paths: *const *const c_char,
    count: usize,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        let (spec, paths) = unsafe { (borrow_mut(spec)?, texts(paths, count, "paths")?) };
        spec.0.masked_paths = Some(paths);
    })
}

/// Sets the paths that are made read-only, with all that is mounted below them, instead of the usual ones: `count` strings. None: nothing is. Not set: the usual ones.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_container_spec_set_readonly_paths(
    spec: *mut coble_container_spec_t,
    paths: *const *const c_char,
    count: usize,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        let (spec, paths) = unsafe { (borrow_mut(spec)?, texts(paths, count, "paths")?) };
        spec.0.readonly_paths = Some(paths);
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

/// Adds an annotation, which is for other tools and means nothing to the engine.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_container_spec_add_annotation(
    spec: *mut coble_container_spec_t,
    name: *const c_char,
    value: *const c_char,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        let (spec, name, value) = unsafe { (borrow_mut(spec)?, text(name, "name")?, text(value, "value")?) };
        spec.0.annotations.insert(name.to_owned(), value.to_owned());
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

/// Sets the seconds after which the program is killed, counted from each start of it. 0: it may run as long as it likes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_container_spec_set_run_timeout(
    spec: *mut coble_container_spec_t,
    run_timeout: u32,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        let spec = unsafe { borrow_mut(spec)? };
        spec.0.run_timeout = (run_timeout != 0).then_some(run_timeout);
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

/// Adds a domain in which names are looked for. None: the host's; . alone: none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_container_spec_add_dns_search(
    spec: *mut coble_container_spec_t,
    domain: *const c_char,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        let (spec, domain) = unsafe { (borrow_mut(spec)?, text(domain, "domain")?) };
        spec.0.dns_search.push(domain.to_owned());
    })
}

/// Adds an option for /etc/resolv.conf, such as ndots:2. None: the host's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_container_spec_add_dns_opt(
    spec: *mut coble_container_spec_t,
    option: *const c_char,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        let (spec, option) = unsafe { (borrow_mut(spec)?, text(option, "option")?) };
        spec.0.dns_opt.push(option.to_owned());
    })
}

/// Sets whether the program has a terminal: 0 or 1. All of its output is then that of standard output.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_container_spec_set_tty(
    spec: *mut coble_container_spec_t,
    tty: i32,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        let (spec, tty) = (unsafe { borrow_mut(spec)? }, flag(tty, "tty")?);
        spec.0.tty = tty;
    })
}

/// Sets whether standard input is kept open for coble_container_attach: 0 or 1.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_container_spec_set_stdin_open(
    spec: *mut coble_container_spec_t,
    stdin_open: i32,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        let (spec, stdin_open) = (unsafe { borrow_mut(spec)? }, flag(stdin_open, "stdin_open")?);
        spec.0.stdin_open = stdin_open;
    })
}

/// Sets whether the end of the first input that is attached is the end of standard input: 0 or 1. Needs coble_container_spec_set_stdin_open.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_container_spec_set_stdin_once(
    spec: *mut coble_container_spec_t,
    stdin_once: i32,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        let (spec, stdin_once) = (unsafe { borrow_mut(spec)? }, flag(stdin_once, "stdin_once")?);
        spec.0.stdin_once = stdin_once;
    })
}

/// Sets height and width of the terminal at first, in characters. Both 0: not known yet.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_container_spec_set_console_size(
    spec: *mut coble_container_spec_t,
    height: u16,
    width: u16,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        let spec = unsafe { borrow_mut(spec)? };
        spec.0.console_size = Some((height, width)).filter(|size| *size != (0, 0));
    })
}

/// Sets whether process 1 is a small init, which reaps what ends in the container, passes signals on to the program, and ends with it: 0 or 1.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_container_spec_set_init(
    spec: *mut coble_container_spec_t,
    init: i32,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        let (spec, init) = (unsafe { borrow_mut(spec)? }, flag(init, "init")?);
        spec.0.init = init;
    })
}

/// Sets where output that is kept goes: "local", "json-file", "journald" or "none". NULL: "local".
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_container_spec_set_log_driver(
    spec: *mut coble_container_spec_t,
    log_driver: *const c_char,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        let (spec, log_driver) = unsafe { (borrow_mut(spec)?, owned_text(log_driver, "log_driver")?) };
        spec.0.log_driver = log_driver;
    })
}

/// Adds an option of the log driver: "max-size", "max-file", and with "json-file" and "journald" "tag", "labels", "labels-regex", "env" or "env-regex".
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_container_spec_add_log_opt(
    spec: *mut coble_container_spec_t,
    name: *const c_char,
    value: *const c_char,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        let (spec, name, value) = unsafe { (borrow_mut(spec)?, text(name, "name")?, text(value, "value")?) };
        spec.0.log_opt.insert(name.to_owned(), value.to_owned());
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
