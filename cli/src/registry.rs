//! `search`, and the verbs below `registry`: what there is in registries.

use clap::{Args, Subcommand};
use coble::SearchOptions;

use crate::args::{Format, FormatArgs, Global, InspectFormat};
use crate::open;
use crate::output::{self, Outcome, Table};
use crate::progress::hear;
use crate::reach::ReachArgs;
use crate::signals::cancellable;

#[derive(Debug, Args)]
pub(crate) struct SearchArgs {
    /// Only results that meet a condition: is-official, stars
    #[arg(short, long, value_name = "KEY=VALUE")]
    filter: Vec<String>,
    /// The most results (default: 25)
    #[arg(long, value_name = "NUMBER")]
    limit: Option<u32>,
    /// Do not shorten
    #[arg(long)]
    no_trunc: bool,
    #[command(flatten)]
    reach: ReachArgs,
    #[command(flatten)]
    output: FormatArgs,
    /// What to look for, with or without a registry in front
    #[arg(value_name = "TERM")]
    term: String,
}

#[derive(Debug, Subcommand)]
pub(crate) enum RegistryCommand {
    /// List the tags of a repository
    Tags(RepositoryArgs),
    /// List the repositories of a registry
    Catalog(CatalogArgs),
    /// Print what a name stands for in its registry, as JSON
    Inspect(RemoteArgs),
    /// Delete a tag, or with a digest a manifest with all its tags, or else the blob
    Delete(DeleteArgs),
    /// List what refers to an image: signatures, bills of materials
    Referrers(ReferrersArgs),
}

#[derive(Debug, Args)]
pub(crate) struct RepositoryArgs {
    #[command(flatten)]
    reach: ReachArgs,
    #[command(flatten)]
    output: FormatArgs,
    /// Repository
    #[arg(value_name = "NAME")]
    repository: String,
}

#[derive(Debug, Args)]
pub(crate) struct CatalogArgs {
    #[command(flatten)]
    reach: ReachArgs,
    #[command(flatten)]
    output: FormatArgs,
    /// Host and port of the registry
    #[arg(value_name = "SERVER")]
    server: String,
}

#[derive(Debug, Args)]
pub(crate) struct RemoteArgs {
    /// The image of this platform, such as linux/arm64, instead of the index
    #[arg(long, value_name = "PLATFORM")]
    platform: Option<String>,
    #[command(flatten)]
    reach: ReachArgs,
    /// Output format
    #[arg(short, long, value_enum, default_value_t)]
    format: InspectFormat,
    /// Reference
    #[arg(value_name = "NAME[:TAG|@DIGEST]")]
    reference: String,
}

#[derive(Debug, Args)]
pub(crate) struct DeleteArgs {
    #[command(flatten)]
    reach: ReachArgs,
    /// Reference
    #[arg(value_name = "NAME[:TAG|@DIGEST]")]
    reference: String,
}

#[derive(Debug, Args)]
pub(crate) struct ReferrersArgs {
    /// Only this type
    #[arg(long, value_name = "TYPE")]
    artifact_type: Option<String>,
    #[command(flatten)]
    reach: ReachArgs,
    #[command(flatten)]
    output: FormatArgs,
    /// Reference
    #[arg(value_name = "NAME[:TAG|@DIGEST]")]
    reference: String,
}

pub(crate) fn search(global: &Global, args: SearchArgs) -> Outcome {
    const WIDTH: usize = 45;
    let mut options = SearchOptions::default();
    options.limit = args.limit;
    options.filters = args.filter;
    options.options = args.reach.options()?;
    let engine = open(global)?;
    let found = cancellable(|cancel| engine.images().search(&args.term, &options, &hear, cancel))?;
    if args.output.format == Format::Json {
        output::json(&found)?;
        return Ok(0);
    }
    let mut table = Table::new(&["NAME", "DESCRIPTION", "STARS", "OFFICIAL"]);
    for one in found {
        let mut description = one.description;
        if !args.no_trunc && description.chars().count() > WIDTH {
            description = description.chars().take(WIDTH - 1).chain(['…']).collect();
        }
        let official = if one.official { "[OK]" } else { "" };
        table.row([one.name, description, one.stars.to_string(), official.to_owned()]);
    }
    table.print()?;
    Ok(0)
}

pub(crate) fn registry(global: &Global, command: RegistryCommand) -> Outcome {
    match command {
        RegistryCommand::Tags(args) => {
            let (engine, options) = (open(global)?, args.reach.options()?);
            let tags =
                cancellable(|cancel| engine.registry().tags(&args.repository, &options, &hear, cancel))?;
            lines(&tags, args.output.format)
        }
        RegistryCommand::Catalog(args) => {
            let (engine, options) = (open(global)?, args.reach.options()?);
            let names =
                cancellable(|cancel| engine.registry().catalog(&args.server, &options, &hear, cancel))?;
            lines(&names, args.output.format)
        }
        RegistryCommand::Inspect(args) => {
            let (engine, options) = (open(global)?, args.reach.options()?);
            let platform = args.platform.as_deref();
            let image = cancellable(|cancel| {
                engine.registry().inspect(&args.reference, platform, &options, &hear, cancel)
            })?;
            match args.format {
                InspectFormat::Pretty => output::pretty_json(&image)?,
                InspectFormat::Json => output::json(&image)?,
            }
            Ok(0)
        }
        RegistryCommand::Delete(args) => {
            let (engine, options) = (open(global)?, args.reach.options()?);
            cancellable(|cancel| engine.registry().delete(&args.reference, &options, &hear, cancel))?;
            output::line(format_args!("Deleted: {}", output::printable(&args.reference)))?;
            Ok(0)
        }
        RegistryCommand::Referrers(args) => referrers(global, args),
    }
}

fn lines(texts: &[String], format: Format) -> Outcome {
    match format {
        Format::Json => output::json(&texts)?,
        Format::Table => texts.iter().try_for_each(|text| output::line(output::printable(text)))?,
    }
    Ok(0)
}

fn referrers(global: &Global, args: ReferrersArgs) -> Outcome {
    let (engine, options) = (open(global)?, args.reach.options()?);
    let kind = args.artifact_type.as_deref();
    let found =
        cancellable(|cancel| engine.registry().referrers(&args.reference, kind, &options, &hear, cancel))?;
    if args.output.format == Format::Json {
        output::json(&found)?;
        return Ok(0);
    }
    let mut table = Table::new(&["DIGEST", "ARTIFACT TYPE", "MEDIA TYPE", "SIZE"]);
    for one in found {
        table.row([
            one.digest,
            one.artifact_type.unwrap_or_default(),
            one.media_type,
            output::size(one.size),
        ]);
    }
    table.print()?;
    Ok(0)
}
