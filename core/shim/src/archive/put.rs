//! Unpacking an archive in a tree that is in use: a container's, running or not, or a directory of the host.

use std::cell::Cell;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};

use coble_layer::{Layers, Limits, Merge, Options};
use coble_protocol::{ArchiveDone, ArchiveWork, Failure, Fds, Owner, Place, Rootfs, Step, WRITERS_FILE};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{FlockOperation, Mode, OFlags};
use rustix::io::Errno;

use super::{done, failure, live, path, sandbox, take};
use crate::container::rootfs::{self, Overlay};
use crate::root::Root;

/// Whoever gives the archive has to have room for it; nothing but the tree's file system sets a bound.
const LIMITS: Limits = Limits { max_bytes: 1 << 62, max_entries: u64::MAX, max_ratio: u32::MAX };

pub(super) fn run(work: ArchiveWork, fds: &mut Fds) -> Result<ArchiveDone, Failure> {
    let ArchiveWork::Put { place, path, input, owner, lock } = work else {
        return Err(Failure::rule(Step::Internal, "archive job", "not one that puts something"));
    };
    let input = take(fds, input)?;
    let _lock = lock.map(|index| take(fds, index)).transpose()?;
    let host = matches!(place, Place::Host(_));
    let volume = matches!(place, Place::Volume(_) | Place::Clone { .. });
    let memory = sandbox::memory_limit();
    // Held until this process ends, and with it the mounts.
    let mut _writer = None;
    let mut init = None;
    match place {
        Place::Host(directory) | Place::Volume(directory) => {
            let directory = take(fds, directory)?;
            sandbox::enter_directory(&directory)?;
        }
        Place::Clone { base, lower, own, userxattr } => {
            let base = take(fds, base)?;
            sandbox::private_namespace()?;
            rootfs::mount_names(&base, &lower, Some(&own), userxattr)?;
            drop(base);
            sandbox::enter_mount(false)?;
        }
        Place::Stopped {
            rootfs: Rootfs::Overlay { layers, lower, directory, base, container, userxattr },
            readonly,
        } => {
            let overlay = Overlay {
                layers: take(fds, layers)?,
                lower,
                directory: directory.map(|index| take(fds, index)).transpose()?,
                base,
                container: take(fds, container)?,
                userxattr,
                volatile: false,
                devices: false,
            };
            _writer = Some(writing(&overlay.container)?);
            sandbox::private_namespace()?;
            rootfs::mount(&overlay, &rootfs::find(&overlay)?)?;
            drop(overlay);
            sandbox::enter_mount(readonly)?;
        }
        Place::Live { container, directory } => {
            let directory = take(fds, directory)?;
            _writer = Some(writing(&directory)?);
            init = Some(live::enter(container, true, fds)?);
        }
    }
    *fds = Fds::default();
    sandbox::confine_writer(memory)?;

    // From here on there is nothing but the tree.
    let root = Root::open().map_err(|errno| target(errno, &path))?;
    let directory = target_directory(&root, &path).map_err(|errno| target(errno, &path))?;
    let owner = match owner {
        Owner::Archive => None,
        Owner::User(user) => Some(crate::program::ids_of(&root, &user)?),
    };
    let merge = Merge { follow: !host, owner, host, root: volume };
    let options = Options {
        target: directory,
        lower: Layers::none(),
        ready: None,
        userxattr: false,
        merge: Some(merge),
    };
    let ended = Cell::new(false);
    let input = Input { archive: input, init, ended: &ended };
    coble_layer::apply(input, LIMITS, options).map(|(applied, summary)| done(applied, &summary)).map_err(
        |error| match ended.get() {
            true => Failure::rule(Step::Join, "container", "it ended while files were put into it"),
            false => failure(error),
        },
    )
}

/// A lock that says that this process has the container's overlay mounted, whatever becomes of the container and of the engine. It is this process's own, which nobody else has a copy of, and of a file, from
/// which no way leads anywhere. Of a running container it comes before the look whether that runs, so that whoever finds no lock when it has ended need not fear that one comes.
fn writing(directory: &OwnedFd) -> Result<OwnedFd, Failure> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let fail = |errno| sandbox::fail(errno, "lock of those who write into the container");
    let own = rustix::fs::openat(directory, WRITERS_FILE, flags, Mode::RUSR | Mode::WUSR).map_err(fail)?;
    rustix::io::retry_on_intr(|| rustix::fs::flock(&own, FlockOperation::LockShared)).map_err(fail)?;
    Ok(own)
}

/// The caller's file or pipe, which may be one that does not block, and a pipe that nobody has begun to write to. Nothing more comes when the container has ended: what is written from then on would be
/// in nobody's files, or in those of its next run.
struct Input<'a> {
    archive: OwnedFd,
    /// The first process of a running container.
    init: Option<OwnedFd>,
    ended: &'a Cell<bool>,
}

impl Read for Input<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        loop {
            let archive = PollFd::new(&self.archive, PollFlags::IN);
            let mut fds = match &self.init {
                Some(init) => vec![archive, PollFd::new(init, PollFlags::IN)],
                None => vec![archive],
            };
            match poll(&mut fds, None) {
                Ok(_) => {}
                Err(Errno::INTR) => continue,
                Err(errno) => return Err(errno.into()),
            }
            if fds.get(1).is_some_and(|init| !init.revents().is_empty()) {
                self.ended.set(true);
                return Err(Errno::SRCH.into());
            }
            match rustix::io::read(&self.archive, &mut *buffer) {
                Err(Errno::AGAIN | Errno::INTR) => {}
                result => return Ok(result?),
            }
        }
    }
}

fn target(errno: Errno, path: &[u8]) -> Failure {
    Failure::new(Step::ReadTree, errno.raw_os_error(), path)
}

fn target_directory(root: &Root, path: &[u8]) -> Result<OwnedFd, Errno> {
    let named = path::directory(root.as_fd(), path)?;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::openat(&named, ".", flags, Mode::empty())
}
