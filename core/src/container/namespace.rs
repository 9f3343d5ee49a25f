//! Namespaces: those of the host, which the container's have to differ from; and the network namespace, for an engine that may make it itself. That takes the kernel as
//! long as everything else together, so it is made beside that, on a thread of its own.

use std::os::fd::AsFd;
use std::thread::JoinHandle;

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

use coble_protocol::{Connection, Namespace};

use crate::error::{Call, Error, ErrorKind, Result};
use crate::{process, sys};

/// The two ends of the way that the namespace goes to the container's first process.
pub(super) fn channel() -> Result<(Connection, Connection)> {
    let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)
        .call("socketpair", "network namespace")?;
    Ok((Connection::new(ours), Connection::new(theirs)))
}

/// The namespaces of this thread that a container may have in common with it.
pub(super) fn of_the_host() -> Result<Vec<(String, u64)>> {
    const NAMES: [&str; 7] = ["mnt", "pid", "net", "ipc", "uts", "user", "cgroup"];
    let mut found = Vec::with_capacity(NAMES.len());
    for name in NAMES {
        let path = format!("/proc/thread-self/ns/{name}");
        match rustix::fs::stat(&path) {
            Ok(stat) => found.push((name.to_owned(), stat.st_ino)),
            // A kernel may lack these.
            Err(Errno::NOENT) if matches!(name, "user" | "cgroup") => {}
            Err(errno) => return Err(errno).call("stat", path),
        }
    }
    Ok(found)
}

/// Refuses a thread whose next child would be the first process of a new pid namespace: ours would be that one, for a moment, and the namespace of no use any more.
pub(super) fn check_children() -> Result<()> {
    let inode =
        |name: &str| rustix::fs::stat(format!("/proc/thread-self/ns/{name}")).ok().map(|stat| stat.st_ino);
    // The second is missing in a namespace that has no process yet.
    match (inode("pid"), inode("pid_for_children")) {
        (Some(own), children) if children != Some(own) => Err(Error::new(
            ErrorKind::Unsupported,
            "this thread has unshared its pid namespace, and its next child will be the first process of the new one",
        )
        .with_hint("start a process in it first, or call from another thread")),
        _ => Ok(()),
    }
}

/// Has the namespace made, by a thread that does nothing else, since it becomes that thread's own. Without one, the container makes it itself.
pub(super) fn provide(channel: Connection) -> Option<JoinHandle<()>> {
    process::spawn_worker("coble-network", move || {
        if let Ok(namespace) = sys::new_network_namespace() {
            // A container that has ended meanwhile needs none.
            let loopback = sys::loopback_up().is_ok();
            let _ = channel.try_send(&Namespace { loopback }, &[namespace.as_fd()]);
        }
        // Not only closed: a child that the host program forked at the wrong moment may have a copy of it.
        let _ = rustix::net::shutdown(&channel, rustix::net::Shutdown::Write);
    })
    .ok()
}
