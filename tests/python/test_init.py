"""The small init of a container."""

from __future__ import annotations

import os
import time

import coble
import pytest
from conftest import MODE
from helpers import eventually, log_bytes, sh, wait_for_output


@pytest.mark.vm
def test_the_program_is_a_child_and_its_end_is_the_containers(shared: coble.Engine) -> None:
    text = sh(shared, "echo $$; cat /proc/1/comm; grep -h ^PPid /proc/self/status; true", init=True).split()
    assert text[0] != "1" and text[1] == "init" and text[-1] == text[0]
    assert sh(shared, "grep -h ^PPid /proc/$$/status; true", init=True).split()[1] == "1"
    assert sh(shared, "echo $$") == "1\n"
    for code in (0, 3, 255):
        assert shared.run("box", ["sh", "-c", f"exit {code}"], init=True).exit_code == code
    assert shared.run("box", ["sh", "-c", "kill -9 $$"], init=True).exit_code == 137
    assert shared.run("box", ["sh", "-c", "kill -TERM $$"], init=True).exit_code == 143


@pytest.mark.parametrize(("command", "error"), [(["no-such-program"], coble.CommandNotFoundError), (["/etc"], coble.CommandNotExecutableError)])
def test_a_program_that_cannot_be_executed(shared: coble.Engine, command: list[str], error: type[coble.CobleError]) -> None:
    with pytest.raises(error):
        shared.run("box", command, init=True)
    container = shared.containers.create("box", command, init=True)
    with pytest.raises(error):
        container.start()
    container.remove()


@pytest.mark.vm
def test_orphans_are_reaped(shared: coble.Engine) -> None:
    """LIF-11: whose parents are gone they become init's, and none stays a zombie."""
    count = "set -- $(ps -o stat | grep -c Z) $(ps -o pid | wc -l)"
    script = (
        "i=0; while [ $i -lt 50 ]; do (sh -c 'sleep 0.1 &' &); i=$((i+1)); done; "
        f"i=0; {count}; while [ $i -lt 300 ] && [ $1 != 0 -o $2 -ge 8 ]; do sleep 0.1; {count}; i=$((i+1)); done; echo $1 $2"
    )
    zombies, processes = sh(shared, script, init=True).split()
    assert zombies == "0" and int(processes) < 8


def test_signals_are_passed_on(shared: coble.Engine) -> None:
    script = "for s in HUP USR1 USR2 WINCH CONT; do trap \"echo got $s\" $s; done; trap 'echo bye; exit 5' TERM; echo ready; while true; do sleep 0.02; done"
    container = shared.containers.create("box", ["sh", "-c", script], init=True)
    container.start()
    wait_for_output(container, b"ready")
    for name in ("HUP", "USR1", "USR2", "WINCH"):
        container.kill(name)
        wait_for_output(container, b"got " + name.encode())
    # From inside, too.
    assert container.exec(["kill", "-USR1", "1"]).exit_code == 0
    eventually(lambda: log_bytes(container).count(b"got USR1") == 2, "a signal from inside")
    container.stop(10)
    assert container.wait(10) == 5 and log_bytes(container).endswith(b"bye\n")
    container.remove()


def test_a_program_without_a_handler_is_stopped_at_once(shared: coble.Engine) -> None:
    """Process 1 ignores what it does not handle; a child does not."""
    container = shared.containers.create("box", ["sleep", "1000"], init=True)
    container.start()
    begin = time.monotonic()
    container.stop(30)
    assert time.monotonic() - begin < 10 and container.wait(10) == 143
    container.remove()


@pytest.mark.vm
def test_nobody_gets_at_the_helper(shared: coble.Engine) -> None:
    """CVE-2019-5736: neither its file nor its descriptors, and it has what the program has, no more."""
    script = (
        "ls /proc/1/fd | wc -l; readlink /proc/1/exe || echo no; (: > /proc/1/exe) 2>&1; "
        "grep -hE '^(Cap|NoNewPrivs|Seccomp:|Uid|Gid)' /proc/1/status > /tmp/1; grep -hE '^(Cap|NoNewPrivs|Seccomp:|Uid|Gid)' /proc/self/status > /tmp/2; cmp /tmp/1 /tmp/2 && echo same"
    )
    text = sh(shared, script + " || true", init=True)
    assert "same" in text and ("0\n" == text[:2] or "can't open" in text), text
    # In a user namespace of the container's it may be looked at. Nobody may write to it.
    assert "memfd" not in text or MODE != "root", text
    privileged = "cp /proc/1/exe /tmp/copy 2>/dev/null; (echo x > /proc/1/exe) 2>&1; echo tried"
    text = sh(shared, privileged, init=True, cap_add=["ALL"], security_opt=["seccomp=unconfined"])
    assert text.endswith("tried\n") and ("busy" in text or "ermitted" in text or "denied" in text), text
    assert sh(shared, "echo alive") == "alive\n"


def test_with_a_terminal(shared: coble.Engine) -> None:
    container = shared.containers.create("box", ["sh"], init=True, tty=True, stdin_open=True, environment={"PS1": "% "})
    process = container.start_attached(stdin=True)
    assert process.stdin and process.stdout
    process.stdin.write(b"trap 'echo int' INT; tty\n")
    process.stdin.flush()
    output = process.stdout

    def more() -> bytes:
        piece = os.read(output.fileno(), 4096)
        assert piece, data
        return piece

    data = b""
    # Until the prompt after it: before, the terminal is still `tty`'s, and so would the signal be.
    while b"%" not in data.partition(b"/dev/pts/0\r\n")[2]:
        data += more()
    process.stdin.write(b"\x03")
    process.stdin.flush()
    data = b""
    while b"int\r\n" not in data:
        data += more()
    process.stdin.write(b"\nexit 4\n")
    process.stdin.flush()
    data += output.read()
    assert data.count(b"int\r\n") == 1, data
    assert process.wait(10) == 4
    container.remove()
