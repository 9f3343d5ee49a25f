"""Registries for tests to ask for. Those that take long to make are made once for all."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from registry.certificates import Authority
from registry.debian import DebianRegistry, PASSWORD, USER, program
from registry.http import Servers
from registry.own import Registry
from registry.scene import Case, Judge, judge as judge_case
from registry.tokens import TokenServer
from registry.worker import Worker

#: What would send tests to places of the person who runs them.
PROXIES = [name for word in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY") for name in (word, word.lower())]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home without credentials and settings, and no proxies."""
    folder = tmp_path / "home"
    for name in ("docker", "config", "runtime"):
        (folder / name).mkdir(parents=True, mode=0o700)
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.setenv("DOCKER_CONFIG", str(folder / "docker"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(folder / "config"))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(folder / "runtime"))
    for name in ("REGISTRY_AUTH_FILE", "DOCKER_AUTH_CONFIG", "CONTAINERS_REGISTRIES_CONF", "SSL_CERT_FILE", "SSL_CERT_DIR", *PROXIES):
        monkeypatch.delenv(name, raising=False)
    return folder


@pytest.fixture(scope="session")
def authority(workplace: Path) -> Authority:
    return Authority(workplace / "authority")


@pytest.fixture(scope="session")
def loopback(authority: Authority) -> Any:
    """A certificate for this machine."""
    return authority.issue("loopback", "IP:127.0.0.1", "IP:0:0:0:0:0:0:0:1", "DNS:localhost")


@pytest.fixture(scope="session")
def cert_dir(workplace: Path, authority: Authority) -> Path:
    """What makes somebody trust the authority."""
    folder = workplace / "certificates"
    folder.mkdir()
    (folder / "ca.crt").write_bytes(authority.own.certificate.read_bytes())
    return folder


@pytest.fixture
def servers() -> Iterator[Servers]:
    """Ends what the test adds."""
    made = Servers()
    yield made
    made.close()


@pytest.fixture
def registry(servers: Servers) -> Registry:
    """A registry of our own over plain HTTP."""
    made: Registry = servers.add(Registry())
    return made


@pytest.fixture(scope="session")
def worker() -> Iterator[Worker]:
    """A process that pulls and pushes, and measures itself."""
    made = Worker()
    yield made
    made.close()


@pytest.fixture
def judge(store: Any, worker: Worker, registry: Registry, servers: Servers, authority: Authority, tmp_path: Path) -> Judge:
    """Has a case of misbehaviour happen on an empty store."""

    def judged(case: Case) -> None:
        judge_case(case, store, worker, registry, servers, authority, tmp_path)

    return judged


def needs_debian() -> None:
    if program() is None:
        pytest.skip("needs docker-registry: the package docker-registry")


@pytest.fixture(scope="session")
def debian(workplace: Path) -> Iterator[DebianRegistry]:
    needs_debian()
    made = DebianRegistry(workplace / "debian-plain")
    yield made
    made.close()


@pytest.fixture(scope="session")
def debian_tls(workplace: Path, loopback: Any) -> Iterator[DebianRegistry]:
    needs_debian()
    made = DebianRegistry(workplace / "debian-tls", loopback)
    yield made
    made.close()


@pytest.fixture(scope="session")
def debian_basic(workplace: Path, loopback: Any) -> Iterator[DebianRegistry]:
    needs_debian()
    made = DebianRegistry(workplace / "debian-basic", loopback, basic=True)
    yield made
    made.close()


@pytest.fixture(scope="session")
def debian_tokens(workplace: Path, authority: Authority, loopback: Any) -> Iterator[DebianRegistry]:
    """With a token server of ours on another port of the same host."""
    needs_debian()
    with TokenServer(loopback, signer=authority.issue("signer", rsa=True)) as tokens:
        tokens.users[USER] = PASSWORD
        made = DebianRegistry(workplace / "debian-tokens", loopback, tokens=tokens, roots=authority.own.certificate)
        yield made
        made.close()
