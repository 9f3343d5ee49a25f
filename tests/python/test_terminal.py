"""Programs with a terminal, and being connected to a program that runs."""

from __future__ import annotations

import os
import pty
import select
import signal
import subprocess
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import coble
import pytest
from conftest import MODE, Store
from helpers import eventually, log_bytes, monitor_of, resident, wait_for_exit, wait_for_output
from test_command import COMMAND, Command

PIPE = coble.PIPE


@pytest.fixture
def command(shared_store: Store, shared: coble.Engine) -> Command:
    return Command(shared_store)


@contextmanager
def running(engine: coble.Engine, command: list[str], **options: Any) -> Iterator[coble.Container]:
    container = engine.containers.create("box", command, **options)
    try:
        container.start()
        yield container
    finally:
        container.remove(force=True)


def read_until(file: Any, text: bytes, seconds: float = 20.0, data: bytes = b"") -> bytes:
    """What comes out of a descriptor, after what has come already, up to a text, and perhaps more."""
    end = time.monotonic() + seconds
    while text not in data:
        ready, _, _ = select.select([file], [], [], max(0.0, end - time.monotonic()))
        assert ready, f"{text!r} did not come, but {data!r}"
        piece = os.read(file if isinstance(file, int) else file.fileno(), 4096)
        assert piece, f"the end came before {text!r}: {data!r}"
        data += piece
    return data


# --- the terminal of a program ----------------------------------------------------------------------------------------


@pytest.mark.vm
def test_a_run_with_a_terminal(shared: coble.Engine) -> None:
    script = "tty; stty size; echo $TERM; test -t 0 && test -t 1 && test -t 2 && echo three; echo err >&2"
    done = shared.run("box", ["sh", "-c", script], tty=True, console_size=(33, 77))
    assert done.stdout == b"/dev/pts/0\r\n33 77\r\nxterm\r\nthree\r\nerr\r\n"
    assert (done.exit_code, done.stderr) == (0, b"")


@pytest.mark.vm
def test_the_console_and_the_controlling_terminal(shared: coble.Engine) -> None:
    script = "echo a > /dev/console; echo b > /dev/tty; stat -c %t:%T /dev/console /dev/pts/0; ps -o pid,tty,comm | grep -c ' 136,0 *sh'"
    text = shared.run("box", ["sh", "-c", script], tty=True, check=True).stdout
    assert text.startswith(b"a\r\nb\r\n88:0\r\n88:0\r\n"), text


@pytest.mark.vm
def test_exec_with_a_terminal(shared: coble.Engine) -> None:
    with running(shared, ["sleep", "1000"]) as container:
        script = "tty; stty size; echo $TERM; echo a > /dev/tty; echo err >&2; exit 3"
        done = container.exec(["sh", "-c", script], tty=True, console_size=(10, 20))
        assert (done.exit_code, done.stdout) == (3, b"/dev/pts/0\r\n10 20\r\nxterm\r\na\r\nerr\r\n")
        assert container.exec(["sh", "-c", "tty; echo x$TERM"]).stdout == b"not a tty\nx\n"
        # Several at once have one each.
        others = [container.popen(["sh", "-c", "tty; sleep 1000"], tty=True) for _ in range(3)]
        names = {read_until(other.stdout, b"\n").strip() for other in others}
        assert len(names) == 3
        for other in others:
            other.kill()
            assert other.wait(10) == 137


def test_the_environment_of_the_caller_comes_last(shared: coble.Engine) -> None:
    assert shared.run("box", ["sh", "-c", "echo $TERM"], tty=True, environment={"TERM": "vt100"}).stdout == b"vt100\r\n"
    with running(shared, ["sleep", "1000"], tty=True) as container:
        assert container.exec(["sh", "-c", "echo x$TERM"]).stdout == b"x\n"
        assert container.exec(["sh", "-c", "echo $TERM"], tty=True, environment={"TERM": "screen"}).stdout == b"screen\r\n"


@pytest.mark.skipif(MODE == "single", reason="has one user")
def test_an_ordinary_user_owns_his_terminal(shared: coble.Engine) -> None:
    script = "echo a > /dev/pts/0; echo b > /dev/stdout; stat -c %u:%a /dev/pts/0"
    assert shared.run("box", ["sh", "-c", script], user="alice", tty=True, check=True).stdout == b"a\r\nb\r\n1000:620\r\n"
    with running(shared, ["sleep", "1000"]) as container:
        assert container.exec(["sh", "-c", script], user="alice", tty=True, check=True).stdout == b"a\r\nb\r\n1000:620\r\n"


def test_popen_with_a_terminal_is_interactive(shared: coble.Engine) -> None:
    with running(shared, ["sleep", "1000"]) as container:
        with container.popen(["sh"], tty=True, console_size=(24, 80), environment={"PS1": "% "}) as process:
            assert process.stdin and process.stdout and process.stderr is None
            read_until(process.stdout, b"% ")
            process.stdin.write(b"stty size\n")
            process.stdin.flush()
            assert b"24 80" in read_until(process.stdout, b"\n% ")
            process.resize(40, 132)
            process.stdin.write(b"stty size\n")
            process.stdin.flush()
            assert b"40 132" in read_until(process.stdout, b"\n% ")
            # An interrupt key is the terminal's to turn into a signal.
            process.stdin.write(b"sleep 1000\n")
            process.stdin.flush()
            eventually(lambda: b"sleep 1000" in container.exec(["ps"]).stdout.replace(b"sleep 1000\n", b"", 1), "the second sleep")
            process.stdin.write(b"\x03")
            process.stdin.flush()
            read_until(process.stdout, b"\n% ")
            process.stdin.write(b"exit 5\n")
            process.stdin.flush()
            assert process.stdout.read().endswith(b"exit 5\r\n")
            assert process.wait(10) == 5
        with container.popen(["cat"], tty=True) as process:
            pass
        assert process.returncode == 129, "the end of its terminal is told with SIGHUP"


def test_communicate_ends_with_the_terminal(shared: coble.Engine) -> None:
    with running(shared, ["sleep", "1000"]) as container:
        process = container.popen(["sh", "-c", "read line; echo got $line"], tty=True)
        out, err = process.communicate(b"word\n", timeout=20)
        assert out == b"word\r\ngot word\r\n" and err is None and process.returncode == 0


def test_a_terminal_may_be_closed_and_opened_again(shared: coble.Engine) -> None:
    script = "exec </dev/null >/dev/null 2>&1; sleep 0.3; echo back > /dev/console"
    assert shared.run("box", ["sh", "-c", script], tty=True, timeout=20).stdout == b"back\r\n"
    with running(shared, ["sh", "-c", script], tty=True) as container:
        assert container.wait(20) == 0
        assert log_bytes(container) == b"back\r\n"


def test_all_output_arrives(shared: coble.Engine) -> None:
    """Also what was still on its way when the program ended."""
    script = "seq 1 20000"
    expected = b"".join(b"%d\r\n" % number for number in range(1, 20001))
    assert shared.run("box", ["sh", "-c", script], tty=True).stdout == expected
    with running(shared, ["sh", "-c", script], tty=True) as container:
        assert container.wait(30) == 0
        assert log_bytes(container) == expected
    with running(shared, ["sleep", "1000"]) as container:
        for _ in range(3):
            assert container.exec(["sh", "-c", script], tty=True).stdout == expected


def test_input_of_a_run_is_as_if_typed(shared: coble.Engine) -> None:
    done = shared.run("box", ["sh", "-c", "stty -echo; read a; cat; echo $a"], tty=True, input=b"one\ntwo\n\x04", timeout=20)
    assert done.stdout.replace(b"one\r\n", b"", 1).endswith(b"two\r\none\r\n") or b"two\r\n" in done.stdout


def test_the_log_has_what_a_terminal_shows(shared: coble.Engine) -> None:
    with running(shared, ["sh", "-c", "echo out; echo err >&2"], tty=True) as container:
        container.wait(10)
        with container.logs() as stream:
            records = list(stream)
        assert b"".join(record.data for record in records) == b"out\r\nerr\r\n"
        assert {record.stream for record in records} == {"stdout"}


def test_resize_of_a_container(shared: coble.Engine) -> None:
    script = "trap 'stty size' WINCH; echo ready; while true; do sleep 0.05; done"
    with running(shared, ["sh", "-c", script], tty=True, console_size=(5, 6)) as container:
        wait_for_output(container, b"ready")
        container.resize(50, 160)
        wait_for_output(container, b"50 160")
        assert container.inspect().spec.console_size == (5, 6)
    with running(shared, ["sleep", "1000"]) as container:
        with pytest.raises(coble.InvalidStateError):
            container.resize(1, 1)
        process = container.popen(["sleep", "1000"], stdin=coble.DEVNULL)
        with pytest.raises(coble.InvalidStateError):
            process.resize(1, 1)
        process.kill()
    container = shared.containers.create("box", ["true"], tty=True)
    with pytest.raises(coble.InvalidStateError):
        container.resize(1, 1)
    container.remove()


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"console_size": (1, 1)}, "console_size"),
        ({"tty": True, "console_size": (0, 1)}, "console_size"),
        ({"stdin_once": True}, "stdin_once"),
    ],
)
def test_what_no_terminal_can_be(shared: coble.Engine, options: dict[str, Any], word: str) -> None:
    with pytest.raises(coble.InvalidArgumentError, match=word):
        shared.containers.create("box", ["true"], **options)


def test_other_streams_are_refused_with_a_terminal(shared: coble.Engine, tmp_path: Path) -> None:
    with open(tmp_path / "out", "wb") as out:
        with pytest.raises(coble.InvalidArgumentError):
            shared.run("box", ["true"], tty=True, stdout=out)
        container = shared.containers.create("box", ["true"], tty=True)
        with pytest.raises(coble.InvalidArgumentError):
            container.start(stdout=out, stderr=out)
        container.remove()
        with running(shared, ["sleep", "1000"]) as container, pytest.raises(coble.InvalidArgumentError):
            container.exec(["true"], tty=True, stdout=out)


def test_a_container_that_hides_its_terminals(shared: coble.Engine) -> None:
    """CVE-2025-52565 and its like: what a container puts in the place of its terminals is not opened."""
    if MODE != "root":
        pytest.skip("needs a container that may mount")
    script = "umount /dev/pts && ln -s /tmp /dev/x && mount -t tmpfs none /dev/pts && ln -s /dev/null /dev/pts/ptmx; echo done; sleep 1000"
    with running(shared, ["sh", "-c", script], cap_add=["SYS_ADMIN"], security_opt=["seccomp=unconfined"]) as container:
        wait_for_output(container, b"done")
        with pytest.raises(coble.CobleError):
            container.exec(["true"], tty=True)
        assert container.exec(["true"]).exit_code == 0


# --- being connected --------------------------------------------------------------------------------------------------


@pytest.mark.vm
def test_attach_reads_and_writes(shared: coble.Engine) -> None:
    script = "echo before; while read line; do echo out $line; echo err $line >&2; done; echo end; exit 4"
    with running(shared, ["sh", "-c", script], stdin_open=True, stdin_once=True) as container:
        wait_for_output(container, b"before")
        process = container.attach(stdin=True)
        assert process.stdin and process.stdout and process.stderr
        process.stdin.write(b"one\n")
        process.stdin.flush()
        assert process.stdout.readline() == b"out one\n"
        assert process.stderr.readline() == b"err one\n"
        assert process.poll() is None and process.args == ["sh", "-c", script]
        process.stdin.close()
        assert process.stdout.read() == b"end\n"
        assert process.stderr.read() == b""
        assert process.wait(10) == 4 == container.wait(10)


def test_attach_with_what_was_before(shared: coble.Engine) -> None:
    with running(shared, ["sh", "-c", "echo before; read line; echo $line"], stdin_open=True) as container:
        wait_for_output(container, b"before")
        process = container.attach(stdin=True, logs=True)
        assert process.communicate(b"after\n", timeout=20) == (b"before\nafter\n", b"")


def test_input_stays_open_for_the_next_unless_it_is_once(shared: coble.Engine) -> None:
    with running(shared, ["sh", "-c", "while read line; do echo $line; done; echo end"], stdin_open=True) as container:
        for word in (b"one", b"two"):
            process = container.attach(stdin=True)
            assert process.stdin and process.stdout
            process.stdin.write(word + b"\n")
            process.stdin.close()
            assert process.stdout.readline() == word + b"\n"
            del process
        assert container.state == "running"
        container.kill()
    with running(shared, ["sh", "-c", "cat; echo end"], stdin_open=True, stdin_once=True) as container:
        first, second = container.attach(stdin=True), container.attach(stdin=True)
        assert first.stdin and second.stdin
        first.stdin.close()
        assert container.wait(10) == 0
        with pytest.raises(BrokenPipeError):
            second.stdin.write(b"x")
            second.stdin.flush()


def test_attach_to_a_terminal(shared: coble.Engine) -> None:
    with running(shared, ["sh"], tty=True, stdin_open=True, environment={"PS1": "% "}) as container:
        process = container.attach(stdin=True, logs=True)
        assert process.stdin and process.stdout
        read_until(process.stdout, b"% ")
        process.resize(12, 34)
        process.stdin.write(b"stty size; tty; exit 6\n")
        process.stdin.flush()
        text = process.stdout.read()
        assert b"12 34\r\n/dev/pts/0\r\n" in text
        assert process.wait(10) == 6
        assert log_bytes(container).endswith(text)


def test_a_start_loses_nothing(shared: coble.Engine) -> None:
    container = shared.containers.create("box", ["sh", "-c", "echo run; exit 2"])
    for _ in range(3):
        process = container.start_attached()
        assert process.stdout and process.stdout.read() == b"run\n"
        assert process.wait(10) == 2
    assert log_bytes(container) == b"run\n" * 3
    container.remove()


def test_many_clients_at_once_and_slow_ones(shared: coble.Engine) -> None:
    """SEC-85: who does not read holds up neither the program, nor others, nor fills the monitor."""
    size = 8 << 20
    with running(shared, ["sh", "-c", f"read go; head -c {size} /dev/zero; echo; read more; echo end"], stdin_open=True) as container:
        monitor = monitor_of(container)
        before = resident(monitor)
        slow = [container.attach() for _ in range(3)]
        quick = container.attach(stdin=True)
        assert quick.stdin and quick.stdout
        quick.stdin.write(b"go\n")
        quick.stdin.flush()
        got = 0
        while got < size + 1:
            got += len(quick.stdout.read1(1 << 20))  # type: ignore[attr-defined]
        assert resident(monitor) - before < 1 << 20
        quick.stdin.write(b"more\n")
        quick.stdin.flush()
        assert quick.stdout.readline() == b"end\n"
        assert container.wait(10) == 0
        # They have missed nothing.
        for process in slow:
            assert process.stdout and len(process.stdout.read()) == size + 5
            assert process.wait(10) == 0


def test_clients_that_vanish(shared: coble.Engine) -> None:
    with running(shared, ["sh", "-c", "while read line; do echo $line; done"], stdin_open=True) as container:
        monitor = monitor_of(container)
        for _ in range(5):
            container.attach(stdin=True)
        fds, memory = len(os.listdir(f"/proc/{monitor}/fd")) if os.access(f"/proc/{monitor}/fd", os.R_OK) else 0, resident(monitor)
        threads = len(os.listdir("/proc/self/task"))

        def grown() -> bool:
            return len(os.listdir("/proc/self/task")) > threads or resident(monitor) - memory >= 256 << 10

        for number in range(200):
            process = container.attach(stdin=True)
            assert process.stdin
            if number % 2:
                process.stdin.write(b"x")
                process.stdin.flush()
            del process
        # The monitor hears of the last ones only now.
        eventually(lambda: not grown(), "a monitor of the same size, and as many threads as before")
        if fds:
            eventually(lambda: len(os.listdir(f"/proc/{monitor}/fd")) <= fds, "descriptors that are closed again")
        process = container.attach(stdin=True)
        assert process.stdin and process.stdout
        process.stdin.write(b"\nlast\n")
        process.stdin.flush()
        assert process.stdout.readline() == b"x" * 100 + b"\n"
        assert process.stdout.readline() == b"last\n"


def test_signals_and_the_end_of_an_attached_program(shared: coble.Engine) -> None:
    with running(shared, ["sh", "-c", "trap 'echo term; exit 9' TERM; echo ready; while true; do sleep 0.05; done"]) as container:
        wait_for_output(container, b"ready")
        with container.attach() as process:
            assert process.stdout
            process.terminate()
            assert process.stdout.readline() == b"term\n"
            assert process.wait(10) == 9
            process.kill()
    with running(shared, ["sleep", "1000"]) as container:
        with container.attach() as process:
            pass
        assert container.state == "running", "leaving the block leaves the program alone"
        process = container.attach()
        os.kill(monitor_of(container), signal.SIGKILL)
        assert process.wait(10) == 137


def test_what_cannot_be_attached_to(shared: coble.Engine, tmp_path: Path) -> None:
    container = shared.containers.create("box", ["sleep", "1000"])
    with pytest.raises(coble.InvalidStateError):
        container.attach()
    with open(tmp_path / "out", "wb") as out:
        container.start(stdout=out, stderr=out)
        with pytest.raises(coble.CobleError, match="not kept in the log"):
            container.attach()
        with pytest.raises(coble.CobleError, match="not open"):
            container.attach(stdin=True, stdout=False, stderr=False)
    container.remove(force=True)


# --- the command ------------------------------------------------------------------------------------------------------


class Typed:
    """The command, used from a terminal."""

    def __init__(self, store: Store, *arguments: str, size: tuple[int, int] = (24, 80)) -> None:
        where = ["--data-root", str(store.data_root), "--run-root", str(store.run_root)]
        self.master, slave = pty.openpty()
        self.slave = slave
        termios.tcsetwinsize(slave, size) if hasattr(termios, "tcsetwinsize") else self.resize(*size)
        self.before = termios.tcgetattr(slave)
        self.rest = b""
        self.process = subprocess.Popen([*COMMAND, *where, *arguments], stdin=slave, stdout=slave, stderr=slave, start_new_session=True, preexec_fn=self.control)

    @staticmethod
    def control() -> None:
        import fcntl

        fcntl.ioctl(0, termios.TIOCSCTTY, 0)

    def resize(self, height: int, width: int) -> None:
        import fcntl
        import struct

        fcntl.ioctl(self.slave, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))

    def type(self, data: bytes) -> None:
        os.write(self.master, data)

    def until(self, text: bytes) -> bytes:
        """What is shown up to a text. What comes after that is for the next time, however much of it has come along."""
        shown, found, self.rest = read_until(self.master, text, data=self.rest).partition(text)
        return shown + found

    def end(self, seconds: float = 20) -> int:
        code = self.process.wait(seconds)
        assert termios.tcgetattr(self.slave) == self.before, "the terminal is as it was before"
        os.close(self.master)
        os.close(self.slave)
        return code


def test_run_with_a_terminal(command: Command) -> None:
    typed = Typed(command.store, "run", "-it", "--rm", "--name", "typed", "-e", "PS1=% ", "box", "sh", size=(30, 90))
    typed.until(b"% ")
    typed.type(b"stty size; tty\r")
    text = typed.until(b"/dev/pts/0")
    assert b"30 90" in text
    # At a prompt the terminal is the shell's.
    typed.until(b"% ")
    typed.resize(31, 91)
    eventually(lambda: (typed.type(b"stty size\r"), b"31 91" in typed.until(b"% "))[1], "the new size")
    typed.type(b"sleep 1000\r")
    eventually(lambda: "sleep 1000" in command.good("top", "typed"), "the sleep")
    typed.type(b"\x03")
    typed.until(b"% ")
    typed.type(b"exit 7\r")
    assert typed.end() == 7


def test_run_is_left_and_attached_again(command: Command) -> None:
    name = "left"
    typed = Typed(command.store, "run", "-it", "--rm", "--name", name, "-e", "PS1=% ", "box", "sh")
    typed.until(b"% ")
    typed.type(b"A=kept\r")
    typed.until(b"% ")
    typed.type(b"\x10\x11")
    assert typed.end() == 0
    assert name in command.good("ps")
    typed = Typed(command.store, "attach", "--detach-keys", "ctrl-a,x", name)
    typed.type(b"echo $A\r")
    typed.until(b"kept")
    typed.type(b"\x01x")
    assert typed.end() == 0
    typed = Typed(command.store, "attach", name)
    typed.type(b"exit 3\r")
    assert typed.end() == 3
    eventually(lambda: name not in command.good("ps", "-a"), "a container that removes itself")


def test_exec_with_a_terminal_of_the_command(command: Command, shared: coble.Engine) -> None:
    with running(shared, ["sleep", "1000"]) as container:
        typed = Typed(command.store, "exec", "-it", "-e", "PS1=% ", container.name, "sh", size=(20, 60))
        typed.until(b"% ")
        typed.type(b"stty size\r")
        typed.until(b"20 60")
        typed.type(b"exit 4\r")
        assert typed.end() == 4
        done = command("exec", "-t", container.name, "sh", "-c", "tty; exit 2")
        assert (done.returncode, done.stdout) == (2, b"/dev/pts/0\r\n")
        done = command("exec", "-it", container.name, "sh")
        assert done.returncode == 125 and b"not a terminal" in done.stderr
        assert command("exec", "-d", "-t", container.name, "sh", "-c", "yes | head -c 1000000; touch /tmp/reached").returncode == 0
        eventually(lambda: container.exec(["test", "-e", "/tmp/reached"]).exit_code == 0, "a program that nobody looks at")


def test_start_attach_and_logs(command: Command) -> None:
    command.good("create", "-it", "--name", "again", "-e", "PS1=% ", "box", "sh")
    for number in (1, 2):
        typed = Typed(command.store, "start", "-ai", "again")
        typed.until(b"% ")
        typed.type(b"exit %d\r" % number)
        assert typed.end() == number
    assert command.good("logs", "again").count("exit") == 2
    command.good("rm", "again")


def test_attach_without_a_terminal(command: Command) -> None:
    command.good("run", "-di", "--name", "plain", "box", "sh", "-c", "while read line; do echo got $line; done")
    process = command.popen("attach", "plain", stdin=subprocess.PIPE)
    assert process.stdin and process.stdout
    process.stdin.write(b"word\n")
    process.stdin.flush()
    assert process.stdout.readline() == b"got word\n"
    process.send_signal(signal.SIGINT)
    assert process.wait(20) == 130, "it is passed on"
    process.communicate()
    assert command("attach", "plain").returncode != 0
    command.good("rm", "plain")


def test_signals_are_not_passed_on_when_that_is_not_wanted(command: Command) -> None:
    command.good("run", "-d", "--name", "proxied", "box", "sleep", "1000")
    process = command.popen("attach", "--sig-proxy=false", "proxied")
    eventually(lambda: len(os.listdir(f"/proc/{process.pid}/task")) > 1, "a command that is connected")
    process.terminate()
    assert process.wait(20) == -signal.SIGTERM
    process.communicate()
    assert "proxied" in command.good("ps")
    command.good("rm", "-f", "proxied")
    process = command.popen("run", "--sig-proxy=false", "--name", "free", "box", "sh", "-c", "echo up; exec sleep 1000")
    assert process.stdout and process.stderr
    # It runs, and the command is connected to it.
    assert process.stdout.readline() == b"up\n"
    process.terminate()
    assert process.wait(20) == -signal.SIGTERM
    process.stdout.close()
    process.stderr.close()
    assert "free" in command.good("ps")
    command.good("rm", "-f", "free")


def test_keys_that_are_none(command: Command) -> None:
    done = command("run", "-t", "--rm", "--detach-keys", "ctrl-", "box", "true")
    assert done.returncode == 125 and b"no keys" in done.stderr


def test_a_terminal_that_hangs_up(command: Command) -> None:
    typed = Typed(command.store, "run", "-it", "--name", "hung", "-e", "PS1=% ", "box", "sh")
    typed.until(b"% ")
    os.close(typed.slave)
    os.close(typed.master)
    assert wait_for_exit(typed.process.pid)
    typed.process.wait(10)
    assert "hung" in command.good("ps")
    command.good("rm", "-f", "hung")
