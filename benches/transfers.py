#!/usr/bin/env python3
"""Measures pulling, pushing, saving and loading of a Debian of four layers and 400 MB, against podman, and against curl, tar and sha256sum.

Everything is on loopback, from and to Debian's docker-registry, in one run: each contender once in every round, with nothing in its store.
Printed are medians and ratios, and what the ratios should be.

    transfers.py [--rounds N] [--json FILE] [--check] [--no-peers] [--place FOLDER]
"""

from __future__ import annotations

import argparse
import contextlib
import gzip
import hashlib
import io
import json
import os
import shutil
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / "tests/python"), str(HERE.parent / "tests/fixtures")]

import archives  # noqa: E402
from registry.content import Client, Content, OCI_MANIFEST, digest_of  # noqa: E402
from registry.debian import DebianRegistry, program  # noqa: E402
from registry.worker import Worker  # noqa: E402

MIB = 1 << 20

#: What is measured, what it is compared with, and the least the other should take of its time.
TARGETS = [
    ("pull", "podman pull", 3.0),
    ("pull", "curl | tar xz", 1.0),
    ("push", "podman push", 2.0),
    ("save", "tar and sha256sum", 1.0),
    ("load", "tar xz and sha256sum", 1.0),
]
#: MiB that a pull may take of all processes together, above what an idle engine has.
MEMORY = 64.0


class Place:
    def __init__(self, data_root: Path, run_root: Path) -> None:
        self.data_root, self.run_root = data_root, run_root


# --- the image --------------------------------------------------------------------------------------------------------


def debian(assets: Path) -> Path:
    """The tar of a Debian with compilers: kept from run to run."""
    path = assets / "debian-400.tar"
    if not path.exists():
        if shutil.which("mmdebstrap") is None:
            raise SystemExit("transfers: needs mmdebstrap")
        codename = next(line.split("=")[1].strip().strip('"') for line in open("/etc/os-release") if line.startswith("VERSION_CODENAME="))
        part = path.with_suffix(".part")
        command = ["mmdebstrap", "--quiet", "--variant=minbase", "--include=build-essential", "--format=tar", codename, str(part)]
        subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
        part.rename(path)
    return path


def layer_of(name: str) -> int:
    if name.startswith(("usr/lib/gcc", "usr/bin/x86_64-linux-gnu-lto", "usr/libexec")):
        return 3
    return 2 if name.startswith("usr/lib/x86_64-linux-gnu") else 1 if name.startswith("usr/share") else 0


def layers(tar: Path, place: Path) -> list[Path]:
    """Four tars: the rest with all directories, /usr/share, the libraries, the compiler."""
    paths = [place / f"layer{n}.tar" for n in range(4)]
    where: dict[str, int] = {}
    made = [tarfile.open(path, "w", format=tarfile.PAX_FORMAT) for path in paths]
    with tarfile.open(tar) as source:
        for member in source:
            name = member.name.removeprefix("./").lstrip("/")
            if not name or name == "." or member.ischr() or member.isblk():
                continue
            number = where.get(member.linkname.removeprefix("./"), 0) if member.islnk() else 0 if member.isdir() else layer_of(name)
            member.name, where[name] = name, number
            if member.islnk():
                member.linkname = member.linkname.removeprefix("./")
            made[number].addfile(member, source.extractfile(member) if member.isreg() else None)
    for one in made:
        one.close()
    return paths


def compressed(path: Path) -> Path:
    target = path.with_suffix(".tar.gz")
    with path.open("rb") as source, target.open("wb") as file, gzip.GzipFile("", "wb", 6, file, mtime=0) as out:
        shutil.copyfileobj(source, out, MIB)
    return target


def configuration(tars: list[Path]) -> bytes:
    ids = []
    for path in tars:
        with path.open("rb") as file:
            ids.append("sha256:" + hashlib.file_digest(file, "sha256").hexdigest() if hasattr(hashlib, "file_digest") else archives.sha256(path.read_bytes()))
    document = {"architecture": "amd64", "os": "linux", "config": {"Cmd": ["bash"]}, "rootfs": {"type": "layers", "diff_ids": ids}}
    return json.dumps(document).encode()


def image(tars: list[Path], blobs: list[Path]) -> Content:
    held = {}

    def blob(data: bytes, media_type: str) -> dict[str, Any]:
        held[digest_of(data)] = data
        return {"mediaType": media_type, "digest": digest_of(data), "size": len(data)}

    config = blob(configuration(tars), archives.OCI_CONFIG)
    listed = [blob(path.read_bytes(), archives.OCI_LAYER + "+gzip") for path in blobs]
    manifest = {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": config, "layers": listed}
    return Content(OCI_MANIFEST, json.dumps(manifest).encode(), held)


def docker_archive(tars: list[Path], path: Path, name: str) -> None:
    """Plain layers, as they come from a build."""
    config = configuration(tars)
    with tarfile.open(path, "w") as archive:
        names = []
        for n, tar in enumerate(tars):
            names.append(f"{n}/layer.tar")
            archive.add(tar, names[-1])
        for member, data in (("config.json", config), ("manifest.json", json.dumps([{"Config": "config.json", "RepoTags": [name], "Layers": names}]).encode())):
            info = tarfile.TarInfo(member)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))


# --- measuring --------------------------------------------------------------------------------------------------------


def settle() -> None:
    """What somebody else wrote is on the disk before the next one is measured."""
    os.sync()


def timed(*command: object, env: dict[str, str] | None = None) -> float:
    settle()
    begin = time.perf_counter()
    done = subprocess.run([str(word) for word in command], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=env)
    took = time.perf_counter() - begin
    if done.returncode != 0:
        raise RuntimeError(f"{command[0]}: {done.stderr.strip()[-300:]}")
    return took


def shell(script: str, *words: object) -> float:
    return timed("bash", "-ceu", "set -o pipefail; " + script, "bash", *words)


class Bench:
    def __init__(self, place: Path, assets: Path, command: str, peers: bool) -> None:
        self.place, self.command = place, command
        tar = debian(assets)
        self.tars = layers(tar, place)
        self.blobs = [compressed(path) for path in self.tars]
        self.made = image(self.tars, self.blobs)
        self.registry = DebianRegistry(place / "registry")
        with Client(self.registry.host) as client:
            client.put("bench/debian", "1", self.made)
        self.reference = f"{self.registry.host}/bench/debian:1"
        self.numbers = iter(range(1_000_000))
        self.podman = self.find_podman() if peers else None
        self.pulled: set[str] = set()

    def find_podman(self) -> str | None:
        """Podman's storage driver: overlays if they work here, copies if not."""
        if shutil.which("podman") is None:
            return None
        for driver in ("overlay", "vfs"):
            with self.podman_store(driver) as podman:
                if subprocess.run([*podman, "images"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode == 0:
                    return driver
        return None

    @contextlib.contextmanager
    def podman_store(self, driver: str | None = None) -> Iterator[list[str]]:
        """Podman's words for a store without anything."""
        folder = self.place / f"podman{next(self.numbers)}"
        words = ["podman", "--root", str(folder / "root"), "--runroot", str(folder / "run"), "--storage-driver", driver or str(self.podman)]
        try:
            yield [*words, "--cgroup-manager", "cgroupfs"]
        finally:
            # Podman mounts its own directory.
            if os.path.ismount(folder / "root/overlay"):
                subprocess.run(["umount", str(folder / "root/overlay")], check=True)
            shutil.rmtree(folder, ignore_errors=True)

    def store(self) -> Place:
        """A place without anything."""
        folder = self.place / f"store{next(self.numbers)}"
        folder.mkdir()
        return Place(folder / "data", folder / "run")

    def coble(self, store: Place, *words: object) -> float:
        return timed(self.command, "--data-root", store.data_root, "--run-root", store.run_root, *words)

    def drop(self, store: Place) -> None:
        shutil.rmtree(store.data_root.parent)

    # Each of these does its measure once, from nothing.

    def pull(self) -> float:
        store = self.store()
        took = self.coble(store, "pull", "-q", "--tls-verify=false", self.reference)
        self.drop(store)
        return took

    def podman_pull(self) -> float:
        with self.podman_store() as podman:
            return timed(*podman, "pull", "-q", "--tls-verify=false", self.reference)

    def urls(self) -> list[str]:
        return [f"http://{self.registry.host}/v2/bench/debian/blobs/{digest}" for digest in self.made.layers]

    def curl_piped(self) -> float:
        """While it is downloaded, it is unpacked; one layer after the other. Nothing is verified and nothing synced."""
        folder = self.place / f"curl{next(self.numbers)}"
        folder.mkdir()
        took = shell('folder=$1; shift; for url; do curl -sf "$url" | tar -xz -C "$folder"; done', folder, *self.urls())
        shutil.rmtree(folder)
        return took

    def curl_then_tar(self) -> float:
        folder = self.place / f"curl{next(self.numbers)}"
        folder.mkdir()
        took = shell('folder=$1; shift; for url; do curl -sf -o "$folder.gz" "$url"; tar -xzf "$folder.gz" -C "$folder"; done; rm "$folder.gz"', folder, *self.urls())
        shutil.rmtree(folder)
        return took

    def push(self) -> float:
        return self.pushed(["--compression", "gzip"])

    def push_zstd(self) -> float:
        return self.pushed(["--compression", "zstd"])

    def pushed(self, words: list[str]) -> float:
        """Into a registry without anything, from a store that got the layers as they come from a build."""
        with self.another_registry() as registry:
            target = f"{registry.host}/bench/made:1"
            self.coble(self.made_store(), "tag", "docker.io/library/bench:1", target)
            took = self.coble(self.made_store(), "push", "-q", "--tls-verify=false", *words, target)
            self.coble(self.made_store(), "rmi", target)
        return took

    def another_registry(self) -> DebianRegistry:
        return DebianRegistry(self.place / f"registry{next(self.numbers)}")

    def made_store(self) -> Place:
        place = Place(self.place / "made/data", self.place / "made/run")
        if not place.data_root.exists():
            (self.place / "made").mkdir(exist_ok=True)
            self.coble(place, "load", "-i", self.archive())
        return place

    def archive(self) -> Path:
        path = self.place / "made.tar"
        if not path.exists():
            docker_archive(self.tars, path, "bench:1")
        return path

    def podman_push(self) -> float:
        """The same, compressed in the same way."""
        with self.another_registry() as registry, self.podman_store() as podman:
            said = subprocess.run([*podman, "load", "-q", "-i", str(self.archive())], check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
            name = said.stdout.strip().rsplit(": ", 1)[1]
            return timed(*podman, "push", "-q", "--tls-verify=false", name, f"docker://{registry.host}/bench/made:1")

    def pulled_store(self) -> Place:
        place = Place(self.place / "pulled/data", self.place / "pulled/run")
        if self.made.digest not in self.pulled:
            (self.place / "pulled").mkdir(exist_ok=True)
            self.coble(place, "pull", "-q", "--tls-verify=false", self.reference)
            self.pulled.add(self.made.digest)
        return place

    def save(self) -> float:
        target = self.place / "saved.tar"
        target.unlink(missing_ok=True)
        return self.coble(self.pulled_store(), "save", "-o", target, self.reference)

    def tar_and_sums(self) -> float:
        """An archive of the same blobs, and their sums."""
        target = self.place / "tarred.tar"
        target.unlink(missing_ok=True)
        return shell('tar -cf "$1" -C "$2" blobs; sha256sum "$2"/blobs/sha256/* > /dev/null', target, self.pulled_store().data_root / "content")

    def load(self) -> float:
        if not (self.place / "saved.tar").exists():
            self.save()
        store = self.store()
        took = self.coble(store, "load", "-i", self.place / "saved.tar")
        self.drop(store)
        return took

    def untar_and_sums(self) -> float:
        """The blobs out of the archive, their sums, and each layer unpacked."""
        folder = self.place / f"untar{next(self.numbers)}"
        (folder / "root").mkdir(parents=True)
        if not (self.place / "tarred.tar").exists():
            self.tar_and_sums()
        script = 'tar -xf "$1" -C "$2"; sha256sum "$2"/blobs/sha256/* > /dev/null; shift; f=$1; shift; for layer; do tar -xzf "$f/blobs/sha256/$layer" -C "$f/root"; done'
        took = shell(script, self.place / "tarred.tar", folder, *(digest.split(":")[1] for digest in self.made.layers))
        shutil.rmtree(folder)
        return took

    def memory(self) -> tuple[float, float]:
        """MiB of a pull above an idle engine, and its seconds, in a host program."""
        store = self.store()
        worker = Worker()
        try:
            outcome = worker.call(store, "images.pull", positional=[self.reference], insecure=True)
        finally:
            worker.close()
        self.drop(store)
        if outcome.kind is not None:
            raise RuntimeError(outcome.text)
        return outcome.peak / MIB, outcome.seconds

    def second_pull(self) -> tuple[float, list[str]]:
        """Seconds, in a host program that has an engine open, and the requests."""
        store = self.pulled_store()
        before = self.log()
        worker = Worker()
        try:
            outcome = worker.call(store, "images.pull", positional=[self.reference], insecure=True)
        finally:
            worker.close()
        if outcome.kind is not None:
            raise RuntimeError(outcome.text)
        return outcome.seconds, self.log()[len(before) :]

    def log(self) -> list[str]:
        # A request of our own that is in the log is behind all others.
        mark = f"/v2/bench/mark{next(self.numbers)}/tags/list"
        with Client(self.registry.host) as client:
            client.ask("GET", mark)
        while not any(mark in line for line in self.registry.requests()):
            time.sleep(0.01)
        return [line for line in self.registry.requests() if "/bench/mark" not in line]

    def close(self) -> None:
        self.registry.close()


def measure(bench: Bench, rounds: int, only: list[str]) -> dict[str, Any]:
    contenders: dict[str, Callable[[], float]] = {"pull": bench.pull, "curl | tar xz": bench.curl_piped, "curl, then tar xzf": bench.curl_then_tar}
    if bench.podman:
        contenders["podman pull"] = bench.podman_pull
    contenders["push"] = bench.push
    if bench.podman:
        contenders["podman push"] = bench.podman_push
    contenders["push with zstd"] = bench.push_zstd
    contenders["save"] = bench.save
    contenders["tar and sha256sum"] = bench.tar_and_sums
    contenders["load"] = bench.load
    contenders["tar xz and sha256sum"] = bench.untar_and_sums
    if only:
        contenders = {name: contender for name, contender in contenders.items() if any(word in name for word in only)}
    times: dict[str, list[float]] = {name: [] for name in contenders}
    failures: dict[str, str] = {}
    peaks = []
    for number in range(rounds):
        for name, contender in contenders.items():
            if name in failures:
                continue
            try:
                times[name].append(contender())
            except (RuntimeError, OSError, subprocess.SubprocessError) as error:
                failures[name] = str(error)
        if only:
            continue
        try:
            peaks.append(bench.memory()[0])
        except (RuntimeError, AssertionError) as error:
            failures["memory"] = str(error)
    second: tuple[float, list[str]] | None = None
    try:
        second = None if only else bench.second_pull()
    except (RuntimeError, AssertionError) as error:
        failures["second pull"] = str(error)
    return {
        "medians": {name: statistics.median(values) for name, values in times.items() if values},
        "best": {name: min(values) for name, values in times.items() if values},
        "samples": {name: len(values) for name, values in times.items() if values},
        "failures": failures,
        "peak_mib": max(peaks) if peaks else None,
        "second": {"seconds": second[0], "requests": second[1]} if second else None,
        "image": {"plain_mb": sum(path.stat().st_size for path in bench.tars) / 1e6, "compressed_mb": sum(path.stat().st_size for path in bench.blobs) / 1e6},
        "podman": bench.podman,
        "host": {"kernel": os.uname().release, "cores": os.cpu_count(), "root": os.geteuid() == 0},
    }


def judge(found: dict[str, Any]) -> list[tuple[str, bool]]:
    """What there is a target for, in words, and whether it is met."""
    medians, said = found["medians"], []
    for name, other, least in TARGETS:
        if name in medians and other in medians:
            ratio = medians[other] / medians[name]
            said.append((f"{name} is {ratio:.2f} times as fast as {other}, at least {least:g}", ratio >= least))
    if found["peak_mib"] is not None:
        said.append((f"a pull takes {found['peak_mib']:.1f} MiB above an idle engine, at most {MEMORY:g}", found["peak_mib"] <= MEMORY))
    if found["second"]:
        count = len(found["second"]["requests"])
        said.append((f"a second pull does {count} request, at most 1, in {found['second']['seconds'] * 1e3:.1f} ms", count <= 1))
    return said


def show(found: dict[str, Any]) -> None:
    size = found["image"]
    print(f"kernel {found['host']['kernel']}, {found['host']['cores']} cores, {'root' if found['host']['root'] else 'ordinary user'}")
    print(f"image: 4 layers, {size['plain_mb']:.0f} MB, {size['compressed_mb']:.0f} MB with gzip; podman's storage: {found['podman'] or 'no podman'}")
    print(f"{'':28}{'median s':>10}{'best s':>10}{'samples':>9}")
    for name, median in found["medians"].items():
        print(f"{name:28}{median:10.2f}{found['best'][name]:10.2f}{found['samples'][name]:9}")
    for name, reason in found["failures"].items():
        print(f"{name:28}failed: {reason}")
    for text, met in judge(found):
        print(f"{'met' if met else 'MISSED'}: {text}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", action="append", default=[], metavar="WORD", help="only what has this in its name, and neither memory nor requests; may be repeated")
    parser.add_argument("--json", type=Path, help="also write everything to this file")
    parser.add_argument("--check", action="store_true", help="fail when a target is missed")
    parser.add_argument("--no-peers", dest="peers", action="store_false", help="leave out podman")
    parser.add_argument("--place", type=Path, default=Path("/var/tmp"), help="a directory on a real file system")
    parser.add_argument("--assets", type=Path, help="a directory for the Debian, which is kept there")
    options = parser.parse_args()
    if program() is None:
        print("transfers: left out, docker-registry is not installed", file=sys.stderr)
        return 0
    command = os.environ.get("COBLE_COMMAND") or shutil.which("coble")
    if command is None:
        raise SystemExit("transfers: needs the command coble, in COBLE_COMMAND")
    place = Path(tempfile.mkdtemp(prefix="coble-transfers-", dir=options.place))
    assets = options.assets or HERE.parent / "target/bench"
    assets.mkdir(parents=True, exist_ok=True)
    bench: Bench | None = None
    try:
        bench = Bench(place, assets, command, options.peers)
        found = measure(bench, options.rounds, options.only)
    finally:
        if bench:
            bench.close()
        shutil.rmtree(place, ignore_errors=True)
    show(found)
    if options.json:
        options.json.write_text(json.dumps(found, indent=2) + "\n")
    return 1 if options.check and not all(met for _, met in judge(found)) else 0


if __name__ == "__main__":
    sys.exit(main())
