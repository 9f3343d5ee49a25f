"""Strategies of `coble.wait` that look at a container's network, and waiting for an end that has to be a good one."""

from __future__ import annotations

import contextlib
import random
import socket

import coble
import pytest
from conftest import Store
from test_command import Command


def free_port() -> int:
    """One that nobody is given by chance before it is used: those are above 32767."""
    for port in random.sample(range(10_000, 30_000), 100):
        with contextlib.suppress(OSError), socket.socket() as found:
            found.bind(("127.0.0.1", port))
            return port
    raise AssertionError("no port is free")


def test_a_port(shared: coble.Engine) -> None:
    script = "sleep 0.3; nc -l -p 8099 & wait"
    with shared.containers.run("box", ["sh", "-c", script], wait=coble.wait.port(8099), wait_timeout=20) as container:
        assert container.state == "running"
        with pytest.raises(coble.TimeoutError):
            container.wait_for(coble.wait.port(8098), timeout=0.3)
    with pytest.raises(coble.ContainerExitError):
        shared.containers.run("box", ["sh", "-c", "sleep 0.2; exit 3"], wait=coble.wait.port(8099), wait_timeout=20)


def test_a_port_of_somebody_else(shared: coble.Engine) -> None:
    """On a network that is shared, only what the container's own programs listen on counts."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        number = taken.getsockname()[1]
        own = free_port()
        with shared.containers.run("box", ["sleep", "60"], network="host") as container:
            with pytest.raises(coble.TimeoutError):
                container.wait_for(coble.wait.port(number), timeout=0)
            # Also one that was started later, and is below nobody that process 1 knows.
            with container.popen(["sh", "-c", f"nc -l -p {own} & wait"], stdin=coble.DEVNULL) as process:
                container.wait_for(coble.wait.port(own), timeout=20)
                process.kill()
    with shared.containers.run("box", ["sh", "-c", "nc -l -p 8099 & wait"], wait=coble.wait.port(8099), wait_timeout=20) as first:
        with shared.containers.run("box", ["sleep", "60"], network=f"container:{first.name}") as second:
            with pytest.raises(coble.TimeoutError):
                second.wait_for(coble.wait.port(8099), timeout=0)


def test_http(shared: coble.Engine) -> None:
    port = free_port()
    script = f"mkdir /www; sleep 0.3; echo hello > /www/index.html; httpd -f -p 127.0.0.1:{port} -h /www"
    with shared.containers.run(
        "box", ["sh", "-c", script], network="host", wait=coble.wait.http(port, "/index.html", status=200), wait_timeout=20
    ) as container:
        container.wait_for(coble.wait.http(port), timeout=10)
        container.wait_for(coble.wait.http(port, "/missing", status=404), timeout=10)
        with pytest.raises(coble.TimeoutError):
            container.wait_for(coble.wait.http(port, "/missing"), timeout=0.3)


def test_what_cannot_be_waited_for(shared: coble.Engine) -> None:
    with shared.containers.run("box", ["sleep", "60"]) as container:
        with pytest.raises(coble.InvalidStateError):
            container.wait_for(coble.wait.http(80), timeout=5)
        with pytest.raises(coble.InvalidStateError):
            container.wait_for(coble.wait.healthy(), timeout=5)
    for bad in (lambda: coble.wait.port(0), lambda: coble.wait.http(80, "x"), lambda: coble.wait.http(70000)):
        with pytest.raises(ValueError):
            bad()


# --- a failure in the background ------------------------------------------------------------------------------------


@pytest.mark.parametrize("driver", ["local", "json-file"])
def test_a_failure_has_what_the_program_wrote(shared: coble.Engine, driver: str) -> None:
    container = shared.containers.create("box", ["sh", "-c", "echo out; echo why >&2; exit 3"], log_driver=driver)
    for _ in range(2):
        container.start()
        with pytest.raises(coble.ContainerExitError, match=r'exit code 3, after writing "why"') as caught:
            container.wait(timeout=20, check=True)
        result = caught.value.result
        assert result is not None
        # Of this run alone.
        assert (result.exit_code, result.stdout, result.stderr) == (3, b"out\n", b"why\n")
        assert result.isolation is not None
    container.remove()


def test_no_failure(shared: coble.Engine) -> None:
    container = shared.containers.create("box", ["echo", "fine"])
    container.start()
    assert container.wait(check=True) == 0
    container.remove()


def test_a_failure_without_a_log(shared: coble.Engine) -> None:
    # Who removes itself must be waited for before that.
    for seconds, options in ((0, {"log_driver": "none"}), (1, {"auto_remove": True})):
        container = shared.containers.create("box", ["sh", "-c", f"echo out; sleep {seconds}; exit 4"], **options)
        container.start()
        with pytest.raises(coble.ContainerExitError) as caught:
            container.wait(timeout=20, check=True)
        assert caught.value.result is not None and caught.value.result.exit_code == 4
        if "auto_remove" not in options:
            container.remove()


def test_only_the_end_of_a_long_log(shared: coble.Engine) -> None:
    container = shared.containers.create("box", ["sh", "-c", "seq 1 100000; seq 1 3 >&2; exit 1"])
    container.start()
    with pytest.raises(coble.ContainerExitError) as caught:
        container.wait(timeout=60, check=True)
    result = caught.value.result
    assert result is not None and result.stderr == b"1\n2\n3\n"
    assert result.stdout.endswith(b"99999\n100000\n") and len(result.stdout) <= 65536
    container.remove()


def test_the_command_says_why(shared: coble.Engine, shared_store: Store) -> None:
    command = Command(shared_store)
    identifier = command.good("run", "-d", "box", "sh", "-c", "echo why >&2; exit 3").strip()
    assert command.good("wait", identifier) == "3\n"
    done = command("wait", "--check", identifier)
    assert done.returncode == 125 and "exit code 3" in done.stderr.decode() and "why" in done.stderr.decode()
    command.good("rm", identifier)


# --- the command ----------------------------------------------------------------------------------------------------


def test_the_command_waits_for_a_container_to_be_ready(shared: coble.Engine, shared_store: Store) -> None:
    command = Command(shared_store)
    script = "sleep 0.2; echo 'ready to go'; touch /flag; nc -l -p 8099 & wait"
    conditions = ["log=^ready", "file=/flag", "port=8099", "exec=test -e /flag"]
    flags = [word for condition in conditions for word in ("--wait", condition)]
    identifier = command.good("run", "-d", *flags, "--wait-timeout", "30", "box", "sh", "-c", script).strip()
    # Of several, one; and each by itself.
    assert command.good("wait", "--condition", "file=/never", "--condition", "port=8099", "--timeout", "30", identifier) == "0\n"
    done = command("wait", "--condition", "log=never", "--timeout", "0.3", identifier)
    assert done.returncode == 125 and "not ready within 0.3 s" in done.stderr.decode() and "ready to go" in done.stderr.decode()
    done = command("wait", "--condition", "healthy", "--condition", "port=1", "--timeout", "1", identifier)
    assert done.returncode == 125 and "no health checks" in done.stderr.decode()
    command.good("rm", "-f", identifier)


def test_the_command_tells_of_an_end_before_it_is_ready(shared: coble.Engine, shared_store: Store) -> None:
    command = Command(shared_store)
    done = command("run", "-d", "--wait", "port=8099", "box", "sh", "-c", "sleep 0.2; echo why >&2; exit 3")
    identifier = done.stdout.decode().strip()
    assert done.returncode == 125 and "exit code 3" in done.stderr.decode() and "why" in done.stderr.decode()
    # It is there to be looked at.
    assert command.good("logs", identifier) == "" and command("logs", identifier).stderr == b"why\n"
    command.good("rm", identifier)
    for bad in (["--wait", "ready"], ["--wait", "log=("], ["--wait", "port=0"], ["--wait", "file=/x", "--wait-timeout", "-1"]):
        assert command("run", "-d", *bad, "box", "true").returncode == 125
    assert command("run", "--wait", "file=/x", "box", "true").returncode == 125
    assert shared.containers.list(all=True) == []


def test_an_answer_that_takes_its_time(shared: coble.Engine) -> None:
    port = free_port()
    answer = "HTTP/1.1 200 OK\\r\\n\\r\\n"
    script = f"while :; do (sleep 0.6; printf '{answer}') | nc -l -p {port}; done"
    with shared.containers.run("box", ["sh", "-c", script], network="host", wait=coble.wait.http(port), wait_timeout=20):
        pass
