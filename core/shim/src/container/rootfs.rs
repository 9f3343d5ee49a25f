//! The root mount: an overlay, mounted where nobody needs a directory for it, and then made the root.

use std::ffi::CString;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use coble_protocol::{Failure, Step};
use rustix::fs::{AtFlags, CWD, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{MountFlags, MountPropagationFlags, MoveMountFlags, UnmountFlags};

use crate::failure::{During, explained};

/// The kernel copies one page of options and ignores what is beyond.
const MAX_OPTIONS: usize = 4095;
const OVERLAY_MAGIC: i64 = 0x794c_7630;

/// The directories of an overlay mount.
pub(crate) struct Overlay {
    pub(crate) layers: OwnedFd,
    pub(crate) lower: Vec<String>,
    /// A directory of somebody else's, below them.
    pub(crate) directory: Option<OwnedFd>,
    /// The lowest of all, names as those of `lower`.
    pub(crate) base: Vec<String>,
    pub(crate) container: OwnedFd,
    pub(crate) userxattr: bool,
    pub(crate) volatile: bool,
    /// Device nodes in it mean something.
    pub(crate) devices: bool,
}

/// Makes all mounts private: nothing that happens here reaches the host, and the other way round.
pub(crate) fn make_private() -> Result<(), Failure> {
    rustix::mount::mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)
        .during(Step::Propagation, "/")
}

/// Its directories as this mount namespace has them.
pub(crate) struct Places {
    layers: OwnedFd,
    directory: Option<OwnedFd>,
    container: OwnedFd,
}

/// Finds the directories, which may be anywhere: before anything is prepared on a directory of the old root.
pub(crate) fn find(overlay: &Overlay) -> Result<Places, Failure> {
    Ok(Places {
        layers: reopen(&overlay.layers, "layers")?,
        directory: overlay.directory.as_ref().map(|fd| reopen(fd, "rootfs")).transpose()?,
        container: reopen(&overlay.container, "container")?,
    })
}

/// Mounts the overlay on top of `/` of this mount namespace. No path leads there, since the root of this process stays below, except `/..`.
pub(crate) fn mount(overlay: &Overlay, places: &Places) -> Result<(), Failure> {
    let step = Step::RootMount;
    check_names(&overlay.lower)?;
    check_names(&overlay.base)?;
    let Places { layers, directory, container } = places;
    // Upper and work are reached by descriptor; the layers relative to the working directory, to keep them short.
    let own = format!("/proc/self/fd/{}", container.as_raw_fd());
    let mut lower = overlay.lower.clone();
    lower.extend(directory.as_ref().map(by_number));
    lower.extend_from_slice(&overlay.base);
    let mut options = format!(
        "lowerdir={},upperdir={own}/upper,workdir={own}/work,index=off,metacopy=off,redirect_dir=nofollow",
        lower.join(":"),
    );
    if overlay.userxattr {
        options.push_str(",userxattr");
    }
    if overlay.volatile {
        options.push_str(",volatile");
    }
    rustix::process::fchdir(layers).during(step, "layers")?;
    let mounted =
        mount_on_root(options, if overlay.devices { MountFlags::empty() } else { MountFlags::NODEV });
    if directory.is_some() { mounted.map_err(unsuitable) } else { mounted }
}

/// Moves the root mount, which is the working directory, from on top of `/`, so that the paths of the host are those of the host until the root is changed, and what is mounted in the new root stays there. It goes over the
/// directory of its upper layer, which nobody in this mount namespace wants by its path. What things were prepared on at `/dev`, and have been copied from, so many file systems, goes.
pub(crate) fn set_aside(places: &Places, prepared: usize) -> Result<(), Failure> {
    let step = Step::RootMount;
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let upper = rustix::fs::openat(&places.container, "upper", flags, Mode::empty()).during(step, "upper")?;
    rustix::mount::move_mount(CWD, ".", &upper, "", MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH)
        .during(step, "upper")?;
    (0..prepared).try_for_each(|_| rustix::mount::unmount("/dev", UnmountFlags::DETACH).during(step, "/dev"))
}

/// An open directory as a name for a mount option.
pub(crate) fn by_number(directory: &OwnedFd) -> String {
    format!("/proc/self/fd/{}", directory.as_raw_fd())
}

/// What the kernel means when it refuses a directory that is no layer of ours.
pub(crate) fn unsuitable(failure: Failure) -> Failure {
    let detail = match Errno::from_raw_os_error(failure.errno) {
        Errno::INVAL => {
            "its file system cannot be below an overlay, or a user namespace may not see what is below the mounts in it"
        }
        Errno::LOOP => "it has directories of the store in it, or is in one",
        _ => return failure,
    };
    Failure { object: b"rootfs".to_vec(), detail: detail.into(), ..failure }
}

/// Mounts an overlay on top of `/`, with paths relative to the working directory, and makes it that.
pub(crate) fn mount_on_root(options: String, flags: MountFlags) -> Result<(), Failure> {
    let step = Step::RootMount;
    if options.len() > MAX_OPTIONS {
        return Err(Failure::rule(step, "overlay", "too many layers for one mount"));
    }
    let options = CString::new(options).map_err(|_| Failure::rule(step, "overlay", "has a NUL byte"))?;
    rustix::mount::mount("overlay", "/", "overlay", flags, options.as_c_str()).during(step, "overlay")?;
    enter()
}

/// A directory of the store that has nothing in it.
const EMPTY: &str = "volumes/.empty";

/// Mounts an overlay of directories below one directory on top of `/`, and makes it the working directory. Without one of its own nothing can be written to it.
pub(crate) fn mount_names(
    base: &OwnedFd,
    lower: &[String],
    own: Option<&str>,
    userxattr: bool,
) -> Result<(), Failure> {
    check_names(lower)?;
    let base = reopen(base, "data root")?;
    rustix::process::fchdir(&base).during(Step::RootMount, "data root")?;
    let options = "index=off,metacopy=off,redirect_dir=nofollow";
    let userxattr = if userxattr { ",userxattr" } else { "" };
    let mut flags = MountFlags::NODEV;
    let options = match own {
        Some(own) => {
            check_names(&[own.to_owned()])?;
            let lower = lower.join(":");
            format!("lowerdir={lower},upperdir={own}/upper,workdir={own}/work,{options}{userxattr}")
        }
        // An overlay without a layer that can be written to takes two, and there may be but one: below it is one that has nothing.
        None => {
            flags |= MountFlags::RDONLY;
            let lower = lower.iter().map(String::as_str).chain([EMPTY]).collect::<Vec<_>>().join(":");
            format!("lowerdir={lower},{options}{userxattr}")
        }
    };
    mount_on_root(options, flags)
}

/// Puts an overlay that was mounted elsewhere on top of `/`, and makes it the working directory.
pub(crate) fn attach(root: BorrowedFd<'_>) -> Result<(), Failure> {
    let step = Step::RootMount;
    rustix::mount::move_mount(root, "", CWD, "/", MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
        .during(step, "overlay")?;
    enter()
}

/// Enters what was mounted on top of `/`.
fn enter() -> Result<(), Failure> {
    let step = Step::RootMount;
    // `..` of the root is the root, with what is mounted on it.
    rustix::process::chdir("/..").during(step, "/..")?;
    let magic = rustix::fs::statfs(".").during(step, "overlay")?.f_type;
    if magic != OVERLAY_MAGIC {
        return Err(Failure::rule(step, "overlay", "is not where it was mounted"));
    }
    Ok(())
}

/// Refuses names that would be something else among the options.
pub(crate) fn check_names(lower: &[String]) -> Result<(), Failure> {
    let bad =
        |name: &&String| name.is_empty() || name.contains([':', ',', '\\', '\0']) || name.starts_with('/');
    match lower.iter().find(bad) {
        Some(name) => Err(Failure::rule(Step::RootMount, name, "not a name for a layer")),
        None => Ok(()),
    }
}

/// The same directory in this mount namespace: the kernel makes an overlay only of mounts of the caller's own, and the descriptors come from the
/// engine's. The path is but a way to find it; what is found has to be the directory that was given.
pub(crate) fn reopen(directory: &OwnedFd, name: &str) -> Result<OwnedFd, Failure> {
    let step = Step::RootMount;
    let link = format!("/proc/self/fd/{}", directory.as_raw_fd());
    let path = rustix::fs::readlink(&link, Vec::new()).during(step, name)?;
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let found = rustix::fs::openat(CWD, &path, flags, Mode::empty()).during(step, path.as_bytes())?;
    let (given, seen) = (rustix::fs::fstat(directory), rustix::fs::fstat(&found));
    let (given, seen) = (given.during(step, name)?, seen.during(step, name)?);
    if (given.st_dev, given.st_ino) != (seen.st_dev, seen.st_ino) {
        let detail = "another directory is at the path of the one that was given";
        return Err(Failure::rule(step, path.as_bytes(), detail));
    }
    Ok(found)
}

/// Makes the working directory, which is the mount made before, the root, and detaches the old one.
pub(crate) fn pivot() -> Result<(), Failure> {
    let step = Step::PivotRoot;
    let new = rustix::fs::stat(".").during(step, "new root")?;
    // The old root goes on top of the new one, and is then what "." means for umount.
    rustix::process::pivot_root(".", ".").map_err(|errno| match errno {
        Errno::INVAL => explained(step, errno, "/", "the root of the host is a chroot or an initial ramdisk"),
        errno => Failure::new(step, errno.raw_os_error(), "/"),
    })?;
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
