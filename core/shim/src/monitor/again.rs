//! Starting the container's program again after its end: when, and with what.
//!
//! The monitor stays what it is: it keeps its pid namespace, the container's lock, its socket with all clients, the log, the cgroups and the network namespace. What belongs to a run of the
//! program is made anew: the first process with its mount, pid, ipc and uts namespaces, and the overlay mount over the same directories, which the end of the last process
//! has unmounted.

use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use coble_protocol::{
    Connection, Exit, Failure, Ground, MonitorSpec, Namespace, RestartSpec, Step, WRITERS_FILE,
};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{FlockOperation, Mode, OFlags};
use rustix::io::Errno;

use super::serve::{Container, host_pid};
use super::{channel, children};
use crate::container::Status;
use crate::container::rootfs::Overlay;
use crate::failure::During;

/// Docker's back-off.
const FIRST: Duration = Duration::from_millis(100);
const LAST: Duration = Duration::from_secs(60);
/// Whoever ran for so long has started well.
const LONG: Duration = Duration::from_secs(10);
/// How long a start may take.
const START: Duration = Duration::from_secs(30);

/// What is kept for the next start.
pub(crate) struct Again {
    /// None: it is not, as long as nobody says otherwise.
    policy: Option<RestartSpec>,
    pub(crate) ground: Ground,
    pub(crate) spec: MonitorSpec,
    pub(crate) overlay: Overlay,
    /// The sources of what the caller has mounted.
    binds: Vec<OwnedFd>,
    /// The program's streams, as far as they are not the log's.
    stdio: [Option<OwnedFd>; 3],
    /// The container's network namespace, if it is its own and could be had.
    network: Option<OwnedFd>,
    /// When the program was started last.
    pub(crate) began: Instant,
    pause: Duration,
    /// How often it was started again.
    pub(crate) count: u32,
    /// The user has stopped it.
    pub(crate) called_off: bool,
}

impl Again {
    pub(crate) fn new(
        policy: Option<RestartSpec>,
        (ground, spec): (Ground, MonitorSpec),
        (overlay, binds): (Overlay, Vec<OwnedFd>),
        stdio: [Option<OwnedFd>; 3],
        served: &Container,
        proc: &OwnedFd,
    ) -> Again {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let open = || match served.spaces.pid.is_own() {
            true => rustix::fs::openat(proc, "1/ns/net", flags, Mode::empty()).ok(),
            // Then process 1 is another container's, and this process is where it sees its own.
            false => {
                let pid = host_pid(served.init.as_fd())?;
                rustix::fs::open(format!("/proc/{pid}/ns/net"), flags, Mode::empty()).ok()
            }
        };
        // One of another user namespace than the next run's cannot be entered by that.
        let network = if served.own_network && !ground.mapped { open() } else { None };
        Again {
            policy,
            ground,
            spec,
            overlay,
            binds,
            stdio,
            network,
            began: Instant::now(),
            pause: Duration::ZERO,
            count: 0,
            called_off: false,
        }
    }

    /// From now on.
    pub(crate) fn set_policy(&mut self, policy: Option<RestartSpec>) {
        self.policy = policy;
    }

    /// Whether there is something to know about it.
    pub(crate) fn matters(&self) -> bool {
        self.policy.is_some() || self.count > 0
    }

    /// How long to wait before the next start. None: there is none.
    pub(crate) fn pause(&mut self, exit: &Exit) -> Option<Duration> {
        let RestartSpec { on_failure, most } = self.policy?;
        if self.called_off || (on_failure && exit.code == 0) || (most > 0 && self.count >= most) {
            return None;
        }
        self.pause = next(self.pause, self.began.elapsed());
        self.count = self.count.saturating_add(1);
        Some(self.pause)
    }

    /// Whether somebody who wrote into the container while it ran has its root mounted still: over the same directories there is only one at a time. They end with the program.
    pub(crate) fn has_writers(&self) -> bool {
        let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let Ok(own) = rustix::fs::openat(&self.overlay.container, WRITERS_FILE, flags, Mode::empty()) else {
            return false;
        };
        let locked =
            rustix::io::retry_on_intr(|| rustix::fs::flock(&own, FlockOperation::NonBlockingLockExclusive));
        locked == Err(Errno::WOULDBLOCK)
    }

    /// The sources of what the caller has mounted, for the next run.
    pub(crate) fn binds(&self) -> Result<Vec<OwnedFd>, Failure> {
        let copy = |source| rustix::io::fcntl_dupfd_cloexec(source, 3).during(Step::Protocol, "mounts");
        self.binds.iter().map(copy).collect()
    }

    /// The streams for the next run.
    pub(crate) fn streams(&self) -> Result<[Option<OwnedFd>; 3], Failure> {
        let copy = |stream: &Option<OwnedFd>| {
            let copied = stream.as_ref().map(|stream| rustix::io::fcntl_dupfd_cloexec(stream, 3));
            copied.transpose().during(Step::Stdio, "standard streams")
        };
        let [stdin, stdout, stderr] = &self.stdio;
        Ok([copy(stdin)?, copy(stdout)?, copy(stderr)?])
    }

    /// Where the first process gets its network namespace from, if it has one of its own: the same as before, or a new one where that could not be had.
    pub(crate) fn network(&self, own: bool) -> Result<Option<Connection>, Failure> {
        if !own {
            return Ok(None);
        }
        let (ours, theirs) = channel(Step::Network)?;
        if let Some(namespace) = &self.network {
            ours.send(&Namespace { loopback: true }, &[namespace.as_fd()])
                .during(Step::Network, "namespace")?;
        }
        Ok(Some(theirs))
    }
}

/// The pause after this one, when the program ran for so long.
fn next(pause: Duration, ran: Duration) -> Duration {
    if ran >= LONG || pause.is_zero() { FIRST } else { (pause * 2).min(LAST) }
}

/// Waits until the first process has become the program: its procfs, and the ends of its terminal. Nothing else is done meanwhile, but a start that gets stuck ends.
pub(crate) fn wait_for_program(
    spec: &MonitorSpec,
    status: &Connection,
    init: &mut OwnedFd,
) -> Result<(OwnedFd, Option<(OwnedFd, OwnedFd)>), Failure> {
    let mut end = Instant::now() + START;
    let (mut proc, mut terminal) = (None, None);
    loop {
        let left = end.saturating_duration_since(Instant::now());
        let timeout = Timespec { tv_sec: left.as_secs() as i64, tv_nsec: i64::from(left.subsec_nanos()) };
        let mut fds = [PollFd::new(status, PollFlags::IN)];
        match poll(&mut fds, Some(&timeout)) {
            Ok(0) => {
                return Err(Failure::rule(Step::Internal, "container", "it was not started again in time"));
            }
            Ok(_) => {}
            Err(Errno::INTR) => continue,
            Err(errno) => return Err(errno).during(Step::Internal, "poll"),
        }
        match status.recv::<Status>() {
            Ok(Some((Status::Ready(_), mut fds))) => {
                proc = Some(fds.take_nth(0).during(Step::Protocol, "procfs")?);
            }
            Ok(Some((Status::Failed(failure), _))) => return Err(failure),
            Ok(Some((Status::Created, _))) => {
                let before = Instant::now();
                match super::created(spec, init, status, &mut []) {
                    Ok(()) | Err(super::Ended::Unwanted) => {}
                    Err(super::Ended::Failed(failure)) => return Err(failure),
                }
                // They have times of their own.
                end += before.elapsed();
            }
            Ok(Some((Status::Terminal, mut fds))) => {
                let mut end = |n| fds.take_nth(n).during(Step::Protocol, "terminal");
                terminal = Some((end(0)?, end(1)?));
            }
            // It goes on as another one, in a pid namespace of others.
            Ok(Some((Status::Joined, mut fds))) => {
                let next = fds.take_nth(0).during(Step::Protocol, "first process")?;
                children::end(&std::mem::replace(init, next));
            }
            // Closed by exec, or by its death.
            Ok(None) => break,
            Err(error) => return Err(error).during(Step::Internal, "first process"),
        }
    }
    proc.map(|proc| (proc, terminal))
        .ok_or_else(|| Failure::rule(Step::Internal, "container", "its first process ended without a word"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pause_doubles_up_to_a_minute_and_starts_anew_after_a_long_run() {
        let mut pause = Duration::ZERO;
        let mut pauses = Vec::new();
        for _ in 0..12 {
            pause = next(pause, Duration::from_secs(1));
            pauses.push(pause.as_millis());
        }
        assert_eq!(pauses, [100, 200, 400, 800, 1600, 3200, 6400, 12800, 25600, 51200, 60000, 60000]);
        assert_eq!(next(pause, Duration::from_secs(10)), FIRST);
    }
}
