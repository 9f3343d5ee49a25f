//! What is at a path of a container, and what is in a directory of it.

use coble_protocol::{Look, Node};

use super::super::{Container, FileEntry};
use super::paths::{Destination, Given, split};
use super::tree::Files;
use crate::cancel::CancelToken;
use crate::engine::Inner;
use crate::error::{Context, Error, Result};
use crate::process::reader;

/// The most links at the end of a path, as in the kernel.
const MAX_LINKS: usize = 40;

impl Container {
    /// The entries of a directory of the container, by name, whether it runs or not. A relative path begins at `/`, and links on the way and at its end are followed
    /// inside the container.
    ///
    /// A directory with more than a million entries fails with [`ErrorKind::LimitExceeded`](crate::ErrorKind::LimitExceeded): the list is in memory. [`Container::get_archive`] streams.
    ///
    /// What is mounted inside is seen while the container runs, but for `/proc`, `/sys` and `/dev`, which are empty. Fails with
    /// [`ErrorKind::PathNotFound`](crate::ErrorKind::PathNotFound) if there is no such directory.
    pub fn list_files(&self, path: &str, cancel: &CancelToken) -> Result<Vec<FileEntry>> {
        let inner = &*self.engine.inner()?;
        let doing = || format!("listing \"{path}\" of container \"{}\"", self.name());
        let given = Given::parse(path)?;
        let files = self.files(inner, cancel).context(doing)?;
        let mut nodes =
            reader::look(files.workers(inner), files.view(inner), &given.path, true, Look::Entries, cancel)
                .map_err(|error| self.of_path(path, error))
                .context(doing)?;
        self.still_there(inner).context(doing)?;
        nodes.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        Ok(nodes.into_iter().map(FileEntry::of).collect())
    }

    /// Where a copy to this path of the container goes: the path with the links at its end followed, and what is there.
    pub(super) fn destination(
        &self,
        inner: &Inner,
        files: &Files,
        given: &Given,
        cancel: &CancelToken,
    ) -> Result<(Vec<u8>, Destination)> {
        let mut path = given.path.clone();
        for _ in 0..MAX_LINKS {
            let Some(node) = itself(inner, files, &path, false, cancel)? else {
                return Ok((path, Destination::Missing));
            };
            if node.kind != coble_protocol::NodeKind::Symlink {
                return Ok(match node.kind {
                    coble_protocol::NodeKind::Directory => (path, Destination::Directory),
                    _ => (path, Destination::File),
                });
            }
            path = if node.link.starts_with(b"/") {
                node.link
            } else {
                [split(&path).0, b"/", &node.link].concat()
            };
        }
        Err(Error::syscall("open", String::from_utf8_lossy(&given.path).as_ref(), libc::ELOOP))
    }
}

/// What is at a path; None if nothing is.
pub(super) fn itself(
    inner: &Inner,
    files: &Files,
    path: &[u8],
    follow: bool,
    cancel: &CancelToken,
) -> Result<Option<Node>> {
    match reader::look(files.workers(inner), files.view(inner), path, follow, Look::Itself, cancel) {
        Ok(mut nodes) => Ok(nodes.pop()),
        // Not there. That something on the way is no directory is another thing.
        Err(error) if error.errno() == Some(libc::ENOENT) => Ok(None),
        Err(error) => Err(error),
    }
}
