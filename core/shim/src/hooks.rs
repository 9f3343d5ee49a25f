//! Hooks: programs that are run, one after the other, beside the life of a container. The monitor runs those of the runtime, in its own namespaces; the container's first process runs the
//! others, in its. What a monitor that was killed has not run is run by a process of its own. Each has the container's state as its standard input, nowhere to write to but standard error, whose end is told when it fails, its own environment and nothing else of ours. It has a time, after which
//! it is killed with its process group, and is killed when whoever runs it ends.

use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use coble_protocol::{Connection, Failure, Fds, Hook, OwedHooks, Report, Step};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{FlockOperation, MemfdFlags, Mode, OFlags};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, PidfdFlags, Signal, WaitId, WaitIdOptions};

use crate::failure::During;
use crate::monitor::state;
use crate::program::strings;
use crate::sys;
use crate::userns;

/// The stage after the end.
pub(crate) const POSTSTOP: &str = "poststop";
/// How much of the end of standard error is told.
const TAIL: usize = 400;

/// Why hooks were not run to their end.
pub(crate) enum Broken {
    Failed(Failure),
    /// Somebody they are run for has gone.
    Unwanted,
}

impl From<Failure> for Broken {
    fn from(failure: Failure) -> Broken {
        Broken::Failed(failure)
    }
}

/// Runs hooks of a stage of a container's life, as programs of this process's namespaces. The first that fails ends it. `watched`: what is readable or hung up when nobody wants it any more.
pub(crate) fn run(
    stage: &str,
    hooks: &[Hook],
    state: &str,
    watched: &mut [PollFd<'_>],
) -> Result<(), Broken> {
    run_as(stage, hooks, state, watched, execute)
}

/// As [`run`]; `become_hook` makes the new process the hook, and says why if it cannot.
pub(crate) fn run_as(
    stage: &str,
    hooks: &[Hook],
    state: &str,
    watched: &mut [PollFd<'_>],
    become_hook: impl Fn(&Hook) -> Failure,
) -> Result<(), Broken> {
    hooks.iter().try_for_each(|hook| one(stage, hook, state, watched, &become_hook))
}

/// Runs all hooks of a stage; what fails is told and keeps none of the others.
pub(crate) fn run_each(stage: &str, hooks: &[Hook], state: &str) -> Vec<Failure> {
    let failed = |hook| match one(stage, hook, state, &mut [], &execute) {
        Err(Broken::Failed(failure)) => Some(failure),
        _ => None,
    };
    hooks.iter().filter_map(failed).collect()
}

/// The role of one who runs the hooks for the end of a run whose monitor was killed. It has the container's lock until it ends, so that nobody starts or removes
/// the container meanwhile. From the moment that it takes them it goes on whatever becomes of the engine: nobody would run them another time.
pub(crate) fn run_owed(control: &Connection, owed: &OwedHooks, mut fds: Fds) -> Result<(), Failure> {
    let _ = rustix::thread::set_name(c"coble-hooks");
    let mut take = |index| fds.take(index).during(Step::Protocol, "hooks");
    let (run_dir, lock) = (take(owed.run_dir)?, take(owed.lock)?);
    if let Some(namespace) = &owed.userns {
        userns::enter(namespace, &mut fds)?;
    }
    state::take_hooks(&run_dir)?;
    // The engine may have ended by now.
    let _ = control.send(&Report::Begun, &[]);
    let complaints = run_each(POSTSTOP, &owed.poststop, &owed.state);
    if !complaints.is_empty() {
        state::write_complaints(&run_dir, &complaints);
    }
    // Not only closed: a child that the host program forked at the wrong moment may have a copy of the descriptor.
    let _ = rustix::fs::flock(&lock, FlockOperation::Unlock);
    Ok(())
}

fn one(
    stage: &str,
    hook: &Hook,
    state: &str,
    watched: &mut [PollFd<'_>],
    become_hook: &impl Fn(&Hook) -> Failure,
) -> Result<(), Broken> {
    let step = Step::Hook;
    let path = hook.path.as_str();
    let input = state_file(state).during(step, path)?;
    let (errors, stderr) = pipe_with(PipeFlags::CLOEXEC).during(step, path)?;
    rustix::fs::fcntl_setfl(&errors, OFlags::NONBLOCK).during(step, path)?;
    let (ours, theirs) = crate::monitor::channel(step)?;
    let Some(pid) = sys::fork().during(step, path)? else {
        drop(ours);
        let failure = match prepare(&input, &stderr) {
            Ok(()) => become_hook(hook),
            Err(errno) => Failure::new(step, errno.raw_os_error(), path),
        };
        let _ = theirs.send(&failure, &[]);
        sys::exit(127)
    };
    drop((input, stderr, theirs));
    let mut child = Child { pid, reaped: false };
    let pidfd = rustix::process::pidfd_open(pid, PidfdFlags::empty()).during(step, path)?;
    let end = Instant::now() + Duration::from_secs(hook.timeout.into());
    let mut tail = Vec::new();
    let status = loop {
        let left = end.saturating_duration_since(Instant::now());
        let timeout = Timespec { tv_sec: left.as_secs() as i64, tv_nsec: i64::from(left.subsec_nanos()) };
        let mut fds = vec![PollFd::new(&pidfd, PollFlags::IN), PollFd::new(&errors, PollFlags::IN)];
        fds.extend(watched.iter().cloned());
        match poll(&mut fds, Some(&timeout)) {
            Ok(0) => {
                let detail = format!("{stage}: it took longer than {} seconds{}", hook.timeout, said(&tail));
                return Err(Failure::rule(step, path, detail).into());
            }
            Ok(_) => {}
            Err(Errno::INTR) => continue,
            Err(errno) => return Err(errno).during(step, path).map_err(Broken::from),
        }
        if fds.iter().skip(2).any(|fd| !fd.revents().is_empty()) {
            return Err(Broken::Unwanted);
        }
        let (ended, more) = (!fds[0].revents().is_empty(), !fds[1].revents().is_empty());
        if more && !read(&errors, &mut tail) && !ended {
            // Closed, or taken by a child that stays: its end is all there is to wait for.
            let mut last = [PollFd::new(&pidfd, PollFlags::IN)];
            let left = end.saturating_duration_since(Instant::now()).min(Duration::from_millis(50));
            let timeout = Timespec { tv_sec: 0, tv_nsec: i64::from(left.subsec_nanos()) };
            let _ = poll(&mut last, Some(&timeout));
        }
        if ended {
            read(&errors, &mut tail);
            let status = rustix::io::retry_on_intr(|| {
                rustix::process::waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED)
            });
            break status.during(step, path)?;
        }
    };
    child.reaped = true;
    if let Ok(Some((failure, _))) = ours.recv::<Failure>() {
        return Err(Failure { step, object: path.into(), ..failure }.into());
    }
    let how = match status.map(|status| (status.exit_status(), status.terminating_signal())) {
        Some((Some(0), _)) => return Ok(()),
        Some((Some(code), _)) => format!("it ended with exit code {code}"),
        Some((None, Some(signal))) => format!("it was ended by signal {signal}"),
        _ => "it ended without a word".to_owned(),
    };
    Err(Failure::rule(step, path, format!("{stage}: {how}{}", said(&tail))).into())
}

/// A hook that runs. Dropped, it is killed with its group.
struct Child {
    pid: Pid,
    reaped: bool,
}

impl Drop for Child {
    fn drop(&mut self) {
        if self.reaped {
            return;
        }
        // It leads a group of its own, unless it has not got so far.
        let _ = rustix::process::kill_process_group(self.pid, Signal::KILL);
        let _ = rustix::process::kill_process(self.pid, Signal::KILL);
        let _ = rustix::io::retry_on_intr(|| {
            rustix::process::waitid(WaitId::Pid(self.pid), WaitIdOptions::EXITED)
        });
    }
}

/// The state as a file in memory, from its beginning.
fn state_file(state: &str) -> rustix::io::Result<OwnedFd> {
    let file = rustix::fs::memfd_create(c"state", MemfdFlags::CLOEXEC)?;
    let mut rest = state.as_bytes();
    while !rest.is_empty() {
        let written = rustix::io::write(&file, rest)?;
        rest = rest.get(written..).unwrap_or_default();
    }
    rustix::fs::seek(&file, rustix::fs::SeekFrom::Start(0))?;
    Ok(file)
}

/// In the new process: a session, signals, streams.
fn prepare(input: &OwnedFd, stderr: &OwnedFd) -> rustix::io::Result<()> {
    let null = rustix::fs::open("/dev/null", OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
    rustix::process::setsid()?;
    sys::reset_signals();
    sys::restore_descriptor_limit()?;
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    sys::place(input.as_fd(), 0, false)?;
    sys::place(null.as_fd(), 1, false)?;
    sys::place(stderr.as_fd(), 2, false)?;
    rustix::process::umask(Mode::from_raw_mode(0o022));
    sys::close_on_exec_from(3)
}

fn execute(hook: &Hook) -> Failure {
    let fail = |errno: Errno| Failure::new(Step::Hook, errno.raw_os_error(), &hook.path);
    let bytes = |list: &[String]| list.iter().map(|text| text.clone().into_bytes()).collect::<Vec<_>>();
    let Ok(path) = CString::new(hook.path.as_str()) else { return fail(Errno::INVAL) };
    let (argv, env) =
        match (strings(&arguments(hook), "arguments"), strings(&bytes(&hook.env), "environment")) {
            (Ok(argv), Ok(env)) => (argv, env),
            (Err(failure), _) | (_, Err(failure)) => return failure,
        };
    let Err(errno) = sys::execve(&path, &argv, &env);
    fail(errno)
}

/// The arguments of a hook, its name first.
pub(crate) fn arguments(hook: &Hook) -> Vec<Vec<u8>> {
    match hook.args.is_empty() {
        true => vec![hook.path.clone().into_bytes()],
        false => hook.args.iter().map(|text| text.clone().into_bytes()).collect(),
    }
}

/// Reads what is there, and keeps the end of it. False if nothing can come any more.
fn read(errors: &OwnedFd, tail: &mut Vec<u8>) -> bool {
    let mut piece = [0; 4096];
    loop {
        match rustix::io::read(errors, &mut piece) {
            Ok(0) => return false,
            Ok(n) => {
                tail.extend_from_slice(&piece[..n]);
                tail.drain(..tail.len().saturating_sub(TAIL));
            }
            Err(Errno::INTR) => {}
            Err(errno) => return errno == Errno::AGAIN,
        }
    }
}

/// What a hook has written, made harmless.
fn said(tail: &[u8]) -> String {
    let text = String::from_utf8_lossy(tail);
    match text.trim() {
        "" => String::new(),
        text => format!(", after writing \"{}\"", text.escape_debug()),
    }
}
