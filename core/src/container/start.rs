//! Starting a container: from its options, its image and the host to a running program.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::mpsc::{Receiver, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::fs::{Mode, OFlags};

use coble_protocol::{
    Commit, Connection, Device, FdList, Ground, Launch, Made, MonitorSpec, Network, ProcessSpec,
    ProvidedFile, Report, Rootfs, Started,
};

use super::live::RunDir;
use super::take::Held;
use super::{
    Container, ContainerSpec, Isolation, Lifetime, NetworkMode, State, Stdio, StdioMode, Warning, command,
    create, namespace, report, resources, validate,
};
use crate::cancel::CancelToken;
use crate::cgroup::Created;
use crate::engine::Inner;
use crate::error::{Call, Context, Error, ErrorKind, Result};
use crate::image::{self, ResolvedImage};
use crate::isolation::{capabilities, defaults, files};
use crate::log;
use crate::process::{self, Deadline};
use crate::snapshot;
use crate::state::{BASE, ContainerRow, Locked, containers, now_nanos};

/// How long a killed monitor may take to end.
pub(super) const ENDING: Duration = Duration::from_secs(30);

/// A started container, as its starter holds it.
pub(super) struct Running {
    /// The control socket of the monitor: tells the end.
    pub(super) control: Connection,
    /// The monitor.
    pub(super) monitor: OwnedFd,
    /// The container's first process.
    pub(super) init: OwnedFd,
    pub(super) isolation: Isolation,
    pub(super) warnings: Vec<Warning>,
    pub(super) timings: Vec<(String, Duration)>,
    /// Of a container that runs once: its lock, which the monitor has too.
    pub(super) lock: Option<Locked>,
}

/// A monitor that is on its way while the engine prepares what it is for. Dropped, it ends.
pub(super) struct Launched {
    control: Connection,
    /// Where the container waits for its network namespace, if it is the engine that makes it.
    network: Option<Connection>,
}

/// A launch that may not be over yet.
pub(super) struct Launching(Receiver<Result<Launched>>);

impl Launching {
    fn over(self) -> Result<Launched> {
        // Closed without a word only if the thread that launches has panicked, and then nobody hears this.
        self.0.recv().unwrap_or_else(|_| Err(Error::new(ErrorKind::Panic, "starting the monitor panicked")))
    }
}

/// Starts the monitor of a container, and does the work that prepares the container beside. It is this thread that starts the monitor, since the kernel holds up the
/// one that does it until the monitor is executed: a helper gets its processor meanwhile, where the other way round the helper would wait for one.
pub(super) fn launching<R: Send>(
    inner: &Inner,
    network: NetworkMode,
    work: impl FnOnce(Launching) -> R + Send,
) -> R {
    let (sender, launched) = channel();
    // It owns the sender, so that a panic here lets the helper end.
    let launch = move || {
        // Nobody hears it if the preparation has failed by now. Then the monitor ends.
        let _ = sender.send(launch(inner, network));
    };
    process::beside("coble-prepare", move || work(Launching(launched)), launch).1
}

/// Starts the monitor of a container.
fn launch(inner: &Inner, network: NetworkMode) -> Result<Launched> {
    let network = match network {
        NetworkMode::None => Network::None,
        NetworkMode::Host => Network::Host,
    };
    let mut fds = FdList::default();
    let channel = match network {
        Network::None if !inner.rootless() => Some(namespace::channel()?),
        _ => None,
    };
    // In a user namespace everything belongs to that, so the shim makes it.
    let made = match inner.rootless() {
        true => None,
        false => Some(Made { network: channel.as_ref().map(|(_, theirs)| fds.push(theirs.as_fd())) }),
    };
    namespace::check_children()?;
    let ground = Ground { userns: inner.userns.clone(), network, made };
    let control = inner.shim()?.start(&Launch::Monitor(ground), fds.as_slice())?;
    Ok(Launched { control, network: channel.map(|(ours, _)| ours) })
}

impl Container {
    /// Starts the program. Returns when it runs. A container that has run before is started again, on what it wrote.
    pub fn start(&self, stdio: Stdio, cancel: &CancelToken) -> Result<()> {
        let inner = &*self.engine.inner()?;
        let doing = || format!("starting container \"{}\"", self.name());
        let Held::Stopped { mut row, run_dir, lock } = self.hold(inner, cancel).context(doing)? else {
            let why = format!("container \"{}\" is running", self.name());
            return Err(Error::new(ErrorKind::InvalidState, why).with_object(self.name())).context(doing);
        };
        if row.state()? == State::Running {
            // Its end was not noticed yet.
            super::wait::finish(&mut row, run_dir.exit());
            containers::update(&inner.store.db, &row)?;
        }
        let image = image::resolve(&inner.store, &row.image_id).context(doing)?;
        let spec = row.spec()?;
        launching(inner, spec.network, |launching| {
            let deadline = Deadline::never();
            let order = Order {
                spec: &spec,
                image: &image,
                run_dir: &run_dir,
                stdio,
                launching,
                once: false,
                deadline,
            };
            start(inner, &mut row, lock, order, cancel).context(doing)
        })?;
        Ok(())
    }
}

/// What is to be started, and how.
pub(super) struct Order<'a> {
    pub(super) spec: &'a ContainerSpec,
    pub(super) image: &'a ResolvedImage,
    pub(super) run_dir: &'a RunDir,
    pub(super) stdio: Stdio,
    pub(super) launching: Launching,
    /// It is never started again, and nothing that it writes has to survive. The lock stays with the caller.
    pub(super) once: bool,
    /// When the program has to run.
    pub(super) deadline: Deadline,
}

/// Starts the container of a row whose lock the caller holds. The row is updated, also when it fails.
pub(super) fn start(
    inner: &Inner,
    row: &mut ContainerRow,
    lock: Locked,
    order: Order<'_>,
    cancel: &CancelToken,
) -> Result<Running> {
    let (run_dir, once) = (order.run_dir, order.once);
    match try_start(inner, row, &lock, order, cancel) {
        Ok(mut running) => {
            if once {
                running.lock = Some(lock);
            } else {
                // From here on the monitor alone holds the lock.
                lock.hand_over();
            }
            Ok(running)
        }
        Err(error) => {
            let _ = inner.cgroups.remove(&row.id);
            let _ = run_dir.clear();
            row.state = State::Exited.name().to_owned();
            row.exit_code = Some(i32::from(error.kind().exit_status()));
            row.error = Some(error.to_string());
            row.finished_at = Some(now_nanos());
            row.pid = None;
            // The first error is the one that matters.
            let _ = containers::update(&inner.store.db, row);
            // Only now: whoever has the lock next finds nothing of this start.
            drop(lock);
            Err(error)
        }
    }
}

fn try_start(
    inner: &Inner,
    row: &mut ContainerRow,
    lock: &Locked,
    order: Order<'_>,
    cancel: &CancelToken,
) -> Result<Running> {
    let Order { spec, image, run_dir, stdio, launching, once, deadline } = order;
    let begin = Instant::now();
    let security = validate::spec(spec)?;
    run_dir.clear()?;
    let mut lower = snapshot::ensure(&inner.store, inner, image, cancel)?;
    lower.push(BASE.to_owned());
    let resolved = begin.elapsed();

    let mut warnings: Vec<Warning> = inner.host_warnings.clone();
    let cgroup = inner.cgroups.create(&row.id, &resources::limits(spec)?, !inner.rootless())?;
    warnings.extend(cgroup.warnings.iter().cloned());
    let bounding = allowed_capabilities(spec, &cgroup, inner.rootless(), &mut warnings)?;
    let hostname = hostname_of(spec, &row.id);
    let process = command::process(spec, &image.config, security, &hostname, bounding)?;

    let open_dir = |path: &std::path::Path| {
        rustix::fs::open(path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
            .call("open", path)
    };
    let layers = open_dir(&inner.store.paths.layers())?;
    let directory = create::directory(inner, &row.id);
    let container = open_dir(&directory)?;
    let starter = process::of_this_process()?;
    let streams = Streams::open(stdio, &directory)?;

    let mut fds = FdList::default();
    let monitor_spec = MonitorSpec {
        id: row.id.clone(),
        host_namespaces: namespace::of_the_host()?,
        rootfs: Rootfs::Overlay {
            layers: fds.push(layers.as_fd()),
            lower,
            container: fds.push(container.as_fd()),
            userxattr: inner.rootless(),
        },
        hostname: hostname.clone(),
        files: provided_files(spec, &hostname)?,
        masked_paths: if security.system_paths { defaults::masked_paths() } else { Vec::new() },
        readonly_paths: if security.system_paths { owned(defaults::READONLY_PATHS) } else { Vec::new() },
        devices: devices(),
        shm_size: spec.shm_size.unwrap_or(64 << 20),
        readonly_root: spec.read_only,
        cgroup_procs: cgroup.procs.iter().map(|fd| fds.push(fd.as_fd())).collect(),
        cgroup_home: cgroup.home.as_ref().map(|fd| fds.push(fd.as_fd())),
        cgroup_view: cgroup.view,
        stdio: streams.describe(&mut fds),
        lifetime: match spec.lifetime {
            Lifetime::Session => coble_protocol::Lifetime::Session(fds.push(starter.as_fd())),
            Lifetime::Detached => coble_protocol::Lifetime::Detached(fds.push(starter.as_fd())),
        },
        once,
        run_dir: fds.push(run_dir.as_fd()),
        lock: fds.push(lock.as_fd()),
        process,
        sysctls: resources::sysctls(spec),
    };
    let prepared = begin.elapsed();

    let Launched { control, network } = launching.over()?;
    let launched = begin.elapsed();
    // A helper that has failed by now has said why.
    let sent = control.send(&monitor_spec, fds.as_slice());
    let maker = network.and_then(namespace::provide);
    let (started, monitor, init) = hear_start(&control, deadline, cancel)?;
    // Over, since the container has it. Where it does not start nobody waits: the kernel may keep the maker for long.
    drop(maker.map(JoinHandle::join));
    sent.map_err(|error| {
        Error::new(ErrorKind::MonitorLost, format!("sending the monitor its task: {error}"))
    })?;
    let running = begin.elapsed();

    warnings.extend(started.warnings.iter().map(process::warning_of));
    let isolation = report::isolation(&started.isolation, &cgroup.limits, inner.rootless());
    let mut timings = vec![
        ("resolve".to_owned(), resolved),
        ("prepare".to_owned(), prepared - resolved),
        ("launch".to_owned(), launched - prepared),
    ];
    timings.extend(report::phases(&started.timings, running - launched));
    row.state = State::Running.name().to_owned();
    row.started_at = Some(started.started_at);
    row.finished_at = None;
    row.exit_code = None;
    row.error = None;
    row.pid = process::host_pid(&init);
    let recorded = row
        .set_run(&containers::RunInfo { isolation: Some(isolation.clone()), warnings: warnings.clone() })
        .and_then(|()| containers::update(&inner.store.db, row));
    // What is not on record must not run. Without the word the monitor ends it, as it does when this process ends here.
    if let Err(error) = recorded {
        drop(control);
        let _ = process::readable(&monitor, Deadline::after(Some(ENDING)), &CancelToken::never(), "its end");
        return Err(error);
    }
    if !once {
        // A monitor that does not hear it has ended, and its program before it.
        let _ = control.send(&Commit, &[]);
    }
    Ok(Running { control, monitor, init, isolation, warnings, timings, lock: None })
}

/// Waits for the monitor's word that the program runs. When this fails, there is no monitor any more.
fn hear_start(
    control: &Connection,
    deadline: Deadline,
    cancel: &CancelToken,
) -> Result<(Started, OwnedFd, OwnedFd)> {
    let lost = |why: String| Error::new(ErrorKind::MonitorLost, why);
    let report = process::report(control, deadline, cancel, "the program was not started");
    if report.is_err() {
        call_off(control);
    }
    match report? {
        (Report::Started(started), mut fds) => {
            let mut take =
                |n| fds.take_nth(n).map_err(|error| lost(format!("the monitor's report: {error}")));
            let (monitor, init) = (take(0)?, take(1)?);
            Ok((*started, monitor, init))
        }
        _ => Err(lost("the monitor sent an unexpected report".into())),
    }
}

/// Makes a monitor that has not told of its program end, and waits until it has, since it has the lock too.
fn call_off(control: &Connection) {
    let _ = rustix::net::shutdown(control, rustix::net::Shutdown::Write);
    let deadline = Deadline::after(Some(ENDING));
    while process::readable(control, deadline, &CancelToken::never(), "its end").is_ok() {
        match control.recv::<Report>() {
            // Too late for it to notice.
            Ok(Some((Report::Started(_), mut fds))) => {
                if let Ok(monitor) = fds.take_nth(0) {
                    let _ = process::send_signal(&monitor, super::Signal::KILL, "monitor");
                    let _ = process::readable(&monitor, deadline, &CancelToken::never(), "its end");
                }
            }
            Ok(Some(_)) => {}
            Ok(None) | Err(_) => return,
        }
    }
}

/// The capabilities that were asked for, less those that the host cannot give safely.
fn allowed_capabilities(
    spec: &ContainerSpec,
    cgroup: &Created,
    rootless: bool,
    warnings: &mut Vec<Warning>,
) -> Result<u64> {
    let (mut bounding, missing) = capabilities::available(command::bounding(spec)?, &spec.cap_add, rootless)?;
    warnings.extend(missing);
    let mknod = 1 << capabilities::MKNOD;
    if !rootless && !cgroup.devices_enforced && bounding & mknod != 0 {
        bounding &= !mknod;
        warnings.push(Warning {
            code: "mknod-dropped".into(),
            message:
                "the container has no CAP_MKNOD: this host lets nobody restrict which devices it may open"
                    .into(),
        });
    }
    Ok(bounding)
}

/// The host name: what was asked for, else the beginning of the id; on the host's network the host's name, as docker has it. The uts namespace is the
/// container's own all the same.
pub(super) fn hostname_of(spec: &ContainerSpec, id: &str) -> String {
    if let Some(name) = &spec.hostname {
        return name.clone();
    }
    let host = rustix::system::uname();
    match host.nodename().to_str() {
        // The host may have a name that we would not accept from anybody.
        Ok(name)
            if spec.network == NetworkMode::Host && validate::host_name("hostname", name, 64).is_ok() =>
        {
            name.to_owned()
        }
        _ => id.chars().take(12).collect(),
    }
}

fn provided_files(spec: &ContainerSpec, hostname: &str) -> Result<Vec<ProvidedFile>> {
    let host_network = spec.network == NetworkMode::Host;
    Ok(vec![
        ProvidedFile {
            path: "/etc/hosts".into(),
            content: files::hosts(hostname, &spec.extra_hosts, host_network)?,
        },
        ProvidedFile {
            path: "/etc/resolv.conf".into(),
            content: files::resolv_conf(&spec.dns, host_network)?,
        },
        ProvidedFile { path: "/etc/hostname".into(), content: files::hostname(hostname)? },
    ])
}

fn devices() -> Vec<Device> {
    defaults::default_devices()
}

fn owned(paths: &[&str]) -> Vec<String> {
    paths.iter().map(|path| (*path).to_owned()).collect()
}

/// The standard streams of a container's program, opened.
struct Streams {
    stdin: Option<OwnedFd>,
    stdout: Option<OwnedFd>,
    stderr: Option<OwnedFd>,
    log: Option<OwnedFd>,
}

impl Streams {
    fn open(stdio: Stdio, directory: &std::path::Path) -> Result<Streams> {
        let logged = matches!(stdio.stdout, StdioMode::Log) || matches!(stdio.stderr, StdioMode::Log);
        if logged && !(matches!(stdio.stdout, StdioMode::Log) && matches!(stdio.stderr, StdioMode::Log)) {
            return Err(Error::new(
                ErrorKind::InvalidArgument,
                "standard output and error are kept in the log together or not at all",
            ));
        }
        let log = if logged {
            let path = directory.join(log::FILE);
            let flags = OFlags::WRONLY | OFlags::APPEND | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            Some(rustix::fs::open(&path, flags, Mode::RUSR | Mode::WUSR).call("open", &path)?)
        } else {
            None
        };
        Ok(Streams {
            stdin: stream(stdio.stdin, rustix::stdio::stdin())?,
            stdout: stream(stdio.stdout, rustix::stdio::stdout())?,
            stderr: stream(stdio.stderr, rustix::stdio::stderr())?,
            log,
        })
    }

    fn describe<'a>(&'a self, fds: &mut FdList<'a>) -> coble_protocol::Stdio {
        let mut push = |fd: &'a Option<OwnedFd>| fd.as_ref().map(|fd| fds.push(fd.as_fd()));
        match &self.log {
            Some(log) => {
                let stdin = push(&self.stdin);
                coble_protocol::Stdio::Log { file: fds.push(log.as_fd()), stdin }
            }
            None => coble_protocol::Stdio::Pass {
                stdin: push(&self.stdin),
                stdout: push(&self.stdout),
                stderr: push(&self.stderr),
            },
        }
    }
}

/// The descriptor of a stream; None for `/dev/null`, and for a log, which the monitor opens pipes for.
pub(super) fn stream(mode: StdioMode, own: std::os::fd::BorrowedFd<'_>) -> Result<Option<OwnedFd>> {
    match mode {
        StdioMode::Null | StdioMode::Log => Ok(None),
        StdioMode::Fd(fd) => Ok(Some(fd)),
        StdioMode::Inherit => {
            let copy =
                rustix::io::fcntl_dupfd_cloexec(own, 3).call("fcntl", "standard stream of this process")?;
            Ok(Some(copy))
        }
        StdioMode::Pipe => Err(Error::new(
            ErrorKind::InvalidArgument,
            "a container's own streams are files, the log or nothing; pipes are made by popen",
        )),
    }
}

/// What exec needs to know of a running container.
pub(super) fn process_of(inner: &Inner, row: &ContainerRow) -> Result<ProcessSpec> {
    let spec: ContainerSpec = row.spec()?;
    let security = validate::spec(&spec)?;
    let image = image::resolve(&inner.store, &row.image_id)?;
    let hostname = hostname_of(&spec, &row.id);
    // The same set as the container's program really has: what was not available then is not now.
    let asked = command::bounding(&spec)?;
    let bounding = match row.run()?.isolation {
        Some(isolation) => asked & capabilities::mask(&isolation.capabilities.bounding),
        None => asked,
    };
    command::process(&spec, &image.config, security, &hostname, bounding)
}
