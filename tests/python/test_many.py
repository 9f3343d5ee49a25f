"""Many containers at once."""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import archives
import coble
import pytest
from conftest import Assets, Store
from helpers import wait_for_output

pytestmark = pytest.mark.slow

COUNT = int(os.environ.get("COBLE_TEST_MANY", "200"))


def test_many_runs_from_16_threads(shared: coble.Engine) -> None:
    def one(number: int) -> bool:
        done = shared.run("box", ["sh", "-c", f"cat; echo err{number} >&2; exit {number % 100}"], input=b"in%d" % number, environment={"N": str(number)})
        return (done.exit_code, done.stdout, done.stderr) == (number % 100, b"in%d" % number, b"err%d\n" % number)

    with ThreadPoolExecutor(16) as pool:
        assert list(pool.map(one, range(COUNT))) == [True] * COUNT


def test_many_running_at_the_same_time(shared: coble.Engine, shared_store: Store) -> None:
    """All of them run at once, started from 16 threads; each answers; then all end."""

    def start(number: int) -> coble.Container:
        container = shared.containers.create("box", ["sh", "-c", f"echo ready {number}; exec sleep 1000"], name=f"many-{number}")
        container.start()
        return container

    with ThreadPoolExecutor(16) as pool:
        containers = list(pool.map(start, range(COUNT)))
        try:
            assert len(shared.containers.list()) == COUNT
            assert shared.info().running == COUNT
            assert shared_store.litter(containers=COUNT) == []
            outputs = list(pool.map(lambda container: container.exec(["hostname"]).stdout.decode().strip(), containers))
            assert outputs == [container.id[:12] for container in containers]
            for number, container in enumerate(containers):
                wait_for_output(container, b"ready %d\n" % number)
        finally:
            list(pool.map(lambda container: container.remove(force=True), containers))
    assert shared.containers.list(all=True) == []


def test_threads_that_load_run_and_remove(box: coble.Engine, assets: Assets, tmp_path: Path) -> None:
    """Different operations at once on one store: each either works or fails with a typed error that says why."""
    for number in range(4):
        layer = archives.tar(archives.file("number", str(number).encode()))
        image = archives.Image([assets.busybox.read_bytes(), layer], {"Cmd": ["cat", "/number"]}, f"race:{number}")
        archives.write_oci_layout(tmp_path / str(number), image)
    wrong: list[str] = []

    def work(worker: int) -> None:
        for turn in range(6):
            number = (worker + turn) % 4
            try:
                box.images.load(tmp_path / str(number))
                done = box.run(f"race:{number}", pull="never")
                if done.stdout != str(number).encode():
                    wrong.append(f"{number}: {done.stdout!r}")
                box.images.remove(f"race:{number}", force=True)
            except (coble.ImageNotFoundError, coble.InUseError):
                continue  # another thread was faster
            except Exception as error:
                wrong.append(repr(error))

    threads = [threading.Thread(target=work, args=[worker]) for worker in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
