//! The sources of bind mounts, opened as the caller, and mounts in the form in which the monitor gets them.
//!
//! Where a source is, is decided once, when the container is made: links are followed then, and the path without links is kept. At each start it is gone to one component
//! after the other, and a link that has come in the way since is an error, since a container that may write there could have put it.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

use coble_protocol::{FdList, MountSource};
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, StatxFlags};
use rustix::io::Errno;
use rustix::mount::{OpenTreeFlags, open_tree};

use crate::cancel::CancelToken;
use crate::container::mount::{all, below};
use crate::container::{
    BindRecursive, ContainerSpec, Mount, MountInfo, MountKind, Propagation, Warning, secret,
};
use crate::engine::Inner;
use crate::error::{Call, Error, ErrorKind, Result};
use crate::state::{Locked, volumes};
use crate::volume::archive::refuse_with_clones;
use crate::volume::files::{self, Hold};

/// The mounts of a container, with what they need of the host.
#[derive(Debug, Default)]
pub(crate) struct Mounts {
    mounts: Vec<(Mount, Source)>,
    /// What keeps the volumes as they are, or as they are for others.
    locks: Vec<Locked>,
}

/// Where what is mounted comes from.
#[derive(Debug)]
enum Source {
    Bind(OwnedFd),
    /// A volume, and whether it is mounted with the ids of the container's user namespace.
    Volume(OwnedFd, bool),
    /// Directories of the store that are seen as one, by their names, and one that has what is written, if anything can be.
    Overlay {
        store: OwnedFd,
        lower: Vec<String>,
        own: Option<String>,
        userxattr: bool,
    },
    Tmpfs,
    Secret(secret::Open),
}

impl Mounts {
    /// Opens the sources. `mapped`: the container has a user namespace that the engine is not in.
    pub(crate) fn open(
        inner: &Inner,
        spec: &ContainerSpec,
        devices: Vec<(Mount, OwnedFd)>,
        mapped: bool,
        warnings: &mut Vec<Warning>,
        cancel: &CancelToken,
    ) -> Result<Mounts> {
        /// The descriptors of all of them go to the monitor in one message.
        const MOST: usize = 160;

        let mut mounts = Vec::new();
        let mut held = Held::default();
        for mount in all(spec) {
            let source = match (mount.kind, mount.source.as_deref()) {
                (MountKind::Bind, Some(source)) => {
                    Source::Bind(source_of(&mount, source, inner.rootless() || mapped)?)
                }
                (MountKind::Volume, Some(name)) => {
                    let mapped = mapped && !inner.rootless();
                    held.volume(inner, name, (mount.read_only, is_written(spec, name)), mapped, cancel)?
                }
                _ => Source::Tmpfs,
            };
            if mount.relabels() && Path::new("/sys/fs/selinux/enforce").exists() {
                let target = mount.target.escape_default();
                warnings.push(Warning {
                    code: "relabel-not-supported".into(),
                    message: format!("\"{target}\" is mounted with the SELinux labels that its files have"),
                });
            }
            mounts.push((mount, source));
        }
        if !devices.is_empty() || !spec.secrets.is_empty() {
            mounts.extend(devices.into_iter().map(|(mount, device)| (mount, Source::Bind(device))));
            for secret in secret::open(spec)? {
                let mut mount = Mount::tmpfs(&secret.target);
                mount.read_only = true;
                mounts.push((mount, Source::Secret(secret)));
            }
            mounts.sort_by_key(|(mount, _)| mount.target.split('/').count());
        }
        let locks: Vec<Locked> = held.0.into_values().collect();
        if mounts.len() + locks.len() > MOST {
            return Err(Error::new(
                ErrorKind::LimitExceeded,
                "the container has too many mounts, devices and secrets",
            ));
        }
        Ok(Mounts { mounts, locks })
    }

    /// What the monitor holds as long as it lives.
    pub(crate) fn describe_locks<'a>(&'a self, fds: &mut FdList<'a>) -> Vec<coble_protocol::FdIndex> {
        self.locks.iter().map(|lock| fds.push(lock.as_fd())).collect()
    }

    /// Leaves the volumes to the monitor.
    pub(crate) fn hand_over(self) {
        self.locks.into_iter().for_each(Locked::hand_over);
    }

    /// As the monitor gets them. Where it may not mount with other ids, what is to be mounted so has the ids already.
    pub(crate) fn describe<'a>(&'a self, fds: &mut FdList<'a>, may_map: bool) -> Vec<coble_protocol::Mount> {
        let describe = |(mount, source): &'a (Mount, Source)| {
            let flags = mount.flags();
            coble_protocol::Mount {
                target: mount.target.clone(),
                source: match source {
                    Source::Bind(source) => MountSource::Bind {
                        source: fds.push(source.as_fd()),
                        recursive: mount.recursive != BindRecursive::Disabled,
                        mapped: may_map && mount.is_mapped(),
                        propagation: propagation(mount.propagation),
                        subpath: None,
                        overlay: mount.is_overlay(),
                        chown: mount.changes_owner(),
                    },
                    Source::Volume(source, mapped) => MountSource::Bind {
                        source: fds.push(source.as_fd()),
                        recursive: true,
                        mapped: *mapped,
                        propagation: coble_protocol::Propagation::RPrivate,
                        subpath: mount.subpath.clone(),
                        overlay: false,
                        chown: false,
                    },
                    Source::Overlay { store, lower, own, userxattr } => MountSource::Overlay {
                        base: fds.push(store.as_fd()),
                        lower: lower.clone(),
                        own: own.clone(),
                        userxattr: *userxattr,
                        subpath: mount.subpath.clone(),
                    },
                    Source::Tmpfs => MountSource::Tmpfs { options: mount.tmpfs_options() },
                    Source::Secret(secret) => MountSource::Secret {
                        content: fds.push(secret.content.as_fd()),
                        uid: secret.uid,
                        gid: secret.gid,
                        mode: secret.mode,
                    },
                },
                readonly: mount.read_only,
                readonly_below: mount.read_only && mount.recursive != BindRecursive::Writable,
                nosuid: flags.nosuid,
                nodev: flags.nodev,
                noexec: flags.noexec,
                over_kernel: mount.covers_kernel(),
            }
        };
        self.mounts.iter().map(describe).collect()
    }
}

/// Whether a container may write to a volume at one of its places.
fn is_written(spec: &ContainerSpec, name: &str) -> bool {
    all(spec).iter().any(|mount| {
        mount.kind == MountKind::Volume && mount.source.as_deref() == Some(name) && !mount.read_only
    })
}

/// The volumes that a container holds.
#[derive(Default)]
struct Held(BTreeMap<String, Locked>);

impl Held {
    /// Holds a volume, as long as nobody else needs it otherwise, and says how it is mounted. `written`: the container may write to it elsewhere.
    fn volume(
        &mut self,
        inner: &Inner,
        name: &str,
        (read_only, written): (bool, bool),
        mapped: bool,
        cancel: &CancelToken,
    ) -> Result<Source> {
        let row = volumes::find(&inner.store.db, name)?;
        let clones = inner.store.db.read(|connection| volumes::clones(connection, name))?;
        let hold = match (row.source.is_some(), clones.is_empty()) {
            // An overlay whose layer is another one's, too, shows anything.
            (true, true) => Hold::Alone,
            // So that nobody gets it alone later, when its clones are gone, while this container still has it.
            (true, false) => Hold::Write,
            (false, _) if written => Hold::Write,
            (false, _) => Hold::Read,
        };
        if row.source.is_some() && clones.is_empty() && self.0.contains_key(name) {
            let why = format!("volume \"{name}\" is a clone, and can be mounted at one place only");
            return Err(Error::new(ErrorKind::InUse, why).with_object(name));
        }
        if !self.0.contains_key(name) {
            let lock = files::hold(inner, name, hold, cancel)?;
            self.0.insert(name.to_owned(), lock);
        }
        // Under the lock it is what counts.
        let clones = inner.store.db.read(|connection| volumes::clones(connection, name))?;
        if !read_only {
            refuse_with_clones(inner, name)?;
        }
        if row.source.is_none() {
            return Ok(Source::Volume(files::open(inner, name)?, mapped));
        }
        if clones.is_empty() != (hold == Hold::Alone) {
            let why = format!("clones of volume \"{name}\" were made or removed just now");
            return Err(Error::new(ErrorKind::InvalidState, why).with_object(name).with_hint("try it again"));
        }
        let chain = inner.store.db.read(|connection| volumes::chain(connection, row))?;
        let mut lower: Vec<String> = chain.iter().map(files::name_in_store).collect();
        let own = clones.is_empty().then(|| format!("volumes/{name}"));
        if own.is_some() {
            lower.remove(0);
        }
        Ok(Source::Overlay { store: files::store(inner)?, lower, own, userxattr: inner.rootless() })
    }
}

fn propagation(propagation: Propagation) -> coble_protocol::Propagation {
    match propagation {
        Propagation::RPrivate => coble_protocol::Propagation::RPrivate,
        Propagation::Private => coble_protocol::Propagation::Private,
        Propagation::RSlave => coble_protocol::Propagation::RSlave,
        Propagation::Slave => coble_protocol::Propagation::Slave,
        Propagation::RShared => coble_protocol::Propagation::RShared,
        Propagation::Shared => coble_protocol::Propagation::Shared,
    }
}

/// Replaces each source by its path without links, as far as it is there. Fails if one is missing that nobody makes, as docker does it when a container is created. What is there now need not be
/// there at the start.
pub(crate) fn resolve_sources(spec: &mut ContainerSpec) -> Result<()> {
    for mount in spec.volumes.iter_mut().chain(&mut spec.mounts).filter(|mount| mount.kind == MountKind::Bind)
    {
        let Some(source) = &mount.source else { continue };
        let Some(resolved) = resolve(BIND, source, mount.create_source)? else {
            return Err(missing_bind(source));
        };
        if mount.changes_owner() && !mount.is_overlay() {
            check_owner_change(&resolved)?;
        }
        mount.source = Some(resolved);
    }
    Ok(())
}

/// What a host, or a user of it, has its own files in: these, and what is below the first ones, never get another owner. Podman refuses much the same.
fn check_owner_change(source: &str) -> Result<()> {
    const WHOLE: &[&str] = &[
        "/bin", "/boot", "/dev", "/etc", "/lib", "/lib32", "/lib64", "/libx32", "/proc", "/sbin", "/sys",
        "/usr",
    ];
    const ALONE: &[&str] = &[
        "/home",
        "/media",
        "/mnt",
        "/opt",
        "/root",
        "/run",
        "/run/user",
        "/srv",
        "/tmp",
        "/var",
        "/var/cache",
        "/var/lib",
        "/var/log",
        "/var/run",
        "/var/spool",
        "/var/tmp",
    ];
    let passwd = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let own = std::env::var("HOME").unwrap_or_default();
    let homes = passwd.lines().filter_map(|line| line.split(':').nth(5)).chain([own.as_str()]);
    // That of a user without one is often the root, or some directory of the system's.
    let mut homes = homes.filter(|home| home.starts_with('/'));
    let refused = source == "/"
        || WHOLE.iter().any(|directory| below(source, directory) && !below(source, "/dev/shm"))
        || source == "/dev/shm"
        || ALONE.contains(&source)
        || Path::new(source).parent() == Some(Path::new("/home"))
        || homes.any(|home| below(home, source));
    if !refused {
        return Ok(());
    }
    let text = format!(
        "the owner of \"{}\" is not changed: the host, or a user of it, has its own files there",
        source.escape_default()
    );
    Err(Error::new(ErrorKind::InvalidArgument, text)
        .with_object(source)
        .with_hint("leave the option U out, or give a directory below it"))
}

/// The path without links; what is missing of it, if that may be, by its text. None if it may not.
fn resolve(what: &str, source: &str, may_be_missing: bool) -> Result<Option<String>> {
    let fail = |error: &io::Error| Error::io("realpath", source, error);
    let mut there = Path::new(source);
    let mut resolved = loop {
        match there.canonicalize() {
            Ok(resolved) => break resolved,
            // A link to what is not there is not followed: to make what a link says is nobody's wish.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                if !may_be_missing || there.symlink_metadata().is_ok() {
                    return Ok(None);
                }
                there = there.parent().ok_or_else(|| fail(&error))?;
            }
            Err(error) => return Err(fail(&error)),
        }
    };
    // Nothing below what is not there is a link, so the text alone says where `..` leads.
    let rest = Path::new(source).strip_prefix(there).unwrap_or(Path::new(""));
    for component in rest.components() {
        match component {
            Component::ParentDir => drop(resolved.pop()),
            Component::Normal(name) => resolved.push(name),
            _ => {}
        }
    }
    resolved.into_os_string().into_string().map(Some).map_err(|path| {
        let text = format!("{what}, \"{}\", is not UTF-8", path.to_string_lossy());
        Error::new(ErrorKind::InvalidArgument, text).with_object(source)
    })
}

/// What a path of the host is for, in messages.
const BIND: &str = "the source of a bind";
const ROOTFS: &str = "the root file system";

fn missing(what: &str, source: &str) -> Error {
    let text = format!("{what}, \"{}\", does not exist", source.escape_default());
    Error::new(ErrorKind::PathNotFound, text).with_object(source).with_errno(libc::ENOENT)
}

fn missing_bind(source: &str) -> Error {
    missing(BIND, source)
        .with_hint("make it, or let it be made: with --volume, or bind-create-src for --mount")
}

/// The path without links of a directory that is to be a container's root file system.
pub(crate) fn resolve_rootfs(path: &str) -> Result<String> {
    let resolved = resolve(ROOTFS, path, false)?.ok_or_else(|| missing(ROOTFS, path))?;
    if resolved == "/" || Path::new(&resolved).is_dir() { Ok(resolved) } else { Err(no_directory(path)) }
}

/// Opens such a directory, as a path only.
pub(crate) fn open_rootfs(path: &str) -> Result<OwnedFd> {
    let opened = open_source(ROOTFS, path, false)?;
    let stat = rustix::fs::fstat(&opened).call("fstat", path)?;
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => Ok(opened),
        _ => Err(no_directory(path)),
    }
}

fn no_directory(path: &str) -> Error {
    let text = format!("{ROOTFS}, \"{}\", is not a directory", path.escape_default());
    Error::new(ErrorKind::InvalidArgument, text).with_object(path).with_errno(libc::ENOTDIR)
}

/// Opens a path of the host as a path only: nothing of the file is read, and a FIFO or a device is not opened.
pub(super) fn open_path(path: &Path) -> rustix::io::Result<OwnedFd> {
    match open_tree(CWD, path, OpenTreeFlags::OPEN_TREE_CLOEXEC) {
        // Checkers of memory that stand between a program and the kernel may not know it. It differs in that it has an automounter do its work.
        Err(Errno::NOSYS) => rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()),
        opened => opened,
    }
}

/// Opens a source that has no links in its path, and makes what is missing if `make` is set. Every component is opened by the descriptor of the one before, so that nobody who changes the
/// path meanwhile can lead elsewhere.
fn open_source(what: &str, source: &str, make: bool) -> Result<OwnedFd> {
    let path = Path::new(source);
    let directory = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut at = rustix::fs::open("/", directory, Mode::empty()).call("open", "/")?;
    let mut seen = PathBuf::from("/");
    let mut components = path.components().peekable();
    while let Some(component) = components.next() {
        let name = match component {
            Component::Normal(name) => name,
            Component::RootDir | Component::CurDir => continue,
            Component::ParentDir | Component::Prefix(_) => return Err(changed(what, source, path)),
        };
        seen.push(name);
        let last = components.peek().is_none();
        let open = || {
            if last { open_last(&at, name) } else { rustix::fs::openat(&at, name, directory, Mode::empty()) }
        };
        let opened = match open() {
            Err(Errno::NOENT) if make => {
                match rustix::fs::mkdirat(&at, name, Mode::from_raw_mode(0o755)) {
                    Ok(()) | Err(Errno::EXIST) => {}
                    Err(errno) => return Err(errno).call("mkdir", &seen),
                }
                open()
            }
            opened => opened,
        };
        let is_link = |stat: rustix::fs::Stat| FileType::from_raw_mode(stat.st_mode) == FileType::Symlink;
        at = match opened {
            Ok(opened) if last && is_link(rustix::fs::fstat(&opened).call("fstat", &seen)?) => {
                return Err(changed(what, source, &seen));
            }
            Ok(opened) => opened,
            Err(Errno::NOENT) => return Err(missing(what, source)),
            // What is no directory, which a link is not either.
            Err(Errno::NOTDIR | Errno::LOOP)
                if rustix::fs::statat(&at, name, AtFlags::SYMLINK_NOFOLLOW).is_ok_and(is_link) =>
            {
                return Err(changed(what, source, &seen));
            }
            Err(errno) => return Err(errno).call("open", &seen),
        };
    }
    Ok(at)
}

/// The last component of a path: whatever it is, also a link.
fn open_last(parent: &OwnedFd, name: &OsStr) -> rustix::io::Result<OwnedFd> {
    let flags = OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_SYMLINK_NOFOLLOW;
    match open_tree(parent, name, flags) {
        // As in `open_path`.
        Err(Errno::NOSYS) => {
            let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            rustix::fs::openat(parent, name, flags, Mode::empty())
        }
        opened => opened,
    }
}

/// There is a link where there was none when the container was made.
fn changed(what: &str, source: &str, link: &Path) -> Error {
    let (shown, link) = (source.escape_default(), crate::text::visible(&link.to_string_lossy()));
    let text = format!("{what}, \"{shown}\", is somewhere else now: \"{link}\" has become a link");
    Error::new(ErrorKind::InvalidState, text)
        .with_object(source)
        .with_errno(libc::ELOOP)
        .with_hint("links are followed when a container is created: create it again if this one is meant")
}

fn source_of(mount: &Mount, source: &str, rootless: bool) -> Result<OwnedFd> {
    let opened = open_source(BIND, source, mount.create_source)?;
    match mount.propagation {
        Propagation::RPrivate | Propagation::Private => {}
        wanted if wanted.is_shared() && rootless => {
            return Err(Error::new(
                ErrorKind::Unsupported,
                format!("\"{}\" cannot be shared from a user namespace", source.escape_default()),
            )
            .with_object(source)
            .with_hint(
                "use rslave: what the host mounts appears in the container, and not the other way round",
            ));
        }
        wanted => check_peers(&opened, source, wanted)?,
    }
    Ok(opened)
}

/// Fails unless the mount that a source is on tells others what is mounted below it, or is told.
fn check_peers(opened: &OwnedFd, source: &str, wanted: Propagation) -> Result<()> {
    let stat =
        rustix::fs::statx(opened, "", AtFlags::EMPTY_PATH, StatxFlags::MNT_ID).call("statx", source)?;
    let path = "/proc/thread-self/mountinfo";
    let text = std::fs::read_to_string(path).map_err(|error| Error::io("read", path, &error))?;
    let number = stat.stx_mnt_id.to_string();
    let line = text.lines().find(|line| line.split(' ').next() == Some(number.as_str())).unwrap_or_default();
    let peers = optional_fields(line)
        .any(|field| field.starts_with("shared:") || field.starts_with("master:") && !wanted.is_shared());
    if peers {
        return Ok(());
    }
    let kind = if wanted.is_shared() { "a shared mount" } else { "a shared or slave mount" };
    let shown = source.escape_default();
    Err(Error::new(ErrorKind::Unsupported, format!("\"{shown}\" is not on {kind}"))
        .with_object(source)
        .with_hint("make it one with \"mount --make-shared\", or use the propagation rprivate"))
}

/// The fields of a line of `mountinfo` that tell of its peers.
fn optional_fields(line: &str) -> impl Iterator<Item = &str> {
    line.split(' ').skip(6).take_while(|field| *field != "-")
}

/// Reads a line of `mountinfo`, as the container's first process had it.
pub(crate) fn info(line: &str) -> MountInfo {
    let (own, system) = line.split_once(" - ").unwrap_or((line, ""));
    let options: Vec<String> =
        own.split(' ').nth(5).unwrap_or_default().split(',').map(str::to_owned).collect();
    let has = |prefix: &str| optional_fields(line).any(|field| field.starts_with(prefix));
    let propagation = match (has("shared:"), has("master:")) {
        (true, _) => "shared",
        (false, true) => "slave",
        (false, false) => "private",
    };
    MountInfo {
        target: unescaped(own.split(' ').nth(4).unwrap_or_default()),
        file_system: system.split(' ').next().unwrap_or_default().to_owned(),
        read_only: options.iter().any(|option| option == "ro"),
        options,
        propagation: propagation.to_owned(),
    }
}

/// The kernel writes blanks and backslashes of a path as three octal digits.
fn unescaped(path: &str) -> String {
    let mut bytes = Vec::with_capacity(path.len());
    let mut rest = path.as_bytes();
    while let Some((&byte, more)) = rest.split_first() {
        let code = more.get(..3).and_then(|digits| std::str::from_utf8(digits).ok());
        match code.filter(|_| byte == b'\\').and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(code) => {
                bytes.push(code);
                rest = more.get(3..).unwrap_or_default();
            }
            None => {
                bytes.push(byte);
                rest = more;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_mountinfo() {
        let line = r"36 35 98:0 /mnt1 /a\040b\134c ro,noatime master:1 - ext3 /dev/root rw,errors=continue";
        let read = info(line);
        assert_eq!((read.target.as_str(), read.file_system.as_str()), ("/a b\\c", "ext3"));
        assert!(read.read_only && read.options == ["ro", "noatime"]);
        assert_eq!(read.propagation, "slave");
        assert_eq!(info("1 2 0:1 / /x rw shared:4 master:1 - tmpfs tmpfs rw").propagation, "shared");
        assert_eq!(info("1 2 0:1 / /x rw - tmpfs tmpfs rw").propagation, "private");
        assert_eq!(info("").target, "");
    }
}
