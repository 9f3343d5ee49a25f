//! A container's run directory: the lock that says whether anybody is responsible for the container, and the monitor's state file and socket.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FlockOperation, Mode, OFlags};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

use coble_protocol::{
    CONTROL_SOCKET, Connection, EXIT_FILE, STATE_FILE, StateRecord, TEMPORARY_FILE, VERSION,
};

use crate::error::{Call, Error, ErrorKind, Result};

const LOCK: &str = "lock";
/// A state file is a few kilobytes; the monitor's user could have made it anything.
const MAX_STATE: u64 = 4 << 20;

/// The open run directory of a container.
#[derive(Debug)]
pub(crate) struct RunDir {
    path: PathBuf,
    dir: OwnedFd,
}

/// Responsibility for a container. Dropped, or with its process gone, it is free.
#[derive(Debug)]
pub(crate) struct Lock {
    file: OwnedFd,
    ours: bool,
}

impl Lock {
    /// Leaves the lock to the monitor, which has the same open file description.
    pub(crate) fn hand_over(mut self) {
        self.ours = false;
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        if self.ours {
            // Closing would not do: a child that this program forked meanwhile may have a copy of the descriptor.
            let _ = rustix::fs::flock(&self.file, FlockOperation::Unlock);
        }
    }
}

impl AsFd for Lock {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl RunDir {
    /// The run directory of a container of the store at `run_root`.
    pub(crate) fn path_of(run_root: &Path, id: &str) -> PathBuf {
        run_root.join("containers").join(id)
    }

    /// Opens it; None if it is not there.
    pub(crate) fn open(run_root: &Path, id: &str) -> Result<Option<RunDir>> {
        let path = RunDir::path_of(run_root, id);
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match rustix::fs::open(&path, flags, Mode::empty()) {
            Ok(dir) => Ok(Some(RunDir { path, dir })),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(errno).call("open", &path),
        }
    }

    /// Opens it, making it if it is not there (it lives on a tmpfs and goes with a reboot).
    pub(crate) fn make(run_root: &Path, id: &str) -> Result<RunDir> {
        let path = RunDir::path_of(run_root, id);
        match rustix::fs::mkdir(&path, Mode::RWXU) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(errno).call("mkdir", &path),
        }
        RunDir::open(run_root, id)?.ok_or_else(|| {
            Error::new(ErrorKind::ContainerNotFound, format!("container \"{id}\" was removed"))
                .with_object(id)
        })
    }

    /// Takes the lock, if nobody has it. None: somebody is responsible for the container, or just removed it.
    pub(crate) fn try_lock(&self) -> Result<Option<Lock>> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = match rustix::fs::openat(&self.dir, LOCK, flags, Mode::RUSR | Mode::WUSR) {
            Ok(file) => file,
            // The directory itself was removed.
            Err(Errno::NOENT) => return Ok(None),
            Err(errno) => return Err(errno).call("open", self.path.join(LOCK)),
        };
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => return Ok(None),
            Err(errno) => return Err(errno).call("flock", self.path.join(LOCK)),
        }
        // The holder before us may have removed the directory while we opened the file.
        let stat = rustix::fs::fstat(&file).call("fstat", self.path.join(LOCK))?;
        Ok((stat.st_nlink > 0).then(|| Lock { file, ours: true }))
    }

    /// What the monitor wrote last. None if it wrote nothing, or nothing that this version reads.
    pub(crate) fn state(&self) -> Option<StateRecord> {
        self.record(EXIT_FILE).or_else(|| self.record(STATE_FILE))
    }

    fn record(&self, name: &str) -> Option<StateRecord> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let file = rustix::fs::openat(&self.dir, name, flags, Mode::empty()).ok()?;
        let mut bytes = Vec::new();
        std::io::Read::read_to_end(
            &mut std::io::Read::take(std::fs::File::from(file), MAX_STATE),
            &mut bytes,
        )
        .ok()?;
        StateRecord::decode(&bytes).ok().filter(|record| record.version == VERSION)
    }

    /// Connects to the monitor. None if there is none.
    pub(crate) fn connect(&self) -> Result<Option<Connection>> {
        // The name of a socket has 107 bytes at most, and the run root may be longer, so the way is over the open directory.
        let name = format!("/proc/self/fd/{}/{CONTROL_SOCKET}", self.dir.as_raw_fd());
        let address = SocketAddrUnix::new(name.as_str()).call("sockaddr", &self.path)?;
        let socket =
            rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)
                .call("socket", "control socket")?;
        match rustix::net::connect(&socket, &address) {
            Ok(()) => Ok(Some(Connection::new(socket))),
            Err(Errno::NOENT | Errno::CONNREFUSED) => Ok(None),
            Err(errno) => Err(errno).call("connect", self.path.join(CONTROL_SOCKET)),
        }
    }

    /// Removes what a run left, but not the lock.
    pub(crate) fn clear(&self) -> Result<()> {
        for name in [CONTROL_SOCKET, EXIT_FILE, STATE_FILE, TEMPORARY_FILE] {
            match rustix::fs::unlinkat(&self.dir, name, AtFlags::empty()) {
                Ok(()) | Err(Errno::NOENT) => {}
                Err(errno) => return Err(errno).call("unlink", self.path.join(name)),
            }
        }
        Ok(())
    }

    /// Removes the directory. The caller holds the lock, which is gone with it.
    pub(crate) fn remove(self, _lock: &Lock) -> Result<()> {
        self.clear()?;
        match rustix::fs::unlinkat(&self.dir, LOCK, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(errno) => return Err(errno).call("unlink", self.path.join(LOCK)),
        }
        match rustix::fs::rmdir(&self.path) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(errno) => Err(errno).call("rmdir", &self.path),
        }
    }
}

impl AsFd for RunDir {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.dir.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lock_is_one_and_goes_with_its_holder() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir(root.path().join("containers")).unwrap();
        assert!(RunDir::open(root.path(), "a").unwrap().is_none());
        let dir = RunDir::make(root.path(), "a").unwrap();
        let lock = dir.try_lock().unwrap().unwrap();
        let other = RunDir::open(root.path(), "a").unwrap().unwrap();
        assert!(other.try_lock().unwrap().is_none());
        drop(lock);
        let lock = other.try_lock().unwrap().unwrap();
        assert!(dir.state().is_none() && dir.connect().unwrap().is_none());
        dir.remove(&lock).unwrap();
        assert!(other.try_lock().unwrap().is_none(), "a removed container cannot be locked");
    }
}
