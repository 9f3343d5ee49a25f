//! Another program in a running container.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::fs::{Mode, OFlags};
use rustix::io::retry_on_intr;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::termios::Winsize;

use coble_protocol::{Connection, JOURNAL_RECORDS, ProtocolError, Report, Request, Response};

use super::attach::Pump;
use super::known::KnownProcesses;
use super::monitor::{Monitor, stopped};
use super::pause::refuse_paused;
use super::run::{KILLED, outcome};
use super::start::{privileged, stream};
use super::{
    Container, ExecSpec, RunOptions, RunResult, Signal, Stdio, StdioMode, Warning, command, validate,
};
use crate::cancel::CancelToken;
use crate::error::{Call, Context, Error, ErrorKind, Result};
use crate::event::note;
use crate::process::{self, Collected, Collector, Deadline, Ended};

/// How long a program may take to start. The monitor gives up before.
const START: Duration = Duration::from_secs(60);

/// How long a monitor may take to answer otherwise.
const ANSWER: Duration = Duration::from_secs(10);

/// How much may happen to a container before somebody brings it on record who does something else with it. The other half is for what happens until he has done so.
const JOURNAL_LAG: u64 = JOURNAL_RECORDS / 2;

/// A program that was started in a running container, or a container's own that was attached to. Dropping it closes its pipes and leaves the program alone.
#[derive(Debug)]
pub struct Process {
    pub(super) name: String,
    pub(super) stdin: Option<OwnedFd>,
    pub(super) stdout: Option<OwnedFd>,
    pub(super) stderr: Option<OwnedFd>,
    pub(super) program: Program,
    pub(super) pid: i32,
    pub(super) warnings: Vec<Warning>,
    pub(super) news: News,
    /// The exit code, once the monitor has told it.
    pub(super) ended: Mutex<Option<i32>>,
}

/// Whose end and terminal it is.
#[derive(Debug)]
pub(super) enum Program {
    /// One that was started in a container, with both ends of its terminal.
    Other { container: Container, number: u32, pidfd: OwnedFd, terminal: Mutex<Option<Ends>> },
    /// The container's own, and what moves its output.
    Own { container: Container, _pump: Option<Pump> },
}

/// Both ends of a terminal, as far as they are kept: the other one while its output is collected.
#[derive(Debug)]
pub(super) struct Ends {
    master: OwnedFd,
    slave: Option<OwnedFd>,
}

/// Who tells the end.
#[derive(Debug)]
pub(super) enum News {
    /// The monitor, on its socket.
    Monitor(Connection),
    /// The monitor, to the one that started it.
    Control(Connection),
}

impl AsFd for News {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            News::Monitor(connection) | News::Control(connection) => connection.as_fd(),
        }
    }
}

impl Container {
    /// Runs another program in the running container and collects its output. An error after its start has what was collected until then
    /// ([`Error::run_result`](crate::Error::run_result)).
    pub fn exec(&self, spec: ExecSpec, options: RunOptions, cancel: &CancelToken) -> Result<RunResult> {
        let begin = Instant::now();
        let doing = || format!("executing in \"{}\"", self.name());
        let RunOptions { input, timeout, check, capture_limit, stdin, stdout, stderr } = options;
        let deadline = Deadline::after(timeout);
        let tty = spec.tty;
        let pipe_or = |given: Option<OwnedFd>| given.map_or(StdioMode::Pipe, StdioMode::Fd);
        let stdio = Stdio {
            stdin: match (stdin, &input) {
                (Some(fd), _) => StdioMode::Fd(fd),
                (None, Some(_)) => StdioMode::Pipe,
                (None, None) => StdioMode::Null,
            },
            stdout: pipe_or(stdout),
            stderr: if tty && stderr.is_none() { StdioMode::Null } else { pipe_or(stderr) },
        };
        let mut process = self.popen_until(spec, stdio, deadline, cancel)?;
        // Until the end that is told, it may close its terminal and open it again.
        let started = begin.elapsed();
        let collector = Collector {
            input: process.take_stdin().zip(input),
            stdout: process.take_stdout(),
            stderr: process.take_stderr(),
            limit: capture_limit.unwrap_or(super::run::CAPTURE_LIMIT),
            terminal: process.take_slave(),
        };
        let mut collected = Collected::default();
        let ended = collector.collect(&process.news, || process.news(), deadline, cancel, &mut collected);
        if ended.is_err() {
            // Timed out, cancelled, too much output: the program does not outlive the call.
            let _ = process.send_signal(Signal::KILL);
            let _ = process.wait(Some(Duration::from_secs(10)), &CancelToken::never());
        }
        let mut result = RunResult {
            exit_code: KILLED,
            stdout: collected.stdout,
            stderr: collected.stderr,
            order: collected.order,
            timings: vec![("start".to_owned(), started), ("run".to_owned(), begin.elapsed() - started)],
            isolation: None,
            warnings: process.warnings.clone(),
        };
        match ended {
            Ok(code) => {
                result.exit_code = code;
                outcome(result, check)
            }
            Err(error) => Err(error.with_run_result(result)),
        }
        .context(doing)
    }

    /// Starts another program in the running container.
    ///
    /// With a terminal, its streams are pipes or nothing: input and output are then copies of the master of the terminal, of which there is one for both. Reading from
    /// it fails with `EIO` when the program has ended. If both are nothing, what the program writes is lost.
    pub fn popen(&self, spec: ExecSpec, stdio: Stdio) -> Result<Process> {
        let mut process =
            self.popen_until(spec, stdio, Deadline::after(Some(START)), &CancelToken::never())?;
        // The end of the last program that has it is the end of the output.
        drop(process.take_slave());
        // Looked up here, since exec, which goes the same way, has no use for it.
        if let Program::Other { pidfd, .. } = &process.program {
            process.pid = process::host_pid(pidfd).unwrap_or(0);
        }
        Ok(process)
    }

    pub(super) fn popen_until(
        &self,
        spec: ExecSpec,
        stdio: Stdio,
        deadline: Deadline,
        cancel: &CancelToken,
    ) -> Result<Process> {
        let inner = &*self.engine.inner()?;
        let doing = || format!("executing in \"{}\"", self.name());
        validate::exec(&spec)?;
        let row = self.row(inner)?;
        let monitor = Monitor::connect(inner, self.id(), self.name())?
            .ok_or_else(|| stopped(self.name()))
            .context(doing)?;
        refuse_paused(inner, self.id(), self.name()).context(doing)?;
        let tty = spec.tty;
        let own = KnownProcesses::of(inner, &row)?;
        let (bounding, missing) = match spec.privileged {
            true => privileged(inner, &row).map(|(all, missing)| (Some(all), missing)).context(doing)?,
            false => (None, Vec::new()),
        };
        let late = format!("no program was started in \"{}\"", self.name());
        let exec = |given, fds: &[BorrowedFd<'_>]| {
            let request = Request::Exec(Box::new(command::exec_process(&own, &spec, given, bounding)));
            let answer = monitor.ask(&request, fds, deadline, cancel, &late);
            if matches!(&answer, Err(error) if matches!(error.kind(), ErrorKind::Timeout | ErrorKind::Cancelled))
            {
                monitor.abandon();
            }
            answer.context(doing)
        };
        let mut wanted = [false; 2];
        let (answer, [mut stdin, mut stdout, stderr]) = if tty {
            wanted = terminal_streams(&stdio).context(doing)?;
            (exec(wanted[0] || wanted[1], &[])?, [None, None, None])
        } else {
            let (stdin, theirs0) = ends(stdio.stdin, rustix::stdio::stdin(), true)?;
            let (stdout, theirs1) = ends(stdio.stdout, rustix::stdio::stdout(), false)?;
            let (stderr, theirs2) = ends(stdio.stderr, rustix::stdio::stderr(), false)?;
            let answer = exec(false, &[theirs0.as_fd(), theirs1.as_fd(), theirs2.as_fd()])?;
            (answer, [stdin, stdout, stderr])
        };
        match answer {
            Some((Response::Running { warnings, journal, number }, mut fds)) => {
                if journal.saturating_sub(row.journal) > JOURNAL_LAG {
                    // Before the monitor has no place for it any more. What cannot be recorded now may be so later.
                    let _ = super::look_at(inner, self.id());
                }
                let pidfd = fds.take_nth(0).map_err(|error| monitor.lost(&error.to_string()))?;
                let terminal =
                    fds.take_nth(1).ok().map(|master| Ends { master, slave: fds.take_nth(2).ok() });
                if let Some(Ends { master, .. }) = &terminal {
                    let copy = || rustix::io::fcntl_dupfd_cloexec(master, 3).call("fcntl", "terminal");
                    stdin = wanted[0].then(copy).transpose()?;
                    stdout = wanted[1].then(copy).transpose()?;
                }
                Ok(Process {
                    name: self.name().to_owned(),
                    stdin,
                    stdout,
                    stderr,
                    pid: 0,
                    program: Program::Other {
                        container: self.clone(),
                        number,
                        pidfd,
                        terminal: Mutex::new(terminal),
                    },
                    warnings: missing.into_iter().chain(warnings.iter().map(process::warning_of)).collect(),
                    news: News::Monitor(monitor.into_connection()),
                    ended: Mutex::new(None),
                })
            }
            Some(_) => Err(monitor.lost("an unexpected answer")),
            None => Err(monitor.stopped()).context(doing),
        }
    }
}

/// Whether input and output of a terminal are wanted.
fn terminal_streams(stdio: &Stdio) -> Result<[bool; 2]> {
    let wanted = |mode: &StdioMode| match mode {
        StdioMode::Pipe => Ok(true),
        StdioMode::Null => Ok(false),
        _ => Err(Error::new(
            ErrorKind::InvalidArgument,
            "the streams of a program with a terminal are that terminal: they are pipes or nothing",
        )),
    };
    // There is but one output.
    wanted(&stdio.stderr)?;
    Ok([wanted(&stdio.stdin)?, wanted(&stdio.stdout)?])
}

/// Our end (for a pipe) and the program's end of a stream.
fn ends(mode: StdioMode, own: BorrowedFd<'_>, input: bool) -> Result<(Option<OwnedFd>, OwnedFd)> {
    match mode {
        StdioMode::Pipe => {
            let (read, write) = pipe_with(PipeFlags::CLOEXEC).call("pipe2", "standard stream")?;
            Ok(if input { (Some(write), read) } else { (Some(read), write) })
        }
        StdioMode::Log => Err(Error::new(
            ErrorKind::InvalidArgument,
            "the log keeps the output of a container's own program only",
        )),
        mode => match stream(mode, own)? {
            Some(fd) => Ok((None, fd)),
            None => {
                let null = rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())
                    .call("open", "/dev/null")?;
                Ok((None, null))
            }
        },
    }
}

impl Process {
    /// The write end of standard input, if that is a pipe; once. Of a program with a terminal, a copy of its master.
    pub fn take_stdin(&mut self) -> Option<OwnedFd> {
        self.stdin.take()
    }

    /// The read end of standard output, if that is a pipe; once. Of a program with a terminal, a copy of its master.
    pub fn take_stdout(&mut self) -> Option<OwnedFd> {
        self.stdout.take()
    }

    /// The other end of the terminal.
    fn take_slave(&mut self) -> Option<OwnedFd> {
        match &mut self.program {
            Program::Other { terminal, .. } => lock(terminal).as_mut()?.slave.take(),
            Program::Own { .. } => None,
        }
    }

    /// The read end of standard error, if that is a pipe; once.
    pub fn take_stderr(&mut self) -> Option<OwnedFd> {
        self.stderr.take()
    }

    /// Its process id on the host; 0 if it had ended before it could be looked up.
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// What it could not be given and was not essential.
    pub fn warnings(&self) -> &[Warning] {
        &self.warnings
    }

    /// Waits for its end and returns its exit code, or 128 plus the signal that ended it.
    pub fn wait(&self, timeout: Option<Duration>, cancel: &CancelToken) -> Result<i32> {
        let deadline = Deadline::after(timeout);
        loop {
            if let Some(code) = *self.lock() {
                return Ok(code);
            }
            process::readable(
                &self.news,
                deadline,
                cancel,
                &format!("a program in \"{}\" is still running", self.name),
            )?;
            self.poll()?;
        }
    }

    /// Its exit code, if it ended.
    pub fn poll(&self) -> Result<Option<i32>> {
        let mut ended = self.lock();
        if ended.is_none() && is_readable(&self.news)? {
            *ended = Some(self.read_end()?);
        }
        Ok(*ended)
    }

    /// Sends it a signal. A program that has ended is left alone.
    pub fn send_signal(&self, signal: Signal) -> Result<()> {
        if self.poll()?.is_some() {
            return Ok(());
        }
        match &self.program {
            Program::Other { pidfd, .. } if process::is_over(pidfd) => Ok(()),
            Program::Other { pidfd, .. } => process::send_signal(pidfd, signal, &self.name),
            Program::Own { container, .. } => match container.kill(signal) {
                Err(error)
                    if matches!(error.kind(), ErrorKind::InvalidState | ErrorKind::ContainerNotFound) =>
                {
                    Ok(())
                }
                result => result,
            },
        }
    }

    /// Sets the size of its terminal, in characters, and tells the program of it with SIGWINCH.
    pub fn resize(&self, height: u16, width: u16) -> Result<()> {
        match &self.program {
            Program::Other { terminal, .. } => match &*lock(terminal) {
                Some(ends) => {
                    let size = Winsize { ws_row: height, ws_col: width, ws_xpixel: 0, ws_ypixel: 0 };
                    rustix::termios::tcsetwinsize(&ends.master, size).call("ioctl(TIOCSWINSZ)", &self.name)
                }
                None => Err(Error::new(ErrorKind::InvalidState, "the program has no terminal")),
            },
            Program::Own { container, .. } => container.resize(height, width),
        }
    }

    /// Leaves the program, as the keys do that docker has for it: it goes on, and there is an event `detach`, or `exec_detach` for a program that was started in the container. Its streams are
    /// to be closed now. A terminal is not hung up: what is written to it from here on is thrown away. Without one, this is an event only.
    pub fn detach(&self) -> Result<()> {
        let doing = || format!("leaving a program in \"{}\"", self.name);
        let (container, number, terminal) = match &self.program {
            Program::Own { container, .. } => {
                note(&*container.engine.inner()?, container.id(), "detach", &[]);
                return Ok(());
            }
            Program::Other { container, number, terminal, .. } => (container, number, terminal),
        };
        let inner = &*container.engine.inner()?;
        let master = lock(terminal).take().map(|ends| ends.master);
        // One that has ended was left in time.
        let Some(monitor) = Monitor::connect(inner, container.id(), &self.name).context(doing)? else {
            return Ok(());
        };
        let fds: Vec<_> = master.iter().map(AsFd::as_fd).collect();
        let late = "the monitor does not answer";
        let deadline = Deadline::after(Some(ANSWER));
        match monitor.ask(&Request::Leave(*number), &fds, deadline, &CancelToken::never(), late) {
            Ok(Some((Response::Ok, _)) | None) => Ok(()),
            Ok(Some(_)) => Err(monitor.lost("an unexpected answer")),
            Err(error) => Err(error),
        }
        .context(doing)
    }

    /// Gives up its terminal. When the copies of the master that its streams are are closed, too, the program is told with SIGHUP. Otherwise that happens when this is dropped.
    pub fn hang_up(&self) {
        if let Program::Other { terminal, .. } = &self.program {
            *lock(terminal) = None;
        }
    }

    fn news(&self) -> Result<Ended<i32>> {
        Ok(self.poll()?.map_or(Ended::NotYet, Ended::Yes))
    }

    fn read_end(&self) -> Result<i32> {
        let told = match &self.news {
            News::Monitor(connection) => connection.recv::<Response>().map(|told| match told {
                // Who is attached is attached to this run, whatever comes after it.
                Some((Response::Exited(exit) | Response::Restarts(exit), _)) => Some(Some(exit.code)),
                Some(_) => Some(None),
                None => None,
            }),
            News::Control(connection) => connection.recv::<Report>().map(|told| match told {
                Some((Report::Exited(exit), _)) => Some(Some(exit.code)),
                Some(_) => Some(None),
                None => None,
            }),
        };
        let lost = |why: String| Err(Error::new(ErrorKind::MonitorLost, why));
        match told {
            Ok(Some(Some(code))) => Ok(code),
            // The container ended, and every program in it was killed.
            Ok(None) | Err(ProtocolError::Socket(rustix::io::Errno::CONNRESET)) => match &self.program {
                Program::Other { pidfd, .. } if ends_soon(pidfd) => Ok(137),
                Program::Other { .. } => lost(format!("the monitor of \"{}\" hung up", self.name)),
                Program::Own { container, .. } => {
                    container.wait(Some(Duration::from_secs(2)), &CancelToken::never())
                }
            },
            Ok(Some(None)) => lost("the monitor sent an unexpected answer".into()),
            Err(error) => lost(format!("the monitor of \"{}\": {error}", self.name)),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<i32>> {
        lock(&self.ended)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether a process has ended, or does within a moment.
fn ends_soon(pidfd: &OwnedFd) -> bool {
    process::readable(pidfd, Deadline::after(Some(Duration::from_secs(2))), &CancelToken::never(), "its end")
        .is_ok()
}

fn is_readable(connection: &News) -> Result<bool> {
    let mut fds = [rustix::event::PollFd::new(connection, rustix::event::PollFlags::IN)];
    let now = rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 };
    Ok(retry_on_intr(|| rustix::event::poll(&mut fds, Some(&now))).call("poll", "control socket")? > 0)
}
