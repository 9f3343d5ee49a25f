"""A token server: GET and OAuth2 POST, refresh tokens, for registries of ours (tokens that only it knows) and for Debian's (signed ones)."""

from __future__ import annotations

import base64
import itertools
import json
import secrets
import tempfile
import time
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, urlsplit

from registry.certificates import Certificate, openssl
from registry.http import Exchange, Server

JSON = {"Content-Type": "application/json"}


@dataclass
class Grant:
    scopes: set[str]
    ends: float


class TokenServer(Server):
    """Users and their passwords; `public` repositories are given for pulling to anybody."""

    def __init__(self, certificate: Certificate | None = None, *, host: str = "127.0.0.1", signer: Certificate | None = None) -> None:
        self.users: dict[str, str] = {}
        self.public: set[str] = set()
        self.refresh: dict[str, str] = {}
        self.tokens: dict[str, Grant] = {}
        self.signer = signer
        self.service = "registry.test"
        self.issuer = "issuer.test"
        #: What it does or does not.
        self.lifetime = 300
        self.post = True
        self.field = "token"
        self.says_lifetime = True
        self.numbers = itertools.count()
        super().__init__(certificate, host=host)

    @property
    def realm(self) -> str:
        return f"{self.url}/token"

    def challenge(self, scope: str) -> str:
        parts = [f'realm="{self.realm}"', f'service="{self.service}"'] + ([f'scope="{scope}"'] if scope else [])
        return "Bearer " + ",".join(parts)

    def grants(self, token: str, wanted: str) -> bool:
        with self.lock:
            grant = self.tokens.get(token)
        if grant is None or grant.ends < time.monotonic():
            return False
        return all(scope in grant.scopes for scope in split(wanted))

    def expire(self) -> None:
        """As if the time of all tokens were over."""
        with self.lock:
            for grant in self.tokens.values():
                grant.ends = 0

    def answer(self, exchange: Exchange) -> None:
        if urlsplit(exchange.path).path != "/token":
            exchange.reply(404)
            return
        if exchange.command == "POST":
            if not self.post:
                exchange.content()
                exchange.reply(404, b"no such page")
                return
            form = {key: values for key, values in parse_qs(exchange.content().decode()).items()}
            kind = form.get("grant_type", [""])[0]
            if kind == "password":
                user = self.check(form.get("username", [""])[0], form.get("password", [""])[0])
            elif kind == "refresh_token":
                user = self.refresh.get(form.get("refresh_token", [""])[0])
            else:
                user = None
            if user is None:
                exchange.reply(401, json.dumps({"error": "invalid_grant"}).encode(), JSON)
                return
            scopes = " ".join(form.get("scope", [])).split()
            offline = form.get("access_type", [""])[0] == "offline" or kind == "refresh_token"
        else:
            query = parse_qs(urlsplit(exchange.path).query)
            said = exchange.headers.get("authorization", "")
            user = ""
            if said:
                name, _, password = base64.b64decode(said.removeprefix("Basic ")).decode().partition(":")
                found = self.check(name, password)
                if found is None:
                    exchange.reply(401, json.dumps({"details": "incorrect username or password"}).encode(), JSON)
                    return
                user = found
            scopes = " ".join(query.get("scope", [])).split()
            offline = query.get("offline_token", [""])[0] in ("true", "1")
        token = self.make(user, scopes)
        document: dict[str, Any] = {self.field if exchange.command == "GET" else "access_token": token}
        if self.says_lifetime:
            document["expires_in"] = self.lifetime
            document["issued_at"] = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        if offline and user:
            document["refresh_token"] = self.refresh_for(user)
        exchange.reply(200, json.dumps(document).encode(), JSON)

    def check(self, name: str, password: str) -> str | None:
        return name if name and self.users.get(name) == password else None

    def refresh_for(self, user: str) -> str:
        with self.lock:
            for token, owner in self.refresh.items():
                if owner == user:
                    return token
            token = secrets.token_hex(20)
            self.refresh[token] = user
            return token

    def make(self, user: str, scopes: list[str]) -> str:
        """A token with what of the wish is allowed."""
        given: list[tuple[str, str, list[str]]] = []
        for scope in scopes:
            kind, _, rest = scope.partition(":")
            name, _, actions = rest.rpartition(":")
            allowed = actions.split(",") if user else [action for action in actions.split(",") if action == "pull" and name in self.public]
            given.append((kind, name, allowed))
        token = self.signed(user, given) if self.signer else secrets.token_hex(16)
        granted = {f"{kind}:{name}:{action}" for kind, name, actions in given for action in actions}
        with self.lock:
            self.tokens[token] = Grant(granted, time.monotonic() + self.lifetime)
        return token

    def signed(self, user: str, given: list[tuple[str, str, list[str]]]) -> str:
        """A JSON web token, as Debian's registry wants it."""
        assert self.signer is not None
        now = int(time.time())
        header = {"typ": "JWT", "alg": "RS256", "x5c": [self.signer.der()]}
        claims = {
            "iss": self.issuer, "sub": user, "aud": self.service, "exp": now + self.lifetime, "nbf": now - 10, "iat": now,
            "jti": str(next(self.numbers)), "access": [{"type": kind, "name": name, "actions": actions} for kind, name, actions in given],
        }
        text = b".".join(encoded(json.dumps(part).encode()) for part in (header, claims))
        with tempfile.NamedTemporaryFile() as file:
            file.write(text)
            file.flush()
            signature = openssl("dgst", "-sha256", "-sign", self.signer.key, file.name)
        return (text + b"." + encoded(signature)).decode()


def encoded(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")


def split(scope: str) -> list[str]:
    kind, _, rest = scope.partition(":")
    name, _, actions = rest.rpartition(":")
    return [f"{kind}:{name}:{action}" for action in actions.split(",")] if scope else []
