//! Containers.

use std::sync::atomic::{AtomicBool, Ordering};

use coble::{ErrorKind, Lifetime, LogOptions, Signal, State, Stdio, StdioMode};
use pyo3::exceptions::PyResourceWarning;
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use rustix::fd::{IntoRawFd, OwnedFd};

use crate::args::{CreateArgs, RunArgs, exec_spec};
use crate::convert;
use crate::engine::Shared;
use crate::enter::{Homed, block, quick};
use crate::errors::raise;
use crate::logs::LogStream;
use crate::process::RawProcess;
use crate::results::{ContainerDetails, ContainerSummary, RunResult};
use crate::streams::{Stream, same, shared_pipe};

/// The containers of an engine.
#[pyclass(frozen, module = "coble")]
pub(crate) struct Containers(Shared);

/// A container. As a context manager it stops and removes it at the end, whatever happened.
#[pyclass(frozen, module = "coble", weakref)]
pub(crate) struct Container {
    container: Homed<coble::Container>,
    /// Whether this object started a session-scoped container and nobody has taken it off our hands: then losing it is a leak.
    owed: AtomicBool,
    session: bool,
}

/// A signal by number or name.
pub(crate) fn signal(value: &Bound<'_, PyAny>) -> PyResult<Signal> {
    let signal = match value.extract::<i32>() {
        Ok(number) => Signal::new(number),
        Err(_) => Signal::parse(&value.extract::<String>()?),
    };
    signal.map_err(|error| raise(value.py(), error))
}

impl Containers {
    pub(crate) fn new(engine: Shared) -> Containers {
        Containers(engine)
    }
}

#[pymethods]
impl Containers {
    /// Makes a container. It does not run yet.
    #[pyo3(signature = (
        image, command=None, *, name=None, entrypoint=None, environment=None, working_dir=None, user=None, group_add=None,
        hostname=None, network=None, mem_limit=None, cpus=None, pids_limit=None, cap_add=None, cap_drop=None,
        read_only=false, security_opt=None, labels=None, stop_signal=None, stop_timeout=None, shm_size=None,
        extra_hosts=None, dns=None, auto_remove=false, lifetime=None,
    ))]
    #[allow(clippy::too_many_arguments)]
    fn create<'py>(
        &self,
        py: Python<'py>,
        image: &Bound<'py, PyAny>,
        command: Option<&Bound<'py, PyAny>>,
        name: Option<String>,
        entrypoint: Option<&Bound<'py, PyAny>>,
        environment: Option<&Bound<'py, PyAny>>,
        working_dir: Option<String>,
        user: Option<&Bound<'py, PyAny>>,
        group_add: Option<&Bound<'py, PyAny>>,
        hostname: Option<String>,
        network: Option<String>,
        mem_limit: Option<&Bound<'py, PyAny>>,
        cpus: Option<f64>,
        pids_limit: Option<&Bound<'py, PyAny>>,
        cap_add: Option<&Bound<'py, PyAny>>,
        cap_drop: Option<&Bound<'py, PyAny>>,
        read_only: bool,
        security_opt: Option<&Bound<'py, PyAny>>,
        labels: Option<&Bound<'py, PyAny>>,
        stop_signal: Option<&Bound<'py, PyAny>>,
        stop_timeout: Option<&Bound<'py, PyAny>>,
        shm_size: Option<&Bound<'py, PyAny>>,
        extra_hosts: Option<&Bound<'py, PyAny>>,
        dns: Option<&Bound<'py, PyAny>>,
        auto_remove: bool,
        lifetime: Option<String>,
    ) -> PyResult<Container> {
        let spec = CreateArgs {
            image,
            command,
            name,
            entrypoint,
            environment,
            working_dir,
            user,
            group_add,
            hostname,
            network,
            mem_limit,
            cpus,
            pids_limit,
            cap_add,
            cap_drop,
            read_only,
            security_opt,
            labels,
            stop_signal,
            stop_timeout,
            shm_size,
            extra_hosts,
            dns,
            auto_remove,
            lifetime,
        }
        .spec()?;
        let engine = self.0.get_for(py)?;
        let session = spec.lifetime == Lifetime::Session;
        let container = quick(py, || engine.containers().create(spec))?;
        Ok(Container::new(container, session))
    }

    /// Makes a container, starts it, and waits until it is ready if `wait` says when that is. Its lifetime is `session` unless asked
    /// otherwise: it dies with this process. Use it in a `with` block, which removes it at the end. A start that fails leaves nothing.
    #[pyo3(signature = (
        image, command=None, *, name=None, entrypoint=None, environment=None, working_dir=None, user=None, group_add=None,
        hostname=None, network=None, mem_limit=None, cpus=None, pids_limit=None, cap_add=None, cap_drop=None,
        read_only=false, security_opt=None, labels=None, stop_signal=None, stop_timeout=None, shm_size=None,
        extra_hosts=None, dns=None, auto_remove=false, lifetime=None, wait=None, stdin=None, stdout=None, stderr=None,
    ))]
    #[allow(clippy::too_many_arguments)]
    fn run<'py>(
        &self,
        py: Python<'py>,
        image: &Bound<'py, PyAny>,
        command: Option<&Bound<'py, PyAny>>,
        name: Option<String>,
        entrypoint: Option<&Bound<'py, PyAny>>,
        environment: Option<&Bound<'py, PyAny>>,
        working_dir: Option<String>,
        user: Option<&Bound<'py, PyAny>>,
        group_add: Option<&Bound<'py, PyAny>>,
        hostname: Option<String>,
        network: Option<String>,
        mem_limit: Option<&Bound<'py, PyAny>>,
        cpus: Option<f64>,
        pids_limit: Option<&Bound<'py, PyAny>>,
        cap_add: Option<&Bound<'py, PyAny>>,
        cap_drop: Option<&Bound<'py, PyAny>>,
        read_only: bool,
        security_opt: Option<&Bound<'py, PyAny>>,
        labels: Option<&Bound<'py, PyAny>>,
        stop_signal: Option<&Bound<'py, PyAny>>,
        stop_timeout: Option<&Bound<'py, PyAny>>,
        shm_size: Option<&Bound<'py, PyAny>>,
        extra_hosts: Option<&Bound<'py, PyAny>>,
        dns: Option<&Bound<'py, PyAny>>,
        auto_remove: bool,
        lifetime: Option<String>,
        wait: Option<&Bound<'py, PyAny>>,
        stdin: Option<&Bound<'py, PyAny>>,
        stdout: Option<&Bound<'py, PyAny>>,
        stderr: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, Container>> {
        let lifetime = lifetime.or_else(|| Some("session".to_owned()));
        let container = self.create(
            py,
            image,
            command,
            name,
            entrypoint,
            environment,
            working_dir,
            user,
            group_add,
            hostname,
            network,
            mem_limit,
            cpus,
            pids_limit,
            cap_add,
            cap_drop,
            read_only,
            security_opt,
            labels,
            stop_signal,
            stop_timeout,
            shm_size,
            extra_hosts,
            dns,
            auto_remove,
            lifetime,
        )?;
        let container = Bound::new(py, container)?;
        let started = container.get().start(py, stdin, stdout, stderr).and_then(|()| match wait {
            Some(strategy) => {
                let until_ready = py.import("coble.wait")?.getattr("until_ready")?;
                until_ready.call1((&container, strategy)).map(drop)
            }
            None => Ok(()),
        });
        match started {
            Ok(()) => Ok(container),
            Err(error) => {
                // The first error is the one that counts.
                let _ = container.get().discard(py);
                Err(error)
            }
        }
    }

    /// The container with this name, id, or unambiguous id prefix of at least four digits.
    fn get(&self, py: Python<'_>, name: &str) -> PyResult<Container> {
        let engine = self.0.get_for(py)?;
        quick(py, || engine.containers().get(name)).map(|container| Container::new(container, false))
    }

    /// The running containers, or all, newest first.
    #[pyo3(signature = (*, all=false))]
    fn list(&self, py: Python<'_>, all: bool) -> PyResult<Vec<ContainerSummary>> {
        let engine = self.0.get_for(py)?;
        let summaries = quick(py, || engine.containers().list(all))?;
        summaries.into_iter().map(|summary| ContainerSummary::new(py, summary)).collect()
    }

    fn __repr__(&self) -> &'static str {
        "<coble.Containers>"
    }
}

impl Container {
    fn new(container: coble::Container, session: bool) -> Container {
        Container { container: Homed::new(container), owed: AtomicBool::new(false), session }
    }

    /// Kills and removes it. That it is gone already is fine.
    fn discard(&self, py: Python<'_>) -> PyResult<()> {
        self.owed.store(false, Ordering::SeqCst);
        let container = self.container.get_for(py)?;
        quick(py, || gone_is_fine(container.remove(true)))
    }
}

fn gone_is_fine(result: coble::Result<()>) -> coble::Result<()> {
    match result {
        Err(error) if error.kind() != ErrorKind::ContainerNotFound => Err(error),
        _ => Ok(()),
    }
}

#[pymethods]
impl Container {
    /// 64 hexadecimal digits.
    #[getter]
    fn id(&self, py: Python<'_>) -> PyResult<&str> {
        Ok(self.container.get_for(py)?.id())
    }

    /// The first twelve digits of the id.
    #[getter]
    fn short_id(&self, py: Python<'_>) -> PyResult<String> {
        Ok(self.id(py)?.chars().take(12).collect())
    }

    /// The name.
    #[getter]
    fn name(&self, py: Python<'_>) -> PyResult<&str> {
        Ok(self.container.get_for(py)?.name())
    }

    /// Its state now: `created`, `running` or `exited`.
    #[getter]
    fn state(&self, py: Python<'_>) -> PyResult<&'static str> {
        let container = self.container.get_for(py)?;
        quick(py, || container.state()).map(State::name)
    }

    /// Starts the program and returns when it runs. Its outputs are kept for `logs` unless they are to go elsewhere: to a descriptor, a
    /// file, `DEVNULL`, or this program's own streams with `INHERIT`.
    #[pyo3(signature = (*, stdin=None, stdout=None, stderr=None))]
    fn start(
        &self,
        py: Python<'_>,
        stdin: Option<&Bound<'_, PyAny>>,
        stdout: Option<&Bound<'_, PyAny>>,
        stderr: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        let defaults = Stdio::log();
        let stdio = Stdio {
            stdin: Stream::new(stdin)?.mode(py, defaults.stdin)?,
            stdout: Stream::new(stdout)?.mode(py, defaults.stdout)?,
            stderr: Stream::new(stderr)?.mode(py, defaults.stderr)?,
        };
        let container = self.container.get_for(py)?;
        // Owed from before the start, since an interrupt can come after it and before we know.
        self.owed.store(self.session, Ordering::SeqCst);
        block(py, |cancel| container.start(stdio, cancel))
    }

    /// Waits for the program's end and returns its exit code, or 128 plus the signal that ended it. Raises `TimeoutError` when `timeout`
    /// seconds are over.
    #[pyo3(signature = (timeout=None))]
    fn wait(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<i32> {
        let (container, timeout) = (self.container.get_for(py)?, convert::seconds(py, timeout, "timeout")?);
        block(py, |cancel| container.wait(timeout, cancel))
    }

    /// Sends the stop signal, and SIGKILL when the time (default: the container's stop timeout) is over. A container that does not run is
    /// fine.
    #[pyo3(signature = (timeout=None))]
    fn stop(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<()> {
        let (container, timeout) = (self.container.get_for(py)?, convert::seconds(py, timeout, "timeout")?);
        block(py, |cancel| container.stop(timeout, cancel))
    }

    /// Sends a signal, by name or number, to the program.
    #[pyo3(signature = (signal=None))]
    fn kill(&self, py: Python<'_>, signal: Option<&Bound<'_, PyAny>>) -> PyResult<()> {
        let container = self.container.get_for(py)?;
        let signal = signal.map_or(Ok(Signal::KILL), self::signal)?;
        quick(py, || container.kill(signal))
    }

    /// Removes the container and everything it wrote. A running one only with `force`, which kills it.
    #[pyo3(signature = (*, force=false))]
    fn remove(&self, py: Python<'_>, force: bool) -> PyResult<()> {
        let container = self.container.get_for(py)?;
        quick(py, || container.remove(force))?;
        self.owed.store(false, Ordering::SeqCst);
        Ok(())
    }

    /// Everything about it.
    fn inspect(&self, py: Python<'_>) -> PyResult<ContainerDetails> {
        let container = self.container.get_for(py)?;
        ContainerDetails::new(py, quick(py, || container.inspect())?)
    }

    /// What the program wrote, if its outputs were kept. `since` and `until` are `datetime` objects or seconds since the epoch.
    #[pyo3(signature = (*, follow=false, stdout=true, stderr=true, tail=None, since=None, until=None))]
    #[allow(clippy::too_many_arguments)]
    fn logs(
        &self,
        py: Python<'_>,
        follow: bool,
        stdout: bool,
        stderr: bool,
        tail: Option<&Bound<'_, PyAny>>,
        since: Option<&Bound<'_, PyAny>>,
        until: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<LogStream> {
        let mut options = LogOptions::default();
        options.follow = follow;
        options.stdout = stdout;
        options.stderr = stderr;
        options.tail = convert::number(tail, "tail")?;
        options.since = convert::time(since, "since")?;
        options.until = convert::time(until, "until")?;
        let container = self.container.get_for(py)?;
        quick(py, || container.logs(options)).map(LogStream::new)
    }

    /// Runs another program in the running container and collects its output.
    #[pyo3(signature = (
        command, *, environment=None, working_dir=None, user=None, check=false, timeout=None, input=None, capture_limit=None,
        stdin=None, stdout=None, stderr=None,
    ))]
    #[allow(clippy::too_many_arguments)]
    fn exec<'py>(
        &self,
        py: Python<'py>,
        command: &Bound<'py, PyAny>,
        environment: Option<&Bound<'py, PyAny>>,
        working_dir: Option<String>,
        user: Option<&Bound<'py, PyAny>>,
        check: bool,
        timeout: Option<f64>,
        input: Option<PyBackedBytes>,
        capture_limit: Option<&Bound<'py, PyAny>>,
        stdin: Option<&Bound<'py, PyAny>>,
        stdout: Option<&Bound<'py, PyAny>>,
        stderr: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<RunResult> {
        let spec = exec_spec(command, environment, working_dir, user)?;
        let options = RunArgs { check, timeout, input, capture_limit, stdin, stdout, stderr }.options(py)?;
        let container = self.container.get_for(py)?;
        RunResult::new(py, block(py, |cancel| container.exec(spec, options, cancel))?)
    }

    /// Starts another program in the running container. Its streams are `/dev/null` unless they are to be something else: `PIPE`, a
    /// descriptor, a file, or this program's own with `INHERIT`; `STDOUT` sends standard error where standard output goes.
    #[pyo3(signature = (command, *, environment=None, working_dir=None, user=None, stdin=None, stdout=None, stderr=None))]
    #[allow(clippy::too_many_arguments)]
    fn popen<'py>(
        &self,
        py: Python<'py>,
        command: &Bound<'py, PyAny>,
        environment: Option<&Bound<'py, PyAny>>,
        working_dir: Option<String>,
        user: Option<&Bound<'py, PyAny>>,
        stdin: Option<&Bound<'py, PyAny>>,
        stdout: Option<&Bound<'py, PyAny>>,
        stderr: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let spec = exec_spec(command, environment, working_dir, user)?;
        let stdin = Stream::new(stdin)?.mode(py, StdioMode::Null)?;
        let (stdout, stderr, own) = outputs(py, Stream::new(stdout)?, Stream::new(stderr)?)?;
        let container = self.container.get_for(py)?;
        let mut process = quick(py, || container.popen(spec, Stdio { stdin, stdout, stderr }))?;
        let number = |fd: Option<OwnedFd>| fd.map(|fd| fd.into_raw_fd());
        let stdin = number(process.take_stdin());
        let stdout = number(process.take_stdout().or(own));
        let stderr = number(process.take_stderr());
        // The descriptors are the new object's from here on.
        let class = py.import("coble._process")?.getattr("Process")?;
        class.call1((RawProcess::new(process), stdin, stdout, stderr))
    }

    fn __enter__(slf: PyRef<'_, Self>) -> PyRef<'_, Self> {
        // The end of the block takes care of it.
        slf
    }

    /// Stops and removes the container. What the block raised goes on.
    #[pyo3(signature = (*exception))]
    fn __exit__(&self, py: Python<'_>, exception: &Bound<'_, pyo3::types::PyTuple>) -> PyResult<()> {
        let container = self.container.get_for(py)?;
        let failed = !exception.is_empty() && !exception.get_item(0)?.is_none();
        // After an error nobody waits for a program to say good-bye.
        let stopped =
            if failed { Ok(()) } else { block(py, |cancel| gone_is_fine(container.stop(None, cancel))) };
        let removed = self.discard(py);
        if failed { Ok(()) } else { stopped.and(removed) }
    }

    fn __eq__(&self, py: Python<'_>, other: &Bound<'_, Container>) -> PyResult<bool> {
        Ok(self.id(py)? == other.get().id(py)?)
    }

    fn __hash__(&self, py: Python<'_>) -> PyResult<u64> {
        use std::hash::{DefaultHasher, Hash, Hasher};
        let mut hasher = DefaultHasher::new();
        self.id(py)?.hash(&mut hasher);
        Ok(hasher.finish())
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        Ok(format!("<coble.Container {} {:?}>", self.short_id(py)?, self.name(py)?))
    }
}

/// The outputs of a `popen`, and our end of a pipe that both share.
fn outputs(
    py: Python<'_>,
    stdout: Stream,
    stderr: Stream,
) -> PyResult<(StdioMode, StdioMode, Option<OwnedFd>)> {
    match (stdout, stderr) {
        (Stream::Pipe, Stream::Stdout) => {
            let (read, first, second) = shared_pipe().map_err(|error| raise(py, error))?;
            Ok((StdioMode::Fd(first), StdioMode::Fd(second), Some(read)))
        }
        (stdout, Stream::Stdout) => {
            let stdout = stdout.mode(py, StdioMode::Null)?;
            let stderr = same(&stdout).map_err(|error| raise(py, error))?.unwrap_or_default();
            Ok((stdout, stderr, None))
        }
        (stdout, stderr) => Ok((stdout.mode(py, StdioMode::Null)?, stderr.mode(py, StdioMode::Null)?, None)),
    }
}

impl Drop for Container {
    /// A session-scoped container that still runs and that nobody holds any more is a leak: said, and taken back.
    fn drop(&mut self) {
        if !self.owed.load(Ordering::SeqCst) || !self.container.is_here() {
            return;
        }
        let _ = Python::try_attach(|py| {
            let Ok(container) = self.container.get() else { return };
            let running = py.detach(|| matches!(container.state(), Ok(State::Running)));
            if !running {
                return;
            }
            let message = format!(
                "session container {:?} was not removed: use \"with\", or call remove()",
                container.name()
            );
            if let Ok(message) = std::ffi::CString::new(message)
                && let Err(error) = PyErr::warn(py, &py.get_type::<PyResourceWarning>(), &message, 1)
            {
                // Warnings are errors here, and a drop cannot raise.
                error.write_unraisable(py, None);
            }
            // If that fails, the end of this process does it.
            let _ = py.detach(|| container.remove(true));
        });
    }
}
