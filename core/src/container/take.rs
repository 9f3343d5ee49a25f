//! Becoming responsible for a container that does not run.

use std::time::Duration;

use super::live::RunDir;
use super::monitor::Monitor;
use crate::cancel::CancelToken;
use crate::engine::Inner;
use crate::error::{Error, ErrorKind, Result};
use crate::process::Deadline;
use crate::state::{Locked, Pause, containers};

/// How long others may have a container for what takes a moment: sweeping, noticing its end, getting it started.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);

/// Who is responsible for a container.
pub(super) enum Taken {
    /// The caller.
    Lock(Locked),
    /// Its monitor: it runs.
    Running(Monitor),
    /// Nobody any more: somebody has removed it.
    Gone,
}

/// Takes the lock of a container. Somebody who has it and is no monitor is waited for: an engine that starts or removes the container, or looks whether it
/// has ended; and a monitor that has told the end of its program and is about to go.
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
        if let Some(lock) = run_dir.try_lock()? {
            return Ok(Taken::Lock(lock));
        }
        let ended = run_dir.state().is_some_and(|record| record.exit.is_some());
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
