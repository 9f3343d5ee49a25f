//! The directories of volumes, and who may do what with them.
//!
//! A volume is `volumes/<name>`, with `_data`, or, if it is a clone, `upper` and `work`. Names that begin with a dot are no volume's: `.new-` is one that is being made, `.gone-` one that is being removed, `.empty` has
//! nothing in it. Which directories have the name of a volume is changed in write transactions of the database only, of which there is one at a time, whatever process asks: so a directory without a row
//! is always litter.
//!
//! Two lock files say who has a volume mounted. Whoever may write holds `write`, whoever only reads `use`, both shared; a clone that can be written to is mounted once, so it is held exclusively. The monitor of the container has
//! the lock, so it goes with the container.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::Transaction;
use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;

use crate::cancel::CancelToken;
use crate::container::frozen;
use crate::engine::Inner;
use crate::error::{Call, Context, Error, ErrorKind, Result};
use crate::process::{Deadline, names_in, remove_tree};
use crate::state::volumes::{self, VolumeRow};
use crate::state::{Locked, Pause, open_dir, random_hex};

/// What is in a volume that is no clone.
pub(super) const DATA: &str = "_data";
/// What is in a clone.
pub(super) const UPPER: &str = "upper";
/// A volume that is being made.
const NEW: &str = ".new-";
/// A volume that is being removed.
const GONE: &str = ".gone-";
/// How long somebody who has a volume alone may take to end, once a container that runs is known to have it.
const MOMENT: Duration = Duration::from_millis(200);
/// How long whoever does something with a volume, as cloning it, is waited for.
const PATIENCE: Duration = Duration::from_secs(60);

/// The directory of a volume.
pub(crate) fn directory(inner: &Inner, name: &str) -> PathBuf {
    inner.store.paths.volumes().join(name)
}

/// Where its files are. Of a clone, those that are not its source's.
pub(crate) fn data(inner: &Inner, row: &VolumeRow) -> PathBuf {
    directory(inner, &row.name).join(if row.source.is_some() { UPPER } else { DATA })
}

/// The name of what is in a volume, relative to the data root.
pub(crate) fn name_in_store(row: &VolumeRow) -> String {
    format!("volumes/{}/{}", row.name, if row.source.is_some() { UPPER } else { DATA })
}

fn root(inner: &Inner) -> Result<OwnedFd> {
    open_dir(&inner.store.data, "volumes", &inner.store.paths.data)
}

/// Makes a directory whatever the umask.
fn make_dir(at: &OwnedFd, name: &str, mode: u32, parent: &Path) -> Result<OwnedFd> {
    let path = parent.join(name);
    rustix::fs::mkdirat(at, name, Mode::RWXU).call("mkdir", &path)?;
    let made = open_dir(at, name, parent)?;
    rustix::fs::fchmod(&made, Mode::from_raw_mode(mode)).call("chmod", &path)?;
    Ok(made)
}

/// Makes the directory of a volume that has no row, in the transaction that adds the row. `durable`: it is on the disk then.
pub(super) fn make(inner: &Inner, name: &str, durable: bool) -> Result<()> {
    let parent = inner.store.paths.volumes();
    let root = root(inner)?;
    if let Err(error) = put_aside(&root, name) {
        return Err(error).call("rename", parent.join(name));
    }
    let path = parent.join(name);
    let volume = make_dir(&root, name, 0o700, &parent)?;
    make_dir(&volume, DATA, 0o755, &path)?;
    if durable {
        rustix::fs::fsync(&volume).call("fsync", &path)?;
        rustix::fs::fsync(&root).call("fsync", &parent)?;
    }
    Ok(())
}

/// Takes a directory out of the way that has the name of a volume and is none. Returns its new name, if there was one.
fn put_aside(root: &OwnedFd, name: &str) -> Result<Option<String>, Errno> {
    let gone = format!("{GONE}{}", random_hex(8).map_err(|_| Errno::IO)?);
    match rustix::fs::renameat(root, name, root, &gone) {
        Ok(()) => Ok(Some(gone)),
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(errno),
    }
}

/// A clone on its way, which no row names. As long as it is locked, no sweep takes it.
pub(super) struct New {
    name: String,
    pub(super) upper: OwnedFd,
    _lock: Locked,
}

impl New {
    pub(super) fn make(inner: &Inner) -> Result<New> {
        let parent = inner.store.paths.volumes();
        let root = root(inner)?;
        let name = format!("{NEW}{}", random_hex(8)?);
        let path = parent.join(&name);
        let _gate = inner.store.gate_shared()?;
        let volume = make_dir(&root, &name, 0o700, &parent)?;
        let lock = Locked::try_exclusive(open_dir(&root, &name, &parent)?, &path)?
            .ok_or_else(|| Error::new(ErrorKind::Internal, "a new volume is locked by somebody else"))?;
        make_dir(&volume, "work", 0o700, &path)?;
        let upper = make_dir(&volume, UPPER, 0o755, &path)?;
        Ok(New { name, upper, _lock: lock })
    }

    /// Gives it the name that it is for, in the transaction that adds the row.
    pub(super) fn place(&self, inner: &Inner, name: &str) -> Result<()> {
        let root = root(inner)?;
        let path = || directory(inner, name);
        put_aside(&root, name).call("rename", path())?;
        rustix::fs::renameat(&root, &self.name, &root, name).call("rename", path())?;
        rustix::fs::fsync(&root).call("fsync", path())
    }

    /// Removes what was made for nothing.
    pub(super) fn discard(self, inner: &Inner) {
        // What stays is swept.
        let _ = remove_tree(inner, &inner.store.paths.volumes(), &self.name);
    }
}

/// Removes the files of volumes whose rows have gone.
pub(crate) fn discard(inner: &Inner, names: &[String]) -> Result<()> {
    if names.is_empty() {
        return Ok(());
    }
    let root = root(inner)?;
    let gone = inner.store.freeing(|| {
        inner.store.db.write(|tx: &Transaction<'_>| {
            let mut gone = Vec::new();
            for name in names {
                // Somebody may have made it anew.
                if !volumes::exists(tx, name)? {
                    gone.extend(put_aside(&root, name).call("rename", directory(inner, name))?);
                }
            }
            Ok(gone)
        })
    })?;
    remove_gone(inner, &gone)
}

/// Removes directories that were put aside. One that cannot be removed does not keep the others.
fn remove_gone(inner: &Inner, names: &[String]) -> Result<()> {
    let parent = inner.store.paths.volumes();
    let root = root(inner)?;
    let mut result = Ok(());
    for name in names {
        let path = parent.join(name);
        let lock = match open_dir(&root, name, &parent) {
            Ok(fd) => Locked::try_exclusive(fd, &path)?,
            Err(_) => None,
        };
        // Somebody else is at it, or was.
        if lock.is_some() {
            result = result.and(remove_tree(inner, &parent, name).context(|| "removing a volume".to_owned()));
        }
    }
    result
}

/// Removes what crashed processes left of volumes: directories without rows, and what was on its way.
pub(crate) fn sweep(inner: &Inner) -> Result<()> {
    let found = names_in(&inner.store.paths.volumes())?;
    if found.is_empty() {
        return Ok(());
    }
    let known = inner.store.db.read(volumes::all_names)?;
    let (hidden, named): (Vec<String>, Vec<String>) =
        found.into_iter().partition(|name| name.starts_with('.'));
    let mut gone: Vec<String> = hidden.iter().filter(|name| name.starts_with(GONE)).cloned().collect();
    let made: Vec<&String> = hidden.iter().filter(|name| name.starts_with(NEW)).collect();
    if !made.is_empty() {
        let parent = inner.store.paths.volumes();
        let root = root(inner)?;
        let _gate = inner.store.gate_exclusive()?;
        for name in made {
            let Ok(fd) = open_dir(&root, name, &parent) else { continue };
            if let Some(_lock) = Locked::try_exclusive(fd, &parent.join(name))? {
                gone.extend(put_aside(&root, name).call("rename", parent.join(name))?);
            }
        }
    }
    remove_gone(inner, &gone)?;
    let known: std::collections::BTreeSet<String> = known.into_iter().collect();
    let strays: Vec<String> = named.into_iter().filter(|name| !known.contains(name)).collect();
    discard(inner, &strays)
}

/// Whether there is nothing in a volume that is no clone, as far as the engine may see. What it may not look into belongs to a container already.
pub(super) fn is_empty(inner: &Inner, name: &str) -> Result<bool> {
    let path = directory(inner, name).join(DATA);
    let entries = match std::fs::read_dir(&path) {
        Ok(mut entries) => entries.next(),
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => return Ok(false),
        Err(error) => return Err(Error::io("open", &path, &error)),
    };
    Ok(entries.is_none())
}

/// Opens a lock file of a volume.
fn lock_file(inner: &Inner, name: &str, file: &str) -> Result<(OwnedFd, PathBuf)> {
    let path = directory(inner, name);
    let volume = match open_dir(&root(inner)?, name, &inner.store.paths.volumes()) {
        Err(error) if error.errno() == Some(libc::ENOENT) => return Err(volumes::not_found(name)),
        volume => volume?,
    };
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let path = path.join(file);
    let opened = rustix::fs::openat(&volume, file, flags, Mode::RUSR | Mode::WUSR).call("open", &path)?;
    Ok((opened, path))
}

/// How a volume is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hold {
    /// Nothing is written to it by the holder.
    Read,
    /// The holder may write, as others may.
    Write,
    /// The holder may write, and nobody else.
    Alone,
}

/// Tries once to get the lock of a volume.
pub(super) fn try_hold(inner: &Inner, name: &str, hold: Hold) -> Result<Option<Locked>> {
    let (file, path) = lock_file(inner, name, if hold == Hold::Read { "use" } else { "write" })?;
    match hold {
        Hold::Alone => Locked::try_exclusive(file, &path),
        Hold::Read | Hold::Write => Locked::try_shared(file, &path),
    }
}

/// Locks a volume that nobody has mounted, whether for reading or for writing. None if somebody has.
pub(super) fn try_unused(inner: &Inner, name: &str) -> Result<Option<[Locked; 2]>> {
    let mut locks = Vec::new();
    for file in ["write", "use"] {
        let (file, path) = lock_file(inner, name, file)?;
        locks.extend(Locked::try_exclusive(file, &path)?);
    }
    Ok(locks.try_into().ok())
}

/// Whether nobody is at work on a volume, and nobody can begin as long as this is kept.
pub(super) enum Unused {
    Free {
        _locks: [Locked; 2],
    },
    /// There is nothing that could be locked.
    Missing,
    Busy,
}

impl Unused {
    pub(super) fn is_free(&self) -> bool {
        !matches!(self, Unused::Busy)
    }
}

/// Looks whether somebody is at work on a volume. A monitor whose container has just gone is waited for.
pub(super) fn unused(inner: &Inner, name: &str) -> Result<Unused> {
    let deadline = Deadline::after(Some(MOMENT));
    let mut pause = Pause::default();
    loop {
        match try_unused(inner, name) {
            Ok(Some(locks)) => return Ok(Unused::Free { _locks: locks }),
            Ok(None) if deadline.is_over() => return Ok(Unused::Busy),
            Ok(None) => pause.wait(&CancelToken::never())?,
            Err(error) if error.kind() == ErrorKind::VolumeNotFound => return Ok(Unused::Missing),
            Err(error) => return Err(error),
        }
    }
}

/// Holds a volume. Whoever fills or clones it is waited for; where it has to be one's own, a container that has it is an error.
pub(crate) fn hold(inner: &Inner, name: &str, hold: Hold, cancel: &CancelToken) -> Result<Locked> {
    let (soon, later) = (Deadline::after(Some(MOMENT)), Deadline::after(Some(PATIENCE)));
    let mut pause = Pause::default();
    loop {
        if let Some(lock) = try_hold(inner, name, hold)? {
            return Ok(lock);
        }
        if hold == Hold::Alone && soon.is_over() {
            let runs = inner.store.db.read(|connection| volumes::is_mounted(connection, name))?;
            if runs || later.is_over() {
                return Err(in_use(inner, name, "is mounted by a container that runs"));
            }
        }
        pause.wait(cancel)?;
    }
}

/// The error for a volume that somebody has mounted.
pub(super) fn in_use(inner: &Inner, name: &str, why: &str) -> Error {
    let users = inner.store.db.read(|connection| volumes::users(connection, name)).unwrap_or_default();
    let names: Vec<String> = users.iter().take(5).map(|(_, name)| format!("\"{name}\"")).collect();
    let of = if names.is_empty() { String::new() } else { format!(" (it belongs to {})", names.join(", ")) };
    Error::new(ErrorKind::InUse, format!("volume \"{name}\" {why}{of}")).with_object(name)
}

/// Opens the files of a volume that is no clone. They may be kept from the engine: then the descriptor only names them.
pub(crate) fn open(inner: &Inner, name: &str) -> Result<OwnedFd> {
    let path = directory(inner, name).join(DATA);
    frozen::open_at(rustix::fs::CWD, &path).call("open", &path)
}

/// Opens the data root, for names relative to it.
pub(crate) fn store(inner: &Inner) -> Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::openat(&inner.store.data, ".", flags, Mode::empty()).call("open", &inner.store.paths.data)
}

/// Whether the directory of a volume with a row is there.
pub(crate) fn is_there(inner: &Inner, row: &VolumeRow) -> bool {
    rustix::fs::statat(rustix::fs::CWD, data(inner, row), AtFlags::SYMLINK_NOFOLLOW).is_ok()
}
