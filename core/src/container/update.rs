//! Changing the limits of a container.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use coble_protocol::{Request, Response};

use super::monitor::{Monitor, stopped};
use super::take::Held;
use super::{Container, ContainerSpec, LimitInfo, UpdateOptions, Warning, validate};
use crate::cancel::CancelToken;
use crate::cgroup::Limits;
use crate::engine::Inner;
use crate::error::{Context, Error, ErrorKind, Result};
use crate::process::Deadline;
use crate::state::{ContainerRow, containers};

impl Container {
    /// Changes limits, of a container in any state. While it runs they are in force when this returns, or all are as they were: a limit that the host cannot
    /// give fails with [`ErrorKind::Unsupported`] and its name. One that does not run has them from its next start. Returns what is worth knowing besides.
    pub fn update(&self, options: &UpdateOptions) -> Result<Vec<Warning>> {
        let inner = &*self.engine.inner()?;
        let doing = || format!("updating \"{}\"", self.name());
        let held = self.hold(inner, &CancelToken::never()).context(doing)?;
        let row = match &held {
            Held::Stopped { row, .. } | Held::Running(row) => row,
        };
        let mut spec = row.spec()?;
        options.apply(&mut spec);
        validate::spec(&spec).context(doing)?;
        let mut run = None;
        let mut warnings = Vec::new();
        let mut limits = None;
        if let Held::Running(row) = &held {
            let changed = options.limits(&spec);
            let updated = self.change(inner, &changed).context(doing)?;
            warnings = updated.warnings.clone();
            run = Some(run_with(row, &updated.limits)?);
            limits = Some(updated);
        }
        let text = serde_json::to_string(&spec).map_err(|error| {
            Error::new(ErrorKind::Internal, format!("writing a container's options: {error}"))
        })?;
        let written = containers::set_spec(&inner.store.db, self.id(), &text, run.as_deref());
        if let (Err(_), Some(updated)) = (&written, limits) {
            // What is not on record must not be in force.
            updated.take_back();
        }
        written.context(doing).map(|()| warnings)
    }

    fn change(&self, inner: &Inner, limits: &Limits) -> Result<crate::cgroup::Updated> {
        inner.cgroups.update(self.id(), limits, |procs| {
            let monitor =
                Monitor::connect(inner, self.id(), self.name())?.ok_or_else(|| stopped(self.name()))?;
            let fds: Vec<BorrowedFd<'_>> = procs.iter().map(OwnedFd::as_fd).collect();
            let request = Request::Cgroups(u8::try_from(fds.len()).unwrap_or(u8::MAX));
            let deadline = Deadline::after(Some(Duration::from_secs(5)));
            let late = format!("the monitor of \"{}\" was told of more cgroups", self.name());
            match monitor.ask(&request, &fds, deadline, &CancelToken::never(), &late)? {
                Some((Response::Ok, _)) => Ok(()),
                Some(_) => Err(monitor.lost("an unexpected answer")),
                None => Err(monitor.stopped()),
            }
        })
    }
}

/// The record of a run with some limits changed.
fn run_with(row: &ContainerRow, limits: &[LimitInfo]) -> Result<String> {
    let mut row = row.clone();
    let mut run = row.run()?;
    if let Some(isolation) = &mut run.isolation {
        for limit in limits {
            match isolation.limits.iter_mut().find(|known| known.name == limit.name) {
                Some(known) => *known = limit.clone(),
                None => isolation.limits.push(limit.clone()),
            }
        }
    }
    row.set_run(&run)?;
    Ok(row.run.unwrap_or_default())
}

impl UpdateOptions {
    /// Sets what was given.
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
        // One is another word for the other two.
        if self.nano_cpus.is_some() && self.cpu_quota.is_none() && self.cpu_period.is_none() {
            (spec.cpu_quota, spec.cpu_period) = (None, None);
        } else if self.nano_cpus.is_none() && (self.cpu_quota.is_some() || self.cpu_period.is_some()) {
            spec.nano_cpus = None;
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
            pids: self.pids_limit,
            blkio_weight: self.blkio_weight,
            ..Limits::default()
        }
    }
}
