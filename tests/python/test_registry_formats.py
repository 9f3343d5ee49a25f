"""Manifests of one form made into the other, by a push and by a copy: OCI's, and docker's schema 2."""

from __future__ import annotations

import json
from typing import Any

import archives
import coble
import pytest
from conftest import Store
from registry import content
from registry.content import DOCKER_CONFIG, DOCKER_INDEX, DOCKER_LAYER, DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST, Content
from registry.own import Registry
from test_command import Command

pytestmark = pytest.mark.usefixtures("home")

BOTH = {"source_insecure": True, "target_insecure": True}
AMD64, ARM64 = ({"os": "linux", "architecture": name} for name in ("amd64", "arm64"))
TYPES = {"oci": (OCI_MANIFEST, archives.OCI_CONFIG, archives.OCI_LAYER, "+"), "v2s2": (DOCKER_MANIFEST, DOCKER_CONFIG, DOCKER_LAYER, ".")}


def expected(made: Content, form: str, compression: str = "gzip") -> dict[str, Any]:
    """The manifest of an image in a form."""
    manifest, config, layer, separator = TYPES[form]
    suffix = "" if compression == "plain" else separator + compression
    document = made.document
    document["mediaType"] = manifest
    document["config"]["mediaType"] = config
    for one in document["layers"]:
        one["mediaType"] = layer + suffix
    return document


def stored(registry: Registry, name: str, digest: str) -> tuple[str, dict[str, Any]]:
    """The media type and the document of a manifest; nobody has said another digest or type than it has."""
    media_type, data = registry.manifests[name, digest]
    document: dict[str, Any] = json.loads(data)
    assert content.digest_of(data) == digest and document["mediaType"] == media_type
    return media_type, document


def codes(pushed: coble.Pushed) -> list[str]:
    return [warning.code for warning in pushed.warnings]


@pytest.fixture
def other(servers: Any) -> Registry:
    made: Registry = servers.add(Registry())
    return made


@pytest.mark.parametrize("compression", ["gzip", "plain"])
@pytest.mark.parametrize(("docker", "form"), [(False, "v2s2"), (True, "oci")])
def test_there_and_back(engine: coble.Engine, registry: Registry, other: Registry, docker: bool, form: Any, compression: str) -> None:
    made = content.small(docker=docker, compression=compression)
    registry.put("team/image", "1", made)
    source, target = f"{registry.host}/team/image:1", f"{other.host}/there/image:2"
    image = engine.images.pull(source, insecure=True)
    engine.images.tag(source, target)
    events: list[Any] = []
    pushed = engine.images.push(target, format=form, insecure=True, progress=events.append)
    assert (pushed.media_type, pushed.size, codes(pushed)) == (TYPES[form][0], len(other.manifests["there/image", pushed.digest][1]), [])
    assert stored(other, "there/image", pushed.digest) == (TYPES[form][0], expected(made, form, compression))
    assert other.tags["there/image", "2"] == pushed.digest != made.digest
    assert [one.message for one in events if one.kind == "resolve"] == [pushed.digest]
    # Configuration and layers are the same bytes, and it is known what the image is there.
    assert {digest: other.blobs[digest] for digest in made.blobs} == made.blobs
    assert f"{other.host}/there/image@{pushed.digest}" in image.repo_digests and image.digest == made.digest
    # A copy comes to the same, and back again to what there was in the beginning, but for its white space.
    copied = engine.images.copy(source, f"{other.host}/copied/image:1", format=form, **BOTH)
    assert (copied.digest, copied.media_type) == (pushed.digest, pushed.media_type)
    back = engine.images.copy(target, f"{registry.host}/back/image:1", format="oci" if form == "v2s2" else "v2s2", **BOTH)
    assert stored(registry, "back/image", back.digest)[1] == made.document
    # Whoever has nothing of it gets the same image.
    engine.images.remove(target)
    engine.images.remove(source)
    again = engine.images.pull(target, insecure=True)
    assert (again.id, again.digest) == (image.id, pushed.digest)


@pytest.mark.parametrize(("docker", "form"), [(True, "v2s2"), (False, "oci")])
def test_what_is_in_the_form_stays_byte_for_byte(engine: coble.Engine, registry: Registry, other: Registry, docker: bool, form: Any) -> None:
    made = content.small(docker=docker, annotations=None if docker else {"a": "b"})
    whole = content.index((made, AMD64), (content.small("more", docker=docker), ARM64), docker=docker)
    for tag, what in (("1", made), ("all", whole)):
        registry.put("team/image", tag, what)
        source = f"{registry.host}/team/image:{tag}"
        done = engine.images.copy(source, f"{other.host}/copied/image:{tag}", format=form, **BOTH)
        assert (done.digest, codes(done)) == (what.digest, []) and other.manifests["copied/image", what.digest][1] == what.manifest
        engine.images.pull(source, platform="all", insecure=True)
        engine.images.tag(source, f"{other.host}/pushed/image:{tag}")
        done = engine.images.push(f"{other.host}/pushed/image:{tag}", format=form, insecure=True)
        assert (done.digest, codes(done)) == (what.digest, []) and other.manifests["pushed/image", what.digest][1] == what.manifest


def test_what_docker_has_no_place_for_is_told(engine: coble.Engine, registry: Registry, other: Registry) -> None:
    made = content.small(annotations={"org.opencontainers.image.title": "x"})
    document = made.document
    document["layers"][0]["annotations"] = {"a": "b"}
    made = made.replaced(document)
    registry.put("team/image", "1", made)
    source, target = f"{registry.host}/team/image:1", f"{other.host}/there/image:1"
    done = engine.images.copy(source, target, format="v2s2", **BOTH)
    _, found = stored(other, "there/image", done.digest)
    assert codes(done) == ["annotations-dropped"] and "annotations" in done.warnings[0].message
    assert set(found) == {"schemaVersion", "mediaType", "config", "layers"} and set(found["layers"][0]) == {"mediaType", "digest", "size"}
    engine.images.pull(source, insecure=True)
    engine.images.tag(source, target)
    pushed = engine.images.push(target, format="v2s2", insecure=True)
    assert (pushed.digest, codes(pushed)) == (done.digest, codes(done)) and done.to_dict()["warnings"][0]["code"] == "annotations-dropped"


def test_indexes_and_manifest_lists(engine: coble.Engine, registry: Registry, other: Registry) -> None:
    amd, arm = content.small("amd"), content.small("arm")
    statement = content.small("statement", layers=1, media_types=["application/vnd.in-toto+json"])
    whole = content.index((amd, AMD64), (arm, {**ARM64, "variant": "v8"}), (statement, {"os": "unknown", "architecture": "unknown"}), more={"annotations": {"a": "b"}})
    registry.put("team/image", "1", whole)
    source, target = f"{registry.host}/team/image:1", f"{other.host}/there/image:1"
    done = engine.images.copy(source, target, format="v2s2", **BOTH)
    media_type, found = stored(other, "there/image", done.digest)
    assert (media_type, done.media_type) == (DOCKER_INDEX, DOCKER_INDEX) and set(found) == {"schemaVersion", "mediaType", "manifests"}
    assert [entry["platform"] for entry in found["manifests"]] == [AMD64, {**ARM64, "variant": "v8"}]
    for entry, made in zip(found["manifests"], (amd, arm)):
        assert stored(other, "there/image", entry["digest"]) == (DOCKER_MANIFEST, expected(made, "v2s2"))
        assert (entry["mediaType"], entry["size"]) == (DOCKER_MANIFEST, len(other.manifests["there/image", entry["digest"]][1]))
    assert sorted(codes(done)) == ["annotations-dropped", "attestations-dropped"]
    assert not other.held & {("there/image", digest) for digest in statement.layers}
    # One platform of it.
    single = engine.images.copy(source, f"{other.host}/there/arm:1", platform="linux/arm64", format="v2s2", **BOTH)
    assert single.digest == found["manifests"][1]["digest"] and codes(single) == []
    # From here: what the name has here.
    engine.images.pull(source, platform="all", insecure=True)
    engine.images.tag(source, f"{other.host}/pushed/image:1")
    pushed = engine.images.push(f"{other.host}/pushed/image:1", tags=["2"], format="v2s2", insecure=True)
    assert pushed.digest == done.digest and other.tags["pushed/image", "2"] == pushed.digest
    # And back: an index of the same images.
    back = engine.images.copy(target, f"{registry.host}/back/image:1", format="oci", **BOTH)
    _, again = stored(registry, "back/image", back.digest)
    assert (back.media_type, [entry["platform"] for entry in again["manifests"]]) == (OCI_INDEX, [AMD64, {**ARM64, "variant": "v8"}])
    for entry, made in zip(again["manifests"], (amd, arm)):
        assert stored(registry, "back/image", entry["digest"])[1] == made.document


def test_layers_of_zstd(engine: coble.Engine, registry: Registry, other: Registry) -> None:
    """They are compressed anew where they are here, and refused where that would take more than a copy."""
    made = content.small(compression="zstd")
    registry.put("team/image", "1", made)
    source, target = f"{registry.host}/team/image:1", f"{other.host}/there/image:1"
    with pytest.raises(coble.UnsupportedError, match="zstd") as caught:
        engine.images.copy(source, target, format="v2s2", **BOTH)
    assert "push it" in "".join(caught.value.__notes__) and other.tags == {}
    image = engine.images.pull(source, insecure=True)
    engine.images.tag(source, target)
    pushed = engine.images.push(target, format="v2s2", insecure=True)
    _, found = stored(other, "there/image", pushed.digest)
    assert found["config"]["digest"] == made.config
    for layer, before in zip(found["layers"], made.layers):
        data = other.blobs[layer["digest"]]
        assert layer["mediaType"] == DOCKER_LAYER + ".gzip" and data[:2] == b"\x1f\x8b" and layer["digest"] != before and layer["size"] == len(data)
    engine.images.remove(source)
    engine.images.remove(target)
    assert engine.images.pull(target, insecure=True).id == image.id
    with pytest.raises(coble.InvalidArgumentError, match="zstd"):
        engine.images.push(target, format="v2s2", compression="zstd", insecure=True)


def test_a_layer_is_what_its_bytes_are(engine: coble.Engine, registry: Registry, other: Registry) -> None:
    """Some tools say gzip of what is none. Docker's programs would believe them."""
    made = content.small(compression="plain", layers=1, media_types=[archives.OCI_LAYER + "+gzip"])
    liar = content.small("liar", compression="zstd", layers=1, media_types=[archives.OCI_LAYER + "+gzip"])
    for name, what, wanted in (("plain", made, DOCKER_LAYER), ("zstd", liar, DOCKER_LAYER + ".gzip")):
        registry.put(f"team/{name}", "1", what)
        engine.images.pull(f"{registry.host}/team/{name}:1", insecure=True)
        engine.images.tag(f"{registry.host}/team/{name}:1", f"{other.host}/there/{name}:1")
        pushed = engine.images.push(f"{other.host}/there/{name}:1", format="v2s2", insecure=True)
        assert stored(other, f"there/{name}", pushed.digest)[1]["layers"][0]["mediaType"] == wanted


def test_artifacts_and_what_is_unknown_are_refused(engine: coble.Engine, registry: Registry, other: Registry) -> None:
    made = content.small(layers=1)
    made.blobs[content.digest_of(b"{}")] = b"{}"
    config = {"mediaType": "application/vnd.oci.empty.v1+json", "digest": content.digest_of(b"{}"), "size": 2}
    artifact = made.changed(config=config, artifactType="application/vnd.test.thing")
    registry.put("team/image", "1", made)
    registry.put("team/artifact", "1", artifact)
    registry.put("team/referrer", "1", made.changed(subject=made.descriptor()))
    registry.put("team/nested", "1", content.index((content.index((made, AMD64)), AMD64)))
    for name in ("artifact", "referrer", "nested"):
        source, target = f"{registry.host}/team/{name}:1", f"{other.host}/there/{name}:1"
        with pytest.raises(coble.UnsupportedError, match="cannot be converted"):
            engine.images.copy(source, target, format="v2s2", **BOTH)
        assert other.tags == {}
    # It is in OCI's form already, and goes as it is without any.
    for words in ({"format": "oci"}, {}):
        assert engine.images.copy(f"{registry.host}/team/artifact:1", f"{other.host}/there/artifact:1", **words, **BOTH).digest == artifact.digest  # type: ignore[arg-type]
    with pytest.raises(coble.InvalidArgumentError, match="v2s1"):
        engine.images.copy(f"{registry.host}/team/image:1", f"{other.host}/there/image:1", format="v2s1", **BOTH)  # type: ignore[arg-type]


def test_a_copy_to_a_digest(engine: coble.Engine, store: Store, registry: Registry, other: Registry) -> None:
    """It gets no name, and is what was said or nothing."""
    amd = content.small("amd")
    for name, made in (("single", amd), ("several", content.index((amd, AMD64), (content.small("arm"), ARM64)))):
        registry.put(f"team/{name}", "1", made)
        source, there = f"{registry.host}/team/{name}:1", f"{other.host}/there/{name}"
        done = engine.images.copy(source, f"{there}@{made.digest}", **BOTH)
        assert (done.digest, done.tags, done.reference) == (made.digest, [], f"{there}@{made.digest}")
        assert other.tags == {} and other.manifests[f"there/{name}", made.digest][1] == made.manifest
        other.manifests.clear()
        other.held.clear()
        # What is made on the way has another digest, which can be known before.
        with pytest.raises(coble.DigestMismatchError, match=made.digest) as caught:
            engine.images.copy(source, f"{there}@{made.digest}", format="v2s2", **BOTH)
        assert other.manifests == {} and other.held == set()
        converted = engine.images.copy(source, f"{there}:converted", format="v2s2", **BOTH).digest
        assert converted in str(caught.value)
        assert engine.images.copy(source, f"{there}@{converted}", format="v2s2", **BOTH).digest == converted
        with pytest.raises(coble.InvalidReferenceError):
            engine.images.copy(source, f"{there}:1@{made.digest}", **BOTH)
        words = ["--src-tls-verify=false", "--dest-tls-verify=false", source, f"{there}@{made.digest}"]
        assert Command(store).good("image", "copy", *words).startswith(f"digest: {made.digest} size: ")
        assert Command(store).good("image", "copy", "-q", *words) == f"{there}@{made.digest}\n"
        other.tags.clear()


def test_the_command(store: Store, engine: coble.Engine, registry: Registry, other: Registry) -> None:
    """Podman's and skopeo's word, which docker's verbs have for their output, too."""
    command = Command(store)
    made = content.small(annotations={"a": "b"})
    registry.put("team/image", "1", made)
    source, target = f"{registry.host}/team/image:1", f"{other.host}/there/image:1"
    engine.images.pull(source, insecure=True)
    engine.images.tag(source, target)
    done = command("push", "--tls-verify=false", "--format", "v2s2", "--format", "json", target)
    pushed = json.loads(done.stdout)
    assert pushed["media_type"] == DOCKER_MANIFEST and b"warning: docker's manifests have no place for annotations" in done.stderr
    assert pushed["digest"] in command.good("push", "--tls-verify=false", "-f", "v2s2", target)
    copied = json.loads(
        command.good("image", "copy", "--src-tls-verify=false", "--dest-tls-verify=false", "--format=json", "--format=v2s2", source, f"{other.host}/copied/image:1")
    )
    assert copied["digest"] == pushed["digest"]
    for words in (["--format", "v2s1"], ["--format", "oci", "--format", "v2s2"], ["--format", "json", "--format", "json"]):
        assert command("push", "--tls-verify=false", *words, target).returncode == 125
