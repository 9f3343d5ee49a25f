//! A blob of one registry that is sent on to another one: read from wherever it can be had, and verified on its way.

use std::io::Read;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::blob::BlobBody;
use super::elsewhere::Elsewhere;
use super::{Client, Opened, local};
use crate::content::mismatch;
use crate::error::{Error, ErrorKind, Result};
use crate::oci::{Descriptor, Digest, Hasher};

/// The blob.
pub(super) struct Foreign<'a> {
    from: &'a Client<'a>,
    pub(super) digest: Digest,
    pub(super) size: u64,
    elsewhere: Elsewhere,
    seen: Mutex<Seen>,
}

/// What was read of it.
#[derive(Default)]
struct Seen {
    /// Of everything up to `at`; None if something was left out, or if it is proven.
    hasher: Option<Hasher>,
    at: u64,
    /// Whether a mirror sent some of it.
    mirrored: bool,
    /// Which of its URLs sent the last of it, if one did.
    url: Option<usize>,
}

impl<'a> Foreign<'a> {
    pub(super) fn new(from: &'a Client<'a>, descriptor: &Descriptor) -> Foreign<'a> {
        let Descriptor { digest, size, .. } = descriptor;
        let elsewhere = Elsewhere::of(descriptor);
        Foreign { from, digest: digest.clone(), size: *size, elsewhere, seen: Mutex::default() }
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The blob from an offset on, with a turn to send it to the target meanwhile: a body that waited for one might be cut off. Who reads it to its end gets an error before the last bytes if all of it, which may have come in several pieces, is not what it
    /// should be. Where pieces overlap only the target can tell.
    pub(super) fn open(&self, offset: u64, target: &str) -> Result<Opened<'_>> {
        let Foreign { from, digest, size, elsewhere, .. } = self;
        let mut body = from.blob_or_elsewhere(digest, (offset, *size), elsewhere, Some(target))?;
        // A registry that does not know ranges begins at the beginning.
        let skip = offset.saturating_sub(body.offset());
        if skip > 0 {
            let copied = std::io::copy(&mut Read::take(&mut body, skip), &mut std::io::sink())
                .map_err(|error| Error::of_read(error, digest.as_str()))?;
            if copied < skip {
                return Err(local::cut(digest, copied, *size));
            }
        }
        let mut seen = self.seen();
        if offset == 0 {
            *seen = Seen { hasher: Some(Hasher::new(digest.algorithm())), ..Seen::default() };
        } else if seen.at != offset {
            seen.hasher = None;
        }
        seen.mirrored |= body.mirror().is_some();
        seen.url = body.url;
        drop(seen);
        let turn = body.take_turn();
        Ok(Opened { reader: Box::new(Source { blob: self, body, at: offset }), turn })
    }

    /// Whether it is worth another try after this error, since a mirror or one of several URLs may be to blame, which is not asked again.
    pub(super) fn is_elsewhere(&self, error: &Error) -> bool {
        let mut seen = self.seen();
        let wrong = error.kind() == ErrorKind::DigestMismatch;
        let blamed = wrong && std::mem::take(&mut seen.mirrored);
        let url = seen.url.take().filter(|place| wrong && self.elsewhere.has_more(*place));
        drop(seen);
        if let Some(place) = url {
            self.elsewhere.give_up(place);
            return true;
        }
        if blamed {
            self.from.distrust_mirrors(error.message());
        }
        blamed
    }

    /// Takes note of what was read, and fails when all of it was and it is something else.
    fn note(&self, at: u64, bytes: &[u8]) -> Result<()> {
        let mut seen = self.seen();
        let Seen { hasher: Some(hasher), at: known, .. } = &mut *seen else { return Ok(()) };
        if *known != at {
            seen.hasher = None;
            return Ok(());
        }
        hasher.update(bytes);
        *known += bytes.len() as u64;
        if *known < self.size {
            return Ok(());
        }
        let found = seen.hasher.take().map(Hasher::finish);
        match found {
            Some(found) if found != self.digest => Err(mismatch(&self.digest, &found)),
            _ => Ok(()),
        }
    }
}

/// The blob as it comes. A mirror that stops in the middle is not asked again for the rest.
struct Source<'a> {
    blob: &'a Foreign<'a>,
    body: BlobBody,
    at: u64,
}

impl Read for Source<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let result = self.body.read(buffer);
        if let (Err(error), Some(mirror)) = (&result, self.body.mirror())
            && error.kind() != std::io::ErrorKind::Interrupted
        {
            self.blob.from.give_up_mirror(mirror, &error.to_string());
        }
        let count = result?;
        self.blob.note(self.at, buffer.get(..count).unwrap_or_default()).map_err(std::io::Error::other)?;
        self.at += count as u64;
        Ok(count)
    }
}
