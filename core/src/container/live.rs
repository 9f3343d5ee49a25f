//! A container's run directory: the lock that says whether anybody is responsible for the container, and the monitor's socket and last word.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::{Errno, retry_on_intr};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

use coble_protocol::{
    COMPLAINTS_FILE, CONDITION_FILE, CONDITION_TEMPORARY, CONTROL_SOCKET, Condition, Connection, EXIT_FILE,
    ExitRecord, Failure, JOURNAL, JOURNAL_BYTES, JOURNAL_OLD, OWED_FILE, Record, TEMPORARY_FILE,
};

use crate::cancel::CancelToken;
use crate::error::{Call, Error, ErrorKind, Result};
use crate::process::{Deadline, names_in};
use crate::state::{Locked, Pause};

const LOCK: &str = "lock";
/// A record is a few hundred bytes; the monitor's user could have made it anything.
const MAX_RECORD: u64 = 4 << 20;
/// How long a monitor may take to accept somebody.
const ACCEPTANCE: Duration = Duration::from_secs(5);

/// The open run directory of a container.
#[derive(Debug)]
pub(crate) struct RunDir {
    path: PathBuf,
    dir: OwnedFd,
}

impl RunDir {
    /// The run directory of a container of the store at `run_root`.
    pub(crate) fn path_of(run_root: &Path, id: &str) -> PathBuf {
        run_root.join("containers").join(id)
    }

    /// Opens it, for looking at it; None if it is not there. Those who watch do not notice.
    pub(crate) fn open(run_root: &Path, id: &str) -> Result<Option<RunDir>> {
        RunDir::open_as(run_root, id, OFlags::PATH)
    }

    fn open_as(run_root: &Path, id: &str, how: OFlags) -> Result<Option<RunDir>> {
        let path = RunDir::path_of(run_root, id);
        let flags = how | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match rustix::fs::open(&path, flags, Mode::empty()) {
            Ok(dir) => Ok(Some(RunDir { path, dir })),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(errno).call("open", &path),
        }
    }

    /// Opens it, making it if it is not there (it lives on a tmpfs and goes with a reboot). Who makes one where there may be no container any
    /// more has to lock it and, if so, to remove it.
    pub(crate) fn make(run_root: &Path, id: &str) -> Result<RunDir> {
        let path = RunDir::path_of(run_root, id);
        for _ in 0..1000 {
            match rustix::fs::mkdir(&path, Mode::RWXU) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(errno) => return Err(errno).call("mkdir", &path),
            }
            // As the monitor gets it: whoever watches is told when the last one closes it.
            let Some(run_dir) = RunDir::open_as(run_root, id, OFlags::RDONLY)? else { continue };
            let flags = OFlags::RDONLY | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            match rustix::fs::openat(&run_dir.dir, LOCK, flags, Mode::RUSR | Mode::WUSR) {
                Ok(_) => return Ok(run_dir),
                // Somebody removed the directory just now.
                Err(Errno::NOENT) => {}
                Err(errno) => return Err(errno).call("open", path.join(LOCK)),
            }
        }
        Err(Error::new(ErrorKind::Internal, format!("\"{}\" is removed again and again", path.display())))
    }

    /// Takes the lock, if nobody has it. None: somebody is responsible for the container, or has removed it.
    pub(crate) fn try_lock(&self) -> Result<Option<Locked>> {
        let path = self.path.join(LOCK);
        // Not made here: whoever removes the directory takes the file away first, and must not meet another one then.
        let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = match rustix::fs::openat(&self.dir, LOCK, flags, Mode::empty()) {
            Ok(file) => file,
            Err(Errno::NOENT) => return Ok(None),
            Err(errno) => return Err(errno).call("open", &path),
        };
        let Some(lock) = Locked::try_exclusive(file, &path)? else { return Ok(None) };
        // The holder before us may have removed the directory while we opened the file.
        let stat = rustix::fs::fstat(lock.fd()).call("fstat", &path)?;
        Ok((stat.st_nlink > 0).then_some(lock))
    }

    /// Waits for the turn to change which cgroups a container that runs is in, and what of it is limited or stopped: only one may do so at a time. It is a lock of the
    /// directory itself, so that there is nothing to make and nothing that stays. Fails with `Timeout` if somebody has it for too long.
    pub(crate) fn turn(&self, name: &str, deadline: Deadline, cancel: &CancelToken) -> Result<Locked> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let mut pause = Pause::default();
        loop {
            // The monitor has a copy of ours, and a lock belongs to all copies.
            let own = rustix::fs::openat(&self.dir, ".", flags, Mode::empty()).call("open", &self.path)?;
            if let Some(lock) = Locked::try_exclusive(own, &self.path)? {
                return Ok(lock);
            }
            if deadline.is_over() {
                let why = format!("somebody else is at work on container \"{name}\" and does not finish");
                return Err(Error::new(ErrorKind::Timeout, why).with_object(name));
            }
            pause.wait(cancel)?;
        }
    }

    /// How the program ended, in the monitor's words. None if it wrote nothing, or nothing that this version reads.
    pub(crate) fn exit(&self) -> Option<ExitRecord> {
        ExitRecord::decode(&self.read(EXIT_FILE, MAX_RECORD)?).ok()
    }

    /// The records of the monitor's journal whose numbers are greater than `after`, in order.
    pub(crate) fn journal(&self, after: u64) -> Vec<Record> {
        // In this order: what becomes the old one meanwhile is read twice, not missed.
        let Some(new) = self.read(JOURNAL, 2 * JOURNAL_BYTES) else {
            return self.old_journal(after);
        };
        let new = Record::decode(&new, after);
        match new.first() {
            Some(first) if first.number == after + 1 => new,
            first => {
                let before = first.map_or(u64::MAX, |first| first.number);
                let mut all = self.old_journal(after);
                all.retain(|record| record.number < before);
                all.extend(new);
                all
            }
        }
    }

    /// Whether the journal has grown so far that somebody has to look at it, since at its full length the one before it goes.
    pub(crate) fn is_journal_filling(&self) -> bool {
        let length =
            rustix::fs::statat(&self.dir, JOURNAL, AtFlags::SYMLINK_NOFOLLOW).map_or(0, |stat| stat.st_size);
        u64::try_from(length).is_ok_and(|length| length > JOURNAL_BYTES / 2)
    }

    /// What the monitor has on file of its container, beyond what the engine knows since the start. None if there is nothing.
    pub(crate) fn condition(&self) -> Option<Condition> {
        Condition::decode(&self.read(CONDITION_FILE, MAX_RECORD)?).ok()
    }

    /// Whether the hooks for the end of a run have not begun. Asked with the lock, this is for good: there is no monitor any more that would run them.
    pub(crate) fn owes_hooks(&self) -> bool {
        rustix::fs::statat(&self.dir, OWED_FILE, AtFlags::SYMLINK_NOFOLLOW).is_ok()
    }

    /// The same of a container's run directory that is not opened. Most of those that owe some have a monitor that will run them.
    pub(crate) fn may_owe_hooks(run_root: &Path, id: &str) -> bool {
        RunDir::path_of(run_root, id).join(OWED_FILE).symlink_metadata().is_ok()
    }

    /// Takes it upon the caller to run them, or not to. False if somebody else has.
    pub(crate) fn take_hooks(&self) -> bool {
        rustix::fs::unlinkat(&self.dir, OWED_FILE, AtFlags::empty()).is_ok()
    }

    /// What went wrong with hooks for the end of a run that no monitor has run.
    pub(crate) fn complaints(&self) -> Vec<Failure> {
        let bytes = self.read(COMPLAINTS_FILE, MAX_RECORD);
        bytes.and_then(|bytes| coble_protocol::complaints(&bytes).ok()).unwrap_or_default()
    }

    fn old_journal(&self, after: u64) -> Vec<Record> {
        self.read(JOURNAL_OLD, 2 * JOURNAL_BYTES).map_or_else(Vec::new, |old| Record::decode(&old, after))
    }

    fn read(&self, name: &str, most: u64) -> Option<Vec<u8>> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let file = rustix::fs::openat(&self.dir, name, flags, Mode::empty()).ok()?;
        let mut bytes = Vec::new();
        std::io::Read::read_to_end(&mut std::io::Read::take(std::fs::File::from(file), most), &mut bytes)
            .ok()?;
        Some(bytes)
    }

    /// Connects to the monitor. None if there is none. Fails with `Timeout` if it does not accept anybody: so many may be waiting for that that there is no place for one more.
    pub(crate) fn connect(&self) -> Result<Option<Connection>> {
        // The name of a socket has 107 bytes at most, and the run root may be longer, so the way is over the open directory.
        let name = format!("/proc/self/fd/{}/{CONTROL_SOCKET}", self.dir.as_raw_fd());
        let address = SocketAddrUnix::new(name.as_str()).call("sockaddr", &self.path)?;
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)
            .call("socket", "control socket")?;
        let path = || self.path.join(CONTROL_SOCKET);
        let deadline = Deadline::after(Some(ACCEPTANCE));
        let mut pause = Pause::default();
        loop {
            match retry_on_intr(|| rustix::net::connect(&socket, &address)) {
                Ok(()) => break,
                Err(Errno::NOENT | Errno::CONNREFUSED) => return Ok(None),
                Err(Errno::AGAIN) if !deadline.is_over() => pause.wait(&CancelToken::never())?,
                Err(Errno::AGAIN) => {
                    let why = format!("nobody is accepted at \"{}\"", path().display());
                    return Err(Error::new(ErrorKind::Timeout, why));
                }
                Err(errno) => return Err(errno).call("connect", path()),
            }
        }
        rustix::io::ioctl_fionbio(&socket, false).call("ioctl(FIONBIO)", path())?;
        Ok(Some(Connection::new(socket)))
    }

    /// Removes what a run left, but not the lock, and not what says that hooks are owed, which only who runs them takes away.
    pub(crate) fn clear(&self) -> Result<()> {
        for name in [
            CONTROL_SOCKET,
            EXIT_FILE,
            TEMPORARY_FILE,
            JOURNAL,
            JOURNAL_OLD,
            CONDITION_FILE,
            CONDITION_TEMPORARY,
            COMPLAINTS_FILE,
        ] {
            match rustix::fs::unlinkat(&self.dir, name, AtFlags::empty()) {
                Ok(()) | Err(Errno::NOENT) => {}
                Err(errno) => return Err(errno).call("unlink", self.path.join(name)),
            }
        }
        Ok(())
    }

    /// Removes the directory with everything in it. The caller holds the lock, which is gone with it.
    pub(crate) fn remove(self, _lock: &Locked) -> Result<()> {
        for name in names_in(&self.path)?.iter().filter(|name| *name != LOCK) {
            let path = self.path.join(name);
            match rustix::fs::unlinkat(&self.dir, name.as_str(), AtFlags::empty()) {
                // Nothing of ours is a directory.
                Err(Errno::ISDIR) => std::fs::remove_dir_all(&path).call("rmdir", &path)?,
                Ok(()) | Err(Errno::NOENT) => {}
                Err(errno) => return Err(errno).call("unlink", path),
            }
        }
        match rustix::fs::unlinkat(&self.dir, LOCK, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(errno) => return Err(errno).call("unlink", self.path.join(LOCK)),
        }
        match rustix::fs::rmdir(&self.path) {
            // Not empty: somebody has made a lock of his own there since, and with it the removal his own.
            Ok(()) | Err(Errno::NOENT | Errno::NOTEMPTY) => Ok(()),
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
        assert!(dir.exit().is_none() && dir.connect().unwrap().is_none());
        dir.remove(&lock).unwrap();
        assert!(other.try_lock().unwrap().is_none(), "a removed container cannot be locked");
    }

    #[test]
    fn only_one_has_the_turn() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir(root.path().join("containers")).unwrap();
        let dir = RunDir::make(root.path(), "a").unwrap();
        let turn = |dir: &RunDir| {
            let soon = Deadline::after(Some(std::time::Duration::from_millis(5)));
            dir.turn("a", soon, &CancelToken::never()).map_err(|error| error.kind())
        };
        // As the monitor has it.
        let copy = dir.as_fd().try_clone_to_owned().unwrap();
        let first = turn(&dir).unwrap();
        let other = RunDir::open(root.path(), "a").unwrap().unwrap();
        assert_eq!([turn(&dir).err(), turn(&other).err()], [Some(ErrorKind::Timeout); 2]);
        drop(first);
        drop(turn(&other).unwrap());
        drop(copy);
        assert!(dir.try_lock().unwrap().is_some(), "the lock is another one");
    }

    #[test]
    fn a_directory_goes_whatever_is_in_it() {
        let root = tempfile::tempdir().unwrap();
        let containers = root.path().join("containers");
        std::fs::create_dir(&containers).unwrap();
        let dir = RunDir::make(root.path(), "a").unwrap();
        let lock = dir.try_lock().unwrap().unwrap();
        std::fs::create_dir_all(containers.join("a/junk/more")).unwrap();
        std::os::unix::fs::symlink("/", containers.join("a/link")).unwrap();
        dir.remove(&lock).unwrap();
        assert!(!containers.join("a").exists());
    }
}
