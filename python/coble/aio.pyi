"""The same names for asyncio: what blocks in `coble` is awaited here.

There is one implementation: every call is the one of `coble`, on a thread of its own for as long as it takes. Cancelling a task that awaits a
call cancels the call, and the task goes on when the engine has cleaned up. The streams of a `Process` are those of asyncio,
`asyncio.StreamWriter` and `asyncio.StreamReader`.

Properties that are facts are properties here too; those that are looked up (`state`, `exit_code`, `references` ...) are awaited:
`await container.state`.
"""

import asyncio
from builtins import list as _list
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Generator, Mapping, Sequence
from datetime import datetime
from os import PathLike
from pathlib import Path
from types import GenericAlias, TracebackType
from typing import Any, Generic, Literal, TypeVar, overload

from typing_extensions import Buffer, Self

from ._coble import (
    DiskUsage,
    LoginResult,
    Pin,
    Progress,
    PullPlan,
    Pushed,
    Referrer,
    RemoteImage,
    SearchResult,
    _CredentialProvider,
    _Credentials,
    _Progress,
    _PullPolicy,
    _SearchFilters,
    Exported,
    FileEntry,
    ImageMount,
    PathChange,
    ContainersPruned,
    Pruned,
    Scrub,
    Event,
    Health,
    Stats,
    Top,
    _Compression,
    _ManifestFormat,
    _Filters,
    _HealthCheck,
    _RestartPolicy,
    _SaveFormat,
    ContainerDetails,
    HistoryEntry,
    ImageDetails,
    Info,
    LogRecord,
    Mount,
    Removed,
    Report,
    RunResult,
    Warning,
    _Command,
    _Environment,
    _Hosts,
    _Labels,
    _HostOrOwn,
    _Lifetime,
    _Path,
    _Parameters,
    _Rates,
    _Secrets,
    _Weights,
    _Size,
    _State,
    _Stream,
    _Tmpfs,
    _Ulimits,
    _Volumes,
    VolumeDetails,
    VolumesPruned,
    _WaitCondition,
)
from ._coble import EventStream as _PlainEventStream
from ._coble import LogStream as _PlainLogStream
from ._coble import ProgressStream as _PlainProgressStream
from ._coble import StatsStream as _PlainStatsStream
from .wait import Strategy

__all__ = ["Container", "Containers", "Engine", "EventStream", "Image", "Images", "LogStream", "Opening", "Process", "ProgressStream", "Registry", "StatsStream", "Volume", "Volumes", "doctor"]

_T = TypeVar("_T")
_Image = str | Image

class Opening(Generic[_T]):
    """A call whose result is awaited, or used with `async with`, which ends as the object's own block."""

    def __init__(self, call: Callable[[], Awaitable[_T]]) -> None: ...
    def __await__(self) -> Generator[Any, None, _T]: ...
    async def __aenter__(self) -> _T: ...
    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc_value: BaseException | None, traceback: TracebackType | None
    ) -> None: ...

async def doctor(*, data_root: _Path | None = None, run_root: _Path | None = None, rootless: bool | None = None) -> Report:
    """Looks at what the host has and lacks, as `coble.doctor`."""

class Engine:
    """A container engine in this process, over a store that other processes may use at the same time. Any thread may use it; a process
    that was forked may not: it opens its own.

    A context manager. When it is closed, and also when its process ends in any way, the session-scoped containers that it started are removed.
    """

    def __init__(
        self,
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
    ) -> None:
        """The arguments are those of `coble.Engine`. The store is opened by `async with`, or by awaiting the engine."""

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
    async def run(
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
    async def run(
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
    async def run(
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

    async def info(self) -> Info:
        """Facts about the engine and its host."""

    async def doctor(self) -> Report:
        """Looks at what the host has and lacks, for this engine."""

    async def verify(self, *, progress: _Progress | None = None) -> list[str]:
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

        With `follow` the stream, which is opened when it is first used or awaited, waits for more, and without `since` and `after` it has only what is still to come. Filters are docker's, in the form that
        lists take: `container` (the beginning of a name or id), `event`, `image`, `label`, `type`, `volume` (a name). Events are kept for a week, and at most 20,000 of them: a stream that
        is further behind raises `EventsLostError`, once, and goes on.
        """

    async def disk_usage(self) -> DiskUsage:
        """What the store takes of the disk, in all and for each image, container and volume. `total` is what `du` sees of the data root. Can be cancelled."""

    async def scrub(self, *, repair: bool = False, progress: _Progress | None = None) -> Scrub:
        """Looks at every byte of the store: hashes blobs, and compares unpacked layers with theirs. Can be cancelled.

        With `repair`, a damaged layer is unpacked again, unless a running container uses it, and a damaged layer blob is taken away, so that the next load or
        pull of the image brings it again. Blobs and layers that belong to nothing are problems of the kind `stray`, and removed; they are looked for only when nobody
        else is at work on images. `progress` hears `check` of each blob and layer; see `Images.load`.
        """

    async def close(self) -> None:
        """Closes the engine and removes the session-scoped containers that it started. Later calls raise `ClosedError`; closing again does
        nothing."""

    def __await__(self) -> Generator[Any, None, Self]: ...
    async def __aenter__(self) -> Self: ...
    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc_value: BaseException | None, traceback: TracebackType | None
    ) -> None: ...

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
    ) -> Awaitable[Image]:
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
    ) -> Opening[ProgressStream[Image]]:
        """As above, with the progress as an iterator: the pull goes on while the block is executed, and is cancelled at its end if it is not over.

            async with engine.images.pull("alpine", stream=True) as events:
                async for event in events:
                    print(event.kind, event.overall_current, event.overall_total)
                image = await events.result()
        """

    async def plan(
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
    ) -> Awaitable[Pushed]:
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
    ) -> Opening[ProgressStream[Pushed]]:
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
    ) -> Awaitable[Pushed]:
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
    ) -> Opening[ProgressStream[Pushed]]:
        """As above, with the progress as an iterator: see `pull`."""

    async def search(
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

    async def lock(
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

    async def load(
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

    async def import_rootfs(
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

    async def from_host(
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

    async def list(self, *, filters: _Filters | None = None) -> _list[Image]:
        """The images that meet all conditions, or all, newest first.

        `filters` maps `dangling`, `label`, `label!`, `reference`, `before`, `since` and `until` to a value or several, as docker has them.
        """

    async def get(self, image: _Image, *, platform: str | None = None) -> Image:
        """One image; of those that a name has, the one for a `platform`, such as `linux/arm64`, or for this host. Raises `ImageNotFoundError`, and `InvalidArgumentError` if a prefix fits several."""

    async def inspect(self, image: _Image) -> ImageDetails:
        """Everything about an image. Raises `ImageNotFoundError`."""

    async def inspect_docker(self, image: _Image) -> dict[str, Any]:
        """Everything about an image as `docker image inspect` has it: `Id`, `RepoTags`, `RepoDigests`, `Config`, `RootFS` and so on; `Coble` has what `inspect`
        gives. `Size` is that of the files in its layers, if they are unpacked. Raises `ImageNotFoundError`."""

    async def history(self, image: _Image) -> _list[HistoryEntry]:
        """How an image was made, newest step first. Raises `ImageNotFoundError`."""

    async def save(
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

    async def diff(self, old: _Image, new: _Image) -> _list[PathChange]:
        """What is different in one image's root file system against another's, sorted by path. Can be cancelled. Raises `ImageNotFoundError`."""

    async def mount(self, image: _Image) -> ImageMount:
        """Mounts an image's root file system read-only, where only this process sees it. Can be cancelled.

            with engine.images.mount("demo") as root:
                os.listdir(root)

        The mount is nowhere in the tree of the host, and goes with its descriptor, however the process ends. Links in an image may lead anywhere, and an
        absolute one leads to the host's files. Files of users that are mapped into containers only can be read as far as their modes let others.

        Raises `ImageNotFoundError`, and `UnsupportedError` if the kernel does not allow it.
        """

    async def prune(
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

    async def tag(self, image: _Image, reference: str) -> None:
        """Gives an image one more name, which is taken from another one that has it. Raises `ImageNotFoundError`, `InvalidReferenceError`."""

    async def untag(self, reference: str) -> None:
        """Takes a name away. The image stays, also without a name. Raises `ImageNotFoundError`, `InvalidReferenceError`."""

    async def remove(self, image: _Image, *, force: bool = False) -> Removed:
        """By reference: takes the name away, and deletes the image with its last name. By id: deletes it; one with several names only with
        `force`. Raises `ImageNotFoundError`, and `InUseError` if a container uses it; with `force` only if one runs: for others it stays, without its names,
        until they are gone and it is pruned."""

class Volumes:
    """The volumes of an engine: `engine.volumes`. Directories of the store that containers have mounted, and that outlive them. The words are docker's.

    A volume belongs to the containers that have it, whether they run or not: as long as there is one, nobody removes it.
    """

    def create(self, name: str | None = None, *, driver: str | None = None, driver_opts: _Parameters | None = None, labels: _Labels | None = None) -> Opening[Volume]:
        """Makes a volume, or returns the one that has the name, as it is.

        A name is `[a-zA-Z0-9][a-zA-Z0-9_.-]+`, at most 255 characters; without one the volume is anonymous, with a name of 64 hexadecimal digits. `driver` is `"local"`, which has
        no options. Raises `InvalidArgumentError`, `UnsupportedError` and `StorageFullError`.
        """

    async def get(self, name: str) -> Volume:
        """The volume with this name. Raises `VolumeNotFoundError`."""

    async def list(self, *, filters: _Filters | None = None) -> _list[Volume]:
        """The volumes, by name. Filters are docker's: `dangling` (true: no container has it), `driver`, `label`, `label!`, `name` (a part of it)."""

    async def inspect(self, name: str | Volume) -> VolumeDetails:
        """Everything about a volume. Raises `VolumeNotFoundError`."""

    async def remove(self, name: str | Volume, *, force: bool = False) -> None:
        """Removes a volume. Raises `InUseError`, which names who has it, if a container has it, running or not, or if a clone is made upon it; and
        `VolumeNotFoundError`, unless `force` is set."""

    async def prune(self, *, all: bool = False, filters: _Filters | None = None) -> VolumesPruned:
        """Removes the anonymous volumes that no container has, or with `all` every volume that none has. Filters: `label`, `label!`, `all`. Can be cancelled."""

    def clone(self, source: str | Volume, name: str | None = None) -> Opening[Volume]:
        """Makes a volume that has what another one has, in milliseconds whatever the size: they share what neither changes. Can be cancelled.

        As long as a volume has clones, nothing can be written to it: a container that would mount it otherwise than read-only does not start, and while one that may write to it runs there is no clone of
        it; both raise `InUseError`. A clone is mounted by one running container at a time. As a context manager it is removed at the end of the block, so a test gets the data that was
        prepared for all, and leaves nothing.
        """

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

    async def inspect(self) -> VolumeDetails:
        """Everything about it. Raises `VolumeNotFoundError`."""

    async def inspect_docker(self) -> dict[str, Any]:
        """Everything about it as `docker volume inspect` has it; `Coble` has what `inspect` returns."""

    async def remove(self, *, force: bool = False) -> None:
        """Removes it, as `Volumes.remove`."""

    def clone(self, name: str | None = None) -> Opening[Volume]:
        """Makes a volume that has what this one has, as `Volumes.clone`. Can be cancelled."""

    async def export(self, target: _Path | _Stream) -> Exported:
        """Writes what is in it as a tar, whether a container has it or not. Can be cancelled.

        `target` is a path, where a file appears when it is complete, or a file descriptor or open file. The entry `./` has the attributes of the volume itself. Files that change meanwhile may be in the tar as they never were; the
        tar itself is always whole.
        """

    async def import_archive(self, archive: bytes | bytearray | _Path | _Stream) -> Exported:
        """Unpacks a tar, plain or compressed with gzip, zstd, bzip2 or xz, in it. Can be cancelled.

        Directories that are there are merged, and get the attributes of the archive; files are replaced. Nothing of the archive gets out of the volume. When it fails, entries before the one that failed are there, each of them whole.
        Raises `InvalidArchiveError`, and `InUseError` if it has clones, or is a clone that a running container has.
        """

    async def __aenter__(self) -> Volume: ...
    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc_value: BaseException | None, traceback: TracebackType | None
    ) -> None: ...
    def __eq__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...

class Registry:
    """The registries, as an engine reaches them: `engine.registry`.

    Where they are, whether they may be insecure, and who asks, is said by docker's and podman's files unless a call says it: `credentials` is a tuple of user name and
    password, or `Credentials`; the other options are those of `Images.pull`. All calls can be cancelled. They raise `UnauthorizedError`, `NetworkError`,
    `RateLimitedError` and `RegistryError`.

    What a registry says beside its answers (warnings, how many requests are left), and that a request is made again, goes to `progress`, which is called with
    a `Progress` each time, as in `Images.pull`.
    """

    async def login(
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

    async def logout(self, server: str, *, auth_file: _Path | None = None) -> bool:
        """Forgets the credentials of a registry. False if there were none."""

    async def tags(
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

    async def catalog(
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

    async def inspect(
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

    async def delete(
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

    async def referrers(
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
    def references(self) -> Coroutine[Any, Any, list[str]]:
        """The canonical names that it has now. Raises `ImageNotFoundError`."""

    @property
    def repo_digests(self) -> Coroutine[Any, Any, list[str]]:
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

    async def inspect(self) -> ImageDetails:
        """Everything about it."""

    async def inspect_docker(self) -> dict[str, Any]:
        """Everything about it as `docker image inspect` has it, as `Images.inspect_docker`."""

    async def history(self) -> list[HistoryEntry]:
        """How it was made, newest step first."""

    async def tag(self, reference: str) -> None:
        """Gives it one more name, as `Images.tag`."""

    async def remove(self, *, force: bool = False) -> Removed:
        """Deletes it, as `Images.remove` by id."""

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
    ) -> Opening[Container]:
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
    ) -> Opening[Container]:
        """Makes a container, starts it, and waits until it is ready. Can be cancelled.

        Made for `with`: leaving the block stops and removes the container. So it is session-scoped unless `lifetime="detached"`. The options are
        those of `create` and `Container.start`. `wait` is a strategy of `coble.wait`, with `wait_timeout` seconds.

        Raises what `create` and `start` raise, and what `coble.wait.until` raises; then the container was removed again.
        """

    async def list(self, *, all: bool = False, filters: _Filters | None = None, limit: int | None = None, size: bool = False) -> _list[Container]:
        """The running containers, or all, newest first.

        `filters` maps `ancestor`, `before`, `exited`, `expose`, `health`, `id`, `label`, `label!`, `name`, `network`, `publish`, `since`, `status`, `until` and `volume` (the target of a mount, the name of a volume, or the source of a bind) to a value or several, as docker has them: all
        keys are to be met, and one of the values of each, but all labels. A `status` means all containers. `limit`: only the newest, whatever their state.
        With `size` what each wrote is measured: `Container.size_rw`. Raises `InvalidArgumentError`, and `ContainerNotFoundError` for one that `before` or `since` names.
        """

    async def prune(self, *, filters: _Filters | None = None) -> ContainersPruned:
        """Removes the containers that do not run. `filters` maps `until`, `label` and `label!` to a value or several. Those that belong to a session that lives go
        with it. Raises `InvalidArgumentError`."""

    async def get(self, name_or_id: str) -> Container:
        """The container with this name, id, or unambiguous prefix of an id of at least four digits. Raises `ContainerNotFoundError`."""

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
    def image(self) -> Coroutine[Any, Any, str]:
        """The image as the caller named it."""

    @property
    def image_id(self) -> Coroutine[Any, Any, str]:
        """The image's id."""

    @property
    def command(self) -> Coroutine[Any, Any, list[str]]:
        """Program and arguments."""

    @property
    def created(self) -> Coroutine[Any, Any, str]:
        """When it was made, RFC 3339."""

    @property
    def labels(self) -> Coroutine[Any, Any, dict[str, str]]:
        """Labels."""

    @property
    def lifetime(self) -> Coroutine[Any, Any, _Lifetime]:
        """How long it may live."""

    @property
    def state(self) -> Coroutine[Any, Any, _State]:
        """Its state now."""

    @property
    def size_rw(self) -> Coroutine[Any, Any, int | None]:
        """Bytes of the disk that it wrote, if the list that it is from was to measure them."""

    @property
    def health(self) -> Coroutine[Any, Any, Health | None]:
        """The health of its program; None if that is not looked at, or it was not started yet."""

    @property
    def exit_code(self) -> Coroutine[Any, Any, int | None]:
        """The exit code of the last run, or 128 plus the signal that ended it; None before that."""

    async def start(self, *, stdin: _Stream | None = None, stdout: _Stream | None = None, stderr: _Stream | None = None) -> None:
        """Starts the program and returns when it runs. Can be cancelled.

        By default it has no input, and its output is kept for `logs`; a stream can be a file or `DEVNULL` instead. A container that has run before
        is started again, on what it wrote.

        Raises `InvalidStateError` if it runs, `CommandNotFoundError`, `CommandNotExecutableError`, `UserNotFoundError`,
        `PermissionDeniedError`, `UnsupportedError`, `MonitorLostError`.
        """

    async def stop(self, timeout: float | None = None, *, signal: str | int | None = None) -> None:
        """Sends `signal`, by default the container's stop signal, and SIGKILL after `timeout` seconds (default: the container's stop timeout). Returns when the program has ended. A container
        that does not run is fine. Can be cancelled."""

    async def kill(self, signal: str | int = "SIGKILL") -> None:
        """Sends a signal, by name (`SIGTERM`, `TERM`) or number, to the program. Raises `InvalidStateError` if it does not run."""

    async def wait(self, timeout: float | None = None, *, condition: _WaitCondition = "not-running", check: bool = False) -> int:
        """Waits for the program's end and returns its exit code, or 128 plus the signal that ended it; at once if it has ended. Can be cancelled.

        `"next-exit"` waits for the next end, also of a program that is not started yet; `"removed"` until the container is gone. Raises `TimeoutError`, and
        `InvalidStateError` if it was never started and is waited for not to run.

        With `check`, an exit code other than 0 raises `ContainerExitError`, whose `result` has the exit code and, as far as the log keeps them and the container is still there, the last 64 KiB that this run of
        the program wrote to `stdout` and `stderr`.
        """

    async def pause(self) -> None:
        """Stops all of its processes, without their notice, until `unpause`. When it returns they do nothing any more; it can be killed, stopped and removed, and nothing
        can be started in it. Raises `InvalidStateError` if it does not run or is paused, and `UnsupportedError` where the host has no freezer for it."""

    async def unpause(self) -> None:
        """Lets the processes of a paused container go on. Raises `InvalidStateError` if it is not paused."""

    async def restart(self, timeout: float | None = None, *, signal: str | int | None = None) -> None:
        """Stops it as `stop` does, and starts it again, with its output kept for `logs`; one that does not run is started. It is not removed in between. Can be
        cancelled. Raises what `start` raises, and `InvalidStateError` for one that belongs to the session of another engine."""

    async def rename(self, name: str) -> None:
        """Gives it another name, whatever its state. Raises `NameInUseError` and `InvalidArgumentError`."""

    async def update(
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

    async def top(self, ps_args: _Command | None = None) -> Top:
        """Its processes, with the columns of `ps -ef`. The numbers are those of the host, times are UTC. Raises `InvalidStateError` if it does not run.

        `ps_args` are options of `ps` that ask for other columns: `"aux"`, or `-o` (`-eo`, `--format`) and a list, as in `"-eo pid,ppid,user,stat,etime,rss,comm,args"`, with titles as in
        `pid=Number`. All processes of the container are shown, whatever they say. What is not known raises `InvalidArgumentError`.
        """

    async def log_attributes(self) -> dict[str, str]:
        """What its log options (`labels`, `labels-regex`, `env`, `env-regex`, `tag`) have each record of its log say of it, as `docker logs --details` shows it. Empty for a driver that has no such options."""

    @overload
    async def stats(self, *, stream: Literal[False] = False, interval: float = 1.0) -> Stats:
        """What it uses, in docker's numbers. The share of the CPUs is that of `interval` seconds, which are waited for; with 0 it is 0. With `stream` it is looked at
        again and again: at once, and then after each interval, until it does not run any more. Can be cancelled. Raises `InvalidStateError` if it does not run."""

    @overload
    async def stats(self, *, stream: Literal[True], interval: float = 1.0) -> StatsStream:
        """As above, again and again."""

    async def inspect_docker(self, *, size: bool = False) -> dict[str, Any]:
        """Everything about it as `docker inspect` has it: `Id`, `State`, `Config`, `HostConfig`, `NetworkSettings` and so on; `Coble` has what `inspect` gives.

        With `size` also what is to be measured on the disk, in bytes: `SizeRw`, what the container wrote, and `SizeRootFs`, that and the files of its image.
        """

    async def wait_for(self, strategy: Strategy, timeout: float = 60.0) -> None:
        """Waits until a strategy of `coble.wait` is satisfied, as `coble.wait.until`. Can be cancelled."""

    async def export(self, target: _Path | _Stream, *, progress: _Progress | None = None) -> Exported:
        """Writes the root file system as a tar, whether the container runs or not. Can be cancelled.

        `target` is a path, where a file appears when it is complete, or a file descriptor or open file. What is mounted inside is not part of it. Files
        that change meanwhile may be in the tar as they never were; the tar itself is always whole. `progress` hears `read`, with the bytes of the tar so far; see `Images.load`.
        """

    async def get_archive(self, path: str, target: _Path | _Stream, *, follow_link: bool = False) -> Exported:
        """Writes what is at a path of the container, and everything below it, as a tar, whether it runs or not. Can be cancelled.

        `target` is as for `export`. The names begin with the last component of the path, or after it if the path ends in `/.`; a relative path begins at `/`. A link that
        is the last component is written as a link, unless `follow_link` is set or the path ends in `/`. No link leads out of the container. What is mounted inside is part
        of it while the container runs, but for `/proc`, `/sys` and `/dev`. Raises `PathNotFoundError` if nothing is there.
        """

    async def put_archive(self, path: str, archive: bytes | bytearray | _Path | _Stream) -> Exported:
        """Unpacks a tar in a directory of the container, whether it runs or not. Can be cancelled.

        The tar is given as bytes, a path, a file descriptor or an open file, plain or compressed with gzip, zstd, bzip2 or xz. Directories that are there are merged and get the
        archive's attributes, files are replaced; a file does not replace a directory, nor a directory a file: `InvalidStateError`. Owners are the archive's. Links of the
        container are followed inside it only. A read-only root raises `InvalidStateError`, a missing directory `PathNotFoundError`. When it fails, the entries before
        the one that failed are there, each of them whole; what an entry was to replace is there until it is complete. When the container ends meanwhile, it fails with `InvalidStateError`.
        """

    async def copy_to(self, source: _Path, dest: str, *, follow_link: bool = False, archive: bool = False) -> Exported:
        """Copies a file or directory of the host into the container, whether it runs or not, by docker's rules for `docker cp`. Can be cancelled.

        `source` goes into a `dest` that is a directory, or only its content if it ends in `/.`; else it becomes `dest`, whose directory has to be there. A link at the
        end of `source` is copied as a link, unless `follow_link` is set. Everything belongs to the container's user 0, unless `archive` is set, which keeps the numbers of
        owners. What is replaced and what is seen is as of `put_archive`.
        """

    async def copy_from(self, source: str, dest: _Path, *, follow_link: bool = False, archive: bool = False) -> Exported:
        """Copies a file or directory of the container to the host, by the same rules as `copy_to` with the sides exchanged. Can be cancelled.

        What the container made is unpacked by a confined process that sees nothing but the directory it goes to. Everything belongs to the caller, and
        has no set-id bits, unless `archive` is set. Directories that are there keep their mode and owner; a file is replaced when the new one is complete. Device nodes, file
        capabilities and set-id bits that are left out are told as warnings.
        """

    async def read_file(self, path: str, *, max_size: int = 16777216) -> bytes:
        """The content of a regular file of the container, whether it runs or not. Links are followed inside the container. Can be cancelled.

        Raises `LimitExceededError` if the file has more than `max_size` bytes, `PathNotFoundError` if it is missing, and `InvalidArgumentError` if
        it is no regular file. What is mounted inside is seen while the container runs.
        """

    async def write_file(self, path: str, data: bytes | bytearray, *, mode: int | None = None, user: str | None = None) -> None:
        """Makes a file of the container, or replaces it, whether the container runs or not. Can be cancelled.

        Its directory has to be there: `PathNotFoundError`. `mode` are permission bits (0o644), `user` whom it belongs to, as `name`, `uid`, `name:group` or `uid:gid`, looked up in the
        container (user 0). Links are followed inside the container.
        """

    async def list_files(self, path: str) -> list[FileEntry]:
        """The entries of a directory of the container, by name, whether it runs or not. Links are followed inside the container. Can be cancelled.

        Raises `PathNotFoundError` if there is no such directory, and `LimitExceededError` if it has more than a million entries: `get_archive` streams.
        """

    def snapshot(self, name: str | None = None, *, pause: bool = True) -> Opening[Container]:
        """Makes a new container with the options of this one, and with its files as they are now. Can be cancelled.

        It does not run yet: as long as it is not started it is a snapshot, of which any number of others can be made; started, it is a clone. Of a container that does not
        run nothing is copied, which takes milliseconds whatever the size. What a running one wrote is copied, while it is stopped by the freezer of its cgroup, unless `pause`
        is off; where it has none, `UnsupportedError`. What is mounted inside is not part of it.

        The program of a clone begins anew, upon these files: what it did to them at its beginning, it does again. One that copies a file into its place and then sets owner and
        mode, for example, has it without set-id bits for a moment.
        """

    async def diff(self) -> list[PathChange]:
        """What the container changed of its image, sorted by path. Can be cancelled."""

    async def commit(
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

    async def remove(self, *, force: bool = False, v: bool = False) -> None:
        """Removes the container and everything it wrote. A running one only with `force`, which kills it; otherwise `InvalidStateError`. With `v`, the anonymous volumes that were made for
        it go, too, unless another container has them, as they do with a container that is removed at its end or with its session."""

    async def inspect(self) -> ContainerDetails:
        """Everything about it."""

    @overload
    async def exec(
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
    async def exec(
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
    async def exec(
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
    ) -> Opening[Process]:
        """Starts another program in the running container, as `subprocess.Popen`: streams are `PIPE`, `DEVNULL`, a file or, when None, the
        caller's own; `stderr` can be `STDOUT`. `privileged` is as in `exec`.

        With `tty` it has a terminal of `console_size`, height and width in characters. `stdin` and `stdout` are then that terminal, and `PIPE` when None; the end of
        input is what the program takes for it, such as `b"\\x04"`.

        Raises `InvalidStateError` if the container does not run, `CommandNotFoundError`, `CommandNotExecutableError`, `UserNotFoundError`.
        """

    def attach(self, *, stdin: bool = False, stdout: bool = True, stderr: bool = True, logs: bool = False) -> Opening[Process]:
        """Connects to the standard streams of its program, which go on without whoever is connected. What it wrote before comes first with `logs`.

        Output is read from the log, so it has to be kept there; whoever reads slowly misses nothing and holds up nobody. `stdin` needs `stdin_open`; closing it
        ends the program's with `stdin_once`. The result's exit code and signals are the container's; as a context manager it does not wait.
        Raises `InvalidStateError`.
        """

    def start_attached(
        self, *, stdin: bool | _Stream = False, stdout: bool = True, stderr: bool = True, logs: bool = False, paced: bool = False
    ) -> Opening[Process]:
        """Starts the program with its output kept, and connects to it as `attach` before it can have written anything.

        `stdin` can be a file, which the program then reads itself, with nobody between. With `paced` the program keeps pace with whoever reads its output, which comes from it and not
        from the log, though that gets it, too: it is held up by who reads slowly, and hears when nobody reads any more, as of any pipe. Neither is for a terminal, and `paced` not with
        `logs`. Raises what `start` and `attach` raise.
        """

    async def resize(self, height: int, width: int) -> None:
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

    async def __aenter__(self) -> Self: ...
    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc_value: BaseException | None, traceback: TracebackType | None
    ) -> None: ...

class Process:
    """A program that `Container.popen` started, or a container's own by `Container.attach`, in the form of `subprocess.Popen`, with docker's exit codes. Collected as garbage it closes its
    streams and leaves the program alone. As a context manager it closes its streams and waits for the program."""

    @property
    def stdin(self) -> asyncio.StreamWriter | None:
        """Where its input is written to; None if it is not a pipe, nor a terminal."""

    @property
    def stdout(self) -> asyncio.StreamReader | None:
        """Its standard output; None if it is not a pipe, nor a terminal."""

    @property
    def stderr(self) -> asyncio.StreamReader | None:
        """Its standard error; None if it is not a pipe."""

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

    async def poll(self) -> int | None:
        """Its exit code if it ended, otherwise None."""

    async def wait(self, timeout: float | None = None) -> int:
        """Waits for its end and returns its exit code. Raises `TimeoutError`. Can be cancelled."""

    async def communicate(self, input: str | Buffer | None = None, timeout: float | None = None) -> tuple[bytes | None, bytes | None]:
        """Sends input, closes stdin, collects the outputs that are pipes until their end, and waits. Can be cancelled.

        After a `TimeoutError` it can be called again, without input; nothing is lost.
        """

    async def send_signal(self, sig: str | int) -> None:
        """Sends a signal by name or number. A program that has ended is left alone."""

    async def resize(self, height: int, width: int) -> None:
        """Sets the size of its terminal, in characters. Raises `InvalidStateError` if it has none."""

    async def detach(self) -> None:
        """Closes its streams and leaves it to itself, as docker's keys do, with an event `detach`, or `exec_detach` for a program of `popen`. It goes on, also one with a terminal, which
        would be hung up otherwise: what that shows from here on is lost. The block of a `with` does not wait for it any more."""

    async def terminate(self) -> None:
        """Sends SIGTERM."""

    async def kill(self) -> None:
        """Sends SIGKILL."""

    async def __aenter__(self) -> Self: ...
    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc_value: BaseException | None, traceback: TracebackType | None
    ) -> None: ...

class LogStream:
    """A container's output: an asynchronous iterator of records, and an asynchronous context manager. It is opened when it is first used, or
    awaited."""

    def __init__(self, open_it: Callable[[], _PlainLogStream]) -> None: ...
    def __await__(self) -> Generator[Any, None, Self]: ...
    async def __aenter__(self) -> Self: ...
    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc_value: BaseException | None, traceback: TracebackType | None
    ) -> None: ...
    def __aiter__(self) -> Self: ...
    async def __anext__(self) -> LogRecord: ...
    async def next(self, timeout: float | None = None) -> LogRecord | None:
        """The next record; None at the end. Raises `TimeoutError`."""

    async def read(self) -> bytes:
        """All the bytes until the end, of both streams as they arrived."""

    @overload
    def lines(self, *, text: Literal[False] = False, encoding: None = None, errors: None = None) -> AsyncIterator[bytes]:
        """The whole lines, without their ends. The streams are put together separately. `text`, `encoding` and `errors` are as for `Engine.run`."""
    @overload
    def lines(self, *, text: Literal[True], encoding: str | None = None, errors: str | None = None) -> AsyncIterator[str]: ...
    @overload
    def lines(self, *, text: bool = False, encoding: str, errors: str | None = None) -> AsyncIterator[str]: ...

    async def close(self) -> None:
        """Ends the stream, also for a task that waits in it."""

    @property
    def closed(self) -> bool:
        """Whether it was closed."""

class ProgressStream(Generic[_T]):
    """A pull, push or copy that is under way: an iterator of its progress, and a context manager. The transfer does not wait for the iteration: who is slow gets the
    newest state of a blob. Iterating raises what the transfer failed with, at its end. """

    def __init__(self, plain: _PlainProgressStream[Any]) -> None: ...
    def __aiter__(self) -> Self: ...
    async def __anext__(self) -> Progress: ...
    async def next(self, timeout: float | None = None) -> Progress | None:
        """The next event; None at the end. Raises `TimeoutError`. Can be cancelled, which leaves the transfer alone."""

    async def result(self, timeout: float | None = None) -> _T:
        """Waits for the end, and returns what the call returns when it is not a stream, or raises what it raises: `CancelledError` after `close`. Events that
        nobody has fetched are dropped. Raises `TimeoutError`. Can be cancelled, which leaves the transfer alone."""

    async def close(self) -> None:
        """Cancels the transfer if it is not over, waits until it has cleaned up, and ends the iteration. Closing again does nothing."""

    @property
    def closed(self) -> bool:
        """Whether it was closed."""

    def __class_getitem__(cls, key: Any, /) -> GenericAlias: ...
    async def __aenter__(self) -> Self: ...
    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc_value: BaseException | None, traceback: TracebackType | None
    ) -> None: ...

class StatsStream:
    """What a container uses, look by look. An iterator and a context manager; any thread may close it."""

    def __init__(self, plain: _PlainStatsStream) -> None: ...
    def __aiter__(self) -> Self: ...
    async def __anext__(self) -> Stats: ...
    async def next(self, timeout: float | None = None) -> Stats | None:
        """Waits for the next look; None when the container does not run any more, or the stream was closed. Raises `TimeoutError`. Can be cancelled."""

    async def close(self) -> None:
        """Ends the stream, also for a thread that is waiting in it. Closing again does nothing."""

    @property
    def closed(self) -> bool:
        """Whether it was closed."""

    async def __aenter__(self) -> Self: ...
    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc_value: BaseException | None, traceback: TracebackType | None
    ) -> None: ...

class EventStream:
    """What happens to containers and images: an asynchronous iterator of events, and an asynchronous context manager. It is opened when it is first
    used, or awaited."""

    def __init__(self, open_it: Callable[[], _PlainEventStream]) -> None: ...
    def __await__(self) -> Generator[Any, None, Self]: ...
    def __aiter__(self) -> Self: ...
    async def __anext__(self) -> Event: ...
    async def next(self, timeout: float | None = None) -> Event | None:
        """The next event; None at the end. Raises `TimeoutError`."""

    async def close(self) -> None:
        """Ends the stream, also for a task that waits in it."""

    @property
    def closed(self) -> bool:
        """Whether it was closed."""

    async def __aenter__(self) -> Self: ...
    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc_value: BaseException | None, traceback: TracebackType | None
    ) -> None: ...
