//! A container with a user namespace of its own, in which the monitor is not. Its first process is made in it, and so has no rights over the host, or over the user namespace of a rootless engine. What takes rights is done
//! by the monitor, which writes the id maps, and by a child of it, which makes the root mount and the copies of the binds. All that is handed to the first process by descriptor.
//!
//! Where the monitor may mount with other ids, the whole root is mounted that way, the writable layer as well: on the disk everything has the ids that the container sees, whatever range it was given. So nothing
//! is ever owned by a range, and images, copies and commits have nothing to translate. A rootless engine may not do that, and gives the container layers with the owners that it needs.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use coble_protocol::{Connection, Failure, Ground, IdMapping, IdRange, Mount, MountSource, Step};
use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;
use rustix::process::{WaitId, WaitIdOptions};
use rustix::thread::UnshareFlags;
use serde::{Deserialize, Serialize};

use super::binds;
use super::mount::{self, Identity, fd};
use super::rootfs::{self, Overlay};
use crate::failure::{During, explained};
use crate::ids::IdMaps;
use crate::monitor::host_pid;
use crate::program::give_pipe;
use crate::sys;
use crate::userns;

/// The descriptor number of the channel to the monitor, where everything else is closed.
const CHANNEL: i32 = 3;

/// What the first process gets: the frame carries the root mount, and a tree for each bind.
#[derive(Debug, Serialize, Deserialize)]
struct Made(Result<(), Failure>);

/// What the first process has got.
pub(crate) struct Given {
    /// The root mount.
    pub(crate) root: OwnedFd,
    /// What [`binds::take`] would have returned.
    pub(crate) trees: Vec<Option<OwnedFd>>,
}

/// Gives the first process, whose number on the host is `pid`, its ids and what it needs of the host. Called by the monitor. `own`: the namespace was made with the process, and has no maps yet. Returns the maps as the kernel has them.
pub(crate) fn provide(
    (ground, mapping, own): (&Ground, &IdMapping, bool),
    pid: Option<i32>,
    status: &Connection,
    overlay: &Overlay,
    mounts: &[Mount],
    sources: &[OwnedFd],
    stdio: &[Option<OwnedFd>],
) -> Result<IdMaps, Failure> {
    // It has not been reaped, so the number is still its own.
    let pid = pid.ok_or_else(|| Failure::rule(Step::IdMap, "first process", "/proc does not show it"))?;
    if own {
        write_map(&format!("/proc/{pid}/uid_map"), &mapping.uids)?;
        write_map(&format!("/proc/{pid}/gid_map"), &mapping.gids)?;
    }
    let root = root(mapping)?;
    stdio.iter().flatten().for_each(|stream| give_pipe(stream.as_fd(), root.0, Some(root.1)));
    let namespace = match &ground.userns {
        None => Some(namespace_of(pid)?),
        Some(_) => None,
    };
    match sys::clone(0, None).during(Step::RootMount, "helper")? {
        sys::Clone::Child => {
            let made = make(root, namespace.as_ref().map(AsFd::as_fd), overlay, mounts, sources);
            let told = match &made {
                Ok(mounts) => {
                    let mounts: Vec<_> = mounts.iter().map(AsFd::as_fd).collect();
                    status.send(&Made(Ok(())), &mounts)
                }
                Err(failure) => status.send(&Made(Err(failure.clone())), &[]),
            };
            sys::exit(i32::from(told.is_err()))
        }
        sys::Clone::Parent(child) => {
            let ended = rustix::io::retry_on_intr(|| {
                rustix::process::waitid(WaitId::PidFd(child.as_fd()), WaitIdOptions::EXITED)
            })
            .during(Step::RootMount, "helper")?;
            if ended.and_then(|ended| ended.exit_status()) != Some(0) {
                return Err(Failure::rule(Step::RootMount, "overlay", "its maker was killed"));
            }
        }
    }
    IdMaps::of(&pid.to_string())
}

/// The user namespace of a process.
fn namespace_of(pid: i32) -> Result<OwnedFd, Failure> {
    let path = format!("/proc/{pid}/ns/user");
    let namespace = rustix::fs::open(&path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
    namespace.during(Step::UserNamespace, &path)
}

/// Makes the user namespace before the first process, in a rootless monitor, which has no rights over the files in `/proc` of a process that nobody may look into: in a child that has nothing to hide.
pub(crate) fn namespace(mapping: &IdMapping) -> Result<OwnedFd, Failure> {
    let step = Step::UserNamespace;
    let lost = || Failure::rule(step, "helper", "it was killed");
    let (ours, theirs) = crate::monitor::channel(step)?;
    match sys::clone(0, None).during(step, "helper")? {
        sys::Clone::Child => {
            let made = sys::place(theirs.as_fd(), CHANNEL, true)
                .and_then(|()| sys::close_from(CHANNEL as u32 + 1))
                .and_then(|()| sys::unshare(UnshareFlags::NEWUSER))
                .and_then(|()| sys::prctl(libc::PR_SET_DUMPABLE, 1, 0))
                .during(step, "");
            let channel = Connection::new(sys::number(CHANNEL));
            let _ = channel.send(&Made(made.map(drop)), &[]);
            // Until the other end is closed.
            let _ = channel.recv::<Made>();
            sys::exit(0)
        }
        sys::Clone::Parent(child) => {
            drop(theirs);
            let namespace = (|| {
                match ours.recv::<Made>() {
                    Ok(Some((Made(made), _))) => made?,
                    Ok(None) | Err(_) => return Err(lost()),
                }
                let pid = host_pid(child.as_fd()).ok_or_else(lost)?;
                write_map(&format!("/proc/{pid}/uid_map"), &mapping.uids)?;
                write_map(&format!("/proc/{pid}/gid_map"), &mapping.gids)?;
                namespace_of(pid)
            })();
            drop(ours);
            let _ = rustix::io::retry_on_intr(|| {
                rustix::process::waitid(WaitId::PidFd(child.as_fd()), WaitIdOptions::EXITED)
            });
            namespace
        }
    }
}

/// User and group of the monitor's namespace that are 0 in the container, or what there is instead where it has but one id.
fn root(mapping: &IdMapping) -> Result<(u32, u32), Failure> {
    let root = |ranges: &[IdRange]| {
        let zero = ranges.iter().find(|range| range.inside == 0);
        zero.or(ranges.first().filter(|range| range.count == 1)).map(|range| range.outside)
    };
    root(&mapping.uids).zip(root(&mapping.gids)).ok_or_else(|| {
        Failure::rule(Step::IdMap, "0", "the container's user namespace has no user or no group 0")
    })
}

/// One write: the kernel takes a map only as a whole.
fn write_map(path: &str, ranges: &[IdRange]) -> Result<(), Failure> {
    let line = |range: &IdRange| format!("{} {} {}\n", range.inside, range.outside, range.count);
    let text: String = ranges.iter().map(line).collect();
    let file = rustix::fs::open(path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty());
    let written = file.and_then(|file| rustix::io::write(&file, text.as_bytes()));
    match written.during(Step::IdMap, path)? {
        count if count == text.len() => Ok(()),
        _ => Err(Failure::rule(Step::IdMap, path, "the kernel did not take all of it")),
    }
}

/// Makes the mounts, in a mount namespace that goes with this process. The first one is the root. `namespace`: whose ids files have on them, where they can be mounted so.
fn make(
    (uid, gid): (u32, u32),
    namespace: Option<BorrowedFd<'_>>,
    overlay: &Overlay,
    mounts: &[Mount],
    sources: &[OwnedFd],
) -> Result<Vec<OwnedFd>, Failure> {
    let step = Step::RootMount;
    sys::unshare(UnshareFlags::NEWNS).during(step, "mount namespace")?;
    let mut trees = binds::take(mounts, sources)?;
    rootfs::make_private()?;
    for (mount, tree) in mounts.iter().zip(&trees) {
        if let (MountSource::Bind { mapped: true, .. }, Some(tree)) = (&mount.source, tree) {
            namespace
                .ok_or(Errno::PERM)
                .and_then(|namespace| sys::mount_idmap(tree.as_fd(), namespace, true))
                .map_err(|errno| cannot_map(Step::UserMount, errno, &mount.target))?;
        }
    }
    if let Some(namespace) = namespace {
        cover_all(namespace, overlay)?;
    }
    // What the overlay makes for itself, it makes as whoever mounts it, who has to be somebody there.
    sys::set_file_ids(uid, gid).during(step, "ids")?;
    binds::make_overlays(mounts, sources, &mut trees)?;
    rootfs::mount(overlay, &rootfs::find(overlay)?)?;
    let mut made = vec![mount::copy(CWD, ".", false).during(step, "overlay")?];
    made.extend(trees.into_iter().flatten());
    Ok(made)
}

/// Mounts all directories of the overlay over themselves, with the ids of the namespace.
fn cover_all(namespace: BorrowedFd<'_>, overlay: &Overlay) -> Result<(), Failure> {
    // Layers and the container's own directory are both in the data root.
    let layers = rootfs::reopen(&overlay.layers, "layers")?;
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let data =
        rustix::fs::openat(&layers, "..", flags, Mode::empty()).during(Step::RootMount, "data root")?;
    cover(&data, true, namespace, "data root")?;
    for directory in [&overlay.layers, &overlay.container] {
        check_covered(directory, "data root")?;
    }
    if let Some(directory) = &overlay.directory {
        cover(&rootfs::reopen(directory, "rootfs")?, false, namespace, "rootfs")?;
        check_covered(directory, "rootfs")?;
    }
    Ok(())
}

/// Mounts a directory over itself, with the ids of the namespace.
fn cover(
    directory: &OwnedFd,
    recursive: bool,
    namespace: BorrowedFd<'_>,
    object: &str,
) -> Result<(), Failure> {
    let step = Step::RootMount;
    let tree = mount::copy(fd(directory), "", recursive).during(step, object)?;
    sys::mount_idmap(tree.as_fd(), namespace, recursive).map_err(|errno| cannot_map(step, errno, object))?;
    mount::attach(fd(&tree), fd(directory)).during(step, object)
}

/// Makes sure that a directory is found on what covers it now: on the mount that it was opened on it has its own ids.
fn check_covered(directory: &OwnedFd, object: &str) -> Result<(), Failure> {
    let step = Step::RootMount;
    let found = rootfs::reopen(directory, object)?;
    let number = Identity::of(fd(&found)).during(step, object)?.mount.to_string();
    let list = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let line = list.lines().find(|line| line.split(' ').next() == Some(&*number)).unwrap_or_default();
    // The kernel says so of such a mount since it makes them.
    if line.split(' ').nth(5).is_some_and(|options| options.split(',').any(|option| option == "idmapped")) {
        return Ok(());
    }
    Err(Failure::rule(step, object, "it is not where it was mounted with the container's ids"))
}

fn cannot_map(step: Step, errno: Errno, object: &str) -> Failure {
    let detail = match errno {
        Errno::INVAL | Errno::OPNOTSUPP => {
            "the file system, or one that is mounted below, cannot be mounted with other ids (ext4, xfs, btrfs and tmpfs can, with Linux 5.19 or newer)"
        }
        Errno::PERM => "it cannot be mounted with other ids from here, or is mounted that way already",
        _ => "",
    };
    explained(step, errno, object, detail)
}

/// Waits until this process, the container's first one, has ids and is given what it needs, and becomes user 0. Returns its ids, too.
pub(crate) fn receive(channel: &Connection, mounts: &[Mount]) -> Result<(IdMaps, Given), Failure> {
    let lost = || Failure::rule(Step::Protocol, "monitor", "it has gone");
    let mut fds = match channel.recv::<Made>() {
        Ok(Some((Made(Ok(())), fds))) => fds,
        Ok(Some((Made(Err(failure)), _))) => return Err(failure),
        Ok(None) => return Err(lost()),
        Err(error) => return Err(error).during(Step::Protocol, "monitor"),
    };
    let maps = IdMaps::read()?;
    userns::become_root(&maps)?;
    let mut next = 0;
    let mut take = || {
        let taken = fds.take_nth(next).during(Step::Protocol, "mounts");
        next += 1;
        taken
    };
    let root = take()?;
    let tree = |mount: &Mount| match mount.source {
        MountSource::Bind { .. } | MountSource::Overlay { .. } => take().map(Some),
        MountSource::Tmpfs { .. } | MountSource::Secret { .. } => Ok(None),
    };
    let trees = mounts.iter().map(tree).collect::<Result<_, _>>()?;
    Ok((maps, Given { root, trees }))
}
