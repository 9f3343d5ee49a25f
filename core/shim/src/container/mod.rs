//! The container's first process, from its clone to the program, and the processes that join it.
//!
//! The order matters and is the design's: cgroups, everything that needs the host's view, the root mount, `pivot_root`. Only after that does it touch paths
//! of the image, so that no link of the image can lead to the host.

mod files;
pub(crate) mod join;
mod kernel;
mod mount;
mod paths;
pub(crate) mod rootfs;

use std::convert::Infallible;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use coble_protocol::{Connection, Failure, Ground, Isolation, MonitorSpec, Network, Started, Step};
use rustix::thread::UnshareFlags;
use serde::{Deserialize, Serialize};

use crate::failure::During;
use crate::ids::IdMaps;
use crate::monitor::network;
use crate::program::{Program, verify};
use crate::root::Root;
use crate::sys;
use rootfs::Overlay;

/// What a process on its way to a program tells the monitor. Then it executes the program, which closes the channel, or fails.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Status {
    /// Everything is set. From the first process the frame carries its procfs.
    Ready(Box<Started>),
    /// A joining process has made the one that becomes the program, whose pidfd comes with this frame, and ends.
    Joined,
    /// It ends now.
    Failed(Failure),
}

/// The descriptor numbers of the channel to the monitor and of the shim's procfs, once everything else is closed.
const STATUS: i32 = 3;
const PROC: i32 = 4;

/// What the first process is made from.
pub(crate) struct Plan<'a> {
    pub(crate) ground: &'a Ground,
    pub(crate) spec: &'a MonitorSpec,
    pub(crate) overlay: Overlay,
    pub(crate) cgroups: &'a [OwnedFd],
    /// Where the network namespace comes from, if the container has one of its own.
    pub(crate) network: Option<Connection>,
    /// None is the container's own `/dev/null`.
    pub(crate) stdio: [Option<OwnedFd>; 3],
    pub(crate) maps: &'a IdMaps,
    pub(crate) core_limit: u64,
}

/// What the mounting of a container yields.
struct Mounted {
    proc: OwnedFd,
    cgroup: String,
    masked_paths: Vec<String>,
    readonly_paths: Vec<String>,
}

/// The life of the container's first process. Never returns.
pub(crate) fn first(plan: Plan<'_>, mut channel: Connection) -> ! {
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
    let Plan { ground, spec, maps, core_limit, .. } = plan;
    let mounted = set_up(plan, &mut warnings, &mut timings)?;
    let proc = seal(channel, mounted.proc.as_fd())?;
    // Its number is closed, or is that of what was returned.
    std::mem::forget(mounted.proc);

    let root = Root::open().during(Step::PivotRoot, "/")?;
    let program = Program { spec: &spec.process, maps, proc: proc.as_fd(), core_limit };
    let prepared = program.prepare(&root)?;
    if spec.readonly_root {
        rootfs::make_readonly(root.as_fd())?;
    }
    let isolation = Isolation {
        namespaces: namespaces(ground, proc.as_fd(), &spec.host_namespaces)?,
        uid_map: maps.uid_text.clone(),
        gid_map: maps.gid_text.clone(),
        cgroup: mounted.cgroup,
        root_mount: root_mount(spec, proc.as_fd())?,
        masked_paths: mounted.masked_paths,
        readonly_paths: mounted.readonly_paths,
        ..Isolation::default()
    };
    prepared.become_program(&root, isolation, &mut warnings, |isolation, warnings| {
        timings.push(now(Step::Ready));
        let started =
            Started { started_at: wall_clock(), isolation, timings, warnings: std::mem::take(warnings) };
        channel.send(&Status::Ready(Box::new(started)), &[proc.as_fd()]).during(Step::Protocol, "monitor")
    })
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
    warnings: &mut Vec<Failure>,
    timings: &mut Vec<(Step, u64)>,
) -> Result<Mounted, Failure> {
    let spec = plan.spec;
    let own_network = plan.network.is_some();
    let rootless = plan.ground.userns.is_some();
    // Fails only for the leader of a session, which a new process is not.
    let _ = rustix::process::setsid();
    join_cgroups(plan.cgroups)?;
    let proc = kernel::proc()?;
    let cgroup = verify::read(verify::open(proc.as_fd(), "self/cgroup")?.as_fd(), "cgroup")?;
    sys::unshare(UnshareFlags::NEWCGROUP).during(Step::Cgroup, "namespace")?;
    rustix::system::sethostname(spec.hostname.as_bytes()).during(Step::Hostname, &spec.hostname)?;

    rootfs::make_private()?;
    let dev = kernel::dev(&spec.devices, spec.shm_size, rootless, plan.maps, warnings)?;
    // As late as can be, since it is being made meanwhile: only /sys shows the network.
    if let Some(channel) = plan.network {
        network::join(&channel)?;
    }
    // Those of the network are those of the namespace that the process is in.
    kernel::set_parameters(proc.as_fd(), &spec.sysctls)?;
    let detached = dev.with_sys(kernel::sysfs(rootless, own_network, warnings)?);
    let files = files::prepare(&spec.files)?;
    rootfs::mount(&plan.overlay)?;
    timings.push(now(Step::RootMount));
    rootfs::pivot()?;
    timings.push(now(Step::PivotRoot));

    let root = Root::open().during(Step::PivotRoot, "/")?;
    // Before the kernel's file systems are there, so that no link can lead one of our files into them.
    files::attach(&root, &spec.files, &files, spec.readonly_root)?;
    kernel::attach(&root, proc.as_fd(), &detached)?;
    let mut empty = paths::Empty::default();
    detached.cgroups(spec.cgroup_view, &mut empty, warnings)?;
    let readonly_paths = paths::make_readonly(&root, &spec.readonly_paths)?;
    let masked_paths = paths::mask(&root, &spec.masked_paths, detached.dev(), &mut empty)?;
    timings.push(now(Step::Mount));

    for (number, stream) in plan.stdio.into_iter().enumerate() {
        let stream = match stream {
            Some(stream) => stream,
            None => detached.null()?,
        };
        sys::place(stream.as_fd(), number as i32, false).during(Step::Stdio, number.to_string())?;
    }
    Ok(Mounted { proc, cgroup, masked_paths, readonly_paths })
}

/// Joins the cgroups of the container.
fn join_cgroups(procs: &[OwnedFd]) -> Result<(), Failure> {
    for file in procs {
        rustix::io::write(file, b"0").during(Step::Cgroup, "cgroup.procs")?;
    }
    Ok(())
}

/// Closes everything but the standard streams, the channel to the monitor and the shim's procfs, which is returned. From here on the process holds
/// nothing of the host.
fn seal(channel: &mut Connection, proc: BorrowedFd<'_>) -> Result<OwnedFd, Failure> {
    // Each could be in the way of the other.
    let spare = sys::copy_above(proc, PROC + 1).during(Step::Internal, "procfs")?;
    sys::place(channel.as_fd(), STATUS, true).during(Step::Internal, "channel")?;
    // The old number is closed below, with all others, or is the new one.
    std::mem::forget(std::mem::replace(channel, Connection::new(sys::number(STATUS))));
    sys::place(spare.as_fd(), PROC, true).during(Step::Internal, "procfs")?;
    drop(spare);
    sys::close_from(PROC as u32 + 1).during(Step::Internal, "descriptors")?;
    Ok(sys::number(PROC))
}

/// Reads back the namespaces. Every one that the container must have for itself has to differ from the host's.
fn namespaces(
    ground: &Ground,
    proc: BorrowedFd<'_>,
    host: &[(String, u64)],
) -> Result<Vec<(String, u64, u64)>, Failure> {
    let shared = |name: &str| match name {
        "net" => ground.network == Network::Host,
        "user" => ground.userns.is_none(),
        _ => false,
    };
    let mut list = Vec::with_capacity(host.len());
    for (name, inode) in host {
        let path = format!("self/ns/{name}");
        let own = rustix::fs::statat(proc, &path, rustix::fs::AtFlags::empty())
            .during(Step::ReadBack, &path)?
            .st_ino;
        if (own == *inode) != shared(name) {
            let detail = "the namespace is not the one that was made";
            return Err(Failure::rule(Step::ReadBack, name, detail));
        }
        list.push((name.clone(), own, *inode));
    }
    Ok(list)
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
