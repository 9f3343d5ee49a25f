//! The file tree of an image that is being put together: which path is what, and where on the host it comes from.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{FileType, Stat};

use crate::error::{Call, Error, ErrorKind, Result};

/// The most entries of an image.
const MAX_ENTRIES: usize = 2_000_000;
/// The most links that are followed for one path, as in the kernel.
const MAX_LINKS: usize = 40;

/// An entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Node {
    Directory {
        mode: u32,
    },
    /// A file of the host, by a path without links.
    File {
        host: PathBuf,
        mode: u32,
        mtime: i64,
        size: u64,
        /// Device and inode; a file with several names is written once.
        identity: (u64, u64),
    },
    Link(PathBuf),
    /// A file of ours.
    Text {
        content: Vec<u8>,
        mode: u32,
    },
}

/// Entries by path relative to the root. Parents sort before what is in them.
#[derive(Debug, Default)]
pub(super) struct Tree {
    pub(super) nodes: BTreeMap<PathBuf, Node>,
}

/// What a path of the host leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Reached {
    File,
    Directory,
}

impl Tree {
    /// How many bytes its files of the host have, each once.
    pub(super) fn bytes(&self) -> u64 {
        let files = self.nodes.values().filter_map(|node| match node {
            Node::File { size, identity, .. } => Some((*identity, *size)),
            _ => None,
        });
        files.collect::<BTreeMap<_, _>>().into_values().sum()
    }

    /// Adds a path of the host at the same place, with every link on the way. Returns where it leads, without links. What is in a directory is not added.
    pub(super) fn add_host(&mut self, path: &Path) -> Result<(PathBuf, Reached)> {
        let mut todo: Vec<PathBuf> = parts(path)?;
        let mut at = PathBuf::new();
        let mut links = 0;
        while let Some(part) = todo.pop() {
            if part == Path::new("..") {
                at.pop();
                continue;
            }
            let next = at.join(&part);
            let host = Path::new("/").join(&next);
            let stat = rustix::fs::lstat(&host).call("stat", &host)?;
            match FileType::from_raw_mode(stat.st_mode) {
                FileType::Directory => {
                    self.insert(next.clone(), Node::Directory { mode: directory_mode(&stat) })?;
                    at = next;
                }
                FileType::Symlink => {
                    links += 1;
                    if links > MAX_LINKS {
                        return Err(Error::syscall("resolve", path, libc::ELOOP));
                    }
                    let target = read_link(&host)?;
                    if target.is_absolute() {
                        at = PathBuf::new();
                    }
                    todo.extend(parts(&target)?);
                    self.insert(next, Node::Link(target))?;
                }
                FileType::RegularFile if todo.is_empty() => {
                    self.insert(next.clone(), file(&host, &stat))?;
                    return Ok((host, Reached::File));
                }
                FileType::RegularFile => return Err(Error::syscall("resolve", path, libc::ENOTDIR)),
                _ => {
                    return Err(Error::new(
                        ErrorKind::InvalidArgument,
                        format!("\"{}\" is neither a file nor a directory", path.display()),
                    )
                    .with_object(path.to_string_lossy()));
                }
            }
        }
        Ok((Path::new("/").join(at), Reached::Directory))
    }

    /// Adds a file of the host, given without links, at another place. Returns the place, without links.
    pub(super) fn add_file_at(&mut self, host: &Path, target: &Path) -> Result<PathBuf> {
        let stat = rustix::fs::lstat(host).call("stat", host)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(Error::new(
                ErrorKind::InvalidArgument,
                format!("\"{}\" is not a regular file", host.display()),
            )
            .with_object(host.to_string_lossy()));
        }
        let place = self.place(target)?;
        self.insert(place.clone(), file(host, &stat))?;
        Ok(Path::new("/").join(place))
    }

    /// Makes the directories above a target, through links of the image, and returns the target without links.
    pub(super) fn place(&mut self, target: &Path) -> Result<PathBuf> {
        let mut todo = parts(target)?;
        let mut at = PathBuf::new();
        let mut links = 0;
        while let Some(part) = todo.pop() {
            if part == Path::new("..") {
                at.pop();
                continue;
            }
            let next = at.join(&part);
            match self.nodes.get(&next) {
                Some(Node::Link(link)) => {
                    links += 1;
                    if links > MAX_LINKS {
                        return Err(Error::syscall("resolve", target, libc::ELOOP));
                    }
                    if link.is_absolute() {
                        at = PathBuf::new();
                    }
                    todo.extend(parts(link)?);
                }
                _ if todo.is_empty() => return Ok(next),
                Some(Node::Directory { .. }) => at = next,
                None => {
                    self.insert(next.clone(), Node::Directory { mode: 0o755 })?;
                    at = next;
                }
                Some(_) => return Err(conflict(&next)),
            }
        }
        Ok(at)
    }

    /// Adds an entry. The same path can be given twice for the same kind of thing, and the later one counts.
    pub(super) fn insert(&mut self, path: PathBuf, node: Node) -> Result<()> {
        match (self.nodes.get(&path), &node) {
            (Some(Node::Directory { .. }), Node::Directory { .. }) => return Ok(()),
            (None | Some(Node::Link(_)), Node::Link(_)) | (None, _) => {}
            (Some(Node::File { .. } | Node::Text { .. }), Node::File { .. } | Node::Text { .. }) => {}
            _ => return Err(conflict(&path)),
        }
        self.nodes.insert(path, node);
        if self.nodes.len() > MAX_ENTRIES {
            return Err(Error::new(
                ErrorKind::LimitExceeded,
                format!("more than {MAX_ENTRIES} files and directories"),
            ));
        }
        Ok(())
    }

    /// Adds an entry unless its path is taken, with the directories above it.
    pub(super) fn insert_if_absent(&mut self, path: &str, node: Node) -> Result<()> {
        let place = self.place(Path::new(path))?;
        if !self.nodes.contains_key(&place) {
            self.insert(place, node)?;
        }
        Ok(())
    }

    /// Whether a path leads to a file, through links of the image.
    pub(super) fn has_file(&self, path: &Path) -> bool {
        let Ok(mut todo) = parts(path) else { return false };
        let mut at = PathBuf::new();
        let mut links = 0;
        while let Some(part) = todo.pop() {
            if part == Path::new("..") {
                at.pop();
                continue;
            }
            let next = at.join(&part);
            match self.nodes.get(&next) {
                Some(Node::Link(link)) if links < MAX_LINKS => {
                    links += 1;
                    if link.is_absolute() {
                        at = PathBuf::new();
                    }
                    let Ok(more) = parts(link) else { return false };
                    todo.extend(more);
                }
                Some(Node::Directory { .. }) => at = next,
                Some(Node::File { .. } | Node::Text { .. }) => return todo.is_empty(),
                Some(Node::Link(_)) | None => return false,
            }
        }
        false
    }

    /// Adds all of another tree, except for files that are there already. False, and nothing added, if a path would be two different things.
    pub(super) fn merge(&mut self, other: Tree) -> bool {
        let fits = |(path, node): (&PathBuf, &Node)| match (self.nodes.get(path), node) {
            (None, _) | (Some(Node::Directory { .. }), Node::Directory { .. }) => true,
            (Some(Node::Link(own)), Node::Link(link)) => own == link,
            (Some(Node::File { .. } | Node::Text { .. }), Node::File { .. } | Node::Text { .. }) => true,
            _ => false,
        };
        let all = other.nodes.iter().all(fits) && self.nodes.len() + other.nodes.len() <= MAX_ENTRIES;
        if all {
            for (path, node) in other.nodes {
                self.nodes.entry(path).or_insert(node);
            }
        }
        all
    }

    /// The newest time of a file, seconds since the epoch.
    pub(super) fn newest(&self) -> i64 {
        let times =
            self.nodes.values().map(|node| if let Node::File { mtime, .. } = node { *mtime } else { 0 });
        times.max().unwrap_or(0)
    }
}

fn conflict(path: &Path) -> Error {
    let shown = format!("/{}", path.display());
    Error::new(ErrorKind::InvalidArgument, format!("\"{shown}\" would be two different things in the image"))
        .with_object(shown)
}

/// The components of a path, last one first; the root and `.` are left out.
fn parts(path: &Path) -> Result<Vec<PathBuf>> {
    let parts = path.components().rev().filter_map(|part| match part {
        Component::Normal(name) => Some(PathBuf::from(name)),
        Component::ParentDir => Some(PathBuf::from("..")),
        _ => None,
    });
    Ok(parts.collect())
}

pub(super) fn read_link(path: &Path) -> Result<PathBuf> {
    let target = rustix::fs::readlink(path, Vec::new()).call("readlink", path)?;
    Ok(PathBuf::from(OsStr::from_bytes(target.to_bytes())))
}

/// A file without set-id bits.
pub(super) fn file(host: &Path, stat: &Stat) -> Node {
    Node::File {
        host: host.to_owned(),
        mode: stat.st_mode & 0o777,
        mtime: stat.st_mtime,
        size: u64::try_from(stat.st_size).unwrap_or(0),
        identity: (stat.st_dev, stat.st_ino),
    }
}

/// A directory's mode without set-id bits, with the sticky bit.
pub(super) fn directory_mode(stat: &Stat) -> u32 {
    stat.st_mode & 0o1777
}
