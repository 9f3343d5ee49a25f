"""Where output is kept: drivers, their forms, and how much of it."""

from __future__ import annotations

import json
import os
import signal
import socket
import threading
from pathlib import Path
from typing import Any

import coble
import pytest
from conftest import IS_ROOT, Store
from helpers import eventually, log_bytes, monitor_of, wait_for_exit, wait_for_output
from test_command import Command


@pytest.fixture
def command(shared_store: Store, shared: coble.Engine) -> Command:
    return Command(shared_store)


def written(engine: coble.Engine, script: str, **options: Any) -> coble.Container:
    container = engine.containers.create("box", ["sh", "-c", script], **options)
    container.start()
    container.wait(60)
    return container


def directory(store: Store, container: coble.Container) -> Path:
    return Path(store.data_root) / "containers" / container.id


@pytest.mark.vm
def test_dockers_form(shared: coble.Engine, shared_store: Store) -> None:
    container = written(shared, "printf 'one\\ntwo'; sleep 0.1; printf ' more\\n'; sleep 0.1; printf '\\303'; sleep 0.1; printf '\\244\\377\\n'; echo err >&2", log_driver="json-file")
    path = directory(shared_store, container) / "json.log"
    entries = [json.loads(line) for line in path.read_text().splitlines()]
    assert all(set(entry) == {"log", "stream", "time"} for entry in entries)
    out = "".join(entry["log"] for entry in entries if entry["stream"] == "stdout")
    assert out == "one\ntwo more\nä\ufffd\n"
    assert [entry["log"] for entry in entries if entry["stream"] == "stderr"] == ["err\n"]
    assert log_bytes(container, stderr=False).decode() == out
    assert log_bytes(container, stdout=False) == b"err\n"
    details = container.inspect_docker()
    assert details["LogPath"] == str(path) and details["HostConfig"]["LogConfig"] == {"Type": "json-file", "Config": {}}
    with container.logs(tail=2) as stream:
        assert [line.decode() for line in stream.lines()][-1] == "err"
    container.remove()


@pytest.mark.parametrize("driver", ["local", "json-file"])
def test_caps(shared: coble.Engine, shared_store: Store, driver: str) -> None:
    container = written(shared, "seq 1 200000", log_driver=driver, log_opt={"max-size": "256k", "max-file": 3})
    files = [path for path in directory(shared_store, container).iterdir() if path.name.startswith(("log", "json.log"))]
    assert len(files) == 3
    assert all(path.stat().st_size <= 256 << 10 for path in files)
    numbers = [int(line) for line in log_bytes(container).split()]
    assert numbers[-1] == 200000 and len(numbers) > 5000
    assert numbers[1:] == list(range(numbers[1], 200001)), "the end of it, without a gap"
    assert [line for line in log_bytes(container, tail=3).split()] == [b"199998", b"199999", b"200000"]
    usage = next(usage for usage in shared.disk_usage().containers if usage.id == container.id)
    assert usage.logs >= sum(path.stat().st_size for path in files)
    container.remove()


@pytest.mark.parametrize(
    ("driver", "torn"),
    [("local", bytes(8) + (1000).to_bytes(4, "little") + b"\1\0\0\0half"), ("json-file", b'{"log":"half')],
    ids=["local", "json-file"],
)
def test_a_record_that_a_kill_has_torn(shared: coble.Engine, shared_store: Store, driver: str, torn: bytes) -> None:
    container = shared.containers.create("box", ["sh", "-c", "echo run; exec sleep 60"], log_driver=driver)
    container.start()
    wait_for_output(container, b"run\n")
    monitor = monitor_of(container)
    os.kill(monitor, signal.SIGKILL)
    assert wait_for_exit(monitor)
    [log] = [path for path in directory(shared_store, container).iterdir() if path.name in ("log", "json.log")]
    whole = log.stat().st_size
    with log.open("ab") as file:
        file.write(torn)
    container.start()
    eventually(lambda: log_bytes(container) == b"run\nrun\n", "both runs are read")
    assert log.stat().st_size == 2 * whole
    container.remove(force=True)


@pytest.mark.parametrize("driver", ["local", "json-file"])
def test_a_follower_of_files_that_are_put_aside(shared: coble.Engine, driver: str) -> None:
    script = "i=0; while [ $i -lt 60 ]; do seq $((i*100+1)) $((i*100+100)); i=$((i+1)); sleep 0.01; done"
    container = shared.containers.create("box", ["sh", "-c", script], log_driver=driver, log_opt={"max-size": "4k", "max-file": "200"})
    container.start()
    with container.logs(follow=True) as stream:
        numbers = [int(line) for line in stream.lines()]
    assert numbers == list(range(1, 6001))
    container.remove()


def test_attaching_with_every_form(shared: coble.Engine) -> None:
    for driver in ("local", "json-file"):
        container = shared.containers.create("box", ["sh", "-c", "echo start; read line; printf \"got $line\""], log_driver=driver, stdin_open=True, log_opt={"max-size": "1k"})
        for _ in range(2):
            process = container.start_attached(stdin=True)
            assert process.communicate(b"word\n", timeout=20) == (b"start\ngot word", b"")
        container.remove()


def test_nothing_is_kept(shared: coble.Engine, shared_store: Store) -> None:
    container = shared.containers.create("box", ["sh", "-c", "head -c 1000000 /dev/zero; read line; exit 3"], log_driver="none", stdin_open=True)
    container.start()
    assert not [path for path in directory(shared_store, container).iterdir() if "log" in path.name]
    with pytest.raises(coble.UnsupportedError):
        container.logs()
    with pytest.raises(coble.InvalidStateError):
        container.attach()
    process = container.attach(stdin=True, stdout=False, stderr=False)
    assert process.stdin
    process.stdin.write(b"\n")
    process.stdin.flush()
    assert process.wait(20) == 3
    container.remove()
    container = written(shared, "head -c 1000000 /dev/zero; exit 4", log_driver="none", tty=True)
    assert container.exit_code == 4
    container.remove()


@pytest.mark.parametrize(
    ("driver", "options"),
    [("syslog", {}), ("local", {"max-size": "many"}), ("none", {"max-size": "1m"}), ("local", {"compress": "true"}), ("json-file", {"max-file": 3})],
)
def test_what_no_driver_takes(shared: coble.Engine, driver: str, options: dict[str, Any]) -> None:
    with pytest.raises(coble.InvalidArgumentError, match="log_"):
        shared.containers.create("box", ["true"], log_driver=driver, log_opt=options)


def test_the_journal(shared: coble.Engine) -> None:
    path = Path("/run/systemd/journal/socket")
    if path.exists():
        pytest.skip("this host has a journal of its own")
    container = shared.containers.create("box", ["sh", "-c", "echo one; echo err >&2; printf last"], log_driver="journald", log_opt={"tag": "mine", "labels": "a.b-c,__x,MESSAGE", "env-regex": "^Z"}, name="journalled", labels={"a.b-c": "l", "__x": "u", "MESSAGE": "other"}, environment={"ZZ": "e"})
    with pytest.raises(coble.UnsupportedError, match="no journal"):
        container.start()
    if not IS_ROOT:
        container.remove()
        return
    missing = [parent for parent in (path.parent, path.parent.parent) if not parent.exists()]
    path.parent.mkdir(parents=True, exist_ok=True)
    server = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        server.bind(str(path))
        server.settimeout(20)
        os.chmod(path, 0o666)
        container.start()
        container.wait(20)
        entries = [dict(line.split("=", 1) for line in server.recv(65536).decode().splitlines()) for _ in range(3)]
    finally:
        server.close()
        path.unlink()
        for parent in missing:
            parent.rmdir()
    assert {(entry["PRIORITY"], entry["MESSAGE"]) for entry in entries} == {("6", "one"), ("3", "err"), ("6", "last")}
    assert all(entry["CONTAINER_NAME"] == "journalled" and entry["CONTAINER_TAG"] == "mine" and entry["CONTAINER_ID_FULL"] == container.id for entry in entries)
    assert all(entry["A_B_C"] == "l" and entry["X"] == "u" and entry["ZZ"] == "e" and entry["IMAGE_NAME"] == "box" for entry in entries)
    assert all(word in log_bytes(container) for word in (b"one", b"err", b"last")), "it is kept here, too"
    container.remove()


ABOUT = {"labels": {"app": "web", "app.kind": "x\"y", "other": "z"}, "environment": {"A": "1", "AB": "2", "C": "3"}}


@pytest.mark.parametrize(
    ("options", "attributes"),
    [
        ({}, None),
        ({"labels": "app,none"}, {"app": "web"}),
        ({"labels-regex": "^app"}, {"app": "web", "app.kind": "x\"y"}),
        ({"env": "A,C", "env-regex": "^AB$"}, {"A": "1", "AB": "2", "C": "3"}),
        ({"tag": "{{.ImageName}}/{{.Name}}", "labels": "other"}, {"tag": "box/described", "other": "z"}),
        ({"tag": ""}, None),
    ],
    ids=str,
)
def test_what_each_record_says_of_its_container(
    shared: coble.Engine, shared_store: Store, options: dict[str, str], attributes: dict[str, str] | None
) -> None:
    """Docker's attrs."""
    container = written(shared, "echo one; echo two", name="described", log_driver="json-file", log_opt=options, **ABOUT)
    lines = (directory(shared_store, container) / "json.log").read_text().splitlines()
    assert [json.loads(line).get("attrs") for line in lines] == [attributes] * 2
    assert list(json.loads(lines[0])) == ["log", "stream", *(["attrs"] if attributes else []), "time"]
    assert log_bytes(container) == b"one\ntwo\n"
    assert container.log_attributes() == (attributes or {})
    assert container.inspect_docker()["HostConfig"]["LogConfig"] == {"Type": "json-file", "Config": options}
    container.remove()


@pytest.mark.parametrize(
    "options",
    [
        {"log_driver": "json-file", "log_opt": {"labels-regex": "("}},
        {"log_driver": "json-file", "log_opt": {"tag": "{{.Secret}}"}},
        {"log_driver": "json-file", "log_opt": {"tag": "a\nb"}},
        {"log_opt": {"env": "A"}},
        {"log_driver": "none", "log_opt": {"tag": "x"}},
    ],
    ids=str,
)
def test_what_no_record_can_say(shared: coble.Engine, options: dict[str, Any]) -> None:
    with pytest.raises(coble.InvalidArgumentError, match="log_opt"):
        shared.containers.create("box", ["true"], **options)


def test_a_record_does_not_say_too_much(shared: coble.Engine) -> None:
    container = shared.containers.create("box", ["true"], environment={"A": "x" * 20000}, log_driver="json-file", log_opt={"env": "A"})
    with pytest.raises(coble.LimitExceededError, match="4 KiB"):
        container.start()
    container.remove()


def test_the_command(command: Command) -> None:
    command.good("run", "-d", "--name", "capped", "--log-driver", "json-file", "--log-opt", "max-size=256k", "--log-opt", "max-file=2", "box", "sh", "-c", "seq 1 100000")
    command.good("wait", "capped")
    lines = command.good("logs", "capped").split()
    assert lines[-1] == "100000" and len(lines) < 50000
    command.good("rm", "capped")
    done = command("run", "-d", "--log-driver", "splunk", "box", "true")
    assert done.returncode == 125 and b"splunk" in done.stderr
    command.good("run", "-d", "--name", "quiet", "--log-driver", "none", "box", "echo", "x")
    command.good("wait", "quiet")
    assert command("logs", "quiet").returncode != 0
    command.good("run", "-d", "--name", "told", "--log-driver", "json-file", "--log-opt", "labels=a,b", "-l", "a=x y", "-l", "b=é,", "box", "sh", "-c", "echo one; echo two")
    command.good("wait", "told")
    assert command.good("logs", "--details", "told") == "a=x+y,b=%C3%A9%2C one\na=x+y,b=%C3%A9%2C two\n"
    assert command.good("logs", "--details", "-t", "told").split()[1:3] == ["a=x+y,b=%C3%A9%2C", "one"]
    command.good("rm", "told")
    command.good("rm", "quiet")


def test_much_output_costs_the_monitor_nothing(shared: coble.Engine) -> None:
    size = 64 << 20
    container = written(shared, f"head -c {size} /dev/zero")
    total = 0
    with container.logs() as stream:
        for record in stream:
            total += len(record.data)
    assert total == size
    container.remove()
    seen = threading.active_count()
    eventually(lambda: threading.active_count() <= seen, "threads that are gone")
