"""What is mounted into a container: directories and files of the host, and file systems in memory."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import tarfile
import textwrap
import threading
from pathlib import Path
from typing import Any

import coble
import pytest
from conftest import IS_ROOT, MODE, Assets, Store
from helpers import eventually, log_bytes, sh

pytestmark = pytest.mark.vm


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A directory of the host with a file and a directory in it."""
    folder = tmp_path / "data"
    (folder / "below").mkdir(parents=True)
    (folder / "file").write_text("from the host\n")
    for path in (tmp_path, folder, folder / "below"):
        path.chmod(0o755)
    return folder


# --- forms ----------------------------------------------------------------------------------------------------------


def forms(data: Path) -> dict[str, dict[str, Any]]:
    return {
        "mapping": {"volumes": {str(data): {"bind": "/data", "mode": "MODE"}}},
        "mapping of paths": {"volumes": {data: {"bind": "/data", "mode": "MODE"}}},
        "list": {"volumes": [f"{data}:/data:MODE"]},
        "mount": {"mounts": [coble.Mount("/data", data, type="bind", read_only=True)]},
        "mount as text": {"mounts": [f"type=bind,src={data},dst=/data,readonly=true"]},
    }


@pytest.mark.parametrize("form", list(forms(Path("/"))))
@pytest.mark.parametrize("mode", ["ro", "rw"])
def test_a_directory(shared: coble.Engine, data: Path, form: str, mode: str) -> None:
    options = forms(data)[form]
    for key, value in options.items():
        text = repr(value).replace("MODE", mode)
        if mode == "rw":
            text = text.replace("readonly=true", "readonly=false")
        if "Mount" not in text:
            options[key] = eval(text, {"PosixPath": Path})  # noqa: S307: our own text
        elif mode == "rw":
            options[key] = [coble.Mount("/data", data, type="bind")]
    done = shared.run("box", ["sh", "-c", "cat /data/file; touch /data/new /data/below/new"], **options)
    assert done.stdout == b"from the host\n"
    written = sorted(path.name for path in data.rglob("new"))
    if mode == "rw":
        assert (done.exit_code, written) == (0, ["new", "new"])
        assert {path.stat().st_uid for path in data.rglob("new")} == {os.geteuid()}
    else:
        assert (done.exit_code, written) == (1, [])
        assert b"Read-only file system" in done.stderr
    assert done.isolation is not None
    (info,) = done.isolation.mounts
    assert (info.target, info.read_only, info.propagation) == ("/data", mode == "ro", "private")


def test_a_target_alone_and_short_forms(shared: coble.Engine, data: Path) -> None:
    assert sh(shared, "cat /data/file", volumes={str(data): "/data"}) == "from the host\n"
    assert sh(shared, "cat /data/file", volumes={str(data): {"bind": "/data"}}) == "from the host\n"
    docker_py = {str(data): {"bind": "/data", "mode": "ro", "propagation": "rprivate"}}
    assert sh(shared, "cat /data/file", volumes=docker_py) == "from the host\n"
    here = os.getcwd()
    os.chdir(data.parent)
    try:
        assert sh(shared, "cat /data/file", volumes=["./data:/data"]) == "from the host\n"
        assert sh(shared, "cat /data/file", mounts=["type=bind,source=./data,destination=/data"]) == "from the host\n"
        # pathlib drops the "./" that would tell it from the name of a volume.
        both = {"volumes": {Path("./data"): "/data"}, "mounts": [coble.Mount("/other", Path("data/below/.."), type="bind")]}
        assert sh(shared, "cat /data/file /other/file", **both) == "from the host\n" * 2
        assert coble.Mount("/x", Path("data")).source == str(data)
    finally:
        os.chdir(here)


@pytest.mark.once
def test_a_path_that_is_taken_for_a_volume(shared: coble.Engine) -> None:
    for mount in (coble.Mount("/data", "/src"), coble.Mount("/data", Path("src")), "src=/src,dst=/data"):
        with pytest.raises(coble.InvalidArgumentError) as caught:
            shared.containers.create("box", mounts=[mount])
        assert 'add type="bind"' in (caught.value.hint or "")


def test_paths_with_odd_characters(shared: coble.Engine, tmp_path: Path) -> None:
    source = tmp_path / 'a, "b":c d\\e'
    source.mkdir()
    (source / "x").write_text("odd\n")
    tmp_path.chmod(0o755)
    assert sh(shared, "cat '/o, dd:/x'", volumes={source: {"bind": "/o, dd:"}}) == "odd\n"
    quoted = str(source).replace('"', '""')
    assert sh(shared, "cat /odd/x", mounts=[f'type=bind,"src={quoted}",dst=/odd']) == "odd\n"


def test_a_file(shared: coble.Engine, data: Path) -> None:
    script = "cat /etc/some/file && echo more >> /etc/some/file && stat -c %F /etc/some/file"
    assert sh(shared, script, volumes=[f"{data}/file:/etc/some/file"]) == "from the host\nregular file\n"
    assert (data / "file").read_text() == "from the host\nmore\n"
    assert sh(shared, "cat /etc/passwd", volumes=[f"{data}/file:/etc/passwd:ro"], user="0").startswith("from the host")


def test_a_socket(shared: coble.Engine, tmp_path: Path) -> None:
    import socket

    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "socket"))
        tmp_path.chmod(0o755)
        assert sh(shared, "stat -c %F /run/it.sock", volumes=[f"{tmp_path}/socket:/run/it.sock"]) == "socket\n"


# --- sources --------------------------------------------------------------------------------------------------------


def test_a_missing_source_is_made_or_refused(shared: coble.Engine, tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    made = tmp_path / "made" / "deep"
    assert sh(shared, "touch /x/y", volumes=[f"{made}:/x"]) == ""
    assert made.is_dir() and (made / "y").exists()
    with pytest.raises(coble.PathNotFoundError) as caught:
        shared.containers.create("box", mounts=[coble.Mount("/x", tmp_path / "none", type="bind")])
    assert str(tmp_path / "none") in str(caught.value)
    assert not (tmp_path / "none").exists()
    sh(shared, "touch /x/y", mounts=[f"type=bind,src={tmp_path}/none,dst=/x,bind-create-src=true"])
    assert (tmp_path / "none" / "y").exists()


def test_a_source_that_goes_before_the_start(shared: coble.Engine, data: Path) -> None:
    container = shared.containers.create("box", ["true"], mounts=[f"type=bind,src={data},dst=/x"])
    data.rename(data.parent / "elsewhere")
    with pytest.raises(coble.PathNotFoundError):
        container.start()
    container.remove()


def test_a_link_as_source_is_followed_by_the_caller(shared: coble.Engine, data: Path) -> None:
    (data.parent / "link").symlink_to("data")
    assert sh(shared, "cat /x/file", volumes=[f"{data.parent}/link:/x"]) == "from the host\n"


def test_links_are_followed_when_a_container_is_made_and_never_again(shared: coble.Engine, data: Path, canary: Path) -> None:
    """A container that may write to the parent of a source cannot lead the next start elsewhere."""
    (data.parent / "link").symlink_to("data")
    script = "cat /x/file; [ -h /p/below ] || { mv /p/below /p/aside && ln -s %s /p/below; }" % canary.parent
    container = shared.containers.create(
        "box", ["sh", "-c", script], volumes=[f"{data.parent}/link:/x", f"{data}:/p", f"{data}/below:/below", f"{data}/below/new/deep:/deep"]
    )
    sources = [mount.source for mount in container.inspect().spec.volumes]
    assert sources == [str(data), str(data), f"{data}/below", f"{data}/below/new/deep"]
    (data.parent / "link").unlink()
    container.start()
    container.wait()
    assert (data / "below").is_symlink() and (data / "aside" / "new" / "deep").is_dir()
    before = sorted(canary.parent.rglob("*"))
    with pytest.raises(coble.InvalidStateError) as caught:
        container.start()
    assert f"{data}/below" in str(caught.value) and caught.value.errno == 40
    assert sorted(canary.parent.rglob("*")) == before, "nothing is made where the link leads"
    (data / "below").unlink()
    (data / "aside").rename(data / "below")
    container.start()
    container.wait()
    container.remove()


def test_a_source_that_is_a_link_to_nothing(shared: coble.Engine, data: Path) -> None:
    (data / "dangling").symlink_to("none")
    for source in (data / "dangling", data / "dangling" / "below"):
        with pytest.raises(coble.PathNotFoundError):
            shared.containers.create("box", ["true"], volumes=[f"{source}:/x"])
    assert not (data / "none").exists()


@pytest.mark.skipif(IS_ROOT, reason="root may enter everything")
def test_what_the_caller_may_not_enter(shared: coble.Engine) -> None:
    with pytest.raises(coble.PermissionDeniedError):
        shared.run("box", ["true"], volumes=["/root/.ssh/x:/x"])


def test_removal_leaves_the_source_alone(shared: coble.Engine, data: Path) -> None:
    container = shared.containers.create("box", ["touch", "/data/new"], volumes=[f"{data}:/data"])
    container.start()
    assert container.wait() == 0
    container.remove()
    assert sorted(os.listdir(data)) == ["below", "file", "new"]


# --- targets --------------------------------------------------------------------------------------------------------


def test_order_is_by_depth(shared: coble.Engine, data: Path) -> None:
    script = "cat /a/b/file; ls -A /a /a/b/c; mount | grep -c ' /a'"
    out = sh(shared, script, mounts=["type=tmpfs,dst=/a/b/c"], volumes=[f"{data}:/a/b"], tmpfs=["/a"])
    assert out.split() == ["from", "the", "host", "/a:", "b", "/a/b/c:", "3"]


def test_our_files_and_the_callers(shared: coble.Engine, data: Path) -> None:
    """A file over one of ours wins; a directory over /etc has ours where it has such files itself, and gets no new ones."""
    assert sh(shared, "cat /etc/hosts", volumes=[f"{data}/file:/etc/hosts"]) == "from the host\n"
    (data / "hosts").write_text("hidden\n")
    out = sh(shared, "cat /etc/hosts; ls /etc", volumes=[f"{data}:/etc"])
    assert "localhost" in out and "hidden" not in out
    assert sorted(os.listdir(data)) == ["below", "file", "hosts"]
    assert (data / "hosts").read_text() == "hidden\n"


def test_dev_and_shm(shared: coble.Engine, data: Path) -> None:
    assert sh(shared, "cat /dev/shm/file; ls /dev/null", volumes=[f"{data}:/dev/shm:ro"]) == "from the host\n/dev/null\n"
    assert "size=1024k" in sh(shared, "grep ' /dev/shm ' /proc/mounts", tmpfs={"/dev/shm": "size=1m"})


REFUSED: list[tuple[dict[str, Any], type[coble.CobleError]]] = [
    ({"volumes": ["/tmp:/"]}, coble.InvalidArgumentError),
    ({"volumes": ["/tmp:/x/../"]}, coble.InvalidArgumentError),
    ({"volumes": ["/tmp:relative"]}, coble.InvalidArgumentError),
    ({"volumes": ["/tmp:/x:ro:rw"]}, coble.InvalidArgumentError),
    ({"volumes": ["/tmp:/x:ro,rw"]}, coble.InvalidArgumentError),
    ({"volumes": ["/tmp:/x:frob"]}, coble.InvalidArgumentError),
    ({"volumes": ["/tmp:/x:rshared,rslave"]}, coble.InvalidArgumentError),
    ({"volumes": [":/x"]}, coble.InvalidArgumentError),
    ({"volumes": ["/tmp\0:/x"]}, coble.InvalidArgumentError),
    ({"volumes": ["/tmp:/x", "/var:/x/"]}, coble.InvalidArgumentError),
    ({"volumes": ["/tmp:/x"], "tmpfs": ["/x"]}, coble.InvalidArgumentError),
    ({"volumes": {"/tmp": {"mode": "ro"}}}, coble.InvalidArgumentError),
    ({"volumes": {"/tmp": {"bind": "/x", "made": "up"}}}, coble.InvalidArgumentError),
    ({"volumes": ["n:/x"]}, coble.InvalidArgumentError),
    ({"volumes": ["name/below:/x"]}, coble.InvalidArgumentError),
    ({"mounts": ["type=volume,src=name,dst=/x,bind-propagation=rslave"]}, coble.InvalidArgumentError),
    ({"mounts": ["type=image,src=box,dst=/x"]}, coble.UnsupportedError),
    ({"mounts": ["type=bind,dst=/x"]}, coble.InvalidArgumentError),
    ({"mounts": ["type=bind,src=/tmp"]}, coble.InvalidArgumentError),
    ({"mounts": ["type=bind,src=tmp,dst=/x"]}, coble.InvalidArgumentError),
    ({"mounts": ["type=bind,src=/tmp,dst=/x,frob=1"]}, coble.InvalidArgumentError),
    ({"mounts": ["type=bind,src=/tmp,dst=/x,ro=perhaps"]}, coble.InvalidArgumentError),
    ({"mounts": ["type=bind,src=/tmp,dst=/x,tmpfs-size=1m"]}, coble.InvalidArgumentError),
    ({"mounts": ["type=bind,src=/tmp,dst=/x,bind-recursive=readonly"]}, coble.InvalidArgumentError),
    ({"mounts": ["type=bind,src=/tmp,dst=/x,bind-recursive=writable"]}, coble.InvalidArgumentError),
    ({"mounts": ["type=bind,src=/tmp,dst=/x,ro,bind-recursive=readonly,bind-propagation=rslave"]}, coble.InvalidArgumentError),
    ({"mounts": ["type=bind,src=/tmp,dst=/x,bind-propagation=up"]}, coble.InvalidArgumentError),
    ({"mounts": ['type=bind,"src=/tmp,dst=/x']}, coble.InvalidArgumentError),
    ({"mounts": ["type=tmpfs,dst=/x,src=/tmp"]}, coble.InvalidArgumentError),
    ({"mounts": ["type=tmpfs,dst=/x,bind-propagation=rslave"]}, coble.InvalidArgumentError),
    ({"mounts": ["type=tmpfs,dst=/x,tmpfs-size=much"]}, coble.InvalidArgumentError),
    ({"mounts": ["type=tmpfs,dst=/x,tmpfs-mode=9"]}, coble.InvalidArgumentError),
    ({"mounts": [coble.Mount("/x", "/tmp", type="bind", options=["size=1"])]}, coble.InvalidArgumentError),
    ({"tmpfs": ["relative"]}, coble.InvalidArgumentError),
    ({"tmpfs": {"/x": "size=1m,loop=/dev/loop0"}}, coble.InvalidArgumentError),
    ({"tmpfs": {"/x": "uid=-1"}}, coble.InvalidArgumentError),
    ({"tmpfs": {"/x": "uid=4294967295"}}, coble.InvalidArgumentError),
    ({"tmpfs": {"/x": "mode=77777"}}, coble.InvalidArgumentError),
    ({"tmpfs": ["/proc"]}, coble.InvalidArgumentError),
    ({"tmpfs": ["/proc/self/attr"]}, coble.InvalidArgumentError),
    ({"tmpfs": ["/x/../proc/sys"]}, coble.InvalidArgumentError),
    ({"tmpfs": ["/sys"]}, coble.InvalidArgumentError),
    ({"volumes": ["/tmp:/proc"]}, coble.InvalidArgumentError),
    ({"volumes": ["/proc:/proc"]}, coble.InvalidArgumentError),
    ({"volumes": ["/tmp:/proc/self"]}, coble.InvalidArgumentError),
    ({"volumes": ["/tmp:/sys/fs/cgroup"]}, coble.InvalidArgumentError),
    ({"volumes": ["/sys/fs/cgroup:/sys/fs/cgroup:rshared"]}, coble.InvalidArgumentError),
    ({"volumes": ["/tmp:/a:rshared", "/var:/a/b"]}, coble.InvalidArgumentError),
    ({"tmpfs": [f"/{number}" for number in range(200)]}, coble.InvalidArgumentError),
]


@pytest.mark.parametrize(("options", "error"), REFUSED, ids=[repr(options)[:80] for options, _ in REFUSED])
def test_what_is_refused(shared: coble.Engine, options: dict[str, Any], error: type[coble.CobleError]) -> None:
    """SEC-65, SEC-137: nothing is made, and the error says which."""
    with pytest.raises(error):
        shared.containers.create("box", ["true"], **options)


def test_wrong_types(shared: coble.Engine) -> None:
    wrong: list[dict[str, Any]] = [{"volumes": "/tmp:/x"}, {"volumes": 1}, {"mounts": "type=tmpfs,dst=/x"}, {"mounts": [1]}, {"tmpfs": "/x"}, {"tmpfs": [1]}]
    for options in wrong:
        with pytest.raises(TypeError):
            shared.containers.create("box", **options)


def test_a_directory_over_a_file_and_the_other_way_round(shared: coble.Engine, data: Path) -> None:
    for volume in (f"{data}:/bin/busybox", f"{data}/file:/bin", f"{data}:/etc/passwd/x"):
        with pytest.raises(coble.InvalidArgumentError):
            shared.run("box", ["true"], volumes=[volume])


def test_figures_of_proc_may_be_covered(shared: coble.Engine, data: Path) -> None:
    assert sh(shared, "cat /proc/meminfo", volumes=[f"{data}/file:/proc/meminfo:ro"]) == "from the host\n"


def test_the_hosts_own_sys(shared: coble.Engine) -> None:
    script = "ls -d /sys/kernel; ls /sys/firmware | wc -l; touch /sys/x 2>/dev/null || echo no"
    assert sh(shared, script, volumes=["/sys:/sys:ro"]).split() == ["/sys/kernel", "0", "no"]


LINKS = ["CANARY", "/proc/self", "/proc/1/root", "/sys", "/dev/..", "/../../../../../../CANARY", "old"]


@pytest.fixture
def own_root(assets: Assets, tmp_path: Path) -> Path:
    """A root file system of the caller's, in which links can be made while its container does not run."""
    root = tmp_path / "root"
    root.mkdir()
    subprocess.run(["tar", "--no-same-owner", "-xf", assets.busybox, "-C", root], check=True)
    return root


@pytest.mark.parametrize("link", LINKS)
def test_targets_that_became_links(shared: coble.Engine, own_root: Path, data: Path, canary: Path, link: str) -> None:
    """SEC-22, SEC-136: what becomes of the way to its mounts leads nowhere else at its next start."""
    container = shared.containers.create(rootfs=own_root, command=["sh", "-c", "[ -e /old ] && exit 7; exit 0"], volumes=[f"{data}:/a/file"], tmpfs=["/a/attr"])
    container.start()
    assert container.wait() == 0
    (own_root / "old").mkdir()
    (own_root / "a").symlink_to(link.replace("CANARY", str(canary).lstrip("/") if ".." in link else str(canary)))
    try:
        container.start()
        assert container.wait() == 7
    except coble.CobleError as error:
        assert link.startswith(("/proc", "/sys")), error
    container.remove()
    assert sorted(os.listdir(data)) == ["below", "file"]


@pytest.mark.parametrize("place", ["/a/sys", "/a/self/attr", "/a/meminfo"])
def test_a_link_to_proc(shared: coble.Engine, own_root: Path, data: Path, place: str) -> None:
    """SEC-23: a link brings nothing over files of the kernel."""
    source = data / "file" if place.endswith("meminfo") else data
    container = shared.containers.create(rootfs=own_root, command=["true"], volumes=[f"{source}:{place}"])
    container.start()
    assert container.wait() == 0
    (own_root / "a").symlink_to("/proc")
    with pytest.raises(coble.InvalidArgumentError):
        container.start()
    container.remove()


def test_a_neighbour_that_swaps_links(shared: coble.Engine, data: Path, canary: Path) -> None:
    """SEC-22 (CVE-2021-30465): a directory that two share, where one swaps the place of the other's mount."""
    swap = f"cd /data; while :; do mkdir -p x; mv x y; ln -s {canary} x; rm x; ln -s /proc x; rm x; mv y x; done 2>/dev/null"
    with shared.containers.run("box", ["sh", "-c", swap], volumes=[f"{data}:/data"]):
        ended = set()
        for _ in range(15):
            try:
                ended.add(shared.run("box", ["sh", "-c", "touch /data/x/new"], volumes=[f"{data}:/data"], tmpfs=["/data/x/t"]).exit_code)
            except coble.CobleError:
                ended.add(-1)
    assert ended


# --- what it is mounted as ------------------------------------------------------------------------------------------


def test_flags(shared: coble.Engine, data: Path) -> None:
    (data / "run").write_text("#!/bin/sh\necho ran\n")
    (data / "run").chmod(0o755)
    assert sh(shared, "/data/run", volumes=[f"{data}:/data"]) == "ran\n"
    options = sh(shared, "grep ' /data ' /proc/mounts", volumes=[f"{data}:/data:ro,noexec,nosuid,nodev,z,cached"]).split()[3]
    assert {"ro", "noexec", "nosuid", "nodev"} <= set(options.split(","))
    assert sh(shared, "/data/run 2>/dev/null || echo not", volumes=[f"{data}:/data:noexec"]) == "not\n"


def test_read_only_cannot_be_taken_back(shared: coble.Engine, data: Path) -> None:
    """SEC-35."""
    script = "mount -o remount,rw /data 2>/dev/null || mount -o remount,bind,rw /data 2>/dev/null; umount /data 2>/dev/null; touch /data/new 2>/dev/null; cat /data/file"
    assert sh(shared, script, volumes=[f"{data}:/data:ro"]) == "from the host\n"
    assert not (data / "new").exists()


def test_tmpfs_defaults_and_options(shared: coble.Engine) -> None:
    line = sh(shared, "grep ' /t ' /proc/mounts; stat -c %a /t", tmpfs=["/t"])
    assert {"rw", "nosuid", "nodev", "noexec"} <= set(line.split()[3].split(","))
    assert line.split()[-1] == "1777"
    line = sh(shared, "grep ' /t ' /proc/mounts; stat -c %a:%u /t", tmpfs={"/t": "size=1m,mode=700,uid=0,exec,suid,nr_inodes=100"})
    options = set(line.split()[3].split(","))
    assert {"nodev", "size=1024k", "nr_inodes=100"} <= options and not {"noexec", "nosuid"} & options
    assert line.split()[-1] == "700:0"
    line = sh(shared, "grep ' /t ' /proc/mounts; stat -c %a /t", mounts=[coble.Mount("/t", type="tmpfs", tmpfs_size="2m", tmpfs_mode=0o750)])
    assert "size=2048k" in line and line.split()[-1] == "750"
    assert "No space left" in sh(shared, "dd if=/dev/zero of=/t/x bs=64k count=20 2>&1 || true", tmpfs={"/t": "size=1m"})
    done = shared.run("box", ["touch", "/t/x"], tmpfs=["/t:ro"])
    assert b"Read-only" in done.stderr


def test_tmpfs_looks_like_what_it_covers(shared: coble.Engine) -> None:
    modes = sh(shared, "stat -c %a /tmp /etc", read_only=True)
    assert sh(shared, "stat -c %a /tmp /etc", tmpfs=["/tmp", "/etc"]) == modes


@pytest.mark.skipif(MODE == "single", reason="a single id has no other user; the other suites have it")
def test_tmpfs_of_another_user(shared: coble.Engine) -> None:
    assert sh(shared, "touch /t/x && stat -c %u:%g /t/x", user="7:8", tmpfs={"/t": "uid=7,gid=8,mode=700"}) == "7:8\n"


def test_a_read_only_root_with_tmpfs(shared: coble.Engine, data: Path) -> None:
    script = "touch /x 2>/dev/null && exit 1; touch /run/x /tmp/x /data/x /new/deep/x && echo fine"
    options: dict[str, Any] = {"read_only": True, "tmpfs": ["/run", "/tmp", "/new/deep"], "volumes": [f"{data}:/data"]}
    assert sh(shared, script, **options) == "fine\n"


def test_nothing_of_it_is_in_the_container(shared: coble.Engine, data: Path) -> None:
    container = shared.containers.create("box", ["touch", "/data/x", "/t/y"], volumes=[f"{data}:/data"], tmpfs=["/t"])
    container.start()
    assert container.wait() == 0
    assert container.diff() == []
    container.remove()


def test_it_is_there_again(shared: coble.Engine, data: Path) -> None:
    container = shared.containers.create("box", ["sh", "-c", "echo x >> /data/log; ls /t; touch /t/x"], volumes=[f"{data}:/data"], tmpfs=["/t"])
    for _ in range(2):
        container.start()
        assert container.wait() == 0
    assert (data / "log").read_text() == "x\nx\n"
    container.remove()


def test_exec_sees_it(shared: coble.Engine, data: Path) -> None:
    with shared.containers.run("box", ["sleep", "1000"], volumes=[f"{data}:/data"]) as container:
        assert container.exec(["cat", "/data/file"]).stdout == b"from the host\n"


# --- what is said of it ---------------------------------------------------------------------------------------------


def test_inspect(shared: coble.Engine, data: Path) -> None:
    container = shared.containers.create(
        "box",
        ["true"],
        volumes=[f"{data}:/b:ro,rslave"],
        mounts=[coble.Mount("/m/", data, type="bind", recursive="disabled")],
        tmpfs={"/t": "size=1m,exec"},
    )
    spec = container.inspect().spec
    assert [(mount.type, mount.source, mount.target, mount.read_only, mount.propagation) for mount in spec.volumes] == [("bind", str(data), "/b", True, "rslave")]
    assert spec.mounts == [coble.Mount("/m/", data, type="bind", recursive="disabled")]
    assert (spec.tmpfs[0].tmpfs_size, spec.tmpfs[0].options) == (1 << 20, ["exec"])
    said = container.inspect_docker()
    assert said["HostConfig"]["Binds"] == [f"{data}:/b:ro,rslave"]
    assert said["HostConfig"]["Tmpfs"] == {"/t": "exec,size=1048576"}
    (mount,) = said["HostConfig"]["Mounts"]
    assert mount["Type"] == "bind" and mount["Target"] == "/m/" and mount["BindOptions"]["NonRecursive"] is True
    expected = {"Type": "bind", "Source": str(data), "Destination": "/b", "Mode": "ro,rslave", "RW": False, "Propagation": "rslave"}
    assert expected in said["Mounts"]
    assert {point["Destination"] for point in said["Mounts"]} == {"/b", "/m", "/t"}
    container.remove()


def test_the_command(store: Store, data: Path, assets: Assets) -> None:
    coble_command = os.environ.get("COBLE_TEST_COMMAND", str(Path(sys.executable).parent / "coble"))
    roots = ["--data-root", str(store.data_root), "--run-root", str(store.run_root)]

    def cli(*words: str) -> str:
        return subprocess.run([coble_command, *words[:1], *roots, *words[1:]], check=True, stdout=subprocess.PIPE, text=True, cwd=data.parent).stdout

    cli("import", str(assets.busybox), "box")
    words = ["-v", "./data:/b:ro", "--mount", f"type=bind,src={data},dst=/m", "--tmpfs", "/t:size=1m"]
    assert cli("run", "--rm", *words, "box", "sh", "-c", "cat /b/file; touch /m/new; df /t | tail -n 1 | awk '{ print $2 }'") == "from the host\n1024\n"
    assert (data / "new").exists()


# --- what is mounted below, and who is told -------------------------------------------------------------------------


def in_a_namespace(script: str, store: Store, data: Path) -> str:
    """Runs a script in a mount namespace of its own, with `data` a tmpfs that is shared, and something mounted below it."""
    setup = """
        import subprocess, sys, coble
        from pathlib import Path
        data = Path(sys.argv[1])
        def mount(*words): subprocess.run(["mount", *words], check=True)
        mount("-t", "tmpfs", "outer", str(data)); mount("--make-shared", str(data))
        (data / "file").write_text("outer"); (data / "inner").mkdir()
        mount("-t", "tmpfs", "inner", str(data / "inner")); (data / "inner" / "file").write_text("inner")
        engine = coble.Engine(data_root=sys.argv[2], run_root=sys.argv[3])
        def sh(script, **options): return engine.run("box", ["sh", "-c", script], **options).stdout.decode()
    """
    code = textwrap.dedent(setup) + textwrap.dedent(script)
    command = ["unshare", "--mount", "--propagation", "private", sys.executable, "-c", code, data, store.data_root, store.run_root]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


@pytest.mark.root
def test_what_is_mounted_below(shared_store: Store, shared: coble.Engine, data: Path) -> None:
    script = """
        script = "cat /d/inner/file; touch /d/x 2>/dev/null && echo ,outer; touch /d/inner/x 2>/dev/null && echo ,inner"
        for words in ("", ",ro", ",ro,bind-recursive=writable", ",ro,bind-recursive=readonly", ",bind-recursive=disabled", ",bind-nonrecursive"):
            print(repr(sh(script, mounts=[f"type=bind,src={data},dst=/d{words}"])))
    """
    everything, readonly, writable, forced, alone, old = in_a_namespace(script, shared_store, data).splitlines()
    assert everything == repr("inner,outer\n,inner\n")
    assert readonly == forced == repr("inner")
    assert writable == repr("inner,inner\n")
    assert alone == old == repr(",outer\n,inner\n")


@pytest.mark.root
def test_propagation(shared_store: Store, shared: coble.Engine, data: Path) -> None:
    script = """
        import os
        def mounted(path): return any(line.split()[4] == str(path) for line in open("/proc/self/mountinfo"))
        (data / "new").mkdir(); (data / "own").mkdir()
        for word in ("rprivate", "private", "rslave", "slave", "rshared", "shared"):
            with engine.containers.run("box", ["sleep", "1000"], volumes=[f"{data}:/d:{word}"], cap_add=["SYS_ADMIN"], security_opt=["seccomp=unconfined"]) as container:
                mount("-t", "tmpfs", "new", str(data / "new"))
                (data / "new" / "x").touch()
                seen = container.exec(["ls", "/d/new"]).stdout.decode().strip() == "x"
                container.exec(["mount", "-t", "tmpfs", "own", "/d/own"], check=True)
                shown = mounted(data / "own")
                if shown: subprocess.run(["umount", str(data / "own")], check=True)
                subprocess.run(["umount", str(data / "new")], check=True)
                print(word, seen, shown, container.inspect().isolation.mounts[0].propagation)
        try:
            sh("true", volumes=["/proc:/x:rslave"], tmpfs=[])
        except coble.UnsupportedError as error:
            print("refused")
    """
    lines = [line.split() for line in in_a_namespace(script, shared_store, data).splitlines()]
    assert lines == [
        ["rprivate", "False", "False", "private"],
        ["private", "False", "False", "private"],
        ["rslave", "True", "False", "slave"],
        ["slave", "True", "False", "slave"],
        ["rshared", "True", "True", "shared"],
        ["shared", "True", "True", "shared"],
        ["refused"],
    ]


@pytest.mark.skipif(IS_ROOT, reason="root has no user namespace")
def test_sharing_needs_root(shared: coble.Engine, data: Path) -> None:
    with pytest.raises(coble.UnsupportedError):
        shared.run("box", ["true"], volumes=[f"{data}:/d:rshared"])


# --- whose files they are -------------------------------------------------------------------------------------------


def test_files_belong_to_the_caller(shared: coble.Engine, data: Path) -> None:
    """VOL-13: user 0 of the container is the caller."""
    sh(shared, "echo x > /data/new; mkdir /data/dir; chmod 600 /data/new", volumes=[f"{data}:/data"])
    for path in (data / "new", data / "dir"):
        assert (path.stat().st_uid, path.stat().st_gid) == (os.geteuid(), os.getegid())
    assert stat.S_IMODE((data / "new").stat().st_mode) == 0o600


def test_many_starts_at_once(shared: coble.Engine, data: Path) -> None:
    failed: list[BaseException] = []

    def start(number: int) -> None:
        try:
            for round in range(3):
                sh(shared, f"touch /data/{number}-{round}", volumes=[f"{data}:/data"], tmpfs=["/t"])
        except BaseException as error:  # noqa: BLE001: told below
            failed.append(error)

    threads = [threading.Thread(target=start, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert len([name for name in os.listdir(data) if "-" in name]) == 12


@pytest.mark.parametrize("word", ["z", "Z"])
def test_words_of_selinux(shared: coble.Engine, data: Path, word: str) -> None:
    """As docker has it: where there is no SELinux they say nothing, and what is mounted stays as it is."""
    before = [(path, os.listxattr(path), path.stat().st_ctime_ns) for path in (data, data / "file")]
    usual = [warning.code for warning in shared.run("box", ["true"]).warnings]
    done = shared.run("box", ["cat", "/data/file"], volumes=[f"{data}:/data:ro,{word}"], check=True)
    assert done.stdout == b"from the host\n"
    there = Path("/sys/fs/selinux/enforce").exists()
    assert [warning.code for warning in done.warnings] == usual + ["relabel-not-supported"] * there
    assert [(path, os.listxattr(path), path.stat().st_ctime_ns) for path in (data, data / "file")] == before


# --- what has to be there to mount upon --------------------------------------------------------------------------------


def names_in_tar(file: Path) -> set[str]:
    with tarfile.open(file) as archive:
        return {member.name.strip("/").removeprefix("./") for member in archive} - {"", "."}


@pytest.mark.vm
@pytest.mark.parametrize("once", [False, True])
def test_places_of_mounts_are_no_change_of_the_container(box: coble.Engine, tmp_path: Path, once: bool) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "file").write_text("x")
    (tmp_path / "single").write_text("y")
    plain = tmp_path / "plain.tar"
    with box.containers.create("box", ["true"]) as container:
        container.export(plain)
    options: dict[str, object] = {
        "volumes": [f"{folder}:/new/way/data", f"{tmp_path}/single:/new/single", f"{folder}:/bin/below", f"{tmp_path}/single:/etc/group", f"{folder}:/new/way/data/inner"],
        "tmpfs": {"/new/memory": "size=1m", "/tmp": ""},
        "secrets": [coble.Secret("key", file=tmp_path / "key")],
    }
    (tmp_path / "key").write_text("word")
    if not once:
        # Not in the source of the bind, which is the caller's.
        (folder / "inner").mkdir()
    script = "cat /new/way/data/file /new/single /bin/below/file /etc/group /run/secrets/key; stat -c ' %a' /new /new/way /new/memory; ls /new/way/data"
    wanted = b"xyxyword 755\n 755\n 1777\nfile\ninner\n"
    if once:
        # The place of a mount in another one is in that.
        assert box.run("box", ["sh", "-c", script], check=True, **options).stdout == wanted and (folder / "inner").is_dir()
        return
    container = box.containers.create("box", ["sh", "-c", f"{script}; sleep 1000"], **options)
    for _ in range(2):
        container.start()
        eventually(lambda: log_bytes(container).endswith(wanted), "the mounts")
        assert container.diff() == []
        exported = tmp_path / "exported.tar"
        container.export(exported)
        assert names_in_tar(exported) == names_in_tar(plain)
        container.stop(timeout=0)
        assert container.diff() == []
    container.commit("made")
    assert len(box.images.get("made").inspect().layers) == 1
    # What the container itself makes there is its own.
    container.start()
    container.exec(["sh", "-c", "echo z > /new/file; mkdir /run/secrets/more; echo w > /new/way/data/written"], check=True)
    container.stop(timeout=0)
    assert {(change.kind, change.path) for change in container.diff()} == {
        ("added", "/new"),
        ("added", "/new/file"),
        ("changed" if "run" in names_in_tar(plain) else "added", "/run"),
        ("added", "/run/secrets"),
        ("added", "/run/secrets/more"),
    }
    with container.snapshot() as copy:
        copy.start()
        assert copy.exec(["cat", "/new/file", "/new/way/data/written", "/new/single"], check=True).stdout == b"z\nw\ny"
    container.write_file("/new/late", b"late")
    container.copy_to(tmp_path / "single", "/new/single-copy")
    assert container.read_file("/new/late") == b"late"
    container.commit("more")
    look = "cat /new/file /new/late /new/single-copy; ls /new /run/secrets"
    assert box.run("more", ["sh", "-c", look], check=True).stdout == b"z\nlatey/new:\nfile\nlate\nsingle-copy\n\n/run/secrets:\nmore\n"
    container.remove(force=True)
    assert (folder / "written").read_text() == "w\n"


def test_a_place_that_a_link_leads_to(box: coble.Engine, tmp_path: Path) -> None:
    """It is made where the link leads: that is known at the start alone."""
    with box.containers.create("box", ["sh", "-c", "mkdir /real; ln -s /real /link"]) as container:
        container.start()
        container.wait()
        container.commit("linked")
    with box.containers.run("linked", ["sleep", "1000"], volumes=[f"{tmp_path}:/link/data"]) as container:
        container.exec(["test", "-d", "/real/data"], check=True)
        assert {change.path for change in container.diff()} <= {"/real", "/real/data"}


# --- overlays over binds, and owners --------------------------------------------------------------------------------


def test_an_overlay_over_a_bind(shared: coble.Engine, data: Path) -> None:
    (data / "below" / "old").write_text("old\n")
    script = "cat /data/file; echo more >> /data/file; rm -r /data/below; mkdir /data/below; touch /data/below/new; cat /data/file; ls /data/below"
    for options in ({"volumes": [f"{data}:/data:O"]}, {"volumes": {data: {"bind": "/data", "mode": "O,noexec"}}}, {"mounts": [coble.Mount("/data", data, type="bind", options=["O"])]}):
        with shared.containers.create("box", ["sh", "-c", script], **options) as container:
            for _ in range(2):
                # It begins anew each time.
                container.start()
                assert container.wait() == 0
            assert log_bytes(container) == b"from the host\nfrom the host\nmore\nnew\n" * 2
            assert container.diff() == []
    assert (data / "file").read_text() == "from the host\n" and (data / "below" / "old").exists()
    # Beside secrets, and hooks that see the mounts.
    done = shared.run("box", ["sh", "-c", "cat /run/secrets/key; stat -c %a /data; touch /data/x"], volumes=[f"{data}:/data:O"], secrets=[coble.Secret("key", b"k")], check=True)
    assert done.stdout == b"k755\n" and done.isolation is not None and not (data / "x").exists()
    assert [info.file_system for info in done.isolation.mounts if info.target == "/data"] == ["overlay"]


@pytest.mark.once
def test_what_an_overlay_excludes(shared: coble.Engine, data: Path) -> None:
    for options in ("O,ro", "O,rslave", "O,bind", "O,O", "U,ro", "U,U"):
        with pytest.raises(coble.InvalidArgumentError):
            shared.containers.create("box", volumes=[f"{data}:/data:{options}"])
    with pytest.raises(coble.CobleError, match="over a directory"):
        shared.run("box", ["true"], volumes=[f"{data}/file:/data:O"])


def owners(folder: Path) -> set[tuple[int, int]]:
    return {(stat.st_uid, stat.st_gid) for stat in (path.lstat() for path in [folder, *folder.rglob("*")])}


@pytest.mark.root
@pytest.mark.parametrize("form", ["volumes", "mounts"])
def test_a_source_is_given_to_the_user(shared: coble.Engine, data: Path, tmp_path: Path, form: str) -> None:
    outside = tmp_path / "outside"
    outside.write_text("x")
    (data / "below" / "link").symlink_to(outside)
    (data / "below" / "way").symlink_to("/etc")
    os.mkfifo(data / "below" / "fifo")
    options = {form: [f"{data}:/data:U"] if form == "volumes" else [f"type=bind,src={data},dst=/data,U=true"]}
    done = shared.run("box", ["sh", "-c", "touch /data/below/mine && id -u"], user="1234:56", check=True, **options)
    assert done.stdout == b"1234\n"
    assert owners(data) == {(1234, 56)}
    # No link was followed.
    assert outside.stat().st_uid == 0 and Path("/etc").stat().st_uid == 0
    # In an overlay it is the copy that gets another owner.
    assert sh(shared, "stat -c %u /data /data/file", volumes=[f"{data}:/data:O,U"], user="77") == "77\n77\n"
    assert owners(data) == {(1234, 56)}


@pytest.mark.skipif(MODE == "single", reason="there is no other id")
def test_who_has_it_inside(shared: coble.Engine, data: Path) -> None:
    try:
        script = "stat -c %u:%g /data /data/below /data/file"
        assert sh(shared, script, volumes=[f"{data}:/data:U"], user="1234:56") == "1234:56\n" * 3
    finally:
        # So that the caller can remove it.
        assert sh(shared, script, volumes=[f"{data}:/data:U"], user="0:0") == "0:0\n" * 3


@pytest.mark.root
def test_an_owner_stays_on_the_file_system(shared: coble.Engine, data: Path) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "none", data / "below"], check=True)
    try:
        (data / "below" / "file").write_text("x")
        shared.run("box", ["true"], volumes=[f"{data}:/data:U"], user="1234:56", check=True)
        assert owners(data / "below") == {(0, 0)} and (data / "file").stat().st_uid == 1234
    finally:
        subprocess.run(["umount", data / "below"], check=True)
    assert (data / "below").stat().st_uid == 0


@pytest.mark.once
def test_what_gets_no_other_owner(shared: coble.Engine, data: Path, tmp_path: Path) -> None:
    (tmp_path / "way").symlink_to("/usr/lib")
    for source in ("/", "/usr", "/usr/share", "/etc", "/etc/passwd", "/home", "/home/somebody", "/root", "/var/lib", "/tmp", "/dev/shm", "/proc/self", os.path.expanduser("~"), tmp_path / "way"):
        with pytest.raises(coble.InvalidArgumentError, match="owner"):
            shared.containers.create("box", volumes=[f"{source}:/data:U"])


@pytest.mark.root
def test_neither_with_a_user_namespace_of_its_own(shared: coble.Engine, data: Path) -> None:
    for word in "OU":
        with pytest.raises(coble.UnsupportedError) as caught:
            shared.containers.create("box", volumes=[f"{data}:/data:{word}"], uidmap=["0:100000:65536"])
        assert "idmap" in (caught.value.hint or "")


@pytest.mark.root
def test_an_overlay_keeps_the_flags_of_its_source(shared: coble.Engine, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "nosuid,nodev,noexec", "source", source], check=True)
    try:
        line = sh(shared, "grep ' /x ' /proc/self/mountinfo", volumes=[f"{source}:/x:O"])
        assert {"nosuid", "nodev", "noexec"} <= set(line.split()[5].split(",")), line
    finally:
        subprocess.run(["umount", source], check=True)
