"""What the package adds to the engine: cancelling, interrupts, waiting, processes as files, leaks, asyncio."""

from __future__ import annotations

import asyncio
import gc
import os
import re
import signal
import subprocess
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import coble
import coble.aio
import pytest
from coble import wait

#: Every one of these blocks until somebody ends it.
ENDLESS: dict[str, Callable[[coble.Engine, coble.Container], object]] = {
    "run": lambda engine, container: engine.run("demo", ["sleep", "1000"]),
    "containers.run": lambda engine, container: engine.containers.run("demo", ["sleep", "1000"], wait=wait.log("never")),
    "wait": lambda engine, container: container.wait(),
    "exec": lambda engine, container: container.exec(["sleep", "1000"]),
    "logs": lambda engine, container: container.logs(follow=True).read(),
    "lines": lambda engine, container: list(container.logs(follow=True).lines()),
    "communicate": lambda engine, container: container.popen(["sleep", "1000"], stdout=coble.PIPE).communicate(),
    "process": lambda engine, container: container.popen(["sleep", "1000"]).wait(),
    "wait_for": lambda engine, container: container.wait_for(wait.log("never")),
}


def no_threads_are_left() -> None:
    """A thread that has delivered its result may need a moment to end."""
    for thread in threading.enumerate():
        if "coble" in thread.name:
            thread.join(5)
            assert not thread.is_alive(), thread.name


@contextmanager
def soon(action: Callable[[], object]) -> Iterator[list[float]]:
    """Does something a little later, on another thread; the list gets the time of that."""
    when: list[float] = []

    def act() -> None:
        when.append(time.monotonic())
        action()

    timer = threading.Timer(0.3, act)
    timer.start()
    yield when
    timer.join()


@pytest.mark.parametrize("name", ENDLESS)
def test_an_interrupt_ends_a_blocking_call(engine: coble.Engine, idle: coble.Container, name: str) -> None:
    with soon(lambda: os.kill(os.getpid(), signal.SIGINT)) as when:
        with pytest.raises(KeyboardInterrupt):
            ENDLESS[name](engine, idle)
        took = time.monotonic() - when[0]
    assert took < 5
    assert engine.containers.list(all=True) == [idle]
    assert idle.exec(["true"]).exit_code == 0
    no_threads_are_left()


@pytest.mark.parametrize("name", ENDLESS)
def test_a_token_ends_a_blocking_call_of_another_thread(engine: coble.Engine, idle: coble.Container, name: str) -> None:
    token = coble.CancelToken()

    def under_the_token() -> None:
        with token, pytest.raises(coble.CancelledError):
            ENDLESS[name](engine, idle)

    with ThreadPoolExecutor(1) as pool, soon(token.cancel):
        pool.submit(under_the_token).result(10)
    assert token.cancelled
    # It stays cancelled; outside of it nothing is.
    under_the_token()
    assert engine.run("demo", ["true"]).exit_code == 0
    assert engine.containers.list(all=True) == [idle]


def test_signals_are_handled_while_a_call_blocks(engine: coble.Engine) -> None:
    handled: list[float] = []
    before = signal.signal(signal.SIGUSR1, lambda *_: handled.append(time.monotonic()))
    try:
        with soon(lambda: os.kill(os.getpid(), signal.SIGUSR1)) as when:
            done = engine.run("demo", ["sleep", "1"])
            over = time.monotonic()
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert done.exit_code == 0
    # And not when it is over.
    assert when[0] <= handled[0] < over - 0.1


def test_other_threads_run_while_a_call_blocks(engine: coble.Engine) -> None:
    with ThreadPoolExecutor(1) as pool:
        blocked = pool.submit(engine.run, "demo", ["sleep", "1"])
        count = 0
        while not blocked.done():
            count += 1
    assert count > 1000


# --- logs -----------------------------------------------------------------------------------------------------------


def test_logs_are_lines_and_bytes_and_records(engine: coble.Engine) -> None:
    with engine.containers.run("demo", ["sh", "-c", "seq 1 3; printf end"]) as container:
        container.wait()
        assert list(container.logs().lines()) == [b"1", b"2", b"3", b"end"]
        assert bytes(container.logs()) == container.logs().read() == b"1\n2\n3\nend"
        (record, *_) = container.logs()
        assert record.stream == "stdout" and abs(record.time.timestamp() - record.time_ns / 1e9) < 1e-5
        assert container.logs(until=record.time_ns / 1e9 - 1).read() == b""


def test_a_closed_stream_ends(idle: coble.Container) -> None:
    stream = idle.logs(follow=True)
    data = b""
    while len(data) < 8:
        record = stream.next(timeout=10)
        assert record is not None
        data += record.data
    assert sorted(data.split()) == [b"err", b"out"]
    with soon(stream.close):
        assert list(stream) == []
    assert stream.closed and stream.next() is None and stream.read() == b""


def test_the_next_record_in_time(idle: coble.Container) -> None:
    with idle.logs(follow=True) as stream:
        seen = b""
        while len(seen) < 8:
            record = stream.next(timeout=10)
            assert record is not None
            seen += record.data
        with pytest.raises(TimeoutError):
            stream.next(timeout=0.05)


# --- waiting --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "strategy",
    [
        wait.log("out"),
        wait.log(b"^err$"),
        wait.log(re.compile("OU+T", re.IGNORECASE)),
        wait.log("err", stdout=False),
        wait.file("/bin"),
        wait.exec(["true"]),
        wait.exec("sh -c 'exit 3'", exit_code=3),
        wait.all_of(wait.log("out"), wait.file("/bin/sh"), wait.exec(["true"])),
        wait.all_of(),
        wait.any_of(wait.log("never"), wait.file("/never"), wait.exec(["test", "-e", "/bin"])),
    ],
    ids=repr,
)
def test_what_holds(idle: coble.Container, strategy: wait.Strategy) -> None:
    idle.wait_for(strategy, timeout=10)


@pytest.mark.parametrize(
    "strategy",
    [
        wait.log("out", times=2),
        wait.log("out", stdout=False),
        wait.file("/bin/never"),
        wait.file("/proc/self/root/never"),
        wait.exec(["test", "-e", "/never"]),
        wait.exec(["sleep", "1000"]),
        wait.all_of(wait.log("out"), wait.file("/never")),
        wait.any_of(wait.log("never"), wait.file("/never")),
    ],
    ids=repr,
)
def test_what_does_not_hold(idle: coble.Container, strategy: wait.Strategy) -> None:
    begin = time.monotonic()
    with pytest.raises(TimeoutError) as caught:
        idle.wait_for(strategy, timeout=0.5)
    assert 0.4 < time.monotonic() - begin < 5
    assert isinstance(caught.value, coble.TimeoutError) and idle.name in str(caught.value) and repr(strategy) in str(caught.value)
    if hasattr(caught.value, "__notes__"):
        assert "out" in caught.value.__notes__[0]


def test_a_wait_is_satisfied_when_it_happens(idle: coble.Container) -> None:
    with soon(lambda: idle.exec(["sh", "-c", "echo > /tmp-file"])) as when:
        idle.wait_for(wait.file("/tmp-file"), timeout=10)
        assert time.monotonic() >= when[0]


@pytest.mark.parametrize("strategy", [wait.log("never"), wait.file("/never"), wait.exec(["test", "-e", "/never"])], ids=repr)
def test_the_end_of_a_container_ends_a_wait(engine: coble.Engine, strategy: wait.Strategy) -> None:
    begin = time.monotonic()
    with pytest.raises(coble.ContainerExitError) as caught:
        engine.containers.run("demo", ["sh", "-c", "sleep 0.2; echo oops >&2; exit 4"], wait=strategy, wait_timeout=60)
    assert time.monotonic() - begin < 10
    assert (caught.value.exit_code, caught.value.stdout, caught.value.stderr, caught.value.result) == (4, b"", b"oops\n", None)
    assert engine.containers.list(all=True) == []


def test_what_was_written_before_the_end_counts(engine: coble.Engine) -> None:
    with engine.containers.run("demo", ["sh", "-c", "seq 1 20000; echo ready"], wait=wait.log("^ready$")) as container:
        assert container.wait() == 0


def test_a_failed_start_leaves_nothing(engine: coble.Engine) -> None:
    with pytest.raises(coble.CommandNotFoundError):
        engine.containers.run("demo", ["no-such-program"])
    with pytest.raises(coble.CommandNotFoundError):
        engine.containers.run("demo", ["sleep", "1000"], wait=wait.exec(["no-such-program"]))
    assert engine.containers.list(all=True) == []


# --- processes ------------------------------------------------------------------------------------------------------


def test_communicate_in_time_loses_nothing(idle: coble.Container) -> None:
    process = idle.popen(["sh", "-c", "echo one; read line; echo $line; sleep 0.5; echo two"], stdin=coble.PIPE, stdout=coble.PIPE)
    with pytest.raises(coble.TimeoutError):
        process.communicate(b"input\n", timeout=0.2)
    assert process.returncode is None
    assert process.communicate() == (b"one\ninput\ntwo\n", None)
    assert process.returncode == 0


def test_communicate_after_some_was_read(idle: coble.Container) -> None:
    process = idle.popen(["sh", "-c", "seq 1 3; cat"], stdin=coble.PIPE, stdout=coble.PIPE)
    assert process.stdout is not None and process.stdin is not None
    assert process.stdout.readline() == b"1\n"
    process.stdin.write(b"buffered ")
    assert process.communicate(b"more") == (b"2\n3\nbuffered more", None)


def test_a_program_that_does_not_read_its_input(idle: coble.Container) -> None:
    process = idle.popen(["true"], stdin=coble.PIPE, stderr=coble.PIPE)
    assert process.communicate(b"x" * 1_000_000) == (None, b"")


def test_errors_where_output_goes(idle: coble.Container, tmp_path: os.PathLike[str]) -> None:
    both = ["sh", "-c", "echo out; echo err >&2"]
    assert idle.popen(both, stdout=coble.PIPE, stderr=coble.STDOUT).communicate() == (b"out\nerr\n", None)
    with open(f"{tmp_path}/file", "w+b") as file:
        with idle.popen(both, stdout=file, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL) as process:
            assert process.stdout is None
        assert process.returncode == 0
        done = idle.exec(both, stdout=file, stderr=coble.STDOUT)
        assert (done.stdout, done.stderr) == (b"", b"")
        file.seek(0)
        assert file.read() == b"out\nerr\n" * 2


# --- leaks ----------------------------------------------------------------------------------------------------------


def test_a_lost_container_is_said_and_removed(engine: coble.Engine) -> None:
    container: coble.Container | None = engine.containers.run("demo", ["sleep", "1000"])
    with pytest.warns(ResourceWarning, match="was not removed"):
        container = None
        gc.collect()
    assert container is None and engine.containers.list(all=True) == []


def test_what_is_not_lost_is_not_said(engine: coble.Engine) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with engine.containers.run("demo", ["sleep", "1000"]) as container:
            again = engine.containers.get(container.id)
            assert again == container and hash(again) == hash(container)
            del again
        container.__exit__(None, None, None)
        detached = engine.containers.run("demo", ["sleep", "1000"], lifetime="detached")
        name = detached.name
        del container, detached
        gc.collect()
        engine.containers.get(name).remove(force=True)


def test_a_forked_child_touches_nothing(engine: coble.Engine, idle: coble.Container) -> None:
    process = idle.popen(["sleep", "1000"], stdin=coble.PIPE)
    stream = idle.logs(follow=True)
    child = os.fork()
    if child == 0:
        status = 1
        try:
            refused = 0
            for call in (engine.info, lambda: idle.state, process.poll, stream.read, engine.images.list):
                try:
                    call()
                except coble.ClosedError:
                    refused += 1
            stream.close()
            engine.close()
            del stream, process, idle, engine, call
            gc.collect()
            status = 0 if refused == 5 else 2
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert process.poll() is None and idle.state == "running"
    process.kill()
    assert process.wait() == 137
    stream.close()


# --- asyncio --------------------------------------------------------------------------------------------------------


def store(engine: coble.Engine) -> coble.aio.Engine:
    info = engine.info()
    return coble.aio.Engine(info.data_root, info.run_root)


def test_asyncio_does_the_same(engine: coble.Engine) -> None:
    async def main() -> None:
        async with store(engine) as aio:
            results = await asyncio.gather(*(aio.run("demo", ["sh", "-c", f"echo {number}"]) for number in range(8)))
            assert [result.stdout for result in results] == [b"%d\n" % number for number in range(8)]
            async with aio.containers.run("demo", ["sh", "-c", "seq 1 3; exec sleep 1000"], wait=wait.log("3")) as container:
                assert (await container.state, await container.exit_code) == ("running", None)
                assert [line async for line in container.logs().lines()] == [b"1", b"2", b"3"]
                assert b"".join([record.data async for record in container.logs()]) == await container.logs().read() == b"1\n2\n3\n"
                async with container.popen(["cat"], stdin=coble.PIPE, stdout=coble.PIPE) as process:
                    assert await process.communicate(b"x") == (b"x", None)
                assert await aio.containers.list() == [container]
            image = await aio.images.get("demo")
            assert await image.references == ["docker.io/library/demo:latest"] and image == (await aio.images.list())[0]
            with pytest.raises(coble.ImageNotFoundError):
                await aio.run("no-such-image", pull="never")
        with pytest.raises(coble.ClosedError):
            await aio.info()

    asyncio.run(main())
    no_threads_are_left()


def test_a_cancelled_task_cancels_its_call(engine: coble.Engine) -> None:
    async def cancelled(aio: coble.aio.Engine, work: Callable[[], object]) -> None:
        task = asyncio.ensure_future(work())  # type: ignore[arg-type]
        await asyncio.sleep(0.3)
        task.cancel()
        begin = time.monotonic()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert time.monotonic() - begin < 3

    async def main() -> None:
        async with store(engine) as aio:
            await cancelled(aio, lambda: aio.run("demo", ["sleep", "1000"]))
            await cancelled(aio, lambda: aio.containers.run("demo", ["sleep", "1000"], wait=wait.file("/never")).__aenter__())
            assert await aio.containers.list(all=True) == []
            async with aio.containers.run("demo", ["sleep", "1000"]) as container:
                await cancelled(aio, container.wait)
                await cancelled(aio, lambda: container.exec(["sleep", "1000"]))
                await cancelled(aio, lambda: container.logs(follow=True).read())
                with pytest.raises(asyncio.TimeoutError):
                    await asyncio.wait_for(container.wait(), 0.1)
                assert await container.state == "running"

    asyncio.run(main())
    no_threads_are_left()


def test_an_engine_is_opened_by_awaiting_it(engine: coble.Engine) -> None:
    async def main() -> None:
        closed = store(engine)
        with pytest.raises(coble.InvalidStateError):
            await closed.info()
        opened = await store(engine)
        assert (await opened.info()).images == 1
        await opened.close()

    asyncio.run(main())
