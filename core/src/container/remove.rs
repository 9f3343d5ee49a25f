//! Removing a container. The sweep calls the same functions.

use std::time::Duration;

use super::live::{Lock, RunDir};
use super::wait::connect;
use super::{Container, Signal, create, kill};
use crate::cancel::CancelToken;
use crate::engine::Inner;
use crate::error::{Context, Error, ErrorKind, Result};
use crate::process::{self, Deadline};
use crate::state::containers;

/// How long the kernel may take to end a killed container before the removal gives up.
const KILL: Duration = Duration::from_secs(60);

impl Container {
    /// Removes the container and everything it wrote. A running one only with `force`, which kills it.
    pub fn remove(&self, force: bool) -> Result<()> {
        let inner = &*self.engine.inner()?;
        self.row(inner)?;
        by_id(inner, self.id(), self.name(), force).context(|| format!("removing \"{}\"", self.name()))
    }
}

/// Removes the container with this id.
pub(super) fn by_id(inner: &Inner, id: &str, name: &str, force: bool) -> Result<()> {
    let run_dir = RunDir::make(&inner.run_root, id)?;
    let deadline = Deadline::after(Some(KILL));
    loop {
        if let Some(lock) = run_dir.try_lock()? {
            return locked(inner, id, run_dir, lock, || {});
        }
        // The lock is held, or the directory was removed by somebody else meanwhile.
        if containers::get(&inner.store.db, id)?.is_none() {
            return Ok(());
        }
        // A program that has ended leaves its monitor for a moment; that is not a running container.
        let ended = run_dir.state().is_some_and(|record| record.exit.is_some());
        if !force && !ended {
            return Err(Error::new(ErrorKind::InvalidState, format!("container \"{name}\" is running"))
                .with_object(name)
                .with_hint("stop it first, or remove it with force"));
        }
        if !ended {
            match kill::send(inner, id, name, Signal::KILL) {
                Err(error) if error.kind() != ErrorKind::InvalidState => return Err(error),
                _ => {}
            }
        }
        wait_for_monitor(inner, id, deadline, name)?;
    }
}

/// Waits until the monitor's process closes its end of a connection, which is when it ends.
fn wait_for_monitor(inner: &Inner, id: &str, deadline: Deadline, name: &str) -> Result<()> {
    if let Some(monitor) = connect(inner, id)? {
        loop {
            process::readable(
                &monitor,
                deadline,
                &CancelToken::never(),
                &format!("\"{name}\" does not end"),
            )?;
            match monitor.recv::<coble_protocol::Response>() {
                Ok(Some(_)) => {}
                Ok(None) | Err(_) => break,
            }
        }
    } else {
        if deadline.is_over() {
            return Err(Error::new(ErrorKind::Timeout, format!("\"{name}\" does not end")).with_object(name));
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}

/// Removes a container whose lock the caller holds: the row first, so that a crash leaves litter and no container without its files. `settle` waits for whoever
/// may still use the run directory.
pub(crate) fn locked(
    inner: &Inner,
    id: &str,
    run_dir: RunDir,
    lock: Lock,
    settle: impl FnOnce(),
) -> Result<()> {
    let removed = containers::delete(&inner.store.db, id)
        .and_then(|_| inner.cgroups.remove(id))
        .and_then(|()| files(inner, id));
    settle();
    removed.and_then(|()| run_dir.remove(&lock))
}

/// Removes the files of a container that has no row.
pub(crate) fn files(inner: &Inner, id: &str) -> Result<()> {
    let directory = create::directory(inner, id);
    let Some(parent) = directory.parent() else { return Ok(()) };
    crate::process::remove_tree(inner, parent, id)
}
