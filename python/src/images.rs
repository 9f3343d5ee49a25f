//! Images.

use coble::{HostItem, ImageSummary, Source};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyString, PyTuple};

use crate::args::{ImportArgs, image_name};
use crate::convert;
use crate::engine::Shared;
use crate::enter::{block, duplicate, quick};
use crate::errors::raise;
use crate::results::{HistoryEntry, ImageDetails, Removed};
use crate::streams::descriptor;

/// The images of an engine.
#[pyclass(frozen, module = "coble")]
pub(crate) struct Images(Shared);

/// An image of the store, as it was when it was looked up.
#[pyclass(frozen, module = "coble")]
pub(crate) struct Image {
    engine: Shared,
    summary: ImageSummary,
}

/// A path, or something open with a `fileno`.
fn source(value: &Bound<'_, PyAny>) -> PyResult<Source> {
    if value.hasattr("fileno")? {
        let fd = duplicate(descriptor(value)?);
        return Ok(Source::Fd(fd.map_err(|error| raise(value.py(), error))?));
    }
    convert::path(value).map(Source::Path)
}

/// A path, a name, `source:target`, or a pair of paths.
fn host_item(value: &Bound<'_, PyAny>) -> PyResult<HostItem> {
    if let Ok(text) = value.cast::<PyString>() {
        let text: String = text.extract()?;
        return Ok(HostItem::from(text.as_str()));
    }
    if let Ok(pair) = value.cast::<PyTuple>() {
        if pair.len() != 2 {
            return Err(PyTypeError::new_err("expected a pair of source and target"));
        }
        let (source, target) = (convert::path(&pair.get_item(0)?)?, convert::path(&pair.get_item(1)?)?);
        return Ok(HostItem { source, target: Some(target) });
    }
    Ok(HostItem { source: convert::path(value)?, target: None })
}

impl Images {
    pub(crate) fn new(engine: Shared) -> Images {
        Images(engine)
    }

    fn wrap(&self, summary: ImageSummary) -> Image {
        Image { engine: self.0.clone(), summary }
    }
}

#[pymethods]
impl Images {
    /// Loads images from a docker-archive tar, or an OCI image layout (directory or tar). The tar may be compressed, and an open file.
    fn load(&self, py: Python<'_>, archive: &Bound<'_, PyAny>) -> PyResult<Vec<Image>> {
        let (engine, source) = (self.0.get_for(py)?, source(archive)?);
        let loaded = block(py, |cancel| engine.images().load(source, cancel))?;
        Ok(loaded.into_iter().map(|summary| self.wrap(summary)).collect())
    }

    /// Makes an image of one layer from a root file system tar, plain or compressed with gzip, zstd, bzip2 or xz.
    #[pyo3(signature = (
        archive, reference, *, command=None, entrypoint=None, environment=None, working_dir=None, user=None, labels=None,
        message=None,
    ))]
    #[allow(clippy::too_many_arguments)]
    fn import_rootfs<'py>(
        &self,
        py: Python<'py>,
        archive: &Bound<'py, PyAny>,
        reference: &str,
        command: Option<&Bound<'py, PyAny>>,
        entrypoint: Option<&Bound<'py, PyAny>>,
        environment: Option<&Bound<'py, PyAny>>,
        working_dir: Option<String>,
        user: Option<&Bound<'py, PyAny>>,
        labels: Option<&Bound<'py, PyAny>>,
        message: Option<String>,
    ) -> PyResult<Image> {
        let options =
            ImportArgs { command, entrypoint, environment, working_dir, user, labels, message }.options()?;
        let (engine, source) = (self.0.get_for(py)?, source(archive)?);
        block(py, |cancel| engine.images().import_rootfs(source, reference, options, cancel))
            .map(|summary| self.wrap(summary))
    }

    /// Makes an image of files of the host, with the interpreters and shared libraries that its programs need.
    #[pyo3(signature = (
        items, reference, *, command=None, entrypoint=None, environment=None, working_dir=None, user=None, labels=None,
        message=None,
    ))]
    #[allow(clippy::too_many_arguments)]
    fn from_host<'py>(
        &self,
        py: Python<'py>,
        items: &Bound<'py, PyAny>,
        reference: &str,
        command: Option<&Bound<'py, PyAny>>,
        entrypoint: Option<&Bound<'py, PyAny>>,
        environment: Option<&Bound<'py, PyAny>>,
        working_dir: Option<String>,
        user: Option<&Bound<'py, PyAny>>,
        labels: Option<&Bound<'py, PyAny>>,
        message: Option<String>,
    ) -> PyResult<Image> {
        if items.is_instance_of::<PyString>() {
            return Err(PyTypeError::new_err("expected a list of paths, not a string"));
        }
        let items: Vec<HostItem> =
            items.try_iter()?.map(|item| host_item(&item?)).collect::<PyResult<_>>()?;
        let options =
            ImportArgs { command, entrypoint, environment, working_dir, user, labels, message }.options()?;
        let engine = self.0.get_for(py)?;
        block(py, |cancel| engine.images().from_host(&items, reference, options, cancel))
            .map(|summary| self.wrap(summary))
    }

    /// All images, newest first.
    fn list(&self, py: Python<'_>) -> PyResult<Vec<Image>> {
        let engine = self.0.get_for(py)?;
        let images = quick(py, || engine.images().list())?;
        Ok(images.into_iter().map(|summary| self.wrap(summary)).collect())
    }

    /// The image with this reference, id, or unambiguous id prefix of at least four digits.
    fn get(&self, py: Python<'_>, image: &Bound<'_, PyAny>) -> PyResult<Image> {
        let (engine, image) = (self.0.get_for(py)?, image_name(image)?);
        quick(py, || engine.images().get(&image)).map(|summary| self.wrap(summary))
    }

    /// Everything about an image.
    fn inspect(&self, py: Python<'_>, image: &Bound<'_, PyAny>) -> PyResult<ImageDetails> {
        let (engine, image) = (self.0.get_for(py)?, image_name(image)?);
        ImageDetails::new(py, quick(py, || engine.images().inspect(&image))?)
    }

    /// How an image was made, newest step first.
    fn history(&self, py: Python<'_>, image: &Bound<'_, PyAny>) -> PyResult<Vec<HistoryEntry>> {
        let (engine, image) = (self.0.get_for(py)?, image_name(image)?);
        let entries = quick(py, || engine.images().history(&image))?;
        entries.into_iter().map(|entry| HistoryEntry::new(py, entry)).collect()
    }

    /// Gives an image one more name.
    fn tag(&self, py: Python<'_>, image: &Bound<'_, PyAny>, reference: &str) -> PyResult<()> {
        let (engine, image) = (self.0.get_for(py)?, image_name(image)?);
        quick(py, || engine.images().tag(&image, reference))
    }

    /// Takes a name away. The image stays, also without a name.
    fn untag(&self, py: Python<'_>, reference: &str) -> PyResult<()> {
        let engine = self.0.get_for(py)?;
        quick(py, || engine.images().untag(reference))
    }

    /// Removes an image. By reference: takes the name away, and deletes the image with its last name. By id: deletes it; one with several
    /// names only with `force`. An image that a container uses is refused with `InUseError`.
    #[pyo3(signature = (image, *, force=false))]
    fn remove(&self, py: Python<'_>, image: &Bound<'_, PyAny>, force: bool) -> PyResult<Removed> {
        let (engine, image) = (self.0.get_for(py)?, image_name(image)?);
        Removed::new(py, quick(py, || engine.images().remove(&image, force))?)
    }

    fn __repr__(&self) -> &'static str {
        "<coble.Images>"
    }
}

impl Image {
    /// The digest of the configuration.
    pub(crate) fn id(&self) -> &str {
        &self.summary.id
    }
}

#[pymethods]
impl Image {
    /// Digest of the configuration: what docker calls the image id.
    #[getter(id)]
    fn py_id(&self) -> &str {
        self.id()
    }

    /// The first twelve digits of the id.
    #[getter]
    fn short_id(&self) -> String {
        self.id().trim_start_matches("sha256:").chars().take(12).collect()
    }

    /// Digest of the manifest.
    #[getter]
    fn digest(&self) -> &str {
        &self.summary.digest
    }

    /// Canonical references that name it.
    #[getter]
    fn references(&self) -> Vec<String> {
        self.summary.references.clone()
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

    /// CPU architecture, such as `amd64`.
    #[getter]
    fn architecture(&self) -> &str {
        &self.summary.architecture
    }

    /// Operating system, such as `linux`.
    #[getter]
    fn os(&self) -> &str {
        &self.summary.os
    }

    /// Labels.
    #[getter]
    fn labels(&self) -> std::collections::BTreeMap<String, String> {
        self.summary.labels.clone()
    }

    /// Everything about the image.
    fn inspect(&self, py: Python<'_>) -> PyResult<ImageDetails> {
        let engine = self.engine.get_for(py)?;
        ImageDetails::new(py, quick(py, || engine.images().inspect(self.id()))?)
    }

    /// How the image was made, newest step first.
    fn history(&self, py: Python<'_>) -> PyResult<Vec<HistoryEntry>> {
        let engine = self.engine.get_for(py)?;
        let entries = quick(py, || engine.images().history(self.id()))?;
        entries.into_iter().map(|entry| HistoryEntry::new(py, entry)).collect()
    }

    /// Gives the image one more name.
    fn tag(&self, py: Python<'_>, reference: &str) -> PyResult<()> {
        let engine = self.engine.get_for(py)?;
        quick(py, || engine.images().tag(self.id(), reference))
    }

    /// Deletes the image; one with several names only with `force`.
    #[pyo3(signature = (*, force=false))]
    fn remove(&self, py: Python<'_>, force: bool) -> PyResult<Removed> {
        let engine = self.engine.get_for(py)?;
        Removed::new(py, quick(py, || engine.images().remove(self.id(), force))?)
    }

    fn __eq__(&self, other: &Bound<'_, Image>) -> bool {
        self.id() == other.get().id()
    }

    fn __hash__(&self) -> u64 {
        use std::hash::{DefaultHasher, Hash, Hasher};
        let mut hasher = DefaultHasher::new();
        self.id().hash(&mut hasher);
        hasher.finish()
    }

    fn __repr__(&self) -> String {
        format!("<coble.Image {} {:?}>", self.short_id(), self.summary.references)
    }
}
