//! Health checks: a program that is run in the container again and again, and what its exit codes say. The states and their transitions are docker's.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use coble_protocol::{Failure, Fds, Health, HealthSpec, HealthStatus, Probe, Step};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::process::{Pid, Signal};

use crate::container::wall_clock;
use crate::failure::During;
use crate::sys;

/// What stands for a client of a program that is a probe.
pub(crate) const PROBE: u64 = u64::MAX;

/// The checks of one container.
pub(crate) struct Checks {
    spec: Box<HealthSpec>,
    health: Health,
    /// When the container's program was started.
    began: Instant,
    /// When the next probe is due.
    next: Instant,
    probe: Option<Running>,
}

/// A probe that is not over.
struct Running {
    start: u64,
    since: Instant,
    /// Where its output comes, as long as something can.
    pipe: Option<OwnedFd>,
    output: Vec<u8>,
    /// It wrote more than is kept.
    more: bool,
    /// The process group that it was made in.
    group: Option<Group>,
    /// It took too long, and was killed.
    late: bool,
    /// It took too long because it was stopped with everything else.
    void: bool,
}

/// A process group.
struct Group {
    /// Who led it. That process has ended, but its pidfd stands for the group as long as anybody is in it.
    leader: OwnedFd,
    /// Its number, as this process sees it. It may be anybody's when nobody is in the group any more.
    number: Pid,
}

/// What is known before the first check.
pub(crate) fn at_first() -> Health {
    Health { status: HealthStatus::Starting, failing_streak: 0, log: Vec::new() }
}

impl Checks {
    pub(crate) fn new(spec: Box<HealthSpec>) -> Checks {
        let now = Instant::now();
        let mut checks = Checks { spec, health: at_first(), began: now, next: now, probe: None };
        checks.plan(now);
        checks
    }

    /// The program was started again.
    pub(crate) fn start_again(&mut self) {
        let now = Instant::now();
        self.health.status = HealthStatus::Starting;
        self.health.failing_streak = 0;
        self.probe = None;
        self.began = now;
        self.plan(now);
    }

    /// What is known.
    pub(crate) fn health(&self) -> &Health {
        &self.health
    }

    /// The program that is run.
    pub(crate) fn spec(&self) -> &HealthSpec {
        &self.spec
    }

    /// How long until there is something to do. None: until something is heard of a probe.
    pub(crate) fn left(&self, now: Instant) -> Option<Duration> {
        let due = match &self.probe {
            None => self.next,
            Some(probe) if !probe.late => probe.since + Duration::from_nanos(self.spec.timeout),
            Some(_) => return None,
        };
        Some(due.saturating_duration_since(now))
    }

    /// Whether a probe has to begin.
    pub(crate) fn is_due(&self, now: Instant) -> bool {
        self.probe.is_none() && self.left(now) == Some(Duration::ZERO)
    }

    /// Whether a probe has taken too long, and nobody knows yet. Then it does.
    pub(crate) fn gets_late(&mut self, now: Instant) -> bool {
        let over = self.left(now) == Some(Duration::ZERO);
        match &mut self.probe {
            Some(probe) if over => {
                probe.late = true;
                true
            }
            _ => false,
        }
    }

    /// The probe that is late was stopped with everything else, and says nothing, whenever its end comes: version 1 of cgroups ends nothing that is frozen.
    pub(crate) fn void(&mut self) {
        if let Some(probe) = &mut self.probe {
            probe.void = true;
        }
    }

    /// Whether what comes of the probe says nothing.
    pub(crate) fn is_void(&self) -> bool {
        self.probe.as_ref().is_some_and(|probe| probe.void)
    }

    /// Kills a probe's program, which was not reaped yet, and what is left of its process group.
    pub(crate) fn kill(&self, program: BorrowedFd<'_>) {
        if let Some(Group { leader, number }) = self.probe.as_ref().and_then(|probe| probe.group.as_ref())
            && sys::pidfd_signal_group(leader.as_fd(), libc::SIGKILL) == Err(Errno::INVAL)
            // Before Linux 6.9 a group has to be meant by its number, which is the right one as long as the program is in it.
            && pid_of(program).is_some_and(|pid| rustix::process::getpgid(Some(pid)) == Ok(*number))
        {
            let _ = rustix::process::kill_process_group(*number, Signal::KILL);
        }
        let _ = sys::pidfd_signal(program, libc::SIGKILL);
    }

    /// Not now: the next one comes an interval later.
    pub(crate) fn skip(&mut self, now: Instant) {
        self.probe = None;
        self.plan(now);
    }

    /// Begins a probe: the standard streams of its program. It has begun, and is to be said to be over, also if there are none.
    pub(crate) fn begin(&mut self) -> Result<Fds, Failure> {
        let probe = self.probe.insert(Running {
            start: wall_clock(),
            since: Instant::now(),
            pipe: None,
            output: Vec::new(),
            more: false,
            group: None,
            late: false,
            void: false,
        });
        let step = Step::Stdio;
        let null = rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())
            .during(step, "/dev/null")?;
        let (read, write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).during(step, "pipe")?;
        rustix::fs::fcntl_setfl(&read, OFlags::NONBLOCK).during(step, "pipe")?;
        let again = rustix::io::fcntl_dupfd_cloexec(&write, 0).during(step, "pipe")?;
        probe.pipe = Some(read);
        Ok(Fds::of(vec![null, write, again]))
    }

    /// The process that a probe's program is made in, which is not the program itself yet: it leads the group.
    pub(crate) fn made(&mut self, leader: BorrowedFd<'_>) {
        if let Some(probe) = &mut self.probe {
            let leader = pid_of(leader).zip(rustix::io::fcntl_dupfd_cloexec(leader, 0).ok());
            probe.group = leader.map(|(number, leader)| Group { leader, number });
        }
    }

    /// The program of a probe runs: its time begins.
    pub(crate) fn runs(&mut self) {
        if let Some(probe) = &mut self.probe {
            probe.since = Instant::now();
        }
    }

    /// Where the output of the probe comes.
    pub(crate) fn pipe(&self) -> Option<BorrowedFd<'_>> {
        self.probe.as_ref()?.pipe.as_ref().map(AsFd::as_fd)
    }

    /// Takes some output. False when there is none for now, or no more.
    pub(crate) fn take(&mut self) -> bool {
        let Some(probe) = &mut self.probe else { return false };
        let Some(pipe) = &probe.pipe else { return false };
        let mut piece = [0; 2048];
        match rustix::io::read(pipe, &mut piece[..]) {
            Ok(0) => probe.pipe = None,
            Ok(length) => {
                let room = Health::OUTPUT - probe.output.len();
                probe.output.extend_from_slice(&piece[..length.min(room)]);
                probe.more |= length > room;
                return true;
            }
            Err(Errno::INTR) => return true,
            Err(Errno::AGAIN) => {}
            Err(_) => probe.pipe = None,
        }
        false
    }

    /// A probe is over: with an exit code, or without one, for a reason. The state, if it is another one now.
    pub(crate) fn over(&mut self, code: Result<i32, String>) -> Option<HealthStatus> {
        // What a process that it left behind writes from now on is not of interest, and its end is not waited for.
        for _ in 0..64 {
            if !self.take() {
                break;
            }
        }
        let Running { start, mut output, more, late, .. } = self.probe.take()?;
        if more {
            output.extend_from_slice(b"...");
        }
        let exit_code = match code {
            _ if late => {
                let limit = Duration::from_nanos(self.spec.timeout);
                let mut text = format!("Health check exceeded timeout ({limit:?})").into_bytes();
                if !output.is_empty() {
                    text.extend_from_slice(b": ");
                    text.append(&mut output);
                }
                output = text;
                -1
            }
            Ok(code) => code,
            Err(why) => {
                output = why.into_bytes();
                -1
            }
        };
        let now = Instant::now();
        let changed = self.judge(exit_code, now);
        if self.health.log.len() >= Health::LOG {
            self.health.log.remove(0);
        }
        self.health.log.push(Probe { start, end: wall_clock(), exit_code, output });
        self.plan(now);
        changed
    }

    fn judge(&mut self, exit_code: i32, now: Instant) -> Option<HealthStatus> {
        let before = self.health.status;
        if exit_code == 0 {
            self.health.failing_streak = 0;
            self.health.status = HealthStatus::Healthy;
        } else if !(before == HealthStatus::Starting && self.is_young(now)) {
            self.health.failing_streak = self.health.failing_streak.saturating_add(1);
            if self.health.failing_streak >= self.spec.retries {
                self.health.status = HealthStatus::Unhealthy;
            }
        }
        (self.health.status != before).then_some(self.health.status)
    }

    fn is_young(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.began) < Duration::from_nanos(self.spec.start_period)
    }

    fn plan(&mut self, now: Instant) {
        let starting = self.health.status == HealthStatus::Starting && self.is_young(now);
        let pause = if starting { self.spec.start_interval } else { self.spec.interval };
        // A pause beyond what the clock can express does not end.
        self.next =
            now.checked_add(Duration::from_nanos(pause)).unwrap_or(now + Duration::from_secs(1 << 32));
    }
}

/// The id of a process in this process's pid namespace. None when it is gone.
pub(crate) fn pid_of(pidfd: BorrowedFd<'_>) -> Option<Pid> {
    // One id for each namespace, from that of the procfs inwards. The process may be in one that is further in than ours.
    let ids = |file: String| -> Option<Vec<i32>> {
        let text = std::fs::read_to_string(file).ok()?;
        let ids = text.lines().find_map(|line| line.strip_prefix("NSpid:"))?;
        ids.split_ascii_whitespace().map(|id| id.parse().ok()).collect()
    };
    let ours = ids("/proc/self/status".to_owned())?.len();
    let id = *ids(format!("/proc/self/fdinfo/{}", pidfd.as_raw_fd()))?.get(ours.checked_sub(1)?)?;
    // -1 of one that was reaped.
    if id > 0 { Pid::from_raw(id) } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use coble_protocol::{Capabilities, ProcessSpec};

    fn checks(start_period: Duration, retries: u32) -> Checks {
        let process = ProcessSpec {
            argv: Vec::new(),
            env: Vec::new(),
            cwd: Vec::new(),
            create_cwd: false,
            user: String::new(),
            additional_groups: Vec::new(),
            capabilities: Capabilities::default(),
            no_new_privileges: true,
            landlock: coble_protocol::Landlock::default(),
            seccomp: Vec::new(),
            rlimits: Vec::new(),
            umask: 0,
            oom_score_adj: None,
            terminal: None,
            apparmor: None,
        };
        let second = 1_000_000_000;
        Checks::new(Box::new(HealthSpec {
            process,
            interval: 30 * second,
            timeout: second,
            start_period: start_period.as_nanos() as u64,
            start_interval: second,
            retries,
        }))
    }

    fn probe(checks: &mut Checks, code: i32) -> Option<HealthStatus> {
        checks.begin().unwrap();
        checks.over(Ok(code))
    }

    #[test]
    fn docker_s_states() {
        let mut checks = checks(Duration::ZERO, 2);
        assert_eq!(probe(&mut checks, 1), None);
        assert_eq!(checks.health().failing_streak, 1);
        assert_eq!(probe(&mut checks, 0), Some(HealthStatus::Healthy));
        assert_eq!(checks.health().failing_streak, 0);
        assert_eq!((probe(&mut checks, 3), probe(&mut checks, 4)), (None, Some(HealthStatus::Unhealthy)));
        assert_eq!((probe(&mut checks, 5), checks.health().failing_streak), (None, 3));
        assert_eq!(probe(&mut checks, 0), Some(HealthStatus::Healthy));
        let codes: Vec<i32> = checks.health().log.iter().map(|probe| probe.exit_code).collect();
        assert_eq!(codes, [0, 3, 4, 5, 0]);
    }

    #[test]
    fn failures_do_not_count_at_first() {
        let mut checks = checks(Duration::from_secs(600), 1);
        assert!(checks.left(Instant::now()).unwrap() <= Duration::from_secs(1));
        assert_eq!((probe(&mut checks, 1), checks.health().failing_streak), (None, 0));
        assert_eq!(probe(&mut checks, 0), Some(HealthStatus::Healthy));
        // One that was healthy once is not starting any more.
        assert!(checks.left(Instant::now()).unwrap() > Duration::from_secs(20));
        assert_eq!(probe(&mut checks, 1), Some(HealthStatus::Unhealthy));
        checks.start_again();
        assert_eq!((checks.health().status, checks.health().failing_streak), (HealthStatus::Starting, 0));
    }

    #[test]
    fn the_output_is_bounded_and_a_late_probe_says_so() {
        let mut checks = checks(Duration::ZERO, 3);
        let mut fds = checks.begin().unwrap();
        let write = fds.take_nth(1).unwrap();
        rustix::io::write(&write, &vec![b'x'; 2 * Health::OUTPUT]).unwrap();
        assert_eq!(checks.over(Ok(1)), None);
        assert_eq!(checks.health().log[0].output.len(), Health::OUTPUT + 3);
        checks.begin().unwrap();
        assert!(
            !checks.gets_late(Instant::now()) && checks.gets_late(Instant::now() + Duration::from_secs(2))
        );
        assert_eq!(checks.over(Ok(0)), None);
        let probe = &checks.health().log[1];
        assert_eq!(
            (probe.exit_code, probe.output.as_slice()),
            (-1, &b"Health check exceeded timeout (1s)"[..])
        );
    }
}
