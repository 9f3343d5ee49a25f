"""The search for litter finds what is planted. A check that cannot fail proves nothing."""

from __future__ import annotations

import contextlib
import ctypes
import os
import subprocess
import sys
import threading
from pathlib import Path

import litter
import pytest
from conftest import IS_ROOT


def find(before: litter.Snapshot, word: str) -> bool:
    return any(word in line for line in before.difference())


def test_nothing_is_found_when_nothing_is_there() -> None:
    assert litter.Snapshot().litter() == []


def test_a_child() -> None:
    before = litter.Snapshot()
    child = subprocess.Popen(["sleep", "1000"])
    assert find(before, f"process {child.pid}")
    child.kill()
    child.wait()
    assert before.litter() == []


def test_only_what_stays() -> None:
    before = litter.Snapshot()
    with subprocess.Popen(["sleep", "1000"]) as child:
        found = before.litter(0.5)
        assert len(found) == 1 and f"process {child.pid} " in found[0]
        child.kill()
    # Others come and go.
    stop = threading.Event()

    def come_and_go() -> None:
        while not stop.is_set():
            subprocess.run(["sleep", "0.05"], check=True)

    before = litter.Snapshot()
    thread = threading.Thread(target=come_and_go)
    thread.start()
    try:
        assert before.litter(1) == []
    finally:
        stop.set()
        thread.join()


def test_a_process_that_left_the_family() -> None:
    """A grandchild whose parent has gone, in a session of its own: what a monitor is."""
    before = litter.Snapshot()
    script = "import subprocess; print(subprocess.Popen(['sleep', '1000'], start_new_session=True, stdout=subprocess.DEVNULL).pid)"
    pid = int(subprocess.run([sys.executable, "-c", script], check=True, stdout=subprocess.PIPE).stdout)
    assert find(before, f"process {pid}")
    os.kill(pid, 9)
    assert before.litter() == []


def test_a_descriptor_and_a_thread(tmp_path: Path) -> None:
    before = litter.Snapshot()
    fd = os.open(tmp_path, os.O_RDONLY)
    assert find(before, f"descriptor {fd} -> {tmp_path}")
    os.close(fd)
    assert before.litter() == []
    # A thread that Python does not know of.
    libc = ctypes.CDLL(None)
    event = threading.Event()
    routine = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p)(lambda _: event.wait(30) and None)
    handle = ctypes.c_ulong()
    threads = threading.active_count()
    assert libc.pthread_create(ctypes.byref(handle), None, routine, None) == 0
    if threading.active_count() == threads:
        assert find(before, "new threads")
    event.set()
    libc.pthread_join(handle, None)


@pytest.mark.root
def test_a_mount(tmp_path: Path) -> None:
    before = litter.Snapshot()
    subprocess.run(["mount", "-t", "tmpfs", "planted", tmp_path], check=True)
    try:
        assert find(before, str(tmp_path))
    finally:
        subprocess.run(["umount", tmp_path], check=True)
    assert before.litter() == []


@pytest.mark.root
def test_an_interface() -> None:
    before = litter.Snapshot()
    done = subprocess.run(["ip", "link", "add", "coble-planted", "type", "veth", "peer", "name", "coble-planted2"], stderr=subprocess.PIPE)
    if done.returncode != 0:
        pytest.skip("this kernel has no veth devices")
    try:
        assert find(before, "coble-planted")
    finally:
        subprocess.run(["ip", "link", "del", "coble-planted"], check=True)
    assert before.litter() == []


@pytest.mark.root
def test_a_cgroup() -> None:
    candidates = [path for path in (Path("/sys/fs/cgroup/pids"), Path("/sys/fs/cgroup")) if (path / "cgroup.procs").exists()]
    if not candidates:
        pytest.skip("this host has no cgroups")
    parent = candidates[0] / "coble"
    made = not parent.exists()
    before = litter.Snapshot()
    planted = parent / "planted-by-the-tests"
    planted.mkdir(parents=True)
    try:
        assert find(before, str(planted))
    finally:
        planted.rmdir()
        if made:
            # Somebody else may have a container there by now.
            with contextlib.suppress(OSError):
                parent.rmdir()
    assert before.litter() == []


def test_files_in_a_store(tmp_path: Path) -> None:
    for name in ("containers/x", "content/ingest", "content/blobs/sha256", "layers/12", "layers/tmp-1"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "content/ingest/part").touch()
    (tmp_path / "content/blobs/sha256/short").touch()
    found = litter.store_litter(tmp_path, None)
    assert len(found) == 4
    assert len(litter.store_litter(tmp_path, None, containers=1)) == 3


def test_the_supervisor_is_there() -> None:
    assert "COBLE_TEST_SUPERVISOR" in os.environ
    assert IS_ROOT == (os.geteuid() == 0)
