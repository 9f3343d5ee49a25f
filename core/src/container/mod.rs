//! Containers: one file for each verb of their life.

pub mod parse;
mod signal;
mod spec;
mod types;

pub use signal::Signal;
pub use spec::*;
pub use types::*;

use std::os::fd::OwnedFd;
use std::time::Duration;

use crate::cancel::CancelToken;
use crate::engine::{Engine, unfinished};
use crate::error::Result;

/// The containers of an engine.
#[derive(Debug, Clone, Copy)]
pub struct Containers<'a> {
    pub(crate) engine: &'a Engine,
}

impl Containers<'_> {
    /// Makes a container. It does not run yet.
    pub fn create(&self, _spec: ContainerSpec) -> Result<Container> {
        let _ = self.engine;
        unfinished()
    }

    /// The container with this name, id, or unambiguous id prefix of at least four digits.
    pub fn get(&self, _name_or_id: &str) -> Result<Container> {
        unfinished()
    }

    /// The running containers, or all, newest first.
    pub fn list(&self, _all: bool) -> Result<Vec<ContainerSummary>> {
        unfinished()
    }
}

/// A container. Clones are the same container; any thread may use it.
#[derive(Debug, Clone)]
pub struct Container {}

impl Container {
    /// 64 hexadecimal digits.
    pub fn id(&self) -> &str {
        ""
    }

    /// The name.
    pub fn name(&self) -> &str {
        ""
    }

    /// Its state now.
    pub fn state(&self) -> Result<State> {
        unfinished()
    }

    /// Starts the program. Returns when it runs.
    pub fn start(&self, _stdio: Stdio, _cancel: &CancelToken) -> Result<()> {
        unfinished()
    }

    /// Waits for the program's end and returns its exit code.
    pub fn wait(&self, _timeout: Option<Duration>, _cancel: &CancelToken) -> Result<i32> {
        unfinished()
    }

    /// Sends the stop signal, and SIGKILL when the time (default: the container's stop timeout) is over. A container that does not run is fine.
    pub fn stop(&self, _timeout: Option<Duration>, _cancel: &CancelToken) -> Result<()> {
        unfinished()
    }

    /// Sends a signal to the program.
    pub fn kill(&self, _signal: Signal) -> Result<()> {
        unfinished()
    }

    /// Removes the container and everything it wrote. A running one only with `force`, which kills it.
    pub fn remove(&self, _force: bool) -> Result<()> {
        unfinished()
    }

    /// Everything about it.
    pub fn inspect(&self) -> Result<ContainerDetails> {
        unfinished()
    }

    /// What its program wrote, if it was started with [`StdioMode::Log`].
    pub fn logs(&self, _options: LogOptions) -> Result<LogStream> {
        unfinished()
    }

    /// Runs another program in the running container and collects its output.
    pub fn exec(&self, _spec: ExecSpec, _options: RunOptions, _cancel: &CancelToken) -> Result<RunResult> {
        unfinished()
    }

    /// Starts another program in the running container.
    pub fn popen(&self, _spec: ExecSpec, _stdio: Stdio) -> Result<Process> {
        unfinished()
    }
}

/// A program started with [`Container::popen`]. Dropping it closes its pipes and leaves the program alone.
#[derive(Debug)]
pub struct Process {}

impl Process {
    /// The write end of standard input, if that is a pipe; once.
    pub fn take_stdin(&mut self) -> Option<OwnedFd> {
        None
    }

    /// The read end of standard output, if that is a pipe; once.
    pub fn take_stdout(&mut self) -> Option<OwnedFd> {
        None
    }

    /// The read end of standard error, if that is a pipe; once.
    pub fn take_stderr(&mut self) -> Option<OwnedFd> {
        None
    }

    /// Its process id on the host.
    pub fn pid(&self) -> i32 {
        0
    }

    /// Waits for its end and returns its exit code.
    pub fn wait(&self, _timeout: Option<Duration>, _cancel: &CancelToken) -> Result<i32> {
        unfinished()
    }

    /// Its exit code, if it ended.
    pub fn poll(&self) -> Result<Option<i32>> {
        unfinished()
    }

    /// Sends it a signal.
    pub fn send_signal(&self, _signal: Signal) -> Result<()> {
        unfinished()
    }
}

/// A container's output, read piece by piece.
#[derive(Debug)]
pub struct LogStream {}

impl LogStream {
    /// The next piece; None at the end. Blocks only when following.
    pub fn next(&mut self, _cancel: &CancelToken) -> Result<Option<LogRecord>> {
        unfinished()
    }
}
