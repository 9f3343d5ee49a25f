//! Namespaces: those of the host, which the container's have to differ from; and the network namespace, for an engine that may make it itself. That takes the kernel as
//! long as everything else together, so it is made beside that, on a thread of its own, and for one who starts container after container ahead of the start.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

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

/// How long a namespace that was made ahead is used, and how soon after another a start has to come for one to be made: the kernel gives a new namespace the network parameters
/// that the host has then.
const FRESH: Duration = Duration::from_secs(2);

const NETWORK: Option<LinkNameSpaceType> = Some(LinkNameSpaceType::Network);

/// A network namespace that was made ahead, for the next container of one who starts many. An engine that starts one now and then has none.
#[derive(Debug, Default)]
pub(crate) struct Spare(Mutex<Slot>);

#[derive(Debug, Default)]
struct Slot {
    ready: Option<Ready>,
    /// When one was last wanted.
    wanted: Option<Instant>,
}

#[derive(Debug)]
struct Ready {
    namespace: OwnedFd,
    /// What shows it, a `/sys` that cannot be written to: the kernel looks at those of all other containers when it makes one.
    sys: Option<OwnedFd>,
    loopback: bool,
    made: Instant,
    /// The user namespace that it belongs to, and the network namespace that its maker was in.
    home: [u64; 2],
}

impl Spare {
    /// Takes the one that there is, if it is as one would be that is made now, and says whether the next is to be made.
    fn take(&self, home: [u64; 2]) -> (Option<Ready>, bool) {
        let mut slot = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let often = slot.wanted.replace(now).is_some_and(|before| now - before < FRESH);
        // One that is not used is closed here.
        let ready = slot.ready.take().filter(|ready| now - ready.made < FRESH && ready.home == home);
        (ready, often)
    }

    fn put(&self, ready: Ready) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).ready.get_or_insert(ready);
    }
}

/// Hands the container its network namespace: one that was made ahead, or one that a thread makes now; without one, the container makes it itself. The thread makes the next one
/// ahead, too. It does nothing else, since each that it makes becomes its own. `host` are the namespaces of the caller.
pub(super) fn provide(
    channel: Connection,
    spare: &Arc<Spare>,
    host: &[(String, u64)],
) -> Option<JoinHandle<()>> {
    let inode = |wanted: &str| host.iter().find(|(name, _)| name == wanted).map_or(0, |(_, inode)| *inode);
    let home = [inode("user"), inode("net")];
    let (ready, often) = spare.take(home);
    let channel = match ready {
        Some(ready) => {
            hand_over(channel, Some(ready));
            None
        }
        None => Some(channel),
    };
    let spare = spare.clone();
    let work = move || {
        let own = sys::network_namespace();
        if let Some(channel) = channel {
            hand_over(channel, make(home));
        }
        // A new one may take over parameters of the one that its maker is in, which is not to be that of a container.
        let home_again = || own.and_then(|own| move_into_link_name_space(own.as_fd(), NETWORK));
        if often
            && home_again().is_ok()
            && let Some(made) = make(home)
        {
            spare.put(made);
        }
    };
    process::spawn_worker("coble-network", work).ok()
}

/// Makes one, which the calling thread is in then.
fn make(home: [u64; 2]) -> Option<Ready> {
    let namespace = sys::new_network_namespace().ok()?;
    let (sys, loopback) = (sys::sysfs().ok(), sys::loopback_up().is_ok());
    Some(Ready { namespace, sys, loopback, made: Instant::now(), home })
}

fn hand_over(channel: Connection, ready: Option<Ready>) {
    if let Some(Ready { namespace, sys, loopback, .. }) = ready {
        let fds: Vec<BorrowedFd<'_>> =
            [Some(&namespace), sys.as_ref()].into_iter().flatten().map(OwnedFd::as_fd).collect();
        // A container that has ended meanwhile needs none.
        let _ = channel.try_send(&Namespace { loopback }, &fds);
    }
    // Not only closed: a child that the host program forked at the wrong moment may have a copy of it.
    let _ = rustix::net::shutdown(&channel, rustix::net::Shutdown::Write);
}
