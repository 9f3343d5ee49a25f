//! The writing job of the archive role on trees that are in use.

use std::os::fd::BorrowedFd;

use coble_protocol::{ArchiveDone, ArchiveWork, FdIndex, FdList, Owner, Place};

use super::worker::{Workers, exchange, exchange_inside, sent};
use crate::cancel::CancelToken;
use crate::error::Result;

/// Unpacks an archive in a directory of a tree. `place` comes with the descriptors that it names, and so does the lock.
pub(crate) fn put<'a>(
    workers: Workers<'_>,
    (place, mut fds): (Place, FdList<'a>),
    directory: &[u8],
    input: BorrowedFd<'a>,
    (owner, lock): (Owner, Option<FdIndex>),
    cancel: &CancelToken,
) -> Result<ArchiveDone> {
    let live = matches!(place, Place::Live { .. });
    let work = ArchiveWork::Put { place, path: directory.to_vec(), input: fds.push(input), owner, lock };
    sent(if live {
        exchange_inside(workers, work, &fds, cancel)
    } else {
        exchange(workers, work, &fds, cancel)
    }?)
}
