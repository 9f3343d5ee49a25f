//! Everything about a container in the form that docker gives it, for programs that read that.

use std::time::Duration;

use coble_protocol::{Request, Response};

use serde_json::{Map, Value, json};

use super::monitor::Monitor;
use super::start::hostname_of;
use super::wait::refreshed;
use super::{
    BindRecursive, Container, ContainerDetails, ContainerSpec, HealthCheck, Mount, MountKind, NamespaceMode,
    NetworkMode, Propagation, State, command, validate,
};
use crate::cancel::CancelToken;
use crate::engine::Inner;
use crate::error::{Context, Error, ErrorKind, Result};
use crate::image::{ImageConfig, exposed};
use crate::isolation::paths;
use crate::log::driver::{self, Settings};
use crate::process::Deadline;
use crate::state::events::exec_id;
use crate::state::{ContainerRow, NEVER, volumes};

impl Container {
    /// Everything about it as `docker inspect` has it: `Id`, `Created`, `Path`, `Args`, `State`, `Image`, `Name`, `Config`, `HostConfig`,
    /// `NetworkSettings` and so on, as far as there is something to say; `Coble` has the fields of [`ContainerDetails`].
    pub fn inspect_docker(&self) -> Result<Value> {
        self.look(false)
    }

    /// As [`Container::inspect_docker`], with what is to be measured on the disk, in bytes: `SizeRw`, what the container wrote, and `SizeRootFs`, that and the files of its image.
    pub fn inspect_docker_with_size(&self) -> Result<Value> {
        self.look(true)
    }

    fn look(&self, sized: bool) -> Result<Value> {
        let inner = &*self.engine.inner()?;
        let doing = || format!("inspecting \"{}\"", self.name());
        let details = self.inspect()?;
        let row = refreshed(inner, self.row(inner)?)?;
        let image = super::image_of(inner, &row).context(doing)?;
        let own = serde_json::to_value(&details)
            .map_err(|error| Error::new(ErrorKind::Internal, format!("json: {error}")))?;
        let file = Settings::of(&details.spec)?.file();
        let log = file.map(|name| super::create::directory(inner, self.id()).join(name));
        let summary = &details.summary;
        let mut words = summary.command.iter();
        let runs = matches!(summary.state, State::Running | State::Paused);
        let programs = if runs { self.programs(inner, &row).context(doing)? } else { Vec::new() };
        let security = validate::security_options(&details.spec.security_opt, details.spec.privileged)?;
        let mut found = json!({
            "Id": summary.id,
            "Created": summary.created,
            "Path": words.next(),
            "Args": words.collect::<Vec<_>>(),
            "State": state(&details),
            "Image": summary.image_id,
            "LogPath": log.as_ref().and_then(|log| log.to_str()).unwrap_or(""),
            "Name": format!("/{}", summary.name),
            "RestartCount": details.restart_count,
            "Driver": "overlayfs",
            "Platform": "linux",
            "Mounts": super::mount::all(&details.spec)
                .iter()
                .map(|mount| mount_point(inner, mount))
                .collect::<Result<Vec<_>>>()?,
            "HostConfig": host_config(&details.spec)?,
            "Config": config(&details.spec, &image.config, &summary.id),
            "NetworkSettings": networks(&details.spec),
            "ExecIDs": (!programs.is_empty()).then_some(programs),
            "AppArmorProfile": security.apparmor.as_deref().unwrap_or(""),
            "ProcessLabel": "",
            "MountLabel": "",
            // These files are the container's alone: the host has no path of them.
            "ResolvConfPath": "",
            "HostnamePath": "",
            "HostsPath": "",
            "Coble": own,
        });
        if let (true, Value::Object(found)) = (sized, &mut found) {
            let written = super::list::size_of(inner, self.id()).context(doing)?;
            let image = match summary.image_id.as_str() {
                "" => 0,
                id => self.engine.images().inspect(id)?.unpacked_size.unwrap_or(0),
            };
            found.insert("SizeRw".to_owned(), json!(written));
            found.insert("SizeRootFs".to_owned(), json!(written.saturating_add(image)));
        }
        Ok(found)
    }

    /// The ids of the other programs that run in it, as the events have them.
    fn programs(&self, inner: &Inner, row: &ContainerRow) -> Result<Vec<String>> {
        let Some(monitor) = Monitor::connect(inner, self.id(), self.name())? else { return Ok(Vec::new()) };
        let deadline = Deadline::after(Some(Duration::from_secs(5)));
        let late = format!("the monitor of \"{}\" does not say what runs", self.name());
        match monitor.ask(&Request::Programs, &[], deadline, &CancelToken::never(), &late)? {
            Some((Response::Programs(numbers), _)) => {
                let id = |number: u32| exec_id(self.id(), row.started_at, number);
                Ok(numbers.into_iter().map(id).collect())
            }
            Some(_) => Err(monitor.lost("an unexpected answer")),
            None => Ok(Vec::new()),
        }
    }
}

fn state(details: &ContainerDetails) -> Value {
    let summary = &details.summary;
    let running = matches!(summary.state, State::Running | State::Paused | State::Restarting);
    let mut state = json!({
        "Status": summary.state.name(),
        "Running": running,
        "Paused": summary.state == State::Paused,
        "Restarting": summary.state == State::Restarting,
        "OOMKilled": details.oom_killed,
        "Dead": false,
        "Pid": details.pid.unwrap_or(0),
        "ExitCode": summary.exit_code.unwrap_or(0),
        "Error": details.error.as_deref().unwrap_or(""),
        "StartedAt": summary.started_at.as_deref().unwrap_or(NEVER),
        "FinishedAt": summary.finished_at.as_deref().unwrap_or(NEVER),
    });
    if let (Some(health), Some(map)) = (&details.health, state.as_object_mut()) {
        map.insert("Health".to_owned(), health.to_docker());
    }
    state
}

fn config(spec: &ContainerSpec, image: &ImageConfig, id: &str) -> Value {
    let hostname = hostname_of(spec, id);
    let env: Vec<String> = command::environment(spec, image, &hostname)
        .into_iter()
        .filter(|(name, _)| name != "HOSTNAME")
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    // As docker has it: an entrypoint of its own drops the image's command.
    let cmd = match (&spec.command, &spec.entrypoint) {
        (Some(command), _) => Some(command),
        (None, Some(entrypoint)) if !entrypoint.is_empty() => None,
        _ => image.cmd.as_ref(),
    };
    let entrypoint = spec.entrypoint.as_ref().or(image.entrypoint.as_ref());
    let own = spec.exposed_ports.iter().filter_map(|port| exposed(port).ok());
    let ports: Map<String, Value> =
        image.exposed_ports.iter().cloned().chain(own).map(|port| (port, json!({}))).collect();
    let anonymous = super::mount::all(spec).into_iter().filter(|mount| mount.anonymous);
    let volumes: Map<String, Value> = anonymous.map(|mount| (mount.target, json!({}))).collect();
    let mut config = json!({
        "Hostname": hostname,
        "Domainname": spec.domainname.as_deref().unwrap_or(""),
        "User": spec.user.as_ref().or(image.user.as_ref()).map_or("", String::as_str),
        "Env": env,
        "Cmd": cmd,
        "Image": spec.origin(),
        "WorkingDir": spec.working_dir.as_ref().or(image.working_dir.as_ref()).map_or("", String::as_str),
        "Entrypoint": entrypoint.filter(|words| !words.is_empty()),
        "Labels": spec.labels,
        "Tty": spec.tty,
        "OpenStdin": spec.stdin_open,
        "StdinOnce": spec.stdin_once,
        // Who connects to a container says so when it does.
        "AttachStdin": false,
        "AttachStdout": false,
        "AttachStderr": false,
    });
    let more = [
        ("StopSignal", spec.stop_signal.as_ref().or(image.stop_signal.as_ref()).map(|signal| json!(signal))),
        ("StopTimeout", spec.stop_timeout.map(|seconds| json!(seconds))),
        ("Volumes", (!volumes.is_empty()).then(|| json!(volumes))),
        ("ExposedPorts", (!ports.is_empty()).then(|| json!(ports))),
        ("NetworkDisabled", spec.network_disabled.then(|| json!(true))),
        ("Healthcheck", HealthCheck::effective(spec, image).map(|check| check.to_docker())),
    ];
    if let Value::Object(config) = &mut config {
        config.extend(more.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?))));
    }
    config
}

fn host_config(spec: &ContainerSpec) -> Result<Value> {
    let paths = paths::of(spec, &validate::security_options(&spec.security_opt, spec.privileged)?);
    let rates = |list: &[(String, u64)]| -> Value {
        list.iter().map(|(path, rate)| json!({ "Path": path, "Rate": rate })).collect()
    };
    let weights: Vec<Value> = spec
        .blkio_weight_device
        .iter()
        .map(|(path, weight)| json!({ "Path": path, "Weight": weight }))
        .collect();
    let ulimits: Vec<Value> = spec.ulimits.iter().filter_map(|text| ulimit(text)).collect();
    let hosts: Vec<String> =
        spec.extra_hosts.iter().map(|(name, address)| format!("{name}:{address}")).collect();
    let mut config = json!({
        "NetworkMode": spec.network.to_string(),
        "PidMode": unless_private(&spec.pid_mode),
        "IpcMode": spec.ipc_mode.to_string(),
        "UTSMode": unless_private(&spec.uts_mode),
        "UsernsMode": spec.userns_mode.to_string(),
        "CgroupnsMode": spec.cgroupns.to_string(),
        "Binds": spec.volumes.iter().filter(|mount| !mount.anonymous).map(bind).collect::<Vec<_>>(),
        "VolumesFrom": spec.volumes_from,
        "Mounts": spec.mounts.iter().map(mount).collect::<Vec<_>>(),
        "Tmpfs": spec.tmpfs.iter().map(tmpfs).collect::<Map<_, _>>(),
        "AutoRemove": spec.auto_remove,
        "Annotations": spec.annotations,
        "Init": spec.init,
        "LogConfig": { "Type": spec.log_driver.as_deref().unwrap_or(driver::DEFAULT), "Config": spec.log_opt },
        "ConsoleSize": spec.console_size.map_or([0, 0], |(height, width)| [height, width]),
        "CapAdd": spec.cap_add,
        "CapDrop": spec.cap_drop,
        "Dns": spec.dns,
        "DnsSearch": spec.dns_search,
        "DnsOptions": spec.dns_opt,
        "ExtraHosts": hosts,
        "GroupAdd": spec.group_add,
        "OomScoreAdj": spec.oom_score_adj.unwrap_or(0),
        "Devices": spec.devices.iter().filter_map(|text| device(text)).collect::<Vec<_>>(),
        "DeviceCgroupRules": spec.device_cgroup_rules,
        "Privileged": spec.privileged,
        "ReadonlyRootfs": spec.read_only,
        "RestartPolicy": {
            "Name": spec.restart_policy.name(),
            "MaximumRetryCount": spec.restart_policy.most(),
        },
        "SecurityOpt": spec.security_opt,
        "MaskedPaths": paths.masked,
        "ReadonlyPaths": paths.readonly,
        "ShmSize": spec.shm_size.unwrap_or(64 << 20),
        "Sysctls": spec.sysctls,
        "PortBindings": {},
        "PublishAllPorts": false,
        "Runtime": "coble",
        "ContainerIDFile": "",
    });
    let limits = json!({
        "CgroupParent": spec.cgroup_parent.as_deref().unwrap_or(""),
        "Memory": spec.mem_limit.unwrap_or(0),
        "MemoryReservation": spec.mem_reservation.unwrap_or(0),
        "MemorySwap": spec.memswap_limit.unwrap_or(0),
        "MemorySwappiness": spec.mem_swappiness,
        "OomKillDisable": spec.oom_kill_disable,
        "NanoCpus": spec.nano_cpus.unwrap_or(0),
        "CpuShares": spec.cpu_shares.unwrap_or(0),
        "CpuPeriod": spec.cpu_period.unwrap_or(0),
        "CpuQuota": spec.cpu_quota.unwrap_or(0),
        "CpusetCpus": spec.cpuset_cpus.as_deref().unwrap_or(""),
        "CpusetMems": spec.cpuset_mems.as_deref().unwrap_or(""),
        "PidsLimit": spec.pids_limit,
        "BlkioWeight": spec.blkio_weight.unwrap_or(0),
        "BlkioWeightDevice": weights,
        "BlkioDeviceReadBps": rates(&spec.device_read_bps),
        "BlkioDeviceWriteBps": rates(&spec.device_write_bps),
        "BlkioDeviceReadIOps": rates(&spec.device_read_iops),
        "BlkioDeviceWriteIOps": rates(&spec.device_write_iops),
        "Ulimits": ulimits,
    });
    if let (Value::Object(config), Value::Object(limits)) = (&mut config, limits) {
        config.extend(limits);
    }
    Ok(config)
}

/// A device that was asked for, which was checked when the container was made.
fn device(text: &str) -> Option<Value> {
    let (source, target, access) = crate::isolation::devices::words(text)?;
    Some(json!({ "PathOnHost": source, "PathInContainer": target, "CgroupPermissions": access }))
}

/// The words of a bind that are not the default, as in `--volume`.
fn bind_mode(mount: &Mount) -> String {
    let access = if mount.read_only { "ro" } else { "" };
    let propagation = match mount.propagation {
        Propagation::RPrivate => "",
        other => other.name(),
    };
    let copy = if mount.no_copy { "nocopy" } else { "" };
    let words =
        [access, copy].into_iter().chain(mount.options.iter().map(String::as_str)).chain([propagation]);
    words.filter(|word| !word.is_empty()).collect::<Vec<_>>().join(",")
}

/// A bind or a volume as in `--volume`.
fn bind(mount: &Mount) -> String {
    let (source, target) = (mount.source.as_deref().unwrap_or_default(), &mount.target);
    match bind_mode(mount) {
        mode if mode.is_empty() => format!("{source}:{target}"),
        mode => format!("{source}:{target}:{mode}"),
    }
}

/// A tmpfs as in `--tmpfs`.
fn tmpfs(mount: &Mount) -> (String, Value) {
    let access = mount.read_only.then(|| "ro".to_owned());
    let options = mount.tmpfs_options().into_iter().map(|(name, value)| format!("{name}={value}"));
    let flags = mount.options.iter().filter(|word| !word.contains('=')).cloned();
    let words: Vec<String> = access.into_iter().chain(flags).chain(options).collect();
    (mount.target.clone(), json!(words.join(",")))
}

/// As it was asked for.
fn mount(mount: &Mount) -> Value {
    let mut value = json!({
        "Type": mount.kind.name(),
        "Source": mount.source.as_deref().unwrap_or_default(),
        "Target": mount.target,
        "ReadOnly": mount.read_only,
    });
    let options = match mount.kind {
        MountKind::Tmpfs => (
            "TmpfsOptions",
            json!({ "SizeBytes": mount.tmpfs_size.unwrap_or(0), "Mode": mount.tmpfs_mode.unwrap_or(0) }),
        ),
        MountKind::Volume => (
            "VolumeOptions",
            json!({
                "NoCopy": mount.no_copy,
                "Labels": mount.volume_labels,
                "Subpath": mount.subpath.as_deref().unwrap_or_default(),
            }),
        ),
        _ => (
            "BindOptions",
            json!({
                "Propagation": mount.propagation.name(),
                "NonRecursive": mount.recursive == BindRecursive::Disabled,
                "CreateMountpoint": mount.create_source,
                "ReadOnlyNonRecursive": mount.recursive == BindRecursive::Writable,
                "ReadOnlyForceRecursive": mount.recursive == BindRecursive::ReadOnly,
            }),
        ),
    };
    if let Value::Object(value) = &mut value {
        value.insert(options.0.to_owned(), options.1);
    }
    value
}

/// As it is mounted.
fn mount_point(inner: &Inner, mount: &Mount) -> Result<Value> {
    let bind = mount.kind == MountKind::Bind;
    let source = mount.source.as_deref().unwrap_or_default();
    let mut value = json!({
        "Type": mount.kind.name(),
        "Source": source,
        "Destination": mount.target,
        "Mode": if mount.kind == MountKind::Tmpfs { String::new() } else { bind_mode(mount) },
        "RW": !mount.read_only,
        "Propagation": if bind { mount.propagation.name() } else { "" },
    });
    if let (MountKind::Volume, Some(map)) = (mount.kind, value.as_object_mut()) {
        let row = inner.store.db.read(|connection| volumes::get(connection, source))?;
        let data = row.map(|row| crate::volume::files::data(inner, &row));
        map.insert("Source".to_owned(), json!(data));
        map.insert("Name".to_owned(), json!(source));
        map.insert("Driver".to_owned(), json!(crate::volume::DRIVER));
    }
    Ok(value)
}

/// `name=soft:hard`, which was checked when the container was made.
fn ulimit(text: &str) -> Option<Value> {
    let (name, values) = text.split_once('=')?;
    let (soft, hard) = values.split_once(':').unwrap_or((values, values));
    let number = |text: &str| if text == "unlimited" { Some(-1) } else { text.parse::<i64>().ok() };
    Some(json!({ "Name": name, "Soft": number(soft)?, "Hard": number(hard)? }))
}

/// As docker has it.
fn unless_private(mode: &NamespaceMode) -> String {
    if *mode == NamespaceMode::Private { String::new() } else { mode.to_string() }
}

fn networks(spec: &ContainerSpec) -> Value {
    let mut networks = Map::new();
    if !matches!(spec.network, NetworkMode::Container(_)) {
        let own = json!({ "IPAddress": "", "Gateway": "", "MacAddress": "" });
        networks.insert(spec.network.to_string(), own);
    }
    json!({ "Ports": {}, "Networks": networks })
}
