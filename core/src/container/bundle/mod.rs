//! Bundles of the OCI runtime specification: a directory with a `config.json` and a root file system. The configuration becomes options of a container, so that everything about
//! it is checked and done where it is for every container.
//!
//! A `config.json` may come from anywhere: it is read within a bound, every member that is not taken is refused by its name or noted, and what is left out means what it means for
//! every container, unless the specification's meaning is the stricter one.

mod config;
mod fields;

use std::io::Read;
use std::path::{Component, Path};

use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::validate::invalid;
use super::{ContainerSpec, NetworkMode, Warning};
use crate::engine::Inner;
use crate::error::{Call, Context, Error, ErrorKind, Result};
use crate::isolation::{capabilities, mounts};

#[cfg(any(test, fuzzing))]
pub(crate) use config::fuzz;

/// The most bytes of a `config.json`.
const MAX_CONFIG: u64 = 1 << 20;
const CONFIG: &str = "config.json";

/// What a bundle says that no option does.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Beyond {
    /// Ambient and inheritable capabilities, as a mask.
    pub(crate) ambient: u64,
    pub(crate) umask: Option<u32>,
    /// What there is to say of it at each start.
    pub(crate) warnings: Vec<Warning>,
}

/// Reads a bundle into the options of a container: what they leave open, the bundle says.
pub(super) fn load(inner: &Inner, spec: &mut ContainerSpec, path: &str) -> Result<()> {
    let doing = || format!("reading the bundle \"{}\"", path.escape_default());
    if path.contains('\0') {
        return Err(invalid("bundle", "has a NUL character"));
    }
    if spec.privileged {
        return Err(invalid("privileged", "the bundle says what the container may do"));
    }
    let directory = Path::new(path).canonicalize().map_err(|error| Error::io("realpath", path, &error))?;
    let Some(directory) = directory.to_str() else {
        return Err(invalid("bundle", "the path is not UTF-8"));
    };
    let text = read(directory).context(doing)?;
    let read = config::read(&text, directory, inner.userns.as_ref()).context(doing)?;
    let rootfs = rootfs(directory, &read.root).context(doing)?;
    own_namespaces(&read.spec, spec).context(doing)?;
    *spec = merged(read.spec, std::mem::replace(spec, ContainerSpec::new("")))?;
    spec.rootfs = Some(rootfs);
    spec.bundle = Some(directory.to_owned());
    Ok(())
}

/// A namespace that a configuration does not name is the host's, by the specification. That much is not given because something is missing: the caller has to say it, too.
fn own_namespaces(bundle: &ContainerSpec, caller: &ContainerSpec) -> Result<()> {
    use super::NamespaceMode::{Host, Private};
    let modes = [
        ("pid", "pid_mode", bundle.pid_mode == Host && caller.pid_mode == Private),
        ("ipc", "ipc_mode", bundle.ipc_mode == Host && caller.ipc_mode == Private),
        ("uts", "uts_mode", bundle.uts_mode == Host && caller.uts_mode == Private),
        ("network", "network", bundle.network == NetworkMode::Host && caller.network == NetworkMode::None),
    ];
    match modes.into_iter().find(|(.., silent)| *silent) {
        None => Ok(()),
        Some((kind, option, _)) => Err(fields::refused(
            "linux.namespaces",
            format!("has no {kind} namespace, which means the host's"),
        )
        .with_hint(format!("name it there, or say {option}=host"))),
    }
}

/// The text of the configuration: a regular file in the directory itself.
fn read(directory: &str) -> Result<String> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let path = Path::new(directory).join(CONFIG);
    let file = rustix::fs::open(&path, flags, Mode::empty()).call("open", &path)?;
    let stat = rustix::fs::fstat(&file).call("fstat", &path)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(fields::wrong("the document", "is not a regular file"));
    }
    let mut bytes = Vec::new();
    std::fs::File::from(file)
        .take(MAX_CONFIG + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| Error::io("read", &path, &error))?;
    if bytes.len() as u64 > MAX_CONFIG {
        let text = format!("{CONFIG} is longer than {MAX_CONFIG} bytes");
        return Err(Error::new(ErrorKind::LimitExceeded, text).with_object(CONFIG));
    }
    String::from_utf8(bytes).map_err(|_| fields::wrong("the document", "is not UTF-8"))
}

/// The root file system. A relative path stays in the bundle, and no link is followed on it: a bundle that was unpacked somewhere must not lead elsewhere.
fn rootfs(directory: &str, root: &str) -> Result<String> {
    let path = Path::new(root);
    if path.is_absolute() {
        return mounts::resolve_rootfs(root);
    }
    if path.components().any(|part| part == Component::ParentDir) {
        return Err(fields::refused("root.path", "leads out of the bundle"));
    }
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let bundle = rustix::fs::openat(CWD, directory, flags, Mode::empty()).call("open", directory)?;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
    rustix::fs::openat2(&bundle, path, flags, Mode::empty(), resolve).call("open", path)?;
    mounts::resolve_rootfs(&format!("{directory}/{root}"))
}

/// The options of a bundle with those of the caller over them: one that the caller left at its default is the bundle's; lists and maps are joined, the caller's last.
fn merged(mut bundle: ContainerSpec, caller: ContainerSpec) -> Result<ContainerSpec> {
    // Of a list that is exact, what the caller drops has to be dropped by hand.
    let dropped = capabilities::from_lists(&caller.cap_drop, &["ALL".to_owned()])?;
    let stays = |name: &String| {
        let name = std::slice::from_ref(name);
        capabilities::from_lists(name, &["ALL".to_owned()]).is_ok_and(|mask| mask & dropped == 0)
    };
    bundle.cap_add.retain(stays);
    if let Some(beyond) = &mut bundle.beyond {
        beyond.ambient &= !dropped;
    }
    if caller.command.is_some() || caller.entrypoint.is_some() {
        bundle.command = None;
    }
    // What is not written down with the others.
    let (pull, secrets) = (caller.pull, caller.secrets.clone());
    let json = |spec: &ContainerSpec| match serde_json::to_value(spec) {
        Ok(Value::Object(members)) => Ok(members),
        _ => Err(Error::new(ErrorKind::Internal, "the options of a container are no object")),
    };
    let (mut over, untouched) = (json(&caller)?, json(&ContainerSpec::new(""))?);
    over.retain(|key, value| untouched.get(key) != Some(value));
    let mut members = json(&bundle)?;
    put_over(&mut members, over);
    let mut spec: ContainerSpec = serde_json::from_value(Value::Object(members))
        .map_err(|error| Error::new(ErrorKind::Internal, format!("joining options: {error}")))?;
    (spec.pull, spec.secrets) = (pull, secrets);
    Ok(spec)
}

fn put_over(below: &mut Map<String, Value>, above: Map<String, Value>) {
    /// Lists that are one value.
    const WHOLE: [&str; 5] = ["command", "entrypoint", "console_size", "masked_paths", "readonly_paths"];

    for (key, value) in above {
        match (below.get_mut(&key), value) {
            (Some(Value::Array(old)), Value::Array(new)) if !WHOLE.contains(&key.as_str()) => old.extend(new),
            (Some(Value::Object(old)), Value::Object(new)) => put_over(old, new),
            (_, value) => drop(below.insert(key, value)),
        }
    }
}
