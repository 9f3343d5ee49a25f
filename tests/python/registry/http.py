"""A small HTTP server in the test process, with threads: it keeps what it was asked, and misbehaves where a rule says so."""

from __future__ import annotations

import re
import socket
import socketserver
import ssl
import struct
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from registry.certificates import Certificate

BLOCK = 1 << 16


@dataclass
class Seen:
    """A request that arrived, and what was answered."""

    method: str
    target: str
    headers: dict[str, str]
    status: int = 0
    received: int = 0
    #: Bytes of the body that were handed to the kernel.
    sent: int = 0

    @property
    def path(self) -> str:
        return urlsplit(self.target).path

    @property
    def query(self) -> dict[str, str]:
        return {key: values[-1] for key, values in parse_qs(urlsplit(self.target).query, keep_blank_values=True).items()}


class Cut(Exception):
    """Ends the connection here."""


class Exchange(BaseHTTPRequestHandler):
    """One request and its answer."""

    protocol_version = "HTTP/1.1"
    # Headers and small bodies in one packet, and no waiting for more.
    wbufsize = BLOCK
    disable_nagle_algorithm = True
    server: _Server
    match: re.Match[str]

    def handle(self) -> None:
        try:
            super().handle()
        except (Cut, OSError, ValueError):
            # The client went, or the rule wanted it; a closed file says ValueError.
            self.close_connection = True

    def finish(self) -> None:
        try:
            super().finish()
        except (OSError, ValueError):
            pass

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def version_string(self) -> str:
        return "test"

    def respond(self) -> None:
        owner = self.server.owner
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.seen = Seen(self.command, self.path, headers)
        self._content: bytes | None = None
        with owner.lock:
            owner.seen.append(self.seen)
        try:
            for rule in owner.taken_rules(self):
                if rule.action(self) is not False:
                    break
            else:
                owner.answer(self)
            # What nobody read would be taken for the next request.
            if self._content is None and not self.close_connection:
                self.content()
        finally:
            if not self.wfile.closed:
                self.wfile.flush()

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_CONNECT = respond

    @property
    def query(self) -> dict[str, str]:
        return self.seen.query

    @property
    def url_path(self) -> str:
        return self.seen.path

    def content(self) -> bytes:
        """The body of the request."""
        if self._content is None:
            if self.headers.get("transfer-encoding", "").lower() == "chunked":
                data = bytearray()
                while size := int(self.rfile.readline().split(b";")[0], 16):
                    data += self.rfile.read(size)
                    self.rfile.readline()
                while self.rfile.readline().strip():
                    pass
                self._content = bytes(data)
            else:
                length = int(self.headers.get("content-length") or 0)
                data = bytearray()
                while len(data) < length:
                    part = self.rfile.read(min(BLOCK, length - len(data)))
                    if not part:
                        raise Cut
                    data += part
                    self.seen.received = len(data)
                self._content = bytes(data)
            self.seen.received = len(self._content)
        return self._content

    def reply(self, status: int, body: bytes = b"", headers: dict[str, str] | None = None, *, length: int | None = None) -> None:
        """Headers and body; `length` is what Content-Length claims, -1 for none at all (then the end of the connection ends the body)."""
        self.begin(status, headers, len(body) if length is None else length)
        if self.command != "HEAD":
            self.send(body)

    def begin(self, status: int, headers: dict[str, str] | None = None, length: int = 0) -> None:
        self.seen.status = status
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        if length >= 0 and status != 204:
            self.send_header("Content-Length", str(length))
        elif length < 0:
            self.send_header("Connection", "close")
            self.close_connection = True
        self.end_headers()

    def send(self, body: bytes) -> None:
        view = memoryview(body)
        for begin in range(0, len(view), BLOCK):
            part = view[begin : begin + BLOCK]
            self.wfile.write(part)
            self.seen.sent += len(part)

    def chunk(self, part: bytes) -> None:
        """Some of a body, now."""
        self.wfile.write(part)
        self.wfile.flush()
        self.seen.sent += len(part)

    def cut(self, *, reset: bool = False) -> None:
        """Ends the connection; with `reset` as if the machine had died."""
        self.wfile.flush()
        if reset:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True
        raise Cut

    def pause(self, seconds: float) -> None:
        """Waits, but not longer than the server lives."""
        if self.server.owner.ending.wait(seconds):
            raise Cut


Action = Callable[[Exchange], Any]


@dataclass
class Rule:
    """What is done instead of the ordinary, for requests of a method and a path. An action that returns False leaves it to the next."""

    method: re.Pattern[str]
    target: re.Pattern[str]
    action: Action
    #: How often; None for ever.
    times: int | None = None
    #: How many are let through first.
    after: int = 0


class _Server(socketserver.ThreadingMixIn, HTTPServer):
    daemon_threads = False
    block_on_close = True
    request_queue_size = 128
    owner: Server

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        with self.owner.lock:
            self.owner.connections.add(request)
            self.owner.accepted += 1
        context = self.owner.context
        plain = request
        try:
            if context is not None:
                request.settimeout(20)
                request = context.wrap_socket(request, server_side=True)
                request.settimeout(None)
                with self.owner.lock:
                    self.owner.connections.add(request)
            if self.owner.ending.is_set():
                return
            self.finish_request(request, client_address)
        except (OSError, Cut):
            pass
        finally:
            with self.owner.lock:
                self.owner.connections -= {request, plain}
            self.shutdown_request(request)

    def server_bind(self) -> None:
        # Without the look-up of a name that HTTPServer does.
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = self.server_address[:2]  # type: ignore[misc,assignment]


class Server:
    """Listens from the first moment to `close`, after which no thread and no descriptor of it is left."""

    def __init__(self, certificate: Certificate | None = None, *, host: str = "127.0.0.1", client_authority: str | None = None) -> None:
        self.lock = threading.RLock()
        self.seen: list[Seen] = []
        self.rules: list[Rule] = []
        self.connections: set[Any] = set()
        self.accepted = 0
        self.ending = threading.Event()
        self.context: ssl.SSLContext | None = None
        if certificate is not None:
            self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.context.load_cert_chain(certificate.certificate, certificate.key)
            if client_authority is not None:
                self.context.load_verify_locations(client_authority)
                self.context.verify_mode = ssl.CERT_REQUIRED
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        kind = type("_ServerOfFamily", (_Server,), {"address_family": family})
        self.listener: _Server = kind((host, 0), Exchange)
        self.listener.owner = self
        self.port: int = self.listener.server_address[1]
        #: As it stands in a reference.
        self.host = f"[{host}]:{self.port}" if ":" in host else f"{host}:{self.port}"
        self.thread = threading.Thread(target=self.listener.serve_forever, kwargs={"poll_interval": 0.02}, name=f"registry {self.port}")
        self.thread.start()

    @property
    def url(self) -> str:
        return f"{'https' if self.context else 'http'}://{self.host}"

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        if self.ending.is_set():
            return
        self.ending.set()
        self.listener.shutdown()
        self.thread.join()
        with self.lock:
            open_now = list(self.connections)
        for connection in open_now:
            try:
                # The TLS layer would wait for the client; below it nothing does.
                socket.socket.shutdown(connection, socket.SHUT_RDWR)
            except OSError:
                pass
        self.listener.server_close()

    def answer(self, exchange: Exchange) -> None:
        """The ordinary answer."""
        exchange.reply(404)

    # --- rules and what was seen

    def on(self, method: str, target: str, action: Action, *, times: int | None = None, after: int = 0) -> Rule:
        """Both patterns must match in full; the last rule that was made goes first."""
        rule = Rule(re.compile(method), re.compile(target), action, times, after)
        with self.lock:
            self.rules.insert(0, rule)
        return rule

    def taken_rules(self, exchange: Exchange) -> Iterator[Rule]:
        with self.lock:
            rules = list(self.rules)
        for rule in rules:
            found = rule.target.fullmatch(exchange.path)
            if found is None or rule.method.fullmatch(exchange.command) is None:
                continue
            with self.lock:
                if rule.after > 0:
                    rule.after -= 1
                    continue
                if rule.times is not None:
                    if rule.times == 0:
                        continue
                    rule.times -= 1
            exchange.match = found
            yield rule

    def requests(self, method: str = ".*", target: str = ".*") -> list[Seen]:
        with self.lock:
            seen = list(self.seen)
        return [one for one in seen if re.fullmatch(method, one.method) and re.fullmatch(target, one.target)]

    def count(self, method: str = ".*", target: str = ".*") -> int:
        return len(self.requests(method, target))

    def forget(self) -> None:
        with self.lock:
            self.seen.clear()

    def secrets_seen(self) -> list[str]:
        """Whatever came in a header that is for credentials."""
        return [one.headers[name] for one in self.requests() for name in ("authorization", "proxy-authorization", "cookie") if name in one.headers]


@dataclass
class Servers:
    """Servers of one test, closed together."""

    made: list[Server] = field(default_factory=list)

    def add(self, server: Any) -> Any:
        self.made.append(server)
        return server

    def close(self) -> None:
        for server in reversed(self.made):
            server.close()
