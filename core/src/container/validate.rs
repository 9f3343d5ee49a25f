//! The checks on a container's options that need neither the image nor the host.

use std::net::IpAddr;

use super::{ContainerSpec, ExecSpec, Signal, names};
use crate::error::{Error, ErrorKind, Result};

/// `security_opt`, read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SecurityOptions {
    pub(crate) seccomp: bool,
    pub(crate) no_new_privileges: bool,
    pub(crate) system_paths: bool,
}

/// Docker's least memory limit.
pub(super) const MIN_MEMORY: u64 = 6 << 20;

pub(super) fn invalid(field: &str, why: impl std::fmt::Display) -> Error {
    Error::new(ErrorKind::InvalidArgument, format!("{field}: {why}")).with_object(field)
}

/// Checks the options; the first field that no container could have is reported.
pub(crate) fn spec(spec: &ContainerSpec) -> Result<SecurityOptions> {
    if spec.image.is_empty() {
        return Err(invalid("image", "is empty"));
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
    if spec.pids_limit.is_some_and(|limit| limit == 0 || limit > i32::MAX as u64) {
        return Err(invalid("pids_limit", "must be at least 1"));
    }
    super::resources::check(spec)?;
    for (key, value) in &spec.labels {
        no_nul("labels", key)?;
        no_nul("labels", value)?;
        if key.is_empty() {
            return Err(invalid("labels", "a name is empty"));
        }
    }
    if let Some(signal) = &spec.stop_signal {
        Signal::parse(signal)?;
    }
    if spec.shm_size.is_some_and(|size| size == 0 || size > i64::MAX as u64) {
        return Err(invalid("shm_size", "must be at least 1 byte"));
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
    security_options(&spec.security_opt)
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
    Ok(())
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

fn security_options(options: &[String]) -> Result<SecurityOptions> {
    let mut read = SecurityOptions { seccomp: true, no_new_privileges: true, system_paths: true };
    for option in options {
        match option.as_str() {
            "seccomp=unconfined" | "seccomp:unconfined" => read.seccomp = false,
            "no-new-privileges" | "no-new-privileges=true" | "no-new-privileges:true" => {
                read.no_new_privileges = true
            }
            "no-new-privileges=false" | "no-new-privileges:false" => read.no_new_privileges = false,
            "systempaths=unconfined" => read.system_paths = false,
            _ => {
                return Err(invalid("security_opt", format!("\"{}\" is not known", option.escape_default()))
                    .with_hint(
                        "seccomp=unconfined, no-new-privileges[=true|false] and systempaths=unconfined are",
                    ));
            }
        }
    }
    Ok(read)
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
            ("pids_limit", Box::new(|s| s.pids_limit = Some(0))),
            (
                "labels",
                Box::new(|s| {
                    s.labels.insert(String::new(), "x".into());
                }),
            ),
            ("shm_size", Box::new(|s| s.shm_size = Some(0))),
            ("extra_hosts", Box::new(|s| s.extra_hosts = vec![("h".into(), "not an address".into())])),
            ("extra_hosts", Box::new(|s| s.extra_hosts = vec![("h\n".into(), "1.2.3.4".into())])),
            ("dns", Box::new(|s| s.dns = vec!["resolver".into()])),
            ("security_opt", Box::new(|s| s.security_opt = vec!["label=disable".into()])),
        ];
        for (field, change) in table {
            let error = with(change).unwrap_err();
            assert_eq!((error.kind(), error.object()), (ErrorKind::InvalidArgument, Some(field)), "{error}");
        }
        assert!(with(|s| s.stop_signal = Some("SIGNOPE".into())).is_err());
    }

    #[test]
    fn defaults_are_the_strict_ones() {
        let all = SecurityOptions { seccomp: true, no_new_privileges: true, system_paths: true };
        assert_eq!(with(|_| {}).unwrap(), all);
        let relaxed =
            with(|s| s.security_opt = vec!["seccomp=unconfined".into(), "no-new-privileges=false".into()]);
        assert_eq!(relaxed.unwrap(), SecurityOptions { seccomp: false, no_new_privileges: false, ..all });
    }
}
