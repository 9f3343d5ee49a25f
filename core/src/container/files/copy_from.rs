//! From a container to the host.

use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use coble_protocol::{FdList, NodeKind, Owner, Place};

use super::super::{Container, Exported, FileCopyOptions};
use super::list::itself;
use super::paths::{Given, decide};
use super::put::exported;
use super::{local, stream};
use crate::cancel::CancelToken;
use crate::error::{Context, Error, ErrorKind, Result};
use crate::event::note;
use crate::process::{reader, writer};

impl Container {
    /// Copies a file or directory of the container to the host, whether the container runs or not, by the same rules as [`Container::copy_to`] with the sides exchanged.
    ///
    /// A container's files are as hostile as any archive: they are unpacked by a confined worker that sees nothing but the directory that they go to, no link is followed there, and device
    /// nodes and file capabilities are left out, each with a warning. Everything belongs to the caller and has no set-id bits, unless [`FileCopyOptions::archive`] is set:
    /// then it belongs to the same numbers as in the container, as far as the caller may give it to them. Directories that are there keep their mode, owner and time; a file is replaced when the new one
    /// is complete.
    pub fn copy_from(
        &self,
        source: &str,
        dest: &Path,
        options: &FileCopyOptions,
        cancel: &CancelToken,
    ) -> Result<Exported> {
        let inner = &*self.engine.inner()?;
        let doing =
            || format!("copying \"{source}\" of container \"{}\" to \"{}\"", self.name(), dest.display());
        let given = Given::parse(source)?;
        let files = self.files(inner, cancel).context(doing)?;
        let follow = options.follow_link || given.is_directory();
        let node = itself(inner, &files, &given.path, follow, cancel)
            .and_then(|node| node.ok_or_else(|| Error::syscall("open", source, libc::ENOENT)))
            .map_err(|error| self.of_path(source, error))
            .context(doing)?;
        let is_directory = node.kind == NodeKind::Directory;
        if given.is_directory() && !is_directory {
            return Err(self.of_path(source, Error::syscall("open", source, libc::ENOTDIR))).context(doing);
        }
        let (named, place, found) = local::destination(dest).context(doing)?;
        let target = decide(is_directory, given.name(), &named, &place, found).context(doing)?;
        let directory = local::target(&target.directory).context(doing)?;
        // Who is to be the caller is user 0 of the engine's own user namespace.
        let (owner, workers) = match options.archive {
            true => (Owner::Archive, files.workers(inner)),
            false => (Owner::User("0:0".into()), inner.into()),
        };

        let view = files.view(inner);
        let write = |to: BorrowedFd<'_>| {
            reader::path(
                files.workers(inner),
                view,
                &given.path,
                (follow, is_directory),
                &target.name,
                to,
                cancel,
            )
            .map_err(|error| self.of_path(source, error))
        };
        let read = |from: BorrowedFd<'_>| {
            let mut fds = FdList::default();
            let place = Place::Host(fds.push(directory.as_fd()));
            writer::put(workers, (place, fds), b"/", from, (owner, None), cancel)
                .map_err(|error| not_unpacked(dest, error))
        };
        let (packed, done) = stream::through(write, read).context(doing)?;
        self.still_there(inner).context(doing)?;
        note(inner, self.id(), "archive-path", &[("path", source.to_owned())]);
        let mut exported = exported(&done);
        exported.warnings.extend(packed.warnings.iter().map(crate::process::warning_of));
        Ok(exported)
    }
}

/// Why something could not be put where the caller wanted it on the host.
fn not_unpacked(dest: &Path, error: Error) -> Error {
    let object = error.object().map_or_else(|| dest.to_string_lossy().into_owned(), str::to_owned);
    let text = match error.errno() {
        Some(libc::EISDIR) => format!("cannot replace the directory \"{object}\" by something else"),
        Some(libc::ENOTDIR) => format!("cannot replace \"{object}\", which is no directory, by a directory"),
        _ => return error,
    };
    let errno = error.errno().unwrap_or_default();
    Error::new(ErrorKind::InvalidState, text).with_object(object).with_errno(errno)
}
