"""The image store: saving and loading between tools, exporting, committing, comparing, mounting, pruning, measuring, mending, and many at once."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import archives
import coble
import coble.aio
import pytest
from conftest import CGROUPS, MODE, Assets, Store, remove_tree
from helpers import eventually, sh
from test_command import Command

FORMATS = ["oci-archive", "oci-dir", "docker-archive"]


def needs(program: str) -> str:
    path = shutil.which(program)
    if path is None:
        pytest.skip(f"needs {program}")
    return path


def run(*command: object, **options: Any) -> str:
    done = subprocess.run([str(word) for word in command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, **options)
    assert done.returncode == 0, f"{command}: {done.stderr.decode()}"
    return done.stdout.decode()


def make(engine: coble.Engine, name: str, *files: tuple[str, bytes], **options: Any) -> coble.Image:
    """An image of a few files."""
    data = archives.tar(*(archives.file(path, content) for path, content in files))
    with tarfile_on_disk(data) as source:
        return engine.images.import_rootfs(source, name, **options)


def through_pipe(write: Callable[[int], object]) -> bytes:
    """What somebody writes to a pipe."""
    reader, writer = os.pipe()
    found: list[bytes] = []

    def read() -> None:
        with open(reader, "rb") as file:
            found.append(file.read())

    reading = threading.Thread(target=read)
    reading.start()
    try:
        write(writer)
    finally:
        os.close(writer)
        reading.join()
    return found[0]


class tarfile_on_disk:
    def __init__(self, data: bytes) -> None:
        self.file = io.open(os.memfd_create("tar"), "w+b")
        self.file.write(data)
        self.file.seek(0)

    def __enter__(self) -> Any:
        return self.file

    def __exit__(self, *_: object) -> None:
        self.file.close()


def loaded(path: Path, workplace: Path, **options: Any) -> list[dict[str, Any]]:
    """What another store gets out of an archive, in full."""
    folder = workplace / f"other{random.randrange(1 << 40)}"
    folder.mkdir()
    try:
        with Store(folder / "data", folder / "run").engine() as other:
            return [image.inspect().to_dict() for image in other.images.load(path, **options)]
    finally:
        from conftest import remove_tree

        remove_tree(folder)


# --- save and load ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", FORMATS)
def test_saved_images_come_back(box: coble.Engine, workplace: Path, tmp_path: Path, form: Any) -> None:
    box.images.tag("box", "example.org:5000/team/box:1")
    make(box, "small:2", ("file", b"x" * 100_000), labels={"a": "b"})
    target = tmp_path / "saved"
    box.images.save(["box", "example.org:5000/team/box:1", "small:2"], target, format=form)
    if form != "oci-dir":
        assert target.stat().st_mode & 0o7777 == 0o600
        assert [path.name for path in tmp_path.iterdir()] == ["saved"]
    found = {tuple(image["references"]): image for image in loaded(target, workplace)}
    names = ("docker.io/library/box:latest", "example.org:5000/team/box:1")
    assert set(found) == {names, ("docker.io/library/small:2",)}
    for references, image in found.items():
        ours = box.images.inspect(references[0]).to_dict()
        assert image["id"] == ours["id"] and image["config"] == ours["config"]
        if form != "docker-archive":
            assert image["digest"] == ours["digest"] and image["layers"] == ours["layers"]


@pytest.mark.parametrize("compression", ["plain", "gzip", "zstd"])
def test_blobs_are_kept_byte_for_byte(engine: coble.Engine, workplace: Path, tmp_path: Path, compression: str) -> None:
    layers = [archives.tar(archives.file("a", b"1" * 5000)), archives.tar(archives.file("b", b"2" * 5000))]
    archives.write_oci_layout(tmp_path / "in", archives.Image(layers, {"Cmd": ["x"]}, "kept:1", compression=compression))
    engine.images.load(tmp_path / "in")
    engine.images.save("kept:1", tmp_path / "out", format="oci-dir")
    blobs = lambda folder: {path.name: path.read_bytes() for path in (folder / "blobs/sha256").iterdir()}  # noqa: E731
    assert blobs(tmp_path / "out") == blobs(tmp_path / "in")
    # The same through a pipe, and once more in and out.
    archive = through_pipe(lambda writer: engine.images.save("kept:1", writer))
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        members = {member.name: tar.extractfile(member) for member in tar if member.isreg()}
        contents = {name: file.read() for name, file in members.items() if file}
    assert {name.split("/")[-1]: data for name, data in contents.items() if name.startswith("blobs/")} == blobs(tmp_path / "in")
    assert json.loads(contents["manifest.json"])[0]["RepoTags"] == ["kept:1"]
    (tmp_path / "again").write_bytes(archive)
    assert loaded(tmp_path / "again", workplace)[0]["digest"] == engine.images.get("kept:1").digest


def test_a_layout_gets_more_images(engine: coble.Engine, workplace: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        make(engine, name, ("file", name.encode()))
        engine.images.save(name, tmp_path / "layout", format="oci-dir")
    make(engine, "one", ("file", b"other"))
    engine.images.save("one", tmp_path / "layout", format="oci-dir")
    found = {image["references"][0]: image["id"] for image in loaded(tmp_path / "layout", workplace)}
    assert found == {f"docker.io/library/{name}:latest": engine.images.get(name).id for name in ("one", "two")}
    # A directory with something else in it is left alone.
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters/letter").write_text("dear")
    with pytest.raises(coble.InvalidArgumentError):
        engine.images.save("one", tmp_path / "letters", format="oci-dir")
    assert os.listdir(tmp_path / "letters") == ["letter"]


def test_what_cannot_be_saved_leaves_nothing(engine: coble.Engine, store: Store, tmp_path: Path) -> None:
    image = make(engine, "x", ("file", os.urandom(50_000)))
    target = tmp_path / "saved"
    target.write_text("before")
    for images, kind in ((["missing"], "ImageNotFound"), ([], "InvalidArgument")):
        with pytest.raises(coble.CobleError) as caught:
            engine.images.save(images, target)
        assert caught.value.kind == kind
    # A damaged blob does not travel.
    layer = image.inspect().layers[0].digest
    blob = store.data_root / "content/blobs" / layer.replace(":", "/")
    data = blob.read_bytes()
    blob.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    for form in ("oci-archive", "docker-archive"):
        with pytest.raises(coble.DigestMismatchError):
            engine.images.save("x", target, format=form)  # type: ignore[arg-type]
    assert target.read_text() == "before" and [path.name for path in tmp_path.iterdir()] == ["saved"]
    blob.write_bytes(data)
    # Nobody reads the other end.
    read, write = os.pipe()
    os.close(read)
    with open(write, "wb") as writer, pytest.raises(coble.IoError):
        engine.images.save("x", writer)


# --- platforms --------------------------------------------------------------------------------------------------------


def multi_platform(folder: Path, name: str) -> dict[str, str]:
    """A layout with an index of images for several platforms. Returns their ids."""
    platforms = {"linux/amd64": {}, "linux/arm64": {"variant": "v8"}, "linux/arm/v7": {"variant": "v7"}, "linux/arm/v6": {"variant": "v6"}}
    made, ids = [], {}
    for platform, more in platforms.items():
        architecture = platform.split("/")[1]
        layer = archives.tar(archives.file("which", platform.encode()))
        made.append(archives.Image([layer], {}, configuration={"architecture": architecture, **more}))
        ids[platform] = archives.sha256(made[-1].configuration_bytes())
    index = archives.write_oci_layout(folder, *made)
    for entry, (platform, more) in zip(index["manifests"], platforms.items()):
        entry["platform"] = {"os": "linux", "architecture": platform.split("/")[1], **more}
    data = json.dumps(index).encode()
    (folder / "blobs/sha256" / hashlib.sha256(data).hexdigest()).write_bytes(data)
    top = {"mediaType": archives.OCI_INDEX, "digest": archives.sha256(data), "size": len(data)}
    top["annotations"] = {"org.opencontainers.image.ref.name": name}
    (folder / "index.json").write_text(json.dumps({"schemaVersion": 2, "mediaType": archives.OCI_INDEX, "manifests": [top]}))
    return ids


def test_a_platform_is_chosen(engine: coble.Engine, tmp_path: Path) -> None:
    ids = multi_platform(tmp_path / "in", "multi:1")
    for wanted, got in (
        ("linux/arm64/v8", "linux/arm64"),
        ("aarch64", "linux/arm64"),
        ("linux/arm/v7", "linux/arm/v7"),
        ("linux/arm/v6", "linux/arm/v6"),
        ("linux/amd64", "linux/amd64"),
    ):
        (image,) = engine.images.load(tmp_path / "in", platform=wanted)
        assert image.id == ids[got]
    with pytest.raises(coble.InvalidImageError, match=r"linux/s390x.*linux/amd64"):
        engine.images.load(tmp_path / "in", platform="linux/s390x")
    with pytest.raises(coble.InvalidArgumentError):
        engine.images.load(tmp_path / "in", platform="a/b/c/d")


def test_several_platforms_of_one_name(engine: coble.Engine, store: Store, workplace: Path, tmp_path: Path) -> None:
    ids = multi_platform(tmp_path / "in", "multi:1")
    images = engine.images.load(tmp_path / "in", platform="all")
    assert {image.id for image in images} == set(ids.values())
    assert all(image.references == ["docker.io/library/multi:1"] for image in images)
    assert engine.images.get("multi:1").id == ids["linux/amd64"], "the name means the one for this host"
    assert {image.variant for image in engine.images.list()} == {None, "v8", "v7", "v6"}
    # Saved, the index and every manifest are what they were; one platform can be chosen.
    engine.images.save("multi:1", tmp_path / "out", format="oci-dir")
    blobs = lambda folder: sorted(path.name for path in (folder / "blobs/sha256").iterdir())  # noqa: E731
    assert blobs(tmp_path / "out") == blobs(tmp_path / "in")
    assert {image["id"] for image in loaded(tmp_path / "out", workplace, platform="all")} == set(ids.values())
    engine.images.save("multi:1", tmp_path / "one.tar", platform="linux/arm/v7")
    assert [image["id"] for image in loaded(tmp_path / "one.tar", workplace, platform="all")] == [ids["linux/arm/v7"]]
    with pytest.raises(coble.ImageNotFoundError, match="only for"):
        engine.images.save("multi:1", tmp_path / "none.tar", platform="linux/s390x")
    # A docker archive has one image for a name: the host's, or the one that is asked for.
    engine.images.save("multi:1", tmp_path / "docker.tar", format="docker-archive")
    (image,) = loaded(tmp_path / "docker.tar", workplace, platform="all")
    assert (image["id"], image["references"]) == (ids["linux/amd64"], ["docker.io/library/multi:1"])
    with pytest.raises(coble.InvalidArgumentError, match="one image for a name"):
        engine.images.save("multi:1", tmp_path / "docker.tar", format="docker-archive", platform="all")
    # The store's own layout says it, too, and another name has all of them.
    engine.images.tag("multi:1", "again:1")
    index = json.loads((store.data_root / "content/index.json").read_text())
    assert {entry["mediaType"] for entry in index["manifests"]} == {archives.OCI_INDEX}
    assert engine.images.remove("multi:1").deleted == []
    # A platform of a name is looked at, named and removed by itself.
    arm = engine.images.get("again:1", platform="arm64")
    assert arm.id == ids["linux/arm64"]
    with pytest.raises(coble.ImageNotFoundError, match="only for"):
        engine.images.get("again:1", platform="linux/s390x")
    command = Command(store)
    for words in (["image", "inspect"], ["history", "--format", "json"]):
        assert command(*words, "--platform", "linux/s390x", "again:1").returncode != 0
    assert json.loads(command.good("image", "inspect", "--platform", "linux/arm64", "again:1"))[0]["Id"] == arm.id
    assert json.loads(command.good("history", "--platform", "linux/arm64", "--format", "json", "again:1"))[0]["layer"] == arm.inspect().layers[0].diff_id
    command.good("tag", "--platform", "linux/arm64", "again:1", "arm:1")
    assert [image.id for image in engine.images.list(filters={"reference": "arm:1"})] == [arm.id]
    command.good("untag", "arm:1")
    # The name stays with the others, so it was not taken away.
    assert json.loads(command.good("rmi", "--platform", "linux/arm64", "--format", "json", "again:1")) == [{"untagged": [], "deleted": [arm.id]}]
    del ids["linux/arm64"]
    # One platform goes, the name stays with the others; with the name go all.
    engine.images.remove(ids["linux/amd64"], force=True)
    assert engine.images.get("again:1").id in set(ids.values()) - {ids["linux/amd64"]}
    assert set(engine.images.remove("again:1").deleted) == set(ids.values()) - {ids["linux/amd64"]}
    assert list((store.data_root / "content/blobs/sha256").iterdir()) == []


# --- other tools ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", FORMATS)
def test_skopeo_reads_what_is_saved(box: coble.Engine, tmp_path: Path, form: str) -> None:
    skopeo = needs("skopeo")
    box.images.tag("box", "box:1")
    target = tmp_path / "saved"
    box.images.save("box:1", target, format=form)  # type: ignore[arg-type]
    transport = {"oci-archive": "oci-archive", "oci-dir": "oci", "docker-archive": "docker-archive"}[form]
    reference = "docker.io/library/box:1"
    raw = json.loads(run(skopeo, "inspect", "--raw", f"{transport}:{target}:{reference}"))
    ours = box.images.inspect("box:1")
    if form != "docker-archive":
        assert archives.sha256(run(skopeo, "inspect", "--raw", f"{transport}:{target}:{reference}").encode()) == ours.digest
    assert raw["config"]["digest"] == ours.id
    if form == "oci-archive":
        # The same file is a docker archive.
        raw = json.loads(run(skopeo, "inspect", "--raw", f"docker-archive:{target}:{reference}"))
        assert raw["config"]["digest"] == ours.id
        run(skopeo, "copy", "--quiet", f"docker-archive:{target}:{reference}", f"dir:{tmp_path}/copied")


@pytest.mark.root
@pytest.mark.parametrize("form", FORMATS)
def test_podman_runs_what_is_saved(box: coble.Engine, workplace: Path, tmp_path: Path, form: str) -> None:
    podman = needs("podman")
    target = tmp_path / "saved"
    box.images.save("box", target, format=form)  # type: ignore[arg-type]
    place = workplace / "podman"
    where = [podman, "--root", place / "root", "--runroot", place / "run", "--storage-driver", "vfs", "--cgroup-manager", "cgroupfs"]
    try:
        said = run(*where, "load", "-i", target)
        name = said.strip().rsplit(": ", 1)[1]
        listed = json.loads(run(*where, "images", "--format", "json", "--no-trunc"))
        assert {image["Id"] for image in listed} == {box.images.get("box").id.split(":")[1]}
        # Whoever may not raise a limit can still keep what there is.
        limit = lambda which: min(4096, resource.getrlimit(which)[0] % (1 << 63))  # noqa: E731
        limits = [f"--ulimit=nofile={limit(resource.RLIMIT_NOFILE)}", f"--ulimit=nproc={limit(resource.RLIMIT_NPROC)}"]
        # Debian's crun knows no hosts with cgroups of both versions, and its runc no containers without one.
        runc = shutil.which("runc") if CGROUPS == "v1" else None
        how = [f"--runtime={runc}"] if runc else ["--cgroups=disabled"]
        out = run(*where, *how[: bool(runc)], "run", "--rm", "--network=none", *how[bool(runc) :], "--log-driver=none", *limits, name, "cat", "/etc/passwd")
        assert out == sh(box, "cat /etc/passwd")
    finally:
        subprocess.run([*where, "rmi", "--all", "--force"], check=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        shutil.rmtree(place, ignore_errors=True)


@pytest.mark.root
def test_umoci_and_buildah_read_what_is_saved_and_the_other_way_round(box: coble.Engine, workplace: Path, tmp_path: Path) -> None:
    umoci, skopeo = needs("umoci"), needs("skopeo")
    box.images.save("box", tmp_path / "saved", format="oci-dir")
    name = "docker.io/library/box:latest"
    run(skopeo, "copy", "--quiet", f"oci:{tmp_path}/saved:{name}", f"oci:{tmp_path}/layout:box")
    run(umoci, "unpack", "--image", f"{tmp_path}/layout:box", tmp_path / "bundle")
    assert (tmp_path / "bundle/rootfs/etc/passwd").read_text() == sh(box, "cat /etc/passwd")
    (tmp_path / "bundle/rootfs/new").write_text("by umoci")
    (tmp_path / "bundle/rootfs/etc/group").unlink()
    run(umoci, "repack", "--image", f"{tmp_path}/layout:packed", tmp_path / "bundle")
    run(skopeo, "copy", "--quiet", f"oci:{tmp_path}/layout:packed", f"oci-archive:{tmp_path}/packed.tar:packed:1")
    (image,) = box.images.load(tmp_path / "packed.tar")
    assert box.run(image, ["sh", "-c", "cat /new; test ! -e /etc/group"], check=True).stdout == b"by umoci"
    # And docker archives of skopeo and podman's library, with several images.
    for source, tag in (("box", "a:1"), ("packed", "b:1")):
        run(skopeo, "copy", "--quiet", f"oci:{tmp_path}/layout:{source}", f"docker-archive:{tmp_path}/docker-{source}.tar:{tag}")
        (image,) = box.images.load(tmp_path / f"docker-{source}.tar")
        assert any(reference.endswith(tag) for reference in image.references)
    buildah = needs("buildah")
    place = workplace / "buildah"
    where = [buildah, "--root", place / "root", "--runroot", place / "run", "--storage-driver", "vfs"]
    try:
        container = run(*where, "from", "--quiet", f"oci:{tmp_path}/saved:{name}").strip().split("\n")[-1]
        run(*where, "config", "--label", "by=buildah", container)
        run(*where, "commit", "--quiet", container, f"oci-archive:{tmp_path}/built.tar:built:1")
        (built,) = box.images.load(tmp_path / "built.tar")
        assert built.labels["by"] == "buildah"
        assert box.run(built, ["echo", "runs"]).stdout == b"runs\n"
    finally:
        subprocess.run([*where, "rm", "--all"], check=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        subprocess.run([*where, "rmi", "--all", "--force"], check=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        shutil.rmtree(place, ignore_errors=True)


# --- export -----------------------------------------------------------------------------------------------------------

SCRIPT = """
set -e
echo changed > /etc/passwd
rm /etc/group
mkdir -p /made/deep
echo content > /made/file
chmod 4711 /made/file
ln /made/file /made/again
ln -s /nowhere /made/link
mkfifo /made/pipe
dd if=/dev/zero of=/made/sparse bs=1 count=1 seek=8388607 2>/dev/null
rm -r /home
mkdir /home
echo new > /home/new
"""


def test_export(box: coble.Engine, tmp_path: Path) -> None:
    container = box.containers.create("box", ["sh", "-c", SCRIPT])
    container.start()
    container.wait()
    done = container.export(tmp_path / "out.tar")
    assert done.bytes == (tmp_path / "out.tar").stat().st_size < 8 << 20 and done.warnings == []
    with tarfile.open(tmp_path / "out.tar") as tar:
        members = {member.name: member for member in tar}
        assert len(members) == done.entries
        assert members["made/file"].mode == 0o4711 or members["made/again"].mode == 0o4711
        assert {members["made/file"].type, members["made/again"].type} == {tarfile.REGTYPE, tarfile.LNKTYPE}
        assert members["made/link"].linkname == "/nowhere" and members["made/pipe"].isfifo()
        assert members["made/sparse"].size == 8 << 20
        assert "etc/group" not in members and "home/alice" not in members and "home/new" in members
        assert [name for name in members if ".wh." in name] == []
        names = [member.name for member in tar.getmembers()]
    again = through_pipe(container.export)
    assert again == (tmp_path / "out.tar").read_bytes(), "the same tree gives the same bytes"
    assert names == sorted(names, key=lambda name: name.split("/"))
    box.images.import_rootfs(tmp_path / "out.tar", "imported")
    out = box.run("imported", ["sh", "-c", "cat /etc/passwd; stat -c '%a %h' /made/file; ls /home"], check=True).stdout
    assert out.decode().split() == ["changed", "4711", "2", "new"]


def test_export_of_a_running_container(box: coble.Engine, tmp_path: Path) -> None:
    script = "mkdir /d; i=0; while true; do i=$((i+1)); head -c $((i % 7 * 300000)) /dev/zero > /d/file; rm -rf /d/x; mkdir -p /d/x/y; done"
    with box.containers.run("box", ["sh", "-c", script]) as container:
        for n in range(5):
            target = tmp_path / f"{n}.tar"
            container.export(target)
            with tarfile.open(target) as tar:
                assert "etc/passwd" in tar.getnames()
        assert container.state == "running"
    assert box.containers.list(all=True) == []


# --- commit and diff --------------------------------------------------------------------------------------------------


def test_diff(box: coble.Engine) -> None:
    container = box.containers.create("box", ["sh", "-c", SCRIPT])
    assert container.diff() == []
    container.start()
    container.wait()
    found = {change.path: change.kind for change in container.diff()}
    expected = {
        "/etc": "changed",
        "/etc/passwd": "changed",
        "/etc/group": "deleted",
        "/made": "added",
        "/made/again": "added",
        "/made/deep": "added",
        "/made/file": "added",
        "/made/link": "added",
        "/made/pipe": "added",
        "/made/sparse": "added",
        "/home": "changed",
        "/home/alice": "deleted",
        "/home/new": "added",
    }
    assert found == expected
    image = container.commit("made")
    # The same between the two images, where only what is different counts.
    between = {change.path: change.kind for change in box.images.diff("box", image)}
    assert between == expected
    back = {change.path: change.kind for change in box.images.diff(image, "box")}
    assert back["/made"] == "deleted" and back["/etc/group"] == "added" and "/made/file" not in back
    assert box.images.diff("box", "box") == []


@pytest.mark.parametrize("compression", ["gzip", "zstd", "none"])
def test_commit(box: coble.Engine, workplace: Path, tmp_path: Path, compression: Any) -> None:
    container = box.containers.create("box", ["sh", "-c", SCRIPT], environment={"MINE": "1"}, labels={"l": "1"})
    container.start()
    container.wait()
    image = container.commit(
        "made:1",
        changes=["CMD [\"cat\", \"/made/file\"]", "ENV A=b", "LABEL x=\"y z\"", "EXPOSE 80", "WORKDIR /made", "USER 0"],
        author="somebody",
        message="said",
        compression=compression,
    )
    assert image.references == ["docker.io/library/made:1"]
    config = image.inspect().config
    assert config["author"] == "somebody" and config["config"]["Cmd"] == ["cat", "/made/file"]
    assert {"IMAGE_VARIABLE=image", "MINE=1", "A=b"} <= set(config["config"]["Env"])
    assert config["config"]["Labels"] == {"l": "1", "x": "y z"} and config["config"]["ExposedPorts"] == {"80/tcp": {}}
    step = image.history()[0]
    assert step.comment == "said" and step.created_by.startswith("sh -c") and not step.empty_layer
    layers = [layer.diff_id for layer in image.inspect().layers]
    assert layers[:-1] == [layer.diff_id for layer in box.images.inspect("box").layers]
    suffix = {"gzip": "+gzip", "zstd": "+zstd", "none": ""}[compression]
    assert image.inspect().layers[-1].media_type == f"application/vnd.oci.image.layer.v1.tar{suffix}"
    assert box.run("made:1").stdout == b"content\n"
    out = box.run("made:1", ["sh", "-c", "cat /etc/passwd; test -e /etc/group; echo $?; ls /home; stat -c %h /made/again"]).stdout
    assert out == b"changed\n1\nnew\n2\n"
    # It travels.
    box.images.save("made:1", tmp_path / "made.tar")
    assert loaded(tmp_path / "made.tar", workplace)[0]["id"] == image.id
    # Nothing changed: no layer.
    same = box.containers.create("box", ["x"]).commit("same")
    assert [layer.diff_id for layer in same.inspect().layers] == layers[:-1] and same.history()[0].empty_layer
    assert box.run("same", ["cat", "/etc/passwd"]).stdout == box.run("box", ["cat", "/etc/passwd"]).stdout


def test_commit_of_a_running_container(box: coble.Engine) -> None:
    script = "i=0; while true; do i=$((i+1)); for f in a b; do echo $i > /t; mv /t /$f; done; done"
    with box.containers.run("box", ["sh", "-c", script]) as container:
        eventually(lambda: container.exec(["cat", "/b"]).exit_code == 0, "the files")
        try:
            image = container.commit("made")
        except coble.UnsupportedError:
            # No cgroup that can be frozen, and that is said.
            assert MODE != "root"
            image = container.commit("made", pause=False)
        before = container.exec(["cat", "/a"], check=True).stdout
        assert eventually(lambda: container.exec(["cat", "/a"]).stdout != before, "it goes on"), "still frozen"
    a, b = box.run(image, ["cat", "/a", "/b"], check=True).stdout.split()
    assert int(a) - int(b) in (0, 1)


def test_commit_of_hostile_files(box: coble.Engine) -> None:
    def container_with(script: str) -> coble.Container:
        container = box.containers.create("box", ["sh", "-c", script])
        container.start()
        assert container.wait() == 0
        return container

    # A file that would be a whiteout in the layer.
    with pytest.raises(coble.InvalidArchiveError, match=r"\.wh\.etc"):
        container_with("echo > /.wh.etc").commit("bad")
    # Longer than any path of an archive.
    part = "/".join(["x" * 200] * 15)
    deep = f"mkdir -p /a/{part} /b/{part} && mv /b /a/{part}/"
    with pytest.raises(coble.LimitExceededError):
        container_with(deep).commit("bad")
    # A sparse file of a terabyte takes no space and no time.
    begun = time.monotonic()
    image = container_with("dd if=/dev/zero of=/huge bs=1 count=1 seek=1000000000000 2>/dev/null").commit("sparse")
    assert image.size < 10 << 20 and time.monotonic() - begun < 30
    assert box.run("sparse", ["stat", "-c", "%s", "/huge"]).stdout == b"1000000000001\n"
    for wrong in ({"changes": ["RUN x"]}, {"compression": "rar"}, {"reference": "UPPER"}):
        with pytest.raises(coble.CobleError) as caught:
            box.containers.list(all=True)[0].commit(**wrong)  # type: ignore[arg-type]
        assert caught.value.kind in ("InvalidArgument", "InvalidReference")


# --- lists, mounts ----------------------------------------------------------------------------------------------------


def test_filters(engine: coble.Engine) -> None:
    for number, name in enumerate(["a:1", "b:1", "example.org/team/c:2"]):
        data = archives.tar(archives.file("f", name.encode()))
        config = {"Labels": {"n": str(number), **({"odd": ""} if number % 2 else {})}}
        image = archives.Image([data], config, name, configuration={"created": f"200{number}-01-01T00:00:00Z"})
        with tarfile_on_disk(archives.docker_archive(image)) as source:
            engine.images.load(source)
    nameless = engine.images.get("a:1").id
    engine.images.untag("a:1")
    names = lambda **filters: sorted(r.split("/")[-1] for i in engine.images.list(filters=filters) for r in i.references or ["none"])  # noqa: E731
    assert names() == ["b:1", "c:2", "none"]
    assert names(dangling=True) == ["none"] and names(dangling="false") == ["b:1", "c:2"]
    assert names(label="odd") == ["b:1"] and names(label=["n=2"]) == ["c:2"] and names(label=["n=2", "odd"]) == []
    assert names(**{"label!": "odd"}) == ["c:2", "none"]
    assert names(reference="b") == ["b:1"] and names(reference=["b*", "example.org/*/c"]) == ["b:1", "c:2"]
    assert names(before="b:1") == ["none"] and names(since="b:1") == ["c:2"]
    assert names(until="2001-06-01") == ["b:1", "none"] and names(until="1h") == ["b:1", "c:2", "none"]
    assert names(since=nameless) == ["b:1", "c:2"]
    assert len(engine.images.list(filters=["dangling=true"])) == 1
    for wrong in ({"color": "red"}, {"dangling": "maybe"}, {"until": "soon"}):
        with pytest.raises(coble.InvalidArgumentError):
            engine.images.list(filters=wrong)
    with pytest.raises(coble.ImageNotFoundError):
        engine.images.list(filters={"before": "missing"})


def test_mount(box: coble.Engine, store: Store) -> None:
    before = Path("/proc/self/mountinfo").read_text()
    mount = box.images.mount("box")
    assert (mount.path / "etc/passwd").read_text() == sh(box, "cat /etc/passwd")
    assert Path("/proc/self/mountinfo").read_text() == before, "the host sees a mount"
    with pytest.raises(OSError) as caught:
        (mount.path / "etc/new").write_text("x")
    assert caught.value.errno == 30
    fd = os.open("etc/passwd", os.O_RDONLY, dir_fd=mount.fileno())
    os.close(fd)
    # The image goes, and what is mounted stays until it is closed.
    layer = next((store.data_root / "layers").iterdir())
    box.images.remove("box")
    assert (mount.path / "etc/passwd").exists() and layer.exists()
    mount.close()
    mount.close()
    with pytest.raises(coble.ClosedError):
        mount.path
    assert not layer.exists()
    with pytest.raises(coble.ImageNotFoundError):
        box.images.mount("box")


def test_a_mount_goes_with_its_process(box: coble.Engine, store: Store) -> None:
    program = f"""
import coble, os, signal
engine = coble.Engine(data_root={str(store.data_root)!r}, run_root={str(store.run_root)!r})
mount = engine.images.mount("box")
os.listdir(mount.path)
os.kill(os.getpid(), signal.SIGKILL)
"""
    assert subprocess.run([sys.executable, "-c", program]).returncode == -signal.SIGKILL
    box.images.remove("box")
    with store.engine() as again:
        assert again.verify() == []
    assert list((store.data_root / "layers").iterdir()) == []


# --- prune, disk usage ------------------------------------------------------------------------------------------------


def du(path: Path) -> int:
    """Allocated bytes, as `du` counts them."""
    if MODE == "single":
        # The work directory of an overlay has no permissions, which stops `du`.
        for work in path.glob("containers/*/work/work"):
            work.chmod(0o700)
    if MODE == "ranges":
        out = run(sys.executable, archives.__file__.replace("archives.py", "mapped.py"), "du", "-s", "--block-size=1", path)
    else:
        out = run("du", "-s", "--block-size=1", path)
    return int(out.split()[0])


def test_disk_usage_is_what_du_sees(box: coble.Engine, store: Store, assets: Assets) -> None:
    make(box, "two", ("big", os.urandom(300_000)), ("small", b"x"))
    container = box.containers.create("box", ["sh", "-c", "head -c 200000 /dev/urandom > /f; ln /f /g; echo log"])
    container.start()
    container.wait()
    derived = container.commit("derived")
    usage = box.disk_usage()
    assert usage.total == du(store.data_root)
    assert usage.total == usage.blobs + usage.layers + usage.writable + usage.logs + usage.other
    assert usage.blobs + usage.layers >= sum(image.unique for image in usage.images)
    by_id = {image.id: image for image in usage.images}
    boxed, two, made = by_id[box.images.get("box").id], by_id[box.images.get("two").id], by_id[derived.id]
    assert all(image.size == image.shared + image.unique for image in usage.images)
    assert boxed.shared > 0 and made.shared == boxed.shared and two.shared == 0
    assert usage.blobs + usage.layers == boxed.unique + two.unique + made.unique + boxed.shared
    (one,) = usage.containers
    assert 200_000 <= one.writable < 300_000 and boxed.containers == 1
    assert usage.reclaimable == two.size + made.unique
    pruned = box.images.prune(all=True)
    assert set(pruned.deleted) == {two.id, made.id} and pruned.reclaimed == usage.reclaimable
    after = box.disk_usage()
    assert after.blobs + after.layers == usage.blobs + usage.layers - pruned.reclaimed
    assert after.total == du(store.data_root) and after.reclaimable == 0


def test_prune(engine: coble.Engine, assets: Assets) -> None:
    assert engine.images.prune().to_dict() == {"untagged": [], "deleted": [], "reclaimed": 0}
    engine.images.import_rootfs(assets.busybox, "used")
    engine.containers.create("used", ["x"])
    for n in range(4):
        make(engine, f"i{n}", ("f", os.urandom(400_000)), labels={"n": str(n)})
    dangling = engine.images.get("i0").id
    engine.images.untag("i0")
    assert engine.images.prune().deleted == [dangling]
    assert engine.images.prune(all=True, filters={"label": "n=1"}).untagged == ["docker.io/library/i1:latest"]
    assert engine.images.prune(all=True, filters={"until": "1h"}).deleted == []
    # The one that was used last stays longest.
    engine.images.tag("i2", "again")
    used = engine.containers.create("i2", ["x"])
    used.remove()
    usage = engine.disk_usage()
    have = usage.blobs + usage.layers
    assert engine.images.prune(all=True, max_used_space=have).deleted == []
    assert engine.images.prune(all=True, reserved_space=have).deleted == []
    assert engine.images.prune(all=True, max_used_space=have - 1).untagged == ["docker.io/library/i3:latest"]
    assert engine.images.prune(all=True, min_free_space=1).deleted == []
    done = engine.images.prune(all=True, min_free_space="1000t")
    assert sorted(done.untagged) == ["docker.io/library/again:latest", "docker.io/library/i2:latest"]
    assert [image.references for image in engine.images.list()] == [["docker.io/library/used:latest"]]


# --- scrub ------------------------------------------------------------------------------------------------------------


def tree_of(store: Store) -> Path:
    (layer,) = (store.data_root / "layers").iterdir()
    return layer / "fs"


def in_tree(store: Store, script: str) -> None:
    """Does something to the unpacked layer, as its owner."""
    command = ["sh", "-c", script]
    if MODE == "ranges":
        command = [sys.executable, archives.__file__.replace("archives.py", "mapped.py"), *command]
    subprocess.run(command, check=True, cwd=tree_of(store))


@pytest.mark.parametrize(
    "damage",
    [
        "printf x | dd of=etc/passwd conv=notrunc 2>/dev/null",
        "rm etc/passwd",
        "echo > extra",
        "chmod 600 etc/passwd",
        "touch -d @5 etc/passwd",
        "rm bin/ls; ln -s /etc bin/ls",
        "rm -r etc",
    ],
)
def test_a_damaged_layer_is_found_and_mended(box: coble.Engine, store: Store, damage: str) -> None:
    passwd = sh(box, "cat /etc/passwd")
    assert box.scrub().problems == []
    in_tree(store, damage)
    (problem,) = box.scrub().problems
    assert (problem.kind, problem.images, problem.repaired) == ("layer", ["docker.io/library/box:latest"], False)
    (problem,) = box.scrub(repair=True).problems
    assert problem.repaired
    scrub = box.scrub()
    assert scrub.problems == [] and scrub.layers == 1 and scrub.blobs == 3
    assert sh(box, "cat /etc/passwd") == passwd


def test_a_layer_in_use_is_not_taken_away(box: coble.Engine, store: Store) -> None:
    with box.containers.run("box", ["sleep", "1000"]) as container:
        in_tree(store, "echo > extra")
        (problem,) = box.scrub(repair=True).problems
        assert not problem.repaired and container.name in problem.message
        assert container.exec(["true"]).exit_code == 0
    assert box.scrub(repair=True).problems[0].repaired
    assert box.scrub().problems == []


def test_a_damaged_blob_is_found_and_fetched_again(engine: coble.Engine, store: Store, tmp_path: Path) -> None:
    image = archives.Image([archives.tar(archives.file("f", b"x" * 9999))], {}, "x:1")
    archives.write_oci_layout(tmp_path / "in", image)
    engine.images.load(tmp_path / "in")
    details = engine.images.inspect("x:1")
    path = lambda digest: store.data_root / "content/blobs" / digest.replace(":", "/")  # noqa: E731
    for digest in (details.layers[0].digest, details.id, details.digest):
        data = path(digest).read_bytes()
        path(digest).write_bytes(bytes([data[0] ^ 1]) + data[1:])
    problems = engine.scrub().problems
    blobs = {problem.object for problem in problems if problem.kind == "blob"}
    assert blobs == {details.layers[0].digest, details.id, details.digest}
    # The layer cannot be compared with a blob that is damaged, and that is said.
    assert [problem.images for problem in problems if problem.kind == "layer"] == [["docker.io/library/x:1"]]
    mended = {problem.object: problem.repaired for problem in engine.scrub(repair=True).problems if problem.kind == "blob"}
    assert mended == {details.layers[0].digest: False, details.id: True, details.digest: True}
    assert not path(details.layers[0].digest).exists()
    assert {problem.object for problem in engine.scrub().problems if problem.kind == "blob"} == {details.layers[0].digest}
    engine.images.load(tmp_path / "in")
    assert engine.scrub().problems == [] and engine.verify() == []


LOADER = """
import sys, coble
data_root, run_root, path, *words = sys.argv[1:]
with coble.Engine(data_root, run_root) as engine:
    if "repair" in words:
        assert [problem.kind for problem in engine.scrub(repair=True).problems]
    engine.images.load(path)
    if "on" in words:
        print("ready", flush=True)
        while True:
            engine.images.load(path)
"""


def damage(store: Store, digest: str) -> Path:
    path = store.data_root / "content/blobs" / digest.replace(":", "/")
    data = path.read_bytes()
    path.write_bytes(bytes([data[0] ^ 1]) + data[1:])
    return path


@pytest.mark.parametrize("words", [[], ["repair"]], ids=["load", "repair and load"])
def test_a_load_by_another_process_in_the_middle_of_a_repair(engine: coble.Engine, store: Store, tmp_path: Path, words: list[str]) -> None:
    image = archives.Image([archives.tar(archives.file("f", b"x" * 9999))], {}, "x:1")
    archives.write_oci_layout(tmp_path / "in", image)
    engine.images.load(tmp_path / "in")
    digest = engine.images.inspect("x:1").layers[0].digest
    path = damage(store, digest)
    loaded = []

    def hear(progress: coble.Progress) -> None:
        # It was read to its end, and is not judged yet.
        if progress.digest == digest and progress.current == progress.total and not loaded:
            loaded.append(progress)
            command = [sys.executable, "-c", LOADER, store.data_root, store.run_root, tmp_path / "in", *words]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)

    problems = engine.scrub(repair=True, progress=hear).problems
    (problem,) = (problem for problem in problems if problem.kind == "blob")
    assert loaded and problem.object == digest
    # What the other has brought is not taken away. Where it found the damaged one and left it at that, it is said what is missing now.
    assert path.exists() == problem.repaired == ("repair" in words), problem
    assert "again" in problem.message and any(digest in line for line in engine.verify()) != path.exists()
    engine.images.load(tmp_path / "in")
    assert engine.scrub().problems == [] and engine.verify() == []


def test_repairs_while_another_process_loads_all_the_time(engine: coble.Engine, store: Store, tmp_path: Path) -> None:
    layers = [archives.tar(archives.file(f"f{n}", bytes([n]) * 99_999)) for n in range(3)]
    archives.write_oci_layout(tmp_path / "in", archives.Image(layers, {}, "x:1"))
    engine.images.load(tmp_path / "in")
    details = engine.images.inspect("x:1")
    command = [sys.executable, "-c", LOADER, store.data_root, store.run_root, tmp_path / "in", "on"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as loader:
        try:
            assert loader.stdout is not None and loader.stdout.readline() == b"ready\n"
            for turn in range(6):
                damaged = details.layers[turn % 3].digest
                with contextlib.suppress(FileNotFoundError):
                    damage(store, damaged)
                engine.scrub(repair=True)
            assert loader.poll() is None, "a load has failed"
        finally:
            loader.kill()
    engine.scrub(repair=True)
    engine.images.load(tmp_path / "in")
    assert engine.scrub().problems == [] and engine.verify() == []
    assert [layer.digest for layer in engine.images.inspect("x:1").layers] == [layer.digest for layer in details.layers]


def test_what_belongs_to_nothing_is_found_and_removed(box: coble.Engine, store: Store) -> None:
    blob, layer = f"content/blobs/sha256/{'0' * 64}", "layers/999999"
    (store.data_root / blob).write_bytes(b"x" * 1000)
    for name in (layer, "layers/lost+found"):
        (store.data_root / name).mkdir()
        (store.data_root / name / "fs").mkdir()
    # Of a container: that is removed by whoever looks.
    container = store.data_root / "containers" / ("0" * 64)
    container.mkdir(parents=True)
    # As long as somebody is at work on images, it could be his.
    with box.images.mount("box"):
        assert box.scrub(repair=True).problems == [] and not container.exists() and box.verify() == []
    assert (store.data_root / blob).exists()
    said = box.verify()
    assert len(said) == 2 and all("belongs to nothing" in line for line in said)
    for repair in (False, True):
        problems = box.scrub(repair=repair).problems
        assert {problem.object for problem in problems} == {blob, layer}
        assert {(problem.kind, problem.repaired) for problem in problems} == {("stray", repair)}
    assert box.verify() == [] and box.scrub().problems == []
    assert not any((store.data_root / name).exists() for name in (blob, layer))
    # What is not ours is left alone.
    (store.data_root / "layers/lost+found/fs").rmdir()
    (store.data_root / "layers/lost+found").rmdir()
    assert sh(box, "echo fine") == "fine\n"


# --- the other surfaces -----------------------------------------------------------------------------------------------


def test_asyncio(store: Store, assets: Assets, tmp_path: Path) -> None:
    import asyncio

    async def work() -> None:
        async with coble.aio.Engine(data_root=store.data_root, run_root=store.run_root) as engine:
            image = await engine.images.import_rootfs(assets.busybox, "box")
            await engine.images.save([image], tmp_path / "saved")
            container = await engine.containers.create("box", ["sh", "-c", "echo > /x"])
            await container.start()
            await container.wait()
            assert [change.path for change in await container.diff()] == ["/x"]
            made = await container.commit("made")
            assert [change.path for change in await engine.images.diff(image, made)] == ["/x"]
            await container.export(tmp_path / "exported")
            await container.remove()
            with await engine.images.mount("made") as root:
                assert (root / "x").exists()
            assert (await engine.disk_usage()).total > 0 and (await engine.scrub()).problems == []
            assert len((await engine.images.prune(all=True)).deleted) == 2

    asyncio.run(work())
    assert store.litter() == []


# --- many at once -----------------------------------------------------------------------------------------------------

WORKER = """
import os, random, signal, sys, time
import coble

data, run, folder, seconds, number = sys.argv[1:]
choose = random.Random(int(number))
engine = coble.Engine(data_root=data, run_root=run)
archives = sorted(os.listdir(folder))
end = time.monotonic() + float(seconds)
expected = ("ImageNotFound", "InUse", "NameInUse", "ContainerNotFound", "InvalidState")
done = 0
while time.monotonic() < end:
    what = choose.choice(["load", "load", "tag", "remove", "prune", "save", "use", "list"])
    name = choose.choice(archives)
    try:
        if what == "load":
            engine.images.load(os.path.join(folder, name))
        elif what == "tag":
            engine.images.tag(name.split(".")[0], f"more{choose.randrange(5)}")
        elif what == "remove":
            engine.images.remove(choose.choice([name.split(".")[0], f"more{choose.randrange(5)}"]))
        elif what == "prune":
            engine.images.prune(all=choose.random() < 0.5)
        elif what == "save":
            engine.images.save(name.split(".")[0], "/dev/null")
        elif what == "use":
            # An image in use is never lost.
            container = engine.containers.create(name.split(".")[0], ["x"], pull="never")
            engine.images.inspect(container.image_id)
            time.sleep(0.01)
            engine.images.inspect(container.image_id)
            container.remove()
        else:
            engine.images.list()
        done += 1
    except coble.CobleError as error:
        if what == "use" and error.kind != "ImageNotFound" or error.kind not in expected:
            print(what, name, error.kind, error, flush=True)
            sys.exit(3)
engine.close()
print(done, flush=True)
"""


def test_many_processes_on_one_store(store: Store, tmp_path: Path) -> None:
    """32 processes that load, name, use, remove and prune, some of them killed in the middle."""
    seconds = float(os.environ.get("COBLE_TEST_STRESS_SECONDS", "10"))
    folder = tmp_path / "archives"
    folder.mkdir()
    shared = archives.tar(archives.file("shared", os.urandom(200_000)))
    for n in range(6):
        own = archives.tar(archives.file(f"own{n}", os.urandom(100_000)))
        image = archives.Image([shared, own] if n % 2 else [own], {"Cmd": ["x"]}, f"image{n}:latest")
        (folder / f"image{n}.tar").write_bytes(archives.docker_archive(image))
    with store.engine() as engine:
        before = engine.disk_usage()
    choose = random.Random(7)
    begin = lambda number: subprocess.Popen(  # noqa: E731
        [sys.executable, "-c", WORKER, str(store.data_root), str(store.run_root), str(folder), str(seconds), str(number)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    workers = [begin(number) for number in range(32)]
    end = time.monotonic() + seconds
    killed = []
    while time.monotonic() < end:
        time.sleep(seconds / 20)
        victim = choose.choice(workers)
        if victim not in killed and victim.poll() is None:
            victim.kill()
            killed.append(victim)
    said = [(worker, *worker.communicate(timeout=seconds + 120)) for worker in workers]
    failed = [(worker.returncode, out) for worker, out, _ in said if worker not in killed and worker.returncode != 0]
    assert failed == []
    assert sum(int(out) for worker, out, _ in said if worker not in killed) > 32
    with store.engine() as engine:
        assert engine.verify() == [] and engine.scrub().problems == []
        for name in [container.name for container in engine.containers.list(all=True)]:
            engine.containers.get(name).remove(force=True)
        engine.images.prune(all=True)
        assert engine.images.list() == [] and engine.verify() == []
        after = engine.disk_usage()
        assert (after.blobs, after.layers, after.writable, after.images) == (before.blobs, before.layers, before.writable, [])
    assert store.litter() == []


@pytest.fixture
def busy_archive(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "busy.tar"
    layers = [archives.tar(archives.file(f"f{n}", os.urandom(2_000_000))) for n in range(3)]
    path.write_bytes(archives.docker_archive(archives.Image(layers, {}, "busy:1")))
    yield path


def test_a_prune_does_not_disturb_a_load(engine: coble.Engine, store: Store, busy_archive: Path) -> None:
    """What is on its way in has no image yet, and stays."""
    stop = threading.Event()

    def prune() -> None:
        with store.engine() as other:
            while not stop.is_set():
                other.images.prune()

    pruning = threading.Thread(target=prune)
    pruning.start()
    try:
        for _ in range(5):
            (image,) = engine.images.load(busy_archive)
            assert engine.verify() == []
            engine.images.remove(image, force=True)
    finally:
        stop.set()
        pruning.join()


def test_a_store_below_dev(tmp_path: Path) -> None:
    """Nothing that a container's start prepares is in the way of its layers, wherever they are."""
    shm = Path("/dev/shm")
    if not os.access(shm, os.W_OK):
        pytest.skip("needs a /dev/shm that may be written")
    place = Path(tempfile.mkdtemp(prefix="coble-tests-", dir=shm))
    hook = {"createContainer": [{"path": "/bin/sh", "args": ["sh", "-c", f"test -d {place}/data && echo ran > {tmp_path}/hook"]}]}
    try:
        with coble.Engine(data_root=place / "data", run_root=place / "run") as engine:
            engine.images.from_host(["sh", "cat"], "box")
            assert engine.run("box", ["sh", "-c", "echo kept > /file; cat /file"], hooks=hook).stdout == b"kept\n"
            assert (tmp_path / "hook").read_text() == "ran\n"
            container = engine.containers.create("box", ["sh", "-c", "echo written > /file"])
            container.start()
            container.wait(timeout=60)
            container.copy_to(tmp_path / "hook", "/copied")
            assert container.read_file("/file") == b"written\n" and container.read_file("/copied") == b"ran\n"
            container.remove()
    finally:
        remove_tree(place)
