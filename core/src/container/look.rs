//! Bringing on record what happened to containers while no engine looked.

use super::State;
use super::wait::refreshed;
use crate::engine::Inner;
use crate::error::{ErrorKind, Result};
use crate::state::{ContainerRow, containers};

/// Looks at one container, if it is there and runs as far as its row says.
pub(crate) fn look_at(inner: &Inner, id: &str) -> Result<()> {
    match containers::get(&inner.store.db, id)? {
        Some(row) => look(inner, row),
        None => Ok(()),
    }
}

/// Looks at all that run.
pub(crate) fn look_at_running(inner: &Inner) -> Result<()> {
    for row in containers::list(&inner.store.db, Some(State::Running.name()))? {
        look(inner, row)?;
    }
    Ok(())
}

fn look(inner: &Inner, row: ContainerRow) -> Result<()> {
    match refreshed(inner, row) {
        // What is wrong with one container keeps nobody from hearing of the others.
        Err(error) if error.kind() == ErrorKind::Database => Err(error),
        _ => Ok(()),
    }
}
