//! The parent of one container. It is process 1 of a pid namespace in which the container's own is nested: when it ends, however it ends, the kernel ends
//! every process of the container. Where the container's processes are in a pid namespace of others, a [`keeper`] does that.
//!
//! It stands on its [`Ground`] before it knows what it is for. Then it starts the container, and serves ([`serve`]) until the program has ended. It keeps no thread and little memory.

mod again;
mod children;
mod frozen;
mod health;
mod input;
mod journal;
mod journald;
mod json;
mod keeper;
mod log;
pub(crate) mod network;
mod oom;
mod serve;
mod sink;
pub(crate) mod state;

use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use coble_protocol::{
    Condition, Connection, Failure, FdIndex, Fds, Ground, Hooks, Lifetime, MonitorSpec, MountSource, Network,
    OomSpec, Report, Rootfs, Stdio, Step,
};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use rustix::process::PidfdFlags;

use crate::container::rootfs::Overlay;
use crate::container::spaces::{Space, Spaces};
use crate::container::{self, Dev, Go, Plan, Status, mapped};
use crate::failure::During;
use crate::hooks::{self, Broken};
use crate::ids::IdMaps;
use crate::{Origin, fail, sys, userns};
use again::Again;
use children::Ends;
use health::Checks;
use input::Input;
use journal::Journal;
use keeper::Keeper;
use log::Log;
use oom::Oom;
use serve::Server;
pub(crate) use serve::host_pid;
use sink::Sink;

/// What the first process has brought: its word, its procfs, and both ends of its terminal.
type Brought = (coble_protocol::Started, OwnedFd, Option<(OwnedFd, OwnedFd)>);

/// Why a container did not start.
pub(crate) enum Ended {
    /// Something failed.
    Failed(Failure),
    /// The engine went away, or the process that the container belongs to.
    Unwanted,
}

impl From<Failure> for Ended {
    fn from(failure: Failure) -> Ended {
        Ended::Failed(failure)
    }
}

/// What is ready before the monitor knows its container.
struct Basis {
    ground: Ground,
    maps: IdMaps,
    origin: Origin,
    /// Where the container's network namespace comes from, if it has one of its own.
    network: Option<Connection>,
    /// The container's `/dev`, if it could be made.
    dev: Option<Dev>,
    timings: Vec<(Step, u64)>,
}

/// What this process is, now that there is a pid namespace for the monitor.
enum Place {
    /// The monitor, with the socket on which the network namespace comes.
    Monitor(Option<Connection>),
    /// The process outside, with the other end of that.
    Outside(Option<Connection>),
}

/// The monitor role, with the exit status of the process.
pub(crate) fn run(control: Connection, ground: Ground, fds: Fds, origin: Origin) -> i32 {
    let begun = container::now(Step::Launch);
    match prepare(&ground, fds) {
        // The first process is not the monitor, but not idle: the network namespace takes the kernel as long as all else together. The end of this process closes its
        // copies of everything.
        Ok((_, Place::Outside(network))) => {
            drop(control);
            if let Some(channel) = network {
                network::make(&channel);
            }
            0
        }
        Ok((maps, Place::Monitor(network))) => {
            let timings = vec![begun, container::now(Step::MonitorNamespace)];
            // The engine takes longer to say what is to be started.
            let dev = container::early_dev(&ground, &maps);
            let basis = Basis { ground, maps, origin, network, dev, timings };
            match begin(&control, basis) {
                Ok(server) => server.run(control),
                Err(Ended::Unwanted) => 0,
                Err(Ended::Failed(failure)) => fail(&control, failure),
            }
        }
        Err(failure) => {
            let status = fail(&control, failure);
            // The engine sends the specification whatever happens, and a socket that is closed with something unread loses what was sent on it.
            let _ = control.recv::<MonitorSpec>();
            status
        }
    }
}

/// Gets onto the ground.
fn prepare(ground: &Ground, mut fds: Fds) -> Result<(IdMaps, Place), Failure> {
    if let Some(namespace) = &ground.userns {
        userns::enter(namespace, &mut fds)?;
    }
    let maps = IdMaps::read()?;
    // Nobody may look into this process or a child of it. Not before the maps: a process that nobody may look into cannot write its own.
    sys::prctl(libc::PR_SET_DUMPABLE, 0, 0).during(Step::MonitorNamespace, "dumpable")?;
    if let Some(made) = &ground.made {
        let network = made.network.map(|index| fds.take(index)).transpose();
        let network = network.during(Step::Protocol, "descriptors")?.map(Connection::new);
        return Ok((maps, Place::Monitor(network)));
    }
    let (ours, theirs) = match ground.network {
        // One of this user namespace would be of no use in another one.
        Network::None if !ground.mapped => {
            channel(Step::Network).map(|(ours, theirs)| (Some(ours), Some(theirs)))?
        }
        Network::None | Network::Host | Network::Joined => (None, None),
    };
    let own = if ground.shared_pids { 0 } else { libc::CLONE_NEWPID };
    let place = match sys::clone(own, None).during(Step::MonitorNamespace, "pid")? {
        sys::Clone::Parent(..) => Place::Outside(ours),
        sys::Clone::Child => Place::Monitor(theirs),
    };
    Ok((maps, place))
}

/// A pair of connected sockets.
pub(crate) fn channel(step: Step) -> Result<(Connection, Connection), Failure> {
    let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)
        .during(step, "channel")?;
    Ok((Connection::new(ours), Connection::new(theirs)))
}

/// Hears what the monitor is for, and starts it.
fn begin(control: &Connection, basis: Basis) -> Result<Server, Ended> {
    let _ = rustix::thread::set_name(c"coble-monitor");
    // Nobody who stops reading is a reason for this process to end. Whatever becomes a program takes it back.
    sys::set_sigpipe(true).during(Step::Internal, "signals")?;
    // Nor how many ask it for something.
    sys::raise_descriptor_limit().during(Step::Internal, "descriptors")?;
    match control.recv::<MonitorSpec>() {
        Ok(Some((spec, fds))) => start(control, basis, spec, fds),
        Ok(None) => Err(Ended::Unwanted),
        Err(error) => Err(Failure::new(Step::Protocol, error.errno(), error.to_string()).into()),
    }
}

/// The descriptors of a launch, taken out of the frame.
struct Parts {
    overlay: Overlay,
    spaces: Spaces,
    cgroups: Vec<OwnedFd>,
    home: Option<OwnedFd>,
    stdio: [Option<OwnedFd>; 3],
    binds: Vec<OwnedFd>,
    oom: Option<Oom>,
    log: Option<Log>,
    input: Option<Input>,
    /// What a terminal's log goes to.
    terminal_log: Option<Sink>,
    starter: OwnedFd,
    run_dir: OwnedFd,
    lock: OwnedFd,
}

fn take(ground: &Ground, spec: &MonitorSpec, mut fds: Fds) -> Result<Parts, Failure> {
    let spaces = Spaces::take(&spec.spaces, ground.network, ground.mapped, &mut fds)?;
    if ground.mapped != spec.maps.is_some() {
        return Err(Failure::rule(
            Step::Protocol,
            "user",
            "the monitor does not know whether the container has its own ids",
        ));
    }
    if spaces.pid.is_own() == ground.shared_pids {
        return Err(Failure::rule(Step::Protocol, "pid", "the monitor does not stand where it has to"));
    }
    let mut one = |index: FdIndex| fds.take(index).during(Step::Protocol, "descriptors");
    let Rootfs::Overlay { layers, lower, directory, base, container, userxattr } = &spec.rootfs;
    let overlay = Overlay {
        layers: one(*layers)?,
        lower: lower.clone(),
        directory: directory.map(&mut one).transpose()?,
        base: base.clone(),
        container: one(*container)?,
        userxattr: *userxattr,
        volatile: spec.once,
        devices: spec.privileged,
    };
    let cgroups = spec.cgroup_procs.iter().map(|index| one(*index)).collect::<Result<_, _>>()?;
    let home = spec.cgroup_home.map(&mut one).transpose()?;
    let oom = match spec.oom {
        // Its cgroup is new.
        Some(OomSpec { counter, event }) => {
            Some(Oom::new(one(counter)?, event.map(&mut one).transpose()?, 0))
        }
        None => None,
    };
    let (mut log, mut input, mut terminal_log) = (None, None, None);
    let stdio = match &spec.stdio {
        &Stdio::Pass { stdin, stdout, stderr } => {
            let mut stream = |index: Option<FdIndex>| index.map(&mut one).transpose();
            [stream(stdin)?, stream(stdout)?, stream(stderr)?]
        }
        Stdio::Log { log: sink, stdin, readers } => {
            let stdin = match *stdin {
                coble_protocol::Input::Null => None,
                coble_protocol::Input::Pass(index) => Some(one(index)?),
                coble_protocol::Input::Open { once } => {
                    let (ours, theirs) = Input::pipe(once)?;
                    input = Some(ours);
                    Some(theirs)
                }
            };
            let [out, err] = readers.map(|index| index.map(&mut one).transpose());
            let readers = [out?, err?];
            let sink = sink.as_ref().map(|sink| Sink::take(sink, &mut fds)).transpose()?;
            let (ours, [stdout, stderr]) = Log::of_pipes(sink, readers)?;
            log = Some(ours);
            [stdin, Some(stdout), Some(stderr)]
        }
        Stdio::Terminal { log, .. } => {
            terminal_log = log.as_ref().map(|sink| Sink::take(sink, &mut fds)).transpose()?;
            [None, None, None]
        }
    };
    let mut one = |index: FdIndex| fds.take(index).during(Step::Protocol, "descriptors");
    let sources = spec.mounts.iter().filter_map(|mount| match mount.source {
        MountSource::Bind { source, .. }
        | MountSource::Overlay { base: source, .. }
        | MountSource::Secret { content: source, .. } => Some(source),
        MountSource::Tmpfs { .. } => None,
    });
    let binds = sources.map(&mut one).collect::<Result<_, _>>()?;
    for index in &spec.locks {
        // Held until this process ends, whatever becomes of everything else.
        std::mem::forget(one(*index)?);
    }
    let starter = match spec.lifetime {
        Lifetime::Detached(pidfd) | Lifetime::Session(pidfd) => one(pidfd)?,
    };
    Ok(Parts {
        overlay,
        spaces,
        cgroups,
        home,
        stdio,
        binds,
        oom,
        log,
        input,
        terminal_log,
        starter,
        run_dir: one(spec.run_dir)?,
        lock: one(spec.lock)?,
    })
}

/// Starts the container.
fn start(control: &Connection, basis: Basis, mut spec: MonitorSpec, fds: Fds) -> Result<Server, Ended> {
    let Basis { ground, maps, origin, network, dev, mut timings } = basis;
    timings.push(container::now(Step::Protocol));
    let foreseen = ground.made.as_ref().map(|made| &made.dev);
    let dev = dev
        .filter(|_| foreseen.is_some_and(|dev| dev.devices == spec.devices && dev.shm_size == spec.shm_size));
    let Parts {
        overlay,
        mut spaces,
        cgroups,
        home,
        stdio,
        binds,
        oom,
        mut log,
        mut input,
        terminal_log,
        starter,
        run_dir,
        lock,
    } = take(&ground, &spec, fds)?;
    let keeper = match (&home, ground.shared_pids) {
        (_, false) => None,
        (Some(home), true) => Some(Keeper::start(home.as_fd(), lock.as_fd())?),
        (None, true) => return Err(Failure::rule(Step::Keep, "container", "it has no cgroup").into()),
    };
    if let (Some(mapping), Some(_), None) = (&spec.maps, &ground.userns, &spaces.user) {
        spaces.user = Some(mapped::namespace(mapping)?);
    }
    // One that belongs to another user namespace would be of no use.
    let network = match ground.mapped && ground.network == Network::None {
        true => Some(channel(Step::Network)?.1),
        false => network,
    };
    if let Some(hooks) = &spec.hooks {
        before(hooks, &run_dir)?;
    }
    let (status, theirs) = channel(Step::Clone)?;
    let init = match spaces.first_process(home.as_ref().map(AsFd::as_fd))? {
        sys::Clone::Child => {
            let plan = Plan {
                ground: &ground,
                spec: &spec,
                overlay: &overlay,
                cgroups: &cgroups,
                spaces: &spaces,
                network,
                binds,
                dev,
                stdio,
                maps: &maps,
                core_limit: origin.core_limit,
                given: None,
            };
            container::first(plan, theirs)
        }
        sys::Clone::Parent(pidfd) => pidfd,
    };
    let provided = spec.maps.as_ref().map(|mapping| {
        let pid = serve::host_pid(init.as_fd());
        mapped::provide(
            (&ground, mapping, spaces.user.is_none()),
            pid,
            &status,
            &overlay,
            &spec.mounts,
            &binds,
            &stdio,
        )
    });
    // Our copies: the program's streams must end when it ends, and nothing of the root is ours to keep, unless it is ours to clear away, or there is a next time.
    let [stdin, stdout, stderr] = stdio;
    // Those of the log are new each time, as is an input that is kept open.
    let stdin = stdin.filter(|_| input.is_none());
    let [stdout, stderr] = if log.is_some() { [None, None] } else { [stdout, stderr] };
    let streams = [stdin, stdout, stderr];
    let secret = spec.mounts.iter().any(|mount| matches!(mount.source, MountSource::Secret { .. }));
    // A policy may come later, but nothing of the caller's is kept for that.
    let keeps = spec.restart.is_some() || !(spec.once || secret || streams.iter().any(Option::is_some));
    let (leavings, kept) = if keeps {
        (None, Some(((overlay, binds), streams)))
    } else {
        let Overlay { container, .. } = overlay;
        drop((streams, binds));
        (spec.once.then_some(container), None)
    };
    drop((theirs, network, dev));
    let mut served = serve::Container {
        init,
        cgroups,
        home,
        keeper,
        own_network: ground.network == Network::None,
        spaces,
        maps,
        core_limit: origin.core_limit,
    };
    let brought = (|| {
        let socket = state::Socket::new(&run_dir)?;
        let ends = Ends::hear()?;
        if let Some(provided) = provided {
            served.maps = provided?;
        }
        let (mut started, proc, terminal) =
            wait_for_program(control, &spec, &status, &mut served.init, &starter)?;
        let given = spec.process.terminal.is_some_and(|terminal| terminal.given);
        let terminal = match terminal {
            Some(ends) if given => Some(ends),
            Some(ends) => {
                let ours = Log::of_terminal(terminal_log, ends)?;
                if matches!(spec.stdio, Stdio::Terminal { open: true, .. }) {
                    input = ours.terminal().map(Input::terminal).transpose()?;
                }
                log = Some(ours);
                None
            }
            None => None,
        };
        if let Some(hooks) = &spec.hooks {
            started.warnings.extend(running(hooks, &served.init));
        }
        timings.append(&mut started.timings);
        timings.push(container::now(Step::Exec));
        started.timings = timings;
        let own = rustix::process::pidfd_open(rustix::process::getpid(), PidfdFlags::empty())
            .during(Step::Internal, "pidfd")?;
        Ok((socket, ends, proc, started, own, terminal))
    })();
    let (socket, ends, proc, started, own, terminal) = match brought {
        Ok(brought) => brought,
        Err(ended) => {
            children::end(&served.init);
            if let Some(keeper) = served.keeper {
                keeper.finish();
            }
            // What they have to say is less than why the start has failed.
            let _ = spec.hooks.as_deref().map(|hooks| after(hooks, &run_dir));
            return Err(ended);
        }
    };
    if spec.health.is_some() || spec.restart.is_some() {
        // Before anybody hears of the start.
        let health = spec.health.is_some().then(health::at_first);
        state::write_condition(&run_dir, &Condition { health, ..Condition::default() });
    }
    let report = Report::Started(Box::new(started));
    let mut told = vec![own.as_fd(), served.init.as_fd()];
    told.extend(terminal.iter().flat_map(|(master, slave)| [master.as_fd(), slave.as_fd()]));
    if control.try_send(&report, &told).is_err() {
        // An engine that does not hear of it waits for ever, or is gone, and has it not on record.
        children::end(&served.init);
        if let Some(keeper) = served.keeper {
            keeper.finish();
        }
        let _ = spec.hooks.as_deref().map(|hooks| after(hooks, &run_dir));
        return Err(Ended::Unwanted);
    }
    let id = spec.id.clone();
    let journal = Journal::after(spec.journal);
    let detached = matches!(spec.lifetime, Lifetime::Detached(_));
    let run_time = spec.run_timeout.map(|seconds| Duration::from_secs(seconds.into()));
    let checks = spec.health.take().map(Checks::new);
    let hooks = spec.hooks.clone();
    let tracers = serve::can_trace(&spec.process) || !matches!(served.spaces.pid, Space::Own);
    drop((own, report, terminal));
    let policy = spec.restart;
    let again = kept.map(|(overlay, streams)| {
        Box::new(Again::new(policy, (ground, spec), overlay, streams, &served, &proc))
    });
    if let Some(container) = &leavings {
        state::clear_mark(container.as_fd());
    }
    Ok(Server::new(
        socket,
        (served, ends),
        proc,
        (starter, detached),
        (log, input),
        run_dir,
        lock,
        id,
        journal,
        leavings,
        (checks, again, oom),
        (run_time, hooks),
        tracers,
    ))
}

/// Notes that there will be hooks to run at the end of the run that begins.
pub(crate) fn before(hooks: &Hooks, run_dir: &OwnedFd) -> Result<(), Failure> {
    if hooks.poststop.is_empty() { Ok(()) } else { state::owe_hooks(run_dir) }
}

/// Runs the hooks for a container of which nothing runs any more.
pub(crate) fn after(hooks: &Hooks, run_dir: &OwnedFd) -> Vec<Failure> {
    if hooks.poststop.is_empty() {
        return Vec::new();
    }
    // First, so that whoever comes after this process does not run them again. They are this process's, whoever has taken the file away.
    let _ = state::take_hooks(run_dir);
    hooks::run_each(hooks::POSTSTOP, &hooks.poststop, &hooks.state("stopped", None))
}

/// Runs the hooks for a program that runs.
pub(crate) fn running(hooks: &Hooks, init: &OwnedFd) -> Vec<Failure> {
    let pid = serve::host_pid(init.as_fd());
    hooks::run_each("poststart", &hooks.poststart, &hooks.state("running", pid))
}

/// Runs the hooks of the runtime, and lets the first process go on.
pub(crate) fn created(
    spec: &MonitorSpec,
    init: &OwnedFd,
    status: &Connection,
    watched: &mut [PollFd<'_>],
) -> Result<(), Ended> {
    let pid = serve::host_pid(init.as_fd());
    if let Some(hooks) = &spec.hooks {
        hooks::run("createRuntime", &hooks.create_runtime, &hooks.state("creating", pid), watched)?;
    }
    status.send(&Go(pid), &[]).during(Step::Protocol, "first process")?;
    Ok(())
}

impl From<Broken> for Ended {
    fn from(broken: Broken) -> Ended {
        match broken {
            Broken::Failed(failure) => Ended::Failed(failure),
            Broken::Unwanted => Ended::Unwanted,
        }
    }
}

/// Waits until the first process has become the program. The kernel kills it when this process ends, so nothing has to be undone.
fn wait_for_program(
    control: &Connection,
    spec: &MonitorSpec,
    status: &Connection,
    init: &mut OwnedFd,
    starter: &OwnedFd,
) -> Result<Brought, Ended> {
    let mut ready = None;
    let mut terminal = None;
    loop {
        // The connection of an engine that is gone may be open in a child that it had.
        let mut fds = [
            PollFd::new(status, PollFlags::IN),
            PollFd::new(control, PollFlags::RDHUP),
            PollFd::new(starter, PollFlags::IN),
        ];
        match poll(&mut fds, None) {
            Ok(_) => {}
            Err(Errno::INTR) => continue,
            Err(errno) => return Err(errno).during(Step::Internal, "poll").map_err(Ended::from),
        }
        if fds.iter().skip(1).any(|fd| !fd.revents().is_empty()) {
            return Err(Ended::Unwanted);
        }
        match status.recv::<Status>() {
            Ok(Some((Status::Ready(started), mut fds))) => {
                ready = Some((*started, fds.take_nth(0).during(Step::Protocol, "procfs")?));
            }
            Ok(Some((Status::Failed(failure), _))) => return Err(failure.into()),
            Ok(Some((Status::Created, _))) => {
                let mut watched =
                    [PollFd::new(control, PollFlags::RDHUP), PollFd::new(starter, PollFlags::IN)];
                created(spec, init, status, &mut watched)?;
            }
            Ok(Some((Status::Terminal, mut fds))) => {
                let mut end = |n| fds.take_nth(n).during(Step::Protocol, "terminal");
                terminal = Some((end(0)?, end(1)?));
            }
            // It goes on as another one, in a pid namespace of others.
            Ok(Some((Status::Joined, mut fds))) => {
                let next = fds.take_nth(0).during(Step::Protocol, "first process")?;
                children::end(&std::mem::replace(init, next));
            }
            // Closed by exec, or by its death.
            Ok(None) => break,
            Err(error) => return Err(error).during(Step::Internal, "first process").map_err(Ended::from),
        }
    }
    ready.map(|(started, proc)| (started, proc, terminal)).ok_or_else(|| {
        let detail = match children::last_words(init).and_then(|exit| exit.signal) {
            Some(signal) => format!("it was ended by signal {signal}"),
            None => "it ended without a word".to_string(),
        };
        Failure::rule(Step::Internal, "the container's first process", detail).into()
    })
}
