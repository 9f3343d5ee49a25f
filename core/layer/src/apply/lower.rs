//! What the layers below show, as the overlay file system would merge them.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags, Stat};
use rustix::io::Errno;

use crate::path;

/// Whether an inode is an overlay whiteout.
pub(crate) fn is_whiteout(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice && stat.st_rdev == 0
}

/// The attribute that makes a directory hide what is below it.
pub(super) fn opaque_name(userxattr: bool) -> &'static str {
    if userxattr { "user.overlay.opaque" } else { "trusted.overlay.opaque" }
}

/// Whether a directory has it.
pub(crate) fn is_opaque(dir: BorrowedFd<'_>, userxattr: bool) -> Result<bool, Errno> {
    let mut value = [0; 1];
    match rustix::fs::fgetxattr(dir, opaque_name(userxattr), &mut value[..]) {
        Ok(length) => Ok(length == 1 && value == *b"y"),
        Err(Errno::NODATA | Errno::OPNOTSUPP | Errno::RANGE) => Ok(false),
        Err(errno) => Err(errno),
    }
}

/// Opens a directory to read its attributes, following nothing.
pub(super) fn open_dir(parent: BorrowedFd<'_>, name: &[u8]) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(parent, name, flags, Mode::empty())
}

pub(super) fn stat(parent: BorrowedFd<'_>, name: &[u8]) -> Result<Stat, Errno> {
    rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW)
}

/// Directories of several layers that are open at once for one path. There may be hundreds of layers, and not so many descriptors.
const OPEN_MAX: usize = 16;
/// The most bytes of a path that is opened in one step.
const STEP: usize = 2048;

/// The layers below, as the caller gives them.
#[derive(Debug, Default)]
pub struct Layers(Option<(OwnedFd, Vec<String>)>);

impl Layers {
    /// No layer at all.
    pub fn none() -> Layers {
        Layers(None)
    }

    /// Layers by their names in one directory, uppermost first. Nobody changes them.
    pub fn new(directory: OwnedFd, names: Vec<String>) -> Layers {
        Layers((!names.is_empty()).then_some((directory, names)))
    }

    /// The directory that has the names.
    pub fn directory(&self) -> Option<BorrowedFd<'_>> {
        self.0.as_ref().map(|(directory, _)| directory.as_fd())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    fn count(&self) -> usize {
        self.0.as_ref().map_or(0, |(_, names)| names.len())
    }

    /// Opens a directory of one of them by its canonical path, following nothing.
    fn open(&self, layer: usize, path: &[u8]) -> Result<OwnedFd, Errno> {
        let (directory, names) = self.0.as_ref().ok_or(Errno::NOENT)?;
        let mut dir = enter(directory.as_fd(), names.get(layer).ok_or(Errno::NOENT)?.as_bytes())?;
        let mut rest = path;
        while !rest.is_empty() {
            let (step, after) = match rest.get(..STEP) {
                None => (rest, &[][..]),
                Some(head) => {
                    // Names are shorter than a step, so there is an end of one.
                    let end = head.iter().rposition(|byte| *byte == b'/').ok_or(Errno::NAMETOOLONG)?;
                    (rest.get(..end).unwrap_or_default(), rest.get(end + 1..).unwrap_or_default())
                }
            };
            dir = enter(dir.as_fd(), step)?;
            rest = after;
        }
        Ok(dir)
    }
}

fn enter(dir: BorrowedFd<'_>, path: &[u8]) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let resolve = ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS | ResolveFlags::BENEATH;
    rustix::fs::openat2(dir, path, flags, Mode::empty(), resolve)
}

/// A directory of a layer: one that stays open, or one that was opened for this.
pub(super) enum Dir<'a> {
    Kept(BorrowedFd<'a>),
    Own(OwnedFd),
}

impl AsFd for Dir<'_> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Dir::Kept(fd) => *fd,
            Dir::Own(fd) => fd.as_fd(),
        }
    }
}

/// A layer that has a directory, and that, if it is one of the few that stay open.
struct Part {
    layer: usize,
    fd: Option<OwnedFd>,
}

/// What several layers have under one path, uppermost first.
#[derive(Default)]
struct Merged(Vec<Part>);

impl Merged {
    fn push(&mut self, layer: usize, fd: OwnedFd) {
        let fd = (self.0.len() < OPEN_MAX).then_some(fd);
        self.0.push(Part { layer, fd });
    }
}

/// The layers below, uppermost first.
pub(crate) struct Lower {
    layers: Layers,
    userxattr: bool,
    /// Their roots, if they were needed yet.
    roots: Option<Merged>,
    /// The last directory that was looked at: its path and the directories that are merged in it.
    seen: Vec<u8>,
    merged: Merged,
}

/// Something that the layers below show.
pub(crate) struct Found<'a> {
    /// Its directory.
    pub(super) parent: Dir<'a>,
    pub(crate) stat: Stat,
}

impl Lower {
    pub(crate) fn new(layers: Layers, userxattr: bool) -> Lower {
        Lower { layers, userxattr, roots: None, seen: Vec::new(), merged: Merged::default() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.layers.is_empty()
    }

    /// How many directories are merged under a path; none if it is no directory.
    pub(crate) fn count(&mut self, dir: &[u8]) -> Result<usize, Errno> {
        if dir.is_empty() {
            return Ok(self.layers.count());
        }
        self.look(dir)?;
        Ok(self.merged.0.len())
    }

    /// One of the directories that are merged under a path, a descriptor of its own. The uppermost is the first.
    pub(crate) fn open(&mut self, dir: &[u8], index: usize) -> Result<OwnedFd, Errno> {
        if dir.is_empty() {
            return self.layers.open(index, b"");
        }
        self.look(dir)?;
        let part = self.merged.0.get(index).ok_or(Errno::NOENT)?;
        self.layers.open(part.layer, dir)
    }

    /// Looks a canonical path up.
    pub(crate) fn find(&mut self, path: &[u8]) -> Result<Option<Found<'_>>, Errno> {
        let (dir, name) = path::split(path);
        self.look(dir)?;
        for part in &self.above(dir.is_empty()).0 {
            let parent = self.opened(part, dir)?;
            match stat(parent.as_fd(), name) {
                Ok(stat) if is_whiteout(&stat) => return Ok(None),
                Ok(stat) => return Ok(Some(Found { parent, stat })),
                Err(Errno::NOENT) => {}
                Err(errno) => return Err(errno),
            }
        }
        Ok(None)
    }

    fn opened<'a>(&'a self, part: &'a Part, dir: &[u8]) -> Result<Dir<'a>, Errno> {
        match &part.fd {
            Some(fd) => Ok(Dir::Kept(fd.as_fd())),
            None => self.layers.open(part.layer, dir).map(Dir::Own),
        }
    }

    /// The roots, or what was looked at last.
    fn above(&self, roots: bool) -> &Merged {
        match &self.roots {
            Some(found) if roots => found,
            _ => &self.merged,
        }
    }

    /// Finds the directories that are merged under a path.
    fn look(&mut self, dir: &[u8]) -> Result<(), Errno> {
        if self.roots.is_none() {
            let mut roots = Merged::default();
            for layer in 0..self.layers.count() {
                roots.push(layer, self.layers.open(layer, b"")?);
            }
            self.roots = Some(roots);
        }
        if dir.is_empty() {
            return Ok(());
        }
        if self.seen.is_empty() || !path::is_below(dir, &self.seen) {
            self.seen.clear();
            self.merged = Merged::default();
        }
        let rest = dir.get(self.seen.len()..).unwrap_or_default();
        for name in rest.split(|&byte| byte == b'/').filter(|name| !name.is_empty()) {
            let mut next = Merged::default();
            for part in &self.above(self.seen.is_empty()).0 {
                let parent = self.opened(part, &self.seen)?;
                match open_dir(parent.as_fd(), name) {
                    Ok(fd) => {
                        let opaque = is_opaque(fd.as_fd(), self.userxattr)?;
                        next.push(part.layer, fd);
                        if opaque {
                            break;
                        }
                    }
                    Err(Errno::NOENT) => {}
                    // A whiteout, or something else that hides what is below it.
                    Err(Errno::NOTDIR | Errno::LOOP) => break,
                    Err(errno) => return Err(errno),
                }
            }
            if !self.seen.is_empty() {
                self.seen.push(b'/');
            }
            self.seen.extend_from_slice(name);
            self.merged = next;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::path::Path;

    /// More layers than are kept open, each with a file of its own in one directory, and `top` in some.
    fn stack(root: &Path, count: usize) -> Lower {
        for layer in 0..count {
            let dir = root.join(layer.to_string()).join("a/b");
            fs::create_dir_all(&dir).unwrap();
            fs::write(dir.join(format!("own{layer}")), "").unwrap();
            if layer % 7 == 3 {
                fs::write(dir.join("some"), layer.to_string()).unwrap();
            }
        }
        stack_of(root, count)
    }

    fn shown(lower: &mut Lower, path: &str) -> Option<u64> {
        let found = lower.find(path.as_bytes()).unwrap()?;
        let name = path::split(path.as_bytes()).1;
        Some(stat(found.parent.as_fd(), name).unwrap().st_ino)
    }

    #[test]
    fn many_layers_show_what_few_do() {
        let count = 3 * OPEN_MAX;
        let temp = tempfile::tempdir().unwrap();
        let mut lower = stack(temp.path(), count);
        let inode = |path: String| {
            std::os::unix::fs::MetadataExt::ino(&fs::symlink_metadata(temp.path().join(path)).unwrap())
        };
        assert_eq!((lower.count(b"").unwrap(), lower.count(b"a/b").unwrap()), (count, count));
        for layer in [0, OPEN_MAX - 1, OPEN_MAX, count - 1] {
            let own = format!("a/b/own{layer}");
            assert_eq!(shown(&mut lower, &own), Some(inode(format!("{layer}/{own}"))));
            let opened = lower.open(b"a/b", layer).unwrap();
            assert!(stat(opened.as_fd(), format!("own{layer}").as_bytes()).is_ok());
        }
        assert_eq!(shown(&mut lower, "a/b/some"), Some(inode("3/a/b/some".into())));
        assert_eq!(shown(&mut lower, "a/b/none"), None);
        assert_eq!(shown(&mut lower, "a/none/own0"), None);
        assert_eq!(lower.count(b"a/b/own0").unwrap(), 0);
        // What hides a directory in one of the many hides all below it.
        let hides = OPEN_MAX + 4;
        fs::remove_dir_all(temp.path().join(format!("{hides}/a"))).unwrap();
        fs::write(temp.path().join(format!("{hides}/a")), "").unwrap();
        let mut lower = stack_of(temp.path(), count);
        assert_eq!(lower.count(b"a/b").unwrap(), hides);
        assert_eq!(shown(&mut lower, &format!("a/b/own{}", hides + 1)), None);
        // A link that came in the place of a directory is not followed.
        std::os::unix::fs::symlink(temp.path().join("0/a"), temp.path().join("link")).unwrap();
        let directory = fs::File::open(temp.path()).unwrap().into();
        let through = Layers::new(directory, vec!["link".into()]);
        assert_eq!(through.open(0, b"").unwrap_err(), Errno::NOTDIR);
    }

    fn stack_of(root: &Path, count: usize) -> Lower {
        let directory = fs::File::open(root).unwrap().into();
        Lower::new(Layers::new(directory, (0..count).map(|layer| layer.to_string()).collect()), true)
    }

    #[test]
    fn long_paths_are_opened_in_steps() {
        let temp = tempfile::tempdir().unwrap();
        let mut dir: OwnedFd = fs::File::open(temp.path()).unwrap().into();
        let names: Vec<String> =
            std::iter::once("0".into()).chain((0..60).map(|_| "n".repeat(199))).collect();
        for name in &names {
            rustix::fs::mkdirat(&dir, name, Mode::RWXU).unwrap();
            dir = open_dir(dir.as_fd(), name.as_bytes()).unwrap();
        }
        let root = fs::File::open(temp.path()).unwrap().into();
        let deep = Layers::new(root, vec!["0".into()]).open(0, names[1..].join("/").as_bytes()).unwrap();
        let inode = |fd: &OwnedFd| rustix::fs::fstat(fd).unwrap().st_ino;
        assert_eq!(inode(&deep), inode(&dir));
        let root: OwnedFd = fs::File::open(temp.path()).unwrap().into();
        crate::Remover::new().remove(root.as_fd(), b"0").unwrap();
    }
}
