//! The monitor's work while the program runs: one loop over everything that can happen. Nothing in it waits for a client.

mod programs;

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use coble_protocol::{
    Commit, Condition, Connection, Ended, Exit, ExitRecord, Failure, Fds, FrameReader, Happening, Hooks,
    Incoming, Report, Request, Response, Stdio, Step,
};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::SocketFlags;

use super::again::{Again, wait_for_program};
use super::children::{self, Ends, reap, reap_others, unseen};
use super::frozen;
use super::health::{Checks, PROBE};
use super::input::{Input, Wanted};
use super::journal::{Journal, nudge};
use super::keeper::Keeper;
use super::log::Log;
use super::state::{self, Socket};
use crate::container::spaces::Spaces;
use crate::container::{self, Plan, mapped, wall_clock};
use crate::failure::During;
use crate::ids::IdMaps;
use crate::program::terminal;
use crate::sys;
use programs::{Program, Stage};

/// Clients that wait for the end at once. Who is refused asks again.
const MAX_WAITING: usize = 256;
/// Clients who wait for nothing, or have not said yet for what: of more, the first are hung up on.
const MAX_IDLE: usize = 64;
/// Clients that are accepted before the others are heard: less than [`MAX_IDLE`], so that each is heard once.
const MAX_ACCEPTED: usize = 32;
/// How long nobody is accepted when there is no descriptor for one.
const DEAF: Duration = Duration::from_millis(100);
/// Failures of hooks that are remembered.
const MAX_COMPLAINTS: usize = 16;
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

/// A connection.
struct Client {
    number: u64,
    connection: Connection,
    reader: FrameReader,
    /// When the request that is not complete began to come.
    since: Option<Instant>,
    /// Whether it waits for the end of the container.
    waits: bool,
    /// Whether a program that it started has not ended yet.
    busy: bool,
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
    /// How many programs of the container had been killed for want of memory by then.
    oom_kills: u64,
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
        (checks, again): (Option<Checks>, Option<Box<Again>>),
        (run_time, hooks): (Option<Duration>, Option<Box<Hooks>>),
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
            journal,
            checks,
            again,
            ended: None,
            waiting: None,
            put_off: 0,
            restarted: None,
            oom_kills: 0,
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

    /// How the first process ended; None if whoever traces it may still say.
    fn init_end(&mut self, now: Instant) -> Option<Exit> {
        let exit = reap(self.container.init.as_fd());
        let since = *self.kept.get_or_insert(now);
        let exit = exit.or_else(|| (now - since > KEEPING).then(unseen))?;
        self.kept = None;
        Some(exit)
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

    /// Somebody has ended the keeper: there is another one, or no container.
    fn keep(&mut self) {
        let Some(keeper) = self.container.keeper.take() else { return };
        keeper.reap();
        let next = self.container.home.as_ref().map(|home| Keeper::start(home.as_fd(), self.lock.as_fd()));
        match next {
            Some(Ok(keeper)) => self.container.keeper = Some(keeper),
            // The end of this process would end nothing else.
            _ => {
                self.call_off();
                let _ = sys::pidfd_signal(self.container.init.as_fd(), libc::SIGKILL);
            }
        }
    }

    /// Says whether it ended because its time was over.
    fn in_time(&self, exit: Exit) -> Exit {
        Exit { timed_out: self.run_time.is_some() && self.run_until.is_none(), ..exit }
    }

    /// The program has ended. True if it will be started again.
    fn rest(&mut self, exit: Exit) -> bool {
        let Some(pause) = self.again.as_mut().and_then(|again| again.pause(&exit)) else { return false };
        // What the end of the first process did not end.
        if let (Some(keeper), Some(home)) = (&self.container.keeper, &self.container.home) {
            keeper.end_each(home.as_fd());
        }
        self.end_programs();
        if let Some(log) = &mut self.log {
            log.drain();
        }
        self.after_hooks(exit, true);
        self.waiting = Some((Instant::now() + pause, exit));
        self.put_off = 0;
        self.restarted = None;
        self.tell_condition();
        self.journal.note(&self.run_dir, Happening::Died(exit));
        let waiting: Vec<u64> =
            self.clients.iter().filter(|client| client.waits).map(|client| client.number).collect();
        for number in waiting {
            if let Some(client) = self.clients.iter_mut().find(|client| client.number == number) {
                client.waits = false;
            }
            self.respond(number, &Response::Restarts(exit), &[]);
        }
        true
    }

    /// Runs the hooks for the end of the program and of all that was with it, once that end is on file: meanwhile nobody is answered.
    fn after_hooks(&mut self, exit: Exit, waits: bool) {
        if !std::mem::replace(&mut self.hooks_due, false) {
            return;
        }
        // That of a start that failed is the end that it was after.
        let record = self.ended.map_or(self.journal.number() + 1, |ended| ended.record);
        let ended = Ended { exit, record, waits, hooks: true };
        self.ended = Some(ended);
        if let Some(hooks) = &self.hooks
            && !hooks.poststop.is_empty()
        {
            self.tell_condition();
            let complaints = super::after(hooks, &self.run_dir);
            self.complain(complaints);
        }
        self.ended = Some(Ended { hooks: false, ..ended });
    }

    fn complain(&mut self, complaints: Vec<Failure>) {
        self.complaints.extend(complaints);
        self.complaints.drain(..self.complaints.len().saturating_sub(MAX_COMPLAINTS));
    }

    /// Starts the program again. False if that cannot be done.
    fn start_again(&mut self) -> bool {
        if self.container.is_frozen() || self.again.as_ref().is_some_and(|again| again.has_writers()) {
            // It would not get anywhere: somebody has paused what was about to end, or is about to leave it.
            if let Some((due, _)) = &mut self.waiting {
                *due = Instant::now() + Duration::from_millis(200);
            }
            return true;
        }
        match self.next_run() {
            Ok(()) => {
                (self.waiting, self.ended) = (None, None);
                self.oom_kills = self.again.as_ref().map_or(0, |again| again.oom_kills());
                self.run_until = self.run_time.and_then(|time| Instant::now().checked_add(time));
                self.restarted = Some((wall_clock(), host_pid(self.container.init.as_fd()).unwrap_or(0)));
                if let Some(again) = &mut self.again {
                    again.began = Instant::now();
                }
                if let Some(checks) = &mut self.checks {
                    checks.start_again();
                }
                if let Some(hooks) = &self.hooks {
                    let complaints = super::running(hooks, &self.container.init);
                    self.complain(complaints);
                }
                self.tell_condition();
                self.journal.note(&self.run_dir, Happening::Started);
                true
            }
            Err(failure) => {
                if let Some((_, exit)) = &mut self.waiting {
                    exit.code = match failure.errno {
                        libc::ENOENT => 127,
                        libc::EACCES => 126,
                        _ => 128,
                    };
                    exit.signal = None;
                    exit.finished_at = wall_clock();
                }
                self.stuck = Some(failure);
                false
            }
        }
    }

    fn next_run(&mut self) -> Result<(), Failure> {
        let Some(again) = &self.again else {
            return Err(Failure::rule(Step::Internal, "container", "no restart"));
        };
        let [mut stdin, stdout, stderr] = again.streams()?;
        if let Stdio::Log { stdin: coble_protocol::Input::Open { once }, .. } = again.spec.stdio {
            let (ours, theirs) = Input::pipe(once)?;
            self.input = Some(ours);
            stdin = Some(theirs);
        }
        let stdio = match &mut self.log {
            Some(_) if again.spec.process.terminal.is_some() => [None, None, None],
            Some(log) => {
                let [stdout, stderr] = log.renew()?;
                [stdin, Some(stdout), Some(stderr)]
            }
            None => [stdin, stdout, stderr],
        };
        if let Some(hooks) = &self.hooks {
            super::before(hooks, &self.run_dir)?;
        }
        self.hooks_due = true;
        let network = again.network(self.container.own_network)?;
        let binds = again.binds()?;
        let (status, theirs) = super::channel(Step::Clone)?;
        let container = &mut self.container;
        match container.spaces.first_process(container.home.as_ref().map(AsFd::as_fd))? {
            sys::Clone::Child => {
                let plan = Plan {
                    ground: &again.ground,
                    spec: &again.spec,
                    overlay: &again.overlay,
                    cgroups: &container.cgroups,
                    spaces: &container.spaces,
                    network,
                    binds,
                    dev: None,
                    stdio,
                    maps: &container.maps,
                    core_limit: container.core_limit,
                    given: None,
                };
                container::first(plan, theirs)
            }
            sys::Clone::Parent(pidfd) => container.init = pidfd,
        }
        let provided = again.spec.maps.as_ref().map(|mapping| {
            let pid = host_pid(container.init.as_fd());
            mapped::provide(
                (&again.ground, mapping, container.spaces.user.is_none()),
                pid,
                &status,
                &again.overlay,
                &again.spec.mounts,
                &binds,
                &stdio,
            )
        });
        drop((theirs, network, binds, stdio));
        let started = match provided {
            Some(Err(failure)) => Err(failure),
            Some(Ok(_)) | None => wait_for_program(&again.spec, &status, &mut self.container.init),
        };
        match started {
            Ok((proc, terminal)) => {
                self.proc = proc;
                // Nobody has the other end of one that was given to whoever started it: the program has none, then.
                if let (Some(ends), Some(log)) = (terminal, &mut self.log) {
                    log.renew_terminal(ends)?;
                    if matches!(again.spec.stdio, Stdio::Terminal { open: true, .. }) {
                        self.input = log.terminal().map(Input::terminal).transpose()?;
                    }
                }
                Ok(())
            }
            Err(failure) => {
                children::end(&self.container.init);
                if let Some(keeper) = &self.container.keeper {
                    keeper.end_all();
                }
                Err(failure)
            }
        }
    }

    /// The program is not started again.
    fn call_off(&mut self) {
        if let Some(again) = &mut self.again {
            again.called_off = true;
        }
    }

    /// Begins and ends health checks.
    fn look_after_health(&mut self, now: Instant) {
        let Some(checks) = &mut self.checks else { return };
        if checks.gets_late(now) {
            if self.container.is_frozen() {
                checks.void();
            }
            for program in self.programs.iter().filter(|program| program.client == PROBE) {
                checks.kill(program.pidfd.as_fd());
            }
        } else if self.waiting.is_none() && checks.is_due(now) {
            if self.container.is_frozen() {
                checks.skip(now);
                return;
            }
            let spec = checks.spec().process.clone();
            let made = checks.begin().and_then(|mut fds| self.exec(PROBE, &spec, &mut fds));
            match made {
                Ok(program) => {
                    if let Some(checks) = &mut self.checks {
                        checks.made(program.pidfd.as_fd());
                    }
                    self.programs.push(program);
                }
                Err(failure) => self.probe_over(Err(said(&failure))),
            }
        }
    }

    /// A health check is over.
    fn probe_over(&mut self, code: Result<i32, String>) {
        let Some(checks) = &mut self.checks else { return };
        if self.container.is_frozen() || checks.is_void() {
            // Whatever came of it came of being stopped.
            checks.skip(Instant::now());
            return;
        }
        let changed = checks.over(code);
        self.tell_condition();
        match changed {
            Some(status) => self.journal.note(&self.run_dir, Happening::Health(status)),
            None => nudge(&self.run_dir),
        }
    }

    /// Puts on file what an engine cannot know otherwise.
    fn tell_condition(&self) {
        if self.checks.is_none() && self.again.is_none() && self.ended.is_none() {
            return;
        }
        let condition = Condition {
            restarts: self.again.as_ref().map_or(0, |again| again.count),
            ended: self.ended,
            started: self.restarted,
            oom_kills: self.oom_kills,
            health: self.checks.as_ref().map(|checks| checks.health().clone()),
        };
        state::write_condition(&self.run_dir, &condition);
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

    fn accept(&mut self) {
        for _ in 0..MAX_ACCEPTED {
            let socket = match rustix::net::accept_with(&self.socket.listener, SocketFlags::CLOEXEC) {
                Ok(socket) => socket,
                Err(Errno::INTR | Errno::CONNABORTED) => continue,
                Err(Errno::AGAIN) => return,
                // The connection stays where it is, and would be told of for ever.
                Err(_) => {
                    self.deaf = Some(Instant::now() + DEAF);
                    return;
                }
            };
            // The directory and the mode of the socket say the same; this is the second lock.
            let own = rustix::process::geteuid().as_raw();
            if !sys::peer_uid(socket.as_fd()).is_ok_and(|uid| uid == own) {
                continue;
            }
            let idle = |client: &Client| !client.waits && !client.busy;
            if self.clients.iter().filter(|client| idle(client)).count() >= MAX_IDLE
                && let Some(first) = self.clients.iter().position(idle)
            {
                self.clients.remove(first);
            }
            self.clients.push(Client {
                number: self.next_client,
                connection: Connection::new(socket),
                reader: FrameReader::default(),
                since: None,
                waits: false,
                busy: false,
            });
            self.next_client += 1;
        }
    }

    /// Reads one request.
    fn client_ready(&mut self, number: u64) {
        let Some(client) = self.clients.iter_mut().find(|client| client.number == number) else { return };
        match client.reader.read::<Request>(&client.connection) {
            // One program at a time on each connection, since answers carry no number.
            Ok(Incoming::Frame(..)) if client.busy => self.hang_up(number),
            Ok(Incoming::Frame(request, fds)) => {
                client.since = None;
                self.answer(number, request, fds);
            }
            Ok(Incoming::Wait) => {
                client.since = client.reader.is_partial().then(|| client.since.unwrap_or_else(Instant::now));
            }
            Ok(Incoming::End) | Err(_) => self.hang_up(number),
        }
    }

    fn answer(&mut self, number: u64, request: Request, mut fds: Fds) {
        match request {
            Request::Signal(signal) | Request::Stop(signal) => {
                if matches!(request, Request::Stop(_)) {
                    self.call_off();
                }
                // One that waits to be started again has nobody to get it.
                let sent = match self.waiting {
                    Some(_) => Ok(()),
                    None => sys::pidfd_signal(self.container.init.as_fd(), signal),
                };
                let response = match sent.during(Step::Signal, signal.to_string()) {
                    Ok(()) => {
                        self.journal.note(&self.run_dir, Happening::Kill(signal));
                        Response::Ok
                    }
                    Err(failure) => Response::Failed(failure),
                };
                self.respond(number, &response, &[]);
            }
            Request::Resize(size) => {
                let master = self.log.as_ref().and_then(Log::terminal);
                let none = || Failure::rule(Step::Terminal, "container", "it has none that is the monitor's");
                let resized =
                    master.ok_or_else(none).and_then(|master| terminal::resize(master.as_fd(), size));
                if let (Ok(()), Some(again)) = (&resized, &mut self.again)
                    && let Some(terminal) = &mut again.spec.process.terminal
                {
                    // The next run begins with it.
                    terminal.size = size;
                }
                let response = resized.map_or_else(Response::Failed, |()| Response::Ok);
                self.respond(number, &response, &[]);
            }
            Request::Leave(program) => {
                let response = self.leave(program, &mut fds).map_or_else(Response::Failed, |()| Response::Ok);
                self.respond(number, &response, &[]);
            }
            Request::Attach { input, output } => match self.attach(number, input, output, &mut fds) {
                Ok((inode, length)) => {
                    self.respond(number, &Response::Attached { inode, length }, &[]);
                    self.expect_end(number);
                }
                Err(failure) => self.respond(number, &Response::Failed(failure), &[]),
            },
            Request::Wait => match self.has_room() {
                Ok(()) => self.expect_end(number),
                Err(failure) => self.respond(number, &Response::Failed(failure), &[]),
            },
            Request::Init => {
                let Some(client) = self.clients.iter().find(|client| client.number == number) else { return };
                if client.connection.try_send(&Response::Ok, &[self.container.init.as_fd()]).is_err() {
                    self.hang_up(number);
                }
            }
            Request::Cgroups(count) => {
                let more: Result<Vec<OwnedFd>, _> =
                    (0..count).map(|n| fds.take_nth(n).during(Step::Protocol, "cgroups")).collect();
                let response = match more {
                    Ok(more) => {
                        self.container.cgroups.extend(more);
                        Response::Ok
                    }
                    Err(failure) => Response::Failed(failure),
                };
                self.respond(number, &response, &[]);
            }
            Request::Exec(_) if self.waiting.is_some() => {
                let failure = Failure::new(Step::Join, libc::ESRCH, "container");
                self.respond(number, &Response::Failed(failure), &[]);
            }
            Request::Exec(spec) => match self.exec(number, &spec, &mut fds) {
                Ok(program) => {
                    let create = Happening::ExecCreate(program.number, program.command.clone());
                    self.journal.note(&self.run_dir, create);
                    self.next_program = self.next_program.wrapping_add(1);
                    self.programs.push(program);
                    if let Some(client) = self.clients.iter_mut().find(|client| client.number == number) {
                        client.busy = true;
                    }
                }
                Err(failure) => self.respond(number, &Response::Failed(failure), &[]),
            },
        }
    }

    fn respond(&mut self, number: u64, response: &Response, fds: &[BorrowedFd<'_>]) {
        let Some(client) = self.clients.iter().find(|client| client.number == number) else { return };
        if client.connection.try_send(response, fds).is_err() {
            self.hang_up(number);
        }
    }

    /// Connects a client to this run of the program. The file of the log and its length.
    fn attach(
        &mut self,
        client: u64,
        input: bool,
        output: bool,
        fds: &mut Fds,
    ) -> Result<(u64, u64), Failure> {
        if self.waiting.is_some() {
            return Err(Failure::rule(Step::Stdio, "container", "it is restarting"));
        }
        self.has_room()?;
        let place = self.log.as_ref().and_then(Log::place);
        if output && place.is_none() {
            return Err(Failure::rule(Step::Log, "container", "its output is not kept in the log"));
        }
        if input {
            let source = fds.take_nth(0).during(Step::Protocol, "standard input")?;
            let closed = || Failure::rule(Step::Stdio, "container", "its standard input is not open");
            self.input.as_mut().ok_or_else(closed)?.add(client, source)?;
        }
        Ok(place.unwrap_or_default())
    }

    /// Fails if too many wait for the end.
    fn has_room(&self) -> Result<(), Failure> {
        match self.clients.iter().filter(|client| client.waits).count() < MAX_WAITING {
            true => Ok(()),
            false => Err(Failure::rule(Step::Protocol, "container", "too many wait for its end")),
        }
    }

    /// The client hears of the end of the container.
    fn expect_end(&mut self, number: u64) {
        if let Some(client) = self.clients.iter_mut().find(|client| client.number == number) {
            client.waits = true;
        }
    }

    fn hang_up(&mut self, number: u64) {
        // What it gave to read before it went still counts: that ends with its pipe.
        self.clients.retain(|client| client.number != number);
    }

    /// The connection may be used for another request.
    fn release(&mut self, number: u64) {
        if let Some(client) = self.clients.iter_mut().find(|client| client.number == number) {
            client.busy = false;
        }
    }

    /// The container has ended: record it, tell everybody.
    fn finish(mut self, control: Option<Connection>, exit: Exit) -> i32 {
        // What the end of the first process did not end.
        if let Some(keeper) = self.container.keeper.take() {
            keeper.finish();
        }
        self.end_programs();
        let mut warnings = Vec::new();
        if let Some(log) = &mut self.log {
            log.drain();
            warnings.extend(log.loss());
        }
        self.after_hooks(exit, false);
        warnings.extend(self.stuck.take());
        warnings.append(&mut self.complaints);
        let complaints = if self.leavings.is_some() { std::mem::take(&mut warnings) } else { Vec::new() };
        let mut written = Ok(());
        if self.leavings.is_none() {
            let record = ExitRecord { id: std::mem::take(&mut self.id), exit, warnings };
            written = state::write(&self.run_dir, &record);
            // Whoever hears of the end may take the lock at once: nothing of the container is left, and all is written.
            drop(self.socket);
            // Unlocked, not only closed: a child that the host program forked at the wrong moment may have a copy of the descriptor.
            let _ = rustix::fs::flock(&self.lock, rustix::fs::FlockOperation::Unlock);
        }
        drop((self.lock, self.run_dir));
        for client in self.clients.iter().filter(|client| client.waits) {
            let _ = client.connection.try_send(&Response::Exited(exit), &[]);
        }
        if let Some(control) = control {
            if !complaints.is_empty() {
                let _ = control.try_send(&Report::Complaints(complaints), &[]);
            }
            let _ = control.try_send(&Report::Exited(exit), &[]);
            if self.leavings.is_none() && !self.committed {
                // A program of a moment ends before the engine has it on record. A socket that is closed with something unread loses what was sent on it.
                let _ = control.recv::<Commit>();
            }
        }
        if let Some(container) = &self.leavings {
            state::clear_work(container.as_fd());
        }
        // All is said and written: what is left is for whoever reads slowly.
        drop((std::mem::take(&mut self.clients), self.again.take()));
        if let Some(log) = &mut self.log {
            log.deliver();
        }
        i32::from(written.is_err())
    }
}

fn timespec(time: Duration) -> Timespec {
    Timespec { tv_sec: time.as_secs().min(i32::MAX as u64) as i64, tv_nsec: i64::from(time.subsec_nanos()) }
}

/// A failure in words, for whoever reads the log of health checks.
fn said(failure: &Failure) -> String {
    let object = String::from_utf8_lossy(&failure.object);
    let why = match failure.errno {
        0 => failure.detail.clone(),
        errno => Errno::from_raw_os_error(errno).to_string(),
    };
    format!("cannot {} \"{object}\": {why}", failure.step.text())
}

/// The process id on the host, as far as this process can see it.
pub(crate) fn host_pid(pidfd: BorrowedFd<'_>) -> Option<i32> {
    let info = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", pidfd.as_raw_fd())).ok()?;
    info.lines().find_map(|line| line.strip_prefix("Pid:"))?.trim().parse().ok()
}
