"""What registries say beside their answers: warnings, how many requests are left, and that a request is made again."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import coble
import coble.aio
import pytest
from conftest import Store
from registry import content
from registry.http import Exchange
from registry.own import JSON, MANIFEST, Registry, errors

pytestmark = [pytest.mark.once, pytest.mark.usefixtures("home")]

WARNING = '299 - "this registry closes on friday"'
Heard = Callable[[coble.Progress], object]


def ask(engine: coble.Engine, registry: Registry, folder: Path) -> dict[str, Callable[[Heard], object]]:
    """Every call that asks a registry."""
    name = f"{registry.host}/team/image:1"
    found = json.dumps({"results": [{"name": "team/image"}]}).encode()
    registry.on("GET", r"/v1/search.*", lambda exchange: exchange.reply(200, found, {**JSON, **registry.extra_headers}))
    target = f"{registry.host}/other/image:1"
    return {
        "login": lambda hear: engine.registry.login(registry.host, ("me", "secret"), auth_file=folder / "auth.json", insecure=True, progress=hear),
        "tags": lambda hear: engine.registry.tags(f"{registry.host}/team/image", insecure=True, progress=hear),
        "catalog": lambda hear: engine.registry.catalog(registry.host, insecure=True, progress=hear),
        "inspect": lambda hear: engine.registry.inspect(name, insecure=True, progress=hear),
        "referrers": lambda hear: engine.registry.referrers(name, insecure=True, progress=hear),
        "search": lambda hear: engine.images.search(f"{registry.host}/team", insecure=True, progress=hear),
        "plan": lambda hear: engine.images.plan(name, insecure=True, progress=hear),
        "lock": lambda hear: engine.images.lock([name], folder / "coble.lock", insecure=True, progress=hear),
        "pull": lambda hear: engine.images.pull(name, insecure=True, progress=hear),
        "push": lambda hear: engine.images.push(name, insecure=True, progress=hear),
        "copy": lambda hear: engine.images.copy(name, target, source_insecure=True, target_insecure=True, progress=hear),
        # Nothing is there afterwards.
        "delete": lambda hear: engine.registry.delete(name, insecure=True, progress=hear),
    }


def warned(heard: list[coble.Progress]) -> list[str | None]:
    return [one.message for one in heard if one.kind == "warning"]


def test_every_call_passes_warnings_on(engine: coble.Engine, registry: Registry, tmp_path: Path) -> None:
    registry.put("team/image", "1", content.small())
    registry.extra_headers["Warning"] = WARNING
    for name, call in ask(engine, registry, tmp_path).items():
        heard: list[coble.Progress] = []
        call(heard.append)
        # Once, however many answers had it; a copy asks two registries.
        times = 2 if name == "copy" else 1
        assert warned(heard) == [f'"{registry.host}" warns: this registry closes on friday'] * times, (name, heard)
        assert all(one.reference.startswith(registry.host) for one in heard), name


def test_every_call_passes_the_state_of_limits_on(engine: coble.Engine, registry: Registry, tmp_path: Path) -> None:
    registry.put("team/image", "1", content.small())
    registry.extra_headers.update({"RateLimit-Limit": "100;w=21600", "RateLimit-Remaining": "76;w=21600"})
    for name, call in ask(engine, registry, tmp_path).items():
        heard: list[coble.Progress] = []
        call(heard.append)
        said = {one.message for one in heard if one.kind == "rate-limit"}
        assert said == {"76 of 100 requests are left, in 21600 s"}, (name, heard)


def test_a_request_that_is_made_again(engine: coble.Engine, registry: Registry) -> None:
    registry.put("team/image", "1", content.small())
    registry.on("GET", r".*/tags/list.*", lambda exchange: exchange.reply(503, errors("UNAVAILABLE"), {"Retry-After": "0"}), times=1)
    heard: list[coble.Progress] = []
    assert engine.registry.tags(f"{registry.host}/team/image", insecure=True, progress=heard.append) == ["1"]
    assert [one.kind for one in heard] == ["retry"] and "503" in str(heard[0].message)


def test_warnings_have_bounds(engine: coble.Engine, registry: Registry) -> None:
    """Their number, their length, and what they can do to a terminal."""
    registry.put("team/image", "1", content.small())
    for n in range(200):
        registry.tags["team/image", f"t{n:03}"] = "x"
    registry.page = 1

    def page(exchange: Exchange) -> bool:
        number = registry.count("GET", r".*/tags/list.*")
        registry.extra_headers["Warning"] = raw(f'299 - "number {number} für \x9b2J {"x" * 2000}"')
        return False

    registry.on("GET", r".*/tags/list.*", page)
    heard: list[coble.Progress] = []
    assert len(engine.registry.tags(f"{registry.host}/team/image", insecure=True, progress=heard.append)) == 201
    texts = [str(text) for text in warned(heard)]
    assert len(texts) == 50
    for text in texts:
        assert len(text) < 700 and text.isprintable() and " für \\u{9b}2J" in text, text


def raw(text: str) -> str:
    """As a header has it."""
    return text.encode().decode("latin-1")


def test_several_warnings_of_one_header(engine: coble.Engine, registry: Registry) -> None:
    registry.put("team/image", "1", content.small())
    registry.extra_headers["Warning"] = '299 - "one, with a comma", 199 - "of another kind", 299 - "two" "Sat, 25 Aug 2012 23:34:45 GMT"'
    heard: list[coble.Progress] = []
    engine.registry.tags(f"{registry.host}/team/image", insecure=True, progress=heard.append)
    assert warned(heard) == [f'"{registry.host}" warns: {text}' for text in ("one, with a comma", "two")]


@pytest.mark.parametrize("value", ['199 - "old"', "299 - bare", '299 - "open', "299", ""])
def test_what_is_no_warning(engine: coble.Engine, registry: Registry, value: str) -> None:
    registry.put("team/image", "1", content.small())
    registry.extra_headers["Warning"] = value
    heard: list[coble.Progress] = []
    engine.registry.tags(f"{registry.host}/team/image", insecure=True, progress=heard.append)
    assert heard == []


def test_a_warning_with_the_password_in_it(engine: coble.Engine, registry: Registry) -> None:
    registry.put("team/image", "1", content.small())
    registry.basic = {"me": "very-secret"}
    registry.extra_headers["Warning"] = '299 - "do not use very-secret again"'
    heard: list[coble.Progress] = []
    engine.registry.tags(f"{registry.host}/team/image", credentials=("me", "very-secret"), insecure=True, progress=heard.append)
    assert len(heard) == 1 and "very-secret" not in str(heard[0].message)


def test_who_hears_may_raise(engine: coble.Engine, registry: Registry) -> None:
    registry.put("team/image", "1", content.small())
    registry.extra_headers["Warning"] = WARNING

    def refuse(progress: coble.Progress) -> None:
        raise RuntimeError(progress.kind)

    with pytest.raises(RuntimeError, match="warning"):
        engine.registry.inspect(f"{registry.host}/team/image:1", insecure=True, progress=refuse)
    assert engine.registry.tags(f"{registry.host}/team/image", insecure=True) == ["1"]


def test_asyncio(store: Store, registry: Registry) -> None:
    registry.put("team/image", "1", content.small())
    registry.extra_headers["Warning"] = WARNING

    async def look() -> list[coble.Progress]:
        heard: list[coble.Progress] = []
        async with coble.aio.Engine(store.data_root, store.run_root) as engine:
            await engine.registry.tags(f"{registry.host}/team/image", insecure=True, progress=heard.append)
        return heard

    assert len(warned(asyncio.run(look()))) == 1


def test_a_failure_says_what_was_warned_of_before(engine: coble.Engine, registry: Registry) -> None:
    """The warning comes with the answer, also with one that is no success."""
    registry.on("GET|HEAD", MANIFEST, lambda exchange: exchange.reply(404, errors("MANIFEST_UNKNOWN"), {**JSON, "Warning": WARNING}))
    heard: list[Any] = []
    with pytest.raises(coble.ImageNotFoundError):
        engine.registry.inspect(f"{registry.host}/team/gone:1", insecure=True, progress=heard.append)
    assert len(warned(heard)) == 1
