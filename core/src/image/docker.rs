//! Everything about an image in the form that docker gives it, for programs that read that.

use serde_json::{Map, Value, json};

use super::ImageDetails;
use crate::error::{Error, ErrorKind, Result};
use crate::oci::Reference;
use crate::state::{NEVER, Store, images};

pub(super) fn inspect(store: &Store, image: &str) -> Result<Value> {
    let details = super::inspect::inspect(store, image)?;
    let own = serde_json::to_value(&details)
        .map_err(|error| Error::new(ErrorKind::Internal, format!("json: {error}")))?;
    let ImageDetails { summary, config: document, layers, unpacked_size, .. } = &details;
    let text = |name: &str| document.get(name).and_then(Value::as_str).unwrap_or("");
    // As docker has it: what an image does not say itself is said by its newest step.
    let last = || document.get("history")?.as_array()?.last()?.get("comment")?.as_str();
    let comment = Some(text("comment")).filter(|comment| !comment.is_empty()).or_else(last);
    let manifest = store.db.read(|connection| images::saved(connection, &summary.id))?.1.descriptor();
    let mut object = json!({
        "Id": summary.id,
        "RepoTags": summary.references.iter().map(|name| familiar(name)).collect::<Vec<_>>(),
        "RepoDigests": summary.repo_digests.iter().map(|name| familiar(name)).collect::<Vec<_>>(),
        "Parent": "",
        "Comment": comment.unwrap_or(""),
        "Created": summary.created.as_deref().unwrap_or(NEVER),
        "DockerVersion": text("docker_version"),
        "Author": text("author"),
        "Config": config(document),
        "Architecture": summary.architecture,
        "Os": summary.os,
        // Docker's size is that of the files.
        "Size": unpacked_size.unwrap_or(summary.size),
        "GraphDriver": { "Name": "overlayfs", "Data": null },
        "RootFS": {
            "Type": "layers",
            "Layers": layers.iter().map(|layer| layer.diff_id.as_str()).collect::<Vec<_>>(),
        },
        "Metadata": { "LastTagTime": NEVER },
        "Descriptor": { "mediaType": manifest.media_type, "digest": summary.digest, "size": manifest.size },
        "Coble": own,
    });
    let version = text("os.version");
    if let Value::Object(object) = &mut object {
        object.extend(summary.variant.as_ref().map(|variant| ("Variant".to_owned(), json!(variant))));
        object.extend((!version.is_empty()).then(|| ("OsVersion".to_owned(), json!(version))));
    }
    Ok(object)
}

/// The short form, as docker shows it.
fn familiar(name: &str) -> String {
    Reference::parse(name).map_or_else(|_| name.to_owned(), |name| name.familiar())
}

/// The image's own words, with those that docker always has.
fn config(document: &Value) -> Map<String, Value> {
    let always = ["Env", "Cmd", "Entrypoint", "Volumes", "OnBuild", "Labels"];
    let mut config: Map<String, Value> =
        always.map(|name| (name.to_owned(), Value::Null)).into_iter().collect();
    config.extend(["User", "WorkingDir"].map(|name| (name.to_owned(), json!(""))));
    if let Some(Value::Object(given)) = document.get("config") {
        config.extend(
            given
                .iter()
                .filter(|(_, value)| !value.is_null())
                .map(|(name, value)| (name.clone(), value.clone())),
        );
    }
    config
}
