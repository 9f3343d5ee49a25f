//! What a container changed of its image, or of the directory that it has instead.

use std::os::fd::AsFd;

use super::Container;
use crate::cancel::CancelToken;
use crate::error::{Context, Result};
use crate::image::PathChange;
use crate::process::reader::{self, View};
use crate::snapshot::Below;

impl Container {
    /// What is different from the image, sorted by path: files and directories that were added, changed or deleted. A directory in which
    /// something changed counts as changed, too.
    pub fn diff(&self, cancel: &CancelToken) -> Result<Vec<PathChange>> {
        let inner = &*self.engine.inner()?;
        let doing = || format!("comparing container \"{}\" with its image", self.name());
        let tree = self.tree(inner, cancel).context(doing)?;
        let stacked = tree.row.frozen().context(doing)?.len();
        if stacked > 0 {
            // What it went on from counts, too.
            let image = View::Merged {
                layers: inner.store.layers.as_fd(),
                lower: tree.lower.get(stacked..).unwrap_or_default(),
                directory: tree.rootfs.as_ref().map(AsFd::as_fd),
                container: None,
            };
            let found =
                reader::compare(tree.workers(inner), image, tree.view(inner), cancel).context(doing)?;
            self.still_there(inner).context(doing)?;
            return Ok(found.iter().filter_map(PathChange::of).collect());
        }
        let below = Below {
            directory: tree.rootfs.as_ref().map(AsFd::as_fd),
            ..Below::of(&inner.store, &tree.lower)
        };
        let upper = tree.upper().context(doing)?;
        let found = reader::changes(tree.workers(inner), upper.as_fd(), below, cancel).context(doing)?;
        self.still_there(inner).context(doing)?;
        Ok(found.iter().filter_map(PathChange::of).collect())
    }
}
