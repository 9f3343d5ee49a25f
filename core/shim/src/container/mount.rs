//! Mounts by descriptor: made detached, configured, and put in their place last.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use coble_protocol::{Failure, Step};
use rustix::fs::{AtFlags, CWD, FileType, StatxAttributes, StatxFlags};
use rustix::io::Result;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, OpenTreeFlags, fsconfig_create,
    fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen, move_mount, open_tree,
};

use crate::failure::During;
use crate::sys;

pub(crate) const NOSUID: MountAttrFlags = MountAttrFlags::MOUNT_ATTR_NOSUID;
pub(crate) const NODEV: MountAttrFlags = MountAttrFlags::MOUNT_ATTR_NODEV;
pub(crate) const NOEXEC: MountAttrFlags = MountAttrFlags::MOUNT_ATTR_NOEXEC;
pub(crate) const RDONLY: MountAttrFlags = MountAttrFlags::MOUNT_ATTR_RDONLY;

/// A new file system of the kernel, not attached anywhere yet. Options without a value are flags.
pub(crate) fn new(kind: &str, options: &[(&str, &str)], attributes: MountAttrFlags) -> Result<OwnedFd> {
    let context = fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC)?;
    for (key, value) in options {
        match *value {
            "" => fsconfig_set_flag(&context, *key)?,
            value => fsconfig_set_string(&context, *key, value)?,
        }
    }
    fsconfig_create(&context)?;
    fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes)
}

/// A copy of a mount, or of the part of one below a file, not attached anywhere yet. `path` may be empty: the descriptor itself.
pub(crate) fn copy(directory: BorrowedFd<'_>, path: &str, recursive: bool) -> Result<OwnedFd> {
    let mut flags =
        OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
    if recursive {
        flags |= OpenTreeFlags::AT_RECURSIVE;
    }
    open_tree(directory, path, flags)
}

/// Puts a detached mount over an open file or directory.
pub(crate) fn attach(mount: BorrowedFd<'_>, target: BorrowedFd<'_>) -> Result<()> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    move_mount(mount, "", target, "", flags)
}

/// Puts a detached mount over a name in a directory that only the shim has written to.
pub(crate) fn attach_at(mount: BorrowedFd<'_>, directory: BorrowedFd<'_>, name: &str) -> Result<()> {
    move_mount(mount, "", directory, name, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
}

/// Puts a detached mount over a directory of the old root, where it goes with that.
pub(crate) fn attach_to_old_root(mount: BorrowedFd<'_>, path: &str) -> Result<()> {
    move_mount(mount, "", CWD, path, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
}

/// Adds attributes to a mount.
pub(crate) fn restrict(mount: BorrowedFd<'_>, attributes: MountAttrFlags, recursive: bool) -> Result<()> {
    sys::mount_setattr(mount, attributes, recursive)
}

/// What tells one open file from another, and on which mount it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) mount: u64,
    pub(crate) device: (u32, u32),
    pub(crate) inode: u64,
    pub(crate) special: (u32, u32),
    pub(crate) kind: FileType,
    pub(crate) mount_root: bool,
}

impl Identity {
    /// Of an open file.
    pub(crate) fn of(fd: BorrowedFd<'_>) -> Result<Identity> {
        let mask = StatxFlags::TYPE | StatxFlags::INO | StatxFlags::MNT_ID;
        let stat = rustix::fs::statx(fd, "", AtFlags::EMPTY_PATH, mask)?;
        Ok(Identity {
            mount: stat.stx_mnt_id,
            device: (stat.stx_dev_major, stat.stx_dev_minor),
            inode: stat.stx_ino,
            special: (stat.stx_rdev_major, stat.stx_rdev_minor),
            kind: FileType::from_raw_mode(u32::from(stat.stx_mode)),
            mount_root: stat.stx_attributes.contains(StatxAttributes::MOUNT_ROOT),
        })
    }

    /// Whether both are the same file, on whatever mounts.
    pub(crate) fn same_file(&self, other: &Identity) -> bool {
        self.device == other.device && self.inode == other.inode
    }
}

/// A small empty read-only file system.
pub(crate) fn empty(step: Step, object: &str) -> std::result::Result<OwnedFd, Failure> {
    new("tmpfs", &[("mode", "0555"), ("size", "4k"), ("ro", "")], RDONLY | NOSUID | NODEV | NOEXEC)
        .during(step, object)
}

/// Borrows a descriptor.
pub(crate) fn fd(fd: &OwnedFd) -> BorrowedFd<'_> {
    fd.as_fd()
}
