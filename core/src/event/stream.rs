//! Reading events, one after the other.

use std::collections::VecDeque;
use std::time::{SystemTime, UNIX_EPOCH};

use super::filter::Filters;
use super::watch::{Look, Watch};
use super::{Event, EventOptions};
use crate::cancel::CancelToken;
use crate::container;
use crate::engine::{Engine, Inner};
use crate::error::{Error, ErrorKind, Result};
use crate::state::events;

/// Events that are read at once.
const BATCH: usize = 256;

/// What happens to containers and images. A stream sees every event once, in the order of their ids, or tells that it has missed some.
#[derive(Debug)]
pub struct EventStream {
    engine: Engine,
    filters: Filters,
    since: Option<u64>,
    until: Option<SystemTime>,
    /// The last event that was read.
    after: u64,
    /// That is where the stream was, so that what is missing behind it was to be read. Otherwise it begins with what there is.
    placed: bool,
    /// None: what is there, and no more.
    watch: Option<Watch>,
    ready: VecDeque<Event>,
    complete: bool,
}

impl EventStream {
    pub(super) fn open(engine: Engine, options: &EventOptions) -> Result<EventStream> {
        let filters = Filters::parse(&options.filters)?;
        let nanos = |time: SystemTime| {
            let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
            u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
        };
        let (watch, after, placed) = {
            let inner = &*engine.inner()?;
            // The watch comes first, so that nothing falls between it and the first look.
            let watch = options.follow.then(|| Watch::new(inner)).transpose()?;
            let only_new = options.since.is_none() && options.after.is_none() && options.follow;
            let after = match only_new {
                true => inner.store.db.read(events::newest)?,
                false => options.after.unwrap_or(0),
            };
            // What happened while nobody looked.
            container::look_at_running(inner)?;
            (watch, after, only_new || after > 0)
        };
        Ok(EventStream {
            engine,
            filters,
            since: options.since.map(nanos),
            until: options.until,
            after,
            placed,
            watch,
            ready: VecDeque::new(),
            complete: false,
        })
    }

    /// The next event. None at the end: of what there is, or when the time is over. Waits only when following.
    ///
    /// Fails with [`ErrorKind::EventsLost`], once, if events were dropped that were still to be read, since more than are kept came after them; the next call goes on with the oldest one that is kept.
    pub fn next(&mut self, cancel: &CancelToken) -> Result<Option<Event>> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Ok(Some(event));
            }
            cancel.check()?;
            let inner = self.engine.inner()?;
            if self.read(&inner)? {
                continue;
            }
            let Some(watch) = &mut self.watch else {
                self.complete = true;
                return Ok(None);
            };
            if self.complete {
                return Ok(None);
            }
            match watch.wait(self.until, cancel)? {
                Look::At(containers) => {
                    for id in containers {
                        container::look_at(&inner, &id)?;
                    }
                }
                Look::Everything => container::look_at_running(&inner)?,
                // One more look, for what came until then.
                Look::End => self.complete = true,
            }
        }
    }

    /// The next event that is on record already, without waiting for one. None says nothing about the end. Fails as [`EventStream::next`] does.
    pub fn try_next(&mut self) -> Result<Option<Event>> {
        if self.ready.is_empty() {
            let inner = self.engine.inner()?;
            while self.ready.is_empty() && self.read(&inner)? {}
        }
        Ok(self.ready.pop_front())
    }

    /// Reads more. False if there was nothing.
    fn read(&mut self, inner: &Inner) -> Result<bool> {
        let rows = inner.store.db.read(|connection| events::after(connection, self.after, BATCH))?;
        let (Some(first), Some(last)) = (rows.first(), rows.last()) else { return Ok(false) };
        // Ids have no gaps but those of events that were dropped.
        let lost = first.id.saturating_sub(self.after).saturating_sub(1);
        if std::mem::replace(&mut self.placed, true) && lost > 0 {
            self.after = first.id - 1;
            return Err(events_lost(lost));
        }
        self.after = last.id;
        let wanted = rows
            .into_iter()
            .filter(|row| self.since.is_none_or(|since| row.time >= since) && self.filters.admits(row));
        let events = wanted.map(Event::of).filter(|event| self.until.is_none_or(|until| event.time < until));
        self.ready.extend(events);
        Ok(true)
    }
}

fn events_lost(count: u64) -> Error {
    let text = match count {
        1 => "an event was dropped before it was read".to_owned(),
        count => format!("{count} events were dropped before they were read"),
    };
    Error::new(ErrorKind::EventsLost, text)
        .with_hint("the stream goes on with the oldest event that is kept; look at what you follow once more")
}
