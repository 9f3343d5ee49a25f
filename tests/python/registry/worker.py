"""A program that does what it is told on standard input, one line of JSON each, and says how that went, how long it took, and how much memory.

    worker.py       {"store": [DATA, RUN], "operation": "images.pull", "words": {...}}   ->   {"kind": null, "seconds": 0.1, "peak": 1234567, ...}
"""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass
class Outcome:
    #: The kind of the error; None if it went well.
    kind: str | None
    #: Everything that the error says anywhere.
    text: str
    seconds: float
    #: Bytes of this process and its helpers above what it had before.
    peak: int
    value: Any = None
    #: Kind and message of the events, as they came.
    events: list[list[Any]] = field(default_factory=list)


class Worker:
    """The program, as tests see it."""

    def __init__(self, environment: dict[str, str] | None = None) -> None:
        self.process = subprocess.Popen(
            [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**os.environ, **(environment or {})}
        )

    @property
    def pid(self) -> int:
        return self.process.pid

    def begin(self, store: Any, operation: str, **words: Any) -> None:
        assert self.process.stdin is not None
        order = {"store": [str(store.data_root), str(store.run_root)], "operation": operation, "words": words}
        self.process.stdin.write(json.dumps(order, default=str) + "\n")
        self.process.stdin.flush()

    def end(self, seconds: float = 120) -> Outcome:
        assert self.process.stdout is not None
        # One answer at a time, so nothing of it can be in the buffer yet.
        if not select.select([self.process.stdout], [], [], seconds)[0]:
            self.process.kill()
            raise AssertionError(f"no end within {seconds} s")
        line = self.process.stdout.readline()
        if not line:
            raise AssertionError(f"the program ended, status {self.process.wait()}")
        return Outcome(**json.loads(line))

    def call(self, store: Any, operation: str, **words: Any) -> Outcome:
        self.begin(store, operation, **words)
        return self.end()

    def kill(self) -> None:
        self.process.kill()
        self.close()

    def close(self) -> None:
        self.process.communicate()


def status(pid: int | str) -> dict[str, int]:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return {}
    fields = (line.split() for line in lines if line.startswith(("VmHWM:", "VmRSS:")))
    return {words[0]: int(words[1]) << 10 for words in fields}


def helpers(pid: int) -> list[int]:
    """All descendants."""
    found: list[int] = []
    todo = [pid]
    while todo:
        one = todo.pop()
        try:
            tasks = os.listdir(f"/proc/{one}/task")
        except OSError:
            continue
        for task in tasks:
            try:
                children = [int(word) for word in Path(f"/proc/{one}/task/{task}/children").read_text().split()]
            except OSError:
                continue
            found += children
            todo += children
    return found


def unborn(pid: int) -> bool:
    """Whether it is still on its way to its own program, with the memory of this one."""
    try:
        return os.readlink(f"/proc/{pid}/exe") == os.readlink("/proc/self/exe")
    except OSError:
        # Of another user namespace: it got there by running its program.
        return False


class Memory:
    """The peak of this process and its helpers, above what this process has now."""

    def __enter__(self) -> Memory:
        self.before = status("self").get("VmRSS:", 0)
        try:
            Path("/proc/self/clear_refs").write_text("5")
        except OSError:
            pass
        self.others = 0
        self.over = threading.Event()
        self.thread = threading.Thread(target=self._watch)
        self.thread.start()
        return self

    def _watch(self) -> None:
        while not self.over.wait(0.01):
            self.others = max(self.others, sum(status(pid).get("VmHWM:", 0) for pid in helpers(os.getpid()) if not unborn(pid)))

    def __exit__(self, *_: object) -> None:
        self.over.set()
        self.thread.join()
        self.peak = max(0, status("self").get("VmHWM:", 0) - self.before) + self.others


def everything(error: BaseException) -> str:
    """Whatever an error would show to anybody."""
    parts = [str(error), repr(error), repr(getattr(error, "__dict__", {})), repr(error.args)]
    parts += [str(getattr(error, name, "")) for name in ("hint", "object", "context", "details")]
    parts += getattr(error, "__notes__", [])
    return "\n".join(parts) + ("\n" + everything(error.__cause__) if error.__cause__ else "")


def plain(value: Any) -> Any:
    if hasattr(value, "to_dict"):
        return value.to_dict()
    if isinstance(value, (list, tuple)):
        return [plain(one) for one in value]
    if hasattr(value, "id") and hasattr(value, "references"):
        return {"id": value.id, "digest": value.digest, "references": value.references}
    return value if isinstance(value, (str, int, float, bool, dict, type(None))) else repr(value)


def main() -> None:
    import coble

    for line in sys.stdin:
        order = json.loads(line)
        data, run = order["store"]
        words = order["words"]
        events: list[list[Any]] = []
        if words.pop("events", False):
            words["progress"] = lambda one: events.append([one.kind, one.message])
        positional = words.pop("positional", [])
        if isinstance(words.get("credentials"), list):
            words["credentials"] = tuple(words["credentials"])
        kind: str | None = None
        text = ""
        value = None
        with coble.Engine(data_root=data, run_root=run) as engine:
            call: Any = engine
            for name in order["operation"].split("."):
                call = getattr(call, name)
            with Memory() as memory:
                begin = time.monotonic()
                try:
                    value = plain(call(*positional, **words))
                except coble.CobleError as error:
                    kind, text = error.kind, everything(error)
                seconds = time.monotonic() - begin
        outcome = {"kind": kind, "text": text, "seconds": seconds, "peak": memory.peak, "value": value, "events": events}
        print(json.dumps(outcome), flush=True)


if __name__ == "__main__":
    main()
