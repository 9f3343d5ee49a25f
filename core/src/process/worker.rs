//! The archive role of the shim, as the engine uses it: one short-lived process for each job. And the removal of small trees, which needs none.

use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, RawDir, ResolveFlags};
use rustix::io::Errno;

use coble_protocol::{
    ArchiveDone, ArchiveJob, ArchiveWork, FdList, Fds, Launch, Limits, Report, UserNamespace,
};

use super::{Deadline, report};
use crate::cancel::CancelToken;
use crate::engine::Inner;
use crate::error::{Call, Context, Error, ErrorKind, Result};
use crate::isolation::userns::OtherIds;
use crate::snapshot::{Application, Worker};
use crate::state::Store;

/// Those who do the jobs of the archive role for an engine, in a user namespace in which the files that they work on have the ids that they mean: the engine's own, or another one where those of a container are on the
/// disk with other owners.
#[derive(Clone, Copy)]
pub(crate) struct Workers<'a> {
    inner: &'a Inner,
    ids: Option<&'a OtherIds>,
}

impl<'a> From<&'a Inner> for Workers<'a> {
    fn from(inner: &'a Inner) -> Workers<'a> {
        Workers::new(inner, None)
    }
}

impl<'a> Workers<'a> {
    pub(crate) fn new(inner: &'a Inner, ids: Option<&'a OtherIds>) -> Workers<'a> {
        Workers { inner, ids }
    }

    /// The store that they work for.
    pub(crate) fn store(&self) -> &'a Store {
        &self.inner.store
    }

    /// Whether they are in a user namespace.
    pub(super) fn rootless(&self) -> bool {
        self.inner.rootless()
    }
}

impl Worker for Workers<'_> {
    fn idmap<'a>(&'a self, store: &'a Store) -> &'a str {
        self.ids.map_or(&store.idmap, |ids| &ids.kind)
    }

    fn apply(&self, layer: Application<'_>, cancel: &CancelToken) -> Result<ArchiveDone> {
        let Application { target, input, below, ready } = layer;
        let mut fds = FdList::default();
        let work = ArchiveWork::Apply {
            target: fds.push(target),
            input: fds.push(input),
            below: below.describe(&mut fds),
            ready: ready.map(|fd| fds.push(fd)),
            userxattr: self.rootless(),
            limits: Limits::default(),
        };
        job(*self, work, &fds, cancel)
    }

    fn remove(&self, parent: BorrowedFd<'_>, names: &[&str]) -> Result<()> {
        let mut fds = FdList::default();
        let names = names.iter().map(|name| (*name).to_owned()).collect();
        let work = ArchiveWork::Remove { parent: fds.push(parent), names };
        // The engine's own has all ids there are, also those of layers that are for others and go with a session of this one.
        job(Workers::from(self.inner), work, &fds, &CancelToken::never()).map(drop)
    }
}

impl Worker for Inner {
    fn apply(&self, layer: Application<'_>, cancel: &CancelToken) -> Result<ArchiveDone> {
        Workers::from(self).apply(layer, cancel)
    }

    fn remove(&self, parent: BorrowedFd<'_>, names: &[&str]) -> Result<()> {
        Workers::from(self).remove(parent, names)
    }
}

fn job(
    workers: Workers<'_>,
    work: ArchiveWork,
    fds: &FdList<'_>,
    cancel: &CancelToken,
) -> Result<ArchiveDone> {
    sent(exchange(workers, work, fds, cancel)?)
}

/// The error of a worker that did not do its part.
pub(super) fn lost(why: String) -> Error {
    Error::new(ErrorKind::MonitorLost, format!("the archive worker: {why}"))
}

/// Starts a worker with its work and waits for its report.
pub(super) fn exchange(
    workers: Workers<'_>,
    work: ArchiveWork,
    fds: &FdList<'_>,
    cancel: &CancelToken,
) -> Result<(Report, Fds)> {
    let userns = workers.ids.map_or(workers.inner.userns.as_ref(), |ids| Some(&ids.userns));
    exchange_in(workers, userns.cloned(), work, fds, cancel)
}

/// As [`exchange`], for work in a running container, which has its user namespace already.
pub(super) fn exchange_inside(
    workers: Workers<'_>,
    work: ArchiveWork,
    fds: &FdList<'_>,
    cancel: &CancelToken,
) -> Result<(Report, Fds)> {
    exchange_in(workers, None, work, fds, cancel)
}

fn exchange_in(
    workers: Workers<'_>,
    userns: Option<UserNamespace>,
    work: ArchiveWork,
    fds: &FdList<'_>,
    cancel: &CancelToken,
) -> Result<(Report, Fds)> {
    let job = ArchiveJob { userns, work };
    let control = workers.inner.shim()?.start(&Launch::Archive(Box::new(job)), fds.as_slice())?;
    // When this returns early the connection is dropped, which ends the worker.
    report(&control, Deadline::never(), cancel, "the archive worker")
}

/// What a worker reported of work that was done.
pub(super) fn sent((report, _): (Report, Fds)) -> Result<ArchiveDone> {
    match report {
        Report::Done(done) => Ok(*done),
        _ => Err(lost("an unexpected report".into())),
    }
}

/// How deep a tree may be that the engine removes by itself.
const SHALLOW: u32 = 24;
/// And how many entries it may have: beyond that the cost of a worker does not matter.
const FEW: u32 = 2000;

/// Removes `parent/name` with everything below. Small trees, which is what nearly every container leaves, are removed here, by descriptors and without following
/// links; what is deep, large or not permitted is left to the worker.
pub(crate) fn remove_tree(worker: &dyn Worker, parent: &Path, name: &str) -> Result<()> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let dir = match rustix::fs::open(parent, flags, Mode::empty()) {
        Ok(dir) => dir,
        Err(Errno::NOENT) => return Ok(()),
        Err(errno) => return Err(errno).call("open", parent),
    };
    let mut left = FEW;
    match remove_small(dir.as_fd(), name.as_bytes(), SHALLOW, &mut left) {
        Ok(()) => Ok(()),
        Err(_) => worker
            .remove(dir.as_fd(), &[name])
            .context(|| format!("removing \"{}\"", parent.join(name).display())),
    }
}

/// Removes one entry. Any error means that somebody with more means has to do it.
fn remove_small(dir: BorrowedFd<'_>, name: &[u8], depth: u32, left: &mut u32) -> Result<(), Errno> {
    *left = left.checked_sub(1).ok_or(Errno::TOOMANYREFS)?;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
    let open = || rustix::fs::openat2(dir, name, flags, Mode::empty(), resolve);
    let child = match open() {
        Ok(child) => child,
        Err(Errno::NOENT) => return Ok(()),
        // A file, or a link.
        Err(Errno::NOTDIR | Errno::LOOP) => return unlink(dir, name, AtFlags::empty()),
        // The work directory of an overlay has no permissions, which stops its owner unless that is root.
        Err(Errno::ACCESS) => {
            rustix::fs::chmodat(dir, name, Mode::RWXU, AtFlags::SYMLINK_NOFOLLOW)?;
            open()?
        }
        Err(errno) => return Err(errno),
    };
    let depth = depth.checked_sub(1).ok_or(Errno::TOOMANYREFS)?;
    let mut entries: Vec<(Vec<u8>, FileType)> = Vec::new();
    let mut buffer = Vec::with_capacity(8192);
    let mut reader = RawDir::new(&child, buffer.spare_capacity_mut());
    while let Some(entry) = reader.next() {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            if entries.len() as u32 >= FEW {
                return Err(Errno::TOOMANYREFS);
            }
            entries.push((name.to_vec(), entry.file_type()));
        }
    }
    for (name, file_type) in entries {
        match file_type {
            FileType::Directory | FileType::Unknown => remove_small(child.as_fd(), &name, depth, left)?,
            _ => {
                *left = left.checked_sub(1).ok_or(Errno::TOOMANYREFS)?;
                unlink(child.as_fd(), &name, AtFlags::empty())?;
            }
        }
    }
    drop(child);
    unlink(dir, name, AtFlags::REMOVEDIR)
}

fn unlink(dir: BorrowedFd<'_>, name: &[u8], flags: AtFlags) -> Result<(), Errno> {
    match rustix::fs::unlinkat(dir, name, flags) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(errno) => Err(errno),
    }
}

/// The names in a directory that can be ids of containers. A directory that is not there is empty.
pub(crate) fn names_in(directory: &Path) -> Result<Vec<String>> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let dir = match rustix::fs::open(directory, flags, Mode::empty()) {
        Ok(dir) => dir,
        Err(Errno::NOENT) => return Ok(Vec::new()),
        Err(errno) => return Err(errno).call("open", directory),
    };
    let mut names = Vec::new();
    for entry in Dir::new(dir).call("open", directory)? {
        let entry = entry.call("getdents", directory)?;
        if let Ok(name) = entry.file_name().to_str()
            && name != "."
            && name != ".."
        {
            names.push(name.to_owned());
        }
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    struct NoWorker;

    impl Worker for NoWorker {
        fn apply(&self, _: Application<'_>, _: &CancelToken) -> Result<ArchiveDone> {
            Err(Error::new(ErrorKind::Unsupported, "no worker"))
        }

        fn remove(&self, _: BorrowedFd<'_>, _: &[&str]) -> Result<()> {
            Err(Error::new(ErrorKind::Unsupported, "no worker"))
        }
    }

    #[test]
    fn small_trees_go_without_a_worker_and_links_are_not_followed() {
        let root = tempfile::tempdir().unwrap();
        let canary = root.path().join("canary");
        std::fs::create_dir(&canary).unwrap();
        std::fs::write(canary.join("file"), "x").unwrap();
        let tree = root.path().join("tree");
        std::fs::create_dir_all(tree.join("a/b/c")).unwrap();
        std::fs::write(tree.join("a/b/file"), "x").unwrap();
        symlink(&canary, tree.join("a/link")).unwrap();
        symlink("..", tree.join("a/b/c/up")).unwrap();
        remove_tree(&NoWorker, root.path(), "tree").unwrap();
        assert!(!tree.exists() && canary.join("file").exists());
        symlink(&canary, &tree).unwrap();
        remove_tree(&NoWorker, root.path(), "tree").unwrap();
        assert!(!tree.exists() && canary.join("file").exists());
        remove_tree(&NoWorker, root.path(), "tree").unwrap();
    }

    #[test]
    fn deep_trees_are_the_workers() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(root.path().join("d/".repeat(SHALLOW as usize + 1))).unwrap();
        assert_eq!(remove_tree(&NoWorker, root.path(), "d").unwrap_err().kind(), ErrorKind::Unsupported);
    }
}
