//! What a caller has mounted into a container.

use serde::{Deserialize, Serialize};

use crate::FdIndex;

/// Something that the caller has mounted into a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// The place: an absolute path without `.` and `..`, resolved inside the container's root and made when missing.
    pub target: String,
    /// What is mounted.
    pub source: MountSource,
    /// Read-only.
    pub readonly: bool,
    /// So is what is mounted below it.
    pub readonly_below: bool,
    /// Set-id bits mean nothing.
    pub nosuid: bool,
    /// Device nodes mean nothing.
    pub nodev: bool,
    /// Nothing can be executed.
    pub noexec: bool,
    /// The place may be in a file system of the kernel's.
    pub over_kernel: bool,
}

impl Mount {
    /// Whether what is mounted below it is seen by the host.
    pub fn is_shared(&self) -> bool {
        let MountSource::Bind { propagation, .. } = &self.source else { return false };
        matches!(propagation, Propagation::Shared | Propagation::RShared)
    }
}

/// What is mounted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum MountSource {
    /// A file or directory of the host.
    Bind {
        /// It, opened by the engine as a path. The descriptors of all binds come in the order of the mounts.
        source: FdIndex,
        /// With what is mounted below it.
        recursive: bool,
        /// It is mounted with the ids of the container's user namespace: what the container's user 0 writes belongs to user 0 of the file system.
        mapped: bool,
        /// What mounts on one side mean for the other.
        propagation: Propagation,
        /// What of it is mounted: a path below it. Links in it are followed as long as they lead nowhere else.
        subpath: Option<String>,
        /// What is written goes to a file system in memory over it, and is gone with the container's run.
        overlay: bool,
        /// It and everything in it is given to the user and group of the container's program.
        chown: bool,
    },
    /// What the overlay file system shows of directories of the store.
    Overlay {
        /// The directory that the names are relative to, in the order of the mounts among the sources of binds.
        base: FdIndex,
        /// Lower directories, uppermost first, as in [`Rootfs::Overlay`](crate::Rootfs::Overlay).
        lower: Vec<String>,
        /// A directory that has `upper` and `work`, likewise. None: nothing can be written.
        own: Option<String>,
        /// Use `user.overlay.*` attributes (needed in a user namespace).
        userxattr: bool,
        /// As of a bind.
        subpath: Option<String>,
    },
    /// A file system in memory.
    Tmpfs {
        /// Its options, as the kernel has them.
        options: Vec<(String, String)>,
    },
    /// A file in memory of the container's own.
    Secret {
        /// A file that has what it consists of, in the order of the mounts among the sources of binds.
        content: FdIndex,
        /// Owner in the container.
        uid: u32,
        /// Group in the container.
        gid: u32,
        /// Permission bits.
        mode: u32,
    },
}

/// What mounts and unmounts on one side of a bind mean for the other. The forms with `R` concern what is mounted below it, too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub enum Propagation {
    RPrivate,
    Private,
    RSlave,
    Slave,
    RShared,
    Shared,
}
