//! The checks on a container's options that need neither the image nor the host.

use std::net::IpAddr;

use coble_protocol::Landlock;

use super::{ContainerSpec, ExecSpec, NamespaceMode, NetworkMode, RestartPolicy, Signal, names};
use crate::error::{Error, ErrorKind, Result};
use crate::image::exposed;
use crate::isolation::paths;

/// Which calls a container may make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Seccomp {
    /// Those of the default profile.
    Default,
    /// All.
    Unconfined,
    /// Those of a profile in docker's JSON format, or the path of its file as long as that was not read.
    Profile(String),
}

/// `security_opt`, read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SecurityOptions {
    pub(crate) seccomp: Seccomp,
    /// The AppArmor profile that was asked for.
    pub(crate) apparmor: Option<String>,
    /// SELinux labels that were asked for.
    pub(crate) labels: bool,
    pub(crate) no_new_privileges: bool,
    pub(crate) system_paths: bool,
    pub(crate) writable_cgroups: bool,
    /// Paths that are masked besides.
    pub(crate) mask: Vec<String>,
    /// Patterns of those that are neither masked nor read-only.
    pub(crate) unmask: Vec<String>,
    /// Rules of Landlock that were asked for.
    pub(crate) landlock: Landlock,
}

/// Docker's least memory limit.
pub(super) const MIN_MEMORY: u64 = 6 << 20;

pub(crate) fn invalid(field: &str, why: impl std::fmt::Display) -> Error {
    Error::new(ErrorKind::InvalidArgument, format!("{field}: {why}")).with_object(field)
}

/// Checks the options; the first field that no container could have is reported.
pub(crate) fn spec(spec: &ContainerSpec) -> Result<SecurityOptions> {
    match (spec.image.as_str(), &spec.rootfs) {
        ("", None) => return Err(invalid("image", "is empty")),
        ("", Some(rootfs)) if !rootfs.starts_with('/') || rootfs.contains('\0') => {
            return Err(invalid("rootfs", "is not an absolute path"));
        }
        (_, Some(_)) if !spec.image.is_empty() => {
            return Err(invalid("image", "a container has an image or a directory, not both"));
        }
        _ => {}
    }
    if let Some(name) = &spec.name {
        container_name(name)?;
    }
    for (field, words) in [("command", &spec.command), ("entrypoint", &spec.entrypoint)] {
        for word in words.iter().flatten() {
            no_nul(field, word)?;
        }
    }
    environment(&spec.environment)?;
    if let Some(dir) = &spec.working_dir {
        working_dir(dir)?;
    }
    if let Some(user) = &spec.user {
        no_control("user", user)?;
    }
    for group in &spec.group_add {
        no_control("group_add", group)?;
    }
    if let Some(hostname) = &spec.hostname {
        host_name("hostname", hostname, 64)?;
    }
    if let Some(domainname) = &spec.domainname {
        host_name("domainname", domainname, 64)?;
    }
    if let Some(tz) = &spec.tz {
        crate::isolation::accounts::check_zone(tz)?;
    }
    crate::isolation::accounts::check(spec)?;
    if spec.network_disabled && spec.network != NetworkMode::None {
        return Err(invalid(
            "network",
            format!("\"{}\" and network_disabled exclude each other", spec.network),
        ));
    }
    for port in &spec.exposed_ports {
        exposed(port).map_err(|why| invalid("exposed_ports", why))?;
    }
    super::spaces::check(spec)?;
    super::userns::check(spec)?;
    if let Some(parent) = &spec.cgroup_parent {
        crate::cgroup::check_parent(parent)?;
    }
    if let Some(limit) = spec.mem_limit.filter(|limit| *limit < MIN_MEMORY) {
        return Err(invalid("mem_limit", format!("{limit} bytes is less than the least limit of 6 MiB")));
    }
    if spec.mem_limit.is_some_and(|limit| limit > i64::MAX as u64) {
        return Err(invalid("mem_limit", "is larger than any memory"));
    }
    if let Some(cpus) = spec.nano_cpus {
        let available = std::thread::available_parallelism().map_or(u64::MAX, |n| n.get() as u64);
        if cpus < 10_000_000 || cpus > available.saturating_mul(1_000_000_000) {
            return Err(invalid("nano_cpus", format!("must be 0.01 to {available} CPUs, in billionths")));
        }
    }
    let pids = spec.pids_limit.filter(|limit| !super::resources::is_unlimited(*limit));
    if pids.is_some_and(|limit| limit > i32::MAX as u64) {
        return Err(invalid("pids_limit", format!("must be at most {}", i32::MAX)));
    }
    console("console_size", spec.console_size, spec.tty)?;
    if spec.stdin_once && !spec.stdin_open {
        return Err(invalid("stdin_once", "needs stdin_open"));
    }
    crate::log::driver::Settings::of(spec)?;
    super::resources::check(spec)?;
    super::mount::check(spec)?;
    super::secret::check(spec)?;
    crate::isolation::devices::check(spec)?;
    paths::check(spec)?;
    spec.hooks.check()?;
    for (field, map) in [("labels", &spec.labels), ("annotations", &spec.annotations)] {
        for (key, value) in map {
            no_nul(field, key)?;
            no_nul(field, value)?;
            if key.is_empty() {
                return Err(invalid(field, "a name is empty"));
            }
        }
    }
    if let Some(signal) = &spec.stop_signal {
        Signal::parse(signal)?;
    }
    if spec.shm_size.is_some_and(|size| size == 0 || size > i64::MAX as u64) {
        return Err(invalid("shm_size", "must be at least 1 byte"));
    }
    if spec.run_timeout == Some(0) {
        return Err(invalid("run_timeout", "must be at least 1 second"));
    }
    for (host, address) in &spec.extra_hosts {
        host_name("extra_hosts", host, 253)?;
        if address.parse::<IpAddr>().is_err() {
            return Err(invalid(
                "extra_hosts",
                format!("\"{}\" is not an address", address.escape_default()),
            ));
        }
    }
    for server in &spec.dns {
        if server.parse::<IpAddr>().is_err() {
            return Err(invalid("dns", format!("\"{}\" is not an address", server.escape_default())));
        }
    }
    for domain in spec.dns_search.iter().filter(|domain| *domain != ".") {
        host_name("dns_search", domain, 253)?;
    }
    for option in &spec.dns_opt {
        if option.is_empty() || option.len() > 255 || !option.chars().all(|c| c.is_ascii_graphic()) {
            return Err(invalid("dns_opt", format!("\"{}\" is not an option", option.escape_default())));
        }
    }
    if let Some(check) = &spec.healthcheck {
        check.check()?;
    }
    if spec.auto_remove && spec.restart_policy != RestartPolicy::No {
        return Err(invalid(
            "restart_policy",
            "a container that is removed at its end cannot be started again",
        ));
    }
    let security = security_options(&spec.security_opt, spec.privileged)?;
    if security.writable_cgroups && !spec.privileged && spec.cgroupns == NamespaceMode::Host {
        // They would be all of the host's.
        return Err(invalid("cgroupns", "\"host\" and writable-cgroups exclude each other")
            .with_hint("leave one of them out"));
    }
    Ok(security)
}

/// Checks the options of an exec.
pub(crate) fn exec(spec: &ExecSpec) -> Result<()> {
    if spec.command.is_empty() {
        return Err(invalid("command", "is empty"));
    }
    for word in &spec.command {
        no_nul("command", word)?;
    }
    environment(&spec.environment)?;
    if let Some(dir) = &spec.working_dir {
        working_dir(dir)?;
    }
    if let Some(user) = &spec.user {
        no_control("user", user)?;
    }
    console("console_size", spec.console_size, spec.tty)
}

/// Checks the size of a terminal.
fn console(field: &str, size: Option<(u16, u16)>, tty: bool) -> Result<()> {
    match size {
        Some(_) if !tty => Err(invalid(field, "needs tty")),
        Some((0, _) | (_, 0)) => Err(invalid(field, "height and width must be at least 1")),
        _ => Ok(()),
    }
}

/// A container's name.
pub(crate) fn container_name(name: &str) -> Result<()> {
    let mut chars = name.chars();
    let good = name.len() <= 128
        && chars.next().is_some_and(|c| c.is_ascii_alphanumeric())
        && chars.all(|c| c.is_ascii_alphanumeric() || "_.-".contains(c));
    if names::is_id(name) {
        // Ids come first where a container is looked up: a name like that would never be found, or hide behind another container.
        Err(invalid("name", format!("\"{name}\" looks like an id: 64 hexadecimal digits")))
    } else if good {
        Ok(())
    } else {
        Err(invalid(
            "name",
            format!(
                "\"{}\" is not [a-zA-Z0-9][a-zA-Z0-9_.-]*, at most 128 characters",
                name.escape_default()
            ),
        ))
    }
}

/// A working directory: absolute, without the parts that could name a descriptor of another process.
pub(crate) fn working_dir(dir: &str) -> Result<()> {
    no_nul("working_dir", dir)?;
    if !dir.starts_with('/') {
        return Err(invalid("working_dir", format!("\"{}\" is not an absolute path", dir.escape_default())));
    }
    if dir.len() >= libc::PATH_MAX as usize {
        return Err(invalid("working_dir", "is too long"));
    }
    Ok(())
}

fn environment(environment: &[(String, String)]) -> Result<()> {
    for (name, value) in environment {
        if name.is_empty() || name.contains('=') {
            return Err(invalid(
                "environment",
                format!("\"{}\" is not the name of a variable", name.escape_default()),
            ));
        }
        no_nul("environment", name)?;
        no_nul("environment", value)?;
    }
    Ok(())
}

/// Reads `security_opt`.
pub(crate) fn security_options(options: &[String], privileged: bool) -> Result<SecurityOptions> {
    let held = !privileged;
    let mut read = SecurityOptions {
        seccomp: if held { Seccomp::Default } else { Seccomp::Unconfined },
        apparmor: None,
        labels: false,
        no_new_privileges: held,
        system_paths: held,
        writable_cgroups: privileged,
        mask: Vec::new(),
        unmask: Vec::new(),
        landlock: Landlock::default(),
    };
    for option in options {
        if option.contains('\0') {
            return Err(invalid("security_opt", "has a NUL character"));
        }
        // Docker takes the colon, too.
        let (name, value) = match option.find(['=', ':']) {
            Some(at) => (&option[..at], &option[at + 1..]),
            None => (option.as_str(), ""),
        };
        match name {
            "seccomp" if !value.is_empty() => {
                read.seccomp = match value {
                    "unconfined" => Seccomp::Unconfined,
                    "builtin" | "default" => Seccomp::Default,
                    profile => Seccomp::Profile(profile.to_owned()),
                };
                continue;
            }
            "apparmor" if !value.is_empty() => {
                let good = |c: char| c.is_ascii_graphic() && c != '=';
                if value.len() > 255 || !value.chars().all(good) {
                    let why = format!("\"{}\" is not the name of a profile", value.escape_default());
                    return Err(invalid("security_opt", why));
                }
                read.apparmor = (value != "unconfined").then(|| value.to_owned());
                continue;
            }
            "landlock" => {
                landlock(&mut read.landlock, value)?;
                continue;
            }
            "label" if !value.is_empty() => {
                let (kind, of) = value.split_once(':').unwrap_or((value, ""));
                let known = match kind {
                    "disable" | "nested" => of.is_empty(),
                    "user" | "role" | "type" | "level" | "filetype" => !of.is_empty(),
                    _ => false,
                };
                if !known {
                    let why = format!("\"{}\" is not a label", value.escape_default());
                    return Err(invalid("security_opt", why));
                }
                read.labels |= kind != "disable";
                continue;
            }
            "mask" => {
                read.mask.extend(paths::mask(value)?);
                continue;
            }
            "unmask" => {
                read.unmask.extend(paths::unmask(value)?);
                continue;
            }
            _ => {}
        }
        match option.as_str() {
            "no-new-privileges" | "no-new-privileges=true" | "no-new-privileges:true" => {
                read.no_new_privileges = true
            }
            "no-new-privileges=false" | "no-new-privileges:false" => read.no_new_privileges = false,
            "systempaths=unconfined" | "systempaths:unconfined" => read.system_paths = false,
            "writable-cgroups" | "writable-cgroups=true" => read.writable_cgroups = true,
            "writable-cgroups=false" => read.writable_cgroups = false,
            _ => {
                return Err(invalid("security_opt", format!("\"{}\" is not known", option.escape_default()))
                    .with_hint(
                        "seccomp=FILE, seccomp=unconfined, apparmor=, label=, landlock=, no-new-privileges[=true|false], systempaths=unconfined, mask=, unmask= and writable-cgroups are",
                    ));
            }
        }
    }
    Ok(read)
}

/// A rule of Landlock: `read:`, `write:` or `exec:` and a path, `bind:` or `connect:` and a port, or `scope`.
fn landlock(rules: &mut Landlock, text: &str) -> Result<()> {
    /// The most rules of one kind.
    const MOST: usize = 128;

    let wrong = |why: &str| {
        Err(invalid("security_opt", format!("landlock=\"{}\" {why}", text.escape_default())).with_hint(
            "landlock=read:PATH, write:PATH, exec:PATH, bind:PORT, connect:PORT and landlock=scope are known",
        ))
    };
    let (kind, of) = text.split_once(':').unwrap_or((text, ""));
    let paths = match kind {
        "read" => &mut rules.read,
        "write" => &mut rules.write,
        "exec" => &mut rules.exec,
        "bind" | "connect" => {
            let ports = if kind == "bind" { &mut rules.bind } else { &mut rules.connect };
            let digits = of.bytes().all(|byte| byte.is_ascii_digit());
            match of.parse() {
                Ok(port) if digits && ports.len() < MOST => ports.push(port),
                Ok(_) if digits => return wrong("is one too many"),
                _ => return wrong("names no port"),
            }
            return Ok(());
        }
        "scope" if text == "scope" => {
            rules.scope = true;
            return Ok(());
        }
        _ => return wrong("is no rule"),
    };
    if !of.starts_with('/') || of.len() >= libc::PATH_MAX as usize {
        return wrong("is not an absolute path in the container");
    }
    if paths.len() >= MOST {
        return wrong("is one too many");
    }
    paths.push(of.to_owned());
    Ok(())
}

pub(super) fn host_name(field: &str, name: &str, max: usize) -> Result<()> {
    let label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_')
    };
    if !name.is_empty() && name.len() <= max && name.split('.').all(label) {
        Ok(())
    } else {
        Err(invalid(field, format!("\"{}\" is not a host name", name.escape_default())))
    }
}

fn no_nul(field: &str, text: &str) -> Result<()> {
    if text.contains('\0') { Err(invalid(field, "has a NUL character")) } else { Ok(()) }
}

fn no_control(field: &str, text: &str) -> Result<()> {
    if text.chars().any(char::is_control) {
        Err(invalid(field, format!("\"{}\" has a control character", text.escape_default())))
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(change: impl FnOnce(&mut ContainerSpec)) -> Result<SecurityOptions> {
        let mut it = ContainerSpec::new("image");
        change(&mut it);
        spec(&it)
    }

    #[test]
    fn every_bad_field_is_refused_by_name() {
        type Change = Box<dyn FnOnce(&mut ContainerSpec)>;
        let table: Vec<(&str, Change)> = vec![
            ("image", Box::new(|s| s.image.clear())),
            ("name", Box::new(|s| s.name = Some("../x".into()))),
            ("name", Box::new(|s| s.name = Some(String::new()))),
            ("name", Box::new(|s| s.name = Some("0123456789abcdef".repeat(4)))),
            ("command", Box::new(|s| s.command = Some(vec!["a\0b".into()]))),
            ("environment", Box::new(|s| s.environment = vec![("".into(), "x".into())])),
            ("environment", Box::new(|s| s.environment = vec![("A=B".into(), "x".into())])),
            ("environment", Box::new(|s| s.environment = vec![("A".into(), "x\0".into())])),
            ("working_dir", Box::new(|s| s.working_dir = Some("relative".into()))),
            ("user", Box::new(|s| s.user = Some("a\nb".into()))),
            ("hostname", Box::new(|s| s.hostname = Some("a\nb".into()))),
            ("hostname", Box::new(|s| s.hostname = Some("-a".into()))),
            ("mem_limit", Box::new(|s| s.mem_limit = Some(1))),
            ("nano_cpus", Box::new(|s| s.nano_cpus = Some(1))),
            ("pids_limit", Box::new(|s| s.pids_limit = Some(1 << 31))),
            (
                "labels",
                Box::new(|s| {
                    s.labels.insert(String::new(), "x".into());
                }),
            ),
            ("shm_size", Box::new(|s| s.shm_size = Some(0))),
            ("run_timeout", Box::new(|s| s.run_timeout = Some(0))),
            ("network", Box::new(|s| (s.network, s.network_disabled) = (NetworkMode::Host, true))),
            ("exposed_ports", Box::new(|s| s.exposed_ports = vec!["0/tcp".into()])),
            ("exposed_ports", Box::new(|s| s.exposed_ports = vec!["80/icmp".into()])),
            (
                "annotations",
                Box::new(|s| {
                    s.annotations.insert(String::new(), "x".into());
                }),
            ),
            ("extra_hosts", Box::new(|s| s.extra_hosts = vec![("h".into(), "not an address".into())])),
            ("extra_hosts", Box::new(|s| s.extra_hosts = vec![("h\n".into(), "1.2.3.4".into())])),
            ("dns", Box::new(|s| s.dns = vec!["resolver".into()])),
            ("dns_search", Box::new(|s| s.dns_search = vec!["a b".into()])),
            ("dns_opt", Box::new(|s| s.dns_opt = vec!["ndots:1\nnameserver 1.1.1.1".into()])),
            ("domainname", Box::new(|s| s.domainname = Some("a..b".into()))),
            ("security_opt", Box::new(|s| s.security_opt = vec!["label=frob".into()])),
            ("security_opt", Box::new(|s| s.security_opt = vec!["seccomp=".into()])),
            ("security_opt", Box::new(|s| s.security_opt = vec!["apparmor=a b".into()])),
            ("security_opt", Box::new(|s| s.security_opt = vec!["frob=1".into()])),
            ("security_opt", Box::new(|s| s.security_opt = vec!["landlock=".into()])),
            ("security_opt", Box::new(|s| s.security_opt = vec!["landlock=read:etc".into()])),
            ("security_opt", Box::new(|s| s.security_opt = vec!["landlock=bind:65536".into()])),
            ("security_opt", Box::new(|s| s.security_opt = vec!["landlock=connect:+1".into()])),
            ("security_opt", Box::new(|s| s.security_opt = vec!["landlock=scope:x".into()])),
        ];
        for (field, change) in table {
            let error = with(change).unwrap_err();
            assert_eq!((error.kind(), error.object()), (ErrorKind::InvalidArgument, Some(field)), "{error}");
        }
        assert!(with(|s| s.stop_signal = Some("SIGNOPE".into())).is_err());
    }

    #[test]
    fn defaults_are_the_strict_ones() {
        let all = SecurityOptions {
            seccomp: Seccomp::Default,
            apparmor: None,
            labels: false,
            no_new_privileges: true,
            system_paths: true,
            writable_cgroups: false,
            mask: Vec::new(),
            unmask: Vec::new(),
            landlock: Landlock::default(),
        };
        assert_eq!(with(|_| {}).unwrap(), all.clone());
        for unlimited in [0, u64::MAX] {
            assert!(with(|s| s.pids_limit = Some(unlimited)).is_ok());
        }
        let relaxed =
            with(|s| s.security_opt = vec!["seccomp=unconfined".into(), "no-new-privileges=false".into()]);
        let expected = SecurityOptions { seccomp: Seccomp::Unconfined, no_new_privileges: false, ..all };
        assert_eq!(relaxed.unwrap(), expected);
        let labelled = with(|s| s.security_opt = vec!["label=type:x_t".into(), "apparmor:p".into()]).unwrap();
        assert!(labelled.labels && labelled.apparmor.as_deref() == Some("p"));
    }
}
