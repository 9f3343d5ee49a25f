//! The verbs on containers that start nothing.

use std::time::Duration;

use coble::{
    CancelToken, Container, ContainerSummary, Error, ListOptions, LogOptions, LogSource, Signal, State,
};
use jiff::Timestamp;

use crate::args::{
    ContainerInspectArgs, Format, Global, InspectFormat, KillArgs, LogsArgs, PsArgs, RmArgs, StopArgs,
};
use crate::output::{self, Failure, Outcome, Table};
use crate::{all_at_once, each, open, refuse, time};

pub(crate) fn stop(global: &Global, args: StopArgs) -> Outcome {
    let engine = open(global)?;
    let timeout = args.timeout.map(Duration::from_secs);
    let signal = args.signal.as_deref().map(Signal::parse).transpose()?;
    let stop = |name: &str| engine.containers().get(name)?.stop_with(signal, timeout, &CancelToken::never());
    all_at_once(&args.containers.names, stop, |name, ()| output::line(name))
}

pub(crate) fn kill(global: &Global, args: KillArgs) -> Outcome {
    let signal = Signal::parse(&args.signal)?;
    let engine = open(global)?;
    let kill = |name: &str| engine.containers().get(name)?.kill(signal);
    all_at_once(&args.containers.names, kill, |name, ()| output::line(name))
}

pub(crate) fn remove(global: &Global, args: RmArgs) -> Outcome {
    let engine = open(global)?;
    let remove = |name: &str| {
        let container = engine.containers().get(name)?;
        if args.volumes { container.remove_with_volumes(args.force) } else { container.remove(args.force) }
    };
    all_at_once(&args.containers.names, remove, |name, ()| output::line(name))
}

pub(crate) fn list(global: &Global, args: PsArgs) -> Outcome {
    let mut options = ListOptions::default();
    options.all = args.all;
    options.filters = args.filter;
    options.limit =
        if args.latest { Some(1) } else { u64::try_from(args.last).ok().filter(|last| *last > 0) };
    options.size = args.size;
    let containers = open(global)?.containers().list(&options)?;
    if args.output.format == Format::Json {
        output::json(&containers)?;
        return Ok(0);
    }
    let id = |container: &ContainerSummary| {
        if args.no_trunc { container.id.clone() } else { output::short_id(&container.id) }
    };
    if args.quiet {
        containers.iter().try_for_each(|container| output::line(id(container)))?;
        return Ok(0);
    }
    let now = Timestamp::now();
    let mut titles = vec!["CONTAINER ID", "IMAGE", "COMMAND", "CREATED", "STATUS", "NAMES"];
    titles.extend(args.size.then_some("SIZE"));
    let mut table = Table::new(&titles);
    for container in &containers {
        let mut cells = vec![
            id(container),
            container.image.clone(),
            output::command(&container.command, (!args.no_trunc).then_some(20)),
            format!("{} ago", time::age(&container.created, now)),
            status(container, now),
            container.name.clone(),
        ];
        cells.extend(container.size_rw.map(output::size));
        table.cells(cells);
    }
    table.print()?;
    Ok(0)
}

/// A state as docker words it.
fn status(container: &ContainerSummary, now: Timestamp) -> String {
    let age = |text: &Option<String>| text.as_deref().map(|text| time::age(text, now));
    match container.state {
        State::Running => {
            let up = format!("Up {}", age(&container.started_at).unwrap_or_default()).trim_end().to_owned();
            match container.health.as_deref() {
                Some("starting") => format!("{up} (health: starting)"),
                Some(health) => format!("{up} ({health})"),
                None => up,
            }
        }
        State::Paused => format!("Up {} (Paused)", age(&container.started_at).unwrap_or_default()),
        State::Restarting => {
            let code = container.exit_code.unwrap_or_default();
            let ago = age(&container.finished_at).map(|age| format!(" {age} ago")).unwrap_or_default();
            format!("Restarting ({code}){ago}")
        }
        State::Exited => {
            let code = container.exit_code.map(|code| format!(" ({code})")).unwrap_or_default();
            let ago = age(&container.finished_at).map(|age| format!(" {age} ago")).unwrap_or_default();
            format!("Exited{code}{ago}")
        }
        other => {
            let name = other.name();
            name.chars().take(1).flat_map(char::to_uppercase).chain(name.chars().skip(1)).collect()
        }
    }
}

/// What `inspect` shows of a container.
pub(crate) fn looked_at(container: &Container, size: bool) -> Result<serde_json::Value, Error> {
    if size { container.inspect_docker_with_size() } else { container.inspect_docker() }
}

pub(crate) fn inspect(global: &Global, args: ContainerInspectArgs) -> Outcome {
    let engine = open(global)?;
    let mut found = Vec::new();
    let status = each(&args.objects.names, |name| {
        found.push(looked_at(&engine.containers().get(name)?, args.size)?);
        Ok(())
    })?;
    print_objects(&found, args.objects.format)?;
    Ok(status)
}

/// Prints what `inspect` found: an array as docker does it, also when nothing was found.
pub(crate) fn print_objects(found: &[impl serde::Serialize], format: InspectFormat) -> Result<(), Failure> {
    match format {
        InspectFormat::Pretty => output::pretty_json(&found),
        InspectFormat::Json => output::json(&found),
    }
}

pub(crate) fn logs(global: &Global, args: LogsArgs) -> Outcome {
    let now = Timestamp::now();
    let mut options = LogOptions::default();
    options.follow = args.follow;
    options.tail = match args.tail.as_str() {
        "all" => None,
        number => Some(number.parse().map_err(|_| {
            refuse(
                format!("--tail \"{}\" is not a number", number.escape_default()),
                "give a number of lines, or all",
            )
        })?),
    };
    options.since = args.since.as_deref().map(|text| time::point(text, now)).transpose()?;
    options.until = args.until.as_deref().map(|text| time::point(text, now)).transpose()?;
    let container = open(global)?.containers().get(&args.container)?;
    let details = if args.details { Some(details(&container)?) } else { None };
    let mut stream = container.logs(options)?;
    let mut stamped = Stamper::default();
    while let Some(record) = stream.next(&CancelToken::never())? {
        let time = args.timestamps.then(|| time::stamp(record.time));
        let before: Vec<&str> = [&time, &details].into_iter().flatten().map(String::as_str).collect();
        let data = match before.is_empty() {
            false => stamped.stamp(record.source, &record.data, &before.join(" ")),
            true => record.data,
        };
        match record.source {
            LogSource::Stderr => output::error_bytes(&data),
            _ => output::bytes(&data)?,
        }
    }
    Ok(0)
}

/// What each line says of the container, in docker's form: names and values as in an address of the web, with commas between.
fn details(container: &Container) -> Result<String, Error> {
    let escaped = |text: &String| -> String {
        let one = |byte: u8| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                char::from(byte).to_string()
            }
            b' ' => "+".to_owned(),
            other => format!("%{other:02X}"),
        };
        text.bytes().map(one).collect()
    };
    let all = container.log_attributes()?;
    let words: Vec<String> =
        all.iter().map(|(name, value)| format!("{}={}", escaped(name), escaped(value))).collect();
    Ok(words.join(","))
}

/// Puts a time in front of each line. A record can end in the middle of a line, so it remembers where each stream stands.
#[derive(Default)]
struct Stamper {
    open_stdout: bool,
    open_stderr: bool,
}

impl Stamper {
    fn stamp(&mut self, source: LogSource, data: &[u8], time: &str) -> Vec<u8> {
        let open = if source == LogSource::Stderr { &mut self.open_stderr } else { &mut self.open_stdout };
        let mut out = Vec::with_capacity(data.len() + time.len() + 1);
        for line in data.split_inclusive(|byte| *byte == b'\n') {
            if !*open {
                out.extend_from_slice(time.as_bytes());
                out.push(b' ');
            }
            out.extend_from_slice(line);
            *open = !line.ends_with(b"\n");
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_gets_one_stamp_however_it_arrives() {
        let mut stamper = Stamper::default();
        assert_eq!(stamper.stamp(LogSource::Stdout, b"a\nb", "T1"), b"T1 a\nT1 b");
        assert_eq!(stamper.stamp(LogSource::Stderr, b"e\n", "T2"), b"T2 e\n");
        assert_eq!(stamper.stamp(LogSource::Stdout, b"c\nd\n", "T3"), b"c\nT3 d\n");
        assert_eq!(stamper.stamp(LogSource::Stdout, b"", "T4"), b"");
    }
}
