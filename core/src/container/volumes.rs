//! The volumes of a new container: which ones it has, and that they are there, with what the image has at their places.

use super::mount::{all, clean};
use super::validate::invalid;
use super::{ContainerSpec, Mount, MountKind, UsernsMode, names};
use crate::cancel::CancelToken;
use crate::engine::Inner;
use crate::error::{Error, ErrorKind, Result};
use crate::image::{ImageConfig, ResolvedImage};
use crate::isolation::userns::OtherIds;
use crate::process::Workers;
use crate::snapshot;
use crate::state::containers;
use crate::state::volumes::{Place, VolumeRow};
use crate::volume::{self, Origin, files};

/// Puts in what a new container has mounted since another container or its image has it, and names its volumes that have no names.
pub(super) fn resolve(inner: &Inner, spec: &mut ContainerSpec, image: &ImageConfig) -> Result<()> {
    let mut taken: Vec<String> = all(spec).into_iter().map(|mount| mount.target).collect();
    let mut inherited = Vec::new();
    for text in &spec.volumes_from {
        let (name, mode) = text.split_once(':').unwrap_or((text, ""));
        let mut read_only = None;
        for word in mode.split(',') {
            match word {
                "ro" => read_only = Some(true),
                "rw" | "" | "z" | "Z" => {}
                _ => {
                    let why =
                        format!("\"{}\" is not of the form name, name:ro or name:rw", text.escape_default());
                    return Err(invalid("volumes_from", why));
                }
            }
        }
        let row = containers::find(&inner.store.db, name)?.ok_or_else(|| super::list::not_found(name))?;
        for mount in all(&row.spec()?) {
            if mount.kind != MountKind::Tmpfs && !taken.contains(&mount.target) {
                taken.push(mount.target.clone());
                let read_only = mount.read_only || read_only == Some(true);
                inherited.push(Mount { read_only, ..mount });
            }
        }
    }
    for place in &image.volumes {
        let target = clean(place);
        if !taken.contains(&target) {
            taken.push(target.clone());
            inherited.push(Mount::new(MountKind::Volume, None, target));
        }
    }
    spec.inherited = inherited;
    let named = |mount: &Mount| mount.source.as_deref().is_some_and(|name| !name.is_empty());
    refuse_others(inner, spec, named)?;
    for mount in spec.volumes.iter_mut().chain(&mut spec.mounts).chain(&mut spec.inherited) {
        if mount.kind == MountKind::Volume && mount.source.as_deref().is_none_or(str::is_empty) {
            mount.source = Some(names::id()?);
            mount.anonymous = true;
        }
    }
    super::mount::check(spec)
}

/// Fails if a container has a volume of this kind whose files belong to ids that it does not have. An ordinary user's containers with ids for themselves have others each, and the kernel lets only root mount files with other ids.
fn refuse_others(inner: &Inner, spec: &ContainerSpec, is_others: impl Fn(&Mount) -> bool) -> Result<()> {
    if !inner.rootless() || !matches!(spec.userns_mode, UsernsMode::Auto(_)) {
        return Ok(());
    }
    let found = all(spec).into_iter().find(|mount| mount.kind == MountKind::Volume && is_others(mount));
    let Some(mount) = found else { return Ok(()) };
    let name = mount.source.unwrap_or_default();
    let why = format!(
        "volume \"{name}\" cannot be mounted with userns_mode auto: other containers have other ids, and the owners of its files would be nobody's"
    );
    Err(Error::new(ErrorKind::Unsupported, why).with_object(name).with_hint(
        "use keep-id, nomap, or uidmap and gidmap, whose ids stay the same; a volume without a name is the container's own",
    ))
}

/// Whether a container has any volumes.
pub(super) fn has_some(spec: &ContainerSpec) -> bool {
    all(spec).iter().any(|mount| mount.kind == MountKind::Volume)
}

/// Fails if a container that is like another one would have volumes of that one with other owners than it needs.
pub(super) fn check_copy(inner: &Inner, spec: &ContainerSpec) -> Result<()> {
    refuse_others(inner, spec, |_| true)
}

/// Makes the volumes of a container that are missing, and fills those that are empty.
pub(super) fn provide(
    inner: &Inner,
    id: &str,
    spec: &ContainerSpec,
    (image, frozen): (&ResolvedImage, &[String]),
    owners: Option<&OtherIds>,
) -> Result<Vec<Place>> {
    let mut places = Vec::new();
    let workers = Workers::new(inner, owners);
    let mut lower: Option<Vec<String>> = None;
    for mount in all(spec) {
        let (MountKind::Volume, Some(name)) = (mount.kind, mount.source) else { continue };
        let row = VolumeRow {
            name: name.clone(),
            labels: volume::json_of(&mount.volume_labels)?,
            anonymous: mount.anonymous,
            owner: mount.anonymous.then(|| id.to_owned()),
            pending: mount.anonymous,
            ..VolumeRow::default()
        };
        let made = volume::ensure(inner, row)?;
        // With keep-id the caller is the user of the container, and has made it.
        if made && owners.is_some() && !matches!(spec.userns_mode, UsernsMode::KeepId(..)) {
            let made = files::open(inner, &name)?;
            super::frozen::give_root(workers, None, std::os::fd::AsFd::as_fd(&made), &CancelToken::never())?;
        }
        places.push(Place {
            volume: name.clone(),
            destination: mount.target.clone(),
            read_only: mount.read_only,
        });
        if mount.no_copy || mount.subpath.is_some() || !is_fillable(inner, &name)? {
            continue;
        }
        let lower = match &mut lower {
            Some(lower) => lower,
            empty => {
                let mut names: Vec<String> = frozen.iter().map(|name| format!("../frozen/{name}")).collect();
                names.extend(snapshot::ensure(&inner.store, &workers, image, &CancelToken::never())?);
                empty.insert(names)
            }
        };
        let rootfs = super::source::open(spec)?;
        if lower.is_empty() && rootfs.is_none() {
            continue;
        }
        let origin = Origin { lower, directory: rootfs.as_ref() };
        volume::fill(inner, workers, &name, &origin, &mount.target)?;
    }
    Ok(places)
}

/// Whether a volume may be one to be filled: a clone has what its source has, and what has clones stays as it is.
fn is_fillable(inner: &Inner, name: &str) -> Result<bool> {
    inner.store.db.read(|connection| {
        let Some(row) = crate::state::volumes::get(connection, name)? else {
            let why = format!("volume \"{name}\" was removed in the meantime");
            return Err(Error::new(ErrorKind::VolumeNotFound, why).with_object(name));
        };
        Ok(row.source.is_none() && crate::state::volumes::clones(connection, name)?.is_empty())
    })
}
