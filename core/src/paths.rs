//! Where an engine keeps its things.

use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::engine::EngineOptions;
use crate::error::{Call, Context, Error, ErrorKind, Result};

/// The two roots of an engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Roots {
    pub(crate) data: PathBuf,
    pub(crate) run: PathBuf,
}

impl Roots {
    /// The roots that the options and the user's environment give. Nothing is made.
    pub(crate) fn of(options: &EngineOptions) -> Result<Roots> {
        let uid = rustix::process::geteuid();
        let usual = match uid.is_root() {
            true => Some(PathBuf::from("/var/lib/coble")),
            false => env_dir("XDG_DATA_HOME")
                .map(|dir| dir.join("coble"))
                .or_else(|| env_dir("HOME").map(|dir| dir.join(".local/share/coble"))),
        };
        let data = match (&options.data_root, &usual) {
            (Some(path), _) => absolute(path)?,
            (None, Some(usual)) => usual.clone(),
            (None, None) => {
                return Err(Error::new(
                    ErrorKind::InvalidArgument,
                    "no place for the data root: HOME is not set",
                )
                .with_hint("give a data root, or set HOME or XDG_DATA_HOME"));
            }
        };
        let run = match &options.run_root {
            Some(path) => absolute(path)?,
            None => {
                let base = if uid.is_root() {
                    PathBuf::from("/run/coble")
                } else {
                    match env_dir("XDG_RUNTIME_DIR").filter(|dir| dir.is_dir()) {
                        Some(dir) => dir.join("coble"),
                        None => PathBuf::from(format!("/tmp/coble-run-{}", uid.as_raw())),
                    }
                };
                // The default data root has its run root at the base; every other one has its own beside it. By whatever name a store is reached, it is the same one: otherwise
                // nobody would know what the others run.
                let real = real(&data);
                base.join(if usual.is_some_and(|usual| self::real(&usual) == real) {
                    "default".to_owned()
                } else {
                    key_of(&real)
                })
            }
        };
        Ok(Roots { data, run })
    }
}

/// Makes the run root and the directory of containers in it, mode 0700 whatever the umask, and refuses one that somebody else could change. Returns its path
/// without symbolic links.
pub(crate) fn make_run_root(path: &Path) -> Result<PathBuf> {
    let doing = || format!("making the run root \"{}\"", path.display());
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent).call("mkdir", parent).context(doing)?;
    }
    check_parent(path).context(doing)?;
    make_private_dir(path).context(doing)?;
    make_private_dir(&path.join("containers")).context(doing)?;
    std::fs::canonicalize(path).call("realpath", path)
}

/// Refuses a place that anybody could put something else into: a directory that all may write to, without the bit that keeps what is in it for its owner.
pub(crate) fn check_parent(path: &Path) -> Result<()> {
    let parent = match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
        Some(parent) => parent,
        None => return Ok(()),
    };
    let mode = std::fs::metadata(parent).call("stat", parent)?.mode();
    if mode & 0o002 == 0 || mode & 0o1000 != 0 {
        return Ok(());
    }
    let why = format!("everybody may replace what is in \"{}\"", parent.display());
    Err(Error::new(ErrorKind::PermissionDenied, why)
        .with_object(path.to_string_lossy())
        .with_hint("give a data root and a run root elsewhere, or take the right to write there from others"))
}

/// Makes a directory of mode 0700, whatever the umask; one that is there has to be ours.
pub(crate) fn make_private_dir(path: &Path) -> Result<()> {
    match std::fs::DirBuilder::new().mode(0o700).create(path) {
        Ok(()) => {}
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(Error::io("mkdir", path, &error)),
    }
    let metadata = std::fs::metadata(path).call("stat", path)?;
    let uid = rustix::process::geteuid().as_raw();
    if !metadata.is_dir() || metadata.uid() != uid {
        let why = format!("\"{}\" is not a directory of user {uid}", path.display());
        return Err(Error::new(ErrorKind::PermissionDenied, why)
            .with_object(path.to_string_lossy())
            .with_hint("give a data root and a run root of your own"));
    }
    if metadata.mode() & 0o7777 != 0o700 {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o700)).call("chmod", path)?;
    }
    Ok(())
}

/// A short name for a path, for places that several stores share.
pub(crate) fn key_of(path: &Path) -> String {
    let hash = Sha256::digest(path.as_os_str().as_encoded_bytes());
    hash.iter().take(6).map(|byte| format!("{byte:02x}")).collect()
}

/// The path without symbolic links, as far as it is there.
fn real(path: &Path) -> PathBuf {
    match (std::fs::canonicalize(path), path.parent(), path.file_name()) {
        (Ok(real), ..) => real,
        (Err(_), Some(parent), Some(name)) => real(parent).join(name),
        (Err(_), ..) => path.to_owned(),
    }
}

fn absolute(path: &Path) -> Result<PathBuf> {
    if path.as_os_str().is_empty() {
        return Err(Error::new(ErrorKind::InvalidArgument, "an empty path is no root"));
    }
    std::path::absolute(path).call("getcwd", path)
}

/// A directory of the environment; relative values are ignored, as the XDG base directory specification asks.
fn env_dir(name: &str) -> Option<PathBuf> {
    std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_has_one_run_root_whatever_it_is_called() {
        let roots = |data: Option<PathBuf>| {
            Roots::of(&EngineOptions { data_root: data, ..EngineOptions::default() }).unwrap()
        };
        let usual = roots(None);
        assert_eq!(roots(Some(usual.data.clone())), usual);
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("folder");
        std::fs::create_dir(&folder).unwrap();
        std::os::unix::fs::symlink(&folder, dir.path().join("link")).unwrap();
        let by = |path: &str| roots(Some(dir.path().join(path))).run;
        // Before it is there, and afterwards.
        let before = by("folder/store");
        assert_eq!(by("link/store"), before);
        std::fs::create_dir(folder.join("store")).unwrap();
        std::os::unix::fs::symlink(folder.join("store"), dir.path().join("other")).unwrap();
        for path in ["folder/store", "link/store", "folder/../folder/store/", "other"] {
            assert_eq!(by(path), before, "{path}");
        }
        assert_ne!(by("folder"), before);
        assert_ne!(before, usual.run);
    }
}
