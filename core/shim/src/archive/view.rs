//! What the overlay file system shows of layers, mounted read-only: with nothing that could be written to, a container's upper directory is the uppermost
//! of the lower ones, whether the container runs or not.

use std::os::fd::OwnedFd;

use coble_protocol::{Failure, FdIndex, Fds, Step, Tree};
use rustix::fs::CWD;
use rustix::mount::{MountFlags, OpenTreeFlags, UnmountFlags};

use super::sandbox::{self, INERT, READ_ONLY, fail};
use super::take;
use crate::container::rootfs::{by_number, check_names, mount_on_root, reopen, unsuitable};
use crate::failure::During;

/// Makes a tree the working directory, in this mount namespace. Returns whether that is the root of a mount made for it, on top of `/`.
pub(super) fn enter(tree: Tree, fds: &mut Fds) -> Result<bool, Failure> {
    match tree {
        Tree::Directory(index) => {
            let directory = take(fds, index)?;
            let directory = reopen(&directory, "directory")?;
            rustix::process::fchdir(&directory).map_err(|errno| fail(errno, "fchdir"))?;
            Ok(false)
        }
        Tree::Merged { layers, lower, directory, container, userxattr } => {
            let layers = take(fds, layers)?;
            let mut one = |index: Option<FdIndex>| index.map(|index| take(fds, index)).transpose();
            let (directory, container) = (one(directory)?, one(container)?);
            mount(&layers, &lower, directory.as_ref(), container.as_ref(), userxattr)
        }
        Tree::Live(_) => Err(Failure::rule(Step::Internal, "tree", "not one for this job")),
    }
}

/// Mounts the view on top of `/` and makes it the working directory, as it is done for a container's root.
fn mount(
    layers: &OwnedFd,
    lower: &[String],
    directory: Option<&OwnedFd>,
    container: Option<&OwnedFd>,
    userxattr: bool,
) -> Result<bool, Failure> {
    let step = Step::RootMount;
    check_names(lower)?;
    let layers = reopen(layers, "layers")?;
    let directory = directory.map(|fd| reopen(fd, "rootfs")).transpose()?;
    let container = container.map(|fd| reopen(fd, "container")).transpose()?;
    let mut names: Vec<String> = Vec::with_capacity(lower.len() + 3);
    names.extend(container.as_ref().map(|fd| format!("{}/upper", by_number(fd))));
    names.extend_from_slice(lower);
    names.extend(directory.as_ref().map(by_number));
    rustix::process::fchdir(&layers).during(step, "layers")?;
    match names.as_slice() {
        [] => return Err(Failure::rule(step, "overlay", "there is no layer to show")),
        // An overlay takes two.
        [one] => {
            rustix::process::chdir(one.as_str()).during(step, one.as_bytes())?;
            return Ok(false);
        }
        _ => {}
    }
    let mut options = format!("lowerdir={},index=off,metacopy=off,redirect_dir=nofollow", names.join(":"));
    if userxattr {
        options.push_str(",userxattr");
    }
    let flags = MountFlags::NODEV | MountFlags::NOSUID | MountFlags::RDONLY;
    let mounted = mount_on_root(options, flags);
    if directory.is_some() {
        mounted.map_err(unsuitable)?
    } else {
        mounted?
    }
    Ok(true)
}

/// A tree as a mount that is nowhere, read-only and inert. It goes with the last descriptor of it.
pub(super) fn detached(tree: Tree, fds: &mut Fds) -> Result<OwnedFd, Failure> {
    sandbox::private_namespace()?;
    let mount = clone(tree, fds)?;
    *fds = Fds::default();
    Ok(mount)
}

/// As [`detached`], in the private namespace that there is.
pub(super) fn clone(tree: Tree, fds: &mut Fds) -> Result<OwnedFd, Failure> {
    let mounted = enter(tree, fds)?;
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let clone = rustix::mount::open_tree(CWD, ".", flags).during(Step::RootMount, "mount")?;
    sandbox::set_mount(&clone, INERT | READ_ONLY)?;
    if mounted {
        // Otherwise the next one would be mounted on top of it, and have it as a part of its own place.
        rustix::mount::unmount(".", UnmountFlags::DETACH).during(Step::RootMount, "overlay")?;
    }
    rustix::process::chdir("/").map_err(|errno| fail(errno, "chdir"))?;
    Ok(clone)
}
