//! Becoming responsible for a container that does not run.

use std::time::Duration;

use coble_protocol::WRITERS_FILE;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use super::list::not_found;
use super::live::RunDir;
use super::monitor::Monitor;
use super::sweep::is_abandoned;
use super::{Container, create, hooks, remove};
use crate::cancel::CancelToken;
use crate::engine::Inner;
use crate::error::{Call, Error, ErrorKind, Result};
use crate::process::Deadline;
use crate::state::{ContainerRow, Locked, Pause, containers};

/// How long others may have a container for what takes a moment: sweeping, noticing its end, getting it started.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);

/// How long those may take who had a container's root mounted while it ran. They notice its end at once.
pub(super) const WRITERS: Duration = Duration::from_secs(10);

/// Who is responsible for a container.
pub(super) enum Taken {
    /// The caller.
    Lock(Locked),
    /// Its monitor: it runs.
    Running(Monitor),
    /// Nobody any more: somebody has removed it.
    Gone,
}

/// A container that is looked at, or started.
pub(super) enum Held {
    /// It does not run, and as long as the lock is held nobody starts or removes it.
    Stopped { row: ContainerRow, run_dir: RunDir, lock: Locked },
    /// It runs.
    Running(ContainerRow),
}

impl Container {
    /// Takes the lock of the container if it does not run.
    pub(super) fn hold(&self, inner: &Inner, cancel: &CancelToken) -> Result<Held> {
        let run_dir = RunDir::make(&inner.run_root, self.id())?;
        let deadline = Deadline::after(Some(PATIENCE));
        match take(inner, self.id(), self.name(), &run_dir, deadline, cancel)? {
            Taken::Running(_) => Ok(Held::Running(self.row(inner)?)),
            Taken::Gone => Err(not_found(self.name())),
            // Read under the lock: nobody else changes it now.
            Taken::Lock(lock) => match self.row(inner) {
                Ok(row) if !is_abandoned(inner, &row) && !remove::is_doomed(inner, self.id()) => {
                    writers_gone(inner, self.id(), self.name(), Deadline::after(Some(WRITERS)), cancel)?;
                    Ok(Held::Stopped { row, run_dir, lock })
                }
                // It was removed meanwhile, or as good as that, or belongs to a session that is over: what is left of it is ours to remove.
                result => {
                    remove::locked(inner, self.id(), run_dir, lock, None, || {})?;
                    result.and(Err(not_found(self.name())))
                }
            },
        }
    }
}

/// Waits until no worker is left that wrote into the container while it ran: it has the overlay mounted over the directories that the next one, or a snapshot, is made of. The caller holds the container's
/// lock, so none comes: a worker takes its lock before it looks whether the container runs.
pub(super) fn writers_gone(
    inner: &Inner,
    id: &str,
    name: &str,
    deadline: Deadline,
    cancel: &CancelToken,
) -> Result<()> {
    let path = create::directory(inner, id).join(WRITERS_FILE);
    let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut pause = Pause::default();
    loop {
        let own = match rustix::fs::open(&path, flags, Mode::empty()) {
            Err(Errno::NOENT) => return Ok(()),
            own => own.call("open", &path)?,
        };
        if Locked::try_exclusive(own, &path)?.is_some() {
            return Ok(());
        }
        if deadline.is_over() {
            let why = format!("somebody still writes into container \"{name}\", which has ended");
            return Err(Error::new(ErrorKind::Timeout, why).with_object(name));
        }
        pause.wait(cancel)?;
    }
}

/// Takes the lock of a container. Somebody who has it and is no monitor is waited for: an engine that starts or removes the container, or looks whether it
/// has ended; a monitor that has told the end of its program and is about to go; and hooks that a killed monitor owed, which begin here if nobody has noticed yet.
pub(super) fn take(
    inner: &Inner,
    id: &str,
    name: &str,
    run_dir: &RunDir,
    deadline: Deadline,
    cancel: &CancelToken,
) -> Result<Taken> {
    let mut pause = Pause::default();
    loop {
        if let Some(lock) = run_dir.try_lock()?
            && let Some(lock) = nothing_owed(inner, id, run_dir, lock)?
        {
            return Ok(Taken::Lock(lock));
        }
        let ended = run_dir.exit().is_some();
        if !ended && let Some(monitor) = Monitor::of(run_dir, name)? {
            return Ok(Taken::Running(monitor));
        }
        if containers::get(&inner.store.db, id)?.is_none() {
            return Ok(Taken::Gone);
        }
        if deadline.is_over() {
            let why = format!("somebody else is at work on container \"{name}\" and does not finish");
            return Err(Error::new(ErrorKind::Timeout, why).with_object(name));
        }
        pause.wait(cancel)?;
    }
}

/// The lock that the caller has taken, unless it went to hooks that have to be run before anything else is done with the container.
fn nothing_owed(inner: &Inner, id: &str, run_dir: &RunDir, lock: Locked) -> Result<Option<Locked>> {
    if !run_dir.owes_hooks() {
        return Ok(Some(lock));
    }
    match containers::get(&inner.store.db, id)? {
        Some(mut row) => hooks::begin_owed(inner, &mut row, run_dir, lock),
        None => Ok(Some(lock)),
    }
}
