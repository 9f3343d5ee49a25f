//! Frozen layers: what a container had written at a moment, which it and others go on from. They lie in `frozen/` of the data root and are lower directories of overlay mounts.
//!
//! A layer belongs to whoever's row names it, and goes with the last one. It is made and locked before a row names it, and the sweep removes what it can lock and no row names,
//! so a crash at any moment leaves nothing: neither a layer that nobody uses, nor a row without its files. What is to go gets another name first, at the moment when it is decided: a row that names it
//! too late finds nothing, and not the half of it.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use coble_protocol::PackForm;
use rustix::fs::{Access, AtFlags, CWD, Dir, MemfdFlags, Mode, OFlags, RenameFlags};
use rustix::io::Errno;

use super::Container;
use super::files::through;
use super::tree::Tree;
use crate::cancel::CancelToken;
use crate::engine::Inner;
use crate::error::{Call, Context, Error, ErrorKind, Result};
use crate::image::ResolvedImage;
use crate::isolation::userns::OtherIds;
use crate::process::reader::{self, FreezerFiles, View};
use crate::process::{Workers, names_in, remove_tree};
use crate::snapshot::{self, Application, Below, Worker};
use crate::state::{BASE, ContainerRow, Locked, containers, now_nanos, random_hex};

/// The directory of the data root.
const DIRECTORY: &str = "frozen";
/// As many layers as leave room for those of an image among the options of one mount.
const MAX_LAYERS: usize = 64;

fn directory(inner: &Inner) -> PathBuf {
    inner.store.paths.data.join(DIRECTORY)
}

/// The names of a container's frozen layers as those of lower directories, relative to the directory of layers, uppermost first.
pub(super) fn lower(row: &ContainerRow) -> Result<Vec<String>> {
    Ok(row.frozen()?.iter().map(|name| format!("../{DIRECTORY}/{name}")).collect())
}

/// Opens the frozen layers of a container, uppermost first.
pub(super) fn open_all(inner: &Inner, row: &ContainerRow) -> Result<Vec<OwnedFd>> {
    row.frozen()?.iter().map(|name| open(&directory(inner).join(name))).collect()
}

pub(super) fn open(path: &std::path::Path) -> Result<OwnedFd> {
    open_at(CWD, path).call("open", path)
}

/// Opens a directory that containers write to. It may be the root of a user namespace who has it now, and keeps it from the engine: then the descriptor only names it, which is enough for a worker.
pub(crate) fn open_at(at: impl AsFd, path: &std::path::Path) -> Result<OwnedFd, Errno> {
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match rustix::fs::openat(&at, path, flags | OFlags::RDONLY, Mode::empty()) {
        Err(Errno::ACCESS) => rustix::fs::openat(&at, path, flags | OFlags::PATH, Mode::empty()),
        result => result,
    }
}

/// A layer that no row names yet. As long as it is locked, no sweep takes it.
struct New {
    name: String,
    path: PathBuf,
    fd: OwnedFd,
    _lock: Locked,
}

impl New {
    fn make(inner: &Inner) -> Result<New> {
        let parent = directory(inner);
        let name = random_hex(8)?;
        let path = parent.join(&name);
        let _gate = inner.store.gate_shared()?;
        match rustix::fs::mkdir(&parent, Mode::RWXU) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(errno).call("mkdir", &parent),
        }
        rustix::fs::mkdir(&path, Mode::RWXU).call("mkdir", &path)?;
        let fd = open(&path)?;
        let lock = Locked::try_exclusive(open(&path)?, &path)?.ok_or_else(|| {
            Error::new(ErrorKind::Internal, format!("the new layer \"{name}\" is locked by somebody else"))
        })?;
        // A root directory has mode 0755 whatever the umask.
        rustix::fs::fchmod(&fd, Mode::from_raw_mode(0o755)).call("chmod", &path)?;
        Ok(New { name, path, fd, _lock: lock })
    }

    /// Removes it, unless a row names it all the same, because taking that back has failed, too.
    fn discard(self, inner: &Inner) {
        if containers::frozen(&inner.store.db).is_ok_and(|named| !named.contains(&self.name)) {
            // What stays is swept.
            let _ = remove_tree(inner, &directory(inner), &self.name);
        }
    }
}

/// What a container's files consist of now, beside its image: names of frozen layers, uppermost first. Those of a container that does not run are frozen where they
/// are, if the engine may move them, and it goes on with an empty directory upon them; those of a running one are copied, while it is stopped if there is something to stop it with.
/// `own` has to live until a row names the layers.
pub(super) struct Frozen {
    pub(super) layers: Vec<String>,
    /// Those of them that are new.
    own: Vec<New>,
    /// An empty directory that has the attributes of the container's `/`, if its writable one does not have them as the other container needs them.
    root: Option<New>,
}

impl Frozen {
    fn of(layers: Vec<String>, own: Vec<New>) -> Frozen {
        Frozen { layers, own, root: None }
    }

    /// What has the attributes of `/`, if not the writable directory.
    pub(super) fn root(&self) -> Option<BorrowedFd<'_>> {
        self.root.as_ref().map(|root| root.fd.as_fd())
    }

    /// Ends with what a row names now.
    pub(super) fn keep(self, inner: &Inner) {
        if let Some(root) = self.root {
            root.discard(inner);
        }
    }

    /// Removes what was made for nothing.
    pub(super) fn discard(self, inner: &Inner) {
        for new in self.own.into_iter().chain(self.root) {
            new.discard(inner);
        }
    }
}

pub(super) fn freeze(
    inner: &Inner,
    container: &Container,
    tree: &Tree,
    freezer: Option<&FreezerFiles>,
    cancel: &CancelToken,
) -> Result<Frozen> {
    let before = room(container, tree)?;
    if is_empty(&tree.upper()?)? {
        return Ok(Frozen::of(before, Vec::new()));
    }
    let new = New::make(inner)?;
    let layers: Vec<String> = [&new.name].into_iter().chain(&before).cloned().collect();
    let done = if tree.running || !may_move(tree) {
        copy(inner, container, tree, &before, &new, freezer, cancel)
    } else {
        exchange(inner, tree, &before, &layers, &new, cancel)
    };
    match done {
        Ok(true) => Ok(Frozen::of(layers, vec![new])),
        Ok(false) => {
            new.discard(inner);
            Ok(Frozen::of(before, Vec::new()))
        }
        Err(error) => {
            new.discard(inner);
            Err(error)
        }
    }
}

/// The frozen layers of a container upon which there is room for another one.
fn room(container: &Container, tree: &Tree) -> Result<Vec<String>> {
    let before = tree.row.frozen()?;
    if before.len() >= MAX_LAYERS {
        let text = format!("container \"{}\" is {MAX_LAYERS} snapshots upon each other", container.name());
        return Err(Error::new(ErrorKind::LimitExceeded, text)
            .with_object(container.name())
            .with_hint("commit it, and go on with a container of the image"));
    }
    Ok(before)
}

/// As [`freeze`], for a container whose files have other owners on the disk than those of the first one: all that this has written is copied, and stays as it is there. Needs a lease on the layers of `image`.
pub(super) fn copy_for(
    inner: &Inner,
    container: &Container,
    tree: &Tree,
    (owners, image): (Option<&OtherIds>, &ResolvedImage),
    freezer: Option<&FreezerFiles>,
    cancel: &CancelToken,
) -> Result<Frozen> {
    let before = room(container, tree)?;
    let workers = Workers::new(inner, owners);
    let mut lower = snapshot::ensure(&inner.store, &workers, image, cancel)?;
    let mut made = Frozen::of(Vec::new(), Vec::new());
    let result = (|| {
        let written = open_all(inner, &tree.row)?.into_iter().rev().map(|layer| (layer, None));
        for (from, freezer) in written.chain([(tree.upper()?, freezer)]) {
            let new = New::make(inner)?;
            let to = Onto { lower: &lower, workers };
            let some = transfer(inner, tree, (&from, &new), to, freezer, cancel);
            if matches!(some, Ok(true)) {
                lower.insert(0, format!("../{DIRECTORY}/{}", new.name));
                made.layers.insert(0, new.name.clone());
                made.own.push(new);
            } else {
                new.discard(inner);
                some?;
            }
        }
        let root = made.root.insert(New::make(inner)?);
        carry_root(inner, tree, root, workers, cancel)?;
        unchanged(inner, container, &before)
    })();
    match result {
        Ok(()) => Ok(made),
        Err(error) => {
            made.discard(inner);
            Err(error)
        }
    }
}

/// Whether nothing is in a directory, as far as the engine may see.
fn is_empty(directory: &OwnedFd) -> Result<bool> {
    let entries = match Dir::read_from(directory) {
        Err(Errno::ACCESS) => return Ok(false),
        entries => entries.call("open", "upper")?,
    };
    for entry in entries {
        let entry = entry.call("getdents", "upper")?;
        if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Whether the engine may give the writable directory another place: its root may be that of a user namespace now.
fn may_move(tree: &Tree) -> bool {
    rustix::fs::accessat(&tree.directory, "upper", Access::WRITE_OK, AtFlags::EACCESS).is_ok()
}

/// Freezes the directory of a container that does not run where it is: the container's row names the new, empty layer, and then the two change places. Before and after, and whoever dies when, the
/// container's files are the same.
fn exchange(
    inner: &Inner,
    tree: &Tree,
    before: &[String],
    after: &[String],
    new: &New,
    cancel: &CancelToken,
) -> Result<bool> {
    inner.store.keep_reserve();
    containers::set_frozen(&inner.store.db, &tree.row.id, after)?;
    let like = tree.upper()?;
    let exchanged =
        give_root(tree.workers(inner), Some(like.as_fd()), new.fd.as_fd(), cancel).and_then(|()| {
            rustix::fs::renameat_with(&tree.directory, "upper", CWD, &new.path, RenameFlags::EXCHANGE)
                .call("rename", &new.path)
        });
    if exchanged.is_err() {
        // An empty layer more or less makes no difference, so it may stay if this fails.
        let _ = containers::set_frozen(&inner.store.db, &tree.row.id, before);
    }
    exchanged.map(|()| true)
}

/// Gives an empty directory the attributes of a container's `/`, or those of one that nobody has changed: mode, owner, time and extended attributes. It takes a worker's rights to give an owner in a user
/// namespace, and an archive without entries, of which the root is as the layer below has it.
pub(crate) fn give_root(
    workers: Workers<'_>,
    like: Option<BorrowedFd<'_>>,
    to: BorrowedFd<'_>,
    cancel: &CancelToken,
) -> Result<()> {
    let empty =
        rustix::fs::memfd_create(c"coble-empty", MemfdFlags::CLOEXEC).call("memfd_create", "archive")?;
    rustix::fs::ftruncate(&empty, 1024).call("ftruncate", "archive")?;
    let below = Below { directory: like, ..Below::of(workers.store(), &[]) };
    let layer = Application { target: to, input: empty.as_fd(), below, ready: None };
    workers.apply(layer, cancel).map(drop)
}

/// Gives an empty directory the attributes of a container's `/`, as [`give_root`], where they have other owners on the disk.
fn carry_root(
    inner: &Inner,
    tree: &Tree,
    to: &New,
    workers: Workers<'_>,
    cancel: &CancelToken,
) -> Result<()> {
    // With nothing in it, which would have to be read.
    let alike = New::make(inner)?;
    let carried = give_root(tree.workers(inner), Some(tree.upper()?.as_fd()), alike.fd.as_fd(), cancel)
        .and_then(|()| {
            through(
                |to| {
                    let view = View::Directory(alike.fd.as_fd());
                    reader::pack(tree.workers(inner), view, PackForm::Exact, Some(to), None, cancel)
                },
                |input| {
                    let below = Below::of(&inner.store, &[]);
                    let layer = Application { target: to.fd.as_fd(), input, below, ready: None };
                    workers.apply(layer, cancel)
                },
            )
        });
    alike.discard(inner);
    carried.map(drop)
}

/// Copies what a running container has written. False if that is nothing.
fn copy(
    inner: &Inner,
    container: &Container,
    tree: &Tree,
    before: &[String],
    new: &New,
    freezer: Option<&FreezerFiles>,
    cancel: &CancelToken,
) -> Result<bool> {
    let to = Onto { lower: &tree.lower, workers: tree.workers(inner) };
    let some = transfer(inner, tree, (&tree.upper()?, new), to, freezer, cancel)?;
    unchanged(inner, container, before)?;
    Ok(some)
}

/// Where a copy of a layer is made: who makes it, and the layers below it, uppermost first.
struct Onto<'a> {
    lower: &'a [String],
    workers: Workers<'a>,
}

/// Copies what a container has written to a directory. False if that is nothing.
fn transfer(
    inner: &Inner,
    tree: &Tree,
    (from, new): (&OwnedFd, &New),
    to: Onto<'_>,
    freezer: Option<&FreezerFiles>,
    cancel: &CancelToken,
) -> Result<bool> {
    let directory = tree.rootfs.as_ref().map(AsFd::as_fd);
    let below = Below { directory, base: Some(BASE), ..Below::of(&inner.store, to.lower) };
    let (packed, _) = through(
        |to| {
            reader::pack(
                tree.workers(inner),
                View::Directory(from.as_fd()),
                PackForm::Layer,
                Some(to),
                freezer,
                cancel,
            )
        },
        |from| {
            let layer = Application { target: new.fd.as_fd(), input: from, below, ready: None };
            to.workers.apply(layer, cancel)
        },
    )?;
    Ok(packed.entries > 0)
}

/// Fails if somebody has frozen a container meanwhile, after it ended: then what was copied may be less than all.
fn unchanged(inner: &Inner, container: &Container, before: &[String]) -> Result<()> {
    if container.row(inner)?.frozen()? == before {
        return Ok(());
    }
    let text = format!("container \"{}\" ended while a snapshot was made of it", container.name());
    Err(Error::new(ErrorKind::InvalidState, text).with_object(container.name()))
}

/// Whether all layers of a row are there. Then they stay as long as the row does.
pub(super) fn are_there(inner: &Inner, layers: &[String]) -> Result<bool> {
    // Not while somebody decides what goes.
    let _gate = inner.store.gate_shared()?;
    Ok(layers.iter().all(|name| directory(inner).join(name).is_dir()))
}

/// Whether a descriptor can be used for more than naming a directory.
fn is_readable(directory: &OwnedFd) -> bool {
    rustix::fs::fcntl_getfl(directory).is_ok_and(|flags| !flags.contains(OFlags::PATH))
}

/// Whether nothing of a directory itself was changed within the last hour.
fn is_old(directory: &OwnedFd) -> bool {
    let hour = 3600;
    rustix::fs::fstat(directory).is_ok_and(|stat| stat.st_ctime < now_nanos() as i64 / 1_000_000_000 - hour)
}

/// The end of the name of a layer that is to be removed. No row has such a name.
const DOOMED: &str = ".doomed";

/// Removes layers that no row names and nobody is making. One that cannot be removed does not keep the others; the first error comes back.
pub(crate) fn sweep(inner: &Inner) -> Result<()> {
    let parent = directory(inner);
    let names = names_in(&parent)?;
    if names.is_empty() {
        return Ok(());
    }
    let doing = || format!("cleaning up \"{}\"", parent.display());
    let mut doomed = Vec::new();
    {
        let _gate = inner.store.gate_exclusive()?;
        for name in names {
            let path = parent.join(&name);
            // Some: it may go, if no row names it, and nobody makes it as long as the lock, if there is one, is held.
            let free = match open(&path) {
                Ok(fd) if is_readable(&fd) => Locked::try_exclusive(fd, &path)?.map(Some),
                // Nobody who still makes it lets it be for so long.
                Ok(fd) => is_old(&fd).then_some(None),
                Err(_) => None,
            };
            doomed.extend(free.map(|lock| (name, lock)));
        }
        // Under the locks: what is named by now stays, and nobody who makes one is left who has not named it.
        let named = containers::frozen(&inner.store.db)?;
        doomed.retain(|(name, _)| !named.contains(name));
        for (name, _) in doomed.iter_mut().filter(|(name, _)| !name.ends_with(DOOMED)) {
            let other = format!("{name}{DOOMED}");
            rustix::fs::rename(parent.join(&*name), parent.join(&other))
                .call("rename", parent.join(&*name))
                .context(doing)?;
            *name = other;
        }
    }
    let mut result = Ok(());
    for (name, _lock) in &doomed {
        result = result.and(remove_tree(inner, &parent, name).context(doing));
    }
    result
}
