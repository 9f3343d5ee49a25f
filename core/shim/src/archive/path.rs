//! Reading one path of a tree. Its links are what a container made of them: the kernel follows those on the way inside the tree only, and the last one is followed here,
//! one link at a time, each from the root of the tree.

use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use coble_layer::{Form, One, PackOptions};
use coble_protocol::{ArchiveDone, Failure, PathForm, Step};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use super::{failure, read::done};

/// The most symbolic links at the end of a path, as in the kernel.
const MAX_LINKS: usize = 40;
/// The longest path, as in the kernel.
const PATH_MAX: usize = 4095;
const CHUNK: usize = 64 << 10;

/// Where a path leads.
#[derive(Debug)]
pub(super) enum Found {
    /// To a name in a directory.
    Entry(OwnedFd, Vec<u8>),
    /// To a directory that has no name there: the root, or `..` of a link.
    Directory(OwnedFd),
}

pub(super) fn directory(root: BorrowedFd<'_>, path: &[u8]) -> Result<OwnedFd, Errno> {
    let path = if path.is_empty() { b"/" } else { path };
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    crate::root::open(root, path, OFlags::PATH | OFlags::DIRECTORY, resolve)
}

fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|&byte| byte == b'/') {
        Some(at) => (path.get(..=at).unwrap_or_default(), path.get(at + 1..).unwrap_or_default()),
        None => (b"", path),
    }
}

pub(super) fn resolve(root: BorrowedFd<'_>, path: &[u8], follow: bool) -> Result<Found, Errno> {
    let mut path = path.to_vec();
    for _ in 0..=MAX_LINKS {
        let (parent, name) = split(&path);
        if matches!(name, b"" | b"." | b"..") {
            return directory(root, &path).map(Found::Directory);
        }
        let dir = directory(root, parent)?;
        let stat = rustix::fs::statat(&dir, name, AtFlags::SYMLINK_NOFOLLOW)?;
        if !follow || FileType::from_raw_mode(stat.st_mode) != FileType::Symlink {
            return Ok(Found::Entry(dir, name.to_vec()));
        }
        let target = rustix::fs::readlinkat(&dir, name, Vec::new())?.into_bytes();
        path = if target.starts_with(b"/") { target } else { [parent, &target].concat() };
        if path.len() > PATH_MAX {
            return Err(Errno::NAMETOOLONG);
        }
    }
    Err(Errno::LOOP)
}

/// Does the job in the tree.
pub(super) fn run<W: Write>(
    root: BorrowedFd<'_>,
    path: &[u8],
    (follow, only_directory): (bool, bool),
    form: PathForm,
    mut output: W,
) -> Result<ArchiveDone, Failure> {
    let fail = |errno: Errno| Failure::new(Step::ReadTree, errno.raw_os_error(), path);
    let found = resolve(root, path, follow).map_err(fail)?;
    if only_directory && let Found::Entry(dir, name) = &found {
        let stat = rustix::fs::statat(dir, name.as_slice(), AtFlags::SYMLINK_NOFOLLOW).map_err(fail)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
            return Err(fail(Errno::NOTDIR));
        }
    }
    match form {
        PathForm::Tar { name, max_bytes } => {
            let opened;
            let one = match &found {
                // Without a name for it only what is in it is written.
                Found::Entry(dir, entry) if name.is_empty() => {
                    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                    opened = rustix::fs::openat(dir, entry.as_slice(), flags, Mode::empty()).map_err(fail)?;
                    One::Directory(opened.as_fd())
                }
                Found::Entry(dir, entry) => One::Entry(dir.as_fd(), entry),
                Found::Directory(dir) => One::Directory(dir.as_fd()),
            };
            let options = PackOptions { form: Form::Tree, userxattr: false, max_bytes };
            let packed = coble_layer::pack_one(one, &name, output, options).map_err(failure)?;
            Ok(done(packed))
        }
        PathForm::Content { max_bytes } => match found {
            Found::Directory(_) => Err(fail(Errno::ISDIR)),
            Found::Entry(dir, name) => {
                let file = regular(&dir, &name).map_err(fail)?;
                let bytes = content(&file, max_bytes, &mut output, path)?;
                Ok(ArchiveDone { entries: 1, content_bytes: bytes, ..ArchiveDone::default() })
            }
        },
    }
}

/// Opens a regular file, and nothing else: opening a device does something, and opening a pipe waits.
fn regular(dir: &OwnedFd, name: &[u8]) -> Result<OwnedFd, Errno> {
    let check = |mode| match FileType::from_raw_mode(mode) {
        FileType::RegularFile => Ok(()),
        FileType::Directory => Err(Errno::ISDIR),
        _ => Err(Errno::INVAL),
    };
    check(rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW)?.st_mode)?;
    // Whoever puts another thing there now gets no further: nothing is followed or waited for, and devices cannot be opened in the view.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = rustix::fs::openat(dir, name, flags, Mode::empty())?;
    check(rustix::fs::fstat(&file)?.st_mode)?;
    Ok(file)
}

fn content<W: Write>(file: &OwnedFd, most: u64, output: &mut W, path: &[u8]) -> Result<u64, Failure> {
    let fail = |errno: Errno| Failure::new(Step::ReadTree, errno.raw_os_error(), path);
    let wrong = |error: std::io::Error| {
        Failure::new(Step::WriteOutput, error.raw_os_error().unwrap_or(libc::EIO), "")
    };
    let mut buffer = vec![0; CHUNK];
    let mut total = 0u64;
    loop {
        let count = match rustix::io::read(file, &mut buffer[..]) {
            Ok(0) => break,
            Ok(count) => count,
            Err(Errno::INTR) => continue,
            Err(errno) => return Err(fail(errno)),
        };
        total += count as u64;
        if total > most {
            return Err(fail(Errno::FBIG));
        }
        output.write_all(buffer.get(..count).unwrap_or_default()).map_err(wrong)?;
    }
    output.flush().map_err(wrong)?;
    Ok(total)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    #[test]
    fn no_path_leads_out_of_the_tree() {
        let scratch = tempfile::tempdir().unwrap();
        let (inside, outside) = (scratch.path().join("root"), scratch.path().join("secret"));
        fs::create_dir_all(inside.join("a")).unwrap();
        fs::write(&outside, "outside").unwrap();
        fs::write(inside.join("secret"), "inside").unwrap();
        symlink("../../../secret", inside.join("a/up")).unwrap();
        symlink(&outside, inside.join("a/absolute")).unwrap();
        symlink("loop", inside.join("loop")).unwrap();
        symlink("..", inside.join("a/parent")).unwrap();
        let root = rustix::fs::open(&inside, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty()).unwrap();
        let read = |path: &[u8], most| {
            let mut out = Vec::new();
            let form = PathForm::Content { max_bytes: most };
            run(root.as_fd(), path, (true, false), form, &mut out)
                .map(|_| out)
                .map_err(|failure| failure.errno)
        };
        assert_eq!(read(b"/a/up", 6), Ok(b"inside".to_vec()));
        assert_eq!(read(b"a/parent/secret", 6), Ok(b"inside".to_vec()));
        assert_eq!(read(b"/a/up", 5), Err(libc::EFBIG));
        assert_eq!(read(b"/a/absolute", 9), Err(libc::ENOENT));
        assert_eq!(read(b"/loop", 9), Err(libc::ELOOP));
        assert_eq!(read(b"/a/parent", 9), Err(libc::EISDIR));
        assert_eq!(read(b"/", 9), Err(libc::EISDIR));
    }
}
