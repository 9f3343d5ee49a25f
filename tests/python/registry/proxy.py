"""An HTTP proxy, with and without CONNECT, that finds hosts in a table of its own instead of asking for their addresses."""

from __future__ import annotations

import base64
import http.client
import select
import socket

from registry.http import Cut, Exchange, Server

HOP = {"connection", "proxy-connection", "keep-alive", "proxy-authorization", "te", "trailer", "transfer-encoding", "upgrade", "content-length"}


class Proxy(Server):
    """`hosts`: where a name and port leads to."""

    def __init__(self, hosts: dict[str, int], *, user: str | None = None, password: str | None = None) -> None:
        self.hosts = hosts
        self.wanted = f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}" if user else None
        super().__init__()

    def answer(self, exchange: Exchange) -> None:
        if self.wanted and exchange.headers.get("proxy-authorization") != self.wanted:
            exchange.reply(407, b"", {"Proxy-Authenticate": 'Basic realm="proxy"'})
        elif exchange.command == "CONNECT":
            self.connect(exchange)
        else:
            self.forward(exchange)

    def connect(self, exchange: Exchange) -> None:
        port = self.hosts.get(exchange.path)
        if port is None:
            exchange.reply(502, b"no such host")
            return
        with socket.create_connection(("127.0.0.1", port)) as other:
            exchange.wfile.write(b"HTTP/1.1 200 connected\r\n\r\n")
            exchange.wfile.flush()
            exchange.seen.status = 200
            ends = {exchange.connection: other, other: exchange.connection}
            while not self.ending.is_set():
                for ready in select.select(list(ends), [], [], 0.05)[0]:
                    data = ready.recv(1 << 16)
                    if not data:
                        raise Cut
                    ends[ready].sendall(data)
            raise Cut

    def forward(self, exchange: Exchange) -> None:
        scheme, _, rest = exchange.path.partition("://")
        host, slash, path = rest.partition("/")
        port = self.hosts.get(host)
        if scheme != "http" or port is None:
            exchange.reply(502, b"no such host")
            return
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        try:
            headers = {name: value for name, value in exchange.headers.items() if name.lower() not in HOP}
            body = exchange.content()
            connection.request(exchange.command, slash + path, body or None, headers)
            answer = connection.getresponse()
            data = answer.read()
            length = int(answer.headers.get("content-length", 0)) if exchange.command == "HEAD" else len(data)
            exchange.begin(answer.status, {name: value for name, value in answer.getheaders() if name.lower() not in HOP}, length)
            if exchange.command != "HEAD":
                exchange.send(data)
        finally:
            connection.close()
