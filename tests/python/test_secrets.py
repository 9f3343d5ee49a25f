"""Secrets: files in memory, whose content is kept nowhere and shown nowhere."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import coble
import pytest
from conftest import MODE, Store
from helpers import eventually, monitor_of, sh
from test_command import Command

pytestmark = pytest.mark.vm

#: Of this process alone: the tests of other users look at the same processes.
CANARY = f"canary-of-the-secret-{os.getpid()}"


@pytest.fixture
def command(shared_store: Store, shared: coble.Engine) -> Command:
    return Command(shared_store)


# --- what the container sees ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["mapping", "bytes", "file", "environment", "text-file", "text-environment"])
def test_where_it_comes_from(shared: coble.Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str) -> None:
    (tmp_path / "key").write_text(CANARY)
    monkeypatch.setenv("COBLE_TEST_KEY", CANARY)
    monkeypatch.chdir(tmp_path)
    secrets: Any = {
        "mapping": {"key": CANARY},
        "bytes": [coble.Secret("key", CANARY.encode())],
        "file": [coble.Secret("key", file=tmp_path / "key")],
        "environment": [coble.Secret("key", environment="COBLE_TEST_KEY")],
        "text-file": ["id=key,src=key"],
        "text-environment": ["id=key,env=COBLE_TEST_KEY"],
    }[form]
    script = "cat /run/secrets/key; stat -c ' %u:%g %a' /run/secrets/key; echo x > /run/secrets/key; env"
    done = shared.run("box", ["sh", "-c", script], secrets=secrets)
    assert done.stdout.decode().splitlines()[0] == f"{CANARY} 0:0 444"
    assert b"Read-only file system" in done.stderr
    assert done.stdout.decode().count("canary") == 1
    assert done.isolation is not None
    (mount,) = [mount for mount in done.isolation.mounts if mount.target == "/run/secrets/key"]
    assert (mount.file_system, mount.read_only) == ("tmpfs", True) and {"nosuid", "nodev", "noexec"} <= set(mount.options)


def test_owner_mode_and_place(shared: coble.Engine) -> None:
    owner = {"uid": 0, "gid": 0} if MODE == "single" else {"uid": 70, "gid": 71}
    secrets = [coble.Secret("a", b"1", target="/etc/a/key", mode=0o400, **owner), coble.Secret("b", b"", target="sub/b"), coble.Secret("c", "3", target="/data/deep/c")]
    script = "stat -c '%u:%g %a %s %n' /etc/a/key /run/secrets/sub/b /data/deep/c"
    expected = f"{owner['uid']}:{owner['gid']} 400 1 /etc/a/key\n0:0 444 0 /run/secrets/sub/b\n0:0 444 1 /data/deep/c\n"
    assert sh(shared, script, secrets=secrets, tmpfs={"/data": "mode=755"}) == expected
    assert sh(shared, script, secrets=secrets, tmpfs={"/data": "mode=755"}, read_only=True) == expected


@pytest.mark.skipif(MODE != "single", reason="all ids that are given are there")
def test_an_owner_that_is_none(shared: coble.Engine) -> None:
    with pytest.raises(coble.CobleError, match="user namespace"):
        shared.run("box", ["true"], secrets=[coble.Secret("a", b"1", uid=70)])


def test_a_large_one(shared: coble.Engine) -> None:
    assert sh(shared, "wc -c < /run/secrets/key", secrets={"key": b"x" * 512_000}) == "512000\n"
    with pytest.raises(coble.InvalidArgumentError):
        shared.run("box", ["true"], secrets={"key": b"x" * 512_001})


def test_another_user_cannot_read_what_is_not_for_it(shared: coble.Engine) -> None:
    if MODE == "single":
        pytest.skip("there is no other user")
    done = shared.run("box", ["cat", "/run/secrets/key"], user="1000", secrets=[coble.Secret("key", CANARY, mode=0o400)])
    assert done.exit_code != 0 and b"Permission denied" in done.stderr


# --- where it is not ------------------------------------------------------------------------------------------------


def files(*roots: Path) -> list[Path]:
    return [path for root in roots for path in root.rglob("*") if path.is_file() and not path.is_symlink()]


def arguments_and_environments() -> bytes:
    found = b""
    for process in Path("/proc").glob("[0-9]*"):
        for name in ("cmdline", "environ"):
            try:
                found += (process / name).read_bytes()
            except OSError:
                continue
    return found


def test_it_is_nowhere_else(box: coble.Engine, store: Store, tmp_path: Path) -> None:
    (tmp_path / "key").write_text(CANARY + "-file")
    container = box.containers.create("box", ["sleep", "1000"], name="holder", secrets=[coble.Secret("key", CANARY), coble.Secret("file", file=tmp_path / "key")], restart_policy="always")
    container.start()
    try:
        assert container.exec(["cat", "/run/secrets/key", "/run/secrets/file"]).stdout.decode() == CANARY + CANARY + "-file"
        for path in files(store.data_root, store.run_root):
            assert CANARY.encode() not in path.read_bytes(), path
        details = container.inspect()
        assert "canary" not in json.dumps(details.to_dict()) and "canary" not in repr(details.spec.secrets)
        assert [(secret.name, secret.file) for secret in details.spec.secrets] == [("key", None), ("file", str(tmp_path / "key"))]
        command = Command(store)
        assert "canary" not in command.good("inspect", "holder")
        assert CANARY.encode() not in arguments_and_environments()
        with box.events(since=0, follow=False) as events:
            assert "canary" not in "".join(repr(event.to_dict()) for event in events)
        # What is made of it.
        target = tmp_path / "export.tar"
        container.export(target)
        assert CANARY.encode() not in target.read_bytes()
        with tarfile.open(target) as tar:
            assert [name for name in tar.getnames() if "secrets" in name] == []
        assert container.diff() == []
        container.stop(timeout=0)
        container.commit("made")
        assert box.run("made", ["ls", "/run/secrets"]).exit_code != 0
        clone = container.snapshot(name="clone")
        with pytest.raises(coble.InvalidStateError, match='"key"'):
            clone.start()
        clone.remove()
        box.images.save(["made"], tmp_path / "made.tar")
        for path in files(store.data_root, store.run_root):
            assert CANARY.encode() not in path.read_bytes(), path
        box.images.remove("made")
    finally:
        container.remove(force=True)


def test_errors_say_nothing_of_it(shared: coble.Engine, command: Command) -> None:
    for options in (
        {"secrets": [coble.Secret("key", CANARY, target="/proc/x")]},
        {"secrets": [coble.Secret("key", CANARY), coble.Secret("key", CANARY)]},
        {"secrets": [coble.Secret("key", CANARY, mode=0o7777)]},
        {"secrets": [f"id=key,{CANARY}"]},
        {"secrets": {"key": {CANARY: CANARY}}},
    ):
        with pytest.raises((coble.CobleError, TypeError)) as caught:
            shared.containers.create("box", ["true"], **options)  # type: ignore[arg-type]
        assert "canary" not in str(caught.value)
    with pytest.raises(coble.CobleError) as caught:
        shared.run("box", ["no-such-program"], secrets={"key": CANARY})
    assert "canary" not in str(caught.value)


def test_nothing_is_left_with_the_monitor(shared: coble.Engine) -> None:
    """Without a restart policy there is no next time: no process of the host holds the content any more."""
    with shared.containers.run("box", ["sleep", "1000"], secrets={"key": CANARY}) as container:

        def held(folder: Path) -> bool:
            for path in folder.iterdir():
                try:
                    if "coble-secret" in os.readlink(path):
                        return True
                except FileNotFoundError:
                    continue  # closed since it was listed
            return False

        monitor = Path(f"/proc/{monitor_of(container)}/fd")
        if os.access(monitor, os.R_OK):
            eventually(lambda: not held(monitor), "a monitor that has given it up")
        assert not held(Path("/proc/self/fd"))


# --- starting again -------------------------------------------------------------------------------------------------


def test_the_same_engine_starts_it_again(shared: coble.Engine) -> None:
    container = shared.containers.create("box", ["sleep", "1000"], secrets={"key": CANARY})
    try:
        for _ in range(2):
            container.start()
            assert container.exec(["cat", "/run/secrets/key"]).stdout.decode() == CANARY
            container.stop(timeout=0)
        container.restart(timeout=0)
        assert container.exec(["cat", "/run/secrets/key"]).stdout.decode() == CANARY
    finally:
        container.remove(force=True)


def test_its_policy_starts_it_again(shared: coble.Engine) -> None:
    container = shared.containers.create("box", ["sh", "-c", "cat /run/secrets/key; exit 1"], secrets={"key": "again\n"}, restart_policy="on-failure:2")
    container.start()
    try:
        eventually(lambda: container.state == "exited", "its end", 20)
        with container.logs() as stream:
            assert b"".join(record.data for record in stream) == b"again\n" * 3
    finally:
        container.remove(force=True)


START = "import sys, coble; getattr(coble.Engine(data_root=sys.argv[1], run_root=sys.argv[2]).containers.get(sys.argv[3]), sys.argv[4])()"


def start_elsewhere(store: Store, container: coble.Container, verb: str = "start", **environment: str) -> subprocess.CompletedProcess[str]:
    arguments = [sys.executable, "-c", START, str(store.data_root), str(store.run_root), container.id, verb]
    return subprocess.run(arguments, env={**os.environ, **environment}, stderr=subprocess.PIPE, text=True, check=False)


def test_another_process_has_no_bytes(shared: coble.Engine, shared_store: Store) -> None:
    container = shared.containers.create("box", ["sleep", "1000"], secrets={"key": CANARY})
    try:
        done = start_elsewhere(shared_store, container)
        assert done.returncode != 0 and "InvalidStateError" in done.stderr and 'secret "key"' in done.stderr
        assert container.state == "exited"
        # Here it is known still.
        container.start()
        # And what runs is not stopped by somebody who could not start it.
        done = start_elsewhere(shared_store, container, "restart")
        assert done.returncode != 0 and 'secret "key"' in done.stderr and container.state == "running"
    finally:
        container.remove(force=True)


def test_files_and_variables_are_read_at_each_start(shared: coble.Engine, shared_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "key"
    file.write_text("one")
    monkeypatch.setenv("COBLE_TEST_KEY", "uno")
    container = shared.containers.create("box", ["sleep", "1000"], secrets=[coble.Secret("file", file=file), coble.Secret("variable", environment="COBLE_TEST_KEY")])
    monkeypatch.delenv("COBLE_TEST_KEY")
    file.write_text("two")

    def seen() -> bytes:
        return container.exec(["cat", "/run/secrets/file", "/run/secrets/variable"]).stdout

    try:
        with pytest.raises(coble.InvalidStateError, match="COBLE_TEST_KEY"):
            container.start()
        assert start_elsewhere(shared_store, container, COBLE_TEST_KEY="due").returncode == 0
        assert seen() == b"twodue"
        container.stop(timeout=0)
        file.unlink()
        monkeypatch.setenv("COBLE_TEST_KEY", "tre")
        with pytest.raises(coble.PathNotFoundError, match='secret "file"'):
            container.start()
        file.write_text("three")
        container.start()
        assert seen() == b"threetre"
    finally:
        container.remove(force=True)


# --- what is refused ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "secrets",
    [
        [coble.Secret("../x", b"")],
        [coble.Secret("", b"")],
        [coble.Secret("a", b"", target="../../etc/passwd")],
        [coble.Secret("a", b"", target="/sys/x")],
        [coble.Secret("a", b"", target="/")],
        [coble.Secret("a", b"", target="x/")],
        [coble.Secret("a", b""), coble.Secret("b", b"", target="a")],
        [coble.Secret("a", b"", uid=0xFFFFFFFF)],
        [coble.Secret("a", environment="A=B")],
        ["id=a"],
        ["src=/etc/hostname"],
        ["id=a,src=/etc/hostname,env=HOME"],
        ["id=a,src=/etc/hostname,color=red"],
        ["id=a,src=/etc"],
    ],
)
def test_what_cannot_be(shared: coble.Engine, secrets: list[Any]) -> None:
    with pytest.raises((coble.InvalidArgumentError, coble.InvalidStateError)):
        shared.containers.create("box", ["true"], secrets=secrets)


def test_what_is_missing_shows_at_once(shared: coble.Engine, tmp_path: Path) -> None:
    with pytest.raises(coble.PathNotFoundError, match='secret "a"'):
        shared.containers.create("box", ["true"], secrets=[coble.Secret("a", file=tmp_path / "none")])
    with pytest.raises(coble.InvalidStateError, match="COBLE_NO_SUCH_VARIABLE"):
        shared.containers.create("box", ["true"], secrets=["id=a,env=COBLE_NO_SUCH_VARIABLE"])
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(coble.InvalidArgumentError, match="regular file"):
        shared.containers.create("box", ["true"], secrets=[coble.Secret("a", file=tmp_path / "fifo")])
    for arguments in ({}, {"value": b"", "file": "x"}, {"file": "x", "environment": "y"}):
        with pytest.raises(TypeError):
            coble.Secret("a", **arguments)  # type: ignore[arg-type]


def test_a_link_of_the_image_does_not_lead_to_the_host(box: coble.Engine, canary: Path) -> None:
    container = box.containers.create("box", ["sh", "-c", f"rm -rf /run; ln -s {canary} /run; ln -s {canary}/file /link"])
    container.start()
    assert container.wait() == 0
    container.commit("linked")
    container.remove()
    script = f"cat /run/secrets/key {canary}/secrets/key /link {canary}/file; echo; cat /proc/mounts"
    done = box.run("linked", ["sh", "-c", script], secrets=[coble.Secret("key", "a"), coble.Secret("other", "b", target="/link")], check=True)
    assert done.stdout.splitlines()[0] == b"aabb"
    with pytest.raises(coble.CobleError):
        box.run("linked", ["true"], secrets=[coble.Secret("key", "a", target="/proc/self/environ")])
    box.images.remove("linked")


# --- the command ----------------------------------------------------------------------------------------------------


def test_the_command(command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "key").write_text("of the file\n")
    monkeypatch.setenv("COBLE_TEST_KEY", "of the variable")
    secrets = ["--secret", f"id=a,src={tmp_path}/key", "--secret", "id=b,env=COBLE_TEST_KEY,target=/b,mode=400"]
    assert command.good("run", "--rm", *secrets, "box", "sh", "-c", "cat /run/secrets/a /b; stat -c ' %a' /b") == "of the file\nof the variable 400\n"
    identifier = command.good("run", "-d", *secrets, "box", "sleep", "1000").strip()
    assert command.good("exec", identifier, "cat", "/b") == "of the variable"
    command.good("stop", "-t", "0", identifier)
    monkeypatch.delenv("COBLE_TEST_KEY")
    done = command("start", identifier)
    assert done.returncode != 0 and "COBLE_TEST_KEY" in done.stderr.decode()
    command.good("rm", identifier)
