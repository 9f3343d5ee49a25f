//! Loading images from archives and layouts that other tools wrote.

mod docker;
mod layout;

use rustix::fs::AtFlags;

use super::add::{Ready, commit_groups};
use super::archive;
use super::choose;
use super::source::{Opened, open};
use super::{ImageSummary, LoadOptions, Source};
use crate::cancel::CancelToken;
use crate::container::Warning;
use crate::error::{Context, Error, ErrorKind, Result};
use crate::oci::{Platform, PlatformChoice, Reference};
use crate::progress::{ProgressKind, ProgressSink, Reporter};
use crate::snapshot::Worker;
use crate::state::{Session, Store};

/// What every reader of a source needs.
#[derive(Clone, Copy)]
struct Load<'a> {
    store: &'a Store,
    session: &'a Session,
    worker: &'a dyn Worker,
    platform: &'a PlatformChoice,
    /// Whether the caller named it.
    asked: bool,
    reporter: &'a Reporter<'a>,
    cancel: &'a CancelToken,
}

impl Load<'_> {
    /// Whether an image is what was asked for, by its configuration: what an index says of it, if it says anything, is another's word.
    fn wants(&self, platform: &Platform) -> bool {
        match self.platform {
            PlatformChoice::Best(wanted) if self.asked => choose::suits(platform, wanted),
            _ => true,
        }
    }

    /// What the caller is told of an image that nobody asked for, and that the host cannot run.
    fn foreign(&self, platform: &Platform) -> Option<Warning> {
        match self.platform {
            PlatformChoice::Best(host) if !self.asked && !choose::suits(platform, host) => Some(Warning {
                code: "foreign-platform".into(),
                message: choose::foreign_host(platform, host),
            }),
            _ => None,
        }
    }
}

/// Images that were read, and the names that several of them have together.
#[derive(Default)]
struct Loaded {
    ready: Vec<Ready>,
    groups: Vec<Group>,
}

/// The images of an index that came in for several platforms.
pub(super) struct Group {
    pub(super) names: Vec<Reference>,
    pub(super) ids: Vec<String>,
    pub(super) index: crate::state::images::Document,
}

pub(super) fn load(
    store: &Store,
    worker: &dyn Worker,
    source: Source,
    options: &LoadOptions,
    progress: ProgressSink<'_>,
    cancel: &CancelToken,
) -> Result<Vec<ImageSummary>> {
    let platform = &PlatformChoice::parse(options.platform.as_deref())?;
    let opened = open(source, cancel)?;
    Session::run(store, worker, cancel, |session| {
        let asked = options.platform.is_some();
        let reporter = &Reporter::new(&opened.what(), progress);
        let load = Load { store, session, worker, platform, asked, reporter, cancel };
        let (what, ready): (_, Result<Loaded>) = match opened {
            Opened::Directory { fd, path } => {
                let what = path.to_string_lossy().into_owned();
                if rustix::fs::statat(&fd, "index.json", AtFlags::SYMLINK_NOFOLLOW).is_err() {
                    return Err(unknown(&what));
                }
                let ready = layout::from_directory(load, &fd, &what);
                (what, ready)
            }
            Opened::Stream { reader, what } => {
                let meter = reporter.source(reader.size());
                let input = meter.reader(reader, ProgressKind::Read);
                let ready = archive::read(session, input, &what, cancel).and_then(|files| {
                    meter.tell(ProgressKind::Read);
                    if files.has("oci-layout") && files.has("index.json") {
                        layout::from_archive(load, &files, &what)
                    } else if files.has("manifest.json") {
                        docker::from_archive(load, &files).map(|ready| Loaded { ready, groups: Vec::new() })
                    } else if files.has("repositories") {
                        Err(Error::new(
                            ErrorKind::InvalidArchive,
                            format!("\"{what}\" has the format that docker wrote before version 1.10, without manifest.json"),
                        )
                        .with_object(&what)
                        .with_hint("save it again with a newer docker, or with skopeo"))
                    } else {
                        Err(unknown(&what))
                    }
                });
                (what, ready)
            }
        };
        let ready = ready.context(|| format!("loading \"{what}\""))?;
        cancel.check()?;
        let loaded = commit_groups(store, session, &ready.ready, &ready.groups, "load")?;
        reporter.tell(ProgressKind::Done, None);
        Ok(loaded)
    })
}

fn unknown(what: &str) -> Error {
    Error::new(
        ErrorKind::InvalidArchive,
        format!("\"{what}\" is neither a docker archive nor an OCI image layout"),
    )
    .with_object(what)
    .with_hint("a root file system is taken with `coble import`")
}

/// A name that an archive gives an image; None if it is not a name with a tag.
fn name(text: &str) -> Option<Reference> {
    Reference::parse_tag(text).ok()
}
