//! Waiting until what a container's program offers can be used: when it says so, listens, answers, has made a file, or is found well by a program that looks.
//!
//! One thread looks, again and again where nobody tells, and otherwise when a descriptor has something. Nothing is left when the wait is over, however it ends.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use regex_lite::{Regex, RegexBuilder};
use rustix::event::PollFlags;
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};

use super::{
    Container, ContainerDetails, ExecSpec, LogOptions, LogSource, LogStream, NetworkMode, Process, RunResult,
    Signal, State, Stdio, parse, run,
};
use crate::cancel::CancelToken;
use crate::error::{Error, ErrorKind, Result};
use crate::process::{Deadline, poll};

/// How often something is looked at that tells nobody when it changes.
const INTERVAL: Duration = Duration::from_millis(50);
/// How long an answer over the network may take.
const ANSWER: Duration = Duration::from_secs(5);
/// How long a program may take to start.
const START: Duration = Duration::from_secs(10);
/// The most bytes of an answer that are read.
const MOST_ANSWER: usize = 64 << 10;
/// How much output before the newest is searched again, for a match that began there.
const WINDOW: usize = 16 << 10;
/// The most of a line that are kept.
const MOST_LINE: usize = 1 << 20;
/// How many pieces of the log are read before something else gets a look.
const TURN: usize = 64;
/// How much of the end of the log an error shows.
const SHOWN_LINES: u64 = 20;

/// What a container can be waited for after its start: the readiness probes of other engines and of test libraries, by their names.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Ready {
    /// A regular expression has matched the output. The streams are searched separately, from the container's first start. `^` and `$` match at every line; a line may match
    /// before it is complete. Bytes that are not UTF-8 are U+FFFD.
    Log {
        /// In the syntax of the crate `regex-lite`.
        pattern: String,
        /// How often it has to match; at least once.
        times: u32,
        /// Search standard output.
        stdout: bool,
        /// Search standard error.
        stderr: bool,
    },
    /// A program of the container listens on this TCP port, whatever its address. Nothing is run in the container, and nobody connects to it. Where the network is shared, somebody else's port does not
    /// count, and the wait fails with [`ErrorKind::PermissionDenied`] if the port is taken and whose it is cannot be told.
    Port(u16),
    /// A `GET` is answered. The container has to be on the network of the host.
    Http {
        /// The TCP port, at 127.0.0.1.
        port: u16,
        /// Begins with `/`.
        path: String,
        /// The status that counts. None: 200 to 399.
        status: Option<u16>,
        /// Further fields of the request.
        headers: Vec<(String, String)>,
    },
    /// A path is there in the container, absolute: a file, a directory, a socket. Links are followed inside the container's root. Runs nothing.
    File(String),
    /// A program, run in the container again and again, ends with this exit code. Its output is thrown away. One that the image does not have fails the wait.
    Exec {
        /// The program.
        spec: ExecSpec,
        /// The exit code that counts.
        exit_code: i32,
        /// The pause after a failure.
        interval: Duration,
    },
    /// The container's health checks say that it is healthy. One that has none is an error.
    Healthy,
    /// Each of them has held once. None at all hold at once.
    AllOf(Vec<Ready>),
    /// One of them holds.
    AnyOf(Vec<Ready>),
}

impl Ready {
    /// A regular expression that matches the output once, on either stream.
    pub fn log(pattern: impl Into<String>) -> Ready {
        Ready::Log { pattern: pattern.into(), times: 1, stdout: true, stderr: true }
    }

    /// A path that answers `GET` with a status of 200 to 399.
    pub fn http(port: u16, path: impl Into<String>) -> Ready {
        Ready::Http { port, path: path.into(), status: None, headers: Vec::new() }
    }

    /// A program that ends with 0.
    pub fn exec<S: Into<String>>(command: impl IntoIterator<Item = S>) -> Ready {
        Ready::Exec { spec: ExecSpec::new(command), exit_code: 0, interval: Duration::from_millis(100) }
    }

    /// `log=PATTERN`, `port=NUMBER`, `http=PORT` or `http=PORT/PATH`, `file=PATH`, `exec=COMMAND` (words as in a shell, without one) or `healthy`.
    pub fn parse(text: &str) -> Result<Ready> {
        let port = |text: &str| {
            text.parse::<u16>().map_err(|_| refused(format!("\"{}\" is not a port", text.escape_default())))
        };
        let ready = match text.split_once('=') {
            None if text == "healthy" => Ready::Healthy,
            Some(("log", pattern)) => Ready::log(pattern),
            Some(("port", number)) => Ready::Port(port(number)?),
            Some(("http", place)) => match place.find('/') {
                Some(at) => {
                    let (number, path) = place.split_at(at);
                    Ready::http(port(number)?, path)
                }
                None => Ready::http(port(place)?, "/"),
            },
            Some(("file", path)) => Ready::File(path.to_owned()),
            Some(("exec", command)) => Ready::exec(parse::words(command)?),
            _ => {
                let why = format!("unknown condition \"{}\"", text.escape_default());
                return Err(refused(why).with_object(text).with_hint(
                    "use log=PATTERN, port=NUMBER, http=PORT/PATH, file=PATH, exec=COMMAND or healthy",
                ));
            }
        };
        ready.check()?;
        Ok(ready)
    }

    /// Fails with [`ErrorKind::InvalidArgument`] if no container could be waited for so.
    pub fn check(&self) -> Result<()> {
        match self {
            Ready::Log { pattern, times, .. } => {
                if *times == 0 {
                    return Err(refused("times is at least 1"));
                }
                compiled(pattern).map(drop)
            }
            Ready::Port(0) | Ready::Http { port: 0, .. } => Err(refused("0 is not a port")),
            Ready::Port(_) | Ready::Healthy => Ok(()),
            Ready::Http { path, headers, .. } => {
                if !path.starts_with('/') {
                    return Err(refused(format!("\"{}\" is not an absolute path", path.escape_default())));
                }
                // A line break or a space would be another request.
                if !path.bytes().all(|byte| byte.is_ascii_graphic()) {
                    let why = format!("\"{}\" is not a path of a URL", path.escape_default());
                    return Err(refused(why).with_hint("percent-encode it"));
                }
                let name = |name: &str| {
                    !name.is_empty()
                        && name
                            .bytes()
                            .all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
                };
                let value = |value: &str| !value.chars().any(|c| c.is_control() && c != '\t');
                match headers.iter().find(|(n, v)| !name(n) || !value(v)) {
                    Some((name, _)) => Err(refused(format!("\"{}\" is not a header", name.escape_default()))),
                    None => Ok(()),
                }
            }
            Ready::File(path) if !path.starts_with('/') || path.contains('\0') => {
                Err(refused(format!("\"{}\" is not an absolute path", path.escape_default())))
            }
            Ready::File(_) => Ok(()),
            Ready::Exec { spec, .. } => super::validate::exec(spec),
            Ready::AnyOf(all) if all.is_empty() => Err(refused("any_of needs a condition")),
            Ready::AllOf(all) | Ready::AnyOf(all) => all.iter().try_for_each(Ready::check),
        }
    }
}

/// As a call: `log("ready")`, `port(80)`.
impl fmt::Display for Ready {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |f: &mut fmt::Formatter<'_>, name: &str, all: &[Ready]| {
            write!(f, "{name}(")?;
            for (index, ready) in all.iter().enumerate() {
                let comma = if index > 0 { ", " } else { "" };
                write!(f, "{comma}{ready}")?;
            }
            f.write_str(")")
        };
        match self {
            Ready::Log { pattern, times: 1, .. } => write!(f, "log({pattern:?})"),
            Ready::Log { pattern, times, .. } => write!(f, "log({pattern:?}, times={times})"),
            Ready::Port(number) => write!(f, "port({number})"),
            Ready::Http { port, path, .. } => write!(f, "http({port}, {path:?})"),
            Ready::File(path) => write!(f, "file({path:?})"),
            Ready::Exec { spec, .. } => write!(f, "exec({:?})", spec.command),
            Ready::Healthy => f.write_str("healthy()"),
            Ready::AllOf(all) => list(f, "all_of", all),
            Ready::AnyOf(all) => list(f, "any_of", all),
        }
    }
}

fn refused(why: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidArgument, why)
}

fn compiled(pattern: &str) -> Result<Regex> {
    RegexBuilder::new(pattern).multi_line(true).build().map_err(|error| {
        refused(format!("\"{}\" is no regular expression: {error}", pattern.escape_default()))
            .with_object(pattern)
    })
}

impl Container {
    /// Waits until the container, which has been started, is ready.
    ///
    /// Its end ends the wait at once with [`ErrorKind::ContainerExit`], the time-out with [`ErrorKind::Timeout`]. The messages have the last line of the log; the former error also has the exit code and the
    /// last 20 lines of each stream ([`Error::run_result`]). What was there when the container ended still counts.
    pub fn wait_ready(&self, ready: &Ready, timeout: Option<Duration>, cancel: &CancelToken) -> Result<()> {
        let deadline = Deadline::after(timeout);
        let mut wait = self.begin_wait(ready)?;
        match wait.until(deadline, cancel)? {
            Looked::Ready => Ok(()),
            Looked::Ended(code) => {
                let mut message = format!("container \"{}\"", self.name());
                message.push_str(&match code {
                    Some(code) => {
                        format!(" ended with exit code {code} before it was ready: waited for {ready}")
                    }
                    None => format!(" does not run, and cannot become ready: waited for {ready}"),
                });
                let mut result = RunResult {
                    exit_code: code.unwrap_or(run::KILLED),
                    stdout: self.tail(true, false),
                    stderr: self.tail(false, true),
                    timings: Vec::new(),
                    isolation: None,
                    order: Default::default(),
                    warnings: Vec::new(),
                };
                self.add_end(&mut message);
                let Some(_) = code else {
                    return Err(Error::new(ErrorKind::InvalidState, message).with_object(self.name()));
                };
                if let Ok(details) = self.inspect() {
                    (result.isolation, result.warnings) = (details.isolation, details.warnings);
                }
                let error = Error::new(ErrorKind::ContainerExit, message).with_object(self.name());
                Err(error.with_run_result(result))
            }
            Looked::NotYet => {
                let seconds = timeout.unwrap_or_default().as_secs_f64();
                let mut message = format!(
                    "container \"{}\" was not ready within {seconds} s: waited for {ready}",
                    self.name()
                );
                self.add_end(&mut message);
                Err(Error::new(ErrorKind::Timeout, message).with_object(self.name()))
            }
        }
    }

    /// Begins a wait that goes on in steps: for who has something else to do meanwhile. Fails if there is nothing to wait for, as with a health that nobody checks.
    pub fn begin_wait(&self, ready: &Ready) -> Result<ReadyWait> {
        ready.check()?;
        Ok(ReadyWait { container: self.clone(), watch: Watch::begin(self, ready)? })
    }

    /// The end of what it wrote. An error matters more than what it is decorated with.
    fn tail(&self, stdout: bool, stderr: bool) -> Vec<u8> {
        let options = LogOptions { tail: Some(SHOWN_LINES), stdout, stderr, ..LogOptions::default() };
        let mut bytes = Vec::new();
        if let Ok(mut stream) = self.logs(options) {
            while let Ok(Some(record)) = stream.try_next() {
                bytes.extend(record.data);
            }
        }
        bytes
    }

    fn add_end(&self, message: &mut String) {
        /// Of a line.
        const SHOWN: usize = 400;
        let end = String::from_utf8_lossy(&self.tail(true, true)).into_owned();
        let line = end.lines().rfind(|line| !line.trim().is_empty());
        match line {
            Some(line) => {
                let line: String = line.trim().chars().take(SHOWN).collect();
                message.push_str(&format!("; its log ends with \"{}\"", line.escape_debug()));
            }
            None => message.push_str("; its log is empty"),
        }
    }
}

/// A wait for one container.
pub struct ReadyWait {
    container: Container,
    watch: Watch,
}

impl fmt::Debug for ReadyWait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReadyWait").field("container", &self.container.name).finish_non_exhaustive()
    }
}

/// What a wait came to.
enum Looked {
    Ready,
    NotYet,
    /// The container does not run, and how it ended.
    Ended(Option<i32>),
}

impl ReadyWait {
    /// Whether the container is ready. Takes up to `limit` to find out, and returns early when it is, or does not run any more.
    pub fn ready(&mut self, limit: Duration, cancel: &CancelToken) -> Result<bool> {
        Ok(matches!(self.until(Deadline::after(Some(limit)), cancel)?, Looked::Ready))
    }

    fn until(&mut self, deadline: Deadline, cancel: &CancelToken) -> Result<Looked> {
        loop {
            cancel.check()?;
            // Looked at first: what was there when the container ended still counts.
            let state = self.container.state()?;
            let ended = !matches!(state, State::Running | State::Paused | State::Restarting);
            let mut look = Look { container: &self.container, ended, cancel, busy: false };
            if self.watch.holds(&mut look)? {
                return Ok(Looked::Ready);
            }
            let busy = look.busy;
            if ended {
                let code = self.container.inspect()?.summary.exit_code;
                return Ok(Looked::Ended(code.filter(|_| state == State::Exited)));
            }
            if deadline.is_over() {
                return Ok(Looked::NotYet);
            }
            if busy {
                continue;
            }
            let pause = deadline.left().map_or(INTERVAL, |left| left.min(INTERVAL));
            let mut fds = Vec::new();
            self.watch.descriptors(&mut fds);
            poll(&fds, &mut Vec::new(), Deadline::after(Some(pause)), cancel)?;
            drop(fds);
        }
    }
}

/// One look.
struct Look<'a> {
    container: &'a Container,
    ended: bool,
    cancel: &'a CancelToken,
    /// There is more to see at once.
    busy: bool,
}

/// What is looked at.
enum Watch {
    Log(Box<LogWatch>),
    Port(u16),
    Http(Box<HttpWatch>),
    File(String),
    Exec(Box<ExecWatch>),
    Healthy,
    /// What has held is looked at no more.
    All(Vec<Watch>),
    Any(Vec<Watch>),
}

impl Watch {
    fn begin(container: &Container, ready: &Ready) -> Result<Watch> {
        let each = |all: &[Ready]| all.iter().map(|one| Watch::begin(container, one)).collect::<Result<_>>();
        let cannot = |why: &str| {
            let why = format!("container \"{}\" {why}", container.name());
            Err(Error::new(ErrorKind::InvalidState, why).with_object(container.name()))
        };
        Ok(match ready {
            Ready::Log { pattern, times, stdout, stderr } => {
                let options =
                    LogOptions { follow: true, stdout: *stdout, stderr: *stderr, ..LogOptions::default() };
                Watch::Log(Box::new(LogWatch {
                    stream: container.logs(options)?,
                    pattern: compiled(pattern)?,
                    left: *times,
                    searched: Default::default(),
                }))
            }
            Ready::Port(number) => Watch::Port(*number),
            Ready::Http { port, path, status, headers } => {
                if container.inspect()?.spec.network != NetworkMode::Host {
                    return cannot("has no network that can be reached from here");
                }
                Watch::Http(Box::new(HttpWatch {
                    port: *port,
                    request: request(*port, path, headers),
                    status: *status,
                    attempt: None,
                    next: Instant::now(),
                }))
            }
            Ready::File(path) => Watch::File(path.clone()),
            Ready::Exec { spec, exit_code, interval } => Watch::Exec(Box::new(ExecWatch {
                spec: spec.clone(),
                exit_code: *exit_code,
                interval: *interval,
                process: None,
                next: Instant::now(),
            })),
            Ready::Healthy => match container.health()? {
                Some(_) => Watch::Healthy,
                None => return cannot("has no health checks"),
            },
            Ready::AllOf(all) => Watch::All(each(all)?),
            Ready::AnyOf(all) => Watch::Any(each(all)?),
        })
    }

    fn holds(&mut self, look: &mut Look<'_>) -> Result<bool> {
        match self {
            Watch::Log(log) => log.holds(look),
            Watch::Port(number) => listens(look.container, *number),
            Watch::Http(http) => Ok(http.holds()),
            Watch::File(path) => has_path(look.container, path),
            Watch::Exec(exec) => exec.holds(look),
            Watch::Healthy => {
                let health = look.container.health()?;
                Ok(!look.ended && health.is_some_and(|health| health.status == "healthy"))
            }
            Watch::All(all) => {
                let mut left = Vec::with_capacity(all.len());
                for mut one in std::mem::take(all) {
                    if !one.holds(look)? {
                        left.push(one);
                    }
                }
                *all = left;
                Ok(all.is_empty())
            }
            Watch::Any(all) => {
                for one in all {
                    if one.holds(look)? {
                        return Ok(true);
                    }
                }
                Ok(false)
            }
        }
    }

    /// What has something when another look is worth while.
    fn descriptors<'a>(&'a self, fds: &mut Vec<(BorrowedFd<'a>, PollFlags)>) {
        match self {
            Watch::Log(log) => fds.extend(log.stream.changes().map(|fd| (fd, PollFlags::IN))),
            Watch::Http(http) => fds.extend(http.attempt.as_ref().map(|attempt| {
                let sent = attempt.sent == http.request.len();
                (attempt.socket.as_fd(), if sent { PollFlags::IN } else { PollFlags::OUT })
            })),
            Watch::Exec(exec) => {
                fds.extend(exec.process.as_ref().map(|process| (process.news.as_fd(), PollFlags::IN)));
            }
            Watch::All(all) | Watch::Any(all) => all.iter().for_each(|one| one.descriptors(fds)),
            Watch::Port(_) | Watch::File(_) | Watch::Healthy => {}
        }
    }
}

struct LogWatch {
    stream: LogStream,
    pattern: Regex,
    left: u32,
    searched: [Searched; 2],
}

impl LogWatch {
    fn holds(&mut self, look: &mut Look<'_>) -> Result<bool> {
        self.stream.heard();
        let mut pieces = 0;
        while self.left > 0 {
            look.cancel.check()?;
            let Some(record) = self.stream.try_next()? else { return Ok(false) };
            let searched = &mut self.searched[usize::from(record.source == LogSource::Stderr)];
            searched.add(&record.data, &self.pattern, &mut self.left);
            pieces += 1;
            if pieces == TURN && !look.ended {
                look.busy = true;
                break;
            }
        }
        Ok(self.left == 0)
    }
}

/// The output of one stream, as far as a match may still begin in it.
#[derive(Default)]
struct Searched {
    text: String,
    position: usize,
    /// The first bytes of a character.
    part: Vec<u8>,
}

impl Searched {
    fn add(&mut self, data: &[u8], pattern: &Regex, left: &mut u32) {
        let mut bytes = std::mem::take(&mut self.part);
        bytes.extend_from_slice(data);
        let mut rest = bytes.as_slice();
        loop {
            match std::str::from_utf8(rest) {
                Ok(text) => {
                    self.text.push_str(text);
                    break;
                }
                Err(error) => {
                    let (good, bad) = rest.split_at(error.valid_up_to());
                    self.text.push_str(&String::from_utf8_lossy(good));
                    let Some(length) = error.error_len() else {
                        self.part = bad.to_vec();
                        break;
                    };
                    self.text.push(char::REPLACEMENT_CHARACTER);
                    rest = bad.get(length..).unwrap_or_default();
                }
            }
        }
        while *left > 0 {
            let Some(found) = pattern.find_at(&self.text, self.position.min(self.text.len())) else { break };
            *left -= 1;
            // An empty match must not be found for ever.
            let next = self.text.get(found.start()..).and_then(|text| text.chars().next());
            let next = found.start() + next.map_or(1, char::len_utf8);
            self.position = found.end().max(next);
            if self.position > self.text.len() {
                break;
            }
        }
        // Whole lines go, so that `^` still means the start of one.
        let old = self.text.len().saturating_sub(WINDOW);
        let lines = self.text.as_bytes().get(..old).unwrap_or_default();
        let mut gone = lines.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        if self.text.len() - gone > MOST_LINE {
            gone = (old..=self.text.len()).find(|at| self.text.is_char_boundary(*at)).unwrap_or(old);
        }
        self.text.drain(..gone);
        self.position = self.position.saturating_sub(gone);
    }
}

struct ExecWatch {
    spec: ExecSpec,
    exit_code: i32,
    interval: Duration,
    process: Option<Process>,
    next: Instant,
}

impl ExecWatch {
    fn holds(&mut self, look: &Look<'_>) -> Result<bool> {
        // The container has ended, or is about to, or is paused.
        let gone = |kind| matches!(kind, ErrorKind::InvalidState | ErrorKind::MonitorLost);
        if self.process.is_none() {
            if look.ended || Instant::now() < self.next {
                return Ok(false);
            }
            let begun = look.container.popen_until(
                self.spec.clone(),
                Stdio::null(),
                // Not that of the wait, which may go on in short steps.
                Deadline::after(Some(START)),
                look.cancel,
            );
            match begun {
                Ok(process) => self.process = Some(process),
                Err(error) if gone(error.kind()) || error.kind() == ErrorKind::Timeout => {
                    self.next = Instant::now() + self.interval;
                    return Ok(false);
                }
                Err(error) => return Err(error),
            }
        }
        let code = match self.process.as_ref().map(Process::poll) {
            Some(Ok(None)) | None => return Ok(false),
            Some(Ok(code)) => code,
            Some(Err(error)) if gone(error.kind()) => None,
            Some(Err(error)) => return Err(error),
        };
        self.process = None;
        self.next = Instant::now() + self.interval;
        Ok(code == Some(self.exit_code))
    }
}

impl Drop for ExecWatch {
    fn drop(&mut self) {
        if let Some(process) = &self.process {
            // It may have gone with its container.
            let _ = process.send_signal(Signal::KILL);
        }
    }
}

struct HttpWatch {
    port: u16,
    request: Vec<u8>,
    status: Option<u16>,
    attempt: Option<Attempt>,
    next: Instant,
}

struct Attempt {
    socket: OwnedFd,
    until: Instant,
    sent: usize,
    answer: Vec<u8>,
}

fn request(port: u16, path: &str, headers: &[(String, String)]) -> Vec<u8> {
    let mut text = format!("GET {path} HTTP/1.1\r\n");
    if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
        text.push_str(&format!("Host: 127.0.0.1:{port}\r\n"));
    }
    for (name, value) in headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    text.push_str("Connection: close\r\n\r\n");
    text.into_bytes()
}

impl HttpWatch {
    fn holds(&mut self) -> bool {
        let status = match &mut self.attempt {
            None if Instant::now() < self.next => return false,
            None => match Attempt::begin(self.port) {
                Ok(attempt) => self.attempt.insert(attempt).go_on(&self.request),
                Err(errno) => Err(errno),
            },
            Some(attempt) => attempt.go_on(&self.request),
        };
        match status {
            Err(Errno::AGAIN | Errno::INTR) => return false,
            Err(_) => {}
            Ok(status) => {
                if self.status.map_or((200..400).contains(&status), |wanted| wanted == status) {
                    return true;
                }
            }
        }
        self.attempt = None;
        self.next = Instant::now() + INTERVAL;
        false
    }
}

impl Attempt {
    fn begin(port: u16) -> std::result::Result<Attempt, Errno> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = rustix::net::socket_with(AddressFamily::INET, SocketType::STREAM, flags, None)?;
        match rustix::net::connect(&socket, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, port)) {
            Ok(()) | Err(Errno::INPROGRESS | Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
        Ok(Attempt { socket, until: Instant::now() + ANSWER, sent: 0, answer: Vec::new() })
    }

    /// The status of the answer; `EAGAIN` if it is not there yet.
    fn go_on(&mut self, request: &[u8]) -> std::result::Result<u16, Errno> {
        if Instant::now() >= self.until {
            return Err(Errno::TIMEDOUT);
        }
        while let Some(rest) = request.get(self.sent..).filter(|rest| !rest.is_empty()) {
            self.sent += rustix::net::send(&self.socket, rest, SendFlags::NOSIGNAL)?;
        }
        loop {
            let mut buffer = [0; 4096];
            let (read, _) = rustix::net::recv(&self.socket, &mut buffer[..], RecvFlags::empty())?;
            self.answer.extend(buffer.get(..read).unwrap_or_default());
            let mut headers = [httparse::EMPTY_HEADER; 16];
            let mut response = httparse::Response::new(&mut headers);
            let parsed = response.parse(&self.answer);
            match (parsed, response.code) {
                // The first line is what counts, whatever comes after it.
                (_, Some(code)) => return Ok(code),
                (Ok(_), None) if read > 0 && self.answer.len() < MOST_ANSWER => {}
                _ => return Err(Errno::PROTO),
            }
        }
    }
}

/// The container's program, if it runs, with what else is known of the container.
fn running(container: &Container) -> Result<Option<(i32, ContainerDetails)>> {
    let details = container.inspect()?;
    Ok(details.pid.map(|pid| (pid, details)))
}

/// Looks for a path below the root of the container's program, without following links out of it and without running anything.
fn has_path(container: &Container, path: &str) -> Result<bool> {
    let Some((pid, _)) = running(container)? else { return Ok(false) };
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let root = format!("/proc/{pid}/root");
    let found =
        rustix::fs::openat(CWD, root.as_str(), flags | OFlags::DIRECTORY, Mode::empty()).and_then(|root| {
            let inside = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
            rustix::fs::openat2(root, path, flags, Mode::empty(), inside)
        });
    let found = match found {
        Ok(_) => true,
        // Also while somebody moves directories about.
        Err(Errno::NOENT | Errno::NOTDIR | Errno::SRCH | Errno::AGAIN) => false,
        Err(errno) => return Err(Error::syscall("openat2", path, errno.raw_os_error())),
    };
    // The number may have become another process's meanwhile.
    Ok(found && container.inspect()?.pid == Some(pid))
}

/// Whether a program of the container listens on a TCP port.
fn listens(container: &Container, number: u16) -> Result<bool> {
    let Some((pid, details)) = running(container)? else { return Ok(false) };
    let mut sockets = Vec::new();
    for table in ["tcp", "tcp6"] {
        // One that cannot be read has ended, or is about to.
        if let Ok(text) = std::fs::read_to_string(format!("/proc/{pid}/net/{table}")) {
            sockets.extend(listening(&text, number));
        }
    }
    if sockets.is_empty() {
        return Ok(false);
    }
    // The table is that of a network, which others may share.
    let found = details.spec.network == NetworkMode::None || holds(container, pid, &sockets)?;
    Ok(found && container.inspect()?.pid == Some(pid))
}

/// The sockets that listen on a port, by a table of the kernel: `sl local_address rem_address st ... uid timeout inode`, where 0A is LISTEN.
fn listening(table: &str, number: u16) -> impl Iterator<Item = String> {
    table.lines().skip(1).filter_map(move |line| {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        let [_, local, _, "0A", _, _, _, _, _, inode, ..] = fields.as_slice() else { return None };
        let (_, port) = local.rsplit_once(':')?;
        (u16::from_str_radix(port, 16) == Ok(number)).then(|| format!("socket:[{inode}]"))
    })
}

/// Whether a process of the container has one of the sockets.
fn holds(container: &Container, pid: i32, sockets: &[String]) -> Result<bool> {
    let mut hidden = false;
    for process in with_siblings(pid) {
        let opened = std::fs::read_dir(format!("/proc/{process}/fd")).and_then(|entries| {
            for entry in entries {
                // One that cannot be read was closed in the meantime.
                let Ok(link) = std::fs::read_link(entry?.path()) else { continue };
                if sockets.iter().any(|socket| link.as_os_str() == socket.as_str()) {
                    return Ok(true);
                }
            }
            Ok(false)
        });
        match opened {
            Ok(true) => return Ok(true),
            Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => hidden = true,
            // Or it has ended.
            Ok(false) | Err(_) => {}
        }
    }
    if hidden {
        let why = format!(
            "container \"{}\" shares its network, and whose port it is cannot be told: its processes are of another user",
            container.name()
        );
        return Err(Error::new(ErrorKind::PermissionDenied, why)
            .with_object(container.name())
            .with_hint("wait for what the program says or does: log, http, exec, file"));
    }
    Ok(false)
}

/// A container's processes: its first one, and all others below their common parent, which is the container's monitor.
fn with_siblings(pid: i32) -> Vec<i32> {
    let mut all = vec![pid];
    let mut parents = Vec::new();
    let numbers = std::fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<i32>().ok());
    for number in numbers {
        // The name, which is in brackets, may have anything in it. One that cannot be read has ended.
        let parent = std::fs::read(format!("/proc/{number}/stat")).ok().and_then(|stat| {
            let text = String::from_utf8_lossy(&stat).into_owned();
            text.rsplit_once(')')?.1.split_ascii_whitespace().nth(1)?.parse::<i32>().ok()
        });
        if let Some(parent) = parent {
            parents.push((number, parent));
        }
    }
    // Zero is the parent of those that are none of ours.
    let monitor = parents.iter().find(|(number, _)| *number == pid).map(|(_, parent)| *parent);
    let mut of = vec![monitor.filter(|parent| *parent > 0).unwrap_or(pid)];
    while let Some(parent) = of.pop() {
        // Taken out, so that numbers that change hands meanwhile lead to no circle.
        parents.retain(|(number, of_whom)| {
            let own = *of_whom == parent;
            if own {
                of.push(*number);
                if *number != pid {
                    all.push(*number);
                }
            }
            !own
        });
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_mean_what_they_say() {
        let of = |text: &str| Ready::parse(text).map(|ready| ready.to_string()).map_err(|error| error.kind());
        assert_eq!(of("log=^ready (x|y)=1$").unwrap(), r#"log("^ready (x|y)=1$")"#);
        assert_eq!(of("port=5432").unwrap(), "port(5432)");
        assert_eq!(of("http=80").unwrap(), r#"http(80, "/")"#);
        assert_eq!(of("http=80/a/b?c").unwrap(), r#"http(80, "/a/b?c")"#);
        assert_eq!(of("file=/run/x").unwrap(), r#"file("/run/x")"#);
        assert_eq!(of("exec=test -e '/a b'").unwrap(), r#"exec(["test", "-e", "/a b"])"#);
        assert_eq!(of("healthy").unwrap(), "healthy()");
        for bad in [
            "",
            "log",
            "log=(",
            "port=",
            "port=0",
            "port=65536",
            "http=",
            "http=80/a b",
            "http=80/\r\nx",
            "file=x",
            "file=",
            "exec=",
            "exec='",
            "healthy=1",
            "ready",
        ] {
            assert_eq!(of(bad), Err(ErrorKind::InvalidArgument), "{bad:?}");
        }
        let both = Ready::AllOf(vec![Ready::Port(1), Ready::AnyOf(vec![Ready::Healthy, Ready::log("x")])]);
        assert_eq!(both.to_string(), r#"all_of(port(1), any_of(healthy(), log("x")))"#);
        assert!(both.check().is_ok() && Ready::AllOf(vec![]).check().is_ok());
        assert!(Ready::AnyOf(vec![]).check().is_err());
        let headers = vec![("X".to_owned(), "a\r\nb".to_owned())];
        assert!(Ready::Http { port: 1, path: "/".into(), status: None, headers }.check().is_err());
    }

    fn matches(pattern: &str, pieces: &[&[u8]], times: u32) -> u32 {
        let (mut searched, mut left) = (Searched::default(), times);
        let pattern = compiled(pattern).unwrap();
        pieces.iter().for_each(|piece| searched.add(piece, &pattern, &mut left));
        times - left
    }

    #[test]
    fn output_is_searched_across_its_pieces() {
        assert_eq!(matches("ready", &[b"re", b"ad", b"y"], 9), 1);
        assert_eq!(matches("^b$", &[b"a\nb", b"\nb\nab"], 9), 2);
        assert_eq!(matches("", &[b"ab"], 9), 3);
        assert_eq!(matches("x*", &["äxx".as_bytes()], 9), 3);
        // A character that is cut, and one that is none.
        assert_eq!(matches("^ä$", &[b"\xc3", b"\xa4"], 9), 1);
        assert_eq!(matches("a\u{fffd}b", &[b"a\xff", b"b"], 9), 1);
        let filler = vec![b'x'; 3 * MOST_LINE / 2];
        assert_eq!(matches("end", &[&filler, &filler, b"e", b"nd"], 9), 1);
        let mut searched = Searched::default();
        let never = compiled("never").unwrap();
        for _ in 0..8 {
            searched.add(&filler, &never, &mut 1);
        }
        assert!(searched.text.len() <= MOST_LINE);
    }

    #[test]
    fn listeners_are_found_in_the_tables_of_the_kernel() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
             0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 77 1 0 100 0 0 10 0\n\
             1: 0100007F:1F90 0100007F:9999 01 00000000:00000000 00:00000000 00000000     0        0 78 1 0 100 0 0 10 0\n\
             2: 00000000000000000000000000000000:1F91 00000000:0000 0A 0:0 00:0 0 0 0 79\nshort\n";
        let of = |number| listening(table, number).collect::<Vec<_>>();
        assert_eq!(of(8080), ["socket:[77]"]);
        assert_eq!(of(8081), ["socket:[79]"]);
        assert!(of(80).is_empty());
    }
}
