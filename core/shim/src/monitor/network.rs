//! The network namespace of a container: made while the monitor and the container's first process do other things, by a thread of the engine or, where that may not, by the
//! first process of the shim, and handed to the container's first process.

use std::os::fd::{AsFd, OwnedFd};

use coble_protocol::{Connection, Failure, Namespace, Step};
use rustix::fs::{Mode, OFlags};
use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space};

use crate::failure::During;
use crate::sys;

/// Makes a namespace and hands it over. This process is in it afterwards. Where that fails, the container's first process tries, and says why it cannot be.
pub(super) fn make(channel: &Connection) {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let made = sys::unshare(UnshareFlags::NEWNET)
        .and_then(|()| rustix::fs::open("/proc/self/ns/net", flags, Mode::empty()));
    if let Ok(namespace) = made {
        // A container that is gone needs none.
        let loopback = sys::loopback_up().is_ok();
        let _ = channel.send(&Namespace { loopback }, &[namespace.as_fd()]);
    }
}

/// Waits for the namespace and enters it, or makes one, and brings up its loopback interface, the only one that it has, unless that was done. Returns the `/sys` that came with
/// it, which is read-only.
pub(crate) fn join(channel: &Connection) -> Result<Option<OwnedFd>, Failure> {
    let (mut sys, mut up) = (None, false);
    let namespace = match channel.recv::<Namespace>() {
        Ok(Some((Namespace { loopback }, mut fds))) => {
            (sys, up) = (fds.take_nth(1).ok(), loopback);
            fds.take_nth(0).ok()
        }
        Ok(None) | Err(_) => None,
    };
    let entered = match namespace {
        Some(namespace) => move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network)),
        None => sys::unshare(UnshareFlags::NEWNET),
    };
    entered.during(Step::Network, "namespace")?;
    if !up {
        sys::loopback_up().during(Step::Loopback, "lo")?;
    }
    Ok(sys)
}
