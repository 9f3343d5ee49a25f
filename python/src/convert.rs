//! Values of Python that have several forms, and JSON that becomes values of Python.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use coble::parse;
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyMapping, PyString};

use crate::errors::{invalid, raise};

/// A command: a list of words, or one string that is split as a shell would.
pub(crate) fn command(value: Option<&Bound<'_, PyAny>>) -> PyResult<Option<Vec<String>>> {
    let Some(value) = value else { return Ok(None) };
    if let Ok(text) = value.cast::<PyString>() {
        let text: String = text.extract()?;
        return parse::words(&text).map(Some).map_err(|error| raise(value.py(), error));
    }
    strings(value).map(Some)
}

/// A list of strings. One string is refused: it would be taken apart into characters.
pub(crate) fn strings(value: &Bound<'_, PyAny>) -> PyResult<Vec<String>> {
    if value.is_instance_of::<PyString>() {
        return Err(PyTypeError::new_err("expected a list of strings, not a string"));
    }
    value.try_iter()?.map(|item| item?.extract::<String>()).collect()
}

pub(crate) fn optional_strings(value: Option<&Bound<'_, PyAny>>) -> PyResult<Vec<String>> {
    value.map(strings).transpose().map(Option::unwrap_or_default)
}

/// Strings and numbers, as strings.
pub(crate) fn words(value: Option<&Bound<'_, PyAny>>) -> PyResult<Vec<String>> {
    let Some(value) = value else { return Ok(Vec::new()) };
    if value.is_instance_of::<PyString>() {
        return Err(PyTypeError::new_err("expected a list, not a string"));
    }
    value.try_iter()?.map(|item| word(&item?)).collect()
}

/// A string, or a number as a string.
pub(crate) fn word(value: &Bound<'_, PyAny>) -> PyResult<String> {
    match value.extract::<String>() {
        Ok(text) => Ok(text),
        Err(_) => Ok(value.extract::<i64>()?.to_string()),
    }
}

/// Pairs: a dictionary of strings, or a list of strings that `split` takes apart.
fn pairs(
    value: Option<&Bound<'_, PyAny>>,
    split: impl Fn(&str) -> coble::Result<(String, Option<String>)>,
    missing: impl Fn(&str) -> coble::Result<String>,
) -> PyResult<Vec<(String, String)>> {
    let Some(value) = value else { return Ok(Vec::new()) };
    if let Ok(mapping) = value.cast::<PyMapping>() {
        let items = mapping.items()?;
        return items.iter().map(|item| item.extract::<(String, String)>()).collect();
    }
    let lines = strings(value)?;
    let split = |line: &String| -> coble::Result<(String, String)> {
        let (name, value) = split(line)?;
        let value = value.map_or_else(|| missing(&name), Ok)?;
        Ok((name, value))
    };
    lines.iter().map(split).collect::<coble::Result<_>>().map_err(|error| raise(value.py(), error))
}

/// `{"NAME": "value"}` or `["NAME=value"]`.
pub(crate) fn environment(value: Option<&Bound<'_, PyAny>>) -> PyResult<Vec<(String, String)>> {
    pairs(value, parse::assignment, |name| {
        let message = format!("environment \"{}\" has no value", name.escape_default());
        Err(coble::Error::new(coble::ErrorKind::InvalidArgument, message).with_object(name))
    })
}

/// `{"name": "value"}` or `["name=value"]`; a name alone has an empty value.
pub(crate) fn labels(value: Option<&Bound<'_, PyAny>>) -> PyResult<BTreeMap<String, String>> {
    Ok(pairs(value, parse::assignment, |_| Ok(String::new()))?.into_iter().collect())
}

/// `{"name": "address"}` or `["name:address"]`.
pub(crate) fn hosts(value: Option<&Bound<'_, PyAny>>) -> PyResult<Vec<(String, String)>> {
    pairs(value, |line| parse::host(line).map(|(name, address)| (name, Some(address))), |_| Ok(String::new()))
}

/// Bytes: a number, or text such as `64m`.
pub(crate) fn size(value: Option<&Bound<'_, PyAny>>, name: &str) -> PyResult<Option<u64>> {
    let Some(value) = value else { return Ok(None) };
    match value.cast::<PyString>() {
        Ok(text) => {
            let size = parse::size(&text.extract::<String>()?);
            size.map(Some).map_err(|error| raise(value.py(), error))
        }
        Err(_) => number(Some(value), name),
    }
}

/// A number that is not negative.
pub(crate) fn number<T: TryFrom<u64>>(value: Option<&Bound<'_, PyAny>>, name: &str) -> PyResult<Option<T>> {
    let Some(value) = value else { return Ok(None) };
    let py = value.py();
    let out_of_range = || invalid(py, format!("{name} is out of range"));
    let number = match value.extract::<u64>() {
        Ok(number) => number,
        Err(error) if error.is_instance_of::<pyo3::exceptions::PyOverflowError>(py) => {
            return Err(out_of_range());
        }
        Err(error) => return Err(error),
    };
    T::try_from(number).map(Some).map_err(|_| out_of_range())
}

/// Seconds.
pub(crate) fn seconds(py: Python<'_>, value: Option<f64>, name: &str) -> PyResult<Option<Duration>> {
    let Some(value) = value else { return Ok(None) };
    Duration::try_from_secs_f64(value).map(Some).map_err(|_| invalid(py, format!("{name} is out of range")))
}

/// A point in time: a `datetime`, or seconds since the epoch.
pub(crate) fn time(value: Option<&Bound<'_, PyAny>>, name: &str) -> PyResult<Option<SystemTime>> {
    let Some(value) = value else { return Ok(None) };
    let py = value.py();
    let since_epoch = if value.hasattr("astimezone")? {
        // Exact, where `timestamp` would go through a float.
        let datetime = py.import("datetime")?;
        let utc = datetime.getattr("timezone")?.getattr("utc")?;
        let delta = value.call_method1("astimezone", (&utc,))?.sub(epoch(py)?)?;
        let part = |part: &str| delta.getattr(part)?.extract::<i64>();
        let seconds = part("days")? * 86400 + part("seconds")?;
        let seconds = u64::try_from(seconds).map_err(|_| invalid(py, format!("{name} is out of range")))?;
        Some(Duration::from_secs(seconds) + Duration::from_micros(part("microseconds")? as u64))
    } else {
        seconds(py, Some(value.extract::<f64>()?), name)?
    };
    Ok(since_epoch.map(|time| UNIX_EPOCH + time))
}

/// The beginning of time, as a `datetime`.
fn epoch(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
    let datetime = py.import("datetime")?;
    let utc = datetime.getattr("timezone")?.getattr("utc")?;
    datetime.getattr("datetime")?.call1((1970, 1, 1, 0, 0, 0, 0, utc))
}

/// A `datetime` in UTC of nanoseconds since the epoch, cut to microseconds.
pub(crate) fn datetime(py: Python<'_>, nanoseconds: u64) -> PyResult<Bound<'_, PyAny>> {
    let (seconds, rest) = (nanoseconds / 1_000_000_000, nanoseconds % 1_000_000_000);
    let delta = py.import("datetime")?.getattr("timedelta")?.call1((0, seconds, rest / 1000))?;
    epoch(py)?.add(delta)
}

/// A path of any kind that `os.fspath` knows.
pub(crate) fn path(value: &Bound<'_, PyAny>) -> PyResult<PathBuf> {
    value.extract()
}

/// JSON as values of Python.
pub(crate) fn json<'py>(py: Python<'py>, value: &serde_json::Value) -> PyResult<Bound<'py, PyAny>> {
    use serde_json::Value;
    Ok(match value {
        Value::Null => py.None().into_bound(py),
        Value::Bool(value) => value.into_pyobject(py)?.to_owned().into_any(),
        Value::Number(number) => match (number.as_i64(), number.as_u64(), number.as_f64()) {
            (Some(number), ..) => number.into_pyobject(py)?.into_any(),
            (_, Some(number), _) => number.into_pyobject(py)?.into_any(),
            (.., number) => number.unwrap_or(f64::NAN).into_pyobject(py)?.into_any(),
        },
        Value::String(text) => text.into_pyobject(py)?.into_any(),
        Value::Array(items) => {
            let list = PyList::empty(py);
            for item in items {
                list.append(json(py, item)?)?;
            }
            list.into_any()
        }
        Value::Object(members) => {
            let dict = PyDict::new(py);
            for (name, member) in members {
                dict.set_item(name, json(py, member)?)?;
            }
            dict.into_any()
        }
    })
}

/// Something of the engine as the values of Python that its JSON form has.
pub(crate) fn plain(py: Python<'_>, value: &impl serde::Serialize) -> PyResult<Py<PyAny>> {
    let value = serde_json::to_value(value).map_err(|error| {
        raise(py, coble::Error::new(coble::ErrorKind::Internal, format!("json: {error}")))
    })?;
    json(py, &value).map(Bound::unbind)
}
