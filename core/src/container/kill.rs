//! Signals to a container's program.

use super::monitor::{Monitor, stopped};
use super::{Container, Signal};
use crate::error::{Context, Result};

impl Container {
    /// Sends a signal to the program.
    pub fn kill(&self, signal: Signal) -> Result<()> {
        let inner = &*self.engine.inner()?;
        Monitor::connect(inner, self.id(), self.name())
            .and_then(|monitor| monitor.ok_or_else(|| stopped(self.name()))?.signal(signal))
            .context(|| format!("sending {signal} to \"{}\"", self.name()))
    }
}
