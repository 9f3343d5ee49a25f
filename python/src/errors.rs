//! Exceptions: `CobleError` and one class for each kind of the engine, made from the engine's own table when the module is imported.

use std::collections::HashMap;

use coble::{Error, ErrorKind};
use pyo3::exceptions::{
    PyException, PyFileNotFoundError, PyLookupError, PyPermissionError, PyRuntimeError, PyTimeoutError,
    PyValueError,
};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyTuple, PyType};

use crate::results::RunResult;

struct Classes {
    base: Py<PyType>,
    by_code: HashMap<i32, Py<PyType>>,
}

static CLASSES: PyOnceLock<Classes> = PyOnceLock::new();

/// Classes of Python that a kind is one of too, by the kind's name. A kind that is not here is a `CobleError` and nothing else.
fn natural_parents<'py>(py: Python<'py>, kind: &str) -> Vec<Bound<'py, PyType>> {
    match kind {
        "Timeout" => vec![py.get_type::<PyTimeoutError>()],
        "PermissionDenied" => vec![py.get_type::<PyPermissionError>()],
        "PathNotFound" => vec![py.get_type::<PyFileNotFoundError>(), py.get_type::<PyLookupError>()],
        "InvalidArgument" | "InvalidReference" | "InvalidDigest" | "InvalidArchive" | "InvalidImage" => {
            vec![py.get_type::<PyValueError>()]
        }
        "InvalidState" | "Closed" => vec![py.get_type::<PyRuntimeError>()],
        _ if kind.ends_with("NotFound") => vec![py.get_type::<PyLookupError>()],
        _ => Vec::new(),
    }
}

fn make_class<'py>(
    py: Python<'py>,
    name: &str,
    doc: &str,
    bases: Vec<Bound<'py, PyType>>,
    members: &[(&str, Py<PyAny>)],
) -> PyResult<Bound<'py, PyType>> {
    let dict = PyDict::new(py);
    dict.set_item("__module__", "coble")?;
    dict.set_item("__doc__", doc)?;
    for (member, value) in members {
        dict.set_item(member, value)?;
    }
    let class = py.get_type::<PyType>().call1((name, PyTuple::new(py, bases)?, dict))?;
    Ok(class.cast_into::<PyType>()?)
}

/// Makes the classes and puts them into the module.
pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let py = module.py();
    let none = || py.None();
    let base = make_class(
        py,
        "CobleError",
        "Any error of coble. There is one class below it for each kind.",
        vec![py.get_type::<PyException>()],
        &[
            ("kind", "Internal".into_pyobject(py)?.into_any().unbind()),
            ("code", ErrorKind::Internal.code().into_pyobject(py)?.into_any().unbind()),
            ("errno", none()),
            ("hint", none()),
            ("object", none()),
            ("context", PyTuple::empty(py).into_any().unbind()),
        ],
    )?;
    module.add("CobleError", &base)?;
    let mut by_code = HashMap::new();
    let mut names = Vec::new();
    for kind in ErrorKind::ALL {
        let name = format!("{}Error", kind.name());
        let mut bases = vec![base.clone()];
        bases.extend(natural_parents(py, kind.name()));
        let members = [
            ("kind", kind.name().into_pyobject(py)?.into_any().unbind()),
            ("code", kind.code().into_pyobject(py)?.into_any().unbind()),
        ];
        let class = make_class(py, &name, kind.description(), bases, &members)?;
        module.add(name.as_str(), &class)?;
        by_code.insert(kind.code(), class.unbind());
        names.push(name);
    }
    module.add("ERROR_NAMES", PyTuple::new(py, names)?)?;
    // A second import in the same process has made the same classes again; the first ones count.
    let _ = CLASSES.set(py, Classes { base: base.unbind(), by_code });
    Ok(())
}

/// The exception of an error of the engine.
pub(crate) fn raise(py: Python<'_>, error: Error) -> PyErr {
    exception(py, error).unwrap_or_else(|failure| failure)
}

fn exception(py: Python<'_>, error: Error) -> PyResult<PyErr> {
    let Some(classes) = CLASSES.get(py) else {
        return Ok(PyRuntimeError::new_err(error.to_string()));
    };
    let kind = error.kind();
    let class = classes.by_code.get(&kind.code()).unwrap_or(&classes.base).bind(py);
    let value = class.call1((error.to_string(),))?;
    value.setattr("kind", kind.name())?;
    value.setattr("code", kind.code())?;
    value.setattr("errno", error.errno())?;
    value.setattr("hint", error.hint())?;
    value.setattr("object", error.object())?;
    value.setattr("context", PyTuple::new(py, error.context())?)?;
    if let Some(result) = error.run_result() {
        let result = Bound::new(py, RunResult::new(py, result.clone())?)?;
        for member in ["exit_code", "stdout", "stderr"] {
            value.setattr(member, result.getattr(member)?)?;
        }
        value.setattr("result", result)?;
    }
    Ok(PyErr::from_value(value))
}

/// The exception of an argument that no call could accept.
pub(crate) fn invalid(py: Python<'_>, message: impl Into<String>) -> PyErr {
    raise(py, Error::new(ErrorKind::InvalidArgument, message))
}
