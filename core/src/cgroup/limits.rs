//! What limits look like in the files of both versions, and how failures to set them are told.

use std::io;
use std::path::Path;

use super::{Limits, Problem};
use crate::container::{LimitInfo, Warning};
use crate::error::{Error, Result, errno_text};

/// The period of CPU limits in microseconds: the kernel's default.
pub(super) const PERIOD: u64 = 100_000;

/// The limits, one by one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Limit {
    Memory,
    Cpu,
    Pids,
}

impl Limit {
    /// The controller.
    pub(super) const fn controller(self) -> &'static str {
        match self {
            Limit::Memory => "memory",
            Limit::Cpu => "cpu",
            Limit::Pids => "pids",
        }
    }

    /// The name of the option.
    const fn option(self) -> &'static str {
        match self {
            Limit::Memory => "mem_limit",
            Limit::Cpu => "nano_cpus",
            Limit::Pids => "pids_limit",
        }
    }

    /// The warning that it is not in force.
    pub(super) fn warning(self, problem: &Problem) -> Warning {
        let controller = self.controller();
        problem.warning(
            &format!("{controller}-limit-not-applied"),
            &format!("the container has no {controller} limit"),
        )
    }

    /// What was asked for, and what is in force.
    pub(super) fn info(self, requested: u64, applied: Option<u64>) -> LimitInfo {
        LimitInfo { name: self.option().to_owned(), requested, applied }
    }
}

impl Limits {
    /// The limits that were asked for.
    pub(super) fn requested(&self) -> impl Iterator<Item = (Limit, u64)> {
        let all = [(Limit::Memory, self.memory), (Limit::Cpu, self.nano_cpus), (Limit::Pids, self.pids)];
        all.into_iter().filter_map(|(limit, value)| Some((limit, value?)))
    }
}

/// Microseconds of CPU time in each [`PERIOD`]. The kernel takes no less than a millisecond.
pub(super) fn quota(nano_cpus: u64) -> u64 {
    (u128::from(nano_cpus) * u128::from(PERIOD) / 1_000_000_000).try_into().unwrap_or(u64::MAX)
}

/// The reverse of [`quota`].
pub(super) fn nano_cpus(quota: u64, period: u64) -> Option<u64> {
    u64::try_from(u128::from(quota) * 1_000_000_000 / u128::from(period.max(1))).ok()
}

/// The swap warning, if the host has swap that could be used.
pub(super) fn swap_warning(error: &io::Error) -> Option<Warning> {
    let swaps = std::fs::read_to_string("/proc/swaps").unwrap_or_default();
    (swaps.lines().count() > 1).then(|| {
        Problem::new(
            format!("the kernel does not account for swap: {}", text(error)),
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
        Some(libc::ENOENT | libc::ENODEV | libc::EOPNOTSUPP | libc::EINVAL | libc::ERANGE) => {
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
    fn only_what_the_host_lacks_is_a_warning() {
        let sorted = |errno| sort("write", Path::new("/x"), &io::Error::from_raw_os_error(errno));
        let problem = sorted(libc::EACCES).unwrap();
        assert_eq!(problem.cause, "write \"/x\": permission denied");
        let warning = Limit::Memory.warning(&problem);
        assert_eq!(warning.code, "memory-limit-not-applied");
        assert!(warning.message.contains(&problem.cause) && warning.message.contains(&problem.fix));
        assert_eq!(sorted(libc::ENOMEM).unwrap_err().errno(), Some(libc::ENOMEM));
        assert!(sorted(libc::EMFILE).is_err());
    }
}
