"""Reading from the master of a terminal."""

from __future__ import annotations

import errno
import io
from typing import Any


class _Master(io.FileIO):
    """Ends where no program has the terminal open any more, which the kernel says with EIO."""

    def readinto(self, buffer: Any, /) -> int | None:
        try:
            return super().readinto(buffer)
        except OSError as error:
            if error.errno != errno.EIO:
                raise
            return 0

    def readall(self) -> bytes:
        pieces = []
        piece = bytearray(io.DEFAULT_BUFFER_SIZE)
        while count := self.readinto(piece):
            pieces.append(bytes(piece[:count]))
        return b"".join(pieces)


def reader(descriptor: int) -> io.BufferedReader:
    """A buffered binary file over a descriptor, which it owns from then on."""
    return io.BufferedReader(_Master(descriptor, "rb"))
