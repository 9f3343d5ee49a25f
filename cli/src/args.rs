//! The command line's grammar: docker's verbs and flags, as far as the engine has what they ask for.

use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};

use crate::attach::{AttachArgs, DetachArgs, ProxyArgs};
use crate::cp::{CloneArgs, CpArgs};
use crate::events::EventsArgs;
use crate::image_store::{
    CommitArgs, DiffArgs, ExportArgs, ImageDiffArgs, MountArgs, PruneArgs, SaveArgs, SystemCommand,
    VerifyArgs,
};
use crate::lifecycle::{ContainerPruneArgs, RenameArgs, StatsArgs, TopArgs, UpdateArgs, WaitArgs, seconds};
use crate::login::{LoginArgs, LogoutArgs};
use crate::pull::{LockArgs, PullArgs};
use crate::push::{CopyArgs, PushArgs};
use crate::registry::{RegistryCommand, SearchArgs};
use crate::volume::VolumeCommand;

/// An embeddable container engine: images in, containers out, with no daemon.
#[derive(Debug, Parser)]
#[command(name = "coble", version, max_term_width = 100, propagate_version = false, infer_long_args = false)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Args)]
pub(crate) struct Global {
    /// Directory of images, layers and the database
    #[arg(long, global = true, value_name = "DIR", help_heading = "Global options")]
    pub(crate) data_root: Option<PathBuf>,
    /// Directory of sockets, locks and the state of running containers
    #[arg(long, global = true, value_name = "DIR", help_heading = "Global options")]
    pub(crate) run_root: Option<PathBuf>,
    /// Whether containers run in a user namespace (default: unless root)
    #[arg(long, global = true, value_name = "BOOL", num_args = 0..=1, require_equals = true,
          default_missing_value = "true", help_heading = "Global options")]
    pub(crate) rootless: Option<bool>,
    /// A lock file that every pull obeys: a name that it pins stands for that digest, or the pull fails
    #[arg(long, global = true, value_name = "FILE", help_heading = "Global options")]
    pub(crate) lock_file: Option<PathBuf>,
    /// Whether no registry is asked for anything (default: what COBLE_OFFLINE says)
    #[arg(long, global = true, value_name = "BOOL", num_args = 0..=1, require_equals = true,
          default_missing_value = "true", help_heading = "Global options")]
    pub(crate) offline: Option<bool>,
    /// How many connections to registries are used at once (default: 24)
    #[arg(long, global = true, value_name = "N", help_heading = "Global options")]
    pub(crate) connections: Option<u32>,
    /// How many of them to one host (default: 6)
    #[arg(long, global = true, value_name = "N", help_heading = "Global options")]
    pub(crate) connections_per_host: Option<u32>,
    /// How many seconds are waited for a connection to a registry (default: 30)
    #[arg(long, global = true, value_name = "SECONDS", help_heading = "Global options")]
    pub(crate) connect_timeout: Option<f64>,
    /// How many seconds are waited for data of a registry that sends none (default: 60)
    #[arg(long, global = true, value_name = "SECONDS", help_heading = "Global options")]
    pub(crate) idle_timeout: Option<f64>,
    /// A mirror to ask first, for every registry or for one; can be given several times
    #[arg(long, global = true, value_name = "[REGISTRY=]URL", help_heading = "Global options")]
    pub(crate) registry_mirror: Vec<String>,
    /// The only file in the form of registries.conf that is read
    #[arg(long, global = true, value_name = "FILE", help_heading = "Global options")]
    pub(crate) registries_conf: Option<PathBuf>,
    /// The directory of the registries' settings, instead of certs.d of docker, podman and containerd
    #[arg(long, global = true, value_name = "DIR", help_heading = "Global options")]
    pub(crate) hosts_dir: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a program in a new container
    Run(RunArgs),
    /// Create a container without starting it
    Create(CreateArgs),
    /// Start containers
    Start(StartArgs),
    /// Stop containers: the stop signal first, SIGKILL when the time is over
    Stop(StopArgs),
    /// Send a signal to containers
    Kill(KillArgs),
    /// Stop the processes of containers where they are
    Pause(Names),
    /// Let the processes of paused containers go on
    Unpause(Names),
    /// Stop containers and start them again
    Restart(StopArgs),
    /// Give a container another name
    Rename(RenameArgs),
    /// Change limits and restart policies of containers
    Update(UpdateArgs),
    /// Show the processes of a container
    Top(TopArgs),
    /// Show what containers use
    Stats(StatsArgs),
    /// Show what happens to containers, images and volumes
    Events(EventsArgs),
    /// Wait until containers end and print their exit codes
    Wait(WaitArgs),
    /// Remove containers
    Rm(RmArgs),
    /// List containers
    Ps(PsArgs),
    /// Connect to the streams of a running container's program
    Attach(AttachArgs),
    /// Run another program in a running container
    Exec(ExecArgs),
    /// Print what a container wrote
    Logs(LogsArgs),
    /// Print everything about containers, images or volumes as JSON
    Inspect(InspectArgs),
    /// List images
    Images(ImagesArgs),
    /// Fetch an image from its registry
    Pull(PullArgs),
    /// Send an image to its registry
    Push(PushArgs),
    /// Search a registry for images
    Search(SearchArgs),
    /// Try credentials at a registry, and store them
    Login(LoginArgs),
    /// Forget the credentials of a registry
    Logout(LogoutArgs),
    /// Load images from a docker-archive or an OCI layout
    Load(LoadArgs),
    /// Save images as an archive
    Save(SaveArgs),
    /// Make an image from a root file system tar
    Import(ImportArgs),
    /// Write a container's root file system as a tar
    Export(ExportArgs),
    /// Copy files between the host and a container
    Cp(CpArgs),
    /// Make an image of a container
    Commit(CommitArgs),
    /// Show what a container changed of its image
    Diff(DiffArgs),
    /// Give an image one more name
    Tag(TagArgs),
    /// Take names away from images, which stay
    Untag(References),
    /// Remove images
    Rmi(RmiArgs),
    /// Show how an image was made
    History(HistoryArgs),
    /// Show facts about the engine and its host
    Info(FormatArgs),
    /// Show the version
    Version(FormatArgs),
    /// Say what the host lacks, and how to mend it
    Doctor(FormatArgs),
    /// Look for damage in the store
    Verify(VerifyArgs),
    /// Manage the store
    System {
        #[command(subcommand)]
        command: SystemCommand,
    },
    /// Manage volumes
    Volume {
        #[command(subcommand)]
        command: VolumeCommand,
    },
    /// Look into registries
    Registry {
        #[command(subcommand)]
        command: RegistryCommand,
    },
    /// Manage containers
    Container {
        #[command(subcommand)]
        command: ContainerCommand,
    },
    /// Manage images
    Image {
        #[command(subcommand)]
        command: ImageCommand,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum ContainerCommand {
    /// Run a program in a new container
    Run(RunArgs),
    /// Create a container without starting it
    Create(CreateArgs),
    /// Start containers
    Start(StartArgs),
    /// Stop containers
    Stop(StopArgs),
    /// Send a signal to containers
    Kill(KillArgs),
    /// Stop the processes of containers where they are
    Pause(Names),
    /// Let the processes of paused containers go on
    Unpause(Names),
    /// Stop containers and start them again
    Restart(StopArgs),
    /// Give a container another name
    Rename(RenameArgs),
    /// Change limits and restart policies of containers
    Update(UpdateArgs),
    /// Show the processes of a container
    Top(TopArgs),
    /// Show what containers use
    Stats(StatsArgs),
    /// Wait until containers end and print their exit codes
    Wait(WaitArgs),
    /// Remove containers
    #[command(alias = "remove")]
    Rm(RmArgs),
    /// List containers
    #[command(alias = "list", alias = "ps")]
    Ls(PsArgs),
    /// Connect to the streams of a running container's program
    Attach(AttachArgs),
    /// Run another program in a running container
    Exec(ExecArgs),
    /// Print what a container wrote
    Logs(LogsArgs),
    /// Print everything about containers as JSON
    Inspect(ContainerInspectArgs),
    /// Write a container's root file system as a tar
    Export(ExportArgs),
    /// Make a container with the options and the files of another one
    Clone(CloneArgs),
    /// Copy files between the host and a container
    Cp(CpArgs),
    /// Make an image of a container
    Commit(CommitArgs),
    /// Show what a container changed of its image
    Diff(DiffArgs),
    /// Remove the containers that do not run
    Prune(ContainerPruneArgs),
}

#[derive(Debug, Subcommand)]
pub(crate) enum ImageCommand {
    /// Make an image of programs and files of this host, with the libraries they need
    FromHost(FromHostArgs),
    /// List images
    #[command(alias = "list")]
    Ls(ImagesArgs),
    /// Fetch an image from its registry
    Pull(PullArgs),
    /// Send an image to its registry
    Push(PushArgs),
    /// Copy an image from one registry to another
    Copy(CopyArgs),
    /// Pin names to what they stand for, in a lock file
    Lock(LockArgs),
    /// Load images from a docker-archive or an OCI layout
    Load(LoadArgs),
    /// Make an image from a root file system tar
    Import(ImportArgs),
    /// Print everything about images as JSON
    Inspect(ImageInspectArgs),
    /// Show how an image was made
    History(HistoryArgs),
    /// Give an image one more name
    Tag(TagArgs),
    /// Take names away from images, which stay
    Untag(References),
    /// Remove images
    #[command(alias = "remove")]
    Rm(RmiArgs),
    /// Save images as an archive
    Save(SaveArgs),
    /// Show what is different in one image against another
    Diff(ImageDiffArgs),
    /// Run a program of this host in an image's root directory, mounted read-only for it alone
    Mount(MountArgs),
    /// Remove images that are not used
    Prune(PruneArgs),
}

/// A stream to be connected to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Attached {
    Stdin,
    Stdout,
    Stderr,
}

/// As docker has it, in any case.
fn attached(text: &str) -> Result<Attached, String> {
    match text.to_ascii_lowercase().as_str() {
        "stdin" => Ok(Attached::Stdin),
        "stdout" => Ok(Attached::Stdout),
        "stderr" => Ok(Attached::Stderr),
        _ => Err("valid streams are stdin, stdout and stderr".to_owned()),
    }
}

/// How lists and facts are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum Format {
    /// For people
    #[default]
    Table,
    /// JSON in one line: an array for lists
    Json,
}

#[derive(Debug, Args)]
pub(crate) struct FormatArgs {
    /// Output format
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: Format,
}

#[derive(Debug, Args)]
pub(crate) struct Names {
    /// Names or ids
    #[arg(required = true, value_name = "CONTAINER")]
    pub(crate) names: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct References {
    /// References
    #[arg(required = true, value_name = "REFERENCE")]
    pub(crate) references: Vec<String>,
}

#[derive(Debug, Args)]
#[command(disable_help_flag = true, override_usage = "coble run [OPTIONS] IMAGE [COMMAND] [ARG...]")]
pub(crate) struct RunArgs {
    /// Run in the background and print the container's id
    #[arg(short, long)]
    pub(crate) detach: bool,
    /// Remove the container when it ends
    #[arg(long)]
    pub(crate) rm: bool,
    /// Be connected to these streams only: stdin, stdout, stderr; all output is kept for logs
    #[arg(short, long, value_name = "STREAM", value_parser = attached, conflicts_with = "detach")]
    pub(crate) attach: Vec<Attached>,
    /// With --detach, print the id only when the container is ready: log=PATTERN, port=NUMBER, http=PORT/PATH, file=PATH, exec=COMMAND or healthy; of several, when all have held
    #[arg(long, value_name = "CONDITION", requires = "detach")]
    pub(crate) wait: Vec<String>,
    /// How long it may take to become ready
    #[arg(long, value_name = "SECONDS", default_value = "60", value_parser = seconds, requires = "wait")]
    pub(crate) wait_timeout: Duration,
    #[command(flatten)]
    pub(crate) keys: DetachArgs,
    #[command(flatten)]
    pub(crate) proxy: ProxyArgs,
    #[command(flatten)]
    pub(crate) options: CreateOptions,
}

#[derive(Debug, Args)]
#[command(disable_help_flag = true, override_usage = "coble create [OPTIONS] IMAGE [COMMAND] [ARG...]")]
pub(crate) struct CreateArgs {
    /// Remove the container when it ends
    #[arg(long)]
    pub(crate) rm: bool,
    #[command(flatten)]
    pub(crate) options: CreateOptions,
}

/// The options of a new container.
#[derive(Debug, Args)]
pub(crate) struct CreateOptions {
    /// Give the program this standard input, and keep it open
    #[arg(short, long)]
    pub(crate) interactive: bool,
    /// Give the program a terminal
    #[arg(short, long)]
    pub(crate) tty: bool,
    /// Run a small init as process 1, which reaps what ends and passes signals on
    #[arg(long)]
    pub(crate) init: bool,
    /// Set an environment variable; NAME alone takes this environment's value
    #[arg(short, long, value_name = "NAME=VALUE")]
    pub(crate) env: Vec<String>,
    /// Read environment variables from a file
    #[arg(long, value_name = "FILE")]
    pub(crate) env_file: Vec<PathBuf>,
    /// Give the program the proxies of docker's config.json
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value_t = true,
          action = ArgAction::Set, hide_default_value = true)]
    pub(crate) use_config_proxy: bool,
    /// Working directory
    #[arg(short, long, value_name = "DIR")]
    pub(crate) workdir: Option<String>,
    /// User name or number, with or without :group
    #[arg(short, long, value_name = "USER[:GROUP]")]
    pub(crate) user: Option<String>,
    /// One more group
    #[arg(long, value_name = "GROUP")]
    pub(crate) group_add: Vec<String>,
    /// Name of the container
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// Host name (default: the beginning of the id; with --network host the host's)
    #[arg(short = 'h', long)]
    pub(crate) hostname: Option<String>,
    /// Domain name, with which the host name is complete
    #[arg(long, value_name = "NAME")]
    pub(crate) domainname: Option<String>,
    /// Time zone: a name such as Europe/Berlin, or local for this host's
    #[arg(long, value_name = "ZONE")]
    pub(crate) tz: Option<String>,
    /// Whether a user whom the image lacks gets lines in /etc/passwd and /etc/group
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_value = "true",
          default_missing_value = "true", action = ArgAction::Set)]
    pub(crate) passwd: bool,
    /// That line of /etc/passwd: $USERNAME, $UID, $GID, $NAME and $HOME are replaced
    #[arg(long, value_name = "LINE")]
    pub(crate) passwd_entry: Option<String>,
    /// That line of /etc/group: $GROUPNAME, $GID and $USERLIST are replaced
    #[arg(long, value_name = "LINE")]
    pub(crate) group_entry: Option<String>,
    /// Processes that it sees: private, host or container:NAME
    #[arg(long, value_name = "MODE", default_value = "private", hide_default_value = true)]
    pub(crate) pid: String,
    /// System V objects, message queues and /dev/shm: private, shareable, none, host or container:NAME
    #[arg(long, value_name = "MODE", default_value = "private", hide_default_value = true)]
    pub(crate) ipc: String,
    /// Host name: private or host
    #[arg(long, value_name = "MODE", default_value = "private", hide_default_value = true)]
    pub(crate) uts: String,
    /// How cgroups are seen: private or host
    #[arg(long, value_name = "MODE", default_value = "private", hide_default_value = true)]
    pub(crate) cgroupns: String,
    /// User namespace: host, auto or auto:size=N, with ids that no other container has, keep-id[:uid=N,gid=N], with your own ids inside, or nomap, without them (not root)
    #[arg(long, value_name = "MODE", default_value = "", hide_default_value = true)]
    pub(crate) userns: String,
    /// Ids of users in a user namespace of its own, CONTAINER:HOST[:COUNT] (may be repeated); of an ordinary user 0 is himself instead of an id of the host, and his ranges follow from 1
    #[arg(long, value_name = "MAP")]
    pub(crate) uidmap: Vec<String>,
    /// Ids of groups in a user namespace of its own, CONTAINER:HOST[:COUNT] (may be repeated)
    #[arg(long, value_name = "MAP")]
    pub(crate) gidmap: Vec<String>,
    /// Network: none, host or container:NAME
    #[arg(long, alias = "net", value_name = "NETWORK", default_value = "none")]
    pub(crate) network: String,
    /// Say that the program listens on a port or on some, such as 80, 53/udp or 8000-8010/tcp
    #[arg(long, value_name = "PORT[/PROTOCOL]")]
    pub(crate) expose: Vec<String>,
    /// Entrypoint instead of the image's; an empty one removes it
    #[arg(long, value_name = "PROGRAM")]
    pub(crate) entrypoint: Option<String>,
    /// Memory limit, such as 64m
    #[arg(short, long, value_name = "BYTES")]
    pub(crate) memory: Option<String>,
    /// Number of CPUs, such as 1.5
    #[arg(long, value_name = "NUMBER")]
    pub(crate) cpus: Option<f64>,
    /// Limit on processes and threads; 0 and -1 are no limit
    #[arg(long, value_name = "NUMBER", allow_hyphen_values = true)]
    pub(crate) pids_limit: Option<i64>,
    /// Memory that is taken from the container last when the host runs out of it
    #[arg(long, value_name = "BYTES")]
    pub(crate) memory_reservation: Option<String>,
    /// Memory and swap together; -1 for swap without limit
    #[arg(long, value_name = "BYTES", allow_hyphen_values = true)]
    pub(crate) memory_swap: Option<String>,
    /// How willingly the kernel swaps, 0 to 100 (cgroup version 1); -1 as it does
    #[arg(long, value_name = "NUMBER", allow_negative_numbers = true)]
    pub(crate) memory_swappiness: Option<i64>,
    /// Let programs wait for memory instead of killing one (cgroup version 1)
    #[arg(long)]
    pub(crate) oom_kill_disable: bool,
    /// How likely the kernel is to kill the container when the host runs out of memory, -1000 to 1000
    #[arg(long, value_name = "NUMBER", allow_negative_numbers = true)]
    pub(crate) oom_score_adj: Option<i32>,
    /// CPU weight against others
    #[arg(short, long, value_name = "NUMBER")]
    pub(crate) cpu_shares: Option<u64>,
    /// Microseconds of CPU time in each period; 0 and -1 are no limit
    #[arg(long, value_name = "MICROSECONDS", allow_negative_numbers = true)]
    pub(crate) cpu_quota: Option<i64>,
    /// Length of that period
    #[arg(long, value_name = "MICROSECONDS")]
    pub(crate) cpu_period: Option<u64>,
    /// CPUs that may be used, such as 0-2,7
    #[arg(long, value_name = "SET")]
    pub(crate) cpuset_cpus: Option<String>,
    /// NUMA nodes that memory may come from
    #[arg(long, value_name = "SET")]
    pub(crate) cpuset_mems: Option<String>,
    /// Block I/O weight against others, 10 to 1000
    #[arg(long, value_name = "NUMBER")]
    pub(crate) blkio_weight: Option<u64>,
    /// The same for one block device
    #[arg(long, value_name = "PATH:NUMBER")]
    pub(crate) blkio_weight_device: Vec<String>,
    /// Limit what is read of a block device each second
    #[arg(long, value_name = "PATH:BYTES")]
    pub(crate) device_read_bps: Vec<String>,
    /// Limit what is written to a block device each second
    #[arg(long, value_name = "PATH:BYTES")]
    pub(crate) device_write_bps: Vec<String>,
    /// Limit the reads of a block device each second
    #[arg(long, value_name = "PATH:NUMBER")]
    pub(crate) device_read_iops: Vec<String>,
    /// Limit the writes to a block device each second
    #[arg(long, value_name = "PATH:NUMBER")]
    pub(crate) device_write_iops: Vec<String>,
    /// Resource limit of processes, such as nofile=1024:2048
    #[arg(long, value_name = "NAME=SOFT[:HARD]")]
    pub(crate) ulimit: Vec<String>,
    /// Kernel parameter of the container's own, such as net.core.somaxconn=1024
    #[arg(long, value_name = "NAME=VALUE")]
    pub(crate) sysctl: Vec<String>,
    /// File of the container's version 2 cgroup, such as memory.high=1073741824
    #[arg(long, value_name = "NAME=VALUE")]
    pub(crate) cgroup_conf: Vec<String>,
    /// Cgroup that the container's is in, such as /jobs/night
    #[arg(long, value_name = "PATH")]
    pub(crate) cgroup_parent: Option<String>,
    /// Add a capability to the default set
    #[arg(long, value_name = "CAPABILITY")]
    pub(crate) cap_add: Vec<String>,
    /// Drop a capability of the default set
    #[arg(long, value_name = "CAPABILITY")]
    pub(crate) cap_drop: Vec<String>,
    /// Mount the root file system read-only
    #[arg(long)]
    pub(crate) read_only: bool,
    /// Security option, such as seccomp=FILE, mask=PATH:PATH or unmask=ALL
    #[arg(long, value_name = "OPTION")]
    pub(crate) security_opt: Vec<String>,
    /// Mount a directory or file of this host, such as ./data:/data:ro, or a volume, such as data:/data; what is missing is made
    #[arg(short, long, value_name = "[SOURCE:]TARGET[:OPTIONS]")]
    pub(crate) volume: Vec<String>,
    /// Mount what another container has mounted at the same places; with :ro read-only
    #[arg(long, value_name = "CONTAINER[:ro]")]
    pub(crate) volumes_from: Vec<String>,
    /// Mount a volume, a directory, a file or a tmpfs, such as type=bind,src=/data,dst=/data,ro
    #[arg(long, value_name = "KEY=VALUE,...")]
    pub(crate) mount: Vec<String>,
    /// Mount a file system in memory, such as /run:size=16m
    #[arg(long, value_name = "TARGET[:OPTIONS]")]
    pub(crate) tmpfs: Vec<String>,
    /// Give the container a file in memory, such as id=key,src=./key or id=key,env=KEY,target=/etc/key,mode=400
    #[arg(long, value_name = "KEY=VALUE,...")]
    pub(crate) secret: Vec<String>,
    /// Give the container a device of this host, or those of a directory
    #[arg(long, value_name = "SOURCE[:TARGET][:rwm]")]
    pub(crate) device: Vec<String>,
    /// Let the container use more devices, such as "c 10:* rwm"
    #[arg(long, value_name = "RULE")]
    pub(crate) device_cgroup_rule: Vec<String>,
    /// Hold nothing back: all capabilities and devices, no seccomp filter, nothing masked or read-only
    #[arg(long)]
    pub(crate) privileged: bool,
    /// Write the container's id to a file, which may not be there yet
    #[arg(long, value_name = "FILE")]
    pub(crate) cidfile: Option<PathBuf>,
    /// Read labels from a file, a line NAME=VALUE each
    #[arg(long, value_name = "FILE")]
    pub(crate) label_file: Vec<PathBuf>,
    /// Set a label
    #[arg(short, long, value_name = "NAME=VALUE")]
    pub(crate) label: Vec<String>,
    /// Set an annotation, for other tools
    #[arg(long, value_name = "NAME=VALUE")]
    pub(crate) annotation: Vec<String>,
    /// Platform of the image, such as linux/arm64, if its name has several
    #[arg(long, value_name = "PLATFORM")]
    pub(crate) platform: Option<String>,
    /// When a registry is asked for the image: always, missing, never or newer
    #[arg(long, value_name = "POLICY", default_value = "missing")]
    pub(crate) pull: String,
    /// Say nothing of a pull
    #[arg(short, long)]
    pub(crate) quiet: bool,
    /// Look at the health of the program with a line for the shell
    #[arg(long, value_name = "COMMAND")]
    pub(crate) health_cmd: Option<String>,
    /// Time between two health checks, such as 30s
    #[arg(long, value_name = "DURATION")]
    pub(crate) health_interval: Option<String>,
    /// Time that a health check may take
    #[arg(long, value_name = "DURATION")]
    pub(crate) health_timeout: Option<String>,
    /// Failures in a row that make it unhealthy
    #[arg(long, value_name = "NUMBER")]
    pub(crate) health_retries: Option<u32>,
    /// Time after the start in which failures do not count
    #[arg(long, value_name = "DURATION")]
    pub(crate) health_start_period: Option<String>,
    /// Time between two health checks in that time
    #[arg(long, value_name = "DURATION")]
    pub(crate) health_start_interval: Option<String>,
    /// No health checks, whatever the image says
    #[arg(long)]
    pub(crate) no_healthcheck: bool,
    /// When the program is started again: no, on-failure, on-failure:N, always or unless-stopped
    #[arg(long, value_name = "POLICY", default_value = "no")]
    pub(crate) restart: String,
    /// Signal that stops the container
    #[arg(long, value_name = "SIGNAL")]
    pub(crate) stop_signal: Option<String>,
    /// Seconds that stop waits before it kills
    #[arg(long, value_name = "SECONDS")]
    pub(crate) stop_timeout: Option<u32>,
    /// Seconds after which the program is killed; 0 is no limit
    #[arg(long, value_name = "SECONDS")]
    pub(crate) timeout: Option<u32>,
    /// Size of /dev/shm, such as 128m
    #[arg(long, value_name = "BYTES")]
    pub(crate) shm_size: Option<String>,
    /// Add a line to /etc/hosts
    #[arg(long, value_name = "NAME:ADDRESS")]
    pub(crate) add_host: Vec<String>,
    /// Where output that is kept goes: local, json-file, journald or none
    #[arg(long, value_name = "DRIVER")]
    pub(crate) log_driver: Option<String>,
    /// Option of the log driver, such as max-size=10m, max-file=3 or tag={{.Name}}
    #[arg(long, value_name = "NAME=VALUE")]
    pub(crate) log_opt: Vec<String>,
    /// Name server for /etc/resolv.conf
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) dns: Vec<String>,
    /// Domain in which names are looked for; . for none
    #[arg(long, value_name = "DOMAIN")]
    pub(crate) dns_search: Vec<String>,
    /// Option for /etc/resolv.conf, such as ndots:2
    #[arg(long, alias = "dns-opt", value_name = "OPTION")]
    pub(crate) dns_option: Vec<String>,
    /// Print help
    #[arg(long, action = ArgAction::HelpLong)]
    pub(crate) help: Option<bool>,
    /// Use a directory of this host as the root file system, instead of an image; nothing is written to it
    #[arg(long, value_name = "DIR", conflicts_with = "bundle")]
    pub(crate) rootfs: Option<String>,
    /// Use an OCI bundle instead of an image: what its config.json says, and the flags do not
    #[arg(long, value_name = "DIR")]
    pub(crate) bundle: Option<String>,
    /// Read from a file which programs are run at moments of the container's life: the "hooks" of the OCI runtime specification, in JSON
    #[arg(long, value_name = "FILE")]
    pub(crate) hooks: Option<PathBuf>,
    /// The image, then the program and its arguments; with --rootfs or --bundle these alone
    #[arg(required_unless_present_any = ["rootfs", "bundle"], trailing_var_arg = true, value_name = "IMAGE [COMMAND] [ARG...]")]
    pub(crate) image_and_command: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct StartArgs {
    /// Stay in the foreground, with the program's output, and return its exit code
    #[arg(short, long)]
    pub(crate) attach: bool,
    /// As --attach, and give the program this standard input
    #[arg(short, long)]
    pub(crate) interactive: bool,
    #[command(flatten)]
    pub(crate) keys: DetachArgs,
    #[command(flatten)]
    pub(crate) proxy: ProxyArgs,
    #[command(flatten)]
    pub(crate) containers: Names,
}

#[derive(Debug, Args)]
pub(crate) struct StopArgs {
    /// Another signal than the container's stop signal, by name or number
    #[arg(short, long, value_name = "SIGNAL")]
    pub(crate) signal: Option<String>,
    /// Seconds to wait before the kill
    #[arg(short, long = "timeout", alias = "time", value_name = "SECONDS")]
    pub(crate) timeout: Option<u64>,
    #[command(flatten)]
    pub(crate) containers: Names,
}

#[derive(Debug, Args)]
pub(crate) struct KillArgs {
    /// The signal, by name or number
    #[arg(short, long, default_value = "KILL")]
    pub(crate) signal: String,
    #[command(flatten)]
    pub(crate) containers: Names,
}

#[derive(Debug, Args)]
pub(crate) struct RmArgs {
    /// Kill running containers first
    #[arg(short, long)]
    pub(crate) force: bool,
    /// Remove the anonymous volumes that were made for them, too
    #[arg(short, long)]
    pub(crate) volumes: bool,
    #[command(flatten)]
    pub(crate) containers: Names,
}

#[derive(Debug, Args)]
pub(crate) struct PsArgs {
    /// All containers, not only the running ones
    #[arg(short, long)]
    pub(crate) all: bool,
    /// Only containers that meet a condition: ancestor, before, exited, expose, health, id, label, label!, name, network, publish, since, status, until, volume
    #[arg(short, long, value_name = "KEY=VALUE")]
    pub(crate) filter: Vec<String>,
    /// Only the newest, whatever their state; -1 is no bound
    #[arg(short = 'n', long, value_name = "NUMBER", default_value_t = -1, allow_negative_numbers = true)]
    pub(crate) last: i64,
    /// Only the newest one, whatever its state
    #[arg(short, long)]
    pub(crate) latest: bool,
    /// Only ids
    #[arg(short, long)]
    pub(crate) quiet: bool,
    /// Show what each wrote
    #[arg(short, long)]
    pub(crate) size: bool,
    /// Do not shorten
    #[arg(long)]
    pub(crate) no_trunc: bool,
    #[command(flatten)]
    pub(crate) output: FormatArgs,
}

#[derive(Debug, Args)]
#[command(override_usage = "coble exec [OPTIONS] CONTAINER COMMAND [ARG...]")]
pub(crate) struct ExecArgs {
    /// Give the program this standard input
    #[arg(short, long)]
    pub(crate) interactive: bool,
    /// Give the program a terminal
    #[arg(short, long)]
    pub(crate) tty: bool,
    /// Leave the program in the background
    #[arg(short, long)]
    pub(crate) detach: bool,
    #[command(flatten)]
    pub(crate) keys: DetachArgs,
    /// Set an environment variable; NAME alone takes this environment's value
    #[arg(short, long, value_name = "NAME=VALUE")]
    pub(crate) env: Vec<String>,
    /// Read environment variables from a file
    #[arg(long, value_name = "FILE")]
    pub(crate) env_file: Vec<PathBuf>,
    /// User name or number, with or without :group
    #[arg(short, long, value_name = "USER[:GROUP]")]
    pub(crate) user: Option<String>,
    /// Give the program every capability that this user has, whatever the container has
    #[arg(long)]
    pub(crate) privileged: bool,
    /// Working directory
    #[arg(short, long, value_name = "DIR")]
    pub(crate) workdir: Option<String>,
    /// The container, then the program and its arguments
    #[arg(required = true, num_args = 2.., trailing_var_arg = true, value_name = "CONTAINER COMMAND [ARG...]")]
    pub(crate) container_and_command: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct LogsArgs {
    /// Wait for more until the container ends
    #[arg(short, long)]
    pub(crate) follow: bool,
    /// Only the last lines: a number, or all
    #[arg(short = 'n', long, value_name = "LINES", default_value = "all")]
    pub(crate) tail: String,
    /// Only what came at or after this time: RFC 3339, seconds since the epoch, or a duration such as 10m
    #[arg(long, value_name = "TIME")]
    pub(crate) since: Option<String>,
    /// Only what came before this time
    #[arg(long, value_name = "TIME")]
    pub(crate) until: Option<String>,
    /// Print the time of each line
    #[arg(short, long)]
    pub(crate) timestamps: bool,
    /// Print before each line what the log options say of the container, such as labels
    #[arg(long)]
    pub(crate) details: bool,
    /// Name or id
    #[arg(value_name = "CONTAINER")]
    pub(crate) container: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ObjectType {
    /// Only containers
    Container,
    /// Only images
    Image,
    /// Only volumes
    Volume,
}

#[derive(Debug, Args)]
pub(crate) struct InspectArgs {
    /// Look only among objects of this type
    #[arg(long, value_enum)]
    pub(crate) r#type: Option<ObjectType>,
    /// Measure what containers wrote
    #[arg(short, long)]
    pub(crate) size: bool,
    #[command(flatten)]
    pub(crate) objects: ObjectArgs,
}

#[derive(Debug, Args)]
pub(crate) struct ContainerInspectArgs {
    /// Measure what the containers wrote
    #[arg(short, long)]
    pub(crate) size: bool,
    #[command(flatten)]
    pub(crate) objects: ObjectArgs,
}

/// How `inspect` prints.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum InspectFormat {
    /// An indented array
    #[default]
    Pretty,
    /// An array in one line
    Json,
}

#[derive(Debug, Args)]
pub(crate) struct ObjectArgs {
    /// Output format
    #[arg(short, long, value_enum, default_value_t)]
    pub(crate) format: InspectFormat,
    /// Names or ids
    #[arg(required = true, value_name = "NAME")]
    pub(crate) names: Vec<String>,
}

/// Which image of a name that has several is meant.
#[derive(Debug, Args)]
pub(crate) struct PlatformArgs {
    /// Of the images that a name has, the one for this platform, such as linux/arm64
    #[arg(long, value_name = "PLATFORM")]
    pub(crate) platform: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct ImageInspectArgs {
    #[command(flatten)]
    pub(crate) choice: PlatformArgs,
    #[command(flatten)]
    pub(crate) objects: ObjectArgs,
}

#[derive(Debug, Args)]
pub(crate) struct ImagesArgs {
    /// Only images with this name; without a tag, with every tag. It may be a pattern, as in --filter reference=
    #[arg(value_name = "REPOSITORY[:TAG]")]
    pub(crate) reference: Option<String>,
    /// Also images that are only parts of others: here, none is hidden
    #[arg(short, long)]
    pub(crate) all: bool,
    /// Show digests: those that the repository is known to have, or that of the manifest
    #[arg(long)]
    pub(crate) digests: bool,
    /// Only ids
    #[arg(short, long)]
    pub(crate) quiet: bool,
    /// Do not shorten
    #[arg(long)]
    pub(crate) no_trunc: bool,
    /// Only images that meet a condition: dangling, label, label!, reference, before, since, until
    #[arg(short, long, value_name = "KEY=VALUE")]
    pub(crate) filter: Vec<String>,
    #[command(flatten)]
    pub(crate) output: FormatArgs,
}

#[derive(Debug, Args)]
pub(crate) struct LoadArgs {
    /// A tar or a directory; standard input when not given
    #[arg(short, long, value_name = "PATH")]
    pub(crate) input: Option<PathBuf>,
    /// Load this platform, such as linux/arm64, or all
    #[arg(long, value_name = "PLATFORM")]
    pub(crate) platform: Option<String>,
    /// Print nothing
    #[arg(short, long)]
    pub(crate) quiet: bool,
    #[command(flatten)]
    pub(crate) output: FormatArgs,
}

#[derive(Debug, Args)]
pub(crate) struct ImageOptions {
    #[command(flatten)]
    pub(crate) output: FormatArgs,
    /// Show no progress
    #[arg(short, long)]
    pub(crate) quiet: bool,
    /// Set an environment variable of the image
    #[arg(short, long, value_name = "NAME=VALUE")]
    pub(crate) env: Vec<String>,
    /// Default command, as one string
    #[arg(long, value_name = "COMMAND")]
    pub(crate) cmd: Option<String>,
    /// Entrypoint, as one string
    #[arg(long, value_name = "COMMAND")]
    pub(crate) entrypoint: Option<String>,
    /// Default working directory
    #[arg(short, long, value_name = "DIR")]
    pub(crate) workdir: Option<String>,
    /// Default user
    #[arg(short, long, value_name = "USER[:GROUP]")]
    pub(crate) user: Option<String>,
    /// Set a label
    #[arg(short, long, value_name = "NAME=VALUE")]
    pub(crate) label: Vec<String>,
    /// Comment for the history
    #[arg(short, long, value_name = "TEXT")]
    pub(crate) message: Option<String>,
    /// Author
    #[arg(short, long, value_name = "TEXT")]
    pub(crate) author: Option<String>,
    /// Change the configuration by an instruction of a Dockerfile
    #[arg(short, long, value_name = "INSTRUCTION")]
    pub(crate) change: Vec<String>,
    /// What the files are for, such as linux/arm64; this host when not given
    #[arg(long, value_name = "PLATFORM")]
    pub(crate) platform: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct ImportArgs {
    #[command(flatten)]
    pub(crate) options: ImageOptions,
    /// A tar, plain or compressed; - is standard input
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// The name of the image, if it is to have one
    #[arg(value_name = "REFERENCE")]
    pub(crate) reference: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct FromHostArgs {
    /// The name of the image, if it is to have one
    #[arg(short, long, value_name = "REFERENCE")]
    pub(crate) tag: Option<String>,
    #[command(flatten)]
    pub(crate) options: ImageOptions,
    /// Paths, or names of programs that are looked up in PATH; PATH:TARGET puts it elsewhere in the image
    #[arg(required = true, value_name = "PATH[:TARGET]")]
    pub(crate) items: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct TagArgs {
    #[command(flatten)]
    pub(crate) choice: PlatformArgs,
    /// Reference or id
    #[arg(value_name = "IMAGE")]
    pub(crate) image: String,
    /// The new name
    #[arg(value_name = "REFERENCE")]
    pub(crate) reference: String,
}

#[derive(Debug, Args)]
pub(crate) struct RmiArgs {
    #[command(flatten)]
    pub(crate) choice: PlatformArgs,
    /// Remove also images with several names, and take the names of those away that only stopped containers use
    #[arg(short, long)]
    pub(crate) force: bool,
    #[command(flatten)]
    pub(crate) output: FormatArgs,
    /// References or ids
    #[arg(required = true, value_name = "IMAGE")]
    pub(crate) images: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct HistoryArgs {
    #[command(flatten)]
    pub(crate) choice: PlatformArgs,
    /// Only layer digests
    #[arg(short, long)]
    pub(crate) quiet: bool,
    /// Do not shorten
    #[arg(long)]
    pub(crate) no_trunc: bool,
    #[command(flatten)]
    pub(crate) output: FormatArgs,
    /// Reference or id
    #[arg(value_name = "IMAGE")]
    pub(crate) image: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_grammar_is_consistent() {
        <Cli as clap::CommandFactory>::command().debug_assert();
    }

    #[test]
    fn flags_after_the_image_belong_to_the_program() {
        let cli = Cli::try_parse_from([
            "coble",
            "run",
            "-i",
            "-h",
            "box",
            "img",
            "-d",
            "--rm",
            "-h",
            "--data-root",
        ])
        .unwrap();
        let Command::Run(run) = cli.command else { panic!("not a run") };
        assert!(run.options.interactive && !run.detach && !run.rm);
        assert_eq!(run.options.hostname.as_deref(), Some("box"));
        assert_eq!(run.options.image_and_command, ["img", "-d", "--rm", "-h", "--data-root"]);
        let cli = Cli::try_parse_from(["coble", "exec", "-u", "1", "box", "ls", "-u"]).unwrap();
        let Command::Exec(exec) = cli.command else { panic!("not an exec") };
        assert_eq!(exec.container_and_command, ["box", "ls", "-u"]);
        assert!(Cli::try_parse_from(["coble", "exec", "box"]).is_err());
        assert!(Cli::try_parse_from(["coble", "run", "--no-such-flag", "img"]).is_err());
    }
}
