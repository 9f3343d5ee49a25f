//! What operations return: frozen objects with the engine's own fields. `to_dict()` gives them as plain Python values.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use coble::LogSource;
use pyo3::IntoPyObjectExt;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList, PySlice, PyTuple};
use serde_json::Value;

use crate::mounts::PyMount;
use crate::secrets::PySecret;
use crate::text::Decoder;

macro_rules! values {
    ($(
        $(#[doc = $doc:literal])*
        $name:ident($core:ty) {
            $($(#[doc = $field_doc:literal])* $field:ident: $type:ty = |$value:ident| $get:expr;)*
        }
    )*) => {$(
        $(#[doc = $doc])*
        #[pyclass(frozen, eq, skip_from_py_object, module = "coble")]
        #[derive(Clone, PartialEq)]
        pub(crate) struct $name(pub(crate) $core);

        #[pymethods]
        impl $name {
            $(
                $(#[doc = $field_doc])*
                #[getter]
                fn $field(&self) -> $type {
                    let $value = &self.0;
                    $get
                }
            )*

            /// The same as plain values.
            fn to_dict(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
                plain(py, &self.0)
            }

            fn __repr__(slf: &Bound<'_, Self>) -> PyResult<String> {
                repr(slf.as_any(), stringify!($name), &[$(stringify!($field)),*])
            }
        }
    )*};
}

values! {
    /// Something the container did not get, which was not essential.
    Warning(coble::Warning) {
        /// A stable code, such as memory-limit-not-applied.
        code: String = |w| w.code.clone();
        /// The explanation.
        message: String = |w| w.message.clone();
    }

    /// A namespace of a container.
    NamespaceInfo(coble::NamespaceInfo) {
        /// The name as in /proc/self/ns.
        name: String = |n| n.name.clone();
        /// Whether it is the container's own, not the host's or another container's.
        own: bool = |n| n.own;
        /// Its inode.
        inode: u64 = |n| n.inode;
        /// The id of the container that it was joined from.
        container: Option<String> = |n| n.container.clone();
    }

    /// Capability sets, as names with CAP_.
    CapabilityInfo(coble::CapabilityInfo) {
        /// The effective set.
        effective: Vec<String> = |c| c.effective.clone();
        /// The permitted set.
        permitted: Vec<String> = |c| c.permitted.clone();
        /// The inheritable set.
        inheritable: Vec<String> = |c| c.inheritable.clone();
        /// The ambient set.
        ambient: Vec<String> = |c| c.ambient.clone();
        /// The bounding set.
        bounding: Vec<String> = |c| c.bounding.clone();
    }

    /// The user of a container's program.
    UserInfo(coble::UserInfo) {
        /// User id inside.
        uid: u32 = |u| u.uid;
        /// Group id inside.
        gid: u32 = |u| u.gid;
        /// Supplementary groups inside.
        groups: Vec<u32> = |u| u.groups.clone();
        /// /proc/self/uid_map. In a user namespace of its own the ids outside are those of the engine's, whose own are the host's unless it is rootless.
        uid_map: String = |u| u.uid_map.clone();
        /// /proc/self/gid_map, likewise.
        gid_map: String = |u| u.gid_map.clone();
    }

    /// A limit that was asked for.
    LimitInfo(coble::LimitInfo) {
        /// The name of the option, such as mem_limit.
        name: String = |l| l.name.clone();
        /// What was asked for.
        requested: u64 = |l| l.requested;
        /// What the kernel says is in force. None: not applied, and a warning says why.
        applied: Option<u64> = |l| l.applied;
        /// What was asked for, in words.
        requested_text: String = |l| l.requested_text.clone();
        /// What is in force, in words.
        applied_text: Option<String> = |l| l.applied_text.clone();
    }

    /// Something that the caller had mounted, as the kernel says it is mounted.
    MountInfo(coble::MountInfo) {
        /// The place in the container, with links resolved.
        target: String = |m| m.target.clone();
        /// The type of the file system.
        file_system: String = |m| m.file_system.clone();
        /// Whether nothing can be written.
        read_only: bool = |m| m.read_only;
        /// The flags of the mount, such as ro and nosuid.
        options: Vec<String> = |m| m.options.clone();
        /// "private", "slave" or "shared".
        propagation: String = |m| m.propagation.clone();
    }

    /// The isolation that a program really got, read back from its process.
    Isolation(coble::Isolation) {
        /// The namespaces.
        namespaces: Vec<NamespaceInfo> = |i| i.namespaces.iter().cloned().map(NamespaceInfo).collect();
        /// Capability sets.
        capabilities: CapabilityInfo = |i| CapabilityInfo(i.capabilities.clone());
        /// Whether no_new_privs is set.
        no_new_privileges: bool = |i| i.no_new_privileges;
        /// "filter" or "none".
        seccomp: String = |i| i.seccomp.clone();
        /// Which profile the filter is from: "default", "unconfined", or the digest of the caller's own.
        seccomp_profile: String = |i| i.seccomp_profile.clone();
        /// The AppArmor profile that was asked for, as the kernel says it.
        apparmor: Option<String> = |i| i.apparmor.clone();
        /// The bits that new files of the program do not get.
        umask: u32 = |i| i.umask;
        /// The device rules in force: what none of them allows is refused.
        device_rules: Vec<String> = |i| i.device_rules.clone();
        /// The rules of Landlock in force.
        landlock: Vec<String> = |i| i.landlock.clone();
        /// The user.
        user: UserInfo = |i| UserInfo(i.user.clone());
        /// The lines of /proc/self/cgroup.
        cgroup: String = |i| i.cgroup.clone();
        /// The limits, one by one.
        limits: Vec<LimitInfo> = |i| i.limits.iter().cloned().map(LimitInfo).collect();
        /// Masked paths that exist.
        masked_paths: Vec<String> = |i| i.masked_paths.clone();
        /// Read-only paths that exist.
        readonly_paths: Vec<String> = |i| i.readonly_paths.clone();
        /// Whether the root is mounted read-only.
        root_readonly: bool = |i| i.root_readonly;
        /// What the caller had mounted, as it is mounted.
        mounts: Vec<MountInfo> = |i| i.mounts.iter().cloned().map(MountInfo).collect();
        /// Whether the container runs in a user namespace of the caller.
        rootless: bool = |i| i.rootless;
    }

    /// What was asked of a container. Sizes are bytes; None is the image's or the engine's default.
    ContainerSpec(coble::ContainerSpec) {
        /// The image as the caller named it.
        image: String = |s| s.image.clone();
        /// The directory that is the root file system instead of an image.
        rootfs: Option<String> = |s| s.rootfs.clone();
        /// The directory of the OCI bundle that says so.
        bundle: Option<String> = |s| s.bundle.clone();
        /// The platform of the image.
        platform: Option<String> = |s| s.platform.clone();
        /// The command.
        command: Option<Vec<String>> = |s| s.command.clone();
        /// The entrypoint.
        entrypoint: Option<Vec<String>> = |s| s.entrypoint.clone();
        /// The name.
        name: Option<String> = |s| s.name.clone();
        /// Environment, merged over the image's.
        environment: BTreeMap<String, String> = |s| s.environment.iter().cloned().collect();
        /// Whether its programs have the proxies of docker's client configuration.
        use_config_proxy: bool = |s| s.use_config_proxy;
        /// Working directory.
        working_dir: Option<String> = |s| s.working_dir.clone();
        /// User.
        user: Option<String> = |s| s.user.clone();
        /// More group ids or names.
        group_add: Vec<String> = |s| s.group_add.clone();
        /// Host name.
        hostname: Option<String> = |s| s.hostname.clone();
        /// Domain name.
        domainname: Option<String> = |s| s.domainname.clone();
        tz: Option<String> = |s| s.tz.clone();
        passwd: bool = |s| s.passwd;
        passwd_entry: Option<String> = |s| s.passwd_entry.clone();
        group_entry: Option<String> = |s| s.group_entry.clone();
        /// "none", "host", or "container:" and an id.
        network: String = |s| s.network.to_string();
        /// Whether it has no network whatever else says which one.
        network_disabled: bool = |s| s.network_disabled;
        /// Ports that its programs listen on.
        exposed_ports: Vec<String> = |s| s.exposed_ports.clone();
        /// Whose processes it sees: "private", "host", or "container:" and an id.
        pid_mode: String = |s| s.pid_mode.to_string();
        /// Whose System V objects, message queues and /dev/shm it has.
        ipc_mode: String = |s| s.ipc_mode.to_string();
        /// Whose host name it has.
        uts_mode: String = |s| s.uts_mode.to_string();
        /// How it sees cgroups.
        cgroupns: String = |s| s.cgroupns.to_string();
        /// Which user namespace it has.
        userns_mode: String = |s| s.userns_mode.to_string();
        /// The map of user ids of its own user namespace.
        uidmap: Vec<String> = |s| s.uidmap.clone();
        /// The map of group ids.
        gidmap: Vec<String> = |s| s.gidmap.clone();
        /// Memory limit in bytes.
        mem_limit: Option<u64> = |s| s.mem_limit;
        /// CPU limit in billionths of a CPU.
        nano_cpus: Option<u64> = |s| s.nano_cpus;
        /// Limit on the number of processes and threads.
        pids_limit: Option<u64> = |s| s.pids_limit;
        /// Bytes of memory that are taken from it last.
        mem_reservation: Option<u64> = |s| s.mem_reservation;
        /// Bytes of memory and swap together; -1 is no limit.
        memswap_limit: Option<i64> = |s| s.memswap_limit;
        /// How willingly the kernel swaps.
        mem_swappiness: Option<u64> = |s| s.mem_swappiness;
        /// Whether programs wait for memory instead of being killed.
        oom_kill_disable: bool = |s| s.oom_kill_disable;
        /// How likely the kernel is to kill its programs.
        oom_score_adj: Option<i32> = |s| s.oom_score_adj;
        /// CPU weight.
        cpu_shares: Option<u64> = |s| s.cpu_shares;
        /// Microseconds of CPU time in each period.
        cpu_quota: Option<u64> = |s| s.cpu_quota;
        /// The period in microseconds.
        cpu_period: Option<u64> = |s| s.cpu_period;
        /// CPUs that may be used.
        cpuset_cpus: Option<String> = |s| s.cpuset_cpus.clone();
        /// NUMA nodes that memory may come from.
        cpuset_mems: Option<String> = |s| s.cpuset_mems.clone();
        /// Block I/O weight.
        blkio_weight: Option<u64> = |s| s.blkio_weight;
        /// The same for single block devices, by path.
        blkio_weight_device: BTreeMap<String, u64> = |s| s.blkio_weight_device.iter().cloned().collect();
        /// Bytes read each second, by device.
        device_read_bps: BTreeMap<String, u64> = |s| s.device_read_bps.iter().cloned().collect();
        /// Bytes written each second, by device.
        device_write_bps: BTreeMap<String, u64> = |s| s.device_write_bps.iter().cloned().collect();
        /// Reads each second, by device.
        device_read_iops: BTreeMap<String, u64> = |s| s.device_read_iops.iter().cloned().collect();
        /// Writes each second, by device.
        device_write_iops: BTreeMap<String, u64> = |s| s.device_write_iops.iter().cloned().collect();
        /// Resource limits of processes, as name=soft:hard.
        ulimits: Vec<String> = |s| s.ulimits.clone();
        /// Kernel parameters of its own.
        sysctls: BTreeMap<String, String> = |s| s.sysctls.clone();
        /// Files of its version 2 cgroup.
        unified: BTreeMap<String, String> = |s| s.unified.clone();
        /// The cgroup that the container's is in, if it was chosen.
        cgroup_parent: Option<String> = |s| s.cgroup_parent.clone();
        /// Capabilities added to the default set.
        cap_add: Vec<String> = |s| s.cap_add.clone();
        /// Capabilities taken from the default set.
        cap_drop: Vec<String> = |s| s.cap_drop.clone();
        /// Whether the root file system is mounted read-only.
        read_only: bool = |s| s.read_only;
        /// Security options.
        security_opt: Vec<String> = |s| s.security_opt.clone();
        /// Paths that are made invisible, if they were chosen.
        masked_paths: Option<Vec<String>> = |s| s.masked_paths.clone();
        /// Paths that are made read-only, if they were chosen.
        readonly_paths: Option<Vec<String>> = |s| s.readonly_paths.clone();
        /// Volumes, and directories and files of the host, that are mounted.
        volumes: Vec<PyMount> = |s| s.volumes.iter().cloned().map(PyMount).collect();
        /// Containers whose binds and volumes are mounted, too.
        volumes_from: Vec<String> = |s| s.volumes_from.clone();
        /// What is mounted.
        mounts: Vec<PyMount> = |s| s.mounts.iter().cloned().map(PyMount).collect();
        /// File systems in memory.
        tmpfs: Vec<PyMount> = |s| s.tmpfs.iter().cloned().map(PyMount).collect();
        /// Files whose content is in memory alone.
        secrets: Vec<PySecret> = |s| s.secrets.iter().cloned().map(PySecret).collect();
        /// Devices of the host.
        devices: Vec<String> = |s| s.devices.clone();
        /// More devices that it may use.
        device_cgroup_rules: Vec<String> = |s| s.device_cgroup_rules.clone();
        /// Whether nothing is held back.
        privileged: bool = |s| s.privileged;
        /// Labels.
        labels: BTreeMap<String, String> = |s| s.labels.clone();
        /// Annotations.
        annotations: BTreeMap<String, String> = |s| s.annotations.clone();
        /// Hooks, in the words of the runtime specification.
        hooks: Plain = |s| Plain(serde_json::to_value(&s.hooks).unwrap_or_default());
        /// The signal that stop sends.
        stop_signal: Option<String> = |s| s.stop_signal.clone();
        /// Seconds stop waits before it kills.
        stop_timeout: Option<u32> = |s| s.stop_timeout;
        /// Seconds after which its program is killed.
        run_timeout: Option<u32> = |s| s.run_timeout;
        /// Size of /dev/shm in bytes.
        shm_size: Option<u64> = |s| s.shm_size;
        /// Lines of /etc/hosts: host name to address.
        extra_hosts: BTreeMap<String, String> = |s| s.extra_hosts.iter().cloned().collect();
        /// Name servers.
        dns: Vec<String> = |s| s.dns.clone();
        /// Domains in which names are looked for.
        dns_search: Vec<String> = |s| s.dns_search.clone();
        /// Options of /etc/resolv.conf.
        dns_opt: Vec<String> = |s| s.dns_opt.clone();
        /// Where output that is kept goes.
        log_driver: Option<String> = |s| s.log_driver.clone();
        /// Options of the log driver.
        log_opt: BTreeMap<String, String> = |s| s.log_opt.clone();
        /// Whether process 1 is a small init.
        init: bool = |s| s.init;
        /// Whether the program has a terminal.
        tty: bool = |s| s.tty;
        /// Whether standard input is kept open.
        stdin_open: bool = |s| s.stdin_open;
        /// Whether the end of the first input is the end of it all.
        stdin_once: bool = |s| s.stdin_once;
        /// Height and width of the terminal at first.
        console_size: Option<(u16, u16)> = |s| s.console_size;
        /// How the health of its program is looked at.
        healthcheck: Option<Json> = |s| s.healthcheck.as_ref().map(|check| Json(serde_json::to_value(check).unwrap_or_default()));
        /// When its program is started again.
        restart_policy: String = |s| s.restart_policy.to_string();
        /// Whether the container is removed when it ends.
        auto_remove: bool = |s| s.auto_remove;
        /// "session" or "detached".
        lifetime: String = |s| word(&s.lifetime);
    }

    /// The health of a container's program.
    Health(coble::Health) {
        /// "starting", "healthy" or "unhealthy".
        status: String = |h| h.status.clone();
        /// Failures since the last check that succeeded.
        failing_streak: u32 = |h| h.failing_streak;
        /// The last checks, at most 5, the newest last.
        log: Vec<HealthProbe> = |h| h.log.iter().cloned().map(HealthProbe).collect();
    }

    /// A health check that is over.
    HealthProbe(coble::HealthProbe) {
        /// When it began, RFC 3339.
        start: String = |p| p.start.clone();
        /// When it was over, RFC 3339.
        end: String = |p| p.end.clone();
        /// Its exit code; -1 if it took too long or could not be run.
        exit_code: i32 = |p| p.exit_code;
        /// What it wrote, or why it could not be run.
        output: String = |p| p.output.clone();
    }

    /// Everything about a container.
    ContainerDetails(coble::ContainerDetails) {
        /// 64 hexadecimal digits.
        id: String = |d| d.summary.id.clone();
        /// The name.
        name: String = |d| d.summary.name.clone();
        /// The image as the caller named it.
        image: String = |d| d.summary.image.clone();
        /// The image's id.
        image_id: String = |d| d.summary.image_id.clone();
        /// Program and arguments.
        command: Vec<String> = |d| d.summary.command.clone();
        /// When it was made, RFC 3339.
        created: String = |d| d.summary.created.clone();
        /// "created", "running", "paused" or "exited".
        state: &'static str = |d| d.summary.state.name();
        /// The exit code of the last run.
        exit_code: Option<i32> = |d| d.summary.exit_code;
        /// When it was last started, RFC 3339.
        started_at: Option<String> = |d| d.summary.started_at.clone();
        /// When it last ended, RFC 3339.
        finished_at: Option<String> = |d| d.summary.finished_at.clone();
        /// Labels, the image's included.
        labels: BTreeMap<String, String> = |d| d.summary.labels.clone();
        /// "session" or "detached".
        lifetime: String = |d| word(&d.summary.lifetime);
        /// Bytes of the disk that it wrote, if they were to be measured.
        size_rw: Option<u64> = |d| d.summary.size_rw;
        /// What was asked for.
        spec: ContainerSpec = |d| ContainerSpec(d.spec.clone());
        /// The process id of its program on the host, while it runs.
        pid: Option<i32> = |d| d.pid;
        /// Why the last start failed.
        error: Option<String> = |d| d.error.clone();
        /// How often its program was started again since the last start.
        restart_count: u32 = |d| d.restart_count;
        /// Whether the kernel killed a program of the current or last run for want of memory, its first one or another.
        oom_killed: bool = |d| d.oom_killed;
        /// The health of its program, if that is looked at.
        health: Option<Health> = |d| d.health.clone().map(Health);
        /// The isolation of the current or last run.
        isolation: Option<Isolation> = |d| d.isolation.clone().map(Isolation);
        /// What the last run did not get.
        warnings: Vec<Warning> = |d| d.warnings.iter().cloned().map(Warning).collect();
        /// Seconds that each phase of the last start took, in order.
        timings: Json = |d| Json(d.timings.iter().map(|(name, length)| (name.clone(), Value::from(length.as_secs_f64()))).collect());
    }

    /// A layer of an image.
    LayerInfo(coble::LayerInfo) {
        /// Digest of the blob.
        digest: String = |l| l.digest.clone();
        /// Digest of the uncompressed layer.
        diff_id: String = |l| l.diff_id.clone();
        /// Digest of this layer and all below.
        chain_id: String = |l| l.chain_id.clone();
        /// Media type of the blob.
        media_type: String = |l| l.media_type.clone();
        /// Bytes of the blob.
        size: u64 = |l| l.size;
    }

    /// Everything about an image.
    ImageDetails(coble::ImageDetails) {
        /// Digest of the configuration.
        id: String = |d| d.summary.id.clone();
        /// Digest of the manifest.
        digest: String = |d| d.summary.digest.clone();
        /// Canonical references that name it.
        references: Vec<String> = |d| d.summary.references.clone();
        /// What it is in registries, repository@digest, as far as is known.
        repo_digests: Vec<String> = |d| d.summary.repo_digests.clone();
        /// When it was made, RFC 3339, as the image says.
        created: Option<String> = |d| d.summary.created.clone();
        /// Bytes of its blobs.
        size: u64 = |d| d.summary.size;
        /// CPU architecture, in GOARCH words.
        architecture: String = |d| d.summary.architecture.clone();
        /// Operating system, in GOOS words.
        os: String = |d| d.summary.os.clone();
        /// Variant of the architecture, such as v7.
        variant: Option<String> = |d| d.summary.variant.clone();
        /// Version of the operating system that it is made for.
        os_version: Option<String> = |d| d.summary.os_version.clone();
        /// What the operating system has to be able to do for it.
        os_features: Vec<String> = |d| d.summary.os_features.clone();
        /// Labels of the configuration.
        labels: BTreeMap<String, String> = |d| d.summary.labels.clone();
        /// The whole image configuration.
        config: Json = |d| Json(d.config.clone());
        /// The whole manifest.
        manifest: Json = |d| Json(d.manifest.clone());
        /// The layers, lowest first.
        layers: Vec<LayerInfo> = |d| d.layers.iter().cloned().map(LayerInfo).collect();
        /// Bytes of the files that its layers hold; None while a layer is not unpacked.
        unpacked_size: Option<u64> = |d| d.unpacked_size;
    }

    /// A step of an image's history.
    HistoryEntry(coble::HistoryEntry) {
        /// When, RFC 3339.
        created: Option<String> = |h| h.created.clone();
        /// The command.
        created_by: String = |h| h.created_by.clone();
        /// The comment.
        comment: Option<String> = |h| h.comment.clone();
        /// Whether the step made no layer.
        empty_layer: bool = |h| h.empty_layer;
        /// Bytes of the blob; 0 for an empty layer.
        size: u64 = |h| h.size;
        /// Diff id of the layer.
        layer: Option<String> = |h| h.layer.clone();
    }

    /// What the removal of an image did.
    Removed(coble::Removed) {
        /// References that were taken away.
        untagged: Vec<String> = |r| r.untagged.clone();
        /// Image ids that were deleted.
        deleted: Vec<String> = |r| r.deleted.clone();
    }

    /// Facts about an engine and its host.
    Info(coble::Info) {
        /// Version of coble.
        version: String = |i| i.version.clone();
        /// The data root.
        data_root: PathBuf = |i| i.data_root.clone();
        /// The run root.
        run_root: PathBuf = |i| i.run_root.clone();
        /// Whether containers run in a user namespace.
        rootless: bool = |i| i.rootless;
        /// Number of images.
        images: u64 = |i| i.images;
        /// Number of containers.
        containers: u64 = |i| i.containers;
        /// Number of running containers.
        running: u64 = |i| i.running;
        /// "v1", "hybrid", "v2" or "none".
        cgroup_version: String = |i| i.cgroup_version.clone();
        /// Release of the kernel.
        kernel: String = |i| i.kernel.clone();
    }

    /// One thing of the host that was looked at.
    Check(coble::Check) {
        /// A stable name, such as overlay.
        name: String = |c| c.name.clone();
        /// "ok", "warning" or "fail".
        status: String = |c| word(&c.status);
        /// What was found.
        summary: String = |c| c.summary.clone();
        /// What to do about it.
        fix: Option<String> = |c| c.fix.clone();
    }

    /// The result of a look at the host.
    Report(coble::Report) {
        /// The checks, in a fixed order.
        checks: Vec<Check> = |r| r.checks.iter().cloned().map(Check).collect();
        /// Whether containers can run: no check failed.
        ok: bool = |r| r.ok();
    }

    /// A path that is different.
    PathChange(coble::PathChange) {
        /// "added", "changed" or "deleted".
        kind: String = |c| word(&c.kind);
        /// The path, absolute.
        path: String = |c| c.path.clone();
    }

    /// What a pruning of containers did.
    ContainersPruned(coble::ContainersPruned) {
        /// Ids of the containers that are gone.
        deleted: Vec<String> = |p| p.deleted.clone();
        /// Bytes of the disk that are given back.
        reclaimed: u64 = |p| p.reclaimed;
    }

    /// The processes of a container as a table.
    Top(coble::Top) {
        /// The titles of the columns.
        titles: Vec<String> = |t| t.titles.clone();
        /// A row for each process.
        processes: Vec<Vec<String>> = |t| t.processes.clone();
    }

    /// What a container uses. Sizes are bytes.
    Stats(coble::Stats) {
        /// The container.
        id: String = |s| s.id.clone();
        /// Its name.
        name: String = |s| s.name.clone();
        /// When it was measured, RFC 3339.
        time: String = |s| s.time.clone();
        /// Share of one CPU since the look before, in percent: 200 is two whole CPUs. 0 at the first look.
        cpu_percent: f64 = |s| s.cpu_percent;
        /// Nanoseconds of CPU time since its start.
        cpu_total_ns: u64 = |s| s.cpu_total_ns;
        /// Of these, in user mode.
        cpu_user_ns: u64 = |s| s.cpu_user_ns;
        /// Of these, in the kernel.
        cpu_system_ns: u64 = |s| s.cpu_system_ns;
        /// Nanoseconds of CPU time of the host, idle time included.
        system_cpu_ns: u64 = |s| s.system_cpu_ns;
        /// How many CPUs the host has.
        online_cpus: u64 = |s| s.online_cpus;
        /// In how many periods the CPU limit held it up. None: nobody counts.
        throttled_periods: Option<u64> = |s| s.throttled_periods;
        /// For how many nanoseconds.
        throttled_ns: Option<u64> = |s| s.throttled_ns;
        /// Memory without caches that were not used lately.
        memory_usage: u64 = |s| s.memory_usage;
        /// The most it may use: its limit, or the host's memory.
        memory_limit: u64 = |s| s.memory_limit;
        /// The share of that, in percent.
        memory_percent: f64 = |s| s.memory_percent;
        /// The most memory it used at once, with caches, if the kernel says so.
        memory_peak: Option<u64> = |s| s.memory_peak;
        /// The kernel counts its memory. Otherwise it is the sum over its processes, which counts what they share more than once.
        memory_counted: bool = |s| s.memory_counted;
        /// How many of its programs were killed for want of memory, if the kernel says so.
        oom_kills: Option<u64> = |s| s.oom_kills;
        /// Processes and threads.
        pids: u64 = |s| s.pids;
        /// The most of them, if there is a limit.
        pids_limit: Option<u64> = |s| s.pids_limit;
        /// Read from block devices.
        block_read: u64 = |s| s.block_read;
        /// Written to block devices.
        block_write: u64 = |s| s.block_write;
        /// The kernel counts what it reads and writes. Otherwise it is what the processes did that live now.
        blocks_counted: bool = |s| s.blocks_counted;
        /// Received from the network, if that is its own.
        network_rx: u64 = |s| s.network_rx;
        /// Sent to it.
        network_tx: u64 = |s| s.network_tx;
        /// How often what happened for want of memory, if the kernel says so.
        memory_events: Option<BTreeMap<String, u64>> = |s| s.memory_events.clone();
        /// How often the limit on processes kept it from making one, if the kernel says so.
        pids_events: Option<u64> = |s| s.pids_events;
        /// How much of it waited for a CPU, if the kernel says so.
        cpu_pressure: Option<Pressure> = |s| s.cpu_pressure.clone().map(Pressure);
        /// The same for memory.
        memory_pressure: Option<Pressure> = |s| s.memory_pressure.clone().map(Pressure);
        /// The same for input and output.
        io_pressure: Option<Pressure> = |s| s.io_pressure.clone().map(Pressure);
    }

    /// How much of a container was held up by want of something.
    Pressure(coble::Pressure) {
        /// While at least one of its processes was.
        some: PressureShare = |p| PressureShare(p.some.clone());
        /// While all that had something to do were. None: the kernel does not say.
        full: Option<PressureShare> = |p| p.full.clone().map(PressureShare);
    }

    /// Shares of time in which processes waited.
    PressureShare(coble::PressureShare) {
        /// Percent of the last ten seconds.
        avg10: f64 = |p| p.avg10;
        /// Percent of the last minute.
        avg60: f64 = |p| p.avg60;
        /// Percent of the last five minutes.
        avg300: f64 = |p| p.avg300;
        /// Microseconds in all.
        total_us: u64 = |p| p.total_us;
    }

    /// What a pruning of images did.
    Pruned(coble::Pruned) {
        /// References that are gone.
        untagged: Vec<String> = |p| p.untagged.clone();
        /// Image ids that were deleted.
        deleted: Vec<String> = |p| p.deleted.clone();
        /// Bytes of the disk that are given back.
        reclaimed: u64 = |p| p.reclaimed;
    }

    /// What an export wrote.
    Exported(coble::Exported) {
        /// Bytes of the tar.
        bytes: u64 = |e| e.bytes;
        /// Entries of the tar.
        entries: u64 = |e| e.entries;
        /// What could not be written as it was.
        warnings: Vec<Warning> = |e| e.warnings.iter().cloned().map(Warning).collect();
    }

    /// An entry of a directory of a container.
    FileEntry(coble::FileEntry) {
        /// Its name in the directory.
        name: String = |f| f.name.clone();
        /// "file", "directory", "symlink", "fifo", "socket", "character-device" or "block-device".
        kind: String = |f| f.kind.name().to_owned();
        /// Bytes of its content.
        size: u64 = |f| f.size;
        /// Permission bits with set-id and sticky.
        mode: u32 = |f| f.mode;
        /// Owner, as the container sees it.
        uid: u32 = |f| f.uid;
        /// Group, as the container sees it.
        gid: u32 = |f| f.gid;
        /// When its content changed last, RFC 3339.
        modified: String = |f| f.modified.clone();
        /// Where a link leads.
        link_target: Option<String> = |f| f.link_target.clone();
    }

    /// What an image takes of the disk.
    ImageUsage(coble::ImageUsage) {
        /// The image.
        id: String = |i| i.id.clone();
        /// Its names.
        references: Vec<String> = |i| i.references.clone();
        /// When it was made, RFC 3339, as it says.
        created: Option<String> = |i| i.created.clone();
        /// All of its blobs and unpacked layers.
        size: u64 = |i| i.size;
        /// What other images have, too.
        shared: u64 = |i| i.shared;
        /// What only it has.
        unique: u64 = |i| i.unique;
        /// How many containers use it.
        containers: u64 = |i| i.containers;
    }

    /// What a container takes of the disk.
    ContainerUsage(coble::ContainerUsage) {
        /// The container.
        id: String = |c| c.id.clone();
        /// Its name.
        name: String = |c| c.name.clone();
        /// The image as its creator named it.
        image: String = |c| c.image.clone();
        /// Its state.
        state: String = |c| c.state.clone();
        /// What it wrote.
        writable: u64 = |c| c.writable;
        /// Its log.
        logs: u64 = |c| c.logs;
    }

    /// What a volume takes of the disk.
    VolumeUsage(coble::VolumeUsage) {
        /// Its name.
        name: String = |v| v.name.clone();
        /// What is in it. Of a clone, what it does not share with its source.
        size: u64 = |v| v.size;
        /// How many containers have it, whether they run or not.
        containers: u64 = |v| v.containers;
        /// How many clones are made upon it.
        clones: u64 = |v| v.clones;
    }

    /// Everything about a volume.
    VolumeDetails(coble::VolumeDetails) {
        /// Its name.
        name: String = |v| v.summary.name.clone();
        /// "local".
        driver: String = |v| v.summary.driver.clone();
        /// Where its files are on the host. Of a clone only those that are not as its source has them.
        mountpoint: PathBuf = |v| v.summary.mountpoint.clone();
        /// When it was made, RFC 3339.
        created: String = |v| v.summary.created.clone();
        /// Labels.
        labels: BTreeMap<String, String> = |v| v.summary.labels.clone();
        /// Whether the engine has named it.
        anonymous: bool = |v| v.summary.anonymous;
        /// The volume that it is a clone of.
        source: Option<String> = |v| v.summary.source.clone();
        /// How many containers have it, whether they run or not.
        containers: u64 = |v| v.summary.containers;
        /// The names of the containers that have it.
        used_by: Vec<String> = |v| v.used_by.clone();
        /// The names of its clones.
        clones: Vec<String> = |v| v.clones.clone();
    }

    /// What a pruning of volumes did.
    VolumesPruned(coble::VolumesPruned) {
        /// The names of volumes that are gone.
        deleted: Vec<String> = |p| p.deleted.clone();
        /// Bytes of the disk that are given back.
        reclaimed: u64 = |p| p.reclaimed;
    }

    /// What the store takes of the disk, in bytes of allocated blocks.
    DiskUsage(coble::DiskUsage) {
        /// Everything below the data root.
        total: u64 = |u| u.total;
        /// Compressed layers, configurations and manifests.
        blobs: u64 = |u| u.blobs;
        /// Unpacked layers.
        layers: u64 = |u| u.layers;
        /// What containers wrote.
        writable: u64 = |u| u.writable;
        /// Logs of containers.
        logs: u64 = |u| u.logs;
        /// What is in volumes.
        volumes_size: u64 = |u| u.volumes_size;
        /// The database, directories, and what is on its way in.
        other: u64 = |u| u.other;
        /// What pruning all images that no container uses would give back.
        reclaimable: u64 = |u| u.reclaimable;
        /// The images, newest first.
        images: Vec<ImageUsage> = |u| u.images.iter().cloned().map(ImageUsage).collect();
        /// The containers, newest first.
        containers: Vec<ContainerUsage> = |u| u.containers.iter().cloned().map(ContainerUsage).collect();
        /// The volumes, by name.
        volumes: Vec<VolumeUsage> = |u| u.volumes.iter().cloned().map(VolumeUsage).collect();
    }

    /// Something that is wrong with the store.
    Problem(coble::Problem) {
        /// "blob", "layer", "stray" or "store".
        kind: String = |p| p.kind.clone();
        /// The digest of the blob, the chain id of the layer, or the path of the stray below the data root.
        object: String = |p| p.object.clone();
        /// What is wrong, in a sentence.
        message: String = |p| p.message.clone();
        /// Names of the images that have it, or their ids.
        images: Vec<String> = |p| p.images.clone();
        /// Whether it was mended.
        repaired: bool = |p| p.repaired;
    }

    /// What a scrub found.
    Scrub(coble::Scrub) {
        /// Blobs that were hashed.
        blobs: u64 = |s| s.blobs;
        /// Unpacked layers that were compared with their blobs.
        layers: u64 = |s| s.layers;
        /// What is wrong, or was.
        problems: Vec<Problem> = |s| s.problems.iter().cloned().map(Problem).collect();
    }

    /// How far a long call is, or what a registry said beside the answer to another one.
    Progress(coble::Progress) {
        /// What happened, such as "blob-done".
        kind: &'static str = |p| p.kind.name();
        /// What the call is about: a canonical name, the name of a container, or the path of an archive or a store.
        reference: String = |p| p.reference.clone();
        /// The blob that it is about.
        digest: Option<String> = |p| p.digest.clone();
        /// Bytes of the blob that are done.
        current: u64 = |p| p.current;
        /// Bytes of the blob; 0: unknown.
        total: u64 = |p| p.total;
        /// Bytes that are done of all blobs that have to be moved.
        overall_current: u64 = |p| p.overall_current;
        /// Bytes of all blobs that have to be moved; 0: unknown yet, or none.
        overall_total: u64 = |p| p.overall_total;
        /// More about it, for people.
        message: Option<String> = |p| p.message.clone();
    }

    /// What a push or copy did.
    Pushed(coble::Pushed) {
        /// The canonical name that the image has in the registry now.
        reference: String = |p| p.reference.clone();
        /// Its tag, and the further ones that were asked for.
        tags: Vec<String> = |p| p.tags.clone();
        /// Digest of the manifest or index that the name stands for there.
        digest: String = |p| p.digest.clone();
        /// Its media type.
        media_type: String = |p| p.media_type.clone();
        /// Its bytes.
        size: u64 = |p| p.size;
        /// Blobs that were sent.
        blobs_sent: u64 = |p| p.blobs_sent;
        /// Blobs that the registry took from another of its repositories.
        blobs_mounted: u64 = |p| p.blobs_mounted;
        /// Blobs that were there already.
        blobs_present: u64 = |p| p.blobs_present;
        /// Bytes of the blobs that were sent.
        bytes_sent: u64 = |p| p.bytes_sent;
        /// What is not in the registry as it is in the source.
        warnings: Vec<Warning> = |p| p.warnings.iter().cloned().map(Warning).collect();
    }

    /// A blob of a plan.
    PlannedBlob(coble::PlannedBlob) {
        /// Its digest.
        digest: String = |b| b.digest.clone();
        /// Its bytes.
        size: u64 = |b| b.size;
        /// Whether the store has it.
        present: bool = |b| b.present;
    }

    /// What a pull would fetch.
    PullPlan(coble::PullPlan) {
        /// The canonical name.
        reference: String = |p| p.reference.clone();
        /// Digest of the manifest or index that the name stands for.
        digest: String = |p| p.digest.clone();
        /// Configurations and layers, in the order of the manifest, each once.
        blobs: Vec<PlannedBlob> = |p| p.blobs.iter().cloned().map(PlannedBlob).collect();
        /// Bytes that would be fetched.
        missing_bytes: u64 = |p| p.missing_bytes;
        /// Bytes that are in the store already.
        present_bytes: u64 = |p| p.present_bytes;
    }

    /// A name and the digest that it is pinned to.
    Pin(coble::Pin) {
        /// The canonical name.
        reference: String = |p| p.reference.clone();
        /// Digest of the manifest or index that it stands for.
        digest: String = |p| p.digest.clone();
    }

    /// A repository that a search found.
    SearchResult(coble::SearchResult) {
        /// The name of the repository, as it can be pulled.
        name: String = |r| r.name.clone();
        /// What its owner says of it.
        description: String = |r| r.description.clone();
        /// How many people like it.
        stars: u64 = |r| r.stars;
        /// Whether it is one of Docker's official images.
        official: bool = |r| r.official;
        /// Whether it is built by the registry.
        automated: bool = |r| r.automated;
    }

    /// What a login did.
    LoginResult(coble::LoginResult) {
        /// The registry, as it is called in the credential file.
        server: String = |l| l.server.clone();
        /// The account; empty for a token.
        username: String = |l| l.username.clone();
        /// The credential file, or the program that keeps the secret.
        stored_in: String = |l| l.stored_in.clone();
    }

    /// An image, or an artifact, in a registry.
    RemoteImage(coble::RemoteImage) {
        /// The canonical name.
        reference: String = |i| i.reference.clone();
        /// Digest of the manifest.
        digest: String = |i| i.digest.clone();
        /// Media type of the manifest.
        media_type: String = |i| i.media_type.clone();
        /// Bytes of the manifest, its configuration and its layers together; of an index, those of the index alone.
        size: u64 = |i| i.size;
        /// The manifest or index.
        manifest: Json = |i| Json(i.manifest.clone());
        /// The configuration, if it is an image.
        config: Option<Json> = |i| i.config.clone().map(Json);
        /// The platforms that the name stands for.
        platforms: Vec<String> = |i| i.platforms.clone();
    }

    /// Something that refers to an image.
    Referrer(coble::Referrer) {
        /// Digest of its manifest.
        digest: String = |r| r.digest.clone();
        /// Media type of its manifest.
        media_type: String = |r| r.media_type.clone();
        /// What it is.
        artifact_type: Option<String> = |r| r.artifact_type.clone();
        /// Bytes of its manifest.
        size: u64 = |r| r.size;
        /// Its annotations.
        annotations: BTreeMap<String, String> = |r| r.annotations.clone();
    }
}

/// What a program left.
#[pyclass(frozen, generic, module = "coble")]
pub(crate) struct RunResult {
    /// The program's exit code, or 128 plus the signal that ended it.
    #[pyo3(get)]
    exit_code: i32,
    /// Standard output, if it was collected.
    #[pyo3(get)]
    stdout: Py<PyAny>,
    /// Standard error, if it was collected.
    #[pyo3(get)]
    stderr: Py<PyAny>,
    timings: Vec<(String, f64)>,
    isolation: Option<coble::Isolation>,
    warnings: Vec<coble::Warning>,
    /// The pieces in their order: whether it is of standard error, and how much of that, in bytes or characters.
    order: Vec<(bool, usize)>,
}

impl RunResult {
    pub(crate) fn new(py: Python<'_>, result: coble::RunResult) -> RunResult {
        RunResult {
            exit_code: result.exit_code,
            order: result
                .records()
                .map(|(source, piece)| (source == LogSource::Stderr, piece.len()))
                .collect(),
            stdout: PyBytes::new(py, &result.stdout).into_any().unbind(),
            stderr: PyBytes::new(py, &result.stderr).into_any().unbind(),
            timings: result
                .timings
                .into_iter()
                .map(|(phase, length)| (phase, length.as_secs_f64()))
                .collect(),
            isolation: result.isolation,
            warnings: result.warnings,
        }
    }

    /// The same with text.
    pub(crate) fn decoded(&self, py: Python<'_>, decoder: &Decoder) -> PyResult<RunResult> {
        let streams = [self.stdout.bind(py), self.stderr.bind(py)];
        let (texts, order) = decoder.streams(streams, &self.order)?;
        let [stdout, stderr] = texts.map(Bound::unbind);
        Ok(RunResult {
            exit_code: self.exit_code,
            stdout,
            stderr,
            order,
            timings: self.timings.clone(),
            isolation: self.isolation.clone(),
            warnings: self.warnings.clone(),
        })
    }

    /// What a call returns: with text if that was asked for, also in its exception.
    pub(crate) fn outcome(
        py: Python<'_>,
        result: PyResult<coble::RunResult>,
        decoder: Option<&Decoder>,
    ) -> PyResult<RunResult> {
        match (result, decoder) {
            (Ok(result), None) => Ok(RunResult::new(py, result)),
            (Ok(result), Some(decoder)) => RunResult::new(py, result).decoded(py, decoder),
            (Err(error), None) => Err(error),
            (Err(error), Some(decoder)) => Err(decoder.of_error(py, error)),
        }
    }
}

#[pymethods]
impl RunResult {
    /// Seconds that each phase took, in order.
    #[getter]
    fn timings<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let timings = PyDict::new(py);
        for (phase, seconds) in &self.timings {
            timings.set_item(phase, seconds)?;
        }
        Ok(timings)
    }

    /// The isolation that the program really had. None for exec.
    #[getter]
    fn isolation(&self) -> Option<Isolation> {
        self.isolation.clone().map(Isolation)
    }

    /// What could not be given and was not essential.
    #[getter]
    fn warnings(&self) -> Vec<Warning> {
        self.warnings.iter().cloned().map(Warning).collect()
    }

    /// Both streams in the order in which they were read.
    #[getter]
    fn records<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        let records = PyList::empty(py);
        let mut at = [0; 2];
        for (stderr, length) in &self.order {
            let (start, name) = if *stderr { (&mut at[1], "stderr") } else { (&mut at[0], "stdout") };
            let stream = if *stderr { &self.stderr } else { &self.stdout };
            let end = *start + length;
            let piece = stream.bind(py).get_item(PySlice::new(py, *start as isize, end as isize, 1))?;
            *start = end;
            records.append((name, piece))?;
        }
        Ok(records)
    }

    /// For pickle: an error of a worker process brings its result along.
    fn __reduce__<'py>(slf: &Bound<'py, Self>) -> PyResult<(Bound<'py, PyAny>, Bound<'py, PyTuple>)> {
        let (py, this) = (slf.py(), slf.get());
        let rest = serde_json::to_string(&(&this.timings, &this.isolation, &this.warnings, &this.order));
        let rest = rest.map_err(|error| PyValueError::new_err(error.to_string()))?;
        let state = (this.exit_code, this.stdout.bind(py), this.stderr.bind(py), rest).into_pyobject(py)?;
        Ok((slf.get_type().getattr("_restore")?, state))
    }

    #[staticmethod]
    fn _restore(exit_code: i32, stdout: Py<PyAny>, stderr: Py<PyAny>, rest: &str) -> PyResult<RunResult> {
        let (timings, isolation, warnings, order) =
            serde_json::from_str(rest).map_err(|error| PyValueError::new_err(error.to_string()))?;
        Ok(RunResult { exit_code, stdout, stderr, timings, isolation, warnings, order })
    }

    fn __repr__(slf: &Bound<'_, Self>) -> PyResult<String> {
        repr(slf.as_any(), "RunResult", &["exit_code", "stdout", "stderr"])
    }
}

/// A piece of a container's output, as it arrived.
#[pyclass(frozen, module = "coble")]
pub(crate) struct LogRecord {
    /// The bytes.
    #[pyo3(get)]
    data: Py<PyBytes>,
    stream: LogSource,
    time: SystemTime,
}

impl LogRecord {
    pub(crate) fn new(py: Python<'_>, record: coble::LogRecord) -> LogRecord {
        LogRecord { data: PyBytes::new(py, &record.data).unbind(), stream: record.source, time: record.time }
    }
}

#[pymethods]
impl LogRecord {
    /// "stdout" or "stderr".
    #[getter]
    fn stream(&self) -> &'static str {
        if self.stream == LogSource::Stderr { "stderr" } else { "stdout" }
    }

    /// When it arrived, as a datetime in UTC, to the microsecond.
    #[getter]
    fn time<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        datetime(py, self.time_ns())
    }

    /// When it arrived, in nanoseconds since the epoch.
    #[getter]
    fn time_ns(&self) -> u64 {
        self.time
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_nanos().min(u128::from(u64::MAX)) as u64)
    }

    fn __repr__(slf: &Bound<'_, Self>) -> PyResult<String> {
        repr(slf.as_any(), "LogRecord", &["time", "stream", "data"])
    }
}

/// A time as a datetime in UTC, to the microsecond.
pub(crate) fn datetime(py: Python<'_>, nanoseconds: u64) -> PyResult<Bound<'_, PyAny>> {
    let datetime = py.import("datetime")?;
    let utc = datetime.getattr("timezone")?.getattr("utc")?;
    let micros = nanoseconds / 1000;
    let zero = datetime.getattr("datetime")?.call_method1("fromtimestamp", (0, utc))?;
    zero.add(datetime.getattr("timedelta")?.call1((0, micros / 1_000_000, micros % 1_000_000))?)
}

/// JSON as plain Python values.
pub(crate) struct Json(Value);

impl Json {
    pub(crate) fn new(value: Value) -> Json {
        Json(value)
    }
}

impl<'py> IntoPyObject<'py> for Json {
    type Target = PyAny;
    type Output = Bound<'py, PyAny>;
    type Error = PyErr;

    fn into_pyobject(self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        json(py, &self.0)
    }
}

pub(crate) fn plain(py: Python<'_>, value: &impl serde::Serialize) -> PyResult<Py<PyAny>> {
    let value = serde_json::to_value(value).map_err(|error| {
        crate::errors::to_py(
            py,
            coble::Error::new(coble::ErrorKind::Internal, format!("a result as JSON: {error}")),
        )
    })?;
    json(py, &value).map(Bound::unbind)
}

/// A value that Python has no type of ours for.
pub(crate) struct Plain(Value);

impl<'py> IntoPyObject<'py> for Plain {
    type Target = PyAny;
    type Output = Bound<'py, PyAny>;
    type Error = PyErr;

    fn into_pyobject(self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        json(py, &self.0)
    }
}

fn json<'py>(py: Python<'py>, value: &Value) -> PyResult<Bound<'py, PyAny>> {
    match value {
        Value::Null => Ok(py.None().into_bound(py)),
        Value::Bool(value) => value.into_bound_py_any(py),
        Value::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(number), _) => number.into_bound_py_any(py),
            (None, Some(number)) => number.into_bound_py_any(py),
            (None, None) => number.as_f64().into_bound_py_any(py),
        },
        Value::String(text) => text.into_bound_py_any(py),
        Value::Array(values) => {
            let list = PyList::empty(py);
            for value in values {
                list.append(json(py, value)?)?;
            }
            Ok(list.into_any())
        }
        Value::Object(members) => {
            let dict = PyDict::new(py);
            for (name, value) in members {
                dict.set_item(name, json(py, value)?)?;
            }
            Ok(dict.into_any())
        }
    }
}

/// The word that the engine has for a member of an enumeration.
pub(crate) fn word(value: &impl serde::Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(Value::String(word)) => word,
        _ => String::new(),
    }
}

pub(crate) fn repr(value: &Bound<'_, PyAny>, name: &str, fields: &[&str]) -> PyResult<String> {
    let mut parts = Vec::with_capacity(fields.len());
    for field in fields {
        parts.push(format!("{field}={}", value.getattr(*field)?.repr()?));
    }
    Ok(format!("{name}({})", parts.join(", ")))
}
