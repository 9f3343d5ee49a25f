//! Owner, mode, times and extended attributes of what was made, in the one order that works: a change of owner clears set-id bits and
//! file capabilities, and everything but setting it changes the time.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, Gid, Mode, Uid, XattrFlags};
use rustix::io::Errno;

use super::xattr::{OVERLAY_USER, Policy, policy};
use super::{Applier, NOFOLLOW, WarningKind, dirs};
use crate::error::{Act, Error};
use crate::tar::{Entry, Time, Xattr};

/// The most bytes that a list of attributes or one of them has: the kernel's bound.
const XATTR_MAX: usize = 64 << 10;

/// What something gets.
pub(super) struct Attributes<'a> {
    pub(super) mode: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
    mtime: Time,
    xattrs: &'a [Xattr],
}

/// What something in a lower layer has.
pub(crate) struct Shown {
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) mtime: Time,
    xattrs: Vec<Xattr>,
}

impl Shown {
    /// From a directory or a file that is open.
    pub(super) fn read(fd: BorrowedFd<'_>) -> Result<Shown, Errno> {
        let mut shown = Shown::of_stat(&rustix::fs::fstat(fd)?);
        shown.xattrs = read_xattrs(fd, |name| policy(name) == Policy::Keep)?;
        Ok(shown)
    }

    /// Without extended attributes, for what cannot be opened.
    pub(crate) fn of_stat(stat: &rustix::fs::Stat) -> Shown {
        let mtime = Time { seconds: stat.st_mtime, nanos: stat.st_mtime_nsec as u32 };
        Shown { mode: stat.st_mode & 0o7777, uid: stat.st_uid, gid: stat.st_gid, mtime, xattrs: Vec::new() }
    }
}

/// The attributes of a file with names that are wanted.
pub(crate) fn read_xattrs(fd: BorrowedFd<'_>, wanted: impl Fn(&[u8]) -> bool) -> Result<Vec<Xattr>, Errno> {
    let mut found = Vec::new();
    for name in list_xattrs(fd)? {
        if wanted(&name) {
            let mut value = vec![0; XATTR_MAX];
            match rustix::fs::fgetxattr(fd, name.as_slice(), &mut value) {
                Ok(length) => {
                    value.truncate(length);
                    value.shrink_to_fit();
                    found.push(Xattr { name, value });
                }
                Err(Errno::NODATA) => {}
                Err(errno) => return Err(errno),
            }
        }
    }
    Ok(found)
}

fn list_xattrs(fd: BorrowedFd<'_>) -> Result<Vec<Vec<u8>>, Errno> {
    let length = match rustix::fs::flistxattr_query(fd) {
        Ok(length) => length,
        Err(Errno::OPNOTSUPP) => 0,
        Err(errno) => return Err(errno),
    };
    if length == 0 {
        return Ok(Vec::new());
    }
    let mut list = vec![0; length.min(XATTR_MAX)];
    let length = rustix::fs::flistxattr(fd, &mut list)?;
    list.truncate(length);
    Ok(list.split(|&byte| byte == 0).filter(|name| !name.is_empty()).map(<[u8]>::to_vec).collect())
}

impl Attributes<'_> {
    pub(super) fn of_entry(entry: &Entry) -> Attributes<'_> {
        Attributes {
            mode: entry.mode,
            uid: entry.uid,
            gid: entry.gid,
            mtime: entry.mtime,
            xattrs: &entry.xattrs,
        }
    }

    pub(super) fn of_lower(shown: &Shown) -> Attributes<'_> {
        Attributes {
            mode: shown.mode,
            uid: shown.uid,
            gid: shown.gid,
            mtime: shown.mtime,
            xattrs: &shown.xattrs,
        }
    }

    /// Of a directory that the archive leaves out; perhaps no layer describes it.
    pub(super) fn of_shown_directory(shown: Option<&Shown>) -> Attributes<'_> {
        match shown {
            Some(shown) => Attributes::of_lower(shown),
            None => Attributes { mode: 0o755, uid: 0, gid: 0, mtime: Time::default(), xattrs: &[] },
        }
    }
}

/// What gets attributes.
#[derive(Clone, Copy)]
pub(super) enum Place<'a> {
    /// An open file.
    File(BorrowedFd<'a>),
    /// The directory where the walk is.
    Directory,
    /// Something in it that cannot be opened: a link or a node.
    Name(&'a [u8]),
    /// The same, by a descriptor that only names it.
    Named(BorrowedFd<'a>),
}

impl Applier {
    pub(super) fn settle_file(
        &mut self,
        fd: &OwnedFd,
        attributes: &Attributes<'_>,
        canonical: &[u8],
    ) -> Result<(), Error> {
        self.settle(Place::File(fd.as_fd()), attributes, canonical, true)
    }

    /// Gives attributes. `new`: just made, with the permission bits of the mode, and belonging to the caller.
    pub(super) fn settle(
        &mut self,
        place: Place<'_>,
        attributes: &Attributes<'_>,
        canonical: &[u8],
        new: bool,
    ) -> Result<(), Error> {
        let fail = |errno| Error::system(Act::Metadata, errno, canonical);
        let made;
        let place = match place {
            Place::Name(name) if self.merge.is_some() => {
                made = self.open_made(name).map_err(fail)?;
                Place::Named(made.as_fd())
            }
            place => place,
        };
        self.note_set_ids(attributes, canonical);
        // Something new got its group, and a directory its set-group-id bit, from such a directory. A new level starts with what it inherits.
        let inherited = self.levels.last().is_some_and(|level| level.setgid);
        let (uid, gid, mut mode) = self.owner_and_mode(attributes);
        if !new || inherited || (uid, gid) != self.own {
            let (uid, gid) = self.give(place, attributes, canonical)?;
            if !uid {
                mode &= !0o4000;
            }
            if !gid {
                mode &= !0o2000;
            }
        }
        // In a tree that is in use, inherited access lists may have had their part in the mode.
        let special = mode & 0o7000 != 0 || self.merge.is_some();
        let time = dirs::timestamps(attributes.mtime);
        match place {
            Place::Name(_) | Place::Named(_) => {
                // Neither links nor nodes have a mode that had to be set later, nor attributes that archives may set.
                if !attributes.xattrs.is_empty() {
                    self.drop_xattrs(attributes, canonical);
                }
                match place {
                    Place::Named(fd) => rustix::fs::utimensat(fd, "", &time, AtFlags::EMPTY_PATH),
                    Place::Name(name) => rustix::fs::utimensat(self.here()?, name, &time, NOFOLLOW),
                    _ => Ok(()),
                }
                .map_err(fail)
            }
            Place::File(fd) => {
                if special || !new {
                    rustix::fs::fchmod(fd, Mode::from_bits_truncate(mode)).map_err(fail)?;
                }
                self.set_xattrs(Some(fd), attributes, canonical)?;
                rustix::fs::futimens(fd, &time).map_err(fail)
            }
            Place::Directory => {
                if special || inherited || !new {
                    rustix::fs::fchmod(self.here()?, Mode::from_bits_truncate(mode)).map_err(fail)?;
                }
                if !new && self.merge.is_none() {
                    self.clear_xattrs().map_err(fail)?;
                }
                self.set_xattrs(None, attributes, canonical)?;
                if let Some(level) = self.levels.last_mut() {
                    level.mtime = attributes.mtime;
                    level.timed = true;
                    level.setgid = mode & 0o2000 != 0;
                    level.dirty = true;
                }
                Ok(())
            }
        }
    }

    /// Gives owner and group, each as far as it is mapped. Returns which were given.
    fn give(
        &mut self,
        place: Place<'_>,
        attributes: &Attributes<'_>,
        canonical: &[u8],
    ) -> Result<(bool, bool), Error> {
        let change = |uid: Option<Uid>, gid: Option<Gid>| -> Result<Result<(), Errno>, Error> {
            Ok(match place {
                Place::File(fd) => rustix::fs::fchown(fd, uid, gid),
                Place::Directory => rustix::fs::fchown(self.here()?, uid, gid),
                Place::Name(name) => rustix::fs::chownat(self.here()?, name, uid, gid, NOFOLLOW),
                Place::Named(fd) => rustix::fs::chownat(fd, "", uid, gid, AtFlags::EMPTY_PATH),
            })
        };
        let fail = |errno| Error::system(Act::Metadata, errno, canonical);
        let (uid, gid, _) = self.owner_and_mode(attributes);
        let (uid, gid) = (Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
        match change(uid, gid)? {
            Ok(()) => return Ok((true, true)),
            Err(Errno::INVAL) => {}
            Err(errno) => return Err(fail(errno)),
        }
        let mut given = [false; 2];
        for (given, (uid, gid)) in given.iter_mut().zip([(uid, None), (None, gid)]) {
            match change(uid, gid)? {
                Ok(()) => *given = true,
                Err(Errno::INVAL) => {}
                Err(errno) => return Err(fail(errno)),
            }
        }
        self.warn(WarningKind::Owner, Errno::INVAL.raw_os_error(), canonical);
        let [uid, gid] = given;
        Ok((uid, gid))
    }

    /// Sets extended attributes on a file, or on the directory where the walk is.
    fn set_xattrs(
        &mut self,
        fd: Option<BorrowedFd<'_>>,
        attributes: &Attributes<'_>,
        canonical: &[u8],
    ) -> Result<(), Error> {
        for xattr in attributes.xattrs {
            let errno = match policy(&xattr.name) {
                Policy::Keep if self.spared(&xattr.name, attributes) => {
                    self.warn_xattr(WarningKind::XattrPolicy, 0, canonical, &xattr.name);
                    continue;
                }
                Policy::Drop => {
                    self.warn_xattr(WarningKind::XattrPolicy, 0, canonical, &xattr.name);
                    continue;
                }
                Policy::Keep => {
                    let fd = match fd {
                        Some(fd) => fd,
                        None => self.here()?,
                    };
                    match rustix::fs::fsetxattr(fd, xattr.name.as_slice(), &xattr.value, XattrFlags::empty())
                    {
                        Ok(()) => continue,
                        Err(errno) => errno,
                    }
                }
            };
            match errno {
                Errno::OPNOTSUPP | Errno::PERM | Errno::INVAL => {
                    self.warn_xattr(WarningKind::Xattr, errno.raw_os_error(), canonical, &xattr.name);
                }
                errno => return Err(Error::system(Act::Metadata, errno, canonical)),
            }
        }
        Ok(())
    }

    fn drop_xattrs(&mut self, attributes: &Attributes<'_>, canonical: &[u8]) {
        for xattr in attributes.xattrs {
            let kind = match policy(&xattr.name) {
                Policy::Drop => WarningKind::XattrPolicy,
                Policy::Keep => WarningKind::Xattr,
            };
            self.warn_xattr(kind, 0, canonical, &xattr.name);
        }
    }

    fn warn_xattr(&mut self, kind: WarningKind, errno: i32, canonical: &[u8], name: &[u8]) {
        self.warn(kind, errno, &[canonical, b": ", name].concat());
    }

    /// Takes the attributes of an earlier entry away from the directory where the walk is.
    fn clear_xattrs(&mut self) -> Result<(), Errno> {
        let Ok(here) = self.here() else { return Ok(()) };
        for name in list_xattrs(here)? {
            if policy(&name) == Policy::Keep && !name.starts_with(OVERLAY_USER) {
                rustix::fs::fremovexattr(here, name.as_slice())?;
            }
        }
        Ok(())
    }
}
