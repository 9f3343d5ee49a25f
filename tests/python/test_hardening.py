"""What engines got wrong at the edges: links where a terminal is made, binds that are swapped, parts of the isolation that a host leaves out, memory in file systems, hostile names, modes, masked paths, kernel parameters."""

from __future__ import annotations

import contextlib
import os
import stat
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import archives
import coble
import pytest
from conftest import IS_ROOT, MODE, Assets, Store
from helpers import eventually, output, sh, wait_for_output
from test_command import Command
from test_isolation import run_hostile

# --- terminals ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("absolute", [True, False], ids=["absolute", "dotdot"])
@pytest.mark.parametrize("name", ["dev", "dev/console", "dev/pts", "dev/pts/0", "dev/ptmx", "dev/tty", "dev/null"])
def test_links_of_the_image_where_a_terminal_is_made(engine: coble.Engine, assets: Assets, tmp_path: Path, canary: Path, name: str, absolute: bool) -> None:
    """SEC-25 (CVE-2025-52565): a start with a terminal. The canary fixture checks the host."""
    target = str(canary / "file") if absolute else "../" * 30 + str(canary / "file")[1:]
    entries = [archives.directory(f"{parent}/") for parent in list(Path(name).parents)[-2::-1]]
    entries.append(archives.symlink(name, target))
    script = "/b/busybox tty; /b/busybox echo x > /dev/tty; /b/busybox stat -c %t:%T /dev/console /dev/pts/0"
    result = run_hostile(engine, assets, tmp_path, entries, ["/b/busybox", "sh", "-c", script], tty=True)
    if isinstance(result, coble.RunResult):
        assert result.stdout.split() == [b"/dev/pts/0", b"x", b"88:0", b"88:0"], result
    else:
        assert name == "dev" and result.kind not in ("Internal", "Panic", "MonitorLost"), result


# --- binds ------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_source_that_is_swapped_while_it_is_mounted(shared: coble.Engine, tmp_path: Path, canary: Path) -> None:
    """SEC-31 (CVE-2024-42472): another process of the host puts a link in its place, again and again. What is mounted is the directory, or nothing."""
    parent = tmp_path / "parent"
    (parent / "source").mkdir(parents=True)
    (parent / "source" / "own").write_text("own")
    over = threading.Event()

    def swap() -> None:
        while not over.is_set():
            os.rename(parent / "source", parent / "aside")
            # What is missing is made, as docker does.
            with contextlib.suppress(FileExistsError):
                os.symlink(canary, parent / "source")
                os.unlink(parent / "source")
            os.rename(parent / "aside", parent / "source")

    container = shared.containers.create("box", ["ls", "/b"], volumes=[f"{parent}/source:/b"])
    swapper = threading.Thread(target=swap)
    swapper.start()
    mounted = refused = 0
    try:
        while mounted < 10 or mounted + refused < 100:
            try:
                container.start()
            except coble.CobleError as error:
                assert error.kind in ("InvalidState", "PathNotFound", "Io"), error
                refused += 1
                continue
            assert container.wait() == 0
            mounted += 1
            with container.logs() as lines:
                assert {record.data for record in lines} <= {b"own\n"}
    finally:
        over.set()
        swapper.join()
        container.remove(force=True)


# --- what is read back ----------------------------------------------------------------------------------------------

#: Has a system call do nothing and succeed, in this program and all that it starts, by a filter. `argument` is the first one, if that matters.
FAULT = """
import ctypes, struct, sys
import coble
number, argument = int(sys.argv[3]), int(sys.argv[4])
code = [(0x20, 0, 0, 0), (0x15, 0, 3, number), (0x20, 0, 0, 16), (0x15, 0, 1, argument), (0x06, 0, 0, 0x50000), (0x06, 0, 0, 0x7FFF0000)]
if argument < 0:
    code = [(0x20, 0, 0, 0), (0x15, 0, 1, number), (0x06, 0, 0, 0x50000), (0x06, 0, 0, 0x7FFF0000)]
with coble.Engine(data_root=sys.argv[1], run_root=sys.argv[2]) as engine:
    filters = ctypes.create_string_buffer(b"".join(struct.pack("<HBBI", *line) for line in code))
    program = ctypes.create_string_buffer(struct.pack("@HP", len(code), ctypes.addressof(filters)))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(38, 1, 0, 0, 0) or libc.prctl(22, 2, program, 0, 0):
        sys.exit("no filter")
    try:
        print("ran", engine.run("box", ["echo", "program"], **eval(sys.argv[5])).stdout)
    except coble.CobleError as error:
        print(error.kind, error)
    print(engine.containers.list(all=True))
"""


@pytest.mark.root
@pytest.mark.skipif(os.uname().machine != "x86_64", reason="the numbers of system calls are those of x86-64")
@pytest.mark.parametrize(
    ("call", "argument", "options", "what"),
    [
        ("capset", -1, {}, "capabilities"),
        ("prctl: CAPBSET_DROP", 24, {}, "capabilities"),
        ("setresuid", -1, {"user": "alice"}, "user"),
        ("setgroups", -1, {"user": "alice"}, "group"),
        ("mount_setattr", -1, {}, "read-only"),
        ("unshare", 0x2000000, {}, "cgroup"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_a_host_leaves_out_ends_the_start(shared_store: Store, shared: coble.Engine, call: str, argument: int, options: dict[str, Any], what: str) -> None:
    """SEC-32, ISO-21: a kernel, here a filter of the host program, that does not do what it says it did. The program does not run."""
    numbers = {"capset": 126, "prctl: CAPBSET_DROP": 157, "setresuid": 117, "setgroups": 116, "mount_setattr": 442, "unshare": 272}
    command = [sys.executable, "-c", FAULT, str(shared_store.data_root), str(shared_store.run_root), str(numbers[call]), str(argument), repr(options)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=60)
    first, second = done.stdout.splitlines()
    assert not first.startswith("ran") and what in first, done
    assert second == "[]"


# --- memory in file systems -------------------------------------------------------------------------------------------


def shared_memory() -> int:
    """Kilobytes of the host's memory that are in files or shared."""
    return next(int(line.split()[1]) for line in Path("/proc/meminfo").read_text().splitlines() if line.startswith("Shmem:"))


@pytest.mark.parametrize("place", ["/dev/shm", "/scratch", "joined"])
def test_memory_in_files_is_the_container_s(shared: coble.Engine, place: str) -> None:
    """SEC-51 (CVE-2024-3056): what is written to a file system in memory is within the limit of who wrote it, and is gone with the container."""
    options: dict[str, Any] = {"mem_limit": "32m", "memswap_limit": "32m", "shm_size": 256 << 20, "tmpfs": {"/scratch": "size=256m"}}
    done = shared.run("box", ["true"], **options)
    assert done.isolation
    if any(limit.name == "mem_limit" and limit.applied is None for limit in done.isolation.limits):
        pytest.skip("no memory limits for this user here; the suite that root runs has them")
    target = "/dev/shm" if place == "joined" else place
    script = f"head -c 16m /dev/zero > {target}/small && echo small; head -c 128m /dev/zero > {target}/large && echo large"
    before = shared_memory()
    if place == "joined":
        with shared.containers.run("box", ["sleep", "1000"], ipc_mode="shareable", shm_size=256 << 20) as first:
            found = shared.run("box", ["sh", "-c", script], ipc_mode=f"container:{first.id}", mem_limit="32m", memswap_limit="32m")
            # Written by the other, and charged to it: it stays as long as there is somebody who may read it.
            assert first.exec(["sh", "-c", "ls /dev/shm"]).stdout.split() == [b"large", b"small"]
    else:
        found = shared.run("box", ["sh", "-c", script], **options)
    assert found.stdout.split() == [b"small"], found
    eventually(lambda: shared_memory() - before < 8 << 10, "the memory is free again")


# --- names of processes -----------------------------------------------------------------------------------------------

HOSTILE = [b"a\nUid:\t0\t0", b"a) S 1 1 (", b"\x1b[2J\x1b]0;x\x07", b"\xff\xfe\x80", b"(", b")", b" "]


def test_top_and_stats_of_programs_with_hostile_names(shared: coble.Engine, shared_store: Store) -> None:
    """SEC-84 (CVE-2022-1227): nothing of the container is run or believed."""
    # The kernel takes the last component of the path for the name; the letters at the end tell them apart.
    words = " ".join('"$(printf \'' + "".join(f"\\{byte:03o}" for byte in name) + f"\\{65 + number:03o}')\"" for number, name in enumerate(HOSTILE))
    script = f"mkfifo /fifo; mkdir /n; cd /n; for n in {words}; do printf '#!/bin/busybox sh\\nread x < /fifo\\n' > \"$n\"; chmod 755 \"$n\"; \"./$n\" & done; echo ready; wait"
    trap = "for p in ps top; do rm -f /bin/$p; printf '#!/bin/busybox sh\\necho caught > /caught\\n' > /bin/$p; chmod 755 /bin/$p; done; "
    with shared.containers.run("box", ["/bin/busybox", "sh", "-c", trap + script]) as container:
        wait_for_output(container, b"ready")
        count = len(HOSTILE) + 1
        top = eventually(lambda: (found := container.top()) and len(found.processes) >= count and found, "all of them")
        owner = {row[0] for row in top.processes}
        assert len(owner) == 1 and all(len(row) == len(top.titles) and row[1].isdigit() and row[2].isdigit() for row in top.processes), top
        assert container.stats(interval=0).pids in (None, 0, *range(count, count + 8))
        text = Command(shared_store).good("top", container.id)
        assert not any(character in text for character in "\x1b\x07\x00") and len(text.splitlines()) == len(top.processes) + 1
        assert container.exec(["/bin/busybox", "ls", "/caught"]).exit_code != 0


# --- modes ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("umask", ["000", "022", "077", "777"])
def test_modes_whatever_the_umask(store: Store, assets: Assets, umask: str) -> None:
    """SEC-13, SEC-135 (CVE-2014-3499): what is in the run root is for its owner alone, while a container runs, and after it was started again."""
    if umask == "777" and not IS_ROOT:
        pytest.skip("with such a umask an ordinary user may not open what he makes")
    script = """
import os, sys
import coble
os.umask(int(sys.argv[1], 8))
with coble.Engine(data_root=sys.argv[2], run_root=sys.argv[3]) as engine:
    engine.images.import_rootfs(sys.argv[4], "box")
    with engine.containers.run("box", ["sleep", "1000"], healthcheck={"test": ["CMD", "true"], "interval": 100_000_000}, restart_policy="always") as container:
        print("up", flush=True)
        sys.stdin.readline()
        container.restart(timeout=0)
        print("again", flush=True)
        sys.stdin.readline()
assert os.umask(0) == int(sys.argv[1], 8)
"""
    command = [sys.executable, "-c", script, umask, str(store.data_root), str(store.run_root), str(assets.busybox)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin and process.stdout
        for word in ("up", "again"):
            assert process.stdout.readline().strip() == word
            sockets = 0
            for root in (store.run_root, store.data_root):
                found = root.stat()
                assert (stat.S_IMODE(found.st_mode), found.st_uid) == (0o700, os.geteuid()), root
            for place, folders, files in os.walk(store.run_root):
                for name in [*folders, *files]:
                    path = Path(place, name)
                    try:
                        found = path.lstat()
                    except FileNotFoundError:
                        continue
                    assert found.st_uid == os.geteuid(), path
                    assert stat.S_ISLNK(found.st_mode) or stat.S_IMODE(found.st_mode) & 0o077 == 0, f"{path} {oct(found.st_mode)}"
                    sockets += stat.S_ISSOCK(found.st_mode)
            assert sockets > 0
            process.stdin.write("\n")
            process.stdin.flush()
        assert process.wait(60) == 0


@pytest.mark.parametrize("which", ["data_root", "run_root"])
def test_a_place_that_everybody_may_replace_is_refused(tmp_path: Path, which: str) -> None:
    """SEC-135: whoever may write to the directory above could put a store of his own there."""
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    roots = {"data_root": tmp_path / "data", "run_root": tmp_path / "run", which: tmp_path / "open" / "root"}
    with pytest.raises(coble.PermissionDeniedError, match="everybody may replace"):
        coble.Engine(**roots)
    assert list((tmp_path / "open").iterdir()) == []
    (tmp_path / "open").chmod(0o1777)
    coble.Engine(**roots).close()


# --- masked paths -----------------------------------------------------------------------------------------------------

#: What docker masks and makes read-only: moby/moby, daemon/pkg/oci/defaults.go, `DefaultLinuxSpec` (version 28), without the counters of each processor, which follow the machine.
DOCKER_MASKED = {
    "/proc/acpi": "directory", "/proc/asound": "directory", "/proc/interrupts": "file", "/proc/kcore": "file", "/proc/keys": "file", "/proc/latency_stats": "file",
    "/proc/sched_debug": "file", "/proc/scsi": "directory", "/proc/timer_list": "file", "/proc/timer_stats": "file", "/sys/devices/virtual/powercap": "directory", "/sys/firmware": "directory",
}  # fmt: skip
DOCKER_READ_ONLY = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"]


@pytest.mark.vm
@pytest.mark.parametrize("user", [None, "alice"])
def test_masked_and_read_only_paths_are_docker_s(shared: coble.Engine, user: str | None) -> None:
    """SEC-52, SEC-138 (CVE-2015-3630): as user 0 and as another one, seen from inside."""
    if MODE == "single" and user:
        pytest.skip("a single id has no other user; the other suites have it")
    container = shared.containers.create("box", ["true"])
    details = container.inspect_docker()["HostConfig"]
    container.remove()
    counters = [path for path in details["MaskedPaths"] if path.endswith("/thermal_throttle")]
    assert set(details["MaskedPaths"]) == {*DOCKER_MASKED, *counters}
    assert sorted(details["ReadonlyPaths"]) == DOCKER_READ_ONLY
    script = "".join(f"[ -e {path} ] && echo {path} $({'ls -A' if kind == 'directory' else 'cat'} {path} 2>/dev/null | wc -c);" for path, kind in [*DOCKER_MASKED.items(), *((path, "directory") for path in counters)])
    options = {"user": user} if user else {}
    for line in sh(shared, script + "true", **options).splitlines():
        assert line.endswith(" 0"), line
    mounts = {line.split()[4]: line.split()[5].split(",") for line in output(shared, "cat", "/proc/self/mountinfo", **options).splitlines()}
    for path in DOCKER_READ_ONLY:
        assert not os.path.exists(path) or "ro" in mounts[path], path
    writable = "find /proc/sys /proc/irq /proc/bus /proc/fs -type f -perm -200 2>/dev/null | while read f; do ( : >> $f ) 2>/dev/null && echo $f; done; true"
    assert sh(shared, writable, **options) == ""


# --- kernel parameters ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", ["1\n2", "1\n", "1\0", "1\r2", "\x1b1", "1\x7f", "x" * 5000], ids=repr)
def test_values_of_kernel_parameters_are_one_line(shared: coble.Engine, value: str) -> None:
    """SEC-141 (CVE-2022-0811)."""
    with pytest.raises((coble.InvalidArgumentError, ValueError)):
        shared.containers.create("box", ["true"], sysctls={"kernel.shmall": value})


@pytest.mark.parametrize("name", ["kernel.shmall=1+kernel.core_pattern", "kernel.shmall\nkernel.panic", "kernel.shm_rmid_forced ", "net.ipv4.ip_forward,kernel.panic", "net/../kernel/panic", "net.ipv4..", "kernel.shm*", ""], ids=repr)
def test_names_of_kernel_parameters_have_no_separators(shared: coble.Engine, name: str) -> None:
    """SEC-141: one name is one parameter of a namespace of the container's own."""
    with pytest.raises(coble.InvalidArgumentError, match="sysctls"):
        shared.containers.create("box", ["true"], sysctls={name: "1"})
    if IS_ROOT:
        assert Path("/proc/sys/kernel/core_pattern").read_text().strip() != "1"
