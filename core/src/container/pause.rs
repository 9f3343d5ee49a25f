//! Stopping a container's processes where they are, and letting them go on. The state is the kernel's: nothing of it is written down, so that nothing can
//! be wrong about it, whoever dies.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use coble_protocol::{Condition, Request, Response};

use super::live::RunDir;
use super::monitor::{Monitor, stopped};
use super::take::PATIENCE;
use super::{Container, State};
use crate::cancel::CancelToken;
use crate::engine::Inner;
use crate::error::{Context, Error, ErrorKind, Result};
use crate::event::note;
use crate::process::Deadline;
use crate::state::{ContainerRow, Locked};

impl Container {
    /// Stops all of its processes, without their notice, until [`Container::unpause`]. When it returns they do nothing any more. Fails with
    /// [`ErrorKind::InvalidState`] if it does not run or is paused, and with [`ErrorKind::Unsupported`] where the host has no freezer for it.
    pub fn pause(&self) -> Result<()> {
        let inner = &*self.engine.inner()?;
        let doing = || format!("pausing \"{}\"", self.name());
        let _turn = self.turn(inner).context(doing)?;
        self.running(inner).context(doing)?;
        if inner.cgroups.is_frozen(self.id()) {
            let why = format!("container \"{}\" is paused already", self.name());
            return Err(Error::new(ErrorKind::InvalidState, why).with_object(self.name())).context(doing);
        }
        let frozen = inner.cgroups.freeze(self.id(), |procs| self.join_cgroups(inner, procs));
        // Its end may have come in between, and with it the next user of the name of its cgroup, who is not to wait for ever.
        if let Err(error) = self.running(inner) {
            inner.cgroups.thaw(self.id()).context(doing)?;
            return Err(error).context(doing);
        }
        frozen.map_err(|error| error.with_object(self.name())).context(doing)?;
        note(inner, self.id(), "pause", &[]);
        Ok(())
    }

    /// Lets the processes of a paused container go on. Fails with [`ErrorKind::InvalidState`] if it is not paused.
    pub fn unpause(&self) -> Result<()> {
        let inner = &*self.engine.inner()?;
        let doing = || format!("unpausing \"{}\"", self.name());
        let _turn = self.turn(inner).context(doing)?;
        let run_dir = self.monitored(inner).context(doing)?;
        if !inner.cgroups.is_frozen(self.id()) {
            self.not_restarting(&run_dir).context(doing)?;
            let why = format!("container \"{}\" is not paused", self.name());
            return Err(Error::new(ErrorKind::InvalidState, why).with_object(self.name())).context(doing);
        }
        inner.cgroups.thaw(self.id()).context(doing)?;
        note(inner, self.id(), "unpause", &[]);
        Ok(())
    }

    /// The turn to pause it or let it go on. Fails if it does not run.
    fn turn(&self, inner: &Inner) -> Result<Locked> {
        self.row(inner)?;
        let run_dir = RunDir::open(&inner.run_root, self.id())?.ok_or_else(|| stopped(self.name()))?;
        run_dir.turn(self.name(), Deadline::after(Some(PATIENCE)), &CancelToken::never())
    }

    /// Makes what is started in a running container from now on be in more cgroups.
    pub(super) fn join_cgroups(&self, inner: &Inner, procs: &[OwnedFd]) -> Result<()> {
        let monitor = Monitor::connect(inner, self.id(), self.name())?.ok_or_else(|| stopped(self.name()))?;
        let fds: Vec<BorrowedFd<'_>> = procs.iter().map(OwnedFd::as_fd).collect();
        let request = Request::Cgroups(u8::try_from(fds.len()).unwrap_or(u8::MAX));
        let deadline = Deadline::after(Some(Duration::from_secs(5)));
        let late = format!("the monitor of \"{}\" was told of more cgroups", self.name());
        match monitor.ask(&request, &fds, deadline, &CancelToken::never(), &late)? {
            Some((Response::Ok, _)) => Ok(()),
            Some(_) => Err(monitor.lost("an unexpected answer")),
            None => Err(monitor.stopped()),
        }
    }

    /// Fails unless there is a monitor, and a program.
    pub(super) fn running(&self, inner: &Inner) -> Result<()> {
        self.not_restarting(&self.monitored(inner)?)
    }

    /// Fails unless there is a monitor, though its program may wait to be started again.
    fn monitored(&self, inner: &Inner) -> Result<RunDir> {
        self.row(inner)?;
        let run_dir = RunDir::open(&inner.run_root, self.id())?.ok_or_else(|| stopped(self.name()))?;
        Monitor::of(&run_dir, self.name())?.map(drop).ok_or_else(|| stopped(self.name()))?;
        Ok(run_dir)
    }

    fn not_restarting(&self, run_dir: &RunDir) -> Result<()> {
        match run_dir.condition() {
            Some(Condition { waiting: Some(_), .. }) => {
                let why = format!("container \"{}\" is restarting", self.name());
                Err(Error::new(ErrorKind::InvalidState, why)
                    .with_object(self.name())
                    .with_hint("wait until it runs"))
            }
            _ => Ok(()),
        }
    }
}

/// The state of a row as it is now, and what the monitor has on file; the row is brought up to that.
pub(super) fn state_of(inner: &Inner, row: &mut ContainerRow) -> Result<(State, Option<Condition>)> {
    let state = row.state()?;
    if state != State::Running {
        return Ok((state, None));
    }
    let condition = RunDir::open(&inner.run_root, &row.id)?.and_then(|run_dir| run_dir.condition());
    // One that was killed while it was paused is not started again until it goes on.
    let frozen = inner.cgroups.is_frozen(&row.id);
    if let Some(condition) = &condition {
        if let Some((started_at, pid)) = condition.started {
            row.started_at = Some(started_at);
            row.pid = Some(pid);
        }
        if let Some(exit) = condition.waiting {
            row.exit_code = Some(exit.code);
            row.finished_at = Some(exit.finished_at);
            row.pid = None;
            let state = if frozen { State::Paused } else { State::Restarting };
            return Ok((state, Some(condition.clone())));
        }
    }
    let state = if frozen { State::Paused } else { State::Running };
    Ok((state, condition))
}

/// Fails if a container is paused: nothing that is started in it would run.
pub(super) fn refuse_paused(inner: &Inner, id: &str, name: &str) -> Result<()> {
    if inner.cgroups.is_frozen(id) {
        return Err(Error::new(ErrorKind::InvalidState, format!("container \"{name}\" is paused"))
            .with_object(name)
            .with_hint("unpause it first"));
    }
    Ok(())
}
