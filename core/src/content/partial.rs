//! Blobs that are being fetched: one file for each digest, under a name that follows from it, locked by whoever fetches it.
//!
//! So a blob is fetched once, whoever wants it, and what was fetched survives the process that did it. Files without a holder of their lock are kept for
//! the next one who wants the blob, within bounds of age and size; beyond these the sweep removes them, and pruning removes all of them.
//!
//! A file that is complete becomes a blob by a second name. It keeps the first until an image refers to it: should none ever do, because the pull failed or
//! was killed, the sweep takes the blob away, and what is left is a file that nobody holds, with all of the blob in it.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;

use super::Content;
use crate::cancel::CancelToken;
use crate::error::{Call, Error, Result};
use crate::oci::{Algorithm, Digest, Hasher};
use crate::state::{Locked, Store, list_names, make_dir, open_dir, random_hex};

/// The directory, in that of the content.
pub(super) const DIR: &str = "partial";
/// How long a file is kept that nobody goes on with.
const KEPT: Duration = Duration::from_secs(24 * 3600);
/// The most bytes of all such files.
const MOST: u64 = 8 << 30;
const CHUNK: usize = 256 * 1024;

/// Which of the files that nobody holds are removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Leftover {
    /// Those beyond the bounds.
    Old,
    /// All of them.
    All,
}

/// A blob that is being fetched by this process.
#[derive(Debug)]
pub(crate) struct Partial {
    lock: Locked,
    name: String,
    path: PathBuf,
}

fn name_of(digest: &Digest) -> String {
    format!("{}-{}", digest.algorithm().name(), digest.hex())
}

impl Partial {
    /// The file of a blob, made if it is not there; None if somebody else has it.
    pub(crate) fn lock(store: &Store, digest: &Digest, cancel: &CancelToken) -> Result<Option<Partial>> {
        Partial::open(store, name_of(digest), cancel)
    }

    /// A file beside that of a blob, for who does not wait for its holder any more. Nobody goes on with it.
    pub(crate) fn beside(store: &Store, digest: &Digest, cancel: &CancelToken) -> Result<Option<Partial>> {
        Partial::open(store, format!("{}.{}", name_of(digest), random_hex(8)?), cancel)
    }

    fn open(store: &Store, name: String, cancel: &CancelToken) -> Result<Option<Partial>> {
        let content = &store.content;
        let path = content.path.join(DIR).join(&name);
        let _gate = store.gate.shared(cancel)?;
        let mode = Mode::RUSR | Mode::WUSR;
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&content.partial, &name, flags, mode).call("open", &path)?;
        let Some(lock) = Locked::try_exclusive(file, &path)? else { return Ok(None) };
        // Still the file of this name? The one who had it may have put it in its place, or removed it.
        let ours = rustix::fs::fstat(lock.fd()).call("fstat", &path)?;
        // A blob as well by now, which nobody writes to any more, whatever is announced of it elsewhere.
        if is_shared(&ours) {
            return Ok(None);
        }
        match rustix::fs::statat(&content.partial, &name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) if (stat.st_dev, stat.st_ino) == (ours.st_dev, ours.st_ino) => {}
            Ok(_) | Err(Errno::NOENT) => return Ok(None),
            Err(errno) => return Err(errno).call("stat", &path),
        }
        rustix::fs::fchmod(lock.fd(), mode).call("fchmod", &path)?;
        Ok(Some(Partial { lock, name, path }))
    }

    /// How much of a blob somebody has fetched so far; None if nobody fetches it.
    pub(crate) fn progress(store: &Store, digest: &Digest) -> Option<u64> {
        let stat = rustix::fs::statat(&store.content.partial, name_of(digest), AtFlags::SYMLINK_NOFOLLOW);
        stat.ok().and_then(|stat| u64::try_from(stat.st_size).ok())
    }

    /// The file, to be read beside the one who writes it.
    pub(crate) fn file(&self) -> Result<File> {
        self.lock.fd().try_clone().map(File::from).call("dup", &self.path)
    }

    /// How many bytes there are.
    pub(crate) fn size(&self) -> Result<u64> {
        let stat = rustix::fs::fstat(self.lock.fd()).call("fstat", &self.path)?;
        Ok(u64::try_from(stat.st_size).unwrap_or(0))
    }

    /// Hashes what is there.
    pub(crate) fn hash(&self, algorithm: Algorithm, cancel: &CancelToken) -> Result<(Hasher, u64)> {
        let mut hasher = Hasher::new(algorithm);
        let file = self.file()?;
        let mut buffer = vec![0; CHUNK];
        let mut at = 0;
        loop {
            cancel.check()?;
            match file.read_at(&mut buffer, at) {
                Ok(0) => return Ok((hasher, at)),
                Ok(count) => {
                    hasher.update(buffer.get(..count).unwrap_or_default());
                    at += count as u64;
                }
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error).call("read", &self.path),
            }
        }
    }

    /// Writes at an offset.
    pub(crate) fn write(&self, file: &File, bytes: &[u8], at: u64) -> Result<()> {
        file.write_all_at(bytes, at).call("write", &self.path)
    }

    /// Forgets everything.
    pub(crate) fn clear(&self) -> Result<()> {
        rustix::fs::ftruncate(self.lock.fd(), 0).call("ftruncate", &self.path)
    }

    /// Puts the file, which is complete and verified, in its place as a blob, and records it. It is still found under its own name until that is
    /// [settled](Content::settle_partial), so that it outlives a pull that fails later.
    pub(crate) fn publish(&self, store: &Store, digest: &Digest, size: u64) -> Result<()> {
        let content = &store.content;
        let path = content.path_of(digest);
        rustix::fs::fsync(self.lock.fd()).call("fsync", &self.path)?;
        let algorithm = digest.algorithm();
        if algorithm != Algorithm::Sha256 {
            make_dir(&content.blobs, algorithm.name(), &content.path)?;
        }
        let target = Content::name(digest);
        // One that is beside another's is nobody's to go on with.
        let linked = self.name == name_of(digest)
            && rustix::fs::linkat(&content.partial, &self.name, &content.blobs, &target, AtFlags::empty())
                .is_ok();
        // Something else may be there, such as a damaged blob, and not every file system has links.
        if !linked {
            rustix::fs::renameat(&content.partial, &self.name, &content.blobs, &target)
                .call("rename", &path)?;
        }
        let dir = open_dir(&content.blobs, algorithm.name(), &content.path)?;
        rustix::fs::fsync(&dir).call("fsync", path)?;
        // A file without a row would be nobody's to take away before the next crash, so its row has the space that is kept for that.
        store.freeing(|| store.has_blob(digest, size)).map(drop)
    }

    /// Removes the file.
    pub(crate) fn discard(self, store: &Store) -> Result<()> {
        match rustix::fs::unlinkat(&store.content.partial, &self.name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(errno) => Err(errno).call("unlink", &self.path),
        }
    }
}

/// Whether a file is a blob, too.
fn is_shared(stat: &rustix::fs::Stat) -> bool {
    stat.st_nlink > 1
}

impl Content {
    /// Takes away the first name of a blob that an image refers to now.
    pub(crate) fn settle_partial(&self, digest: &Digest) -> Result<()> {
        self.settle(&name_of(digest))
    }

    /// Takes away the first names of all blobs, for when those that no image refers to are gone and nobody is about to refer to any.
    pub(crate) fn settle_partials(&self) -> Result<()> {
        let path = self.path.join(DIR);
        for name in list_names(&open_dir(&self.partial, ".", &path)?, &path)? {
            self.settle(&name)?;
        }
        Ok(())
    }

    fn settle(&self, name: &str) -> Result<()> {
        // Nothing but the removal of a blob makes a shared file one of fetches again, and that is the caller's to exclude.
        match rustix::fs::statat(&self.partial, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) if is_shared(&stat) => {}
            Ok(_) | Err(Errno::NOENT) => return Ok(()),
            Err(errno) => return Err(errno).call("stat", self.path.join(DIR).join(name)),
        }
        match rustix::fs::unlinkat(&self.partial, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(errno) => Err(errno).call("unlink", self.path.join(DIR).join(name)),
        }
    }

    /// Removes files of fetches that nobody goes on with. The newest ones are kept, as far as the bounds allow.
    pub(crate) fn remove_partial(&self, which: Leftover) -> Result<()> {
        let path = self.path.join(DIR);
        let listing = open_dir(&self.partial, ".", &path)?;
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
        let mut files = Vec::new();
        for name in list_names(&listing, &path)? {
            match rustix::fs::statat(&self.partial, &name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) => {
                    let age = now.saturating_sub(u64::try_from(stat.st_mtime).unwrap_or(0));
                    files.push((age, u64::try_from(stat.st_blocks).unwrap_or(0).saturating_mul(512), name));
                }
                Err(Errno::NOENT) => {}
                Err(errno) => return Err(errno).call("stat", path.join(name)),
            }
        }
        files.sort_unstable();
        let mut kept = 0u64;
        for (age, bytes, name) in files {
            kept = kept.saturating_add(bytes);
            if which == Leftover::Old && age <= KEPT.as_secs() && kept <= MOST {
                continue;
            }
            let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
            let file = match rustix::fs::openat(&self.partial, &name, flags, Mode::empty()) {
                Ok(file) => file,
                Err(Errno::NOENT) => continue,
                Err(errno) => return Err(errno).call("open", path.join(name)),
            };
            // Whoever opened it and waits for the lock finds out that it has gone.
            if let Some(_lock) = Locked::try_exclusive(file, &path)? {
                match rustix::fs::unlinkat(&self.partial, &name, AtFlags::empty()) {
                    Ok(()) | Err(Errno::NOENT) => {}
                    Err(errno) => return Err(errno).call("unlink", path.join(name)),
                }
            }
        }
        Ok(())
    }

    /// What files of fetches take of the disk.
    pub(crate) fn partial_bytes(&self) -> Result<u64> {
        let path = self.path.join(DIR);
        let listing = open_dir(&self.partial, ".", &path)?;
        let mut bytes = 0u64;
        for name in list_names(&listing, &path)? {
            // What is a blob, too, is counted there.
            if let Ok(stat) = rustix::fs::statat(&self.partial, &name, AtFlags::SYMLINK_NOFOLLOW)
                && !is_shared(&stat)
            {
                bytes += u64::try_from(stat.st_blocks).unwrap_or(0).saturating_mul(512);
            }
        }
        Ok(bytes)
    }
}

/// The same file with a position of its own, from the beginning.
pub(crate) fn reopen(file: &File) -> Result<File> {
    use std::os::fd::AsRawFd;
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    File::open(&path).call("open", path)
}

/// Reads a small blob that a registry sends, to its end or one byte beyond what was announced.
pub(crate) fn read_small(input: &mut dyn Read, size: u64, what: &str) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    input
        .take(size.saturating_add(1))
        .read_to_end(&mut bytes)
        .map_err(|error| Error::of_read(error, what))?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;
    use crate::state::tests::temporary;

    #[test]
    fn one_holds_it_and_it_survives_him() {
        let (_dir, store) = temporary();
        let never = CancelToken::never();
        let digest = Digest::of(b"hello");
        let partial = Partial::lock(&store, &digest, &never).unwrap().unwrap();
        assert!(Partial::lock(&store, &digest, &never).unwrap().is_none());
        partial.write(&partial.file().unwrap(), b"hel", 0).unwrap();
        assert_eq!(Partial::progress(&store, &digest), Some(3));
        store.content.remove_partial(Leftover::All).unwrap();
        drop(partial);
        let partial = Partial::lock(&store, &digest, &never).unwrap().unwrap();
        let (mut hasher, at) = partial.hash(digest.algorithm(), &never).unwrap();
        assert_eq!(at, 3);
        hasher.update(b"lo");
        partial.write(&partial.file().unwrap(), b"lo", at).unwrap();
        assert_eq!(hasher.finish(), digest);
        partial.publish(&store, &digest, 5).unwrap();
        assert!(store.has_blob(&digest, 5).unwrap());
        drop(partial);
        // It is a blob, so nobody gets it to write to, and it is not counted twice.
        assert!(Partial::lock(&store, &digest, &never).unwrap().is_none());
        assert_eq!(store.content.partial_bytes().unwrap(), 0);
        // Without the blob it is what was fetched of it.
        store.content.delete(&digest).unwrap();
        store.content.settle_partials().unwrap();
        let partial = Partial::lock(&store, &digest, &never).unwrap().unwrap();
        assert_eq!(partial.size().unwrap(), 5);
        partial.publish(&store, &digest, 5).unwrap();
        store.content.settle_partial(&digest).unwrap();
        assert_eq!(Partial::progress(&store, &digest), None);
        assert!(store.has_blob(&digest, 5).unwrap());
    }

    #[test]
    fn what_nobody_holds_goes_when_it_is_old_or_too_much() {
        let (_dir, store) = temporary();
        let never = CancelToken::never();
        for name in [&b"a"[..], b"b", b"c"] {
            let partial = Partial::lock(&store, &Digest::of(name), &never).unwrap().unwrap();
            partial.write(&partial.file().unwrap(), b"x", 0).unwrap();
        }
        let held = Partial::lock(&store, &Digest::of(b"c"), &never).unwrap().unwrap();
        let times = |seconds| {
            let time = rustix::fs::Timespec { tv_sec: seconds, tv_nsec: 0 };
            rustix::fs::Timestamps { last_access: time, last_modification: time }
        };
        for name in [&b"a"[..], b"c"] {
            let path = store.content.path.join(DIR).join(name_of(&Digest::of(name)));
            let file = File::open(path).unwrap();
            rustix::fs::futimens(&file, &times(1)).unwrap();
        }
        store.content.remove_partial(Leftover::Old).unwrap();
        assert_eq!(Partial::progress(&store, &Digest::of(b"a")), None);
        assert_eq!(Partial::progress(&store, &Digest::of(b"b")), Some(1));
        assert_eq!(Partial::progress(&store, &Digest::of(b"c")), Some(1));
        store.content.remove_partial(Leftover::All).unwrap();
        assert_eq!(Partial::progress(&store, &Digest::of(b"b")), None);
        held.discard(&store).unwrap();
        assert_eq!(store.content.partial_bytes().unwrap(), 0);
    }

    #[test]
    fn a_full_disk_is_said_so() {
        let (_dir, store) = temporary();
        let digest = Digest::of(b"x");
        let partial = Partial::lock(&store, &digest, &CancelToken::never()).unwrap().unwrap();
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let error = partial.write(&full, b"x", 0).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::StorageFull);
    }
}
