//! Sending blobs to a repository: what it has is left out, what another of its registry's repositories has is mounted, the rest is sent.

use std::collections::HashSet;
use std::sync::mpsc::{self, Receiver, channel};
use std::sync::{Mutex, PoisonError};

use super::progress::Reporter;
use super::{Client, Opened, ProgressKind, Pushed, Reopen};
use crate::error::{Context, Error, Result};
use crate::halt::Halt;
use crate::oci::Digest;
use crate::process::spawn_helper;

/// Gives the content of a blob from an offset on, for a host that it is sent to.
pub(super) type Open<'a> = dyn Fn(u64, &str) -> Result<Opened<'a>> + Send + Sync + 'a;

/// Whether a blob that could not be sent is worth another try.
pub(super) type Again<'a> = dyn Fn(&Error) -> bool + Send + Sync + 'a;

/// A blob that the repository has to have.
pub(super) struct Outgoing<'a> {
    pub(super) digest: Digest,
    pub(super) size: u64,
    /// Paths of repositories of the same registry that may have it.
    pub(super) elsewhere: Vec<String>,
    pub(super) open: Box<Open<'a>>,
    /// Whether it can be had from somewhere else after this error, if it may come from several places.
    pub(super) again: Option<Box<Again<'a>>>,
}

impl Reopen for Outgoing<'_> {
    fn open_at(&self, offset: u64, target: &str) -> Result<Opened<'_>> {
        (self.open)(offset, target)
    }
}

/// What is to be sent, each blob once.
pub(super) struct Queue<'a, 'b> {
    reporter: &'a Reporter<'a>,
    sender: mpsc::Sender<Outgoing<'b>>,
    given: Mutex<HashSet<Digest>>,
}

impl<'b> Queue<'_, 'b> {
    pub(super) fn add(&self, blob: Outgoing<'b>) {
        let mut given = self.given.lock().unwrap_or_else(PoisonError::into_inner);
        if given.insert(blob.digest.clone()) {
            self.reporter.expect_more(blob.size);
            // Nobody takes it any more when sending has failed.
            let _ = self.sender.send(blob);
        }
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
    pub(super) fn send(&self, blobs: Vec<Outgoing<'_>>, pushed: &mut Pushed) -> Result<()> {
        self.send_from(pushed, |queue| {
            blobs.into_iter().for_each(|blob| queue.add(blob));
            Ok(())
        })
    }

    /// Sends what `make` adds to the queue while it makes more, and counts what was done in `pushed`.
    pub(super) fn send_from<'b, T>(
        &self,
        pushed: &mut Pushed,
        make: impl FnOnce(&Queue<'_, 'b>) -> Result<T>,
    ) -> Result<T> {
        let (sender, receiver) = channel::<Outgoing<'b>>();
        let receiver = Mutex::new(receiver);
        let counted = Mutex::new(std::mem::take(pushed));
        let work = || self.work(&receiver, &counted);
        let made = std::thread::scope(|scope| {
            // This thread is one of them when all is made. With fewer it only takes longer.
            for _ in 1..self.jobs {
                if spawn_helper(scope, "coble-send", work).is_err() {
                    break;
                }
            }
            // Owned here, so that the threads end when all is made, and also if making it panics.
            let queue = Queue { reporter: self.reporter, sender, given: Mutex::default() };
            let made = make(&queue);
            drop(queue);
            match made {
                Ok(_) => work(),
                // What is being sent is of no use any more.
                Err(_) => self.halt.token().cancel(),
            }
            made
        });
        *pushed = counted.into_inner().unwrap_or_else(PoisonError::into_inner);
        let made = made?;
        self.halt.check()?;
        Ok(made)
    }

    fn work(&self, queue: &Mutex<Receiver<Outgoing<'_>>>, counted: &Mutex<Pushed>) {
        let _part = self.halt.part();
        loop {
            let next = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
            let Ok(blob) = next else { return };
            if self.halt.check().is_err() {
                return;
            }
            match self.one(&blob).context(|| format!("blob {}", blob.digest)) {
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
        let upload = || {
            self.client.upload(digest, *size, blob, self.chunk, &|sent| {
                meter.at(sent, ProgressKind::BlobProgress);
            })
        };
        match upload() {
            Err(error) if blob.again.as_ref().is_some_and(|again| again(&error)) => {
                let text = format!("{}; sending it anew", error.message());
                self.reporter.tell(ProgressKind::Retry, Some(text));
                upload()?;
            }
            result => result?,
        }
        meter.at(*size, ProgressKind::BlobDone);
        Ok(Fate::Sent)
    }
}
