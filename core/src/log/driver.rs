//! Where what a container writes is kept: the drivers, their options, and the files that they make.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{Mode, OFlags};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

use coble_protocol::{FdList, Journald, LogForm, LogSink, Rotation};

use super::attributes::{About, Attributes, field};
use super::mend;
use crate::container::{ContainerSpec, parse};
use crate::error::{Call, Error, ErrorKind, Result};

/// The driver when nobody asks for one.
pub(crate) const DEFAULT: &str = "local";
/// The names of the log in a container's directory. When it is full, a number is added.
const FRAMES: &str = "log";
const JSON: &str = "json.log";
/// Where the journal listens.
const JOURNAL: &str = "/run/systemd/journal/socket";
/// The most files of one log.
const MAX_FILES: u32 = 1000;
/// Fields of the journal that are the monitor's to say.
const RESERVED: [&str; 3] = ["MESSAGE", "PRIORITY", "CONTAINER_PARTIAL_MESSAGE"];
/// Docker's, for its driver `local`.
const LOCAL_FILES: u32 = 5;

/// A driver with its options.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Settings {
    form: Option<LogForm>,
    journal: bool,
    attributes: Attributes,
    rotation: Option<(u64, u32)>,
}

/// An open log.
pub(crate) struct Log {
    file: OwnedFd,
    name: &'static str,
    form: LogForm,
    attributes: Option<String>,
    rotation: Option<(OwnedFd, u64, u32)>,
    journal: Option<(OwnedFd, Vec<(String, String)>)>,
}

/// Whether a file of a container's directory is one of its logs.
pub(crate) fn is_log(name: &str) -> bool {
    [FRAMES, JSON].iter().any(|log| {
        let number = name.strip_prefix(log).map(|rest| rest.strip_prefix('.').unwrap_or(rest));
        number.is_some_and(|number| number.is_empty() || number.bytes().all(|byte| byte.is_ascii_digit()))
    })
}

impl Settings {
    /// Those of a container. What nobody knows is refused.
    pub(crate) fn of(spec: &ContainerSpec) -> Result<Settings> {
        let invalid = |field: &str, why: String| {
            Error::new(ErrorKind::InvalidArgument, format!("{field}: {why}")).with_object(field)
        };
        let driver = spec.log_driver.as_deref().unwrap_or(DEFAULT);
        let (form, journal) = match driver {
            "local" => (Some(LogForm::Frames), false),
            "json-file" => (Some(LogForm::Json), false),
            "journald" => (Some(LogForm::Frames), true),
            "none" => (None, false),
            other => {
                let why = format!("\"{}\" is not known", other.escape_default());
                return Err(invalid("log_driver", why).with_hint("use local, json-file, journald or none"));
            }
        };
        let (mut size, mut files, mut attributes) = (None, None, Attributes::default());
        let described = journal || form == Some(LogForm::Json);
        for (name, value) in &spec.log_opt {
            let wrong =
                |why: &str| invalid("log_opt", format!("{name}: \"{}\" {why}", value.escape_default()));
            match name.as_str() {
                "max-size" if form.is_some() => {
                    // Docker's word for no bound.
                    size = match value.as_str() {
                        "-1" => None,
                        text => Some(parse::size(text).map_err(|_| wrong("is not a size"))?),
                    };
                    if size == Some(0) {
                        return Err(wrong("is too small"));
                    }
                }
                "max-file" if form.is_some() => {
                    let number = value.parse().ok().filter(|number| (1..=MAX_FILES).contains(number));
                    files = Some(number.ok_or_else(|| wrong("is not a number from 1 to 1000"))?);
                }
                name if described && attributes.take(name, value).map_err(wrong)? => {}
                name => {
                    let why = format!("\"{}\" is no option of {driver}", name.escape_default());
                    return Err(invalid("log_opt", why));
                }
            }
        }
        if files.is_some_and(|files| files > 1) && size.is_none() {
            return Err(invalid("log_opt", "max-file needs max-size".into()));
        }
        let usual = if form == Some(LogForm::Json) { 1 } else { LOCAL_FILES };
        let rotation = size.map(|size| (size, files.unwrap_or(usual)));
        Ok(Settings { form, journal, attributes, rotation })
    }

    /// The name of the log file, if there is one.
    pub(crate) fn file(&self) -> Option<&'static str> {
        self.form.map(|form| match form {
            LogForm::Frames => FRAMES,
            LogForm::Json => JSON,
        })
    }

    /// The form of the log file, if there is one.
    pub(crate) fn form(&self) -> Option<LogForm> {
        self.form
    }

    /// Makes the log in a container's directory one that can be appended to, after a monitor that perhaps was killed while it wrote.
    pub(crate) fn mend(&self, directory: &Path) -> Result<()> {
        match (self.form, self.file()) {
            (Some(form), Some(name)) => mend::mend(&directory.join(name), form, self.rotation.is_some()),
            _ => Ok(()),
        }
    }

    /// Opens the log in a container's directory, for its monitor. None if nothing is kept.
    pub(crate) fn open(&self, directory: &Path, about: &About<'_>) -> Result<Option<Log>> {
        let (Some(form), Some(file_name)) = (self.form, self.file()) else { return Ok(None) };
        let path = directory.join(file_name);
        let flags = OFlags::WRONLY | OFlags::APPEND | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::open(&path, flags, Mode::RUSR | Mode::WUSR).call("open", &path)?;
        let rotation = match self.rotation {
            Some((size, files)) => {
                let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
                let directory = rustix::fs::open(directory, flags, Mode::empty()).call("open", directory)?;
                Some((directory, size, files))
            }
            None => None,
        };
        let journal = match self.journal {
            true => Some((journal()?, self.fields(about)?)),
            false => None,
        };
        let attributes = match form {
            LogForm::Json => self.attributes.json(about)?,
            LogForm::Frames => None,
        };
        Ok(Some(Log { file, name: file_name, form, attributes, rotation, journal }))
    }

    /// What each record says of a container.
    pub(crate) fn attributes(&self, about: &About<'_>) -> Result<BTreeMap<String, String>> {
        self.attributes.all(about)
    }

    /// The fields that docker gives each entry.
    fn fields(&self, about: &About<'_>) -> Result<Vec<(String, String)>> {
        let short: String = about.id.chars().take(12).collect();
        let tag = self.attributes.tag(about).unwrap_or_else(|| short.clone());
        let own = [
            ("CONTAINER_ID", short),
            ("CONTAINER_ID_FULL", about.id.to_owned()),
            ("CONTAINER_NAME", about.name.to_owned()),
            ("CONTAINER_TAG", tag.clone()),
            ("IMAGE_NAME", about.image.to_owned()),
            ("SYSLOG_IDENTIFIER", tag),
        ];
        let mut fields: Vec<(String, String)> = own.map(|(name, value)| (name.to_owned(), value)).into();
        for (name, value) in self.attributes.of(about)? {
            // Nobody passes for another container, or for another source.
            let known = |name: &String| fields.iter().any(|(known, _)| known == name);
            if let Some(name) = field(&name).filter(|name| !known(name) && !RESERVED.contains(&name.as_str()))
            {
                fields.push((name, value));
            }
        }
        Ok(fields)
    }
}

/// A socket that is connected to the host's journal.
fn journal() -> Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::DGRAM, flags, None)
        .call("socket", JOURNAL)?;
    let address = SocketAddrUnix::new(JOURNAL).call("sockaddr", JOURNAL)?;
    rustix::net::connect(&socket, &address).map_err(|errno| {
        Error::new(ErrorKind::Unsupported, "this host has no journal that takes entries")
            .with_errno(errno.raw_os_error())
            .with_object(JOURNAL)
            .with_hint("use another log driver, such as local")
    })?;
    Ok(socket)
}

impl Log {
    /// The file, open for reading, and its length.
    pub(crate) fn reader(&self, directory: &Path) -> Result<(File, u64)> {
        let path = directory.join(self.name);
        let file = File::open(&path).map_err(|error| Error::io("open", &path, &error))?;
        let length = file.metadata().map_err(|error| Error::io("fstat", &path, &error))?.len();
        Ok((file, length))
    }

    /// As the monitor gets it.
    pub(crate) fn describe<'a>(&'a self, fds: &mut FdList<'a>) -> LogSink {
        LogSink {
            file: fds.push(self.file.as_fd()),
            form: self.form,
            attributes: self.attributes.clone(),
            rotation: self.rotation.as_ref().map(|(directory, max_size, max_files)| Rotation {
                directory: fds.push(directory.as_fd()),
                name: self.name.to_owned(),
                max_size: *max_size,
                max_files: *max_files,
            }),
            journald: self.journal.as_ref().map(|(socket, fields)| Journald {
                socket: fds.push(socket.as_fd()),
                fields: fields.clone(),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(driver: &str, options: &[(&str, &str)]) -> Result<Settings> {
        let mut spec = ContainerSpec::new("i");
        spec.log_driver = (!driver.is_empty()).then(|| driver.to_owned());
        spec.log_opt = options.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        Settings::of(&spec)
    }

    #[test]
    fn drivers_and_options() {
        assert_eq!(settings("", &[]).unwrap().file(), Some("log"));
        assert_eq!(settings("json-file", &[]).unwrap().file(), Some("json.log"));
        assert_eq!(settings("none", &[]).unwrap().file(), None);
        let capped = |driver, options: &[_]| settings(driver, options).unwrap().rotation;
        assert_eq!(capped("json-file", &[("max-size", "1k")]), Some((1024, 1)));
        assert_eq!(capped("local", &[("max-size", "1m")]), Some((1 << 20, 5)));
        assert_eq!(capped("local", &[("max-size", "1m"), ("max-file", "2")]), Some((1 << 20, 2)));
        assert_eq!(capped("local", &[("max-size", "-1")]), None);
        for (driver, options) in [
            ("syslog", &[][..]),
            ("none", &[("max-size", "1m")]),
            ("local", &[("max-size", "x")]),
            ("local", &[("max-size", "0")]),
            ("local", &[("max-file", "0"), ("max-size", "1m")]),
            ("local", &[("max-file", "2")]),
            ("local", &[("tag", "x")]),
            ("local", &[("labels", "x")]),
            ("json-file", &[("tag", "{{.Nope}}")]),
            ("journald", &[("env-regex", "(")]),
            ("json-file", &[("compress", "true")]),
        ] {
            assert!(settings(driver, options).is_err(), "{driver} {options:?}");
        }
    }

    #[test]
    fn names_of_logs() {
        for name in ["log", "log.1", "log.12", "json.log", "json.log.3"] {
            assert!(is_log(name), "{name}");
        }
        for name in ["logs", "log.x", "upper", "xlog", "json.log.gz"] {
            assert!(!is_log(name), "{name}");
        }
    }
}
