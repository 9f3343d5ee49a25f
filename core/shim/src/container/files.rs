//! Files that the engine provides, such as `/etc/hosts`. They live on a small tmpfs of the container and are mounted over their
//! places, so that nothing of them is written to the container's root.
//!
//! What the image has in such a place is never opened for reading or writing. A link is followed inside the root, also to a file that is missing (Debian's
//! `/etc/resolv.conf` may be such a link), which is then made, empty. A directory is refused; anything else is covered.

use std::os::fd::OwnedFd;

use coble_protocol::{Accounts, Failure, ProvidedFile, Step};
use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;

use super::mount::{self, NODEV, NOEXEC, NOSUID, RDONLY, fd};
use crate::failure::During;
use crate::root::{Root, file_type};

/// The files of accounts, which get a line where they lack one, and what a line ends with that is not the file's last.
const ACCOUNTS: [&str; 2] = ["/etc/passwd", "/etc/group"];
/// The largest of them, with a line more.
const MAX_ACCOUNTS: usize = (4 << 20) + 4096;
/// How much the container may add to all of them together.
const ROOM: usize = 1 << 20;

/// Files that are written later, empty so far, and their mounts.
pub(crate) struct Spare([(OwnedFd, OwnedFd); 2]);

/// Makes the files, as detached mounts, and those for accounts if they are wanted. Has to be called before the root changes, and after everything that needs the host's `/dev`.
pub(crate) fn prepare(
    files: &[ProvidedFile],
    accounts: bool,
) -> Result<(Vec<OwnedFd>, Option<Spare>), Failure> {
    if files.is_empty() && !accounts {
        return Ok((Vec::new(), None));
    }
    let step = Step::ProvideFile;
    let bytes: usize = files.iter().map(|file| file.content.len().next_multiple_of(4096)).sum();
    let more = if accounts { 2 * MAX_ACCOUNTS } else { 0 };
    let size = (bytes + more + ROOM).to_string();
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
    let copies = copies
        .map(|(file, name)| mount::copy(fd(&tmpfs), name, false).during(step, &file.path))
        .collect::<Result<_, _>>()?;
    let spare = |path: &str| {
        let name = path.rsplit('/').next().unwrap_or_default();
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&tmpfs, name, flags, Mode::from_raw_mode(0o644)).during(step, path)?;
        Ok::<_, Failure>((file, mount::copy(fd(&tmpfs), name, false).during(step, path)?))
    };
    let spare = match accounts {
        true => Some(Spare([spare(ACCOUNTS[0])?, spare(ACCOUNTS[1])?])),
        false => None,
    };
    Ok((copies, spare))
}

/// Mounts files of accounts with one more line over those of the root file system that lack the program's user or group. What cannot be read or is not there stays as it is: who the program is, is
/// decided later, and what is wrong is said then.
pub(crate) fn attach_accounts(
    root: &Root,
    accounts: &Accounts,
    user: &str,
    spare: Spare,
    readonly: bool,
) -> Result<(), Failure> {
    let step = Step::ProvideFile;
    let Some([passwd, group]) = crate::program::missing_accounts(root, accounts, user) else { return Ok(()) };
    for ((content, path), (file, mount)) in [passwd, group].into_iter().zip(ACCOUNTS).zip(spare.0) {
        let Some(content) = content else { continue };
        // No link is followed to one: nothing but the file of that name gets a line.
        let Ok(target) = root.strict(path.as_bytes(), OFlags::PATH) else { continue };
        if file_type(fd(&target)).during(step, path)? != FileType::RegularFile {
            continue;
        }
        write_all(&file, &content).during(step, path)?;
        rustix::fs::fchmod(&file, Mode::from_raw_mode(0o644)).during(step, path)?;
        drop(file);
        if readonly {
            mount::restrict(fd(&mount), RDONLY, false).during(step, path)?;
        }
        mount::attach(fd(&mount), fd(&target)).during(step, path)?;
    }
    Ok(())
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
