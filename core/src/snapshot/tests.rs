//! A worker for tests that applies archives in this process, and tests of unpacking.

use std::io::Write;
use std::os::fd::AsRawFd;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};

use coble_layer::{Limits, Stream};
use coble_protocol::Failure;

use super::*;
use crate::content::{stage, stage_bytes};
use crate::error::{Error, ErrorKind};
use crate::state::tests::temporary;
use crate::state::verify;

/// Unpacks with the system's tar, which is good enough for archives that the tests make. Counts what it does.
#[derive(Debug, Default)]
pub(crate) struct FakeWorker {
    pub(crate) applied: AtomicUsize,
    pub(crate) removed: AtomicUsize,
    /// Fails with this kind instead of applying.
    pub(crate) fail: Option<ErrorKind>,
    /// Says that it left these out.
    pub(crate) warnings: Vec<Failure>,
}

impl Worker for FakeWorker {
    fn apply(&self, layer: Application<'_>, cancel: &CancelToken) -> Result<ArchiveDone> {
        let Application { target, input, .. } = layer;
        cancel.check()?;
        self.applied.fetch_add(1, Ordering::SeqCst);
        let invalid =
            |error: &dyn std::fmt::Display| Error::new(ErrorKind::InvalidArchive, error.to_string());
        let mut plain = tempfile::tempfile().unwrap();
        let mut decoder = coble_layer::Decoder::new(std::fs::File::from(input.try_clone_to_owned().unwrap()))
            .map_err(|error| invalid(&error))?;
        let mut buffer = vec![0; 65536];
        let mut bytes = Vec::new();
        loop {
            let n = decoder.read(&mut buffer).map_err(|error| invalid(&error))?;
            if n == 0 {
                break;
            }
            bytes.extend_from_slice(&buffer[..n]);
        }
        plain.write_all(&bytes).unwrap();
        let summary = Stream::new(bytes.as_slice(), Limits::default()).unwrap().finish().unwrap();
        std::io::Seek::rewind(&mut plain).unwrap();
        if let Some(kind) = self.fail {
            return Err(Error::new(kind, "as asked"));
        }
        let status = Command::new("tar")
            .args(["-x", "-f", "-", "-C"])
            .arg(format!("/proc/{}/fd/{}", std::process::id(), target.as_raw_fd()))
            .stdin(Stdio::from(plain))
            .stderr(Stdio::null())
            .status()
            .unwrap();
        if !status.success() {
            return Err(Error::new(ErrorKind::InvalidArchive, "tar says no"));
        }
        Ok(ArchiveDone {
            diff_sha256: summary.diff_sha256,
            uncompressed_bytes: bytes.len() as u64,
            warning_count: self.warnings.len() as u64 + u64::from(!self.warnings.is_empty()),
            warnings: self.warnings.clone(),
            ..ArchiveDone::default()
        })
    }

    fn remove(&self, parent: BorrowedFd<'_>, names: &[&str]) -> Result<()> {
        for name in names {
            self.removed.fetch_add(1, Ordering::SeqCst);
            let path = format!("/proc/self/fd/{}/{name}", parent.as_raw_fd());
            match std::fs::remove_dir_all(&path) {
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                result => result.map_err(|error| Error::io("remove", &path, &error))?,
            }
        }
        Ok(())
    }
}

/// A tar with these files.
pub(crate) fn tar(files: &[(&str, &str)]) -> Vec<u8> {
    let dir = tempfile::tempdir().unwrap();
    for (path, content) in files {
        let path = dir.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }
    let output = Command::new("tar")
        .args(["-c", "--sort=name", "--mtime=@1000000000", "--owner=0", "--group=0", "-C"])
        .arg(dir.path())
        .arg(".")
        .output()
        .unwrap();
    assert!(output.status.success());
    output.stdout
}

/// Compresses with a program of the system.
pub(crate) fn compressed(program: &str, bytes: &[u8]) -> Vec<u8> {
    let mut child =
        Command::new(program).arg("-c").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let bytes = bytes.to_vec();
    let writer = std::thread::spawn(move || stdin.write_all(&bytes).unwrap());
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    assert!(output.status.success());
    output.stdout
}

fn put(store: &Store, session: &Session, bytes: &[u8]) -> (Digest, u64) {
    let staged = stage_bytes(session, bytes).unwrap();
    store.publish(session, &staged, &staged.digest).unwrap();
    (staged.digest, staged.size)
}

#[test]
fn the_same_layer_is_unpacked_once_whoever_asks() {
    let (_dir, store) = temporary();
    let worker = FakeWorker::default();
    let never = CancelToken::never();
    let plain = tar(&[("a", "1")]);
    let diff_id = Digest::of(&plain);
    std::thread::scope(|scope| {
        let handles: Vec<_> = (0..8)
            .map(|_| {
                scope.spawn(|| {
                    Session::run(&store, &worker, &never, |session| {
                        let (digest, size) = put(&store, session, &compressed("gzip", &plain));
                        let mut stack = Stack::new(&store, &worker);
                        stack.push(Blob { digest: &digest, size }, Some(&diff_id), &never)?;
                        stack.publish()
                    })
                    .unwrap()
                })
            })
            .collect();
        let results: Vec<_> = handles.into_iter().map(|handle| handle.join().unwrap()).collect();
        assert!(results.iter().all(|result| result.len() == 1));
    });
    assert!(worker.applied.load(Ordering::SeqCst) <= 8);
    // No image refers to it, so that the last session took it away again.
    assert_eq!(std::fs::read_dir(store.paths.layers()).unwrap().count(), 0);
    assert_eq!(verify(&store, &crate::progress::Reporter::silent(), &CancelToken::never()).unwrap(), []);
}

#[test]
fn a_layer_that_is_not_what_was_announced_leaves_nothing() {
    let (_dir, store) = temporary();
    let worker = FakeWorker::default();
    let never = CancelToken::never();
    let push = |bytes: &[u8], expected: &Digest| {
        Session::run(&store, &worker, &never, |session| {
            let (digest, size) = put(&store, session, bytes);
            let mut stack = Stack::new(&store, &worker);
            stack.push(Blob { digest: &digest, size }, Some(expected), &never)?;
            stack.publish()
        })
        .unwrap_err()
        .kind()
    };
    assert_eq!(push(&tar(&[("a", "1")]), &Digest::of(b"other")), ErrorKind::DigestMismatch);
    assert_eq!(
        push(&compressed("gzip", &tar(&[("a", "1")]))[..40], &Digest::of(b"x")),
        ErrorKind::InvalidArchive
    );
    assert_eq!(std::fs::read_dir(store.paths.layers()).unwrap().count(), 0);
    assert_eq!(std::fs::read_dir(store.content.path.join("blobs/sha256")).unwrap().count(), 0);
    assert_eq!(std::fs::read_dir(store.content.path.join("ingest")).unwrap().count(), 0);
}

#[test]
fn what_a_crash_left_is_swept_and_does_not_stop_the_next_one() {
    let (_dir, store) = temporary();
    let worker = FakeWorker::default();
    let never = CancelToken::never();
    let plain = tar(&[("a", "1")]);
    let diff_id = Digest::of(&plain);
    // As after a crash: a session without its process, a blob without a row, a half-made tree, a complete one without a row.
    std::fs::create_dir(store.content.path.join("ingest/0123456789abcdef")).unwrap();
    std::fs::write(store.content.path.join("ingest/0123456789abcdef/x"), "half").unwrap();
    std::fs::write(store.content.path.join("blobs/sha256").join(Digest::of(b"y").hex()), "y").unwrap();
    let key = format!("{diff_id}\n{}", store.idmap);
    let half = format!("{TEMPORARY}{}", &Digest::of(key.as_bytes()).hex()[..32]);
    std::fs::create_dir_all(store.paths.layers().join(&half).join("fs/old")).unwrap();
    std::fs::create_dir_all(store.paths.layers().join("1/fs/old")).unwrap();
    let run = || {
        Session::run(&store, &worker, &never, |session| {
            let mut input = plain.as_slice();
            let staged = stage(session, &mut input, "test", &never)?;
            store.publish(session, &staged, &staged.digest)?;
            let mut stack = Stack::new(&store, &worker);
            stack.push(Blob { digest: &staged.digest, size: staged.size }, Some(&diff_id), &never)?;
            let numbers = stack.publish()?;
            let tree = store.paths.layers().join(format!("{}/fs", numbers[0]));
            assert!(tree.join("a").exists() && !tree.join("old").exists());
            Ok(())
        })
    };
    run().unwrap();
    for dir in
        [store.paths.layers(), store.content.path.join("blobs/sha256"), store.content.path.join("ingest")]
    {
        assert_eq!(std::fs::read_dir(&dir).unwrap().count(), 0, "{}", dir.display());
    }
    std::fs::create_dir(store.content.path.join("ingest/0123456789abcdef")).unwrap();
    std::fs::write(store.content.path.join("blobs/sha256").join(Digest::of(b"y").hex()), "y").unwrap();
    crate::state::sweep(&store, &worker).unwrap();
    assert_eq!(std::fs::read_dir(store.content.path.join("blobs/sha256")).unwrap().count(), 0);
    assert_eq!(std::fs::read_dir(store.content.path.join("ingest")).unwrap().count(), 0);
    assert_eq!(verify(&store, &crate::progress::Reporter::silent(), &CancelToken::never()).unwrap(), []);
}

#[test]
fn a_temporary_tree_that_outlives_its_session_for_a_moment_is_not_forgotten() {
    let (_dir, store) = temporary();
    let worker = FakeWorker::default();
    let marker = store.content.path.join("ingest/0123456789abcdef");
    std::fs::create_dir(&marker).unwrap();
    let name = format!("{TEMPORARY}held");
    let tree = store.paths.layers().join(&name);
    std::fs::create_dir_all(tree.join("fs/a")).unwrap();
    // As after a kill between clone and exec: of the dead process's two locks one is still held by a copy of the descriptor.
    let copy = std::fs::File::open(&tree).unwrap();
    rustix::fs::flock(&copy, rustix::fs::FlockOperation::NonBlockingLockExclusive).unwrap();
    let sweep = || crate::state::sweep(&store, &worker).unwrap();
    sweep();
    assert!(marker.exists() && tree.join("fs/a").exists());
    // Who works meanwhile does not take the marker away either.
    Session::run(&store, &worker, &CancelToken::never(), |_| Ok(())).unwrap();
    assert!(marker.exists() && tree.exists());
    assert_eq!(std::fs::read_dir(store.content.path.join("ingest")).unwrap().count(), 1);
    drop(copy);
    sweep();
    assert!(!marker.exists() && !tree.exists());
}
