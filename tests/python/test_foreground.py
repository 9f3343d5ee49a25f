"""Programs in the foreground: what they write comes to the caller and to the log, at the caller's pace."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import coble
import pytest
from conftest import Store
from helpers import eventually, log_bytes
from test_command import Command
from test_progress import Shown
from test_spaces import can_share_pids

MIB = 1 << 20


@pytest.fixture
def command(shared_store: Store, shared: coble.Engine) -> Command:
    return Command(shared_store)


@pytest.mark.vm
def test_what_is_shown_is_kept(command: Command) -> None:
    script = "echo out; echo err >&2; exit 3"
    done = command("run", "--name", "kept", "box", "sh", "-c", script)
    # What the container did not get is said there, too.
    assert (done.returncode, done.stdout) == (3, b"out\n") and b"err\n" in done.stderr.splitlines(keepends=True)
    logs = command("logs", "kept")
    assert (logs.stdout, logs.stderr) == (b"out\n", b"err\n")
    # The next run shows its own, and the log has both.
    done = command("start", "-a", "kept")
    assert (done.returncode, done.stdout) == (3, b"out\n")
    logs = command("logs", "kept")
    assert (logs.stdout, logs.stderr) == (b"out\nout\n", b"err\nerr\n")
    command.good("rm", "kept")


def test_what_nobody_will_read_is_not_copied(command: Command) -> None:
    """With --rm, and without a log driver, the program has the caller's own descriptors."""
    for name, options in [("", ["--rm"]), ("unlogged", ["--log-driver", "none", "--name", "unlogged"]), ("logged", ["--name", "logged"])]:
        process = command.popen("run", *options, "box", "readlink", "/proc/self/fd/1")
        assert process.stdout is not None
        own = os.readlink(f"/proc/self/fd/{process.stdout.fileno()}")
        out, _ = process.communicate(timeout=60)
        assert (out.decode().strip() == own) == (name != "logged"), name
        if name:
            command.good("rm", name)


def test_input_is_the_program_s_own(command: Command) -> None:
    done = command("run", "-i", "--name", "fed-directly", "box", "sh", "-c", "readlink /proc/self/fd/0; read a; echo $a", data=b"first\nsecond\n")
    assert done.stdout.startswith(b"pipe:[") and done.stdout.endswith(b"first\n")
    assert command("logs", "fed-directly").stdout == done.stdout
    command.good("rm", "fed-directly")
    read, write = os.pipe()
    own = os.readlink(f"/proc/self/fd/{read}")
    process = command.popen("run", "-i", "--name", "fed-directly", "box", "readlink", "/proc/self/fd/0", stdin=read)
    os.close(read)
    out, _ = process.communicate(timeout=60)
    os.close(write)
    assert out.decode().strip() == own
    command.good("rm", "fed-directly")


@pytest.mark.once
def test_who_interrupts_in_vain_is_told_how_often(shared: coble.Engine, shared_store: Store) -> None:
    """Process 1 ignores what it does not handle. A shell does handle it, until it is another program."""
    shown = Shown(shared_store, "run", "--rm", "box", "sh", "-c", "trap '' INT; echo up; exec sleep 1000")
    process = shown.process
    assert process.stdout is not None
    assert process.stdout.readline() == b"up\n"
    process.send_signal(signal.SIGINT)
    shown.until(b"press Ctrl-C 3 more times to kill it")

    def interrupted() -> bool:
        process.send_signal(signal.SIGINT)
        return process.poll() is not None

    eventually(interrupted, "the end of the program")
    assert shown.end() == 137
    assert shown.text.count(b"Ctrl-C") == 1


@pytest.mark.parametrize("options", [[], ["--pid", "host"]], ids=["alone", "among others"])
def test_a_pipeline_that_breaks_ends_the_program(command: Command, shared: coble.Engine, options: list[str]) -> None:
    if options and not can_share_pids(shared):
        pytest.skip("the caller can make no cgroup of version 2; the suite that root runs has it")
    process = command.popen("run", "--name", "broken", *options, "box", "yes")
    assert process.stdout is not None
    assert process.stdout.read(2) == b"y\n"
    process.stdout.close()
    process.wait(60)
    container = shared.containers.get("broken")
    assert container.state == "exited"
    # The program ended, and nobody else did: 137 is what is said of a program whose monitor was killed.
    assert container.exit_code not in (None, 0, 137) and container.inspect().error is None
    assert 2 <= sum(len(record.data) for record in container.logs()) < 64 * MIB
    container.remove()


def test_a_program_is_held_up_by_its_reader_and_loses_nothing(command: Command, shared: coble.Engine) -> None:
    process = command.popen("run", "--name", "slow", "box", "sh", "-c", "head -c 33554432 /dev/zero; echo end >&2")
    assert process.stdout is not None and process.stderr is not None
    container = eventually(lambda: [c for c in shared.containers.list(all=True) if c.name == "slow"], "the container")
    container = shared.containers.get("slow")
    eventually(lambda: container.state == "running" and sum(len(record.data) for record in container.logs()) > 0, "output")
    seen = -1

    def still() -> bool:
        nonlocal seen
        before, seen = seen, sum(len(record.data) for record in container.logs())
        time.sleep(0.1)
        return before == seen

    eventually(still, "a program that waits for its reader", 30)
    assert 0 < seen < 16 * MIB
    # It is held up, and nothing else is.
    assert container.exec(["echo", "here"]).stdout == b"here\n"
    data = process.stdout.read()
    assert len(data) == 32 * MIB and not data.strip(b"\0")
    assert process.stderr.read().endswith(b"end\n")
    assert process.wait(60) == 0
    assert sum(len(record.data) for record in container.logs(stderr=False)) == 32 * MIB
    container.remove()


def test_who_reads_slowly_keeps_no_container(command: Command, shared: coble.Engine) -> None:
    """What is on its way when the program is killed comes all the same, and the container is gone at once."""
    process = command.popen("run", "--name", "gone", "box", "sh", "-c", "head -c 33554432 /dev/zero; sleep 1000")
    assert process.stdout is not None
    eventually(lambda: "gone" in command.good("ps"), "the container")
    container = shared.containers.get("gone")
    eventually(lambda: sum(len(record.data) for record in container.logs()) >= MIB // 2, "a full pipe")
    begin = time.monotonic()
    container.kill()
    assert container.wait(timeout=20) == 137
    kept = sum(len(record.data) for record in container.logs())
    container.remove(force=True)
    assert time.monotonic() - begin < 10
    data = process.stdout.read()
    assert len(data) == kept
    process.wait(60)


def test_every_run_of_a_program_that_is_started_again_is_shown(command: Command) -> None:
    done = command("run", "--name", "again", "--restart", "on-failure:2", "box", "sh", "-c", "echo run; exit 4")
    assert (done.returncode, done.stdout) == (4, b"run\n" * 3)
    assert command("logs", "again").stdout == b"run\n" * 3
    command.good("rm", "again")


def test_paced_from_python(shared: coble.Engine, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(b"from a file\n")
    container = shared.containers.create("box", ["sh", "-c", "cat; echo err >&2; exit 5"], log_driver="json-file")
    with source.open("rb") as file, container.start_attached(stdin=file, paced=True) as process:
        assert process.communicate(timeout=60) == (b"from a file\n", b"err\n")
        assert process.wait(timeout=60) == 5
    assert log_bytes(container, stderr=False) == b"from a file\n"
    with container.start_attached(stdin=coble.DEVNULL, paced=True, stderr=False) as process:
        assert process.stderr is None
        assert process.communicate(timeout=60) == (b"", None)
        process.wait(timeout=60)
    assert log_bytes(container, stdout=False) == b"err\nerr\n"
    for wrong in ({"paced": True, "logs": True}, {"stdin": coble.STDOUT}):
        with pytest.raises(coble.InvalidArgumentError):
            container.start_attached(**wrong)  # type: ignore[arg-type]
    container.remove()
    container = shared.containers.create("box", ["true"], tty=True)
    with pytest.raises(coble.InvalidArgumentError):
        container.start_attached(paced=True)
    container.remove()
    # With nowhere to keep it, it still comes.
    container = shared.containers.create("box", ["echo", "only here"], log_driver="none")
    with container.start_attached(paced=True) as process:
        assert process.communicate(timeout=60) == (b"only here\n", b"")
    container.wait(timeout=60)
    container.remove()


def test_the_caller_is_killed(command: Command, shared: coble.Engine) -> None:
    """As with any pipe, the program hears of it when it writes."""
    process = command.popen("run", "--name", "left-alone", "box", "sh", "-c", "while echo line; do sleep 0.05; done; exit 6")
    assert process.stdout is not None
    assert process.stdout.read(5) == b"line\n"
    process.kill()
    process.communicate()
    container = shared.containers.get("left-alone")
    assert container.wait(timeout=60) != 0
    assert log_bytes(container).count(b"line\n") >= 1
    container.remove()


def test_a_file_gets_all(command: Command, tmp_path: Path) -> None:
    where = ["--data-root", str(command.store.data_root), "--run-root", str(command.store.run_root)]
    from test_command import COMMAND

    with (tmp_path / "out").open("ab") as out:
        subprocess.run([*COMMAND, *where, "run", "--name", "to-file", "box", "seq", "100000"], stdout=out, check=True, timeout=60)
    assert (tmp_path / "out").read_text().split() == [str(n) for n in range(1, 100001)]
    command.good("rm", "to-file")
