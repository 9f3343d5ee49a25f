//! `attach`, and being connected to a program: what is typed goes there, what it writes comes here.

use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::thread::JoinHandle;

use clap::Args;
use coble::{AttachOptions, CancelToken, Error, ErrorKind, Process, Signal};
use rustix::io::Errno;
use rustix::pipe::SpliceFlags;
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGWINCH};
use signal_hook::low_level::emulate_default_handler;

use crate::args::Global;
use crate::open;
use crate::output::Outcome;
use crate::run::exit_status;
use crate::signals::{Forwarder, PATIENCE};
use crate::terminal::{self, DetachKeys, RawMode};

#[derive(Debug, Args)]
pub(crate) struct AttachArgs {
    /// Do not give the program this standard input
    #[arg(long)]
    no_stdin: bool,
    #[command(flatten)]
    keys: DetachArgs,
    #[command(flatten)]
    proxy: ProxyArgs,
    /// Name or id
    #[arg(value_name = "CONTAINER")]
    container: String,
}

#[derive(Debug, Args)]
pub(crate) struct DetachArgs {
    /// Keys that leave a terminal, such as ctrl-p,ctrl-q
    #[arg(long, value_name = "KEYS")]
    pub(crate) detach_keys: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct ProxyArgs {
    /// Pass signals on to the program, unless it has a terminal
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_value_t = true,
          default_missing_value = "true", action = clap::ArgAction::Set)]
    pub(crate) sig_proxy: bool,
}

pub(crate) fn attach(global: &Global, args: AttachArgs) -> Outcome {
    let container = open(global)?.containers().get(&args.container)?;
    let spec = container.inspect()?.spec;
    let mut options = AttachOptions::default();
    options.stdin = spec.stdin_open && !args.no_stdin;
    let how = How::new(spec.tty, options.stdin, &args.keys, &args.proxy)?;
    connect(container.attach(&options)?, how)
}

/// How to be connected.
pub(crate) struct How {
    tty: bool,
    proxy: bool,
    keys: DetachKeys,
}

impl How {
    /// What is typed can only be given to a terminal by a terminal.
    pub(crate) fn new(tty: bool, input: bool, keys: &DetachArgs, proxy: &ProxyArgs) -> Result<How, Error> {
        if tty && input && !terminal::is_input() {
            return Err(Error::new(ErrorKind::InvalidArgument, "the input device is not a terminal")
                .with_hint("leave --tty out, or the input"));
        }
        Ok(How { tty, proxy: proxy.sig_proxy, keys: DetachKeys::parse(keys.detach_keys.as_deref())? })
    }
}

/// Is connected until the program ends, whose exit code is the result, or until somebody leaves it.
pub(crate) fn connect(mut process: Process, how: How) -> Outcome {
    let How { tty, proxy, keys } = how;
    let (input, output, errors) = (process.take_stdin(), process.take_stdout(), process.take_stderr());
    let raw = Arc::new(if tty && input.is_some() { Some(RawMode::enter()?) } else { None });
    let process = Arc::new(process);
    let forwarder = signals(&process, &raw, tty, proxy)?;
    let outputs = [copy(output, 1)?, copy(errors, 2)?];
    let left = CancelToken::new();
    if let Some(input) = input {
        let left = left.clone();
        // Nothing wakes it from its read, so it ends with this command.
        spawn(move || give(input, keys, tty, &left))?;
    }
    let code = process.wait(None, &left);
    // The rest of the output ends with its pipes, when the program has ended.
    if code.is_ok() {
        outputs.into_iter().flatten().for_each(|thread| drop(thread.join()));
    }
    drop(forwarder);
    raw.iter().for_each(RawMode::leave);
    match code {
        Err(error) if error.kind() == ErrorKind::Cancelled => {
            process.detach()?;
            Ok(0)
        }
        code => Ok(exit_status(code?)),
    }
}

/// With a terminal, its size is passed on; signals are what is typed there. Otherwise signals are passed on if they are to be.
fn signals(
    process: &Arc<Process>,
    raw: &Arc<Option<RawMode>>,
    tty: bool,
    proxy: bool,
) -> Result<Forwarder, Error> {
    let process = process.clone();
    if tty {
        let resize = move |process: &Process| {
            // A program that ends just now has no size.
            let _ = terminal::size().map(|(height, width)| process.resize(height, width));
        };
        resize(&process);
        let raw = raw.clone();
        let forwarder = Forwarder::of(&[SIGWINCH, SIGHUP, SIGINT, SIGQUIT, SIGTERM], move |signal| {
            if signal.number() == SIGWINCH {
                return resize(&process);
            }
            raw.iter().for_each(RawMode::leave);
            let _ = emulate_default_handler(signal.number());
        })?;
        return Ok(forwarder);
    }
    if !proxy {
        return Forwarder::defaults();
    }
    forward(process)
}

/// Passes signals on to a program, which may ignore some interrupts.
pub(crate) fn forward(process: Arc<Process>) -> Result<Forwarder, Error> {
    let mut interrupts = 0;
    Forwarder::to_program(move |signal, reminder| {
        interrupts = if signal == Signal::INT { interrupts + 1 } else { 0 };
        // It may have ended in the meantime.
        let _ = process.send_signal(if interrupts > PATIENCE { Signal::KILL } else { signal });
        if signal == Signal::INT {
            reminder.interrupted(interrupts);
        }
    })
}

fn spawn(work: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, Error> {
    let thread = std::thread::Builder::new().name("streams".to_owned()).spawn(work);
    thread.map_err(|error| Error::io("clone", "stream thread", &error))
}

/// A program whose output comes here until it ends.
pub(crate) struct Shown {
    _process: Process,
    outputs: [Option<JoinHandle<()>>; 2],
}

impl Shown {
    pub(crate) fn begin(mut process: Process) -> Result<Shown, Error> {
        let outputs = [copy(process.take_stdout(), 1)?, copy(process.take_stderr(), 2)?];
        Ok(Shown { _process: process, outputs })
    }

    /// Waits for the rest, which ends with the pipes.
    pub(crate) fn end(self) {
        self.outputs.into_iter().flatten().for_each(|thread| drop(thread.join()));
    }
}

/// A copy of this standard input.
pub(crate) fn input() -> Result<OwnedFd, Error> {
    let copy = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3);
    copy.map_err(|errno| Error::syscall("fcntl", "standard input", errno.raw_os_error()))
}

/// Gives the program all of this standard input.
pub(crate) fn feed(mut process: Process) {
    let Some(input) = process.take_stdin() else { return };
    let mut buffer = vec![0; 64 * 1024];
    while let Some(length) = read(rustix::stdio::stdin(), &mut buffer) {
        if write_all(rustix::fd::AsFd::as_fd(&input), buffer.get(..length).unwrap_or_default()).is_err() {
            return;
        }
    }
}

/// Copies what the program writes to one of our own streams, until its end, or until nobody wants it here.
fn copy(from: Option<OwnedFd>, to: i32) -> Result<Option<JoinHandle<()>>, Error> {
    let Some(from) = from else { return Ok(None) };
    let work = move || {
        let to = if to == 1 { rustix::stdio::stdout() } else { rustix::stdio::stderr() };
        if splice_all(&from, to) {
            return;
        }
        let mut buffer = vec![0; 64 * 1024];
        while let Some(length) = read(&from, &mut buffer) {
            if write_all(to, buffer.get(..length).unwrap_or_default()).is_err() {
                return;
            }
        }
    };
    spawn(work).map(Some)
}

/// Has the kernel move all that comes out of a pipe, where it can. False if it cannot, and something may be left.
fn splice_all(from: &OwnedFd, to: BorrowedFd<'_>) -> bool {
    loop {
        match rustix::pipe::splice(from, None, to, None, 1 << 20, SpliceFlags::empty()) {
            Ok(0) => return true,
            Ok(_) | Err(Errno::INTR) => {}
            // Not of or to everything, nor without waiting.
            Err(Errno::INVAL | Errno::AGAIN | Errno::NOSYS) => return false,
            Err(_) => return true,
        }
    }
}

/// Gives the program what is typed, until the end of that, or until the keys that leave it.
fn give(to: OwnedFd, mut keys: DetachKeys, tty: bool, left: &CancelToken) {
    let mut buffer = vec![0; 4096];
    while let Some(length) = read(rustix::stdio::stdin(), &mut buffer) {
        let typed = buffer.get(..length).unwrap_or_default();
        let (passed, leave) = if tty { keys.pass(typed) } else { (typed.to_vec(), false) };
        if write_all(rustix::fd::AsFd::as_fd(&to), &passed).is_err() {
            return;
        }
        if leave {
            return left.cancel();
        }
    }
}

/// None at the end.
fn read(from: impl rustix::fd::AsFd, buffer: &mut [u8]) -> Option<usize> {
    loop {
        match rustix::io::read(&from, &mut *buffer) {
            Ok(0) => return None,
            Ok(length) => return Some(length),
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => wait(&from, rustix::event::PollFlags::IN),
            // Also of a terminal that no program has open any more.
            Err(_) => return None,
        }
    }
}

fn write_all(to: BorrowedFd<'_>, mut bytes: &[u8]) -> Result<(), Errno> {
    while !bytes.is_empty() {
        match rustix::io::write(to, bytes) {
            Ok(length) => bytes = bytes.get(length..).unwrap_or_default(),
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => wait(to, rustix::event::PollFlags::OUT),
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

/// Our streams may be somebody else's too, who does not want to wait.
fn wait(fd: impl rustix::fd::AsFd, events: rustix::event::PollFlags) {
    let _ = rustix::event::poll(&mut [rustix::event::PollFd::new(&fd, events)], None);
}
