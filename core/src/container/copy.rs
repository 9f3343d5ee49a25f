//! One path of a container's files: as a tar, or the content of a file.

use super::{Container, Exported};
use crate::cancel::CancelToken;
use crate::error::{Context, Error, ErrorKind, Result};
use crate::image::{Sink, sink};
use crate::process::{reader, warning_of};

impl Container {
    /// Writes what is at a path of the container, and everything below it, as a tar, whether it runs or not. The names begin with the last component
    /// of the path. A relative path begins at `/`. A link that is the last component is written as a link, unless `follow` is set or the path
    /// ends in `/` or `/.`. No link leads out of the container.
    ///
    /// As with [`Container::export`], what is mounted inside (`/proc`, `/dev`, `/etc/hosts`) is not part of it. Fails with [`ErrorKind::PathNotFound`] if nothing is there.
    pub fn get_archive(
        &self,
        path: &str,
        sink: Sink,
        follow: bool,
        cancel: &CancelToken,
    ) -> Result<Exported> {
        let inner = &*self.engine.inner()?;
        let doing = || format!("copying \"{path}\" from container \"{}\"", self.name());
        let (clean, directory) = clean(path)?;
        let tree = self.tree(inner, cancel).context(doing)?;
        let output = sink::create(sink, cancel).context(doing)?;
        let done = reader::path(inner, tree.view(inner), &clean, follow || directory, output.fd(), cancel)
            .map_err(|error| self.of_path(path, error))
            .context(doing)?;
        self.still_there(inner).context(doing)?;
        output.finish().context(doing)?;
        Ok(Exported {
            bytes: done.uncompressed_bytes,
            entries: done.entries,
            warnings: done.warnings.iter().map(warning_of).collect(),
        })
    }

    /// The content of a regular file of the container, whether it runs or not. Links are followed inside the container.
    ///
    /// A file of more than `max_size` bytes fails with [`ErrorKind::LimitExceeded`], a missing one with [`ErrorKind::PathNotFound`],
    /// and what is no regular file with [`ErrorKind::InvalidArgument`]. What is mounted inside is not seen, as in [`Container::export`].
    pub fn read_file(&self, path: &str, max_size: u64, cancel: &CancelToken) -> Result<Vec<u8>> {
        let inner = &*self.engine.inner()?;
        let doing = || format!("reading \"{path}\" of container \"{}\"", self.name());
        let (clean, directory) = clean(path)?;
        let tree = self.tree(inner, cancel).context(doing)?;
        if directory {
            let error = Error::syscall("read", path, libc::EISDIR);
            return Err(self.of_path(path, error)).context(doing);
        }
        let content = reader::content(inner, tree.view(inner), &clean, max_size, cancel)
            .map_err(|error| self.of_path(path, error))
            .context(doing)?;
        self.still_there(inner).context(doing)?;
        Ok(content)
    }

    /// The caller named the path, so its errors are about an argument.
    fn of_path(&self, path: &str, error: Error) -> Error {
        // A host that refuses the view says so with the same numbers.
        if error.kind() == ErrorKind::Unsupported {
            return error;
        }
        let (kind, what) = match error.errno() {
            Some(libc::ENOENT | libc::ENOTDIR) => (ErrorKind::PathNotFound, "is not there"),
            Some(libc::EFBIG) => (ErrorKind::LimitExceeded, "has more bytes than allowed"),
            Some(libc::EISDIR) => (ErrorKind::InvalidArgument, "is a directory"),
            Some(libc::EINVAL) => (ErrorKind::InvalidArgument, "is not a regular file"),
            Some(libc::ELOOP) => (ErrorKind::InvalidArgument, "has too many symbolic links"),
            Some(libc::ENAMETOOLONG) => (ErrorKind::InvalidArgument, "is too long"),
            _ => return error,
        };
        Error::new(kind, format!("\"{path}\" {what}")).with_object(path)
    }
}

/// The path from the root, with `.` and `..` taken out by name, as docker does it; and whether it can only mean a directory.
fn clean(path: &str) -> Result<(Vec<u8>, bool)> {
    if path.is_empty() || path.contains('\0') {
        let what = if path.is_empty() { "the path is empty" } else { "the path has a NUL byte" };
        return Err(Error::new(ErrorKind::InvalidArgument, what));
    }
    let mut components: Vec<&str> = Vec::new();
    let mut directory = true;
    for component in path.split('/') {
        directory = matches!(component, "" | "." | "..");
        match component {
            "" | "." => {}
            ".." => drop(components.pop()),
            _ => components.push(component),
        }
    }
    Ok((format!("/{}", components.join("/")).into_bytes(), directory))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_cleaned_by_name() {
        for (raw, path, directory) in [
            ("/etc/passwd", "/etc/passwd", false),
            ("etc//./passwd", "/etc/passwd", false),
            ("/etc/", "/etc", true),
            ("/etc/.", "/etc", true),
            ("../../a/../b", "/b", false),
            ("/", "/", true),
            ("a/..", "/", true),
        ] {
            assert_eq!(clean(raw).unwrap(), (path.as_bytes().to_vec(), directory), "{raw}");
        }
        assert!(clean("").is_err() && clean("a\0b").is_err());
    }
}
