//! Rows of volumes, and of who has which mounted where.

use std::collections::BTreeMap;

use rusqlite::{Connection, Params, Row, Transaction, params};

use super::images::signed;
use super::{Db, events, now_nanos};
use crate::error::{Error, ErrorKind, Result};

/// A volume, as the database has it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct VolumeRow {
    pub(crate) name: String,
    /// Nanoseconds since the epoch.
    pub(crate) created_at: u64,
    /// Labels, as JSON.
    pub(crate) labels: String,
    /// The engine has named it.
    pub(crate) anonymous: bool,
    /// The container that it was made for.
    pub(crate) owner: Option<String>,
    /// That container has no row yet.
    pub(crate) pending: bool,
    /// The volume that it is a clone of.
    pub(crate) source: Option<String>,
}

/// A volume of a container, and its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) volume: String,
    pub(crate) destination: String,
    pub(crate) read_only: bool,
}

impl VolumeRow {
    /// The labels.
    pub(crate) fn labels(&self) -> Result<BTreeMap<String, String>> {
        serde_json::from_str(&self.labels).map_err(|error| {
            let why = format!("the row of volume \"{}\": {error}", self.name);
            Error::new(ErrorKind::Database, why).with_object(&self.name)
        })
    }
}

const COLUMNS: &str = "name, created_at, labels, anonymous, owner, pending, source";

fn from_row(row: &Row<'_>) -> rusqlite::Result<VolumeRow> {
    Ok(VolumeRow {
        name: row.get(0)?,
        created_at: u64::try_from(row.get::<_, i64>(1)?).unwrap_or(0),
        labels: row.get(2)?,
        anonymous: row.get(3)?,
        owner: row.get(4)?,
        pending: row.get(5)?,
        source: row.get(6)?,
    })
}

fn select(connection: &Connection, rest: &str, params: impl Params) -> Result<Vec<VolumeRow>> {
    let mut statement = connection.prepare_cached(&format!("SELECT {COLUMNS} FROM volumes {rest}"))?;
    let rows = statement.query_map(params, from_row)?.collect::<rusqlite::Result<Vec<_>>>()?;
    Ok(rows)
}

fn names(connection: &Connection, sql: &str, params: impl Params) -> Result<Vec<String>> {
    let mut statement = connection.prepare_cached(sql)?;
    let names = statement.query_map(params, |row| row.get(0))?.collect::<rusqlite::Result<Vec<_>>>()?;
    Ok(names)
}

/// The volume with this name.
pub(crate) fn get(connection: &Connection, name: &str) -> Result<Option<VolumeRow>> {
    Ok(select(connection, "WHERE name = ?1", [name])?.pop())
}

/// All volumes, by name. Those whose containers are on their way are not among them.
pub(crate) fn list(connection: &Connection) -> Result<Vec<VolumeRow>> {
    select(connection, "WHERE NOT pending ORDER BY name", [])
}

/// Whether there is a volume with this name.
pub(crate) fn exists(connection: &Connection, name: &str) -> Result<bool> {
    Ok(connection.prepare_cached("SELECT 1 FROM volumes WHERE name = ?1")?.exists([name])?)
}

/// The names of all volumes.
pub(crate) fn all_names(connection: &Connection) -> Result<Vec<String>> {
    names(connection, "SELECT name FROM volumes", [])
}

/// The containers that volumes were made for and that have no rows.
pub(crate) fn pending_owners(connection: &Connection) -> Result<Vec<String>> {
    names(connection, "SELECT DISTINCT owner FROM volumes WHERE pending AND owner IS NOT NULL", [])
}

/// The volume that each one is a clone of, from the one to the one that is none. The volume itself comes first.
pub(crate) fn chain(connection: &Connection, row: VolumeRow) -> Result<Vec<VolumeRow>> {
    let mut chain = vec![row];
    while let Some(source) = chain.last().and_then(|row| row.source.clone()) {
        let row = get(connection, &source)?.filter(|_| chain.len() <= DEEPEST);
        chain.push(row.ok_or_else(|| {
            Error::new(ErrorKind::Database, format!("volume \"{source}\", which has clones, is not there"))
        })?);
    }
    Ok(chain)
}

/// How many clones there may be upon each other: as for layers, an overlay has one page for their names.
pub(crate) const DEEPEST: usize = 32;

/// The clones of a volume.
pub(crate) fn clones(connection: &Connection, name: &str) -> Result<Vec<String>> {
    names(connection, "SELECT name FROM volumes WHERE source = ?1 ORDER BY name", [name])
}

/// The containers that have a volume, by name.
pub(crate) fn users(connection: &Connection, name: &str) -> Result<Vec<(String, String)>> {
    let sql =
        "SELECT DISTINCT c.id, c.name FROM container_volumes v JOIN containers c ON c.id = v.container_id
         WHERE v.volume = ?1 ORDER BY c.name";
    let mut statement = connection.prepare_cached(sql)?;
    let users = statement
        .query_map([name], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<rusqlite::Result<Vec<_>>>()?;
    Ok(users)
}

/// Whether a container that has a volume runs, as far as is on record.
pub(crate) fn is_mounted(connection: &Connection, name: &str) -> Result<bool> {
    let sql = "SELECT 1 FROM container_volumes v JOIN containers c ON c.id = v.container_id WHERE v.volume = ?1 AND c.state = 'running'";
    Ok(connection.prepare_cached(sql)?.exists([name])?)
}

/// How many containers have each volume that any has.
pub(crate) fn counts(connection: &Connection) -> Result<BTreeMap<String, u64>> {
    let sql = "SELECT volume, count(DISTINCT container_id) FROM container_volumes GROUP BY volume";
    let mut statement = connection.prepare_cached(sql)?;
    let counts = statement
        .query_map([], |row| Ok((row.get(0)?, row.get::<_, i64>(1)? as u64)))?
        .collect::<rusqlite::Result<_>>()?;
    Ok(counts)
}

/// The volumes of a container with their places.
pub(crate) fn of_container(connection: &Connection, id: &str) -> Result<Vec<Place>> {
    let sql = "SELECT volume, destination, read_only FROM container_volumes WHERE container_id = ?1 ORDER BY destination";
    let mut statement = connection.prepare_cached(sql)?;
    let places = statement
        .query_map([id], |row| {
            Ok(Place { volume: row.get(0)?, destination: row.get(1)?, read_only: row.get(2)? })
        })?
        .collect::<rusqlite::Result<Vec<_>>>()?;
    Ok(places)
}

/// Adds a volume.
pub(crate) fn insert(tx: &Transaction<'_>, row: &VolumeRow) -> Result<()> {
    tx.prepare_cached(&format!("INSERT INTO volumes ({COLUMNS}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)"))?
        .execute(params![
            row.name,
            signed(row.created_at),
            row.labels,
            row.anonymous,
            row.owner,
            row.pending,
            row.source
        ])?;
    told(tx, &row.name, "create", &[])
}

/// Deletes a volume that nobody has. Fails with `InUse` if somebody has it, or a clone of it.
pub(crate) fn delete(tx: &Transaction<'_>, name: &str) -> Result<bool> {
    if !exists(tx, name)? {
        return Ok(false);
    }
    let users = users(tx, name)?;
    if !users.is_empty() {
        let list: Vec<String> =
            users.iter().map(|(id, name)| format!("\"{name}\" ({})", short(id))).collect();
        let why = format!("volume \"{name}\" is in use by {}", several("container", &list));
        return Err(Error::new(ErrorKind::InUse, why)
            .with_object(name)
            .with_hint("remove what uses it first; a container that does not run uses it, too"));
    }
    let clones = clones(tx, name)?;
    if !clones.is_empty() {
        let list: Vec<String> = clones.iter().map(|name| format!("\"{name}\"")).collect();
        let why = format!("volume \"{name}\" is what {} is made upon", several("clone", &list));
        return Err(Error::new(ErrorKind::InUse, why).with_object(name).with_hint("remove its clones first"));
    }
    told(tx, name, "destroy", &[])?;
    Ok(tx.prepare_cached("DELETE FROM volumes WHERE name = ?1")?.execute([name])? > 0)
}

/// One or several, of many only the first.
fn several(what: &str, list: &[String]) -> String {
    const SHOWN: usize = 5;
    let shown = list.get(..SHOWN).unwrap_or(list).join(", ");
    match list.len() {
        0..=1 => format!("{what} {shown}"),
        2..=SHOWN => format!("{what}s {shown}"),
        more => format!("{what}s {shown} and {} more", more - SHOWN),
    }
}

fn short(id: &str) -> &str {
    id.get(..12).unwrap_or(id)
}

/// Gives a container its volumes, in the transaction that adds it.
pub(crate) fn give(tx: &Transaction<'_>, id: &str, places: &[Place]) -> Result<()> {
    if places.is_empty() {
        return Ok(());
    }
    let sql = "INSERT INTO container_volumes (container_id, destination, volume, read_only) VALUES (?1, ?2, ?3, ?4)";
    for place in places {
        let added =
            tx.prepare_cached(sql)?.execute(params![id, place.destination, place.volume, place.read_only]);
        match added {
            Ok(_) => {}
            Err(error)
                if error.sqlite_error().map(|error| error.extended_code)
                    == Some(rusqlite::ffi::SQLITE_CONSTRAINT_FOREIGNKEY) =>
            {
                let why = format!("volume \"{}\" was removed in the meantime", place.volume);
                return Err(Error::new(ErrorKind::VolumeNotFound, why).with_object(&place.volume));
            }
            Err(error) => return Err(error.into()),
        }
    }
    tx.prepare_cached("UPDATE volumes SET pending = 0 WHERE pending AND owner = ?1")?.execute([id])?;
    Ok(())
}

/// Takes away the volumes that were made for a container and that nobody else has, or has a clone of. With `pending`: only if the container has never had a row. Returns their names.
pub(crate) fn take_of(tx: &Transaction<'_>, id: &str, pending: bool) -> Result<Vec<String>> {
    let sql = "SELECT name FROM volumes v WHERE anonymous AND owner = ?1 AND (pending OR NOT ?2)
         AND NOT EXISTS (SELECT 1 FROM container_volumes WHERE volume = v.name)
         AND NOT EXISTS (SELECT 1 FROM volumes WHERE source = v.name)";
    let found = names(tx, sql, params![id, pending])?;
    for name in &found {
        told(tx, name, "destroy", &[])?;
        tx.prepare_cached("DELETE FROM volumes WHERE name = ?1")?.execute([name])?;
    }
    Ok(found)
}

/// Records that the volumes of a container are mounted, or are not any more, as docker has it.
pub(crate) fn mounted(tx: &Transaction<'_>, id: &str, mounted: bool) -> Result<()> {
    for place in of_container(tx, id)? {
        let mut extra = vec![("container", id.to_owned())];
        if mounted {
            extra.push(("destination", place.destination));
            extra.push(("propagation", String::new()));
            extra.push(("read/write", (!place.read_only).to_string()));
        }
        told(tx, &place.volume, if mounted { "mount" } else { "unmount" }, &extra)?;
    }
    Ok(())
}

/// Adds an event of a volume.
pub(crate) fn told(tx: &Transaction<'_>, name: &str, action: &str, extra: events::Extra<'_>) -> Result<()> {
    let mut attributes = BTreeMap::from([("driver".to_owned(), "local".to_owned())]);
    attributes.extend(extra.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
    events::add(tx, ("volume", action, name), now_nanos(), &attributes)
}

/// The volume with this name, or an error that says that there is none.
pub(crate) fn find(db: &Db, name: &str) -> Result<VolumeRow> {
    db.read(|connection| get(connection, name))?.ok_or_else(|| not_found(name))
}

/// The error for a volume that is not there.
pub(crate) fn not_found(name: &str) -> Error {
    Error::new(ErrorKind::VolumeNotFound, format!("no volume \"{}\"", name.escape_default()))
        .with_object(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::container::ContainerSpec;
    use crate::state::tests::temporary;
    use crate::state::{ContainerRow, containers};

    fn volume(name: &str) -> VolumeRow {
        VolumeRow { name: name.into(), labels: "{}".into(), ..VolumeRow::default() }
    }

    fn container(id: &str, name: &str) -> ContainerRow {
        ContainerRow {
            id: id.into(),
            name: name.into(),
            image: "demo".into(),
            spec: serde_json::to_string(&ContainerSpec::new("demo")).unwrap(),
            command: "[]".into(),
            state: "created".into(),
            labels: "{}".into(),
            ..ContainerRow::default()
        }
    }

    #[test]
    fn what_somebody_has_stays() {
        let (_dir, store) = temporary();
        let db = &store.db;
        let place = |volume: &str| Place {
            volume: volume.into(),
            destination: format!("/{volume}"),
            read_only: false,
        };
        db.write(|tx| insert(tx, &volume("data"))).unwrap();
        let owned = |name: &str| VolumeRow {
            anonymous: true,
            owner: Some("c1".into()),
            pending: true,
            ..volume(name)
        };
        db.write(|tx| insert(tx, &owned("a1")).and_then(|()| insert(tx, &owned("a2")))).unwrap();
        assert_eq!(db.read(list).unwrap(), [volume("data")]);
        containers::insert(db, &container("c1", "one"), None, &[place("data"), place("a1"), place("a2")])
            .unwrap();
        assert_eq!(db.read(list).unwrap().len(), 3);
        containers::insert(db, &container("c2", "two"), None, &[place("a2")]).unwrap();
        let missing = containers::insert(db, &container("c3", "three"), None, &[place("none")]).unwrap_err();
        assert_eq!((missing.kind(), missing.object()), (ErrorKind::VolumeNotFound, Some("none")));
        let refused = db.write(|tx| delete(tx, "a2")).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::InUse);
        assert!(refused.to_string().contains("\"one\" (c1), \"two\" (c2)"), "{refused}");
        assert_eq!(db.read(counts).unwrap()["a2"], 2);
        // What was made for it goes with it, but not what another one has.
        let gone = containers::delete(db, "c1", &Default::default(), 137, true).unwrap();
        assert_eq!(gone, ["a1"]);
        assert_eq!(containers::delete(db, "c2", &Default::default(), 137, true).unwrap(), [""; 0]);
        assert!(db.write(|tx| delete(tx, "data")).unwrap());
        assert!(!db.write(|tx| delete(tx, "data")).unwrap());
        assert_eq!(db.read(all_names).unwrap(), ["a2"]);
    }

    #[test]
    fn a_source_stays_as_long_as_its_clones() {
        let (_dir, store) = temporary();
        let db = &store.db;
        let clone = |name: &str, source: &str| VolumeRow { source: Some(source.into()), ..volume(name) };
        db.write(|tx| {
            insert(tx, &volume("seed"))?;
            insert(tx, &clone("one", "seed"))?;
            insert(tx, &clone("two", "one"))
        })
        .unwrap();
        let chain = db.read(|connection| chain(connection, clone("two", "one"))).unwrap();
        assert_eq!(chain.iter().map(|row| row.name.as_str()).collect::<Vec<_>>(), ["two", "one", "seed"]);
        for name in ["seed", "one"] {
            assert_eq!(db.write(|tx| delete(tx, name)).unwrap_err().kind(), ErrorKind::InUse);
        }
        for name in ["two", "one", "seed"] {
            assert!(db.write(|tx| delete(tx, name)).unwrap());
        }
    }
}
