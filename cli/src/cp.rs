//! Copying files between the host and containers, and whole containers.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};

use clap::Args;
use coble::{CancelToken, Exported, FileCopyOptions, SnapshotOptions};

use crate::args::Global;
use crate::output::{self, Outcome};
use crate::{image_store, images, open, refuse};

#[derive(Debug, Args)]
pub(crate) struct CpArgs {
    /// Keep the numbers of owners and groups
    #[arg(short, long)]
    archive: bool,
    /// Follow a link that the source ends in
    #[arg(short = 'L', long)]
    follow_link: bool,
    /// Do not say how much was copied (never said when standard output is no terminal)
    #[arg(short, long, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    quiet: Option<bool>,
    /// CONTAINER:PATH, a path of the host, or - for a tar on standard input
    #[arg(value_name = "SOURCE", allow_hyphen_values = true)]
    source: String,
    /// CONTAINER:PATH, a path of the host, or - for a tar on standard output
    #[arg(value_name = "DESTINATION", allow_hyphen_values = true)]
    destination: String,
}

/// One side of a copy.
enum Side<'a> {
    Container(&'a str, &'a str),
    Host(&'a str),
    Stream,
}

impl Side<'_> {
    /// As docker has it, what begins with a dot or a slash is a path of the host.
    fn parse(text: &str) -> Side<'_> {
        match text.split_once(':') {
            Some((container, path)) if !container.starts_with(['.', '/']) => Side::Container(container, path),
            _ if text == "-" => Side::Stream,
            _ => Side::Host(text),
        }
    }
}

pub(crate) fn cp(global: &Global, args: CpArgs) -> Outcome {
    let never = CancelToken::never();
    let mut options = FileCopyOptions::default();
    options.follow_link = args.follow_link;
    options.archive = args.archive;
    let find = |name: &str| open(global)?.containers().get(name);
    let (copied, place) = match (Side::parse(&args.source), Side::parse(&args.destination)) {
        (Side::Container(name, path), Side::Stream) => {
            let sink = image_store::sink(None)?;
            (find(name)?.get_archive(path, sink, args.follow_link, &never)?, None)
        }
        (Side::Container(name, path), Side::Host(dest)) => {
            let copied = find(name)?.copy_from(path, Path::new(dest), &options, &never)?;
            (
                copied,
                Some(std::path::absolute(dest).unwrap_or_else(|_| PathBuf::from(dest)).display().to_string()),
            )
        }
        (Side::Stream, Side::Container(name, path)) => {
            let archive = images::stdin("send a tar to standard input")?;
            (find(name)?.put_archive(path, archive, &never)?, None)
        }
        (Side::Host(source), Side::Container(name, path)) => {
            (find(name)?.copy_to(Path::new(source), path, &options, &never)?, Some(args.destination.clone()))
        }
        (Side::Container(..), Side::Container(..)) => {
            let hint = "write a tar with - and read it: coble cp A:PATH - | coble cp - B:PATH";
            return Err(refuse("copying between containers is not supported", hint).into());
        }
        _ => return Err(refuse("one of the two must be a path of a container", "give CONTAINER:PATH").into()),
    };
    report(&copied, place, args.quiet.unwrap_or_else(|| !std::io::stdout().is_terminal()));
    Ok(0)
}

fn report(copied: &Exported, place: Option<String>, quiet: bool) {
    for warning in &copied.warnings {
        output::note(format_args!("warning: {}", warning.message));
    }
    if let (Some(place), false) = (place, quiet) {
        let size = output::size(copied.bytes);
        output::note(format_args!("Successfully copied {size} to {}", coble::visible(&place)));
    }
}

#[derive(Debug, Args)]
pub(crate) struct CloneArgs {
    /// Do not stop a running container while its files are copied
    #[arg(long)]
    no_pause: bool,
    /// The container whose options and files the new one has
    #[arg(value_name = "CONTAINER")]
    container: String,
    /// The name of the new one
    #[arg(value_name = "NAME")]
    name: Option<String>,
}

pub(crate) fn clone(global: &Global, args: CloneArgs) -> Outcome {
    let mut options = SnapshotOptions::default();
    options.name = args.name;
    options.pause = !args.no_pause;
    let made = open(global)?.containers().get(&args.container)?.snapshot(&options, &CancelToken::never())?;
    output::line(made.id())?;
    Ok(0)
}
