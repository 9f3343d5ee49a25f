//! Check and use are one: an archive is applied while somebody swaps its directories for links to a canary (SEC-08). Nobody can do that to a layer of
//! the store, which only its worker writes; this is what holds if somebody could.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use coble_layer::{Limits, Merge, Options, Remover, apply};

#[path = "../src/testing.rs"]
mod testing;
use testing::{Head, Tar};

/// Everything about a tree that applying or removing an archive could change.
fn facts(path: &Path) -> String {
    let stat = fs::symlink_metadata(path).unwrap();
    let mut text = format!(
        "{path:?} {:o} {} {} {} {} {}.{}\n",
        stat.mode(),
        stat.uid(),
        stat.gid(),
        stat.nlink(),
        stat.mtime(),
        stat.ctime(),
        stat.ctime_nsec()
    );
    if stat.is_dir() {
        let mut paths: Vec<PathBuf> =
            fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        paths.iter().for_each(|path| text.push_str(&facts(path)));
    }
    text
}

/// Every kind of entry below `a/b`, over and over: files and directories that are made, opened again, linked, replaced, hidden.
fn archive() -> Vec<u8> {
    let mut tar = Tar::new().dir("a").dir("a/b");
    for i in 0..150 {
        tar = tar
            .file(format!("a/b/file{}", i % 7), b"written by the archive")
            .dir(format!("a/b/dir{i}"))
            .entry(Head::new(b'5', "a/b").mode(0o777).owner(1, 1).mtime(1))
            .pax(&[("SCHILY.xattr.user.x", b"y")])
            .file(format!("a/b/dir{i}/file"), b"written by the archive")
            .hard_link(format!("a/b/dir{i}/hard"), "a/b/file0")
            .symlink(format!("a/b/dir{i}/soft"), "../file")
            .file("a/b/.wh.kept", b"")
            .entry(Head::new(b'6', format!("a/b/dir{i}/fifo")))
            .file("a/file", b"written by the archive");
    }
    tar.end()
}

/// While `work` runs, puts links to the canary in the places of directories, and takes them back.
fn while_swapped<T>(root: &Path, canary: &Path, swaps: &AtomicUsize, work: impl FnOnce() -> T) -> T {
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut turn = 0;
            while !done.load(Ordering::Relaxed) {
                let name = ["a", "a/b", "a/b/dir3", "a/b/dir90"][turn % 4];
                turn += 1;
                let (place, aside) = (root.join(name), root.join("aside"));
                if fs::rename(&place, &aside).is_ok() {
                    if symlink(canary, &place).is_ok() {
                        swaps.fetch_add(1, Ordering::Relaxed);
                        std::thread::yield_now();
                        let _ = fs::remove_file(&place);
                    }
                    let _ = fs::rename(&aside, &place);
                }
            }
        });
        let result = work();
        done.store(true, Ordering::Relaxed);
        result
    })
}

#[test]
fn nothing_reaches_the_target_of_a_link_that_was_swapped_in() {
    rustix::process::umask(rustix::fs::Mode::empty());
    let place = tempfile::tempdir().unwrap();
    let canary = place.path().join("canary");
    fs::create_dir_all(canary.join("b/dir3")).unwrap();
    for name in ["file", "file0", "kept", "b/file0", "b/kept", "b/dir3/file"] {
        fs::write(canary.join(name), "alive").unwrap();
        fs::set_permissions(canary.join(name), fs::Permissions::from_mode(0o640)).unwrap();
    }
    let before = facts(&canary);
    let archive = archive();
    let (applying, removing) = (AtomicUsize::new(0), AtomicUsize::new(0));
    for round in 0..200 {
        let root = place.path().join(format!("layer{round}"));
        fs::create_dir(&root).unwrap();
        let options = Options {
            target: fs::File::open(&root).unwrap().into(),
            lower: coble_layer::Layers::none(),
            ready: None,
            userxattr: true,
            // Every other time as a copy to a directory of the host.
            merge: (round % 2 == 1).then(Merge::default),
        };
        // It may fail, and in any way: only where it writes counts.
        let _ = while_swapped(&root, &canary, &applying, || {
            apply(archive.as_slice(), Limits::default(), options)
        });
        assert_eq!(facts(&canary), before, "applied, round {round}");
        let parent = fs::File::open(place.path()).unwrap();
        let name = format!("layer{round}");
        let _ = while_swapped(&root, &canary, &removing, || {
            Remover::new().remove(parent.as_fd(), name.as_bytes())
        });
        assert_eq!(facts(&canary), before, "removed, round {round}");
        // What a failed removal left.
        let _ = fs::remove_dir_all(&root);
        if applying.load(Ordering::Relaxed) > 300 && removing.load(Ordering::Relaxed) > 30 {
            return;
        }
    }
    panic!("only {applying:?} and {removing:?} swaps took place");
}
