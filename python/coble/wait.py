"""What a container can be waited for, after its start: `containers.run(..., wait=coble.wait.log("ready"))`, or
`container.wait_for(...)`.

Strategies compose with `all_of` and `any_of`. A wait ends at once, with `ContainerExitError`, when the container ends before it is ready,
and with `TimeoutError` when the time is over; both carry the end of the log as a note. Own strategies are objects with a method
`begin(container)` that returns a `Waiter`.
"""

from __future__ import annotations

import re
import sys
import time
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Protocol

from ._coble import (
    CobleError,
    Container,
    ContainerExitError,
    TimeoutError,
    _pause,
)

__all__ = ["Strategy", "Waiter", "all_of", "any_of", "exec", "file", "healthy", "http", "log", "port", "until"]

#: How often, in seconds, a wait looks whether the container still runs.
_SLICE = 0.1
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


class _Engine:
    """A wait that is the engine's own."""

    def __init__(self, text: str, **words: object) -> None:
        self.text, self.words = text, words

    def begin(self, container: Container) -> Waiter:
        return container._begin_wait(self.words)

    def __repr__(self) -> str:
        return self.text


def file(path: str) -> Strategy:
    """Until a path is there in the container: a file, a directory, a socket. Runs nothing in the container."""
    if not path.startswith("/"):
        raise ValueError(f"not an absolute path: {path!r}")
    return _Engine(f"file({path!r})", kind="file", path=path)


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
    return _Engine(
        f"exec({command!r})", kind="exec", command=command, exit_code=exit_code, interval=interval, environment=environment, user=user
    )


def port(number: int) -> Strategy:
    """Until a program of the container listens on a TCP port, whatever its address. Nothing is run in the container, and nobody connects to it.

    Where the network is shared, with the host or with another container, somebody else's port does not count: the descriptors of the container's processes are looked at, and
    `PermissionDeniedError` is raised if the port is taken and they cannot be read, as those of another user.
    """
    if not 0 < number < 65536:
        raise ValueError(f"not a port: {number}")
    return _Engine(f"port({number})", kind="port", number=number)


def http(number: int, path: str = "/", *, status: int | None = None, headers: Mapping[str, str] | None = None) -> Strategy:
    """Until a `GET` of a path, on a TCP port of the container, is answered with `status` (default: any of 200 to 399).

    The container has to be on the network of the host: one that has no network cannot be reached.
    """
    if not 0 < number < 65536:
        raise ValueError(f"not a port: {number}")
    if not path.startswith("/"):
        raise ValueError(f"not an absolute path: {path!r}")
    fields = list((headers or {}).items())
    return _Engine(f"http({number}, {path!r})", kind="http", number=number, path=path, status=status, headers=fields)


def healthy() -> Strategy:
    """Until the container's health checks, those of the image or of `healthcheck`, say that it is healthy. Raises `InvalidStateError` if it has none."""
    return _Engine("healthy()", kind="healthy")


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
