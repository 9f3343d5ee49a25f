"""Pauses and limits where the host has nothing but cgroup version 1, whose freezer holds up SIGKILL, too. On a hybrid host that is a process that does not see the version 2
hierarchy."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import coble
import pytest
from conftest import CGROUPS, Store
from helpers import wait_for_exit

pytestmark = [pytest.mark.root, pytest.mark.skipif(CGROUPS != "v1", reason="the host has no cgroups of version 1")]

HEAD = """
import ctypes, os, signal, sys, threading, time
libc = ctypes.CDLL(None, use_errno=True)
assert libc.unshare(0x20000) == 0 and libc.mount(b"none", b"/", None, 0x44000, None) == 0  # a mount namespace of its own, private
with open("/proc/self/mountinfo") as file:
    places = [line.split()[4] for line in file if line.split(" - ")[1].startswith("cgroup2 ")]
for place in places:
    assert libc.umount2(place.encode(), 2) == 0
sys.path.insert(0, {tests!r})
import coble
from helpers import eventually, monitor_of, wait_for_output
engine = coble.Engine(data_root={data!r}, run_root={run!r})
assert engine.info().cgroup_version == "v1"
FOREVER = ["sh", "-c", "trap 'exit 143' TERM; echo ready; while :; do sleep 0.05; done"]

def together(*calls):
    "Calls all at once; the errors."
    barrier, errors = threading.Barrier(len(calls)), []
    def one(call):
        barrier.wait()
        try:
            call()
        except coble.CobleError as error:
            errors.append(error)
    threads = [threading.Thread(target=one, args=[call]) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return errors
"""


def alone(store: Store, script: str, status: int = 0) -> str:
    """Runs a program on the store; its output."""
    head = HEAD.format(tests=str(Path(__file__).parent), data=str(store.data_root), run=str(store.run_root))
    done = subprocess.run([sys.executable, "-c", head + script], capture_output=True, text=True, timeout=120)
    assert done.returncode == status, done.stderr
    return done.stdout


def test_pauses_and_updates_at_the_same_time_harm_nobody(shared: coble.Engine, shared_store: Store) -> None:
    alone(
        shared_store,
        """
with engine.containers.run("box", FOREVER) as container:
    first = container.inspect().pid
    for round in range(5):
        errors = together(*[container.pause] * 4)
        assert len(errors) == 3 and all("paused already" in str(error) for error in errors), errors
        assert container.state == "paused"
        errors = together(*[container.unpause] * 4)
        assert len(errors) == 3 and all("not paused" in str(error) for error in errors), errors
        changes = [{"pids_limit": 30 + round}, {"mem_limit": (64 + round) << 20}, {"cpu_shares": 512 + round}, {"nano_cpus": 500_000_000 + round * 10_000_000}]
        assert together(*[lambda change=change: container.update(**change) for change in changes]) == []
        found = container.inspect()
        for change in changes:
            for name, value in change.items():
                assert getattr(found.spec, name) == value, (name, value, found.spec)
                assert {limit.name: limit.applied for limit in found.isolation.limits}[name] == value
    assert (container.state, container.inspect().pid) == ("running", first)
""",
    )


def test_what_is_started_after_a_pause_is_paused_by_the_next_one(shared: coble.Engine, shared_store: Store, tmp_path: Path) -> None:
    alone(
        shared_store,
        f"""
path = {str(tmp_path / "counted")!r}
with engine.containers.run("box", FOREVER) as container, open(path, "wb") as file:
    container.pause()
    container.unpause()
    process = container.popen(["sh", "-c", "while :; do echo x; sleep 0.01; done"], stdout=file)
    eventually(lambda: os.path.getsize(path) > 2, "output")
    top = {{row[1] for row in container.top().processes}}
    assert str(process.pid) in top, top
    container.pause()
    before = os.path.getsize(path)
    time.sleep(0.3)
    assert os.path.getsize(path) == before
    container.unpause()
    eventually(lambda: os.path.getsize(path) > before, "more output")
    process.kill()
    process.wait()
""",
    )


def test_a_paused_container_of_a_session_ends_with_it(shared: coble.Engine, shared_store: Store) -> None:
    script = """
container = engine.containers.create("box", FOREVER, lifetime="session", name="frozen-session")
container.start()
container.pause()
print(container.inspect().pid, flush=True)
os.kill(os.getpid(), 9)
"""
    pid = int(alone(shared_store, script, status=-9))
    assert Path(f"/proc/{pid}").exists()
    alone(shared_store, 'assert engine.containers.list(all=True) == [], "still there"')
    assert wait_for_exit(pid)


def test_one_that_was_killed_while_paused_starts_with_all_of_its_rules(shared: coble.Engine, shared_store: Store) -> None:
    alone(
        shared_store,
        """
container = engine.containers.create("box", FOREVER)
try:
    container.start()
    had = container.inspect().isolation.capabilities.bounding
    container.pause()
    monitor = monitor_of(container)
    os.kill(monitor, 9)
    # It does not go as long as what it has frozen is there, but lets go of all it had open.
    def let_go():
        try:
            return os.listdir(f"/proc/{monitor}/fd") == []
        except OSError:
            return True
    eventually(let_go, "its end")
    container.start()
    assert container.state == "running"
    found = container.inspect()
    assert found.isolation.capabilities.bounding == had
    assert not {"device-rules-not-applied", "mknod-dropped"} & {warning.code for warning in found.warnings}, found.warnings
finally:
    container.remove(force=True)
""",
    )


@pytest.mark.parametrize("policy", ["no", "always"])
def test_what_is_paused_ends_or_is_restarted_at_once(shared: coble.Engine, shared_store: Store, policy: str) -> None:
    """As docker has it: whoever ends a paused container lets it go on, so that it can."""
    alone(
        shared_store,
        f"""
ENDS = {{
    "kill": lambda container: (container.kill(), container.wait(5)),
    "term": lambda container: (container.kill("TERM"), container.wait(5)),
    "stop": lambda container: container.stop(timeout=5),
    "restart": lambda container: container.restart(timeout=5),
    "restart at once": lambda container: container.restart(timeout=0),
    "remove": lambda container: container.remove(force=True),
}}
for end, call in ENDS.items():
    container = engine.containers.create("box", FOREVER, restart_policy={policy!r})
    container.start()
    for run in (1, 2):
        # Each run says so once more. Before that the first process would not hear of TERM.
        wait_for_output(container, b"ready\\n" * run)
        container.pause()
        assert container.state == "paused"
        begin = time.monotonic()
        call(container)
        assert time.monotonic() - begin < 4, end
        if end == "remove":
            break
        state = "running" if "restart" in end else "exited"
        assert container.state == state, (end, container.state)
        if state == "running":
            # Started again it is as any other one.
            container.exec(["true"], check=True)
        else:
            code = 137 if end == "kill" else 143
            assert container.exit_code == code, (end, container.exit_code)
            container.start()
    if end != "remove":
        container.remove(force=True)
assert engine.containers.list(all=True) == []
""",
    )


def test_pausing_one_that_is_started_again_holds_up_nobody(shared: coble.Engine, shared_store: Store) -> None:
    """Its processes are new while it is paused: what is started then would get nowhere, and nobody would answer."""
    alone(
        shared_store,
        """
container = engine.containers.create("box", ["sh", "-c", "sleep 0.02; exit 1"], restart_policy="always")
container.start()
end = time.monotonic() + 3.5
paused = refused = 0
while time.monotonic() < end:
    try:
        container.pause()
    except coble.InvalidStateError as error:
        assert "restarting" in str(error), error
        refused += 1
        continue
    paused += 1
    time.sleep(0.05)
    begin = time.monotonic()
    assert container.state == "paused"
    container.unpause()
    assert time.monotonic() - begin < 2
begin = time.monotonic()
if container.state != "paused":
    try:
        container.pause()
    except coble.InvalidStateError:
        pass
container.stop(timeout=1)
assert time.monotonic() - begin < 4 and container.state == "exited"
container.remove()
assert refused > 0, (paused, refused)
""",
    )


def test_health_of_one_that_is_paused_is_not_looked_at(shared: coble.Engine, shared_store: Store) -> None:
    alone(
        shared_store,
        """
check = {"test": ["CMD", "true"], "interval": 100_000_000, "timeout": 1_000_000_000, "retries": 1}
container = engine.containers.create("box", FOREVER, healthcheck=check)
container.start()
healthy = lambda: container.inspect().health is not None and container.inspect().health.status == "healthy"
eventually(healthy, "healthy")
container.pause()
time.sleep(1.5)
assert healthy() and container.state == "paused"
last = container.health.log[-1].start
container.unpause()
eventually(lambda: container.health.log[-1].start != last, "another check")
assert healthy()
container.remove(force=True)
""",
    )
