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
use crate::snapshot::Worker;
use crate::state::{Session, Store, rfc3339};

pub(super) fn import_rootfs(
    store: &Store,
    worker: &dyn Worker,
    source: Source,
    reference: Option<&str>,
    options: ImportOptions,
    cancel: &CancelToken,
) -> Result<ImageSummary> {
    let reference = reference.map(Reference::parse_tag).transpose()?;
    super::add::config(&options)?;
    let (reader, what) = open_stream(source, cancel)?;
    Session::run(store, worker, cancel, |session| {
        let mut input = for_layer(reader, &what, cancel)?;
        let layer = stage(session, &mut input, &what, cancel)?;
        if layer.size == 0 {
            return Err(
                Error::new(ErrorKind::InvalidArchive, format!("\"{what}\" is empty")).with_object(&what)
            );
        }
        let created = rfc3339(SystemTime::now());
        let made = Made { layer: &layer, options, created, created_by: "coble import", reference };
        make(store, session, worker, made, cancel)
    })
    .context(|| format!("importing \"{what}\""))
}
