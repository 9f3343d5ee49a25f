//! The image store: what `engine.images`, `engine` and a container do with images beside loading and running them.

use std::os::fd::{AsFd, AsRawFd};
use std::path::PathBuf;
use std::sync::Mutex;

use coble::{
    CommitOptions, Container, Engine, ImageMount, LoadOptions, PruneOptions, SaveFormat, SaveOptions, Sink,
};
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyInt, PyMapping, PyString};

use crate::convert::{ImageName, Size, descriptor, expected};
use crate::enter::{Own, blocking, lock};
use crate::errors::to_py;
use crate::image::PyImage;
use crate::progress::told;
use crate::values::{DiskUsage, Exported, PathChange, Pruned, Scrub};

/// Where an archive goes: a path, a descriptor, or an open file.
pub(crate) struct Target(pub(crate) Sink);

impl<'py> FromPyObject<'_, 'py> for Target {
    type Error = PyErr;

    fn extract(given: Borrowed<'_, 'py, PyAny>) -> PyResult<Target> {
        if given.is_instance_of::<PyInt>() || given.hasattr("fileno")? {
            return Ok(Target(Sink::Fd(descriptor(given)?)));
        }
        let path =
            given.extract().map_err(|_| expected("a path, a file descriptor or an open file", given))?;
        Ok(Target(Sink::Path(path)))
    }
}

/// Conditions: a mapping of keys to a value or a sequence of values, or `key=value` texts.
#[derive(Default)]
pub(crate) struct Filters(pub(crate) Vec<String>);

impl<'py> FromPyObject<'_, 'py> for Filters {
    type Error = PyErr;

    fn extract(given: Borrowed<'_, 'py, PyAny>) -> PyResult<Filters> {
        let Ok(mapping) = given.cast::<PyMapping>() else {
            return given
                .extract()
                .map(Filters)
                .map_err(|_: PyErr| expected("a mapping, or a sequence of \"key=value\"", given));
        };
        let mut filters = Vec::new();
        for item in mapping.items()?.iter() {
            let (key, value): (String, Bound<'py, PyAny>) = item.extract()?;
            let mut add = |value: &Bound<'py, PyAny>| -> PyResult<()> {
                let text = if value.is_instance_of::<PyBool>() {
                    if value.is_truthy()? { "true".to_owned() } else { "false".to_owned() }
                } else {
                    value.str()?.extract()?
                };
                filters.push(format!("{key}={text}"));
                Ok(())
            };
            if value.is_instance_of::<PyString>()
                || value.is_instance_of::<PyBool>()
                || value.is_instance_of::<PyInt>()
            {
                add(&value)?;
            } else {
                for value in value.try_iter()? {
                    add(&value?)?;
                }
            }
        }
        Ok(Filters(filters))
    }
}

/// One image, or several.
pub(crate) struct Names(Vec<String>);

impl<'py> FromPyObject<'_, 'py> for Names {
    type Error = PyErr;

    fn extract(given: Borrowed<'_, 'py, PyAny>) -> PyResult<Names> {
        if let Ok(ImageName(name)) = given.extract() {
            return Ok(Names(vec![name]));
        }
        let names: Vec<ImageName> =
            given.extract().map_err(|_: PyErr| expected("an image, or a sequence of images", given))?;
        Ok(Names(names.into_iter().map(|ImageName(name)| name).collect()))
    }
}

pub(crate) fn load_options(platform: Option<String>) -> LoadOptions {
    let mut options = LoadOptions::default();
    options.platform = platform;
    options
}

pub(crate) fn save(
    py: Python<'_>,
    engine: &Engine,
    (images, target): (Names, Target),
    (format, platform): (Option<&str>, Option<String>),
    progress: Option<Py<PyAny>>,
) -> PyResult<()> {
    let mut options = SaveOptions::default();
    if let Some(format) = format {
        options.format = SaveFormat::parse(format).map_err(|error| to_py(py, error))?;
    }
    options.platform = platform;
    told(py, progress, |sink, cancel| {
        let names: Vec<&str> = images.0.iter().map(String::as_str).collect();
        engine.images().save(&names, target.0, &options, sink, cancel)
    })
}

pub(crate) fn diff(
    py: Python<'_>,
    engine: &Engine,
    old: ImageName,
    new: ImageName,
) -> PyResult<Vec<PathChange>> {
    let found = blocking(py, |cancel| engine.images().diff(&old.0, &new.0, cancel))?;
    Ok(found.into_iter().map(PathChange).collect())
}

pub(crate) fn mount(py: Python<'_>, engine: &Engine, image: ImageName) -> PyResult<PyImageMount> {
    let mount = blocking(py, |cancel| engine.images().mount(&image.0, cancel))?;
    Ok(PyImageMount(Mutex::new(Some(Own::new(mount)))))
}

pub(crate) fn prune(
    py: Python<'_>,
    engine: &Engine,
    all: bool,
    filters: Option<Filters>,
    spaces: [Option<Size>; 3],
) -> PyResult<Pruned> {
    let mut options = PruneOptions::default();
    options.all = all;
    options.filters = filters.unwrap_or_default().0;
    let [reserved, max_used, min_free] = spaces.map(|space| space.map(|Size(bytes)| bytes));
    options.reserved = reserved;
    options.max_used = max_used;
    options.min_free = min_free;
    blocking(py, |cancel| engine.images().prune(&options, cancel)).map(Pruned)
}

pub(crate) fn disk_usage(py: Python<'_>, engine: &Engine) -> PyResult<DiskUsage> {
    blocking(py, |cancel| engine.disk_usage(cancel)).map(DiskUsage)
}

pub(crate) fn scrub(
    py: Python<'_>,
    engine: &Engine,
    repair: bool,
    progress: Option<Py<PyAny>>,
) -> PyResult<Scrub> {
    told(py, progress, |sink, cancel| engine.scrub(repair, sink, cancel)).map(Scrub)
}

/// Finds the container that a call is about.
pub(crate) trait Find<'a>: FnOnce() -> coble::Result<&'a Container> + Send {}

impl<'a, F: FnOnce() -> coble::Result<&'a Container> + Send> Find<'a> for F {}

pub(crate) fn export<'a>(
    py: Python<'_>,
    find: impl Find<'a>,
    target: Target,
    progress: Option<Py<PyAny>>,
) -> PyResult<Exported> {
    told(py, progress, |sink, cancel| find()?.export(target.0, sink, cancel)).map(Exported)
}

pub(crate) fn container_diff<'a>(py: Python<'_>, find: impl Find<'a>) -> PyResult<Vec<PathChange>> {
    let found = blocking(py, |cancel| find()?.diff(cancel))?;
    Ok(found.into_iter().map(PathChange).collect())
}

/// The options of a commit, as they come.
pub(crate) struct Commit {
    pub(crate) changes: Option<Vec<String>>,
    pub(crate) author: Option<String>,
    pub(crate) message: Option<String>,
    pub(crate) pause: bool,
    pub(crate) compression: Option<String>,
    pub(crate) progress: Option<Py<PyAny>>,
}

pub(crate) fn commit<'a>(
    py: Python<'_>,
    engine: &Engine,
    find: impl Find<'a>,
    reference: Option<&str>,
    given: Commit,
) -> PyResult<PyImage> {
    let mut options = CommitOptions::default();
    options.changes = given.changes.unwrap_or_default();
    options.author = given.author;
    options.message = given.message;
    options.pause = given.pause;
    options.compression = given.compression;
    let summary = told(py, given.progress, |sink, cancel| find()?.commit(reference, &options, sink, cancel))?;
    Ok(PyImage::new(engine, summary))
}

/// An image's root file system, mounted read-only where only this process sees it. A context manager, whose value is the path.
#[pyclass(frozen, name = "ImageMount", module = "coble")]
pub(crate) struct PyImageMount(Mutex<Option<Own<ImageMount>>>);

impl PyImageMount {
    fn with<T>(&self, py: Python<'_>, get: impl FnOnce(&ImageMount) -> T) -> PyResult<T> {
        let mount = lock(&self.0);
        let closed = || coble::Error::new(coble::ErrorKind::Closed, "the mount is closed");
        match &*mount {
            Some(mount) => mount.get().map(get).map_err(|error| to_py(py, error)),
            None => Err(to_py(py, closed())),
        }
    }
}

#[pymethods]
impl PyImageMount {
    /// A path to the root that this process can use until it is closed: /proc/self/fd/...
    #[getter]
    fn path(&self, py: Python<'_>) -> PyResult<PathBuf> {
        self.with(py, ImageMount::path)
    }

    /// The descriptor of the root directory, for os.open(..., dir_fd=...) and the like. It belongs to the mount.
    fn fileno(&self, py: Python<'_>) -> PyResult<i32> {
        self.with(py, |mount| mount.as_fd().as_raw_fd())
    }

    /// Unmounts. Closing again does nothing.
    fn close(&self) {
        let mount = lock(&self.0).take();
        drop(mount);
    }

    fn __enter__(&self, py: Python<'_>) -> PyResult<PathBuf> {
        self.path(py)
    }

    #[pyo3(signature = (exc_type=None, exc_value=None, traceback=None, /))]
    fn __exit__(
        &self,
        exc_type: Option<&Bound<'_, PyAny>>,
        exc_value: Option<&Bound<'_, PyAny>>,
        traceback: Option<&Bound<'_, PyAny>>,
    ) {
        let _ = (exc_type, exc_value, traceback);
        self.close();
    }

    fn __repr__(&self) -> String {
        let open = lock(&self.0).is_some();
        format!("<coble.ImageMount {}>", if open { "open" } else { "closed" })
    }
}
