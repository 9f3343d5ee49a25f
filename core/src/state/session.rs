//! What a process is doing to the images right now.
//!
//! Everything that adds, names or removes images, blobs or layers works in a session: a locked directory in `content/ingest` that holds
//! what is on its way in. As long as somebody has one, nobody takes away blobs and layers that no image refers to, since they may be about
//! to be referred to. Whoever ends last takes them away. A session directory that can be locked belongs to a process that died,
//! and says that the sweep has to look at everything.

use std::os::fd::OwnedFd;
use std::path::PathBuf;

use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;

use super::lock::Locked;
use super::{Store, random_hex, sweep};
use crate::cancel::CancelToken;
use crate::error::{Call, Error, ErrorKind, Result};
use crate::snapshot::Worker;

/// The beginning of the name of a session that is over but for the cleaning.
pub(super) const DONE: &str = "done-";

/// A session of this process. Used by one thread.
#[derive(Debug)]
pub(crate) struct Session {
    pub(super) name: String,
    pub(crate) path: PathBuf,
    dir: Locked,
}

impl Session {
    /// Does the work in a session of its own, and cleans up after it, whether it succeeded or not.
    pub(crate) fn run<T>(
        store: &Store,
        worker: &dyn Worker,
        cancel: &CancelToken,
        work: impl FnOnce(&Session) -> Result<T>,
    ) -> Result<T> {
        store.keep_reserve();
        Session::run_now(store, worker, cancel, work)
    }

    fn run_now<T>(
        store: &Store,
        worker: &dyn Worker,
        cancel: &CancelToken,
        work: impl FnOnce(&Session) -> Result<T>,
    ) -> Result<T> {
        let session = Session::begin(store, cancel)?;
        let result = work(&session);
        // What cannot be cleaned now is found by the next sweep; the work's own result is not touched by it.
        let _ = sweep::finish(store, worker, session);
        result
    }

    /// Holds what is there until the lease ends: nobody takes away blobs and layers, whatever is removed. It ends with the process, too.
    pub(crate) fn lease(store: &Store, cancel: &CancelToken) -> Result<Lease> {
        Session::begin(store, cancel).map(Lease)
    }

    /// As [`Session::run`], for work that frees space: on a full disk it is done with the space that is kept for that.
    pub(crate) fn run_freeing<T>(
        store: &Store,
        worker: &dyn Worker,
        work: impl Fn(&Session) -> Result<T>,
    ) -> Result<T> {
        store.freeing(|| Session::run_now(store, worker, &CancelToken::never(), &work))
    }

    fn begin(store: &Store, cancel: &CancelToken) -> Result<Session> {
        let _gate = store.gate.shared(cancel)?;
        let name = random_hex(8)?;
        let ingest = &store.content.ingest;
        let path = store.content.path.join("ingest").join(&name);
        rustix::fs::mkdirat(ingest, &name, Mode::RWXU).call("mkdir", &path)?;
        rustix::fs::chmodat(ingest, &name, Mode::RWXU, AtFlags::empty()).call("chmod", &path)?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let dir = rustix::fs::openat(ingest, &name, flags, Mode::empty()).call("open", &path)?;
        let dir = Locked::try_exclusive(dir, &path)?.ok_or_else(|| {
            Error::new(ErrorKind::Internal, format!("somebody else has locked \"{}\"", path.display()))
        })?;
        Ok(Session { name, path, dir })
    }

    /// The directory.
    pub(crate) fn dir(&self) -> &OwnedFd {
        self.dir.fd()
    }

    /// Makes a file of mode 0600 that is not there yet.
    pub(crate) fn create(&self, name: &str) -> Result<OwnedFd> {
        let mode = Mode::RUSR | Mode::WUSR;
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let path = self.path.join(name);
        let file = rustix::fs::openat(self.dir(), name, flags, mode).call("open", &path)?;
        rustix::fs::fchmod(&file, mode).call("fchmod", &path)?;
        Ok(file)
    }

    /// Removes a file of the session; one that has gone is fine.
    pub(crate) fn discard(&self, name: &str) -> Result<()> {
        match rustix::fs::unlinkat(self.dir(), name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(errno) => Err(Error::syscall("unlink", self.path.join(name), errno.raw_os_error())),
        }
    }
}

/// A session in which nothing is done.
#[derive(Debug)]
pub(crate) struct Lease(Session);

impl Lease {
    /// Ends it, and takes away what nobody needs any more.
    pub(crate) fn end(self, store: &Store, worker: &dyn Worker) {
        // What cannot be cleaned now is found by the next sweep.
        let _ = sweep::finish(store, worker, self.0);
    }
}
