//! The archive role: one job on untrusted data, in a sandbox around the directory it works on.
//!
//! [`watch`] ties the process to the engine's end of the control socket, then [`run`] confines the process for good and does the
//! job. Nothing of an archive is looked at before the sandbox is complete. This module is not for deciding what is applied where: the engine does that.

mod freeze;
mod live;
mod look;
mod path;
mod put;
mod read;
mod sandbox;
mod seccomp;
mod shelf;
mod view;
mod watch;

use std::os::fd::{AsFd, OwnedFd};

use coble_layer::{Act, Applied, Error, Limits, Options, Remover, Summary, Warning, WarningKind};
use coble_protocol::{ArchiveDone, ArchiveWork, Failure, Fds, Step};

pub(crate) use watch::watch;

/// What came out of a job.
pub(crate) enum Outcome {
    /// Work was done.
    Done(ArchiveDone),
    /// A tree was mounted.
    Mounted(OwnedFd),
}

fn take(fds: &mut Fds, index: coble_protocol::FdIndex) -> Result<OwnedFd, Failure> {
    fds.take(index).map_err(|error| Failure::new(Step::Protocol, error.errno(), "descriptor"))
}

/// Does the job. The process is confined afterwards, whatever came out: all that is left to do is to report and to exit.
pub(crate) fn run(work: ArchiveWork, fds: &mut Fds) -> Result<Outcome, Failure> {
    match work {
        ArchiveWork::Apply { .. } | ArchiveWork::Remove { .. } => change(work, fds).map(Outcome::Done),
        ArchiveWork::Put { .. } => put::run(work, fds).map(Outcome::Done),
        ArchiveWork::Mount { tree } => view::detached(tree, fds).map(Outcome::Mounted),
        work => read::run(work, fds).map(Outcome::Done),
    }
}

/// The jobs that change a directory.
fn change(work: ArchiveWork, fds: &mut Fds) -> Result<ArchiveDone, Failure> {
    match work {
        ArchiveWork::Apply { target, input, below, ready, userxattr, limits } => {
            let target = take(fds, target)?;
            let input = take(fds, input)?;
            let below = shelf::Given::take(below, fds)?;
            let ready = ready.map(|index| take(fds, index)).transpose()?;
            *fds = Fds::default();
            let (target, lower) = sandbox::enter_apply(target, below, userxattr)?;
            let limits = Limits {
                max_bytes: limits.max_bytes,
                max_entries: limits.max_entries,
                max_ratio: limits.max_ratio,
            };
            let options = Options { target, lower, ready, userxattr, merge: None };
            coble_layer::apply(std::fs::File::from(input), limits, options)
                .map(|(applied, summary)| done(applied, &summary))
                .map_err(failure)
        }
        ArchiveWork::Remove { parent, names } => {
            let parent = take(fds, parent)?;
            *fds = Fds::default();
            let parent = sandbox::enter_remove(parent)?;
            let mut remover = Remover::new();
            let mut done = ArchiveDone::default();
            for name in names {
                remover.remove(parent.as_fd(), name.as_bytes()).map_err(failure)?;
                done.entries += 1;
            }
            Ok(done)
        }
        _ => Err(Failure::rule(Step::Internal, "archive job", "not one that changes anything")),
    }
}

fn done(applied: Applied, summary: &Summary) -> ArchiveDone {
    ArchiveDone {
        diff_sha256: summary.diff_sha256,
        uncompressed_bytes: summary.uncompressed_bytes,
        content_bytes: applied.content_bytes,
        entries: applied.entries,
        warnings: applied.warnings.into_iter().map(warning).collect(),
        warning_count: applied.warning_count,
    }
}

fn warning(warning: Warning) -> Failure {
    let step = match warning.kind {
        WarningKind::Device => Step::Device,
        WarningKind::Owner | WarningKind::XattrPolicy | WarningKind::Xattr | WarningKind::SetId => {
            Step::Metadata
        }
        WarningKind::Socket | WarningKind::Link => Step::WriteEntry,
        WarningKind::Shrunk => Step::ReadTree,
    };
    Failure { detail: warning.kind.text().into(), ..Failure::new(step, warning.errno, warning.object) }
}

fn failure(error: Error) -> Failure {
    match error {
        Error::Read(errno) => Failure::new(Step::ReadArchive, errno, ""),
        Error::Output(errno) => Failure::new(Step::WriteOutput, errno, ""),
        Error::Decode { format, rule } => Failure::rule(Step::ReadArchive, format.name(), rule),
        Error::Invalid { entry, rule } => Failure::rule(Step::InvalidArchive, entry, rule),
        Error::Limit { entry, rule } => Failure::rule(Step::ArchiveLimit, entry, rule),
        Error::System { act, errno, object } => {
            let step = match act {
                Act::Write => Step::WriteEntry,
                Act::Metadata => Step::Metadata,
                Act::Whiteout => Step::Whiteout,
                Act::Remove => Step::Remove,
                Act::Read => Step::ReadTree,
            };
            Failure::new(step, errno, object)
        }
    }
}

#[cfg(test)]
mod tests;
