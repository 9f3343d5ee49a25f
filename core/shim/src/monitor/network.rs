//! The network namespace of a container: made while the monitor and the container's first process do other things, by a thread of the engine or, where that may not, by the
//! first process of the shim, and handed to the container's first process.

use std::os::fd::{AsFd, OwnedFd};

use coble_protocol::{Connection, Failure, Handover, Step};
use rustix::fs::{Mode, OFlags};
use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space};

use crate::failure::During;
use crate::sys;

/// Makes a namespace and hands it over. This process is in it afterwards.
pub(super) fn make(channel: &Connection) {
    let made = (|| {
        sys::unshare(UnshareFlags::NEWNET).during(Step::Network, "namespace")?;
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        rustix::fs::open("/proc/self/ns/net", flags, Mode::empty()).during(Step::Network, "/proc/self/ns/net")
    })();
    // A container that is gone needs none.
    let _ = match &made {
        Ok(namespace) => channel.send(&Handover::Ok(()), &[namespace.as_fd()]),
        Err(failure) => channel.send(&Handover::Err(failure.clone()), &[]),
    };
}

/// Waits for the namespace, enters it, and brings up its loopback interface, the only one that it has.
pub(crate) fn join(channel: &Connection) -> Result<(), Failure> {
    let step = Step::Network;
    let namespace: OwnedFd = match channel.recv::<Handover>() {
        Ok(Some((Ok(()), mut fds))) => fds.take_nth(0).during(Step::Protocol, "network namespace")?,
        Ok(Some((Err(failure), _))) => return Err(failure),
        Ok(None) => {
            return Err(Failure::rule(step, "namespace", "the process that makes it ended without a word"));
        }
        Err(error) => return Err(error).during(step, "namespace"),
    };
    move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))
        .during(step, "namespace")?;
    sys::loopback_up().during(Step::Loopback, "lo")
}
