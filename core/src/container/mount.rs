//! What is mounted into a container: directories and files of the host (binds), volumes, and file systems in memory (tmpfs). The words are docker's. Here they are read and
//! checked, without a look at the host; sources are opened by `isolation::mounts`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::ContainerSpec;
use super::validate::invalid;
use crate::error::{Error, ErrorKind, Result};

/// The most mounts of one container: their descriptors go to the monitor in one message.
const MOST: usize = 128;

/// The files of `/proc` that something may be mounted over: figures of the host for which other programs make figures of the container.
const PROC_FILES: &[&str] =
    &["cpuinfo", "diskstats", "loadavg", "meminfo", "slabinfo", "stat", "swaps", "uptime"];

/// Something that is mounted into a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Mount {
    /// What it is.
    #[serde(rename = "type")]
    pub kind: MountKind,
    /// Of a bind the directory or file of the host, absolute. Links are followed once, when the container is created, which then has the path without links. Of a volume its name; None is one
    /// that is made for the container. None for a tmpfs.
    pub source: Option<String>,
    /// The place in the container, absolute; made when missing. Links are followed inside the container's root.
    pub target: String,
    /// Nothing can be written to it, nor to what is mounted below it, unless `recursive` says otherwise.
    pub read_only: bool,
    /// What mounts and unmounts on one side mean for the other. Only for binds.
    pub propagation: Propagation,
    /// What becomes of what is mounted below the source. Only for binds.
    pub recursive: BindRecursive,
    /// A missing source is made, as a directory, instead of being an error. Only for binds.
    pub create_source: bool,
    /// The most bytes of a tmpfs. None: half of the memory.
    pub tmpfs_size: Option<u64>,
    /// Permission bits of a tmpfs. None: those of the directory that it covers, or 01777.
    pub tmpfs_mode: Option<u32>,
    /// What the image has at the target is not copied to an empty volume. Only for volumes.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub no_copy: bool,
    /// What of a volume is mounted: a path below it, relative, without `..`. Links in it are followed as long as they stay in the volume. It has to be there when the container is started, and nothing is
    /// copied to the volume.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subpath: Option<String>,
    /// Labels of a volume that is made for the mount.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub volume_labels: BTreeMap<String, String>,
    /// The volume was named by the engine.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) anonymous: bool,
    /// Further options, such as `noexec` and `uid=1000`: see [`parse::bind`](super::parse::bind) and [`parse::tmpfs`](super::parse::tmpfs).
    pub options: Vec<String>,
}

/// What is mounted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum MountKind {
    /// A directory or file of the host.
    Bind,
    /// A file system in memory, which goes with the container.
    Tmpfs,
    /// A volume of the store.
    Volume,
}

impl MountKind {
    /// `bind`, `tmpfs` or `volume`.
    pub fn parse(text: &str) -> Result<MountKind> {
        match text.to_ascii_lowercase().as_str() {
            "bind" => Ok(MountKind::Bind),
            "tmpfs" => Ok(MountKind::Tmpfs),
            "volume" => Ok(MountKind::Volume),
            "image" | "cluster" | "npipe" => Err(Error::new(
                ErrorKind::Unsupported,
                format!("mounts of the type {text} are not supported"),
            )
            .with_object(text)
            .with_hint("use bind, volume or tmpfs")),
            _ => Err(unknown("type of mount", text, "bind, volume and tmpfs are")),
        }
    }

    pub(super) const fn name(self) -> &'static str {
        match self {
            MountKind::Bind => "bind",
            MountKind::Tmpfs => "tmpfs",
            MountKind::Volume => "volume",
        }
    }
}

/// What mounts and unmounts on one side of a bind mean for the other. The forms with `r` concern what is mounted below it, too; of the others, what is below
/// a `private` one hears of the host's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
#[allow(missing_docs)]
pub enum Propagation {
    /// Nothing, in either direction.
    #[default]
    RPrivate,
    Private,
    /// What the host mounts below the source appears in the container.
    RSlave,
    Slave,
    /// That, and the other way round. Not in a user namespace.
    RShared,
    Shared,
}

impl Propagation {
    /// `rprivate`, `private`, `rslave`, `slave`, `rshared` or `shared`.
    pub fn parse(text: &str) -> Result<Propagation> {
        Propagation::find(&text.to_ascii_lowercase()).ok_or_else(|| {
            unknown("propagation", text, "rprivate, private, rslave, slave, rshared and shared are")
        })
    }

    fn find(word: &str) -> Option<Propagation> {
        use Propagation::{Private, RPrivate, RShared, RSlave, Shared, Slave};
        [RPrivate, Private, RSlave, Slave, RShared, Shared].into_iter().find(|known| known.name() == word)
    }

    /// The word.
    pub const fn name(self) -> &'static str {
        match self {
            Propagation::RPrivate => "rprivate",
            Propagation::Private => "private",
            Propagation::RSlave => "rslave",
            Propagation::Slave => "slave",
            Propagation::RShared => "rshared",
            Propagation::Shared => "shared",
        }
    }

    pub(crate) const fn is_shared(self) -> bool {
        matches!(self, Propagation::Shared | Propagation::RShared)
    }
}

/// What becomes of what is mounted below the source of a bind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum BindRecursive {
    /// It comes along, and is read-only if the bind is.
    #[default]
    Enabled,
    /// It stays away.
    Disabled,
    /// It comes along as it is, below a bind that is read-only.
    Writable,
    /// It comes along and is read-only; only with `read_only` and the propagation `rprivate`.
    ReadOnly,
}

impl BindRecursive {
    /// `enabled`, `disabled`, `writable` or `readonly`.
    pub fn parse(text: &str) -> Result<BindRecursive> {
        match text.to_ascii_lowercase().as_str() {
            "enabled" | "true" | "1" => Ok(BindRecursive::Enabled),
            "disabled" | "false" | "0" => Ok(BindRecursive::Disabled),
            "writable" => Ok(BindRecursive::Writable),
            "readonly" => Ok(BindRecursive::ReadOnly),
            _ => {
                Err(unknown("value of bind-recursive", text, "enabled, disabled, writable and readonly are"))
            }
        }
    }
}

fn unknown(what: &str, text: &str, known: &str) -> Error {
    Error::new(ErrorKind::InvalidArgument, format!("unknown {what} \"{}\"", text.escape_default()))
        .with_object(text)
        .with_hint(format!("{known} known"))
}

impl Mount {
    /// A mount with every default.
    pub fn new(kind: MountKind, source: Option<String>, target: impl Into<String>) -> Mount {
        Mount {
            kind,
            source,
            target: target.into(),
            read_only: false,
            propagation: Propagation::RPrivate,
            recursive: BindRecursive::Enabled,
            create_source: false,
            tmpfs_size: None,
            tmpfs_mode: None,
            no_copy: false,
            subpath: None,
            volume_labels: BTreeMap::new(),
            anonymous: false,
            options: Vec::new(),
        }
    }

    /// A volume of the store, which is made when it is missing.
    pub fn volume(name: impl Into<String>, target: impl Into<String>) -> Mount {
        Mount::new(MountKind::Volume, Some(name.into()), target)
    }

    /// A directory or file of the host.
    pub fn bind(source: impl Into<String>, target: impl Into<String>) -> Mount {
        Mount::new(MountKind::Bind, Some(source.into()), target)
    }

    /// A file system in memory.
    pub fn tmpfs(target: impl Into<String>) -> Mount {
        Mount::new(MountKind::Tmpfs, None, target)
    }

    /// Sets what a comma-separated list of words of a bind says. Docker lets each kind of word be given once.
    pub(super) fn bind_words(&mut self, words: &str) -> Result<()> {
        let mut seen: Vec<&str> = Vec::new();
        for word in words.split(',').filter(|word| !word.is_empty()) {
            let kind = match word {
                "ro" | "rw" => {
                    self.read_only = word == "ro";
                    "access"
                }
                "z" | "Z" => {
                    self.options.push(word.to_owned());
                    "label"
                }
                "idmap" => {
                    self.options.push(word.to_owned());
                    "ids"
                }
                // Podman's: an overlay over the source, and its content for the container's user.
                "O" | "U" => {
                    self.options.push(word.to_owned());
                    if word == "O" { "overlay" } else { "owner" }
                }
                // They mean something where the host's files are far away.
                "consistent" | "cached" | "delegated" | "default" => "consistency",
                // About the content of a new volume, which a bind is not.
                "nocopy" | "copy" => {
                    self.no_copy = word == "nocopy" && self.kind == MountKind::Volume;
                    "copy"
                }
                "rbind" | "bind" => {
                    self.recursive =
                        if word == "bind" { BindRecursive::Disabled } else { BindRecursive::Enabled };
                    "recursion"
                }
                _ if Flag::find(word).is_some() => {
                    self.options.push(word.to_owned());
                    word.strip_prefix("no").unwrap_or(word)
                }
                _ => match Propagation::find(word) {
                    Some(propagation) => {
                        self.propagation = propagation;
                        "propagation"
                    }
                    None => {
                        let known = "ro, rw, z, Z, O, U, idmap, rprivate, private, rslave, slave, rshared, shared, noexec, nosuid and nodev are";
                        return Err(unknown("option of a volume", word, known));
                    }
                },
            };
            if seen.contains(&kind) {
                let why = format!("the options \"{}\" say two things about one", words.escape_default());
                return Err(Error::new(ErrorKind::InvalidArgument, why).with_object(words));
            }
            seen.push(kind);
        }
        Ok(())
    }

    /// Sets what a comma-separated list of options of a tmpfs says; of several for one thing the last one counts, as for mount(8).
    pub(super) fn tmpfs_words(&mut self, words: &str) -> Result<()> {
        for word in words.split(',').filter(|word| !word.is_empty()) {
            match (word, word.split_once('=')) {
                ("ro" | "rw", _) => self.read_only = word == "ro",
                (_, Some(("mode", mode))) => self.tmpfs_mode = Some(octal(mode)?),
                (_, Some(("size", size))) if !size.ends_with('%') => {
                    self.tmpfs_size = Some(super::parse::size(size)?);
                }
                _ => {
                    TmpfsOption::read(word)?;
                    self.options.push(word.to_owned());
                }
            }
        }
        Ok(())
    }

    /// The flags that the options ask for; a tmpfs has all three unless told otherwise.
    pub(crate) fn flags(&self) -> Flags {
        let all = self.kind == MountKind::Tmpfs;
        let mut flags = Flags { nosuid: all, nodev: all, noexec: all };
        for flag in self.options.iter().filter_map(|word| Flag::find(word)) {
            match flag {
                Flag::Suid(allowed) => flags.nosuid = !allowed,
                Flag::Dev(allowed) => flags.nodev = !allowed,
                Flag::Exec(allowed) => flags.noexec = !allowed,
            }
        }
        flags
    }

    /// The options of the tmpfs file system, as the kernel has them. Without `mode` if nobody asked for one.
    pub(crate) fn tmpfs_options(&self) -> Vec<(String, String)> {
        let mut options: Vec<(String, String)> = Vec::new();
        let mut set = |name: &str, value: String| {
            options.retain(|(known, _)| known != name);
            options.push((name.to_owned(), value));
        };
        for word in &self.options {
            if let (None, Some((name, value))) = (Flag::find(word), word.split_once('=')) {
                set(name, value.to_owned());
            }
        }
        if let Some(size) = self.tmpfs_size {
            set("size", size.to_string());
        }
        if let Some(mode) = self.tmpfs_mode {
            set("mode", format!("{mode:o}"));
        }
        options
    }

    /// Whether SELinux is asked to relabel the source.
    pub(crate) fn relabels(&self) -> bool {
        self.options.iter().any(|word| matches!(word.as_str(), "z" | "Z"))
    }

    /// Whether it is mounted with the ids of the container's user namespace.
    pub(crate) fn is_mapped(&self) -> bool {
        self.kind == MountKind::Bind && self.options.iter().any(|word| word == "idmap")
    }

    /// Whether what is written to it is thrown away at the end of each run.
    pub(crate) fn is_overlay(&self) -> bool {
        self.kind == MountKind::Bind && self.options.iter().any(|word| word == "O")
    }

    /// Whether everything in it is given to the container's user at each start.
    pub(crate) fn changes_owner(&self) -> bool {
        self.kind == MountKind::Bind && self.options.iter().any(|word| word == "U")
    }

    /// Fails for options that exclude each other.
    fn check_overlay_and_owner(&self, field: &str) -> Result<()> {
        let plain = self.propagation == Propagation::RPrivate && self.recursive == BindRecursive::Enabled;
        if self.is_overlay() && (self.read_only || !plain || self.is_mapped()) {
            let why = "an overlay (O) is written to and is of the source alone: ro, idmap, a propagation or a recursion cannot be said of it";
            return Err(invalid(field, why));
        }
        if self.changes_owner() && (self.read_only || self.is_mapped()) {
            let why = "the owner of the files cannot be changed (U) by way of a mount that is read-only or has other ids (idmap)";
            return Err(invalid(field, why));
        }
        Ok(())
    }

    /// Whether it is for a place in the kernel's own file systems, which [`check`] allows for a few things only.
    pub(crate) fn covers_kernel(&self) -> bool {
        below(&self.target, "/proc") || below(&self.target, "/sys")
    }

    pub(super) fn check(&self, field: &str) -> Result<()> {
        let why = |why: String| Err(invalid(field, why));
        for text in self.source.iter().chain([&self.target]).chain(&self.options) {
            if text.contains('\0') {
                return why("has a NUL character".into());
            }
            if text.len() >= libc::PATH_MAX as usize {
                return why("a path is too long".into());
            }
        }
        let shown = self.target.escape_default();
        if !self.target.starts_with('/') {
            return why(format!("\"{shown}\" is not an absolute path in the container"));
        }
        if clean(&self.target) == "/" {
            return why("the root of the container cannot be mounted over".into());
        }
        match self.kind {
            MountKind::Volume => self.check_volume(field)?,
            MountKind::Bind => {
                let source = self.source.as_deref().unwrap_or_default();
                if !source.starts_with('/') {
                    return why(format!(
                        "\"{}\" is not an absolute path of the host",
                        source.escape_default()
                    ));
                }
                if self.tmpfs_size.is_some() || self.tmpfs_mode.is_some() {
                    return why(format!("\"{shown}\" is a bind and has options of a tmpfs"));
                }
                self.check_recursion(field)?;
                let known = |word: &String| {
                    Flag::find(word).is_some() || matches!(word.as_str(), "z" | "Z" | "O" | "U" | "idmap")
                };
                if let Some(word) = self.options.iter().find(|word| !known(word)) {
                    return why(format!("\"{}\" is no option of a bind", word.escape_default()));
                }
                self.check_overlay_and_owner(field)?;
            }
            MountKind::Tmpfs => {
                if self.source.is_some() {
                    return why(format!("\"{shown}\" is a tmpfs and has a source"));
                }
                let plain = self.propagation == Propagation::RPrivate
                    && self.recursive == BindRecursive::Enabled
                    && !self.create_source;
                if !plain {
                    return why(format!("\"{shown}\" is a tmpfs and has options of a bind"));
                }
                if self.tmpfs_mode.is_some_and(|mode| mode > 0o7777) {
                    return why("the mode of a tmpfs is more than 7777".into());
                }
                if self.tmpfs_size.is_some_and(|size| size > i64::MAX as u64) {
                    return why("a tmpfs is larger than any memory".into());
                }
                for word in &self.options {
                    TmpfsOption::read(word)?;
                }
            }
        }
        let of_volume = self.no_copy || self.subpath.is_some() || !self.volume_labels.is_empty();
        if self.kind != MountKind::Volume && of_volume {
            return why(format!("\"{shown}\" is no volume and has options of one"));
        }
        self.check_kernel(field)
    }

    fn check_volume(&self, field: &str) -> Result<()> {
        let shown = self.target.escape_default();
        let why = |why: String| Err(invalid(field, why));
        if let Some(name) = self.source.as_deref() {
            crate::volume::check_name(name).map_err(|error| match name.starts_with(['/', '.']) {
                true => invalid(field, format!("\"{}\" is no name of a volume", name.escape_default())).with_hint(
                    "it is a path, and without a type this is a volume: add type=\"bind\", or type=bind in a text",
                ),
                false => error,
            })?;
        }
        let plain = self.propagation == Propagation::RPrivate
            && self.recursive == BindRecursive::Enabled
            && !self.create_source;
        if !plain || self.tmpfs_size.is_some() || self.tmpfs_mode.is_some() {
            return why(format!("\"{shown}\" is a volume and has options of a bind or a tmpfs"));
        }
        let known = |word: &String| Flag::find(word).is_some() || matches!(word.as_str(), "z" | "Z");
        if let Some(word) = self.options.iter().find(|word| !known(word)) {
            return why(format!("\"{}\" is no option of a volume", word.escape_default()));
        }
        if let Some(path) = &self.subpath {
            let bad = path.is_empty() || path.starts_with('/') || path.split('/').any(|part| part == "..");
            if bad || path.contains('\0') {
                let path = path.escape_default();
                return why(format!("\"{path}\" is not a relative path below a volume, without \"..\""));
            }
        }
        crate::volume::check_labels(&self.volume_labels)
    }

    fn check_recursion(&self, field: &str) -> Result<()> {
        let word = match self.recursive {
            BindRecursive::ReadOnly => "readonly",
            BindRecursive::Writable => "writable",
            BindRecursive::Enabled | BindRecursive::Disabled => return Ok(()),
        };
        if !self.read_only {
            return Err(invalid(field, format!("bind-recursive={word} needs a bind that is read-only")));
        }
        if self.recursive == BindRecursive::ReadOnly && self.propagation != Propagation::RPrivate {
            return Err(invalid(field, "bind-recursive=readonly needs bind-propagation=rprivate"));
        }
        Ok(())
    }

    /// Nothing of a container's making may look like a file of the kernel's: what is written there has been redirected that way.
    fn check_kernel(&self, field: &str) -> Result<()> {
        if !self.covers_kernel() {
            return Ok(());
        }
        let target = clean(&self.target);
        let from_sys = self.source.as_deref().is_some_and(|source| below(source, "/sys"));
        let figure = |name: &str| PROC_FILES.contains(&name);
        let allowed = match target.strip_prefix("/proc/") {
            Some(name) => self.kind == MountKind::Bind && figure(name),
            None => below(&target, "/sys") && from_sys,
        };
        if allowed && !self.propagation.is_shared() {
            return Ok(());
        }
        Err(invalid(field, format!("nothing may be mounted over \"{}\"", target.escape_default())).with_hint(
            "over /sys and what is below it only what the host has below its /sys, over /proc only its files of figures, such as /proc/meminfo",
        ))
    }
}

/// What a tmpfs may be told beside its flags, size and mode: facts of the kernel's interface.
struct TmpfsOption;

impl TmpfsOption {
    fn read(word: &str) -> Result<()> {
        let number = |value: &str| {
            !value.is_empty() && value.len() < 20 && value.bytes().all(|byte| byte.is_ascii_digit())
        };
        let scaled =
            |value: &str| number(value.strip_suffix(['k', 'm', 'g', 'K', 'M', 'G']).unwrap_or(value));
        let good = match word.split_once('=') {
            None => Flag::find(word).is_some(),
            Some(("uid" | "gid", value)) => {
                number(value) && value.parse::<u32>().is_ok_and(|id| id != u32::MAX)
            }
            Some(("nr_inodes" | "nr_blocks", value)) => scaled(value),
            Some(("size", value)) => {
                value.strip_suffix('%').is_some_and(|share| number(share) && share.len() <= 3)
            }
            Some(("huge", value)) => matches!(value, "never" | "always" | "within_size" | "advise"),
            Some(_) => false,
        };
        if good {
            return Ok(());
        }
        let known = "ro, rw, size, mode, uid, gid, nr_inodes, nr_blocks, huge, exec, noexec, suid, nosuid, dev and nodev are";
        Err(unknown("option of a tmpfs", word, known))
    }
}

/// A flag of a mount, and whether it allows what it is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flag {
    Suid(bool),
    Dev(bool),
    Exec(bool),
}

impl Flag {
    fn find(word: &str) -> Option<Flag> {
        Some(match word {
            "suid" => Flag::Suid(true),
            "nosuid" => Flag::Suid(false),
            "dev" => Flag::Dev(true),
            "nodev" => Flag::Dev(false),
            "exec" => Flag::Exec(true),
            "noexec" => Flag::Exec(false),
            _ => return None,
        })
    }
}

/// The flags of a mount.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Flags {
    pub(crate) nosuid: bool,
    pub(crate) nodev: bool,
    pub(crate) noexec: bool,
}

/// Permission bits, in octal.
pub(super) fn octal(text: &str) -> Result<u32> {
    let digits = !text.is_empty() && text.bytes().all(|byte| matches!(byte, b'0'..=b'7'));
    let mode = u32::from_str_radix(text, 8).ok().filter(|mode| digits && *mode <= 0o7777);
    mode.ok_or_else(|| unknown("mode", text, "octal numbers up to 7777 are"))
}

/// The path without `.`, `..`, repeated and final `/`, by its text alone.
pub(crate) fn clean(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

/// Whether a path is this directory or below it.
pub(crate) fn below(path: &str, directory: &str) -> bool {
    let path = clean(path);
    path == directory || path.strip_prefix(directory).is_some_and(|rest| rest.starts_with('/'))
}

/// All mounts of a container in the order in which they are made: the shallow ones first, so that none covers another one of them.
pub(crate) fn all(spec: &ContainerSpec) -> Vec<Mount> {
    let given = spec.volumes.iter().chain(&spec.mounts).chain(&spec.tmpfs).chain(&spec.inherited);
    let mut mounts: Vec<Mount> =
        given.map(|mount| Mount { target: clean(&mount.target), ..mount.clone() }).collect();
    mounts.sort_by_key(|mount| mount.target.split('/').count());
    mounts
}

/// Checks the mounts of a container, and that they go together.
pub(super) fn check(spec: &ContainerSpec) -> Result<()> {
    let inherited = &spec.inherited;
    if spec.volumes.is_empty() && spec.mounts.is_empty() && spec.tmpfs.is_empty() && inherited.is_empty() {
        return Ok(());
    }
    let (volumes, mounts, tmpfs) = (&spec.volumes, &spec.mounts, &spec.tmpfs);
    for (field, mounts) in
        [("volumes", volumes), ("mounts", mounts), ("tmpfs", tmpfs), ("volumes_from", inherited)]
    {
        for mount in mounts {
            mount.check(field)?;
        }
    }
    let mounts = all(spec);
    if mounts.len() > MOST {
        return Err(invalid("mounts", format!("are more than {MOST}")));
    }
    let mut targets: Vec<&str> = mounts.iter().map(|mount| mount.target.as_str()).collect();
    targets.sort_unstable();
    if let Some([twice, ..]) = targets.windows(2).find(|pair| pair.first() == pair.last()) {
        return Err(invalid("mounts", format!("\"{}\" is a target twice", twice.escape_default())));
    }
    for outer in mounts.iter().filter(|mount| mount.propagation.is_shared()) {
        let inner =
            mounts.iter().find(|inner| inner.target != outer.target && below(&inner.target, &outer.target));
        if let Some(inner) = inner {
            let (inner, outer) = (inner.target.escape_default(), outer.target.escape_default());
            let why = format!(
                "\"{inner}\" is below \"{outer}\", which is shared with the host: it would stay there"
            );
            return Err(invalid("mounts", why));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::parse;
    use super::*;

    #[test]
    fn paths_are_cleaned_by_their_text() {
        for (path, expected) in
            [("/", "/"), ("//a/./b/", "/a/b"), ("/a/../..", "/"), ("/a/b/../c", "/a/c"), ("", "/")]
        {
            assert_eq!(clean(path), expected, "{path}");
        }
        assert!(below("/a/b", "/a") && below("/a/", "/a") && !below("/ab", "/a") && !below("/a/../b", "/a"));
    }

    #[test]
    fn volumes_as_docker_reads_them() {
        let mount = parse::volume("/a:/b:ro,rslave,z,cached,noexec").unwrap();
        let (source, target) = (mount.source.as_deref(), mount.target.as_str());
        assert_eq!((mount.kind, source, target), (MountKind::Bind, Some("/a"), "/b"));
        assert!(mount.read_only && mount.create_source && mount.relabels());
        assert_eq!(mount.propagation, Propagation::RSlave);
        assert_eq!(mount.flags(), Flags { nosuid: false, nodev: false, noexec: true });
        assert!(!parse::volume("/a:/b").unwrap().read_only);
        let podman = parse::volume("/a:/b:O,U").unwrap();
        assert!(podman.is_overlay() && podman.changes_owner() && podman.check("volumes").is_ok());
        assert!(parse::mount("type=bind,src=/a,dst=/b,chown=true").unwrap().changes_owner());
        let here = std::env::current_dir().unwrap().join("x");
        assert_eq!(parse::volume("./x:/b").unwrap().source.as_deref(), here.to_str());
        for (text, name) in [("/b", None), ("name:/b", Some("name")), ("name:/b:nocopy", Some("name"))] {
            let mount = parse::volume(text).unwrap();
            assert_eq!((mount.kind, mount.source.as_deref()), (MountKind::Volume, name), "{text}");
        }
        for text in [
            "",
            ":",
            "/a:",
            ":/b",
            "/a:b",
            "/a:/b:c",
            "/a:/b:ro:x",
            "/a:/b:ro,ro",
            "/a:/b:z,Z",
            "/a:/b:RO",
            "/a:/b:O,ro",
            "/a:/b:O,idmap",
            "/a:/b:U,ro",
            "/a:/b:O,O",
        ] {
            let made = parse::volume(text);
            let bad = made.is_err() || made.is_ok_and(|mount| mount.check("volumes").is_err());
            assert!(bad, "{text}");
        }
    }

    #[test]
    fn mounts_as_docker_reads_them() {
        let text = "type=bind,\"source=/a,\"\"b\",dst=/b,readonly,bind-propagation=rprivate,bind-recursive=readonly,bind-create-src";
        let mount = parse::mount(text).unwrap();
        assert_eq!(mount.source.as_deref(), Some("/a,\"b"));
        assert!(mount.read_only && mount.create_source && mount.recursive == BindRecursive::ReadOnly);
        let mount = parse::mount("type=TMPFS,destination=/t,tmpfs-size=1m,tmpfs-mode=0700,ro=false").unwrap();
        let options = [("size".to_owned(), "1048576".to_owned()), ("mode".to_owned(), "700".to_owned())];
        assert_eq!((mount.kind, mount.tmpfs_options()), (MountKind::Tmpfs, options.to_vec()));
        assert_eq!(mount.flags(), Flags { nosuid: true, nodev: true, noexec: true });
        for text in [
            "",
            "type=bind",
            "type=bind,src=/a",
            "type=bind,dst=/a",
            "type=bind,src=/a,dst=/b,x",
            "type=bind,src=/a,dst=/b,x=y",
            "type=bind,src=/a,dst=/b,ro=x",
            "type=bind,src=/a,dst=/b,tmpfs-mode=1",
            "type=tmpfs,dst=/b,bind-recursive=enabled",
            "type=frob,dst=/b",
            "\"type=bind",
            "type=bi\"nd,src=/a,dst=/b",
            "\"type=bind\"x,src=/a,dst=/b",
        ] {
            assert_eq!(parse::mount(text).unwrap_err().kind(), ErrorKind::InvalidArgument, "{text}");
        }
    }

    #[test]
    fn a_path_without_a_type_is_told_from_a_name() {
        for text in ["src=/a,dst=/b", "src=./a,dst=/b"] {
            let error = parse::mount(text).unwrap().check("mounts").unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{text}");
            assert!(error.hint().unwrap_or_default().contains("add type=\"bind\""), "{text}");
        }
        for text in ["src=name,dst=/b", "dst=/b"] {
            parse::mount(text).unwrap().check("mounts").unwrap();
        }
    }

    #[test]
    fn options_of_volumes() {
        let text = "type=volume,src=data,dst=/b,ro,volume-nocopy,volume-subpath=a/b,volume-label=k=v,volume-label=x,volume-driver=local";
        let mount = parse::mount(text).unwrap();
        mount.check("mounts").unwrap();
        assert!(mount.no_copy && mount.read_only && mount.subpath.as_deref() == Some("a/b"));
        let labels: Vec<_> = mount.volume_labels.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        assert_eq!(labels, [("k", "v"), ("x", "")]);
        let mount = parse::volume("data:/b:ro,nocopy,z,noexec").unwrap();
        mount.check("volumes").unwrap();
        assert!(mount.no_copy && mount.read_only && mount.flags().noexec);
        for text in ["volume-subpath=/a", "volume-subpath=../a", "volume-subpath=a/../..", "volume-subpath="]
        {
            let mount = parse::mount(&format!("type=volume,src=data,dst=/b,{text}")).unwrap();
            assert_eq!(mount.check("mounts").unwrap_err().kind(), ErrorKind::InvalidArgument, "{text}");
        }
        for text in ["data:/b:rshared", "d:/b", "data/x:/b"] {
            let made = parse::volume(text);
            assert!(made.is_err() || made.is_ok_and(|mount| mount.check("volumes").is_err()), "{text}");
        }
        for text in ["volume-driver=nfs", "volume-opt=type=nfs"] {
            let error = parse::mount(&format!("type=volume,src=data,dst=/b,{text}")).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unsupported, "{text}");
        }
    }

    #[test]
    fn tmpfs_as_docker_reads_it() {
        let mount = parse::tmpfs("/run:rw,exec,size=10%,mode=1777,uid=5,size=64m").unwrap();
        let options = mount.tmpfs_options();
        assert!(options.contains(&("size".into(), (64 << 20).to_string())));
        assert!(
            options.contains(&("mode".into(), "1777".into()))
                && options.contains(&("uid".into(), "5".into()))
        );
        assert!(!mount.flags().noexec && mount.flags().nosuid);
        assert_eq!(parse::tmpfs("/run").unwrap().tmpfs_options(), []);
        for text in
            ["/t:x", "/t:size=x", "/t:size=1000%", "/t:uid=a", "/t:mode=8", "/t:context=x", "/t:source=/x"]
        {
            assert!(parse::tmpfs(text).is_err(), "{text}");
        }
    }

    #[test]
    fn shallow_ones_come_first() {
        let mut spec = ContainerSpec::new("i");
        spec.volumes = vec![Mount::bind("/h", "/a/b/c"), Mount::bind("/h", "/z")];
        spec.tmpfs = vec![Mount::tmpfs("/a"), Mount::tmpfs("/a//b/")];
        let order: Vec<String> = all(&spec).into_iter().map(|mount| mount.target).collect();
        assert_eq!(order, ["/z", "/a", "/a/b", "/a/b/c"]);
        assert!(check(&spec).is_ok());
        spec.tmpfs.push(Mount::tmpfs("/z/"));
        assert!(check(&spec).is_err());
    }
}
