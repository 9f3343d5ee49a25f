"""coble: an embeddable container engine. No daemon, no root needed, no external programs.

    import coble

    with coble.Engine() as engine:
        engine.images.from_host(["sh", "echo"], "demo")
        print(engine.run("demo", ["echo", "hello"]).stdout)

`Engine` is the entry. All errors are `CobleError` or a class below it. `coble.wait` has the ways to wait until a container is
ready, `coble.aio` the same names for asyncio.
"""

from ._coble import (
    DEVNULL,
    INHERIT,
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
    ContainerSummary,
    ContainerWarning,
    DatabaseError,
    DigestMismatchError,
    Engine,
    HistoryEntry,
    Image,
    ImageDetails,
    ImageNotFoundError,
    Images,
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
    LogRecord,
    LogStream,
    MonitorLostError,
    NameInUseError,
    NamespaceInfo,
    PanicError,
    PathNotFoundError,
    PermissionDeniedError,
    Removed,
    Report,
    RunResult,
    StorageFullError,
    StoreVersionError,
    TimeoutError,
    UnsupportedError,
    UserInfo,
    UserNotFoundError,
    __version__,
    doctor,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from . import aio, wait
    from ._process import Process

__all__ = [
    "DEVNULL",
    "INHERIT",
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
    "ContainerSummary",
    "ContainerWarning",
    "Containers",
    "DatabaseError",
    "DigestMismatchError",
    "Engine",
    "HistoryEntry",
    "Image",
    "ImageDetails",
    "ImageNotFoundError",
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
    "LogRecord",
    "LogStream",
    "MonitorLostError",
    "NameInUseError",
    "NamespaceInfo",
    "PanicError",
    "PathNotFoundError",
    "PermissionDeniedError",
    "Process",
    "Removed",
    "Report",
    "RunResult",
    "StorageFullError",
    "StoreVersionError",
    "TimeoutError",
    "UnsupportedError",
    "UserInfo",
    "UserNotFoundError",
    "__version__",
    "aio",
    "doctor",
    "wait",
]


def __getattr__(name: str) -> object:
    # What not every program needs is imported when it is first used, so that importing coble takes no longer than it has to.
    if name in ("aio", "wait"):
        import importlib

        return importlib.import_module(f"{__name__}.{name}")
    if name == "Process":
        from ._process import Process

        return Process
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
