//! The writing job of the archive role on trees that are in use.

use std::os::fd::BorrowedFd;

use coble_protocol::{ArchiveDone, ArchiveWork, FdIndex, FdList, Owner, Place};

use super::worker::{exchange, exchange_in, sent};
use crate::cancel::CancelToken;
use crate::engine::Inner;
use crate::error::Result;

/// Unpacks an archive in a directory of a tree. `place` comes with the descriptors that it names, and so does the lock.
pub(crate) fn put<'a>(
    inner: &Inner,
    (place, mut fds): (Place, FdList<'a>),
    directory: &[u8],
    input: BorrowedFd<'a>,
    (owner, lock): (Owner, Option<FdIndex>),
    cancel: &CancelToken,
) -> Result<ArchiveDone> {
    let live = matches!(place, Place::Live { .. });
    let work = ArchiveWork::Put { place, path: directory.to_vec(), input: fds.push(input), owner, lock };
    // A running container has a user namespace already.
    sent(if live {
        exchange_in(inner, None, work, &fds, cancel)
    } else {
        exchange(inner, work, &fds, cancel)
    }?)
}
