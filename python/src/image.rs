//! `engine.images` and one image.

use std::collections::BTreeMap;
use std::path::PathBuf;

use coble::{Engine, HostItem, ImageSummary};
use pyo3::prelude::*;
use pyo3::types::PyDict;
use pyo3::{PyTraverseError, PyVisit};

use crate::convert::{Archive, ImageName, Item, Size};
use crate::engine::PyEngine;
use crate::enter::{Own, quick};
use crate::errors::to_py;
use crate::image_store::{self, Filters, Names, PyImageMount, Target};
use crate::options::{Hear, Import, read};
use crate::progress::told;
use crate::transfer;
use crate::values::{
    HistoryEntry, ImageDetails, PathChange, Pin, Pruned, PullPlan, Removed, SearchResult, Warning, plain,
};

/// The images of an engine.
#[pyclass(frozen, name = "Images", module = "coble")]
pub(crate) struct PyImages {
    pub(crate) engine: Py<PyEngine>,
}

impl PyImages {
    fn engine(&self, py: Python<'_>) -> PyResult<&Engine> {
        self.engine.get().engine(py)
    }
}

#[pymethods]
impl PyImages {
    /// Fetches an image from its registry.
    #[pyo3(signature = (reference, **options))]
    #[pyo3(
        text_signature = "($self, reference, *, platform=None, policy=\"always\", jobs=None, lock=None, allow_foreign_urls=False, foreign_url_hosts=None, credentials=None, insecure=False, auth_file=None, cert_dir=None, retries=None, connect_timeout=None, idle_timeout=None, mirrors=None, registries_conf=None, hosts_dir=None, credential_provider=None, \
                             progress=None, stream=False)"
    )]
    fn pull(
        &self,
        py: Python<'_>,
        reference: String,
        options: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Py<PyAny>> {
        transfer::pull(py, &self.engine, reference, options)
    }

    /// What a pull would fetch.
    #[pyo3(signature = (reference, **options))]
    #[pyo3(
        text_signature = "($self, reference, *, platform=None, policy=\"always\", jobs=None, lock=None, allow_foreign_urls=False, foreign_url_hosts=None, credentials=None, insecure=False, auth_file=None, cert_dir=None, retries=None, connect_timeout=None, idle_timeout=None, mirrors=None, registries_conf=None, hosts_dir=None, credential_provider=None, progress=None)"
    )]
    fn plan(
        &self,
        py: Python<'_>,
        reference: &str,
        options: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<PullPlan> {
        transfer::plan(py, self.engine(py)?, reference, options)
    }

    /// Sends an image to its registry.
    #[pyo3(signature = (reference, **options))]
    #[pyo3(
        text_signature = "($self, reference, *, tags=None, platform=None, compression=None, compression_level=None, format=None, allow_nondistributable_artifacts=False, chunk_size=None, jobs=None, credentials=None, insecure=False, auth_file=None, cert_dir=None, retries=None, connect_timeout=None, idle_timeout=None, mirrors=None, registries_conf=None, hosts_dir=None, credential_provider=None, \
                             progress=None, stream=False)"
    )]
    fn push(
        &self,
        py: Python<'_>,
        reference: String,
        options: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Py<PyAny>> {
        transfer::push(py, &self.engine, reference, options)
    }

    /// Copies an image from one registry to another.
    #[pyo3(signature = (source, target, **options))]
    #[pyo3(
        text_signature = "($self, source, target, *, platform=None, format=None, allow_nondistributable_artifacts=False, allow_foreign_urls=False, foreign_url_hosts=None, jobs=None, source_credentials=None, source_insecure=False, source_auth_file=None, \
                             source_cert_dir=None, target_credentials=None, target_insecure=False, target_auth_file=None, target_cert_dir=None, \
                             retries=None, connect_timeout=None, idle_timeout=None, mirrors=None, registries_conf=None, hosts_dir=None, credential_provider=None, progress=None, stream=False)"
    )]
    fn copy(
        &self,
        py: Python<'_>,
        source: String,
        target: String,
        options: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Py<PyAny>> {
        transfer::copy(py, &self.engine, source, target, options)
    }

    /// Searches a registry.
    #[pyo3(signature = (term, **options))]
    #[pyo3(
        text_signature = "($self, term, *, registry=None, limit=None, filters=None, credentials=None, insecure=False, auth_file=None, cert_dir=None, retries=None, connect_timeout=None, idle_timeout=None, mirrors=None, registries_conf=None, hosts_dir=None, credential_provider=None, progress=None)"
    )]
    fn search(
        &self,
        py: Python<'_>,
        term: &str,
        options: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Vec<SearchResult>> {
        transfer::search(py, self.engine(py)?, term, options)
    }

    /// Pins names to what they stand for, in a lock file.
    #[pyo3(signature = (references, path, **options))]
    #[pyo3(
        text_signature = "($self, references, path, *, credentials=None, insecure=False, auth_file=None, cert_dir=None, retries=None, connect_timeout=None, idle_timeout=None, mirrors=None, registries_conf=None, hosts_dir=None, credential_provider=None, progress=None)"
    )]
    fn lock(
        &self,
        py: Python<'_>,
        references: Vec<String>,
        path: PathBuf,
        options: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Vec<Pin>> {
        transfer::lock(py, self.engine(py)?, references, path, options)
    }

    /// Loads the images of a docker-archive tar or an OCI image layout.
    #[pyo3(signature = (source, *, platform=None, progress=None))]
    fn load(
        &self,
        py: Python<'_>,
        source: Archive,
        platform: Option<String>,
        progress: Option<Py<PyAny>>,
    ) -> PyResult<Vec<PyImage>> {
        let engine = self.engine(py)?;
        let options = image_store::load_options(platform);
        let images =
            told(py, progress, |sink, cancel| engine.images().load(source.0, &options, sink, cancel))?;
        Ok(images.into_iter().map(|summary| PyImage::new(engine, summary)).collect())
    }

    /// Makes an image of one layer from a root file system tar.
    #[pyo3(signature = (tar, reference=None, **options))]
    #[pyo3(
        text_signature = "($self, tar, reference=None, *, command=None, entrypoint=None, environment=None, working_dir=None, \
                             user=None, labels=None, message=None, author=None, changes=None, platform=None, progress=None)"
    )]
    fn import_rootfs(
        &self,
        py: Python<'_>,
        tar: Archive,
        reference: Option<&str>,
        options: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<PyImage> {
        let (mut import, mut hear) = (Import::default(), Hear::default());
        read("Images.import_rootfs", options, &mut [&mut import, &mut hear])?;
        let engine = self.engine(py)?;
        let options = import.options();
        let summary = told(py, hear.progress, |sink, cancel| {
            engine.images().import_rootfs(tar.0, reference, options, sink, cancel)
        })?;
        Ok(PyImage::new(engine, summary))
    }

    /// Makes an image of programs and files of the host, with the libraries that the programs need.
    #[pyo3(signature = (items, reference=None, **options))]
    #[pyo3(
        text_signature = "($self, items, reference=None, *, command=None, entrypoint=None, environment=None, working_dir=None, \
                             user=None, labels=None, message=None, author=None, changes=None, platform=None, progress=None)"
    )]
    #[expect(clippy::wrong_self_convention, reason = "it is what the operation is called")]
    fn from_host(
        &self,
        py: Python<'_>,
        items: Vec<Item>,
        reference: Option<&str>,
        options: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<PyImage> {
        let (mut import, mut hear) = (Import::default(), Hear::default());
        read("Images.from_host", options, &mut [&mut import, &mut hear])?;
        let engine = self.engine(py)?;
        let items: Vec<HostItem> = items.into_iter().map(|Item(item)| item).collect();
        let options = import.options();
        let summary = told(py, hear.progress, |sink, cancel| {
            engine.images().from_host(&items, reference, options, sink, cancel)
        })?;
        Ok(PyImage::new(engine, summary))
    }

    /// The images that meet all conditions, or all, newest first.
    #[pyo3(signature = (*, filters=None))]
    fn list(&self, py: Python<'_>, filters: Option<Filters>) -> PyResult<Vec<PyImage>> {
        let engine = self.engine(py)?;
        let filters = filters.unwrap_or_default().0;
        let images = quick(py, || engine.images().list(&filters))?;
        Ok(images.into_iter().map(|summary| PyImage::new(engine, summary)).collect())
    }

    /// The image with this reference, id, or unambiguous prefix of an id.
    #[pyo3(signature = (image, *, platform=None))]
    fn get(&self, py: Python<'_>, image: ImageName, platform: Option<&str>) -> PyResult<PyImage> {
        let engine = self.engine(py)?;
        let summary = quick(py, || match platform {
            Some(platform) => engine.images().get_platform(&image.0, platform),
            None => engine.images().get(&image.0),
        })?;
        Ok(PyImage::new(engine, summary))
    }

    /// Everything about an image.
    fn inspect(&self, py: Python<'_>, image: ImageName) -> PyResult<ImageDetails> {
        let engine = self.engine(py)?;
        quick(py, || engine.images().inspect(&image.0)).map(ImageDetails)
    }

    /// Everything about an image as docker image inspect has it.
    fn inspect_docker(&self, py: Python<'_>, image: ImageName) -> PyResult<Py<PyAny>> {
        let engine = self.engine(py)?;
        plain(py, &quick(py, || engine.images().inspect_docker(&image.0))?)
    }

    /// How an image was made, newest step first.
    fn history(&self, py: Python<'_>, image: ImageName) -> PyResult<Vec<HistoryEntry>> {
        let engine = self.engine(py)?;
        Ok(quick(py, || engine.images().history(&image.0))?.into_iter().map(HistoryEntry).collect())
    }

    /// Gives an image one more name.
    fn tag(&self, py: Python<'_>, image: ImageName, reference: &str) -> PyResult<()> {
        let engine = self.engine(py)?;
        quick(py, || engine.images().tag(&image.0, reference))
    }

    /// Takes a name away. The image stays.
    fn untag(&self, py: Python<'_>, reference: &str) -> PyResult<()> {
        let engine = self.engine(py)?;
        quick(py, || engine.images().untag(reference).map(drop))
    }

    /// Removes an image, or one of its names.
    #[pyo3(signature = (image, *, force=false))]
    fn remove(&self, py: Python<'_>, image: ImageName, force: bool) -> PyResult<Removed> {
        let engine = self.engine(py)?;
        quick(py, || engine.images().remove(&image.0, force)).map(Removed)
    }

    /// Saves images as an archive or a layout.
    #[pyo3(signature = (images, target, *, format=None, platform=None, progress=None))]
    fn save(
        &self,
        py: Python<'_>,
        images: Names,
        target: Target,
        format: Option<&str>,
        platform: Option<String>,
        progress: Option<Py<PyAny>>,
    ) -> PyResult<()> {
        image_store::save(py, self.engine(py)?, (images, target), (format, platform), progress)
    }

    /// What is different in one image's root file system against another's.
    fn diff(&self, py: Python<'_>, old: ImageName, new: ImageName) -> PyResult<Vec<PathChange>> {
        image_store::diff(py, self.engine(py)?, old, new)
    }

    /// Mounts an image's root file system read-only, where only this process sees it.
    fn mount(&self, py: Python<'_>, image: ImageName) -> PyResult<PyImageMount> {
        image_store::mount(py, self.engine(py)?, image)
    }

    /// Removes images that are not used.
    #[pyo3(signature = (*, all=false, filters=None, reserved_space=None, max_used_space=None, min_free_space=None))]
    fn prune(
        &self,
        py: Python<'_>,
        all: bool,
        filters: Option<Filters>,
        reserved_space: Option<Size>,
        max_used_space: Option<Size>,
        min_free_space: Option<Size>,
    ) -> PyResult<Pruned> {
        let spaces = [reserved_space, max_used_space, min_free_space];
        image_store::prune(py, self.engine(py)?, all, filters, spaces)
    }

    /// Nothing has to be cleared: what leads back here ends at the engine.
    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.engine)
    }

    fn __repr__(&self) -> &'static str {
        "<coble.Images>"
    }
}

/// An image. What its content fixes is read once; its names are looked up each time.
#[pyclass(frozen, name = "Image", module = "coble")]
pub(crate) struct PyImage {
    engine: Own<Engine>,
    summary: ImageSummary,
}

impl PyImage {
    pub(crate) fn new(engine: &Engine, summary: ImageSummary) -> PyImage {
        PyImage { engine: Own::new(engine.clone()), summary }
    }

    pub(crate) fn identity(&self) -> &str {
        &self.summary.id
    }

    fn engine(&self, py: Python<'_>) -> PyResult<&Engine> {
        self.engine.get().map_err(|error| to_py(py, error))
    }
}

#[pymethods]
impl PyImage {
    /// Digest of the configuration: what docker calls the image id.
    #[getter]
    fn id(&self) -> &str {
        &self.summary.id
    }

    /// The first 12 digits of the id.
    #[getter]
    fn short_id(&self) -> String {
        short(&self.summary.id)
    }

    /// Digest of the manifest.
    #[getter]
    fn digest(&self) -> &str {
        &self.summary.digest
    }

    /// The names that it has now.
    #[getter]
    fn references(&self, py: Python<'_>) -> PyResult<Vec<String>> {
        let engine = self.engine(py)?;
        Ok(quick(py, || engine.images().get(&self.summary.id))?.references)
    }

    /// What it is in registries, repository@digest, as far as is known now.
    #[getter]
    fn repo_digests(&self, py: Python<'_>) -> PyResult<Vec<String>> {
        let engine = self.engine(py)?;
        Ok(quick(py, || engine.images().get(&self.summary.id))?.repo_digests)
    }

    /// When it was made, RFC 3339, as the image says.
    #[getter]
    fn created(&self) -> Option<&str> {
        self.summary.created.as_deref()
    }

    /// Bytes of its blobs: manifest, configuration and compressed layers.
    #[getter]
    fn size(&self) -> u64 {
        self.summary.size
    }

    /// CPU architecture, in GOARCH words.
    #[getter]
    fn architecture(&self) -> &str {
        &self.summary.architecture
    }

    /// Operating system, in GOOS words.
    #[getter]
    fn os(&self) -> &str {
        &self.summary.os
    }

    /// Variant of the architecture, such as v7.
    #[getter]
    fn variant(&self) -> Option<&str> {
        self.summary.variant.as_deref()
    }

    /// Version of the operating system that it is made for.
    #[getter]
    fn os_version(&self) -> Option<&str> {
        self.summary.os_version.as_deref()
    }

    /// What the operating system has to be able to do for it.
    #[getter]
    fn os_features(&self) -> Vec<String> {
        self.summary.os_features.clone()
    }

    /// Labels of the configuration.
    #[getter]
    fn labels(&self) -> BTreeMap<String, String> {
        self.summary.labels.clone()
    }

    /// What its layers have that could not be kept: known to the call that unpacked them.
    #[getter]
    fn warnings(&self) -> Vec<Warning> {
        self.summary.warnings.iter().cloned().map(Warning).collect()
    }

    /// Everything about it.
    fn inspect(&self, py: Python<'_>) -> PyResult<ImageDetails> {
        let engine = self.engine(py)?;
        quick(py, || engine.images().inspect(&self.summary.id)).map(ImageDetails)
    }

    /// Everything about it as docker image inspect has it.
    fn inspect_docker(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let engine = self.engine(py)?;
        plain(py, &quick(py, || engine.images().inspect_docker(&self.summary.id))?)
    }

    /// How it was made, newest step first.
    fn history(&self, py: Python<'_>) -> PyResult<Vec<HistoryEntry>> {
        let engine = self.engine(py)?;
        Ok(quick(py, || engine.images().history(&self.summary.id))?.into_iter().map(HistoryEntry).collect())
    }

    /// Gives it one more name.
    fn tag(&self, py: Python<'_>, reference: &str) -> PyResult<()> {
        let engine = self.engine(py)?;
        quick(py, || engine.images().tag(&self.summary.id, reference))
    }

    /// Deletes it; with several names only with force.
    #[pyo3(signature = (*, force=false))]
    fn remove(&self, py: Python<'_>, force: bool) -> PyResult<Removed> {
        let engine = self.engine(py)?;
        quick(py, || engine.images().remove(&self.summary.id, force)).map(Removed)
    }

    fn __eq__(&self, other: &Bound<'_, PyAny>) -> bool {
        other.cast::<PyImage>().is_ok_and(|other| other.get().summary.id == self.summary.id)
    }

    fn __hash__(&self, py: Python<'_>) -> PyResult<isize> {
        pyo3::types::PyString::new(py, &self.summary.id).hash()
    }

    fn __repr__(&self) -> String {
        let name = self.summary.references.first().map_or("", String::as_str);
        format!("<coble.Image {} {name:?}>", short(&self.summary.id))
    }
}

/// The first 12 digits of an id or digest.
pub(crate) fn short(id: &str) -> String {
    id.rsplit(':').next().unwrap_or(id).chars().take(12).collect()
}
