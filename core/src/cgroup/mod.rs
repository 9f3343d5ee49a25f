//! Control groups of containers: limits, device rules, and the killing of what is left.
//!
//! One [`Manager`] for version 1 (also of hybrid hosts, whose controllers are all version 1's) and one for version 2. Containers get cgroups
//! `coble/<store>/<container>`, at the top of the hierarchy as far as this process sees it, or below its own cgroup where
//! the top is not its to write. The engine prepares them; the container's processes are made in the version 2 cgroup, and join those of version 1. Nothing here moves the host program.

mod detect;
mod device_program;
mod devices;
mod freeze;
mod limits;
mod tree;
mod usage;
mod v1;
mod v2;

use std::fmt::Debug;
use std::fs;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use coble_protocol::CgroupView;

use crate::container::{LimitInfo, Warning};
use crate::error::{Error, ErrorKind, Result};
use detect::Layout;
pub(crate) use limits::{Limits, Rate, Throttle};
pub(crate) use usage::Usage;

/// The cgroup that all of ours are in.
const PARENT: &str = "coble";

/// What a container got.
#[derive(Debug)]
pub(crate) struct Created {
    /// `cgroup.procs` of each of its version 1 cgroups, open for writing.
    pub(crate) procs: Vec<OwnedFd>,
    /// The directory of its version 2 cgroup, for processes to be made in. That costs next to nothing, while moving a
    /// process by `cgroup.procs` can cost ten milliseconds, since the kernel waits for all forks and exits of the machine.
    pub(crate) home: Option<OwnedFd>,
    /// How cgroups may be shown inside.
    pub(crate) view: CgroupView,
    /// The limits that were asked for, with what the kernel says is in force.
    pub(crate) limits: Vec<LimitInfo>,
    /// A warning for each limit that is not in force, and for device rules.
    pub(crate) warnings: Vec<Warning>,
    /// Whether the kernel enforces the default device rules.
    pub(crate) devices_enforced: bool,
}

/// What an update did to a container that runs.
#[derive(Debug, Default)]
pub(crate) struct Updated {
    /// The limits, with what is in force now.
    pub(crate) limits: Vec<LimitInfo>,
    /// What could not be had besides.
    pub(crate) warnings: Vec<Warning>,
    /// `cgroup.procs` of cgroups that had to be made, which the container's processes are not in yet.
    pub(crate) procs: Vec<OwnedFd>,
    undo: limits::Undo,
    made: Vec<PathBuf>,
}

impl Updated {
    /// Puts everything back in force that was before.
    pub(crate) fn take_back(self) {
        limits::take_back(self.undo);
    }
}

/// Whether processes were stopped, or why they cannot be.
type Frozen = std::result::Result<(), Problem>;

/// The cgroups of the containers of one store.
trait Manager: Debug + Send + Sync {
    /// `v1`, `hybrid`, `v2` or `none`.
    fn version(&self) -> &'static str;
    /// See [`Cgroups::create`].
    fn create(&self, id: &str, limits: &Limits, device_rules: bool) -> Result<Created>;
    /// See [`Cgroups::remove`].
    fn remove(&self, id: &str) -> Result<()>;
    /// See [`Cgroups::leftovers`].
    fn leftovers(&self) -> Vec<String>;
    /// See [`Cgroups::oom_killed`].
    fn oom_killed(&self, id: &str) -> Option<bool>;
    /// Puts limits in force for a container that runs: all of them, or none.
    fn update(&self, id: &str, limits: &Limits) -> Result<Updated>;
    /// Moves the container's processes into cgroups that were made for an update.
    fn adopt(&self, id: &str, leaves: &[PathBuf]) -> Result<()>;
    /// See [`Cgroups::is_frozen`].
    fn is_frozen(&self, id: &str) -> bool;
    /// Stops all processes of a container.
    fn freeze(&self, id: &str) -> Result<Frozen>;
    /// See [`Cgroups::thaw`].
    fn thaw(&self, id: &str) -> Result<()>;
    /// See [`Cgroups::usage`].
    fn usage(&self, id: &str) -> Usage;
    /// See [`Cgroups::members`].
    fn members(&self, id: &str) -> Option<Vec<i32>>;
    /// The version 2 cgroup of a container, if there can be one.
    fn unified(&self, id: &str) -> Option<PathBuf>;
}

/// The cgroups of the containers of one store, whatever the host has.
#[derive(Debug)]
pub(crate) struct Cgroups {
    manager: Box<dyn Manager>,
}

impl Cgroups {
    /// Looks at the host. `store_key` names the store among those of the host: `[A-Za-z0-9_.-]+`.
    pub(crate) fn detect(rootless: bool, store_key: &str) -> Cgroups {
        let mountinfo = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let membership = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        Cgroups::of(&Layout::parse(&mountinfo, &membership), rootless, store_key)
    }

    fn of(layout: &Layout, rootless: bool, store_key: &str) -> Cgroups {
        // A store key that is no name would be a path: then there are no cgroups rather than cgroups elsewhere.
        let manager: Box<dyn Manager> = match (&layout.v2, layout.v1.is_empty()) {
            _ if !is_name(store_key) => Box::new(v1::V1::new(&Layout::default(), store_key, rootless)),
            (Some(unified), true) => Box::new(v2::V2::new(unified, store_key, rootless)),
            _ => Box::new(v1::V1::new(layout, store_key, rootless)),
        };
        Cgroups { manager }
    }

    /// `v1`, `hybrid`, `v2` or `none`.
    pub(crate) fn version(&self) -> &'static str {
        self.manager.version()
    }

    /// Makes the cgroups of a container, with its limits, and with the default device rules if asked for. What the host does not
    /// allow is a warning; an error is what would be one at any time, such as a host without memory. An old cgroup of the same
    /// container is removed first, with everything in it.
    pub(crate) fn create(&self, id: &str, limits: &Limits, device_rules: bool) -> Result<Created> {
        check(id)?;
        self.manager.create(id, limits, device_rules)
    }

    /// Kills every process in the cgroups of a container and removes them. Missing ones are fine. Then removes the
    /// parents, if nothing is left in them.
    pub(crate) fn remove(&self, id: &str) -> Result<()> {
        check(id)?;
        self.manager.remove(id)
    }

    /// The containers of the store that have a cgroup.
    pub(crate) fn leftovers(&self) -> Vec<String> {
        self.manager.leftovers()
    }

    /// Whether a process of the container was killed for want of memory. None where nobody counts.
    pub(crate) fn oom_killed(&self, id: &str) -> Option<bool> {
        if is_name(id) { self.manager.oom_killed(id) } else { None }
    }
}

impl Cgroups {
    /// What stops the processes of a container: `cgroup.freeze`, open for writing, and `cgroup.events`. None if it has no cgroup that can be frozen.
    pub(crate) fn freezer(&self, id: &str) -> Option<(OwnedFd, OwnedFd)> {
        let cgroup = self.manager.unified(id).filter(|_| is_name(id))?;
        let open = |name: &str, write: bool| {
            fs::File::options().read(!write).write(write).open(cgroup.join(name)).ok().map(OwnedFd::from)
        };
        Some((open("cgroup.freeze", true)?, open("cgroup.events", false)?))
    }
}

impl Cgroups {
    /// Whether the processes of a container are stopped.
    pub(crate) fn is_frozen(&self, id: &str) -> bool {
        is_name(id) && self.manager.is_frozen(id)
    }

    /// Stops all processes of a container. When it returns they do nothing any more. Fails with `Unsupported` where there is no freezer for it.
    pub(crate) fn freeze(&self, id: &str) -> Result<()> {
        check(id)?;
        self.manager.freeze(id)?.map_err(|problem| {
            Error::new(ErrorKind::Unsupported, format!("it cannot be paused: {}", problem.cause))
                .with_hint(problem.fix)
        })
    }

    /// Lets the processes of a container go on. That they are not stopped, or gone, is fine.
    pub(crate) fn thaw(&self, id: &str) -> Result<()> {
        check(id)?;
        self.manager.thaw(id)
    }

    /// What the kernel has counted of a container.
    pub(crate) fn usage(&self, id: &str) -> Usage {
        if is_name(id) { self.manager.usage(id) } else { Usage::default() }
    }

    /// The processes of a container, by their numbers in this process's pid namespace. None if it has no cgroup.
    pub(crate) fn members(&self, id: &str) -> Option<Vec<i32>> {
        if is_name(id) { self.manager.members(id) } else { None }
    }

    /// Puts limits in force for a container that runs: all of them, or none. `join` makes what is started in it later be in the cgroups, too, that had
    /// to be made for that.
    pub(crate) fn update(
        &self,
        id: &str,
        limits: &Limits,
        join: impl FnOnce(&[OwnedFd]) -> Result<()>,
    ) -> Result<Updated> {
        check(id)?;
        let mut updated = self.manager.update(id, limits)?;
        if updated.made.is_empty() {
            return Ok(updated);
        }
        let joined = join(&updated.procs).and_then(|()| self.manager.adopt(id, &updated.made));
        if let Err(error) = joined {
            // The cgroups stay, since some may be in them: without a limit they are as good as none.
            limits::take_back(std::mem::take(&mut updated.undo));
            return Err(error);
        }
        Ok(updated)
    }
}

/// What the doctor says about a controller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Controller {
    /// `memory`, `cpu`, `pids` or `devices`.
    pub(crate) name: &'static str,
    /// Why containers cannot have it, and the way out.
    pub(crate) problem: Option<Problem>,
}

/// A cause and a way out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Problem {
    /// The cause.
    pub(crate) cause: String,
    /// The way out.
    pub(crate) fix: String,
}

impl Problem {
    fn new(cause: impl Into<String>, fix: impl Into<String>) -> Problem {
        Problem { cause: cause.into(), fix: fix.into() }
    }

    /// The error that a limit cannot be changed because of this.
    fn refusal(self, option: &str) -> Error {
        Error::new(ErrorKind::Unsupported, format!("{option} cannot be put in force: {}", self.cause))
            .with_object(option)
            .with_hint(self.fix)
    }

    /// The warning that something is missing because of this.
    fn warning(&self, code: &str, what: &str) -> Warning {
        Warning { code: code.into(), message: format!("{what}: {} ({})", self.cause, self.fix) }
    }
}

/// The version and the controllers of this host, without making anything.
pub(crate) fn survey(rootless: bool) -> (&'static str, Vec<Controller>) {
    let mountinfo = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let membership = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let layout = Layout::parse(&mountinfo, &membership);
    match (&layout.v2, layout.v1.is_empty()) {
        (Some(unified), true) => ("v2", v2::V2::new(unified, "doctor", rootless).controllers()),
        _ => {
            let manager = v1::V1::new(&layout, "doctor", rootless);
            (manager.version(), manager.controllers())
        }
    }
}

/// Whether the text is one component of a path.
fn is_name(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= 128
        && !text.starts_with('.')
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-'))
}

fn check(id: &str) -> Result<()> {
    if is_name(id) {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::InvalidArgument,
        format!("\"{}\" is not the id of a container", id.escape_debug()),
    ))
}

#[cfg(test)]
mod tests;
