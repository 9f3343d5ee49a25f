"""Limits of every kind: in force as the container sees it, or not given and said so by name; and changed while a container runs."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import coble
import pytest
from conftest import CGROUPS, MODE, Store
from helpers import sh, wait_for_exit
from test_command import Command

pytestmark = pytest.mark.vm


@pytest.fixture
def command(shared_store: Store, shared: coble.Engine) -> Command:
    return Command(shared_store)


MIB = 1 << 20
# Makes no process: some tests leave it none to make.
FOREVER = ["sleep", "1000"]


def limits(isolation: coble.Isolation | None) -> dict[str, coble.LimitInfo]:
    assert isolation is not None
    return {limit.name: limit for limit in isolation.limits}


def told(warnings: list[coble.Warning], code: str) -> bool:
    return any(warning.code == code for warning in warnings)


GIVEN: list[tuple[str, dict[str, Any], str, str]] = [
    ("mem_reservation", {"mem_reservation": "16m"}, str(16 * MIB), "mem-reservation-not-applied"),
    ("memswap_limit", {"mem_limit": "32m", "memswap_limit": "48m"}, str(48 * MIB), "memswap-limit-not-applied"),
    ("memswap_limit", {"mem_limit": "32m", "memswap_limit": -1}, "unlimited", "memswap-limit-not-applied"),
    ("mem_swappiness", {"mem_swappiness": 5}, "5", "mem-swappiness-not-applied"),
    ("oom_kill_disable", {"mem_limit": "32m", "oom_kill_disable": True}, "1", "oom-kill-disable-not-applied"),
    ("cpu_shares", {"cpu_shares": 512}, "512", "cpu-shares-not-applied"),
    ("cpu_quota", {"cpu_quota": 20000, "cpu_period": 50000}, "20000", "cpu-quota-not-applied"),
    ("cpu_period", {"cpu_quota": 20000, "cpu_period": 50000}, "50000", "cpu-period-not-applied"),
    ("cpuset_cpus", {"cpuset_cpus": "0"}, "0", "cpuset-cpus-not-applied"),
    ("cpuset_mems", {"cpuset_mems": "0"}, "0", "cpuset-mems-not-applied"),
    ("blkio_weight", {"blkio_weight": 200}, "200", "blkio-weight-not-applied"),
    ("unified:memory.high", {"unified": {"memory.high": 64 * MIB}}, str(64 * MIB), "unified-not-applied"),
]


@pytest.mark.parametrize(("name", "options", "text", "code"), GIVEN, ids=[given[0] for given in GIVEN])
def test_a_limit_is_in_force_or_not_without_a_word(shared: coble.Engine, name: str, options: dict[str, Any], text: str, code: str) -> None:
    done = shared.run("box", ["true"], **options)
    limit = limits(done.isolation)[name]
    assert limit.requested_text == text
    if limit.applied is None:
        assert told(done.warnings, code), done.warnings
        assert limit.applied_text is None
    else:
        assert limit.applied_text == text and limit.applied == limit.requested
        assert not told(done.warnings, code)
    if MODE == "root" and CGROUPS == "v1" and not name.startswith(("unified", "blkio")):
        assert limit.applied is not None, done.warnings
    if MODE == "root" and CGROUPS == "v2" and name.startswith(("cpu", "mem_res", "unified")):
        assert limit.applied is not None, done.warnings


def test_a_container_sees_its_cpus(shared: coble.Engine) -> None:
    done = shared.run("box", ["grep", "Cpus_allowed_list", "/proc/self/status"], cpuset_cpus="0")
    if limits(done.isolation)["cpuset_cpus"].applied is None:
        pytest.skip("this user has no cpuset controller here: warned")
    assert done.stdout.split() == [b"Cpus_allowed_list:", b"0"]


def block_device() -> str | None:
    for path in sorted(Path("/dev").glob("*d[a-z]")) + sorted(Path("/dev").glob("nvme?n?")) + sorted(Path("/dev").glob("loop[0-9]")):
        if stat.S_ISBLK(path.stat().st_mode):
            return str(path)
    return None


@pytest.mark.parametrize("option", ["device_read_bps", "device_write_bps", "device_read_iops", "device_write_iops"])
def test_rates_of_devices(shared: coble.Engine, option: str) -> None:
    device = block_device()
    if device is None:
        pytest.skip("this machine has no block device")
    done = shared.run("box", ["true"], **{option: {device: 1 * MIB}})  # type: ignore[arg-type]
    limit = limits(done.isolation)[f"{option}:{device}"]
    assert limit.applied == MIB or told(done.warnings, option.replace("_", "-") + "-not-applied")
    for bad, kind in (({"/dev/null": 1}, coble.InvalidArgumentError), ({"/dev/no-such-device": 1}, coble.CobleError), ({"sda": 1}, coble.InvalidArgumentError)):
        with pytest.raises(kind):
            shared.run("box", ["true"], **{option: bad})  # type: ignore[arg-type]


def test_ulimits(shared: coble.Engine) -> None:
    options: dict[str, Any] = {"ulimits": {"nofile": (100, 200), "core": 0, "fsize": 1_000_000}}
    done = shared.run("box", ["cat", "/proc/self/limits"], **options)
    lines = {line[:26].strip(): line[26:].split()[:2] for line in done.stdout.decode().splitlines()}
    assert (lines["Max open files"], lines["Max core file size"], lines["Max file size"]) == (["100", "200"], ["0", "0"], ["1000000", "1000000"])
    assert limits(done.isolation)["ulimit:nofile"].applied_text == "100:200"
    with shared.containers.run("box", FOREVER, ulimits=["nofile=64"]) as container:
        assert container.exec(["sh", "-c", "ulimit -n"]).stdout == b"64\n"
        assert container.inspect().spec.ulimits == ["nofile=64"]


def test_a_ulimit_above_the_host_s_is_the_host_s_and_a_warning(shared: coble.Engine) -> None:
    done = shared.run("box", ["true"], ulimits={"nofile": (1 << 40, 1 << 40)})
    limit = limits(done.isolation)["ulimit:nofile"]
    assert limit.requested == 1 << 40 and limit.applied is not None and limit.applied < 1 << 40
    assert any(warning.code == "rlimit" and "nofile" in warning.message for warning in done.warnings)


def test_sysctls(shared: coble.Engine) -> None:
    values = {"kernel.msgmax": 9000, "net.ipv4.ip_unprivileged_port_start": "80", "net.core.somaxconn": 99}
    script = "cat /proc/sys/kernel/msgmax /proc/sys/net/ipv4/ip_unprivileged_port_start /proc/sys/net/core/somaxconn"
    host = [Path("/proc/sys", name.replace(".", "/")).read_text() for name in values if Path("/proc/sys", name.replace(".", "/")).exists()]
    try:
        assert sh(shared, script, sysctls=values).split() == ["9000", "80", "99"]
    except (coble.PermissionDeniedError, coble.UnsupportedError) as error:
        # Older kernels keep some of them from user namespaces.
        assert MODE != "root" and "kernel parameter" in str(error)
    assert host == [Path("/proc/sys", name.replace(".", "/")).read_text() for name in values if Path("/proc/sys", name.replace(".", "/")).exists()]
    for name in ("kernel.panic", "vm.swappiness", "kernel.hostname", "fs.file-max", "net", "net.", "kernel/sem", "../x"):
        with pytest.raises(coble.InvalidArgumentError, match="sysctls"):
            shared.run("box", ["true"], sysctls={name: "1"})
    with pytest.raises(coble.InvalidArgumentError, match="host"):
        shared.run("box", ["true"], sysctls={"net.core.somaxconn": 1}, network="host")
    with pytest.raises((coble.InvalidArgumentError, coble.PermissionDeniedError), match="kernel parameter"):
        shared.run("box", ["true"], sysctls={"kernel.shmall": "no number"})


def test_oom_score(shared: coble.Engine) -> None:
    assert sh(shared, "cat /proc/self/oom_score_adj", oom_score_adj=321) == "321\n"
    done = shared.run("box", ["cat", "/proc/self/oom_score_adj"], oom_score_adj=-1000)
    limit = limits(done.isolation)["oom_score_adj"]
    assert limit.requested_text == "-1000" and limit.applied_text == done.stdout.decode().strip()
    assert limit.applied_text == "-1000" or told(done.warnings, "oom-score")
    with shared.containers.run("box", FOREVER, oom_score_adj=123) as container:
        assert container.exec(["cat", "/proc/self/oom_score_adj"]).stdout == b"123\n"


@pytest.mark.parametrize(
    "options",
    [
        {"memswap_limit": "64m"},
        {"mem_limit": "64m", "memswap_limit": "32m"},
        {"mem_limit": "32m", "mem_reservation": "64m"},
        {"cpus": 1, "cpu_quota": 10000},
        {"cpuset_cpus": "8000"},
        {"cpuset_cpus": "a"},
        {"blkio_weight": 5},
        {"ulimits": ["nofile"]},
        {"ulimits": {"none": 1}},
        {"unified": {"cgroup.procs": "1"}},
        {"unified": {"../../x": "1"}},
        {"oom_score_adj": 2000},
    ],
)
def test_what_no_container_can_have(shared: coble.Engine, options: dict[str, Any]) -> None:
    with pytest.raises(coble.InvalidArgumentError):
        shared.containers.create("box", ["true"], **options)


# --- update ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def running(shared: coble.Engine) -> Iterator[coble.Container]:
    container = shared.containers.create("box", FOREVER)
    container.start()
    yield container
    container.remove(force=True)


def test_update_while_it_runs(running: coble.Container) -> None:
    try:
        running.update(mem_limit="64m", pids_limit=20, cpus=0.5)
    except coble.UnsupportedError as error:
        assert MODE != "root", error
        assert limits(running.inspect().isolation) == {} and running.inspect().spec.mem_limit is None
        pytest.skip("this user has no controllers here: refused")
    found = limits(running.inspect().isolation)
    assert [found[name].applied for name in ("mem_limit", "pids_limit", "nano_cpus")] == [64 * MIB, 20, 500_000_000]
    assert running.inspect().spec.mem_limit == 64 * MIB
    # What is started later is in the same cgroups, also in those that were made for the update.
    done = running.exec(["probe", "fork", "100"])
    words = done.stdout.split()
    assert words[2] == b"EAGAIN" and int(words[1]) < 20
    running.update(mem_limit="32m")
    running.update(mem_limit="256m")
    assert limits(running.inspect().isolation)["mem_limit"].applied == 256 * MIB
    for more in ({"cpu_quota": 30000, "cpu_period": 60000}, {"cpu_period": 60000}):
        # Two words for one thing, of which it has one.
        with pytest.raises(coble.InvalidArgumentError, match="nano_cpus"):
            running.update(**more)
    running.update(cpus=0.25)
    found = limits(running.inspect().isolation)
    assert found["nano_cpus"].applied == 250_000_000 and not {"cpu_quota", "cpu_period"} & set(found)
    for unlimited in (-1, 0):
        running.update(pids_limit=30)
        running.update(pids_limit=unlimited)
        assert running.inspect().spec.pids_limit is None and "pids_limit" not in limits(running.inspect().isolation)
        assert running.exec(["probe", "fork", "100"]).stdout.split()[1] == b"100"


def test_a_limit_of_cpu_time_can_be_taken_away(shared: coble.Engine) -> None:
    for options in ({"cpus": 0.5}, {"cpu_quota": 30000, "cpu_period": 60000}):
        with shared.containers.run("box", FOREVER, **options) as container:  # type: ignore[arg-type]
            name = "nano_cpus" if "cpus" in options else "cpu_quota"
            if limits(container.inspect().isolation)[name].applied is None:
                pytest.skip("this user has no controllers here: warned")
            # As docker has it, 0 is no change.
            container.update(cpu_quota=0, cpus=0, cpu_shares=0, blkio_weight=0, mem_limit=0, memswap_limit=0, mem_reservation=0, cpuset_cpus="")
            assert limits(container.inspect().isolation)[name].applied is not None
            container.update(cpu_quota=-1)
            found = container.inspect()
            assert (found.spec.cpu_quota, found.spec.nano_cpus) == (None, None)
            assert not {"cpu_quota", "nano_cpus"} & set(limits(found.isolation))
            container.update(cpus=0.25) if name == "nano_cpus" else container.update(cpu_quota=20000)
            assert limits(container.inspect().isolation)[name].applied in (250_000_000, 20000)


def test_what_docker_says_for_no_limit(shared: coble.Engine, command: Command) -> None:
    done = shared.run("box", ["true"], cpu_quota=-1, cpu_shares=0, blkio_weight=0, mem_swappiness=-1, mem_limit=0, memswap_limit=0, cpus=0, cpu_period=0, mem_reservation=0, cpuset_cpus="", cpuset_mems="")
    assert limits(done.isolation) == {}
    words = "--cpu-quota=-1 --cpu-quota 0 --cpu-shares 0 --blkio-weight 0 --memory-swappiness -1 --memory-swap 0 -m 0 --cpus 0 --cpu-period 0".split()
    for flags in (words[:1] + words[3:], words[1:]):
        assert command.good("run", "--rm", *flags, "box", "echo", "fine") == "fine\n"
    for bad in ({"cpu_quota": -2}, {"mem_swappiness": -2}, {"cpu_quota": 1}):
        with pytest.raises(coble.InvalidArgumentError):
            shared.run("box", ["true"], **bad)  # type: ignore[arg-type]


def test_rates_and_weights_of_devices_are_changed(running: coble.Container) -> None:
    device = block_device()
    if device is None:
        pytest.skip("this machine has no block device")
    for option in ("device_read_bps", "device_write_iops"):
        name = f"{option}:{device}"
        try:
            running.update(**{option: {device: MIB}})  # type: ignore[arg-type]
        except coble.UnsupportedError:
            assert option.replace("_", " ") and not limits(running.inspect().isolation)
            pytest.skip("this user has no such controller here: refused")
        assert limits(running.inspect().isolation)[name].applied == MIB
        running.update(**{option: [f"{device}:0"]})  # type: ignore[arg-type]
        assert name not in limits(running.inspect().isolation)
        assert getattr(running.inspect().spec, option) == {}
    for bad in ({"device_read_bps": {"/dev/null": 1}}, {"device_read_bps": {"sda": 0}}, {"unified": {"cgroup.procs": "1"}}):
        with pytest.raises(coble.InvalidArgumentError):
            running.update(**bad)  # type: ignore[arg-type]


def test_raw_files_are_changed(running: coble.Container) -> None:
    if CGROUPS != "v2":
        with pytest.raises(coble.UnsupportedError):
            running.update(unified={"memory.high": "64M"})
        return
    try:
        running.update(unified={"memory.high": str(64 * MIB)})
    except coble.UnsupportedError:
        pytest.skip("this user has no controllers here: refused")
    assert limits(running.inspect().isolation)["unified:memory.high"].applied == 64 * MIB
    running.update(unified=["memory.high=max"])
    assert limits(running.inspect().isolation)["unified:memory.high"].applied_text == "max"


def test_one_that_has_a_quota_gets_no_nano_cpus(shared: coble.Engine) -> None:
    container = shared.containers.create("box", ["true"], cpu_quota=30000)
    with pytest.raises(coble.InvalidArgumentError, match="nano_cpus"):
        container.update(cpus=1)
    container.update(cpu_period=60000)
    spec = container.inspect().spec
    assert (spec.cpu_quota, spec.cpu_period, spec.nano_cpus) == (30000, 60000, None)
    container.remove()


def test_no_limit_on_processes_has_two_words(shared: coble.Engine) -> None:
    for unlimited in (-1, 0):
        done = shared.run("box", ["true"], pids_limit=unlimited)
        assert "pids_limit" not in limits(done.isolation)


def test_updates_at_the_same_time_all_count(running: coble.Container) -> None:
    changes: list[dict[str, Any]] = [{"pids_limit": 30}, {"mem_limit": 64 * MIB}, {"cpu_shares": 512}, {"cpuset_cpus": "0"}]
    for round in range(3):
        changes[0]["pids_limit"] += 1
        barrier, errors = threading.Barrier(len(changes)), list[coble.CobleError]()

        def change(given: dict[str, Any], barrier: threading.Barrier = barrier, errors: list[coble.CobleError] = errors) -> None:
            barrier.wait()
            try:
                running.update(**given)
            except coble.CobleError as error:
                errors.append(error)

        threads = [threading.Thread(target=change, args=[given]) for given in changes]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if any(isinstance(error, coble.UnsupportedError) for error in errors):
            assert MODE != "root", errors
            pytest.skip("this user has no controllers here: refused")
        assert errors == []
        found = running.inspect()
        for given in changes:
            ((name, value),) = given.items()
            assert getattr(found.spec, name) == value and limits(found.isolation)[name].applied_text == str(value), (round, name)
    assert running.state == "running"


def test_an_update_that_fails_changes_nothing(running: coble.Container) -> None:
    try:
        running.update(pids_limit=50)
    except coble.UnsupportedError:
        pytest.skip("this user has no controllers here: refused")
    before = running.inspect()
    with pytest.raises(coble.CobleError):
        # There is more than one page in use already, and a limit below that cannot be had.
        running.update(pids_limit=40, blkio_weight=10, cpuset_mems="8000")
    with pytest.raises(coble.InvalidArgumentError):
        running.update(mem_limit=1)
    after = running.inspect()
    assert after.spec == before.spec and after.isolation == before.isolation


def test_update_of_one_that_does_not_run(shared: coble.Engine) -> None:
    container = shared.containers.create("box", ["true"], pids_limit=30)
    assert container.update(pids_limit=60) == []
    assert container.inspect().spec.pids_limit == 60
    container.start()
    container.wait()
    assert limits(container.inspect().isolation)["pids_limit"].requested == 60
    container.remove()
    with pytest.raises(coble.ContainerNotFoundError):
        container.update(pids_limit=5)


# --- where the cgroup is --------------------------------------------------------------------------------------------


def cgroups_of(container: coble.Container) -> dict[str, str]:
    """The lines of the program's /proc/PID/cgroup: controllers, and path."""
    lines = Path(f"/proc/{container.inspect().pid}/cgroup").read_text().splitlines()
    return {line.split(":", 2)[1]: line.split(":", 2)[2] for line in lines}


def hierarchies() -> list[Path]:
    mounts = [line.split() for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    return [Path(fields[4]) for fields in mounts if fields[fields.index("-") + 1] in ("cgroup", "cgroup2")]


@pytest.mark.root
def test_a_chosen_cgroup(shared: coble.Engine) -> None:
    parent = f"/coble-test-{os.getpid()}/night.slice"
    made = [folder / parent.strip("/").split("/")[0] for folder in hierarchies()]
    try:
        with shared.containers.run("box", FOREVER, cgroup_parent=parent, pids_limit=20) as container:
            found = {name: path for name, path in cgroups_of(container).items() if path.startswith(parent)}
            assert set(found.values()) == {f"{parent}/{container.id}"}
            # All of them, so that what is set above holds for the container.
            words = {word for name in found for word in name.split(",")}
            assert words >= ({""} if CGROUPS == "v2" else {"memory", "pids", "devices", "cpu"}), found
            assert limits(container.inspect().isolation)["pids_limit"].applied == 20
            assert container.inspect_docker()["HostConfig"]["CgroupParent"] == parent
            assert container.exec(["true"]).exit_code == 0
            container.update(pids_limit=30)
            container.pause()
            assert container.state == "paused"
            container.unpause()
            assert container.stats().pids >= 1
            container.restart(timeout=0)
            assert f"{parent}/{container.id}" in cgroups_of(container).values()
        # The container's are gone, those above are not ours.
        assert all(list(path.glob("*/*/cgroup.procs")) == [] for path in made)
        assert any(path.exists() for path in made)
    finally:
        for path in made:
            for folder in (path / "night.slice", path):
                if folder.is_dir():
                    folder.rmdir()


@pytest.mark.root
def test_a_chosen_cgroup_is_found_after_a_crash(store: Store, shared: coble.Engine, tmp_path: Path) -> None:
    parent = f"coble-test-crash-{os.getpid()}"
    archive = tmp_path / "box.tar"
    shared.images.save("box", archive)
    made = [folder / parent for folder in hierarchies()]
    script = (
        "import coble, os, signal, sys\n"
        "engine = coble.Engine(data_root=sys.argv[1], run_root=sys.argv[2])\n"
        f"engine.images.load({str(archive)!r})\n"
        f"container = engine.containers.run('box', ['sleep', '1000'], cgroup_parent={parent!r}, mem_limit='64m')\n"
        "stat = open(f'/proc/{container.inspect().pid}/stat').read()\n"
        "print(stat.rpartition(')')[2].split()[1], flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    try:
        done = subprocess.run([sys.executable, "-c", script, str(store.data_root), str(store.run_root)], stdout=subprocess.PIPE, check=False)
        assert done.returncode == -9
        # Its parent is the monitor, which notices the end in its own time.
        assert wait_for_exit(int(done.stdout))
        with store.engine() as engine:
            assert engine.containers.list(all=True) == []
        assert all(list(path.glob("*/cgroup.procs")) == [] for path in made)
        assert store.litter() == []
    finally:
        for path in made:
            if path.is_dir():
                path.rmdir()


@pytest.mark.parametrize("parent", ["", "/", "..", "/a/../b", "/coble", "coble/x/y", "a//b", "a/cgroup.procs", "a\nb", "a b"])
def test_what_cgroup_cannot_be_chosen(shared: coble.Engine, parent: str) -> None:
    with pytest.raises(coble.InvalidArgumentError, match="cgroup_parent"):
        shared.containers.create("box", ["true"], cgroup_parent=parent)


@pytest.mark.skipif(MODE == "root" or CGROUPS == "v2", reason="the caller can make cgroups; the suites of ordinary users on hosts with version 1 have it")
def test_a_cgroup_that_cannot_be_had_is_an_error(shared: coble.Engine) -> None:
    with pytest.raises(coble.UnsupportedError, match="cgroup_parent"):
        shared.run("box", ["true"], cgroup_parent="/jobs")
