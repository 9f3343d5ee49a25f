"""A store on a file system without space: a typed error, nothing half-done, and work goes on when there is space again."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import archives
import coble
import helpers
import pytest
from conftest import Assets, Store
from registry import content
from registry.own import Registry

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
    try:
        # A monitor ends a moment after its program.
        helpers.eventually(lambda: subprocess.run(["umount", place], stderr=subprocess.DEVNULL).returncode == 0, "a file system that nobody holds", 10)
    except AssertionError:
        subprocess.run(["umount", "--lazy", place], check=True)
        raise
    place.rmdir()
    place.with_suffix(".disk").unlink(missing_ok=True)


def fill(place: Path, leave: int) -> Path:
    """A file that leaves only so many bytes free."""
    path = place / "filler"
    block, last = bytes(65536), -1
    with path.open("wb", buffering=0) as file:
        # Written, not reserved: what the file system needs for its own tables comes from the same space. And synced, until that gives
        # nothing back: it sets more aside for what is not yet on the disk than it needs in the end, and frees what was removed a little later.
        while last != file.tell() and (left := free(place) - leave) > 0:
            last = file.tell()
            try:
                while left > 0:
                    left -= file.write(block[:left])
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise
            os.fsync(file.fileno())
    return path


def free(place: Path) -> int:
    stat = os.statvfs(place)
    return stat.f_bavail * stat.f_frsize


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


def test_a_program_that_fills_its_own_layer(small: Store, assets: Assets) -> None:
    """SEC-48: it gets what there is, and no more; the store stays whole, what can be done without space goes on, and all is well when it is removed."""
    with small.engine() as engine:
        engine.images.import_rootfs(assets.busybox, "box")
        other = engine.containers.create("box", ["cat", "/etc/passwd"], name="other")
        with engine.containers.create("box", ["sh", "-c", "cat /dev/zero > /full 2>/dev/null; while :; do echo x >> /more; done 2>/dev/null"]) as filler:
            filler.start()
            helpers.eventually(lambda: free(small.data_root) == 0, "a full file system")
            assert filler.state == "running"
            assert {one.name for one in engine.containers.list(all=True)} >= {"other", filler.name}
            # What takes space says that there is none; what takes none goes on.
            with contextlib.suppress(coble.StorageFullError):
                other.start()
                assert other.wait() == 0
            assert engine.verify() == []
            filler.kill()
            filler.wait()
        helpers.eventually(lambda: free(small.data_root) > 4 << 20, "the space is back")
        other.start()
        assert other.wait() == 0
        assert engine.run("box", ["echo", "well"]).stdout == b"well\n"
        other.remove()
        assert engine.verify() == []
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


def test_removing_containers_of_a_full_store(small: Store, assets: Assets) -> None:
    """Containers that filled the disk, by their files and by their log: their end is seen, and they can be removed, which makes room."""
    fill_up = "dd if=/dev/zero of=/file bs=65536 2>/dev/null; while dd if=/dev/zero of=/more bs=512 count=1 conv=notrunc,fsync oflag=append 2>/dev/null; do :; done"
    with small.engine() as engine:
        engine.images.import_rootfs(assets.busybox, "box")
        other = engine.containers.create("box", ["true"], lifetime="detached")
        files = engine.containers.create("box", ["sh", "-c", fill_up], lifetime="detached")
        files.start()
        assert files.wait(60) is not None
        assert files.inspect().state == "exited"
        files.remove()
        log = engine.containers.create("box", ["sh", "-c", "yes"], lifetime="detached")
        log.start()
        helpers.eventually(lambda: free(small.data_root) == 0, "the log fills the disk", 60)
        assert log.exec(["echo", "x"]).stdout == b"x\n"
        log.kill()
        log.wait(60)
        assert {one.name: one.state for one in engine.containers.list(all=True)}[log.name] == "exited"
        log.remove()
        other.remove()
        # The kernel gives it back once the last process that had the log open has gone.
        helpers.eventually(lambda: free(small.data_root) > 1 << 20, "room on the disk")
        assert engine.run("box", ["echo", "x"]).stdout == b"x\n"
        assert engine.verify() == [] and engine.containers.list(all=True) == []
    assert small.litter() == []


def test_a_removal_on_a_full_disk_that_is_cut_short(small: Store, assets: Assets) -> None:
    """What was marked is removed by whoever comes next, and is no container any more."""
    with small.engine() as engine:
        engine.images.import_rootfs(assets.busybox, "box")
        marked = [engine.containers.create("box", ["true"], lifetime="detached") for _ in range(3)]
    for container in marked:
        folder = small.data_root / "containers" / container.id
        folder.chmod(0o1700)
        shutil.rmtree(folder / "upper")
    with small.engine() as engine:
        assert engine.verify() == [] and engine.containers.list(all=True) == []
        marked = [engine.containers.create("box", ["true"], lifetime="detached") for _ in range(2)]
        for container in marked:
            folder = small.data_root / "containers" / container.id
            folder.chmod(0o1700)
            shutil.rmtree(folder / "upper")
        marked[0].remove()
        with pytest.raises(coble.ContainerNotFoundError):
            marked[1].start()
        assert engine.verify() == [] and engine.containers.list(all=True) == []
    assert small.litter() == []


def test_removing_from_a_store_without_a_byte(small: Store, assets: Assets) -> None:
    """Images and small containers, while something else has taken all the space."""
    with small.engine() as engine:
        engine.images.import_rootfs(assets.busybox, "box")
        engine.images.tag("box", "other:1")
        for _ in range(3):
            container = engine.containers.create("box", ["true"], lifetime="detached")
            filler = fill(small.data_root.parent, 0)
            assert free(small.data_root) < 4096
            container.remove()
            engine.images.remove("other:1")
            filler.unlink()
            engine.images.tag("box", "other:1")
            assert engine.verify() == [] and small.litter() == []
        filler = fill(small.data_root.parent, 0)
        engine.images.remove("box", force=True)
        engine.images.remove("other:1", force=True)
        helpers.eventually(lambda: free(small.data_root) > 500_000, "the space of the layer")
        filler.unlink()
        assert engine.images.list() == [] and engine.verify() == []
        engine.images.import_rootfs(assets.busybox, "box")
        assert (small.data_root / "reserve").stat().st_blocks * 512 >= 1 << 20
    assert small.litter() == []


@pytest.mark.usefixtures("home")
def test_pull(small: Store, assets: Assets, registry: Registry) -> None:
    """The disk is full in the middle of a pull of several layers: all of it is given back, the store works, and with room it is pulled."""
    layers = [assets.busybox.read_bytes(), *(archives.tar(archives.file(f"big{n}", content.noise(str(n), 3 << 20))) for n in range(4))]
    made = content.content(archives.Image(layers, {"Env": ["PATH=/bin"]}))
    registry.put("team/big", "1", made)
    registry.put("team/small", "1", content.content(archives.Image(layers[:1], {"Env": ["PATH=/bin"]})))
    with small.engine() as engine:
        before = free(small.data_root)
        for _ in range(2):
            with pytest.raises(coble.StorageFullError):
                engine.images.pull(f"{registry.host}/team/big:1", insecure=True)
            assert engine.images.list() == [] and engine.verify() == []
        engine.images.prune(all=True)
        assert small.litter() == []
        # The kernel frees a file when the last process that had it open has gone.
        helpers.eventually(lambda: free(small.data_root) > before - (1 << 20), "the space that is given back")
        assert engine.images.pull(f"{registry.host}/team/small:1", insecure=True)
        assert engine.run(f"{registry.host}/team/small:1", ["echo", "x"], pull="never").stdout == b"x\n"
        engine.images.remove(f"{registry.host}/team/small:1")
        # There is room when somebody else goes.
        filler = fill(small.data_root.parent, 8 << 20)
        registry.put("team/fits", "1", content.content(archives.Image(layers[:3], {"Env": ["PATH=/bin"]})))
        with pytest.raises(coble.StorageFullError):
            engine.images.pull(f"{registry.host}/team/fits:1", insecure=True)
        filler.unlink()
        assert engine.images.pull(f"{registry.host}/team/fits:1", insecure=True)
        assert engine.verify() == []
    assert small.litter() == []


@pytest.mark.usefixtures("home")
@pytest.mark.parametrize("leave", [0, 65536, 1 << 20, 3 << 20])
def test_pull_and_push_at_every_step(small: Store, assets: Assets, registry: Registry, leave: int) -> None:
    made = content.content(archives.Image([assets.busybox.read_bytes()], {"Env": ["PATH=/bin"]}))
    registry.put("team/image", "1", made)
    reference = f"{registry.host}/team/image:1"
    with small.engine() as engine:
        filler = fill(small.data_root.parent, leave)
        try:
            engine.images.pull(reference, insecure=True)
        except coble.CobleError as error:
            assert error.kind == "StorageFull", error
            assert engine.images.list() == []
        filler.unlink()
        assert engine.verify() == []
        assert engine.images.pull(reference, insecure=True).digest == made.digest
        # A push needs no space, or says that it has none.
        engine.images.tag(reference, f"{registry.host}/there/image:1")
        filler = fill(small.data_root.parent, leave)
        try:
            engine.images.push(f"{registry.host}/there/image:1", compression="zstd", insecure=True)
        except coble.CobleError as error:
            assert error.kind == "StorageFull", error
        filler.unlink()
        assert engine.images.push(f"{registry.host}/there/image:1", insecure=True).digest == made.digest
        assert engine.verify() == []
    assert small.litter() == []
