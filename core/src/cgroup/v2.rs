//! Version 2: one cgroup for each container, controllers enabled on the way to it, device rules as a program.

use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use coble_protocol::CgroupView;

use super::detect::{CONTROLLERS, Hierarchy, writable};
use super::device_program::DeviceProgram;
use super::limits::{Limit, PERIOD, nano_cpus, quota, sort, swap_warning};
use super::tree::{self, Tree};
use super::{Controller, Created, Limits, Manager, Problem};
use crate::container::Warning;
use crate::error::{Call, Result};

#[derive(Debug)]
pub(super) struct V2 {
    top: PathBuf,
    tree: std::result::Result<Tree, Problem>,
    rootless: bool,
    program: DeviceProgram,
}

impl V2 {
    pub(super) fn new(unified: &Hierarchy, key: &str, rootless: bool) -> V2 {
        let tree = base(unified).map(|base| Tree::new(base, key));
        V2 { top: unified.top.clone(), tree, rootless, program: DeviceProgram::default() }
    }

    /// For the doctor.
    pub(super) fn controllers(&self) -> Vec<Controller> {
        let names = CONTROLLERS.into_iter().filter(|name| !self.rootless || *name != "devices");
        names.map(|name| Controller { name, problem: self.problem(name) }).collect()
    }

    /// What can be seen to be in the way of a controller, without changing anything.
    fn problem(&self, name: &str) -> Option<Problem> {
        match &self.tree {
            Err(problem) => Some(problem.clone()),
            // A program, not a controller.
            Ok(_) if name == "devices" => None,
            Ok(tree) => {
                let available = lists(&tree.base.join("cgroup.controllers"), name);
                if !available {
                    return Some(self.unavailable(tree, name));
                }
                let enabled = lists(&tree.base.join("cgroup.subtree_control"), name);
                // Only the root may have both processes and controllers.
                let crowded =
                    || tree.base.join("cgroup.type").exists() && !is_empty(&tree.base.join("cgroup.procs"));
                (!enabled && crowded())
                    .then(|| sort("enable", &tree.base, &io::Error::from_raw_os_error(libc::EBUSY)).ok())
                    .flatten()
            }
        }
    }

    /// A controller that is not in the base's `cgroup.controllers`.
    fn unavailable(&self, tree: &Tree, name: &str) -> Problem {
        if tree.base == self.top || !lists(&self.top.join("cgroup.controllers"), name) {
            return Problem::new(
                format!("the kernel has no controller \"{name}\" for cgroup version 2"),
                format!("boot with cgroup_enable={name}, or unmount version 1's"),
            );
        }
        Problem::new(
            format!("the controller \"{name}\" is not delegated to \"{}\"", tree.base.display()),
            "put \"[Service]\" and \"Delegate=cpu memory pids\" into /etc/systemd/system/user@.service.d/delegate.conf, then \
             systemctl daemon-reload and log in again",
        )
    }

    fn fill(&self, created: &mut Created, id: &str, limits: &Limits, device_rules: bool) -> Result<()> {
        let made = match &self.tree {
            Ok(tree) => match tree.make(id) {
                Ok(leaf) => Ok((tree, leaf)),
                Err(error) => Err(sort("mkdir", &tree.leaf(id), &error)?),
            },
            Err(problem) => Err(problem.clone()),
        };
        if let Ok((_, leaf)) = &made {
            created.home = Some(tree::open(leaf).call("open", leaf)?);
            created.view = CgroupView::V2;
        }
        if device_rules {
            let problem = match &made {
                Ok((_, leaf)) => match &created.home {
                    Some(home) => self.program.attach(home.as_fd(), leaf)?,
                    None => None,
                },
                Err(problem) => Some(problem.clone()),
            };
            created.devices_enforced = problem.is_none();
            created.warnings.extend(problem.map(|problem| {
                problem.warning(
                    "device-rules-not-applied",
                    "nothing restricts which devices the container may open",
                )
            }));
        }
        for (limit, value) in limits.requested() {
            let applied = match &made {
                Ok((tree, leaf)) => match self.enable(tree, limit.controller())? {
                    Some(problem) => Err(problem),
                    None => apply(limit, value, leaf, &mut created.warnings)?,
                },
                Err(problem) => Err(problem.clone()),
            };
            created.limits.push(limit.info(value, applied.as_ref().ok().copied()));
            created.warnings.extend(applied.err().map(|problem| limit.warning(&problem)));
        }
        Ok(())
    }

    /// Enables a controller from the base down. The container's cgroup is there already, so that nobody removes the parents. None if it
    /// is enabled.
    fn enable(&self, tree: &Tree, name: &str) -> Result<Option<Problem>> {
        if !lists(&tree.base.join("cgroup.controllers"), name) {
            return Ok(Some(self.unavailable(tree, name)));
        }
        for cgroup in [tree.base.clone()].iter().chain(&tree.parents()) {
            let control = cgroup.join("cgroup.subtree_control");
            if lists(&control, name) {
                continue;
            }
            if let Err(error) = tree::write(&control, &format!("+{name}")) {
                return sort("write", &control, &error).map(Some);
            }
        }
        Ok(None)
    }
}

impl Manager for V2 {
    fn version(&self) -> &'static str {
        "v2"
    }

    fn create(&self, id: &str, limits: &Limits, device_rules: bool) -> Result<Created> {
        let mut created = Created {
            procs: Vec::new(),
            home: None,
            view: CgroupView::Hidden,
            limits: Vec::new(),
            warnings: Vec::new(),
            devices_enforced: false,
        };
        let result = self.fill(&mut created, id, limits, device_rules);
        if result.is_err() {
            // The error is what counts; a sweep finds what this leaves.
            let _ = self.remove(id);
        }
        result.map(|()| created)
    }

    fn remove(&self, id: &str) -> Result<()> {
        match &self.tree {
            Ok(tree) => tree.remove(id).call("rmdir", tree.leaf(id)),
            Err(_) => Ok(()),
        }
    }

    fn leftovers(&self) -> Vec<String> {
        let Ok(tree) = &self.tree else { return Vec::new() };
        let children = tree.children();
        if children.is_empty() {
            tree.prune();
        }
        children
    }

    fn oom_killed(&self, id: &str) -> Option<bool> {
        let events = tree::read(&self.tree.as_ref().ok()?.leaf(id).join("memory.events")).ok()?;
        let killed = events.lines().find_map(|line| line.strip_prefix("oom_kill "))?;
        Some(killed.trim() != "0")
    }

    fn unified(&self, id: &str) -> Option<PathBuf> {
        self.tree.as_ref().ok().map(|tree| tree.leaf(id))
    }
}

/// The cgroup to make ours in: the top if it is this process's to write, or else the highest one above this process's own that is. Moving
/// a process needs the right to write to a cgroup above both its old and its new one, which is why no other place will do.
pub(super) fn base(unified: &Hierarchy) -> std::result::Result<PathBuf, Problem> {
    let delegated = |cgroup: &Path| {
        writable(cgroup)
            && writable(&cgroup.join("cgroup.procs"))
            && writable(&cgroup.join("cgroup.subtree_control"))
    };
    let Some(own) = &unified.own else {
        return Err(Problem::new(
            "the cgroup of the caller is not in the mounted hierarchy",
            "start the caller in a cgroup namespace of its own, with cgroup2 mounted in it",
        ));
    };
    if delegated(&unified.top) {
        return Ok(unified.top.clone());
    }
    let ours = own.ancestors().take_while(|cgroup| cgroup.starts_with(&unified.top) && delegated(cgroup));
    ours.last().map(Path::to_path_buf).ok_or_else(|| {
        Problem::new(
            format!("the cgroup \"{}\" is not delegated to the caller", own.display()),
            "start the caller with systemd-run --user --scope -p Delegate=yes",
        )
    })
}

/// Whether a file of words has this one. One that cannot be read has none.
fn lists(path: &Path, word: &str) -> bool {
    tree::read(path).is_ok_and(|text| text.split_whitespace().any(|known| known == word))
}

fn is_empty(path: &Path) -> bool {
    tree::read(path).is_ok_and(|text| text.trim().is_empty())
}

/// Sets a limit and reads back what is in force.
fn apply(
    limit: Limit,
    value: u64,
    leaf: &Path,
    warnings: &mut Vec<Warning>,
) -> Result<std::result::Result<u64, Problem>> {
    let (file, text) = match limit {
        Limit::Memory => ("memory.max", value.to_string()),
        Limit::Cpu => ("cpu.max", format!("{} {PERIOD}", quota(value))),
        Limit::Pids => ("pids.max", value.to_string()),
    };
    let path = leaf.join(file);
    if let Err(error) = tree::write(&path, &text) {
        return sort("write", &path, &error).map(Err);
    }
    if limit == Limit::Memory {
        // Docker's default: as much swap as memory.
        if let Err(error) = tree::write(&leaf.join("memory.swap.max"), &value.to_string()) {
            warnings.extend(swap_warning(&error));
        }
    }
    let in_force = tree::read(&path).call("read", &path)?;
    let mut numbers = in_force.split_whitespace().map(|word| word.parse::<u64>().ok());
    let first = numbers.next().flatten();
    let applied = match limit {
        Limit::Cpu => {
            first.zip(numbers.next().flatten()).and_then(|(quota, period)| nano_cpus(quota, period))
        }
        Limit::Memory | Limit::Pids => first,
    };
    Ok(applied.ok_or_else(|| {
        Problem::new(
            format!("\"{}\" shows no limit after one was set", path.display()),
            "report this as a defect",
        )
    }))
}
