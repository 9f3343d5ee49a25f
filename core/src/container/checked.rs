//! Waiting for a container's program, with an error that says how it failed.

use std::collections::VecDeque;
use std::time::Duration;

use super::wait::refreshed;
use super::{Container, LogOptions, LogSource, RunResult, State, WaitCondition, run};
use crate::cancel::CancelToken;
use crate::engine::Inner;
use crate::error::Result;
use crate::state::from_nanos;

/// The most bytes of each stream that an error has.
const MOST: usize = 64 << 10;
/// The most pieces of the log that are looked at.
const LINES: u64 = 2000;

impl Container {
    /// As [`Container::wait_until`], but an exit code other than 0 fails with [`ErrorKind::ContainerExit`](crate::ErrorKind::ContainerExit). The error has what a failed run has
    /// ([`Error::run_result`](crate::Error::run_result)): exit code, isolation, warnings, and of both streams the last 64 KiB that the log has of this run, if it is kept, and the container is still there.
    pub fn wait_checked(
        &self,
        condition: WaitCondition,
        timeout: Option<Duration>,
        cancel: &CancelToken,
    ) -> Result<()> {
        let inner = &*self.engine.inner()?;
        // Before the wait: a policy may have started the next run when it is over.
        let begun = self.begun(inner, |state| matches!(state, State::Running | State::Paused));
        let exit_code = self.wait_until(condition, timeout, cancel)?;
        let mut result = RunResult {
            exit_code,
            stdout: Vec::new(),
            stderr: Vec::new(),
            timings: Vec::new(),
            isolation: None,
            order: Default::default(),
            warnings: Vec::new(),
        };
        if exit_code != 0 {
            // The exit code is what counts. Of a container that is gone there is no more.
            if let Ok(details) = self.inspect() {
                (result.isolation, result.warnings) = (details.isolation, details.warnings);
                let since = begun.or_else(|| self.begun(inner, |_| true));
                let _ = self.last_output(since, &mut result, cancel);
            }
        }
        run::outcome(result, true).map(drop)
    }

    /// When the run began that the container is in, if its state is one of those.
    fn begun(&self, inner: &Inner, wanted: impl Fn(State) -> bool) -> Option<u64> {
        let row = self.row(inner).and_then(|row| refreshed(inner, row)).ok()?;
        row.state().ok().filter(|state| wanted(*state)).and(row.started_at)
    }

    fn last_output(&self, since: Option<u64>, result: &mut RunResult, cancel: &CancelToken) -> Result<()> {
        let options = LogOptions { tail: Some(LINES), since: since.map(from_nanos), ..LogOptions::default() };
        let mut stream = self.logs(options)?;
        let mut ends = [VecDeque::new(), VecDeque::new()];
        while let Some(record) = stream.next(cancel)? {
            let end = &mut ends[usize::from(record.source == LogSource::Stderr)];
            end.extend(record.data);
            end.drain(..end.len().saturating_sub(MOST));
        }
        [result.stdout, result.stderr] = ends.map(Vec::from);
        Ok(())
    }
}
