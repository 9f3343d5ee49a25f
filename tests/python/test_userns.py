"""User namespaces of containers: ids that nobody else has, and files that have the container's ids all the same."""

from __future__ import annotations

import os
import pwd
import signal
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import coble
import pytest
from assets import Assets
from conftest import IS_ROOT, MODE, Store
from helpers import eventually, log_bytes, monitor_of, sh, wait_for_exit, wait_for_output

SIZE = 65536
NOBODY = 65534
#: How many ids a container gets that says nothing of their number. An ordinary user has few: 1024, and that of nobody.
USUAL = SIZE if IS_ROOT else 1025

UID, GID = os.getuid(), os.getgid()

ranges = pytest.mark.skipif(MODE != "ranges", reason="needs an ordinary user with ranges of ids")
ordinary = pytest.mark.skipif(IS_ROOT, reason="root's containers have it otherwise")
#: What root and an ordinary user with ranges of ids have in common.
several = pytest.mark.skipif(MODE == "single", reason="there are no other ids")

Range = tuple[int, int, int]


def map_of(text: str) -> list[Range]:
    """The lines of an id map: inside, outside, count."""
    return [(int(inside), int(outside), int(count)) for inside, outside, count in map(str.split, text.splitlines())]


def ids_of(container: coble.Container) -> Range:
    """The one range of a container that runs, as the host sees it; that of groups is as large. Its end may be `nobody` inside."""
    pid = container.inspect().pid
    users, groups = (map_of(Path(f"/proc/{pid}/{name}").read_text()) for name in ("uid_map", "gid_map"))
    assert [(line[0], line[2]) for line in users] == [(line[0], line[2]) for line in groups]
    inside, outside, count = users[0]
    assert inside == 0 and users[1:] in ([], [(NOBODY, outside + count, 1)])
    return 0, outside, count + len(users) - 1


def subordinate() -> tuple[int, int]:
    """The first id of the caller's range, and how many it has."""
    name = pwd.getpwuid(UID).pw_name
    lines = (line.split(":") for line in Path("/etc/subuid").read_text().splitlines())
    return next((int(first), int(count)) for owner, first, count in lines if owner in (name, str(UID)))


def disjoint(ranges: list[Range]) -> bool:
    ends = sorted((outside, outside + count) for _, outside, count in ranges)
    return all(before[1] <= after[0] for before, after in zip(ends, ends[1:], strict=False))


@pytest.fixture
def own(shared: coble.Engine) -> Iterator[coble.Container]:
    """A container with ids of its own that runs."""
    with shared.containers.run("box", ["sleep", "1000"], userns_mode="auto") as container:
        yield container


# --- ids ------------------------------------------------------------------------------------------------------------


@several
def test_containers_have_ranges_that_no_other_one_has(shared: coble.Engine, own: coble.Container) -> None:
    with shared.containers.run("box", ["sleep", "1000"], userns_mode="auto:size=1000") as other:
        ranges = [ids_of(own), ids_of(other)]
        assert [count for _, _, count in ranges] == [USUAL, 1000] and disjoint(ranges)
        assert not {0, UID} & set(range(ranges[0][1], ranges[0][1] + USUAL))
        links = [os.readlink(f"/proc/{container.inspect().pid}/ns/user") for container in (own, other)]
        assert len({*links, os.readlink("/proc/self/ns/user")}) == 3
    isolation = own.inspect().isolation
    assert isolation is not None
    inside, outside, count = ids_of(own)
    # As the engine's user namespace has them, in which an ordinary user's range begins with 1.
    before = 0 if IS_ROOT else subordinate()[0] - 1
    users = [(inside, outside - before, count)] if IS_ROOT else [(0, outside - before, 1024), (NOBODY, outside - before + 1024, 1)]
    assert map_of(isolation.user.uid_map) == users and isolation.user.uid == 0
    assert isolation.rootless is not IS_ROOT
    assert next(namespace for namespace in isolation.namespaces if namespace.name == "user").own


@several
def test_its_programs_are_nobody_on_the_host_and_root_inside(own: coble.Container) -> None:
    _, outside, _ = ids_of(own)
    details = own.inspect()
    status = Path(f"/proc/{details.pid}/status").read_text()
    group = map_of(Path(f"/proc/{details.pid}/gid_map").read_text())[0][1]
    for field, outside in (("Uid", outside), ("Gid", group)):
        line = next(line for line in status.splitlines() if line.startswith(f"{field}:"))
        assert set(line.split()[1:]) == {str(outside)}, line
    assert next(line for line in status.splitlines() if line.startswith("Groups:")).split()[1:] in ([], [str(group)])
    inside = own.exec(["sh", "-c", "id -u; id -g; id -G; stat -c %u:%g /bin/busybox /proc/1 /dev /dev/shm /tmp; cat /proc/self/setgroups"], check=True).stdout.decode().split()
    assert inside == ["0", "0", "0", *["0:0"] * 5, "allow"]


@several
def test_capabilities_are_over_the_container_alone(shared: coble.Engine) -> None:
    script = """
        mkdir /m; mount -t tmpfs none /m && hostname other && ip link set lo down
        grep CapEff /proc/self/status
        mknod /tmp/sda b 8 0 2> /dev/null || echo no node
        echo 1 2> /dev/null > /proc/sys/vm/drop_caches || echo no cache
        hostname
    """
    options: dict[str, Any] = {"cap_add": ["SYS_ADMIN", "NET_ADMIN"], "security_opt": ["seccomp=unconfined", "systempaths=unconfined"]}
    found = sh(shared, script, userns_mode="auto", **options).splitlines()
    assert found[1:] == ["no node", "no cache", "other"]
    assert os.uname().nodename != "other"
    every = sh(shared, "grep CapEff /proc/self/status", userns_mode="auto", cap_add=["ALL"])
    assert int(every.split()[1], 16) > 1 << 37


@pytest.mark.root
def test_explicit_maps(shared: coble.Engine) -> None:
    maps = {"uidmap": ["0:300000:10", "1000:310000"], "gidmap": ["0:400000:70000"]}
    with shared.containers.run("box", ["sleep", "1000"], user="1000:5", **maps) as container:
        pid = container.inspect().pid
        assert map_of(Path(f"/proc/{pid}/uid_map").read_text()) == [(0, 300000, 10), (1000, 310000, 1)]
        assert map_of(Path(f"/proc/{pid}/gid_map").read_text()) == [(0, 400000, 70000)]
        assert os.stat(f"/proc/{pid}").st_uid in (310000, 0)
        assert container.exec(["id", "-u"], check=True).stdout == b"1000\n"
        spec = container.inspect().spec
        assert (spec.uidmap, spec.gidmap, spec.userns_mode) == (maps["uidmap"], maps["gidmap"], "")
        # What is given automatically keeps clear of them.
        with shared.containers.run("box", ["sleep", "1000"], userns_mode="auto") as other:
            assert disjoint([ids_of(other), (0, 300000, 10), (0, 400000, 70000)])
    assert map_of(sh(shared, "cat /proc/self/gid_map", uidmap=["0:500000:2"])) == [(0, 500000, 2)]
    with pytest.raises(coble.InvalidArgumentError, match="not mapped"):
        shared.run("box", ["true"], userns_mode="auto:size=1000", user="1000", check=True)


@several
def test_ranges_are_free_again_after_removal_and_after_a_kill(store: Store, assets: Assets) -> None:
    code = """
import os, signal, sys, coble
engine = coble.Engine(data_root=sys.argv[1], run_root=sys.argv[2])
engine.containers.create("box", ["true"], userns_mode="auto", lifetime="session")
os.kill(os.getpid(), signal.SIGKILL)
"""
    with store.engine() as engine:
        engine.images.import_rootfs(assets.busybox, "box")

        def first() -> Range:
            return map_of(sh(engine, "cat /proc/self/uid_map", userns_mode="auto"))[0]

        lowest = first()
        assert first() == lowest
        killed = subprocess.run([sys.executable, "-c", code, store.data_root, store.run_root], check=False)
        assert killed.returncode == -signal.SIGKILL
        assert engine.verify() == []
        assert first() == lowest
        with engine.containers.create("box", ["true"], userns_mode="auto"):
            assert first() != lowest


@several
def test_a_range_stays_over_a_restart_and_a_rename(shared: coble.Engine) -> None:
    with shared.containers.run("box", ["sh", "-c", "echo x > /kept; sleep 1000"], userns_mode="auto") as container:
        before = ids_of(container)
        container.stop(timeout=0)
        with shared.containers.run("box", ["sleep", "1000"], userns_mode="auto") as other:
            container.start()
            assert ids_of(container) == before and disjoint([before, ids_of(other)])
        assert container.exec(["stat", "-c", "%u", "/kept"], check=True).stdout == b"0\n"


@pytest.mark.root
def test_exhaustion_says_what_can_be_done(box: coble.Engine) -> None:
    made: list[coble.Container] = []
    try:
        with pytest.raises(coble.CobleError) as failed:
            for _ in range(300):
                made.append(box.containers.create("box", ["true"], userns_mode="auto:size=16777216"))
        assert failed.value.kind == "LimitExceeded"
        assert "auto:size=" in str(failed.value.hint) and "/etc/subuid" in str(failed.value.hint)
        assert made
        made.pop(0).remove()
        made.append(box.containers.create("box", ["true"], userns_mode="auto:size=16777216"))
    finally:
        for container in made:
            container.remove(force=True)


@several
def test_eight_processes_get_ranges_at_once(store: Store, assets: Assets) -> None:
    code = """
import sys, coble
engine = coble.Engine(data_root=sys.argv[1], run_root=sys.argv[2])
for _ in range(3):
    print(engine.containers.run("box", ["sleep", "1000"], userns_mode="auto", lifetime="detached").id)
"""
    with store.engine() as engine:
        engine.images.import_rootfs(assets.busybox, "box")
        try:
            command = [sys.executable, "-c", code, str(store.data_root), str(store.run_root)]
            processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(8)]
            outputs = [process.communicate(timeout=120)[0] for process in processes]
            assert [process.returncode for process in processes] == [0] * 8
            ranges = [ids_of(engine.containers.get(name)) for output in outputs for name in output.split()]
            assert len(ranges) == 24 and disjoint(ranges)
        finally:
            for summary in engine.containers.list(all=True):
                engine.containers.get(summary.id).remove(force=True)


# --- files ----------------------------------------------------------------------------------------------------------


@pytest.mark.root
def test_files_have_the_ids_of_the_container_everywhere(box: coble.Engine, tmp_path: Path) -> None:
    make = "mkdir /d; echo a > /d/root; echo b > /d/user; chown 1000:1001 /d/user; cp /bin/busybox /d/id; chown 5:6 /d/id; chmod 6755 /d/id; rm /etc/group"
    # Once: the program of a copy begins anew, and a file that it copies over has no set-id bits until it gives them.
    script = f"[ -e /d ] || {{ {make}; }}; sleep 1000"
    container = box.containers.run("box", ["sh", "-c", script], userns_mode="auto")
    with container:
        eventually(lambda: container.exec(["test", "!", "-e", "/etc/group"]).exit_code == 0, "the files")
        wanted = {"root": (0, 0, 0o644), "user": (1000, 1001, 0o644), "id": (5, 6, 0o6755)}

        def listed() -> dict[str, tuple[int, int, int]]:
            return {entry.name: (entry.uid, entry.gid, entry.mode) for entry in container.list_files("/d")}

        def archived(write: Any) -> dict[str, tuple[int, int, int]]:
            file = tmp_path / "archive.tar"
            write(file)
            with tarfile.open(file) as archive:
                members = {Path(member.name).name: member for member in archive if "d/" in member.name}
            return {name: (member.uid, member.gid, member.mode) for name, member in members.items()}

        for running in (True, False):
            assert listed() == wanted, running
            assert archived(lambda file: container.get_archive("/d", file)) == wanted, running
            assert archived(container.export) == wanted, running
            assert {(change.kind, change.path) for change in container.diff()} >= {("added", "/d/user"), ("deleted", "/etc/group")}, running
            container.write_file("/d/written", b"w", user="1000:1001")
            assert [(entry.uid, entry.gid) for entry in container.list_files("/d") if entry.name == "written"] == [(1000, 1001)], running
            source = tmp_path / "source"
            source.write_text("s")
            container.copy_to(source, "/d/copied")
            assert [(entry.uid, entry.gid) for entry in container.list_files("/d") if entry.name == "copied"] == [(0, 0)], running
            if running:
                assert container.exec(["sh", "-c", "stat -c %u:%g /d/written /d/copied; rm /d/written /d/copied"], check=True).stdout == b"1000:1001\n0:0\n"
                image = container.commit("made")
                copy = container.snapshot()
                container.stop(timeout=0)
            else:
                container.start()
        for options in ({}, {"userns_mode": "auto"}, {"uidmap": ["0:700000:2000"]}):
            found = box.run("made", ["sh", "-c", "cd /d; stat -c '%n %u %g %a' *"], check=True, **options).stdout.decode()
            assert found == "id 5 6 6755\nroot 0 0 644\nuser 1000 1001 644\n", options
        assert {entry.name: (entry.uid, entry.gid, entry.mode) for entry in copy.list_files("/d")} == wanted
        with copy:
            copy.start()
            assert copy.exec(["sh", "-c", "cd /d; stat -c '%n %u %g %a' *"], check=True).stdout.decode() == found
            assert ids_of(copy) != ids_of(container) and disjoint([ids_of(copy), ids_of(container)])
            assert copy.exec(["stat", "-c", "%u:%g", "/d/user"], check=True).stdout == b"1000:1001\n"
        assert image


@pytest.mark.root
def test_the_image_and_the_writable_layer_are_owned_by_no_range(box: coble.Engine, store: Store) -> None:
    """SEC-49."""
    with box.containers.run("box", ["sh", "-c", "touch /made; chown 7 /bin; echo done; sleep 1000"], userns_mode="auto") as container:
        wait_for_output(container, b"done")
        owners = {path.lstat().st_uid for path in store.data_root.rglob("*")}
        upper = store.data_root / "containers" / container.id / "upper"
        assert (upper / "made").stat().st_uid == 0 and (upper / "bin").stat().st_uid == 7
        assert max(owners) < SIZE
        _, outside, _ = ids_of(container)
        looked = subprocess.run(["setpriv", f"--reuid={outside}", f"--regid={outside}", "--clear-groups", "ls", upper], capture_output=True, check=False)
        assert looked.returncode != 0, "the container's own ids reach its files on the host"


@several
def test_set_user_id_programs_work_inside(box: coble.Engine) -> None:
    with box.containers.run("box", ["sleep", "1000"], userns_mode="auto", security_opt=["no-new-privileges=false"]) as container:
        container.exec(["sh", "-c", "cp /bin/probe /tmp/probe; chmod 4755 /tmp/probe; echo x > /mine; chmod 600 /mine"], check=True)
        opened = [container.exec([program, "open", "/mine", "r"], user="1000").stdout for program in ("/bin/probe", "/tmp/probe")]
        assert b"EACCES" in opened[0] and b"EACCES" not in opened[1], opened


@pytest.mark.root
def test_binds_belong_to_the_host_unless_they_are_mapped(shared: coble.Engine, tmp_path: Path) -> None:
    folder = tmp_path / "shared"
    folder.mkdir(mode=0o755)
    tmp_path.chmod(0o711)
    (folder / "user").write_text("x")
    os.chown(folder / "user", 1000, 1000)
    script = "stat -c %u /in /in/user; echo y > /in/made && stat -c %u /in/made"
    plain = shared.run("box", ["sh", "-c", script], userns_mode="auto", volumes=[f"{folder}:/in"])
    assert plain.stdout.split() == [b"65534", b"65534"] and plain.exit_code != 0
    for mount in (
        {"volumes": [f"{folder}:/in:idmap"]},
        {"mounts": [coble.Mount("/in", str(folder), "bind", options=["idmap"])]},
    ):
        assert sh(shared, script, userns_mode="auto", **mount).split() == ["0", "1000", "0"]
        assert (folder / "made").stat().st_uid == 0
        (folder / "made").unlink()
    with pytest.raises(coble.InvalidArgumentError, match="idmap"):
        shared.run("box", ["true"], volumes=[f"{folder}:/in:idmap"])


@pytest.mark.root
def test_a_file_system_that_cannot_be_mapped_is_named(shared: coble.Engine) -> None:
    with pytest.raises(coble.CobleError, match="other ids"):
        shared.run("box", ["true"], userns_mode="auto", volumes=["/sys/kernel:/in:idmap"])


# --- with everything else -------------------------------------------------------------------------------------------


@pytest.mark.root
@pytest.mark.parametrize(
    "options",
    [
        {"read_only": True},
        {"init": True},
        {"network": "host"},
        {"tmpfs": {"/t": "size=1m"}},
        {"user": "1000:1000"},
        {"sysctls": {"net.core.somaxconn": "7"}},
        {"pids_limit": 50, "mem_limit": "64m"},
        {"devices": ["/dev/zero:/dev/other"]},
        {"ipc_mode": "none"},
        {"uts_mode": "host"},
        {"ipc_mode": "host"},
        {"pid_mode": "host"},
        {"cap_drop": ["ALL"]},
        {"ulimits": ["nofile=100:200"]},
        {"restart_policy": "no"},
    ],
    ids=str,
)
def test_together_with_other_options(shared: coble.Engine, options: dict[str, Any]) -> None:
    script = "id -u; cat /proc/self/uid_map; ls /proc/self > /dev/null && ls /sys > /dev/null && echo > /dev/null && echo fine"
    with shared.containers.run("box", ["sh", "-c", f"{script}; sleep 1000"], userns_mode="auto", **options) as container:
        wait_for_output(container, b"fine")
        assert container.exec(["sh", "-c", script], check=True).stdout.splitlines()[-1] == b"fine"


@several
def test_terminals_exec_and_health(shared: coble.Engine) -> None:
    check = {"test": ["CMD", "test", "-O", "/bin"], "interval": 200_000_000}
    with shared.containers.run("box", ["sleep", "1000"], userns_mode="auto", tty=True, healthcheck=check) as container:
        eventually(lambda: container.inspect().health is not None and container.inspect().health.status == "healthy", "healthy", 30)
        found = container.exec(["sh", "-c", "tty; stat -c %u:%g $(tty) /dev/console; echo x > $(tty)"], tty=True, check=True).stdout.split()
        assert found[0].startswith(b"/dev/pts/") and found[1:] == [b"0:5", b"0:5", b"x"]
        other = container.exec(["sh", "-c", "id -u; stat -c %u $(tty)"], tty=True, user="1000", check=True).stdout.split()
        assert other == [b"1000", b"1000"]
        if IS_ROOT:
            container.pause()
            container.unpause()
            assert container.stats().pids >= 1


@several
def test_the_program_is_started_again_with_the_same_ids(shared: coble.Engine) -> None:
    with shared.containers.run("box", ["sh", "-c", "echo run; ip link | grep -c lo; head -n 1 /proc/self/uid_map; sleep 0.2; exit 3"], userns_mode="auto", restart_policy="on-failure:2") as container:
        eventually(lambda: container.inspect().state == "exited", "the end", 60)
        assert container.inspect().exit_code == 3
        lines = log_bytes(container).decode().splitlines()
        assert len(lines) == 9 and lines[:3] == lines[3:6] == lines[6:], lines


@pytest.mark.root
def test_a_directory_and_secrets(shared: coble.Engine, assets: Assets, tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    with tarfile.open(assets.busybox) as archive:
        archive.extractall(root, filter="tar")
    tmp_path.chmod(0o700)
    script = "stat -c %u /bin/busybox; echo x > /x; cat /run/secrets/s; stat -c ' %u' /run/secrets/s"
    done = shared.run(rootfs=root, command=["sh", "-c", script], userns_mode="auto", check=True, secrets=[coble.Secret("s", b"word", uid=7)])
    assert done.stdout.split() == [b"0", b"word", b"7"] and not (root / "x").exists()


# --- refusals -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "kind"),
    [
        ({"userns_mode": "somebody"}, "InvalidArgument"),
        ({"userns_mode": "ns:/proc/1/ns/user"}, "Unsupported"),
        ({"userns_mode": "keep-id:size=1"}, "Unsupported"),
        ({"userns_mode": "keep-id:uid=x"}, "InvalidArgument"),
        ({"userns_mode": "keep-id", "privileged": True}, "InvalidArgument"),
        ({"userns_mode": "keep-id", "network": "container:x"}, "InvalidArgument"),
        ({"userns_mode": "auto:size=0"}, "InvalidArgument"),
        ({"userns_mode": "private"}, "InvalidArgument"),
        ({"userns_mode": "auto", "uidmap": ["0:1:1"]}, "InvalidArgument"),
        ({"uidmap": ["0:1:0"]}, "InvalidArgument"),
        ({"uidmap": ["0:1:2", "2:2:1"]}, "InvalidArgument"),
        ({"gidmap": ["0:4294967295:1"]}, "InvalidArgument"),
        ({"userns_mode": "host", "gidmap": ["0:1:1"]}, "InvalidArgument"),
        ({"uidmap": ["1:1:1"]}, "InvalidArgument"),
        ({"uidmap": ["0:1:1", "0:2:1"]}, "InvalidArgument"),
        ({"userns_mode": "auto", "privileged": True}, "InvalidArgument"),
        ({"userns_mode": "auto", "network": "container:x"}, "InvalidArgument"),
        ({"userns_mode": "auto", "pid_mode": "container:x"}, "InvalidArgument"),
    ],
    ids=str,
)
def test_what_cannot_be_is_refused(shared: coble.Engine, options: dict[str, Any], kind: str) -> None:
    with pytest.raises(coble.CobleError) as failed:
        shared.containers.create("box", ["true"], **options)
    assert failed.value.kind == kind


def test_the_engines_own_namespace_is_the_default(shared: coble.Engine) -> None:
    assert sh(shared, "cat /proc/self/uid_map", userns_mode="host") == sh(shared, "cat /proc/self/uid_map")


# --- in common with others --------------------------------------------------------------------------------------------


@pytest.mark.root
@pytest.mark.parametrize("restart", [False, True])
def test_who_joins_such_a_container_has_its_ids(shared: coble.Engine, restart: bool) -> None:
    end = "[ -e /again ] && sleep 1000; touch /again; exit 1" if restart else "sleep 1000"
    script = f"id -u; stat -c %u /bin/busybox; touch /made; stat -c %u /made; {end}"
    with shared.containers.run("box", ["sleep", "1000"], userns_mode="auto", ipc_mode="shareable", hostname="first") as first:
        modes = {option: f"container:{first.id}" for option in ("network", "pid_mode", "ipc_mode")}
        for options in (modes, {"network": modes["network"]}):
            if restart:
                options = {**options, "restart_policy": "always"}
            with shared.containers.run("box", ["sh", "-c", script], **options) as second:
                wait_for_output(second, b"0\n0\n0\n")
                if not restart:
                    assert ids_of(second) == ids_of(first)
                if restart:
                    eventually(lambda: log_bytes(second).count(b"0\n") == 6, "both runs", 30)
                    assert ids_of(second) == ids_of(first)
                isolation = second.inspect().isolation
                assert isolation is not None
                joined = {namespace.name: namespace.container for namespace in isolation.namespaces if namespace.container}
                assert joined.keys() >= {"user", "net"} and set(joined.values()) == {first.id}
                assert second.exec(["hostname"], check=True).stdout
                second.write_file("/written", b"x", user="5:6")
                assert [(entry.uid, entry.gid) for entry in second.list_files("/") if entry.name == "written"] == [(5, 6)]
        for options, kind in (({"privileged": True}, "InvalidArgument"), ({"userns_mode": "auto"}, "InvalidArgument")):
            with pytest.raises(coble.CobleError) as failed:
                shared.run("box", ["true"], network=modes["network"], **options)
            assert failed.value.kind == kind
        with shared.containers.run("box", ["sleep", "1000"], ipc_mode="shareable") as plain, pytest.raises(coble.UnsupportedError, match="user namespace"):
            shared.run("box", ["true"], network=modes["network"], ipc_mode=f"container:{plain.id}")


@pytest.mark.root
@pytest.mark.parametrize("options", [{}, {"user": "1000"}, {"userns_mode": "auto"}, {"userns_mode": "auto", "user": "1000"}], ids=str)
def test_standard_streams_can_be_opened_by_name(shared: coble.Engine, options: dict[str, Any]) -> None:
    script = "echo out > /dev/stdout; echo err > /dev/stderr; cat /dev/stdin"
    done = shared.run("box", ["sh", "-c", script], check=True, input=b"in", **options)
    assert (done.stdout, done.stderr) == (b"out\nin", b"err\n")
    with shared.containers.run("box", ["sh", "-c", f"{script}; sleep 1000"], **options) as container:
        wait_for_output(container, b"err")
        done = container.exec(["sh", "-c", script], input=b"in")
        assert (done.stdout, done.stderr) == (b"out\nin", b"err\n")


# --- of an ordinary user ----------------------------------------------------------------------------------------------

@ordinary
def test_keep_id_makes_the_caller_himself_inside(box: coble.Engine, tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "file").write_text("x")
    script = "id -u; id -g; stat -c %u:%g /in /in/file; echo y > /in/made; stat -c %u:%g /in/made; cat /in/made"
    done = box.run("box", ["sh", "-c", script], userns_mode="keep-id", volumes=[f"{folder}:/in"], check=True)
    own = f"{UID}:{GID}"
    assert done.stdout.decode().split() == [str(UID), str(GID), own, own, own, "y"]
    made = (folder / "made").stat()
    assert (made.st_uid, made.st_gid) == (UID, GID)
    assert done.isolation is not None and done.isolation.rootless
    uids = map_of(done.isolation.user.uid_map)
    assert (UID, 0, 1) in uids
    if MODE == "ranges":
        assert [line[0] for line in uids] == [0, UID, UID + 1] and sum(line[2] for line in uids) == SIZE + 1
    else:
        assert uids == [(UID, 0, 1)]


@ranges
def test_keep_id_with_other_numbers(box: coble.Engine) -> None:
    script = "id -u; id -g; cat /proc/self/uid_map"
    done = box.run("box", ["sh", "-c", script], userns_mode="keep-id:uid=5,gid=7", check=True).stdout.decode().splitlines()
    assert done[:2] == ["5", "7"] and map_of("\n".join(done[2:])) == [(0, 1, 5), (5, 0, 1), (6, 6, SIZE - 5)]
    # Who says who he is, is that.
    assert box.run("box", ["id", "-u"], userns_mode="keep-id", user="0", check=True).stdout == b"0\n"
    # As an image does.
    with box.containers.create("box", ["true"]) as container:
        container.commit("named", changes=["USER 3:4"])
    assert box.run("named", ["id", "-u"], userns_mode="keep-id", check=True).stdout == b"3\n"


#: Maps of an ordinary user's ids, in which he is in the middle.
MAPS = {"uidmap": [f"0:1:{UID}", f"{UID}:0:1", f"{UID + 1}:20000:5000"], "gidmap": [f"0:30000:{GID}", f"{GID}:0", f"{GID + 1}:5:9"]}


@ranges
@pytest.mark.parametrize("options", [{"userns_mode": "keep-id"}, {"userns_mode": "nomap"}, {"userns_mode": "auto"}, MAPS], ids=lambda options: options.get("userns_mode", "maps"))
def test_the_image_is_roots_and_files_have_the_ids_of_the_container(box: coble.Engine, tmp_path: Path, options: dict[str, Any]) -> None:
    script = "cd /d && id -u && stat -c '%n %u %g %a' * && stat -c %u:%g / /bin /bin/busybox /etc /tmp && cat /proc/self/setgroups"
    make = f"mkdir /d; echo a > /d/root; echo b > /d/user; chown {UID}:{GID} /d/user; cp /bin/busybox /d/id; chown 5:6 /d/id; chmod 6755 /d/id; rm /etc/group"
    # Once: the program of a copy begins anew, and a file that it copies over has no set-id bits until it gives them.
    container = box.containers.create("box", ["sh", "-c", f"[ -e /d ] || {{ {make}; }}; {script}; sleep 1000"], user="0", **options)
    container.start()
    eventually(lambda: b"allow" in log_bytes(container), "the files")
    wanted = {"root": (0, 0, 0o644), "user": (UID, GID, 0o644), "id": (5, 6, 0o6755)}
    listed = f"id 5 6 6755\nroot 0 0 644\nuser {UID} {GID} 644\n"
    assert log_bytes(container).decode() == f"0\n{listed}" + "0:0\n" * 5 + "allow\n"

    def archived(write: Any) -> dict[str, tuple[int, int, int]]:
        file = tmp_path / "archive.tar"
        write(file)
        with tarfile.open(file) as archive:
            members = {Path(member.name).name: member for member in archive if "d/" in member.name}
        return {name: (member.uid, member.gid, member.mode) for name, member in members.items()}

    for running in (True, False):
        assert {entry.name: (entry.uid, entry.gid, entry.mode) for entry in container.list_files("/d")} == wanted, running
        assert archived(lambda file: container.get_archive("/d", file)) == wanted, running
        assert archived(container.export) == wanted, running
        assert {(change.kind, change.path) for change in container.diff()} >= {("added", "/d/user"), ("deleted", "/etc/group")}, running
        assert container.read_file("/d/root") == b"a\n"
        container.write_file("/d/written", b"w", user=f"{UID}:{GID}")
        assert [(entry.uid, entry.gid) for entry in container.list_files("/d") if entry.name == "written"] == [(UID, GID)], running
        source = tmp_path / "source"
        source.write_text("s")
        container.copy_to(source, "/d/copied")
        assert [(entry.uid, entry.gid) for entry in container.list_files("/d") if entry.name == "copied"] == [(0, 0)], running
        if running:
            assert container.exec(["sh", "-c", "stat -c %u:%g /d/written /d/copied; rm /d/written /d/copied"], check=True).stdout.decode() == f"{UID}:{GID}\n0:0\n"
            container.stop(timeout=0)
            container.commit("made", pause=False)
            copy = container.snapshot()
    # The image is the same for everybody.
    look = ["sh", "-c", "cd /d; stat -c '%n %u %g %a' *"]
    for other in ({}, {"userns_mode": "keep-id", "user": "0"}, {"userns_mode": "nomap"}, {"userns_mode": "auto"}, MAPS):
        assert box.run("made", look, check=True, **other).stdout.decode() == listed, other
    assert {entry.name: (entry.uid, entry.gid, entry.mode) for entry in copy.list_files("/d")} == wanted
    with copy:
        copy.start()
        assert copy.exec(look, check=True).stdout.decode() == listed
        assert copy.exec(["sh", "-c", "stat -c %u /; chown 7 /; chmod 700 /"], user="0", check=True).stdout == b"0\n"
        # The root of the container is not the caller's to open.
        copy.stop(timeout=0)
        assert ("changed", "/") not in {(change.kind, change.path) for change in copy.diff()}
        with copy.snapshot() as third:
            third.start()
            assert third.exec(["stat", "-c", "%u %a", "/"], user="0", check=True).stdout == b"7 700\n"
    container.remove(force=True)


@ranges
def test_nomap_has_nothing_of_the_callers(box: coble.Engine, tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    folder.mkdir(mode=0o755)
    tmp_path.chmod(0o755)
    (folder / "secret").write_text("x")
    (folder / "secret").chmod(0o600)
    (folder / "open").write_text("y")
    script = "id -u; stat -c %u /in /in/open; cat /in/open; cat /in/secret || echo no; touch /in/made || echo no; echo; cat /proc/self/uid_map"
    done = box.run("box", ["sh", "-c", script], userns_mode="nomap", cap_add=["ALL"], volumes=[f"{folder}:/in"], check=True).stdout.decode()
    first, uid_map = done.split("\n\n")
    assert first.split() == ["0", "65534", "65534", "yno", "no"]
    assert map_of(uid_map) == [(0, 1, SIZE)]
    with box.containers.run("box", ["sleep", "1000"], userns_mode="nomap") as container:
        pid = container.inspect().pid
        mapped = map_of(Path(f"/proc/{pid}/uid_map").read_text())
        assert all(not outside <= UID < outside + count for _, outside, count in mapped)


@ordinary
@pytest.mark.parametrize(
    "options",
    [
        {"read_only": True},
        {"init": True},
        {"network": "host"},
        {"tmpfs": {"/t": "size=1m"}},
        {"ipc_mode": "none"},
        {"uts_mode": "host"},
        {"cap_drop": ["ALL"]},
        {"sysctls": {"net.core.somaxconn": "7"}},
        {"devices": ["/dev/zero:/dev/other"]},
        {"ulimits": ["nofile=100:200"]},
        {"secrets": {"s": b"word"}},
    ],
    ids=str,
)
@pytest.mark.parametrize("mode", ["keep-id", "nomap", "auto"])
def test_a_users_ids_together_with_other_options(shared: coble.Engine, mode: str, options: dict[str, Any]) -> None:
    if mode != "keep-id" and MODE == "single":
        pytest.skip("there are no other ids")
    if MODE == "single" and "secrets" in options:
        options = {"secrets": [coble.Secret("s", b"word", uid=UID, gid=GID)]}
    script = "id -u; cat /proc/self/uid_map; ls /proc/self > /dev/null && ls /sys > /dev/null && echo > /dev/null && echo fine"
    with shared.containers.run("box", ["sh", "-c", f"{script}; sleep 1000"], userns_mode=mode, **options) as container:
        wait_for_output(container, b"fine")
        done = container.exec(["sh", "-c", script], check=True).stdout.splitlines()
        assert done[0].decode() == (str(UID) if mode == "keep-id" else "0") and done[-1] == b"fine"
        found = container.exec(["sh", "-c", "tty; echo x > $(tty)"], tty=True, check=True).stdout.split()
        assert found[0].startswith(b"/dev/pts/") and found[1] == b"x"


@ordinary
def test_a_users_program_is_started_again_with_the_same_ids(shared: coble.Engine) -> None:
    script = "echo run; ip link | grep -c lo; cat /proc/self/uid_map | head -1; sleep 0.2; exit 3"
    with shared.containers.run("box", ["sh", "-c", script], userns_mode="keep-id", restart_policy="on-failure:2") as container:
        eventually(lambda: container.inspect().state == "exited", "the end", 60)
        lines = log_bytes(container).decode().splitlines()
        assert len(lines) == 9 and lines[:3] == lines[3:6] == lines[6:], lines


@ranges
def test_two_containers_of_a_user_have_no_id_in_common(box: coble.Engine) -> None:
    first, count = subordinate()
    make = ["sh", "-c", "touch /mine && chown 1000:1000 /mine && chmod 600 /mine; sleep 1000"]
    with box.containers.run("box", make, userns_mode="auto") as one, box.containers.run("box", make, userns_mode="auto") as other:
        found = [ids_of(container) for container in (one, other)]
        assert disjoint(found) and all(first <= outside and outside + size <= first + count for _, outside, size in found)
        for container in (one, other):
            eventually(lambda: container.exec(["stat", "-c", "%u:%g %a", "/mine"]).stdout == b"1000:1000 600\n", "the file")
        # Also a program that is the same user inside both is two users outside.
        programs = [container.exec(["sh", "-c", "id -u; cat /proc/self/uid_map"], user="1000", check=True).stdout.split() for container in (one, other)]
        assert programs[0][0] == programs[1][0] == b"1000" and programs[0][2] != programs[1][2]


@ranges
def test_a_users_own_maps(box: coble.Engine, tmp_path: Path) -> None:
    first, count = subordinate()
    maps = {"uidmap": ["0:1:10", "1000:500", "2000:0"], "gidmap": ["0:100:3000"]}
    with box.containers.run("box", ["sleep", "1000"], user="1000:5", **maps) as container:
        pid = container.inspect().pid
        # In the caller's ranges, which follow one another from 1; he is 0.
        assert map_of(Path(f"/proc/{pid}/uid_map").read_text()) == [(0, first, 10), (1000, first + 499, 1), (2000, UID, 1)]
        isolation = container.inspect().isolation
        assert isolation is not None
        assert map_of(isolation.user.uid_map) == [(0, 1, 10), (1000, 500, 1), (2000, 0, 1)]
        assert map_of(isolation.user.gid_map) == [(0, 100, 3000)]
        assert container.exec(["id", "-u"], check=True).stdout == b"1000\n"
        assert container.exec(["stat", "-c", "%u:%g", "/bin/busybox"], check=True).stdout == b"0:0\n"
        # What is given automatically keeps clear of them.
        with box.containers.run("box", ["sleep", "1000"], userns_mode=f"auto:size={count - 3200}") as other:
            assert disjoint([ids_of(other), (0, first, 10), (0, first + 499, 1)])
    folder = tmp_path / "mine"
    folder.mkdir()
    done = box.run("box", ["sh", "-c", "echo x > /in/made; stat -c %u /in /in/made"], user="2000", volumes=[f"{folder}:/in"], check=True, **maps)
    assert done.stdout.split() == [b"2000"] * 2 and (folder / "made").stat().st_uid == UID
    # One alone is both.
    assert map_of(sh(box, "cat /proc/self/gid_map", uidmap=["0:500:2"]).replace("\t", " "))[0][2] == 2


@ranges
def test_maps_that_are_not_in_the_ranges(shared: coble.Engine) -> None:
    first, count = subordinate()
    for maps, kind in (
        ({"uidmap": [f"0:{first}:10"]}, "InvalidArgument"),
        ({"uidmap": [f"0:1:{count + 1}"]}, "InvalidArgument"),
        ({"gidmap": [f"0:{count + 1}:1"]}, "InvalidArgument"),
        ({"uidmap": ["0:0:4294967295"]}, "InvalidArgument"),
        ({"uidmap": ["0:1:1", "1:2:4294967295"]}, "InvalidArgument"),
        ({"uidmap": ["0:1:10", "10:10:1"]}, "InvalidArgument"),
        ({"uidmap": ["0:1:10", "9:20:1"]}, "InvalidArgument"),
        ({"uidmap": ["0:1:0"]}, "InvalidArgument"),
        ({"uidmap": ["0:-1:1"]}, "InvalidArgument"),
        ({"uidmap": ["4294967294:1:1"]}, "InvalidArgument"),
        ({"uidmap": [f"{n}:{n}" for n in range(341)]}, "InvalidArgument"),
        ({"uidmap": ["0:1:10\n11:12:1"]}, "InvalidArgument"),
        ({"userns_mode": f"auto:size={count + 1}"}, "LimitExceeded"),
    ):
        with pytest.raises(coble.CobleError) as failed:
            shared.containers.create("box", ["true"], **maps)
        assert failed.value.kind == kind, maps
    for maps in ({"uidmap": [f"0:{first}:10"]}, {"userns_mode": f"auto:size={count + 1}"}):
        with pytest.raises(coble.CobleError, match=f"1 to {count}, which are {first} to {first + count - 1} of /etc/subuid") as failed:
            shared.containers.create("box", ["true"], **maps)
        assert "/etc/subuid" in str(failed.value.hint)
    # All that there are, which are in two places of the host, and the highest that there is.
    assert map_of(sh(shared, "cat /proc/self/uid_map", uidmap=[f"0:0:{count + 1}"])) == [(0, 0, 1), (1, 1, count)]
    assert sh(shared, "cat /proc/self/uid_map", uidmap=["0:1:1", f"4294967294:{count}:1"]).split()[3] == "4294967294"


@ranges
def test_a_users_range_is_exhausted_and_free_again(box: coble.Engine, store: Store) -> None:
    _, count = subordinate()
    most = f"auto:size={count // 2 + 1}"
    with box.containers.create("box", ["true"], userns_mode=most) as first:
        with pytest.raises(coble.CobleError) as failed:
            box.containers.create("box", ["true"], userns_mode=most)
        assert failed.value.kind == "LimitExceeded"
        assert "auto:size=" in str(failed.value.hint) and "/etc/subuid" in str(failed.value.hint)
        # What is left is enough for others.
        assert map_of(sh(box, "cat /proc/self/uid_map", userns_mode=f"auto:size={count // 2 - 1}"))[0][2] == count // 2 - 1
        first.rename("renamed")
    with box.containers.create("box", ["true"], userns_mode=most) as again:
        again.start()
    assert box.verify() == [] and store.litter() == []


@ranges
def test_an_image_gets_as_many_ids_as_its_lists_have(box: coble.Engine) -> None:
    users = "root:x:0:0::/:/bin/sh\napp:x:2500:7::/:/bin/sh\nnobody:x:65534:65534::/:/bin/sh\n"
    with box.containers.create("box", ["true"]) as container:
        container.write_file("/etc/passwd", users.encode())
        container.write_file("/etc/group", b"root:x:0:\nmany:x:3000:\nnogroup:x:65534:\n")
        container.commit("users")
        container.write_file("/etc/passwd", b"\xff" * 2_000_000)
        container.commit("damaged")

    def count(image: str, **options: Any) -> int:
        found = map_of(box.run(image, ["cat", "/proc/self/uid_map"], userns_mode="auto", check=True, **options).stdout.decode())
        assert [line[0] for line in found] == [0, NOBODY]
        return found[0][2]

    assert count("box") == 1024 and count("users") == 3001 and count("damaged") == 3001
    assert count("users", user="4000") == 4001 and count("users", user="nobody") == 3001
    assert count("users", user="app", group_add=["5000"]) == 5001
    assert box.run("users", ["id", "-u"], userns_mode="auto", user="nobody", check=True).stdout == b"65534\n"
    # One of the last numbers needs nearly all that there are, and 65535 all.
    _, all_of_them = subordinate()
    if all_of_them == SIZE:
        assert count("box", user="65533") == 65534
        assert map_of(sh(box, "cat /proc/self/uid_map", userns_mode="auto", user="65535"))[0][2] == SIZE
    with pytest.raises(coble.InvalidArgumentError, match="not mapped"):
        box.run("box", ["true"], userns_mode="auto:size=10", user="1000", check=True)


@ranges
def test_files_of_ids_that_a_container_does_not_have(box: coble.Engine) -> None:
    with box.containers.create("box", ["sh", "-c", "cp /bin/busybox /high; chown 5000:5000 /high; chmod 6755 /high; cp -p /high /low; chown 9:9 /low; chmod 6755 /low"]) as container:
        container.start()
        container.wait()
        container.commit("made")
    look = ["stat", "-c", "%u %g %a", "/high", "/low"]
    assert box.run("made", look, userns_mode="auto:size=5001", check=True).stdout.decode().splitlines() == ["5000 5000 6755", "9 9 6755"]
    # They are root's there, and give nobody the rights that they were to give.
    assert box.run("made", look, userns_mode="auto:size=5000", check=True).stdout.decode().splitlines() == ["0 0 755", "9 9 6755"]


@ranges
def test_binds_of_a_container_with_ids_of_its_own(box: coble.Engine, tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    folder.mkdir(mode=0o755)
    tmp_path.chmod(0o755)
    (folder / "open").write_text("y")
    (folder / "secret").write_text("x")
    (folder / "secret").chmod(0o600)
    script = "stat -c %u /in /in/open; cat /in/open; echo; cat /in/secret || echo no; touch /in/made || echo no; chown 0 /in/open || echo no"
    done = box.run("box", ["sh", "-c", script], userns_mode="auto", cap_add=["ALL"], volumes=[f"{folder}:/in"], check=True)
    assert done.stdout.split() == [b"65534", b"65534", b"y", b"no", b"no", b"no"]
    folder.chmod(0o777)
    box.run("box", ["sh", "-c", "echo z > /in/made"], userns_mode="auto", volumes=[f"{folder}:/in"], check=True)
    first, count = subordinate()
    assert first <= (folder / "made").stat().st_uid < first + count


@ordinary
def test_a_bind_with_the_ids_that_it_has_anyway(shared: coble.Engine, tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    script = "echo x > /in/made; stat -c %u:%g /in /in/made"
    for mount in ({"volumes": [f"{folder}:/in:idmap"]}, {"mounts": [coble.Mount("/in", str(folder), "bind", options=["idmap"])]}):
        done = shared.run("box", ["sh", "-c", script], userns_mode="keep-id", check=True, **mount)
        assert done.stdout.decode().split() == [f"{UID}:{GID}"] * 2
        made = (folder / "made").stat()
        assert (made.st_uid, made.st_gid) == (UID, GID)
    modes: list[dict[str, Any]] = [{"userns_mode": f"keep-id:uid={UID + 1},gid={GID}"}]
    if MODE == "ranges":
        modes += [{"userns_mode": "nomap"}, {"userns_mode": "auto"}, {"uidmap": ["0:0:10"]}]
    for mode in modes:
        with pytest.raises(coble.UnsupportedError, match="only root") as failed:
            shared.containers.create("box", ["true"], volumes=[f"{folder}:/in:idmap"], **mode)
        assert "keep-id" in str(failed.value.hint), mode


@ordinary
def test_what_an_ordinary_user_cannot_have_is_said(shared: coble.Engine) -> None:
    if MODE == "single":
        for options in ({"userns_mode": "nomap"}, {"userns_mode": "auto"}, {"userns_mode": "auto:size=10"}, {"uidmap": ["0:0:1"]}, {"uidmap": ["0:1:1"]}):
            with pytest.raises(coble.UnsupportedError, match="no other ids than the caller's own: .*/etc/subuid"):
                shared.containers.create("box", ["true"], **options)
        with pytest.raises(coble.CobleError, match="not mapped"):
            shared.run("box", ["true"], userns_mode="keep-id", user="0", check=True)
    for options in ({"userns_mode": "keep-id"}, *([{"userns_mode": "auto"}] if MODE == "ranges" else [])):
        with shared.containers.run("box", ["sleep", "1000"], ipc_mode="shareable", **options) as own:
            with pytest.raises(coble.UnsupportedError, match="another user namespace"):
                shared.run("box", ["true"], ipc_mode=f"container:{own.id}")


@ranges
def test_layers_of_a_containers_own_ids_go_when_nobody_has_them(box: coble.Engine, store: Store) -> None:
    layers = store.data_root / "layers"

    def count() -> int:
        return len(list(layers.iterdir()))

    box.run("box", ["true"], check=True)
    before, usage = count(), box.disk_usage()
    with box.containers.run("box", ["sleep", "1000"], userns_mode="auto") as first:
        with box.containers.run("box", ["sleep", "1000"], userns_mode="auto") as second:
            assert count() == before + 2
            assert box.disk_usage().layers == usage.layers * 3
            assert box.images.prune().reclaimed == 0 and count() == before + 2
            assert second.exec(["stat", "-c", "%u", "/bin/busybox"], check=True).stdout == b"0\n"
        # The next one that has the same ids uses them again.
        reclaimable = box.disk_usage().reclaimable
        assert reclaimable > 0
        box.run("box", ["true"], userns_mode="auto", check=True)
        assert count() == before + 2
        assert box.images.prune().reclaimed == reclaimable
        assert count() == before + 1
        first.stop(timeout=0)
        assert first.read_file("/etc/passwd")
    # Whatever works on images takes them away.
    with box.containers.create("box", ["true"]) as other:
        other.commit("other")
    assert count() == before
    assert box.verify() == [] and store.litter() == []


@ranges
def test_who_dies_leaves_nothing_of_a_containers_own_ids(store: Store, assets: Assets) -> None:
    code = """
import sys, time, coble
engine = coble.Engine(data_root=sys.argv[1], run_root=sys.argv[2])
kept, gone = [
    engine.containers.run("box", ["sh", "-c", "echo x > /x; chown 5 /x; sleep 1000"], userns_mode="auto", name=name, lifetime=lifetime)
    for name, lifetime in (("kept", "detached"), ("gone", "session"))
]
print("ready", flush=True)
time.sleep(1000)
"""
    with store.engine() as engine:
        engine.images.import_rootfs(assets.busybox, "box")
        command = [sys.executable, "-c", code, str(store.data_root), str(store.run_root)]
        host = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert host.stdout is not None and host.stdout.readline() == "ready\n"
        kept = engine.containers.get("kept")
        eventually(lambda: kept.exec(["stat", "-c", "%u", "/x"]).stdout == b"5\n", "the file")
        ranges_of = {name: ids_of(engine.containers.get(name)) for name in ("kept", "gone")}
        monitor = monitor_of(kept)
        for pid in (host.pid, monitor):
            os.kill(pid, signal.SIGKILL)
        host.communicate()
        assert wait_for_exit(monitor)
        eventually(lambda: kept.inspect().state == "exited", "the end")
    with store.engine() as engine:
        kept = engine.containers.get("kept")
        assert [entry.uid for entry in kept.list_files("/") if entry.name == "x"] == [5]
        eventually(lambda: engine.verify() == [] and [one.name for one in engine.containers.list(all=True)] == ["kept"], "the sweep")
        with engine.containers.run("box", ["sleep", "1000"], userns_mode="auto") as next_one:
            assert ids_of(next_one) == ranges_of["gone"]
        kept.start()
        assert ids_of(kept) == ranges_of["kept"]
        kept.remove(force=True)
        engine.images.prune()
        assert len(list((store.data_root / "layers").iterdir())) == 1
        assert engine.verify() == []
    assert store.litter() == []


@ranges
def test_a_directory_of_the_callers_and_secrets(shared: coble.Engine, assets: Assets, tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir(mode=0o755)
    subprocess.run(["tar", "-xf", assets.busybox, "-C", root], check=True)
    tmp_path.chmod(0o700)
    script = "stat -c %u /bin/busybox; echo x > /x; stat -c %u / /x; cat /run/secrets/s; stat -c ' %u' /run/secrets/s"
    done = shared.run(rootfs=root, command=["sh", "-c", script], userns_mode="auto", check=True, secrets=[coble.Secret("s", b"word", uid=7)])
    assert done.stdout.split() == [b"65534", b"0", b"0", b"word", b"7"] and not (root / "x").exists()


@ranges
def test_a_snapshot_has_ids_of_its_own_again(box: coble.Engine, store: Store) -> None:
    make = "[ -e /d ] || { mkdir /d; echo a > /d/a; ln /d/a /d/b; chown 7:8 /d/a; rm /etc/group; rm -rf /tmp; mkdir /tmp; chown 9 /tmp; chown 3 /; chmod 710 /; }; echo done; sleep 1000"
    look = ["sh", "-c", "stat -c '%n %u %g %h' /d/a /d/b /tmp | cut -d ' ' -f 1-3; stat -c '%u %a' /; stat -c %h /d/b; ls /etc/group /tmp"]
    with box.containers.run("box", ["sh", "-c", make], userns_mode="auto") as one:
        wait_for_output(one, b"done")
        expected = one.exec(look).stdout
        assert expected.startswith(b"/d/a 7 8\n/d/b 7 8\n/tmp 9 0\n3 710\n2\n"), expected
        one.stop(timeout=0)
        with one.snapshot() as two:
            two.start()
            first = ids_of(two)
            assert two.exec(look).stdout == expected
            two.exec(["sh", "-c", "echo c > /d/c; chown 11 /d/c; rm /d/b"], check=True)
            two.stop(timeout=0)
            with two.snapshot() as three:
                one.start()
                two.start()
                three.start()
                assert disjoint([ids_of(container) for container in (one, two, three)])
                assert ids_of(two) == first and ids_of(three)[2] == first[2]
                assert three.exec(["sh", "-c", "stat -c '%n %u' /d/*"]).stdout == b"/d/a 7\n/d/c 11\n"
                assert one.exec(look).stdout == expected and two.exec(["cat", "/d/c"]).stdout == b"c\n"
                assert len(list((store.data_root / "frozen").iterdir())) == 3
            assert len(list((store.data_root / "frozen").iterdir())) == 1
    assert box.verify() == [] and store.litter() == []


@ranges
def test_the_same_with_the_command(store: Store, assets: Assets, tmp_path: Path) -> None:
    with store.engine() as engine:
        engine.images.import_rootfs(assets.busybox, "box")
    command = [os.environ.get("COBLE_TEST_COMMAND", str(Path(sys.executable).parent / "coble")), "--data-root", str(store.data_root), "--run-root", str(store.run_root)]

    def coble_(*words: str, code: int = 0) -> str:
        done = subprocess.run([*command, *words], capture_output=True, text=True, check=False)
        assert done.returncode == code, done.stderr
        return done.stdout if code == 0 else done.stderr

    name = coble_("run", "-d", "--name", "a", "--userns", "auto", "box", "sleep", "1000").strip()
    other = coble_("run", "--rm", "--userns", "auto:size=2000", "box", "cat", "/proc/self/uid_map")
    assert map_of(other)[0][2] == 2000
    (tmp_path / "file").write_text("x")
    coble_("cp", str(tmp_path / "file"), "a:/file")
    assert coble_("exec", "-u", "7", "a", "id", "-u") == "7\n"
    assert coble_("exec", "a", "stat", "-c", "%u", "/file") == "0\n"
    coble_("cp", "a:/file", str(tmp_path / "back"))
    assert (tmp_path / "back").read_text() == "x" and (tmp_path / "back").stat().st_uid == UID
    assert name and coble_("run", "--rm", "--uidmap", "0:1:100", "box", "sh", "-c", "cat /proc/self/gid_map").split()[2] == "100"
    first, _ = subordinate()
    error = coble_("run", "--rm", "--uidmap", f"0:{first}:100", "box", "true", code=125)
    assert "/etc/subuid" in error and "hint:" in error
    coble_("rm", "-f", "a")


@ranges
def test_layers_of_other_ids_go_with_their_image(box: coble.Engine, store: Store) -> None:
    layers = store.data_root / "layers"

    def count() -> int:
        return len(list(layers.iterdir()))

    box.run("box", ["true"], check=True)
    before, usage = count(), box.disk_usage()
    for mode, number in (("keep-id", 1), ("keep-id", 1), ("nomap", 2), ("keep-id:uid=5,gid=5", 3)):
        box.run("box", ["true"], userns_mode=mode, check=True)
        assert count() == before + number, mode
    after = box.disk_usage()
    assert after.layers == usage.layers * 4 and after.images[0].size > usage.images[0].size
    assert box.verify() == []
    scrub = box.scrub()
    assert scrub.problems == [] and scrub.layers == 1
    box.images.prune(all=True)
    assert count() == 0


@pytest.mark.root
@pytest.mark.parametrize("mode", ["keep-id", "nomap"])
def test_keeping_ids_is_for_ordinary_users(shared: coble.Engine, mode: str) -> None:
    with pytest.raises(coble.UnsupportedError, match="ordinary user"):
        shared.containers.create("box", ["true"], userns_mode=mode)
