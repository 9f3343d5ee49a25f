//! Rows of containers.

use rusqlite::{Connection, Params, Row, Transaction, params};
use serde::{Deserialize, Serialize};

use super::Db;
use super::images::signed;
use crate::container::{ContainerSpec, Isolation, State, Warning};
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
}

/// What a list shows of a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Listed {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) image: String,
    pub(crate) image_id: String,
    /// Program and arguments, as JSON.
    pub(crate) command: String,
    pub(crate) state: String,
    pub(crate) created_at: u64,
    pub(crate) started_at: Option<u64>,
    pub(crate) finished_at: Option<u64>,
    pub(crate) exit_code: Option<i32>,
    pub(crate) session: Option<String>,
    /// Labels, as JSON.
    pub(crate) labels: String,
}

/// What the current or last run of a container got.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct RunInfo {
    pub(crate) isolation: Option<Isolation>,
    pub(crate) warnings: Vec<Warning>,
}

impl ContainerRow {
    /// The state as this row has it.
    pub(crate) fn state(&self) -> Result<State> {
        state_named(&self.state).ok_or_else(|| self.damaged(&format!("unknown state \"{}\"", self.state)))
    }

    /// What a list shows of it.
    pub(crate) fn listed(&self) -> Listed {
        Listed {
            id: self.id.clone(),
            name: self.name.clone(),
            image: self.image.clone(),
            image_id: self.image_id.clone(),
            command: self.command.clone(),
            state: self.state.clone(),
            created_at: self.created_at,
            started_at: self.started_at,
            finished_at: self.finished_at,
            exit_code: self.exit_code,
            session: self.session.clone(),
            labels: self.labels.clone(),
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

    /// Sets what the run got.
    pub(crate) fn set_run(&mut self, run: &RunInfo) -> Result<()> {
        let text = serde_json::to_string(run).map_err(|error| {
            Error::new(ErrorKind::Internal, format!("writing the record of a run: {error}"))
        })?;
        self.run = Some(text);
        Ok(())
    }

    fn json<T: serde::de::DeserializeOwned>(&self, text: &str) -> Result<T> {
        serde_json::from_str(text).map_err(|error| self.damaged(&error.to_string()))
    }

    fn damaged(&self, why: &str) -> Error {
        damaged(&self.id, why)
    }
}

impl Listed {
    /// The state as the row has it.
    pub(crate) fn state(&self) -> Result<State> {
        state_named(&self.state)
            .ok_or_else(|| damaged(&self.id, &format!("unknown state \"{}\"", self.state)))
    }

    /// Reads a column of JSON.
    pub(crate) fn json<T: serde::de::DeserializeOwned>(&self, text: &str) -> Result<T> {
        serde_json::from_str(text).map_err(|error| damaged(&self.id, &error.to_string()))
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
                       session, auto_remove, run, labels";

fn from_row(row: &Row<'_>) -> rusqlite::Result<ContainerRow> {
    let time = |value: i64| u64::try_from(value).unwrap_or(0);
    Ok(ContainerRow {
        id: row.get(0)?,
        name: row.get(1)?,
        image: row.get(2)?,
        image_id: row.get(3)?,
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
    })
}

fn select(connection: &Connection, rest: &str, params: impl Params) -> Result<Vec<ContainerRow>> {
    let mut statement = connection.prepare_cached(&format!("SELECT {COLUMNS} FROM containers {rest}"))?;
    let rows = statement.query_map(params, from_row)?.collect::<rusqlite::Result<Vec<_>>>()?;
    Ok(rows)
}

/// Adds a container. Fails with `NameInUse` if the name is taken, and with `ImageNotFound` if the image has gone.
pub(crate) fn insert(db: &Db, row: &ContainerRow) -> Result<()> {
    db.write(|tx| insert_in(tx, row))
}

fn insert_in(tx: &Transaction<'_>, row: &ContainerRow) -> Result<()> {
    let sql = format!(
        "INSERT INTO containers ({COLUMNS}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17)"
    );
    let result = tx.prepare_cached(&sql)?.execute(params![
        row.id,
        row.name,
        row.image,
        row.image_id,
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
    ]);
    let Err(error) = result else { return super::images::touch(tx, &row.image_id) };
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
pub(crate) fn rename(db: &Db, id: &str, name: &str) -> Result<()> {
    db.write(|tx| match tx.execute("UPDATE containers SET name = ?2 WHERE id = ?1", params![id, name]) {
        Ok(0) => Err(gone(id)),
        Ok(_) => Ok(()),
        Err(error)
            if error.sqlite_error().map(|error| error.extended_code)
                == Some(rusqlite::ffi::SQLITE_CONSTRAINT_UNIQUE) =>
        {
            Err(name_in_use(name))
        }
        Err(error) => Err(error.into()),
    })
}

/// Sets whether a container is removed at its end.
pub(crate) fn set_auto_remove(db: &Db, id: &str, auto_remove: bool) -> Result<()> {
    let sql = "UPDATE containers SET auto_remove = ?2 WHERE id = ?1";
    match db.write(|tx| Ok(tx.execute(sql, params![id, auto_remove])?))? {
        0 => Err(gone(id)),
        _ => Ok(()),
    }
}

/// Sets what a container was asked for, and what its run got. Neither changes in any other way but by the one that holds its lock.
pub(crate) fn set_spec(db: &Db, id: &str, spec: &str, run: Option<&str>) -> Result<()> {
    let sql = "UPDATE containers SET spec = ?2, run = coalesce(?3, run) WHERE id = ?1";
    match db.write(|tx| Ok(tx.execute(sql, params![id, spec, run])?))? {
        0 => Err(gone(id)),
        _ => Ok(()),
    }
}

fn gone(name: &str) -> Error {
    Error::new(ErrorKind::ContainerNotFound, format!("no container \"{name}\"")).with_object(name)
}

/// What a list shows of the containers that run, or of all, newest first.
pub(crate) fn listed(db: &Db, all: bool) -> Result<Vec<Listed>> {
    let rest = if all { "" } else { "WHERE state = 'running'" };
    let sql = format!(
        "SELECT id, name, image, image_id, command, state, created_at, started_at, finished_at, exit_code, session, labels \
         FROM containers INDEXED BY containers_listed {rest} ORDER BY created_at DESC, id"
    );
    let time = |value: i64| u64::try_from(value).unwrap_or(0);
    db.read(|connection| {
        let mut statement = connection.prepare_cached(&sql)?;
        let rows = statement.query_map([], |row| {
            Ok(Listed {
                id: row.get(0)?,
                name: row.get(1)?,
                image: row.get(2)?,
                image_id: row.get(3)?,
                command: row.get(4)?,
                state: row.get(5)?,
                created_at: time(row.get(6)?),
                started_at: row.get::<_, Option<i64>>(7)?.map(time),
                finished_at: row.get::<_, Option<i64>>(8)?.map(time),
                exit_code: row.get(9)?,
                session: row.get(10)?,
                labels: row.get(11)?,
            })
        })?;
        Ok(rows.collect::<rusqlite::Result<Vec<_>>>()?)
    })
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
    let changed = db.write(|tx| {
        let mut statement = tx.prepare_cached(
            "UPDATE containers SET state = ?2, started_at = ?3, finished_at = ?4, exit_code = ?5, pid = ?6, error = ?7, run = ?8 WHERE id = ?1",
        )?;
        Ok(statement.execute(params![
            row.id,
            row.state,
            row.started_at.map(signed),
            row.finished_at.map(signed),
            row.exit_code,
            row.pid,
            row.error,
            row.run
        ])?)
    })?;
    if changed == 0 {
        return Err(gone(&row.name));
    }
    Ok(())
}

/// Writes the end of a run, if the row still says that this run, which began at `started_at`, is going on. False if it does not.
pub(crate) fn settle(db: &Db, row: &ContainerRow, started_at: Option<u64>) -> Result<bool> {
    db.write(|tx| {
        let mut statement = tx.prepare_cached(
            "UPDATE containers SET state = ?2, finished_at = ?3, exit_code = ?4, pid = NULL, error = ?5, run = ?6
             WHERE id = ?1 AND state = 'running' AND started_at IS ?7",
        )?;
        let changed = statement.execute(params![
            row.id,
            row.state,
            row.finished_at.map(signed),
            row.exit_code,
            row.error,
            row.run,
            started_at.map(signed)
        ])?;
        Ok(changed > 0)
    })
}

/// Deletes a container's row; false if it was not there.
pub(crate) fn delete(db: &Db, id: &str) -> Result<bool> {
    db.write(|tx| Ok(tx.prepare_cached("DELETE FROM containers WHERE id = ?1")?.execute([id])? > 0))
}

#[cfg(test)]
mod tests {
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
    fn containers_are_found_by_id_name_and_prefix() {
        let (_dir, store) = temporary();
        let db = &store.db;
        db.write(|tx| {
            let sql = "INSERT INTO images VALUES ('img', 'm', 't', x'', x'', NULL, 0, 0, 'amd64', 'linux', NULL, '{}', NULL, 0)";
            tx.execute(sql, [])?;
            Ok(())
        })
        .unwrap();
        let first = row(&"abcd".repeat(16), "web", "img");
        insert(db, &first).unwrap();
        let taken = insert(db, &row(&"abce".repeat(16), "web", "img")).unwrap_err();
        assert_eq!((taken.kind(), taken.object()), (ErrorKind::NameInUse, Some("web")));
        assert_eq!(
            insert(db, &row(&"abce".repeat(16), "db", "gone")).unwrap_err().kind(),
            ErrorKind::ImageNotFound
        );
        insert(db, &row(&"abce".repeat(16), "abcd", "img")).unwrap();
        let get =
            |text: &str| find(db, text).map(|row| row.map(|row| row.name)).map_err(|error| error.kind());
        let found = |name: &str| Ok(Some(name.to_owned()));
        assert_eq!(get(&"abcd".repeat(16)), found("web"));
        assert_eq!(get("abcd"), found("abcd"), "a name comes before a prefix");
        assert_eq!(get("abcda"), found("web"));
        assert_eq!(get("abc"), Ok(None));
        assert_eq!(get("%"), Ok(None));
        insert(db, &row(&format!("abcf1{:059}", 0), "x", "img")).unwrap();
        insert(db, &row(&format!("abcf2{:059}", 0), "y", "img")).unwrap();
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
        assert_eq!(listed(db, false).unwrap(), [running.listed()]);
        rename(db, &first.id, "other").unwrap();
        assert_eq!(get("other"), found("other"));
        assert_eq!(rename(db, &first.id, "abcd").unwrap_err().kind(), ErrorKind::NameInUse);
        assert_eq!(rename(db, "none", "free").unwrap_err().kind(), ErrorKind::ContainerNotFound);
        set_auto_remove(db, &first.id, true).unwrap();
        set_spec(db, &first.id, "{}", None).unwrap();
        let changed = super::get(db, &first.id).unwrap().unwrap();
        assert_eq!(
            (changed.auto_remove, changed.spec.as_str(), changed.run),
            (true, "{}", running.run.clone())
        );
        assert!(delete(db, &first.id).unwrap() && !delete(db, &first.id).unwrap());
        assert_eq!(update(db, &running).unwrap_err().kind(), ErrorKind::ContainerNotFound);
        assert_eq!((list(db, None).unwrap().len(), ids(db).unwrap().len()), (3, 3));
        let bound = ContainerRow {
            session: Some("s".into()),
            auto_remove: true,
            ..row(&"ef".repeat(32), "bound", "img")
        };
        insert(db, &bound).unwrap();
        assert_eq!((of_session(db, "s").unwrap(), of_session(db, "t").unwrap()), (vec![bound], vec![]));
    }

    /// The list of a large store reads nothing but its index.
    #[test]
    fn a_list_needs_no_rows() {
        let (_dir, store) = temporary();
        let plan: Vec<String> = store
            .db
            .read(|connection| {
                let sql = "EXPLAIN QUERY PLAN SELECT id, name, image, image_id, command, state, created_at, started_at, finished_at, exit_code, session, labels \
                           FROM containers INDEXED BY containers_listed ORDER BY created_at DESC, id";
                let mut statement = connection.prepare(sql)?;
                let rows = statement.query_map([], |row| row.get(3))?.collect::<rusqlite::Result<_>>()?;
                Ok(rows)
            })
            .unwrap();
        assert_eq!(plan, ["SCAN containers USING COVERING INDEX containers_listed"]);
    }
}
