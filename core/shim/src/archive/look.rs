//! Looking at one path of a tree: what is there, or what is in the directory that is there.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use coble_protocol::{ArchiveDone, Failure, Look, Node, NodeKind, Step};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, RawDir, Stat};
use rustix::io::Errno;

use super::path::{self, Found};
use super::read::List;

/// Does the job in the tree.
pub(super) fn run(
    root: BorrowedFd<'_>,
    path: &[u8],
    follow: bool,
    what: Look,
    mut list: List,
) -> Result<ArchiveDone, Failure> {
    let fail = |errno: Errno| Failure::new(Step::ReadTree, errno.raw_os_error(), path);
    let found = path::resolve(root, path, follow).map_err(fail)?;
    match what {
        Look::Itself => {
            let node = match &found {
                Found::Entry(dir, name) => node(dir.as_fd(), name, Vec::new()),
                Found::Directory(dir) => rustix::fs::statat(dir, "", AtFlags::EMPTY_PATH)
                    .map(|stat| of_stat(&stat, Vec::new(), Vec::new())),
            };
            push(&mut list, &node.map_err(fail)?)?;
        }
        Look::Entries => {
            let directory = match found {
                Found::Directory(dir) => open(dir.as_fd(), b"."),
                Found::Entry(dir, name) => open(dir.as_fd(), &name),
            };
            entries(&directory.map_err(fail)?, path, &mut list)?;
        }
    }
    list.finish().map_err(super::failure)
}

fn open(parent: BorrowedFd<'_>, name: &[u8]) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(parent, name, flags, Mode::empty())
}

/// The most entries of a directory that is listed, and the most bytes of all their names and links: the caller has them all in memory.
const MAX_ENTRIES: usize = 1_000_000;
const MAX_TEXT: usize = 256 << 20;

/// What is left of both.
struct Room {
    entries: usize,
    text: usize,
}

impl Room {
    fn take(&mut self, node: &Node) -> Option<()> {
        self.entries = self.entries.checked_sub(1)?;
        self.text = self.text.checked_sub(node.name.len() + node.link.len())?;
        Some(())
    }
}

fn entries(directory: &OwnedFd, path: &[u8], list: &mut List) -> Result<(), Failure> {
    let fail = |errno: Errno| Failure::new(Step::ReadTree, errno.raw_os_error(), path);
    let mut room = Room { entries: MAX_ENTRIES, text: MAX_TEXT };
    let mut buffer = Vec::with_capacity(32 << 10);
    let mut reader = RawDir::new(directory, buffer.spare_capacity_mut());
    while let Some(entry) = reader.next() {
        let entry = entry.map_err(fail)?;
        let name = entry.file_name().to_bytes();
        if name == b"." || name == b".." {
            continue;
        }
        match node(directory.as_fd(), name, name.to_vec()) {
            Ok(node) => {
                room.take(&node).ok_or_else(|| {
                    Failure::rule(
                        Step::ListLimit,
                        path,
                        "the directory has more than 1000000 entries, or too long ones",
                    )
                })?;
                push(list, &node)?;
            }
            // Gone meanwhile.
            Err(Errno::NOENT) => {}
            Err(errno) => return Err(fail(errno)),
        }
    }
    Ok(())
}

fn node(parent: BorrowedFd<'_>, found: &[u8], name: Vec<u8>) -> Result<Node, Errno> {
    let stat = rustix::fs::statat(parent, found, AtFlags::SYMLINK_NOFOLLOW)?;
    let link = match FileType::from_raw_mode(stat.st_mode) {
        FileType::Symlink => match rustix::fs::readlinkat(parent, found, Vec::new()) {
            Ok(link) => link.into_bytes(),
            // Something else has taken its place.
            Err(Errno::INVAL) => Vec::new(),
            Err(errno) => return Err(errno),
        },
        _ => Vec::new(),
    };
    Ok(of_stat(&stat, name, link))
}

fn of_stat(stat: &Stat, name: Vec<u8>, link: Vec<u8>) -> Node {
    let kind = match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => NodeKind::Directory,
        FileType::Symlink => NodeKind::Symlink,
        FileType::Fifo => NodeKind::Fifo,
        FileType::Socket => NodeKind::Socket,
        FileType::CharacterDevice => NodeKind::CharacterDevice,
        FileType::BlockDevice => NodeKind::BlockDevice,
        _ => NodeKind::File,
    };
    Node {
        name,
        kind,
        mode: stat.st_mode & 0o7777,
        uid: stat.st_uid,
        gid: stat.st_gid,
        size: u64::try_from(stat.st_size).unwrap_or(0),
        mtime: stat.st_mtime,
        mtime_nanos: u32::try_from(stat.st_mtime_nsec).unwrap_or(0),
        link,
    }
}

fn push(list: &mut List, node: &Node) -> Result<(), Failure> {
    let record = node.encode().map_err(|_| Failure::rule(Step::Internal, "record", "cannot be written"))?;
    list.push(&[&record]).map_err(super::failure)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_has_a_bound_on_entries_and_on_their_text() {
        let node = Node {
            name: vec![b'n'; 10],
            kind: NodeKind::Symlink,
            mode: 0,
            uid: 0,
            gid: 0,
            size: 0,
            mtime: 0,
            mtime_nanos: 0,
            link: vec![b'l'; 5],
        };
        let fits = |entries, text| {
            let mut room = Room { entries, text };
            (0..).take_while(|_| room.take(&node).is_some()).count()
        };
        assert_eq!((fits(3, 1000), fits(1000, 3 * 15), fits(1000, 3 * 15 + 14)), (3, 3, 3));
    }
}
