//! Locks on files and directories (`flock`), which go when their last holder dies.

use std::fmt;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{FlockOperation, Mode, OFlags};
use rustix::io::Errno;

use crate::cancel::CancelToken;
use crate::error::{Call, Error, Result};

/// A lock that is held as long as the value lives. If the process is killed, it goes with the last copy of the descriptor.
#[derive(Debug)]
pub(crate) struct Locked {
    file: OwnedFd,
    ours: bool,
}

impl Drop for Locked {
    /// Closing is not enough: the lock belongs to the open file description, of which a child that the host program forked meanwhile has a copy,
    /// perhaps for as long as it lives.
    fn drop(&mut self) {
        if self.ours {
            let _ = rustix::fs::flock(&self.file, FlockOperation::Unlock);
        }
    }
}

impl AsFd for Locked {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl Locked {
    /// Locks together with others, unless somebody holds it alone. None if somebody does.
    pub(crate) fn try_shared(fd: OwnedFd, object: &Path) -> Result<Option<Locked>> {
        Locked::try_lock(fd, object, FlockOperation::NonBlockingLockShared)
    }

    /// Locks exclusively if nobody holds a lock. None if somebody does.
    pub(crate) fn try_exclusive(fd: OwnedFd, object: &Path) -> Result<Option<Locked>> {
        Locked::try_lock(fd, object, FlockOperation::NonBlockingLockExclusive)
    }

    fn try_lock(fd: OwnedFd, object: &Path, operation: FlockOperation) -> Result<Option<Locked>> {
        match retry(|| rustix::fs::flock(&fd, operation)) {
            Ok(()) => Ok(Some(Locked { file: fd, ours: true })),
            Err(Errno::WOULDBLOCK) => Ok(None),
            Err(errno) => Err(Error::syscall("flock", object, errno.raw_os_error())),
        }
    }

    /// The locked file or directory.
    pub(crate) fn fd(&self) -> &OwnedFd {
        &self.file
    }

    /// Leaves the lock to whoever else has the same open file description.
    pub(crate) fn hand_over(mut self) {
        self.ours = false;
    }
}

/// The gate of a store. Whoever makes a temporary thing and locks it does both under a shared lock of the gate; the sweep
/// holds it exclusively while it looks, so it never meets a thing between the two.
pub(crate) struct Gate {
    data: OwnedFd,
    path: PathBuf,
}

const NAME: &str = "gate";
const WAY: &str = "gate-way";

impl Gate {
    pub(super) fn open(data: &OwnedFd, data_path: &Path) -> Result<Gate> {
        let gate = Gate { data: data.try_clone().call("dup", data_path)?, path: data_path.join(NAME) };
        gate.file(WAY)?;
        gate.file(NAME)?;
        Ok(gate)
    }

    /// A lock that others may hold too.
    pub(crate) fn shared(&self, cancel: &CancelToken) -> Result<Locked> {
        self.lock(FlockOperation::NonBlockingLockShared, FlockOperation::LockShared, cancel)
    }

    /// A lock that nobody else holds.
    pub(crate) fn exclusive(&self, cancel: &CancelToken) -> Result<Locked> {
        self.lock(FlockOperation::NonBlockingLockExclusive, FlockOperation::LockExclusive, cancel)
    }

    /// Locks the way to the gate, then the gate. So whoever wants the gate for himself waits for those who are there, and not for all who come after him.
    fn lock(&self, now: FlockOperation, blocking: FlockOperation, cancel: &CancelToken) -> Result<Locked> {
        let _way = self.wait(WAY, now, blocking, cancel)?;
        self.wait(NAME, now, blocking, cancel)
    }

    fn wait(
        &self,
        name: &str,
        now: FlockOperation,
        blocking: FlockOperation,
        cancel: &CancelToken,
    ) -> Result<Locked> {
        // A new open file description for every holder, since the lock belongs to that.
        let file = self.file(name)?;
        let failed =
            |errno: Errno| Error::syscall("flock", self.path.with_file_name(name), errno.raw_os_error());
        if cancel.is_never() {
            retry(|| rustix::fs::flock(&file, blocking)).map_err(failed)?;
            return Ok(Locked { file, ours: true });
        }
        let mut pause = Pause::default();
        loop {
            match retry(|| rustix::fs::flock(&file, now)) {
                Ok(()) => return Ok(Locked { file, ours: true }),
                Err(Errno::WOULDBLOCK) => pause.wait(cancel)?,
                Err(errno) => return Err(failed(errno)),
            }
        }
    }

    fn file(&self, name: &str) -> Result<OwnedFd> {
        let path = self.path.with_file_name(name);
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        match rustix::fs::openat(&self.data, name, flags, Mode::empty()) {
            Err(Errno::NOENT) => {}
            result => return result.call("open", &path),
        }
        let mode = Mode::RUSR | Mode::WUSR;
        let file = rustix::fs::openat(&self.data, name, flags | OFlags::CREATE, mode).call("open", &path)?;
        rustix::fs::fchmod(&file, mode).call("fchmod", &path)?;
        Ok(file)
    }
}

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Gate({})", self.path.display())
    }
}

/// Growing pauses between attempts to get a lock: `flock` itself cannot be cancelled.
#[derive(Debug)]
pub(crate) struct Pause(Duration);

impl Default for Pause {
    fn default() -> Pause {
        Pause(Duration::from_micros(100))
    }
}

impl Pause {
    pub(crate) fn wait(&mut self, cancel: &CancelToken) -> Result<()> {
        cancel.check()?;
        std::thread::sleep(self.0);
        self.0 = (self.0 * 2).min(Duration::from_millis(20));
        Ok(())
    }
}

/// Repeats a call that a signal interrupted.
pub(crate) fn retry<T>(mut call: impl FnMut() -> rustix::io::Result<T>) -> rustix::io::Result<T> {
    loop {
        match call() {
            Err(Errno::INTR) => {}
            result => return result,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_in_a_forked_child_does_not_keep_a_lock_that_was_given_up() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        std::fs::write(&path, "").unwrap();
        let open = || OwnedFd::from(std::fs::File::open(&path).unwrap());
        let lock = Locked::try_exclusive(open(), &path).unwrap().unwrap();
        assert!(Locked::try_exclusive(open(), &path).unwrap().is_none());
        // As fork does it: another descriptor of the same open file.
        let copy = lock.fd().try_clone().unwrap();
        drop(lock);
        assert!(Locked::try_exclusive(open(), &path).unwrap().is_some());
        drop(copy);
    }
    #[test]
    fn many_at_the_gate_do_not_keep_one_who_wants_it_for_himself() {
        let dir = tempfile::tempdir().unwrap();
        let data = || OwnedFd::from(std::fs::File::open(dir.path()).unwrap());
        let stop = std::sync::atomic::AtomicBool::new(false);
        let together = std::sync::Barrier::new(9);
        let begin = std::time::Instant::now();
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    let gate = Gate::open(&data(), dir.path()).unwrap();
                    let mut first = true;
                    while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                        let _lock = gate.shared(&CancelToken::never()).unwrap();
                        if std::mem::take(&mut first) {
                            together.wait();
                        }
                        // There is hardly a moment when none of them is inside.
                        std::thread::sleep(Duration::from_millis(2));
                    }
                });
            }
            let gate = Gate::open(&data(), dir.path()).unwrap();
            together.wait();
            for token in [CancelToken::never(), CancelToken::new()] {
                for _ in 0..20 {
                    drop(gate.exclusive(&token).unwrap());
                }
            }
            stop.store(true, std::sync::atomic::Ordering::Relaxed);
        });
        assert!(begin.elapsed() < Duration::from_secs(10), "{:?}", begin.elapsed());
    }
}
