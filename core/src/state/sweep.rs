//! Cleaning the store: what crashed processes left, and what no image refers to any more. The orderly end of an operation and the
//! opening of a store call the same function.

use std::os::fd::OwnedFd;

use rusqlite::Connection;
use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;

use super::lock::Locked;
use super::session::{DONE, Session};
use super::{Store, images, list_names};
use crate::cancel::CancelToken;
use crate::content::Leftover;
use crate::error::{Call, Error, Result};
use crate::oci::{Algorithm, Digest};
use crate::snapshot::{TEMPORARY, Worker};

/// Cleans a store that is being opened. On a store that nobody left in disorder it reads two empty directories.
pub(crate) fn sweep(store: &Store, worker: &dyn Worker) -> Result<()> {
    store.content.remove_partial(Leftover::Old)?;
    if list_names(&reopen(&store.content.ingest, store)?, &store.content.path)?.is_empty() {
        return Ok(());
    }
    clean(store, worker, None)
}

/// Ends a session.
pub(super) fn finish(store: &Store, worker: &dyn Worker, session: Session) -> Result<()> {
    clean(store, worker, Some(session))
}

fn clean(store: &Store, worker: &dyn Worker, own: Option<Session>) -> Result<()> {
    let ingest = &store.content.ingest;
    let ingest_path = store.content.path.join("ingest");
    let gate = store.gate.exclusive(&CancelToken::never())?;
    let own_name = match &own {
        Some(session) => {
            let done = format!("{DONE}{}", session.name);
            rustix::fs::renameat(ingest, &session.name, ingest, &done).call("rename", &session.path)?;
            Some(done)
        }
        None => None,
    };
    // Who else is here? A session that can be locked has lost its process.
    let mut crashed: Vec<(String, Locked)> = Vec::new();
    let mut others = false;
    for name in list_names(&reopen(ingest, store)?, &ingest_path)? {
        if own_name.as_deref() == Some(name.as_str()) {
            continue;
        }
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let fd = match rustix::fs::openat(ingest, &name, flags, Mode::empty()) {
            Ok(fd) => fd,
            Err(Errno::NOENT) => continue,
            Err(errno) => return Err(Error::syscall("open", ingest_path.join(&name), errno.raw_os_error())),
        };
        match Locked::try_exclusive(fd, &ingest_path)? {
            Some(lock) => crashed.push((name, lock)),
            None => others |= !name.starts_with(DONE),
        }
    }
    let mut doomed: Vec<(String, Option<Locked>)> = Vec::new();
    if !others {
        collect(store, &mut doomed)?;
        if !crashed.is_empty() {
            strays(store, &mut doomed)?;
            let index = store.db.read(images::index)?;
            let session = crashed.first().map(|(name, lock)| (name, lock.fd()));
            if let Some((name, dir)) = session {
                store.content.write_index_if_changed(dir, &ingest_path.join(name), &index)?;
            }
        }
        store.content.settle_partials()?;
    }
    // Whoever could not remove a tree of its own has left it under such a name, too. A copy of a dead process's descriptors may hold one a moment longer than its session.
    let mut held = false;
    if !others || !crashed.is_empty() {
        for name in list_names(&reopen(&store.layers, store)?, &store.paths.layers())? {
            if name.starts_with(TEMPORARY) && !doomed.iter().any(|(known, _)| *known == name) {
                match lock_dir(store, &name)? {
                    Some(lock) => doomed.push((name, Some(lock))),
                    None => held = true,
                }
            }
        }
    }
    drop(gate);
    if !doomed.is_empty() {
        let names: Vec<&str> = doomed.iter().map(|(name, _)| name.as_str()).collect();
        worker.remove(std::os::fd::AsFd::as_fd(&store.layers), &names)?;
    }
    drop(doomed);
    for (name, lock) in &crashed {
        empty(lock.fd())?;
        // The marker brings the next sweep back to what was held.
        if !others && !held {
            remove_marker(ingest, name)?;
        }
    }
    if let (Some(session), Some(name)) = (&own, &own_name) {
        empty(session.dir())?;
        remove_marker(ingest, name)?;
    }
    Ok(())
}

/// Blobs and layers that no image refers to: rows first, then files.
fn collect(store: &Store, doomed: &mut Vec<(String, Option<Locked>)>) -> Result<()> {
    if !store.db.read(images::has_unreferenced)? {
        return Ok(());
    }
    let (blobs, layers) = store.freeing(|| store.db.write_durably(images::take_unreferenced))?;
    for digest in blobs {
        store.content.delete(&digest)?;
    }
    for n in layers {
        doom(store, &n.to_string(), doomed)?;
    }
    Ok(())
}

/// Blobs and layers on the disk that have no row, from processes that died between the two.
fn strays(store: &Store, doomed: &mut Vec<(String, Option<Locked>)>) -> Result<()> {
    for digest in store.db.read(|connection| stray_blobs(store, connection))? {
        store.content.delete(&digest)?;
    }
    for name in store.db.read(|connection| stray_layers(store, connection))? {
        doom(store, &name, doomed)?;
    }
    Ok(())
}

/// What is on the disk and belongs to nothing: blobs and unpacked layers that no row names. Their paths below the data root; with a worker they are removed.
/// Temporary trees that nobody holds are not among them: the next session that ends removes them.
///
/// Empty as long as anybody but `own` is at work, since what that brings in has no rows yet, and while a crashed session is there to say that the next sweep
/// looks at everything.
pub(crate) fn find_strays(
    store: &Store,
    own: Option<&Session>,
    mend: Option<&dyn Worker>,
    cancel: &CancelToken,
) -> Result<Vec<String>> {
    let gate = store.gate.exclusive(cancel)?;
    if !is_alone(store, own)? {
        return Ok(Vec::new());
    }
    let mut found = Vec::new();
    let mut doomed: Vec<(String, Option<Locked>)> = Vec::new();
    // Nobody has anything without a row now: whoever brings it in is in a session.
    store.db.read(|connection| {
        for digest in stray_blobs(store, connection)? {
            found.push(format!("content/blobs/{}/{}", digest.algorithm().name(), digest.hex()));
            if mend.is_some() {
                store.content.delete(&digest)?;
            }
        }
        for name in stray_layers(store, connection)? {
            found.push(format!("layers/{name}"));
            if mend.is_some() {
                doom(store, &name, &mut doomed)?;
            }
        }
        Ok(())
    })?;
    drop(gate);
    if let Some(worker) = mend.filter(|_| !doomed.is_empty()) {
        let names: Vec<&str> = doomed.iter().map(|(name, _)| name.as_str()).collect();
        worker.remove(std::os::fd::AsFd::as_fd(&store.layers), &names)?;
    }
    Ok(found)
}

/// Whether nobody else is at work, nor has died at it. Under the gate.
fn is_alone(store: &Store, own: Option<&Session>) -> Result<bool> {
    let ingest = &store.content.ingest;
    let path = store.content.path.join("ingest");
    for name in list_names(&reopen(ingest, store)?, &path)? {
        if own.is_some_and(|session| session.name == name) {
            continue;
        }
        // One that is cleaning up after itself has done so with all that matters here, unless it died.
        if !name.starts_with(DONE) {
            return Ok(false);
        }
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let fd = match rustix::fs::openat(ingest, &name, flags, Mode::empty()) {
            Ok(fd) => fd,
            Err(Errno::NOENT) => continue,
            Err(errno) => return Err(Error::syscall("open", path.join(&name), errno.raw_os_error())),
        };
        if Locked::try_exclusive(fd, &path)?.is_some() {
            return Ok(false);
        }
    }
    Ok(true)
}

fn stray_blobs(store: &Store, connection: &Connection) -> Result<Vec<Digest>> {
    let known = images::blob_digests(connection)?;
    let mut strays = Vec::new();
    for algorithm in Algorithm::ALL {
        let names = store.content.list(algorithm)?;
        let digests =
            names.iter().filter_map(|name| Digest::parse(&format!("{}:{name}", algorithm.name())).ok());
        strays.extend(digests.filter(|digest| !known.contains(digest)));
    }
    Ok(strays)
}

fn stray_layers(store: &Store, connection: &Connection) -> Result<Vec<String>> {
    let known = images::layer_numbers(connection)?;
    let mut names = list_names(&reopen(&store.layers, store)?, &store.paths.layers())?;
    names.retain(|name| name.parse::<i64>().is_ok_and(|n| !known.contains(&n)));
    Ok(names)
}

/// Takes a layer's directory out of the way, for deletion once the gate is open again.
fn doom(store: &Store, name: &str, doomed: &mut Vec<(String, Option<Locked>)>) -> Result<()> {
    let gone = format!("{TEMPORARY}gone-{name}");
    match rustix::fs::renameat(&store.layers, name, &store.layers, &gone) {
        Ok(()) => {}
        Err(Errno::NOENT) => return Ok(()),
        Err(errno) => {
            return Err(Error::syscall("rename", store.paths.layers().join(name), errno.raw_os_error()));
        }
    }
    // It has no row and nobody has a session, so it is ours whoever still has a descriptor of it; the lock only keeps other sweeps away.
    let lock = lock_dir(store, &gone)?;
    doomed.push((gone, lock));
    Ok(())
}

fn lock_dir(store: &Store, name: &str) -> Result<Option<Locked>> {
    let path = store.paths.layers().join(name);
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match rustix::fs::openat(&store.layers, name, flags, Mode::empty()) {
        Ok(fd) => Locked::try_exclusive(fd, &path),
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(Error::syscall("open", path, errno.raw_os_error())),
    }
}

/// Removes the files of a session directory; a session has no subdirectories.
fn empty(dir: &OwnedFd) -> Result<()> {
    let path = std::path::Path::new("content/ingest");
    let listing = match rustix::fs::openat(
        dir,
        ".",
        OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    ) {
        Ok(listing) => listing,
        Err(Errno::NOTDIR | Errno::NOENT) => return Ok(()),
        Err(errno) => return Err(Error::syscall("open", path, errno.raw_os_error())),
    };
    for name in list_names(&listing, path)? {
        match rustix::fs::unlinkat(dir, &name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(errno) => return Err(Error::syscall("unlink", path.join(name), errno.raw_os_error())),
        }
    }
    Ok(())
}

fn remove_marker(ingest: &OwnedFd, name: &str) -> Result<()> {
    let result = match rustix::fs::unlinkat(ingest, name, AtFlags::REMOVEDIR) {
        Err(Errno::NOTDIR) => rustix::fs::unlinkat(ingest, name, AtFlags::empty()),
        result => result,
    };
    match result {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(errno) => Err(Error::syscall("rmdir", name, errno.raw_os_error())),
    }
}

/// A directory with a position of its own, for listing.
fn reopen(dir: &OwnedFd, store: &Store) -> Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::openat(dir, ".", flags, Mode::empty()).call("open", &store.paths.data)
}
