//! A structural check of a store: rows against files. Reads no content.

use std::collections::BTreeSet;

use rustix::fs::{AtFlags, FileType};

use super::{Store, images};
use crate::error::Result;
use crate::oci::{Descriptor, Document};

/// What is wrong, one sentence each. Empty when nothing is.
pub(crate) fn verify(store: &Store) -> Result<Vec<String>> {
    let mut problems = Vec::new();
    // Under the gate and in one read, so that what others do meanwhile is not taken for damage.
    let _gate = store.gate.shared(&crate::cancel::CancelToken::never())?;
    store.db.read(|connection| {
        let mut statement = connection.prepare("PRAGMA quick_check(20)")?;
        for row in statement.query_map([], |row| row.get::<_, String>(0))? {
            match row?.as_str() {
                "ok" => {}
                problem => problems.push(format!("database: {problem}")),
            }
        }
        let mut statement = connection.prepare("PRAGMA foreign_key_check")?;
        for row in statement.query_map([], |row| row.get::<_, String>(0))? {
            problems
                .push(format!("database: a row of table \"{}\" refers to something that is not there", row?));
        }
        for (digest, size) in images::blobs(connection)? {
            match store.content.size(&digest)? {
                Some(found) if found == size => {}
                Some(found) => problems.push(format!("blob {digest} has {found} bytes instead of {size}")),
                None => problems.push(format!("blob {digest} is missing")),
            }
        }
        for n in images::layer_numbers(connection)? {
            let name = format!("{n}/fs");
            match rustix::fs::statat(&store.layers, &name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::Directory => {}
                _ => problems.push(format!("layer {n} is missing")),
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
        (wanted, Ok(Document::Index(found))) if set(&wanted) == set(&found.manifests) => {}
        (_, Ok(Document::Index(_))) => {
            problems.push("index.json does not list the images of the database".into())
        }
        (_, Ok(Document::Manifest(_))) => problems.push("index.json is not an index".into()),
        (_, Err(error)) => problems.push(format!("index.json: {error}")),
    }
    Ok(problems)
}
