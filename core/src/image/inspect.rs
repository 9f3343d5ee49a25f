//! Looking at images.

use super::filter::Filters;
use super::{HistoryEntry, ImageDetails, ImageSummary, LayerInfo};
use crate::error::{Error, ErrorKind, Result};
use crate::oci::{ImageDocument, Platform};
use crate::state::{Store, images};

pub(super) fn list(store: &Store, filters: &Filters) -> Result<Vec<ImageSummary>> {
    store.db.read(|connection| filters.choose(connection, images::summaries(connection, None)?))
}

pub(super) fn get(store: &Store, image: &str, platform: Option<&str>) -> Result<ImageSummary> {
    let wanted = platform.map(Platform::parse).transpose()?;
    store.db.read(|connection| {
        let ids = images::group(connection, image, wanted.as_ref())?.ids;
        let id = ids.first().ok_or_else(|| images::not_found(image))?;
        images::summaries(connection, Some(id))?.pop().ok_or_else(|| images::not_found(image))
    })
}

pub(super) fn inspect(store: &Store, image: &str) -> Result<ImageDetails> {
    let (summary, (config, manifest), layers, unpacked_size) = store.db.read(|connection| {
        let id = images::find(connection, image)?.id;
        let summary =
            images::summaries(connection, Some(&id))?.pop().ok_or_else(|| images::not_found(image))?;
        let size = images::unpacked_size(connection, &id, &store.idmap)?;
        Ok((summary, images::documents(connection, &id)?, images::layers(connection, &id)?, size))
    })?;
    let json = |bytes: &[u8]| {
        serde_json::from_slice(bytes)
            .map_err(|error| Error::new(ErrorKind::Database, format!("image \"{image}\": {error}")))
    };
    Ok(ImageDetails {
        config: json(&config)?,
        manifest: json(&manifest)?,
        summary,
        layers: layers
            .into_iter()
            .map(|layer| LayerInfo {
                diff_id: layer.diff_id.to_string(),
                chain_id: layer.chain_id.to_string(),
                digest: layer.digest.to_string(),
                media_type: layer.media_type,
                size: layer.size,
            })
            .collect(),
        unpacked_size,
    })
}

/// The history of the configuration, with the layers it accounts for. Layers beyond it get entries of their own, so that every
/// layer is shown, however short the history is.
pub(super) fn history(store: &Store, image: &str) -> Result<Vec<HistoryEntry>> {
    let (config, layers) = store.db.read(|connection| {
        let found = images::find(connection, image)?;
        Ok((images::config(connection, &found.id)?, images::layers(connection, &found.id)?))
    })?;
    let document = ImageDocument::parse(&config, image)?;
    let mut layers = layers.into_iter();
    let mut entries = Vec::new();
    for step in document.history {
        let layer = if step.empty_layer { None } else { layers.next() };
        entries.push(HistoryEntry {
            created: step.created,
            created_by: step.created_by,
            comment: Some(step.comment).filter(|comment| !comment.is_empty()),
            // A history that claims more layers than there are is read as if the surplus made none.
            empty_layer: layer.is_none(),
            size: layer.as_ref().map_or(0, |layer| layer.size),
            layer: layer.map(|layer| layer.diff_id.to_string()),
        });
    }
    entries.extend(layers.map(|layer| HistoryEntry {
        created: None,
        created_by: String::new(),
        comment: None,
        empty_layer: false,
        size: layer.size,
        layer: Some(layer.diff_id.to_string()),
    }));
    entries.reverse();
    Ok(entries)
}
