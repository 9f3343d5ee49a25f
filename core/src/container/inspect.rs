//! Everything about a container in the form that docker gives it, for programs that read that.

use serde_json::{Map, Value, json};

use super::start::hostname_of;
use super::wait::refreshed;
use super::{Container, ContainerDetails, ContainerSpec, NetworkMode, State, command};
use crate::error::{Context, Error, ErrorKind, Result};
use crate::image::{self, ImageConfig};
use crate::state::containers::RunInfo;

/// What docker writes for a time that never was.
const NEVER: &str = "0001-01-01T00:00:00Z";

impl Container {
    /// Everything about it as `docker inspect` has it: `Id`, `Created`, `Path`, `Args`, `State`, `Image`, `Name`, `Config`, `HostConfig`,
    /// `NetworkSettings` and so on, as far as there is something to say; `Coble` has the fields of [`ContainerDetails`].
    pub fn inspect_docker(&self) -> Result<Value> {
        let inner = &*self.engine.inner()?;
        let doing = || format!("inspecting \"{}\"", self.name());
        let details = self.inspect()?;
        let row = refreshed(inner, self.row(inner)?)?;
        let image = image::resolve(&inner.store, &row.image_id).context(doing)?;
        let run: RunInfo = row.run()?;
        let killed = run.warnings.iter().any(|warning| warning.code == "out-of-memory");
        let own = serde_json::to_value(&details)
            .map_err(|error| Error::new(ErrorKind::Internal, format!("json: {error}")))?;
        let log = super::create::directory(inner, self.id()).join(crate::log::FILE);
        let summary = &details.summary;
        let mut words = summary.command.iter();
        Ok(json!({
            "Id": summary.id,
            "Created": summary.created,
            "Path": words.next(),
            "Args": words.collect::<Vec<_>>(),
            "State": state(&details, killed),
            "Image": summary.image_id,
            "LogPath": log.to_str(),
            "Name": format!("/{}", summary.name),
            "RestartCount": 0,
            "Driver": "overlayfs",
            "Platform": "linux",
            "Mounts": [],
            "HostConfig": host_config(&details.spec),
            "Config": config(&details.spec, &image.config, &summary.id),
            "NetworkSettings": networks(&details.spec),
            "Coble": own,
        }))
    }
}

fn state(details: &ContainerDetails, killed: bool) -> Value {
    let summary = &details.summary;
    let running = matches!(summary.state, State::Running | State::Paused);
    json!({
        "Status": summary.state.name(),
        "Running": running,
        "Paused": summary.state == State::Paused,
        "Restarting": false,
        "OOMKilled": killed,
        "Dead": false,
        "Pid": details.pid.unwrap_or(0),
        "ExitCode": summary.exit_code.unwrap_or(0),
        "Error": details.error.as_deref().unwrap_or(""),
        "StartedAt": summary.started_at.as_deref().unwrap_or(NEVER),
        "FinishedAt": summary.finished_at.as_deref().unwrap_or(NEVER),
    })
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
    let mut config = json!({
        "Hostname": hostname,
        "Domainname": "",
        "User": spec.user.as_ref().or(image.user.as_ref()).map_or("", String::as_str),
        "Env": env,
        "Cmd": cmd,
        "Image": spec.image,
        "WorkingDir": spec.working_dir.as_ref().or(image.working_dir.as_ref()).map_or("", String::as_str),
        "Entrypoint": entrypoint.filter(|words| !words.is_empty()),
        "Labels": spec.labels,
    });
    let more = [
        ("StopSignal", spec.stop_signal.as_ref().or(image.stop_signal.as_ref()).map(|signal| json!(signal))),
        ("StopTimeout", spec.stop_timeout.map(|seconds| json!(seconds))),
    ];
    if let Value::Object(config) = &mut config {
        config.extend(more.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?))));
    }
    config
}

fn host_config(spec: &ContainerSpec) -> Value {
    let rates = |list: &[(String, u64)]| -> Value {
        list.iter().map(|(path, rate)| json!({ "Path": path, "Rate": rate })).collect()
    };
    let ulimits: Vec<Value> = spec.ulimits.iter().filter_map(|text| ulimit(text)).collect();
    let hosts: Vec<String> =
        spec.extra_hosts.iter().map(|(name, address)| format!("{name}:{address}")).collect();
    json!({
        "NetworkMode": network_name(spec.network),
        "AutoRemove": spec.auto_remove,
        "CapAdd": spec.cap_add,
        "CapDrop": spec.cap_drop,
        "Dns": spec.dns,
        "ExtraHosts": hosts,
        "GroupAdd": spec.group_add,
        "OomScoreAdj": spec.oom_score_adj.unwrap_or(0),
        "Privileged": false,
        "ReadonlyRootfs": spec.read_only,
        "RestartPolicy": { "Name": "no", "MaximumRetryCount": 0 },
        "SecurityOpt": spec.security_opt,
        "ShmSize": spec.shm_size.unwrap_or(64 << 20),
        "Sysctls": spec.sysctls,
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
        "BlkioDeviceReadBps": rates(&spec.device_read_bps),
        "BlkioDeviceWriteBps": rates(&spec.device_write_bps),
        "BlkioDeviceReadIOps": rates(&spec.device_read_iops),
        "BlkioDeviceWriteIOps": rates(&spec.device_write_iops),
        "Ulimits": ulimits,
    })
}

/// `name=soft:hard`, which was checked when the container was made.
fn ulimit(text: &str) -> Option<Value> {
    let (name, values) = text.split_once('=')?;
    let (soft, hard) = values.split_once(':').unwrap_or((values, values));
    let number = |text: &str| if text == "unlimited" { Some(-1) } else { text.parse::<i64>().ok() };
    Some(json!({ "Name": name, "Soft": number(soft)?, "Hard": number(hard)? }))
}

fn network_name(network: NetworkMode) -> &'static str {
    match network {
        NetworkMode::None => "none",
        NetworkMode::Host => "host",
    }
}

fn networks(spec: &ContainerSpec) -> Value {
    let mut networks = Map::new();
    networks.insert(
        network_name(spec.network).to_owned(),
        json!({ "IPAddress": "", "Gateway": "", "MacAddress": "" }),
    );
    json!({ "Ports": {}, "Networks": networks })
}
