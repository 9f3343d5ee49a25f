//! Writing a tree as a tar: a layer, a root file system, or everything there is for a digest.
//!
//! The tree is hostile and may be changing: it is walked by descriptors, nothing is followed, and what an entry says is what the open file says. A file
//! that shrinks while it is read is filled up with zeros, one that grows is cut off at the size it had, and either way the archive stays whole; the first is a warning.
//! The same tree gives the same bytes: names are in order, and nothing of the file system shows but what the archive is about.

mod header;
mod sparse;

use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{FileType, Stat};
use rustix::io::Errno;

use crate::apply::xattr::{Policy, policy};
use crate::apply::{Shown, WARNINGS_MAX, Warning, WarningKind, is_opaque, is_whiteout, read_xattrs};
use crate::error::Error;
use crate::tar::{Time, Xattr};
use crate::walk::{self, Budget, Links, Names, fail, join};
use header::{Archive, BLOCK, Head};
pub use header::{file_header, plain_header};
use sparse::Content;

const CHUNK: usize = 256 << 10;

/// What a tree is written as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// A layer: the tree is the upper directory of a container's overlay, whose whiteouts and opaque directories become those of the image specification. The
    /// empty places that are mounted over in every container (`/dev`, `/proc`, `/sys`, `/etc/hosts` and the like) are left out.
    Layer,
    /// A root file system. Whiteouts, which such a tree does not have, are left out.
    Tree,
    /// Everything, to the nanosecond and with the overlay's own attributes: for the digest.
    Exact,
}

/// How a tree is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PackOptions {
    /// What it is written as.
    pub form: Form,
    /// The overlay's attributes are `user.overlay.*` instead of `trusted.overlay.*`.
    pub userxattr: bool,
    /// The most bytes of the archive.
    pub max_bytes: u64,
}

/// What was written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Packed {
    /// SHA-256 of the archive.
    pub sha256: [u8; 32],
    /// Bytes of the archive.
    pub bytes: u64,
    /// Entries.
    pub entries: u64,
    /// Bytes of the content of regular files, without holes.
    pub content_bytes: u64,
    /// The first 64 warnings.
    pub warnings: Vec<Warning>,
    /// How many warnings there were.
    pub warning_count: u64,
}

/// Something that [`pack_one`] writes.
#[derive(Debug, Clone, Copy)]
pub enum One<'a> {
    /// What is at this name in a directory. It is not followed.
    Entry(BorrowedFd<'a>, &'a [u8]),
    /// A directory.
    Directory(BorrowedFd<'a>),
}

/// Writes one thing and everything below it, as `name`. With an empty name a directory has no entry of its own.
pub fn pack_one<W: Write>(
    one: One<'_>,
    name: &[u8],
    output: W,
    options: PackOptions,
) -> Result<Packed, Error> {
    let mut packer = Packer::new(output, options);
    packer.path.extend_from_slice(name);
    match one {
        One::Entry(dir, found) => {
            if let Some(stat) = walk::look(dir, found, name)?
                && let Some(fd) = packer.entry(dir, found, &stat)?
            {
                packer.below(fd)?;
            }
        }
        One::Directory(dir) => {
            let fd = walk::reopen(dir)?;
            if !name.is_empty() {
                let stat = rustix::fs::fstat(&fd).map_err(|errno| fail(errno, name))?;
                packer.directory(&fd, &stat)?;
            }
            packer.below(fd)?;
        }
    }
    packer.finish()
}

/// Writes the tree below `root`, without an entry for the root itself unless the form is [`Form::Exact`].
pub fn pack<W: Write>(root: BorrowedFd<'_>, output: W, options: PackOptions) -> Result<Packed, Error> {
    let mut packer = Packer::new(output, options);
    packer.walk(root)?;
    packer.finish()
}

/// A directory from the root to where the walk is.
struct Level {
    fd: OwnedFd,
    names: Names,
    /// The length of its path.
    path: usize,
}

struct Packer<W> {
    archive: Archive<W>,
    options: PackOptions,
    links: Links,
    budget: Budget,
    path: Vec<u8>,
    buffer: Box<[u8]>,
    packed: Packed,
}

impl<W: Write> Packer<W> {
    fn new(output: W, options: PackOptions) -> Packer<W> {
        Packer {
            archive: Archive::new(output, options.max_bytes),
            options,
            links: Links::default(),
            budget: Budget::new(),
            path: Vec::new(),
            buffer: vec![0; CHUNK].into_boxed_slice(),
            packed: Packed::default(),
        }
    }

    fn finish(self) -> Result<Packed, Error> {
        let (sha256, bytes) = self.archive.finish()?;
        Ok(Packed { sha256, bytes, ..self.packed })
    }

    fn walk(&mut self, root: BorrowedFd<'_>) -> Result<(), Error> {
        let fd = walk::reopen(root)?;
        if self.options.form == Form::Exact {
            let stat = rustix::fs::fstat(&fd).map_err(|errno| fail(errno, b""))?;
            self.path.extend_from_slice(b".");
            self.directory(&fd, &stat)?;
            self.path.clear();
        }
        self.below(fd)
    }

    /// Writes everything below a directory, whose path is the current one.
    fn below(&mut self, fd: OwnedFd) -> Result<(), Error> {
        let names = self.budget.names(fd.as_fd(), &self.path)?;
        let mut levels = vec![Level { fd, names, path: self.path.len() }];
        while let Some(level) = levels.last_mut() {
            let Some(name) = level.names.pop() else {
                self.budget.give_back(&level.names);
                levels.pop();
                continue;
            };
            self.path.truncate(level.path);
            join(&mut self.path, &name)?;
            let Some(stat) = walk::look(level.fd.as_fd(), &name, &self.path)? else { continue };
            if let Some(fd) = self.entry(level.fd.as_fd(), &name, &stat)? {
                let names = self.budget.names(fd.as_fd(), &self.path)?;
                levels.push(Level { fd, names, path: self.path.len() });
            }
        }
        Ok(())
    }

    /// Writes one entry. A directory is returned, to go into.
    fn entry(&mut self, dir: BorrowedFd<'_>, name: &[u8], stat: &Stat) -> Result<Option<OwnedFd>, Error> {
        let kind = FileType::from_raw_mode(stat.st_mode);
        let layer = self.options.form == Form::Layer;
        if is_whiteout(stat) && self.options.form != Form::Exact {
            return if layer { self.marker(&dir_of(&self.path), name).map(|()| None) } else { Ok(None) };
        }
        if layer && walk::is_mount_point(dir, name, &self.path, stat) {
            return Ok(None);
        }
        if layer && name.starts_with(b".wh.") {
            return Err(Error::invalid(&self.path, "a name that begins with `.wh.` cannot be in a layer"));
        }
        match kind {
            FileType::Directory | FileType::RegularFile => {
                // What has gone meanwhile is left out, as if it had gone before.
                let Some(fd) = walk::open(dir, name, stat, &self.path)? else { return Ok(None) };
                let stat = rustix::fs::fstat(&fd).map_err(|errno| fail(errno, &self.path))?;
                if kind == FileType::RegularFile {
                    return self.file(&fd, &stat).map(|()| None);
                }
                self.directory(&fd, &stat)?;
                Ok(Some(fd))
            }
            FileType::Socket => {
                self.warn(WarningKind::Socket, 0);
                Ok(None)
            }
            _ => self.other(dir, name, stat, kind).map(|()| None),
        }
    }

    fn directory(&mut self, fd: &OwnedFd, stat: &Stat) -> Result<(), Error> {
        let xattrs = self.xattrs(fd)?;
        let path = [self.path.as_slice(), b"/"].concat();
        let head = self.head(stat, b'5');
        self.write(&Head { path: &path, xattrs: &xattrs, ..head })?;
        let opaque = self.options.form == Form::Layer
            && is_opaque(fd.as_fd(), self.options.userxattr).map_err(|errno| fail(errno, &self.path))?;
        if opaque {
            let path = std::mem::take(&mut self.path);
            self.marker(&path, b".wh..opq")?;
            self.path = path;
        }
        Ok(())
    }

    /// An empty file whose name means that something is hidden.
    fn marker(&mut self, dir: &[u8], name: &[u8]) -> Result<(), Error> {
        let slash: &[u8] = if dir.is_empty() { b"" } else { b"/" };
        let path = [dir, slash, b".wh.", name].concat();
        self.write(&Head { kind: b'0', path: &path, ..Head::default() })
    }

    fn file(&mut self, fd: &OwnedFd, stat: &Stat) -> Result<(), Error> {
        let path = std::mem::take(&mut self.path);
        if let Some(first) = self.links.first(stat, &path)? {
            let first = first.to_vec();
            let head = Head { path: &path, link: &first, ..self.head(stat, b'1') };
            self.write(&head)?;
            self.path = path;
            return Ok(());
        }
        self.path = path;
        let size = u64::try_from(stat.st_size).unwrap_or(0);
        let xattrs = self.xattrs(fd)?;
        let blocks = u64::try_from(stat.st_blocks).unwrap_or(0);
        // Where the holes are depends on the file system, and a digest must not.
        let pieces = match self.options.form {
            Form::Exact => None,
            _ => match sparse::content(fd.as_fd(), size, blocks).map_err(|errno| fail(errno, &self.path))? {
                Content::Whole => None,
                Content::Pieces(pieces) => Some(pieces),
                Content::TooManyHoles => {
                    let rule = "it has too many holes, and would be far larger without them";
                    return Err(Error::limit(&self.path, rule));
                }
            },
        };
        let path = self.path.clone();
        let head = Head { path: &path, xattrs: &xattrs, ..self.head(stat, b'0') };
        match pieces {
            None => {
                self.write(&Head { size, ..head })?;
                self.content(fd, 0, size)?;
                self.archive.pad(size)
            }
            Some(pieces) => {
                let map = sparse::map(&pieces, size);
                let data: u64 = pieces.iter().map(|(_, length)| length).sum();
                self.write(&Head { size: map.len() as u64 + data, sparse: Some(size), ..head })?;
                self.archive.append(&map)?;
                for (offset, length) in pieces {
                    self.content(fd, offset, length)?;
                }
                self.archive.pad(data)
            }
        }
    }

    /// Writes exactly this many bytes of a file, whatever somebody does to it meanwhile.
    fn content(&mut self, fd: &OwnedFd, mut offset: u64, length: u64) -> Result<(), Error> {
        let mut left = length;
        self.packed.content_bytes += length;
        while left > 0 {
            let want = usize::try_from(left).unwrap_or(usize::MAX).min(CHUNK);
            let buffer = self.buffer.get_mut(..want).unwrap_or_default();
            let count = match rustix::io::pread(fd, &mut *buffer, offset) {
                Ok(0) => {
                    buffer.fill(0);
                    self.packed.warning_count += 1;
                    if self.packed.warnings.len() < WARNINGS_MAX {
                        let object = self.path.clone();
                        self.packed.warnings.push(Warning { kind: WarningKind::Shrunk, errno: 0, object });
                    }
                    // The rest of it in one go, so that it is one warning.
                    while left > want as u64 {
                        self.archive.append(buffer)?;
                        left -= want as u64;
                    }
                    usize::try_from(left).unwrap_or(0)
                }
                Ok(count) => count,
                Err(Errno::INTR) => continue,
                Err(errno) => return Err(fail(errno, &self.path)),
            };
            self.archive.append(self.buffer.get(..count).unwrap_or_default())?;
            offset += count as u64;
            left -= count as u64;
        }
        Ok(())
    }

    /// Links, devices and pipes, which are not opened.
    fn other(&mut self, dir: BorrowedFd<'_>, name: &[u8], stat: &Stat, kind: FileType) -> Result<(), Error> {
        let path = self.path.clone();
        // A link may have several names, too, but none of them gains by being a hard link.
        let target = match kind {
            FileType::Symlink => match rustix::fs::readlinkat(dir, name, Vec::new()) {
                Ok(target) => target.into_bytes(),
                Err(Errno::NOENT | Errno::STALE | Errno::INVAL) => return Ok(()),
                Err(errno) => return Err(fail(errno, &path)),
            },
            _ => Vec::new(),
        };
        let device = (rustix::fs::major(stat.st_rdev), rustix::fs::minor(stat.st_rdev));
        let head = match kind {
            FileType::Symlink => Head { link: &target, mode: 0o777, ..self.head(stat, b'2') },
            FileType::CharacterDevice => Head { device, ..self.head(stat, b'3') },
            FileType::BlockDevice => Head { device, ..self.head(stat, b'4') },
            FileType::Fifo => self.head(stat, b'6'),
            _ => return Ok(()),
        };
        self.write(&Head { path: &path, ..head })
    }

    fn head<'a>(&self, stat: &Stat, kind: u8) -> Head<'a> {
        let shown = Shown::of_stat(stat);
        let mtime = match self.options.form {
            Form::Exact => shown.mtime,
            // As other engines do it: a fraction would cost an extended header for every entry.
            _ => Time { seconds: shown.mtime.seconds, nanos: 0 },
        };
        Head { kind, mode: shown.mode, uid: shown.uid, gid: shown.gid, mtime, ..Head::default() }
    }

    fn write(&mut self, head: &Head<'_>) -> Result<(), Error> {
        self.packed.entries += 1;
        self.archive.head(head)
    }

    /// The attributes that go into the archive, in order.
    fn xattrs(&mut self, fd: &OwnedFd) -> Result<Vec<Xattr>, Error> {
        let exact = self.options.form == Form::Exact;
        let overlay: &[u8] =
            if self.options.userxattr { b"user.overlay.opaque" } else { b"trusted.overlay.opaque" };
        let wanted = |name: &[u8]| policy(name) == Policy::Keep || (exact && name == overlay);
        let mut xattrs = read_xattrs(fd.as_fd(), wanted).map_err(|errno| fail(errno, &self.path))?;
        // Such a name could not be told from its value.
        let before = xattrs.len();
        xattrs.retain(|xattr| !xattr.name.contains(&b'=') && !xattr.name.contains(&b'\n'));
        if xattrs.len() < before {
            self.warn(WarningKind::Xattr, 0);
        }
        xattrs.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        Ok(xattrs)
    }

    fn warn(&mut self, kind: WarningKind, errno: i32) {
        self.packed.warning_count += 1;
        if self.packed.warnings.len() < WARNINGS_MAX {
            self.packed.warnings.push(Warning { kind, errno, object: self.path.clone() });
        }
    }
}

/// The directory of a path.
fn dir_of(path: &[u8]) -> Vec<u8> {
    crate::path::split(path).0.to_vec()
}

const _: () = assert!(CHUNK.is_multiple_of(BLOCK));

#[cfg(test)]
mod tests;
