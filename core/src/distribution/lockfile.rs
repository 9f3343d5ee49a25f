//! Lock files: names and the digests that they are pinned to.
//!
//! ```toml
//! version = 1
//!
//! [[image]]
//! reference = "docker.io/library/debian:12"
//! digest = "sha256:..."
//! ```

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::error::{Call, Error, ErrorKind, Result};
use crate::oci::{Digest, Reference};
use crate::state::random_hex;

const VERSION: u32 = 1;
/// The most bytes of a lock file.
const MOST: u64 = 4 << 20;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    version: u32,
    #[serde(default)]
    image: Vec<RawPin>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawPin {
    reference: String,
    digest: String,
}

/// A lock file that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LockFile {
    path: PathBuf,
    /// By canonical name.
    pins: BTreeMap<String, Digest>,
}

impl LockFile {
    /// Reads a lock file.
    pub(super) fn read(path: &Path) -> Result<LockFile> {
        let file = std::fs::File::open(path).call("open", path)?;
        let mut text = String::new();
        file.take(MOST + 1).read_to_string(&mut text).call("read", path)?;
        if text.len() as u64 > MOST {
            return Err(Error::new(
                ErrorKind::LimitExceeded,
                format!("\"{}\" is larger than {MOST} bytes", path.display()),
            )
            .with_object(path.to_string_lossy()));
        }
        LockFile::parse(&text, path)
    }

    /// Reads the lock file that is to be changed; one that is not there is empty.
    pub(super) fn read_or_new(path: &Path) -> Result<LockFile> {
        match LockFile::read(path) {
            Err(error) if error.kind() == ErrorKind::PathNotFound => {
                Ok(LockFile { path: path.to_owned(), pins: BTreeMap::new() })
            }
            result => result,
        }
    }

    fn parse(text: &str, path: &Path) -> Result<LockFile> {
        let invalid = |why: &dyn std::fmt::Display| {
            Error::new(ErrorKind::InvalidArgument, format!("lock file \"{}\": {why}", path.display()))
                .with_object(path.to_string_lossy())
        };
        let raw: Raw = toml::from_str(text).map_err(|error| invalid(&error.message()))?;
        if raw.version != VERSION {
            return Err(invalid(&format!(
                "its version is {}, and only version {VERSION} is known",
                raw.version
            )));
        }
        let mut pins = BTreeMap::new();
        for pin in raw.image {
            let name = Reference::parse_tag(&pin.reference).map_err(|error| invalid(&error.message()))?;
            let digest = Digest::parse(&pin.digest).map_err(|error| invalid(&error.message()))?;
            let name = name.to_string();
            match pins.get(&name) {
                Some(known) if *known != digest => {
                    return Err(invalid(&format!("\"{name}\" is pinned twice, to {known} and to {digest}")));
                }
                _ => pins.insert(name, digest),
            };
        }
        Ok(LockFile { path: path.to_owned(), pins })
    }

    /// What a canonical name is pinned to.
    pub(super) fn pin(&self, name: &str) -> Option<&Digest> {
        self.pins.get(name)
    }

    pub(super) fn set(&mut self, name: &Reference, digest: Digest) {
        self.pins.insert(name.to_string(), digest);
    }

    /// The error for a name that stands for something else than it is pinned to.
    pub(super) fn drift(&self, name: &str, pinned: &Digest, found: &str) -> Error {
        Error::new(
            ErrorKind::DigestDrift,
            format!(
                "\"{name}\" stands for {found} now, and is pinned to {pinned} by \"{}\"",
                self.path.display()
            ),
        )
        .with_object(name)
        .with_hint(
            "`coble pull` brings what is pinned, if the registry still has it; `coble image lock` pins anew",
        )
    }

    fn text(&self) -> String {
        let mut text =
            format!("# Names of images and what they stand for, written by coble.\nversion = {VERSION}\n");
        for (reference, digest) in &self.pins {
            // Neither can have a character that would have to be escaped.
            text.push_str(&format!("\n[[image]]\nreference = \"{reference}\"\ndigest = \"{digest}\"\n"));
        }
        text
    }

    /// Writes the file: the old one is there until the new one is complete.
    pub(super) fn write(&self) -> Result<()> {
        // Through a link, to what it points to.
        let path = std::fs::canonicalize(&self.path).unwrap_or_else(|_| self.path.clone());
        let directory = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
            _ => PathBuf::from("."),
        };
        let temporary = directory.join(format!(".coble-lock-{}", random_hex(6)?));
        let written = (|| {
            let mut options = std::fs::OpenOptions::new();
            let mut file =
                options.write(true).create_new(true).mode(0o644).open(&temporary).call("open", &temporary)?;
            file.write_all(self.text().as_bytes()).call("write", &temporary)?;
            file.sync_all().call("fsync", &temporary)?;
            std::fs::rename(&temporary, &path).call("rename", &path)
        })();
        if written.is_err() {
            let _ = std::fs::remove_file(&temporary);
        }
        written?;
        std::fs::File::open(&directory).and_then(|file| file.sync_all()).call("fsync", &directory)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(text: &str) -> Digest {
        Digest::of(text.as_bytes())
    }

    #[test]
    fn what_is_written_is_read_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("coble.lock");
        assert_eq!(LockFile::read(&path).unwrap_err().kind(), ErrorKind::PathNotFound);
        let mut lock = LockFile::read_or_new(&path).unwrap();
        lock.set(&Reference::parse_tag("debian:12").unwrap(), digest("a"));
        lock.set(&Reference::parse_tag("localhost:5000/x/y:V1.0_z-").unwrap(), digest("b"));
        lock.write().unwrap();
        let again = LockFile::read(&path).unwrap();
        assert_eq!(again, lock);
        assert_eq!(again.pin("docker.io/library/debian:12"), Some(&digest("a")));
        assert_eq!(again.pin("docker.io/library/debian:13"), None);
        assert_eq!(again.pins.len(), 2);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
        let link = dir.path().join("link");
        std::os::unix::fs::symlink("coble.lock", &link).unwrap();
        let mut lock = LockFile::read(&link).unwrap();
        lock.set(&Reference::parse_tag("debian:12").unwrap(), digest("c"));
        lock.write().unwrap();
        assert!(link.symlink_metadata().unwrap().is_symlink());
        let error = LockFile::read(&path).unwrap().drift("debian:12", &digest("c"), "sha256:1");
        assert_eq!(error.kind(), ErrorKind::DigestDrift);
        assert!(error.to_string().contains(digest("c").as_str()) && error.to_string().contains("sha256:1"));
    }

    #[test]
    fn what_is_not_a_lock_file() {
        let pin = |digest: &Digest| format!("[[image]]\nreference=\"a\"\ndigest=\"{digest}\"\n");
        let (one, two) = (pin(&digest("1")), pin(&digest("2")));
        let parse = |text: &str| LockFile::parse(text, Path::new("coble.lock"));
        assert!(parse("version = 1").is_ok());
        assert!(parse(&format!("version = 1\n{one}{one}")).is_ok());
        for text in [
            "",
            "version = 2",
            "version = \"1\"",
            "version = 1\nimages = []",
            "version = 1\n[[image]]\nreference = \"a\"",
            "version = 1\n[[image]]\nreference = \"A B\"\ndigest = \"sha256:00\"",
            "version = 1\nimage = 3",
            &one,
            &format!("version = 1\n{one}{two}"),
        ] {
            assert_eq!(parse(text).unwrap_err().kind(), ErrorKind::InvalidArgument, "{text}");
        }
    }
}
