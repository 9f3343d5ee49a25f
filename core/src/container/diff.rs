//! What a container changed of its image.

use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{Mode, OFlags};

use super::Container;
use crate::cancel::CancelToken;
use crate::error::{Call, Context, Result};
use crate::image::PathChange;
use crate::process::reader;

impl Container {
    /// What is different from the image, sorted by path: files and directories that were added, changed or deleted. A directory in which
    /// something changed counts as changed, too.
    pub fn diff(&self, cancel: &CancelToken) -> Result<Vec<PathChange>> {
        let inner = &*self.engine.inner()?;
        let doing = || format!("comparing container \"{}\" with its image", self.name());
        let tree = self.tree(inner, cancel).context(doing)?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let lower = tree
            .lower
            .iter()
            .map(|name| {
                rustix::fs::openat(&inner.store.layers, name, flags, Mode::empty()).call("open", name)
            })
            .collect::<Result<Vec<OwnedFd>>>()
            .context(doing)?;
        let upper = tree.upper().context(doing)?;
        let found = reader::changes(inner, upper.as_fd(), &lower, cancel).context(doing)?;
        self.still_there(inner).context(doing)?;
        Ok(found.iter().filter_map(PathChange::of).collect())
    }
}
