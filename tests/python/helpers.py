"""Short words for what many tests do."""

from __future__ import annotations

import contextlib
import errno
import os
import select
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import litter

import coble


def sh(engine: coble.Engine, script: str, **options: Any) -> str:
    """The output of a shell script in a new container of `box`; the script must succeed."""
    return engine.run("box", ["sh", "-c", script], check=True, **options).stdout.decode()


def output(engine: coble.Engine, *command: str, **options: Any) -> str:
    """The output of a program in a new container of `box`; it must succeed."""
    return engine.run("box", list(command), check=True, **options).stdout.decode()


def status_fields(text: str) -> dict[str, str]:
    """/proc/PID/status as a dictionary."""
    return {key: value.strip() for key, _, value in (line.partition(":") for line in text.splitlines())}


def log_bytes(container: coble.Container, **options: Any) -> bytes:
    with container.logs(**options) as stream:
        return b"".join(record.data for record in stream)


#: What is waited for comes much sooner, but where the machine is emulated or busy.
PATIENCE = 30.0


def eventually(condition: Callable[[], Any], what: str, seconds: float = PATIENCE) -> Any:
    """Waits for something that has no event of its own (a line in a log, a file of another process)."""
    end = time.monotonic() + seconds
    while True:
        # The last look is one after the time is over: who looks may have been held up, too.
        over = time.monotonic() > end
        value = condition()
        if value:
            return value
        if over:
            raise AssertionError(f"not within {seconds} s: {what}")
        time.sleep(0.01)


def wait_for_output(container: coble.Container, text: bytes, seconds: float = PATIENCE) -> None:
    eventually(lambda: text in log_bytes(container), f"{text!r} in the log", seconds)


def remove_all(engine: coble.Engine) -> list[str]:
    """Removes every container, and returns the names that there were. One may go by itself meanwhile: that of a session, or one that is removed at its end."""
    left = [summary.name for summary in engine.containers.list(all=True)]
    for name in left:
        with contextlib.suppress(coble.ContainerNotFoundError):
            engine.containers.get(name).remove(force=True)
    return left


def kill_for_good(process: subprocess.Popen[Any]) -> None:
    """Kills a program, and waits until it has gone with what it was just starting: between clone and exec a process has the descriptors of its maker, with the locks, and its
    command line (none, while it gets another), and outlives it by as much as the machine is busy."""
    process.kill()
    process.communicate()
    line = b"".join(os.fsencode(word) + b"\0" for word in process.args)  # type: ignore[union-attr]

    def gone() -> bool:
        parents = litter.parents()
        for pid in litter.our_processes():
            with contextlib.suppress(OSError):
                # Not another one that the test has started.
                if parents.get(pid, (0, ""))[0] != os.getpid() and Path(f"/proc/{pid}/cmdline").read_bytes() in (line, b""):
                    return False
        return True

    eventually(gone, "what a killed program was starting is gone")


def wait_for_exit(pid: int, seconds: float = PATIENCE) -> bool:
    """Waits for the end of any process, by pidfd."""
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    except OSError as error:
        # Its number is still that of a session or of a group.
        if error.errno != errno.EINVAL:
            raise
        return True
    try:
        return bool(select.select([fd], [], [], seconds)[0])
    finally:
        os.close(fd)


def monitor_of(container: coble.Container) -> int:
    """The host pid of a running container's monitor: the parent of its program."""
    pid = container.inspect().pid
    assert pid is not None
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def private(pid: int) -> int:
    """Bytes of memory that a process shares with no other one."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return 1024 * sum(int(line.split()[1]) for line in lines if line.startswith(("Private_Clean", "Private_Dirty")))


def resident(pid: int) -> int:
    """Resident bytes of a process."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def processor_time(pid: int) -> float:
    """Seconds that a process has computed."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(int(field) for field in fields[11:13]) / os.sysconf("SC_CLK_TCK")
