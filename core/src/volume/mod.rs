//! Volumes: directories of the store that containers have mounted, and that outlive them. The words are docker's.
//!
//! A volume belongs to the containers that have it, whether they run or not: as long as there is one, nobody removes it. One that was made for a container, with a name of 64 hexadecimal digits, can be
//! removed with that.

pub(crate) mod archive;
pub(crate) mod files;
mod fill;
mod filter;

use std::collections::BTreeMap;
use std::os::fd::AsFd;
use std::path::PathBuf;

use rusqlite::Transaction;
use serde::Serialize;
use serde_json::{Value, json};

pub(crate) use fill::{Origin, fill};

use crate::cancel::CancelToken;
use crate::container::frozen;
use crate::engine::{Engine, Inner};
use crate::error::{Context, Error, ErrorKind, Result};
use crate::process::{Workers, reader};
use crate::state::volumes::{self, VolumeRow};
use crate::state::{Store, from_nanos, now_nanos, random_hex, rfc3339};
use files::Hold;
use filter::Filters;

/// The only driver.
pub(crate) const DRIVER: &str = "local";
/// The longest name, which is that of a directory.
const LONGEST: usize = 255;

/// The volumes of an engine.
#[derive(Debug, Clone, Copy)]
pub struct Volumes<'a> {
    pub(crate) engine: &'a Engine,
}

/// A volume. Clones are the same volume; any thread may use it.
#[derive(Debug, Clone)]
pub struct Volume {
    engine: Engine,
    name: String,
}

/// How a volume is made.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct VolumeOptions {
    /// A name of `[a-zA-Z0-9][a-zA-Z0-9_.-]+`, at most 255 characters. None: 64 hexadecimal digits, and the volume is anonymous.
    pub name: Option<String>,
    /// The driver: `local`, which is the default, and the only one.
    pub driver: Option<String>,
    /// Options of the driver, which has none: any is [`ErrorKind::Unsupported`].
    pub driver_opts: BTreeMap<String, String>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
}

/// A volume, as a list has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct VolumeSummary {
    /// Its name.
    pub name: String,
    /// `local`.
    pub driver: String,
    /// Where its files are on the host. Of a clone only those that are not as its source has them.
    pub mountpoint: PathBuf,
    /// When it was made, RFC 3339.
    pub created: String,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Whether the engine has named it.
    pub anonymous: bool,
    /// The volume that it is a clone of.
    pub source: Option<String>,
    /// How many containers have it, whether they run or not.
    pub containers: u64,
}

/// Everything about a volume.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct VolumeDetails {
    /// The summary.
    #[serde(flatten)]
    pub summary: VolumeSummary,
    /// The names of the containers that have it.
    pub used_by: Vec<String>,
    /// The names of its clones.
    pub clones: Vec<String>,
}

/// What a pruning did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct VolumesPruned {
    /// The names of volumes that were removed.
    pub deleted: Vec<String>,
    /// Bytes of the disk that are given back.
    pub reclaimed: u64,
}

/// Which volumes are pruned.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct VolumePruneOptions {
    /// Those that somebody has named, too.
    pub all: bool,
    /// Conditions of the form `key=value`: `label` and `label!`, or `all` and `true` or `false`.
    pub filters: Vec<String>,
}

impl Volumes<'_> {
    /// Makes a volume. If there is one with the name already, that is returned as it is, as docker does it.
    pub fn create(&self, options: &VolumeOptions) -> Result<Volume> {
        let inner = &*self.engine.inner()?;
        if let Some(driver) = &options.driver {
            check_driver(driver)?;
        }
        if let Some(option) = options.driver_opts.keys().next() {
            return Err(no_options(option));
        }
        check_labels(&options.labels)?;
        let row = VolumeRow {
            name: match &options.name {
                Some(name) => name.clone(),
                None => random_hex(32)?,
            },
            labels: json_of(&options.labels)?,
            anonymous: options.name.is_none(),
            ..VolumeRow::default()
        };
        check_name(&row.name)?;
        let name = row.name.clone();
        ensure(inner, row).context(|| format!("creating volume \"{name}\""))?;
        Ok(Volume { engine: self.engine.clone(), name })
    }

    /// The volume with this name.
    pub fn get(&self, name: &str) -> Result<Volume> {
        let inner = &*self.engine.inner()?;
        let row = volumes::find(&inner.store.db, name)?;
        Ok(Volume { engine: self.engine.clone(), name: row.name })
    }

    /// The volumes that meet conditions, by name: `dangling` (`true`: no container has it), `driver`, `label` and `name` (a part of it), as docker has them. All keys are to be met; of several values for one
    /// key one is enough, except for labels.
    pub fn list(&self, filters: &[String]) -> Result<Vec<VolumeSummary>> {
        let inner = &*self.engine.inner()?;
        let filters = Filters::parse(filters)?;
        let mut found = summaries(inner)?;
        found.retain(|volume| filters.admits(volume));
        Ok(found)
    }

    /// Removes a volume that no container has, and no clone is made upon; otherwise it fails with [`ErrorKind::InUse`]. With `force`, one that is not there is no error.
    pub fn remove(&self, name: &str, force: bool) -> Result<()> {
        let inner = &*self.engine.inner()?;
        match remove(inner, name) {
            Ok(true) => Ok(()),
            Ok(false) if force => Ok(()),
            Ok(false) => Err(volumes::not_found(name)),
            Err(error) => Err(error),
        }
    }

    /// Removes the volumes that no container has, and no clone is made upon: those that the engine has named, or all.
    pub fn prune(&self, options: &VolumePruneOptions, cancel: &CancelToken) -> Result<VolumesPruned> {
        let inner = &*self.engine.inner()?;
        let (filters, all) = Filters::parse_prune(&options.filters)?;
        let all = all.unwrap_or(options.all);
        let mut pruned = VolumesPruned::default();
        let mut failed = None;
        let doing = || "pruning volumes".to_owned();
        let unused = |volume: &VolumeSummary| {
            volume.containers == 0 && (all || volume.anonymous) && filters.admits(volume)
        };
        // Those that only clones keep go after these.
        loop {
            let mut found = summaries(inner).context(doing)?;
            found.retain(unused);
            let sizes =
                if found.is_empty() { BTreeMap::new() } else { sizes(inner, cancel).context(doing)? };
            let before = pruned.deleted.len();
            for volume in found {
                if let Err(error) = cancel.check() {
                    failed = failed.or(Some(error));
                    break;
                }
                match remove(inner, &volume.name) {
                    // Somebody has it by now, or a clone is made upon it.
                    Err(error) if error.kind() == ErrorKind::InUse => {}
                    // One that cannot be removed does not keep the others.
                    Err(error) => failed = failed.or(Some(error)),
                    Ok(false) => {}
                    Ok(true) => {
                        pruned.reclaimed += sizes.get(&volume.name).copied().unwrap_or(0);
                        pruned.deleted.push(volume.name);
                    }
                }
            }
            if pruned.deleted.len() == before || failed.is_some() {
                break;
            }
        }
        let reclaimed = BTreeMap::from([("reclaimed".to_owned(), pruned.reclaimed.to_string())]);
        let told = |tx: &Transaction<'_>| {
            crate::state::events::add(tx, ("volume", "prune", ""), now_nanos(), &reclaimed)
        };
        let _ = inner.store.db.write(told);
        failed.map_or(Ok(pruned), |error| Err(error).context(doing))
    }

    /// Makes a volume that has what another one has, and shares with it what neither of them changes. It takes milliseconds, whatever the size: nothing is copied.
    ///
    /// As long as a volume has clones, nothing can be written to it: a container that would mount it otherwise than read-only fails to start with [`ErrorKind::InUse`], and so does this call while one that may
    /// write to it runs. A clone that can be written to is mounted by one running container at a time. Without a name the clone is anonymous.
    pub fn clone_volume(&self, source: &str, name: Option<&str>, cancel: &CancelToken) -> Result<Volume> {
        let inner = &*self.engine.inner()?;
        let doing = || format!("cloning volume \"{}\"", source.escape_default());
        let anonymous = name.is_none();
        let name = match name {
            Some(name) => name.to_owned(),
            None => random_hex(32)?,
        };
        check_name(&name)?;
        clone(inner, source, &name, anonymous, cancel).context(doing)?;
        Ok(Volume { engine: self.engine.clone(), name })
    }
}

impl Volume {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Everything about it.
    pub fn inspect(&self) -> Result<VolumeDetails> {
        let inner = &*self.engine.inner()?;
        let (row, users, clones) = inner.store.db.read(|connection| {
            let row = volumes::get(connection, &self.name)?.ok_or_else(|| volumes::not_found(&self.name))?;
            Ok((row, volumes::users(connection, &self.name)?, volumes::clones(connection, &self.name)?))
        })?;
        Ok(VolumeDetails {
            summary: summary(inner, &row, users.len() as u64)?,
            used_by: users.into_iter().map(|(_, name)| name).collect(),
            clones,
        })
    }

    /// As `docker volume inspect` has it: `Name`, `Driver`, `Mountpoint`, `CreatedAt`, `Labels`, `Options`, `Scope`; `Coble` has the fields of [`VolumeDetails`].
    pub fn inspect_docker(&self) -> Result<Value> {
        let details = self.inspect()?;
        let own = serde_json::to_value(&details)
            .map_err(|error| Error::new(ErrorKind::Internal, format!("json: {error}")))?;
        let mut value = details.summary.to_docker();
        if let Some(map) = value.as_object_mut() {
            map.insert("Coble".to_owned(), own);
        }
        Ok(value)
    }

    /// Removes it: see [`Volumes::remove`].
    pub fn remove(&self, force: bool) -> Result<()> {
        self.engine.volumes().remove(&self.name, force)
    }

    /// Makes a clone: see [`Volumes::clone_volume`].
    pub fn clone_volume(&self, name: Option<&str>, cancel: &CancelToken) -> Result<Volume> {
        self.engine.volumes().clone_volume(&self.name, name, cancel)
    }
}

impl VolumeSummary {
    /// The volume as docker's API has it.
    pub fn to_docker(&self) -> Value {
        json!({
            "CreatedAt": self.created,
            "Driver": self.driver,
            "Labels": self.labels,
            "Mountpoint": self.mountpoint,
            "Name": self.name,
            "Options": null,
            "Scope": "local",
        })
    }
}

/// Checks a name of docker's grammar.
pub(crate) fn check_name(name: &str) -> Result<()> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric();
    let mut bytes = name.bytes();
    let good = bytes.next().is_some_and(plain)
        && name.len() >= 2
        && name.len() <= LONGEST
        && bytes.all(|byte| plain(byte) || matches!(byte, b'_' | b'.' | b'-'));
    if good {
        return Ok(());
    }
    let shown: String = name.chars().take(300).collect();
    let why = format!("\"{}\" is not a name for a volume", shown.escape_default());
    Err(Error::new(ErrorKind::InvalidArgument, why).with_object(shown).with_hint(
        "use [a-zA-Z0-9][a-zA-Z0-9_.-]+, at most 255 characters; a path of the host begins with / or ./",
    ))
}

pub(crate) fn check_driver(driver: &str) -> Result<()> {
    if matches!(driver, DRIVER | "") {
        return Ok(());
    }
    let why = format!("there is no volume driver \"{}\"", driver.escape_default());
    Err(Error::new(ErrorKind::Unsupported, why).with_object(driver).with_hint("local is the only one"))
}

pub(crate) fn check_labels(labels: &BTreeMap<String, String>) -> Result<()> {
    match labels.iter().find(|(name, value)| name.is_empty() || name.contains('\0') || value.contains('\0')) {
        Some((name, _)) => {
            let why = format!("\"{}\" is not a label", name.escape_default());
            Err(Error::new(ErrorKind::InvalidArgument, why).with_object("labels"))
        }
        None => Ok(()),
    }
}

/// The error for options of a driver that has none.
pub(crate) fn no_options(option: &str) -> Error {
    let why = format!("the driver local takes no options (\"{}\")", option.escape_default());
    Error::new(ErrorKind::Unsupported, why)
        .with_object(option)
        .with_hint("mount what is elsewhere as a bind or a tmpfs")
}

pub(crate) fn json_of(labels: &BTreeMap<String, String>) -> Result<String> {
    serde_json::to_string(labels)
        .map_err(|error| Error::new(ErrorKind::Internal, format!("writing labels: {error}")))
}

/// Makes a volume, unless there is one with the name. Whether it was made.
pub(crate) fn ensure(inner: &Inner, mut row: VolumeRow) -> Result<bool> {
    let found = inner.store.db.read(|connection| volumes::get(connection, &row.name))?;
    if found.is_some_and(|found| files::is_there(inner, &found)) {
        return Ok(false);
    }
    row.created_at = now_nanos();
    // What a machine loses that crashes is no more than its container, if it was made for one.
    let durable = row.owner.is_none();
    let add = |tx: &Transaction<'_>| {
        if let Some(found) = volumes::get(tx, &row.name)? {
            // Whoever removes one deletes its row first.
            if files::is_there(inner, &found) {
                return Ok(false);
            }
            let why = format!("the directory of volume \"{}\" is missing", found.name);
            return Err(Error::new(ErrorKind::InvalidState, why).with_object(&found.name));
        }
        files::make(inner, &row.name, durable)?;
        volumes::insert(tx, &row)?;
        Ok(true)
    };
    if durable { inner.store.db.write_durably(add) } else { inner.store.db.write(add) }
}

/// Removes a volume; false if there is none.
fn remove(inner: &Inner, name: &str) -> Result<bool> {
    // Until the row has gone nobody begins to fill it, to clone it or to write to it.
    let unused = inner.store.freeing(|| files::unused(inner, name))?;
    let delete = || {
        inner.store.db.write_durably(|tx| {
            let deleted = volumes::delete(tx, name)?;
            if deleted && !unused.is_free() {
                let why = format!("somebody is at work on volume \"{name}\", as an import does");
                return Err(Error::new(ErrorKind::InUse, why).with_object(name));
            }
            Ok(deleted)
        })
    };
    let doing = || format!("removing volume \"{}\"", name.escape_default());
    if !inner.store.freeing(delete)? {
        return Ok(false);
    }
    files::discard(inner, &[name.to_owned()]).context(doing)?;
    Ok(true)
}

fn clone(inner: &Inner, source: &str, name: &str, anonymous: bool, cancel: &CancelToken) -> Result<()> {
    let row = volumes::find(&inner.store.db, source)?;
    let chain = inner.store.db.read(|connection| volumes::chain(connection, row.clone()))?;
    if chain.len() >= volumes::DEEPEST {
        let why = format!("volume \"{source}\" is {} clones upon each other", volumes::DEEPEST);
        return Err(Error::new(ErrorKind::LimitExceeded, why).with_object(source));
    }
    // From here to the row nobody begins to write to it.
    let frozen = !inner.store.db.read(|connection| volumes::clones(connection, source))?.is_empty();
    let held = match frozen {
        // Nobody can write to it any more.
        true => None,
        false => Some(hold_alone(inner, source, cancel)?),
    };
    let new = files::New::make(inner)?;
    let made = (|| {
        // The root of an overlay has the attributes of the uppermost layer's.
        let like = frozen::open_at(rustix::fs::CWD, &files::data(inner, &row))
            .map_err(|errno| Error::syscall("open", files::data(inner, &row), errno.raw_os_error()))?;
        frozen::give_root(Workers::from(inner), Some(like.as_fd()), new.upper.as_fd(), cancel)?;
        let clone = VolumeRow {
            name: name.to_owned(),
            created_at: now_nanos(),
            labels: row.labels.clone(),
            anonymous,
            source: Some(source.to_owned()),
            ..VolumeRow::default()
        };
        inner.store.db.write_durably(|tx| {
            if volumes::exists(tx, name)? {
                let why = format!("the name \"{name}\" is taken by another volume");
                return Err(Error::new(ErrorKind::NameInUse, why).with_object(name));
            }
            // If it was frozen, it may be so no more.
            let same = volumes::get(tx, source)?.is_some_and(|now| now.created_at == row.created_at);
            if !same || held.is_none() && volumes::clones(tx, source)?.is_empty() {
                let why = format!("volume \"{source}\" or its last clone was removed meanwhile");
                return Err(Error::new(ErrorKind::InvalidState, why).with_object(source));
            }
            new.place(inner, name)?;
            volumes::insert(tx, &clone)
        })
    })();
    if made.is_err() {
        new.discard(inner);
    }
    made
}

/// Holds a volume that no container that runs may write to.
fn hold_alone(inner: &Inner, name: &str, cancel: &CancelToken) -> Result<crate::state::Locked> {
    files::hold(inner, name, Hold::Alone, cancel).map_err(|error| match error.kind() {
        ErrorKind::InUse => {
            files::in_use(inner, name, "is mounted by a container that runs and may write to it").with_hint(
                "stop that first, or give it the volume read-only; or copy it: export it and import that",
            )
        }
        _ => error,
    })
}

fn summary(inner: &Inner, row: &VolumeRow, containers: u64) -> Result<VolumeSummary> {
    Ok(VolumeSummary {
        name: row.name.clone(),
        driver: DRIVER.to_owned(),
        mountpoint: files::data(inner, row),
        created: rfc3339(from_nanos(row.created_at)),
        labels: row.labels()?,
        anonymous: row.anonymous,
        source: row.source.clone(),
        containers,
    })
}

/// All volumes, by name.
fn summaries(inner: &Inner) -> Result<Vec<VolumeSummary>> {
    let (rows, counts) =
        inner.store.db.read(|connection| Ok((volumes::list(connection)?, volumes::counts(connection)?)))?;
    rows.iter().map(|row| summary(inner, row, counts.get(&row.name).copied().unwrap_or(0))).collect()
}

/// What each volume takes of the disk, in bytes. Of a clone, what it does not share with its source.
pub(crate) fn sizes(inner: &Inner, cancel: &CancelToken) -> Result<BTreeMap<String, u64>> {
    let path = inner.store.paths.volumes();
    let directory = frozen::open_at(rustix::fs::CWD, &path)
        .map_err(|errno| Error::syscall("open", &path, errno.raw_os_error()))?;
    Ok(reader::usage(inner, directory.as_fd(), 1, cancel)?
        .into_iter()
        .filter(|(name, _)| !name.is_empty() && !name.starts_with('.'))
        .collect())
}

/// What is wrong with volumes: rows without directories.
pub(crate) fn verify(inner: &Inner) -> Result<Vec<String>> {
    let rows = inner.store.db.read(volumes::list)?;
    let missing = rows.iter().filter(|row| !files::is_there(inner, row));
    Ok(missing.map(|row| format!("volume \"{}\" has no directory", row.name)).collect())
}

/// Makes the directories that all volumes are in.
pub(crate) fn make_directories(store: &Store) -> Result<()> {
    let path = store.paths.volumes();
    crate::paths::make_private_dir(&path)?;
    crate::paths::make_private_dir(&path.join(".empty"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_docker_s() {
        for good in ["ab", "a-", "0.x_y", &"a".repeat(255)] {
            check_name(good).unwrap();
        }
        for bad in ["", "a", ".a", "-a", "_a", "a/b", "a b", "a:b", "../x", "ä1", "a\n", &"a".repeat(256)] {
            assert_eq!(check_name(bad).unwrap_err().kind(), ErrorKind::InvalidArgument, "{bad}");
        }
    }
}
