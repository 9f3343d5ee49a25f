//! The lowest layer of every container: the places of what the engine mounts. Where an image has no `/proc`, say, or no `/etc/hosts`, they would
//! have to be made in the container's own layer, in every start anew and as a trace in every commit.

use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;

use crate::error::{Call, Result};

/// The name of the layer, relative to the directory of layers.
pub(crate) const BASE: &str = "../base";

const DIRECTORY: &str = "base";
const PLACES: [&str; 4] = ["dev", "etc", "proc", "sys"];
const FILES: [&str; 3] = ["hosts", "hostname", "resolv.conf"];
/// What old programs read instead of `/proc/mounts`. It is made last: where it is, all is.
const MTAB: &str = "base/etc/mtab";

/// Makes it, if it is not there. Each step may have been taken by somebody else, who may have died after it.
pub(super) fn make(data: &OwnedFd, path: &Path) -> Result<()> {
    let whole = |errno| Err(errno).call("stat", path.join(MTAB));
    match rustix::fs::statat(data, MTAB, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::Symlink => return Ok(()),
        Ok(_) => return whole(Errno::EXIST),
        Err(Errno::NOENT) => {}
        Err(errno) => return whole(errno),
    }
    super::make_dir(data, DIRECTORY, path)?;
    fill(&super::open_dir(data, DIRECTORY, path)?, &path.join(DIRECTORY))
}

/// Makes what is in it, as far as it is not there.
pub(crate) fn fill(base: &OwnedFd, path: &Path) -> Result<()> {
    for name in PLACES {
        place(base, name, path)?;
    }
    let etc = super::open_dir(base, "etc", path)?;
    for name in FILES {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&etc, name, flags, Mode::from_raw_mode(0o644));
        let file = file.call("open", path.join("etc").join(name))?;
        rustix::fs::fchmod(&file, Mode::from_raw_mode(0o644)).call("chmod", path.join("etc").join(name))?;
    }
    match rustix::fs::symlinkat("/proc/mounts", &etc, "mtab") {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(errno) => return Err(errno).call("symlink", path.join("etc/mtab")),
    }
    Ok(())
}

/// A directory of mode 0755, whatever the umask.
fn place(at: &OwnedFd, name: &str, parent: &Path) -> Result<()> {
    let mode = Mode::from_raw_mode(0o755);
    match rustix::fs::mkdirat(at, name, mode) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(errno) => return Err(errno).call("mkdir", parent.join(name)),
    }
    rustix::fs::chmodat(at, name, mode, AtFlags::empty()).call("chmod", parent.join(name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn it_is_made_once_and_completed_after_a_crash() {
        let root = tempfile::tempdir().unwrap();
        let data = OwnedFd::from(std::fs::File::open(root.path()).unwrap());
        std::fs::create_dir_all(root.path().join("base/etc")).unwrap();
        std::fs::write(root.path().join("base/etc/hosts"), "").unwrap();
        make(&data, root.path()).unwrap();
        make(&data, root.path()).unwrap();
        let mode = |name: &str| {
            std::fs::symlink_metadata(root.path().join("base").join(name)).unwrap().permissions().mode()
                & 0o7777
        };
        assert!(PLACES.iter().all(|place| mode(place) == 0o755));
        assert!(FILES.iter().all(|file| mode(&format!("etc/{file}")) == 0o644));
        assert_eq!(std::fs::read_link(root.path().join(MTAB)).unwrap(), Path::new("/proc/mounts"));
    }
}
