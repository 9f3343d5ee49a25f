//! From the host into a container.

use std::os::fd::BorrowedFd;
use std::path::Path;

use coble_protocol::Owner;

use super::super::{Container, Exported, FileCopyOptions};
use super::local::LocalSource;
use super::paths::{Given, decide};
use super::put::exported;
use super::stream::{self, Pipe};
use crate::cancel::CancelToken;
use crate::error::{Context, Result};

impl Container {
    /// Copies a file or directory of the host into the container, whether it runs or not, by docker's rules for `docker cp`:
    ///
    /// - A file goes to a missing `dest`, which must not end in `/`; into a `dest` that is a directory; or over a `dest` that is a file.
    /// - A directory becomes a missing `dest`; goes into a `dest` that is a directory, or only its content if `source` ends in `/.`; a `dest` that is a file is an error.
    /// - The directory that `dest` is in has to be there. A link at the end of `dest` is followed, inside the container.
    /// - A link at the end of `source` is copied as a link, unless it is followed: see [`FileCopyOptions::follow_link`].
    ///
    /// Everything belongs to the container's user 0, unless [`FileCopyOptions::archive`] is set. What is replaced and what is seen is as of
    /// [`Container::put_archive`].
    pub fn copy_to(
        &self,
        source: &Path,
        dest: &str,
        options: &FileCopyOptions,
        cancel: &CancelToken,
    ) -> Result<Exported> {
        let inner = &*self.engine.inner()?;
        let doing =
            || format!("copying \"{}\" to \"{dest}\" of container \"{}\"", source.display(), self.name());
        let named = Given::parse(dest)?;
        let local = LocalSource::open(source, options.follow_link).context(doing)?;
        let files = self.files(inner, cancel).context(doing)?;
        let (path, found) = self
            .destination(inner, &files, &named, cancel)
            .map_err(|error| self.of_path(dest, error))
            .context(doing)?;
        let target = decide(local.is_directory, local.given.name(), &named, &path, found).context(doing)?;
        let owner = if options.archive { Owner::Archive } else { Owner::User("0:0".into()) };
        let write = |to: BorrowedFd<'_>| local.pack(&target.name, Pipe(to));
        let read = |from: BorrowedFd<'_>| {
            self.put(inner, &files, &target.directory, from, owner, cancel)
                .map_err(|error| self.not_put(dest, error))
        };
        let (packed, mut done) = stream::through(write, read).context(doing)?;
        self.still_there(inner).context(doing)?;
        done.warning_count += packed.warning_count;
        let mut exported = exported(&done);
        exported.warnings.extend(packed.warnings.iter().map(crate::process::warning_of_layer));
        Ok(exported)
    }
}
