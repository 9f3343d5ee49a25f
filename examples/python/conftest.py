"""Containers in pytest: an engine for the session, containers for each test. docs/testing.md explains it."""

import os
import shutil
import sys
import sysconfig
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import coble
import pytest

#: Where images and containers are; None is the user's store.
STORE = os.environ.get("TEST_STORE")
FAILED = pytest.StashKey[bool]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--keep", action="store_true", help="keep the containers of tests that fail")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Any:
    report = yield
    if report.failed:
        item.stash[FAILED] = True
    return report


@pytest.fixture(scope="session")
def engine() -> Iterator[coble.Engine]:
    with coble.Engine(data_root=STORE) as engine:
        yield engine


@pytest.fixture(scope="session")
def image(engine: coble.Engine) -> str:
    """An image with Python, made of this machine's, so that the example needs no registry: engine.images.pull("python:3.12", policy="missing") is the usual thing."""
    try:
        engine.images.get("example-python")
    except coble.ImageNotFoundError:
        library = Path(sysconfig.get_path("stdlib"))
        with tempfile.TemporaryDirectory() as place:
            modules = shutil.copytree(library, Path(place, "modules"), ignore=shutil.ignore_patterns("site-packages", "test", "config-*", "__pycache__"))
            engine.images.from_host([(Path(sys.executable).resolve(), "/usr/bin/python3"), (modules, f"/usr/lib/{library.name}")], "example-python")
    return "example-python"


@pytest.fixture
def start(engine: coble.Engine, image: str, request: pytest.FixtureRequest) -> Iterator[Callable[..., coble.Container]]:
    """Starts containers that end with the test. With --keep those of a test that failed stay."""
    keep = request.config.getoption("--keep")
    started: list[coble.Container] = []

    def start(command: list[str], **options: Any) -> coble.Container:
        started.append(engine.containers.run(image, command, lifetime="detached" if keep else "session", **options))
        return started[-1]

    yield start
    for container in started:
        if keep and request.node.stash.get(FAILED, False):
            print(f"kept {container.name}: {'coble --data-root ' + STORE if STORE else 'coble'} exec -it {container.name} python3")
        else:
            container.remove(force=True)
