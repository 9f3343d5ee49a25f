//! Recording what a name and a digest stand for here.

use rusqlite::{Connection, Transaction};

use super::Pull;
use crate::distribution::local::Current;
use crate::error::{Error, ErrorKind, Result};
use crate::halt::Halt;
use crate::image::ImageSummary;
use crate::oci::{Digest, PlatformChoice};
use crate::state::images;
use crate::state::origins;
use crate::state::{Session, events};

impl Pull<'_> {
    /// Everything is here already. The name may have to be given.
    pub(super) fn unchanged(&self, digest: &Digest, current: &Current, halt: &Halt) -> Result<ImageSummary> {
        if current.named {
            // Told like any other pull, and no reason to fail.
            if let Some(id) = current.ids.first() {
                let told =
                    |tx: &Transaction<'_>| events::of_image(tx, "pull", id, &self.reference.to_string());
                let _ = self.store().db.write(told);
            }
            return self.store().db.read(|connection| self.result(connection, &current.ids));
        }
        Session::run(self.store(), self.ground.worker, halt.token(), |session| {
            crate::image::change(self.store(), session, |tx| {
                self.name_it(tx, digest, &current.ids, None)?;
                let summary = self.result(tx, &current.ids)?;
                events::of_image(tx, "pull", &summary.id, &self.reference.to_string())?;
                Ok(summary)
            })
        })
    }

    /// The image that the caller gets: of several, the one for this host.
    pub(super) fn result(&self, connection: &Connection, ids: &[String]) -> Result<ImageSummary> {
        let named = match self.choice {
            PlatformChoice::All => images::find(connection, &self.name).ok().map(|found| found.id),
            PlatformChoice::Best(_) => None,
        };
        let id = named.as_ref().or(ids.first()).ok_or_else(gone)?;
        images::summaries(connection, Some(id))?.pop().ok_or_else(gone)
    }

    /// Records what the name and the digest stand for. All images are there.
    pub(super) fn name_it(
        &self,
        tx: &Transaction<'_>,
        digest: &Digest,
        ids: &[String],
        index: Option<&images::Document>,
    ) -> Result<()> {
        let origin = self.origin(digest);
        for id in ids {
            if images::summaries(tx, Some(id))?.is_empty() {
                return Err(gone());
            }
            origins::add(tx, &origin, id)?;
            images::touch(tx, id)?;
        }
        if self.reference.digest().is_some() {
            return Ok(());
        }
        // One more platform of what the name stands for already.
        if let Ok(group) = images::group(tx, &self.name, None)
            && let Some(known) = &group.index
            && known.digest == *digest
        {
            let mut all = group.ids;
            all.extend(ids.iter().filter(|id| !all.contains(id)).cloned().collect::<Vec<_>>());
            return images::set_group(tx, &self.reference, &all, Some(known));
        }
        match (index, ids) {
            (Some(index), [_, _, ..]) => images::set_group(tx, &self.reference, ids, Some(index)),
            (_, [id, ..]) => images::set_tag(tx, &self.reference, id),
            (_, []) => Ok(()),
        }
    }
}

/// The error for an image that was here a moment ago.
fn gone() -> Error {
    Error::new(ErrorKind::InvalidState, "the image was removed by somebody else at the same time")
}
