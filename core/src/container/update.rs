//! Changing the limits of a container, and when it is started again.

use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use coble_protocol::{Request, Response};

use super::live::RunDir;
use super::monitor::{Monitor, stopped};
use super::resources::{self, is_unlimited};
use super::take::{Held, PATIENCE};
use super::{Container, ContainerSpec, LimitInfo, RestartPolicy, State, UpdateOptions, Warning, validate};
use crate::cancel::CancelToken;
use crate::cgroup::{Limits, Rate};
use crate::engine::Inner;
use crate::error::{Context, Result};
use crate::process::Deadline;
use crate::state::Pause;
use crate::state::containers::{self, RunInfo};

impl Container {
    /// Changes limits, of a container in any state. While it runs they are in force when this returns, or all are as they were: a limit that the host cannot
    /// give fails with [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported) and its name. One that does not run has them from its next start. Returns what is worth knowing besides. A container that has
    /// `nano_cpus` gets no `cpu_quota` or `cpu_period`, or the other way round: [`ErrorKind::InvalidArgument`](crate::ErrorKind::InvalidArgument).
    ///
    /// A restart policy holds for the program that runs. One that was started without any, with files of the caller's as its streams or with secrets, gets none before its next start, since
    /// these are not kept for another run: [`ErrorKind::InvalidState`](crate::ErrorKind::InvalidState).
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
        let before = spec.clone();
        let options = &options.given();
        options.apply(&mut spec);
        validate::spec(&spec)?;
        let policy = options.restart_policy.filter(|policy| running && *policy != before.restart_policy);
        let updated = match running {
            true => {
                let limits = options.limits(&before, &spec)?;
                Some(inner.cgroups.update(self.id(), &limits, |procs| self.join_cgroups(inner, procs))?)
            }
            false => None,
        };
        if let Some(policy) = policy
            && let Err(error) = self.tell_policy(inner, policy)
        {
            if let Some(updated) = updated {
                updated.take_back();
            }
            return Err(error);
        }
        if running && before.mem_limit.is_none() && spec.mem_limit.is_some() {
            // Nothing depends on it: without, it is noticed when somebody looks.
            let _ = self.tell_oom(inner);
        }
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
            if policy.is_some() {
                let _ = self.tell_policy(inner, before.restart_policy);
            }
        }
        written.map(|written| written.then_some(warnings))
    }

    /// Tells the monitor where the kernel counts those that it kills for want of memory.
    fn tell_oom(&self, inner: &Inner) -> Result<()> {
        let Some((counter, event)) = inner.cgroups.oom_counter(self.id()) else { return Ok(()) };
        let fds: Vec<BorrowedFd<'_>> =
            [Some(&counter), event.as_ref()].into_iter().flatten().map(AsFd::as_fd).collect();
        self.tell(inner, &Request::Oom(event.is_some()), &fds)
    }

    /// Tells the monitor when the program is to be started again.
    fn tell_policy(&self, inner: &Inner, policy: RestartPolicy) -> Result<()> {
        self.tell(inner, &Request::Policy(policy.plan()), &[])
    }

    fn tell(&self, inner: &Inner, request: &Request, fds: &[BorrowedFd<'_>]) -> Result<()> {
        let monitor = Monitor::connect(inner, self.id(), self.name())?.ok_or_else(|| stopped(self.name()))?;
        let late = format!("the monitor of \"{}\" was told of a change", self.name());
        let deadline = Deadline::after(Some(Duration::from_secs(5)));
        match monitor.ask(request, fds, deadline, &CancelToken::never(), &late)? {
            Some((Response::Ok, _)) => Ok(()),
            Some(_) => Err(monitor.lost("an unexpected answer")),
            None => Err(monitor.stopped()),
        }
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
        name => match name.split_once(':') {
            Some(("blkio_weight_device", path)) => has(&spec.blkio_weight_device, path),
            Some((option, path)) => {
                let rate = resources::rates(spec).into_iter().find(|(rate, _)| rate.option() == option);
                rate.is_none_or(|(_, list)| has(list, path))
            }
            None => true,
        },
    });
}

fn has(list: &[(String, u64)], path: &str) -> bool {
    list.iter().any(|(known, _)| known == path)
}

/// Sets what is given of block devices; 0 takes it away.
fn merge(given: &[(String, u64)], list: &mut Vec<(String, u64)>) {
    for (path, value) in given {
        list.retain(|(known, _)| known != path);
        if *value != 0 {
            list.push((path.clone(), *value));
        }
    }
}

impl UpdateOptions {
    /// Without what says that nothing changes.
    fn given(&self) -> UpdateOptions {
        let mut given = self.clone();
        let numbers = [
            &mut given.mem_limit,
            &mut given.mem_reservation,
            &mut given.nano_cpus,
            &mut given.cpu_shares,
            &mut given.cpu_quota,
            &mut given.cpu_period,
            &mut given.blkio_weight,
        ];
        numbers.into_iter().for_each(|limit| *limit = limit.filter(|number| *number != 0));
        given.memswap_limit = given.memswap_limit.filter(|bytes| *bytes != 0);
        for set in [&mut given.cpuset_cpus, &mut given.cpuset_mems] {
            *set = set.take().filter(|set| !set.is_empty());
        }
        given
    }

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
        merge(&self.blkio_weight_device, &mut spec.blkio_weight_device);
        merge(&self.device_read_bps, &mut spec.device_read_bps);
        merge(&self.device_write_bps, &mut spec.device_write_bps);
        merge(&self.device_read_iops, &mut spec.device_read_iops);
        merge(&self.device_write_iops, &mut spec.device_write_iops);
        spec.unified.extend(self.unified.clone());
        if let Some(policy) = self.restart_policy {
            spec.restart_policy = policy;
        }
        if self.cpu_quota == Some(u64::MAX) {
            spec.cpu_quota = None;
            spec.nano_cpus = self.nano_cpus;
        }
        if spec.pids_limit.is_some_and(is_unlimited) {
            spec.pids_limit = None;
        }
    }

    /// The limits that change from what was before, as they are to be; those that belong together, together.
    fn limits(&self, before: &ContainerSpec, spec: &ContainerSpec) -> Result<Limits> {
        let no_limit = |value: u64| if value == 0 { u64::MAX } else { value };
        let weights = self.blkio_weight_device.iter();
        let weights = weights.map(|(path, value)| resources::weight(path, no_limit(*value)));
        let given = [
            (Rate::ReadBytes, &self.device_read_bps),
            (Rate::WriteBytes, &self.device_write_bps),
            (Rate::ReadOperations, &self.device_read_iops),
            (Rate::WriteOperations, &self.device_write_iops),
        ];
        let throttles = given.into_iter().flat_map(|(rate, list)| {
            list.iter().map(move |(path, value)| resources::throttle(rate, path, no_limit(*value)))
        });
        let no_quota = self.cpu_quota == Some(u64::MAX) && self.nano_cpus.is_none();
        let had_quota = before.cpu_quota.is_some() || before.nano_cpus.is_some();
        let memory = self.mem_limit.is_some() || self.memswap_limit.is_some();
        let quota = self.cpu_quota.is_some() || self.cpu_period.is_some();
        Ok(Limits {
            memory: spec.mem_limit.filter(|_| memory),
            memory_swap: spec
                .memswap_limit
                .filter(|_| memory)
                .map(|both| u64::try_from(both).unwrap_or(u64::MAX)),
            memory_reservation: self.mem_reservation,
            nano_cpus: self.nano_cpus,
            cpu_shares: self.cpu_shares,
            cpu_quota: match no_quota && had_quota {
                true => Some(u64::MAX),
                false => spec.cpu_quota.filter(|_| quota),
            },
            cpu_period: spec.cpu_period.filter(|_| quota),
            cpuset_cpus: self.cpuset_cpus.clone(),
            cpuset_mems: self.cpuset_mems.clone(),
            pids: self.pids_limit.map(|limit| if is_unlimited(limit) { u64::MAX } else { limit }),
            blkio_weight: self.blkio_weight,
            device_weights: weights.collect::<Result<_>>()?,
            throttles: throttles.collect::<Result<_>>()?,
            unified: self.unified.clone().into_iter().collect(),
            ..Limits::default()
        })
    }
}
