//! Programs of the container that the kernel has killed for want of memory, noticed while it runs: also one that is not the container's first process.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::PollFlags;

/// With version 1 the kernel tells that there is no memory before it kills somebody: how long he is looked for, and how often.
const LOOKING: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_millis(20);

/// What is watched.
#[derive(Debug)]
pub(crate) struct Oom {
    /// Where the kernel counts them. With version 2 it also tells of changes there.
    counter: OwnedFd,
    /// Where it tells that there is no memory, with version 1.
    event: Option<OwnedFd>,
    seen: u64,
    /// When to look next, and until when.
    due: Option<(Instant, Instant)>,
}

impl Oom {
    /// Of a container of which `seen` are known.
    pub(crate) fn new(counter: OwnedFd, event: Option<OwnedFd>, seen: u64) -> Oom {
        Oom { counter, event, seen, due: None }
    }

    /// What to wait for.
    pub(crate) fn wanted(&self) -> (BorrowedFd<'_>, PollFlags) {
        match &self.event {
            Some(event) => (event.as_fd(), PollFlags::IN),
            None => (self.counter.as_fd(), PollFlags::PRI),
        }
    }

    /// How long until somebody should look again.
    pub(crate) fn left(&self, now: Instant) -> Option<Duration> {
        self.due.map(|(next, _)| next.saturating_duration_since(now))
    }

    pub(crate) fn is_due(&self, now: Instant) -> bool {
        self.due.is_some_and(|(next, _)| next <= now)
    }

    /// The kernel has told something.
    pub(crate) fn told(&mut self, now: Instant) {
        if let Some(event) = &self.event {
            // A count of eight bytes; a descriptor that has none has nothing to read.
            let _ = rustix::io::retry_on_intr(|| rustix::io::read(event, &mut [0; 8]));
            self.due = Some((now, now + LOOKING));
        }
    }

    /// Whether there are more than before. None: nobody counts any more.
    pub(crate) fn look(&mut self, now: Instant) -> Option<bool> {
        let more = self.count()? > self.seen;
        if more {
            self.seen = self.count()?;
        }
        self.due = match self.due {
            Some((_, end)) if !more && now < end => Some((now + PAUSE, end)),
            _ => None,
        };
        Some(more)
    }

    /// Counts from here.
    pub(crate) fn forget(&mut self) {
        self.seen = self.count().unwrap_or(0);
    }

    /// How many there are.
    fn count(&self) -> Option<u64> {
        let mut text = [0; 512];
        let read = rustix::io::pread(&self.counter, &mut text, 0).ok()?;
        coble_protocol::oom_kills(text.get(..read)?)
    }

    pub(crate) fn seen(&self) -> u64 {
        self.seen
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn what_is_counted_later_is_looked_for() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"low 0\noom_kill 1\n").unwrap();
        let event = rustix::event::eventfd(1, rustix::event::EventfdFlags::NONBLOCK).unwrap();
        let mut oom = Oom::new(file.try_clone().unwrap().into(), Some(event), 1);
        let now = Instant::now();
        assert_eq!((oom.look(now), oom.left(now)), (Some(false), None));
        oom.told(now);
        assert!(oom.is_due(now));
        assert_eq!(oom.look(now), Some(false));
        assert!(!oom.is_due(now) && oom.is_due(now + PAUSE));
        rustix::io::pwrite(&file, b"low 0\noom_kill 3\n", 0).unwrap();
        assert_eq!((oom.look(now + PAUSE), oom.seen()), (Some(true), 3));
        assert_eq!((oom.look(now), oom.left(now)), (Some(false), None));
        oom.told(now);
        assert_eq!((oom.look(now + LOOKING), oom.left(now)), (Some(false), None));
    }
}
