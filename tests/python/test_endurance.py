"""What goes on for long, or wants everything: clients that vanish, programs that take what they can get, kills while programs are started again."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import coble
import litter
import pytest
from conftest import CGROUPS, IS_ROOT, Store
from helpers import eventually, kill_for_good, monitor_of, resident, wait_for_exit

#: Rounds with clients that vanish, in all; 10,000 by hand.
ROUNDS = int(os.environ.get("COBLE_TEST_ROUNDS", "1000" if IS_ROOT else "300"))
#: Kills while programs are started again; 500 by hand.
KILLS = int(os.environ.get("COBLE_TEST_KILLS", "200" if IS_ROOT else "40")) // 5
SEED = int(os.environ.get("COBLE_TEST_SEED", str(int.from_bytes(os.urandom(4), "big"))))
#: In which a container is ended, whatever it does; the emulated machine is many times slower.
WITHIN = 1.0 if CGROUPS != "v2" else 10.0


def descriptors(pid: int) -> int:
    """How many descriptors a process has; 0 if that cannot be seen."""
    try:
        return len(os.listdir(f"/proc/{pid}/fd"))
    except PermissionError:
        return 0


# --- clients that vanish ----------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_clients_that_vanish_at_every_stage(shared: coble.Engine, shared_store: Store) -> None:
    """SEC-85: whatever becomes of those who exec and attach, neither the monitor nor the host keeps anything of them."""
    dice = random.Random(SEED)
    container = shared.containers.create("box", ["sh", "-c", "while read line; do echo $line; done"], stdin_open=True)
    container.start()
    monitor = monitor_of(container)
    (control,) = shared_store.run_root.glob(f"**/{container.id}/ctl")
    folder = os.open(control.parent, os.O_PATH)

    def connect() -> socket.socket:
        client = socket.socket(socket.AF_UNIX)
        client.connect(f"/proc/self/fd/{folder}/ctl")
        return client

    def half_a_request() -> None:
        with connect() as client:
            client.sendall(dice.choice([b"", b"\x09", b"\x09\0\0", b"\x40\0\0\0", b"\x02\0\0\0\x63"]))

    def attached() -> None:
        process = container.attach(stdin=True)
        if dice.random() < 0.5:
            assert process.stdin
            process.stdin.write(b"x")
            process.stdin.flush()

    def executed_and_left() -> None:
        container.popen(["true"], stdin=subprocess.DEVNULL)

    def left_with_output() -> None:
        process = container.popen(["head", "-c", "100000", "/dev/zero"], stdout=subprocess.PIPE)
        assert process.stdout and process.stdout.read(1) == b"\0"

    def left_with_input() -> None:
        process = container.popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
        assert process.stdin
        process.stdin.write(b"y" * 5000)

    def killed() -> None:
        process = container.popen(["sleep", "1000"], stdin=subprocess.DEVNULL)
        process.kill()
        if dice.random() < 0.5:
            assert process.wait(20) == 137

    def no_program() -> None:
        with pytest.raises(coble.CommandNotFoundError):
            container.exec(["nothing"])

    stages: list[Callable[[], None]] = [half_a_request, attached, executed_and_left, left_with_output, left_with_input, killed, no_program]
    # A host program that is killed in the middle of all of it.
    script = f"""
import subprocess
import coble
container = coble.Engine(data_root={str(shared_store.data_root)!r}, run_root={str(shared_store.run_root)!r}).containers.get({container.id!r})
print("open", flush=True)
while True:
    container.exec(["true"])
    container.popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
    container.attach(stdin=True)
"""

    def host_program() -> None:
        with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as process:
            assert process.stdout and process.stdout.readline() == b"open\n"
            time.sleep(dice.uniform(0, 0.05))
            process.kill()

    def flat() -> tuple[int, int, int]:
        return descriptors(monitor), descriptors(os.getpid()), len(os.listdir("/proc/self/task"))

    def of_the_monitor() -> int:
        return resident(monitor)

    try:
        for stage in [*stages, host_program]:
            stage()
        eventually(lambda: shared.containers.get(container.id).top().processes[1:] == [], "an idle container", 30)
        before, memory, own = flat(), of_the_monitor(), resident(os.getpid())
        for number in range(ROUNDS):
            dice.choice(stages)()
            if number % 100 == 0:
                host_program()
        eventually(lambda: shared.containers.get(container.id).top().processes[1:] == [], "the end of everything that was started", 60)
        # The host may have opened more connections to its database meanwhile: there are never many.
        slack = (0, 8, 0)
        eventually(lambda: all(now <= then + more for now, then, more in zip(flat(), before, slack)), f"as many descriptors and threads as before, {before}", 20)
        # It rests when nothing has happened for a moment.
        eventually(lambda: of_the_monitor() - memory < 256 << 10, "a monitor of the same size", 20)
        assert resident(os.getpid()) - own < 16 << 20
        assert container.exec(["echo", "well"]).stdout == b"well\n"
    finally:
        os.close(folder)
        container.remove(force=True)


# --- programs that want everything --------------------------------------------------------------------------------------

TERRIBLE: dict[str, tuple[str, dict[str, Any]]] = {
    "fork bomb": ("b() { b | b & b; }; b", {"pids_limit": 100}),
    "forks that ignore signals": ("trap '' TERM INT HUP; i=0; while [ $i -lt 80 ]; do (trap '' TERM INT; while true; do :; done) & i=$((i+1)); done; wait", {"pids_limit": 100}),
    "memory hog": ("x=a; while true; do x=$x$x; done", {"mem_limit": "64m"}),
    "disk filler": ("mkdir -p /full; cat /dev/zero > /full/file; while true; do :; done", {"tmpfs": {"/full": "size=32m"}}),
    "log flood": ("cat /dev/zero", {"log_driver": "json-file", "log_opt": {"max-size": "1m", "max-file": "2"}}),
    "restless": ("true", {"restart_policy": "always"}),
    "ignores signals": ("trap '' TERM INT HUP QUIT USR1 USR2 CHLD; while true; do sleep 1000; done", {}),
    "stops itself": ("kill -STOP $$", {"init": True}),
}


def bounded(engine: coble.Engine) -> bool:
    """Whether the processes of a container can be limited here."""
    container = engine.containers.create("box", ["true"], pids_limit=100)
    try:
        container.start()
        isolation = container.inspect().isolation
        return isolation is not None and any(limit.name == "pids_limit" and limit.applied is not None for limit in isolation.limits)
    finally:
        container.remove(force=True)


def size_of(folder: Path) -> int:
    """Bytes of the files of a container, but for what it has written itself. Those of its log come and go."""
    size = 0
    for place, folders, names in os.walk(folder):
        if "upper" in folders:
            folders.remove("upper")
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                found = os.lstat(os.path.join(place, name))
                size += found.st_size if stat.S_ISREG(found.st_mode) else 0
    return size


@pytest.mark.vm
@pytest.mark.parametrize("what", TERRIBLE)
def test_it_stays_inside_and_is_ended_within_a_second(shared: coble.Engine, shared_store: Store, what: str) -> None:
    """SEC-48: what it takes is what it may take, and its end is the user's to say."""
    script, options = TERRIBLE[what]
    if what == "fork bomb" and not bounded(shared):
        pytest.skip("nothing would bound it for this user here")
    container = shared.containers.create("box", ["sh", "-c", script], **options)
    container.start()
    try:
        applied = {limit.name: limit.applied for limit in container.inspect().isolation.limits}  # type: ignore[union-attr]
        pid = container.inspect().pid
        time.sleep(0.7)
        if applied.get("pids_limit"):
            # One that can make no more processes may end at any time.
            with contextlib.suppress(coble.InvalidStateError):
                assert container.stats(interval=0).pids <= 100
        if applied.get("mem_limit"):
            # The kernel ends what wants more than there is, and with it perhaps the container.
            for _ in range(20):
                with contextlib.suppress(coble.InvalidStateError):
                    assert container.stats(interval=0).memory_usage <= 64 << 20
                time.sleep(0.01)
        folder = shared_store.data_root / "containers" / container.id
        assert size_of(folder) < 8 << 20, "its log and what belongs to it"
    finally:
        begin = time.monotonic()
        container.remove(force=True)
        took = time.monotonic() - begin
    assert took < WITHIN, f"{took:.2f} s"
    assert pid is None or wait_for_exit(pid, 0.1)


# --- kills while programs are started again -----------------------------------------------------------------------------

STARTER = """
import sys
import coble
engine = coble.Engine(data_root=sys.argv[1], run_root=sys.argv[2])
number = 0
while True:
    policy, script = [("always", "exit 1"), ("on-failure:3", "exit 2"), ("unless-stopped", "sleep 0.05"), ("no", "sleep 1000")][number % 4]
    container = engine.containers.create("box", ["sh", "-c", script], name=f"r{number}", restart_policy=policy, lifetime="detached")
    container.start()
    print(container.id, flush=True)
    if number % 3 == 0:
        container.exec(["true"], check=False) if policy == "no" else container.stats(interval=0) if container.state == "running" else None
    number += 1
"""


@pytest.mark.slow
@pytest.mark.kills
@pytest.mark.timeout(1200)
def test_kills_while_programs_are_started_again(box: coble.Engine, store: Store) -> None:
    """Who starts them is killed, and some of their monitors: the others go on as their policy says, and nothing is left."""
    dice = random.Random(f"{SEED} again")
    print(f"seed {SEED}: {KILLS} kills")
    done = 0
    before = litter.Snapshot()
    while done < KILLS:
        command = [sys.executable, "-c", STARTER, str(store.data_root), str(store.run_root)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            assert process.stdout and process.stderr
            known = []
            for _ in range(dice.randrange(2, 9)):
                line = process.stdout.readline().strip()
                assert line, process.stderr.read()
                known.append(line)
            time.sleep(dice.uniform(0, 0.02))
            kill_for_good(process)
            done += 1
        with store.engine() as engine:
            note = f"seed {SEED}, kill {done}"
            containers = {one.id: engine.containers.get(one.id) for one in engine.containers.list(all=True)}
            assert set(known) <= set(containers), f"{note}: whoever was told of is there"
            killed = set()
            for number, identifier in enumerate(known):
                container = containers[identifier]
                if dice.random() < 0.4 and container.state == "running":
                    try:
                        os.kill(monitor_of(container), signal.SIGKILL)
                    except (OSError, AssertionError, ProcessLookupError):
                        continue
                    killed.add(identifier)
                    done += 1
            for identifier in killed:
                container = containers[identifier]
                eventually(lambda c=container: c.state == "exited", f"{note}: the end of one whose monitor was killed")
            for number, identifier in enumerate(known):
                container = containers[identifier]
                if identifier in killed:
                    continue
                kind = number % 4
                if kind in (0, 2):
                    # It goes on without anybody.
                    count = container.inspect().restart_count
                    eventually(lambda c=container, n=count: c.inspect().restart_count > n, f"{note}: another start", 60)
                    assert container.state in ("running", "restarting"), note
                elif kind == 1:
                    eventually(lambda c=container: c.state == "exited", f"{note}: the last of its starts", 30)
                    assert (container.inspect().restart_count, container.exit_code) == (3, 2), note
                else:
                    assert container.state == "running", note
            for container in containers.values():
                container.remove(force=True)
            assert engine.containers.list(all=True) == [] and engine.verify() == [], note
        assert store.litter() == [], note
    assert before.litter(20) == []


@pytest.mark.slow
def test_threads_that_exec_in_one_container(shared: coble.Engine) -> None:
    """Everybody gets the output and the exit code of its own."""
    container = shared.containers.create("box", ["sleep", "1000"])
    container.start()
    wrong: list[str] = []

    def work(worker: int) -> None:
        for turn in range(max(5, ROUNDS // 100)):
            done = container.exec(["sh", "-c", f"echo {worker}.{turn}; cat; exit {worker}"], input=b"%d" % turn)
            if (done.stdout, done.exit_code) != (b"%d.%d\n%d" % (worker, turn, turn), worker):
                wrong.append(repr(done))

    try:
        threads = [threading.Thread(target=work, args=[worker]) for worker in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert wrong == []
    finally:
        container.remove(force=True)
