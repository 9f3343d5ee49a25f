"""Registries that make pushing hard. See `registry.scene` for what a case is."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from registry import content
from registry.http import Exchange
from registry.own import JSON, errors
from registry.scene import FOREVER, SECRET, USER, Case, Cases, Judge, Scene

pytestmark = [pytest.mark.once, pytest.mark.usefixtures("home")]

CASES = Cases()


def pushes(scene: Scene, name: str = "pushed/image:1") -> str:
    """Pulls an image and has it pushed. The reference in the registry."""
    made, reference = scene.image(size=200_000)
    target = f"{scene.registry.host}/{name}"
    scene.operation = "images.push"
    scene.first = [("images.pull", reference), ("images.tag", reference, target)]
    return target


@CASES.case("Registry", "Network", "Unauthorized")
def upload_that_goes_to_a_foreign_host(scene: Scene) -> Iterator[str]:
    """SEC-101: the Location of an upload is not given credentials."""
    reference = pushes(scene)
    away = scene.another(basic={USER: SECRET})
    scene.registry.basic = {USER: SECRET}
    scene.credentials()
    scene.registry.mounts = False
    scene.registry.on(
        "POST", r".*/uploads/.*", lambda exchange: "authorization" in exchange.headers and (exchange.content(), exchange.reply(202, b"", {"Location": f"{away.url}{exchange.url_path}7"}))
    )
    yield reference
    assert away.secrets_seen() == []


@CASES.case("Registry", "Network")
def upload_without_a_place(scene: Scene) -> Iterator[str]:
    reference = pushes(scene)
    scene.registry.on("POST", r".*/uploads/.*", lambda exchange: (exchange.content(), exchange.reply(202)))
    yield reference


@CASES.case(None, seconds=30)
def upload_in_chunks_with_a_minimum(scene: Scene) -> Iterator[str]:
    """OCI-Chunk-Min-Length."""
    reference = pushes(scene)
    scene.registry.chunk_minimum, scene.registry.mounts = 100_000, False
    scene.words["chunk_size"] = 64 << 10
    yield reference
    chunks: dict[str, list[int]] = {}
    for one in scene.registry.requests("PATCH"):
        chunks.setdefault(one.path, []).append(one.received)
    assert max(len(sizes) for sizes in chunks.values()) > 1
    for sizes in chunks.values():
        assert all(size >= 100_000 for size in sizes[:-1]), sizes


@CASES.case(None, seconds=30)
def upload_whose_chunks_are_out_of_order(scene: Scene) -> Iterator[str]:
    """416: the registry says what it has, and it goes on from there."""
    reference = pushes(scene)
    scene.registry.mounts = False
    scene.words["chunk_size"] = 64 << 10
    half: list[str] = []

    def lose(exchange: Exchange) -> Any:
        if exchange.headers.get("content-range", "").startswith("0-") or half:
            return False
        # Half of this chunk arrives, and the client hears nothing but 416.
        number = int(exchange.url_path.rsplit("/", 1)[1])
        half.append(exchange.url_path)
        scene.registry.uploads[number] += exchange.content()[:25_000]
        held = len(scene.registry.uploads[number])
        exchange.reply(416, b"", {"Location": exchange.path, "Range": f"0-{held - 1}"})
        return None

    scene.registry.on("PATCH", r".*/uploads/.*", lose)
    yield reference
    assert half


@CASES.case(None, seconds=30)
def upload_whose_connection_is_cut(scene: Scene) -> Iterator[str]:
    reference = pushes(scene)
    scene.registry.mounts = False
    scene.words["chunk_size"] = 64 << 10
    scene.registry.on("PATCH|PUT", r".*/uploads/.*", lambda exchange: (exchange.rfile.read(min(10_000, int(exchange.headers["Content-Length"]))), exchange.cut(reset=True)), times=1, after=2)
    yield reference


@CASES.case(None, seconds=30)
def upload_in_one_whose_connection_is_cut(scene: Scene) -> Iterator[str]:
    reference = pushes(scene)
    scene.registry.mounts = False
    scene.registry.on("PATCH|PUT", r".*/uploads/.*", lambda exchange: (exchange.rfile.read(min(10_000, int(exchange.headers["Content-Length"]))), exchange.cut(reset=True)), times=1)
    yield reference


@CASES.case(None, seconds=30)
def upload_without_a_status(scene: Scene) -> Iterator[str]:
    """405 on the status: the upload begins anew."""
    reference = pushes(scene)
    scene.registry.mounts = False
    scene.words["chunk_size"] = 64 << 10
    scene.registry.on("GET", r".*/uploads/.*", lambda exchange: exchange.reply(405, errors("UNSUPPORTED"), JSON))
    scene.registry.on("PATCH", r".*/uploads/.*", lambda exchange: (exchange.rfile.read(min(10_000, int(exchange.headers["Content-Length"]))), exchange.cut(reset=True)), times=1, after=1)
    yield reference


@CASES.case("Registry", "Network", says="{host}", seconds=FOREVER)
def upload_that_always_fails(scene: Scene) -> Iterator[str]:
    reference = pushes(scene)
    scene.registry.mounts = False
    scene.registry.on("PATCH|PUT", r".*/uploads/.*", lambda exchange: (exchange.content(), exchange.reply(500, b"full")))
    scene.words["retries"] = 2
    yield reference
    assert scene.registry.count() < 80
    assert scene.registry.uploads == {}, "uploads that nobody goes on with are cancelled"


@CASES.case("DigestMismatch", says="{host}", seconds=30)
def upload_whose_digest_is_refused(scene: Scene) -> Iterator[str]:
    reference = pushes(scene)
    scene.registry.mounts = False
    scene.registry.on("PUT", r".*/uploads/.*", lambda exchange: (exchange.content(), exchange.reply(400, errors("DIGEST_INVALID"), JSON)))
    yield reference


@CASES.case("Registry", says="MANIFEST_BLOB_UNKNOWN")
def manifest_that_is_refused(scene: Scene) -> Iterator[str]:
    reference = pushes(scene)
    scene.registry.on("PUT", r".*/manifests/.*", lambda exchange: (exchange.content(), exchange.reply(400, errors("MANIFEST_BLOB_UNKNOWN"), JSON)))
    yield reference


@CASES.case("Registry", "DigestMismatch")
def manifest_that_is_stored_as_another(scene: Scene) -> Iterator[str]:
    """The registry says another digest than what was sent has."""
    reference = pushes(scene)
    other = content.digest_of(b"other")
    scene.registry.on("PUT", r".*/manifests/.*", lambda exchange: (exchange.content(), exchange.reply(201, b"", {"Docker-Content-Digest": other})))
    yield reference


@CASES.case("Unauthorized", "Registry", says="{host}")
def push_that_is_not_allowed(scene: Scene) -> Iterator[str]:
    reference = pushes(scene)
    scene.registry.on("POST|PUT|PATCH", ".*", lambda exchange: (exchange.content(), exchange.reply(403, errors("DENIED"), JSON)))
    yield reference


@CASES.case(None, seconds=30)
def push_where_head_is_not_supported(scene: Scene) -> Iterator[str]:
    reference = pushes(scene)
    scene.registry.on("HEAD", ".*", lambda exchange: exchange.reply(405))
    yield reference


@pytest.mark.timeout(180)
@pytest.mark.parametrize("one", CASES.all, ids=str)
def test_case(one: Case, judge: Judge) -> None:
    judge(one)
