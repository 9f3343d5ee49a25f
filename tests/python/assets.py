"""What tests make containers from: a probe, a small root file system, a minimal Debian.

    assets.py FOLDER    makes all of them there, for suites that cannot (other users, a machine without a compiler)
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

FIXTURES = Path(os.environ.get("COBLE_TEST_FIXTURES", Path(__file__).resolve().parent.parent / "fixtures"))
if str(FIXTURES) not in sys.path:
    sys.path.insert(0, str(FIXTURES))

import archives  # noqa: E402


def missing(text: str) -> BaseException:
    """Skips the test that asked; ends the program if there is no test."""
    if "pytest" in sys.modules:
        import pytest

        return pytest.skip.Exception(text)
    return SystemExit(text)


class Assets:
    """What tests make containers from. Made by whoever needs it first; root's are handed to the ordinary users."""

    def __init__(self, folder: Path, fixtures: Path = FIXTURES) -> None:
        self.folder = folder
        self.fixtures = fixtures

    def make(self, name: str, maker: Callable[[Path], None]) -> Path:
        path = self.folder / name
        if not path.exists():
            unfinished = self.folder / f"{name}.{os.getpid()}.part"
            maker(unfinished)
            unfinished.chmod(0o755)
            unfinished.rename(path)
        return path

    @property
    def probe(self) -> Path:
        def compile_it(target: Path) -> None:
            subprocess.run(["gcc", "-O2", "-static", "-Wall", "-Wextra", "-Werror", "-o", target, self.fixtures / "probe.c"], check=True)

        return self.make("probe", compile_it)

    @property
    def busybox(self) -> Path:
        """The tar of a small root file system: a static busybox, some users, the probe."""

        def write(target: Path) -> None:
            program = static_busybox()
            applets = subprocess.run([program, "--list"], check=True, stdout=subprocess.PIPE, text=True).stdout.split()
            target.write_bytes(archives.busybox_rootfs(program.read_bytes(), applets, self.probe.read_bytes()))

        return self.make("busybox.tar", write)

    @property
    def debian(self) -> Path:
        """The tar of a minimal Debian."""

        def bootstrap(target: Path) -> None:
            if shutil.which("mmdebstrap") is None:
                raise missing("needs mmdebstrap")
            codename = next(
                line.split("=")[1].strip().strip('"') for line in open("/etc/os-release") if line.startswith("VERSION_CODENAME=")
            )
            command = ["mmdebstrap", "--quiet", "--variant=minbase", "--format=tar", codename, str(target)]
            subprocess.run(command, check=True, stdin=subprocess.DEVNULL)

        return self.make("debian.tar", bootstrap)


    def bomb(self, compression: str) -> Path:
        """A compressed tar that claims a file of 40 GiB of zeros, has 600 MiB of them, and is a thousandth of that."""
        tools = {"gzip": ["gzip", "-9"], "zstd": ["zstd", "-q", "-3", "--long=27"], "xz": ["xz", "-1"], "bzip2": ["bzip2", "-9"]}

        def compress(target: Path) -> None:
            with target.open("wb") as stdout, subprocess.Popen([*tools[compression], "-c"], stdin=subprocess.PIPE, stdout=stdout) as tool:
                assert tool.stdin is not None
                tool.stdin.write(archives.header(b"zeros", size=40 << 30))
                for _ in range(600):
                    tool.stdin.write(bytes(1 << 20))
                tool.stdin.close()
                assert tool.wait() == 0

        return self.make(f"bomb.{compression}", compress)


def static_busybox() -> Path:
    for name in ("/bin/busybox", "/usr/bin/busybox"):
        if os.path.exists(name) and b".interp" not in Path(name).read_bytes():
            return Path(name)
    raise missing("needs a static busybox: the package busybox-static")


if __name__ == "__main__":
    made = Assets(Path(sys.argv[1]))
    bombs = [made.bomb(compression) for compression in ("gzip", "zstd", "xz", "bzip2")]
    for path in (made.probe, made.busybox, made.debian, *bombs):
        print(path)
