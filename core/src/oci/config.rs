//! The image configuration: what runs, and which layers make the root file system.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};

use super::digest::Digest;
use super::document::null_is_default;
use super::{MAX_DOCUMENT, MAX_LAYERS, Platform};
use crate::error::{Error, ErrorKind, Result};

/// The whole configuration document.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct ImageDocument {
    #[serde(default, deserialize_with = "null_is_default", skip_serializing_if = "Option::is_none")]
    pub(crate) created: Option<String>,
    #[serde(default, deserialize_with = "null_is_default")]
    pub(crate) architecture: String,
    #[serde(default, deserialize_with = "null_is_default")]
    pub(crate) os: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) variant: Option<String>,
    #[serde(rename = "os.version", default, skip_serializing_if = "Option::is_none")]
    pub(crate) os_version: Option<String>,
    #[serde(
        rename = "os.features",
        default,
        deserialize_with = "texts_or_none",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub(crate) os_features: Vec<String>,
    #[serde(default, deserialize_with = "object")]
    pub(crate) config: ImageConfig,
    #[serde(default, deserialize_with = "null_is_default")]
    pub(crate) rootfs: RootFs,
    #[serde(default, deserialize_with = "null_is_default")]
    pub(crate) history: Vec<History>,
}

/// A list of texts; anything else, which nobody has looked at before, is none.
fn texts_or_none<'de, D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Vec<String>, D::Error> {
    let value = serde_json::Value::deserialize(deserializer)?;
    Ok(serde_json::from_value(value).unwrap_or_default())
}

/// An object, or null. A list is not one, although its elements could be taken for the fields in their order.
fn object<'de, D: Deserializer<'de>>(deserializer: D) -> std::result::Result<ImageConfig, D::Error> {
    let object = Option::<serde_json::Map<String, serde_json::Value>>::deserialize(deserializer)?;
    let Some(object) = object else { return Ok(ImageConfig::default()) };
    serde_json::from_value(serde_json::Value::Object(object)).map_err(serde::de::Error::custom)
}

/// The layers, lowest first.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct RootFs {
    #[serde(rename = "type", default, deserialize_with = "null_is_default")]
    pub(crate) kind: String,
    #[serde(default, deserialize_with = "null_is_default")]
    pub(crate) diff_ids: Vec<Digest>,
}

/// What a container gets from its image.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct ImageConfig {
    #[serde(default, deserialize_with = "null_is_default", skip_serializing_if = "String::is_empty")]
    pub(crate) user: String,
    #[serde(default, deserialize_with = "null_is_default", skip_serializing_if = "Vec::is_empty")]
    pub(crate) env: Vec<String>,
    #[serde(default, deserialize_with = "words", skip_serializing_if = "Vec::is_empty")]
    pub(crate) entrypoint: Vec<String>,
    #[serde(default, deserialize_with = "words", skip_serializing_if = "Vec::is_empty")]
    pub(crate) cmd: Vec<String>,
    #[serde(default, deserialize_with = "null_is_default", skip_serializing_if = "String::is_empty")]
    pub(crate) working_dir: String,
    #[serde(default, deserialize_with = "null_is_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) labels: BTreeMap<String, String>,
    #[serde(default, deserialize_with = "null_is_default", skip_serializing_if = "String::is_empty")]
    pub(crate) stop_signal: String,
    /// Docker's extension, in whatever form.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) healthcheck: Option<serde_json::Value>,
    /// Docker's shell for lines, in whatever form.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) shell: Option<serde_json::Value>,
    /// Names of ports with nothing, in whatever form.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) exposed_ports: Option<serde_json::Value>,
    /// Paths with nothing, in whatever form.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) volumes: Option<serde_json::Value>,
}

/// How a layer was made.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct History {
    #[serde(default, deserialize_with = "null_is_default", skip_serializing_if = "Option::is_none")]
    pub(crate) created: Option<String>,
    #[serde(default, deserialize_with = "null_is_default", skip_serializing_if = "String::is_empty")]
    pub(crate) created_by: String,
    #[serde(default, deserialize_with = "null_is_default", skip_serializing_if = "String::is_empty")]
    pub(crate) comment: String,
    #[serde(default, deserialize_with = "null_is_default", skip_serializing_if = "std::ops::Not::not")]
    pub(crate) empty_layer: bool,
}

impl ImageDocument {
    /// Reads and checks a configuration.
    pub(crate) fn parse(bytes: &[u8], what: &str) -> Result<ImageDocument> {
        let invalid =
            |why: String| Error::new(ErrorKind::InvalidImage, format!("{what}: {why}")).with_object(what);
        if bytes.len() as u64 > MAX_DOCUMENT {
            return Err(Error::new(
                ErrorKind::LimitExceeded,
                format!("{what} is larger than {MAX_DOCUMENT} bytes"),
            )
            .with_object(what));
        }
        let document: ImageDocument =
            serde_json::from_slice(bytes).map_err(|error| invalid(error.to_string()))?;
        if document.rootfs.kind != "layers" {
            return Err(invalid(
                "it has no root file system of layers, so it is not an image configuration".into(),
            ));
        }
        if document.rootfs.diff_ids.len() > MAX_LAYERS {
            let count = document.rootfs.diff_ids.len();
            return Err(Error::new(
                ErrorKind::LimitExceeded,
                format!("{what} has {count} layers, more than {MAX_LAYERS}"),
            )
            .with_object(what));
        }
        document.config.check().map_err(invalid)?;
        Ok(document)
    }

    /// The platform; a missing system or architecture is left empty.
    pub(crate) fn platform(&self) -> Platform {
        Platform {
            architecture: self.architecture.clone(),
            os: self.os.clone(),
            variant: self.variant.clone(),
            os_version: self.os_version.clone(),
            os_features: self.os_features.clone(),
        }
    }
}

impl ImageConfig {
    /// Refuses text that cannot be handed to the kernel, or that would mean something else there.
    pub(crate) fn check(&self) -> std::result::Result<(), String> {
        for entry in &self.env {
            let name = entry.split('=').next().unwrap_or_default();
            if entry.contains('\0') || name.contains('\n') {
                return Err(format!("environment entry \"{}\" is malformed", name.escape_debug()));
            }
        }
        let texts =
            self.entrypoint.iter().chain(&self.cmd).chain([&self.user, &self.working_dir, &self.stop_signal]);
        for text in texts {
            if text.contains('\0') {
                return Err(format!("\"{}\" contains a NUL character", text.escape_debug()));
            }
        }
        Ok(())
    }

    /// The environment as pairs. Entries without `=` or without a name set nothing: they never stand for a variable of the host.
    pub(crate) fn environment(&self) -> impl Iterator<Item = (&str, &str)> {
        self.env.iter().filter_map(|entry| entry.split_once('=')).filter(|(name, _)| !name.is_empty())
    }
}

/// A list of words, or, in very old configurations, a single one.
fn words<'de, D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Words {
        List(Vec<String>),
        One(String),
    }
    Ok(match Option::<Words>::deserialize(deserializer)? {
        None => Vec::new(),
        Some(Words::List(list)) => list,
        Some(Words::One(word)) => vec![word],
    })
}

/// The chain ids of a stack of diff ids, lowest first.
pub(crate) fn chain_ids(diff_ids: &[Digest]) -> Vec<Digest> {
    let mut chain: Vec<Digest> = Vec::with_capacity(diff_ids.len());
    for diff_id in diff_ids {
        let next = match chain.last() {
            None => diff_id.clone(),
            Some(parent) => Digest::of(format!("{parent} {diff_id}").as_bytes()),
        };
        chain.push(next);
    }
    chain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn null_and_missing_things_are_empty() {
        let json =
            r#"{"created":null,"config":null,"rootfs":{"type":"layers","diff_ids":null},"history":null}"#;
        let document = ImageDocument::parse(json.as_bytes(), "config").unwrap();
        assert_eq!(document.config, ImageConfig::default());
        let json = r#"{"config":{"Env":null,"Cmd":null,"Entrypoint":"/init","Labels":null,"User":null,"Volumes":{"/x":{}}},
            "rootfs":{"type":"layers","diff_ids":[]},"history":[{},{"created":null,"created_by":null,"empty_layer":null}]}"#;
        let document = ImageDocument::parse(json.as_bytes(), "config").unwrap();
        assert_eq!((document.config.entrypoint, document.history.len()), (vec!["/init".to_owned()], 2));
    }

    #[test]
    fn malformed_configurations_are_errors() {
        for json in [
            "",
            "null",
            "[]",
            "{}",
            r#"{"rootfs":null}"#,
            r#"{"rootfs":{"type":"none"}}"#,
            r#"{"rootfs":{"type":"layers","diff_ids":["sha256:../x"]}}"#,
            r#"{"rootfs":{"type":"layers"},"config":{"Env":["A\nB=1"]}}"#,
            r#"{"rootfs":{"type":"layers"},"config":{"Env":["A=\u0000"]}}"#,
            r#"{"rootfs":{"type":"layers"},"config":{"Cmd":["a\u0000b"]}}"#,
            r#"{"rootfs":{"type":"layers"},"config":{"Cmd":[1]}}"#,
            r#"{"rootfs":{"type":"layers"},"history":[null]}"#,
        ] {
            assert_eq!(
                ImageDocument::parse(json.as_bytes(), "config").unwrap_err().kind(),
                ErrorKind::InvalidImage,
                "{json}"
            );
        }
    }

    #[test]
    fn hostile_environment_entries_set_nothing() {
        let config = ImageConfig {
            env: ["*", "HOME", "=x", "A=1=2", "B="].map(String::from).to_vec(),
            ..Default::default()
        };
        assert_eq!(config.environment().collect::<Vec<_>>(), [("A", "1=2"), ("B", "")]);
    }

    #[test]
    fn chain_ids_follow_the_specification() {
        let a = Digest::of(b"a");
        let b = Digest::of(b"b");
        let chain = chain_ids(&[a.clone(), b.clone()]);
        assert_eq!(chain, [a.clone(), Digest::of(format!("{a} {b}").as_bytes())]);
        assert!(chain_ids(&[]).is_empty());
    }
}
