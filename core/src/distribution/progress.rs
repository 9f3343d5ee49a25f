//! What a transfer tells about its progress: counted here, told in order, and not more often than somebody could look.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::net::Telling;
use super::{Event, Progress, ProgressKind, ProgressSink};
use crate::oci::Digest;

/// How often the progress of a blob is told.
const INTERVAL: Duration = Duration::from_millis(100);

/// The progress of one transfer.
pub(super) struct Reporter<'a> {
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

/// The progress of one blob.
pub(super) struct Meter<'a> {
    reporter: &'a Reporter<'a>,
    digest: Digest,
    total: u64,
    state: Mutex<Moved>,
}

struct Moved {
    current: u64,
    told: Instant,
}

impl<'a> Reporter<'a> {
    pub(super) fn new(reference: &str, sink: ProgressSink<'a>) -> Reporter<'a> {
        Reporter { reference: reference.to_owned(), sink, overall: Mutex::default() }
    }

    /// Waits for the word. What the caller does with what it is told may take long, for all who wait as well.
    fn word(&self) -> Word<'_> {
        let telling = Telling::begin();
        Word { overall: self.overall.lock().unwrap_or_else(PoisonError::into_inner), _telling: telling }
    }

    /// Tells something about the transfer as a whole.
    pub(super) fn tell(&self, kind: ProgressKind, message: Option<String>) {
        self.emit(&self.word(), kind, None, (0, 0), message);
    }

    /// Tells something about a blob.
    pub(super) fn blob(&self, kind: ProgressKind, digest: &Digest, current: u64, total: u64) {
        self.emit(&self.word(), kind, Some(digest), (current, total), None);
    }

    /// Says how much has to be moved in all.
    pub(super) fn expect(&self, total: u64) {
        let mut word = self.word();
        word.overall.total = total;
        word.overall.current = word.overall.current.min(total);
    }

    /// Says that so much more has to be moved.
    pub(super) fn expect_more(&self, bytes: u64) {
        let mut word = self.word();
        word.overall.total = word.overall.total.saturating_add(bytes);
    }

    /// What a client tells.
    pub(super) fn event(&self, event: Event) {
        match event {
            Event::Retry { what, attempt, delay, cause } => {
                let seconds = delay.as_secs_f64();
                let message = format!("{what}: {cause}; attempt {attempt} in {seconds:.1} s");
                self.tell(ProgressKind::Retry, Some(message));
            }
            Event::RateLimit { limit, remaining, period } => {
                let number = |value: Option<u64>| value.map_or("?".to_owned(), |value| value.to_string());
                let mut message = format!("{} of {} requests are left", number(remaining), number(limit));
                if let Some(period) = period {
                    message.push_str(&format!(", in {} s", period.as_secs()));
                }
                self.tell(ProgressKind::RateLimit, Some(message));
            }
            Event::Warning(message) => self.tell(ProgressKind::Warning, Some(message)),
        }
    }

    /// The meter of a blob.
    pub(super) fn meter(&'a self, digest: &Digest, total: u64) -> Meter<'a> {
        let state = Mutex::new(Moved { current: 0, told: Instant::now() });
        Meter { reporter: self, digest: digest.clone(), total, state }
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
    pub(super) fn at(&self, current: u64, kind: ProgressKind) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let mut word = self.reporter.word();
        let overall = &mut *word.overall;
        overall.current = overall.current.saturating_sub(state.current).saturating_add(current);
        if overall.total > 0 {
            overall.current = overall.current.min(overall.total);
        }
        state.current = current;
        if kind == ProgressKind::BlobProgress && state.told.elapsed() < INTERVAL {
            return;
        }
        state.told = Instant::now();
        self.reporter.emit(&word, kind, Some(&self.digest), (current, self.total), None);
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
