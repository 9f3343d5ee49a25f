//! The archive role in processes of its own, looked at from inside and outside.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::{Command, Stdio};

use coble_protocol::{ArchiveDone, ArchiveWork, Below, Connection, Failure, FdList, Fds, Limits, Step, Tree};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::process::{Resource, Rlimit};
use rustix::thread::CapabilitySet;

#[path = "../../../layer/src/testing.rs"]
mod testing;
use testing::{Head, Tar};

const SCENARIO: &str = "COBLE_SHIM_TEST_SCENARIO";
const DIRECTORY: &str = "COBLE_SHIM_TEST_DIRECTORY";

fn not_root() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        eprintln!("skipped: the sandbox takes root, or a user namespace");
    }
    !root
}

/// This test program again, as the process of a scenario.
fn command(scenario: &str, directory: &Path, wrapper: &[&str]) -> Command {
    let own = std::env::current_exe().unwrap();
    let mut words: Vec<&std::ffi::OsStr> = wrapper.iter().map(std::ffi::OsStr::new).collect();
    words.push(own.as_os_str());
    let mut command = Command::new(words[0]);
    command.args(&words[1..]);
    command.args(["--exact", "archive::tests::worker", "--ignored", "--nocapture", "--test-threads=1"]);
    command.env(SCENARIO, scenario).env(DIRECTORY, directory);
    command
}

fn worker_says(scenario: &str, directory: &Path, wrapper: &[&str]) -> String {
    let output = command(scenario, directory, wrapper).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}\n{text}\n{error}", output.status);
    text
}

/// The other side of [`command`].
#[test]
#[ignore = "a part of the other tests"]
fn worker() {
    let (Ok(scenario), Ok(directory)) = (std::env::var(SCENARIO), std::env::var(DIRECTORY)) else { return };
    let directory = Path::new(&directory);
    match scenario.as_str() {
        "confined" => confined(directory),
        "confined remove" => confined_remove(directory),
        "confined read" => confined_read(directory),
        "apply" => println!("{:?}", apply(directory, false)),
        "apply userxattr" => println!("{:?}", apply(directory, true)),
        "remove" => println!("{:?}", remove(directory)),
        "remove mount" => remove_mount(directory),
        "watch" => watch_forever(),
        other => panic!("{other}"),
    }
}

fn open(path: impl AsRef<Path>) -> OwnedFd {
    fs::File::open(path).unwrap().into()
}

/// Descriptors as they come with a message.
fn send<'a>(fds: &'a [OwnedFd], work: impl FnOnce(&mut FdList<'a>) -> ArchiveWork) -> (ArchiveWork, Fds) {
    let mut list = FdList::default();
    let work = work(&mut list);
    let borrowed: Vec<_> = fds.iter().map(AsFd::as_fd).collect();
    let (a, b) = std::os::unix::net::UnixStream::pair().unwrap();
    Connection::new(a.into()).send(&work, &borrowed).unwrap();
    Connection::new(b.into()).recv().unwrap().unwrap()
}

/// The lower layer of a directory.
fn below<'a>(list: &mut FdList<'a>, directory: &'a OwnedFd) -> Below {
    let layers = list.push(directory.as_fd());
    Below { layers, lower: vec!["lower".into()], directory: None, base: None }
}

fn apply(directory: &Path, userxattr: bool) -> Result<ArchiveDone, Failure> {
    let fds = [open(directory.join("target")), open(directory.join("archive")), open(directory)];
    let (work, mut received) = send(&fds, |list| {
        let target = list.push(fds[0].as_fd());
        let input = list.push(fds[1].as_fd());
        let below = below(list, &fds[2]);
        ArchiveWork::Apply { target, input, below, ready: None, userxattr, limits: Limits::default() }
    });
    drop(fds);
    super::change(work, &mut received)
}

fn remove(directory: &Path) -> Result<ArchiveDone, Failure> {
    let fds = [open(directory)];
    let (work, mut received) = send(&fds, |list| ArchiveWork::Remove {
        parent: list.push(fds[0].as_fd()),
        names: ["tree", "missing", "file"].map(String::from).to_vec(),
    });
    drop(fds);
    super::change(work, &mut received)
}

/// Tries everything that a worker taken over by an archive would like to do.
fn confined(directory: &Path) {
    let target = open(directory.join("target"));
    let inside = rustix::fs::fstat(&target).unwrap().st_ino;
    // With more layers than there are descriptors.
    let fds = [open(directory), open(directory), open(directory)];
    let (work, mut received) = send(&fds, |list| ArchiveWork::Changes {
        upper: list.push(fds[0].as_fd()),
        output: list.push(fds[1].as_fd()),
        below: Below { lower: vec!["lower".into(); 300], ..below(list, &fds[2]) },
        userxattr: true,
    });
    let ArchiveWork::Changes { below, .. } = work else { panic!("another job") };
    drop(fds);
    let few = Rlimit { current: Some(24), maximum: Some(24) };
    rustix::process::setrlimit(Resource::Nofile, few).unwrap();
    let given = super::shelf::Given::take(below, &mut received).unwrap();
    drop(received);
    let (target, lower) = super::sandbox::enter_apply(target, given, true).unwrap();
    let shelf = lower.directory().unwrap();
    assert_eq!(rustix::fs::fstat(&target).unwrap().st_ino, inside);
    let open = |dir: BorrowedFd<'_>, path: &str| rustix::fs::openat(dir, path, OFlags::RDONLY, Mode::empty());
    for path in
        ["/etc/passwd", "/proc/self/status", "../canary", "../../../../../../etc/passwd", "/../canary"]
    {
        assert_eq!(open(target.as_fd(), path).unwrap_err(), Errno::NOENT, "{path}");
        assert_eq!(open(shelf, path).unwrap_err(), Errno::NOENT, "{path}");
        assert_eq!(open(shelf, &format!("7/{path}")).unwrap_err(), Errno::NOENT, "{path}");
    }
    open(shelf, "0/file").unwrap();
    open(shelf, "299/file").unwrap();
    let create = rustix::fs::openat(shelf, "7/new", OFlags::CREATE | OFlags::WRONLY, Mode::RWXU);
    assert_eq!(create.unwrap_err(), Errno::ROFS);
    // Nothing else is open but the standard streams and the two.
    let leads_out =
        (3..256).filter(|&fd| fd != target.as_raw_fd() && fd != shelf.as_raw_fd()).filter(|&fd| {
            // SAFETY: asks about a number; nothing happens to a descriptor.
            let mut stat: libc::stat = unsafe { std::mem::zeroed() };
            // SAFETY: `stat` is valid.
            unsafe { libc::fstat(fd, &raw mut stat) == 0 && stat.st_mode & libc::S_IFMT == libc::S_IFDIR }
        });
    assert_eq!(leads_out.count(), 0);
    give_up_checks();
    let sets = rustix::thread::capabilities(None).unwrap();
    let allowed = CapabilitySet::CHOWN
        | CapabilitySet::DAC_OVERRIDE
        | CapabilitySet::FOWNER
        | CapabilitySet::FSETID
        | CapabilitySet::MKNOD
        | CapabilitySet::SETFCAP;
    assert!(allowed.contains(sets.permitted) && allowed.contains(sets.effective));
    assert_eq!(sets.inheritable, CapabilitySet::empty());
    println!("confined");
}

fn confined_remove(directory: &Path) {
    let parent = super::sandbox::enter_remove(open(directory.join("target"))).unwrap();
    for path in ["/etc/passwd", "../canary", "../../../../etc/passwd"] {
        let opened = rustix::fs::openat(&parent, path, OFlags::RDONLY, Mode::empty());
        assert_eq!(opened.unwrap_err(), Errno::NOENT, "{path}");
    }
    give_up_checks();
    let sets = rustix::thread::capabilities(None).unwrap();
    assert!((CapabilitySet::DAC_OVERRIDE | CapabilitySet::FOWNER).contains(sets.permitted));
    println!("confined");
}

/// What reads the merged view of directories cannot change them, nor leave them.
fn confined_read(directory: &Path) {
    let fds = [open(directory)];
    let (work, mut received) = send(&fds, |list| ArchiveWork::Mount {
        tree: Tree::Merged {
            layers: list.push(fds[0].as_fd()),
            lower: vec!["target".into(), "lower".into()],
            directory: None,
            container: None,
            userxattr: true,
        },
    });
    drop(fds);
    let ArchiveWork::Mount { tree } = work else { panic!("another job") };
    super::sandbox::private_namespace().unwrap();
    let mounted = super::view::enter(tree, &mut received).unwrap();
    drop(received);
    let root = super::sandbox::enter_read(mounted, false).unwrap();
    let open = |path: &str, flags| rustix::fs::openat(&root, path, flags, Mode::RWXU);
    for path in ["/etc/passwd", "../canary", "../../../../etc/passwd", "/proc/self/status"] {
        assert_eq!(open(path, OFlags::RDONLY).unwrap_err(), Errno::NOENT, "{path}");
    }
    open("file", OFlags::RDONLY).unwrap();
    assert_eq!(open("new", OFlags::CREATE | OFlags::WRONLY).unwrap_err(), Errno::ROFS);
    assert_eq!(rustix::fs::unlinkat(&root, "file", rustix::fs::AtFlags::empty()).unwrap_err(), Errno::ROFS);
    give_up_checks();
    let sets = rustix::thread::capabilities(None).unwrap();
    assert!(CapabilitySet::DAC_READ_SEARCH.contains(sets.permitted));
    println!("confined");
}

fn give_up_checks() {
    let name = c"/x".as_ptr();
    let none = std::ptr::null::<u8>();
    for (call, text) in [
        (libc::SYS_execve, "execve"),
        (libc::SYS_execveat, "execveat"),
        (libc::SYS_clone, "clone"),
        (libc::SYS_clone3, "clone3"),
        (libc::SYS_socket, "socket"),
        (libc::SYS_connect, "connect"),
        (libc::SYS_ptrace, "ptrace"),
        (libc::SYS_mount, "mount"),
        (libc::SYS_umount2, "umount2"),
        (libc::SYS_pivot_root, "pivot_root"),
        (libc::SYS_chroot, "chroot"),
        (libc::SYS_open_tree, "open_tree"),
        (libc::SYS_move_mount, "move_mount"),
        (libc::SYS_fsopen, "fsopen"),
        (libc::SYS_mount_setattr, "mount_setattr"),
        (libc::SYS_unshare, "unshare"),
        (libc::SYS_setns, "setns"),
        (libc::SYS_open_by_handle_at, "open_by_handle_at"),
        (libc::SYS_bpf, "bpf"),
        (libc::SYS_io_uring_setup, "io_uring_setup"),
        (libc::SYS_keyctl, "keyctl"),
        (libc::SYS_ioctl, "ioctl"),
        (libc::SYS_kill, "kill"),
        (libc::SYS_process_vm_writev, "process_vm_writev"),
        (libc::SYS_setuid, "setuid"),
        (libc::SYS_capset, "capset"),
        (libc::SYS_prlimit64, "prlimit64"),
    ] {
        // SAFETY: none of these gets valid arguments, and the filter refuses all of them.
        let result = unsafe { libc::syscall(call, name, none, none, 0, 0) };
        let errno = std::io::Error::last_os_error().raw_os_error();
        assert_eq!((result, errno), (-1, Some(libc::EPERM)), "{text}");
    }
    let map = |prot, size| {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        // SAFETY: a new mapping, which nobody uses.
        let made = unsafe { libc::mmap(std::ptr::null_mut(), size, prot, flags, -1, 0) };
        if made == libc::MAP_FAILED { std::io::Error::last_os_error().raw_os_error() } else { None }
    };
    assert_eq!(map(libc::PROT_READ | libc::PROT_EXEC, 4096), Some(libc::EPERM));
    assert_eq!(map(libc::PROT_READ, 4096), None);
    assert_eq!(map(libc::PROT_READ, 1 << 30), Some(libc::ENOMEM));
}

/// A directory with a target, a lower layer, an archive and a canary.
fn prepare(archive: &[u8]) -> tempfile::TempDir {
    let temp = tempfile::tempdir().unwrap();
    for name in ["target", "lower", "lower/old"] {
        fs::create_dir(temp.path().join(name)).unwrap();
    }
    fs::write(temp.path().join("lower/file"), b"lower").unwrap();
    fs::write(temp.path().join("lower/old/file"), b"lower").unwrap();
    fs::write(temp.path().join("canary"), b"alive").unwrap();
    fs::write(temp.path().join("archive"), archive).unwrap();
    temp
}

#[test]
fn the_sandbox_confines() {
    if not_root() {
        return;
    }
    let rootless: &[&str] = &["unshare", "--user", "--map-root-user"];
    for wrapper in [&[][..], rootless] {
        for scenario in ["confined", "confined remove", "confined read"] {
            let temp = prepare(b"");
            assert!(worker_says(scenario, temp.path(), wrapper).contains("confined"));
        }
    }
}

fn layer() -> Vec<u8> {
    Tar::new()
        .entry(Head::new(b'5', "./").mode(0o555))
        .entry(Head::new(b'0', "set-id").mode(0o6755).owner(0, 0))
        .entry(Head::new(b'0', "set-id-of-others").mode(0o6755).owner(1000, 1001))
        .entry(Head::new(b'5', "locked").mode(0))
        .file("locked/file", b"content")
        .entry(Head::new(b'3', "null").device(1, 3))
        .hard_link("null2", "null")
        .file(".wh.file", b"")
        .file("old/.wh..wh..opq", b"")
        .hard_link("copy", "old/../file")
        .end()
}

#[test]
fn a_layer_is_applied() {
    if not_root() {
        return;
    }
    // The last entry has `..` in its target, and spoils it all.
    let temp = prepare(&layer());
    let said = worker_says("apply", temp.path(), &[]);
    assert!(said.contains("Err(Failure { step: InvalidArchive"), "{said}");
    let good = &layer()[..layer().len() - 1536];
    let temp = prepare(&[good, &[0; 1024], b"behind the end"].concat());
    let said = worker_says("apply", temp.path(), &[]);
    assert!(said.contains("Ok(ArchiveDone") && said.contains("warning_count: 0"), "{said}");
    let stat = |name: &str| fs::symlink_metadata(temp.path().join("target").join(name)).unwrap();
    assert_eq!((stat("").mode() & 0o7777, stat("set-id").mode() & 0o7777), (0o555, 0o6755));
    let others = stat("set-id-of-others");
    assert_eq!((others.mode() & 0o7777, others.uid(), others.gid()), (0o6755, 1000, 1001));
    assert_eq!((stat("null").rdev(), stat("file").rdev()), (rustix::fs::makedev(1, 3), 0));
    assert!(stat("file").file_type().is_char_device());
    let mut value = [0; 8];
    let old = temp.path().join("target/old");
    assert_eq!(rustix::fs::getxattr(&old, "trusted.overlay.opaque", &mut value[..]), Ok(1));
    assert_eq!(fs::read(temp.path().join("canary")).unwrap(), b"alive");
}

#[test]
fn a_layer_is_applied_with_a_single_id() {
    if not_root() {
        return;
    }
    let good = &layer()[..layer().len() - 1536];
    let temp = prepare(&[good, &[0; 1024]].concat());
    let said = worker_says("apply userxattr", temp.path(), &["unshare", "--user", "--map-root-user"]);
    assert!(said.contains("Ok(ArchiveDone") && said.contains("warning_count: 3"), "{said}");
    assert!(said.contains("step: Device, errno: 1"), "{said}");
    let stat = |name: &str| fs::symlink_metadata(temp.path().join("target").join(name)).unwrap();
    // Set to somebody else than the archive meant, it would be a gift.
    assert_eq!((stat("set-id").mode() & 0o7777, stat("set-id-of-others").mode() & 0o7777), (0o6755, 0o755));
    assert_eq!(stat("set-id-of-others").uid(), rustix::process::geteuid().as_raw());
    assert_eq!(fs::read(temp.path().join("target/locked/file")).unwrap(), b"content");
    assert_eq!(stat("locked").mode() & 0o7777, 0);
    assert!(stat("file").file_type().is_char_device() && stat("file").rdev() == 0);
    assert!(fs::symlink_metadata(temp.path().join("target/null")).is_err());
    let mut value = [0; 8];
    let old = temp.path().join("target/old");
    assert_eq!(rustix::fs::getxattr(&old, "user.overlay.opaque", &mut value[..]), Ok(1));
}

#[test]
fn trees_are_removed() {
    if not_root() {
        return;
    }
    let rootless: &[&str] = &["unshare", "--user", "--map-root-user"];
    for wrapper in [&[][..], rootless] {
        let temp = prepare(b"");
        fs::create_dir_all(temp.path().join("tree/work/work/x")).unwrap();
        fs::write(temp.path().join("tree/work/work/x/file"), b"").unwrap();
        fs::write(temp.path().join("file"), b"").unwrap();
        std::os::unix::fs::symlink("../../canary", temp.path().join("tree/work/link")).unwrap();
        for (path, mode) in [("tree/work/work", 0o000), ("tree/work", 0o555), ("tree", 0o100)] {
            fs::set_permissions(temp.path().join(path), fs::Permissions::from_mode(mode)).unwrap();
        }
        let said = worker_says("remove", temp.path(), wrapper);
        assert!(said.contains("Ok(ArchiveDone"), "{said}");
        assert!(!temp.path().join("tree").exists() && !temp.path().join("file").exists());
        assert_eq!(fs::read(temp.path().join("canary")).unwrap(), b"alive");
    }
}

/// In a mount namespace of its own.
fn remove_mount(directory: &Path) {
    let point = directory.join("tree/a/point");
    rustix::mount::mount("tmpfs", &point, "tmpfs", rustix::mount::MountFlags::empty(), None).unwrap();
    fs::write(point.join("precious"), b"x").unwrap();
    let mounted = open(&point);
    let failure = remove(directory).unwrap_err();
    assert_eq!((failure.step, failure.errno), (Step::Remove, libc::EXDEV));
    rustix::fs::openat(&mounted, "precious", OFlags::RDONLY, Mode::empty()).unwrap();
    println!("kept");
}

#[test]
fn mount_points_are_not_crossed() {
    if not_root() {
        return;
    }
    let temp = prepare(b"");
    fs::create_dir_all(temp.path().join("tree/a/point")).unwrap();
    let said = worker_says("remove mount", temp.path(), &["unshare", "--mount"]);
    assert!(said.contains("kept"), "{said}");
}

fn watch_forever() {
    let control = std::io::stdin();
    super::watch(control.as_fd()).unwrap();
    println!("watching");
    let (read, _write) = rustix::pipe::pipe().unwrap();
    let mut byte = [0];
    // Messages are no reason to end.
    loop {
        let _ = rustix::io::read(&read, &mut byte);
    }
}

#[test]
fn the_worker_ends_with_the_engine() {
    let temp = tempfile::tempdir().unwrap();
    let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
    let mut child = command("watch", temp.path(), &[])
        .stdin(OwnedFd::from(theirs))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().contains("watching")));
    rustix::io::write(&ours, b"not the end").unwrap();
    assert!(child.try_wait().unwrap().is_none());
    drop(ours);
    assert_eq!(child.wait().unwrap().code(), Some(1));
}
