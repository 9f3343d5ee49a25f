//! `/proc`, `/sys` and `/dev`: made before the root changes, where the kernel checks what the host can see, and attached after it.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use coble_protocol::{CgroupView, Device, Failure, Step};
use rustix::fs::{AtFlags, CWD, FileType, Gid, Mode, OFlags, Uid};
use rustix::io::Errno;

use super::mount::{self, NODEV, NOEXEC, NOSUID, RDONLY, fd};
use crate::failure::{During, explained};
use crate::ids::IdMaps;
use crate::program::terminal;
use crate::root::Root;

/// Where cgroups are seen.
const CGROUPS: &str = "/sys/fs/cgroup";
/// The group that owns terminals, in every distribution.
const TTY_GROUP: u32 = 5;

/// A `/dev` that is ready and not attached.
pub(crate) struct Dev {
    dev: OwnedFd,
    /// What goes below it: names and mounts.
    below: Vec<(String, OwnedFd)>,
    /// Whether there is anything of the host's below it.
    borrowed: bool,
}

/// File systems that are ready and not attached.
pub(crate) struct Detached {
    sys: OwnedFd,
    dev: Dev,
    /// The host's view of cgroups, if that is the container's.
    host_cgroups: Option<OwnedFd>,
}

/// A procfs of this pid namespace that nobody else knows. Of the host's processes, where the kernel makes none for a user namespace, a copy of the host's.
pub(crate) fn proc(of_host: bool) -> Result<OwnedFd, Failure> {
    let attributes = NOSUID | NODEV | NOEXEC;
    let made = match mount::new("proc", &[], attributes) {
        Err(Errno::PERM) if of_host => mount::copy(CWD, "/proc", true)
            .and_then(|copy| mount::restrict(fd(&copy), attributes, true).map(|()| copy)),
        made => made,
    };
    made.map_err(|errno| match errno {
        Errno::PERM => explained(
            Step::Mount,
            errno,
            "/proc",
            "the kernel allows it only where the host's own /proc is completely visible",
        ),
        errno => Failure::new(Step::Mount, errno.raw_os_error(), "/proc"),
    })
}

/// Sets parameters of the kernel that belong to the container's namespaces, and reads them back: the name of each, what was asked for, and what it is, if it can be read.
pub(crate) fn set_parameters(
    proc: BorrowedFd<'_>,
    parameters: &[(String, String)],
) -> Result<Vec<(String, String, Option<String>)>, Failure> {
    let mut found = Vec::with_capacity(parameters.len());
    for (path, value) in parameters {
        let odd = |part: &str| part.is_empty() || part == "." || part == "..";
        if path.split('/').any(odd) {
            return Err(Failure::rule(Step::Sysctl, path, "not the name of a parameter"));
        }
        let flags = OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::openat(proc, format!("sys/{path}"), flags, Mode::empty());
        let written = file.and_then(|file| rustix::io::write(&file, value.as_bytes()));
        let name = path.replace('/', ".");
        if written.during(Step::Sysctl, &name)? != value.len() {
            return Err(Failure::rule(Step::Sysctl, name, "the kernel did not take all of it"));
        }
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut text = [0; 4096];
        let length = rustix::fs::openat(proc, format!("sys/{path}"), flags, Mode::empty())
            .and_then(|file| rustix::io::read(&file, &mut text));
        let is = length.ok().map(|length| {
            let text = String::from_utf8_lossy(text.get(..length).unwrap_or_default());
            text.split_ascii_whitespace().collect::<Vec<_>>().join(" ")
        });
        found.push((name, value.clone(), is));
    }
    Ok(found)
}

/// Makes `/dev`, except for what belongs to the container's namespaces.
pub(crate) fn dev(devices: &[Device], shm_size: u64, rootless: bool, maps: &IdMaps) -> Result<Dev, Failure> {
    let dev = mount::new("tmpfs", &[("mode", "0755"), ("size", "65536k")], NOSUID | NOEXEC)
        .during(Step::Mount, "/dev")?;
    let mut below = Vec::new();
    for device in devices {
        if let Some(mount) = make_device(fd(&dev), device, rootless)? {
            below.push((device.name.clone(), mount));
        }
    }
    let borrowed = !below.is_empty();
    for (name, target) in [
        ("fd", "/proc/self/fd"),
        ("stdin", "/proc/self/fd/0"),
        ("stdout", "/proc/self/fd/1"),
        ("stderr", "/proc/self/fd/2"),
        ("ptmx", "pts/ptmx"),
        ("core", "/proc/kcore"),
    ] {
        rustix::fs::symlinkat(target, &dev, name).during(Step::Link, format!("/dev/{name}"))?;
    }
    // To tmpfs, 0 would mean without bound.
    let (gid, size) = (TTY_GROUP.to_string(), shm_size.max(4096).to_string());
    let mut pts = vec![("newinstance", ""), ("ptmxmode", "0666"), ("mode", "0620")];
    if maps.gids.contains(TTY_GROUP) {
        pts.push(("gid", &gid));
    }
    for (name, kind, options, attributes) in [
        ("pts", "devpts", &pts[..], NOSUID | NOEXEC),
        ("shm", "tmpfs", &[("mode", "1777"), ("size", &size)][..], NOSUID | NODEV | NOEXEC),
    ] {
        let mount = mount::new(kind, options, attributes).during(Step::Mount, format!("/dev/{name}"))?;
        below.push((place_below(&dev, name)?, mount));
    }
    Ok(Dev { dev, below, borrowed })
}

/// Makes a mount point in `/dev`.
fn place_below(dev: &OwnedFd, name: &str) -> Result<String, Failure> {
    rustix::fs::mkdirat(dev, name, Mode::from_raw_mode(0o755)).during(Step::Mount, format!("/dev/{name}"))?;
    Ok(name.to_string())
}

/// Makes `/sys`, as the current network namespace has it.
pub(crate) fn sysfs(
    rootless: bool,
    own_network: bool,
    writable: bool,
    warnings: &mut Vec<Failure>,
) -> Result<OwnedFd, Failure> {
    let rest = NOSUID | NODEV | NOEXEC;
    let attributes = RDONLY | rest;
    let errno = match mount::new("sysfs", &[], if writable { rest } else { attributes }) {
        Ok(sys) => return Ok(sys),
        // It shows the network, so it belongs to whom the network belongs to.
        Err(errno @ Errno::PERM) => errno,
        Err(errno) => return Err(errno).during(Step::Mount, "/sys"),
    };
    if own_network || !rootless {
        let detail = "the host's own /sys is not completely visible; the container sees it read-only";
        warnings.push(explained(Step::Mount, errno, "/sys", detail));
    }
    let host = mount::copy(CWD, "/sys", true)
        .and_then(|host| mount::restrict(fd(&host), attributes, true).map(|()| host));
    match host {
        Ok(host) => Ok(host),
        Err(errno) => {
            warnings.push(explained(Step::Mount, errno, "/sys", "the container's is empty"));
            mount::empty(Step::Mount, "/sys")
        }
    }
}

/// A copy of the host's view of cgroups of version 2. A mount of its own would put its options in force for the host, whose cgroup namespace the container is in.
pub(crate) fn host_cgroups(writable: bool, warnings: &mut Vec<Failure>) -> Result<OwnedFd, Failure> {
    /// The kernel's number of cgroups of version 2.
    const CGROUPS_TYPE: i64 = 0x6367_7270;
    let rest = NOSUID | NODEV | NOEXEC;
    let host = mount::copy(CWD, CGROUPS, true).and_then(|host| {
        if rustix::fs::fstatfs(&host)?.f_type as i64 != CGROUPS_TYPE {
            return Err(Errno::NODEV);
        }
        mount::restrict(fd(&host), if writable { rest } else { RDONLY | rest }, true).map(|()| host)
    });
    host.or_else(|errno| {
        warnings.push(explained(Step::Mount, errno, CGROUPS, "the container's is empty"));
        mount::empty(Step::Mount, CGROUPS)
    })
}

/// Makes a device node. Where that is not allowed, a place for the host's, and a detached mount of that one.
fn make_device(dev: BorrowedFd<'_>, device: &Device, rootless: bool) -> Result<Option<OwnedFd>, Failure> {
    let name = &device.name[..];
    let step = Step::Device;
    let odd = |part: &str| part.is_empty() || part == "." || part == "..";
    if name.split('/').any(odd) || name.contains('\0') {
        return Err(Failure::rule(step, name, "not a name for a device"));
    }
    for (end, _) in name.match_indices('/') {
        match rustix::fs::mkdirat(dev, &name[..end], Mode::from_raw_mode(0o755)) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(errno).during(step, name),
        }
    }
    let kind = if device.block { FileType::BlockDevice } else { FileType::CharacterDevice };
    if !rootless {
        let mode = Mode::from_raw_mode(device.mode & 0o7777);
        let number = rustix::fs::makedev(device.major, device.minor);
        match rustix::fs::mknodat(dev, name, kind, mode, number) {
            Ok(()) if (device.uid, device.gid) == (0, 0) => return Ok(None),
            Ok(()) => {
                let owner = (Uid::from_raw(device.uid), Gid::from_raw(device.gid));
                let flags = AtFlags::SYMLINK_NOFOLLOW;
                rustix::fs::chownat(dev, name, Some(owner.0), Some(owner.1), flags).during(step, name)?;
                return Ok(None);
            }
            // Inside a container without CAP_MKNOD.
            Err(Errno::PERM) => {}
            Err(errno) => return Err(errno).during(step, name),
        }
    }
    let host = mount::copy(CWD, &format!("/dev/{name}"), false).during(step, name)?;
    let found = mount::Identity::of(fd(&host)).during(step, name)?;
    if found.kind != kind || found.special != (device.major, device.minor) {
        return Err(Failure::rule(step, name, "the host has something else of this name"));
    }
    mount::restrict(fd(&host), NOSUID | NOEXEC, false).during(step, name)?;
    rustix::fs::mknodat(dev, name, FileType::RegularFile, Mode::from_raw_mode(0o644), 0)
        .during(step, name)?;
    Ok(Some(host))
}

/// A directory of the image's root that becomes a mount point; made if missing. One that is a link or a file is refused.
fn mount_point(root: &Root, path: &str) -> Result<OwnedFd, Failure> {
    let flags = OFlags::PATH | OFlags::DIRECTORY;
    let opened = match root.strict(path.as_bytes(), flags) {
        Err(Errno::NOENT) => {
            rustix::fs::mkdirat(root, &path[1..], Mode::from_raw_mode(0o755)).during(Step::Mount, path)?;
            root.strict(path.as_bytes(), flags)
        }
        opened => opened,
    };
    opened.map_err(|errno| {
        let detail = match errno {
            Errno::LOOP | Errno::NOTDIR => "the image has a link or a file in its place",
            _ => "",
        };
        explained(Step::Mount, errno, path, detail)
    })
}

/// Attaches everything to the new root.
pub(crate) fn attach(root: &Root, proc: BorrowedFd<'_>, detached: &Detached) -> Result<(), Failure> {
    for (path, mount) in [("/proc", proc), ("/sys", fd(&detached.sys)), ("/dev", fd(&detached.dev.dev))] {
        let target = mount_point(root, path)?;
        mount::attach(mount, fd(&target)).during(Step::Mount, path)?;
    }
    for (name, mount) in &detached.dev.below {
        mount::attach_at(fd(mount), fd(&detached.dev.dev), name)
            .during(Step::Mount, format!("/dev/{name}"))?;
    }
    Ok(())
}

impl Dev {
    /// Whether there is a part of the host's in it. Such a part has to be taken where its mounts are private already.
    pub(crate) fn is_borrowed(&self) -> bool {
        self.borrowed
    }

    /// Has this at `/dev/shm` instead of a file system of the container's own, or nothing.
    pub(crate) fn replace_shm(&mut self, other: Option<OwnedFd>) -> Result<(), Failure> {
        self.below.retain(|(name, _)| name != "shm");
        match other {
            Some(mount) => self.below.push(("shm".to_owned(), mount)),
            None => {
                rustix::fs::unlinkat(&self.dev, "shm", AtFlags::REMOVEDIR).during(Step::Mount, "/dev/shm")?
            }
        }
        Ok(())
    }

    /// Adds the message queues of this ipc namespace.
    pub(crate) fn add_queues(&mut self, own: bool, warnings: &mut Vec<Failure>) -> Result<(), Failure> {
        match mount::new("mqueue", &[], NOSUID | NODEV | NOEXEC) {
            // Those of the host, from a user namespace.
            Err(errno @ Errno::PERM) if !own => {
                let attributes = NOSUID | NODEV | NOEXEC;
                let host = mount::copy(CWD, "/dev/mqueue", false)
                    .and_then(|host| mount::restrict(fd(&host), attributes, false).map(|()| host));
                match host {
                    Ok(host) => self.below.push((place_below(&self.dev, "mqueue")?, host)),
                    Err(_) => warnings.push(explained(
                        Step::Mount,
                        errno,
                        "/dev/mqueue",
                        "the container has no message queues by name",
                    )),
                }
            }
            Ok(mount) => self.below.push((place_below(&self.dev, "mqueue")?, mount)),
            // A kernel without POSIX message queues.
            Err(errno @ Errno::NODEV) => {
                warnings.push(Failure::new(Step::Mount, errno.raw_os_error(), "/dev/mqueue"));
            }
            Err(errno) => return Err(errno).during(Step::Mount, "/dev/mqueue"),
        }
        Ok(())
    }

    /// Together with a `/sys`, and perhaps with the host's view of cgroups.
    pub(crate) fn with_sys(self, sys: OwnedFd, host_cgroups: Option<OwnedFd>) -> Detached {
        Detached { sys, dev: self, host_cgroups }
    }
}

impl Detached {
    /// The container's `/dev`.
    pub(crate) fn dev(&self) -> BorrowedFd<'_> {
        self.dev.dev.as_fd()
    }

    /// Opens the container's `/dev/null`.
    pub(crate) fn null(&self) -> Result<OwnedFd, Failure> {
        let flags = OFlags::RDWR | OFlags::CLOEXEC | OFlags::NOCTTY | OFlags::NOFOLLOW;
        let file = rustix::fs::openat(&self.dev.dev, "null", flags, Mode::empty());
        file.during(Step::Stdio, "/dev/null")
    }

    /// Makes a slave of the container's devpts, which is attached, its console.
    pub(crate) fn console(&self, number: &str) -> Result<(), Failure> {
        let (step, path) = (Step::Terminal, "/dev/console");
        let Some((_, terminals)) = self.dev.below.iter().find(|(name, _)| name == "pts") else {
            return Err(Failure::rule(step, path, "there are no terminals"));
        };
        terminal::console_place(self.dev())?;
        let slave = mount::copy(fd(terminals), number, false).during(step, path)?;
        mount::attach_at(fd(&slave), self.dev(), "console").during(step, path)
    }

    /// Puts the view of cgroups at `/sys/fs/cgroup`. `empty` is filled when an empty directory was put there.
    pub(crate) fn cgroups(
        &self,
        view: CgroupView,
        writable: bool,
        empty: &mut super::paths::Empty,
        warnings: &mut Vec<Failure>,
    ) -> Result<(), Failure> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let target = match rustix::fs::openat(&self.sys, "fs/cgroup", flags, Mode::empty()) {
            // A kernel without cgroups, or an empty /sys: there is nothing to show or to hide.
            Err(Errno::NOENT) => return Ok(()),
            // The host's /sys, where something is mounted already, is entered with what is mounted on it.
            target => target.during(Step::Mount, CGROUPS)?,
        };
        if let Some(host) = &self.host_cgroups {
            return mount::attach(fd(host), fd(&target)).during(Step::Mount, CGROUPS);
        }
        if view == CgroupView::V2 {
            let rest = NOSUID | NODEV | NOEXEC;
            match mount::new("cgroup2", &[], if writable { rest } else { RDONLY | rest }) {
                Ok(cgroups) => return mount::attach(fd(&cgroups), fd(&target)).during(Step::Mount, CGROUPS),
                Err(errno @ (Errno::PERM | Errno::NODEV | Errno::BUSY)) => {
                    warnings.push(explained(Step::Mount, errno, CGROUPS, "the container's is empty"));
                }
                Err(errno) => return Err(errno).during(Step::Mount, CGROUPS),
            }
        }
        empty.cover(fd(&target), Step::Mount, CGROUPS)
    }
}

/// Checks that the null device is one, in a file system of ours.
pub(crate) fn verified_null(dev: BorrowedFd<'_>) -> Result<OwnedFd, Failure> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let null = rustix::fs::openat(dev, "null", flags, Mode::empty()).during(Step::Mask, "/dev/null")?;
    let stat = rustix::fs::statat(&null, "", AtFlags::EMPTY_PATH).during(Step::Mask, "/dev/null")?;
    let device = FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice;
    if !device || stat.st_rdev != rustix::fs::makedev(1, 3) {
        return Err(Failure::rule(Step::Mask, "/dev/null", "is not the null device"));
    }
    Ok(null)
}
