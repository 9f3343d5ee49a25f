//! Unpacked layers: one directory for each chain id and kind of id map, used as overlay lower directories. Archives are applied by a
//! [`Worker`], never here.

mod together;
mod unpack;

pub(crate) use together::{Input, Supply, Wanted};
pub(crate) use unpack::{Blob, Stack, TREE, lock_temporary, make_tree, open_tree};

use std::os::fd::{AsFd, BorrowedFd};

use coble_protocol::{ArchiveDone, FdList};
use rusqlite::{Connection, OptionalExtension};

use crate::cancel::CancelToken;
use crate::error::{Context, Result};
use crate::image::ResolvedImage;
use crate::oci::Digest;
use crate::progress::Reporter;
use crate::state::{Session, Store, images};

/// The beginning of the names of layer directories that are on their way in or out.
pub(crate) const TEMPORARY: &str = "tmp-";

/// A layer that is to be applied.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Application<'a> {
    /// An empty directory.
    pub(crate) target: BorrowedFd<'a>,
    /// The archive, compressed or not: a file, or a pipe that is read to its end.
    pub(crate) input: BorrowedFd<'a>,
    /// The layers below.
    pub(crate) below: Below<'a>,
    /// The layers below are being applied at the same time: one byte can be read from this when they are complete. None: they are.
    pub(crate) ready: Option<BorrowedFd<'a>>,
}

/// Layers that are looked into one by one.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Below<'a> {
    /// The directory of layers.
    pub(crate) layers: BorrowedFd<'a>,
    /// Names relative to that, uppermost first.
    pub(crate) lower: &'a [String],
    /// A directory below those.
    pub(crate) directory: Option<BorrowedFd<'a>>,
    /// One more name: the lowest of all.
    pub(crate) base: Option<&'a str>,
}

impl<'a> Below<'a> {
    /// Layers of the store alone.
    pub(crate) fn of(store: &'a Store, lower: &'a [String]) -> Below<'a> {
        Below { layers: store.layers.as_fd(), lower, directory: None, base: None }
    }

    /// As a worker gets it.
    pub(crate) fn describe(self, fds: &mut FdList<'a>) -> coble_protocol::Below {
        coble_protocol::Below {
            layers: fds.push(self.layers),
            lower: self.lower.to_vec(),
            directory: self.directory.map(|fd| fds.push(fd)),
            base: self.base.map(str::to_owned),
        }
    }
}

/// The name of an unpacked layer's tree, relative to the directory of layers.
pub(crate) fn name_of(n: i64) -> String {
    format!("{n}/{TREE}")
}

/// What the store needs done to directories by somebody who is confined to them.
pub(crate) trait Worker: Sync {
    /// The kind of id map in whose terms the owners of files are on the disk.
    fn idmap<'a>(&'a self, store: &'a Store) -> &'a str {
        &store.idmap
    }

    /// Applies a layer. Nothing of it is synced.
    fn apply(&self, layer: Application<'_>, cancel: &CancelToken) -> Result<ArchiveDone>;

    /// Removes trees of a directory by their names; missing ones are fine.
    fn remove(&self, parent: BorrowedFd<'_>, names: &[&str]) -> Result<()>;
}

/// Makes sure that all layers of an image are unpacked for the worker's kind of id map. Returns names like `12/fs`, relative to the directory of
/// layers, uppermost first.
pub(crate) fn ensure(
    store: &Store,
    worker: &dyn Worker,
    image: &ResolvedImage,
    cancel: &CancelToken,
) -> Result<Vec<String>> {
    let numbers = store.db.read(|connection| {
        image
            .chain_ids
            .iter()
            .map(|chain_id| number(connection, chain_id, worker.idmap(store)))
            .collect::<Result<Vec<_>>>()
    })?;
    let numbers = match numbers.into_iter().collect::<Option<Vec<i64>>>() {
        Some(numbers) => numbers,
        None => Session::run(store, worker, cancel, |_session| {
            let layers = store.db.read(|connection| images::layers(connection, &image.id))?;
            let mut stack = Stack::new(store, worker);
            stack.push_stored(&crate::image::wanted(&layers), &Reporter::silent(), cancel)?;
            stack.publish()
        })
        .context(|| format!("unpacking image \"{}\"", image.id))?,
    };
    Ok(numbers.iter().rev().copied().map(name_of).collect())
}

/// The number of an unpacked layer.
fn number(connection: &Connection, chain_id: &Digest, idmap: &str) -> Result<Option<i64>> {
    Ok(connection
        .prepare_cached("SELECT n FROM layers WHERE chain_id = ?1 AND idmap = ?2")?
        .query_row([chain_id.as_str(), idmap], |row| row.get(0))
        .optional()?)
}

#[cfg(test)]
pub(crate) mod tests;
