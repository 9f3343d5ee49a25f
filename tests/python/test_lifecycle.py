"""Containers: create, start, wait, stop, kill, remove, list, inspect, logs; names and ids; many processes on one store."""

from __future__ import annotations

import contextlib
import datetime
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import coble
import pytest
from conftest import CGROUPS, MODE, Store
from helpers import eventually, log_bytes, monitor_of, private, wait_for_exit, wait_for_output
from test_command import Command

FOREVER = ["sh", "-c", "trap 'exit 143' TERM; echo ready; while :; do sleep 0.05; done"]
STUBBORN = ["sh", "-c", "trap '' TERM; echo ready; while :; do sleep 0.05; done"]


@pytest.fixture
def running(shared: coble.Engine) -> Iterator[coble.Container]:
    container = shared.containers.create("box", FOREVER)
    container.start()
    wait_for_output(container, b"ready")
    yield container
    container.remove(force=True)


# --- states ---------------------------------------------------------------------------------------------------------


@pytest.mark.vm
def test_a_life(shared: coble.Engine) -> None:
    container = shared.containers.create("box", ["sh", "-c", "echo hello; exit 4"], name="a-life", labels={"k": "v"})
    assert (container.name, container.state) == ("a-life", "created")
    assert len(container.id) == 64
    container.start()
    assert container.wait() == 4
    assert container.state == "exited"
    assert log_bytes(container) == b"hello\n"
    (summary,) = [one for one in shared.containers.list(all=True) if one.id == container.id]
    assert (summary.name, summary.image, summary.exit_code, summary.state) == ("a-life", "box", 4, "exited")
    assert summary.labels == {"k": "v"}
    assert list(summary.command) == ["sh", "-c", "echo hello; exit 4"]
    container.remove()
    with pytest.raises(coble.ContainerNotFoundError):
        container.inspect()
    with pytest.raises(LookupError):
        shared.containers.get("a-life")


def test_wait_again_and_from_many_threads(shared: coble.Engine) -> None:
    container = shared.containers.create("box", ["sh", "-c", "sleep 0.3; exit 6"])
    container.start()
    codes: list[int] = []
    threads = [threading.Thread(target=lambda: codes.append(container.wait())) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert codes == [6] * 8
    assert container.wait() == 6
    container.remove()


def test_wait_with_a_timeout(running: coble.Container) -> None:
    begin = time.monotonic()
    with pytest.raises(coble.TimeoutError):
        running.wait(timeout=0.2)
    assert 0.2 <= time.monotonic() - begin < 10
    assert running.state == "running"


def test_waiting_for_what_never_started(shared: coble.Engine) -> None:
    container = shared.containers.create("box", ["true"])
    with pytest.raises((coble.InvalidStateError, coble.TimeoutError)):
        container.wait(timeout=0.1)
    container.remove()


@pytest.mark.vm
def test_stop_asks_first(running: coble.Container) -> None:
    running.stop(timeout=10)
    assert running.wait() == 143
    assert running.state == "exited"


@pytest.mark.vm
def test_stop_kills_what_does_not_listen(shared: coble.Engine) -> None:
    container = shared.containers.create("box", STUBBORN)
    container.start()
    wait_for_output(container, b"ready")
    begin = time.monotonic()
    container.stop(timeout=1)
    took = time.monotonic() - begin
    # Without that it would be 10.
    assert 0.9 <= took < 8
    assert container.wait() == 137
    container.remove()


@pytest.mark.once
def test_stop_with_another_signal(shared: coble.Engine, shared_store: Store) -> None:
    script = "trap 'echo told; exit 7' USR1; echo ready; sleep 1000 & wait"
    container = shared.containers.create("box", ["sh", "-c", script], stop_signal="SIGKILL")
    command = Command(shared_store)

    def ready(runs: int) -> None:
        eventually(lambda: log_bytes(container).count(b"ready\n") == runs, "the trap")

    container.start()
    ready(1)
    container.restart(timeout=60, signal="USR1")
    ready(2)
    assert log_bytes(container).count(b"told\n") == 1
    command.good("restart", "-s", "SIGUSR1", "-t", "60", container.name)
    ready(3)
    assert log_bytes(container).count(b"told\n") == 2
    command.good("stop", "--signal", "USR1", "-t", "60", container.name)
    assert container.wait(timeout=20) == 7
    container.start()
    ready(4)
    container.stop(timeout=60, signal=10)
    assert container.wait(timeout=20) == 7
    for call in (container.stop, container.restart):
        with pytest.raises(coble.InvalidArgumentError):
            call(signal="SIGNONE")
    container.remove()


def test_stop_of_what_does_not_run_is_fine(shared: coble.Engine) -> None:
    container = shared.containers.create("box", ["true"])
    container.stop()
    container.start()
    container.wait()
    container.stop()
    container.remove()


@pytest.mark.parametrize("name", ["SIGUSR1", "USR1", "usr1", "10", 10, signal.SIGUSR1])
def test_kill_with_a_signal(shared: coble.Engine, name: str | int) -> None:
    container = shared.containers.create("box", ["sh", "-c", "trap 'exit 55' USR1; echo ready; while :; do sleep 0.05; done"])
    container.start()
    wait_for_output(container, b"ready")
    container.kill(name)
    assert container.wait() == 55
    container.remove()


@pytest.mark.parametrize("name", ["", "NOSIG", "0", "65", "-9"])
def test_kill_with_nonsense(running: coble.Container, name: str) -> None:
    with pytest.raises(coble.InvalidArgumentError):
        running.kill(name)


def test_kill_of_what_does_not_run(shared: coble.Engine) -> None:
    container = shared.containers.create("box", ["true"])
    with pytest.raises(coble.InvalidStateError):
        container.kill()
    container.remove()


def test_remove_refuses_a_running_one(running: coble.Container) -> None:
    with pytest.raises(coble.InvalidStateError):
        running.remove()
    assert running.state == "running"


@pytest.mark.vm
def test_remove_with_force(shared: coble.Engine) -> None:
    container = shared.containers.create("box", STUBBORN)
    container.start()
    pid = container.inspect().pid
    container.remove(force=True)
    assert wait_for_exit(pid, 0.0), "the program lives after remove"


def test_start_twice(running: coble.Container) -> None:
    with pytest.raises(coble.InvalidStateError):
        running.start()


@pytest.mark.vm
def test_start_again_after_the_end(shared: coble.Engine) -> None:
    container = shared.containers.create("box", ["sh", "-c", "echo run >> /count; wc -l < /count"])
    for expected in (b"1\n", b"1\n2\n", b"1\n2\n3\n"):
        container.start()
        assert container.wait() == 0
        assert log_bytes(container) == expected
    container.remove()


def test_a_failed_start_leaves_a_container_that_can_be_removed(shared: coble.Engine) -> None:
    container = shared.containers.create("box", ["no-such-program"])
    with pytest.raises(coble.CommandNotFoundError):
        container.start()
    assert container.state in ("created", "exited")
    details = container.inspect()
    assert details.error and "no-such-program" in details.error
    container.remove()


def test_with_removes(shared: coble.Engine) -> None:
    with shared.containers.run("box", FOREVER) as container:
        assert container.state == "running"
        pid = container.inspect().pid
    assert wait_for_exit(pid, 0.0)
    with pytest.raises(coble.ContainerNotFoundError):
        shared.containers.get(container.id)


def test_with_removes_after_an_exception(shared: coble.Engine) -> None:
    with pytest.raises(ZeroDivisionError):
        with shared.containers.run("box", FOREVER):
            raise ZeroDivisionError


def test_auto_remove(shared: coble.Engine) -> None:
    container = shared.containers.create("box", ["true"], auto_remove=True)
    container.start()
    container.wait()

    def gone() -> bool:
        return container.id not in [one.id for one in shared.containers.list(all=True)]

    eventually(gone, "the container removes itself")


# --- names and ids --------------------------------------------------------------------------------------------------


def test_lookup_by_name_id_and_prefix(shared: coble.Engine) -> None:
    container = shared.containers.create("box", ["true"], name="look.me_up-1")
    for text in ("look.me_up-1", container.id, container.id[:12], container.id[:4]):
        assert shared.containers.get(text).id == container.id
    for text in (container.id[:3], "look", "", "0" * 64, container.id + "0", "../x"):
        with pytest.raises((coble.ContainerNotFoundError, coble.InvalidArgumentError)):
            shared.containers.get(text)
    container.remove()


def test_a_name_is_taken_once(shared: coble.Engine) -> None:
    container = shared.containers.create("box", ["true"], name="taken")
    with pytest.raises(coble.NameInUseError):
        shared.containers.create("box", ["true"], name="taken")
    container.remove()
    shared.containers.create("box", ["true"], name="taken").remove()


@pytest.mark.parametrize("name", ["", "-x", ".x", "_x", "a/b", "a b", "../x", "ü", "a\n", "a\0", "x" * 129, "a:b"])
def test_names_that_are_refused(shared: coble.Engine, name: str) -> None:
    """SEC-89."""
    with pytest.raises((coble.InvalidArgumentError, ValueError)):
        shared.containers.create("box", ["true"], name=name)


def test_made_up_names_differ(shared: coble.Engine) -> None:
    containers = [shared.containers.create("box", ["true"]) for _ in range(10)]
    assert len({container.name for container in containers}) == 10
    for container in containers:
        container.remove()


def test_list_shows_the_running_ones(shared: coble.Engine, running: coble.Container) -> None:
    created = shared.containers.create("box", ["true"])
    assert [one.id for one in shared.containers.list()] == [running.id]
    assert [one.id for one in shared.containers.list(all=True)] == [created.id, running.id]
    created.remove()


def seconds_of(text: str) -> float:
    """RFC 3339 in UTC as seconds since the epoch."""
    found = re.fullmatch(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(\.\d+)?(Z|\+00:00)", text)
    assert found, text
    return datetime.datetime.fromisoformat(found.group(1) + "+00:00").timestamp()


def test_inspect(running: coble.Container) -> None:
    details = running.inspect()
    assert details.state == "running"
    assert os.path.exists(f"/proc/{details.pid}")
    assert details.exit_code is None
    assert abs(time.time() - seconds_of(details.started_at)) < 60
    assert details.isolation is not None


# --- logs -----------------------------------------------------------------------------------------------------------


@pytest.mark.vm
def test_logs_by_stream(shared: coble.Engine) -> None:
    container = shared.containers.create("box", ["sh", "-c", "echo out; echo err >&2"])
    container.start()
    container.wait()
    assert log_bytes(container, stderr=False) == b"out\n"
    assert log_bytes(container, stdout=False) == b"err\n"
    with container.logs() as stream:
        records = list(stream)
    assert {(record.stream, record.data) for record in records} == {("stdout", b"out\n"), ("stderr", b"err\n")}
    container.remove()


@pytest.mark.parametrize(("tail", "expected"), [(0, b""), (1, b"3\n"), (2, b"2\n3\n"), (100, b"1\n2\n3\n")])
def test_logs_tail(shared: coble.Engine, tail: int, expected: bytes) -> None:
    container = shared.containers.create("box", ["sh", "-c", "echo 1; echo 2; echo 3"])
    container.start()
    container.wait()
    assert log_bytes(container, tail=tail) == expected
    container.remove()


def test_logs_since_and_until(shared: coble.Engine) -> None:
    # What is written when nobody has read the first line yet may come together with it.
    container = shared.containers.create("box", ["sh", "-c", "trap 'echo late; exit 0' USR1; echo early; while :; do sleep 0.05; done"])
    container.start()
    wait_for_output(container, b"early\n")
    container.kill("USR1")
    container.wait()
    with container.logs() as stream:
        times = [record.time for record in stream]
    assert log_bytes(container, since=times[-1]) == b"late\n"
    assert log_bytes(container, until=times[-1]) == b"early\n"
    container.remove()


@pytest.mark.vm
def test_logs_follow_ends_with_the_container(shared: coble.Engine) -> None:
    container = shared.containers.create("box", ["sh", "-c", "for i in 1 2 3; do echo $i; sleep 0.1; done"])
    container.start()
    assert log_bytes(container, follow=True) == b"1\n2\n3\n"
    container.remove()


def test_logs_follow_comes_at_once(running: coble.Container) -> None:
    with running.logs(follow=True) as stream:
        first = next(iter(stream))
        assert first.data == b"ready\n"
    assert abs(first.time.timestamp() - time.time()) < 60


def test_logs_follow_closed_from_another_thread(running: coble.Container) -> None:
    stream = running.logs(follow=True)
    seen: list[bytes] = []
    reader = threading.Thread(target=lambda: seen.extend(record.data for record in stream))
    reader.start()
    eventually(lambda: seen, "the first record")
    stream.close()
    reader.join(20)
    assert not reader.is_alive()


def test_logs_of_much_output(shared: coble.Engine) -> None:
    container = shared.containers.create("box", ["probe", "write", "16"])
    container.start()
    container.wait()
    block = bytes(index % 251 for index in range(65536))
    assert log_bytes(container) == block * (16 * 16)
    container.remove()


def test_logs_of_what_is_not_text(shared: coble.Engine) -> None:
    container = shared.containers.create("box", ["printf", "\\377\\000\\001no newline"])
    container.start()
    container.wait()
    assert log_bytes(container) == b"\xff\x00\x01no newline"
    container.remove()


# --- lifetimes and processes ----------------------------------------------------------------------------------------

STARTER = """
import sys, os, signal
import coble
engine = coble.Engine(data_root=sys.argv[1], run_root=sys.argv[2])
container = engine.containers.create("box", {command!r}, name=sys.argv[3], lifetime={lifetime!r})
container.start()
print(container.id, container.inspect().pid, flush=True)
sys.stdin.read()
os._exit(0)
"""


def starter(store: Store, name: str, lifetime: str, command: list[str] = FOREVER) -> tuple[subprocess.Popen[str], str, int]:
    """Another process that starts a container and waits for its input to end. Returns it, the container's id and pid."""
    script = STARTER.format(command=command, lifetime=lifetime)
    process = subprocess.Popen(
        [sys.executable, "-c", script, str(store.data_root), str(store.run_root), name], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    words = process.stdout.readline().split()
    assert len(words) == 2, "the other process failed"
    return process, words[0], int(words[1])


def end(process: subprocess.Popen[str], how: str) -> None:
    assert process.stdin is not None and process.stdout is not None
    if how == "kill":
        process.kill()
    process.stdin.close()
    process.stdout.close()
    process.wait(30)


def test_a_monitor_at_rest_is_small(shared: coble.Engine) -> None:
    container = shared.containers.create("box", ["sleep", "60"], lifetime="detached")
    container.start()
    monitor = monitor_of(container)
    try:
        eventually(lambda: private(monitor) <= 512 << 10, "half a MiB or less")
    except PermissionError:
        pytest.skip("nobody may look into the monitor here")
    finally:
        container.remove(force=True)


@pytest.mark.vm
@pytest.mark.parametrize("how", ["exit", "kill"])
def test_a_detached_container_outlives_its_starter(shared: coble.Engine, shared_store: Store, how: str) -> None:
    process, identity, pid = starter(shared_store, "outlives", "detached")
    end(process, how)
    assert not wait_for_exit(pid, 0.3), "a detached container died with its starter"
    container = shared.containers.get("outlives")
    assert (container.id, container.state) == (identity, "running")
    assert container.exec(["echo", "hello"]).stdout == b"hello\n"
    wait_for_output(container, b"ready")
    container.stop(timeout=10)
    assert container.wait() == 143
    container.remove()


@pytest.mark.vm
@pytest.mark.parametrize("how", ["exit", "kill"])
def test_a_session_container_dies_with_its_starter(shared: coble.Engine, shared_store: Store, how: str) -> None:
    process, _, pid = starter(shared_store, "dies", "session")
    fd = os.pidfd_open(pid)
    os.close(fd)
    end(process, how)
    assert wait_for_exit(pid), "a session container lives after its starter"
    # Whoever opens the store next, or looks, sees no running container; its remains can be removed by name.
    # (Its monitor ends a moment after its program.)
    def states() -> dict[str, str]:
        return {one.name: one.state for one in shared.containers.list(all=True)}

    eventually(lambda: states().get("dies") in (None, "exited"), "the container counts as exited")
    with contextlib.suppress(coble.ContainerNotFoundError):
        shared.containers.get("dies").remove()


@pytest.mark.vm
def test_a_program_cannot_outlive_its_monitor(shared: coble.Engine) -> None:
    container = shared.containers.create("box", ["sh", "-c", "trap '' TERM HUP INT; sleep 1000 & echo ready; wait"])
    container.start()
    wait_for_output(container, b"ready")
    pid = container.inspect().pid
    os.kill(monitor_of(container), signal.SIGKILL)
    assert wait_for_exit(pid)
    assert container.wait(timeout=30) == 137, "the kernel kills what is left"
    assert container.state == "exited"
    assert "monitor" in (container.inspect().error or "")
    container.remove()


def test_the_changes_of_other_processes_are_seen_at_once(shared: coble.Engine, shared_store: Store) -> None:
    process, identity, _ = starter(shared_store, "seen", "detached")
    assert shared.containers.get("seen").id == identity
    with pytest.raises(coble.NameInUseError):
        shared.containers.create("box", ["true"], name="seen")
    shared.containers.get("seen").remove(force=True)
    end(process, "exit")


def test_many_processes_on_one_store(shared: coble.Engine, shared_store: Store) -> None:
    script = """
import sys
import coble
with coble.Engine(data_root=sys.argv[1], run_root=sys.argv[2]) as engine:
    for number in range(4):
        done = engine.run("box", ["echo", sys.argv[3], str(number)], check=True)
        assert done.stdout == f"{sys.argv[3]} {number}\\n".encode(), done
"""
    processes = [
        subprocess.Popen([sys.executable, "-c", script, str(shared_store.data_root), str(shared_store.run_root), str(number)], stderr=subprocess.PIPE)
        for number in range(6)
    ]
    errors = [process.communicate(timeout=120)[1].decode() for process in processes]
    assert [process.returncode for process in processes] == [0] * 6, errors


def test_opening_a_store_does_not_disturb_what_runs(shared: coble.Engine, shared_store: Store, running: coble.Container) -> None:
    for _ in range(5):
        with shared_store.engine() as other:
            assert other.containers.get(running.id).state == "running"
    assert running.exec(["true"]).exit_code == 0


# --- limits of a create ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [
        {"mem_limit": -1},
        {"cpus": -1},
        {"cpus": float("nan")},
        {"pids_limit": -2},
        {"cap_add": ["NO_SUCH_CAPABILITY"]},
        {"cap_drop": [""]},
        {"security_opt": ["nonsense"]},
        {"network": "no-such-network"},
        {"stop_signal": "NOSIG"},
        {"lifetime": "forever"},
        {"extra_hosts": {"a b": "1.2.3.4"}},
        {"extra_hosts": {"name": "not-an-address\n"}},
        {"dns": ["not-an-address"]},
    ],
    ids=str,
)
def test_options_that_no_container_can_have(shared: coble.Engine, options: dict[str, object]) -> None:
    with pytest.raises((coble.InvalidArgumentError, ValueError, OverflowError)):
        shared.containers.create("box", ["true"], **options)


def test_the_mode_is_reported(shared: coble.Engine) -> None:
    assert shared.info().rootless == (MODE != "root")
