//! What image operations take and return.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use serde::Serialize;

use crate::container::Warning;
use crate::error::{Error, ErrorKind, Result};

/// Where an archive is read from.
#[derive(Debug)]
#[non_exhaustive]
pub enum Source {
    /// A file or directory of the host.
    Path(PathBuf),
    /// An open file or pipe, read to its end.
    Fd(OwnedFd),
    /// The archive itself.
    Bytes(Vec<u8>),
}

/// Where an archive is written to.
#[derive(Debug)]
#[non_exhaustive]
pub enum Sink {
    /// A file of the host, which appears when it is complete, with mode 0600. A pipe or a device is written as it is.
    Path(PathBuf),
    /// An open file or pipe.
    Fd(OwnedFd),
}

/// What is loaded of an archive.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct LoadOptions {
    /// The platform, as `os/architecture/variant`, or `all` for every one that is there. None: the host's, and what is there for another
    /// platform only with a warning.
    pub platform: Option<String>,
}

/// The form in which images are saved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum SaveFormat {
    /// A tar of an OCI image layout that is a docker archive, too, as newer versions of docker write it. Blobs are byte for byte those of the store.
    #[default]
    OciArchive,
    /// An OCI image layout, as a directory. One that is there gets the images added.
    OciDirectory,
    /// A docker archive as older tools expect it, with uncompressed layers. It has one image for a name: without a platform, the one for the host.
    DockerArchive,
}

impl SaveFormat {
    /// `oci-archive`, `oci-dir` or `docker-archive`, as podman calls them.
    pub fn parse(text: &str) -> Result<SaveFormat> {
        match text {
            "oci-archive" => Ok(SaveFormat::OciArchive),
            "oci-dir" => Ok(SaveFormat::OciDirectory),
            "docker-archive" => Ok(SaveFormat::DockerArchive),
            _ => Err(Error::new(
                ErrorKind::InvalidArgument,
                format!("unknown format \"{}\"", text.escape_debug()),
            )
            .with_object(text)
            .with_hint("use oci-archive, oci-dir or docker-archive")),
        }
    }
}

/// How images are saved.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SaveOptions {
    /// The form.
    pub format: SaveFormat,
    /// The platform, as `os/architecture/variant`, or `all`. None: all platforms that a name has in the store, as far as the form has a place for them.
    pub platform: Option<String>,
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
    /// Who made it.
    pub author: Option<String>,
    /// Changes of the configuration that the options above make, as instructions of a Dockerfile: CMD ENTRYPOINT ENV EXPOSE HEALTHCHECK LABEL ONBUILD
    /// STOPSIGNAL USER VOLUME WORKDIR.
    pub changes: Vec<String>,
    /// What the files are for, as `os/architecture/variant`. None: the host's platform.
    pub platform: Option<String>,
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
    /// What it is in registries, as far as is known: `repository@digest` for each manifest or index that it was pulled or pushed as, canonical and in order.
    pub repo_digests: Vec<String>,
    /// When it was made, RFC 3339, as the image says.
    pub created: Option<String>,
    /// Bytes of its blobs (manifest, configuration and compressed layers).
    pub size: u64,
    /// CPU architecture, in GOARCH words.
    pub architecture: String,
    /// Operating system, in GOOS words.
    pub os: String,
    /// Variant of the architecture, such as `v7`.
    pub variant: Option<String>,
    /// Version of the operating system that it is made for: of Windows the build, such as `10.0.17763.1`.
    pub os_version: Option<String>,
    /// What the operating system has to be able to do for it, such as `win32k`.
    pub os_features: Vec<String>,
    /// Labels of the configuration.
    pub labels: BTreeMap<String, String>,
    /// What the layers have that could not be kept, and was not essential: known to the call that unpacked them, such as a load, and
    /// empty otherwise. The code `foreign-platform` tells of an image that is not for this host. At most 64 for each layer; the code `more-warnings` tells the number of the others.
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
    /// Bytes of the files that its layers hold, what docker calls its size. None while a layer is not unpacked.
    pub unpacked_size: Option<u64>,
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

/// What became of a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum ChangeKind {
    /// It is new.
    Added,
    /// It has other content or attributes, or is another thing; a directory also if something in it is different.
    Changed,
    /// It has gone, with everything below.
    Deleted,
}

impl ChangeKind {
    /// The name, in lower case.
    pub const fn name(self) -> &'static str {
        match self {
            ChangeKind::Added => "added",
            ChangeKind::Changed => "changed",
            ChangeKind::Deleted => "deleted",
        }
    }

    /// The letter that docker shows: `A`, `C` or `D`.
    pub const fn letter(self) -> char {
        match self {
            ChangeKind::Added => 'A',
            ChangeKind::Changed => 'C',
            ChangeKind::Deleted => 'D',
        }
    }
}

/// A path that is different.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct PathChange {
    /// What became of it.
    pub kind: ChangeKind,
    /// The path, absolute. Bytes that are not UTF-8 are replaced.
    pub path: String,
}

impl PathChange {
    pub(crate) fn of((letter, path): &(u8, Vec<u8>)) -> Option<PathChange> {
        let kind = match letter {
            b'A' => ChangeKind::Added,
            b'C' => ChangeKind::Changed,
            b'D' => ChangeKind::Deleted,
            _ => return None,
        };
        Some(PathChange { kind, path: format!("/{}", String::from_utf8_lossy(path)) })
    }
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

/// Which images are pruned.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PruneOptions {
    /// Every image that no container uses, not only those without a name.
    pub all: bool,
    /// Conditions, as for a list: only images that meet all of them.
    pub filters: Vec<String>,
    /// Keep at least this many bytes of blobs and unpacked layers.
    pub reserved: Option<u64>,
    /// Remove only as many images as it takes for the rest to have no more than this many bytes, those first that were not used for longest.
    pub max_used: Option<u64>,
    /// Remove only as many images as it takes for the file system to have this many bytes free.
    pub min_free: Option<u64>,
}

/// What a pruning did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Pruned {
    /// References that are gone.
    pub untagged: Vec<String>,
    /// Image ids that were deleted.
    pub deleted: Vec<String>,
    /// Bytes of the disk that are given back, at once or when the operations that are under way have ended.
    pub reclaimed: u64,
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
