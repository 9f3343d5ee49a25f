"""Health checks: docker's states, what is shown of them, what becomes of checks that hang."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import time
from pathlib import Path

import coble
import pytest
from helpers import eventually, monitor_of, private, processor_time
from test_spaces import can_share_pids

SECOND = 1_000_000_000
#: Healthy as long as the file is there.
SERVER = ["sh", "-c", "touch /ok; echo ready; trap 'exit 0' TERM; while :; do sleep 0.05; done"]
CHECK = {"test": ["CMD", "sh", "-c", "echo looking; test -e /ok"], "interval": SECOND // 5, "timeout": 30 * SECOND, "retries": 2}


def start(engine: coble.Engine, command: list[str] = SERVER, **options: object) -> coble.Container:
    container = engine.containers.create("box", command, **options)  # type: ignore[arg-type]
    container.start()
    return container


def status(container: coble.Container) -> str | None:
    health = container.health
    return None if health is None else health.status


@pytest.mark.vm
def test_the_states(shared: coble.Engine) -> None:
    with start(shared, healthcheck=CHECK | {"interval": 1000 * SECOND}) as container:
        assert status(container) == "starting"
    with start(shared, healthcheck=CHECK) as container:
        container.wait(condition="healthy", timeout=20)
        assert status(container) == "healthy"
        container.exec(["rm", "/ok"], check=True)
        eventually(lambda: status(container) == "unhealthy", "two failures", 20)
        health = container.health
        assert health is not None and health.failing_streak >= 2
        assert [probe.exit_code for probe in health.log][-2:] == [1, 1]
        assert {probe.output for probe in health.log} == {"looking\n"}
        container.exec(["touch", "/ok"], check=True)
        eventually(lambda: status(container) == "healthy", "a good check", 20)
        assert container.health.failing_streak == 0
        eventually(lambda: len(container.health.log) == 5, "five checks", 20)
        first = container.health.log[0].start
        eventually(lambda: container.health.log[0].start != first, "more checks", 20)
        assert len(container.health.log) == 5
        (shown,) = [one for one in shared.containers.list() if one.id == container.id]
        assert shown.health is not None
        docker = container.inspect_docker()
        assert docker["State"]["Health"]["Status"] == "healthy"
        assert len(docker["State"]["Health"]["Log"]) == 5
        assert docker["Config"]["Healthcheck"]["Test"] == CHECK["test"]
        told = [event.action for event in shared.events(follow=False, filters={"container": container.id, "event": "health_status"})]
        assert told == ["health_status: healthy", "health_status: unhealthy", "health_status: healthy"]
        # The checks are programs in it, and nobody's business.
        assert not [event for event in shared.events(follow=False, filters={"container": container.id}) if "looking" in event.action]
        container.stop()
        assert status(container) == "unhealthy"


def test_failures_of_the_start_period_do_not_count(shared: coble.Engine) -> None:
    check = {"test": "false", "interval": SECOND // 10, "retries": 1, "start_period": 1000 * SECOND, "start_interval": SECOND // 10}
    with start(shared, healthcheck=check) as container:
        eventually(lambda: len(container.health.log) >= 3, "checks", 20)
        assert (container.health.failing_streak, status(container)) == (0, "starting")
    with start(shared, healthcheck=check | {"start_period": SECOND // 2}) as container:
        eventually(lambda: status(container) == "unhealthy", "the end of the period", 20)


def test_a_check_that_hangs_is_killed_with_what_it_started(shared: coble.Engine) -> None:
    script = "echo hangs; sleep 7777 & sleep 7777 & wait"
    check = {"test": ["CMD", "sh", "-c", script], "interval": SECOND // 10, "timeout": SECOND // 2, "retries": 1}
    with start(shared, healthcheck=check) as container:
        eventually(lambda: status(container) == "unhealthy", "the check took too long", 20)
        # A shell may get to its first word after that time only.
        eventually(lambda: any("hangs" in probe.output for probe in container.health.log), "what it had written by then")
        assert all((probe.exit_code, probe.output[:37]) == (-1, "Health check exceeded timeout (500ms)") for probe in container.health.log)
        # No more than those of one check at a time, and of one that is being killed.
        eventually(lambda: int(container.exec(["sh", "-c", "ps | grep -c '[s]leep 7777$'"]).stdout) <= 2, "those of one check")


@pytest.mark.root
def test_a_check_that_hangs_takes_no_stranger_along(shared: coble.Engine) -> None:
    """A check that has left its process group leaves it empty, and the number goes to somebody else: among the host's processes to anybody."""
    if not can_share_pids(shared):
        pytest.skip("the caller can make no cgroup of version 2")
    script = "cut -d' ' -f5 /proc/self/stat > /group; exec setsid sleep 7776"
    check = {"test": ["CMD", "sh", "-c", script], "interval": SECOND // 10, "timeout": 10 * SECOND, "retries": 1}
    with start(shared, healthcheck=check, pid_mode="host") as container:
        group = int(eventually(lambda: container.exec(["sh", "-c", "pidof sleep > /dev/null && cat /group"]).stdout, "the check", 20))
        stranger = None

        def made() -> bool:
            nonlocal stranger
            Path("/proc/sys/kernel/ns_last_pid").write_text(str(group - 1))
            stranger = subprocess.Popen(["sleep", "60"], start_new_session=True)
            if stranger.pid != group:
                stranger.kill()
                stranger.wait()
            return stranger.pid == group

        eventually(made, "a process with that number", 20)
        assert stranger is not None
        eventually(lambda: container.health.log and container.health.log[0].exit_code == -1, "the check took too long")
        time.sleep(0.2)
        assert stranger.poll() is None
        stranger.kill()
        stranger.wait()


def test_output_is_bounded_and_a_missing_program_is_a_failure(shared: coble.Engine) -> None:
    check = {"test": ["CMD-SHELL", "head -c 100000 /dev/zero | tr '\\0' x"], "interval": SECOND // 10}
    with start(shared, healthcheck=check) as container:
        container.wait(condition="healthy", timeout=20)
        assert len(container.health.log[0].output) == 4096 + 3
    with start(shared, healthcheck={"test": ["CMD", "/no/such/program"], "interval": SECOND // 10, "retries": 1}) as container:
        eventually(lambda: status(container) == "unhealthy", "it cannot be run", 20)
        assert container.health.log[0].exit_code == -1
        assert "/no/such/program" in container.health.log[0].output


def test_a_paused_container_is_left_alone(shared: coble.Engine) -> None:
    with start(shared, healthcheck=CHECK) as container:
        container.wait(condition="healthy", timeout=20)
        try:
            container.pause()
        except coble.UnsupportedError as error:
            pytest.skip(str(error))
        time.sleep(0.2)
        before = container.health
        # Some intervals.
        time.sleep(0.8)
        assert container.health == before
        container.unpause()
        eventually(lambda: container.health.log[-1].start > before.log[-1].start, "checks go on", 20)
        assert status(container) == "healthy"


@pytest.mark.root
def test_checks_that_cannot_begin_come_no_sooner(shared: coble.Engine) -> None:
    """The monitor has no descriptor left for one: that is a failure as any other, and the next one is an interval later."""
    with start(shared, healthcheck=CHECK | {"interval": SECOND // 2}) as container:
        container.wait(condition="healthy", timeout=20)
        monitor = monitor_of(container)
        limit = resource.prlimit(monitor, resource.RLIMIT_NOFILE)
        taken: set[int] | None = None

        def held_up() -> bool:
            """Whether a check could not begin. Again and again, since some were open only for the moment at the first look."""
            nonlocal taken
            found = {int(number) for number in os.listdir(f"/proc/{monitor}/fd")}
            taken = found if taken is None else taken & found
            free = [number for number in range(max(taken) + 3) if number not in taken]
            # One is left to write down what happens.
            resource.prlimit(monitor, resource.RLIMIT_NOFILE, (free[1], limit[1]))
            return container.health.log[-1].exit_code == -1

        eventually(held_up, "one that cannot begin", 20)
        before = processor_time(monitor)
        time.sleep(2)
        assert processor_time(monitor) - before < 0.2
        assert 2 <= len([probe for probe in container.health.log if probe.exit_code == -1]) <= 5
        resource.prlimit(monitor, resource.RLIMIT_NOFILE, limit)
        eventually(lambda: status(container) == "healthy", "a good check", 20)


def test_of_the_image(shared: coble.Engine) -> None:
    with start(shared) as container:
        assert container.health is None
        with pytest.raises(coble.InvalidStateError):
            container.wait(condition="healthy", timeout=5)
        container.commit("checked:1", pause=False, changes=["HEALTHCHECK --interval=200ms --retries=1 CMD test -e /ok"])
    try:
        container = shared.containers.create("checked:1", SERVER)
        container.start()
        container.wait(condition="healthy", timeout=20)
        assert container.inspect_docker()["Config"]["Healthcheck"]["Test"] == ["CMD-SHELL", "test -e /ok"]
        container.remove(force=True)
        container = shared.containers.create("checked:1", SERVER, healthcheck={"test": ["NONE"]})
        container.start()
        assert container.health is None
        container.remove(force=True)
        container = shared.containers.create("checked:1", SERVER, healthcheck={"test": "exit 3"})
        container.start()
        eventually(lambda: status(container) == "unhealthy", "the caller's check, the image's times", 20)
        assert container.health.log[0].exit_code == 3
        container.remove(force=True)
    finally:
        shared.images.remove("checked:1")


@pytest.mark.parametrize(
    "check",
    [{"test": ["CMD"]}, {"test": ["WHAT", "x"]}, {"test": "x", "interval": 5}, {"test": ["NONE", "x"]}],
    ids=["no program", "unknown", "too short", "more than none"],
)
def test_refused(shared: coble.Engine, check: dict[str, object]) -> None:
    with pytest.raises(coble.InvalidArgumentError):
        shared.containers.create("box", ["true"], healthcheck=check)


def test_waiting_for_health(shared: coble.Engine) -> None:
    check = {"test": "test -e /ok", "interval": SECOND // 10}
    with shared.containers.run("box", SERVER, healthcheck=check, wait=coble.wait.healthy(), wait_timeout=20) as container:
        assert status(container) == "healthy"
    with pytest.raises(coble.TimeoutError):
        shared.containers.run("box", ["sleep", "60"], healthcheck=check, wait=coble.wait.healthy(), wait_timeout=1)
    with pytest.raises(coble.ContainerExitError):
        shared.containers.run("box", ["sh", "-c", "sleep 0.3; exit 4"], healthcheck=check, wait=coble.wait.healthy(), wait_timeout=20)
    with start(shared, ["sh", "-c", "sleep 0.5; exit 4"], healthcheck={"test": "false"}) as container:
        with pytest.raises(coble.InvalidStateError):
            container.wait(condition="healthy", timeout=20)


def test_the_command(shared: coble.Engine) -> None:
    from test_command import Command
    from conftest import Store

    info = shared.info()
    command = Command(Store(Path(info.data_root), Path(info.run_root)))
    command.good(
        "run", "-d", "--name", "checked", "--health-cmd", "test -e /ok", "--health-interval", "100ms", "--health-timeout", "2s", "--health-retries", "2",
        "--health-start-period", "1s", "--health-start-interval", "100ms", "box", *SERVER,
    )  # fmt: skip
    eventually(lambda: "(healthy)" in command.good("ps"), "a healthy container in the list", 20)
    (shown,) = json.loads(command.good("inspect", "checked"))
    assert shown["Config"]["Healthcheck"] == {
        "Test": ["CMD-SHELL", "test -e /ok"], "Interval": SECOND // 10, "Timeout": 2 * SECOND, "Retries": 2, "StartPeriod": SECOND, "StartInterval": SECOND // 10,
    }  # fmt: skip
    assert command.good("ps", "-q", "-f", "health=healthy").strip() and not command.good("ps", "-q", "-f", "health=unhealthy").strip()
    command.good("rm", "-f", "checked")
    command.good("run", "-d", "--name", "unchecked", "--no-healthcheck", "box", *SERVER)
    (shown,) = json.loads(command.good("inspect", "unchecked"))
    assert "Health" not in shown["State"]
    command.good("rm", "-f", "unchecked")


def test_a_monitor_with_checks_stays_small(shared: coble.Engine) -> None:
    """Between two checks, that is: a check maps the monitor's own program again."""
    with start(shared, healthcheck=CHECK | {"interval": SECOND}) as container:
        container.wait(condition="healthy", timeout=20)
        monitor = monitor_of(container)
        try:
            private(monitor)
        except PermissionError:
            pytest.skip("nobody may look into the monitor here")
        eventually(lambda: private(monitor) <= 512 << 10, "half a MiB or less")
