//! The sandbox of the archive role. After it, the process
//!
//! - sees nothing but its directory, and read-only clones of the lower layers, from which there is no way but from one to another; no descriptor leads elsewhere;
//! - has the capabilities that giving owners, modes and nodes takes, and not one more;
//! - makes only the system calls of [`seccomp`](super::seccomp);
//! - has bounded memory, and leaves no core file.

use std::os::fd::{AsRawFd, OwnedFd};

use coble_layer::Layers;
use coble_protocol::{Failure, Step};
use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{MountPropagationFlags, MoveMountFlags, OpenTreeFlags};
use rustix::process::{Resource, Rlimit};
use rustix::thread::{CapabilitySet, UnshareFlags};

use super::seccomp;
use super::shelf::Given;

/// Memory beyond what the process has when it starts: the largest window of zstd or dictionary of xz (128 MiB each,
/// of which one is used), and room for everything else.
const MEMORY: u64 = 192 << 20;

/// `struct mount_attr` of `mount_setattr(2)`.
#[repr(C)]
struct MountAttr {
    attr_set: u64,
    attr_clr: u64,
    propagation: u64,
    userns_fd: u64,
}

pub(super) const READ_ONLY: u64 = 0x1;
/// No set-id programs, no devices, no programs at all. Nodes can be made there nevertheless, only not opened.
pub(super) const INERT: u64 = 0x2 | 0x4 | 0x8;

pub(super) fn fail(errno: Errno, object: &str) -> Failure {
    Failure::new(Step::Sandbox, errno.raw_os_error(), object)
}

/// Confines the process to the target. Returns it, opened anew in there, and the layers below.
pub(super) fn enter_apply(
    target: OwnedFd,
    below: Given,
    userxattr: bool,
) -> Result<(OwnedFd, Layers), Failure> {
    let mut capabilities = WRITER;
    if !userxattr {
        // Reading and writing `trusted.overlay.opaque` takes it. What else it would allow (mounts, namespaces, ioctls, bpf) is beyond the
        // filter of system calls.
        capabilities |= CapabilitySet::SYS_ADMIN;
    }
    let memory = memory_limit();
    // The descriptors come from the mount namespace that is being left, where nothing can be mounted by us. The working directory
    // moves along into the new one.
    rustix::process::fchdir(&target).map_err(|errno| fail(errno, "fchdir"))?;
    private_namespace()?;
    let lower = below.shelve()?;
    drop(target);
    pivot(INERT)?;
    let target = open_root()?;
    confine(capabilities, memory)?;
    Ok((target, lower))
}

/// Makes a directory the root of the process, in a mount namespace of its own.
pub(super) fn enter_directory(directory: &OwnedFd) -> Result<(), Failure> {
    // As in `enter_apply`.
    rustix::process::fchdir(directory).map_err(|errno| fail(errno, "fchdir"))?;
    private_namespace()?;
    pivot(INERT)
}

/// Makes the working directory, a mount on top of `/` that was made for it, the root of the process.
pub(super) fn enter_mount(readonly: bool) -> Result<(), Failure> {
    pivot_mount(if readonly { INERT | READ_ONLY } else { INERT })
}

/// Confines a process to its root, in which it makes files as an archive says.
pub(super) fn confine_writer(memory: u64) -> Result<(), Failure> {
    rustix::process::chdir("/").map_err(|errno| fail(errno, "chdir"))?;
    confine(WRITER, memory)
}

/// What giving owners, modes and nodes takes.
const WRITER: CapabilitySet = CapabilitySet::CHOWN
    .union(CapabilitySet::DAC_OVERRIDE)
    .union(CapabilitySet::FOWNER)
    .union(CapabilitySet::FSETID)
    .union(CapabilitySet::MKNOD)
    .union(CapabilitySet::SETFCAP);

/// A mount namespace from which nothing reaches the host.
pub(super) fn private_namespace() -> Result<(), Failure> {
    // SAFETY: only the mount namespace and the file system context are unshared; descriptors stay valid.
    unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNS) }.map_err(|errno| fail(errno, "unshare"))?;
    let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    rustix::mount::mount_change("/", private).map_err(|errno| fail(errno, "mount propagation"))
}

/// Confines the process to a tree that it only reads, its working directory in a mount namespace of its own. Returns the tree, opened anew.
/// `mounted`: it is the root of a mount on top of `/` that was made for it. `overlay`: the overlay's own attributes are read.
pub(super) fn enter_read(mounted: bool, overlay: bool) -> Result<OwnedFd, Failure> {
    let memory = memory_limit();
    if mounted {
        pivot_mount(INERT | READ_ONLY)?;
    } else {
        pivot(INERT | READ_ONLY)?;
    }
    let root = open_root()?;
    let mut capabilities = CapabilitySet::DAC_READ_SEARCH;
    if overlay {
        // Takes it to read `trusted.overlay.opaque`.
        capabilities |= CapabilitySet::SYS_ADMIN;
    }
    confine(capabilities, memory)?;
    Ok(root)
}

/// As [`enter_read`], for a process whose root the tree is already.
pub(super) fn enter_live(memory: u64) -> Result<OwnedFd, Failure> {
    let root = open_root()?;
    confine(CapabilitySet::DAC_READ_SEARCH, memory)?;
    Ok(root)
}

/// Confines the process to the directory in which something is removed.
///
/// Nothing is parsed, and the walk goes by descriptors, so this one takes the cheaper way: it stands on the way of every removal of a container.
pub(super) fn enter_remove(parent: OwnedFd) -> Result<OwnedFd, Failure> {
    let memory = memory_limit();
    rustix::process::fchdir(&parent).map_err(|errno| fail(errno, "fchdir"))?;
    drop(parent);
    rustix::process::chroot(".").map_err(|errno| fail(errno, "chroot"))?;
    let parent = open_root()?;
    confine(CapabilitySet::DAC_OVERRIDE | CapabilitySet::FOWNER, memory)?;
    Ok(parent)
}

fn open_root() -> Result<OwnedFd, Failure> {
    rustix::process::chdir("/").map_err(|errno| fail(errno, "chdir"))?;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::openat(CWD, "/", flags, Mode::empty()).map_err(|errno| fail(errno, "open of the new root"))
}

/// Makes the working directory the root, and lets go of everything else.
fn pivot(attributes: u64) -> Result<(), Failure> {
    let flags =
        OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_RECURSIVE;
    let clone =
        rustix::mount::open_tree(CWD, ".", flags).map_err(|errno| fail(errno, "mount of the target"))?;
    set_mount(&clone, attributes)?;
    rustix::mount::move_mount(&clone, "", CWD, ".", MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
        .map_err(|errno| fail(errno, "mount of the target"))?;
    rustix::process::fchdir(&clone).map_err(|errno| fail(errno, "fchdir"))?;
    crate::container::rootfs::pivot()
}

/// As [`pivot`], for a working directory that is a mount of its own already. A second one on top of it would do harm: the old root comes between
/// the two, and only the first would be let go of.
fn pivot_mount(attributes: u64) -> Result<(), Failure> {
    let flags = OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let mount =
        rustix::mount::open_tree(CWD, ".", flags).map_err(|errno| fail(errno, "mount of the target"))?;
    set_mount(&mount, attributes)?;
    crate::container::rootfs::pivot()
}

pub(super) fn set_mount(mount: &OwnedFd, flags: u64) -> Result<(), Failure> {
    let attr = MountAttr { attr_set: flags, attr_clr: 0, propagation: 0, userns_fd: 0 };
    // SAFETY: an empty path with AT_EMPTY_PATH names the descriptor itself; `attr` is the structure whose size is given.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH | libc::AT_RECURSIVE,
            &raw const attr,
            size_of::<MountAttr>(),
        )
    };
    if result != 0 {
        let errno = std::io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO);
        return Err(Failure::new(Step::Sandbox, errno, "mount attributes"));
    }
    Ok(())
}

/// The bound on the address space: what is in use now and what the work may take.
pub(super) fn memory_limit() -> u64 {
    let mut text = [0; 64];
    let used = rustix::fs::openat(CWD, "/proc/self/statm", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
        .and_then(|fd| rustix::io::read(fd, &mut text[..]))
        .ok()
        .and_then(|length| text.get(..length))
        .and_then(|text| std::str::from_utf8(text).ok())
        .and_then(|text| text.split_ascii_whitespace().next())
        .and_then(|pages| pages.parse::<u64>().ok());
    // SAFETY: asks for a constant.
    let page = u64::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).unwrap_or(4096);
    // Without procfs, more than any build of this program is large.
    used.map_or(64 << 20, |pages| pages.saturating_mul(page)).saturating_add(MEMORY)
}

/// Limits, capabilities and the filter: what can be given up anywhere.
fn confine(capabilities: CapabilitySet, memory: u64) -> Result<(), Failure> {
    rustix::process::umask(Mode::empty());
    limit(Resource::Core, 0)?;
    limit(Resource::As, memory)?;
    // Deep directories and many lower layers take descriptors.
    let files = rustix::process::getrlimit(Resource::Nofile);
    rustix::process::setrlimit(Resource::Nofile, Rlimit { current: files.maximum, maximum: files.maximum })
        .map_err(|errno| fail(errno, "descriptor limit"))?;
    // What the process does not have it can do without: the device nodes of a layer, for example, are left out then.
    let mut sets = rustix::thread::capabilities(None).map_err(|errno| fail(errno, "capabilities"))?;
    sets.permitted &= capabilities;
    sets.effective = sets.permitted;
    sets.inheritable = CapabilitySet::empty();
    rustix::thread::set_capabilities(None, sets).map_err(|errno| fail(errno, "capabilities"))?;
    rustix::thread::set_no_new_privs(true).map_err(|errno| fail(errno, "no_new_privs"))?;
    seccomp::install()
}

/// Lowers a limit, never raises it.
fn limit(resource: Resource, most: u64) -> Result<(), Failure> {
    let old = rustix::process::getrlimit(resource);
    let maximum = Some(old.maximum.map_or(most, |old| old.min(most)));
    rustix::process::setrlimit(resource, Rlimit { current: maximum, maximum })
        .map_err(|errno| fail(errno, "resource limit"))
}
