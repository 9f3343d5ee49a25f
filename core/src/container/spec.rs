//! What a caller may ask of a container, and the checks on it. All defaults and all validation live here, for every surface.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::bundle::Beyond;
use super::spaces::Names;
use super::{HealthCheck, Hooks, Mount, NamespaceMode, RestartPolicy, Secret, UsernsMode};
use crate::distribution::PullPolicy;
use crate::error::{Error, ErrorKind, Result};

/// The options of a new container. Field names are docker-py's. [`ContainerSpec::new`] gives the defaults; [`ContainerSpec::validate`] reports
/// the first field that no container could have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ContainerSpec {
    /// The image: a reference, an id, or an unambiguous prefix of an id of at least four hexadecimal digits. Empty with `rootfs` or `bundle`.
    pub image: String,
    /// A directory of this host that is the root file system, instead of an image. It is the lowest layer, and nothing is written to it: what the container writes is its own. Links in its
    /// path are followed once, when the container is created. A final `:O` is podman's word for that, and left off. What is mounted below it does not come along.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rootfs: Option<String>,
    /// The directory of a bundle of the OCI runtime specification, instead of an image: its `config.json`, read when the container is created, says what these options do not say, and which directory
    /// is the root file system. What it asks for has the caller's rights: only name one that you trust as you trust a program. What cannot be given is an error that names it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bundle: Option<String>,
    /// The platform of the image, as `os/architecture/variant`, if its name has several in the store. None: the one for the host.
    #[serde(default, skip_serializing_if = "is_default")]
    pub platform: Option<String>,
    /// When a registry is asked for the image. The image is pulled as [`Images::pull`](crate::Images::pull) does it, with what is configured for its registry.
    #[serde(skip, default = "missing")]
    pub pull: PullPolicy,
    /// The command. None: the image's. The rules for `entrypoint` and `command` are docker's.
    #[serde(default, skip_serializing_if = "is_default")]
    pub command: Option<Vec<String>>,
    /// The entrypoint. None: the image's. An empty list removes the image's entrypoint; any other value drops the image's command too.
    #[serde(default, skip_serializing_if = "is_default")]
    pub entrypoint: Option<Vec<String>>,
    /// A name of `[a-zA-Z0-9][a-zA-Z0-9_.-]*`, at most 128 characters; made up when None.
    #[serde(default, skip_serializing_if = "is_default")]
    pub name: Option<String>,
    /// Environment, merged over the image's.
    #[serde(default, skip_serializing_if = "is_default")]
    pub environment: Vec<(String, String)>,
    /// Give its programs the proxies of docker's client configuration (`proxies.default` in `config.json`) as `HTTP_PROXY`, `HTTPS_PROXY`, `FTP_PROXY`, `NO_PROXY` and `ALL_PROXY`, in upper and
    /// lower case: over the image's, not over those of `environment`. They are read whenever a program is started, and kept nowhere.
    #[serde(default, skip_serializing_if = "is_default")]
    pub use_config_proxy: bool,
    /// Working directory, absolute; made when missing. None: the image's, or `/`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub working_dir: Option<String>,
    /// `name`, `uid`, `name:group` or `uid:gid`. None: the image's, or `0:0`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub user: Option<String>,
    /// More group ids or names.
    #[serde(default, skip_serializing_if = "is_default")]
    pub group_add: Vec<String>,
    /// Host name. None: the first 12 characters of the id, and the host's name on the host's network and in its uts namespace.
    #[serde(default, skip_serializing_if = "is_default")]
    pub hostname: Option<String>,
    /// Domain name, with which the host name is complete.
    #[serde(default, skip_serializing_if = "is_default")]
    pub domainname: Option<String>,
    /// The time zone of its `/etc/localtime`, read when it is started: a name of the zone data of this host, as `Europe/Berlin`, or `local` for this host's own. None: what the image has.
    #[serde(default, skip_serializing_if = "is_default")]
    pub tz: Option<String>,
    /// A user or group of the program that the image's `/etc/passwd` or `/etc/group` lacks gets a line in what the container has there, which is mounted over it: a user that is a number, or the caller with `keep-id`. The image
    /// has to have the file.
    #[serde(default = "yes", skip_serializing_if = "is_yes")]
    pub passwd: bool,
    /// That line of `/etc/passwd`, with `$USERNAME`, `$UID`, `$GID`, `$NAME` and `$HOME` replaced. None: `$USERNAME:*:$UID:$GID:$NAME:$HOME:/bin/sh`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub passwd_entry: Option<String>,
    /// That line of `/etc/group`, with `$GROUPNAME`, `$GID` and `$USERLIST` replaced. None: `$GROUPNAME:x:$GID:$USERLIST`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub group_entry: Option<String>,
    /// `none`, `host`, or the network of another container that runs, which also gives it its names and name servers.
    #[serde(default, skip_serializing_if = "is_default")]
    pub network: NetworkMode,
    /// It has no network but loopback, whatever else says which one it has: docker's word. Any `network` but `none` is an error.
    #[serde(default, skip_serializing_if = "is_default")]
    pub network_disabled: bool,
    /// Ports that its programs listen on, as `80`, `53/udp` or `8000-8010/tcp`, beside the image's. They are only said, for others to see, and to be in an image that is made of it.
    #[serde(default, skip_serializing_if = "is_default")]
    pub exposed_ports: Vec<String>,
    /// Whose processes it sees: `private`, `host`, or those of another container that runs, with which it ends. Other than `private` it needs a cgroup of version 2.
    #[serde(default, skip_serializing_if = "is_default")]
    pub pid_mode: NamespaceMode,
    /// Whose System V objects, message queues and `/dev/shm` it has: `private`, `shareable`, `none` (as `private`, with no `/dev/shm`), `host`, or those of another
    /// container that runs and is `shareable`. `shm_size` is of no matter to what is not its own.
    #[serde(default, skip_serializing_if = "is_default")]
    pub ipc_mode: NamespaceMode,
    /// Whose host name and domain name it has: `private` or `host`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub uts_mode: NamespaceMode,
    /// How it sees cgroups: `private`, its own as the top, or `host`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub cgroupns: NamespaceMode,
    /// Which user namespace it has: that of the engine's other containers, or its own, with ids that no other container of the store has, or with those of `uidmap` and `gidmap`, or, of an ordinary user, with his ids in another order. In its own one its programs
    /// are nobody on the host, or ids of an ordinary user's ranges, and have capabilities over nothing but the container. The root file system is mounted with the ids of the container, which its file system has to be able to; an ordinary user's is unpacked with them.
    #[serde(default)]
    pub userns_mode: UsernsMode,
    /// Lines of the map of user ids of its own user namespace: `container:host:count`, of which the count may be left out. Has to map 0. If it is missing, it is as `gidmap`. Where the engine is rootless, the ids in the middle are not the host's but those of its user namespace: 0 is the caller, and his
    /// ranges in `/etc/subuid` follow one another from 1.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub uidmap: Vec<String>,
    /// The same for group ids. If it is missing, it is as `uidmap`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gidmap: Vec<String>,
    /// Memory limit in bytes. 0 is none, as it is for every limit here but `mem_swappiness`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub mem_limit: Option<u64>,
    /// CPU limit in billionths of a CPU (docker's NanoCpus).
    #[serde(default, skip_serializing_if = "is_default")]
    pub nano_cpus: Option<u64>,
    /// Limit on the number of processes and threads. 0 and [`u64::MAX`] are no limit, as 0 and -1 are docker's.
    #[serde(default, skip_serializing_if = "is_default")]
    pub pids_limit: Option<u64>,
    /// Bytes of memory that are taken from the container last when the host runs out of it.
    #[serde(default, skip_serializing_if = "is_default")]
    pub mem_reservation: Option<u64>,
    /// Bytes of memory and swap together; -1 for swap without limit. Needs `mem_limit`. None: twice that.
    #[serde(default, skip_serializing_if = "is_default")]
    pub memswap_limit: Option<i64>,
    /// How willingly the kernel swaps the container's memory out, 0 to 100; [`u64::MAX`], docker's -1, is none. Only with cgroup version 1.
    #[serde(default, skip_serializing_if = "is_default")]
    pub mem_swappiness: Option<u64>,
    /// Programs wait for memory instead of being killed for want of it. Only with cgroup version 1.
    #[serde(default, skip_serializing_if = "is_default")]
    pub oom_kill_disable: bool,
    /// How likely the kernel is to kill the container's programs when the host runs out of memory, -1000 to 1000.
    #[serde(default, skip_serializing_if = "is_default")]
    pub oom_score_adj: Option<i32>,
    /// CPU weight against others, 2 to 262144, where 1024 is the rule.
    #[serde(default, skip_serializing_if = "is_default")]
    pub cpu_shares: Option<u64>,
    /// Microseconds of CPU time in each period, at least 1000; [`u64::MAX`], docker's -1, is no limit. Excludes `nano_cpus`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub cpu_quota: Option<u64>,
    /// Length of the period in microseconds, 1000 to 1000000. None: 100000. Excludes `nano_cpus`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub cpu_period: Option<u64>,
    /// CPUs that may be used, such as `0-2,7`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub cpuset_cpus: Option<String>,
    /// NUMA nodes that memory may come from, such as `0,1`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub cpuset_mems: Option<String>,
    /// Block I/O weight against others, 10 to 1000.
    #[serde(default, skip_serializing_if = "is_default")]
    pub blkio_weight: Option<u64>,
    /// The same for single block devices, by path.
    #[serde(default, skip_serializing_if = "is_default")]
    pub blkio_weight_device: Vec<(String, u64)>,
    /// Bytes that may be read each second, by path of a block device.
    #[serde(default, skip_serializing_if = "is_default")]
    pub device_read_bps: Vec<(String, u64)>,
    /// Bytes that may be written each second, by path of a block device.
    #[serde(default, skip_serializing_if = "is_default")]
    pub device_write_bps: Vec<(String, u64)>,
    /// Reads each second, by path of a block device.
    #[serde(default, skip_serializing_if = "is_default")]
    pub device_read_iops: Vec<(String, u64)>,
    /// Writes each second, by path of a block device.
    #[serde(default, skip_serializing_if = "is_default")]
    pub device_write_iops: Vec<(String, u64)>,
    /// Resource limits of processes, as `name=soft:hard` or `name=both`; -1 is no limit.
    #[serde(default, skip_serializing_if = "is_default")]
    pub ulimits: Vec<String>,
    /// Parameters of the kernel that the container has for itself, such as `net.core.somaxconn`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub sysctls: BTreeMap<String, String>,
    /// Files of the container's version 2 cgroup, such as `memory.high`, and what is written to them.
    #[serde(default, skip_serializing_if = "is_default")]
    pub unified: BTreeMap<String, String>,
    /// The cgroup that the container's is in, on all hierarchies: a path below where the caller may make any, which for root is the top, such as `/jobs/night`. Missing ones are made, and
    /// stay. None: one of the engine's own.
    #[serde(default, skip_serializing_if = "is_default")]
    pub cgroup_parent: Option<String>,
    /// Capabilities added to the default set: names with or without `CAP_`, or `ALL`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub cap_add: Vec<String>,
    /// Capabilities taken from the default set: names with or without `CAP_`, or `ALL`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub cap_drop: Vec<String>,
    /// Mount the root file system read-only.
    #[serde(default, skip_serializing_if = "is_default")]
    pub read_only: bool,
    /// `seccomp=` and a file or the text of a profile in docker's JSON format, or `unconfined` or `builtin`; `no-new-privileges`, `no-new-privileges=false`,
    /// `systempaths=unconfined`, `writable-cgroups`, `apparmor=` and a profile or `unconfined`, `label=` and a label or `disable`; podman's `mask=` and paths with colons between them, and
    /// `unmask=` and `ALL` or such paths, which may be patterns;
    /// `landlock=` and `read:PATH`, `write:PATH`, `exec:PATH`, `bind:PORT`, `connect:PORT` or `scope`: where there is a rule about files, or about one of the two uses of ports, what no rule allows is
    /// forbidden; with `scope` signals and abstract sockets stay among the program and what it starts.
    #[serde(default, skip_serializing_if = "is_default")]
    pub security_opt: Vec<String>,
    /// Paths that are made invisible, instead of the usual ones. Missing ones are left out. None: the usual ones, and none with `privileged` or `systempaths=unconfined`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub masked_paths: Option<Vec<String>>,
    /// Paths that are made read-only, with all that is mounted below them, instead of the usual ones. None: as with `masked_paths`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub readonly_paths: Option<Vec<String>>,
    /// Labels.
    #[serde(default, skip_serializing_if = "is_default")]
    pub labels: BTreeMap<String, String>,
    /// Annotations: names and values for other tools, which mean nothing to the engine.
    #[serde(default, skip_serializing_if = "is_default")]
    pub annotations: BTreeMap<String, String>,
    /// The signal that `stop` sends: a name or a number. None: the image's, or SIGTERM.
    #[serde(default, skip_serializing_if = "is_default")]
    pub stop_signal: Option<String>,
    /// Seconds `stop` waits before it kills. None: 10.
    #[serde(default, skip_serializing_if = "is_default")]
    pub stop_timeout: Option<u32>,
    /// Seconds after which the program is killed, counted from each start of it: 137, and a warning with the code `run-timeout`. None: it may run as long as it likes.
    #[serde(default, skip_serializing_if = "is_default")]
    pub run_timeout: Option<u32>,
    /// Size of `/dev/shm` in bytes. None: 64 MiB.
    #[serde(default, skip_serializing_if = "is_default")]
    pub shm_size: Option<u64>,
    /// Lines `host:address` for `/etc/hosts`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub extra_hosts: Vec<(String, String)>,
    /// Name servers for `/etc/resolv.conf`. Empty: the host's.
    #[serde(default, skip_serializing_if = "is_default")]
    pub dns: Vec<String>,
    /// Domains in which names are looked for. Empty: the host's; `.` alone: none.
    #[serde(default, skip_serializing_if = "is_default")]
    pub dns_search: Vec<String>,
    /// Options of `/etc/resolv.conf`, such as `ndots:2`. Empty: the host's.
    #[serde(default, skip_serializing_if = "is_default")]
    pub dns_opt: Vec<String>,
    /// Give the program a terminal: one stream, which is standard output, and a controlling terminal with a size. `TERM` is `xterm` unless somebody says otherwise.
    #[serde(default, skip_serializing_if = "is_default")]
    pub tty: bool,
    /// Keep standard input open for [`Container::attach`](super::Container::attach), if the start gives the program no other.
    #[serde(default, skip_serializing_if = "is_default")]
    pub stdin_open: bool,
    /// With `stdin_open`: the end of the first input that is attached is the end of it all. It is no matter to a terminal.
    #[serde(default, skip_serializing_if = "is_default")]
    pub stdin_once: bool,
    /// Height and width of the terminal at first, in characters. None: not known yet, which programs take for 24 lines of 80 characters.
    #[serde(default, skip_serializing_if = "is_default")]
    pub console_size: Option<(u16, u16)>,
    /// Make process 1 a small init, which reaps what ends in the container, passes signals on to the program, and ends with it.
    #[serde(default, skip_serializing_if = "is_default")]
    pub init: bool,
    /// Where output that is kept goes: `local` (the default), `json-file` (docker's form), `journald` (the journal of the host, and as `local`), or `none`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub log_driver: Option<String>,
    /// Options of that, by docker's names: `max-size`, a size such as `10m` at which a log file is put aside, and `max-file`, how many files are kept then, 1 if it is not said (5 with
    /// `local`); with `json-file` and `journald` what each record says of the container: `tag`, a text with `{{.ID}}`, `{{.Name}}` and so on, and `labels`, `labels-regex`, `env` and
    /// `env-regex`, lists or patterns of names. None: logs grow without bound.
    #[serde(default, skip_serializing_if = "is_default")]
    pub log_opt: BTreeMap<String, String>,
    /// Directories and files of the host that are mounted, as docker's `--volume` has them: see [`parse::volume`](super::parse::volume).
    #[serde(default, skip_serializing_if = "is_default")]
    pub volumes: Vec<Mount>,
    /// What is mounted, as docker's `--mount` has it: see [`parse::mount`](super::parse::mount).
    #[serde(default, skip_serializing_if = "is_default")]
    pub mounts: Vec<Mount>,
    /// Containers whose binds and volumes are mounted at the same places, as `name`, `name:ro` or `name:rw`. Where the container has something mounted of its own, that counts.
    #[serde(default, skip_serializing_if = "is_default")]
    pub volumes_from: Vec<String>,
    /// File systems in memory, as docker's `--tmpfs` has them: see [`parse::tmpfs`](super::parse::tmpfs).
    #[serde(default, skip_serializing_if = "is_default")]
    pub tmpfs: Vec<Mount>,
    /// Files whose content is in memory alone, and read whenever the container is started.
    #[serde(default, skip_serializing_if = "is_default")]
    pub secrets: Vec<Secret>,
    /// Devices of the host, as `source`, `source:target`, `source:access` or `source:target:access`, where access is some of `r`, `w` and `m`. A directory stands for the devices in it.
    #[serde(default, skip_serializing_if = "is_default")]
    pub devices: Vec<String>,
    /// More devices that the kernel lets the container use, such as `c 10:* rwm`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub device_cgroup_rules: Vec<String>,
    /// Hold nothing back that the caller has: all capabilities, the host's devices, no seccomp filter, nothing masked or read-only.
    #[serde(default, skip_serializing_if = "is_default")]
    pub privileged: bool,
    /// How the health of the program is looked at. None: as the image says.
    #[serde(default, skip_serializing_if = "is_default")]
    pub healthcheck: Option<HealthCheck>,
    /// When the program is started again after its end. Excludes `auto_remove`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub restart_policy: RestartPolicy,
    /// Remove the container when it ends.
    #[serde(default, skip_serializing_if = "is_default")]
    pub auto_remove: bool,
    /// How long the container may live.
    #[serde(default, skip_serializing_if = "is_default")]
    pub lifetime: Lifetime,
    /// Programs that are run at moments of its life, with the caller's rights.
    #[serde(default, skip_serializing_if = "Hooks::is_empty")]
    pub hooks: Hooks,
    /// What is mounted since another container or its image has it.
    #[serde(default, skip_serializing_if = "is_default")]
    pub(crate) inherited: Vec<Mount>,
    /// What its bundle says that no option does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) beyond: Option<Box<Beyond>>,
    /// The names of the container whose network it has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) names: Option<Box<Names>>,
}

/// Whether a field is as nobody asked for anything: such fields are left out of the database, whose rows are written at every start.
fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

fn yes() -> bool {
    true
}

fn is_yes(value: &bool) -> bool {
    *value
}

fn missing() -> PullPolicy {
    PullPolicy::Missing
}

/// The network of a container.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
#[non_exhaustive]
pub enum NetworkMode {
    /// A namespace of its own with nothing but loopback.
    #[default]
    None,
    /// The host's network.
    Host,
    /// That of another container, by its name or id.
    Container(String),
}

impl NetworkMode {
    /// `none`, `host` or `container:` and a name or id.
    pub fn parse(text: &str) -> Result<NetworkMode> {
        match (text, text.strip_prefix("container:")) {
            ("none", _) => Ok(NetworkMode::None),
            ("host", _) => Ok(NetworkMode::Host),
            (_, Some(name)) if !name.is_empty() => Ok(NetworkMode::Container(name.to_owned())),
            _ => {
                let hint = match text {
                    "bridge" => {
                        "there is no bridge yet; use host (shares the host's ports) or none, or container:NAME"
                    }
                    _ => "use none, host, or container:NAME",
                };
                let why = format!("unknown network \"{}\"", text.escape_default());
                Err(Error::new(ErrorKind::InvalidArgument, why).with_object(text).with_hint(hint))
            }
        }
    }
}

impl fmt::Display for NetworkMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NetworkMode::None => f.write_str("none"),
            NetworkMode::Host => f.write_str("host"),
            NetworkMode::Container(name) => write!(f, "container:{name}"),
        }
    }
}

impl TryFrom<String> for NetworkMode {
    type Error = Error;

    fn try_from(text: String) -> Result<NetworkMode> {
        NetworkMode::parse(&text)
    }
}

impl From<NetworkMode> for String {
    fn from(mode: NetworkMode) -> String {
        mode.to_string()
    }
}

/// How long a container may live.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Lifetime {
    /// It outlives its starter.
    #[default]
    Detached,
    /// It dies with the process that started it, however that process ends.
    Session,
}

impl Lifetime {
    /// `detached` or `session`.
    pub fn parse(text: &str) -> Result<Lifetime> {
        match text {
            "detached" => Ok(Lifetime::Detached),
            "session" => Ok(Lifetime::Session),
            _ => Err(Error::new(
                ErrorKind::InvalidArgument,
                format!("unknown lifetime \"{}\"", text.escape_default()),
            )
            .with_object(text)
            .with_hint("use detached or session")),
        }
    }
}

impl ContainerSpec {
    /// A container of an image, with every default.
    pub fn new(image: impl Into<String>) -> ContainerSpec {
        ContainerSpec {
            image: image.into(),
            rootfs: None,
            bundle: None,
            platform: None,
            pull: PullPolicy::Missing,
            command: None,
            entrypoint: None,
            name: None,
            environment: Vec::new(),
            use_config_proxy: false,
            working_dir: None,
            user: None,
            group_add: Vec::new(),
            hostname: None,
            domainname: None,
            tz: None,
            passwd: true,
            passwd_entry: None,
            group_entry: None,
            network: NetworkMode::None,
            network_disabled: false,
            exposed_ports: Vec::new(),
            pid_mode: NamespaceMode::Private,
            ipc_mode: NamespaceMode::Private,
            uts_mode: NamespaceMode::Private,
            cgroupns: NamespaceMode::Private,
            userns_mode: UsernsMode::Default,
            uidmap: Vec::new(),
            gidmap: Vec::new(),
            mem_limit: None,
            nano_cpus: None,
            pids_limit: None,
            mem_reservation: None,
            memswap_limit: None,
            mem_swappiness: None,
            oom_kill_disable: false,
            oom_score_adj: None,
            cpu_shares: None,
            cpu_quota: None,
            cpu_period: None,
            cpuset_cpus: None,
            cpuset_mems: None,
            blkio_weight: None,
            blkio_weight_device: Vec::new(),
            device_read_bps: Vec::new(),
            device_write_bps: Vec::new(),
            device_read_iops: Vec::new(),
            device_write_iops: Vec::new(),
            ulimits: Vec::new(),
            sysctls: BTreeMap::new(),
            unified: BTreeMap::new(),
            cgroup_parent: None,
            cap_add: Vec::new(),
            cap_drop: Vec::new(),
            read_only: false,
            security_opt: Vec::new(),
            masked_paths: None,
            readonly_paths: None,
            labels: BTreeMap::new(),
            annotations: BTreeMap::new(),
            stop_signal: None,
            stop_timeout: None,
            run_timeout: None,
            shm_size: None,
            extra_hosts: Vec::new(),
            dns: Vec::new(),
            dns_search: Vec::new(),
            dns_opt: Vec::new(),
            tty: false,
            stdin_open: false,
            stdin_once: false,
            console_size: None,
            init: false,
            log_driver: None,
            log_opt: BTreeMap::new(),
            volumes: Vec::new(),
            volumes_from: Vec::new(),
            inherited: Vec::new(),
            mounts: Vec::new(),
            tmpfs: Vec::new(),
            secrets: Vec::new(),
            devices: Vec::new(),
            device_cgroup_rules: Vec::new(),
            privileged: false,
            healthcheck: None,
            restart_policy: RestartPolicy::No,
            auto_remove: false,
            lifetime: Lifetime::Detached,
            hooks: Hooks::default(),
            beyond: None,
            names: None,
        }
    }

    /// A container whose root file system is a directory of this host.
    pub fn of_rootfs(directory: impl Into<String>) -> ContainerSpec {
        ContainerSpec { rootfs: Some(directory.into()), ..ContainerSpec::new("") }
    }

    /// A container of an OCI bundle.
    pub fn of_bundle(directory: impl Into<String>) -> ContainerSpec {
        ContainerSpec { bundle: Some(directory.into()), ..ContainerSpec::new("") }
    }

    /// What it is made of: the image as the caller named it, or the directory of the bundle or the root file system.
    pub(crate) fn origin(&self) -> &str {
        self.bundle.as_deref().or(self.rootfs.as_deref()).unwrap_or(&self.image)
    }

    /// Sets the command.
    pub fn command<S: Into<String>>(mut self, command: impl IntoIterator<Item = S>) -> ContainerSpec {
        self.command = Some(command.into_iter().map(Into::into).collect());
        self
    }
}

/// The options of another program in a running container.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ExecSpec {
    /// Program and arguments; never empty.
    pub command: Vec<String>,
    /// Environment, merged over the container's.
    pub environment: Vec<(String, String)>,
    /// Working directory. None: the container's.
    pub working_dir: Option<String>,
    /// User. None: the container's.
    pub user: Option<String>,
    /// Give the program every capability that the caller has, as docker does, whatever the container has. They are those of user 0; all else stays the container's: seccomp, AppArmor, Landlock,
    /// `no_new_privs`, what is masked, and which devices may be used. Where a host cannot restrict that, the program lacks `CAP_MKNOD`.
    pub privileged: bool,
    /// Give the program a terminal, whose master the caller has: both streams of it are that.
    pub tty: bool,
    /// Height and width of the terminal at first, in characters. None: not known yet.
    pub console_size: Option<(u16, u16)>,
}

impl ExecSpec {
    /// A program with every default.
    pub fn new<S: Into<String>>(command: impl IntoIterator<Item = S>) -> ExecSpec {
        ExecSpec { command: command.into_iter().map(Into::into).collect(), ..ExecSpec::default() }
    }
}
