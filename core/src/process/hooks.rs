//! Hooks that a monitor could not run, since it was killed. The shim is their parent, as it is of everything that is run for the engine.

use coble_protocol::{Launch, OwedHooks, Report};

use super::{Deadline, report, warning_of};
use crate::cancel::CancelToken;
use crate::container::Warning;
use crate::engine::Inner;
use crate::error::{Error, ErrorKind, Result};

/// Runs them, and returns what went wrong. Each has a time, so there is an end.
pub(crate) fn run_owed(inner: &Inner, owed: OwedHooks) -> Result<Vec<Warning>> {
    let control = inner.shim()?.start(&Launch::Hooks(Box::new(owed)), &[])?;
    match report(&control, Deadline::never(), &CancelToken::never(), "the hooks")? {
        (Report::Complaints(failures), _) => Ok(failures.iter().map(warning_of).collect()),
        _ => Err(Error::new(ErrorKind::MonitorLost, "the hooks: an unexpected report")),
    }
}
