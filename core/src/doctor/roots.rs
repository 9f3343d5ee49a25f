//! Checks on the data root and the run root. They are not made here; where one is missing, the directory that it would be made in counts.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, StatVfs};

use super::{Check, host};
use crate::engine::EngineOptions;
use crate::paths::Roots;

/// Free space below which pulls are likely to fail.
const SPACE: u64 = 1 << 30;
/// Free inodes below which layers are likely to fail.
const INODES: u64 = 20_000;

pub(super) fn checks(options: &EngineOptions, rootless: bool) -> Vec<Check> {
    // None where the environment gives no place.
    let roots = Roots::of(options).ok();
    let (data, run) =
        (roots.as_ref().map(|roots| roots.data.as_path()), roots.as_ref().map(|roots| roots.run.as_path()));
    let mut checks = vec![data_root(data, rootless), run_root(run)];
    // Nobody else may mount with other ids.
    checks.extend(data.filter(|_| !rootless).map(mapped));
    checks
}

fn data_root(path: Option<&Path>, rootless: bool) -> Check {
    const NAME: &str = "data-root";
    let Some(path) = path else {
        return Check::fail(
            NAME,
            "there is no place for it: HOME is not set",
            "set HOME, or name a data root",
        );
    };
    let existing = match usable(NAME, path) {
        Ok(existing) => existing,
        Err(check) => return check,
    };
    let shown = path.display();
    let other = "name a data root on another file system, such as ext4, xfs or btrfs";
    let kind = rustix::fs::statfs(&existing).map_or(0, |stat| stat.f_type as u64 & 0xffff_ffff);
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    match judge(kind, rootless, host::version(&release).unwrap_or_default()) {
        Verdict::Good => {}
        Verdict::Refused(filesystem) => {
            return Check::fail(
                NAME,
                format!("\"{shown}\" is on {filesystem}, which cannot hold the upper layer of an overlay"),
                other,
            );
        }
        Verdict::NoAttributes(filesystem) => {
            return Check::fail(
                NAME,
                format!(
                    "\"{shown}\" is on {filesystem}, which has no user attributes in this kernel: rootless layers need them"
                ),
                other,
            );
        }
    }
    let Ok(space) = rustix::fs::statvfs(&existing) else {
        return Check::warning(NAME, format!("the free space of \"{shown}\" cannot be read"), other);
    };
    match shortage(&space) {
        Some(what) => Check::warning(
            NAME,
            format!("\"{shown}\" has {what} left"),
            "free some, or name a data root elsewhere",
        ),
        None => Check::ok(NAME, format!("\"{shown}\" can be used")),
    }
}

/// Whether containers can have user namespaces of their own, of which the root is mounted with their ids. Without such a namespace there is no way to try it.
fn mapped(path: &Path) -> Check {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let kind = path.ancestors().find_map(|path| rustix::fs::statfs(path).ok()).map_or(0, |stat| stat.f_type);
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    mapped_of(kind as u64 & 0xffff_ffff, host::version(&release).unwrap_or_default())
}

fn mapped_of(kind: u64, kernel: (u32, u32)) -> Check {
    const NAME: &str = "id-mapped-mounts";
    // Since when overlay takes directories that are mounted so, and since when file systems can be.
    const OVERLAY: (u32, u32) = (5, 19);
    let since = match kind {
        // ext4, xfs, btrfs, f2fs.
        0xef53 | 0x5846_5342 | 0x9123_683e | 0xf2f5_2010 => OVERLAY,
        // tmpfs.
        0x0102_1994 => (6, 3),
        // zfs, which has a version of its own.
        0x2fc1_2fc1 => OVERLAY,
        _ => {
            return Check::warning(
                NAME,
                "the file system of the data root is none that is known to: userns_mode=auto may fail",
                "name a data root on ext4, xfs or btrfs, if containers are to have user namespaces of their own",
            );
        }
    };
    if kernel < since {
        return Check::warning(
            NAME,
            format!("need Linux {}.{} on this file system: userns_mode=auto will fail", since.0, since.1),
            "boot a newer kernel, if containers are to have user namespaces of their own",
        );
    }
    Check::ok(NAME, "containers can have user namespaces of their own")
}

fn run_root(path: Option<&Path>) -> Check {
    const NAME: &str = "run-root";
    let Some(path) = path else {
        return Check::fail(NAME, "there is no place for it", "set XDG_RUNTIME_DIR, or name a run root");
    };
    match usable(NAME, path) {
        Ok(_) => Check::ok(NAME, format!("\"{}\" can be used", path.display())),
        Err(check) => check,
    }
}

/// The root, or the directory above it that exists, if the caller can use it.
fn usable(name: &str, path: &Path) -> Result<PathBuf, Check> {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let there = |path: &&Path| fs::symlink_metadata(path).is_ok();
    let existing = path.ancestors().find(there).unwrap_or(Path::new("/"));
    let shown = existing.display();
    let elsewhere = "name another one";
    let uid = rustix::process::geteuid().as_raw();
    match fs::metadata(existing) {
        Err(error) => return Err(Check::fail(name, format!("\"{shown}\": {error}"), elsewhere)),
        Ok(metadata) if !metadata.is_dir() => {
            return Err(Check::fail(name, format!("\"{shown}\" is not a directory"), elsewhere));
        }
        Ok(metadata) if existing == path && metadata.uid() != uid => {
            let owner = metadata.uid();
            let summary = format!("\"{shown}\" belongs to user {owner}, not to user {uid}");
            return Err(Check::fail(name, summary, elsewhere));
        }
        Ok(_) => {}
    }
    if let Err(errno) = rustix::fs::access(existing, Access::WRITE_OK | Access::EXEC_OK) {
        return Err(Check::fail(name, format!("\"{shown}\" cannot be written: {errno}"), elsewhere));
    }
    Ok(existing.to_owned())
}

/// What a file system is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Good,
    /// Overlay does not take it for its upper layer.
    Refused(&'static str),
    /// It has no `user.` attributes.
    NoAttributes(&'static str),
}

/// Judges a file system by the number of its kind (`f_type`).
fn judge(kind: u64, rootless: bool, kernel: (u32, u32)) -> Verdict {
    match kind {
        0x794c_7630 => Verdict::Refused("overlay"),
        0x6969 => Verdict::Refused("nfs"),
        0xff53_4d42 | 0xfe53_4d42 | 0x517b => Verdict::Refused("smb"),
        0x0102_1997 => Verdict::Refused("9p"),
        0x4d44 => Verdict::Refused("vfat"),
        0x2011_bab0 => Verdict::Refused("exfat"),
        0xf15f => Verdict::Refused("ecryptfs"),
        0x9660 | 0x7371_7368 | 0xe0f5_e1e2 => Verdict::Refused("a read-only file system"),
        0x0102_1994 if rootless && kernel < (6, 6) => Verdict::NoAttributes("tmpfs"),
        _ => Verdict::Good,
    }
}

/// What is about to run out.
fn shortage(space: &StatVfs) -> Option<String> {
    let free = space.f_bavail.saturating_mul(space.f_frsize);
    if free < SPACE {
        return Some(format!("{} MiB", free >> 20));
    }
    // Some file systems have no fixed number of inodes.
    (space.f_files > 0 && space.f_favail < INODES).then(|| format!("{} inodes", space.f_favail))
}

#[cfg(test)]
mod tests {
    use super::super::CheckStatus;
    use super::*;

    #[test]
    fn file_systems_are_judged() {
        let now = (6, 18);
        assert_eq!(judge(0xef53, true, now), Verdict::Good);
        assert_eq!(judge(0x794c_7630, false, now), Verdict::Refused("overlay"));
        assert_eq!(judge(0x6969, false, now), Verdict::Refused("nfs"));
        assert_eq!(judge(0x0102_1994, true, (6, 1)), Verdict::NoAttributes("tmpfs"));
        assert_eq!(judge(0x0102_1994, false, (6, 1)), Verdict::Good);
        assert_eq!(judge(0x0102_1994, true, now), Verdict::Good);
    }

    #[test]
    fn mounts_with_other_ids_are_judged() {
        for (kind, kernel, status) in [
            (0xef53, (5, 19), CheckStatus::Ok),
            (0xef53, (5, 18), CheckStatus::Warning),
            (0x0102_1994, (6, 1), CheckStatus::Warning),
            (0x0102_1994, (6, 3), CheckStatus::Ok),
            (0x6969, (7, 0), CheckStatus::Warning),
        ] {
            assert_eq!(mapped_of(kind, kernel).status, status, "{kind:x} {kernel:?}");
        }
    }

    #[test]
    fn places_that_cannot_be_used_are_named() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(run_root(Some(&dir.path().join("a/b"))).status, CheckStatus::Ok);
        assert!(!dir.path().join("a").exists());
        let file = dir.path().join("file");
        fs::write(&file, "").unwrap();
        for path in [file.clone(), file.join("below")] {
            let check = run_root(Some(&path));
            assert_eq!(check.status, CheckStatus::Fail);
            assert!(check.summary.contains("is not a directory"), "{check:?}");
        }
        std::os::unix::fs::symlink("missing", dir.path().join("link")).unwrap();
        assert_eq!(run_root(Some(&dir.path().join("link"))).status, CheckStatus::Fail);
        if rustix::process::geteuid().is_root() {
            std::os::unix::fs::chown(dir.path(), Some(4242), None).unwrap();
            assert!(data_root(Some(dir.path()), false).summary.contains("belongs to user 4242"));
        }
        assert_eq!(data_root(None, true).status, CheckStatus::Fail);
    }
}
