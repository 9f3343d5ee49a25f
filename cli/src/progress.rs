//! The progress of a long call for people, on standard error: bars on a terminal, a line for each blob elsewhere, as docker words it.

use std::collections::HashMap;
use std::io::IsTerminal;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use coble::{CancelToken, Error, Progress, ProgressKind};
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::output::{self, Failure};
use crate::signals::cancellable;

/// What is going on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verb {
    Pull,
    Push,
    Copy,
    Load,
    Save,
    Import,
    Commit,
    Export,
    Check,
}

impl Verb {
    /// What is done to a blob, or to what is read.
    const fn doing(self) -> &'static str {
        match self {
            Verb::Pull => "Downloading",
            Verb::Push => "Pushing",
            Verb::Copy => "Copying",
            Verb::Load => "Loading",
            Verb::Save => "Saving",
            Verb::Import => "Importing",
            Verb::Commit => "Committing",
            Verb::Export => "Exporting",
            Verb::Check => "Checking",
        }
    }
}

/// How often somebody without bars is told how much was read.
const QUIET: Duration = Duration::from_secs(10);

/// Shows the progress of one call, until it is dropped.
pub(crate) struct Show {
    verb: Verb,
    /// What is shown; None: nothing.
    display: Option<Display>,
    state: Mutex<State>,
}

enum Display {
    Bars(Bars),
    Lines,
}

/// How far everything together is.
const OVERALL: &str = "{decimal_bytes} of {decimal_total_bytes}, {decimal_bytes_per_sec}, {eta} left";

struct Bars {
    all: MultiProgress,
    overall: ProgressBar,
}

#[derive(Default)]
struct State {
    blobs: HashMap<String, Blob>,
    /// What there is to say if the registry is asked at all.
    before: Option<String>,
    /// The name and the digest that it stands for, once they are known.
    resolved: Option<(String, String)>,
    /// When a line last said how much was read.
    told: Option<Instant>,
}

/// How far a blob is. A layer is unpacked while it comes in, so that its two ends may come in either order.
#[derive(Default)]
struct Blob {
    begun: bool,
    /// What there was to say when it was there.
    arrived: Option<&'static str>,
    unpacking: bool,
    unpacked: bool,
    bar: Option<ProgressBar>,
}

const COMPLETE: &str = "Pull complete";
const EXTRACTED: &str = "Extracted";

impl Blob {
    /// Goes on, and says what docker says then, line by line.
    fn step(&mut self, verb: Verb, kind: ProgressKind) -> Vec<&'static str> {
        let arrived = match (verb, kind) {
            (Verb::Pull, ProgressKind::BlobStart) if !self.begun => {
                self.begun = true;
                return vec!["Pulling fs layer"];
            }
            (_, ProgressKind::Unpack) => {
                self.unpacking = true;
                return Vec::new();
            }
            // What was read whole before, with other blobs or none.
            (Verb::Load | Verb::Import | Verb::Commit, ProgressKind::UnpackDone) => {
                self.unpacked = true;
                return vec![EXTRACTED];
            }
            (_, ProgressKind::UnpackDone) => {
                self.unpacked = true;
                return if self.arrived.is_some() { vec![COMPLETE] } else { Vec::new() };
            }
            (Verb::Pull, ProgressKind::BlobDone) => "Download complete",
            (Verb::Pull, ProgressKind::BlobCached) => "Already exists",
            (Verb::Push, ProgressKind::BlobDone) => "Pushed",
            (Verb::Copy, ProgressKind::BlobDone) => "Copied",
            (Verb::Load, ProgressKind::BlobDone) => "Loaded",
            (Verb::Save, ProgressKind::BlobDone) => "Saved",
            (_, ProgressKind::BlobCached) => "Layer already exists",
            (_, ProgressKind::BlobMounted) => "Mounted",
            _ => return Vec::new(),
        };
        self.arrived = Some(arrived);
        if self.unpacked { vec![arrived, COMPLETE] } else { vec![arrived] }
    }

    /// What it is doing now; None: it moves.
    fn word(&self, verb: Verb) -> Option<&'static str> {
        if matches!(verb, Verb::Load | Verb::Import | Verb::Commit) {
            return match (self.unpacking, self.unpacked) {
                (_, true) => Some(EXTRACTED),
                (true, _) => Some("Extracting"),
                _ => self.arrived,
            };
        }
        let arrived = self.arrived?;
        Some(match (self.unpacking, self.unpacked) {
            (_, true) => COMPLETE,
            (true, _) => "Extracting",
            _ => arrived,
        })
    }
}

impl Show {
    pub(crate) fn new(verb: Verb, quiet: bool) -> Show {
        // Bars need a terminal that can move its cursor.
        let moves = std::env::var_os("TERM").is_some_and(|term| term != "dumb");
        let display = match (quiet, std::io::stderr().is_terminal() && moves) {
            (true, _) => None,
            (false, true) => Some(Display::Bars(Bars::new())),
            (false, false) => Some(Display::Lines),
        };
        Show { verb, display, state: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The canonical name and the digest that it stands for, if the transfer came so far.
    pub(crate) fn resolved(&self) -> Option<(String, String)> {
        self.state().resolved.clone()
    }

    /// Says something before everything else, if there is anything else.
    pub(crate) fn before(&self, text: String) {
        self.state().before = Some(text);
    }

    /// Says something above the bars.
    fn say(&self, text: &str) {
        match &self.display {
            Some(Display::Bars(bars)) => drop(bars.all.println(text)),
            Some(Display::Lines) => output::note(text),
            None => {}
        }
    }

    /// The sink of the transfer.
    pub(crate) fn tell(&self, progress: &Progress) {
        let message = progress.message.as_deref().map(output::printable);
        match progress.kind {
            ProgressKind::Resolve => {
                let before = self.state().before.take();
                if let Some(before) = before {
                    self.say(&before);
                }
                if let Some(digest) = &progress.message {
                    self.state().resolved = Some((progress.reference.clone(), digest.clone()));
                }
                let verb = match self.verb {
                    Verb::Pull => "Pulling from",
                    Verb::Push => "Pushing to",
                    verb => verb.doing(),
                };
                let (repository, tag) = output::split_reference(&progress.reference);
                self.say(&output::printable(&format!("{tag}: {verb} {repository}")));
            }
            // Known even to who wants no bars.
            ProgressKind::Warning if self.display.is_none() => {
                output::note(format_args!("warning: {}", message.unwrap_or_default()));
            }
            ProgressKind::Warning => self.say(&format!("warning: {}", message.unwrap_or_default())),
            ProgressKind::Retry | ProgressKind::RateLimit => self.say(&message.unwrap_or_default()),
            _ => {}
        }
        let Some(display) = &self.display else { return };
        if matches!(progress.kind, ProgressKind::Read | ProgressKind::Check) {
            return self.read(display, progress);
        }
        let Some(digest) = &progress.digest else { return };
        let mut state = self.state();
        let blob = state.blobs.entry(digest.clone()).or_default();
        let lines = blob.step(self.verb, progress.kind);
        match display {
            Display::Bars(bars) => bars.draw(blob, self.verb, digest, progress),
            Display::Lines => lines
                .iter()
                .for_each(|word| output::note(format_args!("{}: {word}", output::short_id(digest)))),
        }
    }

    /// Shows how much was read, or checked, of everything.
    fn read(&self, display: &Display, progress: &Progress) {
        let (current, total) = (progress.overall_current, progress.overall_total);
        match display {
            Display::Bars(bars) => bars.read(self.verb, current, total),
            Display::Lines => {
                let mut state = self.state();
                let told = state.told.get_or_insert_with(Instant::now);
                if told.elapsed() < QUIET {
                    return;
                }
                *told = Instant::now();
                let size = output::size;
                let of = if total > 0 { format!(" of {}", size(total)) } else { String::new() };
                output::note(format_args!("{}: {}{of}", self.verb.doing(), size(current)));
            }
        }
    }
}

/// Makes a call that shows how far it is, and that a signal cancels.
pub(crate) fn shown<T>(
    verb: Verb,
    quiet: bool,
    call: impl FnOnce(&(dyn Fn(&Progress) + Sync), &CancelToken) -> Result<T, Error>,
) -> Result<T, Failure> {
    let show = Show::new(verb, quiet);
    cancellable(|cancel| call(&|progress| show.tell(progress), cancel))
}

/// What a registry says beside the answer to a call that moves nothing.
pub(crate) fn hear(progress: &Progress) {
    let message = || output::printable(progress.message.as_deref().unwrap_or_default());
    match progress.kind {
        ProgressKind::Warning => output::note(format_args!("warning: {}", message())),
        ProgressKind::Retry => output::note(message()),
        _ => {}
    }
}

impl Drop for Show {
    fn drop(&mut self) {
        if let Some(Display::Bars(bars)) = &self.display {
            for bar in self.state().blobs.values().filter_map(|blob| blob.bar.as_ref()) {
                bar.abandon();
            }
            bars.overall.finish_and_clear();
        }
    }
}

impl Bars {
    fn new() -> Bars {
        let all = MultiProgress::with_draw_target(ProgressDrawTarget::stderr());
        let overall = all.add(ProgressBar::no_length());
        overall.set_style(style(OVERALL));
        Bars { all, overall }
    }

    fn read(&self, verb: Verb, current: u64, total: u64) {
        self.overall.set_message(verb.doing());
        if total > 0 {
            self.overall
                .set_style(style(&format!("{{msg:<11}} [{{bar:40}}] {OVERALL}")).progress_chars("=> "));
            self.overall.set_length(total);
        } else {
            self.overall.set_style(style("{msg}: {decimal_bytes}, {decimal_bytes_per_sec}"));
        }
        self.overall.set_position(current);
    }

    fn draw(&self, blob: &mut Blob, verb: Verb, digest: &str, progress: &Progress) {
        if progress.overall_total > 0 {
            self.overall.set_length(progress.overall_total);
            self.overall.set_position(progress.overall_current);
        }
        let word = blob.word(verb);
        let bar = blob.bar.get_or_insert_with(|| {
            let bar = self.all.insert_before(&self.overall, ProgressBar::no_length());
            bar.set_prefix(output::short_id(digest));
            bar
        });
        if let Some(word) = word {
            bar.set_style(style("{prefix}: {msg}"));
            bar.set_message(word);
            // A tick draws it as it is now.
            bar.tick();
        } else if matches!(progress.kind, ProgressKind::BlobStart | ProgressKind::BlobProgress) {
            bar.set_style(
                style("{prefix}: {msg:<11} [{bar:40}] {decimal_bytes}/{decimal_total_bytes}")
                    .progress_chars("=> "),
            );
            bar.set_message(verb.doing());
            bar.set_length(progress.total.max(progress.current));
            bar.set_position(progress.current);
        }
    }
}

/// A style whose template is one of those above.
fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_layer_is_complete_when_both_of_its_ends_have_come() {
        use ProgressKind::{BlobCached, BlobDone, BlobProgress, BlobStart, Unpack, UnpackDone};
        let lines = |verb: Verb, kinds: &[ProgressKind]| {
            let mut blob = Blob::default();
            let lines: Vec<_> = kinds.iter().flat_map(|kind| blob.step(verb, *kind)).collect();
            (lines, blob.word(verb))
        };
        let whole = vec!["Pulling fs layer", "Download complete", "Pull complete"];
        let begun = [BlobStart, Unpack, BlobStart, BlobProgress];
        for ends in [[BlobDone, UnpackDone], [UnpackDone, BlobDone]] {
            let kinds: Vec<_> = begun.into_iter().chain(ends).collect();
            assert_eq!(lines(Verb::Pull, &kinds), (whole.clone(), Some("Pull complete")));
        }
        assert_eq!(lines(Verb::Pull, &begun), (vec!["Pulling fs layer"], None));
        assert_eq!(lines(Verb::Pull, &[BlobStart, BlobDone]).1, Some("Download complete"));
        assert_eq!(lines(Verb::Pull, &[BlobStart, Unpack, BlobDone]).1, Some("Extracting"));
        assert_eq!(
            lines(Verb::Pull, &[BlobCached, Unpack, UnpackDone]).0,
            ["Already exists", "Pull complete"]
        );
        assert_eq!(lines(Verb::Load, &[Unpack, UnpackDone]), (vec!["Extracted"], Some("Extracted")));
        assert_eq!(lines(Verb::Load, &[BlobStart, BlobDone, Unpack]), (vec!["Loaded"], Some("Extracting")));
        assert_eq!(lines(Verb::Push, &[BlobStart, BlobProgress, BlobDone]), (vec!["Pushed"], Some("Pushed")));
    }
}
