//! Looking at what a registry has, without pulling it.

use serde::Deserialize;
use serde_json::Value;

use super::client::{Client, Fetched, Head};
use super::registries::RemoteImage;
use crate::error::{Error, ErrorKind, Result};
use crate::oci::{
    Descriptor, Document, Index, MAX_DOCUMENT, MAX_NESTING, Platform, Reference, parse_document,
};

/// The name within the repository.
fn name_in(reference: &Reference) -> String {
    match (reference.digest(), reference.tag()) {
        (Some(digest), _) => digest.to_string(),
        (None, tag) => tag.unwrap_or("latest").to_owned(),
    }
}

/// What there is under a reference.
pub(super) fn head(client: &Client<'_>, reference: &Reference) -> Result<Head> {
    let name = name_in(reference);
    client.manifest_head(&name)?.ok_or_else(|| {
        Error::new(ErrorKind::ImageNotFound, format!("the registry does not have \"{reference}\""))
            .with_object(reference.to_string())
    })
}

/// Deletes a tag, or with a digest a manifest, or the blob that has it.
pub(super) fn delete(client: &Client<'_>, reference: &Reference, has_tag: bool) -> Result<()> {
    match (reference.digest(), reference.tag()) {
        (Some(digest), None) => match client.delete_manifest(digest) {
            Err(error) if error.kind() == ErrorKind::ImageNotFound => {
                client.delete_blob(digest).map_err(|blob| match blob.kind() {
                    ErrorKind::ImageNotFound => error,
                    _ => blob,
                })
            }
            result => result,
        },
        (None, Some(tag)) if has_tag => client.delete_tag(tag),
        // Deleting cannot be undone, so nothing is guessed.
        _ => Err(Error::new(
            ErrorKind::InvalidReference,
            format!("\"{}\" does not say what to delete", reference.repository()),
        )
        .with_object(reference.repository())
        .with_hint("name a tag or a digest, one of the two")),
    }
}

/// Everything about an image or an artifact.
pub(super) fn inspect(
    client: &Client<'_>,
    reference: &Reference,
    platform: Option<&str>,
) -> Result<RemoteImage> {
    let mut fetched = client.manifest(&name_in(reference))?;
    let mut manifest = json_of(&fetched)?;
    let mut platforms = platforms_of(&fetched);
    if let Some(wanted) = platform {
        let wanted = Platform::parse(wanted)?;
        for _ in 0..MAX_NESTING {
            let Some(index) = index_of(&fetched) else { break };
            let entry = choose(&index, &wanted).ok_or_else(|| {
                let text = format!("\"{reference}\" has no image for the platform \"{wanted}\"");
                let hint = format!("it has {}", platforms.join(", "));
                Error::new(ErrorKind::ImageNotFound, text).with_object(reference.to_string()).with_hint(hint)
            })?;
            fetched = client.manifest(entry.digest.as_str())?;
            manifest = json_of(&fetched)?;
        }
    }
    let config = config_of(client, &manifest)?;
    if platforms.is_empty() {
        platforms.extend(config.as_ref().and_then(platform_of_config));
    }
    Ok(RemoteImage {
        reference: reference.to_string(),
        digest: fetched.digest.to_string(),
        media_type: fetched.media_type,
        size: size_of(&manifest, fetched.bytes.len() as u64),
        manifest,
        config,
        platforms,
    })
}

/// The entry that fits best; one that says nothing of a platform may lead to others.
fn choose<'i>(index: &'i Index, wanted: &Platform) -> Option<&'i Descriptor> {
    let entries = || index.manifests.iter().filter(|entry| !entry.is_attestation());
    let best = entries()
        .filter_map(|entry| Some((entry.platform.as_ref()?.rank_for(wanted)?, entry)))
        .min_by_key(|(rank, _)| *rank);
    best.map(|(_, entry)| entry).or_else(|| entries().find(|entry| entry.platform.is_none()))
}

fn json_of(fetched: &Fetched) -> Result<Value> {
    serde_json::from_slice(&fetched.bytes).map_err(|error| {
        Error::new(ErrorKind::InvalidImage, format!("\"{}\": {error}", fetched.digest))
            .with_object(fetched.digest.as_str())
    })
}

fn index_of(fetched: &Fetched) -> Option<Index> {
    match parse_document(&fetched.bytes, None, fetched.digest.as_str()) {
        Ok(Document::Index(index)) => Some(index),
        _ => None,
    }
}

fn platforms_of(fetched: &Fetched) -> Vec<String> {
    let Some(index) = index_of(fetched) else { return Vec::new() };
    let mut all: Vec<String> = Vec::new();
    for entry in index.manifests.iter().filter(|entry| !entry.is_attestation()) {
        if let Some(name) =
            entry.platform.as_ref().map(|platform| platform.to_string()).filter(|name| !all.contains(name))
        {
            all.push(name);
        }
    }
    all
}

/// The configuration, if what the manifest names is JSON of a reasonable size and what it should be.
fn config_of(client: &Client<'_>, manifest: &Value) -> Result<Option<Value>> {
    let Some(descriptor) = manifest.get("config").and_then(|config| Descriptor::deserialize(config).ok())
    else {
        return Ok(None);
    };
    if descriptor.size > MAX_DOCUMENT || !descriptor.media_type.ends_with("json") {
        return Ok(None);
    }
    let bytes = match descriptor.embedded() {
        Some(bytes) => bytes,
        None => client.small_blob(&descriptor.digest, descriptor.size)?,
    };
    Ok(serde_json::from_slice(&bytes).ok())
}

fn platform_of_config(config: &Value) -> Option<String> {
    let platform = Platform::deserialize(config).ok()?;
    (!platform.os.is_empty() && !platform.architecture.is_empty()).then(|| platform.to_string())
}

/// Manifest, configuration and layers together.
fn size_of(manifest: &Value, own: u64) -> u64 {
    let size = |descriptor: &Value| descriptor.get("size").and_then(Value::as_u64).unwrap_or(0);
    let layers = manifest.get("layers").and_then(Value::as_array);
    let layers = layers.into_iter().flatten().map(size).fold(0, u64::saturating_add);
    own.saturating_add(manifest.get("config").map_or(0, size)).saturating_add(layers)
}
