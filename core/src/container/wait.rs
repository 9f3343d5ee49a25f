//! Waiting for a container's end, and noticing it.

use std::time::Duration;

use coble_protocol::{ExitRecord, Request, Response};

use super::live::RunDir;
use super::monitor::Monitor;
use super::{Container, State, WaitCondition};
use crate::cancel::CancelToken;
use crate::engine::Inner;
use crate::error::{Error, ErrorKind, Result};
use crate::process::{Deadline, warning_of};
use crate::state::{ContainerRow, containers, now_nanos};

/// The exit code of a container whose monitor was killed: its program was killed by the kernel with it.
const KILLED: i32 = 137;

impl Container {
    /// Waits for the program's end and returns its exit code; that of a container that has ended is returned at once.
    pub fn wait(&self, timeout: Option<Duration>, cancel: &CancelToken) -> Result<i32> {
        let inner = &*self.engine.inner()?;
        let deadline = Deadline::after(timeout);
        let mut code = None;
        loop {
            let row = match self.row(inner).and_then(|row| refreshed(inner, row)) {
                Ok(row) => row,
                // It was removed at its end, by somebody who noticed that before we did.
                Err(error) if error.kind() == ErrorKind::ContainerNotFound => return code.ok_or(error),
                Err(error) => return Err(error),
            };
            match row.state()? {
                State::Exited => return Ok(row.exit_code.unwrap_or(KILLED)),
                State::Created => {
                    return Err(Error::new(
                        ErrorKind::InvalidState,
                        format!("container \"{}\" was not started", self.name()),
                    )
                    .with_object(self.name()));
                }
                State::Running | State::Paused => {}
            }
            // A lost connection is no end: whether the container has ended is what the lock and the exit file say.
            let told = match Monitor::connect(inner, self.id(), self.name())? {
                Some(monitor) => wait_on(&monitor, deadline, cancel, self.name())?,
                None => None,
            };
            code = told.or(code);
            if told.is_none() {
                settle(deadline, cancel, self.name())?;
            }
        }
    }
}

impl Container {
    /// Waits for a condition, and returns the exit code that it came with. [`WaitCondition::NotRunning`] is what [`Container::wait`] waits for.
    pub fn wait_until(
        &self,
        condition: WaitCondition,
        timeout: Option<Duration>,
        cancel: &CancelToken,
    ) -> Result<i32> {
        match condition {
            WaitCondition::NotRunning => self.wait(timeout, cancel),
            WaitCondition::NextExit => self.wait_for_next_exit(timeout, cancel),
            WaitCondition::Removed => self.wait_for_removal(timeout, cancel),
        }
    }

    fn wait_for_next_exit(&self, timeout: Option<Duration>, cancel: &CancelToken) -> Result<i32> {
        let inner = &*self.engine.inner()?;
        let deadline = Deadline::after(timeout);
        let first = refreshed(inner, self.row(inner)?)?;
        if first.state()? == State::Running {
            return self.wait(timeout, cancel);
        }
        let mut pause = Glance::default();
        loop {
            let row = refreshed(inner, self.row(inner)?)?;
            match row.state()? {
                State::Running | State::Paused => return self.wait(deadline.left(), cancel),
                State::Exited
                    if (row.started_at, row.finished_at) != (first.started_at, first.finished_at) =>
                {
                    return Ok(row.exit_code.unwrap_or(KILLED));
                }
                _ => pause.wait(deadline, cancel, &format!("\"{}\" was not started", self.name()))?,
            }
        }
    }

    fn wait_for_removal(&self, timeout: Option<Duration>, cancel: &CancelToken) -> Result<i32> {
        let inner = &*self.engine.inner()?;
        let deadline = Deadline::after(timeout);
        let mut code = 0;
        let mut known = false;
        let mut pause = Glance::default();
        loop {
            let row = match self.row(inner).and_then(|row| refreshed(inner, row)) {
                Err(error) if error.kind() == ErrorKind::ContainerNotFound && known => return Ok(code),
                row => row?,
            };
            known = true;
            code = row.exit_code.unwrap_or(code);
            if row.state()? == State::Running {
                // Its end is told, where its removal is not.
                match self.wait(deadline.left(), cancel) {
                    Ok(ended) => code = ended,
                    Err(error) if error.kind() == ErrorKind::ContainerNotFound => return Ok(code),
                    Err(error) => return Err(error),
                }
            } else {
                pause.wait(deadline, cancel, &format!("\"{}\" is still there", self.name()))?;
            }
        }
    }
}

/// The pause between two looks at what nobody tells.
struct Glance(Duration);

impl Default for Glance {
    fn default() -> Glance {
        Glance(Duration::from_millis(1))
    }
}

impl Glance {
    fn wait(&mut self, deadline: Deadline, cancel: &CancelToken, late: &str) -> Result<()> {
        cancel.check()?;
        if deadline.is_over() {
            return Err(Error::new(ErrorKind::Timeout, late));
        }
        let left = deadline.left().unwrap_or(self.0).max(Duration::from_millis(1));
        std::thread::sleep(self.0.min(left));
        self.0 = (self.0 * 2).min(Duration::from_millis(50));
        Ok(())
    }
}

/// Waits until the monitor says how the program ended; None if it is gone.
fn wait_on(monitor: &Monitor, deadline: Deadline, cancel: &CancelToken, name: &str) -> Result<Option<i32>> {
    match monitor.ask(&Request::Wait, &[], deadline, cancel, &format!("\"{name}\" is still running")) {
        Ok(Some((Response::Exited(exit), _))) => Ok(Some(exit.code)),
        Err(error) if matches!(error.kind(), ErrorKind::Timeout | ErrorKind::Cancelled) => Err(error),
        _ => Ok(None),
    }
}

/// Between the monitor's last word and the end of its process lies a moment, which no descriptor of ours tells.
fn settle(deadline: Deadline, cancel: &CancelToken, name: &str) -> Result<()> {
    cancel.check()?;
    if deadline.is_over() {
        return Err(Error::new(ErrorKind::Timeout, format!("\"{name}\" is still running")).with_object(name));
    }
    std::thread::sleep(Duration::from_millis(1));
    Ok(())
}

/// A row that says running is looked at again: if nobody holds the container's lock, it has ended, and the row is brought up to date.
pub(crate) fn refreshed(inner: &Inner, mut row: ContainerRow) -> Result<ContainerRow> {
    if row.state()? != State::Running {
        return Ok(row);
    }
    let run_dir = RunDir::open(&inner.run_root, &row.id)?;
    let record = match &run_dir {
        Some(run_dir) => match run_dir.exit() {
            // The program's end is on record even while the monitor is finishing.
            Some(record) => Some(record),
            None => match run_dir.try_lock()? {
                // The lock is free, so what there is now is the last word.
                Some(_lock) => run_dir.exit(),
                None => return Ok(row),
            },
        },
        None => None,
    };
    let exit = record.as_ref().map(|record| record.exit);
    let started_at = row.started_at;
    finish(&mut row, record);
    if let Some(warning) = exit.and_then(|exit| super::run::out_of_memory(inner, &row.id, exit)) {
        let mut run = row.run()?;
        run.warnings.push(warning);
        row.set_run(&run)?;
    }
    match containers::settle(&inner.store.db, &row, started_at) {
        Ok(true) => {}
        // Somebody else noticed it first, and it may have been started again since.
        Ok(false) => {
            return containers::get(&inner.store.db, &row.id)?
                .ok_or_else(|| super::list::not_found(&row.name));
        }
        // It has ended all the same, and the next one who looks finds the same.
        Err(error) if error.kind() == ErrorKind::StorageFull => {}
        Err(error) => return Err(error),
    }
    inner.cgroups.remove(&row.id)?;
    if row.auto_remove {
        // Whoever notices the end removes the container; what cannot be removed now is removed by the sweep.
        let _ = super::remove::by_id(inner, &row.id, &row.name, true);
    }
    Ok(row)
}

/// Records the end in the row.
pub(super) fn finish(row: &mut ContainerRow, record: Option<ExitRecord>) {
    row.state = State::Exited.name().to_owned();
    row.pid = None;
    match record {
        Some(ExitRecord { exit, warnings, .. }) => {
            row.exit_code = Some(exit.code);
            row.finished_at = Some(exit.finished_at);
            // The end is worth more than what was lost of the log: without a readable record it goes without.
            if !warnings.is_empty()
                && let Ok(mut run) = row.run()
            {
                run.warnings.extend(warnings.iter().map(warning_of));
                let _ = row.set_run(&run);
            }
        }
        None => {
            row.exit_code = Some(KILLED);
            row.finished_at = Some(now_nanos());
            row.error = Some("the monitor ended without a record, and its container with it".into());
        }
    }
}
