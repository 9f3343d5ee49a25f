//! Rows of images, their names, blobs and layers.

use std::collections::{BTreeMap, BTreeSet};
use std::time::SystemTime;

use rusqlite::types::ValueRef;
use rusqlite::{Connection, OptionalExtension, Transaction, params};

use super::parse_rfc3339;
use super::time::micros;
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
            "INSERT INTO images (id, manifest_digest, manifest_type, manifest, config, created, created_us, size, architecture, os, variant, labels, os_version, used_us, os_features)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15) ON CONFLICT (id) DO NOTHING",
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
            document.os_version,
            micros(SystemTime::now()),
            json(&document.os_features)?,
        ])?;
    if inserted == 0 {
        return touch(tx, image.id.as_str());
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

/// Remembers that an image was used now.
pub(crate) fn touch(tx: &Transaction<'_>, id: &str) -> Result<()> {
    tx.prepare_cached("UPDATE images SET used_us = ?2 WHERE id = ?1")?
        .execute(params![id, micros(SystemTime::now())])?;
    Ok(())
}

/// Gives an image a name, taking it from the images that had it.
pub(crate) fn set_tag(tx: &Transaction<'_>, reference: &Reference, id: &str) -> Result<()> {
    let result = tx
        .prepare_cached(
            "INSERT INTO tags (reference, image_id) VALUES (?1, ?2)
             ON CONFLICT (reference) DO UPDATE SET image_id = excluded.image_id, index_digest = NULL",
        )?
        .execute([reference.to_string().as_str(), id]);
    match result {
        Ok(_) => {
            tx.prepare_cached("DELETE FROM tag_images WHERE reference = ?1")?
                .execute([reference.to_string()])?;
            Ok(())
        }
        Err(error) if error.sqlite_error_code() == Some(rusqlite::ErrorCode::ConstraintViolation) => {
            Err(not_found(id))
        }
        Err(error) => Err(error.into()),
    }
}

/// Gives a name to the images of an index. The one that the host runs best comes first in what the name means. The index is a blob of the store.
pub(crate) fn set_group(
    tx: &Transaction<'_>,
    reference: &Reference,
    ids: &[String],
    index: Option<&Document>,
) -> Result<()> {
    let mut ranked = Vec::with_capacity(ids.len());
    for id in ids {
        ranked.push((platform(tx, id)?.rank().unwrap_or(usize::MAX), id));
    }
    ranked.sort_by_key(|(rank, _)| *rank);
    let Some((_, first)) = ranked.first() else { return Ok(()) };
    set_tag(tx, reference, first)?;
    let name = reference.to_string();
    for (_, id) in ranked.iter().skip(1) {
        tx.prepare_cached(
            "INSERT INTO tag_images (reference, image_id) VALUES (?1, ?2) ON CONFLICT DO NOTHING",
        )?
        .execute([&name, *id])?;
    }
    if let Some(index) = index {
        add_blob(tx, &index.digest, index.bytes.len() as u64)?;
        tx.prepare_cached(
            "INSERT INTO indexes (digest, media_type, document) VALUES (?1, ?2, ?3) ON CONFLICT (digest) DO NOTHING",
        )?
        .execute(params![index.digest.as_str(), index.media_type, index.bytes])?;
        tx.prepare_cached("UPDATE tags SET index_digest = ?2 WHERE reference = ?1")?
            .execute([name.as_str(), index.digest.as_str()])?;
    }
    Ok(())
}

/// Takes a name away; false if there is none.
pub(crate) fn delete_tag(tx: &Transaction<'_>, reference: &str) -> Result<bool> {
    Ok(tx.prepare_cached("DELETE FROM tags WHERE reference = ?1")?.execute([reference])? > 0)
}

/// Takes all names away from an image, which stays, and is not kept for its digest's sake any more.
///
/// A name that other platforms have, too, stays with them.
pub(crate) fn untie(tx: &Transaction<'_>, id: &str) -> Result<()> {
    leave_names(tx, id)?;
    tx.prepare_cached("DELETE FROM tags WHERE image_id = ?1")?.execute([id])?;
    tx.prepare_cached("DELETE FROM tag_images WHERE image_id = ?1")?.execute([id])?;
    tx.prepare_cached("UPDATE origins SET pinned = 0 WHERE image_id = ?1")?.execute([id])?;
    Ok(())
}

/// Deletes an image with its names. Its blobs and layers stay until they are collected.
///
/// A name that other platforms have, too, stays with them.
pub(crate) fn delete(tx: &Transaction<'_>, id: &str) -> Result<()> {
    leave_names(tx, id)?;
    tx.prepare_cached("DELETE FROM images WHERE id = ?1")?.execute([id])?;
    Ok(())
}

/// Gives the names that an image is the first of to another one that has them.
fn leave_names(tx: &Transaction<'_>, id: &str) -> Result<()> {
    tx.prepare_cached(
        "UPDATE tags SET image_id = (SELECT min(image_id) FROM tag_images WHERE tag_images.reference = tags.reference)
         WHERE image_id = ?1 AND EXISTS (SELECT 1 FROM tag_images WHERE tag_images.reference = tags.reference)",
    )?
    .execute([id])?;
    tx.prepare_cached(
        "DELETE FROM tag_images WHERE image_id = (SELECT image_id FROM tags WHERE tags.reference = tag_images.reference)",
    )?
    .execute([])?;
    Ok(())
}

/// A container that uses an image: its name, and whether it runs. One that does comes first.
pub(crate) fn user_of(connection: &Connection, id: &str) -> Result<Option<(String, bool)>> {
    Ok(connection
        .prepare_cached(
            "SELECT name, state NOT IN ('created', 'exited') AS runs FROM containers WHERE image_id = ?1 ORDER BY runs DESC LIMIT 1",
        )?
        .query_row([id], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?)
}

/// Every pair of name and image.
const NAMES: &str =
    "SELECT reference, image_id FROM tags UNION ALL SELECT reference, image_id FROM tag_images";

/// Canonical references of an image, in order.
pub(crate) fn tags_of(connection: &Connection, id: &str) -> Result<Vec<String>> {
    let mut statement = connection
        .prepare_cached(&format!("SELECT reference FROM ({NAMES}) WHERE image_id = ?1 ORDER BY reference"))?;
    let tags = statement.query_map([id], |row| row.get(0))?.collect::<rusqlite::Result<Vec<_>>>()?;
    Ok(tags)
}

/// Whether a name has another image, too.
pub(crate) fn has_other(connection: &Connection, name: &str, id: &str) -> Result<bool> {
    let sql = format!("SELECT EXISTS (SELECT 1 FROM ({NAMES}) WHERE reference = ?1 AND image_id <> ?2)");
    Ok(connection.prepare_cached(&sql)?.query_row([name, id], |row| row.get(0))?)
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
    if text.strip_prefix("sha512:").is_some_and(|hex| hex.len() == 128 && is_hex(hex)) {
        return by_id(text)?.ok_or_else(|| not_found(text));
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
    let mut statement = connection.prepare_cached(&format!(
        "SELECT images.id, names.reference FROM images JOIN ({NAMES}) AS names ON names.image_id = images.id
         WHERE images.manifest_digest = ?1 OR images.id = ?1
         UNION ALL SELECT image_id, reference FROM tags WHERE index_digest = ?1",
    ))?;
    let rows = statement
        .query_map([digest.as_str()], |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?)))?;
    for row in rows {
        let (id, name) = row?;
        if Reference::parse(&name).is_ok_and(|name| name.repository() == reference.repository()) {
            return Ok(Some(Found { id, reference: None }));
        }
    }
    let ids = super::origins::images(connection, &reference.repository(), digest.as_str())?;
    let mut best: Option<(usize, String)> = None;
    for id in ids {
        let rank = platform(connection, &id)?.rank().unwrap_or(usize::MAX);
        if best.as_ref().is_none_or(|(least, _)| rank < *least) {
            best = Some((rank, id));
        }
    }
    Ok(best.map(|(_, id)| Found { id, reference: None }))
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
        .with_hint("pull, load, import or make it first; `coble images` lists what is there")
}

/// Summaries of one image, or of all, newest first.
pub(crate) fn summaries(connection: &Connection, id: Option<&str>) -> Result<Vec<ImageSummary>> {
    let mut statement = connection.prepare_cached(
        "SELECT id, manifest_digest, created, size, architecture, os, labels,
             (SELECT json_group_array(reference) FROM (
                  SELECT reference FROM tags WHERE tags.image_id = images.id
                  UNION ALL SELECT reference FROM tag_images WHERE tag_images.image_id = images.id
                  ORDER BY reference)),
             variant, os_version, os_features,
             (SELECT json_group_array(name) FROM (
                  SELECT DISTINCT repository || '@' || digest AS name FROM origins WHERE origins.image_id = images.id ORDER BY name))
         FROM images WHERE ?1 IS NULL OR id = ?1 ORDER BY created_us DESC, id",
    )?;
    let mut rows = statement.query([id])?;
    let mut summaries = Vec::new();
    while let Some(row) = rows.next()? {
        summaries.push(ImageSummary {
            id: row.get(0)?,
            digest: row.get(1)?,
            references: from_json(&row.get::<_, String>(7)?)?,
            repo_digests: from_json(&row.get::<_, String>(11)?)?,
            created: row.get(2)?,
            size: unsigned(row.get(3)?),
            architecture: row.get(4)?,
            os: row.get(5)?,
            labels: from_json(&row.get::<_, String>(6)?)?,
            variant: row.get(8)?,
            os_version: row.get(9)?,
            os_features: features(row.get_ref(10)?),
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

/// Bytes of the files in the layers of an image; None if they are not all unpacked for this kind of id map.
pub(crate) fn unpacked_size(connection: &Connection, id: &str, idmap: &str) -> Result<Option<u64>> {
    let mut statement = connection.prepare_cached(
        "SELECT layers.bytes FROM image_layers
         LEFT JOIN layers ON layers.chain_id = image_layers.chain_id AND layers.idmap = ?2 WHERE image_id = ?1",
    )?;
    let mut total = Some(0_u64);
    for bytes in statement.query_map([id, idmap], |row| row.get::<_, Option<i64>>(0))? {
        total = total.zip(bytes?).map(|(total, bytes)| total.saturating_add(unsigned(bytes)));
    }
    Ok(total)
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

/// A manifest or an index, as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Document {
    pub(crate) digest: Digest,
    pub(crate) media_type: String,
    pub(crate) bytes: Vec<u8>,
}

impl Document {
    pub(crate) fn descriptor(&self) -> Descriptor {
        Descriptor::new(&self.media_type, self.digest.clone(), self.bytes.len() as u64)
    }
}

/// Configuration and manifest of an image, to be written somewhere.
pub(crate) fn saved(connection: &Connection, id: &str) -> Result<(Vec<u8>, Document)> {
    let (config, digest_text, media_type, bytes): (_, String, _, _) = connection
        .prepare_cached("SELECT config, manifest_digest, manifest_type, manifest FROM images WHERE id = ?1")?
        .query_row([id], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)))
        .optional()?
        .ok_or_else(|| not_found(id))?;
    Ok((config, Document { digest: digest(digest_text)?, media_type, bytes }))
}

/// A list of the database. One that was taken over from a malformed configuration is empty, and may not even be text.
fn features(text: ValueRef<'_>) -> Vec<String> {
    text.as_bytes().ok().and_then(|text| serde_json::from_slice(text).ok()).unwrap_or_default()
}

/// The platform of an image.
pub(crate) fn platform(connection: &Connection, id: &str) -> Result<Platform> {
    connection
        .prepare_cached(
            "SELECT architecture, os, variant, os_version, os_features FROM images WHERE id = ?1",
        )?
        .query_row([id], |row| {
            Ok(Platform {
                architecture: row.get(0)?,
                os: row.get(1)?,
                variant: row.get(2)?,
                os_version: row.get(3)?,
                os_features: features(row.get_ref(4)?),
            })
        })
        .optional()?
        .ok_or_else(|| not_found(id))
}

/// What a name stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Group {
    /// The canonical reference, if it was found by name.
    pub(crate) name: Option<String>,
    /// The images; the first is the one for the host, or the one that fits the wanted platform.
    pub(crate) ids: Vec<String>,
    /// The index that lists them, and perhaps others.
    pub(crate) index: Option<Document>,
}

/// The images of a reference or id: all of its platforms, or the one that fits the wanted one best.
pub(crate) fn group(connection: &Connection, text: &str, wanted: Option<&Platform>) -> Result<Group> {
    let found = find(connection, text)?;
    let mut ids = vec![found.id];
    let mut index = None;
    if let Some(name) = &found.reference {
        let mut statement = connection
            .prepare_cached("SELECT image_id FROM tag_images WHERE reference = ?1 ORDER BY image_id")?;
        for id in statement.query_map([name], |row| row.get(0))? {
            ids.push(id?);
        }
        index = connection
            .prepare_cached(
                "SELECT digest, media_type, document FROM tags JOIN indexes ON indexes.digest = tags.index_digest WHERE reference = ?1",
            )?
            .query_row([name], |row| Ok((row.get::<_, String>(0)?, row.get(1)?, row.get(2)?)))
            .optional()?
            .map(|(text, media_type, bytes)| Ok::<_, Error>(Document { digest: digest(text)?, media_type, bytes }))
            .transpose()?;
    }
    if let Some(wanted) = wanted {
        let mut best: Option<(usize, String)> = None;
        let mut there = Vec::new();
        for id in ids {
            let platform = platform(connection, &id)?;
            there.push(platform.to_string());
            if let Some(rank) = platform.rank_for(wanted)
                && best.as_ref().is_none_or(|(least, _)| rank < *least)
            {
                best = Some((rank, id));
            }
        }
        let Some((_, id)) = best else {
            return Err(Error::new(
                ErrorKind::ImageNotFound,
                format!(
                    "image \"{text}\" is not here for {wanted}, only for {}",
                    crate::text::visible(&there.join(", "))
                ),
            )
            .with_object(text)
            .with_hint("pull or load it for this platform"));
        };
        ids = vec![id];
    }
    Ok(Group { name: found.reference, ids, index })
}

/// What `index.json` has to list: one entry for each name, and one for each image without a name.
pub(crate) fn index(connection: &Connection) -> Result<Vec<Descriptor>> {
    let mut statement = connection.prepare_cached(
        "SELECT manifest_type, manifest_digest, length(manifest), architecture, os, variant, os_version, tags.reference,
             indexes.media_type, indexes.digest, length(indexes.document), os_features
         FROM images LEFT JOIN tags ON tags.image_id = images.id LEFT JOIN indexes ON indexes.digest = tags.index_digest
         WHERE tags.reference IS NOT NULL OR NOT EXISTS (SELECT 1 FROM tag_images WHERE tag_images.image_id = images.id)
         ORDER BY tags.reference, images.id",
    )?;
    let mut rows = statement.query([])?;
    let mut entries = Vec::new();
    while let Some(row) = rows.next()? {
        let media_type: String = row.get(0)?;
        let mut entry = Descriptor::new(&media_type, digest(row.get(1)?)?, unsigned(row.get(2)?));
        if let Some(text) = row.get::<_, Option<String>>(9)? {
            entry = Descriptor::new(&row.get::<_, String>(8)?, digest(text)?, unsigned(row.get(10)?));
        } else {
            let platform = Platform {
                architecture: row.get(3)?,
                os: row.get(4)?,
                variant: row.get(5)?,
                os_version: row.get(6)?,
                os_features: features(row.get_ref(11)?),
            };
            if !platform.architecture.is_empty() && !platform.os.is_empty() {
                entry.platform = Some(Box::new(platform));
            }
        }
        if let Some(reference) = row.get::<_, Option<String>>(7)? {
            entry.annotations.insert(annotation::IMAGE_NAME.into(), reference.clone());
            entry.annotations.insert(annotation::REF_NAME.into(), reference);
        }
        entries.push(entry);
    }
    Ok(entries)
}

const UNREFERENCED_BLOBS: &str =
    "NOT EXISTS (SELECT 1 FROM image_blobs WHERE image_blobs.digest = blobs.digest)
     AND NOT EXISTS (SELECT 1 FROM tags WHERE tags.index_digest = blobs.digest)";
/// Those of no image, and those for ids that only some containers have, of which none is left (the kinds of `OtherIds::of_its_own`).
const UNREFERENCED_LAYERS: &str =
    "(NOT EXISTS (SELECT 1 FROM image_layers WHERE image_layers.chain_id = layers.chain_id)
      OR (layers.idmap LIKE 'own:%' AND NOT EXISTS (SELECT 1 FROM idmaps WHERE idmaps.idmap = layers.idmap)))";

/// Whether there are blobs that no image refers to, or layers that nobody uses.
pub(crate) fn has_unreferenced(connection: &Connection) -> Result<bool> {
    let sql = format!(
        "SELECT EXISTS (SELECT 1 FROM blobs WHERE {UNREFERENCED_BLOBS}) OR EXISTS (SELECT 1 FROM layers WHERE {UNREFERENCED_LAYERS})"
    );
    Ok(connection.prepare_cached(&sql)?.query_row([], |row| row.get(0))?)
}

/// Deletes the rows of blobs that no image refers to, and of layers that nobody uses, and says which they were.
pub(crate) fn take_unreferenced(tx: &Transaction<'_>) -> Result<(Vec<Digest>, Vec<i64>)> {
    tx.execute(
        "DELETE FROM indexes WHERE NOT EXISTS (SELECT 1 FROM tags WHERE tags.index_digest = indexes.digest)",
        [],
    )?;
    let mut statement =
        tx.prepare(&format!("DELETE FROM blobs WHERE {UNREFERENCED_BLOBS} RETURNING digest"))?;
    let blobs =
        statement.query_map([], |row| row.get::<_, String>(0))?.collect::<rusqlite::Result<Vec<_>>>()?;
    let mut statement = tx.prepare(&format!("DELETE FROM layers WHERE {UNREFERENCED_LAYERS} RETURNING n"))?;
    let layers = statement.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<Vec<_>>>()?;
    Ok((blobs.into_iter().map(digest).collect::<Result<_>>()?, layers))
}

/// Blobs that no image refers to, and layers that nobody uses.
pub(crate) fn unreferenced(connection: &Connection) -> Result<(BTreeSet<Digest>, BTreeSet<i64>)> {
    let mut statement =
        connection.prepare_cached(&format!("SELECT digest FROM blobs WHERE {UNREFERENCED_BLOBS}"))?;
    let blobs =
        statement.query_map([], |row| row.get::<_, String>(0))?.collect::<rusqlite::Result<Vec<_>>>()?;
    let mut statement =
        connection.prepare_cached(&format!("SELECT n FROM layers WHERE {UNREFERENCED_LAYERS}"))?;
    let layers = statement.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
    Ok((blobs.into_iter().map(digest).collect::<Result<_>>()?, layers))
}

/// Images that no container uses, with the time when each was last used: those without a name, or all.
pub(crate) fn unused(connection: &Connection, all: bool) -> Result<BTreeMap<String, i64>> {
    let mut statement = connection.prepare_cached(
        "SELECT id, used_us FROM images WHERE NOT EXISTS (SELECT 1 FROM containers WHERE containers.image_id = images.id)
         AND (?1 OR NOT (EXISTS (SELECT 1 FROM tags WHERE tags.image_id = images.id)
                         OR EXISTS (SELECT 1 FROM tag_images WHERE tag_images.image_id = images.id)
                         OR EXISTS (SELECT 1 FROM origins WHERE origins.image_id = images.id AND pinned)))",
    )?;
    let rows =
        statement.query_map([all], |row| Ok((row.get(0)?, row.get(1)?)))?.collect::<rusqlite::Result<_>>()?;
    Ok(rows)
}

/// The blobs of an image, and its unpacked layers, whatever owners those have on the disk.
pub(crate) fn parts(connection: &Connection, id: &str) -> Result<(Vec<Digest>, Vec<i64>)> {
    let mut statement = connection.prepare_cached("SELECT digest FROM image_blobs WHERE image_id = ?1")?;
    let blobs =
        statement.query_map([id], |row| row.get::<_, String>(0))?.collect::<rusqlite::Result<Vec<_>>>()?;
    let mut statement = connection.prepare_cached(
        "SELECT DISTINCT layers.n FROM layers JOIN image_layers ON image_layers.chain_id = layers.chain_id
         WHERE image_id = ?1",
    )?;
    let layers = statement.query_map([id], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
    Ok((blobs.into_iter().map(digest).collect::<Result<_>>()?, layers))
}

/// An unpacked layer, with the blob that it was unpacked from.
#[derive(Debug, Clone)]
pub(crate) struct UnpackedLayer {
    pub(crate) n: i64,
    pub(crate) parent: Option<i64>,
    pub(crate) chain_id: Digest,
    pub(crate) diff_id: Digest,
    /// None if no image has it.
    pub(crate) blob: Option<(Digest, u64)>,
}

/// Every unpacked layer for a kind of id map.
pub(crate) fn unpacked(connection: &Connection, idmap: &str) -> Result<Vec<UnpackedLayer>> {
    let mut statement = connection.prepare(
        "SELECT n, parent, chain_id, diff_id,
             (SELECT digest FROM image_layers WHERE image_layers.chain_id = layers.chain_id ORDER BY image_id LIMIT 1),
             (SELECT size FROM image_layers WHERE image_layers.chain_id = layers.chain_id ORDER BY image_id LIMIT 1)
         FROM layers WHERE idmap = ?1 ORDER BY n",
    )?;
    let mut rows = statement.query([idmap])?;
    let mut layers = Vec::new();
    while let Some(row) = rows.next()? {
        let blob = match row.get::<_, Option<String>>(4)? {
            Some(text) => Some((digest(text)?, unsigned(row.get(5)?))),
            None => None,
        };
        layers.push(UnpackedLayer {
            n: row.get(0)?,
            parent: row.get(1)?,
            chain_id: digest(row.get(2)?)?,
            diff_id: digest(row.get(3)?)?,
            blob,
        });
    }
    Ok(layers)
}

/// The bytes of a manifest, configuration or index, which the database has, too.
pub(crate) fn document(connection: &Connection, digest: &Digest) -> Result<Option<Vec<u8>>> {
    Ok(connection
        .prepare_cached(
            "SELECT config FROM images WHERE id = ?1 UNION ALL SELECT manifest FROM images WHERE manifest_digest = ?1
             UNION ALL SELECT document FROM indexes WHERE digest = ?1 LIMIT 1",
        )?
        .query_row([digest.as_str()], |row| row.get(0))
        .optional()?)
}

fn names_or_ids(connection: &Connection, ids: Vec<String>) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for id in ids {
        let tags = tags_of(connection, &id)?;
        if tags.is_empty() {
            found.push(id);
        }
        found.extend(tags);
    }
    Ok(found)
}

/// Names of the images that have a blob, or ids of those without a name.
pub(crate) fn users(connection: &Connection, digest: &Digest) -> Result<Vec<String>> {
    let mut statement =
        connection.prepare_cached("SELECT image_id FROM image_blobs WHERE digest = ?1 ORDER BY image_id")?;
    let ids = statement.query_map([digest.as_str()], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
    names_or_ids(connection, ids)
}

/// Names of the images that have a layer in this place, or ids of those without a name.
pub(crate) fn users_of_chain(connection: &Connection, chain_id: &Digest) -> Result<Vec<String>> {
    let mut statement = connection
        .prepare_cached("SELECT image_id FROM image_layers WHERE chain_id = ?1 ORDER BY image_id")?;
    let ids = statement.query_map([chain_id.as_str()], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
    names_or_ids(connection, ids)
}

/// Ids of the images that have a layer in this place.
pub(crate) fn with_chain(connection: &Connection, chain_id: &Digest) -> Result<BTreeSet<String>> {
    let mut statement = connection.prepare_cached("SELECT image_id FROM image_layers WHERE chain_id = ?1")?;
    let ids = statement.query_map([chain_id.as_str()], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
    Ok(ids)
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
