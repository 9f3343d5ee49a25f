//! Talking to the monitor of a running container, on its socket.

use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use rustix::io::Errno;

use coble_protocol::{Connection, Fds, ProtocolError, Request, Response};

use super::Signal;
use super::live::RunDir;
use crate::cancel::CancelToken;
use crate::engine::Inner;
use crate::error::{Error, ErrorKind, Result};
use crate::process::{self, Deadline};

/// How long a monitor may take to answer. It answers at once, unless somebody has stopped it or the host is out of memory.
const ANSWER: Duration = Duration::from_secs(5);

/// A connection to a monitor.
#[derive(Debug)]
pub(super) struct Monitor {
    connection: Connection,
    name: String,
}

impl Monitor {
    /// Connects to the monitor of a container; None if there is none, and so no running program.
    pub(super) fn connect(inner: &Inner, id: &str, name: &str) -> Result<Option<Monitor>> {
        match RunDir::open(&inner.run_root, id)? {
            Some(run_dir) => Monitor::of(&run_dir, name),
            None => Ok(None),
        }
    }

    /// As [`Monitor::connect`], by the run directory.
    pub(super) fn of(run_dir: &RunDir, name: &str) -> Result<Option<Monitor>> {
        Ok(run_dir.connect()?.map(|connection| Monitor { connection, name: name.to_owned() }))
    }

    /// Asks for something and hears the first answer. None: the monitor was ending, or was killed, and the container with it. What the monitor could not do is
    /// an error.
    pub(super) fn ask(
        &self,
        request: &Request,
        fds: &[BorrowedFd<'_>],
        deadline: Deadline,
        cancel: &CancelToken,
        late: &str,
    ) -> Result<Option<(Response, Fds)>> {
        if self.connection.send(request, fds).is_err() {
            return Ok(None);
        }
        process::readable(&self.connection, deadline, cancel, late)?;
        match self.connection.recv::<Response>() {
            Err(ProtocolError::Socket(Errno::CONNRESET) | ProtocolError::Truncated) => Ok(None),
            Err(error) => Err(self.lost(&error.to_string())),
            Ok(Some((Response::Failed(failure), _))) => Err(process::error_of(&failure)),
            Ok(answer) => Ok(answer),
        }
    }

    /// Takes back the request for another program, whose answer came too late for the caller. If that runs already it is killed, and so it is by a monitor that finds nobody to
    /// tell of it.
    pub(super) fn abandon(&self) {
        let _ = rustix::net::shutdown(&self.connection, rustix::net::Shutdown::Write);
        // A monitor that somebody has stopped is not waited for.
        let soon = Deadline::after(Some(Duration::from_secs(1)));
        while process::readable(&self.connection, soon, &CancelToken::never(), "").is_ok() {
            match self.connection.recv::<Response>() {
                Ok(Some((Response::Running { .. }, mut fds))) => {
                    if let Ok(program) = fds.take_nth(0) {
                        let _ = process::send_signal(&program, Signal::KILL, &self.name);
                    }
                }
                Ok(Some(_)) => {}
                Ok(None) | Err(_) => return,
            }
        }
    }

    /// Sends a signal to the program. A monitor that does not answer is killed if the program was to be killed: the kernel then kills all of the container.
    ///
    /// One whose program has ended and that runs the hooks for that is left alone: it hears of this afterwards.
    ///
    /// With `ends` the program is not started again after its end.
    pub(super) fn signal(&self, run_dir: &RunDir, signal: Signal, ends: bool) -> Result<()> {
        let late = format!("the monitor of \"{}\" was asked to send {signal}", self.name);
        let number = signal.number();
        let request = if ends { Request::Stop(number) } else { Request::Signal(number) };
        let ask = || self.ask(&request, &[], Deadline::after(Some(ANSWER)), &CancelToken::never(), &late);
        let ended = || run_dir.condition().and_then(|condition| condition.ended);
        let mut answer = ask();
        if matches!(&answer, Err(error) if error.kind() == ErrorKind::Timeout) {
            match ended() {
                Some(ended) if ended.hooks => return Err(self.stopped()),
                // The hooks were over in the last moment.
                Some(_) => answer = ask(),
                None => {}
            }
        }
        match answer {
            Ok(Some((Response::Ok, _))) => Ok(()),
            Ok(Some(_)) => Err(self.lost("an unexpected answer")),
            Ok(None) => Err(self.stopped()),
            Err(error) if error.kind() == ErrorKind::Timeout && signal == Signal::KILL => self.destroy(),
            Err(error) => Err(error),
        }
    }

    /// Waits until the monitor has gone, which closes its end of the connection.
    pub(super) fn gone(&self, deadline: Deadline) -> Result<()> {
        loop {
            let late = format!("\"{}\" does not end", self.name);
            process::readable(&self.connection, deadline, &CancelToken::never(), &late)?;
            match self.connection.recv::<Response>() {
                Ok(Some(_)) => {}
                Ok(None) | Err(_) => return Ok(()),
            }
        }
    }

    /// Kills the monitor itself.
    fn destroy(&self) -> Result<()> {
        let monitor = crate::sys::peer_pidfd(self.connection.as_fd()).map_err(|errno| {
            Error::syscall("getsockopt(SO_PEERPIDFD)", &self.name, errno.raw_os_error())
                .while_doing(format!("the monitor of \"{}\" does not answer", self.name))
                .with_hint("kill the process \"coble-monitor\" of the container")
        })?;
        process::send_signal(&monitor, Signal::KILL, &self.name)
    }

    /// The error that there is no program to do it with.
    pub(super) fn stopped(&self) -> Error {
        stopped(&self.name)
    }

    /// The error that the monitor does not do what it should.
    pub(super) fn lost(&self, why: &str) -> Error {
        Error::new(ErrorKind::MonitorLost, format!("the monitor of \"{}\": {why}", self.name))
    }

    /// The connection, for what else the monitor says on it.
    pub(super) fn into_connection(self) -> Connection {
        self.connection
    }
}

impl AsFd for Monitor {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.connection.as_fd()
    }
}

/// The error that a container does not run.
pub(super) fn stopped(name: &str) -> Error {
    Error::new(ErrorKind::InvalidState, format!("container \"{name}\" is not running")).with_object(name)
}
