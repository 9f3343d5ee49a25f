//! Typed messages between the engine and its shim.
//!
//! The engine starts the shim with one end of a socket pair as descriptor [`CONTROL_FD`], in which a [`Launch`] waits already: it gives the process its
//! role. The shim answers with [`Report`]s. A monitor gets a [`MonitorSpec`] next: while it makes what does not depend on that, the engine prepares the
//! rest. It also listens on a socket named [`CONTROL_SOCKET`] in the container's run directory, where any process of the same user may send [`Request`]s.
//!
//! Errors cross as (step, errno, object) in a [`Failure`], never as text. Both sides are always built together, so the
//! format has no compatibility promise; [`VERSION`] guards the socket of monitors that outlive the library that started them.
//!
//! This crate does no work: it names things and moves frames.

#![forbid(unsafe_code)]

mod condition;
mod conn;
mod files;
mod hooks;
mod journal;
mod landlock;
mod mounts;
mod steps;

pub use condition::{
    CONDITION_FILE, CONDITION_TEMPORARY, Condition, Ended, Health, HealthSpec, HealthStatus, Probe,
    RestartSpec, oom_kills,
};
pub use conn::{Connection, FdIndex, FdList, Fds, FrameReader, Incoming, ProtocolError};
pub use files::{Live, Look, Node, NodeKind, Owner, Place, WRITERS_FILE};
pub use hooks::{COMPLAINTS_FILE, Hook, Hooks, OWED_FILE, OwedHooks, complaints, encode_complaints};
pub use journal::{Happening, JOURNAL, JOURNAL_BYTES, JOURNAL_OLD, JOURNAL_RECORDS, Record};
pub use landlock::Landlock;
pub use mounts::{Mount, MountSource, Propagation};
pub use steps::{Failure, Step};

use serde::{Deserialize, Serialize};

/// The version of the messages. A monitor and an engine of different versions refuse each other.
pub const VERSION: u32 = 9;

/// The descriptor of the control socket in a freshly started shim. 0, 1 and 2 are `/dev/null`; nothing else is open.
pub const CONTROL_FD: i32 = 3;

/// The name of a monitor's socket in the container's run directory.
pub const CONTROL_SOCKET: &str = "ctl";

/// The name of the file in the container's run directory that a monitor writes when the program has ended: an [`ExitRecord`].
pub const EXIT_FILE: &str = "exit";

/// The name that it has while it is being written.
pub const TEMPORARY_FILE: &str = "exit.tmp";

/// What the engine wants the new process to be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Launch {
    /// The parent of a container. A [`MonitorSpec`] follows.
    Monitor(Ground),
    /// A worker on untrusted archives and directories.
    Archive(Box<ArchiveJob>),
    /// The parent of a program of the host. The frame carries its standard input and its standard output.
    Program(Box<HostProgram>),
    /// The parent of hooks that a monitor still owed when it was killed. [`Report::Begun`] is its answer.
    Hooks(Box<OwedHooks>),
}

/// A program of the host that the engine has to ask something, such as a credential helper. It ends with the connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostProgram {
    /// The absolute path.
    pub path: String,
    /// The arguments, without the program's own name.
    pub arguments: Vec<String>,
    /// `NAME=value`.
    pub environment: Vec<String>,
}

/// What a monitor and its container stand on: made before the rest is known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ground {
    /// The user namespace to make, when rootless.
    pub userns: Option<UserNamespace>,
    /// The network.
    pub network: Network,
    /// The container has processes in common with others: then the monitor is in no pid namespace of its own, since that would have to be the one above theirs.
    pub shared_pids: bool,
    /// The container has a user namespace of its own, in which the monitor is not: [`MonitorSpec::maps`] says with which ids.
    pub mapped: bool,
    /// What the engine has made of it, when it could.
    pub made: Option<Made>,
}

impl Ground {
    /// Whether the container is in another user namespace than the engine.
    pub fn has_userns(&self) -> bool {
        self.userns.is_some() || self.mapped
    }
}

/// What an engine with the rights to do so makes before, and beside, its monitor: a pid namespace, of which the monitor is the first process, and the network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Made {
    /// The socket on which the container's network namespace comes, if it is to have one of its own: a [`Namespace`].
    pub network: Option<FdIndex>,
    /// What `/dev` will be, so that the monitor can make it while it waits for the rest.
    pub dev: Dev,
}

/// What the `/dev` of a container has. That of the [`MonitorSpec`] is the one that counts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dev {
    /// As [`MonitorSpec::devices`].
    pub devices: Vec<Device>,
    /// As [`MonitorSpec::shm_size`].
    pub shm_size: u64,
}

/// What the maker of a container's network namespace says to the container's first process, with the namespace and, if it could make that, a read-only `/sys` that shows it. If
/// it does not come, the process makes one itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Namespace {
    /// Whether its loopback interface is up. Otherwise the first process sees to that, and says why it cannot be.
    pub loopback: bool,
}

/// From the engine to a monitor that has said [`Report::Started`]: the container is on record and may outlive this connection. A monitor whose connection
/// closes before ends its container, since nobody could know of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Commit;

/// What a shim sends on its control socket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Report {
    /// The first word of every shim: its [`VERSION`].
    Hello(u32),
    /// The program runs. The frame carries two pidfds: the monitor's and the program's; and both ends of its terminal, if the engine is to have it.
    Started(Box<Started>),
    /// What went wrong at the end of a container of which there is no [`EXIT_FILE`], and [`Report::Exited`] follows.
    Complaints(Vec<Failure>),
    /// The hooks of a [`Launch::Hooks`] are run now, by this process alone, whatever becomes of the engine.
    Begun,
    /// The program ended.
    Exited(Exit),
    /// An archive job is complete.
    Done(Box<ArchiveDone>),
    /// An [`ArchiveWork::Mount`] is complete. The frame carries the mount.
    Mounted,
    /// The work failed; the shim ends and has left nothing.
    Failed(Failure),
}

/// The user namespace of a rootless shim. The shim makes it after its exec (an exec in a namespace without maps would lose
/// the capabilities) and sees to the maps itself, so that the engine starts no other program.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum UserNamespace {
    /// Only the caller's own ids are mapped, to 0; `setgroups` is denied.
    Single {
        /// The caller's user id.
        uid: u32,
        /// The caller's group id.
        gid: u32,
    },
    /// Ranges from `/etc/subuid` and `/etc/subgid`, written by the set-id helpers, which a child that stays outside the new
    /// namespace runs.
    Ranges {
        /// User id ranges.
        uids: Vec<IdRange>,
        /// Group id ranges.
        gids: Vec<IdRange>,
        /// Absolute path of `newuidmap`.
        newuidmap: String,
        /// Absolute path of `newgidmap`.
        newgidmap: String,
    },
    /// That of a container whose other namespaces are joined, and belong to it.
    Joined {
        /// The namespace, in the frame of the launch.
        namespace: FdIndex,
        /// Whether supplementary groups can be given up in it.
        groups: bool,
    },
}

/// The ids of a container's own user namespace. Both maps have user and group 0 of the inside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdMapping {
    /// User ids.
    pub uids: Vec<IdRange>,
    /// Group ids.
    pub gids: Vec<IdRange>,
}

/// A line of an id map.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdRange {
    /// First id inside.
    pub inside: u32,
    /// First id outside.
    pub outside: u32,
    /// How many.
    pub count: u32,
}

/// Everything a monitor needs to start its container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MonitorSpec {
    /// The container's id.
    pub id: String,
    /// The namespaces of the engine: names as in `/proc/self/ns`, and inodes. The container's own are compared with them.
    pub host_namespaces: Vec<(String, u64)>,
    /// The root file system.
    pub rootfs: Rootfs,
    /// The namespaces that are not the container's alone.
    pub spaces: Spaces,
    /// The ids of the container's own user namespace, with [`Ground::mapped`]. The root file system is mounted with them, so that its files have on the disk the ids that the container sees.
    pub maps: Option<IdMapping>,
    /// The host name in the container's uts namespace, if that is its own.
    pub hostname: String,
    /// The domain name there, if there is to be one.
    pub domainname: Option<String>,
    /// The program.
    pub process: ProcessSpec,
    /// Small files that the engine provides, such as `/etc/hosts`: mounted from a tmpfs of the container, never written into its root.
    pub files: Vec<ProvidedFile>,
    /// Lines for a user and a group of the program whom the root file system lacks. None: there are none.
    pub accounts: Option<Accounts>,
    /// Paths that are made invisible: files by an empty file, directories by an empty read-only tmpfs. Missing ones are skipped.
    pub masked_paths: Vec<String>,
    /// Paths that are made read-only. Missing ones are skipped.
    pub readonly_paths: Vec<String>,
    /// Device nodes of `/dev` (beside the pseudo terminals and the standard links).
    pub devices: Vec<Device>,
    /// Size of `/dev/shm` in bytes.
    pub shm_size: u64,
    /// Whether the root file system is read-only.
    pub readonly_root: bool,
    /// Whether process 1 is a small init, of which the program is a child.
    pub init: bool,
    /// `cgroup.procs` files, one for each version 1 hierarchy with a limit, open for writing: every process of the container
    /// joins them before anything else.
    pub cgroup_procs: Vec<FdIndex>,
    /// The directory of the version 2 cgroup that every process of the container is made in.
    pub cgroup_home: Option<FdIndex>,
    /// Where the kernel counts the container's [`oom_kills`], if somebody is to know of each.
    pub oom: Option<OomSpec>,
    /// How cgroups are shown inside at `/sys/fs/cgroup`.
    pub cgroup_view: CgroupView,
    /// The standard streams of the program.
    pub stdio: Stdio,
    /// How long the container may live.
    pub lifetime: Lifetime,
    /// The engine waits for the end and then removes the container: nothing of it is wanted afterwards, so the kernel need not write out its upper directory (such a
    /// root cannot be mounted twice), the monitor writes no [`EXIT_FILE`], and the lock stays with the engine.
    pub once: bool,
    /// The container's run directory (for [`CONTROL_SOCKET`] and [`EXIT_FILE`]).
    pub run_dir: FdIndex,
    /// The container's lock file, with the lock held by this open file description. As long as the monitor has it, the
    /// container counts as alive.
    pub lock: FdIndex,
    /// Parameters of the kernel that belong to the container's own namespaces: paths below `/proc/sys`, and what is written to them.
    pub sysctls: Vec<(String, String)>,
    /// The number of the last record of the container's journal.
    pub journal: u64,
    /// What the caller has mounted, in the order in which it is done.
    pub mounts: Vec<Mount>,
    /// Files with locks that say what the container uses, held by these open file descriptions as long as the monitor lives.
    pub locks: Vec<FdIndex>,
    /// Nothing is held back: `/sys` can be written, and so can cgroups, and device nodes of the root file system mean something.
    pub privileged: bool,
    /// The view of cgroups can be written.
    pub writable_cgroups: bool,
    /// How the program's health is looked at, if it is.
    pub health: Option<Box<HealthSpec>>,
    /// When the program is started again, if it is.
    pub restart: Option<RestartSpec>,
    /// Seconds after which the program is killed, counted from each start of it.
    pub run_timeout: Option<u32>,
    /// The programs that are run beside it, if there are any.
    pub hooks: Option<Box<Hooks>>,
}

/// Where the kernel counts the programs of a container that it kills for want of memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct OomSpec {
    /// `memory.events` of its version 2 cgroup, for whose changes one can wait, or `memory.oom_control` of version 1.
    pub counter: FdIndex,
    /// With version 1, an event descriptor by which the kernel tells that there is no memory, which is before it kills somebody.
    pub event: Option<FdIndex>,
}

/// How the root file system is made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Rootfs {
    /// An overlay mount.
    Overlay {
        /// The directory that the names in `lower` are relative to; becomes the working directory for the mount call.
        layers: FdIndex,
        /// Lower directories, uppermost first, as short names relative to `layers`, without `:` `,` or `\`.
        lower: Vec<String>,
        /// A directory of somebody else's, which is below them.
        directory: Option<FdIndex>,
        /// More names as those of `lower`, below that.
        base: Vec<String>,
        /// The container's directory, which has `upper` and `work`.
        container: FdIndex,
        /// Use `user.overlay.*` attributes (needed in a user namespace).
        userxattr: bool,
    },
}

/// The network of a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Network {
    /// A namespace of its own with nothing but loopback.
    None,
    /// The host's.
    Host,
    /// Another container's: [`Spaces::network`] says which.
    Joined,
}

/// Where a container gets a namespace from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Space {
    /// It is made for it.
    #[default]
    Own,
    /// It is the host's.
    Host,
    /// It is this one, of another container.
    Joined(FdIndex),
}

/// Where `/dev/shm` of a container comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Shm {
    /// It is made for it.
    #[default]
    Own,
    /// There is none.
    None,
    /// It is the host's.
    Host,
    /// It is what another container has there, in this mount namespace.
    Joined(FdIndex),
}

/// The namespaces of a container that it may have in common with others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Spaces {
    /// Processes. One that is not the container's own needs a [`MonitorSpec::cgroup_home`], by which all that is the container's is killed.
    pub pid: Space,
    /// The mount namespace of the container whose processes are joined, which has the procfs that shows them at `/proc`.
    pub proc: Option<FdIndex>,
    /// System V objects and message queues.
    pub ipc: Space,
    /// Host name and domain name.
    pub uts: Space,
    /// Another container's network.
    pub network: Option<FdIndex>,
    /// `/dev/shm`.
    pub shm: Shm,
    /// The container sees cgroups as the host does.
    pub host_cgroups: bool,
    /// Another container's user namespace, with [`Ground::mapped`].
    pub user: Option<FdIndex>,
}

/// How `/sys/fs/cgroup` looks inside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum CgroupView {
    /// A read-only cgroup2 mount: in a cgroup namespace of its own, or the host's.
    V2,
    /// An empty read-only tmpfs: on v1 and hybrid hosts.
    Hidden,
}

/// How long a container may live.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Lifetime {
    /// It outlives its starter, the process of this pidfd, once that has said [`Commit`].
    Detached(FdIndex),
    /// It dies with the process of this pidfd, however that process ends.
    Session(FdIndex),
}

/// A program to run in a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessSpec {
    /// Program and arguments; never empty. A program name without `/` is looked up in the `PATH` of `env`.
    pub argv: Vec<Vec<u8>>,
    /// The whole environment, `NAME=value`. `HOME` is added from the image's passwd file when missing.
    pub env: Vec<Vec<u8>>,
    /// The working directory; made when missing if `create_cwd`.
    pub cwd: Vec<u8>,
    /// Whether a missing working directory is made.
    pub create_cwd: bool,
    /// `name`, `uid`, `name:group`, `uid:gid`, as in the image specification; empty is user 0. Names are looked up in the
    /// container's own `/etc/passwd` and `/etc/group`.
    pub user: String,
    /// More group ids or names.
    pub additional_groups: Vec<String>,
    /// Capabilities as bit masks.
    pub capabilities: Capabilities,
    /// Set `no_new_privs`.
    pub no_new_privileges: bool,
    /// The AppArmor profile that confines the program from its execution on.
    pub apparmor: Option<String>,
    /// A classic BPF program (`struct sock_filter` array, native byte order); empty is none.
    pub seccomp: Vec<u8>,
    /// Rules of Landlock.
    pub landlock: Landlock,
    /// Resource limits: (`RLIMIT_*` number, soft, hard). One that cannot be set is a warning.
    pub rlimits: Vec<(u32, u64, u64)>,
    /// The file mode creation mask.
    pub umask: u32,
    /// `oom_score_adj`, if it is not the one that it is made with. One that cannot be set is a warning.
    pub oom_score_adj: Option<i32>,
    /// The standard streams are a terminal of the container's own, which is the program's controlling terminal.
    pub terminal: Option<Terminal>,
}

/// A terminal to make.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Terminal {
    /// Its size at first.
    pub size: TerminalSize,
    /// Whoever starts the program gets both ends. Otherwise the monitor has them.
    pub given: bool,
}

/// The size of a terminal, in characters. 0 is unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct TerminalSize {
    /// Lines.
    pub rows: u16,
    /// Characters of a line.
    pub columns: u16,
}

/// Capability sets as bit masks, bit n for capability number n.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Capabilities {
    /// Bounding set. Effective and permitted are the same set for user 0, and empty for any other user.
    pub bounding: u64,
    /// Ambient and inheritable set: empty unless asked for.
    pub ambient: u64,
}

/// What lines of `/etc/passwd` and `/etc/group` are made of. Nothing in it has a line break, and no name a colon.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Accounts {
    /// The name of the user; its number if there is none, or somebody else has it.
    pub user: Option<String>,
    /// The same of the group.
    pub group: Option<String>,
    /// The line of `/etc/passwd`, with variables: the user's name, ids, full name and home. None: the usual one.
    pub passwd_entry: Option<String>,
    /// That of `/etc/group`: the group's name, id and members.
    pub group_entry: Option<String>,
}

/// A small file that the engine provides.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProvidedFile {
    /// Absolute path in the container.
    pub path: String,
    /// The content.
    pub content: Vec<u8>,
}

/// A device node in the container's `/dev`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Device {
    /// Name relative to `/dev`.
    pub name: String,
    /// Major number.
    pub major: u32,
    /// Minor number.
    pub minor: u32,
    /// Permission bits.
    pub mode: u32,
    /// It is a block device; otherwise a character device.
    pub block: bool,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
}

/// The standard streams of a container's program.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stdio {
    /// The caller's own descriptors, used as they are.
    Pass {
        /// Standard input; `/dev/null` when None.
        stdin: Option<FdIndex>,
        /// Standard output; `/dev/null` when None.
        stdout: Option<FdIndex>,
        /// Standard error; `/dev/null` when None.
        stderr: Option<FdIndex>,
    },
    /// The monitor reads both streams and keeps them.
    Log {
        /// Where. None: nowhere.
        log: Option<LogSink>,
        /// Standard input.
        stdin: Input,
        /// Pipes that do not wait, which get standard output and error, too. The program is held up by whoever reads them, and hears when nobody does any more.
        readers: [Option<FdIndex>; 2],
    },
    /// The terminal that [`ProcessSpec::terminal`] asks for.
    Terminal {
        /// Where the monitor keeps what the program writes, as with [`Stdio::Log`], if it has the master. None: nowhere.
        log: Option<LogSink>,
        /// Whether [`Request::Attach`] may bring input.
        open: bool,
    },
}

/// Where the monitor keeps what a program writes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogSink {
    /// The log file, open for appending.
    pub file: FdIndex,
    /// As what.
    pub form: LogForm,
    /// A JSON object that each record of [`LogForm::Json`] has as its `attrs`.
    pub attributes: Option<String>,
    /// What is done when it is full.
    pub rotation: Option<Rotation>,
    /// The journal of the host, which gets it too.
    pub journald: Option<Journald>,
}

/// The form of a log file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum LogForm {
    /// [`LogFrame`] headers, each with its data.
    Frames,
    /// A line of JSON for each line or part of one: `log`, with the end of the line, `stream` and `time`, as docker's driver `json-file` has it.
    Json,
}

/// When a log file is full it becomes `name.1`, what that was becomes `name.2`, and so on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rotation {
    /// The directory that the file is in.
    pub directory: FdIndex,
    /// The name of the file.
    pub name: String,
    /// When it is full, bytes.
    pub max_size: u64,
    /// How many files there are at most. 1: what was written is lost then.
    pub max_files: u32,
}

/// The journal of the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Journald {
    /// A socket that is connected to it.
    pub socket: FdIndex,
    /// Fields of every entry. Names as the journal wants them.
    pub fields: Vec<(String, String)>,
}

/// The standard input of a container's program whose output the monitor reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Input {
    /// `/dev/null`.
    Null,
    /// The caller's own descriptor.
    Pass(FdIndex),
    /// A pipe that the monitor keeps open, and fills with what comes by [`Request::Attach`].
    Open {
        /// The end of the first input that comes is the end of it all.
        once: bool,
    },
}

/// The header of a record in a container's log: 16 bytes, little endian.
///
/// Layout: `u64` nanoseconds since the epoch, `u32` length of the data that follows, `u8` stream (1 or 2), three zero bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogFrame {
    /// Arrival, nanoseconds since the epoch.
    pub time: u64,
    /// Bytes of data after the header.
    pub length: u32,
    /// 1 is standard output, 2 is standard error.
    pub stream: u8,
}

impl LogFrame {
    /// Bytes of an encoded header.
    pub const SIZE: usize = 16;
    /// The most data a record carries.
    pub const MAX_DATA: usize = 64 * 1024;

    /// The header as bytes.
    pub fn encode(&self) -> [u8; Self::SIZE] {
        let mut out = [0; Self::SIZE];
        out[..8].copy_from_slice(&self.time.to_le_bytes());
        out[8..12].copy_from_slice(&self.length.to_le_bytes());
        out[12] = self.stream;
        out
    }

    /// Reads a header; None if it is not one.
    pub fn decode(bytes: &[u8; Self::SIZE]) -> Option<LogFrame> {
        let time = u64::from_le_bytes(bytes[..8].try_into().ok()?);
        let length = u32::from_le_bytes(bytes[8..12].try_into().ok()?);
        let stream = bytes[12];
        let valid = matches!(stream, 1 | 2) && bytes[13..] == [0; 3] && length as usize <= Self::MAX_DATA;
        valid.then_some(LogFrame { time, length, stream })
    }
}

/// The program runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Started {
    /// When the program was started, nanoseconds since the epoch: when its process was ready to execute it.
    pub started_at: u64,
    /// What the program's process really got, read back in that process right before it became the program.
    pub isolation: Isolation,
    /// When the steps were over, nanoseconds of `CLOCK_MONOTONIC`.
    pub timings: Vec<(Step, u64)>,
    /// What could not be given and was not essential.
    pub warnings: Vec<Failure>,
}

/// Isolation as read back from the process itself.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Isolation {
    /// Namespaces: (name as in `/proc/self/ns`, inode of the container's, inode of the host's as the monitor's starter sees it).
    pub namespaces: Vec<(String, u64, u64)>,
    /// Effective capabilities.
    pub effective: u64,
    /// Permitted capabilities.
    pub permitted: u64,
    /// Inheritable capabilities.
    pub inheritable: u64,
    /// Ambient capabilities.
    pub ambient: u64,
    /// Bounding set.
    pub bounding: u64,
    /// `no_new_privs`.
    pub no_new_privileges: bool,
    /// Seccomp mode: 0 none, 2 filter.
    pub seccomp: u8,
    /// The rules of Landlock that the process has put in force. The kernel does not show them.
    pub landlock: Vec<String>,
    /// The bits that new files do not get.
    pub umask: u32,
    /// What the kernel says of the AppArmor profile that was asked for.
    pub apparmor: Option<String>,
    /// The parameters of the kernel that were set, each as it was set and as it is; None if it cannot be read.
    pub sysctls: Vec<(String, String, Option<String>)>,
    /// User id, as seen inside.
    pub uid: u32,
    /// Group id, as seen inside.
    pub gid: u32,
    /// Supplementary groups, as seen inside.
    pub groups: Vec<u32>,
    /// `/proc/self/uid_map`, read before the container's namespaces were made.
    pub uid_map: String,
    /// `/proc/self/gid_map`, likewise.
    pub gid_map: String,
    /// `/proc/self/cgroup` before the cgroup namespace was made.
    pub cgroup: String,
    /// The kernel's line of the root mount in `/proc/self/mountinfo`.
    pub root_mount: String,
    /// Masked paths that were there and were masked.
    pub masked_paths: Vec<String>,
    /// Read-only paths that were there and were made read-only.
    pub readonly_paths: Vec<String>,
    /// The resource limits that were asked for.
    pub rlimits: Vec<Rlimit>,
    /// `oom_score_adj` as it was asked for and as it is, if it was.
    pub oom_score_adj: Option<(i32, i32)>,
    /// The kernel's line in `/proc/self/mountinfo` of each of [`MonitorSpec::mounts`].
    pub mounts: Vec<String>,
}

/// A resource limit of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rlimit {
    /// The `RLIMIT_*` number.
    pub number: u32,
    /// Soft and hard limit as they were asked for.
    pub asked: (u64, u64),
    /// As they are.
    pub found: (u64, u64),
}

/// How a program ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// The status as docker reports it: the program's own, or 128 plus the signal.
    pub code: i32,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// When, nanoseconds since the epoch.
    pub finished_at: u64,
    /// Whether a core was dumped.
    pub core_dumped: bool,
    /// Whether it was killed because [`MonitorSpec::run_timeout`] was over.
    pub timed_out: bool,
}

/// The content of [`EXIT_FILE`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExitRecord {
    /// The container's id.
    pub id: String,
    /// How the program ended.
    pub exit: Exit,
    /// What went wrong meanwhile.
    pub warnings: Vec<Failure>,
}

impl ExitRecord {
    /// The bytes of the file: [`VERSION`] of the monitor as a little-endian `u32`, then the record.
    pub fn encode(&self) -> Result<Vec<u8>, ProtocolError> {
        let mut out = VERSION.to_le_bytes().to_vec();
        out.extend(postcard::to_stdvec(self).map_err(|_| ProtocolError::Malformed)?);
        Ok(out)
    }

    /// Reads the file's bytes. A record of another version is [`ProtocolError::Malformed`].
    pub fn decode(bytes: &[u8]) -> Result<ExitRecord, ProtocolError> {
        let (version, body) = bytes.split_first_chunk::<4>().ok_or(ProtocolError::Truncated)?;
        if u32::from_le_bytes(*version) != VERSION {
            return Err(ProtocolError::Malformed);
        }
        postcard::from_bytes(body).map_err(|_| ProtocolError::Malformed)
    }
}

/// What any process of the container's owner may ask a monitor on its socket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Request {
    /// Sends a signal to the container's first process.
    Signal(i32),
    /// As [`Request::Signal`], and the program is not started again after its end.
    Stop(i32),
    /// Answered with [`Response::Exited`] when the container ends, or with [`Response::Restarts`].
    Wait,
    /// Runs another program in the container. The frame carries three descriptors: standard input, output and error. With a terminal it carries none.
    Exec(Box<ProcessSpec>),
    /// Answered with [`Response::Ok`] and a pidfd of the container's first process.
    Init,
    /// The same, for a container that will be among the processes of this one: whatever enters there from now on is on its guard against them.
    Share,
    /// Makes every program that is started from now on join more version 1 cgroups: the frame carries as many `cgroup.procs` files, open for writing.
    Cgroups(u8),
    /// The container has a limit of memory now. The frame carries the file in which the kernel counts its [`oom_kills`], and with true an event of version 1, as in an [`OomSpec`].
    Oom(bool),
    /// Answered with [`Response::Programs`].
    Programs,
    /// When the program is started again from now on; None: it is not.
    Policy(Option<RestartSpec>),
    /// Connects to the container's program. Answered with [`Response::Attached`], and with [`Response::Exited`] when the container ends.
    Attach {
        /// The frame carries the end of a pipe to read input from, until its end.
        input: bool,
        /// The output is wanted, and so has to be in the log.
        output: bool,
    },
    /// Sets the size of the terminal of the container's program.
    Resize(TerminalSize),
    /// Whoever started the program of an [`Request::Exec`] with this number leaves it to itself. The frame carries the master of its terminal, if it has one: from now
    /// on what is written to that is taken and thrown away.
    Leave(u32),
}

/// A monitor's answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Response {
    /// Done.
    Ok,
    /// The program of an [`Request::Exec`] runs. The frame carries its pidfd, and both ends of its terminal if the client is to have it. [`Response::Exited`] follows on the
    /// same connection when it ends.
    Running {
        /// What could not be given and was not essential.
        warnings: Vec<Failure>,
        /// The number of the last record of the journal.
        journal: u64,
        /// The program's number among those of this monitor.
        number: u32,
    },
    /// The answer to [`Request::Attach`].
    Attached {
        /// The number of the inode of the log's file.
        inode: u64,
        /// Its length, up to the last whole record.
        length: u64,
    },
    /// The program ended.
    Exited(Exit),
    /// The container's program ended, and will be started again.
    Restarts(Exit),
    /// The request failed.
    Failed(Failure),
    /// The numbers of the programs of [`Request::Exec`] that run.
    Programs(Vec<u32>),
}

/// A job of the archive role. All paths are below the directory given by descriptor, which becomes the worker's root.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArchiveJob {
    /// The user namespace to make, when rootless.
    pub userns: Option<UserNamespace>,
    /// The work.
    pub work: ArchiveWork,
}

/// The work of the archive role.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ArchiveWork {
    /// Applies one layer to an empty directory, as an overlay lower directory.
    Apply {
        /// The directory that gets the layer.
        target: FdIndex,
        /// The archive, read to its end: plain, gzip, zstd, bzip2 or xz, told by its first bytes.
        input: FdIndex,
        /// The layers below, for the attributes of directories that the archive leaves out, and for hard links into them.
        below: Below,
        /// The layers below are being applied at the same time: one byte can be read from this when they are complete. None: they are.
        ready: Option<FdIndex>,
        /// Write `user.overlay.*` attributes instead of `trusted.overlay.*`.
        userxattr: bool,
        /// Bounds on what the archive may do.
        limits: Limits,
    },
    /// Removes entries of a directory, whole trees, whatever their modes and owners.
    Remove {
        /// The directory.
        parent: FdIndex,
        /// Names in it, each a single component. A missing one is not an error.
        names: Vec<String>,
    },
    /// Writes a tree as a tar.
    Pack {
        /// The tree.
        tree: Tree,
        /// What it is written as.
        form: PackForm,
        /// Where the tar goes: a file or a pipe. None: only its digest is wanted.
        output: Option<FdIndex>,
        /// A file that is told how many bytes went there, in its first eight, which are in the machine's order.
        counter: Option<FdIndex>,
        /// What stops the processes that may change the tree while it is read.
        freezer: Option<Freezer>,
        /// The overlay's attributes are `user.overlay.*`.
        userxattr: bool,
        /// The most bytes of the tar.
        max_bytes: u64,
    },
    /// Lists what an overlay's upper directory changes, as records of a letter (`A`, `C`, `D`), a path and a NUL.
    Changes {
        /// The upper directory.
        upper: FdIndex,
        /// The layers below.
        below: Below,
        /// The overlay's attributes are `user.overlay.*`.
        userxattr: bool,
        /// The file that gets the records.
        output: FdIndex,
    },
    /// Lists what is different in one tree against another, as records as of [`ArchiveWork::Changes`].
    Compare {
        /// The tree that was before.
        old: Tree,
        /// The tree that is compared with it.
        new: Tree,
        /// The file that gets the records.
        output: FdIndex,
    },
    /// Lists what trees take of the disk, as records of a decimal number of bytes, a space, a path and a NUL.
    Usage {
        /// The directory.
        tree: FdIndex,
        /// Down to which depth entries have records of their own. A directory at this depth counts with everything below it.
        depth: u32,
        /// The file that gets the records.
        output: FdIndex,
    },
    /// Mounts a tree read-only, where nobody but the holder of the descriptor that comes back can see it. Answered with [`Report::Mounted`].
    Mount {
        /// The tree.
        tree: Tree,
    },
    /// Reads one path of a tree.
    Path {
        /// The tree.
        tree: Tree,
        /// The path, absolute or not, without `..`. Links in it are followed inside the tree.
        path: Vec<u8>,
        /// Follow a link that is the last component, too.
        follow: bool,
        /// Anything but a directory fails with `ENOTDIR`.
        directory: bool,
        /// What is written.
        form: PathForm,
        /// The file or pipe that gets it.
        output: FdIndex,
    },
    /// Looks at one path of a tree. The file gets [`Node`]s.
    Look {
        /// The tree.
        tree: Tree,
        /// The path, as of [`ArchiveWork::Path`].
        path: Vec<u8>,
        /// Follow a link that is the last component, too.
        follow: bool,
        /// What is looked at.
        what: Look,
        /// The file that gets the records.
        output: FdIndex,
    },
    /// Unpacks an archive in a tree that is in use.
    Put {
        /// The tree.
        place: Place,
        /// The directory of it that gets the archive, as of [`ArchiveWork::Path`]. Links in it are followed inside the tree.
        path: Vec<u8>,
        /// The archive, read to its end: plain, gzip, zstd, bzip2 or xz, told by its first bytes.
        input: FdIndex,
        /// Whom everything belongs to.
        owner: Owner,
        /// Held open as long as the worker lives.
        lock: Option<FdIndex>,
    },
}

/// Layers that are looked into one by one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Below {
    /// The directory that the names are relative to.
    pub layers: FdIndex,
    /// The layers, uppermost first, as in [`Rootfs::Overlay`].
    pub lower: Vec<String>,
    /// A directory below them, as in [`Rootfs::Overlay`].
    pub directory: Option<FdIndex>,
    /// One more name as those of `lower`: the lowest of all.
    pub base: Option<String>,
}

/// What is written of a path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum PathForm {
    /// A tar of it and of everything below.
    Tar {
        /// What it is called in the tar. Empty: a directory has no entry of its own.
        name: Vec<u8>,
        /// The most bytes of the tar.
        max_bytes: u64,
    },
    /// The content of a regular file. A longer one fails with `EFBIG`.
    Content {
        /// The most bytes.
        max_bytes: u64,
    },
}

/// A tree that is read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Tree {
    /// A directory.
    Directory(FdIndex),
    /// What the overlay file system shows of directories, read-only.
    Merged {
        /// The directory that the names in `lower` are relative to.
        layers: FdIndex,
        /// The layers, uppermost first, as in [`Rootfs::Overlay`].
        lower: Vec<String>,
        /// A directory below them, as in [`Rootfs::Overlay`].
        directory: Option<FdIndex>,
        /// A container's directory, whose `upper` is on top.
        container: Option<FdIndex>,
        /// Use `user.overlay.*` attributes.
        userxattr: bool,
    },
    /// The root of a running container, with what is mounted in it.
    Live(Live),
}

/// What a tree is written as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum PackForm {
    /// A layer of the upper directory of an overlay.
    Layer,
    /// A root file system.
    Tree,
    /// Everything, with the overlay's own attributes: for the digest.
    Exact,
}

/// The freezer of a version 2 cgroup.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Freezer {
    /// `cgroup.freeze`, open for writing.
    pub freeze: FdIndex,
    /// `cgroup.events`, open for reading.
    pub events: FdIndex,
}

/// Bounds on an archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Bytes of the uncompressed stream.
    pub max_bytes: u64,
    /// Entries.
    pub max_entries: u64,
    /// Uncompressed bytes for each compressed byte, beyond the first 64 MiB.
    pub max_ratio: u32,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { max_bytes: 1 << 40, max_entries: 20_000_000, max_ratio: 1000 }
    }
}

/// What an archive job did.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ArchiveDone {
    /// SHA-256 of the uncompressed stream, to its end: the diff id. Of a tar that was written likewise.
    pub diff_sha256: [u8; 32],
    /// Bytes of the uncompressed stream.
    pub uncompressed_bytes: u64,
    /// Bytes of the regular files written or read.
    pub content_bytes: u64,
    /// Entries applied or written.
    pub entries: u64,
    /// What could not be given and was not essential (device nodes and owners when rootless), at most 64 of them.
    pub warnings: Vec<Failure>,
    /// How many warnings there were.
    pub warning_count: u64,
}
