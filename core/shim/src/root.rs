//! Paths of the container's root. Whatever the image or a running container makes of its links, no path leads out of the root
//! and none goes through a link of procfs.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::{Errno, Result};

/// The most symbolic links of one path, as in the kernel.
const MAX_LINKS: usize = 40;

/// The root directory of the container, which is also the root of this process.
pub(crate) struct Root(OwnedFd);

impl Root {
    /// The root of this process.
    pub(crate) fn open() -> Result<Root> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        rustix::fs::openat(rustix::fs::CWD, "/", flags, Mode::empty()).map(Root)
    }

    /// Opens a path; symbolic links are followed inside the root.
    pub(crate) fn follow(&self, path: &[u8], flags: OFlags) -> Result<OwnedFd> {
        open(self.0.as_fd(), path, flags, ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS)
    }

    /// Opens a path without a symbolic link in it. One that has one fails with `ELOOP`.
    pub(crate) fn strict(&self, path: &[u8], flags: OFlags) -> Result<OwnedFd> {
        let flags = flags | OFlags::NOFOLLOW;
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        // With O_PATH and O_NOFOLLOW the last component may be a link in spite of RESOLVE_NO_SYMLINKS.
        let fd = open(self.0.as_fd(), path, flags, resolve)?;
        match file_type(fd.as_fd())? {
            FileType::Symlink => Err(Errno::LOOP),
            _ => Ok(fd),
        }
    }

    /// Opens a directory and makes what is missing on the way, with mode 0755. Links are followed inside the root, also to places that
    /// are missing.
    pub(crate) fn make_directory(&self, path: &[u8]) -> Result<OwnedFd> {
        self.walk(path, FileType::Directory)
    }

    /// As [`Root::make_directory`] for a file, which is made empty if it is missing. It is opened as a path only.
    pub(crate) fn make_file(&self, path: &[u8]) -> Result<OwnedFd> {
        self.walk(path, FileType::RegularFile)
    }

    /// One component after the other, each opened by its parent's descriptor, so that nothing that happens meanwhile inside the root can
    /// lead out of it. The kernel has no call that also makes what is missing.
    fn walk(&self, path: &[u8], wanted: FileType) -> Result<OwnedFd> {
        let path_flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut pending: Vec<Vec<u8>> = components(path);
        let mut entered: Vec<OwnedFd> = Vec::new();
        let mut links = 0;
        while let Some(name) = pending.pop() {
            if name == b".." {
                entered.pop();
                continue;
            }
            let parent = entered.last().unwrap_or(&self.0).as_fd();
            let last = pending.is_empty();
            let file = wanted == FileType::RegularFile && last;
            let found = match rustix::fs::openat(parent, &name[..], path_flags, Mode::empty()) {
                Err(Errno::NOENT) => {
                    let mode = Mode::from_raw_mode(if file { 0o644 } else { 0o755 });
                    let made = if file {
                        rustix::fs::mknodat(parent, &name[..], FileType::RegularFile, mode, 0)
                    } else {
                        rustix::fs::mkdirat(parent, &name[..], mode)
                    };
                    match made {
                        Ok(()) | Err(Errno::EXIST) => {}
                        Err(errno) => return Err(errno),
                    }
                    rustix::fs::openat(parent, &name[..], path_flags, Mode::empty())?
                }
                found => found?,
            };
            match file_type(found.as_fd())? {
                FileType::Symlink => {
                    links += 1;
                    // The links of procfs are not what they say.
                    let magic = rustix::fs::fstatfs(&found)?.f_type == rustix::fs::PROC_SUPER_MAGIC;
                    if links > MAX_LINKS || magic {
                        return Err(Errno::LOOP);
                    }
                    let target = rustix::fs::readlinkat(&found, "", Vec::new())?;
                    let target = target.as_bytes();
                    if target.first() == Some(&b'/') {
                        entered.clear();
                    }
                    pending.extend(components(target));
                }
                FileType::Directory => entered.push(found),
                _ if file => return Ok(found),
                _ => return Err(Errno::NOTDIR),
            }
        }
        match (wanted, entered.pop()) {
            (FileType::RegularFile, _) => Err(Errno::ISDIR),
            (_, Some(directory)) => Ok(directory),
            (_, None) => self.0.try_clone().map_err(|_| Errno::MFILE),
        }
    }
}

impl AsFd for Root {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// The components of a path, last one first.
fn components(path: &[u8]) -> Vec<Vec<u8>> {
    path.split(|byte| *byte == b'/')
        .rev()
        .filter(|name| !name.is_empty() && *name != b".")
        .map(<[u8]>::to_vec)
        .collect()
}

/// openat2, again when the kernel asks for it because something was renamed meanwhile.
pub(crate) fn open(
    directory: BorrowedFd<'_>,
    path: &[u8],
    flags: OFlags,
    resolve: ResolveFlags,
) -> Result<OwnedFd> {
    for _ in 0..64 {
        match rustix::fs::openat2(directory, path, flags | OFlags::CLOEXEC, Mode::empty(), resolve) {
            Err(Errno::AGAIN | Errno::INTR) => {}
            result => return result,
        }
    }
    Err(Errno::AGAIN)
}

/// The type of an open file.
pub(crate) fn file_type(fd: BorrowedFd<'_>) -> Result<FileType> {
    rustix::fs::statat(fd, "", AtFlags::EMPTY_PATH).map(|stat| FileType::from_raw_mode(stat.st_mode))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    fn root(directory: &std::path::Path) -> Root {
        Root(rustix::fs::open(directory, OFlags::PATH | OFlags::DIRECTORY, Mode::empty()).unwrap())
    }

    #[test]
    fn nothing_leads_out_of_the_root() {
        let scratch = tempfile::tempdir().unwrap();
        let (inside, outside) = (scratch.path().join("root"), scratch.path().join("canary"));
        fs::create_dir_all(inside.join("a/b")).unwrap();
        fs::create_dir(&outside).unwrap();
        symlink(&outside, inside.join("absolute")).unwrap();
        symlink("../../../../canary", inside.join("a/b/relative")).unwrap();
        symlink("loop", inside.join("loop")).unwrap();
        symlink("../run/missing/file", inside.join("a/dangling")).unwrap();
        let root = root(&inside);

        root.make_file(b"/absolute/x").unwrap();
        root.make_directory(b"/a/b/relative/y/../z").unwrap();
        root.make_directory(b"../../../canary2").unwrap();
        root.make_file(b"/a/dangling").unwrap();
        assert!(fs::read_dir(&outside).unwrap().next().is_none());
        let text = outside.strip_prefix("/").unwrap();
        assert!(inside.join(text).join("x").is_file());
        assert!(inside.join("canary/z").is_dir() && inside.join("canary2").is_dir());
        assert!(inside.join("run/missing/file").is_file());
        assert_eq!(root.make_directory(b"/loop/x").unwrap_err(), Errno::LOOP);
        assert_eq!(root.make_directory(b"/run/missing/file/x").unwrap_err(), Errno::NOTDIR);
        assert_eq!(root.make_file(b"/a/b").unwrap_err(), Errno::ISDIR);
        assert_eq!(root.make_file(b"/..").unwrap_err(), Errno::ISDIR);
    }

    #[test]
    fn strict_paths_have_no_links() {
        let scratch = tempfile::tempdir().unwrap();
        fs::create_dir(scratch.path().join("real")).unwrap();
        symlink("real", scratch.path().join("link")).unwrap();
        let root = root(scratch.path());
        assert!(root.strict(b"/real", OFlags::PATH).is_ok());
        assert_eq!(root.strict(b"/link", OFlags::PATH).unwrap_err(), Errno::LOOP);
        assert_eq!(root.strict(b"/link/x", OFlags::PATH).unwrap_err(), Errno::LOOP);
        assert_eq!(root.strict(b"/none", OFlags::PATH).unwrap_err(), Errno::NOENT);
    }
}
