"""Ways to wait until a container is ready, for `containers.run(..., wait=...)`.

    engine.containers.run("server", wait=coble.wait.log(r"ready to accept", timeout=10))

All of them notice at once when the container ends instead of getting ready, and fail with the end of its output. They
combine with `all_of` and `any_of`. A function of your own that takes the container and says whether it is ready works too.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from ._coble import CobleError, CommandNotFoundError, InvalidStateError, TimeoutError

if TYPE_CHECKING:
    from ._coble import Container, LogStream

__all__ = ["Condition", "Probe", "all_of", "any_of", "exec", "file", "log", "until_ready"]

DEFAULT_TIMEOUT = 60.0
"""Seconds that a condition waits when it is not told otherwise."""

_INTERVAL = 0.05
# Lines of output that an error shows.
_LINES = 20
# Bytes of output in which a pattern can begin and end: what is older is forgotten.
_WINDOW = 1 << 20


class Probe(Protocol):
    """A condition that is being waited for."""

    def ready(self, seconds: float) -> bool:
        """Whether it holds. May wait, if that tells it sooner, for at most `seconds`."""
        ...

    def close(self) -> None:
        """Gives back what it holds."""
        ...


@runtime_checkable
class Condition(Protocol):
    """A way to wait until a container is ready."""

    timeout: float

    def probe(self, container: Container) -> Probe:
        """Begins to look at a container."""
        ...

    def __str__(self) -> str:
        """What is waited for."""
        ...


class _Polling:
    """Asks a function."""

    def __init__(self, question: Callable[[], bool]) -> None:
        self._question = question

    def ready(self, seconds: float) -> bool:
        return self._question()

    def close(self) -> None:
        pass


class _Custom:
    def __init__(self, question: Callable[[Container], bool]) -> None:
        self.timeout = DEFAULT_TIMEOUT
        self._question = question

    def probe(self, container: Container) -> Probe:
        return _Polling(lambda: self._question(container))

    def __str__(self) -> str:
        return getattr(self._question, "__name__", repr(self._question))


class _LogProbe:
    def __init__(self, stream: LogStream, pattern: re.Pattern[bytes], times: int) -> None:
        self._stream = stream
        self._pattern = pattern
        self._times = times
        self._seen: dict[str, bytes] = {}

    def ready(self, seconds: float) -> bool:
        end = time.monotonic() + seconds
        while True:
            try:
                record = self._stream.read(timeout=max(0.0, end - time.monotonic()))
            except TimeoutError:
                return False
            if record is None:
                return False
            # The streams are searched apart, so that a line of the one cannot tear a line of the other.
            seen = (self._seen.get(record.stream, b"") + record.data)[-_WINDOW:]
            for found in self._pattern.finditer(seen):
                self._times -= 1
                seen = seen[found.end() :] if self._times > 0 else seen
                if self._times <= 0:
                    return True
                break
            self._seen[record.stream] = seen

    def close(self) -> None:
        self._stream.close()


class _Log:
    def __init__(self, pattern: re.Pattern[bytes], stdout: bool, stderr: bool, times: int, timeout: float) -> None:
        self.timeout = timeout
        self._pattern, self._stdout, self._stderr, self._times = pattern, stdout, stderr, times

    def probe(self, container: Container) -> Probe:
        return _LogProbe(container.logs(follow=True, stdout=self._stdout, stderr=self._stderr), self._pattern, self._times)

    def __str__(self) -> str:
        return f"{self._pattern.pattern!r} in the output"


class _Exec:
    def __init__(self, command: str | Sequence[str], exit_code: int, timeout: float) -> None:
        self.timeout = timeout
        self._command = command
        self._exit_code = exit_code

    def probe(self, container: Container) -> Probe:
        return _Polling(lambda: container.exec(self._command).exit_code == self._exit_code)

    def __str__(self) -> str:
        return f"status {self._exit_code} of {self._command!r}"


class _File:
    def __init__(self, path: str, timeout: float) -> None:
        self.timeout = timeout
        self._path = path

    def probe(self, container: Container) -> Probe:
        def exists() -> bool:
            try:
                return container.exec(["test", "-e", self._path]).exit_code == 0
            except CommandNotFoundError:
                return container.exec(["sh", "-c", '[ -e "$1" ]', "sh", self._path]).exit_code == 0

        return _Polling(exists)

    def __str__(self) -> str:
        return f"the file {self._path!r}"


class _SeveralProbe:
    def __init__(self, probes: list[Probe], enough: Callable[[Sequence[bool]], bool]) -> None:
        self._probes = probes
        self._done = [False] * len(probes)
        self._enough = enough

    def ready(self, seconds: float) -> bool:
        for index, probe in enumerate(self._probes):
            # What was true once counts: a line of the log is not read twice.
            self._done[index] = self._done[index] or probe.ready(0.0)
        return self._enough(self._done)

    def close(self) -> None:
        for probe in self._probes:
            probe.close()


class _Several:
    def __init__(
        self, word: str, enough: Callable[[Sequence[bool]], bool], conditions: Sequence[Condition], timeout: float | None
    ) -> None:
        if not conditions:
            raise ValueError("no condition to wait for")
        self.timeout = max(condition.timeout for condition in conditions) if timeout is None else timeout
        self._word, self._enough, self._conditions = word, enough, conditions

    def probe(self, container: Container) -> Probe:
        probes: list[Probe] = []
        try:
            for condition in self._conditions:
                probes.append(condition.probe(container))
        except BaseException:
            for probe in probes:
                probe.close()
            raise
        return _SeveralProbe(probes, self._enough)

    def __str__(self) -> str:
        return f" {self._word} ".join(map(str, self._conditions))


def log(
    pattern: str | bytes | re.Pattern[str] | re.Pattern[bytes],
    *,
    stdout: bool = True,
    stderr: bool = True,
    times: int = 1,
    timeout: float = DEFAULT_TIMEOUT,
) -> Condition:
    """The output has the pattern, a regular expression, `times` times. `^` and `$` match at lines."""
    flags = re.MULTILINE
    if isinstance(pattern, re.Pattern):
        # Text and its flag say nothing about bytes.
        flags |= pattern.flags & (re.IGNORECASE | re.DOTALL | re.VERBOSE)
        pattern = pattern.pattern
    text = pattern.encode() if isinstance(pattern, str) else pattern
    return _Log(re.compile(text, flags), stdout, stderr, times, timeout)


def file(path: str, *, timeout: float = DEFAULT_TIMEOUT) -> Condition:
    """A file is there in the container. The image needs `test` or `sh`."""
    return _File(path, timeout)


def exec(command: str | Sequence[str], *, exit_code: int = 0, timeout: float = DEFAULT_TIMEOUT) -> Condition:
    """A program in the container ends with the exit code."""
    return _Exec(command, exit_code, timeout)


def all_of(*conditions: Condition | Callable[[Container], bool], timeout: float | None = None) -> Condition:
    """All conditions held, each at some time. The timeout is that of the longest unless given."""
    return _Several("and", all, [_condition(condition) for condition in conditions], timeout)


def any_of(*conditions: Condition | Callable[[Container], bool], timeout: float | None = None) -> Condition:
    """One of the conditions holds. The timeout is that of the longest unless given."""
    return _Several("or", any, [_condition(condition) for condition in conditions], timeout)


def _condition(condition: Condition | Callable[[Container], bool]) -> Condition:
    return condition if isinstance(condition, Condition) else _Custom(condition)


def until_ready(container: Container, condition: Condition | Callable[[Container], bool]) -> None:
    """Waits for a condition. Raises `TimeoutError` when its time is over, `InvalidStateError` when the container ends first."""
    condition = _condition(condition)
    deadline = time.monotonic() + condition.timeout
    probe = condition.probe(container)
    try:
        while not _holds(probe, container, deadline):
            if container.state != "running":
                # What it wrote last may be what was waited for.
                if _holds(probe, container, deadline):
                    return
                raise _failure(InvalidStateError, container, f"the container ended before it was ready: {condition}")
            if time.monotonic() >= deadline:
                raise _failure(TimeoutError, container, f"not ready within {condition.timeout:g} s: {condition}")
            _pause(container, deadline)
    finally:
        probe.close()


def _holds(probe: Probe, container: Container, deadline: float) -> bool:
    try:
        return probe.ready(min(1.0, max(0.0, deadline - time.monotonic())))
    except InvalidStateError:
        # It ended while it was asked.
        if container.state == "running":
            raise
        return False


def _pause(container: Container, deadline: float) -> None:
    """Waits a little, or until the container ends."""
    try:
        container.wait(timeout=max(0.0, min(_INTERVAL, deadline - time.monotonic())))
    except TimeoutError:
        pass


def _failure(kind: type[CobleError], container: Container, message: str) -> CobleError:
    try:
        with container.logs(tail=_LINES) as stream:
            output = b"".join(record.data for record in stream).decode(errors="backslashreplace")
    except CobleError as unreadable:
        output = f"(no output: {unreadable})"
    said = f"last output of {container.name}:\n{output}" if output else "it wrote nothing"
    error = kind(f"{message}\n{said}")
    error.object = container.name
    return error
