"""Pulling: what travels, in how many requests, over many threads and processes, cut short and gone on with."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import archives
import coble
import coble.aio
import pytest
from conftest import MODE, Assets, Store
from helpers import eventually, kill_for_good
from registry import content
from registry.content import Content
from registry.debian import DebianRegistry
from registry.http import Exchange
from registry.own import BLOB, MANIFEST, NAME, Registry
from registry.worker import Worker

pytestmark = pytest.mark.usefixtures("home")

AMD64, ARM64 = {"os": "linux", "architecture": "amd64"}, {"os": "linux", "architecture": "arm64", "variant": "v8"}


def runnable(assets: Assets, text: str = "hello", **options: Any) -> Content:
    """An image with a shell, which says something."""
    layers = [assets.busybox.read_bytes(), archives.tar(archives.file("text", text.encode()))]
    compression = options.pop("compression", "gzip")
    return content.content(archives.Image(layers, {"Cmd": ["cat", "/text"], "Env": ["PATH=/bin"]}, compression=compression), **options)


def blobs(store: Store) -> set[str]:
    folder = store.data_root / "content/blobs"
    return {f"{algorithm.name}:{blob.name}" for algorithm in folder.iterdir() for blob in algorithm.iterdir()}


# --- what travels -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("compression", ["gzip", "zstd", "plain"])
@pytest.mark.parametrize("docker", [False, True], ids=["oci", "docker"])
def test_kinds_of_images(engine: coble.Engine, store: Store, assets: Assets, registry: Registry, docker: bool, compression: str) -> None:
    made = runnable(assets, docker=docker, compression=compression)
    registry.put("team/image", "1", made)
    reference = f"{registry.host}/team/image:1"
    image = engine.images.pull(reference, insecure=True)
    assert (image.digest, image.id, image.references) == (made.digest, made.config, [reference])
    assert engine.run(reference).stdout == b"hello"
    assert blobs(store) == {made.digest, *made.blobs}, "byte for byte"
    assert registry.secrets_seen() == []
    # By digest, and by both.
    by_digest = engine.images.pull(f"{registry.host}/team/image@{made.digest}", insecure=True)
    assert by_digest.id == image.id
    assert engine.images.pull(f"{registry.host}/team/image:1@{made.digest}", insecure=True).id == image.id
    assert all(count == 1 for count in registry.blob_requests().values())


@pytest.mark.usefixtures("debian", "debian_tls", "debian_basic", "debian_tokens")
@pytest.mark.parametrize("which", ["plain", "tls", "basic", "tokens"])
def test_debians_registry(engine: coble.Engine, stores: Any, assets: Assets, request: pytest.FixtureRequest, cert_dir: Path, which: str) -> None:
    """There and back through a registry that others wrote."""
    server: DebianRegistry = request.getfixturevalue({"plain": "debian"}.get(which, f"debian_{which}"))
    words: dict[str, Any] = {"insecure": True} if which == "plain" else {"cert_dir": cert_dir}
    if which in ("basic", "tokens"):
        words["credentials"] = ("tester", "correct horse")
    engine.images.import_rootfs(assets.busybox, "box", command=["echo", "hello"])
    reference = f"{server.host}/there/{which}:1"
    engine.images.tag("box", reference)
    pushed = engine.images.push(reference, **words)
    assert (pushed.digest, pushed.blobs_sent) == (engine.images.get("box").digest, 2)
    assert engine.images.push(reference, **words).blobs_present == 2
    with stores().engine() as other:
        image = other.images.pull(reference, **words)
        assert (image.digest, image.id) == (pushed.digest, engine.images.get("box").id)
        assert other.run(reference).stdout == b"hello\n"
        assert other.registry.tags(f"{server.host}/there/{which}", **words) == ["1"]
        assert f"there/{which}" in other.registry.catalog(server.host, **words)
        remote = other.registry.inspect(reference, **words)
        assert remote.digest == image.digest and remote.config["config"]["Cmd"] == ["echo", "hello"]
        if which in ("basic", "tokens"):
            for wrong in (None, ("tester", "wrong horse")):
                with pytest.raises(coble.UnauthorizedError) as caught:
                    other.images.pull(reference, **{**words, "credentials": wrong})
                assert "wrong horse" not in str(caught.value)
        if which != "plain":
            with pytest.raises(coble.NetworkError):
                other.images.pull(reference, **{**words, "cert_dir": None})
        # Chunks, mounts, deletes.
        more = f"{server.host}/there/{which}-chunks:1"
        other.images.tag(reference, more)
        pushed = other.images.push(more, chunk_size=1 << 20, **words)
        assert pushed.digest == image.digest and pushed.blobs_mounted + pushed.blobs_sent == 2
        other.registry.delete(f"{server.host}/there/{which}@{image.digest}", **words)
        with pytest.raises(coble.ImageNotFoundError):
            other.images.pull(reference, **words)
        assert other.images.pull(more, **words).digest == image.digest
        assert other.verify() == []


def test_chunks_to_debians_registry(engine: coble.Engine, assets: Assets, debian: DebianRegistry) -> None:
    engine.images.import_rootfs(assets.busybox, "box")
    reference = f"{debian.host}/chunks/{os.getpid()}:1"
    engine.images.tag("box", reference)
    pushed = engine.images.push(reference, chunk_size=200_000, insecure=True)
    sizes = [layer.size for layer in engine.images.inspect("box").layers]
    assert pushed.bytes_sent >= sum(sizes)
    patches = lambda: debian.requests(rf"PATCH /v2/chunks/{os.getpid()}/.* 202")  # noqa: E731
    eventually(lambda: len(patches()) >= sum(sizes) // 200_000, "the log of the registry")
    with content.Client(debian.host) as client:
        assert content.digest_of(client.manifest(f"chunks/{os.getpid()}", "1")[1]) == pushed.digest


# --- requests ---------------------------------------------------------------------------------------------------------


def test_the_second_pull_is_one_request(engine: coble.Engine, registry: Registry) -> None:
    made = content.small()
    registry.put("team/image", "1", made)
    reference = f"{registry.host}/team/image:1"
    engine.images.pull(reference, insecure=True)
    assert registry.count("GET|HEAD", MANIFEST) <= 2
    registry.forget()
    assert engine.images.pull(reference, insecure=True).digest == made.digest
    assert registry.count() == 1, [(one.method, one.target) for one in registry.seen]
    # The same of an index, with its image chosen.
    registry.put("team/image", "index", content.index((made, AMD64)))
    engine.images.pull(f"{registry.host}/team/image:index", insecure=True)
    registry.forget()
    engine.images.pull(f"{registry.host}/team/image:index", insecure=True)
    assert registry.count() == 1, [(one.method, one.target) for one in registry.seen]
    # By digest there is nothing that could have changed.
    registry.forget()
    engine.images.pull(f"{registry.host}/team/image@{made.digest}", insecure=True)
    assert registry.count() <= 1


def test_only_what_is_missing_is_fetched(engine: coble.Engine, registry: Registry) -> None:
    old, new = content.small(layers=3), content.small(layers=4)
    assert new.layers[:3] == old.layers
    registry.put("team/image", "1", old)
    engine.images.pull(f"{registry.host}/team/image:1", insecure=True)
    registry.put("team/image", "1", new)
    registry.forget()
    plan = engine.images.plan(f"{registry.host}/team/image:1", insecure=True)
    assert plan.digest == new.digest
    missing = {new.config, new.layers[3]}
    assert {blob.digest for blob in plan.blobs if not blob.present} == missing
    assert plan.missing_bytes == sum(len(new.blobs[digest]) for digest in missing)
    assert plan.present_bytes == sum(len(new.blobs[digest]) for digest in new.layers[:3])
    assert registry.blob_requests() == {} and len(engine.images.list()) == 1, "a plan fetches nothing"
    engine.images.pull(f"{registry.host}/team/image:1", insecure=True)
    assert registry.blob_requests() == {digest: 1 for digest in missing}


def test_a_layer_twice_in_an_image_is_fetched_once(engine: coble.Engine, registry: Registry) -> None:
    tar = archives.tar(archives.file("f", b"x" * 5000))
    made = content.content(archives.Image([tar, tar, tar], {}))
    registry.put("team/image", "1", made)
    engine.images.pull(f"{registry.host}/team/image:1", insecure=True)
    assert set(registry.blob_requests().values()) == {1}


def test_layers_come_at_the_same_time(engine: coble.Engine, registry: Registry) -> None:
    """As many as are asked for, and not more."""
    made = content.small(layers=6)
    registry.put("team/image", "1", made)
    running, most = [0], [0]
    gate = threading.Condition()

    def hold(exchange: Exchange) -> Any:
        with gate:
            running[0] += 1
            most[0] = max(most[0], running[0])
            gate.notify_all()
            # Until three are there; for the last ones, a moment.
            gate.wait_for(lambda: most[0] >= 3, 20)
        try:
            exchange.pause(0.05)
        finally:
            # Who has the answer may ask for the next one before this thread goes on.
            with gate:
                running[0] -= 1
        registry.answer(exchange)

    for layer in made.layers:
        registry.on("GET", f".*/blobs/{layer}", hold)
    engine.images.pull(f"{registry.host}/team/image:1", insecure=True, jobs=3)
    assert most[0] == 3


# --- policies ---------------------------------------------------------------------------------------------------------


def test_policies(engine: coble.Engine, registry: Registry) -> None:
    old, new = content.small("old"), content.small("new")
    reference = f"{registry.host}/team/image:1"
    with pytest.raises(coble.ImageNotFoundError):
        engine.images.pull(reference, policy="never", insecure=True)
    assert registry.count() == 0
    registry.put("team/image", "1", old)
    for policy in ("missing", "always", "newer"):
        assert engine.images.pull(reference, policy=policy, insecure=True).digest == old.digest
    registry.put("team/image", "1", new)
    registry.forget()
    for policy in ("missing", "never"):
        assert engine.images.pull(reference, policy=policy, insecure=True).digest == old.digest
    assert registry.count() == 0
    assert engine.images.pull(reference, policy="newer", insecure=True).digest == new.digest
    registry.put("team/image", "1", old)
    assert engine.images.pull(reference, policy="always", insecure=True).digest == old.digest
    # The old one has lost its name, and is still there.
    assert {image.digest: image.references for image in engine.images.list()} == {old.digest: [reference], new.digest: []}
    registry.close()
    assert engine.images.pull(reference, policy="newer", insecure=True, retries=0).digest == old.digest, "what is there is good enough"
    with pytest.raises(coble.NetworkError):
        engine.images.pull(reference, policy="always", insecure=True, retries=0)
    assert engine.images.get(reference).digest == old.digest
    with pytest.raises(coble.InvalidArgumentError):
        engine.images.pull(reference, policy="sometimes", insecure=True)  # type: ignore[arg-type]


def test_run_pulls(engine: coble.Engine, assets: Assets, debian_tls: DebianRegistry, cert_dir: Path, home: Path) -> None:
    """What is not there is pulled when it is to be run."""
    with pytest.raises(coble.ImageNotFoundError):
        engine.run(f"{debian_tls.host}/run/pulls:1", ["true"], pull="never")
    folder = home / "config/containers/certs.d" / debian_tls.host
    folder.mkdir(parents=True)
    (folder / "ca.crt").write_bytes((cert_dir / "ca.crt").read_bytes())
    engine.images.import_rootfs(assets.busybox, "box", command=["echo", "hello"])
    reference = f"{debian_tls.host}/run/pulls:1"
    engine.images.tag("box", reference)
    engine.images.push(reference)
    for policy in ("missing", "always", "newer"):
        engine.images.remove(reference, force=True)
        engine.images.prune(all=True)
        assert engine.run(reference, pull=policy).stdout == b"hello\n"
    engine.images.remove(reference, force=True)
    engine.images.prune(all=True)
    container = engine.containers.create(reference)
    container.remove()
    with pytest.raises(coble.ImageNotFoundError):
        engine.run(f"{debian_tls.host}/run/nothing:1")


# --- platforms --------------------------------------------------------------------------------------------------------


def test_platforms(engine: coble.Engine, registry: Registry) -> None:
    def made(architecture: str, variant: str | None = None) -> Content:
        configuration = {"architecture": architecture, **({"variant": variant} if variant else {})}
        return content.content(archives.Image([archives.tar(archives.file("f", f"{architecture}{variant}".encode()))], {}, configuration=configuration))

    amd, arm, v6, v7 = made("amd64"), made("arm64", "v8"), made("arm", "v6"), made("arm", "v7")
    whole = content.index(
        (v6, {"os": "linux", "architecture": "arm", "variant": "v6"}), (arm, ARM64), (amd, AMD64), (v7, {"os": "linux", "architecture": "arm", "variant": "v7"}),
        docker=True,
    )
    registry.put("team/image", "1", whole)
    reference = f"{registry.host}/team/image:1"
    for platform, wanted in (("linux/arm64", arm), ("linux/arm/v7", v7), ("linux/arm/v6", v6), ("linux/amd64", amd)):
        image = engine.images.pull(reference, platform=platform, insecure=True)
        assert image.id == wanted.config, platform
    assert set(registry.blob_requests().values()) == {1}
    image = engine.images.pull(reference, platform="all", insecure=True)
    assert {one.id for one in engine.images.list()} == {one.config for one in (amd, arm, v6, v7)}
    # And back, with the index as it was.
    target = f"{registry.host}/team/again:1"
    engine.images.tag(reference, target)
    pushed = engine.images.push(target, insecure=True)
    assert (pushed.digest, pushed.media_type) == (whole.digest, content.DOCKER_INDEX)
    assert registry.manifests["team/again", whole.digest][1] == whole.manifest
    with pytest.raises(coble.CobleError, match="linux/s390x"):
        engine.images.pull(reference, platform="linux/s390x", insecure=True)
    with pytest.raises(coble.InvalidArgumentError):
        engine.images.pull(reference, platform="a/b/c/d", insecure=True)


@pytest.mark.once
def test_what_a_descriptor_has_in_itself_is_not_fetched(engine: coble.Engine, registry: Registry) -> None:
    def embedding(made: Content, data: bytes) -> Content:
        config = {**made.document["config"], "data": base64.b64encode(data).decode()}
        return made.changed(config=config)

    for number, right in enumerate((True, False)):
        plain = content.small(f"embedded {number}")
        image = embedding(plain, plain.blobs[plain.config] if right else b"something else")
        entry = image.descriptor(platform=AMD64, data=base64.b64encode(image.manifest if right else b"x" * len(image.manifest)).decode())
        top = content.index((image, AMD64)).changed(manifests=[entry])
        registry.put("team/image", str(number), top)
        registry.forget()
        assert engine.images.pull(f"{registry.host}/team/image:{number}", insecure=True).id == plain.config
        fetched = {plain.config, *plain.layers} if not right else set(plain.layers)
        assert set(registry.blob_requests()) == fetched
        asked = [one.target.rsplit("/", 1)[1] for one in registry.requests("GET", rf"{MANIFEST}")]
        assert asked == ([str(number)] if right else [str(number), image.digest])


# --- once, over threads and processes ---------------------------------------------------------------------------------


def slow(registry: Registry, made: Content, pieces: int = 5, pause: float = 0.02) -> None:
    """The blobs come slowly enough that everybody else has asked before they are there."""

    def drip(exchange: Exchange) -> Any:
        data = registry.blobs[exchange.url_path.rsplit("/", 1)[1]]
        begin = int(exchange.headers.get("range", "bytes=0-").removeprefix("bytes=").split("-")[0])
        rest = data[begin:]
        exchange.begin(206 if begin else 200, {"Accept-Ranges": "bytes", "Content-Range": f"bytes {begin}-{len(data) - 1}/{len(data)}"}, len(rest))
        step = len(data) // pieces + 1
        for offset in range(0, len(rest), step):
            exchange.chunk(rest[offset : offset + step])
            exchange.pause(pause)

    registry.on("GET", BLOB, drip)


def test_threads_pull_together(engine: coble.Engine, registry: Registry) -> None:
    made = content.small(layers=3, size=100_000)
    registry.put("team/image", "1", made)
    slow(registry, made)
    results: list[Any] = []

    def pull() -> None:
        try:
            results.append(engine.images.pull(f"{registry.host}/team/image:1", insecure=True).digest)
        except coble.CobleError as error:
            results.append(error)

    threads = [threading.Thread(target=pull) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [made.digest] * 12
    assert registry.blob_requests() == {digest: 1 for digest in made.blobs}


PULLER = """
import sys
import coble
with coble.Engine(data_root=sys.argv[1], run_root=sys.argv[2]) as engine:
    print("ready", flush=True)
    sys.stdin.readline()
    print(engine.images.pull(sys.argv[3], insecure=True).digest, flush=True)
"""


Puller = Callable[[Store, str], "subprocess.Popen[str]"]


@pytest.fixture
def puller() -> Iterator[Puller]:
    """Starts processes that pull when they are told to. Those that the test leaves are ended."""
    made: list[subprocess.Popen[str]] = []

    def start(store: Store, reference: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", PULLER, str(store.data_root), str(store.run_root), reference]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        made.append(process)
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
        return process

    yield start
    for process in made:
        process.kill()
        process.communicate()


def partial(store: Store) -> list[Path]:
    """What there is of blobs that are not complete."""
    folder = store.data_root / "content/partial"

    def large(one: Path) -> bool:
        try:
            return one.stat().st_size > 100_000
        except FileNotFoundError:
            # A pull that goes on has just moved it.
            return False

    return [one for one in folder.iterdir() if large(one)] if folder.is_dir() else []


def linked(store: Store) -> int:
    """How many of them have a second name, since they are complete and wait for the others."""
    count = 0
    for one in partial(store):
        try:
            count += one.stat().st_nlink == 2
        except FileNotFoundError:
            pass
    return count


def go(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("go\n")
    process.stdin.flush()


def test_processes_pull_together(store: Store, registry: Registry, puller: Puller) -> None:
    made = content.small(layers=3, size=100_000)
    registry.put("team/image", "1", made)
    slow(registry, made)
    processes = [puller(store, f"{registry.host}/team/image:1") for _ in range(6)]
    for process in processes:
        go(process)
    assert [process.communicate(timeout=60)[0].strip() for process in processes] == [made.digest] * 6
    assert registry.blob_requests() == {digest: 1 for digest in made.blobs}
    with store.engine() as engine:
        assert engine.verify() == [] and store.litter() == []


def test_one_of_the_processes_is_killed(store: Store, registry: Registry, puller: Puller) -> None:
    """The one that fetches dies; another goes on from where it was."""
    made = content.small(layers=1, size=1_000_000)
    registry.put("team/image", "1", made)
    gate = threading.Event()
    half = threading.Event()
    size = len(made.blobs[made.layers[0]])

    def stop_halfway(exchange: Exchange) -> None:
        data = registry.blobs[made.layers[0]]
        exchange.begin(200, {"Accept-Ranges": "bytes"}, len(data))
        exchange.chunk(data[: size // 2])
        half.set()
        while not gate.wait(0.05):
            exchange.pause(0)
        exchange.cut()

    registry.on("GET", rf".*/blobs/{made.layers[0]}", stop_halfway, times=1)
    first, second = puller(store, f"{registry.host}/team/image:1"), puller(store, f"{registry.host}/team/image:1")
    go(first)
    assert half.wait(30)
    go(second)
    # What has arrived is on the disk before the other takes over.
    eventually(lambda: sum(one.stat().st_size for one in partial(store)) >= size // 4, "half of the blob")
    kill_for_good(first)
    assert second.communicate(timeout=60)[0].strip() == made.digest
    gate.set()
    asked = registry.requests("GET", rf".*/blobs/{made.layers[0]}")
    assert len(asked) == 2 and asked[1].status == 206, [(one.status, one.headers.get("range")) for one in asked]
    assert sum(one.sent for one in asked) < size * 1.5
    with store.engine() as engine:
        assert engine.verify() == [] and store.litter() == []


def test_a_killed_pull_is_gone_on_with(store: Store, registry: Registry, puller: Puller) -> None:
    """After SIGKILL, what is on the disk is not fetched again."""
    made = content.small(layers=2, size=2_000_000)
    registry.put("team/image", "1", made)
    half = threading.Semaphore(0)

    def stop_halfway(exchange: Exchange) -> None:
        data = registry.blobs[exchange.url_path.rsplit("/", 1)[1]]
        exchange.begin(200, {"Accept-Ranges": "bytes"}, len(data))
        exchange.chunk(data[: len(data) // 2])
        half.release()
        exchange.pause(60)

    for layer in made.layers:
        registry.on("GET", rf".*/blobs/{layer}", stop_halfway, times=1)
    process = puller(store, f"{registry.host}/team/image:1")
    go(process)
    assert half.acquire(timeout=30) and half.acquire(timeout=30)
    sizes = {layer: len(made.blobs[layer]) for layer in made.layers}
    # Of each of them: one alone may be all that has come in yet.
    there = lambda: [one.stat().st_size for one in partial(store)]  # noqa: E731
    eventually(lambda: len(there()) == 2 and min(there()) >= min(sizes.values()) // 4, "half of each blob")
    kill_for_good(process)
    registry.forget()
    with store.engine() as engine:
        assert engine.verify() == []
        assert engine.images.pull(f"{registry.host}/team/image:1", insecure=True).digest == made.digest
        for layer, size in sizes.items():
            (asked,) = registry.requests("GET", rf".*/blobs/{layer}")
            assert asked.status == 206 and 0 < asked.sent < size * 0.9, (asked.status, asked.sent, size)
        assert engine.verify() == [] and store.litter() == []


@pytest.mark.parametrize("how", ["killed", "failed"])
def test_layers_that_are_complete_survive_the_pull(store: Store, registry: Registry, puller: Puller, how: str) -> None:
    """All but the last are there: only that one is fetched by the next pull, and a prune gives them back."""
    made = content.small(layers=6, size=200_000)
    registry.put("team/image", "1", made)
    reference, last = f"{registry.host}/team/image:1", made.layers[-1]

    def spoil() -> None:
        if how == "failed":
            registry.on("GET", rf".*/blobs/{last}", lambda exchange: exchange.reply(403), times=1)
            with store.engine() as engine, pytest.raises(coble.UnauthorizedError):
                engine.images.pull(reference, insecure=True, jobs=1)
            return
        registry.on("GET", rf".*/blobs/{last}", lambda exchange: exchange.pause(60), times=1)
        process = puller(store, reference)
        go(process)
        eventually(lambda: linked(store) == 5, "the other layers")
        kill_for_good(process)

    spoil()
    registry.forget()
    with store.engine() as engine:
        assert engine.images.list() == [] and engine.verify() == [] and blobs(store) == set()
        assert engine.images.pull(reference, insecure=True).digest == made.digest
        assert {layer: registry.count("GET", rf".*/blobs/{layer}") for layer in made.layers} == {layer: int(layer == last) for layer in made.layers}
        assert engine.verify() == [] and partial(store) == [] and store.litter() == []
        engine.images.remove(reference)
    spoil()
    with store.engine() as engine:
        engine.images.prune(all=True)
        assert engine.images.list() == [] and engine.verify() == [] and store.litter() == [] and partial(store) == []


def test_what_a_killed_pull_left_is_given_back(store: Store, registry: Registry, puller: Puller) -> None:
    """Nobody goes on with it: a prune takes it away."""
    made = content.small(layers=1, size=2_000_000)
    registry.put("team/image", "1", made)
    half = threading.Event()

    def stop_halfway(exchange: Exchange) -> None:
        data = registry.blobs[made.layers[0]]
        exchange.begin(200, {"Accept-Ranges": "bytes"}, len(data))
        exchange.chunk(data[: len(data) // 2])
        half.set()
        exchange.pause(60)

    registry.on("GET", rf".*/blobs/{made.layers[0]}", stop_halfway, times=1)
    process = puller(store, f"{registry.host}/team/image:1")
    go(process)
    assert half.wait(30)
    kill_for_good(process)
    with store.engine() as engine:
        engine.images.prune(all=True)
        assert engine.images.list() == [] and engine.verify() == [] and store.litter() == [] and partial(store) == []


def test_a_damaged_part_is_not_believed(store: Store, registry: Registry, puller: Puller) -> None:
    """What is on the disk of a pull that was killed is changed by somebody: the digest shows it, and the blob is fetched anew."""
    made = content.small(layers=1, size=2_000_000)
    registry.put("team/image", "1", made)
    half = threading.Event()

    def stop_halfway(exchange: Exchange) -> None:
        data = registry.blobs[made.layers[0]]
        exchange.begin(200, {"Accept-Ranges": "bytes"}, len(data))
        exchange.chunk(data[: len(data) // 2])
        half.set()
        exchange.pause(60)

    registry.on("GET", rf".*/blobs/{made.layers[0]}", stop_halfway, times=1)
    process = puller(store, f"{registry.host}/team/image:1")
    go(process)
    assert half.wait(30)
    eventually(lambda: partial(store), "half of the blob")
    kill_for_good(process)
    for part in partial(store):
        part.chmod(0o600)
        with part.open("r+b") as file:
            file.seek(1000)
            file.write(b"damaged")
    with store.engine() as engine:
        reference = f"{registry.host}/team/image:1"
        try:
            digest = engine.images.pull(reference, insecure=True).digest
        except coble.DigestMismatchError:
            digest = engine.images.pull(reference, insecure=True).digest
        assert digest == made.digest and engine.verify() == [] and store.litter() == []


# --- the end of it ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["connect", "manifest", "headers", "blob", "retry"])
def test_cancel(engine: coble.Engine, store: Store, registry: Registry, where: str) -> None:
    """At any moment, at once."""
    made = content.small(size=100_000)
    registry.put("team/image", "1", made)
    reference = f"{registry.host}/team/image:1"
    arrived = threading.Event()

    def hang(exchange: Exchange, before: int) -> None:
        if before >= 0:
            digest = exchange.url_path.rsplit("/", 1)[1]
            exchange.begin(200, {"Content-Type": made.media_type}, len(registry.blobs.get(digest, made.manifest)))
            exchange.chunk(b"x" * before)
        arrived.set()
        exchange.pause(60)

    if where == "connect":
        # Accepted by the kernel only: nobody answers.
        silent = socket.create_server(("127.0.0.1", 0))
        reference = f"127.0.0.1:{silent.getsockname()[1]}/team/image:1"
        accepted: list[socket.socket] = []
        accepting = threading.Thread(target=lambda: (accepted.append(silent.accept()[0]), arrived.set()))
        accepting.start()
    elif where == "manifest":
        registry.on("GET|HEAD", MANIFEST, lambda exchange: hang(exchange, 10))
    elif where == "headers":
        registry.on("GET", BLOB, lambda exchange: hang(exchange, -1))
    elif where == "blob":
        registry.on("GET", BLOB, lambda exchange: hang(exchange, 50))
    else:
        registry.on("GET|HEAD", MANIFEST, lambda exchange: (exchange.reply(503, b"", {"Retry-After": "50"}), arrived.set()))
    token = coble.CancelToken()
    times: list[float] = []

    def cancel() -> None:
        if arrived.wait(30):
            times.append(time.monotonic())
            token.cancel()

    cancelling = threading.Thread(target=cancel)
    cancelling.start()
    with token, pytest.raises(coble.CancelledError):
        engine.images.pull(reference, insecure=True)
    took = time.monotonic() - times[0]
    cancelling.join()
    if where == "connect":
        accepting.join()
        for one in (silent, *accepted):
            one.close()
    assert took < 5, f"{took} s"
    assert engine.images.list() == [] and engine.verify() == []
    engine.images.prune(all=True)
    assert store.litter() == []
    registry.rules.clear()
    assert engine.images.pull(f"{registry.host}/team/image:1", insecure=True).digest == made.digest


INTERRUPTED = """
import sys, time
import coble
with coble.Engine(data_root=sys.argv[1], run_root=sys.argv[2]) as engine:
    try:
        engine.images.pull(sys.argv[3], insecure=True)
    except KeyboardInterrupt:
        print("interrupted", flush=True)
    print(len(engine.images.list()), engine.verify(), flush=True)
"""


def test_interrupt(store: Store, registry: Registry) -> None:
    """Ctrl-C."""
    made = content.small(size=100_000)
    registry.put("team/image", "1", made)
    arrived = threading.Event()

    def hang(exchange: Exchange) -> None:
        exchange.begin(200, {}, len(registry.blobs[exchange.url_path.rsplit("/", 1)[1]]))
        exchange.chunk(b"x" * 50)
        arrived.set()
        exchange.pause(60)

    registry.on("GET", BLOB, hang)
    command = [sys.executable, "-c", INTERRUPTED, str(store.data_root), str(store.run_root), f"{registry.host}/team/image:1"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert arrived.wait(30)
        begin = time.monotonic()
        process.send_signal(signal.SIGINT)
        assert process.stdout is not None
        assert process.stdout.readline() == "interrupted\n" and time.monotonic() - begin < 5
        assert process.stdout.read() == "0 []\n"


def test_the_time_of_a_run_counts_the_pull(engine: coble.Engine, registry: Registry, home: Path) -> None:
    """A limit of a run ends its pull, too."""
    registry.put("team/image", "1", content.small())
    settings = home / "config/containers"
    settings.mkdir(parents=True)
    (settings / "registries.conf").write_text(f'[[registry]]\nlocation = "{registry.host}"\ninsecure = true\n')
    registry.on("GET", BLOB, lambda exchange: exchange.pause(60))
    begin = time.monotonic()
    with pytest.raises(TimeoutError):
        engine.run(f"{registry.host}/team/image:1", ["true"], timeout=1)
    assert time.monotonic() - begin < 10
    assert registry.count() > 0


# --- progress ---------------------------------------------------------------------------------------------------------

KINDS = {
    "resolve", "blob-start", "blob-progress", "blob-done", "blob-cached", "blob-mounted", "unpack", "unpack-done", "retry", "rate-limit", "warning", "done",
}


def check_events(events: list[Any], made: Content, reference: str, *, cached: set[str] = frozenset(), fetched: set[str] | None = None) -> None:  # type: ignore[assignment]
    """Well-formed: what there must be, in the order in which it must be, with totals that are right."""
    assert {one.kind for one in events} <= KINDS and all(one.reference == reference for one in events)
    assert events[-1].kind == "done" and [one.kind for one in events].count("done") == 1
    resolve = next(one for one in events if one.kind == "resolve")
    assert made.digest in (resolve.message or "") or resolve.digest == made.digest
    fetched = set(made.blobs) - cached if fetched is None else fetched
    sizes = {digest: len(made.blobs[digest]) for digest in made.blobs}
    for digest in fetched:
        mine = [one for one in events if one.digest == digest]
        kinds = [one.kind for one in mine if one.kind.startswith("blob")]
        assert kinds[0] == "blob-start" and kinds[-1] == "blob-done" and set(kinds[1:-1]) <= {"blob-progress"}, kinds
        moves = [one.current for one in mine if one.kind.startswith("blob")]
        assert moves == sorted(moves) and moves[-1] == sizes[digest]
        assert {one.total for one in mine if one.kind.startswith("blob")} == {sizes[digest]}
    for digest in cached:
        assert "blob-cached" in [one.kind for one in events if one.digest == digest]
    for layer in set(made.layers) - cached:
        kinds = [one.kind for one in events if one.digest == layer and one.kind.startswith("unpack")]
        assert kinds == ["unpack", "unpack-done"], kinds
    overall = [one.overall_current for one in events]
    assert overall == sorted(overall) and events[-1].overall_current == events[-1].overall_total == sum(sizes[digest] for digest in fetched)


def test_progress(engine: coble.Engine, registry: Registry) -> None:
    made = content.small(layers=3, size=300_000)
    registry.put("team/image", "1", made)
    reference = f"{registry.host}/team/image:1"
    events: list[Any] = []
    threads: set[int] = set()
    image = engine.images.pull(reference, insecure=True, progress=lambda one: (events.append(one), threads.add(threading.get_ident())))
    check_events(events, made, reference)
    with pytest.raises((AttributeError, TypeError)):
        events[0].kind = "x"
    # Part of it is there.
    engine.images.remove(image, force=True)
    other = content.small(layers=2, size=300_000)
    registry.put("team/image", "2", other)
    engine.images.pull(f"{registry.host}/team/image:2", insecure=True)
    events.clear()
    engine.images.pull(reference, insecure=True, progress=events.append)
    check_events(events, made, reference, cached=set(other.layers))
    # All of it is there.
    events.clear()
    engine.images.pull(reference, insecure=True, progress=events.append)
    assert events[-1].kind == "done" and {one.kind for one in events} <= {"resolve", "blob-cached", "done"}


def test_progress_that_fails(engine: coble.Engine, registry: Registry) -> None:
    """What a callable raises ends the pull, and is what the caller sees."""
    registry.put("team/image", "1", content.small())

    def fail(one: Any) -> None:
        raise ZeroDivisionError("of the test")

    with pytest.raises(ZeroDivisionError):
        engine.images.pull(f"{registry.host}/team/image:1", insecure=True, progress=fail)
    assert engine.verify() == []


def test_a_stream_of_events(engine: coble.Engine, registry: Registry) -> None:
    made = content.small(layers=3, size=300_000)
    registry.put("team/image", "1", made)
    reference = f"{registry.host}/team/image:1"
    with engine.images.pull(reference, insecure=True, stream=True) as stream:
        events = list(stream)
        assert stream.result().digest == made.digest
    check_events(events, made, reference)
    # An error is what the result raises.
    with engine.images.pull(f"{registry.host}/team/none:1", insecure=True, stream=True) as stream:
        with pytest.raises(coble.ImageNotFoundError):
            list(stream)
            stream.result()
    # Who closes it early cancels it.
    registry.put("team/other", "1", content.small("other", size=300_000))
    arrived = threading.Event()
    registry.on("GET", BLOB, lambda exchange: (arrived.set(), exchange.pause(60)))
    begin = time.monotonic()
    with engine.images.pull(f"{registry.host}/team/other:1", insecure=True, stream=True):
        assert arrived.wait(30)
    assert time.monotonic() - begin < 5
    assert len(engine.images.list()) == 1


def test_asyncio(store: Store, registry: Registry) -> None:
    import asyncio

    made = content.small()
    registry.put("team/image", "1", made)
    reference = f"{registry.host}/team/image:1"

    async def work() -> None:
        async with coble.aio.Engine(data_root=store.data_root, run_root=store.run_root) as engine:
            assert (await engine.images.pull(reference, insecure=True)).digest == made.digest
            await engine.images.tag(reference, f"{registry.host}/team/again:1")
            assert (await engine.images.push(f"{registry.host}/team/again:1", insecure=True)).digest == made.digest
            assert await engine.registry.tags(f"{registry.host}/team/again", insecure=True) == ["1"]

    asyncio.run(work())


# --- the lock file ----------------------------------------------------------------------------------------------------


def test_lock_file(engine: coble.Engine, registry: Registry, tmp_path: Path) -> None:
    old, new = content.small("old"), content.small("new")
    registry.put("team/image", "1", old)
    registry.put("team/other", "1", old)
    reference = f"{registry.host}/team/image:1"
    path = tmp_path / "coble.lock"
    (pin,) = engine.images.lock([reference], path, insecure=True)
    assert (pin.reference, pin.digest) == (reference, old.digest)
    text = path.read_text()
    assert reference in text and old.digest in text
    assert engine.images.pull(reference, lock=path, insecure=True).digest == old.digest
    registry.put("team/image", "1", new)
    with pytest.raises(coble.DigestDriftError) as caught:
        engine.images.pull(reference, lock=path, insecure=True)
    assert old.digest in str(caught.value) and new.digest in str(caught.value)
    assert engine.images.get(reference).digest == old.digest and path.read_text() == text
    # Another one beside it; the first is brought up to date when it is asked for.
    engine.images.lock([f"{registry.host}/team/other:1"], path, insecure=True)
    assert path.read_text().count("sha256:") == 2 and old.digest in path.read_text()
    engine.images.lock([reference], path, insecure=True)
    assert engine.images.pull(reference, lock=path, insecure=True).digest == new.digest
    with pytest.raises(coble.CobleError):
        engine.images.pull(reference, lock=tmp_path / "none.lock", insecure=True)
    for wrong in ("not [ a file", f'version = 99\n"{reference}" = 1\n'):
        path.write_text(wrong)
        with pytest.raises(coble.CobleError) as caught:
            engine.images.pull(reference, lock=path, insecure=True)
        assert str(path) in str(caught.value)


def test_lock_file_of_an_index_that_changes(engine: coble.Engine, registry: Registry, tmp_path: Path) -> None:
    """The name is pinned to the index, whatever the platform; for a digest there is nothing to drift."""
    made = content.small()
    whole = content.index((made, AMD64))
    registry.put("team/image", "1", whole)
    reference = f"{registry.host}/team/image:1"
    path = tmp_path / "coble.lock"
    engine.images.lock([reference], path, insecure=True)
    assert whole.digest in path.read_text()
    engine.images.pull(reference, lock=path, insecure=True)
    registry.put("team/image", "1", content.index((made, AMD64), more={"annotations": {"a": "b"}}))
    with pytest.raises(coble.DigestDriftError):
        engine.images.pull(reference, lock=path, insecure=True)
    assert engine.images.pull(f"{registry.host}/team/image@{made.digest}", lock=path, insecure=True).id == made.config


# --- names ------------------------------------------------------------------------------------------------------------


def test_an_address_of_version_6(engine: coble.Engine, servers: Any) -> None:
    try:
        registry = servers.add(Registry(host="::1"))
    except OSError:
        pytest.skip("needs an address of IP version 6 on loopback")
    made = content.small()
    registry.put("team/image", "1", made)
    assert engine.images.pull(f"[::1]:{registry.port}/team/image:1", insecure=True).digest == made.digest


@pytest.mark.parametrize("reference", ["", "UPPER", "a:b:c", "/a", "a@sha256:short", "a" * 300, "http://127.0.0.1/a"])
def test_references_that_are_none(engine: coble.Engine, reference: str) -> None:
    for call in (engine.images.pull, engine.images.push, engine.images.plan):
        with pytest.raises((coble.InvalidReferenceError, coble.InvalidDigestError)):
            call(reference, insecure=True)
