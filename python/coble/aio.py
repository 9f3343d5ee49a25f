"""The same names for asyncio: what blocks in `coble` is awaited here.

    async with coble.aio.Engine() as engine:
        done = await engine.run("demo", ["echo", "hello"])
        async with engine.containers.run("demo", ["sleep", "60"]) as container:
            async for record in container.logs(follow=True):
                ...

There is one implementation: every call is the one of `coble`, on a thread of its own for as long as it takes. Cancelling a task that awaits a
call cancels the call, and the task goes on when the engine has cleaned up. The streams of a `Process` are those of asyncio,
`asyncio.StreamWriter` and `asyncio.StreamReader`.

Properties that are facts are properties here too; those that are looked up (`state`, `exit_code`, `references` ...) are awaited.
"""

from __future__ import annotations

import asyncio
import contextvars
import errno
import functools
import inspect
import threading
import types
from collections.abc import AsyncIterator, Awaitable, Callable, Generator
from types import TracebackType
from typing import Any

from . import _coble

__all__ = ["Container", "Containers", "Engine", "EventStream", "Image", "Images", "LogStream", "Opening", "Process", "ProgressStream", "Registry", "StatsStream", "Volume", "Volumes", "doctor"]

_Undo = Callable[[Any], object]


def _on_thread(function: Callable[[], Any]) -> asyncio.Future[Any]:
    """Starts a call on a thread of its own."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[Any] = loop.create_future()
    context = contextvars.copy_context()

    def finish(result: Any, error: BaseException | None) -> None:
        if error is None:
            future.set_result(result)
        else:
            future.set_exception(error)

    def work() -> None:
        result: Any = None
        error: BaseException | None = None
        try:
            result = context.run(function)
        except BaseException as caught:  # It is the awaiting task's, whatever it is.
            error = caught
        try:
            loop.call_soon_threadsafe(finish, result, error)
        except RuntimeError:
            pass  # The loop was closed, and nobody waits any more.

    threading.Thread(target=work, name="coble-aio").start()
    return future


async def _done(future: asyncio.Future[Any]) -> None:
    """Waits for the end of a call, also while the task is cancelled again."""
    while not future.done():
        try:
            await asyncio.wait([future])
        except asyncio.CancelledError:
            pass


async def _call(function: Callable[..., Any], *args: Any, undo: _Undo | None = None, **kwargs: Any) -> Any:
    """Awaits a call. If the task is cancelled, so is the call, and what it made all the same is undone."""
    token = _coble.CancelToken()

    def under_token() -> Any:
        with token:
            return function(*args, **kwargs)

    future = _on_thread(under_token)
    try:
        return await asyncio.shield(future)
    except asyncio.CancelledError:
        token.cancel()
        await _done(future)
        if future.exception() is None and undo is not None:
            result = future.result()
            undone = _on_thread(lambda: undo(result))
            await _done(undone)
            undone.exception()  # Looked at, so that nobody complains: the cancellation is what matters.
        raise


def _wrap(value: Any) -> Any:
    """The awaitable object of a plain one."""
    if isinstance(value, list):
        return [_wrap(item) for item in value]
    wrapper = _WRAPPERS.get(type(value))
    return value if wrapper is None else wrapper(value)


def _unwrap(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return [_unwrap(item) for item in value]
    return value._plain if isinstance(value, _Object) else value


def _unwrapped(options: dict[str, Any]) -> dict[str, Any]:
    return {name: _unwrap(value) for name, value in options.items()}


class _Object:
    """Something that stands for an object of `coble`."""

    __slots__ = ("_plain",)

    def __init__(self, plain: Any) -> None:
        self._plain = plain

    def _opened(self) -> Any:
        return self._plain

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and self._plain == other._plain

    def __hash__(self) -> int:
        return hash(self._plain)

    def __repr__(self) -> str:
        return repr(self._plain).replace("<coble.", "<coble.aio.", 1)


class Opening:
    """A call whose result is awaited, or used with `async with`, which ends as the object's own block."""

    __slots__ = ("_call", "_object")

    def __init__(self, call: Callable[[], Awaitable[Any]]) -> None:
        self._call = call
        self._object: Any = None

    def __await__(self) -> Generator[Any, None, Any]:
        return self._call().__await__()

    async def __aenter__(self) -> Any:
        self._object = await self._call()
        return await self._object.__aenter__()

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc_value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._object.__aexit__(exc_type, exc_value, traceback)


def _fact(name: str) -> Callable[[type, type], property]:
    def make(owner: type, plain: type) -> property:
        return property(lambda self: _wrap(getattr(self._plain, name)), doc=getattr(plain, name).__doc__)

    return make


def _looked_up(name: str) -> Callable[[type, type], property]:
    def make(owner: type, plain: type) -> property:
        async def look(self: Any) -> Any:
            return _wrap(await _call(getattr, self._plain, name))

        return property(look, doc=getattr(plain, name).__doc__)

    return make


def _same(function: Any, method: Any, owner: type, name: str) -> Any:
    """Makes a method look like the one that it awaits."""
    method.__name__, method.__qualname__, method.__doc__ = name, f"{owner.__name__}.{name}", function.__doc__
    method.__signature__ = inspect.signature(function)
    return method


def _method(name: str) -> Callable[[type, type], Any]:
    def make(owner: type, plain: type) -> Any:
        function = getattr(plain, name)

        async def method(self: Any, *args: Any, **kwargs: Any) -> Any:
            return _wrap(await _call(function, self._opened(), *map(_unwrap, args), **_unwrapped(kwargs)))

        return _same(function, method, owner, name)

    return make


def _opening(name: str, undo: _Undo) -> Callable[[type, type], Any]:
    def make(owner: type, plain: type) -> Any:
        function = getattr(plain, name)

        def method(self: Any, *args: Any, **kwargs: Any) -> Opening:
            async def call() -> Any:
                made = _wrap(await _call(function, self._opened(), *map(_unwrap, args), undo=undo, **_unwrapped(kwargs)))
                if isinstance(made, Process):
                    try:
                        await made._connect()
                    except BaseException:
                        made._disconnect()
                        await _done(_on_thread(lambda: undo(made._plain)))
                        raise
                return made

            return Opening(call)

        return _same(function, method, owner, name)

    return make


def _like(
    plain: type, *, facts: str = "", looked_up: str = "", methods: str = "", openings: dict[str, _Undo] | None = None
) -> Callable[[type], type]:
    """Gives a class the members of the plain one."""

    def decorate(owner: type) -> type:
        owner.__doc__ = plain.__doc__
        made: dict[str, Callable[[type, type], Any]] = {}
        made.update((name, _fact(name)) for name in facts.split())
        made.update((name, _looked_up(name)) for name in looked_up.split())
        made.update((name, _method(name)) for name in methods.split())
        made.update((name, _opening(name, undo)) for name, undo in (openings or {}).items())
        for name, make in made.items():
            setattr(owner, name, make(owner, plain))
        return owner

    return decorate


def _leave(process: _coble.Process) -> None:
    """Closes what somebody was connected with; the program goes on."""
    process.__exit__(None, None, None)


def _discard(container: _coble.Container) -> None:
    container.__exit__(None, None, None)


def _remove(volume: _coble.Volume) -> None:
    """Removes a clone that nobody waits for any more."""
    volume.remove(force=True)


def _leave_volume(volume: _coble.Volume) -> None:
    """It may have been there before, and be somebody else's."""


class _Block(_Object):
    """Something whose block ends as the plain one's does."""

    __slots__ = ()

    async def __aenter__(self) -> Any:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc_value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await _call(self._plain.__exit__, exc_type, exc_value, traceback)


class _ReaderProtocol(asyncio.StreamReaderProtocol):
    """Of an output. The end of a terminal is an error for the kernel, and an end here."""

    def connection_lost(self, exc: BaseException | None) -> None:
        super().connection_lost(None if isinstance(exc, OSError) and exc.errno == errno.EIO else exc)  # type: ignore[arg-type]


class _Piped(_Block):
    """Something whose streams the loop has."""

    __slots__ = ("_collecting", "_loop", "_stderr", "_stdin", "_stdout", "_transports")

    def __init__(self, plain: Any) -> None:
        super().__init__(plain)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stdin: asyncio.StreamWriter | None = None
        self._stdout: asyncio.StreamReader | None = None
        self._stderr: asyncio.StreamReader | None = None
        self._transports: list[asyncio.BaseTransport] = []
        self._collecting: asyncio.Future[Any] | None = None

    async def _connect(self) -> None:
        """Gives the pipes to the loop."""
        self._loop = loop = asyncio.get_running_loop()
        plain = self._plain
        if plain.stdin is not None:
            # What it reads is nothing: it is there to tell of room, and of the end.
            protocol = asyncio.StreamReaderProtocol(asyncio.StreamReader(loop=loop), loop=loop)
            transport, _ = await loop.connect_write_pipe(lambda: protocol, plain.stdin)
            self._transports.append(transport)
            self._stdin = asyncio.StreamWriter(transport, protocol, None, loop)
        self._stdout = await self._read(plain.stdout)
        self._stderr = await self._read(plain.stderr)

    async def _read(self, file: Any) -> asyncio.StreamReader | None:
        if file is None:
            return None
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader(loop=loop)
        transport, _ = await loop.connect_read_pipe(lambda: _ReaderProtocol(reader, loop=loop), file)
        self._transports.append(transport)
        return reader

    def _disconnect(self) -> None:
        if self._collecting is not None:
            self._collecting.cancel()
        while self._transports:
            transport = self._transports.pop()
            if not isinstance(transport, asyncio.WriteTransport):
                transport.close()
            elif not transport.is_closing() or transport.get_write_buffer_size() > 0:
                transport.abort()

    def __del__(self) -> None:
        loop = getattr(self, "_loop", None)
        if loop is not None and not loop.is_closed():
            for transport in self._transports:
                try:
                    loop.call_soon_threadsafe(transport.close)
                except RuntimeError:
                    pass  # The loop was closed just now, and the files with it.


@_like(_coble.Process, facts="args pid returncode warnings", methods="poll wait send_signal resize terminate kill")
class Process(_Piped):
    __slots__ = ()

    @property
    def stdin(self) -> asyncio.StreamWriter | None:
        """Where its input is written to; None if it is not a pipe, nor a terminal."""
        return self._stdin

    @property
    def stdout(self) -> asyncio.StreamReader | None:
        """Its standard output; None if it is not a pipe, nor a terminal."""
        return self._stdout

    @property
    def stderr(self) -> asyncio.StreamReader | None:
        """Its standard error; None if it is not a pipe."""
        return self._stderr

    async def communicate(self, input: Any = None, timeout: float | None = None) -> tuple[bytes | None, bytes | None]:
        """Sends input, closes stdin, collects the outputs that are pipes until their end, and waits. Can be cancelled.

        After a `TimeoutError` it can be called again, without input; nothing is lost.
        """
        if self._collecting is None:
            if input is not None and self._stdin is None:
                raise _coble.InvalidArgumentError("input was given, but stdin is not a pipe")
            data = input.encode() if isinstance(input, str) else bytes(input or b"")
            self._collecting = asyncio.ensure_future(self._exchange(data))
        elif input is not None:
            raise _coble.InvalidArgumentError("input was already given to the communicate that was not finished")
        begin = asyncio.get_running_loop().time()
        done, _ = await asyncio.wait([self._collecting], timeout=timeout)
        if not done:
            raise _coble.TimeoutError("the program did not end in time")
        outputs: tuple[bytes | None, bytes | None] = self._collecting.result()
        left = None if timeout is None else max(0.0, timeout - (asyncio.get_running_loop().time() - begin))
        await _call(self._plain.wait, left)
        self._disconnect()
        return outputs

    async def _exchange(self, data: bytes) -> tuple[bytes | None, bytes | None]:
        async def feed() -> None:
            if self._stdin is None:
                return
            try:
                self._stdin.write(data)
                await self._stdin.drain()
            except (BrokenPipeError, ConnectionResetError):
                pass  # It does not want more.
            self._stdin.close()

        async def collect(stream: asyncio.StreamReader | None) -> bytes | None:
            return None if stream is None else await stream.read()

        _, out, err = await asyncio.gather(feed(), collect(self._stdout), collect(self._stderr))
        return out, err

    async def detach(self) -> None:
        self._disconnect()
        await asyncio.sleep(0)
        await _call(self._plain.detach)

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc_value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._stdin is not None and exc_type is None:
            # It may be writing to these what nobody reads, and so read nothing.
            for transport in self._transports:
                if not isinstance(transport, asyncio.WriteTransport):
                    transport.close()
            try:
                self._stdin.close()
                await self._stdin.wait_closed()
            except OSError:
                pass  # It has not read all of it.
        self._disconnect()
        # The loop closes what it was given in its next turn.
        await asyncio.sleep(0)
        await super().__aexit__(exc_type, exc_value, traceback)


_same(_coble.Process.detach, Process.detach, Process, "detach")


@_like(
    _coble.Container,
    facts="id short_id name",
    looked_up="image image_id command created labels lifetime state size_rw health exit_code",
    methods="start stop kill pause unpause restart rename update wait wait_for remove inspect inspect_docker top log_attributes stats exec export get_archive put_archive copy_to copy_from read_file write_file list_files diff commit resize",
    openings={"popen": _coble.Process.kill, "attach": _leave, "start_attached": _leave, "snapshot": _discard},
)
class Container(_Block):
    __slots__ = ()

    def logs(self, **options: Any) -> LogStream:
        return LogStream(lambda: self._plain.logs(**options))


_same(_coble.Container.logs, Container.logs, Container, "logs")


@_like(
    _coble.Containers,
    methods="list prune get",
    openings={"create": _discard, "run": _discard},
)
class Containers(_Object):
    __slots__ = ()


@_like(
    _coble.Image,
    facts="id short_id digest created size architecture os variant os_version os_features labels warnings",
    looked_up="references repo_digests",
    methods="inspect inspect_docker history tag remove",
)
class Image(_Object):
    __slots__ = ()


def _stop(made: Any) -> None:
    """Ends a transfer that nobody waits for any more; an image that was pulled stays."""
    if isinstance(made, _coble.ProgressStream):
        made.close()


@_like(
    _coble.Images,
    methods="plan search lock load import_rootfs from_host list get inspect inspect_docker history tag untag remove save diff mount prune",
    openings={"pull": _stop, "push": _stop, "copy": _stop},
)
class Images(_Object):
    __slots__ = ()


@_like(
    _coble.Volume,
    facts="name driver mountpoint created labels anonymous source",
    methods="inspect inspect_docker remove export import_archive",
    openings={"clone": _remove},
)
class Volume(_Block):
    __slots__ = ()


@_like(
    _coble.Volumes,
    methods="get list inspect remove prune",
    openings={"create": _leave_volume, "clone": _remove},
)
class Volumes(_Object):
    __slots__ = ()


@_like(_coble.Registry, methods="login logout tags catalog inspect delete referrers")
class Registry(_Object):
    __slots__ = ()


@_like(_coble.Engine, methods="run info doctor verify disk_usage scrub")
class Engine(_Block):
    __slots__ = ("_options",)

    def __init__(
        self,
        data_root: Any = None,
        run_root: Any = None,
        rootless: bool | None = None,
        lock_file: Any = None,
        offline: bool | None = None,
        connections: int | None = None,
        connections_per_host: int | None = None,
        *,
        connect_timeout: float | None = None,
        idle_timeout: float | None = None,
        mirrors: Any = None,
        registries_conf: Any = None,
        hosts_dir: Any = None,
        credential_provider: Any = None,
    ) -> None:
        super().__init__(None)
        reach = {
            "connect_timeout": connect_timeout, "idle_timeout": idle_timeout, "mirrors": mirrors,
            "registries_conf": registries_conf, "hosts_dir": hosts_dir, "credential_provider": credential_provider,
        }
        options = (data_root, run_root, rootless, lock_file, offline, connections, connections_per_host)
        self._options = functools.partial(_coble.Engine, *options, **reach)

    async def _open(self) -> Engine:
        if self._plain is None:
            self._plain = await _call(self._options, undo=_coble.Engine.close)
        return self

    def __await__(self) -> Generator[Any, None, Engine]:
        return self._open().__await__()

    async def __aenter__(self) -> Engine:
        return await self._open()

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc_value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        if self._plain is not None:
            await _call(self._plain.close)

    def _opened(self) -> Any:
        if self._plain is None:
            raise _coble.InvalidStateError("the engine is not open: await it, or use it with async with")
        return self._plain

    def events(self, **options: Any) -> EventStream:
        return EventStream(lambda: self._opened().events(**options))

    @property
    def images(self) -> Images:
        return Images(self._opened().images)

    @property
    def registry(self) -> Registry:
        return Registry(self._opened().registry)

    @property
    def containers(self) -> Containers:
        return Containers(self._opened().containers)

    @property
    def volumes(self) -> Volumes:
        return Volumes(self._opened().volumes)


class LogStream:
    """A container's output: an asynchronous iterator of records, and an asynchronous context manager. It is opened when it is first used, or
    awaited."""

    def __init__(self, open_it: Callable[[], _coble.LogStream]) -> None:
        self._open_it = open_it
        self._plain: _coble.LogStream | None = None
        self._closed = False

    async def _stream(self) -> _coble.LogStream:
        if self._plain is None:
            self._plain = await _call(self._open_it)
        return self._plain

    async def _opened(self) -> LogStream:
        await self._stream()
        return self

    def __await__(self) -> Generator[Any, None, LogStream]:
        return self._opened().__await__()

    async def __aenter__(self) -> LogStream:
        return await self._opened()

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc_value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    def __aiter__(self) -> LogStream:
        return self

    async def __anext__(self) -> _coble.LogRecord:
        record = await self.next()
        if record is None:
            raise StopAsyncIteration
        return record

    async def next(self, timeout: float | None = None) -> _coble.LogRecord | None:
        """The next record; None at the end. Raises `TimeoutError`."""
        if self._closed:
            return None
        stream = await self._stream()
        ahead = stream._ahead()
        if ahead is not None:
            return ahead
        record: _coble.LogRecord | None = await _call(stream.next, timeout)
        return record

    async def read(self) -> bytes:
        """All the bytes until the end."""
        if self._closed:
            return b""
        data: bytes = await _call((await self._stream()).read)
        return data

    async def lines(self, *, text: bool = False, encoding: str | None = None, errors: str | None = None) -> AsyncIterator[Any]:
        """The whole lines, without their ends. The streams are put together separately. `text`, `encoding` and `errors` are as for `Engine.run`."""
        if self._closed:
            return
        options: dict[str, Any] = {"text": text, "encoding": encoding, "errors": errors}
        lines: Any = (await self._stream()).lines(**options)
        while True:
            line = lines._ahead()
            if line is None:
                line = await _call(next, lines, None)
            if line is None:
                return
            yield line

    async def close(self) -> None:
        """Ends the stream, also for a task that waits in it."""
        self._closed = True
        if self._plain is not None:
            await _call(self._plain.close)

    @property
    def closed(self) -> bool:
        """Whether it was closed."""
        return self._closed


class EventStream:
    """What happens to containers and images: an asynchronous iterator of events, and an asynchronous context manager. It is opened when it is first
    used, or awaited."""

    def __init__(self, open_it: Callable[[], _coble.EventStream]) -> None:
        self._open_it = open_it
        self._plain: _coble.EventStream | None = None
        self._closed = False

    async def _stream(self) -> _coble.EventStream:
        if self._plain is None:
            self._plain = await _call(self._open_it, undo=_coble.EventStream.close)
        return self._plain

    async def _opened(self) -> EventStream:
        await self._stream()
        return self

    def __await__(self) -> Generator[Any, None, EventStream]:
        return self._opened().__await__()

    async def __aenter__(self) -> EventStream:
        return await self._opened()

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc_value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    def __aiter__(self) -> EventStream:
        return self

    async def __anext__(self) -> _coble.Event:
        event = await self.next()
        if event is None:
            raise StopAsyncIteration
        return event

    async def next(self, timeout: float | None = None) -> _coble.Event | None:
        """The next event; None at the end. Raises `TimeoutError`."""
        if self._closed:
            return None
        stream = await self._stream()
        event: _coble.Event | None = await _call(stream.next, timeout)
        return event

    async def close(self) -> None:
        """Ends the stream, also for a task that waits in it."""
        self._closed = True
        if self._plain is not None:
            await _call(self._plain.close)

    @property
    def closed(self) -> bool:
        """Whether it was closed."""
        return self._closed


@_like(_coble.ProgressStream, facts="closed", methods="next result close")
class ProgressStream(_Block):
    __slots__ = ()
    __class_getitem__ = classmethod(types.GenericAlias)

    def __aiter__(self) -> ProgressStream:
        return self

    async def __anext__(self) -> _coble.Progress:
        event: _coble.Progress | None = await _call(self._plain.next)
        if event is None:
            raise StopAsyncIteration
        return event


@_like(_coble.StatsStream, facts="closed", methods="next close")
class StatsStream(_Block):
    __slots__ = ()

    def __aiter__(self) -> StatsStream:
        return self

    async def __anext__(self) -> _coble.Stats:
        stats: _coble.Stats | None = await _call(self._plain.next)
        if stats is None:
            raise StopAsyncIteration
        return stats


async def doctor(*, data_root: Any = None, run_root: Any = None, rootless: bool | None = None) -> _coble.Report:
    """Looks at what the host has and lacks, as `coble.doctor`."""
    report: _coble.Report = await _call(_coble.doctor, data_root=data_root, run_root=run_root, rootless=rootless)
    return report


_same(_coble.Engine.close, Engine.close, Engine, "close")
_same(_coble.Engine.events, Engine.events, Engine, "events")

_WRAPPERS: dict[type, Callable[[Any], Any]] = {
    _coble.Container: Container,
    _coble.Process: Process,
    _coble.Image: Image,
    _coble.ProgressStream: ProgressStream,
    _coble.StatsStream: StatsStream,
    _coble.Volume: Volume,
}
