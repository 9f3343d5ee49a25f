//! A new image upon another one: its layers, perhaps one more, and its configuration with changes. What the configuration has that is not
//! known here stays in it.

use serde_json::{Map, Value, json};

use super::ImageSummary;
use super::add::{Pieces, commit, prepare, to_json};
use crate::cancel::CancelToken;
use crate::error::{Error, ErrorKind, Result};
use crate::oci::{Descriptor, Digest, Document, Manifest, Reference, media_type, parse_document};
use crate::progress::Reporter;
use crate::snapshot::Worker;
use crate::state::{Session, Store, images};

/// A layer whose blob is in the store.
pub(crate) struct NewLayer {
    pub(crate) digest: Digest,
    pub(crate) size: u64,
    pub(crate) diff_id: Digest,
    pub(crate) media_type: String,
}

/// What the new image is made of.
pub(crate) struct Upon<'a> {
    /// The id of the image below.
    pub(crate) image: &'a str,
    /// Lowest first. None: nothing changed.
    pub(crate) layers: Vec<NewLayer>,
    pub(crate) created: String,
    pub(crate) created_by: String,
    pub(crate) author: Option<String>,
    pub(crate) message: Option<String>,
    pub(crate) reference: Option<Reference>,
}

/// Makes and records the image.
pub(crate) fn record(
    store: &Store,
    session: &Session,
    worker: &dyn Worker,
    upon: Upon<'_>,
    configure: impl FnOnce(&mut Map<String, Value>) -> Result<()>,
    reporter: &Reporter<'_>,
    cancel: &CancelToken,
) -> Result<ImageSummary> {
    let ((bytes, below), layers) = store.db.read(|connection| {
        Ok((images::saved(connection, upon.image)?, images::layers(connection, upon.image)?))
    })?;
    // Whoever gets a layer from elsewhere gets it from there still.
    let urls = match parse_document(&below.bytes, Some(&below.media_type), below.digest.as_str())? {
        Document::Manifest(below) => below.layers.into_iter().map(|layer| layer.urls).collect(),
        Document::Index(_) => Vec::new(),
    };
    let mut document: Map<String, Value> = serde_json::from_slice(&bytes)
        .map_err(|error| Error::new(ErrorKind::Database, format!("image \"{}\": {error}", upon.image)))?;
    // What docker's old builder wrote about the container that it made the image from.
    for legacy in ["id", "parent", "container", "container_config"] {
        document.remove(legacy);
    }
    document.insert("created".into(), json!(upon.created));
    match &upon.author {
        Some(author) => document.insert("author".into(), json!(author)),
        None => document.remove("author"),
    };
    let mut config = match document.remove("config") {
        Some(Value::Object(config)) => config,
        _ => Map::new(),
    };
    configure(&mut config)?;
    document.insert("config".into(), Value::Object(config));
    let mut diff_ids: Vec<Value> = layers.iter().map(|layer| json!(layer.diff_id.as_str())).collect();
    diff_ids.extend(upon.layers.iter().map(|layer| json!(layer.diff_id.as_str())));
    document.insert("rootfs".into(), json!({ "type": "layers", "diff_ids": diff_ids }));
    let mut step = Map::new();
    step.insert("created".into(), json!(upon.created));
    step.insert("created_by".into(), json!(upon.created_by));
    step.extend(upon.author.map(|author| ("author".to_owned(), json!(author))));
    step.extend(upon.message.map(|message| ("comment".to_owned(), json!(message))));
    if upon.layers.is_empty() {
        step.insert("empty_layer".into(), json!(true));
    }
    // A step for each layer, as readers of the history expect it.
    let steps = vec![Value::Object(step); upon.layers.len().max(1)];
    match document.entry("history").or_insert_with(|| json!([])) {
        Value::Array(history) => history.extend(steps),
        other => *other = json!(steps),
    }
    let config_bytes = to_json(&document)?;
    let mut descriptors: Vec<Descriptor> = layers
        .iter()
        .zip(urls.into_iter().chain(std::iter::repeat(Vec::new())))
        .map(|(layer, urls)| {
            let media_type = media_type::oci_layer(&layer.media_type);
            let mut descriptor = Descriptor::new(media_type, layer.digest.clone(), layer.size);
            descriptor.urls = urls;
            descriptor
        })
        .collect();
    descriptors.extend(
        upon.layers.into_iter().map(|layer| Descriptor::new(&layer.media_type, layer.digest, layer.size)),
    );
    let manifest = Manifest {
        schema_version: 2,
        media_type: media_type::MANIFEST.into(),
        config: Descriptor::new(media_type::CONFIG, Digest::of(&config_bytes), config_bytes.len() as u64),
        layers: descriptors,
    };
    let manifest_bytes = to_json(&manifest)?;
    let pieces = Pieces {
        manifest: &manifest,
        manifest_digest: Digest::of(&manifest_bytes),
        manifest_bytes,
        config_bytes,
        names: upon.reference.into_iter().collect(),
    };
    let ready = prepare(store, session, worker, pieces, reporter, cancel)?;
    commit(store, session, &[ready], "create")?
        .pop()
        .ok_or_else(|| Error::new(ErrorKind::Internal, "a new image is not there"))
}
