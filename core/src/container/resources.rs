//! The limits that a container may be given: the checks on them, and what they are to the cgroups and to its processes.

use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use super::validate::{MIN_MEMORY, invalid};
use super::{ContainerSpec, NamespaceMode, NetworkMode};
use crate::cgroup::{DeviceWeight, Limits, Rate, Throttle};
use crate::error::{Error, ErrorKind, Result};

/// The resource limits of processes that have a name, with their numbers.
const ULIMITS: &[(&str, u32)] = &[
    ("cpu", 0),
    ("fsize", 1),
    ("data", 2),
    ("stack", 3),
    ("core", 4),
    ("rss", 5),
    ("nproc", 6),
    ("nofile", 7),
    ("memlock", 8),
    ("as", 9),
    ("locks", 10),
    ("sigpending", 11),
    ("msgqueue", 12),
    ("nice", 13),
    ("rtprio", 14),
    ("rttime", 15),
];

/// The parameters of the kernel, beside those below `fs.mqueue` and `net`, that a container has for itself.
const SYSCTLS: &[&str] = &[
    "kernel.domainname",
    "kernel.msgmax",
    "kernel.msgmnb",
    "kernel.msgmni",
    "kernel.sem",
    "kernel.shmall",
    "kernel.shmmax",
    "kernel.shmmni",
    "kernel.shm_rmid_forced",
];

/// The most bytes of a value that is written to a file of the kernel.
const MAX_VALUE: usize = 4096;

/// Docker's words for a limit that is not set: 0, an empty set, and -1 where numbers have a sign there.
pub(super) fn unset(spec: &mut ContainerSpec) {
    let zeros = [
        &mut spec.mem_limit,
        &mut spec.mem_reservation,
        &mut spec.nano_cpus,
        &mut spec.cpu_shares,
        &mut spec.cpu_quota,
        &mut spec.cpu_period,
        &mut spec.blkio_weight,
    ];
    zeros.into_iter().for_each(|limit| *limit = limit.filter(|number| *number != 0));
    spec.memswap_limit = spec.memswap_limit.filter(|bytes| *bytes != 0);
    spec.mem_swappiness = spec.mem_swappiness.filter(|number| *number != u64::MAX);
    spec.cpu_quota = spec.cpu_quota.filter(|quota| *quota != u64::MAX);
    for set in [&mut spec.cpuset_cpus, &mut spec.cpuset_mems] {
        *set = set.take().filter(|set| !set.is_empty());
    }
}

/// Checks the limits of a container that need no look at the host.
pub(super) fn check(spec: &ContainerSpec) -> Result<()> {
    memory(spec)?;
    cpu(spec)?;
    let within = |field: &str, value: Option<u64>, least: u64, most: u64| match value {
        Some(value) if value < least || value > most => {
            Err(invalid(field, format!("{value} is not in {least} to {most}")))
        }
        _ => Ok(()),
    };
    within("mem_swappiness", spec.mem_swappiness, 0, 100)?;
    within("blkio_weight", spec.blkio_weight, 10, 1000)?;
    for (path, weight) in &spec.blkio_weight_device {
        device_path("blkio_weight_device", path)?;
        within("blkio_weight_device", Some(*weight), 10, 1000)?;
    }
    if spec.oom_score_adj.is_some_and(|score| !(-1000..=1000).contains(&score)) {
        return Err(invalid("oom_score_adj", "must be -1000 to 1000"));
    }
    for (rate, list) in rates(spec) {
        for (path, value) in list {
            device_path(rate.option(), path)?;
            if *value == 0 || *value > i64::MAX as u64 {
                return Err(invalid(rate.option(), "a rate must be at least 1"));
            }
        }
    }
    for text in &spec.ulimits {
        ulimit(text)?;
    }
    for (name, value) in &spec.sysctls {
        sysctl(name, value, spec)?;
    }
    for (key, value) in &spec.unified {
        unified(key, value)?;
    }
    Ok(())
}

fn device_path(option: &str, path: &str) -> Result<()> {
    if path.starts_with('/') && !path.contains('\0') {
        return Ok(());
    }
    Err(invalid(option, format!("\"{}\" is not the path of a device", path.escape_default())))
}

fn memory(spec: &ContainerSpec) -> Result<()> {
    if let Some(reservation) = spec.mem_reservation {
        if reservation < MIN_MEMORY || reservation > i64::MAX as u64 {
            return Err(invalid("mem_reservation", "must be at least 6 MiB"));
        }
        if spec.mem_limit.is_some_and(|limit| reservation > limit) {
            return Err(invalid("mem_reservation", "must not be larger than mem_limit"));
        }
    }
    match (spec.memswap_limit, spec.mem_limit) {
        (None, _) | (Some(-1), Some(_)) => Ok(()),
        (Some(_), None) => Err(invalid("memswap_limit", "needs mem_limit, too")),
        (Some(both), Some(limit)) if u64::try_from(both).is_ok_and(|both| both >= limit) => Ok(()),
        (Some(_), Some(_)) => {
            Err(invalid("memswap_limit", "is memory and swap together, and must not be less than mem_limit"))
        }
    }
}

fn cpu(spec: &ContainerSpec) -> Result<()> {
    if spec.nano_cpus.is_some() {
        for (field, given) in [("cpu_quota", spec.cpu_quota), ("cpu_period", spec.cpu_period)] {
            if given.is_some() {
                return Err(invalid(field, "and nano_cpus exclude each other")
                    .with_hint("of one that has the one, change that"));
            }
        }
    }
    if spec.cpu_shares.is_some_and(|shares| !(2..=262_144).contains(&shares)) {
        return Err(invalid("cpu_shares", "must be 2 to 262144"));
    }
    if spec.cpu_quota.is_some_and(|quota| !(1000..=i64::MAX as u64 / 1000).contains(&quota)) {
        return Err(invalid("cpu_quota", "must be at least 1000 microseconds"));
    }
    if spec.cpu_period.is_some_and(|period| !(1000..=1_000_000).contains(&period)) {
        return Err(invalid("cpu_period", "must be 1000 to 1000000 microseconds"));
    }
    let sets = [
        ("cpuset_cpus", &spec.cpuset_cpus, "/sys/devices/system/cpu/online"),
        ("cpuset_mems", &spec.cpuset_mems, "/sys/devices/system/node/online"),
    ];
    for (field, set, online) in sets {
        let Some(set) = set else { continue };
        let wanted = numbers(set).ok_or_else(|| {
            invalid(field, format!("\"{}\" is not a set such as 0-2,7", set.escape_default()))
        })?;
        let there = std::fs::read_to_string(online).unwrap_or_default();
        // A host that does not say what it has cannot be asked.
        if let Some(there) = numbers(there.trim())
            && let Some(missing) = wanted.iter().find(|number| !there.contains(number))
        {
            return Err(invalid(field, format!("this host has no {missing}: it has {there:?}")));
        }
    }
    Ok(())
}

/// The numbers of a set such as `0-2,7`; None if it is none. At most 8192, which is what a kernel can have.
fn numbers(set: &str) -> Option<Vec<u32>> {
    let mut all = Vec::new();
    for part in set.split(',') {
        let (from, to) = part.split_once('-').unwrap_or((part, part));
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        if !digits(from) || !digits(to) {
            return None;
        }
        let (from, to): (u32, u32) = (from.parse().ok()?, to.parse().ok()?);
        if from > to || to >= 8192 {
            return None;
        }
        all.extend(from..=to);
        if all.len() > 8192 {
            return None;
        }
    }
    Some(all)
}

pub(super) fn rates(spec: &ContainerSpec) -> [(Rate, &Vec<(String, u64)>); 4] {
    [
        (Rate::ReadBytes, &spec.device_read_bps),
        (Rate::WriteBytes, &spec.device_write_bps),
        (Rate::ReadOperations, &spec.device_read_iops),
        (Rate::WriteOperations, &spec.device_write_iops),
    ]
}

/// A resource limit of processes: number, soft, hard.
fn ulimit(text: &str) -> Result<(u32, u64, u64)> {
    let bad = |why: &str| invalid("ulimits", format!("\"{}\" {why}", text.escape_default()));
    let (name, values) = text.split_once('=').ok_or_else(|| bad("is not of the form name=soft:hard"))?;
    let number = ULIMITS.iter().find(|(known, _)| *known == name).map(|(_, number)| *number);
    let number = number.ok_or_else(|| bad("names no resource limit"))?;
    let value = |text: &str| match text {
        "-1" | "unlimited" => Some(u64::MAX),
        text => text.parse::<u64>().ok(),
    };
    let (soft, hard) = values.split_once(':').unwrap_or((values, values));
    let limits = value(soft).zip(value(hard)).ok_or_else(|| bad("is not of the form name=soft:hard"))?;
    if limits.0 > limits.1 {
        return Err(bad("has a soft limit above the hard one"));
    }
    Ok((number, limits.0, limits.1))
}

/// The resource limits of a container's processes; of several for one resource the last counts.
pub(super) fn ulimits(spec: &ContainerSpec) -> Result<Vec<(u32, u64, u64)>> {
    let mut all: Vec<(u32, u64, u64)> = Vec::new();
    for text in &spec.ulimits {
        let limit = ulimit(text)?;
        all.retain(|(number, ..)| *number != limit.0);
        all.push(limit);
    }
    Ok(all)
}

/// The name of a resource limit.
pub(crate) fn ulimit_name(number: u32) -> &'static str {
    ULIMITS.iter().find(|(_, known)| *known == number).map_or("unknown", |(name, _)| name)
}

fn sysctl(name: &str, value: &str, spec: &ContainerSpec) -> Result<()> {
    let shown = name.escape_default();
    let part = |part: &str| {
        !part.is_empty()
            && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
    };
    if name.len() > 256 || !name.split('.').all(part) {
        return Err(invalid("sysctls", format!("\"{shown}\" is not the name of a parameter")));
    }
    let of_network = name.starts_with("net.");
    // Whose it would be, if not the container's own.
    let others = |mode: &NamespaceMode| matches!(mode, NamespaceMode::Host | NamespaceMode::Container(_));
    let shared = match name {
        "kernel.domainname" => others(&spec.uts_mode),
        _ if of_network => spec.network != NetworkMode::None,
        _ => others(&spec.ipc_mode),
    };
    if shared {
        let why =
            format!("\"{shown}\" would be changed for the host or another container, whose namespace it is");
        return Err(invalid("sysctls", why).with_hint("leave it out"));
    }
    if !of_network && !name.starts_with("fs.mqueue.") && !SYSCTLS.contains(&name) {
        return Err(invalid("sysctls", format!("\"{shown}\" is the host's: no container has it for itself"))
            .with_hint(
                "net.*, fs.mqueue.*, kernel.msg*, kernel.sem, kernel.shm* and kernel.domainname can be set",
            ));
    }
    // The kernel would take what comes after a line as more, or as nothing, as the parameter likes.
    if value.bytes().any(|byte| byte != b'\t' && byte.is_ascii_control()) {
        return Err(invalid(
            "sysctls",
            format!("the value of \"{shown}\" has a line break or another control character"),
        ));
    }
    plain_value("sysctls", value)
}

fn unified(key: &str, value: &str) -> Result<()> {
    let name = key.len() <= 128
        && key.contains('.')
        && key.split('.').all(|part| {
            !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        });
    if !name {
        return Err(invalid(
            "unified",
            format!("\"{}\" is not the name of a file of a cgroup", key.escape_default()),
        ));
    }
    if key.starts_with("cgroup.") {
        return Err(invalid("unified", format!("\"{key}\" is for the engine alone")));
    }
    plain_value("unified", value)
}

fn plain_value(field: &str, value: &str) -> Result<()> {
    if value.len() > MAX_VALUE || value.contains('\0') {
        return Err(invalid(field, "a value is longer than 4096 bytes or has a NUL character"));
    }
    Ok(())
}

/// The parameters of the kernel as paths below `/proc/sys`.
pub(super) fn sysctls(spec: &ContainerSpec) -> Vec<(String, String)> {
    spec.sysctls.iter().map(|(name, value)| (name.replace('.', "/"), value.clone())).collect()
}

/// The limits that the cgroups are to give. Fails if a device is not there.
pub(super) fn limits(spec: &ContainerSpec) -> Result<Limits> {
    let mut throttles = Vec::new();
    for (rate, list) in rates(spec) {
        for (path, value) in list {
            throttles.push(throttle(rate, path, *value)?);
        }
    }
    let weights = spec.blkio_weight_device.iter().map(|(path, value)| weight(path, *value));
    let weights = weights.collect::<Result<_>>()?;
    Ok(Limits {
        memory: spec.mem_limit,
        memory_swap: spec.memswap_limit.map(|both| u64::try_from(both).unwrap_or(u64::MAX)),
        memory_reservation: spec.mem_reservation,
        swappiness: spec.mem_swappiness,
        oom_kill_disable: spec.oom_kill_disable,
        nano_cpus: spec.nano_cpus,
        cpu_shares: spec.cpu_shares,
        cpu_quota: spec.cpu_quota,
        cpu_period: spec.cpu_period,
        cpuset_cpus: spec.cpuset_cpus.clone(),
        cpuset_mems: spec.cpuset_mems.clone(),
        pids: spec.pids_limit.filter(|limit| !is_unlimited(*limit)),
        blkio_weight: spec.blkio_weight,
        device_weights: weights,
        throttles,
        unified: spec.unified.iter().map(|(key, value)| (key.clone(), value.clone())).collect(),
    })
}

/// The rate of a block device.
pub(super) fn throttle(rate: Rate, path: &str, value: u64) -> Result<Throttle> {
    let (major, minor) = block_device(rate.option(), path)?;
    Ok(Throttle { rate, path: path.to_owned(), major, minor, value })
}

/// The weight of a block device.
pub(super) fn weight(path: &str, value: u64) -> Result<DeviceWeight> {
    let (major, minor) = block_device("blkio_weight_device", path)?;
    Ok(DeviceWeight { path: path.to_owned(), major, minor, value })
}

/// Whether a number of processes and threads is a word for no limit: 0, or -1 where numbers have a sign.
pub(super) fn is_unlimited(pids: u64) -> bool {
    matches!(pids, 0 | u64::MAX)
}

fn block_device(option: &str, path: &str) -> Result<(u32, u32)> {
    device_path(option, path)?;
    let found = Path::new(path).metadata().map_err(|error| {
        Error::io("stat", path, &error).while_doing(format!("looking for the device of {}", option))
    })?;
    if !found.file_type().is_block_device() {
        return Err(Error::new(
            ErrorKind::InvalidArgument,
            format!("{}: \"{}\" is not a block device", option, path.escape_default()),
        )
        .with_object(option));
    }
    Ok((rustix::fs::major(found.rdev()), rustix::fs::minor(found.rdev())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bad_limit_is_refused_by_name() {
        type Change = fn(&mut ContainerSpec);
        let table: &[(&str, Change)] = &[
            ("mem_reservation", |s| s.mem_reservation = Some(1)),
            ("mem_reservation", |s| (s.mem_limit, s.mem_reservation) = (Some(8 << 20), Some(9 << 20))),
            ("memswap_limit", |s| s.memswap_limit = Some(-1)),
            ("memswap_limit", |s| (s.mem_limit, s.memswap_limit) = (Some(8 << 20), Some(7 << 20))),
            ("memswap_limit", |s| (s.mem_limit, s.memswap_limit) = (Some(8 << 20), Some(-2))),
            ("mem_swappiness", |s| s.mem_swappiness = Some(101)),
            ("blkio_weight", |s| s.blkio_weight = Some(9)),
            ("oom_score_adj", |s| s.oom_score_adj = Some(1001)),
            ("cpu_shares", |s| s.cpu_shares = Some(1)),
            ("cpu_quota", |s| s.cpu_quota = Some(999)),
            ("cpu_period", |s| s.cpu_period = Some(1)),
            ("cpu_quota", |s| (s.nano_cpus, s.cpu_quota) = (Some(1_000_000_000), Some(1000))),
            ("cpuset_cpus", |s| s.cpuset_cpus = Some("0-".into())),
            ("cpuset_cpus", |s| s.cpuset_cpus = Some("8000".into())),
            ("cpuset_mems", |s| s.cpuset_mems = Some(String::new())),
            ("device_read_bps", |s| s.device_read_bps = vec![("sda".into(), 1)]),
            ("device_write_iops", |s| s.device_write_iops = vec![("/dev/sda".into(), 0)]),
            ("blkio_weight_device", |s| s.blkio_weight_device = vec![("/dev/sda".into(), 9)]),
            ("blkio_weight_device", |s| s.blkio_weight_device = vec![("sda".into(), 10)]),
            ("ulimits", |s| s.ulimits = vec!["nofile".into()]),
            ("ulimits", |s| s.ulimits = vec!["files=1".into()]),
            ("ulimits", |s| s.ulimits = vec!["nofile=2:1".into()]),
            ("ulimits", |s| s.ulimits = vec!["nofile=-2".into()]),
            ("sysctls", |s| drop(s.sysctls.insert("kernel.panic".into(), "1".into()))),
            ("sysctls", |s| drop(s.sysctls.insert("kernel.hostname".into(), "x".into()))),
            ("sysctls", |s| drop(s.sysctls.insert("kernel.shmall".into(), "1\n2".into()))),
            ("sysctls", |s| drop(s.sysctls.insert("kernel.shmall".into(), "1\r".into()))),
            ("sysctls", |s| drop(s.sysctls.insert("net..x".into(), "1".into()))),
            ("sysctls", |s| drop(s.sysctls.insert("net.../x".into(), "1".into()))),
            ("sysctls", |s| {
                s.network = NetworkMode::Host;
                s.sysctls.insert("net.core.somaxconn".into(), "1".into());
            }),
            ("unified", |s| drop(s.unified.insert("cgroup.procs".into(), "1".into()))),
            ("unified", |s| drop(s.unified.insert("../memory.max".into(), "1".into()))),
            ("unified", |s| drop(s.unified.insert("memory.max".into(), "\0".into()))),
        ];
        for (field, change) in table {
            let mut spec = ContainerSpec::new("image");
            change(&mut spec);
            let error = check(&spec).unwrap_err();
            assert_eq!((error.kind(), error.object()), (ErrorKind::InvalidArgument, Some(*field)), "{error}");
        }
    }

    #[test]
    fn what_docker_says_for_nothing_is_no_limit() {
        let mut spec = ContainerSpec::new("image");
        (spec.mem_limit, spec.mem_reservation, spec.memswap_limit) = (Some(0), Some(0), Some(0));
        (spec.nano_cpus, spec.cpu_shares, spec.cpu_period) = (Some(0), Some(0), Some(0));
        (spec.cpu_quota, spec.mem_swappiness, spec.blkio_weight) = (Some(u64::MAX), Some(u64::MAX), Some(0));
        (spec.cpuset_cpus, spec.cpuset_mems) = (Some(String::new()), Some(String::new()));
        unset(&mut spec);
        assert_eq!(spec, ContainerSpec::new("image"));
        (spec.mem_swappiness, spec.cpu_quota) = (Some(0), Some(0));
        unset(&mut spec);
        assert_eq!((spec.mem_swappiness, spec.cpu_quota), (Some(0), None));
    }

    #[test]
    fn good_limits_are_read() {
        let mut spec = ContainerSpec::new("image");
        spec.ulimits = vec!["nofile=10:20".into(), "core=-1".into(), "nofile=5".into()];
        spec.sysctls.insert("net.ipv4.ip_forward".into(), "1".into());
        spec.unified.insert("memory.high".into(), "max".into());
        (spec.mem_limit, spec.memswap_limit) = (Some(8 << 20), Some(-1));
        spec.cpuset_cpus = Some("0".into());
        check(&spec).unwrap();
        assert_eq!(ulimits(&spec).unwrap(), [(4, u64::MAX, u64::MAX), (7, 5, 5)]);
        assert_eq!(sysctls(&spec), [("net/ipv4/ip_forward".to_owned(), "1".to_owned())]);
        assert_eq!(limits(&spec).unwrap().memory_swap, Some(u64::MAX));
        assert_eq!((ulimit_name(7), ulimit_name(99)), ("nofile", "unknown"));
        spec.device_read_bps = vec![("/dev/null".into(), 1)];
        assert_eq!(limits(&spec).unwrap_err().kind(), ErrorKind::InvalidArgument);
    }
}
