"""What can be done with a container besides starting and ending it: pause, restart, rename, wait for conditions, lists with filters, pruning, inspecting as docker
does, the processes and what they use."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import coble
import coble.aio
import pytest
from conftest import CGROUPS, MODE, Store
from helpers import eventually, log_bytes, monitor_of, wait_for_exit, wait_for_output

COUNTING = ["sh", "-c", "trap 'exit 143' TERM; echo ready; while :; do echo x; sleep 0.02; done"]
FOREVER = ["sh", "-c", "trap 'exit 143' TERM; echo ready; while :; do sleep 0.05; done"]


def paused(container: coble.Container) -> None:
    """Pauses, or skips the test for a user whose containers have no freezer, who must have been told so."""
    try:
        container.pause()
    except coble.UnsupportedError as error:
        assert MODE != "root", error
        assert "cannot be paused" in str(error)
        pytest.skip("this user has no freezer here: refused")


@pytest.fixture
def counting(shared: coble.Engine) -> Iterator[coble.Container]:
    container = shared.containers.create("box", COUNTING)
    container.start()
    wait_for_output(container, b"ready")
    yield container
    try:
        container.remove(force=True)
    except coble.ContainerNotFoundError:
        pass  # by the test


#: Whoever waits for somebody in vain does so for 5 seconds at least. The emulated machine is many times slower.
SOON = 4.5 if CGROUPS != "v2" else 15.0


# --- pause ----------------------------------------------------------------------------------------------------------


@pytest.mark.vm
def test_a_paused_container_does_nothing(shared: coble.Engine, counting: coble.Container) -> None:
    paused(counting)
    assert counting.state == "paused"

    def quiet(seconds: float = 0.2) -> bool:
        before = len(log_bytes(counting))
        time.sleep(seconds)
        return len(log_bytes(counting)) == before

    # What it wrote just before is still on its way into the log.
    eventually(lambda: quiet(0.5), "a log that does not grow")
    before = len(log_bytes(counting))
    assert counting in shared.containers.list() and counting.inspect().state == "paused"
    with pytest.raises(coble.InvalidStateError, match="paused already"):
        counting.pause()
    with pytest.raises(coble.InvalidStateError, match="is paused"):
        counting.exec(["true"])
    with pytest.raises(coble.InvalidStateError, match="running"):
        counting.remove()
    counting.unpause()
    assert counting.state == "running"
    eventually(lambda: len(log_bytes(counting)) > before, "more output")
    with pytest.raises(coble.InvalidStateError, match="is not paused"):
        counting.unpause()


@pytest.mark.vm
@pytest.mark.parametrize("policy", ["no", "always"])
@pytest.mark.parametrize("end", ["kill", "stop", "remove", "term", "restart", "restart at once"])
def test_a_paused_container_ends_at_once(shared: coble.Engine, end: str, policy: str) -> None:
    container = shared.containers.create("box", COUNTING, restart_policy=policy)
    container.start()
    wait_for_output(container, b"ready")
    try:
        paused(container)
        begin = time.monotonic()
        if end == "kill":
            container.kill()
            assert container.wait(20) == 137
        elif end == "term":
            # Meant to end it, since it has no stop signal of its own: it goes on to follow it.
            container.kill("TERM")
            assert container.wait(20) == 143
        elif end == "stop":
            container.stop(timeout=20)
        elif end.startswith("restart"):
            container.restart(timeout=20 if end == "restart" else 0)
        else:
            container.remove(force=True)
        assert time.monotonic() - begin < SOON
        if end == "stop":
            assert container.wait(0) == 143
        elif end.startswith("restart"):
            assert container.state == "running"
            assert container.exec(["true"]).exit_code == 0
        elif end == "remove":
            with pytest.raises(coble.ContainerNotFoundError):
                container.inspect()
        if end in ("kill", "term", "stop"):
            assert container.state == "exited"
    finally:
        with contextlib.suppress(coble.ContainerNotFoundError):
            container.remove(force=True)


@pytest.mark.vm
def test_pausing_one_that_is_started_again_holds_up_nobody(shared: coble.Engine) -> None:
    container = shared.containers.create("box", ["sh", "-c", "sleep 0.02; exit 1"], restart_policy="always")
    container.start()
    try:
        end = time.monotonic() + 3
        while time.monotonic() < end:
            try:
                container.pause()
            except coble.InvalidStateError as error:
                assert "restarting" in str(error)
                continue
            except coble.UnsupportedError:
                assert MODE != "root"
                pytest.skip("this user has no freezer here: refused")
            time.sleep(0.05)
            begin = time.monotonic()
            assert container.state == "paused"
            container.unpause()
            assert time.monotonic() - begin < SOON
        begin = time.monotonic()
        container.stop(timeout=1)
        assert time.monotonic() - begin < SOON + 1 and container.state == "exited"
    finally:
        container.remove(force=True)


def test_another_signal_than_the_stop_signal_leaves_it_paused(shared: coble.Engine) -> None:
    container = shared.containers.create("box", ["sh", "-c", "trap 'exit 7' USR1; echo ready; while :; do sleep 0.05; done"], stop_signal="TERM")
    container.start()
    wait_for_output(container, b"ready")
    try:
        paused(container)
        container.kill("USR1")
        assert container.state == "paused"
        container.unpause()
        assert container.wait(5) == 7
    finally:
        container.remove(force=True)


def test_pausing_what_does_not_run(shared: coble.Engine) -> None:
    container = shared.containers.create("box", ["true"])
    for call in (container.pause, container.unpause):
        with pytest.raises(coble.InvalidStateError, match="not running"):
            call()
    container.start()
    container.wait()
    with pytest.raises(coble.InvalidStateError, match="not running"):
        container.pause()
    container.remove()


@pytest.mark.vm
def test_a_paused_container_ends_with_its_monitor(counting: coble.Container) -> None:
    paused(counting)
    pid = counting.inspect().pid
    assert pid is not None
    os.kill(monitor_of(counting), signal.SIGKILL)
    assert wait_for_exit(pid)
    eventually(lambda: counting.state == "exited", "its end")
    assert counting.wait(5) == 137
    counting.start()
    assert counting.state == "running"


def test_a_pause_outlives_its_engine(shared: coble.Engine, shared_store: Store, counting: coble.Container) -> None:
    script = f"""
import coble, os
engine = coble.Engine(data_root={str(shared_store.data_root)!r}, run_root={str(shared_store.run_root)!r})
engine.containers.get({counting.id!r}).pause()
os.kill(os.getpid(), 9)
"""
    done = subprocess.run([sys.executable, "-c", script], stderr=subprocess.PIPE, text=True)
    if done.returncode != -9:
        assert MODE != "root" and "UnsupportedError" in done.stderr, done.stderr
        pytest.skip("this user has no freezer here: refused")
    assert counting.state == "paused"
    counting.unpause()
    assert counting.exec(["echo", "x"]).stdout == b"x\n"


def test_a_commit_leaves_a_paused_container_paused(box: coble.Engine) -> None:
    container = box.containers.create("box", FOREVER)
    container.start()
    paused(container)
    container.commit("of-a-paused-one")
    assert container.state == "paused"


# --- restart, rename, wait ------------------------------------------------------------------------------------------


@pytest.mark.vm
def test_restart(counting: coble.Container) -> None:
    first = counting.inspect()
    assert {"resolve", "mount-root", "exec"} <= set(first.timings) and all(seconds >= 0 for seconds in first.timings.values())
    counting.exec(["sh", "-c", "echo kept > /file"], check=True)
    counting.restart(timeout=5)
    second = counting.inspect()
    assert second.state == "running" and second.started_at != first.started_at
    assert counting.exec(["cat", "/file"]).stdout == b"kept\n"
    counting.stop(timeout=5)
    counting.restart()
    assert counting.state == "running"


def test_one_that_removes_itself_can_be_restarted(shared: coble.Engine) -> None:
    container = shared.containers.create("box", FOREVER, auto_remove=True)
    container.start()
    container.restart(timeout=5)
    assert container.state == "running"
    container.kill()
    container.wait(20, condition="removed")
    with pytest.raises(coble.ContainerNotFoundError):
        container.inspect()


def test_restarts_at_the_same_time_while_somebody_looks(shared: coble.Engine) -> None:
    container = shared.containers.create("box", FOREVER, auto_remove=True)
    container.start()
    wait_for_output(container, b"ready")
    over = threading.Event()

    def look() -> None:
        while not over.is_set():
            shared.containers.list(all=True)

    errors: list[coble.CobleError] = []

    def restart() -> None:
        try:
            for _ in range(2):
                container.restart(timeout=5)
        except coble.CobleError as error:
            errors.append(error)

    looker, threads = threading.Thread(target=look), [threading.Thread(target=restart) for _ in range(3)]
    for thread in [looker, *threads]:
        thread.start()
    for thread in threads:
        thread.join()
    over.set()
    looker.join()
    assert errors == [] and container.state == "running"
    container.kill()
    container.wait(10, condition="removed")


def test_a_restart_that_is_killed_leaves_what_becomes_of_the_container(shared: coble.Engine, shared_store: Store) -> None:
    container = shared.containers.create("box", ["sh", "-c", "trap 'echo asked' TERM; echo ready; while :; do sleep 0.05; done"], auto_remove=True)
    container.start()
    wait_for_output(container, b"ready")
    script = f"""
import coble
engine = coble.Engine(data_root={str(shared_store.data_root)!r}, run_root={str(shared_store.run_root)!r})
engine.containers.get({container.id!r}).restart(timeout=60)
"""
    process = subprocess.Popen([sys.executable, "-c", script])
    wait_for_output(container, b"asked")
    process.kill()
    process.wait()
    container.kill()
    container.wait(10, condition="removed")


def test_a_container_of_another_session_is_not_started(shared: coble.Engine, shared_store: Store) -> None:
    script = f"""
import coble, sys
engine = coble.Engine(data_root={str(shared_store.data_root)!r}, run_root={str(shared_store.run_root)!r})
runs = engine.containers.create("box", {FOREVER!r}, name="of-another-1", lifetime="session")
runs.start()
stopped = engine.containers.create("box", ["true"], name="of-another-2", lifetime="session")
print("made", flush=True)
sys.stdin.read()
runs.restart(timeout=5)
engine.close()
"""
    process = subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin is not None and process.stdout is not None
    assert process.stdout.readline() == "made\n"
    runs, stopped = (shared.containers.get(name) for name in ("of-another-1", "of-another-2"))
    started = runs.inspect().started_at
    for call in (lambda: runs.restart(timeout=1), stopped.start):
        with pytest.raises(coble.InvalidStateError, match="another engine"):
            call()
    assert runs.state == "running" and runs.inspect().started_at == started
    process.stdin.close()
    process.stdout.close()
    # Its own process may.
    assert process.wait(30) == 0


def test_one_that_is_started_again_at_once_is_left_alone_by_those_who_saw_its_end(shared: coble.Engine) -> None:
    container = shared.containers.create("box", FOREVER)
    over = threading.Event()

    def look() -> None:
        while not over.is_set():
            shared.containers.list(all=True)

    lookers = [threading.Thread(target=look) for _ in range(3)]
    for looker in lookers:
        looker.start()
    try:
        for _ in range(10):
            container.start()
            pid = container.inspect().pid
            # Whoever saw the end of the run before has had the time to clear it up by now.
            assert pid is not None and not wait_for_exit(pid, 0.1)
            container.kill()
            assert container.wait(10) == 137
    finally:
        over.set()
        for looker in lookers:
            looker.join()
        container.remove(force=True)


@pytest.mark.parametrize("condition", ["not-running", "next-exit"])
def test_a_wait_ends_with_the_run_that_was_waited_for(shared: coble.Engine, shared_store: Store, counting: coble.Container, condition: str) -> None:
    script = f"""
import coble
engine = coble.Engine(data_root={str(shared_store.data_root)!r}, run_root={str(shared_store.run_root)!r})
print(engine.containers.get({counting.id!r}).wait(20, condition={condition!r}))
"""
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as process:
        folder = Path(f"/proc/{process.pid}")

        asleep = 0

        def link(name: str) -> str:
            try:
                return os.readlink(folder / "fd" / name)
            except FileNotFoundError:  # closed since it was listed
                return ""

        def waits() -> bool:
            # It wakes now and then to look after signals, and a busy machine may let it wait for a processor: asleep is what it is at most looks, not at all.
            nonlocal asleep
            connected = any(target.startswith("socket:") for target in map(link, os.listdir(folder / "fd")))
            asleep += connected and (folder / "stat").read_text().rpartition(")")[2].split()[0] == "S"
            return asleep >= 10

        eventually(waits, "its wait for the monitor", 20)
        # It hears of the end only when the next run has begun.
        process.send_signal(signal.SIGSTOP)
        counting.restart(timeout=5)
        process.send_signal(signal.SIGCONT)
        assert process.communicate(timeout=30)[0] == "143\n" and counting.state == "running"


def test_a_paused_container_may_still_become_ready(shared: coble.Engine) -> None:
    container = shared.containers.create("box", ["sh", "-c", "echo begun; until [ -e /go ]; do sleep 0.02; done; echo later; touch /later; sleep 1000"])
    container.start()
    wait_for_output(container, b"begun")
    try:
        paused(container)
        strategies = [coble.wait.log("later"), coble.wait.file("/later"), coble.wait.exec(["test", "-e", "/later"])]
        errors: list[BaseException] = []

        def wait() -> None:
            try:
                container.wait_for(coble.wait.all_of(*strategies), 30)
            except BaseException as error:  # noqa: BLE001 - told below
                errors.append(error)

        waiters = [threading.Thread(target=wait)]
        waiters += [threading.Thread(target=lambda one=one: container.wait_for(one, 30)) for one in strategies]  # type: ignore[misc]
        for waiter in waiters:
            waiter.start()
        time.sleep(0.5)
        assert all(waiter.is_alive() for waiter in waiters) and errors == []
        container.unpause()
        container.exec(["touch", "/go"], check=True)
        for waiter in waiters:
            waiter.join(20)
            assert not waiter.is_alive()
        assert errors == []
    finally:
        container.remove(force=True)


@pytest.mark.vm
def test_rename(shared: coble.Engine) -> None:
    first = shared.containers.create("box", FOREVER, name="rename-first")
    second = shared.containers.create("box", ["true"], name="rename-second")
    first.start()
    with pytest.raises(coble.NameInUseError):
        first.rename("rename-second")
    for bad in ("", "a b", "-x", "0" * 64, "rename-first"):
        with pytest.raises(coble.InvalidArgumentError):
            first.rename(bad)
    first.rename("renamed")
    assert (first.name, shared.containers.get("renamed").id, first.state) == ("renamed", first.id, "running")
    with pytest.raises(coble.ContainerNotFoundError):
        shared.containers.get("rename-first")
    second.rename("rename-first")
    first.remove(force=True)
    second.remove()


def waiting(container: coble.Container, condition: Any) -> tuple[threading.Thread, list[int]]:
    """A thread that waits for something by now, as far as that can be known, and the exit codes that it will have got."""
    codes: list[int] = []
    begun = threading.Event()

    def wait() -> None:
        begun.set()
        codes.append(container.wait(20, condition=condition))

    waiter = threading.Thread(target=wait)
    waiter.start()
    begun.wait()
    time.sleep(0.1)
    assert waiter.is_alive()
    return waiter, codes


def test_wait_for_the_next_exit(shared: coble.Engine) -> None:
    container = shared.containers.create("box", ["sh", "-c", "sleep 1; exit 5"])
    with pytest.raises(coble.TimeoutError):
        container.wait(0.1, condition="next-exit")
    waiter, codes = waiting(container, "next-exit")
    container.start()
    waiter.join()
    assert codes == [5]
    with pytest.raises(coble.TimeoutError):
        container.wait(0.1, condition="next-exit")
    assert container.wait() == 5
    with pytest.raises(coble.InvalidArgumentError):
        container.wait(condition="sometime")  # type: ignore[arg-type]
    container.remove()


def test_wait_for_the_removal(shared: coble.Engine) -> None:
    container = shared.containers.create("box", ["sh", "-c", "exit 6"])
    container.start()
    container.wait()
    waiter, codes = waiting(container, "removed")
    container.remove()
    waiter.join()
    assert codes == [6]


# --- lists ----------------------------------------------------------------------------------------------------------


@pytest.mark.vm
def test_filters_on_options(box: coble.Engine, tmp_path: Path) -> None:
    make = box.containers.create
    one = make("box", FOREVER, name="one", exposed_ports=[80, "53/udp", "8000-8010"])
    make("box", FOREVER, name="two", volumes={str(tmp_path): "/data"}, tmpfs={"/scratch": ""}, network="host")
    make("box", FOREVER, name="three", network=f"container:{one.name}")

    def found(**filters: object) -> list[str]:
        return [container.name for container in box.containers.list(all=True, filters=filters)]  # type: ignore[arg-type]

    assert found(expose=80) == found(expose="80/tcp") == found(expose="53/udp") == found(expose="8005") == found(expose="7000-8000") == ["one"]
    assert found(expose="80/udp") == found(expose="53") == found(expose="81") == found(publish=80) == []
    assert found(volume=str(tmp_path)) == found(volume="/data") == found(volume="/scratch") == ["two"]
    assert found(volume="/dat") == found(volume="tmpfs") == []
    assert found(network="none") == ["one"] and found(network="host") == ["two"] and found(network=["none", "host"]) == ["two", "one"]
    assert found(network="container:one") == found(network=f"container:{one.id}") == found(network=f"container:{one.id[:12]}") == ["three"]
    assert found(network="bridge") == found(network="container:two") == found(network="container:nobody") == []
    assert found(network="host", volume="/data", name="w") == ["two"] and found(network="none", volume="/data") == []
    for bad in ("expose=x", "publish=0", "expose=9-8"):
        with pytest.raises(coble.InvalidArgumentError):
            box.containers.list(filters=[bad])


def test_filters(box: coble.Engine) -> None:
    make = box.containers.create
    one = make("box", ["sh", "-c", "exit 3"], name="web-1", labels={"tier": "front", "x": ""})
    two = make("box", FOREVER, name="web-2", labels={"tier": "back"})
    three = make("box", ["sh", "-c", "echo x > /file"], name="db")
    one.start()
    one.wait()
    two.start()

    def found(all: bool = True, **filters: object) -> list[str]:
        return [container.name for container in box.containers.list(all=all, filters={key.replace("not_", "") + ("!" if key.startswith("not_") else ""): value for key, value in filters.items()})]  # type: ignore[misc]

    assert found() == ["db", "web-2", "web-1"]
    assert found(all=False) == ["web-2"]
    assert found(name="web") == ["web-2", "web-1"] and found(name="^db$") == ["db"] and found(name=["db", "1$"]) == ["db", "web-1"]
    assert found(name="^w.b.1$") == ["web-1"] and found(name="web\\-2") == ["web-2"]
    assert found(id=one.id[:12]) == ["web-1"]
    assert found(label="tier") == ["web-2", "web-1"] and found(label="tier=back") == ["web-2"] and found(label=["tier", "x"]) == ["web-1"]
    assert found(not_label="tier") == ["db"]
    assert found(status="created", all=False) == ["db"] and found(status=["exited", "running"]) == ["web-2", "web-1"]
    assert found(exited=3) == ["web-1"] and found(exited=0) == []
    assert found(before="web-2") == ["web-1"] and found(since="web-1") == ["db", "web-2"]
    assert found(ancestor="box") == ["db", "web-2", "web-1"] and found(ancestor="none") == []
    assert found(until="1h") == []
    assert [container.name for container in box.containers.list(limit=2)] == ["db", "web-2"]
    (sized,) = box.containers.list(filters=["name=web-2"], size=True)
    assert sized.size_rw is not None and sized.size_rw >= 0 and three.size_rw is None
    # An image that was made upon another one has it as its ancestor.
    three.start()
    three.wait()
    derived = three.commit("derived")
    make("derived", ["true"], name="of-derived")
    assert "of-derived" in found(ancestor="box") and found(ancestor=derived.id) == ["of-derived"]
    for bad in (["color=red"], ["status=up"], ["exited=x"], ["name="], ["name=web*"], ["name=web-[0-9]"], ["x"]):
        with pytest.raises(coble.InvalidArgumentError):
            box.containers.list(filters=bad)
    with pytest.raises(coble.ContainerNotFoundError):
        box.containers.list(filters={"before": "nobody"})


def test_prune(box: coble.Engine) -> None:
    kept = box.containers.create("box", FOREVER, name="runs")
    kept.start()
    box.containers.create("box", ["true"], name="labelled", labels={"keep": "1"})
    ended = box.containers.create("box", ["sh", "-c", "head -c 100000 /dev/zero > /file"], name="ended")
    ended.start()
    ended.wait()
    assert box.containers.prune(filters={"until": "1h"}).deleted == []
    pruned = box.containers.prune(filters={"label!": "keep"})
    assert pruned.deleted == [ended.id] and pruned.reclaimed >= 100000
    with pytest.raises(coble.InvalidArgumentError):
        box.containers.prune(filters={"name": "labelled"})
    assert len(box.containers.prune().deleted) == 1
    assert [container.name for container in box.containers.list(all=True)] == ["runs"]


# --- inspect, top, stats --------------------------------------------------------------------------------------------


@pytest.mark.vm
def test_inspect_as_docker(shared: coble.Engine) -> None:
    container = shared.containers.create("box", ["sh", "-c", "exit 9"], name="docker-form", environment={"A": "b"}, labels={"k": "v"}, working_dir="/tmp", pids_limit=50)
    found = container.inspect_docker()
    assert found["State"]["Status"] == "created" and found["State"]["StartedAt"].startswith("0001-")
    container.start()
    container.wait()
    found = container.inspect_docker()
    assert (found["Id"], found["Name"], found["Path"], found["Args"]) == (container.id, "/docker-form", "sh", ["-c", "exit 9"])
    state = found["State"]
    assert (state["Status"], state["Running"], state["Paused"], state["ExitCode"], state["Pid"]) == ("exited", False, False, 9, 0)
    config = found["Config"]
    assert config["Cmd"] == ["sh", "-c", "exit 9"] and config["WorkingDir"] == "/tmp" and config["Labels"]["k"] == "v" and config["Image"] == "box"
    assert {"A=b", "IMAGE_VARIABLE=image"} <= set(config["Env"])
    assert found["HostConfig"]["PidsLimit"] == 50 and found["HostConfig"]["NetworkMode"] == "none"
    assert list(found["NetworkSettings"]["Networks"]) == ["none"]
    assert found["Coble"]["state"] == "exited"
    container.remove()


def test_inspect_as_docker_with_size_and_what_runs(shared: coble.Engine) -> None:
    container = shared.containers.create("box", ["sh", "-c", "head -c 300000 /dev/zero > /file; exec sleep 1000"])
    container.start()
    eventually(lambda: container.exec(["sh", "-c", "[ $(stat -c %s /file) = 300000 ]"]).exit_code == 0, "the file")
    assert "SizeRw" not in container.inspect_docker()
    found = container.inspect_docker(size=True)
    image = shared.images.inspect("box").unpacked_size
    assert image is not None and 300000 <= found["SizeRw"] < 600000 and found["SizeRootFs"] == found["SizeRw"] + image
    assert eventually(lambda: container.inspect_docker()["ExecIDs"] is None, "the end of the others")
    with shared.events(filters={"container": container.id, "event": "exec_start"}) as events:
        process = container.popen(["sleep", "1000"])
        (running,) = eventually(lambda: container.inspect_docker()["ExecIDs"], "the program")
        assert next(iter(events)).attributes["execID"] == running
    process.kill()
    process.wait(30)
    assert eventually(lambda: container.inspect_docker()["ExecIDs"] is None, "its end")
    assert (found["AppArmorProfile"], found["ProcessLabel"], found["HostsPath"]) == ("", "", "")
    assert (found["HostConfig"]["PortBindings"], found["HostConfig"]["ContainerIDFile"], found["Config"]["AttachStdout"]) == ({}, "", False)
    container.remove(force=True)


def test_top_with_columns(counting: coble.Container, shared_store: Store) -> None:
    table = counting.top(["-o", "pid,stat,nlwp,etimes", "-o", "args=What"])
    assert table.titles == ["PID", "STAT", "NLWP", "ELAPSED", "What"]
    (first,) = [row for row in table.processes if row[0] == str(counting.inspect().pid)]
    assert first[1][0] in "SRD" and first[2] == "1" and int(first[3]) >= 0
    assert counting.top("aux").titles[:4] == ["USER", "PID", "%CPU", "%MEM"] and counting.top().titles[0] == "UID"
    for bad, named in (("-o pid,nope", "nope"), ("--forest", "--forest"), ("-p 1", "-p")):
        with pytest.raises(coble.InvalidArgumentError, match=named):
            counting.top(bad)
    program = os.environ.get("COBLE_TEST_COMMAND", str(Path(sys.executable).parent / "coble"))
    words = [program, "--data-root", shared_store.data_root, "--run-root", shared_store.run_root, "top"]
    shown = subprocess.run([*words, counting.id, "-eo", "pid,comm"], capture_output=True, text=True, check=True).stdout
    assert shown.split()[:2] == ["PID", "COMMAND"] and "sh" in shown
    assert json.loads(subprocess.run([*words, counting.id, "--format", "json"], capture_output=True, text=True, check=True).stdout)["titles"][0] == "UID"
    assert json.loads(subprocess.run([*words, "--format", "json", counting.id, "aux"], capture_output=True, text=True, check=True).stdout)["titles"][0] == "USER"


@pytest.mark.vm
def test_top(counting: coble.Container) -> None:
    process = counting.popen(["sleep", "98765"])

    def look() -> list[list[str]] | None:
        top = counting.top()
        assert top.titles == ["UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD"]
        return top.processes if any(row[7] == "sleep 98765" for row in top.processes) else None

    # The kernel shows a program's arguments a moment after it has begun.
    rows = eventually(look, "the program")
    commands = {row[7]: row for row in rows}
    assert any(command.startswith("sh -c trap") for command in commands)
    row = commands["sleep 98765"]
    assert int(row[1]) == process.pid and row[5] == "?" and row[6].startswith("00:00:0")
    assert counting.inspect().pid in {int(row[1]) for row in rows}
    process.kill()
    process.wait()
    counting.stop(timeout=2)
    with pytest.raises(coble.InvalidStateError):
        counting.top()


@pytest.mark.vm
def test_stats(shared: coble.Engine) -> None:
    spinning = shared.containers.create("box", ["sh", "-c", "while :; do :; done"])
    spinning.start()
    try:
        # Where the machine is emulated its clocks are rough, and where it is busy others have the processors for a while.
        stats = eventually(lambda: 5 < (found := spinning.stats(interval=0.5)).cpu_percent < 200 and found, "the share of a processor")
        assert (stats.id, stats.name) == (spinning.id, spinning.name)
        assert stats.cpu_total_ns > 0 and 0 < stats.memory_usage < stats.memory_limit and stats.pids >= 1
        assert stats.online_cpus >= 1 and 0 <= stats.memory_percent < 100
        assert spinning.stats(interval=0).cpu_percent == 0
        assert stats.to_dict()["pids"] == stats.pids
        with spinning.stats(stream=True, interval=0.1) as stream:
            first = next(stream)
            assert first.cpu_percent == 0
            eventually(lambda: (look := next(stream)).cpu_percent > 0 and look.cpu_total_ns > first.cpu_total_ns, "some use")
            spinning.kill()
            assert spinning.wait(20) == 137
            # The monitor may be there a moment longer.
            assert [look for look in stream][1:] == []
        with pytest.raises(coble.InvalidStateError):
            spinning.stats()
    finally:
        spinning.remove(force=True)


def test_a_stats_stream_can_be_closed(counting: coble.Container) -> None:
    stream = counting.stats(stream=True, interval=60)
    assert next(stream).cpu_percent == 0
    closer = threading.Timer(0.1, stream.close)
    closer.start()
    begin = time.monotonic()
    assert list(stream) == [] and time.monotonic() - begin < 10
    closer.join()
    assert stream.closed
    with pytest.raises(coble.TimeoutError), counting.stats(stream=True, interval=60) as other:
        other.next()
        other.next(timeout=0.1)


def test_with_limits_the_kernel_counts(shared: coble.Engine) -> None:
    container = shared.containers.create("box", ["sh", "-c", "sleep 1000 & wait"], mem_limit="64m", pids_limit=40)
    container.start()
    try:
        applied = {limit.name: limit.applied for limit in container.inspect().isolation.limits}  # type: ignore[union-attr]
        eventually(lambda: container.stats(interval=0).pids == 2, "both of its processes")
        stats = container.stats(interval=0)
        assert stats.memory_counted == (applied["mem_limit"] is not None)
        if applied["mem_limit"] is not None:
            assert stats.memory_limit == 64 << 20 and stats.oom_kills == 0
        if applied["pids_limit"] is not None:
            assert stats.pids_limit == 40
        assert stats.pids == 2
    finally:
        container.remove(force=True)


@pytest.mark.vm
def test_what_the_kernel_says_of_waiting_and_of_limits(shared: coble.Engine) -> None:
    script = "until [ -e /go ]; do sleep 0.02; done; probe fork 100 > /dev/null; exec sleep 1000"
    container = shared.containers.create("box", ["sh", "-c", script], mem_limit="64m", pids_limit=20)
    container.start()
    try:
        applied = {limit.name: limit.applied for limit in container.inspect().isolation.limits}  # type: ignore[union-attr]
        stats = container.stats(interval=0)
        container.exec(["touch", "/go"], check=True)
        if applied["pids_limit"] is not None:
            assert stats.pids_events == 0
            eventually(lambda: container.stats(interval=0).pids_events, "what the limit forbids")
        if applied["mem_limit"] is not None:
            assert stats.memory_events is not None and {"max", "oom_kill"} <= set(stats.memory_events)
            assert stats.memory_events["oom_kill"] == stats.oom_kills == 0
        for pressure in (stats.cpu_pressure, stats.memory_pressure, stats.io_pressure):
            if pressure is not None:
                assert 0 <= pressure.some.avg10 <= 100 and 0 <= pressure.some.avg60 <= 100 and 0 <= pressure.some.avg300 <= 100
                assert pressure.some.total_us >= (pressure.full.total_us if pressure.full else 0)
                assert pressure.to_dict()["some"]["avg10"] == pressure.some.avg10
        if CGROUPS == "v2" and MODE == "root" and Path("/proc/pressure/cpu").exists():
            assert stats.cpu_pressure is not None and stats.memory_pressure is not None
    finally:
        container.remove(force=True)


def test_asynchronously(shared_store: Store) -> None:
    async def use() -> None:
        async with coble.aio.Engine(shared_store.data_root, shared_store.run_root) as engine:
            async with engine.containers.run("box", FOREVER) as container:
                await container.rename("aio-renamed")
                assert container.name == "aio-renamed"
                assert [one.name for one in await engine.containers.list(filters={"name": "aio-renamed"})] == ["aio-renamed"]
                assert (await container.top()).processes
                async with await container.stats(stream=True, interval=0.05) as stream:
                    async for stats in stream:
                        if stats.cpu_total_ns:
                            break
                await container.restart(5)
                assert await container.state == "running"

    asyncio.run(use())


# --- the command ----------------------------------------------------------------------------------------------------


@pytest.fixture
def command(store: Store, box: coble.Engine) -> Iterator[object]:
    program = os.environ.get("COBLE_TEST_COMMAND", str(Path(sys.executable).parent / "coble"))

    def run(*words: str, status: int = 0) -> str:
        done = subprocess.run(
            [program, "--data-root", store.data_root, "--run-root", store.run_root, *words], stdin=subprocess.DEVNULL, capture_output=True, text=True
        )
        assert done.returncode == status, done.stderr
        return done.stdout if status == 0 else done.stderr

    yield run


def test_stats_follow_what_starts_and_ends(command: object, store: Store, box: coble.Engine) -> None:
    run = command
    assert callable(run)
    program = os.environ.get("COBLE_TEST_COMMAND", str(Path(sys.executable).parent / "coble"))
    first = box.containers.create("box", FOREVER, name="first")
    rests = box.containers.create("box", FOREVER, name="rests")
    first.start()
    (only,) = json.loads(run("stats", "--no-stream", "--format", "json"))
    assert only["name"] == "first"
    assert {one["name"]: one["time"] != "" for one in json.loads(run("stats", "--no-stream", "-a", "--format", "json"))} == {"first": True, "rests": False}
    assert "-- / --" in run("stats", "--no-stream", "-a", "rests")
    looks = subprocess.Popen(
        [program, "--data-root", store.data_root, "--run-root", store.run_root, "stats", "--format", "json"], stdout=subprocess.PIPE, text=True
    )
    assert looks.stdout is not None

    def until(names: set[str]) -> None:
        for line in looks.stdout:  # type: ignore[union-attr]
            if {one["name"] for one in json.loads(line)} == names:
                return
        raise AssertionError(f"no look with {names}")

    try:
        until({"first"})
        rests.start()
        until({"first", "rests"})
        first.remove(force=True)
        until({"rests"})
        rests.remove(force=True)
        until(set())
        box.containers.create("box", FOREVER, name="last").start()
        until({"last"})
    finally:
        looks.kill()
        looks.wait()
        looks.stdout.close()


def test_verbs_on_many_take_the_time_of_one(command: object, box: coble.Engine) -> None:
    run = command
    assert callable(run)
    names = [f"deaf-{n}" for n in range(8)]
    for name in names:
        box.containers.create("box", ["sh", "-c", "trap '' TERM; while :; do sleep 0.1; done"], name=name).start()
    lines = "".join(f"{name}\n" for name in names)
    begin = time.monotonic()
    # One after the other they would take 32 seconds.
    assert run("stop", "-t", "4", *names) == lines
    assert time.monotonic() - begin < 24
    assert run("start", *names) == lines
    said = run("stop", "-t", "0", names[0], "nobody", names[1], status=125)
    assert "nobody" in said
    # The others are done all the same.
    assert [box.containers.get(name).state for name in names[:3]] == ["exited", "exited", "running"]
    assert run("restart", "-t", "0", *names) == lines
    if MODE == "root" and CGROUPS != "none":
        assert run("pause", *names) == run("unpause", *names) == lines
    assert run("kill", *names) == lines
    assert run("rm", "-f", *reversed(names)) == "".join(f"{name}\n" for name in reversed(names))
    assert box.containers.list(all=True) == []


def test_the_command(command: object, box: coble.Engine) -> None:
    run = command
    assert callable(run)
    run("run", "-d", "--name", "one", "--label", "k=v", "box", *FOREVER)
    run("create", "--name", "two", "--pids-limit", "-1", "--ulimit", "nofile=50", "--sysctl", "kernel.msgmax=9000", "box", "sh", "-c", "ulimit -n; cat /proc/sys/kernel/msgmax")
    if MODE == "root" and CGROUPS != "none":
        assert run("pause", "one") == "one\n"
        assert "(Paused)" in run("ps") and run("ps", "-q", "--filter", "status=paused").strip()
        assert "is paused" in run("exec", "one", "true", status=125)
        assert run("container", "unpause", "one") == "one\n"
        assert run("update", "--memory", "64m", "--pids-limit", "30", "one") == "one\n"
        (found,) = json.loads(run("inspect", "one"))
        assert found["HostConfig"]["Memory"] == 64 << 20
        assert run("update", "--pids-limit", "-1", "one") == "one\n" and json.loads(run("inspect", "one"))[0]["HostConfig"]["PidsLimit"] is None
        assert "64.0MiB" in run("stats", "--no-stream", "one")
    assert "nothing to change is given" in run("update", "one", status=125)
    assert run("ps", "-n", "1", "--format", "json").count('"id"') == 1 and "two" in run("ps", "-l")
    assert "SIZE" in run("ps", "-a", "--size") and "one" not in run("ps", "-a", "--filter", "name=two")
    assert "unknown key" in run("ps", "--filter", "color=red", status=125)
    assert "sh -c trap" in run("top", "one")
    (stats,) = json.loads(run("stats", "--no-stream", "--format", "json"))
    assert stats["name"] == "one"
    run("rename", "one", "three")
    assert run("restart", "-t", "5", "three") == "three\n"
    run("start", "-a", "two")
    assert run("wait", "--condition", "not-running", "two") == "0\n"
    assert "unknown condition" in run("wait", "--condition", "x", "two", status=125)
    assert "Total reclaimed space" in run("container", "prune", "-f")
    assert "two" not in run("ps", "-a") and "three" in run("ps")
    run("rm", "-f", "three")
