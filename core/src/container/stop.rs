//! Stopping: a signal, some time, then SIGKILL.

use std::time::Duration;

use super::{Container, Signal, State};
use crate::cancel::CancelToken;
use crate::engine::Inner;
use crate::error::{Context, ErrorKind, Result};
use crate::event::note;
use crate::state::ContainerRow;

/// Docker's time before SIGKILL.
const DEFAULT_TIMEOUT: u32 = 10;

impl Container {
    /// Sends the stop signal, and SIGKILL when the time (default: the container's stop timeout) is over. A container that does not run is
    /// fine; a paused one goes on.
    pub fn stop(&self, timeout: Option<Duration>, cancel: &CancelToken) -> Result<()> {
        self.stop_with(None, timeout, cancel)
    }

    /// As [`Container::stop`], with this signal instead of the container's stop signal.
    pub fn stop_with(
        &self,
        signal: Option<Signal>,
        timeout: Option<Duration>,
        cancel: &CancelToken,
    ) -> Result<()> {
        let inner = &*self.engine.inner()?;
        if !matches!(self.state()?, State::Running | State::Paused | State::Restarting) {
            return Ok(());
        }
        let row = self.row(inner)?;
        let spec = row.spec()?;
        let signal = match signal {
            Some(signal) => signal,
            None => own_stop_signal(inner, &row)?.unwrap_or(Signal::TERM),
        };
        let timeout = timeout
            .unwrap_or_else(|| Duration::from_secs(u64::from(spec.stop_timeout.unwrap_or(DEFAULT_TIMEOUT))));
        let doing = || format!("stopping \"{}\"", self.name());
        for (signal, timeout) in [(signal, Some(timeout)), (Signal::KILL, None)] {
            let sent = self.end_with(signal);
            // A paused one could not follow any signal but SIGKILL.
            inner.cgroups.thaw(self.id()).context(doing)?;
            match sent {
                Err(error) if error.kind() != ErrorKind::InvalidState => return Err(error).context(doing),
                // Not running any more, or sent.
                _ => {}
            }
            match self.wait(timeout, cancel) {
                Err(error) if error.kind() == ErrorKind::Timeout => {}
                result => {
                    result.context(doing)?;
                    note(inner, self.id(), "stop", &[]);
                    return Ok(());
                }
            }
        }
        Ok(())
    }
}

/// The stop signal that the container was given, or its image.
pub(super) fn own_stop_signal(inner: &Inner, row: &ContainerRow) -> Result<Option<Signal>> {
    match row.spec()?.stop_signal {
        Some(signal) => Signal::parse(&signal).map(Some),
        None => {
            let config = super::image_of(inner, row)?.config;
            Ok(config.stop_signal.map(|signal| Signal::parse(&signal).unwrap_or(Signal::TERM)))
        }
    }
}
