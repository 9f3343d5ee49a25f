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
mod places;
mod tree;
mod usage;
mod v1;
mod v2;

use std::fmt::Debug;
use std::fs;
use std::ops::Deref;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use coble_protocol::CgroupView;

use crate::container::{LimitInfo, Warning};
use crate::error::{Call, Error, ErrorKind, Result};
use crate::isolation::defaults::DeviceRule;
use detect::Layout;
pub(crate) use limits::{DeviceWeight, Limits, Rate, Throttle};
use places::Places;
pub(crate) use places::check_parent;
pub(crate) use usage::Usage;

/// What the names of all of ours begin with, before those of the store and of the container.
const PREFIX: &str = "coble";

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
    /// Whether the kernel enforces the device rules.
    pub(crate) devices_enforced: bool,
}

/// What an update did to a container that runs.
#[derive(Debug, Default)]
pub(crate) struct Updated {
    /// The limits, with what is in force now.
    pub(crate) limits: Vec<LimitInfo>,
    /// What could not be had besides.
    pub(crate) warnings: Vec<Warning>,
    undo: limits::Undo,
}

/// Cgroups that had to be made for a container that runs, and that its processes are not in yet.
#[derive(Debug, Default)]
struct Additions {
    leaves: Vec<PathBuf>,
    /// `cgroup.procs` of each, open for writing.
    procs: Vec<OwnedFd>,
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
    /// The same, for containers in another cgroup than that of the store, relative to where the engine may make any.
    fn below(&self, parent: &Path) -> Box<dyn Manager>;
    /// Why there is no place at all for cgroups, if there is none.
    fn place(&self) -> Option<Problem>;
    /// See [`Cgroups::create`].
    fn create(&self, id: &str, home: bool, limits: &Limits, rules: Option<&[DeviceRule]>) -> Result<Created>;
    /// See [`Cgroups::remove`].
    fn remove(&self, id: &str) -> Result<()>;
    /// See [`Cgroups::leftovers`].
    fn leftovers(&self) -> Vec<String>;
    /// Where the kernel counts [`coble_protocol::oom_kills`] of a container.
    fn oom_file(&self, id: &str) -> Option<PathBuf>;
    /// Puts limits in force for a container that runs, and notes in `undo` what was there before, and in `additions` the cgroups that it made, also when it fails.
    fn update(
        &self,
        id: &str,
        limits: &Limits,
        undo: &mut limits::Undo,
        additions: &mut Additions,
    ) -> Result<Updated>;
    /// Makes the cgroup that processes are stopped in, if the container has none.
    fn prepare_freeze(&self, _id: &str, _additions: &mut Additions) -> Result<Frozen> {
        Ok(Ok(()))
    }
    /// Moves the container's processes into more cgroups.
    fn adopt(&self, _id: &str, _leaves: &[PathBuf]) -> Result<()> {
        Ok(())
    }
    /// Removes cgroups that nothing came of.
    fn discard(&self, _leaves: &[PathBuf]) {}
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
    /// Which containers are not where the store has its others.
    places: Places,
}

impl Cgroups {
    /// Looks at the host. `store_key` names the store among those of the host: `[A-Za-z0-9_.-]+`.
    pub(crate) fn detect(rootless: bool, store_key: &str, run_root: &Path) -> Cgroups {
        let mountinfo = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let membership = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        Cgroups::of(&Layout::parse(&mountinfo, &membership), rootless, store_key, run_root)
    }

    fn of(layout: &Layout, rootless: bool, store_key: &str, run_root: &Path) -> Cgroups {
        // A store key that is no name would be a path: then there are no cgroups rather than cgroups elsewhere.
        let manager: Box<dyn Manager> = match (&layout.v2, layout.v1.is_empty()) {
            _ if !is_name(store_key) => Box::new(v1::V1::new(&Layout::default(), store_key, rootless)),
            (Some(unified), true) => Box::new(v2::V2::new(unified, store_key, rootless)),
            _ => Box::new(v1::V1::new(layout, store_key, rootless)),
        };
        Cgroups { manager, places: Places::new(run_root) }
    }

    /// The manager of a container's cgroups.
    fn of_container(&self, id: &str) -> Managed<'_> {
        match self.places.of(id) {
            Some(parent) => Managed::Elsewhere(self.manager.below(&parent)),
            None => Managed::Usual(&*self.manager),
        }
    }

    /// `v1`, `hybrid`, `v2` or `none`.
    pub(crate) fn version(&self) -> &'static str {
        self.manager.version()
    }

    /// Makes the cgroups of a container, in one that was chosen if `parent` is given, and one of version 2 with `home` if that can be had at all, with its limits, and with device rules if there are any: what none of them allows is refused. What the host does not
    /// allow is a warning; an error is what would be one at any time, such as a host without memory. An old cgroup of the same
    /// container is removed first, with everything in it.
    pub(crate) fn create(
        &self,
        id: &str,
        parent: Option<&str>,
        home: bool,
        limits: &Limits,
        rules: Option<&[DeviceRule]>,
    ) -> Result<Created> {
        check(id)?;
        let Some(parent) = parent else { return self.manager.create(id, home, limits, rules) };
        if let Some(problem) = self.manager.place() {
            return Err(problem.refusal("cgroup_parent"));
        }
        // Before there is one: whoever finds it after a crash has to know where.
        self.places.set(id, parent)?;
        self.of_container(id).create(id, home, limits, rules)
    }

    /// Kills every process in the cgroups of a container and removes them. Missing ones are fine. Then removes the
    /// parents, if nothing is left in them.
    pub(crate) fn remove(&self, id: &str) -> Result<()> {
        check(id)?;
        self.of_container(id).remove(id)?;
        self.places.forget(id)
    }

    /// The containers of the store that have a cgroup.
    pub(crate) fn leftovers(&self) -> Vec<String> {
        let mut found = self.manager.leftovers();
        found.extend(self.places.all());
        found
    }

    /// How many processes of the container were killed for want of memory. None where nobody counts.
    pub(crate) fn oom_kills(&self, id: &str) -> Option<u64> {
        let file = self.of_container(id).oom_file(id).filter(|_| is_name(id))?;
        coble_protocol::oom_kills(tree::read(&file).ok()?.as_bytes())
    }

    /// Where they are counted, open for reading, and with version 1 an event of which the kernel tells before it kills one. Where there is no such event, nobody hears of it before somebody looks.
    pub(crate) fn oom_counter(&self, id: &str) -> Option<(OwnedFd, Option<OwnedFd>)> {
        let file = self.of_container(id).oom_file(id).filter(|_| is_name(id))?;
        let counter = OwnedFd::from(fs::File::open(&file).ok()?);
        let first = file.file_name().is_some_and(|name| name == "memory.oom_control");
        let event = first.then(|| tree::event(&file, &counter).ok()).flatten();
        Some((counter, event))
    }
}

impl Cgroups {
    /// What stops the processes of a container: `cgroup.freeze`, open for writing, and `cgroup.events`. None if it has no cgroup that can be frozen.
    pub(crate) fn freezer(&self, id: &str) -> Option<(OwnedFd, OwnedFd)> {
        let cgroup = self.of_container(id).unified(id).filter(|_| is_name(id))?;
        let open = |name: &str, write: bool| {
            fs::File::options().read(!write).write(write).open(cgroup.join(name)).ok().map(OwnedFd::from)
        };
        Some((open("cgroup.freeze", true)?, open("cgroup.events", false)?))
    }
}

impl Cgroups {
    /// Whether the processes of a container are stopped.
    pub(crate) fn is_frozen(&self, id: &str) -> bool {
        is_name(id) && self.of_container(id).is_frozen(id)
    }

    /// Stops all processes of a container. When it returns they do nothing any more. Fails with `Unsupported` where there is no freezer for it. `join` is as in
    /// [`Cgroups::update`], and so is what the caller sees to.
    pub(crate) fn freeze(&self, id: &str, join: impl FnOnce(&[OwnedFd]) -> Result<()>) -> Result<()> {
        check(id)?;
        let mut additions = Additions::default();
        let frozen =
            self.of_container(id).prepare_freeze(id, &mut additions).and_then(|prepared| match prepared {
                Ok(()) => self.add(id, &additions, join).and_then(|()| self.of_container(id).freeze(id)),
                problem => Ok(problem),
            });
        if !matches!(frozen, Ok(Ok(()))) {
            self.of_container(id).discard(&additions.leaves);
        }
        frozen?.map_err(|problem| {
            Error::new(ErrorKind::Unsupported, format!("it cannot be paused: {}", problem.cause))
                .with_hint(problem.fix)
        })
    }

    /// Lets the processes of a container go on. That they are not stopped, or gone, is fine.
    pub(crate) fn thaw(&self, id: &str) -> Result<()> {
        check(id)?;
        self.of_container(id).thaw(id)
    }

    /// What the kernel has counted of a container.
    pub(crate) fn usage(&self, id: &str) -> Usage {
        if is_name(id) { self.of_container(id).usage(id) } else { Usage::default() }
    }

    /// The processes of a container, by their numbers in this process's pid namespace. None if it has no cgroup.
    pub(crate) fn members(&self, id: &str) -> Option<Vec<i32>> {
        if is_name(id) { self.of_container(id).members(id) } else { None }
    }

    /// Puts limits in force for a container that runs: all of them, or none. `join` makes what is started in it later be in the cgroups, too, that had
    /// to be made for that. The caller sees to it that nobody else does this for the container at the same time, or stops it.
    pub(crate) fn update(
        &self,
        id: &str,
        limits: &Limits,
        join: impl FnOnce(&[OwnedFd]) -> Result<()>,
    ) -> Result<Updated> {
        check(id)?;
        let (mut undo, mut additions) = (limits::Undo::new(), Additions::default());
        let updated = self.of_container(id).update(id, limits, &mut undo, &mut additions);
        match updated.and_then(|updated| self.add(id, &additions, join).map(|()| updated)) {
            Ok(updated) => Ok(Updated { undo, ..updated }),
            Err(error) => {
                limits::take_back(undo);
                self.of_container(id).discard(&additions.leaves);
                Err(error)
            }
        }
    }

    /// Makes everything of a container be in more cgroups: what is started later first, so that nothing comes between.
    fn add(
        &self,
        id: &str,
        additions: &Additions,
        join: impl FnOnce(&[OwnedFd]) -> Result<()>,
    ) -> Result<()> {
        if additions.leaves.is_empty() {
            return Ok(());
        }
        join(&additions.procs)?;
        self.of_container(id).adopt(id, &additions.leaves)?;
        additions.leaves.iter().try_for_each(|leaf| tree::complete(leaf).call("chmod", leaf))
    }
}

/// The manager of one container's cgroups.
enum Managed<'a> {
    Usual(&'a (dyn Manager + 'static)),
    Elsewhere(Box<dyn Manager>),
}

impl Deref for Managed<'_> {
    type Target = dyn Manager + 'static;

    fn deref(&self) -> &(dyn Manager + 'static) {
        match self {
            Managed::Usual(manager) => *manager,
            Managed::Elsewhere(manager) => &**manager,
        }
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
