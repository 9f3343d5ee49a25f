//! Removing a container. The sweep calls the same functions.
//!
//! The row goes first, so that a crash leaves litter, which the sweep finds, and no container without its files. When the disk is too full for that, the container's directory is
//! marked instead, in place, which takes no space: from then on the container counts as removed, whatever the row says, and whoever meets it finishes the work. The files go, which
//! makes space, then the row, then the marked directory.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use coble_protocol::Exit;
use rustix::fs::Mode;

use super::live::RunDir;
use super::take::{Taken, WRITERS, take, writers_gone};
use super::wait::KILLED;
use super::{Container, Signal, create, frozen};
use crate::cancel::CancelToken;
use crate::engine::Inner;
use crate::error::{Call, Context, Error, ErrorKind, Result};
use crate::process::{Deadline, names_in, remove_tree};
use crate::state::containers::Last;
use crate::state::{Locked, containers};
use crate::volume::files;

/// How long the kernel may take to end a killed container before the removal gives up.
const KILL: Duration = Duration::from_secs(60);
/// The mark of a container's directory that is to be removed.
const DOOMED: Mode = Mode::SVTX;

impl Container {
    /// Removes the container and everything it wrote. A running one only with `force`, which kills it. The volumes that were made for it and have no names of somebody's go only with one that goes by itself, or
    /// with its session: see [`Container::remove_with_volumes`].
    pub fn remove(&self, force: bool) -> Result<()> {
        self.remove_and(force, false)
    }

    /// As [`Container::remove`], with the anonymous volumes that were made for it, unless another container has them.
    pub fn remove_with_volumes(&self, force: bool) -> Result<()> {
        self.remove_and(force, true)
    }

    fn remove_and(&self, force: bool, volumes: bool) -> Result<()> {
        let inner = &*self.engine.inner()?;
        self.row(inner)?;
        by_id_and(inner, self.id(), self.name(), force, volumes)
            .context(|| format!("removing \"{}\"", self.name()))
    }
}

/// Removes the container with this id.
pub(super) fn by_id(inner: &Inner, id: &str, name: &str, force: bool) -> Result<()> {
    by_id_and(inner, id, name, force, false)
}

/// As [`by_id`]; whether with the volumes that were made for it.
fn by_id_and(inner: &Inner, id: &str, name: &str, force: bool, volumes: bool) -> Result<()> {
    let deadline = Deadline::after(Some(KILL));
    loop {
        let run_dir = RunDir::make(&inner.run_root, id)?;
        match take(inner, id, name, &run_dir, deadline, &CancelToken::never())? {
            Taken::Lock(lock) => return locked_and(inner, id, run_dir, lock, None, volumes, || {}),
            Taken::Gone => return Ok(()),
            Taken::Running(monitor) if force => match monitor.signal(&run_dir, Signal::KILL, true) {
                Err(error) if error.kind() != ErrorKind::InvalidState => return Err(error),
                _ => {
                    // Frozen by version 1 it would not end.
                    inner.cgroups.thaw(id)?;
                    monitor.gone(deadline)?;
                }
            },
            Taken::Running(_) => {
                return Err(Error::new(ErrorKind::InvalidState, format!("container \"{name}\" is running"))
                    .with_object(name)
                    .with_hint("stop it first, or remove it with force"));
            }
        }
    }
}

/// Removes a container whose lock the caller holds, and of whose last run no hooks are owed. `exit` is how its program ended, if the caller has seen it; `settle` waits for whoever may still use its directories.
pub(crate) fn locked(
    inner: &Inner,
    id: &str,
    run_dir: RunDir,
    lock: Locked,
    exit: Option<Exit>,
    settle: impl FnOnce(),
) -> Result<()> {
    locked_and(inner, id, run_dir, lock, exit, false, settle)
}

/// As [`locked`]; whether with the volumes that were made for it.
fn locked_and(
    inner: &Inner,
    id: &str,
    run_dir: RunDir,
    lock: Locked,
    exit: Option<Exit>,
    volumes: bool,
    settle: impl FnOnce(),
) -> Result<()> {
    inner.secrets.forget(id);
    let exit = exit.or_else(|| run_dir.exit().map(|record| record.exit));
    let condition = run_dir.condition().unwrap_or_default();
    let oom = super::run::out_of_memory(inner, id, condition.oom_kills);
    let last = Last {
        exit: exit.or(condition.ended.map(|ended| ended.exit)),
        journal: run_dir.journal(0),
        oom,
        record: condition.ended.map(|ended| ended.record),
    };
    // What can go goes, whatever becomes of the rest. The run directory stays until all is gone.
    let removed = delete(inner, id, &last, volumes).and_then(|volumes| {
        let cgroups = inner.cgroups.remove(id);
        settle();
        // What one who does not end still makes there is in the way then, and found by the sweep.
        let _ = writers_gone(inner, id, id, Deadline::after(Some(WRITERS)), &CancelToken::never());
        own_files(inner, id)
            .map(|()| {
                // A layer that cannot be removed may be anybody's. It is swept, and told, when an engine opens the store.
                let _ = frozen::sweep(inner);
                let _ = files::discard(inner, &volumes);
            })
            .and(cgroups)
    });
    removed.and_then(|()| run_dir.remove(&lock))
}

/// Removes the writable layer of a container that has ended, if there is nothing in it. That can be done while its monitor still removes the other things of the overlay.
pub(super) fn unused_layer(inner: &Inner, id: &str) {
    // What is in the way is dealt with later.
    let _ = rustix::fs::rmdir(create::directory(inner, id).join("upper"));
}

/// Deletes the row. Returns the names of volumes that went with it.
fn delete(inner: &Inner, id: &str, last: &Last, volumes: bool) -> Result<Vec<String>> {
    let delete = || containers::delete(&inner.store.db, id, last, KILLED, volumes);
    match delete() {
        Err(error) if error.kind() == ErrorKind::StorageFull => {
            let directory = create::directory(inner, id);
            rustix::fs::chmod(&directory, Mode::RWXU | DOOMED).call("chmod", &directory)?;
            for name in names_in(&directory)? {
                remove_tree(inner, &directory, &name)?;
            }
            inner.store.freeing(delete)
        }
        result => result,
    }
}

/// Removes the volumes that were made for a container that has come to nothing.
pub(super) fn discard_volumes(inner: &Inner, id: &str) -> Result<()> {
    let take = || inner.store.db.write(|tx| crate::state::volumes::take_of(tx, id, true));
    files::discard(inner, &inner.store.freeing(take)?)
}

/// Whether the removal of a container has begun and was cut short before its row went.
pub(crate) fn is_doomed(inner: &Inner, id: &str) -> bool {
    create::directory(inner, id)
        .symlink_metadata()
        .is_ok_and(|found| found.mode() & DOOMED.as_raw_mode() != 0)
}

/// Removes the files of a container that has no row.
fn own_files(inner: &Inner, id: &str) -> Result<()> {
    let directory = create::directory(inner, id);
    remove_tree(inner, directory.parent().unwrap_or(Path::new("/")), id)
}
