"""Registries that send their clients elsewhere. See `registry.scene` for what a case is."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from registry import content
from registry.scene import SECRET, USER, Case, Cases, Judge, Scene, blob_of, trust

pytestmark = [pytest.mark.once, pytest.mark.usefixtures("home")]

CASES = Cases()


@CASES.case("Registry", "Network", says="{host}")
def redirects_without_end(scene: Scene) -> Iterator[str]:
    made, reference = scene.image()
    scene.registry.on("GET", r".*/blobs/.*", lambda exchange: exchange.reply(307, b"", {"Location": exchange.path}))
    yield reference
    assert scene.registry.count("GET", rf".*/blobs/{blob_of(made)}") <= 25


@CASES.case("Registry", "Network")
def redirects_of_manifests_without_end(scene: Scene) -> Iterator[str]:
    _, reference = scene.image()
    numbers = iter(range(10_000))
    scene.registry.on("GET|HEAD", r".*/manifests/.*", lambda exchange: exchange.reply(302, b"", {"Location": f"{exchange.url_path}?{next(numbers)}"}))
    yield reference
    assert scene.registry.count() <= 50


@CASES.case(None)
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


@CASES.case(None)
def redirects_to_the_same_host(scene: Scene) -> Iterator[str]:
    """Relative ones, with the credentials."""
    _, reference = scene.image()
    scene.registry.basic = {USER: SECRET}
    scene.credentials()
    scene.registry.on("GET", r"/v2/team/image/blobs/([^?]*)", lambda exchange: exchange.reply(302, b"", {"Location": f"../../moved/blobs/{exchange.match[1]}"}))
    scene.registry.held |= {("team/moved", digest) for digest in scene.registry.blobs}
    yield reference


@CASES.case("Registry", "Unauthorized")
def redirects_to_a_port_of_the_same_host(scene: Scene) -> Iterator[str]:
    """Another port is another host: it asks for credentials and gets none."""
    _, reference = scene.image()
    away = scene.another(basic={USER: SECRET})
    scene.registry.basic = {USER: SECRET}
    scene.credentials()
    scene.registry.on("GET", r".*/blobs/.*", lambda exchange: "authorization" in exchange.headers and exchange.reply(307, b"", {"Location": away.url + exchange.path}))
    yield reference
    assert away.secrets_seen() == []


@CASES.case("Registry", "Network")
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


@CASES.case("Registry", "Network")
def redirects_to_a_file(scene: Scene) -> Iterator[str]:
    _, reference = scene.image()
    scene.registry.on("GET", r".*/blobs/.*", lambda exchange: exchange.reply(307, b"", {"Location": "file:///etc/passwd"}))
    yield reference


@CASES.case("Registry", "Network")
def redirects_to_nowhere(scene: Scene) -> Iterator[str]:
    _, reference = scene.image()
    scene.registry.on("GET", r".*/blobs/.*", lambda exchange: exchange.reply(307))
    yield reference


@CASES.case("Registry", "Network", "InvalidReference", None)
def redirects_with_credentials_in_them(scene: Scene) -> Iterator[str]:
    """Whatever comes of it: what stands before the @ is neither sent nor said."""
    _, reference = scene.image()
    away = scene.another()
    place = away.url.replace("://", f"://{USER}:{SECRET}@")
    scene.registry.on("GET", r".*/blobs/.*", lambda exchange: exchange.reply(307, b"", {"Location": f"{place}/x"}))
    yield reference


@pytest.mark.timeout(180)
@pytest.mark.parametrize("one", CASES.all, ids=str)
def test_case(one: Case, judge: Judge) -> None:
    judge(one)
