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

mod conn;
mod steps;

pub use conn::{Connection, FdIndex, FdList, Fds, FrameReader, Incoming, ProtocolError};
pub use steps::{Failure, Step};

use serde::{Deserialize, Serialize};

/// The version of the messages. A monitor and an engine of different versions refuse each other.
pub const VERSION: u32 = 3;

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
    /// What the engine has made of it, when it could.
    pub made: Option<Made>,
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

/// What the maker of a container's network namespace says to the container's first process, with the namespace. If it does not come, the process makes one itself.
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
    /// The program runs. The frame carries two pidfds: the monitor's and the program's.
    Started(Box<Started>),
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
    /// The host name in the container's uts namespace.
    pub hostname: String,
    /// The program.
    pub process: ProcessSpec,
    /// Small files that the engine provides, such as `/etc/hosts`: mounted from a tmpfs of the container, never written into its root.
    pub files: Vec<ProvidedFile>,
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
    /// `cgroup.procs` files, one for each version 1 hierarchy with a limit, open for writing: every process of the container
    /// joins them before anything else.
    pub cgroup_procs: Vec<FdIndex>,
    /// The directory of the version 2 cgroup that every process of the container is made in.
    pub cgroup_home: Option<FdIndex>,
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
}

/// How `/sys/fs/cgroup` looks inside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum CgroupView {
    /// A read-only cgroup2 mount, in a cgroup namespace.
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
    /// A classic BPF program (`struct sock_filter` array, native byte order); empty is none.
    pub seccomp: Vec<u8>,
    /// Resource limits: (`RLIMIT_*` number, soft, hard). One that cannot be set is a warning.
    pub rlimits: Vec<(u32, u64, u64)>,
    /// The file mode creation mask.
    pub umask: u32,
    /// `oom_score_adj`, if it is not the one that it is made with. One that cannot be set is a warning.
    pub oom_score_adj: Option<i32>,
}

/// Capability sets as bit masks, bit n for capability number n.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Capabilities {
    /// Bounding set. Effective and permitted are the same set for user 0, and empty for any other user.
    pub bounding: u64,
    /// Ambient and inheritable set: empty unless asked for.
    pub ambient: u64,
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
    /// Major number (all default devices are character devices).
    pub major: u32,
    /// Minor number.
    pub minor: u32,
    /// Permission bits.
    pub mode: u32,
}

/// The standard streams of a container's program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
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
    /// The monitor reads both streams and appends them to the log file of this descriptor, as [`LogFrame`] headers with data.
    Log {
        /// The log file, open for appending.
        file: FdIndex,
        /// Standard input; `/dev/null` when None.
        stdin: Option<FdIndex>,
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
    /// Answered with [`Response::Exited`] when the container ends.
    Wait,
    /// Runs another program in the container. The frame carries three descriptors: standard input, output and error.
    Exec(Box<ProcessSpec>),
    /// Makes every program that is started from now on join more version 1 cgroups: the frame carries as many `cgroup.procs` files, open for writing.
    Cgroups(u8),
}

/// A monitor's answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Response {
    /// Done.
    Ok,
    /// The program of an [`Request::Exec`] runs. The frame carries its pidfd. [`Response::Exited`] follows on the same connection when it ends.
    Running {
        /// What could not be given and was not essential.
        warnings: Vec<Failure>,
    },
    /// The program ended.
    Exited(Exit),
    /// The request failed.
    Failed(Failure),
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
        /// The layers below, uppermost first, for the attributes of directories that the archive leaves out, and for hard links into them.
        lower: Vec<FdIndex>,
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
        /// The layers below, uppermost first.
        lower: Vec<FdIndex>,
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
        /// What is written.
        form: PathForm,
        /// The file or pipe that gets it.
        output: FdIndex,
    },
}

/// What is written of a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum PathForm {
    /// A tar of it and of everything below, named by its last component.
    Tar {
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
        /// A container's directory, whose `upper` is on top.
        container: Option<FdIndex>,
        /// Use `user.overlay.*` attributes.
        userxattr: bool,
    },
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
