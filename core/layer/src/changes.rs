//! What is different: an overlay's upper directory against what is below it, and one tree against another.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{FileType, Stat};

use crate::apply::{Layers, Lower, is_opaque, is_whiteout, read_xattrs};
use crate::error::Error;
use crate::walk::{self, Budget, Names, fail, join, look};

/// What became of a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// It is new.
    Added,
    /// It is another thing, has other content or other attributes; a directory also if something below it is different.
    Changed,
    /// It has gone, with everything below.
    Deleted,
}

impl Change {
    /// The letter that stands for it: `A`, `C` or `D`.
    pub const fn letter(self) -> u8 {
        match self {
            Change::Added => b'A',
            Change::Changed => b'C',
            Change::Deleted => b'D',
        }
    }
}

/// A directory on the way down.
struct Upper {
    fd: OwnedFd,
    names: Names,
    path: usize,
    /// Nothing of the lower layers shows through.
    pure: bool,
    /// It is below, too, and is told of if something in it is different.
    both: bool,
    changed: bool,
}

/// What the upper directory of a container's overlay changes of the layers below, uppermost first. A directory that was only copied up counts if
/// something in it is different, and comes after that; one that has another mode, owner or time of change counts by itself, as with docker. What is mounted over in every container does not count.
pub fn changes(
    upper: BorrowedFd<'_>,
    lower: Layers,
    userxattr: bool,
    mut emit: impl FnMut(Change, &[u8]) -> Result<(), Error>,
) -> Result<(), Error> {
    let mut lower = Lower::new(lower, userxattr);
    let mut budget = Budget::new();
    let mut path = Vec::new();
    let fd = walk::reopen(upper)?;
    let names = budget.names(fd.as_fd(), b"")?;
    let mut levels = vec![Upper { fd, names, path: 0, pure: false, both: false, changed: false }];
    while let Some(level) = levels.last_mut() {
        path.truncate(level.path);
        let Some(name) = level.names.pop() else {
            budget.give_back(&level.names);
            let (changed, both) = (level.changed, level.both);
            levels.pop();
            if let Some(above) = levels.last_mut()
                && changed
            {
                above.changed = true;
                if both {
                    emit(Change::Changed, &path)?;
                }
            }
            continue;
        };
        join(&mut path, &name)?;
        let Some(stat) = look(level.fd.as_fd(), &name, &path)? else { continue };
        if walk::is_mount_point(level.fd.as_fd(), &name, &path, &stat) {
            continue;
        }
        let below = lower.find(&path).map_err(|errno| fail(errno, &path))?.map(|found| found.stat);
        if is_whiteout(&stat) {
            if below.is_some() {
                level.changed = true;
                emit(Change::Deleted, &path)?;
            }
            continue;
        }
        let directory = kind(&stat) == FileType::Directory;
        let both = directory && below.is_some_and(|below| kind(&below) == FileType::Directory);
        if !both {
            level.changed = true;
            emit(if below.is_some() { Change::Changed } else { Change::Added }, &path)?;
        }
        if !directory {
            continue;
        }
        let mut changed = both
            && below.is_some_and(|below| {
                let facts =
                    |stat: &Stat| (stat.st_mode, stat.st_uid, stat.st_gid, stat.st_mtime, stat.st_mtime_nsec);
                facts(&below) != facts(&stat)
            });
        let Some(fd) = walk::open(level.fd.as_fd(), &name, &stat, &path)? else { continue };
        let opaque = is_opaque(fd.as_fd(), userxattr).map_err(|errno| fail(errno, &path))?;
        let pure = level.pure || opaque;
        if pure && both {
            changed |= hidden(&fd, &mut lower, &mut path, &mut budget, &mut emit)?;
        }
        let names = budget.names(fd.as_fd(), &path)?;
        levels.push(Upper { fd, names, path: path.len(), pure, both, changed });
    }
    Ok(())
}

/// What the lower layers have in a directory that shows nothing of them, and the directory has not itself. Returns whether there is something.
fn hidden(
    upper: &OwnedFd,
    lower: &mut Lower,
    path: &mut Vec<u8>,
    budget: &mut Budget,
    emit: &mut impl FnMut(Change, &[u8]) -> Result<(), Error>,
) -> Result<bool, Error> {
    let mut any = false;
    let mut found = std::collections::BTreeSet::new();
    for index in 0..lower.count(path).map_err(|errno| fail(errno, path))? {
        let fd = lower.open(path, index).map_err(|errno| fail(errno, path))?;
        let mut names = budget.names(fd.as_fd(), path)?;
        budget.give_back(&names);
        while let Some(name) = names.pop() {
            found.insert(name);
        }
    }
    let length = path.len();
    for name in found {
        join(path, &name)?;
        let shows = lower.find(path).map_err(|errno| fail(errno, path))?.is_some();
        if shows && look(upper.as_fd(), &name, path)?.is_none() {
            any = true;
            emit(Change::Deleted, path)?;
        }
        path.truncate(length);
    }
    Ok(any)
}

fn kind(stat: &Stat) -> FileType {
    FileType::from_raw_mode(stat.st_mode)
}

/// A directory that both trees have, or only the new one.
struct Pair {
    old: Option<(OwnedFd, Names)>,
    new: (OwnedFd, Names),
    path: usize,
    /// Something in it is different.
    changed: bool,
}

/// What is different in the new tree. A directory comes after what is in it.
pub fn compare(
    old: BorrowedFd<'_>,
    new: BorrowedFd<'_>,
    mut emit: impl FnMut(Change, &[u8]) -> Result<(), Error>,
) -> Result<(), Error> {
    let mut budget = Budget::new();
    let mut path: Vec<u8> = Vec::new();
    let open = |dir: BorrowedFd<'_>, path: &[u8], budget: &mut Budget| {
        let fd = walk::reopen(dir)?;
        let names = budget.names(fd.as_fd(), path)?;
        Ok::<_, Error>((fd, names))
    };
    let top = Pair {
        old: Some(open(old, b"", &mut budget)?),
        new: open(new, b"", &mut budget)?,
        path: 0,
        changed: false,
    };
    let mut pairs = vec![top];
    while let Some(pair) = pairs.last_mut() {
        path.truncate(pair.path);
        let before = pair.old.as_ref().and_then(|(_, names)| names.peek());
        let after = pair.new.1.peek();
        let name: Box<[u8]> = match (before, after) {
            (None, None) => {
                let Some(done) = pairs.pop() else { break };
                budget.give_back(&done.new.1);
                if let Some((_, names)) = &done.old {
                    budget.give_back(names);
                }
                if let Some(above) = pairs.last_mut()
                    && done.changed
                {
                    above.changed = true;
                    if done.old.is_some() {
                        emit(Change::Changed, &path)?;
                    }
                }
                continue;
            }
            (Some(before), Some(after)) => before.min(after).into(),
            (Some(one), None) | (None, Some(one)) => one.into(),
        };
        let in_old = before == Some(&*name);
        let in_new = after == Some(&*name);
        join(&mut path, &name)?;
        let mut was = None;
        if in_old && let Some((fd, names)) = &mut pair.old {
            names.pop();
            was = look(fd.as_fd(), &name, &path)?.map(|stat| (&*fd, stat));
        }
        let mut is = None;
        if in_new {
            pair.new.1.pop();
            is = look(pair.new.0.as_fd(), &name, &path)?;
        }
        let Some(is) = is else {
            if was.is_some() {
                pair.changed = true;
                emit(Change::Deleted, &path)?;
            }
            continue;
        };
        let inside = |dir: &OwnedFd, stat: &Stat, budget: &mut Budget| -> Result<_, Error> {
            let Some(fd) = walk::open(dir.as_fd(), &name, stat, &path)? else { return Ok(None) };
            let names = budget.names(fd.as_fd(), &path)?;
            Ok(Some((fd, names)))
        };
        let is_directory = kind(&is) == FileType::Directory;
        let (changed, below) = match &was {
            None => {
                emit(Change::Added, &path)?;
                (true, None)
            }
            Some((dir, stat)) => {
                let changed = differs(dir, stat, &pair.new.0, &is, &name, &path)?;
                let below = if is_directory && kind(stat) == FileType::Directory {
                    inside(dir, stat, &mut budget)?
                } else {
                    None
                };
                if changed && (!is_directory || below.is_none()) {
                    emit(Change::Changed, &path)?;
                }
                (changed, below)
            }
        };
        let both = was.is_some();
        pair.changed |= changed;
        if is_directory && let Some(new) = inside(&pair.new.0, &is, &mut budget)? {
            // A directory in the place of something else has been told of; what is in it is new.
            let changed = changed && both && below.is_some();
            pairs.push(Pair { old: below, new, path: path.len(), changed });
        }
    }
    Ok(())
}

/// Whether a path of both trees shows another thing.
fn differs(
    old: &OwnedFd,
    was: &Stat,
    new: &OwnedFd,
    is: &Stat,
    name: &[u8],
    path: &[u8],
) -> Result<bool, Error> {
    // Of a directory the time says that something in it changed, and that is seen anyway.
    let file = |stat: &Stat| (stat.st_size, stat.st_mtime, stat.st_mtime_nsec);
    if (was.st_mode, was.st_uid, was.st_gid, was.st_rdev) != (is.st_mode, is.st_uid, is.st_gid, is.st_rdev)
        || (kind(is) != FileType::Directory && file(was) != file(is))
    {
        return Ok(true);
    }
    match kind(is) {
        FileType::Symlink => {
            let target = |dir: &OwnedFd| {
                rustix::fs::readlinkat(dir, name, Vec::new()).map_err(|errno| fail(errno, path))
            };
            Ok(target(old)? != target(new)?)
        }
        FileType::RegularFile | FileType::Directory => {
            let attributes = |dir: &OwnedFd, stat: &Stat| -> Result<_, Error> {
                let Some(fd) = walk::open(dir.as_fd(), name, stat, path)? else { return Ok(None) };
                let wanted =
                    |name: &[u8]| !name.starts_with(b"trusted.") && !name.starts_with(b"user.overlay.");
                let mut found = read_xattrs(fd.as_fd(), wanted).map_err(|errno| fail(errno, path))?;
                found.sort_unstable_by(|a, b| a.name.cmp(&b.name));
                Ok(Some(found))
            };
            Ok(attributes(old, was)? != attributes(new, is)?)
        }
        _ => Ok(false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::path::Path;

    fn dir(path: &Path) -> OwnedFd {
        fs::File::open(path).unwrap().into()
    }

    fn compared(old: &Path, new: &Path) -> Vec<String> {
        let mut found = Vec::new();
        compare(dir(old).as_fd(), dir(new).as_fd(), |change, path| {
            found.push(format!("{} {}", char::from(change.letter()), String::from_utf8_lossy(path)));
            Ok(())
        })
        .unwrap();
        found.sort_by(|a, b| a[2..].cmp(&b[2..]));
        found
    }

    #[test]
    fn trees_are_compared() {
        let temp = tempfile::tempdir().unwrap();
        let (old, new) = (temp.path().join("old"), temp.path().join("new"));
        for tree in [&old, &new] {
            fs::create_dir_all(tree.join("same/deep")).unwrap();
            fs::create_dir_all(tree.join("touched/in")).unwrap();
            fs::create_dir(tree.join("kind")).unwrap();
            fs::write(tree.join("same/file"), "x").unwrap();
            symlink("a", tree.join("link")).unwrap();
        }
        let epoch = fs::File::open(old.join("same/file")).unwrap().metadata().unwrap().modified().unwrap();
        fs::File::options().write(true).open(new.join("same/file")).unwrap().set_modified(epoch).unwrap();
        for tree in [&old, &new] {
            // Links have times of their own.
            let at = rustix::fs::Timespec { tv_sec: 1, tv_nsec: 0 };
            let times = rustix::fs::Timestamps { last_access: at, last_modification: at };
            let flags = rustix::fs::AtFlags::SYMLINK_NOFOLLOW;
            rustix::fs::utimensat(dir(tree), "link", &times, flags).unwrap();
        }
        assert_eq!(compared(&old, &new), [""; 0]);
        fs::write(new.join("touched/in/more"), "y").unwrap();
        fs::create_dir_all(old.join("gone/far")).unwrap();
        fs::create_dir_all(new.join("came/far")).unwrap();
        fs::remove_dir(new.join("kind")).unwrap();
        fs::write(new.join("kind"), "").unwrap();
        assert_eq!(
            compared(&old, &new),
            ["A came", "A came/far", "D gone", "C kind", "C touched", "C touched/in", "A touched/in/more"]
        );
        // The other way round, what was a file is a directory.
        fs::write(old.join("kind/x"), "").unwrap();
        assert!(compared(&new, &old).contains(&"A kind/x".to_owned()));
    }

    #[test]
    fn an_upper_directory_tells_what_it_changes() {
        if !rustix::process::geteuid().is_root() {
            return;
        }
        let temp = tempfile::tempdir().unwrap();
        let (upper, lower) = (temp.path().join("upper"), temp.path().join("lower"));
        fs::create_dir_all(lower.join("opaque/sub")).unwrap();
        fs::create_dir_all(lower.join("merged")).unwrap();
        for file in ["opaque/old", "opaque/both", "opaque/sub/old", "merged/kept", "gone"] {
            fs::write(lower.join(file), "").unwrap();
        }
        fs::create_dir_all(upper.join("opaque/sub")).unwrap();
        fs::create_dir_all(upper.join("merged")).unwrap();
        for file in ["opaque/both", "opaque/sub/new", "merged/new"] {
            fs::write(upper.join(file), "").unwrap();
        }
        let node = |name: &str| {
            rustix::fs::mknodat(dir(&upper), name, FileType::CharacterDevice, rustix::fs::Mode::empty(), 0)
                .unwrap();
        };
        node("gone");
        node("never");
        // Only copied up, and only what it takes to mount.
        fs::create_dir_all(lower.join("same")).unwrap();
        fs::create_dir_all(upper.join("same")).unwrap();
        let time = fs::metadata(lower.join("same")).unwrap().modified().unwrap();
        fs::File::open(upper.join("same")).unwrap().set_modified(time).unwrap();
        // With another time.
        fs::create_dir_all(lower.join("touched")).unwrap();
        fs::create_dir_all(upper.join("touched")).unwrap();
        fs::File::open(upper.join("touched")).unwrap().set_modified(std::time::UNIX_EPOCH).unwrap();
        fs::create_dir_all(upper.join("proc")).unwrap();
        rustix::fs::setxattr(
            upper.join("opaque"),
            "user.overlay.opaque",
            b"y",
            rustix::fs::XattrFlags::empty(),
        )
        .unwrap();
        let mut found = Vec::new();
        changes(
            dir(&upper).as_fd(),
            Layers::new(dir(temp.path()), vec!["lower".into()]),
            true,
            |change, path| {
                found.push(format!("{} {}", char::from(change.letter()), String::from_utf8_lossy(path)));
                Ok(())
            },
        )
        .unwrap();
        found.sort_by(|a, b| a[2..].cmp(&b[2..]));
        assert_eq!(
            found,
            [
                "D gone",
                "C merged",
                "A merged/new",
                "C opaque",
                "C opaque/both",
                "D opaque/old",
                "C opaque/sub",
                "A opaque/sub/new",
                "D opaque/sub/old",
                "C touched"
            ]
        );
    }
}
