//! Where a run of the program ends: with the next one, or with the container.

use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use coble_protocol::{
    Commit, Connection, Ended, Exit, ExitRecord, Failure, Happening, Report, Response, Stdio, Step,
};

use super::{KEEPING, Server, host_pid};
use crate::container::{self, Plan, mapped, wall_clock};
use crate::monitor;
use crate::monitor::again::wait_for_program;
use crate::monitor::children::{self, reap, unseen};
use crate::monitor::input::Input;
use crate::monitor::keeper::Keeper;
use crate::monitor::state;
use crate::sys;

/// Failures of hooks that are remembered.
const MAX_COMPLAINTS: usize = 16;

impl Server {
    /// How the first process ended; None if whoever traces it may still say.
    pub(super) fn init_end(&mut self, now: Instant) -> Option<Exit> {
        let exit = reap(self.container.init.as_fd());
        let since = *self.kept.get_or_insert(now);
        let exit = exit.or_else(|| (now - since > KEEPING).then(unseen))?;
        self.kept = None;
        Some(exit)
    }

    /// Somebody has ended the keeper: there is another one, or no container.
    pub(super) fn keep(&mut self) {
        let Some(keeper) = self.container.keeper.take() else { return };
        keeper.reap();
        let next = self.container.home.as_ref().map(|home| Keeper::start(home.as_fd(), self.lock.as_fd()));
        match next {
            Some(Ok(keeper)) => self.container.keeper = Some(keeper),
            // The end of this process would end nothing else.
            _ => {
                self.call_off();
                let _ = sys::pidfd_signal(self.container.init.as_fd(), libc::SIGKILL);
            }
        }
    }

    /// Says whether it ended because its time was over.
    pub(super) fn in_time(&self, exit: Exit) -> Exit {
        Exit { timed_out: self.run_time.is_some() && self.run_until.is_none(), ..exit }
    }

    /// The program has ended. True if it will be started again.
    pub(super) fn rest(&mut self, exit: Exit) -> bool {
        let Some(pause) = self.again.as_mut().and_then(|again| again.pause(&exit)) else { return false };
        // What the end of the first process did not end.
        if let (Some(keeper), Some(home)) = (&self.container.keeper, &self.container.home) {
            keeper.end_each(home.as_fd());
        }
        self.end_programs();
        self.let_tracers_in();
        self.look_for_oom(Instant::now());
        if let Some(log) = &mut self.log {
            log.drain();
        }
        self.after_hooks(exit, true);
        self.waiting = Some((Instant::now() + pause, exit));
        self.put_off = 0;
        self.restarted = None;
        self.tell_condition();
        self.journal.note(&self.run_dir, Happening::Died(exit));
        let waiting: Vec<u64> =
            self.clients.iter().filter(|client| client.waits).map(|client| client.number).collect();
        for number in waiting {
            if let Some(client) = self.clients.iter_mut().find(|client| client.number == number) {
                client.waits = false;
            }
            self.respond(number, &Response::Restarts(exit), &[]);
        }
        true
    }

    /// Runs the hooks for the end of the program and of all that was with it, once that end is on file: meanwhile nobody is answered.
    fn after_hooks(&mut self, exit: Exit, waits: bool) {
        if !std::mem::replace(&mut self.hooks_due, false) {
            return;
        }
        // That of a start that failed is the end that it was after.
        let record = self.ended.map_or(self.journal.number() + 1, |ended| ended.record);
        let ended = Ended { exit, record, waits, hooks: true };
        self.ended = Some(ended);
        if let Some(hooks) = &self.hooks
            && !hooks.poststop.is_empty()
        {
            self.tell_condition();
            let complaints = monitor::after(hooks, &self.run_dir);
            self.complain(complaints);
        }
        self.ended = Some(Ended { hooks: false, ..ended });
    }

    fn complain(&mut self, complaints: Vec<Failure>) {
        self.complaints.extend(complaints);
        self.complaints.drain(..self.complaints.len().saturating_sub(MAX_COMPLAINTS));
    }

    /// Starts the program again. False if that cannot be done.
    pub(super) fn start_again(&mut self) -> bool {
        if self.container.is_frozen() || self.again.as_ref().is_some_and(|again| again.has_writers()) {
            // It would not get anywhere: somebody has paused what was about to end, or is about to leave it.
            if let Some((due, _)) = &mut self.waiting {
                *due = Instant::now() + Duration::from_millis(200);
            }
            return true;
        }
        match self.next_run() {
            Ok(()) => {
                (self.waiting, self.ended) = (None, None);
                self.out_of_memory = false;
                self.run_until = self.run_time.and_then(|time| Instant::now().checked_add(time));
                self.restarted = Some((wall_clock(), host_pid(self.container.init.as_fd()).unwrap_or(0)));
                if let Some(again) = &mut self.again {
                    again.began = Instant::now();
                }
                if let Some(checks) = &mut self.checks {
                    checks.start_again();
                }
                if let Some(hooks) = &self.hooks {
                    let complaints = monitor::running(hooks, &self.container.init);
                    self.complain(complaints);
                }
                self.tell_condition();
                self.journal.note(&self.run_dir, Happening::Started);
                true
            }
            Err(failure) => {
                if let Some((_, exit)) = &mut self.waiting {
                    exit.code = match failure.errno {
                        libc::ENOENT => 127,
                        libc::EACCES => 126,
                        _ => 128,
                    };
                    exit.signal = None;
                    exit.finished_at = wall_clock();
                }
                self.stuck = Some(failure);
                false
            }
        }
    }

    fn next_run(&mut self) -> Result<(), Failure> {
        let Some(again) = &self.again else {
            return Err(Failure::rule(Step::Internal, "container", "no restart"));
        };
        let [mut stdin, stdout, stderr] = again.streams()?;
        if let Stdio::Log { stdin: coble_protocol::Input::Open { once }, .. } = again.spec.stdio {
            let (ours, theirs) = Input::pipe(once)?;
            self.input = Some(ours);
            stdin = Some(theirs);
        }
        let stdio = match &mut self.log {
            Some(_) if again.spec.process.terminal.is_some() => [None, None, None],
            Some(log) => {
                let [stdout, stderr] = log.renew()?;
                [stdin, Some(stdout), Some(stderr)]
            }
            None => [stdin, stdout, stderr],
        };
        if let Some(hooks) = &self.hooks {
            monitor::before(hooks, &self.run_dir)?;
        }
        self.hooks_due = true;
        let network = again.network(self.container.own_network)?;
        let binds = again.binds()?;
        let (status, theirs) = monitor::channel(Step::Clone)?;
        let container = &mut self.container;
        match container.spaces.first_process(container.home.as_ref().map(AsFd::as_fd))? {
            sys::Clone::Child => {
                let plan = Plan {
                    ground: &again.ground,
                    spec: &again.spec,
                    overlay: &again.overlay,
                    cgroups: &container.cgroups,
                    spaces: &container.spaces,
                    network,
                    binds,
                    dev: None,
                    stdio,
                    maps: &container.maps,
                    core_limit: container.core_limit,
                    given: None,
                };
                container::first(plan, theirs)
            }
            sys::Clone::Parent(pidfd) => container.init = pidfd,
        }
        let provided = again.spec.maps.as_ref().map(|mapping| {
            let pid = host_pid(container.init.as_fd());
            mapped::provide(
                (&again.ground, mapping, container.spaces.user.is_none()),
                pid,
                &status,
                &again.overlay,
                &again.spec.mounts,
                &binds,
                &stdio,
            )
        });
        drop((theirs, network, binds, stdio));
        let started = match provided {
            Some(Err(failure)) => Err(failure),
            Some(Ok(_)) | None => wait_for_program(&again.spec, &status, &mut self.container.init),
        };
        match started {
            Ok((proc, terminal)) => {
                self.proc = proc;
                // Nobody has the other end of one that was given to whoever started it: the program has none, then.
                if let (Some(ends), Some(log)) = (terminal, &mut self.log) {
                    log.renew_terminal(ends)?;
                    if matches!(again.spec.stdio, Stdio::Terminal { open: true, .. }) {
                        self.input = log.terminal().map(Input::terminal).transpose()?;
                    }
                }
                Ok(())
            }
            Err(failure) => {
                children::end(&self.container.init);
                if let Some(keeper) = &self.container.keeper {
                    keeper.end_all();
                }
                Err(failure)
            }
        }
    }

    /// The program is not started again.
    pub(super) fn call_off(&mut self) {
        if let Some(again) = &mut self.again {
            again.called_off = true;
        }
    }

    /// The container has ended: record it, tell everybody.
    pub(super) fn finish(mut self, control: Option<Connection>, exit: Exit) -> i32 {
        // What the end of the first process did not end.
        if let Some(keeper) = self.container.keeper.take() {
            keeper.finish();
        }
        self.end_programs();
        self.look_for_oom(Instant::now());
        let mut warnings = Vec::new();
        if let Some(log) = &mut self.log {
            log.drain();
            warnings.extend(log.loss());
        }
        self.after_hooks(exit, false);
        warnings.extend(self.stuck.take());
        warnings.append(&mut self.complaints);
        let complaints = if self.leavings.is_some() { std::mem::take(&mut warnings) } else { Vec::new() };
        let mut written = Ok(());
        if self.leavings.is_none() {
            let record = ExitRecord { id: std::mem::take(&mut self.id), exit, warnings };
            written = state::write(&self.run_dir, &record);
            // Whoever hears of the end may take the lock at once: nothing of the container is left, and all is written.
            drop(self.socket);
            // Unlocked, not only closed: a child that the host program forked at the wrong moment may have a copy of the descriptor.
            let _ = rustix::fs::flock(&self.lock, rustix::fs::FlockOperation::Unlock);
        }
        drop((self.lock, self.run_dir));
        for client in self.clients.iter().filter(|client| client.waits) {
            let _ = client.connection.try_send(&Response::Exited(exit), &[]);
        }
        if let Some(control) = control {
            if !complaints.is_empty() {
                let _ = control.try_send(&Report::Complaints(complaints), &[]);
            }
            let _ = control.try_send(&Report::Exited(exit), &[]);
            if self.leavings.is_none() && !self.committed {
                // A program of a moment ends before the engine has it on record. A socket that is closed with something unread loses what was sent on it.
                let _ = control.recv::<Commit>();
            }
        }
        if let Some(container) = &self.leavings {
            state::clear_work(container.as_fd());
        }
        // All is said and written: what is left is for whoever reads slowly.
        drop((std::mem::take(&mut self.clients), self.again.take()));
        if let Some(log) = &mut self.log {
            log.deliver();
        }
        i32::from(written.is_err())
    }
}
