use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{FileExt, PermissionsExt, symlink};
use std::path::Path;
use std::process::{Command, Stdio};

use super::*;
use crate::{Limits, Options, apply};

const OPTIONS: PackOptions = PackOptions { form: Form::Tree, userxattr: true, max_bytes: 1 << 40 };

fn dir(path: &Path) -> OwnedFd {
    fs::File::open(path).unwrap().into()
}

fn packed(path: &Path, form: Form) -> (Vec<u8>, Packed) {
    let mut bytes = Vec::new();
    let packed = pack(dir(path).as_fd(), &mut bytes, PackOptions { form, ..OPTIONS }).unwrap();
    assert_eq!(packed.bytes, bytes.len() as u64);
    (bytes, packed)
}

fn unpacked(bytes: &[u8], into: &Path) -> Packed {
    fs::create_dir(into).unwrap();
    let target = dir(into);
    let options = Options { target, lower: crate::Layers::none(), ready: None, userxattr: true, merge: None };
    let (_, summary) = apply(bytes, Limits::default(), options).unwrap();
    let (_, packed) = packed(into, Form::Tree);
    assert_eq!(summary.diff_sha256, packed.sha256, "the tree does not come back as it was");
    packed
}

fn tree(root: &Path) {
    fs::create_dir_all(root.join("b/deep/er")).unwrap();
    fs::create_dir(root.join("a")).unwrap();
    fs::write(root.join("a/file"), "content").unwrap();
    fs::set_permissions(root.join("a/file"), fs::Permissions::from_mode(0o4711)).unwrap();
    fs::hard_link(root.join("a/file"), root.join("b/again")).unwrap();
    symlink("/etc/passwd", root.join("b/link")).unwrap();
    let long = "n".repeat(200);
    fs::create_dir_all(root.join(&long).join(&long)).unwrap();
    fs::write(root.join(&long).join(&long).join(&long), vec![7; 1000]).unwrap();
    symlink("t".repeat(300), root.join("far")).unwrap();
    fs::write(root.join("empty"), "").unwrap();
    let odd = std::os::unix::ffi::OsStrExt::from_bytes(b"\xff\n=\\");
    fs::write(root.join::<&std::ffi::OsStr>(odd), "odd").unwrap();
    rustix::fs::mknodat(dir(root), "pipe", FileType::Fifo, rustix::fs::Mode::from_raw_mode(0o600), 0)
        .unwrap();
    let flags = rustix::fs::XattrFlags::empty();
    rustix::fs::setxattr(root.join("a/file"), "user.kept", b"\0binary\n", flags).unwrap();
    rustix::fs::setxattr(root.join("b"), "user.overlay.opaque", b"y", flags).unwrap();
}

#[test]
fn a_tree_comes_back_as_it_was() {
    let temp = tempfile::tempdir().unwrap();
    let root = temp.path().join("tree");
    fs::create_dir(&root).unwrap();
    tree(&root);
    let (bytes, first) = packed(&root, Form::Tree);
    assert_eq!(packed(&root, Form::Tree).0, bytes);
    assert_eq!(first.warning_count, 0);
    unpacked(&bytes, &temp.path().join("again"));
}

#[test]
fn other_tools_read_it() {
    let temp = tempfile::tempdir().unwrap();
    let root = temp.path().join("tree");
    fs::create_dir(&root).unwrap();
    tree(&root);
    let file = fs::File::create(root.join("sparse")).unwrap();
    file.set_len(64 << 20).unwrap();
    file.write_all_at(b"middle", 32 << 20).unwrap();
    let (bytes, _) = packed(&root, Form::Tree);
    assert!(bytes.len() < 1 << 20, "{}", bytes.len());
    let archive = temp.path().join("archive.tar");
    fs::write(&archive, &bytes).unwrap();
    let out = temp.path().join("out");
    fs::create_dir(&out).unwrap();
    let tar = Command::new("tar").arg("-xpf").arg(&archive).arg("-C").arg(&out).status().unwrap();
    assert!(tar.success());
    assert_eq!(fs::read(out.join("sparse")).unwrap(), fs::read(root.join("sparse")).unwrap());
    assert_eq!(fs::read(out.join("b/again")).unwrap(), b"content");
    assert_eq!(fs::read_link(out.join("far")).unwrap().as_os_str().len(), 300);
    let python = "import sys,tarfile\nt=tarfile.open(sys.argv[1])\nprint(sum(m.size for m in t if m.isreg()), len(t.getnames()))";
    let output = Command::new("python3").arg("-c").arg(python).arg(&archive).stdout(Stdio::piped()).output();
    let Ok(output) = output else { return };
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(text.split(' ').next(), Some((7 + 1000 + 3 + (64 << 20)).to_string().as_str()), "{text}");
}

#[test]
fn sparse_files_come_back() {
    let temp = tempfile::tempdir().unwrap();
    let root = temp.path().join("tree");
    fs::create_dir(&root).unwrap();
    for (name, size, at) in [
        ("end", 8 << 20, vec![(8 << 20) - 3]),
        ("start", 8 << 20, vec![0]),
        ("odd", (8 << 20) + 5, vec![1 << 20, 5 << 20]),
        ("nothing", 1u64 << 33, vec![]),
    ] {
        let file = fs::File::create(root.join(name)).unwrap();
        file.set_len(size).unwrap();
        for offset in at {
            file.write_all_at(b"abc", offset).unwrap();
        }
    }
    let (bytes, _) = packed(&root, Form::Tree);
    assert!(bytes.len() < 1 << 20);
    let again = temp.path().join("again");
    unpacked(&bytes, &again);
    for name in ["end", "start", "odd"] {
        assert!(fs::read(root.join(name)).unwrap() == fs::read(again.join(name)).unwrap(), "{name}");
    }
    assert_eq!(fs::metadata(again.join("nothing")).unwrap().len(), 1 << 33);
}

#[test]
fn whiteouts_and_opaque_directories_get_their_names() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let temp = tempfile::tempdir().unwrap();
    let root = temp.path();
    fs::create_dir_all(root.join("opaque/in")).unwrap();
    fs::write(root.join("opaque/file"), "").unwrap();
    let flags = rustix::fs::XattrFlags::empty();
    rustix::fs::setxattr(root.join("opaque"), "user.overlay.opaque", b"y", flags).unwrap();
    for name in ["gone", "opaque/in/gone"] {
        let mode = rustix::fs::Mode::empty();
        rustix::fs::mknodat(dir(root), name, FileType::CharacterDevice, mode, 0).unwrap();
    }
    let names = |form| {
        let (bytes, _) = packed(root, form);
        let mut reader = crate::Reader::new(bytes.as_slice(), Limits::default());
        let mut names = Vec::new();
        while reader.advance().unwrap() {
            names.push(String::from_utf8(reader.entry().path.clone()).unwrap());
        }
        names
    };
    assert_eq!(
        names(Form::Layer),
        [".wh.gone", "opaque/", "opaque/.wh..wh..opq", "opaque/file", "opaque/in/", "opaque/in/.wh.gone"]
    );
    assert_eq!(names(Form::Tree), ["opaque/", "opaque/file", "opaque/in/"]);
    assert_eq!(names(Form::Exact), ["./", "gone", "opaque/", "opaque/file", "opaque/in/", "opaque/in/gone"]);
    // A name that would be taken for a whiteout by everybody who reads the layer.
    fs::write(root.join("opaque/.wh.etc"), "").unwrap();
    let error =
        pack(dir(root).as_fd(), Vec::new(), PackOptions { form: Form::Layer, ..OPTIONS }).unwrap_err();
    assert!(matches!(error, Error::Invalid { ref entry, .. } if entry == b"opaque/.wh.etc"), "{error}");
}

#[test]
fn what_changes_meanwhile_leaves_the_archive_whole() {
    /// Truncates the file when the first of its bytes are written.
    struct Truncating<'a>(Vec<u8>, &'a Path);
    impl Write for Truncating<'_> {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            if bytes.len() > 1024 {
                fs::File::options().write(true).open(self.1).unwrap().set_len(300_000).unwrap();
            }
            self.0.extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let temp = tempfile::tempdir().unwrap();
    let file = temp.path().join("a");
    fs::write(&file, vec![1; 2_000_000]).unwrap();
    fs::write(temp.path().join("b"), "after").unwrap();
    let mut output = Truncating(Vec::new(), &file);
    let packed = pack(dir(temp.path()).as_fd(), &mut output, OPTIONS).unwrap();
    assert_eq!((packed.warning_count, packed.warnings[0].kind), (1, WarningKind::Shrunk));
    let mut reader = crate::Reader::new(output.0.as_slice(), Limits::default());
    let mut sizes = Vec::new();
    while reader.advance().unwrap() {
        let mut size = 0;
        while let Some((_, bytes)) = reader.chunk().unwrap() {
            size += bytes.len();
        }
        sizes.push(size);
    }
    assert_eq!(sizes, [2_000_000, 5]);
}

#[test]
fn bounds_hold() {
    let temp = tempfile::tempdir().unwrap();
    fs::write(temp.path().join("a"), vec![1; 100_000]).unwrap();
    let options = PackOptions { max_bytes: 50_000, ..OPTIONS };
    let error = pack(dir(temp.path()).as_fd(), Vec::new(), options).unwrap_err();
    assert!(matches!(error, Error::Limit { .. }), "{error}");
}
