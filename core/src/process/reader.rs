//! The reading jobs of the archive role: tars, differences, disk usage and mounts of trees.

use std::fs::File;
use std::io::{Read, Seek};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::mpsc::{RecvTimeoutError, channel};

use rustix::fs::MemfdFlags;

use coble_protocol::{
    ArchiveDone, ArchiveWork, FdIndex, FdList, Freezer, Live, Look, Node, PackForm, PathForm, Report, Tree,
};

use super::thread::spawn_helper;
use super::worker::{Workers, exchange, exchange_inside, lost, sent};
use crate::cancel::CancelToken;
use crate::error::{Call, Error, ErrorKind, Result};
use crate::progress::{INTERVAL, Meter, ProgressKind};
use crate::snapshot::Below;

/// The most bytes of a tar that is written.
const MAX_BYTES: u64 = 1 << 42;

/// A tree that is read.
#[derive(Debug, Clone, Copy)]
pub(crate) enum View<'a> {
    /// A directory.
    Directory(BorrowedFd<'a>),
    /// What layers show together: names relative to the directory of layers, uppermost first, a directory below them, and the directory of the container on top.
    Merged {
        layers: BorrowedFd<'a>,
        lower: &'a [String],
        directory: Option<BorrowedFd<'a>>,
        container: Option<BorrowedFd<'a>>,
    },
    /// The root of a running container, by a pidfd of its first process, and whether it is in another user namespace than the engine.
    Live(BorrowedFd<'a>, bool),
}

impl<'a> View<'a> {
    fn describe(self, fds: &mut FdList<'a>, userxattr: bool) -> Tree {
        match self {
            View::Directory(fd) => Tree::Directory(fds.push(fd)),
            View::Merged { layers, lower, directory, container } => Tree::Merged {
                layers: fds.push(layers),
                lower: lower.to_vec(),
                directory: directory.map(|fd| fds.push(fd)),
                container: container.map(|fd| fds.push(fd)),
                userxattr,
            },
            View::Live(init, userns) => Tree::Live(Live { init: fds.push(init), userns }),
        }
    }
}

/// Starts a worker that looks at a view.
fn job(
    workers: Workers<'_>,
    view: View<'_>,
    work: ArchiveWork,
    fds: &FdList<'_>,
    cancel: &CancelToken,
) -> Result<ArchiveDone> {
    sent(match view {
        View::Live(..) => exchange_inside(workers, work, fds, cancel),
        _ => exchange(workers, work, fds, cancel),
    }?)
}

/// `cgroup.freeze`, for writing, and `cgroup.events` of a container.
#[derive(Debug)]
pub(crate) struct FreezerFiles {
    pub(crate) freeze: OwnedFd,
    pub(crate) events: OwnedFd,
}

/// Writes a tree as a tar. Without an output only the digest is made.
pub(crate) fn pack<'a>(
    workers: impl Into<Workers<'a>>,
    view: View<'_>,
    form: PackForm,
    output: Option<BorrowedFd<'_>>,
    freezer: Option<&FreezerFiles>,
    cancel: &CancelToken,
) -> Result<ArchiveDone> {
    packed(workers.into(), view, form, (output, None), freezer, cancel)
}

/// Writes what a tree shows as a tar, and tells how far it is.
pub(crate) fn pack_told(
    workers: Workers<'_>,
    view: View<'_>,
    output: BorrowedFd<'_>,
    meter: &Meter<'_>,
    cancel: &CancelToken,
) -> Result<ArchiveDone> {
    let counter = memory("counter")?;
    let told = counter.as_fd();
    let (over, ended) = channel::<()>();
    let token = &cancel.child();
    let watch = move || {
        while ended.recv_timeout(INTERVAL) == Err(RecvTimeoutError::Timeout) {
            let mut bytes = [0; 8];
            if rustix::io::pread(told, &mut bytes, 0) == Ok(8) {
                meter.at(u64::from_ne_bytes(bytes), ProgressKind::Read);
            }
        }
    };
    let done = std::thread::scope(|scope| {
        // Without a thread for it nothing is told before the end.
        let _ = spawn_helper(scope, "coble-progress", move || {
            // Who is told may panic, which ends the work.
            catch_unwind(AssertUnwindSafe(watch)).unwrap_or_else(|panic| {
                token.cancel();
                resume_unwind(panic)
            });
        });
        let to = (Some(output), Some(told));
        let done = packed(workers, view, PackForm::Tree, to, None, token);
        drop(over);
        done
    })?;
    meter.at(done.uncompressed_bytes, ProgressKind::Read);
    meter.tell(ProgressKind::Read);
    Ok(done)
}

fn packed(
    workers: Workers<'_>,
    view: View<'_>,
    form: PackForm,
    (output, counter): (Option<BorrowedFd<'_>>, Option<BorrowedFd<'_>>),
    freezer: Option<&FreezerFiles>,
    cancel: &CancelToken,
) -> Result<ArchiveDone> {
    let mut fds = FdList::default();
    let work = ArchiveWork::Pack {
        tree: view.describe(&mut fds, workers.rootless()),
        form,
        output: output.map(|fd| fds.push(fd)),
        counter: counter.map(|fd| fds.push(fd)),
        freezer: freezer.map(|freezer| Freezer {
            freeze: fds.push(freezer.freeze.as_fd()),
            events: fds.push(freezer.events.as_fd()),
        }),
        userxattr: workers.rootless(),
        max_bytes: MAX_BYTES,
    };
    let done = sent(exchange(workers, work, &fds, cancel)?);
    if let (Err(_), Some(freezer)) = (&done, freezer) {
        // A worker that was killed could not do it.
        let _ = rustix::io::write(&freezer.freeze, b"0");
    }
    done
}

/// A path that is different: `A`, `C` or `D`, and the path without a leading slash.
pub(crate) type Difference = (u8, Vec<u8>);

/// What the upper directory of a container changes of the layers below. Sorted by path.
pub(crate) fn changes<'a>(
    workers: impl Into<Workers<'a>>,
    upper: BorrowedFd<'_>,
    below: Below<'_>,
    cancel: &CancelToken,
) -> Result<Vec<Difference>> {
    let workers = workers.into();
    let list = list_file()?;
    let mut fds = FdList::default();
    let work = ArchiveWork::Changes {
        upper: fds.push(upper),
        below: below.describe(&mut fds),
        userxattr: workers.rootless(),
        output: fds.push(list.as_fd()),
    };
    sent(exchange(workers, work, &fds, cancel)?)?;
    differences(list)
}

/// What is different in one tree against another. Sorted by path.
pub(crate) fn compare<'a>(
    workers: impl Into<Workers<'a>>,
    old: View<'_>,
    new: View<'_>,
    cancel: &CancelToken,
) -> Result<Vec<Difference>> {
    let workers = workers.into();
    let list = list_file()?;
    let mut fds = FdList::default();
    let output: FdIndex = fds.push(list.as_fd());
    let work = ArchiveWork::Compare {
        old: old.describe(&mut fds, workers.rootless()),
        new: new.describe(&mut fds, workers.rootless()),
        output,
    };
    sent(exchange(workers, work, &fds, cancel)?)?;
    differences(list)
}

/// What the entries of a directory take of the disk, down to a depth, with their paths.
pub(crate) fn usage<'a>(
    workers: impl Into<Workers<'a>>,
    directory: BorrowedFd<'_>,
    depth: u32,
    cancel: &CancelToken,
) -> Result<Vec<(String, u64)>> {
    let workers = workers.into();
    let list = list_file()?;
    let mut fds = FdList::default();
    let work = ArchiveWork::Usage { tree: fds.push(directory), depth, output: fds.push(list.as_fd()) };
    sent(exchange(workers, work, &fds, cancel)?)?;
    let bad = || Error::new(ErrorKind::Internal, "the list of the archive worker is malformed");
    records(list)?
        .into_iter()
        .map(|record| {
            let text = String::from_utf8_lossy(&record).into_owned();
            let (bytes, path) = text.split_once(' ').ok_or_else(bad)?;
            Ok((path.to_owned(), bytes.parse().map_err(|_| bad())?))
        })
        .collect()
}

/// Writes one path of a tree as a tar, in which it has this name. `how`: follow a link at its end; it has to be a directory.
pub(crate) fn path<'a>(
    workers: impl Into<Workers<'a>>,
    view: View<'_>,
    path: &[u8],
    how: (bool, bool),
    name: &[u8],
    output: BorrowedFd<'_>,
    cancel: &CancelToken,
) -> Result<ArchiveDone> {
    let workers = workers.into();
    let form = PathForm::Tar { name: name.to_vec(), max_bytes: 1 << 62 };
    one(workers, view, (path, how), form, output, cancel)
}

/// Looks at one path of a tree.
pub(crate) fn look<'a>(
    workers: impl Into<Workers<'a>>,
    view: View<'_>,
    path: &[u8],
    follow: bool,
    what: Look,
    cancel: &CancelToken,
) -> Result<Vec<Node>> {
    let workers = workers.into();
    let mut list = list_file()?;
    let mut fds = FdList::default();
    let tree = view.describe(&mut fds, workers.rootless());
    let work = ArchiveWork::Look { tree, path: path.to_vec(), follow, what, output: fds.push(list.as_fd()) };
    job(workers, view, work, &fds, cancel)?;
    let mut bytes = Vec::new();
    list.rewind().call("lseek", "list")?;
    list.read_to_end(&mut bytes).call("read", "list")?;
    Node::decode_all(&bytes)
        .map_err(|_| Error::new(ErrorKind::Internal, "the list of the archive worker is malformed"))
}

/// The content of a regular file of a tree, if it has at most so many bytes.
pub(crate) fn content<'a>(
    workers: impl Into<Workers<'a>>,
    view: View<'_>,
    path: &[u8],
    max_bytes: u64,
    cancel: &CancelToken,
) -> Result<Vec<u8>> {
    let workers = workers.into();
    let mut file = list_file()?;
    one(workers, view, (path, (true, false)), PathForm::Content { max_bytes }, file.as_fd(), cancel)?;
    let mut bytes = Vec::new();
    file.rewind().call("lseek", "content")?;
    file.read_to_end(&mut bytes).call("read", "content")?;
    Ok(bytes)
}

fn one(
    workers: Workers<'_>,
    view: View<'_>,
    (path, (follow, directory)): (&[u8], (bool, bool)),
    form: PathForm,
    output: BorrowedFd<'_>,
    cancel: &CancelToken,
) -> Result<ArchiveDone> {
    let mut fds = FdList::default();
    let work = ArchiveWork::Path {
        tree: view.describe(&mut fds, workers.rootless()),
        path: path.to_vec(),
        follow,
        directory,
        form,
        output: fds.push(output),
    };
    job(workers, view, work, &fds, cancel)
}

/// Mounts a tree read-only, where only the holder of the descriptor sees it.
pub(crate) fn mount<'a>(
    workers: impl Into<Workers<'a>>,
    view: View<'_>,
    cancel: &CancelToken,
) -> Result<OwnedFd> {
    let workers = workers.into();
    let mut fds = FdList::default();
    let work = ArchiveWork::Mount { tree: view.describe(&mut fds, workers.rootless()) };
    match exchange(workers, work, &fds, cancel)? {
        (Report::Mounted, mut fds) => fds.take_nth(0).map_err(|error| lost(error.to_string())),
        other => match sent(other) {
            Err(error) => Err(error),
            Ok(_) => Err(lost("it mounted nothing".into())),
        },
    }
}

/// A file in memory that gets a list.
fn list_file() -> Result<File> {
    memory("list")
}

fn memory(what: &str) -> Result<File> {
    let file = rustix::fs::memfd_create(format!("coble-{what}"), MemfdFlags::CLOEXEC);
    Ok(file.call("memfd_create", what)?.into())
}

fn records(mut list: File) -> Result<Vec<Vec<u8>>> {
    let mut bytes = Vec::new();
    list.rewind().call("lseek", "list")?;
    list.read_to_end(&mut bytes).call("read", "list")?;
    drop(list);
    Ok(bytes.split(|&byte| byte == 0).filter(|record| !record.is_empty()).map(<[u8]>::to_vec).collect())
}

fn differences(list: File) -> Result<Vec<Difference>> {
    let mut found: Vec<Difference> = records(list)?
        .into_iter()
        .filter_map(|record| record.split_first().map(|(letter, path)| (*letter, path.to_vec())))
        .collect();
    found.sort_unstable_by(|a, b| a.1.cmp(&b.1));
    Ok(found)
}
