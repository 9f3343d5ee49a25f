//! Stopping and starting again.

use std::time::Duration;

use super::{Container, Stdio};
use crate::cancel::CancelToken;
use crate::error::{Context, Result};
use crate::state::containers;

impl Container {
    /// Stops the container as [`Container::stop`] does, and starts it again, on what it wrote, with its output kept for `logs`. One that does not run is
    /// started. It is not removed in between, whatever is to become of it at its end.
    pub fn restart(&self, timeout: Option<Duration>, cancel: &CancelToken) -> Result<()> {
        let inner = &*self.engine.inner()?;
        let doing = || format!("restarting \"{}\"", self.name());
        let removes_itself = self.row(inner)?.auto_remove;
        if removes_itself {
            containers::set_auto_remove(&inner.store.db, self.id(), false).context(doing)?;
        }
        let result = self.stop(timeout, cancel).and_then(|()| self.start(Stdio::log(), cancel));
        if removes_itself {
            // Whoever looks next at one that did not start removes it.
            let kept = containers::set_auto_remove(&inner.store.db, self.id(), true);
            return result.and(kept).context(doing);
        }
        result.context(doing)
    }
}
