//! Rows of events. They are written in the transaction that makes the change, so that there is an event for everything that is on record, and none for what is not.

use std::collections::BTreeMap;

use rusqlite::{Connection, OptionalExtension, Transaction, params};

use coble_protocol::{Exit, Happening, Record};

use super::containers::ContainerRow;
use super::images::signed;
use super::now_nanos;
use crate::error::{Error, ErrorKind, Result};
use crate::oci::{Digest, Reference};

/// How many events are kept, and for how long in nanoseconds.
const KEPT: i64 = 20_000;
const KEPT_FOR: u64 = 7 * 24 * 3600 * 1_000_000_000;
/// How many events come between two prunings.
const ROUND: i64 = 256;
/// The most bytes that an event has of labels: they are in every event of their container, and an image has as many as whoever made it likes.
const LABELS: usize = 8 << 10;

/// An event, as the database has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct EventRow {
    pub(crate) id: u64,
    /// Nanoseconds since the epoch.
    pub(crate) time: u64,
    pub(crate) kind: String,
    pub(crate) action: String,
    pub(crate) actor: String,
    pub(crate) attributes: BTreeMap<String, String>,
}

/// Attributes of one event beside those that belong to its object.
pub(crate) type Extra<'a> = &'a [(&'a str, String)];

/// Adds an event of any kind.
pub(crate) fn add(
    tx: &Transaction<'_>,
    (kind, action, actor): (&str, &str, &str),
    time: u64,
    attributes: &BTreeMap<String, String>,
) -> Result<()> {
    let text = serde_json::to_string(attributes)
        .map_err(|error| Error::new(ErrorKind::Internal, format!("writing an event: {error}")))?;
    tx.prepare_cached(
        "INSERT INTO events (time, kind, action, actor, attributes) VALUES (?1, ?2, ?3, ?4, ?5)",
    )?
    .execute(params![signed(time), kind, action, actor, text])?;
    let id = tx.last_insert_rowid();
    if id % ROUND == 0 {
        // The newest stays, whatever its age, since the next id is one more than the greatest.
        tx.prepare_cached("DELETE FROM events WHERE id <= ?1 OR (id < ?2 AND time < ?3)")?
            .execute(params![id - KEPT, id, signed(now_nanos().saturating_sub(KEPT_FOR))])?;
    }
    Ok(())
}

/// What events show of a container.
pub(crate) struct Subject<'a> {
    id: &'a str,
    /// As docker has it: image, name and labels.
    attributes: BTreeMap<String, String>,
}

impl<'a> Subject<'a> {
    fn new(
        tx: &Transaction<'_>,
        id: &'a str,
        [name, image, image_id, labels]: [&str; 4],
    ) -> Result<Subject<'a>> {
        let mut attributes = match labels {
            "{}" | "" => BTreeMap::new(),
            labels => shown(tx, labels, image_id)?,
        };
        attributes.insert("image".to_owned(), image.to_owned());
        attributes.insert("name".to_owned(), name.to_owned());
        Ok(Subject { id, attributes })
    }
}

impl ContainerRow {
    /// What events show of it.
    pub(crate) fn subject(&self, tx: &Transaction<'_>) -> Result<Subject<'_>> {
        Subject::new(tx, &self.id, [&self.name, &self.image, &self.image_id, &self.labels])
    }
}

/// The labels of a container, in JSON, that events show: of too many only those that it does not have from its image, and of too many of those none.
fn shown(tx: &Transaction<'_>, labels: &str, image: &str) -> Result<BTreeMap<String, String>> {
    let mut all: BTreeMap<String, String> = serde_json::from_str(labels).unwrap_or_default();
    if bytes(&all) > LABELS {
        let image = of_its_image(tx, image)?;
        all.retain(|name, value| image.get(name) != Some(value));
    }
    Ok(if bytes(&all) > LABELS { BTreeMap::new() } else { all })
}

/// The labels of an image; none if there is no such image.
fn of_its_image(tx: &Transaction<'_>, id: &str) -> Result<BTreeMap<String, String>> {
    let labels = tx
        .prepare_cached("SELECT labels FROM images WHERE id = ?1")?
        .query_row([id], |row| row.get::<_, String>(0))
        .optional()?;
    Ok(labels.and_then(|labels| serde_json::from_str(&labels).ok()).unwrap_or_default())
}

fn bytes(labels: &BTreeMap<String, String>) -> usize {
    labels.iter().map(|(name, value)| name.len() + value.len()).sum()
}

/// Adds an event of a container.
pub(crate) fn of_container(
    tx: &Transaction<'_>,
    subject: &Subject<'_>,
    action: &str,
    time: u64,
    extra: Extra<'_>,
) -> Result<()> {
    let mut attributes = subject.attributes.clone();
    attributes.extend(extra.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
    add(tx, ("container", action, subject.id), time, &attributes)
}

/// As [`of_container`], for one of which only the id is known. One that is gone has no events any more.
pub(crate) fn of_container_id(
    tx: &Transaction<'_>,
    id: &str,
    action: &str,
    time: u64,
    extra: Extra<'_>,
) -> Result<()> {
    let found = tx
        .prepare_cached("SELECT name, image, image_id, labels FROM containers WHERE id = ?1")?
        .query_row([id], |row| Ok([row.get::<_, String>(0)?, row.get(1)?, row.get(2)?, row.get(3)?]))
        .optional()?;
    match found {
        Some(found) => {
            let subject = Subject::new(tx, id, found.each_ref().map(String::as_str))?;
            of_container(tx, &subject, action, time, extra)
        }
        None => Ok(()),
    }
}

/// The end of a container's program.
pub(crate) fn died(
    tx: &Transaction<'_>,
    subject: &Subject<'_>,
    code: i32,
    (started_at, finished_at): (Option<u64>, u64),
) -> Result<()> {
    let mut extra = vec![("exitCode", code.to_string())];
    if let Some(started_at) = started_at {
        extra.push(("execDuration", (finished_at.saturating_sub(started_at) / 1_000_000_000).to_string()));
    }
    of_container(tx, subject, "die", finished_at, &extra)
}

/// Adds what a monitor, which was started at `began`, has kept in its journal, as far as nobody has done so before.
pub(crate) fn take_over(
    tx: &Transaction<'_>,
    row: &ContainerRow,
    began: Option<u64>,
    records: &[Record],
) -> Result<()> {
    let Some(last) = records.last() else { return Ok(()) };
    let known = tx
        .prepare_cached("SELECT journal FROM containers WHERE id = ?1")?
        .query_row([&row.id], |row| row.get::<_, i64>(0))
        .optional()?;
    let Some(known) = known.map(|number| u64::try_from(number).unwrap_or(0)) else { return Ok(()) };
    if last.number <= known {
        return Ok(());
    }
    let subject = row.subject(tx)?;
    for record in records.iter().filter(|record| record.number > known) {
        happened(tx, &subject, began, record)?;
    }
    tx.prepare_cached("UPDATE containers SET journal = ?2 WHERE id = ?1")?
        .execute(params![row.id, signed(last.number)])?;
    Ok(())
}

/// The id of a program that was started in a container. Docker's are random; these can be told from the number alone, which no other program of this monitor has.
pub(crate) fn exec_id(container: &str, began: Option<u64>, number: u32) -> String {
    let text = format!("{container}/{}/{number}", began.unwrap_or(0));
    Digest::of(text.as_bytes()).hex().to_owned()
}

fn happened(tx: &Transaction<'_>, subject: &Subject<'_>, began: Option<u64>, record: &Record) -> Result<()> {
    let program = |number: &u32| ("execID", exec_id(subject.id, began, *number));
    let of = |action: &str, extra: Extra<'_>| of_container(tx, subject, action, record.time, extra);
    match &record.what {
        Happening::Kill(signal) => of("kill", &[("signal", signal.to_string())]),
        Happening::ExecCreate(number, command) => of(&format!("exec_create: {command}"), &[program(number)]),
        Happening::ExecStart(number, command) => of(&format!("exec_start: {command}"), &[program(number)]),
        Happening::ExecDie(number, code) => {
            of("exec_die", &[program(number), ("exitCode", code.to_string())])
        }
        Happening::Died(Exit { code, finished_at, .. }) => died(tx, subject, *code, (None, *finished_at)),
        Happening::Started => of("start", &[]),
        Happening::OutOfMemory => of("oom", &[]),
        Happening::ExecDetach(number) => of("exec_detach", &[program(number)]),
        Happening::Health(status) => of(&format!("health_status: {}", status.name()), &[]),
    }
}

/// Adds an event of an image, with its labels, unless they are too many. `reference` is what was named: a canonical reference or an id.
pub(crate) fn of_image(tx: &Transaction<'_>, action: &str, id: &str, reference: &str) -> Result<()> {
    let mut attributes = of_its_image(tx, id)?;
    if bytes(&attributes) > LABELS {
        attributes.clear();
    }
    let name = Reference::parse(reference).map_or_else(|_| reference.to_owned(), |name| name.familiar());
    // As docker has it: what comes from a registry, or goes there, is known by its name.
    let actor = if matches!(action, "pull" | "push") { name.clone() } else { id.to_owned() };
    attributes.insert("name".to_owned(), name);
    add(tx, ("image", action, &actor), now_nanos(), &attributes)
}

/// Events with ids greater than `after`, in order, at most `limit` of them.
pub(crate) fn after(connection: &Connection, after: u64, limit: usize) -> Result<Vec<EventRow>> {
    let unsigned = |value: i64| u64::try_from(value).unwrap_or(0);
    let mut statement = connection.prepare_cached(
        "SELECT id, time, kind, action, actor, attributes FROM events WHERE id > ?1 ORDER BY id LIMIT ?2",
    )?;
    let rows = statement.query_map(params![signed(after), signed(limit as u64)], |row| {
        Ok(EventRow {
            id: unsigned(row.get(0)?),
            time: unsigned(row.get(1)?),
            kind: row.get(2)?,
            action: row.get(3)?,
            actor: row.get(4)?,
            attributes: serde_json::from_str(row.get_ref(5)?.as_str().unwrap_or("{}")).unwrap_or_default(),
        })
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// The id of the newest event; 0 if there is none.
pub(crate) fn newest(connection: &Connection) -> Result<u64> {
    let id: i64 = connection
        .prepare_cached("SELECT coalesce(max(id), 0) FROM events")?
        .query_row([], |row| row.get(0))?;
    Ok(u64::try_from(id).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::tests::temporary;

    #[test]
    fn old_events_go_and_ids_grow() {
        let (_dir, store) = temporary();
        let none = BTreeMap::new();
        store
            .db
            .write(|tx| {
                for _ in 0..ROUND - 1 {
                    add(tx, ("container", "start", "x"), 5, &none)?;
                }
                Ok(())
            })
            .unwrap();
        assert_eq!(store.db.read(|c| after(c, 0, 1000)).unwrap().len() as i64, ROUND - 1);
        store.db.write(|tx| add(tx, ("container", "die", "x"), 6, &none)).unwrap();
        let left = store.db.read(|c| after(c, 0, 1000)).unwrap();
        assert_eq!((left.len(), left[0].id, left[0].action.as_str()), (1, ROUND as u64, "die"));
        assert_eq!(store.db.read(newest).unwrap(), ROUND as u64);
        store.db.write(|tx| add(tx, ("image", "tag", "y"), now_nanos(), &none)).unwrap();
        assert_eq!(store.db.read(newest).unwrap(), ROUND as u64 + 1);
        let many = |tx: &Transaction<'_>| {
            for _ in 0..KEPT + ROUND {
                add(tx, ("image", "tag", "y"), now_nanos(), &none)?;
            }
            Ok(())
        };
        store.db.write(many).unwrap();
        let left = store.db.read(|c| after(c, 0, usize::MAX >> 1)).unwrap().len() as i64;
        assert!((KEPT..KEPT + ROUND).contains(&left), "{left}");
    }

    #[test]
    fn an_event_has_a_bound_on_labels_and_the_container_s_own_come_first() {
        let (_dir, store) = temporary();
        let labels = |count: usize, own: &str| {
            let mut labels: BTreeMap<String, String> =
                (0..count).map(|n| (format!("{n:07}"), "x".repeat(1017))).collect();
            labels.insert("of".into(), "image".into());
            if !own.is_empty() {
                labels.insert("own".into(), own.into());
            }
            serde_json::to_string(&labels).unwrap()
        };
        let told = |count: usize, own: &str| {
            let row = ContainerRow {
                id: "ab".into(),
                name: "box".into(),
                image: "demo".into(),
                image_id: "img".into(),
                labels: labels(count, own),
                ..ContainerRow::default()
            };
            let from = store.db.read(newest).unwrap();
            store
                .db
                .write(|tx| {
                    let sql = "INSERT OR REPLACE INTO images VALUES ('img', 'm', 't', x'', x'', NULL, 0, 0, 'amd64', 'linux', NULL, ?1, NULL, 0, '[]')";
                    tx.execute(sql, [labels(count, "")])?;
                    of_container(tx, &row.subject(tx)?, "start", 5, &[("exitCode", "1".into())])?;
                    of_image(tx, "tag", "img", "demo")
                })
                .unwrap();
            let told = store.db.read(|c| after(c, from, 2)).unwrap();
            assert!(told.iter().all(|event| event.attributes["name"] == "box" || event.kind == "image"));
            assert_eq!(told[0].attributes["exitCode"], "1");
            [&told[0], &told[1]].map(|event| {
                let has = |name| event.attributes.contains_key(name);
                (event.attributes.len(), has("own"), has("of"))
            })
        };
        assert_eq!(told(7, "yes"), [(12, true, true), (9, false, true)]);
        // An image cannot crowd out what tells its containers from others.
        assert_eq!(told(100, "yes"), [(4, true, false), (1, false, false)]);
        assert_eq!(told(0, &"y".repeat(LABELS)), [(3, false, false), (2, false, true)]);
    }
}
