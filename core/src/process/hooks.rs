//! Hooks that a monitor could not run, since it was killed. The shim is their parent, as it is of everything that is run for the engine.

use std::os::fd::BorrowedFd;
use std::time::Duration;

use coble_protocol::{Launch, OwedHooks, Report};

use super::{Deadline, report};
use crate::cancel::CancelToken;
use crate::engine::Inner;
use crate::error::{Error, ErrorKind, Result};

/// How long their parent may take to begin.
const BEGIN: Duration = Duration::from_secs(10);

/// Makes them begin. From then on they need nobody. When this fails they may have begun all the same: [`coble_protocol::OWED_FILE`] says so.
pub(crate) fn begin_owed(inner: &Inner, owed: OwedHooks, fds: &[BorrowedFd<'_>]) -> Result<()> {
    let control = inner.shim()?.start(&Launch::Hooks(Box::new(owed)), fds)?;
    match report(&control, Deadline::after(Some(BEGIN)), &CancelToken::never(), "the hooks")? {
        (Report::Begun, _) => Ok(()),
        _ => Err(Error::new(ErrorKind::MonitorLost, "the hooks: an unexpected report")),
    }
}
