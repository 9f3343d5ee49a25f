//! What the caller has mounted: directories and files of the host, directories of the store, and file systems in memory.
//!
//! The engine has opened the sources as the caller. Here the same files are found in the container's own mount namespace, their mounts are copied, made what they shall be
//! while nobody can see them, and moved by descriptor to places that are resolved inside the container's root. So no link that a container, or another one that shares
//! a directory with it, swaps meanwhile leads anywhere else.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use coble_protocol::{Failure, Mount, MountSource, Propagation, Step};
use rustix::fs::{AtFlags, CWD, Dir, FileType, Gid, Mode, OFlags, ResolveFlags, StatVfsMountFlags, Uid};
use rustix::io::Errno;
use rustix::mount::{MountAttrFlags, MountPropagationFlags, UnmountFlags};

use super::mount::{self, Identity, NODEV, NOEXEC, NOSUID, RDONLY, fd};
use super::rootfs;
use crate::failure::{During, explained};
use crate::program::verify;
use crate::root::Root;
use crate::sys;

const STEP: Step = Step::UserMount;

/// How deep directories may be nested that get an owner: each has a descriptor meanwhile.
const MOST_DEEP: usize = 256;

const SYSFS_MAGIC: i64 = 0x6265_6572;
const CGROUP_MAGIC: i64 = 0x0027_e0eb;
const CGROUP2_MAGIC: i64 = 0x6367_7270;

/// Copies the mounts of the sources: None for what has no source. Has to be called while this mount namespace still has part in what the host's mounts tell each other.
pub(crate) fn take(mounts: &[Mount], sources: &[OwnedFd]) -> Result<Vec<Option<OwnedFd>>, Failure> {
    let mut sources = sources.iter();
    let tree = |mount: &Mount| match &mount.source {
        MountSource::Bind { recursive, propagation, subpath, .. } => {
            let missing = || Failure::rule(Step::Internal, &mount.target, "came without its source");
            let source = reopen(sources.next().ok_or_else(missing)?, &mount.target)?;
            let source = match subpath {
                Some(path) => below(source.as_fd(), path)?,
                None => source,
            };
            if let MountSource::Bind { overlay: true, .. } = &mount.source {
                // What goes over it is made later.
                return Ok(Some(source));
            }
            let tree = mount::copy(fd(&source), "", *recursive).map_err(|errno| match errno {
                Errno::INVAL if !recursive => explained(
                    STEP,
                    errno,
                    &mount.target,
                    "what is mounted below its source covers things that a container in a user namespace may not see",
                ),
                errno => Failure::new(STEP, errno.raw_os_error(), &mount.target),
            })?;
            propagate(fd(&tree), *propagation).during(STEP, &mount.target)?;
            restrict(fd(&tree), mount).during(STEP, &mount.target)?;
            Ok(Some(tree))
        }
        MountSource::Tmpfs { .. } => Ok(None),
        MountSource::Overlay { .. } | MountSource::Secret { .. } => {
            sources.next();
            Ok(None)
        }
    };
    mounts.iter().map(tree).collect()
}

/// Opens a path below a directory that others may be changing: the descriptor is what is mounted, so nobody can swap it after the look. Links are followed as long as they stay below.
fn below(directory: BorrowedFd<'_>, path: &str) -> Result<OwnedFd, Failure> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS | ResolveFlags::NO_XDEV;
    crate::root::open(directory, path.as_bytes(), OFlags::PATH, resolve).map_err(|errno| {
        let detail = match errno {
            Errno::XDEV => "the path below the volume leads out of it",
            Errno::NOENT => "there is no such path below the volume",
            Errno::LOOP => "there are too many links in the path below the volume",
            _ => "the path below the volume cannot be opened",
        };
        explained(STEP, errno, path, detail)
    })
}

/// Mounts what is an overlay of directories of the store. Has to be called when nothing that is mounted here reaches the host any more, and before anything is prepared on a directory of the old root.
pub(crate) fn make_overlays(
    mounts: &[Mount],
    sources: &[OwnedFd],
    trees: &mut [Option<OwnedFd>],
) -> Result<(), Failure> {
    let has_source = |mount: &&Mount| !matches!(mount.source, MountSource::Tmpfs { .. });
    let mut given = mounts.iter().filter(has_source).zip(sources);
    for (mount, tree) in mounts.iter().zip(trees) {
        let object = &mount.target;
        let MountSource::Overlay { lower, own, userxattr, subpath, .. } = &mount.source else { continue };
        let missing = || Failure::rule(Step::Internal, object, "came without its source");
        let (_, base) = given.find(|(other, _)| std::ptr::eq(*other, mount)).ok_or_else(missing)?;
        *tree = Some(overlay(mount, base, (lower, own.as_deref(), *userxattr), subpath.as_deref())?);
    }
    Ok(())
}

/// An overlay as a mount that is nowhere. It is made on top of `/`, as the root of a container is.
fn overlay(
    mount: &Mount,
    base: &OwnedFd,
    (lower, own, userxattr): (&[String], Option<&str>, bool),
    subpath: Option<&str>,
) -> Result<OwnedFd, Failure> {
    let object = &mount.target;
    rootfs::mount_names(base, lower, own, userxattr)?;
    let shown = match subpath {
        Some(path) => {
            below(CWD, path).and_then(|found| mount::copy(fd(&found), "", false).during(STEP, object))
        }
        None => mount::copy(CWD, ".", false).during(STEP, object),
    };
    // Whatever came out: the next one is not to be mounted on top of it.
    rustix::mount::unmount(".", UnmountFlags::DETACH).during(STEP, object)?;
    rustix::process::chdir("/").during(STEP, "/")?;
    let shown = shown?;
    restrict(fd(&shown), mount).during(STEP, object)?;
    Ok(shown)
}

/// Makes the overlays over binds: each over its source, with what is written in memory. Has to be called before the root changes, and after everything that needs the host's `/dev`. `trees` has the sources; whether anything was made is returned.
pub(crate) fn cover_binds(
    mounts: &[Mount],
    trees: &mut [Option<OwnedFd>],
    userxattr: bool,
) -> Result<bool, Failure> {
    let is_overlay = |mount: &Mount| matches!(mount.source, MountSource::Bind { overlay: true, .. });
    if !mounts.iter().any(is_overlay) {
        return Ok(false);
    }
    let flags = NOSUID | NODEV | NOEXEC;
    let tmpfs = mount::new("tmpfs", &[("mode", "0700")], flags).during(STEP, "overlay")?;
    // The kernel makes overlays only of what is attached.
    mount::attach_to_old_root(fd(&tmpfs), "/dev").during(STEP, "overlay")?;
    for (number, (mount, tree)) in
        mounts.iter().zip(trees).enumerate().filter(|(_, (mount, _))| is_overlay(mount))
    {
        let object = &mount.target;
        let source =
            tree.take().ok_or_else(|| Failure::rule(Step::Internal, object, "came without its source"))?;
        let stat = rustix::fs::statat(&source, "", AtFlags::EMPTY_PATH).during(STEP, object)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
            return Err(Failure::rule(
                STEP,
                object,
                "an overlay (O) is over a directory, and the source is none",
            ));
        }
        let mut directories = Vec::with_capacity(2);
        for name in ["upper", "work"] {
            let name = format!("{number}-{name}");
            rustix::fs::mkdirat(&tmpfs, &name, Mode::RWXU).during(STEP, object)?;
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            directories.push(rustix::fs::openat(&tmpfs, &name, flags, Mode::empty()).during(STEP, object)?);
        }
        let [upper, work] = directories.as_slice() else { continue };
        // The upper directory is what the root of an overlay looks like. An owner that this user namespace does not have stays nobody's.
        let owner = (Uid::from_raw(stat.st_uid), Gid::from_raw(stat.st_gid));
        match rustix::fs::fchown(upper, Some(owner.0), Some(owner.1)) {
            Ok(()) | Err(Errno::INVAL | Errno::PERM) => {}
            Err(errno) => return Err(errno).during(STEP, object),
        }
        rustix::fs::fchmod(upper, Mode::from_raw_mode(stat.st_mode & 0o7777)).during(STEP, object)?;
        let [lower, upper, work] = [&source, upper, work].map(super::rootfs::by_number);
        let mut options = vec![("lowerdir", lower.as_str()), ("upperdir", &upper), ("workdir", &work)];
        if userxattr {
            options.push(("userxattr", ""));
        }
        // A new mount has none of the flags of what it is over.
        let under = rustix::fs::fstatvfs(&source).during(STEP, object)?.f_flag;
        let kept = [
            (StatVfsMountFlags::NOSUID, NOSUID),
            (StatVfsMountFlags::NODEV, NODEV),
            (StatVfsMountFlags::NOEXEC, NOEXEC),
        ];
        let flags = kept
            .into_iter()
            .filter(|(found, _)| under.contains(*found))
            .fold(MountAttrFlags::empty(), |flags, (_, flag)| flags | flag);
        let overlay = mount::new("overlay", &options, flags).map_err(|errno| match errno {
            Errno::INVAL | Errno::LOOP => explained(
                STEP,
                errno,
                object,
                "its file system cannot be below an overlay, or a user namespace may not see what is below the mounts in it",
            ),
            errno => Failure::new(STEP, errno.raw_os_error(), object),
        })?;
        restrict(fd(&overlay), mount).during(STEP, object)?;
        *tree = Some(overlay);
    }
    Ok(true)
}

/// Gives what was mounted so to the program's user and group. `numbers` are those of the mounts. Nobody of the container runs yet; what somebody else changes meanwhile leads nowhere else, since every step is by descriptor, and nothing
/// that is mounted in it is gone into.
pub(crate) fn change_owners(
    root: &Root,
    mounts: &[Mount],
    numbers: &[u64],
    owner: (u32, u32),
) -> Result<(), Failure> {
    for (mount, number) in mounts.iter().zip(numbers) {
        if !matches!(mount.source, MountSource::Bind { chown: true, .. }) {
            continue;
        }
        let object = &mount.target;
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let top = root.follow(object.as_bytes(), OFlags::PATH).during(STEP, object)?;
        if Identity::of(fd(&top)).during(STEP, object)?.mount != *number {
            return Err(Failure::rule(STEP, object, "it is not there as it was mounted"));
        }
        let mut names = Vec::new();
        let mut open = Vec::new();
        let enter = |file: OwnedFd| -> rustix::io::Result<Option<Dir>> {
            let seen = Identity::of(fd(&file))?;
            if seen.mount != *number {
                return Ok(None);
            }
            give(&file, owner)?;
            if seen.kind != FileType::Directory {
                return Ok(None);
            }
            // The same directory, to be read.
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
            Dir::new(rustix::fs::openat(&file, ".", flags, Mode::empty())?).map(Some)
        };
        let failed = |errno: Errno, names: &[Vec<u8>]| {
            let path = [
                object.as_bytes(),
                &names.iter().flat_map(|name| [b"/", name.as_slice()].concat()).collect::<Vec<u8>>(),
            ]
            .concat();
            match errno {
                Errno::PERM | Errno::INVAL => explained(
                    STEP,
                    errno,
                    path,
                    "its owner is none of the container's user namespace, or the program's user is not",
                ),
                errno => Failure::new(STEP, errno.raw_os_error(), path),
            }
        };
        open.extend(enter(top).map_err(|errno| failed(errno, &names))?);
        while let Some(directory) = open.last_mut() {
            let entry = match directory.read() {
                None => {
                    open.pop();
                    names.pop();
                    continue;
                }
                Some(entry) => entry.map_err(|errno| failed(errno, &names))?,
            };
            let name = entry.file_name().to_bytes().to_vec();
            if matches!(name.as_slice(), b"." | b"..") {
                continue;
            }
            let parent = directory.fd().map_err(|errno| failed(errno, &names))?;
            let file = rustix::fs::openat(parent, entry.file_name(), flags, Mode::empty());
            names.push(name);
            let below = match file {
                // Gone since.
                Err(Errno::NOENT) => None,
                file => file.and_then(enter).map_err(|errno| failed(errno, &names))?,
            };
            match below {
                Some(_) if open.len() >= MOST_DEEP => {
                    return Err(Failure::rule(
                        STEP,
                        object,
                        "directories in it are nested too deep to give them an owner",
                    ));
                }
                Some(below) => open.push(below),
                None => drop(names.pop()),
            }
        }
    }
    Ok(())
}

/// Changes the owner of what is open, also of a link.
fn give(file: &OwnedFd, (uid, gid): (u32, u32)) -> rustix::io::Result<()> {
    let stat = rustix::fs::statat(file, "", AtFlags::EMPTY_PATH)?;
    if (stat.st_uid, stat.st_gid) == (uid, gid) {
        return Ok(());
    }
    rustix::fs::chownat(file, "", Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)), AtFlags::EMPTY_PATH)
}

/// Makes the secrets: files on one file system in memory, which is seen nowhere but where they are put. Has to be called before the root changes, and after everything that needs the host's `/dev`.
pub(crate) fn make_secrets(
    mounts: &[Mount],
    sources: &[OwnedFd],
    trees: &mut [Option<OwnedFd>],
) -> Result<(), Failure> {
    let has_source = |mount: &&Mount| !matches!(mount.source, MountSource::Tmpfs { .. });
    let contents = mounts.iter().filter(has_source).zip(sources);
    let mut contents =
        contents.filter(|(mount, _)| matches!(mount.source, MountSource::Secret { .. })).peekable();
    if contents.peek().is_none() {
        return Ok(());
    }
    let flags = NOSUID | NODEV | NOEXEC;
    // Kept from the swap where the kernel can do that, which it does for root alone.
    let tmpfs = mount::new("tmpfs", &[("mode", "0700"), ("noswap", "")], flags)
        .or_else(|_| mount::new("tmpfs", &[("mode", "0700")], flags))
        .during(STEP, "secrets")?;
    mount::attach_to_old_root(fd(&tmpfs), "/dev").during(STEP, "secrets")?;
    for (number, (mount, tree)) in mounts.iter().zip(trees).enumerate() {
        let MountSource::Secret { uid, gid, mode, .. } = mount.source else { continue };
        let object = &mount.target;
        let missing = || Failure::rule(Step::Internal, object, "came without its content");
        let (_, content) = contents.next().ok_or_else(missing)?;
        let name = number.to_string();
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&tmpfs, &name, flags, Mode::empty()).during(STEP, object)?;
        copy_all(content, &file).during(STEP, object)?;
        rustix::fs::fchown(&file, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid))).map_err(|errno| {
            match errno {
                Errno::INVAL => explained(
                    STEP,
                    errno,
                    object,
                    "its owner or group is none of the container's user namespace",
                ),
                errno => Failure::new(STEP, errno.raw_os_error(), object),
            }
        })?;
        rustix::fs::fchmod(&file, Mode::from_raw_mode(mode & 0o777)).during(STEP, object)?;
        drop(file);
        let copy = mount::copy(fd(&tmpfs), &name, false).during(STEP, object)?;
        mount::restrict(fd(&copy), RDONLY, false).during(STEP, object)?;
        *tree = Some(copy);
    }
    Ok(())
}

/// Copies a whole file, whose offset stays as it is, since others have the same description.
fn copy_all(from: &OwnedFd, to: &OwnedFd) -> rustix::io::Result<()> {
    let mut offset = 0;
    loop {
        match rustix::fs::sendfile(to, from, Some(&mut offset), 1 << 20) {
            Ok(0) => return Ok(()),
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
}

/// The same file in this mount namespace: the kernel copies mounts only of the caller's own, and the descriptor comes from the engine's. The path is but a way to find it.
fn reopen(source: &OwnedFd, target: &str) -> Result<OwnedFd, Failure> {
    let link = format!("/proc/self/fd/{}", source.as_raw_fd());
    let path = rustix::fs::readlink(&link, Vec::new()).during(STEP, target)?;
    // It is what the kernel found at its end: a link in it has come since.
    let resolve = ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    let found = crate::root::open(CWD, path.as_bytes(), OFlags::PATH | OFlags::NOFOLLOW, resolve)
        .map_err(|errno| explained(STEP, errno, path.as_bytes(), "the source cannot be found again"))?;
    let given = Identity::of(fd(source)).during(STEP, target)?;
    let seen = Identity::of(fd(&found)).during(STEP, target)?;
    if !given.same_file(&seen) {
        return Err(Failure::rule(STEP, path.as_bytes(), "another file is at the path of the source"));
    }
    Ok(found)
}

/// Decides what the mounts of a tree and the host's tell each other. Nothing but what is shared may tell the host anything.
fn propagate(tree: BorrowedFd<'_>, propagation: Propagation) -> rustix::io::Result<()> {
    let set = |kind, recursive| sys::mount_propagation(tree, kind, recursive);
    match propagation {
        Propagation::RPrivate => set(MountPropagationFlags::PRIVATE, true),
        Propagation::Private => {
            set(MountPropagationFlags::DOWNSTREAM, true)?;
            set(MountPropagationFlags::PRIVATE, false)
        }
        Propagation::RSlave | Propagation::Slave => set(MountPropagationFlags::DOWNSTREAM, true),
        // A copy is a peer of what it was copied from.
        Propagation::RShared | Propagation::Shared => Ok(()),
    }
}

/// Sets the flags of a tree.
fn restrict(tree: BorrowedFd<'_>, mount: &Mount) -> rustix::io::Result<()> {
    let mut flags = MountAttrFlags::empty();
    for (wanted, flag) in [(mount.nosuid, NOSUID), (mount.nodev, NODEV), (mount.noexec, NOEXEC)] {
        flags.set(flag, wanted);
    }
    if mount.readonly && mount.readonly_below {
        return mount::restrict(tree, flags | RDONLY, true);
    }
    if !flags.is_empty() {
        mount::restrict(tree, flags, true)?;
    }
    if mount.readonly { mount::restrict(tree, RDONLY, false) } else { Ok(()) }
}

/// Puts everything in its place, in the order in which it comes. Returns the number of each mount.
pub(crate) fn attach(
    root: &Root,
    proc: BorrowedFd<'_>,
    mounts: &[Mount],
    trees: Vec<Option<OwnedFd>>,
) -> Result<Vec<u64>, Failure> {
    let shares = mounts.iter().any(Mount::is_shared);
    let mut numbers = Vec::with_capacity(mounts.len());
    for (mount, tree) in mounts.iter().zip(trees) {
        let object = &mount.target;
        let (tree, target) = match (tree, &mount.source) {
            (Some(tree), _) => {
                let directory = Identity::of(fd(&tree)).during(STEP, object)?.kind == FileType::Directory;
                let target = place(root, object, directory)?;
                (tree, target)
            }
            (None, MountSource::Tmpfs { options }) => tmpfs(root, mount, options)?,
            (None, MountSource::Bind { .. } | MountSource::Overlay { .. } | MountSource::Secret { .. }) => {
                return Err(Failure::rule(Step::Internal, object, "came without its source"));
            }
        };
        check_place(&target, mount)?;
        if shares {
            refuse_shared(&target, proc, STEP, object)?;
        }
        mount::attach(fd(&tree), fd(&target)).during(STEP, object)?;
        let expected = Identity::of(fd(&tree)).during(STEP, object)?;
        let found = root.follow(object.as_bytes(), OFlags::PATH).during(STEP, object)?;
        let flags = rustix::fs::fstatvfs(&found).during(STEP, object)?.f_flag;
        let seen = Identity::of(fd(&found)).during(STEP, object)?;
        if seen != expected || mount.readonly && !flags.contains(StatVfsMountFlags::RDONLY) {
            return Err(Failure::rule(STEP, object, "it is not there as it was mounted"));
        }
        numbers.push(expected.mount);
    }
    Ok(numbers)
}

/// Opens the place of a mount, which is made if it is missing.
fn place(root: &Root, path: &str, directory: bool) -> Result<OwnedFd, Failure> {
    let made = if directory { root.make_directory(path.as_bytes()) } else { root.make_file(path.as_bytes()) };
    made.map_err(|errno| {
        let detail = match errno {
            Errno::NOTDIR if directory => "its place, or a part of the way there, is a file",
            Errno::ISDIR => "its place is a directory, and the source is none",
            Errno::NOTDIR => "a part of the way to its place is a file",
            Errno::LOOP => "there is a link in its place that leads nowhere it may go",
            Errno::ROFS => "its place is missing and cannot be made, since that is read-only",
            _ => "its place cannot be made",
        };
        explained(STEP, errno, path, detail)
    })
}

/// A tmpfs and its place. It looks like the directory that it covers, unless told otherwise.
fn tmpfs(root: &Root, mount: &Mount, options: &[(String, String)]) -> Result<(OwnedFd, OwnedFd), Failure> {
    let object = &mount.target;
    let covered = match root.follow(object.as_bytes(), OFlags::PATH | OFlags::DIRECTORY) {
        Ok(directory) => {
            let stat = rustix::fs::statat(&directory, "", AtFlags::EMPTY_PATH).during(STEP, object)?;
            Some(format!("{:o}", stat.st_mode & 0o7777))
        }
        Err(_) => None,
    };
    let target = place(root, object, true)?;
    let mut list: Vec<(&str, &str)> =
        options.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    if let Some(mode) = covered.as_deref().filter(|_| !list.iter().any(|(name, _)| *name == "mode")) {
        list.push(("mode", mode));
    }
    let mut flags = MountAttrFlags::empty();
    for (wanted, flag) in
        [(mount.nosuid, NOSUID), (mount.nodev, NODEV), (mount.noexec, NOEXEC), (mount.readonly, RDONLY)]
    {
        flags.set(flag, wanted);
    }
    Ok((mount::new("tmpfs", &list, flags).during(STEP, object)?, target))
}

/// Refuses a place in a file system of the kernel's, unless the engine has allowed it.
fn check_place(target: &OwnedFd, mount: &Mount) -> Result<(), Failure> {
    let kind = rustix::fs::fstatfs(target).during(STEP, &mount.target)?.f_type;
    let kernel = [rustix::fs::PROC_SUPER_MAGIC, SYSFS_MAGIC, CGROUP_MAGIC, CGROUP2_MAGIC].contains(&kind);
    if kernel && !mount.over_kernel {
        let detail = "its place is in a file system of the kernel, where a link of the image leads";
        return Err(Failure::rule(STEP, &mount.target, detail));
    }
    let root = Identity::of(CWD).and_then(|root| Ok((root, Identity::of(fd(target))?)));
    let (root, place) = root.during(STEP, &mount.target)?;
    if root == place {
        return Err(Failure::rule(STEP, &mount.target, "its place is the root of the container"));
    }
    Ok(())
}

/// Refuses a place on a mount that tells the host what is mounted there: it would stay there after the container.
pub(crate) fn refuse_shared(
    target: &OwnedFd,
    proc: BorrowedFd<'_>,
    step: Step,
    object: &str,
) -> Result<(), Failure> {
    let number = Identity::of(fd(target)).during(step, object)?.mount;
    let text = verify::read(verify::open(proc, "self/mountinfo")?.as_fd(), "mountinfo")?;
    let line = line(&text, number).unwrap_or_default();
    if line.split(' ').skip(6).take_while(|word| *word != "-").any(|word| word.starts_with("shared:")) {
        return Err(Failure::rule(step, object, "its place is shared with the host: it would stay there"));
    }
    Ok(())
}

/// The line of a mount in `mountinfo`.
fn line(text: &str, number: u64) -> Option<&str> {
    let number = number.to_string();
    text.lines().find(|line| line.split(' ').next() == Some(number.as_str()))
}

/// Reads the kernel's lines of these mounts back.
pub(crate) fn read_back(numbers: &[u64], proc: BorrowedFd<'_>) -> Result<Vec<String>, Failure> {
    if numbers.is_empty() {
        return Ok(Vec::new());
    }
    let text = verify::read(verify::open(proc, "self/mountinfo")?.as_fd(), "mountinfo")?;
    let missing = || Failure::rule(Step::ReadBack, "mountinfo", "something that was mounted is not there");
    numbers.iter().map(|number| line(&text, *number).map(str::to_owned).ok_or_else(missing)).collect()
}

/// Whether something is mounted over a directory that this path is below.
pub(crate) fn covered(mounts: &[Mount], path: &str) -> bool {
    let above = |mount: &Mount| path.strip_prefix(&mount.target).is_some_and(|rest| rest.starts_with('/'));
    mounts.iter().any(above)
}
