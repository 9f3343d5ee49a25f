//! Signals to a container's program.

use coble_protocol::{ProtocolError, Request, Response};

use super::wait::connect;
use super::{Container, Signal};
use crate::cancel::CancelToken;
use crate::engine::Inner;
use crate::error::{Context, Error, ErrorKind, Result};
use crate::process::{self, Deadline};

/// A monitor answers at once; a host that is out of memory may take a while.
const ANSWER: std::time::Duration = std::time::Duration::from_secs(60);

impl Container {
    /// Sends a signal to the program.
    pub fn kill(&self, signal: Signal) -> Result<()> {
        send(&*self.engine.inner()?, self.id(), self.name(), signal)
            .context(|| format!("sending {signal} to \"{}\"", self.name()))
    }
}

pub(super) fn send(inner: &Inner, id: &str, name: &str, signal: Signal) -> Result<()> {
    let stopped = || {
        Error::new(ErrorKind::InvalidState, format!("container \"{name}\" is not running")).with_object(name)
    };
    let monitor = connect(inner, id)?.ok_or_else(stopped)?;
    let lost = |error| Error::new(ErrorKind::MonitorLost, format!("the monitor of \"{name}\": {error}"));
    monitor.send(&Request::Signal(signal.number()), &[]).map_err(|_| stopped())?;
    process::readable(
        &monitor,
        Deadline::after(Some(ANSWER)),
        &CancelToken::never(),
        "the monitor's answer",
    )?;
    let answer = match monitor.recv::<Response>() {
        // It was ending, or was killed, and the container with it.
        Err(ProtocolError::Socket(rustix::io::Errno::CONNRESET) | ProtocolError::Truncated) => None,
        answer => answer.map_err(lost)?,
    };
    match answer {
        Some((Response::Ok, _)) => Ok(()),
        Some((Response::Failed(failure), _)) => Err(process::error_of(&failure)),
        Some(_) => Err(Error::new(
            ErrorKind::MonitorLost,
            format!("the monitor of \"{name}\" sent an unexpected answer"),
        )),
        None => Err(stopped()),
    }
}
