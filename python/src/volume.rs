//! `engine.volumes` and one volume.

use std::collections::BTreeMap;
use std::path::PathBuf;

use coble::{Engine, Volume, VolumeOptions, VolumePruneOptions, VolumeSummary};
use pyo3::prelude::*;

use crate::convert::{Labels, Parameters, Tar};
use crate::engine::PyEngine;
use crate::enter::{Own, blocking, quick};
use crate::errors::to_py;
use crate::image_store::{Filters, Target};
use crate::values::{Exported, VolumeDetails, VolumesPruned, plain};

/// The volumes of an engine.
#[pyclass(frozen, name = "Volumes", module = "coble")]
pub(crate) struct PyVolumes {
    pub(crate) engine: Py<PyEngine>,
}

impl PyVolumes {
    fn engine(&self, py: Python<'_>) -> PyResult<&Engine> {
        self.engine.get().engine(py)
    }
}

/// A volume, or its name.
pub(crate) struct VolumeName(pub(crate) String);

impl<'py> FromPyObject<'_, 'py> for VolumeName {
    type Error = PyErr;

    fn extract(given: Borrowed<'_, 'py, PyAny>) -> PyResult<VolumeName> {
        if let Ok(volume) = given.cast::<PyVolume>() {
            return Ok(VolumeName(volume.get().summary.name.clone()));
        }
        given
            .extract()
            .map(VolumeName)
            .map_err(|_: PyErr| crate::convert::expected("a Volume or a str", given))
    }
}

#[pymethods]
impl PyVolumes {
    /// Makes a volume, or returns the one that has the name.
    #[pyo3(signature = (name=None, *, driver=None, driver_opts=None, labels=None))]
    fn create(
        &self,
        py: Python<'_>,
        name: Option<String>,
        driver: Option<String>,
        driver_opts: Option<Parameters>,
        labels: Option<Labels>,
    ) -> PyResult<PyVolume> {
        let engine = self.engine(py)?;
        let mut options = VolumeOptions::default();
        options.name = name;
        options.driver = driver;
        options.driver_opts = driver_opts.map(|Parameters(all)| all).unwrap_or_default();
        options.labels = labels.map(|Labels(all)| all).unwrap_or_default();
        let summary = quick(py, || {
            loop {
                match engine.volumes().create(&options)?.inspect() {
                    // Somebody else has removed it since.
                    Err(error) if error.kind() == coble::ErrorKind::VolumeNotFound => {}
                    made => return Ok(made?.summary),
                }
            }
        })?;
        Ok(PyVolume::new(engine, summary))
    }

    /// The volume with this name.
    fn get(&self, py: Python<'_>, name: &str) -> PyResult<PyVolume> {
        let engine = self.engine(py)?;
        let summary = quick(py, || Ok(engine.volumes().get(name)?.inspect()?.summary))?;
        Ok(PyVolume::new(engine, summary))
    }

    /// The volumes that meet conditions, by name.
    #[pyo3(signature = (*, filters=None))]
    fn list(&self, py: Python<'_>, filters: Option<Filters>) -> PyResult<Vec<PyVolume>> {
        let engine = self.engine(py)?;
        let filters = filters.unwrap_or_default().0;
        let found = quick(py, || engine.volumes().list(&filters))?;
        Ok(found.into_iter().map(|summary| PyVolume::new(engine, summary)).collect())
    }

    /// Everything about a volume.
    fn inspect(&self, py: Python<'_>, name: VolumeName) -> PyResult<VolumeDetails> {
        let engine = self.engine(py)?;
        quick(py, || engine.volumes().get(&name.0)?.inspect()).map(VolumeDetails)
    }

    /// Removes a volume that nothing uses.
    #[pyo3(signature = (name, *, force=false))]
    fn remove(&self, py: Python<'_>, name: VolumeName, force: bool) -> PyResult<()> {
        let engine = self.engine(py)?;
        quick(py, || engine.volumes().remove(&name.0, force))
    }

    /// Removes the volumes that nothing uses: those that the engine has named, or all.
    #[pyo3(signature = (*, all=false, filters=None))]
    fn prune(&self, py: Python<'_>, all: bool, filters: Option<Filters>) -> PyResult<VolumesPruned> {
        let engine = self.engine(py)?;
        let mut options = VolumePruneOptions::default();
        options.all = all;
        options.filters = filters.unwrap_or_default().0;
        blocking(py, |cancel| engine.volumes().prune(&options, cancel)).map(VolumesPruned)
    }

    /// Makes a volume that has what another one has, in milliseconds.
    #[pyo3(signature = (source, name=None))]
    fn clone(&self, py: Python<'_>, source: VolumeName, name: Option<&str>) -> PyResult<PyVolume> {
        clone(py, self.engine(py)?, &source.0, name)
    }

    fn __repr__(&self) -> &'static str {
        "<coble.Volumes>"
    }
}

fn clone(py: Python<'_>, engine: &Engine, source: &str, name: Option<&str>) -> PyResult<PyVolume> {
    let made = |cancel: &coble::CancelToken| {
        Ok(engine.volumes().clone_volume(source, name, cancel)?.inspect()?.summary)
    };
    Ok(PyVolume::new(engine, blocking(py, made)?))
}

/// A volume. As a context manager it is removed at the end of the block.
#[pyclass(frozen, name = "Volume", module = "coble")]
pub(crate) struct PyVolume {
    engine: Own<Engine>,
    summary: VolumeSummary,
}

impl PyVolume {
    fn new(engine: &Engine, summary: VolumeSummary) -> PyVolume {
        PyVolume { engine: Own::new(engine.clone()), summary }
    }

    fn engine(&self, py: Python<'_>) -> PyResult<&Engine> {
        self.engine.get().map_err(|error| to_py(py, error))
    }

    pub(crate) fn known(&self) -> &str {
        &self.summary.name
    }

    fn volume<'a>(&'a self, engine: &'a Engine) -> coble::Result<Volume> {
        engine.volumes().get(&self.summary.name)
    }
}

#[pymethods]
impl PyVolume {
    /// Its name.
    #[getter]
    fn name(&self) -> &str {
        &self.summary.name
    }

    /// "local".
    #[getter]
    fn driver(&self) -> &str {
        &self.summary.driver
    }

    /// Where its files are on the host. Of a clone only those that are not as its source has them.
    #[getter]
    fn mountpoint(&self) -> PathBuf {
        self.summary.mountpoint.clone()
    }

    /// When it was made, RFC 3339.
    #[getter]
    fn created(&self) -> &str {
        &self.summary.created
    }

    /// Labels.
    #[getter]
    fn labels(&self) -> BTreeMap<String, String> {
        self.summary.labels.clone()
    }

    /// Whether the engine has named it.
    #[getter]
    fn anonymous(&self) -> bool {
        self.summary.anonymous
    }

    /// The volume that it is a clone of.
    #[getter]
    fn source(&self) -> Option<&str> {
        self.summary.source.as_deref()
    }

    /// Everything about it.
    fn inspect(&self, py: Python<'_>) -> PyResult<VolumeDetails> {
        let engine = self.engine(py)?;
        quick(py, || self.volume(engine)?.inspect()).map(VolumeDetails)
    }

    /// Everything about it as docker volume inspect has it.
    fn inspect_docker(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let engine = self.engine(py)?;
        plain(py, &quick(py, || self.volume(engine)?.inspect_docker())?)
    }

    /// Removes it.
    #[pyo3(signature = (*, force=false))]
    fn remove(&self, py: Python<'_>, force: bool) -> PyResult<()> {
        let engine = self.engine(py)?;
        quick(py, || engine.volumes().remove(&self.summary.name, force))
    }

    /// Makes a volume that has what this one has, in milliseconds.
    #[pyo3(signature = (name=None))]
    fn clone(&self, py: Python<'_>, name: Option<&str>) -> PyResult<PyVolume> {
        clone(py, self.engine(py)?, &self.summary.name, name)
    }

    /// Writes what is in it as a tar.
    fn export(&self, py: Python<'_>, target: Target) -> PyResult<Exported> {
        let engine = self.engine(py)?;
        blocking(py, |cancel| self.volume(engine)?.export(target.0, cancel)).map(Exported)
    }

    /// Unpacks a tar in it.
    fn import_archive(&self, py: Python<'_>, archive: Tar) -> PyResult<Exported> {
        let engine = self.engine(py)?;
        blocking(py, |cancel| self.volume(engine)?.import(archive.0, cancel)).map(Exported)
    }

    fn __enter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    #[pyo3(signature = (exc_type=None, exc_value=None, traceback=None, /))]
    fn __exit__(
        &self,
        py: Python<'_>,
        exc_type: Option<&Bound<'_, PyAny>>,
        exc_value: Option<&Bound<'_, PyAny>>,
        traceback: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        let _ = (exc_type, traceback);
        self.remove(py, true).inspect_err(|error| {
            // Raised from here, the exception of the block would be lost.
            if let Some(value) = exc_value.filter(|value| !value.is_none()) {
                let _ = error.value(py).setattr("__context__", value);
            }
        })
    }

    fn __eq__(&self, other: &Bound<'_, PyAny>) -> bool {
        other.cast::<PyVolume>().is_ok_and(|other| other.get().summary.name == self.summary.name)
    }

    fn __hash__(&self, py: Python<'_>) -> PyResult<isize> {
        pyo3::types::PyString::new(py, &self.summary.name).hash()
    }

    fn __repr__(&self) -> String {
        format!("<coble.Volume {:?}>", self.summary.name)
    }
}
