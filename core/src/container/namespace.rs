//! Namespaces: those of the host, which the container's have to differ from; and the network namespace, for an engine that may make it itself. That takes the kernel as
//! long as everything else together, so it is made beside that, on a thread of its own.

use std::os::fd::AsFd;

use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

use coble_protocol::{Connection, Failure, Handover, Step};

use crate::error::{Call, Result};
use crate::{process, sys};

/// The two ends of the way that the namespace goes to the container's first process.
pub(super) fn channel() -> Result<(Connection, Connection)> {
    let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)
        .call("socketpair", "network namespace")?;
    Ok((Connection::new(ours), Connection::new(theirs)))
}

/// The namespaces of this thread that a container may have in common with it.
pub(super) fn of_the_host() -> Vec<(String, u64)> {
    const NAMES: [&str; 7] = ["mnt", "pid", "net", "ipc", "uts", "user", "cgroup"];
    let inode = |name: &str| {
        let stat = rustix::fs::stat(format!("/proc/thread-self/ns/{name}")).ok()?;
        Some((name.to_owned(), stat.st_ino))
    };
    // A kernel may lack one.
    NAMES.iter().filter_map(|name| inode(name)).collect()
}

/// Makes the namespace, and meanwhile does what is to be done.
pub(super) fn provide<T>(channel: &Connection, meanwhile: impl FnOnce() -> T) -> T {
    std::thread::scope(|scope| {
        // Nowhere else: it is the namespace of the thread that makes it.
        let maker = process::spawn_helper(scope, "coble-network", || make(channel));
        if let Err(error) = maker {
            let errno = error.raw_os_error().unwrap_or(libc::EAGAIN);
            refuse(channel, Failure::new(Step::Network, errno, "thread"));
        }
        meanwhile()
    })
}

fn make(channel: &Connection) {
    match sys::new_network_namespace() {
        // A container that has ended meanwhile needs none.
        Ok(namespace) => drop(channel.try_send(&Handover::Ok(()), &[namespace.as_fd()])),
        Err(errno) => refuse(channel, Failure::new(Step::Network, errno.raw_os_error(), "namespace")),
    }
}

fn refuse(channel: &Connection, failure: Failure) {
    let _ = channel.try_send(&Handover::Err(failure), &[]);
}
