//! What crashed processes left of containers. Runs when an engine opens the store.

use std::collections::BTreeSet;

use super::live::{Lock, RunDir};
use super::{State, remove, wait};
use crate::engine::Inner;
use crate::error::{ErrorKind, Result};
use crate::process::names_in;
use crate::state::{ContainerRow, containers};

/// Brings rows up to date and removes what nobody is responsible for. Every single thing is decided under the container's lock.
pub(crate) fn sweep(inner: &Inner) -> Result<()> {
    let mut candidates: BTreeSet<String> = BTreeSet::new();
    for row in containers::unsettled(&inner.store.db)? {
        candidates.insert(row.id);
    }
    let known: BTreeSet<String> = containers::ids(&inner.store.db)?.into_iter().collect();
    let on_disk = names_in(&inner.store.paths.data.join("containers"))?;
    let at_run = names_in(&inner.run_root.join("containers"))?;
    candidates.extend(
        on_disk.into_iter().chain(at_run).chain(inner.cgroups.leftovers()).filter(|id| !known.contains(id)),
    );
    for id in candidates {
        if !id.bytes().all(|byte| byte.is_ascii_hexdigit()) || id.len() != 64 {
            continue;
        }
        one(inner, &id)?;
    }
    Ok(())
}

/// Removes the containers of a session that is over.
pub(crate) fn end_session(inner: &Inner, session: &str) -> Result<()> {
    let mut result = Ok(());
    for row in containers::of_session(&inner.store.db, session)? {
        // The others are removed whatever comes of one.
        result = result.and(remove::by_id(inner, &row.id, &row.name, true));
    }
    result
}

fn one(inner: &Inner, id: &str) -> Result<()> {
    let Some((run_dir, lock)) = lock(inner, id)? else { return Ok(()) };
    // Under the lock: whoever made, started or removed it is done or dead.
    let removed = match containers::get(&inner.store.db, id)? {
        None => remove::locked(inner, id, run_dir, lock, || {}),
        Some(row) => {
            let was_running = row.state()? == State::Running;
            let row = if was_running { settled(inner, row, &run_dir)? } else { row };
            let abandoned = row.session.as_deref().is_some_and(|session| !inner.session_lives(session));
            if abandoned || (row.auto_remove && row.state()? == State::Exited) {
                remove::locked(inner, id, run_dir, lock, || {})
            } else {
                if was_running {
                    inner.cgroups.remove(id)?;
                }
                Ok(())
            }
        }
    };
    match removed {
        // Somebody else sweeps too.
        Err(error) if matches!(error.kind(), ErrorKind::PathNotFound | ErrorKind::ContainerNotFound) => {
            Ok(())
        }
        result => result,
    }
}

/// The lock of a container, if nobody is responsible for it.
fn lock(inner: &Inner, id: &str) -> Result<Option<(RunDir, Lock)>> {
    let _gate = inner.store.gate_exclusive()?;
    let run_dir = match RunDir::make(&inner.run_root, id) {
        // Its owner removed it just now.
        Err(error) if error.kind() == ErrorKind::ContainerNotFound => return Ok(None),
        result => result?,
    };
    Ok(run_dir.try_lock()?.map(|lock| (run_dir, lock)))
}

/// The row of a container that does not run any more, brought up to date.
fn settled(inner: &Inner, mut row: ContainerRow, run_dir: &RunDir) -> Result<ContainerRow> {
    wait::finish(&mut row, run_dir.state().and_then(|record| record.exit));
    containers::update(&inner.store.db, &row)?;
    Ok(row)
}
