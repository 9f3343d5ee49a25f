//! Images: pull, load, import, make from the host, name, inspect, remove.

mod add;
mod archive;
pub(crate) mod changes;
pub(crate) mod choose;
mod docker;
mod filter;
mod from_host;
mod import;
mod inspect;
mod load;
mod mount;
mod prune;
mod remove;
mod resolve;
mod save;
pub(crate) mod sink;
mod source;
mod types;
mod upon;

#[cfg(test)]
mod tests;

pub(crate) use add::{pair, put, to_json, wanted};
pub(crate) use changes::exposed;
pub(crate) use filter::moment;
pub use mount::ImageMount;
pub(crate) use remove::change;
pub(crate) use resolve::{ImageConfig, ResolvedImage, descendants, resolve, resolve_for};
pub(crate) use source::archive_input;
pub use types::*;
pub(crate) use upon::{NewLayer, Upon, record};

use std::os::fd::AsFd;
use std::path::Path;

use crate::cancel::CancelToken;
use crate::distribution::{
    self, CopyOptions, Pin, PullOptions, PullPlan, PushOptions, Pushed, RegistryOptions,
};
use crate::engine::{Engine, Inner};
use crate::error::{Context, Result};
use crate::process::reader::{self, View};
use crate::progress::ProgressSink;
use crate::snapshot;
use crate::state::{Session, images};

/// The images of an engine.
#[derive(Debug, Clone, Copy)]
pub struct Images<'a> {
    pub(crate) engine: &'a Engine,
}

impl Images<'_> {
    /// Loads images from a docker-archive tar, or an OCI image layout (directory or tar). The tar may be compressed.
    ///
    /// All images of the archive are there when the call returns, or none.
    pub fn load(
        &self,
        source: Source,
        options: &LoadOptions,
        progress: ProgressSink<'_>,
        cancel: &CancelToken,
    ) -> Result<Vec<ImageSummary>> {
        let inner = &*self.engine.inner()?;
        load::load(&inner.store, inner, source, options, progress, cancel)
    }

    /// Fetches an image from its registry, verified, and unpacks its layers while they come in. A tag names the image afterwards, a digest
    /// does not; either finds it.
    ///
    /// When the call fails or is cancelled, nothing has changed, but what was fetched of a blob is kept for a while: the next pull goes on from there.
    pub fn pull(
        &self,
        reference: &str,
        options: &PullOptions,
        progress: ProgressSink<'_>,
        cancel: &CancelToken,
    ) -> Result<ImageSummary> {
        distribution::pull(&*self.engine.inner()?, reference, options, progress, cancel)
    }

    /// What a pull would fetch. `progress` gets what the registry says beside its answers.
    pub fn plan(
        &self,
        reference: &str,
        options: &PullOptions,
        progress: ProgressSink<'_>,
        cancel: &CancelToken,
    ) -> Result<PullPlan> {
        distribution::plan(&*self.engine.inner()?, reference, options, progress, cancel)
    }

    /// Sends an image to the registry of the name. All platforms that the name has in the store are sent, with their index.
    pub fn push(
        &self,
        reference: &str,
        options: &PushOptions,
        progress: ProgressSink<'_>,
        cancel: &CancelToken,
    ) -> Result<Pushed> {
        distribution::push(&*self.engine.inner()?, reference, options, progress, cancel)
    }

    /// Copies an image from one registry to another, byte for byte unless another form of its manifests is asked for. A target with a digest in place of
    /// a tag gets no name there, and has to be what is copied. The store is not touched.
    pub fn copy(
        &self,
        source: &str,
        target: &str,
        options: &CopyOptions,
        progress: ProgressSink<'_>,
        cancel: &CancelToken,
    ) -> Result<Pushed> {
        distribution::copy(&*self.engine.inner()?, source, target, options, progress, cancel)
    }

    /// Asks the registries what names stand for, and pins them to it in a lock file. Pins of other names stay as they are. `progress` gets what the
    /// registries say beside their answers.
    pub fn lock(
        &self,
        references: &[&str],
        path: &Path,
        options: &RegistryOptions,
        progress: ProgressSink<'_>,
        cancel: &CancelToken,
    ) -> Result<Vec<Pin>> {
        distribution::lock(&*self.engine.inner()?, references, path, options, progress, cancel)
    }

    /// Saves images, with the names that they are called by here. An archive on a path appears when it is complete.
    pub fn save(
        &self,
        references: &[&str],
        sink: Sink,
        options: &SaveOptions,
        progress: ProgressSink<'_>,
        cancel: &CancelToken,
    ) -> Result<()> {
        let inner = &*self.engine.inner()?;
        save::save(&inner.store, inner, (references, sink), options, progress, cancel)
    }

    /// Makes an image of one layer from a root file system tar, plain or compressed with gzip, zstd, bzip2 or xz. Without a reference it has no name.
    pub fn import_rootfs<'r>(
        &self,
        source: Source,
        reference: impl Into<Option<&'r str>>,
        options: ImportOptions,
        progress: ProgressSink<'_>,
        cancel: &CancelToken,
    ) -> Result<ImageSummary> {
        let inner = &*self.engine.inner()?;
        import::import_rootfs((&inner.store, inner), source, reference.into(), options, progress, cancel)
    }

    /// Makes an image of files of the host, with the interpreter and shared libraries that its programs need, found by reading ELF headers.
    ///
    /// The same files give the same image: owners are root, set-id bits and attributes are dropped, and the image's date is the one of its
    /// newest file. Programs that are named get everything they need or the call fails; a shared object in a named directory may lack a library. A script that is named brings its interpreter,
    /// and what follows `env` in its first line, or the call fails. Of scripts in a named directory the interpreters are taken that the host has in full, unless the image has a file in their place already;
    /// others are no error. Modules that an interpreter loads, as those of Python, have to be named.
    pub fn from_host<'r>(
        &self,
        items: &[HostItem],
        reference: impl Into<Option<&'r str>>,
        options: ImportOptions,
        progress: ProgressSink<'_>,
        cancel: &CancelToken,
    ) -> Result<ImageSummary> {
        let inner = &*self.engine.inner()?;
        from_host::from_host((&inner.store, inner), items, reference.into(), options, progress, cancel)
    }

    /// The images that meet all conditions, or all, newest first. Conditions are docker's: `dangling=true`, `label=name` or `label=name=value`,
    /// `label!=...`, `reference=pattern`, `before=image`, `since=image`, `until=time`.
    pub fn list(&self, filters: &[String]) -> Result<Vec<ImageSummary>> {
        inspect::list(&self.engine.inner()?.store, &filter::Filters::parse(filters)?)
    }

    /// The image with this reference, id, or unambiguous id prefix of at least four digits.
    pub fn get(&self, image: &str) -> Result<ImageSummary> {
        inspect::get(&self.engine.inner()?.store, image, None)
    }

    /// As [`get`](Self::get), of the images that a name has the one for a platform, such as `linux/arm64`. Its id says to other calls that this one is meant.
    pub fn get_platform(&self, image: &str, platform: &str) -> Result<ImageSummary> {
        inspect::get(&self.engine.inner()?.store, image, Some(platform))
    }

    /// Everything about an image.
    pub fn inspect(&self, image: &str) -> Result<ImageDetails> {
        inspect::inspect(&self.engine.inner()?.store, image)
    }

    /// Everything about an image as `docker image inspect` has it: `Id`, `RepoTags`, `RepoDigests`, `Created`, `Config`, `RootFS` and so on, as far as
    /// there is something to say; `Coble` has the fields of [`ImageDetails`].
    pub fn inspect_docker(&self, image: &str) -> Result<serde_json::Value> {
        docker::inspect(&self.engine.inner()?.store, image)
    }

    /// How an image was made, newest step first.
    pub fn history(&self, image: &str) -> Result<Vec<HistoryEntry>> {
        inspect::history(&self.engine.inner()?.store, image)
    }

    /// What is different in one image's root file system against another's, sorted by path.
    pub fn diff(&self, old: &str, new: &str, cancel: &CancelToken) -> Result<Vec<PathChange>> {
        diff(&*self.engine.inner()?, old, new, cancel)
    }

    /// Mounts an image's root file system read-only, where only this process sees it, for as long as the result lives. Files that belong to users which are
    /// mapped into containers only, as with rootless engines, can be read as far as their modes allow it to others.
    pub fn mount(&self, image: &str, cancel: &CancelToken) -> Result<ImageMount> {
        mount::mount(&self.engine.inner()?, image, cancel)
    }

    /// Removes images that are not used: those without a name, or with `all` every one that no container uses. An image of a container is never
    /// removed, and what a load or pull brings in at the same time stays.
    pub fn prune(&self, options: &PruneOptions, cancel: &CancelToken) -> Result<Pruned> {
        prune::prune(&*self.engine.inner()?, options, cancel)
    }

    /// Gives an image one more name. An image that had the name loses it.
    pub fn tag(&self, image: &str, reference: &str) -> Result<()> {
        let inner = &*self.engine.inner()?;
        remove::tag(&inner.store, inner, image, reference)
    }

    /// Takes a name away. The image stays, also without a name. Returns the name in full.
    pub fn untag(&self, reference: &str) -> Result<String> {
        let inner = &*self.engine.inner()?;
        remove::untag(&inner.store, inner, reference)
    }

    /// By reference: takes the name away, and deletes the image with its last name. By id: deletes it; one with several names
    /// only with `force`. An image that a container uses is refused with [`ErrorKind::InUse`](crate::ErrorKind::InUse); with `force` one whose
    /// containers do not run loses its names and stays for them, until they are gone and it is pruned.
    pub fn remove(&self, image: &str, force: bool) -> Result<Removed> {
        let inner = &*self.engine.inner()?;
        if force {
            // That there is no such image is said by the removal.
            let group = inner.store.db.read(|connection| images::group(connection, image, None));
            crate::container::settle(inner, &group.map(|group| group.ids).unwrap_or_default())?;
        }
        remove::remove(&inner.store, inner, image, force)
    }
}

fn diff(inner: &Inner, old: &str, new: &str, cancel: &CancelToken) -> Result<Vec<PathChange>> {
    let lease = Session::lease(&inner.store, cancel)?;
    let found = (|| {
        let trees = [old, new].map(|image| {
            let image = resolve(&inner.store, image)?;
            snapshot::ensure(&inner.store, inner, &image, cancel)
        });
        let [old, new] = trees;
        let (old, new) = (old?, new?);
        let layers = inner.store.layers.as_fd();
        let view = |lower| View::Merged { layers, lower, directory: None, container: None };
        reader::compare(inner, view(&old), view(&new), cancel)
    })();
    lease.end(&inner.store, inner);
    let found = found.context(|| format!("comparing \"{old}\" and \"{new}\""))?;
    Ok(found.iter().filter_map(PathChange::of).collect())
}
