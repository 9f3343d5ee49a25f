//! How much of a disk trees take: allocated blocks, a file with several names once.

use std::collections::HashSet;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{FileType, Stat};

use crate::error::Error;
use crate::walk::{self, Budget, Names, fail, join, look};

/// The most files with several names that are remembered.
const LINKS_MAX: usize = 2_000_000;

struct Level {
    fd: OwnedFd,
    names: Names,
    path: usize,
}

fn allocated(stat: &Stat) -> u64 {
    u64::try_from(stat.st_blocks).unwrap_or(0).saturating_mul(512)
}

/// Tells the bytes of every entry down to this depth, of a directory at that depth with everything below it; the sum of all is what the
/// tree takes. The root, with an empty path, has depth 0.
pub fn usage(
    root: BorrowedFd<'_>,
    depth: usize,
    mut emit: impl FnMut(&[u8], u64) -> Result<(), Error>,
) -> Result<(), Error> {
    let mut budget = Budget::new();
    let mut seen: HashSet<(u64, u64)> = HashSet::new();
    let mut path = Vec::new();
    let fd = walk::reopen(root)?;
    let stat = rustix::fs::fstat(&fd).map_err(|errno| fail(errno, b""))?;
    // The bytes of the entry at the depth, and its path.
    let mut sum = allocated(&stat);
    let mut sum_path = Vec::new();
    if depth > 0 {
        emit(b"", sum)?;
        sum = 0;
    }
    let names = budget.names(fd.as_fd(), b"")?;
    let mut levels = vec![Level { fd, names, path: 0 }];
    while let Some(level) = levels.last_mut() {
        let Some(name) = level.names.pop() else {
            budget.give_back(&level.names);
            levels.pop();
            if levels.len() == depth {
                emit(&sum_path, sum)?;
                sum = 0;
            }
            continue;
        };
        path.truncate(level.path);
        // Longer than any path can be is possible here, and no reason to fail.
        if join(&mut path, &name).is_err() {
            path.truncate(crate::path::PATH_MAX);
        }
        let Some(stat) = look(level.fd.as_fd(), &name, &path)? else { continue };
        let directory = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
        if !directory && stat.st_nlink > 1 {
            if seen.len() >= LINKS_MAX {
                return Err(Error::limit(&path, "more files with several names than can be remembered"));
            }
            if !seen.insert((stat.st_dev, stat.st_ino)) {
                continue;
            }
        }
        let bytes = allocated(&stat);
        let here = levels.len();
        if here < depth || (here == depth && !directory) {
            emit(&path, bytes)?;
        } else if here == depth {
            sum_path.clone_from(&path);
            sum = bytes;
        } else {
            sum = sum.saturating_add(bytes);
        }
        if directory
            && let Some(level) = levels.last()
            && let Some(fd) = walk::open(level.fd.as_fd(), &name, &stat, &path)?
        {
            let names = budget.names(fd.as_fd(), &path)?;
            levels.push(Level { fd, names, path: path.len() });
        } else if directory && here == depth {
            emit(&sum_path, sum)?;
            sum = 0;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::MetadataExt;

    #[test]
    fn the_sum_is_what_the_tree_takes() {
        let temp = tempfile::tempdir().unwrap();
        let root = temp.path();
        fs::create_dir_all(root.join("a/b/c")).unwrap();
        fs::create_dir(root.join("empty")).unwrap();
        fs::write(root.join("a/b/c/file"), vec![1; 100_000]).unwrap();
        fs::hard_link(root.join("a/b/c/file"), root.join("a/again")).unwrap();
        fs::hard_link(root.join("a/b/c/file"), root.join("other")).unwrap();
        fs::File::create(root.join("sparse")).unwrap().set_len(1 << 30).unwrap();
        let blocks = |path: &str| root.join(path).symlink_metadata().unwrap().blocks() * 512;
        let total: u64 =
            ["", "a", "a/b", "a/b/c", "a/b/c/file", "empty", "sparse"].into_iter().map(blocks).sum();
        for depth in 0..6 {
            let mut found = Vec::new();
            let fd: OwnedFd = fs::File::open(root).unwrap().into();
            usage(fd.as_fd(), depth, |path, bytes| {
                found.push((String::from_utf8_lossy(path).into_owned(), bytes));
                Ok(())
            })
            .unwrap();
            assert_eq!(found.iter().map(|(_, bytes)| bytes).sum::<u64>(), total, "{depth}: {found:?}");
            let paths: Vec<&str> = found.iter().map(|(path, _)| path.as_str()).collect();
            match depth {
                0 => assert_eq!(paths, [""]),
                1 => assert_eq!(paths, ["", "a", "empty", "sparse"]),
                _ => assert!(paths.contains(&"a/b")),
            }
        }
    }
}
