"""Blobs that are not what they should be, or do not come. See `registry.scene` for what a case is."""

from __future__ import annotations

import gzip
import subprocess
import threading
from collections.abc import Iterator
from typing import Any

import archives
import pytest
from registry import content
from registry.content import Content
from registry.http import Exchange
from registry.scene import FOREVER, Case, Cases, Judge, Scene, blob_of, on_blob

pytestmark = [pytest.mark.once, pytest.mark.usefixtures("home")]

CASES = Cases()


@CASES.case("DigestMismatch", says="{layer}")
def blob_of_another_digest(scene: Scene) -> Iterator[str]:
    made, reference = scene.image()
    on_blob(scene, blob_of(made), lambda exchange, data: exchange.reply(200, data[:-1] + bytes([data[-1] ^ 1])))
    yield reference


@CASES.case("DigestMismatch", says="{layer}")
def blob_of_another_digest_that_says_it(scene: Scene) -> Iterator[str]:
    made, reference = scene.image()
    other = b"something else" * 1000
    on_blob(scene, blob_of(made), lambda exchange, data: exchange.reply(200, other, {"Docker-Content-Digest": content.digest_of(other)}))
    yield reference


@CASES.case("DigestMismatch", says="{config}")
def configuration_of_another_digest(scene: Scene) -> Iterator[str]:
    made, reference = scene.image()
    on_blob(scene, made.config, lambda exchange, data: exchange.reply(200, data.replace(b"linux", b"LINUX")))
    yield reference


@CASES.case("DigestMismatch", "Registry", "Network", says="{layer}")
def blob_that_is_too_long(scene: Scene) -> Iterator[str]:
    made, reference = scene.image()
    on_blob(scene, blob_of(made), lambda exchange, data: exchange.reply(200, data + b"more"))
    yield reference


@CASES.case("DigestMismatch", "Registry", "Network", says="{layer}", seconds=30)
def blob_without_end(scene: Scene) -> Iterator[str]:
    """Nobody reads more than the size that the manifest names."""
    made, reference = scene.image()

    def endless(exchange: Exchange, data: bytes) -> None:
        exchange.begin(200, length=-1)
        block = bytes(1 << 16)
        for _ in range(16 << 10):
            exchange.chunk(block)

    on_blob(scene, blob_of(made), endless)
    yield reference
    assert scene.registry.blob_bytes(blob_of(made)) < 64 << 20


@CASES.case("DigestMismatch", "Registry", "Network", says="{layer}", seconds=30)
def blob_that_is_too_short(scene: Scene) -> Iterator[str]:
    """Complete, as its length says, and yet not all of it: there is nothing that could come later."""
    made, reference = scene.image()
    scene.registry.ranges = False
    on_blob(scene, blob_of(made), lambda exchange, data: exchange.reply(200, data[: len(data) // 2]))
    yield reference


@CASES.case("DigestMismatch", "Registry", "InvalidImage", "Network", says="{layer}", seconds=30)
def size_of_the_manifest_is_too_small(scene: Scene) -> Iterator[str]:
    made = content.small()
    document = made.document
    document["layers"][0]["size"] -= 1
    yield scene.holds(made.replaced(document))


@CASES.case("DigestMismatch", "Registry", "InvalidImage", "Network", says="{layer}", seconds=30)
def size_of_the_manifest_is_too_big(scene: Scene) -> Iterator[str]:
    made = content.small()
    document = made.document
    document["layers"][0]["size"] += 1
    yield scene.holds(made.replaced(document))


@CASES.case("InvalidImage", "LimitExceeded", "StorageFull", "Registry", "DigestMismatch", "Network", seconds=30)
def size_of_the_manifest_is_absurd(scene: Scene) -> Iterator[str]:
    """Space for it is not taken on its word alone."""
    made = content.small()
    document = made.document
    document["layers"][0]["size"] = (1 << 63) - 1
    yield scene.holds(made.replaced(document))


@CASES.case("InvalidImage", "Registry")
def size_of_the_manifest_is_negative(scene: Scene) -> Iterator[str]:
    made = content.small()
    document = made.document
    document["layers"][0]["size"] = -1
    yield scene.holds(made.replaced(document))


@CASES.case(None)
def cut_after_some_bytes_with_ranges(scene: Scene) -> Iterator[str]:
    """Only what is missing is asked for again."""
    made, reference = scene.image(size=500_000, layers=1)

    def cut(exchange: Exchange, data: bytes) -> None:
        exchange.begin(200, {"Accept-Ranges": "bytes"}, len(data))
        exchange.chunk(data[:300_000])
        exchange.cut()

    on_blob(scene, blob_of(made), cut, times=1)
    yield reference
    asked = scene.registry.requests("GET", rf".*/blobs/{blob_of(made)}")
    assert len(asked) == 2 and asked[1].headers["range"].startswith("bytes=") and asked[1].status == 206
    assert sum(one.sent for one in asked) < 600_000


@CASES.case(None, seconds=30)
def cut_again_and_again_with_ranges(scene: Scene) -> Iterator[str]:
    """As long as something comes each time, it goes on."""
    made, reference = scene.image(size=400_000, layers=1)
    cuts = [0]

    def cut(exchange: Exchange, data: bytes) -> Any:
        begin = int(exchange.headers.get("range", "bytes=0-").removeprefix("bytes=").split("-")[0])
        cuts[0] += 1
        exchange.begin(206 if begin else 200, {"Content-Range": f"bytes {begin}-{len(data) - 1}/{len(data)}"} if begin else {}, len(data) - begin)
        exchange.chunk(data[begin : begin + 100_000])
        if begin + 100_000 < len(data):
            exchange.cut(reset=cuts[0] % 2 == 0)

    on_blob(scene, blob_of(made), cut)
    yield reference
    assert scene.registry.blob_bytes(blob_of(made)) < 600_000


@CASES.case(None)
def cut_after_some_bytes_without_ranges(scene: Scene) -> Iterator[str]:
    made, reference = scene.image(size=500_000, layers=1)
    scene.registry.ranges = False

    def cut(exchange: Exchange, data: bytes) -> None:
        exchange.begin(200, length=len(data))
        exchange.chunk(data[:300_000])
        exchange.cut()

    on_blob(scene, blob_of(made), cut, times=1)
    yield reference
    assert [one.status for one in scene.registry.requests("GET", rf".*/blobs/{blob_of(made)}")] == [200, 200]


@CASES.case("Network", says="{layer}", seconds=60)
def cut_always_at_the_same_byte(scene: Scene) -> Iterator[str]:
    made, reference = scene.image(size=100_000, layers=1)

    def cut(exchange: Exchange, data: bytes) -> None:
        begin = int(exchange.headers.get("range", "bytes=0-").removeprefix("bytes=").split("-")[0])
        exchange.begin(206 if begin else 200, {"Content-Range": f"bytes {begin}-{len(data) - 1}/{len(data)}"} if begin else {}, len(data) - begin)
        exchange.chunk(data[begin:50_000])
        exchange.cut(reset=True)

    on_blob(scene, blob_of(made), cut)
    yield reference
    assert scene.registry.count("GET", rf".*/blobs/{blob_of(made)}") < 20


@CASES.case("DigestMismatch", "Registry", "Network", None, seconds=30)
def a_range_that_is_not_the_one_asked_for(scene: Scene) -> Iterator[str]:
    """It is not glued to what is there."""
    made, reference = scene.image(size=500_000, layers=1)

    def answer(exchange: Exchange, data: bytes) -> None:
        if "range" not in exchange.headers:
            exchange.begin(200, {"Accept-Ranges": "bytes"}, len(data))
            exchange.chunk(data[:300_000])
            exchange.cut()
        exchange.reply(206, data[5:], {"Content-Range": f"bytes 5-{len(data) - 1}/{len(data)}"})

    on_blob(scene, blob_of(made), answer)
    yield reference


@CASES.case(None, seconds=30)
def a_range_that_cannot_be_had(scene: Scene) -> Iterator[str]:
    """Then all of it is fetched again."""
    made, reference = scene.image(size=500_000, layers=1)
    times = iter([1])

    def answer(exchange: Exchange, data: bytes) -> None:
        if "range" in exchange.headers:
            exchange.reply(416, b"", {"Content-Range": f"bytes */{len(data)}"})
            return
        exchange.begin(200, {"Accept-Ranges": "bytes"}, len(data))
        exchange.chunk(data[:300_000] if next(times, 0) else data)
        exchange.close_connection = True

    on_blob(scene, blob_of(made), answer)
    yield reference


@CASES.case(None)
def slow_drip(scene: Scene) -> Iterator[str]:
    """What moves is not given up."""
    made, reference = scene.image(size=10_000, layers=1)

    def drip(exchange: Exchange, data: bytes) -> None:
        exchange.begin(200, length=len(data))
        for begin in range(0, len(data), 1000):
            exchange.chunk(data[begin : begin + 1000])
            exchange.pause(0.1)

    on_blob(scene, blob_of(made), drip)
    yield reference


@CASES.case("Registry", "ImageNotFound", says="{layer}")
def blob_that_is_missing(scene: Scene) -> Iterator[str]:
    made, reference = scene.image()
    del scene.registry.blobs[blob_of(made, 1)]
    scene.registry.held = {one for one in scene.registry.held if one[1] != blob_of(made, 1)}
    yield reference
    assert scene.registry.count("GET", rf".*/blobs/{blob_of(made, 1)}") == 1, "asking again does not help"


@CASES.case("LimitExceeded", "InvalidArchive", "DigestMismatch", seconds=FOREVER)
def decompression_bomb(scene: Scene) -> Iterator[str]:
    """A gibibyte of zeros in a mebibyte, which claims to be a small layer."""
    yield scene.holds(bomb("gzip"))


@CASES.case("LimitExceeded", "InvalidArchive", "DigestMismatch", seconds=FOREVER)
def decompression_bomb_of_zstd(scene: Scene) -> Iterator[str]:
    yield scene.holds(bomb("zstd"))


def bomb(how: str) -> Content:
    """A layer of a file of zeros without end."""
    tools = {"gzip": ["gzip", "-9"], "zstd": ["zstd", "-q", "-3"]}
    with subprocess.Popen([*tools[how], "-c"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as tool:
        assert tool.stdin is not None and tool.stdout is not None
        def feed() -> None:
            assert tool.stdin is not None
            with tool.stdin as stdin:
                stdin.write(archives.header(b"zeros", size=200 << 30))
                for _ in range(300):
                    stdin.write(bytes(1 << 20))

        feeding = threading.Thread(target=feed)
        feeding.start()
        data = tool.stdout.read()
        feeding.join()
    made = content.small(layers=1)
    document = made.document
    digest = content.digest_of(data)
    document["layers"] = [{"mediaType": archives.OCI_LAYER + archives.SUFFIX[how], "digest": digest, "size": len(data)}]
    made.blobs[digest] = data
    return made.replaced(document)


@CASES.case("DigestMismatch", "InvalidImage")
def layer_that_is_not_what_the_configuration_says(scene: Scene) -> Iterator[str]:
    """The blob has its digest; what it unpacks to has not."""
    made = content.small(layers=1)
    other = gzip.compress(archives.tar(archives.file("other", b"x" * 1000)), mtime=0)
    made.blobs[content.digest_of(other)] = other
    yield scene.holds(made.changed(layers=[{"mediaType": archives.OCI_LAYER + "+gzip", "digest": content.digest_of(other), "size": len(other)}]))


@pytest.mark.timeout(180)
@pytest.mark.parametrize("one", CASES.all, ids=str)
def test_case(one: Case, judge: Judge) -> None:
    judge(one)
