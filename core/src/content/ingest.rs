//! Blobs on their way in.

use std::fs::File;
use std::io::{Read, Seek, Write};

use rustix::fs::{Mode, OFlags};

use super::mismatch;
use crate::cancel::CancelToken;
use crate::error::{Call, Error, ErrorKind, Result};
use crate::oci::{Algorithm, Compression, Digest, Hasher};
use crate::progress::{Meter, ProgressKind};
use crate::state::{Session, random_hex};

/// Bytes that are moved at once.
const CHUNK: usize = 256 * 1024;

/// A complete file of a session.
#[derive(Debug, Clone)]
pub(crate) struct Staged {
    pub(super) name: String,
    /// SHA-256 of what was written.
    pub(crate) digest: Digest,
    pub(crate) size: u64,
    head: [u8; 10],
}

impl Staged {
    /// Opens the file for reading.
    pub(crate) fn open(&self, session: &Session) -> Result<File> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let path = session.path.join(&self.name);
        Ok(rustix::fs::openat(session.dir(), &self.name, flags, Mode::empty()).call("open", path)?.into())
    }

    /// Removes the file.
    pub(crate) fn discard(&self, session: &Session) -> Result<()> {
        session.discard(&self.name)
    }

    /// Reads the whole file, if it is not longer than the limit.
    pub(crate) fn read(&self, session: &Session, limit: u64, what: &str) -> Result<Vec<u8>> {
        if self.size > limit {
            return Err(Error::new(
                ErrorKind::LimitExceeded,
                format!("\"{what}\" is larger than {limit} bytes"),
            )
            .with_object(what));
        }
        let mut bytes = Vec::new();
        self.open(session)?
            .take(limit)
            .read_to_end(&mut bytes)
            .call("read", session.path.join(&self.name))?;
        Ok(bytes)
    }

    /// Checks the content against a digest, whatever its algorithm.
    pub(crate) fn check(&self, session: &Session, expected: &Digest) -> Result<()> {
        let found = match expected.algorithm() {
            Algorithm::Sha256 => self.digest.clone(),
            algorithm => {
                let mut hasher = Hasher::new(algorithm);
                let mut file = self.open(session)?;
                let mut buffer = vec![0; CHUNK];
                loop {
                    let n = file.read(&mut buffer).call("read", session.path.join(&self.name))?;
                    if n == 0 {
                        break hasher.finish();
                    }
                    hasher.update(buffer.get(..n).unwrap_or_default());
                }
            }
        };
        if found == *expected { Ok(()) } else { Err(mismatch(expected, &found)) }
    }

    /// How a layer with this content is compressed, by its first bytes. Everything that is not gzip or zstd counts as plain.
    pub(crate) fn compression(&self) -> Compression {
        match self.head {
            [0x1f, 0x8b, ..] => Compression::Gzip,
            // A frame, or one that is to be skipped.
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Compression::Zstd,
            _ => Compression::None,
        }
    }
}

/// A file of a session that is being written and hashed.
pub(crate) struct Writer<'a> {
    session: &'a Session,
    name: String,
    file: File,
    hasher: Hasher,
    size: u64,
    head: [u8; 10],
}

/// Begins a file.
pub(crate) fn writer(session: &Session) -> Result<Writer<'_>> {
    let name = random_hex(8)?;
    let file = session.create(&name)?.into();
    Ok(Writer { session, name, file, hasher: Hasher::new(Algorithm::Sha256), size: 0, head: [0; 10] })
}

impl Writer<'_> {
    /// Appends bytes.
    pub(crate) fn append(&mut self, bytes: &[u8]) -> Result<()> {
        self.file.write_all(bytes).call("write", self.session.path.join(&self.name))?;
        self.hasher.update(bytes);
        if let Some(rest) = usize::try_from(self.size).ok().and_then(|size| self.head.get_mut(size..)) {
            for (to, from) in rest.iter_mut().zip(bytes) {
                *to = *from;
            }
        }
        self.size += bytes.len() as u64;
        Ok(())
    }

    /// Appends everything a reader has.
    pub(crate) fn append_all(
        &mut self,
        input: &mut dyn Read,
        what: &str,
        cancel: &CancelToken,
    ) -> Result<()> {
        let mut buffer = vec![0; CHUNK];
        loop {
            cancel.check()?;
            let n = match input.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(n) => n,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(cancel.check().err().unwrap_or_else(|| read_error(&error, what))),
            };
            self.append(buffer.get(..n).unwrap_or_default())?;
        }
    }

    /// The complete file. It is not synced yet.
    pub(crate) fn finish(self) -> Staged {
        Staged { name: self.name, digest: self.hasher.finish(), size: self.size, head: self.head }
    }
}

/// Copies a reader into a session.
pub(crate) fn stage(
    session: &Session,
    input: &mut dyn Read,
    what: &str,
    cancel: &CancelToken,
) -> Result<Staged> {
    let mut writer = writer(session)?;
    let result = writer.append_all(input, what, cancel);
    let name = writer.name.clone();
    match result {
        Ok(()) => Ok(writer.finish()),
        Err(error) => {
            let _ = session.discard(&name);
            Err(error)
        }
    }
}

/// Copies a file that is announced to have this digest and size.
pub(crate) fn stage_from(
    session: &Session,
    file: &mut File,
    (expected, size): (&Digest, u64),
    what: &str,
    meter: &Meter<'_>,
    cancel: &CancelToken,
) -> Result<Staged> {
    let wrong = |found: String| {
        Error::new(ErrorKind::DigestMismatch, format!("\"{what}\" has {found} bytes instead of {size}"))
            .with_object(what)
    };
    let found = file.seek(std::io::SeekFrom::End(0)).call("lseek", what)?;
    if found != size {
        return Err(wrong(found.to_string()));
    }
    file.rewind().call("lseek", what)?;
    let mut input = meter.reader(file.take(size.saturating_add(1)), ProgressKind::BlobProgress);
    let staged = stage(session, &mut input, what, cancel)?;
    if staged.size != size {
        return Err(wrong(staged.size.to_string()));
    }
    staged.check(session, expected)?;
    Ok(staged)
}

/// Writes bytes into a session.
pub(crate) fn stage_bytes(session: &Session, bytes: &[u8]) -> Result<Staged> {
    let mut writer = writer(session)?;
    writer.append(bytes)?;
    Ok(writer.finish())
}

/// The error of reading a source. Errors of our own pass through.
pub(crate) fn read_error(error: &std::io::Error, what: &str) -> Error {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<Wrapped>()) {
        Some(wrapped) => wrapped.take(),
        None => match error.raw_os_error() {
            Some(_) => Error::io("read", what, error),
            None => Error::new(ErrorKind::InvalidArchive, format!("\"{what}\": {error}")).with_object(what),
        },
    }
}

/// The error of writing an output. Errors of our own pass through.
pub(crate) fn write_error(error: &std::io::Error, what: &str) -> Error {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<Wrapped>()) {
        Some(wrapped) => wrapped.take(),
        None => Error::io("write", what, error),
    }
}

/// An [`Error`] that travels through code which knows only the standard library's errors.
#[derive(Debug)]
pub(crate) struct Wrapped(std::sync::Mutex<Option<Error>>);

impl Wrapped {
    pub(crate) fn io(error: Error) -> std::io::Error {
        std::io::Error::other(Wrapped(std::sync::Mutex::new(Some(error))))
    }

    fn take(&self) -> Error {
        let mut inner = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        inner.take().unwrap_or_else(|| Error::new(ErrorKind::Internal, "an error was taken twice"))
    }
}

impl std::fmt::Display for Wrapped {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("error of the engine")
    }
}

impl std::error::Error for Wrapped {}
