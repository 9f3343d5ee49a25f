//! What happens to containers and images.

use clap::Args;
use coble::{CancelToken, ErrorKind, Event, EventOptions};
use jiff::Timestamp;

use crate::args::{Format, FormatArgs, Global};
use crate::output::{self, Outcome};
use crate::{open, time};

#[derive(Debug, Args)]
pub(crate) struct EventsArgs {
    /// Those from this time on: RFC 3339, seconds since the epoch, or a duration such as 10m
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Those before this time, and no waiting for more after it
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// Only those that meet a condition: container, event, image, label, type or volume
    #[arg(short, long, value_name = "KEY=VALUE")]
    filter: Vec<String>,
    #[command(flatten)]
    output: FormatArgs,
}

pub(crate) fn events(global: &Global, args: EventsArgs) -> Outcome {
    let now = Timestamp::now();
    let mut options = EventOptions::new();
    options.since = args.since.as_deref().map(|text| time::point(text, now)).transpose()?;
    options.until = args.until.as_deref().map(|text| time::point(text, now)).transpose()?;
    options.filters = args.filter;
    let mut stream = open(global)?.events(&options)?;
    loop {
        let event = match stream.next(&CancelToken::never()) {
            Ok(Some(event)) => event,
            Ok(None) => return Ok(0),
            Err(error) if error.kind() == ErrorKind::EventsLost => {
                output::note(format_args!("warning: {}", error.message()));
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        match args.output.format {
            Format::Table => output::line(line(&event))?,
            Format::Json => output::json(&event.to_docker())?,
        }
    }
}

/// As docker prints it.
fn line(event: &Event) -> String {
    let attributes: Vec<String> =
        event.attributes.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let text = format!(
        "{} {} {} {} ({})",
        time::stamp(event.time),
        event.kind,
        event.action,
        event.actor,
        attributes.join(", ")
    );
    output::printable(&text)
}
