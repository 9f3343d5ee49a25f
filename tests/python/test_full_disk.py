"""A store on a file system without space: a typed error, nothing half-done, and work goes on when there is space again."""

from __future__ import annotations

import errno
import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import archives
import coble
import pytest
from conftest import Assets, Store

pytestmark = pytest.mark.root


@pytest.fixture(params=["tmpfs", "ext4"])
def small(request: pytest.FixtureRequest, workplace: Path) -> Iterator[Store]:
    """A store on a file system of 24 MiB."""
    place = Path(tempfile.mkdtemp(prefix="small-", dir=workplace))
    if request.param == "tmpfs":
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m,mode=755", "small", place], check=True)
    else:
        disk = place.with_suffix(".disk")
        with disk.open("wb") as file:
            file.truncate(24 << 20)
        subprocess.run(["mke2fs", "-q", "-t", "ext4", "-O", "^has_journal", "-m", "0", disk], check=True)
        done = subprocess.run(["mount", "-o", "loop", disk, place], stderr=subprocess.PIPE, text=True)
        if done.returncode != 0:
            disk.unlink()
            place.rmdir()
            pytest.skip(f"this host cannot mount a file: {done.stderr.strip()}")
    yield Store(place / "data", place.with_suffix(".run"))
    if subprocess.run(["umount", place]).returncode != 0:
        subprocess.run(["umount", "--lazy", place], check=True)
        pytest.fail("something still holds the file system of the store")
    place.rmdir()
    place.with_suffix(".disk").unlink(missing_ok=True)


def fill(place: Path, leave: int) -> Path:
    """A file that leaves only so many bytes free."""
    path = place / "filler"
    stat = os.statvfs(place)
    free = stat.f_bavail * stat.f_frsize
    with path.open("wb", buffering=0) as file:
        # Written, not reserved: what the file system needs for its own tables comes from the same space.
        left, block = free - leave, bytes(65536)
        try:
            while left > 0:
                left -= file.write(block[:left])
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
    return path


def test_load_and_run(small: Store, assets: Assets, tmp_path: Path) -> None:
    archive = tmp_path / "big.tar"
    big = archives.tar(archives.file("big", os.urandom(20 << 20)))
    archive.write_bytes(archives.docker_archive(archives.Image([assets.busybox.read_bytes(), big], {}, "big:1", compression="plain")))
    with small.engine() as engine:
        with pytest.raises(coble.StorageFullError):
            engine.images.load(archive)
        assert engine.images.list() == [] and engine.verify() == [] and small.litter() == []
        with pytest.raises(coble.StorageFullError):
            engine.images.load(archive)
        # There is room for a small one.
        engine.images.import_rootfs(assets.busybox, "box")
        assert engine.run("box", ["echo", "x"]).stdout == b"x\n"
        # The program itself fills the disk: its own error, not the engine's; and its container can be removed.
        done = engine.run("box", ["sh", "-c", "dd if=/dev/zero of=/file bs=65536 2>&1; echo $?"])
        assert b"No space left" in done.stdout
        assert engine.run("box", ["echo", "x"]).stdout == b"x\n"
        # With the last block taken, a start fails with the kind, or works; later it works.
        filler = fill(small.data_root.parent, 0)
        try:
            engine.run("box", ["true"])
        except coble.CobleError as error:
            assert error.kind == "StorageFull", error
        try:
            engine.images.tag("box", "another")
        except coble.CobleError as error:
            assert error.kind == "StorageFull", error
        filler.unlink()
        assert engine.run("box", ["echo", "x"]).stdout == b"x\n"
        assert engine.verify() == [] and engine.containers.list(all=True) == []
    assert small.litter() == []


@pytest.mark.parametrize("leave", [0, 4096, 16384, 65536, 262144, 1 << 20, 3 << 20])
def test_at_every_step(small: Store, assets: Assets, leave: int) -> None:
    """Space ends at different steps of an import; also when the store is first made."""
    with small.engine() as engine:
        filler = fill(small.data_root.parent, leave)
        try:
            engine.images.import_rootfs(assets.busybox, "box")
        except coble.CobleError as error:
            assert error.kind == "StorageFull", error
            assert engine.images.list() == []
        filler.unlink()
        assert engine.verify() == [] and small.litter() == []
        engine.images.import_rootfs(assets.busybox, "box")
        assert engine.run("box", ["echo", "x"]).stdout == b"x\n"


def test_a_store_that_cannot_be_made(small: Store) -> None:
    filler = fill(small.data_root.parent, 0)
    try:
        small.engine().close()
    except coble.CobleError as error:
        assert error.kind == "StorageFull", error
    filler.unlink()
    with small.engine() as engine:
        assert engine.verify() == []
