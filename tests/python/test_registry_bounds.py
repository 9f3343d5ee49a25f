"""What the registry client takes of a host: no network when it is offline, so many connections and no more, and few descriptors."""

from __future__ import annotations

import asyncio
import resource
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import archives
import coble
import coble.aio
import pytest
from conftest import Assets, Store
from registry import content
from registry.http import Exchange, Servers
from registry.own import BLOB, Registry
from test_command import Command

pytestmark = pytest.mark.usefixtures("home")

PLAIN = "--tls-verify=false"


def opened(store: Store, **options: Any) -> coble.Engine:
    return coble.Engine(store.data_root, store.run_root, **options)


# --- offline ----------------------------------------------------------------------------------------------------------


def test_offline(engine: coble.Engine, store: Store, registry: Registry, tmp_path: Path) -> None:
    """What is here works; everything else says at once who would have been asked, and nobody is."""
    made = content.small()
    registry.put("team/image", "1", made)
    here, missing = f"{registry.host}/team/image:1", f"{registry.host}/team/other:1"
    engine.images.pull(here, insecure=True)
    registry.forget()
    begin = time.monotonic()
    with opened(store, offline=True) as offline:
        for policy in ("missing", "never", "newer"):
            assert offline.images.pull(here, policy=policy, insecure=True).id == made.config
        assert offline.images.pull(here, policy="missing").digest == made.digest
        assert [image.id for image in offline.images.list()] == [made.config]
        offline.images.save([here], tmp_path / "saved.tar")
        assert offline.images.load(tmp_path / "saved.tar")
        calls: list[Callable[[], Any]] = [
            lambda: offline.images.pull(here, insecure=True),
            lambda: offline.images.pull(missing, policy="missing", insecure=True),
            lambda: offline.images.pull("no-such-host.invalid/x", policy="missing"),
            lambda: offline.images.plan(missing, insecure=True),
            lambda: offline.images.push(here, insecure=True),
            lambda: offline.images.copy(here, missing),
            lambda: offline.images.lock([here], tmp_path / "coble.lock", insecure=True),
            lambda: offline.images.search("x", registry=registry.host, insecure=True),
            lambda: offline.registry.tags(f"{registry.host}/team/image", insecure=True),
            lambda: offline.registry.login(registry.host, ("me", "secret"), insecure=True),
            lambda: offline.run(missing, ["true"]),
        ]
        for call in calls:
            with pytest.raises(coble.OfflineError) as caught:
                call()
            assert isinstance(caught.value, ConnectionError) and caught.value.object in (registry.host, "no-such-host.invalid")
            assert "offline" in str(caught.value) and "offline" in (caught.value.hint or "")
        with pytest.raises(coble.ImageNotFoundError):
            offline.images.pull(missing, policy="never")
    assert registry.count() == 0 and not (tmp_path / "coble.lock").exists()
    assert time.monotonic() - begin < 30


def test_offline_by_the_environment(store: Store, engine: coble.Engine, registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    registry.put("team/image", "1", content.small())
    name = f"{registry.host}/team/image:1"
    command = Command(store)
    for arguments, variable in ((["--offline"], None), ([], "1"), (["--offline=true"], "0")):
        if variable is None:
            monkeypatch.delenv("COBLE_OFFLINE", raising=False)
        else:
            monkeypatch.setenv("COBLE_OFFLINE", variable)
        done = command(*arguments, "pull", PLAIN, name)
        assert done.returncode == 125 and registry.host in done.stderr.decode() and b"offline" in done.stderr
    assert registry.count() == 0
    # Who says that it is not is not.
    monkeypatch.setenv("COBLE_OFFLINE", "1")
    assert command("--offline=false", "pull", PLAIN, name).returncode == 0
    with opened(store) as offline, pytest.raises(coble.OfflineError):
        offline.images.pull(name, insecure=True)

    async def awaited() -> None:
        async with coble.aio.Engine(store.data_root, store.run_root, offline=False, connections=2, connections_per_host=1) as online:
            await online.images.pull(name, insecure=True)

    asyncio.run(awaited())
    monkeypatch.setenv("COBLE_OFFLINE", "perhaps")
    with pytest.raises(coble.InvalidArgumentError):
        opened(store)


# --- connections ------------------------------------------------------------------------------------------------------


class Load:
    """How many requests for blobs are being answered, and how many there were at most."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.now = self.most = 0

    def __enter__(self) -> None:
        with self.lock:
            self.now += 1
            self.most = max(self.most, self.now)

    def __exit__(self, *_: object) -> None:
        with self.lock:
            self.now -= 1


def slow(registry: Registry, loads: list[Load]) -> None:
    def answer(exchange: Exchange) -> None:
        data = registry.blobs[exchange.url_path.rsplit("/", 1)[1]]
        for load in loads:
            load.__enter__()
        # The first ones wait for others, as long as there may be any.
        end = time.monotonic() + 10
        while loads[-1].most <= 3 and time.monotonic() < end:
            exchange.pause(0.005)
        exchange.pause(0.05)
        for load in loads:
            load.__exit__()
        exchange.reply(200, data)

    registry.on("GET", BLOB, answer)


def test_calls_share_connections(store: Store, servers: Servers) -> None:
    """Pulls from several registries at once, each of more blobs than there may be connections."""
    total, loads = Load(), [Load(), Load()]
    registries: list[Registry] = [servers.add(Registry()) for _ in loads]
    for number, (registry, load) in enumerate(zip(registries, loads)):
        for tag in range(3):
            registry.put("team/image", str(tag), content.content(archives.Image([archives.tar(archives.file(f"{number}{tag}{n}", b"x")) for n in range(8)], {})))
        slow(registry, [load, total])
    with opened(store, connections=5, connections_per_host=3) as engine:
        names = [f"{registry.host}/team/image:{tag}" for registry in registries for tag in range(3)]
        errors: list[BaseException] = []

        def pull(name: str) -> None:
            try:
                engine.images.pull(name, insecure=True, jobs=16)
            except BaseException as error:
                errors.append(error)

        threads = [threading.Thread(target=pull, args=(name,)) for name in names]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(120)
        assert errors == [] and len(engine.images.list()) == len(names)
    assert all(load.most <= 3 for load in loads) and total.most <= 5
    assert total.most > 3, "they are used"
    for bad in (0, 5000):
        with pytest.raises(coble.InvalidArgumentError):
            opened(store, connections=bad)


def test_one_connection_is_enough(store: Store, registry: Registry, servers: Servers) -> None:
    """Nothing waits for a second one while it has the first: a copy reads and writes at once."""
    target: Registry = servers.add(Registry())
    made = content.small(layers=5)
    registry.put("team/image", "1", made)
    with opened(store, connections=1) as engine:
        name = f"{registry.host}/team/image:1"
        engine.images.pull(name, insecure=True)
        engine.images.copy(name, f"{target.host}/copy:1", source_insecure=True, target_insecure=True)
        engine.images.tag(name, f"{target.host}/pushed:1")
        engine.images.push(f"{target.host}/pushed:1", insecure=True)
    assert {("copy", "1"), ("pushed", "1")} <= set(target.tags)


# --- a mirror that is damaged -----------------------------------------------------------------------------------------


def test_a_copy_goes_on_at_the_registry(engine: coble.Engine, registry: Registry, servers: Servers, home: Path) -> None:
    made = content.small(layers=3, size=200_000)
    registry.put("team/image", "1", made)
    mirror, target = servers.add(Registry()), servers.add(Registry())
    mirror.put("team/image", "1", made)
    damaged = made.layers[1]
    data = bytearray(mirror.blobs[damaged])
    data[len(data) // 2] ^= 1
    mirror.blobs[damaged] = bytes(data)
    folder = home / f"config/containers/certs.d/{registry.host}"
    folder.mkdir(parents=True)
    (folder / "hosts.toml").write_text(f'server = "{registry.url}"\n[host."{mirror.url}"]\ncapabilities = ["pull", "resolve"]\n')
    said: list[coble.Progress] = []
    copied = engine.images.copy(f"{registry.host}/team/image:1", f"{target.host}/copy:1", target_insecure=True, progress=said.append)
    assert copied.digest == made.digest and all(target.blobs[digest] == data for digest, data in made.blobs.items())
    assert mirror.blob_requests()[damaged] == 1 and registry.blob_requests()[damaged] == 1
    assert any(one.kind == "warning" and "mirror" in (one.message or "") for one in said)


# --- descriptors ------------------------------------------------------------------------------------------------------

LAYERS = 120

FEW = """
    import resource, sys
    import coble

    data, run, reference, archive, soft, hard = sys.argv[1:]
    resource.setrlimit(resource.RLIMIT_NOFILE, (int(soft), int(hard)))
    expected = "".join(f"{n}\\n" for n in range(1, 120)).encode()
    show = ["sh", "-c", "cd /d; for n in $(seq 1 119); do cat f$n; done; test ! -e gone && cat link"]
    with coble.Engine(data, run) as engine:
        if reference:
            engine.images.pull(reference, insecure=True)
            engine.images.save([reference], archive)
        else:
            reference = engine.images.load(archive)[0].references[0]
        done = engine.run(reference, show, check=True)
        assert done.stdout == expected + b"1\\n", done
        with engine.containers.run(reference, ["sh", "-c", "echo new > /d/new; rm /d/f7"]) as container:
            container.wait()
            changed = {change.path: change.kind for change in container.diff()}
            assert set(changed) == {"/d", "/d/new", "/d/f7"}, changed
            image = container.commit("few:1")
        assert engine.run("few:1", ["sh", "-c", "cat /d/new /d/f8; test ! -e /d/f7"], check=True).stdout == b"new\\n8\\n"
        assert engine.scrub().problems == []
    print("done")
"""


def many_layers(assets: Assets) -> content.Content:
    """Every layer has something in the directories of those below it, some take something away, and one links to what the lowest of them has."""
    layers = [assets.busybox.read_bytes()]
    for number in range(1, LAYERS):
        entries = [archives.file(f"d/f{number}", f"{number}\n".encode()), archives.file("d/gone", b"")]
        if number == LAYERS - 2:
            entries = [entries[0], archives.hardlink("d/link", "d/f1")]
        if number == LAYERS - 1:
            entries = [entries[0], archives.file("d/.wh.gone", b"")]
        layers.append(archives.tar(*entries))
    return content.content(archives.Image(layers, {"Env": ["PATH=/bin"]}))


@pytest.mark.parametrize("hard", [False, True], ids=["soft", "hard"])
def test_many_layers_with_few_descriptors(
    assets: Assets, registry: Registry, stores: Callable[[], Store], tmp_path: Path, hard: bool
) -> None:
    made = many_layers(assets)
    registry.put("team/image", "1", made)
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    for reference in (f"{registry.host}/team/image:1", ""):
        store = stores()
        arguments = [str(store.data_root), str(store.run_root), reference, str(tmp_path / "saved.tar"), "100", "100" if hard else str(limit)]
        done = subprocess.run([sys.executable, "-c", textwrap.dedent(FEW), *arguments], capture_output=True, text=True, timeout=300)
        assert done.returncode == 0 and done.stdout == "done\n", done.stderr
