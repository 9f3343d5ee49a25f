//! Rows about registries: what a digest of a repository stands for here, and which repositories have a blob.

use rusqlite::{Connection, Transaction, params};

use crate::error::Result;
use crate::oci::Digest;

/// What a digest of a repository stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Origin {
    /// Canonical, without a tag.
    pub(crate) repository: String,
    /// Of a manifest or index.
    pub(crate) digest: Digest,
    /// The platform that was chosen, or `all`. With `=` before it, the caller named the platform, and the image is for that one.
    pub(crate) wanted: String,
    /// It was asked for by digest.
    pub(crate) pinned: bool,
}

/// Records what a digest stands for.
pub(crate) fn add(tx: &Transaction<'_>, origin: &Origin, id: &str) -> Result<()> {
    tx.prepare_cached(
        "INSERT INTO origins (repository, digest, wanted, image_id, pinned) VALUES (?1, ?2, ?3, ?4, ?5)
         ON CONFLICT DO UPDATE SET pinned = max(pinned, excluded.pinned)",
    )?
    .execute(params![origin.repository, origin.digest.as_str(), origin.wanted, id, origin.pinned])?;
    Ok(())
}

/// The images that a digest stands for, for any platform.
pub(crate) fn images(connection: &Connection, repository: &str, digest: &str) -> Result<Vec<String>> {
    let mut statement = connection.prepare_cached(
        "SELECT DISTINCT image_id FROM origins WHERE repository = ?1 AND digest = ?2 ORDER BY image_id",
    )?;
    let ids =
        statement.query_map([repository, digest], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
    Ok(ids)
}

/// The images that a digest stands for, for a platform.
pub(crate) fn chosen(connection: &Connection, origin: &Origin) -> Result<Vec<String>> {
    let mut statement = connection.prepare_cached(
        "SELECT image_id FROM origins WHERE repository = ?1 AND digest = ?2 AND wanted = ?3 ORDER BY image_id",
    )?;
    let key = [origin.repository.as_str(), origin.digest.as_str(), origin.wanted.as_str()];
    let ids = statement.query_map(key, |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
    Ok(ids)
}

/// Whether all that a digest stands for was asked for by digest.
pub(crate) fn is_pinned(connection: &Connection, origin: &Origin) -> Result<bool> {
    let mut statement = connection.prepare_cached(
        "SELECT coalesce(min(pinned), 0) FROM origins WHERE repository = ?1 AND digest = ?2 AND wanted = ?3",
    )?;
    let key = [origin.repository.as_str(), origin.digest.as_str(), origin.wanted.as_str()];
    Ok(statement.query_row(key, |row| row.get(0))?)
}

/// The digests of a repository that stand for an image.
pub(crate) fn digests(connection: &Connection, repository: &str, id: &str) -> Result<Vec<String>> {
    let mut statement = connection.prepare_cached(
        "SELECT DISTINCT digest FROM origins WHERE repository = ?1 AND image_id = ?2 ORDER BY digest",
    )?;
    let found = statement.query_map([repository, id], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
    Ok(found)
}

/// Records that a repository has a blob of the store.
pub(crate) fn add_blob(tx: &Transaction<'_>, digest: &Digest, repository: &str) -> Result<()> {
    tx.prepare_cached(
        "INSERT INTO blob_origins (digest, repository) SELECT digest, ?2 FROM blobs WHERE digest = ?1 ON CONFLICT DO NOTHING",
    )?
    .execute([digest.as_str(), repository])?;
    Ok(())
}

/// The repositories that are known to have a blob.
pub(crate) fn of_blob(connection: &Connection, digest: &Digest) -> Result<Vec<String>> {
    let mut statement = connection
        .prepare_cached("SELECT repository FROM blob_origins WHERE digest = ?1 ORDER BY repository")?;
    let found = statement.query_map([digest.as_str()], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
    Ok(found)
}
