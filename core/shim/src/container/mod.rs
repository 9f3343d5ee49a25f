//! The container's first process, from its clone to the program, and the processes that join it.
//!
//! The order matters and is the design's: cgroups, everything that needs the host's view, the root mount, `pivot_root`. Only after that does it touch paths
//! of the image, so that no link of the image can lead to the host.

mod binds;
mod files;
pub(crate) mod join;
mod kernel;
pub(crate) mod mapped;
pub(crate) mod mount;
mod paths;
pub(crate) mod rootfs;
pub(crate) mod spaces;

use std::convert::Infallible;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use coble_protocol::{
    CgroupView, Connection, Failure, Ground, Hook, Isolation, MonitorSpec, MountSource, ProcessSpec, Started,
    Step,
};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::process::PidfdFlags;
use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space};
use serde::{Deserialize, Serialize};

use crate::failure::During;
use crate::hooks::{self, Broken};
use crate::ids::IdMaps;
use crate::monitor::network;
use crate::program::{self, Entrance, Program, terminal, verify};
use crate::root::Root;
use crate::sys;
pub(crate) use kernel::Dev;
use mapped::Given;
use rootfs::Overlay;
use spaces::{Shm, Space, Spaces};

/// What a process on its way to a program tells the monitor. Then it executes the program, which closes the channel, or fails.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Status {
    /// Everything is set. From the first process the frame carries its procfs.
    Ready(Box<Started>),
    /// There are namespaces, and nothing else yet. The monitor answers with a [`Go`].
    Created,
    /// The program has a terminal. The frame carries its master and its slave.
    Terminal,
    /// A joining process is another one now, which becomes the program, and whose pidfd comes with this frame. It waits for [`Known`].
    Joined,
    /// It ends now.
    Failed(Failure),
}

/// The monitor's word to a process that has joined the container: it knows the process, and so hears of its end.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Known;

/// The monitor's answer to [`Status::Created`], when its hooks have run: the number of the first process on the host.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Go(pub(crate) Option<i32>);

/// The descriptor numbers of the channel to the monitor and of the shim's procfs, once everything else is closed.
const STATUS: i32 = 3;
const PROC: i32 = 4;
/// That of another procfs, while the process is not in the container's.
const OUTSIDE: i32 = 5;

/// What the first process is made from.
pub(crate) struct Plan<'a> {
    pub(crate) ground: &'a Ground,
    pub(crate) spec: &'a MonitorSpec,
    pub(crate) overlay: &'a Overlay,
    pub(crate) cgroups: &'a [OwnedFd],
    /// The namespaces that are not the container's alone.
    pub(crate) spaces: &'a Spaces,
    /// Where the network namespace comes from, if the container has one of its own.
    pub(crate) network: Option<Connection>,
    /// The sources of the binds among what the caller has mounted.
    pub(crate) binds: Vec<OwnedFd>,
    /// A `/dev` that was made already.
    pub(crate) dev: Option<Dev>,
    /// None is the container's own `/dev/null`.
    pub(crate) stdio: [Option<OwnedFd>; 3],
    pub(crate) maps: &'a IdMaps,
    pub(crate) core_limit: u64,
    /// What the monitor has made for a user namespace of the container's own, once that is here.
    pub(crate) given: Option<Given>,
}

/// What the mounting of a container yields.
struct Mounted {
    proc: OwnedFd,
    /// Another procfs, if the process is not in that one yet.
    outside: Option<OwnedFd>,
    cgroup: String,
    masked_paths: Vec<String>,
    readonly_paths: Vec<String>,
    oom_score_adj: Option<(i32, i32)>,
    sysctls: Vec<(String, String, Option<String>)>,
    /// The numbers of what the caller has mounted.
    mounts: Vec<u64>,
}

/// The life of the container's first process. Never returns.
pub(crate) fn first(plan: Plan<'_>, mut channel: Connection) -> ! {
    // The monitor ignores the one and blocks the other.
    let _ = sys::set_sigpipe(false);
    let _ = sys::unblock_child_signals();
    let Err(failure) = run(plan, &mut channel);
    give_up(&channel, failure)
}

/// Tells the monitor and ends.
fn give_up(channel: &Connection, failure: Failure) -> ! {
    // Without a monitor there is nobody to tell, and the kernel is ending this process anyway.
    let _ = channel.send(&Status::Failed(failure), &[]);
    sys::exit(1)
}

fn run(plan: Plan<'_>, channel: &mut Connection) -> Result<Infallible, Failure> {
    let mut warnings = Vec::new();
    let mut timings = vec![now(Step::Clone)];
    let (own, given) = if plan.spaces.mapped {
        let (maps, given) = mapped::receive(channel, &plan.spec.mounts)?;
        (Some(maps), Some(given))
    } else {
        (None, None)
    };
    let plan = Plan { maps: own.as_ref().unwrap_or(plan.maps), given, ..plan };
    let Plan { ground, spec, spaces, maps, core_limit, .. } = plan;
    let mounted = set_up(plan, channel, &mut warnings, &mut timings)?;
    let (proc, outside) = seal(channel, mounted.proc.as_fd(), mounted.outside)?;
    // Its number is closed, or is that of what was returned.
    std::mem::forget(mounted.proc);
    let channel = &*channel;
    let own = outside.as_ref().unwrap_or(&proc).as_fd();

    let root = Root::open().during(Step::PivotRoot, "/")?;
    let program =
        Program { spec: &spec.process, path: None, maps, proc: proc.as_fd(), core_limit, init: spec.init };
    let prepared = program.prepare(&root)?;
    binds::change_owners(&root, &spec.mounts, &mounted.mounts, prepared.owner())?;
    if spec.readonly_root {
        rootfs::make_readonly(root.as_fd())?;
    }
    start_hooks(&Inside { spec, maps, core_limit }, &root, proc.as_fd(), outside.as_ref())?;
    let isolation = Isolation {
        namespaces: namespaces(spaces, ground.has_userns(), own, &spec.host_namespaces)?,
        uid_map: maps.uid_text.clone(),
        gid_map: maps.gid_text.clone(),
        cgroup: mounted.cgroup,
        root_mount: root_mount(spec, own)?,
        masked_paths: mounted.masked_paths,
        readonly_paths: mounted.readonly_paths,
        oom_score_adj: mounted.oom_score_adj,
        sysctls: mounted.sysctls,
        mounts: binds::read_back(&mounted.mounts, own)?,
        ..Isolation::default()
    };
    // As of a process that joins, see `join`.
    let enter = || {
        enter_processes(channel, false)?;
        let _ = rustix::process::setsid();
        if spec.process.terminal.is_some() { terminal::control() } else { Ok(()) }
    };
    let entrance = outside.map(|own| Entrance { own, enter: &enter, known: &|| Ok(()) });
    prepared.become_program(&root, isolation, &mut warnings, entrance, |isolation, warnings| {
        timings.push(now(Step::Ready));
        let started =
            Started { started_at: wall_clock(), isolation, timings, warnings: std::mem::take(warnings) };
        channel.send(&Status::Ready(Box::new(started)), &[proc.as_fd()]).during(Step::Protocol, "monitor")
    })
}

/// Makes `/dev` before the container is known, as it will probably be. Where that fails, the first process will try, and say why it cannot be.
pub(crate) fn early_dev(ground: &Ground, maps: &IdMaps) -> Option<Dev> {
    // In another user namespace its files would be nobody's.
    let wanted = &ground.made.as_ref().filter(|_| !ground.mapped)?.dev;
    kernel::dev(&wanted.devices, wanted.shm_size, false, maps).ok().filter(|dev| !dev.is_borrowed())
}

/// Nanoseconds since the epoch.
pub(crate) fn wall_clock() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Realtime);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// The time of a step.
pub(crate) fn now(step: Step) -> (Step, u64) {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    (step, time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64)
}

/// Everything up to the container's own view of the world.
fn set_up(
    plan: Plan<'_>,
    channel: &Connection,
    warnings: &mut Vec<Failure>,
    timings: &mut Vec<(Step, u64)>,
) -> Result<Mounted, Failure> {
    let (spec, spaces) = (plan.spec, plan.spaces);
    let own_network = !matches!(spaces.network, Space::Host);
    let rootless = plan.ground.has_userns();
    // Fails only for the leader of a session, which a new process is not.
    let _ = rustix::process::setsid();
    join_cgroups(plan.cgroups)?;
    // The procfs of another container's processes does not show this one.
    let outside = match spaces.pid {
        Space::Joined(..) => Some(join::host_proc()?),
        Space::Own | Space::Host => None,
    };
    let proc = match spaces.pid {
        // Before children are where they would be seen.
        Space::Joined(..) => spaces.proc()?,
        Space::Own => kernel::proc(false)?,
        Space::Host => kernel::proc(true)?,
    };
    let own = outside.as_ref().unwrap_or(&proc).as_fd();
    // Nobody else is in this pid namespace yet, or it is not one of a container.
    let oom_score_adj = program::oom_score(own, &spec.process, warnings)?;
    let cgroup = verify::read_piece(verify::open(own, "self/cgroup")?.as_fd(), "cgroup")?;
    if !spaces.host_cgroups {
        sys::unshare(UnshareFlags::NEWCGROUP).during(Step::Cgroup, "namespace")?;
    }
    if spaces.uts.is_own() {
        rustix::system::sethostname(spec.hostname.as_bytes()).during(Step::Hostname, &spec.hostname)?;
        if let Some(name) = &spec.domainname {
            rustix::system::setdomainname(name.as_bytes()).during(Step::Hostname, name)?;
        }
    }

    let own_root = plan.given.is_none();
    let (root, mut trees) = match plan.given {
        Some(Given { root, trees }) => (Some(root), trees),
        None => (None, binds::take(&spec.mounts, &plan.binds)?),
    };
    rootfs::make_private()?;
    if own_root {
        binds::make_overlays(&spec.mounts, &plan.binds, &mut trees)?;
    }
    let shm = spaces.shm.borrowed()?;
    spaces.enter()?;
    let mut dev = match plan.dev {
        Some(dev) => dev,
        None => kernel::dev(&spec.devices, spec.shm_size, rootless, plan.maps)?,
    };
    if !matches!(spaces.shm, Shm::Own) {
        dev.replace_shm(shm)?;
    }
    dev.add_queues(spaces.ipc.is_own(), warnings)?;
    // None: the root is mounted already.
    let places = if root.is_none() { Some(rootfs::find(plan.overlay)?) } else { None };
    // Nobody looks for a user that is 0.
    let accounts =
        spec.accounts.as_ref().filter(|_| !matches!(spec.process.user.as_str(), "" | "0" | "root"));
    let (files, spare) = files::prepare(&spec.files, accounts.is_some())?;
    binds::make_secrets(&spec.mounts, &plan.binds, &mut trees)?;
    let overlays = binds::cover_binds(&spec.mounts, &mut trees, plan.overlay.userxattr)?;
    if let Some(places) = &places {
        rootfs::mount(plan.overlay, places)?;
    }
    if let Some(root) = &root {
        rootfs::attach(root.as_fd())?;
    }
    // As late as can be, since it is being made meanwhile: only /sys shows the network.
    let given = match plan.network {
        Some(channel) => network::join(&channel)?,
        None => None,
    };
    // Those of the network are those of the namespace that the process is in.
    let sysctls = kernel::set_parameters(proc.as_fd(), &spec.sysctls)?;
    let sys = match given.filter(|_| !spec.privileged) {
        Some(sys) => sys,
        None => kernel::sysfs(rootless, own_network, spec.privileged, warnings)?,
    };
    let writable_cgroups = spec.privileged || spec.writable_cgroups;
    let host_cgroups = match spaces.host_cgroups && spec.cgroup_view == CgroupView::V2 {
        true => Some(kernel::host_cgroups(writable_cgroups, warnings)?),
        false => None,
    };
    let detached = dev.with_sys(sys, host_cgroups);
    timings.push(now(Step::RootMount));
    if let Some(hooks) = &spec.hooks {
        let pid = created(channel)?;
        let secrets = spec.mounts.iter().any(|mount| matches!(mount.source, MountSource::Secret { .. }));
        if let Some(places) = &places {
            rootfs::set_aside(places, 1 + usize::from(secrets) + usize::from(overlays))?;
        } else if !hooks.create_container.is_empty() {
            let detail = "a container with a user namespace of its own has none of this kind";
            return Err(Failure::rule(Step::Hook, "createContainer", detail));
        }
        let state = hooks.state("creating", pid);
        run_hooks("createContainer", &hooks.create_container, &state, |stage, hooks, state| {
            hooks::run(stage, hooks, state, &mut [])
        })?;
    }
    drop(places);
    rootfs::pivot()?;
    timings.push(now(Step::PivotRoot));

    let root = Root::open().during(Step::PivotRoot, "/")?;
    // Before the kernel's file systems are there, so that no link can lead one of our files into them.
    let covered = |path: &str| binds::covered(&spec.mounts, path);
    files::attach(&root, &spec.files, &files, spec.readonly_root, |path| !covered(path))?;
    if let Some((accounts, spare)) = accounts.zip(spare) {
        files::attach_accounts(&root, accounts, &spec.process.user, spare, spec.readonly_root)?;
    }
    kernel::attach(&root, proc.as_fd(), &detached)?;
    let mut empty = paths::Empty::default();
    detached.cgroups(spec.cgroup_view, writable_cgroups, &mut empty, warnings)?;
    let mounts = binds::attach(&root, own, &spec.mounts, trees)?;
    // Nor is the host shown them.
    let shared = spec.mounts.iter().any(coble_protocol::Mount::is_shared);
    files::attach_over(&root, &spec.files, &files, spec.readonly_root, |path| !shared && covered(path))?;
    let shared = shared.then_some(own);
    let readonly_paths = paths::make_readonly(&root, &spec.readonly_paths, shared)?;
    let masked_paths = paths::mask(&root, &spec.masked_paths, detached.dev(), shared, &mut empty)?;
    timings.push(now(Step::Mount));

    if let Some(wanted) = spec.process.terminal {
        let pair = terminal::Pair::new(&root, wanted.size)?;
        detached.console(&pair.number)?;
        channel
            .send(&Status::Terminal, &[pair.master.as_fd(), pair.slave.as_fd()])
            .during(Step::Protocol, "monitor")?;
        pair.place()?;
        // A terminal controls a session, and the one of this process ends with it if the program is another one.
        if outside.is_none() {
            terminal::control()?;
        }
        return Ok(Mounted {
            proc,
            outside,
            cgroup,
            masked_paths,
            readonly_paths,
            oom_score_adj,
            sysctls,
            mounts,
        });
    }
    for (number, stream) in plan.stdio.into_iter().enumerate() {
        let stream = match stream {
            Some(stream) => stream,
            None => detached.null()?,
        };
        sys::place(stream.as_fd(), number as i32, false).during(Step::Stdio, number.to_string())?;
    }
    Ok(Mounted { proc, outside, cgroup, masked_paths, readonly_paths, oom_score_adj, sysctls, mounts })
}

/// Lets the monitor run its hooks.
fn created(channel: &Connection) -> Result<Option<i32>, Failure> {
    let step = Step::Protocol;
    channel.send(&Status::Created, &[]).during(step, "monitor")?;
    match channel.recv::<Go>() {
        Ok(Some((Go(pid), _))) => Ok(pid),
        Ok(None) => Err(Failure::rule(step, "monitor", "it has gone")),
        Err(error) => Err(error).during(step, "monitor"),
    }
}

/// Runs hooks that nobody else ends: this process is killed with the container.
fn run_hooks(
    stage: &str,
    hooks: &[Hook],
    state: &str,
    run: impl FnOnce(&str, &[Hook], &str) -> Result<(), Broken>,
) -> Result<(), Failure> {
    match run(stage, hooks, state) {
        Ok(()) | Err(Broken::Unwanted) => Ok(()),
        Err(Broken::Failed(failure)) => Err(failure),
    }
}

/// Runs the hooks of the inside: each as the program of the container, but with its own arguments and environment, and without a terminal.
///
/// `outside` is the procfs of this process, if the container's processes are those of another: then a hook is made here, and enters when it has no more rights than the program has.
fn start_hooks(
    plan: &Inside<'_>,
    root: &Root,
    proc: BorrowedFd<'_>,
    outside: Option<&OwnedFd>,
) -> Result<(), Failure> {
    let Some(hooks) = &plan.spec.hooks else { return Ok(()) };
    if hooks.start_container.is_empty() {
        return Ok(());
    }
    // The namespace of processes for children: the one that is joined, and this process's own.
    let namespace = |name: &str| {
        let path = format!("self/ns/{name}");
        outside
            .map(|outside| {
                rustix::fs::openat(outside, &path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
            })
            .transpose()
            .during(Step::Hook, &path)
    };
    let inside = namespace("pid_for_children")?.zip(namespace("pid")?);
    let children = |namespace: &OwnedFd| {
        let kind = Some(LinkNameSpaceType::ProcessID);
        move_into_link_name_space(namespace.as_fd(), kind).during(Step::Hook, "processes")
    };
    inside.as_ref().map_or(Ok(()), |(_, own)| children(own))?;
    let become_hook = |hook: &Hook| {
        let process = ProcessSpec {
            argv: hooks::arguments(hook),
            env: hook.env.iter().map(|entry| entry.clone().into_bytes()).collect(),
            terminal: None,
            ..plan.spec.process.clone()
        };
        let program = Program {
            spec: &process,
            path: Some(hook.path.as_bytes()),
            maps: plan.maps,
            proc,
            core_limit: plan.core_limit,
            init: false,
        };
        let enter = || sys::fork_and_wait().during(Step::Hook, "processes");
        // Only in a new process, whose descriptors are its own.
        let entrance = || -> rustix::io::Result<Option<Entrance<'_>>> {
            let (Some((inside, namespace)), Some(outside)) = (&inside, outside) else { return Ok(None) };
            move_into_link_name_space(inside.as_fd(), Some(LinkNameSpaceType::ProcessID))?;
            let own = rustix::io::fcntl_dupfd_cloexec(outside, 0)?;
            // Nothing of them goes inside.
            for gone in [inside, namespace, outside] {
                sys::place(rustix::stdio::stdin(), gone.as_raw_fd(), true)?;
            }
            Ok(Some(Entrance { own, enter: &enter, known: &|| Ok(()) }))
        };
        let done = program.prepare(root).and_then(|prepared| {
            let entrance = entrance().during(Step::Hook, "processes")?;
            prepared.become_program(root, Isolation::default(), &mut Vec::new(), entrance, |_, _| Ok(()))
        });
        let Err(failure) = done;
        failure
    };
    let state = hooks.state("created", Some(rustix::process::getpid().as_raw_pid()));
    run_hooks("startContainer", &hooks.start_container, &state, |stage, hooks, state| {
        hooks::run_as(stage, hooks, state, &mut [], become_hook)
    })?;
    inside.as_ref().map_or(Ok(()), |(joined, _)| children(joined))
}

/// What hooks of the inside are made from.
struct Inside<'a> {
    spec: &'a MonitorSpec,
    maps: &'a IdMaps,
    core_limit: u64,
}

/// Joins the cgroups of the container.
fn join_cgroups(procs: &[OwnedFd]) -> Result<(), Failure> {
    for file in procs {
        rustix::io::write(file, b"0").during(Step::Cgroup, "cgroup.procs")?;
    }
    Ok(())
}

/// Closes everything but the standard streams, the channel to the monitor and the shim's procfs, which is returned, as is another one. From here on the process holds
/// nothing else of the host.
fn seal(
    channel: &mut Connection,
    proc: BorrowedFd<'_>,
    outside: Option<OwnedFd>,
) -> Result<(OwnedFd, Option<OwnedFd>), Failure> {
    // Each could be in the way of the others.
    let step = Step::Internal;
    let spare = sys::copy_above(proc, OUTSIDE + 1).during(step, "procfs")?;
    let outside =
        outside.map(|outside| sys::copy_above(outside.as_fd(), OUTSIDE + 1).map(|spare| (outside, spare)));
    let outside = outside.transpose().during(step, "procfs")?;
    sys::place(channel.as_fd(), STATUS, true).during(step, "channel")?;
    // The old number is closed below, with all others, or is the new one.
    std::mem::forget(std::mem::replace(channel, Connection::new(sys::number(STATUS))));
    sys::place(spare.as_fd(), PROC, true).during(step, "procfs")?;
    drop(spare);
    let Some((original, spare)) = outside else {
        sys::close_from(PROC as u32 + 1).during(step, "descriptors")?;
        return Ok((sys::number(PROC), None));
    };
    sys::place(spare.as_fd(), OUTSIDE, true).during(step, "procfs")?;
    drop(spare);
    // As that of the channel.
    std::mem::forget(original);
    sys::close_from(OUTSIDE as u32 + 1).during(step, "descriptors")?;
    Ok((sys::number(PROC), Some(sys::number(OUTSIDE))))
}

/// Reads back the namespaces. Every one that the container must have for itself has to differ from the host's, and every one that it joins has to be that one.
fn namespaces(
    spaces: &Spaces,
    rootless: bool,
    proc: BorrowedFd<'_>,
    host: &[(String, u64)],
) -> Result<Vec<(String, u64, u64)>, Failure> {
    let mut list = Vec::with_capacity(host.len());
    for (name, inode) in host {
        // That of the processes which are joined is for those that are made from now on, of whom the program is one.
        let path = match spaces.pid {
            Space::Joined(..) if name == "pid" => "self/ns/pid_for_children".to_owned(),
            _ => format!("self/ns/{name}"),
        };
        let own = rustix::fs::statat(proc, &path, rustix::fs::AtFlags::empty())
            .during(Step::ReadBack, &path)?
            .st_ino;
        if !spaces.is(name, own, *inode, rootless) {
            let detail = "the namespace is not the one that it has to be";
            return Err(Failure::rule(Step::ReadBack, name, detail));
        }
        list.push((name.clone(), own, *inode));
    }
    Ok(list)
}

/// Goes on as a process of the pid namespace that was entered for children, and tells the monitor, which waits for the end of this one. Only now, with nothing of the host at hand, can those in it
/// see anything. `shared`: see [`sys::become_sibling`].
fn enter_processes(channel: &Connection, shared: bool) -> Result<(), Failure> {
    match sys::become_sibling(shared) {
        Ok(()) => {}
        // What the kernel says when the namespace's first process is gone.
        Err(Errno::NOMEM) => return Err(Failure::new(Step::Join, libc::ESRCH, "container")),
        Err(errno) => return Err(errno).during(Step::Join, "container"),
    }
    let own = rustix::process::pidfd_open(rustix::process::getpid(), PidfdFlags::empty())
        .during(Step::Join, "container")?;
    channel.send(&Status::Joined, &[own.as_fd()]).during(Step::Protocol, "monitor")
}

/// Reads back the kernel's line of the root mount.
fn root_mount(spec: &MonitorSpec, proc: BorrowedFd<'_>) -> Result<String, Failure> {
    let text = verify::read(verify::open(proc, "self/mountinfo")?.as_fd(), "mountinfo")?;
    let mut lines = text.lines().filter(|line| line.split(' ').nth(4) == Some("/"));
    let (Some(line), None) = (lines.next(), lines.next()) else {
        return Err(Failure::rule(Step::ReadBack, "/", "the root is not one mount"));
    };
    let overlay = line.split_once(" - ").is_some_and(|(_, rest)| rest.starts_with("overlay "));
    let readonly = line.split(' ').nth(5).is_some_and(|options| options.split(',').any(|o| o == "ro"));
    if !overlay || readonly != spec.readonly_root {
        return Err(Failure::rule(Step::ReadBack, "/", "the root mount is not as it was made"));
    }
    Ok(line.to_string())
}
