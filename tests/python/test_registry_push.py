"""Pushing, copying, and what else one does with a registry: tags, catalogue, search, delete, referrers."""

from __future__ import annotations

import json
import platform
import threading
import time
from pathlib import Path
from typing import Any
from urllib.parse import quote

import archives
import coble
import pytest
from conftest import Assets, Store
from registry import content
from registry.content import Content
from registry.debian import DebianRegistry
from registry.http import Exchange
from registry.own import BLOB, JSON, MANIFEST, Registry, errors
from test_command import Command

pytestmark = pytest.mark.usefixtures("home")


def pulled(engine: coble.Engine, registry: Registry, made: Content, name: str = "team/image", tag: str = "1") -> str:
    """The reference of a content that is in the registry and in the store."""
    registry.put(name, tag, made)
    reference = f"{registry.host}/{name}:{tag}"
    engine.images.pull(reference, insecure=True)
    registry.forget()
    return reference


# --- push -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("docker", [False, True], ids=["oci", "docker"])
@pytest.mark.parametrize("compression", ["gzip", "zstd", "plain"])
def test_what_was_pulled_is_pushed_byte_for_byte(engine: coble.Engine, registry: Registry, servers: Any, docker: bool, compression: str) -> None:
    made = content.small(docker=docker, compression=compression)
    reference = pulled(engine, registry, made)
    other: Registry = servers.add(Registry())
    target = f"{other.host}/there/image:2"
    engine.images.tag(reference, target)
    pushed = engine.images.push(target, insecure=True)
    assert other.manifests["there/image", made.digest] == (made.media_type, made.manifest)
    assert {digest: other.blobs[digest] for digest in made.blobs} == made.blobs
    assert pushed.to_dict() == {
        "reference": target, "tags": ["2"], "digest": made.digest, "media_type": made.media_type, "size": len(made.manifest),
        "blobs_sent": 3, "blobs_mounted": 0, "blobs_present": 0, "bytes_sent": sum(map(len, made.blobs.values())), "warnings": [],
    }
    assert registry.count() == 0 and other.uploads == {}
    # Again: nothing is sent.
    other.forget()
    again = engine.images.push(target, insecure=True)
    assert (again.blobs_sent, again.blobs_present, again.bytes_sent) == (0, 3, 0)
    assert other.count("POST|PATCH|PUT", r".*/blobs/.*") == 0


@pytest.mark.once
def test_an_image_knows_what_it_is_in_registries(engine: coble.Engine, registry: Registry, store: Store) -> None:
    machine = {"x86_64": "amd64", "aarch64": "arm64"}[platform.machine()]
    inner = content.small()
    made = content.index((inner, {"os": "linux", "architecture": machine}))
    reference = pulled(engine, registry, made)
    image = engine.images.get(reference)
    here = f"{registry.host}/team/image@{made.digest}"
    assert image.repo_digests == [here]
    target = f"{registry.host}/there/image:2"
    engine.images.tag(reference, target)
    assert image.repo_digests == [here]
    there = f"{registry.host}/there/image@{engine.images.push(target, insecure=True).digest}"
    assert image.repo_digests == sorted([here, there]) == engine.images.inspect(target).repo_digests
    assert image.inspect_docker()["RepoDigests"] == image.repo_digests
    command = Command(store)
    (shown,) = json.loads(command.good("image", "inspect", reference))
    assert shown == image.inspect_docker() and shown["RepoTags"] == [reference, target]
    # The digests of a repository are beside its tags; where it has none, it is there all the same.
    engine.images.untag(target)
    lines = [line.split()[:3] for line in command.good("images", "--digests").splitlines()[1:]]
    assert lines == [[f"{registry.host}/team/image", "1", made.digest], [f"{registry.host}/there/image", "<none>", there.rpartition("@")[2]]]
    for name in image.repo_digests:
        assert engine.images.get(name) == image


def test_blobs_are_mounted_from_other_repositories(engine: coble.Engine, registry: Registry) -> None:
    made = content.small(layers=3)
    reference = pulled(engine, registry, made)
    target = f"{registry.host}/other/image:1"
    engine.images.tag(reference, target)
    pushed = engine.images.push(target, insecure=True)
    assert (pushed.blobs_sent, pushed.blobs_mounted, pushed.bytes_sent) == (0, 4, 0)
    mounts = registry.requests("POST", r".*/uploads/.*mount=.*")
    assert len(mounts) == 4 and all(one.query["from"] == "team/image" for one in mounts)
    assert registry.count("PUT|PATCH", r".*/blobs/.*") == 0
    # Where it cannot be mounted, it is sent, through the session that was opened.
    registry.mounts = False
    more = f"{registry.host}/third/image:1"
    engine.images.tag(reference, more)
    pushed = engine.images.push(more, insecure=True)
    assert (pushed.blobs_sent, pushed.blobs_mounted) == (4, 0)
    assert registry.uploads == {}


# --- several tags -----------------------------------------------------------------------------------------------------


def puts(registry: Any) -> list[str]:
    """The requests that sent manifests, without the host."""
    return [one.target.rsplit("/", 1)[1] for one in registry.requests("PUT", rf"{MANIFEST}")]


@pytest.mark.once
def test_versions_and_features_of_systems(engine: coble.Engine, registry: Registry, servers: Any) -> None:
    def made(version: str, *features: str) -> tuple[Content, dict[str, Any]]:
        of_system = {"os": "windows", "architecture": "amd64", "os.version": version, **({"os.features": list(features)} if features else {})}
        image = archives.Image([archives.tar(archives.file("f", f"{version}{features}".encode()))], {}, configuration=of_system)
        return content.content(image), of_system

    old, new, more = made("10.0.17763.1"), made("10.0.20348.1"), made("10.0.20348.1", "win32k")
    registry.put("team/image", "1", content.index(old, new, more))
    source = f"{registry.host}/team/image:1"
    named = ["windows(10.0.17763.1)/amd64", "windows(10.0.20348.1)/amd64", "windows(10.0.20348.1+win32k)/amd64"]
    assert engine.registry.inspect(source, insecure=True).platforms == named
    for platform, (wanted, _) in zip(["windows(10.0.17763)/amd64", "windows(10.0.20348)/amd64", "windows(+win32k+other)/amd64"], [old, new, more]):
        assert engine.images.pull(source, platform=platform, insecure=True).id == wanted.config, platform
    with pytest.raises(coble.InvalidImageError, match=r"only for windows\(10.0.17763.1\)/amd64"):
        engine.images.pull(source, platform="windows(10.0.14393)/amd64", insecure=True)
    image = engine.images.get(more[0].config)
    assert (image.os_version, image.os_features) == ("10.0.20348.1", ["win32k"])
    assert image.inspect().os_features == ["win32k"]
    # Where an index is made anew they are in it.
    engine.images.pull(source, platform="all", insecure=True)
    other: Registry = servers.add(Registry())
    target = f"{other.host}/there/image:1"
    engine.images.tag(source, target)
    engine.images.remove(old[0].config, force=True)
    pushed = engine.images.push(target, insecure=True)
    entries = json.loads(other.manifests["there/image", pushed.digest][1])["manifests"]
    assert sorted((entry["platform"] for entry in entries), key=len) == [new[1], more[1]]


@pytest.mark.parametrize("platforms", [1, 2])
def test_several_tags_take_one_request(engine: coble.Engine, registry: Registry, servers: Any, platforms: int) -> None:
    made = content.small()
    if platforms == 2:
        made = content.index((made, {"os": "linux", "architecture": "amd64"}), (content.small("arm"), {"os": "linux", "architecture": "arm64"}))
    registry.put("team/image", "1", made)
    other: Registry = servers.add(Registry())
    target = f"{other.host}/there/image:1.2.3"
    source = f"{registry.host}/team/image:1"
    engine.images.pull(source, platform="all" if platforms == 2 else None, insecure=True)
    engine.images.tag(source, target)
    pushed = engine.images.push(target, tags=["1.2", "1", "latest", "1"], insecure=True)
    assert pushed.tags == ["1.2.3", "1.2", "1", "latest"] and pushed.digest == made.digest
    assert {tag: digest for (_, tag), digest in other.tags.items()} == dict.fromkeys(pushed.tags, made.digest)
    assert puts(other)[-1] == f"{made.digest}?tag=1.2.3&tag=1.2&tag=1&tag=latest" and len(puts(other)) == (1 if platforms == 1 else 3)
    # One is set as ever.
    other.forget()
    assert engine.images.push(target, insecure=True).tags == ["1.2.3"] and puts(other)[-1] == "1.2.3"


@pytest.mark.parametrize("how", ["unheard of", "refused", "only some", "too many"])
def test_several_tags_of_a_registry_that_does_not_set_all(engine: coble.Engine, registry: Registry, servers: Any, how: str) -> None:
    made = content.small()
    reference = pulled(engine, registry, made)
    other: Registry = servers.add(Registry())
    target = f"{other.host}/there/image:0"
    engine.images.tag(reference, target)
    tags = [str(n) for n in range(1, 15)]
    query = rf"/v2/.*/manifests/{made.digest}\?tag=.*"
    if how == "unheard of":
        other.tags_at_once = None
    elif how == "too many":
        other.tags_at_once = 3
    elif how == "refused":
        other.on("PUT", query, lambda exchange: (exchange.content(), exchange.reply(400, errors("UNSUPPORTED"), JSON)))
    else:
        # Those that have a 1 in them; and one that nobody asked for.
        def some(exchange: Exchange) -> None:
            body = exchange.content()
            other.manifests["there/image", made.digest] = (made.media_type, body)
            taken = [tag for tag in ("0", *tags) if f"tag={tag}" in exchange.path.replace("?", "&").split("&") and "1" in tag]
            other.tags.update({("there/image", tag): made.digest for tag in taken})
            exchange.reply(201, b"", {"OCI-Tag": " , ".join([*taken, "other"])})

        other.on("PUT", query, some)
    pushed = engine.images.push(target, tags=tags, insecure=True)
    assert pushed.tags == ["0", *tags]
    assert {tag: digest for (_, tag), digest in other.tags.items()} == dict.fromkeys(pushed.tags, made.digest)
    asked = [put for put in puts(other) if "?" in put]
    alone = [put for put in puts(other) if "?" not in put]
    if how == "only some":
        assert len(asked) == 2 and alone == [tag for tag in pushed.tags if "1" not in tag]
    else:
        assert len(asked) == 1 and alone == pushed.tags


def test_several_tags_at_debians_registry(engine: coble.Engine, registry: Registry, debian: DebianRegistry) -> None:
    """It takes each with a request of its own."""
    made = content.small("several tags")
    reference = pulled(engine, registry, made)
    target = f"{debian.host}/several/tags:1"
    engine.images.tag(reference, target)
    pushed = engine.images.push(target, tags=["2", "3"], insecure=True)
    assert engine.registry.tags(f"{debian.host}/several/tags", insecure=True) == ["1", "2", "3"] == pushed.tags
    with content.Client(debian.host) as client:
        assert [content.digest_of(client.manifest("several/tags", tag)[1]) for tag in pushed.tags] == [made.digest] * 3


@pytest.mark.parametrize("tag", ["", "a/b", "a:b", "@sha256:" + "0" * 64, "a b", "-a", "x" * 129, "a\n"])
def test_what_is_no_tag(engine: coble.Engine, registry: Registry, tag: str) -> None:
    reference = pulled(engine, registry, content.small())
    with pytest.raises(coble.InvalidReferenceError):
        engine.images.push(reference, tags=["fine", tag], insecure=True)
    assert registry.count() == 0


def test_a_failure_under_one_of_several_tags(engine: coble.Engine, registry: Registry, servers: Any) -> None:
    reference = pulled(engine, registry, content.small())
    other: Registry = servers.add(Registry())
    other.tags_at_once = None
    other.on("PUT", r".*/manifests/locked", lambda exchange: (exchange.content(), exchange.reply(403, errors("DENIED", "the tag is locked"), JSON)))
    target = f"{other.host}/there/image:1"
    engine.images.tag(reference, target)
    with pytest.raises(coble.UnauthorizedError, match="the tag is locked"):
        engine.images.push(target, tags=["locked"], insecure=True)


# --- blobs ------------------------------------------------------------------------------------------------------------


def test_a_blob_that_two_names_push_at_once(engine: coble.Engine, registry: Registry, servers: Any) -> None:
    made = content.small(layers=3, size=200_000)
    reference = pulled(engine, registry, made)
    other: Registry = servers.add(Registry())
    targets = [f"{other.host}/there/image:{n}" for n in range(4)]
    for target in targets:
        engine.images.tag(reference, target)
    results: list[Any] = []
    threads = [threading.Thread(target=lambda target=target: results.append(engine.images.push(target, insecure=True))) for target in targets]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {one.digest for one in results} == {made.digest} and len(results) == 4
    assert other.uploads == {}


@pytest.mark.parametrize("compression", ["gzip", "zstd", "none"])
def test_layers_made_here(box: coble.Engine, registry: Registry, workplace: Path, compression: str) -> None:
    """They get the compression that is asked for, and work."""
    container = box.containers.create("box", ["sh", "-c", "echo made > /file; head -c 300000 /dev/zero > /zeros"])
    container.start()
    container.wait()
    container.commit("made")
    reference = f"{registry.host}/made/image:1"
    box.images.tag("made", reference)
    pushed = box.images.push(reference, compression=compression, insecure=True)
    _, manifest = registry.manifests["made/image", pushed.digest]
    suffix = {"gzip": "+gzip", "zstd": "+zstd", "none": ""}[compression]
    assert json.loads(manifest)["layers"][-1]["mediaType"] == archives.OCI_LAYER + suffix
    # The image that is here has another form, and stays as it is until it is gone.
    assert box.images.pull(reference, insecure=True).id == box.images.get("made").id
    container.remove()
    box.images.remove(reference)
    box.images.remove("made")
    image = box.images.pull(reference, insecure=True)
    assert image.digest == pushed.digest and box.run(image, ["cat", "/file"]).stdout == b"made\n"
    with pytest.raises(coble.InvalidArgumentError):
        box.images.push(reference, compression="rar", insecure=True)


@pytest.mark.parametrize(("compression", "low", "high"), [("gzip", 1, 9), ("zstd", 1, 19)])
def test_how_hard_layers_made_here_are_compressed(box: coble.Engine, registry: Registry, workplace: Path, compression: str, low: int, high: int) -> None:
    container = box.containers.create("box", ["sh", "-c", "for n in $(seq 3000); do echo $n $((n * n)) text; done > /file"])
    container.start()
    container.wait()
    container.commit("made")
    container.remove()
    reference = f"{registry.host}/made/image:1"
    box.images.tag("made", reference)

    def size(level: int) -> int:
        pushed = box.images.push(reference, compression=compression, compression_level=level, insecure=True)
        layer: dict[str, Any] = json.loads(registry.manifests["made/image", pushed.digest][1])["layers"][-1]
        assert layer["mediaType"] == f"{archives.OCI_LAYER}+{compression}"
        return int(layer["size"])

    assert size(high) < size(low)
    for wrong in ({"compression": compression, "compression_level": 23}, {"compression": "none", "compression_level": 1}, {"compression_level": 1}):
        with pytest.raises(coble.InvalidArgumentError, match="level"):
            box.images.push(reference, insecure=True, **wrong)  # type: ignore[call-overload]


def test_what_is_not_there_is_not_pushed(engine: coble.Engine, registry: Registry) -> None:
    with pytest.raises(coble.ImageNotFoundError):
        engine.images.push(f"{registry.host}/team/image:1", insecure=True)
    assert registry.count() == 0


def test_a_damaged_blob_is_not_pushed(engine: coble.Engine, store: Store, registry: Registry, servers: Any) -> None:
    made = content.small()
    reference = pulled(engine, registry, made)
    other: Registry = servers.add(Registry())
    target = f"{other.host}/there/image:1"
    engine.images.tag(reference, target)
    blob = store.data_root / "content/blobs" / made.layers[0].replace(":", "/")
    data = blob.read_bytes()
    blob.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    with pytest.raises(coble.CobleError) as caught:
        engine.images.push(target, insecure=True)
    assert caught.value.kind in ("DigestMismatch", "Registry") and other.tags == {}
    blob.write_bytes(data)
    assert engine.images.push(target, insecure=True).digest == made.digest


def test_progress(engine: coble.Engine, registry: Registry, servers: Any) -> None:
    made = content.small(layers=3, size=300_000)
    reference = pulled(engine, registry, made)
    other: Registry = servers.add(Registry())
    other.blobs[made.layers[0]] = made.blobs[made.layers[0]]
    other.held.add(("there/image", made.layers[0]))
    target = f"{other.host}/there/image:1"
    engine.images.tag(reference, target)
    events: list[Any] = []
    engine.images.push(target, insecure=True, progress=events.append)
    assert events[-1].kind == "done" and all(one.reference == target for one in events)
    assert [one.digest for one in events if one.kind == "blob-cached"] == [made.layers[0]]
    sent = [*made.layers[1:], made.config]
    for digest in sent:
        mine = [one for one in events if one.digest == digest]
        assert mine[0].kind == "blob-start" and mine[-1].kind == "blob-done"
        assert mine[-1].current == mine[-1].total == len(made.blobs[digest])
    # Whether a blob is there is known only when it is its turn.
    assert events[-1].overall_current == events[-1].overall_total == sum(map(len, made.blobs.values()))
    with engine.images.push(target, insecure=True, stream=True) as stream:
        assert [one.kind for one in stream][-1] == "done" and stream.result().blobs_present == 4


def test_cancel(engine: coble.Engine, registry: Registry, servers: Any) -> None:
    """The session of the upload is ended, too."""
    made = content.small(layers=1, size=5_000_000)
    reference = pulled(engine, registry, made)
    other: Registry = servers.add(Registry())
    target = f"{other.host}/there/image:1"
    engine.images.tag(reference, target)
    arrived = threading.Event()

    def hang(exchange: Exchange) -> None:
        exchange.rfile.read(100_000)
        arrived.set()
        exchange.pause(60)

    other.on("PUT|PATCH", r".*/blobs/.*", hang)
    token = coble.CancelToken()
    times: list[float] = []
    cancelling = threading.Thread(target=lambda: (arrived.wait(30), times.append(time.monotonic()), token.cancel()))
    cancelling.start()
    with token, pytest.raises(coble.CancelledError):
        engine.images.push(target, insecure=True)
    took = time.monotonic() - times[0]
    cancelling.join()
    assert took < 10, f"{took} s"
    assert other.tags == {}
    other.rules.clear()
    assert engine.images.push(target, insecure=True).digest == made.digest


# --- copy -------------------------------------------------------------------------------------------------------------


def test_copy(engine: coble.Engine, store: Store, registry: Registry, servers: Any) -> None:
    """From one registry to another, with credentials of each, and nothing stays here."""
    amd, arm = content.small("amd"), content.small("arm")
    whole = content.index((amd, {"os": "linux", "architecture": "amd64"}), (arm, {"os": "linux", "architecture": "arm64"}))
    registry.put("team/image", "1", whole)
    registry.basic = {"a": "secret-a"}
    other: Registry = servers.add(Registry(basic={"b": "secret-b"}))
    words = {"source_insecure": True, "target_insecure": True, "source_credentials": ("a", "secret-a"), "target_credentials": ("b", "secret-b")}
    source, target = f"{registry.host}/team/image:1", f"{other.host}/there/image:2"
    done = engine.images.copy(source, target, **words)  # type: ignore[arg-type]
    assert (done.reference, done.digest, done.media_type) == (target, whole.digest, content.OCI_INDEX)
    assert other.manifests["there/image", whole.digest][1] == whole.manifest
    assert {digest: other.blobs[digest] for digest in whole.blobs} == whole.blobs
    assert len(set(registry.secrets_seen())) == 1 and len(set(other.secrets_seen())) == 1
    assert set(registry.secrets_seen()).isdisjoint(other.secrets_seen())
    # Again there is nothing to do.
    registry.forget()
    other.forget()
    assert engine.images.copy(source, target, **words).bytes_sent == 0  # type: ignore[arg-type]
    assert registry.blob_requests() == {} and other.count("PUT|PATCH|POST", r".*/blobs/.*") == 0
    # One platform.
    single = engine.images.copy(source, f"{other.host}/there/arm:1", platform="linux/arm64", **words)  # type: ignore[arg-type]
    assert single.digest == arm.digest
    assert engine.images.list() == [] and store.litter() == []
    with pytest.raises(coble.ImageNotFoundError):
        engine.images.copy(f"{registry.host}/team/none:1", target, **words)  # type: ignore[arg-type]
    with pytest.raises(coble.UnauthorizedError):
        engine.images.copy(source, target, **{**words, "target_credentials": None})  # type: ignore[arg-type]


def test_copy_in_one_registry(engine: coble.Engine, registry: Registry) -> None:
    """Nothing is fetched: the blobs are mounted."""
    made = content.small()
    registry.put("team/image", "1", made)
    words = {"source_insecure": True, "target_insecure": True}
    done = engine.images.copy(f"{registry.host}/team/image:1", f"{registry.host}/other/image:1", **words)  # type: ignore[arg-type]
    assert (done.digest, done.blobs_mounted, done.bytes_sent) == (made.digest, 3, 0)
    assert registry.blob_requests() == {}


def test_copy_of_what_is_damaged(engine: coble.Engine, registry: Registry, servers: Any) -> None:
    made = content.small()
    registry.put("team/image", "1", made)
    registry.blobs[made.layers[1]] = b"x" * len(made.blobs[made.layers[1]])
    other: Registry = servers.add(Registry())
    with pytest.raises(coble.CobleError) as caught:
        engine.images.copy(f"{registry.host}/team/image:1", f"{other.host}/there/image:1", source_insecure=True, target_insecure=True)
    assert caught.value.kind in ("DigestMismatch", "Registry")
    assert other.tags == {} and made.layers[1] not in other.blobs


# --- lists ------------------------------------------------------------------------------------------------------------


def test_tags_and_catalogue(engine: coble.Engine, registry: Registry) -> None:
    made = content.small()
    tags = sorted(f"v{n}" for n in range(25))
    for tag in tags:
        registry.put("team/image", tag, made)
    for n in range(12):
        registry.put(f"more/image{n}", "1", made)
    registry.page = 10
    assert engine.registry.tags(f"{registry.host}/team/image", insecure=True) == tags
    assert registry.count("GET", r".*/tags/list.*") == 3
    names = sorted(["team/image", *(f"more/image{n}" for n in range(12))])
    assert engine.registry.catalog(registry.host, insecure=True) == names
    with pytest.raises(coble.ImageNotFoundError):
        engine.registry.tags(f"{registry.host}/no/such", insecure=True)
    # The tags of what is one of them.
    for suffix in (":v1", f"@{made.digest}"):
        with pytest.raises(coble.CobleError, match="not the repository") as caught:
            engine.registry.tags(f"{registry.host}/team/image{suffix}", insecure=True)
        assert caught.value.kind == "InvalidArgument"


def test_tags_of_debians_registry(engine: coble.Engine, debian: DebianRegistry) -> None:
    """More than a page."""
    made = content.small()
    with content.Client(debian.host) as client:
        client.put("many/tags", "0", made)
        for n in range(1, 120):
            client.expect(201, "PUT", f"/v2/many/tags/manifests/{n}", made.manifest, {"Content-Type": made.media_type})
    assert engine.registry.tags(f"{debian.host}/many/tags", insecure=True) == sorted(map(str, range(120)))
    assert "many/tags" in engine.registry.catalog(debian.host, insecure=True)


def test_inspect(engine: coble.Engine, registry: Registry) -> None:
    made, arm = content.small(), content.small("arm")
    whole = content.index(
        (made, {"os": "linux", "architecture": "amd64"}), (arm, {"os": "linux", "architecture": "arm64", "variant": "v8"}),
        (content.small("statement"), {"os": "unknown", "architecture": "unknown"}),
    )
    registry.put("team/image", "1", whole)
    remote = engine.registry.inspect(f"{registry.host}/team/image:1", insecure=True)
    assert (remote.digest, remote.media_type, remote.manifest) == (whole.digest, content.OCI_INDEX, whole.document)
    assert remote.platforms[0] == "linux/amd64" and remote.platforms[1].startswith("linux/arm64")
    assert not any("unknown" in one for one in remote.platforms)
    one = engine.registry.inspect(f"{registry.host}/team/image:1", platform="linux/arm64", insecure=True)
    assert one.digest == arm.digest and one.config is not None and one.config["config"]["Cmd"] == ["x"]
    assert one.size == len(arm.manifest) + sum(map(len, arm.blobs.values()))
    assert engine.images.list() == []


def test_delete(engine: coble.Engine, registry: Registry) -> None:
    made, other = content.small(), content.small("other")
    registry.put("team/image", "1", made)
    registry.put("team/image", "again", made)
    registry.put("team/image", "other", other)
    engine.registry.delete(f"{registry.host}/team/image:again", insecure=True)
    assert engine.registry.tags(f"{registry.host}/team/image", insecure=True) == ["1", "other"]
    engine.registry.delete(f"{registry.host}/team/image@{made.digest}", insecure=True)
    assert engine.registry.tags(f"{registry.host}/team/image", insecure=True) == ["other"]
    for gone in (":1", f"@{made.digest}"):
        with pytest.raises(coble.ImageNotFoundError):
            engine.registry.delete(f"{registry.host}/team/image{gone}", insecure=True)
    registry.deletes = False
    with pytest.raises(coble.UnsupportedError):
        engine.registry.delete(f"{registry.host}/team/image:other", insecure=True)


def test_referrers(engine: coble.Engine, registry: Registry) -> None:
    made = content.small()
    registry.put("team/image", "1", made)
    for kind in ("application/vnd.test.signature", "application/vnd.test.bom"):
        statement = content.small(kind).changed(subject=made.descriptor(), artifactType=kind, annotations={"says": kind})
        registry.manifests["team/image", statement.digest] = (statement.media_type, statement.manifest)
    found = engine.registry.referrers(f"{registry.host}/team/image:1", insecure=True)
    assert {one.artifact_type for one in found} == {"application/vnd.test.signature", "application/vnd.test.bom"}
    assert all(one.annotations == {"says": one.artifact_type} for one in found)
    (one,) = engine.registry.referrers(f"{registry.host}/team/image@{made.digest}", artifact_type="application/vnd.test.bom", insecure=True)
    assert one.artifact_type == "application/vnd.test.bom"
    # A registry that does not know them: the index with a name made of the digest.
    registry.referrers = False
    assert engine.registry.referrers(f"{registry.host}/team/image:1", insecure=True) == []
    entry = {"mediaType": content.OCI_MANIFEST, "digest": content.digest_of(b"x"), "size": 1, "artifactType": "application/vnd.test.bom"}
    listed = Content(content.OCI_INDEX, json.dumps({"schemaVersion": 2, "mediaType": content.OCI_INDEX, "manifests": [entry]}).encode())
    registry.put("team/image", made.digest.replace(":", "-"), listed)
    (one,) = engine.registry.referrers(f"{registry.host}/team/image:1", insecure=True)
    assert one.digest == content.digest_of(b"x")


# --- search -----------------------------------------------------------------------------------------------------------


def test_search_in_the_first_protocol(engine: coble.Engine, registry: Registry) -> None:
    results = [
        {"name": f"team/image{n}", "description": f"number {n}\nand more\x1b[31m", "star_count": 100 - n, "is_official": n == 0, "is_automated": False}
        for n in range(40)
    ]

    def answer(exchange: Exchange) -> None:
        size, page = int(exchange.query.get("n", 25)), int(exchange.query.get("page", 1))
        part = results[size * (page - 1) : size * page]
        body = {"query": exchange.query["q"], "num_results": len(results), "page_size": size, "results": part, "num_pages": 1, "page": page}
        exchange.reply(200, json.dumps(body).encode(), JSON)

    registry.on("GET", r"/v1/search\?.*", answer)
    found = engine.images.search("image", registry=registry.host, insecure=True)
    assert len(found) == 25 and found[0].stars == 100 and found[0].official and not found[1].official
    assert found[0].name.endswith("team/image0") and "\x1b" not in found[0].description
    assert registry.requests("GET", r"/v1/search.*")[0].query["q"] == "image"
    assert engine.images.search("image", registry=f"http://{registry.host}/", insecure=True) == found
    assert len(engine.images.search("image", registry=registry.host, limit=5, insecure=True)) == 5
    assert len(engine.images.search(f"{registry.host}/image", filters=["is-official=true"], insecure=True)) == 1
    assert {one.stars for one in engine.images.search("image", registry=registry.host, filters=["stars=99"], insecure=True)} == {100, 99}
    for wrong in ({"filters": ["color=red"]}, {"filters": ["stars=many"]}, {"limit": 1000}):
        with pytest.raises(coble.InvalidArgumentError):
            engine.images.search("image", registry=registry.host, insecure=True, **wrong)  # type: ignore[arg-type]
    # Where it cannot be searched, the names of the catalogue have to do; and if there is none either, that is said.
    registry.rules.clear()
    for name in ("team/image", "team/other"):
        registry.put(name, "1", content.small())
    assert [one.name.split("/")[-1] for one in engine.images.search("image", registry=registry.host, insecure=True)] == ["image"]
    registry.on("GET", r"/v2/_catalog.*", lambda exchange: exchange.reply(404))
    with pytest.raises(coble.UnsupportedError) as caught:
        engine.images.search("image", registry=registry.host, insecure=True)
    assert registry.host in str(caught.value)
