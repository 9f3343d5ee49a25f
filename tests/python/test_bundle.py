"""Containers of a directory of the host and of an OCI bundle: what they have, what stays untouched, and what is refused by its name."""

from __future__ import annotations

import copy
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import coble
import pytest
from assets import Assets
from conftest import IS_ROOT, MODE, Store
from helpers import eventually, status_fields

Config = dict[str, Any]


def unpack(assets: Assets, target: Path) -> Path:
    """A root file system as its user would unpack it."""
    target.mkdir(parents=True)
    subprocess.run(["tar", "-x", "--no-same-owner", "-f", assets.busybox, "-C", target], check=True)
    return target


def facts(tree: Path) -> list[tuple[str, int, int, int, int]]:
    found = []
    for folder, _, names in os.walk(tree):
        for path in [folder, *(os.path.join(folder, name) for name in names)]:
            stat = os.lstat(path)
            found.append((path, stat.st_mode, stat.st_uid, stat.st_mtime_ns, stat.st_size))
    return sorted(found)


@pytest.fixture(scope="session")
def tree(workplace: Path, assets: Assets) -> Path:
    return unpack(assets, workplace / "rootfs")


@pytest.fixture
def rootfs(tree: Path) -> Any:
    """A directory that must be the same when the test is over."""
    before = facts(tree)
    yield tree
    assert facts(tree) == before, "the directory was touched"


CONFIG: Config = {
    "ociVersion": "1.2.0",
    "process": {
        "user": {"uid": 0, "gid": 0},
        "args": ["sh", "-c", "cat /proc/self/status; hostname; pwd; umask; echo $A; ulimit -n; touch /x"],
        "env": ["PATH=/bin", "A=bundle"],
        "cwd": "/tmp",
        "capabilities": {name: ["CAP_KILL", "CAP_CHOWN"] for name in ("bounding", "effective", "permitted")},
        "rlimits": [{"type": "RLIMIT_NOFILE", "soft": 100, "hard": 100}],
        "noNewPrivileges": True,
    },
    "root": {"path": "rootfs", "readonly": True},
    "hostname": "bundled",
    "annotations": {"org.example.a": "1"},
    "mounts": [
        {"destination": "/proc", "type": "proc", "source": "proc"},
        {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "strictatime", "mode=755", "size=65536k"]},
        {"destination": "/dev/pts", "type": "devpts", "source": "devpts", "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]},
        {"destination": "/dev/shm", "type": "tmpfs", "source": "shm", "options": ["nosuid", "noexec", "nodev", "mode=1777", "size=1024k"]},
        {"destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue", "options": ["nosuid", "noexec", "nodev"]},
        {"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["nosuid", "noexec", "nodev", "ro"]},
        {"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": ["nosuid", "noexec", "nodev", "relatime", "ro"]},
        {"destination": "/tmp", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=1777", "size=1m"]},
        {"destination": "/data", "type": "bind", "source": "data", "options": ["rbind", "ro"]},
    ],
    "linux": {
        "namespaces": [{"type": kind} for kind in ("pid", "network", "ipc", "uts", "mount", "cgroup")],
        "resources": {"devices": [{"allow": False, "access": "rwm"}]},
        "sysctl": {"net.ipv4.ip_default_ttl": "61"},
        "maskedPaths": ["/proc/version"],
        "readonlyPaths": ["/proc/sys"],
    },
}


@pytest.fixture
def bundle(rootfs: Path, tmp_path: Path) -> Callable[..., Path]:
    """Makes a bundle of a configuration with a change."""

    def make(change: Callable[[Config], object] = lambda config: None) -> Path:
        folder = tmp_path / f"bundle{len(list(tmp_path.iterdir()))}"
        folder.mkdir()
        (folder / "data").mkdir()
        (folder / "data" / "file").write_text("of the bundle\n")
        config = copy.deepcopy(CONFIG)
        config["root"]["path"] = str(rootfs)
        change(config)
        (folder / "config.json").write_text(json.dumps(config))
        return folder

    return make


# --- a directory ----------------------------------------------------------------------------------------------------


@pytest.mark.vm
def test_a_directory_is_the_root_and_stays_as_it_is(engine: coble.Engine, rootfs: Path) -> None:
    script = "id -u; echo new > /etc/new; rm /etc/passwd; echo changed >> /etc/group; cat /etc/new"
    done = engine.run(command=["sh", "-c", script], rootfs=rootfs)
    assert (done.exit_code, done.stdout, done.stderr) == (0, b"0\nnew\n", b"")
    assert done.isolation is not None and {space.name for space in done.isolation.namespaces if space.own} >= {"mnt", "pid", "net", "ipc", "uts"}
    with engine.containers.run(command=["sleep", "1000"], rootfs=rootfs) as container:
        assert container.exec(["cat", "/etc/hostname"], check=True).stdout.decode().strip() == container.id[:12]


@pytest.mark.vm
def test_the_verbs_of_files_know_the_directory(engine: coble.Engine, rootfs: Path, tmp_path: Path) -> None:
    container = engine.containers.create(command=["sh", "-c", "echo new > /new; rm -r /etc/group"], rootfs=f"{rootfs}:O")
    container.start()
    assert container.wait() == 0
    assert {(change.kind, change.path) for change in container.diff()} >= {("added", "/new"), ("deleted", "/etc/group")}
    assert container.read_file("/new") == b"new\n"
    assert container.read_file("/etc/passwd") == (rootfs / "etc/passwd").read_bytes()
    container.write_file("/etc/late", b"late\n")
    clone = container.snapshot("clone")
    assert {(change.kind, change.path) for change in clone.diff()} >= {("added", "/new"), ("added", "/etc/late")}
    clone.start()
    assert clone.wait() == 1  # there is no group file any more
    tar = tmp_path / "all.tar"
    container.export(tar)
    names = subprocess.run(["tar", "-tf", tar], check=True, capture_output=True, text=True).stdout.split()
    assert "new" in [name.removeprefix("./") for name in names] and any(name.endswith("bin/busybox") for name in names)
    with pytest.raises(coble.UnsupportedError, match="no image"):
        container.commit("made")
    # So it can be had all the same.
    engine.images.import_rootfs(tar, "made")
    assert engine.run("made", ["cat", "/new"], check=True).stdout == b"new\n"
    for each in (container, clone):
        details = each.inspect()
        assert (details.spec.image, details.spec.rootfs, details.spec.bundle) == ("", str(rootfs), None)
        assert details.image == str(rootfs) and details.image_id == ""
        assert each.inspect_docker()["Config"]["Image"] == str(rootfs)
    assert {summary.image for summary in engine.containers.list(all=True)} == {str(rootfs)}
    clone.remove()
    container.start()
    container.wait()
    container.remove()


def test_what_is_no_root(engine: coble.Engine, store: Store, rootfs: Path, tmp_path: Path) -> None:
    def create(**options: Any) -> None:
        engine.containers.create(command=["true"], **options).remove()

    (tmp_path / "file").touch()
    with pytest.raises(coble.PathNotFoundError):
        create(rootfs=tmp_path / "missing")
    with pytest.raises(coble.InvalidArgumentError, match="not a directory"):
        create(rootfs=tmp_path / "file")
    for place in (store.data_root, store.data_root / "layers", store.data_root.parent, "/"):
        with pytest.raises(coble.InvalidArgumentError, match="the store are one in the other"):
            create(rootfs=place)
    with pytest.raises(coble.InvalidArgumentError):
        create()
    with pytest.raises(coble.InvalidArgumentError, match="not both"):
        engine.containers.create("box", rootfs=rootfs)
    with pytest.raises(coble.InvalidArgumentError, match="rootfs"):
        create(rootfs=rootfs, bundle=tmp_path)
    with pytest.raises(coble.InvalidArgumentError, match="platform"):
        create(rootfs=rootfs, platform="linux/arm64")
    with pytest.raises(coble.InvalidArgumentError, match="command"):
        engine.containers.create(rootfs=rootfs)


def test_links_are_followed_once(engine: coble.Engine, rootfs: Path, tmp_path: Path, canary: Path) -> None:
    link, moved = tmp_path / "link", tmp_path / "moved"
    link.symlink_to(rootfs)
    container = engine.containers.create(command=["true"], rootfs=link)
    assert container.inspect().spec.rootfs == str(rootfs)
    container.remove()
    moved.mkdir()
    container = engine.containers.create(command=["true"], rootfs=moved)
    moved.rmdir()
    moved.symlink_to(canary)
    with pytest.raises(coble.InvalidStateError, match="has become a link"):
        container.start()
    with pytest.raises(coble.InvalidStateError, match="has become a link"):
        container.diff()
    container.remove()


@pytest.mark.root
def test_what_is_mounted_below_does_not_come_along(engine: coble.Engine, assets: Assets, tmp_path: Path) -> None:
    tree = unpack(assets, tmp_path / "tree")
    (tree / "below").mkdir()
    subprocess.run(["unshare", "-m", "true"], check=True)
    subprocess.run(["mount", "-t", "tmpfs", "none", tree / "below"], check=True)
    try:
        (tree / "below" / "file").touch()
        assert engine.run(command=["ls", "/below"], rootfs=tree).stdout == b""
    finally:
        subprocess.run(["umount", tree / "below"], check=True)


def test_restarts_go_on_the_directory(engine: coble.Engine, rootfs: Path) -> None:
    container = engine.containers.create(command=["sh", "-c", "echo x >> /runs; exit 1"], rootfs=rootfs, restart_policy="on-failure:2")
    container.start()
    eventually(lambda: container.state == "exited", "the last end")
    assert container.read_file("/runs") == b"x\n" * 3
    container.remove()


# --- bundles --------------------------------------------------------------------------------------------------------


@pytest.mark.vm
def test_a_bundle_says_everything(engine: coble.Engine, bundle: Callable[..., Path]) -> None:
    done = engine.run(bundle=bundle())
    lines = done.stdout.decode().splitlines()
    fields = status_fields(done.stdout.decode())
    assert lines[-5:] == ["bundled", "/tmp", "0022", "bundle", "100"]
    assert done.exit_code == 1 and b"Read-only" in done.stderr
    # CHOWN is 0, KILL is 5.
    assert [int(fields[name], 16) for name in ("CapEff", "CapPrm", "CapBnd", "CapAmb", "CapInh")] == [0x21, 0x21, 0x21, 0, 0]
    assert fields["NoNewPrivs"] == "1" and fields["Seccomp"] == "2"
    assert done.isolation is not None and done.isolation.masked_paths == ["/proc/version"] and done.isolation.readonly_paths == ["/proc/sys"]
    assert [warning.code for warning in done.warnings if warning.code.startswith("bundle")] == []
    script = "cat /data/file /proc/sys/net/ipv4/ip_default_ttl; df -k /dev/shm | tail -n 1 | awk '{print $2}'; touch /data/x"
    done = engine.run(command=["sh", "-c", script], bundle=bundle())
    assert done.stdout == b"of the bundle\n61\n1024\n" and b"Read-only" in done.stderr


@pytest.mark.vm
def test_what_the_caller_says_is_over_it(engine: coble.Engine, bundle: Callable[..., Path]) -> None:
    folder = bundle()
    script = "echo $A $B; hostname; grep -E '^Cap(Bnd|Eff)' /proc/self/status"
    container = engine.containers.create(
        command=["sh", "-c", script], bundle=folder, environment={"A": "mine", "B": "too"}, hostname="other", cap_drop=["KILL"], annotations={"b": "2"}, labels={"l": "1"}
    )
    with pytest.raises(coble.InvalidArgumentError, match="privileged"):
        engine.run(bundle=folder, privileged=True)
    shutil.rmtree(folder / "data")
    with pytest.raises(coble.PathNotFoundError):
        container.start()
    (folder / "data").mkdir()
    # It was read when the container was created.
    (folder / "config.json").write_text("{")
    container.start()
    assert container.wait() == 0
    assert b"".join(record.data for record in container.logs()).split() == [b"mine", b"too", b"other", b"CapEff:", b"0000000000000001", b"CapBnd:", b"0000000000000001"]
    details = container.inspect()
    assert details.spec.bundle == str(folder) == details.image and details.spec.annotations == {"org.example.a": "1", "b": "2"}
    container.remove()


def ids(config: Config) -> None:
    config["process"]["user"] = {"uid": 0, "gid": 0, "umask": 0o077}
    for name in ("inheritable", "ambient"):
        config["process"]["capabilities"][name] = ["CAP_KILL"]


def test_umask_and_ambient_capabilities(engine: coble.Engine, bundle: Callable[..., Path]) -> None:
    done = engine.run(bundle=bundle(ids))
    fields = status_fields(done.stdout.decode())
    assert (int(fields["CapAmb"], 16), int(fields["CapInh"], 16)) == (0x20, 0x20)
    assert b"0077" in done.stdout
    with engine.containers.run(command=["sleep", "1000"], bundle=bundle(ids)) as container:
        fields = status_fields(container.exec(["cat", "/proc/self/status"], check=True).stdout.decode())
        assert int(fields["CapAmb"], 16) == 0x20


REFUSED: list[tuple[str, Callable[[Config], object]]] = [
    ("ociVersion", lambda c: c.update(ociVersion="2.0.0")),
    ("windows", lambda c: c.update(windows={"layerFolders": []} | {"x": 1})),
    ("vm", lambda c: c.update(vm={"kernel": {"path": "/k"}})),
    ("process.scheduler", lambda c: c["process"].update(scheduler={"policy": "SCHED_FIFO"})),
    ("process.ioPriority", lambda c: c["process"].update(ioPriority={"class": "IOPRIO_CLASS_IDLE"})),
    ("process.execCPUAffinity", lambda c: c["process"].update(execCPUAffinity={"initial": "0"})),
    ("process.selinuxLabel", lambda c: c["process"].update(selinuxLabel="a:b:c:d")),
    ("process.user.username", lambda c: c["process"]["user"].update(username="x")),
    ("process.capabilities.permitted", lambda c: c["process"]["capabilities"].update(permitted=[], effective=[])),
    ("process.capabilities.effective", lambda c: c["process"]["capabilities"].update(effective=[])),
    ("process.capabilities.inheritable", lambda c: c["process"]["capabilities"].update(inheritable=["CAP_KILL"])),
    ("mounts[0].uidMappings", lambda c: c["mounts"][0].update(uidMappings=[{"containerID": 0, "hostID": 0, "size": 1}])),
    ("mounts[0].options", lambda c: c["mounts"][0].update(options=["hidepid=2"])),
    ("mounts[5].options", lambda c: c["mounts"][5].update(options=["nosuid"])),
    ("mounts[7].type", lambda c: c["mounts"][7].update(type="ext4", source="/dev/sda")),
    ("mounts[8].options", lambda c: c["mounts"][8].update(options=["rbind", "idmap"])),
    ("linux.namespaces", lambda c: c["linux"]["namespaces"].pop(0)),
    ("linux.namespaces", lambda c: c["linux"]["namespaces"].pop(1)),
    ("linux.namespaces", lambda c: c["linux"]["namespaces"].pop(4)),
    ("linux.namespaces[1].path", lambda c: c["linux"]["namespaces"][1].update(path="/proc/1/ns/net")),
    ("linux.namespaces[6].type", lambda c: c["linux"]["namespaces"].append({"type": "time"})),
    ("linux.uidMappings", lambda c: c["linux"].update(uidMappings=[{"containerID": 0, "hostID": 77, "size": 3}])),
    ("linux.timeOffsets", lambda c: c["linux"].update(timeOffsets={"monotonic": {"secs": 1}})),
    ("linux.netDevices", lambda c: c["linux"].update(netDevices={"eth0": {}})),
    ("linux.intelRdt", lambda c: c["linux"].update(intelRdt={"closID": "x"})),
    ("linux.memoryPolicy", lambda c: c["linux"].update(memoryPolicy={"mode": "MPOL_BIND"})),
    ("linux.mountLabel", lambda c: c["linux"].update(mountLabel="x")),
    ("linux.cgroupsPath", lambda c: c["linux"].update(cgroupsPath="/x")),
    ("linux.rootfsPropagation", lambda c: c["linux"].update(rootfsPropagation="shared")),
    ("linux.personality.domain", lambda c: c["linux"].update(personality={"domain": "LINUX32"})),
    ("linux.resources.hugepageLimits", lambda c: c["linux"]["resources"].update(hugepageLimits=[{"pageSize": "2MB", "limit": 1}])),
    ("linux.resources.rdma", lambda c: c["linux"]["resources"].update(rdma={"mlx5_1": {"hcaHandles": 3}})),
    ("linux.resources.network", lambda c: c["linux"]["resources"].update(network={"classID": 1})),
    ("linux.resources.memory.kernel", lambda c: c["linux"]["resources"].update(memory={"kernel": 1 << 30})),
    ("linux.resources.cpu.realtimeRuntime", lambda c: c["linux"]["resources"].update(cpu={"realtimeRuntime": 1})),
    ("linux.resources.blockIO.weightDevice", lambda c: c["linux"]["resources"].update(blockIO={"weightDevice": [{"major": 1}]})),
    ("linux.resources.devices[1].allow", lambda c: c["linux"]["resources"]["devices"].append({"allow": False, "type": "c", "major": 1, "minor": 3})),
    ("linux.devices[0]", lambda c: c["linux"].update(devices=[{"path": "/dev/null2", "type": "c", "major": 1, "minor": 3}])),
    ("linux.devices[0]", lambda c: c["linux"].update(devices=[{"path": "/dev/null", "type": "c", "major": 1, "minor": 5}])),
    ("root.path", lambda c: c["root"].update(path="../x")),
]


@pytest.mark.parametrize(("name", "change"), REFUSED, ids=[f"{n}-{name}" for n, (name, _) in enumerate(REFUSED)])
def test_what_cannot_be_given_is_refused_by_name(shared: coble.Engine, bundle: Callable[..., Path], name: str, change: Callable[[Config], object]) -> None:
    with pytest.raises(coble.UnsupportedError) as caught:
        shared.containers.create(bundle=bundle(change))
    assert f"config.json: {name}:" in str(caught.value) and caught.value.object == name


WRONG: list[tuple[str, Callable[[Config], object]]] = [
    ("root", lambda c: c.pop("root")),
    ("root.path", lambda c: c["root"].update(path=7)),
    ("ociVersion", lambda c: c.pop("ociVersion")),
    ("linux", lambda c: c.pop("linux")),
    ("process.args", lambda c: c["process"].update(args=["a\0b"])),
    ("process.args", lambda c: c["process"].update(args="sh")),
    ("process.env", lambda c: c["process"].update(env=["x"])),
    ("process.cwd", lambda c: c["process"].pop("cwd")),
    ("process.user", lambda c: c["process"].update(user=[])),
    ("process.user.uid", lambda c: c["process"]["user"].update(uid=-1)),
    ("process.user.uid", lambda c: c["process"]["user"].update(uid=1 << 40)),
    ("process.user.uid", lambda c: c["process"]["user"].update(uid=1.5)),
    ("process.user.umask", lambda c: c["process"]["user"].update(umask=0o7777)),
    ("process.user.additionalGids", lambda c: c["process"]["user"].update(additionalGids=["x"])),
    ("process.capabilities.bounding", lambda c: c["process"]["capabilities"].update(bounding=["CAP_NOPE"])),
    ("process.rlimits[0].type", lambda c: c["process"].update(rlimits=[{"type": "NOFILE", "soft": 1, "hard": 1}])),
    ("linux.namespaces[6].type", lambda c: c["linux"]["namespaces"].append({"type": "pid"})),
    ("linux.maskedPaths", lambda c: c["linux"].update(maskedPaths=["/proc/../etc"])),
    ("linux.maskedPaths", lambda c: c["linux"].update(maskedPaths=["/a"] * 2000)),
    ("linux.seccomp", lambda c: c["linux"].update(seccomp="unconfined")),
    ("linux.seccomp", lambda c: c["linux"].update(seccomp=5)),
    ("annotations", lambda c: c.update(annotations={"a": 1})),
    ("mounts[8].options", lambda c: c["mounts"][8].update(options=["bind", "ro,rw"])),
]


@pytest.mark.parametrize(("name", "change"), WRONG, ids=[f"{n}-{name}" for n, (name, _) in enumerate(WRONG)])
def test_what_is_wrong_is_named(shared: coble.Engine, bundle: Callable[..., Path], name: str, change: Callable[[Config], object]) -> None:
    with pytest.raises(coble.InvalidArgumentError) as caught:
        shared.containers.create(bundle=bundle(change))
    assert f"config.json: {name}:" in str(caught.value)


def test_files_that_are_no_configuration(shared: coble.Engine, bundle: Callable[..., Path], tmp_path: Path, canary: Path) -> None:
    def create(folder: Path) -> None:
        shared.containers.create(bundle=folder).remove()

    with pytest.raises(coble.PathNotFoundError):
        create(tmp_path / "nowhere")
    folder = bundle()
    config = folder / "config.json"
    good = config.read_text()
    config.unlink()
    with pytest.raises(coble.PathNotFoundError):
        create(folder)
    os.mkfifo(config)
    with pytest.raises(coble.InvalidArgumentError, match="not a regular file"):
        create(folder)
    config.unlink()
    config.symlink_to(canary / "file")
    with pytest.raises(coble.CobleError):
        create(folder)
    config.unlink()
    for text in ("", "[]", "{", "[" * 100_000, good[:-1], "\ufeff" + good):
        config.write_text(text)
        with pytest.raises(coble.InvalidArgumentError):
            create(folder)
    config.write_bytes(b"\xff\xfe{}")
    with pytest.raises(coble.InvalidArgumentError, match="UTF-8"):
        create(folder)
    config.write_text(" " * (1 << 20) + good)
    with pytest.raises(coble.LimitExceededError):
        create(folder)


def test_a_relative_root_stays_in_the_bundle(engine: coble.Engine, bundle: Callable[..., Path], rootfs: Path, canary: Path) -> None:
    folder = bundle(lambda config: config["root"].update(path="rootfs"))
    (folder / "rootfs").symlink_to(rootfs)
    with pytest.raises(coble.CobleError):
        engine.containers.create(bundle=folder)
    (folder / "rootfs").unlink()
    shutil.copytree(rootfs, folder / "rootfs", symlinks=True)
    assert b"bundled" in engine.run(bundle=folder).stdout


def test_what_nobody_knows_is_a_warning(engine: coble.Engine, bundle: Callable[..., Path]) -> None:
    def change(config: Config) -> None:
        config["extra"] = 1
        config["linux"]["more"] = {}
        config["mounts"][8]["options"].append("noatime")

    found = [warning for warning in engine.run(bundle=bundle(change)).warnings if warning.code == "bundle-unknown"]
    assert len(found) == 1
    assert all(word in found[0].message for word in ("extra", "linux.more", "noatime"))


def test_a_cgroup_namespace_that_is_not_named_is_its_own(engine: coble.Engine, bundle: Callable[..., Path]) -> None:
    folder = bundle(lambda config: config["linux"]["namespaces"].pop(5))
    for options, own in [({}, True), ({"cgroupns": "host"}, False)]:
        done = engine.run(bundle=folder, **options)
        assert done.isolation is not None
        assert [space.own for space in done.isolation.namespaces if space.name == "cgroup"] == [own]


def test_namespaces_that_are_not_named_are_the_hosts_if_the_caller_agrees(engine: coble.Engine, bundle: Callable[..., Path]) -> None:
    folder = bundle(lambda config: config["linux"].update(namespaces=[n for n in config["linux"]["namespaces"] if n["type"] != "network"], sysctl={}))
    with pytest.raises(coble.UnsupportedError, match="network=host"):
        engine.run(bundle=folder)
    done = engine.run(command=["readlink", "/proc/self/ns/net"], bundle=folder, network="host")
    assert done.stdout.decode().strip() == os.readlink("/proc/self/ns/net")


@pytest.mark.root
def test_devices_and_limits(engine: coble.Engine, bundle: Callable[..., Path]) -> None:
    stat = os.stat("/dev/full")
    node = {"path": "/dev/loop-control", "type": "c", "major": 10, "minor": 237}

    def change(config: Config) -> None:
        config["linux"]["devices"] = [{"path": "/dev/full", "type": "c", "major": os.major(stat.st_rdev), "minor": os.minor(stat.st_rdev)}]
        if os.path.exists(node["path"]):
            config["linux"]["devices"].append(node)
            config["linux"]["resources"]["devices"].append({"allow": True, "type": "c", "major": 10, "minor": 237, "access": "r"})
        config["linux"]["resources"].update(pids={"limit": 30}, memory={"limit": 64 << 20, "swap": -1}, cpu={"shares": 512})

    container = engine.containers.create(command=["ls", "/dev"], bundle=bundle(change))
    spec = container.inspect().spec
    assert (spec.pids_limit, spec.mem_limit, spec.memswap_limit, spec.cpu_shares) == (30, 64 << 20, -1, 512)
    if os.path.exists(node["path"]):
        assert spec.devices == ["/dev/loop-control:/dev/loop-control:r"]
    container.remove()


def test_the_seccomp_profile_of_a_bundle(engine: coble.Engine, bundle: Callable[..., Path]) -> None:
    def change(config: Config) -> None:
        config["linux"]["seccomp"] = {"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_AARCH64"], "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38}]}
        config["process"]["args"] = ["mkdir", "/tmp/x"]

    done = engine.run(bundle=bundle(change))
    assert done.exit_code == 1 and b"not implemented" in done.stderr


@pytest.mark.skipif(not shutil.which("runc"), reason="needs runc")
def test_what_runc_writes(engine: coble.Engine, assets: Assets, tmp_path: Path) -> None:
    rootfs = unpack(assets, tmp_path / "rootfs")
    before = facts(rootfs)
    command = ["runc", "spec"] if IS_ROOT else ["runc", "spec", "--rootless"]
    subprocess.run(command, cwd=tmp_path, check=True)
    config = json.loads((tmp_path / "config.json").read_text())
    config["process"].update(terminal=False, args=["sh", "-c", "hostname; id -u"])
    (tmp_path / "config.json").write_text(json.dumps(config))
    if MODE == "ranges":
        # One id for a caller who has more.
        with pytest.raises(coble.UnsupportedError, match=r"linux\.uidMappings"):
            engine.run(bundle=tmp_path)
        return
    # Without privileges it names no network namespace.
    assert engine.run(bundle=tmp_path, network="none" if IS_ROOT else "host", check=True).stdout == b"runc\n0\n"
    assert facts(rootfs) == before


def test_the_command_takes_directories_and_bundles(store: Store, rootfs: Path, bundle: Callable[..., Path]) -> None:
    coble_command = os.environ.get("COBLE_TEST_COMMAND", str(Path(sys.executable).parent / "coble"))

    def run(*words: object) -> subprocess.CompletedProcess[bytes]:
        command = [coble_command, "--data-root", store.data_root, "--run-root", store.run_root, *map(str, words)]
        return subprocess.run(command, capture_output=True, check=False, stdin=subprocess.DEVNULL)

    done = run("run", "--rm", "--rootfs", rootfs, "echo", "hello")
    assert (done.returncode, done.stdout) == (0, b"hello\n"), done.stderr
    done = run("run", "--rm", "--annotation", "a=b", "--bundle", bundle(), "cat", "/data/file")
    assert (done.returncode, done.stdout) == (0, b"of the bundle\n"), done.stderr
    assert run("run", "--rm", "--rootfs", rootfs, "--bundle", rootfs, "true").returncode == 125
    assert run("run", "--rm").returncode == 125
