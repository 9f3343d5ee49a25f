//! `pull`, `image lock`, and the pull that the making of a container begins with.

use std::path::PathBuf;

use clap::Args;
use coble::{Container, ContainerSpec, Engine, Error, ImageSummary, PullOptions, PullPlan, PullPolicy};

use crate::args::{Format, FormatArgs, Global};
use crate::images;
use crate::output::{self, Failure, Outcome, Table};
use crate::progress::{Show, Verb, hear};
use crate::reach::ReachArgs;
use crate::signals::cancellable;
use crate::{open, refuse};

#[derive(Debug, Args)]
pub(crate) struct PullArgs {
    /// Print nothing but the name
    #[arg(short, long)]
    quiet: bool,
    /// Pull every tag of the repository
    #[arg(short, long, conflicts_with = "dry_run")]
    all_tags: bool,
    /// Pull this platform, such as linux/arm64, or all
    #[arg(long, value_name = "PLATFORM")]
    platform: Option<String>,
    /// When the registry is asked: always, missing (if the image is not there), never or newer (the image that is there is good enough if it
    /// cannot be reached)
    #[arg(long, value_name = "POLICY", default_value = "always")]
    policy: String,
    /// Say what would be fetched, and fetch nothing
    #[arg(long)]
    dry_run: bool,
    /// Check the name against this lock file (default: the one of --lock-file)
    #[arg(long, value_name = "FILE")]
    lock: Option<PathBuf>,
    /// Fetch what the registry does not have from the URLs that its descriptor names, as that of a layer that is not distributable does
    #[arg(long)]
    allow_foreign_urls: bool,
    /// Host that such URLs may have although its addresses are not public; can be given several times
    #[arg(long, value_name = "HOST[:PORT]", requires = "allow_foreign_urls")]
    foreign_url_host: Vec<String>,
    /// How many blobs are fetched at once (default: 4)
    #[arg(long, value_name = "NUMBER")]
    jobs: Option<u32>,
    #[command(flatten)]
    reach: ReachArgs,
    #[command(flatten)]
    output: FormatArgs,
    /// Reference
    #[arg(value_name = "NAME[:TAG|@DIGEST]")]
    reference: String,
}

#[derive(Debug, Args)]
pub(crate) struct LockArgs {
    /// The lock file, which is made if it is not there
    #[arg(short, long, value_name = "FILE", default_value = "coble.lock")]
    output: PathBuf,
    #[command(flatten)]
    reach: ReachArgs,
    #[command(flatten)]
    format: FormatArgs,
    /// References
    #[arg(required = true, value_name = "NAME[:TAG]")]
    references: Vec<String>,
}

pub(crate) fn pull(global: &Global, args: PullArgs) -> Outcome {
    let json = args.output.format == Format::Json;
    let mut options = PullOptions::default();
    options.platform = args.platform;
    options.policy = PullPolicy::parse(&args.policy)?;
    options.lock = args.lock;
    options.jobs = args.jobs;
    options.allow_foreign_urls = args.allow_foreign_urls;
    options.foreign_url_hosts = args.foreign_url_host;
    options.registry = args.reach.options()?;
    let engine = open(global)?;
    if args.dry_run {
        let plan = cancellable(|cancel| engine.images().plan(&args.reference, &options, &hear, cancel))?;
        return print_plan(&plan, json);
    }
    let references = if args.all_tags {
        all_tags(&args.reference)?;
        let tags =
            cancellable(|cancel| engine.registry().tags(&args.reference, &options.registry, &hear, cancel))?;
        tags.iter().map(|tag| format!("{}:{tag}", args.reference)).collect()
    } else {
        vec![args.reference]
    };
    let mut images = Vec::new();
    for reference in &references {
        let pulled = fetch(&engine, reference, &options, args.quiet || json)?;
        images::warn(&pulled.image.warnings);
        if json {
            images.push(pulled.image);
            continue;
        }
        if !args.quiet {
            output::line(format_args!("Digest: {}", pulled.digest))?;
            output::line(format_args!("Status: {}", pulled.status()))?;
        }
        output::line(&pulled.reference)?;
    }
    match images.as_slice() {
        _ if !json => {}
        [image] if !args.all_tags => output::json(image)?,
        images => output::json(&images)?,
    }
    Ok(0)
}

/// Whether a name can stand for all tags of its repository.
pub(crate) fn all_tags(name: &str) -> Result<(), Error> {
    let last = name.rsplit('/').next().unwrap_or(name);
    if last.contains([':', '@']) {
        return Err(refuse("a tag or digest and --all-tags exclude each other", "give the repository alone"));
    }
    Ok(())
}

/// An image that was pulled.
struct Pulled {
    image: ImageSummary,
    /// The canonical name.
    reference: String,
    /// What the name stands for: the digest of a manifest or an index.
    digest: String,
    /// Whether the store had it before.
    known: bool,
}

impl Pulled {
    fn status(&self) -> String {
        let name = familiar(&self.reference);
        if self.known {
            format!("Image is up to date for {name}")
        } else {
            format!("Downloaded newer image for {name}")
        }
    }
}

fn fetch(engine: &Engine, reference: &str, options: &PullOptions, quiet: bool) -> Result<Pulled, Failure> {
    let before = id(engine, reference);
    let show = Show::new(Verb::Pull, quiet);
    let tell = |progress: &coble::Progress| show.tell(progress);
    let image = cancellable(|cancel| engine.images().pull(reference, options, &tell, cancel))?;
    let (reference, digest) = show.resolved().unwrap_or_else(|| (reference.to_owned(), image.digest.clone()));
    Ok(Pulled { known: before.as_ref() == Some(&image.id), image, reference, digest })
}

fn id(engine: &Engine, image: &str) -> Option<String> {
    engine.images().get(image).ok().map(|image| image.id)
}

/// Makes a container. What there is to say of a pull of its image goes to standard error: standard output is the program's.
pub(crate) fn create(engine: &Engine, spec: ContainerSpec, quiet: bool) -> Result<Container, Failure> {
    let image = spec.image.clone();
    let before = id(engine, &image);
    let show = Show::new(Verb::Pull, quiet);
    if before.is_none() {
        show.before(format!("Unable to find image '{}' locally", output::printable(&image)));
    }
    let tell = |progress: &coble::Progress| show.tell(progress);
    let container = cancellable(|cancel| engine.containers().create_within(spec, &tell, cancel))?;
    let pulled = show.resolved();
    drop(show);
    if !quiet
        && let Some((reference, digest)) = pulled
        && let Ok(image) = engine.images().get(&image)
    {
        let pulled = Pulled { known: before.as_ref() == Some(&image.id), image, reference, digest };
        output::note(format_args!("Digest: {}", pulled.digest));
        output::note(format_args!("Status: {}", pulled.status()));
    }
    Ok(container)
}

fn print_plan(plan: &PullPlan, json: bool) -> Outcome {
    if json {
        output::json(plan)?;
        return Ok(0);
    }
    let mut table = Table::new(&["BLOB", "SIZE", "STATE"]);
    for blob in &plan.blobs {
        let state = if blob.present { "present" } else { "missing" };
        table.row([output::short_id(&blob.digest), output::size(blob.size), state.to_owned()]);
    }
    table.print()?;
    output::line(format_args!("Digest: {}", plan.digest))?;
    output::line(format_args!(
        "Would fetch {}, has {}",
        output::size(plan.missing_bytes),
        output::size(plan.present_bytes)
    ))?;
    Ok(0)
}

pub(crate) fn lock(global: &Global, args: LockArgs) -> Outcome {
    let options = args.reach.options()?;
    let references: Vec<&str> = args.references.iter().map(String::as_str).collect();
    let engine = open(global)?;
    let pins =
        cancellable(|cancel| engine.images().lock(&references, &args.output, &options, &hear, cancel))?;
    if args.format.format == Format::Json {
        output::json(&pins)?;
        return Ok(0);
    }
    let mut table = Table::new(&["NAME", "DIGEST"]);
    for pin in pins {
        table.row([pin.reference, pin.digest]);
    }
    table.print()?;
    Ok(0)
}

/// A name as people write it.
fn familiar(reference: &str) -> &str {
    let short = reference.strip_prefix("docker.io/").unwrap_or(reference);
    short.strip_prefix("library/").unwrap_or(short)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repository_has_all_of_its_tags() {
        assert!(all_tags("localhost:5000/team/app").is_ok() && all_tags("alpine").is_ok());
        assert!(all_tags("localhost:5000/app:1").is_err() && all_tags("app@sha256:00").is_err());
    }

    #[test]
    fn names_as_people_write_them() {
        assert_eq!(familiar("docker.io/library/alpine:3.20"), "alpine:3.20");
        assert_eq!(familiar("docker.io/team/app:1"), "team/app:1");
        assert_eq!(familiar("localhost:5000/library/app:1"), "localhost:5000/library/app:1");
    }
}
