//! What the host lacks, and how to mend it.
//!
//! Every check looks or asks the kernel; none starts a process, makes a namespace, or changes anything. `host` has those on the
//! kernel and its settings, `caller` those on the process that asks, `roots` those on the directories.

mod caller;
mod host;
mod roots;

use serde::Serialize;

use crate::cgroup;
use crate::engine::EngineOptions;

/// The result of a check-up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The checks, in a fixed order.
    pub checks: Vec<Check>,
}

impl Report {
    /// Whether containers can run: no check failed.
    pub fn ok(&self) -> bool {
        self.checks.iter().all(|check| check.status != CheckStatus::Fail)
    }
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    /// A stable name, such as `overlay`.
    pub name: String,
    /// The outcome.
    pub status: CheckStatus,
    /// What was found.
    pub summary: String,
    /// What to do about it.
    pub fix: Option<String>,
}

impl Check {
    fn ok(name: &str, summary: impl Into<String>) -> Check {
        Check { name: name.into(), status: CheckStatus::Ok, summary: summary.into(), fix: None }
    }

    fn warning(name: &str, summary: impl Into<String>, fix: impl Into<String>) -> Check {
        Check { status: CheckStatus::Warning, fix: Some(fix.into()), ..Check::ok(name, summary) }
    }

    fn fail(name: &str, summary: impl Into<String>, fix: impl Into<String>) -> Check {
        Check { status: CheckStatus::Fail, fix: Some(fix.into()), ..Check::ok(name, summary) }
    }

    /// A failure where the thing is needed, a warning where it is not.
    fn needed(needed: bool, name: &str, summary: impl Into<String>, fix: impl Into<String>) -> Check {
        if needed { Check::fail(name, summary, fix) } else { Check::warning(name, summary, fix) }
    }
}

/// The outcome of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum CheckStatus {
    /// Fine.
    Ok,
    /// Works, with something missing.
    Warning,
    /// Containers cannot run.
    Fail,
}

/// Looks at the host. Works when no engine can be opened.
pub fn doctor(options: &EngineOptions) -> Report {
    let caller = caller::Caller::look();
    let rootless = options.rootless.unwrap_or(!caller.is_capable_root());
    let mut checks = vec![
        host::kernel(),
        host::system_calls(rootless),
        host::user_namespaces(rootless, caller.uid),
        host::overlay(rootless),
        host::seccomp(),
        host::memfd(),
    ];
    checks.extend(cgroups(rootless));
    checks.extend([
        caller::subordinate_ids(rootless),
        caller.capabilities(rootless),
        caller.no_new_privileges(rootless),
        caller::resource_limits(),
        host::nesting(rootless),
    ]);
    checks.extend(roots::checks(options, rootless));
    Report { checks }
}

/// The version, and a check for each controller.
fn cgroups(rootless: bool) -> Vec<Check> {
    let (version, controllers) = cgroup::survey(rootless);
    let mut checks = vec![match version {
        "none" => Check::warning(
            "cgroups",
            "no cgroup file system is mounted: containers have no limits",
            "mount -t cgroup2 none /sys/fs/cgroup",
        ),
        _ => Check::ok("cgroups", format!("cgroup {version}")),
    }];
    for controller in controllers {
        let name = format!("cgroup-{}", controller.name);
        checks.push(match controller.problem {
            None => Check::ok(&name, "available to containers"),
            Some(problem) => Check::warning(&name, problem.cause, problem.fix),
        });
    }
    checks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_is_fixed_and_every_problem_has_a_fix() {
        let dir = tempfile::tempdir().unwrap();
        let options = EngineOptions::default().data_root(dir.path()).run_root(dir.path());
        for rootless in [false, true] {
            let report = doctor(&EngineOptions { rootless: Some(rootless), ..options.clone() });
            let names: Vec<&str> = report.checks.iter().map(|check| check.name.as_str()).collect();
            let mut expected = vec![
                "kernel",
                "system-calls",
                "user-namespaces",
                "overlay",
                "seccomp",
                "memfd-exec",
                "cgroups",
            ];
            if !rootless {
                expected.push("cgroup-devices");
            }
            expected.extend([
                "cgroup-memory",
                "cgroup-cpu",
                "cgroup-pids",
                "subordinate-ids",
                "capabilities",
            ]);
            expected.extend(["no-new-privileges", "resource-limits", "nesting", "data-root", "run-root"]);
            if !rootless {
                expected.push("id-mapped-mounts");
            }
            assert_eq!(names, expected);
            for check in &report.checks {
                assert_eq!(check.fix.is_none(), check.status == CheckStatus::Ok, "{check:?}");
                assert!(!check.summary.is_empty());
            }
            assert_eq!(report.ok(), report.checks.iter().all(|check| check.status != CheckStatus::Fail));
        }
    }
}
