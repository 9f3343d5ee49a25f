//! What the layers below show, as the overlay file system would merge them.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

use crate::path;

/// Whether an inode is an overlay whiteout.
pub(crate) fn is_whiteout(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice && stat.st_rdev == 0
}

/// The attribute that makes a directory hide what is below it.
pub(super) fn opaque_name(userxattr: bool) -> &'static str {
    if userxattr { "user.overlay.opaque" } else { "trusted.overlay.opaque" }
}

/// Whether a directory has it.
pub(crate) fn is_opaque(dir: BorrowedFd<'_>, userxattr: bool) -> Result<bool, Errno> {
    let mut value = [0; 1];
    match rustix::fs::fgetxattr(dir, opaque_name(userxattr), &mut value[..]) {
        Ok(length) => Ok(length == 1 && value == *b"y"),
        Err(Errno::NODATA | Errno::OPNOTSUPP | Errno::RANGE) => Ok(false),
        Err(errno) => Err(errno),
    }
}

/// Opens a directory to read its attributes, following nothing.
pub(super) fn open_dir(parent: BorrowedFd<'_>, name: &[u8]) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(parent, name, flags, Mode::empty())
}

pub(super) fn stat(parent: BorrowedFd<'_>, name: &[u8]) -> Result<Stat, Errno> {
    rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW)
}

/// The layers below, uppermost first.
pub(crate) struct Lower {
    layers: Vec<OwnedFd>,
    userxattr: bool,
    /// The last directory that was looked at: its path and the directories that are merged in it.
    seen: Vec<u8>,
    merged: Vec<OwnedFd>,
}

/// Something that the layers below show.
pub(crate) struct Found<'a> {
    /// Its directory.
    pub(super) parent: BorrowedFd<'a>,
    pub(crate) stat: Stat,
}

impl Lower {
    pub(crate) fn new(layers: Vec<OwnedFd>, userxattr: bool) -> Lower {
        Lower { layers, userxattr, seen: Vec::new(), merged: Vec::new() }
    }

    pub(super) fn layers(&self) -> &[OwnedFd] {
        &self.layers
    }

    pub(super) fn is_empty(&self) -> bool {
        self.layers.is_empty()
    }

    /// Looks a canonical path up.
    pub(crate) fn find(&mut self, path: &[u8]) -> Result<Option<Found<'_>>, Errno> {
        let (dir, name) = path::split(path);
        for parent in self.merged(dir)? {
            match stat(parent.as_fd(), name) {
                Ok(stat) if is_whiteout(&stat) => return Ok(None),
                Ok(stat) => return Ok(Some(Found { parent: parent.as_fd(), stat })),
                Err(Errno::NOENT) => {}
                Err(errno) => return Err(errno),
            }
        }
        Ok(None)
    }

    /// The directories that are merged under a path, uppermost first; none if it is no directory.
    pub(crate) fn merged(&mut self, dir: &[u8]) -> Result<&[OwnedFd], Errno> {
        if dir.is_empty() {
            return Ok(&self.layers);
        }
        if self.seen.is_empty() || !path::is_below(dir, &self.seen) {
            self.seen.clear();
            self.merged.clear();
        }
        let rest = dir.get(self.seen.len()..).unwrap_or_default();
        for name in rest.split(|&byte| byte == b'/').filter(|name| !name.is_empty()) {
            let above = if self.seen.is_empty() { &self.layers } else { &self.merged };
            let mut next = Vec::new();
            for parent in above {
                match open_dir(parent.as_fd(), name) {
                    Ok(fd) => {
                        let opaque = is_opaque(fd.as_fd(), self.userxattr)?;
                        next.push(fd);
                        if opaque {
                            break;
                        }
                    }
                    Err(Errno::NOENT) => {}
                    // A whiteout, or something else that hides what is below it.
                    Err(Errno::NOTDIR | Errno::LOOP) => break,
                    Err(errno) => return Err(errno),
                }
            }
            if !self.seen.is_empty() {
                self.seen.push(b'/');
            }
            self.seen.extend_from_slice(name);
            self.merged = next;
        }
        Ok(&self.merged)
    }
}
