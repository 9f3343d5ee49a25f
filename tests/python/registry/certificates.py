"""Certificates of our own, made with the program openssl."""

from __future__ import annotations

import base64
import subprocess
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Certificate:
    """Files in PEM."""

    certificate: Path
    key: Path

    def der(self) -> str:
        """The certificate as the header of a token carries it."""
        lines = self.certificate.read_text().split("-----BEGIN CERTIFICATE-----")[1].split("-----END")[0]
        return base64.b64encode(base64.b64decode(lines)).decode()


def openssl(*words: object, stdin: bytes | None = None) -> bytes:
    done = subprocess.run(["openssl", *map(str, words)], input=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    if done.returncode != 0:
        raise RuntimeError(f"openssl {words[0]}: {done.stderr.decode()}")
    return done.stdout


class Authority:
    """A certification authority that nobody else knows."""

    def __init__(self, folder: Path, name: str = "authority of a test") -> None:
        self.folder = folder
        folder.mkdir(parents=True)
        self.own = Certificate(folder / "ca.crt", folder / "ca.key")
        words = ["-subj", f"/CN={name}", "-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign,cRLSign"]
        self._key(self.own.key)
        openssl("req", "-x509", "-new", "-key", self.own.key, "-out", self.own.certificate, "-days", 2, *words)

    def _key(self, path: Path, *, rsa: bool = False) -> None:
        if rsa:
            openssl("genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-out", path)
        else:
            openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", path)

    def issue(self, name: str, *subjects: str, client: bool = False, rsa: bool = False, days: tuple[str, str] | None = None) -> Certificate:
        """A certificate for names and addresses, such as "DNS:localhost" and "IP:127.0.0.1". `days`: from and to, as 20200101000000Z."""
        made = Certificate(self.folder / f"{name}.crt", self.folder / f"{name}.key")
        if made.certificate.exists():
            return made
        self._key(made.key, rsa=rsa)
        request = openssl("req", "-new", "-key", made.key, "-subj", f"/CN={name}")
        extensions = self.folder / f"{name}.ext"
        lines = ["basicConstraints=critical,CA:FALSE", f"extendedKeyUsage={'clientAuth' if client else 'serverAuth'}"]
        if subjects:
            lines.append("subjectAltName=" + ",".join(subjects))
        extensions.write_text("\n".join(lines) + "\n")
        if days is None:
            words: list[object] = ["-days", 2]
            openssl(
                "x509", "-req", "-CA", self.own.certificate, "-CAkey", self.own.key, "-CAcreateserial", "-extfile", extensions,
                "-out", made.certificate, *words, stdin=request,
            )
        else:
            self._expired(made, request, extensions, days)
        return made

    def _expired(self, made: Certificate, request: bytes, extensions: Path, days: tuple[str, str]) -> None:
        folder = self.folder / f"{made.key.stem}.ca"
        folder.mkdir()
        (folder / "index.txt").write_text("")
        (folder / "request").write_bytes(request)
        (folder / "config").write_text(
            f"[ca]\ndefault_ca=d\n[d]\ndatabase={folder}/index.txt\nnew_certs_dir={folder}\nrand_serial=yes\ndefault_md=sha256\n"
            "policy=p\n[p]\ncommonName=supplied\n"
        )
        openssl(
            "ca", "-batch", "-notext", "-config", folder / "config", "-cert", self.own.certificate, "-keyfile", self.own.key,
            "-in", folder / "request", "-out", made.certificate, "-extfile", extensions, "-startdate", days[0], "-enddate", days[1],
        )
