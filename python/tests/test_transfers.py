"""Transfers as Python has them: told to a callable or as a stream, awaited, closed from anywhere; and credentials that nobody sees. What a pull or push does is tested elsewhere."""

from __future__ import annotations

import asyncio
import gc
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import coble
import coble.aio
import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path[:0] = [str(ROOT / "tests" / "python"), str(ROOT / "tests" / "fixtures")]

from helpers import eventually  # noqa: E402
from registry import content  # noqa: E402
from registry.http import Exchange  # noqa: E402
from registry.own import BLOB, Registry  # noqa: E402


@pytest.fixture
def registry() -> Iterator[Registry]:
    made = Registry()
    made.put("team/image", "1", content.small(layers=2, size=100_000))
    yield made
    made.close()


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[coble.Engine]:
    for name in ("HOME", "DOCKER_CONFIG", "XDG_CONFIG_HOME", "XDG_RUNTIME_DIR"):
        monkeypatch.setenv(name, str(tmp_path / "home"))
    with coble.Engine(tmp_path / "data", tmp_path / "run") as engine:
        yield engine
    # The kernel shows a thread that was waited for a moment longer.
    eventually(lambda: not any(map(transfers, Path("/proc/self/task").iterdir())), "no thread of a transfer")


def transfers(thread: Path) -> bool:
    try:
        return (thread / "comm").read_text().startswith("coble-transf")
    except OSError:
        return False  # it has just ended


@pytest.fixture
def stuck(registry: Registry) -> threading.Event:
    """Blobs never come; set when one was asked for."""
    asked = threading.Event()

    def hang(exchange: Exchange) -> None:
        data = registry.blobs[exchange.url_path.rsplit("/", 1)[1]]
        exchange.begin(200, {}, len(data))
        exchange.chunk(data[:10])
        asked.set()
        exchange.pause(60)

    registry.on("GET", BLOB, hang)
    return asked


def name(registry: Registry) -> str:
    return f"{registry.host}/team/image:1"


# --- credentials ----------------------------------------------------------------------------------------------------


def test_nobody_sees_a_secret() -> None:
    password, identity, token = coble.Credentials("me", "hidden"), coble.Credentials.identity_token("hidden"), coble.Credentials.token("hidden")
    for one in (password, identity, token):
        assert "hidden" not in repr(one) + str(one) + str(one.__dir__())
        with pytest.raises((TypeError, pickle.PicklingError)):
            pickle.dumps(one)
    assert (password.username, identity.username, token.username) == ("me", None, None)
    assert password == coble.Credentials("me", "hidden") and password != coble.Credentials("me", "other") and identity != token


@pytest.mark.parametrize("credentials", ["me:hidden", ("me",), ("me", 1), b"x", ["me", "hidden"]])
def test_what_are_no_credentials(engine: coble.Engine, credentials: Any) -> None:
    with pytest.raises(TypeError, match="expected Credentials") as caught:
        engine.images.pull("127.0.0.1:1/x", credentials=credentials)
    assert "hidden" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"policy": "sometimes"}, coble.InvalidArgumentError),
        ({"jobs": -1}, coble.InvalidArgumentError),
        ({"jobs": 1 << 40}, coble.InvalidArgumentError),
        ({"retries": "many"}, TypeError),
        ({"insecure": "yes"}, TypeError),
        ({"lock": 3}, TypeError),
        ({"progress": print, "stream": True}, coble.InvalidArgumentError),
        ({"speed": 3}, TypeError),
    ],
)
def test_arguments_that_are_refused(engine: coble.Engine, options: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        engine.images.pull("127.0.0.1:1/x", **options)


# --- streams --------------------------------------------------------------------------------------------------------


def test_a_stream_is_iterated_and_has_a_result(engine: coble.Engine, registry: Registry) -> None:
    with engine.images.pull(name(registry), insecure=True, stream=True) as events:
        seen = [event.kind for event in events]
        image = events.result()
        assert events.result() == image and events.next() is None and not events.closed
    assert seen[0] == "resolve" and seen[-1] == "done" and seen.count("unpack-done") == 2
    assert events.closed and list(events) == [] and events.result() == image
    assert isinstance(image, coble.Image) and image.references == [name(registry)]
    # Without an iteration.
    assert isinstance(engine.images.push(name(registry), insecure=True, stream=True).result(), coble.Pushed)


def test_an_error_comes_at_the_end_of_the_iteration_and_with_the_result(engine: coble.Engine, registry: Registry) -> None:
    with engine.images.pull(f"{registry.host}/team/none:1", insecure=True, stream=True) as events:
        with pytest.raises(coble.ImageNotFoundError):
            list(events)
        for _ in range(2):
            with pytest.raises(coble.ImageNotFoundError):
                events.result()


def test_leaving_the_block_gives_everything_back(engine: coble.Engine, registry: Registry) -> None:
    """At once: a failure whose traceback leads back to the stream would keep it until the garbage collector comes."""
    gc.disable()
    try:
        before = len(os.listdir("/proc/self/fd"))
        with engine.images.pull(f"{registry.host}/team/none:1", insecure=True, stream=True) as events:
            with pytest.raises(coble.ImageNotFoundError) as caught:
                list(events)
        # The registry is in this process, too, and hears of it a moment later.
        eventually(lambda: len(os.listdir("/proc/self/fd")) == before, "as many descriptors as before")
        assert caught.traceback
        with pytest.raises(coble.ImageNotFoundError):
            events.result()
    finally:
        gc.enable()


def test_leaving_the_block_cancels(engine: coble.Engine, registry: Registry, stuck: threading.Event) -> None:
    with engine.images.pull(name(registry), insecure=True, stream=True) as events:
        assert stuck.wait(10)
        with pytest.raises(coble.TimeoutError):
            events.result(timeout=0.01)
        with pytest.raises(coble.TimeoutError):
            while events.next(timeout=0.2):
                pass
        begin = time.monotonic()
    assert time.monotonic() - begin < 5
    with pytest.raises(coble.CancelledError):
        events.result()
    assert engine.images.list() == []


def test_another_thread_closes_a_stream_that_is_read(engine: coble.Engine, registry: Registry, stuck: threading.Event) -> None:
    events = engine.images.pull(name(registry), insecure=True, stream=True)
    closer = threading.Thread(target=lambda: (stuck.wait(10), time.sleep(0.1), events.close()))
    closer.start()
    assert "done" not in [event.kind for event in events]
    closer.join()
    assert events.closed


def test_a_forgotten_stream_ends_its_transfer(engine: coble.Engine, registry: Registry, stuck: threading.Event) -> None:
    events = engine.images.pull(name(registry), insecure=True, stream=True)
    assert stuck.wait(10)
    del events


def test_a_token_cancels_a_call_and_leaves_the_transfer_of_a_stream_alone(engine: coble.Engine, registry: Registry, stuck: threading.Event) -> None:
    token = coble.CancelToken()
    threading.Thread(target=lambda: (stuck.wait(10), token.cancel())).start()
    with token, pytest.raises(coble.CancelledError):
        engine.images.pull(name(registry), insecure=True)
    with engine.images.pull(name(registry), insecure=True, stream=True) as events:
        with token, pytest.raises(coble.CancelledError):
            events.result()
        with pytest.raises(coble.TimeoutError):
            events.result(timeout=0.01)


def test_a_callable_that_raises_ends_the_transfer(engine: coble.Engine, registry: Registry) -> None:
    calls = []

    def fail(event: coble.Progress) -> None:
        calls.append(event.kind)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        engine.images.pull(name(registry), insecure=True, progress=fail)
    assert len(calls) == 1 and engine.images.list() == []
    event = calls and engine.images.pull(name(registry), insecure=True, stream=True).next()
    assert event and event.to_dict()["kind"] == event.kind == "resolve" and "kind='resolve'" in repr(event)


INTERRUPTED = """
import sys
import coble
with coble.Engine(sys.argv[1], sys.argv[2]) as engine:
    try:
        if sys.argv[4] == "pull":
            engine.images.pull(sys.argv[3], insecure=True, progress=lambda event: None)
        elif sys.argv[4] == "create":
            engine.containers.create(sys.argv[3], ["x"])
        else:
            with engine.images.pull(sys.argv[3], insecure=True, stream=True) as events:
                list(events)
    except KeyboardInterrupt:
        print("interrupted", len(engine.images.list()), len(engine.containers.list(all=True)))
"""


@pytest.mark.parametrize("how", ["pull", "stream", "create"])
def test_an_interrupt_ends_it_promptly(engine: coble.Engine, registry: Registry, stuck: threading.Event, tmp_path: Path, how: str) -> None:
    settings = tmp_path / "home" / "containers"
    settings.mkdir(parents=True)
    (settings / "registries.conf").write_text(f'[[registry]]\nlocation = "{registry.host}"\ninsecure = true\n')
    command = [sys.executable, "-c", INTERRUPTED, str(tmp_path / "data"), str(tmp_path / "run"), name(registry), how]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert stuck.wait(20)
        begin = time.monotonic()
        process.send_signal(signal.SIGINT)
        assert process.communicate(timeout=20)[0] == "interrupted 0 0\n"
        assert time.monotonic() - begin < 5 and process.returncode == 0


# --- asyncio --------------------------------------------------------------------------------------------------------


def test_transfers_are_awaited(engine: coble.Engine, registry: Registry, tmp_path: Path) -> None:
    async def main() -> None:
        async with coble.aio.Engine(tmp_path / "data", tmp_path / "run") as aio:
            image = await aio.images.pull(name(registry), insecure=True)
            assert isinstance(image, coble.aio.Image) and await image.references == [name(registry)]
            async with aio.images.push(name(registry), insecure=True, stream=True) as events:
                kinds = [event.kind async for event in events]
                pushed = await events.result()
            assert kinds[-1] == "done" and pushed.digest == image.digest and events.closed
            assert await aio.registry.tags(f"{registry.host}/team/image", insecure=True) == ["1"]
            assert (await aio.images.plan(name(registry), insecure=True)).missing_bytes == 0

    asyncio.run(main())


def test_a_cancelled_task_cancels_its_transfer(engine: coble.Engine, registry: Registry, stuck: threading.Event, tmp_path: Path) -> None:
    async def main() -> None:
        async with coble.aio.Engine(tmp_path / "data", tmp_path / "run") as aio:
            task = asyncio.create_task(_await(aio.images.pull(name(registry), insecure=True)))
            while not stuck.is_set():
                await asyncio.sleep(0.01)
            begin = time.monotonic()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert time.monotonic() - begin < 5 and await aio.images.list() == []

    async def _await(call: Any) -> Any:
        return await call

    asyncio.run(main())
