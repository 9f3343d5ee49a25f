"""What `diff` tells of a container and what `export` writes of it, case by case, by docker's rules.

Docker's letters: A for what was added, C for what was changed, D for what was deleted. Two things are told better than docker and podman do it: a directory that was removed and made again is changed, and what
is missing in it is deleted, where they say that it was deleted as a whole; and the directories above what was changed are told, too, which they do only for what was added or deleted.
"""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator
from pathlib import Path

import coble
import pytest
from conftest import MODE, Assets, Store

LETTERS = {"added": "A", "changed": "C", "deleted": "D"}

#: What is done, and what has become of paths below `/t`.
CASES: dict[str, tuple[str, str]] = {
    "nothing": ("true", ""),
    "content": ("echo x >> dir/a", "C dir, C dir/a"),
    "the same content": ("cp dir/a /tmp/a; cat /tmp/a > dir/a; rm /tmp/a", "C dir, C dir/a"),
    "new files": ("echo x > dir/new; mkdir dir/d; echo x > dir/d/e", "C dir, A dir/d, A dir/d/e, A dir/new"),
    "removed files": ("rm dir/a; rm -r dir/sub", "C dir, D dir/a, D dir/sub"),
    "all that is in a directory": ("rm -r dir/* ", "C dir, D dir/a, D dir/b, D dir/sub"),
    "made and removed": ("echo > dir/gone; rm dir/gone", "C dir"),
    "mode of a file": ("chmod 600 dir/a", "C dir, C dir/a"),
    "mode of a directory": ("chmod 700 dir", "C dir"),
    "time of a file": ("touch -d @2000 dir/b", "C dir, C dir/b"),
    "time of a directory": ("touch -d @2000 dir/sub", "C dir, C dir/sub"),
    "read only": ("cat dir/a > /dev/null; ls dir/sub > /dev/null", ""),
    "a file that became a directory": ("rm file; mkdir file", "C file"),
    "a file that became a directory with a file": ("rm file; mkdir file; echo > file/new", "C file, A file/new"),
    "a directory that became a file": ("rm -r dir; echo x > dir", "C dir"),
    "a file that became a pipe": ("rm file; mkfifo file", "C file"),
    "another link": ("rm link; ln -s other link", "C link"),
    "through a link": ("echo x >> link", "C dir, C dir/a"),
    "removed and made again": ("rm -r opaque; mkdir opaque; echo n > opaque/new", "C opaque, D opaque/deep, A opaque/new, D opaque/one"),
    "made again with the same names": ("rm -r opaque; mkdir -p opaque/deep; echo x > opaque/one", "C opaque, C opaque/deep, D opaque/deep/two, C opaque/one"),
    "moved file": ("mv file dir/file", "C dir, A dir/file, D file"),
    "renamed directory": ("mv moved renamed", "D moved, A renamed, A renamed/x, A renamed/x/y"),
    "moved directory": ("mv moved/x dir/x", "C dir, A dir/x, A dir/x/y, C moved, D moved/x"),
    "renamed there and back": ("mv dir/a dir/z; mv dir/z dir/a", "C dir, C dir/a"),
    "new hard link": ("ln file hard", "C file, A hard"),
    "content of one of two hard links": ("echo x >> one", "C one"),
    "one of two hard links": ("rm one", "D one"),
    "a link to a new file": ("echo x > new; ln new newer", "A new, A newer"),
    "a pipe": ("mkfifo pipe", "A pipe"),
    "names with odd bytes": ("echo > 'a b'; echo > \"$(printf 'l\\303\\251')\"", "A a b, A l\u00e9"),
}
OWNED = {
    "owner of a file": ("chown 5:6 file", "C file"),
    "owner of a directory": ("chown 5:6 dir", "C dir"),
}
#: In a single-id user namespace nobody can give files away.
ALL = CASES if MODE == "single" else {**CASES, **OWNED}


@pytest.fixture(scope="module")
def based(workplace: Path, assets: Assets, tmp_path_factory: pytest.TempPathFactory) -> Iterator[coble.Engine]:
    """An engine with the image `based`, which has something below `/t`."""
    path = tmp_path_factory.mktemp("based") / "based.tar"
    with tarfile.open(path, "w") as archive, tarfile.open(assets.busybox) as box:
        for member in box:
            archive.addfile(member, box.extractfile(member) if member.isreg() else None)

        def add(name: str, kind: bytes, content: bytes = b"", link: str = "") -> None:
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname, entry.size, entry.mtime = kind, link, len(content), 1000
            entry.mode = 0o755 if kind == tarfile.DIRTYPE else 0o644
            archive.addfile(entry, io.BytesIO(content))

        for name in ("t", "t/dir", "t/dir/sub", "t/opaque", "t/opaque/deep", "t/moved", "t/moved/x"):
            add(name, tarfile.DIRTYPE)
        for name in ("t/dir/a", "t/dir/b", "t/dir/sub/c", "t/opaque/one", "t/opaque/deep/two", "t/moved/x/y", "t/file", "t/one"):
            add(name, tarfile.REGTYPE, b"content\n")
        add("t/other", tarfile.LNKTYPE, link="t/one")
        add("t/link", tarfile.SYMTYPE, link="dir/a")
    with Store(workplace / "based-data", workplace / "based-run").engine() as engine:
        engine.images.import_rootfs(path, "based")
        yield engine


@pytest.mark.parametrize("case", ALL)
def test_diff_and_export(based: coble.Engine, tmp_path: Path, case: str) -> None:
    script, expected = ALL[case]
    # What the container sees itself is what its export has to show.
    show = 'find . | sort | while read -r name; do stat -c "%F|%a|%u|%g|%Y|%i|%n" "$name"; done'
    container = based.containers.create("based", ["sh", "-ec", f"cd /t; {script}; {show}"])
    container.start()
    assert container.wait(timeout=60) == 0
    with container.logs() as records:
        seen = b"".join(record.data for record in records).decode().splitlines()
    found = {change.path.removeprefix("/t/"): LETTERS[change.kind] for change in container.diff() if change.path.startswith("/t/")}
    assert [f"{letter} {path}" for path, letter in sorted(found.items())] == sorted(expected.split(", ") if expected else [], key=lambda entry: entry[2:])
    top = [change for change in container.diff() if change.path == "/t"]
    assert [change.kind for change in top] == (["changed"] if found else [])

    container.export(tmp_path / "export.tar")
    kinds = {tarfile.DIRTYPE: "directory", tarfile.REGTYPE: "regular file", tarfile.LNKTYPE: "regular file", tarfile.SYMTYPE: "symbolic link", tarfile.FIFOTYPE: "fifo"}
    with tarfile.open(tmp_path / "export.tar") as archive:
        members = {member.name.rstrip("/"): member for member in archive if member.name.startswith("t/")}
        linked: dict[str, int] = {}
        for member in members.values():
            if member.islnk():
                linked[member.linkname] = linked.get(member.linkname, 1) + 1
        shown = []
        for member in members.values():
            count = linked.get(member.linkname if member.islnk() else member.name, 1)
            kind = "regular empty file" if member.isreg() and not member.size else kinds[member.type]
            shown.append((kind, f"{member.mode:o}", str(member.uid), str(member.gid), str(int(member.mtime)), count, member.name.removeprefix("t/")))
        assert not [name for name in archive.getnames() if Path(name).name.startswith(".wh.")]
        # What is mounted is not part of it.
        assert [name for name in archive.getnames() if name.startswith(("proc/", "sys/", "dev/")) and name not in ("proc/", "sys/", "dev/")] == []
    # Of a link that an overlay has broken up, the kernel's count still speaks of both names.
    lines = [line.split("|", 6) for line in seen]
    inodes = [line[5] for line in lines]
    # A link to a file of the image is one, but an overlay of an ordinary user may go on showing the number that the file had before.
    linked_now = ("./file", "./hard") if case == "new hard link" else ()
    told = [
        (kind, mode, uid, gid, mtime, 2 if name in linked_now else inodes.count(inode), name.removeprefix("./"))
        for kind, mode, uid, gid, mtime, inode, name in lines
        if name != "."
    ]
    assert sorted(shown) == sorted(told)
    container.remove()
