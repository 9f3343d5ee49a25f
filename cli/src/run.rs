//! `run`, `create`, `start` and `exec`: the verbs that start programs.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use coble::{
    AttachOptions, CancelToken, Container, ContainerSpec, Error, ErrorKind, ExecSpec, HealthCheck, Hooks,
    Lifetime, Mount, NamespaceMode, NetworkMode, PullPolicy, Ready, RestartPolicy, Secret, Signal, State,
    Stdio, StdioMode, UsernsMode, parse,
};

use crate::args::{Attached, CreateArgs, CreateOptions, ExecArgs, Global, RunArgs, StartArgs};
use crate::attach::{How, ProxyArgs, Shown};
use crate::output::{self, Failure, Outcome};
use crate::signals::{Forwarder, PATIENCE};
use crate::{attach, each, lifecycle, open, pull, refuse, terminal};

pub(crate) fn run(global: &Global, args: RunArgs) -> Outcome {
    let tty = args.options.tty;
    let mut streams = streams(&args);
    // A terminal can be left, so what it shows is read from the log.
    streams.paced = !tty && !args.detach && (streams.stdout || streams.stderr);
    let interactive = streams.stdin;
    let how = match args.detach {
        true => None,
        false => Some(How::new(tty, interactive, &args.keys, &args.proxy)?),
    };
    let quiet = args.options.quiet;
    let conditions = Ready::AllOf(lifecycle::conditions(&args.wait)?);
    let id_file = IdFile::reserve(args.options.cidfile.as_deref())?;
    let mut spec = spec(args.options, args.rm)?;
    spec.stdin_open |= interactive;
    // In the background it is nobody's end that ends it.
    spec.stdin_once = interactive && !args.detach;
    if args.rm && spec.restart_policy != RestartPolicy::No {
        return Err(refuse("--rm and --restart exclude each other", "leave one of them out").into());
    }
    // Without --rm the container stays and may be started again by a process that does not stay with it.
    // Nor does one with a terminal, which can be left.
    let stays = args.rm && !args.detach && !tty;
    let kept = is_kept(&spec, args.rm);
    spec.lifetime = if stays { Lifetime::Session } else { Lifetime::Detached };
    // In the foreground it is removed here, after its exit code was read; its session sees to it if this process is killed.
    spec.auto_remove = args.rm && !stays;
    let engine = open(global)?;
    let container = pull::create(&engine, spec, quiet)?;
    id_file.write(&container)?;
    if args.detach {
        return match container.start(Stdio::log(), &CancelToken::never()) {
            Ok(()) => {
                warn(&container);
                let ready = match args.wait.is_empty() {
                    true => Ok(()),
                    false => {
                        container.wait_ready(&conditions, Some(args.wait_timeout), &CancelToken::never())
                    }
                };
                // It is there, ready or not.
                output::line(container.id())?;
                ready?;
                Ok(0)
            }
            Err(error) => Err(discard(&container, args.rm, error).into()),
        };
    }
    if !streams.stdout && !streams.stderr {
        return fed(&container, &streams);
    }
    if let Some(how) = how.filter(|_| tty || !args.attach.is_empty()) {
        let result = connected(&container, &streams, how);
        if args.rm && !tty {
            remove(&container)?;
        } else if args.rm {
            match &result {
                // It may never have run.
                Err(_) if container.state().is_ok_and(|state| state != State::Running) => remove(&container)?,
                // Looking at one that has ended removes it; one that somebody has left goes on.
                _ => drop(container.state()),
            }
        }
        return result;
    }
    let result = foreground(&container, interactive, args.proxy.sig_proxy, kept);
    if args.rm {
        remove(&container)?;
    }
    result
}

pub(crate) fn create(global: &Global, args: CreateArgs) -> Outcome {
    let (quiet, interactive) = (args.options.quiet, args.options.interactive);
    let id_file = IdFile::reserve(args.options.cidfile.as_deref())?;
    let mut spec = spec(args.options, args.rm)?;
    spec.stdin_once = interactive;
    let container = pull::create(&open(global)?, spec, quiet)?;
    id_file.write(&container)?;
    output::line(container.id())?;
    Ok(0)
}

pub(crate) fn start(global: &Global, args: StartArgs) -> Outcome {
    let engine = open(global)?;
    if args.attach || args.interactive {
        let [name] = args.containers.names.as_slice() else {
            return Err(refuse("--attach takes one container", "start the others without it").into());
        };
        let container = engine.containers().get(name)?;
        let spec = container.inspect()?.spec;
        if !spec.tty {
            let kept = is_kept(&spec, spec.auto_remove);
            return foreground(&container, args.interactive, args.proxy.sig_proxy, kept);
        }
        let input = args.interactive && spec.stdin_open;
        let how = How::new(true, input, &args.keys, &args.proxy)?;
        let mut streams = AttachOptions::default();
        streams.stdin = input;
        return connected(&container, &streams, how);
    }
    each(&args.containers.names, |name| {
        let container = engine.containers().get(name)?;
        container.start(Stdio::log(), &CancelToken::never())?;
        warn(&container);
        output::line(name)
    })
}

pub(crate) fn exec(global: &Global, args: ExecArgs) -> Outcome {
    let Some((name, command)) = args.container_and_command.split_first() else {
        return Err(refuse("no container is named", "give a container and a command").into());
    };
    let mut spec = ExecSpec::new(command);
    spec.environment = environment(&args.env, &args.env_file)?;
    spec.working_dir = args.workdir;
    spec.user = args.user;
    spec.privileged = args.privileged;
    spec.tty = args.tty;
    spec.console_size = terminal::size().filter(|_| args.tty);
    let container = open(global)?.containers().get(name)?;
    if args.detach {
        container.popen(spec, Stdio::null())?;
        return Ok(0);
    }
    if args.tty {
        let proxy = ProxyArgs { sig_proxy: false };
        let how = How::new(true, args.interactive, &args.keys, &proxy)?;
        let stdin = if args.interactive { StdioMode::Pipe } else { StdioMode::Null };
        let stdio = Stdio { stdin, stdout: StdioMode::Pipe, stderr: StdioMode::Null };
        return attach::connect(container.popen(spec, stdio)?, how);
    }
    let stdin = if args.interactive { StdioMode::Inherit } else { StdioMode::Null };
    let process = Arc::new(container.popen(spec, Stdio { stdin, ..Stdio::inherit() })?);
    let forwarder = attach::forward(process.clone())?;
    let code = process.wait(None, &CancelToken::never())?;
    drop(forwarder);
    Ok(exit_status(code))
}

/// The streams that `run` is connected to in the foreground: all of them, or those that were named.
fn streams(args: &RunArgs) -> AttachOptions {
    let named = |stream| args.attach.contains(&stream);
    let mut streams = AttachOptions::default();
    let all = args.attach.is_empty();
    streams.stdin = named(Attached::Stdin) || (all && args.options.interactive);
    streams.stdout = all || named(Attached::Stdout);
    streams.stderr = all || named(Attached::Stderr);
    streams
}

/// As docker has it for standard input alone: gives the program all of it, prints the container's id, and does not wait for its end.
fn fed(container: &Container, streams: &AttachOptions) -> Outcome {
    let process = container.start_attached(streams, &CancelToken::never())?;
    warn(container);
    output::line(container.id())?;
    attach::feed(process);
    Ok(0)
}

/// The file that gets a container's id. It is there from the start, so that nobody else has it; if there comes to be no container, it is gone again.
struct IdFile(Option<(PathBuf, File)>);

impl IdFile {
    fn reserve(path: Option<&Path>) -> Result<IdFile, Error> {
        let Some(path) = path else { return Ok(IdFile(None)) };
        match File::options().write(true).create_new(true).open(path) {
            Ok(file) => Ok(IdFile(Some((path.to_owned(), file)))),
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Err(refuse(
                "the file for the container's id is there already",
                "make sure that the other container is not running, or remove the file",
            )),
            Err(error) => Err(Error::io("open", path, &error)),
        }
    }

    fn write(mut self, container: &Container) -> Result<(), Error> {
        let Some((path, mut file)) = self.0.take() else { return Ok(()) };
        file.write_all(container.id().as_bytes()).map_err(|error| Error::io("write", path, &error))
    }
}

impl Drop for IdFile {
    fn drop(&mut self) {
        if let Some((path, _)) = self.0.take() {
            let _ = std::fs::remove_file(path);
        }
    }
}

/// Whether there will be anybody to read a log of what is shown already. Otherwise the program gets our own streams, and nothing is copied.
fn is_kept(spec: &ContainerSpec, removed: bool) -> bool {
    !removed && spec.log_driver.as_deref() != Some("none")
}

/// Starts a container and is connected to its program.
fn connected(container: &Container, streams: &AttachOptions, how: How) -> Outcome {
    let process = container.start_attached(streams, &CancelToken::never())?;
    warn(container);
    attach::connect(process, how)
}

/// Starts a container with our own streams, passes signals on, and returns its exit code. If its output is to be kept, too, that comes here by way of its monitor.
fn foreground(container: &Container, interactive: bool, proxy: bool, kept: bool) -> Outcome {
    let starting = CancelToken::new();
    let inbox = Arc::new(Mutex::new(Inbox::default()));
    let forwarder = if proxy {
        let (container, starting, inbox) = (container.clone(), starting.clone(), inbox.clone());
        Forwarder::to_program(move |signal, reminder| {
            let (reaction, interrupts) = {
                let mut inbox = lock(&inbox);
                (inbox.receive(signal), inbox.interrupts)
            };
            match reaction {
                Reaction::Keep => {}
                Reaction::Cancel => starting.cancel(),
                Reaction::Send(signal) => {
                    // It may have ended in the meantime.
                    let _ = container.kill(signal);
                    if signal == Signal::INT {
                        reminder.interrupted(interrupts);
                    }
                }
                Reaction::Lose => {
                    output::note(format_args!(
                        "coble: the program ignored {PATIENCE} interrupts: killing it"
                    ));
                    let _ = container.kill(Signal::KILL);
                }
            }
        })?
    } else {
        Forwarder::defaults()?
    };
    let shown = if kept {
        let mut streams = AttachOptions::default();
        streams.paced = true;
        streams.input = if interactive { Some(attach::input()?) } else { None };
        Some(Shown::begin(container.start_attached(&streams, &starting)?)?)
    } else {
        let stdin = if interactive { StdioMode::Inherit } else { StdioMode::Null };
        container.start(Stdio { stdin, ..Stdio::inherit() }, &starting)?;
        None
    };
    let (early, interrupts) = {
        let mut inbox = lock(&inbox);
        (inbox.running(), inbox.interrupts)
    };
    for signal in early {
        let _ = container.kill(signal);
        if signal == Signal::INT {
            forwarder.interrupted(interrupts);
        }
    }
    warn(container);
    let code = container.wait(None, &CancelToken::never())?;
    if let Some(shown) = shown {
        shown.end();
    }
    drop(forwarder);
    Ok(exit_status(code))
}

/// The signals that came before the program ran, and those it was sent.
#[derive(Default)]
struct Inbox {
    running: bool,
    early: Vec<Signal>,
    interrupts: u32,
}

/// What a signal leads to.
#[derive(Debug, PartialEq, Eq)]
enum Reaction {
    /// Nothing yet: the program gets it when it runs. It may run already, before we know.
    Keep,
    /// The start is given up.
    Cancel,
    /// The program gets it.
    Send(Signal),
    /// The program had its chances.
    Lose,
}

impl Inbox {
    fn receive(&mut self, signal: Signal) -> Reaction {
        self.interrupts = if signal == Signal::INT { self.interrupts + 1 } else { 0 };
        if self.running {
            return if self.interrupts > PATIENCE { Reaction::Lose } else { Reaction::Send(signal) };
        }
        // Whoever asks a second time means the start itself.
        if self.early.contains(&signal) {
            return Reaction::Cancel;
        }
        self.early.push(signal);
        Reaction::Keep
    }

    fn running(&mut self) -> Vec<Signal> {
        self.running = true;
        std::mem::take(&mut self.early)
    }
}

fn lock(inbox: &Mutex<Inbox>) -> MutexGuard<'_, Inbox> {
    inbox.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Says what the container did not get.
fn warn(container: &Container) {
    // A container that removes itself may be gone already, and its warnings with it.
    if let Ok(details) = container.inspect() {
        for warning in details.warnings {
            output::note(format_args!("warning: {}", output::printable(&warning.message)));
        }
    }
}

fn remove(container: &Container) -> Result<(), Error> {
    match container.remove(true) {
        Err(error) if error.kind() != ErrorKind::ContainerNotFound => Err(error),
        _ => Ok(()),
    }
}

/// Takes back a container that could not be started, if nobody wants to look at it.
fn discard(container: &Container, unwanted: bool, error: Error) -> Error {
    if unwanted && let Err(second) = remove(container) {
        output::error(&second);
    }
    error
}

pub(crate) fn exit_status(code: i32) -> u8 {
    // The kernel keeps eight bits of a status.
    (code & 0xff) as u8
}

fn spec(options: CreateOptions, auto_remove: bool) -> Result<ContainerSpec, Failure> {
    let healthcheck = healthcheck(&options)?;
    let mut words = options.image_and_command.into_iter();
    let has_image = options.rootfs.is_none() && options.bundle.is_none();
    let image = if has_image { words.next() } else { None };
    let mut spec = ContainerSpec::new(image.unwrap_or_default());
    spec.rootfs = options.rootfs;
    spec.bundle = options.bundle;
    let command: Vec<String> = words.collect();
    spec.command = (!command.is_empty()).then_some(command);
    spec.entrypoint =
        options.entrypoint.map(|program| if program.is_empty() { vec![] } else { vec![program] });
    spec.name = options.name;
    spec.environment = environment(&options.env, &options.env_file)?;
    spec.use_config_proxy = options.use_config_proxy;
    spec.working_dir = options.workdir;
    spec.user = options.user;
    spec.group_add = options.group_add;
    spec.hostname = options.hostname;
    spec.domainname = options.domainname;
    spec.tz = options.tz;
    spec.passwd = options.passwd;
    spec.passwd_entry = options.passwd_entry;
    spec.group_entry = options.group_entry;
    spec.network = NetworkMode::parse(&options.network)?;
    spec.exposed_ports = options.expose;
    spec.pid_mode = NamespaceMode::parse(&options.pid)?;
    spec.ipc_mode = NamespaceMode::parse(&options.ipc)?;
    spec.uts_mode = NamespaceMode::parse(&options.uts)?;
    spec.cgroupns = NamespaceMode::parse(&options.cgroupns)?;
    spec.userns_mode = UsernsMode::parse(&options.userns)?;
    spec.uidmap = options.uidmap;
    spec.gidmap = options.gidmap;
    spec.mem_limit = options.memory.as_deref().map(parse::size).transpose()?;
    spec.nano_cpus = options.cpus.map(parse::cpus).transpose()?;
    spec.pids_limit = options.pids_limit.map(parse::processes).transpose()?;
    spec.mem_reservation = options.memory_reservation.as_deref().map(parse::size).transpose()?;
    spec.memswap_limit = options.memory_swap.as_deref().map(parse::swap).transpose()?;
    spec.mem_swappiness = options.memory_swappiness.map(parse::or_none).transpose()?;
    spec.oom_kill_disable = options.oom_kill_disable;
    spec.oom_score_adj = options.oom_score_adj;
    spec.cpu_shares = options.cpu_shares;
    spec.cpu_quota = options.cpu_quota.map(parse::or_none).transpose()?;
    spec.cpu_period = options.cpu_period;
    spec.cpuset_cpus = options.cpuset_cpus;
    spec.cpuset_mems = options.cpuset_mems;
    spec.blkio_weight = options.blkio_weight;
    spec.blkio_weight_device = weights(&options.blkio_weight_device)?;
    spec.device_read_bps = rates(&options.device_read_bps)?;
    spec.device_write_bps = rates(&options.device_write_bps)?;
    spec.device_read_iops = rates(&options.device_read_iops)?;
    spec.device_write_iops = rates(&options.device_write_iops)?;
    spec.ulimits = options.ulimit;
    for (list, map) in [
        (&options.sysctl, &mut spec.sysctls),
        (&options.cgroup_conf, &mut spec.unified),
        (&options.log_opt, &mut spec.log_opt),
    ] {
        for text in list {
            let (name, value) = parse::assignment(text)?;
            map.insert(name, value.unwrap_or_default());
        }
    }
    spec.cgroup_parent = options.cgroup_parent;
    spec.cap_add = options.cap_add;
    spec.cap_drop = options.cap_drop;
    spec.read_only = options.read_only;
    spec.security_opt = options.security_opt;
    let read = |texts: &[String], one: fn(&str) -> Result<Mount, Error>| {
        texts.iter().map(|text| one(text)).collect::<Result<Vec<_>, _>>()
    };
    spec.volumes = read(&options.volume, parse::volume)?;
    spec.volumes_from.clone_from(&options.volumes_from);
    spec.mounts = read(&options.mount, parse::mount)?;
    spec.tmpfs = read(&options.tmpfs, parse::tmpfs)?;
    spec.secrets =
        options.secret.iter().map(|secret| Secret::parse(secret, None)).collect::<Result<_, _>>()?;
    spec.devices = options.device;
    spec.device_cgroup_rules = options.device_cgroup_rule;
    spec.privileged = options.privileged;
    for path in &options.label_file {
        for (name, value) in lines(path)? {
            spec.labels.insert(name, value.unwrap_or_default());
        }
    }
    if let Some(path) = &options.hooks {
        let text = std::fs::read_to_string(path).map_err(|error| Error::io("open", path, &error))?;
        spec.hooks = Hooks::parse(&text)?;
    }
    for (list, map) in [(&options.label, &mut spec.labels), (&options.annotation, &mut spec.annotations)] {
        for text in list {
            let (name, value) = parse::assignment(text)?;
            map.insert(name, value.unwrap_or_default());
        }
    }
    spec.healthcheck = healthcheck;
    spec.restart_policy = RestartPolicy::parse(&options.restart)?;
    spec.stop_signal = options.stop_signal;
    spec.platform = options.platform;
    spec.pull = PullPolicy::parse(&options.pull)?;
    spec.stop_timeout = options.stop_timeout;
    spec.run_timeout = options.timeout.filter(|seconds| *seconds > 0);
    spec.shm_size = options.shm_size.as_deref().map(parse::size).transpose()?;
    spec.extra_hosts = options.add_host.iter().map(|host| parse::host(host)).collect::<Result<_, _>>()?;
    spec.dns = options.dns;
    spec.dns_search = options.dns_search;
    spec.dns_opt = options.dns_option;
    spec.init = options.init;
    spec.log_driver = options.log_driver;
    spec.tty = options.tty;
    spec.stdin_open = options.interactive;
    spec.console_size = terminal::size().filter(|_| options.tty);
    spec.auto_remove = auto_remove;
    Ok(spec)
}

/// What the flags say of health checks; None if they say nothing.
fn healthcheck(options: &CreateOptions) -> Result<Option<HealthCheck>, Error> {
    let time = |text: &Option<String>| text.as_deref().map(parse::duration).transpose();
    let mut check = options.health_cmd.as_deref().map_or_else(HealthCheck::default, HealthCheck::shell);
    check.interval = time(&options.health_interval)?;
    check.timeout = time(&options.health_timeout)?;
    check.start_period = time(&options.health_start_period)?;
    check.start_interval = time(&options.health_start_interval)?;
    check.retries = options.health_retries;
    let given = check != HealthCheck::default();
    match (options.no_healthcheck, given) {
        (true, true) => {
            Err(refuse("--no-healthcheck excludes the other flags of health checks", "leave it out"))
        }
        (true, false) => Ok(Some(HealthCheck::none())),
        (false, true) => Ok(Some(check)),
        (false, false) => Ok(None),
    }
}

pub(crate) fn weights(texts: &[String]) -> Result<Vec<(String, u64)>, Error> {
    texts.iter().map(|text| parse::device_weight(text)).collect()
}

pub(crate) fn rates(texts: &[String]) -> Result<Vec<(String, u64)>, Error> {
    texts.iter().map(|text| parse::device_rate(text)).collect()
}

/// The lines of a file of variables or labels.
fn lines(path: &Path) -> Result<Vec<(String, Option<String>)>, Error> {
    let text = std::fs::read_to_string(path).map_err(|error| Error::io("open", path, &error))?;
    let entries = parse::environment_file(&text);
    entries.map_err(|error| error.while_doing(format!("reading \"{}\"", path.display())))
}

/// The variables of files and flags; a name alone takes our own value, and says nothing if there is none.
fn environment(assignments: &[String], files: &[PathBuf]) -> Result<Vec<(String, String)>, Error> {
    let mut all = Vec::new();
    for path in files {
        all.extend(lines(path)?);
    }
    for assignment in assignments {
        all.push(parse::assignment(assignment)?);
    }
    let own = |(name, value): (String, Option<String>)| {
        let value = value.or_else(|| std::env::var(&name).ok())?;
        Some((name, value))
    };
    Ok(all.into_iter().filter_map(own).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_before_the_start_wait_for_it_and_repeated_ones_end_it() {
        let mut inbox = Inbox::default();
        assert_eq!(inbox.receive(Signal::TERM), Reaction::Keep);
        assert_eq!(inbox.receive(Signal::INT), Reaction::Keep);
        assert_eq!(inbox.receive(Signal::INT), Reaction::Cancel);
        assert_eq!(inbox.running(), [Signal::TERM, Signal::INT]);
        assert_eq!(inbox.running(), []);
    }

    #[test]
    fn a_program_may_ignore_some_interrupts_in_a_row() {
        let mut inbox = Inbox::default();
        inbox.running();
        for _ in 0..PATIENCE {
            assert_eq!(inbox.receive(Signal::INT), Reaction::Send(Signal::INT));
        }
        assert_eq!(inbox.receive(Signal::INT), Reaction::Lose);
        assert_eq!(inbox.receive(Signal::TERM), Reaction::Send(Signal::TERM));
        assert_eq!(inbox.receive(Signal::INT), Reaction::Send(Signal::INT));
    }
}
