"""Processes killed at random moments: the store opens, nothing is wrong with it, and nothing is left."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import archives
import coble
import litter
import pytest
from conftest import IS_ROOT, Assets, Store, remove_tree
from helpers import kill_for_good, remove_all, wait_for_exit

KILLS = int(os.environ.get("COBLE_TEST_KILLS", "200" if IS_ROOT else "40"))
SEED = int(os.environ.get("COBLE_TEST_SEED", str(int.from_bytes(os.urandom(4), "big"))))

#: Loads, runs, removes, in a loop; says when it has gone through once.
HOST = """
import sys
import tempfile
import threading
import coble
engine = coble.Engine(data_root=sys.argv[1], run_root=sys.argv[2])
print("open", flush=True)
what = sys.argv[3]
number = 0
while True:
    number += 1
    if what in ("load", "all"):
        engine.images.load(sys.argv[4])
    if what in ("run", "all"):
        if engine.run("crash:1", ["/bin/busybox", "sh", "-c", "echo x; echo y > /file"]).stdout != b"x\\n":
            raise SystemExit("wrong output")
        container = engine.containers.create("crash:1", ["/bin/busybox", "sleep", "1000"], lifetime="detached")
        container.start()
        container.exec(["/bin/busybox", "true"])
        container.remove(force=True)
    if what in ("load", "all"):
        engine.images.remove("crash:1", force=True)
    print(number, flush=True)
"""


def image(assets: Assets, folder: Path) -> Path:
    path = folder / "crash.tar"
    if not path.exists():
        many = archives.tar(*(archives.file(f"many/{number}", b"content %d" % number) for number in range(300)))
        path.write_bytes(archives.docker_archive(archives.Image([assets.busybox.read_bytes(), many], {"Env": ["PATH=/bin"]}, "crash:1")))
    return path


def victims(host: int, target: str) -> list[int]:
    """The processes that are to be killed: the host program, or shims that it started (monitors, workers)."""
    if target == "host":
        return [host]
    found = []
    for pid in litter.our_processes():
        try:
            # Its command line: the executable of a process in a user namespace cannot be read from outside.
            if pid != host and Path(f"/proc/{pid}/cmdline").read_bytes().startswith(b"coble-shim"):
                found.append(pid)
        except OSError:
            continue
    return found


def check(store: Store, note: str) -> None:
    """What anybody finds who opens the store after a crash."""
    with store.engine() as engine:
        remove_all(engine)
        assert engine.verify() == [], note
        assert engine.containers.list(all=True) == [], note
        for one in engine.images.list():
            # Whatever image is there works.
            assert engine.run(one.id, ["/bin/busybox", "echo", "ok"]).stdout == b"ok\n", note
    assert store.litter() == [], note


@pytest.mark.slow
@pytest.mark.kills
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("target", ["host", "shim"])
@pytest.mark.parametrize("what", ["load", "run", "all"])
def test_kills_at_random_moments(workplace: Path, assets: Assets, tmp_path: Path, what: str, target: str) -> None:
    kills = max(1, KILLS // 6 + (1 if KILLS % 6 else 0))
    dice = random.Random(f"{SEED} {what} {target}")
    print(f"seed {SEED}: {kills} kills of the {target} while it does {what}")
    archive = image(assets, tmp_path)
    folder = workplace / f"crash-{what}-{target}"
    folder.mkdir()
    store = Store(folder / "data", folder / "run")
    with store.engine() as engine:
        if what == "run":
            engine.images.load(archive)
    before = litter.Snapshot()
    # How long a round takes, without a kill: the range of the random moments.
    process = start(store, what, archive)
    lines = [read_line(process)]
    begin = time.monotonic()
    lines += [read_line(process), read_line(process)]
    round_time = (time.monotonic() - begin) / 2
    kill_for_good(process)
    check(store, "before the first kill")
    done = attempts = 0
    while done < kills:
        attempts += 1
        assert attempts < kills * 20, "the victims are too short-lived to be hit"
        process = start(store, what, archive)
        assert read_line(process) == "open", "the program does not even open the store"
        time.sleep(dice.uniform(0, round_time * 1.5))
        hit = False
        for pid in victims(process.pid, target):
            try:
                os.kill(pid, signal.SIGKILL)
                hit = True
            except ProcessLookupError:
                continue
            if dice.random() < 0.5:
                break
        done += hit
        if target == "shim":
            time.sleep(dice.uniform(0, round_time / 4))
        kill_for_good(process)
        note = f"seed {SEED}, {what}, {target}, kill {done}"
        check(store, note)
        found = before.litter(20)
        assert found == [], f"{note}: {found}"
    remove_tree(folder)


def start(store: Store, what: str, archive: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", HOST, str(store.data_root), str(store.run_root), what, str(archive)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def read_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    line = process.stdout.readline().strip()
    if not line:
        raise AssertionError(f"the program ended: {process.communicate()[1]}")
    return line


def test_a_killed_archive_worker_is_an_error(store: Store, assets: Assets, tmp_path: Path) -> None:
    """The call fails with a typed error, and the next one works."""
    big = tmp_path / "big.tar"
    big.write_bytes(archives.tar(*(archives.file(f"{number}", os.urandom(1000)) for number in range(20_000))))
    with store.engine() as engine:
        errors: list[coble.CobleError] = []

        def load() -> None:
            try:
                engine.images.import_rootfs(big, "half:1")
            except coble.CobleError as error:
                errors.append(error)

        thread = threading.Thread(target=load)
        thread.start()
        workers: list[int] = []
        while thread.is_alive() and not workers:
            workers = victims(os.getpid(), "shim")
        for pid in workers:
            os.kill(pid, signal.SIGKILL)
        thread.join(60)
        assert not thread.is_alive()
        assert workers, "the worker was not seen"
        assert len(errors) == 1 and errors[0].kind not in ("Panic", "Internal")
        assert engine.images.list() == [] and engine.verify() == []
        engine.images.import_rootfs(assets.busybox, "box")
        assert engine.run("box", ["echo", "x"]).stdout == b"x\n"
    assert store.litter() == []


def test_a_swept_store_after_everything_died(workplace: Path, assets: Assets) -> None:
    """All at once: the host program and every shim. The next one to open the store finds it in order, at once."""
    folder = Path(tempfile.mkdtemp(prefix="died-", dir=workplace))
    store = Store(folder / "data", folder / "run")
    script = """
import os, sys
import coble
engine = coble.Engine(data_root=sys.argv[1], run_root=sys.argv[2])
engine.images.import_rootfs(sys.argv[3], "box")
containers = []
for number in range(10):
    containers.append(engine.containers.create("box", ["sleep", "1000"], name=f"c{number}", lifetime="detached" if number % 2 else "session"))
    containers[-1].start()
print("ready", flush=True)
sys.stdin.read()
"""
    process = subprocess.Popen(
        [sys.executable, "-c", script, str(store.data_root), str(store.run_root), str(assets.busybox)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None and process.stdin is not None
    assert process.stdout.readline() == "ready\n"
    before_kill = victims(process.pid, "shim")
    for pid in (process.pid, *before_kill):
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
    process.communicate()
    assert len(before_kill) >= 10
    # A signal is no end yet.
    assert all(wait_for_exit(pid) for pid in before_kill)
    with store.engine() as engine:
        states = {one.name: one.state for one in engine.containers.list(all=True)}
        assert set(states.values()) <= {"exited"}
        assert {f"c{number}" for number in range(1, 10, 2)} <= set(states), "a detached container is remembered"
        for name in states:
            engine.containers.get(name).remove()
        assert engine.verify() == []
    assert store.litter() == []
    remove_tree(folder)
