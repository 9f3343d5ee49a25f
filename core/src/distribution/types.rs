//! What the operations on registries take and return.

use std::path::PathBuf;

use serde::Serialize;

use super::RegistryOptions;
use crate::container::Warning;
use crate::error::{Error, ErrorKind, Result};

/// When a registry is asked for an image that may be in the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum PullPolicy {
    /// Each time. What is there already is not fetched again.
    #[default]
    Always,
    /// If the store does not have it.
    Missing,
    /// Never: an image that the store does not have is [`ErrorKind::ImageNotFound`].
    Never,
    /// If the registry has another one. When the registry cannot be reached, the one of the store is good enough.
    Newer,
}

impl PullPolicy {
    /// `always`, `missing`, `never` or `newer`.
    pub fn parse(text: &str) -> Result<PullPolicy> {
        match text {
            "always" => Ok(PullPolicy::Always),
            "missing" => Ok(PullPolicy::Missing),
            "never" => Ok(PullPolicy::Never),
            "newer" => Ok(PullPolicy::Newer),
            _ => Err(Error::new(
                ErrorKind::InvalidArgument,
                format!("unknown pull policy \"{}\"", text.escape_debug()),
            )
            .with_object(text)
            .with_hint("use always, missing, never or newer")),
        }
    }

    /// The name, as [`PullPolicy::parse`] takes it.
    pub const fn name(self) -> &'static str {
        match self {
            PullPolicy::Always => "always",
            PullPolicy::Missing => "missing",
            PullPolicy::Never => "never",
            PullPolicy::Newer => "newer",
        }
    }
}

/// How an image is pulled.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct PullOptions {
    /// The platform, as `os/architecture/variant`, or `all` for every one that the name has. None: the host's.
    pub platform: Option<String>,
    /// When the registry is asked.
    pub policy: PullPolicy,
    /// How many blobs are fetched at once, 1 to 64. None: 4.
    pub jobs: Option<u32>,
    /// A lock file that names are checked against. None: the engine's, if it has one.
    pub lock: Option<PathBuf>,
    /// Whether what the registry does not have is fetched from the URLs that its descriptor names, as that of a layer that is not distributable does: over TLS, without
    /// credentials, from public addresses and from the registry's own host, and verified. At most 16 URLs of each are tried.
    pub allow_foreign_urls: bool,
    /// Hosts (`host` or `host:port`) that such URLs may have although their addresses are not public. Plain HTTP is used only for what `registries.conf` says to be
    /// insecure.
    pub foreign_url_hosts: Vec<String>,
    /// How the registry is reached.
    pub registry: RegistryOptions,
}

/// How an image is pushed.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct PushOptions {
    /// Further tags that the image gets in the same repository. A registry that can do so sets all of them with the request that brings the manifest.
    pub tags: Vec<String>,
    /// The platform, as `os/architecture/variant`. None: all that the name has in the store, with their index.
    pub platform: Option<String>,
    /// `gzip`, `zstd` or `none`: the compression that layers made here are sent with, which gives the image another digest there. None: everything
    /// goes byte for byte.
    pub compression: Option<String>,
    /// How hard is tried to make them small: 1 to 9 of gzip, 1 to 22 of zstd. None: quickly, and a layer that has the compression stays as it is.
    pub compression_level: Option<u32>,
    /// The form of the manifests that are sent: `oci`, or `v2s2` for those of docker's schema 2, which gives the image another digest there. What is in that form
    /// already stays as it is; for `v2s2`, layers that are compressed with zstd are compressed anew, with gzip. None: as they are.
    pub format: Option<String>,
    /// Whether layers are sent, too, that are not meant to be passed on (foreign, or non-distributable, by their media types).
    pub allow_nondistributable_artifacts: bool,
    /// Blobs are sent in pieces of this many bytes. None: each in one request.
    pub chunk_size: Option<u64>,
    /// How many blobs are sent at once, 1 to 64. None: 4.
    pub jobs: Option<u32>,
    /// How the registry is reached.
    pub registry: RegistryOptions,
}

/// How an image is copied from one registry to another.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct CopyOptions {
    /// The platform, as `os/architecture/variant`. None: everything that the name stands for there, byte for byte.
    pub platform: Option<String>,
    /// The form of the manifests that are sent: `oci`, or `v2s2` for those of docker's schema 2, which gives them other digests. What is in that form already
    /// stays as it is, and no layer is changed: one that is compressed with zstd has no place in `v2s2`, which is an error. None: byte for byte.
    pub format: Option<String>,
    /// Whether layers are copied, too, that are not meant to be passed on (foreign, or non-distributable, by their media types).
    pub allow_nondistributable_artifacts: bool,
    /// How many blobs are copied at once, 1 to 64. None: 4.
    pub jobs: Option<u32>,
    /// Whether what the registry does not have is fetched from the URLs that its descriptor names, as that of a layer that is not distributable does: over TLS, without
    /// credentials, from public addresses and from the registry's own host, and verified. At most 16 URLs of each are tried.
    pub allow_foreign_urls: bool,
    /// Hosts (`host` or `host:port`) that such URLs may have although their addresses are not public. Plain HTTP is used only for what `registries.conf` says to be
    /// insecure.
    pub foreign_url_hosts: Vec<String>,
    /// How the registry is reached that has the image.
    pub source: RegistryOptions,
    /// How the registry is reached that gets it.
    pub target: RegistryOptions,
}

/// What a push or copy did.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[non_exhaustive]
pub struct Pushed {
    /// The canonical name that the image has in the registry now.
    pub reference: String,
    /// Its tag, and the further ones that were asked for; none of what was copied to a digest.
    pub tags: Vec<String>,
    /// Digest of the manifest or index that the name stands for there: that of what was sent, also where it was converted.
    pub digest: String,
    /// Its media type.
    pub media_type: String,
    /// Its bytes.
    pub size: u64,
    /// Blobs that were sent.
    pub blobs_sent: u64,
    /// Blobs that the registry took from another of its repositories.
    pub blobs_mounted: u64,
    /// Blobs that were there already.
    pub blobs_present: u64,
    /// Bytes of the blobs that were sent.
    pub bytes_sent: u64,
    /// What is not in the registry as it is in the source, by the codes `annotations-dropped`, `attestations-dropped` and `nondistributable-skipped`.
    pub warnings: Vec<Warning>,
}

/// What a pull would fetch.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[non_exhaustive]
pub struct PullPlan {
    /// The canonical name.
    pub reference: String,
    /// Digest of the manifest or index that the name stands for.
    pub digest: String,
    /// Configurations and layers, in the order of the manifest, each once.
    pub blobs: Vec<PlannedBlob>,
    /// Bytes that would be fetched.
    pub missing_bytes: u64,
    /// Bytes that are in the store already.
    pub present_bytes: u64,
}

/// A blob of a plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct PlannedBlob {
    /// Its digest.
    pub digest: String,
    /// Its bytes.
    pub size: u64,
    /// Whether the store has it.
    pub present: bool,
}

/// A name and the digest that it is pinned to in a lock file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Pin {
    /// The canonical name.
    pub reference: String,
    /// Digest of the manifest or index that it stands for.
    pub digest: String,
}
