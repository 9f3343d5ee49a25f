//! Changing the limits of a container.

use super::live::RunDir;
use super::resources::is_unlimited;
use super::take::{Held, PATIENCE};
use super::{Container, ContainerSpec, LimitInfo, State, UpdateOptions, Warning, validate};
use crate::cancel::CancelToken;
use crate::cgroup::Limits;
use crate::engine::Inner;
use crate::error::{Context, Result};
use crate::process::Deadline;
use crate::state::Pause;
use crate::state::containers::{self, RunInfo};

impl Container {
    /// Changes limits, of a container in any state. While it runs they are in force when this returns, or all are as they were: a limit that the host cannot
    /// give fails with [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported) and its name. One that does not run has them from its next start. Returns what is worth knowing besides. A container that has
    /// `nano_cpus` gets no `cpu_quota` or `cpu_period`, or the other way round: [`ErrorKind::InvalidArgument`](crate::ErrorKind::InvalidArgument).
    pub fn update(&self, options: &UpdateOptions) -> Result<Vec<Warning>> {
        let inner = &*self.engine.inner()?;
        let doing = || format!("updating \"{}\"", self.name());
        let run_dir = RunDir::make(&inner.run_root, self.id()).context(doing)?;
        let deadline = Deadline::after(Some(PATIENCE));
        // From the look at what there is to the record of what has become of it.
        let _turn = run_dir.turn(self.name(), deadline, &CancelToken::never()).context(doing)?;
        let mut pause = Pause::default();
        loop {
            // What happened before comes before it.
            let _ = super::look_at(inner, self.id());
            let held = self.hold(inner, &CancelToken::never()).context(doing)?;
            if let Some(warnings) = self.change(inner, &held, options).context(doing)? {
                return Ok(warnings);
            }
            drop(held);
            pause.wait(&CancelToken::never())?;
        }
    }

    /// Makes the changes to a container whose turn the caller has. None if another run of it is about to begin, or has begun meanwhile.
    fn change(&self, inner: &Inner, held: &Held, options: &UpdateOptions) -> Result<Option<Vec<Warning>>> {
        let (row, running) = match held {
            Held::Stopped { row, .. } => (row, false),
            Held::Running(row) if row.state()? == State::Running => (row, true),
            Held::Running(_) => return Ok(None),
        };
        let mut spec = row.spec()?;
        options.apply(&mut spec);
        validate::spec(&spec)?;
        let updated = match running {
            true => {
                let limits = options.limits(&spec);
                Some(inner.cgroups.update(self.id(), &limits, |procs| self.join_cgroups(inner, procs))?)
            }
            false => None,
        };
        let written = containers::change(&inner.store.db, self.id(), |now| {
            if running && now.state()? == State::Running && now.started_at != row.started_at {
                return Ok(false);
            }
            now.set_spec(&spec)?;
            // The record of a run that has ended says what it had.
            if let Some(updated) = updated.as_ref().filter(|_| now.started_at == row.started_at) {
                let mut run = now.run()?;
                record(&mut run, &updated.limits, &spec);
                now.set_run(&run)?;
            }
            Ok(true)
        });
        let warnings = updated.as_ref().map(|updated| updated.warnings.clone()).unwrap_or_default();
        if let (Err(_) | Ok(false), Some(updated)) = (&written, updated) {
            // What is not on record must not be in force.
            updated.take_back();
        }
        written.map(|written| written.then_some(warnings))
    }
}

/// Writes changed limits into the record of a run. What is not asked for any more is no limit.
fn record(run: &mut RunInfo, limits: &[LimitInfo], spec: &ContainerSpec) {
    let Some(isolation) = &mut run.isolation else { return };
    for limit in limits {
        match isolation.limits.iter_mut().find(|known| known.name == limit.name) {
            Some(known) => *known = limit.clone(),
            None => isolation.limits.push(limit.clone()),
        }
    }
    isolation.limits.retain(|limit| match limit.name.as_str() {
        "pids_limit" => spec.pids_limit.is_some(),
        "nano_cpus" => spec.nano_cpus.is_some(),
        "cpu_quota" => spec.cpu_quota.is_some(),
        "cpu_period" => spec.cpu_period.is_some(),
        _ => true,
    });
}

impl UpdateOptions {
    /// Sets what was given. That the one word for CPU time does not take the place of the other, as docker has it, is a matter of what a container can have.
    fn apply(&self, spec: &mut ContainerSpec) {
        fn set<T: Clone>(given: &Option<T>, field: &mut Option<T>) {
            if given.is_some() {
                field.clone_from(given);
            }
        }
        set(&self.mem_limit, &mut spec.mem_limit);
        set(&self.mem_reservation, &mut spec.mem_reservation);
        set(&self.memswap_limit, &mut spec.memswap_limit);
        set(&self.nano_cpus, &mut spec.nano_cpus);
        set(&self.cpu_shares, &mut spec.cpu_shares);
        set(&self.cpu_quota, &mut spec.cpu_quota);
        set(&self.cpu_period, &mut spec.cpu_period);
        set(&self.cpuset_cpus, &mut spec.cpuset_cpus);
        set(&self.cpuset_mems, &mut spec.cpuset_mems);
        set(&self.pids_limit, &mut spec.pids_limit);
        set(&self.blkio_weight, &mut spec.blkio_weight);
        if spec.pids_limit.is_some_and(is_unlimited) {
            spec.pids_limit = None;
        }
    }

    /// The limits that change, as they are to be; those that belong together, together.
    fn limits(&self, spec: &ContainerSpec) -> Limits {
        let memory = self.mem_limit.is_some() || self.memswap_limit.is_some();
        let quota = self.cpu_quota.is_some() || self.cpu_period.is_some();
        Limits {
            memory: spec.mem_limit.filter(|_| memory),
            memory_swap: spec
                .memswap_limit
                .filter(|_| memory)
                .map(|both| u64::try_from(both).unwrap_or(u64::MAX)),
            memory_reservation: self.mem_reservation,
            nano_cpus: self.nano_cpus,
            cpu_shares: self.cpu_shares,
            cpu_quota: spec.cpu_quota.filter(|_| quota),
            cpu_period: spec.cpu_period.filter(|_| quota),
            cpuset_cpus: self.cpuset_cpus.clone(),
            cpuset_mems: self.cpuset_mems.clone(),
            pids: self.pids_limit.map(|limit| if is_unlimited(limit) { u64::MAX } else { limit }),
            blkio_weight: self.blkio_weight,
            ..Limits::default()
        }
    }
}
