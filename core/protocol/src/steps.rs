//! Errors of the shim: which step, which errno, on what.

use serde::{Deserialize, Serialize};

macro_rules! steps {
    ($($(#[$doc:meta])* $name:ident = $text:literal;)*) => {
        /// What the shim was doing. [`Step::text`] says it in words.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
        pub enum Step {
            $($(#[$doc])* $name,)*
        }

        impl Step {
            /// Every step.
            pub const ALL: &'static [Step] = &[$(Step::$name,)*];

            /// The step in words, as the middle of a message: `cannot ... "object"`.
            pub const fn text(self) -> &'static str {
                match self { $(Step::$name => $text,)* }
            }

            /// The name of the variant.
            pub const fn name(self) -> &'static str {
                match self { $(Step::$name => stringify!($name),)* }
            }
        }
    };
}

steps! {
    /// The launch in the engine's process, up to and including exec of the shim.
    Launch = "start the helper";
    /// Reading or writing the control socket.
    Protocol = "talk to the engine";
    /// unshare of the user namespace.
    UserNamespace = "make a user namespace";
    /// Writing the id maps.
    IdMap = "map user and group ids";
    /// Making the monitor's own pid namespace.
    MonitorNamespace = "make the monitor's namespaces";
    /// Joining the cgroups.
    Cgroup = "join the cgroup";
    /// clone3 of the container's first process.
    Clone = "create the container's namespaces";
    /// Making or joining the container's network namespace.
    Network = "make the network namespace";
    /// Making mount propagation private.
    Propagation = "make mounts private";
    /// Mounting the root file system.
    RootMount = "mount the root file system";
    /// pivot_root and detaching the old root.
    PivotRoot = "change the root";
    /// Mounting something inside.
    Mount = "mount";
    /// Mounting something that the caller asked for.
    UserMount = "mount";
    /// Making a device node.
    Device = "make the device";
    /// Making a symbolic link in `/dev`.
    Link = "make the link";
    /// Providing a file such as `/etc/hosts`.
    ProvideFile = "provide the file";
    /// Masking a path.
    Mask = "mask";
    /// Making a path read-only.
    ReadOnly = "make read-only";
    /// Setting the host name.
    Hostname = "set the host name";
    /// Bringing up loopback.
    Loopback = "bring up loopback";
    /// Looking up the user.
    User = "find the user";
    /// Looking up a group.
    Group = "find the group";
    /// Setting user, group and supplementary groups.
    SetIds = "set user and groups";
    /// Setting capabilities.
    Capabilities = "set capabilities";
    /// no_new_privs.
    NoNewPrivileges = "set no_new_privs";
    /// Confining by an AppArmor profile.
    AppArmor = "confine by the AppArmor profile";
    /// Installing the seccomp filter.
    Seccomp = "install the seccomp filter";
    /// Putting rules of Landlock in force.
    Landlock = "confine by Landlock to";
    /// Setting a resource limit.
    Rlimit = "set the resource limit";
    /// Changing to the working directory.
    WorkingDirectory = "change to the working directory";
    /// Connecting the standard streams.
    Stdio = "connect the standard streams";
    /// Making a terminal.
    Terminal = "make the terminal";
    /// Making the program a child of the container's init.
    Init = "start the init of the container with";
    /// Finding the program.
    FindProgram = "find the program";
    /// execve of the program.
    Exec = "execute";
    /// Reading back the isolation.
    ReadBack = "read back the isolation";
    /// Joining the namespaces of a running container.
    Join = "join the container";
    /// Joining a namespace of another container.
    JoinSpace = "join the other container's namespace";
    /// Watching over a container whose processes are in a namespace of others.
    Keep = "watch over the processes of";
    /// Running a hook.
    Hook = "run the hook";
    /// Sending a signal.
    Signal = "send a signal to";
    /// Writing the record of the end, or making the socket.
    State = "write the state of";
    /// Writing the log.
    Log = "write the log of";
    /// Setting up the archive sandbox.
    Sandbox = "confine the archive worker";
    /// Reading or decompressing the archive.
    ReadArchive = "read the archive";
    /// The archive breaks a rule of its format.
    InvalidArchive = "accept the archive entry";
    /// The archive exceeds a limit.
    ArchiveLimit = "accept more from the archive";
    /// Making a file, directory or link of an archive entry.
    WriteEntry = "write";
    /// Setting owner, mode, time or attributes of an entry.
    Metadata = "set the attributes of";
    /// Applying a whiteout.
    Whiteout = "white out";
    /// Removing a tree.
    Remove = "remove";
    /// Reading a tree.
    ReadTree = "read";
    /// Writing a tar or a list.
    WriteOutput = "write the output";
    /// A directory with too many entries for a list.
    ListLimit = "list";
    /// A tree that no archive can hold.
    InvalidTree = "archive";
    /// Freezing the processes of a container.
    Freeze = "freeze the container";
    /// Everything is ready and the program is about to run (only in timings).
    Ready = "get ready";
    /// A defect of the shim.
    Internal = "continue";
    /// Setting a parameter of the kernel.
    Sysctl = "set the kernel parameter";
    /// Setting `oom_score_adj`.
    OomScore = "set the OOM score";
}

/// A failed step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// What was being done.
    pub step: Step,
    /// The errno; 0 if no system call failed.
    pub errno: i32,
    /// What it was done to: a path, a name, a number. May hold bytes of the container; printed lossily and escaped.
    pub object: Vec<u8>,
    /// A fixed explanation, for failures without an errno.
    pub detail: String,
}

impl Failure {
    /// A failed system call.
    pub fn new(step: Step, errno: i32, object: impl AsRef<[u8]>) -> Failure {
        let object = object.as_ref();
        Failure { step, errno, object: object[..object.len().min(4096)].to_vec(), detail: String::new() }
    }

    /// A failure that is no system call's.
    pub fn rule(step: Step, object: impl AsRef<[u8]>, detail: impl Into<String>) -> Failure {
        Failure { detail: detail.into(), ..Failure::new(step, 0, object) }
    }
}
