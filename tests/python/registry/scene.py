"""Registries that misbehave: each case ends in a clear error or in success, soon, with little memory, and leaves the store clean.

A case is a function that makes a registry misbehave, and names what comes of it. What it yields is the reference to pull; after that it gets the
outcome, if it wants to look further.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from registry import content
from registry.content import Content
from registry.http import Exchange, Servers
from registry.own import NAME, Registry
from registry.worker import Outcome, Worker

if TYPE_CHECKING:
    from conftest import Store

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

    def __str__(self) -> str:
        return self.name


class Cases:
    """The cases of one file."""

    def __init__(self) -> None:
        self.all: list[Case] = []

    def case(self, *kinds: str | None, says: tuple[str, ...] | str = (), seconds: float = PROMPT) -> Callable[[Callable[[Scene], Any]], Any]:
        """Adds a case. `kinds` are the kinds of error that are right, None for success."""

        def add(arrange: Callable[[Scene], Any]) -> Any:
            self.all.append(Case(arrange.__name__, arrange, kinds, (says,) if isinstance(says, str) else says, seconds))
            return arrange

        return add


#: The fixture of that name: what a test does with a case.
Judge = Callable[[Case], None]


# --- parts of cases ---------------------------------------------------------------------------------------------------


def blob_of(made: Content, number: int = 0) -> str:
    return made.layers[number]


def on_blob(scene: Scene, digest: str, action: Callable[[Exchange, bytes], Any], **options: Any) -> None:
    """Does something instead of sending a blob."""
    data = scene.registry.blobs[digest]
    scene.registry.on("GET", rf"/v2/{NAME}/blobs/{digest}", lambda exchange: action(exchange, data), **options)


def trust(scene: Scene) -> None:
    """The authority of the tests is trusted by this call, and plain HTTP is not."""
    folder = scene.folder / "ca"
    folder.mkdir(exist_ok=True)
    (folder / "ca.crt").write_bytes(scene.authority.own.certificate.read_bytes())
    scene.words.pop("insecure", None)
    scene.words["cert_dir"] = str(folder)


# --- what has to hold -------------------------------------------------------------------------------------------------


def partial(store: Store) -> list[str]:
    folder = store.data_root / "content/partial"
    return os.listdir(folder) if folder.is_dir() else []


def blobs_of(store: Store) -> int:
    folder = store.data_root / "content/blobs"
    return sum(len(list(one.iterdir())) for one in folder.iterdir()) if folder.is_dir() else 0


def judge(case: Case, store: Store, worker: Worker, registry: Registry, servers: Servers, authority: Any, folder: Path) -> None:
    """Has the case happen, and looks at everything that has to hold afterwards."""
    scene = Scene(registry, servers, folder, authority)
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
