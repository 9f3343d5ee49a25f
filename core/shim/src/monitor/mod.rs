//! The parent of one container. It is process 1 of a pid namespace in which the container's own is nested: when it ends, however it ends, the kernel ends
//! every process of the container.
//!
//! It stands on its [`Ground`] before it knows what it is for. Then it starts the container, and serves ([`serve`]) until the program has ended. It keeps no thread and little memory.

mod log;
pub(crate) mod network;
mod serve;
mod state;

use std::os::fd::{AsFd, OwnedFd};

use coble_protocol::{
    Connection, Failure, FdIndex, Fds, Ground, Lifetime, MonitorSpec, Network, Report, Rootfs, Stdio, Step,
};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use rustix::process::{Pid, PidfdFlags, WaitId, WaitIdOptions};

use crate::container::rootfs::Overlay;
use crate::container::{self, Dev, Plan, Status};
use crate::failure::During;
use crate::ids::IdMaps;
use crate::{Origin, fail, sys, userns};
use log::Log;
use serve::Server;

/// Why a container did not start.
enum Ended {
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
        userns::enter(namespace)?;
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
        Network::None => channel(Step::Network).map(|(ours, theirs)| (Some(ours), Some(theirs)))?,
        Network::Host => (None, None),
    };
    let place = match sys::clone(libc::CLONE_NEWPID, None).during(Step::MonitorNamespace, "pid")? {
        sys::Clone::Parent(..) => Place::Outside(ours),
        sys::Clone::Child => Place::Monitor(theirs),
    };
    Ok((maps, place))
}

/// A pair of connected sockets.
fn channel(step: Step) -> Result<(Connection, Connection), Failure> {
    let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)
        .during(step, "channel")?;
    Ok((Connection::new(ours), Connection::new(theirs)))
}

/// Hears what the monitor is for, and starts it.
fn begin(control: &Connection, basis: Basis) -> Result<Server, Ended> {
    let _ = rustix::thread::set_name(c"coble-monitor");
    match control.recv::<MonitorSpec>() {
        Ok(Some((spec, fds))) => start(control, basis, spec, fds),
        Ok(None) => Err(Ended::Unwanted),
        Err(error) => Err(Failure::new(Step::Protocol, error.errno(), error.to_string()).into()),
    }
}

/// The descriptors of a launch, taken out of the frame.
struct Parts {
    overlay: Overlay,
    cgroups: Vec<OwnedFd>,
    home: Option<OwnedFd>,
    stdio: [Option<OwnedFd>; 3],
    log: Option<Log>,
    starter: OwnedFd,
    run_dir: OwnedFd,
    lock: OwnedFd,
}

fn take(spec: &MonitorSpec, mut fds: Fds) -> Result<Parts, Failure> {
    let mut one = |index: FdIndex| fds.take(index).during(Step::Protocol, "descriptors");
    let Rootfs::Overlay { layers, lower, container, userxattr } = &spec.rootfs;
    let overlay = Overlay {
        layers: one(*layers)?,
        lower: lower.clone(),
        container: one(*container)?,
        userxattr: *userxattr,
        volatile: spec.once,
    };
    let cgroups = spec.cgroup_procs.iter().map(|index| one(*index)).collect::<Result<_, _>>()?;
    let home = spec.cgroup_home.map(&mut one).transpose()?;
    let (stdio, log) = match spec.stdio {
        Stdio::Pass { stdin, stdout, stderr } => {
            let mut stream = |index: Option<FdIndex>| index.map(&mut one).transpose();
            ([stream(stdin)?, stream(stdout)?, stream(stderr)?], None)
        }
        Stdio::Log { file, stdin } => {
            let stdin = stdin.map(&mut one).transpose()?;
            let (log, [stdout, stderr]) = Log::new(one(file)?)?;
            ([stdin, Some(stdout), Some(stderr)], Some(log))
        }
    };
    let starter = match spec.lifetime {
        Lifetime::Detached(pidfd) | Lifetime::Session(pidfd) => one(pidfd)?,
    };
    Ok(Parts {
        overlay,
        cgroups,
        home,
        stdio,
        log,
        starter,
        run_dir: one(spec.run_dir)?,
        lock: one(spec.lock)?,
    })
}

/// Starts the container.
fn start(control: &Connection, basis: Basis, spec: MonitorSpec, fds: Fds) -> Result<Server, Ended> {
    let Basis { ground, maps, origin, network, dev, mut timings } = basis;
    timings.push(container::now(Step::Protocol));
    let foreseen = ground.made.as_ref().map(|made| &made.dev);
    let dev = dev
        .filter(|_| foreseen.is_some_and(|dev| dev.devices == spec.devices && dev.shm_size == spec.shm_size));
    let Parts { overlay, cgroups, home, stdio, log, starter, run_dir, lock } = take(&spec, fds)?;
    let (status, theirs) = channel(Step::Clone)?;
    let namespaces = libc::CLONE_NEWNS | libc::CLONE_NEWPID | libc::CLONE_NEWIPC | libc::CLONE_NEWUTS;
    let init = match sys::clone(namespaces, home.as_ref().map(AsFd::as_fd)).during(Step::Clone, "")? {
        sys::Clone::Child => {
            let plan = Plan {
                ground: &ground,
                spec: &spec,
                overlay,
                cgroups: &cgroups,
                network,
                dev,
                stdio,
                maps: &maps,
                core_limit: origin.core_limit,
            };
            container::first(plan, theirs)
        }
        sys::Clone::Parent(pidfd) => pidfd,
    };
    // Our copies: the program's streams must end when it ends, and nothing of the root is ours to keep, unless it is ours to clear away.
    let Overlay { container, .. } = overlay;
    let leavings = spec.once.then_some(container);
    drop((theirs, network, dev, stdio));
    let served = serve::Container {
        init,
        cgroups,
        home,
        own_network: ground.network == Network::None,
        maps,
        core_limit: origin.core_limit,
    };
    let brought = (|| {
        let socket = state::Socket::new(&run_dir)?;
        let (mut started, proc) = wait_for_program(control, &status, &served.init, &starter)?;
        timings.append(&mut started.timings);
        timings.push(container::now(Step::Exec));
        started.timings = timings;
        let one = Pid::from_raw(1).ok_or(Failure::rule(Step::Internal, "pid", "not process 1"))?;
        let own = rustix::process::pidfd_open(one, PidfdFlags::empty()).during(Step::Internal, "pidfd")?;
        Ok((socket, proc, started, own))
    })();
    let (socket, proc, started, own) = match brought {
        Ok(brought) => brought,
        Err(ended) => {
            end(&served.init);
            return Err(ended);
        }
    };
    let report = Report::Started(Box::new(started));
    if control.try_send(&report, &[own.as_fd(), served.init.as_fd()]).is_err() {
        // An engine that does not hear of it waits for ever, or is gone, and has it not on record.
        end(&served.init);
        return Err(Ended::Unwanted);
    }
    let id = spec.id.clone();
    let detached = matches!(spec.lifetime, Lifetime::Detached(_));
    drop((spec, own, report));
    if let Some(container) = &leavings {
        state::clear_mark(container.as_fd());
    }
    sys::trim_memory();
    // One that ends soon would only have to map it again.
    if leavings.is_none() {
        sys::forget_program();
    }
    Ok(Server::new(socket, served, proc, (starter, detached), log, run_dir, lock, id, leavings))
}

/// Ends the container. The kernel would do it when this process ends, but who hears of a failure may rely on nothing being left.
fn end(init: &OwnedFd) {
    let _ = sys::pidfd_signal(init.as_fd(), libc::SIGKILL);
    let _ = rustix::process::waitid(WaitId::PidFd(init.as_fd()), WaitIdOptions::EXITED);
}

/// Waits until the first process has become the program. The kernel kills it when this process ends, so nothing has to be undone.
fn wait_for_program(
    control: &Connection,
    status: &Connection,
    init: &OwnedFd,
    starter: &OwnedFd,
) -> Result<(coble_protocol::Started, OwnedFd), Ended> {
    let mut ready = None;
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
            // Not a first process's word.
            Ok(Some((Status::Joined, _))) => {}
            // Closed by exec, or by its death.
            Ok(None) => break,
            Err(error) => return Err(error).during(Step::Internal, "first process").map_err(Ended::from),
        }
    }
    ready.ok_or_else(|| {
        let ended = rustix::process::waitid(WaitId::PidFd(init.as_fd()), WaitIdOptions::EXITED);
        let signal = ended.ok().flatten().and_then(|ended| ended.terminating_signal());
        let detail = match signal {
            Some(signal) => format!("it was ended by signal {signal}"),
            None => "it ended without a word".to_string(),
        };
        Failure::rule(Step::Internal, "the container's first process", detail).into()
    })
}
