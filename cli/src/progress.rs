//! The progress of a transfer for people, on standard error: bars on a terminal, a line for each blob elsewhere, as docker words it.

use std::collections::HashMap;
use std::io::IsTerminal;
use std::sync::{Mutex, MutexGuard, PoisonError};

use coble::{Progress, ProgressKind};
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::output;

/// What is going on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verb {
    Pull,
    Push,
    Copy,
}

/// Shows the progress of one transfer, until it is dropped.
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

struct Bars {
    all: MultiProgress,
    overall: ProgressBar,
}

#[derive(Default)]
struct State {
    blobs: HashMap<String, Blob>,
    /// The name and the digest that it stands for, once they are known.
    resolved: Option<(String, String)>,
}

/// A blob on a terminal.
struct Blob {
    bar: ProgressBar,
    /// Its unpacking has begun, which may be before all of it is there.
    unpacking: bool,
}

impl Show {
    pub(crate) fn new(verb: Verb, quiet: bool) -> Show {
        let display = match (quiet, std::io::stderr().is_terminal()) {
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
                if let Some(digest) = &progress.message {
                    self.state().resolved = Some((progress.reference.clone(), digest.clone()));
                }
                let verb = match self.verb {
                    Verb::Pull => "Pulling from",
                    Verb::Push => "Pushing to",
                    Verb::Copy => "Copying",
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
        let Some(digest) = &progress.digest else { return };
        match &self.display {
            Some(Display::Bars(bars)) => bars.tell(&mut self.state(), self.verb, digest, progress),
            Some(Display::Lines) => {
                if let Some(word) = finished(self.verb, progress.kind) {
                    output::note(format_args!("{}: {word}", output::short_id(digest)));
                }
            }
            None => {}
        }
    }
}

impl Drop for Show {
    fn drop(&mut self) {
        if let Some(Display::Bars(bars)) = &self.display {
            for blob in self.state().blobs.values().filter(|blob| !blob.bar.is_finished()) {
                blob.bar.abandon();
            }
            bars.overall.finish_and_clear();
        }
    }
}

/// What docker says of a blob that has got this far, where it says something.
fn finished(verb: Verb, kind: ProgressKind) -> Option<&'static str> {
    Some(match (verb, kind) {
        (Verb::Pull, ProgressKind::BlobStart) => "Pulling fs layer",
        (Verb::Pull, ProgressKind::BlobDone) => "Download complete",
        (Verb::Pull, ProgressKind::UnpackDone) => "Pull complete",
        (Verb::Pull, ProgressKind::BlobCached) => "Already exists",
        (Verb::Push, ProgressKind::BlobDone) => "Pushed",
        (Verb::Copy, ProgressKind::BlobDone) => "Copied",
        (Verb::Push | Verb::Copy, ProgressKind::BlobCached) => "Layer already exists",
        (_, ProgressKind::BlobMounted) => "Mounted",
        _ => return None,
    })
}

impl Bars {
    fn new() -> Bars {
        let all = MultiProgress::with_draw_target(ProgressDrawTarget::stderr());
        let overall = all.add(ProgressBar::no_length());
        overall.set_style(style("{bytes} of {total_bytes}, {bytes_per_sec}, {eta} left"));
        Bars { all, overall }
    }

    fn tell(&self, state: &mut State, verb: Verb, digest: &str, progress: &Progress) {
        if progress.overall_total > 0 {
            self.overall.set_length(progress.overall_total);
            self.overall.set_position(progress.overall_current);
        }
        let blob = state.blobs.entry(digest.to_owned()).or_insert_with(|| {
            let bar = self.all.insert_before(&self.overall, ProgressBar::no_length());
            bar.set_prefix(output::short_id(digest));
            Blob { bar, unpacking: false }
        });
        let bar = &blob.bar;
        match progress.kind {
            ProgressKind::BlobStart | ProgressKind::BlobProgress => {
                bar.set_style(
                    style("{prefix}: {msg:<11} [{bar:40}] {bytes}/{total_bytes}").progress_chars("=> "),
                );
                bar.set_message(match verb {
                    Verb::Pull => "Downloading",
                    Verb::Push => "Pushing",
                    Verb::Copy => "Copying",
                });
                bar.set_length(progress.total.max(progress.current));
                bar.set_position(progress.current);
                return;
            }
            ProgressKind::Unpack => {
                blob.unpacking = true;
                // Its bar goes on as long as it comes in.
                if bar.position() < bar.length().unwrap_or(0) {
                    return;
                }
            }
            _ => {}
        }
        // A layer that has arrived is unpacked to its end.
        let arrived = matches!(progress.kind, ProgressKind::Unpack | ProgressKind::BlobDone);
        let goes_on = verb == Verb::Pull && arrived;
        let word = if goes_on && blob.unpacking { Some("Extracting") } else { finished(verb, progress.kind) };
        if let Some(word) = word {
            bar.set_style(style("{prefix}: {msg}"));
            bar.set_message(word);
            if !goes_on {
                bar.finish();
            }
        }
    }
}

/// A style whose template is one of those above.
fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}
