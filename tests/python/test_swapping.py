"""SEC-80, SEC-83: a container that swaps directories for links while it is read. Nothing of the host comes out, whatever is read and wherever the place is mounted."""

from __future__ import annotations

import contextlib
import tarfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import coble
import pytest

SWAPPER = """
mkdir -p /real/dir; echo inside > /real/dir/file; ln -s / /w/link
echo ready
while :; do
    mv /w/place /w/b 2>/dev/null; ln -s ../../../../../../../../.. /w/a; mv /w/a /w/place; rm -f /w/place
    cp -r /real/dir /w/place; rm -rf /w/place; ln -s {canary} /w/place; rm -f /w/place
    ln -s /proc/1/root{canary} /w/place; rm -f /w/place; rm -rf /w/b
    mkdir /w/place; ln -s {canary}/file /w/place/file; rm /w/place/file; echo inside > /w/place/file
done
"""


def clean(tar: Path, secret: bytes) -> None:
    """No file of an archive has what the file of the host has."""
    with tarfile.open(tar) as archive:
        for member in archive:
            if member.isreg() and member.size == len(secret):
                content = archive.extractfile(member)
                assert content and content.read() != secret, member.name


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("place", ["root", "bind", "tmpfs"])
def test_what_is_read_meanwhile(box: coble.Engine, canary: Path, tmp_path: Path, place: str) -> None:
    secret = (canary / "file").read_bytes()
    shared = tmp_path / "shared"
    shared.mkdir()
    options: dict[str, Any] = {"bind": {"volumes": [f"{shared}:/w"]}, "tmpfs": {"tmpfs": ["/w"]}, "root": {}}[place]
    script = "mkdir -p /w" + SWAPPER.replace("{canary}", str(canary))
    out = tmp_path / "out.tar"

    def archive(path: str, **how: bool) -> Callable[[], None]:
        def attempt() -> None:
            container.get_archive(path, out, **how)
            clean(out, secret)

        return attempt

    def listed(path: str) -> Callable[[], None]:
        def attempt() -> None:
            assert [entry for entry in container.list_files(path) if entry.size == len(secret) and entry.name == "file"] == []

        return attempt

    def exported() -> None:
        container.export(out)
        clean(out, secret)

    def frozen() -> None:
        with contextlib.suppress(coble.UnsupportedError):
            with container.snapshot() as snapshot:
                snapshot.export(out)
                clean(out, secret)

    def committed() -> None:
        image = container.commit("swapped:1", pause=False)
        try:
            with box.containers.create("swapped:1", ["true"]) as other:
                other.export(out)
                clean(out, secret)
        finally:
            box.images.remove(image.id, force=True)

    def compared() -> None:
        assert not any(str(canary) in change.path for change in container.diff())

    attempts = {
        "get_archive": archive("/w/place"),
        "get_archive of what it leads to": archive("/w/place", follow_link=True),
        "get_archive of the content": archive("/w/place/."),
        "get_archive of all": archive("/w"),
        "list_files": listed("/w/place"),
        "list_files below": listed("/w/place/."),
        "export": exported,
        "diff": compared,
        "snapshot": frozen,
        "commit": committed,
    }
    done = dict.fromkeys(attempts, 0)
    with box.containers.run("box", ["sh", "-c", script], **options) as container:
        begin = time.monotonic()
        # On a slow machine for longer, until each of them got through.
        while time.monotonic() - begin < (5 if all(done.values()) else 120):
            for name, attempt in attempts.items():
                # What was there a moment ago may be gone, or may lead nowhere.
                with contextlib.suppress(coble.CobleError):
                    attempt()
                    done[name] += 1
        assert container.state == "running"
    assert all(done.values()), done
