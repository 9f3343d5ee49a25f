//! Where images come to, and go from.

use std::path::Path;

use super::net::Network;
use crate::engine::Inner;
use crate::snapshot::Worker;
use crate::state::Store;

/// What a transfer stands on.
#[derive(Clone, Copy)]
pub(super) struct Ground<'a> {
    pub(super) store: &'a Store,
    pub(super) worker: &'a dyn Worker,
    pub(super) network: &'a Network,
    /// The lock file that every pull obeys.
    pub(super) lock_file: Option<&'a Path>,
}

impl<'a> Ground<'a> {
    pub(super) fn of(inner: &'a Inner) -> Ground<'a> {
        let lock_file = inner.lock_file.as_deref();
        Ground { store: &inner.store, worker: inner, network: &inner.network, lock_file }
    }
}
