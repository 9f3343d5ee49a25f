//! What a container is made of where that is no image: a directory of the host, named as such or by an OCI bundle.

use std::os::fd::OwnedFd;
use std::path::Path;

use super::validate::invalid;
use super::{ContainerSpec, bundle};
use crate::engine::Inner;
use crate::error::{Error, ErrorKind, Result};
use crate::isolation::mounts;

/// Completes the options of a new container: reads its bundle, and finds the directory that is its root file system. Once for each container, before anything is checked.
pub(super) fn load(inner: &Inner, mut spec: ContainerSpec) -> Result<ContainerSpec> {
    if spec.bundle.is_none() && spec.rootfs.is_none() {
        return Ok(spec);
    }
    if !spec.image.is_empty() {
        return Err(invalid("image", "a container has an image or a directory, not both"));
    }
    if spec.platform.is_some() {
        return Err(invalid("platform", "is a choice among images, and there is none"));
    }
    match (spec.bundle.take(), spec.rootfs.take()) {
        (Some(_), Some(_)) => return Err(invalid("rootfs", "the bundle says which directory that is")),
        (Some(path), None) => bundle::load(inner, &mut spec, &path)?,
        (None, rootfs) => {
            let path = rootfs.unwrap_or_default();
            spec.rootfs = Some(mounts::resolve_rootfs(path.strip_suffix(":O").unwrap_or(&path))?);
        }
    }
    if let Some(rootfs) = &spec.rootfs {
        apart(inner, rootfs)?;
    }
    Ok(spec)
}

/// Fails if one of a directory and the store is in the other: a container must not read what others have written, and an overlay mount has no layer within a layer.
fn apart(inner: &Inner, rootfs: &str) -> Result<()> {
    let data = &inner.store.paths.data;
    let data = data.canonicalize().map_err(|error| Error::io("realpath", data, &error))?;
    let rootfs = Path::new(rootfs);
    if data.starts_with(rootfs) || rootfs.starts_with(&data) {
        let text =
            format!("the root file system, \"{}\", and the store are one in the other", rootfs.display());
        return Err(Error::new(ErrorKind::InvalidArgument, text)
            .with_object("rootfs")
            .with_hint("name another directory, or keep the store elsewhere"));
    }
    Ok(())
}

/// Opens the directory that is the root file system, if it is not an image. As a path only, with the caller's rights, and by no link that has come in the way since the container was made.
pub(super) fn open(spec: &ContainerSpec) -> Result<Option<OwnedFd>> {
    spec.rootfs.as_deref().map(mounts::open_rootfs).transpose()
}
