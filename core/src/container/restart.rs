//! Stopping and starting again.

use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::fs::{FlockOperation, Mode, OFlags};
use rustix::io::Errno;

use super::start::refuse_foreign;
use super::{Container, Signal, Stdio, create, secret};
use crate::cancel::CancelToken;
use crate::engine::Inner;
use crate::error::{Call, Context, Result};
use crate::event::note;
use crate::state::{Locked, Pause};

impl Container {
    /// Stops the container as [`Container::stop`] does, and starts it again, on what it wrote, with its output kept for `logs`. One that does not run is
    /// started. It is not removed in between, whatever is to become of it at its end. One of another engine's session is refused with
    /// [`ErrorKind::InvalidState`](crate::ErrorKind::InvalidState). Those who restart one container at the same time do so one after the other.
    pub fn restart(&self, timeout: Option<Duration>, cancel: &CancelToken) -> Result<()> {
        self.restart_with(None, timeout, cancel)
    }

    /// As [`Container::restart`], stopped with this signal instead of the container's stop signal.
    pub fn restart_with(
        &self,
        signal: Option<Signal>,
        timeout: Option<Duration>,
        cancel: &CancelToken,
    ) -> Result<()> {
        let inner = &*self.engine.inner()?;
        let doing = || format!("restarting \"{}\"", self.name());
        let row = self.row(inner)?;
        refuse_foreign(inner, &row).context(doing)?;
        // Not stopped if it could not be started by this process.
        let mut spec = row.spec()?;
        inner.secrets.fill(&row.id, &mut spec);
        secret::check_sources(&spec).context(doing)?;
        let _mark = mark(inner, self.id(), cancel).context(doing)?;
        self.stop_with(signal, timeout, cancel)
            .and_then(|()| self.start(Stdio::log(), cancel))
            .context(doing)?;
        note(inner, self.id(), "restart", &[]);
        Ok(())
    }
}

/// The mark of a container that is being restarted: a lock of its directory, which goes with whoever restarts it, and of which nothing stays.
fn mark(inner: &Inner, id: &str, cancel: &CancelToken) -> Result<Option<Locked>> {
    let mut pause = Pause::default();
    // Without a directory it has gone, or is about to, which is for others to say.
    while let Some(directory) = directory(inner, id)? {
        if let Some(lock) = Locked::try_exclusive(directory, &create::directory(inner, id))? {
            return Ok(Some(lock));
        }
        pause.wait(cancel)?;
    }
    Ok(None)
}

/// Whether somebody is restarting the container: then it is not removed at its end. Asked with the lock of the container.
pub(super) fn is_restarting(inner: &Inner, id: &str) -> Result<bool> {
    let Some(directory) = directory(inner, id)? else { return Ok(false) };
    // Nobody who asks keeps another one from asking, and the lock goes at once.
    Ok(rustix::fs::flock(&directory, FlockOperation::NonBlockingLockShared) == Err(Errno::WOULDBLOCK))
}

fn directory(inner: &Inner, id: &str) -> Result<Option<OwnedFd>> {
    let path = create::directory(inner, id);
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match rustix::fs::open(&path, flags, Mode::empty()) {
        Ok(directory) => Ok(Some(directory)),
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(errno).call("open", path),
    }
}
