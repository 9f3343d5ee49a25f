//! The verbs below `volume`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use coble::{Exported, Source, VolumeOptions, VolumePruneOptions, parse};

use crate::args::{Format, FormatArgs, Global, ObjectArgs};
use crate::image_store::sink;
use crate::output::{self, Outcome, Table};
use crate::signals::cancellable;
use crate::{containers, each, images, open, prompt};

#[derive(Debug, Subcommand)]
pub(crate) enum VolumeCommand {
    /// Make a volume
    Create(VolumeCreateArgs),
    /// Make a volume that has what another one has, without copying it
    Clone(VolumeCloneArgs),
    /// List volumes
    #[command(alias = "list")]
    Ls(VolumeLsArgs),
    /// Print everything about volumes as JSON
    Inspect(ObjectArgs),
    /// Remove volumes that nothing uses
    #[command(alias = "remove")]
    Rm(VolumeRmArgs),
    /// Remove all volumes that nothing uses and nobody has named
    Prune(VolumePruneArgs),
    /// Write what is in a volume as a tar
    Export(VolumeExportArgs),
    /// Unpack a tar in a volume
    Import(VolumeImportArgs),
}

#[derive(Debug, Args)]
pub(crate) struct VolumeCreateArgs {
    /// Driver: local is the only one
    #[arg(short, long, value_name = "DRIVER")]
    driver: Option<String>,
    /// Set a label
    #[arg(long, value_name = "NAME=VALUE")]
    label: Vec<String>,
    /// Set an option of the driver, which has none
    #[arg(short, long, value_name = "NAME=VALUE")]
    opt: Vec<String>,
    /// Name; made up if it is left out
    #[arg(value_name = "VOLUME")]
    name: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct VolumeCloneArgs {
    /// The volume, which nothing can be written to as long as it has clones
    #[arg(value_name = "SOURCE")]
    source: String,
    /// Name of the clone; made up if it is left out
    #[arg(value_name = "VOLUME")]
    name: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct VolumeLsArgs {
    /// Only volumes that meet a condition: dangling, driver, label, label!, name
    #[arg(short, long, value_name = "KEY=VALUE")]
    filter: Vec<String>,
    /// Only names
    #[arg(short, long)]
    quiet: bool,
    #[command(flatten)]
    output: FormatArgs,
}

#[derive(Debug, Args)]
pub(crate) struct VolumeRmArgs {
    /// One that is not there is no error
    #[arg(short, long)]
    force: bool,
    /// Names
    #[arg(required = true, value_name = "VOLUME")]
    names: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct VolumePruneArgs {
    /// Remove those that somebody has named, too
    #[arg(short, long)]
    all: bool,
    /// Remove only volumes that meet a condition: all, label, label!
    #[arg(long, value_name = "KEY=VALUE")]
    filter: Vec<String>,
    /// Do not ask
    #[arg(short, long)]
    force: bool,
    #[command(flatten)]
    output: FormatArgs,
}

#[derive(Debug, Args)]
pub(crate) struct VolumeExportArgs {
    /// Write to a file instead of standard output
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Name
    #[arg(value_name = "VOLUME")]
    name: String,
}

#[derive(Debug, Args)]
pub(crate) struct VolumeImportArgs {
    /// Name
    #[arg(value_name = "VOLUME")]
    name: String,
    /// The tar, compressed or not; - is standard input, as is nothing
    #[arg(value_name = "FILE")]
    source: Option<PathBuf>,
}

pub(crate) fn volume(global: &Global, command: VolumeCommand) -> Outcome {
    match command {
        VolumeCommand::Create(args) => create(global, args),
        VolumeCommand::Clone(args) => clone(global, args),
        VolumeCommand::Ls(args) => list(global, args),
        VolumeCommand::Inspect(args) => inspect(global, args),
        VolumeCommand::Rm(args) => remove(global, args),
        VolumeCommand::Prune(args) => prune(global, args),
        VolumeCommand::Export(args) => export(global, args),
        VolumeCommand::Import(args) => import(global, args),
    }
}

fn create(global: &Global, args: VolumeCreateArgs) -> Outcome {
    let pairs = |texts: &[String]| -> Result<_, coble::Error> {
        let pair =
            |text: &String| parse::assignment(text).map(|(name, value)| (name, value.unwrap_or_default()));
        texts.iter().map(pair).collect()
    };
    let mut options = VolumeOptions::default();
    options.name = args.name;
    options.driver = args.driver;
    options.labels = pairs(&args.label)?;
    options.driver_opts = pairs(&args.opt)?;
    output::line(open(global)?.volumes().create(&options)?.name())?;
    Ok(0)
}

fn clone(global: &Global, args: VolumeCloneArgs) -> Outcome {
    let engine = open(global)?;
    let made =
        cancellable(|cancel| engine.volumes().clone_volume(&args.source, args.name.as_deref(), cancel))?;
    output::line(made.name())?;
    Ok(0)
}

fn list(global: &Global, args: VolumeLsArgs) -> Outcome {
    let found = open(global)?.volumes().list(&args.filter)?;
    if args.output.format == Format::Json {
        output::json(&found)?;
        return Ok(0);
    }
    if args.quiet {
        found.iter().try_for_each(|volume| output::line(&volume.name))?;
        return Ok(0);
    }
    let mut table = Table::new(&["DRIVER", "VOLUME NAME"]);
    for volume in found {
        table.row([volume.driver, volume.name]);
    }
    table.print()?;
    Ok(0)
}

fn inspect(global: &Global, args: ObjectArgs) -> Outcome {
    let engine = open(global)?;
    let mut found = Vec::new();
    let status = each(&args.names, |name| {
        found.push(engine.volumes().get(name)?.inspect_docker()?);
        Ok(())
    })?;
    containers::print_objects(&found, args.format)?;
    Ok(status)
}

fn remove(global: &Global, args: VolumeRmArgs) -> Outcome {
    let engine = open(global)?;
    each(&args.names, |name| {
        engine.volumes().remove(name, args.force)?;
        output::line(name)
    })
}

fn prune(global: &Global, args: VolumePruneArgs) -> Outcome {
    let mut options = VolumePruneOptions::default();
    options.all = args.all;
    options.filters = args.filter;
    if !args.force {
        let what = if args.all { "all volumes" } else { "all volumes without a name of somebody's" };
        prompt::confirm(&format!("This removes {what} that no container uses."))?;
    }
    let engine = open(global)?;
    let pruned = cancellable(|cancel| engine.volumes().prune(&options, cancel))?;
    if args.output.format == Format::Json {
        output::json(&pruned)?;
        return Ok(0);
    }
    pruned.deleted.iter().try_for_each(|name| output::line(format_args!("Deleted: {name}")))?;
    output::line(format_args!("Total reclaimed space: {}", output::size(pruned.reclaimed)))?;
    Ok(0)
}

fn export(global: &Global, args: VolumeExportArgs) -> Outcome {
    let sink = sink(args.output)?;
    let volume = open(global)?.volumes().get(&args.name)?;
    warn(&cancellable(|cancel| volume.export(sink, cancel))?);
    Ok(0)
}

fn import(global: &Global, args: VolumeImportArgs) -> Outcome {
    let source = match args.source.filter(|path| path.as_os_str() != "-") {
        Some(path) => Source::Path(path),
        None => images::stdin("name a file, or send one to standard input")?,
    };
    let volume = open(global)?.volumes().get(&args.name)?;
    warn(&cancellable(|cancel| volume.import(source, cancel))?);
    Ok(0)
}

/// Says what could not be kept as it was.
fn warn(exported: &Exported) {
    for warning in &exported.warnings {
        output::note(format_args!("warning: {}", output::printable(&warning.message)));
    }
}
