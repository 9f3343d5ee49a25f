"""Archives that want to reach the host, or to break what reads them.

Each gives a typed error, or lands inside the layer; the canary is as before (its fixture looks), and the store is clean.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import resource
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import archives as a
import coble
import pytest
from conftest import Assets, Store

Entries = list[bytes]

#: Kinds that say "the input is bad". Anything else (a defect, an I/O error) is a failure of the test.
BAD_INPUT = {"InvalidArchive", "InvalidImage", "InvalidDigest", "InvalidReference", "DigestMismatch", "LimitExceeded"}


def chain(canary: Path, depth: int) -> Entries:
    links = [a.symlink("l0", str(canary))]
    links += [a.symlink(f"l{number}", f"l{number - 1}") for number in range(1, depth)]
    return [*links, a.file(f"l{depth - 1}/file", b"evil"), a.file(f"l{depth - 1}/new", b"evil")]


CASES: dict[str, Callable[[str], list[Entries]]] = {
    # SEC-01: an entry that is the root itself.
    **{
        f"root as type {kind.decode()} {name!r}": (lambda c, name=name, kind=kind: [[a.entry(name, type=kind, linkname=c)], [a.file("x", b"evil"), a.file("file", b"evil")]])
        for name in (b".", b"/.", b"./", b"/", b"", b"./.", b"x/..", b"//")
        for kind in (a.SYMLINK, a.LINK, a.FILE, a.CHAR, a.FIFO)
    },
    # SEC-02, SEC-130: a link and then something through it.
    "file through an absolute link": lambda c: [[a.symlink("a", c), a.file("a/file", b"evil"), a.file("a/new", b"evil")]],
    "file through a relative link": lambda c: [[a.symlink("a", "../" * 40 + c[1:]), a.file("a/file", b"evil"), a.file("a/new", b"evil")]],
    "file through a chain of links": lambda c: [chain(Path(c), 40)],
    "file through a loop": lambda c: [[a.symlink("a", "b"), a.symlink("b", "a"), a.file("a/file", b"evil")]],
    "link of an earlier layer": lambda c: [[a.symlink("a", c)], [a.file("a/file", b"evil"), a.file("a/new", b"evil"), a.directory("a/dir/")]],
    "link of an earlier layer in the middle": lambda c: [[a.directory("x/"), a.symlink("x/a", c)], [a.file("x/a/file", b"evil")]],
    "file over a link": lambda c: [[a.symlink("a", c + "/file"), a.file("a", b"evil")]],
    "file over a link of an earlier layer": lambda c: [[a.symlink("a", c + "/file")], [a.file("a", b"evil")]],
    "dot dot": lambda c: [[a.file("../" * 40 + c[1:] + "/file", b"evil"), a.file("x/../../../../" + c[1:] + "/new", b"evil")]],
    "absolute name": lambda c: [[a.file(c + "/file", b"evil")]],
    "absolute name in a PAX record": lambda c: [[a.entry("x", b"evil", records={"path": (c + "/file").encode()})]],
    "dot dot in a GNU long name": lambda c: [[a.gnu_long(("../" * 60 + c[1:] + "/file").encode()), a.file("x", b"evil")]],
    "dot dot in the prefix field": lambda c: [[a.header(b"file", prefix=("../" * 20 + c[1:]).encode()[:155], size=4) + a.padded(b"evil")]],
    # SEC-03: hard links.
    "hard link to the host": lambda c: [[a.hardlink("h", c + "/file"), a.file("h", b"evil")]],
    "hard link with dot dot": lambda c: [[a.hardlink("h", "../" * 40 + c[1:] + "/file"), a.file("h", b"evil")]],
    "hard link to a link": lambda c: [[a.symlink("s", c + "/file"), a.hardlink("h", "s"), a.file("h", b"evil")]],
    "hard link through a link": lambda c: [[a.symlink("s", c), a.hardlink("h", "s/file"), a.file("h", b"evil")]],
    "hard link through a link of an earlier layer": lambda c: [[a.symlink("s", c)], [a.hardlink("h", "s/file"), a.file("h", b"evil")]],
    "hard link of a link of an earlier layer": lambda c: [[a.symlink("s", c + "/file")], [a.hardlink("h", "s"), a.file("h", b"evil")]],
    "hard link to itself": lambda c: [[a.hardlink("h", "h")]],
    "hard link to a directory": lambda c: [[a.directory("d/"), a.hardlink("h", "d")]],
    "hard link with content": lambda c: [[a.file("f", b"x"), a.hardlink("h", "f", size=4) + a.padded(b"evil")]],
    # SEC-04, SEC-05: attributes and parents through links.
    "directory over a link": lambda c: [[a.symlink("d", c), a.directory("d/", mode=0o777)]],
    "directory over a link to a file": lambda c: [[a.symlink("d", c + "/file"), a.directory("d", mode=0o777, mtime=1)]],
    "directory over a link of an earlier layer": lambda c: [[a.symlink("d", c)], [a.directory("d/", mode=0o777, mtime=1)]],
    "parents through a link": lambda c: [[a.symlink("d", c), a.directory("d/new/deep/"), a.file("d/new/deep/x", b"evil")]],
    "attributes of a link": lambda c: [[a.entry("s", type=a.SYMLINK, linkname=c + "/file", mode=0o777, uid=1, mtime=1, records={"SCHILY.xattr.user.x": b"evil"})]],
    # SEC-07: whiteouts.
    "whiteout through a link": lambda c: [[a.symlink("d", c)], [a.file("d/.wh.file"), a.file("d/.wh..wh..opq")]],
    "whiteout through a link of the same layer": lambda c: [[a.symlink("d", c), a.file("d/.wh.file"), a.file("d/.wh..wh..opq")]],
    "whiteout of dot": lambda c: [[a.file(".wh..")], [a.file("x/.wh..")], [a.file(".wh...")], [a.file("x/.wh...")]],
    "whiteout of nothing": lambda c: [[a.file(".wh.")], [a.file("x/.wh.")]],
    "reserved whiteouts": lambda c: [[a.directory(".wh..wh.plnk/"), a.file(".wh..wh.aufs"), a.file(".wh..wh.plnk/1.2", b"evil"), a.file(".wh..wh.orph", b"x")]],
    "whiteout with a slash in it": lambda c: [[a.file(".wh.../" + c[1:] + "/file")]],
    "a parent that is a whiteout": lambda c: [[a.file(".wh.x/file", b"evil"), a.directory(".wh.y/"), a.file(".wh.y/z", b"evil")]],
    # SEC-12: names and attributes.
    "name of 300 bytes": lambda c: [[a.file("n" * 300, b"x")]],
    "name of 64 KiB": lambda c: [[a.file("n/" * 32768, b"x")]],
    "deep name": lambda c: [[a.file("/".join(["d" * 250] * 200), b"x")]],
    "NUL in a name": lambda c: [[a.entry("x", b"evil", records={"path": b"a\0../../b"})]],
    "newline and escape in a name": lambda c: [[a.file("a\n\x1b[31mb", b"x")]],
    "attribute of 1 MiB": lambda c: [[a.entry("x", b"", records={"SCHILY.xattr.user.big": b"v" * (1 << 20)})]],
    "attribute with an odd name": lambda c: [[a.entry("x", b"", records={"SCHILY.xattr." + name: b"v"})] for name in ("", "user.", "trusted.overlay.opaque", "security.selinux", "user." + "n" * 300)],
    "an overlay attribute": lambda c: [[a.directory("d/"), a.entry("d/", type=a.DIR, records={"SCHILY.xattr.user.overlay.redirect": c.encode(), "SCHILY.xattr.trusted.overlay.redirect": c.encode(), "SCHILY.xattr.user.overlay.opaque": b"y"})]],
    "too many PAX records": lambda c: [[a.entry("x", b"", records={f"SCHILY.xattr.user.n{number}": b"v" * 100 for number in range(20000)})]],
    # SEC-06: sizes and headers.
    "PAX size that hides an entry": lambda c: [[a.pax({"size": b"0"}) + a.header(b"x", size=1024) + a.padded(a.header(b"smuggled", size=0) + b"\0" * 512)]],
    "PAX size that is huge": lambda c: [[a.pax({"size": b"9" * 30}) + a.header(b"x", size=0)]],
    "PAX size twice": lambda c: [[a.pax({"size": b"3"}) + a.pax({"size": b"512"}) + a.header(b"x", size=3) + a.padded(b"abc")]],
    "negative size": lambda c: [[a.header(b"x", size=-512)]],
    "size that is no number": lambda c: [[a.header(b"x", size=b"zzzzzzzzzzz\0")]],
    "size beyond the end": lambda c: [[a.header(b"x", size=1 << 40)]],
    "PAX record with a wrong length": lambda c: [[a.header(b"p", type=b"x", size=20) + a.padded(b"999 path=evil\n      "), a.file("x", b"")]],
    "PAX record without an end": lambda c: [[a.header(b"p", type=b"x", size=8) + a.padded(b"12 path=")]],
    "PAX header without an entry": lambda c: [[a.pax({"path": b"x"})]],
    "a huge PAX header": lambda c: [[a.header(b"p", type=b"x", size=1 << 34)]],
    "a huge GNU long name": lambda c: [[a.header(b"././@LongLink", type=b"L", size=1 << 34)]],
    "a wrong checksum": lambda c: [[a.header(b"x", checksum=b"000000\0 ")]],
    "garbage": lambda c: [[b"\xff" * 4096]],
    "an unknown type": lambda c: [[a.entry("x", b"data", type=b"Q"), a.file("y", b"after")]],
    "a device": lambda c: [[a.entry("disk", type=a.BLOCKDEV, major=8, minor=0, mode=0o666), a.entry("mem", type=a.CHAR, major=1, minor=1, mode=0o666)]],
    "an odd device number": lambda c: [[a.entry("disk", type=a.BLOCKDEV, major=-1, minor=b"zzzzzzz\0")]],
    "an owner out of range": lambda c: [[a.file("x", uid=1 << 31, gid=(1 << 32) - 1)], [a.file("y", uid=-1)], [a.entry("z", records={"uid": b"4294967295", "gid": b"99999999999999"})]],
    "a time out of range": lambda c: [[a.file("x", mtime=-(1 << 40)), a.file("y", mtime=1 << 60)], [a.entry("z", records={"mtime": b"nan"})], [a.entry("z", records={"mtime": b"1e400"})]],
    "replacements back and forth": lambda c: [[a.directory("x/"), a.file("x/y", b"1"), a.file("x", b"2"), a.directory("x/"), a.symlink("x", c), a.directory("x/"), a.file("x/file", b"evil")]],
    "a nested archive as content": lambda c: [[a.file("nested.tar", a.tar(a.file("../../evil", b"x")))]],
}  # fmt: skip


@pytest.mark.parametrize("how", ["import", "load"])
@pytest.mark.parametrize("case", CASES)
def test_hostile_archive(engine: coble.Engine, store: Store, canary: Path, tmp_path: Path, case: str, how: str) -> None:
    layers = [a.tar(*entries) for entries in CASES[case](str(canary))]
    try:
        if how == "load":
            a.write_oci_layout(tmp_path / "image", a.Image(layers, {}, "hostile:1", compression="plain"))
            engine.images.load(tmp_path / "image")
        else:
            for number, layer in enumerate(layers):
                (tmp_path / f"{number}.tar").write_bytes(layer)
                engine.images.import_rootfs(tmp_path / f"{number}.tar", f"hostile:{number}")
        for image in engine.images.list():
            container = engine.containers.create(image.id, ["/no-program"])
            with pytest.raises(coble.CobleError) as caught:
                container.start()
            assert caught.value.kind in BAD_INPUT | {"CommandNotFound", "CommandNotExecutable"}, caught.value
            container.remove()
    except coble.CobleError as error:
        assert error.kind in BAD_INPUT, f"{error.kind}: {error}"
        if how == "load":
            assert engine.images.list() == [], "an image of a refused archive is in the store"
    assert engine.verify() == []
    assert store.litter() == []


def test_whiteouts_of_a_layer_hide_what_is_below_only(engine: coble.Engine, assets: Assets, tmp_path: Path) -> None:
    """Opaque and whiteouts in any order with their siblings; `.wh.` names never show."""
    layers = [
        assets.busybox.read_bytes(),
        a.tar(a.directory("d/"), a.file("d/old", b"old"), a.file("d/older", b"x"), a.file("gone", b"x"), a.directory("e/"), a.file("e/keep", b"1"), a.file("e/gone", b"2")),
        a.tar(a.directory("d/"), a.file("d/new", b"new"), a.file("d/.wh..wh..opq"), a.file("d/newer", b"n"), a.file(".wh.gone"), a.file("e/.wh.gone")),
    ]
    a.write_oci_layout(tmp_path / "image", a.Image(layers, {}, "whiteouts:1"))
    engine.images.load(tmp_path / "image")
    text = engine.run("whiteouts:1", ["sh", "-c", "ls -A /d /e; ls /gone 2>&1; find / -xdev -name '.wh*'; rm -r /d/new; mkdir /d/new; ls -A /d"], check=True).stdout.decode()
    assert text.split("ls: ")[0].split() == ["/d:", "new", "newer", "/e:", "keep"]
    assert text.splitlines()[-2:] == ["new", "newer"]


# --- images whose words do not match their content -------------------------------------------------------------------


def refused(engine: coble.Engine, store: Store, path: Path, kinds: set[str] = BAD_INPUT) -> coble.CobleError:
    with pytest.raises(coble.CobleError) as caught:
        engine.images.load(path)
    assert caught.value.kind in kinds, f"{caught.value.kind}: {caught.value}"
    assert engine.images.list() == []
    assert engine.verify() == []
    assert store.litter() == []
    blobs = store.data_root / "content/blobs/sha256"
    assert not blobs.is_dir() or os.listdir(blobs) == []
    return caught.value


@pytest.fixture
def small(assets: Assets) -> a.Image:
    return a.Image([a.tar(a.file("a", b"a")), a.tar(a.file("b", b"b" * 10000))], {"Cmd": ["x"]}, "small:1")


@pytest.mark.parametrize("victim", ["layer", "config", "manifest"])
@pytest.mark.parametrize("damage", ["changed", "shorter", "longer", "missing", "link", "directory"])
def test_content_that_is_not_what_its_digest_says(engine: coble.Engine, store: Store, small: a.Image, tmp_path: Path, victim: str, damage: str, canary: Path) -> None:
    index = a.write_oci_layout(tmp_path / "image", small)
    blobs = tmp_path / "image/blobs/sha256"
    manifest_digest = index["manifests"][0]["digest"].split(":")[1]
    manifest = json.loads((blobs / manifest_digest).read_text())
    name = {"layer": manifest["layers"][1]["digest"], "config": manifest["config"]["digest"], "manifest": "sha256:" + manifest_digest}[victim].split(":")[1]
    path = blobs / name
    content = path.read_bytes()
    path.unlink()
    if damage == "changed":
        path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    elif damage == "shorter":
        path.write_bytes(content[:-1])
    elif damage == "longer":
        path.write_bytes(content + b"\n")
    elif damage == "link":
        # SEC-15: what a link of the layout points to is not the image's.
        (canary.parent / "secret").write_bytes(content)
        path.symlink_to(canary.parent / "secret")
    elif damage == "directory":
        path.mkdir()
    refused(engine, store, tmp_path / "image", BAD_INPUT | {"PathNotFound", "Io"})


@pytest.mark.once
@pytest.mark.parametrize("file", ["index.json", "oci-layout"])
@pytest.mark.parametrize("content", [None, b"", b"{", b"[]", b"null", b'{"imageLayoutVersion": "9.9.9"}', b'{"schemaVersion": 2, "manifests": 5}', b"[" * 100_000, b'"' + b"x" * (1 << 25)], ids=lambda c: repr(c)[:30])
def test_odd_layout_files(engine: coble.Engine, store: Store, small: a.Image, tmp_path: Path, file: str, content: bytes | None) -> None:
    a.write_oci_layout(tmp_path / "image", small)
    (tmp_path / "image" / file).unlink()
    if content is not None:
        (tmp_path / "image" / file).write_bytes(content)
    refused(engine, store, tmp_path / "image", BAD_INPUT | {"PathNotFound"})


@pytest.mark.parametrize("file", ["index.json", "oci-layout", "blobs", "blobs/sha256"])
def test_links_in_a_layout(engine: coble.Engine, store: Store, small: a.Image, tmp_path: Path, file: str) -> None:
    """SEC-15."""
    a.write_oci_layout(tmp_path / "image", small)
    (tmp_path / "image" / file).rename(tmp_path / "elsewhere")
    (tmp_path / "image" / file).symlink_to(tmp_path / "elsewhere")
    refused(engine, store, tmp_path / "image", BAD_INPUT | {"PathNotFound", "Io"})


@pytest.mark.once
@pytest.mark.parametrize(
    "digest", ["sha256:../../../../etc/passwd", "sha256:" + "0" * 63, "sha256:" + "A" * 64, "sha256:" + "0" * 65, "md5:" + "0" * 32, "", "sha256", ":", 5, None], ids=repr
)
@pytest.mark.parametrize("where", ["manifest", "config", "layer"])
def test_digests_that_are_none(engine: coble.Engine, store: Store, small: a.Image, tmp_path: Path, digest: object, where: str) -> None:
    """SEC-14."""
    index = a.write_oci_layout(tmp_path / "image", small)
    blobs = tmp_path / "image/blobs/sha256"
    if where == "manifest":
        index["manifests"][0]["digest"] = digest
    else:
        manifest = json.loads((blobs / index["manifests"][0]["digest"].split(":")[1]).read_text())
        (manifest["config"] if where == "config" else manifest["layers"][0])["digest"] = digest
        data = json.dumps(manifest).encode()
        (blobs / hashlib.sha256(data).hexdigest()).write_bytes(data)
        index["manifests"][0].update(digest=a.sha256(data), size=len(data))
    (tmp_path / "image/index.json").write_text(json.dumps(index))
    refused(engine, store, tmp_path / "image")


@pytest.mark.once
def test_a_manifest_that_is_also_an_index(engine: coble.Engine, store: Store, small: a.Image, tmp_path: Path) -> None:
    """SEC-103."""
    index = a.write_oci_layout(tmp_path / "image", small)
    blobs = tmp_path / "image/blobs/sha256"
    manifest = json.loads((blobs / index["manifests"][0]["digest"].split(":")[1]).read_text())
    manifest["manifests"] = index["manifests"]
    data = json.dumps(manifest).encode()
    (blobs / hashlib.sha256(data).hexdigest()).write_bytes(data)
    index["manifests"][0].update(digest=a.sha256(data), size=len(data))
    (tmp_path / "image/index.json").write_text(json.dumps(index))
    refused(engine, store, tmp_path / "image")


@pytest.mark.once
def test_an_index_that_contains_itself(engine: coble.Engine, store: Store, small: a.Image, tmp_path: Path) -> None:
    """SEC-11: indexes in indexes, deep and wide."""
    index = a.write_oci_layout(tmp_path / "image", small)
    blobs = tmp_path / "image/blobs/sha256"
    descriptor = index["manifests"][0]
    for _ in range(100):
        data = json.dumps({"schemaVersion": 2, "mediaType": a.OCI_INDEX, "manifests": [descriptor]}).encode()
        (blobs / hashlib.sha256(data).hexdigest()).write_bytes(data)
        descriptor = {"mediaType": a.OCI_INDEX, "digest": a.sha256(data), "size": len(data)}
    (tmp_path / "image/index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [descriptor]}))
    refused(engine, store, tmp_path / "image")


def image_json(small: a.Image) -> str:
    return hashlib.sha256(small.configuration_bytes()).hexdigest() + ".json"


@pytest.mark.once
@pytest.mark.parametrize(
    "manifest",
    [
        None, {}, [], [{}], [5], "x", [{"Config": "/etc/passwd", "Layers": [], "RepoTags": None}],
        [{"Config": "../../../etc/passwd", "Layers": []}], [{"Config": "manifest.json", "Layers": []}],
        [{"Config": "no-such.json", "Layers": []}], [{"Config": 5, "Layers": 5}],
    ],
    ids=repr,
)  # fmt: skip
def test_odd_docker_manifests(engine: coble.Engine, store: Store, small: a.Image, tmp_path: Path, manifest: object) -> None:
    (tmp_path / "image.tar").write_bytes(a.docker_archive(small, manifest="null" if manifest is None else manifest))
    refused(engine, store, tmp_path / "image.tar", BAD_INPUT)


def test_a_docker_archive_whose_id_is_claimed(engine: coble.Engine, store: Store, small: a.Image, tmp_path: Path) -> None:
    """SEC-132: the id is computed, whatever the file is called."""
    claimed = "0" * 64 + ".json"
    manifest = [{"Config": claimed, "RepoTags": ["claimed:1"], "Layers": [hashlib.sha256(layer).hexdigest() + "/layer.tar" for layer in small.layers]}]
    (tmp_path / "image.tar").write_bytes(a.docker_archive(small, changes={claimed: small.configuration_bytes(), image_json(small): None}, manifest=manifest))
    try:
        (image,) = engine.images.load(tmp_path / "image.tar")
    except coble.CobleError as error:
        assert error.kind in BAD_INPUT
        return
    assert image.id == a.sha256(small.configuration_bytes())


def test_a_docker_archive_with_other_layers_than_it_says(engine: coble.Engine, store: Store, small: a.Image, tmp_path: Path) -> None:
    name = hashlib.sha256(small.layers[1]).hexdigest() + "/layer.tar"
    (tmp_path / "image.tar").write_bytes(a.docker_archive(small, changes={name: a.tar(a.file("b", b"evil"))}))
    refused(engine, store, tmp_path / "image.tar")


@pytest.mark.once
@pytest.mark.parametrize("reference", ["UPPER:1", "a:b:c", "../x", "", "x" * 300, 5, "a@sha256:" + "0" * 64])
def test_odd_names_in_a_docker_archive(engine: coble.Engine, small: a.Image, tmp_path: Path, reference: object) -> None:
    manifest = [{"Config": image_json(small), "RepoTags": [reference], "Layers": [hashlib.sha256(layer).hexdigest() + "/layer.tar" for layer in small.layers]}]
    (tmp_path / "image.tar").write_bytes(a.docker_archive(small, manifest=manifest))
    with pytest.raises(coble.CobleError) as caught:
        engine.images.load(tmp_path / "image.tar")
    assert caught.value.kind in BAD_INPUT
    assert engine.images.list() == []


def test_links_as_members_of_a_docker_archive(engine: coble.Engine, store: Store, small: a.Image, tmp_path: Path, canary: Path) -> None:
    """A layer that is a link: to another member it may be followed (docker wrote such), to the host never."""
    name = hashlib.sha256(small.layers[1]).hexdigest() + "/layer.tar"
    (canary.parent / "layer").write_bytes(small.layers[1])
    plain = a.docker_archive(small, changes={name: None})
    data = plain[: -2 * a.BLOCK] + a.symlink(name, str(canary.parent / "layer")) + b"\0" * 1024
    (tmp_path / "image.tar").write_bytes(data)
    refused(engine, store, tmp_path / "image.tar")


# --- cut and damaged ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("compression", ["plain", "gzip", "zstd", "xz", "bzip2"])
def test_truncated_imports(engine: coble.Engine, store: Store, tmp_path: Path, compression: str) -> None:
    """SEC-10: cut anywhere, an archive is an error in bounded time, and nothing stays. (A plain tar may end without its end marker.)"""
    whole = a.compress(a.tar(a.directory("d/"), a.file("d/random", os.urandom(3000)), a.file("d/other", b"x" * 3000)), compression)
    points = sorted({1, 2, 5, 10, 17, 100, 511, 513, 600, 1025, *range(0, len(whole) - 1, max(1, len(whole) // 23)), len(whole) - 1})
    for cut in points:
        (tmp_path / "cut").write_bytes(whole[:cut])
        begin = time.monotonic()
        try:
            engine.images.import_rootfs(tmp_path / "cut", "cut:1")
        except coble.CobleError as error:
            assert error.kind in BAD_INPUT, f"cut at {cut}: {error.kind}: {error}"
            assert engine.images.list() == []
        else:
            # Accepted: only where a plain archive ends between two entries.
            assert compression == "plain" and cut % 512 == 0 and cut >= len(whole) - 1024 or compression == "plain" and cut == len(whole) - 1, f"cut at {cut} of {len(whole)} was accepted"
            engine.images.remove("cut:1")
        assert time.monotonic() - begin < 5
    assert engine.verify() == [] and store.litter() == []


@pytest.mark.parametrize("form", ["docker", "oci"])
def test_truncated_images(engine: coble.Engine, store: Store, small: a.Image, tmp_path: Path, form: str) -> None:
    if form == "docker":
        whole = a.docker_archive(small)
    else:
        a.write_oci_archive(tmp_path / "whole", small)
        whole = (tmp_path / "whole").read_bytes()
    content = len(whole.rstrip(b"\0"))
    for cut in [0, 1, 511, 512, 513, *range(1024, content, max(512, content // 25))]:
        (tmp_path / "cut").write_bytes(whole[:cut])
        with pytest.raises(coble.CobleError) as caught:
            engine.images.load(tmp_path / "cut")
        assert caught.value.kind in BAD_INPUT | {"PathNotFound"}, f"cut at {cut}: {caught.value.kind}: {caught.value}"
    assert engine.images.list() == [] and engine.verify() == [] and store.litter() == []


@pytest.mark.parametrize("compression", ["gzip", "zstd", "xz", "bzip2"])
def test_damaged_compression(engine: coble.Engine, store: Store, tmp_path: Path, compression: str) -> None:
    whole = bytearray(a.compress(a.tar(a.file("random", os.urandom(20000))), compression))
    for position in range(12, len(whole), max(1, len(whole) // 13)):
        damaged = bytearray(whole)
        damaged[position] ^= 0x55
        (tmp_path / "damaged").write_bytes(damaged)
        try:
            engine.images.import_rootfs(tmp_path / "damaged", "damaged:1")
        except coble.CobleError as error:
            assert error.kind in BAD_INPUT, f"byte {position}: {error.kind}: {error}"
        else:
            engine.images.remove("damaged:1")
    assert store.litter() == []


def test_several_members_and_empty_ones(engine: coble.Engine, tmp_path: Path) -> None:
    """Concatenated gzip members and zstd frames are one stream; empty members are nothing."""
    data = a.tar(a.file("x", b"1" * 5000))
    joined = gzip.compress(data[:1000]) + gzip.compress(b"") + gzip.compress(data[1000:])
    (tmp_path / "members.gz").write_bytes(joined)
    engine.images.import_rootfs(tmp_path / "members.gz", "members:1")
    (tmp_path / "frames.zst").write_bytes(a.compress(data[:1000], "zstd") + a.compress(b"", "zstd") + a.compress(data[1000:], "zstd"))
    engine.images.import_rootfs(tmp_path / "frames.zst", "frames:1")
    ids = [engine.images.inspect(name).layers[0].diff_id for name in ("members:1", "frames:1")]
    assert ids == [a.sha256(data)] * 2


@pytest.mark.slow
@pytest.mark.parametrize("compression", ["gzip", "zstd", "xz", "bzip2"])
def test_a_bomb(engine: coble.Engine, store: Store, assets: Assets, compression: str) -> None:
    """SEC-11, SEC-140: a small archive of many zeros ends with a typed error, soon, without growth of the host program."""
    bomb = assets.bomb(compression)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    begin = time.monotonic()
    with pytest.raises(coble.CobleError) as caught:
        engine.images.import_rootfs(bomb, "bomb:1")
    assert caught.value.kind in BAD_INPUT
    assert time.monotonic() - begin < 60
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 << 10
    assert engine.images.list() == [] and store.litter() == []
