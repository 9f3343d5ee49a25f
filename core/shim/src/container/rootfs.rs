//! The root mount: an overlay, mounted where nobody needs a directory for it, and then made the root.

use std::ffi::CString;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use coble_protocol::{Failure, Step};
use rustix::fs::{AtFlags, CWD};
use rustix::mount::{MountFlags, MountPropagationFlags, UnmountFlags};

use crate::failure::During;

/// The kernel copies one page of options and ignores what is beyond.
const MAX_OPTIONS: usize = 4095;
const OVERLAY_MAGIC: i64 = 0x794c_7630;

/// The directories of an overlay mount.
pub(crate) struct Overlay {
    pub(crate) layers: OwnedFd,
    pub(crate) lower: Vec<String>,
    pub(crate) container: OwnedFd,
    pub(crate) userxattr: bool,
}

/// Makes all mounts private: nothing that happens here reaches the host, and the other way round.
pub(crate) fn make_private() -> Result<(), Failure> {
    rustix::mount::mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)
        .during(Step::Propagation, "/")
}

/// Mounts the overlay on top of `/` of this mount namespace. No path leads there, since the root of this process stays below, except `/..`.
pub(crate) fn mount(overlay: &Overlay) -> Result<(), Failure> {
    let step = Step::RootMount;
    let bad =
        |name: &&String| name.is_empty() || name.contains([':', ',', '\\', '\0']) || name.starts_with('/');
    if let Some(name) = overlay.lower.iter().find(bad) {
        return Err(Failure::rule(step, name, "not a name for a layer"));
    }
    // Upper and work are reached by descriptor; the layers relative to the working directory, to keep them short.
    let own = format!("/proc/self/fd/{}", overlay.container.as_raw_fd());
    let mut options = format!(
        "lowerdir={},upperdir={own}/upper,workdir={own}/work,index=off,metacopy=off,redirect_dir=nofollow",
        overlay.lower.join(":"),
    );
    if overlay.userxattr {
        options.push_str(",userxattr");
    }
    if options.len() > MAX_OPTIONS {
        return Err(Failure::rule(step, "overlay", "too many layers for one mount"));
    }
    let options = CString::new(options).map_err(|_| Failure::rule(step, "overlay", "has a NUL byte"))?;
    rustix::process::fchdir(&overlay.layers).during(step, "layers")?;
    rustix::mount::mount("overlay", "/", "overlay", MountFlags::NODEV, options.as_c_str())
        .during(step, "overlay")?;
    // `..` of the root is the root, with what is mounted on it.
    rustix::process::chdir("/..").during(step, "/..")?;
    let magic = rustix::fs::statfs(".").during(step, "overlay")?.f_type;
    if magic != OVERLAY_MAGIC {
        return Err(Failure::rule(step, "overlay", "is not where it was mounted"));
    }
    Ok(())
}

/// Makes the working directory, which is the mount made before, the root, and detaches the old one.
pub(crate) fn pivot() -> Result<(), Failure> {
    let step = Step::PivotRoot;
    let new = rustix::fs::stat(".").during(step, "new root")?;
    // The old root goes on top of the new one, and is then what "." means for umount.
    rustix::process::pivot_root(".", ".").during(step, "/")?;
    rustix::mount::unmount(".", UnmountFlags::DETACH).during(step, "old root")?;
    rustix::process::chdir("/").during(step, "/")?;
    for path in ["/", "/.."] {
        let now = rustix::fs::statat(CWD, path, AtFlags::SYMLINK_NOFOLLOW).during(step, path)?;
        if (now.st_dev, now.st_ino) != (new.st_dev, new.st_ino) {
            return Err(Failure::rule(step, path, "is not the container's root"));
        }
    }
    Ok(())
}

/// Makes the root mount read-only.
pub(crate) fn make_readonly(root: BorrowedFd<'_>) -> Result<(), Failure> {
    super::mount::restrict(root, super::mount::RDONLY, false).during(Step::ReadOnly, "/")
}
