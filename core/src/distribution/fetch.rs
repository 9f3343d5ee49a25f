//! Fetching blobs into the store: several at once, each by one thread or process, from where an earlier attempt ended, and readable while they come in.

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::pipe::SpliceFlags;

use super::blob::BlobBody;
use super::elsewhere::Elsewhere;
use super::progress::{Meter, Reporter};
use super::{Client, ProgressKind, local};
use crate::content::{Partial, mismatch};
use crate::error::{Context, Error, ErrorKind, Result};
use crate::halt::Halt;
use crate::oci::{Descriptor, Digest, Hasher};
use crate::process::{Deadline, poll};
use crate::state::{Pause, Store};

/// Bytes that are read at once.
const CHUNK: usize = 256 * 1024;
/// How often somebody who waits looks whether the work has ended.
const TICK: Duration = Duration::from_millis(50);
/// With this many bytes an attempt got on.
const PROGRESS: u64 = 64 * 1024;
/// Attempts one after the other that do not get on, if the caller does not say.
const RETRIES: u32 = 5;
/// Somebody else has to get so far in that time, or is not waited for.
const WATCHED: u64 = 256 * 1024;
const WATCH: Duration = Duration::from_secs(20);
/// The first pause between attempts, and the longest.
const PAUSE: Duration = Duration::from_millis(200);
const PAUSE_MAX: Duration = Duration::from_secs(10);

/// A blob that is wanted.
pub(super) struct Blob {
    pub(super) digest: Digest,
    pub(super) size: u64,
    /// Whether it is one of those that had to be moved when the work began.
    pub(super) missing: bool,
    /// Where it may be had, if the registry does not have it.
    elsewhere: Elsewhere,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// The file that has it, as far as it is there, until the store has it: there may be more blobs than descriptors.
    file: Option<Arc<File>>,
    available: u64,
    /// All of it is there, and it is what it should be.
    verified: bool,
    /// It is a blob of the store.
    stored: bool,
    /// How often it was begun anew, because what had come in was not what it should be.
    generation: u32,
}

impl Blob {
    pub(super) fn new(descriptor: &Descriptor, missing: bool) -> Blob {
        Blob {
            digest: descriptor.digest.clone(),
            size: descriptor.size,
            missing,
            elsewhere: Elsewhere::of(descriptor),
            state: Mutex::default(),
            changed: Condvar::new(),
        }
    }

    fn update(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.lock());
        self.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until something is so; `look` gives what the caller wants to know.
    fn wait<T>(&self, halt: &Halt, mut look: impl FnMut(&State) -> Option<T>) -> Result<T> {
        let mut state = self.lock();
        loop {
            if let Some(found) = look(&state) {
                return Ok(found);
            }
            halt.check()?;
            let waited = self.changed.wait_timeout(state, TICK);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Waits until there is something to read. Whether everything is there, and the generation.
    pub(super) fn begun(&self, halt: &Halt) -> Result<(bool, u32)> {
        self.wait(halt, |state| {
            (state.stored || state.file.is_some()).then_some((state.verified, state.generation))
        })
    }

    /// Waits until all of it is there and verified. The generation.
    pub(super) fn complete(&self, halt: &Halt) -> Result<u32> {
        self.wait(halt, |state| state.verified.then_some(state.generation))
    }

    /// Waits until it is a blob of the store.
    pub(super) fn stored(&self, halt: &Halt) -> Result<()> {
        self.wait(halt, |state| state.stored.then_some(()))
    }

    /// A descriptor of its own of a file that has everything.
    pub(super) fn whole_file(&self, store: &Store) -> Result<Option<File>> {
        let state = self.lock();
        match &state.file {
            _ if state.stored => self.stored_file(store).map(Some),
            // Workers read from the position of the descriptor, which all copies of it share.
            Some(file) if state.verified => crate::content::reopen(file).map(Some),
            _ => Ok(None),
        }
    }

    fn stored_file(&self, store: &Store) -> Result<File> {
        store.content.open_blob(&self.digest, self.size)
    }

    /// Writes the blob to a pipe as it comes in: to its end, or until nobody reads any more.
    /// If it is begun anew, the pipe ends early.
    pub(super) fn feed(&self, store: &Store, generation: u32, pipe: OwnedFd, halt: &Halt) {
        // An error here is one of the reader or of the fetch, where it is told.
        let _ = self.feed_all(store, generation, &pipe, halt);
    }

    fn feed_all(&self, store: &Store, generation: u32, pipe: &OwnedFd, halt: &Halt) -> Result<()> {
        let fail = |errno: Errno| Error::syscall("splice", self.digest.as_str(), errno.raw_os_error());
        rustix::fs::fcntl_setfl(pipe, OFlags::NONBLOCK).map_err(fail)?;
        let mut at = 0;
        while at < self.size {
            let look = |state: &State| match &state.file {
                _ if state.generation != generation => Some(None),
                _ if state.stored => Some(Some((None, self.size))),
                Some(file) if state.available > at => Some(Some((Some(Arc::clone(file)), state.available))),
                _ if is_abandoned(pipe) => Some(None),
                _ => None,
            };
            let Some((file, available)) = self.wait(halt, look)? else { return Ok(()) };
            let file = match file {
                Some(file) => file,
                None => Arc::new(self.stored_file(store)?),
            };
            while at < available {
                match write_some(&file, at, available, pipe) {
                    Ok(0) => return Ok(()),
                    Ok(count) => at += count as u64,
                    Err(Errno::AGAIN) => {
                        let wanted = [(pipe.as_fd(), PollFlags::OUT)];
                        poll(&wanted, &mut Vec::new(), Deadline::never(), halt.token())?;
                    }
                    Err(Errno::INTR) => {}
                    Err(errno) => return Err(fail(errno)),
                }
            }
        }
        Ok(())
    }
}

/// Whether the other end of a pipe has gone.
fn is_abandoned(pipe: &OwnedFd) -> bool {
    let mut fds = [PollFd::new(pipe, PollFlags::empty())];
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    matches!(rustix::event::poll(&mut fds, Some(&now)), Ok(1..))
}

/// Moves bytes of a file into a pipe, without copying them where the file system can do that.
fn write_some(file: &File, at: u64, end: u64, pipe: &OwnedFd) -> Result<usize, Errno> {
    let most = usize::try_from(end - at).unwrap_or(usize::MAX).min(CHUNK);
    let mut offset = at;
    match rustix::pipe::splice(
        file,
        Some(&mut offset),
        pipe,
        None,
        most,
        SpliceFlags::NONBLOCK | SpliceFlags::MOVE,
    ) {
        Err(Errno::INVAL) => {}
        result => return result,
    }
    let mut buffer = vec![0; most.min(64 * 1024)];
    let count = file
        .read_at(&mut buffer, at)
        .map_err(|error| error.raw_os_error().map_or(Errno::IO, Errno::from_raw_os_error))?;
    rustix::io::write(pipe, buffer.get(..count).unwrap_or_default())
}

/// Fetches blobs of one repository.
pub(super) struct Fetcher<'a> {
    pub(super) store: &'a Store,
    pub(super) client: &'a Client<'a>,
    pub(super) reporter: &'a Reporter<'a>,
    pub(super) halt: &'a Halt,
    pub(super) retries: Option<u32>,
    /// Lowest layers first.
    pub(super) blobs: &'a [Blob],
    next: AtomicUsize,
}

/// Watches somebody else fetch a blob, who may have it from a registry that sends something else, or next to nothing.
struct Watch {
    since: Instant,
    from: u64,
}

impl Watch {
    fn new() -> Watch {
        Watch { since: Instant::now(), from: 0 }
    }

    /// Whether it is better not to wait any more.
    fn is_in_vain(&mut self, at: Option<u64>, size: u64) -> bool {
        // Where it was cleared, or somebody else has it now, it begins again.
        let at = at.unwrap_or(0);
        if at >= self.from.saturating_add(WATCHED) || at < self.from {
            *self = Watch { since: Instant::now(), from: at };
        }
        at > size || self.since.elapsed() > WATCH
    }
}

/// Where the bytes of a blob came from.
#[derive(Debug, Clone, Copy)]
struct Origin {
    /// Whether something was there before.
    found: bool,
    answers: u32,
    /// Whether a mirror sent some of them.
    mirrored: bool,
    /// Which of the blob's URLs sent the last of them, if one did.
    url: Option<usize>,
}

/// Why a blob is not what it should be, or not here.
struct Failed {
    error: Error,
    /// Whether it is not one answer alone.
    composed: bool,
    mirrored: bool,
    url: Option<usize>,
}

impl Origin {
    fn failed(self, error: Error) -> Failed {
        let Origin { found, answers, mirrored, url } = self;
        Failed { error, composed: found || answers > 1, mirrored, url }
    }
}

impl<'a> Fetcher<'a> {
    pub(super) fn new(
        store: &'a Store,
        client: &'a Client<'a>,
        reporter: &'a Reporter<'a>,
        halt: &'a Halt,
        blobs: &'a [Blob],
        retries: Option<u32>,
    ) -> Fetcher<'a> {
        Fetcher { store, client, reporter, halt, retries, blobs, next: AtomicUsize::new(0) }
    }

    /// Fetches blobs until none is left. Any number of threads may do this.
    pub(super) fn work(&self) {
        let _part = self.halt.part();
        while let Some(blob) = self.blobs.get(self.next.fetch_add(1, Ordering::Relaxed)) {
            if self.halt.check().is_err() {
                return;
            }
            if let Err(error) = self.one(blob).context(|| format!("blob {}", blob.digest)) {
                return self.halt.fail(error);
            }
        }
    }

    /// Fetches a blob, or waits for somebody else who does.
    pub(super) fn one(&self, blob: &Blob) -> Result<()> {
        let Blob { digest, size, .. } = blob;
        let meter = self.reporter.meter(digest, *size);
        let mut pause = Pause::default();
        let mut somebody_else = false;
        let mut watch = Watch::new();
        let (partial, beside) = loop {
            if self.store.has_blob(digest, *size)? {
                return self.there(blob, &meter, somebody_else);
            }
            match Partial::lock(self.store, digest, self.halt.token())? {
                Some(partial) => {
                    // The one who had it may have been done with it.
                    if self.store.has_blob(digest, *size)? {
                        partial.discard(self.store)?;
                        return self.there(blob, &meter, somebody_else);
                    }
                    break (partial, false);
                }
                None => {
                    let at = Partial::progress(self.store, digest);
                    if watch.is_in_vain(at, *size)
                        && let Some(partial) = Partial::beside(self.store, digest, self.halt.token())?
                    {
                        break (partial, true);
                    }
                    if let Some(at) = at {
                        let kind =
                            if somebody_else { ProgressKind::BlobProgress } else { ProgressKind::BlobStart };
                        meter.at(at.min(*size), kind);
                        somebody_else = true;
                    }
                    pause.wait(self.halt.token())?;
                }
            }
        };
        let result = self.fetch(blob, &partial, &meter).and_then(|()| {
            blob.update(|state| state.verified = true);
            partial.publish(self.store, digest, *size)
        });
        if let Err(error) = result {
            // What is wrong is of no use, and on a full disk the space is wanted back.
            let useless = beside
                || matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::DigestMismatch)
                || partial.size().is_ok_and(|size| size == 0);
            if useless {
                let _ = partial.discard(self.store);
            }
            return Err(error);
        }
        blob.update(|state| {
            state.stored = true;
            state.file = None;
        });
        meter.at(*size, ProgressKind::BlobDone);
        Ok(())
    }

    /// A blob is in the store.
    fn there(&self, blob: &Blob, meter: &Meter<'_>, waited: bool) -> Result<()> {
        drop(blob.stored_file(self.store)?);
        blob.update(|state| {
            let generation = state.generation;
            *state = State { file: None, available: blob.size, verified: true, stored: true, generation };
        });
        let kind = if waited { ProgressKind::BlobDone } else { ProgressKind::BlobCached };
        if blob.missing {
            meter.at(blob.size, kind);
        } else {
            self.reporter.blob(kind, &blob.digest, blob.size, blob.size);
        }
        Ok(())
    }

    fn fetch(&self, blob: &Blob, partial: &Partial, meter: &Meter<'_>) -> Result<()> {
        let Blob { digest, size, .. } = blob;
        if partial.size()? > *size {
            partial.clear()?;
        }
        let (hasher, at) = partial.hash(digest.algorithm(), self.halt.token())?;
        let file = Arc::new(partial.file()?);
        let begin = |at, generation| {
            let file = Some(Arc::clone(&file));
            blob.update(|state| {
                *state = State { file, available: at, verified: false, stored: false, generation }
            });
            meter.at(at, ProgressKind::BlobStart);
        };
        let (mut from, mut generation) = ((hasher, at), 0);
        loop {
            begin(from.1, generation);
            let Err(failure) = self.bodies(blob, partial, &file, meter, from) else { return Ok(()) };
            let Failed { error, composed, mirrored, url } = failure;
            // What came in pieces may be of different things, and what a mirror sent the registry, and what one URL sent the next may have as it should be: once more, in one go.
            let another = url.is_some_and(|place| blob.elsewhere.has_more(place));
            let again = mirrored || another || (composed && generation == 0);
            if error.kind() != ErrorKind::DigestMismatch || !again {
                return Err(error);
            }
            if let Some(place) = url.filter(|_| another) {
                blob.elsewhere.give_up(place);
            }
            if mirrored {
                self.client.distrust_mirrors(error.message());
            }
            partial.clear()?;
            self.reporter.tell(ProgressKind::Retry, Some(format!("{}; fetching it anew", error.message())));
            generation += 1;
            from = (Hasher::new(digest.algorithm()), 0);
        }
    }

    /// Fetches a blob from an offset on, in as many answers of the registry as it takes.
    fn bodies(
        &self,
        blob: &Blob,
        partial: &Partial,
        file: &File,
        meter: &Meter<'_>,
        (mut hasher, mut at): (Hasher, u64),
    ) -> Result<(), Failed> {
        let Blob { digest, size, .. } = blob;
        let mut origin = Origin { found: at > 0, answers: 0, mirrored: false, url: None };
        let mut buffer = vec![0; CHUNK];
        let mut failures = 0u32;
        while at < *size {
            self.halt.check().map_err(|error| origin.failed(error))?;
            origin.answers += 1;
            let before = at;
            // That it cannot be had at all was tried often enough; what is tried again here is what ends in the middle.
            let mut body = self
                .client
                .blob_or_elsewhere(digest, (at, *size), &blob.elsewhere, None)
                .map_err(|error| origin.failed(error))?;
            origin.mirrored |= body.mirror().is_some();
            origin.url = body.url;
            let other_url = body.url.filter(|place| blob.elsewhere.has_more(*place));
            let read = Self::body(blob, &mut body, &mut at, &mut buffer, |bytes, at| {
                partial.write(file, bytes, at)?;
                hasher.update(bytes);
                let available = at + bytes.len() as u64;
                blob.update(|state| state.available = available);
                meter.at(available, ProgressKind::BlobProgress);
                Ok(())
            });
            let mirror = body.mirror().map(str::to_owned);
            // Whatever comes next, others may use the connection meanwhile.
            drop(body);
            let cut = match read {
                Ok(()) if at == *size => break,
                Ok(()) => local::cut(digest, at, *size),
                Err(error) if error.is_transient() => error,
                // What a mirror cannot give, the registry may, and what one URL cannot, the next.
                Err(error)
                    if (mirror.is_some() || other_url.is_some())
                        && matches!(error.kind(), ErrorKind::Network | ErrorKind::Registry) =>
                {
                    error
                }
                Err(error) => return Err(origin.failed(error)),
            };
            failures = if at - before >= PROGRESS { 1 } else { failures + 1 };
            match mirror {
                Some(mirror) if failures > self.client.mirror_retries() => {
                    self.client.give_up_mirror(&mirror, cut.message());
                    failures = 0;
                    continue;
                }
                None if failures > self.client.mirror_retries()
                    && let Some(place) = other_url =>
                {
                    blob.elsewhere.give_up(place);
                    failures = 0;
                    continue;
                }
                None if failures > self.retries.unwrap_or(RETRIES) => return Err(origin.failed(cut)),
                _ => {}
            }
            let pause = PAUSE.saturating_mul(1 << (failures - 1).min(16)).min(PAUSE_MAX);
            let message = format!("{digest}: {}; going on at byte {at}", cut.message());
            self.reporter.tell(ProgressKind::Retry, Some(message));
            self.halt.pause(pause).map_err(|error| origin.failed(error))?;
        }
        let found = hasher.finish();
        if found == *digest { Ok(()) } else { Err(origin.failed(mismatch(digest, &found))) }
    }

    /// Reads one answer of the registry.
    fn body(
        blob: &Blob,
        body: &mut BlobBody,
        at: &mut u64,
        buffer: &mut [u8],
        mut take: impl FnMut(&[u8], u64) -> Result<()>,
    ) -> Result<()> {
        let Blob { digest, size, .. } = blob;
        // A registry that does not know ranges begins at the beginning.
        let Some(mut skip) = at.checked_sub(body.offset()) else {
            return Err(Error::new(ErrorKind::Registry, "the registry left a part of the blob out")
                .with_object(digest.as_str()));
        };
        loop {
            let count = match std::io::Read::read(body, buffer) {
                Ok(0) => return Ok(()),
                Ok(count) => count,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(Error::of_read(error, digest.as_str())),
            };
            let mut bytes = buffer.get(..count).unwrap_or_default();
            if skip > 0 {
                let dropped = usize::try_from(skip).unwrap_or(usize::MAX).min(bytes.len());
                bytes = bytes.get(dropped..).unwrap_or_default();
                skip -= dropped as u64;
            }
            if bytes.is_empty() {
                continue;
            }
            if bytes.len() as u64 > *size - *at {
                return Err(Error::new(
                    ErrorKind::DigestMismatch,
                    format!("{digest} has more than {size} bytes"),
                )
                .with_object(digest.as_str()));
            }
            take(bytes, *at)?;
            *at += bytes.len() as u64;
        }
    }
}
