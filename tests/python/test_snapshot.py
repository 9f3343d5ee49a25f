"""Snapshots of containers: what they share, what they do not, and what a crash leaves."""

from __future__ import annotations

import contextlib
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import coble
import pytest
from conftest import CGROUPS, IS_ROOT, MODE, Store
from helpers import eventually, kill_for_good, log_bytes


@contextlib.contextmanager
def stopped(engine: coble.Engine, script: str, **options: object) -> Iterator[coble.Container]:
    container = engine.containers.create("box", ["sh", "-c", script], **options)  # type: ignore[arg-type]
    container.start()
    assert container.wait() == 0
    yield container


def changes(container: coble.Container) -> set[tuple[str, str]]:
    return {(change.kind, change.path) for change in container.diff()}


@pytest.mark.vm
def test_a_snapshot_has_the_files_of_its_moment(box: coble.Engine) -> None:
    script = "mkdir -p /d/sub; echo one > /d/file; rm /etc/group; rm -rf /home; mkdir /home; echo same > /d/sub/same"
    with stopped(box, script, environment={"KEY": "value"}, labels={"a": "b"}) as container:
        before = changes(container)
        assert ("deleted", "/etc/group") in before
        snapshot = container.snapshot("snap")
        assert snapshot.name == "snap" and snapshot.state == "created" and snapshot.labels == {"a": "b"}
        # Both have everything, and both show the same changes of the image.
        for each in (container, snapshot):
            assert each.read_file("/d/file") == b"one\n" and changes(each) == before
            with pytest.raises(coble.PathNotFoundError):
                each.read_file("/etc/group")
            assert each.list_files("/home") == []
        # What one writes from here on, the other does not have.
        container.write_file("/d/file", b"two\n")
        snapshot.write_file("/d/mine", b"")
        assert snapshot.read_file("/d/file") == b"one\n" and container.read_file("/d/file") == b"two\n"
        with pytest.raises(coble.PathNotFoundError):
            container.read_file("/d/mine")
        assert ("added", "/d/mine") in changes(snapshot) and ("deleted", "/etc/group") in changes(snapshot)
        # A snapshot of a snapshot, and of the container once more, which go on when the first have gone.
        second = snapshot.snapshot()
        third = container.snapshot("third")
        snapshot.remove()
        container.remove()
        assert second.read_file("/d/file") == b"one\n" and second.read_file("/d/sub/same") == b"same\n"
        assert third.read_file("/d/file") == b"two\n"
        with pytest.raises(coble.NameInUseError):
            second.snapshot("third")
        # Started, it is a clone.
        third.start()
        third.wait()
        assert third.read_file("/d/file") == b"one\n", "the program of the first one ran again"
        # An image of one has all of it.
        second.commit("made")
        done = box.run("made", ["sh", "-c", "cat /d/file; ls /d; ls /etc/group /home 2>&1"])
        assert done.stdout == b"one\nfile\nmine\nsub\nls: /etc/group: No such file or directory\n/home:\n"
        box.run("made", ["true"])
        second.remove()
        third.remove()
        box.images.remove("made")


@pytest.mark.vm
def test_of_a_running_container(box: coble.Engine, tmp_path: Path) -> None:
    with box.containers.run("box", ["sh", "-c", "rm /etc/group; mkdir -p /tmp; n=0; echo 0 > /count; echo 0 > /again; echo ready; while :; do n=$((n+1)); echo $n > /tmp/c; mv /tmp/c /count; echo $n > /tmp/a; mv /tmp/a /again; done"], wait=coble.wait.log("ready")) as container:
        try:
            snapshot = container.snapshot("snap")
        except coble.UnsupportedError:
            assert MODE != "root"
            snapshot = container.snapshot("snap", pause=False)
        assert container.state == "running"
        with pytest.raises(coble.PathNotFoundError):
            snapshot.read_file("/etc/group")
        first, again = (int(snapshot.read_file(path)) for path in ("/count", "/again"))
        eventually(lambda: int(container.read_file("/count")) > first, "the container goes on")
        assert int(snapshot.read_file("/count")) == first
        if MODE == "root":
            assert first - again in (0, 1)
        snapshot.remove()


#: Whose the files are does not matter for the bits of those who have no owner but themselves.
OWNER = "chown 5:6 /d/owned /d/large" if MODE != "single" else "true"
SET_ID = f"mkdir /d; echo > /d/plain; : > /d/empty; echo > /d/owned; cp /bin/busybox /d/large; ln /d/large /d/link; {OWNER}; chmod 4755 /d/plain /d/large; chmod 6755 /d/empty /d/owned"


@pytest.mark.vm
@pytest.mark.parametrize("running", [False, True], ids=["stopped", "running"])
@pytest.mark.parametrize("userns_mode", [None, "auto"] if IS_ROOT else [None, "keep-id", "nomap"] if MODE == "ranges" else [None])
def test_set_id_bits_are_frozen(box: coble.Engine, userns_mode: str | None, running: bool) -> None:
    options = {} if userns_mode is None else {"userns_mode": userns_mode, "user": "0"}
    # Only once: the program of a clone begins anew, and writes to the files of the snapshot.
    script = f"[ -e /d ] || {{ {SET_ID}; }}; echo ready; {'sleep 1000' if running else 'true'}"
    wanted = {"plain": 0o4755, "empty": 0o6755, "owned": 0o6755, "large": 0o4755, "link": 0o4755}

    def modes(container: coble.Container) -> dict[str, int]:
        return {entry.name: entry.mode for entry in container.list_files("/d")}

    with box.containers.run("box", ["sh", "-c", script], **options) as container:  # type: ignore[arg-type]
        container.wait() if not running else eventually(lambda: log_bytes(container) == b"ready\n", "the files")
        assert modes(container) == wanted
        snapshot = container.snapshot(pause=False)
        again = snapshot.snapshot()
        container.commit("made", pause=False)
        of_image = box.containers.create("made", ["sleep", "1000"], **options)  # type: ignore[arg-type]
        for each in (container, snapshot, again, of_image):
            assert modes(each) == wanted, each
        for each in (snapshot, again, of_image):
            each.start()
            if each is of_image or running:
                shown = each.exec(["sh", "-c", "cd /d; stat -c '%n %a' *"], user="0", check=True).stdout.decode().splitlines()
                assert {name: int(mode, 8) for name, mode in map(str.split, shown)} == wanted, each
            each.remove(force=True)
        box.images.remove("made")


@pytest.mark.vm
def test_what_is_large_is_not_copied(box: coble.Engine) -> None:
    """Milliseconds, whatever the size, and the disk has it once."""
    with stopped(box, "dd if=/dev/zero of=/big bs=1M count=200 2>/dev/null") as container:
        container.snapshot("warm").remove()
        before = box.disk_usage()
        times, snapshots = [], []
        for n in range(5):
            begin = time.monotonic()
            snapshots.append(container.snapshot(f"s{n}"))
            times.append(time.monotonic() - begin)
        took = statistics.median(times)
        after = box.disk_usage()
        assert before.writable > 200 << 20 and after.writable - before.writable < 1 << 20
        assert took < 0.5, took
        print(f"a snapshot takes {took * 1000:.1f} ms")
        container.remove()
        assert box.disk_usage().writable > 200 << 20
        for snapshot in snapshots:
            snapshot.remove()
        # With the last one goes what they shared.
        assert box.disk_usage().writable < 1 << 20


def test_prune_and_removal_of_images_know_them(box: coble.Engine) -> None:
    with stopped(box, "echo x > /x") as container:
        snapshot = container.snapshot("snap")
        container.remove()
        with pytest.raises(coble.InUseError):
            box.images.remove("box")
        assert box.containers.prune().deleted == [snapshot.id]
        assert box.disk_usage().writable < 1 << 20
        with pytest.raises(coble.ContainerNotFoundError):
            snapshot.snapshot()


def test_names_and_limits(box: coble.Engine) -> None:
    with stopped(box, "true") as container:
        with pytest.raises(coble.InvalidArgumentError):
            container.snapshot("no/name")
        # Nothing was written, so there is nothing to stack.
        latest = container
        for _ in range(70):
            latest = latest.snapshot()
        for _ in range(64):
            latest.write_file("/x", b"")
            latest = latest.snapshot()
        latest.write_file("/x", b"")
        with pytest.raises(coble.LimitExceededError):
            latest.snapshot()
        latest.start()
        assert latest.wait() == 0


KILLED = """
import sys, coble
engine = coble.Engine(data_root=sys.argv[1], run_root=sys.argv[2])
container = engine.containers.get("victim")
print("ready", flush=True)
n = 0
while True:
    container.write_file("/n", str(n).encode())
    container.snapshot(f"snap-{sys.argv[3]}-{n}")
    n += 1
"""


@pytest.mark.vm
def test_sigkill_at_any_moment_leaves_nothing(box: coble.Engine, store: Store) -> None:
    with stopped(box, "mkdir /keep; echo kept > /keep/file", name="victim") as container:
        for turn in range(12):
            process = subprocess.Popen([sys.executable, "-c", KILLED, str(store.data_root), str(store.run_root), str(turn)], stdout=subprocess.PIPE)
            assert process.stdout is not None and process.stdout.readline() == b"ready\n"
            # The emulated machine is many times slower.
            time.sleep((0.02 + 0.013 * turn) * (10 if CGROUPS == "v2" else 1))
            kill_for_good(process)
            with store.engine() as again:
                assert again.verify() == []
                assert container.read_file("/keep/file") == b"kept\n"
                listed = [c for c in again.containers.list(all=True) if c.name != "victim"]
                for summary in listed:
                    snapshot = again.containers.get(summary.name)
                    assert snapshot.read_file("/n") == summary.name.rpartition("-")[2].encode()
                    snapshot.remove()
        container.remove()
        with store.engine() as last:
            assert last.disk_usage().writable < 1 << 20
        frozen = store.data_root / "frozen"
        assert not frozen.exists() or not os.listdir(frozen)


@pytest.mark.vm
def test_the_root_directory_stays_as_it_is(box: coble.Engine) -> None:
    """Mode, owner and time of `/` are the container's, too, though it goes on with a new directory."""
    # An ordinary user may not rename a directory that is somebody else's.
    owner = "chown 1000:1000 /" if IS_ROOT else "true"
    make = f"echo x > /x; {owner}; chmod 1751 /; touch -t 200102030405 /"
    with stopped(box, f"if [ -e /x ]; then stat -c '%a %u:%g %Y' /; else {make}; fi", environment={"TZ": "UTC"}) as container:
        snapshot = container.snapshot()
        for each in (container, snapshot):
            each.start()
            assert each.wait() == 0
            owners = b"1000:1000" if IS_ROOT else b"0:0"
            assert log_bytes(each) == b"1751 %s 981173100\n" % owners
            each.remove()


def set_immutable(path: Path, flag: str) -> bool:
    return subprocess.run(["chattr", flag + "i", path], capture_output=True, check=False).returncode == 0


@pytest.mark.root
def test_a_layer_that_cannot_be_removed_is_nobody_elses_matter(box: coble.Engine, store: Store) -> None:
    with stopped(box, "echo x > /x") as container:
        snapshot = container.snapshot()
        (name,) = os.listdir(store.data_root / "frozen")
        stuck = store.data_root / "frozen" / name / "x"
        if not set_immutable(stuck, "+"):
            pytest.skip("the file system has no immutable files")
        try:
            other = box.containers.create("box", ["true"])
            snapshot.remove()
            container.remove()
            other.remove()
            assert box.containers.list(all=True) == []
            (left,) = (store.data_root / "frozen").iterdir()
            assert left.name != name, "what is to go has another name at once"
            stuck = left / "x"
        finally:
            set_immutable(stuck, "-")
        # The sweep finds it.
        with store.engine():
            assert not os.listdir(store.data_root / "frozen")


def test_the_command(box: coble.Engine, store: Store) -> None:
    from test_command import Command

    command = Command(store)
    with stopped(box, "echo x > /x", name="c"):
        made = command.good("container", "clone", "c", "copy").strip()
        assert box.containers.get("copy").id == made and box.containers.get("copy").read_file("/x") == b"x\n"
        assert command("container", "clone", "none").returncode == 125
        assert command("container", "clone", "--no-pause", "c", "copy").returncode == 125
