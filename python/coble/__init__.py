"""coble: an embeddable container engine. No daemon, no root needed, no external programs.

    import coble

    with coble.Engine() as engine:
        engine.images.from_host(["sh", "echo"], "demo")
        done = engine.run("demo", ["echo", "hello"])
        print(done.exit_code, done.stdout)

Every call blocks, releases the GIL and may be made from any thread; `coble.aio` has the same names for asyncio. Ctrl-C
ends a blocking call of the main thread after the engine has cleaned up. All errors derive from `CobleError`.

Submodules are loaded when they are used: `coble.wait` has what a container can be waited for, `coble.aio` the awaitable interface.
"""

from __future__ import annotations

from ._coble import (
    DEVNULL,
    PIPE,
    STDOUT,
    CancelledError,
    CancelToken,
    CapabilityInfo,
    Check,
    ClosedError,
    CobleError,
    CommandNotExecutableError,
    CommandNotFoundError,
    Container,
    ContainerDetails,
    ContainerExitError,
    ContainerNotFoundError,
    Containers,
    ContainerSpec,
    ContainerUsage,
    DatabaseError,
    DigestMismatchError,
    DiskUsage,
    Engine,
    Exported,
    HistoryEntry,
    Image,
    ImageDetails,
    ImageMount,
    ImageNotFoundError,
    Images,
    ImageUsage,
    Info,
    InternalError,
    InUseError,
    InvalidArchiveError,
    InvalidArgumentError,
    InvalidDigestError,
    InvalidImageError,
    InvalidReferenceError,
    InvalidStateError,
    IoError,
    Isolation,
    LayerInfo,
    LimitExceededError,
    LimitInfo,
    LogLines,
    LogRecord,
    LogStream,
    MonitorLostError,
    NameInUseError,
    NamespaceInfo,
    NetworkError,
    PanicError,
    PathChange,
    PathNotFoundError,
    PermissionDeniedError,
    Problem,
    Process,
    Pruned,
    RateLimitedError,
    RegistryError,
    Removed,
    Report,
    RunResult,
    Scrub,
    StorageFullError,
    StoreVersionError,
    TimeoutError,
    UnauthorizedError,
    UnsupportedError,
    UserInfo,
    UserNotFoundError,
    Warning,
    doctor,
    version,
)

TYPE_CHECKING = False  # Importing typing takes longer than everything else here.
if TYPE_CHECKING:
    from . import aio as aio
    from . import wait as wait

__version__ = version()

__all__ = [
    "DEVNULL",
    "PIPE",
    "STDOUT",
    "CancelToken",
    "CancelledError",
    "CapabilityInfo",
    "Check",
    "ClosedError",
    "CobleError",
    "CommandNotExecutableError",
    "CommandNotFoundError",
    "Container",
    "ContainerDetails",
    "ContainerExitError",
    "ContainerNotFoundError",
    "ContainerSpec",
    "ContainerUsage",
    "Containers",
    "DatabaseError",
    "DigestMismatchError",
    "DiskUsage",
    "Engine",
    "Exported",
    "HistoryEntry",
    "Image",
    "ImageDetails",
    "ImageMount",
    "ImageNotFoundError",
    "ImageUsage",
    "Images",
    "InUseError",
    "Info",
    "InternalError",
    "InvalidArchiveError",
    "InvalidArgumentError",
    "InvalidDigestError",
    "InvalidImageError",
    "InvalidReferenceError",
    "InvalidStateError",
    "IoError",
    "Isolation",
    "LayerInfo",
    "LimitExceededError",
    "LimitInfo",
    "LogLines",
    "LogRecord",
    "LogStream",
    "MonitorLostError",
    "NameInUseError",
    "NamespaceInfo",
    "NetworkError",
    "PanicError",
    "PathChange",
    "PathNotFoundError",
    "PermissionDeniedError",
    "Problem",
    "Process",
    "Pruned",
    "RateLimitedError",
    "RegistryError",
    "Removed",
    "Report",
    "RunResult",
    "Scrub",
    "StorageFullError",
    "StoreVersionError",
    "TimeoutError",
    "UnauthorizedError",
    "UnsupportedError",
    "UserInfo",
    "UserNotFoundError",
    "Warning",
    "aio",
    "doctor",
    "version",
    "wait",
]


def __getattr__(name: str) -> object:
    if name in ("aio", "wait"):
        from importlib import import_module

        return import_module(f"coble.{name}")
    raise AttributeError(f"module 'coble' has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
