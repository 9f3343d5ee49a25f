//! What happens to containers, images and volumes, told to any process that shares the store. An event is a row that is written with the change it tells of; nothing runs for
//! the sake of events.

mod filter;
mod stream;
mod watch;

pub use stream::EventStream;

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};

use crate::container;
use crate::engine::{Engine, Inner};
use crate::error::{Context, Result};
use crate::state::containers;
use crate::state::events::EventRow;

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Event {
    /// Grows from event to event, in the order in which they went on record, and is never used again.
    pub id: u64,
    /// When it happened. What nobody was there to see, such as the end of a container, may go on record later than what happened after it.
    pub time: SystemTime,
    /// What it happened to: `container`, `image` or `volume`.
    pub kind: String,
    /// What happened, in docker's words, such as `start`, `die`, `exec_create: ls -l` or `health_status: healthy`.
    pub action: String,
    /// The id of the container or image, the name of the volume, or for `pull` and `push` the image's name.
    pub actor: String,
    /// More about it: `name`, `image`, `exitCode`, `signal`, `execID` and so on, and the labels of the container or image. If these have more than 8 KiB,
    /// those that a container has from its image are left out, and if that is not enough, all.
    pub attributes: BTreeMap<String, String>,
}

impl Event {
    /// The event as docker's API has it.
    pub fn to_docker(&self) -> Value {
        let since = self.time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let container = self.kind == "container";
        let mut value = json!({
            "Type": self.kind,
            "Action": self.action,
            "Actor": { "ID": self.actor, "Attributes": self.attributes },
            "scope": "local",
            "time": since.as_secs(),
            "timeNano": u64::try_from(since.as_nanos()).unwrap_or(u64::MAX),
        });
        if let (true, Some(map)) = (container || self.kind == "image", value.as_object_mut()) {
            map.insert("status".to_owned(), json!(self.action));
            map.insert("id".to_owned(), json!(self.actor));
            if let (true, Some(image)) = (container, self.attributes.get("image")) {
                map.insert("from".to_owned(), json!(image));
            }
        }
        value
    }

    fn of(row: EventRow) -> Event {
        let EventRow { id, time, kind, action, actor, attributes } = row;
        Event {
            id,
            time: SystemTime::UNIX_EPOCH + Duration::from_nanos(time),
            kind,
            action,
            actor,
            attributes,
        }
    }
}

/// Which events are wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct EventOptions {
    /// Those from this time on. With neither this nor `after`: those that are still to come, or without `follow` all that are kept.
    pub since: Option<SystemTime>,
    /// Those before this time: a stream ends then.
    pub until: Option<SystemTime>,
    /// Those with greater ids than this one: to go on where another stream has ended. If some of these are not kept any more, the stream begins with [`ErrorKind::EventsLost`](crate::ErrorKind::EventsLost).
    /// 0 is all that are kept.
    pub after: Option<u64>,
    /// Conditions of the form `key=value`, as docker has them: `container` (the beginning of a name or id), `event`, `image`, `label`, `type`, `volume` (a name). All keys are to be
    /// met; of several values for one key one is enough, except for labels.
    pub filters: Vec<String>,
    /// Wait for more. Otherwise the stream ends with what there is.
    pub follow: bool,
}

impl EventOptions {
    /// Events from now on.
    pub fn new() -> EventOptions {
        EventOptions { follow: true, ..EventOptions::default() }
    }
}

impl Engine {
    /// What happens to containers, images and volumes, whichever process does it. Events are kept for a week, and at most 20,000 of them; a stream that is further behind tells so
    /// ([`ErrorKind::EventsLost`](crate::ErrorKind::EventsLost)) and goes on.
    pub fn events(&self, options: &EventOptions) -> Result<EventStream> {
        EventStream::open(self.clone(), options).context(|| "reading events".to_owned())
    }
}

/// Records an event of a container that changes nothing else in the database. One that cannot be recorded is no reason for what it tells of to fail.
pub(crate) fn note(inner: &Inner, id: &str, action: &str, extra: &[(&str, String)]) {
    // What happened before goes on record before.
    let _ = container::look_at(inner, id);
    let _ = containers::note(&inner.store.db, id, action, extra);
}
