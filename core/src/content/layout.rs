//! The two files that make the content directory an OCI image layout.

use std::io::Write;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;

use super::Content;
use crate::error::{Call, Error, ErrorKind, Result};
use crate::oci::{Descriptor, Document, Index, media_type, parse_document};
use crate::state::{Session, open_dir};

pub(crate) const LAYOUT: &[u8] = br#"{"imageLayoutVersion":"1.0.0"}"#;
const TEMPORARY: &str = "index.json";

impl Content {
    /// Writes the files of an empty layout; the caller holds the gate exclusively.
    pub(crate) fn make_layout(data: &OwnedFd, data_path: &Path) -> Result<()> {
        let path = data_path.join("content");
        let dir = open_dir(data, "content", data_path)?;
        for (name, bytes) in [("oci-layout", LAYOUT.to_vec()), ("index.json", index_bytes(&[])?)] {
            // Written from the start if it is there: an earlier attempt may have been cut short.
            match rustix::fs::unlinkat(&dir, name, AtFlags::empty()) {
                Ok(()) | Err(Errno::NOENT) => {}
                Err(errno) => return Err(Error::syscall("unlink", path.join(name), errno.raw_os_error())),
            }
            write_new(&dir, name, &bytes, &path)?;
        }
        rustix::fs::fsync(&dir).call("fsync", &path)
    }

    /// Replaces `index.json`. Called inside the transaction that changed names.
    pub(crate) fn write_index(&self, session: &Session, entries: &[Descriptor]) -> Result<()> {
        self.replace_index(session.dir(), &session.path, &index_bytes(entries)?)
    }

    /// Replaces `index.json` if it is not what it should be; `dir` takes the temporary file.
    pub(crate) fn write_index_if_changed(
        &self,
        dir: &OwnedFd,
        path: &Path,
        entries: &[Descriptor],
    ) -> Result<()> {
        let wanted = index_bytes(entries)?;
        match self.index_now() {
            Ok(found) if found == wanted => Ok(()),
            _ => self.replace_index(dir, path, &wanted),
        }
    }

    /// Reads `index.json`.
    pub(crate) fn read_index(&self) -> Result<Document> {
        // Our own file may list more images than a foreign one, so that its size has no bound here.
        let bytes = self.index_now()?;
        if bytes.len() as u64 <= crate::oci::MAX_DOCUMENT {
            return parse_document(&bytes, None, "index.json");
        }
        let index: OwnIndex = serde_json::from_slice(&bytes)
            .map_err(|error| Error::new(ErrorKind::InvalidImage, format!("index.json: {error}")))?;
        Ok(Document::Index(Index {
            schema_version: 2,
            media_type: media_type::INDEX.into(),
            manifests: index.manifests,
        }))
    }

    fn index_now(&self) -> Result<Vec<u8>> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let path = self.path.join("index.json");
        let file = rustix::fs::openat(&self.dir, "index.json", flags, Mode::empty()).call("open", &path)?;
        let mut bytes = Vec::new();
        std::io::Read::read_to_end(&mut std::fs::File::from(file), &mut bytes).call("read", &path)?;
        Ok(bytes)
    }

    fn replace_index(&self, dir: &OwnedFd, path: &Path, bytes: &[u8]) -> Result<()> {
        match rustix::fs::unlinkat(dir, TEMPORARY, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(errno) => return Err(Error::syscall("unlink", path.join(TEMPORARY), errno.raw_os_error())),
        }
        write_new(dir, TEMPORARY, bytes, path)?;
        rustix::fs::renameat(dir, TEMPORARY, &self.dir, "index.json")
            .call("rename", self.path.join("index.json"))?;
        rustix::fs::fsync(&self.dir).call("fsync", &self.path)
    }
}

#[derive(serde::Deserialize)]
struct OwnIndex {
    manifests: Vec<Descriptor>,
}

/// An index of these entries.
pub(crate) fn index_bytes(entries: &[Descriptor]) -> Result<Vec<u8>> {
    let index =
        Index { schema_version: 2, media_type: media_type::INDEX.into(), manifests: entries.to_vec() };
    serde_json::to_vec(&index)
        .map_err(|error| Error::new(ErrorKind::Internal, format!("writing index.json: {error}")))
}

fn write_new(dir: &OwnedFd, name: &str, bytes: &[u8], parent: &Path) -> Result<()> {
    let mode = Mode::RUSR | Mode::WUSR;
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let path = parent.join(name);
    let fd = rustix::fs::openat(dir, name, flags, mode).call("open", &path)?;
    rustix::fs::fchmod(&fd, mode).call("fchmod", &path)?;
    let mut file = std::fs::File::from(fd);
    file.write_all(bytes).call("write", &path)?;
    file.sync_all().call("fsync", &path)
}
