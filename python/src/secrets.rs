//! Secrets of containers, as Python's callers give them.

use coble::Secret;
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyMapping, PyString};

use crate::convert::{Input, expected};
use crate::errors::to_py;
use crate::mounts::PathText;
use crate::values::{plain, repr};

type Given<'a, 'py> = Borrowed<'a, 'py, PyAny>;

/// A file of a container whose content is kept in memory alone.
#[pyclass(frozen, eq, skip_from_py_object, name = "Secret", module = "coble")]
#[derive(Clone, PartialEq)]
pub(crate) struct PySecret(pub(crate) Secret);

#[pymethods]
impl PySecret {
    #[new]
    #[pyo3(signature = (name, value=None, *, file=None, environment=None, target=None, uid=0, gid=0, mode=0o444))]
    #[allow(clippy::too_many_arguments)] // One word for each part of a secret.
    fn new(
        name: String,
        value: Option<Input>,
        file: Option<PathText>,
        environment: Option<String>,
        target: Option<PathText>,
        uid: u32,
        gid: u32,
        mode: u32,
    ) -> PyResult<PySecret> {
        let mut secret = match (value, file, environment) {
            (Some(Input(bytes)), None, None) => Secret::of_bytes(name, bytes),
            (None, Some(PathText(path)), None) => Secret::of_file(name, path),
            (None, None, Some(variable)) => Secret::of_environment(name, variable),
            _ => return Err(PyTypeError::new_err("a secret has one of value, file and environment")),
        };
        secret.target = target.map(|PathText(path)| path);
        (secret.uid, secret.gid, secret.mode) = (uid, gid, mode);
        Ok(PySecret(secret))
    }

    /// Its name.
    #[getter]
    fn name(&self) -> &str {
        &self.0.name
    }

    /// The place in the container.
    #[getter]
    fn target(&self) -> Option<&str> {
        self.0.target.as_deref()
    }

    /// Owner in the container.
    #[getter]
    fn uid(&self) -> u32 {
        self.0.uid
    }

    /// Group in the container.
    #[getter]
    fn gid(&self) -> u32 {
        self.0.gid
    }

    /// Permission bits.
    #[getter]
    fn mode(&self) -> u32 {
        self.0.mode
    }

    /// The file of the host that it comes from.
    #[getter]
    fn file(&self) -> Option<&str> {
        self.0.file.as_deref()
    }

    /// The variable of the environment that it comes from.
    #[getter]
    fn environment(&self) -> Option<&str> {
        self.0.environment.as_deref()
    }

    /// The same as plain values.
    fn to_dict(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        plain(py, &self.0)
    }

    fn __repr__(slf: &Bound<'_, Self>) -> PyResult<String> {
        repr(slf.as_any(), "Secret", &["name", "target", "file", "environment"])
    }
}

/// A mapping of names to bytes or texts, or a sequence of [`PySecret`] or of texts as the command has them.
#[derive(Default)]
pub(crate) struct Secrets(pub(crate) Vec<Secret>);

impl<'py> FromPyObject<'_, 'py> for Secrets {
    type Error = PyErr;

    fn extract(given: Given<'_, 'py>) -> PyResult<Secrets> {
        let py = given.py();
        // Nothing of what was given is in the error.
        let wrong =
            |_: PyErr| expected("a mapping of str to bytes or str, or a sequence of Secret or str", given);
        if let Ok(mapping) = given.cast::<PyMapping>() {
            let pairs: Vec<(String, Input)> = mapping.items()?.extract().map_err(wrong)?;
            let secrets = pairs.into_iter().map(|(name, Input(bytes))| Secret::of_bytes(name, bytes));
            return Ok(Secrets(secrets.collect()));
        }
        if given.is_instance_of::<PyString>() {
            return Err(expected("a mapping of str to bytes or str, or a sequence of Secret or str", given));
        }
        let items: Vec<Bound<'py, PyAny>> = given.extract().map_err(wrong)?;
        let one = |item: &Bound<'py, PyAny>| match item.cast::<PySecret>() {
            Ok(secret) => Ok(secret.get().0.clone()),
            Err(_) => {
                let text: String = item.extract().map_err(wrong)?;
                Secret::parse(&text, None).map_err(|error| to_py(py, error))
            }
        };
        items.iter().map(one).collect::<PyResult<_>>().map(Secrets)
    }
}
