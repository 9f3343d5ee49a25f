//! Removing whole trees by descriptors: no link is followed, no mount point crossed, and no depth of directories exhausts
//! stack, descriptors or memory.

use std::collections::VecDeque;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, RawDir, ResolveFlags};
use rustix::io::Errno;

use crate::error::{Act, Error};

/// Directories open at once. Deeper ones are found again through `..`, and recognised.
const OPEN_MAX: usize = 64;
/// Bytes of the names of subdirectories that are remembered for each open directory.
const NAMES_MAX: usize = 16 << 10;
/// How often a directory that was emptied and is not empty is looked at again.
const RETRIES: u32 = 16;

/// Removes trees. Keeps its buffer from one to the next.
pub struct Remover {
    buffer: Box<[MaybeUninit<u8>]>,
}

/// Subdirectories to remove, each as its name and the length of it.
struct Names {
    bytes: Vec<u8>,
    /// None had to be left out.
    complete: bool,
}

impl Names {
    fn push(&mut self, name: &[u8]) {
        match u8::try_from(name.len()) {
            Ok(length) if self.bytes.len() + name.len() < NAMES_MAX => {
                self.bytes.extend_from_slice(name);
                self.bytes.push(length);
            }
            _ => self.complete = false,
        }
    }

    fn pop(&mut self) -> Option<Vec<u8>> {
        let length = usize::from(self.bytes.pop()?);
        Some(self.bytes.split_off(self.bytes.len().saturating_sub(length)))
    }
}

/// A directory on the way down.
struct Level {
    fd: OwnedFd,
    /// Its name in the level above; none if that was forgotten.
    name: Option<Vec<u8>>,
    names: Names,
    /// The directory has to be read, and whether it was before.
    unread: bool,
    again: bool,
    retries: u32,
}

impl Level {
    fn new(fd: OwnedFd, name: Option<Vec<u8>>) -> Level {
        let names = Names { bytes: Vec::new(), complete: true };
        Level { fd, name, names, unread: true, again: false, retries: 0 }
    }
}

fn error(errno: Errno, name: &[u8]) -> Error {
    Error::system(Act::Remove, errno, name)
}

/// Opens a directory. `Err(NOTDIR)` if it is something else, a link included.
fn open(parent: BorrowedFd<'_>, name: &[u8]) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH
        | ResolveFlags::NO_SYMLINKS
        | ResolveFlags::NO_MAGICLINKS
        | ResolveFlags::NO_XDEV;
    let attempt = || match rustix::fs::openat2(parent, name, flags, Mode::empty(), resolve) {
        Err(Errno::LOOP) => Err(Errno::NOTDIR),
        Err(Errno::INTR | Errno::AGAIN) => rustix::fs::openat2(parent, name, flags, Mode::empty(), resolve),
        other => other,
    };
    match attempt() {
        // Without CAP_DAC_OVERRIDE one's own directories may still be locked. The name was just seen to be a directory; that mode is the
        // most that a change of it in between can get.
        Err(Errno::ACCESS) => {
            rustix::fs::chmodat(parent, name, Mode::RWXU, AtFlags::empty())?;
            attempt()
        }
        other => other,
    }
}

impl Default for Remover {
    fn default() -> Remover {
        Remover::new()
    }
}

impl Remover {
    /// Makes one.
    pub fn new() -> Remover {
        Remover { buffer: vec![MaybeUninit::uninit(); 64 << 10].into_boxed_slice() }
    }

    /// Removes the tree or the file of this name, a single component. One that does not exist is no error.
    pub fn remove(&mut self, parent: BorrowedFd<'_>, name: &[u8]) -> Result<(), Error> {
        if name.is_empty() || name == b"." || name == b".." || name.contains(&b'/') {
            return Err(error(Errno::INVAL, name));
        }
        let Some(top) = self.enter(parent, name)? else { return Ok(()) };
        let device = rustix::fs::fstat(&top).map_err(|errno| error(errno, name))?.st_dev;
        let mut levels = VecDeque::from([Level::new(top, Some(name.to_vec()))]);
        // Inodes of the directories above `levels` that are not open.
        let mut deep: Vec<u64> = Vec::new();
        while let Some(level) = levels.back_mut() {
            if level.unread {
                self.read(level)?;
            }
            if let Some(child) = level.names.pop() {
                if let Some(fd) = self.enter(level.fd.as_fd(), &child)? {
                    levels.push_back(Level::new(fd, Some(child)));
                    if levels.len() > OPEN_MAX
                        && let Some(far) = levels.pop_front()
                    {
                        deep.push(rustix::fs::fstat(&far.fd).map_err(|errno| error(errno, name))?.st_ino);
                        // What was its child can only be found by reading it again.
                        if let Some(first) = levels.front_mut() {
                            first.name = None;
                        }
                    }
                }
                continue;
            }
            if !level.names.complete {
                level.unread = true;
                continue;
            }
            let Some(done) = levels.pop_back() else { break };
            if let Some(above) = levels.back_mut() {
                let child = done.name.as_deref().unwrap_or_default();
                match rustix::fs::unlinkat(&above.fd, child, AtFlags::REMOVEDIR) {
                    Ok(()) | Err(Errno::NOENT) => {}
                    Err(Errno::NOTEMPTY | Errno::EXIST) if above.retries < RETRIES => {
                        above.retries += 1;
                        above.names.push(child);
                    }
                    Err(errno) => return Err(error(errno, child)),
                }
            } else if let Some(inode) = deep.pop() {
                let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
                let fd = rustix::fs::openat(&done.fd, "..", flags, Mode::empty())
                    .map_err(|errno| error(errno, name))?;
                let stat = rustix::fs::fstat(&fd).map_err(|errno| error(errno, name))?;
                // Somebody moved the directory while it was being emptied: that way lies another tree.
                if (stat.st_dev, stat.st_ino) != (device, inode) {
                    return Err(error(Errno::STALE, name));
                }
                levels.push_back(Level::new(fd, if deep.is_empty() { Some(name.to_vec()) } else { None }));
            }
        }
        match rustix::fs::unlinkat(parent, name, AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(errno) => Err(error(errno, name)),
        }
    }

    /// Opens a directory to empty it. If it is none, removes it at once and returns None.
    fn enter(&mut self, parent: BorrowedFd<'_>, name: &[u8]) -> Result<Option<OwnedFd>, Error> {
        match open(parent, name) {
            Ok(fd) => Ok(Some(fd)),
            Err(Errno::NOENT) => Ok(None),
            Err(Errno::NOTDIR) => match rustix::fs::unlinkat(parent, name, AtFlags::empty()) {
                Ok(()) | Err(Errno::NOENT) => Ok(None),
                Err(errno) => Err(error(errno, name)),
            },
            Err(errno) => Err(error(errno, name)),
        }
    }

    /// Reads a directory from its start: removes all but directories, and remembers those.
    fn read(&mut self, level: &mut Level) -> Result<(), Error> {
        let Level { fd, name: own, names, unread, again, .. } = level;
        let fd = &*fd;
        names.complete = true;
        names.bytes.clear();
        *unread = false;
        if std::mem::replace(again, true) {
            rustix::fs::seek(fd, rustix::fs::SeekFrom::Start(0)).map_err(|errno| error(errno, b""))?;
        }
        let mut entries = RawDir::new(fd, &mut self.buffer);
        while let Some(entry) = entries.next() {
            let entry = entry.map_err(|errno| error(errno, own.as_deref().unwrap_or_default()))?;
            let name = entry.file_name().to_bytes();
            if name == b"." || name == b".." {
                continue;
            }
            if entry.file_type() == FileType::Directory {
                names.push(name);
                continue;
            }
            let unlink = || rustix::fs::unlinkat(fd, name, AtFlags::empty());
            let result = match unlink() {
                Err(Errno::ACCESS) => rustix::fs::fchmod(fd, Mode::RWXU).and_then(|()| unlink()),
                other => other,
            };
            match result {
                Ok(()) | Err(Errno::NOENT) => {}
                Err(Errno::ISDIR) => names.push(name),
                Err(errno) => return Err(error(errno, name)),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};

    fn dir(path: &std::path::Path) -> OwnedFd {
        fs::File::open(path).unwrap().into()
    }

    fn remove(parent: &std::path::Path, name: &str) -> Result<(), Error> {
        Remover::new().remove(dir(parent).as_fd(), name.as_bytes())
    }

    #[test]
    fn removes_trees_files_and_links_but_not_their_targets() {
        let temp = tempfile::tempdir().unwrap();
        let canary = temp.path().join("canary");
        fs::create_dir(&canary).unwrap();
        fs::write(canary.join("file"), b"alive").unwrap();
        let work = temp.path().join("work");
        fs::create_dir_all(work.join("t/a/b/c")).unwrap();
        symlink(&canary, work.join("t/a/link")).unwrap();
        symlink(&canary, work.join("top")).unwrap();
        fs::write(work.join("file"), b"").unwrap();
        for name in ["t", "top", "file", "missing"] {
            remove(&work, name).unwrap();
        }
        assert_eq!(fs::read_dir(&work).unwrap().count(), 0);
        assert_eq!(fs::read(canary.join("file")).unwrap(), b"alive");
    }

    #[test]
    fn names_are_single_components() {
        let temp = tempfile::tempdir().unwrap();
        fs::create_dir(temp.path().join("d")).unwrap();
        for name in ["", ".", "..", "d/x", "/"] {
            assert!(remove(&temp.path().join("d"), name).is_err(), "{name}");
        }
        assert!(temp.path().join("d").exists());
    }

    #[test]
    fn depth_and_width_have_no_bound() {
        let temp = tempfile::tempdir().unwrap();
        // Deeper than any path can say, and wide enough to overflow the list of names at several levels.
        let mut fd = dir(temp.path());
        for level in 0..400 {
            let name = if level == 0 { "top" } else { "a-directory-with-a-rather-long-name" };
            rustix::fs::mkdirat(&fd, name, Mode::RWXU).unwrap();
            let flags = OFlags::RDONLY | OFlags::DIRECTORY;
            let next = rustix::fs::openat(&fd, name, flags, Mode::empty()).unwrap();
            if level % 200 == 10 {
                for n in 0..500 {
                    let name = format!("wide-{n:040}");
                    rustix::fs::mkdirat(&next, &name, Mode::RWXU).unwrap();
                    rustix::fs::mkdirat(&next, format!("{name}/in"), Mode::RWXU).unwrap();
                }
            }
            fd = next;
        }
        remove(temp.path(), "top").unwrap();
        assert_eq!(fs::read_dir(temp.path()).unwrap().count(), 0);
    }

    #[test]
    fn locked_directories_are_removed() {
        let temp = tempfile::tempdir().unwrap();
        fs::create_dir_all(temp.path().join("work/work/x")).unwrap();
        fs::write(temp.path().join("work/work/f"), b"").unwrap();
        fs::set_permissions(temp.path().join("work/work"), fs::Permissions::from_mode(0o000)).unwrap();
        fs::set_permissions(temp.path().join("work"), fs::Permissions::from_mode(0o555)).unwrap();
        remove(temp.path(), "work").unwrap();
        assert!(!temp.path().join("work").exists());
    }
}
