//! What the paths of a copy mean: docker's rules for `docker cp`, as its documentation has them. Pure.
//!
//! `SRC` and `DEST` are a file or a directory each, and what happens depends on whether `DEST` is there, and on a `/` or `/.` at the end:
//!
//! - A file goes to a missing `DEST`, which must not end in `/`; into a `DEST` that is a directory; or over a `DEST` that is a file.
//! - A directory becomes a missing `DEST`; goes into a `DEST` that is a directory, or only its content if `SRC` ends in `/.`; a `DEST` that is a file is an error.
//! - The directory that `DEST` is in has to be there.

use crate::error::{Error, ErrorKind, Result};

/// A path as it was given, from the root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Given {
    /// Absolute, with `.` and `..` taken out by name, as docker does it.
    pub(super) path: Vec<u8>,
    /// It ends in a slash.
    pub(super) slash: bool,
    /// It ends in `.`, as a component.
    pub(super) dot: bool,
}

impl Given {
    /// Reads a path of a container. A relative one begins at `/`.
    pub(super) fn parse(path: &str) -> Result<Given> {
        if path.is_empty() || path.contains('\0') {
            let what = if path.is_empty() { "the path is empty" } else { "the path has a NUL byte" };
            return Err(Error::new(ErrorKind::InvalidArgument, what));
        }
        Ok(Given::absolute(path.as_bytes()))
    }

    /// Reads an absolute path, or a relative one as if it began at `/`.
    pub(super) fn absolute(path: &[u8]) -> Given {
        let mut components: Vec<&[u8]> = Vec::new();
        let mut last: &[u8] = b"";
        for component in path.split(|&byte| byte == b'/') {
            match component {
                b"" => continue,
                b"." => {}
                b".." => drop(components.pop()),
                _ => components.push(component),
            }
            last = component;
        }
        let mut clean = Vec::with_capacity(path.len() + 1);
        for component in components {
            clean.push(b'/');
            clean.extend_from_slice(component);
        }
        if clean.is_empty() {
            clean.push(b'/');
        }
        let slash = path.ends_with(b"/");
        // As docker has it, a slash after the dot makes no difference.
        Given { path: clean, slash, dot: last == b"." }
    }

    /// It can only mean a directory.
    pub(super) fn is_directory(&self) -> bool {
        self.slash || self.dot || self.path == b"/"
    }

    /// What it is called in an archive; empty if the archive begins with what is in it.
    pub(super) fn name(&self) -> &[u8] {
        if self.dot { b"" } else { split(&self.path).1 }
    }
}

/// The directory of a path and the last component, which is empty for the root.
pub(super) fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|&byte| byte == b'/') {
        Some(0) => (b"/", path.get(1..).unwrap_or_default()),
        Some(at) => (path.get(..at).unwrap_or_default(), path.get(at + 1..).unwrap_or_default()),
        None => (b"/", path),
    }
}

/// Where a copy goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Destination {
    /// A directory that is there.
    Directory,
    /// Something else that is there.
    File,
    /// Nothing is there.
    Missing,
}

/// What is unpacked where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Target {
    /// The directory that gets it.
    pub(super) directory: Vec<u8>,
    /// What the source is called there. Empty: its content goes there.
    pub(super) name: Vec<u8>,
}

/// Decides where a copy goes. `named` is the destination as it was given, `dest` the same with the links at its end followed.
pub(super) fn decide(
    source_is_directory: bool,
    source_name: &[u8],
    named: &Given,
    dest: &[u8],
    found: Destination,
) -> Result<Target> {
    let text = || String::from_utf8_lossy(&named.path).into_owned();
    let beside = || {
        let (directory, name) = split(dest);
        Target { directory: directory.to_vec(), name: name.to_vec() }
    };
    match found {
        Destination::Directory => Ok(Target { directory: dest.to_vec(), name: source_name.to_vec() }),
        Destination::File if source_is_directory => Err(Error::new(
            ErrorKind::InvalidArgument,
            format!("cannot copy a directory to \"{}\", which is a file", text()),
        )
        .with_object(text())
        .with_errno(libc::ENOTDIR)),
        Destination::File if named.is_directory() => {
            Err(Error::new(ErrorKind::InvalidArgument, format!("\"{}\" is not a directory", text()))
                .with_object(text())
                .with_errno(libc::ENOTDIR))
        }
        // With a dot at the end it would be the content of something that is not there.
        Destination::Missing if named.dot || (named.slash && !source_is_directory) => {
            Err(Error::new(ErrorKind::PathNotFound, format!("there is no directory \"{}\"", text()))
                .with_object(text())
                .with_errno(libc::ENOENT))
        }
        Destination::File | Destination::Missing => Ok(beside()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_cleaned_by_name() {
        for (raw, path, slash, dot, name) in [
            ("/etc/passwd", "/etc/passwd", false, false, "passwd"),
            ("etc//./passwd", "/etc/passwd", false, false, "passwd"),
            ("/etc/", "/etc", true, false, "etc"),
            ("/etc/.", "/etc", false, true, ""),
            ("/etc/./", "/etc", true, true, ""),
            (".", "/", false, true, ""),
            ("../../a/../b", "/b", false, false, "b"),
            ("/", "/", true, false, ""),
            ("a/..", "/", false, false, ""),
            ("a/...", "/a/...", false, false, "..."),
            ("a.", "/a.", false, false, "a."),
        ] {
            let given = Given::parse(raw).unwrap();
            assert_eq!(given, Given { path: path.as_bytes().to_vec(), slash, dot }, "{raw}");
            assert_eq!(given.name(), name.as_bytes(), "{raw}");
        }
        assert!(Given::parse("").is_err() && Given::parse("a\0b").is_err());
    }

    /// Every combination of docker's documentation.
    #[test]
    fn a_copy_goes_where_docker_puts_it() {
        use Destination::{Directory, File, Missing};
        let ok = |directory: &str, name: &str| Ok((directory.to_owned(), name.to_owned()));
        let (invalid, missing) = (Err(ErrorKind::InvalidArgument), Err(ErrorKind::PathNotFound));
        for (dir, source, dest, found, result) in [
            // A file to nothing: under the name that was given, unless that can only be a directory's.
            (false, "/s", "/d/x", Missing, ok("/d", "x")),
            (false, "/s", "/x", Missing, ok("/", "x")),
            (false, "/s", "/d/x/", Missing, missing.clone()),
            (false, "/s", "/d/x/.", Missing, missing.clone()),
            // A file over a file.
            (false, "/s", "/d/x", File, ok("/d", "x")),
            (false, "/s", "/d/x/", File, invalid.clone()),
            // A file into a directory.
            (false, "/s", "/d", Directory, ok("/d", "s")),
            (false, "/s", "/d/", Directory, ok("/d", "s")),
            (false, "/s", "/d/.", Directory, ok("/d", "s")),
            (false, "/s", "/", Directory, ok("/", "s")),
            // A directory to nothing becomes it, whether or not its content is meant.
            (true, "/s", "/d/x", Missing, ok("/d", "x")),
            (true, "/s/", "/d/x", Missing, ok("/d", "x")),
            (true, "/s/.", "/d/x", Missing, ok("/d", "x")),
            (true, "/s/.", "/d/x/", Missing, ok("/d", "x")),
            (true, "/s", "/d/x/.", Missing, missing.clone()),
            // A directory over a file.
            (true, "/s", "/d/x", File, invalid.clone()),
            (true, "/s/.", "/d/x", File, invalid.clone()),
            // A directory into a directory, or its content.
            (true, "/s", "/d", Directory, ok("/d", "s")),
            (true, "/s/", "/d/", Directory, ok("/d", "s")),
            (true, "/s/.", "/d", Directory, ok("/d", "")),
            (true, "/", "/d", Directory, ok("/d", "")),
        ] {
            let (source, named) = (Given::parse(source).unwrap(), Given::parse(dest).unwrap());
            let got = decide(dir, source.name(), &named, &named.path, found).map(|target| {
                let text = |bytes| String::from_utf8(bytes).unwrap();
                (text(target.directory), text(target.name))
            });
            assert_eq!(got.map_err(|error| error.kind()), result, "{source:?} {dest} {found:?}");
        }
        // Links at the end of the destination were followed.
        let named = Given::parse("/d/link").unwrap();
        let target = decide(false, b"s", &named, b"/d/../other/real", File).unwrap();
        assert_eq!(target, Target { directory: b"/d/../other".to_vec(), name: b"real".to_vec() });
    }
}
