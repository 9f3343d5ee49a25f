//! What long calls tell about their progress: counted here, told in order, and not more often than somebody could look.

use std::io::Read;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::{Serialize, Serializer};

use crate::distribution::Telling;
use crate::oci::Digest;

/// How far a long call is, or what a registry said beside the answer to another one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Progress {
    /// What happened.
    pub kind: ProgressKind,
    /// What the call is about: the canonical name of an image, a repository or a registry, the name of a container, the path of an archive or of a store.
    pub reference: String,
    /// The blob that it is about, or in a scrub the layer, by its chain id. None: all of it.
    pub digest: Option<String>,
    /// Bytes of it that are done.
    pub current: u64,
    /// Its bytes; 0: unknown.
    pub total: u64,
    /// Bytes that are done of everything that the call moves, reads or checks.
    pub overall_current: u64,
    /// Bytes of all of that; 0: unknown yet, or none.
    pub overall_total: u64,
    /// More about it, for people.
    pub message: Option<String>,
}

/// What happened in a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ProgressKind {
    /// The name was looked up: the message is the digest that it stands for, the totals are known.
    Resolve,
    /// A blob begins to move; `current` is not 0 if part of it is there from an attempt before.
    BlobStart,
    /// A blob moves.
    BlobProgress,
    /// A blob has arrived, verified.
    BlobDone,
    /// A blob is there already.
    BlobCached,
    /// The registry took a blob from another of its repositories.
    BlobMounted,
    /// A part was read of what an image or an archive is made of: an archive, a container's files, or those of the host.
    Read,
    /// A part of the store was checked.
    Check,
    /// A layer begins to be unpacked.
    Unpack,
    /// A layer is unpacked and verified.
    UnpackDone,
    /// A request failed and is made again; the message says why and when.
    Retry,
    /// The registry asks for patience, or says how many requests are left.
    RateLimit,
    /// Something that is worth knowing, and was not essential.
    Warning,
    /// The end of a call that succeeded.
    Done,
}

impl ProgressKind {
    /// Every kind.
    pub const ALL: &'static [ProgressKind] = &[
        ProgressKind::Resolve,
        ProgressKind::BlobStart,
        ProgressKind::BlobProgress,
        ProgressKind::BlobDone,
        ProgressKind::BlobCached,
        ProgressKind::BlobMounted,
        ProgressKind::Read,
        ProgressKind::Check,
        ProgressKind::Unpack,
        ProgressKind::UnpackDone,
        ProgressKind::Retry,
        ProgressKind::RateLimit,
        ProgressKind::Warning,
        ProgressKind::Done,
    ];

    /// The name: `resolve`, `blob-start`, ...
    pub const fn name(self) -> &'static str {
        match self {
            ProgressKind::Resolve => "resolve",
            ProgressKind::BlobStart => "blob-start",
            ProgressKind::BlobProgress => "blob-progress",
            ProgressKind::BlobDone => "blob-done",
            ProgressKind::BlobCached => "blob-cached",
            ProgressKind::BlobMounted => "blob-mounted",
            ProgressKind::Read => "read",
            ProgressKind::Check => "check",
            ProgressKind::Unpack => "unpack",
            ProgressKind::UnpackDone => "unpack-done",
            ProgressKind::Retry => "retry",
            ProgressKind::RateLimit => "rate-limit",
            ProgressKind::Warning => "warning",
            ProgressKind::Done => "done",
        }
    }
}

impl ProgressKind {
    /// Whether there is one for every few bytes, so that not all of them are told.
    const fn is_step(self) -> bool {
        matches!(self, ProgressKind::BlobProgress | ProgressKind::Read | ProgressKind::Check)
    }
}

impl Serialize for ProgressKind {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

/// Gets the progress of a call, on the threads that do the work, one call at a time. It must be quick: the work waits for it. Calls to registries that move no
/// blobs tell it of retries, rate limits and warnings.
pub type ProgressSink<'a> = &'a (dyn Fn(&Progress) + Sync);

/// How often the steps of one thing are told.
pub(crate) const INTERVAL: Duration = Duration::from_millis(100);

/// The progress of one call.
pub(crate) struct Reporter<'a> {
    reference: String,
    sink: ProgressSink<'a>,
    overall: Mutex<Overall>,
}

#[derive(Default)]
struct Overall {
    current: u64,
    total: u64,
}

/// The word, which one thread has at a time.
struct Word<'a> {
    overall: MutexGuard<'a, Overall>,
    // Until after the other is given back.
    _telling: Telling,
}

/// The progress of one blob, or of what the call reads.
pub(crate) struct Meter<'a> {
    reporter: &'a Reporter<'a>,
    digest: Option<Digest>,
    total: u64,
    state: Mutex<Moved>,
}

struct Moved {
    current: u64,
    told: Instant,
}

impl<'a> Reporter<'a> {
    pub(crate) fn new(reference: &str, sink: ProgressSink<'a>) -> Reporter<'a> {
        Reporter { reference: reference.to_owned(), sink, overall: Mutex::default() }
    }

    /// Waits for the word. What the caller does with what it is told may take long, for all who wait as well.
    fn word(&self) -> Word<'_> {
        let telling = Telling::begin();
        Word { overall: self.overall.lock().unwrap_or_else(PoisonError::into_inner), _telling: telling }
    }

    /// Tells something about the call as a whole.
    pub(crate) fn tell(&self, kind: ProgressKind, message: Option<String>) {
        self.emit(&self.word(), kind, None, (0, 0), message);
    }

    /// Tells something about a blob.
    pub(crate) fn blob(&self, kind: ProgressKind, digest: &Digest, current: u64, total: u64) {
        self.emit(&self.word(), kind, Some(digest), (current, total), None);
    }

    /// Says how much has to be moved in all.
    pub(crate) fn expect(&self, total: u64) {
        let mut word = self.word();
        word.overall.total = total;
        word.overall.current = word.overall.current.min(total);
    }

    /// Says that so much more has to be moved.
    pub(crate) fn expect_more(&self, bytes: u64) {
        let mut word = self.word();
        word.overall.total = word.overall.total.saturating_add(bytes);
    }

    /// One of a call whose caller does not want to know.
    pub(crate) fn silent() -> Reporter<'static> {
        Reporter::new("", &|_| {})
    }

    /// The meter of a blob.
    pub(crate) fn meter(&'a self, digest: &Digest, total: u64) -> Meter<'a> {
        self.of(Some(digest.clone()), total)
    }

    /// The meter of what the call reads, of so many bytes; 0: unknown.
    pub(crate) fn source(&'a self, total: u64) -> Meter<'a> {
        self.expect_more(total);
        let meter = self.of(None, total);
        meter.tell(ProgressKind::Read);
        meter
    }

    fn of(&'a self, digest: Option<Digest>, total: u64) -> Meter<'a> {
        let state = Mutex::new(Moved { current: 0, told: Instant::now() });
        Meter { reporter: self, digest, total, state }
    }

    fn emit(
        &self,
        Word { overall, .. }: &Word<'_>,
        kind: ProgressKind,
        digest: Option<&Digest>,
        (current, total): (u64, u64),
        message: Option<String>,
    ) {
        (self.sink)(&Progress {
            kind,
            reference: self.reference.clone(),
            digest: digest.map(Digest::to_string),
            current,
            total,
            overall_current: overall.current,
            overall_total: overall.total,
            message,
        });
    }
}

impl Meter<'_> {
    /// Tells that the blob is so far now, which may also be less than before.
    pub(crate) fn at(&self, current: u64, kind: ProgressKind) {
        let mut state = self.state();
        self.set(&mut state, current, kind, !kind.is_step());
    }

    /// Tells that so many more bytes are done.
    pub(crate) fn advance(&self, bytes: u64, kind: ProgressKind) {
        let mut state = self.state();
        let current = state.current.saturating_add(bytes);
        self.set(&mut state, current, kind, !kind.is_step());
    }

    /// Tells how far it is, whenever it was told last.
    pub(crate) fn tell(&self, kind: ProgressKind) {
        let mut state = self.state();
        let current = state.current;
        self.set(&mut state, current, kind, true);
    }

    /// What a reader gives, counted.
    pub(crate) fn reader<R: Read>(&self, input: R, kind: ProgressKind) -> Counted<'_, R> {
        Counted { input, meter: self, kind }
    }

    fn state(&self) -> MutexGuard<'_, Moved> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, state: &mut Moved, current: u64, kind: ProgressKind, always: bool) {
        let mut word = self.reporter.word();
        let overall = &mut *word.overall;
        overall.current = overall.current.saturating_sub(state.current).saturating_add(current);
        if overall.total > 0 {
            overall.current = overall.current.min(overall.total);
        }
        state.current = current;
        if !always && state.told.elapsed() < INTERVAL {
            return;
        }
        state.told = Instant::now();
        self.reporter.emit(&word, kind, self.digest.as_ref(), (current, self.total), None);
    }
}

/// A reader whose bytes are counted.
pub(crate) struct Counted<'a, R> {
    input: R,
    meter: &'a Meter<'a>,
    kind: ProgressKind,
}

impl<R: Read> Read for Counted<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = self.input.read(buffer)?;
        self.meter.advance(count as u64, self.kind);
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn totals_add_up_and_are_not_told_too_often() {
        let told = Mutex::new(Vec::new());
        let sink = |progress: &Progress| told.lock().unwrap().push(progress.clone());
        let reporter = Reporter::new("example.com/a:1", &sink);
        reporter.expect(30);
        let (one, two) = (reporter.meter(&Digest::of(b"1"), 10), reporter.meter(&Digest::of(b"2"), 20));
        one.at(0, ProgressKind::BlobStart);
        for at in 1..10 {
            one.at(at, ProgressKind::BlobProgress);
        }
        one.at(10, ProgressKind::BlobDone);
        two.at(5, ProgressKind::BlobStart);
        two.at(0, ProgressKind::BlobStart);
        two.at(20, ProgressKind::BlobDone);
        let told = told.into_inner().unwrap();
        let overall: Vec<u64> = told.iter().map(|progress| progress.overall_current).collect();
        assert_eq!(overall, [0, 10, 15, 10, 30]);
        assert!(told.iter().all(|progress| progress.overall_total == 30));
        let json = serde_json::to_value(told.first().unwrap()).unwrap();
        assert_eq!((json["kind"].as_str(), json["total"].as_u64()), (Some("blob-start"), Some(10)));
    }
}
