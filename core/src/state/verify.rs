//! A check of a store: rows against files, and the content of every blob against its digest.

use std::collections::BTreeSet;
use std::io::Read;

use rustix::fs::{AtFlags, FileType};

use super::{Session, Store, find_strays, images};
use crate::cancel::CancelToken;
use crate::error::{Call, Result};
use crate::oci::{Descriptor, Digest, Document, Hasher};
use crate::progress::{Meter, ProgressKind, Reporter};
use crate::snapshot::Worker;

/// Something that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Flaw {
    pub(crate) about: Object,
    /// A sentence.
    pub(crate) message: String,
}

/// What a flaw is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Object {
    Blob(Digest),
    Layer(i64),
    /// The database, or `index.json`.
    Store,
    /// Something that no row names, by its path below the data root.
    Stray(String),
}

/// What is wrong. Empty when nothing is.
pub(crate) fn verify(store: &Store, reporter: &Reporter<'_>, cancel: &CancelToken) -> Result<Vec<Flaw>> {
    let mut problems = structure(store)?;
    problems.extend(strays(store, None, None, cancel)?);
    // Without the gate, since it takes as long as reading everything does. A blob that was removed meanwhile is no damage.
    let blobs = store.db.read(images::blobs)?;
    reporter.expect(blobs.iter().map(|(_, size)| size).sum());
    for (digest, size) in blobs {
        let meter = reporter.meter(&digest, size);
        if store.content.size(&digest)? == Some(size) && !is_intact(store, &digest, size, &meter, cancel)? {
            let still_there = store.db.read(images::blob_digests)?.contains(&digest);
            if still_there {
                let message = format!("the content of blob {digest} is damaged");
                problems.push(Flaw { about: Object::Blob(digest), message });
            }
        }
    }
    Ok(problems)
}

/// Files against rows: what belongs to nothing. With a worker it is removed.
pub(crate) fn strays(
    store: &Store,
    own: Option<&Session>,
    mend: Option<&dyn Worker>,
    cancel: &CancelToken,
) -> Result<Vec<Flaw>> {
    let flaw = |path: String| Flaw {
        message: format!("\"{path}\" belongs to nothing that the database knows"),
        about: Object::Stray(path),
    };
    Ok(find_strays(store, own, mend, cancel)?.into_iter().map(flaw).collect())
}

/// Whether the content of a blob has its digest.
pub(crate) fn is_intact(
    store: &Store,
    digest: &Digest,
    size: u64,
    meter: &Meter<'_>,
    cancel: &CancelToken,
) -> Result<bool> {
    let Ok(mut file) = store.content.open_blob(digest, size) else { return Ok(false) };
    let mut hasher = Hasher::new(digest.algorithm());
    let mut buffer = vec![0; 256 * 1024];
    meter.tell(ProgressKind::Check);
    loop {
        cancel.check()?;
        match file.read(&mut buffer) {
            Ok(0) => {
                meter.tell(ProgressKind::Check);
                return Ok(hasher.finish() == *digest);
            }
            Ok(n) => {
                hasher.update(buffer.get(..n).unwrap_or_default());
                meter.advance(n as u64, ProgressKind::Check);
            }
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error).call("read", digest.as_str()),
        }
    }
}

/// Rows against files.
pub(crate) fn structure(store: &Store) -> Result<Vec<Flaw>> {
    let mut problems = Vec::new();
    let mut found = |about: Object, message: String| problems.push(Flaw { about, message });
    // Under the gate and in one read, so that what others do meanwhile is not taken for damage.
    let _gate = store.gate.shared(&CancelToken::never())?;
    store.db.read(|connection| {
        let mut statement = connection.prepare("PRAGMA quick_check(20)")?;
        for row in statement.query_map([], |row| row.get::<_, String>(0))? {
            match row?.as_str() {
                "ok" => {}
                problem => found(Object::Store, format!("database: {problem}")),
            }
        }
        let mut statement = connection.prepare("PRAGMA foreign_key_check")?;
        for row in statement.query_map([], |row| row.get::<_, String>(0))? {
            let text = format!("database: a row of table \"{}\" refers to something that is not there", row?);
            found(Object::Store, text);
        }
        for (digest, size) in images::blobs(connection)? {
            let message = match store.content.size(&digest)? {
                Some(there) if there == size => continue,
                Some(there) => format!("blob {digest} has {there} bytes instead of {size}"),
                None => format!("blob {digest} is missing"),
            };
            found(Object::Blob(digest), message);
        }
        for n in images::layer_numbers(connection)? {
            let name = format!("{n}/fs");
            match rustix::fs::statat(&store.layers, &name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::Directory => {}
                _ => found(Object::Layer(n), format!("layer {n} is missing")),
            }
        }
        Ok(())
    })?;
    // As a writer, since whoever changes names writes the file before the commit.
    let wanted = store.db.write(|tx| Ok((images::index(tx)?, store.content.read_index())))?;
    let set = |entries: &[Descriptor]| {
        entries.iter().map(|entry| format!("{entry:?}")).collect::<BTreeSet<String>>()
    };
    match wanted {
        (wanted, Ok(Document::Index(index))) if set(&wanted) == set(&index.manifests) => {}
        (_, Ok(Document::Index(_))) => {
            found(Object::Store, "index.json does not list the images of the database".into());
        }
        (_, Ok(Document::Manifest(_))) => found(Object::Store, "index.json is not an index".into()),
        (_, Err(error)) => found(Object::Store, format!("index.json: {error}")),
    }
    Ok(problems)
}
