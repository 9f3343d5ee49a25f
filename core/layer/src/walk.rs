//! Looking at trees that somebody else may be changing: names in order, nothing followed, everything bounded.

use std::collections::HashMap;
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, RawDir, Stat};
use rustix::io::Errno;

use crate::error::{Act, Error};
use crate::path::PATH_MAX;

/// The most bytes of names that are remembered at a time: those of the directories from the root to where the walk is.
const NAMES_MAX: usize = 48 << 20;
/// The most bytes of paths that are remembered for hard links.
const LINKS_MAX: usize = 32 << 20;
/// What a name costs beside its bytes.
const OVERHEAD: usize = 24;

pub(crate) fn fail(errno: Errno, object: &[u8]) -> Error {
    Error::system(Act::Read, errno, object)
}

/// Memory that a walk may still use for names.
pub(crate) struct Budget(usize);

impl Budget {
    pub(crate) fn new() -> Budget {
        Budget(NAMES_MAX)
    }

    /// The names in a directory, in the reverse of their order, so that they can be popped.
    pub(crate) fn names(&mut self, dir: BorrowedFd<'_>, path: &[u8]) -> Result<Names, Error> {
        let mut names: Vec<Box<[u8]>> = Vec::new();
        let mut bytes = 0;
        let mut buffer = vec![MaybeUninit::uninit(); 32 << 10];
        let mut entries = RawDir::new(dir, &mut buffer);
        while let Some(entry) = entries.next() {
            let entry = match entry {
                Ok(entry) => entry,
                // The directory was removed after it was opened: nothing more is in it.
                Err(Errno::NOENT | Errno::STALE) => break,
                Err(errno) => return Err(fail(errno, path)),
            };
            let name = entry.file_name().to_bytes();
            if name == b"." || name == b".." {
                continue;
            }
            bytes += name.len() + OVERHEAD;
            if bytes > self.0 {
                return Err(Error::limit(path, "more names than can be put in order"));
            }
            names.push(name.into());
        }
        self.0 -= bytes;
        names.sort_unstable_by(|a, b| b.cmp(a));
        Ok(Names { names, bytes })
    }

    /// Gives back what names took.
    pub(crate) fn give_back(&mut self, names: &Names) {
        self.0 += names.bytes;
    }
}

/// The names of a directory.
pub(crate) struct Names {
    names: Vec<Box<[u8]>>,
    bytes: usize,
}

impl Names {
    pub(crate) fn pop(&mut self) -> Option<Box<[u8]>> {
        self.names.pop()
    }

    pub(crate) fn peek(&self) -> Option<&[u8]> {
        self.names.last().map(AsRef::as_ref)
    }
}

/// What is at a name, looked at without following or opening it; None if it has gone.
pub(crate) fn look(dir: BorrowedFd<'_>, name: &[u8], path: &[u8]) -> Result<Option<Stat>, Error> {
    match rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(stat)),
        // An overlay says that it is stale when somebody changes a directory beneath it.
        Err(Errno::NOENT | Errno::STALE) => Ok(None),
        Err(errno) => Err(fail(errno, path)),
    }
}

/// Opens what was looked at; None if it has gone or is another thing by now.
pub(crate) fn open(
    dir: BorrowedFd<'_>,
    name: &[u8],
    seen: &Stat,
    path: &[u8],
) -> Result<Option<OwnedFd>, Error> {
    let kind = FileType::from_raw_mode(seen.st_mode);
    let mut flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    if kind == FileType::Directory {
        flags |= OFlags::DIRECTORY;
    }
    let fd = match rustix::fs::openat(dir, name, flags, Mode::empty()) {
        Ok(fd) => fd,
        Err(Errno::NOENT | Errno::STALE | Errno::NOTDIR | Errno::LOOP | Errno::NXIO) => return Ok(None),
        Err(errno) => return Err(fail(errno, path)),
    };
    let stat = rustix::fs::fstat(&fd).map_err(|errno| fail(errno, path))?;
    Ok((FileType::from_raw_mode(stat.st_mode) == kind).then_some(fd))
}

/// The root of a walk with a position of its own, for listing.
pub(crate) fn reopen(dir: BorrowedFd<'_>) -> Result<OwnedFd, Error> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(dir, ".", flags, Mode::empty()).map_err(|errno| fail(errno, b""))
}

/// Adds a name to a path, and checks the length.
pub(crate) fn join(path: &mut Vec<u8>, name: &[u8]) -> Result<(), Error> {
    if !path.is_empty() {
        path.push(b'/');
    }
    path.extend_from_slice(name);
    if path.len() > PATH_MAX {
        let shown = path.get(..512).unwrap_or_default();
        return Err(Error::limit(shown, "the path is longer than 4095 bytes"));
    }
    Ok(())
}

/// Files with several names, by their first one.
#[derive(Default)]
pub(crate) struct Links {
    first: HashMap<(u64, u64), Box<[u8]>>,
    bytes: usize,
}

impl Links {
    /// The first path of this file, if it had one; otherwise this becomes it.
    pub(crate) fn first(&mut self, stat: &Stat, path: &[u8]) -> Result<Option<&[u8]>, Error> {
        use std::collections::hash_map::Entry;
        if stat.st_nlink < 2 {
            return Ok(None);
        }
        match self.first.entry((stat.st_dev, stat.st_ino)) {
            Entry::Occupied(first) => Ok(Some(first.into_mut())),
            Entry::Vacant(place) => {
                self.bytes += path.len() + 64;
                if self.bytes > LINKS_MAX {
                    return Err(Error::limit(path, "more files with several names than can be remembered"));
                }
                place.insert(path.into());
                Ok(None)
            }
        }
    }
}

/// What an engine mounts over in every container, so that nothing there is the container's: the places in its upper directory are only what it takes to mount.
pub(crate) fn is_mount_point(dir: BorrowedFd<'_>, name: &[u8], path: &[u8], stat: &Stat) -> bool {
    match path {
        b"dev" | b"proc" | b"sys" => FileType::from_raw_mode(stat.st_mode) == FileType::Directory,
        b"etc/hosts" | b"etc/hostname" | b"etc/resolv.conf" => {
            FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile && stat.st_size == 0
        }
        b"etc/mtab" => rustix::fs::readlinkat(dir, name, Vec::new())
            .is_ok_and(|target| target.to_bytes() == b"/proc/mounts"),
        _ => false,
    }
}
