//! What a caller may ask of a container, and the checks on it. All defaults and all validation live here, for every surface.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::distribution::PullPolicy;
use crate::error::{Error, ErrorKind, Result};

/// The options of a new container. Field names are docker-py's. [`ContainerSpec::new`] gives the defaults; [`ContainerSpec::validate`] reports
/// the first field that no container could have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ContainerSpec {
    /// The image: a reference, an id, or an unambiguous prefix of an id of at least four hexadecimal digits.
    pub image: String,
    /// The platform of the image, as `os/architecture/variant`, if its name has several in the store. None: the one for the host.
    #[serde(default)]
    pub platform: Option<String>,
    /// When a registry is asked for the image. The image is pulled as [`Images::pull`](crate::Images::pull) does it, with what is configured for its registry.
    #[serde(skip, default = "missing")]
    pub pull: PullPolicy,
    /// The command. None: the image's. The rules for `entrypoint` and `command` are docker's.
    pub command: Option<Vec<String>>,
    /// The entrypoint. None: the image's. An empty list removes the image's entrypoint; any other value drops the image's command too.
    pub entrypoint: Option<Vec<String>>,
    /// A name of `[a-zA-Z0-9][a-zA-Z0-9_.-]*`, at most 128 characters; made up when None.
    pub name: Option<String>,
    /// Environment, merged over the image's.
    pub environment: Vec<(String, String)>,
    /// Working directory, absolute; made when missing. None: the image's, or `/`.
    pub working_dir: Option<String>,
    /// `name`, `uid`, `name:group` or `uid:gid`. None: the image's, or `0:0`.
    pub user: Option<String>,
    /// More group ids or names.
    pub group_add: Vec<String>,
    /// Host name. None: the first 12 characters of the id, and the host's name on the host's network.
    pub hostname: Option<String>,
    /// `none` or `host`.
    pub network: NetworkMode,
    /// Memory limit in bytes.
    pub mem_limit: Option<u64>,
    /// CPU limit in billionths of a CPU (docker's NanoCpus).
    pub nano_cpus: Option<u64>,
    /// Limit on the number of processes and threads.
    pub pids_limit: Option<u64>,
    /// Bytes of memory that are taken from the container last when the host runs out of it.
    #[serde(default)]
    pub mem_reservation: Option<u64>,
    /// Bytes of memory and swap together; -1 for swap without limit. Needs `mem_limit`. None: twice that.
    #[serde(default)]
    pub memswap_limit: Option<i64>,
    /// How willingly the kernel swaps the container's memory out, 0 to 100. Only with cgroup version 1.
    #[serde(default)]
    pub mem_swappiness: Option<u64>,
    /// Programs wait for memory instead of being killed for want of it. Only with cgroup version 1.
    #[serde(default)]
    pub oom_kill_disable: bool,
    /// How likely the kernel is to kill the container's programs when the host runs out of memory, -1000 to 1000.
    #[serde(default)]
    pub oom_score_adj: Option<i32>,
    /// CPU weight against others, 2 to 262144, where 1024 is the rule.
    #[serde(default)]
    pub cpu_shares: Option<u64>,
    /// Microseconds of CPU time in each period, at least 1000. Excludes `nano_cpus`.
    #[serde(default)]
    pub cpu_quota: Option<u64>,
    /// Length of the period in microseconds, 1000 to 1000000. None: 100000. Excludes `nano_cpus`.
    #[serde(default)]
    pub cpu_period: Option<u64>,
    /// CPUs that may be used, such as `0-2,7`.
    #[serde(default)]
    pub cpuset_cpus: Option<String>,
    /// NUMA nodes that memory may come from, such as `0,1`.
    #[serde(default)]
    pub cpuset_mems: Option<String>,
    /// Block I/O weight against others, 10 to 1000.
    #[serde(default)]
    pub blkio_weight: Option<u64>,
    /// Bytes that may be read each second, by path of a block device.
    #[serde(default)]
    pub device_read_bps: Vec<(String, u64)>,
    /// Bytes that may be written each second, by path of a block device.
    #[serde(default)]
    pub device_write_bps: Vec<(String, u64)>,
    /// Reads each second, by path of a block device.
    #[serde(default)]
    pub device_read_iops: Vec<(String, u64)>,
    /// Writes each second, by path of a block device.
    #[serde(default)]
    pub device_write_iops: Vec<(String, u64)>,
    /// Resource limits of processes, as `name=soft:hard` or `name=both`; -1 is no limit.
    #[serde(default)]
    pub ulimits: Vec<String>,
    /// Parameters of the kernel that the container has for itself, such as `net.core.somaxconn`.
    #[serde(default)]
    pub sysctls: BTreeMap<String, String>,
    /// Files of the container's version 2 cgroup, such as `memory.high`, and what is written to them.
    #[serde(default)]
    pub unified: BTreeMap<String, String>,
    /// Capabilities added to the default set: names with or without `CAP_`, or `ALL`.
    pub cap_add: Vec<String>,
    /// Capabilities taken from the default set: names with or without `CAP_`, or `ALL`.
    pub cap_drop: Vec<String>,
    /// Mount the root file system read-only.
    pub read_only: bool,
    /// `seccomp=unconfined`, `no-new-privileges`, `no-new-privileges=false`, `systempaths=unconfined`.
    pub security_opt: Vec<String>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// The signal that `stop` sends: a name or a number. None: the image's, or SIGTERM.
    pub stop_signal: Option<String>,
    /// Seconds `stop` waits before it kills. None: 10.
    pub stop_timeout: Option<u32>,
    /// Size of `/dev/shm` in bytes. None: 64 MiB.
    pub shm_size: Option<u64>,
    /// Lines `host:address` for `/etc/hosts`.
    pub extra_hosts: Vec<(String, String)>,
    /// Name servers for `/etc/resolv.conf`. Empty: the host's.
    pub dns: Vec<String>,
    /// Remove the container when it ends.
    pub auto_remove: bool,
    /// How long the container may live.
    pub lifetime: Lifetime,
}

fn missing() -> PullPolicy {
    PullPolicy::Missing
}

/// The network of a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum NetworkMode {
    /// A namespace of its own with nothing but loopback.
    #[default]
    None,
    /// The host's network.
    Host,
}

impl NetworkMode {
    /// `none` or `host`.
    pub fn parse(text: &str) -> Result<NetworkMode> {
        match text {
            "none" => Ok(NetworkMode::None),
            "host" => Ok(NetworkMode::Host),
            _ => Err(Error::new(
                ErrorKind::InvalidArgument,
                format!("unknown network \"{}\"", text.escape_default()),
            )
            .with_object(text)
            .with_hint("use none or host")),
        }
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
            platform: None,
            pull: PullPolicy::Missing,
            command: None,
            entrypoint: None,
            name: None,
            environment: Vec::new(),
            working_dir: None,
            user: None,
            group_add: Vec::new(),
            hostname: None,
            network: NetworkMode::None,
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
            device_read_bps: Vec::new(),
            device_write_bps: Vec::new(),
            device_read_iops: Vec::new(),
            device_write_iops: Vec::new(),
            ulimits: Vec::new(),
            sysctls: BTreeMap::new(),
            unified: BTreeMap::new(),
            cap_add: Vec::new(),
            cap_drop: Vec::new(),
            read_only: false,
            security_opt: Vec::new(),
            labels: BTreeMap::new(),
            stop_signal: None,
            stop_timeout: None,
            shm_size: None,
            extra_hosts: Vec::new(),
            dns: Vec::new(),
            auto_remove: false,
            lifetime: Lifetime::Detached,
        }
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
}

impl ExecSpec {
    /// A program with every default.
    pub fn new<S: Into<String>>(command: impl IntoIterator<Item = S>) -> ExecSpec {
        ExecSpec { command: command.into_iter().map(Into::into).collect(), ..ExecSpec::default() }
    }
}
