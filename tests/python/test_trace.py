"""SEC-34: of a process of the engine's on its way into a container, who can trace everything there gets nothing that a program of the container has not, and nobody else gets anything.

The kernel lets the holder of SYS_PTRACE look into whatever has the same user namespace, so there it is not kept from looking: there is nothing to be found. In a user namespace of its own it is refused."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import coble
import pytest
from conftest import IS_ROOT, MODE
from helpers import sh, status_fields
from test_spaces import sharing  # noqa: F401

#: As many of ours as are looked into in each test, in at most so many seconds.
ENOUGH, PATIENCE = 3, 60.0


@contextmanager
def attacker(container: coble.Container) -> Iterator[list[str]]:
    """Looks at whatever comes up in the container; the lines that it finds, so far."""
    found: list[str] = []
    with container.popen(["probe", "trace", "1000"], stdout=coble.PIPE) as process:
        assert process.stdout and process.stdout.readline() == b"ready\n"

        def read() -> None:
            assert process.stdout
            for line in process.stdout:
                found.append(line.decode())

        reader = threading.Thread(target=read)
        reader.start()
        try:
            yield found
        finally:
            process.kill()
            reader.join()
            process.wait()


def until_enough(found: list[str], what: str, attempt: Callable[[], Any]) -> list[str]:
    end = time.monotonic() + PATIENCE
    while True:
        over = time.monotonic() > end
        if len([line for line in found if line.startswith(what)]) >= ENOUGH:
            return list(found)
        assert not over, f"nothing {what} in {PATIENCE} s: {found}"
        attempt()


def check(found: list[str], own: dict[str, str], root: str = "own") -> None:
    """What was caught is no more than a program of the container, which has `own` as its status."""
    for line in found:
        if line.startswith("refused"):
            assert "opened" not in line, line
            continue
        words = dict(word.split("=", 1) for word in line.strip().split("\t")[1:])
        for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
            assert int(words[name], 16) & ~int(own["CapBnd"], 16) == 0, line
        assert (words["NoNewPrivs"], words["Seccomp"]) == (own["NoNewPrivs"], own["Seccomp"]), line
        assert (words["root"], words["exe-write"]) == (root, "ETXTBSY"), line
        # Its streams, the channel to its monitor, the container's procfs and root.
        for name, target in words.items():
            if name.startswith("fd"):
                assert target in ("/", "/proc", "/dev/null") or target.startswith(("pipe:", "socket:", "/dev/pts/", "anon_inode:[pidfd]", "pidfd:", "/memfd:state")), line


def status(container: coble.Container) -> dict[str, str]:
    return status_fields(container.exec(["cat", "/proc/self/status"]).stdout.decode())


@pytest.mark.slow
@pytest.mark.root
@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("options", "how"),
    [
        ({}, {}),
        ({}, {"user": "alice"}),
        ({}, {"tty": True}),
        ({"security_opt": ["no-new-privileges=false"]}, {}),
        ({"cap_drop": ["ALL"]}, {}),
    ],
    ids=["plain", "another user", "terminal", "no_new_privs off", "no other capabilities"],
)
def test_exec_is_no_more_than_its_program(shared: coble.Engine, options: dict[str, Any], how: dict[str, Any]) -> None:
    with shared.containers.run("box", ["sleep", "1000"], cap_add=["SYS_PTRACE"], **options) as container:
        own = status(container)
        assert int(own["CapEff"], 16) >> 19 & 1
        with attacker(container) as found:
            check(until_enough(found, "caught", lambda: container.exec(["true"], **how)), own)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_without_the_right_nothing_can_be_looked_into(shared: coble.Engine) -> None:
    """User 0 of the container, who is user 0 as the process of ours is."""
    with shared.containers.run("box", ["sleep", "1000"]) as container, attacker(container) as found:
        lines = until_enough(found, "refused", lambda: container.exec(["true"]))
    assert [line for line in lines if line.startswith("caught")] == []
    check(lines, {})


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_right_in_a_user_namespace_is_none(shared: coble.Engine) -> None:
    options = {"userns_mode": "auto"} if IS_ROOT else {}
    try:
        container = shared.containers.run("box", ["sleep", "1000"], cap_add=["SYS_PTRACE"], **options)
    except coble.UnsupportedError as error:
        pytest.skip(f"no user namespace of its own here: {error}")
    with container, attacker(container) as found:
        lines = until_enough(found, "refused", lambda: container.exec(["true"]))
    assert [line for line in lines if line.startswith("caught")] == []
    check(lines, {})


@pytest.mark.slow
@pytest.mark.root
@pytest.mark.timeout(300)
@pytest.mark.parametrize("hook", [False, True], ids=["program", "hook"])
def test_starts_among_the_processes_of_another_container(sharing: coble.Engine, hook: bool) -> None:  # noqa: F811
    """The attacker is in the container that is joined; the one that starts there has rights of its own, which are the usual ones."""
    with sharing.containers.run("box", ["sleep", "1000"], cap_add=["SYS_PTRACE"]) as first:
        options: dict[str, Any] = {"hooks": {"startContainer": [{"path": "/bin/true", "args": ["true"]}]}} if hook else {}
        with sharing.containers.create("box", ["true"], pid_mode=f"container:{first.id}", **options) as second, attacker(first) as found:

            def start() -> None:
                second.start()
                assert second.wait() == 0

            # Its root is that of its own container.
            check(until_enough(found, "caught", start), status(first), "other")


def test_a_filter_that_lets_nobody_enter(shared: coble.Engine) -> None:
    """What a profile forbids to programs is not needed to get there, as long as they gain no privileges."""
    calls = ["clone", "fork", "vfork", "clone3", "pidfd_open", "recvmsg", "prlimit64"]
    profile = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": calls, "action": "SCMP_ACT_ERRNO"}]}
    with shared.containers.run("box", ["sleep", "1000"], security_opt=[f"seccomp={json.dumps(profile)}"]) as container:
        assert status(container)["Seccomp"] == "2"
        assert container.exec(["sh", "-c", "true & wait"]).exit_code != 0


@pytest.mark.skipif(MODE == "single", reason="a single id has no other user; the other suites have it")
def test_a_limit_of_processes_leaves_room_for_exec(shared: coble.Engine) -> None:
    """Whoever enters is two processes for a moment, of which the user's limit knows one."""
    with shared.containers.run("box", ["sleep", "1000"], user="alice", ulimits=["nproc=2:2"]) as container:
        for _ in range(5):
            done = container.exec(["grep", "processes", "/proc/self/limits"])
            assert (done.exit_code, done.stdout.split()[2:4]) == (0, [b"2", b"2"]), done


def test_exec_where_a_process_of_its_own_is_the_way(shared: coble.Engine) -> None:
    """The process that enters has no directory of its own in the container's `/proc` before it is there."""
    assert sh(shared, "readlink /proc/self/exe").strip() == "/bin/busybox"
    with shared.containers.run("box", ["sleep", "1000"]) as container:
        with pytest.raises(coble.CobleError):
            container.exec(["pwd"], working_dir="/proc/self/task")
        assert container.exec(["pwd"], working_dir="/proc/1").stdout == b"/proc/1\n"
