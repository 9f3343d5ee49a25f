//! Waiting for a container's end, and noticing it.

use std::time::{Duration, SystemTime};

use coble_protocol::{Condition, Ended, ExitRecord, HealthStatus, Request, Response};

use super::live::RunDir;
use super::monitor::Monitor;
use super::restart::is_restarting;
use super::take::{Taken, take};
use super::{Container, Health, State, WaitCondition};
use crate::cancel::CancelToken;
use crate::engine::Inner;
use crate::error::{Error, ErrorKind, Result};
use crate::event::EventOptions;
use crate::process::{self, Deadline, warning_of};
use crate::state::containers::Last;
use crate::state::{ContainerRow, Locked, containers, now_nanos};

/// The exit code of a container whose monitor was killed: its program was killed by the kernel with it.
pub(super) const KILLED: i32 = 137;
/// How long somebody else may have the lock of a container that has ended before the run is left to be cleared up later. A monitor gives it up right after its last word.
const LEAVING: Duration = Duration::from_secs(1);
/// The same for one that is to be removed at its end.
const REMOVING: Duration = Duration::from_secs(10);
/// How long the kernel may take to end the program of a monitor that was killed.
const ENDING: Duration = Duration::from_secs(1);

impl Container {
    /// Waits for the program's end and returns its exit code; that of a container that has ended is returned at once.
    pub fn wait(&self, timeout: Option<Duration>, cancel: &CancelToken) -> Result<i32> {
        let inner = &*self.engine.inner()?;
        let deadline = Deadline::after(timeout);
        let (mut code, mut started_at) = (None, None);
        let mut pause = Glance::up_to(Duration::from_millis(250));
        loop {
            let row = match self.row(inner).and_then(|row| refreshed(inner, row)) {
                Ok(row) => row,
                // It was removed at its end, by somebody who noticed that before we did.
                Err(error) if error.kind() == ErrorKind::ContainerNotFound => return code.ok_or(error),
                Err(error) => return Err(error),
            };
            // The run that was waited for is over, whatever has become of the container since.
            if row.started_at != started_at
                && let Some(code) = code
            {
                return Ok(code);
            }
            started_at = row.started_at;
            match row.state()? {
                State::Exited => return Ok(row.exit_code.unwrap_or(KILLED)),
                State::Created => {
                    return Err(Error::new(
                        ErrorKind::InvalidState,
                        format!("container \"{}\" was not started", self.name()),
                    )
                    .with_object(self.name()));
                }
                State::Running | State::Paused | State::Restarting => {}
            }
            // A lost connection is no end: whether the container has ended is what the lock and the exit file say.
            let told = match Monitor::connect(inner, self.id(), self.name()) {
                // It is busy, as with the hooks for the end.
                Err(error) if error.kind() == ErrorKind::Timeout => None,
                Err(error) => return Err(error),
                Ok(Some(monitor)) => wait_on(&monitor, deadline, cancel, self.name())?,
                Ok(None) => None,
            };
            // An end is an end, though the program will be started again.
            if let Some(Told::Restarts(code)) = told {
                return Ok(code);
            }
            let told = told.map(|(Told::Ended(code) | Told::Restarts(code))| code);
            code = told.or(code);
            if told.is_none() {
                // Between the monitor's last word and the end of its process lies a moment, which no descriptor of ours tells. Or too many wait there.
                let late = format!("\"{}\" is still running", self.name());
                pause.wait(deadline, cancel, &late).map_err(|error| error.with_object(self.name()))?;
            }
        }
    }
}

impl Container {
    /// Waits for a condition, and returns the exit code that it came with. [`WaitCondition::NotRunning`] is what [`Container::wait`] waits for.
    pub fn wait_until(
        &self,
        condition: WaitCondition,
        timeout: Option<Duration>,
        cancel: &CancelToken,
    ) -> Result<i32> {
        match condition {
            WaitCondition::NotRunning => self.wait(timeout, cancel),
            WaitCondition::NextExit => self.wait_for_next_exit(timeout, cancel),
            WaitCondition::Removed => self.wait_for_removal(timeout, cancel),
            WaitCondition::Healthy => self.wait_for_health(timeout, cancel),
        }
    }

    fn wait_for_next_exit(&self, timeout: Option<Duration>, cancel: &CancelToken) -> Result<i32> {
        let inner = &*self.engine.inner()?;
        let deadline = Deadline::after(timeout);
        let first = refreshed(inner, self.row(inner)?)?;
        if first.state()? == State::Running {
            return self.wait(timeout, cancel);
        }
        let mut pause = Glance::default();
        loop {
            let row = refreshed(inner, self.row(inner)?)?;
            match row.state()? {
                State::Running | State::Paused | State::Restarting => {
                    return self.wait(deadline.left(), cancel);
                }
                State::Exited
                    if (row.started_at, row.finished_at) != (first.started_at, first.finished_at) =>
                {
                    return Ok(row.exit_code.unwrap_or(KILLED));
                }
                _ => pause.wait(deadline, cancel, &format!("\"{}\" was not started", self.name()))?,
            }
        }
    }

    fn wait_for_health(&self, timeout: Option<Duration>, cancel: &CancelToken) -> Result<i32> {
        let deadline = Deadline::after(timeout);
        let failed = |why: &str| {
            let why = format!("container \"{}\" {why}", self.name());
            Error::new(ErrorKind::InvalidState, why).with_object(self.name())
        };
        let mut options = EventOptions::new();
        options.filters = vec!["type=container".to_owned(), format!("container={}", self.id())];
        options.until = deadline.left().and_then(|left| SystemTime::now().checked_add(left));
        // Opened before the first look, so that nothing falls between.
        let mut events = self.engine.events(&options)?;
        loop {
            let details = self.inspect()?;
            match (details.summary.state, &details.health) {
                (State::Exited, _) => return Err(failed("has ended")),
                (State::Created, _) => return Err(failed("was not started")),
                (_, None) => return Err(failed("has no health checks")),
                (_, Some(health)) if health.status == "healthy" => return Ok(0),
                _ => {}
            }
            match events.next(cancel) {
                Ok(Some(_)) => {}
                // Among those that are lost may be the one that is waited for.
                Err(error) if error.kind() == ErrorKind::EventsLost => {}
                Ok(None) => {
                    return Err(Error::new(
                        ErrorKind::Timeout,
                        format!("\"{}\" is not healthy", self.name()),
                    )
                    .with_object(self.name()));
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn wait_for_removal(&self, timeout: Option<Duration>, cancel: &CancelToken) -> Result<i32> {
        let inner = &*self.engine.inner()?;
        let deadline = Deadline::after(timeout);
        let mut code = 0;
        let mut known = false;
        let mut pause = Glance::default();
        loop {
            let row = match self.row(inner).and_then(|row| refreshed(inner, row)) {
                Err(error) if error.kind() == ErrorKind::ContainerNotFound && known => return Ok(code),
                row => row?,
            };
            known = true;
            code = row.exit_code.unwrap_or(code);
            if row.state()? == State::Running {
                // Its end is told, where its removal is not.
                match self.wait(deadline.left(), cancel) {
                    Ok(ended) => code = ended,
                    Err(error) if error.kind() == ErrorKind::ContainerNotFound => return Ok(code),
                    Err(error) => return Err(error),
                }
            } else {
                pause.wait(deadline, cancel, &format!("\"{}\" is still there", self.name()))?;
            }
        }
    }
}

/// The pause between two looks at what nobody tells.
struct Glance {
    next: Duration,
    most: Duration,
}

impl Default for Glance {
    fn default() -> Glance {
        Glance::up_to(Duration::from_millis(50))
    }
}

impl Glance {
    /// It doubles until it is that long.
    fn up_to(most: Duration) -> Glance {
        Glance { next: Duration::from_millis(1), most }
    }

    fn wait(&mut self, deadline: Deadline, cancel: &CancelToken, late: &str) -> Result<()> {
        cancel.check()?;
        if deadline.is_over() {
            return Err(Error::new(ErrorKind::Timeout, late));
        }
        let left = deadline.left().unwrap_or(self.next).max(Duration::from_millis(1));
        std::thread::sleep(self.next.min(left));
        self.next = (self.next * 2).min(self.most);
        Ok(())
    }
}

/// What a monitor says of the end of its program.
enum Told {
    Ended(i32),
    Restarts(i32),
}

/// Waits until the monitor says how the program ended; None if it is gone.
fn wait_on(monitor: &Monitor, deadline: Deadline, cancel: &CancelToken, name: &str) -> Result<Option<Told>> {
    match monitor.ask(&Request::Wait, &[], deadline, cancel, &format!("\"{name}\" is still running")) {
        Ok(Some((Response::Exited(exit), _))) => Ok(Some(Told::Ended(exit.code))),
        Ok(Some((Response::Restarts(exit), _))) => Ok(Some(Told::Restarts(exit.code))),
        Err(error) if matches!(error.kind(), ErrorKind::Timeout | ErrorKind::Cancelled) => Err(error),
        _ => Ok(None),
    }
}

/// A row that says running is looked at again: if nobody holds the container's lock, it has ended, and the row is brought up to date.
pub(crate) fn refreshed(inner: &Inner, mut row: ContainerRow) -> Result<ContainerRow> {
    if row.state()? != State::Running {
        return Ok(row);
    }
    let run_dir = RunDir::open(&inner.run_root, &row.id)?;
    let mut lock = None;
    let record = match &run_dir {
        Some(run_dir) => match run_dir.exit() {
            // The program's end is on record even while the monitor is finishing.
            Some(record) => Some(record),
            None => {
                if let Some(free) = run_dir.try_lock()? {
                    last_moments(run_dir, &row);
                    lock = super::hooks::begin_owed(inner, &mut row, run_dir, free)?;
                }
                // Somebody has the lock: the monitor, or the hooks for the end, whoever runs them. Nobody who looks waits for those.
                if lock.is_none() {
                    return caught_up(inner, row, run_dir);
                }
                // It was free, so what there is now is the last word.
                run_dir.exit()
            }
        },
        None => None,
    };
    match settle_end(inner, &mut row, run_dir.as_ref(), record) {
        Ok(true) => {}
        // Somebody else noticed it first, and it may have been started again since.
        Ok(false) => {
            return containers::get(&inner.store.db, &row.id)?
                .ok_or_else(|| super::list::not_found(&row.name));
        }
        // It has ended all the same, and the next one who looks finds the same.
        Err(error) if error.kind() == ErrorKind::StorageFull => {}
        Err(error) => return Err(error),
    }
    clear_up(inner, &row, run_dir, lock)?;
    Ok(row)
}

/// A monitor that is killed gives its lock up a moment before the kernel ends the program: nobody may start it again, or mount its files once more, until that is done.
fn last_moments(run_dir: &RunDir, row: &ContainerRow) {
    if run_dir.exit().is_some() {
        return;
    }
    let pid = run_dir.condition().and_then(|condition| condition.started).map(|(_, pid)| pid).or(row.pid);
    if let Some(pid) = pid {
        process::wait_for_other(pid, ENDING);
    }
}

/// Removes what a run that is over has left, or the container if it is to be removed at its end. Whoever notices the end does so, with the lock of the container, so
/// that it hits nobody who has been started since. What cannot be removed now is removed by the sweep.
fn clear_up(inner: &Inner, row: &ContainerRow, run_dir: Option<RunDir>, lock: Option<Locked>) -> Result<()> {
    let run_dir = match run_dir {
        Some(run_dir) => run_dir,
        None => RunDir::make(&inner.run_root, &row.id)?,
    };
    let taken = match lock {
        Some(lock) => Taken::Lock(lock),
        None => {
            let patience = if row.auto_remove { REMOVING } else { LEAVING };
            let deadline = Deadline::after(Some(patience));
            match take(inner, &row.id, &row.name, &run_dir, deadline, &CancelToken::never()) {
                Err(error) if error.kind() == ErrorKind::Timeout => return Ok(()),
                taken => taken?,
            }
        }
    };
    let Taken::Lock(lock) = taken else { return Ok(()) };
    match containers::get(&inner.store.db, &row.id)? {
        Some(now) if now.started_at != row.started_at => Ok(()),
        Some(now) if !now.auto_remove || is_restarting(inner, &row.id)? => inner.cgroups.remove(&row.id),
        _ => {
            let _ = super::remove::locked(inner, &row.id, run_dir, lock, None, || {});
            Ok(())
        }
    }
}

/// Brings a row of a container that has ended up to date, with what its monitor has left. False if somebody else has done so.
pub(super) fn settle_end(
    inner: &Inner,
    row: &mut ContainerRow,
    run_dir: Option<&RunDir>,
    record: Option<ExitRecord>,
) -> Result<bool> {
    let exit = record.as_ref().map(|record| record.exit);
    let started_at = row.started_at;
    let condition = run_dir.and_then(RunDir::condition);
    finish(row, record);
    if let Some(condition) = &condition {
        last_words(row, condition)?;
    }
    let condition = condition.unwrap_or_default();
    if let (None, Some(Ended { exit, .. })) = (exit, condition.ended) {
        // The program had ended before its monitor did.
        (row.exit_code, row.finished_at, row.error) = (Some(exit.code), Some(exit.finished_at), None);
    }
    // Beside what the monitor has told of.
    let oom = super::run::out_of_memory(inner, &row.id, condition.oom_kills);
    let warning = (oom || condition.out_of_memory).then(super::run::no_memory);
    let journal = run_dir.map_or_else(Vec::new, |run_dir| run_dir.journal(row.journal));
    let record = condition.ended.map(|ended| ended.record);
    let last = Last { exit, journal, oom, record };
    let late = exit.and_then(super::run::over_time);
    let complaints = run_dir.map_or_else(Vec::new, RunDir::complaints);
    if warning.is_some() || late.is_some() || !complaints.is_empty() {
        let mut run = row.run()?;
        run.warnings.extend(warning.into_iter().chain(late));
        run.warnings.extend(complaints.iter().map(warning_of));
        row.set_run(&run)?;
    }
    containers::settle(&inner.store.db, row, started_at, &last)
}

/// Puts what the monitor had on file into the row.
fn last_words(row: &mut ContainerRow, condition: &Condition) -> Result<()> {
    let mut run = row.run()?;
    run.restarts = condition.restarts;
    run.health = condition.health.as_ref().map(Health::of);
    if let Some(health) = &mut run.health {
        // As docker has it.
        HealthStatus::Unhealthy.name().clone_into(&mut health.status);
    }
    if let Some((started_at, _)) = condition.started {
        row.started_at = Some(started_at);
    }
    row.set_run(&run)
}

/// A row of a container that runs, once what its monitor has noted is on record.
fn caught_up(inner: &Inner, mut row: ContainerRow, run_dir: &RunDir) -> Result<ContainerRow> {
    let journal = run_dir.journal(row.journal);
    if let Some(last) = journal.last() {
        match containers::take_over(&inner.store.db, &row, &journal) {
            // Events that cannot be recorded now may be so later.
            Err(error) if error.kind() == ErrorKind::StorageFull => {}
            taken => {
                taken?;
                row.journal = last.number;
            }
        }
    }
    Ok(row)
}

/// Records the end in the row.
fn finish(row: &mut ContainerRow, record: Option<ExitRecord>) {
    row.state = State::Exited.name().to_owned();
    row.pid = None;
    match record {
        Some(ExitRecord { exit, warnings, .. }) => {
            row.exit_code = Some(exit.code);
            row.finished_at = Some(exit.finished_at);
            // The end is worth more than what was lost of the log: without a readable record it goes without.
            if !warnings.is_empty()
                && let Ok(mut run) = row.run()
            {
                run.warnings.extend(warnings.iter().map(warning_of));
                let _ = row.set_run(&run);
            }
        }
        None => {
            row.exit_code = Some(KILLED);
            row.finished_at = Some(now_nanos());
            row.error = Some("the monitor ended without a record, and its container with it".into());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{Engine, EngineOptions};

    #[test]
    fn who_saw_the_end_of_a_run_leaves_the_next_one_alone() {
        let dir = tempfile::tempdir().unwrap();
        let options =
            EngineOptions::default().data_root(dir.path().join("data")).run_root(dir.path().join("run"));
        let engine = Engine::open(options).unwrap();
        let inner = engine.inner().unwrap();
        let row = ContainerRow {
            id: "ab".repeat(32),
            name: "box".into(),
            image: "demo".into(),
            image_id: "img".into(),
            spec: serde_json::to_string(&crate::container::ContainerSpec::new("demo")).unwrap(),
            command: "[]".into(),
            state: State::Running.name().into(),
            started_at: Some(2),
            auto_remove: true,
            labels: "{}".into(),
            ..ContainerRow::default()
        };
        let sql = "INSERT INTO images VALUES ('img', 'm', 't', x'', x'', NULL, 0, 0, 'amd64', 'linux', NULL, '{}', NULL, 0, '[]')";
        inner.store.db.write(|tx| Ok(tx.execute(sql, [])?)).unwrap();
        containers::insert(&inner.store.db, &row, None, &[]).unwrap();
        let there = || containers::get(&inner.store.db, &row.id).unwrap().is_some();
        let first = ContainerRow { started_at: Some(1), ..row.clone() };
        clear_up(&inner, &first, None, None).unwrap();
        assert!(there(), "another run has begun since");
        clear_up(&inner, &row, None, None).unwrap();
        assert!(!there());
    }
}
