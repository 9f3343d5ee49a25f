"""Restart policies: when a program is started again, what ends that, what is the same and what is new."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from pathlib import Path

import coble
import pytest
from conftest import Store
from helpers import eventually, log_bytes, monitor_of, wait_for_exit, wait_for_output
from test_command import Command


@pytest.fixture
def command(shared_store: Store, shared: coble.Engine) -> Command:
    return Command(shared_store)


def start(engine: coble.Engine, script: str, policy: object = "always", **options: object) -> coble.Container:
    container = engine.containers.create("box", ["sh", "-c", script], restart_policy=policy, **options)  # type: ignore[arg-type]
    container.start()
    return container


#: Ends when it is told to.
TOLD = "until [ -e /go ]; do sleep 0.02; done; rm /go"


def tell(container: coble.Container) -> None:
    container.exec(["touch", "/go"], check=True)


def monitor_soon(container: coble.Container) -> int:
    """The monitor of one whose runs are short: between two of them nobody knows it by its program."""

    def look() -> int | None:
        try:
            return monitor_of(container)
        except (AssertionError, OSError):
            return None

    found = eventually(look, "a run")
    assert isinstance(found, int)
    return found


def actions(engine: coble.Engine, container: coble.Container) -> list[str]:
    return [event.action for event in engine.events(follow=False, filters={"container": container.id})]


@pytest.mark.vm
@pytest.mark.parametrize(
    ("policy", "code", "runs"),
    [
        ("no", 1, 1),
        ("on-failure", 0, 1),
        ("on-failure:2", 0, 1),
        ("on-failure:2", 3, 3),
        ({"Name": "on-failure", "MaximumRetryCount": 1}, 3, 2),
    ],
)
def test_how_often(shared: coble.Engine, policy: object, code: int, runs: int) -> None:
    container = start(shared, f"echo run; exit {code}", policy)
    eventually(lambda: container.state == "exited", "the last end", 60)
    assert container.exit_code == code
    assert log_bytes(container) == b"run\n" * runs
    assert container.inspect().restart_count == runs - 1
    assert container.inspect_docker()["RestartCount"] == runs - 1
    assert actions(shared, container) == ["create", *["start", "die"] * runs]
    container.remove()


@pytest.mark.vm
def test_a_policy_that_comes_later_holds_for_the_program_that_runs(shared: coble.Engine) -> None:
    container = start(shared, f"echo run; {TOLD}; exit 3", "no")
    assert container.update(restart_policy="on-failure:1") == []
    assert container.inspect().spec.restart_policy == "on-failure:1"
    wait_for_output(container, b"run\n")
    tell(container)
    wait_for_output(container, b"run\nrun\n")
    assert eventually(lambda: container.state == "running" and container.inspect().restart_count == 1, "the second run")
    tell(container)
    eventually(lambda: container.state == "exited", "the last end")
    assert (container.exit_code, container.inspect().restart_count) == (3, 1)
    container.remove()


def test_a_policy_can_be_taken_away(shared: coble.Engine, command: Command) -> None:
    container = start(shared, f"echo run; {TOLD}; exit 3", "always")
    wait_for_output(container, b"run\n")
    assert command.good("update", "--restart", "no", container.name) == f"{container.name}\n"
    tell(container)
    eventually(lambda: container.state == "exited", "the end")
    assert (log_bytes(container), container.inspect().restart_count) == (b"run\n", 0)
    # One that does not run has it from its next start.
    container.update(restart_policy={"Name": "on-failure", "MaximumRetryCount": 2})
    assert container.inspect_docker()["HostConfig"]["RestartPolicy"] == {"Name": "on-failure", "MaximumRetryCount": 2}
    container.remove()


def test_what_gets_no_policy(shared: coble.Engine) -> None:
    container = shared.containers.create("box", ["sleep", "1000"], secrets={"key": b"secret"})
    container.start()
    with pytest.raises(coble.InvalidStateError, match="not kept for another run"):
        container.update(restart_policy="always")
    assert container.inspect().spec.restart_policy == "no"
    container.remove(force=True)
    container = shared.containers.create("box", ["sleep", "1000"], auto_remove=True)
    with pytest.raises(coble.InvalidArgumentError, match="restart_policy"):
        container.update(restart_policy="always")
    container.remove(force=True)


def test_who_is_attached_is_attached_to_one_run(shared: coble.Engine) -> None:
    container = start(shared, f"[ -e /again ] || {{ touch /again; {TOLD}; }}; echo over; exit 3", "on-failure:1")
    with container.attach() as process:
        tell(container)
        assert process.wait(20) == 3
    eventually(lambda: container.state == "exited", "the last end", 20)
    assert log_bytes(container) == b"over\n" * 2
    container.remove()


@pytest.mark.parametrize("policy", ["always", "unless-stopped"])
def test_until_it_is_stopped(shared: coble.Engine, policy: str) -> None:
    container = start(shared, "echo run; sleep 0.05", policy)
    eventually(lambda: container.inspect().restart_count >= 3, "three restarts", 20)
    assert log_bytes(container).count(b"run\n") >= 3
    container.stop(timeout=1)
    count = container.inspect().restart_count
    time.sleep(0.5)
    assert (container.state, container.inspect().restart_count) == ("exited", count)
    # A start of the user's begins anew.
    container.start()
    assert eventually(lambda: container.inspect().restart_count, "a restart", 20) < count + 1
    container.kill()
    eventually(lambda: container.state == "exited", "the end", 20)
    told = actions(shared, container)
    assert told.count("die") == told.count("start")
    container.remove()


def test_the_pause_doubles(shared: coble.Engine) -> None:
    container = start(shared, "exit 1", "on-failure:4")
    eventually(lambda: container.state == "exited", "the last end", 30)
    events = [e for e in shared.events(follow=False, filters={"container": container.id, "event": ["start", "die"]})]
    pauses = [(b.time_ns - a.time_ns) / 1e9 for a, b in zip(events[1::2], events[2::2])]
    assert len(pauses) == 4
    for pause, least in zip(pauses, [0.1, 0.2, 0.4, 0.8]):
        assert least <= pause < least + 5
    container.remove()


def test_while_it_waits(shared: coble.Engine) -> None:
    container = start(shared, "exit 7", "always")
    eventually(lambda: container.inspect().restart_count >= 5, "a long pause", 30)
    eventually(lambda: container.state == "restarting", "the pause", 30)
    details = container.inspect()
    assert (details.state, details.exit_code, details.pid) == ("restarting", 7, None)
    docker = container.inspect_docker()["State"]
    assert (docker["Status"], docker["Running"], docker["Restarting"], docker["ExitCode"]) == ("restarting", True, True, 7)
    assert [one.id for one in shared.containers.list(filters={"status": "restarting"})] == [container.id]
    with pytest.raises(coble.InvalidStateError):
        container.exec(["true"])
    with pytest.raises(coble.InvalidStateError):
        container.pause()
    with pytest.raises(coble.InvalidStateError, match="restarting"):
        container.unpause()
    with pytest.raises(coble.InvalidStateError, match="restarting"):
        container.attach()
    with pytest.raises(coble.InvalidStateError):
        container.start()
    with pytest.raises(coble.InvalidStateError):
        container.remove()
    begin = time.monotonic()
    container.remove(force=True)
    # Less than what is left of its pause.
    assert time.monotonic() - begin < 3


def test_stop_while_it_waits(shared: coble.Engine) -> None:
    container = start(shared, "exit 7", "always")
    eventually(lambda: container.inspect().restart_count >= 5 and container.state == "restarting", "a long pause", 30)
    begin = time.monotonic()
    container.stop()
    # Less than what is left of its pause.
    assert time.monotonic() - begin < 3
    assert (container.state, container.exit_code) == ("exited", 7)
    container.start()
    container.remove(force=True)


def test_wait_returns_at_each_end(shared: coble.Engine) -> None:
    container = start(shared, "sleep 0.3; exit 5", "always")
    assert container.wait(timeout=20) == 5
    assert container.wait(timeout=20, condition="next-exit") == 5
    container.remove(force=True)


def test_what_stays_and_what_is_new(shared: coble.Engine) -> None:
    script = "cat /count; echo x >> /count; echo $(readlink /proc/self/ns/net) $(readlink /proc/self/ns/pid); [ $(wc -l < /count) -gt 2 ] && sleep 60; exit 1"
    container = start(shared, script, "on-failure", mem_limit="64m", hostname="same")
    eventually(lambda: log_bytes(container).count(b"net:") == 3 and container.state == "running", "three runs", 20)
    lines = [line.split() for line in log_bytes(container).decode().splitlines() if "net:" in line]
    nets, pids = {line[0] for line in lines}, {line[1] for line in lines}
    assert len(nets) == 1, "the network namespace is kept"
    assert len(pids) >= 1
    done = container.exec(["sh", "-c", "hostname; wc -l < /count; echo $$ > /dev/null; ls /proc/1/fd | wc -l"], check=True)
    assert done.stdout.decode().split()[:2] == ["same", "3"]
    assert container.state == "running"
    details = container.inspect()
    assert details.restart_count == 2 and details.pid is not None and Path(f"/proc/{details.pid}").exists()
    container.remove(force=True)


def test_a_program_that_cannot_be_started_again(shared: coble.Engine) -> None:
    """It takes itself away: docker gives up, with the code of a command that is not there."""
    helper = shared.containers.create("box", ["sh", "-c", "cp /bin/busybox /busybox"])
    helper.start()
    helper.wait()
    helper.commit("self:1")
    helper.remove()
    container = shared.containers.create("self:1", ["/busybox", "sh", "-c", "rm /busybox; exit 1"], restart_policy="always")
    container.start()
    eventually(lambda: container.state == "exited", "it is given up", 20)
    assert container.exit_code == 127
    assert actions(shared, container) == ["create", "start", "die"]
    assert any("/busybox" in warning.message for warning in container.inspect().warnings)
    container.remove()
    shared.images.remove("self:1")


def test_a_killed_monitor_is_the_end(shared: coble.Engine) -> None:
    container = start(shared, "echo run; sleep 60", "always")
    wait_for_output(container, b"run")
    monitor = monitor_of(container)
    os.kill(monitor, signal.SIGKILL)
    assert wait_for_exit(monitor)
    eventually(lambda: container.state == "exited", "nobody starts it", 10)
    container.remove()


def test_a_monitor_that_is_killed_while_its_program_waits(shared: coble.Engine) -> None:
    """The program had ended by then, and that is how it ended."""
    container = start(shared, "sleep 0.2; exit 7", "always")
    monitor = monitor_soon(container)
    eventually(lambda: container.inspect().restart_count >= 4 and container.state == "restarting", "a long pause", 30)
    os.kill(monitor, signal.SIGKILL)
    assert wait_for_exit(monitor)
    assert container.wait(10) == 7
    details = container.inspect()
    assert (details.state, details.exit_code) == ("exited", 7)
    container.remove()


def test_a_program_that_is_killed_while_it_is_paused(shared: coble.Engine) -> None:
    container = start(shared, "echo run; exec sleep 60", "always")
    wait_for_output(container, b"run\n")
    pid = container.inspect().pid
    assert pid is not None
    try:
        container.pause()
    except coble.UnsupportedError:
        container.remove(force=True)
        pytest.skip("no freezer for this user")
    os.kill(pid, signal.SIGKILL)
    assert wait_for_exit(pid)
    eventually(lambda: container.inspect().pid is None, "its end is noticed")
    assert container.state == "paused"
    container.unpause()
    eventually(lambda: log_bytes(container) == b"run\nrun\n", "the next run")
    assert container.state == "running"
    container.remove(force=True)


def test_a_pause_that_meets_the_end_stops_nothing(shared: coble.Engine) -> None:
    """Either it is paused, or it is not and the next run comes."""
    failed = 0
    # First it is killed while it is being paused; then before, for so long that the monitor has noticed.
    for delay in [*(round / 10_000 for round in range(0, 40, 2)), *(-round / 1000 for round in range(0, 50, 5))]:
        with start(shared, "exec sleep 60", "always") as container:
            pid = container.inspect().pid
            assert pid is not None
            killer = threading.Timer(max(delay, 0), os.kill, [pid, signal.SIGKILL])
            killer.start()
            try:
                if delay < 0:
                    assert wait_for_exit(pid)
                    time.sleep(-delay)
                container.pause()
            except coble.UnsupportedError:
                pytest.skip("no freezer for this user")
            except coble.InvalidStateError:
                failed += 1
                eventually(lambda: container.state == "running" and container.inspect().pid != pid, "the next run", 20)
            else:
                assert container.state == "paused"
            finally:
                killer.join()
    assert failed, "no pause met an end"


def test_the_size_of_a_terminal_stays(shared: coble.Engine) -> None:
    container = start(shared, f"stty size; {TOLD}; exit 1", "always", tty=True)
    wait_for_output(container, b"\n")
    container.resize(50, 160)
    tell(container)
    wait_for_output(container, b"50 160")
    container.remove(force=True)


def test_each_run_runs_out_of_memory_for_itself(shared: coble.Engine) -> None:
    if any("limit-not-applied" in warning.code for warning in shared.run("box", ["true"], mem_limit="8m").warnings):
        pytest.skip("no memory limit here")
    hungry = "touch /again; x=x; while :; do x=$x$x; done"
    container = start(shared, f"[ -e /again ] && exit 137; {hungry}", "on-failure:1", mem_limit="8m", memswap_limit="8m")
    eventually(lambda: container.state == "exited", "the last end", 60)
    assert container.exit_code == 137 and container.inspect().restart_count == 1
    assert not [warning for warning in container.inspect().warnings if warning.code == "out-of-memory"]
    assert not container.inspect().oom_killed
    # That was the first run.
    assert actions(shared, container).count("oom") == 1
    container.remove()


def test_it_outlives_its_starter_and_dies_with_its_session(store: Store) -> None:
    with store.engine() as engine:
        engine.images.from_host(["sh", "sleep", "echo"], "box")
        detached = start(engine, "sleep 0.2; exit 1", "always")
        session = start(engine, "sleep 0.2; exit 1", "always", lifetime="session")
        eventually(lambda: detached.inspect().restart_count and session.inspect().restart_count, "restarts", 20)
        name = session.name
    with store.engine() as engine:
        with pytest.raises(coble.ContainerNotFoundError):
            engine.containers.get(name)
        again = engine.containers.get(detached.id)
        before = again.inspect().restart_count
        eventually(lambda: again.inspect().restart_count > before, "it goes on alone", 20)
        again.remove(force=True)


def test_health_begins_anew(shared: coble.Engine) -> None:
    check = {"test": "test -e /ok", "interval": 100_000_000}
    container = start(shared, f"touch /ok; {TOLD}; rm /ok; exit 1", "on-failure:1", healthcheck=check)
    container.wait(condition="healthy", timeout=20)
    tell(container)
    eventually(lambda: container.inspect().restart_count == 1 and container.state == "running", "the second run", 20)
    container.wait(condition="healthy", timeout=20)
    assert container.inspect().restart_count == 1
    container.remove(force=True)


@pytest.mark.parametrize("policy", ["never", "always:3", "on-failure:x", {"Name": "no", "MaximumRetryCount": 1}])
def test_refused(shared: coble.Engine, policy: object) -> None:
    with pytest.raises(coble.InvalidArgumentError):
        shared.containers.create("box", ["true"], restart_policy=policy)  # type: ignore[arg-type]


def test_not_with_removal(shared: coble.Engine) -> None:
    with pytest.raises(coble.InvalidArgumentError):
        shared.containers.create("box", ["true"], restart_policy="always", auto_remove=True)


def test_the_command(shared: coble.Engine) -> None:
    from test_command import Command

    info = shared.info()
    command = Command(Store(Path(info.data_root), Path(info.run_root)))
    command.good("run", "-d", "--name", "again", "--restart", "on-failure:9", "box", "sh", "-c", "exit 6")
    eventually(lambda: "Restarting (6)" in command.good("ps"), "a pause", 20)
    (shown,) = json.loads(command.good("inspect", "again"))
    assert shown["HostConfig"]["RestartPolicy"] == {"Name": "on-failure", "MaximumRetryCount": 9}
    command.good("rm", "-f", "again")
    assert command("run", "--rm", "--restart", "always", "box", "true").returncode == 125
