//! Which images of an index are meant: one choice for everything that has indexes, layouts and registries alike.

use crate::error::{Error, ErrorKind, Result};
use crate::oci::{Descriptor, Document, MAX_NESTING, Manifest, MediaType, Platform, parse_document};
use crate::state::images;

/// The most images that one name or layout brings.
pub(crate) const MAX_IMAGES: usize = 1000;
/// The most bytes that the manifests and configurations of all of them have, since all are held at once.
const MAX_BYTES: u64 = 64 << 20;

/// Where manifests and indexes are.
pub(crate) trait Documents {
    /// A whole document, verified against its descriptor; None if it is not there.
    fn get(&self, descriptor: &Descriptor) -> Result<Option<Vec<u8>>>;

    /// The error for one that is not there.
    fn missing(&self, descriptor: &Descriptor) -> Error;
}

fn document(documents: &dyn Documents, descriptor: &Descriptor) -> Result<Vec<u8>> {
    documents.get(descriptor)?.ok_or_else(|| documents.missing(descriptor))
}

/// A manifest that will be an image.
#[derive(Debug, Clone)]
pub(crate) struct Found {
    pub(crate) descriptor: Descriptor,
    pub(crate) bytes: Vec<u8>,
    pub(crate) manifest: Manifest,
}

/// All images of an entry, and the index that lists them, if one does.
#[derive(Debug, Clone)]
pub(crate) struct Several {
    pub(crate) images: Vec<Found>,
    pub(crate) index: Option<images::Document>,
    /// Indexes in that index, whose images are not among these.
    pub(crate) nested: usize,
}

/// Every image of an entry. An index may list more than there is.
pub(crate) fn all(documents: &dyn Documents, entry: &Descriptor) -> Result<Option<Several>> {
    check_type(entry)?;
    let bytes = document(documents, entry)?;
    let index = match parse_document(&bytes, Some(&entry.media_type), entry.digest.as_str())? {
        Document::Manifest(manifest) => {
            let images = vec![Found { descriptor: entry.clone(), bytes, manifest }];
            return Ok(Some(Several { images, index: None, nested: 0 }));
        }
        Document::Index(index) => index,
    };
    let mut images = Vec::new();
    let mut nested = 0;
    let mut total = 0u64;
    for entry in index.manifests.iter().filter(|entry| !entry.is_attestation()) {
        // An index of indexes has no meaning that tools agree on; what it lists beyond images is left out.
        match MediaType::parse(&entry.media_type) {
            Ok(MediaType::Manifest) => {}
            Ok(MediaType::Index) => {
                nested += 1;
                continue;
            }
            _ => continue,
        }
        let Some(bytes) = documents.get(entry)? else { continue };
        match parse_document(&bytes, Some(&entry.media_type), entry.digest.as_str())? {
            Document::Manifest(manifest) => {
                total = total.saturating_add(bytes.len() as u64).saturating_add(manifest.config.size);
                images.push(Found { descriptor: entry.clone(), bytes, manifest });
            }
            Document::Index(_) => {}
        }
        if total > MAX_BYTES {
            return Err(Error::new(
                ErrorKind::LimitExceeded,
                format!("the manifests and configurations of its images have more than {MAX_BYTES} bytes"),
            )
            .with_object(entry.digest.as_str())
            .with_hint("choose one of its platforms"));
        }
        if images.len() > MAX_IMAGES {
            break;
        }
    }
    let index =
        images::Document { digest: entry.digest.clone(), media_type: entry.media_type.clone(), bytes };
    Ok(Some(Several { images, index: Some(index), nested }).filter(|several| !several.images.is_empty()))
}

fn check_type(entry: &Descriptor) -> Result<()> {
    match MediaType::parse(&entry.media_type)? {
        MediaType::Manifest | MediaType::Index => Ok(()),
        _ => {
            let shown = entry.media_type.escape_debug();
            Err(Error::new(ErrorKind::InvalidImage, format!("an index points to \"{shown}\""))
                .with_object(entry.digest.as_str()))
        }
    }
}

/// Follows a descriptor to the manifest that fits the platform best. What is there for other platforms is added to `foreign`.
pub(crate) fn find(
    documents: &dyn Documents,
    entry: &Descriptor,
    wanted: &Platform,
    foreign: &mut Vec<String>,
) -> Result<Option<Found>> {
    follow(documents, entry, wanted, 0, foreign)
}

fn follow(
    documents: &dyn Documents,
    entry: &Descriptor,
    wanted: &Platform,
    depth: usize,
    foreign: &mut Vec<String>,
) -> Result<Option<Found>> {
    check_type(entry)?;
    let declared = entry.platform.as_ref().filter(|platform| !platform.os.is_empty());
    if let Some(platform) = declared.filter(|platform| platform.rank_for(wanted).is_none()) {
        foreign.push(platform.to_string());
        return Ok(None);
    }
    let bytes = document(documents, entry)?;
    let document = parse_document(&bytes, Some(&entry.media_type), entry.digest.as_str())?;
    let index = match document {
        Document::Manifest(manifest) => {
            return Ok(Some(Found { descriptor: entry.clone(), bytes, manifest }));
        }
        Document::Index(index) => index,
    };
    if depth + 1 >= MAX_NESTING {
        return Err(Error::new(
            ErrorKind::LimitExceeded,
            format!("indexes are nested more than {MAX_NESTING} deep"),
        )
        .with_object(entry.digest.as_str()));
    }
    let mut candidates: Vec<(usize, &Descriptor)> = Vec::new();
    for candidate in index.manifests.iter().filter(|candidate| !candidate.is_attestation()) {
        match candidate.platform.as_ref().filter(|platform| !platform.os.is_empty()) {
            // What does not say for what it is comes after everything that fits.
            None => candidates.push((usize::MAX, candidate)),
            Some(platform) => match platform.rank_for(wanted) {
                Some(rank) => candidates.push((rank, candidate)),
                None => foreign.push(platform.to_string()),
            },
        }
    }
    candidates.sort_by_key(|(rank, _)| *rank);
    // Only one is read: an index of many indexes does not make us read all of them.
    match candidates.first() {
        Some((_, candidate)) => follow(documents, candidate, wanted, depth + 1, foreign),
        None => Ok(None),
    }
}

/// Whether an image does where a platform is wanted, by what its configuration says. One that says nothing does.
pub(crate) fn suits(platform: &Platform, wanted: &Platform) -> bool {
    platform.os.is_empty() || platform.architecture.is_empty() || platform.rank_for(wanted).is_some()
}

/// What is said of an image that the host cannot run, to somebody who asked for no platform.
pub(crate) fn foreign_host(platform: &Platform, host: &Platform) -> String {
    let platform = platform.to_string();
    format!("the image is for {}, and this host is {host}", crate::text::visible(&platform))
}

/// The error for what has images for other platforms only.
pub(crate) fn foreign(wanted: &Platform, mut there: Vec<String>) -> Error {
    there.sort_unstable();
    there.dedup();
    if there.is_empty() {
        return Error::new(ErrorKind::InvalidImage, "there is no image in it");
    }
    Error::new(
        ErrorKind::InvalidImage,
        format!("there is no image for {wanted} in it, only for {}", crate::text::visible(&there.join(", "))),
    )
    .with_hint("choose one of them, or \"all\", as the platform")
}
