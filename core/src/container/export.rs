//! A container's root file system as a tar.

use coble_protocol::PackForm;

use super::{Container, Exported};
use crate::cancel::CancelToken;
use crate::error::{Context, Result};
use crate::event::note;
use crate::image::{Sink, sink};
use crate::process::{reader, warning_of};

impl Container {
    /// Writes the container's root file system as a tar, whether it runs or not. What is mounted in it (`/proc`, `/dev`) is not part of it.
    ///
    /// Of a running container, files that change meanwhile may be in the tar as they never were; the tar itself is always whole. A sparse file
    /// is written without its holes, in GNU's format 1.0.
    pub fn export(&self, sink: Sink, cancel: &CancelToken) -> Result<Exported> {
        let inner = &*self.engine.inner()?;
        let doing = || format!("exporting container \"{}\"", self.name());
        let tree = self.tree(inner, cancel).context(doing)?;
        let output = sink::create(sink, cancel).context(doing)?;
        let done = reader::pack(
            tree.workers(inner),
            tree.view(inner),
            PackForm::Tree,
            Some(output.fd()),
            None,
            cancel,
        )
        .context(doing)?;
        self.still_there(inner).context(doing)?;
        output.finish().context(doing)?;
        note(inner, self.id(), "export", &[]);
        Ok(Exported {
            bytes: done.uncompressed_bytes,
            entries: done.entries,
            warnings: done.warnings.iter().map(warning_of).collect(),
        })
    }
}
