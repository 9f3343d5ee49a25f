//! What container operations take and return.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use super::spec::{ContainerSpec, Lifetime};
use crate::error::{Error, ErrorKind, Result};

/// The state of a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum State {
    /// Made, never started.
    Created,
    /// Its program runs.
    Running,
    /// Its program is there, and stopped until somebody lets it go on.
    Paused,
    /// Its program ended.
    Exited,
}

impl State {
    /// The name, in lower case.
    pub const fn name(self) -> &'static str {
        match self {
            State::Created => "created",
            State::Running => "running",
            State::Paused => "paused",
            State::Exited => "exited",
        }
    }
}

/// What to wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum WaitCondition {
    /// It does not run. One that has ended is no wait at all; one that was never started is an error.
    #[default]
    NotRunning,
    /// The next end of its program, which may still have to be started.
    NextExit,
    /// It is gone.
    Removed,
}

impl WaitCondition {
    /// `not-running`, `next-exit` or `removed`.
    pub fn parse(text: &str) -> Result<WaitCondition> {
        match text {
            "not-running" => Ok(WaitCondition::NotRunning),
            "next-exit" => Ok(WaitCondition::NextExit),
            "removed" => Ok(WaitCondition::Removed),
            _ => Err(Error::new(
                ErrorKind::InvalidArgument,
                format!("unknown condition \"{}\"", text.escape_default()),
            )
            .with_object(text)
            .with_hint("use not-running, next-exit or removed")),
        }
    }
}

/// Which containers are listed, and what is shown of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ListOptions {
    /// All containers, not only those that run.
    pub all: bool,
    /// Conditions of the form `key=value`, as docker has them: `ancestor`, `before`, `exited`, `id`, `label`, `label!`, `name`, `since`, `status`,
    /// `until`. All keys are to be met; of several values for one key one is enough, except for labels. A `status` means all containers.
    pub filters: Vec<String>,
    /// Only that many, the newest, whatever their state.
    pub limit: Option<u64>,
    /// Measure what each wrote.
    pub size: bool,
}

/// Limits to change; None stays as it is. The fields mean what those of [`ContainerSpec`] do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
#[allow(missing_docs)]
pub struct UpdateOptions {
    pub mem_limit: Option<u64>,
    pub mem_reservation: Option<u64>,
    pub memswap_limit: Option<i64>,
    pub nano_cpus: Option<u64>,
    pub cpu_shares: Option<u64>,
    pub cpu_quota: Option<u64>,
    pub cpu_period: Option<u64>,
    pub cpuset_cpus: Option<String>,
    pub cpuset_mems: Option<String>,
    pub pids_limit: Option<u64>,
    pub blkio_weight: Option<u64>,
}

/// The processes of a container as a table.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Top {
    /// The titles of the columns.
    pub titles: Vec<String>,
    /// A row for each process.
    pub processes: Vec<Vec<String>>,
}

/// What a container uses. Sizes are bytes.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Stats {
    /// The container.
    pub id: String,
    /// Its name.
    pub name: String,
    /// When it was measured, RFC 3339.
    pub time: String,
    /// Share of one CPU since the look before, in percent: 200 is two whole CPUs. 0 at the first look.
    pub cpu_percent: f64,
    /// Nanoseconds of CPU time since its start.
    pub cpu_total_ns: u64,
    /// Of these, in user mode.
    pub cpu_user_ns: u64,
    /// Of these, in the kernel.
    pub cpu_system_ns: u64,
    /// Nanoseconds of CPU time of the host, idle time included.
    pub system_cpu_ns: u64,
    /// How many CPUs the host has.
    pub online_cpus: u64,
    /// In how many periods the CPU limit held it up. None: nobody counts.
    pub throttled_periods: Option<u64>,
    /// For how many nanoseconds.
    pub throttled_ns: Option<u64>,
    /// Memory without caches that were not used lately.
    pub memory_usage: u64,
    /// The most it may use: its limit, or the host's memory.
    pub memory_limit: u64,
    /// The share of that, in percent.
    pub memory_percent: f64,
    /// The most memory it used at once, with caches, if the kernel says so.
    pub memory_peak: Option<u64>,
    /// The kernel counts its memory. Otherwise it is the sum over its processes, which counts what they share more than once.
    pub memory_counted: bool,
    /// How many of its programs were killed for want of memory, if the kernel says so.
    pub oom_kills: Option<u64>,
    /// Processes and threads.
    pub pids: u64,
    /// The most of them, if there is a limit.
    pub pids_limit: Option<u64>,
    /// Read from block devices.
    pub block_read: u64,
    /// Written to block devices.
    pub block_write: u64,
    /// The kernel counts what it reads and writes. Otherwise it is what the processes did that live now.
    pub blocks_counted: bool,
    /// Received from the network, if that is its own.
    pub network_rx: u64,
    /// Sent to it.
    pub network_tx: u64,
    /// Percent of the last ten seconds in which some of it waited for a CPU, if the kernel says so.
    pub cpu_pressure: Option<f64>,
    /// The same for memory.
    pub memory_pressure: Option<f64>,
    /// The same for input and output.
    pub io_pressure: Option<f64>,
}

/// What a pruning of containers did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ContainersPruned {
    /// Ids of the containers that are gone.
    pub deleted: Vec<String>,
    /// Bytes of the disk that are given back.
    pub reclaimed: u64,
}

/// Where a standard stream goes.
#[derive(Debug, Default)]
#[non_exhaustive]
pub enum StdioMode {
    /// `/dev/null`.
    #[default]
    Null,
    /// Kept by the monitor, for `logs`. Only for output of a container's own program.
    Log,
    /// A new pipe, whose other end [`Process`](super::Process) has. Only for `popen`.
    Pipe,
    /// The caller's own stream of the same number.
    Inherit,
    /// This descriptor.
    Fd(OwnedFd),
}

/// The three standard streams of a program.
#[derive(Debug, Default)]
pub struct Stdio {
    /// Standard input.
    pub stdin: StdioMode,
    /// Standard output.
    pub stdout: StdioMode,
    /// Standard error.
    pub stderr: StdioMode,
}

impl Stdio {
    /// All streams are `/dev/null`.
    pub fn null() -> Stdio {
        Stdio::default()
    }

    /// Outputs are kept for `logs`; input is `/dev/null`.
    pub fn log() -> Stdio {
        Stdio { stdin: StdioMode::Null, stdout: StdioMode::Log, stderr: StdioMode::Log }
    }

    /// The caller's own streams.
    pub fn inherit() -> Stdio {
        Stdio { stdin: StdioMode::Inherit, stdout: StdioMode::Inherit, stderr: StdioMode::Inherit }
    }

    /// Three pipes.
    pub fn pipes() -> Stdio {
        Stdio { stdin: StdioMode::Pipe, stdout: StdioMode::Pipe, stderr: StdioMode::Pipe }
    }
}

/// How a run or a collected exec treats its program.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct RunOptions {
    /// Bytes for standard input. None: no input (`/dev/null`).
    pub input: Option<Vec<u8>>,
    /// When it is over the program is killed and the call fails with [`ErrorKind::Timeout`](crate::ErrorKind::Timeout).
    pub timeout: Option<Duration>,
    /// Fail with [`ErrorKind::ContainerExit`](crate::ErrorKind::ContainerExit) unless the exit code is 0.
    pub check: bool,
    /// The most bytes that are collected of each stream. None: 1 GiB. More fails with
    /// [`ErrorKind::LimitExceeded`](crate::ErrorKind::LimitExceeded).
    pub capture_limit: Option<u64>,
    /// Standard input as it is, instead of `input`.
    pub stdin: Option<OwnedFd>,
    /// Standard output goes here and is not collected.
    pub stdout: Option<OwnedFd>,
    /// Standard error goes here and is not collected.
    pub stderr: Option<OwnedFd>,
}

/// What a program left.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RunResult {
    /// The program's exit code, or 128 plus the signal that ended it.
    pub exit_code: i32,
    /// Standard output, if it was collected.
    pub stdout: Vec<u8>,
    /// Standard error, if it was collected.
    pub stderr: Vec<u8>,
    /// How long each phase took, in order.
    pub timings: Vec<(String, Duration)>,
    /// The isolation that the program really had. None for exec.
    pub isolation: Option<Isolation>,
    /// What could not be given and was not essential.
    pub warnings: Vec<Warning>,
}

/// Something the container did not get, which was not essential.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Warning {
    /// A stable code, such as `memory-limit-not-applied`.
    pub code: String,
    /// The explanation.
    pub message: String,
}

/// The isolation that a container really got: read back from its process, not copied from what was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Isolation {
    /// The namespaces.
    pub namespaces: Vec<NamespaceInfo>,
    /// Capability sets, as names.
    pub capabilities: CapabilityInfo,
    /// Whether `no_new_privs` is set.
    pub no_new_privileges: bool,
    /// `filter` or `none`.
    pub seccomp: String,
    /// The user.
    pub user: UserInfo,
    /// The lines of `/proc/self/cgroup`.
    pub cgroup: String,
    /// The limits, one by one.
    pub limits: Vec<LimitInfo>,
    /// Masked paths that exist.
    pub masked_paths: Vec<String>,
    /// Read-only paths that exist.
    pub readonly_paths: Vec<String>,
    /// Whether the root is mounted read-only.
    pub root_readonly: bool,
    /// Whether the container runs in a user namespace of the caller.
    pub rootless: bool,
}

/// A namespace of a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NamespaceInfo {
    /// The name as in `/proc/self/ns`.
    pub name: String,
    /// Whether it is the container's own, not the host's.
    pub own: bool,
    /// Its inode.
    pub inode: u64,
}

/// Capability sets, as names with `CAP_`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct CapabilityInfo {
    pub effective: Vec<String>,
    pub permitted: Vec<String>,
    pub inheritable: Vec<String>,
    pub ambient: Vec<String>,
    pub bounding: Vec<String>,
}

/// The user of a container's program.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct UserInfo {
    /// User id inside.
    pub uid: u32,
    /// Group id inside.
    pub gid: u32,
    /// Supplementary groups inside.
    pub groups: Vec<u32>,
    /// `/proc/self/uid_map`.
    pub uid_map: String,
    /// `/proc/self/gid_map`.
    pub gid_map: String,
}

/// A limit that was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LimitInfo {
    /// The name of the option, such as `mem_limit`.
    pub name: String,
    /// What was asked for.
    pub requested: u64,
    /// What the kernel says is in force. None: not applied, and a warning says why.
    pub applied: Option<u64>,
    /// What was asked for, in words: a set such as `0-3` is counted in `requested`, and what is no number is 0 there.
    #[serde(default)]
    pub requested_text: String,
    /// What is in force, in words.
    #[serde(default)]
    pub applied_text: Option<String>,
}

/// One container of the store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ContainerSummary {
    /// 64 hexadecimal digits.
    pub id: String,
    /// The name.
    pub name: String,
    /// The image as the caller named it.
    pub image: String,
    /// The image's id.
    pub image_id: String,
    /// Program and arguments.
    pub command: Vec<String>,
    /// When it was made, RFC 3339.
    pub created: String,
    /// Its state.
    pub state: State,
    /// The exit code of the last run.
    pub exit_code: Option<i32>,
    /// When it was last started, RFC 3339.
    pub started_at: Option<String>,
    /// When it last ended, RFC 3339.
    pub finished_at: Option<String>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Its lifetime.
    pub lifetime: Lifetime,
    /// Bytes of the disk that it wrote, if they were to be measured.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size_rw: Option<u64>,
}

/// Everything about a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ContainerDetails {
    /// The summary.
    #[serde(flatten)]
    pub summary: ContainerSummary,
    /// What was asked for.
    pub spec: ContainerSpec,
    /// The process id of its program on the host, while it runs.
    pub pid: Option<i32>,
    /// Why the last start failed.
    pub error: Option<String>,
    /// The isolation of the current or last run.
    pub isolation: Option<Isolation>,
    /// What the last run did not get.
    pub warnings: Vec<Warning>,
}

/// How an image is made of a container.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct CommitOptions {
    /// Changes of the configuration, each an instruction of a Dockerfile: CMD, ENTRYPOINT, ENV, EXPOSE, HEALTHCHECK, LABEL, ONBUILD, STOPSIGNAL, USER,
    /// VOLUME or WORKDIR.
    pub changes: Vec<String>,
    /// The author.
    pub author: Option<String>,
    /// Comment for the history.
    pub message: Option<String>,
    /// Stop a running container while its files are read. Default: on.
    pub pause: bool,
    /// How the layer is compressed: `gzip`, `zstd` or `none`. None: gzip.
    pub compression: Option<String>,
}

impl Default for CommitOptions {
    fn default() -> CommitOptions {
        CommitOptions { changes: Vec::new(), author: None, message: None, pause: true, compression: None }
    }
}

/// What an export wrote.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Exported {
    /// Bytes of the tar.
    pub bytes: u64,
    /// Entries of the tar.
    pub entries: u64,
    /// What could not be written as it was, such as a socket; at most 64 of them.
    pub warnings: Vec<Warning>,
}

/// Which part of the log to read.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct LogOptions {
    /// Wait for more until the container ends.
    pub follow: bool,
    /// Include standard output.
    pub stdout: bool,
    /// Include standard error.
    pub stderr: bool,
    /// Only the last lines.
    pub tail: Option<u64>,
    /// Only what came at or after this time.
    pub since: Option<SystemTime>,
    /// Only what came before this time.
    pub until: Option<SystemTime>,
}

impl Default for LogOptions {
    fn default() -> LogOptions {
        LogOptions { follow: false, stdout: true, stderr: true, tail: None, since: None, until: None }
    }
}

/// The stream of a log record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum LogSource {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// A piece of output, as it arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogRecord {
    /// When it arrived.
    pub time: SystemTime,
    /// Where it was written.
    pub source: LogSource,
    /// The bytes.
    pub data: Vec<u8>,
}
