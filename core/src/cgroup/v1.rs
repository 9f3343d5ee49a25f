//! Version 1: one cgroup in each hierarchy that is needed. Also for hosts without cgroups, and for hybrid ones, whose version 2 hierarchy has no
//! controllers, but is the better place for device rules.

use std::collections::BTreeSet;
use std::fs::OpenOptions;
use std::io::Write;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use coble_protocol::CgroupView;

use super::detect::{CONTROLLERS, Layout, writable};
use super::device_program::DeviceProgram;
use super::limits::{Limit, PERIOD, nano_cpus, quota, sort, swap_warning};
use super::tree::{self, Tree};
use super::{Controller, Created, Limits, Manager, Problem, devices, v2};
use crate::container::Warning;
use crate::error::{Call, Result};
use crate::isolation::defaults::DEVICE_RULES;

/// What a device cgroup shows that allows everything.
const EVERYTHING: &str = "a *:* rwm";

#[derive(Debug)]
pub(super) struct V1 {
    version: &'static str,
    hierarchies: Vec<Place>,
    /// The version 2 hierarchy of a hybrid host, where containers can be in it.
    unified: Option<Tree>,
    program: DeviceProgram,
    rootless: bool,
}

/// A hierarchy, and where in it containers can be.
#[derive(Debug)]
struct Place {
    controllers: Vec<String>,
    tree: std::result::Result<Tree, Problem>,
}

impl V1 {
    pub(super) fn new(layout: &Layout, key: &str, rootless: bool) -> V1 {
        let version = match (layout.v1.is_empty(), &layout.v2) {
            (true, _) => "none",
            (false, None) => "v1",
            (false, Some(_)) => "hybrid",
        };
        let hierarchies = layout.v1.iter().map(|hierarchy| {
            let places = [Some(&hierarchy.top), hierarchy.own.as_ref()];
            let base = places.into_iter().flatten().find(|path| writable(path));
            let tree = base.map(|base| Tree::new(base.clone(), key)).ok_or_else(|| {
                Problem::new(
                    format!("no cgroup of version 1 is writable in \"{}\"", hierarchy.top.display()),
                    if rootless {
                        "boot with systemd.unified_cgroup_hierarchy=1 for cgroup version 2, which can be delegated to users"
                    } else {
                        "mount the cgroup file systems read-write for the caller"
                    },
                )
            });
            Place { controllers: hierarchy.controllers.clone(), tree }
        });
        let unified =
            layout.v2.as_ref().and_then(|unified| v2::base(unified).ok()).map(|base| Tree::new(base, key));
        let program = DeviceProgram::default();
        V1 { version, hierarchies: hierarchies.collect(), unified, program, rootless }
    }

    /// The tree of a controller.
    fn tree(&self, controller: &str) -> std::result::Result<&Tree, Problem> {
        let place =
            self.hierarchies.iter().find(|place| place.controllers.iter().any(|known| known == controller));
        match place {
            Some(place) => place.tree.as_ref().map_err(Clone::clone),
            None if self.version == "none" => {
                Err(Problem::new("no cgroup file system is mounted", "mount -t cgroup2 none /sys/fs/cgroup"))
            }
            None => Err(Problem::new(
                format!("the controller \"{controller}\" is not mounted"),
                format!(
                    "mkdir -p /sys/fs/cgroup/{controller} && mount -t cgroup -o {controller} none /sys/fs/cgroup/{controller}; \
                     where the kernel disables it, boot with cgroup_enable={controller}"
                ),
            )),
        }
    }

    /// For the doctor.
    pub(super) fn controllers(&self) -> Vec<Controller> {
        let names = CONTROLLERS.into_iter().filter(|name| !self.rootless || *name != "devices");
        names.map(|name| Controller { name, problem: self.tree(name).err() }).collect()
    }

    fn trees(&self) -> impl Iterator<Item = &Tree> {
        self.hierarchies.iter().filter_map(|place| place.tree.as_ref().ok()).chain(&self.unified)
    }
}

impl Manager for V1 {
    fn version(&self) -> &'static str {
        self.version
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
        let mut result = Ok(());
        for tree in self.trees() {
            let removed = tree.remove(id).call("rmdir", tree.leaf(id));
            result = result.and(removed);
        }
        result
    }

    fn leftovers(&self) -> Vec<String> {
        let mut found = BTreeSet::new();
        for tree in self.trees() {
            let children = tree.children();
            if children.is_empty() {
                tree.prune();
            }
            found.extend(children);
        }
        found.into_iter().collect()
    }

    fn unified(&self, id: &str) -> Option<PathBuf> {
        self.unified.as_ref().map(|tree| tree.leaf(id))
    }

    fn oom_killed(&self, id: &str) -> Option<bool> {
        let control = tree::read(&self.tree("memory").ok()?.leaf(id).join("memory.oom_control")).ok()?;
        let killed = control.lines().find_map(|line| line.strip_prefix("oom_kill "))?;
        Some(killed.trim() != "0")
    }
}

impl V1 {
    fn fill(&self, created: &mut Created, id: &str, limits: &Limits, device_rules: bool) -> Result<()> {
        // Controllers that share a hierarchy share the cgroup.
        let mut made = Vec::new();
        let mut cgroup =
            |created: &mut Created, controller: &str| -> Result<std::result::Result<_, Problem>> {
                let tree = match self.tree(controller) {
                    Ok(tree) => tree,
                    Err(problem) => return Ok(Err(problem)),
                };
                let leaf = tree.leaf(id);
                if !made.contains(&leaf) {
                    if let Err(error) = tree.make(id) {
                        return sort("mkdir", &leaf, &error).map(Err);
                    }
                    created.procs.push(tree::open_procs(&leaf).call("open", leaf.join("cgroup.procs"))?);
                    made.push(leaf.clone());
                }
                Ok(Ok(leaf))
            };
        if device_rules {
            let mut problem = self.restrict_unified(created, id)?;
            if problem.is_some() {
                problem = match cgroup(created, "devices")? {
                    Ok(leaf) => restrict(&leaf)?,
                    Err(problem) => Some(problem),
                };
            }
            created.devices_enforced = problem.is_none();
            created.warnings.extend(problem.map(|problem| {
                problem.warning(
                    "device-rules-not-applied",
                    "nothing restricts which devices the container may open",
                )
            }));
        }
        for (limit, value) in limits.requested() {
            let applied = match cgroup(created, limit.controller())? {
                Ok(leaf) => apply(limit, value, &leaf, &mut created.warnings)?,
                Err(problem) => Err(problem),
            };
            created.limits.push(limit.info(value, applied.as_ref().ok().copied()));
            created.warnings.extend(applied.err().map(|problem| limit.warning(&problem)));
        }
        Ok(())
    }

    /// Makes a cgroup in the version 2 hierarchy of a hybrid host and puts the device rules in force there. None if they are.
    fn restrict_unified(&self, created: &mut Created, id: &str) -> Result<Option<Problem>> {
        let Some(tree) = &self.unified else {
            return Ok(Some(Problem::new(
                "there is no version 2 hierarchy",
                "mount -t cgroup2 none /sys/fs/cgroup/unified",
            )));
        };
        let leaf = match tree.make(id) {
            Ok(leaf) => leaf,
            Err(error) => return sort("mkdir", &tree.leaf(id), &error).map(Some),
        };
        let home = tree::open(&leaf).call("open", &leaf)?;
        let problem = self.program.attach(home.as_fd(), &leaf)?;
        created.home = Some(home);
        Ok(problem)
    }
}

/// Sets the device rules, and reads them back: nothing but them may be allowed. None if they are in force.
fn restrict(leaf: &Path) -> Result<Option<Problem>> {
    let rules = devices::lines(DEVICE_RULES);
    let deny = leaf.join("devices.deny");
    if let Err(error) = tree::write(&deny, "a") {
        return sort("write", &deny, &error).map(Some);
    }
    let allow = leaf.join("devices.allow");
    let mut file = OpenOptions::new().write(true).open(&allow).call("open", &allow)?;
    for rule in &rules {
        // A cgroup above that does not allow it refuses: then the container has less, which is not for us to change.
        match file.write_all(rule.as_bytes()) {
            Err(error) if error.raw_os_error() == Some(libc::EPERM) => {}
            result => result.call("write", &allow)?,
        }
    }
    let list = leaf.join("devices.list");
    let in_force = tree::read(&list).call("read", &list)?;
    let beyond = in_force.lines().find(|line| *line == EVERYTHING || !rules.iter().any(|rule| rule == line));
    Ok(beyond.map(|line| {
        Problem::new(
            format!("\"{}\" still allows \"{line}\"", list.display()),
            "use a kernel with a working device cgroup",
        )
    }))
}

/// Sets a limit and reads back what is in force.
fn apply(
    limit: Limit,
    value: u64,
    leaf: &Path,
    warnings: &mut Vec<Warning>,
) -> Result<std::result::Result<u64, Problem>> {
    let set = |name: &str, text: String| tree::write(&leaf.join(name), &text);
    let file = match limit {
        Limit::Memory => "memory.limit_in_bytes",
        Limit::Cpu => "cpu.cfs_quota_us",
        Limit::Pids => "pids.max",
    };
    let written = match limit {
        Limit::Memory => set(file, value.to_string()),
        Limit::Cpu => {
            set("cpu.cfs_period_us", PERIOD.to_string()).and_then(|()| set(file, quota(value).to_string()))
        }
        Limit::Pids => set(file, value.to_string()),
    };
    if let Err(error) = written {
        return sort("write", &leaf.join(file), &error).map(Err);
    }
    if limit == Limit::Memory {
        // The limit of memory and swap together.
        let both = value.saturating_mul(2).min(i64::MAX as u64);
        if let Err(error) = set("memory.memsw.limit_in_bytes", both.to_string()) {
            warnings.extend(swap_warning(&error));
        }
    }
    let number = |name: &str| {
        let path = leaf.join(name);
        let text = tree::read(&path).call("read", &path)?;
        Ok::<_, crate::error::Error>(text.trim().parse::<u64>().ok())
    };
    let in_force = match limit {
        Limit::Cpu => number(file)?.zip(number("cpu.cfs_period_us")?).and_then(|(q, p)| nano_cpus(q, p)),
        Limit::Memory | Limit::Pids => number(file)?,
    };
    Ok(in_force.ok_or_else(|| {
        Problem::new(
            format!("\"{}\" shows no limit after one was set", leaf.join(file).display()),
            "report this as a defect",
        )
    }))
}
