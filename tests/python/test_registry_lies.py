"""Registries that lie: about how far an upload is, about ranges, about what a layer is, and those that repeat what they were sent."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import archives
import coble
import pytest
from conftest import Store
from registry import content
from registry.content import Content
from registry.http import Exchange
from registry.own import Registry, errors
from registry.tokens import TokenServer

pytestmark = [pytest.mark.usefixtures("home"), pytest.mark.once]

SECRET = "hunter2-is-secret"


def pull(engine: coble.Engine, registry: Registry, name: str = "team/image:1", **options: Any) -> coble.Image:
    return engine.images.pull(f"{registry.host}/{name}", insecure=True, **options)


# --- uploads ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("chunk_size", [None, 65536], ids=["whole", "chunks"])
def test_an_upload_that_is_further_than_the_blob_is_long(engine: coble.Engine, registry: Registry, chunk_size: int | None) -> None:
    """The session is given up, and another one begun."""
    made = content.small(size=200_000)
    registry.put("team/image", "1", made)
    pull(engine, registry)
    target = f"{registry.host}/pushed/image:1"
    engine.images.tag(f"{registry.host}/team/image:1", target)
    registry.mounts = False
    cut: list[str] = []

    def once(exchange: Exchange) -> bool | None:
        if cut or int(exchange.headers.get("content-length") or 0) < 50_000:
            return False
        cut.append(exchange.path)
        exchange.rfile.read(1000)
        exchange.cut(reset=True)
        return None

    registry.on("PATCH|PUT", r".*/uploads/.*", once)
    registry.on("GET", r".*/uploads/.*", lambda exchange: exchange.reply(204, b"", {"Location": exchange.path, "Range": "0-99999999"}))
    begin = os.times()
    pushed = engine.images.push(target, insecure=True, chunk_size=chunk_size)
    end = os.times()
    assert cut and pushed.digest == made.digest
    assert {digest: registry.blobs[digest] for digest in made.blobs} == made.blobs
    assert end.user + end.system - begin.user - begin.system < 3
    assert all(int(one.headers.get("content-length") or 0) <= 300_000 for one in registry.requests("PATCH|PUT"))


# --- what was sent is not shown -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [404, 422, 500])
@pytest.mark.parametrize("kind", ["password", "identity token"])
def test_a_token_server_that_repeats_the_form(engine: coble.Engine, servers: Any, home: Path, tmp_path: Path, status: int, kind: str) -> None:
    tokens: TokenServer = servers.add(TokenServer())
    registry: Registry = servers.add(Registry(bearer=tokens))
    registry.put("team/image", "1", content.small())
    options: dict[str, Any] = {"credentials": ("tester", SECRET)}
    if kind == "identity token":
        file = tmp_path / "auth.json"
        file.write_text(json.dumps({"auths": {registry.host: {"identitytoken": SECRET}}}))
        options = {"auth_file": str(file)}
    tokens.on("GET", "/token.*", lambda exchange: exchange.reply(404, b""))
    tokens.on("POST", "/token.*", lambda exchange: exchange.reply(status, b"bad form: " + exchange.content()))
    with pytest.raises(coble.CobleError) as caught:
        pull(engine, registry, retries=0, **options)
    assert tokens.count("POST") >= 1, "the form was sent"
    assert SECRET not in f"{caught.value} {caught.value.hint} {caught.value!r}"


def test_a_registry_that_repeats_the_password(engine: coble.Engine, registry: Registry) -> None:
    """In a warning, in a redirect, and in what should be a manifest."""
    registry.basic = {"tester": SECRET}
    registry.put("team/image", "1", content.small())
    said: list[str] = []

    def warn(exchange: Exchange) -> bool:
        if "authorization" in exchange.headers:
            said.append(exchange.headers["authorization"].split()[1])
            registry.extra_headers = {"Warning": f'299 - "you sent {exchange.headers["authorization"]}"'}
        return False

    registry.on(".*", ".*", warn)
    events: list[coble.Progress] = []
    pull(engine, registry, credentials=("tester", SECRET), progress=events.append)
    warnings = [one.message or "" for one in events if one.kind == "warning"]
    assert warnings and said and not any(said[0] in one or SECRET in one for one in warnings)
    registry.extra_headers = {}

    def when_known(answer: Any) -> Any:
        return lambda exchange: answer(exchange) if "authorization" in exchange.headers else False

    manifests = r".*/manifests/.*"
    for answer in (
        lambda exchange: exchange.reply(302, b"", {"Location": f"ftp://x/{said[0]}"}),
        lambda exchange: exchange.reply(302, b"", {"Location": f"https://x:{SECRET}/"}),
        lambda exchange: exchange.reply(200, f'"{SECRET}"'.encode(), {"Content-Type": "text/plain"}),
        lambda exchange: exchange.reply(400, errors("X", f"you sent {SECRET}")),
    ):
        registry.rules.clear()
        registry.on("GET|HEAD", manifests, when_known(answer))
        with pytest.raises(coble.CobleError) as caught:
            pull(engine, registry, credentials=("tester", SECRET), retries=0)
        text = f"{caught.value} {caught.value.hint} {caught.value!r}"
        assert SECRET not in text and said[0] not in text, text


def test_escape_sequences_are_not_passed_on(engine: coble.Engine, registry: Registry) -> None:
    made = content.small()
    registry.put("team/image", "1", content.index((made, {"os": "linux\x1b]0;title\x07\u202e", "architecture": "none\r\nmore"})))
    with pytest.raises(coble.CobleError) as caught:
        pull(engine, registry)
    text = str(caught.value)
    assert "linux" in text and not any(ord(c) < 32 or c == "\u202e" for c in text)


# --- ranges -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["another range", "no range"])
def test_a_registry_that_cannot_do_ranges_right(engine: coble.Engine, registry: Registry, how: str) -> None:
    """A cut blob is fetched from its beginning then."""
    made = content.small(layers=1, size=500_000)
    registry.put("team/image", "1", made)
    layer = made.layers[0]
    data = registry.blobs[layer]
    asked: list[str | None] = []

    def answer(exchange: Exchange) -> bool | None:
        asked.append(exchange.headers.get("range"))
        if asked[-1] is None:
            if len(asked) > 1:
                return False
            exchange.begin(200, length=len(data))
            exchange.chunk(data[:300_000])
            exchange.cut()
        elif how == "no range":
            exchange.reply(206, data, {"Content-Type": "multipart/byteranges; boundary=x"})
        else:
            exchange.reply(206, data[5:], {"Content-Range": f"bytes 5-{len(data) - 1}/{len(data)}"})
        return None

    registry.on("GET", rf".*/blobs/{layer}", answer)
    assert pull(engine, registry).digest == made.digest
    assert asked[0] is None and asked[-1] is None and any(asked) and len(asked) == 3
    assert engine.verify() == []


# --- layers -------------------------------------------------------------------------------------------------------------


def disguised(made: Content, blobs: list[bytes]) -> Content:
    """An image whose configuration names the layers of another one, and whose manifest other blobs."""
    config = json.loads(made.blobs[made.config])
    config["config"] = {"Cmd": ["other"]}
    data = json.dumps(config).encode()
    layers = [{"mediaType": archives.OCI_LAYER + "+gzip", "digest": content.digest_of(blob), "size": len(blob)} for blob in blobs]
    document = {**made.document, "config": {"mediaType": archives.OCI_CONFIG, "digest": content.digest_of(data), "size": len(data)}, "layers": layers}
    return Content(made.media_type, json.dumps(document).encode(), {content.digest_of(blob): blob for blob in [data, *blobs]})


def test_blobs_that_are_not_the_layers_that_are_here(engine: coble.Engine, registry: Registry) -> None:
    """Layers that are unpacked already are taken only for blobs that unpack to them."""
    made = content.small(layers=2, size=5000)
    registry.put("good/image", "1", made)
    pull(engine, registry, "good/image:1")
    other = content.small("other", layers=2, size=5000)
    for blobs in ([b"no archive " * 100, b"nor this " * 100], [other.blobs[digest] for digest in other.layers]):
        registry.put("bad/image", "1", disguised(made, blobs))
        with pytest.raises((coble.DigestMismatchError, coble.InvalidArchiveError)):
            pull(engine, registry, "bad/image:1")
    assert engine.scrub().problems == [] and len(engine.images.list()) == 1
    # Compressed in another way, they are the same layers.
    import gzip

    again = [gzip.compress(gzip.decompress(made.blobs[digest]), 1) for digest in made.layers]
    registry.put("same/image", "1", disguised(made, again))
    pull(engine, registry, "same/image:1")
    assert engine.scrub().problems == [] and len(engine.images.list()) == 2


def test_the_platform_that_was_asked_for_counts_also_when_the_image_is_here(engine: coble.Engine, registry: Registry) -> None:
    made = content.small(layers=1)
    config = {**json.loads(made.blobs[made.config]), "architecture": "s390x"}
    data = json.dumps(config).encode()
    made.blobs[content.digest_of(data)] = data
    registry.put("team/image", "1", made.changed(config={"mediaType": archives.OCI_CONFIG, "digest": content.digest_of(data), "size": len(data)}))
    pull(engine, registry)
    for _ in range(2):
        with pytest.raises(coble.InvalidImageError):
            pull(engine, registry, platform="linux/amd64")
    pull(engine, registry, platform="linux/s390x")


# --- somebody else's pull -----------------------------------------------------------------------------------------------

WORKER = """
import sys
import coble
with coble.Engine(data_root=sys.argv[1], run_root=sys.argv[2]) as engine:
    engine.images.pull(sys.argv[3], insecure=True)
"""


def test_a_blob_that_somebody_else_gets_next_to_nothing_of(engine: coble.Engine, store: Store, registry: Registry, servers: Any) -> None:
    """A registry that claims another size and sends a little at a time holds up nobody who has the blob from elsewhere."""
    made = content.small(layers=1, size=300_000)
    layer = made.layers[0]
    registry.put("team/image", "1", made)
    evil: Registry = servers.add(Registry())
    document = made.document
    document["layers"][0]["size"] = 1 << 40
    evil.put("team/image", "1", made.replaced(document))
    over = threading.Event()

    def drip(exchange: Exchange) -> None:
        exchange.begin(200, length=1 << 40)
        while not over.is_set():
            exchange.chunk(b"r" * 1024)
            exchange.pause(0.5)

    evil.on("GET", rf".*/blobs/{layer}", drip)
    command = [sys.executable, "-c", WORKER, str(store.data_root), str(store.run_root), f"{evil.host}/team/image:1"]
    other = subprocess.Popen(command)
    try:
        while not evil.count("GET", rf".*/blobs/{layer}"):
            time.sleep(0.05)
        begin = time.monotonic()
        assert pull(engine, registry).digest == made.digest
        assert other.poll() is None and time.monotonic() - begin < 60
    finally:
        over.set()
        other.kill()
        other.wait()
    assert engine.verify() == []
