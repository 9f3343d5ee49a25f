//! `push`, and `image copy`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use coble::{CopyOptions, Error, ErrorKind, ImageSummary, PushOptions, Pushed, RegistryOptions, parse};

use crate::args::{Format, Global};
use crate::images;
use crate::output::{self, Outcome};
use crate::progress::{Show, Verb, hear};
use crate::pull::all_tags;
use crate::reach::{ReachArgs, Secret, credentials, token};
use crate::signals::cancellable;
use crate::{open, refuse};

/// The words of `--format`: docker's verbs have it for their output, podman and skopeo have it for what is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Word {
    /// Send manifests and indexes in the form of OCI
    Oci,
    /// Send manifests and lists in the form of docker's schema 2
    V2s2,
    /// Print for people
    Table,
    /// Print JSON in one line
    Json,
}

#[derive(Debug, Args)]
struct Words {
    /// The form that the manifests have in the registry (default: as they are), or how the result is printed; can be given for each
    #[arg(short, long, value_enum, value_name = "FORMAT")]
    format: Vec<Word>,
}

impl Words {
    /// How the result is printed, and the form of what is sent.
    fn read(&self) -> Result<(Format, Option<String>), Error> {
        let (mut output, mut form) = (None, None);
        for word in &self.format {
            let again = match word {
                Word::Oci => form.replace("oci".to_owned()).is_some(),
                Word::V2s2 => form.replace("v2s2".to_owned()).is_some(),
                Word::Table => output.replace(Format::Table).is_some(),
                Word::Json => output.replace(Format::Json).is_some(),
            };
            if again {
                return Err(refuse(
                    "--format is given twice for the same",
                    "give one of oci and v2s2, and one of table and json",
                ));
            }
        }
        Ok((output.unwrap_or_default(), form))
    }
}

#[derive(Debug, Args)]
pub(crate) struct PushArgs {
    /// Print nothing but the name
    #[arg(short, long)]
    quiet: bool,
    /// Push every tag that the repository has here
    #[arg(short, long, conflicts_with = "tag")]
    all_tags: bool,
    /// Give the image this tag in the repository, too; with one request for all of them where the registry can do that
    #[arg(long, value_name = "TAG")]
    tag: Vec<String>,
    /// Push only this platform, such as linux/arm64 (default: all that the name has)
    #[arg(long, value_name = "PLATFORM")]
    platform: Option<String>,
    /// Send layers that were made here compressed with gzip, zstd or none, which gives the image another digest there
    #[arg(long, value_name = "NAME", visible_alias = "compression-format")]
    compression: Option<String>,
    /// How hard is tried to make them small: 1 to 9 of gzip, 1 to 22 of zstd (default: quickly)
    #[arg(long, value_name = "NUMBER")]
    compression_level: Option<u32>,
    /// Send layers, too, that are not meant to be passed on (foreign, or non-distributable)
    #[arg(long)]
    allow_nondistributable_artifacts: bool,
    /// Send blobs in pieces of this size, such as 32m (default: each in one request)
    #[arg(long, value_name = "SIZE")]
    chunk_size: Option<String>,
    /// How many blobs are sent at once (default: 4)
    #[arg(long, value_name = "NUMBER")]
    jobs: Option<u32>,
    #[command(flatten)]
    reach: ReachArgs,
    #[command(flatten)]
    words: Words,
    /// Reference, with the registry in front
    #[arg(value_name = "NAME[:TAG]")]
    reference: String,
}

#[derive(Debug, Args)]
pub(crate) struct CopyArgs {
    /// Print nothing but the name
    #[arg(short, long)]
    quiet: bool,
    /// Copy every tag of the repository; source and destination have none
    #[arg(short, long)]
    all_tags: bool,
    /// Copy only this platform, such as linux/arm64 (default: everything that the name stands for)
    #[arg(long, value_name = "PLATFORM")]
    platform: Option<String>,
    /// Copy layers, too, that are not meant to be passed on (foreign, or non-distributable)
    #[arg(long)]
    allow_nondistributable_artifacts: bool,
    /// Fetch what the source does not have from the URLs that its descriptor names, as that of a layer that is not distributable does
    #[arg(long)]
    allow_foreign_urls: bool,
    /// Host that such URLs may have although its addresses are not public; can be given several times
    #[arg(long, value_name = "HOST[:PORT]", requires = "allow_foreign_urls")]
    foreign_url_host: Vec<String>,
    /// How many blobs are copied at once (default: 4)
    #[arg(long, value_name = "NUMBER")]
    jobs: Option<u32>,
    /// User name and password for the source; without a password, it is asked for
    #[arg(long, value_name = "USER[:PASSWORD]")]
    src_creds: Option<Secret>,
    /// User name and password for the destination
    #[arg(long, value_name = "USER[:PASSWORD]")]
    dest_creds: Option<Secret>,
    /// File with an access token for the source, which is sent as it is; - is standard input
    #[arg(long, value_name = "FILE", conflicts_with = "src_creds")]
    src_registry_token_file: Option<PathBuf>,
    /// File with an access token for the destination
    #[arg(long, value_name = "FILE", conflicts_with = "dest_creds")]
    dest_registry_token_file: Option<PathBuf>,
    /// File with an identity token for the source, which a token server exchanges; - is standard input
    #[arg(long, value_name = "FILE", conflicts_with_all = ["src_creds", "src_registry_token_file"])]
    src_identity_token_file: Option<PathBuf>,
    /// File with an identity token for the destination
    #[arg(long, value_name = "FILE", conflicts_with_all = ["dest_creds", "dest_registry_token_file"])]
    dest_identity_token_file: Option<PathBuf>,
    /// Whether certificates of the source are checked and plain HTTP is refused
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    src_tls_verify: Option<bool>,
    /// Whether certificates of the destination are checked and plain HTTP is refused
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    dest_tls_verify: Option<bool>,
    /// The only file that credentials for the source are read from
    #[arg(long, value_name = "FILE")]
    src_authfile: Option<PathBuf>,
    /// The only file that credentials for the destination are read from
    #[arg(long, value_name = "FILE")]
    dest_authfile: Option<PathBuf>,
    /// Directory with *.crt, *.cert and *.key for the source
    #[arg(long, value_name = "DIR")]
    src_cert_dir: Option<PathBuf>,
    /// Directory with *.crt, *.cert and *.key for the destination
    #[arg(long, value_name = "DIR")]
    dest_cert_dir: Option<PathBuf>,
    /// How often a request is made again that failed for a reason that may pass
    #[arg(long, value_name = "NUMBER")]
    retry: Option<u32>,
    #[command(flatten)]
    words: Words,
    /// Reference in the registry that has it
    #[arg(value_name = "SOURCE")]
    source: String,
    /// Reference in the registry that gets it
    #[arg(value_name = "DESTINATION")]
    target: String,
}

pub(crate) fn push(global: &Global, args: PushArgs) -> Outcome {
    let (format, form) = args.words.read()?;
    let mut options = PushOptions::default();
    options.platform = args.platform;
    options.format = form;
    options.allow_nondistributable_artifacts = args.allow_nondistributable_artifacts;
    options.compression = args.compression;
    options.compression_level = args.compression_level;
    options.chunk_size = args.chunk_size.as_deref().map(parse::size).transpose()?;
    options.jobs = args.jobs;
    options.registry = args.reach.options()?;
    let engine = open(global)?;
    let targets = if args.all_tags {
        all_tags(&args.reference)?;
        let filters = [format!("reference={}", args.reference)];
        let images = engine.images().list(&filters)?;
        let targets = together(names_of(&images, &args.reference));
        if targets.is_empty() {
            let text = format!("no image of \"{}\"", args.reference.escape_debug());
            return Err(Error::new(ErrorKind::ImageNotFound, text).with_object(args.reference).into());
        }
        targets
    } else {
        vec![Target { reference: args.reference, tags: args.tag }]
    };
    let mut all = Vec::new();
    for target in targets {
        options.tags = target.tags;
        let show = Show::new(Verb::Push, args.quiet || format == Format::Json);
        let tell = |progress: &coble::Progress| show.tell(progress);
        let pushed = cancellable(|cancel| engine.images().push(&target.reference, &options, &tell, cancel))?;
        drop(show);
        images::warn(&pushed.warnings);
        if format == Format::Json && args.all_tags {
            all.push(pushed);
        } else {
            print(&pushed, args.quiet, format)?;
        }
    }
    if format == Format::Json && args.all_tags {
        output::json(&all)?;
    }
    Ok(0)
}

/// What is pushed together.
#[derive(Debug, PartialEq, Eq)]
struct Target {
    reference: String,
    /// Further tags.
    tags: Vec<String>,
}

/// Every name that images have in a repository, with their ids.
fn names_of<'a>(images: &'a [ImageSummary], repository: &str) -> BTreeMap<&'a str, Vec<&'a str>> {
    let mut names: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for image in images {
        // An image has names in other repositories, too.
        for name in image.references.iter().filter(|name| is_of(name, repository)) {
            names.entry(name).or_default().push(&image.id);
        }
    }
    names
}

/// The names of one image together. What has several platforms goes by itself, since its index is its own.
fn together(names: BTreeMap<&str, Vec<&str>>) -> Vec<Target> {
    let mut targets: Vec<(Option<&str>, Target)> = Vec::new();
    for (name, ids) in names {
        let only = match ids.as_slice() {
            [id] => Some(*id),
            _ => None,
        };
        match targets.iter_mut().find(|(id, _)| only.is_some() && *id == only) {
            Some((_, target)) => target.tags.push(output::split_reference(name).1),
            None => targets.push((only, Target { reference: name.to_owned(), tags: Vec::new() })),
        }
    }
    targets.into_iter().map(|(_, target)| target).collect()
}

/// Whether a canonical name is a tag of a repository, as somebody wrote that.
fn is_of(name: &str, repository: &str) -> bool {
    let (found, tag) = output::split_reference(name);
    let written =
        [repository.to_owned(), format!("docker.io/{repository}"), format!("docker.io/library/{repository}")];
    tag != "<none>" && written.contains(&found)
}

pub(crate) fn copy(global: &Global, args: CopyArgs) -> Outcome {
    let (format, form) = args.words.read()?;
    let one = |creds, verify: Option<bool>, auth_file, cert_dir| {
        let mut options = RegistryOptions::default();
        options.credentials = creds;
        options.insecure = verify == Some(false);
        options.auth_file = auth_file;
        options.cert_dir = cert_dir;
        options.retries = args.retry;
        options
    };
    let who = |creds, identity: Option<PathBuf>, registry: Option<PathBuf>| -> Result<_, Error> {
        match token(identity.as_deref(), registry.as_deref())? {
            None => credentials(creds),
            token => Ok(token),
        }
    };
    let source = who(args.src_creds, args.src_identity_token_file, args.src_registry_token_file)?;
    let target = who(args.dest_creds, args.dest_identity_token_file, args.dest_registry_token_file)?;
    let mut options = CopyOptions::default();
    options.platform = args.platform;
    options.allow_foreign_urls = args.allow_foreign_urls;
    options.foreign_url_hosts = args.foreign_url_host;
    options.format = form;
    options.allow_nondistributable_artifacts = args.allow_nondistributable_artifacts;
    options.jobs = args.jobs;
    options.source = one(source, args.src_tls_verify, args.src_authfile, args.src_cert_dir);
    options.target = one(target, args.dest_tls_verify, args.dest_authfile, args.dest_cert_dir);
    let engine = open(global)?;
    let json = format == Format::Json;
    let pairs = if args.all_tags {
        all_tags(&args.source)?;
        all_tags(&args.target)?;
        let tags =
            cancellable(|cancel| engine.registry().tags(&args.source, &options.source, &hear, cancel))?;
        let with = |name: &str, tag: &str| format!("{name}:{tag}");
        tags.iter().map(|tag| (with(&args.source, tag), with(&args.target, tag))).collect()
    } else {
        vec![(args.source, args.target)]
    };
    let mut all = Vec::new();
    for (source, target) in &pairs {
        let show = Show::new(Verb::Copy, args.quiet || json);
        let tell = |progress: &coble::Progress| show.tell(progress);
        let pushed = cancellable(|cancel| engine.images().copy(source, target, &options, &tell, cancel))?;
        drop(show);
        images::warn(&pushed.warnings);
        if json && args.all_tags {
            all.push(pushed);
        } else {
            print(&pushed, args.quiet, format)?;
        }
    }
    if json && args.all_tags {
        output::json(&all)?;
    }
    Ok(0)
}

fn print(pushed: &Pushed, quiet: bool, format: Format) -> Outcome {
    if format == Format::Json {
        output::json(pushed)?;
        return Ok(0);
    }
    // What was copied to a digest.
    if pushed.tags.is_empty() {
        if quiet {
            output::line(&pushed.reference)?;
        } else {
            output::line(format_args!("digest: {} size: {}", pushed.digest, pushed.size))?;
        }
    }
    let (repository, _) = output::split_reference(&pushed.reference);
    for tag in &pushed.tags {
        if quiet {
            output::line(format_args!("{repository}:{tag}"))?;
        } else {
            output::line(format_args!("{tag}: digest: {} size: {}", pushed.digest, pushed.size))?;
        }
    }
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_of_one_image_go_together() {
        let names =
            [("r/a:1", vec!["x"]), ("r/a:2", vec!["y"]), ("r/a:3", vec!["x"]), ("r/a:4", vec!["x", "y"])];
        let targets = together(names.into());
        let shown: Vec<(&str, Vec<&str>)> = targets
            .iter()
            .map(|target| (target.reference.as_str(), target.tags.iter().map(String::as_str).collect()))
            .collect();
        assert_eq!(shown, [("r/a:1", vec!["3"]), ("r/a:2", vec![]), ("r/a:4", vec![])]);
    }
}
