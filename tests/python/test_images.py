"""Images: load from what other tools write, import, make from the host, name, list, inspect, remove."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import sqlite3
import stat
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any

import archives
import coble
import pytest
from conftest import MODE, Assets, Store
from helpers import eventually, wait_for_output
from test_command import Command

needs_skopeo = pytest.mark.skipif(shutil.which("skopeo") is None, reason="needs skopeo; the suite on a full host has it")


# --- what other tools write -----------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def layout(tmp_path_factory: pytest.TempPathFactory, assets: Assets) -> Path:
    """An OCI layout of two layers, written by the tests."""
    folder = tmp_path_factory.mktemp("layout") / "oci"
    upper = archives.tar(archives.file("upper", b"from the upper layer\n"), archives.file("home/.wh.alice"), archives.file("etc/hosts.new", b"x"))
    archives.write_oci_layout(folder, archives.Image([assets.busybox.read_bytes(), upper], {"Cmd": ["cat", "/upper"], "Env": ["PATH=/bin"]}, "two:1"))
    return folder


def skopeo(*arguments: str) -> None:
    environment = {**os.environ, "XDG_RUNTIME_DIR": os.environ.get("TMPDIR", "/tmp")}
    subprocess.run(["skopeo", "--insecure-policy", *arguments], check=True, stdout=subprocess.DEVNULL, env=environment)


@needs_skopeo
@pytest.mark.parametrize("compression", ["gzip", "zstd", None])
@pytest.mark.parametrize("form", ["oci", "oci-archive", "docker-archive"])
def test_what_skopeo_writes(engine: coble.Engine, layout: Path, tmp_path: Path, form: str, compression: str | None) -> None:
    if form == "docker-archive" and compression == "zstd":
        pytest.skip("skopeo writes docker-archives with plain layers only")
    target = tmp_path / "written"
    options = ["--dest-compress", "--dest-compress-format", compression] if compression and form != "docker-archive" else []
    name = "localhost/two:1" if form == "docker-archive" else "two:1"
    skopeo("copy", *options, f"oci:{layout}:two:1", f"{form}:{target}:{name}")
    (image,) = engine.images.load(target)
    assert len(image.references) == 1
    done = engine.run(image.references[0])
    assert done.stdout == b"from the upper layer\n"
    assert engine.run(image.id, ["ls", "/home"]).stdout == b""
    details = engine.images.inspect(image.id)
    assert len(details.layers) == 2


@pytest.mark.skipif(shutil.which("podman") is None or MODE != "root", reason="needs podman as root; the suite that root runs has it")
@pytest.mark.parametrize("form", ["oci-archive", "docker-archive"])
def test_what_podman_writes(engine: coble.Engine, layout: Path, tmp_path: Path, form: str) -> None:
    # Its run root may have 50 characters at most.
    run_root = tempfile.mkdtemp(dir="/tmp")
    podman = ["podman", "--root", str(tmp_path / "podman"), "--runroot", run_root, "--storage-driver", "vfs"]
    loaded = subprocess.run([*podman, "pull", "-q", f"oci:{layout}:two:1"], check=True, stdout=subprocess.PIPE, text=True).stdout.strip()
    subprocess.run([*podman, "tag", loaded, "localhost/of-podman:2"], check=True)
    subprocess.run([*podman, "save", "-q", "--format", form, "-o", tmp_path / "saved", "localhost/of-podman:2"], check=True)
    (image,) = engine.images.load(tmp_path / "saved")
    assert engine.run("localhost/of-podman:2").stdout == b"from the upper layer\n"
    assert engine.images.get("localhost/of-podman:2").id == image.id
    shutil.rmtree(run_root)


def test_several_images_in_one_archive(engine: coble.Engine, assets: Assets, tmp_path: Path) -> None:
    base = assets.busybox.read_bytes()
    images = [archives.Image([base], {"Cmd": ["echo", str(number)]}, f"several:{number}") for number in range(3)]
    (tmp_path / "docker.tar").write_bytes(archives.docker_archive(*images))
    assert len(engine.images.load(tmp_path / "docker.tar")) == 3
    assert [engine.run(f"several:{number}").stdout for number in range(3)] == [b"0\n", b"1\n", b"2\n"]
    archives.write_oci_archive(tmp_path / "oci.tar", *(archives.Image([base], {"Cmd": ["echo", f"o{n}"]}, f"oci:{n}") for n in range(2)))
    assert len(engine.images.load(tmp_path / "oci.tar")) == 2
    assert engine.run("oci:1").stdout == b"o1\n"


@pytest.mark.parametrize("whole", ["gzip", "zstd"])
def test_an_archive_that_is_compressed_as_a_whole(engine: coble.Engine, assets: Assets, tmp_path: Path, whole: str) -> None:
    plain = archives.docker_archive(archives.Image([assets.busybox.read_bytes()], {"Cmd": ["echo", "x"]}, "whole:1"))
    (tmp_path / "image.tar").write_bytes(archives.compress(plain, whole))
    engine.images.load(tmp_path / "image.tar")
    assert engine.run("whole:1").stdout == b"x\n"


def test_load_from_a_pipe(engine: coble.Engine, assets: Assets) -> None:
    data = archives.docker_archive(archives.Image([assets.busybox.read_bytes()], {"Cmd": ["echo", "x"]}, "piped:1"))
    read, write = os.pipe()

    def feed() -> None:
        with os.fdopen(write, "wb") as file:
            file.write(data)

    thread = threading.Thread(target=feed)
    thread.start()
    with os.fdopen(read, "rb") as file:
        engine.images.load(file)
    thread.join()
    assert engine.run("piped:1").stdout == b"x\n"


def test_loading_twice_is_once(engine: coble.Engine, layout: Path, store: Store) -> None:
    (first,) = engine.images.load(layout)
    blobs = sorted(os.listdir(store.data_root / "content/blobs/sha256"))
    (second,) = engine.images.load(layout)
    assert first.id == second.id and len(engine.images.list()) == 1
    assert sorted(os.listdir(store.data_root / "content/blobs/sha256")) == blobs


@needs_skopeo
def test_other_tools_read_the_store(engine: coble.Engine, layout: Path, store: Store) -> None:
    """`content/` is an OCI image layout."""
    (image,) = engine.images.load(layout)
    engine.images.tag(image.id, "docker.io/library/another:9")
    content = store.data_root / "content"
    index = json.loads((content / "index.json").read_text())
    names = {manifest["annotations"]["org.opencontainers.image.ref.name"] for manifest in index["manifests"] if "annotations" in manifest}
    assert len(names) == 2
    for name in names:
        text = subprocess.run(
            ["skopeo", "--insecure-policy", "inspect", "--raw", f"oci:{content}:{name}"], check=True, stdout=subprocess.PIPE, text=True
        ).stdout
        assert len(json.loads(text)["layers"]) == 2
    engine.images.remove(image.id, force=True)
    assert json.loads((content / "index.json").read_text())["manifests"] == []


# --- import ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("compression", ["plain", "gzip", "zstd", "xz", "bzip2"])
def test_import(engine: coble.Engine, assets: Assets, tmp_path: Path, compression: str) -> None:
    (tmp_path / "root.tar").write_bytes(archives.compress(assets.busybox.read_bytes(), compression))
    image = engine.images.import_rootfs(
        tmp_path / "root.tar", "imported:1", command=["sh", "-c", "echo $A; pwd"], environment={"A": "b"}, working_dir="/tmp", labels={"k": "v"}
    )
    assert image.labels == {"k": "v"}
    assert (image.architecture, image.os) == ("amd64", "linux")
    assert engine.run("imported:1").stdout == b"b\n/tmp\n"


@pytest.mark.once
def test_import_with_changes_platform_and_no_name(engine: coble.Engine, assets: Assets, store: Store) -> None:
    changes = [
        'CMD ["x"]', 'ENTRYPOINT ["/bin/sh", "-c"]', "ENV B=2", "EXPOSE 80 53/udp", "VOLUME /data", "STOPSIGNAL SIGINT", "HEALTHCHECK --retries=2 CMD true", "ONBUILD RUN true",
        "LABEL k=changed", "USER 1:2", "WORKDIR sub",
    ]
    options: dict[str, Any] = {"environment": {"A": "1"}, "labels": {"k": "v"}, "working_dir": "/srv", "author": "somebody", "message": "said", "changes": changes}
    image = engine.images.import_rootfs(assets.busybox, platform="linux/arm/v7", **options)
    assert (image.references, image.architecture, image.variant, image.labels) == ([], "arm", "v7", {"k": "changed"})
    config = image.inspect().config
    assert config["author"] == "somebody" and [step["comment"] for step in config["history"]] == ["said"]
    assert config["config"] == {
        "User": "1:2", "Env": ["A=1", "B=2"], "Entrypoint": ["/bin/sh", "-c"], "Cmd": ["x"], "WorkingDir": "/srv/sub", "Labels": {"k": "changed"}, "StopSignal": "SIGINT",
        "ExposedPorts": {"80/tcp": {}, "53/udp": {}}, "Volumes": {"/data": {}}, "OnBuild": ["RUN true"], "Healthcheck": {"Retries": 2, "Test": ["CMD-SHELL", "true"]},
    }
    docker = image.inspect_docker()
    assert (docker["Author"], docker["Comment"], docker["Variant"], docker["RepoTags"]) == ("somebody", "said", "v7", [])
    made = engine.images.from_host(["true"], changes=["EXPOSE 443"], author="me")
    assert made.references == [] and made.inspect_docker()["Config"]["ExposedPorts"] == {"443/tcp": {}} and made.inspect().config["author"] == "me"
    # What is wrong shows before anything is read, and nothing is fetched.
    before = len(engine.images.list())
    for wrong in ({"changes": ["RUN true"]}, {"changes": ["EXPOSE x"]}, {"platform": "a/b/c/d"}):
        with pytest.raises(coble.InvalidArgumentError):
            engine.images.import_rootfs("/nowhere", "x", **wrong)  # type: ignore[arg-type]
    with pytest.raises(coble.InvalidArgumentError) as refused:
        engine.images.import_rootfs("https://example.com/rootfs.tar", "x")
    assert "fetch it first" in str(refused.value.hint)
    command = Command(store)
    shown = command.good("import", "-c", "EXPOSE 81", "--author", "she", "--platform", "linux/arm64", str(assets.busybox)).strip()
    (found,) = json.loads(command.good("image", "inspect", shown))
    assert (found["Author"], found["Architecture"], found["Config"]["ExposedPorts"], found["RepoTags"]) == ("she", "arm64", {"81/tcp": {}}, [])
    assert len(engine.images.list()) == before + 1


def test_no_decoder_of_the_host_is_run(engine: coble.Engine, assets: Assets, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SEC-81, SEC-131: archives are decompressed by coble itself."""
    (tmp_path / "bin").mkdir()
    for name in ("gzip", "gunzip", "unpigz", "pigz", "xz", "unxz", "zstd", "unzstd", "bzip2", "bunzip2", "tar", "sh"):
        (tmp_path / "bin" / name).write_text(f"#!/bin/sh\necho ran > {tmp_path}/ran\nexit 1\n")
        (tmp_path / "bin" / name).chmod(0o755)
    archived = {how: archives.compress(assets.busybox.read_bytes(), how) for how in ("gzip", "zstd", "xz", "bzip2")}
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    for how, data in archived.items():
        (tmp_path / how).write_bytes(data)
        engine.images.import_rootfs(tmp_path / how, f"{how}:1")
    assert not (tmp_path / "ran").exists()


def test_import_of_odd_but_valid_archives(engine: coble.Engine, tmp_path: Path, assets: Assets) -> None:
    """Leading slash, `./`, parents that are missing, a name twice, long and non-UTF-8 names, sparse files, hard links."""
    program = next(Path(name).read_bytes() for name in ("/bin/busybox", "/usr/bin/busybox") if os.path.exists(name))
    long = b"long/" + b"/".join([b"n" * 200] * 3)
    entries = [
        archives.file("./bin/busybox", program, mode=0o755),
        archives.symlink("bin/sh", "busybox"),
        archives.file("/absolute", b"absolute"),
        archives.file("missing/parents/file", b"deep"),
        archives.file("twice", b"first"),
        archives.file("twice", b"second"),
        archives.file(long, b"long name"),
        archives.file(b"not-utf8-\xff", b"raw"),
        archives.hardlink("linked", "bin/busybox"),
        archives.file("setuid", b"x", mode=0o4755),
        archives.directory("sticky/", mode=0o1777),
    ]
    (tmp_path / "odd.tar").write_bytes(archives.tar(*entries))
    engine.images.import_rootfs(tmp_path / "odd.tar", "odd:1")
    script = (
        "cd /; /bin/busybox cat absolute missing/parents/file twice; /bin/busybox cat long/*/*/*; /bin/busybox cat not-utf8-*; "
        "/bin/busybox stat -c ' %a' setuid sticky; [ bin/busybox -ef linked ] && echo same"
    )
    assert engine.run("odd:1", ["/bin/sh", "-c", script]).stdout == b"absolutedeepsecondlong nameraw 4755\n 1777\nsame\n"


def test_what_cannot_be_kept_is_told_once(engine: coble.Engine, tmp_path: Path) -> None:
    tar = tmp_path / "rootfs.tar"
    tar.write_bytes(
        archives.tar(
            archives.directory("d/"),
            archives.entry("d/null", type=archives.CHAR, major=1, minor=3),
            archives.entry("d/file", b"x", records={"SCHILY.xattr.trusted.overlay.redirect": b"/etc"}),
        )
    )
    image = engine.images.import_rootfs(tar, "odd")
    messages = {warning.code: warning.message for warning in image.warnings}
    assert "d/file: trusted.overlay.redirect" in messages["metadata"]
    # Only root of the machine may make device nodes.
    assert messages.keys() == ({"metadata"} if MODE == "root" else {"metadata", "device"})
    assert engine.images.get("odd").warnings == []


def test_debian(debian_engine: coble.Engine) -> None:
    done = debian_engine.run("debian", ["sh", "-c", "cat /etc/os-release; id; ls /proc | head"])
    text = done.stdout.decode()
    assert done.exit_code == 0 and done.stderr == b""
    assert "Debian GNU/Linux" in text
    assert "uid=0(root) gid=0(root)" in text
    done = debian_engine.run("debian", ["sh", "-c", "apt-get --version | head -1; perl -e 'print 6*7'; dpkg -s base-files | grep Status"], check=True)
    assert "42Status: install ok installed" in done.stdout.decode()
    assert debian_engine.verify() == []


# --- from the host --------------------------------------------------------------------------------------------------


def test_from_host(engine: coble.Engine) -> None:
    """Named programs with the interpreter and libraries they need."""
    engine.images.from_host(["sh", "cat", "id", "ls", "env"], "host:1", command=["sh"])
    done = engine.run("host:1", ["sh", "-c", "echo hello | cat; id -u; ls /"], check=True)
    assert done.stdout.startswith(b"hello\n0\n")


def test_from_host_with_python(engine: coble.Engine) -> None:
    items = ["/usr/bin/python3"]
    version = next((path for path in Path("/usr/lib").glob("python3.*") if path.is_dir()), None)
    if not os.path.exists("/usr/bin/python3") or version is None:
        pytest.skip("needs Debian's python3")
    engine.images.from_host([*items, str(version)], "python:1")
    done = engine.run("python:1", ["/usr/bin/python3", "-c", "import json, hashlib; print(json.dumps({'a': 1}))"], check=True)
    assert done.stdout == b'{"a": 1}\n'


def test_from_host_files_directories_and_targets(engine: coble.Engine, tmp_path: Path, assets: Assets) -> None:
    (tmp_path / "tree/sub").mkdir(parents=True)
    (tmp_path / "tree/sub/file").write_text("content")
    (tmp_path / "tree/link").symlink_to("sub/file")
    engine.images.from_host([f"{shutil.which('busybox')}:/bin/sh", f"{tmp_path}/tree:/data"], "tree:1")
    assert engine.run("tree:1", ["/bin/sh", "-c", "read x < /data/link; echo $x"]).stdout == b"content\n"


def test_from_host_script(engine: coble.Engine, tmp_path: Path) -> None:
    """A script brings its interpreter."""
    script = tmp_path / "script"
    script.write_text("#!/bin/sh\necho from a script\n")
    script.chmod(0o755)
    engine.images.from_host([f"{script}:/opt/script"], "script:1")
    assert engine.run("script:1", ["/opt/script"]).stdout == b"from a script\n"


def test_from_host_of_what_is_not_there(engine: coble.Engine, tmp_path: Path) -> None:
    for item in ("no-such-program-anywhere", "/no/such/file"):
        with pytest.raises(coble.PathNotFoundError) as caught:
            engine.images.from_host(["sh", item], "absent:1")
        assert item in str(caught.value)
    assert engine.images.list() == []


def test_from_host_missing_library(engine: coble.Engine, tmp_path: Path) -> None:
    """A program whose library the host does not have: said by name, before anything is made."""
    if shutil.which("gcc") is None:
        pytest.skip("needs gcc")
    (tmp_path / "lib.c").write_text("int f(void) { return 0; }")
    (tmp_path / "main.c").write_text("int f(void); int main(void) { return f(); }")
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", "libabsent-of-test.so", "lib.c"], cwd=tmp_path, check=True)
    subprocess.run(["gcc", "-o", "main", "main.c", "-L.", "-labsent-of-test"], cwd=tmp_path, check=True)
    with pytest.raises(coble.CobleError) as caught:
        engine.images.from_host([str(tmp_path / "main")], "absent:1")
    assert "libabsent-of-test.so" in str(caught.value)
    assert engine.images.list() == []


def test_from_host_never_runs_the_programs(engine: coble.Engine, tmp_path: Path, canary: Path) -> None:
    """The interpreter in a program is read, never executed: one that would write to the host is taken as it is."""
    if shutil.which("gcc") is None:
        pytest.skip("needs gcc")
    marker = tmp_path / "ran"
    interpreter = tmp_path / "interpreter"
    (tmp_path / "main.c").write_text("int main(void) { return 0; }")
    interpreter.write_text(f"#!/bin/sh\ntouch {marker}\n")
    interpreter.chmod(0o755)
    subprocess.run(["gcc", "-o", "main", "main.c", f"-Wl,--dynamic-linker={interpreter}"], cwd=tmp_path, check=True)
    try:
        engine.images.from_host([str(tmp_path / "main")], "trap:1")
    except coble.CobleError:
        pass
    assert not marker.exists()


# --- names ----------------------------------------------------------------------------------------------------------


def test_names_and_ids(box: coble.Engine) -> None:
    image = box.images.get("box")
    assert image.references == ["docker.io/library/box:latest"] or "box" in image.references[0]
    for name in ("box", "box:latest", "docker.io/library/box", "docker.io/library/box:latest", image.id, image.id[7:], image.id[7:19], image.id[7:11]):
        assert box.images.get(name).id == image.id, name
    for name in (image.id[7:10], "box:other", "no-such-image", "0" * 64):
        with pytest.raises((coble.ImageNotFoundError, coble.InvalidReferenceError)):
            box.images.get(name)


BAD_REFERENCES = ["", "UPPER", "a:b:c", "a/", "/a", "a//b", "a:", ":a", "-a", "a b", "a\n", "../a", "a@sha256:short", "a" * 300, "a:" + "t" * 129, "ü"]


@pytest.mark.parametrize("reference", BAD_REFERENCES)
def test_references_that_are_none(box: coble.Engine, reference: str) -> None:
    with pytest.raises((coble.InvalidReferenceError, coble.InvalidDigestError)):
        box.images.tag("box", reference)
    assert len(box.images.get("box").references) == 1


@pytest.mark.parametrize("digest", ["sha256:" + "0" * 63, "sha256:" + "g" * 64, "sha256:" + "A" * 64, "sha256:../../x", "md5:" + "0" * 32, "sha256:"])
def test_digests_that_are_none(box: coble.Engine, digest: str) -> None:
    """SEC-14."""
    with pytest.raises((coble.InvalidReferenceError, coble.InvalidDigestError, coble.ImageNotFoundError)):
        box.images.get(digest)
    with pytest.raises((coble.InvalidReferenceError, coble.InvalidDigestError)):
        box.images.get(f"box@{digest}")


def test_tag_untag_remove(box: coble.Engine) -> None:
    identity = box.images.get("box").id
    box.images.tag("box", "localhost:5000/team/other:v1.2_3")
    assert len(box.images.get(identity).references) == 2
    box.images.untag("localhost:5000/team/other:v1.2_3")
    assert len(box.images.get(identity).references) == 1
    with pytest.raises(coble.ImageNotFoundError):
        box.images.untag("localhost:5000/team/other:v1.2_3")
    box.images.untag("box")
    assert box.images.get(identity).references == []
    assert box.run(identity, ["echo", "no name"]).stdout == b"no name\n"
    removed = box.images.remove(identity)
    assert removed.deleted == [identity]
    assert box.images.list() == []


def test_a_tag_moves(engine: coble.Engine, assets: Assets, tmp_path: Path) -> None:
    base = assets.busybox.read_bytes()
    for number in (1, 2):
        (tmp_path / f"{number}.tar").write_bytes(archives.docker_archive(archives.Image([base], {"Cmd": ["echo", str(number)]}, "moves:1")))
        engine.images.load(tmp_path / f"{number}.tar")
    assert engine.run("moves:1").stdout == b"2\n"
    assert sorted(len(image.references) for image in engine.images.list()) == [0, 1]


def test_remove_by_name_keeps_other_names(box: coble.Engine) -> None:
    identity = box.images.get("box").id
    box.images.tag("box", "second")
    removed = box.images.remove("box")
    assert (len(removed.untagged), removed.deleted) == (1, [])
    with pytest.raises(coble.InUseError):
        box.images.tag("second", "third")
        box.images.remove(identity)
    removed = box.images.remove(identity, force=True)
    assert (len(removed.untagged), removed.deleted) == (2, [identity])


def test_an_image_in_use_stays(box: coble.Engine) -> None:
    """By force it loses its names, as docker has it, unless a container runs; a container has its image in any case."""
    identity = box.images.get("box").id
    container = box.containers.create("box", ["sh", "-c", "echo ready; sleep 1000"])
    for name in ("box", identity):
        with pytest.raises(coble.InUseError) as refused:
            box.images.remove(name)
        assert "by force" in str(refused.value.hint)
    container.start()
    wait_for_output(container, b"ready")
    for force in (False, True):
        for name in ("box", identity):
            with pytest.raises(coble.InUseError) as refused:
                box.images.remove(name, force=force)
            assert "stop and remove the container" in str(refused.value.hint)
    assert box.images.get("box").id == identity
    container.kill()
    done: list[coble.Removed] = []

    def forced() -> bool:
        with contextlib.suppress(coble.InUseError):
            done.append(box.images.remove("box", force=True))
        return done != []

    # Nobody waits for its end, or looks for it.
    eventually(forced, "the removal of an image whose container has ended")
    (removed,) = done
    assert ([name.rpartition("/")[2] for name in removed.untagged], removed.deleted) == (["box:latest"], [])
    (image,) = box.images.list(filters={"dangling": True})
    assert (image.id, image.references) == (identity, []) and box.verify() == []
    assert box.images.prune(all=True).deleted == []
    container.start()
    wait_for_output(container, b"ready")
    container.stop(timeout=0)
    # By id, with several names.
    box.images.tag(identity, "one")
    box.images.tag(identity, "two")
    removed = box.images.remove(identity, force=True)
    assert (len(removed.untagged), removed.deleted, image.references) == (2, [], [])
    container.remove()
    assert box.images.prune().deleted == [identity] and box.images.list() == []


#: In a process of its own: two libraries for SQLite in one process take each other's locks away.
RECORDED = "import sqlite3, sys; print(*sqlite3.connect(sys.argv[1]).execute('SELECT state FROM containers WHERE id = ?', sys.argv[2:]).fetchone())"


def test_a_removal_by_force_looks_at_the_containers_of_that_image_alone(box: coble.Engine, store: Store) -> None:
    with box.containers.create("box", ["true"]) as container:
        container.commit("other")
    with box.containers.run("box", ["sleep", "1000"]) as mine, box.containers.run("other", ["sleep", "1000"]) as others:
        for container in (mine, others):
            pid = container.inspect().pid
            assert pid
            os.kill(pid, signal.SIGKILL)
            eventually((store.run_root / "containers" / container.id / "exit").exists, "the end of the monitor")

        def recorded(container: coble.Container) -> str:
            return subprocess.run([sys.executable, "-c", RECORDED, store.data_root / "store.db", container.id], stdout=subprocess.PIPE, check=True, text=True).stdout.strip()

        def forced() -> bool:
            with contextlib.suppress(coble.InUseError):
                box.images.remove("box", force=True)
                return True
            return False

        eventually(forced, "the removal")
        assert (recorded(mine), recorded(others)) == ("exited", "running")
        with pytest.raises(coble.ImageNotFoundError):
            box.images.remove("box", force=True)
        assert others.state == "exited" and recorded(others) == "exited"
        box.images.remove("other", force=True)


def test_removing_frees_what_nobody_shares(engine: coble.Engine, assets: Assets, tmp_path: Path, store: Store) -> None:
    base = assets.busybox.read_bytes()
    for number in (1, 2):
        layers = [base, archives.tar(archives.file("only", str(number).encode() * 100_000))]
        (tmp_path / f"{number}.tar").write_bytes(archives.docker_archive(archives.Image(layers, {"Cmd": ["wc", "-c", "/only"]}, f"shares:{number}")))
        engine.images.load(tmp_path / f"{number}.tar")
    assert [engine.run(f"shares:{number}").stdout for number in (1, 2)] == [b"100000 /only\n"] * 2
    layers_before = set(os.listdir(store.data_root / "layers"))
    engine.images.remove("shares:1")
    assert engine.run("shares:2").stdout == b"100000 /only\n"
    assert len(os.listdir(store.data_root / "layers")) == len(layers_before) - 1
    engine.images.remove("shares:2")
    assert os.listdir(store.data_root / "layers") == []
    assert os.listdir(store.data_root / "content/blobs/sha256") == []


def test_list_and_inspect_and_history(engine: coble.Engine, layout: Path, tmp_path: Path, assets: Assets) -> None:
    (image,) = engine.images.load(layout)
    (listed,) = engine.images.list()
    got = engine.images.get(image.id)
    assert (listed.id, listed.digest, listed.size) == (got.id, got.digest, got.size)
    assert listed.created == "2024-01-02T03:04:05Z"
    assert listed.id.startswith("sha256:") and listed.digest.startswith("sha256:")
    details = engine.images.inspect(image.id)
    assert details.config["config"]["Cmd"] == ["cat", "/upper"]
    assert [layer.digest for layer in details.layers] == [layer["digest"] for layer in details.manifest["layers"]]
    assert [layer.diff_id for layer in details.layers] == details.config["rootfs"]["diff_ids"]
    assert details.layers[0].chain_id == details.layers[0].diff_id
    assert len(engine.images.history(image.id)) >= 0
    docker = image.inspect_docker()
    assert docker == engine.images.inspect_docker(image.id) and docker["Coble"] == details.to_dict()
    assert (docker["Id"], docker["Created"], docker["Os"], docker["RepoDigests"], docker["Parent"]) == (image.id, image.created, "linux", [], "")
    assert docker["Config"] == {
        "Cmd": ["cat", "/upper"], "Entrypoint": None, "Env": None, "Labels": None, "OnBuild": None, "User": "", "Volumes": None, "WorkingDir": "",
        **details.config["config"],
    }
    assert docker["RootFS"] == {"Type": "layers", "Layers": [layer.diff_id for layer in details.layers]}
    assert docker["Descriptor"]["digest"] == image.digest
    # Docker's size is that of the files, not that of what is sent.
    assert docker["Size"] == details.unpacked_size and details.unpacked_size >= assets.busybox.stat().st_size // 2
    engine.images.tag(image, "demo:1")
    engine.images.tag(image, "localhost:5000/demo:1")
    assert image.inspect_docker()["RepoTags"] == ["demo:1", "two:1", "localhost:5000/demo:1"]
    with pytest.raises(coble.ImageNotFoundError):
        engine.images.inspect_docker("nothing")
    engine.images.remove(image.id, force=True)
    history = [{"created_by": "first", "created": "2024-01-01T00:00:00Z"}, {"created_by": "env", "empty_layer": True, "comment": "note"}]
    (tmp_path / "h.tar").write_bytes(archives.docker_archive(archives.Image([assets.busybox.read_bytes()], {}, "h:1", history=history)))
    engine.images.load(tmp_path / "h.tar")
    entries = engine.images.history("h:1")
    assert [(entry.created_by, entry.empty_layer, entry.comment) for entry in entries] == [("env", True, "note"), ("first", False, None)]
    assert entries[0].size == 0 and entries[1].size > 0


# --- store ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("umask", [0o000, 0o077])
def test_modes_in_the_store(store: Store, assets: Assets, umask: int) -> None:
    """SEC-13: whatever the umask, directories are closed to others and state files private."""
    before = os.umask(umask)
    try:
        with store.engine() as engine:
            engine.images.import_rootfs(assets.busybox, "box")
            container = engine.containers.create("box", ["sh", "-c", "echo ready; umask; touch /file; sleep 1000"])
            container.start()
            wait_for_output(container, b"ready")
            problems = []
            for root in (store.data_root, store.run_root):
                assert stat.S_IMODE(root.stat().st_mode) == 0o700, root
                for folder, _, files in os.walk(root):
                    if any(part in folder for part in ("/fs", "/upper", "/work", "/base/")):
                        continue  # what an image or a container owns, behind a directory that nobody can enter
                    if stat.S_IMODE(os.stat(folder).st_mode) & 0o027:
                        problems.append(f"{folder} {os.stat(folder).st_mode:o}")
                    for name in files:
                        mode = os.lstat(os.path.join(folder, name)).st_mode
                        if stat.S_ISREG(mode) and mode & 0o077 and "/blobs/" not in folder:
                            problems.append(f"{folder}/{name} {mode:o}")
            assert problems == []
            # The host's mask is not the container's.
            wait_for_output(container, b"0022")
            container.remove(force=True)
        assert os.umask(umask) == umask
    finally:
        os.umask(before)


def test_a_store_of_a_newer_version(store: Store) -> None:
    store.engine().close()
    database = sqlite3.connect(store.data_root / "store.db")
    database.execute("pragma user_version = 1000000")
    database.commit()
    database.close()
    with pytest.raises(coble.StoreVersionError):
        store.engine()


def test_a_database_that_is_none(store: Store) -> None:
    store.data_root.mkdir(parents=True, mode=0o700)
    (store.data_root / "store.db").write_bytes(b"this is not a database" * 1000)
    with pytest.raises((coble.DatabaseError, coble.StoreVersionError)):
        store.engine()


@pytest.mark.skipif(MODE == "root", reason="root can read everything; the suites of ordinary users have it")
def test_an_unreadable_store(store: Store) -> None:
    store.engine().close()
    store.data_root.chmod(0)
    try:
        with pytest.raises(coble.PermissionDeniedError) as caught:
            store.engine()
        assert isinstance(caught.value, PermissionError)
    finally:
        store.data_root.chmod(0o700)


def test_a_data_root_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(coble.CobleError):
        coble.Engine(data_root=tmp_path / "file", run_root=tmp_path / "run")


def test_a_data_root_through_a_long_path(workplace: Path, assets: Assets) -> None:
    """A control socket has a name of 108 bytes at most; a run root may be longer than that."""
    folder = workplace / ("long-" * 20) / ("path-" * 20)
    made = Store(folder / "data", folder / "run")
    folder.mkdir(parents=True)
    with made.engine() as engine:
        engine.images.import_rootfs(assets.busybox, "box")
        container = engine.containers.create("box", ["sleep", "1000"])
        container.start()
        assert container.exec(["echo", "x"]).stdout == b"x\n"
        container.remove(force=True)


def test_verify_finds_damage(box: coble.Engine, store: Store) -> None:
    blobs = store.data_root / "content/blobs/sha256"
    biggest = max(blobs.iterdir(), key=lambda path: path.stat().st_size)
    content = biggest.read_bytes()
    biggest.chmod(0o600)
    biggest.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    assert box.verify() != []
    biggest.write_bytes(content)
    assert box.verify() == []
