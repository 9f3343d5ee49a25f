//! The monitor's work while the program runs: one loop over everything that can happen. Nothing in it waits for a client.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use coble_protocol::{
    Commit, Connection, Exit, ExitRecord, Failure, Fds, FrameReader, Incoming, ProcessSpec, Report, Request,
    Response, Step,
};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use rustix::process::{WaitId, WaitIdOptions};

use super::log::Log;
use super::state::{self, Socket};
use crate::container::{Status, join, wall_clock};
use crate::failure::During;
use crate::ids::IdMaps;
use crate::sys;

/// Clients at once; more wait to be accepted.
const MAX_CLIENTS: usize = 256;
/// Programs started by exec at once.
const MAX_PROGRAMS: usize = 256;
/// How long a client may take for one request.
const REQUEST_TIME: Duration = Duration::from_secs(10);
/// How long a process may take to become its program.
const JOIN_TIME: Duration = Duration::from_secs(30);

/// What exec needs of the running container.
pub(crate) struct Container {
    /// The pidfd of its first process.
    pub(crate) init: OwnedFd,
    pub(crate) cgroups: Vec<OwnedFd>,
    pub(crate) home: Option<OwnedFd>,
    pub(crate) maps: IdMaps,
    pub(crate) own_network: bool,
    pub(crate) core_limit: u64,
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

/// A program started by exec.
struct Program {
    client: u64,
    pidfd: OwnedFd,
    /// The channel to the process until it is the program.
    channel: Option<(Connection, FrameReader)>,
    /// What it said last on the channel.
    said: Option<Status>,
    running: bool,
    /// When it was made.
    since: Instant,
}

/// What can happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Event {
    Output(usize),
    /// Something on the channel of a program on its way.
    Progress(usize),
    /// The end of a program.
    End(usize),
    Client(u64),
    Connect,
    Starter,
    Control,
    Init,
}

/// The state of the loop.
pub(crate) struct Server {
    socket: Socket,
    container: Container,
    /// The procfs that the first process made.
    proc: OwnedFd,
    /// The process with whose end the container ends.
    starter: Option<OwnedFd>,
    /// Whether that is so only until the container is on record.
    detached: bool,
    log: Option<Log>,
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
    programs: Vec<Program>,
}

impl Server {
    #[allow(clippy::too_many_arguments)]
    pub(crate) fn new(
        socket: Socket,
        container: Container,
        proc: OwnedFd,
        (starter, detached): (OwnedFd, bool),
        log: Option<Log>,
        run_dir: OwnedFd,
        lock: OwnedFd,
        id: String,
        leavings: Option<OwnedFd>,
    ) -> Server {
        Server {
            socket,
            container,
            proc,
            starter: Some(starter),
            detached,
            log,
            run_dir,
            lock,
            id,
            leavings,
            committed: false,
            clients: Vec::new(),
            next_client: 0,
            programs: Vec::new(),
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
            for event in &events {
                match *event {
                    Event::Output(stream) => {
                        self.log.as_mut().map(|log| log.take(stream));
                    }
                    Event::Progress(n) => self.progress(n),
                    Event::End(n) => self.program_ended(n),
                    Event::Client(number) => self.client_ready(number),
                    Event::Connect => self.accept(),
                    Event::Starter => {
                        // None if its last word was that the container outlives it.
                        if self.starter.take().is_some() {
                            let _ = sys::pidfd_signal(self.container.init.as_fd(), libc::SIGKILL);
                        }
                    }
                    Event::Control => control = control.and_then(|control| self.engine_ready(control)),
                    Event::Init => return self.finish(control),
                }
            }
            self.programs.retain(|program| program.running || program.channel.is_some());
            let now = Instant::now();
            for program in &self.programs {
                // One that does not become its program was stopped by somebody in the container. Its channel then says that it ended.
                if program.channel.is_some() && now - program.since > JOIN_TIME {
                    let _ = sys::pidfd_signal(program.pidfd.as_fd(), libc::SIGKILL);
                }
            }
            let late = |client: &Client| client.since.is_some_and(|since| now - since > REQUEST_TIME);
            self.clients.retain(|client| !late(client));
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
        }
        for (n, program) in self.programs.iter().enumerate() {
            if let Some((channel, _)) = &program.channel {
                events.push(Event::Progress(n));
                fds.push(PollFd::new(channel, PollFlags::IN));
            }
            events.push(Event::End(n));
            fds.push(PollFd::new(&program.pidfd, PollFlags::IN));
        }
        for client in &self.clients {
            events.push(Event::Client(client.number));
            fds.push(PollFd::new(&client.connection, PollFlags::IN));
        }
        if self.clients.len() < MAX_CLIENTS {
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
        events.push(Event::Init);
        fds.push(PollFd::new(&self.container.init, PollFlags::IN));
        let partial = self.clients.iter().any(|client| client.since.is_some());
        let joining = self.programs.iter().any(|program| program.channel.is_some());
        let timeout =
            (partial || joining).then_some(Timespec { tv_sec: REQUEST_TIME.as_secs() as i64, tv_nsec: 0 });
        match poll(&mut fds, timeout.as_ref()) {
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
            let _ = sys::pidfd_signal(self.container.init.as_fd(), libc::SIGKILL);
        }
        None
    }

    fn accept(&mut self) {
        while self.clients.len() < MAX_CLIENTS {
            let socket = match rustix::net::accept_with(&self.socket.listener, SocketFlags::CLOEXEC) {
                Ok(socket) => socket,
                Err(Errno::INTR | Errno::CONNABORTED) => continue,
                Err(_) => return,
            };
            // The directory and the mode of the socket say the same; this is the second lock.
            let own = rustix::process::geteuid().as_raw();
            if !sys::peer_uid(socket.as_fd()).is_ok_and(|uid| uid == own) {
                continue;
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
            Request::Signal(signal) => {
                let sent = sys::pidfd_signal(self.container.init.as_fd(), signal);
                let response = match sent.during(Step::Signal, signal.to_string()) {
                    Ok(()) => Response::Ok,
                    Err(failure) => Response::Failed(failure),
                };
                self.respond(number, &response, &[]);
            }
            Request::Wait => {
                if let Some(client) = self.clients.iter_mut().find(|client| client.number == number) {
                    client.waits = true;
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
            Request::Exec(spec) => match self.exec(number, &spec, &mut fds) {
                Ok(program) => {
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

    fn hang_up(&mut self, number: u64) {
        self.clients.retain(|client| client.number != number);
    }

    /// Starts a process that will become another program in the container.
    fn exec(&mut self, client: u64, spec: &ProcessSpec, fds: &mut Fds) -> Result<Program, Failure> {
        let step = Step::Join;
        let mut stream = |n| fds.take_nth(n).during(Step::Protocol, "standard streams");
        let stdio = [stream(0)?, stream(1)?, stream(2)?];
        if self.programs.len() >= MAX_PROGRAMS {
            return Err(Failure::rule(step, "container", "too many programs at once"));
        }
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
                    own_network: container.own_network,
                    maps: &container.maps,
                    proc: self.proc.as_fd(),
                    core_limit: container.core_limit,
                };
                join::join(plan, Connection::new(theirs))
            }
            Ok(sys::Clone::Parent(pidfd)) => Ok(Program {
                client,
                pidfd,
                channel: Some((Connection::new(ours), FrameReader::default())),
                said: None,
                running: false,
                since: Instant::now(),
            }),
            Err(errno) => Err(errno).during(step, "container"),
        }
    }

    /// Hears what a process on its way to its program says.
    fn progress(&mut self, n: usize) {
        let Some(program) = self.programs.get_mut(n) else { return };
        let Some((connection, reader)) = &mut program.channel else { return };
        loop {
            match reader.read::<Status>(connection) {
                Ok(Incoming::Frame(Status::Joined, mut fds)) => {
                    // The process that made it is outside of the container, and ends at once.
                    let _ = ended(program.pidfd.as_fd());
                    if let Ok(pidfd) = fds.take_nth(0) {
                        program.pidfd = pidfd;
                    }
                }
                Ok(Incoming::Frame(status, _)) => program.said = Some(status),
                Ok(Incoming::Wait) => return,
                Ok(Incoming::End) | Err(_) => break,
            }
        }
        program.channel = None;
        let client = program.client;
        let failure = match program.said.take() {
            Some(Status::Ready(started)) => {
                program.running = true;
                let response = Response::Running { warnings: started.warnings };
                let Some(client) = self.clients.iter().find(|c| c.number == client) else { return };
                if client.connection.try_send(&response, &[program.pidfd.as_fd()]).is_err() {
                    let number = client.number;
                    self.hang_up(number);
                }
                return;
            }
            Some(Status::Failed(failure)) => failure,
            // Killed on the way, as when the container ends.
            Some(Status::Joined) | None => Failure::new(Step::Join, libc::ESRCH, "container"),
        };
        // It ends by itself, unless somebody in the container has stopped it.
        let _ = sys::pidfd_signal(program.pidfd.as_fd(), libc::SIGKILL);
        let _ = ended(program.pidfd.as_fd());
        self.release(client);
        self.respond(client, &Response::Failed(failure), &[]);
    }

    fn program_ended(&mut self, n: usize) {
        // What it said before it ended comes first.
        self.progress(n);
        let Some(program) = self.programs.get_mut(n).filter(|program| program.running) else { return };
        // Perhaps it was the end of the process that made this one.
        let Some(exit) = reap(program.pidfd.as_fd(), WaitIdOptions::EXITED | WaitIdOptions::NOHANG) else {
            return;
        };
        program.running = false;
        let client = program.client;
        self.release(client);
        self.respond(client, &Response::Exited(exit), &[]);
    }

    /// The connection may be used for another request.
    fn release(&mut self, number: u64) {
        if let Some(client) = self.clients.iter_mut().find(|client| client.number == number) {
            client.busy = false;
        }
    }

    /// The container has ended: record it, tell everybody.
    fn finish(mut self, control: Option<Connection>) -> i32 {
        let Some(exit) = ended(self.container.init.as_fd()) else { return 1 };
        // The kernel has killed the others before it let the first process end.
        for n in 0..self.programs.len() {
            self.program_ended(n);
        }
        let mut warnings = Vec::new();
        if let Some(log) = &mut self.log {
            log.drain();
            warnings.extend(log.loss());
        }
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
            let _ = control.try_send(&Report::Exited(exit), &[]);
            if self.leavings.is_none() && !self.committed {
                // A program of a moment ends before the engine has it on record. A socket that is closed with something unread loses what was sent on it.
                let _ = control.recv::<Commit>();
            }
        }
        if let Some(container) = &self.leavings {
            state::clear_work(container.as_fd());
        }
        i32::from(written.is_err())
    }
}

/// Reaps a child that has ended or is about to; None if it is not our child, or was reaped.
fn ended(pidfd: BorrowedFd<'_>) -> Option<Exit> {
    reap(pidfd, WaitIdOptions::EXITED)
}

fn reap(pidfd: BorrowedFd<'_>, options: WaitIdOptions) -> Option<Exit> {
    let status = rustix::io::retry_on_intr(|| rustix::process::waitid(WaitId::PidFd(pidfd), options));
    let status = status.ok().flatten()?;
    let signal = status.terminating_signal();
    let code = match (status.exit_status(), signal) {
        (Some(code), _) => code,
        (None, Some(signal)) => 128 + signal,
        (None, None) => return None,
    };
    Some(Exit { code, signal, finished_at: wall_clock(), core_dumped: status.dumped() })
}
