//! Sessions: a locked file for each engine that has session-scoped containers. The lock goes with the process, so a container whose session is free
//! belongs to nobody any more.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, Mode, OFlags};
use rustix::io::Errno;

use crate::error::{Call, Error, ErrorKind, Result};
use crate::process::names_in;

/// A session of this process.
#[derive(Debug)]
pub(crate) struct Session {
    name: String,
    path: PathBuf,
    lock: OwnedFd,
}

fn directory(run_root: &Path) -> PathBuf {
    run_root.join("sessions")
}

impl Session {
    /// Begins a session.
    pub(crate) fn begin(run_root: &Path) -> Result<Session> {
        let directory = directory(run_root);
        match rustix::fs::mkdir(&directory, Mode::RWXU) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(errno).call("mkdir", &directory),
        }
        // The sweep removes what it can lock, so a file that was opened and not yet locked may be gone: then another one.
        for _ in 0..100 {
            let name = crate::container::new_id()?;
            let path = directory.join(&name);
            let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
            let file = rustix::fs::open(&path, flags, Mode::RUSR | Mode::WUSR).call("open", &path)?;
            if rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok()
                && rustix::fs::fstat(&file).call("fstat", &path)?.st_nlink > 0
            {
                return Ok(Session { name, path, lock: file });
            }
        }
        Err(Error::new(ErrorKind::Internal, "no session could be begun: its file is removed again and again"))
    }

    /// Its name.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Whether a session lives.
    pub(crate) fn lives(run_root: &Path, name: &str) -> bool {
        match rustix::fs::open(
            directory(run_root).join(name),
            OFlags::RDONLY | OFlags::CLOEXEC,
            Mode::empty(),
        ) {
            Ok(file) => {
                rustix::fs::flock(&file, FlockOperation::NonBlockingLockShared) == Err(Errno::WOULDBLOCK)
            }
            Err(_) => false,
        }
    }

    /// Ends the session.
    pub(crate) fn end(self) {
        // A file that stays is removed by the sweep.
        let _ = std::fs::remove_file(&self.path);
        // Not left to closing: a child that this program forked may have a copy of the descriptor.
        let _ = rustix::fs::flock(&self.lock, FlockOperation::Unlock);
    }
}

/// Removes the files of sessions that are over.
pub(crate) fn sweep(run_root: &Path) -> Result<()> {
    let directory = directory(run_root);
    for name in names_in(&directory)? {
        let path = directory.join(&name);
        let Ok(file) = rustix::fs::open(&path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()) else {
            continue;
        };
        if rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok() {
            let _ = std::fs::remove_file(&path);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_lives_until_it_ends() {
        let root = tempfile::tempdir().unwrap();
        let session = Session::begin(root.path()).unwrap();
        let name = session.name().to_owned();
        sweep(root.path()).unwrap();
        assert!(Session::lives(root.path(), &name));
        session.end();
        assert!(!Session::lives(root.path(), &name));
        assert!(!Session::lives(root.path(), "no such session"));
    }
}
