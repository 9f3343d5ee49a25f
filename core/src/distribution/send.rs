//! Sending blobs to a repository: what it has is left out, what another of its registry's repositories has is mounted, the rest is sent.

use std::io::Read;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::progress::Reporter;
use super::{Client, ProgressKind, Pushed, Reopen};
use crate::error::{Context, Result};
use crate::halt::Halt;
use crate::oci::Digest;
use crate::process::spawn_helper;

/// Gives the content of a blob from an offset on.
pub(super) type Open<'a> = dyn Fn(u64) -> Result<Box<dyn Read + 'a>> + Sync + 'a;

/// A blob that the repository has to have.
pub(super) struct Outgoing<'a> {
    pub(super) digest: Digest,
    pub(super) size: u64,
    /// Paths of repositories of the same registry that may have it.
    pub(super) elsewhere: Vec<String>,
    pub(super) open: Box<Open<'a>>,
}

impl Reopen for Outgoing<'_> {
    fn open_at(&self, offset: u64) -> Result<Box<dyn Read + '_>> {
        (self.open)(offset)
    }
}

/// What became of a blob.
#[derive(Clone, Copy)]
enum Fate {
    Present,
    Mounted,
    Sent,
}

/// Sends blobs to one repository.
pub(super) struct Sender<'a> {
    pub(super) client: &'a Client<'a>,
    pub(super) reporter: &'a Reporter<'a>,
    pub(super) halt: &'a Halt,
    pub(super) chunk: Option<u64>,
    pub(super) jobs: usize,
}

impl Sender<'_> {
    /// Sends everything, and counts what was done in `pushed`.
    pub(super) fn send(&self, blobs: &[Outgoing<'_>], pushed: &mut Pushed) -> Result<()> {
        self.reporter.expect(blobs.iter().map(|blob| blob.size).sum());
        let next = AtomicUsize::new(0);
        let counted = Mutex::new(std::mem::take(pushed));
        let work = || {
            while let Some(blob) = blobs.get(next.fetch_add(1, Ordering::Relaxed)) {
                if self.halt.check().is_err() {
                    return;
                }
                match self.one(blob).context(|| format!("blob {}", blob.digest)) {
                    Ok(sent) => {
                        let mut counted = counted.lock().unwrap_or_else(PoisonError::into_inner);
                        match sent {
                            Fate::Present => counted.blobs_present += 1,
                            Fate::Mounted => counted.blobs_mounted += 1,
                            Fate::Sent => {
                                counted.blobs_sent += 1;
                                counted.bytes_sent += blob.size;
                            }
                        }
                    }
                    Err(error) => return self.halt.fail(error),
                }
            }
        };
        std::thread::scope(|scope| {
            for _ in 1..self.jobs.min(blobs.len()) {
                // With fewer threads it only takes longer.
                if spawn_helper(scope, "coble-send", work).is_err() {
                    break;
                }
            }
            work();
        });
        *pushed = counted.into_inner().unwrap_or_else(PoisonError::into_inner);
        self.halt.check()
    }

    fn one(&self, blob: &Outgoing<'_>) -> Result<Fate> {
        let Outgoing { digest, size, .. } = blob;
        let meter = self.reporter.meter(digest, *size);
        if self.client.blob_exists(digest)? {
            meter.at(*size, ProgressKind::BlobCached);
            return Ok(Fate::Present);
        }
        for from in &blob.elsewhere {
            if self.client.mount(digest, Some(from))? {
                meter.at(*size, ProgressKind::BlobMounted);
                return Ok(Fate::Mounted);
            }
        }
        meter.at(0, ProgressKind::BlobStart);
        self.client.upload(digest, *size, blob, self.chunk, &|sent| {
            meter.at(sent, ProgressKind::BlobProgress);
        })?;
        meter.at(*size, ProgressKind::BlobDone);
        Ok(Fate::Sent)
    }
}
