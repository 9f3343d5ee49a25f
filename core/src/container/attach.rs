//! Attaching to the program of a container: its output as the log has it, from wherever it is read, and its input by way of the monitor. Whoever reads slowly holds up nobody: what
//! was written stays in the log.

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Mutex;
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::event::PollFlags;
use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};

use coble_protocol::{Request, Response, TerminalSize};

use super::exec::{News, Process, Program};
use super::monitor::{Monitor, stopped};
use super::{AttachOptions, Container, LogOptions, LogRecord, LogSource, Stdio, StdioMode, create};
use crate::cancel::CancelToken;
use crate::engine::Inner;
use crate::error::{Call, Context, Error, ErrorKind, Result};
use crate::event::note;
use crate::log::driver::Settings;
use crate::log::{self, LogStream};
use crate::process::{self, Deadline};
use crate::sys;

/// How long a monitor may take to answer.
const ANSWER: Duration = Duration::from_secs(10);

impl Container {
    /// Connects to the standard streams of the running program. Output is what the log gets from now on, and with `logs` what it has already; so it has to be kept there. Input needs
    /// `stdin_open`. The descriptors of the result are pipes: whoever closes that of the input says its end, which is the program's with `stdin_once`. Dropping it
    /// leaves the program alone.
    pub fn attach(&self, options: &AttachOptions) -> Result<Process> {
        let inner = &*self.engine.inner()?;
        let doing = || format!("attaching to \"{}\"", self.name());
        self.row(inner)?;
        if options.paced || options.input.is_some() {
            return Err(refused("a program that runs has its streams already")).context(doing);
        }
        let monitor = Monitor::connect(inner, self.id(), self.name())?;
        let monitor = monitor.ok_or_else(|| stopped(self.name())).context(doing)?;
        let output = options.stdout || options.stderr;
        let file = Settings::of(&self.row(inner)?.spec()?)?.file().filter(|_| output && !options.logs);
        let path = file.map(|name| create::directory(inner, self.id()).join(name));
        // Before the monitor says which file it is, so that no other one can have its inode by then.
        let open = path.as_ref().and_then(|path| File::open(path).ok());
        let (stdin, (inode, length)) = self.ask(&monitor, options).context(doing)?;
        let from = path.and_then(|path| log::find(&path, open, inode, length).transpose());
        let from = from.transpose().context(doing)?;
        note(inner, self.id(), "attach", &[]);
        let news = News::Monitor(monitor.into_connection());
        self.connected(inner, options, stdin, from, news).context(doing)
    }

    /// Starts the program as [`Container::start`] does with its output kept, and connects to it before it can have written anything.
    pub fn start_attached(&self, options: &AttachOptions, cancel: &CancelToken) -> Result<Process> {
        let inner = &*self.engine.inner()?;
        let doing = || format!("attaching to \"{}\"", self.name());
        let spec = self.row(inner)?.spec()?;
        if spec.tty && (options.paced || options.input.is_some()) {
            return Err(refused("the streams of a program with a terminal are that terminal")).context(doing);
        }
        if (options.paced && options.logs) || (options.stdin && options.input.is_some()) {
            return Err(refused("these options exclude each other")).context(doing);
        }
        let ([stdout, stderr], readers) = match options.paced {
            true => paced(options)?,
            false => ([None, None], [None, None]),
        };
        let copy = |fd| rustix::io::fcntl_dupfd_cloexec(fd, 3).call("fcntl", "standard input");
        let input = options.input.as_ref().map(copy).transpose()?;
        let stdio = Stdio { stdin: input.map_or(StdioMode::Null, StdioMode::Fd), ..Stdio::log() };
        note(inner, self.id(), "attach", &[]);
        let mut running = self.start_with(inner, stdio, readers, cancel)?;
        let from = running.log.take().filter(|_| !options.logs);
        let stdin = match Monitor::connect(inner, self.id(), self.name())? {
            Some(monitor) if options.stdin => match self.ask(&monitor, options) {
                Ok((stdin, _)) => stdin,
                // It ends just now.
                Err(error) if error.kind() == ErrorKind::InvalidState => None,
                Err(error) => return Err(error).context(doing),
            },
            _ => None,
        };
        let news = News::Control(running.control);
        if options.paced {
            return self.process(inner, [stdin, stdout, stderr], None, news).context(doing);
        }
        self.connected(inner, options, stdin, from, news).context(doing)
    }

    /// Sets the size of the program's terminal, in characters, and tells the program of it with SIGWINCH.
    pub fn resize(&self, height: u16, width: u16) -> Result<()> {
        let inner = &*self.engine.inner()?;
        let doing = || format!("resizing the terminal of \"{}\"", self.name());
        if !self.row(inner)?.spec()?.tty {
            let why = format!("container \"{}\" has no terminal", self.name());
            return Err(Error::new(ErrorKind::InvalidState, why).with_object(self.name()));
        }
        let monitor = Monitor::connect(inner, self.id(), self.name())?;
        let monitor = monitor.ok_or_else(|| stopped(self.name())).context(doing)?;
        let request = Request::Resize(TerminalSize { rows: height, columns: width });
        let deadline = Deadline::after(Some(ANSWER));
        match monitor.ask(&request, &[], deadline, &CancelToken::never(), "the monitor does not answer") {
            Ok(Some((Response::Ok, _))) => Ok(()),
            Ok(Some(_)) => Err(monitor.lost("an unexpected answer")),
            Ok(None) => Err(monitor.stopped()),
            Err(error) => Err(error),
        }
        .context(doing)?;
        let size = [("height", height.to_string()), ("width", width.to_string())];
        note(inner, self.id(), "resize", &size);
        Ok(())
    }

    /// Asks the monitor for its part: our end of the input, the inode of the log's file, and how long that is.
    fn ask(&self, monitor: &Monitor, options: &AttachOptions) -> Result<(Option<OwnedFd>, (u64, u64))> {
        let pipe = match options.stdin {
            true => Some(pipe_with(PipeFlags::CLOEXEC).call("pipe2", "standard input")?),
            false => None,
        };
        let fds: Vec<_> = pipe.iter().map(|(read, _)| read.as_fd()).collect();
        let request = Request::Attach { input: options.stdin, output: options.stdout || options.stderr };
        let deadline = Deadline::after(Some(ANSWER));
        let late = "the monitor does not answer";
        match monitor.ask(&request, &fds, deadline, &CancelToken::never(), late)? {
            Some((Response::Attached { inode, length }, _)) => {
                Ok((pipe.map(|(_, write)| write), (inode, length)))
            }
            Some(_) => Err(monitor.lost("an unexpected answer")),
            None => Err(monitor.stopped()),
        }
    }

    fn connected(
        &self,
        inner: &Inner,
        options: &AttachOptions,
        stdin: Option<OwnedFd>,
        from: Option<(File, u64)>,
        news: News,
    ) -> Result<Process> {
        let mut outputs = [None, None];
        let mut ours = [None, None];
        for (n, wanted) in [options.stdout, options.stderr].into_iter().enumerate() {
            if wanted {
                let (read, write) = output_pipe()?;
                (outputs[n], ours[n]) = (Some(write), Some(read));
            }
        }
        let pump = match outputs {
            [None, None] => None,
            outputs => {
                let wanted = LogOptions {
                    follow: true,
                    stdout: options.stdout,
                    stderr: options.stderr,
                    ..LogOptions::default()
                };
                let directory = create::directory(inner, self.id());
                let settings = Settings::of(&self.row(inner)?.spec()?)?;
                let stream = LogStream::from_position(self.clone(), &directory, &settings, wanted, from)?;
                Some(Pump::start(stream, outputs)?)
            }
        };
        let [stdout, stderr] = ours;
        self.process(inner, [stdin, stdout, stderr], pump, news)
    }

    fn process(
        &self,
        inner: &Inner,
        [stdin, stdout, stderr]: [Option<OwnedFd>; 3],
        pump: Option<Pump>,
        news: News,
    ) -> Result<Process> {
        Ok(Process {
            name: self.name().to_owned(),
            stdin,
            stdout,
            stderr,
            program: Program::Own { container: self.clone(), _pump: pump },
            pid: self.row(inner).ok().and_then(|row| row.pid).unwrap_or(0),
            warnings: Vec::new(),
            news,
            ended: Mutex::new(None),
        })
    }
}

/// Our ends of pipes for the outputs that are wanted, and those of the monitor, which must not wait for us.
type Ends = [Option<OwnedFd>; 2];

fn paced(options: &AttachOptions) -> Result<(Ends, Ends)> {
    let (mut ours, mut theirs) = ([None, None], [None, None]);
    for (n, wanted) in [options.stdout, options.stderr].into_iter().enumerate() {
        if wanted {
            let (read, write) = output_pipe()?;
            (ours[n], theirs[n]) = (Some(read), Some(write));
        }
    }
    Ok((ours, theirs))
}

/// A pipe of which only the end that is written to does not wait: whoever has the other one may.
fn output_pipe() -> Result<(OwnedFd, OwnedFd)> {
    let (read, write) = pipe_with(PipeFlags::CLOEXEC).call("pipe2", "standard stream")?;
    let flags = rustix::fs::fcntl_getfl(&write).call("fcntl", "standard stream")?;
    rustix::fs::fcntl_setfl(&write, flags | OFlags::NONBLOCK).call("fcntl", "standard stream")?;
    Ok((read, write))
}

fn refused(why: &str) -> Error {
    Error::new(ErrorKind::InvalidArgument, why)
}

/// A thread that moves a log into pipes, until its end, or until nobody reads them, or until this is dropped.
#[derive(Debug)]
pub(super) struct Pump {
    cancel: CancelToken,
    thread: Option<JoinHandle<()>>,
}

impl Pump {
    fn start(stream: LogStream, outputs: [Option<OwnedFd>; 2]) -> Result<Pump> {
        let cancel = CancelToken::new();
        let token = cancel.clone();
        let thread = process::spawn_worker("coble-attach", move || pump(stream, outputs, &token))
            .map_err(|error| Error::io("clone", "thread of attached output", &error))?;
        Ok(Pump { cancel, thread: Some(thread) })
    }
}

impl Drop for Pump {
    fn drop(&mut self) {
        self.cancel.cancel();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// An error ends the output: there is nobody else to tell.
fn pump(mut stream: LogStream, mut outputs: [Option<OwnedFd>; 2], cancel: &CancelToken) {
    while let Ok(Some(record)) = stream.next(cancel) {
        let slot = &mut outputs[usize::from(record.source == LogSource::Stderr)];
        if slot.as_ref().is_some_and(|output| write_all(output, &record, cancel).is_err()) {
            *slot = None;
        }
        if outputs.iter().all(Option::is_none) {
            return;
        }
    }
}

fn write_all(output: &OwnedFd, record: &LogRecord, cancel: &CancelToken) -> Result<()> {
    let mut rest = &record.data[..];
    let mut ready = Vec::new();
    while !rest.is_empty() {
        match sys::write_without_sigpipe(output.as_fd(), rest) {
            Ok(length) => rest = rest.get(length..).unwrap_or_default(),
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => {
                process::poll(&[(output.as_fd(), PollFlags::OUT)], &mut ready, Deadline::never(), cancel)?;
            }
            Err(errno) => return Err(errno).call("write", "standard stream"),
        }
    }
    Ok(())
}
