//! An archive that goes into a tree that is in use: docker's rules for what is replaced.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;

#[path = "../src/testing.rs"]
mod testing;

use coble_layer::{Applied, Error, Limits, Merge, Options, WarningKind, apply};
use testing::{Head, Tar};

fn put(target: &Path, archive: &[u8], merge: Merge) -> Result<Applied, Error> {
    rustix::process::umask(rustix::fs::Mode::empty());
    let target = fs::File::open(target).expect("open").into();
    let options = Options {
        target,
        lower: coble_layer::Layers::none(),
        ready: None,
        userxattr: true,
        merge: Some(merge),
    };
    apply(archive, Limits::default(), options).map(|(applied, _)| applied)
}

fn own() -> Option<(u32, u32)> {
    Some((rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw()))
}

fn errno(result: Result<Applied, Error>) -> i32 {
    match result {
        Err(Error::System { errno, .. }) => errno,
        other => panic!("{other:?}"),
    }
}

#[test]
fn directories_are_merged_and_files_replaced() {
    let place = tempfile::tempdir().unwrap();
    let root = place.path();
    fs::create_dir_all(root.join("d/kept")).unwrap();
    fs::write(root.join("f"), "old").unwrap();
    fs::hard_link(root.join("f"), root.join("other")).unwrap();
    symlink("f", root.join("link")).unwrap();
    let merge = Merge { owner: own(), ..Merge::default() };
    let old = filetime(root);
    let archive = Tar::new()
        .entry(Head::new(b'5', "./").mode(0o700))
        .entry(Head::new(b'5', "d").mode(0o711).mtime(77))
        .file("d/.wh.kept", b"a name as any other")
        .file("f", b"new")
        .file("link", b"no link")
        .file("new/on/the/way", b"")
        .end();
    put(root, &archive, merge).unwrap();
    assert!(root.join("d/kept").is_dir() && root.join("d/.wh.kept").is_file());
    let d = fs::metadata(root.join("d")).unwrap();
    assert_eq!((d.permissions().mode() & 0o7777, d.mtime()), (0o711, 77));
    // Never written into: other names keep the old content.
    assert_eq!(fs::read(root.join("f")).unwrap(), b"new");
    assert_eq!(fs::read(root.join("other")).unwrap(), b"old");
    assert!(fs::symlink_metadata(root.join("link")).unwrap().is_file());
    assert_eq!(fs::metadata(root.join("new/on")).unwrap().permissions().mode() & 0o7777, 0o755);
    assert_ne!(fs::metadata(root).unwrap().permissions().mode() & 0o7777, 0o700);
    assert!(filetime(root) >= old);
    // What would replace a directory by something else, or the other way round.
    assert_eq!(errno(put(root, &Tar::new().file("d", b"x").end(), merge)), libc_errno("EISDIR"));
    let directory = Tar::new().entry(Head::new(b'5', "f")).end();
    assert_eq!(errno(put(root, &directory, merge)), libc_errno("ENOTDIR"));
    assert_eq!(errno(put(root, &Tar::new().file("f/x", b"x").end(), merge)), libc_errno("ENOTDIR"));
}

fn filetime(path: &Path) -> (i64, i64) {
    let stat = fs::metadata(path).expect("stat");
    (stat.mtime(), stat.mtime_nsec())
}

fn libc_errno(name: &str) -> i32 {
    use rustix::io::Errno;
    match name {
        "EISDIR" => Errno::ISDIR.raw_os_error(),
        _ => Errno::NOTDIR.raw_os_error(),
    }
}

#[test]
fn links_are_followed_on_the_way_only_if_asked() {
    let place = tempfile::tempdir().unwrap();
    let (root, outside) = (place.path().join("root"), place.path().join("outside"));
    fs::create_dir(&root).unwrap();
    fs::create_dir(&outside).unwrap();
    fs::create_dir(root.join("real")).unwrap();
    symlink("real", root.join("inside")).unwrap();
    symlink(&outside, root.join("out")).unwrap();
    let strict = Merge { owner: own(), ..Merge::default() };
    for name in ["inside/x", "out/x"] {
        let refused = put(&root, &Tar::new().file(name, b"x").end(), strict);
        assert!(matches!(refused, Err(Error::Invalid { .. })), "{refused:?}");
    }
    put(&root, &Tar::new().file("inside/x", b"x").end(), Merge { follow: true, ..strict }).unwrap();
    assert!(root.join("real/x").is_file());
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
}

#[test]
fn a_file_that_cannot_be_completed_is_taken_away() {
    let place = tempfile::tempdir().unwrap();
    let whole = Tar::new().file("a", &[1; 2000]).file("b", &[2; 2000]).end();
    let merge = Merge { owner: own(), ..Merge::default() };
    assert!(put(place.path(), &whole[..512 + 2048 + 512 + 600], merge).is_err());
    assert!(place.path().join("a").exists() && !place.path().join("b").exists());
}

#[test]
fn the_host_is_spared_devices_and_set_ids_of_others() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: giving owners and making nodes takes root");
        return;
    }
    let place = tempfile::tempdir().unwrap();
    let archive = Tar::new()
        .entry(Head::new(b'3', "null").mode(0o666).device(1, 3))
        .entry(Head::new(b'0', "setid").mode(0o6755).owner(1000, 1000))
        .end();
    let merge = Merge { owner: own(), host: true, ..Merge::default() };
    let applied = put(place.path(), &archive, merge).unwrap();
    assert_eq!(
        applied.warnings.iter().map(|warning| warning.kind).collect::<Vec<_>>(),
        [WarningKind::Device, WarningKind::SetId]
    );
    assert!(!place.path().join("null").exists());
    let stat = fs::metadata(place.path().join("setid")).unwrap();
    assert_eq!((stat.mode() & 0o7777, stat.uid()), (0o755, 0));
}

#[test]
fn the_host_gets_set_id_bits_only_with_the_owner_and_keeps_its_directories() {
    let place = tempfile::tempdir().unwrap();
    let root = place.path();
    fs::create_dir(root.join("d")).unwrap();
    fs::set_permissions(root.join("d"), fs::Permissions::from_mode(0o750)).unwrap();
    let (uid, gid) = own().unwrap();
    let archive = Tar::new()
        .entry(Head::new(b'5', "d").mode(0o2777).owner(uid, gid).mtime(77))
        .entry(Head::new(b'0', "d/own").mode(0o6755).owner(uid, gid))
        .entry(Head::new(b'5', "new").mode(0o2711).owner(uid, gid))
        .end();
    let host = Merge { host: true, ..Merge::default() };
    let mode = |name: &str| fs::metadata(root.join(name)).unwrap().permissions().mode() & 0o7777;
    let applied = put(root, &archive, Merge { owner: own(), ..host }).unwrap();
    assert_eq!((mode("d"), mode("d/own"), mode("new")), (0o750, 0o755, 0o711));
    assert_ne!(fs::metadata(root.join("d")).unwrap().mtime(), 77);
    assert_eq!(
        applied.warnings.iter().map(|warning| (warning.kind, &*warning.object)).collect::<Vec<_>>(),
        [(WarningKind::SetId, &b"d/own"[..]), (WarningKind::SetId, b"new")]
    );
    assert_eq!(put(root, &archive, host).unwrap().warning_count, 0);
    assert_eq!((mode("d"), mode("d/own")), (0o750, 0o6755));
}

/// Everything in a directory, by name.
fn names(root: &Path) -> Vec<String> {
    let name = |entry: std::io::Result<fs::DirEntry>| entry.expect("entry").file_name();
    let names = fs::read_dir(root).expect("read").map(name);
    let mut names: Vec<String> = names.map(|name| name.to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

#[test]
fn what_is_replaced_is_whole_until_the_new_one_is() {
    let place = tempfile::tempdir().unwrap();
    let root = place.path();
    let merge = Merge { owner: own(), ..Merge::default() };
    fs::write(root.join("f"), "old").unwrap();
    let whole = Tar::new().file("f", &[1; 4000]).end();
    assert!(put(root, &whole[..512 + 1000], merge).is_err());
    assert_eq!((fs::read(root.join("f")).unwrap(), names(root)), (b"old".to_vec(), vec!["f".to_owned()]));

    // Somebody looks all the time: the name is never missing, and its file never half.
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let watcher = scope.spawn(|| {
            let mut looks = 0;
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                let content = fs::read(root.join("f")).expect("always there");
                assert!(content == b"old" || content == [1; 4000], "{} bytes", content.len());
                looks += 1;
            }
            looks
        });
        for _ in 0..300 {
            put(root, &whole, merge).unwrap();
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        assert!(watcher.join().unwrap() > 0);
    });

    // Links of both kinds, nodes, and a link to the file that is there already.
    let archive = Tar::new()
        .entry(Head::new(b'2', "s").link("f").mtime(5))
        .entry(Head::new(b'1', "h").link("f"))
        .entry(Head::new(b'6', "p").mode(0o640).mtime(6))
        .end();
    for _ in 0..2 {
        put(root, &archive, merge).unwrap();
        assert_eq!(names(root), ["f", "h", "p", "s"]);
    }
    assert_eq!(fs::read_link(root.join("s")).unwrap(), Path::new("f"));
    assert_eq!(fs::metadata(root.join("h")).unwrap().ino(), fs::metadata(root.join("f")).unwrap().ino());
    let time = |name: &str| fs::symlink_metadata(root.join(name)).unwrap().mtime();
    assert_eq!((time("s"), time("p")), (5, 6));
}
