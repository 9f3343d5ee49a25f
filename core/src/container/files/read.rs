//! One path of a container's files: as a tar, or the content of a file.

use super::super::{Container, Exported};
use super::paths::Given;
use crate::cancel::CancelToken;
use crate::error::{Context, Error, Result};
use crate::event::note;
use crate::image::{Sink, sink};
use crate::process::{reader, warning_of};

impl Container {
    /// Writes what is at a path of the container, and everything below it, as a tar, whether it runs or not. The names begin with the last component
    /// of the path, or after it if the path ends in `/.`. A relative path begins at `/`. A link that is the last component is written as a link, unless `follow` is set or the path
    /// ends in `/` or `/.`. No link leads out of the container.
    ///
    /// What is mounted inside is part of it while the container runs, but for `/proc`, `/sys` and `/dev`. Fails with
    /// [`ErrorKind::PathNotFound`](crate::ErrorKind::PathNotFound) if nothing is there.
    pub fn get_archive(
        &self,
        path: &str,
        sink: Sink,
        follow: bool,
        cancel: &CancelToken,
    ) -> Result<Exported> {
        let inner = &*self.engine.inner()?;
        let doing = || format!("copying \"{path}\" from container \"{}\"", self.name());
        let given = Given::parse(path)?;
        let directory = given.is_directory();
        let files = self.files(inner, cancel).context(doing)?;
        let output = sink::create(sink, cancel).context(doing)?;
        let how = (follow || directory, directory);
        let done = reader::path(
            files.workers(inner),
            files.view(inner),
            &given.path,
            how,
            given.name(),
            output.fd(),
            cancel,
        )
        .map_err(|error| self.of_path(path, error))
        .context(doing)?;
        self.still_there(inner).context(doing)?;
        output.finish().context(doing)?;
        note(inner, self.id(), "archive-path", &[("path", path.to_owned())]);
        Ok(Exported {
            bytes: done.uncompressed_bytes,
            entries: done.entries,
            warnings: done.warnings.iter().map(warning_of).collect(),
        })
    }

    /// The content of a regular file of the container, whether it runs or not. Links are followed inside the container.
    ///
    /// A file of more than `max_size` bytes fails with [`ErrorKind::LimitExceeded`](crate::ErrorKind::LimitExceeded), a missing one with
    /// [`ErrorKind::PathNotFound`](crate::ErrorKind::PathNotFound), and what is no regular file with
    /// [`ErrorKind::InvalidArgument`](crate::ErrorKind::InvalidArgument). What is mounted inside is seen as in [`Container::get_archive`].
    pub fn read_file(&self, path: &str, max_size: u64, cancel: &CancelToken) -> Result<Vec<u8>> {
        let inner = &*self.engine.inner()?;
        let doing = || format!("reading \"{path}\" of container \"{}\"", self.name());
        let given = Given::parse(path)?;
        let files = self.files(inner, cancel).context(doing)?;
        if given.is_directory() {
            let error = Error::syscall("read", path, libc::EISDIR);
            return Err(self.of_path(path, error)).context(doing);
        }
        let content = reader::content(files.workers(inner), files.view(inner), &given.path, max_size, cancel)
            .map_err(|error| self.of_path(path, error))
            .context(doing)?;
        self.still_there(inner).context(doing)?;
        Ok(content)
    }
}
