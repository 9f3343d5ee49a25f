"""A store beside what is broken in it, beside others who open it all the time, and beside monitors that do not answer."""

from __future__ import annotations

import os
import resource
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import coble
import helpers
import pytest
from conftest import IS_ROOT, Store


@pytest.fixture
def opened_in_a_loop(store: Store) -> Iterator[list[coble.CobleError]]:
    """Other engines open the store, look and close it, one after the other, while the test goes on."""
    stop, errors, rounds = threading.Event(), [], []

    def work() -> None:
        while not stop.is_set():
            try:
                with store.engine() as engine:
                    engine.containers.list(all=True)
                rounds.append(1)
            except coble.CobleError as error:
                errors.append(error)

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    yield errors
    stop.set()
    for thread in threads:
        thread.join()
    assert errors == [] and len(rounds) > 10


def test_others_open_the_store_all_the_time(box: coble.Engine, opened_in_a_loop: list[coble.CobleError]) -> None:
    """Whoever looks at a container holds its lock for a moment. That is no running container."""
    for number in range(60):
        container = box.containers.create("box", ["true"], lifetime="session" if number % 2 else "detached")
        if number % 3:
            container.start()
            assert container.wait(20) == 0
        if number % 3 == 2:
            container.start()
            assert container.wait(20) == 0
        container.remove()
    assert opened_in_a_loop == []
    assert box.containers.list(all=True) == []


def test_removed_by_several_at_once(box: coble.Engine, store: Store) -> None:
    for number in range(20):
        container = box.containers.create("box", ["sleep", "1000"], lifetime="detached")
        if number % 2:
            container.start()
        errors: list[coble.CobleError] = []

        def remove(engine: coble.Engine, identity: str = container.id, errors: list[coble.CobleError] = errors) -> None:
            try:
                engine.containers.get(identity).remove(force=True)
            except coble.ContainerNotFoundError:
                pass
            except coble.CobleError as error:
                errors.append(error)

        with store.engine() as first, store.engine() as second:
            threads = [threading.Thread(target=remove, args=[engine]) for engine in (box, first, second)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        assert errors == []
        assert store.litter() == []


@pytest.mark.parametrize("how", ["kill", "stop", "remove"])
def test_a_stopped_monitor_is_no_obstacle(box: coble.Engine, how: str) -> None:
    container = box.containers.create("box", ["sleep", "1000"], lifetime="detached")
    container.start()
    monitor = helpers.monitor_of(container)
    os.kill(monitor, signal.SIGSTOP)
    begin = time.monotonic()
    if how == "kill":
        container.kill("KILL")
        assert container.wait(20) == 137
    elif how == "stop":
        with pytest.raises(coble.TimeoutError):
            container.kill("TERM")
        os.kill(monitor, signal.SIGCONT)
        container.stop(timeout=0)
        assert container.inspect().state == "exited"
    container.remove(force=True)
    assert time.monotonic() - begin < 30


TRAPPED = ["sh", "-c", "trap 'exit 5' TERM; echo ready; while :; do sleep 0.05; done"]


@pytest.mark.root
def test_many_who_wait_keep_nobody_else_out(shared: coble.Engine) -> None:
    """More than a monitor keeps connections for. All of them hear of the end."""
    with shared.containers.run("box", TRAPPED) as container:
        helpers.wait_for_output(container, b"ready")
        monitor = helpers.monitor_of(container)
        codes: list[int] = []
        waiting = [threading.Thread(target=lambda: codes.append(container.wait(timeout=60))) for _ in range(400)]
        for thread in waiting:
            thread.start()
        helpers.eventually(lambda: len(os.listdir(f"/proc/{monitor}/fd")) >= 256, "many connections", 30)
        assert container.exec(["echo", "here"], timeout=20).stdout == b"here\n"

        def share() -> float:
            before, begin = helpers.processor_time(monitor), time.monotonic()
            time.sleep(1)
            return (helpers.processor_time(monitor) - before) / (time.monotonic() - begin)

        # Some of them ask again and again, which is work.
        helpers.eventually(lambda: share() < 0.2, "a monitor that is hardly busy")
        container.stop(timeout=20)
        for thread in waiting:
            thread.join()
        assert (codes, container.exit_code) == ([5] * len(waiting), 5)


@pytest.mark.root
def test_a_monitor_without_descriptors_is_idle(shared: coble.Engine) -> None:
    with shared.containers.run("box", TRAPPED) as container:
        helpers.wait_for_output(container, b"ready")
        monitor = helpers.monitor_of(container)
        limit = resource.prlimit(monitor, resource.RLIMIT_NOFILE)
        # By way of a directory: the name of a socket is short.
        directory = os.open(f"{shared.info().run_root}/containers/{container.id}", os.O_PATH)
        idle: list[socket.socket] = []

        def connect() -> None:
            idle.append(socket.socket(socket.AF_UNIX))
            idle[-1].connect(f"/proc/self/fd/{directory}/ctl")

        def taken() -> set[int]:
            return {int(number) for number in os.listdir(f"/proc/{monitor}/fd")}

        def without_gaps() -> bool:
            numbers = taken()
            if len(idle) < len(numbers) == max(numbers) + 1:
                return True
            # One who was there before has gone meanwhile. The next one gets that number. So many may be idle.
            if len(idle) < 60:
                connect()
            return False

        try:
            for _ in range(32):
                connect()
            helpers.eventually(without_gaps, "no number that is free in between")
        except BaseException:
            for one in idle:
                one.close()
            raise
        finally:
            os.close(directory)
        resource.prlimit(monitor, resource.RLIMIT_NOFILE, (len(taken()), limit[1]))
        said: list[bytes] = []
        asking = threading.Thread(target=lambda: said.append(container.exec(["echo", "here"]).stdout))
        asking.start()
        time.sleep(0.2)
        before = helpers.processor_time(monitor)
        time.sleep(1)
        spent = helpers.processor_time(monitor) - before
        resource.prlimit(monitor, resource.RLIMIT_NOFILE, limit)
        asking.join()
        for one in idle:
            one.close()
        assert said == [b"here\n"] and spent < 0.2


def test_programs_have_the_callers_limit_of_descriptors(shared: coble.Engine, tmp_path: Path) -> None:
    """The monitor's own is higher."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard // 2, hard))
    try:
        place = tmp_path / "limit"
        place.touch(mode=0o666)
        hook = {"path": "/bin/sh", "args": ["sh", "-c", f"ulimit -n >> {place}"]}
        with shared.containers.run("box", ["sh", "-c", "ulimit -n; exec sleep 1000"], hooks={"poststart": [hook]}) as container:
            helpers.wait_for_output(container, b"\n")
            found = [helpers.log_bytes(container), container.exec(["sh", "-c", "ulimit -n"]).stdout, place.read_bytes()]
            assert found == [b"%d\n" % (hard // 2)] * 3
            assert resource.prlimit(helpers.monitor_of(container), resource.RLIMIT_NOFILE) == (hard, hard)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_junk_in_run_directories_goes(store: Store, box: coble.Engine) -> None:
    container = box.containers.create("box", ["true"], lifetime="detached")
    for identity in (container.id, "ab" * 32):
        folder = store.run_root / "containers" / identity
        (folder / "junk/more").mkdir(parents=True)
        (folder / "junk/file").write_text("x")
        (folder / "link").symlink_to("/")
    (store.run_root / "containers/no-id").mkdir()
    with store.engine() as other:
        assert other.verify() == []
    container.remove()
    (store.run_root / "containers/no-id").rmdir()
    assert store.litter() == []


@pytest.mark.skipif(not IS_ROOT, reason="an ordinary user cannot make files that he cannot remove")
def test_one_bad_container_is_no_obstacle(store: Store, box: coble.Engine) -> None:
    """The store opens, says what is wrong, and the rest is swept. With the cause the problem goes."""
    bad = store.data_root / "containers" / ("ab" * 32)
    (bad / "upper").mkdir(parents=True)
    good = store.data_root / "containers" / ("cd" * 32)
    (good / "upper").mkdir(parents=True)
    (bad / "upper/file").write_text("x")
    if subprocess.run(["chattr", "+i", bad / "upper/file"]).returncode != 0:
        pytest.skip("no immutable files on this file system")
    try:
        with store.engine() as other:
            assert not good.exists() and bad.exists()
            (problem,) = other.verify()
            assert bad.name in problem
            assert other.run("box", ["echo", "x"]).stdout == b"x\n"
    finally:
        subprocess.run(["chattr", "-i", bad / "upper/file"], check=True)
    with store.engine() as other:
        assert not bad.exists() and other.verify() == []
    assert store.litter() == []


@pytest.mark.root
def test_cgroups_that_nothing_else_leads_to(store: Store, box: coble.Engine) -> None:
    """Of containers without a row, and of ones that are not running: the next one to open the store removes them, with what is in them."""
    probe = box.containers.create("box", ["sleep", "1000"], lifetime="detached")
    probe.start()
    # `glob` does not like it when others remove theirs meanwhile.
    (home,) = [Path(place, name) for place, names, _ in os.walk("/sys/fs/cgroup") for name in names if name.startswith("coble-") and name.endswith(f"-{probe.id}")]
    probe.remove(force=True)
    idle = box.containers.create("box", ["true"], lifetime="detached")
    left = [home.with_name(home.name.replace(probe.id, identity)) for identity in ("ab" * 32, idle.id)]
    for cgroup in left:
        (cgroup / "below").mkdir(parents=True)
    sleeper = subprocess.Popen(["sleep", "1000"])
    (left[0] / "below/cgroup.procs").write_text(str(sleeper.pid))
    with store.engine() as other:
        assert other.verify() == []
        assert sleeper.wait(10) == -signal.SIGKILL
        assert [cgroup for cgroup in left if cgroup.exists()] == []
    idle.remove()


def test_a_name_that_looks_like_an_id(shared: coble.Engine) -> None:
    with pytest.raises(coble.InvalidArgumentError):
        shared.containers.create("box", ["true"], name="0123456789abcdef" * 4)
    shared.containers.create("box", ["true"], name="0123456789abcdef" * 4 + "0").remove()


def test_a_run_that_does_not_get_started_in_time(shared: coble.Engine) -> None:
    """The time-out of a run covers its start."""
    begin = time.monotonic()
    for microseconds in range(0, 12_000, 500):
        with pytest.raises(coble.TimeoutError):
            shared.run("box", ["sleep", "1000"], timeout=microseconds / 1e6)
    assert time.monotonic() - begin < 20


def test_the_tail_of_a_long_line(box: coble.Engine) -> None:
    container = box.containers.create("box", ["sh", "-c", "echo first; yes | tr -d '\\n' | head -c 100000000"], lifetime="detached")
    container.start()
    assert container.wait(120) == 0
    before = peak()
    with container.logs(tail=1) as stream:
        assert sum(len(record.data) for record in stream) == 100_000_000
    assert peak() - before < 40 << 20
    container.remove()


def peak() -> int:
    return next(int(line.split()[1]) << 10 for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
