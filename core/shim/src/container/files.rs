//! Files that the engine provides, such as `/etc/hosts`. They live on a small tmpfs of the container and are mounted over their
//! places, so that nothing of them is written to the container's root.
//!
//! What the image has in such a place is never opened for reading or writing. A link is followed inside the root, also to a file that is missing (Debian's
//! `/etc/resolv.conf` may be such a link), which is then made, empty. A directory is refused; anything else is covered.

use std::os::fd::OwnedFd;

use coble_protocol::{Failure, ProvidedFile, Step};
use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;

use super::mount::{self, NODEV, NOEXEC, NOSUID, RDONLY, fd};
use crate::failure::During;
use crate::root::{Root, file_type};

/// How much the container may add to all of them together.
const ROOM: usize = 1 << 20;

/// Makes the files, as detached mounts. Has to be called before the root changes, and after everything that needs the host's `/dev`.
pub(crate) fn prepare(files: &[ProvidedFile]) -> Result<Vec<OwnedFd>, Failure> {
    if files.is_empty() {
        return Ok(Vec::new());
    }
    let step = Step::ProvideFile;
    let bytes: usize = files.iter().map(|file| file.content.len().next_multiple_of(4096)).sum();
    let size = (bytes + ROOM).to_string();
    let tmpfs = mount::new("tmpfs", &[("mode", "0755"), ("size", &size)], NOSUID | NODEV | NOEXEC)
        .during(step, "files")?;
    let mut names = Vec::with_capacity(files.len());
    for (number, file) in files.iter().enumerate() {
        let name = file.path.rsplit('/').next().unwrap_or_default();
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let open = |name: &str| rustix::fs::openat(&tmpfs, name, flags, Mode::from_raw_mode(0o644));
        let numbered = format!("{number}-{name}");
        let (out, name) = match open(name) {
            Ok(out) => (out, name.to_string()),
            // A name that comes twice, or is none.
            Err(_) => (open(&numbered).during(step, &file.path)?, numbered),
        };
        write_all(&out, &file.content).during(step, &file.path)?;
        names.push(name);
    }
    // The kernel copies only what is attached. Nothing needs the host's devices any more.
    mount::attach_to_old_root(fd(&tmpfs), "/dev").during(step, "files")?;
    let copies = files.iter().zip(&names);
    copies.map(|(file, name)| mount::copy(fd(&tmpfs), name, false).during(step, &file.path)).collect()
}

fn write_all(file: &OwnedFd, mut bytes: &[u8]) -> rustix::io::Result<()> {
    while !bytes.is_empty() {
        match rustix::io::write(file, bytes) {
            Ok(n) => bytes = bytes.get(n..).unwrap_or_default(),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

/// Puts those files in their places that `wanted` says yes to.
pub(crate) fn attach(
    root: &Root,
    files: &[ProvidedFile],
    mounts: &[OwnedFd],
    readonly: bool,
    wanted: impl Fn(&str) -> bool,
) -> Result<(), Failure> {
    let step = Step::ProvideFile;
    for (file, mount) in files.iter().zip(mounts).filter(|(file, _)| wanted(&file.path)) {
        let path = &file.path;
        if readonly {
            mount::restrict(fd(mount), RDONLY, false).during(step, path)?;
        }
        let target = target(root, path.as_bytes()).during(step, path)?;
        mount::attach(fd(mount), fd(&target)).during(step, path)?;
    }
    Ok(())
}

/// The same in what the caller has mounted, which may be the host's: nothing is made there, no link is followed, and where there is no file the caller has none of ours.
pub(crate) fn attach_over(
    root: &Root,
    files: &[ProvidedFile],
    mounts: &[OwnedFd],
    readonly: bool,
    wanted: impl Fn(&str) -> bool,
) -> Result<(), Failure> {
    let step = Step::ProvideFile;
    for (file, mount) in files.iter().zip(mounts).filter(|(file, _)| wanted(&file.path)) {
        let path = &file.path;
        let Ok(target) = root.strict(path.as_bytes(), OFlags::PATH) else { continue };
        if file_type(fd(&target)).during(step, path)? != FileType::RegularFile {
            continue;
        }
        if readonly {
            mount::restrict(fd(mount), RDONLY, false).during(step, path)?;
        }
        mount::attach(fd(mount), fd(&target)).during(step, path)?;
    }
    Ok(())
}

fn target(root: &Root, path: &[u8]) -> rustix::io::Result<OwnedFd> {
    let found = match root.follow(path, OFlags::PATH) {
        Ok(found) => found,
        Err(Errno::NOENT) => root.make_file(path)?,
        Err(errno) => return Err(errno),
    };
    if file_type(fd(&found))? == FileType::Directory { Err(Errno::ISDIR) } else { Ok(found) }
}
