"""What registries hold: images as bytes, for a server of ours directly or sent to another with nothing but an HTTP client."""

from __future__ import annotations

import hashlib
import http.client
import json
import ssl
from dataclasses import dataclass, field
from typing import Any

import archives

OCI_MANIFEST = archives.OCI_MANIFEST
OCI_INDEX = archives.OCI_INDEX
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_INDEX = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar"


def digest_of(data: bytes, algorithm: str = "sha256") -> str:
    return f"{algorithm}:{hashlib.new(algorithm, data).hexdigest()}"


@dataclass
class Content:
    """Manifests and blobs. `manifest` is the one that a tag means."""

    media_type: str
    manifest: bytes
    blobs: dict[str, bytes] = field(default_factory=dict)
    #: Manifests that `manifest`, an index, has: digest to (media type, bytes).
    children: dict[str, tuple[str, bytes]] = field(default_factory=dict)
    algorithm: str = "sha256"

    @property
    def digest(self) -> str:
        return digest_of(self.manifest, self.algorithm)

    @property
    def document(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.manifest)
        return found

    @property
    def layers(self) -> list[str]:
        return [layer["digest"] for layer in self.document["layers"]]

    @property
    def config(self) -> str:
        digest: str = self.document["config"]["digest"]
        return digest

    def changed(self, **fields: Any) -> Content:
        """The same with other fields in its manifest; None takes one out."""
        document = {**self.document, **fields}
        return self.replaced({name: value for name, value in document.items() if value is not None})

    def replaced(self, document: Any) -> Content:
        return Content(self.media_type, json.dumps(document).encode(), self.blobs, self.children, self.algorithm)

    def descriptor(self, **more: Any) -> dict[str, Any]:
        return {"mediaType": self.media_type, "digest": self.digest, "size": len(self.manifest), **more}


def content(
    image: archives.Image, *, docker: bool = False, algorithm: str = "sha256", annotations: dict[str, str] | None = None, media_types: list[str] | None = None
) -> Content:
    """An image as a registry has it."""
    blobs: dict[str, bytes] = {}

    def blob(data: bytes, media_type: str) -> dict[str, Any]:
        digest = digest_of(data, algorithm)
        blobs[digest] = data
        return {"mediaType": media_type, "digest": digest, "size": len(data)}

    suffix = {"plain": "", "gzip": ".gzip", "zstd": ".zstd"} if docker else archives.SUFFIX
    base = DOCKER_LAYER if docker else archives.OCI_LAYER
    config = blob(image.configuration_bytes(), DOCKER_CONFIG if docker else archives.OCI_CONFIG)
    layers = [blob(archives.compress(layer, image.compression), base + suffix[image.compression]) for layer in image.layers]
    for layer, media_type in zip(layers, media_types or []):
        layer["mediaType"] = media_type
    media_type = DOCKER_MANIFEST if docker else OCI_MANIFEST
    document: dict[str, Any] = {"schemaVersion": 2, "mediaType": media_type, "config": config, "layers": layers}
    if annotations:
        document["annotations"] = annotations
    return Content(media_type, json.dumps(document, indent=3).encode(), blobs, algorithm=algorithm)


def index(*entries: tuple[Content, dict[str, Any] | None], docker: bool = False, more: dict[str, Any] | None = None) -> Content:
    """An index of contents with their platforms."""
    media_type = DOCKER_INDEX if docker else OCI_INDEX
    manifests, blobs, children = [], {}, {}
    for entry, platform in entries:
        manifests.append(entry.descriptor(**({"platform": platform} if platform else {})))
        blobs.update(entry.blobs)
        children.update(entry.children)
        children[entry.digest] = (entry.media_type, entry.manifest)
    document = {"schemaVersion": 2, "mediaType": media_type, "manifests": manifests, **(more or {})}
    return Content(media_type, json.dumps(document, indent=3).encode(), blobs, children)


def small(text: str = "content", *, layers: int = 2, size: int = 10_000, compression: str = "gzip", **options: Any) -> Content:
    """An image of a few layers of one file each, not to be run; other texts make other layers."""
    tars = [archives.tar(archives.file(f"file{n}", noise(f"{text} {n}", size)), archives.file(f"text{n}", text.encode())) for n in range(layers)]
    return content(archives.Image(tars, {"Cmd": ["x"]}, compression=compression), **options)


def noise(seed: str, size: int) -> bytes:
    """Bytes that no compression makes smaller, the same for the same seed."""
    return hashlib.shake_128(seed.encode()).digest(size)


class Client:
    """Talks to a registry on loopback as the specification says, with nothing of coble in it."""

    def __init__(self, host: str, *, context: ssl.SSLContext | None = None, headers: dict[str, str] | None = None) -> None:
        self.host = host
        self.connection = http.client.HTTPSConnection(host, context=context, timeout=60) if context else http.client.HTTPConnection(host, timeout=60)
        self.headers = headers or {}

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.connection.close()

    def ask(self, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None) -> tuple[int, dict[str, str], bytes]:
        self.connection.request(method, path, body, {**self.headers, **(headers or {})})
        answer = self.connection.getresponse()
        data = answer.read()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, data

    def expect(self, status: int, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None) -> tuple[dict[str, str], bytes]:
        found, got, data = self.ask(method, path, body, headers)
        if found != status:
            raise AssertionError(f"{method} {path}: {found}, not {status}: {data[:300]!r}")
        return got, data

    def put_blob(self, repository: str, data: bytes) -> str:
        digest = digest_of(data)
        headers, _ = self.expect(202, "POST", f"/v2/{repository}/blobs/uploads/", b"")
        location = headers["location"]
        location = location[location.index("/v2/") :]
        location += ("&" if "?" in location else "?") + f"digest={digest}"
        self.expect(201, "PUT", location, data, {"Content-Type": "application/octet-stream"})
        return digest

    def put(self, repository: str, tag: str, what: Content) -> str:
        for data in what.blobs.values():
            self.put_blob(repository, data)
        for digest, (media_type, manifest) in what.children.items():
            self.expect(201, "PUT", f"/v2/{repository}/manifests/{digest}", manifest, {"Content-Type": media_type})
        self.expect(201, "PUT", f"/v2/{repository}/manifests/{tag}", what.manifest, {"Content-Type": what.media_type})
        return what.digest

    def manifest(self, repository: str, tag: str) -> tuple[str, bytes]:
        accept = ", ".join([OCI_INDEX, OCI_MANIFEST, DOCKER_INDEX, DOCKER_MANIFEST])
        headers, data = self.expect(200, "GET", f"/v2/{repository}/manifests/{tag}", headers={"Accept": accept})
        return headers["content-type"], data

    def blob(self, repository: str, digest: str) -> bytes:
        return self.expect(200, "GET", f"/v2/{repository}/blobs/{digest}")[1]

    def has_blob(self, repository: str, digest: str) -> bool:
        return self.ask("HEAD", f"/v2/{repository}/blobs/{digest}")[0] == 200
