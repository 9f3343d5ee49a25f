//! Version 1: one cgroup in each hierarchy that is needed. Also for hosts without cgroups, and for hybrid ones, whose version 2 hierarchy has no
//! controllers, but is the better place for device rules.

use std::collections::BTreeSet;
use std::fs::OpenOptions;
use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use coble_protocol::CgroupView;

use super::detect::{CONTROLLERS, Layout, writable};
use super::device_program::DeviceProgram;
use super::limits::{
    Limit, PERIOD, Rate, Recipe, Shown, UNLIMITED, Undo, apply, nano_cpus, quota, short, sort, swap_warning,
};
use super::tree::{self, Tree};
use super::{
    Additions, Controller, Created, Frozen, Limits, Manager, Problem, Updated, Usage, devices, freeze, usage,
    v2,
};
use crate::container::Warning;
use crate::error::{Call, Error, ErrorKind, Result};
use crate::isolation::defaults::DeviceRule;

/// How long it may take to move the processes of a container into one more cgroup.
const ADOPTION: Duration = Duration::from_secs(5);
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

/// What stops the processes of a container.
enum Freezer {
    /// The cgroup of version 2.
    Second(PathBuf),
    /// The hierarchy of version 1.
    First(Tree),
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
        let mut hierarchies: Vec<Place> = hierarchies.collect();
        // First where all are gone through: what is frozen ends nowhere else.
        hierarchies.sort_by_key(|place| !place.controllers.iter().any(|known| known == "freezer"));
        V1 { version, hierarchies, unified, program, rootless }
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

    /// The same, for containers in another cgroup than that of the store.
    fn below(&self, parent: &Path) -> V1 {
        let place = |place: &Place| Place {
            controllers: place.controllers.clone(),
            tree: place.tree.as_ref().map(|tree| tree.below(parent)).map_err(Clone::clone),
        };
        V1 {
            version: self.version,
            hierarchies: self.hierarchies.iter().map(place).collect(),
            unified: self.unified.as_ref().map(|tree| tree.below(parent)),
            program: DeviceProgram::default(),
            rootless: self.rootless,
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

    fn below(&self, parent: &Path) -> Box<dyn Manager> {
        Box::new(V1::below(self, parent))
    }

    fn place(&self) -> Option<Problem> {
        let nowhere = self.trees().next().is_none();
        nowhere.then(|| {
            let refused = self.hierarchies.iter().find_map(|place| place.tree.as_ref().err().cloned());
            refused.unwrap_or_else(|| {
                Problem::new("no cgroup file system is mounted", "mount -t cgroup2 none /sys/fs/cgroup")
            })
        })
    }

    fn create(&self, id: &str, home: bool, limits: &Limits, rules: Option<&[DeviceRule]>) -> Result<Created> {
        let mut created = Created {
            procs: Vec::new(),
            home: None,
            view: CgroupView::Hidden,
            limits: Vec::new(),
            warnings: Vec::new(),
            devices_enforced: false,
        };
        // What is frozen would end in none of the others.
        if self.tree("freezer").is_ok_and(|tree| tree.leaf(id).exists()) {
            self.remove(id)?;
        }
        let result = self.fill(&mut created, id, home, limits, rules);
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
            found.extend(tree.children());
        }
        found.into_iter().collect()
    }

    fn unified(&self, id: &str) -> Option<PathBuf> {
        self.unified.as_ref().map(|tree| tree.leaf(id))
    }

    fn update(
        &self,
        id: &str,
        limits: &Limits,
        undo: &mut Undo,
        additions: &mut Additions,
    ) -> Result<Updated> {
        self.change(id, limits, undo, additions)
    }

    /// What they fork meanwhile is met in the next round.
    fn adopt(&self, id: &str, leaves: &[PathBuf]) -> Result<()> {
        let Some(source) = self.populated(id) else { return Ok(()) };
        for leaf in leaves {
            let procs = leaf.join("cgroup.procs");
            let deadline = Instant::now() + ADOPTION;
            loop {
                let inside: BTreeSet<i32> = tree::members(leaf).into_iter().collect();
                let outside: Vec<i32> =
                    tree::members(&source).into_iter().filter(|pid| !inside.contains(pid)).collect();
                if outside.is_empty() {
                    break;
                }
                if Instant::now() > deadline {
                    let why =
                        format!("the processes of container \"{id}\" multiply faster than they can be moved");
                    return Err(
                        Error::new(ErrorKind::Timeout, why).with_hint("limit the number of its processes")
                    );
                }
                for pid in outside {
                    match tree::write(&procs, &pid.to_string()) {
                        // It has ended.
                        Err(error) if error.raw_os_error() == Some(libc::ESRCH) => {}
                        result => result.call("write", &procs)?,
                    }
                }
            }
        }
        Ok(())
    }

    fn discard(&self, leaves: &[PathBuf]) {
        for leaf in leaves {
            // One that somebody is in stays, and is as good as none: the next one who needs it completes it.
            let _ = std::fs::remove_dir(leaf);
        }
    }

    fn usage(&self, id: &str) -> Usage {
        let mut found = Usage::default();
        if let Some(leaf) = self.unified(id) {
            usage::second(&leaf, &mut found);
        }
        type Reader = fn(&Path, &mut Usage);
        let readers: [(&str, Reader); 4] = [
            ("memory", usage::memory_of_the_first),
            ("cpu", usage::cpu_of_the_first),
            ("pids", usage::pids),
            ("blkio", usage::blocks_of_the_first),
        ];
        for (controller, reader) in readers {
            if let Ok(tree) = self.tree(controller)
                && let leaf = tree.leaf(id)
                && leaf.is_dir()
            {
                reader(&leaf, &mut found);
            }
        }
        found
    }

    fn members(&self, id: &str) -> Option<Vec<i32>> {
        self.populated(id).map(|leaf| tree::members(&leaf))
    }

    fn is_frozen(&self, id: &str) -> bool {
        match self.freezer(id) {
            Ok(Freezer::Second(leaf)) => freeze::is_frozen(&leaf),
            Ok(Freezer::First(tree)) => {
                tree::read(&tree.leaf(id).join("freezer.state")).is_ok_and(|state| state.trim() != "THAWED")
            }
            Err(_) => false,
        }
    }

    fn prepare_freeze(&self, id: &str, additions: &mut Additions) -> Result<Frozen> {
        match self.freezer(id) {
            Ok(Freezer::Second(_)) => Ok(Ok(())),
            Ok(Freezer::First(tree)) => self.add(id, "freezer", &tree, additions),
            Err(problem) => Ok(Err(problem)),
        }
    }

    fn freeze(&self, id: &str) -> Result<Frozen> {
        let leaf = match self.freezer(id) {
            Ok(Freezer::Second(leaf)) => return freeze::freeze(&leaf),
            Ok(Freezer::First(tree)) => tree.leaf(id),
            Err(problem) => return Ok(Err(problem)),
        };
        let frozen = freeze::freeze_first(&leaf);
        if frozen.is_err() {
            let _ = tree::write(&leaf.join("freezer.state"), "THAWED");
        }
        frozen.map(Ok)
    }

    fn thaw(&self, id: &str) -> Result<()> {
        match self.freezer(id) {
            Ok(Freezer::Second(leaf)) => freeze::thaw(&leaf.join("cgroup.freeze"), "0"),
            Ok(Freezer::First(tree)) => freeze::thaw(&tree.leaf(id).join("freezer.state"), "THAWED"),
            Err(_) => Ok(()),
        }
    }

    fn oom_file(&self, id: &str) -> Option<PathBuf> {
        Some(self.tree("memory").ok()?.leaf(id).join("memory.oom_control"))
    }
}

impl V1 {
    fn fill(
        &self,
        created: &mut Created,
        id: &str,
        home: bool,
        limits: &Limits,
        rules: Option<&[DeviceRule]>,
    ) -> Result<()> {
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
                    let new = tree.make(id).and_then(|leaf| self.furnish(controller, tree, &leaf));
                    if let Err(error) = new {
                        return sort("mkdir", &leaf, &error).map(Err);
                    }
                    created.procs.push(tree::open_procs(&leaf).call("open", leaf.join("cgroup.procs"))?);
                    made.push(leaf.clone());
                }
                Ok(Ok(leaf))
            };
        if let Some(rules) = rules {
            let mut problem = self.restrict_unified(created, id, rules)?;
            if problem.is_some() {
                problem = match cgroup(created, "devices")? {
                    Ok(leaf) => restrict(&leaf, rules)?,
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
        if let Some(tree) =
            self.unified.as_ref().filter(|tree| created.home.is_none() && (home || tree.is_chosen()))
        {
            match self.make_home(tree, id)? {
                Ok(made) => created.home = Some(made),
                Err(problem) if tree.is_chosen() => return Err(problem.refusal("cgroup_parent")),
                // Whoever needs one looks whether it is there.
                Err(_) => {}
            }
        }
        for place in &self.hierarchies {
            // What is set for the cgroup above holds for the container, whatever it is.
            let chosen = place.tree.as_ref().is_ok_and(Tree::is_chosen);
            if let Some(controller) = place.controllers.first().filter(|_| chosen)
                && let Err(problem) = cgroup(created, controller)?
            {
                return Err(problem.refusal("cgroup_parent"));
            }
        }
        for limit in limits.requested() {
            let applied = match cgroup(created, controller(&limit))? {
                Ok(leaf) => set(&limit, limits, &leaf, None, &mut created.warnings)?,
                Err(problem) => Err(problem),
            };
            created.limits.push(limit.info(applied.as_ref().ok().cloned()));
            created.warnings.extend(applied.err().map(|problem| limit.warning(&problem)));
        }
        Ok(())
    }

    /// What a new cgroup needs before a process can be in it.
    fn furnish(&self, controller: &str, tree: &Tree, leaf: &Path) -> std::io::Result<()> {
        let shared =
            self.hierarchies.iter().find(|place| place.controllers.iter().any(|known| known == controller));
        match shared {
            Some(place) if place.controllers.iter().any(|known| known == "cpuset") => {
                inherit_cpuset(tree, leaf)
            }
            _ => Ok(()),
        }
    }

    /// A cgroup of the container that has all of its processes, if it has one.
    fn populated(&self, id: &str) -> Option<PathBuf> {
        // That of version 2 first, where its processes are made, and that of the freezer last, which most never have.
        let mut all: Vec<PathBuf> = self.trees().map(|tree| tree.leaf(id)).collect();
        all.reverse();
        all.into_iter().find(|leaf| leaf.is_dir() && !tree::is_incomplete(leaf))
    }

    /// Makes one more cgroup of a container that runs, unless it is there.
    fn add(&self, id: &str, controller: &str, tree: &Tree, additions: &mut Additions) -> Result<Frozen> {
        let leaf = tree.leaf(id);
        if additions.leaves.contains(&leaf) {
            return Ok(Ok(()));
        }
        if self.populated(id).is_none() {
            let fix = "run it as root, or use cgroup version 2";
            return Ok(Err(Problem::new("the container has no cgroup", fix)));
        }
        match tree.make_beside(id) {
            Ok(false) => return Ok(Ok(())),
            Ok(true) => {}
            Err(error) => return sort("mkdir", &leaf, &error).map(Err),
        }
        additions.leaves.push(leaf.clone());
        self.furnish(controller, tree, &leaf).call("write", &leaf)?;
        additions.procs.push(tree::open_procs(&leaf).call("open", leaf.join("cgroup.procs"))?);
        Ok(Ok(()))
    }

    /// Sets limits of a container that runs, and notes what was there before.
    fn change(
        &self,
        id: &str,
        limits: &Limits,
        undo: &mut Undo,
        additions: &mut Additions,
    ) -> Result<Updated> {
        let mut updated = Updated::default();
        for limit in limits.requested() {
            let refusal = |problem: Problem| problem.refusal(&limit.option());
            let tree = self.tree(controller(&limit)).map_err(refusal)?;
            self.add(id, controller(&limit), tree, additions)?.map_err(refusal)?;
            let applied =
                set(&limit, limits, &tree.leaf(id), Some(undo), &mut updated.warnings)?.map_err(refusal)?;
            updated.limits.push(limit.info(Some(applied)));
        }
        Ok(updated)
    }

    /// The cgroup of the freezer, and whether it is version 2's.
    fn freezer(&self, id: &str) -> std::result::Result<Freezer, Problem> {
        if let Some(leaf) = self.unified(id).filter(|leaf| leaf.join("cgroup.freeze").exists()) {
            return Ok(Freezer::Second(leaf));
        }
        self.tree("freezer").map(|tree| Freezer::First(tree.clone()))
    }

    /// Makes a cgroup in the version 2 hierarchy of a hybrid host and puts the device rules in force there. None if they are.
    fn restrict_unified(
        &self,
        created: &mut Created,
        id: &str,
        rules: &[DeviceRule],
    ) -> Result<Option<Problem>> {
        let Some(tree) = &self.unified else {
            return Ok(Some(Problem::new(
                "there is no version 2 hierarchy",
                "mount -t cgroup2 none /sys/fs/cgroup/unified",
            )));
        };
        let home = match self.make_home(tree, id)? {
            Ok(home) => home,
            Err(problem) => return Ok(Some(problem)),
        };
        let problem = self.program.attach(rules, home.as_fd(), &tree.leaf(id))?;
        created.home = Some(home);
        Ok(problem)
    }

    fn make_home(&self, tree: &Tree, id: &str) -> Result<std::result::Result<OwnedFd, Problem>> {
        match tree.make(id) {
            Ok(leaf) => tree::open(&leaf).call("open", &leaf).map(Ok),
            Err(error) => sort("mkdir", &tree.leaf(id), &error).map(Err),
        }
    }
}

/// Sets the device rules, and reads them back: nothing but them may be allowed. None if they are in force.
fn restrict(leaf: &Path, rules: &[DeviceRule]) -> Result<Option<Problem>> {
    let rules = devices::lines(rules);
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

/// The files of a limit.
fn recipe(limit: &Limit, leaf: &Path) -> std::result::Result<Recipe, Problem> {
    let device = |major: u32, minor: u32, rate: Rate, value: u64| {
        let device = format!("{major}:{minor}");
        // 0 takes the limit away, and then there is no line.
        let line = format!("{device} {}", if value == UNLIMITED { 0 } else { value });
        Recipe::read_with(rate.file(), line, move |text| {
            match text.lines().find_map(|line| line.strip_prefix(&device)?.strip_prefix(' ')) {
                Some(found) => found.trim().parse().ok().map(Shown::number),
                None => (value == UNLIMITED).then(|| Shown::number(UNLIMITED)),
            }
        })
    };
    Ok(match limit {
        Limit::Memory(value) => Recipe::number("memory.limit_in_bytes", *value),
        Limit::Swap { both, .. } => {
            let wanted = *both;
            let mut recipe = Recipe::number("memory.memsw.limit_in_bytes", wanted);
            if wanted == UNLIMITED {
                recipe.read = Box::new(|text| {
                    // The largest number of whole pages.
                    text.trim()
                        .parse()
                        .ok()
                        .filter(|found: &u64| *found > 1 << 62)
                        .map(|_| Shown::number(UNLIMITED))
                });
            }
            recipe
        }
        Limit::Reservation(value) => Recipe::number("memory.soft_limit_in_bytes", *value),
        Limit::Swappiness(value) => Recipe::number("memory.swappiness", *value),
        Limit::OomKillDisable => Recipe::read_with("memory.oom_control", "1".to_owned(), |text| {
            text.lines().any(|line| line == "oom_kill_disable 1").then(|| Shown::number(1))
        }),
        Limit::Cpu(nano) => Recipe {
            writes: vec![
                ("cpu.cfs_period_us".to_owned(), PERIOD.to_string()),
                ("cpu.cfs_quota_us".to_owned(), quota(*nano).to_string()),
            ],
            shown: "cpu.cfs_quota_us".to_owned(),
            read: Box::new(|text| nano_cpus(text.trim().parse().ok()?, PERIOD).map(Shown::number)),
        },
        Limit::Shares(value) => Recipe::number("cpu.shares", *value),
        Limit::Quota { quota, .. } => Recipe::number("cpu.cfs_quota_us", *quota),
        Limit::Period { period, .. } => Recipe::number("cpu.cfs_period_us", *period),
        Limit::Cpus(set) => Recipe::set("cpuset.cpus", set),
        Limit::Mems(set) => Recipe::set("cpuset.mems", set),
        // Like those of version 2.
        Limit::Pids(value) => v2::pids(*value),
        Limit::Weight(value) => {
            let bfq = !leaf.join("blkio.weight").exists() && leaf.join("blkio.bfq.weight").exists();
            Recipe::number(if bfq { "blkio.bfq.weight" } else { "blkio.weight" }, *value)
        }
        Limit::DeviceWeight(weight) => {
            let bfq =
                !leaf.join("blkio.weight_device").exists() && leaf.join("blkio.bfq.weight_device").exists();
            let file = if bfq { "blkio.bfq.weight_device" } else { "blkio.weight_device" };
            v2::device_weight(file, weight, weight.value)
        }
        Limit::Throttle(throttle) => device(throttle.major, throttle.minor, throttle.rate, throttle.value),
        Limit::Unified(..) => {
            return Err(Problem::new(
                "the controllers of this host are those of cgroup version 1",
                "boot with systemd.unified_cgroup_hierarchy=1",
            ));
        }
    })
}

/// The controller of a limit, as version 1 calls it.
fn controller(limit: &Limit) -> &str {
    match limit.controller() {
        "io" => "blkio",
        other => other,
    }
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
    let Limit::Memory(value) = limit else { return apply(&recipe, leaf, undo) };
    // The limit of memory and swap together, which must never be the smaller one.
    const BOTH: &str = "memory.memsw.limit_in_bytes";
    let both = limits.memory_swap.unwrap_or(value.saturating_mul(2).min(i64::MAX as u64));
    let text = if both == UNLIMITED { "-1".to_owned() } else { both.to_string() };
    let swap = Recipe::read_with(BOTH, text, |text| Some(Shown { number: 0, text: short(text) }));
    let set_both = |undo: Option<&mut Undo>, warnings: &mut Vec<Warning>| -> Result<()> {
        // One that was asked for by itself says itself what is wrong with it.
        if let Err(problem) = apply(&swap, leaf, undo)?
            && limits.memory_swap.is_none()
        {
            warnings.extend(swap_warning(&problem.cause));
        }
        Ok(())
    };
    let now = tree::read(&leaf.join(BOTH)).ok().and_then(|text| text.trim().parse::<u64>().ok());
    let raised = now.is_some_and(|now| *value > now);
    if raised {
        set_both(undo.as_deref_mut(), warnings)?;
    }
    let applied = apply(&recipe, leaf, undo.as_deref_mut())?;
    if !raised && applied.is_ok() {
        set_both(undo, warnings)?;
    }
    Ok(applied)
}

/// Gives a cpuset cgroup what the one above it has: the kernel lets no process into one without.
fn inherit_cpuset(tree: &Tree, leaf: &Path) -> std::io::Result<()> {
    for cgroup in tree.parents().iter().map(PathBuf::as_path).chain([leaf]) {
        let Some(above) = cgroup.parent() else { continue };
        for file in ["cpuset.cpus", "cpuset.mems"] {
            if tree::read(&cgroup.join(file))?.trim().is_empty() {
                tree::write(&cgroup.join(file), tree::read(&above.join(file))?.trim())?;
            }
        }
    }
    Ok(())
}
