//! A container's root file system as a tar.

use super::{Container, Exported};
use crate::cancel::CancelToken;
use crate::error::{Context, Result};
use crate::event::note;
use crate::image::{Sink, sink};
use crate::process::{reader, warning_of};
use crate::progress::{ProgressKind, ProgressSink, Reporter};

impl Container {
    /// Writes the container's root file system as a tar, whether it runs or not. What is mounted in it (`/proc`, `/dev`) is not part of it.
    ///
    /// Of a running container, files that change meanwhile may be in the tar as they never were; the tar itself is always whole. A sparse file
    /// is written without its holes, in GNU's format 1.0.
    pub fn export(&self, sink: Sink, progress: ProgressSink<'_>, cancel: &CancelToken) -> Result<Exported> {
        let inner = &*self.engine.inner()?;
        let doing = || format!("exporting container \"{}\"", self.name());
        let tree = self.tree(inner, cancel).context(doing)?;
        let output = sink::create(sink, cancel).context(doing)?;
        let reporter = Reporter::new(self.name(), progress);
        // How much it is shows when it is there.
        let meter = reporter.source(0);
        let done = reader::pack_told(tree.workers(inner), tree.view(inner), output.fd(), &meter, cancel)
            .context(doing)?;
        self.still_there(inner).context(doing)?;
        output.finish().context(doing)?;
        note(inner, self.id(), "export", &[]);
        reporter.tell(ProgressKind::Done, None);
        Ok(Exported {
            bytes: done.uncompressed_bytes,
            entries: done.entries,
            warnings: done.warnings.iter().map(warning_of).collect(),
        })
    }
}
