//! Secrets: files of a container whose content is in memory alone.
//!
//! Where a secret comes from is an option of its container, and kept with it: a file, or a variable of the environment of whoever starts the container. What is in it is not kept: it is read at each
//! start, handed to the monitor in a sealed memfd, and copied from there to a file system in memory that only the container sees. Bytes come from nowhere else, so the engine keeps
//! them, as long as it lives, for the containers that it has made.

use std::collections::HashMap;
use std::fmt;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt;
use std::sync::{Arc, Mutex, PoisonError};

use rustix::fs::{MemfdFlags, Mode, OFlags, SealFlags};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::mount::{self, clean};
use super::validate::invalid;
use super::{ContainerSpec, Mount};
use crate::error::{Call, Error, ErrorKind, Result};
use crate::state::{Db, containers};

/// The most bytes of a secret: docker's limit, and podman's.
const MOST_BYTES: usize = 512_000;
/// The most secrets of a container.
const MOST: usize = 64;
/// Where secrets are unless they are told otherwise.
const DIRECTORY: &str = "/run/secrets";

/// A file of a container whose content is kept in memory alone: neither in the store nor on any disk, and in nothing that is shown.
///
/// The content comes from a file of the host or a variable of the environment, which are read by whoever starts the container, or is given as bytes. Bytes are known to the engine that made the
/// container, and to the container while it runs and is started again by its policy: another engine cannot start it later.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Secret {
    /// Its name: `[a-zA-Z0-9][a-zA-Z0-9_.-]*`, at most 128 characters.
    pub name: String,
    /// The place in the container: an absolute path, or one below `/run/secrets`. None: the name there.
    pub target: Option<String>,
    /// Owner in the container.
    pub uid: u32,
    /// Group in the container.
    pub gid: u32,
    /// Permission bits: 0444 unless set.
    pub mode: u32,
    /// The file of the host that it comes from.
    pub file: Option<String>,
    /// The variable of the environment that it comes from.
    pub environment: Option<String>,
    #[serde(skip)]
    value: Option<Value>,
}

impl Secret {
    fn new(name: impl Into<String>) -> Secret {
        Secret {
            name: name.into(),
            target: None,
            uid: 0,
            gid: 0,
            mode: 0o444,
            file: None,
            environment: None,
            value: None,
        }
    }

    /// One that consists of these bytes.
    pub fn of_bytes(name: impl Into<String>, bytes: impl Into<Vec<u8>>) -> Secret {
        Secret { value: Some(Value::new(bytes.into())), ..Secret::new(name) }
    }

    /// What a file has in it at each start.
    pub fn of_file(name: impl Into<String>, path: impl Into<String>) -> Secret {
        Secret { file: Some(path.into()), ..Secret::new(name) }
    }

    /// What a variable of the environment of this process, or whichever starts the container, is at each start.
    pub fn of_environment(name: impl Into<String>, variable: impl Into<String>) -> Secret {
        Secret { environment: Some(variable.into()), ..Secret::new(name) }
    }

    /// A comma-separated list of `key=value`: `id`, `source` or `src` (a file), `env` (a variable), `target` or `dst`, `uid`, `gid`, `mode` (octal). The bytes take the place of a file or variable.
    pub fn parse(text: &str, bytes: Option<Vec<u8>>) -> Result<Secret> {
        let wrong = |why: String| Error::new(ErrorKind::InvalidArgument, format!("secrets: {why}"));
        let mut secret = Secret::new("");
        secret.value = bytes.map(Value::new);
        for field in super::parse::fields(text)? {
            let (key, value) =
                field.split_once('=').ok_or_else(|| wrong("a field is not of the form key=value".into()))?;
            let number = || {
                value
                    .parse::<u32>()
                    .map_err(|_| wrong(format!("{key} is not a number")).with_object("secrets"))
            };
            match key {
                "id" => value.clone_into(&mut secret.name),
                "source" | "src" => secret.file = Some(value.to_owned()),
                "env" => secret.environment = Some(value.to_owned()),
                "target" | "dst" => secret.target = Some(value.to_owned()),
                "uid" => secret.uid = number()?,
                "gid" => secret.gid = number()?,
                "mode" => secret.mode = mount::octal(value)?,
                // It may be a secret that has a comma in it.
                _ => return Err(wrong("a key is not one of id, src, env, target, uid, gid and mode".into())),
            }
        }
        secret.check()?;
        Ok(secret)
    }

    /// The place in the container, without `.` and repeated `/`.
    pub(super) fn place(&self) -> String {
        let target = self.target.as_deref().unwrap_or(&self.name);
        if target.starts_with('/') { clean(target) } else { clean(&format!("{DIRECTORY}/{target}")) }
    }

    /// Whether it was given as bytes, which may not be at hand.
    fn is_bytes(&self) -> bool {
        self.file.is_none() && self.environment.is_none()
    }

    fn check(&self) -> Result<()> {
        let why = |why: &str| Err(invalid("secrets", format!("\"{}\" {why}", self.name.escape_default())));
        let mut chars = self.name.chars();
        let good = self.name.len() <= 128
            && chars.next().is_some_and(|c| c.is_ascii_alphanumeric())
            && chars.all(|c| c.is_ascii_alphanumeric() || "_.-".contains(c));
        if !good {
            return why("is not a name: [a-zA-Z0-9][a-zA-Z0-9_.-]*, at most 128 characters");
        }
        if [self.file.is_some(), self.environment.is_some(), self.value.is_some()]
            .iter()
            .filter(|given| **given)
            .count()
            > 1
        {
            return why("comes from more than one place");
        }
        if let Some(path) = &self.file
            && (path.is_empty() || path.contains('\0'))
        {
            return why("has the path of no file");
        }
        if let Some(name) = &self.environment
            && (name.is_empty() || name.contains(['=', '\0']))
        {
            return why("has the name of no variable");
        }
        if self.value.as_ref().is_some_and(|value| value.0.len() > MOST_BYTES) {
            return why("is longer than 512000 bytes");
        }
        if self.mode > 0o777 {
            return why("has more than permission bits in its mode");
        }
        if self.uid == u32::MAX || self.gid == u32::MAX {
            return why("has an owner or group that there cannot be");
        }
        let target = self.target.as_deref().unwrap_or(&self.name);
        if target.split('/').any(|name| name == "..") || target.is_empty() || target.ends_with('/') {
            return why("has a target that is not the path of a file");
        }
        Mount::tmpfs(self.place()).check("secrets")
    }

    /// Reads it. Nothing of the content is in an error.
    fn read(&self) -> Result<Value> {
        let doing = || format!("reading the secret \"{}\"", self.name);
        let too_long = || {
            let text = format!("the secret \"{}\" is longer than {MOST_BYTES} bytes", self.name);
            Error::new(ErrorKind::LimitExceeded, text).with_object(&self.name)
        };
        if let Some(value) = &self.value {
            return Ok(value.clone());
        }
        if let Some(variable) = &self.environment {
            let value = std::env::var_os(variable).ok_or_else(|| {
                let text = format!(
                    "the secret \"{}\" comes from the environment variable \"{}\", which is not set",
                    self.name,
                    variable.escape_default()
                );
                Error::new(ErrorKind::InvalidState, text)
                    .with_object(&self.name)
                    .with_hint("set it where the container is started")
            })?;
            let value = Value::new(value.into_vec());
            return if value.0.len() > MOST_BYTES { Err(too_long()) } else { Ok(value) };
        }
        let Some(path) = &self.file else {
            let text = format!(
                "the secret \"{}\" was given as bytes to the process that created the container, and is not known to this one",
                self.name
            );
            return Err(Error::new(ErrorKind::InvalidState, text)
                .with_object(&self.name)
                .with_hint("let it come from a file, or create the container anew"));
        };
        // A FIFO is not waited for.
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let file = rustix::fs::open(path.as_str(), flags, Mode::empty());
        let file = File::from(file.call("open", path).map_err(|error| error.while_doing(doing()))?);
        let failed = |error: &std::io::Error| Error::io("read", path, error).while_doing(doing());
        let about = file.metadata().map_err(|error| failed(&error))?;
        if !about.is_file() {
            let text = format!("\"{}\" is not a regular file", path.escape_default());
            return Err(Error::new(ErrorKind::InvalidArgument, text).with_object(path).while_doing(doing()));
        }
        // As large as it may get, so that no part of it is left behind where it grew.
        let mut bytes = Zeroizing::new(Vec::with_capacity(MOST_BYTES + 1));
        file.take(MOST_BYTES as u64 + 1).read_to_end(&mut bytes).map_err(|error| failed(&error))?;
        if bytes.len() > MOST_BYTES { Err(too_long()) } else { Ok(Value(Arc::new(bytes))) }
    }
}

/// The content of a secret. Its memory is cleared at the end.
#[derive(Clone, PartialEq, Eq)]
struct Value(Arc<Zeroizing<Vec<u8>>>);

impl Value {
    fn new(bytes: Vec<u8>) -> Value {
        Value(Arc::new(Zeroizing::new(bytes)))
    }

    /// A file in memory with the content, which nobody can change.
    fn sealed(&self) -> Result<OwnedFd> {
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        let fd = rustix::fs::memfd_create(c"coble-secret", flags).call("memfd_create", "secret")?;
        let mut file = File::from(fd);
        file.write_all(&self.0).map_err(|error| Error::io("write", "secret", &error))?;
        let fd = OwnedFd::from(file);
        let seals = SealFlags::SEAL | SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE;
        rustix::fs::fcntl_add_seals(&fd, seals).call("fcntl", "secret")?;
        Ok(fd)
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(hidden)")
    }
}

/// Checks the secrets of a container against each other and its mounts.
pub(super) fn check(spec: &ContainerSpec) -> Result<()> {
    if spec.secrets.is_empty() {
        return Ok(());
    }
    if spec.secrets.len() > MOST {
        return Err(invalid("secrets", format!("are more than {MOST}")));
    }
    let mut targets: Vec<String> = mount::all(spec).into_iter().map(|mount| mount.target).collect();
    let mut names = Vec::new();
    for secret in &spec.secrets {
        secret.check()?;
        let target = secret.place();
        if names.contains(&&secret.name) || targets.contains(&target) {
            let shown = secret.name.escape_default();
            return Err(invalid("secrets", format!("\"{shown}\" is there twice, or its target is")));
        }
        names.push(&secret.name);
        targets.push(target);
    }
    Ok(())
}

/// Makes paths absolute, and reads every secret once, so that one that is missing shows when the container is created.
pub(super) fn resolve(spec: &mut ContainerSpec) -> Result<()> {
    for secret in &mut spec.secrets {
        if let Some(path) = &mut secret.file {
            let absolute = std::path::absolute(&*path).map_err(|error| Error::io("getcwd", ".", &error))?;
            *path = absolute
                .into_os_string()
                .into_string()
                .map_err(|_| invalid("secrets", format!("the path of \"{}\" is not UTF-8", secret.name)))?;
        }
        secret.read()?;
    }
    Ok(())
}

/// Fails if one cannot be read by this process.
pub(super) fn check_sources(spec: &ContainerSpec) -> Result<()> {
    spec.secrets.iter().try_for_each(|secret| secret.read().map(drop))
}

/// A secret of a container that is about to start.
#[derive(Debug)]
pub(crate) struct Open {
    pub(crate) target: String,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) mode: u32,
    pub(crate) content: OwnedFd,
}

/// Reads the secrets of a container.
pub(crate) fn open(spec: &ContainerSpec) -> Result<Vec<Open>> {
    let open = |secret: &Secret| {
        Ok(Open {
            target: secret.place(),
            uid: secret.uid,
            gid: secret.gid,
            mode: secret.mode,
            content: secret.read()?.sealed()?,
        })
    };
    spec.secrets.iter().map(open).collect()
}

/// The secrets that were given as bytes, by container and name, as long as the engine lives.
#[derive(Default)]
pub(crate) struct Kept(Mutex<HashMap<String, Vec<(String, Value)>>>);

impl Kept {
    /// Keeps those of a container that was made.
    pub(super) fn keep(&self, db: &Db, id: &str, spec: &ContainerSpec) {
        let values: Vec<(String, Value)> = spec
            .secrets
            .iter()
            .filter_map(|secret| Some((secret.name.clone(), secret.value.clone()?)))
            .collect();
        if values.is_empty() {
            return;
        }
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Containers that others have removed, looked for more rarely the more there are.
        if kept.len().is_power_of_two() {
            kept.retain(|id, _| !matches!(containers::get(db, id), Ok(None)));
        }
        kept.insert(id.to_owned(), values);
    }

    /// Puts them in their places among the options of a container from the store.
    pub(super) fn fill(&self, id: &str, spec: &mut ContainerSpec) {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(values) = kept.get(id) else { return };
        for secret in spec.secrets.iter_mut().filter(|secret| secret.is_bytes()) {
            secret.value =
                values.iter().find(|(name, _)| *name == secret.name).map(|(_, value)| value.clone());
        }
    }

    /// Forgets those of a container that is removed.
    pub(super) fn forget(&self, id: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(id);
    }
}

impl fmt::Debug for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Kept")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CANARY: &str = "canary-of-the-secret";

    #[test]
    fn the_content_is_in_nothing_that_is_written_or_shown() {
        let mut spec = ContainerSpec::new("image");
        spec.secrets = vec![Secret::of_bytes("key", CANARY)];
        check(&spec).unwrap();
        assert!(!format!("{spec:?}").contains("canary"));
        let json = serde_json::to_string(&spec).unwrap();
        assert!(!json.contains("canary") && json.contains("key"));
        let back: ContainerSpec = serde_json::from_str(&json).unwrap();
        let error = back.secrets.first().unwrap().read().unwrap_err();
        assert_eq!((error.kind(), error.object()), (ErrorKind::InvalidState, Some("key")));
        let sealed = spec.secrets.first().unwrap().read().unwrap().sealed().unwrap();
        assert!(File::from(sealed).write_all(b"x").is_err());
    }

    #[test]
    fn texts_are_read() {
        let secret = Secret::parse("id=a,src=./b,target=c/d,uid=1,gid=2,mode=400", None).unwrap();
        assert_eq!((secret.name.as_str(), secret.file.as_deref()), ("a", Some("./b")));
        assert_eq!((secret.uid, secret.gid, secret.mode), (1, 2, 0o400));
        assert_eq!(secret.place(), "/run/secrets/c/d");
        assert_eq!(Secret::parse("id=a,env=X", None).unwrap().place(), "/run/secrets/a");
        assert_eq!(Secret::parse("id=a,dst=/x//y", Some(b"z".to_vec())).unwrap().place(), "/x/y");
        for (bad, bytes) in [
            ("", None),
            ("id=", None),
            ("id=../x,env=X", None),
            ("id=a,src=b,env=X", None),
            ("id=a,env=X", Some(b"z".to_vec())),
            ("id=a,env=X=Y", None),
            ("id=a,env=X,mode=1777", None),
            ("id=a,env=X,mode=9", None),
            ("id=a,env=X,uid=-1", None),
            ("id=a,env=X,uid=4294967295", None),
            ("id=a,env=X,target=/proc/x", None),
            ("id=a,env=X,target=../../x", None),
            ("id=a,env=X,target=/", None),
            ("id=a,env=X,frob=1", None),
            ("id=a,env=X,hunter2", None),
        ] {
            let error = Secret::parse(bad, bytes).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{bad}");
            assert!(!error.to_string().contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn what_is_missing_is_named() {
        let error = Secret::of_environment("a", "COBLE_NO_SUCH_VARIABLE").read().unwrap_err();
        assert_eq!(error.object(), Some("a"));
        assert!(error.to_string().contains("COBLE_NO_SUCH_VARIABLE"), "{error}");
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
        assert_eq!(Secret::of_file("a", path("none")).read().unwrap_err().kind(), ErrorKind::PathNotFound);
        assert!(Secret::of_file("a", path("")).read().is_err());
        std::fs::write(path("long"), vec![b'x'; MOST_BYTES + 1]).unwrap();
        assert_eq!(Secret::of_file("a", path("long")).read().unwrap_err().kind(), ErrorKind::LimitExceeded);
        std::fs::write(path("most"), vec![b'x'; MOST_BYTES]).unwrap();
        assert_eq!(Secret::of_file("a", path("most")).read().unwrap().0.len(), MOST_BYTES);
    }

    #[test]
    fn nothing_is_there_twice() {
        let mut spec = ContainerSpec::new("image");
        spec.secrets = vec![Secret::of_bytes("a", "1"), Secret::of_bytes("a", "2")];
        assert!(check(&spec).is_err());
        spec.secrets = vec![
            Secret::of_bytes("a", "1"),
            Secret { target: Some("a".into()), ..Secret::of_bytes("b", "2") },
        ];
        assert!(check(&spec).is_err());
        spec.secrets = vec![Secret::of_bytes("a", "1")];
        spec.tmpfs = vec![Mount::tmpfs("/run/secrets/a")];
        assert!(check(&spec).is_err());
        spec.tmpfs = vec![Mount::tmpfs("/run")];
        check(&spec).unwrap();
    }
}
