//! Putting files into a container.

use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::SystemTime;

use coble_protocol::{ArchiveDone, Owner};

use super::super::{Container, Exported, WriteOptions};
use super::paths::{Destination, Given, decide};
use super::stream::{self, Pipe, broken};
use super::tree::Files;
use crate::cancel::CancelToken;
use crate::engine::Inner;
use crate::error::{Context, Error, ErrorKind, Result};
use crate::event::note;
use crate::image::{self, Source};
use crate::process::{warning_of, writer};

/// Where the zeros of a tar come from.
const BLOCK: usize = 512;

impl Container {
    /// Unpacks a tar (plain, or compressed with gzip, zstd, bzip2 or xz) in a directory of the container, whether it runs or not. A relative path begins at `/`, and links of the container
    /// on the way are followed inside the container, also on the way of the archive's entries.
    ///
    /// Directories that are there are merged, and get the attributes of the archive; files are replaced. A file does not replace a directory, nor a directory a file:
    /// that fails with [`ErrorKind::InvalidState`]. Owners are the archive's. When the call fails, entries before the one that failed are there, each of them whole. What an entry
    /// replaces is there until the new one is complete. When the container ends meanwhile, it fails with [`ErrorKind::InvalidState`].
    ///
    /// What is mounted inside counts while the container runs, but for `/proc`, `/sys` and `/dev`. A read-only root fails with [`ErrorKind::InvalidState`].
    pub fn put_archive(&self, path: &str, archive: Source, cancel: &CancelToken) -> Result<Exported> {
        let inner = &*self.engine.inner()?;
        let doing = || format!("copying to \"{path}\" of container \"{}\"", self.name());
        let given = Given::parse(path)?;
        let input = image::archive_input(archive)?;
        let files = self.files(inner, cancel).context(doing)?;
        let done = self
            .put(inner, &files, &given.path, input.as_fd(), Owner::Archive, cancel)
            .map_err(|error| self.not_put(path, error))
            .context(doing)?;
        self.still_there(inner).context(doing)?;
        Ok(exported(&done))
    }

    /// Makes a file of the container, or replaces it, whether the container runs or not. Its directory has to be there. Links are followed inside the container.
    pub fn write_file(
        &self,
        path: &str,
        content: &[u8],
        options: &WriteOptions,
        cancel: &CancelToken,
    ) -> Result<()> {
        let inner = &*self.engine.inner()?;
        let doing = || format!("writing \"{path}\" of container \"{}\"", self.name());
        if options.mode > 0o7777 {
            let text = format!("{:o} is not a mode of a file", options.mode);
            return Err(Error::new(ErrorKind::InvalidArgument, text).with_hint("give at most 7777 (octal)"));
        }
        let given = Given::parse(path)?;
        let is_directory = || Error::syscall("open", path, libc::EISDIR);
        if given.is_directory() {
            return Err(self.of_path(path, is_directory())).context(doing);
        }
        let files = self.files(inner, cancel).context(doing)?;
        let target = self
            .destination(inner, &files, &given, cancel)
            .and_then(|(dest, found)| match found {
                Destination::Directory => Err(is_directory()),
                found => decide(false, given.name(), &given, &dest, found),
            })
            .map_err(|error| self.of_path(path, error))
            .context(doing)?;
        let owner = Owner::User(options.user.clone().unwrap_or_else(|| "0:0".into()));
        let write = |to: BorrowedFd<'_>| one_file(&mut Pipe(to), &target.name, options.mode, content);
        let read = |from: BorrowedFd<'_>| {
            self.put(inner, &files, &target.directory, from, owner, cancel)
                .map_err(|error| self.not_put(path, error))
        };
        stream::through(write, read).context(doing)?;
        self.still_there(inner).context(doing)
    }

    /// Unpacks what comes in.
    pub(super) fn put(
        &self,
        inner: &Inner,
        files: &Files,
        directory: &[u8],
        input: BorrowedFd<'_>,
        owner: Owner,
        cancel: &CancelToken,
    ) -> Result<ArchiveDone> {
        let mut fds = coble_protocol::FdList::default();
        let place = files.place(inner, &mut fds)?;
        let lock = files.lock().map(|fd| fds.push(fd.as_fd()));
        let done = writer::put(files.workers(inner), (place, fds), directory, input, (owner, lock), cancel)?;
        let path = String::from_utf8_lossy(directory).into_owned();
        note(inner, self.id(), "extract-to-dir", &[("path", path)]);
        Ok(done)
    }

    /// Why something could not be put where the caller wanted it.
    pub(super) fn not_put(&self, path: &str, error: Error) -> Error {
        let errno = error.errno();
        let object = error.object().unwrap_or(path).to_owned();
        let state = |text: String| {
            Error::new(ErrorKind::InvalidState, text)
                .with_object(object.clone())
                .with_errno(errno.unwrap_or_default())
        };
        match errno {
            Some(libc::EROFS) => state(format!("\"{path}\" of container \"{}\" is read-only", self.name()))
                .with_hint("copy to a volume or a tmpfs that can be written to"),
            // Of an entry. The target directory has a step of its own.
            Some(libc::EISDIR) => {
                state(format!("cannot replace the directory \"{object}\" by something else"))
            }
            Some(libc::ENOTDIR) if object != path => {
                state(format!("cannot replace \"{object}\", which is no directory, by a directory"))
            }
            Some(libc::EBUSY) => state(format!("cannot replace \"{object}\": something is mounted there")),
            Some(libc::ENOTDIR) => {
                Error::new(ErrorKind::InvalidArgument, format!("\"{path}\" is not a directory"))
                    .with_object(path)
                    .with_errno(libc::ENOTDIR)
            }
            Some(libc::ENOENT | libc::ELOOP | libc::ENAMETOOLONG) => self.of_path(path, error),
            _ => error,
        }
    }
}

pub(super) fn exported(done: &ArchiveDone) -> Exported {
    let mut warnings: Vec<_> = done.warnings.iter().map(warning_of).collect();
    if let Some(more) = done.warning_count.checked_sub(warnings.len() as u64).filter(|more| *more > 0) {
        warnings.push(super::super::Warning {
            code: "more-warnings".into(),
            message: format!("and {more} more of this kind"),
        });
    }
    Exported { bytes: done.uncompressed_bytes, entries: done.entries, warnings }
}

/// Writes a tar of one file.
fn one_file(output: &mut impl Write, name: &[u8], mode: u32, content: &[u8]) -> Result<()> {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let mtime = coble_layer::Time { seconds: now.as_secs() as i64, nanos: now.subsec_nanos() };
    let header = coble_layer::file_header(name, mode, mtime, content.len() as u64)
        .map_err(|error| Error::new(ErrorKind::InvalidArgument, error.to_string()))?;
    let padding = content.len().next_multiple_of(BLOCK) - content.len();
    let end = [0; 3 * BLOCK];
    output
        .write_all(&header)
        .and_then(|()| output.write_all(content))
        .and_then(|()| output.write_all(end.get(..padding + 2 * BLOCK).unwrap_or_default()))
        .map_err(|error| broken(&error))
}
