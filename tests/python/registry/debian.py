"""Debian's `docker-registry`, started on a free port of loopback with a directory of its own, and ended with the tests."""

from __future__ import annotations

import json
import os
import queue
import re
import shutil
import subprocess
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from registry.certificates import Certificate
from registry.tokens import TokenServer

PROGRAM = "docker-registry"
USER, PASSWORD = "tester", "correct horse"
#: USER and PASSWORD as that registry wants it: bcrypt, of the lowest cost.
HTPASSWD = "tester:$2y$04$abcdefghijklmnopqrstuujydOTSfIH/d5oUHpsygqV5X9xJLQc6e\n"


def program() -> str | None:
    return shutil.which(PROGRAM) or next((path for path in (f"/usr/bin/{PROGRAM}", f"/usr/sbin/{PROGRAM}") if os.access(path, os.X_OK)), None)


@dataclass
class DebianRegistry:
    """A process of it."""

    folder: Path
    certificate: Certificate | None = None
    basic: bool = False
    tokens: TokenServer | None = None
    #: Certificates that sign tokens.
    roots: Path | None = None
    lines: list[str] = field(default_factory=list)
    port: int = 0

    def __post_init__(self) -> None:
        command = program()
        assert command is not None
        self.folder.mkdir(parents=True)
        http: dict[str, Any] = {"addr": "127.0.0.1:0", "secret": "for upload sessions"}
        if self.certificate:
            http["tls"] = {"certificate": str(self.certificate.certificate), "key": str(self.certificate.key)}
        config: dict[str, Any] = {
            "version": 0.1,
            "log": {"level": "info", "formatter": "json", "accesslog": {"disabled": False}},
            "storage": {"filesystem": {"rootdirectory": str(self.folder / "data")}, "delete": {"enabled": True}},
            "http": http,
            # Layers that are elsewhere may be anywhere.
            "validation": {"manifests": {"urls": {"allow": ["^https?://"]}}},
        }
        if self.basic:
            (self.folder / "htpasswd").write_text(HTPASSWD)
            config["auth"] = {"htpasswd": {"realm": "Debian's registry", "path": str(self.folder / "htpasswd")}}
        if self.tokens:
            token = {"realm": self.tokens.realm, "service": self.tokens.service, "issuer": self.tokens.issuer, "rootcertbundle": str(self.roots)}
            config["auth"] = {"token": token}
        # JSON is YAML.
        path = self.folder / "config.yml"
        path.write_text(json.dumps(config))
        environment = {"PATH": os.environ.get("PATH", "/usr/bin"), "HOME": str(self.folder), "OTEL_TRACES_EXPORTER": "none"}
        self.process = subprocess.Popen(
            [command, "serve", str(path)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment, cwd=self.folder
        )
        self.ready: queue.Queue[int | None] = queue.Queue()
        self.reader = threading.Thread(target=self._read, name="log of docker-registry")
        self.reader.start()
        found = self.ready.get(timeout=30)
        if found is None:
            self.close()
            raise RuntimeError("docker-registry did not start: " + "".join(self.lines[-5:]))
        self.port = found

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line)
            found = re.search(r"listening on [^\"]*:(\d+)", line)
            if found:
                self.ready.put(int(found[1]))
        self.ready.put(None)

    def __enter__(self) -> DebianRegistry:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"

    def requests(self, pattern: str = ".*") -> list[str]:
        """`METHOD TARGET STATUS` of what was answered so far. Its log may come a moment after the answer."""
        found = (re.search(r'"([A-Z]+ \S+) HTTP/1\.\d" (\d+)', line) for line in list(self.lines))
        return [text for text in (f"{one[1]} {one[2]}" for one in found if one) if re.fullmatch(pattern, text)]

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
        self.process.wait()
        self.reader.join()
        assert self.process.stdout is not None
        self.process.stdout.close()
        shutil.rmtree(self.folder, ignore_errors=True)
