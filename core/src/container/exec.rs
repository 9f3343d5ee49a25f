//! Another program in a running container.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use rustix::fs::{Mode, OFlags};
use rustix::pipe::{PipeFlags, pipe_with};

use coble_protocol::{Connection, ProtocolError, Request, Response};

use super::monitor::{Monitor, stopped};
use super::pause::refuse_paused;
use super::run::outcome;
use super::start::{process_of, stream};
use super::{
    Container, ExecSpec, RunOptions, RunResult, Signal, Stdio, StdioMode, Warning, command, validate,
};
use crate::cancel::CancelToken;
use crate::error::{Call, Context, Error, ErrorKind, Result};
use crate::process::{self, Collector, Deadline, Ended};

/// How long a program may take to start. The monitor gives up before.
const START: Duration = Duration::from_secs(60);

/// A program that was started in a running container. Dropping it closes its pipes and leaves the program alone.
#[derive(Debug)]
pub struct Process {
    name: String,
    stdin: Option<OwnedFd>,
    stdout: Option<OwnedFd>,
    stderr: Option<OwnedFd>,
    pidfd: OwnedFd,
    pid: i32,
    warnings: Vec<Warning>,
    monitor: Connection,
    /// The exit code, once the monitor has told it.
    ended: Mutex<Option<i32>>,
}

impl Container {
    /// Runs another program in the running container and collects its output.
    pub fn exec(&self, spec: ExecSpec, options: RunOptions, cancel: &CancelToken) -> Result<RunResult> {
        let begin = Instant::now();
        let doing = || format!("executing in \"{}\"", self.name());
        let RunOptions { input, timeout, check, capture_limit, stdin, stdout, stderr } = options;
        let deadline = Deadline::after(timeout);
        let pipe_or = |given: Option<OwnedFd>| given.map_or(StdioMode::Pipe, StdioMode::Fd);
        let stdio = Stdio {
            stdin: match (stdin, &input) {
                (Some(fd), _) => StdioMode::Fd(fd),
                (None, Some(_)) => StdioMode::Pipe,
                (None, None) => StdioMode::Null,
            },
            stdout: pipe_or(stdout),
            stderr: pipe_or(stderr),
        };
        let mut process = self.popen_until(spec, stdio, deadline, cancel)?;
        let started = begin.elapsed();
        let collector = Collector {
            input: process.take_stdin().zip(input),
            stdout: process.take_stdout(),
            stderr: process.take_stderr(),
            limit: capture_limit.unwrap_or(super::run::CAPTURE_LIMIT),
        };
        let collected = collector.collect(&process.monitor, || process.news(), deadline, cancel);
        let (code, collected) = match collected {
            Ok(collected) => collected,
            Err(error) => {
                // Timed out, cancelled, too much output: the program does not outlive the call.
                let _ = process.send_signal(Signal::KILL);
                let _ = process.wait(Some(Duration::from_secs(10)), &CancelToken::never());
                return Err(error).context(doing);
            }
        };
        let timings = vec![("start".to_owned(), started), ("run".to_owned(), begin.elapsed() - started)];
        outcome(
            RunResult {
                exit_code: code,
                stdout: collected.stdout,
                stderr: collected.stderr,
                timings,
                isolation: None,
                warnings: process.warnings.clone(),
            },
            check,
        )
        .context(doing)
    }

    /// Starts another program in the running container.
    pub fn popen(&self, spec: ExecSpec, stdio: Stdio) -> Result<Process> {
        self.popen_until(spec, stdio, Deadline::after(Some(START)), &CancelToken::never())
    }

    fn popen_until(
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
        let request = Request::Exec(Box::new(command::exec_process(&process_of(inner, &row)?, &spec)));
        let (stdin, theirs0) = ends(stdio.stdin, rustix::stdio::stdin(), true)?;
        let (stdout, theirs1) = ends(stdio.stdout, rustix::stdio::stdout(), false)?;
        let (stderr, theirs2) = ends(stdio.stderr, rustix::stdio::stderr(), false)?;
        let fds = [theirs0.as_fd(), theirs1.as_fd(), theirs2.as_fd()];
        let late = format!("no program was started in \"{}\"", self.name());
        let answer = monitor.ask(&request, &fds, deadline, cancel, &late).context(doing)?;
        drop((theirs0, theirs1, theirs2));
        match answer {
            Some((Response::Running { warnings }, mut fds)) => {
                let pidfd = fds.take_nth(0).map_err(|error| monitor.lost(&error.to_string()))?;
                Ok(Process {
                    name: self.name().to_owned(),
                    stdin,
                    stdout,
                    stderr,
                    pid: process::host_pid(&pidfd).unwrap_or(0),
                    pidfd,
                    warnings: warnings.iter().map(process::warning_of).collect(),
                    monitor: monitor.into_connection(),
                    ended: Mutex::new(None),
                })
            }
            Some(_) => Err(monitor.lost("an unexpected answer")),
            None => Err(monitor.stopped()).context(doing),
        }
    }
}

/// Our end (for a pipe) and the program's end of a stream.
fn ends(
    mode: StdioMode,
    own: std::os::fd::BorrowedFd<'_>,
    input: bool,
) -> Result<(Option<OwnedFd>, OwnedFd)> {
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
    /// The write end of standard input, if that is a pipe; once.
    pub fn take_stdin(&mut self) -> Option<OwnedFd> {
        self.stdin.take()
    }

    /// The read end of standard output, if that is a pipe; once.
    pub fn take_stdout(&mut self) -> Option<OwnedFd> {
        self.stdout.take()
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
                &self.monitor,
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
        if ended.is_none() && is_readable(&self.monitor)? {
            *ended = Some(self.read_end()?);
        }
        Ok(*ended)
    }

    /// Sends it a signal. A program that has ended is left alone.
    pub fn send_signal(&self, signal: Signal) -> Result<()> {
        if self.poll()?.is_some() || process::is_over(&self.pidfd) {
            return Ok(());
        }
        process::send_signal(&self.pidfd, signal, &self.name)
    }

    fn news(&self) -> Result<Ended<i32>> {
        Ok(self.poll()?.map_or(Ended::NotYet, Ended::Yes))
    }

    fn read_end(&self) -> Result<i32> {
        match self.monitor.recv::<Response>() {
            Ok(Some((Response::Exited(exit), _))) => Ok(exit.code),
            // The container ended, and every program in it was killed.
            Ok(None) | Err(ProtocolError::Socket(rustix::io::Errno::CONNRESET)) if ends_soon(&self.pidfd) => {
                Ok(137)
            }
            Ok(None) => {
                Err(Error::new(ErrorKind::MonitorLost, format!("the monitor of \"{}\" hung up", self.name)))
            }
            Ok(Some(_)) => Err(Error::new(ErrorKind::MonitorLost, "the monitor sent an unexpected answer")),
            Err(error) => {
                Err(Error::new(ErrorKind::MonitorLost, format!("the monitor of \"{}\": {error}", self.name)))
            }
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<i32>> {
        self.ended.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// Whether a process has ended, or does within a moment.
fn ends_soon(pidfd: &OwnedFd) -> bool {
    process::readable(pidfd, Deadline::after(Some(Duration::from_secs(2))), &CancelToken::never(), "its end")
        .is_ok()
}

fn is_readable(connection: &Connection) -> Result<bool> {
    let mut fds = [rustix::event::PollFd::new(connection, rustix::event::PollFlags::IN)];
    let now = rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 };
    Ok(rustix::event::poll(&mut fds, Some(&now)).call("poll", "control socket")? > 0)
}
