//! `run`, `create`, `start` and `exec`: the verbs that start programs.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use coble::{
    CancelToken, Container, ContainerSpec, Error, ErrorKind, ExecSpec, Lifetime, NetworkMode, PullPolicy,
    Signal, Stdio, StdioMode, parse,
};

use crate::args::{CreateArgs, CreateOptions, ExecArgs, Global, RunArgs, StartArgs};
use crate::output::{self, Failure, Outcome};
use crate::signals::Forwarder;
use crate::{each, open, pull, refuse};

/// How many interrupts in a row a program in the foreground may ignore.
const PATIENCE: u32 = 3;

pub(crate) fn run(global: &Global, args: RunArgs) -> Outcome {
    let interactive = args.options.interactive;
    if args.detach && interactive {
        return Err(refuse("--interactive and --detach exclude each other", "leave one of them out").into());
    }
    let quiet = args.options.quiet;
    let mut spec = spec(args.options, args.rm)?;
    // Without --rm the container stays and may be started again by a process that does not stay with it.
    spec.lifetime = if args.rm && !args.detach { Lifetime::Session } else { Lifetime::Detached };
    // In the foreground it is removed here, after its exit code was read; its session sees to it if this process is killed.
    spec.auto_remove = args.rm && args.detach;
    let engine = open(global)?;
    let container = pull::create(&engine, spec, quiet)?;
    if args.detach {
        return match container.start(Stdio::log(), &CancelToken::never()) {
            Ok(()) => {
                warn(&container);
                output::line(container.id())?;
                Ok(0)
            }
            Err(error) => Err(discard(&container, args.rm, error).into()),
        };
    }
    let result = foreground(&container, interactive);
    if args.rm {
        remove(&container)?;
    }
    result
}

pub(crate) fn create(global: &Global, args: CreateArgs) -> Outcome {
    if args.options.interactive {
        return Err(refuse("create takes no --interactive", "use it with \"coble start --attach\"").into());
    }
    let quiet = args.options.quiet;
    let spec = spec(args.options, args.rm)?;
    let container = pull::create(&open(global)?, spec, quiet)?;
    output::line(container.id())?;
    Ok(0)
}

pub(crate) fn start(global: &Global, args: StartArgs) -> Outcome {
    let engine = open(global)?;
    if args.attach {
        let [name] = args.containers.names.as_slice() else {
            return Err(refuse("--attach takes one container", "start the others without it").into());
        };
        return foreground(&engine.containers().get(name)?, args.interactive);
    }
    each(&args.containers.names, |name| {
        let container = engine.containers().get(name)?;
        container.start(Stdio::log(), &CancelToken::never())?;
        warn(&container);
        output::line(name)
    })
}

pub(crate) fn exec(global: &Global, args: ExecArgs) -> Outcome {
    if args.tty {
        return Err(no_terminal().into());
    }
    let Some((name, command)) = args.container_and_command.split_first() else {
        return Err(refuse("no container is named", "give a container and a command").into());
    };
    let mut spec = ExecSpec::new(command);
    spec.environment = environment(&args.env, &args.env_file)?;
    spec.working_dir = args.workdir;
    spec.user = args.user;
    let container = open(global)?.containers().get(name)?;
    if args.detach {
        container.popen(spec, Stdio::null())?;
        return Ok(0);
    }
    let stdin = if args.interactive { StdioMode::Inherit } else { StdioMode::Null };
    let process = Arc::new(container.popen(spec, Stdio { stdin, ..Stdio::inherit() })?);
    let receiver = process.clone();
    let mut interrupts = 0;
    let forwarder = Forwarder::start(move |signal| {
        interrupts = if signal == Signal::INT { interrupts + 1 } else { 0 };
        // It may have ended in the meantime.
        let _ = receiver.send_signal(if interrupts > PATIENCE { Signal::KILL } else { signal });
    })?;
    let code = process.wait(None, &CancelToken::never())?;
    drop(forwarder);
    Ok(exit_status(code))
}

/// Starts a container with our own streams, passes signals on, and returns its exit code.
fn foreground(container: &Container, interactive: bool) -> Outcome {
    let starting = CancelToken::new();
    let inbox = Arc::new(Mutex::new(Inbox::default()));
    let forwarder = {
        let (container, starting, inbox) = (container.clone(), starting.clone(), inbox.clone());
        Forwarder::start(move |signal| match lock(&inbox).receive(signal) {
            Reaction::Keep => {}
            Reaction::Cancel => starting.cancel(),
            // It may have ended in the meantime.
            Reaction::Send(signal) => drop(container.kill(signal)),
            Reaction::Lose => {
                output::note(format_args!("coble: the program ignored {PATIENCE} interrupts: killing it"));
                let _ = container.kill(Signal::KILL);
            }
        })?
    };
    let stdin = if interactive { StdioMode::Inherit } else { StdioMode::Null };
    container.start(Stdio { stdin, ..Stdio::inherit() }, &starting)?;
    for signal in lock(&inbox).running() {
        let _ = container.kill(signal);
    }
    warn(container);
    let code = container.wait(None, &CancelToken::never())?;
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

fn exit_status(code: i32) -> u8 {
    // The kernel keeps eight bits of a status.
    (code & 0xff) as u8
}

fn no_terminal() -> Error {
    Error::new(ErrorKind::Unsupported, "a terminal (--tty) is not supported yet")
        .with_hint("leave --tty out; --interactive alone connects standard input")
}

fn spec(options: CreateOptions, auto_remove: bool) -> Result<ContainerSpec, Failure> {
    if options.tty {
        return Err(no_terminal().into());
    }
    if options.init {
        return Err(Error::new(ErrorKind::Unsupported, "--init is not supported yet")
            .with_hint("use an image with an init program, and make it the entrypoint")
            .into());
    }
    let mut words = options.image_and_command.into_iter();
    let mut spec = ContainerSpec::new(words.next().unwrap_or_default());
    let command: Vec<String> = words.collect();
    spec.command = (!command.is_empty()).then_some(command);
    spec.entrypoint =
        options.entrypoint.map(|program| if program.is_empty() { vec![] } else { vec![program] });
    spec.name = options.name;
    spec.environment = environment(&options.env, &options.env_file)?;
    spec.working_dir = options.workdir;
    spec.user = options.user;
    spec.group_add = options.group_add;
    spec.hostname = options.hostname;
    spec.network = NetworkMode::parse(&options.network)?;
    spec.mem_limit = options.memory.as_deref().map(parse::size).transpose()?;
    spec.nano_cpus = options.cpus.map(parse::cpus).transpose()?;
    spec.pids_limit = options.pids_limit;
    spec.mem_reservation = options.memory_reservation.as_deref().map(parse::size).transpose()?;
    spec.memswap_limit = options.memory_swap.as_deref().map(parse::swap).transpose()?;
    spec.mem_swappiness = options.memory_swappiness;
    spec.oom_kill_disable = options.oom_kill_disable;
    spec.oom_score_adj = options.oom_score_adj;
    spec.cpu_shares = options.cpu_shares;
    spec.cpu_quota = options.cpu_quota;
    spec.cpu_period = options.cpu_period;
    spec.cpuset_cpus = options.cpuset_cpus;
    spec.cpuset_mems = options.cpuset_mems;
    spec.blkio_weight = options.blkio_weight;
    spec.device_read_bps = rates(&options.device_read_bps)?;
    spec.device_write_bps = rates(&options.device_write_bps)?;
    spec.device_read_iops = rates(&options.device_read_iops)?;
    spec.device_write_iops = rates(&options.device_write_iops)?;
    spec.ulimits = options.ulimit;
    for (list, map) in [(&options.sysctl, &mut spec.sysctls), (&options.cgroup_conf, &mut spec.unified)] {
        for text in list {
            let (name, value) = parse::assignment(text)?;
            map.insert(name, value.unwrap_or_default());
        }
    }
    spec.cap_add = options.cap_add;
    spec.cap_drop = options.cap_drop;
    spec.read_only = options.read_only;
    spec.security_opt = options.security_opt;
    for label in &options.label {
        let (name, value) = parse::assignment(label)?;
        spec.labels.insert(name, value.unwrap_or_default());
    }
    spec.stop_signal = options.stop_signal;
    spec.platform = options.platform;
    spec.pull = PullPolicy::parse(&options.pull)?;
    spec.stop_timeout = options.stop_timeout;
    spec.shm_size = options.shm_size.as_deref().map(parse::size).transpose()?;
    spec.extra_hosts = options.add_host.iter().map(|host| parse::host(host)).collect::<Result<_, _>>()?;
    spec.dns = options.dns;
    spec.auto_remove = auto_remove;
    Ok(spec)
}

fn rates(texts: &[String]) -> Result<Vec<(String, u64)>, Error> {
    texts.iter().map(|text| parse::device_rate(text)).collect()
}

/// The variables of files and flags; a name alone takes our own value, and says nothing if there is none.
fn environment(assignments: &[String], files: &[PathBuf]) -> Result<Vec<(String, String)>, Error> {
    let mut all = Vec::new();
    for path in files {
        let text = std::fs::read_to_string(path).map_err(|error| Error::io("open", path, &error))?;
        let entries = parse::environment_file(&text);
        all.extend(entries.map_err(|error| error.while_doing(format!("reading \"{}\"", path.display())))?);
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
