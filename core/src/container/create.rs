//! Making a container.

use std::cell::OnceCell;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::Mode;
use rustix::io::Errno;

use super::frozen::Frozen;
use super::live::RunDir;
use super::{
    Container, ContainerSpec, Containers, Lifetime, State, command, frozen, names, places, remove, security,
    source, spaces, userns, validate, volumes,
};
use crate::cancel::CancelToken;
use crate::distribution::{self, PullOptions, PullPolicy};
use crate::engine::Inner;
use crate::error::{Call, Context, Error, ErrorKind, Result};
use crate::image::{self, ResolvedImage};
use crate::isolation::mounts;
use crate::isolation::userns::OtherIds;
use crate::oci::Reference;
use crate::process::{Deadline, Workers, remove_tree};
use crate::progress::ProgressSink;
use crate::state::ids::{Need, Wanted};
use crate::state::volumes::Place;
use crate::state::{ContainerRow, Locked, Session, containers, now_nanos};

/// A container that was just made, still under its lock.
pub(super) struct Made {
    pub(super) row: ContainerRow,
    pub(super) spec: ContainerSpec,
    pub(super) image: ResolvedImage,
    pub(super) run_dir: RunDir,
    pub(super) lock: Locked,
}

impl Containers<'_> {
    /// Makes a container. It does not run yet. The image is pulled if its [`ContainerSpec::pull`] says so.
    pub fn create(&self, spec: ContainerSpec) -> Result<Container> {
        self.create_within(spec, &|_| {}, &CancelToken::never())
    }

    /// As [`Containers::create`], with the progress of a pull, which ends early when the token is cancelled.
    pub fn create_within(
        &self,
        spec: ContainerSpec,
        progress: ProgressSink<'_>,
        cancel: &CancelToken,
    ) -> Result<Container> {
        let inner = &*self.engine.inner()?;
        let spec = source::load(inner, spec)?;
        let planned = plan(inner, spec, Deadline::never(), progress, cancel, || ())?;
        cancel.check()?;
        let made = make(inner, planned, State::Created)?;
        Ok(Container::new(self.engine.clone(), &made.row))
    }
}

/// The directory of a container's files: its writable layer, and its log.
pub(crate) fn directory(inner: &Inner, id: &str) -> PathBuf {
    inner.store.paths.data.join("containers").join(id)
}

/// Whether the directory of a container with a row is as it should be.
pub(crate) fn has_directory(inner: &Inner, id: &str) -> bool {
    directory(inner, id).join("upper").is_dir() || super::remove::is_doomed(inner, id)
}

/// A container that can be made, as far as can be told without making anything.
pub(super) struct Planned<'a> {
    pub(super) spec: ContainerSpec,
    pub(super) image: ResolvedImage,
    argv: Vec<String>,
    files: Files<'a>,
}

/// What a new container has beside its image.
pub(super) enum Files<'a> {
    /// Nothing.
    None,
    /// Frozen layers, by their names, uppermost first, and the writable directory of the container that it is like, for the attributes of `/`.
    Frozen(Vec<String>, OwnedFd),
    /// Layers that are made when it is known who owns them, and as many ids as the container has that it is like.
    Copied(&'a dyn Fn(Option<&OtherIds>) -> Result<Frozen>, Need),
}

impl<'a> Planned<'a> {
    /// A container as another one, which was checked when it was made.
    pub(super) fn like(
        spec: ContainerSpec,
        image: ResolvedImage,
        argv: Vec<String>,
        files: Files<'a>,
    ) -> Planned<'a> {
        Planned { spec, image, argv, files }
    }
}

/// Checks the options, and resolves the image, which may have to be pulled; `pulling` is called before.
pub(super) fn plan(
    inner: &Inner,
    mut spec: ContainerSpec,
    deadline: Deadline,
    progress: ProgressSink<'_>,
    cancel: &CancelToken,
    pulling: impl FnOnce(),
) -> Result<Planned<'static>> {
    let named = spec.origin().to_owned();
    let doing = || format!("creating a container of \"{named}\"");
    security::load(&mut spec)?;
    super::resources::unset(&mut spec);
    validate::spec(&spec)?;
    mounts::resolve_sources(&mut spec)?;
    super::secret::resolve(&mut spec)?;
    // Where a link leads may be where nothing may come from.
    super::mount::check(&spec)?;
    spaces::resolve(inner, &mut spec).context(doing)?;
    userns::resolve(&mut spec);
    // Before an image is pulled for nothing.
    userns::check_host(inner, &spec).context(doing)?;
    let image = match spec.rootfs {
        Some(_) => ResolvedImage::nothing(),
        None => resolve(inner, &spec, deadline, progress, cancel, pulling).context(doing)?,
    };
    volumes::resolve(inner, &mut spec, &image.config).context(doing)?;
    // As docker has it: a container has its image's labels too.
    let labels = std::mem::take(&mut spec.labels);
    spec.labels = image.config.labels.clone();
    spec.labels.extend(labels);
    let argv = command::argv(&spec, &image.config).context(doing)?;
    command::bounding(&spec).context(doing)?;
    Ok(Planned { spec, image, argv, files: Files::None })
}

/// The image of a container, pulled as the options say.
fn resolve(
    inner: &Inner,
    spec: &ContainerSpec,
    deadline: Deadline,
    progress: ProgressSink<'_>,
    cancel: &CancelToken,
    pulling: impl FnOnce(),
) -> Result<ResolvedImage> {
    let platform = spec.platform.as_deref();
    let here = image::resolve_for(&inner.store, &spec.image, platform);
    let ask = match &here {
        // An id stands for itself.
        Ok(image) if image.reference.is_none() && !spec.image.contains('@') => false,
        Ok(_) => match spec.pull {
            PullPolicy::Always | PullPolicy::Newer => true,
            // The name may be pinned to something else.
            PullPolicy::Missing | PullPolicy::Never => inner.lock_file.is_some(),
        },
        Err(error) => {
            error.kind() == ErrorKind::ImageNotFound
                && spec.pull != PullPolicy::Never
                && !spec.image.starts_with("sha256:")
                && Reference::parse(&spec.image).is_ok()
        }
    };
    if !ask {
        return here;
    }
    pulling();
    let options =
        PullOptions { platform: spec.platform.clone(), policy: spec.pull, ..PullOptions::default() };
    let pulled = distribution::pull_until(inner, &spec.image, &options, progress, deadline, cancel);
    let pulled = match here {
        Err(_) => pulled.context(|| format!("image \"{}\" is not in the store", spec.image))?,
        Ok(_) => pulled?,
    };
    match image::resolve_for(&inner.store, &spec.image, platform) {
        // A short name that stands for an image of another registry than docker's rule says.
        Err(error) if error.kind() == ErrorKind::ImageNotFound => {
            image::resolve_for(&inner.store, &pulled.id, None)
        }
        result => result,
    }
}

/// Makes a container: run directory and lock, directory, row, in this order, so that whatever is there without a row and without a
/// holder of the lock is litter.
pub(super) fn make(inner: &Inner, planned: Planned<'_>, state: State) -> Result<Made> {
    let Planned { spec, image, argv, files } = planned;
    let named = spec.origin().to_owned();
    let doing = || format!("creating a container of \"{named}\"");
    let id = names::id()?;
    let session = match spec.lifetime {
        Lifetime::Session => Some(inner.session()?),
        Lifetime::Detached => None,
    };
    let json = |value: serde_json::Result<String>| {
        value.map_err(|error| {
            Error::new(ErrorKind::Internal, format!("writing a container's options: {error}"))
        })
    };
    let mut row = ContainerRow {
        id: id.clone(),
        name: String::new(),
        image: spec.origin().to_owned(),
        image_id: image.id.clone(),
        command: json(serde_json::to_string(&argv))?,
        spec: json(serde_json::to_string(&spec))?,
        labels: json(serde_json::to_string(&spec.labels))?,
        state: state.name().to_owned(),
        created_at: now_nanos(),
        session,
        auto_remove: spec.auto_remove,
        ..ContainerRow::default()
    };
    inner.store.keep_reserve();
    let known = OnceCell::new();
    let need = || match (&files, known.get()) {
        (Files::Copied(_, need), _) | (_, Some(need)) => Ok(*need),
        _ => {
            let needed = userns::needed(inner, &spec, &image, &CancelToken::never())?;
            Ok(*known.get_or_init(|| needed))
        }
    };
    let mut ids = userns::wanted(inner, &spec, need).context(doing)?;
    // From here on there is something to be removed if it fails.
    let (run_dir, lock) = {
        let _gate = inner.store.gate_shared()?;
        let run_dir = RunDir::make(&inner.run_root, &id).context(doing)?;
        let lock = run_dir.try_lock()?.ok_or_else(|| {
            Error::new(ErrorKind::Internal, format!("the new container \"{id}\" is locked by somebody else"))
        })?;
        (run_dir, lock)
    };
    let made = (|| loop {
        let owners = userns::on_disk_of(inner, &spec, ids.as_ref())?;
        match fill(inner, (&spec, &image), (&mut row, ids.as_ref()), owners.as_ref(), &files) {
            // Somebody else was quicker, and has got on. Each time somebody does.
            Err(error) if error.kind() == ErrorKind::InUse && matches!(ids, Some(Wanted::Chosen(_))) => {
                // What was made for it has the owners of the ids that it does not get.
                remove::discard_volumes(inner, &id)?;
                let directory = directory(inner, &id);
                remove_tree(inner, directory.parent().unwrap_or(Path::new("/")), &id)?;
                ids = userns::wanted(inner, &spec, need)?;
            }
            filled => return filled,
        }
    })();
    match made.context(doing) {
        Ok(()) => {
            inner.secrets.keep(&inner.store.db, &id, &spec);
            Ok(Made { row, spec, image, run_dir, lock })
        }
        Err(error) => {
            // The error is what matters; what cannot be removed now is removed by the sweep.
            let _ = remove::discard_volumes(inner, &id);
            let directory = directory(inner, &id);
            let _ = remove_tree(inner, directory.parent().unwrap_or(Path::new("/")), &id);
            let _ = run_dir.remove(&lock);
            Err(error)
        }
    }
}

/// The directory of a container with everything in it, and its row.
fn fill(
    inner: &Inner,
    (spec, image): (&ContainerSpec, &ResolvedImage),
    (row, ids): (&mut ContainerRow, Option<&Wanted>),
    owners: Option<&OtherIds>,
    files: &Files<'_>,
) -> Result<()> {
    let copied = match files {
        Files::Copied(copy, _) => Some(copy(owners)?),
        Files::None | Files::Frozen(..) => None,
    };
    let (frozen, like) = match (files, &copied) {
        (Files::Frozen(names, upper), _) => (names.as_slice(), Some(upper.as_fd())),
        (_, Some(copied)) => (copied.layers.as_slice(), copied.root()),
        _ => (&[][..], None),
    };
    row.frozen = containers::json_list(frozen);
    // Layers that are for the container's ids alone, which its volumes are filled from, are nobody's until it has a row.
    let alone = copied.is_none() && owners.is_some_and(OtherIds::is_of_its_own) && volumes::has_some(spec);
    let lease = alone.then(|| Session::lease(&inner.store, &CancelToken::never())).transpose()?;
    let filled = make_directory(inner, spec, &row.id, owners, like).and_then(|()| {
        let volumes = volumes::provide(inner, &row.id, spec, (image, frozen), owners)?;
        let idmap = owners.filter(|owners| owners.is_of_its_own()).map(|owners| owners.kind.as_str());
        insert(inner, row, spec.name.as_deref(), ids.map(|ids| (ids, idmap)), &volumes)
    });
    if let Some(lease) = lease {
        lease.end(&inner.store, inner);
    }
    match (&filled, copied) {
        (Ok(()), Some(copied)) => copied.keep(inner),
        (Err(_), Some(copied)) => copied.discard(inner),
        (_, None) => {}
    }
    filled
}

fn insert(
    inner: &Inner,
    row: &mut ContainerRow,
    name: Option<&str>,
    ids: Option<(&Wanted, Option<&str>)>,
    volumes: &[Place],
) -> Result<()> {
    if let Some(name) = name {
        name.clone_into(&mut row.name);
        return containers::insert(&inner.store.db, row, ids, volumes);
    }
    for attempt in 0.. {
        row.name = names::suggestion(attempt)?;
        match containers::insert(&inner.store.db, row, ids, volumes) {
            Err(error) if error.kind() == ErrorKind::NameInUse && attempt < 20 => {}
            result => return result,
        }
    }
    Ok(())
}

/// `upper` and `work` of the overlay. The root of a container is its user 0's and has mode 0755 whatever the umask, or is like that of another one.
fn make_directory(
    inner: &Inner,
    spec: &ContainerSpec,
    id: &str,
    owners: Option<&OtherIds>,
    like: Option<BorrowedFd<'_>>,
) -> Result<()> {
    let directory = directory(inner, id);
    make_dir(&directory, Mode::RWXU)?;
    make_dir(&directory.join("work"), Mode::RWXU)?;
    let upper = directory.join("upper");
    make_dir(&upper, Mode::from_raw_mode(0o755))?;
    places::make(inner, &directory, spec, owners)?;
    if like.is_none() && owners.is_none() {
        // It is as it has to be.
        return Ok(());
    }
    let made = frozen::open(&upper)?;
    frozen::give_root(Workers::new(inner, owners), like, made.as_fd(), &CancelToken::never())
}

fn make_dir(path: &std::path::Path, mode: Mode) -> Result<()> {
    match rustix::fs::mkdir(path, mode) {
        Ok(()) | Err(Errno::EXIST) => rustix::fs::chmod(path, mode).call("chmod", path),
        Err(errno) => Err(errno).call("mkdir", path),
    }
}
