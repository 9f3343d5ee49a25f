"""Other programs in a running container: exec and popen."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import threading
import time
import warnings
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import coble
import coble.aio
import pytest
from conftest import IS_ROOT, MODE, Store
from helpers import eventually, log_bytes, monitor_of, resident, status_fields, wait_for_exit

PIPE = coble.PIPE


@pytest.fixture
def idle(shared: coble.Engine) -> Iterator[coble.Container]:
    container = shared.containers.create(
        "box", ["sleep", "1000"], environment={"CONTAINER_VARIABLE": "container"}, working_dir="/home/alice"
    )
    container.start()
    yield container
    container.remove(force=True)


# --- exec -----------------------------------------------------------------------------------------------------------


@pytest.mark.vm
@pytest.mark.parametrize("code", [0, 1, 7, 127, 255])
def test_exit_code(idle: coble.Container, code: int) -> None:
    assert idle.exec(["sh", "-c", f"exit {code}"]).exit_code == code


def test_a_signal(idle: coble.Container) -> None:
    assert idle.exec(["sh", "-c", "kill -9 $$"]).exit_code == 137


@pytest.mark.vm
def test_streams_and_input(idle: coble.Container) -> None:
    done = idle.exec(["sh", "-c", "cat; echo err >&2"], input=b"in\xff")
    assert (done.exit_code, done.stdout, done.stderr) == (0, b"in\xff", b"err\n")


@pytest.mark.parametrize(
    ("command", "error"),
    [
        (["no-such-program"], coble.CommandNotFoundError),
        (["/etc/not-executable"], coble.CommandNotExecutableError),
        (["/etc"], coble.CommandNotExecutableError),
    ],
)
def test_a_program_that_cannot_be_started(idle: coble.Container, command: list[str], error: type[coble.CobleError]) -> None:
    with pytest.raises(error):
        idle.exec(command)
    assert idle.state == "running"


def test_environment_user_and_directory(idle: coble.Container) -> None:
    script = 'echo "$IMAGE_VARIABLE $CONTAINER_VARIABLE $MINE"; pwd'
    assert idle.exec(["sh", "-c", script]).stdout == b"image container \n/home/alice\n"
    assert idle.exec(["sh", "-c", script], environment={"MINE": "x", "CONTAINER_VARIABLE": "y"}, working_dir="/tmp").stdout == b"image y x\n/tmp\n"
    if MODE != "single":
        uid, groups, home = idle.exec(["sh", "-c", "id -u; id -G; echo $HOME"], user="alice").stdout.decode().splitlines()
        assert (uid, set(groups.split()), home) == ("1000", {"1000", "50", "100"}, "/home/alice")


@pytest.mark.vm
def test_privileged(idle: coble.Container) -> None:
    """Every capability that the caller has; all else is the container's."""
    own = status_fields(Path("/proc/self/status").read_text())
    everything = int(own["CapBnd"], 16) if MODE == "root" else (1 << (int(Path("/proc/sys/kernel/cap_last_cap").read_text()) + 1)) - 1
    usual = status_fields(idle.exec(["cat", "/proc/self/status"], check=True).stdout.decode())
    done = idle.exec(["cat", "/proc/self/status"], privileged=True, check=True)
    fields = status_fields(done.stdout.decode())
    mknod = 1 << 27 if any(warning.code == "mknod-dropped" for warning in done.warnings) else 0
    assert int(fields["CapEff"], 16) == int(fields["CapBnd"], 16) == everything & ~mknod != int(usual["CapEff"], 16)
    assert int(fields["CapAmb"], 16) == 0
    assert (fields["Seccomp"], fields["NoNewPrivs"]) == (usual["Seccomp"], usual["NoNewPrivs"]) == ("2", "1")
    with idle.popen(["cat", "/proc/self/status"], stdout=PIPE, privileged=True) as process:
        assert process.stdout is not None
        assert status_fields(process.stdout.read().decode())["CapEff"] == fields["CapEff"]
    if MODE != "single":
        # As docker has it, capabilities are those of user 0.
        assert int(status_fields(idle.exec(["cat", "/proc/self/status"], user="alice", privileged=True).stdout.decode())["CapEff"], 16) == 0
    assert idle.exec(["cat", "/proc/self/status"]).stdout.count(b"CapEff:\t" + usual["CapEff"].encode()) == 1


@pytest.mark.skipif(MODE != "root", reason="an ordinary user makes no devices anyway")
def test_a_privileged_program_uses_no_other_devices(shared: coble.Engine) -> None:
    container = shared.containers.create("box", ["sleep", "1000"], cap_drop=["ALL"])
    container.start()
    try:
        script = "mknod /tmp/mem c 1 1 2>/dev/null; head -c 1 /tmp/mem > /dev/null"
        done = container.exec(["sh", "-c", script], privileged=True)
        assert done.exit_code != 0 and not done.stdout, done
    finally:
        container.remove(force=True)


def test_check(idle: coble.Container) -> None:
    with pytest.raises(coble.ContainerExitError) as caught:
        idle.exec(["sh", "-c", "echo x; exit 5"], check=True)
    assert (caught.value.exit_code, caught.value.stdout) == (5, b"x\n")


def test_timeout_kills_the_program_only(idle: coble.Container) -> None:
    for seconds in (1, 5, 30):  # A start may take long when everything is busy.
        with pytest.raises(coble.TimeoutError) as caught:
            idle.exec(["sh", "-c", "echo out; echo err >&2; exec sleep 999"], timeout=seconds)
        if caught.value.stderr:
            break
    # What it wrote until then is not lost.
    assert (caught.value.stdout, caught.value.stderr) == (b"out\n", b"err\n")
    assert idle.state == "running"
    assert b"999" not in idle.exec(["ps"]).stdout


@pytest.mark.once
def test_a_program_whose_start_takes_too_long_is_not_left(idle: coble.Container) -> None:
    """At every stage of its start."""
    for milliseconds in (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 1.0, 1.2, 1.5) * 3:
        with pytest.raises(coble.TimeoutError):
            idle.exec(["sleep", "998"], timeout=milliseconds / 1000)
    eventually(lambda: b"998" not in idle.exec(["ps"]).stdout, "the end of all of them")


def test_in_a_container_that_does_not_run(shared: coble.Engine) -> None:
    container = shared.containers.create("box", ["true"])
    with pytest.raises(coble.InvalidStateError):
        container.exec(["true"])
    container.start()
    container.wait()
    with pytest.raises(coble.InvalidStateError):
        container.exec(["true"])
    container.remove()


@pytest.mark.vm
def test_the_programs_of_a_container_are_in_it(idle: coble.Container) -> None:
    """Same namespaces as process 1; a file that one writes another one reads."""
    same = idle.exec(["sh", "-c", "for n in mnt pid net ipc uts cgroup user; do readlink /proc/1/ns/$n; readlink /proc/self/ns/$n; done"]).stdout.decode().split()
    assert same[0::2] == same[1::2] and len(same) == 14
    idle.exec(["sh", "-c", "echo shared > /tmp/file"])
    assert idle.exec(["cat", "/tmp/file"]).stdout == b"shared\n"


@pytest.mark.vm
def test_same_confinement_as_process_1(idle: coble.Container) -> None:
    """SEC-40, SEC-41: capabilities, no_new_privs, seccomp."""
    first = status_fields(idle.exec(["cat", "/proc/1/status"]).stdout.decode())
    mine = status_fields(idle.exec(["cat", "/proc/self/status"]).stdout.decode())
    for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs", "Seccomp", "Uid", "Gid"):
        assert mine[name] == first[name], name


def test_many_at_once(idle: coble.Container) -> None:
    def one(number: int) -> bytes:
        return idle.exec(["sh", "-c", f"cat; echo {number}"], input=b"x" * number).stdout

    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(one, range(40)))
    assert results == [b"x" * number + b"%d\n" % number for number in range(40)]


def test_orphans_are_reaped(idle: coble.Container) -> None:
    """An exec that leaves a background child: the exec ends, the child lives until the container does."""
    begin = time.monotonic()
    done = idle.exec(["sh", "-c", "sleep 500 >/dev/null 2>&1 </dev/null & echo started"])
    assert done.stdout == b"started\n"
    assert time.monotonic() - begin < 5
    assert b"sleep 500" in idle.exec(["ps", "-o", "args"]).stdout


def test_output_of_an_exec_is_not_in_the_log(idle: coble.Container) -> None:
    idle.exec(["echo", "not for the log"])
    assert log_bytes(idle) == b""


def test_an_exec_ends_with_its_container(shared: coble.Engine) -> None:
    container = shared.containers.create("box", ["sleep", "1000"])
    container.start()
    codes: list[int | str] = []

    def run() -> None:
        try:
            codes.append(container.exec(["sleep", "500"]).exit_code)
        except coble.CobleError as error:
            codes.append(error.kind)

    thread = threading.Thread(target=run)
    thread.start()
    while b"sleep 500" not in container.exec(["ps", "-o", "args"]).stdout:
        pass
    container.kill("KILL")
    thread.join(30)
    assert not thread.is_alive()
    assert codes == [137] or codes == ["MonitorLost"]
    assert container.wait(timeout=10) == 137
    container.remove()


# --- popen ----------------------------------------------------------------------------------------------------------


def test_popen_pipes(idle: coble.Container) -> None:
    with idle.popen(["cat"], stdin=PIPE, stdout=PIPE) as process:
        assert process.stdin is not None and process.stdout is not None
        os.write(process.stdin.fileno(), b"one\n")
        assert os.read(process.stdout.fileno(), 100) == b"one\n"
        assert process.poll() is None
        process.stdin.close()
        assert process.wait() == 0
        assert process.returncode == 0
        assert process.poll() == 0


@pytest.mark.vm
def test_popen_communicate(idle: coble.Container) -> None:
    process = idle.popen(["sh", "-c", "cat; echo err >&2; exit 3"], stdin=PIPE, stdout=PIPE, stderr=PIPE)
    assert process.communicate(input=b"x" * 1_000_000) == (b"x" * 1_000_000, b"err\n")
    assert process.returncode == 3


def test_popen_kill_and_terminate(idle: coble.Container) -> None:
    process = idle.popen(["sleep", "500"])
    process.kill()
    assert process.wait() == 137
    process = idle.popen(["sleep", "500"])
    process.terminate()
    assert process.wait() == 143
    process = idle.popen(["sh", "-c", "trap 'exit 9' USR1; echo; while :; do sleep 0.05; done"], stdout=PIPE)
    assert process.stdout is not None
    process.stdout.read(1)
    process.send_signal(signal.SIGUSR1)
    assert process.wait(timeout=10) == 9
    process.stdout.close()


def test_popen_wait_timeout(idle: coble.Container) -> None:
    process = idle.popen(["sleep", "500"])
    with pytest.raises(TimeoutError):
        process.wait(timeout=0.1)
    process.kill()
    process.wait()


def test_popen_pid_is_on_the_host(idle: coble.Container) -> None:
    process = idle.popen(["sleep", "500"])
    # The kernel closes what tells that it is executed before it says what with.
    eventually(lambda: b"sleep" in Path(f"/proc/{process.pid}/cmdline").read_bytes(), "its command line")
    process.kill()
    process.wait()
    assert wait_for_exit(process.pid)


def test_popen_with_the_callers_descriptors(idle: coble.Container) -> None:
    read, write = os.pipe()
    process = idle.popen(["sh", "-c", "echo through"], stdout=write)
    os.close(write)
    assert process.wait() == 0
    assert os.read(read, 100) == b"through\n"
    assert os.read(read, 100) == b""
    os.close(read)


def test_popen_through_a_file(idle: coble.Container, tmp_path: object) -> None:
    with open(f"{tmp_path}/out", "w+b") as file:
        process = idle.popen(["echo", "to a file"], stdout=file)
        assert process.wait() == 0
        file.seek(0)
        assert file.read() == b"to a file\n"


@pytest.mark.slow
def test_a_gibibyte_without_growth(shared: coble.Engine) -> None:
    """Neither the host program nor the monitor grows with what passes."""
    mebibytes = 1024 if IS_ROOT and "COBLE_TEST_SMALL" not in os.environ else 256
    container = shared.containers.create("box", ["sleep", "1000"])
    container.start()
    monitor = monitor_of(container)
    before = resident(os.getpid()), resident(monitor)
    process = container.popen(["probe", "write", str(mebibytes)], stdout=PIPE)
    assert process.stdout is not None
    total, checksum, most = 0, 0, before
    pattern = bytes(index % 251 for index in range(65536)) * 2
    buffer = bytearray(1 << 16)
    while True:
        count = os.readv(process.stdout.fileno(), [buffer])
        if count == 0:
            break
        offset = total % 65536
        assert buffer[:count] == pattern[offset : offset + count]
        total += count
        checksum += 1
        if checksum % 512 == 0:
            most = max(most[0], resident(os.getpid())), max(most[1], resident(monitor))
    process.stdout.close()
    assert process.wait() == 0
    assert total == mebibytes << 20
    assert most[0] - before[0] < 8 << 20, "the host program grew"
    assert most[1] - before[1] < 1 << 20, "the monitor grew"
    container.remove(force=True)


@pytest.mark.slow
def test_a_big_log_without_growth_of_the_monitor(shared: coble.Engine) -> None:
    container = shared.containers.create("box", ["sh", "-c", "probe write 128; echo end; sleep 1000"])
    container.start()
    monitor = monitor_of(container)
    before, most, total, last = resident(monitor), 0, 0, b""
    with container.logs(follow=True) as stream:
        for record in stream:
            total += len(record.data)
            most = max(most, resident(monitor))
            last = (last + record.data[-4:])[-4:]
            if last == b"end\n":
                break
    assert total == (128 << 20) + 4
    assert most - before < 1 << 20
    container.remove(force=True)


# --- asyncio --------------------------------------------------------------------------------------------------------


def in_a_container(store: Store, work: Callable[[coble.aio.Container], Awaitable[None]], **options: Any) -> None:
    async def main() -> None:
        async with coble.aio.Engine(store.data_root, store.run_root) as engine:
            async with engine.containers.run("box", ["sleep", "1000"], **options) as container:
                await asyncio.wait_for(work(container), 60)

    with warnings.catch_warnings():
        warnings.simplefilter("error", ResourceWarning)
        asyncio.run(main())
        gc.collect()


def test_streams_of_asyncio(shared: coble.Engine, shared_store: Store) -> None:
    async def work(container: coble.aio.Container) -> None:
        async with container.popen(["sh", "-c", "cat; echo done >&2"], stdin=coble.PIPE, stdout=coble.PIPE, stderr=coble.PIPE) as process:
            assert isinstance(process.stdin, asyncio.StreamWriter) and isinstance(process.stdout, asyncio.StreamReader)
            assert process.stderr is not None
            # Back and forth, while the loop does something else.
            ticks = 0

            async def tick() -> None:
                nonlocal ticks
                while True:
                    await asyncio.sleep(0.01)
                    ticks += 1

            ticking = asyncio.ensure_future(tick())
            for word in (b"one\n", b"two\n"):
                process.stdin.write(word)
                await process.stdin.drain()
                assert await process.stdout.readline() == word
            await asyncio.sleep(0.2)
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(process.stdout.readline(), 0.1)
            assert ticks > 5
            ticking.cancel()
            process.stdin.close()
            await process.stdin.wait_closed()
            assert await process.stdout.read() == b"" and await process.stderr.read() == b"done\n"
            assert await process.wait() == 0

    in_a_container(shared_store, work)


def test_communicating_with_asyncio(shared: coble.Engine, shared_store: Store) -> None:
    data = b"x" * 3_000_000

    async def work(container: coble.aio.Container) -> None:
        process = await container.popen(["sh", "-c", "sleep 0.5; cat; echo e >&2"], stdin=coble.PIPE, stdout=coble.PIPE, stderr=coble.PIPE)
        with pytest.raises(coble.TimeoutError):
            await process.communicate(data, timeout=0.1)
        with pytest.raises(coble.InvalidArgumentError):
            await process.communicate(b"more")
        assert await process.communicate(timeout=60) == (data, b"e\n")
        assert process.returncode == 0
        # One that does not want it, and one without pipes.
        process = await container.popen(["true"], stdin=coble.PIPE, stdout=coble.DEVNULL, stderr=coble.DEVNULL)
        assert await process.communicate(data) == (None, None)
        process = await container.popen(["true"], stdin=coble.DEVNULL, stdout=coble.DEVNULL, stderr=coble.DEVNULL)
        assert (process.stdin, process.stdout, process.stderr) == (None, None, None)
        with pytest.raises(coble.InvalidArgumentError):
            await process.communicate(b"x")
        assert await process.communicate() == (None, None)
        # What is left in its block goes with that.
        async with container.popen(["sh", "-c", "yes; true"], stdin=coble.PIPE, stdout=coble.PIPE) as process:
            assert process.stdout is not None
            assert await process.stdout.readline() == b"y\n"
        assert process.returncode is not None

    in_a_container(shared_store, work)


def test_a_terminal_and_asyncio(shared: coble.Engine, shared_store: Store) -> None:
    async def work(container: coble.aio.Container) -> None:
        async with container.popen(["sh", "-c", "read x; echo got $x"], tty=True) as process:
            assert process.stdin is not None and process.stdout is not None
            process.stdin.write(b"it\n")
            await process.stdin.drain()
            assert b"got it\r\n" in await process.stdout.read()
            assert await process.wait() == 0
        assert (await container.exec(["true"])).exit_code == 0

    in_a_container(shared_store, work)


def test_attached_with_asyncio(shared: coble.Engine, shared_store: Store) -> None:
    async def main() -> None:
        async with coble.aio.Engine(shared_store.data_root, shared_store.run_root) as engine:
            async with engine.containers.create("box", ["cat"], stdin_open=True) as container:
                async with container.start_attached(stdin=True) as process:
                    assert process.stdin is not None and process.stdout is not None
                    process.stdin.write(b"hello\n")
                    await process.stdin.drain()
                    assert await process.stdout.readline() == b"hello\n"
                    await container.kill()
                    assert await process.stdout.read() == b""

    asyncio.run(main())
