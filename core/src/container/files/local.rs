//! The host's side of a copy.

use std::ffi::{OsStr, OsString};
use std::io::BufWriter;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use coble_layer::{Form, One, PackOptions, Packed};
use rustix::fs::{CWD, FileType, Mode, OFlags};
use rustix::io::Errno;

use super::paths::{Destination, Given, split};
use super::stream::Pipe;
use crate::error::{Call, Error, ErrorKind, Result};
use crate::process::error_of_layer;

const MAX_LINKS: usize = 40;
const BUFFER: usize = 256 << 10;

fn directory(path: &OsStr) -> Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::empty()).call("open", path)
}

/// A path of the host as it was given, made absolute by name, as docker does it.
fn given(path: &Path) -> Result<Given> {
    if path.as_os_str().is_empty() {
        return Err(Error::new(ErrorKind::InvalidArgument, "the path is empty"));
    }
    let whole = std::env::current_dir().call("getcwd", ".")?;
    let whole = if path.is_absolute() { path.to_owned() } else { join(&whole, path.as_os_str()) };
    Ok(Given::absolute(whole.as_os_str().as_bytes()))
}

/// The end of the path stays as it is, with its slash.
fn join(directory: &Path, path: &OsStr) -> PathBuf {
    let mut whole = directory.as_os_str().to_owned();
    whole.push("/");
    whole.push(path);
    whole.into()
}

/// Something of the host that is copied.
pub(super) struct LocalSource {
    pub(super) given: Given,
    pub(super) is_directory: bool,
    /// A directory that is copied as it is, or the directory of `name`.
    fd: OwnedFd,
    name: Option<OsString>,
}

impl LocalSource {
    /// Opens it. A link is followed if `follow` is set or the path ends in `/` or `/.`.
    pub(super) fn open(path: &Path, follow: bool) -> Result<LocalSource> {
        let given = given(path)?;
        let whole = OsString::from_vec(given.path.clone());
        if given.is_directory() {
            let fd = directory(&whole)?;
            return Ok(LocalSource { given, is_directory: true, fd, name: None });
        }
        let place = if follow {
            std::fs::canonicalize(&whole)
                .map_err(|error| Error::io("realpath", path, &error))?
                .into_os_string()
        } else {
            whole
        };
        let (parent, name) = split(place.as_bytes());
        if name.is_empty() {
            // A link to the root.
            return Ok(LocalSource { given, is_directory: true, fd: directory(&place)?, name: None });
        }
        let stat = rustix::fs::lstat(&*place).call("lstat", path)?;
        Ok(LocalSource {
            given,
            is_directory: FileType::from_raw_mode(stat.st_mode) == FileType::Directory,
            fd: directory(OsStr::from_bytes(parent))?,
            name: Some(OsStr::from_bytes(name).to_owned()),
        })
    }

    /// Writes it as a tar, in which it has this name.
    pub(super) fn pack(&self, name: &[u8], output: Pipe<'_>) -> Result<Packed> {
        let opened;
        let one = match &self.name {
            None => One::Directory(self.fd.as_fd()),
            Some(own) if name.is_empty() => {
                let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                opened = rustix::fs::openat(&self.fd, own, flags, Mode::empty()).call("open", own)?;
                One::Directory(opened.as_fd())
            }
            Some(own) => One::Entry(self.fd.as_fd(), own.as_bytes()),
        };
        let options = PackOptions { form: Form::Tree, userxattr: false, max_bytes: 1 << 62 };
        coble_layer::pack_one(one, name, BufWriter::with_capacity(BUFFER, output), options)
            .map_err(|error| error_of_layer(&error))
    }
}

/// Where a copy to a path of the host goes: the path as it was given, the same with the links at its end followed, and what is there.
pub(super) fn destination(path: &Path) -> Result<(Given, Vec<u8>, Destination)> {
    let given = given(path)?;
    let mut place = given.path.clone();
    for _ in 0..MAX_LINKS {
        let stat = match rustix::fs::lstat(OsStr::from_bytes(&place)) {
            Ok(stat) => stat,
            Err(Errno::NOENT) => return Ok((given, place, Destination::Missing)),
            Err(errno) => return Err(errno).call("lstat", path),
        };
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => return Ok((given, place, Destination::Directory)),
            FileType::RegularFile => return Ok((given, place, Destination::File)),
            FileType::Symlink => {}
            _ => {
                let text = format!("\"{}\" must be a directory or a regular file", path.display());
                return Err(Error::new(ErrorKind::InvalidArgument, text).with_object(path.to_string_lossy()));
            }
        }
        let link = rustix::fs::readlinkat(CWD, OsStr::from_bytes(&place), Vec::new())
            .call("readlink", path)?
            .into_bytes();
        place = if link.starts_with(b"/") { link } else { [split(&place).0, b"/", &link].concat() };
    }
    Err(Error::syscall("open", path, libc::ELOOP))
}

/// Opens the directory that a copy goes to.
pub(super) fn target(path: &[u8]) -> Result<OwnedFd> {
    directory(OsStr::from_bytes(path))
}
