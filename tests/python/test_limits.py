"""Limits of memory, CPU time and processes: enforced by the kernel, or not given and said so with a typed warning."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import coble
import pytest
from conftest import CGROUPS, MODE
from helpers import eventually, monitor_of

pytestmark = pytest.mark.vm

MIB = 1 << 20


def limited(engine: coble.Engine, command: list[str], **options: object) -> coble.RunResult | None:
    """Runs with a limit. None if the host could not give it, which must have been said; as root it must be given."""
    done = engine.run("box", command, **options)
    (limit,) = done.isolation.limits
    assert limit.name == next(iter(options)) or limit.name in ("nano_cpus", "cpus")
    if limit.applied is None:
        assert MODE != "root" or CGROUPS == "none", f"a limit was not applied: {done.warnings}"
        assert [warning.code for warning in done.warnings if "limit-not-applied" in warning.code], done.warnings
        return None
    assert limit.applied == limit.requested
    return done


def test_no_limits_no_warnings(shared: coble.Engine) -> None:
    done = shared.run("box", ["true"])
    assert list(done.isolation.limits) == []
    assert [warning.code for warning in done.warnings if "limit" in warning.code] == []


def test_memory(shared: coble.Engine) -> None:
    done = limited(shared, ["probe", "memory", "256"], mem_limit=64 * MIB)
    if done is None:
        pytest.skip("this user has no memory controller here: warned")
    assert done.exit_code == 137
    assert b"allocated" not in done.stdout
    assert limited(shared, ["probe", "memory", "16"], mem_limit=64 * MIB).stdout == b"allocated\n"


@pytest.mark.parametrize("text", ["64m", "64M", "65536k", 64 * MIB])
def test_memory_in_words(shared: coble.Engine, text: str | int) -> None:
    done = shared.run("box", ["true"], mem_limit=text)
    assert done.isolation.limits[0].requested == 64 * MIB


def test_processes(shared: coble.Engine) -> None:
    """SEC-48: a fork bomb is stopped."""
    done = limited(shared, ["probe", "fork", "100"], pids_limit=20)
    if done is None:
        pytest.skip("this user has no pids controller here: warned")
    words = done.stdout.split()
    assert (words[0], words[2]) == (b"started", b"EAGAIN")
    assert 10 <= int(words[1]) < 20


def test_cpu(shared: coble.Engine) -> None:
    # It gets less where others want the processors, too: not each time, though.
    for _ in range(10):
        done = limited(shared, ["probe", "spin", "1.5"], cpus=0.25)
        if done is None:
            pytest.skip("this user has no cpu controller here: warned")
        words = done.stdout.split()
        share = int(words[1]) / int(words[3])
        if 0.10 < share < 0.40:
            break
    assert 0.10 < share < 0.40


def cgroup_files(pid: int) -> Iterator[Path]:
    """The cgroup directories of a process in every hierarchy."""
    mounted = {}
    with open("/proc/self/mountinfo") as file:
        for line in file:
            before, _, after = line.partition(" - ")
            kind, _, options = after.split(maxsplit=2)
            if kind in ("cgroup", "cgroup2"):
                for name in options.split(",") if kind == "cgroup" else [""]:
                    mounted[name.strip()] = (Path(before.split()[4]), before.split()[3])
    for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines():
        _, names, path = line.split(":", 2)
        for name in names.split(","):
            if name in mounted:
                place, root = mounted[name]
                yield place / os.path.relpath(path, root)


def test_inspect_says_what_the_kernel_says(shared: coble.Engine) -> None:
    container = shared.containers.create("box", ["sleep", "1000"], mem_limit=64 * MIB, pids_limit=33, cpus=0.5)
    container.start()
    try:
        details = container.inspect()
        limits = {limit.name: limit for limit in details.isolation.limits}
        assert len(limits) == 3
        found: dict[str, str] = {}
        for folder in cgroup_files(details.pid):
            for name in ("memory.max", "memory.limit_in_bytes", "pids.max", "cpu.max", "cpu.cfs_quota_us", "cpu.cfs_period_us"):
                if (folder / name).exists():
                    found[name] = (folder / name).read_text().strip()
        memory = found.get("memory.max", found.get("memory.limit_in_bytes"))
        pids = found.get("pids.max")
        if "cpu.max" in found:
            quota, period = found["cpu.max"].split()
        else:
            quota, period = found.get("cpu.cfs_quota_us", "-1"), found.get("cpu.cfs_period_us", "1")
        applied = {name: limit.applied for name, limit in limits.items()}
        if applied["mem_limit"] is not None:
            assert int(memory) == applied["mem_limit"] == 64 * MIB
        if applied["pids_limit"] is not None:
            assert int(pids) == applied["pids_limit"] == 33
        cpu = applied.get("nano_cpus", applied.get("cpus"))
        if cpu is not None:
            assert int(quota) * 2 == int(period)
        if MODE == "root":
            assert None not in applied.values()
    finally:
        container.remove(force=True)


def test_every_process_is_in_the_cgroup(shared: coble.Engine) -> None:
    """SEC-48: of start and of exec, and their children."""
    container = shared.containers.create("box", ["sh", "-c", "sleep 1000 & sleep 1000"], pids_limit=50)
    container.start()
    processes = [container.popen(["sh", "-c", "sleep 1000 & sleep 1000"]) for _ in range(2)]
    try:
        pid = container.inspect().pid
        monitor = monitor_of(container)
        own = Path(f"/proc/{pid}/cgroup").read_text()
        namespace = os.stat(f"/proc/{pid}/ns/pid").st_ino

        def inside() -> list[int]:
            found = []
            for name in os.listdir("/proc"):
                try:
                    if name.isdigit() and os.stat(f"/proc/{name}/ns/pid").st_ino == namespace:
                        found.append(int(name))
                except OSError:
                    continue
            return found

        members = eventually(lambda: len(inside()) >= 6 and inside(), "all processes of the container")
        for member in members:
            assert Path(f"/proc/{member}/cgroup").read_text() == own, member
        if MODE == "root" and CGROUPS != "none":
            assert Path(f"/proc/{monitor}/cgroup").read_text() != own, "the monitor counts as the container's"
    finally:
        container.remove(force=True)
        for process in processes:
            process.wait()


def test_the_cgroup_cannot_be_left(shared: coble.Engine) -> None:
    """SEC-46, SEC-47: no cgroup file can be written from inside."""
    script = "find / -xdev -name cgroup.procs -o -name release_agent -o -name tasks 2>/dev/null; find /sys/fs/cgroup -type f 2>/dev/null | while read f; do ( : >> $f ) 2>/dev/null && echo WRITTEN $f; done; mkdir /sys/fs/cgroup/new 2>/dev/null && echo MADE; true"
    assert "WRITTEN" not in shared.run("box", ["sh", "-c", script]).stdout.decode()
    assert "MADE" not in shared.run("box", ["sh", "-c", script]).stdout.decode()
