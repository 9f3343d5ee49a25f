//! Rows of containers.

use std::collections::{BTreeMap, BTreeSet};

use rusqlite::types::ValueRef;
use rusqlite::{Connection, OptionalExtension, Params, Row, Transaction, params};
use serde::{Deserialize, Serialize};

use coble_protocol::{Exit, Record};

use super::ids::{self, Wanted};
use super::images::signed;
use super::{Db, events, now_nanos, volumes};
use crate::container::{ContainerSpec, Health, Isolation, State, Warning};
use crate::error::{Error, ErrorKind, Result};

/// A container, as the database has it. Times are nanoseconds since the epoch.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct ContainerRow {
    /// 64 hexadecimal digits.
    pub(crate) id: String,
    pub(crate) name: String,
    /// The image as the caller named it.
    pub(crate) image: String,
    pub(crate) image_id: String,
    /// What was asked for, as JSON.
    pub(crate) spec: String,
    /// Program and arguments, as JSON.
    pub(crate) command: String,
    /// The name of the state.
    pub(crate) state: String,
    pub(crate) created_at: u64,
    pub(crate) started_at: Option<u64>,
    pub(crate) finished_at: Option<u64>,
    pub(crate) exit_code: Option<i32>,
    pub(crate) pid: Option<i32>,
    pub(crate) error: Option<String>,
    /// The session that it belongs to, if it is bound to one.
    pub(crate) session: Option<String>,
    pub(crate) auto_remove: bool,
    /// What the last run got, as JSON.
    pub(crate) run: Option<String>,
    /// Labels, as JSON.
    pub(crate) labels: String,
    /// Names of frozen layers, uppermost first, as JSON. Empty: none.
    pub(crate) frozen: String,
    /// The number of the last record of its monitor's journal that was taken over.
    pub(crate) journal: u64,
}

/// What a list shows of a container. It is the database's own text, since there may be thousands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Listed<'a> {
    pub(crate) id: &'a str,
    pub(crate) name: &'a str,
    pub(crate) image: &'a str,
    pub(crate) image_id: &'a str,
    /// Program and arguments, as JSON.
    pub(crate) command: &'a str,
    /// None: one that is not known.
    pub(crate) state: Option<State>,
    pub(crate) created_at: u64,
    pub(crate) started_at: Option<u64>,
    pub(crate) finished_at: Option<u64>,
    pub(crate) exit_code: Option<i32>,
    /// Whether it belongs to a session.
    pub(crate) session: bool,
    /// Labels, as JSON.
    pub(crate) labels: &'a str,
}

/// What the current or last run of a container got.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct RunInfo {
    pub(crate) isolation: Option<Isolation>,
    pub(crate) warnings: Vec<Warning>,
    /// How long each phase of the start took, in nanoseconds.
    #[serde(default)]
    pub(crate) timings: Vec<(String, u64)>,
    /// How often the program was started again, once that is over.
    #[serde(default)]
    pub(crate) restarts: u32,
    /// Its health at the end.
    #[serde(default)]
    pub(crate) health: Option<Health>,
}

impl ContainerRow {
    /// The state as this row has it.
    pub(crate) fn state(&self) -> Result<State> {
        state_named(&self.state).ok_or_else(|| self.damaged(&format!("unknown state \"{}\"", self.state)))
    }

    /// What a list shows of it.
    pub(crate) fn listed(&self) -> Listed<'_> {
        Listed {
            id: &self.id,
            name: &self.name,
            image: &self.image,
            image_id: &self.image_id,
            command: &self.command,
            state: state_named(&self.state),
            created_at: self.created_at,
            started_at: self.started_at,
            finished_at: self.finished_at,
            exit_code: self.exit_code,
            session: self.session.is_some(),
            labels: &self.labels,
        }
    }

    /// What was asked for.
    pub(crate) fn spec(&self) -> Result<ContainerSpec> {
        self.json(&self.spec)
    }

    /// Program and arguments.
    pub(crate) fn command(&self) -> Result<Vec<String>> {
        self.json(&self.command)
    }

    /// What the last run got; nothing if there was none.
    pub(crate) fn run(&self) -> Result<RunInfo> {
        self.run.as_deref().map_or_else(|| Ok(RunInfo::default()), |run| self.json(run))
    }

    /// Names of frozen layers, uppermost first.
    pub(crate) fn frozen(&self) -> Result<Vec<String>> {
        if self.frozen.is_empty() { Ok(Vec::new()) } else { self.json(&self.frozen) }
    }

    /// Sets what the run got.
    pub(crate) fn set_run(&mut self, run: &RunInfo) -> Result<()> {
        let text = serde_json::to_string(run).map_err(|error| {
            Error::new(ErrorKind::Internal, format!("writing the record of a run: {error}"))
        })?;
        self.run = Some(text);
        Ok(())
    }

    /// Sets what is asked for.
    pub(crate) fn set_spec(&mut self, spec: &ContainerSpec) -> Result<()> {
        self.spec = serde_json::to_string(spec).map_err(|error| {
            Error::new(ErrorKind::Internal, format!("writing a container's options: {error}"))
        })?;
        Ok(())
    }

    fn json<T: serde::de::DeserializeOwned>(&self, text: &str) -> Result<T> {
        serde_json::from_str(text).map_err(|error| self.damaged(&error.to_string()))
    }

    fn damaged(&self, why: &str) -> Error {
        damaged(&self.id, why)
    }
}

impl Listed<'_> {
    /// The state as the row has it.
    pub(crate) fn state(&self) -> Result<State> {
        self.state.ok_or_else(|| self.damaged("unknown state"))
    }

    /// The labels.
    pub(crate) fn labels(&self) -> Result<BTreeMap<String, String>> {
        if self.labels == "{}" { Ok(BTreeMap::new()) } else { self.json(self.labels) }
    }

    /// An error that says what is wrong with the row.
    pub(crate) fn damaged(&self, why: &str) -> Error {
        damaged(self.id, why)
    }

    /// Reads a column of JSON.
    pub(crate) fn json<T: serde::de::DeserializeOwned>(&self, text: &str) -> Result<T> {
        serde_json::from_str(text).map_err(|error| self.damaged(&error.to_string()))
    }
}

/// A state that a row can have.
fn state_named(name: &str) -> Option<State> {
    [State::Created, State::Running, State::Exited].into_iter().find(|state| state.name() == name)
}

fn damaged(id: &str, why: &str) -> Error {
    Error::new(ErrorKind::Database, format!("the row of container \"{id}\": {why}")).with_object(id)
}

const COLUMNS: &str = "id, name, image, image_id, spec, command, state, created_at, started_at, finished_at, exit_code, pid, error, \
                       session, auto_remove, run, labels, journal, frozen";

fn from_row(row: &Row<'_>) -> rusqlite::Result<ContainerRow> {
    let time = |value: i64| u64::try_from(value).unwrap_or(0);
    Ok(ContainerRow {
        id: row.get(0)?,
        name: row.get(1)?,
        image: row.get(2)?,
        image_id: row.get::<_, Option<String>>(3)?.unwrap_or_default(),
        spec: row.get(4)?,
        command: row.get(5)?,
        state: row.get(6)?,
        created_at: time(row.get(7)?),
        started_at: row.get::<_, Option<i64>>(8)?.map(time),
        finished_at: row.get::<_, Option<i64>>(9)?.map(time),
        exit_code: row.get(10)?,
        pid: row.get(11)?,
        error: row.get(12)?,
        session: row.get(13)?,
        auto_remove: row.get(14)?,
        run: row.get(15)?,
        labels: row.get(16)?,
        journal: time(row.get(17)?),
        frozen: row.get(18)?,
    })
}

fn select(connection: &Connection, rest: &str, params: impl Params) -> Result<Vec<ContainerRow>> {
    let mut statement = connection.prepare_cached(&format!("SELECT {COLUMNS} FROM containers {rest}"))?;
    let rows = statement.query_map(params, from_row)?.collect::<rusqlite::Result<Vec<_>>>()?;
    Ok(rows)
}

/// Adds a container, with ids of its own if it is to have any, and the kind of id map of layers that are for those alone. Fails with `NameInUse` if the name is taken, with `ImageNotFound` if the image has gone, and
/// with `InUse` if somebody else has got ids that were [chosen](Wanted::Chosen).
pub(crate) fn insert(
    db: &Db,
    row: &ContainerRow,
    ids: Option<(&Wanted, Option<&str>)>,
    volumes: &[volumes::Place],
) -> Result<()> {
    db.write(|tx| {
        insert_in(tx, row)?;
        volumes::give(tx, &row.id, volumes)?;
        let Some((wanted, idmap)) = ids else { return Ok(()) };
        ids::give(tx, &row.id, wanted)?;
        if let Some(idmap) = idmap {
            let sql = "INSERT INTO idmaps (container_id, idmap) VALUES (?1, ?2)";
            tx.prepare_cached(sql)?.execute([row.id.as_str(), idmap])?;
        }
        Ok(())
    })
}

fn insert_in(tx: &Transaction<'_>, row: &ContainerRow) -> Result<()> {
    let sql = format!(
        "INSERT INTO containers ({COLUMNS}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19)"
    );
    let result = tx.prepare_cached(&sql)?.execute(params![
        row.id,
        row.name,
        row.image,
        Some(&row.image_id).filter(|id| !id.is_empty()),
        row.spec,
        row.command,
        row.state,
        signed(row.created_at),
        row.started_at.map(signed),
        row.finished_at.map(signed),
        row.exit_code,
        row.pid,
        row.error,
        row.session,
        row.auto_remove,
        row.run,
        row.labels,
        signed(row.journal),
        row.frozen,
    ]);
    let Err(error) = result else {
        events::of_container(tx, &row.subject(tx)?, "create", row.created_at, &[])?;
        return super::images::touch(tx, &row.image_id);
    };
    Err(match error.sqlite_error().map(|error| error.extended_code) {
        Some(rusqlite::ffi::SQLITE_CONSTRAINT_UNIQUE) => name_in_use(&row.name),
        Some(rusqlite::ffi::SQLITE_CONSTRAINT_FOREIGNKEY) => Error::new(
            ErrorKind::ImageNotFound,
            format!("image \"{}\" was removed in the meantime", row.image),
        )
        .with_object(&row.image),
        _ => error.into(),
    })
}

fn name_in_use(name: &str) -> Error {
    Error::new(ErrorKind::NameInUse, format!("the name \"{name}\" is taken by another container"))
        .with_object(name)
        .with_hint("remove that container, or choose another name")
}

/// Gives a container another name. Fails with `NameInUse` if that is taken, and with `ContainerNotFound` if the container has gone.
pub(crate) fn rename(db: &Db, id: &str, old: &str, name: &str) -> Result<()> {
    db.write(|tx| match tx.execute("UPDATE containers SET name = ?2 WHERE id = ?1", params![id, name]) {
        Ok(0) => Err(gone(id)),
        Ok(_) => events::of_container_id(tx, id, "rename", now_nanos(), &[("oldName", old.to_owned())]),
        Err(error)
            if error.sqlite_error().map(|error| error.extended_code)
                == Some(rusqlite::ffi::SQLITE_CONSTRAINT_UNIQUE) =>
        {
            Err(name_in_use(name))
        }
        Err(error) => Err(error.into()),
    })
}

/// Sets the frozen layers of a container.
pub(crate) fn set_frozen(db: &Db, id: &str, names: &[String]) -> Result<()> {
    let sql = "UPDATE containers SET frozen = ?2 WHERE id = ?1";
    match db.write_durably(|tx| Ok(tx.execute(sql, params![id, json_list(names)])?))? {
        0 => Err(gone(id)),
        _ => Ok(()),
    }
}

/// Names as a JSON array. They need no escapes.
pub(crate) fn json_list(names: &[String]) -> String {
    serde_json::Value::from(names).to_string()
}

/// The frozen layers that some container has.
pub(crate) fn frozen(db: &Db) -> Result<BTreeSet<String>> {
    let lists = db.read(|connection| {
        let mut statement =
            connection.prepare_cached("SELECT frozen FROM containers WHERE frozen NOT IN ('', '[]')")?;
        let lists = statement.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<Vec<String>>>()?;
        Ok(lists)
    })?;
    let mut names = BTreeSet::new();
    for list in lists {
        let read: Vec<String> =
            serde_json::from_str(&list).map_err(|error| damaged(&list, &error.to_string()))?;
        names.extend(read);
    }
    Ok(names)
}

/// Changes what a container is asked for, and what its run got, as the row has it now. Nothing is written if `change` says false, which is returned then.
pub(crate) fn change(
    db: &Db,
    id: &str,
    change: impl FnOnce(&mut ContainerRow) -> Result<bool>,
) -> Result<bool> {
    db.write(|tx| {
        let mut row = select(tx, "WHERE id = ?1", [id])?.pop().ok_or_else(|| gone(id))?;
        let changed = change(&mut row)?;
        if changed {
            let sql = "UPDATE containers SET spec = ?2, run = ?3 WHERE id = ?1";
            tx.execute(sql, params![id, row.spec, row.run])?;
            events::of_container(tx, &row.subject(tx)?, "update", now_nanos(), &[])?;
        }
        Ok(changed)
    })
}

fn gone(name: &str) -> Error {
    Error::new(ErrorKind::ContainerNotFound, format!("no container \"{name}\"")).with_object(name)
}

/// How many containers are read by one thread before a second one is worth its while.
const MANY: usize = 2000;

/// What a list shows of the containers that run, or of all, newest first, as `take` puts it into a part that `part` made room for. Where there are many, two threads share
/// the work, each with a part of the time that the containers were made in: a container belongs to the one or the other for all its life.
pub(crate) fn listed<P: Send>(
    db: &Db,
    all: bool,
    part: impl Fn(usize) -> P + Sync,
    take: impl Fn(&mut P, Listed<'_>) -> Result<()> + Sync,
) -> Result<Vec<P>> {
    let edge = |connection: &Connection, order: &str, offset: usize| -> Result<Option<i64>> {
        let sql = format!(
            "SELECT created_at FROM containers INDEXED BY containers_listed ORDER BY created_at {order} LIMIT 1 OFFSET {offset}"
        );
        Ok(connection.prepare_cached(&sql)?.query_row([], |row| row.get(0)).optional()?)
    };
    let middle = db.read(|connection| {
        if !all || edge(connection, "DESC", MANY)?.is_none() {
            return Ok(None);
        }
        // Where most were made at about the same time, one thread has most of the work.
        let (last, first) = (edge(connection, "DESC", 0)?, edge(connection, "ASC", 0)?);
        Ok(first.zip(last).map(|(first, last)| first + (last - first) / 2))
    })?;
    let Some(middle) = middle else {
        return Ok(vec![listed_between(db, all, (i64::MIN, i64::MAX), part(16), &take)?]);
    };
    let older = || listed_between(db, all, (i64::MIN, middle), part(MANY), &take);
    let newer = || listed_between(db, all, (middle.saturating_add(1), i64::MAX), part(MANY), &take);
    let (newer, older) = crate::process::beside("coble-list", older, newer);
    Ok(vec![newer?, older?])
}

/// The query of [`listed_between`].
fn listing(all: bool) -> String {
    let rest = if all { "" } else { "AND state = 'running'" };
    format!(
        "SELECT id, name, image, image_id, command, state, created_at, started_at, finished_at, exit_code, session, labels \
         FROM containers INDEXED BY containers_listed WHERE created_at BETWEEN ?1 AND ?2 {rest} ORDER BY created_at DESC, id"
    )
}

/// Those that were made from a time to another one.
fn listed_between<P>(
    db: &Db,
    all: bool,
    (from, to): (i64, i64),
    mut part: P,
    take: impl Fn(&mut P, Listed<'_>) -> Result<()>,
) -> Result<P> {
    let time = |value: i64| u64::try_from(value).unwrap_or(0);
    db.read(|connection| {
        let mut statement = connection.prepare_cached(&listing(all))?;
        let mut rows = statement.query([from, to])?;
        while let Some(row) = rows.next()? {
            let text_or_null =
                |column: usize| Ok::<_, rusqlite::Error>(row.get_ref(column)?.as_str_or_null()?);
            let text = |column: usize| Ok::<_, rusqlite::Error>(row.get_ref(column)?.as_str()?);
            let listed = Listed {
                id: text(0)?,
                name: text(1)?,
                image: text(2)?,
                image_id: text_or_null(3)?.unwrap_or_default(),
                command: text(4)?,
                state: state_named(text(5)?),
                created_at: time(row.get(6)?),
                started_at: row.get::<_, Option<i64>>(7)?.map(time),
                finished_at: row.get::<_, Option<i64>>(8)?.map(time),
                exit_code: row.get(9)?,
                session: row.get_ref(10)? != ValueRef::Null,
                labels: text(11)?,
            };
            take(&mut part, listed)?;
        }
        Ok(())
    })?;
    Ok(part)
}

/// The container with this id.
pub(crate) fn get(db: &Db, id: &str) -> Result<Option<ContainerRow>> {
    db.read(|connection| Ok(select(connection, "WHERE id = ?1", [id])?.pop()))
}

/// The container with this id, this name, or this unambiguous prefix of an id of at least four digits, in this order.
pub(crate) fn find(db: &Db, text: &str) -> Result<Option<ContainerRow>> {
    db.read(|connection| {
        for exact in ["WHERE id = ?1", "WHERE name = ?1"] {
            if let Some(row) = select(connection, exact, [text])?.pop() {
                return Ok(Some(row));
            }
        }
        let is_prefix = (4..64).contains(&text.len())
            && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        if !is_prefix {
            return Ok(None);
        }
        // "g" is the first character behind the hexadecimal digits.
        let mut rows = select(connection, "WHERE id >= ?1 AND id < ?1 || 'g' LIMIT 2", [text])?;
        if rows.len() > 1 {
            let why = format!("\"{text}\" is the beginning of several container ids");
            return Err(Error::new(ErrorKind::InvalidArgument, why).with_object(text));
        }
        Ok(rows.pop())
    })
}

/// The containers in a state, or all, newest first.
pub(crate) fn list(db: &Db, state: Option<&str>) -> Result<Vec<ContainerRow>> {
    db.read(|connection| match state {
        Some(state) => select(connection, "WHERE state = ?1 ORDER BY created_at DESC, id", [state]),
        None => select(connection, "ORDER BY created_at DESC, id", []),
    })
}

/// The containers that may need something done when nobody is responsible for them: those that run as far as the database knows, those of a
/// session, and those that ended and were to be removed then.
pub(crate) fn unsettled(db: &Db) -> Result<Vec<ContainerRow>> {
    db.read(|connection| {
        let rest = "WHERE state = 'running' OR session IS NOT NULL OR (auto_remove AND state = 'exited')";
        select(connection, rest, [])
    })
}

/// The containers of a session.
pub(crate) fn of_session(db: &Db, session: &str) -> Result<Vec<ContainerRow>> {
    db.read(|connection| select(connection, "WHERE session = ?1", [session]))
}

/// The ids of all containers.
pub(crate) fn ids(db: &Db) -> Result<Vec<String>> {
    db.read(|connection| {
        let mut statement = connection.prepare_cached("SELECT id FROM containers")?;
        let ids = statement.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<Vec<_>>>()?;
        Ok(ids)
    })
}

/// Writes everything that can change of a container: state, times, exit code, pid, error, run. Fails with `ContainerNotFound` if it has gone.
pub(crate) fn update(db: &Db, row: &ContainerRow) -> Result<()> {
    db.write(|tx| update_in(tx, row))
}

/// As [`update`], with the event that its program was started.
pub(crate) fn started(db: &Db, row: &ContainerRow) -> Result<()> {
    db.write(|tx| {
        update_in(tx, row)?;
        volumes::mounted(tx, &row.id, true)?;
        events::of_container(tx, &row.subject(tx)?, "start", row.started_at.unwrap_or_else(now_nanos), &[])
    })
}

fn update_in(tx: &Transaction<'_>, row: &ContainerRow) -> Result<()> {
    let mut statement = tx.prepare_cached(
        "UPDATE containers SET state = ?2, started_at = ?3, finished_at = ?4, exit_code = ?5, pid = ?6, error = ?7, run = ?8 WHERE id = ?1",
    )?;
    let changed = statement.execute(params![
        row.id,
        row.state,
        row.started_at.map(signed),
        row.finished_at.map(signed),
        row.exit_code,
        row.pid,
        row.error,
        row.run
    ])?;
    if changed == 0 { Err(gone(&row.name)) } else { Ok(()) }
}

/// What there is to know of a run that is over.
#[derive(Debug, Default)]
pub(crate) struct Last {
    /// The end of the program, if somebody has seen it.
    pub(crate) exit: Option<Exit>,
    /// The monitor's journal.
    pub(crate) journal: Vec<Record>,
    /// Whether the kernel killed a program for want of memory.
    pub(crate) oom: bool,
    /// The number that the end of the program has in the journal, if the monitor has come to write it down there.
    pub(crate) record: Option<u64>,
}

impl Last {
    /// Whether the end is among what the journal says, or among what somebody has taken over from it before.
    fn is_told(&self, row: &ContainerRow) -> bool {
        let newest = self.journal.last().map_or(0, |record| record.number).max(row.journal);
        self.record.is_some_and(|record| record <= newest)
    }
}

/// Writes the end of a run, if the row still says that this run, which began at `started_at`, is going on. False if it does not. The row may say when the program was
/// started again.
pub(crate) fn settle(db: &Db, row: &ContainerRow, started_at: Option<u64>, last: &Last) -> Result<bool> {
    db.write(|tx| {
        let mut statement = tx.prepare_cached(
            "UPDATE containers SET state = ?2, finished_at = ?3, exit_code = ?4, pid = NULL, error = ?5, run = ?6, started_at = ?8
             WHERE id = ?1 AND state = 'running' AND started_at IS ?7",
        )?;
        let changed = statement.execute(params![
            row.id,
            row.state,
            row.finished_at.map(signed),
            row.exit_code,
            row.error,
            row.run,
            started_at.map(signed),
            row.started_at.map(signed)
        ])?;
        if changed == 0 {
            return Ok(false);
        }
        events::take_over(tx, row, started_at, &last.journal)?;
        let finished_at = row.finished_at.unwrap_or_else(now_nanos);
        let subject = row.subject(tx)?;
        if last.oom {
            events::of_container(tx, &subject, "oom", finished_at, &[])?;
        }
        if !last.is_told(row) {
            let code = row.exit_code.unwrap_or_default();
            events::died(tx, &subject, code, (row.started_at, finished_at))?;
        }
        volumes::mounted(tx, &row.id, false)?;
        Ok(true)
    })
}

/// Takes over what the journal of a container's monitor says.
pub(crate) fn take_over(db: &Db, row: &ContainerRow, records: &[Record]) -> Result<()> {
    db.write(|tx| events::take_over(tx, row, row.started_at, records))
}

/// Adds an event of a container.
pub(crate) fn note(db: &Db, id: &str, action: &str, extra: events::Extra<'_>) -> Result<()> {
    db.write(|tx| events::of_container_id(tx, id, action, now_nanos(), extra))
}

/// Deletes a container's row. `killed` is the exit code of one that runs as far as the row says, and whose end nobody has seen. `with_volumes`: the volumes that were made for it go, too, as those of a container
/// that goes by itself always do. Returns the names of volumes that have gone; also where there was no row, since it may not have come to that.
pub(crate) fn delete(db: &Db, id: &str, last: &Last, killed: i32, with_volumes: bool) -> Result<Vec<String>> {
    db.write(|tx| {
        let Some(row) = select(tx, "WHERE id = ?1", [id])?.pop() else {
            return volumes::take_of(tx, id, true);
        };
        events::take_over(tx, &row, row.started_at, &last.journal)?;
        let now = now_nanos();
        let subject = row.subject(tx)?;
        if row.state == State::Running.name() {
            let exit = last.exit.map_or((killed, now), |exit| (exit.code, exit.finished_at));
            if last.oom {
                events::of_container(tx, &subject, "oom", exit.1, &[])?;
            }
            if !last.is_told(&row) {
                events::died(tx, &subject, exit.0, (row.started_at, exit.1))?;
            }
            volumes::mounted(tx, id, false)?;
        }
        events::of_container(tx, &subject, "destroy", now, &[])?;
        tx.prepare_cached("DELETE FROM containers WHERE id = ?1")?.execute([id])?;
        if with_volumes || row.auto_remove || row.session.is_some() {
            return volumes::take_of(tx, id, false);
        }
        Ok(Vec::new())
    })
}

#[cfg(test)]
mod tests {
    use coble_protocol::Happening;

    use super::*;
    use crate::state::tests::temporary;

    fn row(id: &str, name: &str, image: &str) -> ContainerRow {
        ContainerRow {
            id: id.into(),
            name: name.into(),
            image: "demo".into(),
            image_id: image.into(),
            spec: serde_json::to_string(&ContainerSpec::new("demo")).unwrap(),
            command: "[\"true\"]".into(),
            state: "created".into(),
            created_at: 5,
            labels: "{}".into(),
            ..ContainerRow::default()
        }
    }

    #[test]
    fn chosen_ids_are_for_who_is_first_and_go_with_their_layers() {
        use coble_protocol::{IdMapping, IdRange};

        use crate::state::images;

        let (_dir, store) = temporary();
        let db = &store.db;
        let image = "INSERT INTO images VALUES ('img', 'm', 't', x'', x'', NULL, 0, 0, 'amd64', 'linux', NULL, '{}', NULL, 0, '[]')";
        let layers = "INSERT INTO layers (chain_id, idmap, diff_id, bytes) VALUES ('c', 'ranges:1', 'd', 1), ('c', 'own:1', 'd', 1), ('c', 'own:2', 'd', 1)";
        let chain = "INSERT INTO image_layers VALUES ('img', 0, 'd', 'c', 'b', 't', 1)";
        for sql in [image, layers, chain] {
            db.write(|tx| Ok(tx.execute(sql, [])?)).unwrap();
        }
        let map = |outside| vec![IdRange { inside: 0, outside, count: 10 }];
        let wanted = |uid, gid| Wanted::Chosen(IdMapping { uids: map(uid), gids: map(gid) });
        let unused = || db.read(images::unreferenced).unwrap().1.into_iter().collect::<Vec<i64>>();
        assert_eq!(unused(), [2, 3]);
        let (first, second) = (row(&"a".repeat(64), "a", "img"), row(&"b".repeat(64), "b", "img"));
        insert(db, &first, Some((&wanted(1, 100), Some("own:1"))), &[]).unwrap();
        for (uid, gid) in [(1, 200), (10, 200), (50, 109)] {
            let late = insert(db, &second, Some((&wanted(uid, gid), Some("own:2"))), &[]).unwrap_err();
            assert_eq!(late.kind(), ErrorKind::InUse);
        }
        assert_eq!((super::get(db, &second.id).unwrap(), unused()), (None, vec![3]));
        let pools = [vec![(1, 25)], vec![(100, 25)]];
        let choose = |count, nobody| ids::choose(db, &pools, ids::Need { count, nobody }, "me");
        let free = choose(10, false).unwrap();
        assert_eq!((free.uids[0].outside, free.gids[0].outside), (16, 115));
        assert_eq!(choose(20, false).unwrap_err().kind(), ErrorKind::LimitExceeded);
        let nobody = choose(9, true).unwrap().uids;
        assert_eq!((nobody[0].outside, nobody[1].inside, nobody[1].outside), (16, ids::NOBODY, 25));
        assert_eq!(ids::Need::of(&nobody), ids::Need { count: 9, nobody: true });
        insert(db, &second, Some((&Wanted::Chosen(free.clone()), Some("own:1"))), &[]).unwrap();
        assert_eq!(ids::of(db, &second.id).unwrap(), Some(free));
        for (id, left) in [(&first.id, vec![3]), (&second.id, vec![2, 3])] {
            delete(db, id, &Last::default(), 137, false).unwrap();
            assert_eq!(unused(), left);
        }
        assert!(choose(25, false).is_ok() && choose(25, true).is_err());
    }

    #[test]
    fn containers_are_found_by_id_name_and_prefix() {
        let (_dir, store) = temporary();
        let db = &store.db;
        db.write(|tx| {
            let sql = "INSERT INTO images VALUES ('img', 'm', 't', x'', x'', NULL, 0, 0, 'amd64', 'linux', NULL, '{}', NULL, 0, '[]')";
            tx.execute(sql, [])?;
            Ok(())
        })
        .unwrap();
        let first = row(&"abcd".repeat(16), "web", "img");
        insert(db, &first, None, &[]).unwrap();
        let taken = insert(db, &row(&"abce".repeat(16), "web", "img"), None, &[]).unwrap_err();
        assert_eq!((taken.kind(), taken.object()), (ErrorKind::NameInUse, Some("web")));
        assert_eq!(
            insert(db, &row(&"abce".repeat(16), "db", "gone"), None, &[]).unwrap_err().kind(),
            ErrorKind::ImageNotFound
        );
        insert(db, &row(&"abce".repeat(16), "abcd", "img"), None, &[]).unwrap();
        let get =
            |text: &str| find(db, text).map(|row| row.map(|row| row.name)).map_err(|error| error.kind());
        let found = |name: &str| Ok(Some(name.to_owned()));
        assert_eq!(get(&"abcd".repeat(16)), found("web"));
        assert_eq!(get("abcd"), found("abcd"), "a name comes before a prefix");
        assert_eq!(get("abcda"), found("web"));
        assert_eq!(get("abc"), Ok(None));
        assert_eq!(get("%"), Ok(None));
        insert(db, &row(&format!("abcf1{:059}", 0), "x", "img"), None, &[]).unwrap();
        insert(db, &row(&format!("abcf2{:059}", 0), "y", "img"), None, &[]).unwrap();
        assert_eq!(get("abcf"), Err(ErrorKind::InvalidArgument));
        let mut running =
            ContainerRow { state: "running".into(), pid: Some(7), started_at: Some(6), ..first.clone() };
        running.set_run(&RunInfo::default()).unwrap();
        update(db, &running).unwrap();
        assert_eq!(super::get(db, &first.id).unwrap().unwrap(), running);
        assert_eq!(list(db, Some("running")).unwrap(), [running.clone()]);
        assert_eq!(unsettled(db).unwrap(), [running.clone()]);
        assert_eq!(
            (running.state().unwrap(), running.command().unwrap()),
            (State::Running, vec!["true".to_owned()])
        );
        assert_eq!(
            (running.spec().unwrap().image, running.run().unwrap()),
            ("demo".to_owned(), RunInfo::default())
        );
        let same = listed(db, false, Vec::with_capacity, |part, row| {
            part.push(row == running.listed());
            Ok(())
        });
        assert_eq!(same.unwrap(), [[true]]);
        rename(db, &first.id, "web", "other").unwrap();
        assert_eq!(get("other"), found("other"));
        assert_eq!(rename(db, &first.id, "other", "abcd").unwrap_err().kind(), ErrorKind::NameInUse);
        assert_eq!(rename(db, "none", "none", "free").unwrap_err().kind(), ErrorKind::ContainerNotFound);
        let changed = |said| {
            change(db, &first.id, |row| {
                row.spec = "{}".into();
                Ok(said)
            })
        };
        assert!(!changed(false).unwrap());
        assert_ne!(super::get(db, &first.id).unwrap().unwrap().spec, "{}");
        assert!(changed(true).unwrap());
        let changed = super::get(db, &first.id).unwrap().unwrap();
        assert_eq!((changed.spec.as_str(), changed.run), ("{}", running.run.clone()));
        for _ in 0..2 {
            assert!(delete(db, &first.id, &Last::default(), 137, false).unwrap().is_empty());
            assert!(super::get(db, &first.id).unwrap().is_none());
        }
        assert_eq!(update(db, &running).unwrap_err().kind(), ErrorKind::ContainerNotFound);
        assert_eq!((list(db, None).unwrap().len(), ids(db).unwrap().len()), (3, 3));
        let bound = ContainerRow {
            session: Some("s".into()),
            auto_remove: true,
            ..row(&"ef".repeat(32), "bound", "img")
        };
        insert(db, &bound, None, &[]).unwrap();
        assert_eq!((of_session(db, "s").unwrap(), of_session(db, "t").unwrap()), (vec![bound], vec![]));
    }

    #[test]
    fn a_program_has_one_id_in_all_events_though_the_container_s_own_was_started_again() {
        let (_dir, store) = temporary();
        let db = &store.db;
        let sql = "INSERT INTO images VALUES ('img', 'm', 't', x'', x'', NULL, 0, 0, 'amd64', 'linux', NULL, '{}', NULL, 0, '[]')";
        db.write(|tx| Ok(tx.execute(sql, [])?)).unwrap();
        let running = ContainerRow {
            state: "running".into(),
            started_at: Some(6),
            ..row(&"ab".repeat(32), "box", "img")
        };
        insert(db, &running, None, &[]).unwrap();
        let record = |number, what| Record { number, time: 7, what };
        take_over(db, &running, &[record(1, Happening::ExecStart(3, "ls".into()))]).unwrap();
        let ended = ContainerRow { state: "exited".into(), started_at: Some(8), ..running };
        let last = Last { journal: vec![record(2, Happening::ExecDie(3, 0))], ..Last::default() };
        assert!(settle(db, &ended, Some(6), &last).unwrap());
        let told = db.read(|connection| events::after(connection, 0, 10)).unwrap();
        let ids: Vec<_> = told.iter().filter_map(|event| event.attributes.get("execID")).collect();
        assert!(ids.len() == 2 && ids[0] == ids[1], "{told:?}");
    }

    #[test]
    fn an_end_is_told_once() {
        let (_dir, store) = temporary();
        let db = &store.db;
        let sql = "INSERT INTO images VALUES ('img', 'm', 't', x'', x'', NULL, 0, 0, 'amd64', 'linux', NULL, '{}', NULL, 0, '[]')";
        db.write(|tx| Ok(tx.execute(sql, [])?)).unwrap();
        let exit = Exit { code: 7, signal: None, finished_at: 9, core_dumped: false, timed_out: false };
        let died = Record { number: 5, time: 9, what: coble_protocol::Happening::Died(exit) };
        // The monitor has written down that the program ended, and was killed before, or after, it wrote that to the journal; which somebody may have taken over.
        for (n, (known, journal)) in
            [(4, Vec::new()), (4, vec![died.clone()]), (5, Vec::new())].into_iter().enumerate()
        {
            let id = format!("{n:064}");
            let running = ContainerRow {
                state: "running".into(),
                started_at: Some(5),
                journal: known,
                ..row(&id, &format!("n{n}"), "img")
            };
            insert(db, &running, None, &[]).unwrap();
            let ended = ContainerRow { state: "exited".into(), exit_code: Some(7), ..running };
            let last = Last { exit: None, journal, oom: false, record: Some(5) };
            assert!(settle(db, &ended, Some(5), &last).unwrap());
            let told = db.read(|c| events::after(c, 0, 100)).unwrap();
            let told = told.iter().filter(|event| event.actor == id && event.action == "die").count();
            assert_eq!(told, usize::from(known < 5), "{n}");
        }
    }

    /// The list of a large store reads nothing but its index.
    #[test]
    fn a_list_needs_no_rows() {
        let (_dir, store) = temporary();
        let plan: Vec<String> = store
            .db
            .read(|connection| {
                let mut statement = connection.prepare(&format!("EXPLAIN QUERY PLAN {}", listing(true)))?;
                let rows = statement.query_map([0, 1], |row| row.get(3))?.collect::<rusqlite::Result<_>>()?;
                Ok(rows)
            })
            .unwrap();
        let wanted =
            "SEARCH containers USING COVERING INDEX containers_listed (created_at>? AND created_at<?)";
        assert_eq!(plan, [wanted]);
    }

    #[test]
    fn a_long_list_is_whole_and_in_order() {
        let (_dir, store) = temporary();
        store
            .db
            .write(|tx| {
                let sql = "INSERT INTO images VALUES ('img', 'm', 't', x'', x'', NULL, 0, 0, 'amd64', 'linux', NULL, '{}', NULL, 0, '[]')";
                tx.execute(sql, [])?;
                for n in 0..2 * MANY {
                    // Several of one time, also in the middle.
                    let made = ContainerRow {
                        created_at: n as u64 / 3,
                        ..row(&format!("{n:064}"), &format!("n{n}"), "img")
                    };
                    insert_in(tx, &made)?;
                }
                Ok(())
            })
            .unwrap();
        let parts = listed(&store.db, true, Vec::with_capacity, |part, row| {
            part.push((std::cmp::Reverse(row.created_at), row.id.to_owned()));
            Ok(())
        })
        .unwrap();
        let list = parts.concat();
        assert!(parts.len() == 2 && list.len() == 2 * MANY && list.is_sorted());
    }
}
