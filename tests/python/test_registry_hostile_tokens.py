"""Token servers, challenges and certificates that are not to be trusted. See `registry.scene` for what a case is."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from registry import content
from registry.own import JSON, Registry
from registry.scene import SECRET, USER, Case, Cases, Judge, Scene, trust
from registry.tokens import TokenServer

pytestmark = [pytest.mark.once, pytest.mark.usefixtures("home")]

CASES = Cases()


def with_tokens(scene: Scene, tokens: TokenServer, **options: Any) -> str:
    scene.registry.bearer = tokens
    scene.credentials()
    return scene.image(**options)[1]


@CASES.case("Unauthorized", "Registry", says="{away}")
def token_realm_on_a_foreign_host(scene: Scene) -> Iterator[str]:
    """SEC-100: it never sees the credentials."""
    tokens = scene.servers.add(TokenServer(host="127.0.0.2"))
    tokens.users[USER] = SECRET
    reference = with_tokens(scene, tokens)
    yield reference
    assert tokens.secrets_seen() == [] and tokens.count("POST") == 0


@CASES.case("Unauthorized", "Registry")
def token_realm_of_plain_http_for_a_registry_of_https(scene: Scene) -> Iterator[str]:
    tokens = scene.servers.add(TokenServer())
    tokens.users[USER] = SECRET
    secure = scene.another(certificate=scene.authority.issue("loopback", "IP:127.0.0.1"), bearer=tokens)
    secure.put("team/image", "1", content.small())
    scene.credentials()
    trust(scene)
    yield f"{secure.host}/team/image:1"
    assert tokens.secrets_seen() == [] and tokens.count("POST") == 0


@CASES.case("Unauthorized", "Registry", "Network")
def token_realm_that_redirects(scene: Scene) -> Iterator[str]:
    away = scene.another()
    scene.registry.bearer = _Realm(scene.registry)
    scene.registry.on("GET|POST", r"/token.*", lambda exchange: exchange.reply(307, b"", {"Location": f"{away.url}/token"}))
    scene.credentials()
    yield scene.image()[1]
    assert away.secrets_seen() == []
    assert [one for one in away.requests("POST") if one.received] == []


class _Realm:
    """A realm at the registry itself."""

    def __init__(self, registry: Registry) -> None:
        self.registry = registry

    def challenge(self, scope: str) -> str:
        return f'Bearer realm="{self.registry.url}/token",service="x",scope="{scope}"'

    def grants(self, token: str, wanted: str) -> bool:
        return False


def with_own_realm(scene: Scene, status: int, body: bytes) -> str:
    scene.registry.bearer = _Realm(scene.registry)
    scene.registry.on("GET|POST", r"/token.*", lambda exchange: exchange.reply(status, body, JSON))
    scene.credentials()
    return scene.image()[1]


@CASES.case("Unauthorized", says="{host}")
def tokens_that_do_not_help(scene: Scene) -> Iterator[str]:
    yield with_own_realm(scene, 200, b'{"token": "abc", "expires_in": 300}')
    assert scene.registry.count() < 20


@CASES.case("Unauthorized", "Registry")
def tokens_that_are_none(scene: Scene) -> Iterator[str]:
    yield with_own_realm(scene, 200, b'{"hello": 1}')


@CASES.case("Unauthorized", "Registry")
def tokens_that_are_no_json(scene: Scene) -> Iterator[str]:
    yield with_own_realm(scene, 200, b"<html>")


@CASES.case("Unauthorized", "Registry", "LimitExceeded")
def token_without_end(scene: Scene) -> Iterator[str]:
    yield with_own_realm(scene, 200, b'{"token": "' + b"a" * (32 << 20) + b'"}')


@CASES.case("Unauthorized", "Registry")
def tokens_with_a_line_end(scene: Scene) -> Iterator[str]:
    """What a token server says cannot add a header."""
    yield with_own_realm(scene, 200, b'{"token": "abc\\r\\nX-Added: 1"}')
    assert [one for one in scene.registry.requests() if "x-added" in one.headers] == []


@CASES.case("Unauthorized", says="{host}")
def token_server_that_refuses(scene: Scene) -> Iterator[str]:
    yield with_own_realm(scene, 401, b'{"details": "no"}')


@CASES.case("Unauthorized", "Registry", says="{host}")
def challenge_that_is_none(scene: Scene) -> Iterator[str]:
    _, reference = scene.image()
    scene.credentials()
    challenges = iter(['Bearer realm="', "Basic", "Digest x=y", ",,,", "Bearer " + "a=b," * 10_000] * 20)
    scene.registry.on(".*", ".*", lambda exchange: exchange.reply(401, b"", {"WWW-Authenticate": next(challenges)}))
    yield reference


@CASES.case("Unauthorized", says="{host}")
def password_that_is_wrong(scene: Scene) -> Iterator[str]:
    scene.registry.basic = {USER: "another"}
    scene.credentials()
    yield scene.image()[1]
    assert scene.registry.count() < 10


@CASES.case("Unauthorized", says="{host}")
def password_that_is_missing(scene: Scene) -> Iterator[str]:
    scene.registry.basic = {USER: SECRET}
    yield scene.image()[1]


@CASES.case("Network", "Registry", "Unauthorized", says="{host}")
def plain_http_where_nobody_allowed_it(scene: Scene) -> Iterator[str]:
    """SEC-102, SEC-134: TLS fails, and nothing is asked in plain, on loopback, too."""
    scene.words = {}
    scene.credentials()
    yield scene.image()[1]
    assert scene.registry.count() == 0


@CASES.case("Network", says="{host}")
def certificate_that_nobody_knows(scene: Scene) -> Iterator[str]:
    """SEC-104."""
    secure = scene.another(certificate=scene.authority.issue("loopback", "IP:127.0.0.1"))
    secure.put("team/image", "1", content.small())
    scene.words = {}
    scene.credentials()
    scene.host = secure.host
    yield f"{secure.host}/team/image:1"
    assert secure.count() == 0


@CASES.case("Network", says="{host}")
def certificate_of_another_host(scene: Scene) -> Iterator[str]:
    secure = scene.another(certificate=scene.authority.issue("elsewhere", "IP:127.9.9.9", "DNS:elsewhere.test"))
    secure.put("team/image", "1", content.small())
    trust(scene)
    scene.host = secure.host
    yield f"{secure.host}/team/image:1"
    assert secure.count() == 0


@CASES.case("Network", says="{host}")
def certificate_that_is_too_old(scene: Scene) -> Iterator[str]:
    secure = scene.another(certificate=scene.authority.issue("old", "IP:127.0.0.1", days=("20200101000000Z", "20210101000000Z")))
    secure.put("team/image", "1", content.small())
    trust(scene)
    scene.host = secure.host
    yield f"{secure.host}/team/image:1"
    assert secure.count() == 0


@pytest.mark.timeout(180)
@pytest.mark.parametrize("one", CASES.all, ids=str)
def test_case(one: Case, judge: Judge) -> None:
    judge(one)
