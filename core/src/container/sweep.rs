//! What crashed processes left of containers. Runs when an engine opens the store.

use std::collections::BTreeSet;
use std::time::Duration;

use super::live::RunDir;
use super::restart::is_restarting;
use super::{State, frozen, hooks, names, remove, wait};
use crate::cancel::CancelToken;
use crate::engine::Inner;
use crate::error::{Context, Error, ErrorKind, Result};
use crate::process::{Deadline, names_in};
use crate::state::{ContainerRow, Locked, Pause, containers, volumes};

/// How long one sweep waits for what is about to be over: monitors of dead sessions on their way out, and copies of locks in
/// processes that a killed program was just making.
const PATIENCE: Duration = Duration::from_secs(1);

/// Brings rows up to date and removes what nobody is responsible for. Every single thing is decided under the container's lock. One container that cannot be
/// swept does not keep the others from it: what is wrong with it comes back, one error each. Fails only when the database does.
pub(crate) fn sweep(inner: &Inner) -> Result<Vec<Error>> {
    let mut problems = Vec::new();
    let mut listed = |directory: std::path::PathBuf| {
        names_in(&directory).unwrap_or_else(|error| {
            problems.push(error);
            Vec::new()
        })
    };
    let mut found = listed(inner.store.paths.data.join("containers"));
    found.extend(listed(inner.run_root.join("containers")));
    let known: BTreeSet<String> = containers::ids(&inner.store.db)?.into_iter().collect();
    found.retain(|id| !known.contains(id) || remove::is_doomed(inner, id));
    let mut candidates: BTreeSet<String> = found.into_iter().collect();
    // Whoever has a cgroup runs, or is not done with.
    candidates.extend(inner.cgroups.leftovers());
    // So may be one of whose start no row tells.
    candidates.extend(known.into_iter().filter(|id| RunDir::may_owe_hooks(&inner.run_root, id)));
    candidates.extend(containers::unsettled(&inner.store.db)?.into_iter().map(|row| row.id));
    // Of these there may be nothing but volumes.
    candidates.extend(inner.store.db.read(volumes::pending_owners)?);
    let deadline = Deadline::after(Some(PATIENCE));
    for id in candidates {
        if !names::is_id(&id) {
            continue;
        }
        match one(inner, &id, deadline).context(|| format!("cleaning up after container \"{id}\"")) {
            Err(error) if error.kind() == ErrorKind::Database => return Err(error),
            Err(error) => problems.push(error),
            Ok(()) => {}
        }
    }
    problems.extend(frozen::sweep(inner).err());
    Ok(problems)
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

fn one(inner: &Inner, id: &str, deadline: Deadline) -> Result<()> {
    let mut begun = false;
    let (run_dir, lock, row) = loop {
        let Some((run_dir, free)) = lock(inner, id, begun, deadline)? else { return Ok(()) };
        // Under the lock: whoever made, started or removed it is done or dead.
        let Some(mut row) = containers::get(&inner.store.db, id)? else {
            return remove::locked(inner, id, run_dir, free, None, || {});
        };
        // Also of a start that failed, or whose maker died with the monitor.
        match hooks::begin_owed(inner, &mut row, &run_dir, free)? {
            Some(lock) => break (run_dir, lock, row),
            // Those that take long are left alone: whoever looks at the container next does the rest.
            None => begun = true,
        }
    };
    let row = if row.state()? == State::Running { settled(inner, row, &run_dir)? } else { row };
    let over = row.auto_remove && row.state()? == State::Exited && !is_restarting(inner, id)?;
    if over || is_abandoned(inner, &row) || remove::is_doomed(inner, id) {
        return remove::locked(inner, id, run_dir, lock, None, || {});
    }
    inner.cgroups.remove(id)
}

/// The lock of a container, if nobody is responsible for it. `over_soon`: who is may be about to end.
fn lock(inner: &Inner, id: &str, over_soon: bool, deadline: Deadline) -> Result<Option<(RunDir, Locked)>> {
    let mut pause = Pause::default();
    let mut thawed = false;
    loop {
        {
            let _gate = inner.store.gate_exclusive()?;
            let run_dir = RunDir::make(&inner.run_root, id)?;
            if let Some(lock) = run_dir.try_lock()? {
                return Ok(Some((run_dir, lock)));
            }
        }
        // Somebody has it for good, unless there is nothing to have it for: then he is about to make the row, to finish a removal, or to end.
        let doomed = match containers::get(&inner.store.db, id)? {
            Some(row) => is_abandoned(inner, &row) || remove::is_doomed(inner, id),
            None => true,
        };
        if doomed && !std::mem::replace(&mut thawed, true) {
            // What version 1 has frozen does not even follow SIGKILL, which it has got by now.
            inner.cgroups.thaw(id)?;
        }
        if !(doomed || over_soon) || deadline.is_over() {
            return Ok(None);
        }
        pause.wait(&CancelToken::never())?;
    }
}

/// Whether the container belongs to a session that is over.
pub(super) fn is_abandoned(inner: &Inner, row: &ContainerRow) -> bool {
    row.session.as_deref().is_some_and(|session| !inner.session_lives(session))
}

/// The row of a container that does not run any more, brought up to date. On a full disk it is so only in memory: the next one who looks finds the same.
fn settled(inner: &Inner, mut row: ContainerRow, run_dir: &RunDir) -> Result<ContainerRow> {
    match wait::settle_end(inner, &mut row, Some(run_dir), run_dir.exit()) {
        Err(error) if error.kind() == ErrorKind::StorageFull => Ok(row),
        // Nobody else can have it: the caller has the lock. But somebody who noticed the end may have been quicker.
        result => result.map(|_| row),
    }
}
