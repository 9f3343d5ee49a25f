//! The last steps of every way an image comes in.

use serde_json::{Map, Value};

use super::changes;
use super::load::Group;
use super::remove::change;
use super::{ImageSummary, ImportOptions};
use crate::cancel::CancelToken;
use crate::container::Warning;
use crate::content::{Staged, stage_bytes};
use crate::error::{Error, ErrorKind, Result};
use crate::oci::{
    Descriptor, Digest, History, ImageConfig, ImageDocument, Manifest, Platform, Reference, RootFs,
    chain_ids, media_type,
};
use crate::progress::{ProgressKind, Reporter};
use crate::snapshot::{Blob, Stack, Wanted, Worker};
use crate::state::images::{self, LayerRow, NewImage};
use crate::state::{Session, Store, events};

/// An image with everything in place but its rows.
pub(super) struct Ready {
    pub(super) image: NewImage,
    pub(super) names: Vec<Reference>,
    /// Of the layers that were unpacked for it.
    pub(super) warnings: Vec<Warning>,
}

/// The pieces of an image whose layer blobs are in the store.
pub(super) struct Pieces<'a> {
    pub(super) manifest: &'a Manifest,
    pub(super) manifest_bytes: Vec<u8>,
    pub(super) manifest_digest: Digest,
    pub(super) config_bytes: Vec<u8>,
    pub(super) names: Vec<Reference>,
}

/// Checks an image's pieces against each other and unpacks its layers.
pub(super) fn prepare(
    store: &Store,
    session: &Session,
    worker: &dyn Worker,
    pieces: Pieces<'_>,
    reporter: &Reporter<'_>,
    cancel: &CancelToken,
) -> Result<Ready> {
    let Pieces { manifest, manifest_bytes, manifest_digest, config_bytes, names } = pieces;
    let id = manifest.config.digest.clone();
    let document = ImageDocument::parse(&config_bytes, &format!("configuration {id}"))?;
    let layers = pair(manifest, &document, &id)?;
    let mut stack = Stack::new(store, worker);
    stack.push_stored(&wanted(&layers), reporter, cancel)?;
    let warnings = stack.take_warnings();
    stack.publish()?;
    put(store, session, &config_bytes, &id)?;
    put(store, session, &manifest_bytes, &manifest_digest)?;
    let image = NewImage {
        id,
        manifest_digest,
        manifest_type: manifest.media_type.clone(),
        manifest: manifest_bytes,
        config: config_bytes,
        document,
        layers,
    };
    Ok(Ready { image, names, warnings })
}

/// The layers of an image, as a stack takes them.
pub(crate) fn wanted(layers: &[LayerRow]) -> Vec<Wanted<'_>> {
    layers
        .iter()
        .map(|LayerRow { digest, size, diff_id, .. }| Wanted { blob: Blob { digest, size: *size }, diff_id })
        .collect()
}

/// Puts layers of the manifest and diff ids of the configuration together.
pub(crate) fn pair(manifest: &Manifest, document: &ImageDocument, id: &Digest) -> Result<Vec<LayerRow>> {
    let diff_ids = &document.rootfs.diff_ids;
    if diff_ids.len() != manifest.layers.len() {
        return Err(Error::new(
            ErrorKind::InvalidImage,
            format!(
                "image {id} has {} layers, but its configuration knows {}",
                manifest.layers.len(),
                diff_ids.len()
            ),
        )
        .with_object(id.as_str()));
    }
    let chain = chain_ids(diff_ids);
    let rows = manifest.layers.iter().zip(diff_ids).zip(chain).map(|((layer, diff_id), chain_id)| LayerRow {
        diff_id: diff_id.clone(),
        chain_id,
        digest: layer.digest.clone(),
        media_type: layer.media_type.clone(),
        size: layer.size,
    });
    Ok(rows.collect())
}

pub(crate) fn put(store: &Store, session: &Session, bytes: &[u8], digest: &Digest) -> Result<()> {
    let staged = stage_bytes(session, bytes)?;
    staged.check(session, digest)?;
    store.publish(session, &staged, digest)
}

/// Records images and their names, all or none. `action` is what events say of it.
pub(super) fn commit(
    store: &Store,
    session: &Session,
    ready: &[Ready],
    action: &str,
) -> Result<Vec<ImageSummary>> {
    commit_groups(store, session, ready, &[], action)
}

/// As [`commit`], with names that several of the images have together.
pub(super) fn commit_groups(
    store: &Store,
    session: &Session,
    ready: &[Ready],
    groups: &[Group],
    action: &str,
) -> Result<Vec<ImageSummary>> {
    change(store, session, |tx| {
        for Ready { image, names, .. } in ready {
            images::add(tx, image)?;
            for name in names {
                images::set_tag(tx, name, image.id.as_str())?;
            }
        }
        for Group { names, ids, index } in groups {
            for name in names {
                images::set_group(tx, name, ids, Some(index))?;
            }
        }
        let mut summaries: Vec<ImageSummary> = Vec::new();
        for Ready { image, warnings, names } in ready {
            let id = image.id.as_str();
            if !summaries.iter().any(|summary| summary.id == id) {
                let of_group = || groups.iter().find(|group| group.ids.iter().any(|other| other == id));
                let name = names.first().or_else(|| of_group().and_then(|group| group.names.first()));
                let name = name.map_or_else(|| id.to_owned(), ToString::to_string);
                events::of_image(tx, action, id, &name)?;
                summaries.extend(images::summaries(tx, Some(id))?);
            }
            if let Some(summary) = summaries.iter_mut().find(|summary| summary.id == id) {
                summary.warnings.extend_from_slice(warnings);
            }
        }
        Ok(summaries)
    })
}

/// An image of one layer that is made here.
pub(super) struct Made<'a> {
    pub(super) layer: &'a Staged,
    pub(super) options: ImportOptions,
    pub(super) created: String,
    pub(super) created_by: &'a str,
    pub(super) reference: Option<Reference>,
}

/// Makes an image of a staged layer.
pub(super) fn make(
    (store, worker): (&Store, &dyn Worker),
    session: &Session,
    made: Made<'_>,
    reporter: &Reporter<'_>,
    cancel: &CancelToken,
) -> Result<ImageSummary> {
    let Made { layer, options, created, created_by, reference } = made;
    let compression = layer.compression();
    let (config, platform) = config(&options)?;
    store.publish(session, layer, &layer.digest)?;
    let mut stack = Stack::new(store, worker);
    reporter.blob(ProgressKind::Unpack, &layer.digest, 0, layer.size);
    let diff_id = stack.push(Blob { digest: &layer.digest, size: layer.size }, None, cancel)?;
    reporter.blob(ProgressKind::UnpackDone, &layer.digest, layer.size, layer.size);
    let warnings = stack.take_warnings();
    stack.publish()?;
    let document = ImageDocument {
        created: Some(created.clone()),
        architecture: platform.architecture,
        os: platform.os,
        variant: platform.variant,
        os_version: platform.os_version,
        os_features: platform.os_features,
        config: ImageConfig::default(),
        rootfs: RootFs { kind: "layers".into(), diff_ids: vec![diff_id] },
        history: vec![History {
            created: Some(created),
            created_by: created_by.into(),
            comment: options.message.unwrap_or_default(),
            empty_layer: false,
        }],
    };
    let Value::Object(mut document) = to_value(&document)? else {
        return Err(Error::new(ErrorKind::Internal, "a document is no object"));
    };
    // With what is not known here, such as volumes.
    document.insert("config".into(), Value::Object(config));
    document.extend(options.author.map(|author| ("author".to_owned(), Value::String(author))));
    let config_bytes = to_json(&document)?;
    let manifest = Manifest {
        schema_version: 2,
        media_type: media_type::MANIFEST.into(),
        config: Descriptor::new(media_type::CONFIG, Digest::of(&config_bytes), config_bytes.len() as u64),
        layers: vec![Descriptor::new(compression.layer_media_type(), layer.digest.clone(), layer.size)],
    };
    let manifest_bytes = to_json(&manifest)?;
    let pieces = Pieces {
        manifest: &manifest,
        manifest_digest: Digest::of(&manifest_bytes),
        manifest_bytes,
        config_bytes,
        names: reference.into_iter().collect(),
    };
    let mut ready = prepare(store, session, worker, pieces, reporter, cancel)?;
    ready.warnings.splice(..0, warnings);
    let made = commit(store, session, &[ready], "import")?
        .pop()
        .ok_or_else(|| Error::new(ErrorKind::Internal, "a new image is not there"))?;
    reporter.tell(ProgressKind::Done, None);
    Ok(made)
}

pub(crate) fn to_json<T: serde::Serialize>(value: &T) -> Result<Vec<u8>> {
    serde_json::to_vec(value)
        .map_err(|error| Error::new(ErrorKind::Internal, format!("writing JSON: {error}")))
}

fn to_value<T: serde::Serialize>(value: &T) -> Result<Value> {
    serde_json::to_value(value)
        .map_err(|error| Error::new(ErrorKind::Internal, format!("writing JSON: {error}")))
}

/// The configuration that the options of an import ask for, and the platform.
pub(super) fn config(options: &ImportOptions) -> Result<(Map<String, Value>, Platform)> {
    let invalid = |why: String| Error::new(ErrorKind::InvalidArgument, why);
    let mut env = Vec::new();
    for (name, value) in &options.environment {
        if name.is_empty() || name.contains(['=', '\0', '\n']) || value.contains('\0') {
            return Err(invalid(format!(
                "\"{}\" is not a name and value of the environment",
                name.escape_debug()
            )));
        }
        env.push(format!("{name}={value}"));
    }
    let working_dir = options.working_dir.clone().unwrap_or_default();
    if !working_dir.is_empty() && !working_dir.starts_with('/') {
        return Err(invalid(format!("working directory \"{}\" is not absolute", working_dir.escape_debug())));
    }
    let config = ImageConfig {
        user: options.user.clone().unwrap_or_default(),
        env,
        entrypoint: options.entrypoint.clone().unwrap_or_default(),
        cmd: options.command.clone().unwrap_or_default(),
        working_dir,
        labels: options.labels.clone(),
        stop_signal: String::new(),
        healthcheck: None,
        shell: None,
        exposed_ports: None,
        volumes: None,
    };
    config.check().map_err(invalid)?;
    let Value::Object(mut config) = to_value(&config)? else {
        return Err(Error::new(ErrorKind::Internal, "a configuration is no object"));
    };
    changes::apply(&mut config, &options.changes, options.command.is_some())?;
    let platform = options.platform.as_deref().map(Platform::parse).transpose()?;
    Ok((config, platform.unwrap_or_else(Platform::host)))
}
