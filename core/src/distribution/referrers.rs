//! What refers to a manifest: by the registry's own list, or where it has none, by the index under a tag that clients keep in its place.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde_json::{Map, Value, json};
use ureq::http::header::{ACCEPT, IF_MATCH, IF_NONE_MATCH};
use ureq::http::{Method, StatusCode};

use super::answer::refused;
use super::client::Client;
use super::net::encode;
use super::registries::Referrer;
use super::server::Body;
use crate::error::{Error, ErrorKind, Result};
use crate::oci::{Digest, MAX_DESCRIPTORS, MAX_DOCUMENT, media_type};

/// How often the index under the tag is written again when somebody else was faster.
const MAX_TRIES: usize = 5;
/// Bytes of the annotations of one entry.
const MAX_ANNOTATIONS: usize = 64 << 10;

#[derive(Deserialize)]
struct List {
    #[serde(default)]
    manifests: Option<Vec<Entry>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    media_type: String,
    digest: Digest,
    size: u64,
    #[serde(default)]
    artifact_type: Option<String>,
    #[serde(default)]
    annotations: Option<BTreeMap<String, String>>,
}

impl Client<'_> {
    /// What refers to a manifest of the repository.
    pub(crate) fn referrers(&self, digest: &Digest, artifact_type: Option<&str>) -> Result<Vec<Referrer>> {
        let server = self.origin()?;
        let mut rest = format!("referrers/{digest}");
        if let Some(wanted) = artifact_type {
            rest.push_str(&format!("?artifactType={}", encode(wanted)));
        }
        let first = self.persist(digest.as_str(), || server.url(&self.http, &rest))?;
        let mut found = Vec::new();
        let headers = [(ACCEPT, media_type::INDEX)];
        let listed = self.pages(
            server,
            first,
            &self.scopes,
            &headers,
            digest.as_str(),
            ErrorKind::ImageNotFound,
            |bytes, _| {
                found.extend(self.entries(bytes, digest)?);
                Ok(found.len())
            },
        );
        match listed {
            Ok(()) => {}
            // The registry has no such list, so there may be the other one.
            Err(error) if matches!(error.kind(), ErrorKind::ImageNotFound | ErrorKind::Unsupported) => {
                let tag = tag_of(digest);
                found = match self.persist(&tag, || self.manifest_from(server, &tag, None))? {
                    Ok(fetched) => self.entries(&fetched.bytes, digest)?,
                    Err(answer) if answer.status == StatusCode::NOT_FOUND => {
                        answer.discard();
                        Vec::new()
                    }
                    Err(answer) => return Err(refused(answer, &self.name_of(digest.as_str()))),
                };
            }
            Err(error) => return Err(error),
        }
        // A registry may leave the choice to its clients; choosing twice does no harm. The same thing may be on two pages.
        let mut seen = BTreeSet::new();
        found.retain(|entry| {
            artifact_type.is_none_or(|wanted| entry.artifact_type.as_deref() == Some(wanted))
                && seen.insert(entry.digest.clone())
        });
        Ok(found)
    }

    fn entries(&self, bytes: &[u8], digest: &Digest) -> Result<Vec<Referrer>> {
        let list: List = serde_json::from_slice(bytes).map_err(|error| {
            let text = format!(
                "the list of what refers to \"{}\" is malformed: {error}",
                self.name_of(digest.as_str())
            );
            Error::new(ErrorKind::Registry, text).with_object(digest.as_str())
        })?;
        let entries = list.manifests.unwrap_or_default();
        let annotations = |entry: &Entry| {
            entry.annotations.iter().flatten().map(|(name, value)| name.len() + value.len()).sum::<usize>()
        };
        if entries.len() > MAX_DESCRIPTORS || entries.iter().any(|entry| annotations(entry) > MAX_ANNOTATIONS)
        {
            let text = format!("more refers to \"{}\" than is accepted", self.name_of(digest.as_str()));
            return Err(Error::new(ErrorKind::LimitExceeded, text).with_object(digest.as_str()));
        }
        let referrer = |entry: Entry| Referrer {
            digest: entry.digest.to_string(),
            media_type: entry.media_type,
            artifact_type: entry.artifact_type,
            size: entry.size,
            annotations: entry.annotations.unwrap_or_default(),
        };
        Ok(entries.into_iter().map(referrer).collect())
    }

    /// Adds a manifest to the list of what refers to its subject, on a registry that keeps none itself. Others may do the same at the same time: the index is
    /// replaced only if it is still the one that was read, as far as the registry can tell.
    pub(super) fn list_referrer(
        &self,
        subject: &Digest,
        own: &Digest,
        media_type: &str,
        bytes: &[u8],
    ) -> Result<()> {
        let server = self.origin()?;
        let tag = tag_of(subject);
        let entry = descriptor_of(own, media_type, bytes);
        for _ in 0..MAX_TRIES {
            let ask = self
                .request(server, Method::GET, &format!("manifests/{tag}"))?
                .header(ACCEPT, media_type::INDEX);
            let answer = self.persist(&tag, || {
                let answer = self.ask(server, &ask)?;
                match answer.status {
                    StatusCode::OK | StatusCode::NOT_FOUND => Ok(answer),
                    _ => Err(refused(answer, &self.name_of(&tag))),
                }
            })?;
            let is_new = answer.status == StatusCode::NOT_FOUND;
            let version = answer.header("etag").map(str::to_owned);
            let mut index = if is_new {
                answer.discard();
                Map::new()
            } else {
                index_of(&answer.bytes(MAX_DOCUMENT)?).ok_or_else(|| {
                    let text = format!(
                        "\"{}\" is no list of what refers to \"{subject}\", and is left as it is",
                        self.name_of(&tag)
                    );
                    Error::new(ErrorKind::Registry, text).with_object(self.name_of(&tag))
                })?
            };
            index.insert("schemaVersion".into(), json!(2));
            index.insert("mediaType".into(), json!(media_type::INDEX));
            let manifests = index.entry("manifests").or_insert_with(|| json!([]));
            let Some(manifests) = manifests.as_array_mut() else { continue };
            if manifests.iter().any(|other| other.get("digest").and_then(Value::as_str) == Some(own.as_str()))
            {
                return Ok(());
            }
            manifests.push(entry.clone());
            let text = Value::Object(index).to_string();
            let mut put = self
                .request(server, Method::PUT, &format!("manifests/{tag}"))?
                .header(ureq::http::header::CONTENT_TYPE, media_type::INDEX)
                .body(Body::Bytes(text.as_bytes()));
            put = match version {
                Some(version) => put.header(IF_MATCH, version),
                None if is_new => put.header(IF_NONE_MATCH, "*"),
                None => put,
            };
            let done = self.persist(&tag, || {
                let answer = self.ask(server, &put)?;
                match answer.status {
                    StatusCode::CREATED | StatusCode::OK | StatusCode::ACCEPTED => {
                        answer.discard();
                        Ok(true)
                    }
                    StatusCode::PRECONDITION_FAILED => {
                        answer.discard();
                        Ok(false)
                    }
                    _ => Err(refused(answer, &self.name_of(&tag))),
                }
            })?;
            if done {
                return Ok(());
            }
        }
        let text = format!(
            "the list of what refers to \"{subject}\" was changed by others each time it was to be written"
        );
        Err(Error::new(ErrorKind::Registry, text).with_object(subject.as_str()))
    }
}

/// What is under the tag, if it is an index and nothing else.
fn index_of(bytes: &[u8]) -> Option<Map<String, Value>> {
    let index: Map<String, Value> = serde_json::from_slice(bytes).ok()?;
    let of_type = index.get("mediaType").is_none_or(|found| found.as_str() == Some(media_type::INDEX));
    let lists = index.get("manifests").is_some_and(Value::is_array);
    let alone = !index.contains_key("layers") && !index.contains_key("config");
    (of_type && lists && alone).then_some(index)
}

/// The tag of the index: the algorithm and the digits, both cut to what a tag can take.
fn tag_of(digest: &Digest) -> String {
    let cut = |text: &str, most: usize| text.get(..most).unwrap_or(text).to_owned();
    format!("{}-{}", cut(digest.algorithm().name(), 32), cut(digest.hex(), 64))
}

/// The entry of a manifest in the list: what it is, and its annotations.
fn descriptor_of(digest: &Digest, media_type: &str, bytes: &[u8]) -> Value {
    let document: Value = serde_json::from_slice(bytes).unwrap_or_default();
    let text = |value: Option<&Value>| {
        value.and_then(Value::as_str).filter(|text| !text.is_empty()).map(str::to_owned)
    };
    let config = document.get("config").and_then(|config| config.get("mediaType"));
    let artifact_type = text(document.get("artifactType")).or_else(|| text(config));
    let mut entry = json!({ "mediaType": media_type, "digest": digest.as_str(), "size": bytes.len() });
    if let Some(object) = entry.as_object_mut() {
        if let Some(artifact_type) = artifact_type {
            object.insert("artifactType".into(), json!(artifact_type));
        }
        if let Some(annotations) = document.get("annotations").filter(|annotations| annotations.is_object()) {
            object.insert("annotations".into(), annotations.clone());
        }
    }
    entry
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tag_fits_into_a_tag() {
        let short = Digest::of(b"");
        assert_eq!(tag_of(&short), format!("sha256-{}", short.hex()));
        let long = Digest::parse(&format!("sha512:{}", "ab".repeat(64))).unwrap();
        assert_eq!(tag_of(&long), format!("sha512-{}", "ab".repeat(32)));
    }
}
