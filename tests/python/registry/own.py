"""A registry of our own, after the distribution specification, in memory. It is right unless a test's rules make it wrong."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

from registry.certificates import Certificate
from registry.content import Content, digest_of
from registry.http import Exchange, Server
from registry.tokens import TokenServer

NAME = r"[a-z0-9._/-]+?"
BLOB = rf"/v2/({NAME})/blobs/([a-z0-9+._-]+:[0-9a-f]+)(?:\?.*)?"
MANIFEST = rf"/v2/({NAME})/manifests/([^/?]+)(?:\?.*)?"
UPLOADS = rf"/v2/({NAME})/blobs/uploads/(?:\?.*)?"
UPLOAD = rf"/v2/({NAME})/blobs/uploads/([0-9]+)(?:\?.*)?"
TAGS = rf"/v2/({NAME})/tags/list(?:\?.*)?"
REFERRERS = rf"/v2/({NAME})/referrers/([^/?]+)(?:\?.*)?"
CATALOG = r"/v2/_catalog(?:\?.*)?"
PING = r"/v2/"


def errors(code: str, message: str = "said the registry", detail: Any = None) -> bytes:
    return json.dumps({"errors": [{"code": code, "message": message, "detail": detail}]}).encode()


JSON = {"Content-Type": "application/json"}


class Registry(Server):
    """See the module. `basic` asks for a name and a password, `bearer` for a token of that server."""

    def __init__(
        self,
        certificate: Certificate | None = None,
        *,
        host: str = "127.0.0.1",
        client_authority: str | None = None,
        basic: dict[str, str] | None = None,
        bearer: TokenServer | None = None,
    ) -> None:
        self.blobs: dict[str, bytes] = {}
        self.held: set[tuple[str, str]] = set()
        self.manifests: dict[tuple[str, str], tuple[str, bytes]] = {}
        self.tags: dict[tuple[str, str], str] = {}
        self.uploads: dict[int, bytearray] = {}
        self.sessions = 0
        self.basic, self.bearer = basic, bearer
        #: What it does or does not.
        self.ranges = True
        self.referrers = True
        self.mounts = True
        self.deletes = True
        #: How many tags one PUT may have; None: it has not heard of such a thing.
        self.tags_at_once: int | None = 10
        self.chunk_minimum = 0
        self.page = 1000
        self.extra_headers: dict[str, str] = {}
        super().__init__(certificate, host=host, client_authority=client_authority)

    # --- what a test puts in and looks at

    def put(self, repository: str, tag: str, what: Content, *, under: str | None = None) -> str:
        """`under`: as if its digest were this one."""
        digest = under or what.digest
        with self.lock:
            for name, data in what.blobs.items():
                self.blobs[name] = data
                self.held.add((repository, name))
            for child, entry in what.children.items():
                self.manifests[repository, child] = entry
            self.manifests[repository, digest] = (what.media_type, what.manifest)
            self.tags[repository, tag] = digest
        return digest

    def blob_requests(self) -> dict[str, int]:
        """How often each blob was asked for."""
        found: dict[str, int] = {}
        for one in self.requests("GET", BLOB):
            digest = one.path.rsplit("/", 1)[1]
            found[digest] = found.get(digest, 0) + 1
        return found

    def blob_bytes(self, digest: str) -> int:
        """How many bytes of a blob were sent."""
        return sum(one.sent for one in self.requests("GET", rf"/v2/{NAME}/blobs/{digest}"))

    # --- the ordinary answers

    def answer(self, exchange: Exchange) -> None:
        if not self.allowed(exchange):
            return
        for pattern, answer in (
            (PING, self.ping), (CATALOG, self.catalog), (UPLOADS, self.start_upload), (UPLOAD, self.upload), (BLOB, self.blob),
            (MANIFEST, self.manifest), (TAGS, self.tag_list), (REFERRERS, self.referrer_list),
        ):
            found = re.fullmatch(pattern, exchange.path)
            if found is not None:
                exchange.match = found
                answer(exchange, *found.groups())
                return
        exchange.reply(404, errors("NAME_UNKNOWN"), JSON)

    def allowed(self, exchange: Exchange) -> bool:
        said = exchange.headers.get("authorization", "")
        if self.basic is not None:
            try:
                user, _, password = base64.b64decode(said.removeprefix("Basic ")).decode().partition(":")
            except ValueError:
                user = password = ""
            if not said.startswith("Basic ") or self.basic.get(user) != password:
                exchange.reply(401, errors("UNAUTHORIZED"), {**JSON, "WWW-Authenticate": 'Basic realm="the, registry"'})
                return False
        elif self.bearer is not None:
            wanted = self.scope_of(exchange)
            token = said.removeprefix("Bearer ")
            if not said.startswith("Bearer ") or not self.bearer.grants(token, wanted):
                exchange.reply(401, errors("UNAUTHORIZED"), {**JSON, "WWW-Authenticate": self.bearer.challenge(wanted)})
                return False
        return True

    @staticmethod
    def scope_of(exchange: Exchange) -> str:
        """The scope that a request needs, as `repository:NAME:ACTIONS`."""
        found = re.match(rf"/v2/({NAME})/(blobs|manifests|tags|referrers)/", exchange.path)
        if found is None:
            return "registry:catalog:*" if exchange.path.startswith("/v2/_catalog") else ""
        actions = {"GET": "pull", "HEAD": "pull", "DELETE": "delete"}.get(exchange.command, "pull,push")
        return f"repository:{found[1]}:{actions}"

    def ping(self, exchange: Exchange) -> None:
        exchange.reply(200, b"{}", {**JSON, "Docker-Distribution-API-Version": "registry/2.0", **self.extra_headers})

    def blob(self, exchange: Exchange, repository: str, digest: str) -> None:
        with self.lock:
            data = self.blobs.get(digest) if (repository, digest) in self.held else None
        if data is None:
            exchange.reply(404, errors("BLOB_UNKNOWN"), JSON)
        elif exchange.command == "DELETE":
            if not self.deletes:
                exchange.reply(405, errors("UNSUPPORTED"), JSON)
                return
            with self.lock:
                self.held.discard((repository, digest))
            exchange.reply(202)
        else:
            self.send_blob(exchange, digest, data)

    def send_blob(self, exchange: Exchange, digest: str, data: bytes) -> None:
        headers = {"Content-Type": "application/octet-stream", "Docker-Content-Digest": digest, **self.extra_headers}
        if self.ranges:
            headers["Accept-Ranges"] = "bytes"
            wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", exchange.headers.get("range", ""))
            if wanted:
                begin, end = int(wanted[1]), min(int(wanted[2] or len(data) - 1), len(data) - 1)
                if begin > end:
                    exchange.reply(416, b"", {"Content-Range": f"bytes */{len(data)}"})
                    return
                headers["Content-Range"] = f"bytes {begin}-{end}/{len(data)}"
                exchange.reply(206, data[begin : end + 1], headers)
                return
        exchange.reply(200, data, headers)

    def manifest(self, exchange: Exchange, repository: str, name: str) -> None:
        if exchange.command == "PUT":
            self.put_manifest(exchange, repository, name)
            return
        with self.lock:
            digest = self.tags.get((repository, name), name)
            found = self.manifests.get((repository, digest))
        if found is None:
            exchange.reply(404, errors("MANIFEST_UNKNOWN", "no such manifest"), JSON)
        elif exchange.command == "DELETE":
            if not self.deletes:
                exchange.reply(405, errors("UNSUPPORTED"), JSON)
                return
            with self.lock:
                if ":" in name:
                    del self.manifests[repository, name]
                    for tag in [key for key, value in self.tags.items() if key[0] == repository and value == name]:
                        del self.tags[tag]
                else:
                    del self.tags[repository, name]
            exchange.reply(202, b"", self.extra_headers)
        else:
            headers = {"Content-Type": found[0], "Docker-Content-Digest": digest, **self.extra_headers}
            exchange.reply(200, found[1], headers)

    def put_manifest(self, exchange: Exchange, repository: str, name: str) -> None:
        data = exchange.content()
        algorithm = name.split(":")[0] if ":" in name else "sha256"
        digest = digest_of(data, algorithm)
        if ":" in name and name != digest:
            exchange.reply(400, errors("DIGEST_INVALID"), JSON)
            return
        document = json.loads(data)
        tags = parse_qs(urlsplit(exchange.path).query).get("tag", []) if self.tags_at_once is not None else []
        with self.lock:
            # Layers that are not distributable need not be here.
            layers = [entry for entry in document.get("layers", []) if not re.search(r"\.(foreign|nondistributable)\.", entry["mediaType"])]
            needed = [entry["digest"] for entry in [*layers, *([document["config"]] if "config" in document else [])]]
            missing = [entry for entry in needed if (repository, entry) not in self.held]
            missing += [entry["digest"] for entry in document.get("manifests", []) if (repository, entry["digest"]) not in self.manifests]
            if missing:
                exchange.reply(400, errors("MANIFEST_BLOB_UNKNOWN", "a blob is missing", missing), JSON)
                return
            if self.tags_at_once is not None and len(tags) > self.tags_at_once:
                exchange.reply(414)
                return
            self.manifests[repository, digest] = (exchange.headers["content-type"], data)
            for tag in [name] if ":" not in name else tags:
                self.tags[repository, tag] = digest
        headers = {"Location": f"/v2/{repository}/manifests/{digest}", "Docker-Content-Digest": digest, **self.extra_headers}
        if tags:
            headers["OCI-Tag"] = ", ".join(tags)
        if "subject" in document and self.referrers:
            headers["OCI-Subject"] = document["subject"]["digest"]
        exchange.reply(201, b"", headers)

    def start_upload(self, exchange: Exchange, repository: str) -> None:
        query = exchange.query
        exchange.content()
        if "mount" in query and self.mounts:
            with self.lock:
                digest, source = query["mount"], query.get("from")
                if any(held == digest and (source is None or source == name) for name, held in self.held):
                    self.held.add((repository, digest))
                    exchange.reply(201, b"", {"Location": f"/v2/{repository}/blobs/{digest}", "Docker-Content-Digest": digest})
                    return
        with self.lock:
            self.sessions += 1
            number = self.sessions
            self.uploads[number] = bytearray()
        headers = {"Location": f"/v2/{repository}/blobs/uploads/{number}?state=a%2Fb", "Range": "0-0", "Docker-Upload-UUID": str(number)}
        if self.chunk_minimum:
            headers["OCI-Chunk-Min-Length"] = str(self.chunk_minimum)
        exchange.reply(202, b"", headers)

    def upload(self, exchange: Exchange, repository: str, name: str) -> None:
        number = int(name)
        place = f"/v2/{repository}/blobs/uploads/{number}?state={quote('a/b', safe='')}"
        with self.lock:
            data = self.uploads.get(number)
        if data is None:
            exchange.content()
            exchange.reply(404, errors("BLOB_UPLOAD_UNKNOWN"), JSON)
            return

        def headers() -> dict[str, str]:
            return {"Location": place, "Range": f"0-{max(0, len(data) - 1)}"}

        if exchange.command == "GET":
            exchange.reply(204, b"", headers())
        elif exchange.command == "DELETE":
            with self.lock:
                del self.uploads[number]
            exchange.reply(204)
        elif exchange.command == "PATCH":
            wanted = re.fullmatch(r"(\d+)-(\d+)", exchange.headers.get("content-range", ""))
            body = exchange.content()
            if wanted and (int(wanted[1]) != len(data) or int(wanted[2]) - int(wanted[1]) + 1 != len(body)):
                exchange.reply(416, b"", headers())
                return
            data += body
            exchange.reply(202, b"", headers())
        elif exchange.command == "PUT":
            # What comes with it is the last chunk, or all.
            data += exchange.content()
            digest = exchange.query.get("digest", "")
            if digest.partition(":")[0] not in hashlib.algorithms_available or digest_of(bytes(data), digest.partition(":")[0]) != digest:
                exchange.reply(400, errors("DIGEST_INVALID", "the content has another digest"), JSON)
                return
            with self.lock:
                self.blobs[digest] = bytes(data)
                self.held.add((repository, digest))
                del self.uploads[number]
            exchange.reply(201, b"", {"Location": f"/v2/{repository}/blobs/{digest}", "Docker-Content-Digest": digest})

    def paged(self, exchange: Exchange, names: list[str]) -> tuple[list[str], dict[str, str]]:
        size = min(int(exchange.query.get("n", self.page)), self.page)
        if "last" in exchange.query:
            names = [name for name in names if name > exchange.query["last"]]
        headers = {**JSON, **self.extra_headers}
        if len(names) > size:
            headers["Link"] = f'<{exchange.url_path}?n={size}&last={quote(names[size - 1])}>; rel="next"'
        return names[:size], headers

    def tag_list(self, exchange: Exchange, repository: str) -> None:
        with self.lock:
            names = sorted(tag for name, tag in self.tags if name == repository)
            known = any(name == repository for name, _ in self.manifests)
        if not known:
            exchange.reply(404, errors("NAME_UNKNOWN"), JSON)
            return
        page, headers = self.paged(exchange, names)
        exchange.reply(200, json.dumps({"name": repository, "tags": page}).encode(), headers)

    def catalog(self, exchange: Exchange) -> None:
        with self.lock:
            names = sorted({name for name, _ in self.manifests})
        page, headers = self.paged(exchange, names)
        exchange.reply(200, json.dumps({"repositories": page}).encode(), headers)

    def referrer_list(self, exchange: Exchange, repository: str, digest: str) -> None:
        if not self.referrers:
            exchange.reply(404, errors("NAME_UNKNOWN"), JSON)
            return
        wanted = exchange.query.get("artifactType")
        entries = []
        with self.lock:
            held = [(name, *entry) for (repo, name), entry in self.manifests.items() if repo == repository]
        for name, media_type, data in held:
            document = json.loads(data)
            if document.get("subject", {}).get("digest") != digest:
                continue
            kind = document.get("artifactType") or document.get("config", {}).get("mediaType")
            if wanted in (None, kind):
                entry = {"mediaType": media_type, "digest": name, "size": len(data), "artifactType": kind}
                entries.append({**entry, "annotations": document.get("annotations", {})})
        headers = {"Content-Type": "application/vnd.oci.image.index.v1+json", **self.extra_headers, **({"OCI-Filters-Applied": "artifactType"} if wanted else {})}
        document = {"schemaVersion": 2, "mediaType": headers["Content-Type"], "manifests": entries}
        exchange.reply(200, json.dumps(document).encode(), headers)
