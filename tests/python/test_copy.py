"""Files out of containers: one path as a tar, and the content of a file."""

from __future__ import annotations

import tarfile
from pathlib import Path

import coble
import coble.aio
import pytest

SCRIPT = """
mkdir -p /d/sub
echo hello > /d/file
chmod 640 /d/file
ln -s file /d/link
ln -s /d /dirlink
ln -s ../../../../../../../../../../etc/passwd /d/up
ln -s /proc/1/root/etc/shadow /d/magic
mkfifo /d/pipe
echo deep > /d/sub/deep
"""


@pytest.fixture
def filled(box: coble.Engine) -> coble.Container:
    container = box.containers.create("box", ["sh", "-c", SCRIPT])
    container.start()
    container.wait()
    return container


def members(container: coble.Container, path: str, target: Path, **options: bool) -> dict[str, tarfile.TarInfo]:
    done = container.get_archive(path, target, **options)
    with tarfile.open(target) as tar:
        found = {member.name: member for member in tar}
    assert len(found) == done.entries
    return found


@pytest.mark.vm
def test_a_path_as_a_tar(filled: coble.Container, tmp_path: Path) -> None:
    out = tmp_path / "out.tar"
    found = members(filled, "/d", out)
    assert set(found) == {"d", "d/sub", "d/sub/deep", "d/file", "d/link", "d/up", "d/magic", "d/pipe"}
    assert found["d/file"].mode == 0o640 and (found["d/file"].uid, found["d/file"].gid) == (0, 0)
    assert found["d/link"].linkname == "file" and found["d/pipe"].isfifo()
    assert set(members(filled, "d/file", out)) == {"file"}
    assert set(members(filled, "/d/../d/sub/.", out)) == {"deep"}
    assert members(filled, "/dirlink", out)["dirlink"].issym()
    assert "dirlink/sub/deep" in members(filled, "/dirlink/", out)
    assert members(filled, "/d/link", out, follow_link=True)["link"].isreg()
    assert "d/sub/deep" in members(filled, "/", out)
    for missing in ["/none", "/d/none/x", "/d/file/x"]:
        with pytest.raises(coble.PathNotFoundError):
            filled.get_archive(missing, tmp_path / "none.tar")
    assert not (tmp_path / "none.tar").exists()


@pytest.mark.vm
def test_read_file(filled: coble.Container) -> None:
    assert filled.read_file("/d/file") == filled.read_file("/d/link") == filled.read_file("dirlink/file") == b"hello\n"
    assert filled.read_file("/d/file", max_size=6) == b"hello\n"
    assert filled.read_file("/d/up") == filled.read_file("/etc/passwd") != Path("/etc/passwd").read_bytes()
    with pytest.raises(coble.LimitExceededError):
        filled.read_file("/d/file", max_size=5)
    for other in ["/d", "/d/", "/", "/d/pipe"]:
        with pytest.raises(coble.InvalidArgumentError):
            filled.read_file(other)
    for missing in ["/none", "/d/magic"]:
        with pytest.raises(coble.PathNotFoundError):
            filled.read_file(missing)
    with pytest.raises(coble.InvalidArgumentError):
        filled.read_file("")


@pytest.mark.vm
def test_of_a_running_container(box: coble.Engine, tmp_path: Path) -> None:
    with box.containers.run("box", ["sh", "-c", "echo now > /file; echo ready; exec sleep 600"]) as container:
        container.exec(["sh", "-c", "mkdir -p /made; echo exec > /made/file"], check=True)
        assert container.read_file("/made/file") == b"exec\n"
        assert set(members(container, "/made", tmp_path / "out.tar")) == {"made", "made/file"}
        assert container.state == "running"
