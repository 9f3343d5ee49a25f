//! Images: load, import, make from the host, name, inspect, remove.

mod types;

pub use types::*;

use crate::cancel::CancelToken;
use crate::engine::{Engine, unfinished};
use crate::error::Result;

/// The images of an engine.
#[derive(Debug, Clone, Copy)]
pub struct Images<'a> {
    pub(crate) engine: &'a Engine,
}

impl Images<'_> {
    /// Loads images from a docker-archive tar, or an OCI image layout (directory or tar). The tar may be compressed.
    pub fn load(&self, _source: Source, _cancel: &CancelToken) -> Result<Vec<ImageSummary>> {
        let _ = self.engine;
        unfinished()
    }

    /// Makes an image of one layer from a root file system tar, plain or compressed with gzip, zstd, bzip2 or xz.
    pub fn import_rootfs(&self, _source: Source, _reference: &str, _options: ImportOptions, _cancel: &CancelToken) -> Result<ImageSummary> {
        unfinished()
    }

    /// Makes an image of files of the host, with the interpreter and shared libraries that its programs need, found by reading ELF headers.
    pub fn from_host(&self, _items: &[HostItem], _reference: &str, _options: ImportOptions, _cancel: &CancelToken) -> Result<ImageSummary> {
        unfinished()
    }

    /// All images, newest first.
    pub fn list(&self) -> Result<Vec<ImageSummary>> {
        unfinished()
    }

    /// The image with this reference, id, or unambiguous id prefix of at least four digits.
    pub fn get(&self, _image: &str) -> Result<ImageSummary> {
        unfinished()
    }

    /// Everything about an image.
    pub fn inspect(&self, _image: &str) -> Result<ImageDetails> {
        unfinished()
    }

    /// How an image was made, newest step first.
    pub fn history(&self, _image: &str) -> Result<Vec<HistoryEntry>> {
        unfinished()
    }

    /// Gives an image one more name.
    pub fn tag(&self, _image: &str, _reference: &str) -> Result<()> {
        unfinished()
    }

    /// Takes a name away. The image stays, also without a name.
    pub fn untag(&self, _reference: &str) -> Result<()> {
        unfinished()
    }

    /// By reference: takes the name away, and deletes the image with its last name. By id: deletes it; one with several names
    /// only with `force`. An image that a container uses is refused with [`ErrorKind::InUse`](crate::ErrorKind::InUse).
    pub fn remove(&self, _image: &str, _force: bool) -> Result<Removed> {
        unfinished()
    }
}
