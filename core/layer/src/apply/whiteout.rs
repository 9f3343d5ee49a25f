//! Whiteouts and opaque directories, in the form that the overlay file system knows.

use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::{AtFlags, FileType, Gid, Mode, RawDir, Uid};
use rustix::io::Errno;

use super::Applier;
use super::dirs::timestamps;
use super::lower::{self, is_whiteout};
use crate::error::{Act, Error};
use crate::tar::Time;

/// Directories of one directory that are looked at before more of them are read.
const BATCH: usize = 16;

fn make_whiteout(parent: BorrowedFd<'_>, name: &[u8]) -> Result<(), Errno> {
    // The one node that needs no capability.
    rustix::fs::mknodat(parent, name, FileType::CharacterDevice, Mode::empty(), 0)?;
    // The same layer is the same tree, whenever it was applied.
    rustix::fs::utimensat(parent, name, &timestamps(Time::default()), AtFlags::SYMLINK_NOFOLLOW)
}

impl Applier {
    /// A name of the lower layers is gone.
    pub(super) fn whiteout(&mut self, dir: &[u8], name: &[u8]) -> Result<(), Error> {
        self.enter(dir)?;
        let canonical = if dir.is_empty() { name.to_vec() } else { [dir, b"/", name].concat() };
        let fail = |errno| Error::system(Act::Whiteout, errno, &canonical);
        if self.hidden() || (!self.is_deferred() && self.lower.find(&canonical).map_err(fail)?.is_none()) {
            return Ok(());
        }
        match make_whiteout(self.here()?, name) {
            Ok(()) => {
                self.any_whiteout = true;
                if self.levels.last().is_some_and(|level| level.setgid) {
                    // It got its group from the directory, which may not be what it is in the end.
                    let (uid, gid) = (Uid::from_raw(self.own.0), Gid::from_raw(self.own.1));
                    rustix::fs::chownat(self.here()?, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)
                        .map_err(fail)?;
                }
                self.touch();
                self.note_whiteout(&canonical);
                Ok(())
            }
            Err(Errno::EXIST) => {
                let stat = lower::stat(self.here()?, name).map_err(fail)?;
                if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
                    // A file of this layer hides what is below it anyway.
                    return Ok(());
                }
                self.enter(&canonical)?;
                self.mark_opaque()
            }
            Err(errno) => Err(fail(errno)),
        }
    }

    /// A directory hides what the lower layers have in it.
    pub(super) fn opaque(&mut self, dir: &[u8]) -> Result<(), Error> {
        self.enter(dir)?;
        if dir.is_empty() {
            // The rest is done at the end, when the layer's own names are known.
            let said = self.levels.first_mut().map(|root| std::mem::replace(&mut root.hidden, true));
            return if said == Some(false) { self.drop_whiteouts() } else { Ok(()) };
        }
        self.mark_opaque()
    }

    /// Makes the directory where the walk is opaque.
    pub(super) fn mark_opaque(&mut self) -> Result<(), Error> {
        if self.hidden() {
            return Ok(());
        }
        if let Some(level) = self.levels.last_mut() {
            level.hidden = true;
        }
        if self.is_deferred() {
            match self.set_opaque() {
                Ok(()) => {
                    self.note_opaque();
                    self.any_opaque = true;
                    return self.drop_whiteouts();
                }
                // Perhaps it is not needed at all.
                Err(_) => {
                    let here = self.path.clone();
                    self.settle_deferred()?;
                    self.return_to(&here)?;
                    if let Some(level) = self.levels.last_mut() {
                        level.hidden = true;
                    }
                }
            }
        }
        // Where they have no directory, there is nothing to merge with.
        let found = self.lower.find(&self.path);
        let found = found.map_err(|errno| Error::system(Act::Whiteout, errno, &self.path))?;
        if found.is_none_or(|found| FileType::from_raw_mode(found.stat.st_mode) != FileType::Directory) {
            return Ok(());
        }
        self.set_opaque().map_err(|errno| Error::system(Act::Whiteout, errno, &self.path))?;
        self.any_opaque = true;
        self.drop_whiteouts()
    }

    /// Removes the whiteouts in the directory where the walk is, and below: there is nothing left for them to hide, and they would be listed as broken files.
    fn drop_whiteouts(&mut self) -> Result<(), Error> {
        if !self.any_whiteout {
            return Ok(());
        }
        let top = self.path.clone();
        // Where to go on, and from which place in the directory; None where nothing was looked at yet.
        let mut todo: Vec<(Vec<u8>, Option<u64>)> = vec![(top.clone(), None)];
        while let Some((dir, from)) = todo.pop() {
            self.enter(&dir)?;
            if from.is_none() {
                self.drop_whiteouts_here()?;
            }
            let (names, next) = self.directories_here(from.unwrap_or(0))?;
            let below: Vec<_> = names.iter().map(|name| (self.join(name), None)).collect();
            todo.extend(next.map(|next| (dir, Some(next))));
            todo.extend(below);
        }
        self.enter(&top)
    }

    /// Some of the directories in the one where the walk is that are not opaque themselves, which have no whiteouts any more. And where to go on, if there are more.
    fn directories_here(&self, from: u64) -> Result<(Vec<Vec<u8>>, Option<u64>), Error> {
        let fail = |errno| Error::system(Act::Whiteout, errno, &self.path);
        let fd = lower::open_dir(self.here()?, b".").map_err(fail)?;
        rustix::fs::seek(&fd, rustix::fs::SeekFrom::Start(from)).map_err(fail)?;
        let mut names = Vec::new();
        let mut buffer = [MaybeUninit::uninit(); 8192];
        let mut entries = RawDir::new(&fd, &mut buffer);
        while let Some(entry) = entries.next() {
            let entry = entry.map_err(fail)?;
            let name = entry.file_name().to_bytes();
            if matches!(name, b"." | b"..")
                || !matches!(entry.file_type(), FileType::Directory | FileType::Unknown)
            {
                continue;
            }
            let next = entry.next_entry_cookie();
            match lower::open_dir(fd.as_fd(), name) {
                Ok(child) if !lower::is_opaque(child.as_fd(), self.userxattr).map_err(fail)? => {
                    names.push(name.to_vec());
                }
                Ok(_) | Err(Errno::NOTDIR | Errno::LOOP) => {}
                Err(errno) => return Err(fail(errno)),
            }
            // However many there are, few names are held at once.
            if names.len() >= BATCH {
                return Ok((names, Some(next)));
            }
        }
        Ok((names, None))
    }

    fn drop_whiteouts_here(&mut self) -> Result<(), Error> {
        let path = self.path.clone();
        let fail = |errno| Error::system(Act::Whiteout, errno, &path);
        let mut removed = Vec::new();
        let fd = lower::open_dir(self.here()?, b".").map_err(fail)?;
        let mut buffer = [MaybeUninit::uninit(); 8192];
        let mut entries = RawDir::new(&fd, &mut buffer);
        while let Some(entry) = entries.next() {
            let entry = entry.map_err(fail)?;
            if !matches!(entry.file_type(), FileType::CharacterDevice | FileType::Unknown) {
                continue;
            }
            let name = entry.file_name().to_bytes();
            if is_whiteout(&lower::stat(fd.as_fd(), name).map_err(fail)?) {
                rustix::fs::unlinkat(&fd, name, AtFlags::empty()).map_err(fail)?;
                removed.push(name.to_vec());
            }
        }
        if !removed.is_empty() {
            self.touch();
        }
        for name in removed {
            self.note_removed(&self.join(&name));
        }
        Ok(())
    }

    /// An opaque root: whiteouts for the names of the lower roots, opaque attributes for the directories that the layer has itself.
    pub(super) fn hide_lower_root(&mut self) -> Result<(), Error> {
        let fail = |errno| Error::system(Act::Whiteout, errno, b"");
        // From here on the layers below count again.
        if let Some(root) = self.levels.first_mut() {
            root.hidden = false;
        }
        for index in 0..self.lower.count(b"").map_err(fail)? {
            let fd = self.lower.open(b"", index).map_err(fail)?;
            let mut buffer = [MaybeUninit::uninit(); 8192];
            let mut entries = RawDir::new(&fd, &mut buffer);
            while let Some(entry) = entries.next() {
                let entry = entry.map_err(fail)?;
                let name = entry.file_name().to_bytes();
                if name != b"." && name != b".." {
                    self.whiteout(b"", name)?;
                }
            }
        }
        self.leave_to(1)
    }
}
