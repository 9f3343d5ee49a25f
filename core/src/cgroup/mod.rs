//! Control groups of containers: limits, device rules, and the killing of what is left.
//!
//! One [`Manager`] for version 1 (also of hybrid hosts, whose controllers are all version 1's) and one for version 2. Containers get cgroups
//! `coble/<store>/<container>`, at the top of the hierarchy as far as this process sees it, or below its own cgroup where
//! the top is not its to write. The engine prepares them; the container's processes are made in the version 2 cgroup, and join those of version 1. Nothing here moves the host program.

mod detect;
mod device_program;
mod devices;
mod limits;
mod tree;
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

/// The cgroup that all of ours are in.
const PARENT: &str = "coble";

/// Limits of a container; None: no limit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Limits {
    /// Bytes of memory. As much swap may be used on top, as docker has it.
    pub(crate) memory: Option<u64>,
    /// Billionths of a CPU, at least 10,000,000.
    pub(crate) nano_cpus: Option<u64>,
    /// Processes and threads.
    pub(crate) pids: Option<u64>,
}

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
