//! Whether the container's processes are stopped where they are. Nothing that is started then gets anywhere, and who waits for it waits for as long as they are.

use std::os::fd::{AsRawFd, OwnedFd};

use rustix::fs::{Mode, OFlags};

/// Whether the processes of a version 2 cgroup are stopped.
pub(super) fn second(home: &OwnedFd) -> bool {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let file = rustix::fs::openat(home, "cgroup.events", flags, Mode::empty());
    file.is_ok_and(|file| read(&file).split(|byte| *byte == b'\n').any(|line| line == b"frozen 1"))
}

/// Whether those are that are in a cgroup of version 1, if it is one that stops them. By its `cgroup.procs`, which is all that the monitor has of it.
pub(super) fn first(procs: &OwnedFd) -> bool {
    let link = format!("/proc/self/fd/{}", procs.as_raw_fd());
    let Ok(path) = rustix::fs::readlink(link, Vec::new()) else { return false };
    let mut path = path.into_bytes();
    let directory = path.iter().rposition(|byte| *byte == b'/').unwrap_or_default();
    path.truncate(directory);
    path.extend_from_slice(b"/freezer.state");
    let file = rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
    // On its way into that state counts, too.
    file.is_ok_and(|file| matches!(read(&file).trim_ascii_end(), b"FROZEN" | b"FREEZING"))
}

fn read(file: &OwnedFd) -> Vec<u8> {
    let mut text = [0; 256];
    let length = rustix::io::read(file, &mut text).unwrap_or(0);
    text[..length].to_vec()
}
