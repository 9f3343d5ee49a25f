//! One registry, as the transfer of images sees it.

use std::io::Read;

use super::event::Event;
use super::options::RegistryOptions;
use super::registries::Referrer;
use crate::cancel::CancelToken;
use crate::error::{Error, ErrorKind, Result};
use crate::oci::{Digest, Reference};

/// What a client is for: what its tokens are asked for, and whether mirrors may answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// Reading. Mirrors are asked first.
    Pull,
    /// Reading and writing. Mirrors are not asked.
    Push,
    /// Reading and deleting. Mirrors are not asked.
    Delete,
}

/// One repository of a registry: its mirrors first, then itself. It keeps connections and tokens, and any thread may use it.
pub(crate) struct Client<'a> {
    events: &'a (dyn Fn(Event) + Sync),
    cancel: CancelToken,
}

/// A manifest or index, verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fetched {
    pub(crate) bytes: Vec<u8>,
    pub(crate) media_type: String,
    pub(crate) digest: Digest,
}

/// What a registry says of a manifest without giving it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) digest: Digest,
    pub(crate) media_type: String,
    pub(crate) size: u64,
}

/// The content of a blob that is being sent, which may be wanted more than once.
pub(crate) trait Reopen: Sync {
    /// The content from an offset on.
    fn open_at(&self, offset: u64) -> Result<Box<dyn Read + '_>>;
}

/// A blob on its way. Not verified: who reads it hashes it anyway.
pub(crate) struct BlobBody {
    offset: u64,
}

impl BlobBody {
    /// Where in the blob the first byte is: 0 if the registry does not know ranges.
    pub(crate) fn offset(&self) -> u64 {
        self.offset
    }
}

impl Read for BlobBody {
    fn read(&mut self, _buffer: &mut [u8]) -> std::io::Result<usize> {
        Ok(0)
    }
}

impl<'a> Client<'a> {
    /// A client for the repository of a reference. Reads the settings; sends nothing.
    pub(crate) fn new(
        reference: &Reference,
        options: &RegistryOptions,
        access: Access,
        events: &'a (dyn Fn(Event) + Sync),
        cancel: &CancelToken,
    ) -> Result<Client<'a>> {
        let _ = (reference, options, access);
        Ok(Client { events, cancel: cancel.clone() })
    }

    /// A manifest or index.
    pub(crate) fn manifest(&self, tag_or_digest: &str) -> Result<Fetched> {
        Err(self.later(tag_or_digest))
    }

    /// What there is under a name; None if nothing is. The digest may be missing from the answer of a registry, then the manifest itself is asked for.
    pub(crate) fn manifest_head(&self, tag_or_digest: &str) -> Result<Option<Head>> {
        Err(self.later(tag_or_digest))
    }

    /// A blob from an offset on. An error in the middle of it is one of [`std::io::Error`] that holds an [`Error`]; see [`Error::of_read`].
    pub(crate) fn blob(&self, digest: &Digest, offset: u64, size: u64) -> Result<BlobBody> {
        let _ = (offset, size);
        Err(self.later(digest.as_str()))
    }

    /// Whether the repository has a blob.
    pub(crate) fn blob_exists(&self, digest: &Digest) -> Result<bool> {
        Err(self.later(digest.as_str()))
    }

    /// Makes a blob of another repository of the registry one of this one; without a name the registry may look for one. False if it has to be sent.
    pub(crate) fn mount(&self, digest: &Digest, from: Option<&str>) -> Result<bool> {
        let _ = from;
        Err(self.later(digest.as_str()))
    }

    /// Sends a blob; in pieces of `chunk` bytes if that is given. `sent` gets how much the registry has, which may go back.
    pub(crate) fn upload(
        &self,
        digest: &Digest,
        size: u64,
        content: &dyn Reopen,
        chunk: Option<u64>,
        sent: &dyn Fn(u64),
    ) -> Result<()> {
        let _ = (size, content, chunk, sent);
        Err(self.later(digest.as_str()))
    }

    /// Sends a manifest or index, as the bytes are.
    pub(crate) fn put_manifest(&self, tag_or_digest: &str, media_type: &str, bytes: &[u8]) -> Result<Digest> {
        let _ = (media_type, bytes);
        Err(self.later(tag_or_digest))
    }

    /// Deletes a manifest with all its tags.
    pub(crate) fn delete_manifest(&self, digest: &Digest) -> Result<()> {
        Err(self.later(digest.as_str()))
    }

    /// Deletes a tag.
    pub(crate) fn delete_tag(&self, tag: &str) -> Result<()> {
        Err(self.later(tag))
    }

    /// Deletes a blob.
    pub(crate) fn delete_blob(&self, digest: &Digest) -> Result<()> {
        Err(self.later(digest.as_str()))
    }

    /// The tags of the repository.
    pub(crate) fn tags(&self) -> Result<Vec<String>> {
        Err(self.later("tags"))
    }

    /// What refers to a manifest of the repository.
    pub(crate) fn referrers(&self, digest: &Digest, artifact_type: Option<&str>) -> Result<Vec<Referrer>> {
        let _ = artifact_type;
        Err(self.later(digest.as_str()))
    }

    fn later(&self, what: &str) -> Error {
        (self.events)(Event::Warning(what.to_owned()));
        self.cancel.check().err().unwrap_or_else(|| Error::new(ErrorKind::Unsupported, "not there yet"))
    }
}
