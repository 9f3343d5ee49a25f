//! Clients of the control socket: who is heard, and what they are answered.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use coble_protocol::{Connection, Failure, Fds, FrameReader, Happening, Incoming, Request, Response, Step};
use rustix::io::Errno;
use rustix::net::SocketFlags;

use super::Server;
use super::programs::{Program, Stage};
use crate::failure::During;
use crate::monitor::health::PROBE;
use crate::monitor::log::Log;
use crate::monitor::oom::Oom;
use crate::program::terminal;
use crate::sys;

/// Clients that wait for the end at once. Who is refused asks again.
const MAX_WAITING: usize = 256;
/// Clients who wait for nothing, or have not said yet for what: of more, the first are hung up on.
const MAX_IDLE: usize = 64;
/// Clients that are accepted before the others are heard: less than [`MAX_IDLE`], so that each is heard once.
const MAX_ACCEPTED: usize = 32;
/// How long nobody is accepted when there is no descriptor for one.
const DEAF: Duration = Duration::from_millis(100);

/// A connection.
pub(super) struct Client {
    pub(super) number: u64,
    pub(super) connection: Connection,
    pub(super) reader: FrameReader,
    /// When the request that is not complete began to come.
    pub(super) since: Option<Instant>,
    /// Whether it waits for the end of the container.
    pub(super) waits: bool,
    /// Whether a program that it started has not ended yet.
    pub(super) busy: bool,
}

impl Server {
    pub(super) fn accept(&mut self) {
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
    pub(super) fn client_ready(&mut self, number: u64) {
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
            Request::Init => self.tell_init(number),
            Request::Share => {
                self.tracers = true;
                self.sharing.push(number);
                self.let_tracers_in();
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
            Request::Programs => {
                let running = |program: &&Program| program.stage == Stage::Running && program.client != PROBE;
                let numbers = self.programs.iter().filter(running).map(|program| program.number).collect();
                self.respond(number, &Response::Programs(numbers), &[]);
            }
            Request::Oom(event) => {
                let mut take = || -> Result<Oom, Failure> {
                    let counter = fds.take_nth(0).during(Step::Protocol, "memory")?;
                    let event =
                        event.then(|| fds.take_nth(1).during(Step::Protocol, "memory")).transpose()?;
                    let mut oom = Oom::new(counter, event, 0);
                    oom.forget();
                    Ok(oom)
                };
                let response = match take() {
                    Ok(oom) => {
                        self.oom.get_or_insert(oom);
                        Response::Ok
                    }
                    Err(failure) => Response::Failed(failure),
                };
                self.respond(number, &response, &[]);
            }
            Request::Policy(policy) => {
                let response = match (&mut self.again, policy) {
                    (Some(again), policy) => {
                        again.set_policy(policy);
                        self.tell_condition();
                        Response::Ok
                    }
                    (None, None) => Response::Ok,
                    (None, Some(_)) => Response::Failed(Failure::rule(
                        Step::Stdio,
                        "container",
                        "it was started with files or secrets of its caller's, which are not kept for another run",
                    )),
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

    /// Gives a client the pidfd of the first process.
    pub(super) fn tell_init(&mut self, number: u64) {
        let Some(client) = self.clients.iter().find(|client| client.number == number) else { return };
        if client.connection.try_send(&Response::Ok, &[self.container.init.as_fd()]).is_err() {
            self.hang_up(number);
        }
    }

    pub(super) fn respond(&mut self, number: u64, response: &Response, fds: &[BorrowedFd<'_>]) {
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

    pub(super) fn hang_up(&mut self, number: u64) {
        // What it gave to read before it went still counts: that ends with its pipe.
        self.clients.retain(|client| client.number != number);
    }

    /// The connection may be used for another request.
    pub(super) fn release(&mut self, number: u64) {
        if let Some(client) = self.clients.iter_mut().find(|client| client.number == number) {
            client.busy = false;
        }
    }
}
