//! The monitor's work while the program runs: one loop over everything that can happen. Nothing in it waits for a client.

mod clients;
mod condition;
mod programs;
mod runs;

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use coble_protocol::{Commit, Connection, Ended, Exit, Failure, Hooks};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use super::again::Again;
use super::children::{Ends, reap_others};
use super::frozen;
use super::health::Checks;
use super::input::{Input, Wanted};
use super::journal::Journal;
use super::keeper::Keeper;
use super::log::Log;
use super::oom::Oom;
use super::state::Socket;
use crate::container::spaces::Spaces;
use crate::ids::IdMaps;
use crate::sys;
use clients::Client;
pub(super) use programs::can_trace;
use programs::{Program, Stage, Stray};

/// How long a client may take for one request.
const REQUEST_TIME: Duration = Duration::from_secs(10);
/// How long a program is not started again for somebody who is about to say something, and how often.
const LISTENING: Duration = Duration::from_millis(10);
const PUT_OFF: u32 = 100;
/// How long whoever traces a process may keep its end from us before it counts as ended all the same.
const KEEPING: Duration = Duration::from_secs(2);
/// For how long nothing happens before the monitor rests.
const QUIET: Duration = Duration::from_millis(100);

/// What exec needs of the running container.
pub(crate) struct Container {
    /// The pidfd of its first process.
    pub(crate) init: OwnedFd,
    pub(crate) cgroups: Vec<OwnedFd>,
    pub(crate) home: Option<OwnedFd>,
    /// Ends what is left of it, where no pid namespace does.
    pub(crate) keeper: Option<Keeper>,
    pub(crate) spaces: Spaces,
    pub(crate) maps: IdMaps,
    pub(crate) own_network: bool,
    pub(crate) core_limit: u64,
}

impl Container {
    /// Whether its processes are stopped where they are.
    fn is_frozen(&self) -> bool {
        self.home.as_ref().is_some_and(frozen::second) || self.cgroups.iter().any(frozen::first)
    }
}

/// What can happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Event {
    Output(usize),
    /// Who reads a stream beside the log has room.
    Room(usize),
    Input(Wanted),
    /// What a program writes to a terminal that nobody looks at.
    Unheard(usize),
    /// Something on the channel of a program on its way.
    Progress(usize),
    /// The end of a program's process, and how far that was.
    End(usize, Stage),
    Client(u64),
    Connect,
    Starter,
    Control,
    /// Output of a health check.
    Probe,
    /// The kernel tells of memory.
    Oom,
    /// The end of the process that watches over this one.
    Keeper,
    Init,
    /// A child has ended, or was let go by whoever traced it.
    Child,
}

/// The state of the loop.
pub(crate) struct Server {
    socket: Socket,
    container: Container,
    ends: Ends,
    /// Since when the first process has ended, and somebody who traces it keeps how.
    kept: Option<Instant>,
    /// The procfs that the first process made.
    proc: OwnedFd,
    /// The process with whose end the container ends.
    starter: Option<OwnedFd>,
    /// Whether that is so only until the container is on record.
    detached: bool,
    log: Option<Log>,
    input: Option<Input>,
    run_dir: OwnedFd,
    /// Held, and not used until the end: while it is open the container counts as alive.
    lock: OwnedFd,
    id: String,
    /// The container's directory, if the engine keeps the lock and wants nothing of the container afterwards.
    leavings: Option<OwnedFd>,
    /// Whether the container may outlive the connection to the engine that started it.
    committed: bool,
    clients: Vec<Client>,
    next_client: u64,
    /// Until when nobody is accepted.
    deaf: Option<Instant>,
    programs: Vec<Program>,
    next_program: u32,
    /// Whether somebody may be in the container, or among its processes, who can trace any process there.
    tracers: bool,
    /// Clients that want to make such a container, and wait until nobody is on the way who counts on their absence.
    sharing: Vec<u64>,
    /// What is left of programs that counted on their absence and have failed.
    strays: Vec<Stray>,
    /// There may be more of that, of which nothing will be known: nobody who can trace is let in any more.
    untold: bool,
    /// See [`programs::changing_ids_is_safe`]; None until it is asked for.
    changing_ids_is_safe: Option<bool>,
    journal: Journal,
    /// The health checks, if there are any.
    checks: Option<Checks>,
    /// What the program is started again with, if it is.
    again: Option<Box<Again>>,
    /// How it ended, until it is started again.
    ended: Option<Ended>,
    /// When it is due to be started again, after which end.
    waiting: Option<(Instant, Exit)>,
    /// How often that was put off for somebody who was about to say something.
    put_off: u32,
    /// When the program was started last, and its process id on the host; if it was started again.
    restarted: Option<(u64, i32)>,
    /// Where the kernel counts those that it kills for want of memory, and whether it has killed one in this run.
    oom: Option<Oom>,
    out_of_memory: bool,
    /// Why it could not be started again.
    stuck: Option<Failure>,
    /// How long the program may run, and until when this run of it may; None once it was killed for that.
    run_time: Option<Duration>,
    run_until: Option<Instant>,
    hooks: Option<Box<Hooks>>,
    /// Whether those for the end are to be run.
    hooks_due: bool,
    /// What went wrong with hooks that keep nothing from going on, the last of it.
    complaints: Vec<Failure>,
}

impl Server {
    #[allow(clippy::too_many_arguments)]
    pub(crate) fn new(
        socket: Socket,
        (container, ends): (Container, Ends),
        proc: OwnedFd,
        (starter, detached): (OwnedFd, bool),
        (log, input): (Option<Log>, Option<Input>),
        run_dir: OwnedFd,
        lock: OwnedFd,
        id: String,
        journal: Journal,
        leavings: Option<OwnedFd>,
        (checks, again, oom): (Option<Checks>, Option<Box<Again>>, Option<Oom>),
        (run_time, hooks): (Option<Duration>, Option<Box<Hooks>>),
        tracers: bool,
    ) -> Server {
        Server {
            socket,
            container,
            ends,
            kept: None,
            proc,
            starter: Some(starter),
            detached,
            log,
            input,
            run_dir,
            lock,
            id,
            leavings,
            committed: false,
            clients: Vec::new(),
            next_client: 0,
            deaf: None,
            programs: Vec::new(),
            next_program: 1,
            tracers,
            sharing: Vec::new(),
            strays: Vec::new(),
            untold: false,
            changing_ids_is_safe: None,
            journal,
            checks,
            again,
            ended: None,
            waiting: None,
            put_off: 0,
            restarted: None,
            oom,
            out_of_memory: false,
            stuck: None,
            run_time,
            run_until: run_time.and_then(|time| Instant::now().checked_add(time)),
            hooks,
            hooks_due: true,
            complaints: Vec::new(),
        }
    }

    /// Serves until the container has ended. The exit status of the monitor.
    pub(crate) fn run(mut self, control: Connection) -> i32 {
        let mut control = Some(control);
        loop {
            let events = match self.wait(control.as_ref()) {
                Ok(events) => events,
                // Without poll there is nothing left to do; our end ends the container.
                Err(_) => return 1,
            };
            let mut init_ended = false;
            for event in &events {
                match *event {
                    Event::Output(stream) => {
                        if let Some(log) = &mut self.log {
                            log.take_some(stream);
                        }
                    }
                    Event::Room(stream) => {
                        if let Some(log) = &mut self.log {
                            log.catch_up(stream);
                        }
                    }
                    Event::Input(wanted) => {
                        if let Some(input) = &mut self.input {
                            input.advance(wanted);
                        }
                    }
                    Event::Unheard(n) => self.unheard(n),
                    Event::Progress(n) => self.progress(n, None),
                    Event::End(n, stage) => self.program_ended(n, stage),
                    Event::Client(number) => self.client_ready(number),
                    Event::Connect => self.accept(),
                    Event::Starter => {
                        // None if its last word was that the container outlives it.
                        if self.starter.take().is_some() {
                            self.call_off();
                            let _ = sys::pidfd_signal(self.container.init.as_fd(), libc::SIGKILL);
                        }
                    }
                    Event::Control => control = control.and_then(|control| self.engine_ready(control)),
                    Event::Probe => {
                        self.checks.as_mut().map(Checks::take);
                    }
                    Event::Oom => {
                        if let Some(oom) = &mut self.oom {
                            oom.told(Instant::now());
                        }
                        self.look_for_oom(Instant::now());
                    }
                    Event::Keeper => self.keep(),
                    Event::Init => init_ended = true,
                    Event::Child => {
                        self.ends.clear();
                        init_ended |= self.reap_others();
                    }
                }
            }
            let now = Instant::now();
            self.look_after_programs(now);
            self.let_tracers_in();
            if self.oom.as_ref().is_some_and(|oom| oom.is_due(now)) {
                self.look_for_oom(now);
            }
            if self.waiting.is_none()
                && (init_ended || self.kept.is_some_and(|since| now - since > KEEPING))
                && let Some(exit) = self.init_end(now).map(|exit| self.in_time(exit))
                && !self.rest(exit)
            {
                return self.finish(control, exit);
            }
            let late = |client: &Client| client.since.is_some_and(|since| now - since > REQUEST_TIME);
            self.clients.retain(|client| !late(client));
            self.look_after_health(now);
            if self.waiting.is_none() && self.run_until.is_some_and(|until| until <= now) {
                self.run_until = None;
                let _ = sys::pidfd_signal(self.container.init.as_fd(), libc::SIGKILL);
            }
            // Who has come while nobody was answered may have come to call it off.
            let heard = events.iter().any(|event| matches!(event, Event::Connect | Event::Client(_)))
                || self.clients.iter().any(|client| client.since.is_some());
            if let Some((due, _)) = &mut self.waiting
                && *due <= now
                && heard
                && self.put_off < PUT_OFF
            {
                self.put_off += 1;
                *due = now + LISTENING;
            }
            if let Some((due, exit)) = self.waiting {
                let called_off = self.again.as_ref().is_none_or(|again| again.called_off);
                if called_off || (due <= now && !self.start_again()) {
                    // A start that failed has its own end.
                    let exit = self.waiting.take().map_or(exit, |(_, exit)| exit);
                    return self.finish(control, exit);
                }
            }
        }
    }

    /// Reaps whatever has ended. Whether the first process is among that: its end is looked at last.
    fn reap_others(&mut self) -> bool {
        loop {
            let programs = self.programs.iter().map(|program| program.pidfd.as_fd());
            let init = self.waiting.is_none().then(|| self.container.init.as_fd());
            match reap_others(programs.chain(init)) {
                None => return false,
                Some(n) if n >= self.programs.len() => return true,
                Some(n) => {
                    let Some(stage) = self.programs.get(n).map(|program| program.stage) else { return false };
                    self.program_ended(n, stage);
                }
            }
            self.forget_programs();
        }
    }

    /// What has happened; the end of the container last, and only that of its starter after it.
    fn wait(&self, control: Option<&Connection>) -> rustix::io::Result<Vec<Event>> {
        let mut events = Vec::new();
        let mut fds = Vec::new();
        if let Some(log) = &self.log {
            for (n, stream) in log.streams() {
                events.push(Event::Output(n));
                fds.push(PollFd::from_borrowed_fd(stream, PollFlags::IN));
            }
            for (n, reader) in log.behind() {
                events.push(Event::Room(n));
                fds.push(PollFd::from_borrowed_fd(reader, PollFlags::OUT));
            }
        }
        for (wanted, fd, flags) in self.input.iter().flat_map(Input::wanted) {
            events.push(Event::Input(wanted));
            fds.push(PollFd::from_borrowed_fd(fd, flags));
        }
        for (n, program) in self.programs.iter().enumerate() {
            if let Some((master, _)) = program.terminal.as_ref().filter(|_| !program.given) {
                events.push(Event::Unheard(n));
                fds.push(PollFd::new(master, PollFlags::IN));
            }
            if let Some((channel, _)) = &program.channel {
                events.push(Event::Progress(n));
                fds.push(PollFd::new(channel, PollFlags::IN));
            }
            if program.kept.is_none() {
                events.push(Event::End(n, program.stage));
                fds.push(PollFd::new(&program.pidfd, PollFlags::IN));
            }
        }
        for client in &self.clients {
            events.push(Event::Client(client.number));
            fds.push(PollFd::new(&client.connection, PollFlags::IN));
        }
        let now = Instant::now();
        let deaf = self.deaf.map(|until| until.saturating_duration_since(now)).filter(|left| !left.is_zero());
        if deaf.is_none() {
            events.push(Event::Connect);
            fds.push(PollFd::new(&self.socket.listener, PollFlags::IN));
        }
        if let Some(starter) = &self.starter {
            events.push(Event::Starter);
            fds.push(PollFd::new(starter, PollFlags::IN));
        }
        if let Some(control) = control {
            events.push(Event::Control);
            let word =
                if self.leavings.is_some() || self.committed { PollFlags::empty() } else { PollFlags::IN };
            fds.push(PollFd::new(control, PollFlags::RDHUP | word));
        }
        if let Some(pipe) = self.checks.as_ref().and_then(Checks::pipe) {
            events.push(Event::Probe);
            fds.push(PollFd::from_borrowed_fd(pipe, PollFlags::IN));
        }
        if let Some(oom) = &self.oom {
            let (fd, flags) = oom.wanted();
            events.push(Event::Oom);
            fds.push(PollFd::from_borrowed_fd(fd, flags));
        }
        if let Some(keeper) = &self.container.keeper {
            events.push(Event::Keeper);
            fds.push(PollFd::new(keeper.pidfd(), PollFlags::IN));
        }
        if self.waiting.is_none() && self.kept.is_none() {
            events.push(Event::Init);
            fds.push(PollFd::new(&self.container.init, PollFlags::IN));
        }
        events.push(Event::Child);
        fds.push(PollFd::new(&self.ends, PollFlags::IN));
        let partial = self.clients.iter().any(|client| client.since.is_some());
        let joining = self.programs.iter().any(|program| program.channel.is_some());
        let kept = self.programs.iter().map(|program| program.kept).chain([self.kept]).flatten().min();
        let kept = kept.map(|since| (since + KEEPING).saturating_duration_since(now));
        let checks =
            self.checks.as_ref().filter(|_| self.waiting.is_none()).and_then(|checks| checks.left(now));
        let again = self.waiting.map(|(due, _)| due.saturating_duration_since(now));
        let end = self.run_until.filter(|_| self.waiting.is_none());
        let end = end.map(|until| until.saturating_duration_since(now));
        let left = (partial || joining)
            .then_some(REQUEST_TIME)
            .into_iter()
            .chain(kept)
            .chain(checks)
            .chain(again)
            .chain(end)
            .chain(deaf)
            .chain(self.oom.as_ref().and_then(|oom| oom.left(now)))
            .min();
        // Not sooner than it is due, which would only be looked at again.
        let left = left.map(|left| left + Duration::from_micros(1));
        let first = left.map_or(QUIET, |left| left.min(QUIET));
        let mut ready = poll(&mut fds, Some(&timespec(first)));
        if ready == Ok(0) && left.is_none_or(|left| left > first) {
            // What is used from here on until something happens is next to nothing.
            sys::trim_memory();
            sys::forget_program();
            ready = poll(&mut fds, left.map(|left| timespec(left.saturating_sub(first))).as_ref());
        }
        match ready {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
        let happened = events.into_iter().zip(&fds).filter(|(_, fd)| !fd.revents().is_empty());
        let mut happened: Vec<Event> = happened.map(|(event, _)| event).collect();
        // The kernel looks at the starter before the control socket: if it has ended, what it said is there, and is heard first.
        happened.sort_by_key(|event| *event == Event::Starter);
        Ok(happened)
    }

    /// The engine said its word, or is gone. Gives the connection back as long as there is somebody at its end.
    fn engine_ready(&mut self, control: Connection) -> Option<Connection> {
        if self.leavings.is_none() && !self.committed && matches!(control.recv::<Commit>(), Ok(Some(_))) {
            self.committed = true;
            if self.detached {
                self.starter = None;
            }
            return Some(control);
        }
        if !self.committed {
            // Nobody has it on record.
            self.call_off();
            let _ = sys::pidfd_signal(self.container.init.as_fd(), libc::SIGKILL);
        }
        None
    }
}

fn timespec(time: Duration) -> Timespec {
    Timespec { tv_sec: time.as_secs().min(i32::MAX as u64) as i64, tv_nsec: i64::from(time.subsec_nanos()) }
}

/// The process id on the host, as far as this process can see it.
pub(crate) fn host_pid(pidfd: BorrowedFd<'_>) -> Option<i32> {
    let info = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", pidfd.as_raw_fd())).ok()?;
    info.lines().find_map(|line| line.strip_prefix("Pid:"))?.trim().parse().ok()
}
