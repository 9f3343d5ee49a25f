"""An engine with a store of its own, and an image of a few programs of the host."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import coble
import pytest

# A job in the background of a shell is started with it ignored.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[coble.Engine]:
    place = tmp_path_factory.mktemp("store")
    with coble.Engine(place / "data", place / "run") as engine:
        engine.images.from_host(["sh", "cat", "sleep", "seq", "test", "true"], "demo")
        yield engine
        assert engine.containers.list(all=True) == []


@pytest.fixture
def idle(engine: coble.Engine) -> Iterator[coble.Container]:
    with engine.containers.run("demo", ["sh", "-c", "trap 'exit 0' TERM; echo out; echo err >&2; while :; do sleep 0.05; done"]) as container:
        yield container
