//! Stopping all processes of a cgroup, and letting them go on. The kernel's own file is the record of it, so that whoever looks sees the same, whatever has
//! become of the one who stopped them.

use std::fs::File;
use std::io::{Read, Seek};
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::limits::sort;
use super::{Frozen, Problem, tree};
use crate::error::{Call, Error, ErrorKind, Result};

/// How long the kernel may take to stop all processes.
const PATIENCE: Duration = Duration::from_secs(10);

/// Whether the processes of a version 2 cgroup are stopped, or are to be.
pub(super) fn is_frozen(leaf: &Path) -> bool {
    // Asked at every exec: one read of a file of two bytes, and no more.
    let mut state = [0];
    let read = File::open(leaf.join("cgroup.freeze")).and_then(|mut file| file.read(&mut state));
    read.is_ok() && state == *b"1"
}

/// Stops the processes of a version 2 cgroup, and waits until the kernel says that all are.
pub(super) fn freeze(leaf: &Path) -> Result<Frozen> {
    if !leaf.is_dir() {
        return Ok(Err(Problem::new(
            "the container has no cgroup of its own",
            "start the caller with systemd-run --user --scope -p Delegate=yes",
        )));
    }
    let path = leaf.join("cgroup.freeze");
    if let Err(error) = tree::write(&path, "1") {
        return sort("write", &path, &error).map(Err);
    }
    let stopped = until_frozen(leaf);
    if stopped.is_err() {
        let _ = tree::write(&path, "0");
    }
    stopped.map(Ok)
}

fn until_frozen(leaf: &Path) -> Result<()> {
    let path = leaf.join("cgroup.events");
    let mut events = File::open(&path).call("open", &path)?;
    let deadline = Instant::now() + PATIENCE;
    loop {
        let mut text = String::new();
        events.rewind().and_then(|()| events.read_to_string(&mut text)).call("read", &path)?;
        if text.lines().any(|line| line == "frozen 1") {
            return Ok(());
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(late(leaf));
        }
        let timeout = Timespec { tv_sec: left.as_secs() as i64, tv_nsec: i64::from(left.subsec_nanos()) };
        // The kernel tells a change since the last reading.
        let _ = poll(&mut [PollFd::new(&events, PollFlags::PRI)], Some(&timeout));
    }
}

/// As [`freeze`], with the freezer of version 1, which tells nobody when it is done.
pub(super) fn freeze_first(leaf: &Path) -> Result<()> {
    let path = leaf.join("freezer.state");
    let deadline = Instant::now() + PATIENCE;
    loop {
        // Written again each time, since what was forked in between may not be stopped.
        tree::write(&path, "FROZEN").call("write", &path)?;
        if tree::read(&path).call("read", &path)?.trim() == "FROZEN" {
            return Ok(());
        }
        if Instant::now() > deadline {
            return Err(late(leaf));
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn late(leaf: &Path) -> Error {
    Error::new(ErrorKind::Timeout, format!("the processes in \"{}\" do not stop", leaf.display()))
        .with_hint("one of them waits for a device or a file system that does not answer")
}

/// Lets processes go on. A cgroup that is gone is fine.
pub(super) fn thaw(path: &Path, text: &str) -> Result<()> {
    match tree::write(path, text) {
        Err(error) if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ENODEV)) => Ok(()),
        result => result.call("write", path),
    }
}
