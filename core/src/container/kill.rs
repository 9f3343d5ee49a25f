//! Signals to a container's program.

use super::monitor::{Monitor, stopped};
use super::stop::own_stop_signal;
use super::{Container, Signal};
use crate::engine::Inner;
use crate::error::{Context, Result};

impl Container {
    /// Sends a signal to the program. A paused one gets SIGKILL at once; for any other signal that is meant to end it, which is all of them unless it has a
    /// stop signal, it goes on, as docker has it.
    pub fn kill(&self, signal: Signal) -> Result<()> {
        let inner = &*self.engine.inner()?;
        self.send(inner, signal).context(|| format!("sending {signal} to \"{}\"", self.name()))
    }

    fn send(&self, inner: &Inner, signal: Signal) -> Result<()> {
        let monitor = Monitor::connect(inner, self.id(), self.name())?;
        monitor.ok_or_else(|| stopped(self.name()))?.signal(signal)?;
        if inner.cgroups.is_frozen(self.id()) {
            let row = self.row(inner)?;
            let ends = signal == Signal::KILL
                || match own_stop_signal(inner, &row)? {
                    Some(stop) => stop == signal,
                    None => true,
                };
            if ends {
                inner.cgroups.thaw(self.id())?;
            }
        }
        Ok(())
    }
}
