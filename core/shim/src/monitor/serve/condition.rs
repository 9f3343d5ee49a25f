//! How the container is: its health checks, and what is put on file about it.

use std::os::fd::AsFd;
use std::time::Instant;

use coble_protocol::{Condition, Failure, Happening};
use rustix::io::Errno;

use super::Server;
use crate::monitor::health::PROBE;
use crate::monitor::journal::nudge;
use crate::monitor::oom::Oom;
use crate::monitor::state;

impl Server {
    /// Begins and ends health checks.
    pub(super) fn look_after_health(&mut self, now: Instant) {
        let Some(checks) = &mut self.checks else { return };
        if checks.gets_late(now) {
            if self.container.is_frozen() {
                checks.void();
            }
            for program in self.programs.iter().filter(|program| program.client == PROBE) {
                checks.kill(program.pidfd.as_fd());
            }
        } else if self.waiting.is_none() && checks.is_due(now) {
            if self.container.is_frozen() {
                checks.skip(now);
                return;
            }
            let spec = checks.spec().process.clone();
            let made = checks.begin().and_then(|mut fds| self.exec(PROBE, &spec, &mut fds));
            match made {
                Ok(program) => {
                    if let Some(checks) = &mut self.checks {
                        checks.made(program.pidfd.as_fd());
                    }
                    self.programs.push(program);
                }
                Err(failure) => self.probe_over(Err(said(&failure))),
            }
        }
    }

    /// A health check is over.
    pub(super) fn probe_over(&mut self, code: Result<i32, String>) {
        let Some(checks) = &mut self.checks else { return };
        if self.container.is_frozen() || checks.is_void() {
            // Whatever came of it came of being stopped.
            checks.skip(Instant::now());
            return;
        }
        let changed = checks.over(code);
        self.tell_condition();
        match changed {
            Some(status) => self.journal.note(&self.run_dir, Happening::Health(status)),
            None => nudge(&self.run_dir),
        }
    }

    /// Tells of programs that the kernel has killed for want of memory.
    pub(super) fn look_for_oom(&mut self, now: Instant) {
        match self.oom.as_mut().map(|oom| oom.look(now)) {
            Some(Some(true)) => {
                self.out_of_memory = true;
                self.tell_condition();
                self.journal.note(&self.run_dir, Happening::OutOfMemory);
            }
            // The cgroup has gone, and is told of for ever.
            Some(None) => self.oom = None,
            Some(Some(false)) | None => {}
        }
    }

    /// Puts on file what an engine cannot know otherwise.
    pub(super) fn tell_condition(&self) {
        let matters = self.again.as_ref().is_some_and(|again| again.matters());
        if self.checks.is_none() && !matters && self.ended.is_none() && !self.out_of_memory {
            return;
        }
        let condition = Condition {
            restarts: self.again.as_ref().map_or(0, |again| again.count),
            ended: self.ended,
            started: self.restarted,
            oom_kills: self.oom.as_ref().map_or(0, Oom::seen),
            out_of_memory: self.out_of_memory,
            health: self.checks.as_ref().map(|checks| checks.health().clone()),
        };
        state::write_condition(&self.run_dir, &condition);
    }
}

/// A failure in words, for whoever reads the log of health checks.
pub(super) fn said(failure: &Failure) -> String {
    let object = String::from_utf8_lossy(&failure.object);
    let why = match failure.errno {
        0 => failure.detail.clone(),
        errno => Errno::from_raw_os_error(errno).to_string(),
    };
    format!("cannot {} \"{object}\": {why}", failure.step.text())
}
