//! Stopping a container's processes where they are, and letting them go on. The state is the kernel's: nothing of it is written down, so that nothing can
//! be wrong about it, whoever dies.

use super::monitor::{Monitor, stopped};
use super::{Container, State};
use crate::engine::Inner;
use crate::error::{Context, Error, ErrorKind, Result};
use crate::state::ContainerRow;

impl Container {
    /// Stops all of its processes, without their notice, until [`Container::unpause`]. When it returns they do nothing any more. Fails with
    /// [`ErrorKind::InvalidState`] if it does not run or is paused, and with [`ErrorKind::Unsupported`] where the host has no freezer for it.
    pub fn pause(&self) -> Result<()> {
        let inner = &*self.engine.inner()?;
        let doing = || format!("pausing \"{}\"", self.name());
        self.running(inner).context(doing)?;
        if inner.cgroups.is_frozen(self.id()) {
            let why = format!("container \"{}\" is paused already", self.name());
            return Err(Error::new(ErrorKind::InvalidState, why).with_object(self.name())).context(doing);
        }
        inner.cgroups.freeze(self.id()).map_err(|error| error.with_object(self.name())).context(doing)?;
        // Its end may have come in between, and with it the next user of the name of its cgroup.
        self.running(inner).context(doing)
    }

    /// Lets the processes of a paused container go on. Fails with [`ErrorKind::InvalidState`] if it is not paused.
    pub fn unpause(&self) -> Result<()> {
        let inner = &*self.engine.inner()?;
        let doing = || format!("unpausing \"{}\"", self.name());
        self.running(inner).context(doing)?;
        if !inner.cgroups.is_frozen(self.id()) {
            let why = format!("container \"{}\" is not paused", self.name());
            return Err(Error::new(ErrorKind::InvalidState, why).with_object(self.name())).context(doing);
        }
        inner.cgroups.thaw(self.id()).context(doing)
    }

    /// Fails unless there is a monitor, and so a program.
    pub(super) fn running(&self, inner: &Inner) -> Result<()> {
        self.row(inner)?;
        Monitor::connect(inner, self.id(), self.name())?.map(drop).ok_or_else(|| stopped(self.name()))
    }
}

/// The state of a row, as it is now.
pub(super) fn state_of(inner: &Inner, row: &ContainerRow) -> Result<State> {
    match row.state()? {
        State::Running if inner.cgroups.is_frozen(&row.id) => Ok(State::Paused),
        state => Ok(state),
    }
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
