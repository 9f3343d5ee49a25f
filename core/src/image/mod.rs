//! Images: load, import, make from the host, name, inspect, remove.

mod add;
mod archive;
mod from_host;
mod import;
mod inspect;
mod load;
mod remove;
mod resolve;
mod source;
mod types;

#[cfg(test)]
mod tests;

pub(crate) use resolve::{ImageConfig, ResolvedImage, resolve};
pub use types::*;

use crate::cancel::CancelToken;
use crate::engine::Engine;
use crate::error::Result;

/// The images of an engine.
#[derive(Debug, Clone, Copy)]
pub struct Images<'a> {
    pub(crate) engine: &'a Engine,
}

impl Images<'_> {
    /// Loads images from a docker-archive tar, or an OCI image layout (directory or tar). The tar may be compressed.
    ///
    /// All images of the archive are there when the call returns, or none.
    pub fn load(&self, source: Source, cancel: &CancelToken) -> Result<Vec<ImageSummary>> {
        let inner = &*self.engine.inner()?;
        load::load(&inner.store, inner, source, cancel)
    }

    /// Makes an image of one layer from a root file system tar, plain or compressed with gzip, zstd, bzip2 or xz.
    pub fn import_rootfs(
        &self,
        source: Source,
        reference: &str,
        options: ImportOptions,
        cancel: &CancelToken,
    ) -> Result<ImageSummary> {
        let inner = &*self.engine.inner()?;
        import::import_rootfs(&inner.store, inner, source, reference, options, cancel)
    }

    /// Makes an image of files of the host, with the interpreter and shared libraries that its programs need, found by reading ELF headers.
    ///
    /// The same files give the same image: owners are root, set-id bits and attributes are dropped, and the image's date is the one of its
    /// newest file. Programs that are named get everything they need or the call fails; a shared object in a named directory may lack a library.
    pub fn from_host(
        &self,
        items: &[HostItem],
        reference: &str,
        options: ImportOptions,
        cancel: &CancelToken,
    ) -> Result<ImageSummary> {
        let inner = &*self.engine.inner()?;
        from_host::from_host(&inner.store, inner, items, reference, options, cancel)
    }

    /// All images, newest first.
    pub fn list(&self) -> Result<Vec<ImageSummary>> {
        inspect::list(&self.engine.inner()?.store)
    }

    /// The image with this reference, id, or unambiguous id prefix of at least four digits.
    pub fn get(&self, image: &str) -> Result<ImageSummary> {
        inspect::get(&self.engine.inner()?.store, image)
    }

    /// Everything about an image.
    pub fn inspect(&self, image: &str) -> Result<ImageDetails> {
        inspect::inspect(&self.engine.inner()?.store, image)
    }

    /// How an image was made, newest step first.
    pub fn history(&self, image: &str) -> Result<Vec<HistoryEntry>> {
        inspect::history(&self.engine.inner()?.store, image)
    }

    /// Gives an image one more name. An image that had the name loses it.
    pub fn tag(&self, image: &str, reference: &str) -> Result<()> {
        let inner = &*self.engine.inner()?;
        remove::tag(&inner.store, inner, image, reference)
    }

    /// Takes a name away. The image stays, also without a name.
    pub fn untag(&self, reference: &str) -> Result<()> {
        let inner = &*self.engine.inner()?;
        remove::untag(&inner.store, inner, reference)
    }

    /// By reference: takes the name away, and deletes the image with its last name. By id: deletes it; one with several names
    /// only with `force`. An image that a container uses is refused with [`ErrorKind::InUse`](crate::ErrorKind::InUse).
    pub fn remove(&self, image: &str, force: bool) -> Result<Removed> {
        let inner = &*self.engine.inner()?;
        remove::remove(&inner.store, inner, image, force)
    }
}
