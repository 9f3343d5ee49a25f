//! Content-addressable blobs, kept as an OCI image layout that other tools can read.
//!
//! A blob comes in through a [`Session`](crate::state::Session): to a file of the session, hashed on the way, then synced and renamed. The rows are
//! the business of `state`.

mod compress;
mod ingest;
mod layout;
mod partial;

pub(crate) use compress::{check_level, compress};
pub(crate) use ingest::{
    Staged, Wrapped, Writer, read_error, stage, stage_bytes, stage_from, write_error, writer,
};

pub(crate) use layout::{LAYOUT, index_bytes};
pub(crate) use partial::{Leftover, Partial, read_small, reopen};

use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, RenameFlags};
use rustix::io::Errno;

use crate::error::{Call, Error, ErrorKind, Result};
use crate::oci::{Algorithm, Digest};
use crate::state::{Session, list_names, make_dir, open_dir};

/// The blobs of a store.
#[derive(Debug)]
pub(crate) struct Content {
    /// The layout's directory.
    pub(crate) path: PathBuf,
    dir: OwnedFd,
    blobs: OwnedFd,
    /// Where sessions have their directories.
    pub(crate) ingest: OwnedFd,
    /// Where blobs are that are being fetched.
    partial: OwnedFd,
}

impl Content {
    pub(crate) fn open(data: &OwnedFd, path: &Path) -> Result<Content> {
        let dir = open_dir(data, "content", path.parent().unwrap_or(path))?;
        let blobs = open_dir(&dir, "blobs", path)?;
        let ingest = open_dir(&dir, "ingest", path)?;
        // Stores of older versions do not have it.
        make_dir(&dir, partial::DIR, path)?;
        let partial = open_dir(&dir, partial::DIR, path)?;
        Ok(Content { path: path.to_owned(), dir, blobs, ingest, partial })
    }

    /// `algorithm/hex`, below `blobs`.
    fn name(digest: &Digest) -> String {
        format!("{}/{}", digest.algorithm().name(), digest.hex())
    }

    fn path_of(&self, digest: &Digest) -> PathBuf {
        self.path.join("blobs").join(Content::name(digest))
    }

    /// The size of a blob; None if it is not there.
    pub(crate) fn size(&self, digest: &Digest) -> Result<Option<u64>> {
        match rustix::fs::statat(&self.blobs, Content::name(digest), AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile => {
                Ok(Some(u64::try_from(stat.st_size).unwrap_or(0)))
            }
            Ok(_) | Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(Error::syscall("stat", self.path_of(digest), errno.raw_os_error())),
        }
    }

    /// What a blob takes of the disk; nothing if it is not there.
    pub(crate) fn allocated(&self, digest: &Digest) -> Result<u64> {
        match rustix::fs::statat(&self.blobs, Content::name(digest), AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(u64::try_from(stat.st_blocks).unwrap_or(0).saturating_mul(512)),
            Err(Errno::NOENT) => Ok(0),
            Err(errno) => Err(Error::syscall("stat", self.path_of(digest), errno.raw_os_error())),
        }
    }

    /// Whether there is a blob of this size.
    pub(crate) fn has(&self, digest: &Digest, size: u64) -> Result<bool> {
        Ok(self.size(digest)? == Some(size))
    }

    /// Opens a blob. Its size is checked; its content was when it came in.
    pub(crate) fn open_blob(&self, digest: &Digest, size: u64) -> Result<File> {
        let path = self.path_of(digest);
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&self.blobs, Content::name(digest), flags, Mode::empty())
            .call("open", &path)?;
        let stat = rustix::fs::fstat(&file).call("fstat", &path)?;
        let found = u64::try_from(stat.st_size).unwrap_or(0);
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile || found != size {
            return Err(Error::new(
                ErrorKind::DigestMismatch,
                format!("blob {digest} has {found} bytes in the store instead of {size}"),
            )
            .with_object(digest.as_str()));
        }
        Ok(File::from(file))
    }

    /// Puts a staged file in its place, synced, unless the blob is there already.
    pub(crate) fn publish(&self, session: &Session, staged: &Staged, digest: &Digest) -> Result<()> {
        if self.has(digest, staged.size)? {
            return session.discard(&staged.name);
        }
        let from = session.path.join(&staged.name);
        staged.open(session)?.sync_all().call("fsync", &from)?;
        if digest.algorithm() != Algorithm::Sha256 {
            make_dir(&self.blobs, digest.algorithm().name(), &self.path)?;
        }
        let path = self.path_of(digest);
        rustix::fs::renameat(session.dir(), &staged.name, &self.blobs, Content::name(digest))
            .call("rename", &path)?;
        let dir = open_dir(&self.blobs, digest.algorithm().name(), &self.path)?;
        rustix::fs::fsync(&dir).call("fsync", path)
    }

    /// Deletes a blob's file; one that has gone is fine.
    pub(crate) fn delete(&self, digest: &Digest) -> Result<()> {
        match rustix::fs::unlinkat(&self.blobs, Content::name(digest), AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(errno) => Err(Error::syscall("unlink", self.path_of(digest), errno.raw_os_error())),
        }
    }

    /// Which file a blob is now: device and inode. None if there is none.
    pub(crate) fn identity(&self, digest: &Digest) -> Result<Option<(u64, u64)>> {
        match rustix::fs::statat(&self.blobs, Content::name(digest), AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some((stat.st_dev, stat.st_ino))),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(Error::syscall("stat", self.path_of(digest), errno.raw_os_error())),
        }
    }

    /// Deletes a blob's file if it is still this one; one that has gone is fine. False if another one is in its place, which stays.
    pub(crate) fn delete_if(&self, session: &Session, digest: &Digest, file: (u64, u64)) -> Result<bool> {
        // Nearly always this is all there is to it, and nobody's blob is out of its place for a moment.
        if self.identity(digest)?.is_some_and(|now| now != file) {
            return Ok(false);
        }
        // Out of the way first, since nobody can be kept from putting another one there between a look and a deletion.
        let (name, path) = (Content::name(digest), self.path_of(digest));
        let aside = format!("aside-{}", digest.hex());
        match rustix::fs::renameat(&self.blobs, &name, session.dir(), &aside) {
            Ok(()) => {}
            Err(Errno::NOENT) => return Ok(true),
            Err(errno) => return Err(Error::syscall("rename", path, errno.raw_os_error())),
        }
        let stat = rustix::fs::statat(session.dir(), &aside, AtFlags::SYMLINK_NOFOLLOW)
            .call("stat", session.path.join(&aside))?;
        let same = (stat.st_dev, stat.st_ino) == file;
        if !same {
            match rustix::fs::renameat_with(session.dir(), &aside, &self.blobs, &name, RenameFlags::NOREPLACE)
            {
                Ok(()) => return Ok(false),
                // And yet another one.
                Err(Errno::EXIST) => {}
                Err(errno) => return Err(Error::syscall("rename", path, errno.raw_os_error())),
            }
        }
        session.discard(&aside)?;
        Ok(same)
    }

    /// The names of all files of an algorithm.
    pub(crate) fn list(&self, algorithm: Algorithm) -> Result<Vec<String>> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match rustix::fs::openat(&self.blobs, algorithm.name(), flags, Mode::empty()) {
            Ok(dir) => list_names(&dir, &self.path),
            Err(Errno::NOENT) => Ok(Vec::new()),
            Err(errno) => Err(Error::syscall("open", self.path.join(algorithm.name()), errno.raw_os_error())),
        }
    }
}

/// The error for content that is not what it was announced as.
pub(crate) fn mismatch(expected: &Digest, found: &Digest) -> Error {
    Error::new(ErrorKind::DigestMismatch, format!("content has digest {found} instead of {expected}"))
        .with_object(expected.as_str())
}
