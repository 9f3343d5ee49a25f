//! Rows of images, their names, blobs and layers.

use std::collections::BTreeSet;

use rusqlite::{Connection, OptionalExtension, Transaction, params};

use super::parse_rfc3339;
use crate::error::{Error, ErrorKind, Result};
use crate::image::ImageSummary;
use crate::oci::{Descriptor, Digest, ImageDocument, Platform, Reference, annotation};

/// An image on its way into the database. All its blobs are in place.
#[derive(Debug, Clone)]
pub(crate) struct NewImage {
    pub(crate) id: Digest,
    pub(crate) manifest_digest: Digest,
    pub(crate) manifest_type: String,
    pub(crate) manifest: Vec<u8>,
    pub(crate) config: Vec<u8>,
    pub(crate) document: ImageDocument,
    /// Lowest first.
    pub(crate) layers: Vec<LayerRow>,
}

/// A layer of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LayerRow {
    pub(crate) diff_id: Digest,
    pub(crate) chain_id: Digest,
    pub(crate) digest: Digest,
    pub(crate) media_type: String,
    pub(crate) size: u64,
}

/// Adds an image; one that is there with the same id stays as it is.
pub(crate) fn add(tx: &Transaction<'_>, image: &NewImage) -> Result<()> {
    let document = &image.document;
    let mut blobs =
        vec![(&image.manifest_digest, image.manifest.len() as u64), (&image.id, image.config.len() as u64)];
    blobs.extend(image.layers.iter().map(|layer| (&layer.digest, layer.size)));
    blobs.sort_unstable();
    blobs.dedup();
    let size: u64 = blobs.iter().map(|(_, size)| size).sum();
    let inserted = tx
        .prepare_cached(
            "INSERT INTO images (id, manifest_digest, manifest_type, manifest, config, created, created_us, size, architecture, os, variant, labels)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12) ON CONFLICT (id) DO NOTHING",
        )?
        .execute(params![
            image.id.as_str(),
            image.manifest_digest.as_str(),
            image.manifest_type,
            image.manifest,
            image.config,
            document.created,
            document.created.as_deref().and_then(parse_rfc3339).unwrap_or(0),
            signed(size),
            document.architecture,
            document.os,
            document.variant,
            json(&document.config.labels)?,
        ])?;
    if inserted == 0 {
        return Ok(());
    }
    for (digest, size) in blobs {
        add_blob(tx, digest, size)?;
        tx.prepare_cached("INSERT INTO image_blobs (image_id, digest) VALUES (?1, ?2)")?
            .execute([image.id.as_str(), digest.as_str()])?;
    }
    for (position, layer) in image.layers.iter().enumerate() {
        tx.prepare_cached(
            "INSERT INTO image_layers (image_id, position, diff_id, chain_id, digest, media_type, size) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        )?
        .execute(params![
            image.id.as_str(),
            signed(position as u64),
            layer.diff_id.as_str(),
            layer.chain_id.as_str(),
            layer.digest.as_str(),
            layer.media_type,
            signed(layer.size),
        ])?;
    }
    Ok(())
}

/// Records a blob.
pub(crate) fn add_blob(tx: &Transaction<'_>, digest: &Digest, size: u64) -> Result<()> {
    tx.prepare_cached("INSERT INTO blobs (digest, size) VALUES (?1, ?2) ON CONFLICT (digest) DO NOTHING")?
        .execute(params![digest.as_str(), signed(size)])?;
    Ok(())
}

/// Gives an image a name, taking it from the image that had it.
pub(crate) fn set_tag(tx: &Transaction<'_>, reference: &Reference, id: &str) -> Result<()> {
    let result = tx
        .prepare_cached(
            "INSERT INTO tags (reference, image_id) VALUES (?1, ?2) ON CONFLICT (reference) DO UPDATE SET image_id = excluded.image_id",
        )?
        .execute([reference.to_string().as_str(), id]);
    match result {
        Ok(_) => Ok(()),
        Err(error) if error.sqlite_error_code() == Some(rusqlite::ErrorCode::ConstraintViolation) => {
            Err(not_found(id))
        }
        Err(error) => Err(error.into()),
    }
}

/// Takes a name away; false if there is none.
pub(crate) fn delete_tag(tx: &Transaction<'_>, reference: &str) -> Result<bool> {
    Ok(tx.prepare_cached("DELETE FROM tags WHERE reference = ?1")?.execute([reference])? > 0)
}

/// Deletes an image with its names. Its blobs and layers stay until they are collected.
pub(crate) fn delete(tx: &Transaction<'_>, id: &str) -> Result<()> {
    tx.prepare_cached("DELETE FROM images WHERE id = ?1")?.execute([id])?;
    Ok(())
}

/// The name of a container that uses an image.
pub(crate) fn user_of(connection: &Connection, id: &str) -> Result<Option<String>> {
    Ok(connection
        .prepare_cached("SELECT name FROM containers WHERE image_id = ?1 LIMIT 1")?
        .query_row([id], |row| row.get(0))
        .optional()?)
}

/// Canonical references of an image, in order.
pub(crate) fn tags_of(connection: &Connection, id: &str) -> Result<Vec<String>> {
    let mut statement =
        connection.prepare_cached("SELECT reference FROM tags WHERE image_id = ?1 ORDER BY reference")?;
    let tags = statement.query_map([id], |row| row.get(0))?.collect::<rusqlite::Result<Vec<_>>>()?;
    Ok(tags)
}

/// How the text of a caller led to an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) id: String,
    /// The canonical reference, if it was found by name.
    pub(crate) reference: Option<String>,
}

/// The image with this reference, id, or unambiguous prefix of an id.
pub(crate) fn find(connection: &Connection, text: &str) -> Result<Found> {
    let by_id = |id: &str| -> Result<Option<Found>> {
        let found = connection
            .prepare_cached("SELECT id FROM images WHERE id = ?1")?
            .query_row([id], |row| row.get::<_, String>(0))
            .optional()?;
        Ok(found.map(|id| Found { id, reference: None }))
    };
    let is_hex = |text: &str| text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    if let Some(hex) = text.strip_prefix("sha256:").filter(|hex| is_hex(hex)) {
        if hex.len() == 64 {
            return by_id(text)?.ok_or_else(|| not_found(text));
        }
        return by_prefix(connection, hex, text)?.ok_or_else(|| not_found(text));
    }
    if text.len() == 64 && is_hex(text) {
        return by_id(&format!("sha256:{text}"))?.ok_or_else(|| not_found(text));
    }
    let reference = Reference::parse(text)?;
    if let Some(found) = by_reference(connection, &reference)? {
        return Ok(found);
    }
    if is_hex(text)
        && let Some(found) = by_prefix(connection, text, text)?
    {
        return Ok(found);
    }
    Err(not_found(text))
}

fn by_reference(connection: &Connection, reference: &Reference) -> Result<Option<Found>> {
    let Some(digest) = reference.digest() else {
        let name = reference.to_string();
        let id = connection
            .prepare_cached("SELECT image_id FROM tags WHERE reference = ?1")?
            .query_row([&name], |row| row.get(0))
            .optional()?;
        return Ok(id.map(|id| Found { id, reference: Some(name) }));
    };
    // With a digest, the tag is only for people: what counts is the content, under a name of the same repository.
    let mut statement = connection.prepare_cached(
        "SELECT images.id, tags.reference FROM images JOIN tags ON tags.image_id = images.id WHERE images.manifest_digest = ?1 OR images.id = ?1",
    )?;
    let rows = statement
        .query_map([digest.as_str()], |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?)))?;
    for row in rows {
        let (id, name) = row?;
        if Reference::parse(&name).is_ok_and(|name| name.repository() == reference.repository()) {
            return Ok(Some(Found { id, reference: None }));
        }
    }
    Ok(None)
}

fn by_prefix(connection: &Connection, hex: &str, text: &str) -> Result<Option<Found>> {
    if hex.len() < 4 {
        return Ok(None);
    }
    // "g" is the first character behind the hexadecimal digits.
    let mut statement =
        connection.prepare_cached("SELECT id FROM images WHERE id >= ?1 AND id < ?1 || 'g' LIMIT 2")?;
    let ids = statement
        .query_map([format!("sha256:{hex}")], |row| row.get::<_, String>(0))?
        .collect::<rusqlite::Result<Vec<_>>>()?;
    match ids.as_slice() {
        [_, _, ..] => Err(Error::new(
            ErrorKind::InvalidArgument,
            format!("\"{text}\" is the beginning of several image ids"),
        )
        .with_object(text)),
        [id] => Ok(Some(Found { id: id.clone(), reference: None })),
        [] => Ok(None),
    }
}

/// The error for an image that is not there.
pub(crate) fn not_found(text: &str) -> Error {
    let shown: String = text.chars().take(300).collect();
    Error::new(ErrorKind::ImageNotFound, format!("no image \"{}\"", shown.escape_debug()))
        .with_object(shown)
        .with_hint("load, import or make it first; `coble images` lists what is there")
}

/// Summaries of one image, or of all, newest first.
pub(crate) fn summaries(connection: &Connection, id: Option<&str>) -> Result<Vec<ImageSummary>> {
    let mut statement = connection.prepare_cached(
        "SELECT id, manifest_digest, created, size, architecture, os, labels,
             (SELECT json_group_array(reference) FROM (SELECT reference FROM tags WHERE tags.image_id = images.id ORDER BY reference))
         FROM images WHERE ?1 IS NULL OR id = ?1 ORDER BY created_us DESC, id",
    )?;
    let mut rows = statement.query([id])?;
    let mut summaries = Vec::new();
    while let Some(row) = rows.next()? {
        summaries.push(ImageSummary {
            id: row.get(0)?,
            digest: row.get(1)?,
            references: from_json(&row.get::<_, String>(7)?)?,
            created: row.get(2)?,
            size: unsigned(row.get(3)?),
            architecture: row.get(4)?,
            os: row.get(5)?,
            labels: from_json(&row.get::<_, String>(6)?)?,
            warnings: Vec::new(),
        });
    }
    Ok(summaries)
}

/// Configuration and manifest of an image, as bytes.
pub(crate) fn documents(connection: &Connection, id: &str) -> Result<(Vec<u8>, Vec<u8>)> {
    connection
        .prepare_cached("SELECT config, manifest FROM images WHERE id = ?1")?
        .query_row([id], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?
        .ok_or_else(|| not_found(id))
}

/// Configuration of an image, as bytes.
pub(crate) fn config(connection: &Connection, id: &str) -> Result<Vec<u8>> {
    connection
        .prepare_cached("SELECT config FROM images WHERE id = ?1")?
        .query_row([id], |row| row.get(0))
        .optional()?
        .ok_or_else(|| not_found(id))
}

/// The layers of an image, lowest first.
pub(crate) fn layers(connection: &Connection, id: &str) -> Result<Vec<LayerRow>> {
    let mut statement = connection.prepare_cached(
        "SELECT diff_id, chain_id, digest, media_type, size FROM image_layers WHERE image_id = ?1 ORDER BY position",
    )?;
    let mut rows = statement.query([id])?;
    let mut layers = Vec::new();
    while let Some(row) = rows.next()? {
        layers.push(LayerRow {
            diff_id: digest(row.get(0)?)?,
            chain_id: digest(row.get(1)?)?,
            digest: digest(row.get(2)?)?,
            media_type: row.get(3)?,
            size: unsigned(row.get(4)?),
        });
    }
    Ok(layers)
}

/// What `index.json` has to list: one entry for each name, and one for each image without a name.
pub(crate) fn index(connection: &Connection) -> Result<Vec<Descriptor>> {
    let mut statement = connection.prepare_cached(
        "SELECT manifest_type, manifest_digest, length(manifest), architecture, os, variant, reference
         FROM images LEFT JOIN tags ON tags.image_id = images.id ORDER BY reference, images.id",
    )?;
    let mut rows = statement.query([])?;
    let mut entries = Vec::new();
    while let Some(row) = rows.next()? {
        let media_type: String = row.get(0)?;
        let mut entry = Descriptor::new(&media_type, digest(row.get(1)?)?, unsigned(row.get(2)?));
        let platform = Platform { architecture: row.get(3)?, os: row.get(4)?, variant: row.get(5)? };
        if !platform.architecture.is_empty() && !platform.os.is_empty() {
            entry.platform = Some(platform);
        }
        if let Some(reference) = row.get::<_, Option<String>>(6)? {
            entry.annotations.insert(annotation::IMAGE_NAME.into(), reference.clone());
            entry.annotations.insert(annotation::REF_NAME.into(), reference);
        }
        entries.push(entry);
    }
    Ok(entries)
}

const UNREFERENCED_BLOBS: &str =
    "NOT EXISTS (SELECT 1 FROM image_blobs WHERE image_blobs.digest = blobs.digest)";
const UNREFERENCED_LAYERS: &str =
    "NOT EXISTS (SELECT 1 FROM image_layers WHERE image_layers.chain_id = layers.chain_id)";

/// Whether there are blobs or layers that no image refers to.
pub(crate) fn has_unreferenced(connection: &Connection) -> Result<bool> {
    let sql = format!(
        "SELECT EXISTS (SELECT 1 FROM blobs WHERE {UNREFERENCED_BLOBS}) OR EXISTS (SELECT 1 FROM layers WHERE {UNREFERENCED_LAYERS})"
    );
    Ok(connection.prepare_cached(&sql)?.query_row([], |row| row.get(0))?)
}

/// Deletes the rows of blobs and layers that no image refers to, and says which they were.
pub(crate) fn take_unreferenced(tx: &Transaction<'_>) -> Result<(Vec<Digest>, Vec<i64>)> {
    let mut statement =
        tx.prepare(&format!("DELETE FROM blobs WHERE {UNREFERENCED_BLOBS} RETURNING digest"))?;
    let blobs =
        statement.query_map([], |row| row.get::<_, String>(0))?.collect::<rusqlite::Result<Vec<_>>>()?;
    let mut statement = tx.prepare(&format!("DELETE FROM layers WHERE {UNREFERENCED_LAYERS} RETURNING n"))?;
    let layers = statement.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<Vec<_>>>()?;
    Ok((blobs.into_iter().map(digest).collect::<Result<_>>()?, layers))
}

/// Every blob with its size.
pub(crate) fn blobs(connection: &Connection) -> Result<Vec<(Digest, u64)>> {
    let mut statement = connection.prepare("SELECT digest, size FROM blobs")?;
    let mut rows = statement.query([])?;
    let mut blobs = Vec::new();
    while let Some(row) = rows.next()? {
        blobs.push((digest(row.get(0)?)?, unsigned(row.get(1)?)));
    }
    Ok(blobs)
}

/// Every blob.
pub(crate) fn blob_digests(connection: &Connection) -> Result<BTreeSet<Digest>> {
    Ok(blobs(connection)?.into_iter().map(|(digest, _)| digest).collect())
}

/// Every unpacked layer.
pub(crate) fn layer_numbers(connection: &Connection) -> Result<BTreeSet<i64>> {
    let mut statement = connection.prepare("SELECT n FROM layers")?;
    let numbers = statement.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
    Ok(numbers)
}

fn digest(text: String) -> Result<Digest> {
    Digest::parse(&text).map_err(|error| error.while_doing("reading the database"))
}

/// SQLite has signed integers only; sizes beyond them cannot be stored on any disk.
pub(crate) fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn unsigned(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}

fn json<T: serde::Serialize>(value: &T) -> Result<String> {
    serde_json::to_string(value)
        .map_err(|error| Error::new(ErrorKind::Internal, format!("writing JSON: {error}")))
}

fn from_json<T: serde::de::DeserializeOwned>(text: &str) -> Result<T> {
    serde_json::from_str(text)
        .map_err(|error| Error::new(ErrorKind::Database, format!("reading JSON of the database: {error}")))
}
