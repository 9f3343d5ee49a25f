"""Who one is to a registry and how one gets there: credentials and where they come from, tokens, certificates, mirrors, proxies."""

from __future__ import annotations

import asyncio
import base64
import gc
import json
import os
import stat
import subprocess
import sys
import threading
import time
import weakref
from pathlib import Path
from typing import Any

import coble
import pytest
from conftest import Store
from helpers import eventually
from registry import content
from registry.certificates import Authority
from registry.http import Exchange, Server, Servers
from registry.own import BLOB, MANIFEST, Registry, errors
from registry.proxy import Proxy
from registry.tokens import TokenServer
from registry.worker import Worker

pytestmark = [pytest.mark.once, pytest.mark.usefixtures("home")]

USER, SECRET = "tester", "hunter2-is-secret"


def basic(user: str = USER, password: str = SECRET) -> str:
    return base64.b64encode(f"{user}:{password}".encode()).decode()


def write(path: Path, document: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(document if isinstance(document, str) else json.dumps(document))
    path.chmod(0o600)
    return path


@pytest.fixture
def closed(registry: Registry) -> Registry:
    """A registry that wants a name and a password, with an image."""
    registry.basic = {USER: SECRET}
    registry.put("team/image", "1", content.small())
    return registry


def pull(engine: coble.Engine, registry: Registry, **words: Any) -> coble.Image:
    words.setdefault("insecure", True)
    return engine.images.pull(f"{registry.host}/team/image:1", policy="always", **words)


def refused(engine: coble.Engine, registry: Registry, **words: Any) -> str:
    with pytest.raises(coble.UnauthorizedError) as caught:
        pull(engine, registry, **words)
    assert SECRET not in str(caught.value) and basic() not in str(caught.value)
    return str(caught.value)


# --- where credentials come from --------------------------------------------------------------------------------------


def auths(registry: Registry, user: str = USER, password: str = SECRET, key: str | None = None) -> dict[str, Any]:
    return {"auths": {key or registry.host: {"auth": basic(user, password)}}}


def test_places_of_credentials(engine: coble.Engine, closed: Registry, home: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Each is found, and the nearer one wins over the farther: the call, REGISTRY_AUTH_FILE, auth.json, docker's config.json."""
    refused(engine, closed)
    good, bad = auths(closed), auths(closed, password="wrong")
    write(home / "docker/config.json", good)
    pull(engine, closed)
    write(home / "runtime/containers/auth.json", bad)
    refused(engine, closed)
    write(home / "runtime/containers/auth.json", good)
    write(home / "docker/config.json", bad)
    pull(engine, closed)
    monkeypatch.setenv("REGISTRY_AUTH_FILE", str(write(tmp_path / "named.json", bad)))
    refused(engine, closed)
    write(tmp_path / "named.json", good)
    write(home / "runtime/containers/auth.json", bad)
    pull(engine, closed)
    refused(engine, closed, auth_file=write(tmp_path / "given.json", bad))
    write(tmp_path / "named.json", bad)
    pull(engine, closed, auth_file=write(tmp_path / "given.json", good))
    refused(engine, closed, auth_file=tmp_path / "given.json", credentials=(USER, "wrong"))
    pull(engine, closed, auth_file=write(tmp_path / "given.json", bad), credentials=(USER, SECRET))
    pull(engine, closed, credentials=coble.Credentials(USER, SECRET))


def test_credentials_in_the_environment(engine: coble.Engine, closed: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    """DOCKER_AUTH_CONFIG."""
    monkeypatch.setenv("DOCKER_AUTH_CONFIG", json.dumps(auths(closed)))
    pull(engine, closed)


@pytest.mark.parametrize("key", ["{host}/team", "{host}/team/image", "http://{host}", "https://{host}/v1/", "{host}/"])
def test_keys_of_credentials(engine: coble.Engine, closed: Registry, home: Path, key: str) -> None:
    """A registry, with what some programs write around it, or a part of it."""
    write(home / "runtime/containers/auth.json", auths(closed, key=key.format(host=closed.host)))
    pull(engine, closed)


def test_credentials_for_others_are_not_sent(engine: coble.Engine, closed: Registry, home: Path, servers: Servers) -> None:
    """SEC-102: only the registry that they are for sees them, also where names are alike."""
    entries = {f"{closed.host}1": {"auth": basic()}, f"127.0.0.1:{closed.port + 1}": {"auth": basic()}, f"{closed.host}.test": {"auth": basic()}}
    entries.update({f"{closed.host}/other": {"auth": basic()}, "127.0.0.1": {"auth": basic()}, "https://index.docker.io/v1/": {"auth": basic()}})
    write(home / "docker/config.json", {"auths": entries})
    refused(engine, closed)
    assert closed.secrets_seen() == []


@pytest.mark.parametrize("text", ["", "not json", "[]", '{"auths": 1}', '{"auths": {"HOST": {"auth": "%%%"}}}', '{"auths": {"HOST": {"auth": ""}}}'])
def test_files_that_are_none(engine: coble.Engine, closed: Registry, home: Path, text: str) -> None:
    """An error that names the file, or nobody's credentials; what is in the file is never said."""
    path = write(home / "docker/config.json", text.replace("HOST", closed.host))
    with pytest.raises(coble.CobleError) as caught:
        pull(engine, closed)
    assert caught.value.kind in ("Unauthorized", "InvalidArgument")
    if caught.value.kind == "InvalidArgument":
        assert str(path) in str(caught.value)
    registry_open = closed
    registry_open.basic = None
    pull(engine, registry_open, credentials=(USER, SECRET))


def test_anonymous_first(engine: coble.Engine, registry: Registry) -> None:
    """A registry that asks for nothing gets nothing."""
    registry.put("team/image", "1", content.small())
    pull(engine, registry, credentials=(USER, SECRET))
    assert registry.secrets_seen() == []


# --- helpers ----------------------------------------------------------------------------------------------------------

HELPER = """#!/bin/sh
echo "$1" >> "{folder}/calls"
read -r server
echo "$server" >> "{folder}/servers"
case "$1" in
get) {get} ;;
store) cat > /dev/null ;;
erase) : ;;
esac
"""


def helper(folder: Path, monkeypatch: pytest.MonkeyPatch, get: str, name: str = "test") -> None:
    """A program docker-credential-NAME on the path."""
    folder.mkdir(parents=True, exist_ok=True)
    program = folder / f"docker-credential-{name}"
    program.write_text(HELPER.format(folder=folder, get=get))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")


def said(user: str = USER, secret: str = SECRET) -> str:
    return f"""echo '{{"ServerURL": "x", "Username": "{user}", "Secret": "{secret}"}}'"""


def test_credential_helpers(engine: coble.Engine, closed: Registry, home: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    helper(tmp_path / "bin", monkeypatch, said())
    write(home / "docker/config.json", {"credHelpers": {closed.host: "test", "another.test": "test"}, "credsStore": "missing"})
    pull(engine, closed)
    # Asked once, for this registry only.
    assert (tmp_path / "bin/calls").read_text().split() == ["get"]
    assert closed.host in (tmp_path / "bin/servers").read_text()
    write(home / "docker/config.json", {"credsStore": "test"})
    pull(engine, closed)
    # Not at all where nobody asks for credentials.
    (tmp_path / "bin/calls").unlink()
    closed.basic = None
    pull(engine, closed)
    assert not (tmp_path / "bin/calls").exists()


@pytest.mark.parametrize("name", ["../test", "a b", "", "x/../../bin/sh", "a;b", "-x\n"])
def test_names_of_helpers_that_are_none(engine: coble.Engine, closed: Registry, home: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str) -> None:
    """SEC-108."""
    helper(tmp_path / "bin", monkeypatch, said())
    write(home / "docker/config.json", {"credHelpers": {closed.host: name}})
    with pytest.raises(coble.CobleError) as caught:
        pull(engine, closed)
    assert caught.value.kind in ("InvalidArgument", "Unauthorized")
    assert not (tmp_path / "bin/calls").exists() and closed.secrets_seen() == []


@pytest.mark.parametrize(
    "get", ["exit 1", "echo 'credentials not found in native keychain'; exit 1", "yes x", "echo hello", "echo '{}'"], ids=["fails", "has none", "endless", "no json", "empty"]
)
def test_helpers_that_do_not_help(engine: coble.Engine, closed: Registry, home: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, get: str) -> None:
    """SEC-108: bounded in output and time."""
    helper(tmp_path / "bin", monkeypatch, get)
    write(home / "docker/config.json", {"credHelpers": {closed.host: "test"}})
    begin = time.monotonic()
    with pytest.raises(coble.CobleError) as caught:
        pull(engine, closed)
    assert caught.value.kind not in ("Internal", "Panic") and time.monotonic() - begin < 10
    assert closed.secrets_seen() == []


def test_a_helper_that_hangs_is_cancelled(engine: coble.Engine, closed: Registry, home: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    helper(tmp_path / "bin", monkeypatch, "exec sleep 1000")
    write(home / "docker/config.json", {"credHelpers": {closed.host: "test"}})
    token = coble.CancelToken()
    times: list[float] = []

    def cancel() -> None:
        try:
            eventually((tmp_path / "bin/servers").exists, "the helper", 30)
        finally:
            times.append(time.monotonic())
            token.cancel()

    cancelling = threading.Thread(target=cancel)
    cancelling.start()
    with token, pytest.raises(coble.CancelledError):
        pull(engine, closed)
    took = time.monotonic() - times[0]
    cancelling.join()
    assert took < 5


# --- login ------------------------------------------------------------------------------------------------------------


def test_login_and_logout(engine: coble.Engine, closed: Registry, home: Path, tmp_path: Path) -> None:
    path = tmp_path / "auth/auth.json"
    with pytest.raises(coble.UnauthorizedError):
        engine.registry.login(closed.host, (USER, "wrong"), insecure=True, auth_file=path)
    assert not path.exists()
    write(path, {"auths": {"another.test": {"auth": "eDp5"}}, "unknown": [1]})
    path.chmod(0o644)
    done = engine.registry.login(closed.host, (USER, SECRET), insecure=True, auth_file=path)
    assert (done.server, done.username, done.stored_in) == (closed.host, USER, str(path))
    stored = json.loads(path.read_text())
    assert stored["auths"][closed.host]["auth"] == basic() and stored["auths"]["another.test"] == {"auth": "eDp5"} and stored["unknown"] == [1]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [one.name for one in path.parent.iterdir() if "lock" not in one.name] == ["auth.json"]
    pull(engine, closed, auth_file=path)
    assert engine.registry.logout(closed.host, auth_file=path) is True
    assert closed.host not in json.loads(path.read_text())["auths"] and "another.test" in path.read_text()
    assert engine.registry.logout(closed.host, auth_file=path) is False
    refused(engine, closed, auth_file=path)
    # Without a file named, it is one of the usual ones, and found again.
    where = engine.registry.login(closed.host, (USER, SECRET), insecure=True).stored_in
    assert Path(where).is_relative_to(home) and stat.S_IMODE(Path(where).stat().st_mode) == 0o600
    pull(engine, closed)
    assert engine.registry.logout(closed.host)
    refused(engine, closed)


def test_login_with_a_store(engine: coble.Engine, closed: Registry, home: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The secret goes to the program, and not into the file."""
    helper(tmp_path / "bin", monkeypatch, said())
    path = write(tmp_path / "auth.json", {"credsStore": "test"})
    done = engine.registry.login(closed.host, (USER, SECRET), insecure=True, auth_file=path)
    assert done.stored_in == "docker-credential-test"
    assert basic() not in path.read_text() and SECRET not in path.read_text()
    assert "store" in (tmp_path / "bin/calls").read_text()
    assert engine.registry.logout(closed.host, auth_file=path)
    assert "erase" in (tmp_path / "bin/calls").read_text()


def test_logins_at_the_same_time(engine: coble.Engine, servers: Servers, tmp_path: Path) -> None:
    """None of them is lost."""
    path = tmp_path / "auth.json"
    made: list[Registry] = [servers.add(Registry(basic={USER: SECRET})) for _ in range(8)]
    threads = [
        threading.Thread(target=lambda one=one: engine.registry.login(one.host, (USER, SECRET), insecure=True, auth_file=path)) for one in made
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(json.loads(path.read_text())["auths"]) == {one.host for one in made}


# --- tokens -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def tokens(registry: Registry, servers: Servers) -> TokenServer:
    """A token server beside a registry with an image: on the same host."""
    made: TokenServer = servers.add(TokenServer())
    made.users[USER] = SECRET
    registry.bearer = made
    registry.put("team/image", "1", content.small())
    return made


def test_tokens(engine: coble.Engine, registry: Registry, tokens: TokenServer) -> None:
    """One for a pull; the registry sees it and never the password, the token server sees the password."""
    pull(engine, registry, credentials=(USER, SECRET))
    assert tokens.count() == 1
    assert not any(basic() in one or SECRET in one for one in registry.secrets_seen())
    asked = tokens.requests()[0]
    if asked.method == "GET":
        assert asked.query["service"] == tokens.service and asked.query["scope"] == "repository:team/image:pull"
        assert asked.headers["authorization"] == f"Basic {basic()}"


def test_tokens_for_everybody(engine: coble.Engine, registry: Registry, tokens: TokenServer) -> None:
    refused(engine, registry)
    tokens.public.add("team/image")
    pull(engine, registry)
    assert tokens.secrets_seen() == []


@pytest.mark.parametrize("field", ["token", "access_token"])
def test_names_of_tokens(engine: coble.Engine, registry: Registry, tokens: TokenServer, field: str) -> None:
    tokens.field, tokens.says_lifetime = field, False
    pull(engine, registry, credentials=(USER, SECRET))


def test_a_token_whose_time_is_over(engine: coble.Engine, registry: Registry, tokens: TokenServer) -> None:
    """In the middle of a pull: another one is asked for, and the pull goes on."""
    ended = threading.Event()

    def expire(exchange: Exchange) -> bool:
        if not ended.is_set():
            ended.set()
            tokens.expire()
        return False

    registry.on("GET", BLOB, expire)
    pull(engine, registry, credentials=(USER, SECRET))
    assert 2 <= tokens.count() <= 4


def test_identity_tokens(engine: coble.Engine, registry: Registry, tokens: TokenServer, home: Path) -> None:
    """Exchanged by POST; also out of a file, and from a helper, whose user is <token>."""
    identity = tokens.refresh_for(USER)
    pull(engine, registry, credentials=coble.Credentials.identity_token(identity))
    (asked,) = tokens.requests()
    assert asked.method == "POST" and identity not in asked.target
    write(home / "docker/config.json", {"auths": {registry.host: {"auth": basic(USER, "x"), "identitytoken": identity}}})
    pull(engine, registry)
    with pytest.raises(coble.UnauthorizedError) as caught:
        pull(engine, registry, credentials=coble.Credentials.identity_token("of nobody"))
    assert "of nobody" not in str(caught.value)
    assert not any(identity in one for one in registry.secrets_seen())


def test_identity_tokens_of_helpers(engine: coble.Engine, registry: Registry, tokens: TokenServer, home: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    helper(tmp_path / "bin", monkeypatch, said("<token>", tokens.refresh_for(USER)))
    write(home / "docker/config.json", {"credHelpers": {registry.host: "test"}})
    pull(engine, registry)


def test_tokens_that_are_given(engine: coble.Engine, registry: Registry, tokens: TokenServer, home: Path) -> None:
    """A token for the registry itself is sent as it is."""
    token = tokens.make(USER, ["repository:team/image:pull"])
    pull(engine, registry, credentials=coble.Credentials.token(token))
    write(home / "docker/config.json", {"auths": {registry.host: {"registrytoken": token}}})
    pull(engine, registry)
    assert tokens.count() == 0
    assert token not in repr(coble.Credentials.token(token)) and SECRET not in repr(coble.Credentials(USER, SECRET))


def test_login_gets_an_identity_token(engine: coble.Engine, registry: Registry, tokens: TokenServer, tmp_path: Path) -> None:
    """If the token server gives one, it is what is stored."""
    path = tmp_path / "auth.json"
    with pytest.raises(coble.UnauthorizedError):
        engine.registry.login(registry.host, (USER, "wrong"), insecure=True, auth_file=path)
    engine.registry.login(registry.host, (USER, SECRET), insecure=True, auth_file=path)
    pull(engine, registry, auth_file=path)


def test_scopes_of_a_mount(engine: coble.Engine, registry: Registry, tokens: TokenServer) -> None:
    """The token of a push that mounts is for both repositories."""
    pull(engine, registry, credentials=(USER, SECRET))
    target = f"{registry.host}/other/image:1"
    engine.images.tag(f"{registry.host}/team/image:1", target)
    pushed = engine.images.push(target, insecure=True, credentials=(USER, SECRET))
    assert (pushed.blobs_mounted, pushed.blobs_sent) == (3, 0)
    assert tokens.count() <= 4


def test_tokens_are_kept(engine: coble.Engine, registry: Registry, tokens: TokenServer) -> None:
    """A push of many blobs asks for few."""
    made = content.small("many", layers=8)
    registry.put("many/image", "1", made)
    reference = f"{registry.host}/many/image:1"
    engine.images.pull(reference, insecure=True, credentials=(USER, SECRET), jobs=8)
    assert tokens.count() <= 2
    registry.mounts = False
    target = f"{registry.host}/many/again:1"
    engine.images.tag(reference, target)
    engine.images.push(target, insecure=True, credentials=(USER, SECRET), jobs=8)
    assert tokens.count() <= 6


def test_tokens_are_kept_for_later_calls(engine: coble.Engine, registry: Registry, tokens: TokenServer) -> None:
    """An unchanged tag is one request; the other tags of a repository need no token of their own; and nobody has another one's."""
    pull(engine, registry, credentials=(USER, SECRET))
    registry.forget()
    pull(engine, registry, credentials=(USER, SECRET))
    assert registry.count() == 1 and tokens.count() == 1
    for tag in ("2", "3"):
        registry.put("team/image", tag, content.small())
        engine.images.pull(f"{registry.host}/team/image:{tag}", insecure=True, credentials=(USER, SECRET))
    assert tokens.count() == 1
    refused(engine, registry)
    refused(engine, registry, credentials=(USER, "wrong"))
    # What the server does not take any more is replaced.
    tokens.expire()
    pull(engine, registry, credentials=(USER, SECRET))


def test_a_token_that_ends_in_a_push(engine: coble.Engine, registry: Registry, tokens: TokenServer) -> None:
    """Said with status 403, as one registry of the cloud has it."""
    pull(engine, registry, credentials=(USER, SECRET))
    asked = tokens.count()
    ended: list[str] = []

    def expire(exchange: Exchange) -> bool:
        token = exchange.headers.get("authorization", "")
        if token and not ended:
            ended.append(token)
        if token not in ended:
            return False
        exchange.content()
        exchange.reply(403, errors("DENIED", "Your authorization token has expired. Reauthenticate and try again."), {"Content-Type": "application/json"})
        return True

    target = f"{registry.host}/team/other:1"
    engine.images.tag(f"{registry.host}/team/image:1", target)
    engine.images.push(target, insecure=True, credentials=(USER, SECRET), jobs=1)
    engine.images.tag(f"{registry.host}/team/image:1", f"{registry.host}/team/other:2")
    registry.on("PUT", MANIFEST, expire)
    engine.images.push(f"{registry.host}/team/other:2", insecure=True, credentials=(USER, SECRET), jobs=1)
    assert len(ended) == 1 and ("team/other", "2") in registry.tags and tokens.count() > asked + 1


# --- a function that knows credentials --------------------------------------------------------------------------------


def test_a_credential_provider(store: Store, engine: coble.Engine, closed: Registry, home: Path) -> None:
    asked: list[tuple[str, str, bool]] = []

    def answer(registry: str, repository: str, refused: bool) -> coble.Credentials | tuple[str, str] | None:
        asked.append((registry, repository, refused))
        return coble.Credentials(USER, SECRET) if refused else (USER, "of yesterday")

    pull(engine, closed, credential_provider=answer)
    assert asked == [(closed.host, "team/image", False), (closed.host, "team/image", True)]
    with engine.images.pull(f"{closed.host}/team/image:1", insecure=True, credential_provider=answer, stream=True) as events:
        assert events.result().digest
    # The call goes before it, and the files come behind it.
    asked.clear()
    pull(engine, closed, credentials=(USER, SECRET), credential_provider=answer)
    assert asked == []
    write(home / "docker/config.json", auths(closed))
    pull(engine, closed, credential_provider=lambda *_: None)
    write(home / "docker/config.json", {})
    # That of an engine is for all its calls, and each registry of a copy is asked for by its name.
    with coble.Engine(store.data_root, store.run_root, credential_provider=answer) as other:
        assert other.registry.tags(f"{closed.host}/team/image", insecure=True) == ["1"]
    assert asked[0] == (closed.host, "team/image", False)


class Ring:
    """Who knows credentials, and has an engine whose provider it is."""

    def __init__(self, store: Store) -> None:
        self.asked = 0
        self.engine = coble.Engine(store.data_root, store.run_root, credential_provider=self.answer)
        self.images, self.registry, self.containers = self.engine.images, self.engine.registry, self.engine.containers

    def answer(self, _registry: str, _repository: str, _refused: bool) -> tuple[str, str]:
        self.asked += 1
        return USER, SECRET


def test_an_engine_and_its_credential_provider_are_collected_together(store: Store, closed: Registry) -> None:
    ring = Ring(store)
    ring.registry.tags(f"{closed.host}/team/image", insecure=True)
    seen = weakref.ref(ring)
    del ring
    gc.collect()
    assert seen() is None
    # Not as long as anybody can make the engine ask: not by its parts, and not while a transfer goes on.
    registry = Ring(store).registry
    gc.collect()
    assert registry.tags(f"{closed.host}/team/image", insecure=True) == ["1"]
    stream = Ring(store).images.pull(f"{closed.host}/team/image:1", insecure=True, stream=True)
    gc.collect()
    with stream as events:
        assert events.result().digest
    ring = Ring(store)
    ring.stream = ring.images.pull(f"{closed.host}/team/image:1", insecure=True, stream=True)  # type: ignore[attr-defined]
    assert ring.stream.result().digest  # type: ignore[attr-defined]
    ring.stream.close()  # type: ignore[attr-defined]
    seen = weakref.ref(ring)
    del ring
    gc.collect()
    assert seen() is None


@pytest.mark.parametrize("awaited", [False, True], ids=["plain", "aio"])
def test_a_credential_provider_that_fails(engine: coble.Engine, store: Store, closed: Registry, awaited: bool) -> None:
    """Its exception is what the caller gets, of a stream, too; nothing is tried again."""

    class Locked(Exception):
        pass

    calls: list[str] = []

    def fail(registry: str, _repository: str, _refused: bool) -> None:
        calls.append(registry)
        raise Locked("the ring of keys")

    name = f"{closed.host}/team/image:1"

    async def pulling() -> None:
        async with coble.aio.Engine(store.data_root, store.run_root) as other:
            await other.images.pull(name, insecure=True, credential_provider=fail)

    with pytest.raises(Locked):
        if awaited:
            asyncio.run(pulling())
        else:
            pull(engine, closed, credential_provider=fail)
    assert calls == [closed.host]
    if not awaited:
        with engine.images.pull(name, insecure=True, credential_provider=fail, stream=True) as events, pytest.raises(Locked):
            events.result()
        with pytest.raises(TypeError):
            pull(engine, closed, credential_provider=lambda *_: 7)
        with pytest.raises(TypeError):
            pull(engine, closed, credential_provider=7)


# --- certificates -----------------------------------------------------------------------------------------------------


def test_client_certificates(engine: coble.Engine, servers: Servers, authority: Authority, loopback: Any, tmp_path: Path) -> None:
    registry: Registry = servers.add(Registry(loopback, client_authority=str(authority.own.certificate)))
    registry.put("team/image", "1", content.small())
    folder = tmp_path / "certs"
    folder.mkdir()
    (folder / "ca.crt").write_bytes(authority.own.certificate.read_bytes())
    with pytest.raises(coble.NetworkError):
        pull(engine, registry, insecure=False, cert_dir=folder, retries=0)
    mine = authority.issue("client", client=True)
    (folder / "client.cert").write_bytes(mine.certificate.read_bytes())
    (folder / "client.key").write_bytes(mine.key.read_bytes())
    pull(engine, registry, insecure=False, cert_dir=folder)
    (folder / "client.key").unlink()
    with pytest.raises(coble.CobleError) as caught:
        pull(engine, registry, insecure=False, cert_dir=folder, retries=0)
    assert "client" in str(caught.value) or caught.value.kind == "Network"


def test_certs_d(engine: coble.Engine, servers: Servers, authority: Authority, loopback: Any, home: Path) -> None:
    """Where other engines look for the certificates of a host."""
    registry: Registry = servers.add(Registry(loopback))
    registry.put("team/image", "1", content.small())
    with pytest.raises(coble.NetworkError) as caught:
        pull(engine, registry, insecure=False)
    assert "certs.d" in (caught.value.hint or "")
    folder = home / "config/containers/certs.d" / registry.host
    folder.mkdir(parents=True)
    (folder / "ca.crt").write_bytes(authority.own.certificate.read_bytes())
    pull(engine, registry, insecure=False)


def test_insecure_takes_any_certificate(engine: coble.Engine, servers: Servers, loopback: Any) -> None:
    """TLS is tried first, and is good enough without anybody who vouches for it."""
    registry: Registry = servers.add(Registry(loopback))
    registry.put("team/image", "1", content.small())
    pull(engine, registry, insecure=True)


def test_certificates_are_checked_everywhere(engine: coble.Engine, servers: Servers, loopback: Any) -> None:
    """SEC-104: pull, push, search, login, the lists."""
    registry: Registry = servers.add(Registry(loopback))
    made = content.small()
    registry.put("team/image", "1", made)
    reference = f"{registry.host}/team/image:1"
    engine.images.pull(reference, insecure=True)
    registry.forget()
    calls: list[Any] = [
        lambda: engine.images.pull(reference),
        lambda: engine.images.push(reference),
        lambda: engine.images.plan(reference),
        lambda: engine.images.search("x", registry=registry.host),
        lambda: engine.images.copy(reference, reference + "2", target_insecure=True),
        lambda: engine.registry.login(registry.host, (USER, SECRET)),
        lambda: engine.registry.tags(f"{registry.host}/team/image"),
        lambda: engine.registry.catalog(registry.host),
        lambda: engine.registry.inspect(reference),
        lambda: engine.registry.delete(reference),
        lambda: engine.registry.referrers(reference),
    ]
    for number, call in enumerate(calls):
        with pytest.raises(coble.NetworkError):
            call()
        assert registry.count() == 0, number


# --- mirrors ----------------------------------------------------------------------------------------------------------


def conf(home: Path, text: str) -> None:
    write(home / "config/containers/registries.conf", text)


def test_mirrors_of_the_caller(store: Store, engine: coble.Engine, registry: Registry, servers: Servers) -> None:
    """Of a call and of an engine, without any file: asked first, and never with the call's credentials."""
    made = content.small()
    registry.basic = {USER: SECRET}
    registry.put("team/image", "1", made)
    mirror: Registry = servers.add(Registry())
    mirror.put("team/image", "1", made)
    reference = f"{registry.host}/team/image:1"
    words: dict[str, Any] = {"insecure": True, "credentials": (USER, SECRET)}
    assert engine.images.pull(reference, mirrors=[f"http://{mirror.host}"], **words).digest == made.digest
    assert set(mirror.blob_requests()) == set(made.blobs) and registry.blob_requests() == {} and mirror.secrets_seen() == []
    engine.images.remove(reference)
    mirror.forget()
    # One for another registry is not asked, and nothing is pushed to one.
    engine.images.pull(reference, mirrors=[f"docker.io=http://{mirror.host}"], **words)
    engine.images.push(reference, mirrors=[f"http://{mirror.host}"], **words)
    assert mirror.count() == 0
    engine.images.remove(reference)
    with coble.Engine(store.data_root, store.run_root, mirrors=[f"{registry.host}=http://{mirror.host}"]) as other:
        other.images.pull(reference, **words)
        assert set(mirror.blob_requests()) == set(made.blobs)
    with pytest.raises(coble.InvalidArgumentError):
        engine.images.pull(reference, mirrors=["ftp://elsewhere"], **words)


def test_files_and_times_of_the_caller(store: Store, engine: coble.Engine, registry: Registry, tmp_path: Path) -> None:
    registry.put("team/image", "1", content.small())
    own = write(tmp_path / "own.conf", f'[[registry]]\nlocation = "{registry.host}"\ninsecure = true\n')
    name = f"{registry.host}/team/image:1"
    engine.images.pull(name, registries_conf=own)
    (tmp_path / "hosts" / registry.host).mkdir(parents=True)
    write(tmp_path / "hosts" / registry.host / "hosts.toml", f'[host."http://{registry.host}"]\n')
    with coble.Engine(store.data_root, store.run_root, hosts_dir=tmp_path / "hosts", connect_timeout=20) as other:
        other.images.pull(name, idle_timeout=20.5)
        with pytest.raises(coble.PathNotFoundError):
            other.images.pull(name, hosts_dir=tmp_path / "absent")
    for words in ({"connect_timeout": 0}, {"idle_timeout": float("inf")}):
        with pytest.raises(coble.InvalidArgumentError):
            engine.images.pull(name, insecure=True, **words)
        with pytest.raises(coble.InvalidArgumentError):
            coble.Engine(store.data_root, store.run_root, **words)

    over = threading.Event()

    def silent(exchange: Exchange) -> bool:
        over.wait(30)
        return False

    registry.on("GET|HEAD", MANIFEST, silent)
    with pytest.raises(coble.NetworkError):
        engine.images.pull(name, insecure=True, idle_timeout=0.1, retries=0)
    over.set()


def test_mirrors(engine: coble.Engine, registry: Registry, servers: Servers, home: Path) -> None:
    """In their order; then the registry itself. It keeps its own credentials."""
    made = content.small()
    registry.basic = {USER: SECRET}
    registry.put("team/image", "1", made)
    first: Registry = servers.add(Registry())
    second: Registry = servers.add(Registry())
    write(home / "docker/config.json", auths(registry))
    conf(
        home,
        f'[[registry]]\nprefix = "{registry.host}"\nlocation = "{registry.host}"\ninsecure = true\n'
        f'[[registry.mirror]]\nlocation = "{first.host}/cache"\ninsecure = true\n'
        f'[[registry.mirror]]\nlocation = "{second.host}"\ninsecure = true\n',
    )
    # None of them has it.
    reference = f"{registry.host}/team/image:1"
    image = engine.images.pull(reference)
    assert image.references == [reference]
    assert first.count("GET|HEAD", r"/v2/cache/team/image/manifests/.*") >= 1 and second.count("GET|HEAD", MANIFEST) >= 1
    assert first.secrets_seen() == second.secrets_seen() == []
    engine.images.remove(reference)
    # The second one has it.
    second.put("team/image", "1", made)
    registry.forget()
    assert engine.images.pull(reference).digest == made.digest
    assert registry.blob_requests() == {} and set(second.blob_requests()) == set(made.blobs)
    engine.images.remove(reference)
    # The first one lies: what it says is not believed, and the registry has what it should have been.
    first.put("cache/team/image", "1", made)
    for digest in made.blobs:
        first.blobs[digest] = b"x" * len(made.blobs[digest])
    by_digest = f"{registry.host}/team/image@{made.digest}"
    said: list[coble.Progress] = []
    assert engine.images.pull(by_digest, progress=said.append).digest == made.digest
    assert any(one.kind == "warning" and "mirror" in (one.message or "") for one in said)
    assert first.blob_requests() and set(registry.blob_requests()) == set(made.blobs)
    assert engine.verify() == []
    # A push goes to the registry.
    first.forget()
    second.forget()
    engine.images.tag(by_digest, f"{registry.host}/team/new:1")
    engine.images.push(f"{registry.host}/team/new:1")
    assert first.count() == second.count() == 0 and ("team/new", "1") in registry.tags


def test_a_registry_that_is_blocked(engine: coble.Engine, registry: Registry, home: Path) -> None:
    registry.put("team/image", "1", content.small())
    conf(home, f'[[registry]]\nlocation = "{registry.host}/team"\nblocked = true\n')
    with pytest.raises(coble.CobleError) as caught:
        pull(engine, registry)
    assert "blocked" in str(caught.value) and registry.count() == 0


def test_another_location(engine: coble.Engine, registry: Registry, home: Path) -> None:
    """A prefix that stands for another place."""
    made = content.small()
    registry.put("real/team/image", "1", made)
    conf(home, f'[[registry]]\nprefix = "example.test/foo"\nlocation = "{registry.host}/real"\ninsecure = true\n')
    image = engine.images.pull("example.test/foo/team/image:1")
    assert image.digest == made.digest and image.references == ["example.test/foo/team/image:1"]


def test_insecure_by_file(engine: coble.Engine, registry: Registry, home: Path) -> None:
    """Only for what is named there."""
    registry.put("team/image", "1", content.small())
    conf(home, '[[registry]]\nlocation = "127.0.0.1:1"\ninsecure = true\n')
    with pytest.raises(coble.NetworkError):
        pull(engine, registry, insecure=False)
    conf(home, f'[[registry]]\nlocation = "{registry.host}"\ninsecure = true\n')
    pull(engine, registry, insecure=False)


def test_hosts_toml(engine: coble.Engine, registry: Registry, servers: Servers, home: Path) -> None:
    """Containerd's file: a mirror that answers for blobs and tags, and the server behind it. The mirror is told for whom it stands."""
    made = content.small()
    registry.put("team/image", "1", made)
    mirror: Registry = servers.add(Registry())
    mirror.put("team/image", "1", made)
    write(
        home / f"config/containers/certs.d/{registry.host}/hosts.toml",
        f'server = "{registry.url}"\n[host."{mirror.url}"]\ncapabilities = ["pull", "resolve"]\n',
    )
    pull(engine, registry)
    assert registry.count() == 0 and set(mirror.blob_requests()) == set(made.blobs)
    assert {one.query.get("ns") for one in mirror.requests("GET", BLOB)} == {registry.host}
    # One that may only be asked for digests is not asked what a tag stands for.
    engine.images.remove(f"{registry.host}/team/image:1")
    mirror.forget()
    write(
        home / f"config/containers/certs.d/{registry.host}/hosts.toml",
        f'server = "{registry.url}"\n[host."{mirror.url}"]\ncapabilities = ["pull"]\n',
    )
    pull(engine, registry)
    assert registry.count("GET|HEAD", r".*/manifests/1") >= 1 and mirror.count("GET|HEAD", r".*/manifests/1.*") == 0
    assert registry.blob_requests() == {}


def test_token_servers_that_are_named(engine: coble.Engine, registry: Registry, servers: Servers, home: Path) -> None:
    """On another host, but the configuration says that it belongs to the registry."""
    tokens: TokenServer = servers.add(TokenServer(host="127.0.0.2"))
    tokens.users[USER] = SECRET
    registry.bearer = tokens
    registry.put("team/image", "1", content.small())
    assert tokens.host in refused(engine, registry, credentials=(USER, SECRET))
    assert tokens.secrets_seen() == []
    write(home / f"config/containers/certs.d/{registry.host}/hosts.toml", f'server = "{registry.url}"\ntoken_hosts = ["127.0.0.2"]\n')
    pull(engine, registry, credentials=(USER, SECRET))


# --- proxies ----------------------------------------------------------------------------------------------------------


def through(environment: dict[str, str], store: Store, reference: str, **words: Any) -> Any:
    """A pull by a process with this environment."""
    worker = Worker(environment)
    try:
        return worker.call(store, "images.pull", positional=[reference], **words)
    finally:
        worker.close()


@pytest.mark.parametrize("user", [None, USER], ids=["open", "with a password"])
def test_proxies(store: Store, registry: Registry, servers: Servers, authority: Authority, tmp_path: Path, user: str | None) -> None:
    """Plain HTTP and TLS; the proxy gets its own credentials and never those of the registry."""
    made = content.small()
    secure: Registry = servers.add(Registry(authority.issue("proxied", "DNS:registry.proxied.test"), basic={"r": "registry-secret"}))
    registry.basic = {"r": "registry-secret"}
    for one in (registry, secure):
        one.put("team/image", "1", made)
    hosts = {"registry.proxied.test:443": secure.port, "plain.proxied.test:5000": registry.port}
    proxy: Proxy = servers.add(Proxy(hosts, user=user, password=SECRET))
    at = f"{user}:{SECRET}@" if user else ""
    environment = {"HTTP_PROXY": f"http://{at}{proxy.host}", "http_proxy": f"http://{at}{proxy.host}", "HTTPS_PROXY": f"http://{at}{proxy.host}"}
    folder = tmp_path / "certs"
    folder.mkdir()
    (folder / "ca.crt").write_bytes(authority.own.certificate.read_bytes())
    outcome = through(environment, store, "registry.proxied.test/team/image:1", cert_dir=str(folder), credentials=["r", "registry-secret"])
    assert outcome.kind is None, outcome.text
    assert proxy.count("CONNECT", "registry.proxied.test:443") >= 1
    assert not any("r:registry-secret" in one or base64.b64encode(b"r:registry-secret").decode() in one for one in proxy.secrets_seen())
    outcome = through(environment, store, "plain.proxied.test:5000/team/image:1", insecure=True, credentials=["r", "registry-secret"])
    assert outcome.kind is None, outcome.text
    if user:
        for one in (registry, secure):
            assert not any(basic() in secret for secret in one.secrets_seen()), "the proxy's credentials are the proxy's"
        wrong = {name: value.replace(SECRET, "wrong") for name, value in environment.items()}
        outcome = through(wrong, store, "registry.proxied.test/team/image:1", cert_dir=str(folder), retries=0)
        assert outcome.kind in ("Network", "Unauthorized", "Registry") and "wrong@" not in outcome.text and SECRET not in outcome.text


def test_hosts_without_a_proxy(store: Store, registry: Registry, servers: Servers) -> None:
    """NO_PROXY, and this machine."""
    registry.put("team/image", "1", content.small())
    proxy: Proxy = servers.add(Proxy({}))
    environment = {"HTTP_PROXY": proxy.url, "HTTPS_PROXY": proxy.url, "NO_PROXY": "elsewhere.test,127.0.0.0/8"}
    outcome = through(environment, store, f"{registry.host}/team/image:1", insecure=True)
    assert outcome.kind is None, outcome.text
    assert proxy.count() == 0
