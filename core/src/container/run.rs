//! The whole life of a container in one call.

use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::pipe::{PipeFlags, pipe_with};

use coble_protocol::{Exit, Report};

use super::start::{Foreseen, Launching, Order, Running, launching, start};
use super::{
    ContainerSpec, Lifetime, RunOptions, RunResult, Signal, State, Stdio, StdioMode, Warning, create, remove,
    source, spaces, validate,
};
use crate::cancel::CancelToken;
use crate::engine::Inner;
use crate::error::{Call, Context, Error, ErrorKind, Result};
use crate::process::{self, Collected, Collector, Deadline, Ended};

/// The most bytes of a stream that are collected when the caller sets no limit.
pub(super) const CAPTURE_LIMIT: u64 = 1 << 30;

/// The exit code of a program that was killed since the call failed.
pub(super) const KILLED: i32 = 128 + Signal::KILL.number();

/// Creates, starts, waits, collects and removes.
pub(crate) fn run(
    inner: &Inner,
    spec: ContainerSpec,
    options: RunOptions,
    cancel: &CancelToken,
) -> Result<RunResult> {
    let begin = Instant::now();
    let RunOptions { input, timeout, check, capture_limit, stdin, stdout, stderr } = options;
    let deadline = Deadline::after(timeout);
    let mut spec = source::load(inner, spec)?;
    spec.lifetime = Lifetime::Session;
    let named = spec.origin().to_owned();
    let doing = || format!("running \"{named}\"");
    // Before anything is started for it.
    super::resources::unset(&mut spec);
    validate::spec(&spec)?;
    if spec.tty && (stdin.is_some() || stdout.is_some() || stderr.is_some()) {
        let why = "the streams of a program with a terminal are that terminal, which is collected";
        return Err(Error::new(ErrorKind::InvalidArgument, why)).context(doing);
    }
    let tty = spec.tty;
    spaces::resolve(inner, &mut spec).context(doing)?;
    let foreseen = Foreseen::of(inner, &spec, cancel).context(doing)?;
    let joined = foreseen.joined();
    // The monitor gets ready while the container is made.
    let (row, run_dir, created, started) = launching(inner, foreseen.clone(), |launching| {
        let mut launching = Some(launching);
        // It would have to wait for minutes.
        let pulling = || drop(launching.take().map(Launching::over));
        let planned = create::plan(inner, spec, deadline, &|_| {}, cancel, pulling)?;
        let launching = launching.unwrap_or_else(|| Launching::now(inner, foreseen));
        let create::Made { mut row, spec, image, run_dir, lock } =
            create::make(inner, planned, State::Created)?;
        let created = begin.elapsed();
        let started = (|| {
            if tty {
                let order = Order {
                    spec: &spec,
                    image: &image,
                    run_dir: &run_dir,
                    joined: &joined,
                    stdio: Stdio::null(),
                    readers: [None, None],
                    launching,
                    once: true,
                    deadline,
                };
                let mut running = start(inner, &mut row, lock, order, cancel)?;
                let collector = of_terminal(running.terminal.take(), input, capture_limit)?;
                return Ok((collector, running));
            }
            let (input_end, stdin) = match (stdin, input) {
                (Some(fd), _) => (None, StdioMode::Fd(fd)),
                (None, Some(data)) => {
                    let (read, write) = pipe()?;
                    (Some((write, data)), StdioMode::Fd(read))
                }
                (None, None) => (None, StdioMode::Null),
            };
            let (stdout_end, stdout) = output(stdout)?;
            let (stderr_end, stderr) = output(stderr)?;
            let limit = capture_limit.unwrap_or(CAPTURE_LIMIT);
            let collector =
                Collector { input: input_end, stdout: stdout_end, stderr: stderr_end, limit, terminal: None };
            let stdio = Stdio { stdin, stdout, stderr };
            let order = Order {
                spec: &spec,
                image: &image,
                run_dir: &run_dir,
                joined: &joined,
                stdio,
                readers: [None, None],
                launching,
                once: true,
                deadline,
            };
            let running = start(inner, &mut row, lock, order, cancel)?;
            Ok((collector, running))
        })();
        Ok::<_, Error>((row, run_dir, created, started))
    })?;

    let (ran, removed);
    let result = match started {
        Ok((collector, mut running)) => {
            let mut ended = None;
            let mut collected = Collected::default();
            let result =
                collector.collect(&running.control, || news(&running), deadline, cancel, &mut collected);
            if result.is_err() {
                // Timed out, cancelled, too much output: the program does not outlive the call.
                let _ = process::send_signal(&running.init, Signal::KILL, &row.name);
                // Until then nothing says that the container is gone. Otherwise the monitor ends while the container is removed.
                wait_for_end(&running);
            }
            ran = begin.elapsed();
            let mut left = RunResult {
                exit_code: KILLED,
                stdout: collected.stdout,
                stderr: collected.stderr,
                order: collected.order,
                timings: [vec![("create".to_owned(), created)], std::mem::take(&mut running.timings)]
                    .concat(),
                isolation: Some(running.isolation.clone()),
                warnings: std::mem::take(&mut running.warnings),
            };
            left.warnings.append(running.complaints.get_mut());
            let known: Duration = left.timings.iter().map(|(_, length)| *length).sum();
            left.timings.push(("run".to_owned(), ran.saturating_sub(known)));
            let result = match result {
                Ok(exit) => {
                    ended = Some(exit);
                    left.exit_code = exit.code;
                    left.warnings.extend(out_of_memory(inner, &row.id, 0).then(no_memory));
                    left.warnings.extend(over_time(exit));
                    Ok(left)
                }
                Err(error) => Err(error.with_run_result(left)),
            };
            removed = match running.lock.take() {
                Some(lock) if !run_dir.owes_hooks() => {
                    remove::locked(inner, &row.id, run_dir, lock, ended, || {
                        remove::unused_layer(inner, &row.id);
                        wait_for_end(&running);
                    })
                }
                // The monitor was killed.
                lock => {
                    drop(lock);
                    remove::by_id(inner, &row.id, &row.name, true)
                }
            };
            result
        }
        Err(error) => {
            ran = begin.elapsed();
            removed = remove::by_id(inner, &row.id, &row.name, true);
            Err(error)
        }
    };
    let mut result = result.context(doing)?;
    if let Err(error) = removed {
        // What the program did is worth more; the sweep removes what is left.
        result.warnings.push(Warning { code: "not-removed".into(), message: error.to_string() });
    }
    result.timings.push(("remove".to_owned(), begin.elapsed() - ran));
    outcome(result, check).context(doing)
}

/// Feeds and collects a terminal. What is written to it is as if it were typed, so its end is not told to the program.
pub(super) fn of_terminal(
    terminal: Option<(OwnedFd, OwnedFd)>,
    input: Option<Vec<u8>>,
    capture_limit: Option<u64>,
) -> Result<Collector> {
    let (master, slave) =
        terminal.ok_or_else(|| Error::new(ErrorKind::MonitorLost, "the monitor sent no terminal"))?;
    let copy = rustix::io::fcntl_dupfd_cloexec(&master, 3).call("fcntl", "terminal")?;
    Ok(Collector {
        input: input.map(|data| (copy, data)),
        stdout: Some(master),
        stderr: None,
        limit: capture_limit.unwrap_or(CAPTURE_LIMIT),
        terminal: Some(slave),
    })
}

/// Whether the kernel has killed programs of the container for want of memory, more than these that are known.
pub(super) fn out_of_memory(inner: &Inner, id: &str, known: u64) -> bool {
    inner.cgroups.oom_kills(id).is_some_and(|kills| kills > known)
}

/// The code of the warning for that.
pub(super) const NO_MEMORY: &str = "out-of-memory";

/// The warning for that.
pub(super) fn no_memory() -> Warning {
    Warning {
        code: NO_MEMORY.into(),
        message: "the kernel killed a program of the container, which had used up its memory limit".into(),
    }
}

/// The warning for a program that was killed since its time was over.
pub(super) fn over_time(exit: Exit) -> Option<Warning> {
    exit.timed_out.then(|| Warning {
        code: "run-timeout".into(),
        message: "the program was killed, since the time that it may run was over".into(),
    })
}

/// The result, or with `check` the error that a non-zero exit code is.
pub(super) fn outcome(result: RunResult, check: bool) -> Result<RunResult> {
    if !check || result.exit_code == 0 {
        return Ok(result);
    }
    /// How much of the end of standard error the message shows; the error holds all of it.
    const SHOWN: usize = 400;
    let tail = result.stderr.get(result.stderr.len().saturating_sub(SHOWN)..).unwrap_or_default();
    let tail = String::from_utf8_lossy(tail);
    let tail = tail.trim();
    let mut message = format!("the program ended with exit code {}", result.exit_code);
    if !tail.is_empty() {
        message.push_str(&format!(", after writing \"{}\"", tail.escape_debug()));
    }
    Err(Error::new(ErrorKind::ContainerExit, message).with_run_result(result))
}

fn news(running: &Running) -> Result<Ended<Exit>> {
    match running.control.recv::<Report>() {
        Ok(Some((Report::Exited(exit), _))) => Ok(Ended::Yes(exit)),
        Ok(Some((Report::Complaints(failures), _))) => {
            running.complaints.borrow_mut().extend(failures.iter().map(process::warning_of));
            Ok(Ended::NotYet)
        }
        Ok(Some(_)) => Ok(Ended::NotYet),
        // The monitor was killed, and the kernel killed the container with it.
        Ok(None) | Err(_) => {
            Err(Error::new(ErrorKind::MonitorLost, "the monitor ended without saying how the program did")
                .with_hint("it was killed: the container was killed with it"))
        }
    }
}

fn wait_for_end(running: &Running) {
    let soon = Deadline::after(Some(Duration::from_secs(2)));
    if process::readable(&running.monitor, soon, &CancelToken::never(), "the end of the monitor").is_err() {
        // Stopped, or starved: with it the kernel ends all that is left.
        let _ = process::send_signal(&running.monitor, Signal::KILL, "monitor");
        let later = Deadline::after(Some(super::start::ENDING));
        // Not in time: then the removal, which waits too, says so.
        let _ = process::readable(&running.monitor, later, &CancelToken::never(), "the end of the monitor");
    }
}

fn pipe() -> Result<(OwnedFd, OwnedFd)> {
    pipe_with(PipeFlags::CLOEXEC).call("pipe2", "standard stream")
}

/// Our end of a collected stream, if it is collected, and what the program gets.
fn output(given: Option<OwnedFd>) -> Result<(Option<OwnedFd>, StdioMode)> {
    match given {
        Some(fd) => Ok((None, StdioMode::Fd(fd))),
        None => {
            let (read, write) = pipe()?;
            Ok((Some(read), StdioMode::Fd(write)))
        }
    }
}
