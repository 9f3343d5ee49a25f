//! Manifests and indexes: fetch, look, delete. What comes is what was asked for, or an error.

use serde::Deserialize;
use ureq::http::header::ACCEPT;
use ureq::http::{Method, StatusCode};

use super::answer::{refused, refused_as};
use super::client::{Client, Fetched, Head};
use super::net::{Answer, text_of};
use super::server::Server;
use crate::error::{Error, ErrorKind, Result};
use crate::oci::{Digest, Hasher, MAX_DOCUMENT, media_type};

/// What is understood, best first. A registry converts nothing for us, so that digests hold.
const ACCEPTED: &str = concat!(
    "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, ",
    "application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.docker.distribution.manifest.v2+json"
);
/// Types that servers give to files they do not look into.
const GENERIC: [&str; 4] =
    ["application/json", "application/octet-stream", "text/plain", "binary/octet-stream"];

/// What tells the kinds of document apart, which all readers have to agree on.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Kind {
    schema_version: Option<serde_json::Value>,
    media_type: Option<String>,
    manifests: Option<serde::de::IgnoredAny>,
    layers: Option<serde::de::IgnoredAny>,
    config: Option<serde::de::IgnoredAny>,
    fs_layers: Option<serde::de::IgnoredAny>,
    subject: Option<Subject>,
}

#[derive(Deserialize)]
struct Subject {
    digest: Digest,
}

impl Client<'_> {
    /// A manifest or index.
    pub(crate) fn manifest(&self, tag_or_digest: &str) -> Result<Fetched> {
        let wanted = digest_of(tag_or_digest)?;
        self.first_of(tag_or_digest, wanted.is_some(), |server| {
            self.manifest_from(server, tag_or_digest, wanted.as_ref())?
                .map_err(|answer| refused_as(answer, &self.name_of(tag_or_digest), ErrorKind::ImageNotFound))
        })
    }

    /// What one server has; its answer if it does not give it.
    pub(super) fn manifest_from(
        &self,
        server: &Server,
        tag_or_digest: &str,
        wanted: Option<&Digest>,
    ) -> Result<std::result::Result<Fetched, Answer>> {
        let ask = self
            .request(server, Method::GET, &format!("manifests/{tag_or_digest}"))?
            .header(ACCEPT, ACCEPTED);
        let answer = self.ask(server, &ask)?;
        if answer.status != StatusCode::OK {
            return Ok(Err(answer));
        }
        Client::check_namespace(server, &answer)?;
        let name = self.name_of(tag_or_digest);
        let declared = content_type(&answer);
        let announced = answer.header("docker-content-digest").and_then(|text| Digest::parse(text).ok());
        let bytes = answer.bytes(MAX_DOCUMENT)?;
        let media_type = check(&bytes, declared.as_deref(), &name)?;
        let algorithm = wanted.or(announced.as_ref()).map(Digest::algorithm);
        let digest = match algorithm {
            None => Digest::of(&bytes),
            Some(algorithm) => {
                let mut hasher = Hasher::new(algorithm);
                hasher.update(&bytes);
                hasher.finish()
            }
        };
        for expected in [wanted, announced.as_ref()].into_iter().flatten() {
            let differs = *expected != digest && expected.algorithm() == digest.algorithm();
            if differs {
                let text = format!(
                    "\"{}\" gave for \"{name}\" what has the digest \"{digest}\", not \"{expected}\"",
                    server.host.authority()
                );
                return Err(Error::new(ErrorKind::DigestMismatch, text).with_object(name));
            }
        }
        Ok(Ok(Fetched { bytes, media_type, digest }))
    }

    /// What there is under a name; None if nothing is. The digest may be missing from the answer of a registry, then the manifest itself is asked for.
    pub(crate) fn manifest_head(&self, tag_or_digest: &str) -> Result<Option<Head>> {
        let wanted = digest_of(tag_or_digest)?;
        let name = self.name_of(tag_or_digest);
        let found = self.first_of(tag_or_digest, wanted.is_some(), |server| {
            let ask = self
                .request(server, Method::HEAD, &format!("manifests/{tag_or_digest}"))?
                .header(ACCEPT, ACCEPTED);
            let answer = self.ask(server, &ask)?;
            match answer.status {
                StatusCode::OK => {}
                // The answer to HEAD has no body to tell more.
                _ => return Err(refused_as(answer, &name, ErrorKind::ImageNotFound)),
            }
            Client::check_namespace(server, &answer)?;
            let announced = answer.header("docker-content-digest").and_then(|text| Digest::parse(text).ok());
            let digest = match (&wanted, announced) {
                (Some(wanted), Some(announced)) if *wanted != announced => {
                    let text = format!(
                        "\"{}\" has \"{announced}\" under the digest \"{wanted}\"",
                        server.host.authority()
                    );
                    return Err(Error::new(ErrorKind::DigestMismatch, text).with_object(name.clone()));
                }
                (Some(wanted), _) => Some(wanted.clone()),
                (None, announced) => announced,
            };
            let media_type = content_type(&answer).filter(|text| !GENERIC.contains(&text.as_str()));
            match (digest, media_type, answer.length()) {
                (Some(digest), Some(media_type), Some(size)) => {
                    answer.discard();
                    Ok(Head { digest, media_type, size })
                }
                _ => {
                    answer.discard();
                    let fetched = self
                        .manifest_from(server, tag_or_digest, wanted.as_ref())?
                        .map_err(|answer| refused_as(answer, &name, ErrorKind::ImageNotFound))?;
                    let size = fetched.bytes.len() as u64;
                    Ok(Head { digest: fetched.digest, media_type: fetched.media_type, size })
                }
            }
        });
        match found {
            Ok(head) => Ok(Some(head)),
            Err(error) if error.kind() == ErrorKind::ImageNotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Deletes a manifest with all its tags.
    pub(crate) fn delete_manifest(&self, digest: &Digest) -> Result<()> {
        self.delete(&format!("manifests/{digest}"), digest.as_str(), ErrorKind::ImageNotFound)
    }

    /// Deletes a tag.
    pub(crate) fn delete_tag(&self, tag: &str) -> Result<()> {
        self.delete(&format!("manifests/{tag}"), tag, ErrorKind::ImageNotFound)
    }

    /// Deletes a blob.
    pub(crate) fn delete_blob(&self, digest: &Digest) -> Result<()> {
        self.delete(&format!("blobs/{digest}"), digest.as_str(), ErrorKind::ImageNotFound)
    }

    fn delete(&self, rest: &str, object: &str, missing: ErrorKind) -> Result<()> {
        let server = self.origin()?;
        self.persist(object, || {
            let answer = self.ask(server, &self.request(server, Method::DELETE, rest)?)?;
            match answer.status {
                StatusCode::ACCEPTED | StatusCode::OK | StatusCode::NO_CONTENT => {
                    answer.discard();
                    Ok(())
                }
                // What the specification has for both: deletion is off, or off for tags.
                status @ (StatusCode::METHOD_NOT_ALLOWED | StatusCode::BAD_REQUEST) => {
                    let error = refused(answer, &self.name_of(object));
                    let (text, hint) = match status {
                        StatusCode::BAD_REQUEST if !object.contains(':') => {
                            ("deletes no tags", "name the digest, which `coble registry inspect` shows")
                        }
                        _ => ("does not delete", "deletion is off there"),
                    };
                    let text = format!("\"{}\" {text}: {}", server.host.authority(), error.message());
                    Err(Error::new(ErrorKind::Unsupported, text)
                        .with_object(self.name_of(object))
                        .with_hint(hint))
                }
                _ => Err(refused_as(answer, &self.name_of(object), missing)),
            }
        })
    }

    /// The full name of something, for messages.
    pub(super) fn name_of(&self, tag_or_digest: &str) -> String {
        let host = self.servers.last().map(|server| &server.host);
        let Some(host) = host else { return tag_or_digest.to_owned() };
        let separator = if tag_or_digest.contains(':') { '@' } else { ':' };
        format!("{}/{}{separator}{tag_or_digest}", host.authority(), host.repository)
    }
}

/// What a manifest refers to.
pub(super) fn subject_of(bytes: &[u8]) -> Option<Digest> {
    serde_json::from_slice::<Kind>(bytes).ok().and_then(|kind| kind.subject).map(|subject| subject.digest)
}

/// A digest, if the name is one. Nothing else has a colon.
pub(super) fn digest_of(tag_or_digest: &str) -> Result<Option<Digest>> {
    tag_or_digest.contains(':').then(|| Digest::parse(tag_or_digest)).transpose()
}

/// The media type, without parameters.
fn content_type(answer: &Answer) -> Option<String> {
    let text = answer.header("content-type")?.split(';').next()?.trim().to_ascii_lowercase();
    (!text.is_empty()).then_some(text)
}

/// The media type of a document, when everybody who reads it takes it for the same thing.
pub(super) fn check(bytes: &[u8], declared: Option<&str>, name: &str) -> Result<String> {
    let invalid =
        |why: &str| Error::new(ErrorKind::InvalidImage, format!("\"{name}\": {why}")).with_object(name);
    let old = |text: &str| text.starts_with("application/vnd.docker.distribution.manifest.v1+");
    let kind: Kind = serde_json::from_slice(bytes).map_err(|_| match bytes.trim_ascii_start().first() {
        Some(b'<') => invalid("it is no manifest but a page of HTML or XML"),
        _ => invalid("it is no manifest: not JSON of that form"),
    })?;
    let first = kind.schema_version.as_ref().and_then(serde_json::Value::as_u64) == Some(1);
    if declared.is_some_and(old) || first || kind.fs_layers.is_some() {
        return Err(invalid("it is a manifest of schema version 1, which is not supported")
            .with_hint("pull and push it once with a program that converts it"));
    }
    if kind.manifests.is_some() && (kind.layers.is_some() || kind.config.is_some()) {
        return Err(invalid("it claims to be a manifest and an index at once"));
    }
    let declared = declared.filter(|declared| !GENERIC.contains(declared));
    let media_type = match (declared, kind.media_type.as_deref()) {
        (Some(declared), Some(own)) if !declared.eq_ignore_ascii_case(own) => {
            let (declared, own) = (text_of(declared.as_bytes(), 120), text_of(own.as_bytes(), 120));
            return Err(invalid(&format!("it is \"{own}\", but was announced as \"{declared}\"")));
        }
        (_, Some(own)) => own.to_owned(),
        (Some(declared), None) => declared.to_owned(),
        (None, None) if kind.manifests.is_some() => media_type::INDEX.to_owned(),
        (None, None) => media_type::MANIFEST.to_owned(),
    };
    let is_index = matches!(media_type.as_str(), media_type::INDEX | media_type::DOCKER_LIST);
    let is_manifest = matches!(media_type.as_str(), media_type::MANIFEST | media_type::DOCKER_MANIFEST);
    if (is_index && kind.manifests.is_none()) || (is_manifest && kind.manifests.is_some()) {
        return Err(invalid(&format!("it is not what its media type \"{media_type}\" says")));
    }
    Ok(media_type)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sec_103_a_document_is_one_thing() {
        let (index, manifest) = (media_type::INDEX, media_type::MANIFEST);
        let good = [
            (r#"{"schemaVersion":2,"manifests":[]}"#.to_owned(), Some(index), index),
            (r#"{"schemaVersion":2,"manifests":[]}"#.to_owned(), None, index),
            (r#"{"schemaVersion":2,"config":{},"layers":[]}"#.to_owned(), Some("application/json"), manifest),
            (format!(r#"{{"mediaType":"{index}","manifests":[]}}"#), Some("text/plain"), index),
            (format!(r#"{{"mediaType":"{manifest}","config":{{}}}}"#), Some(manifest), manifest),
        ];
        for (json, declared, expected) in good {
            assert_eq!(check(json.as_bytes(), declared, "x").unwrap(), expected, "{json}");
        }
        let bad = [
            (r#"{"manifests":[],"layers":[]}"#.to_owned(), None),
            (r#"{"manifests":[],"config":{}}"#.to_owned(), Some(index)),
            (r#"{"manifests":[]}"#.to_owned(), Some(manifest)),
            (r#"{"layers":[]}"#.to_owned(), Some(index)),
            (format!(r#"{{"mediaType":"{index}","manifests":[]}}"#), Some(manifest)),
            (format!(r#"{{"mediaType":"{manifest}","layers":[]}}"#), Some(media_type::DOCKER_MANIFEST)),
            (r#"{"schemaVersion":1,"fsLayers":[]}"#.to_owned(), None),
            (
                r#"{"schemaVersion":1}"#.to_owned(),
                Some("application/vnd.docker.distribution.manifest.v1+prettyjws"),
            ),
            ("<html>".to_owned(), Some("text/html")),
            ("[]".to_owned(), None),
        ];
        for (json, declared) in bad {
            assert_eq!(
                check(json.as_bytes(), declared, "x").unwrap_err().kind(),
                ErrorKind::InvalidImage,
                "{json}"
            );
        }
    }
}
