//! The places of what a container has mounted, as a layer below all that its image and itself have: where there is nothing at a place, something has to be there to mount upon. Made in the
//! container's own layer, it would be a change of the container, and in every commit and export of it, though the container has done nothing.
//!
//! A place that a link of the image leads to is not known here, and is made where it leads when the container is started.

use std::collections::BTreeMap;
use std::fs;
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use coble_protocol::PackForm;

use super::files::through;
use super::mount::all;
use super::{ContainerSpec, MountKind, create, frozen};
use crate::cancel::CancelToken;
use crate::engine::Inner;
use crate::error::{Error, Result};
use crate::isolation::accounts::LOCALTIME;
use crate::isolation::userns::OtherIds;
use crate::process::Workers;
use crate::process::reader::{self, View};
use crate::snapshot::{Application, Below, Worker};
use crate::state::{BASE, fill_base};

/// The name of the layer in the container's directory.
const NAME: &str = "places";
/// The name that one of other owners has while it is being made.
const TEMPORARY: &str = "places.tmp";
/// Where the kernel's file systems are, with places of their own.
const KERNEL: [&str; 3] = ["dev", "proc", "sys"];

/// A place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    File,
    /// With its mode: a file system in memory looks like the directory that it covers.
    Directory(u32),
}

/// The names of the layers below a container's image, uppermost first, relative to the directory of layers.
pub(super) fn base(inner: &Inner, id: &str) -> Vec<String> {
    let own = create::directory(inner, id).join(NAME).is_dir().then(|| format!("../containers/{id}/{NAME}"));
    own.into_iter().chain([BASE.to_owned()]).collect()
}

/// Makes the layer in a container's directory, if there is anything to be in it. With other owners than all other containers have, it has what is in the lowest layer of all, too.
pub(super) fn make(
    inner: &Inner,
    directory: &Path,
    spec: &ContainerSpec,
    owners: Option<&OtherIds>,
) -> Result<()> {
    let wanted = wanted(spec);
    let path = directory.join(NAME);
    let Some(owners) = owners else {
        return if wanted.is_empty() { Ok(()) } else { fill(&path, &wanted) };
    };
    let own = directory.join(TEMPORARY);
    fill(&own, &wanted)?;
    let from = frozen::open(&own)?;
    fill_base(&from, &own)?;
    make_directory(&path, 0o755)?;
    let to = frozen::open(&path)?;
    // Read as the caller's own, and written as those that the container has.
    through(
        |to| {
            let view = View::Directory(from.as_fd());
            reader::pack(inner, view, PackForm::Tree, Some(to), None, &CancelToken::never())
        },
        |input| {
            let below = Below::of(&inner.store, &[]);
            let layer = Application { target: to.as_fd(), input, below, ready: None };
            Workers::new(inner, Some(owners)).apply(layer, &CancelToken::never())
        },
    )?;
    fs::remove_dir_all(&own).map_err(|error| Error::io("rmdir", &own, &error))
}

/// What has to be there, by its path, with the directories on the way.
fn wanted(spec: &ContainerSpec) -> BTreeMap<PathBuf, Kind> {
    let mut wanted = BTreeMap::new();
    // What is below a volume may be a file, which is known when it is mounted.
    let mounts = all(spec).into_iter().filter(|mount| mount.subpath.is_none()).map(|mount| {
        let kind = match (mount.kind, mount.source.as_deref().map(fs::metadata)) {
            // A device, socket or file. What is missing is made as a directory.
            (MountKind::Bind, Some(Ok(source))) if !source.is_dir() => Kind::File,
            (MountKind::Bind | MountKind::Volume, _) => Kind::Directory(0o755),
            _ => Kind::Directory(0o1777),
        };
        (mount.target, kind)
    });
    let secrets = spec.secrets.iter().map(|secret| (secret.place(), Kind::File));
    let zone = spec.tz.iter().map(|_| (LOCALTIME.to_owned(), Kind::File));
    for (target, kind) in mounts.chain(secrets).chain(zone) {
        let path = PathBuf::from(target.trim_start_matches('/'));
        let first = path.iter().next();
        if first.is_none() || KERNEL.iter().any(|kernel| first == Some(kernel.as_ref())) {
            continue;
        }
        for parent in path.ancestors().skip(1).filter(|parent| !parent.as_os_str().is_empty()) {
            // What is mounted in a file is refused later, by who mounts.
            wanted.entry(parent.to_owned()).or_insert(Kind::Directory(0o755));
        }
        wanted.insert(path, kind);
    }
    wanted
}

/// Makes a tree, which nobody else knows yet.
fn fill(root: &Path, wanted: &BTreeMap<PathBuf, Kind>) -> Result<()> {
    make_directory(root, 0o755)?;
    // Parents come first.
    for (path, kind) in wanted {
        let path = root.join(path);
        match kind {
            Kind::Directory(mode) => make_directory(&path, *mode)?,
            Kind::File => {
                let made = fs::File::create_new(&path).and_then(|file| file.set_permissions(mode_of(0o644)));
                made.map_err(|error| Error::io("open", &path, &error))?;
            }
        }
    }
    Ok(())
}

/// Whatever the umask.
fn make_directory(path: &Path, mode: u32) -> Result<()> {
    fs::create_dir(path)
        .and_then(|()| fs::set_permissions(path, mode_of(mode)))
        .map_err(|error| Error::io("mkdir", path, &error))
}

fn mode_of(mode: u32) -> fs::Permissions {
    fs::Permissions::from_mode(mode)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::container::{Mount, Secret};

    #[test]
    fn what_is_mounted_has_a_place_and_a_way_there() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, "x").unwrap();
        let mut spec = ContainerSpec::new("i");
        spec.volumes = vec![
            Mount::bind(folder.path().to_str().unwrap(), "/a/b"),
            Mount::bind(file.to_str().unwrap(), "/a/b/c/../file"),
            Mount::bind("/missing", "/missing"),
            Mount::bind("/dev/null", "/dev/x"),
        ];
        spec.tmpfs = vec![Mount::tmpfs("/t")];
        spec.secrets = vec![Secret::of_bytes("s", b"x".to_vec())];
        let root = folder.path().join("root");
        fill(&root, &wanted(&spec)).unwrap();
        let mut found = BTreeMap::new();
        for name in ["a", "a/b", "a/b/file", "missing", "t", "run/secrets/s", "run"] {
            let stat = fs::metadata(root.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
            found.insert(name, (stat.is_dir(), stat.permissions().mode() & 0o7777));
        }
        let directory = (true, 0o755);
        assert_eq!(found["a/b"], directory);
        assert_eq!((found["a"], found["missing"], found["run"]), (directory, directory, directory));
        assert_eq!(found["t"], (true, 0o1777));
        assert_eq!((found["a/b/file"], found["run/secrets/s"]), ((false, 0o644), (false, 0o644)));
        assert_eq!(fs::read_dir(&root).unwrap().count(), 4);
        assert!(wanted(&ContainerSpec::new("i")).is_empty());
    }
}
