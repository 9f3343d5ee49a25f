//! Which containers have their cgroups in one that somebody has chosen: a file for each, on the same kind of file system that forgets them with a reboot as the
//! kernel forgets its cgroups. Who finds a container's cgroup after a crash finds it by that.

use std::fs;
use std::io::ErrorKind as Io;
use std::path::{Path, PathBuf};

use super::{PREFIX, is_name};
use crate::error::{Call, Error, ErrorKind, Result};

/// The longest path.
const MOST: usize = 1024;

/// The files of one store.
#[derive(Debug)]
pub(super) struct Places(PathBuf);

impl Places {
    pub(super) fn new(run_root: &Path) -> Places {
        Places(run_root.join("cgroups"))
    }

    /// The cgroup that a container's is in, if it is one that was chosen.
    pub(super) fn of(&self, id: &str) -> Option<PathBuf> {
        let text = fs::read_to_string(self.0.join(id)).ok()?;
        relative(&text).map(Path::to_owned)
    }

    /// Puts on file where the cgroup of a container will be.
    pub(super) fn set(&self, id: &str, parent: &str) -> Result<()> {
        let path = self.0.join(id);
        match fs::write(&path, parent) {
            Err(error) if error.kind() == Io::NotFound => {}
            result => return result.call("write", path),
        }
        match fs::create_dir(&self.0) {
            Err(error) if error.kind() != Io::AlreadyExists => return Err(error).call("mkdir", &self.0),
            _ => {}
        }
        fs::write(&path, parent).call("write", path)
    }

    /// There is no cgroup any more.
    pub(super) fn forget(&self, id: &str) -> Result<()> {
        let path = self.0.join(id);
        match fs::remove_file(&path) {
            Err(error) if error.kind() == Io::NotFound => Ok(()),
            result => result.call("unlink", path),
        }
    }

    /// Every container that is on file.
    pub(super) fn all(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.0).into_iter().flatten().flatten();
        entries
            .filter_map(|entry| entry.file_name().into_string().ok())
            .filter(|name| is_name(name))
            .collect()
    }
}

/// A path of cgroups as one below where the engine may make any; None if it is none, or one of the engine's own.
fn relative(parent: &str) -> Option<&Path> {
    let plain = parent.strip_prefix('/').unwrap_or(parent);
    let plain = plain.strip_suffix('/').unwrap_or(plain);
    let name = |name: &str| {
        !name.is_empty()
            && name.len() <= 255
            && !name.starts_with('.')
            // Names of the kernel's files begin like that.
            && !name.starts_with("cgroup.")
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-@:\\".contains(&byte))
    };
    let good =
        parent.len() <= MOST && plain.split('/').all(name) && !plain.split('/').next().is_some_and(is_ours);
    good.then(|| Path::new(plain))
}

/// Whether a cgroup of this name, directly below where the engine may make any, is a container's, or would look as if all of them were in it.
fn is_ours(name: &str) -> bool {
    let id = |id: &str| id.len() == 64 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    name.strip_prefix(PREFIX).is_some_and(|rest| rest.is_empty() || rest.rsplit('-').next().is_some_and(id))
}

/// Checks a path of cgroups.
pub(crate) fn check_parent(parent: &str) -> Result<()> {
    if relative(parent).is_some() {
        return Ok(());
    }
    let why = format!("cgroup_parent: \"{}\" is not the path of a cgroup of others", parent.escape_default());
    Err(Error::new(ErrorKind::InvalidArgument, why)
        .with_object("cgroup_parent")
        .with_hint("use a path such as /jobs/night, without . and .."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_stay_below_and_away_from_ours() {
        for parent in ["/jobs", "jobs/night", "/machine.slice/", "a@b\\x2dc.slice", "coble-jobs"] {
            assert!(check_parent(parent).is_ok(), "{parent}");
        }
        for parent in [
            "",
            "/",
            "..",
            "/a/../b",
            "a//b",
            "./a",
            "/coble",
            "coble/x",
            "/coble-0123456789ab-0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef/x",
            "a/cgroup.procs",
            "a\0",
            "a b",
            "a\n",
            "/a/.",
        ] {
            assert_eq!(check_parent(parent).unwrap_err().kind(), ErrorKind::InvalidArgument, "{parent:?}");
        }
        assert!(check_parent(&"a/".repeat(1000)).is_err());
    }

    #[test]
    fn places_are_kept_until_they_are_forgotten() {
        let root = tempfile::tempdir().unwrap();
        let places = Places::new(root.path());
        assert!(places.of("c").is_none() && places.all().is_empty());
        places.set("c", "/jobs/night").unwrap();
        assert_eq!(places.of("c").as_deref(), Some(Path::new("jobs/night")));
        assert_eq!(places.all(), ["c"]);
        // What somebody else has put there leads nowhere.
        fs::write(root.path().join("cgroups/d"), "../../etc").unwrap();
        assert!(places.of("d").is_none());
        places.forget("c").unwrap();
        places.forget("c").unwrap();
        assert!(places.of("c").is_none());
    }
}
