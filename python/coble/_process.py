"""`Process`: a program started with `Container.popen`, as `subprocess.Popen` has it."""

from __future__ import annotations

import os
import select
import signal as signals
import time
from typing import IO, TYPE_CHECKING, cast

from ._coble import CancelledError, CancelToken, TimeoutError

if TYPE_CHECKING:
    from types import TracebackType

    from ._coble import RawProcess

# Bytes that one read or write moves, at most.
_CHUNK = 1 << 16


class Process:
    """A program in a container. Its streams are real files over real descriptors, or None where no `PIPE` was asked for.

    As a context manager it closes its streams and waits for the program's end. Losing it leaves the program alone.
    """

    stdin: IO[bytes] | None
    stdout: IO[bytes] | None
    stderr: IO[bytes] | None
    returncode: int | None
    """The exit code, once `poll`, `wait` or `communicate` has seen it; 128 plus the signal if a signal ended the program."""

    def __init__(self, raw: RawProcess, stdin: int | None, stdout: int | None, stderr: int | None) -> None:
        self._raw = raw
        self.returncode = None
        self.stdin = None if stdin is None else cast("IO[bytes]", os.fdopen(stdin, "wb"))
        self.stdout = None if stdout is None else cast("IO[bytes]", os.fdopen(stdout, "rb"))
        self.stderr = None if stderr is None else cast("IO[bytes]", os.fdopen(stderr, "rb"))

    @property
    def pid(self) -> int:
        """Its process id on the host."""
        return self._raw.pid

    def poll(self) -> int | None:
        """The exit code, if the program ended."""
        if self.returncode is None:
            self.returncode = self._raw.poll()
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Waits for the program's end and returns its exit code. Raises `TimeoutError` when `timeout` seconds are over."""
        if self.returncode is None:
            self.returncode = self._raw.wait(timeout)
        return self.returncode

    def communicate(self, input: bytes | None = None, timeout: float | None = None) -> tuple[bytes, bytes]:
        """Writes the input, reads both outputs to their ends, waits for the program, and returns (stdout, stderr).

        Raises `TimeoutError` when `timeout` seconds are over; what was read until then is lost, and the program goes on.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        output: dict[int, list[bytes]] = {}
        poller = select.poll()
        for stream in (self.stdout, self.stderr):
            if stream is not None and not stream.closed:
                output[stream.fileno()] = []
                poller.register(stream, select.POLLIN)
        pending = memoryview(input or b"")
        writer = self._writer(pending)
        if writer is not None:
            os.set_blocking(writer, False)
            poller.register(writer, select.POLLOUT)
        token = CancelToken.current()
        if token is not None:
            poller.register(token, select.POLLIN)
        open_outputs = set(output)
        while open_outputs or writer is not None:
            for fd, _ in poller.poll(_milliseconds(deadline)):
                if token is not None and token.cancelled:
                    raise CancelledError("cancelled by the caller")
                if fd == writer:
                    pending = self._write(fd, pending)
                    if not pending:
                        poller.unregister(fd)
                        self._close_stdin()
                        writer = None
                elif data := os.read(fd, _CHUNK):
                    output[fd].append(data)
                else:
                    poller.unregister(fd)
                    open_outputs.discard(fd)
            if deadline is not None and time.monotonic() >= deadline and (open_outputs or writer is not None):
                raise TimeoutError("the time is over")
        found = [
            b"" if stream is None or stream.closed else b"".join(output[stream.fileno()]) for stream in (self.stdout, self.stderr)
        ]
        for stream in (self.stdout, self.stderr):
            if stream is not None:
                stream.close()
        self.wait(None if deadline is None else max(0.0, deadline - time.monotonic()))
        return found[0], found[1]

    def _writer(self, pending: memoryview) -> int | None:
        """The descriptor that the input goes to, if there is any to write; without any, the program gets its end at once."""
        if self.stdin is None or self.stdin.closed:
            return None
        try:
            self.stdin.flush()
        except BrokenPipeError:
            pass
        if not pending:
            self._close_stdin()
            return None
        return self.stdin.fileno()

    @staticmethod
    def _write(fd: int, pending: memoryview) -> memoryview:
        try:
            return pending[os.write(fd, pending[:_CHUNK]) :]
        except BlockingIOError:
            return pending
        except BrokenPipeError:
            # A program need not read what it is given.
            return pending[:0]

    def _close_stdin(self) -> None:
        if self.stdin is not None:
            try:
                self.stdin.close()
            except BrokenPipeError:
                pass

    def send_signal(self, signal: int | str) -> None:
        """Sends a signal, by number or name. A program that ended already is fine."""
        if self.poll() is None:
            self._raw.send_signal(int(signal) if isinstance(signal, int) else signal)

    def kill(self) -> None:
        """Sends SIGKILL."""
        self.send_signal(signals.SIGKILL)

    def terminate(self) -> None:
        """Sends SIGTERM."""
        self.send_signal(signals.SIGTERM)

    def __enter__(self) -> Process:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        for stream in (self.stdout, self.stderr):
            if stream is not None:
                stream.close()
        self._close_stdin()
        if kind is not None:
            # Nobody is left to end it in an orderly way, and waiting for it could take for ever.
            self.kill()
        self.wait()

    def __repr__(self) -> str:
        return f"<coble.Process {self.pid} {'runs' if self.returncode is None else f'ended with {self.returncode}'}>"


def _milliseconds(deadline: float | None) -> float | None:
    return None if deadline is None else max(0.0, deadline - time.monotonic()) * 1000
