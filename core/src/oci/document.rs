//! Descriptors, manifests and indexes.
//!
//! A document is read as exactly one kind of thing: one that could be taken for a manifest by one reader and for an index by another is refused.

use std::collections::BTreeMap;

use base64::Engine as _;
use serde::{Deserialize, Serialize};

use super::digest::{Digest, Hasher};
use super::platform::Platform;
use super::{MAX_DESCRIPTORS, MAX_DOCUMENT, MAX_EMBEDDED, MAX_LAYERS, MAX_URLS};
use crate::error::{Error, ErrorKind, Result};

/// Media types that coble writes.
pub(crate) mod media_type {
    pub(crate) const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
    pub(crate) const INDEX: &str = "application/vnd.oci.image.index.v1+json";
    pub(crate) const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
    pub(crate) const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
    pub(crate) const LAYER_GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
    pub(crate) const LAYER_ZSTD: &str = "application/vnd.oci.image.layer.v1.tar+zstd";
    pub(crate) const FOREIGN: &str = "application/vnd.oci.image.layer.nondistributable.v1.tar";
    pub(crate) const FOREIGN_GZIP: &str = "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip";
    pub(crate) const FOREIGN_ZSTD: &str = "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd";
    pub(crate) const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
    pub(crate) const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
    pub(crate) const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";
    pub(crate) const DOCKER_LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar";
    pub(crate) const DOCKER_LAYER_PLAIN: &str = "application/vnd.docker.image.rootfs.diff.tar.uncompressed";
    pub(crate) const DOCKER_LAYER_GZIP: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";
    pub(crate) const DOCKER_LAYER_ZSTD: &str = "application/vnd.docker.image.rootfs.diff.tar.zstd";
    pub(crate) const DOCKER_FOREIGN: &str = "application/vnd.docker.image.rootfs.foreign.diff.tar";
    pub(crate) const DOCKER_FOREIGN_GZIP: &str = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip";

    /// The type that a layer has in a manifest of OCI's, where docker's do not belong.
    pub(crate) fn oci_layer(text: &str) -> &str {
        match text {
            DOCKER_LAYER | DOCKER_LAYER_PLAIN => LAYER,
            DOCKER_LAYER_GZIP => LAYER_GZIP,
            DOCKER_LAYER_ZSTD => LAYER_ZSTD,
            DOCKER_FOREIGN => FOREIGN,
            DOCKER_FOREIGN_GZIP => FOREIGN_GZIP,
            other => other,
        }
    }

    /// The type that a layer has in a manifest of docker's; None if there is none for it, as for zstd.
    pub(crate) fn docker_layer(text: &str) -> Option<&str> {
        match text {
            DOCKER_LAYER | DOCKER_LAYER_PLAIN | DOCKER_LAYER_GZIP | DOCKER_FOREIGN | DOCKER_FOREIGN_GZIP => {
                Some(text)
            }
            LAYER => Some(DOCKER_LAYER),
            LAYER_GZIP => Some(DOCKER_LAYER_GZIP),
            FOREIGN => Some(DOCKER_FOREIGN),
            FOREIGN_GZIP => Some(DOCKER_FOREIGN_GZIP),
            _ => None,
        }
    }

    /// Whether a layer of the type need not be in a registry: it is wherever its URLs say, and is not passed on without need.
    pub(crate) fn is_foreign(text: &str) -> bool {
        text.starts_with(FOREIGN) || text.starts_with(DOCKER_FOREIGN)
    }

    /// Whether a layer of the type is compressed with zstd.
    pub(crate) fn is_zstd(text: &str) -> bool {
        matches!(oci_layer(text), LAYER_ZSTD | FOREIGN_ZSTD)
    }
}

/// Annotations that carry names.
pub(crate) mod annotation {
    pub(crate) const REF_NAME: &str = "org.opencontainers.image.ref.name";
    pub(crate) const IMAGE_NAME: &str = "io.containerd.image.name";
}

/// How a layer blob is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Compression {
    None,
    Gzip,
    Zstd,
}

impl Compression {
    /// `gzip`, `zstd` or `none`.
    pub(crate) fn parse(text: &str) -> Result<Compression> {
        match text {
            "gzip" => Ok(Compression::Gzip),
            "zstd" => Ok(Compression::Zstd),
            "none" => Ok(Compression::None),
            _ => Err(Error::new(
                ErrorKind::InvalidArgument,
                format!("unknown compression \"{}\"", text.escape_debug()),
            )
            .with_object(text)
            .with_hint("use gzip, zstd or none")),
        }
    }

    /// The media type of a layer that coble made itself.
    pub(crate) const fn layer_media_type(self) -> &'static str {
        match self {
            Compression::None => media_type::LAYER,
            Compression::Gzip => media_type::LAYER_GZIP,
            Compression::Zstd => media_type::LAYER_ZSTD,
        }
    }
}

/// The kinds of document that a descriptor can point to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MediaType {
    Manifest,
    Index,
    Config,
    Layer,
}

impl MediaType {
    /// The kind of a media type; what coble cannot use is an error that names it.
    pub(crate) fn parse(text: &str) -> Result<MediaType> {
        match text {
            media_type::MANIFEST | media_type::DOCKER_MANIFEST => Ok(MediaType::Manifest),
            media_type::INDEX | media_type::DOCKER_LIST => Ok(MediaType::Index),
            media_type::CONFIG | media_type::DOCKER_CONFIG => Ok(MediaType::Config),
            // Whatever it says about compression: the bytes tell, and the digests hold.
            _ if matches!(
                media_type::oci_layer(text),
                media_type::LAYER
                    | media_type::LAYER_GZIP
                    | media_type::LAYER_ZSTD
                    | media_type::FOREIGN
                    | media_type::FOREIGN_GZIP
                    | media_type::FOREIGN_ZSTD
            ) =>
            {
                Ok(MediaType::Layer)
            }
            _ => {
                let shown: String = text.chars().take(120).collect();
                let shown = shown.escape_debug();
                let why = if text.contains("encrypted") {
                    format!("layers of type \"{shown}\" are encrypted, which is not supported")
                } else {
                    format!("media type \"{shown}\" is not supported")
                };
                Err(Error::new(ErrorKind::InvalidImage, why).with_object(text))
            }
        }
    }
}

/// A pointer to content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Descriptor {
    pub(crate) media_type: String,
    pub(crate) digest: Digest,
    pub(crate) size: u64,
    #[serde(default, deserialize_with = "null_is_default", skip_serializing_if = "Option::is_none")]
    pub(crate) platform: Option<Box<Platform>>,
    #[serde(default, deserialize_with = "null_is_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) annotations: BTreeMap<String, String>,
    /// Where the content may be had, too: the first of what stands there. Nobody has looked at them.
    #[serde(default, deserialize_with = "some_texts", skip_serializing_if = "Vec::is_empty")]
    pub(crate) urls: Vec<String>,
    /// The content itself in base 64, as it stands there: nobody has looked at it. It is not written again.
    #[serde(default, deserialize_with = "short_text", skip_serializing)]
    data: Option<Box<str>>,
}

impl Descriptor {
    pub(crate) fn new(media_type: &str, digest: Digest, size: u64) -> Descriptor {
        Descriptor {
            media_type: media_type.into(),
            digest,
            size,
            platform: None,
            annotations: BTreeMap::new(),
            urls: Vec::new(),
            data: None,
        }
    }

    /// The content, if the descriptor has it in itself and it is what the descriptor says. What does not fit is as good as none: the content is
    /// where it is without.
    pub(crate) fn embedded(&self) -> Option<Vec<u8>> {
        let text = self.data.as_deref()?;
        let bytes = base64::engine::general_purpose::STANDARD.decode(text).ok()?;
        if bytes.len() as u64 != self.size {
            return None;
        }
        let mut hasher = Hasher::new(self.digest.algorithm());
        hasher.update(&bytes);
        (hasher.finish() == self.digest).then_some(bytes)
    }

    /// Whether the thing is an attestation about another manifest, which is not an image.
    pub(crate) fn is_attestation(&self) -> bool {
        self.annotations.contains_key("vnd.docker.reference.type")
            || self
                .platform
                .as_ref()
                .is_some_and(|platform| platform.os == "unknown" && platform.architecture == "unknown")
    }
}

/// An image manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Manifest {
    pub(crate) schema_version: u32,
    pub(crate) media_type: String,
    pub(crate) config: Descriptor,
    pub(crate) layers: Vec<Descriptor>,
}

/// An image index.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Index {
    pub(crate) schema_version: u32,
    pub(crate) media_type: String,
    pub(crate) manifests: Vec<Descriptor>,
}

/// A manifest or an index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Document {
    Manifest(Manifest),
    Index(Index),
}

/// Every field that tells the two kinds apart, as it stands in the JSON.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Raw {
    schema_version: Option<u64>,
    media_type: Option<String>,
    config: Option<Descriptor>,
    layers: Option<Vec<Descriptor>>,
    manifests: Option<Vec<Descriptor>>,
    fs_layers: Option<serde::de::IgnoredAny>,
}

/// Reads a manifest or an index. `declared` is the media type of the descriptor that led here, which has to fit; for the
/// `index.json` of a layout there is none.
pub(crate) fn parse_document(bytes: &[u8], declared: Option<&str>, what: &str) -> Result<Document> {
    let invalid =
        |why: String| Error::new(ErrorKind::InvalidImage, format!("{what}: {why}")).with_object(what);
    if bytes.len() as u64 > MAX_DOCUMENT {
        return Err(Error::new(
            ErrorKind::LimitExceeded,
            format!("{what} is larger than {MAX_DOCUMENT} bytes"),
        )
        .with_object(what));
    }
    let raw: Raw = serde_json::from_slice(bytes).map_err(|error| invalid(error.to_string()))?;
    if raw.fs_layers.is_some() || raw.schema_version == Some(1) {
        return Err(invalid("manifests of schema version 1 are not supported".into()));
    }
    if raw.schema_version != Some(2) {
        return Err(invalid("the schema version is not 2".into()));
    }
    let is_index = raw.manifests.is_some();
    if is_index && (raw.layers.is_some() || raw.config.is_some()) {
        return Err(invalid("it claims to be a manifest and an index at once".into()));
    }
    let kind = if is_index { MediaType::Index } else { MediaType::Manifest };
    for claimed in [declared, raw.media_type.as_deref()].into_iter().flatten() {
        if MediaType::parse(claimed).map_err(|error| error.while_doing(what))? != kind {
            return Err(invalid(format!(
                "it is not what its media type \"{}\" says",
                claimed.escape_debug()
            )));
        }
    }
    if let (Some(declared), Some(own)) = (declared, raw.media_type.as_deref())
        && declared != own
    {
        let own = own.escape_debug();
        return Err(invalid(format!("its media type is \"{own}\", but \"{declared}\" was announced")));
    }
    let media_type = |default: &str| raw.media_type.as_deref().or(declared).unwrap_or(default).to_owned();
    let too_many = |count: usize, most: usize, things: &str| {
        (count > most).then(|| {
            Error::new(ErrorKind::LimitExceeded, format!("{what} has {count} {things}, more than {most}"))
                .with_object(what)
        })
    };
    if let Some(manifests) = raw.manifests {
        if let Some(error) = too_many(manifests.len(), MAX_DESCRIPTORS, "entries") {
            return Err(error);
        }
        return Ok(Document::Index(Index {
            schema_version: 2,
            media_type: media_type(media_type::INDEX),
            manifests,
        }));
    }
    let Some(config) = raw.config else { return Err(invalid("it has no configuration".into())) };
    let layers = raw.layers.unwrap_or_default();
    if let Some(error) = too_many(layers.len(), MAX_LAYERS, "layers") {
        return Err(error);
    }
    if !matches!(MediaType::parse(&config.media_type), Ok(MediaType::Config)) {
        return Err(invalid(format!(
            "its configuration is \"{}\", so it is not an image",
            config.media_type.escape_debug()
        )));
    }
    for layer in &layers {
        match MediaType::parse(&layer.media_type).map_err(|error| error.while_doing(what))? {
            MediaType::Layer => {}
            _ => {
                return Err(invalid(format!(
                    "media type \"{}\" is not a layer",
                    layer.media_type.escape_debug()
                )));
            }
        }
    }
    let media_type = media_type(media_type::MANIFEST);
    Ok(Document::Manifest(Manifest { schema_version: 2, media_type, config, layers }))
}

/// `null` for "not there", which Go programs write for empty maps and slices.
pub(super) fn null_is_default<'de, D, T>(deserializer: D) -> std::result::Result<T, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}

/// A text that is worth its memory; anything else is none.
fn short_text<'de, D>(deserializer: D) -> std::result::Result<Option<Box<str>>, D::Error>
where
    D: serde::Deserializer<'de>,
{
    Ok(match serde_json::Value::deserialize(deserializer)? {
        serde_json::Value::String(text) if text.len() <= MAX_EMBEDDED => Some(text.into()),
        _ => None,
    })
}

/// The first texts of a list, as many as are used; of anything else none.
fn some_texts<'de, D>(deserializer: D) -> std::result::Result<Vec<String>, D::Error>
where
    D: serde::Deserializer<'de>,
{
    Ok(match serde_json::Value::deserialize(deserializer)? {
        serde_json::Value::Array(list) => {
            let texts = list.into_iter().filter_map(|one| match one {
                serde_json::Value::String(text) => Some(text),
                _ => None,
            });
            texts.take(MAX_URLS).collect()
        }
        _ => Vec::new(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_layers_have_a_type_in_both_forms_and_zstd_has_not() {
        for (oci, docker) in [
            (media_type::LAYER, Some(media_type::DOCKER_LAYER)),
            (media_type::LAYER_GZIP, Some(media_type::DOCKER_LAYER_GZIP)),
            (media_type::LAYER_ZSTD, None),
            (media_type::FOREIGN, Some(media_type::DOCKER_FOREIGN)),
            (media_type::FOREIGN_GZIP, Some(media_type::DOCKER_FOREIGN_GZIP)),
            (media_type::FOREIGN_ZSTD, None),
        ] {
            assert_eq!(media_type::docker_layer(oci), docker);
            let other = docker.unwrap_or(oci);
            assert_eq!((media_type::oci_layer(other), media_type::oci_layer(oci)), (oci, oci));
            assert_eq!(media_type::docker_layer(other), docker);
            assert_eq!(media_type::is_foreign(other), oci.contains("nondistributable"));
            assert_eq!(media_type::is_zstd(oci), docker.is_none());
            assert!(matches!(MediaType::parse(other), Ok(MediaType::Layer)));
        }
        assert_eq!(media_type::docker_layer("application/vnd.in-toto+json"), None);
    }

    #[test]
    fn of_urls_the_first_are_read_whatever_stands_there() {
        let urls = |urls: serde_json::Value| {
            let json =
                serde_json::json!({"mediaType": "x", "digest": Digest::of(b""), "size": 0, "urls": urls});
            serde_json::from_value::<Descriptor>(json).unwrap().urls
        };
        assert_eq!(urls(serde_json::json!(["a", 3, null, "b"])), ["a", "b"]);
        assert_eq!(urls(serde_json::json!(vec!["u"; 1000])).len(), MAX_URLS);
        for other in [serde_json::json!(null), serde_json::json!("a"), serde_json::json!({"a": "b"})] {
            assert!(urls(other).is_empty());
        }
    }

    #[test]
    fn embedded_content_is_what_the_descriptor_says_or_nothing() {
        let embedded = |content: &[u8], data: serde_json::Value| {
            let json = serde_json::json!({"mediaType": media_type::CONFIG, "digest": Digest::of(content),
                "size": content.len(), "data": data});
            let descriptor: Descriptor = serde_json::from_value(json).unwrap();
            let written = serde_json::to_value(&descriptor).unwrap();
            assert!(written.get("data").is_none(), "{written}");
            descriptor.embedded()
        };
        let text = |content: &[u8]| base64::engine::general_purpose::STANDARD.encode(content);
        assert_eq!(embedded(b"{}", "e30=".into()), Some(b"{}".to_vec()));
        assert_eq!(embedded(b"", "".into()), Some(Vec::new()));
        for data in [
            "e30".into(),
            "e30=\n".into(),
            text(b"{} ").into(),
            text(b"[]").into(),
            "\u{e9}".into(),
            serde_json::Value::Null,
            serde_json::json!({"a": [1]}),
            3.into(),
        ] {
            assert_eq!(embedded(b"{}", data), None);
        }
        let long = vec![b' '; MAX_EMBEDDED / 4 * 3];
        assert_eq!(embedded(&long, text(&long).into()), Some(long.clone()));
        let longer = vec![b' '; MAX_EMBEDDED / 4 * 3 + 1];
        assert_eq!(embedded(&longer, text(&longer).into()), None);
    }

    fn descriptor(media_type: &str) -> String {
        format!(r#"{{"mediaType":"{media_type}","digest":"sha256:{}","size":3}}"#, "ab".repeat(32))
    }

    fn manifest(layers: &str) -> String {
        format!(r#"{{"schemaVersion":2,"config":{},"layers":{layers}}}"#, descriptor(media_type::CONFIG))
    }

    fn kind(json: &str, declared: Option<&str>) -> std::result::Result<&'static str, ErrorKind> {
        match parse_document(json.as_bytes(), declared, "doc") {
            Ok(Document::Manifest(_)) => Ok("manifest"),
            Ok(Document::Index(_)) => Ok("index"),
            Err(error) => Err(error.kind()),
        }
    }

    #[test]
    fn each_document_is_one_kind_of_thing() {
        assert_eq!(kind(&manifest("[]"), None), Ok("manifest"));
        assert_eq!(kind(&manifest("null"), Some(media_type::MANIFEST)), Ok("manifest"));
        assert_eq!(kind(r#"{"schemaVersion":2,"manifests":[]}"#, None), Ok("index"));
        let both = format!(
            r#"{{"schemaVersion":2,"config":{},"layers":[],"manifests":[]}}"#,
            descriptor(media_type::CONFIG)
        );
        let layers_only = r#"{"schemaVersion":2,"layers":[],"manifests":[]}"#;
        for json in [both.as_str(), layers_only] {
            assert_eq!(kind(json, None), Err(ErrorKind::InvalidImage));
        }
        assert_eq!(kind(&manifest("[]"), Some(media_type::INDEX)), Err(ErrorKind::InvalidImage));
        assert_eq!(
            kind(r#"{"schemaVersion":2,"manifests":[]}"#, Some(media_type::MANIFEST)),
            Err(ErrorKind::InvalidImage)
        );
        let own = manifest("[]").replace(
            "{\"schemaVersion\"",
            &format!("{{\"mediaType\":\"{}\",\"schemaVersion\"", media_type::DOCKER_MANIFEST),
        );
        assert_eq!(kind(&own, Some(media_type::MANIFEST)), Err(ErrorKind::InvalidImage));
        assert_eq!(kind(&own, Some(media_type::DOCKER_MANIFEST)), Ok("manifest"));
    }

    #[test]
    fn malformed_documents_are_errors() {
        for json in [
            "",
            "null",
            "[]",
            "{}",
            "3",
            r#"{"schemaVersion":2}"#,
            r#"{"schemaVersion":1,"fsLayers":[]}"#,
            r#"{"schemaVersion":2,"config":null}"#,
            r#"{"schemaVersion":2,"manifests":[null]}"#,
            r#"{"schemaVersion":2,"manifests":[],"manifests":[]}"#,
            r#"{"schemaVersion":2,"manifests":[{"mediaType":"x","digest":"sha256:../../etc","size":1}]}"#,
        ] {
            assert_eq!(kind(json, None), Err(ErrorKind::InvalidImage), "{json}");
        }
        let negative = manifest(&format!("[{}]", descriptor(media_type::LAYER).replace(":3}", ":-3}")));
        assert_eq!(kind(&negative, None), Err(ErrorKind::InvalidImage));
        let deep = "[".repeat(100_000);
        assert_eq!(kind(&deep, None), Err(ErrorKind::InvalidImage));
        assert_eq!(kind(&" ".repeat(MAX_DOCUMENT as usize + 1), None), Err(ErrorKind::LimitExceeded));
        let layers = vec![descriptor(media_type::LAYER); MAX_LAYERS + 1].join(",");
        assert_eq!(kind(&manifest(&format!("[{layers}]")), None), Err(ErrorKind::LimitExceeded));
    }

    #[test]
    fn layers_that_cannot_be_used_are_refused_by_name() {
        for media_type in [
            "application/vnd.oci.image.layer.v1.tar+gzip+encrypted",
            "application/vnd.docker.image.rootfs.foreign.diff.tar.xz",
            "text/plain",
        ] {
            let error =
                parse_document(manifest(&format!("[{}]", descriptor(media_type))).as_bytes(), None, "doc")
                    .unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidImage);
            assert!(error.to_string().contains(media_type), "{error}");
        }
        let artifact = manifest("[]").replace(media_type::CONFIG, "application/vnd.oci.empty.v1+json");
        assert_eq!(kind(&artifact, None), Err(ErrorKind::InvalidImage));
    }
}
