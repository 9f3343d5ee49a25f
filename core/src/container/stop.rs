//! Stopping: a signal, some time, then SIGKILL.

use std::time::Duration;

use super::{Container, Signal, State};
use crate::cancel::CancelToken;
use crate::error::{Context, ErrorKind, Result};
use crate::image;

/// Docker's time before SIGKILL.
const DEFAULT_TIMEOUT: u32 = 10;

impl Container {
    /// Sends the stop signal, and SIGKILL when the time (default: the container's stop timeout) is over. A container that does not run is
    /// fine.
    pub fn stop(&self, timeout: Option<Duration>, cancel: &CancelToken) -> Result<()> {
        let inner = &*self.engine.inner()?;
        if self.state()? != State::Running {
            return Ok(());
        }
        let row = self.row(inner)?;
        let spec = row.spec()?;
        let signal = match &spec.stop_signal {
            Some(signal) => Signal::parse(signal)?,
            None => match image::resolve(&inner.store, &row.image_id)?.config.stop_signal {
                Some(signal) => Signal::parse(&signal).unwrap_or(Signal::TERM),
                None => Signal::TERM,
            },
        };
        let timeout = timeout
            .unwrap_or_else(|| Duration::from_secs(u64::from(spec.stop_timeout.unwrap_or(DEFAULT_TIMEOUT))));
        let doing = || format!("stopping \"{}\"", self.name());
        for (signal, timeout) in [(signal, Some(timeout)), (Signal::KILL, None)] {
            match self.kill(signal) {
                Err(error) if error.kind() != ErrorKind::InvalidState => return Err(error).context(doing),
                // Not running any more, or sent.
                _ => {}
            }
            match self.wait(timeout, cancel) {
                Err(error) if error.kind() == ErrorKind::Timeout => {}
                result => return result.map(drop).context(doing),
            }
        }
        Ok(())
    }
}
