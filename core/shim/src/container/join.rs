//! A process that joins a running container and becomes another program in it.

use std::convert::Infallible;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use coble_protocol::{Connection, Failure, Isolation, ProcessSpec, Started, Step};
use rustix::fs::{Mode, OFlags};
use rustix::thread::ThreadNameSpaceType;

use super::{Known, Status, enter_processes, give_up, join_cgroups, seal, wall_clock};
use crate::failure::During;
use crate::ids::IdMaps;
use crate::program::{Entrance, Program, give_pipe, oom_score, terminal};
use crate::root::Root;
use crate::{sys, userns};

/// What a joining process is made from.
pub(crate) struct Plan<'a> {
    pub(crate) spec: &'a ProcessSpec,
    pub(crate) cgroups: &'a [OwnedFd],
    /// None: a terminal.
    pub(crate) stdio: Option<[OwnedFd; 3]>,
    /// The container's first process.
    pub(crate) init: BorrowedFd<'a>,
    /// Its namespaces that this process is not in yet.
    pub(crate) namespaces: ThreadNameSpaceType,
    pub(crate) maps: &'a IdMaps,
    /// The procfs that the first process made.
    pub(crate) proc: BorrowedFd<'a>,
    pub(crate) core_limit: u64,
    /// Whether somebody may be there who can trace any process.
    pub(crate) tracers: bool,
}

/// The life of a joining process. Never returns.
///
/// It is outside of the container's pid namespace as long as it has anything of the host, and, where somebody may have the right to trace it, as long as it has more rights than the program has: a process
/// that the container can see, it may be allowed to trace or to stop. What enters is a sibling, made when all that is gone. It becomes the program when the monitor has said that it knows the sibling, and ends
/// when the monitor has closed the channel instead.
pub(crate) fn join(plan: Plan<'_>, mut channel: Connection) -> ! {
    let Err(failure) = run(plan, &mut channel);
    give_up(&channel, failure)
}

/// The procfs of the host, for a process that its container does not see.
pub(super) fn host_proc() -> Result<OwnedFd, Failure> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::open("/proc", flags, Mode::empty()).during(Step::Join, "/proc")
}

fn run(plan: Plan<'_>, channel: &mut Connection) -> Result<Infallible, Failure> {
    // The monitor ignores the one and blocks the other.
    let _ = sys::set_sigpipe(false);
    let _ = sys::unblock_child_signals();
    let _ = rustix::process::setsid();
    rustix::process::umask(Mode::empty());
    join_cgroups(plan.cgroups)?;
    let mut warnings = Vec::new();
    let outside = (plan.tracers || plan.spec.oom_score_adj.is_some()).then(host_proc).transpose()?;
    if let Some(outside) = &outside {
        oom_score(outside.as_fd(), plan.spec, &mut warnings)?;
    }
    for (number, stream) in plan.stdio.iter().flatten().enumerate() {
        sys::place(stream.as_fd(), number as i32, false).during(Step::Stdio, number.to_string())?;
    }
    if plan.namespaces.contains(ThreadNameSpaceType::USER)
        && let Some((uid, gid)) = plan.maps.root()
    {
        plan.stdio.iter().flatten().for_each(|stream| give_pipe(stream.as_fd(), uid, Some(gid)));
    }
    // That of processes is for those that are made from now on.
    let namespaces = plan.namespaces;
    rustix::thread::move_into_thread_name_spaces(plan.init, namespaces).during(Step::Join, "namespaces")?;
    if namespaces.contains(ThreadNameSpaceType::USER) {
        userns::become_root(plan.maps)?;
    }
    let Plan { spec, maps, core_limit, stdio, .. } = plan;
    drop(stdio);
    if let Some(wanted) = spec.terminal {
        let root = Root::open().during(Step::Join, "/")?;
        let pair = terminal::Pair::new(&root, wanted.size)?;
        let ends = [pair.master.as_fd(), pair.slave.as_fd()];
        channel.send(&Status::Terminal, &ends).during(Step::Protocol, "monitor")?;
        pair.place()?;
    }
    let (proc, own) = seal(channel, plan.proc, outside.filter(|_| plan.tracers))?;
    let channel = &*channel;
    let enter = || {
        enter_processes(channel, !plan.tracers)?;
        if spec.terminal.is_some() {
            // A terminal controls a session, and this process is not the leader of the one that it was made in.
            rustix::process::setsid().during(Step::Terminal, "session")?;
            terminal::control()?;
        }
        Ok(())
    };
    // The monitor may have had no descriptor left for this process. Nobody would hear of the end of the program then.
    let known = || match channel.recv::<Known>() {
        Ok(Some(_)) => Ok(()),
        Ok(None) => Err(Failure::new(Step::Join, libc::ESRCH, "container")),
        Err(error) => Err(error).during(Step::Protocol, "monitor"),
    };
    // Nobody can look into what enters or change it, so it may do the rest there, while the monitor gets to know it.
    if !plan.tracers {
        enter()?;
    }
    let root = Root::open().during(Step::Join, "/")?;
    let prepared =
        Program { spec, path: None, maps, proc: proc.as_fd(), core_limit, init: false }.prepare(&root)?;
    if !plan.tracers {
        known()?;
    }
    let entrance = own.map(|own| Entrance { own, enter: &enter, known: &known });
    prepared.become_program(&root, Isolation::default(), &mut warnings, entrance, |isolation, warnings| {
        let started = Started {
            started_at: wall_clock(),
            isolation,
            timings: Vec::new(),
            warnings: std::mem::take(warnings),
        };
        channel.send(&Status::Ready(Box::new(started)), &[]).during(Step::Protocol, "monitor")
    })
}
