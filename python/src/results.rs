//! What operations return: frozen objects with documented attributes, which can be compared, printed, pickled and made by hand in tests.

use pyo3::IntoPyObjectExt;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyTuple};

use crate::convert::{datetime, plain};

/// Makes a class of frozen objects. All members are values of Python, converted once.
macro_rules! result {
    ($(#[$meta:meta])* $name:ident { $($(#[$member_meta:meta])* $member:ident,)* }) => {
        $(#[$meta])*
        #[pyclass(frozen, get_all, module = "coble")]
        pub(crate) struct $name {
            $($(#[$member_meta])* $member: Py<PyAny>,)*
        }

        impl $name {
            const MEMBERS: &'static [&'static str] = &[$(stringify!($member),)*];
        }

        #[pymethods]
        impl $name {
            #[classattr]
            fn __match_args__(py: Python<'_>) -> PyResult<Bound<'_, PyTuple>> {
                PyTuple::new(py, Self::MEMBERS)
            }

            #[new]
            #[allow(clippy::too_many_arguments)]
            fn new_($($member: Py<PyAny>),*) -> Self {
                $name { $($member),* }
            }

            fn __repr__(slf: &Bound<'_, Self>) -> PyResult<String> {
                represent(slf.as_any(), stringify!($name), Self::MEMBERS)
            }

            fn __eq__(slf: &Bound<'_, Self>, other: &Bound<'_, Self>) -> PyResult<bool> {
                values(slf.as_any(), Self::MEMBERS)?.eq(values(other.as_any(), Self::MEMBERS)?)
            }

            fn __reduce__<'py>(slf: &Bound<'py, Self>) -> PyResult<(Bound<'py, PyAny>, Bound<'py, PyTuple>)> {
                Ok((slf.get_type().into_any(), values(slf.as_any(), Self::MEMBERS)?))
            }
        }
    };
}

fn values<'py>(object: &Bound<'py, PyAny>, members: &[&str]) -> PyResult<Bound<'py, PyTuple>> {
    let values: Vec<_> = members.iter().map(|member| object.getattr(*member)).collect::<PyResult<_>>()?;
    PyTuple::new(object.py(), values)
}

fn represent(object: &Bound<'_, PyAny>, name: &str, members: &[&str]) -> PyResult<String> {
    let mut text = format!("{name}(");
    for (index, member) in members.iter().enumerate() {
        if index > 0 {
            text.push_str(", ");
        }
        text.push_str(&format!("{member}={}", object.getattr(*member)?.repr()?));
    }
    text.push(')');
    Ok(text)
}

/// A value of Rust as one of Python.
fn py<'py>(py: Python<'py>, value: impl IntoPyObject<'py>) -> PyResult<Py<PyAny>> {
    value.into_py_any(py)
}

/// A list of objects.
fn list<'py, T, O: IntoPyObject<'py>>(
    python: Python<'py>,
    items: impl IntoIterator<Item = T>,
    make: impl Fn(Python<'py>, T) -> PyResult<O>,
) -> PyResult<Py<PyAny>> {
    let items: Vec<O> = items.into_iter().map(|item| make(python, item)).collect::<PyResult<_>>()?;
    py(python, items)
}

result! {
    /// What a program left.
    RunResult {
        /// The program's exit code, or 128 plus the signal that ended it.
        exit_code,
        /// Standard output, if it was collected.
        stdout,
        /// Standard error, if it was collected.
        stderr,
        /// How many seconds each phase took, in order.
        timings,
        /// The isolation that the program really had. None for exec.
        isolation,
        /// What could not be given and was not essential.
        warnings,
    }
}

impl RunResult {
    pub(crate) fn new(python: Python<'_>, result: coble::RunResult) -> PyResult<RunResult> {
        let timings = PyDict::new(python);
        for (name, time) in &result.timings {
            timings.set_item(name, time.as_secs_f64())?;
        }
        Ok(RunResult {
            exit_code: py(python, result.exit_code)?,
            stdout: PyBytes::new(python, &result.stdout).into_any().unbind(),
            stderr: PyBytes::new(python, &result.stderr).into_any().unbind(),
            timings: timings.into_any().unbind(),
            isolation: isolation(python, result.isolation)?,
            warnings: list(python, result.warnings, ContainerWarning::new)?,
        })
    }
}

result! {
    /// Something a container did not get, which was not essential.
    ContainerWarning {
        /// A stable code, such as `memory-limit-not-applied`.
        code,
        /// The explanation.
        message,
    }
}

impl ContainerWarning {
    fn new(python: Python<'_>, warning: coble::Warning) -> PyResult<ContainerWarning> {
        Ok(ContainerWarning { code: py(python, warning.code)?, message: py(python, warning.message)? })
    }
}

result! {
    /// The isolation that a container really got: read back from its process, not copied from what was asked for.
    Isolation {
        /// The namespaces.
        namespaces,
        /// Capability sets, as names.
        capabilities,
        /// Whether `no_new_privs` is set.
        no_new_privileges,
        /// `filter` or `none`.
        seccomp,
        /// The user.
        user,
        /// The lines of `/proc/self/cgroup`.
        cgroup,
        /// The limits that were asked for, one by one.
        limits,
        /// Masked paths that exist.
        masked_paths,
        /// Read-only paths that exist.
        readonly_paths,
        /// Whether the root is mounted read-only.
        root_readonly,
        /// Whether the container runs in a user namespace of the caller.
        rootless,
    }
}

fn isolation(python: Python<'_>, isolation: Option<coble::Isolation>) -> PyResult<Py<PyAny>> {
    let Some(found) = isolation else { return Ok(python.None()) };
    let sets = found.capabilities;
    let capabilities = CapabilityInfo {
        effective: py(python, sets.effective)?,
        permitted: py(python, sets.permitted)?,
        inheritable: py(python, sets.inheritable)?,
        ambient: py(python, sets.ambient)?,
        bounding: py(python, sets.bounding)?,
    };
    let user = UserInfo {
        uid: py(python, found.user.uid)?,
        gid: py(python, found.user.gid)?,
        groups: py(python, found.user.groups)?,
        uid_map: py(python, found.user.uid_map)?,
        gid_map: py(python, found.user.gid_map)?,
    };
    let value = Isolation {
        namespaces: list(python, found.namespaces, |python, item| {
            Ok(NamespaceInfo {
                name: py(python, item.name)?,
                own: py(python, item.own)?,
                inode: py(python, item.inode)?,
            })
        })?,
        capabilities: py(python, capabilities)?,
        no_new_privileges: py(python, found.no_new_privileges)?,
        seccomp: py(python, found.seccomp)?,
        user: py(python, user)?,
        cgroup: py(python, found.cgroup)?,
        limits: list(python, found.limits, |python, item| {
            Ok(LimitInfo {
                name: py(python, item.name)?,
                requested: py(python, item.requested)?,
                applied: py(python, item.applied)?,
            })
        })?,
        masked_paths: py(python, found.masked_paths)?,
        readonly_paths: py(python, found.readonly_paths)?,
        root_readonly: py(python, found.root_readonly)?,
        rootless: py(python, found.rootless)?,
    };
    py(python, value)
}

result! {
    /// A namespace of a container.
    NamespaceInfo {
        /// The name as in `/proc/self/ns`.
        name,
        /// Whether it is the container's own, not the host's.
        own,
        /// Its inode.
        inode,
    }
}

result! {
    /// Capability sets, as names with `CAP_`.
    CapabilityInfo {
        /// The effective set.
        effective,
        /// The permitted set.
        permitted,
        /// The inheritable set.
        inheritable,
        /// The ambient set.
        ambient,
        /// The bounding set.
        bounding,
    }
}

result! {
    /// The user of a container's program.
    UserInfo {
        /// User id inside.
        uid,
        /// Group id inside.
        gid,
        /// Supplementary groups inside.
        groups,
        /// `/proc/self/uid_map`.
        uid_map,
        /// `/proc/self/gid_map`.
        gid_map,
    }
}

result! {
    /// A limit that was asked for.
    LimitInfo {
        /// The name of the option, such as `mem_limit`.
        name,
        /// What was asked for.
        requested,
        /// What the kernel says is in force. None: not applied, and a warning says why.
        applied,
    }
}

result! {
    /// One container of the store, as it was when the list was made.
    ContainerSummary {
        /// 64 hexadecimal digits.
        id,
        /// The name.
        name,
        /// The image as the caller named it.
        image,
        /// The image's id.
        image_id,
        /// Program and arguments.
        command,
        /// When it was made, RFC 3339.
        created,
        /// `created`, `running` or `exited`.
        state,
        /// The exit code of the last run.
        exit_code,
        /// When it was last started, RFC 3339.
        started_at,
        /// When it last ended, RFC 3339.
        finished_at,
        /// Labels.
        labels,
        /// `detached` or `session`.
        lifetime,
    }
}

impl ContainerSummary {
    pub(crate) fn new(python: Python<'_>, summary: coble::ContainerSummary) -> PyResult<ContainerSummary> {
        Ok(ContainerSummary {
            id: py(python, summary.id)?,
            name: py(python, summary.name)?,
            image: py(python, summary.image)?,
            image_id: py(python, summary.image_id)?,
            command: py(python, summary.command)?,
            created: py(python, summary.created)?,
            state: py(python, summary.state.name())?,
            exit_code: py(python, summary.exit_code)?,
            started_at: py(python, summary.started_at)?,
            finished_at: py(python, summary.finished_at)?,
            labels: py(python, summary.labels)?,
            lifetime: plain(python, &summary.lifetime)?,
        })
    }
}

result! {
    /// Everything about a container.
    ContainerDetails {
        /// 64 hexadecimal digits.
        id,
        /// The name.
        name,
        /// The image as the caller named it.
        image,
        /// The image's id.
        image_id,
        /// Program and arguments.
        command,
        /// When it was made, RFC 3339.
        created,
        /// `created`, `running` or `exited`.
        state,
        /// The exit code of the last run.
        exit_code,
        /// When it was last started, RFC 3339.
        started_at,
        /// When it last ended, RFC 3339.
        finished_at,
        /// Labels.
        labels,
        /// `detached` or `session`.
        lifetime,
        /// What was asked for, as a dictionary.
        spec,
        /// The process id of its program on the host, while it runs.
        pid,
        /// Why the last start failed.
        error,
        /// The isolation of the current or last run.
        isolation,
        /// What the last run did not get.
        warnings,
    }
}

impl ContainerDetails {
    pub(crate) fn new(python: Python<'_>, details: coble::ContainerDetails) -> PyResult<ContainerDetails> {
        let summary = ContainerSummary::new(python, details.summary)?;
        Ok(ContainerDetails {
            id: summary.id,
            name: summary.name,
            image: summary.image,
            image_id: summary.image_id,
            command: summary.command,
            created: summary.created,
            state: summary.state,
            exit_code: summary.exit_code,
            started_at: summary.started_at,
            finished_at: summary.finished_at,
            labels: summary.labels,
            lifetime: summary.lifetime,
            spec: plain(python, &details.spec)?,
            pid: py(python, details.pid)?,
            error: py(python, details.error)?,
            isolation: isolation(python, details.isolation)?,
            warnings: list(python, details.warnings, ContainerWarning::new)?,
        })
    }
}

result! {
    /// Everything about an image.
    ImageDetails {
        /// Digest of the configuration: what docker calls the image id.
        id,
        /// Digest of the manifest.
        digest,
        /// Canonical references that name it.
        references,
        /// When it was made, RFC 3339, as the image says.
        created,
        /// Bytes of its blobs.
        size,
        /// CPU architecture, such as `amd64`.
        architecture,
        /// Operating system, such as `linux`.
        os,
        /// Labels.
        labels,
        /// The whole image configuration, as a dictionary.
        config,
        /// The whole manifest, as a dictionary.
        manifest,
        /// The layers, lowest first.
        layers,
    }
}

impl ImageDetails {
    pub(crate) fn new(python: Python<'_>, details: coble::ImageDetails) -> PyResult<ImageDetails> {
        let summary = details.summary;
        Ok(ImageDetails {
            id: py(python, summary.id)?,
            digest: py(python, summary.digest)?,
            references: py(python, summary.references)?,
            created: py(python, summary.created)?,
            size: py(python, summary.size)?,
            architecture: py(python, summary.architecture)?,
            os: py(python, summary.os)?,
            labels: py(python, summary.labels)?,
            config: plain(python, &details.config)?,
            manifest: plain(python, &details.manifest)?,
            layers: list(python, details.layers, |python, layer| {
                Ok(LayerInfo {
                    diff_id: py(python, layer.diff_id)?,
                    chain_id: py(python, layer.chain_id)?,
                    digest: py(python, layer.digest)?,
                    media_type: py(python, layer.media_type)?,
                    size: py(python, layer.size)?,
                })
            })?,
        })
    }
}

result! {
    /// A layer of an image.
    LayerInfo {
        /// Digest of the uncompressed layer.
        diff_id,
        /// Digest of the stack up to this layer.
        chain_id,
        /// Digest of the blob.
        digest,
        /// Media type of the blob.
        media_type,
        /// Bytes of the blob.
        size,
    }
}

result! {
    /// A step of an image's history.
    HistoryEntry {
        /// When, RFC 3339.
        created,
        /// The command.
        created_by,
        /// The comment.
        comment,
        /// Whether the step made no layer.
        empty_layer,
        /// Bytes of the blob; 0 for an empty layer.
        size,
        /// Diff id of the layer.
        layer,
    }
}

impl HistoryEntry {
    pub(crate) fn new(python: Python<'_>, entry: coble::HistoryEntry) -> PyResult<HistoryEntry> {
        Ok(HistoryEntry {
            created: py(python, entry.created)?,
            created_by: py(python, entry.created_by)?,
            comment: py(python, entry.comment)?,
            empty_layer: py(python, entry.empty_layer)?,
            size: py(python, entry.size)?,
            layer: py(python, entry.layer)?,
        })
    }
}

result! {
    /// What the removal of an image did.
    Removed {
        /// References that were taken away.
        untagged,
        /// Image ids that were deleted.
        deleted,
    }
}

impl Removed {
    pub(crate) fn new(python: Python<'_>, removed: coble::Removed) -> PyResult<Removed> {
        Ok(Removed { untagged: py(python, removed.untagged)?, deleted: py(python, removed.deleted)? })
    }
}

result! {
    /// Facts about an engine and its host.
    Info {
        /// Version of coble.
        version,
        /// The data root.
        data_root,
        /// The run root.
        run_root,
        /// Whether containers run in a user namespace.
        rootless,
        /// Number of images.
        images,
        /// Number of containers.
        containers,
        /// Number of running containers.
        running,
        /// `v1`, `hybrid`, `v2` or `none`.
        cgroup_version,
        /// Release of the kernel.
        kernel,
    }
}

impl Info {
    pub(crate) fn new(python: Python<'_>, info: coble::Info) -> PyResult<Info> {
        Ok(Info {
            version: py(python, info.version)?,
            data_root: py(python, info.data_root.into_os_string())?,
            run_root: py(python, info.run_root.into_os_string())?,
            rootless: py(python, info.rootless)?,
            images: py(python, info.images)?,
            containers: py(python, info.containers)?,
            running: py(python, info.running)?,
            cgroup_version: py(python, info.cgroup_version)?,
            kernel: py(python, info.kernel)?,
        })
    }
}

result! {
    /// The result of a check-up of the host.
    Report {
        /// Whether containers can run: no check failed.
        ok,
        /// The checks, in a fixed order.
        checks,
    }
}

impl Report {
    pub(crate) fn new(python: Python<'_>, report: coble::Report) -> PyResult<Report> {
        Ok(Report {
            ok: py(python, report.ok())?,
            checks: list(python, report.checks, |python, check| {
                Ok(Check {
                    name: py(python, check.name)?,
                    status: plain(python, &check.status)?,
                    summary: py(python, check.summary)?,
                    fix: py(python, check.fix)?,
                })
            })?,
        })
    }
}

result! {
    /// One thing that a check-up looked at.
    Check {
        /// A stable name, such as `overlay`.
        name,
        /// `ok`, `warning` or `fail`.
        status,
        /// What was found.
        summary,
        /// What to do about it.
        fix,
    }
}

result! {
    /// A piece of a container's output, as it arrived.
    LogRecord {
        /// When it arrived: a `datetime` in UTC.
        time,
        /// When it arrived, in nanoseconds since the epoch.
        time_ns,
        /// `stdout` or `stderr`.
        stream,
        /// The bytes.
        data,
    }
}

impl LogRecord {
    pub(crate) fn new(python: Python<'_>, record: &coble::LogRecord) -> PyResult<LogRecord> {
        let nanoseconds = record.time.duration_since(std::time::UNIX_EPOCH).unwrap_or_default().as_nanos();
        let nanoseconds = u64::try_from(nanoseconds).unwrap_or(u64::MAX);
        let stream = if record.source == coble::LogSource::Stderr { "stderr" } else { "stdout" };
        Ok(LogRecord {
            time: datetime(python, nanoseconds)?.unbind(),
            time_ns: py(python, nanoseconds)?,
            stream: py(python, stream)?,
            data: PyBytes::new(python, &record.data).into_any().unbind(),
        })
    }
}
