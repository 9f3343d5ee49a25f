//! The verbs on containers that are there: pausing, renaming, changing limits, looking at what they do.

use std::io::IsTerminal;
use std::time::Duration;

use clap::Args;
use coble::{
    CancelToken, Container, Error, ListOptions, Ready, Signal, Stats, StatsStream, UpdateOptions,
    WaitCondition, parse,
};

use crate::args::{Format, FormatArgs, Global, Names, StopArgs};
use crate::output::{self, Outcome, Table};
use crate::{each, open, prompt, refuse};

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
    /// Microseconds of CPU time in each period
    #[arg(long, value_name = "MICROSECONDS")]
    cpu_quota: Option<u64>,
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
}

#[derive(Debug, Args)]
pub(crate) struct StatsArgs {
    /// Look once
    #[arg(long)]
    no_stream: bool,
    /// Do not shorten
    #[arg(long)]
    no_trunc: bool,
    #[command(flatten)]
    output: FormatArgs,
    /// Names or ids (default: all that run)
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
    each(&args.names, |name| {
        engine.containers().get(name)?.pause()?;
        output::line(name)
    })
}

pub(crate) fn unpause(global: &Global, args: Names) -> Outcome {
    let engine = open(global)?;
    each(&args.names, |name| {
        engine.containers().get(name)?.unpause()?;
        output::line(name)
    })
}

pub(crate) fn restart(global: &Global, args: StopArgs) -> Outcome {
    let engine = open(global)?;
    let timeout = args.timeout.map(Duration::from_secs);
    let signal = args.signal.as_deref().map(Signal::parse).transpose()?;
    each(&args.containers.names, |name| {
        engine.containers().get(name)?.restart_with(signal, timeout, &CancelToken::never())?;
        output::line(name)
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
    options.cpu_quota = args.cpu_quota;
    options.cpu_period = args.cpu_period;
    options.cpuset_cpus = args.cpuset_cpus;
    options.cpuset_mems = args.cpuset_mems;
    options.pids_limit = args.pids_limit.map(parse::processes).transpose()?;
    options.blkio_weight = args.blkio_weight;
    if options == UpdateOptions::default() {
        return Err(refuse("no limit is given", "give at least one, such as --memory").into());
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
    let top = open(global)?.containers().get(&args.container)?.top()?;
    if args.output.format == Format::Json {
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
    let containers: Vec<Container> = if args.names.is_empty() {
        let running = engine.containers().list(&ListOptions::default())?;
        running.iter().map(|summary| engine.containers().get(&summary.id)).collect::<Result<_, Error>>()?
    } else {
        args.names.iter().map(|name| engine.containers().get(name)).collect::<Result<_, Error>>()?
    };
    let mut streams: Vec<StatsStream> =
        containers.iter().map(|container| container.stats_stream(INTERVAL)).collect::<Result<_, Error>>()?;
    // The first look is what the others are compared with.
    looks(&mut streams)?;
    loop {
        let found = looks(&mut streams)?;
        if args.output.format == Format::Json {
            output::json(&found)?;
        } else {
            if !args.no_stream && std::io::stdout().is_terminal() {
                output::bytes(b"\x1b[H\x1b[J")?;
            }
            table(&found, args.no_trunc)?;
        }
        if args.no_stream || streams.is_empty() {
            return Ok(0);
        }
    }
}

/// One look at each container. One that does not run any more is looked at no more.
fn looks(streams: &mut Vec<StatsStream>) -> Result<Vec<Stats>, Error> {
    let mut found = Vec::new();
    let mut going = Vec::new();
    for mut stream in streams.drain(..) {
        if let Some(stats) = stream.next(&CancelToken::never())? {
            found.push(stats);
            going.push(stream);
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
        table.row([
            if whole { stats.id.clone() } else { output::short_id(&stats.id) },
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
