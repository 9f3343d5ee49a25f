//! Applying the entries of one layer to an empty directory that becomes an overlay lower directory.
//!
//! Every step is one component below a directory that is already open: `mkdirat`, `openat` with `O_NOFOLLOW | O_EXCL`, `symlinkat`, `linkat`;
//! attributes are set on the descriptor of what was just made, or, for what cannot be opened, by name with "do not follow".
//! So there is no path that a link could lead astray, whoever made the link.
//!
//! What a layer says, and what becomes of it:
//!
//! - A **whiteout** `.wh.name` becomes a character device 0:0 where a lower layer shows that name, and nothing where none
//!   does (the overlay file system lists a useless one as a broken file). If the layer has an entry of the same name, before or after, the entry stays and only what is below is hidden: a
//!   directory becomes opaque. A character device 0:0 in the archive is a whiteout.
//! - An **opaque** marker becomes the overlay attribute of its directory. Siblings of the same layer stay, whatever the order. The overlay file
//!   system ignores the attribute on a layer's root, so there every name of the lower layers gets a whiteout of its own.
//! - Of **duplicates** the last wins; a directory over a directory gets the last attributes and keeps its content.
//! - **Missing parents** get the attributes that the lower layers show, else 0755, root, and time 0.
//! - An entry **below something that is not a directory** in this layer is refused. In particular below a symbolic link: tools disagree whether the link is followed, replaced or an error, and
//!   following it is how layers used to escape.
//! - A **hard link** to an entry of the layer is one. To something that only a lower layer has it becomes a copy, since a link cannot reach there; a link to anything else is refused.
//! - **Device nodes** that the kernel refuses, **owners** outside of the id map, **sockets** and attributes that the [`xattr`] table drops
//!   are left out with a warning. A file whose owner is left out loses its set-id bit: it would be set to somebody else.
//!
//! Memory is bounded by the depth of paths: a directory's time is set when the walk leaves it, and again if it comes back.

mod deferred;
mod dirs;
mod link;
mod lower;
mod merge;
mod meta;
mod whiteout;
/// The policy on extended attributes.
pub mod xattr;

use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;

use crate::error::{Act, Error};
use crate::path::{self, Meaning};
use crate::stream::{Limits, Source};
use crate::tar::{Kind, Reader};
use crate::tree::Remover;
use dirs::Level;
pub use lower::Layers;
pub(crate) use lower::{Lower, is_opaque, is_whiteout};
pub use merge::Merge;
use merge::Spot;
use meta::{Attributes, Place};
pub(crate) use meta::{Shown, read_xattrs};

/// Warnings that are kept word by word.
pub(crate) const WARNINGS_MAX: usize = 64;

/// Where and how a layer is applied. The process's umask must be 0, since modes are given when files are made.
#[derive(Debug)]
pub struct Options {
    /// The directory: empty, and nobody else writes in it. With `merge` it may be any directory.
    pub target: OwnedFd,
    /// The layers below, uppermost first.
    pub lower: Layers,
    /// The layers below are being applied at the same time: one byte can be read from this when they are complete. The archive is read and applied
    /// before that. None: they are complete.
    pub ready: Option<OwnedFd>,
    /// Write `user.overlay.*` attributes instead of `trusted.overlay.*`, for overlay mounts in a user namespace.
    pub userxattr: bool,
    /// The archive is no layer but goes into a tree that is in use.
    pub merge: Option<Merge>,
}

/// What a warning is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WarningKind {
    /// A device node could not be made.
    Device,
    /// Owner or group is not mapped in this user namespace.
    Owner,
    /// An extended attribute is not taken from archives.
    XattrPolicy,
    /// The file system or the kernel refused an extended attribute.
    Xattr,
    /// A socket cannot be in an image.
    Socket,
    /// A file became shorter while it was read.
    Shrunk,
    /// Set-id bits were not given to a file of the host.
    SetId,
    /// The file system refused a hard link.
    Link,
}

impl WarningKind {
    /// The warning in words.
    pub const fn text(self) -> &'static str {
        match self {
            WarningKind::Device => "the device node was left out",
            WarningKind::Owner => "the owner is not mapped here and was left out",
            WarningKind::XattrPolicy => "an extended attribute that images may not set was left out",
            WarningKind::Xattr => "an extended attribute was refused by the file system and left out",
            WarningKind::Socket => "a socket was left out",
            WarningKind::SetId => "the set-id bits were left out",
            WarningKind::Link => "the file system refused a hard link, and the file was copied",
            WarningKind::Shrunk => "the file became shorter while it was read and was filled up with zeros",
        }
    }
}

/// Something that was left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// What.
    pub kind: WarningKind,
    /// Why, as an errno; 0 if no system call failed.
    pub errno: i32,
    /// The path in the layer, for attributes followed by `: name`.
    pub object: Vec<u8>,
}

/// What was applied.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Applied {
    /// Entries, markers included.
    pub entries: u64,
    /// Bytes of file content written.
    pub content_bytes: u64,
    /// The first 64 warnings.
    pub warnings: Vec<Warning>,
    /// How many warnings there were.
    pub warning_count: u64,
}

/// Applies entries.
pub struct Applier {
    /// The open directories from the root to where the last entry went; the first is the root itself.
    levels: Vec<Level>,
    /// The canonical path of the last level.
    path: Vec<u8>,
    lower: Lower,
    /// What was done without knowing the layers below; None if they are known.
    deferred: Option<deferred::Deferred>,
    userxattr: bool,
    merge: Option<Merge>,
    max_bytes: u64,
    /// What a new file belongs to.
    own: (u32, u32),
    /// The root had an entry of its own.
    root_set: bool,
    /// Some directory became opaque, so a directory that is opened again has to be asked.
    any_opaque: bool,
    /// Some whiteout was made.
    any_whiteout: bool,
    devices_left_out: bool,
    remover: Option<Remover>,
    applied: Applied,
}

impl Applier {
    /// Starts on an empty directory.
    pub fn new(options: Options, limits: Limits) -> Result<Applier, Error> {
        let Options { target, lower, ready, userxattr, merge } = options;
        // Without layers below there is nothing to wait for.
        let ready = ready.filter(|_| !lower.is_empty());
        let fail = |errno| Error::system(Act::Write, errno, b"");
        if merge.is_some() {
            let root = Level::existing(target).map_err(fail)?;
            return Ok(Applier { merge, ..Applier::at(root, lower, None, userxattr, limits) });
        }
        if !dirs::is_empty(target.as_fd()).map_err(fail)? {
            return Err(fail(Errno::NOTEMPTY));
        }
        match rustix::fs::fremovexattr(&target, "system.posix_acl_default") {
            Ok(()) | Err(Errno::NODATA | Errno::OPNOTSUPP) => {}
            Err(errno) => return Err(Error::system(Act::Metadata, errno, b"")),
        }
        let setgid = rustix::fs::fstat(&target).map_err(fail)?.st_mode & 0o2000 != 0;
        Ok(Applier::at(Level::root(target, setgid), lower, ready, userxattr, limits))
    }

    fn at(root: Level, lower: Layers, ready: Option<OwnedFd>, userxattr: bool, limits: Limits) -> Applier {
        Applier {
            levels: vec![root],
            path: Vec::new(),
            lower: Lower::new(lower, userxattr),
            deferred: ready.map(deferred::Deferred::new),
            userxattr,
            merge: None,
            max_bytes: limits.max_bytes,
            own: (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw()),
            root_set: false,
            any_opaque: false,
            any_whiteout: false,
            devices_left_out: false,
            remover: None,
            applied: Applied::default(),
        }
    }

    /// Applies the reader's current entry, and takes its data if it is a file.
    pub fn entry<S: Source>(&mut self, reader: &mut Reader<S>) -> Result<(), Error> {
        self.applied.entries += 1;
        self.bound_deferred()?;
        let entry = reader.entry();
        let invalid = |rule| Error::invalid(&entry.path, rule);
        let mut canonical = Vec::with_capacity(entry.path.len());
        let names_directory = path::normalise(&entry.path, &mut canonical).map_err(invalid)?;
        if names_directory && entry.kind != Kind::Directory {
            return Err(invalid("the name can only be a directory's"));
        }
        if canonical.is_empty() {
            if self.merge.is_some_and(|merge| !merge.root) {
                return Ok(());
            }
            let attributes = Attributes::of_entry(entry);
            return self.root_entry(&attributes);
        }
        if self.merge.is_some() {
            return self.make_entry(&canonical, reader);
        }
        match path::meaning(&canonical).map_err(invalid)? {
            Meaning::Private => return Ok(()),
            Meaning::Opaque { dir } => return self.opaque(dir),
            Meaning::Whiteout { dir, name } => return self.whiteout(dir, name),
            Meaning::Entry => {}
        }
        match entry.kind {
            Kind::Char if entry.device == (0, 0) => {
                let (dir, name) = path::split(&canonical);
                self.whiteout(dir, name)
            }
            _ => self.make_entry(&canonical, reader),
        }
    }

    /// Makes what the reader's current entry is.
    fn make_entry<S: Source>(&mut self, canonical: &[u8], reader: &mut Reader<S>) -> Result<(), Error> {
        let entry = reader.entry();
        let invalid = |rule| Error::invalid(&entry.path, rule);
        match entry.kind {
            Kind::Directory => {
                let attributes = Attributes::of_entry(entry);
                self.directory(canonical, &attributes)
            }
            Kind::File => self.file(canonical, reader),
            Kind::HardLink => self.hard_link(canonical, &entry.link),
            Kind::Symlink => {
                if entry.link.len() > path::PATH_MAX {
                    return Err(invalid("the target of the link is longer than 4095 bytes"));
                }
                self.symlink(canonical, &entry.link, &Attributes::of_entry(entry))
            }
            Kind::Char => {
                self.node(canonical, FileType::CharacterDevice, entry.device, &Attributes::of_entry(entry))
            }
            Kind::Block => {
                self.node(canonical, FileType::BlockDevice, entry.device, &Attributes::of_entry(entry))
            }
            Kind::Fifo => self.node(canonical, FileType::Fifo, (0, 0), &Attributes::of_entry(entry)),
            Kind::Socket => {
                self.warn(WarningKind::Socket, 0, canonical);
                Ok(())
            }
        }
    }

    /// Gives the remaining directories their times, the root its attributes.
    pub fn finish(mut self) -> Result<Applied, Error> {
        self.leave_to(1)?;
        if self.merge.is_some() {
            return Ok(self.applied);
        }
        if self.needs_lower() {
            self.settle_deferred()?;
        }
        if self.levels.first().is_some_and(|root| root.hidden) {
            self.hide_lower_root()?;
        }
        if !self.root_set {
            self.default_root()?;
        }
        self.leave_to(0)?;
        Ok(self.applied)
    }

    fn warn(&mut self, kind: WarningKind, errno: i32, object: &[u8]) {
        self.applied.warning_count += 1;
        if self.applied.warnings.len() < WARNINGS_MAX {
            self.applied.warnings.push(Warning { kind, errno, object: object.to_vec() });
        }
    }

    fn file<S: Source>(&mut self, canonical: &[u8], reader: &mut Reader<S>) -> Result<(), Error> {
        let (dir, name) = path::split(canonical);
        self.enter(dir)?;
        // What is to be somebody else's is nobody's until it is complete.
        let mode = if self.merge.is_some() { 0o600 } else { reader.entry().mode & 0o777 };
        let (fd, spot) = self.create(name, canonical, Mode::from_bits_truncate(mode))?;
        let written = self.fill(&fd, canonical, reader);
        self.place(&spot, canonical, written)
    }

    fn fill<S: Source>(
        &mut self,
        fd: &OwnedFd,
        canonical: &[u8],
        reader: &mut Reader<S>,
    ) -> Result<(), Error> {
        let fail = |errno| Error::system(Act::Write, errno, canonical);
        let (sparse, size) = (reader.entry().sparse, reader.entry().size);
        self.count_content(canonical, if sparse { 0 } else { size })?;
        while let Some((offset, bytes)) = reader.chunk()? {
            if sparse {
                self.count_content(canonical, bytes.len() as u64)?;
            }
            write_all(fd, bytes, if sparse { Some(offset) } else { None }).map_err(fail)?;
        }
        if sparse {
            rustix::fs::ftruncate(fd, size).map_err(fail)?;
        }
        self.settle_file(fd, &Attributes::of_entry(reader.entry()), canonical)
    }

    /// Makes a new, empty file in the current directory, and removes what has its name.
    fn create<'n>(
        &mut self,
        name: &'n [u8],
        canonical: &[u8],
        mode: Mode,
    ) -> Result<(OwnedFd, Spot<'n>), Error> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        self.make(name, canonical, |parent, name| rustix::fs::openat(parent, name, flags, mode))
    }

    fn symlink(&mut self, canonical: &[u8], target: &[u8], attributes: &Attributes<'_>) -> Result<(), Error> {
        let (dir, name) = path::split(canonical);
        self.enter(dir)?;
        let ((), spot) =
            self.make(name, canonical, |parent, name| rustix::fs::symlinkat(target, parent, name))?;
        let settled = self.settle(Place::Name(spot.name()), attributes, canonical, true);
        self.place(&spot, canonical, settled)
    }

    fn node(
        &mut self,
        canonical: &[u8],
        kind: FileType,
        (major, minor): (u32, u32),
        attributes: &Attributes<'_>,
    ) -> Result<(), Error> {
        let (dir, name) = path::split(canonical);
        self.enter(dir)?;
        if kind != FileType::Fifo && self.leaves_out_devices(canonical) {
            return Ok(());
        }
        let mode = Mode::from_bits_truncate(attributes.mode);
        let device = rustix::fs::makedev(major, minor);
        let (made, spot) = self.make(name, canonical, |parent, name| {
            match rustix::fs::mknodat(parent, name, kind, mode, device) {
                // In a user namespace, and wherever else the capability is missing.
                Err(Errno::PERM) if kind != FileType::Fifo => Ok(false),
                other => other.map(|()| true),
            }
        })?;
        if !made {
            self.devices_left_out = true;
            self.warn(WarningKind::Device, Errno::PERM.raw_os_error(), canonical);
            return Ok(());
        }
        let settled = self.settle(Place::Name(spot.name()), attributes, canonical, true);
        self.place(&spot, canonical, settled)
    }

    fn count_content(&mut self, canonical: &[u8], bytes: u64) -> Result<(), Error> {
        self.applied.content_bytes = self.applied.content_bytes.saturating_add(bytes);
        if self.applied.content_bytes > self.max_bytes {
            return Err(Error::limit(canonical, "more content than allowed"));
        }
        Ok(())
    }
}

/// Writes all bytes, at the offset or behind what was written before.
fn write_all(fd: &OwnedFd, mut bytes: &[u8], mut offset: Option<u64>) -> Result<(), Errno> {
    while !bytes.is_empty() {
        let result = match offset {
            Some(offset) => rustix::io::pwrite(fd, bytes, offset),
            None => rustix::io::write(fd, bytes),
        };
        match result {
            Ok(0) => return Err(Errno::IO),
            Ok(count) => {
                bytes = bytes.get(count..).unwrap_or_default();
                offset = offset.map(|offset| offset + count as u64);
            }
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

/// Flags for calls that name something in a directory and must not follow it.
const NOFOLLOW: AtFlags = AtFlags::SYMLINK_NOFOLLOW;

#[cfg(test)]
mod tests;
