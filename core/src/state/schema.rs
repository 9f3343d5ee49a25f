//! The tables, and the way from older versions of them to this one.

use rusqlite::{Connection, TransactionBehavior};

use crate::error::{Error, ErrorKind, Result};

/// "cobl", in the header of the database file.
const APPLICATION: i32 = 0x636f_626c;

/// Step n leads from version n to version n + 1. Steps are never changed once released.
const STEPS: &[&str] = &[
    r"
CREATE TABLE images (
    id TEXT PRIMARY KEY NOT NULL,           -- digest of the configuration
    manifest_digest TEXT NOT NULL,
    manifest_type TEXT NOT NULL,
    manifest BLOB NOT NULL,
    config BLOB NOT NULL,
    created TEXT,                           -- as the configuration says
    created_us INTEGER NOT NULL,            -- the same, for ordering
    size INTEGER NOT NULL,
    architecture TEXT NOT NULL,
    os TEXT NOT NULL,
    variant TEXT,
    labels TEXT NOT NULL                    -- JSON object
) STRICT, WITHOUT ROWID;
CREATE INDEX images_by_age ON images (created_us);
CREATE INDEX images_by_manifest ON images (manifest_digest);

CREATE TABLE tags (
    reference TEXT PRIMARY KEY NOT NULL,    -- canonical, with a tag
    image_id TEXT NOT NULL REFERENCES images (id) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;
CREATE INDEX tags_by_image ON tags (image_id);

CREATE TABLE blobs (
    digest TEXT PRIMARY KEY NOT NULL,
    size INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE image_blobs (
    image_id TEXT NOT NULL REFERENCES images (id) ON DELETE CASCADE,
    digest TEXT NOT NULL REFERENCES blobs (digest) ON DELETE RESTRICT,
    PRIMARY KEY (image_id, digest)
) STRICT, WITHOUT ROWID;
CREATE INDEX image_blobs_by_digest ON image_blobs (digest);

CREATE TABLE image_layers (
    image_id TEXT NOT NULL REFERENCES images (id) ON DELETE CASCADE,
    position INTEGER NOT NULL,              -- 0 is the lowest
    diff_id TEXT NOT NULL,
    chain_id TEXT NOT NULL,
    digest TEXT NOT NULL,
    media_type TEXT NOT NULL,
    size INTEGER NOT NULL,
    PRIMARY KEY (image_id, position)
) STRICT, WITHOUT ROWID;
CREATE INDEX image_layers_by_chain ON image_layers (chain_id);

-- Unpacked layers: directory layers/<n>.
CREATE TABLE layers (
    n INTEGER PRIMARY KEY AUTOINCREMENT,
    chain_id TEXT NOT NULL,
    idmap TEXT NOT NULL,
    parent INTEGER REFERENCES layers (n) ON DELETE SET NULL,
    diff_id TEXT NOT NULL,
    bytes INTEGER NOT NULL,
    UNIQUE (chain_id, idmap)
) STRICT;
CREATE INDEX layers_by_parent ON layers (parent);

CREATE TABLE containers (
    id TEXT PRIMARY KEY NOT NULL,
    name TEXT NOT NULL UNIQUE,
    image TEXT NOT NULL,                    -- as the caller named it
    image_id TEXT NOT NULL REFERENCES images (id) ON DELETE RESTRICT,
    spec TEXT NOT NULL,                     -- JSON, as are command and run
    command TEXT NOT NULL,
    state TEXT NOT NULL,
    created_at INTEGER NOT NULL,            -- nanoseconds since the epoch, as are the other times
    started_at INTEGER,
    finished_at INTEGER,
    exit_code INTEGER,
    pid INTEGER,
    error TEXT,
    session TEXT,
    auto_remove INTEGER NOT NULL,
    run TEXT
) STRICT, WITHOUT ROWID;
CREATE INDEX containers_by_image ON containers (image_id);
CREATE INDEX containers_by_age ON containers (created_at);
CREATE INDEX containers_by_session ON containers (session) WHERE session IS NOT NULL;
",
    r"
ALTER TABLE images ADD COLUMN os_version TEXT;
ALTER TABLE images ADD COLUMN used_us INTEGER NOT NULL DEFAULT 0;  -- when a container was last made of it, or it was added

-- Documents that list the images of a name for several platforms. They are blobs, too.
CREATE TABLE indexes (
    digest TEXT PRIMARY KEY NOT NULL REFERENCES blobs (digest) ON DELETE RESTRICT,
    media_type TEXT NOT NULL,
    document BLOB NOT NULL
) STRICT, WITHOUT ROWID;
ALTER TABLE tags ADD COLUMN index_digest TEXT REFERENCES indexes (digest) ON DELETE RESTRICT;

-- The images of a name beside the one in tags, which is the one for the host.
CREATE TABLE tag_images (
    reference TEXT NOT NULL REFERENCES tags (reference) ON DELETE CASCADE,
    image_id TEXT NOT NULL REFERENCES images (id) ON DELETE CASCADE,
    PRIMARY KEY (reference, image_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX tag_images_by_image ON tag_images (image_id);
CREATE INDEX tags_by_index ON tags (index_digest) WHERE index_digest IS NOT NULL;
",
    r"
-- What a digest of a repository stands for: where images came from, and went to.
CREATE TABLE origins (
    repository TEXT NOT NULL,               -- canonical, without tag
    digest TEXT NOT NULL,                   -- of a manifest or index
    wanted TEXT NOT NULL,                   -- the platform that was chosen, or 'all'
    image_id TEXT NOT NULL REFERENCES images (id) ON DELETE CASCADE,
    pinned INTEGER NOT NULL,                -- asked for by digest, so that it has no other name
    PRIMARY KEY (repository, digest, wanted, image_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX origins_by_image ON origins (image_id);
CREATE INDEX origins_by_digest ON origins (digest);

-- The repositories that are known to have a blob.
CREATE TABLE blob_origins (
    digest TEXT NOT NULL REFERENCES blobs (digest) ON DELETE CASCADE,
    repository TEXT NOT NULL,
    PRIMARY KEY (digest, repository)
) STRICT, WITHOUT ROWID;
",
    r"
ALTER TABLE containers ADD COLUMN labels TEXT NOT NULL DEFAULT '{}';  -- those of the specification, for lists
UPDATE containers SET labels = coalesce(json_extract(spec, '$.labels'), '{}');

-- All that a list shows, without the rows themselves, which are some kilobytes each.
DROP INDEX containers_by_age;
CREATE INDEX containers_listed ON containers (
    created_at DESC, id, name, image, image_id, command, state, started_at, finished_at, exit_code, session, labels
);
",
    r"
-- What happened. Ids grow: the newest event is never deleted.
CREATE TABLE events (
    id INTEGER PRIMARY KEY NOT NULL,
    time INTEGER NOT NULL,                  -- nanoseconds since the epoch
    kind TEXT NOT NULL,                     -- of the object: container, image
    action TEXT NOT NULL,
    actor TEXT NOT NULL,                    -- the object
    attributes TEXT NOT NULL                -- JSON object of strings
) STRICT;
ALTER TABLE containers ADD COLUMN journal INTEGER NOT NULL DEFAULT 0;  -- the last record of the monitor's journal that was taken over
",
    r"
ALTER TABLE containers ADD COLUMN frozen TEXT NOT NULL DEFAULT '[]';  -- JSON array of names in frozen/, uppermost first
",
    r"
-- A container need not have an image.
CREATE TABLE containers_new (
    id TEXT PRIMARY KEY NOT NULL,
    name TEXT NOT NULL UNIQUE,
    image TEXT NOT NULL,                    -- as the caller named it, or the directory that it has instead
    image_id TEXT REFERENCES images (id) ON DELETE RESTRICT,
    spec TEXT NOT NULL,                     -- JSON, as are command, run, labels and frozen
    command TEXT NOT NULL,
    state TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    started_at INTEGER,
    finished_at INTEGER,
    exit_code INTEGER,
    pid INTEGER,
    error TEXT,
    session TEXT,
    auto_remove INTEGER NOT NULL,
    run TEXT,
    labels TEXT NOT NULL DEFAULT '{}',
    journal INTEGER NOT NULL DEFAULT 0,
    frozen TEXT NOT NULL DEFAULT '[]'
) STRICT, WITHOUT ROWID;
INSERT INTO containers_new SELECT id, name, image, image_id, spec, command, state, created_at, started_at, finished_at, exit_code, pid, error,
    session, auto_remove, run, labels, journal, frozen FROM containers;
DROP TABLE containers;
ALTER TABLE containers_new RENAME TO containers;
CREATE INDEX containers_by_image ON containers (image_id);
CREATE INDEX containers_by_session ON containers (session) WHERE session IS NOT NULL;
CREATE INDEX containers_listed ON containers (
    created_at DESC, id, name, image, image_id, command, state, started_at, finished_at, exit_code, session, labels
);
",
    r"
-- Ids of the host that containers have for user namespaces of their own.
CREATE TABLE ids (
    container_id TEXT NOT NULL REFERENCES containers (id) ON DELETE CASCADE,
    kind TEXT NOT NULL,                     -- user, group
    inside INTEGER NOT NULL,                -- the first id in the container
    outside INTEGER NOT NULL,               -- the first id of the host
    count INTEGER NOT NULL,
    PRIMARY KEY (container_id, kind, inside)
) STRICT, WITHOUT ROWID;
",
    r#"
ALTER TABLE images ADD COLUMN os_features TEXT NOT NULL DEFAULT '[]';  -- JSON list
UPDATE images SET os_features = json_extract(CAST(config AS TEXT), '$."os.features"')
    WHERE json_valid(CAST(config AS TEXT)) AND json_type(CAST(config AS TEXT), '$."os.features"') = 'array';
"#,
    r"
-- For which kind of id map a container's layers are unpacked that are for its own ids alone. Those of a kind go when no container has it.
CREATE TABLE idmaps (
    container_id TEXT PRIMARY KEY NOT NULL REFERENCES containers (id) ON DELETE CASCADE,
    idmap TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX idmaps_by_idmap ON idmaps (idmap);
",
    r"
CREATE TABLE volumes (
    name TEXT PRIMARY KEY NOT NULL,
    created_at INTEGER NOT NULL,
    labels TEXT NOT NULL,                   -- JSON object
    anonymous INTEGER NOT NULL,             -- named by the engine
    owner TEXT,                             -- id of the container that it was made for, which may have gone
    pending INTEGER NOT NULL,               -- that has no row yet
    source TEXT REFERENCES volumes (name) ON DELETE RESTRICT  -- what it is a clone of
) STRICT, WITHOUT ROWID;
CREATE INDEX volumes_by_owner ON volumes (owner) WHERE owner IS NOT NULL;
CREATE INDEX volumes_by_source ON volumes (source) WHERE source IS NOT NULL;

-- Which containers have which volumes.
CREATE TABLE container_volumes (
    container_id TEXT NOT NULL REFERENCES containers (id) ON DELETE CASCADE,
    destination TEXT NOT NULL,              -- the place in the container
    volume TEXT NOT NULL REFERENCES volumes (name) ON DELETE RESTRICT,
    read_only INTEGER NOT NULL,
    PRIMARY KEY (container_id, destination)
) STRICT, WITHOUT ROWID;
CREATE INDEX container_volumes_by_volume ON container_volumes (volume);
",
];

/// The version that this library reads and writes.
pub(super) const VERSION: i32 = STEPS.len() as i32;

/// The version of a database. 0 if it has no tables yet.
pub(super) fn version(connection: &Connection) -> Result<i32> {
    let version: i32 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    let application: i32 = connection.query_row("PRAGMA application_id", [], |row| row.get(0))?;
    match (version, application) {
        (0, 0) => Ok(0),
        (_, APPLICATION) if (0..=VERSION).contains(&version) => Ok(version),
        (_, APPLICATION) => Err(Error::new(
            ErrorKind::StoreVersion,
            format!(
                "the store has version {version}, and this version of coble knows versions up to {VERSION}"
            ),
        )
        .with_hint("use the newer coble that wrote it, or another data root")),
        _ => Err(Error::new(ErrorKind::StoreVersion, "the database belongs to another program")),
    }
}

/// Brings a database to this version, all or nothing.
pub(super) fn migrate(connection: &Connection) -> Result<()> {
    let transaction = rusqlite::Transaction::new_unchecked(connection, TransactionBehavior::Immediate)?;
    let from = version(&transaction)?;
    for step in STEPS.iter().skip(usize::try_from(from).unwrap_or_default()) {
        transaction.execute_batch(step)?;
    }
    transaction.pragma_update(None, "application_id", APPLICATION)?;
    transaction.pragma_update(None, "user_version", VERSION)?;
    transaction.commit()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn features_of_systems_are_taken_from_configurations_that_are_there() {
        let connection = Connection::open_in_memory().unwrap();
        let before = STEPS.iter().position(|step| step.contains("os_features")).unwrap();
        for step in STEPS.iter().take(before) {
            connection.execute_batch(step).unwrap();
        }
        connection.pragma_update(None, "application_id", APPLICATION).unwrap();
        connection.pragma_update(None, "user_version", before as i32).unwrap();
        let configurations = [
            r#"{"os":"windows","os.features":["win32k"]}"#,
            r#"{"os":"linux","os.features":null}"#,
            r#"{"os":"linux","os.features":{"a":1}}"#,
            r#"{"os":"linux"}"#,
            "no JSON",
        ];
        for (n, configuration) in configurations.iter().enumerate() {
            let sql = "INSERT INTO images (id, manifest_digest, manifest_type, manifest, config, created_us, size, architecture, os, labels)
                 VALUES (?1, '', '', x'', CAST(?2 AS BLOB), 0, 0, '', '', '{}')";
            connection.execute(sql, rusqlite::params![n.to_string(), configuration]).unwrap();
        }
        migrate(&connection).unwrap();
        assert_eq!(version(&connection).unwrap(), VERSION);
        let mut statement = connection.prepare("SELECT os_features FROM images ORDER BY id").unwrap();
        let found: Vec<String> =
            statement.query_map([], |row| row.get(0)).unwrap().collect::<Result<_, _>>().unwrap();
        assert_eq!(found, [r#"["win32k"]"#, "[]", "[]", "[]", "[]"]);
    }
}
