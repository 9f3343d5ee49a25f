"""Manifests and indexes that are not what they should be. See `registry.scene` for what a case is."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from registry import content
from registry.content import Content
from registry.http import Exchange
from registry.own import MANIFEST
from registry.scene import SECRET, USER, Case, Cases, Judge, Scene, blob_of, on_blob

pytestmark = [pytest.mark.once, pytest.mark.usefixtures("home")]

CASES = Cases()


def says_of_itself(scene: Scene, media_type: str | None) -> str:
    """The registry says another media type of a manifest."""
    made, reference = scene.image()
    headers = {"Docker-Content-Digest": made.digest, **({"Content-Type": media_type} if media_type else {})}
    scene.registry.on("GET", MANIFEST, lambda exchange: exchange.reply(200, made.manifest, headers))
    return reference


@CASES.case("InvalidImage", "Registry")
def media_type_is_wrong(scene: Scene) -> Iterator[str]:
    yield says_of_itself(scene, "text/html")


@CASES.case("InvalidImage", "Registry")
def media_type_is_another_than_in_the_manifest(scene: Scene) -> Iterator[str]:
    """SEC-103."""
    yield says_of_itself(scene, content.OCI_INDEX)


@CASES.case(None)
def media_type_has_parameters(scene: Scene) -> Iterator[str]:
    yield says_of_itself(scene, f"{content.OCI_MANIFEST}; charset=utf-8")


@CASES.case(None)
def media_type_is_not_said(scene: Scene) -> Iterator[str]:
    """The manifest itself says it."""
    yield says_of_itself(scene, None)


@CASES.case("InvalidImage", "Registry")
def manifest_that_is_also_an_index(scene: Scene) -> Iterator[str]:
    """SEC-103."""
    made, other = content.small(), content.small("other")
    scene.registry.put("team/image", "other", other)
    yield scene.holds(made.changed(manifests=[other.descriptor(platform={"os": "linux", "architecture": "amd64"})]))


@CASES.case("InvalidImage", "Registry")
def index_that_is_also_a_manifest(scene: Scene) -> Iterator[str]:
    made = content.small()
    both = content.index((made, {"os": "linux", "architecture": "amd64"}), more={"config": made.document["config"], "layers": made.document["layers"]})
    yield scene.holds(both)


@CASES.case("InvalidImage", "Registry")
def entry_of_an_index_with_another_media_type(scene: Scene) -> Iterator[str]:
    made = content.small()
    both = content.index((made, {"os": "linux", "architecture": "amd64"}))
    document = both.document
    document["manifests"][0]["mediaType"] = content.DOCKER_MANIFEST
    yield scene.holds(both.replaced(document))


@CASES.case("DigestMismatch", "Registry", says="{digest}")
def manifest_of_another_digest(scene: Scene) -> Iterator[str]:
    """Asked for by digest."""
    made, _ = scene.image()
    scene.registry.manifests["team/image", made.digest] = (made.media_type, made.manifest.replace(b"size", b"sizE"))
    yield f"{scene.registry.host}/team/image@{made.digest}"


@CASES.case("DigestMismatch", "Registry")
def manifest_with_the_digest_of_another(scene: Scene) -> Iterator[str]:
    """Asked for by tag: what the header says must be true."""
    made = content.small()
    yield scene.holds(made, under=content.small("other").digest)


@CASES.case("DigestMismatch", "Registry", says="{digest}")
def manifest_in_an_index_of_another_digest(scene: Scene) -> Iterator[str]:
    made = content.small()
    whole = content.index((made, {"os": "linux", "architecture": "amd64"}))
    reference = scene.holds(whole)
    scene.registry.manifests["team/image", made.digest] = (made.media_type, made.manifest + b" ")
    yield reference


@CASES.case(None)
def digest_of_the_content_is_not_said(scene: Scene) -> Iterator[str]:
    made, reference = scene.image()
    scene.registry.on("GET|HEAD", MANIFEST, lambda exchange: exchange.reply(200, made.manifest, {"Content-Type": made.media_type}))
    yield reference


@CASES.case(None)
def head_is_not_supported(scene: Scene) -> Iterator[str]:
    _, reference = scene.image()
    scene.registry.on("HEAD", ".*", lambda exchange: exchange.reply(405))
    yield reference


@CASES.case("LimitExceeded", "Registry", "InvalidImage", says="{host}")
def gigantic_manifest(scene: Scene) -> Iterator[str]:
    made, _ = scene.image()
    yield scene.holds(made.changed(annotations={"x": "y" * (64 << 20)}))
    assert sum(one.sent for one in scene.registry.requests("GET", MANIFEST)) < 32 << 20


@CASES.case("LimitExceeded", "Registry", "InvalidImage", says="{host}")
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


@CASES.case(None)
def manifest_of_four_mebibytes(scene: Scene) -> Iterator[str]:
    """That much must be taken, says the specification."""
    made, _ = scene.image()
    big = made.changed(annotations={"x": "y" * ((4 << 20) - len(made.manifest) - 100)})
    assert 4_000_000 < len(big.manifest) <= 4 << 20
    yield scene.holds(big)


@CASES.case("InvalidImage", "Registry", "LimitExceeded")
def manifest_of_deep_json(scene: Scene) -> Iterator[str]:
    made, _ = scene.image()
    deep = b'{"schemaVersion":2,"x":' + b"[" * 1_000_000 + b"]" * 1_000_000 + b"}"
    yield scene.holds(Content(made.media_type, deep))


@CASES.case("InvalidImage", "Registry", "LimitExceeded")
def manifest_of_very_many_layers(scene: Scene) -> Iterator[str]:
    made, _ = scene.image()
    yield scene.holds(made.changed(layers=made.document["layers"] * 5000))


@CASES.case("InvalidImage", "Registry", says="schema")
def manifest_of_schema_1(scene: Scene) -> Iterator[str]:
    document = {"schemaVersion": 1, "name": "team/image", "tag": "1", "architecture": "amd64", "fsLayers": [], "history": []}
    yield scene.holds(Content("application/vnd.docker.distribution.manifest.v1+prettyjws", json.dumps(document).encode()))


@CASES.case("InvalidImage", "Registry")
def manifest_that_is_none(scene: Scene) -> Iterator[str]:
    yield scene.holds(Content(content.OCI_MANIFEST, b"[1, 2"))


@CASES.case("InvalidImage", "Registry")
def manifest_that_is_empty(scene: Scene) -> Iterator[str]:
    yield scene.holds(Content(content.OCI_MANIFEST, b""))


@CASES.case("InvalidImage", "Registry", "InvalidDigest")
def digest_of_an_unknown_algorithm(scene: Scene) -> Iterator[str]:
    made, _ = scene.image()
    document = made.document
    document["layers"][0]["digest"] = "md5:" + "0" * 32
    yield scene.holds(made.replaced(document))


@CASES.case("InvalidImage", "Registry", "InvalidDigest")
def digest_with_a_path_in_it(scene: Scene) -> Iterator[str]:
    made, _ = scene.image()
    document = made.document
    document["layers"][0]["digest"] = "sha256:../../../../etc/passwd"
    yield scene.holds(made.replaced(document))


@CASES.case(None)
def sha512_of_everything(scene: Scene) -> Iterator[str]:
    made = content.small(algorithm="sha512")
    reference = scene.holds(made)
    outcome = yield f"{reference.rsplit(':', 1)[0]}@{made.digest}"
    assert outcome.value["digest"] == made.digest


@CASES.case("DigestMismatch", says="{layer}")
def sha512_that_is_wrong(scene: Scene) -> Iterator[str]:
    made = content.small(algorithm="sha512")
    reference = scene.holds(made)
    on_blob(scene, blob_of(made), lambda exchange, data: exchange.reply(200, bytes(len(data))))
    yield reference


@CASES.case("InvalidImage", "Unsupported")
def layer_of_an_unknown_type(scene: Scene) -> Iterator[str]:
    yield scene.holds(content.small(media_types=["application/vnd.test.thing"]))


@CASES.case("InvalidImage", "Unsupported")
def artifact_that_is_no_image(scene: Scene) -> Iterator[str]:
    made = content.small(layers=1)
    made.blobs[content.digest_of(b"{}")] = b"{}"
    config = {"mediaType": "application/vnd.oci.empty.v1+json", "digest": content.digest_of(b"{}"), "size": 2}
    yield scene.holds(made.changed(config=config, artifactType="application/vnd.test.thing"))


@CASES.case("InvalidImage", "Unsupported")
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


AMD64 = {"os": "linux", "architecture": "amd64"}


@CASES.case(None)
def index_with_attestations(scene: Scene) -> Iterator[str]:
    made, statement = content.small(), content.small("statement")
    whole = content.index((statement, {"os": "unknown", "architecture": "unknown"}), (made, AMD64))
    reference = scene.holds(whole)
    outcome = yield reference
    assert outcome.value["id"] == made.config
    assert scene.registry.count("GET", rf".*/manifests/{statement.digest}") == 0


@CASES.case("InvalidImage", "ImageNotFound", says="linux/s390x")
def index_without_the_platform(scene: Scene) -> Iterator[str]:
    """Those that there are are named."""
    scene.words["platform"] = "linux/amd64"
    yield scene.holds(content.index((content.small(), {"os": "linux", "architecture": "s390x"})))


@CASES.case(None)
def index_in_an_index(scene: Scene) -> Iterator[str]:
    made = content.small()
    yield scene.holds(content.index((content.index((made, AMD64)), AMD64)))


@CASES.case("InvalidImage", "LimitExceeded", "Registry")
def index_in_an_index_very_often(scene: Scene) -> Iterator[str]:
    made = content.small()
    for _ in range(100):
        made = content.index((made, AMD64))
    yield scene.holds(made)
    assert scene.registry.count("GET", MANIFEST) < 20


@CASES.case("InvalidImage", "LimitExceeded", "Registry", "ImageNotFound", None)
def index_of_very_many_entries(scene: Scene) -> Iterator[str]:
    made = content.small()
    whole = content.index((made, AMD64))
    document = whole.document
    document["manifests"] = [{**document["manifests"][0], "platform": {"os": "linux", "architecture": f"a{n}"}} for n in range(10_000)] + document["manifests"]
    yield scene.holds(whole.replaced(document))
    assert scene.registry.count("GET", MANIFEST) < 10


@CASES.case("InvalidImage", "ImageNotFound")
def index_of_nothing(scene: Scene) -> Iterator[str]:
    yield scene.holds(content.index())


@pytest.mark.timeout(180)
@pytest.mark.parametrize("one", CASES.all, ids=str)
def test_case(one: Case, judge: Judge) -> None:
    judge(one)
