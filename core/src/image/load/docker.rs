//! Docker archives: a tar with `manifest.json`, image configurations and layer tars.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{Load, name};
use crate::error::{Context, Error, ErrorKind, Result};
use crate::image::add::{Pieces, Ready, prepare, to_json};
use crate::image::archive::Files;
use crate::image::choose;
use crate::oci::{
    Descriptor, Digest, ImageDocument, MAX_DESCRIPTORS, MAX_DOCUMENT, MAX_LAYERS, Manifest, Platform,
    PlatformChoice, Reference, media_type,
};

/// An image of `manifest.json`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Item {
    config: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    #[serde(default)]
    layers: Option<Vec<String>>,
}

fn items(load: Load<'_>, files: &Files) -> Result<Vec<Item>> {
    let what = "manifest.json";
    let staged = files.get(what).ok_or_else(|| missing(what))?;
    let bytes = staged.read(load.session, MAX_DOCUMENT, what)?;
    let items: Vec<Item> = serde_json::from_slice(&bytes)
        .map_err(|error| Error::new(ErrorKind::InvalidImage, format!("{what}: {error}")).with_object(what))?;
    let count = items.iter().map(|item| 1 + item.layers.as_ref().map_or(0, Vec::len)).sum::<usize>();
    if count > MAX_DESCRIPTORS {
        return Err(Error::new(
            ErrorKind::LimitExceeded,
            format!("{what} has more than {MAX_DESCRIPTORS} entries"),
        )
        .with_object(what));
    }
    Ok(items)
}

fn missing(path: &str) -> Error {
    let shown: String = path.chars().take(300).collect();
    Error::new(ErrorKind::InvalidArchive, format!("\"{}\" is missing", shown.escape_debug()))
        .with_object(shown)
}

/// The names of an item; what is not a name is an error, since a later reader would look for it in vain.
fn names(item: &Item) -> Result<Vec<Reference>> {
    item.repo_tags.iter().flatten().map(|text| Reference::parse_tag(text)).collect()
}

/// The names that `manifest.json` gives to images which an OCI layout describes.
pub(super) fn names_by_config(load: Load<'_>, files: &Files) -> Result<Vec<(Digest, Vec<Reference>)>> {
    let mut found = Vec::new();
    for item in items(load, files)? {
        if let Some(staged) = files.get(&item.config) {
            let names = item.repo_tags.iter().flatten().filter_map(|text| name(text)).collect();
            found.push((staged.digest.clone(), names));
        }
    }
    Ok(found)
}

/// Reads the images of a docker archive.
pub(super) fn from_archive(load: Load<'_>, files: &Files) -> Result<Vec<Ready>> {
    let items = items(load, files)?;
    if items.is_empty() {
        return Err(Error::new(ErrorKind::InvalidArchive, "there is no image in it"));
    }
    let mut chosen = Vec::new();
    let mut others = Vec::new();
    for item in items {
        load.cancel.check()?;
        let doing = || format!("image \"{}\"", item.config.escape_debug());
        let platform = platform(load, files, &item).context(doing)?;
        if load.wants(&platform) {
            chosen.push((item, platform));
        } else {
            others.push(platform.to_string());
        }
    }
    if let PlatformChoice::Best(wanted) = load.platform {
        if chosen.is_empty() {
            return Err(choose::foreign(wanted, others));
        }
        one_for_each_name(&mut chosen, wanted);
    }
    let ready = chosen.iter().map(|(item, platform)| {
        let doing = || format!("image \"{}\"", item.config.escape_debug());
        let mut ready = image(load, files, item).context(doing)?;
        ready.warnings.splice(..0, load.foreign(platform));
        Ok(ready)
    });
    ready.collect()
}

/// Such an archive has one image for a name. Some tools have written more, one for each platform: then it is the one that fits, and those that
/// fit nothing and have no name of their own are left out.
fn one_for_each_name(chosen: &mut Vec<(Item, Platform)>, wanted: &Platform) {
    let mut best: BTreeMap<String, (usize, String)> = BTreeMap::new();
    for (item, platform) in &*chosen {
        let rank = platform.rank_for(wanted).unwrap_or(usize::MAX);
        for name in item.repo_tags.iter().flatten() {
            // Of two that fit equally well it is the last, as docker has it.
            if best.get(name).is_none_or(|(other, _)| rank <= *other) {
                best.insert(name.clone(), (rank, item.config.clone()));
            }
        }
    }
    chosen.retain_mut(|(item, platform)| {
        let Some(names) = item.repo_tags.as_mut().filter(|names| !names.is_empty()) else { return true };
        names.retain(|name| best.get(name).is_none_or(|(_, config)| *config == item.config));
        !names.is_empty() || choose::suits(platform, wanted)
    });
}

fn platform(load: Load<'_>, files: &Files, item: &Item) -> Result<Platform> {
    let staged = files.get(&item.config).ok_or_else(|| missing(&item.config))?;
    let config = staged.read(load.session, MAX_DOCUMENT, &item.config)?;
    Ok(ImageDocument::parse(&config, &item.config)?.platform())
}

fn image(load: Load<'_>, files: &Files, item: &Item) -> Result<Ready> {
    let staged = files.get(&item.config).ok_or_else(|| missing(&item.config))?;
    let config = staged.read(load.session, MAX_DOCUMENT, &item.config)?;
    let id = Digest::of(&config);
    check_claim(&item.config, &id)?;
    let layers = item.layers.as_deref().unwrap_or_default();
    if layers.len() > MAX_LAYERS {
        return Err(Error::new(
            ErrorKind::LimitExceeded,
            format!("{} layers are more than {MAX_LAYERS}", layers.len()),
        ));
    }
    let mut descriptors = Vec::with_capacity(layers.len());
    for path in layers {
        load.cancel.check()?;
        let layer = files.get(path).ok_or_else(|| missing(path))?;
        check_claim(path, &layer.digest)?;
        if !load.store.has_blob(&layer.digest, layer.size)? {
            load.store.publish(load.session, layer, &layer.digest)?;
        }
        descriptors.push(Descriptor::new(
            layer.compression().layer_media_type(),
            layer.digest.clone(),
            layer.size,
        ));
    }
    let manifest = Manifest {
        schema_version: 2,
        media_type: media_type::MANIFEST.into(),
        config: Descriptor::new(media_type::CONFIG, id, config.len() as u64),
        layers: descriptors,
    };
    let bytes = to_json(&manifest)?;
    let pieces = Pieces {
        manifest: &manifest,
        manifest_digest: Digest::of(&bytes),
        manifest_bytes: bytes,
        config_bytes: config,
        names: names(item)?,
    };
    prepare(load.store, load.session, load.worker, pieces, load.reporter, load.cancel)
}

/// A file that is named after a digest has to have it: `<id>.json`, `<digest>.tar`, `blobs/sha256/<digest>`.
fn check_claim(path: &str, found: &Digest) -> Result<()> {
    let file = path.rsplit('/').next().unwrap_or(path);
    let stem = file.strip_suffix(".json").or_else(|| file.strip_suffix(".tar")).unwrap_or(file);
    match Digest::parse(&format!("sha256:{stem}")) {
        Ok(claimed) if claimed != *found => Err(crate::content::mismatch(&claimed, found)),
        _ => Ok(()),
    }
}
