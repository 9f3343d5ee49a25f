//! Starting a container: from its options, its image and the host to a running program.

use std::cell::RefCell;
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::fs::{Mode, OFlags};

use coble_protocol::{
    Commit, Connection, Dev, FdList, Ground, Input, Launch, Made, MonitorSpec, Network, OomSpec, ProcessSpec,
    ProvidedFile, Report, Rootfs, Started,
};

use super::live::RunDir;
use super::spaces::{Joined, Names};
use super::take::Held;
use super::validate::Seccomp;
use super::{
    Container, ContainerSpec, Isolation, Lifetime, NamespaceMode, NetworkMode, State, Stdio, StdioMode,
    Warning, command, create, frozen, hooks, namespace, places, proxies, report, resources, source, userns,
    validate,
};
use crate::cancel::CancelToken;
use crate::cgroup::Created;
use crate::distribution::Places;
use crate::engine::Inner;
use crate::error::{Call, Context, Error, ErrorKind, Result};
use crate::image::ResolvedImage;
use crate::isolation::devices::Devices;
use crate::isolation::mounts::Mounts;
use crate::isolation::{accounts, capabilities, devices, files, labels, paths, seccomp};
use crate::log::attributes::About;
use crate::log::driver::{Log, Settings};
use crate::process::{self, Deadline, Workers};
use crate::snapshot;
use crate::state::{ContainerRow, Locked, containers, now_nanos};

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
    /// What went wrong at the end.
    pub(super) complaints: RefCell<Vec<Warning>>,
    pub(super) timings: Vec<(String, Duration)>,
    /// Of a container that runs once: its lock, which the monitor has too.
    pub(super) lock: Option<Locked>,
    /// The master of the program's terminal, and its other end, if the starter wanted it.
    pub(super) terminal: Option<(OwnedFd, OwnedFd)>,
    /// The file of the log, if there is one, and its length before the program ran.
    pub(super) log: Option<(File, u64)>,
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
    /// One that is over at once.
    pub(super) fn now(inner: &Inner, foreseen: Foreseen) -> Launching {
        let (sender, launched) = channel();
        // The other end is here.
        let _ = sender.send(launch(inner, foreseen));
        Launching(launched)
    }

    pub(super) fn over(self) -> Result<Launched> {
        // Closed without a word only if the thread that launches has panicked, and then nobody hears this.
        self.0.recv().unwrap_or_else(|_| Err(Error::new(ErrorKind::Panic, "starting the monitor panicked")))
    }
}

/// Starts the monitor of a container, and does the work that prepares the container beside. It is this thread that starts the monitor, since the kernel holds up the
/// one that does it until the monitor is executed: a helper gets its processor meanwhile, where the other way round the helper would wait for one.
pub(super) fn launching<R: Send>(
    inner: &Inner,
    foreseen: Foreseen,
    work: impl FnOnce(Launching) -> R + Send,
) -> R {
    let (sender, launched) = channel();
    // It owns the sender, so that a panic here lets the helper end.
    let launch = move || {
        // Nobody hears it if the preparation has failed by now. Then the monitor ends.
        let _ = sender.send(launch(inner, foreseen));
    };
    process::beside("coble-prepare", move || work(Launching(launched)), launch).1
}

/// What a monitor gets to know of its container at once.
#[derive(Debug, Clone)]
pub(super) struct Foreseen {
    network: Network,
    joined: Arc<Joined>,
    dev: Dev,
    /// The container has a user namespace of its own, and the engine needs none.
    mapped: bool,
}

impl Foreseen {
    /// Opens what the container joins, which the monitor has to stand on.
    pub(super) fn of(inner: &Inner, spec: &ContainerSpec, cancel: &CancelToken) -> Result<Foreseen> {
        let joined = Joined::open(inner, spec, cancel)?;
        Ok(Foreseen {
            network: joined.network(spec),
            mapped: is_mapped(spec, &joined),
            joined: Arc::new(joined),
            dev: Dev { devices: devices::nodes(spec, inner.rootless()), shm_size: shm_size(spec) },
        })
    }

    /// What the container joins.
    pub(super) fn joined(&self) -> Arc<Joined> {
        self.joined.clone()
    }
}

/// Whether a container has a user namespace that is not the monitor's.
fn is_mapped(spec: &ContainerSpec, joined: &Joined) -> bool {
    userns::is_own(spec) || joined.maps.is_some()
}

/// Starts the monitor of a container.
fn launch(inner: &Inner, Foreseen { network, joined, dev, mapped }: Foreseen) -> Result<Launched> {
    let mut fds = FdList::default();
    let channel = match network {
        // What belongs to the container's user namespace is made in that.
        Network::None if !inner.rootless() && !mapped => Some(namespace::channel()?),
        _ => None,
    };
    // In a user namespace everything belongs to that, so the shim makes it.
    let made = match inner.rootless() {
        true => None,
        false => Some(Made { network: channel.as_ref().map(|(_, theirs)| fds.push(theirs.as_fd())), dev }),
    };
    namespace::check_children()?;
    let userns = joined.userns(inner.userns.as_ref(), &mut fds);
    let ground = Ground { userns, network, shared_pids: joined.shares_pids(), mapped, made };
    let control = inner.shim()?.start(&Launch::Monitor(ground), fds.as_slice())?;
    Ok(Launched { control, network: channel.map(|(ours, _)| ours) })
}

impl Container {
    /// Starts the program. Returns when it runs. A container that has run before is started again, on what it wrote.
    pub fn start(&self, stdio: Stdio, cancel: &CancelToken) -> Result<()> {
        self.start_with(&*self.engine.inner()?, stdio, [None, None], cancel).map(drop)
    }

    /// As [`Container::start`], for one who wants to hear more. `readers` are pipes that do not wait, which get what goes to the log, too.
    pub(super) fn start_with(
        &self,
        inner: &Inner,
        stdio: Stdio,
        readers: [Option<OwnedFd>; 2],
        cancel: &CancelToken,
    ) -> Result<Running> {
        let doing = || format!("starting container \"{}\"", self.name());
        let Held::Stopped { mut row, run_dir, lock } = self.hold(inner, cancel).context(doing)? else {
            let why = format!("container \"{}\" is running", self.name());
            return Err(Error::new(ErrorKind::InvalidState, why).with_object(self.name())).context(doing);
        };
        refuse_foreign(inner, &row).context(doing)?;
        if row.state()? == State::Running {
            // Its end was not noticed yet.
            if !super::wait::settle_end(inner, &mut row, Some(&run_dir), run_dir.exit())? {
                row = self.row(inner)?;
            }
            row.journal = run_dir.journal(row.journal).last().map_or(row.journal, |last| last.number);
        }
        let image = super::image_of(inner, &row).context(doing)?;
        let mut spec = row.spec()?;
        inner.secrets.fill(&row.id, &mut spec);
        let foreseen = Foreseen::of(inner, &spec, cancel).context(doing)?;
        let joined = foreseen.joined();
        launching(inner, foreseen, |launching| {
            let deadline = Deadline::never();
            let order = Order {
                spec: &spec,
                image: &image,
                run_dir: &run_dir,
                joined: &joined,
                stdio,
                readers,
                launching,
                once: false,
                deadline,
            };
            start(inner, &mut row, lock, order, cancel).context(doing)
        })
    }
}

/// Fails for a container of another engine's session: it would end with the process that starts it, and that is not the one that it belongs to.
pub(super) fn refuse_foreign(inner: &Inner, row: &ContainerRow) -> Result<()> {
    match &row.session {
        Some(session) if !inner.owns_session(session) => {
            let why = format!("container \"{}\" belongs to the session of another engine", row.name);
            Err(Error::new(ErrorKind::InvalidState, why)
                .with_object(&row.name)
                .with_hint("start it there, or create it detached"))
        }
        _ => Ok(()),
    }
}

/// What is to be started, and how.
pub(super) struct Order<'a> {
    pub(super) spec: &'a ContainerSpec,
    pub(super) image: &'a ResolvedImage,
    pub(super) run_dir: &'a RunDir,
    pub(super) joined: &'a Joined,
    pub(super) stdio: Stdio,
    /// Pipes that do not wait, which get what is kept of the outputs, too.
    pub(super) readers: [Option<OwnedFd>; 2],
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
            // Only now: whoever has the lock next finds nothing of this start. If the monitor was killed, that are the hooks for the end. What
            // they have to say is less than why the start has failed, which nobody has to wait for.
            drop(hooks::begin_owed(inner, row, run_dir, lock));
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
    let Order { spec, image, run_dir, joined, stdio, readers, launching, once, deadline } = order;
    let begin = Instant::now();
    let security = validate::spec(spec)?;
    let directory = create::directory(inner, &row.id);
    if row.started_at.is_some() && run_dir.exit().is_none() {
        // Its last monitor was killed.
        Settings::of(spec)?.mend(&directory)?;
    }
    // What is run once has a new one.
    if !once {
        run_dir.clear()?;
    }
    let mut lower = frozen::lower(row)?;
    let owners = userns::on_disk(inner, row, spec)?;
    let workers = Workers::new(inner, owners.as_ref());
    lower.extend(snapshot::ensure(&inner.store, &workers, image, cancel)?);
    let rootfs = source::open(spec)?;
    let resolved = begin.elapsed();

    let mut warnings: Vec<Warning> = inner.host_warnings.clone();
    let beyond = spec.beyond.as_deref();
    warnings.extend(beyond.iter().flat_map(|beyond| beyond.warnings.iter().cloned()));
    let devices = Devices::open(spec, inner.rootless(), &mut warnings)?;
    let cgroup = inner.cgroups.create(
        &row.id,
        spec.cgroup_parent.as_deref(),
        joined.shares_pids(),
        &resources::limits(spec)?,
        devices.rules.as_deref(),
    )?;
    // What is run once is not run again.
    let restart = if once { None } else { spec.restart_policy.plan() };
    // A run that is waited for is looked at in the end.
    let watched = restart.is_some() || (!once && spec.mem_limit.is_some());
    let oom = watched.then(|| inner.cgroups.oom_counter(&row.id)).flatten();
    warnings.extend(cgroup.warnings.iter().cloned());
    if joined.shares_pids() && cgroup.home.is_none() {
        return Err(no_way_to_end());
    }
    let confined = inner.rootless() || is_mapped(spec, joined);
    let bounding = allowed_capabilities(spec, &cgroup, confined, &mut warnings)?;
    labels::check(&security, inner.rootless(), &mut warnings)?;
    if let Seccomp::Profile(text) = &security.seccomp {
        seccomp::warn_of_unknown(text, bounding, &mut warnings)?;
    }
    let names = Names::of(spec, &row.id);
    let mut process = command::process(spec, &image.config, &security, &names.hostname, bounding)?;
    if let Some(terminal) = &mut process.terminal {
        // A run collects what the program writes.
        terminal.given = once;
    }

    let open_dir = |path: &std::path::Path| {
        rustix::fs::open(path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
            .call("open", path)
    };
    let layers = open_dir(&inner.store.paths.layers())?;
    let container = open_dir(&directory)?;
    let starter = process::of_this_process()?;
    let about = About {
        id: &row.id,
        name: &row.name,
        image: &row.image,
        image_id: &row.image_id,
        labels: &spec.labels,
        environment: &process.env,
    };
    let streams = Streams { readers, ..Streams::open(stdio, spec, once, &directory, &about)? };
    let log = streams.log.as_ref().map(|log| log.reader(&directory)).transpose()?;
    if spec.use_config_proxy {
        match proxies::variables(&Places::of_process()) {
            Ok(proxies) => command::add_proxies(&mut process.env, spec, &proxies),
            Err(error) => {
                warnings.push(Warning { code: "config-proxy-not-used".into(), message: error.to_string() })
            }
        }
    }
    let mapped = is_mapped(spec, joined);
    let mounts = Mounts::open(inner, spec, devices.binds, mapped, &mut warnings, cancel)?;
    let paths = paths::of(spec, &security);
    let maps = match &joined.maps {
        None => userns::ids(inner, row, spec)?,
        maps => maps.clone(),
    };

    let mut fds = FdList::default();
    let monitor_spec = MonitorSpec {
        id: row.id.clone(),
        host_namespaces: namespace::of_the_host()?,
        rootfs: Rootfs::Overlay {
            layers: fds.push(layers.as_fd()),
            lower,
            directory: rootfs.as_ref().map(|fd| fds.push(fd.as_fd())),
            base: places::base(inner, &row.id),
            container: fds.push(container.as_fd()),
            userxattr: inner.rootless(),
        },
        spaces: joined.describe(spec, &mut fds),
        maps,
        hostname: names.hostname.clone(),
        domainname: names.domainname.clone(),
        files: provided_files(&names, spec.tz.as_deref())?,
        accounts: accounts::of(spec),
        masked_paths: paths.masked,
        readonly_paths: paths.readonly,
        devices: devices::nodes(spec, inner.rootless()),
        shm_size: shm_size(spec),
        readonly_root: spec.read_only,
        init: spec.init,
        cgroup_procs: cgroup.procs.iter().map(|fd| fds.push(fd.as_fd())).collect(),
        cgroup_home: cgroup.home.as_ref().map(|fd| fds.push(fd.as_fd())),
        oom: oom.as_ref().map(|(counter, event)| OomSpec {
            counter: fds.push(counter.as_fd()),
            event: event.as_ref().map(|event| fds.push(event.as_fd())),
        }),
        cgroup_view: cgroup.view,
        stdio: streams.describe(&mut fds),
        lifetime: match spec.lifetime {
            Lifetime::Session => coble_protocol::Lifetime::Session(fds.push(starter.as_fd())),
            Lifetime::Detached => coble_protocol::Lifetime::Detached(fds.push(starter.as_fd())),
        },
        once,
        run_dir: fds.push(run_dir.as_fd()),
        lock: fds.push(lock.as_fd()),
        sysctls: resources::sysctls(spec),
        journal: row.journal,
        mounts: mounts.describe(&mut fds, !inner.rootless()),
        locks: mounts.describe_locks(&mut fds),
        privileged: spec.privileged,
        writable_cgroups: security.writable_cgroups,
        health: super::health::plan(spec, &image.config, &process),
        restart,
        run_timeout: spec.run_timeout,
        hooks: super::Hooks::plan(spec, &row.id, &directory)?,
        process,
    };
    let prepared = begin.elapsed();

    let Launched { control, network } = launching.over()?;
    let launched = begin.elapsed();
    // A helper that has failed by now has said why.
    let sent = control.send(&monitor_spec, fds.as_slice());
    let maker = network
        .and_then(|channel| namespace::provide(channel, &inner.spare_network, &monitor_spec.host_namespaces));
    let (started, monitor, init, terminal) = hear_start(&control, deadline, cancel)?;
    // Over, since the container has it. Where it does not start nobody waits: the kernel may keep the maker for long.
    drop(maker.map(JoinHandle::join));
    sent.map_err(|error| {
        Error::new(ErrorKind::MonitorLost, format!("sending the monitor its task: {error}"))
    })?;
    let running = begin.elapsed();

    warnings.extend(started.warnings.iter().map(process::warning_of));
    let rules = devices.rules.as_deref().filter(|_| cgroup.devices_enforced).unwrap_or_default();
    let isolation =
        report::isolation(&started.isolation, &cgroup.limits, joined, inner.rootless(), &security, rules);
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
        .set_run(&containers::RunInfo {
            isolation: Some(isolation.clone()),
            warnings: warnings.clone(),
            timings: if once { Vec::new() } else { report::recorded(&timings) },
            ..containers::RunInfo::default()
        })
        .and_then(|()| containers::started(&inner.store.db, row));
    // What is not on record must not run. Without the word the monitor ends it, as it does when this process ends here.
    if let Err(error) = recorded {
        drop(control);
        let _ = process::readable(&monitor, Deadline::after(Some(ENDING)), &CancelToken::never(), "its end");
        return Err(error);
    }
    mounts.hand_over();
    if !once {
        // A monitor that does not hear it has ended, and its program before it.
        let _ = control.send(&Commit, &[]);
    }
    let complaints = RefCell::default();
    Ok(Running {
        control,
        monitor,
        init,
        isolation,
        warnings,
        complaints,
        timings,
        lock: None,
        terminal,
        log,
    })
}

/// The monitor's word, its pidfd and that of the program, and both ends of a terminal.
type Heard = (Started, OwnedFd, OwnedFd, Option<(OwnedFd, OwnedFd)>);

/// Waits for the monitor's word that the program runs. When this fails, there is no monitor any more.
fn hear_start(control: &Connection, deadline: Deadline, cancel: &CancelToken) -> Result<Heard> {
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
            let terminal = take(2).ok().zip(take(3).ok());
            Ok((*started, monitor, init, terminal))
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
/// Where nothing kills everything of a container at once, it cannot be among the processes of others: some of it could outlive its monitor.
fn no_way_to_end() -> Error {
    Error::new(
        ErrorKind::Unsupported,
        "a container without a pid namespace of its own needs a cgroup of version 2, by which all of it is ended, and this host lets the caller make none",
    )
    .with_object("pid_mode")
    .with_hint("run it as root, or with a delegated cgroup: systemd-run --user --scope -p Delegate=yes")
}

/// The capabilities that were asked for, less those that the host cannot give safely.
fn allowed_capabilities(
    spec: &ContainerSpec,
    cgroup: &Created,
    rootless: bool,
    warnings: &mut Vec<Warning>,
) -> Result<u64> {
    let (mut bounding, missing) = {
        let all = ["ALL".to_owned()];
        let add = if spec.privileged { &all[..] } else { &spec.cap_add };
        capabilities::available(command::bounding(spec)?, add, rootless)?
    };
    warnings.extend(missing);
    if !rootless && !spec.privileged && !cgroup.devices_enforced {
        take_mknod(&mut bounding, "the container", warnings);
    }
    Ok(bounding)
}

/// Takes the capability to make devices away, from whom nothing keeps from using them.
fn take_mknod(bounding: &mut u64, who: &str, warnings: &mut Vec<Warning>) {
    let mknod = 1 << capabilities::MKNOD;
    if *bounding & mknod != 0 {
        *bounding &= !mknod;
        warnings.push(Warning {
            code: "mknod-dropped".into(),
            message: format!(
                "{who} has no CAP_MKNOD: this host lets nobody restrict which devices it may open"
            ),
        });
    }
}

/// The host name: what was asked for, else the beginning of the id; on the host's network the host's name, as docker has it, though the uts namespace is the
/// container's own all the same; on that of another container its name.
pub(super) fn hostname_of(spec: &ContainerSpec, id: &str) -> String {
    if let Some(name) = spec.names.as_deref().map(|names| &names.hostname).or(spec.hostname.as_ref()) {
        return name.clone();
    }
    let host = rustix::system::uname();
    match host.nodename().to_str() {
        // The host may have a name that we would not accept from anybody.
        Ok(name)
            if (spec.network == NetworkMode::Host || spec.uts_mode == NamespaceMode::Host)
                && validate::host_name("hostname", name, 64).is_ok() =>
        {
            name.to_owned()
        }
        _ => id.chars().take(12).collect(),
    }
}

fn provided_files(names: &Names, tz: Option<&str>) -> Result<Vec<ProvidedFile>> {
    let mut all = vec![
        ProvidedFile { path: "/etc/hosts".into(), content: files::hosts(names)? },
        ProvidedFile { path: "/etc/resolv.conf".into(), content: files::resolv_conf(names)? },
        ProvidedFile { path: "/etc/hostname".into(), content: files::hostname(&names.hostname)? },
    ];
    if let Some(tz) = tz {
        all.push(ProvidedFile { path: accounts::LOCALTIME.into(), content: accounts::zone(tz)? });
    }
    Ok(all)
}

fn shm_size(spec: &ContainerSpec) -> u64 {
    spec.shm_size.unwrap_or(64 << 20)
}

/// The standard streams of a container's program, opened.
struct Streams {
    stdin: Option<OwnedFd>,
    stdout: Option<OwnedFd>,
    stderr: Option<OwnedFd>,
    log: Option<Log>,
    /// Who gets it, too.
    readers: [Option<OwnedFd>; 2],
    /// What is kept is thrown away.
    kept: bool,
    /// They are a terminal.
    tty: bool,
    /// Standard input is kept open for others, and if so, whether for one only.
    open: Option<bool>,
}

impl Streams {
    fn open(
        stdio: Stdio,
        spec: &ContainerSpec,
        once: bool,
        directory: &std::path::Path,
        about: &About<'_>,
    ) -> Result<Streams> {
        let refused = |why: &str| Err(Error::new(ErrorKind::InvalidArgument, why));
        let kept = [&stdio.stdout, &stdio.stderr].map(|mode| matches!(mode, StdioMode::Log));
        if kept[0] != kept[1] {
            return refused("standard output and error are kept in the log together or not at all");
        }
        let plain = |mode: &StdioMode| matches!(mode, StdioMode::Null | StdioMode::Log);
        if spec.tty && ![&stdio.stdin, &stdio.stdout, &stdio.stderr].into_iter().all(plain) {
            return refused("the streams of a program with a terminal are that terminal: attach to it");
        }
        let log = if kept[0] { Settings::of(spec)?.open(directory, about)? } else { None };
        let open = spec.stdin_open && !once && matches!(stdio.stdin, StdioMode::Null);
        Ok(Streams {
            stdin: stream(stdio.stdin, rustix::stdio::stdin())?,
            stdout: stream(stdio.stdout, rustix::stdio::stdout())?,
            stderr: stream(stdio.stderr, rustix::stdio::stderr())?,
            log,
            readers: [None, None],
            kept: kept[0],
            tty: spec.tty,
            open: open.then_some(spec.stdin_once),
        })
    }

    fn describe<'a>(&'a self, fds: &mut FdList<'a>) -> coble_protocol::Stdio {
        let log = self.log.as_ref().map(|log| log.describe(fds));
        let mut push = |fd: &'a Option<OwnedFd>| fd.as_ref().map(|fd| fds.push(fd.as_fd()));
        if self.tty {
            return coble_protocol::Stdio::Terminal { log, open: self.open.is_some() };
        }
        match log {
            // What nobody keeps needs no reader, unless there is input to bring.
            log if self.kept
                && (log.is_some() || self.open.is_some() || self.readers.iter().any(Option::is_some)) =>
            {
                let stdin = match (push(&self.stdin), self.open) {
                    (Some(stdin), _) => Input::Pass(stdin),
                    (None, Some(once)) => Input::Open { once },
                    (None, None) => Input::Null,
                };
                let readers = [push(&self.readers[0]), push(&self.readers[1])];
                coble_protocol::Stdio::Log { log, stdin, readers }
            }
            _ => coble_protocol::Stdio::Pass {
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

/// The capabilities of a program in a running container that is privileged though the container need not be, and what it lacks: all that the caller can give. Making devices is not among them
/// where nobody keeps the program from using them.
pub(super) fn privileged(inner: &Inner, row: &ContainerRow) -> Result<(u64, Vec<Warning>)> {
    let run = row.run()?;
    let own_ids = |isolation: &Isolation| {
        isolation.namespaces.iter().any(|one| one.name == "user" && (one.own || one.container.is_some()))
    };
    let confined = inner.rootless() || run.isolation.as_ref().is_some_and(own_ids);
    let all = ["ALL".to_owned()];
    let (mut bounding, mut warnings) =
        capabilities::available(capabilities::from_lists(&all, &[])?, &all, confined)?;
    let restricted = run.isolation.is_some()
        && !run.warnings.iter().any(|warning| warning.code == "device-rules-not-applied");
    if !confined && !restricted && !row.spec()?.privileged {
        take_mknod(&mut bounding, "the program", &mut warnings);
    }
    Ok((bounding, warnings))
}

/// What exec needs to know of a running container. Whether its program has a terminal is no matter to others.
pub(super) fn process_of(inner: &Inner, row: &ContainerRow) -> Result<ProcessSpec> {
    let mut spec: ContainerSpec = row.spec()?;
    spec.tty = false;
    spec.console_size = None;
    let security = validate::spec(&spec)?;
    let image = super::image_of(inner, row)?;
    let hostname = hostname_of(&spec, &row.id);
    // The same set as the container's program really has: what was not available then is not now.
    let asked = command::bounding(&spec)?;
    let bounding = match row.run()?.isolation {
        Some(isolation) => asked & capabilities::mask(&isolation.capabilities.bounding),
        None => asked,
    };
    let mut process = command::process(&spec, &image.config, &security, &hostname, bounding)?;
    // What is wrong with them was said at the start.
    if spec.use_config_proxy
        && let Ok(proxies) = proxies::variables(&Places::of_process())
    {
        command::add_proxies(&mut process.env, &spec, &proxies);
    }
    Ok(process)
}
