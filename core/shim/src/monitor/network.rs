//! The network namespace of a container: made by the first process of the shim while the monitor and the container's first process do
//! other things, and handed to the latter.

use std::os::fd::{AsFd, OwnedFd};

use coble_protocol::{Connection, Failure, Step};
use rustix::fs::{Mode, OFlags};
use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space};

use crate::failure::During;
use crate::sys;

/// Makes a namespace with nothing but loopback, which is up, and hands it over. This process is in it afterwards.
pub(super) fn make(channel: &Connection) {
    let made = (|| {
        sys::unshare(UnshareFlags::NEWNET).during(Step::Network, "namespace")?;
        sys::loopback_up().during(Step::Loopback, "lo")?;
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        rustix::fs::open("/proc/self/ns/net", flags, Mode::empty()).during(Step::Network, "/proc/self/ns/net")
    })();
    // A container that is gone needs none.
    let _ = match &made {
        Ok(namespace) => channel.send(&Ok::<(), Failure>(()), &[namespace.as_fd()]),
        Err(failure) => channel.send(&Err::<(), Failure>(failure.clone()), &[]),
    };
}

/// Waits for the namespace and enters it.
pub(crate) fn join(channel: &Connection) -> Result<(), Failure> {
    let step = Step::Network;
    let namespace: OwnedFd = match channel.recv::<Result<(), Failure>>() {
        Ok(Some((Ok(()), mut fds))) => fds.take_nth(0).during(Step::Protocol, "network namespace")?,
        Ok(Some((Err(failure), _))) => return Err(failure),
        Ok(None) => {
            return Err(Failure::rule(step, "namespace", "the process that makes it ended without a word"));
        }
        Err(error) => return Err(error).during(step, "namespace"),
    };
    move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network)).during(step, "namespace")
}
