//! What is mounted into a container, as Python's callers give it: docker-py's forms.

use std::collections::BTreeMap;
use std::path::PathBuf;

use coble::{BindRecursive, MountKind, Propagation, parse};
use pyo3::prelude::*;
use pyo3::types::{PyMapping, PyString};

use crate::container::PyContainer;
use crate::convert::{Labels, Size, expected};
use crate::enter::quick;
use crate::errors::{invalid, to_py};
use crate::values::{plain, repr, word};
use crate::volume::PyVolume;

type Given<'a, 'py> = Borrowed<'a, 'py, PyAny>;

/// Something that is mounted into a container.
#[pyclass(frozen, eq, skip_from_py_object, name = "Mount", module = "coble")]
#[derive(Clone, PartialEq)]
pub(crate) struct PyMount(pub(crate) coble::Mount);

#[pymethods]
impl PyMount {
    #[new]
    #[pyo3(signature = (target, source=None, r#type="volume", read_only=false, *, propagation=None, recursive=None, create_source=false, tmpfs_size=None,
                        tmpfs_mode=None, no_copy=false, subpath=None, volume_labels=None, options=None))]
    #[allow(clippy::too_many_arguments)] // One word for each part of a mount, as docker-py has them.
    fn new(
        py: Python<'_>,
        target: PathText,
        source: Option<Source>,
        r#type: &str,
        read_only: bool,
        propagation: Option<&str>,
        recursive: Option<&str>,
        create_source: bool,
        tmpfs_size: Option<Size>,
        tmpfs_mode: Option<u32>,
        no_copy: bool,
        subpath: Option<String>,
        volume_labels: Option<Labels>,
        options: Option<Vec<String>>,
    ) -> PyResult<PyMount> {
        quick(py, || {
            let source = source.map(|source| source.text);
            let mut mount = coble::Mount::new(MountKind::parse(r#type)?, source, target.0);
            mount.read_only = read_only;
            if let Some(propagation) = propagation {
                mount.propagation = Propagation::parse(propagation)?;
            }
            if let Some(recursive) = recursive {
                mount.recursive = BindRecursive::parse(recursive)?;
            }
            mount.create_source = create_source;
            mount.tmpfs_size = tmpfs_size.map(|Size(bytes)| bytes);
            mount.tmpfs_mode = tmpfs_mode;
            mount.no_copy = no_copy;
            mount.subpath = subpath;
            mount.volume_labels = volume_labels.map(|Labels(all)| all).unwrap_or_default();
            mount.options = options.unwrap_or_default();
            Ok(PyMount(mount))
        })
    }

    /// "bind", "tmpfs" or "volume".
    #[getter]
    fn r#type(&self) -> String {
        word(&self.0.kind)
    }

    /// The directory or file of the host, or the name of the volume.
    #[getter]
    fn source(&self) -> Option<&str> {
        self.0.source.as_deref()
    }

    /// The place in the container.
    #[getter]
    fn target(&self) -> &str {
        &self.0.target
    }

    /// Whether nothing can be written to it.
    #[getter]
    fn read_only(&self) -> bool {
        self.0.read_only
    }

    /// What mounts on one side mean for the other.
    #[getter]
    fn propagation(&self) -> &'static str {
        self.0.propagation.name()
    }

    /// What becomes of what is mounted below the source.
    #[getter]
    fn recursive(&self) -> String {
        word(&self.0.recursive)
    }

    /// Whether a missing source is made.
    #[getter]
    fn create_source(&self) -> bool {
        self.0.create_source
    }

    /// The most bytes of a tmpfs.
    #[getter]
    fn tmpfs_size(&self) -> Option<u64> {
        self.0.tmpfs_size
    }

    /// Permission bits of a tmpfs.
    #[getter]
    fn tmpfs_mode(&self) -> Option<u32> {
        self.0.tmpfs_mode
    }

    /// Whether what the image has at the target is not copied to an empty volume.
    #[getter]
    fn no_copy(&self) -> bool {
        self.0.no_copy
    }

    /// What of a volume is mounted.
    #[getter]
    fn subpath(&self) -> Option<&str> {
        self.0.subpath.as_deref()
    }

    /// Labels of a volume that is made for the mount.
    #[getter]
    fn volume_labels(&self) -> BTreeMap<String, String> {
        self.0.volume_labels.clone()
    }

    /// Further options.
    #[getter]
    fn options(&self) -> Vec<String> {
        self.0.options.clone()
    }

    /// The same as plain values.
    fn to_dict(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        plain(py, &self.0)
    }

    fn __repr__(slf: &Bound<'_, Self>) -> PyResult<String> {
        repr(slf.as_any(), "Mount", &["type", "source", "target", "read_only"])
    }
}

/// A path that has to be text.
pub(crate) struct PathText(pub(crate) String);

impl<'py> FromPyObject<'_, 'py> for PathText {
    type Error = PyErr;

    fn extract(given: Given<'_, 'py>) -> PyResult<PathText> {
        let path: PathBuf = given.extract().map_err(|_| expected("a str or a path", given))?;
        let text = path.into_os_string().into_string();
        text.map(PathText).map_err(|_| invalid(given.py(), "a path is not UTF-8"))
    }
}

/// Where a mount comes from.
struct Source {
    text: String,
    /// It was given as a path, and not as text, which may be the name of a volume.
    is_path: bool,
}

impl<'py> FromPyObject<'_, 'py> for Source {
    type Error = PyErr;

    fn extract(given: Given<'_, 'py>) -> PyResult<Source> {
        if let Ok(volume) = given.cast::<PyVolume>() {
            return Ok(Source { text: volume.get().known().to_owned(), is_path: false });
        }
        let PathText(text) = given.extract()?;
        let is_path = !given.is_instance_of::<PyString>();
        if !is_path || text.is_empty() || text.starts_with('/') {
            return Ok(Source { text, is_path });
        }
        // pathlib drops the "./" that tells a path from the name of a volume.
        let failed = |error| to_py(given.py(), coble::Error::io("getcwd", ".", &error));
        let absolute = std::path::absolute(&text).map_err(failed)?.into_os_string().into_string();
        let text = absolute.map_err(|_| invalid(given.py(), "the working directory is not UTF-8"))?;
        Ok(Source { text, is_path })
    }
}

/// `{source: {"bind": target, "mode": "ro"}}`, `{source: target}`, or a sequence of `source:target:options`.
#[derive(Default)]
pub(crate) struct Volumes(pub(crate) Vec<coble::Mount>);

impl<'py> FromPyObject<'_, 'py> for Volumes {
    type Error = PyErr;

    fn extract(given: Given<'_, 'py>) -> PyResult<Volumes> {
        let what = "a mapping of paths to {\"bind\": path, \"mode\": str}, or a sequence of str";
        let engine = |error| to_py(given.py(), error);
        let Ok(mapping) = given.cast::<PyMapping>() else {
            return texts(given, what, parse::volume).map(Volumes);
        };
        let mut mounts = Vec::new();
        for item in mapping.items()?.iter() {
            let (source, value): (Source, Bound<'py, PyAny>) = item.extract()?;
            let (target, options) = match value.cast::<PyMapping>() {
                Ok(value) => details(given, value)?,
                Err(_) => (value.extract::<PathText>()?.0, String::new()),
            };
            let mount = if source.is_path || source.text.starts_with('/') {
                parse::bind(&source.text, &target, &options)
            } else {
                // Relative to something, or a name.
                parse::volume(&format!("{}:{target}:{options}", source.text))
            };
            mounts.push(mount.map_err(engine)?);
        }
        Ok(Volumes(mounts))
    }
}

/// The containers whose volumes are mounted, too: each by its name, or as a [`PyContainer`].
#[derive(Default)]
pub(crate) struct Sources(pub(crate) Vec<String>);

impl<'py> FromPyObject<'_, 'py> for Sources {
    type Error = PyErr;

    fn extract(given: Given<'_, 'py>) -> PyResult<Sources> {
        let wrong = || expected("a sequence of Container or str", given);
        if given.is_instance_of::<PyString>() {
            return Err(wrong());
        }
        let items: Vec<Bound<'py, PyAny>> = given.extract().map_err(|_: PyErr| wrong())?;
        let name = |item: &Bound<'py, PyAny>| match item.cast::<PyContainer>() {
            Ok(container) => Ok(container.get().identity().to_owned()),
            Err(_) => item.extract().map_err(|_: PyErr| wrong()),
        };
        items.iter().map(name).collect::<PyResult<_>>().map(Sources)
    }
}

/// The target and the options of one entry.
fn details(given: Given<'_, '_>, value: &Bound<'_, PyMapping>) -> PyResult<(String, String)> {
    let (mut target, mut words) = (None, Vec::new());
    for item in value.items()?.iter() {
        let (key, value): (String, Bound<'_, PyAny>) = item.extract()?;
        match key.as_str() {
            "bind" => target = Some(value.extract::<PathText>()?.0),
            "mode" | "propagation" => words.push(value.extract::<String>()?),
            "ro" => words.push(if value.is_truthy()? { "ro" } else { "rw" }.to_owned()),
            _ => return Err(invalid(given.py(), format!("a volume has no \"{}\"", key.escape_default()))),
        }
    }
    let target = target.ok_or_else(|| invalid(given.py(), "a volume has no \"bind\""))?;
    Ok((target, words.join(",")))
}

fn texts(
    given: Given<'_, '_>,
    what: &str,
    read: fn(&str) -> coble::Result<coble::Mount>,
) -> PyResult<Vec<coble::Mount>> {
    if given.is_instance_of::<PyString>() {
        return Err(expected(what, given));
    }
    let texts: Vec<String> = given.extract().map_err(|_: PyErr| expected(what, given))?;
    texts.iter().map(|text| read(text).map_err(|error| to_py(given.py(), error))).collect()
}

/// A sequence of mounts, each an object or a text of `key=value,...`.
#[derive(Default)]
pub(crate) struct Mounts(pub(crate) Vec<coble::Mount>);

impl<'py> FromPyObject<'_, 'py> for Mounts {
    type Error = PyErr;

    fn extract(given: Given<'_, 'py>) -> PyResult<Mounts> {
        let wrong = || expected("a sequence of Mount or str", given);
        if given.is_instance_of::<PyString>() {
            return Err(wrong());
        }
        let items: Vec<Bound<'py, PyAny>> = given.extract().map_err(|_: PyErr| wrong())?;
        let mut mounts = Vec::with_capacity(items.len());
        for item in items {
            mounts.push(match item.cast::<PyMount>() {
                Ok(mount) => mount.get().0.clone(),
                Err(_) => {
                    let text: String = item.extract().map_err(|_: PyErr| wrong())?;
                    parse::mount(&text).map_err(|error| to_py(given.py(), error))?
                }
            });
        }
        Ok(Mounts(mounts))
    }
}

/// `{target: options}`, or a sequence of `target` or `target:options`.
#[derive(Default)]
pub(crate) struct Tmpfs(pub(crate) Vec<coble::Mount>);

impl<'py> FromPyObject<'_, 'py> for Tmpfs {
    type Error = PyErr;

    fn extract(given: Given<'_, 'py>) -> PyResult<Tmpfs> {
        let what = "a mapping of paths to str, or a sequence of str";
        let Ok(mapping) = given.cast::<PyMapping>() else {
            return texts(given, what, parse::tmpfs).map(Tmpfs);
        };
        let mut mounts = Vec::new();
        for item in mapping.items()?.iter() {
            let (PathText(target), options): (PathText, Option<String>) = item.extract()?;
            let mount = parse::tmpfs_options(&target, &options.unwrap_or_default());
            mounts.push(mount.map_err(|error| to_py(given.py(), error))?);
        }
        Ok(Tmpfs(mounts))
    }
}
