//! Signals to a container's program.

use super::live::RunDir;
use super::monitor::{Monitor, stopped};
use super::stop::own_stop_signal;
use super::{Container, RestartPolicy, Signal, look_at};
use crate::engine::Inner;
use crate::error::{Context, Result};

impl Container {
    /// Sends a signal to the program. A paused one gets SIGKILL at once; for any other signal that is meant to end it, which is all of them unless it has a
    /// stop signal, it goes on, as docker has it. After such a signal the program is not started again.
    pub fn kill(&self, signal: Signal) -> Result<()> {
        let inner = &*self.engine.inner()?;
        let doing = || format!("sending {signal} to \"{}\"", self.name());
        // Looked up only where it matters.
        let matters = || inner.cgroups.is_frozen(self.id()) || self.restarts(inner);
        let ends =
            signal == Signal::KILL || (matters() && self.is_meant_to_end(inner, signal).context(doing)?);
        self.send(inner, signal, ends).context(doing)
    }

    /// Sends a signal after which the program is not started again.
    pub(super) fn end_with(&self, signal: Signal) -> Result<()> {
        let inner = &*self.engine.inner()?;
        self.send(inner, signal, true).context(|| format!("sending {signal} to \"{}\"", self.name()))
    }

    fn send(&self, inner: &Inner, signal: Signal, ends: bool) -> Result<()> {
        let run_dir = RunDir::open(&inner.run_root, self.id())?.ok_or_else(|| stopped(self.name()))?;
        let monitor = Monitor::of(&run_dir, self.name())?;
        monitor.ok_or_else(|| stopped(self.name()))?.signal(&run_dir, signal, ends)?;
        if run_dir.is_journal_filling() {
            // Before the monitor has no place for more. What cannot be recorded now may be so later.
            let _ = look_at(inner, self.id());
        }
        if ends && inner.cgroups.is_frozen(self.id()) {
            inner.cgroups.thaw(self.id())?;
        }
        Ok(())
    }

    /// Whether it has a restart policy.
    fn restarts(&self, inner: &Inner) -> bool {
        let spec = self.row(inner).and_then(|row| row.spec());
        spec.is_ok_and(|spec| spec.restart_policy != RestartPolicy::No)
    }

    /// As docker has it, every signal is, unless the container has a stop signal.
    fn is_meant_to_end(&self, inner: &Inner, signal: Signal) -> Result<bool> {
        Ok(own_stop_signal(inner, &self.row(inner)?)?.is_none_or(|stop| stop == signal))
    }
}
