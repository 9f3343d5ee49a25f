//! The layers below, for a worker that looks into them one by one: clones of their mounts, read-only and inert, side by side in a directory in memory that leads
//! nowhere else. However many there are, it is one descriptor.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use coble_layer::Layers;
use coble_protocol::{Below, Failure, Fds};
use rustix::fs::{Mode, OFlags, ResolveFlags};

use super::sandbox::{INERT, READ_ONLY, fail, set_mount};
use super::take;
use crate::container::mount::{self, NODEV, NOEXEC, NOSUID};
use crate::container::rootfs::{check_names, reopen};

/// The layers as they were given.
pub(super) struct Given {
    layers: OwnedFd,
    names: Vec<String>,
    directory: Option<OwnedFd>,
    base: Option<String>,
}

impl Given {
    pub(super) fn take(below: Below, fds: &mut Fds) -> Result<Given, Failure> {
        let Below { layers, lower, directory, base } = below;
        Ok(Given {
            layers: take(fds, layers)?,
            names: lower,
            directory: directory.map(|index| take(fds, index)).transpose()?,
            base,
        })
    }

    /// Makes the shelf, in a mount namespace of the process's own.
    pub(super) fn shelve(self) -> Result<Layers, Failure> {
        let Given { layers, names, directory, base } = self;
        check_names(&names)?;
        check_names(base.as_slice())?;
        let count = names.len() + usize::from(directory.is_some()) + usize::from(base.is_some());
        if count == 0 {
            return Ok(Layers::none());
        }
        // A descriptor comes from the namespace that was left, where nothing can be cloned by us.
        let layers = reopen(&layers, "layers")?;
        let directory = directory.map(|fd| reopen(&fd, "directory")).transpose()?;
        let shelf = mount::new("tmpfs", &[("mode", "0700"), ("size", "1m")], NOSUID | NODEV | NOEXEC)
            .map_err(shelf)?;
        // Only what is attached somewhere takes mounts. It goes with everything else that the process leaves.
        mount::attach(shelf.as_fd(), layers.as_fd()).map_err(self::shelf)?;
        let mut place = Places { shelf: &shelf, count: 0 };
        for name in &names {
            place.put(open(layers.as_fd(), name)?.as_fd())?;
        }
        if let Some(directory) = &directory {
            place.put(directory.as_fd())?;
        }
        if let Some(base) = &base {
            place.put(open(layers.as_fd(), base)?.as_fd())?;
        }
        let count = place.count;
        let clone = mount::copy(shelf.as_fd(), "", true).map_err(self::shelf)?;
        set_mount(&clone, INERT | READ_ONLY)?;
        Ok(Layers::new(clone, (0..count).map(|number| number.to_string()).collect()))
    }
}

fn shelf(errno: rustix::io::Errno) -> Failure {
    fail(errno, "directory for the lower layers")
}

fn open(layers: BorrowedFd<'_>, name: &str) -> Result<OwnedFd, Failure> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let resolve = ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    rustix::fs::openat2(layers, name, flags, Mode::empty(), resolve)
        .map_err(|errno| fail(errno, "lower layer"))
}

struct Places<'a> {
    shelf: &'a OwnedFd,
    count: usize,
}

impl Places<'_> {
    /// Puts a directory beside the others.
    fn put(&mut self, directory: BorrowedFd<'_>) -> Result<(), Failure> {
        let name = self.count.to_string();
        let clone =
            mount::copy(directory, "", false).map_err(|errno| fail(errno, "mount of a lower layer"))?;
        rustix::fs::mkdirat(self.shelf, &name, Mode::RWXU).map_err(shelf)?;
        mount::attach_at(clone.as_fd(), self.shelf.as_fd(), &name).map_err(shelf)?;
        self.count += 1;
        Ok(())
    }
}
