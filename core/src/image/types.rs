//! What image operations take and return.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use serde::Serialize;

use crate::container::Warning;

/// Where an archive is read from.
#[derive(Debug)]
#[non_exhaustive]
pub enum Source {
    /// A file or directory of the host.
    Path(PathBuf),
    /// An open file or pipe, read to its end.
    Fd(OwnedFd),
}

/// Configuration of an image that is made from files instead of from another image.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ImportOptions {
    /// Default command.
    pub command: Option<Vec<String>>,
    /// Entrypoint.
    pub entrypoint: Option<Vec<String>>,
    /// Environment.
    pub environment: Vec<(String, String)>,
    /// Working directory, absolute.
    pub working_dir: Option<String>,
    /// User.
    pub user: Option<String>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Comment for the history.
    pub message: Option<String>,
}

/// A file of the host that goes into an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostItem {
    /// A path, or the bare name of a program that is looked up in `PATH`. A directory is taken with everything below it.
    pub source: PathBuf,
    /// Absolute path in the image. None: the same as on the host.
    pub target: Option<PathBuf>,
}

/// One image of the store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ImageSummary {
    /// Digest of the image configuration: what docker calls the image id.
    pub id: String,
    /// Digest of the manifest.
    pub digest: String,
    /// Canonical references that name it.
    pub references: Vec<String>,
    /// When it was made, RFC 3339, as the image says.
    pub created: Option<String>,
    /// Bytes of its blobs (manifest, configuration and compressed layers).
    pub size: u64,
    /// CPU architecture, in GOARCH words.
    pub architecture: String,
    /// Operating system, in GOOS words.
    pub os: String,
    /// Labels of the configuration.
    pub labels: BTreeMap<String, String>,
    /// What the layers have that could not be kept, and was not essential: known to the call that unpacked them, such as a load, and
    /// empty otherwise. At most 64 for each layer; the code `more-warnings` tells the number of the others.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<Warning>,
}

/// Everything about an image.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct ImageDetails {
    /// The summary.
    #[serde(flatten)]
    pub summary: ImageSummary,
    /// The whole image configuration.
    pub config: serde_json::Value,
    /// The whole manifest.
    pub manifest: serde_json::Value,
    /// The layers, lowest first.
    pub layers: Vec<LayerInfo>,
}

/// A layer of an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct LayerInfo {
    /// Digest of the uncompressed layer.
    pub diff_id: String,
    /// Digest of the stack up to this layer.
    pub chain_id: String,
    /// Digest of the blob.
    pub digest: String,
    /// Media type of the blob.
    pub media_type: String,
    /// Bytes of the blob.
    pub size: u64,
}

/// A line of an image's history, newest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct HistoryEntry {
    /// When, RFC 3339.
    pub created: Option<String>,
    /// The command.
    pub created_by: String,
    /// The comment.
    pub comment: Option<String>,
    /// Whether the step made no layer.
    pub empty_layer: bool,
    /// Bytes of the blob; 0 for an empty layer.
    pub size: u64,
    /// Diff id of the layer.
    pub layer: Option<String>,
}

/// What a removal did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Removed {
    /// References that were taken away.
    pub untagged: Vec<String>,
    /// Image ids that were deleted.
    pub deleted: Vec<String>,
}

impl From<&str> for HostItem {
    /// `source` or `source:target`.
    fn from(text: &str) -> HostItem {
        match text.split_once(':') {
            Some((source, target)) => HostItem { source: source.into(), target: Some(target.into()) },
            None => HostItem { source: text.into(), target: None },
        }
    }
}
