//! The directories of the layer: the walk to where an entry goes, the making of what is missing, and times when it leaves.

use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{Mode, RawDir, Timespec, Timestamps};
use rustix::io::Errno;

use super::Applier;
use super::lower::{self, is_whiteout};
use super::merge::Spot;
use super::meta::{Attributes, Place};
use crate::error::{Act, Error};
use crate::path;
use crate::tar::Time;

/// Directories that stay open at once. Deeper walks open the ones above again.
const OPEN_MAX: usize = 32;

/// A directory from the root to where the last entry went.
pub(super) struct Level {
    /// Where its name ends in the walk's path.
    pub(super) end: usize,
    /// None if it is not open any more.
    pub(super) fd: Option<OwnedFd>,
    /// The time that it gets when the walk leaves it.
    pub(super) mtime: Time,
    /// Something was made or removed in it since its time was set.
    pub(super) dirty: bool,
    /// It has such a time, and not the one that it gets by itself.
    pub(super) timed: bool,
    /// Files made in it inherit its group.
    pub(super) setgid: bool,
    /// The lower layers do not show through, here or further down.
    pub(super) hidden: bool,
}

impl Level {
    pub(super) fn root(fd: OwnedFd, setgid: bool) -> Level {
        Level {
            end: 0,
            fd: Some(fd),
            mtime: Time::default(),
            dirty: true,
            timed: true,
            setgid,
            hidden: false,
        }
    }

    pub(super) fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.fd.as_ref().map(AsFd::as_fd)
    }
}

pub(super) fn timestamps(time: Time) -> Timestamps {
    let time = Timespec { tv_sec: time.seconds, tv_nsec: i64::from(time.nanos) };
    Timestamps { last_access: time, last_modification: time }
}

pub(super) fn is_empty(dir: BorrowedFd<'_>) -> Result<bool, Errno> {
    let fd = lower::open_dir(dir, b".")?;
    let mut buffer = [MaybeUninit::uninit(); 2048];
    let mut entries = RawDir::new(fd, &mut buffer);
    while let Some(entry) = entries.next() {
        if !matches!(entry?.file_name().to_bytes(), b"." | b"..") {
            return Ok(false);
        }
    }
    Ok(true)
}

/// What stood where something is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Displaced {
    Whiteout,
    Other,
}

impl Applier {
    /// The directory where the walk is.
    pub(super) fn here(&self) -> Result<BorrowedFd<'_>, Error> {
        // The last level is always open: `enter` sees to it.
        let fd = self.levels.last().and_then(Level::fd);
        fd.ok_or_else(|| Error::system(Act::Write, Errno::BADF, &self.path))
    }

    pub(super) fn touch(&mut self) {
        if let Some(level) = self.levels.last_mut() {
            level.dirty = true;
        }
    }

    /// Whether the lower layers are hidden where the walk is.
    pub(super) fn hidden(&self) -> bool {
        self.levels.last().is_some_and(|level| level.hidden)
    }

    /// Makes something in the current directory, and removes what stands in its way. When it is complete it has to be placed.
    pub(super) fn make<'n, T>(
        &mut self,
        name: &'n [u8],
        canonical: &[u8],
        attempt: impl Fn(BorrowedFd<'_>, &[u8]) -> Result<T, Errno>,
    ) -> Result<(T, Spot<'n>), Error> {
        self.touch();
        if self.merge.is_some() {
            return self.make_aside(name, canonical, attempt);
        }
        // Nobody else writes here, so the second attempt finds the place free.
        for _ in 0..2 {
            match attempt(self.here()?, name) {
                Err(Errno::EXIST) => {
                    self.displace(name, canonical)?;
                }
                Err(errno) => return Err(Error::system(Act::Write, errno, canonical)),
                Ok(made) => return Ok((made, Spot::direct(name))),
            }
        }
        Err(Error::system(Act::Write, Errno::EXIST, canonical))
    }

    /// Removes what has this name in the current directory.
    pub(super) fn displace(&mut self, name: &[u8], canonical: &[u8]) -> Result<Displaced, Error> {
        let fail = |errno| Error::system(Act::Remove, errno, canonical);
        let stat = lower::stat(self.here()?, name).map_err(fail)?;
        let mut remover = self.remover.take().unwrap_or_default();
        let removed = remover.remove(self.here()?, name);
        self.remover = Some(remover);
        removed?;
        self.note_removed(canonical);
        Ok(if is_whiteout(&stat) { Displaced::Whiteout } else { Displaced::Other })
    }

    /// Goes to a directory, and makes what is missing on the way.
    pub(super) fn enter(&mut self, dir: &[u8]) -> Result<(), Error> {
        let shared = self
            .levels
            .iter()
            .take_while(|level| self.path.get(..level.end).is_some_and(|above| path::is_below(dir, above)));
        let shared = shared.count();
        self.leave_to(shared.max(1))?;
        self.reopen()?;
        let rest = dir.get(self.path.len()..).unwrap_or_default();
        for name in rest.split(|&byte| byte == b'/').filter(|name| !name.is_empty()) {
            self.step(name)?;
        }
        Ok(())
    }

    /// Enters a directory of the current one, or makes it with the attributes that the lower layers show.
    fn step(&mut self, name: &[u8]) -> Result<(), Error> {
        let canonical = self.join(name);
        if self.merge.is_some() {
            return self.step_into(name, canonical);
        }
        let mut whiteout = false;
        match lower::open_dir(self.here()?, name) {
            Ok(fd) => return self.push_existing(fd, canonical),
            Err(Errno::NOENT) => {}
            Err(Errno::NOTDIR | Errno::LOOP) => {
                let fail = |errno| Error::system(Act::Write, errno, &canonical);
                let stat = lower::stat(self.here()?, name).map_err(fail)?;
                if !is_whiteout(&stat) {
                    let link =
                        rustix::fs::FileType::from_raw_mode(stat.st_mode) == rustix::fs::FileType::Symlink;
                    return Err(Error::invalid(
                        &canonical,
                        if link {
                            "an entry below a symbolic link of the same layer"
                        } else {
                            "an entry below something that is no directory"
                        },
                    ));
                }
                self.displace(name, &canonical)?;
                whiteout = true;
            }
            Err(errno) => return Err(Error::system(Act::Write, errno, &canonical)),
        }
        let shows = !whiteout && !self.hidden();
        if shows && self.is_deferred() {
            let attributes = Attributes::of_shown_directory(None);
            self.make_directory(name, canonical.clone(), &attributes, false)?;
            self.note_implied(&canonical);
            return Ok(());
        }
        let shown = if shows { self.lower_directory(&canonical)? } else { None };
        let attributes = Attributes::of_shown_directory(shown.as_ref());
        self.make_directory(name, canonical, &attributes, whiteout)
    }

    pub(super) fn join(&self, name: &[u8]) -> Vec<u8> {
        let mut joined = Vec::with_capacity(self.path.len() + 1 + name.len());
        joined.extend_from_slice(&self.path);
        if !joined.is_empty() {
            joined.push(b'/');
        }
        joined.extend_from_slice(name);
        joined
    }

    /// An entry for a directory.
    pub(super) fn directory(&mut self, canonical: &[u8], attributes: &Attributes<'_>) -> Result<(), Error> {
        let (dir, name) = path::split(canonical);
        self.enter(dir)?;
        let mut whiteout = false;
        let mode = Mode::from_bits_truncate(attributes.mode & 0o777);
        self.touch();
        match rustix::fs::mkdirat(self.here()?, name, mode) {
            Ok(()) => return self.finish_directory(name, canonical.to_vec(), attributes, false),
            Err(Errno::EXIST) => {}
            Err(errno) => return Err(Error::system(Act::Write, errno, canonical)),
        }
        match lower::open_dir(self.here()?, name) {
            Ok(fd) => {
                self.push_existing(fd, canonical.to_vec())?;
                if self.is_host() {
                    return Ok(());
                }
                self.note_explicit(canonical);
                self.settle(Place::Directory, attributes, canonical, false)
            }
            Err(Errno::NOTDIR | Errno::LOOP) if self.merge.is_some() => {
                Err(Error::system(Act::Write, Errno::NOTDIR, canonical))
            }
            Err(Errno::NOTDIR | Errno::LOOP) => {
                whiteout |= self.displace(name, canonical)? == Displaced::Whiteout;
                self.make_directory(name, canonical.to_vec(), attributes, whiteout)
            }
            Err(errno) => Err(Error::system(Act::Write, errno, canonical)),
        }
    }

    fn make_directory(
        &mut self,
        name: &[u8],
        canonical: Vec<u8>,
        attributes: &Attributes<'_>,
        opaque: bool,
    ) -> Result<(), Error> {
        self.touch();
        rustix::fs::mkdirat(self.here()?, name, Mode::from_bits_truncate(attributes.mode & 0o777))
            .map_err(|errno| Error::system(Act::Write, errno, &canonical))?;
        self.finish_directory(name, canonical, attributes, opaque)
    }

    /// Enters a directory that was just made and gives it its attributes.
    fn finish_directory(
        &mut self,
        name: &[u8],
        canonical: Vec<u8>,
        attributes: &Attributes<'_>,
        opaque: bool,
    ) -> Result<(), Error> {
        let fd = lower::open_dir(self.here()?, name)
            .map_err(|errno| Error::system(Act::Write, errno, &canonical))?;
        let hidden = self.hidden();
        // The set-group-id bit is inherited, until the attributes say otherwise.
        let setgid = self.levels.last().is_some_and(|level| level.setgid);
        self.push(
            Level { end: 0, fd: Some(fd), mtime: Time::default(), dirty: true, timed: true, setgid, hidden },
            canonical,
        )?;
        let canonical = self.path.clone();
        self.settle(Place::Directory, attributes, &canonical, true)?;
        if opaque { self.mark_opaque() } else { Ok(()) }
    }

    fn push_existing(&mut self, fd: OwnedFd, canonical: Vec<u8>) -> Result<(), Error> {
        let fail = |errno| Error::system(Act::Write, errno, &canonical);
        let stat = rustix::fs::fstat(&fd).map_err(fail)?;
        let mtime = Time { seconds: stat.st_mtime, nanos: stat.st_mtime_nsec as u32 };
        let hidden = self.hidden()
            || (self.any_opaque && lower::is_opaque(fd.as_fd(), self.userxattr).map_err(fail)?);
        let setgid = stat.st_mode & 0o2000 != 0;
        let timed = self.merge.is_none();
        self.push(Level { end: 0, fd: Some(fd), mtime, dirty: false, timed, setgid, hidden }, canonical)
    }

    pub(super) fn push(&mut self, level: Level, canonical: Vec<u8>) -> Result<(), Error> {
        self.path = canonical;
        self.levels.push(Level { end: self.path.len(), ..level });
        // The root stays open, and the last levels.
        if let Some(far) = self.levels.len().checked_sub(OPEN_MAX)
            && far > 0
        {
            self.settle_time(far)?;
            if let Some(level) = self.levels.get_mut(far) {
                level.fd = None;
            }
        }
        Ok(())
    }

    /// Sets the time of a directory in which something changed.
    fn settle_time(&mut self, index: usize) -> Result<(), Error> {
        if let Some(level) = self.levels.get_mut(index)
            && let Some(fd) = &level.fd
            && level.dirty
            && level.timed
        {
            let object = self.path.get(..level.end).unwrap_or_default();
            rustix::fs::futimens(fd, &timestamps(level.mtime))
                .map_err(|errno| Error::system(Act::Metadata, errno, object))?;
            level.dirty = false;
        }
        Ok(())
    }

    /// Leaves the last levels, so that `count` are left.
    pub(super) fn leave_to(&mut self, count: usize) -> Result<(), Error> {
        while self.levels.len() > count {
            self.settle_time(self.levels.len() - 1)?;
            self.levels.pop();
            self.path.truncate(self.levels.last().map_or(0, |level| level.end));
        }
        Ok(())
    }

    /// Opens the last level again, if it was closed for being far away.
    fn reopen(&mut self) -> Result<(), Error> {
        let last = self.levels.len().saturating_sub(1);
        let open = self.levels.iter().rposition(|level| level.fd.is_some()).unwrap_or(0);
        if open == last {
            return Ok(());
        }
        let from = self.levels.get(open).map_or(0, |level| level.end);
        let mut fd: Option<OwnedFd> = None;
        for name in self
            .path
            .get(from..)
            .unwrap_or_default()
            .split(|&byte| byte == b'/')
            .filter(|name| !name.is_empty())
        {
            let above = match &fd {
                Some(fd) => Some(fd.as_fd()),
                None => self.levels.get(open).and_then(Level::fd),
            };
            let above = above.ok_or_else(|| Error::system(Act::Write, Errno::BADF, &self.path))?;
            fd = Some(
                lower::open_dir(above, name).map_err(|errno| Error::system(Act::Write, errno, &self.path))?,
            );
        }
        if let Some(level) = self.levels.last_mut() {
            level.fd = fd;
        }
        Ok(())
    }

    /// The entry of the root, or what stands for one.
    pub(super) fn root_entry(&mut self, attributes: &Attributes<'_>) -> Result<(), Error> {
        self.enter(b"")?;
        self.root_set = true;
        self.settle(Place::Directory, attributes, b"", false)
    }

    /// The root without an entry: as the layer below has it.
    pub(super) fn default_root(&mut self) -> Result<(), Error> {
        let fail = |errno| Error::system(Act::Metadata, errno, b"");
        let shown = if self.lower.is_empty() {
            None
        } else {
            let fd = self.lower.open(b"", 0).map_err(fail)?;
            Some(super::meta::Shown::read(fd.as_fd()).map_err(fail)?)
        };
        let attributes = Attributes::of_shown_directory(shown.as_ref());
        self.root_entry(&attributes)
    }

    /// What the lower layers show as this directory.
    pub(super) fn lower_directory(&mut self, canonical: &[u8]) -> Result<Option<super::meta::Shown>, Error> {
        if self.lower.is_empty() {
            return Ok(None);
        }
        let fail = |errno| Error::system(Act::Metadata, errno, canonical);
        let Some(found) = self.lower.find(canonical).map_err(fail)? else { return Ok(None) };
        if rustix::fs::FileType::from_raw_mode(found.stat.st_mode) != rustix::fs::FileType::Directory {
            return Ok(None);
        }
        let fd = lower::open_dir(found.parent.as_fd(), path::split(canonical).1).map_err(fail)?;
        super::meta::Shown::read(fd.as_fd()).map(Some).map_err(fail)
    }
}
