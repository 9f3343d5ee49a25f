//! Every rule of layers, on a real file system, with a canary outside that must not change.

use std::ffi::OsStr;
use std::fs;
use std::io::Cursor;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use super::*;
use crate::stream::Summary;
use crate::testing::{GNU, Head, Tar};

/// Says so and returns true where a test cannot run.
fn not_root() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        eprintln!("skipped: giving owners and making nodes takes root");
    }
    !root
}

/// A store of layers, and a canary outside of it.
struct World {
    temp: tempfile::TempDir,
    layers: usize,
    canary: String,
}

impl World {
    fn new() -> World {
        rustix::process::umask(Mode::empty());
        let temp = tempfile::tempdir().unwrap();
        let dir = temp.path().join("canary");
        fs::create_dir(&dir).unwrap();
        fs::write(dir.join("file"), b"alive").unwrap();
        symlink("file", dir.join("link")).unwrap();
        fs::set_permissions(dir.join("file"), fs::Permissions::from_mode(0o640)).unwrap();
        let mut world = World { temp, layers: 0, canary: String::new() };
        world.canary = world.look();
        world
    }

    fn canary(&self) -> PathBuf {
        self.temp.path().join("canary")
    }

    fn canary_bytes(&self) -> Vec<u8> {
        self.canary().as_os_str().as_bytes().to_vec()
    }

    /// All there is to know about the canary.
    fn look(&self) -> String {
        let mut text = String::new();
        let dir = self.canary();
        for path in [dir.clone(), dir.join("file"), dir.join("link")] {
            let stat = fs::symlink_metadata(&path).unwrap();
            let change = (stat.ctime(), stat.ctime_nsec());
            text += &format!(
                "{path:?} {:o} {} {} {} {change:?}\n",
                stat.mode(),
                stat.uid(),
                stat.nlink(),
                stat.mtime()
            );
        }
        let names: Vec<_> = fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        text + &format!("{} {:?}", names.len(), fs::read(dir.join("file")).unwrap())
    }

    fn layer(&self, index: usize) -> PathBuf {
        self.temp.path().join(format!("layer{index}"))
    }

    /// So many layers, uppermost first.
    fn below(&self, count: usize) -> Layers {
        // The sandbox gives the clone of a mount, which is a descriptor of this sort.
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        let directory = rustix::fs::open(self.temp.path(), flags, Mode::empty()).unwrap();
        Layers::new(directory, (0..count).rev().map(|index| format!("layer{index}")).collect())
    }

    fn apply_with(&mut self, archive: &[u8], limits: Limits) -> Result<(Applied, Summary), Error> {
        let open = |path: PathBuf| OwnedFd::from(fs::File::open(path).unwrap());
        let target = self.layer(self.layers);
        fs::create_dir(&target).unwrap();
        let lower = self.below(self.layers);
        self.layers += 1;
        let options = Options { target: open(target), lower, ready: None, userxattr: false, merge: None };
        let result = crate::apply(Cursor::new(archive), limits, options);
        self.compare_with_deferred(archive, limits, &result);
        assert_eq!(self.look(), self.canary, "the canary changed");
        result
    }

    /// Applied without knowing the layers below until the end, the same layer has to be the same to the last bit.
    fn compare_with_deferred(
        &self,
        archive: &[u8],
        limits: Limits,
        expected: &Result<(Applied, Summary), Error>,
    ) {
        let open = |path: PathBuf| OwnedFd::from(fs::File::open(path).unwrap());
        let last = self.layers - 1;
        if last == 0 {
            return;
        }
        let target = self.temp.path().join("deferred");
        fs::create_dir(&target).unwrap();
        let lower = self.below(last);
        let (ready, go) = rustix::pipe::pipe().unwrap();
        rustix::io::write(&go, b"x").unwrap();
        let options = Options {
            target: open(target.clone()),
            lower,
            ready: Some(ready),
            userxattr: false,
            merge: None,
        };
        let result = crate::apply(Cursor::new(archive), limits, options);
        match (expected, &result) {
            (Ok((expected, _)), Ok((applied, _))) => {
                let tree = |path: PathBuf| {
                    let mut bytes = Vec::new();
                    let options =
                        crate::PackOptions { form: crate::Form::Exact, userxattr: false, max_bytes: 1 << 30 };
                    // A tree of sparse files can be more than can be looked at.
                    crate::pack(open(path).as_fd(), &mut bytes, options).is_ok().then_some(bytes)
                };
                let (wanted, found) = (tree(self.layer(last)), tree(target.clone()));
                let text = |bytes: &Option<Vec<u8>>| {
                    String::from_utf8_lossy(bytes.as_deref().unwrap_or_default()).into_owned()
                };
                assert!(wanted == found, "{}\n{}", text(&wanted), text(&found));
                assert_eq!(expected.warning_count, applied.warning_count);
            }
            (Err(expected), Err(found)) => assert_eq!(format!("{expected:?}"), format!("{found:?}")),
            other => panic!("{other:?}"),
        }
        fs::remove_dir_all(&target).unwrap();
    }

    fn apply(&mut self, tar: Tar) -> Applied {
        self.apply_with(&tar.end(), Limits::default()).unwrap().0
    }

    /// Applies the next layer, which must be refused by a rule.
    #[track_caller]
    fn refuse(&mut self, tar: Tar) -> &'static str {
        match self.apply_with(&tar.end(), Limits::default()) {
            Err(Error::Invalid { rule, .. }) => {
                // The next attempt has the same layers below.
                self.layers -= 1;
                fs::remove_dir_all(self.layer(self.layers)).unwrap();
                rule
            }
            other => panic!("not refused: {other:?}"),
        }
    }

    /// A path in the last layer.
    fn at(&self, path: &str) -> PathBuf {
        self.layer(self.layers - 1).join(path)
    }

    fn stat(&self, path: &str) -> fs::Metadata {
        fs::symlink_metadata(self.at(path)).unwrap()
    }

    fn exists(&self, path: &str) -> bool {
        fs::symlink_metadata(self.at(path)).is_ok()
    }

    fn is_whiteout(&self, path: &str) -> bool {
        fs::symlink_metadata(self.at(path))
            .is_ok_and(|stat| stat.file_type().is_char_device() && stat.rdev() == 0)
    }

    fn opaque(&self, path: &str) -> bool {
        xattr_of(&self.at(path), "trusted.overlay.opaque").as_deref() == Some(b"y")
    }

    /// What a container sees: every path with its content, or `/` for directories.
    fn merged(&self) -> Vec<(String, String)> {
        let lower: Vec<_> =
            (0..self.layers).rev().map(|index| self.layer(index).to_str().unwrap().to_owned()).collect();
        let [upper, work, merged] = ["upper", "work", "merged"].map(|name| {
            let path = self.temp.path().join(name);
            fs::create_dir_all(&path).unwrap();
            path
        });
        let options =
            format!("lowerdir={},upperdir={},workdir={}", lower.join(":"), upper.display(), work.display());
        let merged = &merged;
        // A thread of its own, with a mount namespace of its own, which goes with it.
        std::thread::scope(|scope| {
            let seen = scope.spawn(move || {
                #[allow(deprecated)]
                rustix::thread::unshare(rustix::thread::UnshareFlags::NEWNS).unwrap();
                let private =
                    rustix::mount::MountPropagationFlags::PRIVATE | rustix::mount::MountPropagationFlags::REC;
                rustix::mount::mount_change("/", private).unwrap();
                let options = std::ffi::CString::new(options).unwrap();
                let flags = rustix::mount::MountFlags::empty();
                rustix::mount::mount("overlay", merged, "overlay", flags, Some(options.as_c_str())).unwrap();
                let mut seen = Vec::new();
                list(merged, merged, &mut seen);
                seen.sort();
                seen
            });
            seen.join().unwrap()
        })
    }
}

fn list(root: &Path, dir: &Path, seen: &mut Vec<(String, String)>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
        // A useless whiteout would be listed, and fail here.
        let stat = fs::symlink_metadata(&path).unwrap();
        if stat.is_dir() {
            seen.push((name, "/".into()));
            list(root, &path, seen);
        } else if stat.is_symlink() {
            seen.push((name, format!("-> {}", fs::read_link(&path).unwrap().display())));
        } else {
            seen.push((name, String::from_utf8(fs::read(&path).unwrap()).unwrap()));
        }
    }
}

fn tree(entries: &[(&str, &str)]) -> Vec<(String, String)> {
    entries.iter().map(|&(name, content)| (name.to_owned(), content.to_owned())).collect()
}

fn xattr_of(path: &Path, name: &str) -> Option<Vec<u8>> {
    let mut value = vec![0; 70_000];
    let length = rustix::fs::lgetxattr(path, name, &mut value).ok()?;
    value.truncate(length);
    Some(value)
}

const CAPABILITY: &[u8] = &[1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

#[test]
fn all_kinds_of_entries_get_all_their_attributes() {
    if not_root() {
        return;
    }
    let mut world = World::new();
    let applied = world.apply(
        Tar::new()
            .entry(Head::new(b'5', "./").mode(0o751).owner(5, 6).mtime(11))
            .entry(Head::new(b'5', "d").mode(0o2555).owner(1, 2).mtime(22))
            .pax(&[("mtime", b"33.123456789"), ("SCHILY.xattr.user.x", b"\0v\n")])
            .data(Head::new(b'0', "d/f").mode(0o4755).owner(3, 4), b"content")
            .pax(&[("SCHILY.xattr.security.capability", CAPABILITY)])
            .data(Head::new(b'0', "d/ping").mode(0o755).owner(7, 8), b"program")
            .entry(Head::new(b'2', "d/l").link("/etc/passwd").owner(9, 10).mtime(44))
            .entry(Head::new(b'1', "d/h").link("./d/f"))
            .entry(Head::new(b'6', "d/fifo").mode(0o622).owner(11, 12).mtime(55))
            .entry(Head::new(b'3', "d/null").device(1, 3).mode(0o666).mtime(66))
            .entry(Head::new(b'4', "d/disk").device(8, 300).mode(0o660).owner(0, 6))
            .entry(Head::new(b'5', "t").mode(0o1777).mtime(77))
            .entry(Head::new(b'0', "t/socket").mode(0o140777)),
    );
    assert_eq!((applied.entries, applied.content_bytes), (11, 14));
    assert_eq!(
        applied.warnings,
        [Warning { kind: WarningKind::Socket, errno: 0, object: b"t/socket".to_vec() }]
    );
    let look = |path: &str| {
        let stat = world.stat(path);
        (stat.mode() & 0o7777, stat.uid(), stat.gid(), stat.mtime())
    };
    assert_eq!(look(""), (0o751, 5, 6, 11));
    assert_eq!(look("d"), (0o2555, 1, 2, 22));
    assert_eq!(look("d/f"), (0o4755, 3, 4, 33));
    assert_eq!(world.stat("d/f").mtime_nsec(), 123_456_789);
    assert_eq!(world.stat("d/f").atime(), 33);
    assert_eq!(xattr_of(&world.at("d/f"), "user.x").unwrap(), b"\0v\n");
    assert_eq!(xattr_of(&world.at("d/ping"), "security.capability").unwrap(), CAPABILITY);
    assert_eq!(look("d/l").1..=look("d/l").2, 9..=10);
    assert_eq!((look("d/l").3, fs::read_link(world.at("d/l")).unwrap()), (44, "/etc/passwd".into()));
    assert_eq!((world.stat("d/h").ino(), world.stat("d/h").nlink()), (world.stat("d/f").ino(), 2));
    assert_eq!(look("d/fifo"), (0o622, 11, 12, 55));
    assert_eq!(look("d/null"), (0o666, 0, 0, 66));
    assert_eq!(world.stat("d/null").rdev(), rustix::fs::makedev(1, 3));
    assert!(world.stat("d/disk").file_type().is_block_device());
    assert_eq!(world.stat("d/disk").rdev(), rustix::fs::makedev(8, 300));
    assert_eq!(look("t"), (0o1777, 0, 0, 77));
    assert!(!world.exists("t/socket"));
}

#[test]
fn the_root_is_a_directory() {
    if not_root() {
        return;
    }
    let mut world = World::new();
    let canary = world.canary_bytes();
    for name in [".", "./", "/.", "/", "//", "./."] {
        for kind in *b"0123467" {
            // A name that ends in a slash is refused earlier; both are refusals.
            world.refuse(Tar::new().entry(Head::new(kind, name).link(&canary).device(1, 3)));
        }
        world.apply(Tar::new().dir(name));
    }
    for kind in *b"01235" {
        world.refuse(Tar::new().entry(Head::new(kind, "").link(&canary)));
    }
    // What a link at the root would have done to the next layer.
    world.apply(Tar::new().file("x", b"1"));
    assert!(world.exists("x"));
}

#[test]
fn nothing_goes_through_a_link() {
    if not_root() {
        return;
    }
    let mut world = World::new();
    let canary = world.canary_bytes();
    let relative = b"../canary".to_vec();
    let far = [&b"../".repeat(20)[..], &canary[1..]].concat();
    for target in [&canary, &relative, &far] {
        let link = Tar::new().symlink("a", target);
        for (n, tail) in [
            Tar::new().file("a/x", b"evil"),
            Tar::new().dir("a/x"),
            Tar::new().symlink("a/x", "y"),
            Tar::new().hard_link("a/x", "a"),
            Tar::new().entry(Head::new(b'3', "a/x").device(1, 3)),
            Tar::new().file("a/b/c/d", b"evil"),
            Tar::new().file("a/file", b"evil"),
        ]
        .into_iter()
        .enumerate()
        {
            let rule = world.refuse(Tar([link.0.clone(), tail.0].concat()));
            assert!(rule.contains("symbolic link"), "{n}: {rule}");
        }
        // A marker in such a directory is an entry below the link, too.
        world.refuse(Tar([link.0.clone(), Tar::new().file("a/.wh..wh..opq", b"").0].concat()));
    }
    // Chains, loops, links in the middle.
    let mut chain = Tar::new().symlink("l0", &canary);
    for n in 1..40 {
        chain = chain.symlink(format!("l{n}"), format!("l{}", n - 1));
    }
    world.refuse(chain.file("l39/x", b"evil"));
    world.refuse(Tar::new().symlink("loop", "loop").file("loop/x", b"evil"));
    world.refuse(Tar::new().dir("d").symlink("d/up", "..").file("d/up/d/up/x", b"evil"));
    world.refuse(Tar::new().file("f", b"").file("f/x", b""));
}

#[test]
fn links_of_earlier_layers_lead_nowhere() {
    if not_root() {
        return;
    }
    let mut world = World::new();
    let canary = world.canary_bytes();
    world.apply(Tar::new().symlink("a", &canary).symlink("etc", &canary).dir("real").file("real/f", b"1"));
    world.apply(
        Tar::new()
            .file("a/x", b"mine")
            .file("a/deep/er/y", b"mine")
            .file("etc/.wh.file", b"")
            .file("etc/.wh..wh..opq", b""),
    );
    assert!(world.stat("a").is_dir() && world.stat("etc").is_dir());
    // There is nothing below to hide: the lower `etc` is a link.
    assert!(!world.exists("etc/file") && !world.opaque("etc"));
    assert_eq!(
        world.merged(),
        tree(&[
            ("a", "/"),
            ("a/deep", "/"),
            ("a/deep/er", "/"),
            ("a/deep/er/y", "mine"),
            ("a/x", "mine"),
            ("etc", "/"),
            ("real", "/"),
            ("real/f", "1"),
        ])
    );
}

#[test]
fn attributes_stay_on_what_was_made() {
    if not_root() {
        return;
    }
    let mut world = World::new();
    let canary = world.canary_bytes();
    let file = [&canary[..], b"/file"].concat();
    world.apply(
        Tar::new()
            .symlink("a", &canary)
            .entry(Head::new(b'5', "a").mode(0o777).owner(1, 1).mtime(1))
            .symlink("b", &file)
            .data(Head::new(b'0', "b").mode(0o666).owner(1, 1).mtime(1), b"evil")
            .symlink("c", &file)
            .pax(&[("SCHILY.xattr.user.evil", b"x")])
            .entry(Head::new(b'2', "c").link(&file).owner(2, 2).mtime(1)),
    );
    assert_eq!(world.stat("a").mode(), 0o040777);
    assert_eq!(fs::read(world.at("b")).unwrap(), b"evil");
    assert_eq!(world.stat("c").uid(), 2);
}

#[test]
fn hard_links_stay_in_the_layer() {
    if not_root() {
        return;
    }
    let mut world = World::new();
    let canary = world.canary();
    // Names must not be resolved from the working directory either.
    std::env::set_current_dir(&canary).unwrap();
    let file = [&world.canary_bytes()[..], b"/file"].concat();
    for target in
        [&file[..], b"../canary/file", b"file", b"/file", b"../file", b"a/../file", b"absent", b"./absent/x"]
    {
        world.refuse(Tar::new().hard_link("h", target));
    }
    let outside = world.canary_bytes();
    world.refuse(Tar::new().symlink("s", &outside).hard_link("h", "s/file"));
    world.refuse(Tar::new().dir("d").hard_link("h", "d"));
    world.refuse(Tar::new().hard_link("h", "."));
    world.refuse(Tar::new().file("h", b"").hard_link("h", "h"));
    world.refuse(Tar::new().dir("d").file("d/f", b"").hard_link("d", "d/f"));
    world.refuse(Tar::new().file("f", b"").hard_link("h", "f/x"));
    // To a link it is another name of the link, which is never followed; writing to the name then replaces it.
    world.apply(
        Tar::new()
            .symlink("s", &file)
            .hard_link("h", "s")
            .symlink("t", &file)
            .hard_link("u", "t")
            .file("u", b"evil")
            .dir("d")
            .file("d/one", b"1")
            .dir("e")
            .hard_link("e/two", "/d/one")
            .hard_link("e/two", "d/one")
            .hard_link("three", "./d/one"),
    );
    assert_eq!(world.stat("h").ino(), world.stat("s").ino());
    assert_eq!(fs::read(world.at("u")).unwrap(), b"evil");
    assert!(world.stat("t").is_symlink());
    assert_eq!(world.stat("three").nlink(), 3);
    std::env::set_current_dir("/").unwrap();
}

thread_local! {
    static REFUSED: std::cell::Cell<Option<Errno>> = const { std::cell::Cell::new(None) };
}

/// What a file system that makes no links says to every one of this thread.
pub(super) fn refused() -> Option<Errno> {
    REFUSED.get()
}

#[test]
fn hard_links_that_the_file_system_refuses_are_copies() {
    let archive = || {
        Tar::new()
            .dir("d")
            .data(Head::new(b'0', "d/f").mode(0o4750).mtime(77), b"abc")
            .symlink("d/s", "f")
            .entry(Head::new(b'6', "d/fifo"))
            .file("h", b"in the way")
            .hard_link("h", "d/f")
            .hard_link("again", "h")
            .hard_link("s", "d/s")
            .hard_link("p", "d/fifo")
    };
    for errno in [Errno::PERM, Errno::MLINK, Errno::OPNOTSUPP, Errno::XDEV, Errno::NOSYS] {
        let mut world = World::new();
        world.apply(Tar::new().file("below", b""));
        REFUSED.set(Some(errno));
        let applied = world.apply(archive());
        REFUSED.set(None);
        let links: Vec<_> = applied.warnings.iter().filter(|one| one.kind == WarningKind::Link).collect();
        assert_eq!(links.len(), 4, "{:?}", applied.warnings);
        assert_eq!((links[0].errno, links[0].object.as_slice()), (errno.raw_os_error(), &b"h"[..]));
        let layer = world.layer(1);
        let first = fs::metadata(layer.join("d/f")).unwrap();
        for name in ["h", "again"] {
            assert_eq!(fs::read(layer.join(name)).unwrap(), b"abc");
            let stat = fs::metadata(layer.join(name)).unwrap();
            assert_ne!(stat.ino(), first.ino());
            assert_eq!((stat.mode() & 0o7777, stat.mtime()), (0o4750, 77));
        }
        assert_eq!(fs::read_link(layer.join("s")).unwrap(), Path::new("f"));
        assert!(fs::symlink_metadata(layer.join("p")).unwrap().file_type().is_fifo());
    }
    // Copies count as content.
    let mut world = World::new();
    REFUSED.set(Some(Errno::PERM));
    let many =
        (0..10).fold(Tar::new().file("f", &[b'x'; 1000]), |tar, n| tar.hard_link(format!("h{n}"), "f"));
    let limits = Limits { max_bytes: 5000, ..Limits::default() };
    let error = world.apply_with(&many.end(), limits).unwrap_err();
    assert!(matches!(error, Error::Limit { .. }), "{error}");
    // Any other failure is one.
    REFUSED.set(Some(Errno::NOSPC));
    let error = world.apply_with(&archive().end(), Limits::default()).unwrap_err();
    REFUSED.set(None);
    assert!(matches!(error, Error::System { errno, .. } if errno == Errno::NOSPC.raw_os_error()), "{error}");
}

#[test]
fn hard_links_to_lower_layers_are_copies() {
    if not_root() {
        return;
    }
    let mut world = World::new();
    let outside = [&world.canary_bytes()[..], b"/file"].concat();
    world.apply(
        Tar::new()
            .dir("d")
            .pax(&[("SCHILY.xattr.user.k", b"v"), ("mtime", b"9.5")])
            .data(Head::new(b'0', "d/f").mode(0o4711).owner(3, 4), b"low")
            .symlink("d/out", &outside)
            .entry(Head::new(b'6', "d/fifo").mode(0o600))
            .file("gone", b"x")
            .symlink("dirlink", "d"),
    );
    world.apply(Tar::new().file(".wh.gone", b"").dir("o").file("o/x", b"1"));
    world.refuse(Tar::new().hard_link("h", "gone"));
    world.refuse(Tar::new().hard_link("h", "d"));
    world.refuse(Tar::new().hard_link("h", "dirlink/f"));
    world.refuse(Tar::new().file("o/.wh..wh..opq", b"").hard_link("h", "o/x"));
    world.refuse(Tar::new().file("o/.wh.x", b"").hard_link("h", "o/x"));
    world.refuse(Tar::new().file(".wh.o", b"").hard_link("h", "o/x"));
    world.refuse(Tar::new().file(".wh..wh..opq", b"").hard_link("h", "o/x"));
    world.apply(Tar::new().hard_link("h", "d/f").hard_link("n/out", "d/out").hard_link("p", "d/fifo"));
    let stat = world.stat("h");
    assert_eq!(
        (stat.mode() & 0o7777, stat.uid(), stat.gid(), stat.mtime(), stat.nlink()),
        (0o4711, 3, 4, 9, 1)
    );
    assert_eq!(fs::read(world.at("h")).unwrap(), b"low");
    assert_eq!(xattr_of(&world.at("h"), "user.k").unwrap(), b"v");
    assert_eq!(fs::read_link(world.at("n/out")).unwrap().as_os_str(), OsStr::from_bytes(&outside));
    assert!(world.stat("p").file_type().is_fifo());
    // Copies count: an archive of links is no way to fill the disk.
    let mut many = Tar::new();
    for n in 0..10 {
        many = many.hard_link(format!("h{n}"), "d/f");
    }
    let limits = Limits { max_bytes: 16 << 10, ..Limits::default() };
    assert!(world.apply_with(&many.clone().end(), limits).is_ok());
    world.apply(Tar::new().data(Head::new(b'0', "big"), &vec![7; 10_000]));
    let links = Tar::new().hard_link("1", "big").hard_link("2", "big").end();
    assert!(matches!(world.apply_with(&links, limits), Err(Error::Limit { .. })));
}

#[test]
fn whiteouts_hide_what_is_below() {
    if not_root() {
        return;
    }
    let mut world = World::new();
    world.apply(
        Tar::new()
            .dir("d")
            .file("d/a", b"1")
            .file("d/b", b"1")
            .dir("e")
            .file("e/a", b"1")
            .dir("g")
            .file("g/a", b"1")
            .file("f", b"1")
            .file("keep", b"1")
            .file("dev", b"1"),
    );
    let applied = world.apply(
        Tar::new()
            .file("d/.wh.a", b"")
            .file("d/.wh.nothing", b"")
            // Before and after the entry of the same name.
            .file(".wh.f", b"")
            .file("f", b"2")
            .file("f2", b"2")
            .file(".wh.f2", b"")
            .file(".wh.e", b"")
            .dir("e")
            .file("e/new", b"2")
            .file("g/new", b"2")
            .file(".wh.g", b"")
            .file(".wh.absent", b"")
            .entry(Head::new(b'3', "dev").device(0, 0)),
    );
    assert_eq!(applied.warnings, []);
    assert!(world.is_whiteout("d/a") && world.is_whiteout("dev"));
    assert!(!world.exists("d/nothing") && !world.exists("absent"));
    assert!(world.opaque("e") && world.opaque("g"));
    assert!(!world.exists(".wh.f") && !world.exists("d/.wh.a"));
    assert_eq!(
        world.merged(),
        tree(&[
            ("d", "/"),
            ("d/b", "1"),
            ("e", "/"),
            ("e/new", "2"),
            ("f", "2"),
            ("f2", "2"),
            ("g", "/"),
            ("g/new", "2"),
            ("keep", "1"),
        ])
    );
    // Whiteouts of the base layer have nothing to hide.
    let mut world = World::new();
    world.apply(Tar::new().dir("d").file("d/.wh.a", b"").file(".wh.b", b"").file("d/.wh..wh..opq", b""));
    assert_eq!(world.merged(), tree(&[("d", "/")]));
}

#[test]
fn opaque_directories_keep_their_siblings_in_any_order() {
    if not_root() {
        return;
    }
    let base = || {
        let mut world = World::new();
        world.apply(
            Tar::new()
                .entry(Head::new(b'5', "d").mode(0o700).mtime(5))
                .file("d/old", b"1")
                .dir("d/s")
                .file("d/s/x", b"1"),
        );
        world
    };
    let marker = Tar::new().file("d/.wh..wh..opq", b"").0;
    let content = Tar::new().file("d/new", b"2").file("d/s/y", b"2").file("d/.wh.old", b"").0;
    for parts in [vec![&marker, &content], vec![&content, &marker], vec![&marker, &content, &marker]] {
        let mut world = base();
        world.apply(Tar(parts.into_iter().flatten().copied().collect()));
        assert!(world.opaque("d"));
        assert!(!world.exists("d/old") && !world.exists("d/.wh..wh..opq"));
        // A parent that the archive leaves out looks as it did.
        assert_eq!((world.stat("d").mode() & 0o777, world.stat("d").mtime()), (0o700, 5));
        assert_eq!(world.merged(), tree(&[("d", "/"), ("d/new", "2"), ("d/s", "/"), ("d/s/y", "2")]));
    }
    let mut world = base();
    world.apply(
        Tar::new()
            .file("d/.wh..wh..opq", b"")
            .entry(Head::new(b'5', "d").mode(0o755).mtime(6))
            .file("d/n", b"2"),
    );
    assert!(world.opaque("d"));
    assert_eq!((world.stat("d").mode() & 0o777, world.stat("d").mtime()), (0o755, 6));
}

#[test]
fn whiteouts_further_down_go_with_what_they_hid() {
    if not_root() {
        return;
    }
    let base = || {
        let mut world = World::new();
        let mut tar =
            Tar::new().dir("d").dir("d/s").file("d/s/x", b"1").dir("d/s/t").file("d/s/t/y", b"1").dir("d/o");
        tar = tar.file("d/o/z", b"1").file("d/keep", b"1");
        for n in 0..50 {
            tar = tar.dir(format!("d/n{n}")).file(format!("d/n{n}/x"), b"1");
        }
        world.apply(tar);
        world
    };
    let content = |mut tar: Tar| {
        tar = tar.file("d/s/.wh.x", b"").file("d/s/t/.wh.y", b"").file("d/s/t/new", b"2");
        tar = tar.file("d/o/.wh.z", b"").file("d/o/.wh..wh..opq", b"");
        for n in 0..50 {
            tar = tar.file(format!("d/n{n}/.wh.x"), b"");
        }
        tar
    };
    for marker in ["d/.wh..wh..opq", ".wh.d", ".wh..wh..opq"] {
        let mut world = base();
        world.apply(content(Tar::new()).file(marker, b"").file("after", b"2"));
        assert!(!world.exists("d/s/x") && !world.exists("d/s/t/y") && !world.exists("d/o/z"), "{marker}");
        assert!((0..50).all(|n| !world.exists(&format!("d/n{n}/x"))), "{marker}");
        let merged = world.merged();
        let shown = |path: &str| merged.iter().any(|(name, _)| name == path);
        assert!(shown("d/s/t/new") && shown("after"), "{marker}");
        assert!(!shown("d/keep") && !shown("d/s/x"), "{marker}");
    }
    // Without it they stay, for they have something to hide.
    let mut world = base();
    world.apply(content(Tar::new()));
    assert!(world.exists("d/s/x") && world.exists("d/n7/x"));
}

#[test]
fn an_opaque_root_hides_everything() {
    if not_root() {
        return;
    }
    for marker_first in [true, false] {
        let mut world = World::new();
        world.apply(Tar::new().file("a", b"1").dir("d").file("d/x", b"1").dir("e").file("e/x", b"1"));
        world.apply(Tar::new().file("b", b"1").file(".wh.a", b""));
        let marker = Tar::new().file(".wh..wh..opq", b"").0;
        let content = Tar::new().file("d/y", b"2").file("b", b"2").file("c", b"2").0;
        let parts = if marker_first { [marker, content] } else { [content, marker] };
        world.apply(Tar(parts.concat()));
        assert_eq!(world.merged(), tree(&[("b", "2"), ("c", "2"), ("d", "/"), ("d/y", "2")]));
    }
}

#[test]
fn markers_of_other_tools_are_never_made() {
    if not_root() {
        return;
    }
    let mut world = World::new();
    world.apply(
        Tar::new()
            .dir(".wh..wh.plnk")
            .file(".wh..wh.plnk/1.2", b"data")
            .file(".wh..wh.aufs", b"")
            .file("d/.wh..wh.orph", b"x")
            .file("after", b"1"),
    );
    assert_eq!(world.merged(), tree(&[("after", "1")]));
    for bad in ["d/.wh.", "d/.wh..", "d/.wh...", ".wh.x/y", "d/.wh.x/y/z"] {
        world.refuse(Tar::new().file(bad, b""));
    }
    // A marker is one whatever its type says, and its data is no file.
    world.apply(Tar::new().dir(".wh.after").file(".wh.d", b"data").file("z", b"1"));
    assert_eq!(world.merged(), tree(&[("z", "1")]));
}

#[test]
fn of_duplicates_the_last_wins() {
    if not_root() {
        return;
    }
    let mut world = World::new();
    world.apply(
        Tar::new()
            .file("f", b"first and longer")
            .data(Head::new(b'0', "f").mode(0o600).mtime(3), b"last")
            .dir("x")
            .file("x/y", b"1")
            .file("x", b"file")
            .entry(Head::new(b'5', "x").mode(0o711).mtime(4))
            .file("x/z", b"1")
            .file("n", b"")
            .symlink("n", "x")
            .dir("n")
            .pax(&[("SCHILY.xattr.user.a", b"1")])
            .dir("m")
            .file("m/kept", b"1")
            .pax(&[("SCHILY.xattr.user.b", b"1")])
            .entry(Head::new(b'5', "m").mode(0o700).mtime(5))
            .file("l", b"l")
            .hard_link("k", "l")
            .file("k", b"changed"),
    );
    assert_eq!(
        world.merged(),
        tree(&[
            ("f", "last"),
            ("k", "changed"),
            ("l", "l"),
            ("m", "/"),
            ("m/kept", "1"),
            ("n", "/"),
            ("x", "/"),
            ("x/z", "1"),
        ])
    );
    assert_eq!((world.stat("x").mode() & 0o777, world.stat("x").mtime()), (0o711, 4));
    assert_eq!((world.stat("m").mode() & 0o777, world.stat("m").mtime()), (0o700, 5));
    assert_eq!(xattr_of(&world.at("m"), "user.a"), None);
    assert_eq!(xattr_of(&world.at("m"), "user.b").unwrap(), b"1");
}

#[test]
fn missing_parents_look_as_below() {
    if not_root() {
        return;
    }
    let mut world = World::new();
    world.apply(
        Tar::new()
            .entry(Head::new(b'5', ".").mode(0o711).owner(9, 9).mtime(9))
            .pax(&[("SCHILY.xattr.user.a", b"v")])
            .entry(Head::new(b'5', "a").mode(0o1770).owner(1, 2).mtime(3))
            .entry(Head::new(b'5', "a/b").mode(0o2700).owner(4, 5).mtime(6))
            .entry(Head::new(b'5', "w/v").mode(0o700).owner(7, 7))
            .entry(Head::new(b'5', "o/p").mode(0o700).owner(7, 7))
            .entry(Head::new(b'5', "k").mode(0o700).owner(7, 7)),
    );
    world.apply(
        Tar::new()
            .file(".wh.w", b"")
            .entry(Head::new(b'5', "o").mode(0o750).owner(8, 8))
            .file("o/.wh..wh..opq", b"")
            .file("k", b"now a file"),
    );
    world.apply(
        Tar::new()
            .file("a/b/c/f", b"1")
            .file("w/v/f", b"1")
            .file("o/p/f", b"1")
            .file("k/f", b"1")
            .file("q/f", b"1"),
    );
    let look = |path: &str| {
        let stat = world.stat(path);
        (stat.mode() & 0o7777, stat.uid(), stat.gid(), stat.mtime())
    };
    let default = (0o755, 0, 0, 0);
    // No entry for the root: the layer below has its defaults for the same reason, not those of the first.
    assert_eq!(look("a"), (0o1770, 1, 2, 3));
    assert_eq!(xattr_of(&world.at("a"), "user.a").unwrap(), b"v");
    assert_eq!(look("a/b"), (0o2700, 4, 5, 6));
    assert_eq!((look("a/b/c"), world.stat("a/b/c/f").gid()), (default, 0));
    assert_eq!((look("w"), look("w/v")), (default, default));
    assert_eq!((look("o").0, look("o/p")), (0o750, default));
    assert_eq!((look("k"), look("q")), (default, default));
    assert_eq!(look(""), (0o711, 9, 9, 9));
}

#[test]
fn names_of_every_sort() {
    if not_root() {
        return;
    }
    let mut world = World::new();
    let longest = "n".repeat(255);
    let path = format!("{}/{}", vec!["d".repeat(47); 80].join("/"), "f".repeat(200));
    let applied = world.apply(
        Tar::new()
            .file("/absolute", b"1")
            .file("./dotted/./x", b"1")
            .file("//twice//y", b"1")
            .file(b"\xff\xfe\xc3", b"1")
            .file("new\nline", b"1")
            .file("-rf", b"1")
            .file("...", b"1")
            .pax(&[("path", longest.as_bytes())])
            .file("short", b"1")
            .pax(&[("path", path.as_bytes())])
            .file("short", b"deep"),
    );
    assert_eq!(applied.entries, 9);
    for name in ["absolute", "dotted/x", "twice/y", "new\nline", "-rf", "...", &longest] {
        assert!(world.exists(name), "{name}");
    }
    assert!(fs::symlink_metadata(world.layer(0).join(OsStr::from_bytes(b"\xff\xfe\xc3"))).is_ok());
    for bad in ["..", "../x", "a/../x", "/..", "a/..", "./../x"] {
        world.refuse(Tar::new().file(bad, b"evil"));
        world.refuse(Tar::new().dir(bad));
    }
    for length in [256, 1000, 4095, 60_000] {
        world.refuse(Tar::new().pax(&[("path", &vec![b'x'; length])]).file("x", b""));
        world.refuse(Tar::new().long(b'L', &vec![b'x'; length]).data(Head::new(b'0', "x").magic(GNU), b""));
    }
    world.refuse(Tar::new().pax(&[("path", &b"x/".repeat(3000)), ("mtime", b"1")]).dir("x"));
    world.refuse(Tar::new().pax(&[("linkpath", &vec![b'x'; 5000])]).symlink("x", "y"));
    world.refuse(Tar::new().pax(&[("linkpath", b"a\0b")]).symlink("x", "y"));
}

#[test]
fn attributes_follow_the_table() {
    if not_root() {
        return;
    }
    let mut world = World::new();
    let applied = world.apply(
        Tar::new()
            .pax(&[
                ("SCHILY.xattr.user.good", b"1"),
                ("SCHILY.xattr.user.overlay.opaque", b"y"),
                ("SCHILY.xattr.trusted.overlay.opaque", b"y"),
                ("SCHILY.xattr.trusted.overlay.redirect", b"/etc"),
                ("SCHILY.xattr.security.selinux", b"label"),
                ("SCHILY.xattr.system.posix_acl_access", b"x"),
            ])
            .dir("d")
            .pax(&[
                ("SCHILY.xattr.trusted.overlay.metacopy", b""),
                ("SCHILY.xattr.security.capability", b"bad"),
            ])
            .file("d/f", b"1")
            .pax(&[("SCHILY.xattr.user.x", b"1")])
            .symlink("l", "d"),
    );
    assert_eq!(applied.warning_count, 8);
    assert_eq!(applied.warnings.iter().filter(|warning| warning.kind == WarningKind::XattrPolicy).count(), 6);
    assert!(applied.warnings.iter().any(|warning| warning.object == b"d: trusted.overlay.redirect"));
    assert_eq!(xattr_of(&world.at("d"), "user.good").unwrap(), b"1");
    for name in
        ["user.overlay.opaque", "trusted.overlay.opaque", "trusted.overlay.redirect", "security.selinux"]
    {
        assert_eq!(xattr_of(&world.at("d"), name), None, "{name}");
    }
    assert_eq!(xattr_of(&world.at("d/f"), "trusted.overlay.metacopy"), None);
    // However many there are, they are counted and not kept.
    let mut many = Tar::new();
    for n in 0..100 {
        many = many.pax(&[("SCHILY.xattr.trusted.x", b"1")]).file(format!("f{n}"), b"");
    }
    let applied = world.apply(many);
    assert_eq!((applied.warnings.len(), applied.warning_count), (64, 100));
}

#[test]
fn sparse_files_stay_sparse() {
    if not_root() {
        return;
    }
    let mut world = World::new();
    let size = 1u64 << 30;
    let map = format!("0,512,{},512", size - 512);
    let data = [[b'A'; 512], [b'B'; 512]].concat();
    world.apply(
        Tar::new()
            .pax(&[
                ("GNU.sparse.size", size.to_string().as_bytes()),
                ("GNU.sparse.numblocks", b"2"),
                ("GNU.sparse.name", b"disk"),
                ("GNU.sparse.map", map.as_bytes()),
            ])
            .data(Head::new(b'0', "x").mtime(5), &data)
            .pax(&[("GNU.sparse.size", b"4096"), ("GNU.sparse.numblocks", b"0"), ("GNU.sparse.map", b"")])
            .file("hole", b""),
    );
    let stat = world.stat("disk");
    assert_eq!((stat.len(), stat.mtime()), (size, 5));
    assert!(stat.blocks() < 100, "{}", stat.blocks());
    assert_eq!(world.stat("hole").len(), 4096);
    // And a copy of it.
    world.apply(Tar::new().hard_link("copy", "disk"));
    let stat = world.stat("copy");
    assert_eq!(stat.len(), size);
    assert!(stat.blocks() < 100, "{}", stat.blocks());
    let copy = fs::File::open(world.at("copy")).unwrap();
    let mut end = [0; 512];
    std::os::unix::fs::FileExt::read_exact_at(&copy, &mut end, size - 512).unwrap();
    assert_eq!(end, [b'B'; 512]);
    let bomb = Tar::new()
        .pax(&[
            ("GNU.sparse.size", b"4611686018427387904"),
            ("GNU.sparse.numblocks", b"0"),
            ("GNU.sparse.map", b""),
        ])
        .file("bomb", b"");
    assert!(matches!(world.apply_with(&bomb.end(), Limits::default()), Err(Error::Limit { .. })));
}

#[test]
fn times_survive_any_order() {
    if not_root() {
        return;
    }
    let mut world = World::new();
    // All directories first, then their content from the outside in, again and again: breadth first, and deeper than what is kept open.
    let mut tar = Tar::new().entry(Head::new(b'5', ".").mtime(1000));
    let paths: Vec<String> = (1..90).map(|depth| vec!["d"; depth].join("/")).collect();
    for (n, path) in paths.iter().enumerate() {
        tar = tar.pax(&[("path", path.as_bytes())]).entry(Head::new(b'5', "x").mode(0o555).mtime(n as u64));
    }
    for round in 0..3 {
        for path in &paths {
            tar = tar.pax(&[("path", format!("{path}/f{round}").as_bytes())]).file("x", b"");
        }
        for path in paths.iter().rev() {
            tar = tar.pax(&[("path", format!("{path}/g{round}").as_bytes())]).file("x", b"");
        }
        tar = tar.file(format!("r{round}"), b"");
    }
    world.apply(tar);
    for (n, path) in paths.iter().enumerate() {
        let stat = world.stat(path);
        assert_eq!((stat.mtime(), stat.mode() & 0o777), (n as i64, 0o555), "{path}");
        assert_eq!(fs::read_dir(world.at(path)).unwrap().count(), if n + 1 == paths.len() { 6 } else { 7 });
    }
    assert_eq!(world.stat("").mtime(), 1000);
}

#[test]
fn set_group_id_directories_do_not_leak_into_children() {
    if not_root() {
        return;
    }
    let mut world = World::new();
    world.apply(
        Tar::new()
            .entry(Head::new(b'5', "s").mode(0o2775).owner(0, 50))
            .file("s/f", b"")
            .dir("s/d")
            .symlink("s/l", "x")
            .file("s/made/f", b""),
    );
    for path in ["s/f", "s/d", "s/l", "s/made", "s/made/f"] {
        let stat = world.stat(path);
        assert_eq!((stat.gid(), stat.mode() & 0o2000), (0, 0), "{path}");
    }
}

#[test]
fn the_target_has_to_be_empty_and_the_archive_whole() {
    if not_root() {
        return;
    }
    let world = World::new();
    let target = world.temp.path().join("target");
    fs::create_dir(&target).unwrap();
    fs::write(target.join("x"), b"").unwrap();
    let options = Options {
        target: fs::File::open(&target).unwrap().into(),
        lower: Layers::none(),
        ready: None,
        userxattr: false,
        merge: None,
    };
    let result = Applier::new(options, Limits::default());
    assert!(
        matches!(result.err(), Some(Error::System { errno, .. }) if errno == Errno::NOTEMPTY.raw_os_error())
    );
    let mut world = World::new();
    let whole = Tar::new().file("a", &[1; 2000]).end();
    assert!(world.apply_with(&whole[..1500], Limits::default()).is_err());
    let limits = Limits { max_entries: 1, ..Limits::default() };
    assert!(matches!(
        world.apply_with(&Tar::new().file("a", b"").file("b", b"").end(), limits),
        Err(Error::Limit { .. })
    ));
}
