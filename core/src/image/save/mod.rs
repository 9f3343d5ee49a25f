//! Saving images as archives and layouts that every engine can load.
//!
//! An OCI archive has the blobs as they are in the store, byte for byte, and beside its `index.json` the `manifest.json` of docker archives, so that it
//! can be loaded as either. A docker archive has its layers uncompressed, as tools that know only that format expect them. Every blob is hashed on its way.

mod archive;
mod layout;

use std::collections::BTreeMap;

use super::sink;
use super::{SaveFormat, SaveOptions, Sink};
use crate::cancel::CancelToken;
use crate::error::{Context, Error, ErrorKind, Result};
use crate::oci::{Descriptor, Digest, Platform, PlatformChoice, annotation};
use crate::progress::{ProgressKind, ProgressSink, Reporter};
use crate::snapshot::Worker;
use crate::state::images::{self, Document, LayerRow};
use crate::state::{Session, Store, events};

/// An image on its way out.
struct Saved {
    id: Digest,
    config: Vec<u8>,
    manifest: Document,
    layers: Vec<LayerRow>,
    platform: Platform,
}

/// One entry of the top index.
struct Entry {
    /// Canonical references that the caller named it by.
    names: Vec<String>,
    /// The images: several if they are the platforms of one name.
    images: Vec<Saved>,
    /// The index that the name has, if its images are saved under it.
    index: Option<Document>,
}

/// A blob to write.
enum Blob {
    /// In the store.
    Stored(Digest, u64),
    /// At hand.
    Bytes(Digest, Vec<u8>),
}

impl Blob {
    fn digest(&self) -> &Digest {
        match self {
            Blob::Stored(digest, _) | Blob::Bytes(digest, _) => digest,
        }
    }
}

pub(super) fn save(
    store: &Store,
    worker: &dyn Worker,
    (references, sink): (&[&str], Sink),
    options: &SaveOptions,
    progress: ProgressSink<'_>,
    cancel: &CancelToken,
) -> Result<()> {
    if references.is_empty() {
        return Err(Error::new(ErrorKind::InvalidArgument, "no image is named"));
    }
    let reporter = &Reporter::new(&references.join(", "), progress);
    // As long as the session lasts, nobody takes blobs away.
    Session::run(store, worker, cancel, |session| {
        let choice = options.platform.as_deref().map(|text| PlatformChoice::parse(Some(text))).transpose()?;
        let entries = collect(store, references, choice.as_ref(), options.format)?;
        match options.format {
            SaveFormat::OciDirectory => match sink {
                Sink::Path(path) => layout::write(store, &entries, &path, reporter, cancel)
                    .context(|| format!("saving to \"{}\"", path.display())),
                Sink::Fd(_) => Err(Error::new(
                    ErrorKind::InvalidArgument,
                    "a layout directory cannot be written to a descriptor",
                )
                .with_hint("give a path, or another format")),
            },
            SaveFormat::OciArchive | SaveFormat::DockerArchive => {
                let mut output = sink::create(sink, cancel)?;
                let what = output.what.clone();
                match options.format {
                    SaveFormat::OciArchive => archive::oci(store, &entries, &mut output, reporter, cancel),
                    _ => archive::docker((store, session), &entries, &mut output, reporter, cancel),
                }
                .and_then(|()| output.finish())
                .context(|| format!("saving to \"{what}\""))
            }
        }?;
        // Told, and no reason to fail.
        let _ = store.db.write(|tx| {
            for entry in &entries {
                for image in &entry.images {
                    let name = entry.names.first().map_or(image.id.as_str(), String::as_str);
                    events::of_image(tx, "save", image.id.as_str(), name)?;
                }
            }
            Ok(())
        });
        reporter.tell(ProgressKind::Done, None);
        Ok(())
    })
}

/// Finds what the caller named. An image that is named twice is one entry with two names.
fn collect(
    store: &Store,
    references: &[&str],
    choice: Option<&PlatformChoice>,
    format: SaveFormat,
) -> Result<Vec<Entry>> {
    let platform = match choice {
        Some(PlatformChoice::Best(platform)) => Some(platform),
        Some(PlatformChoice::All) | None => None,
    };
    store.db.read(|connection| {
        let mut entries: Vec<Entry> = Vec::new();
        for text in references {
            let group = images::group(connection, text, platform)?;
            let mut saved = Vec::new();
            for id in &group.ids {
                let (config, manifest) = images::saved(connection, id)?;
                let layers = images::layers(connection, id)?;
                let platform = images::platform(connection, id)?;
                saved.push(Saved { id: Digest::parse(id)?, config, manifest, layers, platform });
            }
            if format == SaveFormat::DockerArchive && saved.len() > 1 {
                saved = vec![only(saved, text, choice)?];
            }
            let index = group.index.filter(|_| saved.len() > 1);
            let same = entries.iter_mut().find(|entry| {
                entry.index == index
                    && entry.images.iter().map(|image| &image.id).eq(saved.iter().map(|image| &image.id))
            });
            match same {
                Some(entry) => {
                    let new = group.name.filter(|name| !entry.names.contains(name));
                    entry.names.extend(new);
                }
                None => entries.push(Entry { names: group.name.into_iter().collect(), images: saved, index }),
            }
        }
        Ok(entries)
    })
}

/// The image that a name stands for where it can stand for one only: the host's, since nothing there tells a reader for which platform an
/// image is before it has been taken.
fn only(images: Vec<Saved>, text: &str, choice: Option<&PlatformChoice>) -> Result<Saved> {
    let there: Vec<String> = images.iter().map(|image| image.platform.to_string()).collect();
    let best = images.into_iter().filter_map(|image| Some((image.platform.rank()?, image)));
    let best = best.min_by_key(|(rank, _)| *rank).map(|(_, image)| image);
    best.filter(|_| choice.is_none()).ok_or_else(|| {
        Error::new(
            ErrorKind::InvalidArgument,
            format!(
                "\"{}\" is here for {}, and a docker archive has one image for a name",
                text.escape_debug(),
                crate::text::visible(&there.join(", "))
            ),
        )
        .with_object(text)
        .with_hint("choose one of the platforms, or the format oci-archive")
    })
}

/// The blobs of a layout, each once, in the order of their digests, and the descriptors of its index.
fn layout_of(entries: &[Entry]) -> (Vec<Blob>, Vec<Descriptor>) {
    let mut blobs: BTreeMap<String, Blob> = BTreeMap::new();
    let mut add = |blob: Blob| {
        blobs.insert(blob.digest().to_string(), blob);
    };
    let mut descriptors = Vec::new();
    for entry in entries {
        let mut tops = Vec::new();
        for image in &entry.images {
            add(Blob::Bytes(image.id.clone(), image.config.clone()));
            add(Blob::Bytes(image.manifest.digest.clone(), image.manifest.bytes.clone()));
            for layer in &image.layers {
                add(Blob::Stored(layer.digest.clone(), layer.size));
            }
            let mut descriptor = image.manifest.descriptor();
            if !image.platform.architecture.is_empty() && !image.platform.os.is_empty() {
                descriptor.platform = Some(Box::new(image.platform.clone()));
            }
            tops.push(descriptor);
        }
        if let Some(index) = &entry.index {
            add(Blob::Bytes(index.digest.clone(), index.bytes.clone()));
            tops = vec![index.descriptor()];
        }
        for top in tops {
            if entry.names.is_empty() {
                descriptors.push(top.clone());
            }
            for name in &entry.names {
                let mut named = top.clone();
                named.annotations.insert(annotation::IMAGE_NAME.into(), name.clone());
                named.annotations.insert(annotation::REF_NAME.into(), name.clone());
                descriptors.push(named);
            }
        }
    }
    (blobs.into_values().collect(), descriptors)
}

/// How many bytes of the store a layout gets.
fn stored(blobs: &[Blob]) -> u64 {
    blobs.iter().map(|blob| if let Blob::Stored(_, size) = blob { *size } else { 0 }).sum()
}

/// `algorithm/hex`.
fn blob_name(digest: &Digest) -> String {
    format!("{}/{}", digest.algorithm().name(), digest.hex())
}
