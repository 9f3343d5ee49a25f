"""How far long calls are that no registry is asked in: told in Python, shown by the command, and printed by `coble.progress`."""

from __future__ import annotations

import asyncio
import errno
import io
import os
import pty
import re
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import coble
import coble.aio
import coble.progress
import pytest
from conftest import Assets, Store
from helpers import eventually
from test_command import COMMAND

#: Calls on an engine that has the image `box` and the container `changed`, by name; what each makes is at the path, or is the image `made`.
CALLS: dict[str, Callable[[coble.Engine, Path, Assets, Any], object]] = {
    "load": lambda engine, path, assets, progress: engine.images.load(path.parent / "box.tar", progress=progress),
    "save": lambda engine, path, assets, progress: engine.images.save("box", path, progress=progress),
    "import": lambda engine, path, assets, progress: engine.images.import_rootfs(assets.busybox, "made", progress=progress),
    "from_host": lambda engine, path, assets, progress: engine.images.from_host([sys.executable], "made", progress=progress),
    "commit": lambda engine, path, assets, progress: engine.containers.get("changed").commit("made", progress=progress),
    "export": lambda engine, path, assets, progress: engine.containers.get("changed").export(path, progress=progress),
    "verify": lambda engine, path, assets, progress: engine.verify(progress=progress),
    "scrub": lambda engine, path, assets, progress: engine.scrub(progress=progress),
}


@pytest.fixture
def changed(box: coble.Engine, tmp_path: Path) -> coble.Engine:
    """An engine with `box`, an archive of that, and a container that has a file more."""
    box.images.save("box", tmp_path / "box.tar")
    box.containers.create("box", ["true"], name="changed").write_file("/new", os.urandom(3 << 20))
    return box


@pytest.mark.parametrize("call", CALLS)
def test_a_long_call_tells_how_far_it_is(changed: coble.Engine, tmp_path: Path, assets: Assets, call: str) -> None:
    told: list[coble.Progress] = []
    if call == "load":
        changed.containers.get("changed").remove()
        changed.images.remove("box")
    CALLS[call](changed, tmp_path / "out", assets, told.append)
    kinds = [event.kind for event in told]
    assert kinds[-1] == "done" and kinds.count("done") == 1
    assert all(event.reference == told[0].reference != "" for event in told)
    steps = [event for event in told if event.kind in ("read", "check", "blob-start", "blob-done")]
    assert steps[0].current == 0
    assert all(event.overall_current <= event.overall_total for event in told if event.overall_total)
    if call in ("load", "import", "from_host", "commit"):
        assert kinds.index("unpack") < kinds.index("unpack-done")
    if call == "load":
        size = (tmp_path / "box.tar").stat().st_size
        read = [event for event in told if event.kind == "read"]
        assert (read[-1].current, read[-1].total, told[-1].overall_current, told[-1].overall_total) == (size,) * 4
        assert changed.images.get("box").references == ["docker.io/library/box:latest"]
    if call == "export":
        assert steps[-1].current == (tmp_path / "out").stat().st_size and steps[-1].total == 0
    if call == "commit":
        assert steps[-1].current > 3 << 20
    if call in ("save", "from_host", "verify", "scrub"):
        assert told[-1].overall_current == told[-1].overall_total > 0
    if call in ("verify", "scrub"):
        assert {event.digest for event in steps} >= {layer.digest for layer in changed.images.inspect("box").layers}


@pytest.mark.parametrize("call", CALLS)
def test_what_the_callable_raises_ends_the_call(changed: coble.Engine, tmp_path: Path, assets: Assets, call: str) -> None:
    """It comes out of the call, nothing of that is left, and nobody is told more."""
    before = sorted(image.id for image in changed.images.list())
    told: list[str] = []

    def refuse(event: coble.Progress) -> None:
        told.append(event.kind)
        raise KeyError("enough")

    with pytest.raises(KeyError, match="enough"):
        CALLS[call](changed, tmp_path / "out", assets, refuse)
    assert len(told) == 1 and told != ["done"]
    assert not (tmp_path / "out").exists() and sorted(image.id for image in changed.images.list()) == before


def test_an_export_that_nobody_reads_is_cancelled_while_it_is_told(changed: coble.Engine) -> None:
    """The pipe is full, so that the worker waits: a second look is told nevertheless, and its end is the call's."""
    reader, writer = os.pipe()
    told: list[int] = []

    def refuse(event: coble.Progress) -> None:
        told.append(event.current)
        if event.current:
            raise KeyError("enough")

    try:
        with pytest.raises(KeyError):
            changed.containers.get("changed").export(writer, progress=refuse)
    finally:
        os.close(reader)
        os.close(writer)
    assert told[0] == 0 and told[-1] > 0


def test_asyncio(changed: coble.Engine, tmp_path: Path) -> None:
    async def work() -> list[str]:
        info = changed.info()
        told: list[str] = []
        async with coble.aio.Engine(data_root=info.data_root, run_root=info.run_root) as engine:
            await engine.images.save("box", tmp_path / "out.tar", progress=lambda event: told.append(event.kind))
            await engine.images.load(tmp_path / "out.tar", progress=lambda event: told.append(event.kind))
            container = await engine.containers.get("changed")
            await container.export(tmp_path / "rootfs.tar", progress=lambda event: told.append(event.kind))
        return told

    assert asyncio.run(work()).count("done") == 3


# --- the command ----------------------------------------------------------------------------------------------------


class Shown:
    """A command whose standard error is a terminal."""

    def __init__(self, store: Store, *arguments: str) -> None:
        where = ["--data-root", str(store.data_root), "--run-root", str(store.run_root)]
        self.master, slave = pty.openpty()
        self.process = subprocess.Popen(
            [*COMMAND, *where, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=slave, start_new_session=True, env={**os.environ, "TERM": "xterm"}
        )
        os.close(slave)
        self.text = b""

    def read(self) -> bytes:
        while select.select([self.master], [], [], 0.05)[0]:
            try:
                data = os.read(self.master, 65536)
            except OSError as error:
                assert error.errno == errno.EIO
                break
            self.text += data
        return self.text

    def until(self, text: bytes) -> None:
        eventually(lambda: text in self.read(), f"{text!r} on the terminal", 30)

    def end(self) -> int:
        status = self.process.wait(30)
        self.read()
        os.close(self.master)
        for stream in (self.process.stdin, self.process.stdout):
            assert stream is not None
            stream.close()
        return status


def test_the_command_shows_it(changed: coble.Engine, store: Store, tmp_path: Path, assets: Assets) -> None:
    archive, new = str(tmp_path / "new.tar"), ["changed", "made:1"]
    for arguments, said in (
        (["save", "-o", archive, "box"], b": Saved"),
        (["commit", *new], b": Extracted"),
        (["verify", "--layers"], b"Checking"),
        (["export", "-o", archive, "changed"], b"Exporting"),
        (["import", str(assets.busybox), "made:2"], b"Importing"),
    ):
        shown = Shown(store, *arguments)
        assert shown.end() == 0, shown.text
        assert said in shown.text, (arguments, shown.text)
    # Elsewhere it is lines of the same words, or nothing if that is asked for.
    where = ["--data-root", str(store.data_root), "--run-root", str(store.run_root)]
    save = [*COMMAND, *where, "save", "-o", archive, "box"]
    assert re.fullmatch(rb"[0-9a-f]{12}: Saved\n", subprocess.run(save, check=True, capture_output=True).stderr)
    assert subprocess.run([*save, "-q"], check=True, capture_output=True).stderr == b""


@pytest.mark.parametrize("arguments", [["load"], ["import", "-", "made"]], ids=["load", "import"])
def test_a_signal_ends_what_waits_for_an_archive(engine: coble.Engine, store: Store, assets: Assets, arguments: list[str]) -> None:
    shown = Shown(store, *arguments)
    assert shown.process.stdin is not None and shown.process.stdout is not None
    shown.process.stdin.write(assets.busybox.read_bytes()[:4096])
    shown.process.stdin.flush()
    shown.until(b"ing: ")
    shown.process.send_signal(signal.SIGINT)
    assert shown.end() == 128 + signal.SIGINT
    assert engine.images.list() == []


def test_a_signal_ends_what_waits_for_a_reader(changed: coble.Engine, store: Store) -> None:
    for arguments in (["export", "changed"], ["save", "box"]):
        shown = Shown(store, *arguments)
        # Nobody reads standard output: it says that it is at work, and stays there.
        shown.until(b"ing")
        shown.process.send_signal(signal.SIGINT)
        assert shown.end() == 128 + signal.SIGINT, arguments


# --- coble.progress -------------------------------------------------------------------------------------------------


def event(kind: str, **values: Any) -> coble.Progress:
    """What a call would tell."""
    facts: dict[str, Any] = {"reference": "box", "digest": None, "current": 0, "total": 0, "overall_current": 0, "overall_total": 0, "message": None}
    return cast(coble.Progress, SimpleNamespace(kind=kind, **{**facts, **values}))


@pytest.mark.once
def test_lines_of_a_printer() -> None:
    out = io.StringIO()
    show = coble.progress.Printer(out)
    show(event("resolve", message="sha256:1"))
    show(event("read", overall_current=5, overall_total=10))
    show(event("blob-done", digest="sha256:0123456789abcdef"))
    show(event("unpack", digest="sha256:0123456789abcdef"))
    show(event("unpack-done", digest="sha256:0123456789abcdef"))
    show(event("warning", message="what\x1b[2J"))
    show(event("done"))
    show.close()
    assert out.getvalue() == "box: sha256:1\n0123456789ab: done\n0123456789ab: unpacked\nwarning: what\\x1b[2J\n"


@pytest.mark.once
def test_amounts_of_a_printer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coble.progress, "_INTERVAL", 0)
    out = io.StringIO()
    show = coble.progress.Printer(out)
    show(event("read", overall_current=1_500_000))
    show(event("blob-progress", overall_current=999, overall_total=2_345_678_901))
    assert out.getvalue() == "1.5MB\n999B of 2.346GB\n"


@pytest.mark.once
def test_the_bar_of_a_printer() -> None:
    out = io.StringIO()
    with coble.progress.Printer(out, bar=True) as show:
        show(event("read", overall_current=1, overall_total=2))
        assert out.getvalue() == f"\r[{'=' * 12}{' ' * 12}] 1B of 2B\x1b[K"
        show(event("unpack-done", digest="sha256:0123456789abcdef", overall_current=2, overall_total=2))
        assert "\r\x1b[K0123456789ab: unpacked\n" in out.getvalue()
        show(event("unpack", overall_current=2, overall_total=2))
        assert out.getvalue().endswith("] 2B of 2B, unpack\x1b[K")
    # What is left is what was said.
    assert out.getvalue().endswith("\r\x1b[K")
    length = len(out.getvalue())
    show.close()
    assert len(out.getvalue()) == length


@pytest.mark.once
def test_a_printer_of_ascii_and_of_many_threads() -> None:
    data = io.BytesIO()
    show = coble.progress.Printer(io.TextIOWrapper(data, encoding="ascii"))
    show(event("warning", message="gr\u00fcn"))
    assert data.getvalue() == b"warning: gr\\xfcn\n"
    threads = [threading.Thread(target=lambda: [show(event("blob-done", digest=f"sha256:{'a' * 64}")) for _ in range(50)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert data.getvalue().splitlines()[1:] == [b"aaaaaaaaaaaa: done"] * 200


def test_a_printer_shows_a_call(changed: coble.Engine, tmp_path: Path) -> None:
    out = io.StringIO()
    with coble.progress.Printer(out, bar=True) as show:
        changed.images.save("box", tmp_path / "out.tar", progress=show)
        changed.images.load(tmp_path / "out.tar", progress=show)
    layer = changed.images.inspect("box").layers[0].digest[7:19]
    assert f"{layer}: done\n" in out.getvalue() and " of " in out.getvalue() and out.getvalue().endswith("\r\x1b[K")
