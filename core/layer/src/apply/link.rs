//! Hard links.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags, SeekFrom, Stat};
use rustix::io::Errno;

use super::lower::{self, is_whiteout};
use super::meta::{Attributes, Shown};
#[cfg(test)]
use super::tests;
use super::{Applier, WarningKind, write_all};
use crate::error::{Act, Error};
use crate::path;

const ABSENT: &str = "a hard link to something that does not exist";

impl Applier {
    pub(super) fn hard_link(&mut self, canonical: &[u8], raw_target: &[u8]) -> Result<(), Error> {
        let invalid = |rule| Error::invalid(canonical, rule);
        let mut target = Vec::with_capacity(raw_target.len());
        path::normalise(raw_target, &mut target)
            .map_err(|_| invalid("a hard link to a place outside of the layer"))?;
        if target.is_empty() {
            return Err(invalid("a hard link to a directory"));
        }
        if path::is_below(&target, canonical) {
            return Err(invalid("a hard link to itself or to something below its own name"));
        }
        let (dir, name) = path::split(canonical);
        let (target_dir, target_name) = path::split(&target);
        self.enter(dir)?;
        let opened;
        let parent = if target_dir == dir {
            Some(self.here()?)
        } else {
            opened = self.open_target_dir(target_dir, canonical)?;
            opened.as_ref().map(AsFd::as_fd)
        };
        let found = match parent.map(|parent| lower::stat(parent, target_name)) {
            Some(Ok(stat)) => Some(stat),
            None | Some(Err(Errno::NOENT)) => None,
            Some(Err(errno)) => return Err(Error::system(Act::Write, errno, canonical)),
        };
        if self.is_deferred() && found.as_ref().is_none_or(is_whiteout) {
            // What is below decides. The second time there is nothing to wait for.
            self.settle_deferred()?;
            return self.hard_link(canonical, raw_target);
        }
        let (Some(parent), Some(stat)) = (parent, found) else {
            return self.link_to_lower(canonical, &target);
        };
        if is_whiteout(&stat) {
            return Err(invalid(ABSENT));
        }
        if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
            return Err(invalid("a hard link to a directory"));
        }
        // The walk's directories may change while the place is made free, so hold the target's on our own.
        let parent =
            parent.try_clone_to_owned().map_err(|_| Error::system(Act::Write, Errno::MFILE, canonical))?;
        // Into a tree that others write to only what the kernel lets through: there a refusal can be about whose the file is.
        let copies = self.merge.is_none();
        let (refused, spot) =
            self.make(name, canonical, |here, name| match link(&parent, target_name, here, name) {
                Err(errno) if copies && is_refusal(errno) => Ok(Some(errno)),
                linked => linked.map(|()| None),
            })?;
        let Some(errno) = refused else { return self.place(&spot, canonical, Ok(())) };
        self.copy_of(canonical, &parent, target_name, &stat)?;
        self.warn(WarningKind::Link, errno.raw_os_error(), canonical);
        Ok(())
    }

    /// Opens the directory of a link's target in this layer; None if the layer does not have it.
    fn open_target_dir(&self, dir: &[u8], canonical: &[u8]) -> Result<Option<OwnedFd>, Error> {
        let root = self.root(canonical)?;
        if dir.is_empty() {
            return root
                .try_clone_to_owned()
                .map(Some)
                .map_err(|_| Error::system(Act::Write, Errno::MFILE, canonical));
        }
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        match rustix::fs::openat2(root, dir, flags, Mode::empty(), resolve) {
            Ok(fd) => Ok(Some(fd)),
            Err(Errno::NOENT) => Ok(None),
            Err(Errno::NOTDIR | Errno::LOOP) => {
                Err(Error::invalid(canonical, "a hard link to something below what is no directory"))
            }
            Err(errno) => Err(Error::system(Act::Write, errno, canonical)),
        }
    }

    fn root(&self, canonical: &[u8]) -> Result<BorrowedFd<'_>, Error> {
        self.levels
            .first()
            .and_then(super::dirs::Level::fd)
            .ok_or_else(|| Error::system(Act::Write, Errno::BADF, canonical))
    }

    /// A link to something that this layer does not have: a copy of what the lower layers show.
    fn link_to_lower(&mut self, canonical: &[u8], target: &[u8]) -> Result<(), Error> {
        let fail = |errno| Error::system(Act::Write, errno, canonical);
        let found =
            if self.is_hidden(target, canonical)? { None } else { self.lower.find(target).map_err(fail)? };
        let Some(found) = found else {
            if self.devices_left_out {
                // It may be a link to one of those.
                self.warn(WarningKind::Device, 0, canonical);
                return Ok(());
            }
            return Err(Error::invalid(canonical, ABSENT));
        };
        let (_, target_name) = path::split(target);
        let stat = found.stat;
        let parent = found.parent.as_fd().try_clone_to_owned().map_err(|_| fail(Errno::MFILE))?;
        self.copy_of(canonical, &parent, target_name, &stat)
    }

    /// A copy of something, with its attributes, in the place of a link to it.
    fn copy_of(
        &mut self,
        canonical: &[u8],
        parent: &OwnedFd,
        target_name: &[u8],
        stat: &Stat,
    ) -> Result<(), Error> {
        let fail = |errno| Error::system(Act::Write, errno, canonical);
        let (_, name) = path::split(canonical);
        let shown = Shown::of_stat(stat);
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => {
                let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
                let from = rustix::fs::openat(parent, target_name, flags, Mode::empty()).map_err(fail)?;
                let shown = Shown::read(from.as_fd()).map_err(fail)?;
                let mode = Mode::from_bits_truncate(shown.mode & 0o777);
                let (to, spot) = self.create(name, canonical, mode)?;
                let copied = self
                    .copy(&from, &to, canonical)
                    .and_then(|()| self.settle_file(&to, &Attributes::of_lower(&shown), canonical));
                self.place(&spot, canonical, copied)
            }
            FileType::Symlink => {
                let text = rustix::fs::readlinkat(parent, target_name, Vec::new()).map_err(fail)?;
                self.symlink(canonical, text.as_bytes(), &Attributes::of_lower(&shown))
            }
            kind @ (FileType::Fifo | FileType::CharacterDevice | FileType::BlockDevice) => {
                let device = (rustix::fs::major(stat.st_rdev), rustix::fs::minor(stat.st_rdev));
                self.node(canonical, kind, device, &Attributes::of_lower(&shown))
            }
            FileType::Directory => Err(Error::invalid(canonical, "a hard link to a directory")),
            _ => Err(Error::invalid(canonical, ABSENT)),
        }
    }

    /// Whether this layer hides a path of the lower ones: by a whiteout, an opaque directory or something of another kind.
    fn is_hidden(&self, target: &[u8], canonical: &[u8]) -> Result<bool, Error> {
        let fail = |errno| Error::system(Act::Write, errno, canonical);
        if self.levels.first().is_some_and(|root| root.hidden) {
            return Ok(true);
        }
        let mut above: Option<OwnedFd> = None;
        let (dir, _) = path::split(target);
        for name in dir.split(|&byte| byte == b'/').filter(|name| !name.is_empty()) {
            let parent = match &above {
                Some(fd) => fd.as_fd(),
                None => self.root(canonical)?,
            };
            match lower::open_dir(parent, name) {
                Ok(fd) if lower::is_opaque(fd.as_fd(), self.userxattr).map_err(fail)? => return Ok(true),
                Ok(fd) => above = Some(fd),
                Err(Errno::NOENT) => return Ok(false),
                Err(Errno::NOTDIR | Errno::LOOP) => return Ok(true),
                Err(errno) => return Err(fail(errno)),
            }
        }
        Ok(false)
    }

    /// Copies a file, holes as holes.
    fn copy(&mut self, from: &OwnedFd, to: &OwnedFd, canonical: &[u8]) -> Result<(), Error> {
        let fail = |errno| Error::system(Act::Write, errno, canonical);
        let size = rustix::fs::fstat(from).map_err(fail)?.st_size as u64;
        let mut buffer = Vec::new();
        let mut at = 0;
        while at < size {
            let start = match rustix::fs::seek(from, SeekFrom::Data(at)) {
                Ok(start) => start,
                Err(Errno::NXIO) => break,
                Err(Errno::INVAL) => at,
                Err(errno) => return Err(fail(errno)),
            };
            let end = match rustix::fs::seek(from, SeekFrom::Hole(start)) {
                Ok(end) => end.min(size),
                Err(Errno::INVAL) => size,
                Err(errno) => return Err(fail(errno)),
            };
            if end <= start {
                break;
            }
            self.count_content(canonical, end - start)?;
            copy_range(from, to, start, end, &mut buffer).map_err(fail)?;
            at = end;
        }
        rustix::fs::ftruncate(to, size).map_err(fail)
    }
}

fn link(parent: &OwnedFd, target: &[u8], here: BorrowedFd<'_>, name: &[u8]) -> Result<(), Errno> {
    #[cfg(test)]
    if let Some(errno) = tests::refused() {
        return Err(errno);
    }
    rustix::fs::linkat(parent, target, here, name, AtFlags::empty())
}

/// Whether a file system makes no links, or no more of this file, or not from there, as between two quotas.
fn is_refusal(errno: Errno) -> bool {
    matches!(errno, Errno::PERM | Errno::MLINK | Errno::OPNOTSUPP | Errno::NOSYS | Errno::XDEV)
}

fn copy_range(
    from: &OwnedFd,
    to: &OwnedFd,
    mut at: u64,
    end: u64,
    buffer: &mut Vec<u8>,
) -> Result<(), Errno> {
    while at < end {
        let wanted = usize::try_from(end - at).unwrap_or(usize::MAX);
        let (mut source, mut sink) = (at, at);
        let copied = if buffer.is_empty() {
            rustix::fs::copy_file_range(from, Some(&mut source), to, Some(&mut sink), wanted)
        } else {
            Err(Errno::OPNOTSUPP)
        };
        match copied {
            Ok(0) => return Ok(()),
            Ok(count) => at += count as u64,
            Err(Errno::INTR) => {}
            // Not between these file systems, or not at all.
            Err(Errno::XDEV | Errno::INVAL | Errno::OPNOTSUPP | Errno::NOSYS | Errno::PERM) => {
                buffer.resize(256 << 10, 0);
                let room = buffer.len().min(wanted);
                match rustix::io::pread(from, buffer.get_mut(..room).unwrap_or_default(), at) {
                    Ok(0) => return Ok(()),
                    Ok(count) => {
                        write_all(to, buffer.get(..count).unwrap_or_default(), Some(at))?;
                        at += count as u64;
                    }
                    Err(Errno::INTR) => {}
                    Err(errno) => return Err(errno),
                }
            }
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}
