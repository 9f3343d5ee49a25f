//! An image from the tar of a root file system.

use std::time::SystemTime;

use super::add::{Made, make};
use super::archive::for_layer;
use super::source::open_stream;
use super::{ImageSummary, ImportOptions, Source};
use crate::cancel::CancelToken;
use crate::content::stage;
use crate::error::{Context, Error, ErrorKind, Result};
use crate::oci::Reference;
use crate::progress::{ProgressKind, ProgressSink, Reporter};
use crate::snapshot::Worker;
use crate::state::{Session, Store, rfc3339};

pub(super) fn import_rootfs(
    (store, worker): (&Store, &dyn Worker),
    source: Source,
    reference: Option<&str>,
    options: ImportOptions,
    progress: ProgressSink<'_>,
    cancel: &CancelToken,
) -> Result<ImageSummary> {
    let reference = reference.map(Reference::parse_tag).transpose()?;
    super::add::config(&options)?;
    let (reader, what) = open_stream(source, cancel)?;
    let name = reference.as_ref().map(ToString::to_string).unwrap_or_default();
    let reporter = &Reporter::new(&name, progress);
    Session::run(store, worker, cancel, |session| {
        let meter = reporter.source(reader.size());
        let mut input = for_layer(meter.reader(reader, ProgressKind::Read), &what, cancel)?;
        let layer = stage(session, &mut input, &what, cancel)?;
        meter.tell(ProgressKind::Read);
        if layer.size == 0 {
            return Err(
                Error::new(ErrorKind::InvalidArchive, format!("\"{what}\" is empty")).with_object(&what)
            );
        }
        let created = rfc3339(SystemTime::now());
        let made = Made { layer: &layer, options, created, created_by: "coble import", reference };
        make((store, worker), session, made, reporter, cancel)
    })
    .context(|| format!("importing \"{what}\""))
}
