"""Something for `progress=` that shows people how far a call is.

    with coble.progress.Printer() as show:
        engine.images.pull("debian:12", progress=show)
        engine.images.save("debian:12", "debian.tar", progress=show)

On a terminal it is one line that changes, elsewhere a line when a blob or layer is done, and every ten seconds one that says how much there is.
"""

from __future__ import annotations

import os
import shutil
import sys
import threading
import time
from types import TracebackType
from typing import TextIO

from ._coble import Progress

__all__ = ["Printer"]

#: How often, in seconds, a line says how much is done where there is no terminal.
_INTERVAL = 10.0
#: How wide a bar is.
_BAR = 24
#: What is said of a blob or layer when it gets there.
_ENDS = {"blob-done": "done", "blob-cached": "already there", "blob-mounted": "mounted", "unpack-done": "unpacked"}
#: Kinds that are about how much is done.
_STEPS = ("blob-start", "blob-progress", "read", "check")


def _size(count: int) -> str:
    """Bytes as docker writes them."""
    value = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000:
            return f"{value:.4g}{unit}"
        value /= 1000
    return f"{value:.4g}TB"


def _visible(text: str) -> str:
    """Text of others without what a terminal would act on."""
    return "".join(letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in text)


class Printer:
    """Prints the progress of calls to `stream`, by default standard error: pass it as `progress=`. It may be used for one call after the other, and for several at a time.

    `bar` says whether there is one line that changes; by default, if the stream is a terminal. Leaving a `with` block, or `close`, ends that line, which the end of a
    call does, too, unless it fails.
    """

    def __init__(self, stream: TextIO | None = None, *, bar: bool | None = None) -> None:
        self._stream = stream
        self._bar = bar
        self._lock = threading.Lock()
        self._drawn = False
        self._told = time.monotonic()

    def __call__(self, progress: Progress) -> None:
        """Shows one event."""
        with self._lock:
            stream = sys.stderr if self._stream is None else self._stream
            bar = self._is_terminal(stream) if self._bar is None else self._bar
            line = self._line(progress)
            if line is not None:
                self._write(stream, line + "\n")
            if progress.kind == "done":
                self._clear(stream)
            elif bar:
                self._draw(stream, progress)
            elif progress.kind in _STEPS and time.monotonic() - self._told >= _INTERVAL:
                self._told = time.monotonic()
                self._write(stream, self._amount(progress) + "\n")

    def close(self) -> None:
        """Takes the line away that changes. Closing again does nothing, and the next event draws it anew."""
        with self._lock:
            self._clear(sys.stderr if self._stream is None else self._stream)

    def __enter__(self) -> Printer:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None = None, exc_value: BaseException | None = None, traceback: TracebackType | None = None, /
    ) -> None:
        self.close()

    @staticmethod
    def _is_terminal(stream: TextIO) -> bool:
        try:
            return stream.isatty() and os.environ.get("TERM", "dumb") != "dumb"
        except ValueError:  # It is closed.
            return False

    @staticmethod
    def _line(progress: Progress) -> str | None:
        """What stays to be read."""
        if progress.kind == "resolve":
            return _visible(f"{progress.reference}: {progress.message}" if progress.message else progress.reference)
        if progress.kind in ("warning", "retry", "rate-limit"):
            return _visible(f"{progress.kind}: {progress.message}")
        end = _ENDS.get(progress.kind)
        if end is None or progress.digest is None:
            return None
        return f"{progress.digest.partition(':')[2][:12]}: {end}"

    @staticmethod
    def _amount(progress: Progress) -> str:
        """How much is done, of everything if that is known."""
        current, total = progress.overall_current, progress.overall_total
        return f"{_size(current)} of {_size(total)}" if total else _size(current)

    def _draw(self, stream: TextIO, progress: Progress) -> None:
        current, total = progress.overall_current, progress.overall_total
        text = self._amount(progress)
        if total:
            done = min(_BAR, current * _BAR // total)
            text = f"[{'=' * done}{' ' * (_BAR - done)}] {text}"
        word = "" if progress.kind in _STEPS or progress.kind in _ENDS else f", {progress.kind}"
        columns = shutil.get_terminal_size().columns
        self._drawn = False
        self._write(stream, "\r" + f"{text}{word}"[: max(columns - 1, 1)] + "\x1b[K")
        self._drawn = True

    def _clear(self, stream: TextIO) -> None:
        if self._drawn:
            self._write(stream, "")

    def _write(self, stream: TextIO, text: str) -> None:
        if self._drawn:
            text = "\r\x1b[K" + text
            self._drawn = False
        encoding = getattr(stream, "encoding", None) or "utf-8"
        stream.write(text.encode(encoding, "backslashreplace").decode(encoding))
        stream.flush()
