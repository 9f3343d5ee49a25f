//! Unpacking a stack of layers, lowest first.
//!
//! Each layer is applied in a directory whose name follows from what it will be, and which its maker has locked: so the same layer is
//! unpacked once, by whoever comes first, and the others wait. The whole stack is synced once, then renamed and recorded in one transaction.

use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rusqlite::{OptionalExtension, params};
use rustix::fs::{AtFlags, Mode, OFlags, RenameFlags};
use rustix::io::Errno;

use coble_protocol::ArchiveDone;

use super::{Application, Below, TEMPORARY, Worker, name_of, number};
use crate::cancel::CancelToken;
use crate::container::Warning;
use crate::content::mismatch;
use crate::error::{Call, Context, Error, ErrorKind, Result};
use crate::oci::{Algorithm, Digest};
use crate::process::warning_of;
use crate::state::{Locked, Store, images::signed, list_names, random_hex};

/// The name of the tree in a layer's directory.
pub(crate) const TREE: &str = "fs";

/// How long somebody else, who makes a layer whose blob is here, is waited for.
const PATIENCE: Duration = Duration::from_secs(20);

/// A layer's blob in the store.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Blob<'a> {
    pub(crate) digest: &'a Digest,
    pub(crate) size: u64,
}

/// Layers that are being stacked. Used within a session. What is not published is removed when the stack is dropped.
pub(crate) struct Stack<'a> {
    pub(super) store: &'a Store,
    pub(super) worker: &'a dyn Worker,
    /// Lowest first.
    pub(super) layers: Vec<Layer>,
    pub(super) warnings: Vec<Warning>,
}

pub(super) struct Layer {
    pub(super) diff_id: Digest,
    pub(super) chain_id: Digest,
    pub(super) place: Place,
    pub(super) warnings: Vec<Warning>,
}

impl Layer {
    /// The name of its tree, relative to the directory of layers.
    pub(super) fn name(&self) -> String {
        match &self.place {
            Place::Published(n) => name_of(*n),
            Place::Pending(pending) => pending.tree(),
        }
    }
}

pub(super) enum Place {
    Published(i64),
    Pending(Pending),
}

/// A temporary directory of ours.
pub(super) struct Pending {
    name: String,
    lock: Locked,
    /// What it will be, if that is known beforehand.
    pub(super) chain_id: Option<Digest>,
    pub(super) bytes: u64,
}

impl Pending {
    /// The name of its tree, relative to the directory of layers.
    pub(super) fn tree(&self) -> String {
        format!("{}/{TREE}", self.name)
    }

    /// Opens its tree.
    pub(super) fn open(&self, store: &Store) -> Result<OwnedFd> {
        open_tree(store, &self.name)
    }
}

/// A layer that may have to be made.
pub(super) enum Claim {
    There(Layer),
    /// One of ours, whose tree is empty.
    Ours(Pending),
    /// Somebody else is making it.
    Taken,
}

impl<'a> Stack<'a> {
    pub(crate) fn new(store: &'a Store, worker: &'a dyn Worker) -> Stack<'a> {
        Stack { store, worker, layers: Vec::new(), warnings: Vec::new() }
    }

    /// Puts a layer on top. Returns its diff id, which is checked if it is known.
    pub(crate) fn push(
        &mut self,
        blob: Blob<'_>,
        expected: Option<&Digest>,
        cancel: &CancelToken,
    ) -> Result<Digest> {
        if let Some(diff_id) = expected {
            check_diff_id(diff_id)?;
        }
        let mut layer = self.obtain(blob, expected, cancel).context(|| format!("layer {}", blob.digest))?;
        let diff_id = layer.diff_id.clone();
        self.warnings.append(&mut layer.warnings);
        self.layers.push(layer);
        Ok(diff_id)
    }

    /// What the layers that were unpacked here have lost.
    pub(crate) fn take_warnings(&mut self) -> Vec<Warning> {
        std::mem::take(&mut self.warnings)
    }

    fn chain_id(&self, diff_id: &Digest) -> Digest {
        match self.layers.last() {
            None => diff_id.clone(),
            Some(below) => Digest::of(format!("{} {diff_id}", below.chain_id).as_bytes()),
        }
    }

    fn obtain(&self, blob: Blob<'_>, expected: Option<&Digest>, cancel: &CancelToken) -> Result<Layer> {
        let known = expected.map(|diff_id| (diff_id.clone(), self.chain_id(diff_id)));
        // What the directory will hold, as far as it is known beforehand.
        let mut key = match &known {
            Some((_, chain_id)) => chain_id.to_string(),
            None => format!("blob {}", blob.digest),
        };
        let mut pause = crate::state::Pause::default();
        let begin = Instant::now();
        loop {
            match self.claim(&key, known.as_ref().map(|(diff_id, chain_id)| (diff_id, chain_id)), cancel)? {
                Claim::There(layer) => return Ok(layer),
                // Who is at it may be waiting for a registry that sends next to nothing. Of two that make it one is superfluous.
                Claim::Taken if begin.elapsed() > PATIENCE => key = format!("{key} {}", random_hex(8)?),
                Claim::Taken => pause.wait(cancel)?,
                Claim::Ours(mut pending) => match self.apply(blob, expected, &pending, cancel) {
                    Ok((diff_id, done)) => {
                        let chain_id = self.chain_id(&diff_id);
                        pending.bytes = done.content_bytes;
                        let place = Place::Pending(pending);
                        return Ok(Layer { diff_id, chain_id, place, warnings: warnings_of(&done) });
                    }
                    Err(error) => {
                        // If this fails too, the sweep finds it.
                        let _ = self.remove(&pending);
                        return Err(error);
                    }
                },
            }
        }
    }

    /// Finds a layer, or begins it. `key` is what it will be; `known` are its diff id and chain id.
    pub(super) fn claim(
        &self,
        key: &str,
        known: Option<(&Digest, &Digest)>,
        cancel: &CancelToken,
    ) -> Result<Claim> {
        let existing = || match known {
            Some((diff_id, chain_id)) => self.existing(diff_id, chain_id),
            None => Ok(None),
        };
        if let Some(layer) = existing()? {
            return Ok(Claim::There(layer));
        }
        let store = self.store;
        let key = format!("{key}\n{}", self.worker.idmap(store));
        let name: String =
            TEMPORARY.chars().chain(Digest::of(key.as_bytes()).hex().chars().take(32)).collect();
        let Some(lock) = lock_temporary(store, &name, cancel)? else { return Ok(Claim::Taken) };
        let chain_id = known.map(|(_, chain_id)| chain_id.clone());
        let pending = Pending { name, lock, chain_id, bytes: 0 };
        // The one who had the lock may have been done with it.
        if let Some(layer) = existing()? {
            self.remove(&pending)?;
            return Ok(Claim::There(layer));
        }
        match self.fresh_tree(&pending) {
            Ok(()) => Ok(Claim::Ours(pending)),
            Err(error) => {
                let _ = self.remove(&pending);
                Err(error)
            }
        }
    }

    /// A layer that somebody has unpacked.
    fn existing(&self, diff_id: &Digest, chain_id: &Digest) -> Result<Option<Layer>> {
        let store = self.store;
        let Some(n) = store.db.read(|connection| number(connection, chain_id, self.worker.idmap(store)))?
        else {
            return Ok(None);
        };
        // One that is not there any more is no layer to build upon.
        drop(open_tree(store, &n.to_string())?);
        let (diff_id, chain_id, place) = (diff_id.clone(), chain_id.clone(), Place::Published(n));
        Ok(Some(Layer { diff_id, chain_id, place, warnings: Vec::new() }))
    }

    /// Makes the tree of a temporary directory, without what a process that died may have left in it.
    fn fresh_tree(&self, pending: &Pending) -> Result<()> {
        let store = self.store;
        let path = store.paths.layers().join(&pending.name);
        let listing = crate::state::open_dir(&store.layers, &pending.name, &store.paths.layers())?;
        if !list_names(&listing, &path)?.is_empty() {
            self.worker.remove(pending.lock.fd().as_fd(), &[TREE])?;
        }
        make_tree(store, &pending.name, &pending.lock).map(drop)
    }

    fn apply(
        &self,
        blob: Blob<'_>,
        expected: Option<&Digest>,
        pending: &Pending,
        cancel: &CancelToken,
    ) -> Result<(Digest, ArchiveDone)> {
        let input = self.store.content.open_blob(blob.digest, blob.size)?;
        let tree = pending.open(self.store)?;
        let lower: Vec<String> = self.layers.iter().rev().map(Layer::name).collect();
        let below = Below::of(self.store, &lower);
        let layer = Application { target: tree.as_fd(), input: input.as_fd(), below, ready: None };
        let done = self.worker.apply(layer, cancel)?;
        let found = Digest::from_sha256(&done.diff_sha256);
        match expected {
            Some(expected) if *expected != found => Err(mismatch(expected, &found)),
            _ => Ok((found, done)),
        }
    }

    /// Records everything that is pending. Returns the numbers of all layers, lowest first.
    pub(crate) fn publish(mut self) -> Result<Vec<i64>> {
        self.settle()
    }

    /// As [`Stack::publish`], with more to come on top. What is recorded is nobody's until an image has it, and goes with the session if none does.
    pub(super) fn settle(&mut self) -> Result<Vec<i64>> {
        let store = self.store;
        let idmap = self.worker.idmap(store);
        if self.layers.iter().any(|layer| matches!(layer.place, Place::Pending(_))) {
            rustix::fs::syncfs(&store.layers).call("syncfs", store.paths.layers())?;
        }
        let mut superfluous = Vec::new();
        let layers = &mut self.layers;
        let placed = store.db.write(|tx| {
            let mut placed: Vec<i64> = Vec::with_capacity(layers.len());
            for layer in layers.iter() {
                let n = match &layer.place {
                    Place::Published(n) => *n,
                    Place::Pending(Pending { name, bytes, .. }) => {
                        let n: Option<i64> = tx
                            .prepare_cached(
                                "INSERT INTO layers (chain_id, idmap, parent, diff_id, bytes) VALUES (?1, ?2, ?3, ?4, ?5)
                                 ON CONFLICT (chain_id, idmap) DO NOTHING RETURNING n",
                            )?
                            .query_row(
                                params![
                                    layer.chain_id.as_str(),
                                    idmap,
                                    placed.last(),
                                    layer.diff_id.as_str(),
                                    signed(*bytes)
                                ],
                                |row| row.get(0),
                            )
                            .optional()?;
                        match n {
                            Some(n) => {
                                place(store, name, n)?;
                                n
                            }
                            None => {
                                superfluous.push(name.clone());
                                number(tx, &layer.chain_id, idmap)?.ok_or_else(|| {
                                    Error::new(ErrorKind::Internal, "a layer is there and is not there")
                                })?
                            }
                        }
                    }
                };
                placed.push(n);
            }
            rustix::fs::fsync(&store.layers).call("fsync", store.paths.layers())?;
            Ok(placed)
        })?;
        for (layer, n) in self.layers.iter_mut().zip(&placed) {
            layer.place = Place::Published(*n);
        }
        if !superfluous.is_empty() {
            let names: Vec<&str> = superfluous.iter().map(String::as_str).collect();
            // What cannot be removed now is removed by the sweep.
            let _ = self.worker.remove(store.layers.as_fd(), &names);
        }
        Ok(placed)
    }

    /// Removes a temporary directory of ours with everything in it.
    pub(super) fn remove(&self, pending: &Pending) -> Result<()> {
        let Pending { name, lock, .. } = pending;
        self.worker.remove(lock.fd().as_fd(), &[TREE])?;
        match rustix::fs::unlinkat(&self.store.layers, name, AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(errno) => {
                Err(Error::syscall("rmdir", self.store.paths.layers().join(name), errno.raw_os_error()))
            }
        }
    }
}

impl Drop for Stack<'_> {
    fn drop(&mut self) {
        for layer in &self.layers {
            if let Place::Pending(pending) = &layer.place {
                let _ = self.remove(pending);
            }
        }
    }
}

/// Chain ids are made of sha256 digests.
pub(super) fn check_diff_id(diff_id: &Digest) -> Result<()> {
    if diff_id.algorithm() == Algorithm::Sha256 {
        return Ok(());
    }
    Err(Error::new(ErrorKind::InvalidImage, format!("diff id {diff_id} is not a sha256 digest"))
        .with_object(diff_id.as_str()))
}

/// What a layer lost. The worker keeps a bounded number of warnings.
pub(super) fn warnings_of(done: &ArchiveDone) -> Vec<Warning> {
    let mut warnings: Vec<Warning> = done.warnings.iter().map(warning_of).collect();
    let more = done.warning_count.saturating_sub(warnings.len() as u64);
    if more > 0 {
        warnings.push(Warning {
            code: "more-warnings".into(),
            message: format!("{more} more of the same layer"),
        });
    }
    warnings
}

/// Gives a directory its final name, within the transaction that made the number.
fn place(store: &Store, name: &str, n: i64) -> Result<()> {
    let path: PathBuf = store.paths.layers().join(n.to_string());
    let rename = || {
        rustix::fs::renameat_with(&store.layers, name, &store.layers, n.to_string(), RenameFlags::NOREPLACE)
    };
    match rename() {
        Err(Errno::EXIST) => {
            // The number is new, so this is what a process left that died between the rename and the commit.
            let gone = format!("{TEMPORARY}gone-{n}-{}", random_hex(4)?);
            rustix::fs::renameat(&store.layers, n.to_string(), &store.layers, gone).call("rename", &path)?;
            rename().call("rename", &path)
        }
        Err(Errno::INVAL) => {
            // A file system without RENAME_NOREPLACE.
            rustix::fs::renameat(&store.layers, name, &store.layers, n.to_string()).call("rename", &path)
        }
        result => result.call("rename", &path),
    }
}

/// Makes and locks a temporary directory; None if somebody else has it.
pub(crate) fn lock_temporary(store: &Store, name: &str, cancel: &CancelToken) -> Result<Option<Locked>> {
    let path = store.paths.layers().join(name);
    let _gate = store.gate.shared(cancel)?;
    crate::state::make_dir(&store.layers, name, &store.paths.layers())?;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let fd = match rustix::fs::openat(&store.layers, name, flags, Mode::empty()) {
        Ok(fd) => fd,
        Err(Errno::NOENT) => return Ok(None),
        Err(errno) => return Err(Error::syscall("open", path, errno.raw_os_error())),
    };
    let Some(lock) = Locked::try_exclusive(fd, &path)? else { return Ok(None) };
    // Still the directory of this name? The one who had it may have moved it to its final place.
    let ours = rustix::fs::fstat(lock.fd()).call("fstat", &path)?;
    match rustix::fs::statat(&store.layers, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) if (stat.st_dev, stat.st_ino) == (ours.st_dev, ours.st_ino) => Ok(Some(lock)),
        Ok(_) | Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(Error::syscall("stat", path, errno.raw_os_error())),
    }
}

/// Makes the tree of a layer in its directory, empty.
///
/// It is made among the layers, under a name by chance, and then moved. Where a directory's files go on the disk follows from where and under which name it is
/// made. ext4 takes very long to make files where many were deleted a moment before, so a layer that was removed must not be made again in the same place.
pub(crate) fn make_tree(store: &Store, name: &str, lock: &Locked) -> Result<OwnedFd> {
    let path = store.paths.layers().join(name).join(TREE);
    let mode = Mode::from_raw_mode(0o755);
    // Nobody sweeps as long as this is held.
    let gate = store.gate_shared()?;
    let chance = format!("{TEMPORARY}new-{}", random_hex(8)?);
    rustix::fs::mkdirat(&store.layers, &chance, mode).call("mkdir", &path)?;
    if let Err(errno) = rustix::fs::renameat(&store.layers, &chance, lock.fd(), TREE) {
        let _ = rustix::fs::unlinkat(&store.layers, &chance, AtFlags::REMOVEDIR);
        return Err(errno).call("rename", &path);
    }
    drop(gate);
    rustix::fs::chmodat(lock.fd(), TREE, mode, AtFlags::empty()).call("chmod", &path)?;
    open_tree(store, name)
}

/// Opens the tree of a layer's directory.
pub(crate) fn open_tree(store: &Store, name: &str) -> Result<OwnedFd> {
    let tree = format!("{name}/{TREE}");
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match rustix::fs::openat(&store.layers, &tree, flags | OFlags::RDONLY, Mode::empty()) {
        // The image may have made its root unreadable for its owner.
        Err(Errno::ACCESS) => rustix::fs::openat(&store.layers, &tree, flags | OFlags::PATH, Mode::empty()),
        result => result,
    }
    .call("open", store.paths.layers().join(tree))
}
