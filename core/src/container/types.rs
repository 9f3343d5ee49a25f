//! What container operations take and return.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use super::Health;
use super::RestartPolicy;
use super::spec::{ContainerSpec, Lifetime};
use crate::error::{Error, ErrorKind, Result};
use crate::process::Order;

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
    /// Its program ended, and will be started again.
    Restarting,
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
            State::Restarting => "restarting",
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
    /// Its program is healthy, by its health checks. The exit code is 0. One that has none, or ends before, is an error.
    Healthy,
}

impl WaitCondition {
    /// `not-running`, `next-exit`, `removed` or `healthy`.
    pub fn parse(text: &str) -> Result<WaitCondition> {
        match text {
            "not-running" => Ok(WaitCondition::NotRunning),
            "next-exit" => Ok(WaitCondition::NextExit),
            "removed" => Ok(WaitCondition::Removed),
            "healthy" => Ok(WaitCondition::Healthy),
            _ => Err(Error::new(
                ErrorKind::InvalidArgument,
                format!("unknown condition \"{}\"", text.escape_default()),
            )
            .with_object(text)
            .with_hint("use not-running, next-exit, removed or healthy")),
        }
    }
}

/// Which containers are listed, and what is shown of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ListOptions {
    /// All containers, not only those that run.
    pub all: bool,
    /// Conditions of the form `key=value`, as docker has them: `ancestor`, `before`, `exited`, `expose`, `health`, `id`, `label`, `label!`, `name`, `network`, `publish` (which no container meets), `since`, `status`,
    /// `until`, `volume` (the target of a mount, or the source of a bind). All keys are to be met; of several values for one key one is enough, except for labels. A `status` means all containers.
    pub filters: Vec<String>,
    /// Only that many, the newest, whatever their state.
    pub limit: Option<u64>,
    /// Measure what each wrote.
    pub size: bool,
}

/// What to change of a container; None stays as it is, and so does 0 (but of `pids_limit`), as docker has it. The fields mean what those of [`ContainerSpec`] do. A `cpu_quota` of [`u64::MAX`], docker's -1, takes any limit
/// of CPU time away. A block device that is not named, or a file of `unified`, stays as it is; a rate or weight of 0 takes that of its device away.
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
    pub blkio_weight_device: Vec<(String, u64)>,
    pub device_read_bps: Vec<(String, u64)>,
    pub device_write_bps: Vec<(String, u64)>,
    pub device_read_iops: Vec<(String, u64)>,
    pub device_write_iops: Vec<(String, u64)>,
    pub unified: BTreeMap<String, String>,
    pub restart_policy: Option<RestartPolicy>,
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
    /// How often what happened for want of memory, if the kernel says so: `low`, `high`, `max` (its limit was met), `oom`, `oom_kill` and so on, as in `memory.events` of cgroup version 2. Version 1 counts
    /// `max` and `oom_kill`.
    pub memory_events: Option<BTreeMap<String, u64>>,
    /// How often the limit on processes kept it from making one, if the kernel says so.
    pub pids_events: Option<u64>,
    /// How much of it waited for a CPU, if the kernel says so, which takes cgroup version 2 (or a hybrid host) with pressure stall information.
    pub cpu_pressure: Option<Pressure>,
    /// The same for memory.
    pub memory_pressure: Option<Pressure>,
    /// The same for input and output.
    pub io_pressure: Option<Pressure>,
}

/// How much of a container was held up by want of something: the kernel's pressure stall information.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Pressure {
    /// While at least one of its processes was.
    pub some: PressureShare,
    /// While all that had something to do were. None: the kernel does not say.
    pub full: Option<PressureShare>,
}

/// Shares of time in which processes waited.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct PressureShare {
    /// Percent of the last ten seconds.
    pub avg10: f64,
    /// Percent of the last minute.
    pub avg60: f64,
    /// Percent of the last five minutes.
    pub avg300: f64,
    /// Microseconds in all.
    pub total_us: u64,
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

/// Which streams of a container's program to connect to, and how.
#[derive(Debug)]
#[non_exhaustive]
pub struct AttachOptions {
    /// Standard input.
    pub stdin: bool,
    /// Standard output; all output of a terminal.
    pub stdout: bool,
    /// Standard error.
    pub stderr: bool,
    /// First what it has written already.
    pub logs: bool,
    /// Of a start: the program keeps pace with whoever reads its output, which comes from it and not from the log, though that gets it, too. It is held up by who reads slowly, and hears when
    /// nobody reads any more, as of any pipe. Not for a terminal, and not with `logs`.
    pub paced: bool,
    /// Of a start: what the program reads, itself, with nobody between. Not for a terminal, and not with `stdin`.
    pub input: Option<OwnedFd>,
}

impl Default for AttachOptions {
    /// Both outputs, from now on.
    fn default() -> AttachOptions {
        AttachOptions { stdin: false, stdout: true, stderr: true, logs: false, paced: false, input: None }
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
    pub(crate) order: Order,
}

impl RunResult {
    /// Both streams in the order in which they were read, piece by piece. That is the order in which the program wrote, but for what it had written to both of them before either was read: of that,
    /// standard output comes first. A piece is neither a line nor a write. After a million changes from one stream to the other, the rest of each is one piece.
    pub fn records(&self) -> impl Iterator<Item = (LogSource, &[u8])> {
        self.order.pieces([self.stdout.len(), self.stderr.len()]).map(|(stderr, range)| {
            let (source, data) = match stderr {
                true => (LogSource::Stderr, &self.stderr),
                false => (LogSource::Stdout, &self.stdout),
            };
            (source, data.get(range).unwrap_or_default())
        })
    }
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
    /// Which profile the filter is from: `default`, `unconfined`, or of the caller's own the digest of its text, such as `sha256:...`. Empty in records of earlier versions.
    #[serde(default)]
    pub seccomp_profile: String,
    /// The AppArmor profile that was asked for, as the kernel says it, such as `web (enforce)`. None: none was asked for, or the kernel does not say.
    #[serde(default)]
    pub apparmor: Option<String>,
    /// The bits that new files of the program do not get.
    #[serde(default)]
    pub umask: u32,
    /// The device rules in force, as of `device_cgroup_rules`: what none of them allows is refused. Empty if there are none, as for a rootless or privileged container.
    #[serde(default)]
    pub device_rules: Vec<String>,
    /// The rules of Landlock in force, in the words of `security_opt`. They are as the process has put them in force; the kernel has no way to read them back.
    #[serde(default)]
    pub landlock: Vec<String>,
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
    /// What the caller had mounted, as it is mounted.
    #[serde(default)]
    pub mounts: Vec<MountInfo>,
    /// Whether the container runs in a user namespace of the caller.
    pub rootless: bool,
}

/// A namespace of a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NamespaceInfo {
    /// The name as in `/proc/self/ns`.
    pub name: String,
    /// Whether it is the container's own, not the host's or another container's.
    pub own: bool,
    /// Its inode.
    pub inode: u64,
    /// The id of the container that it was joined from, if it was. A user namespace is joined with those that belong to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<String>,
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
    /// `/proc/self/uid_map`. In a user namespace of its own the ids outside are those of the engine's, whose own are the host's unless it is rootless.
    pub uid_map: String,
    /// `/proc/self/gid_map`, likewise.
    pub gid_map: String,
}

/// Something that the caller had mounted, as the kernel says it is mounted.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct MountInfo {
    /// The place in the container, with links resolved.
    pub target: String,
    /// The type of the file system.
    pub file_system: String,
    /// Whether nothing can be written.
    pub read_only: bool,
    /// The flags of the mount, such as `ro` and `nosuid`.
    pub options: Vec<String>,
    /// `private`, `slave` or `shared`.
    pub propagation: String,
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
    /// `starting`, `healthy` or `unhealthy`, while it runs and its health is looked at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub health: Option<String>,
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
    /// How often the program was started again since the last start.
    pub restart_count: u32,
    /// Whether the kernel killed a program of the current or last run for want of memory, its first one or another.
    pub oom_killed: bool,
    /// The health of the program, if that is looked at.
    pub health: Option<Health>,
    /// The isolation of the current or last run.
    pub isolation: Option<Isolation>,
    /// What the last run did not get.
    pub warnings: Vec<Warning>,
    /// How long each phase of the last start took, in order. In JSON an object of seconds.
    #[serde(serialize_with = "seconds")]
    pub timings: Vec<(String, Duration)>,
}

fn seconds<S: serde::Serializer>(
    timings: &[(String, Duration)],
    serializer: S,
) -> std::result::Result<S::Ok, S::Error> {
    serializer.collect_map(timings.iter().map(|(name, length)| (name, length.as_secs_f64())))
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

/// How a snapshot of a container is made.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SnapshotOptions {
    /// The name of the new container, as of [`ContainerSpec::name`]. None: made up.
    pub name: Option<String>,
    /// Stop a running container while its files are copied: set.
    pub pause: bool,
}

impl Default for SnapshotOptions {
    fn default() -> SnapshotOptions {
        SnapshotOptions { name: None, pause: true }
    }
}

/// How files are copied between the host and a container.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct FileCopyOptions {
    /// Follow a link that is the last component of the source.
    pub follow_link: bool,
    /// Keep the numbers of owners and groups. Otherwise everything belongs to the container's user 0, or to the caller; on the host, set-id bits are kept only with the owner.
    pub archive: bool,
}

/// How a file of a container is written.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct WriteOptions {
    /// Permission bits with set-id and sticky: 0644 unless set.
    pub mode: u32,
    /// Whom it belongs to: `name`, `uid`, `name:group` or `uid:gid`, looked up in the container. None: user 0.
    pub user: Option<String>,
}

impl Default for WriteOptions {
    fn default() -> WriteOptions {
        WriteOptions { mode: 0o644, user: None }
    }
}

/// What a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum FileKind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink,
    /// A named pipe.
    Fifo,
    /// A socket.
    Socket,
    /// A character device.
    CharacterDevice,
    /// A block device.
    BlockDevice,
}

impl FileKind {
    /// `file`, `directory`, `symlink`, `fifo`, `socket`, `character-device` or `block-device`.
    pub const fn name(self) -> &'static str {
        match self {
            FileKind::File => "file",
            FileKind::Directory => "directory",
            FileKind::Symlink => "symlink",
            FileKind::Fifo => "fifo",
            FileKind::Socket => "socket",
            FileKind::CharacterDevice => "character-device",
            FileKind::BlockDevice => "block-device",
        }
    }
}

/// An entry of a directory of a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct FileEntry {
    /// Its name in the directory. Bytes that are not UTF-8 are replaced.
    pub name: String,
    /// What it is.
    pub kind: FileKind,
    /// Bytes of its content; of a link, of its target's name.
    pub size: u64,
    /// Permission bits with set-id and sticky.
    pub mode: u32,
    /// Owner, as the container sees it.
    pub uid: u32,
    /// Group, as the container sees it.
    pub gid: u32,
    /// When its content changed last, RFC 3339.
    pub modified: String,
    /// Where a link leads.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub link_target: Option<String>,
}

impl FileEntry {
    pub(crate) fn of(node: coble_protocol::Node) -> FileEntry {
        use coble_protocol::NodeKind;
        let kind = match node.kind {
            NodeKind::File => FileKind::File,
            NodeKind::Directory => FileKind::Directory,
            NodeKind::Symlink => FileKind::Symlink,
            NodeKind::Fifo => FileKind::Fifo,
            NodeKind::Socket => FileKind::Socket,
            NodeKind::CharacterDevice => FileKind::CharacterDevice,
            NodeKind::BlockDevice => FileKind::BlockDevice,
        };
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        FileEntry {
            name: text(&node.name),
            kind,
            size: node.size,
            mode: node.mode,
            uid: node.uid,
            gid: node.gid,
            modified: crate::state::rfc3339(moment(node.mtime, node.mtime_nanos)),
            link_target: (kind == FileKind::Symlink).then(|| text(&node.link)),
        }
    }
}

/// A time that a container chose; one that no clock can have is the epoch.
fn moment(seconds: i64, nanos: u32) -> SystemTime {
    let whole = Duration::new(seconds.unsigned_abs(), 0);
    let epoch = SystemTime::UNIX_EPOCH;
    let moment = if seconds < 0 { epoch.checked_sub(whole) } else { epoch.checked_add(whole) };
    moment.and_then(|moment| moment.checked_add(Duration::from_nanos(nanos.into()))).unwrap_or(epoch)
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
