"""Rules of Landlock: what they forbid to a container's program and to those that exec starts, and what inspect says of them."""

from __future__ import annotations

import ctypes
from pathlib import Path

import coble
import pytest
from helpers import eventually, wait_for_output

#: landlock_create_ruleset(NULL, 0, LANDLOCK_CREATE_RULESET_VERSION)
VERSION = ctypes.CDLL(None).syscall(444, None, 0, 1)
PROGRAMS = ["landlock=exec:/bin", "landlock=exec:/usr"]


def needs(version: int) -> pytest.MarkDecorator:
    return pytest.mark.skipif(VERSION < version, reason=f"needs a kernel with Landlock of version {version}")


@pytest.mark.vm
@needs(1)
@pytest.mark.parametrize("more", [[], ["no-new-privileges=false"], ["seccomp=unconfined"]], ids=["plain", "new-privileges", "no-seccomp"])
def test_files_that_no_rule_allows(shared: coble.Engine, more: list[str]) -> None:
    script = "cat /etc/passwd; ls /etc; echo x > /tmp/x && cat /tmp/x; echo y > /etc/y; cp /bin/busybox /tmp/sh && /tmp/sh echo ran; cat /proc/self/status; cd /etc && pwd"
    done = shared.run("box", ["sh", "-c", script], security_opt=[*PROGRAMS, "landlock=write:/tmp", *more])
    assert done.stdout == b"x\n/etc\n", done
    assert done.stderr.lower().count(b"permission denied") == 5, done
    assert done.isolation is not None and done.isolation.landlock == ["write:/tmp", "exec:/bin", "exec:/usr"]
    # Without rules there are none.
    done = shared.run("box", ["cat", "/etc/passwd"], check=True)
    assert done.isolation is not None and done.isolation.landlock == []


@pytest.mark.vm
@needs(1)
def test_programs_of_exec_and_of_init_have_the_rules(shared: coble.Engine) -> None:
    with shared.containers.run("box", ["sleep", "1000"], init=True, security_opt=[*PROGRAMS, "landlock=read:/etc/passwd"]) as container:
        assert container.exec(["cat", "/etc/passwd"], check=True).exit_code == 0
        assert b"ermission denied" in container.exec(["cat", "/etc/group"]).stderr
        assert b"ermission denied" in container.exec(["sh", "-c", "echo >> /etc/passwd"], user="0").stderr
        details = container.inspect()
        assert details.isolation is not None and details.isolation.landlock == ["read:/etc/passwd", "exec:/bin", "exec:/usr"]
        # For those without the rules nothing is different.
        assert container.read_file("/etc/group")


@pytest.mark.vm
@needs(4)
def test_ports(shared: coble.Engine) -> None:
    def run(script: str, *rules: str) -> bytes:
        return shared.run("box", ["sh", "-c", f"({script}) 2>&1"], security_opt=[f"landlock={rule}" for rule in rules], timeout=20).stdout.lower()

    serve = "nc -l -p {0} & until echo hi | nc 127.0.0.1 {0} 2> /dev/null; do :; done; wait"
    assert b"permission denied" in run("nc -l -p 81", "bind:80")
    # A listener of busybox may lose what comes right before the end.
    eventually(lambda: run(serve.format(80), "bind:80") == b"hi\n", "a connection to what may be bound", 30)
    assert b"permission denied" in run("nc 127.0.0.1 81", "connect:80")
    assert b"refused" in run("nc 127.0.0.1 80", "connect:80")
    # The one says nothing of the other, nor of files.
    eventually(lambda: run(serve.format(80) + "; cat /etc/hostname > /dev/null", "connect:80") == b"hi\n", "a connection that may be made", 30)


@pytest.mark.vm
@needs(6)
def test_signals_stay_in_the_scope(shared: coble.Engine) -> None:
    script = "trap 'echo got; exit 7' TERM; sleep 1000 & echo up; kill -0 $! && echo own; wait"
    for option, reached in (([], True), (["landlock=scope"], False)):
        container = shared.containers.create("box", ["sh", "-c", script], security_opt=option, init=True)
        container.start()
        wait_for_output(container, b"own")
        # What exec starts is not among what the program started.
        done = container.exec(["sh", "-c", "kill -0 1 && kill -0 -1"])
        assert (done.exit_code == 0) is reached, (option, done)
        # From outside it is as ever.
        container.stop(timeout=30)
        assert container.wait() == 7
        container.remove()


@pytest.mark.vm
@needs(1)
def test_a_program_has_no_say_in_what_rules_are_about(shared: coble.Engine, tmp_path: Path) -> None:
    (tmp_path / "own").mkdir()
    rules = [*PROGRAMS, "landlock=write:/space", "landlock=read:/space/own"]
    script = "rmdir /space/own; ln -s / /space/own; echo made; exec sleep 1000"
    with shared.containers.run("box", ["sh", "-c", script], security_opt=rules, volumes={str(tmp_path): "/space"}) as container:
        wait_for_output(container, b"made")
        with pytest.raises(coble.InvalidArgumentError, match="/space/own.*symbolic link"):
            container.exec(["cat", "/etc/passwd"])
        with pytest.raises(coble.InvalidArgumentError, match="symbolic link"):
            container.restart(timeout=0)


@needs(1)
def test_what_is_not_there_is_an_error(shared: coble.Engine) -> None:
    with pytest.raises(coble.InvalidArgumentError, match="/no/such/path"):
        shared.run("box", ["true"], security_opt=[*PROGRAMS, "landlock=read:/no/such/path"])
    # Nor may the program itself be left out.
    with pytest.raises(coble.CommandNotExecutableError):
        shared.run("box", ["true"], security_opt=["landlock=read:/etc"])


@pytest.mark.skipif(VERSION > 0, reason="this kernel has Landlock")
def test_a_kernel_without_it(shared: coble.Engine) -> None:
    with pytest.raises(coble.UnsupportedError, match="landlock"):
        shared.run("box", ["true"], security_opt=["landlock=scope"])


@pytest.mark.parametrize("rule", ["", "read", "read:etc", "never:/etc", "bind:http", "bind:65536", "bind:-1", "connect:", "scope:signals", "unconfined"])
def test_what_is_no_rule(shared: coble.Engine, rule: str) -> None:
    with pytest.raises(coble.InvalidArgumentError, match="security_opt"):
        shared.containers.create("box", ["true"], security_opt=[f"landlock={rule}"])
