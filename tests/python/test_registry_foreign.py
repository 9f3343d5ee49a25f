"""Layers that are not distributable: they are where their URLs say, which are asked only if the caller says so, and they are not passed on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import archives
import coble
import pytest
from conftest import Store
from registry import content
from registry.content import Content
from registry.debian import DebianRegistry
from registry.http import Exchange
from registry.own import Registry
from registry.scene import SECRET, USER, blobs_of, partial
from test_command import Command

pytestmark = pytest.mark.usefixtures("home")

FOREIGN = {False: "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip", True: "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"}


def foreign(*urls: str, docker: bool = False, text: str = "content") -> tuple[Content, str]:
    """An image whose first layer is kept elsewhere, and that layer."""
    made = content.small(text, docker=docker)
    document = made.document
    document["layers"][0].update(mediaType=FOREIGN[docker], urls=list(urls))
    return made.replaced(document), made.layers[0]


def put(registry: Registry, made: Content, layer: str) -> str:
    """The reference of an image in a registry that does not have the layer."""
    registry.put("team/image", "1", made)
    registry.held.discard(("team/image", layer))
    return f"{registry.host}/team/image:1"


def serves(server: Registry, data: bytes, path: str = "/layer") -> str:
    """A URL with that content."""
    server.on("GET", path, lambda exchange: server.send_blob(exchange, content.digest_of(data), data))
    return f"{server.url}{path}"


@pytest.fixture
def away(servers: Any, home: Path) -> Registry:
    """Somebody else, who may be asked without TLS."""
    made: Registry = servers.add(Registry())
    conf = home / "config/containers/registries.conf"
    conf.parent.mkdir(parents=True, exist_ok=True)
    conf.write_text(f'[[registry]]\nlocation = "{made.host}"\ninsecure = true\n')
    return made


@pytest.mark.parametrize("docker", [False, True], ids=["oci", "docker"])
def test_a_layer_comes_from_where_its_url_says(engine: coble.Engine, store: Store, registry: Registry, away: Registry, docker: bool) -> None:
    plain = content.small(docker=docker)
    made, layer = foreign(serves(away, plain.blobs[plain.layers[0]]), docker=docker)
    reference = put(registry, made, layer)
    registry.basic = {USER: SECRET}
    words: dict[str, Any] = {"insecure": True, "credentials": (USER, SECRET)}
    with pytest.raises(coble.UnsupportedError, match="allow_foreign_urls") as caught:
        engine.images.pull(reference, **words)
    assert layer in str(caught.value) and away.count() == 0
    # A place that is not public has to be named.
    with pytest.raises(coble.RegistryError, match="not public"):
        engine.images.pull(reference, allow_foreign_urls=True, **words)
    assert away.count() == 0 and engine.images.list() == []
    image = engine.images.pull(reference, allow_foreign_urls=True, foreign_url_hosts=[away.host], **words)
    assert image.digest == made.digest and engine.verify() == []
    assert [(one.target, one.headers.get("authorization")) for one in away.requests()] == [("/layer", None)]
    assert engine.images.plan(reference, allow_foreign_urls=True, **words).missing_bytes == 0


def test_what_comes_from_elsewhere_is_verified(engine: coble.Engine, store: Store, registry: Registry, away: Registry) -> None:
    plain = content.small()
    data = plain.blobs[plain.layers[0]]
    wrong = serves(away, data[:-1] + bytes([data[-1] ^ 1]), "/wrong")
    short, long = serves(away, data[:100], "/short"), serves(away, data + b"x", "/long")
    words: dict[str, Any] = {"insecure": True, "allow_foreign_urls": True, "foreign_url_hosts": [away.host], "retries": 1}
    for urls in ([wrong], [short], [long], [long, wrong, short]):
        made, layer = foreign(*urls)
        with pytest.raises(coble.DigestMismatchError):
            engine.images.pull(put(registry, made, layer), **words)
        engine.images.prune(all=True)
        assert engine.images.list() == [] and blobs_of(store) == 0 and partial(store) == []

    def cut(exchange: Exchange) -> None:
        exchange.begin(200, length=len(data))
        exchange.chunk(data[:5000])
        exchange.cut()

    away.on("GET", "/cut", cut)
    # One after the other, until one is right; the end of what one began comes from the next.
    for urls in ([wrong, f"{away.url}/good"], [f"{away.url}/gone", short, long, f"{away.url}/good"], [f"{away.url}/cut", f"{away.url}/good"]):
        serves(away, data, "/good")
        made, layer = foreign(*urls)
        reference = put(registry, made, layer)
        assert engine.images.pull(reference, **words).digest == made.digest
        engine.images.remove(reference)
        engine.images.prune(all=True)


def test_with_tls(engine: coble.Engine, registry: Registry, servers: Any, home: Path, loopback: Any, authority: Any) -> None:
    """The authorities of the directory of certificates are trusted, and nothing that is there is shown: that the call is insecure is about the registry alone."""
    plain = content.small()
    data = plain.blobs[plain.layers[0]]
    away: Registry = servers.add(Registry(loopback))
    made, layer = foreign(serves(away, data))
    reference = put(registry, made, layer)
    words: dict[str, Any] = {"insecure": True, "allow_foreign_urls": True, "foreign_url_hosts": [away.host]}
    with pytest.raises(coble.NetworkError, match="not trusted"):
        engine.images.pull(reference, **words)
    assert away.count() == 0
    folder = home / "config/containers/certs.d" / away.host
    folder.mkdir(parents=True)
    (folder / "ca.crt").write_bytes(authority.own.certificate.read_bytes())
    # Not that of a client, with which nothing could be opened: it is not even read.
    (folder / "client.cert").write_text("nonsense")
    (folder / "client.key").write_text("nonsense")
    with pytest.raises(coble.RegistryError, match="not public"):
        engine.images.pull(reference, **{**words, "foreign_url_hosts": None})
    assert away.count() == 0
    assert engine.images.pull(reference, **words).digest == made.digest
    # What began with TLS goes on with it.
    inside: Registry = servers.add(Registry())
    target = serves(inside, data)
    away.on("GET", "/moved", lambda exchange: exchange.reply(302, b"", {"Location": target}))
    made, layer = foreign(f"{away.url}/moved", text="other")
    with pytest.raises(coble.RegistryError, match="not encrypted"):
        engine.images.pull(put(registry, made, layer), **{**words, "foreign_url_hosts": ["127.0.0.1"]})
    assert inside.count() == 0


def test_through_a_proxy(engine: coble.Engine, registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is no name of the internet is not given to a proxy, whose network it may be of."""
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    for url, said in (("https://10.1.2.3/layer", "not public"), ("https://intranet/layer", "not public"), ("https://away.example/layer", "127.0.0.1:1")):
        made, layer = foreign(url)
        with pytest.raises(coble.CobleError, match=said):
            engine.images.pull(put(registry, made, layer), insecure=True, allow_foreign_urls=True, retries=0)


def test_the_first_sixteen_urls_are_tried(engine: coble.Engine, registry: Registry, away: Registry) -> None:
    made, layer = foreign(*(f"{away.url}/no{n}" for n in range(1000)))
    reference = put(registry, made, layer)
    with pytest.raises(coble.RegistryError) as caught:
        engine.images.pull(reference, insecure=True, allow_foreign_urls=True, foreign_url_hosts=[away.host])
    assert away.count() == 16 and len(str(caught.value)) < 3000


def test_the_registry_is_asked_first(engine: coble.Engine, registry: Registry, away: Registry) -> None:
    plain = content.small()
    made, _ = foreign(serves(away, plain.blobs[plain.layers[0]]))
    registry.put("team/image", "1", made)
    assert engine.images.pull(f"{registry.host}/team/image:1", insecure=True).digest == made.digest
    assert away.count() == 0


def test_any_descriptor_may_name_urls(engine: coble.Engine, registry: Registry, away: Registry) -> None:
    made = content.small()
    document = made.document
    document["config"]["urls"] = [serves(away, made.blobs[made.config], "/config")]
    document["layers"][1]["urls"] = [serves(away, made.blobs[made.layers[1]])]
    made = made.replaced(document)
    registry.put("team/image", "1", made)
    registry.held -= {("team/image", made.config), ("team/image", made.layers[1])}
    reference = f"{registry.host}/team/image:1"
    with pytest.raises(coble.RegistryError, match="allow_foreign_urls"):
        engine.images.pull(reference, insecure=True)
    assert away.count() == 0
    assert engine.images.pull(reference, insecure=True, allow_foreign_urls=True, foreign_url_hosts=["127.0.0.1"]).digest == made.digest


def test_such_layers_are_not_passed_on(engine: coble.Engine, registry: Registry, servers: Any, away: Registry) -> None:
    plain = content.small()
    made, layer = foreign(serves(away, plain.blobs[plain.layers[0]]))
    reference = put(registry, made, layer)
    urls: dict[str, Any] = {"allow_foreign_urls": True, "foreign_url_hosts": [away.host]}
    engine.images.pull(reference, insecure=True, **urls)
    other: Registry = servers.add(Registry())
    both: dict[str, Any] = {"source_insecure": True, "target_insecure": True}

    def push(name: str, **words: Any) -> coble.Pushed:
        engine.images.tag(reference, f"{other.host}/{name}:1")
        return engine.images.push(f"{other.host}/{name}:1", insecure=True, **words)

    for name, send in (("pushed", push), ("copied", lambda name, **words: engine.images.copy(reference, f"{other.host}/{name}:1", **both, **words))):
        done = send(name)
        assert (done.digest, [one.code for one in done.warnings], done.blobs_sent) == (made.digest, ["nondistributable-skipped"], 2)
        assert (name, layer) not in other.held
        # In another form it is the same layer at the same place.
        done = send(f"{name}-docker", format="v2s2")
        found = json.loads(other.manifests[f"{name}-docker", done.digest][1])["layers"][0]
        assert found == {**made.document["layers"][0], "mediaType": FOREIGN[True]} and (f"{name}-docker", layer) not in other.held
    assert push("all", allow_nondistributable_artifacts=True).warnings == [] and ("all", layer) in other.held
    # The source of a copy does not have it.
    target = f"{other.host}/all-copied:1"
    other.held.discard(("all", layer))
    other.mounts = False
    with pytest.raises(coble.UnsupportedError, match="allow_foreign_urls"):
        engine.images.copy(reference, target, allow_nondistributable_artifacts=True, **both)
    done = engine.images.copy(reference, target, allow_nondistributable_artifacts=True, **both, **urls)
    assert done.digest == made.digest and ("all-copied", layer) in other.held and done.warnings == []


def test_an_image_upon_one_with_such_a_layer(box: coble.Engine, registry: Registry, servers: Any, away: Registry) -> None:
    """What names the place goes along."""
    plain = content.small()
    made, layer = foreign(serves(away, plain.blobs[plain.layers[0]]), docker=True)
    box.images.pull(put(registry, made, layer), insecure=True, allow_foreign_urls=True, foreign_url_hosts=[away.host])
    container = box.containers.create(f"{registry.host}/team/image:1", ["/x"])
    other: Registry = servers.add(Registry())
    reference = f"{other.host}/there/image:1"
    container.commit(reference)
    container.remove()
    pushed = box.images.push(reference, insecure=True)
    found = json.loads(other.manifests["there/image", pushed.digest][1])["layers"][0]
    assert found == {**made.document["layers"][0], "mediaType": FOREIGN[False]}


def test_other_arguments(engine: coble.Engine, registry: Registry) -> None:
    made, layer = foreign()
    reference = put(registry, made, layer)
    with pytest.raises(coble.InvalidArgumentError, match="allow_foreign_urls"):
        engine.images.pull(reference, insecure=True, foreign_url_hosts=["a.example"])
    for host in ("https://a.example", "a.example/path", "user@a.example", ""):
        with pytest.raises(coble.InvalidArgumentError, match="host"):
            engine.images.pull(reference, insecure=True, allow_foreign_urls=True, foreign_url_hosts=[host])
    with pytest.raises(coble.UnsupportedError, match="no URL"):
        engine.images.pull(reference, insecure=True, allow_foreign_urls=True)


def test_the_command(store: Store, engine: coble.Engine, registry: Registry, away: Registry, servers: Any) -> None:
    command = Command(store)
    plain = content.small()
    made, layer = foreign(serves(away, plain.blobs[plain.layers[0]]))
    reference = put(registry, made, layer)
    refused = command("pull", "--tls-verify=false", reference)
    assert refused.returncode == 125 and b"--allow-foreign-urls" in refused.stderr
    assert command("pull", "--foreign-url-host", away.host, reference).returncode == 125
    command.good("pull", "-q", "--tls-verify=false", "--allow-foreign-urls", "--foreign-url-host", away.host, reference)
    other: Registry = servers.add(Registry())
    command.good("tag", reference, f"{other.host}/a:1")
    done = command("push", "--tls-verify=false", f"{other.host}/a:1")
    assert done.returncode == 0 and b"not distributable" in done.stderr and ("a", layer) not in other.held
    command.good("push", "--tls-verify=false", "--allow-nondistributable-artifacts", f"{other.host}/a:1")
    assert ("a", layer) in other.held


def test_with_debians_registry(engine: coble.Engine, debian: DebianRegistry, registry: Registry, away: Registry) -> None:
    """It takes a manifest whose foreign layer it does not have."""
    plain = content.small("debian")
    for docker, name in ((False, "oci"), (True, "docker")):
        made, layer = foreign(serves(away, plain.blobs[plain.layers[0]]), docker=docker, text="debian")
        source = put(registry, made, layer)
        urls: dict[str, Any] = {"insecure": True, "allow_foreign_urls": True, "foreign_url_hosts": [away.host]}
        engine.images.pull(source, **urls)
        for form in ("oci", "v2s2"):
            target = f"{debian.host}/foreign/{form}-of-{name}:1"
            engine.images.tag(source, target)
            pushed = engine.images.push(target, format=form, insecure=True)  # type: ignore[call-overload]
            with content.Client(debian.host) as client:
                _, found = client.manifest(f"foreign/{form}-of-{name}", "1")
                assert content.digest_of(found) == pushed.digest and not client.has_blob(f"foreign/{form}-of-{name}", layer)
                assert json.loads(found)["layers"][0]["mediaType"] == FOREIGN[form == "v2s2"]
        engine.images.prune(all=True)
