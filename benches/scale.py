#!/usr/bin/env python3
"""Measures what must not grow: streams of a gibibyte against a plain pipe, lists of many containers, starts beside many others.

    scale.py [--rounds N] [--bytes N] [--stopped N] [--running N] [--json FILE] [--check]

Everything is measured in one run; what is compared is measured in turns. Printed are medians and what they are limited to.
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench import MIB, make_rootfs, parent, private_memory, run_root

#: (unit, limit): what a measure may be at most.
BUDGETS = {
    "popen": ("times a plain pipe", 2.0),
    "logs written": ("times a plain pipe", 2.0),
    "logs read": ("times a plain pipe", 2.0),
    "list of stopped containers": ("ms for 10,000", 10.0),
    "start beside many others": ("times a start alone", 1.25),
    "memory for a stream": ("MiB", 16.0),
}


def drained(read: Callable[[bytearray], int | None], size: int) -> None:
    """Reads so many bytes, into one place."""
    piece = bytearray(1 << 20)
    left = size
    while left > 0:
        got = read(piece)
        if not got:
            raise RuntimeError(f"{left} bytes are missing")
        left -= got


def seconds(call: Callable[[], object]) -> float:
    begin = time.perf_counter()
    call()
    return time.perf_counter() - begin


def streams(engine: Any, rootfs: Path, size: int, rounds: int) -> dict[str, float]:
    source = ["/bin/busybox", "head", "-c", str(size), "/dev/zero"]

    def plain() -> None:
        with subprocess.Popen([str(rootfs / "bin/busybox"), *source[1:]], stdout=subprocess.PIPE, bufsize=0) as process:
            assert process.stdout is not None
            drained(process.stdout.readinto, size)  # type: ignore[attr-defined]

    def popen() -> None:
        with idle.popen(source, stdout=subprocess.PIPE) as process:
            drained(process.stdout.readinto, size)
            if process.wait() != 0:
                raise RuntimeError("the program failed")

    held: list[Any] = []
    idle = engine.containers.create("bench", ["/bin/busybox", "sleep", "100000"], lifetime="session")
    idle.start()

    def written() -> None:
        container = engine.containers.create("bench", source, lifetime="session")
        container.start()
        if container.wait() != 0:
            raise RuntimeError("the program failed")
        held.append(container)

    def read() -> None:
        with held[-1].logs() as records:
            got = sum(len(record.data) for record in records)
        if got != size:
            raise RuntimeError(f"{size - got} bytes are missing")

    times: dict[str, list[float]] = {"plain pipe": [], "popen": [], "logs written": [], "logs read": []}
    calls = {"plain pipe": plain, "popen": popen, "logs written": written, "logs read": read}
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _ in range(rounds):
        for name, call in calls.items():
            times[name].append(seconds(call))
        held.pop().remove()
    idle.remove(force=True)
    found = {name: statistics.median(values) for name, values in times.items()}
    found["memory"] = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    return found


def start_once(engine: Any) -> None:
    engine.run("bench", ["/bin/busybox", "true"], check=True)


def measure(options: argparse.Namespace, place: Path, run: Path) -> dict[str, Any]:
    import coble

    place.chmod(0o755)
    rootfs, tar = make_rootfs(place)
    with coble.Engine(data_root=place / "data", run_root=run) as engine:
        engine.images.import_rootfs(tar, "bench", command=["true"])
        found: dict[str, Any] = {"bytes": options.bytes, "streams": streams(engine, rootfs, options.bytes, options.rounds)}
        starts = options.rounds * 10
        for _ in range(5):
            start_once(engine)
        alone = [seconds(lambda: start_once(engine)) for _ in range(starts)]
        others = [engine.containers.create("bench", ["/bin/busybox", "sleep", "100000"], lifetime="session") for _ in range(options.running)]
        try:
            for other in others:
                other.start()
            beside = [seconds(lambda: start_once(engine)) for _ in range(starts)]
            if others:
                found["monitor_private_mib"] = private_memory(parent(others[0].inspect().pid))[0]
        finally:
            for other in others:
                other.remove(force=True)
        found["starts"] = {"running": options.running, "alone": statistics.median(alone), "beside": statistics.median(beside)}
        stopped = [engine.containers.create("bench", ["true"]) for _ in range(options.stopped)]
        list_times = []
        for _ in range(options.rounds * 3):
            list_times.append(seconds(lambda: engine.containers.list(all=True)))
        if len(engine.containers.list(all=True)) != options.stopped:
            raise RuntimeError("the list is not right")
        found["list"] = {"stopped": options.stopped, "all": statistics.median(list_times)}
        for container in stopped:
            container.remove()
    return found


def judge(found: dict[str, Any]) -> list[tuple[str, str, float, float]]:
    streams, starts = found["streams"], found["starts"]
    values = {
        **{name: streams[name] / streams["plain pipe"] for name in ("popen", "logs written", "logs read")},
        "list of stopped containers": found["list"]["all"] * 1e3 * 10_000 / max(found["list"]["stopped"], 1),
        "start beside many others": starts["beside"] / starts["alone"],
        "memory for a stream": streams["memory"],
    }
    return [(name, BUDGETS[name][0], value, BUDGETS[name][1]) for name, value in values.items()]


def show(found: dict[str, Any]) -> None:
    for name in ("plain pipe", "popen", "logs written", "logs read"):
        took = found["streams"][name]
        print(f"{name:28}{took:8.2f} s {found['bytes'] / took / MIB:10.0f} MiB/s")
    starts = found["starts"]
    print(f"start alone {starts['alone'] * 1e3:.2f} ms, beside {starts['running']} others {starts['beside'] * 1e3:.2f} ms")
    print(f"list of {found['list']['stopped']} stopped containers: {found['list']['all'] * 1e3:.2f} ms")
    for name, unit, value, limit in judge(found):
        print(f"{'within' if value <= limit else 'OVER'} the limit: {name}, {value:.2f} {unit}, at most {limit}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--bytes", type=int, default=1 << 30, help="the length of a stream")
    parser.add_argument("--stopped", type=int, default=10_000, help="containers of the list")
    parser.add_argument("--running", type=int, default=1_000, help="containers beside which others are started")
    parser.add_argument("--json", type=Path, help="also write everything to this file")
    parser.add_argument("--check", action="store_true", help="fail when something is over its limit")
    parser.add_argument("--place", type=Path, default=Path("/var/tmp"), help="a directory on a real file system")
    options = parser.parse_args()
    place = Path(tempfile.mkdtemp(prefix="coble-bench-", dir=options.place))
    run = run_root(place)
    try:
        found = measure(options, place, run)
    finally:
        shutil.rmtree(place, ignore_errors=True)
        shutil.rmtree(run, ignore_errors=True)
    show(found)
    if options.json:
        options.json.write_text(json.dumps(found, indent=2) + "\n")
    return 1 if options.check and any(value > limit for _, _, value, limit in judge(found)) else 0


if __name__ == "__main__":
    sys.exit(main())
