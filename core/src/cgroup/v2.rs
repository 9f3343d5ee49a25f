//! Version 2: one cgroup for each container, controllers enabled on the way to it, device rules as a program.

use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use coble_protocol::CgroupView;

use super::detect::{CONTROLLERS, Hierarchy, writable};
use super::device_program::DeviceProgram;
use super::limits::{
    DeviceWeight, Limit, PERIOD, Recipe, Shown, UNLIMITED, Undo, apply, nano_cpus, quota, short, sort,
    swap_warning, weight_of_blkio, weight_of_shares,
};
use super::tree::{self, Tree};
use super::{
    Additions, Controller, Created, Frozen, Limits, Manager, Problem, Updated, Usage, freeze, usage,
};
use crate::container::Warning;
use crate::error::{Call, Result};
use crate::isolation::defaults::DeviceRule;

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

    /// The same, for containers in another cgroup than that of the store.
    pub(super) fn below(&self, parent: &Path) -> V2 {
        V2 {
            top: self.top.clone(),
            tree: self.tree.as_ref().map(|tree| tree.below(parent)).map_err(Clone::clone),
            rootless: self.rootless,
            program: DeviceProgram::default(),
        }
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
            "put \"[Service]\" and \"Delegate=cpu cpuset io memory pids\" into /etc/systemd/system/user@.service.d/delegate.conf, then \
             systemctl daemon-reload and log in again",
        )
    }

    fn fill(
        &self,
        created: &mut Created,
        id: &str,
        limits: &Limits,
        rules: Option<&[DeviceRule]>,
    ) -> Result<()> {
        let made = match &self.tree {
            Ok(tree) => match tree.make(id) {
                Ok(leaf) => Ok((tree, leaf)),
                Err(error) => Err(sort("mkdir", &tree.leaf(id), &error)?),
            },
            Err(problem) => Err(problem.clone()),
        };
        if let (Err(problem), Ok(tree)) = (&made, &self.tree)
            && tree.is_chosen()
        {
            return Err(problem.clone().refusal("cgroup_parent"));
        }
        if let Ok((_, leaf)) = &made {
            created.home = Some(tree::open(leaf).call("open", leaf)?);
            created.view = CgroupView::V2;
        }
        if let Some(rules) = rules {
            let problem = match &made {
                Ok((_, leaf)) => match &created.home {
                    Some(home) => self.program.attach(rules, home.as_fd(), leaf)?,
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
        for limit in limits.requested() {
            let applied = match &made {
                Ok((tree, leaf)) => match self.enable(tree, limit.controller())? {
                    Some(problem) => Err(problem),
                    None => set(&limit, limits, leaf, None, &mut created.warnings)?,
                },
                Err(problem) => Err(problem.clone()),
            };
            created.limits.push(limit.info(applied.as_ref().ok().cloned()));
            created.warnings.extend(applied.err().map(|problem| limit.warning(&problem)));
        }
        Ok(())
    }

    /// Sets limits of a container that runs, and notes what was there before.
    fn change(&self, id: &str, limits: &Limits, undo: &mut Undo) -> Result<Updated> {
        let mut updated = Updated::default();
        for limit in limits.requested() {
            let refusal = |problem: Problem| problem.refusal(&limit.option());
            let tree = self.tree.as_ref().map_err(|problem| refusal(problem.clone()))?;
            let leaf = tree.leaf(id);
            if !leaf.is_dir() {
                return Err(refusal(Problem::new("the container has no cgroup", "start it again")));
            }
            if let Some(problem) = self.enable(tree, limit.controller())? {
                return Err(refusal(problem));
            }
            let applied = set(&limit, limits, &leaf, Some(undo), &mut updated.warnings)?.map_err(refusal)?;
            updated.limits.push(limit.info(Some(applied)));
        }
        Ok(updated)
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

    fn below(&self, parent: &Path) -> Box<dyn Manager> {
        Box::new(V2::below(self, parent))
    }

    fn place(&self) -> Option<Problem> {
        self.tree.as_ref().err().cloned()
    }

    fn create(
        &self,
        id: &str,
        _home: bool,
        limits: &Limits,
        rules: Option<&[DeviceRule]>,
    ) -> Result<Created> {
        let mut created = Created {
            procs: Vec::new(),
            home: None,
            view: CgroupView::Hidden,
            limits: Vec::new(),
            warnings: Vec::new(),
            devices_enforced: false,
        };
        let result = self.fill(&mut created, id, limits, rules);
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
        tree.children()
    }

    fn oom_file(&self, id: &str) -> Option<PathBuf> {
        Some(self.tree.as_ref().ok()?.leaf(id).join("memory.events"))
    }

    fn update(&self, id: &str, limits: &Limits, undo: &mut Undo, _: &mut Additions) -> Result<Updated> {
        self.change(id, limits, undo)
    }

    fn usage(&self, id: &str) -> Usage {
        let mut found = Usage::default();
        if let Some(leaf) = self.unified(id) {
            usage::second(&leaf, &mut found);
        }
        found
    }

    fn members(&self, id: &str) -> Option<Vec<i32>> {
        self.unified(id).filter(|leaf| leaf.is_dir()).map(|leaf| tree::members(&leaf))
    }

    fn is_frozen(&self, id: &str) -> bool {
        self.unified(id).is_some_and(|leaf| freeze::is_frozen(&leaf))
    }

    fn freeze(&self, id: &str) -> Result<Frozen> {
        match &self.tree {
            Ok(tree) => freeze::freeze(&tree.leaf(id)),
            Err(problem) => Ok(Err(problem.clone())),
        }
    }

    fn thaw(&self, id: &str) -> Result<()> {
        match self.unified(id) {
            Some(leaf) => freeze::thaw(&leaf.join("cgroup.freeze"), "0"),
            None => Ok(()),
        }
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

/// A number of the kernel, or `max`.
fn or_max(value: u64) -> String {
    if value == UNLIMITED { "max".to_owned() } else { value.to_string() }
}

/// Reads a number, or `max`.
fn number(text: &str) -> Option<Shown> {
    let text = text.trim();
    if text == "max" { Some(Shown::number(UNLIMITED)) } else { text.parse().ok().map(Shown::number) }
}

/// The file of the limit on processes and threads.
pub(super) fn pids(value: u64) -> Recipe {
    Recipe::read_with("pids.max", or_max(value), number)
}

/// The weight of a device, which is the one for the value, in a file with a line for each device.
pub(super) fn device_weight(file: &str, device: &DeviceWeight, weight: u64) -> Recipe {
    let (number, value) = (format!("{}:{}", device.major, device.minor), device.value);
    let line = match value {
        UNLIMITED => format!("{number} default"),
        _ => format!("{number} {weight}"),
    };
    Recipe::read_with(file, line, move |text| {
        let mut lines = text.lines();
        let Some(line) = lines.find_map(|line| line.strip_prefix(&number)?.strip_prefix([' ', '\t'])) else {
            // That of all devices holds for it.
            return (value == UNLIMITED).then(|| Shown::number(UNLIMITED));
        };
        let found: u64 = line.trim().parse().ok()?;
        Some(if found == weight {
            Shown::number(value)
        } else {
            Shown { number: found, text: format!("weight {found}") }
        })
    })
}

/// The files of a limit.
fn recipe(limit: &Limit, leaf: &Path) -> std::result::Result<Recipe, Problem> {
    let gone = |what: &str| {
        Problem::new(
            format!("cgroup version 2 has no {what}"),
            "leave it out, or boot with systemd.unified_cgroup_hierarchy=0 for version 1",
        )
    };
    // A weight that is the one for the value stands for the value.
    let weight = |file: &str, prefix: &'static str, weight: u64, value: u64| {
        Recipe::read_with(file, format!("{prefix}{weight}"), move |text| {
            let first = text.lines().next()?;
            let found: u64 = first.strip_prefix("default ").unwrap_or(first).trim().parse().ok()?;
            Some(if found == weight {
                Shown::number(value)
            } else {
                Shown { number: found, text: format!("weight {found}") }
            })
        })
    };
    let field =
        |text: &str, n: usize| text.split_whitespace().nth(n).and_then(|word| word.parse::<u64>().ok());
    Ok(match limit {
        Limit::Memory(value) => Recipe::read_with("memory.max", or_max(*value), number),
        Limit::Swap { both, memory } => {
            let (both, memory) = (*both, *memory);
            let swap = if both == UNLIMITED { UNLIMITED } else { both.saturating_sub(memory) };
            Recipe::read_with("memory.swap.max", or_max(swap), move |text| {
                number(text).map(|found| Shown::number(found.number.saturating_add(memory)))
            })
        }
        Limit::Reservation(value) => Recipe::read_with("memory.low", or_max(*value), number),
        Limit::Swappiness(_) => return Err(gone("memory.swappiness")),
        Limit::OomKillDisable => {
            return Err(gone("way to keep programs from being killed for want of memory"));
        }
        Limit::Cpu(nano) => Recipe::read_with("cpu.max", format!("{} {PERIOD}", quota(*nano)), move |text| {
            nano_cpus(field(text, 0)?, field(text, 1)?).map(Shown::number)
        }),
        Limit::Shares(value) => weight("cpu.weight", "", weight_of_shares(*value), *value),
        Limit::Quota { quota, period } => {
            Recipe::read_with("cpu.max", format!("{} {period}", or_max(*quota)), move |text| {
                text.split_whitespace().next().and_then(number)
            })
        }
        Limit::Period { quota, period } => {
            let quota = quota.map_or_else(|| "max".to_owned(), or_max);
            Recipe::read_with("cpu.max", format!("{quota} {period}"), move |text| {
                field(text, 1).map(Shown::number)
            })
        }
        Limit::Cpus(set) => Recipe::set("cpuset.cpus", set),
        Limit::Mems(set) => Recipe::set("cpuset.mems", set),
        Limit::Pids(value) => pids(*value),
        // The scheduler's own goes before that of the cost model, which may be there without being asked.
        Limit::Weight(value) if leaf.join("io.bfq.weight").exists() => {
            weight("io.bfq.weight", "", *value, *value)
        }
        Limit::Weight(value) => weight("io.weight", "default ", weight_of_blkio(*value), *value),
        Limit::DeviceWeight(device) if leaf.join("io.bfq.weight").exists() => {
            device_weight("io.bfq.weight", device, device.value)
        }
        Limit::DeviceWeight(device) => device_weight("io.weight", device, weight_of_blkio(device.value)),
        Limit::Throttle(throttle) => {
            let (device, key) = (format!("{}:{}", throttle.major, throttle.minor), throttle.rate.key());
            let line = format!("{device} {key}={}", or_max(throttle.value));
            let wanted = throttle.value;
            Recipe::read_with("io.max", line, move |text| {
                let line = text.lines().find_map(|line| line.strip_prefix(&device)?.strip_prefix(' '));
                let found = line.and_then(|line| {
                    line.split(' ').find_map(|word| word.strip_prefix(key)?.strip_prefix('='))
                });
                // A device without limits has no line.
                match found {
                    Some(found) => {
                        number(found).filter(|found| wanted == UNLIMITED || found.number != UNLIMITED)
                    }
                    None => (wanted == UNLIMITED).then(|| Shown::number(UNLIMITED)),
                }
            })
        }
        Limit::Unified(key, value) => Recipe::read_with(key, value.clone(), |text| {
            Some(Shown { number: text.trim().parse().unwrap_or(0), text: short(text) })
        }),
    })
}

/// Sets a limit and reads back what is in force.
fn set(
    limit: &Limit,
    limits: &Limits,
    leaf: &Path,
    mut undo: Option<&mut Undo>,
    warnings: &mut Vec<Warning>,
) -> Result<std::result::Result<Shown, Problem>> {
    let recipe = match recipe(limit, leaf) {
        Ok(recipe) => recipe,
        Err(problem) => return Ok(Err(problem)),
    };
    let applied = apply(&recipe, leaf, undo.as_deref_mut())?;
    if let (Limit::Memory(value), None, Ok(_)) = (limit, limits.memory_swap, &applied) {
        // Docker's default: as much swap as memory.
        let swap = Recipe::read_with("memory.swap.max", or_max(*value), number);
        if let Err(problem) = apply(&swap, leaf, undo)? {
            warnings.extend(swap_warning(&problem.cause));
        }
    }
    Ok(applied)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_weight_of_a_device_is_one_line_of_many() {
        let device = DeviceWeight { path: "/dev/sda".into(), major: 8, minor: 0, value: 300 };
        let recipe = device_weight("io.weight", &device, 2930);
        assert_eq!(recipe.writes, [("io.weight".to_owned(), "8:0 2930".to_owned())]);
        let shown = |text: &str| (recipe.read)(text).map(|shown| shown.text);
        assert_eq!(shown("default 100\n8:01 5\n8:0 2930\n").as_deref(), Some("300"));
        assert_eq!(shown("8:0\t77\n").as_deref(), Some("weight 77"));
        assert_eq!(shown("default 2930\n8:16 2930\n"), None);
    }
}
