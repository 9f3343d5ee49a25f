//! Archives: tars of a layout, and docker archives.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};

use serde::Serialize;

use super::{Blob, Entry, blob_name, layout_of, stored};
use crate::cancel::CancelToken;
use crate::content::{LAYOUT, index_bytes, mismatch, read_error, writer};
use crate::error::{Error, ErrorKind, Result};
use crate::image::add::to_json;
use crate::image::sink::Output;
use crate::oci::{Digest, Hasher, Reference};
use crate::progress::{ProgressKind, Reporter};
use crate::state::{Session, Store};

const BLOCK: usize = 512;
const CHUNK: usize = 256 * 1024;

/// An image in `manifest.json`.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Item {
    config: String,
    repo_tags: Option<Vec<String>>,
    layers: Vec<String>,
}

/// An OCI layout as a tar, with a `manifest.json`.
pub(super) fn oci(
    store: &Store,
    entries: &[Entry],
    output: &mut Output,
    reporter: &Reporter<'_>,
    cancel: &CancelToken,
) -> Result<()> {
    let (blobs, descriptors) = layout_of(entries);
    reporter.expect(stored(&blobs));
    let path = |digest: &Digest| format!("blobs/{}", blob_name(digest));
    // What reads only this file knows nothing of platforms: it gets the first of each.
    let items = entries.iter().filter_map(|entry| entry.images.first().map(|image| (entry, image)));
    let items: Vec<Item> = items
        .map(|(entry, image)| Item {
            config: path(&image.id),
            repo_tags: tags(entry),
            layers: image.layers.iter().map(|layer| path(&layer.digest)).collect(),
        })
        .collect();
    file(output, "oci-layout", LAYOUT)?;
    file(output, "index.json", &index_bytes(&descriptors)?)?;
    file(output, "manifest.json", &to_json(&items)?)?;
    header(output, "blobs/", true, 0)?;
    let algorithms: BTreeSet<&str> = blobs.iter().map(|blob| blob.digest().algorithm().name()).collect();
    for algorithm in algorithms {
        header(output, &format!("blobs/{algorithm}/"), true, 0)?;
    }
    for blob in &blobs {
        let path = path(blob.digest());
        match blob {
            Blob::Bytes(_, bytes) => file(output, &path, bytes)?,
            Blob::Stored(digest, size) => {
                header(output, &path, false, *size)?;
                copy(store, (digest, *size), output, reporter, cancel)?;
                pad(output, *size)?;
            }
        }
    }
    end(output)
}

/// A docker archive: configurations, uncompressed layers named after their diff ids, and `manifest.json`.
pub(super) fn docker(
    (store, session): (&Store, &Session),
    entries: &[Entry],
    output: &mut Output,
    reporter: &Reporter<'_>,
    cancel: &CancelToken,
) -> Result<()> {
    let images = || entries.iter().flat_map(|entry| entry.images.iter().map(move |image| (entry, image)));
    let items: Vec<Item> = images()
        .map(|(entry, image)| Item {
            config: format!("{}.json", image.id.hex()),
            repo_tags: tags(entry),
            layers: image.layers.iter().map(|layer| format!("{}.tar", layer.diff_id.hex())).collect(),
        })
        .collect();
    let layers: BTreeMap<&Digest, u64> =
        images().flat_map(|(_, image)| &image.layers).map(|layer| (&layer.diff_id, layer.size)).collect();
    reporter.expect(layers.into_values().sum());
    let mut written: BTreeSet<String> = BTreeSet::new();
    for (_, image) in images() {
        for layer in &image.layers {
            let name = format!("{}.tar", layer.diff_id.hex());
            if !written.insert(name.clone()) {
                continue;
            }
            let meter = reporter.meter(&layer.digest, layer.size);
            let input = store.content.open_blob(&layer.digest, layer.size)?;
            let input = meter.reader(input, ProgressKind::BlobProgress);
            let mut decoder =
                coble_layer::Decoder::new(input).map_err(|error| damaged(&layer.digest, &error))?;
            if decoder.format() == coble_layer::Format::Plain {
                header(output, &name, false, layer.size)?;
                drop(decoder);
                // What was looked at is read again.
                meter.at(0, ProgressKind::BlobProgress);
                copy(store, (&layer.digest, layer.size), output, reporter, cancel)?;
                pad(output, layer.size)?;
                continue;
            }
            meter.at(0, ProgressKind::BlobStart);
            // The header wants a length that only the end tells.
            let mut plain = writer(session)?;
            let mut buffer = vec![0; CHUNK];
            loop {
                cancel.check()?;
                match decoder.read(&mut buffer).map_err(|error| damaged(&layer.digest, &error))? {
                    0 => break,
                    count => plain.append(buffer.get(..count).unwrap_or_default())?,
                }
            }
            let plain = plain.finish();
            if plain.digest != layer.diff_id {
                return Err(mismatch(&layer.diff_id, &plain.digest));
            }
            header(output, &name, false, plain.size)?;
            let mut file = plain.open(session)?;
            while let count @ 1.. = file.read(&mut buffer).map_err(|error| read_error(&error, &name))? {
                put(output, buffer.get(..count).unwrap_or_default())?;
            }
            pad(output, plain.size)?;
            plain.discard(session)?;
            meter.at(layer.size, ProgressKind::BlobDone);
        }
        let name = format!("{}.json", image.id.hex());
        if written.insert(name.clone()) {
            file(output, &name, &image.config)?;
        }
    }
    file(output, "manifest.json", &to_json(&items)?)?;
    end(output)
}

/// Names as docker writes them; null if there are none.
fn tags(entry: &Entry) -> Option<Vec<String>> {
    let familiar =
        |name: &String| Reference::parse(name).map_or_else(|_| name.clone(), |name| name.familiar());
    let names: Vec<String> = entry.names.iter().map(familiar).collect();
    Some(names).filter(|names| !names.is_empty())
}

fn damaged(digest: &Digest, error: &coble_layer::Error) -> Error {
    Error::new(ErrorKind::DigestMismatch, format!("blob {digest} is damaged: {error}"))
        .with_object(digest.as_str())
        .with_hint("`coble verify` shows what is damaged; pull or load the image again")
}

/// Copies a blob, and fails in the end if its content was not what it should be.
pub(super) fn copy(
    store: &Store,
    (digest, size): (&Digest, u64),
    output: &mut dyn Write,
    reporter: &Reporter<'_>,
    cancel: &CancelToken,
) -> Result<()> {
    let mut input = store.content.open_blob(digest, size)?;
    let _ = rustix::fs::fadvise(&input, 0, None, rustix::fs::Advice::Sequential);
    let mut hasher = Hasher::new(digest.algorithm());
    let mut buffer = vec![0; CHUNK];
    let meter = reporter.meter(digest, size);
    meter.at(0, ProgressKind::BlobStart);
    let mut left = size;
    while left > 0 {
        cancel.check()?;
        let want = usize::try_from(left).unwrap_or(usize::MAX).min(CHUNK);
        let buffer = buffer.get_mut(..want).unwrap_or_default();
        input.read_exact(buffer).map_err(|error| read_error(&error, digest.as_str()))?;
        hasher.update(buffer);
        output.write_all(buffer).map_err(|error| crate::content::write_error(&error, "output"))?;
        left -= want as u64;
        meter.at(size - left, ProgressKind::BlobProgress);
    }
    let found = hasher.finish();
    if found == *digest {
        meter.at(size, ProgressKind::BlobDone);
        return Ok(());
    }
    Err(mismatch(digest, &found)
        .with_hint("`coble verify` shows what is damaged; pull or load the image again"))
}

fn put(output: &mut Output, bytes: &[u8]) -> Result<()> {
    output.write_all(bytes).map_err(|error| output.error(&error))
}

fn file(output: &mut Output, path: &str, bytes: &[u8]) -> Result<()> {
    header(output, path, false, bytes.len() as u64)?;
    put(output, bytes)?;
    pad(output, bytes.len() as u64)
}

fn pad(output: &mut Output, size: u64) -> Result<()> {
    match (size % BLOCK as u64) as usize {
        0 => Ok(()),
        rest => put(output, [0; BLOCK].get(rest..).unwrap_or_default()),
    }
}

fn end(output: &mut Output) -> Result<()> {
    put(output, &[0; 2 * BLOCK])
}

fn header(output: &mut Output, path: &str, directory: bool, size: u64) -> Result<()> {
    let blocks = coble_layer::plain_header(path, directory, size);
    put(
        output,
        &blocks.map_err(|error| Error::new(ErrorKind::Internal, format!("header of \"{path}\": {error}")))?,
    )
}
