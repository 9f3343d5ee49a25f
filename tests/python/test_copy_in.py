"""Files into containers, and out to the host: docker's rules for paths, what is replaced, owners, and containers that fight back."""

from __future__ import annotations

import contextlib
import fcntl
import io
import os
import stat
import subprocess
import tarfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import coble
import coble.aio
import pytest
from conftest import IS_ROOT, MODE
from helpers import eventually

SETUP = "mkdir -p /dst/dir /dst/deep/er; echo old > /dst/file; ln -s dir /dst/todir; ln -s file /dst/tofile; ln -s missing /dst/tonothing; ln -s /dst/dir /abs"


@contextlib.contextmanager
def container_of(engine: coble.Engine, running: bool, script: str = "true", **options: object) -> Iterator[coble.Container]:
    """A container, running or stopped, in which the script has run."""
    container = engine.containers.create("box", ["sh", "-c", f"{script}\n echo ready\n exec sleep 1000" if running else script], **options)  # type: ignore[arg-type]
    try:
        container.start()
        if running:
            container.wait_for(coble.wait.log("ready"), timeout=20)
        else:
            assert container.wait() == 0
        yield container
    finally:
        container.remove(force=True)


def files(container: coble.Container, path: str) -> dict[str, bytes | str | None]:
    """What is below a directory of a container: content of files, targets of links, None for directories."""
    with tarfile.open(fileobj=io.BytesIO(archive(container, path))) as tar:
        found: dict[str, bytes | str | None] = {}
        for member in tar:
            data = tar.extractfile(member) if member.isreg() else None
            found[member.name] = data.read() if data else member.linkname if member.issym() else None
        return found


def archive(container: coble.Container, path: str) -> bytes:
    read, write = os.pipe()
    out: list[bytes] = []

    def drain() -> None:
        with os.fdopen(read, "rb") as pipe:
            out.append(pipe.read())

    reader = threading.Thread(target=drain)
    reader.start()
    try:
        container.get_archive(path, write)
    finally:
        os.close(write)
        reader.join()
    return out[0]


def tar_of(*entries: tuple[str, bytes | str | None], **attributes: int) -> bytes:
    """A tar: content makes a file, a text a symbolic link, None a directory."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, content in entries:
            info = tarfile.TarInfo(name)
            info.mtime = 1_700_000_000
            if content is None:
                info.type, info.mode = tarfile.DIRTYPE, 0o755
            elif isinstance(content, str):
                info.type, info.linkname = tarfile.SYMTYPE, content
            else:
                info.size = len(content)
            for key, value in attributes.items():
                setattr(info, key, value)
            tar.addfile(info, io.BytesIO(content) if isinstance(content, bytes) else None)
    return out.getvalue()


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A directory of the host to copy from."""
    source = tmp_path / "src"
    (source / "tree" / "sub").mkdir(parents=True)
    (source / "tree" / "sub" / "deep").write_text("deep\n")
    (source / "tree" / "top").write_text("top\n")
    (source / "one").write_text("one\n")
    (source / "empty").mkdir()
    (source / "linktree").symlink_to("tree")
    (source / "linkone").symlink_to("one")
    return source


TREE = {"sub": None, "sub/deep": b"deep\n", "top": b"top\n"}


def below(name: str) -> dict[str, bytes | None]:
    return {name: None} | {f"{name}/{path}": content for path, content in TREE.items()}


@pytest.mark.vm
@pytest.mark.parametrize("running", [False, True], ids=["stopped", "running"])
def test_where_a_copy_goes(box: coble.Engine, source: Path, running: bool) -> None:
    """The table of docker's documentation, each case on paths of its own."""
    ok: list[tuple[str, str, str, dict[str, bytes | str | None]]] = [
        # source, destination, where to look, what is there
        ("one", "/dst/new", "/dst/new", {"new": b"one\n"}),
        ("one", "/dst/dir", "/dst/dir/one", {"one": b"one\n"}),
        ("one", "/dst/deep/", "/dst/deep/one", {"one": b"one\n"}),
        ("one", "/dst/deep/er/.", "/dst/deep/er/one", {"one": b"one\n"}),
        ("one", "dst/relative", "/dst/relative", {"relative": b"one\n"}),
        ("one", "/dst/file", "/dst/file", {"file": b"one\n"}),
        ("one", "/dst/tofile", "/dst/tofile", {"tofile": "file"}),
        ("one", "/dst/tonothing", "/dst/missing", {"missing": b"one\n"}),
        ("one", "/dst/todir", "/dst/dir/one", {"one": b"one\n"}),
        ("one", "/abs/x", "/dst/dir/x", {"x": b"one\n"}),
        ("linkone", "/dst/dir", "/dst/dir/linkone", {"linkone": "one"}),
        ("tree", "/dst/t1", "/dst/t1", below("t1")),
        ("tree/.", "/dst/t2", "/dst/t2", below("t2")),
        ("tree/", "/dst/t3/", "/dst/t3", below("t3")),
        ("tree", "/dst/t1", "/dst/t1/tree", below("tree")),
        ("empty/.", "/dst/e", "/dst/e", {"e": None}),
        ("linktree", "/dst/l1", "/dst/l1", {"l1": "tree"}),
        ("linktree/", "/dst/l2", "/dst/l2", below("l2")),
        ("linktree/", "/dst/dir", "/dst/dir/linktree", below("linktree")),
        ("tree/.", "/", "/sub", {"sub": None, "sub/deep": b"deep\n"}),
    ]
    with container_of(box, running, SETUP) as container:
        for given, dest, look, found in ok:
            container.copy_to(f"{source}/{given}", dest)
            assert files(container, look) == found, (given, dest)
        assert container.read_file("/dst/file") == b"one\n"
        follow = [("linkone", "/dst/f1", "f1", {"f1": b"one\n"}), ("linktree", "/dst/f2", "f2", below("f2"))]
        for given, dest, name, what in follow:
            container.copy_to(source / given, dest, follow_link=True)
            assert files(container, f"/dst/{name}") == what
        container.copy_to(source / "linkone", "/dst/deep", follow_link=True)
        assert container.read_file("/dst/deep/linkone") == b"one\n"

        wrong: list[tuple[str, str, type[coble.CobleError]]] = [
            ("one", "/dst/none/x", coble.PathNotFoundError),
            ("one", "/dst/none/", coble.PathNotFoundError),
            ("one", "/dst/none/.", coble.PathNotFoundError),
            ("tree", "/dst/none/x", coble.PathNotFoundError),
            ("tree", "/dst/none/.", coble.PathNotFoundError),
            ("tree", "/dst/file", coble.InvalidArgumentError),
            ("tree/.", "/dst/file", coble.InvalidArgumentError),
            ("one", "/dst/file/", coble.CobleError),
            ("one", "/dst/file/x", coble.PathNotFoundError),
            ("none", "/dst", coble.PathNotFoundError),
            ("one/", "/dst", coble.CobleError),
            ("one", "", coble.InvalidArgumentError),
        ]
        before = files(container, "/dst")
        for given, dest, error in wrong:
            with pytest.raises(error):
                container.copy_to(f"{source}/{given}", dest)
        assert files(container, "/dst") == before


@pytest.mark.vm
@pytest.mark.parametrize("running", [False, True], ids=["stopped", "running"])
def test_out_to_the_host(box: coble.Engine, tmp_path: Path, running: bool) -> None:
    script = SETUP + "; mkdir -p /t/sub; echo deep > /t/sub/deep; chmod 750 /t/sub; chmod 4711 /t/sub/deep; ln -s /etc/passwd /t/link; echo one > /one; ln -s one /linkone; ln -s t /linkt"
    out = tmp_path / "out"
    out.mkdir()
    (out / "file").write_text("old")
    (out / "tofile").symlink_to("file")
    with container_of(box, running, script) as container:
        for given, dest, made in [
            ("/one", "new", "new"),
            ("/one", ".", "one"),
            ("/one", "file", "file"),
            ("/one", "tofile", "file"),
            ("/t", "t1", "t1/sub/deep"),
            ("/t/.", "t2", "t2/sub/deep"),
            ("/t/", "t1", "t1/t/sub/deep"),
            ("/t/.", ".", "sub/deep"),
            ("/linkt/", "t3", "t3/sub/deep"),
        ]:
            done = container.copy_from(given, f"{out}/{dest}")
            assert (out / made).is_file() and done.entries >= 1, (given, dest)
        assert (out / "tofile").is_symlink() and (out / "file").read_text() == "one\n"
        assert os.readlink(out / "t1" / "link") == "/etc/passwd"
        found = (out / "t1" / "sub").stat()
        assert stat.S_IMODE(found.st_mode) == 0o750 and found.st_uid == os.geteuid()
        container.copy_from("/linkone", out / "l1")
        container.copy_from("/linkone", out / "l2", follow_link=True)
        container.copy_from("/linkt", out / "l3", follow_link=True)
        assert os.readlink(out / "l1") == "one" and (out / "l2").read_text() == "one\n" and (out / "l3" / "sub" / "deep").exists()
        for given, dest in [("/none", "x"), ("/one/", "x"), ("/one", "none/x"), ("/one", "none/"), ("/t", "file"), ("/t", "none/x"), ("/one", "file/")]:
            with pytest.raises(coble.CobleError):
                container.copy_from(given, f"{out}/{dest}")
        assert not (out / "x").exists() and not (out / "none").exists()
        # A file over a directory, and the other way round.
        (out / "t4" / "one").mkdir(parents=True)
        with pytest.raises(coble.InvalidStateError):
            container.copy_from("/one", out / "t4")
        (out / "t5").mkdir()
        (out / "t5" / "t").write_text("")
        with pytest.raises(coble.InvalidStateError):
            container.copy_from("/t", out / "t5")


@pytest.mark.vm
@pytest.mark.parametrize("running", [False, True], ids=["stopped", "running"])
def test_what_an_archive_replaces(box: coble.Engine, running: bool) -> None:
    with container_of(box, running, SETUP + "; chmod 700 /dst/dir; echo keep > /dst/dir/keep; ln -s /dst /d2") as container:
        done = container.put_archive("/dst", tar_of(("dir", None), ("dir/.wh.keep", b"ordinary"), ("file", b"new"), ("made/on/the/way", b"x"), (".wh..wh..opq", b"")))
        assert done.entries == 5 and done.warnings == []
        found = files(container, "/dst/.")
        assert found["dir/keep"] == b"keep\n" and found["dir/.wh.keep"] == b"ordinary" and found["file"] == b"new" and found[".wh..wh..opq"] == b""
        entries = {entry.name: entry for entry in container.list_files("/d2")}
        assert entries["dir"].mode == 0o755 and entries["dir"].modified.startswith("2023-11-14T22:13:20") and entries["dir"].kind == "directory"
        assert entries["made"].mode == 0o755 and entries["todir"].link_target == "dir" and entries["todir"].kind == "symlink"
        assert entries["file"].size == 3
        # On the way a link of the container is followed, inside it; at the end it is replaced.
        container.put_archive("/d2/", tar_of(("todir/through", b"1"), ("tofile", b"2")))
        assert container.read_file("/dst/dir/through") == b"1" and container.read_file("/dst/file") == b"new" and files(container, "/dst/tofile") == {"tofile": b"2"}
        for bad in [("dir", b"file over directory"), ("file", None), ("todir", None)]:
            with pytest.raises(coble.InvalidStateError):
                container.put_archive("/dst", tar_of(bad))
        for name in ["../x", "a/../../x"]:
            with pytest.raises(coble.InvalidArchiveError):
                container.put_archive("/dst", tar_of((name, b"")))
        for path, error in [("/none", coble.PathNotFoundError), ("/dst/file", coble.CobleError), ("/dst/tonothing", coble.PathNotFoundError)]:
            with pytest.raises(error):
                container.put_archive(path, tar_of(("x", b"")))
        with pytest.raises(coble.InvalidArchiveError):
            container.put_archive("/dst", b"this is no archive" * 100)
        # Cut off in the middle of a file: nothing half-written is left under its name.
        whole = tar_of(("before", b"1" * 5000), ("cut", b"2" * 5000))
        with pytest.raises(coble.InvalidArchiveError):
            container.put_archive("/dst", whole[: 512 + 5120 + 512 + 1024])
        assert files(container, "/dst/before") == {"before": b"1" * 5000}
        with pytest.raises(coble.PathNotFoundError):
            container.read_file("/dst/cut")


@pytest.mark.vm
def test_compressed_archives_and_files(box: coble.Engine, tmp_path: Path) -> None:
    import bz2
    import gzip
    import lzma

    plain = tar_of(("f", b"x" * 100_000))
    with container_of(box, False) as container:
        for number, packed in enumerate([gzip.compress(plain), bz2.compress(plain), lzma.compress(plain), bytearray(plain)]):
            container.put_archive("/tmp" if number else "/", packed)
            assert len(container.read_file("/tmp/f" if number else "/f")) == 100_000
        path = tmp_path / "a.tar"
        path.write_bytes(plain)
        container.put_archive("/", path)
        with path.open("rb") as file:
            container.put_archive("/", file)
        read, write = os.pipe()
        os.set_blocking(read, False)
        feeder = threading.Thread(target=lambda: (time.sleep(0.05), os.write(write, plain[:1000]), time.sleep(0.05), os.write(write, plain[1000:]), os.close(write)))
        feeder.start()
        container.put_archive("/etc", read)
        feeder.join()
        os.close(read)
        assert len(container.read_file("/etc/f")) == 100_000
        with pytest.raises(coble.InvalidArgumentError):
            container.put_archive("/", tmp_path)


@pytest.mark.vm
@pytest.mark.parametrize("running", [False, True], ids=["stopped", "running"])
def test_write_file(box: coble.Engine, running: bool) -> None:
    with container_of(box, running, SETUP + "; mkfifo /pipe") as container:
        container.write_file("/dst/new", b"hello")
        container.write_file("dst/tofile", b"through", mode=0o600, user="1234:4321" if MODE != "single" else None)
        container.write_file("/dst/tonothing", bytearray(b""), mode=0o4755)
        container.write_file("/dst/todir/x", b"y" * 3_000_000)
        entries = {entry.name: entry for entry in container.list_files("/dst")}
        assert (entries["new"].mode, entries["new"].uid, entries["new"].gid, entries["new"].kind) == (0o644, 0, 0, "file")
        assert entries["file"].mode == 0o600 and container.read_file("/dst/file") == b"through"
        if MODE != "single":
            assert (entries["file"].uid, entries["file"].gid) == (1234, 4321)
            container.write_file("/dst/named", b"", user="alice")
            assert {e.name: e.uid for e in container.list_files("/dst")}["named"] == 1000
        assert entries["missing"].mode == 0o4755 and entries["missing"].size == 0
        assert container.read_file("/dst/dir/x") == b"y" * 3_000_000
        if running:
            assert container.exec(["sh", "-c", "cat /dst/new; wc -c < /dst/dir/x"]).stdout == b"hello3000000\n"
        container.write_file("/pipe", b"no longer a pipe")
        assert container.read_file("/pipe") == b"no longer a pipe"
        for path, error in [("/dst", coble.InvalidArgumentError), ("/dst/new/", coble.InvalidArgumentError), ("/none/x", coble.PathNotFoundError), ("/dst/new/x", coble.PathNotFoundError)]:
            with pytest.raises(error):
                container.write_file(path, b"")
        with pytest.raises(coble.InvalidArgumentError):
            container.write_file("/dst/m", b"", mode=0o10000)
        with pytest.raises(coble.UserNotFoundError):
            container.write_file("/dst/m", b"", user="nobody-of-that-name")
        for missing in ["/none", "/dst/file"]:
            with pytest.raises(coble.PathNotFoundError):
                container.list_files(missing)


@pytest.mark.vm
def test_owners(box: coble.Engine, source: Path, tmp_path: Path) -> None:
    """Without `archive` everything belongs to user 0, or to the caller; with it the numbers are kept, as far as they are mapped."""
    with container_of(box, False) as container:
        container.copy_to(source / "tree", "/plain")
        container.copy_to(source / "tree", "/kept", archive=True)
        owners = {entry.name: (entry.uid, entry.gid) for entry in container.list_files("/")}
        assert owners["plain"] == (0, 0)
        if MODE != "single":
            assert owners["kept"] == (os.geteuid(), os.getegid())
            container.put_archive("/", tar_of(("numbers", b"x"), uid=1234, gid=4321))
            assert {entry.name: (entry.uid, entry.gid) for entry in container.list_files("/")}["numbers"] == (1234, 4321)
            container.copy_from("/numbers", tmp_path / "mine")
            assert (tmp_path / "mine").stat().st_uid == os.geteuid()
        else:
            done = container.put_archive("/", tar_of(("numbers", b"x"), uid=1234, gid=4321))
            assert [warning.code for warning in done.warnings] == ["metadata"]
        if IS_ROOT:
            os.chown(source / "one", 1234, 4321)
            (source / "one").chmod(0o6755)
            container.copy_to(source / "one", "/setid")
            container.copy_to(source / "one", "/setid-kept", archive=True)
            entries = {entry.name: entry for entry in container.list_files("/")}
            assert entries["setid"].mode == 0o755 and (entries["setid-kept"].mode, entries["setid-kept"].uid) == (0o6755, 1234)
            container.copy_from("/setid-kept", tmp_path / "lost")
            container.copy_from("/setid-kept", tmp_path / "kept", archive=True)
            lost, kept = (tmp_path / "lost").stat(), (tmp_path / "kept").stat()
            assert (stat.S_IMODE(lost.st_mode), lost.st_uid, stat.S_IMODE(kept.st_mode), kept.st_uid) == (0o755, 0, 0o6755, 1234)


@pytest.mark.vm
@pytest.mark.parametrize("archive", [False, True])
def test_out_to_the_host_brings_no_set_id_and_changes_no_directory(box: coble.Engine, tmp_path: Path, archive: bool) -> None:
    """SEC-82."""
    out = tmp_path / "out"
    (out / "d").mkdir(parents=True)
    (out / "d").chmod(0o710)
    with container_of(box, False, "mkdir -p /t/d; chmod 777 /t /t/d; echo s > /t/d/own; chmod 6755 /t/d/own") as container:
        done = container.copy_from("/t/.", out, archive=archive)
    assert stat.S_IMODE((out / "d").stat().st_mode) == 0o710
    assert stat.S_IMODE((out / "d" / "own").stat().st_mode) == (0o6755 if archive else 0o755)
    assert [warning.code for warning in done.warnings] == ([] if archive else ["metadata"])
    assert os.listdir(out) == ["d"] and os.listdir(out / "d") == ["own"]


@pytest.mark.vm
def test_what_is_replaced_stays_until_the_new_one_is_complete(box: coble.Engine) -> None:
    whole = tar_of(("file", b"n" * 300_000))
    with container_of(box, True, SETUP) as container:
        with pytest.raises(coble.CobleError):
            container.put_archive("/dst", whole[:200_000])
        assert container.read_file("/dst/file") == b"old\n"
        assert sorted(entry.name for entry in container.list_files("/dst")) == ["deep", "dir", "file", "todir", "tofile", "tonothing"]
        container.put_archive("/dst", whole)
        assert container.read_file("/dst/file") == b"n" * 300_000


@pytest.mark.vm
@pytest.mark.parametrize("restarts", [False, True])
def test_a_copy_ends_with_the_run_that_it_goes_to(box: coble.Engine, restarts: bool) -> None:
    """Otherwise it would keep the root of that run mounted, over the directories that the next one has, too."""
    options: dict[str, object] = {"restart_policy": "always"} if restarts else {}
    first_run = "echo run >> /runs; if [ ! -e /go ]; then echo ready; while [ ! -e /go ]; do sleep 0.05; done; exit 1; fi"
    with container_of(box, True, first_run, **options) as container:
        read, write = os.pipe()
        failed: list[BaseException] = []

        def put() -> None:
            try:
                container.put_archive("/", read)
            except coble.CobleError as error:
                failed.append(error)

        copying = threading.Thread(target=put)
        copying.start()
        try:
            # A directory that came says that it has begun. The worker waits for the rest of the file.
            with open(write, "wb", closefd=False) as pipe:
                pipe.write(tar_of(("begun", None), ("file", b"x" * (1 << 20)))[: 1 << 20])
            eventually(lambda: any(entry.name == "begun" for entry in container.list_files("/")), "the first entry")
            # Which may be told of the end that it brings about itself.
            with contextlib.suppress(coble.InvalidStateError):
                container.write_file("/go", b"")
            copying.join(60)
            assert not copying.is_alive()
            (error,) = failed
            assert isinstance(error, coble.InvalidStateError), error
        finally:
            os.close(write)
            copying.join()
            os.close(read)
        if not restarts:
            container.wait()
            container.start()
        else:
            eventually(lambda: container.inspect().restart_count == 1 and container.state == "running", "the restart")
        eventually(lambda: container.read_file("/runs") == b"run\nrun\n", "the second run")


@pytest.mark.vm
def test_a_start_waits_for_those_who_still_write(box: coble.Engine) -> None:
    with container_of(box, False) as container:
        container.write_file("/new", b"")
        lock = os.open(Path(box.info().data_root) / "containers" / container.id / "writers", os.O_RDWR)
        # As one that was stopped by a debugger and has not noticed the end.
        fcntl.flock(lock, fcntl.LOCK_SH)
        begin = time.monotonic()
        timer = threading.Timer(1, os.close, [lock])
        timer.start()
        container.start()
        assert time.monotonic() - begin > 0.9
        timer.join()


@pytest.mark.vm
def test_what_is_mounted_counts_while_it_runs(box: coble.Engine) -> None:
    with container_of(box, True) as container:
        assert container.read_file("/etc/hosts").startswith(b"127.0.0.1")
        # The kernel's own file systems are not there, and so nothing of them is written.
        for path in ["/proc", "/sys", "/dev"]:
            assert container.list_files(path) == []
        with pytest.raises(coble.PathNotFoundError):
            container.write_file("/proc/self/comm", b"x")
        with pytest.raises(coble.InvalidStateError, match="mounted"):
            container.write_file("/etc/hosts", b"x")


@pytest.mark.vm
@pytest.mark.parametrize("running", [False, True], ids=["stopped", "running"])
def test_a_read_only_root_stays_as_it_is(box: coble.Engine, source: Path, running: bool) -> None:
    with container_of(box, running, read_only=True) as container:
        for attempt in [
            lambda: container.copy_to(source / "one", "/x"),
            lambda: container.put_archive("/", tar_of(("x", b""))),
            lambda: container.write_file("/x", b""),
        ]:
            with pytest.raises(coble.InvalidStateError, match="read-only"):
                attempt()
        assert "x" not in {entry.name for entry in container.list_files("/")}


@pytest.mark.vm
def test_a_paused_container(box: coble.Engine, source: Path) -> None:
    with container_of(box, True) as container:
        try:
            container.pause()
        except coble.UnsupportedError:
            pytest.skip("no freezer for this user")
        container.copy_to(source / "one", "/while-paused")
        assert container.read_file("/while-paused") == b"one\n" and container.state == "paused"


SWAPPER = """
mkdir -p /real/dir /w; echo inside > /real/dir/file; ln -s / /w/link
echo ready
while :; do
    mv /w/place /w/b 2>/dev/null; ln -s ../../../../../../../../.. /w/a; mv /w/a /w/place; rm -f /w/place
    cp -r /real/dir /w/place; rm -rf /w/place; ln -s {canary} /w/place; rm -f /w/place
    ln -s /proc/1/root /w/place; rm -f /w/place
done
"""


@pytest.mark.vm
@pytest.mark.parametrize("place", ["root", "bind", "tmpfs"])
def test_a_container_that_swaps_links_gets_nothing_of_the_host(box: coble.Engine, canary: Path, source: Path, tmp_path: Path, place: str) -> None:
    """SEC-80 (CVE-2018-15664 and its kin): whatever a path of the container becomes while files are copied, nothing of the host is read or written."""
    shared = tmp_path / "shared"
    shared.mkdir()
    options: dict[str, Any] = {"bind": {"volumes": [f"{shared}:/w"]}, "tmpfs": {"tmpfs": ["/w"]}, "root": {}}[place]
    secret = (canary / "file").read_bytes()
    with container_of(box, True, SWAPPER.replace("{canary}", str(canary)).replace("echo ready\n", "", 1).replace("while", "echo ready\nwhile", 1).replace("exec sleep 1000", ""), **options) as container:
        begin = time.monotonic()
        done = 0
        # On a slow machine for longer, until one of them got through.
        while time.monotonic() - begin < (4 if done else 60):
            for attempt in [
                lambda: container.copy_to(source / "one", "/w/place/file"),
                lambda: container.copy_to(source / "tree/.", "/w/place"),
                lambda: container.put_archive("/w", tar_of(("place/file", b"overwritten"), ("place/etc/x", b""))),
                lambda: container.write_file("/w/place/file", b"overwritten"),
            ]:
                with contextlib.suppress(coble.CobleError):
                    attempt()
                    done += 1
            with contextlib.suppress(coble.CobleError):
                assert container.read_file("/w/place/file") != secret
            out = tmp_path / "out"
            with contextlib.suppress(coble.CobleError):
                container.copy_from("/w/place/.", out)
                assert not any(path.read_bytes() == secret for path in out.rglob("file") if path.is_file() and not path.is_symlink())
            subprocess.run(["rm", "-rf", out], check=True)
        assert container.state == "running"
        assert done > 0


@pytest.mark.root
@pytest.mark.vm
def test_nothing_of_the_container_is_run(box: coble.Engine) -> None:
    """CVE-2019-14271: programs and libraries of the container that a helper might use are traps."""
    names = "xz unxz gzip unpigz pigz tar zstd bzip2"
    trap = "#!/bin/sh\\necho caught >> /caught\\n"
    script = f"for n in {names}; do printf '{trap}' > /bin/$n.t; chmod 755 /bin/$n.t; rm -f /bin/$n; mv /bin/$n.t /bin/$n; done; mkdir -p /lib/x86_64-linux-gnu; for n in files dns compat; do echo trap > /lib/x86_64-linux-gnu/libnss_$n.so.2; done"
    import lzma

    with container_of(box, True, script) as container:
        container.put_archive("/", lzma.compress(tar_of(("x", b"1"))))
        container.write_file("/y", b"", user="alice")
        assert container.read_file("/x") == b"1"
        with pytest.raises(coble.PathNotFoundError):
            container.read_file("/caught")


@pytest.mark.root
def test_out_of_a_hostile_container(box: coble.Engine, tmp_path: Path, canary: Path) -> None:
    """Devices, set-id programs and links of a container do the host no harm."""
    script = f"mkdir -p /t/d; mknod /t/null c 1 3; echo s > /t/setid; chown 1000 /t/setid; chmod 4755 /t/setid; ln -s {canary} /t/out; mkfifo /t/fifo; echo x > /t/d/x; ln /t/d/x /t/hard"
    with container_of(box, True, script) as container:
        out = tmp_path / "o"
        done = container.copy_from("/t", out)
        assert sorted(os.listdir(out)) == ["d", "fifo", "hard", "out", "setid"]
        assert {warning.code for warning in done.warnings} == {"device", "metadata"}
        assert stat.S_IMODE((out / "setid").stat().st_mode) == 0o755
        assert (out / "hard").stat().st_ino == (out / "d" / "x").stat().st_ino
        # A second copy replaces the link to the canary by what is a directory now.
        container.exec(["sh", "-c", "rm /t/out; mkdir /t/out; echo bad > /t/out/file"], check=True)
        with pytest.raises(coble.InvalidStateError):
            container.copy_from("/t/.", out)


@pytest.mark.vm
def test_a_large_file_both_ways(box: coble.Engine, tmp_path: Path) -> None:
    """200 MB of data and 1 TB of hole, in and out, in a bounded memory."""
    big = tmp_path / "big"
    with big.open("wb") as file:
        for _ in range(25):
            file.write(os.urandom(1 << 20))
        file.truncate(1 << 40)
    before = peak()
    with container_of(box, True) as container:
        container.copy_to(big, "/big")
        assert container.list_files("/")[[entry.name for entry in container.list_files("/")].index("big")].size == 1 << 40
        container.copy_from("/big", tmp_path / "back")
        assert (tmp_path / "back").stat().st_size == 1 << 40 and (tmp_path / "back").stat().st_blocks * 512 < 100 << 20
        subprocess.run(["cmp", "-n", str(26 << 20), big, tmp_path / "back"], check=True)
    assert peak() - before < 64 << 20


def peak() -> int:
    text = Path("/proc/self/status").read_text()
    return int(text.split("VmHWM:")[1].split()[0]) << 10


@pytest.mark.vm
def test_a_copy_can_be_cancelled(box: coble.Engine) -> None:
    import asyncio

    async def main() -> None:
        async with coble.aio.Engine(data_root=box.info().data_root, run_root=box.info().run_root) as engine:
            container = await engine.containers.create("box", ["true"])
            read, write = os.pipe()
            try:
                task = asyncio.create_task(container.put_archive("/", read))
                await asyncio.sleep(0.3)
                task.cancel()
                begin = time.monotonic()
                with pytest.raises(asyncio.CancelledError):
                    await task
                assert time.monotonic() - begin < 10
                await container.write_file("/after", b"works")
                assert await container.read_file("/after") == b"works"
            finally:
                os.close(read)
                os.close(write)
                await container.remove(force=True)

    asyncio.run(main())


def test_copy_needs_a_container_that_is_there(box: coble.Engine, source: Path) -> None:
    container = box.containers.create("box", ["true"])
    container.remove()
    calls: list[Callable[[], object]] = [lambda: container.copy_to(source / "one", "/"), lambda: container.write_file("/x", b""), lambda: container.list_files("/")]
    for call in calls:
        with pytest.raises(coble.ContainerNotFoundError):
            call()


def test_the_command(box: coble.Engine, store: object, source: Path, tmp_path: Path) -> None:
    """`coble cp` with docker's flags and words."""
    from test_command import Command

    command = Command(store)  # type: ignore[arg-type]
    with container_of(box, False, SETUP, name="c"):
        command.good("cp", f"{source}/tree/.", "c:/dst/new")
        command.good("cp", "-L", f"{source}/linkone", "c:/dst/")
        command.good("cp", "-a", "-q", str(source / "one"), "c:dst/relative")
        command.good("container", "cp", "c:/dst/new", str(tmp_path / "out"))
        assert (tmp_path / "out" / "sub" / "deep").read_text() == "deep\n"
        packed = command("cp", "c:/dst/new", "-")
        assert packed.returncode == 0
        assert command("cp", "-", "c:/dst/dir", data=packed.stdout).returncode == 0
        assert b"deep\n" in command("cp", "c:/dst/dir/new/sub/deep", "-").stdout
        said = command("cp", "--quiet=false", str(source / "one"), "c:/dst/x")
        assert said.returncode == 0 and said.stderr.startswith(b"Successfully copied ") and said.stderr.endswith(b" to c:/dst/x\n") and not said.stdout
        for arguments in (["a:/x", "b:/x"], ["/x", "/y"], ["-", "-"], ["none:/x", "-"], [str(source / "none"), "c:/"], [str(source / "one"), "c:/none/x"]):
            failed = command("cp", *arguments, data=b"")
            assert failed.returncode == 125 and failed.stderr and not failed.stdout, arguments
