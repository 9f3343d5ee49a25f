//! The verbs of the image store: saving, exporting, committing, comparing, mounting, pruning, measuring.

use std::io::IsTerminal;
use std::os::fd::AsFd;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use coble::{
    CommitOptions, Error, LoadOptions, PathChange, PruneOptions, SaveFormat, SaveOptions, Sink,
    VolumePruneOptions, VolumesPruned, parse,
};

use crate::args::{Format, FormatArgs, Global};
use crate::events::{self, EventsArgs};
use crate::output::{self, Outcome, Table};
use crate::progress::{Verb, shown};
use crate::signals::cancellable;
use crate::{open, prompt, refuse, system};

#[derive(Debug, Args)]
pub(crate) struct SaveArgs {
    /// A file, or a directory for oci-dir; standard output when not given
    #[arg(short, long, value_name = "PATH")]
    output: Option<PathBuf>,
    /// oci-archive (a docker archive, too), oci-dir, or docker-archive (for tools that know only that)
    #[arg(long, value_name = "FORMAT", default_value = "oci-archive")]
    format: String,
    /// Only this platform, such as linux/arm64; by default all, and with docker-archive, which has one image for a name, the host's
    #[arg(long, value_name = "PLATFORM")]
    platform: Option<String>,
    /// Show no progress
    #[arg(short, long)]
    quiet: bool,
    /// References or ids
    #[arg(required = true, value_name = "IMAGE")]
    images: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct ExportArgs {
    /// A file; standard output when not given
    #[arg(short, long, value_name = "PATH")]
    output: Option<PathBuf>,
    /// Show no progress
    #[arg(short, long)]
    quiet: bool,
    /// Name or id
    #[arg(value_name = "CONTAINER")]
    container: String,
}

#[derive(Debug, Args)]
pub(crate) struct CommitArgs {
    /// Author
    #[arg(short, long)]
    author: Option<String>,
    /// Change the configuration by an instruction of a Dockerfile
    #[arg(short, long, value_name = "INSTRUCTION")]
    change: Vec<String>,
    /// Comment for the history
    #[arg(short, long)]
    message: Option<String>,
    /// Whether a running container is paused meanwhile
    #[arg(short, long, value_name = "BOOL", num_args = 0..=1, require_equals = true,
          default_value_t = true, default_missing_value = "true", action = clap::ArgAction::Set)]
    pause: bool,
    /// Compression of the layer: gzip, zstd or none
    #[arg(long, value_name = "NAME")]
    compression: Option<String>,
    /// Show no progress
    #[arg(short, long)]
    quiet: bool,
    /// Name or id
    #[arg(value_name = "CONTAINER")]
    container: String,
    /// Name of the image
    #[arg(value_name = "REFERENCE")]
    reference: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct DiffArgs {
    #[command(flatten)]
    output: FormatArgs,
    /// Name or id
    #[arg(value_name = "CONTAINER")]
    container: String,
}

#[derive(Debug, Args)]
pub(crate) struct ImageDiffArgs {
    #[command(flatten)]
    output: FormatArgs,
    /// Reference or id
    #[arg(value_name = "OLD")]
    old: String,
    /// Reference or id
    #[arg(value_name = "NEW")]
    new: String,
}

#[derive(Debug, Args)]
pub(crate) struct MountArgs {
    /// Reference or id
    #[arg(value_name = "IMAGE")]
    image: String,
    /// Program of the host and its arguments; the shell when not given
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "COMMAND")]
    command: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct PruneArgs {
    /// Remove every image that no container uses, not only those without a name
    #[arg(short, long)]
    all: bool,
    /// Remove only images that meet a condition: dangling, label, label!, reference, before, since, until
    #[arg(long, value_name = "KEY=VALUE")]
    filter: Vec<String>,
    /// Do not ask
    #[arg(short, long)]
    force: bool,
    /// Keep at least this much
    #[arg(long, value_name = "SIZE")]
    reserved_space: Option<String>,
    /// Remove only what it takes to have no more than this
    #[arg(long, value_name = "SIZE")]
    max_used_space: Option<String>,
    /// Remove only what it takes for the file system to have this much free
    #[arg(long, value_name = "SIZE")]
    min_free_space: Option<String>,
    #[command(flatten)]
    output: FormatArgs,
}

#[derive(Debug, Args)]
pub(crate) struct DfArgs {
    /// Show every image and container
    #[arg(short, long)]
    verbose: bool,
    #[command(flatten)]
    output: FormatArgs,
}

#[derive(Debug, Args)]
pub(crate) struct SystemPruneArgs {
    /// Remove every image that no container uses, not only those without a name
    #[arg(short, long)]
    all: bool,
    /// Remove only what meets a condition: label, label!, until
    #[arg(long, value_name = "KEY=VALUE")]
    filter: Vec<String>,
    /// Remove the volumes that nothing uses and nobody has named, too
    #[arg(long)]
    volumes: bool,
    /// Do not ask
    #[arg(short, long)]
    force: bool,
    #[command(flatten)]
    output: FormatArgs,
}

#[derive(Debug, Args)]
pub(crate) struct VerifyArgs {
    /// Compare unpacked layers with their blobs, too
    #[arg(long)]
    layers: bool,
    /// Mend what can be mended
    #[arg(long)]
    repair: bool,
    /// Show no progress
    #[arg(short, long)]
    quiet: bool,
    #[command(flatten)]
    output: FormatArgs,
}

#[derive(Debug, Subcommand)]
pub(crate) enum SystemCommand {
    /// Show what the store takes of the disk
    Df(DfArgs),
    /// Show what happens to containers, images and volumes
    Events(EventsArgs),
    /// Show facts about the engine and its host
    Info(FormatArgs),
    /// Remove containers that do not run, and images that are not used
    Prune(SystemPruneArgs),
}

pub(crate) fn load_options(platform: Option<String>) -> LoadOptions {
    let mut options = LoadOptions::default();
    options.platform = platform;
    options
}

/// Where an archive goes: standard output unless that is a terminal.
pub(crate) fn sink(output: Option<PathBuf>) -> Result<Sink, Error> {
    if let Some(path) = output.filter(|path| path.as_os_str() != "-") {
        return Ok(Sink::Path(path));
    }
    let stdout = std::io::stdout();
    if stdout.is_terminal() {
        return Err(refuse("standard output is a terminal", "give a file with --output"));
    }
    let fd = stdout.as_fd().try_clone_to_owned();
    Ok(Sink::Fd(fd.map_err(|error| Error::io("fcntl", "standard output", &error))?))
}

pub(crate) fn save(global: &Global, args: SaveArgs) -> Outcome {
    let mut options = SaveOptions::default();
    options.format = SaveFormat::parse(&args.format)?;
    options.platform = args.platform;
    let sink = sink(args.output)?;
    let images: Vec<&str> = args.images.iter().map(String::as_str).collect();
    let engine = open(global)?;
    shown(Verb::Save, args.quiet, |progress, cancel| {
        engine.images().save(&images, sink, &options, progress, cancel)
    })?;
    Ok(0)
}

pub(crate) fn export(global: &Global, args: ExportArgs) -> Outcome {
    let sink = sink(args.output)?;
    let container = open(global)?.containers().get(&args.container)?;
    let exported =
        shown(Verb::Export, args.quiet, |progress, cancel| container.export(sink, progress, cancel))?;
    for warning in &exported.warnings {
        output::note(format_args!("warning: {}", warning.message));
    }
    Ok(0)
}

pub(crate) fn commit(global: &Global, args: CommitArgs) -> Outcome {
    let mut options = CommitOptions::default();
    options.changes = args.change;
    options.author = args.author;
    options.message = args.message;
    options.pause = args.pause;
    options.compression = args.compression;
    let container = open(global)?.containers().get(&args.container)?;
    let image = shown(Verb::Commit, args.quiet, |progress, cancel| {
        container.commit(args.reference.as_deref(), &options, progress, cancel)
    })?;
    output::line(image.id)?;
    Ok(0)
}

fn changes(found: &[PathChange], format: Format) -> Outcome {
    match format {
        Format::Json => output::json(&found)?,
        Format::Table => found.iter().try_for_each(|change| {
            output::line(format_args!("{} {}", change.kind.letter(), output::printable(&change.path)))
        })?,
    }
    Ok(0)
}

pub(crate) fn diff(global: &Global, args: DiffArgs) -> Outcome {
    let container = open(global)?.containers().get(&args.container)?;
    let found = cancellable(|cancel| container.diff(cancel))?;
    changes(&found, args.output.format)
}

pub(crate) fn image_diff(global: &Global, args: ImageDiffArgs) -> Outcome {
    let engine = open(global)?;
    let found = cancellable(|cancel| engine.images().diff(&args.old, &args.new, cancel))?;
    changes(&found, args.output.format)
}

/// Runs a program of the host in the image's root directory. The mount goes with this process.
pub(crate) fn mount(global: &Global, args: MountArgs) -> Outcome {
    let engine = open(global)?;
    let mount = cancellable(|cancel| engine.images().mount(&args.image, cancel))?;
    let shell =
        || std::env::var("SHELL").ok().filter(|shell| !shell.is_empty()).unwrap_or_else(|| "/bin/sh".into());
    let (program, arguments) = match args.command.split_first() {
        Some((program, arguments)) => (program.clone(), arguments.to_vec()),
        None => (shell(), Vec::new()),
    };
    let status = std::process::Command::new(&program)
        .args(arguments)
        .current_dir(mount.path())
        .status()
        .map_err(|error| Error::io("execute", &program, &error))?;
    let code = status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0));
    Ok(u8::try_from(code).unwrap_or(125))
}

pub(crate) fn prune(global: &Global, args: PruneArgs) -> Outcome {
    let mut options = PruneOptions::default();
    options.all = args.all;
    options.filters = args.filter;
    options.reserved = args.reserved_space.as_deref().map(parse::size).transpose()?;
    options.max_used = args.max_used_space.as_deref().map(parse::size).transpose()?;
    options.min_free = args.min_free_space.as_deref().map(parse::size).transpose()?;
    if !args.force {
        let what = if args.all { "all images that no container uses" } else { "all images without a name" };
        prompt::confirm(&format!("This removes {what}."))?;
    }
    let engine = open(global)?;
    let pruned = cancellable(|cancel| engine.images().prune(&options, cancel))?;
    if args.output.format == Format::Json {
        output::json(&pruned)?;
        return Ok(0);
    }
    pruned.untagged.iter().try_for_each(|name| output::line(format_args!("Untagged: {name}")))?;
    pruned.deleted.iter().try_for_each(|id| output::line(format_args!("Deleted: {id}")))?;
    output::line(format_args!("Total reclaimed space: {}", output::size(pruned.reclaimed)))?;
    Ok(0)
}

pub(crate) fn manage(global: &Global, command: SystemCommand) -> Outcome {
    match command {
        SystemCommand::Df(args) => disk_usage(global, args),
        SystemCommand::Events(args) => events::events(global, args),
        SystemCommand::Info(args) => system::info(global, args),
        SystemCommand::Prune(args) => system_prune(global, args),
    }
}

/// Containers first, so that their images are not used any more.
fn system_prune(global: &Global, args: SystemPruneArgs) -> Outcome {
    if args.volumes && args.filter.iter().any(|text| text.starts_with("until=")) {
        // Nobody knows when a volume was used last.
        return Err(Error::new(
            coble::ErrorKind::InvalidArgument,
            "--volumes cannot be combined with the filter until",
        )
        .with_hint("use `coble volume prune` for the volumes")
        .into());
    }
    if !args.force {
        let images = if args.all { "all images that no container uses" } else { "all images without a name" };
        let volumes = if args.volumes { ", all volumes that nothing uses and nobody has named" } else { "" };
        prompt::confirm(&format!("This removes all containers that do not run{volumes}, and {images}."))?;
    }
    let engine = open(global)?;
    let containers = engine.containers().prune(&args.filter)?;
    let mut volumes = VolumesPruned::default();
    if args.volumes {
        let mut options = VolumePruneOptions::default();
        options.filters = args.filter.clone();
        volumes = cancellable(|cancel| engine.volumes().prune(&options, cancel))?;
    }
    let mut options = PruneOptions::default();
    options.all = args.all;
    options.filters = args.filter;
    let images = cancellable(|cancel| engine.images().prune(&options, cancel))?;
    let reclaimed = containers.reclaimed.saturating_add(images.reclaimed).saturating_add(volumes.reclaimed);
    if args.output.format == Format::Json {
        output::json(
            &serde_json::json!({ "containers": containers, "images": images, "volumes": volumes, "reclaimed": reclaimed }),
        )?;
        return Ok(0);
    }
    if !containers.deleted.is_empty() {
        output::line("Deleted Containers:")?;
        containers.deleted.iter().try_for_each(output::line)?;
        output::line("")?;
    }
    if !volumes.deleted.is_empty() {
        output::line("Deleted Volumes:")?;
        volumes.deleted.iter().try_for_each(output::line)?;
        output::line("")?;
    }
    if !images.untagged.is_empty() || !images.deleted.is_empty() {
        output::line("Deleted Images:")?;
        images.untagged.iter().try_for_each(|name| output::line(format_args!("untagged: {name}")))?;
        images.deleted.iter().try_for_each(|id| output::line(format_args!("deleted: {id}")))?;
        output::line("")?;
    }
    output::line(format_args!("Total reclaimed space: {}", output::size(reclaimed)))?;
    Ok(0)
}

fn disk_usage(global: &Global, args: DfArgs) -> Outcome {
    let engine = open(global)?;
    let usage = cancellable(|cancel| engine.disk_usage(cancel))?;
    if args.output.format == Format::Json {
        output::json(&usage)?;
        return Ok(0);
    }
    let size = output::size;
    let images = usage.images.len().to_string();
    let used = usage.images.iter().filter(|image| image.containers > 0).count().to_string();
    let containers = usage.containers.len().to_string();
    let running =
        usage.containers.iter().filter(|container| container.state == "running").count().to_string();
    let mut table = Table::new(&["TYPE", "TOTAL", "ACTIVE", "SIZE", "RECLAIMABLE"]);
    let none = String::new;
    table.row(["Images".into(), images, used, size(usage.blobs + usage.layers), size(usage.reclaimable)]);
    table.row(["Containers".into(), containers, running, size(usage.writable + usage.logs), none()]);
    let volumes = usage.volumes.len().to_string();
    let unused = usage.volumes.iter().filter(|volume| volume.containers == 0 && volume.clones == 0);
    let (idle, idle_size) = unused.fold((0, 0), |(count, bytes), volume| (count + 1, bytes + volume.size));
    let active = (usage.volumes.len() - idle).to_string();
    table.row(["Local Volumes".into(), volumes, active, size(usage.volumes_size), size(idle_size)]);
    table.row(["Other".into(), none(), none(), size(usage.other), none()]);
    table.row(["All".into(), none(), none(), size(usage.total), none()]);
    table.print()?;
    if args.verbose {
        output::line("")?;
        let mut table =
            Table::new(&["IMAGE ID", "NAMES", "SIZE", "SHARED SIZE", "UNIQUE SIZE", "CONTAINERS"]);
        for image in &usage.images {
            table.row([
                output::short_id(&image.id),
                image.references.join(" "),
                size(image.size),
                size(image.shared),
                size(image.unique),
                image.containers.to_string(),
            ]);
        }
        table.print()?;
        output::line("")?;
        let mut table = Table::new(&["CONTAINER ID", "NAME", "IMAGE", "STATE", "SIZE", "LOGS"]);
        for container in &usage.containers {
            table.row([
                output::short_id(&container.id),
                container.name.clone(),
                container.image.clone(),
                container.state.clone(),
                size(container.writable),
                size(container.logs),
            ]);
        }
        table.print()?;
        output::line("")?;
        let mut table = Table::new(&["VOLUME NAME", "LINKS", "SIZE"]);
        for volume in &usage.volumes {
            table.row([
                volume.name.clone(),
                (volume.containers + volume.clones).to_string(),
                size(volume.size),
            ]);
        }
        table.print()?;
    }
    Ok(0)
}

pub(crate) fn verify(global: &Global, args: VerifyArgs) -> Outcome {
    let quiet = args.quiet || args.output.format == Format::Json;
    let engine = open(global)?;
    if !args.layers && !args.repair {
        let problems = shown(Verb::Check, quiet, |progress, cancel| engine.verify(progress, cancel))?;
        match args.output.format {
            Format::Json => output::json(&problems)?,
            Format::Table => problems.iter().try_for_each(output::line)?,
        }
        return Ok(if problems.is_empty() { 0 } else { 1 });
    }
    let scrub = shown(Verb::Check, quiet, |progress, cancel| engine.scrub(args.repair, progress, cancel))?;
    match args.output.format {
        Format::Json => output::json(&scrub)?,
        Format::Table => scrub.problems.iter().try_for_each(|problem| {
            let mended = if problem.repaired { " (mended)" } else { "" };
            output::line(format_args!("{}{mended}", problem.message))
        })?,
    }
    Ok(if scrub.problems.iter().all(|problem| problem.repaired) { 0 } else { 1 })
}
