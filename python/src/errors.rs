//! One exception class for each kind of error, made from the engine's own table when the module is loaded. Nothing here decides by text.

use std::collections::HashMap;

use coble::{Error, ErrorKind};
use pyo3::exceptions::PyException;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyTuple, PyType};

use crate::values::RunResult;

/// The classes that Python already has for a kind, so that code which knows only those catches it too. By name: a kind that is not
/// here has [`CobleError`](BASE) alone.
const SECOND_PARENTS: &[(&str, &str)] = &[
    ("InvalidArgument", "ValueError"),
    ("Io", "OSError"),
    ("PermissionDenied", "PermissionError"),
    ("PathNotFound", "FileNotFoundError"),
    ("ImageNotFound", "LookupError"),
    ("ContainerNotFound", "LookupError"),
    ("VolumeNotFound", "LookupError"),
    ("InvalidReference", "ValueError"),
    ("InvalidDigest", "ValueError"),
    ("StorageFull", "OSError"),
    ("Timeout", "TimeoutError"),
    ("UserNotFound", "LookupError"),
    ("CommandNotFound", "FileNotFoundError"),
    ("CommandNotExecutable", "PermissionError"),
    ("Unauthorized", "PermissionError"),
    ("Network", "ConnectionError"),
    ("Offline", "ConnectionError"),
];

const BASE: &str = "CobleError";

struct Classes {
    base: Py<PyType>,
    by_code: HashMap<i32, Py<PyType>>,
}

static CLASSES: PyOnceLock<Classes> = PyOnceLock::new();

fn class_name(kind: ErrorKind) -> String {
    let name = kind.name();
    if name.ends_with("Error") { name.to_owned() } else { format!("{name}Error") }
}

/// Makes the classes and adds them to the module.
pub(crate) fn install(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let py = module.py();
    let classes = CLASSES.get_or_try_init(py, || make(py))?;
    module.add(BASE, &classes.base)?;
    for kind in ErrorKind::ALL {
        if let Some(class) = classes.by_code.get(&kind.code()) {
            module.add(class_name(*kind).as_str(), class)?;
        }
    }
    Ok(())
}

fn make(py: Python<'_>) -> PyResult<Classes> {
    let builtins = py.import("builtins")?;
    let members = PyDict::new(py);
    members.set_item("kind", "")?;
    members.set_item("code", 0)?;
    members.set_item("errno", py.None())?;
    members.set_item("hint", py.None())?;
    members.set_item("object", py.None())?;
    members.set_item("context", PyTuple::empty(py))?;
    let exception = py.get_type::<PyException>().into_any();
    let base = make_class(BASE, "Every error of coble.", vec![exception], members)?;
    let mut by_code = HashMap::new();
    for kind in ErrorKind::ALL {
        let mut parents = vec![base.clone().into_any()];
        for (_, parent) in SECOND_PARENTS.iter().filter(|(name, _)| *name == kind.name()) {
            parents.push(builtins.getattr(*parent)?);
        }
        let members = PyDict::new(py);
        members.set_item("kind", kind.name())?;
        members.set_item("code", kind.code())?;
        if matches!(kind, ErrorKind::Timeout | ErrorKind::LimitExceeded) {
            // What was collected until then, if the error is one of a program's.
            for name in ["stdout", "stderr", "result"] {
                members.set_item(name, py.None())?;
            }
        }
        let class = make_class(&class_name(*kind), kind.description(), parents, members)?;
        by_code.insert(kind.code(), class.unbind());
    }
    Ok(Classes { base: base.unbind(), by_code })
}

fn make_class<'py>(
    name: &str,
    doc: &str,
    parents: Vec<Bound<'py, PyAny>>,
    members: Bound<'py, PyDict>,
) -> PyResult<Bound<'py, PyType>> {
    let py = members.py();
    members.set_item("__module__", "coble")?;
    members.set_item("__doc__", doc)?;
    let class = py.get_type::<PyType>().call1((name, PyTuple::new(py, parents)?, members))?;
    Ok(class.cast_into::<PyType>()?)
}

/// The exception of an error: the one that a function of the caller raised, if that is what it failed for.
pub(crate) fn to_py(py: Python<'_>, error: Error) -> PyErr {
    if let Some(raised) = std::error::Error::source(&error).and_then(|cause| cause.downcast_ref::<PyErr>()) {
        return raised.clone_ref(py);
    }
    exception(py, error).map_or_else(|failure| failure, PyErr::from_value)
}

fn exception(py: Python<'_>, error: Error) -> PyResult<Bound<'_, PyAny>> {
    let classes = CLASSES.get_or_try_init(py, || make(py))?;
    let class = classes.by_code.get(&error.kind().code()).unwrap_or(&classes.base).bind(py);
    let mut text = String::new();
    for context in error.context() {
        text.push_str(context);
        text.push_str(": ");
    }
    text.push_str(error.message());
    let notes = class.hasattr("add_note")?;
    if let Some(hint) = error.hint().filter(|_| !notes) {
        text.push_str("\nhint: ");
        text.push_str(hint);
    }
    let exception = class.call1((text,))?;
    if let Some(hint) = error.hint().filter(|_| notes) {
        exception.call_method1("add_note", (format!("hint: {hint}"),))?;
    }
    exception.setattr("kind", error.kind().name())?;
    exception.setattr("code", error.kind().code())?;
    exception.setattr("errno", error.errno())?;
    exception.setattr("hint", error.hint())?;
    exception.setattr("object", error.object())?;
    exception.setattr("context", PyTuple::new(py, error.context())?)?;
    if let Some(result) = error.run_result() {
        let result = Bound::new(py, RunResult::new(py, result.clone()))?;
        let ended = error.kind() == ErrorKind::ContainerExit;
        // Otherwise it was killed, and its exit code is no news.
        let names =
            if ended { &["stdout", "stderr", "exit_code", "timings"][..] } else { &["stdout", "stderr"] };
        for name in names {
            exception.setattr(*name, result.getattr(*name)?)?;
        }
        exception.setattr("result", result)?;
    }
    Ok(exception)
}

/// An argument that no operation could accept.
pub(crate) fn invalid(py: Python<'_>, message: impl Into<String>) -> PyErr {
    to_py(py, Error::new(ErrorKind::InvalidArgument, message))
}
