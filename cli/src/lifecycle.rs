//! The verbs on containers that are there: pausing, renaming, changing limits, looking at what they do.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use clap::Args;
use coble::{
    CancelToken, ContainerSummary, Engine, Error, ErrorKind, ListOptions, NamespaceMode, NetworkMode, Ready,
    RestartPolicy, Signal, State, Stats, StatsStream, UpdateOptions, WaitCondition, parse,
};

use crate::args::{Format, FormatArgs, Global, Names, StopArgs};
use crate::output::{self, Outcome, Table};
use crate::run::{rates, weights};
use crate::{all_at_once, each, open, prompt, refuse};

/// How long `stats` looks.
const INTERVAL: Duration = Duration::from_secs(1);

#[derive(Debug, Args)]
pub(crate) struct WaitArgs {
    /// What to wait for: not-running, next-exit, removed or healthy; or, until one of those given is there: log=PATTERN, port=NUMBER, http=PORT/PATH, file=PATH, exec=COMMAND, healthy
    #[arg(long, value_name = "CONDITION", default_value = "not-running")]
    condition: Vec<String>,
    /// Fail if it takes longer
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    timeout: Option<Duration>,
    /// Fail if an exit code is not 0, and show the end of what the program wrote to standard error
    #[arg(long)]
    check: bool,
    #[command(flatten)]
    containers: Names,
}

#[derive(Debug, Args)]
pub(crate) struct RenameArgs {
    /// Name or id
    #[arg(value_name = "CONTAINER")]
    container: String,
    /// The new name
    #[arg(value_name = "NEW_NAME")]
    name: String,
}

#[derive(Debug, Args)]
pub(crate) struct UpdateArgs {
    /// Memory limit, such as 64m
    #[arg(short, long, value_name = "BYTES")]
    memory: Option<String>,
    /// Memory that is taken from the container last when the host runs out of it
    #[arg(long, value_name = "BYTES")]
    memory_reservation: Option<String>,
    /// Memory and swap together; -1 for swap without limit
    #[arg(long, value_name = "BYTES", allow_hyphen_values = true)]
    memory_swap: Option<String>,
    /// Number of CPUs, such as 1.5
    #[arg(long, value_name = "NUMBER")]
    cpus: Option<f64>,
    /// CPU weight against others
    #[arg(short, long, value_name = "NUMBER")]
    cpu_shares: Option<u64>,
    /// Microseconds of CPU time in each period; -1 takes a limit of CPU time away
    #[arg(long, value_name = "MICROSECONDS", allow_negative_numbers = true)]
    cpu_quota: Option<i64>,
    /// Length of that period
    #[arg(long, value_name = "MICROSECONDS")]
    cpu_period: Option<u64>,
    /// CPUs that may be used, such as 0-2,7
    #[arg(long, value_name = "SET")]
    cpuset_cpus: Option<String>,
    /// NUMA nodes that memory may come from
    #[arg(long, value_name = "SET")]
    cpuset_mems: Option<String>,
    /// Limit on processes and threads; 0 and -1 are no limit
    #[arg(long, value_name = "NUMBER", allow_hyphen_values = true)]
    pids_limit: Option<i64>,
    /// Block I/O weight against others, 10 to 1000
    #[arg(long, value_name = "NUMBER")]
    blkio_weight: Option<u64>,
    /// The same for one block device; 0 takes it away
    #[arg(long, value_name = "PATH:NUMBER")]
    blkio_weight_device: Vec<String>,
    /// Limit what is read of a block device each second; 0 is no limit
    #[arg(long, value_name = "PATH:BYTES")]
    device_read_bps: Vec<String>,
    /// Limit what is written to a block device each second; 0 is no limit
    #[arg(long, value_name = "PATH:BYTES")]
    device_write_bps: Vec<String>,
    /// Limit the reads of a block device each second; 0 is no limit
    #[arg(long, value_name = "PATH:NUMBER")]
    device_read_iops: Vec<String>,
    /// Limit the writes to a block device each second; 0 is no limit
    #[arg(long, value_name = "PATH:NUMBER")]
    device_write_iops: Vec<String>,
    /// Write to a file of the container's version 2 cgroup
    #[arg(long, value_name = "FILE=VALUE")]
    cgroup_conf: Vec<String>,
    /// When the program is started again: no, on-failure, on-failure:N, always or unless-stopped
    #[arg(long, value_name = "POLICY")]
    restart: Option<String>,
    #[command(flatten)]
    containers: Names,
}

#[derive(Debug, Args)]
pub(crate) struct TopArgs {
    #[command(flatten)]
    output: FormatArgs,
    /// Name or id
    #[arg(value_name = "CONTAINER")]
    container: String,
    /// Options of ps that ask for columns: -ef, aux, or -o and a list such as pid,ppid,user,stat,etime,rss,comm,args
    #[arg(value_name = "PS_OPTIONS", trailing_var_arg = true, allow_hyphen_values = true)]
    ps_options: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct StatsArgs {
    /// All containers, not only those that run
    #[arg(short, long)]
    all: bool,
    /// Look once
    #[arg(long)]
    no_stream: bool,
    /// Do not shorten
    #[arg(long)]
    no_trunc: bool,
    #[command(flatten)]
    output: FormatArgs,
    /// Names or ids (default: all that run, also those that start later)
    #[arg(value_name = "CONTAINER")]
    names: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct ContainerPruneArgs {
    /// Remove only containers that meet a condition: until, label, label!
    #[arg(long, value_name = "KEY=VALUE")]
    filter: Vec<String>,
    /// Do not ask
    #[arg(short, long)]
    force: bool,
    #[command(flatten)]
    output: FormatArgs,
}

pub(crate) fn pause(global: &Global, args: Names) -> Outcome {
    let engine = open(global)?;
    let pause = |name: &str| engine.containers().get(name)?.pause();
    all_at_once(&args.names, pause, |name, ()| output::line(name))
}

pub(crate) fn unpause(global: &Global, args: Names) -> Outcome {
    let engine = open(global)?;
    let unpause = |name: &str| engine.containers().get(name)?.unpause();
    all_at_once(&args.names, unpause, |name, ()| output::line(name))
}

pub(crate) fn restart(global: &Global, args: StopArgs) -> Outcome {
    let engine = open(global)?;
    let timeout = args.timeout.map(Duration::from_secs);
    let signal = args.signal.as_deref().map(Signal::parse).transpose()?;
    let restart =
        |name: &str| engine.containers().get(name)?.restart_with(signal, timeout, &CancelToken::never());
    if args.containers.names.iter().any(|name| joins_another(&engine, name)) {
        // That is to run before it.
        return each(&args.containers.names, |name| {
            restart(name)?;
            output::line(name)
        });
    }
    all_at_once(&args.containers.names, restart, |name, ()| output::line(name))
}

/// Whether a container is in a namespace of another one.
fn joins_another(engine: &Engine, name: &str) -> bool {
    let spec =
        engine.containers().get(name).and_then(|container| container.inspect()).map(|found| found.spec);
    spec.is_ok_and(|spec| {
        matches!(spec.network, NetworkMode::Container(_))
            || [&spec.pid_mode, &spec.ipc_mode].iter().any(|mode| matches!(mode, NamespaceMode::Container(_)))
    })
}

pub(crate) fn wait(global: &Global, args: WaitArgs) -> Outcome {
    let until = match args.condition.as_slice() {
        [one] if !one.contains('=') => Until::End(WaitCondition::parse(one)?),
        several => Until::Ready(Ready::AnyOf(conditions(several)?)),
    };
    let (engine, never) = (open(global)?, CancelToken::never());
    each(&args.containers.names, |name| {
        let container = engine.containers().get(name)?;
        let code = match &until {
            Until::End(condition) if args.check => {
                container.wait_checked(*condition, args.timeout, &never).map(|()| 0)?
            }
            Until::End(condition) => container.wait_until(*condition, args.timeout, &never)?,
            Until::Ready(ready) => container.wait_ready(ready, args.timeout, &never).map(|()| 0)?,
        };
        output::line(code)
    })
}

/// What `wait` waits for.
enum Until {
    End(WaitCondition),
    Ready(Ready),
}

/// What containers are waited for after their start.
pub(crate) fn conditions(texts: &[String]) -> Result<Vec<Ready>, Error> {
    texts.iter().map(|text| Ready::parse(text)).collect()
}

pub(crate) fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "not a number of seconds".to_owned())?;
    Duration::try_from_secs_f64(seconds).map_err(|_| "not a number of seconds".to_owned())
}

pub(crate) fn rename(global: &Global, args: RenameArgs) -> Outcome {
    open(global)?.containers().get(&args.container)?.rename(&args.name)?;
    Ok(0)
}

pub(crate) fn update(global: &Global, args: UpdateArgs) -> Outcome {
    let mut options = UpdateOptions::default();
    options.mem_limit = args.memory.as_deref().map(parse::size).transpose()?;
    options.mem_reservation = args.memory_reservation.as_deref().map(parse::size).transpose()?;
    options.memswap_limit = args.memory_swap.as_deref().map(parse::swap).transpose()?;
    options.nano_cpus = args.cpus.map(parse::cpus).transpose()?;
    options.cpu_shares = args.cpu_shares;
    options.cpu_quota = args.cpu_quota.map(parse::or_none).transpose()?;
    options.cpu_period = args.cpu_period;
    options.cpuset_cpus = args.cpuset_cpus;
    options.cpuset_mems = args.cpuset_mems;
    options.pids_limit = args.pids_limit.map(parse::processes).transpose()?;
    options.blkio_weight = args.blkio_weight;
    options.blkio_weight_device = weights(&args.blkio_weight_device)?;
    options.device_read_bps = rates(&args.device_read_bps)?;
    options.device_write_bps = rates(&args.device_write_bps)?;
    options.device_read_iops = rates(&args.device_read_iops)?;
    options.device_write_iops = rates(&args.device_write_iops)?;
    for text in &args.cgroup_conf {
        let (name, value) = parse::assignment(text)?;
        options.unified.insert(name, value.unwrap_or_default());
    }
    options.restart_policy = args.restart.as_deref().map(RestartPolicy::parse).transpose()?;
    if options == UpdateOptions::default() {
        return Err(refuse(
            "nothing to change is given",
            "give at least one limit, such as --memory, or --restart",
        )
        .into());
    }
    let engine = open(global)?;
    each(&args.containers.names, |name| {
        for warning in engine.containers().get(name)?.update(&options)? {
            output::note(format_args!("warning: {}", output::printable(&warning.message)));
        }
        output::line(name)
    })
}

pub(crate) fn top(global: &Global, args: TopArgs) -> Outcome {
    let words: Vec<&str> = args.ps_options.iter().map(String::as_str).collect();
    // No columns of ps, but this command's own, in a place where it is not looked for.
    let (format, words) = match words.as_slice() {
        ["--format=json"] | ["--format", "json"] => (Format::Json, &[][..]),
        ["--format=table"] | ["--format", "table"] => (Format::Table, &[][..]),
        words => (args.output.format, words),
    };
    let top = open(global)?.containers().get(&args.container)?.top_with(words)?;
    if format == Format::Json {
        output::json(&top)?;
        return Ok(0);
    }
    let titles: Vec<&str> = top.titles.iter().map(String::as_str).collect();
    let mut table = Table::new(&titles);
    top.processes.into_iter().for_each(|process| table.cells(process));
    table.print()?;
    Ok(0)
}

pub(crate) fn stats(global: &Global, args: StatsArgs) -> Outcome {
    let engine = open(global)?;
    let mut streams: Vec<(String, StatsStream)> = Vec::new();
    for name in &args.names {
        let container = engine.containers().get(name)?;
        match container.stats_stream(INTERVAL) {
            Ok(stream) => streams.push((container.id().to_owned(), stream)),
            Err(error) if args.all && error.kind() == ErrorKind::InvalidState => {}
            Err(error) => return Err(error.into()),
        }
    }
    if args.names.is_empty() {
        follow(&engine, &mut streams)?;
    }
    // The first look is what the others are compared with.
    looks(&mut streams)?;
    loop {
        let begun = Instant::now();
        let mut found = looks(&mut streams)?;
        if args.all {
            found.extend(resting(&engine, &args.names, &found)?);
        }
        if args.output.format == Format::Json {
            output::json(&found)?;
        } else {
            if !args.no_stream && std::io::stdout().is_terminal() {
                output::bytes(b"\x1b[H\x1b[J")?;
            }
            table(&found, args.no_trunc)?;
        }
        let over = streams.is_empty() && !args.names.is_empty() && !args.all;
        if args.no_stream || over {
            return Ok(0);
        }
        if args.names.is_empty() {
            follow(&engine, &mut streams)?;
        }
        if streams.is_empty() {
            // Nobody is looked at, which would take the time.
            std::thread::sleep(INTERVAL.saturating_sub(begun.elapsed()));
        }
    }
}

/// Looks at the containers that run and that it did not look at before.
fn follow(engine: &Engine, streams: &mut Vec<(String, StatsStream)>) -> Result<(), Error> {
    for summary in engine.containers().list(&ListOptions::default())? {
        if streams.iter().any(|(id, _)| *id == summary.id) {
            continue;
        }
        match engine.containers().get(&summary.id).and_then(|container| container.stats_stream(INTERVAL)) {
            Ok(stream) => streams.push((summary.id, stream)),
            // It has ended meanwhile.
            Err(error) if ended(&error) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Those that do not run, with nothing but their names; of these if there are any.
fn resting(engine: &Engine, names: &[String], found: &[Stats]) -> Result<Vec<Stats>, Error> {
    let mut options = ListOptions::default();
    options.all = true;
    let mut ids = Vec::new();
    for name in names {
        ids.push(engine.containers().get(name)?.id().to_owned());
    }
    let listed = engine.containers().list(&options)?.into_iter().filter(|summary| {
        let meant = ids.is_empty() || ids.contains(&summary.id);
        let rests = matches!(summary.state, State::Created | State::Exited | State::Restarting);
        meant && rests && !found.iter().any(|stats| stats.id == summary.id)
    });
    let nothing = |summary: ContainerSummary| {
        let mut stats = Stats::default();
        (stats.id, stats.name) = (summary.id, summary.name);
        stats
    };
    Ok(listed.map(nothing).collect())
}

fn ended(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::InvalidState | ErrorKind::ContainerNotFound)
}

/// One look at each container. One that does not run any more is looked at no more.
fn looks(streams: &mut Vec<(String, StatsStream)>) -> Result<Vec<Stats>, Error> {
    let mut found = Vec::new();
    let mut going = Vec::new();
    for (id, mut stream) in streams.drain(..) {
        if let Some(stats) = stream.next(&CancelToken::never())? {
            found.push(stats);
            going.push((id, stream));
        }
    }
    *streams = going;
    Ok(found)
}

fn table(found: &[Stats], whole: bool) -> Result<(), output::Failure> {
    let mut table = Table::new(&[
        "CONTAINER ID",
        "NAME",
        "CPU %",
        "MEM USAGE / LIMIT",
        "MEM %",
        "NET I/O",
        "BLOCK I/O",
        "PIDS",
    ]);
    for stats in found {
        let id = if whole { stats.id.clone() } else { output::short_id(&stats.id) };
        if stats.time.is_empty() {
            // It does not run: as docker has it.
            let words = ["--", "-- / --", "--", "-- / --", "-- / --", "--"].map(str::to_owned);
            table.cells([id, stats.name.clone()].into_iter().chain(words).collect());
            continue;
        }
        table.row([
            id,
            stats.name.clone(),
            format!("{:.2}%", stats.cpu_percent),
            format!("{} / {}", binary(stats.memory_usage), binary(stats.memory_limit)),
            format!("{:.2}%", stats.memory_percent),
            format!("{} / {}", output::size(stats.network_rx), output::size(stats.network_tx)),
            format!("{} / {}", output::size(stats.block_read), output::size(stats.block_write)),
            stats.pids.to_string(),
        ]);
    }
    table.print()
}

/// A size for people, in powers of 1024 as docker shows memory.
fn binary(bytes: u64) -> String {
    let mut value = bytes as f64;
    for unit in ["B", "KiB", "MiB", "GiB", "TiB"] {
        if value < 1024.0 {
            let digits = if unit == "B" || value >= 100.0 {
                0
            } else if value >= 10.0 {
                1
            } else {
                2
            };
            return format!("{value:.digits$}{unit}");
        }
        value /= 1024.0;
    }
    format!("{value:.1}PiB")
}

pub(crate) fn prune(global: &Global, args: ContainerPruneArgs) -> Outcome {
    if !args.force {
        prompt::confirm("This removes all containers that do not run.")?;
    }
    let pruned = open(global)?.containers().prune(&args.filter)?;
    if args.output.format == Format::Json {
        output::json(&pruned)?;
        return Ok(0);
    }
    pruned.deleted.iter().try_for_each(|id| output::line(format_args!("Deleted: {id}")))?;
    output::line(format_args!("Total reclaimed space: {}", output::size(pruned.reclaimed)))?;
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_shown_in_powers_of_1024() {
        assert_eq!([binary(0), binary(1023), binary(1536)], ["0B", "1023B", "1.50KiB"]);
        assert_eq!([binary(64 << 20), binary(128 << 30)], ["64.0MiB", "128GiB"]);
    }
}
