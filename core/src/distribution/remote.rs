//! The manifests and indexes of a repository, as whoever chooses among them asks for them.

use std::cell::RefCell;
use std::collections::BTreeMap;

use super::Client;
use super::blob::verified;
use crate::error::{Error, ErrorKind, Result};
use crate::image::choose::Documents;
use crate::oci::{Descriptor, Digest, MAX_DOCUMENT};
use crate::state::Store;
use crate::state::images;

/// The manifests and indexes of a repository.
pub(super) struct Remote<'a> {
    client: &'a Client<'a>,
    store: &'a Store,
    known: RefCell<BTreeMap<Digest, Vec<u8>>>,
}

impl<'a> Remote<'a> {
    /// Where one document is known already.
    pub(super) fn new(
        client: &'a Client<'a>,
        store: &'a Store,
        digest: Digest,
        bytes: Vec<u8>,
    ) -> Remote<'a> {
        Remote { client, store, known: RefCell::new(BTreeMap::from([(digest, bytes)])) }
    }
}

impl Documents for Remote<'_> {
    fn get(&self, descriptor: &Descriptor) -> Result<Option<Vec<u8>>> {
        let Descriptor { digest, size, media_type, .. } = descriptor;
        if let Some(bytes) = self.known.borrow().get(digest) {
            return Ok(Some(bytes.clone()));
        }
        if let Some(bytes) = self.store.db.read(|connection| images::document(connection, digest))? {
            return verified(bytes, digest, *size).map(Some);
        }
        if let Some(bytes) = descriptor.embedded() {
            return Ok(Some(bytes));
        }
        if *size > MAX_DOCUMENT {
            return Err(Error::new(
                ErrorKind::LimitExceeded,
                format!("{digest} has {size} bytes, more than {MAX_DOCUMENT}"),
            )
            .with_object(digest.as_str()));
        }
        let fetched = match self.client.manifest(digest.as_str()) {
            Ok(fetched) => fetched,
            Err(error) if error.kind() == ErrorKind::ImageNotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        if fetched.media_type != *media_type {
            let (found, announced) = (fetched.media_type.escape_debug(), media_type.escape_debug());
            return Err(Error::new(
                ErrorKind::InvalidImage,
                format!("{digest} is sent as \"{found}\", but \"{announced}\" was announced"),
            )
            .with_object(digest.as_str()));
        }
        verified(fetched.bytes, digest, *size).map(Some)
    }

    fn missing(&self, descriptor: &Descriptor) -> Error {
        let digest = descriptor.digest.as_str();
        Error::new(ErrorKind::ImageNotFound, format!("the registry does not have manifest {digest}"))
            .with_object(digest)
    }
}
