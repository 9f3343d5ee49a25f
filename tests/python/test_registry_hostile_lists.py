"""Lists of tags and of what refers to an image that lead astray, or never end. See `registry.scene` for what a case is."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from registry import content
from registry.http import Exchange
from registry.own import JSON
from registry.scene import FOREVER, SECRET, USER, Case, Cases, Judge, Scene

pytestmark = [pytest.mark.once, pytest.mark.usefixtures("home")]

CASES = Cases()


def asks(scene: Scene, operation: str, what: str, **words: Any) -> str:
    scene.operation = operation
    scene.words.update(words)
    return what


@CASES.case("Registry", "LimitExceeded", None)
def tags_whose_pages_go_round(scene: Scene) -> Iterator[str]:
    """SEC-106."""
    page = json.dumps({"name": "team/image", "tags": ["a", "b"]}).encode()
    scene.registry.on("GET", r".*/tags/list.*", lambda exchange: exchange.reply(200, page, {**JSON, "Link": f'<{exchange.path}>; rel="next"'}))
    yield asks(scene, "registry.tags", f"{scene.registry.host}/team/image")
    assert scene.registry.count() < 2000


@CASES.case("Registry", "LimitExceeded", seconds=FOREVER)
def tags_without_end(scene: Scene) -> Iterator[str]:
    numbers = iter(range(10_000_000))

    def page(exchange: Exchange) -> None:
        tags = [f"tag-{next(numbers)}-{'x' * 100}" for _ in range(1000)]
        body = json.dumps({"name": "team/image", "tags": tags}).encode()
        exchange.reply(200, body, {**JSON, "Link": f'</v2/team/image/tags/list?n=1000&last={tags[-1]}>; rel="next"'})

    scene.registry.on("GET", r".*/tags/list.*", page)
    yield asks(scene, "registry.tags", f"{scene.registry.host}/team/image")


@CASES.case("Registry", "Network", "Unauthorized")
def tags_whose_next_page_is_elsewhere(scene: Scene) -> Iterator[str]:
    away = scene.another()
    scene.registry.basic = {USER: SECRET}
    scene.credentials()
    page = json.dumps({"name": "team/image", "tags": ["a"]}).encode()
    headers = {**JSON, "Link": f'<{away.url}/v2/team/image/tags/list?last=a>; rel="next"'}
    scene.registry.on("GET", r".*/tags/list.*", lambda exchange: "authorization" in exchange.headers and exchange.reply(200, page, headers))
    yield asks(scene, "registry.tags", f"{scene.registry.host}/team/image")
    assert away.secrets_seen() == []


@CASES.case("Registry", "InvalidImage")
def tags_that_are_none(scene: Scene) -> Iterator[str]:
    scene.registry.on("GET", r".*/tags/list.*", lambda exchange: exchange.reply(200, b'{"tags": {"a": 1}}', JSON))
    yield asks(scene, "registry.tags", f"{scene.registry.host}/team/image")


@CASES.case(None)
def tags_that_are_null(scene: Scene) -> Iterator[str]:
    """That is how some registries say that there are none."""
    scene.registry.on("GET", r".*/tags/list.*", lambda exchange: exchange.reply(200, b'{"name": "team/image", "tags": null}', JSON))
    outcome = yield asks(scene, "registry.tags", f"{scene.registry.host}/team/image")
    assert outcome.value == []


@CASES.case("Registry", "LimitExceeded", seconds=FOREVER)
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


@pytest.mark.timeout(180)
@pytest.mark.parametrize("one", CASES.all, ids=str)
def test_case(one: Case, judge: Judge) -> None:
    judge(one)
