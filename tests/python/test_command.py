"""The `coble` command: exit statuses as docker's, data on standard output, everything else on standard error."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import archives
import coble
import pytest
from conftest import MODE, Assets, Store
from helpers import eventually, remove_all


def find_command() -> list[str]:
    for candidate in (os.environ.get("COBLE_TEST_COMMAND"), Path(sys.executable).parent / "coble", shutil.which("coble")):
        if candidate and os.access(candidate, os.X_OK):
            return [str(candidate)]
    return [sys.executable, "-m", "coble"]


COMMAND = find_command()


class Command:
    def __init__(self, store: Store) -> None:
        self.store = store

    def popen(self, *arguments: str, **options: object) -> subprocess.Popen[bytes]:
        where = ["--data-root", str(self.store.data_root), "--run-root", str(self.store.run_root)]
        options.setdefault("stdin", subprocess.DEVNULL)
        return subprocess.Popen([*COMMAND, *where, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options)  # type: ignore[call-overload, no-any-return]

    def __call__(self, *arguments: str, data: bytes | None = None) -> subprocess.CompletedProcess[bytes]:
        process = self.popen(*arguments, stdin=subprocess.DEVNULL if data is None else subprocess.PIPE)
        out, err = process.communicate(data, timeout=60)
        return subprocess.CompletedProcess(arguments, process.returncode, out, err)

    def good(self, *arguments: str) -> str:
        done = self(*arguments)
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout.decode()


@pytest.fixture
def command(shared_store: Store, shared: coble.Engine) -> Command:
    return Command(shared_store)


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (["box", "true"], 0),
        (["box", "sh", "-c", "exit 3"], 3),
        (["box", "sh", "-c", "sh -c 'kill -9 $$'; exit $?"], 137),
        (["box", "no-such-program"], 127),
        (["box", "/etc/not-executable"], 126),
        (["box", "/etc"], 126),
        (["--pull", "never", "no-such-image", "true"], 125),
        (["--user", "nobody-here", "box", "true"], 125),
        (["--no-such-option", "box", "true"], 125),
    ],
)
def test_statuses_of_run(command: Command, arguments: list[str], status: int) -> None:
    done = command("run", "--rm", *arguments)
    assert done.returncode == status, done.stderr
    if status in (125, 126, 127):
        assert done.stdout == b"" and done.stderr.strip()


def test_streams(command: Command) -> None:
    done = command("run", "--rm", "-i", "box", "sh", "-c", "cat; echo err >&2", data=b"in\xff")
    assert (done.returncode, done.stdout) == (0, b"in\xff")
    # What the container did not get is said before.
    said = [line for line in done.stderr.splitlines(keepends=True) if not line.startswith(b"warning: ")]
    assert said == [b"err\n"]
    assert MODE == "single" or done.stderr == b"err\n"
    assert command("run", "--rm", "box", "cat", data=b"not passed on").stdout == b""


def test_options_of_run(command: Command) -> None:
    out = command.good("run", "--rm", "--pids-limit", "-1", "-e", "A=b", "-w", "/tmp", "-h", "me", "--entrypoint", "sh", "box", "-c", "echo $A $(pwd) $(hostname)")
    assert out == "b /tmp me\n"


def test_namespaces_and_names_of_the_command(command: Command) -> None:
    command.good("run", "-d", "--name", "spaces-first", "-h", "first", "--domainname", "b.example", "--ipc", "shareable", "box", "sleep", "1000")
    try:
        show = "hostname; cat /proc/sys/kernel/domainname; readlink /proc/self/ns/net; readlink /proc/self/ns/ipc"
        theirs = command.good("exec", "spaces-first", "sh", "-c", show)
        joined = ("--network", "container:spaces-first", "--ipc", "container:spaces-first")
        assert command.good("run", "--rm", *joined, "box", "sh", "-c", show).splitlines() == theirs.splitlines()
        found = command.good("run", "--rm", "--uts", "host", "--cgroupns", "host", "--dns-search", "x.example", "--dns-option", "rotate", "box", "cat", "/etc/resolv.conf")
        assert "search x.example\noptions rotate\n" in found
        for bad in (["--pid", "shareable"], ["--uts", "host", "-h", "x"], ["--network", "container:nobody"], ["--cgroup-parent", "../x"]):
            assert command("run", "--rm", *bad, "box", "true").returncode == 125
    finally:
        command.good("rm", "-f", "spaces-first")


def test_a_file_for_the_id_and_files_of_labels(command: Command, tmp_path: Path) -> None:
    file, labels = tmp_path / "id", tmp_path / "labels"
    labels.write_text("# note\na=1\nb\n")
    printed = command.good("create", "--cidfile", str(file), "--label-file", str(labels), "-l", "a=2", "box", "true").strip()
    assert file.read_text() == printed
    assert json.loads(command.good("inspect", printed))[0]["Config"]["Labels"] == {"a": "2", "b": ""}
    done = command("run", "--rm", "--cidfile", str(file), "box", "true")
    assert done.returncode == 125 and b"already" in done.stderr and file.read_text() == printed
    command.good("rm", printed)
    file.unlink()
    assert command("create", "--cidfile", str(file), "--pull", "never", "no-such-image").returncode == 125
    assert not file.exists(), "there is no container whose id it could have"
    assert command("run", "--rm", "--cidfile", str(file), "box", "sh", "-c", "exit 4").returncode == 4
    assert len(file.read_text()) == 64
    labels.write_text("a b=1\n")
    assert command("create", "--label-file", str(labels), "box").returncode == 125


def test_streams_to_be_connected_to(command: Command) -> None:
    script = "cat; echo out; echo err >&2; exit 3"
    for streams, expected in [
        ("stdout", (b"out\n", b"")),
        ("STDERR", (b"", b"err\n")),
        ("stdout stderr", (b"out\n", b"err\n")),
        ("stdin stdout", (b"in\nout\n", b"")),
    ]:
        flags = [flag for stream in streams.split() for flag in ("-a", stream)]
        done = command("run", "--rm", *flags, "box", "sh", "-c", script, data=b"in\n")
        err = b"".join(line for line in done.stderr.splitlines(keepends=True) if not line.startswith(b"warning"))
        assert (done.returncode, done.stdout, err) == (3, *expected), streams
    # All of it is kept for logs.
    assert command("run", "--name", "attached", "-a", "stderr", "box", "sh", "-c", "echo out; echo err >&2").returncode == 0
    logs = command("logs", "attached")
    assert (logs.stdout, logs.stderr) == (b"out\n", b"err\n")
    command.good("rm", "attached")
    # Input alone: as docker has it the id is printed, and nobody waits for the end.
    done = command("run", "--name", "fed", "-a", "stdin", "-i", "box", "sh", "-c", "cat; exit 3", data=b"given\n")
    assert done.returncode == 0 and len(done.stdout.strip()) == 64
    assert command.good("wait", "fed") == "3\n" and command.good("logs", "fed") == "given\n"
    command.good("rm", "fed")
    assert command("run", "-d", "-a", "stdout", "box", "true").returncode == 125
    assert command("run", "-a", "else", "box", "true").returncode == 125


@pytest.mark.vm
def test_a_life(command: Command) -> None:
    identity = command.good("run", "-d", "--name", "of-command", "box", "sh", "-c", "echo hello; exec sleep 1000").strip()
    assert len(identity) == 64
    assert "of-command" in command.good("ps")
    assert command.good("exec", "of-command", "echo", "x") == "x\n"
    assert command("exec", "of-command", "sh", "-c", "exit 4").returncode == 4
    assert command("exec", "of-command", "no-such-program").returncode == 127
    eventually(lambda: command.good("logs", "of-command") == "hello\n", "the log")
    (details,) = json.loads(command.good("inspect", "of-command"))
    assert details["Id"] == identity and details["State"]["Status"] == "running"
    assert details["Coble"]["id"] == identity
    assert command("rm", "of-command").returncode != 0
    command.good("stop", "-t", "0", "of-command")
    assert command.good("wait", "of-command") == "137\n"
    assert "of-command" not in command.good("ps")
    assert "of-command" in command.good("ps", "-a")
    command.good("rm", "of-command")
    assert command("inspect", "of-command").returncode != 0


def test_json(command: Command) -> None:
    (image,) = json.loads(command.good("images", "--format", "json"))
    assert image["id"].startswith("sha256:")
    assert json.loads(command.good("ps", "-a", "--format", "json")) == []
    assert json.loads(command.good("info", "--format", "json"))["images"] == 1
    assert json.loads(command.good("doctor", "--format", "json"))["checks"]


def test_a_broken_pipe_is_quiet(command: Command) -> None:
    process = command.popen("run", "--rm", "box", "sh", "-c", "while :; do echo xxxxxxxxxxxxxxxxx || exit 9; done")
    assert process.stdout is not None and process.stderr is not None
    process.stdout.read(10)
    process.stdout.close()
    assert process.wait(30) != 0
    assert b"panic" not in process.stderr.read()
    process.stderr.close()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_reach_the_program(command: Command, shared: coble.Engine, number: signal.Signals) -> None:
    process = command.popen("run", "--rm", "--name", "signalled", "box", "sh", "-c", "trap 'echo got; exit 7' INT TERM; echo ready; while :; do sleep 0.05; done")
    assert process.stdout is not None and process.stderr is not None
    assert process.stdout.readline() == b"ready\n"
    process.send_signal(number)
    assert process.wait(20) == 7
    assert process.stdout.read() == b"got\n"
    process.stdout.close()
    process.stderr.close()
    assert shared.containers.list(all=True) == []


def test_a_killed_command_leaves_nothing_that_runs(command: Command, shared: coble.Engine) -> None:
    process = command.popen("run", "--rm", "--name", "killed", "box", "sh", "-c", "trap '' TERM HUP; echo ready; while :; do sleep 0.05; done")
    assert process.stdout is not None and process.stderr is not None
    process.stdout.readline()
    process.kill()
    process.wait()
    process.stdout.close()
    process.stderr.close()
    eventually(lambda: shared.containers.list() == [], "the container dies with its command")
    remove_all(shared)


def test_images(store: Store, assets: Assets) -> None:
    command = Command(store)
    command.good("import", str(assets.busybox), "mine:1")
    command.good("tag", "mine:1", "mine:2")
    assert command.good("images").count("mine") == 2
    assert command.good("run", "--rm", "mine:2", "echo", "x") == "x\n"
    assert command.good("history", "mine:1")
    command.good("rmi", "mine:1")
    command.good("rmi", "mine:2")
    assert command("run", "--rm", "mine:1", "true").returncode == 125
    command.good("image", "from-host", "--tag", "host:1", "sh", "cat")
    assert command.good("run", "--rm", "host:1", "sh", "-c", "echo x | cat") == "x\n"
    command.good("rmi", "host:1")


def test_images_by_name_and_prunes_that_ask(store: Store, assets: Assets) -> None:
    command = Command(store)
    for name in ("one:1", "one:2", "two:1"):
        command.good("import", str(assets.busybox), name)
    (first,) = json.loads(command.good("images", "--format", "json", "one:1"))
    assert command.good("images", "-q", "-a", "one").split() == command.good("images", "-q", "--filter", "reference=one").split()
    assert first["digest"] in command.good("images", "--digests", "one:1") and "two" not in command.good("images", "one")
    # Without an answer nothing goes.
    before = command.good("images", "-q")
    for answer in (None, b"", b"n\n"):
        done = command("image", "prune", "-a", data=answer)
        assert done.returncode == 125 and b"--force" in done.stderr and command.good("images", "-q") == before
    assert command("image", "prune", "-a", data=b"y\n").returncode == 0 and command.good("images", "-q") == ""


def test_system_prune(store: Store, assets: Assets) -> None:
    command = Command(store)
    for name in ("used:1", "unused:1"):
        command.good("import", "-m", name, str(assets.busybox), name)
    nameless = command.good("import", "-l", "keep=yes", str(assets.busybox)).strip()
    used = json.loads(command.good("image", "inspect", "used:1"))[0]["Id"]
    kept = command.good("create", "--label", "keep=yes", "used:1", "true").strip()
    gone = command.good("create", "used:1", "true").strip()
    # Without an answer nothing goes, nor with a condition that one of the two does not know.
    assert command("system", "prune").returncode == 125
    assert command("system", "prune", "-f", "--filter", "reference=used").returncode == 125
    assert command.good("ps", "-aq", "--no-trunc").split() == [gone, kept]
    said = command.good("system", "prune", "-f", "--filter", "label!=keep")
    assert f"Deleted Containers:\n{gone}\n\nTotal reclaimed space: " in said
    asked = command("system", "prune", data=b"y\n")
    assert b"all images without a name" in asked.stderr
    assert f"Deleted Containers:\n{kept}\n\nDeleted Images:\ndeleted: {nameless}\n\nTotal reclaimed space: " in asked.stdout.decode()
    done = json.loads(command.good("system", "prune", "-a", "--force", "--format", "json"))
    assert done["containers"]["deleted"] == [] and used in done["images"]["deleted"] and len(done["images"]["untagged"]) == 2
    assert done["reclaimed"] == done["images"]["reclaimed"] > 100_000 and command.good("images", "-q") == ""



def test_what_images_commands_did_as_json(command: Command, tmp_path: Path) -> None:
    tar = tmp_path / "rootfs.tar"
    tar.write_bytes(archives.tar(archives.entry("file", b"x", records={"SCHILY.xattr.trusted.overlay.redirect": b"/"})))
    done = command("import", str(tar), "json:1")
    assert done.returncode == 0 and b"warning: " in done.stderr and b"trusted.overlay.redirect" in done.stderr
    assert command.good("rmi", "json:1").startswith("Untagged: ")
    image = json.loads(command.good("import", "--format", "json", str(tar), "json:1"))
    assert [warning["code"] for warning in image["warnings"]] == ["metadata"]
    assert image["references"] == ["docker.io/library/json:1"]
    (removed,) = json.loads(command.good("rmi", "--format", "json", "json:1"))
    assert removed == {"untagged": image["references"], "deleted": [image["id"]]}
    made = json.loads(command.good("image", "from-host", "--format", "json", "-t", "json:2", "sh"))
    assert made["id"].startswith("sha256:") and "warnings" not in made
    command.good("rmi", "json:2")
