"""What a contained program sees and may do, asked from inside, and what inspect says about it."""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import archives
import coble
import pytest
from conftest import CGROUPS, IS_ROOT, MODE, Assets, Store
from helpers import monitor_of, output, sh, status_fields
from test_command import Command

#: The field's default: CHOWN DAC_OVERRIDE FOWNER FSETID KILL SETGID SETUID SETPCAP NET_BIND_SERVICE NET_RAW SYS_CHROOT MKNOD
#: AUDIT_WRITE SETFCAP.
DEFAULT_CAPABILITIES = 0xA80425FB
MKNOD = 1 << 27


@pytest.fixture
def idle(shared: coble.Engine) -> Iterator[coble.Container]:
    container = shared.containers.create("box", ["sleep", "1000"])
    container.start()
    yield container
    container.remove(force=True)


def syscalls(engine: coble.Engine, **options: object) -> dict[str, str]:
    return dict(line.split() for line in output(engine, "probe", "syscalls", **options).splitlines())


# --- namespaces -----------------------------------------------------------------------------------------------------


@pytest.mark.vm
def test_own_namespaces(shared: coble.Engine) -> None:
    inside = sh(shared, "for n in mnt pid net ipc uts cgroup user; do readlink /proc/self/ns/$n; done").split()
    outside = [os.readlink(f"/proc/self/ns/{name}") for name in ("mnt", "pid", "net", "ipc", "uts", "cgroup", "user")]
    same = {one for one in inside if one in outside}
    assert len(inside) == 7
    assert same == ({os.readlink("/proc/self/ns/user")} if IS_ROOT else set())


@pytest.mark.vm
def test_it_is_process_1_and_alone(shared: coble.Engine) -> None:
    assert output(shared, "sh", "-c", "echo $$") == "1\n"
    assert output(shared, "ps", "-o", "pid,comm").split() == ["PID", "COMMAND", "1", "ps"]


def test_network_none_has_only_loopback(shared: coble.Engine) -> None:
    assert output(shared, "probe", "interfaces") == "lo up\n"
    assert "1 packets received" in output(shared, "ping", "-c", "1", "-W", "5", "127.0.0.1")


def test_network_host_is_the_hosts(shared: coble.Engine) -> None:
    names = {line.split()[0] for line in output(shared, "probe", "interfaces", network="host").splitlines()}
    assert names == {line.split(":")[0].strip() for line in Path("/proc/net/dev").read_text().splitlines()[2:]}
    assert output(shared, "readlink", "/proc/self/ns/net", network="host").strip() == os.readlink("/proc/self/ns/net")


def test_network_host_keeps_the_hosts_name(shared: coble.Engine) -> None:
    """As docker has it: the name is the host's unless another is asked for; the namespace of names is the container's own."""
    name = os.uname().nodename
    script = "hostname; cat /etc/hostname; echo $HOSTNAME; readlink /proc/self/ns/uts"
    *names, namespace = output(shared, "sh", "-c", script, network="host").splitlines()
    assert names == [name] * 3
    assert namespace != os.readlink("/proc/self/ns/uts")
    assert output(shared, "hostname", network="host", hostname="box").strip() == "box"
    with shared.containers.run("box", ["sleep", "1000"], network="host") as container:
        assert container.exec(["sh", "-c", "hostname; echo $HOSTNAME"]).stdout.decode().split() == [name] * 2


# --- privileges -----------------------------------------------------------------------------------------------------


def capabilities(engine: coble.Engine, **options: object) -> dict[str, int]:
    fields = status_fields(output(engine, "cat", "/proc/self/status", **options))
    return {name: int(fields[name], 16) for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")}


@pytest.mark.vm
def test_default_capabilities_of_root(shared: coble.Engine) -> None:
    found = capabilities(shared)
    if found["CapEff"] == DEFAULT_CAPABILITIES & ~MKNOD:
        # Allowed where no device rules can be had, and then said.
        codes = {warning.code for warning in shared.run("box", ["true"]).warnings}
        assert any("device" in code for code in codes) or MODE != "root", codes
        expected = DEFAULT_CAPABILITIES & ~MKNOD
    else:
        expected = DEFAULT_CAPABILITIES
    assert found == {"CapInh": 0, "CapPrm": expected, "CapEff": expected, "CapBnd": expected, "CapAmb": 0}


@pytest.mark.skipif(MODE == "single", reason="a single id has no other user; the other suites have it")
def test_capabilities_of_another_user(shared: coble.Engine) -> None:
    """SEC-40, SEC-45: nothing effective, permitted, inheritable or ambient."""
    found = capabilities(shared, user="alice")
    assert {name: found[name] for name in ("CapInh", "CapPrm", "CapEff", "CapAmb")} == dict.fromkeys(("CapInh", "CapPrm", "CapEff", "CapAmb"), 0)
    assert found["CapBnd"] & ~DEFAULT_CAPABILITIES == 0
    with_added = capabilities(shared, user="alice", cap_add=["SYS_PTRACE"])
    assert (with_added["CapInh"], with_added["CapEff"], with_added["CapAmb"]) == (0, 0, 0)


@pytest.mark.parametrize(
    ("add", "drop", "expected"),
    [
        ([], ["ALL"], 0),
        (["NET_BIND_SERVICE"], ["ALL"], 1 << 10),
        (["CAP_SYS_PTRACE"], ["all"], 1 << 19),
        (["sys_ptrace"], ["MKNOD", "CAP_AUDIT_WRITE"], (DEFAULT_CAPABILITIES | 1 << 19) & ~MKNOD & ~(1 << 29)),
        (["ALL"], ["SYS_ADMIN", "MKNOD"], None),
    ],
)
def test_added_and_dropped_capabilities(shared: coble.Engine, add: list[str], drop: list[str], expected: int | None) -> None:
    found = capabilities(shared, cap_add=add, cap_drop=drop)
    if expected is None:
        last = int(Path("/proc/sys/kernel/cap_last_cap").read_text())
        everything = (1 << (last + 1)) - 1
        own = int(status_fields(Path("/proc/self/status").read_text())["CapBnd"], 16) if IS_ROOT else everything
        expected = everything & own & ~(1 << 21) & ~MKNOD
    assert (found["CapEff"], found["CapPrm"], found["CapBnd"]) == (expected, expected, expected)
    assert (found["CapInh"], found["CapAmb"]) == (0, 0)


def test_no_new_privileges(shared: coble.Engine) -> None:
    assert status_fields(output(shared, "cat", "/proc/self/status"))["NoNewPrivs"] == "1"
    without = output(shared, "cat", "/proc/self/status", security_opt=["no-new-privileges=false"])
    assert status_fields(without)["NoNewPrivs"] == "0"


REFUSED = {"EPERM", "ENOSYS", "EACCES"}
DEFAULT_RESULTS: dict[str, set[str]] = {
    "getpid": {"0"},
    "keyctl": REFUSED, "add_key": REFUSED, "request_key": REFUSED,
    "mount": REFUSED, "umount": REFUSED, "fsopen": REFUSED, "open_tree": REFUSED, "move_mount": REFUSED, "pivot_root": REFUSED,
    "bpf": REFUSED, "io_uring_setup": REFUSED, "userfaultfd": REFUSED, "perf_event_open": REFUSED,
    "init_module": REFUSED, "finit_module": REFUSED, "delete_module": REFUSED, "kexec_load": REFUSED,
    "open_by_handle_at": REFUSED, "swapon": REFUSED, "acct": REFUSED, "quotactl": REFUSED, "settimeofday": REFUSED, "iopl": REFUSED,
    "reboot": REFUSED, "unshare_user": REFUSED, "unshare_mount": REFUSED, "unshare_network": REFUSED, "clone_user": REFUSED,
    "clone3": {"ENOSYS"}, "setns": REFUSED, "sethostname": REFUSED,
    "socket_alg": {"EPERM", "EAFNOSUPPORT", "EACCES", "ENOSYS"}, "socket_vsock": {"EPERM", "EAFNOSUPPORT", "EACCES", "ENOSYS"},
    "socket_inet": {"0"}, "socket_unix": {"0"},
    "tiocsti": {"EPERM"}, "tiocsti_high_bits": {"EPERM"},
    "personality_query": {"0"}, "personality_no_randomize": {"0", "EPERM"},
    "i386_getpid": {"0", "killed-11", "ENOSYS"}, "i386_keyctl": REFUSED | {"killed-11"}, "i386_mount": REFUSED | {"killed-11"},
    "i386_socket_alg": {"EPERM", "EAFNOSUPPORT", "ENOSYS", "killed-11"}, "i386_socketcall_alg": {"EPERM", "EAFNOSUPPORT", "ENOSYS", "killed-11"},
    "x32_keyctl": REFUSED,
}  # fmt: skip


@pytest.mark.vm
def test_system_calls(shared: coble.Engine) -> None:
    """SEC-33, SEC-47, SEC-50."""
    found = syscalls(shared)
    wrong = {name: found.get(name) for name, allowed in DEFAULT_RESULTS.items() if name in found and found[name] not in allowed}
    assert wrong == {}
    assert set(DEFAULT_RESULTS) - set(found) <= {name for name in DEFAULT_RESULTS if name.startswith(("i386", "x32"))}
    # The filter, not the kernel's own checks, refuses these: with it off they go through or fail otherwise.
    assert found["socket_alg"] == "EPERM"


@pytest.mark.vm
def test_the_filter_makes_the_difference(shared: coble.Engine) -> None:
    found = syscalls(shared, security_opt=["seccomp=unconfined"])
    assert found["clone3"] == "0"
    assert found["keyctl"] != "EPERM" or MODE != "root"
    assert found["socket_alg"] != "EPERM"
    assert status_fields(output(shared, "cat", "/proc/self/status", security_opt=["seccomp=unconfined"]))["Seccomp"] == "0"


def test_seccomp_also_for_exec(idle: coble.Container) -> None:
    found = dict(line.split() for line in idle.exec(["probe", "syscalls"]).stdout.decode().splitlines())
    assert (found["keyctl"], found["clone3"], found["socket_alg"], found["tiocsti"]) == ("EPERM", "ENOSYS", "EPERM", "EPERM")


# --- file system ----------------------------------------------------------------------------------------------------

MASKED_FILES = ["/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/timer_list", "/proc/sched_debug", "/proc/interrupts"]
MASKED_DIRECTORIES = ["/proc/asound", "/proc/acpi", "/proc/scsi", "/sys/firmware", "/sys/devices/virtual/powercap"]
READ_ONLY = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"]


@pytest.mark.vm
def test_masked_paths(shared: coble.Engine) -> None:
    """SEC-52, SEC-138."""
    script = "".join(f"[ -e {path} ] && echo {path} $(wc -c < {path} 2>/dev/null);" for path in MASKED_FILES)
    script += "".join(f"[ -e {path} ] && echo {path} $(ls -A {path} | wc -l);" for path in MASKED_DIRECTORIES)
    seen = dict(line.rsplit(" ", 1) for line in sh(shared, script + "true").splitlines())
    assert {path for path, size in seen.items() if size != "0"} == set()
    for path in MASKED_FILES[:3] + ["/sys/firmware"]:
        assert not os.path.exists(path) or path in seen, path


def test_masked_paths_are_what_inspect_says(idle: coble.Container) -> None:
    isolation = idle.inspect().isolation
    assert isolation is not None
    expected = {path for path in MASKED_FILES + MASKED_DIRECTORIES if os.path.exists(path)}
    assert expected <= set(isolation.masked_paths), expected - set(isolation.masked_paths)
    assert {path for path in READ_ONLY if os.path.exists(path)} <= set(isolation.readonly_paths)


@pytest.mark.vm
def test_read_only_paths(shared: coble.Engine) -> None:
    """SEC-138, SEC-35: nothing there can be written, and it cannot be remounted."""
    targets = ["/proc/sysrq-trigger", "/proc/sys/kernel/core_pattern", "/proc/sys/kernel/hostname", "/proc/irq/default_smp_affinity"]
    targets = [path for path in targets if os.path.exists(path)]
    arguments = [word for path in targets for word in (path, "w")]
    for line in output(shared, "probe", "open", *arguments).splitlines():
        path, _, result = line.split()
        assert result in ("EROFS", "EACCES", "EPERM"), line
    for line in output(shared, "probe", "remount", *READ_ONLY[:4], "/sys").splitlines():
        assert line.split()[1] in ("EPERM", "EINVAL", "EACCES"), line


@pytest.mark.skipif(MODE == "single", reason="a single id has no other user; the other suites have it")
def test_read_only_paths_for_another_user(shared: coble.Engine) -> None:
    line = output(shared, "probe", "open", "/proc/sys/kernel/hostname", "w", user="alice")
    assert line.split()[2] in ("EROFS", "EACCES")


def test_unconfined_system_paths(shared: coble.Engine) -> None:
    result = shared.run("box", ["true"], security_opt=["systempaths=unconfined"])
    assert result.isolation is not None
    assert list(result.isolation.masked_paths) == []


@pytest.mark.vm
def test_sys_is_read_only(shared: coble.Engine) -> None:
    options = {line.split()[1]: line.split()[3].split(",") for line in output(shared, "cat", "/proc/mounts").splitlines()}
    assert "ro" in options["/sys"]
    assert {"nosuid", "nodev", "noexec"} <= set(options["/proc"])
    if "/sys/fs/cgroup" in options:
        assert "ro" in options["/sys/fs/cgroup"]


@pytest.mark.vm
def test_devices(shared: coble.Engine) -> None:
    nodes = ["null", "zero", "full", "random", "urandom", "tty"]
    names = set(output(shared, "ls", "-A", "/dev").split())
    assert set(nodes) | {"fd", "stdin", "stdout", "stderr", "pts", "ptmx", "shm"} <= names
    assert names <= set(nodes) | {"fd", "stdin", "stdout", "stderr", "pts", "ptmx", "shm", "mqueue", "console", "core"}
    lines = sh(shared, "cd /dev; for n in null zero full random urandom tty; do stat -c '%n %F %t:%T %a' $n; done").splitlines()
    numbers = {"null": "1:3", "zero": "1:5", "full": "1:7", "random": "1:8", "urandom": "1:9", "tty": "5:0"}
    for line in lines:
        name, rest = line.split(" ", 1)
        assert rest == f"character special file {numbers[name]} 666", line
    assert sh(shared, "head -c 5 /dev/zero | wc -c; echo x > /dev/null; head -c 1 /dev/urandom | wc -c").split() == ["5", "1"]
    assert sh(shared, "echo y 2>/dev/null > /dev/full || echo full") == "full\n"


@pytest.mark.vm
@pytest.mark.parametrize(("kind", "major", "minor"), [("b", 254, 0), ("b", 8, 0), ("b", 7, 0), ("c", 1, 1), ("c", 10, 229), ("c", 1, 11)])
def test_a_device_that_is_not_listed_cannot_be_opened(shared: coble.Engine, kind: str, major: int, minor: int) -> None:
    """SEC-52: made or not, a node of a disk, of memory or of the kernel's log does not open."""
    lines = dict(line.split() for line in output(shared, "probe", "mknod", "/tmp/node", kind, str(major), str(minor)).splitlines())
    assert lines["open"] != "0" and lines["open-write"] != "0"
    if lines["mknod"] == "0":
        assert lines["open"] in ("EPERM", "EACCES"), lines
        assert CGROUPS != "none"


def test_only_the_standard_descriptors(shared: coble.Engine, shared_store: Store) -> None:
    """SEC-21, SEC-139: a host program with 50 inheritable descriptors; nothing but 0, 1, 2 inside, at run, start and exec."""
    script = """
import os, sys
import coble
held = [os.open("/", os.O_RDONLY | os.O_DIRECTORY) for _ in range(50)]
for fd in held:
    os.set_inheritable(fd, True)
with coble.Engine(data_root=sys.argv[1], run_root=sys.argv[2]) as engine:
    sys.stdout.buffer.write(engine.run("box", ["probe", "fds"]).stdout)
    container = engine.containers.create("box", ["sleep", "1000"])
    container.start()
    sys.stdout.buffer.write(container.exec(["probe", "fds"]).stdout)
    sys.stdout.buffer.write(container.exec(["sh", "-c", "ls -l /proc/1/fd | grep -c -e '->'"]).stdout)
    print(sorted(os.listdir(f"/proc/{container.inspect().pid}/fd")))
    container.remove(force=True)
"""
    command = [sys.executable, "-c", script, str(shared_store.data_root), str(shared_store.run_root)]
    lines = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, close_fds=True, timeout=60).stdout.splitlines()
    numbers = [line.split()[0] for line in lines[:6]]
    assert numbers == ["0", "1", "2"] * 2, lines
    assert lines[6:] == ["3", "['0', '1', '2']"], lines
    for line in lines[:6]:
        assert line.split()[1].startswith(("pipe:", "/dev/null", "socket:")), line


@pytest.mark.parametrize("number", [*range(0, 24), 63, 64, 100, 255])
def test_working_directory_through_a_descriptor(shared: coble.Engine, number: int) -> None:
    """SEC-21: never a directory of the host."""
    for path in (f"/proc/self/fd/{number}", f"/proc/1/fd/{number}/..", f"/proc/thread-self/fd/{number}"):
        try:
            done = shared.run("box", ["sh", "-c", "pwd; stat -c %d:%i . /proc/1/root/. / ; ls"], working_dir=path)
        except coble.CobleError:
            continue
        # If it is a directory at all, it is one of the container's.
        inside = done.stdout.decode().splitlines()
        assert inside and "work" not in inside and inside[0].startswith("/"), (path, inside)
        assert os.stat("/").st_ino not in {int(line.split(":")[1]) for line in inside[1:2]}, (path, inside)


def test_exec_working_directory_through_a_descriptor(idle: coble.Container) -> None:
    for number in range(256):
        with pytest.raises(coble.CobleError):
            idle.exec(["pwd"], working_dir=f"/proc/self/fd/{number}/no-such-directory/..")
    for number in range(3, 256):
        with pytest.raises(coble.CobleError):
            idle.exec(["pwd"], working_dir=f"/proc/self/fd/{number}")


def test_the_executables_of_the_host_cannot_be_written(idle: coble.Container) -> None:
    """SEC-20: process 1 and every exec are programs of the image; no other executable shows, none can be opened for writing but the image's."""
    script = "for p in /proc/[0-9]*; do readlink $p/exe; done"
    found = set(idle.exec(["sh", "-c", script]).stdout.decode().split())
    assert found == {"/bin/busybox"}
    # While a program is being started: many starts, each time every /proc/*/exe is tried from inside.
    attack = "i=0; while [ $i -lt 3000 ]; do for p in /proc/[0-9]*/exe; do case $(readlink $p) in /bin/*|'') ;; *) echo $(readlink $p); ( : >> $p ) 2>/dev/null && echo WRITTEN;; esac; done; i=$((i+1)); done"
    with idle.popen(["sh", "-c", attack], stdout=coble.PIPE) as attacker:
        for _ in range(60):
            assert idle.exec(["true"]).exit_code == 0
        attacker.kill()
        assert attacker.stdout is not None
        seen = attacker.stdout.read()
        attacker.wait()
    assert b"WRITTEN" not in seen
    for name in seen.decode().split():
        assert "python" not in name, "the host program shows inside"


@pytest.mark.vm
def test_no_host_path_shows(shared: coble.Engine, shared_store: Store) -> None:
    text = sh(shared, "cat /proc/self/mountinfo /proc/self/mounts /proc/1/environ /proc/1/cmdline /proc/self/cgroup")
    for path in (shared_store.data_root, shared_store.run_root):
        assert str(path) not in text
    assert "/work" not in "".join(line.split(" - ")[0] for line in text.splitlines() if " - " in line)


def test_hosts_and_resolv_conf(shared: coble.Engine) -> None:
    script = "cat /etc/hosts; echo --; cat /etc/resolv.conf; echo --; cat /etc/hostname"
    hosts, resolv, hostname = sh(shared, script, hostname="me", extra_hosts={"other": "10.1.2.3"}, dns=["192.0.2.1"]).split("--\n")
    assert re.search(r"^127\.0\.0\.1\s+localhost", hosts, re.M)
    assert re.search(r"^10\.1\.2\.3\s+other$", hosts, re.M)
    assert re.search(r"^\S+\s+me$", hosts, re.M)
    assert resolv == "nameserver 192.0.2.1\n"
    assert hostname == "me\n"


@pytest.mark.parametrize("options", [{"extra_hosts": {"a\nb": "1.2.3.4"}}, {"extra_hosts": {"a": "1.2.3.4\n5.6.7.8 x"}}, {"dns": ["1.2.3.4\nx"]}, {"hostname": "a\nb"}], ids=str)
def test_lines_cannot_be_smuggled_into_files(shared: coble.Engine, options: dict[str, object]) -> None:
    """SEC-142."""
    with pytest.raises((coble.InvalidArgumentError, ValueError)):
        shared.run("box", ["true"], **options)


def test_shared_memory_size(shared: coble.Engine) -> None:
    assert sh(shared, "df -k /dev/shm | tail -1 | awk '{print $2}'") == "65536\n"
    assert sh(shared, "df -k /dev/shm | tail -1 | awk '{print $2}'", shm_size=1 << 20) == "1024\n"


# --- hostile images -------------------------------------------------------------------------------------------------

LINKED = [
    "proc", "sys", "sys/fs/cgroup", "dev", "dev/shm", "dev/pts", "dev/mqueue", "dev/null", "dev/ptmx", "dev/fd", "dev/stdin", "dev/console",
    "etc", "etc/hosts", "etc/resolv.conf", "etc/hostname", "etc/mtab", "etc/passwd", "etc/group", "run", "tmp",
]  # fmt: skip


def hostile_image(assets: Assets, entries: list[bytes]) -> list[bytes]:
    """A layer of links only, over busybox in /b, so that everything else is the attacker's."""
    program = next(Path(name).read_bytes() for name in ("/bin/busybox", "/usr/bin/busybox") if os.path.exists(name))
    base = [archives.directory("b/"), archives.file("b/busybox", program, mode=0o755), archives.file("b/probe", assets.probe.read_bytes(), mode=0o755)]
    return [archives.tar(*base, *entries)]


def run_hostile(engine: coble.Engine, assets: Assets, tmp_path: Path, entries: list[bytes], command: list[str], **options: object) -> coble.RunResult | coble.CobleError:
    archives.write_oci_layout(tmp_path / "hostile", archives.Image(hostile_image(assets, entries), {}, "hostile:1"))
    engine.images.load(tmp_path / "hostile")
    try:
        return engine.run("hostile:1", command, **options)
    except coble.CobleError as error:
        return error


@pytest.mark.parametrize("absolute", [True, False], ids=["absolute", "dotdot"])
@pytest.mark.parametrize("name", LINKED)
def test_links_of_the_image_where_the_engine_works(
    engine: coble.Engine, assets: Assets, tmp_path: Path, canary: Path, name: str, absolute: bool
) -> None:
    """SEC-23 to SEC-28, SEC-143: a link to the host in each place the engine mounts or writes. The canary fixture checks the host."""
    target = str(canary) if absolute else "../" * 30 + str(canary)[1:]
    entries = [archives.directory(f"{parent}/") for parent in list(Path(name).parents)[-2::-1]]
    entries.append(archives.symlink(name, target))
    result = run_hostile(engine, assets, tmp_path, entries, ["/b/busybox", "sh", "-c", f"ls {canary} 2>/dev/null; echo ran"])
    if isinstance(result, coble.RunResult):
        # What is seen there is inside the container's root: the link may be followed in it.
        assert b"file" not in result.stdout.split()
        assert result.stdout.endswith(b"ran\n")
    else:
        assert result.kind not in ("Internal", "Panic", "MonitorLost"), result


@pytest.mark.parametrize("name", ["etc/hosts", "etc/resolv.conf", "etc/hostname"])
@pytest.mark.parametrize("kind", ["directory", "fifo", "hard link", "loop", "missing parent", "parent is a file"])
def test_odd_things_where_the_engine_provides_files(engine: coble.Engine, assets: Assets, tmp_path: Path, canary: Path, name: str, kind: str) -> None:
    """SEC-28: runs or fails with a typed error, in bounded time."""
    entries = {
        "directory": [archives.directory("etc/"), archives.directory(name + "/"), archives.file(name + "/x")],
        "fifo": [archives.directory("etc/"), archives.entry(name, type=archives.FIFO)],
        "hard link": [archives.directory("etc/"), archives.file("etc/other", b"x"), archives.hardlink(name, "etc/other")],
        "loop": [archives.directory("etc/"), archives.symlink(name, name.split("/")[1])],
        "missing parent": [],
        "parent is a file": [archives.file("etc", b"not a directory")],
    }[kind]
    result = run_hostile(engine, assets, tmp_path, entries, ["/b/busybox", "echo", "ran"], timeout=20)
    if isinstance(result, coble.RunResult):
        assert result.stdout == b"ran\n"
    else:
        assert result.kind not in ("Internal", "Panic", "MonitorLost", "Timeout"), result


@pytest.mark.parametrize("file", ["passwd", "group"])
@pytest.mark.parametrize("kind", ["link", "fifo", "zero", "huge", "lines", "binary"])
def test_odd_passwd_and_group(engine: coble.Engine, assets: Assets, tmp_path: Path, canary: Path, file: str, kind: str) -> None:
    """SEC-09: bounded time and memory."""
    (canary.parent / "secret-passwd").write_text("evil:x:0:0::/:/bin/sh\n")
    entries = [archives.directory("etc/")]
    name = f"etc/{file}"
    if kind == "link":
        entries.append(archives.symlink(name, str(canary.parent / "secret-passwd")))
    elif kind == "fifo":
        entries.append(archives.entry(name, type=archives.FIFO))
    elif kind == "zero":
        entries.append(archives.symlink(name, "/dev/zero"))
    elif kind == "huge":
        entries.append(archives.file(name, b"x" * (64 << 20)))
    elif kind == "lines":
        entries.append(archives.file(name, b"a:x:7:7::/:/x\n" * 1_000_000))
    else:
        entries.append(archives.file(name, bytes(range(256)) * 100))
    user = "evil" if file == "passwd" else "0:evil"
    result = run_hostile(engine, assets, tmp_path, entries, ["/b/busybox", "id"], user=user, timeout=20)
    assert isinstance(result, coble.CobleError), result
    assert result.kind in ("UserNotFound", "LimitExceeded", "InvalidImage", "InvalidArgument", "Io", "PathNotFound"), result


@pytest.mark.parametrize("target", ["working", "a/working"])
def test_working_directory_through_a_link(engine: coble.Engine, assets: Assets, tmp_path: Path, canary: Path, target: str) -> None:
    """SEC-22: made and entered inside the root only."""
    entries = [archives.directory("a/"), archives.symlink(target, str(canary))]
    result = run_hostile(engine, assets, tmp_path, entries, ["/b/busybox", "sh", "-c", "pwd; echo x > inside; ls"], working_dir=f"/{target}/new")
    if isinstance(result, coble.RunResult):
        assert result.exit_code == 0
    else:
        assert result.kind not in ("Internal", "Panic", "MonitorLost"), result


def test_a_restarted_container_with_changed_targets(engine: coble.Engine, assets: Assets, box: coble.Engine, canary: Path) -> None:
    """SEC-136: it replaces each place by a link and is started again."""
    script = f"cd /; for p in etc/hosts etc/resolv.conf etc/hostname; do umount /$p 2>/dev/null; rm -rf $p; ln -s {canary}/file $p; done; rm -rf tmp run; ln -s {canary} tmp; ln -s {canary} run; echo done"
    container = box.containers.create("box", ["sh", "-c", script])
    for _ in range(3):
        try:
            container.start()
        except coble.CobleError as error:
            assert error.kind not in ("Internal", "Panic", "MonitorLost")
            break
        container.wait()
    container.remove(force=True)


# --- what inspect says ----------------------------------------------------------------------------------------------


@pytest.mark.vm
@pytest.mark.parametrize(
    "options",
    [{}, {"user": "alice"}, {"cap_drop": ["ALL"]}, {"security_opt": ["seccomp=unconfined"]}, {"read_only": True}, {"network": "host"}],
    ids=str,
)
def test_inspect_is_true(shared: coble.Engine, options: dict[str, object]) -> None:
    """ISO-21: what inspect and a result say is what a probe inside sees."""
    if MODE == "single" and "user" in options:
        pytest.skip("a single id has no other user; the other suites have it")
    script = "cat /proc/self/status; for n in mnt pid net ipc uts cgroup user; do echo ns-$n: $(readlink /proc/self/ns/$n); done; echo uidmap: $(cat /proc/self/uid_map)"
    done = shared.run("box", ["sh", "-c", script], **options)
    fields = status_fields(done.stdout.decode())
    isolation = done.isolation
    assert isolation is not None
    for name, key in (("effective", "CapEff"), ("permitted", "CapPrm"), ("inheritable", "CapInh"), ("ambient", "CapAmb"), ("bounding", "CapBnd")):
        assert len(getattr(isolation.capabilities, name)) == int(fields[key], 16).bit_count(), name
    assert isolation.no_new_privileges == (fields["NoNewPrivs"] == "1")
    assert isolation.seccomp == {"0": "none", "2": "filter"}[fields["Seccomp"]]
    assert isolation.user.uid == int(fields["Uid"].split()[0])
    assert isolation.user.gid == int(fields["Gid"].split()[0])
    assert set(isolation.user.groups) == {int(group) for group in fields["Groups"].split()}
    assert isolation.root_readonly == ("read_only" in options)
    assert isolation.rootless == (MODE != "root")
    for namespace in isolation.namespaces:
        kernel = int(re.findall(r"\d+", fields[f"ns-{namespace.name}"])[-1]) if f"ns-{namespace.name}" in fields else None
        assert kernel in (None, namespace.inode), namespace
        outside = int(re.findall(r"\d+", os.readlink(f"/proc/self/ns/{namespace.name}"))[-1])
        assert namespace.own == (namespace.inode != outside), namespace
    assert {namespace.name for namespace in isolation.namespaces} >= {"mnt", "pid", "net", "ipc", "uts", "cgroup"}


@pytest.mark.vm
def test_inspect_tells_what_the_kernel_does_not_show(shared: coble.Engine, shared_store: Store) -> None:
    """ISO-21: device rules, umask, the profile of the filter and kernel parameters, on the surfaces that have an inspect."""
    profile = '{"defaultAction":"SCMP_ACT_ALLOW"}'
    digest = "sha256:" + hashlib.sha256(profile.encode()).hexdigest()
    for option, expected in ((None, "default"), ("unconfined", "unconfined"), (profile, digest)):
        found = shared.run("box", ["true"], security_opt=[f"seccomp={option}"] if option else []).isolation
        assert found is not None and found.seccomp_profile == expected and found.apparmor is None
    options = {} if MODE != "root" else {"device_cgroup_rules": ["c 10:200 rw"]}
    with shared.containers.run("box", ["sleep", "1000"], **options) as container:
        isolation = container.inspect().isolation
        assert isolation is not None and isolation.umask == 0o22
        assert int(status_fields(container.exec(["cat", "/proc/1/status"]).stdout.decode())["Umask"], 8) == 0o22
        if MODE == "root" and CGROUPS != "none":
            assert {"c 1:3 rwm", "c 10:200 rw"} <= set(isolation.device_rules), isolation.device_rules
        else:
            assert isolation.device_rules == []
        assert isolation.to_dict()["seccomp_profile"] == "default"
        (details,) = json.loads(Command(shared_store).good("inspect", container.id))
        of_command = details["Coble"]["isolation"]
        assert (of_command["umask"], of_command["device_rules"], of_command["seccomp_profile"]) == (0o22, isolation.device_rules, "default")


def test_kernel_parameters_are_read_back(shared: coble.Engine) -> None:
    """ISO-21: as the kernel has them, whatever form they were asked for in."""
    try:
        done = shared.run("box", ["true"], sysctls={"kernel.msgmax": "9000", "kernel.sem": "32000  1024000000\t500 32000"})
    except (coble.PermissionDeniedError, coble.UnsupportedError) as error:
        assert MODE != "root"
        pytest.skip(f"older kernels keep them from user namespaces: {error}")
    assert done.isolation is not None
    found = {limit.name: (limit.requested, limit.applied, limit.applied_text) for limit in done.isolation.limits}
    assert found["sysctl:kernel.msgmax"] == (9000, 9000, "9000")
    assert found["sysctl:kernel.sem"] == (0, 0, "32000 1024000000 500 32000")


def test_the_monitor_is_not_reachable_from_inside(idle: coble.Container) -> None:
    """The monitor has a pid namespace of its own above the container's."""
    monitor = monitor_of(idle)
    inside = idle.exec(["sh", "-c", "ls -d /proc/[0-9]*"]).stdout.decode().split()
    assert len(inside) <= 3
    if IS_ROOT:  # nobody else may look
        assert os.stat(f"/proc/{monitor}/ns/pid").st_ino != os.stat(f"/proc/{idle.inspect().pid}/ns/pid").st_ino


def test_stores_are_private(shared_store: Store, shared: coble.Engine, idle: coble.Container) -> None:
    """SEC-13, SEC-53: nobody else can enter, while a container runs."""
    for root in (shared_store.data_root, shared_store.run_root):
        assert stat.S_IMODE(root.stat().st_mode) == 0o700
        assert root.stat().st_uid == os.geteuid()
    assert "\x00coble" not in Path("/proc/net/unix").read_text()
    assert not re.search(r"@.*coble", Path("/proc/net/unix").read_text())
