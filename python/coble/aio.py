"""The interface of coble for asyncio: the same names, awaitable. The calls run on threads; there is no second implementation.

    async with coble.aio.Engine() as engine:
        done = await engine.run("demo", ["echo", "hello"])

A task that is cancelled cancels its call in the engine, and ends when that has cleaned up.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial, wraps
from typing import IO, TYPE_CHECKING, Concatenate, Generic, ParamSpec, TypeVar

from . import _coble
from . import _process as _sync_process

if TYPE_CHECKING:
    from os import PathLike
    from types import TracebackType

    from ._coble import LogRecord, Report

__all__ = ["Container", "Containers", "Engine", "Image", "Images", "LogStream", "Process", "doctor"]

P = ParamSpec("P")
R = TypeVar("R")
W = TypeVar("W")
S = TypeVar("S")


async def _call(call: Callable[[], R]) -> R:
    """Runs a call on a thread of its own, under a token that a cancellation of the task cancels."""
    token = _coble.CancelToken()

    def under_token() -> R:
        with token:
            return call()

    # Not a pool that others fill: there a call could wait for the end of one that waits for it.
    with ThreadPoolExecutor(1, thread_name_prefix="coble-aio") as thread:
        future = asyncio.get_running_loop().run_in_executor(thread, under_token)
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            token.cancel()
            await asyncio.wait([future])
            if not future.cancelled():
                # Looked at, so that nobody complains that it was not.
                future.exception()
            raise


class _Over(Generic[S]):
    """Something that stands for an object of the interface without asyncio."""

    @property
    def _sync(self) -> S:
        raise NotImplementedError


class _Wrapper(_Over[S]):
    """Something that has its object from the beginning."""

    def __init__(self, sync: S) -> None:
        self._object = sync

    @property
    def _sync(self) -> S:
        return self._object

    def __repr__(self) -> str:
        return repr(self._sync).replace("<coble.", "<coble.aio.", 1)

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and bool(self._sync == getattr(other, "_sync", None))

    def __hash__(self) -> int:
        return hash(self._sync)


def _same(method: Callable[Concatenate[S, P], R]) -> Callable[Concatenate[_Over[S], P], Awaitable[R]]:
    """A method that is awaited, and otherwise the same."""

    @wraps(method)
    async def call(self: _Over[S], /, *args: P.args, **kwargs: P.kwargs) -> R:
        return await _call(partial(method, self._sync, *args, **kwargs))

    return call


def _wrapped(method: Callable[Concatenate[S, P], R], wrap: Callable[[R], W]) -> Callable[Concatenate[_Over[S], P], Awaitable[W]]:
    """A method that is awaited, and whose result has the interface of this module."""

    @wraps(method)
    async def call(self: _Over[S], /, *args: P.args, **kwargs: P.kwargs) -> W:
        return wrap(await _call(partial(method, self._sync, *args, **kwargs)))

    return call


class LogStream(_Wrapper[_coble.LogStream]):
    """A container's output, read piece by piece: an asynchronous iterator and context manager."""

    read = _same(_coble.LogStream.read)

    def __aiter__(self) -> LogStream:
        return self

    async def __anext__(self) -> LogRecord:
        record = await self.read()
        if record is None:
            raise StopAsyncIteration
        return record

    def close(self) -> None:
        """Closes the stream; iterating over it ends."""
        self._sync.close()

    @property
    def closed(self) -> bool:
        """Whether it is closed."""
        return self._sync.closed

    async def __aenter__(self) -> LogStream:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


class Process(_Wrapper[_sync_process.Process]):
    """A program started with `popen`. Its streams are real files; `communicate` reads and writes them."""

    poll = _same(_sync_process.Process.poll)
    wait = _same(_sync_process.Process.wait)
    communicate = _same(_sync_process.Process.communicate)
    send_signal = _same(_sync_process.Process.send_signal)
    kill = _same(_sync_process.Process.kill)
    terminate = _same(_sync_process.Process.terminate)

    @property
    def pid(self) -> int:
        """Its process id on the host."""
        return self._sync.pid

    @property
    def returncode(self) -> int | None:
        """The exit code, once it was seen."""
        return self._sync.returncode

    @property
    def stdin(self) -> IO[bytes] | None:
        """The write end of standard input."""
        return self._sync.stdin

    @property
    def stdout(self) -> IO[bytes] | None:
        """The read end of standard output."""
        return self._sync.stdout

    @property
    def stderr(self) -> IO[bytes] | None:
        """The read end of standard error."""
        return self._sync.stderr

    async def __aenter__(self) -> Process:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await _call(partial(self._sync.__exit__, kind, error, traceback))


class Container(_Wrapper[_coble.Container]):
    """A container. As an asynchronous context manager it stops and removes it at the end, whatever happened."""

    start = _same(_coble.Container.start)
    wait = _same(_coble.Container.wait)
    stop = _same(_coble.Container.stop)
    kill = _same(_coble.Container.kill)
    remove = _same(_coble.Container.remove)
    inspect = _same(_coble.Container.inspect)
    logs = _wrapped(_coble.Container.logs, LogStream)
    exec = _same(_coble.Container.exec)
    popen = _wrapped(_coble.Container.popen, Process)

    @property
    def id(self) -> str:
        """64 hexadecimal digits."""
        return self._sync.id

    @property
    def short_id(self) -> str:
        """The first twelve digits of the id."""
        return self._sync.short_id

    @property
    def name(self) -> str:
        """The name."""
        return self._sync.name

    @property
    def state(self) -> str:
        """Its state now. Asks the store, which takes well under a millisecond."""
        return self._sync.state

    async def __aenter__(self) -> Container:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await _call(partial(self._sync.__exit__, kind, error, traceback))


class Containers(_Wrapper[_coble.Containers]):
    """The containers of an engine."""

    create = _wrapped(_coble.Containers.create, Container)
    run = _wrapped(_coble.Containers.run, Container)
    get = _wrapped(_coble.Containers.get, Container)
    list = _same(_coble.Containers.list)


class Image(_Wrapper[_coble.Image]):
    """An image of the store, as it was when it was looked up."""

    inspect = _same(_coble.Image.inspect)
    history = _same(_coble.Image.history)
    tag = _same(_coble.Image.tag)
    remove = _same(_coble.Image.remove)

    @property
    def id(self) -> str:
        """Digest of the configuration: what docker calls the image id."""
        return self._sync.id

    @property
    def short_id(self) -> str:
        """The first twelve digits of the id."""
        return self._sync.short_id

    @property
    def digest(self) -> str:
        """Digest of the manifest."""
        return self._sync.digest

    @property
    def references(self) -> list[str]:
        """Canonical references that name it."""
        return self._sync.references

    @property
    def created(self) -> str | None:
        """When it was made, RFC 3339, as the image says."""
        return self._sync.created

    @property
    def size(self) -> int:
        """Bytes of its blobs."""
        return self._sync.size

    @property
    def architecture(self) -> str:
        """CPU architecture, such as `amd64`."""
        return self._sync.architecture

    @property
    def os(self) -> str:
        """Operating system, such as `linux`."""
        return self._sync.os

    @property
    def labels(self) -> dict[str, str]:
        """Labels."""
        return self._sync.labels


def _images(images: list[_coble.Image]) -> list[Image]:
    return [Image(image) for image in images]


class Images(_Wrapper[_coble.Images]):
    """The images of an engine."""

    load = _wrapped(_coble.Images.load, _images)
    import_rootfs = _wrapped(_coble.Images.import_rootfs, Image)
    from_host = _wrapped(_coble.Images.from_host, Image)
    list = _wrapped(_coble.Images.list, _images)
    get = _wrapped(_coble.Images.get, Image)
    inspect = _same(_coble.Images.inspect)
    history = _same(_coble.Images.history)
    tag = _same(_coble.Images.tag)
    untag = _same(_coble.Images.untag)
    remove = _same(_coble.Images.remove)


class Engine(_Over[_coble.Engine]):
    """A container engine in this process. Opened by `async with` or by `await engine.open()`."""

    def __init__(
        self,
        *,
        data_root: str | PathLike[str] | None = None,
        run_root: str | PathLike[str] | None = None,
        rootless: bool | None = None,
    ) -> None:
        self._options = partial(_coble.Engine, data_root=data_root, run_root=run_root, rootless=rootless)
        self._engine: _coble.Engine | None = None

    @property
    def _sync(self) -> _coble.Engine:
        if self._engine is None:
            raise _coble.ClosedError('the engine is not open: use "async with", or await open()')
        return self._engine

    async def open(self) -> Engine:
        """Opens the store, making it if it is not there. Opening it again does nothing."""
        if self._engine is None:
            self._engine = await _call(self._options)
        return self

    @property
    def images(self) -> Images:
        """The images of the store."""
        return Images(self._sync.images)

    @property
    def containers(self) -> Containers:
        """The containers of the store."""
        return Containers(self._sync.containers)

    async def close(self) -> None:
        """Closes the engine. Closing again does nothing."""
        if self._engine is not None:
            await _call(self._engine.close)

    async def __aenter__(self) -> Engine:
        return await self.open()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    def __repr__(self) -> str:
        return "<coble.aio.Engine>"

    run = _same(_coble.Engine.run)
    info = _same(_coble.Engine.info)
    doctor = _same(_coble.Engine.doctor)
    verify = _same(_coble.Engine.verify)


async def doctor(
    *,
    data_root: str | PathLike[str] | None = None,
    run_root: str | PathLike[str] | None = None,
    rootless: bool | None = None,
) -> Report:
    """Looks at the host, also when no engine can be opened."""
    return await _call(partial(_coble.doctor, data_root=data_root, run_root=run_root, rootless=rootless))
