//! The namespaces that a container has in common with others: which are made for it, and how those of another container are entered.
//!
//! Nothing of the other container's files is touched but its `/dev/shm`, which is what it shares, and the procfs that shows its processes.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use coble_protocol::{Connection, Failure, Fds, Network, Step};
use rustix::fs::{AtFlags, CWD, Mode, OFlags, ResolveFlags};
use rustix::process::{WaitId, WaitIdOptions};
use rustix::thread::{LinkNameSpaceType, ThreadNameSpaceType, move_into_link_name_space};
use serde::{Deserialize, Serialize};

use super::mount;
use crate::failure::During;
use crate::sys;

const SHM: &str = "/dev/shm";
const PROC: &str = "/proc";
/// The kernel's numbers of tmpfs and procfs.
const SHM_TYPE: i64 = 0x0102_1994;
const PROC_TYPE: i64 = 0x9fa0;

/// Where a namespace comes from.
#[derive(Debug)]
pub(crate) enum Space {
    /// It is made for the container.
    Own,
    /// It is the host's, in which the monitor is.
    Host,
    /// It is this one of another container, with this number.
    Joined(OwnedFd, u64),
}

/// Where `/dev/shm` comes from.
#[derive(Debug)]
pub(crate) enum Shm {
    Own,
    None,
    Host,
    /// What is there in this mount namespace.
    Joined(OwnedFd),
}

/// The namespaces of a container, with the descriptors of those that it joins.
#[derive(Debug)]
pub(crate) struct Spaces {
    pub(crate) pid: Space,
    /// Where the procfs of another container's processes is: its mount namespace.
    proc: Option<OwnedFd>,
    pub(crate) ipc: Space,
    pub(crate) uts: Space,
    pub(crate) network: Space,
    pub(crate) shm: Shm,
    pub(crate) host_cgroups: bool,
    /// It has a user namespace of its own, in which the monitor is not.
    pub(crate) mapped: bool,
    /// With that: it is this one, of another container.
    pub(crate) user: Option<OwnedFd>,
}

impl Space {
    fn take(space: coble_protocol::Space, fds: &mut Fds) -> Result<Space, Failure> {
        Ok(match space {
            coble_protocol::Space::Own => Space::Own,
            coble_protocol::Space::Host => Space::Host,
            coble_protocol::Space::Joined(index) => {
                let namespace = fds.take(index).during(Step::Protocol, "namespaces")?;
                let inode = rustix::fs::fstat(&namespace).during(Step::JoinSpace, "namespace")?.st_ino;
                Space::Joined(namespace, inode)
            }
        })
    }

    pub(crate) fn is_own(&self) -> bool {
        matches!(self, Space::Own)
    }

    fn is_host(&self) -> bool {
        matches!(self, Space::Host)
    }

    /// Enters it, if it is another container's.
    fn enter(&self, kind: LinkNameSpaceType, name: &str) -> Result<(), Failure> {
        match self {
            Space::Joined(namespace, _) => {
                move_into_link_name_space(namespace.as_fd(), Some(kind)).during(Step::JoinSpace, name)
            }
            Space::Own | Space::Host => Ok(()),
        }
    }

    /// Whether a namespace with this number is the one that it has to be, where `host` is the host's.
    fn is(&self, inode: u64, host: u64) -> bool {
        match self {
            Space::Own => inode != host,
            Space::Host => inode == host,
            Space::Joined(_, joined) => inode == *joined,
        }
    }
}

impl Spaces {
    pub(crate) fn take(
        spaces: &coble_protocol::Spaces,
        network: Network,
        mapped: bool,
        fds: &mut Fds,
    ) -> Result<Spaces, Failure> {
        let network = match (network, spaces.network) {
            (Network::None, _) => Space::Own,
            (Network::Host, _) => Space::Host,
            (Network::Joined, Some(index)) => Space::take(coble_protocol::Space::Joined(index), fds)?,
            (Network::Joined, None) => {
                return Err(Failure::rule(Step::Protocol, "net", "no namespace to join"));
            }
        };
        let proc = spaces.proc.map(|index| fds.take(index)).transpose();
        let user = spaces.user.map(|index| fds.take(index)).transpose();
        let shm = match spaces.shm {
            coble_protocol::Shm::Own => Shm::Own,
            coble_protocol::Shm::None => Shm::None,
            coble_protocol::Shm::Host => Shm::Host,
            coble_protocol::Shm::Joined(index) => {
                Shm::Joined(fds.take(index).during(Step::Protocol, "namespaces")?)
            }
        };
        Ok(Spaces {
            pid: Space::take(spaces.pid, fds)?,
            proc: proc.during(Step::Protocol, "namespaces")?,
            ipc: Space::take(spaces.ipc, fds)?,
            uts: Space::take(spaces.uts, fds)?,
            network,
            shm,
            host_cgroups: spaces.host_cgroups,
            mapped,
            user: user.during(Step::Protocol, "namespaces")?,
        })
    }

    /// The namespaces that the first process is made in.
    fn made(&self) -> libc::c_int {
        let of = |space: &Space, flag| if space.is_own() { flag } else { 0 };
        libc::CLONE_NEWNS
            | of(&self.pid, libc::CLONE_NEWPID)
            | of(&self.ipc, libc::CLONE_NEWIPC)
            | of(&self.uts, libc::CLONE_NEWUTS)
            | if self.mapped && self.user.is_none() { libc::CLONE_NEWUSER } else { 0 }
    }

    /// Makes the first process, a child of this one, the monitor, in a version 2 cgroup. Namespaces belong to the user namespace of whoever makes them: if that is another container's, the maker is a child
    /// that enters it.
    pub(crate) fn first_process(&self, cgroup: Option<BorrowedFd<'_>>) -> Result<sys::Clone, Failure> {
        let step = Step::Clone;
        let Some(user) = &self.user else { return sys::clone(self.made(), cgroup).during(step, "") };
        let (ours, theirs) = crate::monitor::channel(step)?;
        match sys::clone(0, None).during(step, "helper")? {
            sys::Clone::Child => {
                drop(ours);
                let made = move_into_link_name_space(user.as_fd(), Some(LinkNameSpaceType::User))
                    .and_then(|()| sys::prctl(libc::PR_SET_DUMPABLE, 0, 0))
                    .during(Step::JoinSpace, "user")
                    .and_then(|_| sys::clone_sibling(self.made(), cgroup).during(step, ""));
                let _ = match made {
                    Ok(sys::Clone::Child) => return Ok(sys::Clone::Child),
                    Ok(sys::Clone::Parent(pidfd)) => theirs.send(&Fetched(Ok(())), &[pidfd.as_fd()]),
                    Err(failure) => theirs.send(&Fetched(Err(failure)), &[]),
                };
                sys::exit(0)
            }
            sys::Clone::Parent(child) => {
                drop(theirs);
                let word = hear(&ours, "user");
                let _ = rustix::process::waitid(WaitId::PidFd(child.as_fd()), WaitIdOptions::EXITED);
                word.map(sys::Clone::Parent)
            }
        }
    }

    /// Those that a process of the monitor has to enter to be in the container.
    pub(crate) fn entered(&self) -> ThreadNameSpaceType {
        let of = |here: bool, kind| if here { ThreadNameSpaceType::empty() } else { kind };
        ThreadNameSpaceType::MOUNT
            | of(self.pid.is_host(), ThreadNameSpaceType::PROCESS_ID)
            | of(self.ipc.is_host(), ThreadNameSpaceType::INTER_PROCESS_COMMUNICATION)
            | of(self.uts.is_host(), ThreadNameSpaceType::HOST_NAME_AND_NIS_DOMAIN_NAME)
            | of(self.network.is_host(), ThreadNameSpaceType::NETWORK)
            | of(self.host_cgroups, ThreadNameSpaceType::CONTROL_GROUP)
            | of(!self.mapped, ThreadNameSpaceType::USER)
    }

    /// Enters those of other containers. That of processes is for children from now on: as long as this process has anything of the host, nobody in it may see it.
    pub(crate) fn enter(&self) -> Result<(), Failure> {
        self.ipc.enter(LinkNameSpaceType::InterProcessCommunication, "ipc")?;
        self.uts.enter(LinkNameSpaceType::HostNameAndNISDomainName, "uts")?;
        self.network.enter(LinkNameSpaceType::Network, "net")?;
        self.pid.enter(LinkNameSpaceType::ProcessID, "pid")
    }

    /// The procfs of the processes that are joined. The kernel makes one only for a process that is among them, which would be seen there: so it is a copy of what
    /// the other container has, if that is what it has to be.
    pub(crate) fn proc(&self) -> Result<OwnedFd, Failure> {
        let (Some(namespace), Space::Joined(_, inode)) = (&self.proc, &self.pid) else {
            return Err(Failure::rule(Step::JoinSpace, PROC, "there is none"));
        };
        let proc = fetch(namespace, PROC, PROC_TYPE)?;
        // Its own processes are what a procfs shows of the one that it was made for, and process 1 is there as long as any is.
        let found = rustix::fs::statat(&proc, "1/ns/pid", AtFlags::empty()).during(Step::JoinSpace, PROC)?;
        if found.st_ino != *inode {
            return Err(Failure::rule(Step::JoinSpace, PROC, "the other container has something else there"));
        }
        Ok(proc)
    }

    /// Whether a namespace, by its name in `/proc/self/ns`, is the one that it has to be.
    pub(crate) fn is(&self, name: &str, inode: u64, host: u64, rootless: bool) -> bool {
        match name {
            "pid" => self.pid.is(inode, host),
            "ipc" => self.ipc.is(inode, host),
            "uts" => self.uts.is(inode, host),
            "net" => self.network.is(inode, host),
            "user" => (inode != host) == rootless,
            "cgroup" => (inode == host) == self.host_cgroups,
            _ => inode != host,
        }
    }
}

impl Shm {
    /// What is to be mounted at `/dev/shm` instead of a file system of the container's own; None for nothing at all.
    pub(crate) fn borrowed(&self) -> Result<Option<OwnedFd>, Failure> {
        match self {
            Shm::Own | Shm::None => Ok(None),
            Shm::Host => {
                let host = mount::copy(CWD, SHM, false).during(Step::JoinSpace, SHM)?;
                mount::restrict(host.as_fd(), mount::NOSUID | mount::NODEV | mount::NOEXEC, false)
                    .during(Step::JoinSpace, SHM)?;
                Ok(Some(host))
            }
            Shm::Joined(namespace) => fetch(namespace, SHM, SHM_TYPE).map(Some),
        }
    }
}

/// What a child says of a mount of another container, or of the first process. The frame carries it.
#[derive(Debug, Serialize, Deserialize)]
struct Fetched(Result<(), Failure>);

/// Gets a copy of a mount that another container has, without what is mounted on it. A mount is copied only by a process in its mount namespace: a child, so that this process
/// keeps its own root.
fn fetch(namespace: &OwnedFd, path: &str, kind: i64) -> Result<OwnedFd, Failure> {
    let step = Step::JoinSpace;
    let (ours, theirs) = crate::monitor::channel(step)?;
    match sys::clone(0, None).during(step, path)? {
        sys::Clone::Child => {
            let copied = copy_there(namespace, path, kind);
            // A parent that is gone wants nothing.
            let _ = match copied {
                Ok(mount) => theirs.send(&Fetched(Ok(())), &[mount.as_fd()]),
                Err(failure) => theirs.send(&Fetched(Err(failure)), &[]),
            };
            sys::exit(0)
        }
        sys::Clone::Parent(child) => {
            drop(theirs);
            let word = hear(&ours, path);
            let _ = rustix::process::waitid(WaitId::PidFd(child.as_fd()), WaitIdOptions::EXITED);
            word
        }
    }
}

fn hear(channel: &Connection, path: &str) -> Result<OwnedFd, Failure> {
    match channel.recv::<Fetched>() {
        Ok(Some((Fetched(Ok(())), mut fds))) => fds.take_nth(0).during(Step::JoinSpace, path),
        Ok(Some((Fetched(Err(failure)), _))) => Err(failure),
        Ok(None) => Err(Failure::rule(Step::JoinSpace, path, "the container has ended")),
        Err(error) => Err(error).during(Step::JoinSpace, path),
    }
}

fn copy_there(namespace: &OwnedFd, path: &str, kind: i64) -> Result<OwnedFd, Failure> {
    let step = Step::JoinSpace;
    move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Mount)).during(step, "mnt")?;
    // The container may have put anything there. Only a file system of that kind is taken, and no link is followed.
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let resolve = ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    let found = rustix::fs::openat2(CWD, path, flags, Mode::empty(), resolve).during(step, path)?;
    let root = mount::Identity::of(found.as_fd()).during(step, path)?.mount_root;
    if !root || rustix::fs::fstatfs(&found).during(step, path)?.f_type as i64 != kind {
        return Err(Failure::rule(step, path, "the other container has something else there"));
    }
    let copy = mount::copy(found.as_fd(), "", false).during(step, path)?;
    mount::restrict(copy.as_fd(), mount::NOSUID | mount::NODEV | mount::NOEXEC, false).during(step, path)?;
    Ok(copy)
}
