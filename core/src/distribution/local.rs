//! What the store knows of names of registries.

use rusqlite::Connection;

use super::lockfile::LockFile;
use crate::error::{Error, ErrorKind, Result};
use crate::image::ImageSummary;
use crate::oci::{Descriptor, Digest, Document, MediaType, PlatformChoice, Reference, parse_document};
use crate::state::origins::{self, Origin};
use crate::state::{Store, images};

/// The images of a name that the store has, for what is wanted; None if it has none of them.
pub(super) fn find(
    store: &Store,
    text: &str,
    choice: Option<&PlatformChoice>,
) -> Result<Option<Vec<String>>> {
    let found = store.db.read(|connection| {
        let platform = match choice {
            Some(PlatformChoice::Best(platform)) => Some(platform),
            Some(PlatformChoice::All) | None => None,
        };
        images::group(connection, text, platform)
    });
    match found {
        Ok(group) => {
            // What one name means on this host is the first.
            let most = if choice == Some(&PlatformChoice::All) { usize::MAX } else { 1 };
            Ok(Some(group.ids.into_iter().take(most).collect()))
        }
        Err(error) if error.kind() == ErrorKind::ImageNotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whether a name has any image here.
pub(super) fn has_name(store: &Store, name: &str) -> Result<bool> {
    Ok(find(store, name, None)?.is_some())
}

/// Fails if the image that the store has under a name is not what the name is pinned to.
pub(super) fn check_pin(
    store: &Store,
    lock: &LockFile,
    reference: &Reference,
    pinned: &Digest,
    id: &str,
) -> Result<()> {
    let name = reference.to_string();
    let (summary, known, index) = store.db.read(|connection| {
        let summary = images::summaries(connection, Some(id))?.pop();
        let known = origins::digests(connection, &reference.repository(), id)?;
        let index = images::group(connection, &name, None).ok().and_then(|group| group.index);
        Ok((summary, known, index))
    })?;
    let own = summary.map(|summary| summary.digest).unwrap_or_default();
    let index = index.map(|index| index.digest.to_string());
    let all: Vec<&str> = [Some(own.as_str()), index.as_deref()]
        .into_iter()
        .flatten()
        .chain(known.iter().map(String::as_str))
        .collect();
    if all.contains(&pinned.as_str()) {
        return Ok(());
    }
    let found = index.as_deref().or(known.first().map(String::as_str)).unwrap_or(&own);
    Err(lock.drift(&name, pinned, found))
}

/// What the store has of a digest of a repository.
pub(super) struct Current {
    pub(super) ids: Vec<String>,
    /// The name means that here, too, or needs not.
    pub(super) named: bool,
}

/// The images that a digest of a repository stands for, if all that is wanted of it is here.
pub(super) fn current(
    store: &Store,
    origin: &Origin,
    reference: &Reference,
    choice: &PlatformChoice,
) -> Result<Option<Current>> {
    let found = store.db.read(|connection| {
        let ids = origins::chosen(connection, origin)?;
        if ids.is_empty() {
            return Ok(None);
        }
        let name = reference.to_string();
        let group = match (reference.tag(), reference.digest()) {
            (Some(_), None) => images::group(connection, &name, None).ok(),
            _ => None,
        };
        let named = match (&group, reference.digest()) {
            (_, Some(_)) => origins::is_pinned(connection, origin)?,
            (Some(group), None) => {
                let same = group.index.as_ref().is_none_or(|index| index.digest == origin.digest);
                same && ids.iter().all(|id| group.ids.contains(id))
            }
            (None, None) => false,
        };
        if *choice == PlatformChoice::All && !is_complete(connection, origin, &ids)? {
            return Ok(None);
        }
        let mut blobs = Vec::new();
        for id in &ids {
            blobs.extend(images::parts(connection, id)?.0);
        }
        Ok(Some((Current { ids, named }, blobs)))
    })?;
    let Some((current, blobs)) = found else { return Ok(None) };
    for digest in blobs {
        // One that was damaged and taken away is fetched again.
        if store.content.size(&digest)?.is_none() {
            return Ok(None);
        }
    }
    Ok(Some(current))
}

/// Whether these are all images of an index.
fn is_complete(connection: &Connection, origin: &Origin, ids: &[String]) -> Result<bool> {
    let Some(bytes) = images::document(connection, &origin.digest)? else { return Ok(false) };
    match parse_document(&bytes, None, origin.digest.as_str())? {
        Document::Manifest(_) => Ok(ids.len() == 1),
        Document::Index(index) => {
            // Indexes in it are left out.
            let is_image = |entry: &&Descriptor| {
                !entry.is_attestation()
                    && matches!(MediaType::parse(&entry.media_type), Ok(MediaType::Manifest))
            };
            Ok(index.manifests.iter().filter(is_image).count() == ids.len())
        }
    }
}

/// The summary of an image that is here.
pub(super) fn summary(store: &Store, id: &str) -> Result<ImageSummary> {
    store.db.read(|connection| {
        images::summaries(connection, Some(id))?.pop().ok_or_else(|| images::not_found(id))
    })
}

/// The error for a blob that ended early.
pub(super) fn cut(digest: &Digest, at: u64, size: u64) -> Error {
    Error::new(ErrorKind::Network, format!("the blob ended after {at} of {size} bytes"))
        .with_object(digest.as_str())
        .transient()
}

/// The error for a name that a registry does not know.
pub(super) fn unknown(name: &str) -> Error {
    Error::new(ErrorKind::ImageNotFound, format!("the registry has no image \"{name}\"")).with_object(name)
}
