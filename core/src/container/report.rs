//! What the monitor reported, in the words of the public interface.

use std::time::Duration;

use coble_protocol::Step;

use super::resources::ulimit_name;
use super::spaces::Joined;
use super::validate::{Seccomp, SecurityOptions};
use super::{CapabilityInfo, Isolation, LimitInfo, NamespaceInfo, UserInfo};
use crate::isolation::capabilities::names;
use crate::isolation::defaults::DeviceRule;
use crate::isolation::mounts;
use crate::oci::Digest;

/// The isolation that was read back.
pub(super) fn isolation(
    read: &coble_protocol::Isolation,
    limits: &[LimitInfo],
    joined: &Joined,
    rootless: bool,
    security: &SecurityOptions,
    rules: &[DeviceRule],
) -> Isolation {
    let other =
        |name: &str| joined.others.iter().find(|(joined, _)| *joined == name).map(|(_, id)| id.clone());
    let root_readonly =
        read.root_mount.split(' ').nth(5).is_some_and(|flags| flags.split(',').any(|flag| flag == "ro"));
    Isolation {
        namespaces: read
            .namespaces
            .iter()
            .map(|(name, own, host)| {
                let container = other(name);
                NamespaceInfo {
                    name: name.clone(),
                    own: own != host && container.is_none(),
                    inode: *own,
                    container,
                }
            })
            .collect(),
        capabilities: CapabilityInfo {
            effective: names(read.effective),
            permitted: names(read.permitted),
            inheritable: names(read.inheritable),
            ambient: names(read.ambient),
            bounding: names(read.bounding),
        },
        no_new_privileges: read.no_new_privileges,
        seccomp: if read.seccomp == 2 { "filter" } else { "none" }.to_owned(),
        seccomp_profile: match &security.seccomp {
            Seccomp::Default => "default".to_owned(),
            Seccomp::Unconfined => "unconfined".to_owned(),
            Seccomp::Profile(text) => Digest::of(text.as_bytes()).to_string(),
        },
        apparmor: read.apparmor.clone(),
        umask: read.umask,
        device_rules: rules.iter().map(DeviceRule::text).collect(),
        landlock: read.landlock.clone(),
        user: UserInfo {
            uid: read.uid,
            gid: read.gid,
            groups: read.groups.clone(),
            uid_map: read.uid_map.clone(),
            gid_map: read.gid_map.clone(),
        },
        cgroup: read.cgroup.clone(),
        limits: limits.iter().cloned().chain(of_processes(read)).collect(),
        masked_paths: read.masked_paths.clone(),
        readonly_paths: read.readonly_paths.clone(),
        root_readonly,
        mounts: read.mounts.iter().map(|line| mounts::info(line)).collect(),
        rootless,
    }
}

/// The limits that are those of processes, as the first one had them.
fn of_processes(read: &coble_protocol::Isolation) -> impl Iterator<Item = LimitInfo> + '_ {
    let words = |(soft, hard): (u64, u64)| {
        let word = |value: u64| if value == u64::MAX { "-1".to_owned() } else { value.to_string() };
        format!("{}:{}", word(soft), word(hard))
    };
    let ulimits = read.rlimits.iter().map(move |limit| LimitInfo {
        name: format!("ulimit:{}", ulimit_name(limit.number)),
        requested: limit.asked.0,
        applied: Some(limit.found.0),
        requested_text: words(limit.asked),
        applied_text: Some(words(limit.found)),
    });
    let score = read.oom_score_adj.map(|(asked, found)| LimitInfo {
        name: "oom_score_adj".to_owned(),
        requested: asked.unsigned_abs().into(),
        applied: Some(found.unsigned_abs().into()),
        requested_text: asked.to_string(),
        applied_text: Some(found.to_string()),
    });
    // What is no number is 0.
    let number = |text: &str| text.parse().unwrap_or(0);
    let sysctls = read.sysctls.iter().map(move |(name, asked, found)| LimitInfo {
        name: format!("sysctl:{name}"),
        requested: number(asked),
        applied: found.as_deref().map(number),
        requested_text: asked.clone(),
        applied_text: found.clone(),
    });
    ulimits.chain(score).chain(sysctls)
}

/// The monitor's steps as phases. Its times are points on a clock. What it did before it knew its container was not waited for, and is no phase; what is left of
/// `total` is the way there and back.
pub(super) fn phases(steps: &[(Step, u64)], total: Duration) -> Vec<(String, Duration)> {
    let mut phases = Vec::with_capacity(steps.len() + 1);
    let mut sum = Duration::ZERO;
    let known = steps.iter().position(|(step, _)| *step == Step::Protocol).unwrap_or(0);
    for pair in steps.get(known..).unwrap_or_default().windows(2) {
        if let [(_, from), (step, to)] = pair {
            let length = Duration::from_nanos(to.saturating_sub(*from));
            sum += length;
            phases.push((name(*step).to_owned(), length));
        }
    }
    phases.push(("report".to_owned(), total.saturating_sub(sum)));
    phases
}

/// Phases as they are put on record.
pub(super) fn recorded(phases: &[(String, Duration)]) -> Vec<(String, u64)> {
    let nanos = |length: &Duration| u64::try_from(length.as_nanos()).unwrap_or(u64::MAX);
    phases.iter().map(|(name, length)| (name.clone(), nanos(length))).collect()
}

fn name(step: Step) -> &'static str {
    match step {
        Step::Clone => "clone",
        Step::RootMount => "mount-root",
        Step::PivotRoot => "pivot-root",
        Step::Mount => "mounts",
        Step::Ready => "confine",
        Step::Exec => "exec",
        other => other.name(),
    }
}
