//! The verbs on images.

use std::io::IsTerminal;
use std::os::fd::AsFd;

use coble::{Engine, Error, HostItem, ImageSummary, ImportOptions, Source, Warning, parse};
use jiff::Timestamp;

use crate::args::{
    Format, FromHostArgs, Global, HistoryArgs, ImageInspectArgs, ImageOptions, ImagesArgs, ImportArgs,
    LoadArgs, PlatformArgs, References, RmiArgs, TagArgs,
};
use crate::output::{self, Outcome, Table};
use crate::progress::{Verb, shown};
use crate::{containers, each, image_store, open, refuse, time};

pub(crate) fn list(global: &Global, args: ImagesArgs) -> Outcome {
    let mut filters = args.filter;
    filters.extend(args.reference.map(|reference| format!("reference={reference}")));
    let images = open(global)?.images().list(&filters)?;
    if args.output.format == Format::Json {
        output::json(&images)?;
        return Ok(0);
    }
    let now = Timestamp::now();
    let mut table = match args.digests {
        true => Table::new(&["REPOSITORY", "TAG", "DIGEST", "IMAGE ID", "CREATED", "SIZE"]),
        false => Table::new(&["REPOSITORY", "TAG", "IMAGE ID", "CREATED", "SIZE"]),
    };
    for image in &images {
        let id = if args.no_trunc { image.id.clone() } else { output::short_id(&image.id) };
        if args.quiet {
            output::line(id)?;
            continue;
        }
        let created = image.created.as_deref().map(|text| format!("{} ago", time::age(text, now)));
        let created = created.unwrap_or_else(|| "N/A".to_owned());
        for (repository, tag, digest) in rows(image, args.digests) {
            let size = output::size(image.size);
            match args.digests {
                true => table.row([repository, tag, digest, id.clone(), created.clone(), size]),
                false => table.row([repository, tag, id.clone(), created.clone(), size]),
            }
        }
    }
    if !args.quiet {
        table.print()?;
    }
    Ok(0)
}

/// Repository, tag and digest of each line that an image has in a list. As docker has it, what a repository is known to have is said beside each tag of that,
/// and a repository that it has no name of is shown without a tag. A name of no known registry has the digest of the manifest.
fn rows(image: &ImageSummary, digests: bool) -> Vec<(String, String, String)> {
    let none = || "<none>".to_owned();
    let known: Vec<(String, &str)> = image
        .repo_digests
        .iter()
        .filter_map(|name| name.split_once('@'))
        .map(|(repository, digest)| (output::split_reference(repository).0, digest))
        .collect();
    let names: Vec<(String, String)> =
        image.references.iter().map(|reference| output::split_reference(reference)).collect();
    let mut rows = Vec::new();
    let mut add = |repository: &str, tag: String, found: &[&str]| match found {
        [] => rows.push((repository.to_owned(), tag, image.digest.clone())),
        found => rows.extend(
            found
                .iter()
                .take(if digests { usize::MAX } else { 1 })
                .map(|digest| (repository.to_owned(), tag.clone(), (*digest).to_owned())),
        ),
    };
    let of = |repository: &str| -> Vec<&str> {
        known.iter().filter(|(known, _)| known == repository).map(|(_, digest)| *digest).collect()
    };
    for (repository, tag) in &names {
        add(repository, tag.clone(), &of(repository));
    }
    let mut nameless: Vec<&str> = known.iter().map(|(repository, _)| repository.as_str()).collect();
    nameless.dedup();
    for repository in nameless {
        if !names.iter().any(|(named, _)| named == repository) {
            add(repository, none(), &of(repository));
        }
    }
    if rows.is_empty() {
        rows.push((none(), none(), image.digest.clone()));
    }
    rows
}

/// Standard input as a source, unless a person would have to type it.
pub(crate) fn stdin(advice: &str) -> Result<Source, Error> {
    let stdin = std::io::stdin();
    if stdin.is_terminal() {
        return Err(refuse("standard input is a terminal", advice));
    }
    let fd = stdin.as_fd().try_clone_to_owned();
    Ok(Source::Fd(fd.map_err(|error| Error::io("fcntl", "standard input", &error))?))
}

/// Says what of an image could not be kept: without privileges that can be the owner of every file, so not all of it.
pub(crate) fn warn(warnings: &[Warning]) {
    const SHOWN: usize = 5;
    for warning in warnings.iter().take(SHOWN) {
        output::note(format_args!("warning: {}", output::printable(&warning.message)));
    }
    if warnings.len() > SHOWN {
        output::note("warning: there is more of this kind, which --format json lists");
    }
}

pub(crate) fn load(global: &Global, args: LoadArgs) -> Outcome {
    let source = match args.input {
        Some(path) if path.as_os_str() != "-" => Source::Path(path),
        _ => stdin("give an archive with --input")?,
    };
    let options = image_store::load_options(args.platform);
    let engine = open(global)?;
    let quiet = args.quiet || args.output.format == Format::Json;
    let images = shown(Verb::Load, quiet, |progress, cancel| {
        engine.images().load(source, &options, progress, cancel)
    })?;
    if args.output.format == Format::Json {
        output::json(&images)?;
        return Ok(0);
    }
    for image in images {
        warn(&image.warnings);
        if args.quiet {
            continue;
        }
        if image.references.is_empty() {
            output::line(format_args!("Loaded image ID: {}", image.id))?;
        }
        for reference in &image.references {
            output::line(format_args!("Loaded image: {reference}"))?;
        }
    }
    Ok(0)
}

/// Prints an image that was made here.
fn made(image: &ImageSummary, format: Format) -> Outcome {
    match format {
        Format::Json => output::json(image)?,
        Format::Table => {
            warn(&image.warnings);
            output::line(&image.id)?;
        }
    }
    Ok(0)
}

pub(crate) fn import(global: &Global, args: ImportArgs) -> Outcome {
    let format = args.options.output.format;
    let quiet = args.options.quiet || format == Format::Json;
    let options = import_options(args.options)?;
    let source = if args.file.as_os_str() == "-" { stdin("give a file")? } else { Source::Path(args.file) };
    let engine = open(global)?;
    let image = shown(Verb::Import, quiet, |progress, cancel| {
        engine.images().import_rootfs(source, args.reference.as_deref(), options, progress, cancel)
    })?;
    made(&image, format)
}

pub(crate) fn from_host(global: &Global, args: FromHostArgs) -> Outcome {
    let format = args.options.output.format;
    let quiet = args.options.quiet || format == Format::Json;
    let options = import_options(args.options)?;
    let items: Vec<HostItem> = args.items.iter().map(|item| HostItem::from(item.as_str())).collect();
    let engine = open(global)?;
    let image = shown(Verb::Import, quiet, |progress, cancel| {
        engine.images().from_host(&items, args.tag.as_deref(), options, progress, cancel)
    })?;
    made(&image, format)
}

fn import_options(args: ImageOptions) -> Result<ImportOptions, Error> {
    let mut options = ImportOptions::default();
    options.command = args.cmd.as_deref().map(parse::words).transpose()?;
    options.entrypoint = args.entrypoint.as_deref().map(parse::words).transpose()?;
    for variable in &args.env {
        let (name, value) = parse::assignment(variable)?;
        let value = value.ok_or_else(|| {
            refuse(format!("environment \"{}\" has no value", name.escape_default()), "give NAME=VALUE")
        })?;
        options.environment.push((name, value));
    }
    options.working_dir = args.workdir;
    options.user = args.user;
    for label in &args.label {
        let (name, value) = parse::assignment(label)?;
        options.labels.insert(name, value.unwrap_or_default());
    }
    options.message = args.message;
    options.author = args.author;
    options.changes = args.change;
    options.platform = args.platform;
    Ok(options)
}

/// What an image is called in a call: the id if a platform of its name was chosen.
fn chosen(engine: &Engine, image: &str, choice: &PlatformArgs) -> Result<String, Error> {
    match &choice.platform {
        Some(platform) => Ok(engine.images().get_platform(image, platform)?.id),
        None => Ok(image.to_owned()),
    }
}

pub(crate) fn inspect(global: &Global, args: ImageInspectArgs) -> Outcome {
    let engine = open(global)?;
    let mut found = Vec::new();
    let status = each(&args.objects.names, |name| {
        found.push(engine.images().inspect_docker(&chosen(&engine, name, &args.choice)?)?);
        Ok(())
    })?;
    containers::print_objects(&found, args.objects.format)?;
    Ok(status)
}

pub(crate) fn tag(global: &Global, args: TagArgs) -> Outcome {
    let engine = open(global)?;
    engine.images().tag(&chosen(&engine, &args.image, &args.choice)?, &args.reference)?;
    Ok(0)
}

pub(crate) fn untag(global: &Global, args: References) -> Outcome {
    let engine = open(global)?;
    each(&args.references, |reference| {
        let name = engine.images().untag(reference)?;
        output::line(format_args!("Untagged: {name}"))
    })
}

pub(crate) fn remove(global: &Global, args: RmiArgs) -> Outcome {
    let engine = open(global)?;
    let json = args.output.format == Format::Json;
    let mut all = Vec::new();
    let status = each(&args.images, |image| {
        let removed = engine.images().remove(&chosen(&engine, image, &args.choice)?, args.force)?;
        if json {
            all.push(removed);
            return Ok(());
        }
        removed.untagged.iter().try_for_each(|name| output::line(format_args!("Untagged: {name}")))?;
        removed.deleted.iter().try_for_each(|id| output::line(format_args!("Deleted: {id}")))
    })?;
    if json {
        output::json(&all)?;
    }
    Ok(status)
}

pub(crate) fn history(global: &Global, args: HistoryArgs) -> Outcome {
    let engine = open(global)?;
    let entries = engine.images().history(&chosen(&engine, &args.image, &args.choice)?)?;
    if args.output.format == Format::Json {
        output::json(&entries)?;
        return Ok(0);
    }
    let now = Timestamp::now();
    let mut table = Table::new(&["LAYER", "CREATED", "CREATED BY", "SIZE", "COMMENT"]);
    for entry in &entries {
        let layer = entry.layer.as_deref().map_or_else(
            || "<empty>".to_owned(),
            |layer| if args.no_trunc { layer.to_owned() } else { output::short_id(layer) },
        );
        if args.quiet {
            output::line(layer)?;
            continue;
        }
        let mut by = entry.created_by.clone();
        if !args.no_trunc && by.chars().count() > 45 {
            by = by.chars().take(44).chain(['…']).collect();
        }
        table.row([
            layer,
            entry
                .created
                .as_deref()
                .map_or_else(|| "N/A".to_owned(), |text| format!("{} ago", time::age(text, now))),
            by,
            output::size(entry.size),
            entry.comment.clone().unwrap_or_default(),
        ]);
    }
    if !args.quiet {
        table.print()?;
    }
    Ok(0)
}
