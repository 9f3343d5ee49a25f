//! Python values that become the engine's arguments. What a text means is read by the engine.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use coble::{Error, HealthCheck, Hooks, HostItem, RestartPolicy, Signal, Source, parse};
use pyo3::exceptions::{PyOverflowError, PyTypeError};
use pyo3::prelude::*;
use pyo3::types::{PyByteArray, PyBytes, PyInt, PyMapping, PyMemoryView, PyString, PyTuple};

use crate::enter::quick;
use crate::errors::{invalid, to_py};
use crate::image::PyImage;

type Given<'a, 'py> = Borrowed<'a, 'py, PyAny>;

pub(crate) fn expected(what: &str, given: Given<'_, '_>) -> PyErr {
    let name = given.get_type().name().map_or_else(|_| "?".to_owned(), |name| name.to_string());
    PyTypeError::new_err(format!("expected {what}, not {name}"))
}

/// Program and arguments: a sequence, or one string that is split as a shell would.
pub(crate) struct Command(pub(crate) Vec<String>);

impl<'py> FromPyObject<'_, 'py> for Command {
    type Error = PyErr;

    fn extract(given: Given<'_, 'py>) -> PyResult<Command> {
        if let Ok(text) = given.cast::<PyString>() {
            let text = text.extract::<String>()?;
            return parse::words(&text).map(Command).map_err(|error| to_py(given.py(), error));
        }
        given.extract().map(Command).map_err(|_: PyErr| expected("a sequence of str, or a str", given))
    }
}

/// A whole number that is not negative.
pub(crate) struct Natural(pub(crate) u64);

impl<'py> FromPyObject<'_, 'py> for Natural {
    type Error = PyErr;

    fn extract(given: Given<'_, 'py>) -> PyResult<Natural> {
        match given.extract::<u64>() {
            Ok(number) => Ok(Natural(number)),
            Err(error) if error.is_instance_of::<PyOverflowError>(given.py()) => {
                Err(invalid(given.py(), format!("the number {} is not in 0 to {}", given.str()?, u64::MAX)))
            }
            Err(_) => Err(expected("an int", given)),
        }
    }
}

/// A number of bytes, or a text such as `64m`.
pub(crate) struct Size(pub(crate) u64);

impl<'py> FromPyObject<'_, 'py> for Size {
    type Error = PyErr;

    fn extract(given: Given<'_, 'py>) -> PyResult<Size> {
        if let Ok(text) = given.cast::<PyString>() {
            let text = text.extract::<String>()?;
            return parse::size(&text).map(Size).map_err(|error| to_py(given.py(), error));
        }
        if given.is_instance_of::<PyInt>() {
            given.extract().map(|Natural(n)| Size(n))
        } else {
            Err(expected("an int or a str", given))
        }
    }
}

/// A time-out in seconds. Infinity and what no clock can express are no time-out.
pub(crate) struct Seconds(pub(crate) Option<Duration>);

impl<'py> FromPyObject<'_, 'py> for Seconds {
    type Error = PyErr;

    fn extract(given: Given<'_, 'py>) -> PyResult<Seconds> {
        let seconds: f64 = given.extract().map_err(|_| expected("a number of seconds", given))?;
        if seconds.is_nan() {
            return Err(invalid(given.py(), "a time-out is not a number"));
        }
        // A deadline that has passed: at once.
        Ok(Seconds(Duration::try_from_secs_f64(seconds.max(0.0)).ok()))
    }
}

pub(crate) fn seconds(given: Option<Seconds>) -> Option<Duration> {
    given.and_then(|Seconds(time)| time)
}

/// A point in time: a datetime, or seconds since the epoch.
pub(crate) struct Time(pub(crate) SystemTime);

impl<'py> FromPyObject<'_, 'py> for Time {
    type Error = PyErr;

    fn extract(given: Given<'_, 'py>) -> PyResult<Time> {
        let invalid = || invalid(given.py(), "a time is out of range");
        let nanos: i128 = if given.hasattr("timestamp")? {
            // Exact: the float of timestamp() would lose what a log record has.
            let epoch = if given.getattr("tzinfo")?.is_none() {
                given.call_method0("astimezone")?
            } else {
                given.to_owned()
            };
            let datetime = given.py().import("datetime")?;
            let utc = datetime.getattr("timezone")?.getattr("utc")?;
            let zero = datetime.getattr("datetime")?.call_method1("fromtimestamp", (0, utc))?;
            let unit = datetime.getattr("timedelta")?.call1((0, 0, 1))?;
            let micros: i64 = epoch.sub(zero)?.floor_div(unit)?.extract()?;
            i128::from(micros) * 1000
        } else {
            let seconds: f64 =
                given.extract().map_err(|_| expected("a datetime or seconds since the epoch", given))?;
            if !seconds.is_finite() {
                return Err(invalid());
            }
            (seconds * 1e9) as i128
        };
        let length = Duration::from_nanos(u64::try_from(nanos.unsigned_abs()).map_err(|_| invalid())?);
        let time = if nanos < 0 { UNIX_EPOCH.checked_sub(length) } else { UNIX_EPOCH.checked_add(length) };
        time.map(Time).ok_or_else(invalid)
    }
}

/// A text, or a number that becomes one (a user id, a signal).
pub(crate) struct Text(pub(crate) String);

impl<'py> FromPyObject<'_, 'py> for Text {
    type Error = PyErr;

    fn extract(given: Given<'_, 'py>) -> PyResult<Text> {
        if given.is_instance_of::<PyInt>() {
            // Not str(): that of a member of an enumeration is its name.
            return Ok(Text(given.extract::<i64>()?.to_string()));
        }
        given.extract().map(Text).map_err(|_: PyErr| expected("a str or an int", given))
    }
}

/// A signal by name or number.
pub(crate) fn signal(py: Python<'_>, Text(text): &Text) -> PyResult<Signal> {
    quick(py, || Signal::parse(text))
}

/// `{"NAME": "value"}`, or a sequence of `NAME=value`.
pub(crate) struct Environment(pub(crate) Vec<(String, String)>);

impl<'py> FromPyObject<'_, 'py> for Environment {
    type Error = PyErr;

    fn extract(given: Given<'_, 'py>) -> PyResult<Environment> {
        let py = given.py();
        assignments(given)?
            .into_iter()
            .map(|(name, value)| match value {
                Some(value) => Ok((name, value)),
                None => Err(invalid(
                    py,
                    format!("the environment variable \"{}\" has no value", name.escape_default()),
                )),
            })
            .collect::<PyResult<_>>()
            .map(Environment)
    }
}

/// `{"name": "value"}`, or a sequence of `name=value` or `name`.
#[derive(Default)]
pub(crate) struct Labels(pub(crate) BTreeMap<String, String>);

impl<'py> FromPyObject<'_, 'py> for Labels {
    type Error = PyErr;

    fn extract(given: Given<'_, 'py>) -> PyResult<Labels> {
        let labels = assignments(given)?;
        Ok(Labels(labels.into_iter().map(|(name, value)| (name, value.unwrap_or_default())).collect()))
    }
}

fn assignments(given: Given<'_, '_>) -> PyResult<Vec<(String, Option<String>)>> {
    let wrong = |_: PyErr| expected("a mapping of str to str, or a sequence of str", given);
    if let Ok(mapping) = given.cast::<PyMapping>() {
        let items = mapping.items()?.extract::<Vec<(String, String)>>().map_err(wrong)?;
        return Ok(items.into_iter().map(|(name, value)| (name, Some(value))).collect());
    }
    if given.is_instance_of::<PyString>() {
        return Err(expected("a mapping of str to str, or a sequence of str", given));
    }
    let texts: Vec<String> = given.extract().map_err(wrong)?;
    texts.iter().map(|text| parse::assignment(text).map_err(|error| to_py(given.py(), error))).collect()
}

/// `{"host": "address"}`, or a sequence of `host:address`.
pub(crate) struct Hosts(pub(crate) Vec<(String, String)>);

impl<'py> FromPyObject<'_, 'py> for Hosts {
    type Error = PyErr;

    fn extract(given: Given<'_, 'py>) -> PyResult<Hosts> {
        let wrong = |_: PyErr| expected("a mapping of str to str, or a sequence of str", given);
        if let Ok(mapping) = given.cast::<PyMapping>() {
            return mapping.items()?.extract().map(Hosts).map_err(wrong);
        }
        let texts: Vec<String> = given.extract().map_err(wrong)?;
        let hosts = texts.iter().map(|text| parse::host(text).map_err(|error| to_py(given.py(), error)));
        hosts.collect::<PyResult<_>>().map(Hosts)
    }
}

/// Memory and swap together: a size, or -1.
pub(crate) struct Swap(pub(crate) i64);

impl<'py> FromPyObject<'_, 'py> for Swap {
    type Error = PyErr;

    fn extract(given: Given<'_, 'py>) -> PyResult<Swap> {
        if let Ok(text) = given.cast::<PyString>() {
            let text = text.extract::<String>()?;
            return parse::swap(&text).map(Swap).map_err(|error| to_py(given.py(), error));
        }
        given.extract().map(Swap).map_err(|_: PyErr| expected("an int or a str", given))
    }
}

/// A limit on processes and threads: a whole number, of which 0 and -1 are no limit.
pub(crate) struct Processes(pub(crate) u64);

impl<'py> FromPyObject<'_, 'py> for Processes {
    type Error = PyErr;

    fn extract(given: Given<'_, 'py>) -> PyResult<Processes> {
        match given.extract::<i64>() {
            Ok(number) => parse::processes(number).map(Processes).map_err(|error| to_py(given.py(), error)),
            Err(_) => Natural::extract(given).map(|Natural(number)| Processes(number)),
        }
    }
}

/// Docker-py's `LogConfig`: a mapping with `Type` and `Config`.
pub(crate) struct LogConfig {
    pub(crate) driver: Option<String>,
    pub(crate) options: BTreeMap<String, String>,
}

impl<'py> FromPyObject<'_, 'py> for LogConfig {
    type Error = PyErr;

    fn extract(given: Given<'_, 'py>) -> PyResult<LogConfig> {
        let wrong = || expected("a mapping of Type and Config", given);
        let mut config = LogConfig { driver: None, options: BTreeMap::new() };
        for item in given.cast::<PyMapping>().map_err(|_| wrong())?.items()?.iter() {
            let (name, value): (String, Bound<'py, PyAny>) = item.extract().map_err(|_: PyErr| wrong())?;
            match name.as_str() {
                "Type" => config.driver = value.extract().map_err(|_: PyErr| wrong())?,
                "Config" => {
                    config.options = value.extract::<Option<Parameters>>()?.unwrap_or_default().0;
                }
                _ => return Err(wrong()),
            }
        }
        Ok(config)
    }
}

/// A whole number, of which -1 stands for none: [`u64::MAX`].
pub(crate) struct OrNone(pub(crate) u64);

impl<'py> FromPyObject<'_, 'py> for OrNone {
    type Error = PyErr;

    fn extract(given: Given<'_, 'py>) -> PyResult<OrNone> {
        match given.extract::<i64>() {
            Ok(number) => parse::or_none(number).map(OrNone).map_err(|error| to_py(given.py(), error)),
            Err(_) => Natural::extract(given).map(|Natural(number)| OrNone(number)),
        }
    }
}

/// What block devices are given: a mapping of paths to numbers, `path:number` texts, or docker-py's mappings with `Path` and another key.
fn of_devices<'py, T>(
    given: Given<'_, 'py>,
    key: &str,
    parse: impl Fn(&str) -> coble::Result<(String, T)>,
    number: impl Fn(&Bound<'py, PyAny>) -> PyResult<T>,
) -> PyResult<Vec<(String, T)>> {
    let wrong = |_: PyErr| expected("a mapping of str to numbers, or a sequence", given);
    if let Ok(mapping) = given.cast::<PyMapping>() {
        let pairs: Vec<(String, Bound<'py, PyAny>)> = mapping.items()?.extract().map_err(wrong)?;
        return pairs.into_iter().map(|(path, value)| Ok((path, number(&value)?))).collect();
    }
    if given.is_instance_of::<PyString>() {
        return Err(expected("a mapping of str to numbers, or a sequence", given));
    }
    let items: Vec<Bound<'py, PyAny>> = given.extract().map_err(wrong)?;
    let one = |item: &Bound<'py, PyAny>| match item.cast::<PyMapping>() {
        Ok(mapping) if mapping.len()? == 2 => {
            let part = |name: &str| mapping.get_item(name).map_err(wrong);
            Ok((part("Path")?.extract().map_err(wrong)?, number(&part(key)?)?))
        }
        Ok(_) => Err(expected(&format!("a mapping of Path and {key}"), item.as_borrowed())),
        Err(_) => {
            let text: String = item.extract().map_err(wrong)?;
            parse(&text).map_err(|error| to_py(given.py(), error))
        }
    };
    items.iter().map(one).collect()
}

/// Rates of block devices.
pub(crate) struct Rates(pub(crate) Vec<(String, u64)>);

impl<'py> FromPyObject<'_, 'py> for Rates {
    type Error = PyErr;

    fn extract(given: Given<'_, 'py>) -> PyResult<Rates> {
        let size = |value: &Bound<'py, PyAny>| Ok(value.extract::<Size>()?.0);
        of_devices(given, "Rate", parse::device_rate, size).map(Rates)
    }
}

/// Weights of block devices.
pub(crate) struct Weights(pub(crate) Vec<(String, u64)>);

impl<'py> FromPyObject<'_, 'py> for Weights {
    type Error = PyErr;

    fn extract(given: Given<'_, 'py>) -> PyResult<Weights> {
        let weight = |value: &Bound<'py, PyAny>| Ok(value.extract::<Natural>()?.0);
        of_devices(given, "Weight", parse::device_weight, weight).map(Weights)
    }
}

/// Resource limits of processes: a mapping of names to a number or a pair, or `name=soft:hard` texts.
pub(crate) struct Ulimits(pub(crate) Vec<String>);

impl<'py> FromPyObject<'_, 'py> for Ulimits {
    type Error = PyErr;

    fn extract(given: Given<'_, 'py>) -> PyResult<Ulimits> {
        let wrong = |_: PyErr| expected("a mapping of str to an int or two, or a sequence of str", given);
        let Ok(mapping) = given.cast::<PyMapping>() else {
            return given.extract().map(Ulimits).map_err(wrong);
        };
        let mut limits = Vec::new();
        for item in mapping.items()?.iter() {
            let (name, value): (String, Bound<'py, PyAny>) = item.extract()?;
            let (soft, hard) = match value.extract::<i64>() {
                Ok(both) => (both, both),
                Err(_) => value.extract::<(i64, i64)>().map_err(wrong)?,
            };
            limits.push(format!("{name}={soft}:{hard}"));
        }
        Ok(Ulimits(limits))
    }
}

/// A health check: a mapping of `test`, `interval`, `timeout`, `start_period`, `start_interval` (nanoseconds) and `retries`, as docker-py has it.
pub(crate) struct Check(pub(crate) HealthCheck);

impl<'py> FromPyObject<'_, 'py> for Check {
    type Error = PyErr;

    fn extract(given: Given<'_, 'py>) -> PyResult<Check> {
        let wrong = |_: PyErr| expected("a mapping with a test and times in nanoseconds", given);
        let mapping = given.cast::<PyMapping>().map_err(|error| wrong(error.into()))?;
        let mut check = HealthCheck::default();
        for item in mapping.items()?.iter() {
            let (name, value): (String, Bound<'py, PyAny>) = item.extract().map_err(wrong)?;
            if value.is_none() {
                continue;
            }
            let number = || value.extract::<u64>().map(Some).map_err(wrong);
            match name.as_str() {
                "test" => {
                    check.test = match value.extract::<String>() {
                        Ok(line) => HealthCheck::shell(line).test,
                        Err(_) => value.extract::<Vec<String>>().map_err(wrong)?,
                    }
                }
                "interval" => check.interval = number()?,
                "timeout" => check.timeout = number()?,
                "start_period" => check.start_period = number()?,
                "start_interval" => check.start_interval = number()?,
                "retries" => check.retries = Some(value.extract::<u32>().map_err(wrong)?),
                _ => {
                    return Err(expected(
                        "a mapping of test, interval, timeout, start_period, start_interval and retries",
                        given,
                    ));
                }
            }
        }
        Ok(Check(check))
    }
}

/// Hooks, in the words of the runtime specification: a mapping of moments to lists of mappings, or the same as JSON.
pub(crate) struct Hooked(pub(crate) Hooks);

impl<'py> FromPyObject<'_, 'py> for Hooked {
    type Error = PyErr;

    fn extract(given: Given<'_, 'py>) -> PyResult<Hooked> {
        let py = given.py();
        let text: String = match given.cast::<PyString>() {
            Ok(text) => text.extract()?,
            Err(_) => py.import("json")?.call_method1("dumps", (given,))?.extract()?,
        };
        Hooks::parse(&text).map(Hooked).map_err(|error| to_py(py, error))
    }
}

/// A restart policy: a text such as `on-failure:3`, or docker-py's mapping of `Name` and `MaximumRetryCount`.
pub(crate) struct Policy(pub(crate) RestartPolicy);

impl<'py> FromPyObject<'_, 'py> for Policy {
    type Error = PyErr;

    fn extract(given: Given<'_, 'py>) -> PyResult<Policy> {
        let wrong = |_: PyErr| expected("a str, or a mapping of Name and MaximumRetryCount", given);
        let mut text = String::new();
        let mut most = 0u32;
        if let Ok(mapping) = given.cast::<PyMapping>() {
            for item in mapping.items()?.iter() {
                let (name, value): (String, Bound<'py, PyAny>) = item.extract().map_err(wrong)?;
                match name.as_str() {
                    "Name" => text = value.extract().map_err(wrong)?,
                    "MaximumRetryCount" => most = value.extract().map_err(wrong)?,
                    _ => return Err(expected("a mapping of Name and MaximumRetryCount", given)),
                }
            }
        } else {
            text = given.extract().map_err(wrong)?;
        }
        if most > 0 {
            text = format!("{text}:{most}");
        }
        RestartPolicy::parse(&text).map(Policy).map_err(|error| to_py(given.py(), error))
    }
}

/// Names and values that are written to files of the kernel: a mapping, or `name=value` texts.
#[derive(Default)]
pub(crate) struct Parameters(pub(crate) BTreeMap<String, String>);

impl<'py> FromPyObject<'_, 'py> for Parameters {
    type Error = PyErr;

    fn extract(given: Given<'_, 'py>) -> PyResult<Parameters> {
        let wrong = |_: PyErr| expected("a mapping of str to str or int, or a sequence of str", given);
        let mut all = BTreeMap::new();
        if let Ok(mapping) = given.cast::<PyMapping>() {
            for item in mapping.items()?.iter() {
                let (name, value): (String, Bound<'py, PyAny>) = item.extract().map_err(wrong)?;
                let value = match value.extract::<i64>() {
                    Ok(number) => number.to_string(),
                    Err(_) => value.extract().map_err(wrong)?,
                };
                all.insert(name, value);
            }
            return Ok(Parameters(all));
        }
        for text in given.extract::<Vec<String>>().map_err(wrong)? {
            let (name, value) = parse::assignment(&text).map_err(|error| to_py(given.py(), error))?;
            all.insert(name, value.unwrap_or_default());
        }
        Ok(Parameters(all))
    }
}

/// What a program reads: bytes, or a text, which is written as UTF-8.
pub(crate) struct Input(pub(crate) Vec<u8>);

impl<'py> FromPyObject<'_, 'py> for Input {
    type Error = PyErr;

    fn extract(given: Given<'_, 'py>) -> PyResult<Input> {
        if let Ok(text) = given.cast::<PyString>() {
            return Ok(Input(text.extract::<String>()?.into_bytes()));
        }
        if let Ok(bytes) = given.extract::<&[u8]>() {
            return Ok(Input(bytes.to_vec()));
        }
        // Whatever else has the bytes of a buffer: the limited API has no other way to them.
        let view = PyMemoryView::from(&given).map_err(|_| expected("bytes or a str", given))?;
        Ok(Input(view.call_method0("tobytes")?.extract()?))
    }
}

/// What a program reads, of which text may have to be encoded.
#[derive(FromPyObject)]
pub(crate) enum TextInput {
    Text(String),
    Bytes(Input),
}

/// The image of an operation: a reference, an id, or an Image.
pub(crate) struct ImageName(pub(crate) String);

impl<'py> FromPyObject<'_, 'py> for ImageName {
    type Error = PyErr;

    fn extract(given: Given<'_, 'py>) -> PyResult<ImageName> {
        if let Ok(image) = given.cast::<PyImage>() {
            return Ok(ImageName(image.get().identity().to_owned()));
        }
        given.extract().map(ImageName).map_err(|_: PyErr| expected("a str or an Image", given))
    }
}

/// A file for the image: `source`, `source:target`, a path, or (source, target).
pub(crate) struct Item(pub(crate) HostItem);

impl<'py> FromPyObject<'_, 'py> for Item {
    type Error = PyErr;

    fn extract(given: Given<'_, 'py>) -> PyResult<Item> {
        if let Ok(text) = given.cast::<PyString>() {
            return Ok(Item(text.extract::<String>()?.as_str().into()));
        }
        if let Ok(pair) = given.cast::<PyTuple>() {
            let (source, target) = pair.extract::<(PathBuf, PathBuf)>()?;
            return Ok(Item(HostItem { source, target: Some(target) }));
        }
        let source = given.extract().map_err(|_| expected("a str, a path, or a tuple of two", given))?;
        Ok(Item(HostItem { source, target: None }))
    }
}

/// Where an archive comes from: a path, a descriptor, or an open file.
pub(crate) struct Archive(pub(crate) Source);

impl<'py> FromPyObject<'_, 'py> for Archive {
    type Error = PyErr;

    fn extract(given: Given<'_, 'py>) -> PyResult<Archive> {
        if given.is_instance_of::<PyInt>() || given.hasattr("fileno")? {
            return Ok(Archive(Source::Fd(descriptor(given)?)));
        }
        let path =
            given.extract().map_err(|_| expected("a path, a file descriptor or an open file", given))?;
        Ok(Archive(Source::Path(path)))
    }
}

/// An archive that may also be given as bytes.
pub(crate) struct Tar(pub(crate) Source);

impl<'py> FromPyObject<'_, 'py> for Tar {
    type Error = PyErr;

    fn extract(given: Given<'_, 'py>) -> PyResult<Tar> {
        if given.is_instance_of::<PyBytes>() || given.is_instance_of::<PyByteArray>() {
            return Ok(Tar(Source::Bytes(given.extract()?)));
        }
        Archive::extract(given).map(|Archive(source)| Tar(source))
    }
}

/// `subprocess.PIPE`.
pub(crate) const PIPE: i32 = -1;
/// `subprocess.STDOUT`.
pub(crate) const STDOUT: i32 = -2;
/// `subprocess.DEVNULL`.
pub(crate) const DEVNULL: i32 = -3;

/// Where a standard stream goes: one of the constants of subprocess, a descriptor, or an open file.
pub(crate) enum Stream {
    Pipe,
    Stdout,
    Null,
    Fd(OwnedFd),
}

impl<'py> FromPyObject<'_, 'py> for Stream {
    type Error = PyErr;

    fn extract(given: Given<'_, 'py>) -> PyResult<Stream> {
        if given.is_instance_of::<PyInt>() {
            match given.extract::<i32>() {
                Ok(PIPE) => return Ok(Stream::Pipe),
                Ok(STDOUT) => return Ok(Stream::Stdout),
                Ok(DEVNULL) => return Ok(Stream::Null),
                _ => {}
            }
        } else if !given.hasattr("fileno")? {
            return Err(expected("PIPE, DEVNULL, STDOUT, a file descriptor or an open file", given));
        }
        descriptor(given).map(Stream::Fd)
    }
}

/// A copy of the descriptor that an int names or a file has.
pub(crate) fn descriptor(given: Given<'_, '_>) -> PyResult<OwnedFd> {
    let fd: RawFd = if given.is_instance_of::<PyInt>() {
        given.extract()?
    } else {
        given.call_method0("fileno")?.extract()?
    };
    duplicate(fd).map_err(|error| to_py(given.py(), error))
}

/// A copy of a descriptor, closed on exec.
pub(crate) fn duplicate(fd: RawFd) -> coble::Result<OwnedFd> {
    // SAFETY: fcntl checks the descriptor itself, whatever the number is.
    let copy = unsafe { libc::fcntl(fd, libc::F_DUPFD_CLOEXEC, 3) };
    if copy < 0 {
        return Err(Error::io("fcntl", format!("file descriptor {fd}"), &std::io::Error::last_os_error()));
    }
    // SAFETY: the call has just made it, and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(copy) })
}

/// `/dev/null`.
pub(crate) fn null() -> coble::Result<OwnedFd> {
    let file = OpenOptions::new().read(true).write(true).open("/dev/null");
    file.map(OwnedFd::from).map_err(|error| Error::io("open", "/dev/null", &error))
}

/// A Python file over our end of a pipe.
pub(crate) fn file(py: Python<'_>, fd: Option<OwnedFd>, mode: &str) -> PyResult<Option<Py<PyAny>>> {
    let Some(fd) = fd else { return Ok(None) };
    let file = py.import("io")?.call_method1("open", (fd.as_raw_fd(), mode))?;
    // The file owns it now.
    std::mem::forget(fd);
    Ok(Some(file.unbind()))
}

/// A Python file to read from over the master of a terminal.
pub(crate) fn terminal(py: Python<'_>, fd: Option<OwnedFd>) -> PyResult<Option<Py<PyAny>>> {
    let Some(fd) = fd else { return Ok(None) };
    let file = py.import("coble._terminal")?.call_method1("reader", (fd.as_raw_fd(),))?;
    // The file owns it now.
    std::mem::forget(fd);
    Ok(Some(file.unbind()))
}
