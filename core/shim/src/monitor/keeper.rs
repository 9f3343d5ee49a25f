//! The process that ends a container whose processes are in the pid namespace of others, when its monitor dies.
//!
//! Where the monitor is process 1 of a pid namespace, the kernel does that. Here the two watch over each other: when the monitor ends, however it ends, the keeper has the kernel
//! kill everything in the container's cgroup, and only then gives up the container's lock, of which it has a copy; when the keeper ends, the monitor makes another one. Only who
//! kills both at the same moment leaves anything, until the container's cgroup is cleared by the next sweep.

use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Instant;

use coble_protocol::{Failure, Step};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags, SeekFrom};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags};

use super::children::{self, ENDING};
use crate::failure::During;
use crate::sys;

/// The most that is read of a list of processes.
const MOST: u64 = 8 << 20;

/// The descriptors of the keeper's process.
const MONITOR: i32 = 3;
const KILL: i32 = 4;
const EVENTS: i32 = 5;
const LOCK: i32 = 6;

/// The kernel's handle on everything that is in a cgroup.
#[derive(Debug)]
struct Members {
    kill: OwnedFd,
    events: OwnedFd,
}

/// The monitor's side.
#[derive(Debug)]
pub(crate) struct Keeper {
    pidfd: OwnedFd,
    members: Members,
}

impl Members {
    /// Those of the version 2 cgroup of this directory.
    fn of(home: BorrowedFd<'_>) -> Result<Members, Failure> {
        let open = |name: &str, flags: OFlags| {
            rustix::fs::openat(home, name, flags | OFlags::CLOEXEC, Mode::empty()).during(Step::Keep, name)
        };
        Ok(Members {
            kill: open("cgroup.kill", OFlags::WRONLY)?,
            events: open("cgroup.events", OFlags::RDONLY)?,
        })
    }

    /// Kills all of them, also what is being forked, and waits until the last one has ended.
    fn end(&self) {
        // Fails where the cgroup is gone, and then nobody is in it.
        let _ = rustix::io::write(&self.kill, b"1");
        self.wait(&["populated 0"]);
    }

    /// Kills all of them one by one, for a cgroup that is used again: some kernels kill whatever is made in one that was killed as a whole once. What is frozen forks
    /// nothing meanwhile.
    fn end_each(&self, home: BorrowedFd<'_>) {
        let freeze = |text: &[u8]| {
            let flags = OFlags::WRONLY | OFlags::CLOEXEC;
            let file = rustix::fs::openat(home, "cgroup.freeze", flags, Mode::empty())?;
            rustix::io::write(&file, text).map(drop)
        };
        let _ = freeze(b"1");
        self.wait(&["populated 0", "frozen 1"]);
        let found: Vec<(Pid, OwnedFd)> = pids(home)
            .into_iter()
            .filter_map(|pid| Some((pid, rustix::process::pidfd_open(pid, PidfdFlags::empty()).ok()?)))
            .collect();
        // Who is still listed is who was opened.
        let members = pids(home);
        for (_, pidfd) in found.iter().filter(|(pid, _)| members.contains(pid)) {
            let _ = sys::pidfd_signal(pidfd.as_fd(), libc::SIGKILL);
        }
        let _ = freeze(b"0");
        if !self.wait(&["populated 0"]) {
            self.end();
        }
    }

    /// Waits for one of these lines in the kernel's words on the cgroup. Whether it came.
    fn wait(&self, wanted: &[&str]) -> bool {
        let end = Instant::now() + ENDING;
        loop {
            let mut text = [0; 256];
            let read = rustix::fs::seek(&self.events, SeekFrom::Start(0))
                .and_then(|_| rustix::io::read(&self.events, &mut text));
            // A cgroup that is gone has nobody in it.
            let Ok(length) = read else { return true };
            let text = text.get(..length).unwrap_or_default();
            if text.split(|byte| *byte == b'\n').any(|line| wanted.iter().any(|it| it.as_bytes() == line)) {
                return true;
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            let timeout = Timespec { tv_sec: left.as_secs() as i64, tv_nsec: i64::from(left.subsec_nanos()) };
            // The kernel tells a change since the last reading.
            let _ = poll(&mut [PollFd::new(&self.events, PollFlags::PRI)], Some(&timeout));
        }
    }
}

impl Keeper {
    /// Starts it, before there is anything to watch over.
    pub(crate) fn start(home: BorrowedFd<'_>, lock: BorrowedFd<'_>) -> Result<Keeper, Failure> {
        let step = Step::Keep;
        let members = Members::of(home)?;
        let monitor = rustix::process::pidfd_open(rustix::process::getpid(), PidfdFlags::empty())
            .during(step, "container")?;
        match sys::clone(0, None).during(step, "container")? {
            sys::Clone::Parent(pidfd) => Ok(Keeper { pidfd, members }),
            sys::Clone::Child => {
                let status = i32::from(keep(&monitor, &members, lock).is_err());
                sys::exit(status)
            }
        }
    }

    /// Becomes readable when it has ended, which it does not do as long as the monitor lives.
    pub(crate) fn pidfd(&self) -> &OwnedFd {
        &self.pidfd
    }

    /// Ends every process of the container, which goes on with others in the same cgroup.
    pub(crate) fn end_each(&self, home: BorrowedFd<'_>) {
        self.members.end_each(home);
    }

    /// Ends every process of the container.
    pub(crate) fn end_all(&self) {
        self.members.end();
    }

    /// Ends every process of the container, and the keeper.
    pub(crate) fn finish(self) {
        self.members.end();
        children::end(&self.pidfd);
    }

    /// After its end.
    pub(crate) fn reap(self) {
        // Perhaps it was reaped with those that nobody knows.
        let _ = children::reap(self.pidfd.as_fd());
    }
}

/// The processes in a cgroup, as this pid namespace has them.
fn pids(home: BorrowedFd<'_>) -> Vec<Pid> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let Ok(file) = rustix::fs::openat(home, "cgroup.procs", flags, Mode::empty()) else { return Vec::new() };
    let mut text = String::new();
    let _ = std::fs::File::from(file).take(MOST).read_to_string(&mut text);
    text.lines().filter_map(|line| line.parse().ok().filter(|pid| *pid > 0).and_then(Pid::from_raw)).collect()
}

/// The keeper's life. It has nothing open but what it needs, so that it keeps nobody's streams and sockets.
fn keep(monitor: &OwnedFd, members: &Members, lock: BorrowedFd<'_>) -> rustix::io::Result<()> {
    let _ = rustix::thread::set_name(c"coble-keeper");
    // A signal to the monitor's group or from its terminal is not for it.
    let _ = rustix::process::setsid();
    let [monitor, kill, events, lock] = [monitor.as_fd(), members.kill.as_fd(), members.events.as_fd(), lock]
        .map(|fd| sys::copy_above(fd, LOCK + 1));
    let (monitor, kill, events, lock) = (monitor?, kill?, events?, lock?);
    for (fd, number) in [(&monitor, MONITOR), (&kill, KILL), (&events, EVENTS), (&lock, LOCK)] {
        sys::place(fd.as_fd(), number, true)?;
    }
    // Their numbers are closed below.
    std::mem::forget((monitor, kill, events, lock));
    sys::close_from(LOCK as u32 + 1)?;
    let [monitor, kill, events, _lock] = [MONITOR, KILL, EVENTS, LOCK].map(sys::number);
    sys::trim_memory();
    sys::forget_program();
    loop {
        match poll(&mut [PollFd::new(&monitor, PollFlags::IN)], None) {
            Ok(_) => break,
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
    Members { kill, events }.end();
    Ok(())
}
