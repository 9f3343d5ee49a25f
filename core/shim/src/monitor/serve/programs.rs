//! Programs started by exec, and probes: from the process that joins the container to the end of the program.

use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use coble_protocol::{
    Connection, Exit, Failure, Fds, FrameReader, Happening, Incoming, ProcessSpec, Response, Started, Step,
};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use rustix::process::{Pid, Signal, kill_process_group, test_kill_process_group};

use super::condition::said;
use super::{KEEPING, Server, host_pid};
use crate::container::{Known, Status, join};
use crate::failure::{During, explained};
use crate::monitor::children::{reap, unseen};
use crate::monitor::health::{Checks, PROBE};
use crate::monitor::input::nonblocking;
use crate::program::terminal;
use crate::sys;

/// Programs started by exec at once.
const MAX_PROGRAMS: usize = 256;
/// How long a process may take to become its program.
const JOIN_TIME: Duration = Duration::from_secs(30);

/// A program started by exec.
pub(super) struct Program {
    /// Its number among those of this monitor, and its command line, for the journal.
    pub(super) number: u32,
    pub(super) command: String,
    pub(super) client: u64,
    /// Of the process that joins the container, then of the one that has entered it.
    pub(super) pidfd: OwnedFd,
    pub(super) stage: Stage,
    /// The channel to the process until it is the program.
    pub(super) channel: Option<(Connection, FrameReader)>,
    /// What it said last on the channel.
    pub(super) said: Option<Status>,
    /// Since when it has ended, and somebody who traces it keeps how.
    pub(super) kept: Option<Instant>,
    /// Both ends of its terminal, until they are the client's; ours as long as it lives, if nobody wants them.
    pub(super) terminal: Option<(OwnedFd, OwnedFd)>,
    /// Whether the client wants them.
    pub(super) given: bool,
    /// When it was made.
    pub(super) since: Instant,
    /// It counts on nobody being there who can trace it until it is the program. As long as it is not, it and what made it are one process group, which that one leads.
    trusting: bool,
    /// The process that made the one that has entered the container.
    leader: Option<OwnedFd>,
    /// The program will be able to trace any process.
    tracer: bool,
    /// It waits to be known until nobody is on the way who is trusting.
    held: bool,
}

impl Program {
    /// Whether it is on its way, and may not be traced.
    fn is_exposed(&self) -> bool {
        self.trusting && matches!(self.stage, Stage::Outside | Stage::Inside)
    }
}

/// The process group of a program that was trusting and has failed, in which there may still be somebody: a process that is stopped or frozen ends late.
pub(super) struct Stray {
    leader: OwnedFd,
    /// Its number, for kernels that do not know the group by its leader.
    number: Option<Pid>,
}

impl Stray {
    /// Ends whoever is in it, or only looks. Whether there is nobody any more.
    fn signal(&self, signal: i32) -> bool {
        match sys::pidfd_signal_group(self.leader.as_fd(), signal) {
            // Before Linux 6.9 it has to be meant by its number, which is the right one as long as somebody is in it.
            Err(Errno::INVAL) => match (self.number, Signal::from_named_raw(signal)) {
                (Some(number), Some(signal)) => kill_process_group(number, signal) == Err(Errno::SRCH),
                (Some(number), None) => test_kill_process_group(number) == Err(Errno::SRCH),
                (None, _) => false,
            },
            result => result == Err(Errno::SRCH),
        }
    }
}

/// CAP_SYS_PTRACE. Who has it can trace processes which have more rights than he has.
const SYS_PTRACE: u64 = 1 << 19;

/// Whether a program with these rights can get to trace any process.
pub(crate) fn can_trace(spec: &ProcessSpec) -> bool {
    spec.capabilities.bounding & SYS_PTRACE != 0
}

/// Whether a process stays out of reach of others of its user when it becomes that user: the host's policy for set-uid programs is for changes of ids, too, and is in force for a moment.
fn changing_ids_is_safe() -> bool {
    std::fs::read_to_string("/proc/sys/fs/suid_dumpable").is_ok_and(|policy| policy.trim() != "1")
}

/// How far a program is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// A process outside of the container prepares to make the one that enters it.
    Outside,
    /// The process is in the container, and not the program yet.
    Inside,
    Running,
    /// It has ended, or failed before it ran.
    Over,
}

impl Server {
    /// Starts a process that will become another program in the container.
    pub(super) fn exec(
        &mut self,
        client: u64,
        spec: &ProcessSpec,
        fds: &mut Fds,
    ) -> Result<Program, Failure> {
        let step = Step::Join;
        let mut stream = |n| fds.take_nth(n).during(Step::Protocol, "standard streams");
        let stdio = match spec.terminal {
            Some(_) => None,
            None => Some([stream(0)?, stream(1)?, stream(2)?]),
        };
        if self.programs.len() >= MAX_PROGRAMS {
            return Err(Failure::rule(step, "container", "too many programs at once"));
        }
        let tracer = can_trace(spec);
        self.tracers |= tracer || !*self.changing_ids_is_safe.get_or_insert_with(changing_ids_is_safe);
        // One with a terminal begins a session of its own on the way, and nobody would know its group.
        let tracers = self.tracers || spec.terminal.is_some();
        let container = &self.container;
        let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)
            .during(step, "channel")?;
        match sys::clone(0, container.home.as_ref().map(AsFd::as_fd)) {
            Ok(sys::Clone::Child) => {
                let plan = join::Plan {
                    spec,
                    cgroups: &container.cgroups,
                    stdio,
                    init: container.init.as_fd(),
                    namespaces: container.spaces.entered(),
                    maps: &container.maps,
                    proc: self.proc.as_fd(),
                    core_limit: container.core_limit,
                    tracers,
                };
                join::join(plan, Connection::new(theirs))
            }
            Ok(sys::Clone::Parent(pidfd)) => Ok(Program {
                number: self.next_program,
                command: Happening::command(&spec.argv),
                client,
                pidfd,
                stage: Stage::Outside,
                channel: Some((Connection::new(ours), FrameReader::default())),
                said: None,
                kept: None,
                terminal: None,
                given: spec.terminal.is_some_and(|terminal| terminal.given),
                since: Instant::now(),
                trusting: !tracers,
                leader: None,
                tracer,
                held: false,
            }),
            Err(errno) => Err(errno).during(step, "container"),
        }
    }

    /// Hears what a process on its way to its program says. One that has ended says nothing more, though whoever made it may have the channel open for a moment.
    pub(super) fn progress(&mut self, n: usize, ended: Option<Stage>) {
        let exposed = self.untold || !self.strays.is_empty() || self.programs.iter().any(Program::is_exposed);
        let Some(program) = self.programs.get_mut(n) else { return };
        let Some((connection, reader)) = &mut program.channel else { return };
        let lost = || Failure::new(Step::Join, libc::EMFILE, "container");
        let failure = loop {
            match reader.read::<Status>(connection) {
                Ok(Incoming::Frame(Status::Joined, mut fds)) if program.stage == Stage::Outside => {
                    // The process that made it ends, and is nobody to know any more. Without its pidfd this one must not become a program.
                    let Ok(pidfd) = fds.take_nth(0) else { break Some(lost()) };
                    program.leader = Some(std::mem::replace(&mut program.pidfd, pidfd));
                    program.stage = Stage::Inside;
                    program.held = program.tracer && exposed;
                    if !program.held {
                        // It may have failed already, and what it said of that comes next.
                        let _ = connection.try_send(&Known, &[]);
                    }
                }
                Ok(Incoming::Frame(Status::Terminal, mut fds)) => {
                    let Some(ends) = fds.take_nth(0).ok().zip(fds.take_nth(1).ok()) else {
                        break Some(lost());
                    };
                    // That of a client is as the client wants it.
                    program.terminal =
                        Some(ends).filter(|(master, _)| program.given || nonblocking(master.as_fd()).is_ok());
                }
                Ok(Incoming::Frame(Status::Failed(failure), _)) => break Some(failure),
                Ok(Incoming::Frame(status, _)) => program.said = Some(status),
                Ok(Incoming::Wait) if ended != Some(program.stage) => return,
                Ok(Incoming::Wait | Incoming::End) | Err(_) => break None,
            }
        };
        match (failure, program.said.take()) {
            // One that nobody knows yet has not become the program, whatever it has said.
            (None, Some(Status::Ready(started))) if program.stage == Stage::Inside && !program.held => {
                program.channel = None;
                program.leader = None;
                program.stage = Stage::Running;
                self.program_runs(n, *started);
            }
            // Killed on the way, as when the container ends.
            (failure, _) => {
                let failure = failure.unwrap_or_else(|| Failure::new(Step::Join, libc::ESRCH, "container"));
                self.program_failed(n, &failure);
            }
        }
    }

    /// A process has become its program.
    pub(super) fn program_runs(&mut self, n: usize, started: Started) {
        let Some(program) = self.programs.get_mut(n) else { return };
        if program.client == PROBE {
            self.checks.as_mut().map(Checks::runs);
            return;
        }
        let start = Happening::ExecStart(program.number, std::mem::take(&mut program.command));
        self.journal.note(&self.run_dir, start);
        let response = Response::Running {
            warnings: started.warnings,
            journal: self.journal.number(),
            number: program.number,
        };
        let terminal = if program.given { program.terminal.take() } else { None };
        let mut fds = vec![program.pidfd.as_fd()];
        fds.extend(terminal.iter().flat_map(|(master, slave)| [master.as_fd(), slave.as_fd()]));
        let client = self.clients.iter().find(|client| client.number == program.client);
        let told = client.is_some_and(|client| client.connection.try_send(&response, &fds).is_ok());
        if !told {
            // Nobody knows of it, and so nobody would ever end it.
            let _ = sys::pidfd_signal(program.pidfd.as_fd(), libc::SIGKILL);
            let number = program.client;
            self.hang_up(number);
        }
    }

    /// A process will not become its program.
    pub(super) fn program_failed(&mut self, n: usize, failure: &Failure) {
        let Some(program) = self.programs.get_mut(n) else { return };
        // It ends by itself, unless somebody has stopped it; and so does one that is not known, now that the channel is closed. Their ends are of no interest.
        let _ = sys::pidfd_signal(program.pidfd.as_fd(), libc::SIGKILL);
        program.channel = None;
        let on_its_way = program.is_exposed();
        program.stage = Stage::Over;
        if on_its_way {
            let leader = match program.leader.take() {
                Some(leader) => Some(leader),
                None => rustix::io::fcntl_dupfd_cloexec(&program.pidfd, 0).ok(),
            };
            match leader {
                Some(leader) => {
                    let number = host_pid(leader.as_fd()).and_then(Pid::from_raw);
                    let stray = Stray { leader, number };
                    if !stray.signal(libc::SIGKILL) {
                        self.strays.push(stray);
                    }
                }
                // Nobody can tell any more whether it is gone.
                None => self.untold = true,
            }
        }
        let Some(program) = self.programs.get(n) else { return };
        let client = program.client;
        if client == PROBE {
            self.probe_over(Err(said(failure)));
            return;
        }
        self.release(client);
        self.respond(client, &Response::Failed(failure.clone()), &[]);
    }

    /// Whoever started a program leaves it: its terminal, if it has one, is nobody's but ours.
    pub(super) fn leave(&mut self, number: u32, fds: &mut Fds) -> Result<(), Failure> {
        let master = fds.take_nth(0).ok();
        let runs = |program: &&mut Program| {
            program.number == number && program.client != PROBE && program.stage == Stage::Running
        };
        // One that has just ended was left in time.
        let Some(program) = self.programs.iter_mut().find(runs) else { return Ok(()) };
        if let Some(master) = master {
            let slave = terminal::slave_of(&master)?;
            nonblocking(master.as_fd())?;
            program.terminal = Some((master, slave));
            program.given = false;
        }
        self.journal.note(&self.run_dir, Happening::ExecDetach(number));
        Ok(())
    }

    /// Takes what a program writes to a terminal that nobody looks at, so that it can go on.
    pub(super) fn unheard(&mut self, n: usize) {
        let Some(program) = self.programs.get_mut(n) else { return };
        let mut piece = [0; 4096];
        let read = program.terminal.as_ref().map(|(master, _)| rustix::io::read(master, &mut piece));
        if !matches!(read, Some(Ok(1..) | Err(Errno::AGAIN | Errno::INTR))) {
            program.terminal = None;
        }
    }

    /// The process of a program has ended, which was that far.
    pub(super) fn program_ended(&mut self, n: usize, ended: Stage) {
        // What it said before it ended comes first.
        self.progress(n, Some(ended));
        let Some(program) = self.programs.get_mut(n) else { return };
        // If that is so, the end is that of the process that made this one.
        if program.stage != Stage::Running || ended == Stage::Outside {
            return;
        }
        match reap(program.pidfd.as_fd()) {
            Some(exit) => self.program_over(n, exit),
            None => program.kept = program.kept.or(Some(Instant::now())),
        }
    }

    pub(super) fn program_over(&mut self, n: usize, exit: Exit) {
        let Some(program) = self.programs.get_mut(n) else { return };
        program.stage = Stage::Over;
        let client = program.client;
        if client == PROBE {
            self.probe_over(Ok(exit.code));
            return;
        }
        self.journal.note(&self.run_dir, Happening::ExecDie(program.number, exit.code));
        self.release(client);
        self.respond(client, &Response::Exited(exit), &[]);
    }

    /// Ends programs that take too long to begin, or of whose end nothing is heard.
    pub(super) fn look_after_programs(&mut self, now: Instant) {
        for n in 0..self.programs.len() {
            let Some(program) = self.programs.get(n) else { return };
            if matches!(program.stage, Stage::Outside | Stage::Inside)
                && !program.held
                && now - program.since > JOIN_TIME
            {
                // Somebody in the container has stopped it.
                let failure = explained(Step::Join, Errno::TIMEDOUT, "container", "the process was stopped");
                self.program_failed(n, &failure);
            } else if program.stage == Stage::Running
                && program.kept.is_some_and(|since| now - since > KEEPING)
            {
                let exit = reap(program.pidfd.as_fd()).unwrap_or_else(unseen);
                self.program_over(n, exit);
            }
        }
        self.forget_programs();
    }

    /// Lets those go on who can trace any process, or are about to make a container that can, when nobody is on the way any more who counts on their absence.
    pub(super) fn let_tracers_in(&mut self) {
        if !self.strays.is_empty() {
            self.strays.retain(|stray| !stray.signal(0));
        }
        if self.sharing.is_empty() && !self.programs.iter().any(|program| program.held)
            || self.programs.iter().any(Program::is_exposed)
            || !self.strays.is_empty()
            || self.untold
        {
            return;
        }
        for program in &mut self.programs {
            if std::mem::take(&mut program.held)
                && let Some((connection, _)) = &program.channel
            {
                program.since = Instant::now();
                let _ = connection.try_send(&Known, &[]);
            }
        }
        for client in std::mem::take(&mut self.sharing) {
            self.tell_init(client);
        }
    }

    pub(super) fn forget_programs(&mut self) {
        self.programs.retain(|program| program.stage != Stage::Over);
    }

    /// The container has ended, and with it all programs: the kernel has killed them before it let the first process end.
    pub(super) fn end_programs(&mut self) {
        for n in 0..self.programs.len() {
            self.progress(n, None);
            let Some(program) = self.programs.get(n) else { return };
            match program.stage {
                Stage::Outside | Stage::Inside => {
                    self.program_failed(n, &Failure::new(Step::Join, libc::ESRCH, "container"));
                }
                Stage::Running => {
                    let exit = reap(program.pidfd.as_fd()).unwrap_or_else(unseen);
                    self.program_over(n, exit);
                }
                Stage::Over => {}
            }
        }
        self.forget_programs();
    }
}
