//! The jobs that only read: tars, differences, disk usage.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::os::fd::{AsFd, OwnedFd};

use coble_layer::{Change, Error, Form, PackOptions, Packed};
use coble_protocol::{ArchiveDone, ArchiveWork, Failure, Fds, PackForm, Step, Tree};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use super::shelf::Given;
use super::{failure, freeze, sandbox, take, view, warning};

/// The most bytes of a list of paths.
const LIST_MAX: usize = 512 << 20;

pub(super) fn run(work: ArchiveWork, fds: &mut Fds) -> Result<ArchiveDone, Failure> {
    // A reader who goes away is an error of writing, not the end of this process.
    // SAFETY: no handler is installed, and the process has one thread.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_IGN) };
    match work {
        ArchiveWork::Pack { tree, form, output, counter, freezer, userxattr, max_bytes } => {
            let output = output.map(|index| take(fds, index)).transpose()?;
            let counter = counter.map(|index| take(fds, index)).transpose()?;
            let freezer = match freezer {
                Some(freezer) => Some((take(fds, freezer.freeze)?, take(fds, freezer.events)?)),
                None => None,
            };
            sandbox::private_namespace()?;
            let mounted = view::enter(tree, fds)?;
            *fds = Fds::default();
            let form = match form {
                PackForm::Layer => Form::Layer,
                PackForm::Tree => Form::Tree,
                PackForm::Exact => Form::Exact,
            };
            let root = sandbox::enter_read(mounted, !userxattr && form != Form::Tree)?;
            let _frozen = match freezer {
                Some((file, events)) => Some(freeze::freeze(file, &events)?),
                None => None,
            };
            let options = PackOptions { form, userxattr, max_bytes };
            let packed = match output {
                Some(fd) => {
                    let output = Counted { output: Output(fd), counter, bytes: 0 };
                    coble_layer::pack(root.as_fd(), BufWriter::with_capacity(BUFFER, output), options)
                }
                None => coble_layer::pack(root.as_fd(), std::io::sink(), options),
            };
            packed.map(done).map_err(failure)
        }
        ArchiveWork::Changes { upper, below, userxattr, output } => {
            let upper = take(fds, upper)?;
            let mut list = List::new(take(fds, output)?);
            let below = Given::take(below, fds)?;
            *fds = Fds::default();
            sandbox::private_namespace()?;
            let lower = below.shelve()?;
            let upper = crate::container::rootfs::reopen(&upper, "upper")?;
            rustix::process::fchdir(&upper).map_err(|errno| sandbox::fail(errno, "fchdir"))?;
            drop(upper);
            let root = sandbox::enter_read(false, !userxattr)?;
            coble_layer::changes(root.as_fd(), lower, userxattr, |change, path| list.change(change, path))
                .and_then(|()| list.finish())
                .map_err(failure)
        }
        ArchiveWork::Compare { old, new, output } => {
            let mut list = List::new(take(fds, output)?);
            sandbox::private_namespace()?;
            let old = view::clone(old, fds)?;
            let mounted = view::enter(new, fds)?;
            *fds = Fds::default();
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
            // What the clone of a mount gives is a path only. It has no way up.
            let old = rustix::fs::openat(&old, ".", flags, Mode::empty())
                .map_err(|errno| sandbox::fail(errno, "tree"))?;
            let new = sandbox::enter_read(mounted, false)?;
            coble_layer::compare(old.as_fd(), new.as_fd(), |change, path| list.change(change, path))
                .and_then(|()| list.finish())
                .map_err(failure)
        }
        ArchiveWork::Usage { tree, depth, output } => {
            let tree = take(fds, tree)?;
            let mut list = List::new(take(fds, output)?);
            *fds = Fds::default();
            sandbox::private_namespace()?;
            let tree = crate::container::rootfs::reopen(&tree, "directory")?;
            rustix::process::fchdir(&tree).map_err(|errno| sandbox::fail(errno, "fchdir"))?;
            drop(tree);
            let root = sandbox::enter_read(false, false)?;
            coble_layer::usage(root.as_fd(), depth as usize, |path, bytes| {
                list.push(&[bytes.to_string().as_bytes(), b" ", path, b"\0"])
            })
            .and_then(|()| list.finish())
            .map_err(failure)
        }
        ArchiveWork::Path { tree, path, follow, directory, form, output } => {
            let output = take(fds, output)?;
            let root = tree_root(tree, fds)?;
            super::path::run(
                root.as_fd(),
                &path,
                (follow, directory),
                form,
                BufWriter::with_capacity(BUFFER, Output(output)),
            )
        }
        ArchiveWork::Look { tree, path, follow, what, output } => {
            let list = List::new(take(fds, output)?);
            let root = tree_root(tree, fds)?;
            super::look::run(root.as_fd(), &path, follow, what, list)
        }
        _ => Err(Failure::rule(Step::Internal, "archive job", "not one that only reads")),
    }
}

/// Confines the process to a tree that it reads, which may be a running container's.
fn tree_root(tree: Tree, fds: &mut Fds) -> Result<OwnedFd, Failure> {
    if let Tree::Live(container) = tree {
        let memory = sandbox::memory_limit();
        super::live::enter(container, false, fds)?;
        *fds = Fds::default();
        return sandbox::enter_live(memory);
    }
    sandbox::private_namespace()?;
    let mounted = view::enter(tree, fds)?;
    *fds = Fds::default();
    sandbox::enter_read(mounted, false)
}

const BUFFER: usize = 256 << 10;

pub(super) fn done(packed: Packed) -> ArchiveDone {
    ArchiveDone {
        diff_sha256: packed.sha256,
        uncompressed_bytes: packed.bytes,
        content_bytes: packed.content_bytes,
        entries: packed.entries,
        warnings: packed.warnings.into_iter().map(warning).collect(),
        warning_count: packed.warning_count,
    }
}

/// A list that is being written.
pub(super) struct List {
    file: BufWriter<File>,
    bytes: usize,
    entries: u64,
}

impl List {
    pub(super) fn new(file: OwnedFd) -> List {
        List { file: BufWriter::with_capacity(BUFFER, file.into()), bytes: 0, entries: 0 }
    }

    pub(super) fn push(&mut self, parts: &[&[u8]]) -> Result<(), Error> {
        self.entries += 1;
        for part in parts {
            self.bytes += part.len();
            if self.bytes > LIST_MAX {
                return Err(Error::Limit { entry: Vec::new(), rule: "more paths than can be listed" });
            }
            self.file.write_all(part).map_err(output)?;
        }
        Ok(())
    }

    fn change(&mut self, change: Change, path: &[u8]) -> Result<(), Error> {
        self.push(&[&[change.letter()], path, b"\0"])
    }

    pub(super) fn finish(mut self) -> Result<ArchiveDone, Error> {
        self.file.flush().map_err(output)?;
        Ok(ArchiveDone { entries: self.entries, ..ArchiveDone::default() })
    }
}

fn output(error: std::io::Error) -> Error {
    Error::Output(error.raw_os_error().unwrap_or(libc::EIO))
}

/// An output, and who is told how much went there.
struct Counted {
    output: Output,
    counter: Option<OwnedFd>,
    bytes: u64,
}

impl Write for Counted {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let count = self.output.write(bytes)?;
        self.bytes += count as u64;
        if let Some(counter) = &self.counter {
            // Whoever does not hear of it knows less, and nothing else is wrong.
            let _ = rustix::io::pwrite(counter, &self.bytes.to_ne_bytes(), 0);
        }
        Ok(count)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// The caller's file or pipe, which may be one that does not block.
struct Output(OwnedFd);

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        loop {
            match rustix::io::write(&self.0, bytes) {
                Err(Errno::AGAIN) => {
                    let mut fds = [PollFd::new(&self.0, PollFlags::OUT)];
                    match poll(&mut fds, None) {
                        Ok(_) | Err(Errno::INTR) => {}
                        Err(errno) => return Err(errno.into()),
                    }
                }
                Err(Errno::INTR) => {}
                result => return Ok(result?),
            }
        }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
