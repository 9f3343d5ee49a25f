"""Volumes: what outlives containers, and what may be done with it when."""

from __future__ import annotations

import asyncio
import io
import json
import os
import signal
import stat
import subprocess
import sys
import tarfile
import textwrap
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import coble
import pytest
from conftest import MODE, Assets, Store
from helpers import eventually, remove_all, sh

pytestmark = pytest.mark.vm

COMMAND = os.environ.get("COBLE_TEST_COMMAND", str(Path(sys.executable).parent / "coble"))


@pytest.fixture
def volumes(shared: coble.Engine) -> Iterator[coble.Volumes]:
    """The volumes of the shared engine, of which there are none before and after."""
    assert shared.volumes.list() == []
    yield shared.volumes
    remove_all(shared)
    shared.volumes.prune(all=True)
    assert shared.volumes.list() == []
    assert sorted(os.listdir(data_root(shared) / "volumes")) == [".empty"]


def data_root(engine: coble.Engine) -> Path:
    return Path(engine.info().data_root)


def tar_of(entries: dict[str, bytes | None], *, uid: int = 0, mode: int = 0o644) -> bytes:
    """A tar: None is a directory."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as tar:
        for name, content in entries.items():
            info = tarfile.TarInfo(name)
            info.uid = info.gid = uid
            info.mode = mode
            if content is None:
                info.type, info.mode = tarfile.DIRTYPE, 0o755
                tar.addfile(info)
            else:
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
    return file.getvalue()


@pytest.fixture(scope="session")
def with_data(shared_engine: coble.Engine, assets: Assets, tmp_path_factory: pytest.TempPathFactory) -> str:
    """An image that has something at the places of volumes, and one that says so."""
    if "seeded" in {name.rpartition("/")[2].partition(":")[0] for image in shared_engine.images.list() for name in image.references}:
        return "seeded"
    folder = tmp_path_factory.mktemp("image")
    path = folder / "seeded.tar"
    with tarfile.open(assets.busybox) as old, tarfile.open(path, "w") as tar:
        for member in old:
            tar.addfile(member, old.extractfile(member) if member.isreg() else None)
        owner = 0 if MODE == "single" else 1000

        def add(name: str, kind: bytes, mode: int, content: bytes = b"", link: str = "") -> None:
            info = tarfile.TarInfo(name)
            info.type, info.mode, info.size, info.linkname = kind, mode, len(content), link
            info.uid = info.gid = owner
            tar.addfile(info, io.BytesIO(content))

        add("srv/data", tarfile.DIRTYPE, 0o750)
        add("srv/data/file", tarfile.REGTYPE, 0o640, b"seed\n")
        add("srv/data/tool", tarfile.REGTYPE, 0o4755, b"#!/bin/sh\n")
        add("srv/data/below", tarfile.DIRTYPE, 0o700)
        add("srv/data/below/link", tarfile.SYMTYPE, 0o777, link="/etc/passwd")
        add("srv/way", tarfile.SYMTYPE, 0o777, link="/srv/data")
        add("srv/out", tarfile.SYMTYPE, 0o777, link="../../../../../../etc")
        add("srv/plain", tarfile.REGTYPE, 0o644, b"x")
    shared_engine.images.import_rootfs(path, "seeded", command=["sh"], changes=['VOLUME ["/srv/data"]'])
    shared_engine.images.import_rootfs(path, "quiet", command=["sh"])
    return "seeded"


# --- the objects ----------------------------------------------------------------------------------------------------


def test_made_listed_looked_at_and_removed(shared: coble.Engine, volumes: coble.Volumes) -> None:
    made = volumes.create("data", labels={"a": "b"})
    assert (made.name, made.driver, made.labels, made.anonymous, made.source) == ("data", "local", {"a": "b"}, False, None)
    assert made.mountpoint.is_dir() and made.mountpoint == data_root(shared) / "volumes/data/_data"
    assert volumes.create("data", labels={"other": "label"}).labels == {"a": "b"}
    anonymous = volumes.create()
    assert anonymous.anonymous and len(anonymous.name) == 64 and int(anonymous.name, 16) >= 0
    assert volumes.get("data") == made and hash(volumes.get("data")) == hash(made)
    assert {volume.name for volume in volumes.list()} == {"data", anonymous.name}
    assert [volume.name for volume in volumes.list(filters={"name": "dat"})] == ["data"]
    assert [volume.name for volume in volumes.list(filters={"label": "a=b", "dangling": True})] == ["data"]
    assert volumes.list(filters={"dangling": False}) == []
    details = volumes.inspect("data")
    assert (details.containers, details.used_by, details.clones) == (0, [], [])
    docker = made.inspect_docker()
    assert docker["Name"] == "data" and docker["Mountpoint"] == str(made.mountpoint) and docker["Scope"] == "local"
    assert docker["Labels"] == {"a": "b"} and docker["CreatedAt"] == made.created
    made.remove()
    with pytest.raises(coble.VolumeNotFoundError) as caught:
        made.remove()
    assert isinstance(caught.value, LookupError) and caught.value.code == -36
    made.remove(force=True)
    with pytest.raises(coble.VolumeNotFoundError):
        volumes.get("data")


@pytest.mark.once
def test_names_and_options_that_are_none(volumes: coble.Volumes) -> None:
    for name in ("", "a", "../x", "a/b", ".hidden", "a b", "x" * 256):
        with pytest.raises(coble.InvalidArgumentError):
            volumes.create(name)
    for options in ({"driver": "nfs"}, {"driver_opts": {"type": "nfs"}}):
        with pytest.raises(coble.UnsupportedError):
            volumes.create("data", **options)
    with pytest.raises(coble.InvalidArgumentError):
        volumes.list(filters={"colour": "red"})


def test_one_that_is_used_stays(shared: coble.Engine, volumes: coble.Volumes) -> None:
    volumes.create("data")
    container = shared.containers.create("box", ["true"], name="user", volumes={"data": {"bind": "/data", "mode": "rw"}})
    with pytest.raises(coble.InUseError) as caught:
        volumes.remove("data", force=True)
    assert '"user"' in str(caught.value) and caught.value.object == "data"
    assert volumes.inspect("data").used_by == ["user"] and volumes.prune(all=True).deleted == []
    assert [found.name for found in volumes.list(filters={"dangling": "false"})] == ["data"]
    container.start()
    container.wait()
    container.remove(v=True)
    assert [volume.name for volume in volumes.list()] == ["data"]
    pruned = volumes.prune(all=True)
    assert pruned.deleted == ["data"]


def test_prune_takes_what_nobody_has_named(volumes: coble.Volumes) -> None:
    volumes.create("named", labels={"keep": "yes"})
    anonymous = volumes.create()
    assert volumes.prune().deleted == [anonymous.name]
    assert volumes.prune(all=True, filters={"label!": "keep"}).deleted == []
    assert volumes.prune(filters={"all": True}).deleted == ["named"]


# --- in containers --------------------------------------------------------------------------------------------------


FORMS: dict[str, dict[str, Any]] = {
    "mapping": {"volumes": {"data": {"bind": "/data", "mode": "rw"}}},
    "list": {"volumes": ["data:/data"]},
    "mount": {"mounts": [coble.Mount("/data", "data")]},
    "text": {"mounts": ["type=volume,source=data,target=/data"]},
}


@pytest.mark.parametrize("form", list(FORMS))
def test_what_is_written_stays(shared: coble.Engine, volumes: coble.Volumes, form: str) -> None:
    sh(shared, "echo kept > /data/file", **FORMS[form])
    assert sh(shared, "cat /data/file; stat -c %u:%g:%a /data", **FORMS[form]) == "kept\n0:0:755\n"
    assert (volumes.get("data").mountpoint / "file").read_text() == "kept\n"


def test_read_only_and_two_at_once(shared: coble.Engine, volumes: coble.Volumes) -> None:
    data = volumes.create("data")
    with shared.containers.run("box", ["sleep", "1000"], volumes={data: "/data"}) as writer:
        writer.exec(["sh", "-c", "echo one > /data/x"], check=True)
        done = shared.run("box", ["sh", "-c", "cat /data/x; echo > /data/x"], volumes=["data:/data:ro"])
        assert (done.stdout, done.exit_code) == (b"one\n", 1) and b"Read-only" in done.stderr
        sh(shared, "echo two > /other/x", volumes=["data:/other"])
        assert writer.exec(["cat", "/data/x"]).stdout == b"two\n"


def test_inspect_shows_it(shared: coble.Engine, volumes: coble.Volumes) -> None:
    made = shared.containers.create("box", ["true"], volumes=["data:/data:ro,nocopy", "/cache"])
    shown = made.inspect_docker()
    points = {point["Destination"]: point for point in shown["Mounts"]}
    data = points["/data"]
    assert (data["Type"], data["Name"], data["Driver"], data["RW"]) == ("volume", "data", "local", False)
    assert data["Source"] == str(volumes.get("data").mountpoint) and data["Mode"] == "ro,nocopy"
    cache = points["/cache"]
    assert cache["RW"] and len(cache["Name"]) == 64 and shown["Config"]["Volumes"] == {"/cache": {}}
    assert shown["HostConfig"]["Binds"] == ["data:/data:ro,nocopy"]
    for wanted in ("data", "/data", "/cache", cache["Name"]):
        assert [found.id for found in shared.containers.list(all=True, filters={"volume": wanted})] == [made.id]
    assert shared.containers.list(all=True, filters={"volume": "dat"}) == []


def test_anonymous_ones(shared: coble.Engine, volumes: coble.Volumes) -> None:
    sh(shared, "touch /cache/x", volumes=["/cache"])
    assert volumes.list() == []
    kept = shared.containers.create("box", ["touch", "/cache/x"], volumes=["/cache"])
    (volume,) = volumes.list()
    assert volume.anonymous and volumes.inspect(volume).used_by == [kept.name]
    kept.start()
    kept.wait()
    kept.remove()
    assert volumes.list() == [volume]
    assert (volume.mountpoint / "x").exists()
    gone = shared.containers.create("box", ["true"], mounts=[coble.Mount("/cache", volume_labels={"a": "b"})])
    (other,) = [found for found in volumes.list() if found != volume]
    assert other.labels == {"a": "b"}
    gone.remove(v=True)
    assert volumes.list() == [volume]
    by_itself = shared.containers.create("box", ["true"], volumes=["/cache"], auto_remove=True)
    by_itself.start()
    eventually(lambda: not shared.containers.list(all=True) and len(volumes.list()) == 1, "it has gone with its volume")
    with shared.containers.run("box", ["sleep", "1000"], volumes=["/cache"]):
        assert len(volumes.list()) == 2
    assert volumes.list() == [volume]


def test_volumes_from(shared: coble.Engine, volumes: coble.Volumes, tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    first = shared.containers.create("box", ["sh", "-c", "echo x > /data/x"], name="first", volumes=["data:/data", "/cache", f"{tmp_path}:/host"])
    first.start()
    first.wait()
    assert sh(shared, "cat /data/x; ls -d /cache /host", volumes_from=["first"]) == "x\n/cache\n/host\n"
    done = shared.run("box", ["sh", "-c", "echo > /data/y"], volumes_from=["first:ro"])
    assert done.exit_code == 1 and b"Read-only" in done.stderr
    assert sh(shared, "ls /data", volumes_from=[first], volumes=["other:/data"]) == ""
    second = shared.containers.create("box", ["true"], volumes_from=["first"])
    # Another container has it.
    first.remove(v=True)
    assert len(volumes.list()) == 3
    second.remove()
    with pytest.raises(coble.ContainerNotFoundError):
        shared.containers.create("box", ["true"], volumes_from=["first"])
    with pytest.raises(coble.InvalidArgumentError):
        shared.containers.create("box", ["true"], volumes_from=["x:maybe"])


def test_start_again_and_restart(shared: coble.Engine, volumes: coble.Volumes) -> None:
    counting = shared.containers.create("box", ["sh", "-c", "echo x >> /data/x"], volumes=["data:/data"])
    for _ in range(3):
        counting.start()
        counting.wait()
    assert sh(shared, "wc -l < /data/x", volumes=["data:/data"]).strip() == "3"
    counting.remove()
    with volumes.clone("data", "copy") as copy:
        again = shared.containers.create("box", ["sh", "-c", "echo y >> /data/x; exit 1"], volumes={copy: "/data"}, restart_policy="on-failure:2")
        again.start()
        again.wait()
        eventually(lambda: again.state == "exited", "it ends for good")
        assert sh(shared, "wc -l < /data/x", volumes=["copy:/data"]).strip() == "6"
        again.remove()


# --- what the image has ---------------------------------------------------------------------------------------------


def owners() -> str:
    return "0:0" if MODE == "single" else "1000:1000"


def test_an_empty_one_gets_what_the_image_has(shared: coble.Engine, volumes: coble.Volumes, with_data: str) -> None:
    script = "cd /data && stat -c '%n %u:%g %a' . file below tool && cat file && readlink below/link"
    shown = f". {owners()} 750\nfile {owners()} 640\nbelow {owners()} 700\ntool {owners()} 4755\nseed\n/etc/passwd\n"
    command = ["sh", "-c", script.replace("/data", "/srv/data")]
    assert shared.run("quiet", command, volumes=["data:/srv/data"], check=True).stdout.decode() == shown
    # By a link, which is the image's own, and leads nowhere else.
    assert shared.run("quiet", ["sh", "-c", script.replace("/data", "/srv/way")], volumes=["way:/srv/way"], check=True).stdout.decode() == shown
    # Only once, and not over what is there.
    shared.run("quiet", ["sh", "-c", "echo changed > /srv/data/file; rm -r /srv/data/below"], volumes=["data:/srv/data"], check=True)
    assert shared.run("quiet", ["sh", "-c", "cat /srv/data/file; ls /srv/data"], volumes=["data:/srv/data"]).stdout == b"changed\nfile\ntool\n"
    assert sorted(os.listdir(volumes.get("data").mountpoint.parent)) == ["_data", "use", "write"]


def test_not_if_nobody_wants_it(shared: coble.Engine, volumes: coble.Volumes, with_data: str, canary: Path) -> None:
    for options in ({"volumes": ["data:/srv/data:nocopy"]}, {"mounts": ["src=data,dst=/srv/data,volume-nocopy"]}):
        assert shared.run("quiet", ["ls", "/srv/data"], **options).stdout == b""
    # A link that leads out of the image leads to its own /etc.
    shown = shared.run("quiet", ["sh", "-c", "cat /srv/out/passwd; head -n 1 /srv/out/passwd"], volumes=["etc:/srv/out"]).stdout
    assert b"root" in shown and b"coble-test" not in shown
    # A file is none that could be copied, and nothing to mount a directory upon.
    with pytest.raises(coble.CobleError):
        shared.run("quiet", ["true"], volumes=["plain:/srv/plain"])


def test_volumes_that_the_image_names(shared: coble.Engine, volumes: coble.Volumes, with_data: str) -> None:
    assert shared.run(with_data, ["cat", "/srv/data/file"], check=True).stdout == b"seed\n"
    assert volumes.list() == []
    made = shared.containers.create(with_data, ["true"])
    (volume,) = volumes.list()
    assert volume.anonymous and made.inspect_docker()["Mounts"][0]["Name"] == volume.name
    made.remove(v=True)
    # What is mounted there counts.
    shared.run(with_data, ["sh", "-c", "test ! -e /srv/data/file"], tmpfs=["/srv/data"], check=True)
    shared.run(with_data, ["sh", "-c", "echo x > /srv/data/file"], volumes=["data:/srv/data"], check=True)
    assert [volume.name for volume in volumes.list()] == ["data"]


def test_a_copy_that_was_cut_short_is_made_again(box: coble.Engine, store: Store, assets: Assets, tmp_path: Path) -> None:
    big = tmp_path / "big.tar"
    with tarfile.open(assets.busybox) as old, tarfile.open(big, "w") as tar:
        for member in old:
            tar.addfile(member, old.extractfile(member) if member.isreg() else None)
        for n in range(800):
            info = tarfile.TarInfo(f"many/{n}")
            info.size = 3
            tar.addfile(info, io.BytesIO(b"abc"))
    box.images.import_rootfs(big, "big")
    script = textwrap.dedent(f"""
        import coble
        with coble.Engine(data_root={str(store.data_root)!r}, run_root={str(store.run_root)!r}) as engine:
            print("now", flush=True)
            engine.containers.create("big", ["true"], volumes=["data:/many"], name="made")
            engine.containers.get("made").remove()
    """)
    for pause in (0.0, 0.01, 0.03, 0.06):
        process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE)
        assert process.stdout is not None and process.stdout.readline() == b"now\n"
        time.sleep(pause)  # Where in the copying it is killed is anybody's guess, and has to be no matter.
        process.kill()
        process.wait()
        process.stdout.close()
        eventually(lambda: box.verify() == [], "it was cleaned up after")
        count = box.run("big", ["sh", "-c", "ls /many | wc -l"], volumes=["data:/many"], check=True).stdout
        assert count.strip() == b"800", pause
        remove_all(box)
        box.volumes.remove("data")
    assert os.listdir(store.data_root / "volumes") == [".empty"]


# --- a part of one --------------------------------------------------------------------------------------------------


def test_a_part_of_one(shared: coble.Engine, volumes: coble.Volumes) -> None:
    sh(shared, "mkdir -p /data/a/b && echo deep > /data/a/b/x && ln -s a/b /data/way && echo f > /data/file", volumes=["data:/data"])
    for subpath in ("a/b", "way", "a/./b/"):
        assert sh(shared, "cat /part/x", mounts=[coble.Mount("/part", "data", subpath=subpath)]) == "deep\n"
    assert sh(shared, "cat /part", mounts=["type=volume,src=data,dst=/part,volume-subpath=file"]) == "f\n"
    with pytest.raises(coble.CobleError) as caught:
        shared.run("box", ["true"], mounts=[coble.Mount("/part", "data", subpath="missing")])
    assert "no such path below the volume" in str(caught.value)
    for subpath in ("../data", "/a", "", "a/../../x"):
        with pytest.raises(coble.InvalidArgumentError):
            shared.run("box", ["true"], mounts=[coble.Mount("/part", "data", subpath=subpath)])


def test_no_link_leads_out_of_a_volume(shared: coble.Engine, volumes: coble.Volumes, canary: Path) -> None:
    script = f"ln -s {canary} /data/absolute; ln -s ../../../../../../../../{canary} /data/relative; ln -s /proc/1/root /data/magic"
    sh(shared, script, volumes=["data:/data"])
    for subpath in ("absolute", "relative", "magic", "absolute/file"):
        with pytest.raises(coble.CobleError) as caught:
            shared.run("box", ["sh", "-c", "echo touched > /part/file"], mounts=[coble.Mount("/part", "data", subpath=subpath)])
        assert "leads out of it" in str(caught.value) or "cannot be opened" in str(caught.value), caught.value


def test_nobody_swaps_a_part_for_a_link(shared: coble.Engine, volumes: coble.Volumes, canary: Path) -> None:
    """SEC-145: a container changes the path below the volume while another one mounts it."""
    sh(shared, f"mkdir /data/dir && ln -s {canary} /data/link", volumes=["data:/data"])
    swap = "while true; do mv /data/dir /data/t && mv /data/link /data/dir; mv /data/dir /data/link && mv /data/t /data/dir; done"
    with shared.containers.run("box", ["sh", "-c", swap], volumes=["data:/data"]):
        for _ in range(20):
            try:
                done = shared.run("box", ["sh", "-c", "echo x > /part/new; ls /part"], mounts=[coble.Mount("/part", "data", subpath="dir")])
            except coble.CobleError:
                continue
            assert b"file" not in done.stdout.split()


# --- tars -----------------------------------------------------------------------------------------------------------


def test_a_tar_and_back(shared: coble.Engine, volumes: coble.Volumes, tmp_path: Path) -> None:
    owner = 0 if MODE == "single" else 1000
    sh(shared, f"echo x > /data/x; chmod 600 /data/x; mkdir /data/d; ln -s x /data/l; chown -R {owner}:{owner} /data; chmod 700 /data", volumes=["data:/data"])
    target = tmp_path / "data.tar"
    exported = volumes.get("data").export(target)
    assert exported.entries >= 4 and exported.bytes == target.stat().st_size and exported.warnings == []
    with tarfile.open(target) as tar:
        assert {"x", "d", "l"} <= {os.path.normpath(name) for name in tar.getnames()}
    other = volumes.create("other")
    other.import_archive(target)
    script = "cd /data; stat -c '%n %u %a' . x d; cat x; readlink l"
    shown = sh(shared, script, volumes=["data:/data"])
    assert sh(shared, script, volumes=["other:/data:nocopy"]) == shown and f". {owner} 700" in shown
    other.import_archive(tar_of({"more": b"m"}))
    assert sh(shared, "cat /data/more /data/x", volumes=["other:/data"]) == "mx\n"


def test_hostile_tars(shared: coble.Engine, volumes: coble.Volumes, canary: Path) -> None:
    volume = volumes.create("data")
    for name in ("../x", "a/../../x"):
        with pytest.raises(coble.InvalidArchiveError):
            volume.import_archive(tar_of({name: b"x"}))
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as tar:
        info = tarfile.TarInfo("way")
        info.type, info.linkname = tarfile.SYMTYPE, str(canary)
        tar.addfile(info)
        info = tarfile.TarInfo("way/file")
        info.size = 1
        tar.addfile(info, io.BytesIO(b"!"))
    with pytest.raises(coble.CobleError):
        volume.import_archive(file.getvalue())
    with pytest.raises(coble.InvalidArchiveError):
        volume.import_archive(b"no archive, and longer than a block of one" * 100)
    volume.import_archive(tar_of({".wh.x": b"x", "file": b"x"}))
    assert sh(shared, "ls -A /data", volumes=["data:/data"]).split() == [".wh.x", "file", "way"]


# --- clones ---------------------------------------------------------------------------------------------------------


def test_a_clone_is_its_own(shared: coble.Engine, volumes: coble.Volumes) -> None:
    owner = 0 if MODE == "single" else 1000
    sh(shared, f"echo seed > /data/x; mkdir /data/d; echo y > /data/d/y; chown {owner} /data; chmod 700 /data", volumes=["seed:/data"])
    seed = volumes.get("seed")
    one, two = volumes.clone("seed", "one"), seed.clone()
    assert (one.source, one.anonymous, two.source, two.anonymous) == ("seed", False, "seed", True)
    assert volumes.inspect("seed").clones == sorted([one.name, two.name])
    assert sh(shared, "stat -c %u:%a /data; cat /data/x; echo one > /data/x; rm -r /data/d; echo n > /data/n", volumes={one: "/data"}) == f"{owner}:700\nseed\n"
    assert sh(shared, "cat /data/x; ls /data", volumes={one: "/data"}) == "one\nn\nx\n"
    assert sh(shared, "cat /data/x /data/d/y", volumes={two: "/data"}) == "seed\ny\n"
    assert sh(shared, "cat /data/x; ls /data", volumes=["seed:/data:ro"]) == "seed\nd\nx\n"
    # What a clone has changed is in its tar, and in a clone of it.
    with volumes.clone(one) as third:
        assert sh(shared, "cat /data/x; echo third > /data/x; cat /data/x", volumes={third: "/data"}) == "one\nthird\n"
        file = data_root(shared).parent / "third.tar"
        third.export(file)
        with tarfile.open(file) as tar:
            content = tar.extractfile(next(member for member in tar if os.path.normpath(member.name) == "x"))
            assert content is not None and content.read() == b"third\n"
            assert not any("d/y" in name or ".wh." in name for name in tar.getnames())
        file.unlink()
    two.import_archive(tar_of({"d/z": b"z"}))
    assert sh(shared, "cat /data/d/z /data/d/y /data/x", volumes={two: "/data"}) == "zy\nseed\n"


def test_a_clone_beside_overlays_and_other_mounts(shared: coble.Engine, volumes: coble.Volumes, tmp_path: Path) -> None:
    sh(shared, "echo seed > /data/x", volumes=["seed:/data"])
    clones = [volumes.clone("seed", name) for name in ("one", "two")]
    (tmp_path / "of-host").write_text("host\n")
    tmp_path.chmod(0o777)
    mounts = [f"{tmp_path}:/a:O", "one:/b", f"{tmp_path}:/c:O", f"{tmp_path}:/d:ro", "two:/e", "plain:/f"]
    script = "for at in a b c e f; do echo $at > /$at/new; done; cat /a/of-host /b/x /c/of-host /d/of-host /e/x /run/secrets/word /?/new; ls /d"
    out = sh(shared, script, volumes=mounts, secrets={"word": b"kept\n"})
    assert out == "host\nseed\nhost\nhost\nseed\nkept\na\nb\nc\ne\nf\nof-host\n"
    assert sh(shared, "cat /b/* /e/* /f/*", volumes=["one:/b", "two:/e", "plain:/f"]) == "b\nseed\ne\nseed\nf\n"
    assert [path.name for path in tmp_path.iterdir()] == ["of-host"]
    for clone in clones:
        clone.remove()


def test_what_has_clones_is_not_written_to(shared: coble.Engine, volumes: coble.Volumes) -> None:
    sh(shared, "echo seed > /data/x", volumes=["seed:/data"])
    with shared.containers.run("box", ["sleep", "1000"], volumes=["seed:/data"], name="writer"), pytest.raises(coble.InUseError) as caught:
        volumes.clone("seed", "copy")
    assert '"writer"' in str(caught.value)
    with shared.containers.run("box", ["sleep", "1000"], volumes=["seed:/data:ro"]):
        volumes.clone("seed", "copy")
    with pytest.raises(coble.InUseError) as caught:
        shared.run("box", ["true"], volumes=["seed:/data"])
    assert '"copy"' in str(caught.value)
    with pytest.raises(coble.InUseError):
        volumes.get("seed").import_archive(tar_of({"x": b"x"}))
    with pytest.raises(coble.InUseError) as caught:
        volumes.remove("seed")
    assert '"copy"' in str(caught.value)
    with pytest.raises(coble.NameInUseError):
        volumes.clone("seed", "copy")
    with pytest.raises(coble.VolumeNotFoundError):
        volumes.clone("nothing")
    with shared.containers.run("box", ["sleep", "1000"], volumes=["copy:/data"]):
        with pytest.raises(coble.InUseError):
            shared.run("box", ["true"], volumes=["copy:/data"])
        with pytest.raises(coble.InUseError):
            volumes.get("copy").import_archive(tar_of({"x": b"x"}))
    volumes.remove("copy")
    sh(shared, "echo again > /data/x", volumes=["seed:/data"])


def test_a_clone_takes_milliseconds(shared: coble.Engine, volumes: coble.Volumes) -> None:
    sh(shared, "dd if=/dev/zero of=/data/big bs=1M count=256; for i in $(seq 1000); do echo $i > /data/$i; done", volumes=["seed:/data"])
    times = []
    for _ in range(5):
        begin = time.perf_counter()
        clone = volumes.clone("seed")
        times.append(time.perf_counter() - begin)
        clone.remove()
    # Copying that takes a good part of a second on any machine that copying a byte takes a moment on.
    assert min(times) < 0.5, times


# --- events, sizes, other surfaces ----------------------------------------------------------------------------------


def test_events(shared: coble.Engine, volumes: coble.Volumes) -> None:
    last = 0
    for event in shared.events(follow=False):
        last = event.id
    container = shared.containers.create("box", ["true"], volumes=["data:/data:ro"])
    container.start()
    container.wait()
    container.remove()
    volumes.remove("data")
    told = [event for event in shared.events(after=last, follow=False, filters={"type": "volume"})]
    assert [(event.action, event.actor) for event in told] == [(action, "data") for action in ("create", "mount", "unmount", "destroy")]
    assert told[1].attributes == {"container": container.id, "destination": "/data", "driver": "local", "propagation": "", "read/write": "false"}
    assert told[2].attributes == {"container": container.id, "driver": "local"}
    assert [event.id for event in shared.events(after=last, follow=False, filters={"volume": "data"})] == [event.id for event in told]


def test_sizes(shared: coble.Engine, volumes: coble.Volumes) -> None:
    sh(shared, "dd if=/dev/urandom of=/data/x bs=1M count=4", volumes=["data:/data"])
    volumes.clone("data", "copy")
    usage = shared.disk_usage()
    sizes = {volume.name: volume for volume in usage.volumes}
    assert 4 << 20 <= sizes["data"].size < 5 << 20 and sizes["copy"].size < 1 << 20
    assert (sizes["data"].clones, sizes["copy"].clones, sizes["data"].containers) == (1, 0, 0)
    assert usage.volumes_size == sum(volume.size for volume in usage.volumes)
    assert usage.total == usage.blobs + usage.layers + usage.writable + usage.logs + usage.volumes_size + usage.other
    reclaimed = volumes.prune(all=True)
    assert set(reclaimed.deleted) == {"data", "copy"} and reclaimed.reclaimed >= 4 << 20


def test_asyncio(shared_store: Store, volumes: coble.Volumes) -> None:
    async def work() -> None:
        async with coble.aio.Engine(data_root=shared_store.data_root, run_root=shared_store.run_root) as engine:
            made = await engine.volumes.create("data", labels={"a": "b"})
            assert isinstance(made, coble.aio.Volume) and made.labels == {"a": "b"}
            await engine.run("box", ["sh", "-c", "echo x > /data/x"], volumes=["data:/data"], check=True)
            async with engine.volumes.clone(made) as clone:
                done = await engine.run("box", ["cat", "/data/x"], mounts=[coble.Mount("/data", clone.name)])
                assert done.stdout == b"x\n"
            assert [volume.name for volume in await engine.volumes.list()] == ["data"]
            assert (await (await engine.volumes.get("data")).inspect()).clones == []

    asyncio.run(work())


def test_the_command(shared_store: Store, volumes: coble.Volumes, tmp_path: Path) -> None:
    roots = ["--data-root", str(shared_store.data_root), "--run-root", str(shared_store.run_root)]

    def run(*words: str, status: int = 0, **options: Any) -> str:
        done = subprocess.run([COMMAND, *roots, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False, **options)
        assert done.returncode == status, done.stderr
        return done.stdout if status == 0 else done.stderr

    assert run("volume", "create", "--label", "a=b", "data") == "data\n"
    run("run", "--rm", "-v", "data:/data", "box", "sh", "-c", "echo x > /data/x")
    assert run("volume", "ls", "-q") == "data\n" and run("volume", "ls").splitlines()[0].split() == ["DRIVER", "VOLUME", "NAME"]
    assert json.loads(run("volume", "inspect", "data"))[0]["Labels"] == {"a": "b"}
    assert json.loads(run("inspect", "--type", "volume", "data"))[0]["Name"] == "data" == json.loads(run("inspect", "data"))[0]["Name"]
    tar = tmp_path / "x.tar"
    run("volume", "export", "data", "-o", str(tar))
    run("volume", "create", "other")
    run("volume", "import", "other", str(tar))
    with tar.open("rb") as file:
        run("volume", "import", "other", "-", stdin=file)
    assert run("run", "--rm", "--mount", "type=volume,src=other,dst=/o,readonly", "box", "cat", "/o/x") == "x\n"
    assert run("volume", "clone", "data", "copy") == "copy\n"
    assert run("run", "--rm", "-v", "copy:/data", "box", "cat", "/data/x") == "x\n"
    run("create", "--name", "user", "-v", "copy:/data", "-v", "/cache", "box", "true")
    assert "is in use by container" in run("volume", "rm", "copy", status=125)
    assert "until" in run("system", "prune", "-f", "--volumes", "--filter", "until=24h", status=125)
    assert run("run", "--rm", "--volumes-from", "user", "box", "cat", "/data/x") == "x\n"
    assert run("ps", "-aq", "--filter", "volume=copy").strip()
    assert "Local Volumes" in run("system", "df") and "VOLUME NAME" in run("system", "df", "-v")
    run("rm", "-v", "user")
    assert run("volume", "ls", "-q").split() == ["copy", "data", "other"]
    assert run("volume", "rm", "copy", "data") == "copy\ndata\n"
    assert "no volume" in run("volume", "rm", "data", status=125)
    run("volume", "rm", "-f", "data")
    assert json.loads(run("volume", "prune", "-f", "--format", "json"))["deleted"] == []
    assert json.loads(run("volume", "prune", "-af", "--format", "json"))["deleted"] == ["other"]


# --- crashes and crowds ---------------------------------------------------------------------------------------------


def test_many_make_the_same_one(store: Store, box: coble.Engine) -> None:
    script = textwrap.dedent(f"""
        import coble, sys
        with coble.Engine(data_root={str(store.data_root)!r}, run_root={str(store.run_root)!r}) as engine:
            for n in range(20):
                engine.volumes.create(f"v{{n}}")
                try:
                    engine.volumes.remove(f"v{{(n * 7) % 20}}", force=True)
                except coble.InUseError:
                    pass
    """)
    processes = [subprocess.Popen([sys.executable, "-c", script]) for _ in range(4)]
    assert [process.wait() for process in processes] == [0] * 4
    for volume in box.volumes.list():
        assert volume.mountpoint.is_dir()
    box.volumes.prune(all=True)
    assert os.listdir(store.data_root / "volumes") == [".empty"] and box.verify() == []


def test_a_kill_at_any_moment_leaves_nothing(store: Store, box: coble.Engine) -> None:
    script = textwrap.dedent(f"""
        import coble
        engine = coble.Engine(data_root={str(store.data_root)!r}, run_root={str(store.run_root)!r})
        print("now", flush=True)
        while True:
            engine.run("box", ["true"], volumes=["/cache"])
            engine.volumes.create("named")
            engine.volumes.clone("named").remove()
            engine.volumes.remove("named")
    """)
    for n in range(8):
        process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE)
        assert process.stdout is not None and process.stdout.readline() == b"now\n"
        time.sleep(0.01 + 0.03 * n)  # Any moment is the right one.
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
        eventually(lambda: box.verify() == [] and box.containers.list(all=True) == [], "it was cleaned up after")
        left = box.volumes.list()
        # A clone that was made is one, named or not.
        assert all(volume.name == "named" or volume.source == "named" for volume in left), left
        box.volumes.prune(all=True)
        eventually(lambda: box.verify() == [] and os.listdir(store.data_root / "volumes") == [".empty"], "nothing is left")


def test_what_has_no_row_goes(store: Store, box: coble.Engine) -> None:
    box.volumes.create("kept")
    folder = store.data_root / "volumes"
    for name in ("stray", ".gone-1", ".new-1"):
        (folder / name / "_data").mkdir(parents=True)
        (folder / name / "_data/x").write_text("x")
    assert box.verify() == []
    assert sorted(os.listdir(folder)) == [".empty", "kept"]
    subprocess.run(["rm", "-r", folder / "kept"], check=True)
    assert box.verify() == ['volume "kept" has no directory']
    with pytest.raises(coble.InvalidStateError):
        box.containers.create("box", ["true"], volumes=["kept:/data"])
    box.volumes.remove("kept")


@pytest.mark.root
def test_owners_in_a_user_namespace_of_its_own(shared: coble.Engine, volumes: coble.Volumes, with_data: str) -> None:
    script = "stat -c %u:%g /srv/data /srv/data/file; echo x > /srv/data/new; stat -c %u /srv/data/new"
    shown = b"1000:1000\n1000:1000\n0\n"
    for options in ({"userns_mode": "auto"}, {}, {"userns_mode": "auto:size=2000"}):
        done = shared.run("quiet", ["sh", "-c", script], volumes=["data:/srv/data"], check=True, **options)
        assert done.stdout == shown, options
        (volumes.get("data").mountpoint / "new").unlink()
    assert (volumes.get("data").mountpoint / "file").stat().st_uid == 1000
    volumes.clone("data", "copy")
    for options in ({"userns_mode": "auto"}, {}):
        done = shared.run("quiet", ["sh", "-c", script], volumes=["copy:/srv/data"], check=True, **options)
        assert done.stdout == shown, options
    part = coble.Mount("/p", "data", subpath="below", read_only=True)
    assert shared.run("quiet", ["stat", "-c", "%u %a", "/p"], mounts=[part], userns_mode="auto", check=True).stdout == b"1000 700\n"


@pytest.mark.skipif(MODE == "root", reason="keep-id is for the containers of an ordinary user; the suites that they run have it")
def test_with_the_ids_of_an_ordinary_user(shared: coble.Engine, volumes: coble.Volumes, with_data: str) -> None:
    own = os.geteuid()
    script = "echo x > /data/x && stat -c %u /data /data/x"
    assert sh(shared, script, volumes=["data:/data"], userns_mode="keep-id") == f"{own}\n{own}\n"
    assert (volumes.get("data").mountpoint / "x").stat().st_uid == own
    if MODE == "ranges":
        assert sh(shared, script, volumes=["other:/data"], userns_mode="nomap") == "0\n0\n"
        assert shared.run("quiet", ["stat", "-c", "%u", "/srv/data/file"], volumes=["new:/srv/data"], userns_mode="nomap", check=True).stdout == b"1000\n"


@pytest.mark.skipif(MODE != "ranges", reason="of root's containers volumes are mounted with their ids, and without ranges nobody has ids for himself")
def test_ids_for_oneself_and_volumes_of_others(shared: coble.Engine, volumes: coble.Volumes, with_data: str) -> None:
    script = "stat -c %u:%g /srv/data /srv/data/file; echo x > /srv/data/new && stat -c %u /srv/data/new"
    volumes.create("data")
    for given in ({"volumes": ["data:/data"]}, {"volumes": ["missing:/data"]}, {"mounts": [coble.Mount("/data", "data")]}):
        with pytest.raises(coble.UnsupportedError, match="userns_mode auto") as failed:
            shared.containers.create("quiet", ["true"], userns_mode="auto", **given)
        assert failed.value.hint is not None and "keep-id" in failed.value.hint
    assert [volume.name for volume in volumes.list()] == ["data"]

    first = shared.containers.create("quiet", ["sleep", "1000"], userns_mode="auto", volumes=["/srv/data"])
    first.start()
    done = shared.run("quiet", ["sh", "-c", script], userns_mode="auto", volumes=["/srv/data"], check=True)
    assert done.stdout == b"1000:1000\n1000:1000\n0\n"
    assert first.exec(["sh", "-c", script]).stdout == b"1000:1000\n1000:1000\n0\n"
    with pytest.raises(coble.UnsupportedError, match="userns_mode auto"):
        shared.run("quiet", ["true"], userns_mode="auto", volumes_from=[first.name])
    with pytest.raises(coble.UnsupportedError, match="userns_mode auto"):
        first.snapshot(pause=False)
    first.remove(force=True, v=True)
    assert [volume.name for volume in volumes.list()] == ["data"]

    maps = {"uidmap": ["0:1:5000"], "gidmap": ["0:1:5000"]}
    for _ in range(2):
        done = shared.run("quiet", ["sh", "-c", script], volumes=["maps:/srv/data"], check=True, **maps)
        assert done.stdout == b"1000:1000\n1000:1000\n0\n"


def test_set_ids_and_modes_of_the_disk(shared: coble.Engine, volumes: coble.Volumes) -> None:
    """Nobody else on the host gets at what is in a volume, whatever its modes."""
    sh(shared, "cp /bin/busybox /data/su && chmod 4777 /data/su && chmod 777 /data", volumes=["data:/data"])
    path = volumes.get("data").mountpoint
    assert path.stat().st_mode & 0o777 == 0o777
    for parent in (path.parent, path.parent.parent):
        assert stat.S_IMODE(parent.stat().st_mode) == 0o700


def test_threads(shared: coble.Engine, volumes: coble.Volumes, with_data: str) -> None:
    """Many begin to use one that is empty at the same moment: whoever runs sees all of it."""
    seen: list[bytes] = []

    def use() -> None:
        seen.append(shared.run("quiet", ["cat", "/srv/data/file"], volumes=["data:/srv/data"], check=True).stdout)

    threads = [threading.Thread(target=use) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == [b"seed\n"] * 6


def test_what_somebody_is_at_work_on_is_not_removed(engine: coble.Engine) -> None:
    """Neither by name nor by a pruning, whose conditions it meets."""
    volume = engine.volumes.create()
    reading, writing = os.pipe()
    thread = threading.Thread(target=lambda: volume.import_archive(reading))
    thread.start()
    try:
        with tarfile.open(fileobj=os.fdopen(writing, "wb", closefd=False), mode="w|") as archive:
            content = b"x" * 200_000
            member = tarfile.TarInfo("file")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
            # More than the pipe holds has been taken from it, so the import has begun.
            with pytest.raises(coble.InUseError, match="at work"):
                volume.remove()
            assert engine.volumes.prune().deleted == []
    finally:
        os.close(writing)
        thread.join()
        os.close(reading)
    assert Path(volume.inspect().mountpoint, "file").stat().st_size == 200_000
    volume.remove()
