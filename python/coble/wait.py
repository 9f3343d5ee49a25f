"""What a container can be waited for, after its start: `containers.run(..., wait=coble.wait.log("ready"))`, or
`container.wait_for(...)`.

Strategies compose with `all_of` and `any_of`. A wait ends at once, with `ContainerExitError`, when the container ends before it is ready,
and with `TimeoutError` when the time is over; both carry the end of the log as a note. Own strategies are objects with a method
`begin(container)` that returns a `Waiter`.
"""

from __future__ import annotations

import os
import re
import sys
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

from ._coble import (
    DEVNULL,
    CobleError,
    Container,
    ContainerExitError,
    InvalidStateError,
    MonitorLostError,
    PermissionDeniedError,
    Process,
    TimeoutError,
    _pause,
)

__all__ = ["Strategy", "Waiter", "all_of", "any_of", "exec", "file", "healthy", "http", "log", "port", "until"]

#: How often, in seconds, a wait looks whether the container still runs.
_SLICE = 0.1
#: How often, in seconds, something is looked at that tells nobody when it changes.
_INTERVAL = 0.05
#: How much of the end of a log an error shows.
_SHOWN_LINES = 20
#: The states of a container that may still become ready.
_ALIVE = ("running", "paused", "restarting")
#: How much output before the newest `log` searches again, for a match that began there.
_WINDOW = 1 << 14


class Waiter(Protocol):
    """One wait for one container."""

    def ready(self, seconds: float) -> bool:
        """Whether the container is ready. May take up to `seconds` to find out, but returns early when it cannot become ready any more."""

    def close(self) -> None:
        """Lets go of everything. Called once, in any case."""


class Strategy(Protocol):
    """Something to wait for. It may be used for many containers, also at once."""

    def begin(self, container: Container) -> Waiter:
        """Begins to wait for a running container."""


def until(container: Container, strategy: Strategy, timeout: float = 60.0) -> None:
    """Waits until a container is ready, at most `timeout` seconds.

    Raises `ContainerExitError` (with `exit_code`, and the end of the log in `stdout` and `stderr`) if the container ends first, and
    `TimeoutError` if the time is over.
    """
    deadline = time.monotonic() + timeout
    waiter = strategy.begin(container)
    try:
        while True:
            _pause(0)  # Nothing else in here need be a call that can be cancelled.
            # Looked at first: what was there when the container ended still counts.
            ended = container.state not in _ALIVE
            left = max(0.0, deadline - time.monotonic())
            if waiter.ready(left if ended else min(left, _SLICE)):
                return
            if ended:
                raise _ended(container, strategy)
            if time.monotonic() >= deadline:
                message = f'container "{container.name}" was not ready within {timeout:g} s: waited for {strategy!r}'
                raise _with_log(TimeoutError(message), container)
    finally:
        waiter.close()


def _ended(container: Container, strategy: Strategy) -> CobleError:
    code = container.exit_code
    message = f'container "{container.name}" ended with exit code {code} before it was ready: waited for {strategy!r}'
    error = ContainerExitError(message)
    error.exit_code = -1 if code is None else code
    error.stdout = _tail(container, stderr=False)
    error.stderr = _tail(container, stdout=False)
    error.result = None
    error.timings = {}
    return _with_log(error, container)


def _tail(container: Container, *, stdout: bool = True, stderr: bool = True) -> bytes:
    with container.logs(tail=_SHOWN_LINES, stdout=stdout, stderr=stderr) as stream:
        return stream.read()


def _with_log(error: CobleError, container: Container) -> CobleError:
    error.object = container.name
    if sys.version_info >= (3, 11):
        try:
            text = _tail(container).decode("utf-8", "backslashreplace").rstrip()
        except CobleError:
            return error  # The error itself matters more than its decoration.
        error.add_note(f"the end of its log:\n{text}" if text else "its log is empty")
    return error


class _Log:
    def __init__(self, pattern: re.Pattern[bytes], times: int, stdout: bool, stderr: bool) -> None:
        self.pattern, self.times, self.stdout, self.stderr = pattern, times, stdout, stderr

    def begin(self, container: Container) -> Waiter:
        return _LogWaiter(self, container)

    def __repr__(self) -> str:
        return f"log({self.pattern.pattern!r})" if self.times == 1 else f"log({self.pattern.pattern!r}, times={self.times})"


class _Searched:
    """The output of one stream, as far as a match may still begin in it."""

    def __init__(self) -> None:
        self.text = bytearray()
        self.position = 0


class _LogWaiter:
    def __init__(self, strategy: _Log, container: Container) -> None:
        self.strategy = strategy
        self.stream = container.logs(follow=True, stdout=strategy.stdout, stderr=strategy.stderr)
        self.searched = {"stdout": _Searched(), "stderr": _Searched()}
        self.found = 0

    def ready(self, seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while self.found < self.strategy.times:
            try:
                record = self.stream.next(timeout=max(0.0, deadline - time.monotonic()))
            except TimeoutError:
                return False
            if record is None:
                return False
            self.search(self.searched[record.stream], record.data)
        return True

    def search(self, searched: _Searched, data: bytes) -> None:
        searched.text += data
        while self.found < self.strategy.times:
            match = self.strategy.pattern.search(searched.text, searched.position)
            if match is None:
                break
            self.found += 1
            # An empty match must not be found for ever.
            searched.position = max(match.end(), match.start() + 1)
        # Whole lines go, so that `^` still means the start of one.
        keep = searched.text.rfind(b"\n", 0, max(0, len(searched.text) - _WINDOW)) + 1
        del searched.text[:keep]
        searched.position = max(0, searched.position - keep)

    def close(self) -> None:
        self.stream.close()


def log(pattern: str | bytes | re.Pattern[str] | re.Pattern[bytes], *, times: int = 1, stdout: bool = True, stderr: bool = True) -> Strategy:
    """Until a regular expression has matched the container's output `times` times.

    Standard output and standard error are searched separately, from the start of the container. `^` and `$` match at every line; a line may
    match before it is complete. A text pattern is encoded as UTF-8.
    """
    compiled = pattern if isinstance(pattern, re.Pattern) else re.compile(pattern)
    source = compiled.pattern
    # A pattern of bytes has no UNICODE.
    flags = compiled.flags & ~re.UNICODE.value | re.MULTILINE.value
    if times < 1:
        raise ValueError("times is at least 1")
    return _Log(re.compile(source.encode() if isinstance(source, str) else source, flags), times, stdout, stderr)


class _File:
    def __init__(self, path: str) -> None:
        self.path = path

    def begin(self, container: Container) -> Waiter:
        return _FileWaiter(self.path, container)

    def __repr__(self) -> str:
        return f"file({self.path!r})"


class _FileWaiter:
    def __init__(self, path: str, container: Container) -> None:
        self.path, self.container = path, container

    def ready(self, seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while not self.container._has_path(self.path):
            left = deadline - time.monotonic()
            if left <= 0 or self.container.state not in _ALIVE:
                return False
            _pause(min(left, _INTERVAL))
        return True

    def close(self) -> None:
        pass


def file(path: str) -> Strategy:
    """Until a path is there in the container: a file, a directory, a socket. Runs nothing in the container."""
    if not path.startswith("/"):
        raise ValueError(f"not an absolute path: {path!r}")
    return _File(path)


class _Exec:
    def __init__(self, command: Sequence[str], exit_code: int, interval: float, environment: dict[str, str] | None, user: str | int | None) -> None:
        self.command, self.exit_code, self.interval = command, exit_code, interval
        self.environment, self.user = environment, user

    def begin(self, container: Container) -> Waiter:
        return _ExecWaiter(self, container)

    def __repr__(self) -> str:
        return f"exec({self.command!r})"


class _ExecWaiter:
    def __init__(self, strategy: _Exec, container: Container) -> None:
        self.strategy, self.container = strategy, container
        self.process: Process | None = None
        self.next = 0.0

    def ready(self, seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while True:
            if self.process is None:
                pause = self.next - time.monotonic()
                if pause > deadline - time.monotonic():
                    _pause(max(0.0, deadline - time.monotonic()))
                    return False
                _pause(max(0.0, pause))
            try:
                code = self.run(max(0.0, deadline - time.monotonic()))
            except TimeoutError:
                return False
            except (InvalidStateError, MonitorLostError):
                code = None  # The container has ended, or is about to, or is paused.
            self.process, self.next = None, time.monotonic() + self.strategy.interval
            if code == self.strategy.exit_code:
                return True
            if self.container.state not in _ALIVE:
                return False

    def run(self, seconds: float) -> int:
        strategy = self.strategy
        if self.process is None:
            self.process = self.container.popen(
                strategy.command,
                environment=strategy.environment,
                user=strategy.user,
                stdin=DEVNULL,
                stdout=DEVNULL,
                stderr=DEVNULL,
            )
        return self.process.wait(timeout=seconds)

    def close(self) -> None:
        if self.process is not None:
            try:
                self.process.kill()
            except MonitorLostError:
                pass  # It went with its container.


def exec(  # noqa: A001 - the name is the container's
    command: str | Sequence[str],
    *,
    exit_code: int = 0,
    interval: float = 0.1,
    environment: dict[str, str] | None = None,
    user: str | int | None = None,
) -> Strategy:
    """Until a program, run in the container again and again, ends with `exit_code`.

    Its output is thrown away. `interval` is the pause after a failure, in seconds. A program that the image does not have fails at once, with
    `CommandNotFoundError`.
    """
    return _Exec(command, exit_code, interval, environment, user)


class _Looks:
    """A wait that looks again and again."""

    def __init__(self, container: Container) -> None:
        self.container = container

    def look(self, seconds: float) -> bool:
        raise NotImplementedError

    def ready(self, seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while not self.look(max(_INTERVAL, deadline - time.monotonic())):
            left = deadline - time.monotonic()
            if left <= 0 or self.container.state in ("created", "exited"):
                return False
            _pause(min(left, _INTERVAL))
        return True

    def close(self) -> None:
        pass


class _Port:
    def __init__(self, number: int) -> None:
        self.number = number

    def begin(self, container: Container) -> Waiter:
        return _PortWaiter(container, self.number)

    def __repr__(self) -> str:
        return f"port({self.number})"


class _PortWaiter(_Looks):
    def __init__(self, container: Container, number: int) -> None:
        super().__init__(container)
        self.number = number

    def look(self, seconds: float) -> bool:
        details = self.container.inspect()
        pid = details.pid
        if pid is None:
            return False
        sockets = {inode for table in ("tcp", "tcp6") for inode in _listening(f"/proc/{pid}/net/{table}", self.number)}
        # The table is that of a network, which others may share.
        return bool(sockets) and (details.spec.network == "none" or self.holds(pid, {f"socket:[{inode}]" for inode in sockets}))

    def holds(self, pid: int, sockets: set[str]) -> bool:
        """Whether a process of the container has one of the sockets."""
        hidden = False
        for process in _with_siblings(pid):
            try:
                if not sockets.isdisjoint(_opened(process)):
                    return True
            except PermissionError:
                hidden = True
            except OSError:
                pass  # It has ended.
        if hidden:
            message = f'container "{self.container.name}" shares its network, and whose port {self.number} is cannot be told: its processes are of another user'
            error = PermissionDeniedError(message)
            error.object, error.hint = self.container.name, "wait for what the program says or does: log, http, exec, file"
            if sys.version_info >= (3, 11):
                error.add_note(f"hint: {error.hint}")
            raise error
        return False


def _listening(path: str, number: int) -> Iterator[str]:
    """The inodes of the sockets that listen on a port, by a table of the kernel: `sl local_address rem_address st ... uid timeout inode`, where 0A is LISTEN."""
    try:
        with open(path) as table:
            next(table, None)
            for fields in map(str.split, table):
                if fields[3] == "0A" and int(fields[1].rpartition(":")[2], 16) == number:
                    yield fields[9]
    except OSError:
        return  # It has ended, or is about to.


def _opened(process: int) -> Iterator[str]:
    """What a process has open, as the kernel names it."""
    directory = f"/proc/{process}/fd"
    for name in os.listdir(directory):
        try:
            yield os.readlink(f"{directory}/{name}")
        except FileNotFoundError:
            pass  # Closed in the meantime.


def _with_siblings(pid: int) -> Iterator[int]:
    """A container's processes: its first one, and all others below their common parent, which is the container's monitor."""
    yield pid
    children: dict[int, list[int]] = {}
    monitor = 0
    for name in filter(str.isdecimal, os.listdir("/proc")):
        try:
            with open(f"/proc/{name}/stat", "rb") as file:
                parent = int(file.read().rpartition(b")")[2].split()[1])
        except (OSError, IndexError):
            continue  # It has ended.
        children.setdefault(parent, []).append(int(name))
        if int(name) == pid:
            monitor = parent
    # Taken out, so that numbers that change hands meanwhile lead to no circle. Zero is the parent of those that are none of ours.
    left = children.pop(monitor, []) if monitor > 0 else children.pop(pid, [])
    while left:
        process = left.pop()
        if process != pid:
            yield process
        left += children.pop(process, [])


def port(number: int) -> Strategy:
    """Until a program of the container listens on a TCP port, whatever its address. Nothing is run in the container, and nobody connects to it.

    Where the network is shared, with the host or with another container, somebody else's port does not count: the descriptors of the container's processes are looked at, and
    `PermissionDeniedError` is raised if the port is taken and they cannot be read, as those of another user.
    """
    if not 0 < number < 65536:
        raise ValueError(f"not a port: {number}")
    return _Port(number)


class _Http:
    def __init__(self, number: int, path: str, status: int | None, headers: Mapping[str, str] | None) -> None:
        self.number, self.path, self.status, self.headers = number, path, status, dict(headers or {})

    def begin(self, container: Container) -> Waiter:
        if container.inspect().spec.network != "host":
            raise InvalidStateError(f'container "{container.name}" has no network that can be reached from here')
        return _HttpWaiter(container, self)

    def __repr__(self) -> str:
        return f"http({self.number}, {self.path!r})"


class _HttpWaiter(_Looks):
    def __init__(self, container: Container, strategy: _Http) -> None:
        super().__init__(container)
        self.strategy = strategy

    def look(self, seconds: float) -> bool:
        import http.client  # Nothing of it is needed otherwise.

        strategy = self.strategy
        connection = http.client.HTTPConnection("127.0.0.1", strategy.number, timeout=min(seconds, 5.0))
        try:
            connection.request("GET", strategy.path, headers=strategy.headers)
            status = connection.getresponse().status
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()
        return 200 <= status < 400 if strategy.status is None else status == strategy.status


def http(number: int, path: str = "/", *, status: int | None = None, headers: Mapping[str, str] | None = None) -> Strategy:
    """Until a `GET` of a path, on a TCP port of the container, is answered with `status` (default: any of 200 to 399).

    The container has to be on the network of the host: one that has no network cannot be reached.
    """
    if not 0 < number < 65536:
        raise ValueError(f"not a port: {number}")
    if not path.startswith("/"):
        raise ValueError(f"not an absolute path: {path!r}")
    return _Http(number, path, status, headers)


class _Healthy:
    def begin(self, container: Container) -> Waiter:
        if container.health is None:
            raise InvalidStateError(f'container "{container.name}" has no health checks')
        return _HealthyWaiter(container)

    def __repr__(self) -> str:
        return "healthy()"


class _HealthyWaiter:
    def __init__(self, container: Container) -> None:
        self.container = container

    def ready(self, seconds: float) -> bool:
        try:
            self.container.wait(seconds, condition="healthy")
        except TimeoutError:
            return False
        except InvalidStateError:
            return False  # The container has ended, or is about to.
        return True

    def close(self) -> None:
        pass


def healthy() -> Strategy:
    """Until the container's health checks, those of the image or of `healthcheck`, say that it is healthy. Raises `InvalidStateError` if it has none."""
    return _Healthy()


class _All:
    def __init__(self, strategies: Sequence[Strategy]) -> None:
        self.strategies = strategies

    def begin(self, container: Container) -> Waiter:
        return _AllWaiter(_begin(self.strategies, container))

    def __repr__(self) -> str:
        return f"all_of({', '.join(map(repr, self.strategies))})"


class _AllWaiter:
    def __init__(self, waiters: list[Waiter]) -> None:
        self.waiters, self.left = waiters, deque(waiters)

    def ready(self, seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while self.left:
            if not self.left[0].ready(max(0.0, deadline - time.monotonic())):
                return False
            self.left.popleft()
        return True

    def close(self) -> None:
        _close(self.waiters)


def all_of(*strategies: Strategy) -> Strategy:
    """Until each of the strategies was satisfied once. None at all are satisfied at once."""
    return _All(strategies)


class _Any:
    def __init__(self, strategies: Sequence[Strategy]) -> None:
        self.strategies = strategies

    def begin(self, container: Container) -> Waiter:
        return _AnyWaiter(_begin(self.strategies, container))

    def __repr__(self) -> str:
        return f"any_of({', '.join(map(repr, self.strategies))})"


class _AnyWaiter:
    def __init__(self, waiters: list[Waiter]) -> None:
        self.waiters = waiters

    def ready(self, seconds: float) -> bool:
        # Each gets a turn, and at least one, so that what is ready is seen.
        deadline = time.monotonic() + seconds
        share = min(_SLICE, seconds) / len(self.waiters)
        while True:
            begin = time.monotonic()
            if any(waiter.ready(min(share, max(0.0, deadline - time.monotonic()))) for waiter in self.waiters):
                return True
            now = time.monotonic()
            # A turn that took no time means that nobody has anything to wait for.
            if now >= deadline or now - begin < share / 2:
                return False

    def close(self) -> None:
        _close(self.waiters)


def any_of(*strategies: Strategy) -> Strategy:
    """Until one of the strategies is satisfied."""
    if not strategies:
        raise ValueError("any_of needs a strategy")
    return _Any(strategies)


def _begin(strategies: Sequence[Strategy], container: Container) -> list[Waiter]:
    waiters: list[Waiter] = []
    try:
        for strategy in strategies:
            waiters.append(strategy.begin(container))
    except BaseException:
        _close(waiters)
        raise
    return waiters


def _close(waiters: Sequence[Waiter]) -> None:
    for waiter in waiters:
        waiter.close()
