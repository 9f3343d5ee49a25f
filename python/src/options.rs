//! The keyword arguments of the calls that take many. The tables here are the only place that names them; the engine has their defaults
//! and checks their values. The signatures that Python shows stand beside the methods, and a test compares them with these tables.

use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::time::Duration;

use coble::{
    ContainerSpec, Error, ErrorKind, ImportOptions, Lifetime, NamespaceMode, NetworkMode, PullPolicy,
    RunOptions, Stdio, StdioMode, UpdateOptions, UsernsMode, parse,
};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::convert::{
    Check, Command, Environment, Hooked, Hosts, ImageName, Input, Labels, LogConfig, Natural, OrNone,
    Parameters, Policy, Processes, Rates, Seconds, Size, Stream, Swap, Text, TextInput, Ulimits, Weights,
    duplicate, null, seconds,
};
use crate::credentials::{Given, Provider};
use crate::errors::{invalid, to_py};
use crate::image_store::Filters;
use crate::mounts::{Mounts, Sources, Tmpfs, Volumes};
use crate::secrets::Secrets;
use crate::text::Decoder;

/// A group of keyword arguments.
pub(crate) trait Keywords {
    /// Takes the argument if it is one of the group.
    fn take(&mut self, name: &str, value: &Bound<'_, PyAny>) -> PyResult<bool>;
}

/// Words of docker-py that mean nothing here, and why, or what is to be said instead.
const NEVER: &[(&str, &str)] = &[
    ("detach", "containers.run is always in the background, and engine.run waits for the end"),
    ("remove", "use the container in a `with` block, or auto_remove=True; engine.run always removes"),
    ("ports", "there is no mapping of ports; use network=\"host\""),
    ("publish_all_ports", "there is no mapping of ports; use network=\"host\""),
    ("links", "there is no network between containers but network=\"container:NAME\""),
    ("networking_config", "there are no networks but network=\"none\", \"host\" and \"container:NAME\""),
    ("mac_address", "there are no networks but network=\"none\", \"host\" and \"container:NAME\""),
    ("volume_driver", "there is no driver but local, which volumes have anyway"),
    ("kernel_memory", "the kernel has no such limit any more; use mem_limit"),
    ("lxc_conf", "it was for a driver that docker gave up in 2016"),
    ("version", "it chose the protocol of a daemon, and there is none"),
    ("init_path", "the init is coble's own; use init=True"),
    ("runtime", "there is no choice of runtimes"),
    ("device_requests", "give the devices with devices, and the libraries with volumes"),
    (
        "storage_opt",
        "there is no bound on what a container writes; give it a tmpfs with a size, or read_only=True",
    ),
    ("cpu_rt_period", "there is no real-time scheduling of containers; use cpu_shares, cpus or cpuset_cpus"),
    ("cpu_rt_runtime", "there is no real-time scheduling of containers; use cpu_shares, cpus or cpuset_cpus"),
    ("isolation", "it is for containers of Windows"),
    ("cpu_count", "it is for containers of Windows; use cpus"),
    ("cpu_percent", "it is for containers of Windows; use cpus"),
    ("io_maximum_bandwidth", "it is for containers of Windows; use device_read_bps and device_write_bps"),
    ("io_maximum_iops", "it is for containers of Windows; use device_read_iops and device_write_iops"),
];

/// Gives every keyword to the first group that knows it.
pub(crate) fn read(
    function: &str,
    given: Option<&Bound<'_, PyDict>>,
    groups: &mut [&mut dyn Keywords],
) -> PyResult<()> {
    'next: for (name, value) in given.into_iter().flatten() {
        let name: String = name.extract()?;
        for group in groups.iter_mut() {
            if group.take(&name, &value)? {
                continue 'next;
            }
        }
        let why = NEVER.iter().find(|(known, _)| *known == name).map(|(_, why)| format!(": {why}"));
        return Err(PyTypeError::new_err(format!(
            "{function}() got an unexpected keyword argument '{name}'{}",
            why.unwrap_or_default()
        )));
    }
    Ok(())
}

fn extract<'py, T>(name: &str, value: &Bound<'py, PyAny>) -> PyResult<T>
where
    T: for<'a> FromPyObject<'a, 'py>,
{
    value.extract::<T>().map_err(|error| {
        let error: PyErr = error.into();
        if error.get_type(value.py()).is(value.py().get_type::<PyTypeError>()) {
            PyTypeError::new_err(format!("argument '{name}': {}", error.value(value.py())))
        } else {
            error
        }
    })
}

macro_rules! keywords {
    ($($(#[doc = $doc:literal])* $group:ident { $($name:ident: $type:ty,)* })*) => {$(
        $(#[doc = $doc])*
        #[derive(Default)]
        pub(crate) struct $group { $(pub(crate) $name: $type,)* }

        impl Keywords for $group {
            fn take(&mut self, name: &str, value: &Bound<'_, PyAny>) -> PyResult<bool> {
                match name {
                    $(stringify!($name) => self.$name = extract(name, value)?,)*
                    _ => return Ok(false),
                }
                Ok(true)
            }
        }
    )*};
}

keywords! {
    /// What every new container may be given.
    Create {
        rootfs: Option<PathBuf>,
        bundle: Option<PathBuf>,
        platform: Option<String>,
        pull: Option<String>,
        entrypoint: Option<Command>,
        name: Option<String>,
        environment: Option<Environment>,
        working_dir: Option<String>,
        user: Option<Text>,
        group_add: Option<Vec<Text>>,
        use_config_proxy: bool,
        hostname: Option<String>,
        domainname: Option<String>,
        tz: Option<String>,
        passwd: Option<bool>,
        passwd_entry: Option<String>,
        group_entry: Option<String>,
        network: Option<String>,
        network_mode: Option<String>,
        network_disabled: bool,
        exposed_ports: Option<Vec<Text>>,
        pid_mode: Option<String>,
        ipc_mode: Option<String>,
        uts_mode: Option<String>,
        cgroupns: Option<String>,
        userns_mode: Option<String>,
        uidmap: Option<Vec<String>>,
        gidmap: Option<Vec<String>>,
        mem_limit: Option<Size>,
        cpus: Option<f64>,
        nano_cpus: Option<Natural>,
        pids_limit: Option<Processes>,
        mem_reservation: Option<Size>,
        memswap_limit: Option<Swap>,
        mem_swappiness: Option<OrNone>,
        oom_kill_disable: bool,
        oom_score_adj: Option<i32>,
        cpu_shares: Option<Natural>,
        cpu_quota: Option<OrNone>,
        cpu_period: Option<Natural>,
        cpuset_cpus: Option<String>,
        cpuset_mems: Option<String>,
        blkio_weight: Option<Natural>,
        blkio_weight_device: Option<Weights>,
        device_read_bps: Option<Rates>,
        device_write_bps: Option<Rates>,
        device_read_iops: Option<Rates>,
        device_write_iops: Option<Rates>,
        ulimits: Option<Ulimits>,
        sysctls: Option<Parameters>,
        unified: Option<Parameters>,
        cgroup_parent: Option<String>,
        cap_add: Option<Vec<String>>,
        cap_drop: Option<Vec<String>>,
        read_only: bool,
        security_opt: Option<Vec<String>>,
        masked_paths: Option<Vec<String>>,
        readonly_paths: Option<Vec<String>>,
        labels: Option<Labels>,
        hooks: Option<Hooked>,
        healthcheck: Option<Check>,
        annotations: Option<Labels>,
        stop_signal: Option<Text>,
        stop_timeout: Option<Natural>,
        run_timeout: Option<Natural>,
        shm_size: Option<Size>,
        extra_hosts: Option<Hosts>,
        dns: Option<Vec<String>>,
        dns_search: Option<Vec<String>>,
        dns_opt: Option<Vec<String>>,
        log_driver: Option<String>,
        log_opt: Option<Parameters>,
        log_config: Option<LogConfig>,
        init: bool,
        tty: bool,
        stdin_open: bool,
        stdin_once: bool,
        console_size: Option<(u16, u16)>,
        volumes: Option<Volumes>,
        volumes_from: Option<Sources>,
        mounts: Option<Mounts>,
        tmpfs: Option<Tmpfs>,
        secrets: Option<Secrets>,
        devices: Option<Vec<String>>,
        device_cgroup_rules: Option<Vec<String>>,
        privileged: bool,
    }
    /// The limits that an update changes.
    Update {
        mem_limit: Option<Size>,
        mem_reservation: Option<Size>,
        memswap_limit: Option<Swap>,
        cpus: Option<f64>,
        nano_cpus: Option<Natural>,
        cpu_shares: Option<Natural>,
        cpu_quota: Option<OrNone>,
        cpu_period: Option<Natural>,
        cpuset_cpus: Option<String>,
        cpuset_mems: Option<String>,
        pids_limit: Option<Processes>,
        blkio_weight: Option<Natural>,
        blkio_weight_device: Option<Weights>,
        device_read_bps: Option<Rates>,
        device_write_bps: Option<Rates>,
        device_read_iops: Option<Rates>,
        device_write_iops: Option<Rates>,
        unified: Option<Parameters>,
        restart_policy: Option<Policy>,
    }
    /// How long a container stays.
    Stay {
        lifetime: Option<String>,
        restart_policy: Option<Policy>,
        auto_remove: bool,
    }
    /// The standard streams of a program.
    Streams {
        stdin: Option<Stream>,
        stdout: Option<Stream>,
        stderr: Option<Stream>,
    }
    /// What to wait for after the start.
    Wait {
        wait: Option<Py<PyAny>>,
        wait_timeout: Option<f64>,
    }
    /// How a program's end and output are dealt with.
    Collect {
        input: Option<TextInput>,
        check: bool,
        timeout: Option<Seconds>,
        capture_limit: Option<Natural>,
        text: bool,
        encoding: Option<String>,
        errors: Option<String>,
    }
    /// The configuration of an image that is made from files.
    Import {
        command: Option<Command>,
        entrypoint: Option<Command>,
        environment: Option<Environment>,
        working_dir: Option<String>,
        user: Option<Text>,
        labels: Option<Labels>,
        message: Option<String>,
        author: Option<String>,
        changes: Option<Vec<String>>,
        platform: Option<String>,
    }
    /// How a registry is reached.
    Reach {
        credentials: Option<Given>,
        insecure: bool,
        auth_file: Option<PathBuf>,
        cert_dir: Option<PathBuf>,
        retries: Option<Natural>,
        connect_timeout: Option<Seconds>,
        idle_timeout: Option<Seconds>,
        mirrors: Option<Vec<String>>,
        registries_conf: Option<PathBuf>,
        hosts_dir: Option<PathBuf>,
        credential_provider: Option<Provider>,
    }
    /// Who is told of the progress of a transfer.
    Tell {
        progress: Option<Py<PyAny>>,
        stream: bool,
    }
    /// Who is told what a registry says beside its answers.
    Hear {
        progress: Option<Py<PyAny>>,
    }
    /// What a pull fetches.
    Pull {
        platform: Option<String>,
        policy: Option<String>,
        jobs: Option<Natural>,
        lock: Option<PathBuf>,
        allow_foreign_urls: bool,
        foreign_url_hosts: Option<Vec<String>>,
    }
    /// What a push sends.
    Push {
        tags: Option<Vec<String>>,
        platform: Option<String>,
        compression: Option<String>,
        compression_level: Option<Natural>,
        format: Option<String>,
        allow_nondistributable_artifacts: bool,
        chunk_size: Option<Size>,
        jobs: Option<Natural>,
    }
    /// What a copy moves, and how its two registries are reached.
    Copy {
        platform: Option<String>,
        format: Option<String>,
        allow_nondistributable_artifacts: bool,
        allow_foreign_urls: bool,
        foreign_url_hosts: Option<Vec<String>>,
        jobs: Option<Natural>,
        source_credentials: Option<Given>,
        source_insecure: bool,
        source_auth_file: Option<PathBuf>,
        source_cert_dir: Option<PathBuf>,
        target_credentials: Option<Given>,
        target_insecure: bool,
        target_auth_file: Option<PathBuf>,
        target_cert_dir: Option<PathBuf>,
        retries: Option<Natural>,
        connect_timeout: Option<Seconds>,
        idle_timeout: Option<Seconds>,
        mirrors: Option<Vec<String>>,
        registries_conf: Option<PathBuf>,
        hosts_dir: Option<PathBuf>,
        credential_provider: Option<Provider>,
    }
    /// Where and for what a search looks.
    Search {
        registry: Option<String>,
        limit: Option<Natural>,
        filters: Option<Filters>,
    }
}

impl Create {
    /// The specification of the container.
    pub(crate) fn spec(
        self,
        py: Python<'_>,
        image: Option<ImageName>,
        command: Option<Command>,
    ) -> PyResult<ContainerSpec> {
        let engine = |error: Error| to_py(py, error);
        let mut spec = ContainerSpec::new(image.map_or_else(String::new, |ImageName(image)| image));
        spec.rootfs = self.rootfs.map(|path| utf8(py, "rootfs", path)).transpose()?;
        spec.bundle = self.bundle.map(|path| utf8(py, "bundle", path)).transpose()?;
        spec.command = command.map(|Command(words)| words);
        spec.entrypoint = self.entrypoint.map(|Command(words)| words);
        spec.name = self.name;
        spec.environment = self.environment.map_or_else(Vec::new, |Environment(all)| all);
        spec.working_dir = self.working_dir;
        spec.user = self.user.map(|Text(text)| text);
        spec.use_config_proxy = self.use_config_proxy;
        spec.group_add = self.group_add.into_iter().flatten().map(|Text(text)| text).collect();
        spec.hostname = self.hostname;
        spec.domainname = self.domainname;
        spec.tz = self.tz;
        spec.passwd = self.passwd.unwrap_or(true);
        spec.passwd_entry = self.passwd_entry;
        spec.group_entry = self.group_entry;
        if self.network.is_some() && self.network_mode.is_some() {
            return Err(PyTypeError::new_err("network and network_mode are two names of one argument"));
        }
        if let Some(network) = self.network.or(self.network_mode) {
            spec.network = NetworkMode::parse(&network).map_err(engine)?;
        }
        spec.network_disabled = self.network_disabled;
        spec.exposed_ports = self.exposed_ports.into_iter().flatten().map(|Text(text)| text).collect();
        for (given, mode) in [
            (self.pid_mode, &mut spec.pid_mode),
            (self.ipc_mode, &mut spec.ipc_mode),
            (self.uts_mode, &mut spec.uts_mode),
            (self.cgroupns, &mut spec.cgroupns),
        ] {
            if let Some(text) = given {
                *mode = NamespaceMode::parse(&text).map_err(engine)?;
            }
        }
        if let Some(text) = self.userns_mode {
            spec.userns_mode = UsernsMode::parse(&text).map_err(engine)?;
        }
        spec.uidmap = self.uidmap.unwrap_or_default();
        spec.gidmap = self.gidmap.unwrap_or_default();
        spec.mem_limit = self.mem_limit.map(|Size(bytes)| bytes);
        spec.nano_cpus = nano_cpus(py, self.cpus, self.nano_cpus)?;
        spec.pids_limit = self.pids_limit.map(|Processes(limit)| limit);
        let number = |given: Option<Natural>| given.map(|Natural(number)| number);
        let rates = |given: Option<Rates>| given.map_or_else(Vec::new, |Rates(all)| all);
        spec.mem_reservation = self.mem_reservation.map(|Size(bytes)| bytes);
        spec.memswap_limit = self.memswap_limit.map(|Swap(bytes)| bytes);
        spec.mem_swappiness = self.mem_swappiness.map(|OrNone(number)| number);
        spec.oom_kill_disable = self.oom_kill_disable;
        spec.oom_score_adj = self.oom_score_adj;
        spec.cpu_shares = number(self.cpu_shares);
        spec.cpu_quota = self.cpu_quota.map(|OrNone(number)| number);
        spec.cpu_period = number(self.cpu_period);
        spec.cpuset_cpus = self.cpuset_cpus;
        spec.cpuset_mems = self.cpuset_mems;
        spec.blkio_weight = number(self.blkio_weight);
        spec.blkio_weight_device = self.blkio_weight_device.map_or_else(Vec::new, |Weights(all)| all);
        spec.device_read_bps = rates(self.device_read_bps);
        spec.device_write_bps = rates(self.device_write_bps);
        spec.device_read_iops = rates(self.device_read_iops);
        spec.device_write_iops = rates(self.device_write_iops);
        spec.ulimits = self.ulimits.map_or_else(Vec::new, |Ulimits(all)| all);
        spec.sysctls = self.sysctls.unwrap_or_default().0;
        spec.unified = self.unified.unwrap_or_default().0;
        spec.cgroup_parent = self.cgroup_parent;
        spec.cap_add = self.cap_add.unwrap_or_default();
        spec.cap_drop = self.cap_drop.unwrap_or_default();
        spec.read_only = self.read_only;
        spec.security_opt = self.security_opt.unwrap_or_default();
        spec.masked_paths = self.masked_paths;
        spec.readonly_paths = self.readonly_paths;
        spec.labels = self.labels.unwrap_or_default().0;
        spec.annotations = self.annotations.unwrap_or_default().0;
        spec.hooks = self.hooks.map(|Hooked(hooks)| hooks).unwrap_or_default();
        spec.healthcheck = self.healthcheck.map(|Check(check)| check);
        spec.stop_signal = self.stop_signal.map(|Text(text)| text);
        spec.platform = self.platform;
        if let Some(pull) = &self.pull {
            spec.pull = PullPolicy::parse(pull).map_err(engine)?;
        }
        if let Some(Natural(seconds)) = self.stop_timeout {
            let seconds = u32::try_from(seconds)
                .map_err(|_| invalid(py, format!("stop_timeout {seconds} is too long")))?;
            spec.stop_timeout = Some(seconds);
        }
        if let Some(Natural(seconds)) = self.run_timeout {
            let seconds = u32::try_from(seconds)
                .map_err(|_| invalid(py, format!("run_timeout {seconds} is too long")))?;
            spec.run_timeout = Some(seconds);
        }
        spec.shm_size = self.shm_size.map(|Size(bytes)| bytes);
        spec.extra_hosts = self.extra_hosts.map_or_else(Vec::new, |Hosts(all)| all);
        spec.dns = self.dns.unwrap_or_default();
        spec.dns_search = self.dns_search.unwrap_or_default();
        spec.dns_opt = self.dns_opt.unwrap_or_default();
        spec.log_driver = self.log_driver;
        spec.log_opt = self.log_opt.unwrap_or_default().0;
        if let Some(LogConfig { driver, options }) = self.log_config {
            if spec.log_driver.is_some() || !spec.log_opt.is_empty() {
                return Err(PyTypeError::new_err("log_config says what log_driver and log_opt do"));
            }
            (spec.log_driver, spec.log_opt) = (driver, options);
        }
        spec.init = self.init;
        spec.tty = self.tty;
        spec.stdin_open = self.stdin_open;
        spec.stdin_once = self.stdin_once;
        spec.console_size = self.console_size;
        spec.volumes = self.volumes.unwrap_or_default().0;
        spec.volumes_from = self.volumes_from.unwrap_or_default().0;
        spec.mounts = self.mounts.unwrap_or_default().0;
        spec.tmpfs = self.tmpfs.unwrap_or_default().0;
        spec.secrets = self.secrets.unwrap_or_default().0;
        spec.devices = self.devices.unwrap_or_default();
        spec.device_cgroup_rules = self.device_cgroup_rules.unwrap_or_default();
        spec.privileged = self.privileged;
        Ok(spec)
    }
}

impl Update {
    /// The options of the engine.
    pub(crate) fn options(self, py: Python<'_>) -> PyResult<UpdateOptions> {
        let number = |given: Option<Natural>| given.map(|Natural(number)| number);
        let mut options = UpdateOptions::default();
        options.mem_limit = self.mem_limit.map(|Size(bytes)| bytes);
        options.mem_reservation = self.mem_reservation.map(|Size(bytes)| bytes);
        options.memswap_limit = self.memswap_limit.map(|Swap(bytes)| bytes);
        options.nano_cpus = nano_cpus(py, self.cpus, self.nano_cpus)?;
        options.cpu_shares = number(self.cpu_shares);
        options.cpu_quota = self.cpu_quota.map(|OrNone(number)| number);
        options.cpu_period = number(self.cpu_period);
        options.cpuset_cpus = self.cpuset_cpus;
        options.cpuset_mems = self.cpuset_mems;
        options.pids_limit = self.pids_limit.map(|Processes(limit)| limit);
        options.blkio_weight = number(self.blkio_weight);
        let rates = |given: Option<Rates>| given.map_or_else(Vec::new, |Rates(all)| all);
        options.blkio_weight_device = self.blkio_weight_device.map_or_else(Vec::new, |Weights(all)| all);
        options.device_read_bps = rates(self.device_read_bps);
        options.device_write_bps = rates(self.device_write_bps);
        options.device_read_iops = rates(self.device_read_iops);
        options.device_write_iops = rates(self.device_write_iops);
        options.unified = self.unified.unwrap_or_default().0;
        options.restart_policy = self.restart_policy.map(|Policy(policy)| policy);
        Ok(options)
    }
}

/// A path that is kept as text.
fn utf8(py: Python<'_>, name: &str, path: PathBuf) -> PyResult<String> {
    path.into_os_string().into_string().map_err(|_| invalid(py, format!("{name} is not UTF-8")))
}

/// The CPU limit in either of its two words.
fn nano_cpus(py: Python<'_>, cpus: Option<f64>, nano: Option<Natural>) -> PyResult<Option<u64>> {
    match (cpus, nano) {
        (Some(_), Some(_)) => Err(invalid(py, "cpus and nano_cpus are two words for one limit")),
        (Some(cpus), None) => parse::cpus(cpus).map(Some).map_err(|error| to_py(py, error)),
        (None, nano) => Ok(nano.map(|Natural(nano)| nano)),
    }
}

impl Stay {
    /// Sets what was given.
    pub(crate) fn apply(&self, py: Python<'_>, spec: &mut ContainerSpec, default: Lifetime) -> PyResult<()> {
        spec.auto_remove = self.auto_remove;
        if let Some(Policy(policy)) = &self.restart_policy {
            spec.restart_policy = *policy;
        }
        spec.lifetime = match &self.lifetime {
            Some(lifetime) => Lifetime::parse(lifetime).map_err(|error| to_py(py, error))?,
            None => default,
        };
        Ok(())
    }
}

impl Import {
    /// The options of the engine.
    pub(crate) fn options(self) -> ImportOptions {
        let mut options = ImportOptions::default();
        options.command = self.command.map(|Command(words)| words);
        options.entrypoint = self.entrypoint.map(|Command(words)| words);
        options.environment = self.environment.map_or_else(Vec::new, |Environment(all)| all);
        options.working_dir = self.working_dir;
        options.user = self.user.map(|Text(text)| text);
        options.labels = self.labels.unwrap_or_default().0;
        options.message = self.message;
        options.author = self.author;
        options.changes = self.changes.unwrap_or_default();
        options.platform = self.platform;
        options
    }
}

impl Collect {
    /// How the output becomes text, if it does.
    pub(crate) fn decoder(&mut self, py: Python<'_>) -> PyResult<Option<Decoder>> {
        let decoder = Decoder::of(py, self.text, self.encoding.take(), self.errors.take())?;
        if let (Some(decoder), Some(TextInput::Text(text))) = (&decoder, &self.input) {
            self.input = Some(TextInput::Bytes(Input(decoder.bytes(py, text)?)));
        }
        Ok(decoder)
    }

    /// The options of a run whose output is collected, unless it goes elsewhere.
    pub(crate) fn options(self, py: Python<'_>, streams: Streams) -> PyResult<RunOptions> {
        let engine = |error: Error| to_py(py, error);
        if self.input.is_some() && streams.stdin.is_some() {
            return Err(invalid(py, "input and stdin exclude each other"));
        }
        let mut options = RunOptions::default();
        options.input = self.input.map(|input| match input {
            TextInput::Text(text) => text.into_bytes(),
            TextInput::Bytes(Input(bytes)) => bytes,
        });
        options.timeout = seconds(self.timeout);
        options.check = self.check;
        options.capture_limit = self.capture_limit.map(|Natural(limit)| limit);
        options.stdin = match streams.stdin {
            None => None,
            Some(Stream::Fd(fd)) => Some(fd),
            Some(Stream::Null) => Some(null().map_err(engine)?),
            Some(Stream::Pipe | Stream::Stdout) => {
                return Err(invalid(py, "stdin is a file, or DEVNULL; bytes are given with input"));
            }
        };
        options.stdout = match streams.stdout {
            None | Some(Stream::Pipe) => None,
            Some(Stream::Fd(fd)) => Some(fd),
            Some(Stream::Null) => Some(null().map_err(engine)?),
            Some(Stream::Stdout) => return Err(stdout_is_for_stderr(py)),
        };
        options.stderr = match streams.stderr {
            None | Some(Stream::Pipe) => None,
            Some(Stream::Fd(fd)) => Some(fd),
            Some(Stream::Null) => Some(null().map_err(engine)?),
            Some(Stream::Stdout) => match &options.stdout {
                Some(fd) => Some(copy(fd).map_err(engine)?),
                None => {
                    return Err(to_py(
                        py,
                        Error::new(ErrorKind::InvalidArgument, "stderr is STDOUT, but stdout is collected")
                            .with_hint("give stdout a file, or use popen, where both can go to one pipe"),
                    ));
                }
            },
        };
        Ok(options)
    }
}

impl Streams {
    /// The streams of a container's own program: the log, or what was given.
    pub(crate) fn logged(self, py: Python<'_>) -> PyResult<Stdio> {
        let mode = |stream: Option<Stream>, default: StdioMode| match stream {
            None => Ok(default),
            Some(Stream::Null) => Ok(StdioMode::Null),
            Some(Stream::Fd(fd)) => Ok(StdioMode::Fd(fd)),
            Some(Stream::Pipe | Stream::Stdout) => {
                Err(invalid(py, "a container's own streams are files, DEVNULL or the log; popen makes pipes"))
            }
        };
        Ok(Stdio {
            stdin: mode(self.stdin, StdioMode::Null)?,
            stdout: mode(self.stdout, StdioMode::Log)?,
            stderr: mode(self.stderr, StdioMode::Log)?,
        })
    }

    /// The streams of `popen`, as subprocess has them: our own when nothing is given. With `stderr=STDOUT` to a pipe, that pipe is made here: the second value is
    /// its other end.
    pub(crate) fn popen(self, py: Python<'_>) -> PyResult<(Stdio, Option<OwnedFd>)> {
        let engine = |error: Error| to_py(py, error);
        let mode = |stream: Option<Stream>| match stream {
            None => Ok(StdioMode::Inherit),
            Some(Stream::Null) => Ok(StdioMode::Null),
            Some(Stream::Pipe) => Ok(StdioMode::Pipe),
            Some(Stream::Fd(fd)) => Ok(StdioMode::Fd(fd)),
            Some(Stream::Stdout) => Err(stdout_is_for_stderr(py)),
        };
        let stdin = mode(self.stdin)?;
        let stdout = mode(self.stdout)?;
        let Some(Stream::Stdout) = self.stderr else {
            return Ok((Stdio { stdin, stdout, stderr: mode(self.stderr)? }, None));
        };
        match stdout {
            StdioMode::Pipe => {
                let (read, write) =
                    std::io::pipe().map_err(|error| engine(Error::io("pipe2", "standard stream", &error)))?;
                let (read, write) = (OwnedFd::from(read), OwnedFd::from(write));
                let second = copy(&write).map_err(engine)?;
                Ok((Stdio { stdin, stdout: StdioMode::Fd(write), stderr: StdioMode::Fd(second) }, Some(read)))
            }
            StdioMode::Fd(fd) => {
                let second = copy(&fd).map_err(engine)?;
                Ok((Stdio { stdin, stdout: StdioMode::Fd(fd), stderr: StdioMode::Fd(second) }, None))
            }
            StdioMode::Inherit => {
                let second = duplicate(1).map_err(engine)?;
                Ok((Stdio { stdin, stdout: StdioMode::Inherit, stderr: StdioMode::Fd(second) }, None))
            }
            stdout => Ok((Stdio { stdin, stdout, stderr: StdioMode::Null }, None)),
        }
    }
}

impl Streams {
    /// The streams of a program with a terminal: that, or nothing.
    pub(crate) fn terminal(self, py: Python<'_>) -> PyResult<Stdio> {
        let mode = |stream: Option<Stream>| match stream {
            None | Some(Stream::Pipe) => Ok(StdioMode::Pipe),
            Some(Stream::Null) => Ok(StdioMode::Null),
            Some(Stream::Fd(fd)) => Ok(StdioMode::Fd(fd)),
            Some(Stream::Stdout) => Err(stdout_is_for_stderr(py)),
        };
        let stderr = match self.stderr {
            None | Some(Stream::Stdout) => StdioMode::Null,
            stream => mode(stream)?,
        };
        Ok(Stdio { stdin: mode(self.stdin)?, stdout: mode(self.stdout)?, stderr })
    }
}

fn stdout_is_for_stderr(py: Python<'_>) -> PyErr {
    invalid(py, "STDOUT is for stderr only")
}

fn copy(fd: &OwnedFd) -> coble::Result<OwnedFd> {
    fd.try_clone().map_err(|error| Error::io("fcntl", "standard stream", &error))
}

impl Wait {
    /// Seconds to wait for the start to be complete.
    pub(crate) fn limit(&self) -> Duration {
        self.wait_timeout
            .and_then(|limit| Duration::try_from_secs_f64(limit.max(0.0)).ok())
            .unwrap_or(Duration::from_secs(60))
    }
}
