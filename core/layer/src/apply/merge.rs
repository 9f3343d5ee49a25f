//! What is different when an archive goes into a tree that is in use, as docker's `cp` puts it there, instead of becoming a layer.
//!
//! - Names that begin with `.wh.` and character devices 0:0 are what they are.
//! - A directory over a directory keeps its content and gets the attributes of the entry; any other file is replaced, never written into. A directory over something else, or
//!   something else over a directory, is refused with `ENOTDIR` or `EISDIR`. On the host a directory that is there keeps its attributes, too.
//! - What is replaced stays until the new one is complete, which is made under a temporary name and then renamed: whatever fails and whoever is killed, one of the two has the name. After a kill the
//!   unfinished one may be left, under a name that begins with `.coble-`.
//! - The entry of the root itself changes nothing, unless that is asked for. Directories that have no entry keep their times, and missing ones are made with mode 0755.
//! - Others may change the tree meanwhile: nothing is removed but what has exactly the name, and that only if it is no directory. What cannot be completed is taken away. A link or a node is given its owner by a descriptor of it,
//!   and only if it has no other name, so that nobody can put another file there that gets it.
//!
//! The tree has to be the root of the process, or everything that `..` and links could lead to has to belong to it: with [`Merge::follow`] the kernel follows links of
//! the tree to the directories on the way.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, RenameFlags, ResolveFlags};
use rustix::io::Errno;
use rustix::rand::GetRandomFlags;

use super::dirs::Level;
use super::lower;
use super::meta::Attributes;
use super::{Applier, WarningKind};
use crate::error::{Act, Error};
use crate::tar::Time;

/// How an archive goes into a tree that is in use.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Merge {
    /// Follow links of the tree that stand for directories on the way. Otherwise an entry below one is refused.
    pub follow: bool,
    /// Whom everything belongs to. None: whom the archive says. What is given to somebody else loses its set-id bits; on the host everything does.
    pub owner: Option<(u32, u32)>,
    /// The tree is the host's: device nodes, set-id bits of others and file capabilities are left out.
    pub host: bool,
    /// The entry of the root gives it its attributes, as that of any directory does.
    pub root: bool,
}

/// How often a temporary name may be taken.
const ATTEMPTS: usize = 8;
/// What lets a program do more than who starts it.
const CAPABILITY: &[u8] = b"security.capability";

impl Level {
    /// A directory that was there before.
    pub(super) fn existing(fd: OwnedFd) -> Result<Level, Errno> {
        let stat = rustix::fs::fstat(&fd)?;
        let mtime = Time { seconds: stat.st_mtime, nanos: stat.st_mtime_nsec as u32 };
        Ok(Level { mtime, dirty: false, ..Level::root(fd, stat.st_mode & 0o2000 != 0) })
    }
}

impl Applier {
    /// Whom something gets to belong to, and what of its mode is left.
    pub(super) fn owner_and_mode(&self, attributes: &Attributes<'_>) -> (u32, u32, u32) {
        let (uid, gid) = (attributes.uid, attributes.gid);
        let mut mode = attributes.mode;
        let Some((own_uid, own_gid)) = self.merge.and_then(|merge| merge.owner) else {
            return (uid, gid, mode);
        };
        let host = self.is_host();
        if host || own_uid != uid {
            mode &= !0o4000;
        }
        if host || own_gid != gid {
            mode &= !0o2000;
        }
        (own_uid, own_gid, mode)
    }

    /// Whether an attribute is one that the tree is spared.
    pub(super) fn spared(&self, name: &[u8], attributes: &Attributes<'_>) -> bool {
        let Some(merge) = self.merge else { return false };
        let given_away = merge.owner.is_some_and(|owner| owner != (attributes.uid, attributes.gid));
        name == CAPABILITY && (merge.host || given_away)
    }

    /// Whether the tree is the host's.
    pub(super) fn is_host(&self) -> bool {
        self.merge.is_some_and(|merge| merge.host)
    }

    /// Says that set-id bits were left out that the entry has and whoever it belongs to would not expect.
    pub(super) fn note_set_ids(&mut self, attributes: &Attributes<'_>, canonical: &[u8]) {
        let given = self.merge.is_some_and(|merge| merge.host && merge.owner.is_some());
        if given && attributes.mode & 0o6000 != 0 {
            self.warn(WarningKind::SetId, 0, canonical);
        }
    }

    /// Makes something under a temporary name, unless it could not replace what has its name.
    pub(super) fn make_aside<'n, T>(
        &self,
        name: &'n [u8],
        canonical: &[u8],
        attempt: impl Fn(BorrowedFd<'_>, &[u8]) -> Result<T, Errno>,
    ) -> Result<(T, Spot<'n>), Error> {
        let fail = |errno| Error::system(Act::Write, errno, canonical);
        match lower::stat(self.here()?, name) {
            Ok(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::Directory => {
                return Err(fail(Errno::ISDIR));
            }
            Ok(_) | Err(Errno::NOENT) => {}
            Err(errno) => return Err(fail(errno)),
        }
        for _ in 0..ATTEMPTS {
            let temporary = temporary_name().map_err(fail)?;
            match attempt(self.here()?, &temporary) {
                Err(Errno::EXIST) => {}
                made => {
                    return made.map(|made| (made, Spot { name, temporary: Some(temporary) })).map_err(fail);
                }
            }
        }
        Err(fail(Errno::EXIST))
    }

    /// Gives what was made the name that it is for, in the place of what has that name. Takes it away if it could not be completed.
    pub(super) fn place(
        &self,
        spot: &Spot<'_>,
        canonical: &[u8],
        done: Result<(), Error>,
    ) -> Result<(), Error> {
        let Some(temporary) = &spot.temporary else { return done };
        let here = self.here()?;
        let placed = done.and_then(|()| {
            rustix::fs::renameat_with(here, temporary, here, spot.name, RenameFlags::empty())
                .map_err(|errno| Error::system(Act::Write, errno, canonical))
        });
        // Of two names of the same file both stay.
        let _ = rustix::fs::unlinkat(here, temporary, AtFlags::empty());
        placed
    }

    /// Opens a link or a node that was just made, for giving it its attributes.
    pub(super) fn open_made(&self, name: &[u8]) -> Result<OwnedFd, Errno> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(self.here().map_err(|_| Errno::BADF)?, name, flags, Mode::empty())?;
        let stat = rustix::fs::fstat(&fd)?;
        match FileType::from_raw_mode(stat.st_mode) {
            // Somebody has put it there.
            FileType::RegularFile | FileType::Directory => Err(Errno::STALE),
            _ if stat.st_nlink != 1 => Err(Errno::STALE),
            _ => Ok(fd),
        }
    }

    /// A device node that the host is spared.
    pub(super) fn leaves_out_devices(&mut self, canonical: &[u8]) -> bool {
        let host = self.is_host();
        if host {
            self.devices_left_out = true;
            self.warn(WarningKind::Device, 0, canonical);
        }
        host
    }

    /// Enters a directory on the way of an entry, or makes it.
    pub(super) fn step_into(&mut self, name: &[u8], canonical: Vec<u8>) -> Result<(), Error> {
        let follow = self.merge.is_some_and(|merge| merge.follow);
        let fail = |errno| Error::system(Act::Write, errno, &canonical);
        match open(self.here()?, name, follow) {
            Ok(fd) => {
                let level = Level::existing(fd).map_err(fail)?;
                return self.push(level, canonical);
            }
            Err(Errno::NOENT) => {}
            Err(Errno::LOOP) if !follow => {
                return Err(Error::invalid(&canonical, "an entry below a symbolic link"));
            }
            Err(errno) => return Err(fail(errno)),
        }
        rustix::fs::mkdirat(self.here()?, name, Mode::from_raw_mode(0o755)).map_err(fail)?;
        let fd = open(self.here()?, name, false).map_err(fail)?;
        if let Some((uid, gid)) = self.merge.and_then(|merge| merge.owner) {
            let (uid, gid) = (rustix::fs::Uid::from_raw(uid), rustix::fs::Gid::from_raw(gid));
            rustix::fs::fchown(&fd, Some(uid), Some(gid))
                .map_err(|errno| Error::system(Act::Metadata, errno, &canonical))?;
        }
        let level = Level::existing(fd).map_err(fail)?;
        self.push(level, canonical)
    }
}

/// Where something is made: under the name that it is for, or under a temporary one first.
pub(super) struct Spot<'n> {
    name: &'n [u8],
    temporary: Option<Vec<u8>>,
}

impl<'n> Spot<'n> {
    /// Under its name.
    pub(super) fn direct(name: &'n [u8]) -> Spot<'n> {
        Spot { name, temporary: None }
    }

    /// The name that it has until it is placed.
    pub(super) fn name(&self) -> &[u8] {
        self.temporary.as_deref().unwrap_or(self.name)
    }
}

/// A name that nobody can foresee.
fn temporary_name() -> Result<Vec<u8>, Errno> {
    let mut random = [0; 8];
    let mut rest = &mut random[..];
    while !rest.is_empty() {
        match rustix::rand::getrandom(&mut *rest, GetRandomFlags::empty()) {
            Ok(count) => rest = rest.get_mut(count..).unwrap_or_default(),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(format!(".coble-{:016x}", u64::from_ne_bytes(random)).into_bytes())
}

/// Opens a directory. A link is an error unless it is followed, and then never one of procfs.
fn open(parent: BorrowedFd<'_>, name: &[u8], follow: bool) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    if !follow {
        // With O_DIRECTORY a link is ENOTDIR, which would say too little.
        return match rustix::fs::openat(parent, name, flags | OFlags::NOFOLLOW, Mode::empty()) {
            Err(Errno::NOTDIR) => match lower::stat(parent, name) {
                Ok(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::Symlink => Err(Errno::LOOP),
                _ => Err(Errno::NOTDIR),
            },
            other => other,
        };
    }
    rustix::fs::openat2(parent.as_fd(), name, flags, Mode::empty(), ResolveFlags::NO_MAGICLINKS)
}
