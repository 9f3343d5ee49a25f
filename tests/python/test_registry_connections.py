"""How many connections are made: each is used again, and there are no more at once than blobs are moved at once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import coble
import pytest
from registry import content
from registry.http import Exchange, Servers
from registry.own import JSON, Registry, errors

pytestmark = [pytest.mark.once, pytest.mark.usefixtures("home")]

JOBS = 4
LAYERS = 40
#: Where TLS is optional, one connection only looks whether there is any.
LOOK = 1


@pytest.fixture(params=["http", "https"])
def server(request: pytest.FixtureRequest, servers: Servers, loopback: Any) -> Registry:
    made: Registry = servers.add(Registry(loopback if request.param == "https" else None))
    return made


@pytest.fixture
def reach(server: Registry, cert_dir: Path) -> dict[str, Any]:
    return {"cert_dir": cert_dir} if server.context else {"insecure": True}


def made_by(server: Registry, call: Callable[[], object]) -> int:
    """Connections that a call makes."""
    before = server.accepted
    call()
    return server.accepted - before - (0 if server.context else LOOK)


def test_a_pull_of_many_blobs(engine: coble.Engine, server: Registry, reach: dict[str, Any]) -> None:
    server.put("team/image", "1", content.small(layers=LAYERS, size=100_000))
    name = f"{server.host}/team/image:1"
    assert made_by(server, lambda: engine.images.pull(name, jobs=JOBS, **reach)) <= JOBS + 1
    assert server.count("GET", r".*/blobs/.*") == LAYERS + 1
    # An unchanged name is one question.
    assert made_by(server, lambda: engine.images.pull(name, **reach)) == 1


def test_a_pull_from_another_host(engine: coble.Engine, server: Registry, reach: dict[str, Any], servers: Servers, loopback: Any) -> None:
    """Where every blob is a redirect, both are talked to over few connections."""
    away: Registry = servers.add(Registry(loopback if server.context else None))
    made = content.small(layers=LAYERS)
    server.put("team/image", "1", made)
    away.on("GET", r"/bucket/.*", lambda exchange: away.send_blob(exchange, "", made.blobs[exchange.url_path.rsplit("/", 1)[1]]))
    server.on("GET", r".*/blobs/.*", lambda exchange: exchange.reply(307, b"elsewhere", {"Location": f"{away.url}/bucket/{exchange.url_path.rsplit('/', 1)[1]}"}))
    if server.context:
        # The other one is trusted for being on the same host.
        assert away.host.split(":")[0] == server.host.split(":")[0]
    assert made_by(server, lambda: engine.images.pull(f"{server.host}/team/image:1", jobs=JOBS, **reach)) <= JOBS + 1
    assert away.accepted <= JOBS + 1 and away.count() == LAYERS + 1


def test_a_push_of_many_blobs(engine: coble.Engine, server: Registry, reach: dict[str, Any], registry: Registry) -> None:
    registry.put("team/image", "1", content.small(layers=LAYERS, size=100_000))
    name, target = f"{registry.host}/team/image:1", f"{server.host}/there/image:1"
    engine.images.pull(name, insecure=True)
    engine.images.tag(name, target)
    # Closing an upload may take longer than anything else, for which there are connections of their own.
    assert made_by(server, lambda: engine.images.push(target, jobs=JOBS, **reach)) <= 2 * JOBS + 2
    # Blobs that are there already, however large, end no connection.
    assert made_by(server, lambda: engine.images.push(target, jobs=JOBS, **reach)) <= JOBS + 2


def test_a_copy_of_many_blobs(engine: coble.Engine, server: Registry, reach: dict[str, Any], servers: Servers) -> None:
    server.put("team/image", "1", content.small(layers=LAYERS))
    other: Registry = servers.add(Registry())
    source = {f"source_{key}": value for key, value in reach.items()}
    copy = lambda: engine.images.copy(f"{server.host}/team/image:1", f"{other.host}/there/image:1", jobs=JOBS, target_insecure=True, **source)  # noqa: E731
    assert made_by(server, copy) <= JOBS + 1
    assert other.accepted - LOOK <= 2 * JOBS + 2


def test_many_pages(engine: coble.Engine, server: Registry, reach: dict[str, Any]) -> None:
    server.put("team/image", "1", content.small())
    for n in range(199):
        server.tags["team/image", f"t{n:03}"] = "x"
        server.manifests[f"team/other{n:03}", "x"] = (content.OCI_MANIFEST, b"{}")
    server.page = 1
    for call in (lambda: engine.registry.tags(f"{server.host}/team/image", **reach), lambda: engine.registry.catalog(server.host, **reach)):
        found: list[list[str]] = []
        assert made_by(server, lambda: found.append(call())) == 1
        assert len(found[0]) == 200


def test_refusals_and_questions_again(engine: coble.Engine, server: Registry, reach: dict[str, Any]) -> None:
    """An error is an answer, too: its body is read, and the connection goes on."""
    server.basic = {"me": "secret"}
    server.put("team/image", "1", content.small())
    server.on("GET", r".*/tags/list.*", lambda exchange: exchange.reply(503, errors("UNAVAILABLE", "x" * 3000), {**JSON, "Retry-After": "0"}), times=3)
    tags = lambda: engine.registry.tags(f"{server.host}/team/image", credentials=("me", "secret"), **reach)  # noqa: E731
    assert made_by(server, tags) == 1


def test_a_server_that_closes_after_each_answer(engine: coble.Engine, server: Registry, reach: dict[str, Any]) -> None:
    """It is asked anew each time, without a failure that costs an attempt."""
    made = content.small(layers=8)
    server.put("team/image", "1", made)
    server.extra_headers["Connection"] = "close"
    heard: list[coble.Progress] = []
    assert made_by(server, lambda: engine.images.pull(f"{server.host}/team/image:1", progress=heard.append, **reach)) == server.count()
    assert not [one for one in heard if one.kind == "retry"]


def test_a_server_that_closes_without_a_word(engine: coble.Engine, server: Registry, reach: dict[str, Any]) -> None:
    """What was sent on a connection that was just being closed is sent again."""
    made = content.small(layers=8)
    server.put("team/image", "1", made)

    def close(exchange: Exchange) -> bool:
        exchange.close_connection = True
        return False

    server.on("GET|HEAD", r".*", close)
    assert engine.images.pull(f"{server.host}/team/image:1", **reach).digest == made.digest
