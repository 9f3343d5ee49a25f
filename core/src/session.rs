//! Sessions: a locked file for each engine that has session-scoped containers. The lock goes with the process, so a container whose session is free
//! belongs to nobody any more.

use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, Mode, OFlags};
use rustix::io::Errno;

use crate::error::{Call, Error, ErrorKind, Result};
use crate::process::names_in;
use crate::state::Locked;

/// A session of this process.
#[derive(Debug)]
pub(crate) struct EngineSession {
    name: String,
    path: PathBuf,
    lock: Locked,
}

fn directory(run_root: &Path) -> PathBuf {
    run_root.join("sessions")
}

impl EngineSession {
    /// Begins a session.
    pub(crate) fn begin(run_root: &Path) -> Result<EngineSession> {
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
            if let Some(lock) = Locked::try_exclusive(file, &path)?
                && rustix::fs::fstat(lock.fd()).call("fstat", &path)?.st_nlink > 0
            {
                return Ok(EngineSession { name, path, lock });
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
        drop(self.lock);
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
        if let Some(_lock) = Locked::try_exclusive(file, &path)? {
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
        let session = EngineSession::begin(root.path()).unwrap();
        let name = session.name().to_owned();
        sweep(root.path()).unwrap();
        assert!(EngineSession::lives(root.path(), &name));
        session.end();
        assert!(!EngineSession::lives(root.path(), &name));
        assert!(!EngineSession::lives(root.path(), "no such session"));
    }
}
