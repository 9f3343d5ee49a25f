//! Layers that are applied all at the same time come out as layers that are applied one after the other.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::io::{Cursor, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use coble_layer::{Error, Form, Layers, Limits, Options, PackOptions};

#[path = "../src/testing.rs"]
mod testing;
use testing::{Head, Tar, Xorshift};

const NAMES: [&str; 4] = ["a", "b", "c", "d"];
const LAYERS: usize = 4;

/// An archive of a few names, so that everything meets everything.
fn archive(random: &mut Xorshift) -> Vec<u8> {
    let mut tar = Tar::new();
    for step in 0..random.below(14) {
        let depth = 1 + random.below(3);
        let mut path: Vec<String> = (0..depth).map(|_| NAMES[random.below(NAMES.len())].to_owned()).collect();
        let mode = [0o755, 0o700, 0o2775, 0o1777][random.below(4)];
        let time = 1_000_000_000 + random.below(1000) as u64;
        let owner = [0, 1, 1000][random.below(3)];
        let head = |kind, name: String| Head::new(kind, name).owner(owner, owner).mtime(time);
        tar = match random.below(12) {
            0..=2 => tar.entry(head(b'5', path.join("/")).mode(mode)),
            3..=5 => tar.data(head(b'0', path.join("/")), format!("{step}").as_bytes()),
            6 => tar.symlink(path.join("/"), "x"),
            7 => {
                let target = (0..1 + random.below(3)).map(|_| NAMES[random.below(NAMES.len())]);
                tar.hard_link(path.join("/"), target.collect::<Vec<_>>().join("/"))
            }
            8 | 9 => {
                let last = path.pop().unwrap();
                path.push(format!(".wh.{last}"));
                tar.file(path.join("/"), b"")
            }
            10 => {
                *path.last_mut().unwrap() = ".wh..wh..opq".into();
                tar.file(path.join("/"), b"")
            }
            _ if random.below(3) == 0 => tar.entry(head(b'5', "./".into()).mode(mode)),
            _ => tar,
        };
    }
    tar.end()
}

fn open(path: &Path) -> OwnedFd {
    fs::File::open(path).unwrap().into()
}

fn exact(path: &Path) -> Vec<u8> {
    let mut bytes = Vec::new();
    let options = PackOptions { form: Form::Exact, userxattr: false, max_bytes: 1 << 30 };
    coble_layer::pack(open(path).as_fd(), &mut bytes, options).unwrap();
    bytes
}

/// Directories of layers, the lowest first, and those below one of them.
fn layer(root: &Path, index: usize) -> std::path::PathBuf {
    root.join(index.to_string())
}

fn below(root: &Path, index: usize) -> Layers {
    Layers::new(open(root), (0..index).rev().map(|index| index.to_string()).collect())
}

/// Gives its bytes a few at a time, so that the threads get in each other's way.
struct Slow(Cursor<Vec<u8>>);

impl Read for Slow {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let most = buffer.len().min(700);
        std::thread::yield_now();
        self.0.read(&mut buffer[..most])
    }
}

#[test]
fn side_by_side_is_one_after_the_other() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: giving owners and making whiteouts takes root");
        return;
    }
    rustix::process::umask(rustix::fs::Mode::empty());
    let mut good = 0;
    for seed in 1..=60u64 {
        let temp = tempfile::tempdir().unwrap();
        let (one, other) = (temp.path().join("one"), temp.path().join("other"));
        for root in [&one, &other] {
            for index in 0..LAYERS {
                fs::create_dir_all(layer(root, index)).unwrap();
            }
        }
        let mut random = Xorshift(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        // Archives that are refused are replaced, so that whole stacks come about.
        let mut archives: Vec<Vec<u8>> = Vec::new();
        while archives.len() < LAYERS {
            let index = archives.len();
            let bytes = archive(&mut random);
            let target = layer(&one, index);
            let options = Options {
                target: open(&target),
                lower: below(&one, index),
                ready: None,
                userxattr: false,
                merge: None,
            };
            match coble_layer::apply(Cursor::new(&bytes), Limits::default(), options) {
                Ok(_) => archives.push(bytes),
                Err(Error::Invalid { .. }) => {
                    fs::remove_dir_all(&target).unwrap();
                    fs::create_dir(&target).unwrap();
                }
                Err(error) => panic!("{error:?}"),
            }
        }
        let pipes: Vec<_> = (0..LAYERS).map(|_| rustix::pipe::pipe().unwrap()).collect();
        let (readers, writers): (Vec<_>, Vec<_>) = pipes.into_iter().unzip();
        // A layer may need nothing of those below and be done before them: what is above waits for all.
        let done = std::sync::Mutex::new([false; LAYERS]);
        std::thread::scope(|scope| {
            for (index, (bytes, ready)) in archives.iter().zip(readers).enumerate().rev() {
                let (other, writers, done) = (&other, &writers, &done);
                scope.spawn(move || {
                    let options = Options {
                        target: open(&layer(other, index)),
                        lower: below(other, index),
                        ready: (index > 0).then_some(ready),
                        userxattr: false,
                        merge: None,
                    };
                    let input = Slow(Cursor::new(bytes.clone()));
                    coble_layer::apply(input, Limits::default(), options).unwrap();
                    let mut done = done.lock().unwrap();
                    done[index] = true;
                    let complete = done.iter().take_while(|done| **done).count();
                    for go in writers.iter().skip(1).take(complete) {
                        // Nobody reads it where nothing is needed.
                        let _ = rustix::io::write(go, b"x");
                    }
                });
            }
        });
        for index in 0..LAYERS {
            let (wanted, found) = (exact(&layer(&one, index)), exact(&layer(&other, index)));
            assert!(
                wanted == found,
                "seed {seed}, layer {index}:\n{}\n{}",
                String::from_utf8_lossy(&wanted),
                String::from_utf8_lossy(&found)
            );
        }
        good += 1;
    }
    assert_eq!(good, 60);
}

#[test]
fn a_layer_whose_lower_layers_never_come_is_an_error() {
    let temp = tempfile::tempdir().unwrap();
    let (target, lower) = (temp.path().join("target"), temp.path().join("lower"));
    fs::create_dir(&target).unwrap();
    fs::create_dir(&lower).unwrap();
    let (ready, writer) = rustix::pipe::pipe().unwrap();
    drop(writer);
    let options = Options {
        target: open(&target),
        lower: Layers::new(open(temp.path()), vec!["lower".into()]),
        ready: Some(ready),
        userxattr: true,
        merge: None,
    };
    let bytes = Tar::new().file("a/b", b"x").end();
    let result = coble_layer::apply(Cursor::new(bytes), Limits::default(), options);
    assert!(matches!(result, Err(Error::Read(_))), "{result:?}");
}
