//! Stand-in for the archive worker.

use coble_protocol::{ArchiveDone, ArchiveWork, Failure, Fds, Step};

/// Does the work.
pub(crate) fn run(_work: ArchiveWork, _fds: &mut Fds) -> Result<ArchiveDone, Failure> {
    Err(Failure::rule(Step::Internal, "archive", "not part of this build"))
}
