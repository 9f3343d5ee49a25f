//! The limits of a container, one by one, how each is put in force in the files of a cgroup, and how failures to do so are told.

use std::io;
use std::path::{Path, PathBuf};

use super::{Problem, tree};
use crate::container::{LimitInfo, Warning};
use crate::error::{Call, Error, Result, errno_text};

/// The period of CPU limits in microseconds: the kernel's default.
pub(super) const PERIOD: u64 = 100_000;
/// What stands for "no limit" as a number.
pub(super) const UNLIMITED: u64 = u64::MAX;
/// The most characters of a value that are shown.
const SHOWN: usize = 256;

/// What a container asked for; None: no limit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Limits {
    /// Bytes of memory. Unless `memory_swap` says otherwise, as much swap may be used on top, as docker has it.
    pub(crate) memory: Option<u64>,
    /// Bytes of memory and swap together; [`u64::MAX`] for swap without limit.
    pub(crate) memory_swap: Option<u64>,
    /// Bytes of memory that are taken from the container last when the host runs out of it.
    pub(crate) memory_reservation: Option<u64>,
    /// How willingly the kernel swaps, 0 to 100.
    pub(crate) swappiness: Option<u64>,
    /// Programs wait for memory instead of being killed.
    pub(crate) oom_kill_disable: bool,
    /// Billionths of a CPU, at least 10,000,000.
    pub(crate) nano_cpus: Option<u64>,
    /// The weight against other containers, 2 to 262144.
    pub(crate) cpu_shares: Option<u64>,
    /// Microseconds of CPU time in each period.
    pub(crate) cpu_quota: Option<u64>,
    /// The period in microseconds.
    pub(crate) cpu_period: Option<u64>,
    /// CPUs, as in `0-3,7`.
    pub(crate) cpuset_cpus: Option<String>,
    /// NUMA nodes.
    pub(crate) cpuset_mems: Option<String>,
    /// Processes and threads.
    pub(crate) pids: Option<u64>,
    /// The weight against others of block devices, 10 to 1000.
    pub(crate) blkio_weight: Option<u64>,
    /// The same for single devices.
    pub(crate) device_weights: Vec<DeviceWeight>,
    /// Rates of block devices.
    pub(crate) throttles: Vec<Throttle>,
    /// Files of a version 2 cgroup, and what is written to them.
    pub(crate) unified: Vec<(String, String)>,
}

/// The most that a container may read or write of a block device each second.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Throttle {
    pub(crate) rate: Rate,
    /// The device as the caller named it.
    pub(crate) path: String,
    pub(crate) major: u32,
    pub(crate) minor: u32,
    pub(crate) value: u64,
}

/// The weight of a block device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DeviceWeight {
    /// The device as the caller named it.
    pub(crate) path: String,
    pub(crate) major: u32,
    pub(crate) minor: u32,
    pub(crate) value: u64,
}

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rate {
    ReadBytes,
    WriteBytes,
    ReadOperations,
    WriteOperations,
}

impl Rate {
    /// The name of the option.
    pub(crate) const fn option(self) -> &'static str {
        match self {
            Rate::ReadBytes => "device_read_bps",
            Rate::WriteBytes => "device_write_bps",
            Rate::ReadOperations => "device_read_iops",
            Rate::WriteOperations => "device_write_iops",
        }
    }

    /// The key in `io.max`.
    pub(super) const fn key(self) -> &'static str {
        match self {
            Rate::ReadBytes => "rbps",
            Rate::WriteBytes => "wbps",
            Rate::ReadOperations => "riops",
            Rate::WriteOperations => "wiops",
        }
    }

    /// The file of version 1.
    pub(super) const fn file(self) -> &'static str {
        match self {
            Rate::ReadBytes => "blkio.throttle.read_bps_device",
            Rate::WriteBytes => "blkio.throttle.write_bps_device",
            Rate::ReadOperations => "blkio.throttle.read_iops_device",
            Rate::WriteOperations => "blkio.throttle.write_iops_device",
        }
    }
}

/// The limits, one by one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Limit {
    Memory(u64),
    Swap { both: u64, memory: u64 },
    Reservation(u64),
    Swappiness(u64),
    OomKillDisable,
    Cpu(u64),
    Shares(u64),
    Quota { quota: u64, period: u64 },
    Period { quota: Option<u64>, period: u64 },
    Cpus(String),
    Mems(String),
    Pids(u64),
    Weight(u64),
    DeviceWeight(DeviceWeight),
    Throttle(Throttle),
    Unified(String, String),
}

impl Limit {
    /// The controller, in the words of version 2.
    pub(super) fn controller(&self) -> &str {
        match self {
            Limit::Memory(_)
            | Limit::Swap { .. }
            | Limit::Reservation(_)
            | Limit::Swappiness(_)
            | Limit::OomKillDisable => "memory",
            Limit::Cpu(_) | Limit::Shares(_) | Limit::Quota { .. } | Limit::Period { .. } => "cpu",
            Limit::Cpus(_) | Limit::Mems(_) => "cpuset",
            Limit::Pids(_) => "pids",
            Limit::Weight(_) | Limit::DeviceWeight(_) | Limit::Throttle(_) => "io",
            Limit::Unified(key, _) => key.split('.').next().unwrap_or_default(),
        }
    }

    /// The name of the option, with the device or file that it is about.
    pub(super) fn option(&self) -> String {
        match self {
            Limit::Memory(_) => "mem_limit",
            Limit::Swap { .. } => "memswap_limit",
            Limit::Reservation(_) => "mem_reservation",
            Limit::Swappiness(_) => "mem_swappiness",
            Limit::OomKillDisable => "oom_kill_disable",
            Limit::Cpu(_) => "nano_cpus",
            Limit::Shares(_) => "cpu_shares",
            Limit::Quota { .. } => "cpu_quota",
            Limit::Period { .. } => "cpu_period",
            Limit::Cpus(_) => "cpuset_cpus",
            Limit::Mems(_) => "cpuset_mems",
            Limit::Pids(_) => "pids_limit",
            Limit::Weight(_) => "blkio_weight",
            Limit::DeviceWeight(weight) => return format!("blkio_weight_device:{}", weight.path),
            Limit::Throttle(throttle) => return format!("{}:{}", throttle.rate.option(), throttle.path),
            Limit::Unified(key, _) => return format!("unified:{key}"),
        }
        .to_owned()
    }

    /// The value as a number; how many there are of a set; 0 where there is no number.
    fn number(&self) -> u64 {
        match self {
            Limit::Memory(value)
            | Limit::Swap { both: value, .. }
            | Limit::Reservation(value)
            | Limit::Swappiness(value)
            | Limit::Cpu(value)
            | Limit::Shares(value)
            | Limit::Quota { quota: value, .. }
            | Limit::Period { period: value, .. }
            | Limit::Pids(value)
            | Limit::Weight(value) => *value,
            Limit::OomKillDisable => 1,
            Limit::Cpus(set) | Limit::Mems(set) => count_of(set),
            Limit::DeviceWeight(weight) => weight.value,
            Limit::Throttle(throttle) => throttle.value,
            Limit::Unified(_, value) => value.trim().parse().unwrap_or(0),
        }
    }

    /// The value in words.
    fn text(&self) -> String {
        match self {
            Limit::Cpus(set) | Limit::Mems(set) => set.clone(),
            Limit::Unified(_, value) => value.clone(),
            _ => words(self.number()),
        }
    }

    /// The warning that it is not in force.
    pub(super) fn warning(&self, problem: &Problem) -> Warning {
        match self {
            Limit::Memory(_) | Limit::Cpu(_) | Limit::Pids(_) => {
                let controller = self.controller();
                problem.warning(
                    &format!("{controller}-limit-not-applied"),
                    &format!("the container has no {controller} limit"),
                )
            }
            _ => {
                let option = self.option();
                let name = option.split(':').next().unwrap_or_default().replace('_', "-");
                problem.warning(&format!("{name}-not-applied"), &format!("{option} is not in force"))
            }
        }
    }

    /// What was asked for, and what is in force.
    pub(super) fn info(&self, applied: Option<Shown>) -> LimitInfo {
        let (applied, applied_text) = match applied {
            Some(Shown { number, text }) => (Some(number), Some(text)),
            None => (None, None),
        };
        LimitInfo {
            name: self.option(),
            requested: self.number(),
            applied,
            requested_text: self.text(),
            applied_text,
        }
    }
}

/// A number in words.
fn words(number: u64) -> String {
    if number == UNLIMITED { "unlimited".to_owned() } else { number.to_string() }
}

impl Limits {
    /// The limits that were asked for.
    pub(super) fn requested(&self) -> Vec<Limit> {
        let mut all = Vec::new();
        all.extend(self.memory.map(Limit::Memory));
        all.extend(
            self.memory_swap.map(|both| Limit::Swap { both, memory: self.memory.unwrap_or_default() }),
        );
        all.extend(self.memory_reservation.map(Limit::Reservation));
        all.extend(self.swappiness.map(Limit::Swappiness));
        all.extend(self.oom_kill_disable.then_some(Limit::OomKillDisable));
        all.extend(self.nano_cpus.map(Limit::Cpu));
        all.extend(self.cpu_shares.map(Limit::Shares));
        all.extend(self.cpu_period.map(|period| Limit::Period { quota: self.cpu_quota, period }));
        let period = self.cpu_period.unwrap_or(PERIOD);
        all.extend(self.cpu_quota.map(|quota| Limit::Quota { quota, period }));
        all.extend(self.cpuset_cpus.clone().map(Limit::Cpus));
        all.extend(self.cpuset_mems.clone().map(Limit::Mems));
        all.extend(self.pids.map(Limit::Pids));
        all.extend(self.blkio_weight.map(Limit::Weight));
        all.extend(self.device_weights.iter().cloned().map(Limit::DeviceWeight));
        all.extend(self.throttles.iter().cloned().map(Limit::Throttle));
        all.extend(self.unified.iter().map(|(key, value)| Limit::Unified(key.clone(), value.clone())));
        all
    }
}

/// What the kernel says is in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Shown {
    pub(super) number: u64,
    pub(super) text: String,
}

impl Shown {
    pub(super) fn number(number: u64) -> Shown {
        Shown { number, text: words(number) }
    }
}

/// Reads what a file shows.
type Reader = Box<dyn Fn(&str) -> Option<Shown>>;

/// How a limit is put in force in the files of one version.
pub(super) struct Recipe {
    /// Files and what is written to them, in order.
    pub(super) writes: Vec<(String, String)>,
    /// The file that shows what is in force.
    pub(super) shown: String,
    /// Reads it; None if it shows no limit.
    pub(super) read: Reader,
}

impl Recipe {
    /// One file with one number.
    pub(super) fn number(file: &str, value: u64) -> Recipe {
        Recipe::read_with(file, words_of_the_kernel(value), |text| match text.trim() {
            "-1" => Some(Shown::number(UNLIMITED)),
            text => text.parse().ok().map(Shown::number),
        })
    }

    /// One file, read in its own way.
    pub(super) fn read_with(
        file: &str,
        value: String,
        read: impl Fn(&str) -> Option<Shown> + 'static,
    ) -> Recipe {
        Recipe { writes: vec![(file.to_owned(), value)], shown: file.to_owned(), read: Box::new(read) }
    }

    /// A set of numbers.
    pub(super) fn set(file: &str, set: &str) -> Recipe {
        Recipe::read_with(file, set.to_owned(), |text| {
            let text = text.trim();
            (!text.is_empty()).then(|| Shown { number: count_of(text), text: short(text) })
        })
    }
}

fn words_of_the_kernel(value: u64) -> String {
    if value == UNLIMITED { "-1".to_owned() } else { value.to_string() }
}

/// What a file had before it was written, for an update that is taken back.
pub(super) type Undo = Vec<(PathBuf, String)>;

/// Puts a limit in force and reads back what is.
pub(super) fn apply(
    recipe: &Recipe,
    leaf: &Path,
    mut undo: Option<&mut Undo>,
) -> Result<std::result::Result<Shown, Problem>> {
    for (file, value) in &recipe.writes {
        let path = leaf.join(file);
        // What cannot be read cannot be taken back.
        let before = undo.as_ref().and_then(|_| tree::read(&path).ok());
        if let Err(error) = tree::write(&path, value) {
            return sort("write", &path, &error).map(Err);
        }
        if let (Some(undo), Some(before)) = (undo.as_deref_mut(), before) {
            undo.push((path, before.trim().to_owned()));
        }
    }
    let path = leaf.join(&recipe.shown);
    let text = tree::read(&path).call("read", &path)?;
    Ok((recipe.read)(&text).ok_or_else(|| {
        Problem::new(
            format!("\"{}\" shows no limit after one was set", path.display()),
            "report this as a defect",
        )
    }))
}

/// Takes back what was written, the last first. What cannot be taken back stays.
pub(super) fn take_back(undo: Undo) {
    for (path, before) in undo.into_iter().rev() {
        // Writing nothing is no call at all, and the kernel takes an empty line for it.
        let _ = tree::write(&path, if before.is_empty() { "\n" } else { &before });
    }
}

/// The beginning of a value.
pub(super) fn short(text: &str) -> String {
    text.trim().chars().take(SHOWN).collect()
}

/// How many numbers a set such as `0-3,7` has. What is no set has none.
pub(super) fn count_of(set: &str) -> u64 {
    let range = |part: &str| match part.split_once('-') {
        Some((from, to)) => {
            let (from, to): (u64, u64) = (from.parse().ok()?, to.parse().ok()?);
            to.checked_sub(from)?.checked_add(1)
        }
        None => part.parse::<u64>().ok().map(|_| 1),
    };
    set.trim().split(',').filter_map(range).fold(0, u64::saturating_add)
}

/// Microseconds of CPU time in each [`PERIOD`]. The kernel takes no less than a millisecond.
pub(super) fn quota(nano_cpus: u64) -> u64 {
    (u128::from(nano_cpus) * u128::from(PERIOD) / 1_000_000_000).try_into().unwrap_or(u64::MAX)
}

/// The reverse of [`quota`].
pub(super) fn nano_cpus(quota: u64, period: u64) -> Option<u64> {
    u64::try_from(u128::from(quota) * 1_000_000_000 / u128::from(period.max(1))).ok()
}

/// The weight of version 2, 1 to 10000, for shares of version 1, 2 to 262144, as the field converts them since 2025: a curve through the least, the default and the most of
/// both, so that 1024 is 100.
pub(super) fn weight_of_shares(shares: u64) -> u64 {
    match shares.clamp(2, 262_144) {
        // The ends are exact, whatever becomes of fractions.
        2 => 1,
        262_144 => 10_000,
        shares => {
            let log = (shares as f64).log2();
            let exponent = (log * log + 125.0 * log) / 612.0 - 7.0 / 34.0;
            (10f64.powf(exponent).ceil() as u64).clamp(1, 10_000)
        }
    }
}

/// The weight of version 2, 1 to 10000, for a block weight of version 1, 10 to 1000.
pub(super) fn weight_of_blkio(weight: u64) -> u64 {
    1 + (weight.clamp(10, 1000) - 10) * 9999 / 990
}

/// The swap warning, if the host has swap that could be used.
pub(super) fn swap_warning(cause: &str) -> Option<Warning> {
    let swaps = std::fs::read_to_string("/proc/swaps").unwrap_or_default();
    (swaps.lines().count() > 1).then(|| {
        Problem::new(
            format!("the kernel does not account for swap: {cause}"),
            "boot with swapaccount=1, or turn swap off",
        )
        .warning("swap-limit-not-applied", "the container may use swap without limit")
    })
}

/// Sorts a failure: what the host does not allow or have is a problem to warn about; anything else is an error.
pub(super) fn sort(call: &str, path: &Path, error: &io::Error) -> Result<Problem> {
    let cause = format!("{call} \"{}\": {}", path.display(), text(error));
    match error.raw_os_error() {
        Some(libc::EACCES | libc::EPERM | libc::EROFS) => {
            Ok(Problem::new(cause, "delegate the cgroup to the user that runs containers, or run as root"))
        }
        Some(libc::ENOENT | libc::ENODEV | libc::EOPNOTSUPP | libc::EINVAL | libc::ERANGE | libc::ENOSPC) => {
            Ok(Problem::new(cause, "use a kernel that has this control, and a value that it takes"))
        }
        Some(libc::EBUSY) => Ok(Problem::new(
            cause,
            "the cgroup has processes of its own, and cgroup v2 does not limit what is below such a cgroup: start the caller in a cgroup of its own \
             below a delegated one, as in systemd-run --scope -p Delegate=yes",
        )),
        _ => Err(Error::io(call, path, error)),
    }
}

fn text(error: &io::Error) -> String {
    error.raw_os_error().map_or_else(|| error.to_string(), errno_text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotas_round_down_and_come_back() {
        assert_eq!(quota(1_500_000_000), 150_000);
        assert_eq!(quota(10_000_000), 1000);
        assert_eq!(quota(u64::MAX), 1_844_674_407_370_955);
        assert_eq!(nano_cpus(quota(250_000_000), PERIOD), Some(250_000_000));
        assert_eq!(nano_cpus(u64::MAX, 1), None);
        assert_eq!(nano_cpus(5, 0), Some(5_000_000_000));
    }

    #[test]
    fn sets_are_counted_and_weights_converted() {
        assert_eq!([count_of("0"), count_of("0-3,7"), count_of(""), count_of("3-1,x")], [1, 5, 0, 0]);
        let weights = [0, 2, 3, 512, 1024, 2048, 262_143, 262_144, u64::MAX].map(weight_of_shares);
        assert_eq!(weights, [1, 1, 2, 59, 100, 174, 10_000, 10_000, 10_000]);
        assert_eq!([weight_of_blkio(10), weight_of_blkio(500), weight_of_blkio(1000)], [1, 4950, 10_000]);
    }

    #[test]
    fn what_was_empty_is_made_empty_again() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("cpuset.cpus");
        std::fs::write(&file, "").unwrap();
        let mut undo = Undo::new();
        let applied = apply(&Recipe::set("cpuset.cpus", "3"), dir.path(), Some(&mut undo)).unwrap().unwrap();
        assert_eq!(applied.text, "3");
        take_back(undo);
        // A file of a cgroup takes each write for itself.
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "\n");
    }

    #[test]
    fn only_what_the_host_lacks_is_a_warning() {
        let sorted = |errno| sort("write", Path::new("/x"), &io::Error::from_raw_os_error(errno));
        let problem = sorted(libc::EACCES).unwrap();
        assert_eq!(problem.cause, "write \"/x\": permission denied");
        let warning = Limit::Memory(1).warning(&problem);
        assert_eq!(warning.code, "memory-limit-not-applied");
        assert!(warning.message.contains(&problem.cause) && warning.message.contains(&problem.fix));
        let swap = Limit::Swap { both: UNLIMITED, memory: 0 };
        assert_eq!(swap.warning(&problem).code, "memswap-limit-not-applied");
        assert_eq!(swap.info(None).requested_text, "unlimited");
        assert_eq!(sorted(libc::ENOMEM).unwrap_err().errno(), Some(libc::ENOMEM));
        assert!(sorted(libc::EMFILE).is_err());
    }
}
