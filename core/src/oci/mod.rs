//! The documents of the OCI image specification and of Docker's schema 2, as strict types over bounded JSON. Pure: no files, no network.
//!
//! What is not understood is kept as the bytes it came in, since a document's digest is its identity.

mod config;
mod digest;
mod document;
mod platform;
mod reference;

pub(crate) use config::{History, ImageConfig, ImageDocument, RootFs, chain_ids};
pub(crate) use digest::{Algorithm, Digest, Hasher, hex};
pub(crate) use document::{
    Compression, Descriptor, Document, Index, Manifest, MediaType, annotation, media_type, parse_document,
};
pub(crate) use platform::{Platform, PlatformChoice};
pub(crate) use reference::Reference;

/// The longest manifest, index or image configuration: what registries and other engines accept.
pub(crate) const MAX_DOCUMENT: u64 = 4 << 20;
/// The longest text of content in a descriptor that is looked at: manifests and configurations are some kilobytes.
pub(crate) const MAX_EMBEDDED: usize = 256 << 10;
/// The most URLs of a descriptor that are looked at.
pub(crate) const MAX_URLS: usize = 16;
/// The most descriptors of one document.
pub(crate) const MAX_DESCRIPTORS: usize = 10_000;
/// The deepest nesting of indexes.
pub(crate) const MAX_NESTING: usize = 4;
/// The most layers of an image: as many as a message to the helper can carry descriptors for, and more than other engines mount.
pub(crate) const MAX_LAYERS: usize = 180;
