"""The engine. Private: everything here is imported from `coble`.

Words that come up again and again:

- *command*: a sequence of str (program and arguments), or one str, which is split into words as a POSIX shell would, without expansion.
- *image*: a reference (`demo`, `docker.io/library/alpine:3.20`, `...@sha256:...`), an image id, an unambiguous prefix of an id of at
  least four hexadecimal digits, or an `Image`.
- *timeouts* are seconds; None means no limit; one that is not positive is over at once. A call that runs out of time raises `TimeoutError`.
- *sizes* are bytes, or a text with a unit: `"64m"`, `"1.5g"` (powers of 1024).
- *streams* are a file descriptor, an open file (anything with `fileno()`), or one of the constants of `subprocess`, which are also here.

Any call may raise `ClosedError` (the engine is closed, or belongs to the process that this one was forked from), `IoError` and
`DatabaseError`. Calls that say so can be cancelled: by Ctrl-C on the main thread, and by a `CancelToken`. They clean up first.
"""

from builtins import TimeoutError as _TimeoutError
from builtins import list as _list
from builtins import object as _object
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from os import PathLike
from pathlib import Path
from types import GenericAlias, TracebackType
from typing import IO, Any, Final, Generic, Literal, Protocol, TypeAlias, final, overload

from typing_extensions import Buffer, Self, TypeVar

from .wait import Strategy

_T = TypeVar("_T")
_Output = TypeVar("_Output", bytes, str, default=bytes)

class _HasFileno(Protocol):
    def fileno(self) -> int: ...

_Path: TypeAlias = str | PathLike[str]
_Command: TypeAlias = str | Sequence[str]
_Image: TypeAlias = str | Image
_Environment: TypeAlias = Mapping[str, str] | Sequence[str]
_Labels: TypeAlias = Mapping[str, str] | Sequence[str]
_Hosts: TypeAlias = Mapping[str, str] | Sequence[str]
_Size: TypeAlias = int | str
_Rates: TypeAlias = Mapping[str, _Size] | Sequence[str | Mapping[str, str | int]]
_Weights: TypeAlias = Mapping[str, int] | Sequence[str | Mapping[str, str | int]]
_Ulimits: TypeAlias = Mapping[str, int | tuple[int, int]] | Sequence[str]
_Parameters: TypeAlias = Mapping[str, str | int] | Sequence[str]
_Volumes: TypeAlias = (
    Mapping[str, str | Mapping[str, str | bool]] | Mapping[Path, str | Mapping[str, str | bool]] | Mapping[Volume, str | Mapping[str, str | bool]] | Sequence[str]
)
_Volume: TypeAlias = str | Volume
_Tmpfs: TypeAlias = Mapping[str, str] | Sequence[str]
_Secrets: TypeAlias = Mapping[str, str | Buffer] | Sequence[Secret | str]
_MountType: TypeAlias = Literal["bind", "tmpfs", "volume"]
_Propagation: TypeAlias = Literal["rprivate", "private", "rslave", "slave", "rshared", "shared"]
_BindRecursive: TypeAlias = Literal["enabled", "disabled", "writable", "readonly"]
_Stream: TypeAlias = int | _HasFileno
_Filters: TypeAlias = Mapping[str, str | bool | int | Sequence[str]] | Sequence[str]
_SaveFormat: TypeAlias = Literal["oci-archive", "oci-dir", "docker-archive"]
_Compression: TypeAlias = Literal["gzip", "zstd", "none"]
_ManifestFormat: TypeAlias = Literal["oci", "v2s2"]
_HostOrOwn: TypeAlias = Literal["private", "host"]
_Lifetime: TypeAlias = Literal["session", "detached"]
_PullPolicy: TypeAlias = Literal["always", "missing", "never", "newer"]
_Credentials: TypeAlias = Credentials | tuple[str, str]
_CredentialProvider: TypeAlias = Callable[[str, str, bool], _Credentials | None]
_Progress: TypeAlias = Callable[[Progress], _object]
_ProgressKind: TypeAlias = Literal[
    "resolve", "blob-start", "blob-progress", "blob-done", "blob-cached", "blob-mounted", "read", "check", "unpack", "unpack-done", "retry", "rate-limit", "warning", "done"
]
_SearchFilters: TypeAlias = Mapping[str, str | bool | int] | Sequence[str]
_State: TypeAlias = Literal["created", "running", "paused", "restarting", "exited"]
_WaitCondition: TypeAlias = Literal["not-running", "next-exit", "removed", "healthy"]
_HealthCheck: TypeAlias = Mapping[str, str | int | Sequence[str] | None]
_RestartPolicy: TypeAlias = str | Mapping[str, str | int]

PIPE: Final[int]
"""A new pipe: `subprocess.PIPE`."""
STDOUT: Final[int]
"""For stderr: where stdout goes. `subprocess.STDOUT`."""
DEVNULL: Final[int]
"""/dev/null: `subprocess.DEVNULL`."""

def version() -> str:
    """The version of coble."""

def doctor(*, data_root: _Path | None = None, run_root: _Path | None = None, rootless: bool | None = None) -> Report:
    """Looks at what the host has and lacks, also when no engine can be opened on it. The arguments are those of `Engine`."""

def cli_main(argv: Sequence[str]) -> int:
    """Runs the `coble` command with these arguments, program name first, and returns its exit status. For programs: it handles signals."""

def _pause(seconds: float) -> None: ...
@final
class _ReadyWait:
    def ready(self, seconds: float) -> bool: ...
    def close(self) -> None: ...

@final
class Engine:
    """A container engine in this process, over a store that other processes may use at the same time. Any thread may use it; a process
    that was forked may not: it opens its own.

    A context manager. When it is closed, and also when its process ends in any way, the session-scoped containers that it started are removed.
    """

    def __new__(
        cls,
        data_root: _Path | None = None,
        run_root: _Path | None = None,
        rootless: bool | None = None,
        lock_file: _Path | None = None,
        offline: bool | None = None,
        connections: int | None = None,
        connections_per_host: int | None = None,
        *,
        connect_timeout: float | None = None,
        idle_timeout: float | None = None,
        mirrors: Sequence[str] | None = None,
        registries_conf: _Path | None = None,
        hosts_dir: _Path | None = None,
        credential_provider: _CredentialProvider | None = None,
    ) -> Self:
        """Opens the store, making it if it is not there, and sweeps what crashed processes left.

        `data_root` holds images and containers: `/var/lib/coble` for root, otherwise `$XDG_DATA_HOME/coble` or `~/.local/share/coble`.
        `run_root` holds the state of what runs, on a tmpfs: by default a directory for each data root below `/run/coble` or
        `$XDG_RUNTIME_DIR/coble`. `rootless` says whether containers run in a user namespace: by default unless the caller has root's rights. `lock_file`, as `Images.lock` writes it,
        is obeyed by every pull of the engine. `offline` says that no registry is asked for anything: what is here works, and what would need a connection raises
        `OfflineError` at once; by default the environment variable `COBLE_OFFLINE` says it. `connections` and `connections_per_host` bound how many
        connections to registries all calls of the engine together use at once: by default 24, and 6 to one host. The rest is how registries are reached where a call says
        nothing: see `Images.pull`.

        Raises `PermissionDeniedError`, `StorageFullError`, `StoreVersionError` (the store is from another version), `UnsupportedError`.
        """

    @property
    def images(self) -> Images:
        """The images of the store."""

    @property
    def registry(self) -> Registry:
        """The registries."""

    @property
    def containers(self) -> Containers:
        """The containers of the store."""

    @property
    def volumes(self) -> Volumes:
        """The volumes of the store."""

    @overload
    def run(
        self,
        image: _Image | None = None,
        command: _Command | None = None,
        *,
        rootfs: _Path | None = None,
        bundle: _Path | None = None,
        platform: str | None = None,
        pull: _PullPolicy = "missing",
        entrypoint: _Command | None = None,
        name: str | None = None,
        environment: _Environment | None = None,
        working_dir: str | None = None,
        user: str | int | None = None,
        group_add: Sequence[str | int] | None = None,
        use_config_proxy: bool = False,
        hostname: str | None = None,
        domainname: str | None = None,
        tz: str | None = None,
        passwd: bool = True,
        passwd_entry: str | None = None,
        group_entry: str | None = None,
        network: str | None = None,
        network_mode: str | None = None,
        network_disabled: bool = False,
        exposed_ports: Sequence[str | int] | None = None,
        pid_mode: str | None = None,
        ipc_mode: str | None = None,
        uts_mode: _HostOrOwn | None = None,
        cgroupns: _HostOrOwn | None = None,
        userns_mode: str | None = None,
        uidmap: Sequence[str] | None = None,
        gidmap: Sequence[str] | None = None,
        mem_limit: _Size | None = None,
        cpus: float | None = None,
        nano_cpus: int | None = None,
        pids_limit: int | None = None,
        mem_reservation: _Size | None = None,
        memswap_limit: _Size | None = None,
        mem_swappiness: int | None = None,
        oom_kill_disable: bool = False,
        oom_score_adj: int | None = None,
        cpu_shares: int | None = None,
        cpu_quota: int | None = None,
        cpu_period: int | None = None,
        cpuset_cpus: str | None = None,
        cpuset_mems: str | None = None,
        blkio_weight: int | None = None,
        blkio_weight_device: _Weights | None = None,
        device_read_bps: _Rates | None = None,
        device_write_bps: _Rates | None = None,
        device_read_iops: _Rates | None = None,
        device_write_iops: _Rates | None = None,
        ulimits: _Ulimits | None = None,
        sysctls: _Parameters | None = None,
        unified: _Parameters | None = None,
        cgroup_parent: str | None = None,
        cap_add: Sequence[str] | None = None,
        cap_drop: Sequence[str] | None = None,
        read_only: bool = False,
        security_opt: Sequence[str] | None = None,
        masked_paths: Sequence[str] | None = None,
        readonly_paths: Sequence[str] | None = None,
        labels: _Labels | None = None,
        hooks: Mapping[str, Sequence[Mapping[str, Any]]] | str | None = None,
        healthcheck: _HealthCheck | None = None,
        annotations: _Labels | None = None,
        stop_signal: str | int | None = None,
        stop_timeout: int | None = None,
        run_timeout: int | None = None,
        shm_size: _Size | None = None,
        extra_hosts: _Hosts | None = None,
        dns: Sequence[str] | None = None,
        dns_search: Sequence[str] | None = None,
        dns_opt: Sequence[str] | None = None,
        log_driver: str | None = None,
        log_opt: _Parameters | None = None,
        log_config: Mapping[str, Any] | None = None,
        init: bool = False,
        tty: bool = False,
        stdin_open: bool = False,
        stdin_once: bool = False,
        console_size: tuple[int, int] | None = None,
        volumes: _Volumes | None = None,
        volumes_from: Sequence[str | Container] | None = None,
        mounts: Sequence[Mount | str] | None = None,
        tmpfs: _Tmpfs | None = None,
        secrets: _Secrets | None = None,
        devices: Sequence[str] | None = None,
        device_cgroup_rules: Sequence[str] | None = None,
        privileged: bool = False,
        input: str | Buffer | None = None,
        stdin: _Stream | None = None,
        stdout: _Stream | None = None,
        stderr: _Stream | None = None,
        check: bool = False,
        timeout: float | None = None,
        capture_limit: int | None = None,
        text: Literal[False] = False,
        encoding: None = None,
        errors: None = None,
    ) -> RunResult[bytes]:
        """Runs a program in a new session-scoped container, collects its output, and removes the container. Can be cancelled.

        The options of the container are those of `Containers.create`. `input` is what the program reads (a str is written in `encoding`); without
        it and `stdin` the program has no input. `stdout` and `stderr` are collected unless they go to a file. More than `capture_limit`
        bytes of one of them (default: 1 GiB) raises `LimitExceededError`. With `check`, an exit code other than 0 raises
        `ContainerExitError`, which has everything that the result would have. With `text`, `encoding` (default: UTF-8) or `errors` (default: `"strict"`), as `subprocess` has them, `stdout` and `stderr` are
        str, with line ends that are `\\n`, also those of an exception.

        Raises what `Containers.create` and `Container.start` raise, and `TimeoutError`, after the container was killed and removed. `TimeoutError` and
        `LimitExceededError` have what was collected until then in `stdout` and `stderr`.
        """
    @overload
    def run(
        self,
        image: _Image | None = None,
        command: _Command | None = None,
        *,
        rootfs: _Path | None = None,
        bundle: _Path | None = None,
        platform: str | None = None,
        pull: _PullPolicy = "missing",
        entrypoint: _Command | None = None,
        name: str | None = None,
        environment: _Environment | None = None,
        working_dir: str | None = None,
        user: str | int | None = None,
        group_add: Sequence[str | int] | None = None,
        use_config_proxy: bool = False,
        hostname: str | None = None,
        domainname: str | None = None,
        tz: str | None = None,
        passwd: bool = True,
        passwd_entry: str | None = None,
        group_entry: str | None = None,
        network: str | None = None,
        network_mode: str | None = None,
        network_disabled: bool = False,
        exposed_ports: Sequence[str | int] | None = None,
        pid_mode: str | None = None,
        ipc_mode: str | None = None,
        uts_mode: _HostOrOwn | None = None,
        cgroupns: _HostOrOwn | None = None,
        userns_mode: str | None = None,
        uidmap: Sequence[str] | None = None,
        gidmap: Sequence[str] | None = None,
        mem_limit: _Size | None = None,
        cpus: float | None = None,
        nano_cpus: int | None = None,
        pids_limit: int | None = None,
        mem_reservation: _Size | None = None,
        memswap_limit: _Size | None = None,
        mem_swappiness: int | None = None,
        oom_kill_disable: bool = False,
        oom_score_adj: int | None = None,
        cpu_shares: int | None = None,
        cpu_quota: int | None = None,
        cpu_period: int | None = None,
        cpuset_cpus: str | None = None,
        cpuset_mems: str | None = None,
        blkio_weight: int | None = None,
        blkio_weight_device: _Weights | None = None,
        device_read_bps: _Rates | None = None,
        device_write_bps: _Rates | None = None,
        device_read_iops: _Rates | None = None,
        device_write_iops: _Rates | None = None,
        ulimits: _Ulimits | None = None,
        sysctls: _Parameters | None = None,
        unified: _Parameters | None = None,
        cgroup_parent: str | None = None,
        cap_add: Sequence[str] | None = None,
        cap_drop: Sequence[str] | None = None,
        read_only: bool = False,
        security_opt: Sequence[str] | None = None,
        masked_paths: Sequence[str] | None = None,
        readonly_paths: Sequence[str] | None = None,
        labels: _Labels | None = None,
        hooks: Mapping[str, Sequence[Mapping[str, Any]]] | str | None = None,
        healthcheck: _HealthCheck | None = None,
        annotations: _Labels | None = None,
        stop_signal: str | int | None = None,
        stop_timeout: int | None = None,
        run_timeout: int | None = None,
        shm_size: _Size | None = None,
        extra_hosts: _Hosts | None = None,
        dns: Sequence[str] | None = None,
        dns_search: Sequence[str] | None = None,
        dns_opt: Sequence[str] | None = None,
        log_driver: str | None = None,
        log_opt: _Parameters | None = None,
        log_config: Mapping[str, Any] | None = None,
        init: bool = False,
        tty: bool = False,
        stdin_open: bool = False,
        stdin_once: bool = False,
        console_size: tuple[int, int] | None = None,
        volumes: _Volumes | None = None,
        volumes_from: Sequence[str | Container] | None = None,
        mounts: Sequence[Mount | str] | None = None,
        tmpfs: _Tmpfs | None = None,
        secrets: _Secrets | None = None,
        devices: Sequence[str] | None = None,
        device_cgroup_rules: Sequence[str] | None = None,
        privileged: bool = False,
        input: str | Buffer | None = None,
        stdin: _Stream | None = None,
        stdout: _Stream | None = None,
        stderr: _Stream | None = None,
        check: bool = False,
        timeout: float | None = None,
        capture_limit: int | None = None,
        text: Literal[True],
        encoding: str | None = None,
        errors: str | None = None,
    ) -> RunResult[str]: ...
    @overload
    def run(
        self,
        image: _Image | None = None,
        command: _Command | None = None,
        *,
        rootfs: _Path | None = None,
        bundle: _Path | None = None,
        platform: str | None = None,
        pull: _PullPolicy = "missing",
        entrypoint: _Command | None = None,
        name: str | None = None,
        environment: _Environment | None = None,
        working_dir: str | None = None,
        user: str | int | None = None,
        group_add: Sequence[str | int] | None = None,
        use_config_proxy: bool = False,
        hostname: str | None = None,
        domainname: str | None = None,
        tz: str | None = None,
        passwd: bool = True,
        passwd_entry: str | None = None,
        group_entry: str | None = None,
        network: str | None = None,
        network_mode: str | None = None,
        network_disabled: bool = False,
        exposed_ports: Sequence[str | int] | None = None,
        pid_mode: str | None = None,
        ipc_mode: str | None = None,
        uts_mode: _HostOrOwn | None = None,
        cgroupns: _HostOrOwn | None = None,
        userns_mode: str | None = None,
        uidmap: Sequence[str] | None = None,
        gidmap: Sequence[str] | None = None,
        mem_limit: _Size | None = None,
        cpus: float | None = None,
        nano_cpus: int | None = None,
        pids_limit: int | None = None,
        mem_reservation: _Size | None = None,
        memswap_limit: _Size | None = None,
        mem_swappiness: int | None = None,
        oom_kill_disable: bool = False,
        oom_score_adj: int | None = None,
        cpu_shares: int | None = None,
        cpu_quota: int | None = None,
        cpu_period: int | None = None,
        cpuset_cpus: str | None = None,
        cpuset_mems: str | None = None,
        blkio_weight: int | None = None,
        blkio_weight_device: _Weights | None = None,
        device_read_bps: _Rates | None = None,
        device_write_bps: _Rates | None = None,
        device_read_iops: _Rates | None = None,
        device_write_iops: _Rates | None = None,
        ulimits: _Ulimits | None = None,
        sysctls: _Parameters | None = None,
        unified: _Parameters | None = None,
        cgroup_parent: str | None = None,
        cap_add: Sequence[str] | None = None,
        cap_drop: Sequence[str] | None = None,
        read_only: bool = False,
        security_opt: Sequence[str] | None = None,
        masked_paths: Sequence[str] | None = None,
        readonly_paths: Sequence[str] | None = None,
        labels: _Labels | None = None,
        hooks: Mapping[str, Sequence[Mapping[str, Any]]] | str | None = None,
        healthcheck: _HealthCheck | None = None,
        annotations: _Labels | None = None,
        stop_signal: str | int | None = None,
        stop_timeout: int | None = None,
        run_timeout: int | None = None,
        shm_size: _Size | None = None,
        extra_hosts: _Hosts | None = None,
        dns: Sequence[str] | None = None,
        dns_search: Sequence[str] | None = None,
        dns_opt: Sequence[str] | None = None,
        log_driver: str | None = None,
        log_opt: _Parameters | None = None,
        log_config: Mapping[str, Any] | None = None,
        init: bool = False,
        tty: bool = False,
        stdin_open: bool = False,
        stdin_once: bool = False,
        console_size: tuple[int, int] | None = None,
        volumes: _Volumes | None = None,
        volumes_from: Sequence[str | Container] | None = None,
        mounts: Sequence[Mount | str] | None = None,
        tmpfs: _Tmpfs | None = None,
        secrets: _Secrets | None = None,
        devices: Sequence[str] | None = None,
        device_cgroup_rules: Sequence[str] | None = None,
        privileged: bool = False,
        input: str | Buffer | None = None,
        stdin: _Stream | None = None,
        stdout: _Stream | None = None,
        stderr: _Stream | None = None,
        check: bool = False,
        timeout: float | None = None,
        capture_limit: int | None = None,
        text: bool = False,
        encoding: str,
        errors: str | None = None,
    ) -> RunResult[str]: ...

    def info(self) -> Info:
        """Facts about the engine and its host."""

    def doctor(self) -> Report:
        """Looks at what the host has and lacks, for this engine."""

    def verify(self, *, progress: _Progress | None = None) -> list[str]:
        """Looks for damage in the store, and for what belongs to nothing: one line for each thing that is wrong. `progress` hears `check` of each blob; see `Images.load`. Can be
        cancelled."""

    def events(
        self,
        *,
        since: datetime | float | None = None,
        until: datetime | float | None = None,
        after: int | None = None,
        filters: _Filters | None = None,
        follow: bool = True,
    ) -> EventStream:
        """What happens to containers, images and volumes, whichever process does it: from `since` (seconds since the epoch, or a datetime) until `until`, or those with greater
        ids than `after`, to go on where another stream has ended.

        With `follow` the stream waits for more, and without `since` and `after` it has only what is still to come. Filters are docker's, in the form that
        lists take: `container` (the beginning of a name or id), `event`, `image`, `label`, `type`, `volume` (a name). Events are kept for a week, and at most 20,000 of them: a stream that
        is further behind raises `EventsLostError`, once, and goes on.
        """

    def disk_usage(self) -> DiskUsage:
        """What the store takes of the disk, in all and for each image, container and volume. `total` is what `du` sees of the data root. Can be cancelled."""

    def scrub(self, *, repair: bool = False, progress: _Progress | None = None) -> Scrub:
        """Looks at every byte of the store: hashes blobs, and compares unpacked layers with theirs. Can be cancelled.

        With `repair`, a damaged layer is unpacked again, unless a running container uses it, and a damaged layer blob is taken away, so that the next load or
        pull of the image brings it again. Blobs and layers that belong to nothing are problems of the kind `stray`, and removed; they are looked for only when nobody
        else is at work on images. `progress` hears `check` of each blob and layer; see `Images.load`.
        """

    def close(self) -> None:
        """Closes the engine and removes the session-scoped containers that it started. Later calls raise `ClosedError`; closing again does
        nothing."""

    def __enter__(self) -> Self: ...
    def __exit__(
        self, exc_type: type[BaseException] | None = None, exc_value: BaseException | None = None, traceback: TracebackType | None = None, /
    ) -> None: ...

@final
class Images:
    """The images of an engine: `engine.images`."""

    @overload
    def pull(
        self,
        reference: str,
        *,
        platform: str | None = None,
        policy: _PullPolicy = "always",
        jobs: int | None = None,
        lock: _Path | None = None,
        allow_foreign_urls: bool = False,
        foreign_url_hosts: Sequence[str] | None = None,
        credentials: _Credentials | None = None,
        insecure: bool = False,
        auth_file: _Path | None = None,
        cert_dir: _Path | None = None,
        retries: int | None = None,
        connect_timeout: float | None = None,
        idle_timeout: float | None = None,
        mirrors: Sequence[str] | None = None,
        registries_conf: _Path | None = None,
        hosts_dir: _Path | None = None,
        credential_provider: _CredentialProvider | None = None,
        progress: _Progress | None = None,
        stream: Literal[False] = False,
    ) -> Image:
        """Fetches an image from its registry, verified, and unpacks its layers while they come in. Can be cancelled.

        - `reference`: a name as docker has it: `alpine`, `ghcr.io/team/app:1`, `localhost:5000/app@sha256:...`. A tag names the image afterwards, a digest does not.
        - `platform`: one such as `linux/arm64/v8`, or `"all"` for every one that the name has; by default the host's.
        - `policy`: `"always"` asks the registry each time, and fetches what is not there; `"missing"` asks for an image that the store does not
          have; `"never"` does not ask; `"newer"` makes do with the store's image if the registry cannot be reached.
        - `jobs`: how many blobs are fetched at once, 1 to 64; by default 4.
        - `lock`: a lock file that the name is checked against, as `lock` writes it; by default the engine's `lock_file`.
        - `allow_foreign_urls`: whether what the registry does not have is fetched from the URLs that its descriptor names (`urls`; OCI image-spec, "OCI Content Descriptors"), as that of a layer that is not
          distributable does. They are asked over TLS, without credentials, on public addresses and on the registry's own host; size and digest are verified as always. At most 16 URLs of each are tried.
          Without it such a layer is an `UnsupportedError`. `foreign_url_hosts`: hosts (`host` or `host:port`) that such URLs may have although their addresses are not public; plain HTTP is
          used only for what `registries.conf` says to be insecure.
        - `credentials`: a tuple of user name and password, or `Credentials`; by default those of docker's and podman's files, and if there are none, nobody's.
        - `insecure`: accepts plain HTTP, and certificates that nobody vouches for.
        - `auth_file`: the only file that credentials are read from. `cert_dir`: the directory with `*.crt`, `*.cert` and `*.key` for the registry.
        - `retries`: how often a request is made again that failed for a reason that may pass; by default 5.
        - `connect_timeout`, `idle_timeout`: seconds until a connection is there, by default 30, and for data of one that is, by default 60. A transfer that moves has no end.
        - `mirrors`: URLs of mirrors to ask first, each for every registry or with one in front (`"docker.io=https://mirror.example"`); by default the engine's. They never get the call's credentials.
        - `registries_conf`, `hosts_dir`: the only file in the form of `registries.conf`, and the only `certs.d`, that are read.
        - `credential_provider`: called with registry, repository and whether its last answer was refused, when the registry wants to know who asks and `credentials` does not say it; it returns credentials, or None to leave it to the
          files. It runs on a thread of the call, which waits for it; what it raises ends the call.
        - `progress`: called with each `Progress`, one call at a time, on threads of the transfer, which waits for it. What it raises ends the pull.

        Raises `ImageNotFoundError` if the registry does not have it, `UnauthorizedError`, `NetworkError`, `RateLimitedError`, `RegistryError`,
        `DigestMismatchError`, `DigestDriftError`, `InvalidReferenceError`, `InvalidImageError`, `InvalidArchiveError`, `LimitExceededError`, `StorageFullError`. Then
        nothing has changed; what was fetched of a blob is kept for a while, and the next pull goes on from there.
        """

    @overload
    def pull(
        self,
        reference: str,
        *,
        platform: str | None = None,
        policy: _PullPolicy = "always",
        jobs: int | None = None,
        lock: _Path | None = None,
        allow_foreign_urls: bool = False,
        foreign_url_hosts: Sequence[str] | None = None,
        credentials: _Credentials | None = None,
        insecure: bool = False,
        auth_file: _Path | None = None,
        cert_dir: _Path | None = None,
        retries: int | None = None,
        connect_timeout: float | None = None,
        idle_timeout: float | None = None,
        mirrors: Sequence[str] | None = None,
        registries_conf: _Path | None = None,
        hosts_dir: _Path | None = None,
        credential_provider: _CredentialProvider | None = None,
        progress: None = None,
        stream: Literal[True],
    ) -> ProgressStream[Image]:
        """As above, with the progress as an iterator: the pull goes on while the block is executed, and is cancelled at its end if it is not over.

            with engine.images.pull("alpine", stream=True) as events:
                for event in events:
                    print(event.kind, event.overall_current, event.overall_total)
                image = events.result()
        """

    def plan(
        self,
        reference: str,
        *,
        platform: str | None = None,
        policy: _PullPolicy = "always",
        jobs: int | None = None,
        lock: _Path | None = None,
        allow_foreign_urls: bool = False,
        foreign_url_hosts: Sequence[str] | None = None,
        credentials: _Credentials | None = None,
        insecure: bool = False,
        auth_file: _Path | None = None,
        cert_dir: _Path | None = None,
        retries: int | None = None,
        connect_timeout: float | None = None,
        idle_timeout: float | None = None,
        mirrors: Sequence[str] | None = None,
        registries_conf: _Path | None = None,
        hosts_dir: _Path | None = None,
        credential_provider: _CredentialProvider | None = None,
        progress: _Progress | None = None,
    ) -> PullPlan:
        """What a pull with the same arguments would fetch. Fetches nothing but manifests. Can be cancelled. Raises what `pull` raises."""

    @overload
    def push(
        self,
        reference: str,
        *,
        tags: Sequence[str] | None = None,
        platform: str | None = None,
        compression: _Compression | None = None,
        compression_level: int | None = None,
        format: _ManifestFormat | None = None,
        allow_nondistributable_artifacts: bool = False,
        chunk_size: _Size | None = None,
        jobs: int | None = None,
        credentials: _Credentials | None = None,
        insecure: bool = False,
        auth_file: _Path | None = None,
        cert_dir: _Path | None = None,
        retries: int | None = None,
        connect_timeout: float | None = None,
        idle_timeout: float | None = None,
        mirrors: Sequence[str] | None = None,
        registries_conf: _Path | None = None,
        hosts_dir: _Path | None = None,
        credential_provider: _CredentialProvider | None = None,
        progress: _Progress | None = None,
        stream: Literal[False] = False,
    ) -> Pushed:
        """Sends an image to the registry of its name, as far as the registry does not have it. Can be cancelled.

        All platforms that the name has in the store are sent, with their index, unless `platform` chooses one. What was pulled or loaded goes byte for byte, and so
        keeps its digests. `compression` sends the layers that were made here in another form, which gives the image another digest there; `compression_level`
        says how hard is tried to make them small, 1 to 9 of gzip, 1 to 22 of zstd. `chunk_size` sends blobs in pieces of so many bytes, for registries behind
        something that bounds requests; by default each goes in one. `jobs`: how many blobs are sent at once, 1 to 64; by default 4. The rest is as in `pull`.

        `format` is the form that the manifests have there: `oci`, or `v2s2` for docker's schema 2 with its manifest lists (image manifest version 2, schema 2, of the distribution project);
        by default as they are. What is in that form already stays byte for byte; anything else has another digest there, which is the one in the result. Configurations and their image ids stay as they
        are. Layers that are compressed with zstd have no place in `v2s2` and are compressed anew, with gzip; annotations and attestations have none either and are left out, which is a warning of the result;
        an image that refers to another manifest (`subject`) is refused with `UnsupportedError`.

        Layers that are not meant to be passed on, which their media types say (foreign, or non-distributable), are not sent, which is a warning of the result, unless
        `allow_nondistributable_artifacts` is set.

        `tags` are further tags that the image gets in the same repository. A registry that can do so sets all of them with the request that brings the
        manifest; with others, each takes one of its own.

        Raises `ImageNotFoundError` if the store does not have it, `UnauthorizedError`, `NetworkError`, `RateLimitedError`, `RegistryError`,
        `DigestMismatchError` if a blob of the store is damaged.
        """

    @overload
    def push(
        self,
        reference: str,
        *,
        tags: Sequence[str] | None = None,
        platform: str | None = None,
        compression: _Compression | None = None,
        compression_level: int | None = None,
        format: _ManifestFormat | None = None,
        allow_nondistributable_artifacts: bool = False,
        chunk_size: _Size | None = None,
        jobs: int | None = None,
        credentials: _Credentials | None = None,
        insecure: bool = False,
        auth_file: _Path | None = None,
        cert_dir: _Path | None = None,
        retries: int | None = None,
        connect_timeout: float | None = None,
        idle_timeout: float | None = None,
        mirrors: Sequence[str] | None = None,
        registries_conf: _Path | None = None,
        hosts_dir: _Path | None = None,
        credential_provider: _CredentialProvider | None = None,
        progress: None = None,
        stream: Literal[True],
    ) -> ProgressStream[Pushed]:
        """As above, with the progress as an iterator: see `pull`."""

    @overload
    def copy(
        self,
        source: str,
        target: str,
        *,
        platform: str | None = None,
        format: _ManifestFormat | None = None,
        allow_nondistributable_artifacts: bool = False,
        allow_foreign_urls: bool = False,
        foreign_url_hosts: Sequence[str] | None = None,
        jobs: int | None = None,
        source_credentials: _Credentials | None = None,
        source_insecure: bool = False,
        source_auth_file: _Path | None = None,
        source_cert_dir: _Path | None = None,
        target_credentials: _Credentials | None = None,
        target_insecure: bool = False,
        target_auth_file: _Path | None = None,
        target_cert_dir: _Path | None = None,
        retries: int | None = None,
        connect_timeout: float | None = None,
        idle_timeout: float | None = None,
        mirrors: Sequence[str] | None = None,
        registries_conf: _Path | None = None,
        hosts_dir: _Path | None = None,
        credential_provider: _CredentialProvider | None = None,
        progress: _Progress | None = None,
        stream: Literal[False] = False,
    ) -> Pushed:
        """Copies an image from one registry to another, byte for byte, without unpacking it. The store is not touched. Can be cancelled.

        Everything that the name stands for in the source is copied, unless `platform` chooses one. A target with a digest in place of a tag gets no name there; what is copied has to have that
        digest, or nothing is sent (`DigestMismatchError`). `format` and `allow_nondistributable_artifacts` are as in `push`, but no layer is compressed
        anew: one that is compressed with zstd cannot be copied as `v2s2`, nor can artifacts, which is an `UnsupportedError`. `allow_foreign_urls` and `foreign_url_hosts` are about what the source does not have. The rest is as in `pull`, for each of the registries.

        Raises what `pull` and `push` raise; `ImageNotFoundError` if the source does not have it.
        """

    @overload
    def copy(
        self,
        source: str,
        target: str,
        *,
        platform: str | None = None,
        format: _ManifestFormat | None = None,
        allow_nondistributable_artifacts: bool = False,
        allow_foreign_urls: bool = False,
        foreign_url_hosts: Sequence[str] | None = None,
        jobs: int | None = None,
        source_credentials: _Credentials | None = None,
        source_insecure: bool = False,
        source_auth_file: _Path | None = None,
        source_cert_dir: _Path | None = None,
        target_credentials: _Credentials | None = None,
        target_insecure: bool = False,
        target_auth_file: _Path | None = None,
        target_cert_dir: _Path | None = None,
        retries: int | None = None,
        connect_timeout: float | None = None,
        idle_timeout: float | None = None,
        mirrors: Sequence[str] | None = None,
        registries_conf: _Path | None = None,
        hosts_dir: _Path | None = None,
        credential_provider: _CredentialProvider | None = None,
        progress: None = None,
        stream: Literal[True],
    ) -> ProgressStream[Pushed]:
        """As above, with the progress as an iterator: see `pull`."""

    def search(
        self,
        term: str,
        *,
        registry: str | None = None,
        limit: int | None = None,
        filters: _SearchFilters | None = None,
        credentials: _Credentials | None = None,
        insecure: bool = False,
        auth_file: _Path | None = None,
        cert_dir: _Path | None = None,
        retries: int | None = None,
        connect_timeout: float | None = None,
        idle_timeout: float | None = None,
        mirrors: Sequence[str] | None = None,
        registries_conf: _Path | None = None,
        hosts_dir: _Path | None = None,
        credential_provider: _CredentialProvider | None = None,
        progress: _Progress | None = None,
    ) -> _list[SearchResult]:
        """Searches a registry for repositories, best first. Can be cancelled.

        `registry` is by default what is in front of the term, as in `example.com/term`, and otherwise Docker Hub. `limit` is 1 to 100; by default 25. `filters` maps
        `is-official`, `is-automated` and `stars` (at least) to a value. `progress` is called with warnings and the like, as in `Registry`. The rest is as in `pull`.

        Raises `NetworkError`, `UnauthorizedError`, `RateLimitedError`, `RegistryError`, and `UnsupportedError` for a registry that cannot be searched.
        """

    def lock(
        self,
        references: Sequence[str],
        path: _Path,
        *,
        credentials: _Credentials | None = None,
        insecure: bool = False,
        auth_file: _Path | None = None,
        cert_dir: _Path | None = None,
        retries: int | None = None,
        connect_timeout: float | None = None,
        idle_timeout: float | None = None,
        mirrors: Sequence[str] | None = None,
        registries_conf: _Path | None = None,
        hosts_dir: _Path | None = None,
        credential_provider: _CredentialProvider | None = None,
        progress: _Progress | None = None,
    ) -> _list[Pin]:
        """Asks the registries what names stand for, and pins them to it in a lock file, which is made if it is not there. Pins of other names stay as they
        are. Can be cancelled.

        A pull with that file, or of an engine with it as `lock_file`, raises `DigestDriftError` if a name stands for something else by then.

        Raises what `pull` raises, and `PermissionDeniedError`.
        """

    def load(
        self, source: _Path | _Stream, *, platform: str | None = None, progress: _Progress | None = None
    ) -> _list[Image]:
        """Loads the images of a docker-archive tar, or of an OCI image layout (a directory or a tar). A tar may be compressed. Can be cancelled.

        `source` is a path, a file descriptor or an open file, which is read to its end. `platform` is one such as `linux/arm64/v8`, or `"all"` for every
        one that is there; by default the host's. What the configuration of an image says decides: if it is not for the platform that was asked for,
        that is an `InvalidImageError`, and if none was asked for, a warning of the image (`foreign-platform`).

        `progress` is called with each `Progress`, one call at a time, on threads of the call, which waits for it: `read` with the bytes of the archive, then `unpack`
        and `unpack-done` for each layer. What it raises ends the call. `coble.progress` has one that prints.

        Raises `PathNotFoundError`, `InvalidArchiveError`, `InvalidImageError`, `DigestMismatchError`, `LimitExceededError`,
        `StorageFullError`; then nothing of the archive is in the store.
        """

    def import_rootfs(
        self,
        tar: _Path | _Stream,
        reference: str | None = None,
        *,
        command: _Command | None = None,
        entrypoint: _Command | None = None,
        environment: _Environment | None = None,
        working_dir: str | None = None,
        user: str | int | None = None,
        labels: _Labels | None = None,
        message: str | None = None,
        author: str | None = None,
        changes: Sequence[str] | None = None,
        platform: str | None = None,
        progress: _Progress | None = None,
    ) -> Image:
        """Makes an image of one layer from the tar of a root file system, plain or compressed with gzip, zstd, bzip2 or xz. Can be cancelled.

        The options are the configuration that its containers have by default; `message` is the comment in its history. `changes` are instructions of a
        Dockerfile that change that configuration, such as `"EXPOSE 80"`: CMD ENTRYPOINT ENV EXPOSE HEALTHCHECK LABEL ONBUILD STOPSIGNAL USER VOLUME
        WORKDIR. `platform`, such as `linux/arm64`, says what the files are for; the host's when not given. Without a `reference` the image has no name.
        `progress` is as in `load`.

        Raises what `load` raises, `InvalidReferenceError`, and `InvalidArgumentError` for a URL, which has to be fetched first.
        """

    def from_host(
        self,
        items: Sequence[str | PathLike[str] | tuple[_Path, _Path]],
        reference: str | None = None,
        *,
        command: _Command | None = None,
        entrypoint: _Command | None = None,
        environment: _Environment | None = None,
        working_dir: str | None = None,
        user: str | int | None = None,
        labels: _Labels | None = None,
        message: str | None = None,
        author: str | None = None,
        changes: Sequence[str] | None = None,
        platform: str | None = None,
        progress: _Progress | None = None,
    ) -> Image:
        """Makes an image of programs and files of the host. Can be cancelled.

        Items are paths, or names of programs that are looked up in `PATH`; `"source:target"` or `(source, target)` puts one elsewhere in the image;
        directories are taken with everything below. The interpreters and shared libraries that programs need are found by reading their
        ELF headers, not by running them, and taken too. A script that is named brings the interpreter of its first line, which has to be there; of scripts in a directory
        those interpreters are taken that this machine has in full, and others are no error. Modules that an interpreter loads, as those of Python, have to be named. The other
        options are those of `import_rootfs`.

        Raises `PathNotFoundError`, `InvalidArgumentError`, `InvalidReferenceError`, `PermissionDeniedError`, `StorageFullError`.
        """

    def list(self, *, filters: _Filters | None = None) -> _list[Image]:
        """The images that meet all conditions, or all, newest first.

        `filters` maps `dangling`, `label`, `label!`, `reference`, `before`, `since` and `until` to a value or several, as docker has them.
        """

    def get(self, image: _Image, *, platform: str | None = None) -> Image:
        """One image; of those that a name has, the one for a `platform`, such as `linux/arm64`, or for this host. Raises `ImageNotFoundError`, and `InvalidArgumentError` if a prefix fits several."""

    def inspect(self, image: _Image) -> ImageDetails:
        """Everything about an image. Raises `ImageNotFoundError`."""

    def inspect_docker(self, image: _Image) -> dict[str, Any]:
        """Everything about an image as `docker image inspect` has it: `Id`, `RepoTags`, `RepoDigests`, `Config`, `RootFS` and so on; `Coble` has what `inspect`
        gives. `Size` is that of the files in its layers, if they are unpacked. Raises `ImageNotFoundError`."""

    def history(self, image: _Image) -> _list[HistoryEntry]:
        """How an image was made, newest step first. Raises `ImageNotFoundError`."""

    def save(
        self, images: _Image | Sequence[_Image], target: _Path | _Stream, *, format: _SaveFormat | None = None, platform: str | None = None,
        progress: _Progress | None = None,
    ) -> None:
        """Saves images, with the names that they are called by here. Can be cancelled.

        `target` is a path, where a file appears when it is complete, or a file descriptor or open file. `"oci-archive"`, the default, is a tar of
        an OCI image layout that is a docker archive, too; its blobs are byte for byte those of the store. `"oci-dir"` is a layout as a directory, which
        may be there already and gets the images added. `"docker-archive"` has uncompressed layers, for tools that know only that, and one image for a name.
        `platform`, such as `linux/arm64`, chooses one of those that a name has; by default all are saved, and into a `"docker-archive"` the one for the host. `progress` hears `blob-start`,
        `blob-progress` and `blob-done` of each layer; see `load`.

        Raises `InvalidArgumentError` if a `"docker-archive"` would need several images of a name (`platform="all"`, or none of them is for the host).

        Raises `ImageNotFoundError`, `DigestMismatchError` if a blob is damaged, `StorageFullError`.
        """

    def diff(self, old: _Image, new: _Image) -> _list[PathChange]:
        """What is different in one image's root file system against another's, sorted by path. Can be cancelled. Raises `ImageNotFoundError`."""

    def mount(self, image: _Image) -> ImageMount:
        """Mounts an image's root file system read-only, where only this process sees it. Can be cancelled.

            with engine.images.mount("demo") as root:
                os.listdir(root)

        The mount is nowhere in the tree of the host, and goes with its descriptor, however the process ends. Links in an image may lead anywhere, and an
        absolute one leads to the host's files. Files of users that are mapped into containers only can be read as far as their modes let others.

        Raises `ImageNotFoundError`, and `UnsupportedError` if the kernel does not allow it.
        """

    def prune(
        self,
        *,
        all: bool = False,
        filters: _Filters | None = None,
        reserved_space: _Size | None = None,
        max_used_space: _Size | None = None,
        min_free_space: _Size | None = None,
    ) -> Pruned:
        """Removes images that no container uses: those without a name, or with `all` the others, too. Can be cancelled.

        `filters` are those of `list`. With `max_used_space` or `min_free_space` only as many are removed as it takes for blobs and unpacked layers
        to have no more than that, or for the file system to have that much free; those go first that were not used for longest. `reserved_space` is
        kept in any case.
        """

    def tag(self, image: _Image, reference: str) -> None:
        """Gives an image one more name, which is taken from another one that has it. Raises `ImageNotFoundError`, `InvalidReferenceError`."""

    def untag(self, reference: str) -> None:
        """Takes a name away. The image stays, also without a name. Raises `ImageNotFoundError`, `InvalidReferenceError`."""

    def remove(self, image: _Image, *, force: bool = False) -> Removed:
        """By reference: takes the name away, and deletes the image with its last name. By id: deletes it; one with several names only with
        `force`. Raises `ImageNotFoundError`, and `InUseError` if a container uses it; with `force` only if one runs: for others it stays, without its names,
        until they are gone and it is pruned."""

@final
class Volumes:
    """The volumes of an engine: `engine.volumes`. Directories of the store that containers have mounted, and that outlive them. The words are docker's.

    A volume belongs to the containers that have it, whether they run or not: as long as there is one, nobody removes it.
    """

    def create(self, name: str | None = None, *, driver: str | None = None, driver_opts: _Parameters | None = None, labels: _Labels | None = None) -> Volume:
        """Makes a volume, or returns the one that has the name, as it is.

        A name is `[a-zA-Z0-9][a-zA-Z0-9_.-]+`, at most 255 characters; without one the volume is anonymous, with a name of 64 hexadecimal digits. `driver` is `"local"`, which has
        no options. Raises `InvalidArgumentError`, `UnsupportedError` and `StorageFullError`.
        """

    def get(self, name: str) -> Volume:
        """The volume with this name. Raises `VolumeNotFoundError`."""

    def list(self, *, filters: _Filters | None = None) -> _list[Volume]:
        """The volumes, by name. Filters are docker's: `dangling` (true: no container has it), `driver`, `label`, `label!`, `name` (a part of it)."""

    def inspect(self, name: _Volume) -> VolumeDetails:
        """Everything about a volume. Raises `VolumeNotFoundError`."""

    def remove(self, name: _Volume, *, force: bool = False) -> None:
        """Removes a volume. Raises `InUseError`, which names who has it, if a container has it, running or not, or if a clone is made upon it; and
        `VolumeNotFoundError`, unless `force` is set."""

    def prune(self, *, all: bool = False, filters: _Filters | None = None) -> VolumesPruned:
        """Removes the anonymous volumes that no container has, or with `all` every volume that none has. Filters: `label`, `label!`, `all`. Can be cancelled."""

    def clone(self, source: _Volume, name: str | None = None) -> Volume:
        """Makes a volume that has what another one has, in milliseconds whatever the size: they share what neither changes. Can be cancelled.

        As long as a volume has clones, nothing can be written to it: a container that would mount it otherwise than read-only does not start, and while one that may write to it runs there is no clone of
        it; both raise `InUseError`. A clone is mounted by one running container at a time. As a context manager it is removed at the end of the block, so a test gets the data that was
        prepared for all, and leaves nothing.
        """

@final
class Volume:
    """A volume. As a context manager it is removed at the end of the block. Equal if the names are."""

    @property
    def name(self) -> str:
        """Its name."""

    @property
    def driver(self) -> str:
        """`"local"`."""

    @property
    def mountpoint(self) -> Path:
        """Where its files are on the host. Of a clone only those that are not as its source has them."""

    @property
    def created(self) -> str:
        """When it was made, RFC 3339."""

    @property
    def labels(self) -> dict[str, str]:
        """Labels."""

    @property
    def anonymous(self) -> bool:
        """Whether the engine has named it."""

    @property
    def source(self) -> str | None:
        """The volume that it is a clone of."""

    def inspect(self) -> VolumeDetails:
        """Everything about it. Raises `VolumeNotFoundError`."""

    def inspect_docker(self) -> dict[str, Any]:
        """Everything about it as `docker volume inspect` has it; `Coble` has what `inspect` returns."""

    def remove(self, *, force: bool = False) -> None:
        """Removes it, as `Volumes.remove`."""

    def clone(self, name: str | None = None) -> Volume:
        """Makes a volume that has what this one has, as `Volumes.clone`. Can be cancelled."""

    def export(self, target: _Path | _Stream) -> Exported:
        """Writes what is in it as a tar, whether a container has it or not. Can be cancelled.

        `target` is a path, where a file appears when it is complete, or a file descriptor or open file. The entry `./` has the attributes of the volume itself. Files that change meanwhile may be in the tar as they never were; the
        tar itself is always whole.
        """

    def import_archive(self, archive: bytes | bytearray | _Path | _Stream) -> Exported:
        """Unpacks a tar, plain or compressed with gzip, zstd, bzip2 or xz, in it. Can be cancelled.

        Directories that are there are merged, and get the attributes of the archive; files are replaced. Nothing of the archive gets out of the volume. When it fails, entries before the one that failed are there, each of them whole.
        Raises `InvalidArchiveError`, and `InUseError` if it has clones, or is a clone that a running container has.
        """

    def __enter__(self) -> Self: ...
    def __exit__(
        self, exc_type: type[BaseException] | None = None, exc_value: BaseException | None = None, traceback: TracebackType | None = None, /
    ) -> None: ...
    def __eq__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...

@final
class Registry:
    """The registries, as an engine reaches them: `engine.registry`.

    Where they are, whether they may be insecure, and who asks, is said by docker's and podman's files unless a call says it: `credentials` is a tuple of user name and
    password, or `Credentials`; the other options are those of `Images.pull`. All calls can be cancelled. They raise `UnauthorizedError`, `NetworkError`,
    `RateLimitedError` and `RegistryError`.

    What a registry says beside its answers (warnings, how many requests are left), and that a request is made again, goes to `progress`, which is called with
    a `Progress` each time, as in `Images.pull`.
    """

    def login(
        self,
        server: str,
        credentials: _Credentials,
        *,
        insecure: bool = False,
        auth_file: _Path | None = None,
        cert_dir: _Path | None = None,
        retries: int | None = None,
        connect_timeout: float | None = None,
        idle_timeout: float | None = None,
        mirrors: Sequence[str] | None = None,
        registries_conf: _Path | None = None,
        hosts_dir: _Path | None = None,
        credential_provider: _CredentialProvider | None = None,
        progress: _Progress | None = None,
    ) -> LoginResult:
        """Asks a registry whether it takes the credentials, and stores them as docker does: with the helper that is configured for the registry, or in the
        credential file. Docker Hub is `docker.io`. Raises `UnauthorizedError` if it does not take them."""

    def logout(self, server: str, *, auth_file: _Path | None = None) -> bool:
        """Forgets the credentials of a registry. False if there were none."""

    def tags(
        self,
        repository: str,
        *,
        credentials: _Credentials | None = None,
        insecure: bool = False,
        auth_file: _Path | None = None,
        cert_dir: _Path | None = None,
        retries: int | None = None,
        connect_timeout: float | None = None,
        idle_timeout: float | None = None,
        mirrors: Sequence[str] | None = None,
        registries_conf: _Path | None = None,
        hosts_dir: _Path | None = None,
        credential_provider: _CredentialProvider | None = None,
        progress: _Progress | None = None,
    ) -> list[str]:
        """The tags of a repository, sorted. Raises `ImageNotFoundError` if the registry does not have it."""

    def catalog(
        self,
        server: str,
        *,
        credentials: _Credentials | None = None,
        insecure: bool = False,
        auth_file: _Path | None = None,
        cert_dir: _Path | None = None,
        retries: int | None = None,
        connect_timeout: float | None = None,
        idle_timeout: float | None = None,
        mirrors: Sequence[str] | None = None,
        registries_conf: _Path | None = None,
        hosts_dir: _Path | None = None,
        credential_provider: _CredentialProvider | None = None,
        progress: _Progress | None = None,
    ) -> list[str]:
        """The repositories of a registry, sorted. Many registries do not tell."""

    def inspect(
        self,
        reference: str,
        *,
        platform: str | None = None,
        credentials: _Credentials | None = None,
        insecure: bool = False,
        auth_file: _Path | None = None,
        cert_dir: _Path | None = None,
        retries: int | None = None,
        connect_timeout: float | None = None,
        idle_timeout: float | None = None,
        mirrors: Sequence[str] | None = None,
        registries_conf: _Path | None = None,
        hosts_dir: _Path | None = None,
        credential_provider: _CredentialProvider | None = None,
        progress: _Progress | None = None,
    ) -> RemoteImage:
        """What a name stands for in its registry, without pulling it. With a platform the image of that; without one, of an index the index itself.

        Raises `ImageNotFoundError`.
        """

    def delete(
        self,
        reference: str,
        *,
        credentials: _Credentials | None = None,
        insecure: bool = False,
        auth_file: _Path | None = None,
        cert_dir: _Path | None = None,
        retries: int | None = None,
        connect_timeout: float | None = None,
        idle_timeout: float | None = None,
        mirrors: Sequence[str] | None = None,
        registries_conf: _Path | None = None,
        hosts_dir: _Path | None = None,
        credential_provider: _CredentialProvider | None = None,
        progress: _Progress | None = None,
    ) -> None:
        """Deletes a tag, or with a digest a manifest with all its tags, or else the blob with that digest. Many registries do not allow it: `UnsupportedError`."""

    def referrers(
        self,
        reference: str,
        *,
        artifact_type: str | None = None,
        credentials: _Credentials | None = None,
        insecure: bool = False,
        auth_file: _Path | None = None,
        cert_dir: _Path | None = None,
        retries: int | None = None,
        connect_timeout: float | None = None,
        idle_timeout: float | None = None,
        mirrors: Sequence[str] | None = None,
        registries_conf: _Path | None = None,
        hosts_dir: _Path | None = None,
        credential_provider: _CredentialProvider | None = None,
        progress: _Progress | None = None,
    ) -> list[Referrer]:
        """What refers to an image, such as signatures and bills of materials."""

@final
class Credentials:
    """What a registry is shown. Its representation shows no secret, and nothing gives the secret back."""

    def __new__(cls, username: str, password: str) -> Self:
        """A user name and a password, or an access token in its place."""

    @staticmethod
    def identity_token(token: str) -> Credentials:
        """An identity token, which a token server exchanges for access tokens."""

    @staticmethod
    def token(token: str) -> Credentials:
        """An access token, which is sent to the registry as it is."""

    @property
    def username(self) -> str | None:
        """The user name; None for a token."""

    def __eq__(self, other: object, /) -> bool: ...

@final
class ProgressStream(Generic[_T]):
    """A pull, push or copy that is under way: an iterator of its progress, and a context manager. The transfer does not wait for the iteration: who is slow gets the
    newest state of a blob. Iterating raises what the transfer failed with, at its end. Any thread may close it."""

    def __iter__(self) -> Self: ...
    def __next__(self) -> Progress: ...
    def next(self, timeout: float | None = None) -> Progress | None:
        """The next event; None at the end. Raises `TimeoutError`. Can be cancelled, which leaves the transfer alone."""

    def result(self, timeout: float | None = None) -> _T:
        """Waits for the end, and returns what the call returns when it is not a stream, or raises what it raises: `CancelledError` after `close`. Events that
        nobody has fetched are dropped. Raises `TimeoutError`. Can be cancelled, which leaves the transfer alone."""

    def close(self) -> None:
        """Cancels the transfer if it is not over, waits until it has cleaned up, and ends the iteration. Closing again does nothing."""

    @property
    def closed(self) -> bool:
        """Whether it was closed."""

    def __class_getitem__(cls, key: Any) -> GenericAlias: ...
    def __enter__(self) -> Self: ...
    def __exit__(
        self, exc_type: type[BaseException] | None = None, exc_value: BaseException | None = None, traceback: TracebackType | None = None, /
    ) -> None: ...

@final
class Image:
    """An image. What its content fixes was read once; `references` and `repo_digests` are looked up each time. Equal if the ids are."""

    @property
    def id(self) -> str:
        """Digest of the configuration, `sha256:...`: what docker calls the image id."""

    @property
    def short_id(self) -> str:
        """The first 12 digits of the id."""

    @property
    def digest(self) -> str:
        """Digest of the manifest."""

    @property
    def references(self) -> list[str]:
        """The canonical names that it has now. Raises `ImageNotFoundError`."""

    @property
    def repo_digests(self) -> list[str]:
        """What it is in registries, as far as is known now: `repository@sha256:...` for each manifest or index that it was pulled or pushed as. Raises
        `ImageNotFoundError`."""

    @property
    def created(self) -> str | None:
        """When it was made, RFC 3339, as the image says."""

    @property
    def size(self) -> int:
        """Bytes of its blobs: manifest, configuration and compressed layers."""

    @property
    def architecture(self) -> str:
        """CPU architecture, in GOARCH words: `amd64`."""

    @property
    def os(self) -> str:
        """Operating system, in GOOS words: `linux`."""

    @property
    def variant(self) -> str | None:
        """Variant of the architecture, such as `v7`."""

    @property
    def os_version(self) -> str | None:
        """Version of the operating system that it is made for: of Windows the build, such as `10.0.17763.1`."""

    @property
    def os_features(self) -> list[str]:
        """What the operating system has to be able to do for it, such as `win32k`."""

    @property
    def labels(self) -> dict[str, str]:
        """Labels of the configuration."""

    @property
    def warnings(self) -> list[Warning]:
        """What its layers have that could not be kept, such as device nodes and owners without privileges.

        Known to the `load`, `import_rootfs` or `from_host` that unpacked the layers; empty for an image that was looked up. At most 64 for
        each layer: the code `more-warnings` tells how many there were besides. A `load` tells of an image for another platform than the host's, too.
        """

    def inspect(self) -> ImageDetails:
        """Everything about it."""

    def inspect_docker(self) -> dict[str, Any]:
        """Everything about it as `docker image inspect` has it, as `Images.inspect_docker`."""

    def history(self) -> list[HistoryEntry]:
        """How it was made, newest step first."""

    def tag(self, reference: str) -> None:
        """Gives it one more name, as `Images.tag`."""

    def remove(self, *, force: bool = False) -> Removed:
        """Deletes it, as `Images.remove` by id."""

    def __eq__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...

@final
class Containers:
    """The containers of an engine: `engine.containers`."""

    def create(
        self,
        image: _Image | None = None,
        command: _Command | None = None,
        *,
        rootfs: _Path | None = None,
        bundle: _Path | None = None,
        platform: str | None = None,
        pull: _PullPolicy = "missing",
        entrypoint: _Command | None = None,
        name: str | None = None,
        environment: _Environment | None = None,
        working_dir: str | None = None,
        user: str | int | None = None,
        group_add: Sequence[str | int] | None = None,
        use_config_proxy: bool = False,
        hostname: str | None = None,
        domainname: str | None = None,
        tz: str | None = None,
        passwd: bool = True,
        passwd_entry: str | None = None,
        group_entry: str | None = None,
        network: str | None = None,
        network_mode: str | None = None,
        network_disabled: bool = False,
        exposed_ports: Sequence[str | int] | None = None,
        pid_mode: str | None = None,
        ipc_mode: str | None = None,
        uts_mode: _HostOrOwn | None = None,
        cgroupns: _HostOrOwn | None = None,
        userns_mode: str | None = None,
        uidmap: Sequence[str] | None = None,
        gidmap: Sequence[str] | None = None,
        mem_limit: _Size | None = None,
        cpus: float | None = None,
        nano_cpus: int | None = None,
        pids_limit: int | None = None,
        mem_reservation: _Size | None = None,
        memswap_limit: _Size | None = None,
        mem_swappiness: int | None = None,
        oom_kill_disable: bool = False,
        oom_score_adj: int | None = None,
        cpu_shares: int | None = None,
        cpu_quota: int | None = None,
        cpu_period: int | None = None,
        cpuset_cpus: str | None = None,
        cpuset_mems: str | None = None,
        blkio_weight: int | None = None,
        blkio_weight_device: _Weights | None = None,
        device_read_bps: _Rates | None = None,
        device_write_bps: _Rates | None = None,
        device_read_iops: _Rates | None = None,
        device_write_iops: _Rates | None = None,
        ulimits: _Ulimits | None = None,
        sysctls: _Parameters | None = None,
        unified: _Parameters | None = None,
        cgroup_parent: str | None = None,
        cap_add: Sequence[str] | None = None,
        cap_drop: Sequence[str] | None = None,
        read_only: bool = False,
        security_opt: Sequence[str] | None = None,
        masked_paths: Sequence[str] | None = None,
        readonly_paths: Sequence[str] | None = None,
        labels: _Labels | None = None,
        hooks: Mapping[str, Sequence[Mapping[str, Any]]] | str | None = None,
        healthcheck: _HealthCheck | None = None,
        annotations: _Labels | None = None,
        stop_signal: str | int | None = None,
        stop_timeout: int | None = None,
        run_timeout: int | None = None,
        shm_size: _Size | None = None,
        extra_hosts: _Hosts | None = None,
        dns: Sequence[str] | None = None,
        dns_search: Sequence[str] | None = None,
        dns_opt: Sequence[str] | None = None,
        log_driver: str | None = None,
        log_opt: _Parameters | None = None,
        log_config: Mapping[str, Any] | None = None,
        init: bool = False,
        tty: bool = False,
        stdin_open: bool = False,
        stdin_once: bool = False,
        console_size: tuple[int, int] | None = None,
        volumes: _Volumes | None = None,
        volumes_from: Sequence[str | Container] | None = None,
        mounts: Sequence[Mount | str] | None = None,
        tmpfs: _Tmpfs | None = None,
        secrets: _Secrets | None = None,
        devices: Sequence[str] | None = None,
        device_cgroup_rules: Sequence[str] | None = None,
        privileged: bool = False,
        lifetime: _Lifetime = "detached",
        restart_policy: _RestartPolicy | None = None,
        auto_remove: bool = False,
    ) -> Container:
        """Makes a container. It does not run yet.

        - `rootfs`: a directory of this host that is the root file system instead of an image. Nothing is written to it: what the container writes is its own.
        - `bundle`: the directory of an OCI bundle instead of an image. Its `config.json` says what is not said here, with the caller's rights; what cannot be given is an
          `UnsupportedError` that names it.
        - `command`, `entrypoint`: by default the image's, with docker's rules. An empty entrypoint removes the image's; any other one drops the
          image's command too.
        - `name`: `[a-zA-Z0-9][a-zA-Z0-9_.-]*`, at most 128 characters; made up when None.
        - `environment`: a mapping, or a sequence of `"NAME=value"`; merged over the image's. `use_config_proxy`: gives its programs the proxies of docker's `config.json` (`proxies.default`) as
          `HTTP_PROXY`, `HTTPS_PROXY`, `FTP_PROXY`, `NO_PROXY` and `ALL_PROXY`, in both cases, over the image's and not over those of `environment`. They are read at each start and kept nowhere.
        - `working_dir`: absolute; made when missing.
        - `user`: `"name"`, a uid, `"name:group"` or `"uid:gid"`, looked up in the image. `group_add`: more groups.
        - `hostname`: the first 12 digits of the id when None, or the host's name on the host's network or in its uts namespace. `domainname`: what makes it complete.
        - `tz`: the time zone of `/etc/localtime`, as `"Europe/Berlin"`, from the zone data of this host, or `"local"`. `passwd`: a user or group of the program that the image's `/etc/passwd` or `/etc/group` lacks (a number, or
          the caller with `keep-id`) gets a line there, `passwd_entry` or `group_entry`, with `$USERNAME`, `$UID`, `$GID`, `$NAME`, `$HOME`, `$GROUPNAME` and `$USERLIST` replaced.
        - `network`, or `network_mode`: `"none"` (the default), with nothing but loopback, `"host"`, or `"container:NAME"`: that of another container that runs, with its names
          and name servers. `network_disabled`: another word for `"none"`, and an error with any other network.
        - `exposed_ports`: ports that its programs listen on, as `80`, `"53/udp"` or `"8000-8010/tcp"`, beside the image's: for `inspect` and for images that are made of it.
        - `pid_mode`: whose processes it sees: `"private"`, `"host"` or `"container:NAME"`. Other than `"private"` it needs a cgroup of version 2, or fails with `UnsupportedError`.
        - `ipc_mode`: whose System V objects, message queues and `/dev/shm` it has: `"private"`, `"shareable"`, `"none"`, `"host"` or `"container:NAME"` (which has to be shareable).
        - `uts_mode`: `"private"` or `"host"`. `cgroupns`: `"private"` or `"host"`.
        - `userns_mode`: `"host"`, `"auto"` or `"auto:size=65536"`: its own user namespace, with ids that no other container of the store has; of an ordinary user also `"keep-id"`,
          `"keep-id:uid=1000,gid=1000"` (who you are outside is who you are inside) or `"nomap"` (you are nobody inside). `uidmap`, `gidmap`: the
          same with these ids, as `"container:host:count"`; one of them alone is the other one, too. Its programs are nobody on the host then. For root `"auto"` has 65536 ids, and the
          data root has to be on a file system that can be mounted with other ids. For an ordinary user both have ids of his ranges in `/etc/subuid` and `/etc/subgid`: `"auto"` as many as the image's
          lists of users and groups need, 1024 at least, and 65534; maps count from 0, which is you, with the ranges from 1. The image is unpacked once more for them.
        - `mem_limit`: a size. `cpus`: a number of CPUs, or `nano_cpus`: billionths of one. `pids_limit`: processes and threads; 0 and -1 are no limit.
          What the host cannot limit is a warning of the container, not an error.
        - `mem_reservation`: memory that is taken from it last when the host runs out of it. `memswap_limit`: memory and swap together, or -1. `mem_swappiness`,
          `oom_kill_disable`: with cgroup version 1 only. `oom_score_adj`: -1000 to 1000.
        - `cpu_shares`: a weight. `cpu_quota`, `cpu_period`: microseconds. `cpuset_cpus`, `cpuset_mems`: sets such as `"0-2,7"`.
        - `blkio_weight`: 10 to 1000; `blkio_weight_device`: a mapping of devices to such weights. `device_read_bps`, `device_write_bps`, `device_read_iops`, `device_write_iops`: a mapping of devices to rates for each second.
        - `ulimits`: a mapping of names such as `nofile` to a number or `(soft, hard)`; -1 is no limit. What the host does not allow is a warning.
        - `sysctls`: kernel parameters that the container has for itself, such as `net.core.somaxconn`; others are refused.
        - `unified`: files of its version 2 cgroup, such as `memory.high`, and what is written to them. `cgroup_parent`: the cgroup that its own is in, such as `"/jobs/night"`.
        - `cap_add`, `cap_drop`: capabilities, with or without `CAP_`, or `ALL`; relative to docker's default set.
        - `read_only`: mounts the root file system read-only.
        - `security_opt`: `seccomp=` and a file or the text of a profile in docker's JSON format, or `unconfined` or `builtin`; `no-new-privileges[=false]`; `systempaths=unconfined`;
          `writable-cgroups`; `apparmor=` and a profile; `label=` and a label, which is a warning where the kernel has no SELinux; `mask=` and paths with colons between them; `unmask=` and such
          paths, patterns, or `ALL`; `landlock=` and `read:PATH`, `write:PATH`, `exec:PATH`, `bind:PORT`, `connect:PORT` or `scope`.
        - `masked_paths`, `readonly_paths`: what is made invisible or read-only instead of the usual paths of `/proc` and `/sys`; `[]` for nothing. A path that is not there is left out.
        - `labels`: a mapping, or a sequence of `"name=value"` or `"name"`. `annotations`: the same, for other tools and for hooks: they mean nothing to the engine.
        - `hooks`: programs that are run at moments of its life, as the OCI runtime specification has them: `{"poststop": [{"path": "/bin/x", "args": ["x", "y"], "env": ["A=b"], "timeout": 5}]}`,
          or the same as JSON. One of `prestart`, `createRuntime`, `createContainer` or `startContainer` that fails is the end of the start; of `poststart` and `poststop` it is a warning.
        - `platform`: the one of the image, such as `linux/arm64`, if its name has several; by default the host's.
        - `pull`: when a registry is asked for the image, as the policy of `Images.pull`; by default if the store does not have it.
        - `stop_signal`: what `stop` sends: the image's, or SIGTERM. `stop_timeout`: seconds until it kills, by default 10.
        - `run_timeout`: seconds after which the program is killed (137, and a warning with the code `run-timeout`), counted from each start of it. Its monitor does that, whoever else is gone.
        - `shm_size`: size of `/dev/shm`, by default 64 MiB.
        - `volumes`: what is mounted: a mapping of the name of a volume, a `Volume`, or a path of the host to `{"bind": place, "mode": "ro"}`, as docker-py has it, or a sequence of `"source:place:options"`; a place alone
          is an anonymous volume. A volume that is missing is made; an empty one gets what the image has at the place, with owners and modes, unless an option is `nocopy`. A `Path` may be
          relative to the working directory; of text that is so only if it begins with `.`, as for docker, which takes other names for volumes. The options
          are `ro` or `rw`, a propagation, `noexec`, `nosuid`, `nodev`, `z`, `Z`, `O` (an overlay over the directory: what is written is in memory, and gone at the end of each run), `U` (at each start it, and everything in it on its file system, is given to the program's user and group). A missing path is made as a directory. `volumes_from`: containers whose binds and volumes are mounted at the same places; `"name:ro"`: read-only. `mounts`: a sequence of `Mount`, or of `"type=bind,src=...,dst=..."`. `tmpfs`: file systems
          in memory: a mapping of a place to options such as `"size=16m,mode=0700"`, or a sequence of `"place:options"`.
        - `secrets`: files whose content is in memory alone: a mapping of names to bytes or text, or a sequence of `Secret` or of `"id=NAME,src=FILE"` and `"id=NAME,env=VARIABLE"`, which may have `target=`,
          `uid=`, `gid=` and `mode=`, too. They are at `/run/secrets/NAME`, read-only, with mode 0444, unless told otherwise. What comes from a file or variable is read at each start; bytes are known to this
          engine only, so another one cannot start the container.
        - `devices`: devices of the host, as `"/dev/fuse"` or `"/dev/fuse:/dev/other:rw"`; a directory stands for the devices in it. `device_cgroup_rules`: more devices that the container may
          use, such as `"c 10:* rwm"`. What an ordinary user cannot restrict is a warning. `privileged`: holds nothing back that the caller has.
        - `extra_hosts`: lines of `/etc/hosts`: a mapping of host to address, or a sequence of `"host:address"`. `dns`: name servers instead of
          the host's.
        - `tty`: gives the program a terminal, whose size at first is `console_size`: height and width in characters. All of its output is then that of standard output.
        - `stdin_open`: keeps standard input open for `Container.attach`; with `stdin_once` the end of the first input is the end of it all.
        - `init`: makes process 1 a small init, which reaps what ends, passes signals on and ends with the program.
        - `log_driver`: where output that is kept goes: `"local"` (the default), `"json-file"` (docker's form), `"journald"`, or `"none"`. `log_opt`: its options by docker's names:
          `max-size`, `max-file`, and with `json-file` and `journald` `tag` (`"{{.Name}}"`), `labels`, `labels-regex`, `env`, `env-regex`: what each record says of the container. Without `max-size` logs grow without bound. `log_config`: both in docker-py's form,
          a mapping of `Type` and `Config`.
        - `lifetime`: `"detached"` containers outlive this process; `"session"` containers are killed when it ends, however it ends.
        - `healthcheck`: how the health of the program is looked at, with docker-py's words: `test` (a line for the shell, `["CMD", ...]`, `["CMD-SHELL", line]` or
          `["NONE"]`), `interval`, `timeout`, `start_period`, `start_interval` (nanoseconds) and `retries`. What is left out is as the image says.
        - `restart_policy`: when the program is started again after its end: `"no"`, `"on-failure"`, `"on-failure:3"`, `"always"` or `"unless-stopped"`, or docker-py's mapping.
          After 100 ms, then twice as long each time, at most a minute. `stop`, `kill` and `remove` end it, and so does a reboot.
        - `auto_remove`: removes the container when its program ends.

        Raises `ImageNotFoundError`, `NameInUseError`, `InvalidArgumentError`, `InvalidReferenceError`, and what `Images.pull` raises.
        """

    def run(
        self,
        image: _Image | None = None,
        command: _Command | None = None,
        *,
        rootfs: _Path | None = None,
        bundle: _Path | None = None,
        platform: str | None = None,
        pull: _PullPolicy = "missing",
        entrypoint: _Command | None = None,
        name: str | None = None,
        environment: _Environment | None = None,
        working_dir: str | None = None,
        user: str | int | None = None,
        group_add: Sequence[str | int] | None = None,
        use_config_proxy: bool = False,
        hostname: str | None = None,
        domainname: str | None = None,
        tz: str | None = None,
        passwd: bool = True,
        passwd_entry: str | None = None,
        group_entry: str | None = None,
        network: str | None = None,
        network_mode: str | None = None,
        network_disabled: bool = False,
        exposed_ports: Sequence[str | int] | None = None,
        pid_mode: str | None = None,
        ipc_mode: str | None = None,
        uts_mode: _HostOrOwn | None = None,
        cgroupns: _HostOrOwn | None = None,
        userns_mode: str | None = None,
        uidmap: Sequence[str] | None = None,
        gidmap: Sequence[str] | None = None,
        mem_limit: _Size | None = None,
        cpus: float | None = None,
        nano_cpus: int | None = None,
        pids_limit: int | None = None,
        mem_reservation: _Size | None = None,
        memswap_limit: _Size | None = None,
        mem_swappiness: int | None = None,
        oom_kill_disable: bool = False,
        oom_score_adj: int | None = None,
        cpu_shares: int | None = None,
        cpu_quota: int | None = None,
        cpu_period: int | None = None,
        cpuset_cpus: str | None = None,
        cpuset_mems: str | None = None,
        blkio_weight: int | None = None,
        blkio_weight_device: _Weights | None = None,
        device_read_bps: _Rates | None = None,
        device_write_bps: _Rates | None = None,
        device_read_iops: _Rates | None = None,
        device_write_iops: _Rates | None = None,
        ulimits: _Ulimits | None = None,
        sysctls: _Parameters | None = None,
        unified: _Parameters | None = None,
        cgroup_parent: str | None = None,
        cap_add: Sequence[str] | None = None,
        cap_drop: Sequence[str] | None = None,
        read_only: bool = False,
        security_opt: Sequence[str] | None = None,
        masked_paths: Sequence[str] | None = None,
        readonly_paths: Sequence[str] | None = None,
        labels: _Labels | None = None,
        hooks: Mapping[str, Sequence[Mapping[str, Any]]] | str | None = None,
        healthcheck: _HealthCheck | None = None,
        annotations: _Labels | None = None,
        stop_signal: str | int | None = None,
        stop_timeout: int | None = None,
        run_timeout: int | None = None,
        shm_size: _Size | None = None,
        extra_hosts: _Hosts | None = None,
        dns: Sequence[str] | None = None,
        dns_search: Sequence[str] | None = None,
        dns_opt: Sequence[str] | None = None,
        log_driver: str | None = None,
        log_opt: _Parameters | None = None,
        log_config: Mapping[str, Any] | None = None,
        init: bool = False,
        tty: bool = False,
        stdin_open: bool = False,
        stdin_once: bool = False,
        console_size: tuple[int, int] | None = None,
        volumes: _Volumes | None = None,
        volumes_from: Sequence[str | Container] | None = None,
        mounts: Sequence[Mount | str] | None = None,
        tmpfs: _Tmpfs | None = None,
        secrets: _Secrets | None = None,
        devices: Sequence[str] | None = None,
        device_cgroup_rules: Sequence[str] | None = None,
        privileged: bool = False,
        lifetime: _Lifetime = "session",
        restart_policy: _RestartPolicy | None = None,
        auto_remove: bool = False,
        stdin: _Stream | None = None,
        stdout: _Stream | None = None,
        stderr: _Stream | None = None,
        wait: Strategy | None = None,
        wait_timeout: float = 60.0,
    ) -> Container:
        """Makes a container, starts it, and waits until it is ready. Can be cancelled.

        Made for `with`: leaving the block stops and removes the container. So it is session-scoped unless `lifetime="detached"`. The options are
        those of `create` and `Container.start`. `wait` is a strategy of `coble.wait`, with `wait_timeout` seconds.

        Raises what `create` and `start` raise, and what `coble.wait.until` raises; then the container was removed again.
        """

    def list(self, *, all: bool = False, filters: _Filters | None = None, limit: int | None = None, size: bool = False) -> _list[Container]:
        """The running containers, or all, newest first.

        `filters` maps `ancestor`, `before`, `exited`, `expose`, `health`, `id`, `label`, `label!`, `name`, `network`, `publish`, `since`, `status`, `until` and `volume` (the target of a mount, the name of a volume, or the source of a bind) to a value or several, as docker has them: all
        keys are to be met, and one of the values of each, but all labels. A `status` means all containers. `limit`: only the newest, whatever their state.
        With `size` what each wrote is measured: `Container.size_rw`. Raises `InvalidArgumentError`, and `ContainerNotFoundError` for one that `before` or `since` names.
        """

    def prune(self, *, filters: _Filters | None = None) -> ContainersPruned:
        """Removes the containers that do not run. `filters` maps `until`, `label` and `label!` to a value or several. Those that belong to a session that lives go
        with it. Raises `InvalidArgumentError`."""

    def get(self, name_or_id: str) -> Container:
        """The container with this name, id, or unambiguous prefix of an id of at least four digits. Raises `ContainerNotFoundError`."""

@final
class Container:
    """A container. Any thread may use it; equal if the ids are.

    A context manager: leaving the block gives the program half a second to end, and removes the container with everything it wrote, whatever
    its state and lifetime. A session-scoped container that is collected as garbage before it was removed is removed then, with a `ResourceWarning`.

    Every call but the plain properties raises `ContainerNotFoundError` when the container was removed.
    """

    @property
    def id(self) -> str:
        """64 hexadecimal digits."""

    @property
    def short_id(self) -> str:
        """The first 12 digits of the id."""

    @property
    def name(self) -> str:
        """The name."""

    @property
    def image(self) -> str:
        """The image as the caller named it."""

    @property
    def image_id(self) -> str:
        """The image's id."""

    @property
    def command(self) -> list[str]:
        """Program and arguments."""

    @property
    def created(self) -> str:
        """When it was made, RFC 3339."""

    @property
    def labels(self) -> dict[str, str]:
        """Labels."""

    @property
    def lifetime(self) -> _Lifetime:
        """How long it may live."""

    @property
    def state(self) -> _State:
        """Its state now."""

    @property
    def size_rw(self) -> int | None:
        """Bytes of the disk that it wrote, if the list that it is from was to measure them."""

    @property
    def health(self) -> Health | None:
        """The health of its program; None if that is not looked at, or it was not started yet."""

    @property
    def exit_code(self) -> int | None:
        """The exit code of the last run, or 128 plus the signal that ended it; None before that."""

    def start(self, *, stdin: _Stream | None = None, stdout: _Stream | None = None, stderr: _Stream | None = None) -> None:
        """Starts the program and returns when it runs. Can be cancelled.

        By default it has no input, and its output is kept for `logs`; a stream can be a file or `DEVNULL` instead. A container that has run before
        is started again, on what it wrote.

        Raises `InvalidStateError` if it runs, `CommandNotFoundError`, `CommandNotExecutableError`, `UserNotFoundError`,
        `PermissionDeniedError`, `UnsupportedError`, `MonitorLostError`.
        """

    def stop(self, timeout: float | None = None, *, signal: str | int | None = None) -> None:
        """Sends `signal`, by default the container's stop signal, and SIGKILL after `timeout` seconds (default: the container's stop timeout). Returns when the program has ended. A container
        that does not run is fine. Can be cancelled."""

    def kill(self, signal: str | int = "SIGKILL") -> None:
        """Sends a signal, by name (`SIGTERM`, `TERM`) or number, to the program. Raises `InvalidStateError` if it does not run."""

    def wait(self, timeout: float | None = None, *, condition: _WaitCondition = "not-running", check: bool = False) -> int:
        """Waits for the program's end and returns its exit code, or 128 plus the signal that ended it; at once if it has ended. Can be cancelled.

        `"next-exit"` waits for the next end, also of a program that is not started yet; `"removed"` until the container is gone. Raises `TimeoutError`, and
        `InvalidStateError` if it was never started and is waited for not to run.

        With `check`, an exit code other than 0 raises `ContainerExitError`, whose `result` has the exit code and, as far as the log keeps them and the container is still there, the last 64 KiB that this run of
        the program wrote to `stdout` and `stderr`.
        """

    def pause(self) -> None:
        """Stops all of its processes, without their notice, until `unpause`. When it returns they do nothing any more; it can be killed, stopped and removed, and nothing
        can be started in it. Raises `InvalidStateError` if it does not run or is paused, and `UnsupportedError` where the host has no freezer for it."""

    def unpause(self) -> None:
        """Lets the processes of a paused container go on. Raises `InvalidStateError` if it is not paused."""

    def restart(self, timeout: float | None = None, *, signal: str | int | None = None) -> None:
        """Stops it as `stop` does, and starts it again, with its output kept for `logs`; one that does not run is started. It is not removed in between. Can be
        cancelled. Raises what `start` raises, and `InvalidStateError` for one that belongs to the session of another engine."""

    def rename(self, name: str) -> None:
        """Gives it another name, whatever its state. Raises `NameInUseError` and `InvalidArgumentError`."""

    def update(
        self,
        *,
        mem_limit: _Size | None = None,
        mem_reservation: _Size | None = None,
        memswap_limit: _Size | None = None,
        cpus: float | None = None,
        nano_cpus: int | None = None,
        cpu_shares: int | None = None,
        cpu_quota: int | None = None,
        cpu_period: int | None = None,
        cpuset_cpus: str | None = None,
        cpuset_mems: str | None = None,
        pids_limit: int | None = None,
        blkio_weight: int | None = None,
        blkio_weight_device: _Weights | None = None,
        device_read_bps: _Rates | None = None,
        device_write_bps: _Rates | None = None,
        device_read_iops: _Rates | None = None,
        device_write_iops: _Rates | None = None,
        unified: _Parameters | None = None,
        restart_policy: _RestartPolicy | None = None,
    ) -> list[Warning]:
        """Changes limits, and when it is started again, of a container in any state; what is not given stays as it is. The words are those of `create`.

        While it runs the limits are in force when this returns, or all are as they were: one that the host cannot give raises `UnsupportedError`, with its
        name as `object`. One that does not run has them from its next start. Returns what is worth knowing besides. Raises `InvalidArgumentError`, also where a container that has
        `cpus` or `nano_cpus` would get `cpu_quota` or `cpu_period`, or the other way round. A `pids_limit` of 0 or -1 takes that limit away, a `cpu_quota` of -1 any
        limit of CPU time, and a rate or weight of 0 that of its device; other devices, and files of `unified` that are not given, stay as they are. Any other 0 changes nothing, as docker has it.

        A `restart_policy` holds for the program that runs. One that was started without any, with files of the caller's as its streams or with secrets, which are not kept for another run,
        gets none while it runs: `InvalidStateError`.
        """

    def top(self, ps_args: _Command | None = None) -> Top:
        """Its processes, with the columns of `ps -ef`. The numbers are those of the host, times are UTC. Raises `InvalidStateError` if it does not run.

        `ps_args` are options of `ps` that ask for other columns: `"aux"`, or `-o` (`-eo`, `--format`) and a list, as in `"-eo pid,ppid,user,stat,etime,rss,comm,args"`, with titles as in
        `pid=Number`. All processes of the container are shown, whatever they say. What is not known raises `InvalidArgumentError`.
        """

    def log_attributes(self) -> dict[str, str]:
        """What its log options (`labels`, `labels-regex`, `env`, `env-regex`, `tag`) have each record of its log say of it, as `docker logs --details` shows it. Empty for a driver that has no such options."""

    @overload
    def stats(self, *, stream: Literal[False] = False, interval: float = 1.0) -> Stats:
        """What it uses, in docker's numbers. The share of the CPUs is that of `interval` seconds, which are waited for; with 0 it is 0. With `stream` it is looked at
        again and again: at once, and then after each interval, until it does not run any more. Can be cancelled. Raises `InvalidStateError` if it does not run."""

    @overload
    def stats(self, *, stream: Literal[True], interval: float = 1.0) -> StatsStream:
        """As above, again and again."""

    def inspect_docker(self, *, size: bool = False) -> dict[str, Any]:
        """Everything about it as `docker inspect` has it: `Id`, `State`, `Config`, `HostConfig`, `NetworkSettings` and so on; `Coble` has what `inspect` gives.

        With `size` also what is to be measured on the disk, in bytes: `SizeRw`, what the container wrote, and `SizeRootFs`, that and the files of its image.
        """

    def wait_for(self, strategy: Strategy, timeout: float = 60.0) -> None:
        """Waits until a strategy of `coble.wait` is satisfied, as `coble.wait.until`. Can be cancelled."""

    def export(self, target: _Path | _Stream, *, progress: _Progress | None = None) -> Exported:
        """Writes the root file system as a tar, whether the container runs or not. Can be cancelled.

        `target` is a path, where a file appears when it is complete, or a file descriptor or open file. What is mounted inside is not part of it. Files
        that change meanwhile may be in the tar as they never were; the tar itself is always whole. `progress` hears `read`, with the bytes of the tar so far; see `Images.load`.
        """

    def get_archive(self, path: str, target: _Path | _Stream, *, follow_link: bool = False) -> Exported:
        """Writes what is at a path of the container, and everything below it, as a tar, whether it runs or not. Can be cancelled.

        `target` is as for `export`. The names begin with the last component of the path, or after it if the path ends in `/.`; a relative path begins at `/`. A link that
        is the last component is written as a link, unless `follow_link` is set or the path ends in `/`. No link leads out of the container. What is mounted inside is part
        of it while the container runs, but for `/proc`, `/sys` and `/dev`. Raises `PathNotFoundError` if nothing is there.
        """

    def put_archive(self, path: str, archive: bytes | bytearray | _Path | _Stream) -> Exported:
        """Unpacks a tar in a directory of the container, whether it runs or not. Can be cancelled.

        The tar is given as bytes, a path, a file descriptor or an open file, plain or compressed with gzip, zstd, bzip2 or xz. Directories that are there are merged and get the
        archive's attributes, files are replaced; a file does not replace a directory, nor a directory a file: `InvalidStateError`. Owners are the archive's. Links of the
        container are followed inside it only. A read-only root raises `InvalidStateError`, a missing directory `PathNotFoundError`. When it fails, the entries before
        the one that failed are there, each of them whole; what an entry was to replace is there until it is complete. When the container ends meanwhile, it fails with `InvalidStateError`.
        """

    def copy_to(self, source: _Path, dest: str, *, follow_link: bool = False, archive: bool = False) -> Exported:
        """Copies a file or directory of the host into the container, whether it runs or not, by docker's rules for `docker cp`. Can be cancelled.

        `source` goes into a `dest` that is a directory, or only its content if it ends in `/.`; else it becomes `dest`, whose directory has to be there. A link at the
        end of `source` is copied as a link, unless `follow_link` is set. Everything belongs to the container's user 0, unless `archive` is set, which keeps the numbers of
        owners. What is replaced and what is seen is as of `put_archive`.
        """

    def copy_from(self, source: str, dest: _Path, *, follow_link: bool = False, archive: bool = False) -> Exported:
        """Copies a file or directory of the container to the host, by the same rules as `copy_to` with the sides exchanged. Can be cancelled.

        What the container made is unpacked by a confined process that sees nothing but the directory it goes to. Everything belongs to the caller, and
        has no set-id bits, unless `archive` is set. Directories that are there keep their mode and owner; a file is replaced when the new one is complete. Device nodes, file
        capabilities and set-id bits that are left out are told as warnings.
        """

    def read_file(self, path: str, *, max_size: int = 16777216) -> bytes:
        """The content of a regular file of the container, whether it runs or not. Links are followed inside the container. Can be cancelled.

        Raises `LimitExceededError` if the file has more than `max_size` bytes, `PathNotFoundError` if it is missing, and `InvalidArgumentError` if
        it is no regular file. What is mounted inside is seen while the container runs.
        """

    def write_file(self, path: str, data: bytes | bytearray, *, mode: int | None = None, user: str | None = None) -> None:
        """Makes a file of the container, or replaces it, whether the container runs or not. Can be cancelled.

        Its directory has to be there: `PathNotFoundError`. `mode` are permission bits (0o644), `user` whom it belongs to, as `name`, `uid`, `name:group` or `uid:gid`, looked up in the
        container (user 0). Links are followed inside the container.
        """

    def list_files(self, path: str) -> list[FileEntry]:
        """The entries of a directory of the container, by name, whether it runs or not. Links are followed inside the container. Can be cancelled.

        Raises `PathNotFoundError` if there is no such directory, and `LimitExceededError` if it has more than a million entries: `get_archive` streams.
        """

    def snapshot(self, name: str | None = None, *, pause: bool = True) -> Container:
        """Makes a new container with the options of this one, and with its files as they are now. Can be cancelled.

        It does not run yet: as long as it is not started it is a snapshot, of which any number of others can be made; started, it is a clone. Of a container that does not
        run nothing is copied, which takes milliseconds whatever the size. What a running one wrote is copied, while it is stopped by the freezer of its cgroup, unless `pause`
        is off; where it has none, `UnsupportedError`. What is mounted inside is not part of it.

        The program of a clone begins anew, upon these files: what it did to them at its beginning, it does again. One that copies a file into its place and then sets owner and
        mode, for example, has it without set-id bits for a moment.
        """

    def diff(self) -> list[PathChange]:
        """What the container changed of its image, sorted by path. Can be cancelled."""

    def commit(
        self,
        reference: str | None = None,
        *,
        changes: Sequence[str] | None = None,
        author: str | None = None,
        message: str | None = None,
        pause: bool = True,
        compression: _Compression | None = None,
        progress: _Progress | None = None,
    ) -> Image:
        """Makes an image of the container: its image's layers, one more with what it changed, and its configuration. Can be cancelled.

        `changes` are instructions as in a Dockerfile: `CMD ENTRYPOINT ENV EXPOSE HEALTHCHECK LABEL ONBUILD STOPSIGNAL USER VOLUME WORKDIR`. A running container is
        paused while its files are read, unless `pause` is off; where it cannot be paused, that raises `UnsupportedError`. The layer is
        compressed with gzip unless `compression` says otherwise. `progress` hears `read`, with the bytes that the layer has so far, uncompressed; see `Images.load`.

        Raises `InvalidArgumentError`, `InvalidReferenceError`, `StorageFullError`.
        """

    def remove(self, *, force: bool = False, v: bool = False) -> None:
        """Removes the container and everything it wrote. A running one only with `force`, which kills it; otherwise `InvalidStateError`. With `v`, the anonymous volumes that were made for
        it go, too, unless another container has them, as they do with a container that is removed at its end or with its session."""

    def inspect(self) -> ContainerDetails:
        """Everything about it."""

    @overload
    def exec(
        self,
        command: _Command,
        *,
        environment: _Environment | None = None,
        working_dir: str | None = None,
        user: str | int | None = None,
        privileged: bool = False,
        tty: bool = False,
        console_size: tuple[int, int] | None = None,
        input: str | Buffer | None = None,
        stdin: _Stream | None = None,
        stdout: _Stream | None = None,
        stderr: _Stream | None = None,
        check: bool = False,
        timeout: float | None = None,
        capture_limit: int | None = None,
        text: Literal[False] = False,
        encoding: None = None,
        errors: None = None,
    ) -> RunResult[bytes]:
        """Runs another program in the running container and collects its output. Can be cancelled.

        `environment` is merged over the container's; `working_dir` and `user` are the container's by default. The rest is as in `Engine.run`.
        With `privileged` the program has every capability that the caller has, as docker has it; they are those of user 0, and all else stays the container's: seccomp, AppArmor, Landlock,
        `no_new_privs`, what is masked, and which devices may be used.
        A program that outlives its time is killed, the container is not. With `tty` it has a terminal, whose output is `stdout`; `input` is then as if it were typed.

        Raises `InvalidStateError` if the container does not run, `CommandNotFoundError`, `CommandNotExecutableError`, `UserNotFoundError`,
        `TimeoutError` and `LimitExceededError`, both with what was collected until then in `stdout` and `stderr`, `ContainerExitError`.
        """
    @overload
    def exec(
        self,
        command: _Command,
        *,
        environment: _Environment | None = None,
        working_dir: str | None = None,
        user: str | int | None = None,
        privileged: bool = False,
        tty: bool = False,
        console_size: tuple[int, int] | None = None,
        input: str | Buffer | None = None,
        stdin: _Stream | None = None,
        stdout: _Stream | None = None,
        stderr: _Stream | None = None,
        check: bool = False,
        timeout: float | None = None,
        capture_limit: int | None = None,
        text: Literal[True],
        encoding: str | None = None,
        errors: str | None = None,
    ) -> RunResult[str]: ...
    @overload
    def exec(
        self,
        command: _Command,
        *,
        environment: _Environment | None = None,
        working_dir: str | None = None,
        user: str | int | None = None,
        privileged: bool = False,
        tty: bool = False,
        console_size: tuple[int, int] | None = None,
        input: str | Buffer | None = None,
        stdin: _Stream | None = None,
        stdout: _Stream | None = None,
        stderr: _Stream | None = None,
        check: bool = False,
        timeout: float | None = None,
        capture_limit: int | None = None,
        text: bool = False,
        encoding: str,
        errors: str | None = None,
    ) -> RunResult[str]: ...

    def popen(
        self,
        command: _Command,
        *,
        environment: _Environment | None = None,
        working_dir: str | None = None,
        user: str | int | None = None,
        privileged: bool = False,
        tty: bool = False,
        console_size: tuple[int, int] | None = None,
        stdin: _Stream | None = None,
        stdout: _Stream | None = None,
        stderr: _Stream | None = None,
    ) -> Process:
        """Starts another program in the running container, as `subprocess.Popen`: streams are `PIPE`, `DEVNULL`, a file or, when None, the
        caller's own; `stderr` can be `STDOUT`. `privileged` is as in `exec`.

        With `tty` it has a terminal of `console_size`, height and width in characters. `stdin` and `stdout` are then that terminal, and `PIPE` when None; the end of
        input is what the program takes for it, such as `b"\\x04"`.

        Raises `InvalidStateError` if the container does not run, `CommandNotFoundError`, `CommandNotExecutableError`, `UserNotFoundError`.
        """

    def attach(self, *, stdin: bool = False, stdout: bool = True, stderr: bool = True, logs: bool = False) -> Process:
        """Connects to the standard streams of its program, which go on without whoever is connected. What it wrote before comes first with `logs`.

        Output is read from the log, so it has to be kept there; whoever reads slowly misses nothing and holds up nobody. `stdin` needs `stdin_open`; closing it
        ends the program's with `stdin_once`. The result's exit code and signals are the container's; as a context manager it does not wait.
        Raises `InvalidStateError`.
        """

    def start_attached(
        self, *, stdin: bool | _Stream = False, stdout: bool = True, stderr: bool = True, logs: bool = False, paced: bool = False
    ) -> Process:
        """Starts the program with its output kept, and connects to it as `attach` before it can have written anything.

        `stdin` can be a file, which the program then reads itself, with nobody between. With `paced` the program keeps pace with whoever reads its output, which comes from it and not
        from the log, though that gets it, too: it is held up by who reads slowly, and hears when nobody reads any more, as of any pipe. Neither is for a terminal, and `paced` not with
        `logs`. Raises what `start` and `attach` raise.
        """

    def resize(self, height: int, width: int) -> None:
        """Sets the size of its terminal, in characters; the program is told with SIGWINCH. Raises `InvalidStateError` if it has none, or does not run."""

    def logs(
        self,
        *,
        follow: bool = False,
        stdout: bool = True,
        stderr: bool = True,
        tail: int | None = None,
        since: datetime | float | None = None,
        until: datetime | float | None = None,
    ) -> LogStream:
        """What its program wrote, of the streams that were not given a file.

        `follow` waits for more until the container ends. `tail` gives only the last lines. `since` (at or after) and `until` (before) are
        datetimes, local time if they have no time zone, or seconds since the epoch.
        """

    def _begin_wait(self, words: Mapping[str, _object]) -> _ReadyWait: ...
    def __enter__(self) -> Self: ...
    def __exit__(
        self, exc_type: type[BaseException] | None = None, exc_value: BaseException | None = None, traceback: TracebackType | None = None, /
    ) -> None: ...
    def __eq__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...

@final
class Process:
    """A program that `Container.popen` started, or a container's own by `Container.attach`, in the form of `subprocess.Popen`, with docker's exit codes. Collected as garbage it closes its
    streams and leaves the program alone. As a context manager it closes its streams and waits for the program."""

    @property
    def stdin(self) -> IO[bytes] | None:
        """A buffered binary file over the descriptor of the pipe; None if it is not a pipe."""

    @property
    def stdout(self) -> IO[bytes] | None:
        """A buffered binary file over the descriptor of the pipe; None if it is not a pipe."""

    @property
    def stderr(self) -> IO[bytes] | None:
        """A buffered binary file over the descriptor of the pipe; None if it is not a pipe."""

    @property
    def args(self) -> list[str]:
        """Program and arguments."""

    @property
    def pid(self) -> int:
        """Its process id on the host; 0 if it had ended before that could be looked up."""

    @property
    def returncode(self) -> int | None:
        """Its exit code, or 128 plus the signal that ended it, once `poll`, `wait` or `communicate` has seen its end."""

    @property
    def warnings(self) -> list[Warning]:
        """What it could not be given and was not essential."""

    def poll(self) -> int | None:
        """Its exit code if it ended, otherwise None."""

    def wait(self, timeout: float | None = None) -> int:
        """Waits for its end and returns its exit code. Raises `TimeoutError`. Can be cancelled."""

    def communicate(self, input: str | Buffer | None = None, timeout: float | None = None) -> tuple[bytes | None, bytes | None]:
        """Sends input, closes stdin, collects the outputs that are pipes until their end, and waits. Can be cancelled.

        The files are closed. After a `TimeoutError` it can be called again, without input; nothing is lost.
        """

    def send_signal(self, sig: str | int) -> None:
        """Sends a signal by name or number. A program that has ended is left alone."""

    def resize(self, height: int, width: int) -> None:
        """Sets the size of its terminal, in characters. Raises `InvalidStateError` if it has none."""

    def detach(self) -> None:
        """Closes its streams and leaves it to itself, as docker's keys do, with an event `detach`, or `exec_detach` for a program of `popen`. It goes on, also one with a terminal, which
        would be hung up otherwise: what that shows from here on is lost. The block of a `with` does not wait for it any more."""

    def terminate(self) -> None:
        """Sends SIGTERM."""

    def kill(self) -> None:
        """Sends SIGKILL."""

    def __enter__(self) -> Self: ...
    def __exit__(
        self, exc_type: type[BaseException] | None = None, exc_value: BaseException | None = None, traceback: TracebackType | None = None, /
    ) -> None: ...

@final
class LogStream:
    """A container's output: an iterator of records, and a context manager. One thread reads at a time; any thread may close it."""

    def __iter__(self) -> Self: ...
    def __next__(self) -> LogRecord: ...
    def next(self, timeout: float | None = None) -> LogRecord | None:
        """The next record; None at the end. Waits only when following; raises `TimeoutError`, and can be cancelled. Nothing is lost then."""

    def _ahead(self) -> LogRecord | None: ...
    def read(self) -> bytes:
        """All the bytes until the end, of both streams as they arrived. The same as `bytes(stream)`."""

    @overload
    def lines(self, *, text: Literal[False] = False, encoding: None = None, errors: None = None) -> LogLines[bytes]:
        """An iterator of whole lines, without their ends. The streams are put together separately. `text`, `encoding` and `errors` are as for `Engine.run`."""
    @overload
    def lines(self, *, text: Literal[True], encoding: str | None = None, errors: str | None = None) -> LogLines[str]: ...
    @overload
    def lines(self, *, text: bool = False, encoding: str, errors: str | None = None) -> LogLines[str]: ...

    def close(self) -> None:
        """Ends the stream, also for a thread that waits in it, whose iteration ends. Closing again does nothing."""

    @property
    def closed(self) -> bool:
        """Whether it was closed."""

    def __bytes__(self) -> bytes: ...
    def __enter__(self) -> Self: ...
    def __exit__(
        self, exc_type: type[BaseException] | None = None, exc_value: BaseException | None = None, traceback: TracebackType | None = None, /
    ) -> None: ...

@final
class LogLines(Iterator[_Output]):
    """The lines of a `LogStream`."""

    def __class_getitem__(cls, key: Any) -> GenericAlias: ...
    def _ahead(self) -> _Output | None: ...
    def __iter__(self) -> Self: ...
    def __next__(self) -> _Output: ...

@final
class LogRecord:
    """A piece of output, as it arrived: at most 64 KiB, and not necessarily a line."""

    @property
    def time(self) -> datetime:
        """When it arrived, in UTC, to the microsecond."""

    @property
    def time_ns(self) -> int:
        """When it arrived, in nanoseconds since the epoch."""

    @property
    def stream(self) -> Literal["stdout", "stderr"]:
        """Where it was written."""

    @property
    def data(self) -> bytes:
        """The bytes."""

@final
class CancelToken:
    """Cancels the blocking calls of the threads that are inside its `with` block, from any thread. They clean up and raise
    `CancelledError`. It stays cancelled."""

    def __new__(cls) -> Self: ...
    def cancel(self) -> None:
        """Cancels the calls under the token, those that run and those to come."""

    @property
    def cancelled(self) -> bool:
        """Whether it was cancelled."""

    def __enter__(self) -> Self: ...
    def __exit__(
        self, exc_type: type[BaseException] | None = None, exc_value: BaseException | None = None, traceback: TracebackType | None = None, /
    ) -> None: ...

# What operations return. All of it is frozen.

@final
class Warning:
    """Something the container did not get, which was not essential."""

    @property
    def code(self) -> str:
        """A stable code, such as memory-limit-not-applied."""

    @property
    def message(self) -> str:
        """The explanation."""

    def to_dict(self) -> dict[str, Any]:
        """The same as plain values."""

    def __eq__(self, other: object, /) -> bool: ...

@final
class NamespaceInfo:
    """A namespace of a container."""

    @property
    def name(self) -> str:
        """The name as in /proc/self/ns."""

    @property
    def own(self) -> bool:
        """Whether it is the container's own, not the host's or another container's."""

    @property
    def inode(self) -> int:
        """Its inode."""

    @property
    def container(self) -> str | None:
        """The id of the container that it was joined from."""

    def to_dict(self) -> dict[str, Any]:
        """The same as plain values."""

    def __eq__(self, other: object, /) -> bool: ...

@final
class CapabilityInfo:
    """Capability sets, as names with CAP_."""

    @property
    def effective(self) -> list[str]:
        """The effective set."""

    @property
    def permitted(self) -> list[str]:
        """The permitted set."""

    @property
    def inheritable(self) -> list[str]:
        """The inheritable set."""

    @property
    def ambient(self) -> list[str]:
        """The ambient set."""

    @property
    def bounding(self) -> list[str]:
        """The bounding set."""

    def to_dict(self) -> dict[str, Any]:
        """The same as plain values."""

    def __eq__(self, other: object, /) -> bool: ...

@final
class UserInfo:
    """The user of a container's program."""

    @property
    def uid(self) -> int:
        """User id inside."""

    @property
    def gid(self) -> int:
        """Group id inside."""

    @property
    def groups(self) -> list[int]:
        """Supplementary groups inside."""

    @property
    def uid_map(self) -> str:
        """/proc/self/uid_map. In a user namespace of its own the ids outside are those of the engine's, whose own are the host's unless it is rootless."""

    @property
    def gid_map(self) -> str:
        """/proc/self/gid_map, likewise."""

    def to_dict(self) -> dict[str, Any]:
        """The same as plain values."""

    def __eq__(self, other: object, /) -> bool: ...

@final
class LimitInfo:
    """A limit that was asked for."""

    @property
    def name(self) -> str:
        """The name of the option, such as mem_limit."""

    @property
    def requested(self) -> int:
        """What was asked for."""

    @property
    def applied(self) -> int | None:
        """What the kernel says is in force. None: not applied, and a warning says why."""

    @property
    def requested_text(self) -> str:
        """What was asked for, in words."""

    @property
    def applied_text(self) -> str | None:
        """What is in force, in words."""

    def to_dict(self) -> dict[str, Any]:
        """The same as plain values."""

    def __eq__(self, other: object, /) -> bool: ...

@final
class Secret:
    """A file of a container whose content is in memory alone: neither in the store nor in anything that is shown."""

    def __new__(
        cls,
        name: str,
        value: str | Buffer | None = None,
        *,
        file: _Path | None = None,
        environment: str | None = None,
        target: _Path | None = None,
        uid: int = 0,
        gid: int = 0,
        mode: int = 0o444,
    ) -> Self:
        """It has one of `value` (a str is written in UTF-8), `file` and `environment`.

        - `name`: `[a-zA-Z0-9][a-zA-Z0-9_.-]*`, at most 128 characters.
        - `value`: what it consists of. It is known to the engine that makes the container only: another one cannot start it.
        - `file`: a file of the host, `environment`: a variable of the environment, which are read at each start, by whoever starts the container.
        - `target`: the place in the container: an absolute path, or one below `/run/secrets`, where it has its name by default.
        - `uid`, `gid`, `mode`: owner, group and permission bits in the container.
        """

    @property
    def name(self) -> str:
        """Its name."""

    @property
    def target(self) -> str | None:
        """The place in the container, if it was chosen."""

    @property
    def uid(self) -> int:
        """Owner in the container."""

    @property
    def gid(self) -> int:
        """Group in the container."""

    @property
    def mode(self) -> int:
        """Permission bits."""

    @property
    def file(self) -> str | None:
        """The file of the host that it comes from."""

    @property
    def environment(self) -> str | None:
        """The variable of the environment that it comes from."""

    def to_dict(self) -> dict[str, Any]:
        """The same as plain values."""

    def __eq__(self, other: object, /) -> bool: ...

@final
class Mount:
    """Something that is mounted into a container."""

    def __new__(
        cls,
        target: _Path,
        source: _Path | Volume | None = None,
        type: _MountType = "volume",
        read_only: bool = False,
        *,
        propagation: _Propagation | None = None,
        recursive: _BindRecursive | None = None,
        create_source: bool = False,
        tmpfs_size: _Size | None = None,
        tmpfs_mode: int | None = None,
        no_copy: bool = False,
        subpath: str | None = None,
        volume_labels: _Labels | None = None,
        options: Sequence[str] | None = None,
    ) -> Self:
        """The words are docker-py's, and so is the default type.

        - `target`: the place in the container, absolute; made when missing. Links are followed inside the container's root.
        - `source`: of a volume its name, or a `Volume`; without one the container gets an anonymous one. Of a bind the directory or file of the host, absolute, or a `Path`, which may be relative to the working directory. `create_source`: makes a directory when it is missing.
        - `read_only`: nothing can be written to it, nor to what is mounted below it unless `recursive` is `"writable"`.
        - `propagation`: what mounts on one side mean for the other: `"rprivate"` by default. `"rslave"`: what the host mounts appears in the container.
        - `recursive`: whether what is mounted below the source comes along.
        - `tmpfs_size`: a size, by default half of the memory. `tmpfs_mode`: permission bits, by default those of the directory that is covered.
        - `no_copy`: what the image has at the target is not copied to an empty volume. `subpath`: mounts what is at this path below the volume, without `..`, which has to be there at the start; links in it are followed as long as they stay in the
          volume. `volume_labels`: those of a volume that is made for the mount.
        - `options`: `noexec`, `nosuid` and `nodev` and their opposites, and of a bind `O` and `U`, as for `volumes`, and `idmap`, with which it has the ids of the container's own user namespace; of a tmpfs, which has all three by default, also `uid=`, `gid=`, `nr_inodes=`.
        """

    @property
    def type(self) -> _MountType:
        """Bind, tmpfs or volume."""

    @property
    def source(self) -> str | None:
        """The directory or file of the host, or the name of the volume."""

    @property
    def target(self) -> str:
        """The place in the container."""

    @property
    def read_only(self) -> bool:
        """Whether nothing can be written to it."""

    @property
    def propagation(self) -> _Propagation:
        """What mounts on one side mean for the other."""

    @property
    def recursive(self) -> _BindRecursive:
        """What becomes of what is mounted below the source."""

    @property
    def create_source(self) -> bool:
        """Whether a missing source is made."""

    @property
    def tmpfs_size(self) -> int | None:
        """The most bytes of a tmpfs."""

    @property
    def tmpfs_mode(self) -> int | None:
        """Permission bits of a tmpfs."""

    @property
    def no_copy(self) -> bool:
        """Whether what the image has at the target is not copied to an empty volume."""

    @property
    def subpath(self) -> str | None:
        """What of a volume is mounted."""

    @property
    def volume_labels(self) -> dict[str, str]:
        """Labels of a volume that is made for the mount."""

    @property
    def options(self) -> list[str]:
        """Further options."""

    def to_dict(self) -> dict[str, Any]:
        """The same as plain values."""

    def __eq__(self, other: object, /) -> bool: ...

@final
class MountInfo:
    """Something that the caller had mounted, as the kernel says it is mounted."""

    @property
    def target(self) -> str:
        """The place in the container, with links resolved."""

    @property
    def file_system(self) -> str:
        """The type of the file system."""

    @property
    def read_only(self) -> bool:
        """Whether nothing can be written."""

    @property
    def options(self) -> list[str]:
        """The flags of the mount, such as ro and nosuid."""

    @property
    def propagation(self) -> Literal["private", "slave", "shared"]:
        """Private, slave or shared."""

    def to_dict(self) -> dict[str, Any]:
        """The same as plain values."""

    def __eq__(self, other: object, /) -> bool: ...

@final
class Isolation:
    """The isolation that a program really got, read back from its process."""

    @property
    def namespaces(self) -> list[NamespaceInfo]:
        """The namespaces."""

    @property
    def capabilities(self) -> CapabilityInfo:
        """Capability sets."""

    @property
    def no_new_privileges(self) -> bool:
        """Whether no_new_privs is set."""

    @property
    def seccomp(self) -> Literal["filter", "none"]:
        """"filter" or "none"."""

    @property
    def seccomp_profile(self) -> str:
        """Which profile the filter is from: "default", "unconfined", or the digest of the caller's own, such as "sha256:..."."""

    @property
    def apparmor(self) -> str | None:
        """The AppArmor profile that was asked for, as the kernel says it, such as "web (enforce)". None: none was asked for, or the kernel does not say."""

    @property
    def umask(self) -> int:
        """The bits that new files of the program do not get."""

    @property
    def device_rules(self) -> list[str]:
        """The device rules in force, such as "c 1:3 rwm": what none of them allows is refused. Empty if there are none, as for a rootless or privileged container."""

    @property
    def landlock(self) -> list[str]:
        """The rules of Landlock in force, in the words of `security_opt`."""

    @property
    def user(self) -> UserInfo:
        """The user."""

    @property
    def cgroup(self) -> str:
        """The lines of /proc/self/cgroup."""

    @property
    def limits(self) -> list[LimitInfo]:
        """The limits, one by one."""

    @property
    def masked_paths(self) -> list[str]:
        """Masked paths that exist."""

    @property
    def readonly_paths(self) -> list[str]:
        """Read-only paths that exist."""

    @property
    def root_readonly(self) -> bool:
        """Whether the root is mounted read-only."""

    @property
    def mounts(self) -> _list[MountInfo]:
        """What the caller had mounted, as it is mounted."""

    @property
    def rootless(self) -> bool:
        """Whether the container runs in a user namespace of the caller."""

    def to_dict(self) -> dict[str, Any]:
        """The same as plain values."""

    def __eq__(self, other: object, /) -> bool: ...

@final
class ContainerSpec:
    """What was asked of a container. Sizes are bytes; None is the image's or the engine's default."""

    @property
    def image(self) -> str:
        """The image as the caller named it; empty if there is none."""

    @property
    def rootfs(self) -> str | None:
        """The directory that is the root file system instead of an image."""

    @property
    def bundle(self) -> str | None:
        """The directory of the OCI bundle that says so."""

    @property
    def platform(self) -> str | None:
        """The platform of the image."""

    @property
    def command(self) -> list[str] | None:
        """The command."""

    @property
    def entrypoint(self) -> list[str] | None:
        """The entrypoint."""

    @property
    def name(self) -> str | None:
        """The name."""

    @property
    def environment(self) -> dict[str, str]:
        """Environment, merged over the image's."""

    @property
    def use_config_proxy(self) -> bool:
        """Whether its programs have the proxies of docker's client configuration."""

    @property
    def working_dir(self) -> str | None:
        """Working directory."""

    @property
    def user(self) -> str | None:
        """User."""

    @property
    def group_add(self) -> list[str]:
        """More group ids or names."""

    @property
    def hostname(self) -> str | None:
        """Host name."""

    @property
    def domainname(self) -> str | None:
        """Domain name."""

    @property
    def tz(self) -> str | None:
        """Time zone."""

    @property
    def passwd(self) -> bool:
        """A user whom the image lacks gets lines in `/etc/passwd` and `/etc/group`."""

    @property
    def passwd_entry(self) -> str | None:
        """That line of `/etc/passwd`."""

    @property
    def group_entry(self) -> str | None:
        """That line of `/etc/group`."""

    @property
    def network(self) -> str:
        """"none", "host", or "container:" and an id."""

    @property
    def network_disabled(self) -> bool:
        """Whether it has no network whatever else says which one."""

    @property
    def exposed_ports(self) -> list[str]:
        """Ports that its programs listen on."""

    @property
    def pid_mode(self) -> str:
        """Whose processes it sees: "private", "host", or "container:" and an id."""

    @property
    def ipc_mode(self) -> str:
        """Whose System V objects, message queues and /dev/shm it has."""

    @property
    def uts_mode(self) -> _HostOrOwn:
        """Whose host name it has."""

    @property
    def cgroupns(self) -> _HostOrOwn:
        """How it sees cgroups."""

    @property
    def userns_mode(self) -> str:
        """Which user namespace it has; empty if nothing was said."""

    @property
    def uidmap(self) -> list[str]:
        """The map of user ids of its own user namespace, as it was asked for."""

    @property
    def gidmap(self) -> list[str]:
        """The map of group ids of its own user namespace, as it was asked for."""

    @property
    def mem_limit(self) -> int | None:
        """Memory limit in bytes."""

    @property
    def nano_cpus(self) -> int | None:
        """CPU limit in billionths of a CPU."""

    @property
    def pids_limit(self) -> int | None:
        """Limit on the number of processes and threads."""

    @property
    def mem_reservation(self) -> int | None:
        """Bytes of memory that are taken from it last."""

    @property
    def memswap_limit(self) -> int | None:
        """Bytes of memory and swap together; -1 is no limit."""

    @property
    def mem_swappiness(self) -> int | None:
        """How willingly the kernel swaps."""

    @property
    def oom_kill_disable(self) -> bool:
        """Whether programs wait for memory instead of being killed."""

    @property
    def oom_score_adj(self) -> int | None:
        """How likely the kernel is to kill its programs."""

    @property
    def cpu_shares(self) -> int | None:
        """CPU weight."""

    @property
    def cpu_quota(self) -> int | None:
        """Microseconds of CPU time in each period."""

    @property
    def cpu_period(self) -> int | None:
        """The period in microseconds."""

    @property
    def cpuset_cpus(self) -> str | None:
        """CPUs that may be used."""

    @property
    def cpuset_mems(self) -> str | None:
        """NUMA nodes that memory may come from."""

    @property
    def blkio_weight(self) -> int | None:
        """Block I/O weight."""

    @property
    def blkio_weight_device(self) -> dict[str, int]:
        """The same for single block devices, by path."""

    @property
    def device_read_bps(self) -> dict[str, int]:
        """Bytes read each second, by device."""

    @property
    def device_write_bps(self) -> dict[str, int]:
        """Bytes written each second, by device."""

    @property
    def device_read_iops(self) -> dict[str, int]:
        """Reads each second, by device."""

    @property
    def device_write_iops(self) -> dict[str, int]:
        """Writes each second, by device."""

    @property
    def ulimits(self) -> list[str]:
        """Resource limits of processes, as name=soft:hard."""

    @property
    def sysctls(self) -> dict[str, str]:
        """Kernel parameters of its own."""

    @property
    def unified(self) -> dict[str, str]:
        """Files of its version 2 cgroup."""

    @property
    def cgroup_parent(self) -> str | None:
        """The cgroup that the container's is in, if it was chosen."""

    @property
    def cap_add(self) -> list[str]:
        """Capabilities added to the default set."""

    @property
    def cap_drop(self) -> list[str]:
        """Capabilities taken from the default set."""

    @property
    def read_only(self) -> bool:
        """Whether the root file system is mounted read-only."""

    @property
    def security_opt(self) -> list[str]:
        """Security options."""

    @property
    def masked_paths(self) -> list[str] | None:
        """Paths that are made invisible instead of the usual ones, if they were chosen."""

    @property
    def readonly_paths(self) -> list[str] | None:
        """Paths that are made read-only instead of the usual ones, if they were chosen."""

    @property
    def volumes(self) -> _list[Mount]:
        """Volumes, and directories and files of the host, that are mounted."""

    @property
    def volumes_from(self) -> _list[str]:
        """Containers whose binds and volumes are mounted, too."""

    @property
    def mounts(self) -> _list[Mount]:
        """What is mounted."""

    @property
    def tmpfs(self) -> _list[Mount]:
        """File systems in memory."""

    @property
    def secrets(self) -> list[Secret]:
        """Files whose content is in memory alone; what is in them is not known here."""

    @property
    def devices(self) -> _list[str]:
        """Devices of the host."""

    @property
    def device_cgroup_rules(self) -> _list[str]:
        """More devices that it may use."""

    @property
    def privileged(self) -> bool:
        """Whether nothing is held back."""

    @property
    def labels(self) -> dict[str, str]:
        """Labels."""

    @property
    def annotations(self) -> dict[str, str]:
        """Annotations."""

    @property
    def hooks(self) -> dict[str, Any]:
        """Hooks, in the words of the runtime specification."""

    @property
    def stop_signal(self) -> str | None:
        """The signal that stop sends."""

    @property
    def stop_timeout(self) -> int | None:
        """Seconds stop waits before it kills."""

    @property
    def run_timeout(self) -> int | None:
        """Seconds after which its program is killed."""

    @property
    def shm_size(self) -> int | None:
        """Size of /dev/shm in bytes."""

    @property
    def extra_hosts(self) -> dict[str, str]:
        """Lines of /etc/hosts: host name to address."""

    @property
    def dns(self) -> list[str]:
        """Name servers."""

    @property
    def dns_search(self) -> list[str]:
        """Domains in which names are looked for."""

    @property
    def dns_opt(self) -> list[str]:
        """Options of /etc/resolv.conf."""

    @property
    def log_driver(self) -> str | None:
        """Where output that is kept goes."""

    @property
    def log_opt(self) -> dict[str, str]:
        """Options of the log driver."""

    @property
    def healthcheck(self) -> dict[str, Any] | None:
        """How the health of the program is looked at; None: as the image says."""

    @property
    def restart_policy(self) -> str:
        """When the program is started again after its end."""

    @property
    def init(self) -> bool:
        """Whether process 1 is a small init."""

    @property
    def tty(self) -> bool:
        """Whether the program has a terminal."""

    @property
    def stdin_open(self) -> bool:
        """Whether standard input is kept open."""

    @property
    def stdin_once(self) -> bool:
        """Whether the end of the first input is the end of it all."""

    @property
    def console_size(self) -> tuple[int, int] | None:
        """Height and width of the terminal at first."""

    @property
    def auto_remove(self) -> bool:
        """Whether the container is removed when it ends."""

    @property
    def lifetime(self) -> _Lifetime:
        """"session" or "detached"."""

    def to_dict(self) -> dict[str, Any]:
        """The same as plain values."""

    def __eq__(self, other: object, /) -> bool: ...

@final
class ContainerDetails:
    """Everything about a container."""

    @property
    def id(self) -> str:
        """64 hexadecimal digits."""

    @property
    def name(self) -> str:
        """The name."""

    @property
    def image(self) -> str:
        """The image as the caller named it."""

    @property
    def image_id(self) -> str:
        """The image's id."""

    @property
    def command(self) -> list[str]:
        """Program and arguments."""

    @property
    def created(self) -> str:
        """When it was made, RFC 3339."""

    @property
    def state(self) -> _State:
        """"created", "running" or "exited"."""

    @property
    def exit_code(self) -> int | None:
        """The exit code of the last run."""

    @property
    def started_at(self) -> str | None:
        """When it was last started, RFC 3339."""

    @property
    def finished_at(self) -> str | None:
        """When it last ended, RFC 3339."""

    @property
    def labels(self) -> dict[str, str]:
        """Labels, the image's included."""

    @property
    def lifetime(self) -> _Lifetime:
        """"session" or "detached"."""

    @property
    def size_rw(self) -> int | None:
        """Bytes of the disk that it wrote, if they were to be measured."""

    @property
    def spec(self) -> ContainerSpec:
        """What was asked for."""

    @property
    def pid(self) -> int | None:
        """The process id of its program on the host, while it runs."""

    @property
    def error(self) -> str | None:
        """Why the last start failed."""

    @property
    def restart_count(self) -> int:
        """How often the program was started again since the last start."""

    @property
    def oom_killed(self) -> bool:
        """Whether the kernel killed a program of the current or last run for want of memory, its first one or another."""

    @property
    def health(self) -> Health | None:
        """The health of the program, if that is looked at."""

    @property
    def isolation(self) -> Isolation | None:
        """The isolation of the current or last run."""

    @property
    def warnings(self) -> list[Warning]:
        """What the last run did not get."""

    @property
    def timings(self) -> dict[str, float]:
        """Seconds that each phase of the last start took, in order."""

    def to_dict(self) -> dict[str, Any]:
        """The same as plain values."""

    def __eq__(self, other: object, /) -> bool: ...

@final
class LayerInfo:
    """A layer of an image."""

    @property
    def digest(self) -> str:
        """Digest of the blob."""

    @property
    def diff_id(self) -> str:
        """Digest of the uncompressed layer."""

    @property
    def chain_id(self) -> str:
        """Digest of this layer and all below."""

    @property
    def media_type(self) -> str:
        """Media type of the blob."""

    @property
    def size(self) -> int:
        """Bytes of the blob."""

    def to_dict(self) -> dict[str, Any]:
        """The same as plain values."""

    def __eq__(self, other: object, /) -> bool: ...

@final
class ImageDetails:
    """Everything about an image."""

    @property
    def id(self) -> str:
        """Digest of the configuration."""

    @property
    def digest(self) -> str:
        """Digest of the manifest."""

    @property
    def references(self) -> list[str]:
        """Canonical references that name it."""

    @property
    def repo_digests(self) -> list[str]:
        """What it is in registries, `repository@sha256:...`, as far as is known."""

    @property
    def created(self) -> str | None:
        """When it was made, RFC 3339, as the image says."""

    @property
    def size(self) -> int:
        """Bytes of its blobs."""

    @property
    def architecture(self) -> str:
        """CPU architecture, in GOARCH words."""

    @property
    def os(self) -> str:
        """Operating system, in GOOS words."""

    @property
    def variant(self) -> str | None:
        """Variant of the architecture, such as `v7`."""

    @property
    def os_version(self) -> str | None:
        """Version of the operating system that it is made for: of Windows the build, such as `10.0.17763.1`."""

    @property
    def os_features(self) -> list[str]:
        """What the operating system has to be able to do for it, such as `win32k`."""

    @property
    def labels(self) -> dict[str, str]:
        """Labels of the configuration."""

    @property
    def config(self) -> dict[str, Any]:
        """The whole image configuration."""

    @property
    def manifest(self) -> dict[str, Any]:
        """The whole manifest."""

    @property
    def layers(self) -> list[LayerInfo]:
        """The layers, lowest first."""

    @property
    def unpacked_size(self) -> int | None:
        """Bytes of the files that its layers hold, what docker calls its size. None while a layer is not unpacked."""

    def to_dict(self) -> dict[str, Any]:
        """The same as plain values."""

    def __eq__(self, other: object, /) -> bool: ...

@final
class HistoryEntry:
    """A step of an image's history."""

    @property
    def created(self) -> str | None:
        """When, RFC 3339."""

    @property
    def created_by(self) -> str:
        """The command."""

    @property
    def comment(self) -> str | None:
        """The comment."""

    @property
    def empty_layer(self) -> bool:
        """Whether the step made no layer."""

    @property
    def size(self) -> int:
        """Bytes of the blob; 0 for an empty layer."""

    @property
    def layer(self) -> str | None:
        """Diff id of the layer."""

    def to_dict(self) -> dict[str, Any]:
        """The same as plain values."""

    def __eq__(self, other: object, /) -> bool: ...

@final
class ImageMount:
    """An image's root file system, mounted read-only where only this process sees it. A context manager, whose value is the path."""

    @property
    def path(self) -> Path:
        """A path to the root that this process can use until it is closed. Raises `ClosedError`."""

    def fileno(self) -> int:
        """The descriptor of the root directory, for `os.open(..., dir_fd=...)`. It belongs to the mount. Raises `ClosedError`."""

    def close(self) -> None:
        """Unmounts. Closing again does nothing."""

    def __enter__(self) -> Path: ...
    def __exit__(
        self,
        exc_type: type[BaseException] | None = None,
        exc_value: BaseException | None = None,
        traceback: TracebackType | None = None,
        /,
    ) -> None: ...

@final
class PathChange:
    """A path that is different."""

    @property
    def kind(self) -> Literal["added", "changed", "deleted"]:
        """`added`, `changed` or `deleted`."""

    @property
    def path(self) -> str:
        """The path, absolute."""

    def to_dict(self) -> dict[str, Any]:
        """The same as plain values."""

    def __eq__(self, other: object, /) -> bool: ...

@final
class ContainersPruned:
    """What a pruning of containers did."""

    @property
    def deleted(self) -> list[str]:
        """Ids of the containers that are gone."""

    @property
    def reclaimed(self) -> int:
        """Bytes of the disk that are given back."""

    def to_dict(self) -> dict[str, Any]:
        """The same as plain values."""

    def __eq__(self, other: object, /) -> bool: ...

@final
class Top:
    """The processes of a container as a table."""

    @property
    def titles(self) -> list[str]:
        """The titles of the columns."""

    @property
    def processes(self) -> list[list[str]]:
        """A row for each process."""

    def to_dict(self) -> dict[str, Any]:
        """The same as plain values."""

    def __eq__(self, other: object, /) -> bool: ...

@final
class Stats:
    """What a container uses. Sizes are bytes."""

    @property
    def id(self) -> str:
        """The container."""

    @property
    def name(self) -> str:
        """Its name."""

    @property
    def time(self) -> str:
        """When it was measured, RFC 3339."""

    @property
    def cpu_percent(self) -> float:
        """Share of one CPU since the look before, in percent: 200 is two whole CPUs. 0 at the first look."""

    @property
    def cpu_total_ns(self) -> int:
        """Nanoseconds of CPU time since its start."""

    @property
    def cpu_user_ns(self) -> int:
        """Of these, in user mode."""

    @property
    def cpu_system_ns(self) -> int:
        """Of these, in the kernel."""

    @property
    def system_cpu_ns(self) -> int:
        """Nanoseconds of CPU time of the host, idle time included."""

    @property
    def online_cpus(self) -> int:
        """How many CPUs the host has."""

    @property
    def throttled_periods(self) -> int | None:
        """In how many periods the CPU limit held it up. None: nobody counts."""

    @property
    def throttled_ns(self) -> int | None:
        """For how many nanoseconds."""

    @property
    def memory_usage(self) -> int:
        """Memory without caches that were not used lately."""

    @property
    def memory_limit(self) -> int:
        """The most it may use: its limit, or the host's memory."""

    @property
    def memory_percent(self) -> float:
        """The share of that, in percent."""

    @property
    def memory_peak(self) -> int | None:
        """The most memory it used at once, with caches, if the kernel says so."""

    @property
    def memory_counted(self) -> bool:
        """The kernel counts its memory. Otherwise it is the sum over its processes, which counts what they share more than once."""

    @property
    def oom_kills(self) -> int | None:
        """How many of its programs were killed for want of memory, if the kernel says so."""

    @property
    def pids(self) -> int:
        """Processes and threads."""

    @property
    def pids_limit(self) -> int | None:
        """The most of them, if there is a limit."""

    @property
    def block_read(self) -> int:
        """Read from block devices."""

    @property
    def block_write(self) -> int:
        """Written to block devices."""

    @property
    def blocks_counted(self) -> bool:
        """The kernel counts what it reads and writes. Otherwise it is what the processes did that live now."""

    @property
    def network_rx(self) -> int:
        """Received from the network, if that is its own."""

    @property
    def network_tx(self) -> int:
        """Sent to it."""

    @property
    def memory_events(self) -> dict[str, int] | None:
        """How often what happened for want of memory, if the kernel says so: `low`, `high`, `max` (its limit was met), `oom`, `oom_kill` and so on, as in `memory.events` of cgroup version 2.
        Version 1 counts `max` and `oom_kill`."""

    @property
    def pids_events(self) -> int | None:
        """How often the limit on processes kept it from making one, if the kernel says so."""

    @property
    def cpu_pressure(self) -> Pressure | None:
        """How much of it waited for a CPU, if the kernel says so, which takes cgroup version 2 (or a hybrid host) with pressure stall information."""

    @property
    def memory_pressure(self) -> Pressure | None:
        """The same for memory."""

    @property
    def io_pressure(self) -> Pressure | None:
        """The same for input and output."""

    def to_dict(self) -> dict[str, Any]:
        """The same as plain values."""

    def __eq__(self, other: object, /) -> bool: ...

@final
class Pressure:
    """How much of a container was held up by want of something: the kernel's pressure stall information."""

    @property
    def some(self) -> PressureShare:
        """While at least one of its processes was."""

    @property
    def full(self) -> PressureShare | None:
        """While all that had something to do were. None: the kernel does not say."""

    def to_dict(self) -> dict[str, Any]:
        """The same as plain values."""

    def __eq__(self, other: object, /) -> bool: ...

@final
class PressureShare:
    """Shares of time in which processes waited."""

    @property
    def avg10(self) -> float:
        """Percent of the last ten seconds."""

    @property
    def avg60(self) -> float:
        """Percent of the last minute."""

    @property
    def avg300(self) -> float:
        """Percent of the last five minutes."""

    @property
    def total_us(self) -> int:
        """Microseconds in all."""

    def to_dict(self) -> dict[str, Any]:
        """The same as plain values."""

    def __eq__(self, other: object, /) -> bool: ...

@final
class Health:
    """The health of a container's program."""

    @property
    def status(self) -> str:
        """`starting`, `healthy` or `unhealthy`. That of one that has ended is `unhealthy`, as docker has it."""

    @property
    def failing_streak(self) -> int:
        """Failures since the last check that succeeded."""

    @property
    def log(self) -> _list[HealthProbe]:
        """The last checks, at most 5, the newest last."""

    def to_dict(self) -> dict[str, Any]:
        """All of it as plain values."""

    def __eq__(self, other: object, /) -> bool: ...

@final
class HealthProbe:
    """A health check that is over."""

    @property
    def start(self) -> str:
        """When it began, RFC 3339."""

    @property
    def end(self) -> str:
        """When it was over, RFC 3339."""

    @property
    def exit_code(self) -> int:
        """Its exit code; -1 if it took too long or could not be run."""

    @property
    def output(self) -> str:
        """What it wrote, at most 4096 bytes, or why it could not be run. Bytes that are no text are replaced."""

    def to_dict(self) -> dict[str, Any]:
        """All of it as plain values."""

    def __eq__(self, other: object, /) -> bool: ...

@final
class Event:
    """Something that happened to a container or an image."""

    @property
    def id(self) -> int:
        """Grows from event to event, in the order in which they went on record, and is never used again."""

    @property
    def time(self) -> datetime:
        """When it happened, in UTC, to the microsecond. What nobody was there to see, such as the end of a container, may go on record later than what
        happened after it."""

    @property
    def time_ns(self) -> int:
        """When it happened, in nanoseconds since the epoch."""

    @property
    def type(self) -> str:
        """What it happened to: `container` or `image`."""

    @property
    def action(self) -> str:
        """What happened, in docker's words, such as `start`, `die`, `exec_create: ls -l` or `health_status: healthy`."""

    @property
    def actor(self) -> str:
        """The id of the container or image, or for `pull` and `push` the image's name."""

    @property
    def attributes(self) -> dict[str, str]:
        """More about it: `name`, `image`, `exitCode`, `signal`, `execID` and so on, and the labels of the container or image. If these have more than 8 KiB, those that a container has from its image are left out, and if that is not enough, all."""

    def to_dict(self) -> dict[str, Any]:
        """The event as docker's API has it: `Type`, `Action`, `Actor`, `time`, `timeNano`."""

    def __eq__(self, other: object, /) -> bool: ...

@final
class EventStream:
    """What happens to containers and images, event by event. An iterator and a context manager; any thread may close it."""

    def __iter__(self) -> Self: ...
    def __next__(self) -> Event: ...
    def next(self, timeout: float | None = None) -> Event | None:
        """Waits for the next event; None at the end, or when the stream was closed. Raises `TimeoutError`, and `EventsLostError`, once, if events were dropped that were still to be
        read, since more than are kept came after them: the next call goes on with the oldest one that is kept. Can be cancelled."""

    def close(self) -> None:
        """Ends the stream, also for a thread that is waiting in it. Closing again does nothing."""

    @property
    def closed(self) -> bool:
        """Whether it was closed."""

    def __enter__(self) -> Self: ...
    def __exit__(
        self, exc_type: type[BaseException] | None = None, exc_value: BaseException | None = None, traceback: TracebackType | None = None, /
    ) -> None: ...

@final
class StatsStream:
    """What a container uses, look by look. An iterator and a context manager; any thread may close it."""

    def __iter__(self) -> Self: ...
    def __next__(self) -> Stats: ...
    def next(self, timeout: float | None = None) -> Stats | None:
        """Waits for the next look; None when the container does not run any more, or the stream was closed. Raises `TimeoutError`. Can be cancelled."""

    def close(self) -> None:
        """Ends the stream, also for a thread that is waiting in it. Closing again does nothing."""

    @property
    def closed(self) -> bool:
        """Whether it was closed."""

    def __enter__(self) -> Self: ...
    def __exit__(
        self, exc_type: type[BaseException] | None = None, exc_value: BaseException | None = None, traceback: TracebackType | None = None, /
    ) -> None: ...

@final
class Pruned:
    """What a pruning of images did."""

    @property
    def untagged(self) -> list[str]:
        """References that are gone."""

    @property
    def deleted(self) -> list[str]:
        """Image ids that were deleted."""

    @property
    def reclaimed(self) -> int:
        """Bytes of the disk that are given back."""

    def to_dict(self) -> dict[str, Any]:
        """The same as plain values."""

    def __eq__(self, other: object, /) -> bool: ...

@final
class FileEntry:
    """An entry of a directory of a container."""

    @property
    def name(self) -> str:
        """Its name in the directory. Bytes that are not UTF-8 are replaced."""

    @property
    def kind(self) -> Literal["file", "directory", "symlink", "fifo", "socket", "character-device", "block-device"]:
        """What it is."""

    @property
    def size(self) -> int:
        """Bytes of its content; of a link, of its target's name."""

    @property
    def mode(self) -> int:
        """Permission bits with set-id and sticky."""

    @property
    def uid(self) -> int:
        """Owner, as the container sees it."""

    @property
    def gid(self) -> int:
        """Group, as the container sees it."""

    @property
    def modified(self) -> str:
        """When its content changed last, RFC 3339."""

    @property
    def link_target(self) -> str | None:
        """Where a link leads."""

    def to_dict(self) -> dict[str, Any]:
        """The same as plain values."""

@final
class Exported:
    """What an export wrote."""

    @property
    def bytes(self) -> int:
        """Bytes of the tar."""

    @property
    def entries(self) -> int:
        """Entries of the tar."""

    @property
    def warnings(self) -> list[Warning]:
        """What could not be written as it was."""

    def to_dict(self) -> dict[str, Any]:
        """The same as plain values."""

    def __eq__(self, other: object, /) -> bool: ...

@final
class ImageUsage:
    """What an image takes of the disk."""

    @property
    def id(self) -> str:
        """The image."""

    @property
    def references(self) -> list[str]:
        """Its names."""

    @property
    def created(self) -> str | None:
        """When it was made, RFC 3339, as it says."""

    @property
    def size(self) -> int:
        """All of its blobs and unpacked layers."""

    @property
    def shared(self) -> int:
        """What other images have, too."""

    @property
    def unique(self) -> int:
        """What only it has."""

    @property
    def containers(self) -> int:
        """How many containers use it."""

    def to_dict(self) -> dict[str, Any]:
        """The same as plain values."""

    def __eq__(self, other: object, /) -> bool: ...

@final
class ContainerUsage:
    """What a container takes of the disk."""

    @property
    def id(self) -> str:
        """The container."""

    @property
    def name(self) -> str:
        """Its name."""

    @property
    def image(self) -> str:
        """The image as its creator named it."""

    @property
    def state(self) -> str:
        """Its state."""

    @property
    def writable(self) -> int:
        """What it wrote."""

    @property
    def logs(self) -> int:
        """Its log."""

    def to_dict(self) -> dict[str, Any]:
        """The same as plain values."""

    def __eq__(self, other: object, /) -> bool: ...

@final
class VolumeUsage:
    """What a volume takes of the disk."""

    @property
    def name(self) -> str:
        """Its name."""

    @property
    def size(self) -> int:
        """What is in it. Of a clone, what it does not share with its source."""

    @property
    def containers(self) -> int:
        """How many containers have it, whether they run or not."""

    @property
    def clones(self) -> int:
        """How many clones are made upon it."""

    def to_dict(self) -> dict[str, Any]:
        """The same as plain values."""

    def __eq__(self, other: object, /) -> bool: ...

@final
class VolumeDetails:
    """Everything about a volume."""

    @property
    def name(self) -> str:
        """Its name."""

    @property
    def driver(self) -> str:
        """`"local"`."""

    @property
    def mountpoint(self) -> Path:
        """Where its files are on the host. Of a clone only those that are not as its source has them."""

    @property
    def created(self) -> str:
        """When it was made, RFC 3339."""

    @property
    def labels(self) -> dict[str, str]:
        """Labels."""

    @property
    def anonymous(self) -> bool:
        """Whether the engine has named it."""

    @property
    def source(self) -> str | None:
        """The volume that it is a clone of."""

    @property
    def containers(self) -> int:
        """How many containers have it, whether they run or not."""

    @property
    def used_by(self) -> list[str]:
        """The names of the containers that have it."""

    @property
    def clones(self) -> list[str]:
        """The names of its clones."""

    def to_dict(self) -> dict[str, Any]:
        """The same as plain values."""

    def __eq__(self, other: object, /) -> bool: ...

@final
class VolumesPruned:
    """What a pruning of volumes did."""

    @property
    def deleted(self) -> list[str]:
        """The names of volumes that are gone."""

    @property
    def reclaimed(self) -> int:
        """Bytes of the disk that are given back."""

    def to_dict(self) -> dict[str, Any]:
        """The same as plain values."""

    def __eq__(self, other: object, /) -> bool: ...

@final
class DiskUsage:
    """What the store takes of the disk, in bytes of allocated blocks."""

    @property
    def total(self) -> int:
        """Everything below the data root."""

    @property
    def blobs(self) -> int:
        """Compressed layers, configurations and manifests."""

    @property
    def layers(self) -> int:
        """Unpacked layers."""

    @property
    def writable(self) -> int:
        """What containers wrote."""

    @property
    def logs(self) -> int:
        """Logs of containers."""

    @property
    def volumes_size(self) -> int:
        """What is in volumes."""

    @property
    def other(self) -> int:
        """The database, directories, and what is on its way in."""

    @property
    def reclaimable(self) -> int:
        """What pruning all images that no container uses would give back."""

    @property
    def images(self) -> list[ImageUsage]:
        """The images, newest first."""

    @property
    def containers(self) -> list[ContainerUsage]:
        """The containers, newest first."""

    @property
    def volumes(self) -> list[VolumeUsage]:
        """The volumes, by name."""

    def to_dict(self) -> dict[str, Any]:
        """The same as plain values."""

    def __eq__(self, other: object, /) -> bool: ...

@final
class Problem:
    """Something that is wrong with the store."""

    @property
    def kind(self) -> str:
        """`blob`, `layer`, `stray` (what belongs to nothing) or `store`."""

    @property
    def object(self) -> str:
        """The digest of the blob, the chain id of the layer, or the path of the stray below the data root."""

    @property
    def message(self) -> str:
        """What is wrong, in a sentence."""

    @property
    def images(self) -> list[str]:
        """Names of the images that have it, or their ids."""

    @property
    def repaired(self) -> bool:
        """Whether it was mended."""

    def to_dict(self) -> dict[str, Any]:
        """The same as plain values."""

    def __eq__(self, other: _object, /) -> bool: ...

@final
class Scrub:
    """What a scrub found."""

    @property
    def blobs(self) -> int:
        """Blobs that were hashed."""

    @property
    def layers(self) -> int:
        """Unpacked layers that were compared with their blobs."""

    @property
    def problems(self) -> list[Problem]:
        """What is wrong, or was."""

    def to_dict(self) -> dict[str, Any]:
        """The same as plain values."""

    def __eq__(self, other: object, /) -> bool: ...

@final
class Progress:
    """How far a long call is, or what a registry said beside the answer to another one."""

    @property
    def kind(self) -> _ProgressKind:
        """What happened. A `resolve` has the digest that the name stands for as its message."""

    @property
    def reference(self) -> str:
        """What the call is about: the canonical name of an image, a repository or a registry, the name of a container, or the path of an archive or a store."""

    @property
    def digest(self) -> str | None:
        """The blob that it is about, or in a scrub the layer, by its chain id; None: all of it."""

    @property
    def current(self) -> int:
        """Bytes of it that are done."""

    @property
    def total(self) -> int:
        """Its bytes; 0: unknown."""

    @property
    def overall_current(self) -> int:
        """Bytes that are done of everything that the call moves, reads or checks."""

    @property
    def overall_total(self) -> int:
        """Bytes of all of that; 0: unknown yet, or none."""

    @property
    def message(self) -> str | None:
        """More about it, for people."""

    def to_dict(self) -> dict[str, Any]:
        """The same as plain values."""

    def __eq__(self, other: object, /) -> bool: ...

@final
class Pushed:
    """What a push or copy did."""

    @property
    def reference(self) -> str:
        """The canonical name that the image has in the registry now."""

    @property
    def tags(self) -> list[str]:
        """Its tag, and the further ones that were asked for."""

    @property
    def digest(self) -> str:
        """Digest of the manifest or index that the name stands for there: that of what was sent, also where it was converted."""

    @property
    def media_type(self) -> str:
        """Its media type."""

    @property
    def size(self) -> int:
        """Its bytes."""

    @property
    def blobs_sent(self) -> int:
        """Blobs that were sent."""

    @property
    def blobs_mounted(self) -> int:
        """Blobs that the registry took from another of its repositories."""

    @property
    def blobs_present(self) -> int:
        """Blobs that were there already."""

    @property
    def bytes_sent(self) -> int:
        """Bytes of the blobs that were sent."""

    @property
    def warnings(self) -> list[Warning]:
        """What is not in the registry as it is in the source, by the codes `annotations-dropped`, `attestations-dropped` (a `format` that has no place for them) and `nondistributable-skipped` (layers that are not passed on)."""

    def to_dict(self) -> dict[str, Any]:
        """The same as plain values."""

    def __eq__(self, other: object, /) -> bool: ...

@final
class PlannedBlob:
    """A blob of a plan."""

    @property
    def digest(self) -> str:
        """Its digest."""

    @property
    def size(self) -> int:
        """Its bytes."""

    @property
    def present(self) -> bool:
        """Whether the store has it."""

    def to_dict(self) -> dict[str, Any]:
        """The same as plain values."""

    def __eq__(self, other: object, /) -> bool: ...

@final
class PullPlan:
    """What a pull would fetch."""

    @property
    def reference(self) -> str:
        """The canonical name."""

    @property
    def digest(self) -> str:
        """Digest of the manifest or index that the name stands for."""

    @property
    def blobs(self) -> list[PlannedBlob]:
        """Configurations and layers, in the order of the manifest, each once."""

    @property
    def missing_bytes(self) -> int:
        """Bytes that would be fetched."""

    @property
    def present_bytes(self) -> int:
        """Bytes that are in the store already."""

    def to_dict(self) -> dict[str, Any]:
        """The same as plain values."""

    def __eq__(self, other: object, /) -> bool: ...

@final
class Pin:
    """A name and the digest that it is pinned to in a lock file."""

    @property
    def reference(self) -> str:
        """The canonical name."""

    @property
    def digest(self) -> str:
        """Digest of the manifest or index that it stands for."""

    def to_dict(self) -> dict[str, Any]:
        """The same as plain values."""

    def __eq__(self, other: object, /) -> bool: ...

@final
class SearchResult:
    """A repository that a search found."""

    @property
    def name(self) -> str:
        """The name of the repository, as it can be pulled."""

    @property
    def description(self) -> str:
        """What its owner says of it, on one line."""

    @property
    def stars(self) -> int:
        """How many people like it."""

    @property
    def official(self) -> bool:
        """Whether it is one of Docker's official images."""

    @property
    def automated(self) -> bool:
        """Whether it is built by the registry; current registries always say no."""

    def to_dict(self) -> dict[str, Any]:
        """The same as plain values."""

    def __eq__(self, other: object, /) -> bool: ...

@final
class LoginResult:
    """What a login did."""

    @property
    def server(self) -> str:
        """The registry, as it is called in the credential file."""

    @property
    def username(self) -> str:
        """The account; empty for a token."""

    @property
    def stored_in(self) -> str:
        """The credential file, or the program that keeps the secret: `docker-credential-...`."""

    def to_dict(self) -> dict[str, Any]:
        """The same as plain values."""

    def __eq__(self, other: object, /) -> bool: ...

@final
class RemoteImage:
    """An image, or an artifact, in a registry."""

    @property
    def reference(self) -> str:
        """The name that was asked for, in its canonical form."""

    @property
    def digest(self) -> str:
        """Digest of the manifest."""

    @property
    def media_type(self) -> str:
        """Media type of the manifest."""

    @property
    def size(self) -> int:
        """Bytes of the manifest, its configuration and its layers together; of an index, those of the index alone."""

    @property
    def manifest(self) -> Any:
        """The manifest or index."""

    @property
    def config(self) -> Any:
        """The configuration, if it is an image; otherwise None."""

    @property
    def platforms(self) -> list[str]:
        """The platforms that the name stands for: `linux/amd64`."""

    def to_dict(self) -> dict[str, Any]:
        """The same as plain values."""

    def __eq__(self, other: object, /) -> bool: ...

@final
class Referrer:
    """Something that refers to an image: a signature, a list of contents."""

    @property
    def digest(self) -> str:
        """Digest of its manifest."""

    @property
    def media_type(self) -> str:
        """Media type of its manifest."""

    @property
    def artifact_type(self) -> str | None:
        """What it is."""

    @property
    def size(self) -> int:
        """Bytes of its manifest."""

    @property
    def annotations(self) -> dict[str, str]:
        """Its annotations."""

    def to_dict(self) -> dict[str, Any]:
        """The same as plain values."""

    def __eq__(self, other: object, /) -> bool: ...

@final
class Removed:
    """What the removal of an image did."""

    @property
    def untagged(self) -> list[str]:
        """References that were taken away."""

    @property
    def deleted(self) -> list[str]:
        """Image ids that were deleted."""

    def to_dict(self) -> dict[str, Any]:
        """The same as plain values."""

    def __eq__(self, other: object, /) -> bool: ...

@final
class Info:
    """Facts about an engine and its host."""

    @property
    def version(self) -> str:
        """Version of coble."""

    @property
    def data_root(self) -> Path:
        """The data root."""

    @property
    def run_root(self) -> Path:
        """The run root."""

    @property
    def rootless(self) -> bool:
        """Whether containers run in a user namespace."""

    @property
    def images(self) -> int:
        """Number of images."""

    @property
    def containers(self) -> int:
        """Number of containers."""

    @property
    def running(self) -> int:
        """Number of running containers."""

    @property
    def cgroup_version(self) -> Literal["v1", "hybrid", "v2", "none"]:
        """"v1", "hybrid", "v2" or "none"."""

    @property
    def kernel(self) -> str:
        """Release of the kernel."""

    def to_dict(self) -> dict[str, Any]:
        """The same as plain values."""

    def __eq__(self, other: object, /) -> bool: ...

@final
class Check:
    """One thing of the host that was looked at."""

    @property
    def name(self) -> str:
        """A stable name, such as overlay."""

    @property
    def status(self) -> Literal["ok", "warning", "fail"]:
        """"ok", "warning" or "fail"."""

    @property
    def summary(self) -> str:
        """What was found."""

    @property
    def fix(self) -> str | None:
        """What to do about it."""

    def to_dict(self) -> dict[str, Any]:
        """The same as plain values."""

    def __eq__(self, other: object, /) -> bool: ...

@final
class Report:
    """The result of a look at the host."""

    @property
    def checks(self) -> list[Check]:
        """The checks, in a fixed order."""

    @property
    def ok(self) -> bool:
        """Whether containers can run: no check failed."""

    def to_dict(self) -> dict[str, Any]:
        """The same as plain values."""

    def __eq__(self, other: object, /) -> bool: ...

@final
class RunResult(Generic[_Output]):
    """What a program left. Its output is bytes, or str where that was asked for."""

    def __class_getitem__(cls, key: Any) -> GenericAlias: ...

    @property
    def exit_code(self) -> int:
        """The program's exit code, or 128 plus the signal that ended it."""

    @property
    def stdout(self) -> _Output:
        """Standard output, if it was collected."""

    @property
    def stderr(self) -> _Output:
        """Standard error, if it was collected."""

    @property
    def records(self) -> _list[tuple[Literal["stdout", "stderr"], _Output]]:
        """Both streams in the order in which they were read, piece by piece. That is the order in which the program wrote, but for what it had written to both before either was read: of that, standard output
        comes first. A piece is neither a line nor a write."""

    @property
    def timings(self) -> dict[str, float]:
        """Seconds that each phase took, in order."""

    @property
    def isolation(self) -> Isolation | None:
        """The isolation that the program really had. None for exec."""

    @property
    def warnings(self) -> list[Warning]:
        """What could not be given and was not essential."""

# Errors. There is one class for each kind of the engine; a second parent is the class that Python already has for it.

class CobleError(Exception):
    """Every error of coble. str() is what went wrong and what was being done; a way out is in `hint`, and a note of the exception."""

    kind: str
    """The kind, in CamelCase without a suffix: `ImageNotFound`."""
    code: int
    """The status code of the C interface for the kind: negative, and never changed."""
    errno: int | None
    """The errno of the failed system call."""
    hint: str | None
    """A way out, if there is one."""
    object: str | None
    """The name of what the error is about: a reference, an id, a path."""
    context: tuple[str, ...]
    """What the engine was doing, outermost first."""

class InternalError(CobleError):
    """A defect of coble itself: a state that should not be possible."""

class InvalidArgumentError(CobleError, ValueError):
    """An argument that no operation could accept, whatever the state of the store."""

class IoError(CobleError, OSError):
    """A system call failed for a reason that has no kind of its own; `errno` tells which."""

class PermissionDeniedError(CobleError, PermissionError):
    """The caller may not do this on this host."""

class UnsupportedError(CobleError):
    """The host lacks something that the operation needs."""

class PathNotFoundError(CobleError, FileNotFoundError):
    """A file or directory of the host that the caller named is not there."""

class ImageNotFoundError(CobleError, LookupError):
    """No image has this reference or id."""

class VolumeNotFoundError(CobleError, LookupError):
    """No volume has this name."""

class ContainerNotFoundError(CobleError, LookupError):
    """No container has this name or id."""

class NameInUseError(CobleError):
    """The name is taken."""

class InUseError(CobleError):
    """The object is in use by another one."""

class InvalidStateError(CobleError):
    """The object is not in a state that allows the operation."""

class InvalidReferenceError(CobleError, ValueError):
    """Not an image reference of the distribution grammar."""

class InvalidDigestError(CobleError, ValueError):
    """Not a digest of the image specification."""

class DigestMismatchError(CobleError):
    """Content does not have the digest or size that it was announced with."""

class InvalidArchiveError(CobleError):
    """An archive is truncated, malformed, or does what no archive may do."""

class InvalidImageError(CobleError):
    """An image's manifest, index or configuration is malformed."""

class LimitExceededError(CobleError):
    """Input is larger, deeper or longer than coble accepts.

    If it is the output of a program, `stdout` and `stderr` are what was collected of it, at most `capture_limit` each; otherwise they are None."""

    stdout: bytes | None
    stderr: bytes | None
    result: RunResult[Any] | None

class StorageFullError(CobleError, OSError):
    """No space, quota or inode is left."""

class DatabaseError(CobleError):
    """The store's database failed or is damaged."""

class StoreVersionError(CobleError):
    """The store was written by a version of coble that this one cannot work with."""

class TimeoutError(CobleError, _TimeoutError):
    """The time the caller gave is over.

    Of `Engine.run` and `Container.exec`, after the program had started, `stdout` and `stderr` are what was collected until then; otherwise they are None."""

    stdout: bytes | None
    stderr: bytes | None
    result: RunResult[Any] | None

class CancelledError(CobleError):
    """The caller cancelled the operation."""

class ClosedError(CobleError):
    """The handle is closed, or belongs to another process (after a fork)."""

class UserNotFoundError(CobleError, LookupError):
    """The user or group is not known to the image, or its number is out of range."""

class CommandNotFoundError(CobleError, FileNotFoundError):
    """The program is not in the image."""

class CommandNotExecutableError(CobleError, PermissionError):
    """The program is in the image and cannot be executed."""

class MonitorLostError(CobleError):
    """The container's monitor ended without saying how."""

class ContainerExitError(CobleError):
    """A program ended with a status that is not zero, and the caller asked for an error in that case; or a container ended before it was
    ready, and then `stdout` and `stderr` are the ends of its log, and there is no result."""

    exit_code: int
    stdout: Any
    """bytes, or str where the call asked for text."""
    stderr: Any
    """As `stdout`."""
    timings: dict[str, float]
    result: RunResult[Any] | None

class PanicError(CobleError):
    """A panic reached the edge of the library and was stopped there."""

class RegistryError(CobleError):
    """A registry answered with an error that has no kind of its own, or with what the distribution specification does not allow."""

class UnauthorizedError(CobleError, PermissionError):
    """A registry wants credentials, or those that were given are not enough."""

class NetworkError(CobleError, ConnectionError):
    """A registry cannot be reached: no address, no route, no connection, no trust in its certificate, or the connection was cut."""

class OfflineError(CobleError, ConnectionError):
    """The engine is offline, and the operation would have to ask a registry or another server."""

class EventsLostError(CobleError):
    """Events were dropped before a stream has read them. It goes on with those that are kept."""

class RateLimitedError(CobleError):
    """A registry refuses more requests for a while."""

class DigestDriftError(CobleError):
    """A name stands for another digest than the lock file says."""
