//! A process that joins a running container and becomes another program in it.

use std::convert::Infallible;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use coble_protocol::{Connection, Failure, Isolation, ProcessSpec, Started, Step};
use rustix::fs::{Mode, OFlags};
use rustix::thread::ThreadNameSpaceType;

use super::{Status, give_up, join_cgroups, seal, wall_clock};
use crate::failure::During;
use crate::ids::IdMaps;
use crate::program::{Program, oom_score};
use crate::root::Root;
use crate::sys;

/// What a joining process is made from.
pub(crate) struct Plan<'a> {
    pub(crate) spec: &'a ProcessSpec,
    pub(crate) cgroups: &'a [OwnedFd],
    pub(crate) stdio: [OwnedFd; 3],
    /// The container's first process.
    pub(crate) init: BorrowedFd<'a>,
    /// Whether the container has a network of its own.
    pub(crate) own_network: bool,
    pub(crate) maps: &'a IdMaps,
    /// The procfs that the first process made.
    pub(crate) proc: BorrowedFd<'a>,
    pub(crate) core_limit: u64,
}

/// The life of a joining process. Never returns.
///
/// It is outside of the container's pid namespace as long as it has anything of the host: a process that the container can see, it may be allowed to
/// trace or to stop. What enters is a sibling, made when all that is gone.
pub(crate) fn join(plan: Plan<'_>, mut channel: Connection) -> ! {
    let Err(failure) = run(plan, &mut channel);
    give_up(&channel, failure)
}

fn run(plan: Plan<'_>, channel: &mut Connection) -> Result<Infallible, Failure> {
    let _ = rustix::process::setsid();
    rustix::process::umask(Mode::empty());
    join_cgroups(plan.cgroups)?;
    let mut warnings = Vec::new();
    if plan.spec.oom_score_adj.is_some() {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let host = rustix::fs::open("/proc", flags, Mode::empty()).during(Step::OomScore, "/proc")?;
        oom_score(host.as_fd(), plan.spec, &mut warnings)?;
    }
    for (number, stream) in plan.stdio.iter().enumerate() {
        sys::place(stream.as_fd(), number as i32, false).during(Step::Stdio, number.to_string())?;
    }
    let mut namespaces = ThreadNameSpaceType::MOUNT
        | ThreadNameSpaceType::INTER_PROCESS_COMMUNICATION
        | ThreadNameSpaceType::HOST_NAME_AND_NIS_DOMAIN_NAME
        | ThreadNameSpaceType::CONTROL_GROUP
        // For processes that are made from now on.
        | ThreadNameSpaceType::PROCESS_ID;
    if plan.own_network {
        namespaces |= ThreadNameSpaceType::NETWORK;
    }
    rustix::thread::move_into_thread_name_spaces(plan.init, namespaces).during(Step::Join, "namespaces")?;
    let Plan { spec, maps, core_limit, stdio, .. } = plan;
    drop(stdio);
    let proc = seal(channel, plan.proc)?;
    match sys::clone_sibling() {
        Ok(sys::Clone::Child) => {}
        Ok(sys::Clone::Parent(pidfd)) => {
            channel.send(&Status::Joined, &[pidfd.as_fd()]).during(Step::Protocol, "monitor")?;
            sys::exit(0)
        }
        // What the kernel says when the namespace's first process is gone.
        Err(rustix::io::Errno::NOMEM) => return Err(Failure::new(Step::Join, libc::ESRCH, "container")),
        Err(errno) => return Err(errno).during(Step::Join, "container"),
    }

    let root = Root::open().during(Step::Join, "/")?;
    let prepared = Program { spec, maps, proc: proc.as_fd(), core_limit }.prepare(&root)?;
    prepared.become_program(&root, Isolation::default(), &mut warnings, |isolation, warnings| {
        let started = Started {
            started_at: wall_clock(),
            isolation,
            timings: Vec::new(),
            warnings: std::mem::take(warnings),
        };
        channel.send(&Status::Ready(Box::new(started)), &[]).during(Step::Protocol, "monitor")
    })
}
