"""Registries that misbehave, in one table: each case ends in a clear error or in success, soon, with little memory, and leaves the store clean.

A case is a function that makes a registry misbehave, and names what comes of it. What it yields is the reference to pull; after that it gets the
outcome, if it wants to look further.
"""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from email.utils import formatdate
from pathlib import Path
from typing import Any

import archives
import pytest
from conftest import Store
from registry import content
from registry.content import Content
from registry.http import Exchange, Servers
from registry.own import BLOB, JSON, MANIFEST, NAME, Registry, errors
from registry.tokens import TokenServer
from registry.worker import Outcome, Worker

pytestmark = [pytest.mark.once, pytest.mark.usefixtures("home")]

USER, SECRET = "tester", "hunter2-is-secret"
#: Memory that a pull of a small image may take, of all processes: the same as for a big one.
MEMORY = 64 << 20
FOREVER = 60
#: What is said when it does not help to ask for longer.
PROMPT = 10.0


@dataclass
class Scene:
    """What a case is made of."""

    registry: Registry
    servers: Servers
    folder: Path
    authority: Any
    #: The arguments of the call.
    words: dict[str, Any] = field(default_factory=lambda: {"insecure": True})
    operation: str = "images.pull"
    #: The one that an error is about, if not the registry above.
    host: str | None = None
    #: Calls before it, which are not judged.
    first: list[tuple[str, ...]] = field(default_factory=list)

    def image(self, text: str = "content", name: str = "team/image", tag: str = "1", **options: Any) -> tuple[Content, str]:
        """A small image that is in the registry, and its reference."""
        made = content.small(text, **options)
        self.registry.put(name, tag, made)
        return made, f"{self.registry.host}/{name}:{tag}"

    def holds(self, what: Content, name: str = "team/image", tag: str = "1", under: str | None = None) -> str:
        """The reference of a content that is in the registry now."""
        self.registry.put(name, tag, what, under=under)
        return f"{self.registry.host}/{name}:{tag}"

    def another(self, **options: Any) -> Registry:
        made: Registry = self.servers.add(Registry(**options))
        return made

    def credentials(self) -> None:
        self.words["credentials"] = [USER, SECRET]


@dataclass
class Case:
    name: str
    arrange: Callable[[Scene], Any]
    kinds: tuple[str | None, ...]
    #: Formatted with the reference and so on: what the error must say.
    says: tuple[str, ...]
    seconds: float


CASES: list[Case] = []


def case(*kinds: str | None, says: tuple[str, ...] | str = (), seconds: float = PROMPT) -> Callable[[Callable[[Scene], Any]], Any]:
    """Adds a case. `kinds` are the kinds of error that are right, None for success."""

    def add(arrange: Callable[[Scene], Any]) -> Any:
        CASES.append(Case(arrange.__name__, arrange, kinds, (says,) if isinstance(says, str) else says, seconds))
        return arrange

    return add


# --- blobs ------------------------------------------------------------------------------------------------------------


def blob_of(made: Content, number: int = 0) -> str:
    return made.layers[number]


def on_blob(scene: Scene, digest: str, action: Callable[[Exchange, bytes], Any], **options: Any) -> None:
    """Does something instead of sending a blob."""
    data = scene.registry.blobs[digest]
    scene.registry.on("GET", rf"/v2/{NAME}/blobs/{digest}", lambda exchange: action(exchange, data), **options)


@case("DigestMismatch", says="{layer}")
def blob_of_another_digest(scene: Scene) -> Iterator[str]:
    made, reference = scene.image()
    on_blob(scene, blob_of(made), lambda exchange, data: exchange.reply(200, data[:-1] + bytes([data[-1] ^ 1])))
    yield reference


@case("DigestMismatch", says="{layer}")
def blob_of_another_digest_that_says_it(scene: Scene) -> Iterator[str]:
    made, reference = scene.image()
    other = b"something else" * 1000
    on_blob(scene, blob_of(made), lambda exchange, data: exchange.reply(200, other, {"Docker-Content-Digest": content.digest_of(other)}))
    yield reference


@case("DigestMismatch", says="{config}")
def configuration_of_another_digest(scene: Scene) -> Iterator[str]:
    made, reference = scene.image()
    on_blob(scene, made.config, lambda exchange, data: exchange.reply(200, data.replace(b"linux", b"LINUX")))
    yield reference


@case("DigestMismatch", "Registry", "Network", says="{layer}")
def blob_that_is_too_long(scene: Scene) -> Iterator[str]:
    made, reference = scene.image()
    on_blob(scene, blob_of(made), lambda exchange, data: exchange.reply(200, data + b"more"))
    yield reference


@case("DigestMismatch", "Registry", "Network", says="{layer}", seconds=30)
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


@case("DigestMismatch", "Registry", "Network", says="{layer}", seconds=30)
def blob_that_is_too_short(scene: Scene) -> Iterator[str]:
    """Complete, as its length says, and yet not all of it: there is nothing that could come later."""
    made, reference = scene.image()
    scene.registry.ranges = False
    on_blob(scene, blob_of(made), lambda exchange, data: exchange.reply(200, data[: len(data) // 2]))
    yield reference


@case("DigestMismatch", "Registry", "InvalidImage", "Network", says="{layer}", seconds=30)
def size_of_the_manifest_is_too_small(scene: Scene) -> Iterator[str]:
    made = content.small()
    document = made.document
    document["layers"][0]["size"] -= 1
    yield scene.holds(made.replaced(document))


@case("DigestMismatch", "Registry", "InvalidImage", "Network", says="{layer}", seconds=30)
def size_of_the_manifest_is_too_big(scene: Scene) -> Iterator[str]:
    made = content.small()
    document = made.document
    document["layers"][0]["size"] += 1
    yield scene.holds(made.replaced(document))


@case("InvalidImage", "LimitExceeded", "StorageFull", "Registry", "DigestMismatch", "Network", seconds=30)
def size_of_the_manifest_is_absurd(scene: Scene) -> Iterator[str]:
    """Space for it is not taken on its word alone."""
    made = content.small()
    document = made.document
    document["layers"][0]["size"] = (1 << 63) - 1
    yield scene.holds(made.replaced(document))


@case("InvalidImage", "Registry")
def size_of_the_manifest_is_negative(scene: Scene) -> Iterator[str]:
    made = content.small()
    document = made.document
    document["layers"][0]["size"] = -1
    yield scene.holds(made.replaced(document))


@case(None)
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


@case(None, seconds=30)
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


@case(None)
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


@case("Network", says="{layer}", seconds=60)
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


@case("DigestMismatch", "Registry", "Network", None, seconds=30)
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


@case(None, seconds=30)
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


@case(None)
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


@case("Registry", "ImageNotFound", says="{layer}")
def blob_that_is_missing(scene: Scene) -> Iterator[str]:
    made, reference = scene.image()
    del scene.registry.blobs[blob_of(made, 1)]
    scene.registry.held = {one for one in scene.registry.held if one[1] != blob_of(made, 1)}
    yield reference
    assert scene.registry.count("GET", rf".*/blobs/{blob_of(made, 1)}") == 1, "asking again does not help"


@case("LimitExceeded", "InvalidArchive", "DigestMismatch", seconds=FOREVER)
def decompression_bomb(scene: Scene) -> Iterator[str]:
    """A gibibyte of zeros in a mebibyte, which claims to be a small layer."""
    yield scene.holds(bomb("gzip"))


@case("LimitExceeded", "InvalidArchive", "DigestMismatch", seconds=FOREVER)
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


@case("DigestMismatch", "InvalidImage")
def layer_that_is_not_what_the_configuration_says(scene: Scene) -> Iterator[str]:
    """The blob has its digest; what it unpacks to has not."""
    made = content.small(layers=1)
    other = gzip.compress(archives.tar(archives.file("other", b"x" * 1000)), mtime=0)
    made.blobs[content.digest_of(other)] = other
    yield scene.holds(made.changed(layers=[{"mediaType": archives.OCI_LAYER + "+gzip", "digest": content.digest_of(other), "size": len(other)}]))


# --- patience ---------------------------------------------------------------------------------------------------------


def too_many(after: str | None, times: int | None = 1, target: str = MANIFEST, body: bytes = errors("TOOMANYREQUESTS")) -> Callable[[Scene], Iterator[str]]:
    def arrange(scene: Scene) -> Iterator[str]:
        _, reference = scene.image()
        headers = {**JSON, **({"Retry-After": after} if after is not None else {})}
        scene.registry.on("GET|HEAD", target, lambda exchange: exchange.reply(429, body, headers), times=times)
        scene.words["events"] = True
        yield reference

    return arrange


@case(None)
def too_many_requests_seconds(scene: Scene) -> Iterator[str]:
    """The registry is asked again after that time, and not before."""
    _, reference = scene.image()
    times: list[float] = []

    def answer(exchange: Exchange) -> Any:
        times.append(time.monotonic())
        if len(times) > 1:
            return False
        exchange.reply(429, errors("TOOMANYREQUESTS"), {"Retry-After": "1"})
        return None

    scene.registry.on("GET|HEAD", MANIFEST, answer)
    scene.words["events"] = True
    outcome = yield reference
    assert times[1] - times[0] >= 1
    assert {"retry", "rate-limit"} & {kind for kind, _ in outcome.events}


@case(None)
def too_many_requests_date(scene: Scene) -> Iterator[str]:
    _, reference = scene.image()
    times: list[float] = []

    def answer(exchange: Exchange) -> Any:
        times.append(time.monotonic())
        if len(times) > 1:
            return False
        exchange.reply(429, b"", {"Retry-After": formatdate(time.time() + 2, usegmt=True)})
        return None

    scene.registry.on("GET|HEAD", MANIFEST, answer)
    yield reference
    assert times[1] - times[0] >= 1


@case(None)
def too_many_requests_for_blobs(scene: Scene) -> Iterator[str]:
    yield from too_many("0", times=3, target=BLOB)(scene)


@case(None)
def too_many_requests_malformed(scene: Scene) -> Iterator[str]:
    yield from too_many("soon", times=1, body=b"<html>slow down</html>")(scene)


@case(None)
def too_many_requests_negative(scene: Scene) -> Iterator[str]:
    yield from too_many("-5", times=1)(scene)


@case(None)
def too_many_requests_without_a_header(scene: Scene) -> Iterator[str]:
    yield from too_many(None, times=1, body=b"")(scene)


@case("RateLimited", says="{host}", seconds=FOREVER)
def too_many_requests_for_ever(scene: Scene) -> Iterator[str]:
    scene.words["retries"] = 2
    yield from too_many("0", times=None)(scene)
    assert scene.registry.count("GET|HEAD", MANIFEST) == 3


@case("RateLimited", says="{host}")
def too_many_requests_until_next_year(scene: Scene) -> Iterator[str]:
    """Nobody waits that long; it is said how long."""
    yield from too_many("31536000", times=None)(scene)
    assert scene.registry.count("GET|HEAD", MANIFEST) == 1


@case("RateLimited", says="{host}")
def too_many_requests_with_a_number_without_end(scene: Scene) -> Iterator[str]:
    scene.words["retries"] = 1
    yield from too_many("9" * 400, times=None)(scene)


@case(None, seconds=30)
def broken_then_right(scene: Scene) -> Iterator[str]:
    _, reference = scene.image()
    for status, target in ((500, MANIFEST), (502, MANIFEST), (503, BLOB), (504, BLOB)):
        scene.registry.on("GET|HEAD", target, lambda exchange, status=status: exchange.reply(status, b"oops"), times=1)
    yield reference


@case("Registry", says=("500", "{host}"), seconds=FOREVER)
def broken_for_ever(scene: Scene) -> Iterator[str]:
    _, reference = scene.image()
    scene.registry.on(".*", ".*", lambda exchange: exchange.reply(500, errors("UNKNOWN", "the disk is on fire"), JSON))
    scene.words["retries"] = 2
    outcome = yield reference
    assert scene.registry.count() == 3 and "the disk is on fire" in outcome.text


@case(None, seconds=30)
def connections_that_end_at_once(scene: Scene) -> Iterator[str]:
    _, reference = scene.image()
    scene.registry.on(".*", ".*", lambda exchange: exchange.cut(reset=True), times=2)
    yield reference


@case("Unauthorized", says="a page for people")
def errors_that_are_not_json(scene: Scene) -> Iterator[str]:
    _, reference = scene.image()
    scene.registry.on(".*", MANIFEST, lambda exchange: exchange.reply(403, b"<html>a page for people\x1b[31m</html>", {"Content-Type": "text/html"}))
    outcome = yield reference
    assert "\x1b" not in outcome.text.replace("\\x1b", ""), "what a registry says cannot steer a terminal"


@case("Unauthorized", says="denied by the moon")
def errors_that_are_json(scene: Scene) -> Iterator[str]:
    _, reference = scene.image()
    scene.registry.on(".*", MANIFEST, lambda exchange: exchange.reply(403, errors("DENIED", "denied by the moon"), JSON))
    yield reference


@case("Registry")
def errors_without_end(scene: Scene) -> Iterator[str]:
    _, reference = scene.image()

    def endless(exchange: Exchange) -> None:
        exchange.begin(400, JSON, length=-1)
        for _ in range(2000):
            exchange.chunk(b"x" * (1 << 16))

    scene.registry.on(".*", MANIFEST, endless)
    outcome = yield reference
    assert len(outcome.text) < 20_000, len(outcome.text)


@case("ImageNotFound", says="{reference}")
def nothing_of_that_name(scene: Scene) -> Iterator[str]:
    yield f"{scene.registry.host}/no/such:1"


@case("Network", "Registry", says="{host}")
def something_that_does_not_speak_http(scene: Scene) -> Iterator[str]:
    _, reference = scene.image()

    def garbage(exchange: Exchange) -> None:
        exchange.wfile.write(b"SSH-2.0-OpenSSH_9.2p1\r\n" + b"\0" * 5000)
        exchange.cut()

    scene.registry.on(".*", ".*", garbage)
    yield reference


@case("Network", "Registry", "LimitExceeded")
def headers_without_end(scene: Scene) -> Iterator[str]:
    _, reference = scene.image()

    def endless(exchange: Exchange) -> None:
        exchange.wfile.write(b"HTTP/1.1 200 OK\r\n")
        for number in range(100_000):
            exchange.wfile.write(b"X-%d: %s\r\n" % (number, b"x" * 1000))
        exchange.cut()

    scene.registry.on(".*", ".*", endless)
    yield reference
    assert scene.registry.count() < 20


@case("Network", says="{host}")
def nobody_listens(scene: Scene) -> Iterator[str]:
    gone = Registry()
    gone.close()
    scene.host = gone.host
    scene.words["retries"] = 1
    yield f"{gone.host}/team/image:1"


# --- redirects --------------------------------------------------------------------------------------------------------


@case("Registry", "Network", says="{host}")
def redirects_without_end(scene: Scene) -> Iterator[str]:
    made, reference = scene.image()
    scene.registry.on("GET", r".*/blobs/.*", lambda exchange: exchange.reply(307, b"", {"Location": exchange.path}))
    yield reference
    assert scene.registry.count("GET", rf".*/blobs/{blob_of(made)}") <= 25


@case("Registry", "Network")
def redirects_of_manifests_without_end(scene: Scene) -> Iterator[str]:
    _, reference = scene.image()
    numbers = iter(range(10_000))
    scene.registry.on("GET|HEAD", r".*/manifests/.*", lambda exchange: exchange.reply(302, b"", {"Location": f"{exchange.url_path}?{next(numbers)}"}))
    yield reference
    assert scene.registry.count() <= 50


@case(None)
def redirects_to_another_host(scene: Scene) -> Iterator[str]:
    """The blobs come from there; the credentials do not go there (SEC-101)."""
    made, reference = scene.image()
    scene.registry.basic = {USER: SECRET}
    scene.credentials()
    away = scene.another()
    away.on("GET", r"/bucket/.*", lambda exchange: away.send_blob(exchange, "", scene.registry.blobs[exchange.url_path.rsplit("/", 1)[1]]))
    scene.registry.on(
        "GET", r".*/blobs/(.*)", lambda exchange: "authorization" in exchange.headers and exchange.reply(307, b"", {"Location": f"{away.url}/bucket/{exchange.match[1]}?signed=x"})
    )
    yield reference
    assert len(away.requests("GET")) == len(made.blobs) and away.secrets_seen() == []


@case(None)
def redirects_to_the_same_host(scene: Scene) -> Iterator[str]:
    """Relative ones, with the credentials."""
    _, reference = scene.image()
    scene.registry.basic = {USER: SECRET}
    scene.credentials()
    scene.registry.on("GET", r"/v2/team/image/blobs/([^?]*)", lambda exchange: exchange.reply(302, b"", {"Location": f"../../moved/blobs/{exchange.match[1]}"}))
    scene.registry.held |= {("team/moved", digest) for digest in scene.registry.blobs}
    yield reference


@case("Registry", "Unauthorized")
def redirects_to_a_port_of_the_same_host(scene: Scene) -> Iterator[str]:
    """Another port is another host: it asks for credentials and gets none."""
    _, reference = scene.image()
    away = scene.another(basic={USER: SECRET})
    scene.registry.basic = {USER: SECRET}
    scene.credentials()
    scene.registry.on("GET", r".*/blobs/.*", lambda exchange: "authorization" in exchange.headers and exchange.reply(307, b"", {"Location": away.url + exchange.path}))
    yield reference
    assert away.secrets_seen() == []


@case("Registry", "Network")
def redirects_from_https_to_http(scene: Scene) -> Iterator[str]:
    """SEC-134."""
    secure = scene.another(certificate=scene.authority.issue("loopback", "IP:127.0.0.1"))
    made = content.small()
    secure.put("team/image", "1", made)
    away = scene.another()
    away.on("GET", ".*", lambda exchange: exchange.reply(200, made.blobs[exchange.url_path.rsplit("/", 1)[1]]))
    secure.on("GET", r".*/blobs/(.*)", lambda exchange: exchange.reply(307, b"", {"Location": f"{away.url}/{exchange.match[1]}"}))
    scene.words = {"cert_dir": str(scene.folder / "ca")}
    trust(scene)
    yield f"{secure.host}/team/image:1"
    assert away.count() == 0


@case("Registry", "Network")
def redirects_to_a_file(scene: Scene) -> Iterator[str]:
    _, reference = scene.image()
    scene.registry.on("GET", r".*/blobs/.*", lambda exchange: exchange.reply(307, b"", {"Location": "file:///etc/passwd"}))
    yield reference


@case("Registry", "Network")
def redirects_to_nowhere(scene: Scene) -> Iterator[str]:
    _, reference = scene.image()
    scene.registry.on("GET", r".*/blobs/.*", lambda exchange: exchange.reply(307))
    yield reference


@case("Registry", "Network", "InvalidReference", None)
def redirects_with_credentials_in_them(scene: Scene) -> Iterator[str]:
    """Whatever comes of it: what stands before the @ is neither sent nor said."""
    _, reference = scene.image()
    away = scene.another()
    place = away.url.replace("://", f"://{USER}:{SECRET}@")
    scene.registry.on("GET", r".*/blobs/.*", lambda exchange: exchange.reply(307, b"", {"Location": f"{place}/x"}))
    yield reference


def trust(scene: Scene) -> None:
    """The authority of the tests is trusted by this call, and plain HTTP is not."""
    folder = scene.folder / "ca"
    folder.mkdir(exist_ok=True)
    (folder / "ca.crt").write_bytes(scene.authority.own.certificate.read_bytes())
    scene.words.pop("insecure", None)
    scene.words["cert_dir"] = str(folder)


# --- manifests --------------------------------------------------------------------------------------------------------


def says_of_itself(scene: Scene, media_type: str | None) -> str:
    """The registry says another media type of a manifest."""
    made, reference = scene.image()
    headers = {"Docker-Content-Digest": made.digest, **({"Content-Type": media_type} if media_type else {})}
    scene.registry.on("GET", MANIFEST, lambda exchange: exchange.reply(200, made.manifest, headers))
    return reference


@case("InvalidImage", "Registry")
def media_type_is_wrong(scene: Scene) -> Iterator[str]:
    yield says_of_itself(scene, "text/html")


@case("InvalidImage", "Registry")
def media_type_is_another_than_in_the_manifest(scene: Scene) -> Iterator[str]:
    """SEC-103."""
    yield says_of_itself(scene, content.OCI_INDEX)


@case(None)
def media_type_has_parameters(scene: Scene) -> Iterator[str]:
    yield says_of_itself(scene, f"{content.OCI_MANIFEST}; charset=utf-8")


@case(None)
def media_type_is_not_said(scene: Scene) -> Iterator[str]:
    """The manifest itself says it."""
    yield says_of_itself(scene, None)


@case("InvalidImage", "Registry")
def manifest_that_is_also_an_index(scene: Scene) -> Iterator[str]:
    """SEC-103."""
    made, other = content.small(), content.small("other")
    scene.registry.put("team/image", "other", other)
    yield scene.holds(made.changed(manifests=[other.descriptor(platform={"os": "linux", "architecture": "amd64"})]))


@case("InvalidImage", "Registry")
def index_that_is_also_a_manifest(scene: Scene) -> Iterator[str]:
    made = content.small()
    both = content.index((made, {"os": "linux", "architecture": "amd64"}), more={"config": made.document["config"], "layers": made.document["layers"]})
    yield scene.holds(both)


@case("InvalidImage", "Registry")
def entry_of_an_index_with_another_media_type(scene: Scene) -> Iterator[str]:
    made = content.small()
    both = content.index((made, {"os": "linux", "architecture": "amd64"}))
    document = both.document
    document["manifests"][0]["mediaType"] = content.DOCKER_MANIFEST
    yield scene.holds(both.replaced(document))


@case("DigestMismatch", "Registry", says="{digest}")
def manifest_of_another_digest(scene: Scene) -> Iterator[str]:
    """Asked for by digest."""
    made, _ = scene.image()
    scene.registry.manifests["team/image", made.digest] = (made.media_type, made.manifest.replace(b"size", b"sizE"))
    yield f"{scene.registry.host}/team/image@{made.digest}"


@case("DigestMismatch", "Registry")
def manifest_with_the_digest_of_another(scene: Scene) -> Iterator[str]:
    """Asked for by tag: what the header says must be true."""
    made = content.small()
    yield scene.holds(made, under=content.small("other").digest)


@case("DigestMismatch", "Registry", says="{digest}")
def manifest_in_an_index_of_another_digest(scene: Scene) -> Iterator[str]:
    made = content.small()
    whole = content.index((made, {"os": "linux", "architecture": "amd64"}))
    reference = scene.holds(whole)
    scene.registry.manifests["team/image", made.digest] = (made.media_type, made.manifest + b" ")
    yield reference


@case(None)
def digest_of_the_content_is_not_said(scene: Scene) -> Iterator[str]:
    made, reference = scene.image()
    scene.registry.on("GET|HEAD", MANIFEST, lambda exchange: exchange.reply(200, made.manifest, {"Content-Type": made.media_type}))
    yield reference


@case(None)
def head_is_not_supported(scene: Scene) -> Iterator[str]:
    _, reference = scene.image()
    scene.registry.on("HEAD", ".*", lambda exchange: exchange.reply(405))
    yield reference


@case("LimitExceeded", "Registry", "InvalidImage", says="{host}")
def gigantic_manifest(scene: Scene) -> Iterator[str]:
    made, _ = scene.image()
    yield scene.holds(made.changed(annotations={"x": "y" * (64 << 20)}))
    assert sum(one.sent for one in scene.registry.requests("GET", MANIFEST)) < 32 << 20


@case("LimitExceeded", "Registry", "InvalidImage", says="{host}")
def manifest_without_end(scene: Scene) -> Iterator[str]:
    """It does not say how long it is."""
    made, reference = scene.image()

    def endless(exchange: Exchange) -> None:
        exchange.begin(200, {"Content-Type": made.media_type}, length=-1)
        exchange.chunk(b'{"schemaVersion":2,"x":"')
        for _ in range(4000):
            exchange.chunk(b"x" * (1 << 16))

    scene.registry.on("GET", MANIFEST, endless)
    yield reference


@case(None)
def manifest_of_four_mebibytes(scene: Scene) -> Iterator[str]:
    """That much must be taken, says the specification."""
    made, _ = scene.image()
    big = made.changed(annotations={"x": "y" * ((4 << 20) - len(made.manifest) - 100)})
    assert 4_000_000 < len(big.manifest) <= 4 << 20
    yield scene.holds(big)


@case("InvalidImage", "Registry", "LimitExceeded")
def manifest_of_deep_json(scene: Scene) -> Iterator[str]:
    made, _ = scene.image()
    deep = b'{"schemaVersion":2,"x":' + b"[" * 1_000_000 + b"]" * 1_000_000 + b"}"
    yield scene.holds(Content(made.media_type, deep))


@case("InvalidImage", "Registry", "LimitExceeded")
def manifest_of_very_many_layers(scene: Scene) -> Iterator[str]:
    made, _ = scene.image()
    yield scene.holds(made.changed(layers=made.document["layers"] * 5000))


@case("InvalidImage", "Registry", says="schema")
def manifest_of_schema_1(scene: Scene) -> Iterator[str]:
    document = {"schemaVersion": 1, "name": "team/image", "tag": "1", "architecture": "amd64", "fsLayers": [], "history": []}
    yield scene.holds(Content("application/vnd.docker.distribution.manifest.v1+prettyjws", json.dumps(document).encode()))


@case("InvalidImage", "Registry")
def manifest_that_is_none(scene: Scene) -> Iterator[str]:
    yield scene.holds(Content(content.OCI_MANIFEST, b"[1, 2"))


@case("InvalidImage", "Registry")
def manifest_that_is_empty(scene: Scene) -> Iterator[str]:
    yield scene.holds(Content(content.OCI_MANIFEST, b""))


@case("InvalidImage", "Registry", "InvalidDigest")
def digest_of_an_unknown_algorithm(scene: Scene) -> Iterator[str]:
    made, _ = scene.image()
    document = made.document
    document["layers"][0]["digest"] = "md5:" + "0" * 32
    yield scene.holds(made.replaced(document))


@case("InvalidImage", "Registry", "InvalidDigest")
def digest_with_a_path_in_it(scene: Scene) -> Iterator[str]:
    made, _ = scene.image()
    document = made.document
    document["layers"][0]["digest"] = "sha256:../../../../etc/passwd"
    yield scene.holds(made.replaced(document))


@case(None)
def sha512_of_everything(scene: Scene) -> Iterator[str]:
    made = content.small(algorithm="sha512")
    reference = scene.holds(made)
    outcome = yield f"{reference.rsplit(':', 1)[0]}@{made.digest}"
    assert outcome.value["digest"] == made.digest


@case("DigestMismatch", says="{layer}")
def sha512_that_is_wrong(scene: Scene) -> Iterator[str]:
    made = content.small(algorithm="sha512")
    reference = scene.holds(made)
    on_blob(scene, blob_of(made), lambda exchange, data: exchange.reply(200, bytes(len(data))))
    yield reference


@case("InvalidImage", "Unsupported")
def layer_of_an_unknown_type(scene: Scene) -> Iterator[str]:
    yield scene.holds(content.small(media_types=["application/vnd.test.thing"]))


@case("InvalidImage", "Unsupported")
def artifact_that_is_no_image(scene: Scene) -> Iterator[str]:
    made = content.small(layers=1)
    made.blobs[content.digest_of(b"{}")] = b"{}"
    config = {"mediaType": "application/vnd.oci.empty.v1+json", "digest": content.digest_of(b"{}"), "size": 2}
    yield scene.holds(made.changed(config=config, artifactType="application/vnd.test.thing"))


@case("InvalidImage", "Unsupported")
def foreign_layer(scene: Scene) -> Iterator[str]:
    """The place that the manifest names is not asked (SEC-100)."""
    away = scene.another()
    made = content.small(layers=1, docker=True)
    document = made.document
    document["layers"][0].update(mediaType="application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", urls=[f"{away.url}/layer"])
    reference = scene.holds(made.replaced(document))
    scene.registry.held = {one for one in scene.registry.held if one[1] != made.layers[0]}
    scene.registry.basic = {USER: SECRET}
    scene.credentials()
    yield reference
    assert away.count() == 0


# --- indexes ----------------------------------------------------------------------------------------------------------

AMD64 = {"os": "linux", "architecture": "amd64"}


@case(None)
def index_with_attestations(scene: Scene) -> Iterator[str]:
    made, statement = content.small(), content.small("statement")
    whole = content.index((statement, {"os": "unknown", "architecture": "unknown"}), (made, AMD64))
    reference = scene.holds(whole)
    outcome = yield reference
    assert outcome.value["id"] == made.config
    assert scene.registry.count("GET", rf".*/manifests/{statement.digest}") == 0


@case("InvalidImage", "ImageNotFound", says="linux/s390x")
def index_without_the_platform(scene: Scene) -> Iterator[str]:
    """Those that there are are named."""
    scene.words["platform"] = "linux/amd64"
    yield scene.holds(content.index((content.small(), {"os": "linux", "architecture": "s390x"})))


@case(None)
def index_in_an_index(scene: Scene) -> Iterator[str]:
    made = content.small()
    yield scene.holds(content.index((content.index((made, AMD64)), AMD64)))


@case("InvalidImage", "LimitExceeded", "Registry")
def index_in_an_index_very_often(scene: Scene) -> Iterator[str]:
    made = content.small()
    for _ in range(100):
        made = content.index((made, AMD64))
    yield scene.holds(made)
    assert scene.registry.count("GET", MANIFEST) < 20


@case("InvalidImage", "LimitExceeded", "Registry", "ImageNotFound", None)
def index_of_very_many_entries(scene: Scene) -> Iterator[str]:
    made = content.small()
    whole = content.index((made, AMD64))
    document = whole.document
    document["manifests"] = [{**document["manifests"][0], "platform": {"os": "linux", "architecture": f"a{n}"}} for n in range(10_000)] + document["manifests"]
    yield scene.holds(whole.replaced(document))
    assert scene.registry.count("GET", MANIFEST) < 10


@case("InvalidImage", "ImageNotFound")
def index_of_nothing(scene: Scene) -> Iterator[str]:
    yield scene.holds(content.index())


# --- what is warned of ------------------------------------------------------------------------------------------------


@case(None)
def warnings_of_the_registry(scene: Scene) -> Iterator[str]:
    _, reference = scene.image()
    scene.registry.extra_headers["Warning"] = '299 - "this registry closes on friday"'
    scene.words["events"] = True
    outcome = yield reference
    assert [message for kind, message in outcome.events if kind == "warning" and "closes on friday" in message], outcome.events


# --- tokens -----------------------------------------------------------------------------------------------------------


def with_tokens(scene: Scene, tokens: TokenServer, **options: Any) -> str:
    scene.registry.bearer = tokens
    scene.credentials()
    return scene.image(**options)[1]


@case("Unauthorized", "Registry", says="{away}")
def token_realm_on_a_foreign_host(scene: Scene) -> Iterator[str]:
    """SEC-100: it never sees the credentials."""
    tokens = scene.servers.add(TokenServer(host="127.0.0.2"))
    tokens.users[USER] = SECRET
    reference = with_tokens(scene, tokens)
    yield reference
    assert tokens.secrets_seen() == [] and tokens.count("POST") == 0


@case("Unauthorized", "Registry")
def token_realm_of_plain_http_for_a_registry_of_https(scene: Scene) -> Iterator[str]:
    tokens = scene.servers.add(TokenServer())
    tokens.users[USER] = SECRET
    secure = scene.another(certificate=scene.authority.issue("loopback", "IP:127.0.0.1"), bearer=tokens)
    secure.put("team/image", "1", content.small())
    scene.credentials()
    trust(scene)
    yield f"{secure.host}/team/image:1"
    assert tokens.secrets_seen() == [] and tokens.count("POST") == 0


@case("Unauthorized", "Registry", "Network")
def token_realm_that_redirects(scene: Scene) -> Iterator[str]:
    away = scene.another()
    scene.registry.bearer = _Realm(scene.registry)
    scene.registry.on("GET|POST", r"/token.*", lambda exchange: exchange.reply(307, b"", {"Location": f"{away.url}/token"}))
    scene.credentials()
    yield scene.image()[1]
    assert away.secrets_seen() == []
    assert [one for one in away.requests("POST") if one.received] == []


class _Realm:
    """A realm at the registry itself."""

    def __init__(self, registry: Registry) -> None:
        self.registry = registry

    def challenge(self, scope: str) -> str:
        return f'Bearer realm="{self.registry.url}/token",service="x",scope="{scope}"'

    def grants(self, token: str, wanted: str) -> bool:
        return False


def with_own_realm(scene: Scene, status: int, body: bytes) -> str:
    scene.registry.bearer = _Realm(scene.registry)
    scene.registry.on("GET|POST", r"/token.*", lambda exchange: exchange.reply(status, body, JSON))
    scene.credentials()
    return scene.image()[1]


@case("Unauthorized", says="{host}")
def tokens_that_do_not_help(scene: Scene) -> Iterator[str]:
    yield with_own_realm(scene, 200, b'{"token": "abc", "expires_in": 300}')
    assert scene.registry.count() < 20


@case("Unauthorized", "Registry")
def tokens_that_are_none(scene: Scene) -> Iterator[str]:
    yield with_own_realm(scene, 200, b'{"hello": 1}')


@case("Unauthorized", "Registry")
def tokens_that_are_no_json(scene: Scene) -> Iterator[str]:
    yield with_own_realm(scene, 200, b"<html>")


@case("Unauthorized", "Registry", "LimitExceeded")
def token_without_end(scene: Scene) -> Iterator[str]:
    yield with_own_realm(scene, 200, b'{"token": "' + b"a" * (32 << 20) + b'"}')


@case("Unauthorized", "Registry")
def tokens_with_a_line_end(scene: Scene) -> Iterator[str]:
    """What a token server says cannot add a header."""
    yield with_own_realm(scene, 200, b'{"token": "abc\\r\\nX-Added: 1"}')
    assert [one for one in scene.registry.requests() if "x-added" in one.headers] == []


@case("Unauthorized", says="{host}")
def token_server_that_refuses(scene: Scene) -> Iterator[str]:
    yield with_own_realm(scene, 401, b'{"details": "no"}')


@case("Unauthorized", "Registry", says="{host}")
def challenge_that_is_none(scene: Scene) -> Iterator[str]:
    _, reference = scene.image()
    scene.credentials()
    challenges = iter(['Bearer realm="', "Basic", "Digest x=y", ",,,", "Bearer " + "a=b," * 10_000] * 20)
    scene.registry.on(".*", ".*", lambda exchange: exchange.reply(401, b"", {"WWW-Authenticate": next(challenges)}))
    yield reference


@case("Unauthorized", says="{host}")
def password_that_is_wrong(scene: Scene) -> Iterator[str]:
    scene.registry.basic = {USER: "another"}
    scene.credentials()
    yield scene.image()[1]
    assert scene.registry.count() < 10


@case("Unauthorized", says="{host}")
def password_that_is_missing(scene: Scene) -> Iterator[str]:
    scene.registry.basic = {USER: SECRET}
    yield scene.image()[1]


@case("Network", "Registry", "Unauthorized", says="{host}")
def plain_http_where_nobody_allowed_it(scene: Scene) -> Iterator[str]:
    """SEC-102, SEC-134: TLS fails, and nothing is asked in plain, on loopback, too."""
    scene.words = {}
    scene.credentials()
    yield scene.image()[1]
    assert scene.registry.count() == 0


@case("Network", says="{host}")
def certificate_that_nobody_knows(scene: Scene) -> Iterator[str]:
    """SEC-104."""
    secure = scene.another(certificate=scene.authority.issue("loopback", "IP:127.0.0.1"))
    secure.put("team/image", "1", content.small())
    scene.words = {}
    scene.credentials()
    scene.host = secure.host
    yield f"{secure.host}/team/image:1"
    assert secure.count() == 0


@case("Network", says="{host}")
def certificate_of_another_host(scene: Scene) -> Iterator[str]:
    secure = scene.another(certificate=scene.authority.issue("elsewhere", "IP:127.9.9.9", "DNS:elsewhere.test"))
    secure.put("team/image", "1", content.small())
    trust(scene)
    scene.host = secure.host
    yield f"{secure.host}/team/image:1"
    assert secure.count() == 0


@case("Network", says="{host}")
def certificate_that_is_too_old(scene: Scene) -> Iterator[str]:
    secure = scene.another(certificate=scene.authority.issue("old", "IP:127.0.0.1", days=("20200101000000Z", "20210101000000Z")))
    secure.put("team/image", "1", content.small())
    trust(scene)
    scene.host = secure.host
    yield f"{secure.host}/team/image:1"
    assert secure.count() == 0


# --- pushing ----------------------------------------------------------------------------------------------------------


def pushes(scene: Scene, name: str = "pushed/image:1") -> str:
    """Pulls an image and has it pushed. The reference in the registry."""
    made, reference = scene.image(size=200_000)
    target = f"{scene.registry.host}/{name}"
    scene.operation = "images.push"
    scene.first = [("images.pull", reference), ("images.tag", reference, target)]
    return target


@case("Registry", "Network", "Unauthorized")
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


@case("Registry", "Network")
def upload_without_a_place(scene: Scene) -> Iterator[str]:
    reference = pushes(scene)
    scene.registry.on("POST", r".*/uploads/.*", lambda exchange: (exchange.content(), exchange.reply(202)))
    yield reference


@case(None, seconds=30)
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


@case(None, seconds=30)
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


@case(None, seconds=30)
def upload_whose_connection_is_cut(scene: Scene) -> Iterator[str]:
    reference = pushes(scene)
    scene.registry.mounts = False
    scene.words["chunk_size"] = 64 << 10
    scene.registry.on("PATCH|PUT", r".*/uploads/.*", lambda exchange: (exchange.rfile.read(min(10_000, int(exchange.headers["Content-Length"]))), exchange.cut(reset=True)), times=1, after=2)
    yield reference


@case(None, seconds=30)
def upload_in_one_whose_connection_is_cut(scene: Scene) -> Iterator[str]:
    reference = pushes(scene)
    scene.registry.mounts = False
    scene.registry.on("PATCH|PUT", r".*/uploads/.*", lambda exchange: (exchange.rfile.read(min(10_000, int(exchange.headers["Content-Length"]))), exchange.cut(reset=True)), times=1)
    yield reference


@case(None, seconds=30)
def upload_without_a_status(scene: Scene) -> Iterator[str]:
    """405 on the status: the upload begins anew."""
    reference = pushes(scene)
    scene.registry.mounts = False
    scene.words["chunk_size"] = 64 << 10
    scene.registry.on("GET", r".*/uploads/.*", lambda exchange: exchange.reply(405, errors("UNSUPPORTED"), JSON))
    scene.registry.on("PATCH", r".*/uploads/.*", lambda exchange: (exchange.rfile.read(min(10_000, int(exchange.headers["Content-Length"]))), exchange.cut(reset=True)), times=1, after=1)
    yield reference


@case("Registry", "Network", says="{host}", seconds=FOREVER)
def upload_that_always_fails(scene: Scene) -> Iterator[str]:
    reference = pushes(scene)
    scene.registry.mounts = False
    scene.registry.on("PATCH|PUT", r".*/uploads/.*", lambda exchange: (exchange.content(), exchange.reply(500, b"full")))
    scene.words["retries"] = 2
    yield reference
    assert scene.registry.count() < 80
    assert scene.registry.uploads == {}, "uploads that nobody goes on with are cancelled"


@case("DigestMismatch", says="{host}", seconds=30)
def upload_whose_digest_is_refused(scene: Scene) -> Iterator[str]:
    reference = pushes(scene)
    scene.registry.mounts = False
    scene.registry.on("PUT", r".*/uploads/.*", lambda exchange: (exchange.content(), exchange.reply(400, errors("DIGEST_INVALID"), JSON)))
    yield reference


@case("Registry", says="MANIFEST_BLOB_UNKNOWN")
def manifest_that_is_refused(scene: Scene) -> Iterator[str]:
    reference = pushes(scene)
    scene.registry.on("PUT", r".*/manifests/.*", lambda exchange: (exchange.content(), exchange.reply(400, errors("MANIFEST_BLOB_UNKNOWN"), JSON)))
    yield reference


@case("Registry", "DigestMismatch")
def manifest_that_is_stored_as_another(scene: Scene) -> Iterator[str]:
    """The registry says another digest than what was sent has."""
    reference = pushes(scene)
    other = content.digest_of(b"other")
    scene.registry.on("PUT", r".*/manifests/.*", lambda exchange: (exchange.content(), exchange.reply(201, b"", {"Docker-Content-Digest": other})))
    yield reference


@case("Unauthorized", "Registry", says="{host}")
def push_that_is_not_allowed(scene: Scene) -> Iterator[str]:
    reference = pushes(scene)
    scene.registry.on("POST|PUT|PATCH", ".*", lambda exchange: (exchange.content(), exchange.reply(403, errors("DENIED"), JSON)))
    yield reference


@case(None, seconds=30)
def push_where_head_is_not_supported(scene: Scene) -> Iterator[str]:
    reference = pushes(scene)
    scene.registry.on("HEAD", ".*", lambda exchange: exchange.reply(405))
    yield reference


# --- lists ------------------------------------------------------------------------------------------------------------


def asks(scene: Scene, operation: str, what: str, **words: Any) -> str:
    scene.operation = operation
    scene.words.update(words)
    return what


@case("Registry", "LimitExceeded", None)
def tags_whose_pages_go_round(scene: Scene) -> Iterator[str]:
    """SEC-106."""
    page = json.dumps({"name": "team/image", "tags": ["a", "b"]}).encode()
    scene.registry.on("GET", r".*/tags/list.*", lambda exchange: exchange.reply(200, page, {**JSON, "Link": f'<{exchange.path}>; rel="next"'}))
    yield asks(scene, "registry.tags", f"{scene.registry.host}/team/image")
    assert scene.registry.count() < 2000


@case("Registry", "LimitExceeded", seconds=FOREVER)
def tags_without_end(scene: Scene) -> Iterator[str]:
    numbers = iter(range(10_000_000))

    def page(exchange: Exchange) -> None:
        tags = [f"tag-{next(numbers)}-{'x' * 100}" for _ in range(1000)]
        body = json.dumps({"name": "team/image", "tags": tags}).encode()
        exchange.reply(200, body, {**JSON, "Link": f'</v2/team/image/tags/list?n=1000&last={tags[-1]}>; rel="next"'})

    scene.registry.on("GET", r".*/tags/list.*", page)
    yield asks(scene, "registry.tags", f"{scene.registry.host}/team/image")


@case("Registry", "Network", "Unauthorized")
def tags_whose_next_page_is_elsewhere(scene: Scene) -> Iterator[str]:
    away = scene.another()
    scene.registry.basic = {USER: SECRET}
    scene.credentials()
    page = json.dumps({"name": "team/image", "tags": ["a"]}).encode()
    headers = {**JSON, "Link": f'<{away.url}/v2/team/image/tags/list?last=a>; rel="next"'}
    scene.registry.on("GET", r".*/tags/list.*", lambda exchange: "authorization" in exchange.headers and exchange.reply(200, page, headers))
    yield asks(scene, "registry.tags", f"{scene.registry.host}/team/image")
    assert away.secrets_seen() == []


@case("Registry", "InvalidImage")
def tags_that_are_none(scene: Scene) -> Iterator[str]:
    scene.registry.on("GET", r".*/tags/list.*", lambda exchange: exchange.reply(200, b'{"tags": {"a": 1}}', JSON))
    yield asks(scene, "registry.tags", f"{scene.registry.host}/team/image")


@case(None)
def tags_that_are_null(scene: Scene) -> Iterator[str]:
    """That is how some registries say that there are none."""
    scene.registry.on("GET", r".*/tags/list.*", lambda exchange: exchange.reply(200, b'{"name": "team/image", "tags": null}', JSON))
    outcome = yield asks(scene, "registry.tags", f"{scene.registry.host}/team/image")
    assert outcome.value == []


@case("Registry", "LimitExceeded", seconds=FOREVER)
def referrers_without_end(scene: Scene) -> Iterator[str]:
    made, reference = scene.image()
    numbers = iter(range(10_000_000))

    def page(exchange: Exchange) -> None:
        entries = [
            {"mediaType": content.OCI_MANIFEST, "digest": content.digest_of(b"%d" % next(numbers)), "size": 10, "artifactType": "a/b"} for _ in range(1000)
        ]
        body = json.dumps({"schemaVersion": 2, "mediaType": content.OCI_INDEX, "manifests": entries}).encode()
        exchange.reply(200, body, {"Content-Type": content.OCI_INDEX, "Link": f'<{exchange.url_path}?page={next(numbers)}>; rel="next"'})

    scene.registry.on("GET", r".*/referrers/.*", page)
    yield asks(scene, "registry.referrers", f"{scene.registry.host}/team/image@{made.digest}")


# --- the table --------------------------------------------------------------------------------------------------------


def partial(store: Store) -> list[str]:
    folder = store.data_root / "content/partial"
    return os.listdir(folder) if folder.is_dir() else []


def blobs_of(store: Store) -> int:
    folder = store.data_root / "content/blobs"
    return sum(len(list(one.iterdir())) for one in folder.iterdir()) if folder.is_dir() else 0


@pytest.mark.timeout(180)
@pytest.mark.parametrize("case", CASES, ids=lambda one: one.name)
def test_case(case: Case, store: Store, worker: Worker, registry: Registry, servers: Servers, authority: Any, tmp_path: Path) -> None:
    scene = Scene(registry, servers, tmp_path, authority)
    steps = case.arrange(scene)
    reference = next(steps)
    if scene.first:
        # Before anything is wrong.
        wrong = registry.rules, registry.basic
        registry.rules, registry.basic = [], None
        with store.engine() as engine:
            for operation, *words in scene.first:
                method = getattr(engine.images, operation.split(".")[1])
                method(*words, **({"insecure": True} if operation == "images.pull" else {}))
        registry.rules, registry.basic = wrong
        registry.forget()
    outcome = worker.call(store, scene.operation, positional=[reference], **scene.words)
    said = f"{outcome.kind}: {outcome.text}"
    assert outcome.kind in case.kinds, said
    assert outcome.seconds < case.seconds, f"{outcome.seconds} s: {said}"
    assert outcome.peak < MEMORY, f"{outcome.peak >> 20} MiB"
    # Neither in the words nor in their form for headers.
    for secret in (SECRET, "dGVzdGVyOmh1bnRlcjI"):
        assert secret not in outcome.text
    if outcome.kind is not None:
        registry_manifests = [entry for (_, digest), entry in registry.manifests.items()]
        held = {digest for _, digest in registry.manifests}
        values = {"reference": reference, "host": scene.host or registry.host, "away": servers.made[-1].host}
        layers = [layer["digest"] for _, data in registry_manifests for layer in documents(data).get("layers", []) if isinstance(layer, dict)]
        configs = [documents(data).get("config", {}).get("digest", "-") for _, data in registry_manifests]
        for text in case.says:
            wanted = {"{layer}": layers, "{config}": configs, "{digest}": sorted(held)}.get(text) or [text.format(**values)]
            assert any(one in outcome.text for one in wanted), f"{text} is not in: {said}"
        head = outcome.text.split("\n")[0]
        assert not head.endswith(".") or head.endswith("..."), head
    for _ in _rest(steps, outcome):
        raise AssertionError("one reference is enough")
    # The store is as it was, or has the image.
    with store.engine() as engine:
        assert engine.verify() == [] and store.litter() == []
        if outcome.kind is not None and not scene.first:
            assert engine.images.list() == []
            engine.images.prune(all=True)
            assert blobs_of(store) == 0 and partial(store) == []
        # What does not depend on the misbehaviour still works, with the same server.
        registry.rules.clear()
        registry.basic = registry.bearer = None
        made, again = scene.image("afterwards", name="team/afterwards")
        registry.ranges = True
        assert engine.images.pull(again if registry in servers.made else reference, insecure=True).digest == made.digest
        assert engine.verify() == [] and store.litter() == []


def documents(data: bytes) -> dict[str, Any]:
    try:
        found = json.loads(data[:1_000_000])
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _rest(steps: Any, outcome: Outcome) -> Iterator[Any]:
    """What the case has to say about the outcome."""
    try:
        yield steps.send(outcome)
    except StopIteration:
        return
