"""Namespaces that containers have in common with others or with the host: what is shared, what is not, and that everything ends that has to."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import coble
import pytest
from conftest import CGROUPS, MODE, Store
from helpers import eventually, monitor_of, output, sh, wait_for_exit

NAMES = ("pid", "ipc", "uts", "net", "cgroup", "mnt", "user")


def links(text: str) -> dict[str, str]:
    """What `readlink` of the namespaces says, by their names."""
    return {line.partition(":")[0]: line for line in text.splitlines()}


SHOW = "for n in pid ipc uts net cgroup mnt user; do readlink /proc/self/ns/$n; done"
HOST = {name: os.readlink(f"/proc/self/ns/{name}") for name in NAMES}


def of(container: coble.Container) -> dict[str, str]:
    return links(container.exec(["sh", "-c", SHOW], check=True).stdout.decode())


@pytest.fixture
def first(shared: coble.Engine) -> Iterator[coble.Container]:
    """A container that others join."""
    with shared.containers.run("box", ["sleep", "1000"], hostname="first", extra_hosts={"db": "10.9.8.7"}, dns=["192.0.2.1"], ipc_mode="shareable") as it:
        yield it


def can_share_pids(engine: coble.Engine) -> bool:
    """Whether the engine can give containers a cgroup of version 2, by which all of one is ended."""
    try:
        engine.run("box", ["true"], pid_mode="host")
    except coble.UnsupportedError:
        return False
    return True


@pytest.fixture
def sharing(shared: coble.Engine) -> coble.Engine:
    if not can_share_pids(shared):
        pytest.skip("the caller can make no cgroup of version 2; the suite that root runs has it")
    return shared


# --- network --------------------------------------------------------------------------------------------------------


@pytest.mark.vm
@pytest.mark.parametrize("by", ["id", "name"])
def test_the_network_of_another_container(shared: coble.Engine, first: coble.Container, by: str) -> None:
    theirs = of(first)
    mode = f"container:{getattr(first, by)}"
    ours = links(sh(shared, SHOW, network_mode=mode))
    assert ours["net"] == theirs["net"] != HOST["net"]
    different = {name for name in NAMES if ours[name] != theirs[name]} - {"user"}
    assert different == {"pid", "ipc", "uts", "cgroup", "mnt"}
    # A user namespace belongs to what is joined; without one there is only the host's.
    assert ours["user"] == theirs["user"]
    assert (ours["user"] == HOST["user"]) == (MODE == "root")


def test_what_goes_over_it(shared: coble.Engine, first: coble.Container) -> None:
    listener = first.popen(["sh", "-c", "echo hello | nc -l -p 8000"], stdin=None, stdout=None, stderr=None)
    done = eventually(
        lambda: (found := shared.run("box", ["nc", "-w", "5", "127.0.0.1", "8000"], network=f"container:{first.id}")).exit_code == 0 and found, "a connection"
    )
    assert done.stdout == b"hello\n"
    listener.kill()
    listener.wait()


def test_its_names_come_with_the_network(shared: coble.Engine, first: coble.Container) -> None:
    """As docker has it: hostname, hosts and resolv.conf are the other container's."""
    script = "hostname; echo $HOSTNAME; cat /etc/hostname /etc/hosts /etc/resolv.conf"
    theirs = first.exec(["sh", "-c", script], check=True).stdout.decode()
    assert theirs.splitlines()[:3] == ["first"] * 3 and "10.9.8.7\tdb" in theirs and "192.0.2.1" in theirs
    assert sh(shared, script, network=f"container:{first.name}") == theirs
    with shared.containers.run("box", ["sleep", "1000"], network=f"container:{first.name}") as second:
        assert second.exec(["sh", "-c", script], check=True).stdout.decode() == theirs
        # And on: a third one gets them by way of the second.
        assert sh(shared, script, network=f"container:{second.name}") == theirs
        docker = second.inspect_docker()
        assert docker["HostConfig"]["NetworkMode"] == f"container:{first.id}" and docker["Config"]["Hostname"] == "first"
        assert docker["NetworkSettings"]["Networks"] == {}


def test_the_network_outlives_the_other_container(shared: coble.Engine) -> None:
    with shared.containers.run("box", ["sleep", "1000"]) as first:
        network = of(first)["net"]
        second = shared.containers.run("box", ["sleep", "1000"], network=f"container:{first.id}", lifetime="detached")
    try:
        assert of(second)["net"] == network
        assert second.exec(["probe", "interfaces"], check=True).stdout
        second.stop(timeout=0)
        with pytest.raises(coble.ContainerNotFoundError):
            second.start()
    finally:
        second.remove(force=True)


def test_a_restarted_program_keeps_the_network_of_the_other(shared: coble.Engine, first: coble.Container) -> None:
    script = "readlink /proc/self/ns/net > /count.$(ls / | grep -c count); [ $(ls / | grep -c count) -ge 3 ] && sleep 1000; exit 1"
    with shared.containers.run("box", ["sh", "-c", script], network=f"container:{first.id}", restart_policy="on-failure") as second:
        eventually(lambda: second.inspect().restart_count >= 2 and second.state == "running", "two restarts")
        seen = eventually(lambda: len(seen := second.exec(["sh", "-c", "cat /count.*"]).stdout.decode().split()) == 3 and seen, "three runs")
        assert set(seen) == {of(first)["net"]}


# --- ipc ------------------------------------------------------------------------------------------------------------


@pytest.mark.vm
def test_the_ipc_namespace_of_another_container(shared: coble.Engine, first: coble.Container) -> None:
    first.exec(["sh", "-c", "echo shared > /dev/shm/file"], check=True)
    script = f"{SHOW}; cat /dev/shm/file; echo back > /dev/shm/back; ls -d /dev/mqueue"
    found = sh(shared, script, ipc_mode=f"container:{first.name}")
    ours, theirs = links(found), of(first)
    assert ours["ipc"] == theirs["ipc"] != HOST["ipc"] and ours["uts"] != theirs["uts"] and ours["net"] != theirs["net"]
    assert found.splitlines()[-2:] == ["shared", "/dev/mqueue"]
    assert first.exec(["cat", "/dev/shm/back"], check=True).stdout == b"back\n"
    mounts = sh(shared, "grep ' /dev/shm ' /proc/mounts", ipc_mode=f"container:{first.name}")
    assert {"nosuid", "nodev", "noexec"} <= set(mounts.split()[3].split(","))


@pytest.mark.parametrize("mode", ["private", "none"])
def test_an_ipc_namespace_is_shared_only_if_it_may_be(shared: coble.Engine, mode: str) -> None:
    with shared.containers.run("box", ["sleep", "1000"], ipc_mode=mode) as first:
        with pytest.raises(coble.InvalidArgumentError, match="is its own") as caught:
            shared.run("box", ["true"], ipc_mode=f"container:{first.id}")
        assert "shareable" in (caught.value.hint or "")


def test_no_shared_memory(shared: coble.Engine) -> None:
    found = sh(shared, f"{SHOW}; grep -c ' /dev/shm ' /proc/mounts; ls /dev/shm 2>&1; true", ipc_mode="none")
    assert links(found)["ipc"] != HOST["ipc"]
    assert found.splitlines()[7] == "0" and "No such file" in found.splitlines()[8]


def test_the_ipc_namespace_of_the_host(shared: coble.Engine) -> None:
    name = f"coble-test-{os.getpid()}"
    file = Path("/dev/shm") / name
    file.write_text("of the host")
    file.chmod(0o644)
    try:
        found = sh(shared, f"{SHOW}; cat /dev/shm/{name}", ipc_mode="host", shm_size="1m")
    finally:
        file.unlink()
    assert links(found)["ipc"] == HOST["ipc"] and found.endswith("of the host")
    with shared.containers.run("box", ["sleep", "1000"], ipc_mode="host") as container:
        assert of(container)["ipc"] == HOST["ipc"]
        assert of(container)["mnt"] == links(container.exec(["sh", "-c", SHOW.replace("self", "1")]).stdout.decode())["mnt"]


@pytest.mark.root
def test_something_else_in_place_of_shared_memory_is_not_taken(shared: coble.Engine) -> None:
    """The other container is hostile: a link, a directory or a file system of its own at its /dev/shm."""
    for script in (
        "umount /dev/shm; rmdir /dev/shm; ln -s /proc/1/root /dev/shm",
        "umount /dev/shm",
        "umount /dev/shm; mount -t proc proc /dev/shm",
    ):
        options = {"cap_add": ["SYS_ADMIN"], "security_opt": ["seccomp=unconfined", "apparmor=unconfined"]}
        with shared.containers.run("box", ["sleep", "1000"], ipc_mode="shareable", **options) as first:
            first.exec(["sh", "-c", script], check=True)
            with pytest.raises(coble.CobleError, match="/dev/shm"):
                shared.run("box", ["true"], ipc_mode=f"container:{first.id}")


# --- names and cgroups ----------------------------------------------------------------------------------------------


@pytest.mark.vm
def test_the_hosts_names(shared: coble.Engine) -> None:
    found = sh(shared, f"{SHOW}; hostname; echo $HOSTNAME; cat /etc/hostname", uts_mode="host")
    assert links(found)["uts"] == HOST["uts"] and links(found)["net"] != HOST["net"]
    assert found.splitlines()[-3:] == [os.uname().nodename] * 3
    with shared.containers.run("box", ["sleep", "1000"], uts_mode="host") as container:
        assert of(container)["uts"] == HOST["uts"]


@pytest.mark.vm
def test_the_hosts_view_of_cgroups(shared: coble.Engine) -> None:
    assert links(sh(shared, SHOW, cgroupns="host"))["cgroup"] == HOST["cgroup"]
    assert links(sh(shared, SHOW))["cgroup"] != HOST["cgroup"]
    with shared.containers.run("box", ["sleep", "1000"], cgroupns="host") as container:
        assert of(container)["cgroup"] == HOST["cgroup"]
        assert container.inspect_docker()["HostConfig"]["CgroupnsMode"] == "host"


def cgroup_options() -> set[str]:
    """With what the host has cgroups of version 2 mounted."""
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        kind, _, options = line.partition(" - ")[2].split(" ", 2)
        if kind == "cgroup2":
            return set(options.split(","))
    return set()


@pytest.mark.vm
def test_a_view_of_the_hosts_cgroups_leaves_the_host_alone(shared: coble.Engine) -> None:
    """A mount of cgroups from the host's cgroup namespace would put its own options in force for all of them."""
    before = cgroup_options()
    line = sh(shared, "grep ' /sys/fs/cgroup ' /proc/self/mountinfo; ls /sys/fs/cgroup/cgroup.procs", cgroupns="host") if CGROUPS == "v2" else sh(shared, "true", cgroupns="host")
    assert cgroup_options() == before
    if CGROUPS == "v2":
        place, _, found = line.splitlines()[0].partition(" - ")
        assert found.startswith("cgroup2 ") and {"ro", "nosuid", "nodev", "noexec"} <= set(place.split()[5].split(",")), line
        with pytest.raises(coble.ContainerExitError):
            sh(shared, "mkdir /sys/fs/cgroup/made", cgroupns="host")
    with pytest.raises(coble.InvalidArgumentError, match="writable-cgroups"):
        shared.containers.create("box", ["true"], cgroupns="host", security_opt=["writable-cgroups"])


@pytest.mark.vm
def test_a_domain_name(shared: coble.Engine) -> None:
    found = sh(shared, "cat /proc/sys/kernel/domainname; grep 127.0.1.1 /etc/hosts; hostname -f", hostname="web", domainname="b.example")
    assert found.splitlines() == ["b.example", "127.0.1.1\tweb.b.example web", "web.b.example"]


def test_search_domains_and_options(shared: coble.Engine) -> None:
    text = output(shared, "cat", "/etc/resolv.conf", dns=["192.0.2.1"], dns_search=["a.example", "b.example"], dns_opt=["ndots:2", "rotate"])
    assert text == "nameserver 192.0.2.1\nsearch a.example b.example\noptions ndots:2 rotate\n"
    assert "search" not in output(shared, "cat", "/etc/resolv.conf", dns_search=["."])


# --- processes ------------------------------------------------------------------------------------------------------


def test_without_a_way_to_end_all_of_it_pids_are_not_shared(shared: coble.Engine, first: coble.Container) -> None:
    """An ordinary user without a delegated cgroup of version 2: an error that says so, and nothing is left."""
    if can_share_pids(shared):
        pytest.skip("the caller can make cgroups of version 2; the suites of ordinary users have it")
    for mode in ("host", f"container:{first.id}"):
        with pytest.raises(coble.UnsupportedError, match="cgroup of version 2") as caught:
            shared.run("box", ["true"], pid_mode=mode)
        assert "Delegate" in (caught.value.hint or "")


@pytest.mark.vm
def test_the_processes_of_another_container(sharing: coble.Engine, first: coble.Container) -> None:
    with sharing.containers.run("box", ["sleep", "2000"], pid_mode=f"container:{first.name}") as second:
        ours, theirs = of(second), of(first)
        assert ours["pid"] == theirs["pid"] != HOST["pid"]
        assert {name for name in NAMES if ours[name] != theirs[name]} - {"user"} == {"ipc", "uts", "net", "cgroup", "mnt"}
        # Each sees the other's program, and nothing of the engine.
        for container in (first, second):
            seen = container.exec(["sh", "-c", "cat /proc/[0-9]*/cmdline | tr '\\0' ' '"], check=True).stdout
            assert b"sleep 1000" in seen and b"sleep 2000" in seen and b"coble" not in seen, seen
            names = container.exec(["sh", "-c", "cat /proc/[0-9]*/comm"], check=True).stdout
            assert b"coble" not in names, names
        assert second.exec(["sh", "-c", "cat /proc/1/cmdline | tr '\\0' ' '"]).stdout == b"sleep 1000 "
        # Signals go to the right one.
        second.kill("TERM")
        second.wait(timeout=30)
    assert first.state == "running"


def test_its_terminal_is_a_terminal(sharing: coble.Engine, first: coble.Container) -> None:
    done = sharing.run("box", ["sh", "-c", "tty; ps -o pid,sid,tty > /dev/null; echo $$ > /dev/tty; stty size"], pid_mode=f"container:{first.id}", tty=True, console_size=(33, 44))
    lines = done.stdout.decode().split("\r\n")
    assert lines[0].startswith("/dev/pts/") and lines[2] == "33 44", lines
    assert lines[1].isdigit() and lines[1] != "1"


def test_nothing_of_the_host_is_open_in_it(sharing: coble.Engine) -> None:
    """SEC-139: whoever may trace sees the program's descriptors, root and mounts, and nothing of the engine."""
    options = {"cap_add": ["SYS_PTRACE"], "security_opt": ["seccomp=unconfined"]}
    with sharing.containers.run("box", ["sleep", "1000"], **options) as first:
        # Looks at every process that it can see, as fast as it can, while others join. Their own root they may have open, but not that of the host, which has this program.
        host = Path(sys.executable).resolve()
        known = "/dev/null|pipe:*|/dev/pts/*|socket:*|/proc|/proc/*"
        look = f"case $l in {known}) ;; /) [ -e $f{host} ] && echo $p $f of the host;; *) echo $p $f $l;; esac"
        spy = f"while :; do for p in /proc/[0-9]*; do for f in $p/fd/*; do l=$(readlink $f 2>/dev/null) && {look}; done; [ -e $p/root{host} ] && echo $p root; done; done"
        first.exec(["sh", "-c", f"({spy}) > /seen 2>/dev/null &"], check=True)
        for _ in range(20):
            sharing.run("box", ["true"], pid_mode=f"container:{first.id}", check=True)
        seen = first.exec(["cat", "/seen"]).stdout.decode()
        assert [line for line in seen.splitlines() if "/seen" not in line] == []


@pytest.mark.vm
def test_the_end_of_the_other_container_is_the_end(sharing: coble.Engine) -> None:
    first = sharing.containers.run("box", ["sleep", "1000"], lifetime="detached")
    second = sharing.containers.run("box", ["sleep", "1000"], pid_mode=f"container:{first.id}", lifetime="detached")
    try:
        first.kill()
        assert second.wait(timeout=30) == 137
        with pytest.raises(coble.InvalidStateError, match="does not run"):
            second.start()
        assert first.wait(timeout=30) == 137
        first.start()
        second.start()
        assert of(second)["pid"] == of(first)["pid"]
    finally:
        second.remove(force=True)
        first.remove(force=True)


DAEMONS = "for n in 1 2 3; do (setsid sh -c 'trap \"\" HUP TERM INT; while :; do sleep 1000; done' &) ; done; sleep 0.1"


def home_of(container: coble.Container) -> Path:
    """The container's cgroup of version 2."""
    pid = container.inspect().pid
    path = next(line.split("::", 1)[1] for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines() if line.startswith("0::"))
    root = next(line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines() if " - cgroup2 " in line)
    return Path(f"{root}{path}")


def members(container: coble.Container) -> set[int]:
    """The processes in it."""
    return {int(line) for line in (home_of(container) / "cgroup.procs").read_text().split()}


def all_ended(home: Path, pids: set[int]) -> bool:
    """Whether nobody is in a cgroup now, and all of these have ended: who ends leaves it a moment before that can be waited for."""
    try:
        left = (home / "cgroup.procs").read_text()
    except OSError:
        left = ""  # gone
    return left == "" and all(wait_for_exit(pid) for pid in pids)


@pytest.mark.vm
@pytest.mark.parametrize("mode", ["host", "container"])
def test_the_end_of_the_program_ends_all_of_it(sharing: coble.Engine, first: coble.Container, mode: str) -> None:
    """Where there is a pid namespace of its own the kernel does it."""
    mode = "host" if mode == "host" else f"container:{first.id}"
    with sharing.containers.run("box", ["sh", "-c", f"{DAEMONS}; read x"], pid_mode=mode, stdin_open=True) as second:
        pids = eventually(lambda: len(found := members(second)) >= 7 and found, "daemons")
        home = home_of(second)
        second.kill()
        second.wait(timeout=30)
        assert all_ended(home, pids)
    assert first.state == "running"


@pytest.mark.vm
@pytest.mark.parametrize("mode", ["host", "container"])
@pytest.mark.parametrize("victim", ["monitor", "keeper", "stopped"])
def test_whoever_is_killed_nothing_is_left(sharing: coble.Engine, first: coble.Container, mode: str, victim: str) -> None:
    mode = "host" if mode == "host" else f"container:{first.id}"
    if victim == "stopped" and tuple(int(word) for word in os.uname().release.split(".")[:2]) < (6, 5):
        pytest.skip("a monitor that does not answer can be killed since Linux 6.5")
    with sharing.containers.run("box", ["sh", "-c", f"{DAEMONS}; read x"], pid_mode=mode, stdin_open=True) as second:
        pids = eventually(lambda: len(found := members(second)) >= 7 and found, "daemons")
        home, monitor = home_of(second), monitor_of(second)
        # It is called that a moment after it was made.
        keeper = eventually(lambda: keeper_of(monitor), "the keeper")
        if victim == "keeper":
            os.kill(keeper, signal.SIGKILL)
            keeper = eventually(lambda: (found := keeper_of(monitor)) != keeper and found, "another keeper")
            assert second.exec(["true"]).exit_code == 0
        elif victim == "monitor":
            os.kill(monitor, signal.SIGKILL)
            # The lock is held until all of it has ended.
            eventually(lambda: second.state == "exited", "its end")
            assert all_ended(home, pids)
            assert wait_for_exit(keeper)
        else:
            os.kill(monitor, signal.SIGSTOP)
            second.kill()
            assert all(wait_for_exit(pid) for pid in pids)
    assert wait_for_exit(keeper) and wait_for_exit(monitor)
    assert first.state == "running"


def keeper_of(monitor: int) -> int | None:
    for pid in Path(f"/proc/{monitor}/task/{monitor}/children").read_text().split():
        try:
            name = Path(f"/proc/{pid}/comm").read_text().strip()
        except OSError:
            # It has just ended.
            continue
        if name == "coble-keeper":
            return int(pid)
    return None


def test_both_killed_at_once_is_cleared_by_whoever_looks(sharing: coble.Engine) -> None:
    with sharing.containers.run("box", ["sh", "-c", f"{DAEMONS}; read x"], pid_mode="host", stdin_open=True) as second:
        pids = eventually(lambda: len(found := members(second)) >= 7 and found, "daemons")
        monitor = monitor_of(second)
        keeper = eventually(lambda: keeper_of(monitor), "the keeper")
        os.kill(keeper, signal.SIGSTOP)
        os.kill(monitor, signal.SIGKILL)
        os.kill(keeper, signal.SIGKILL)
        eventually(lambda: second.state == "exited", "its end")
    assert all(wait_for_exit(pid) for pid in pids)


def test_the_keeper_has_nothing_open_but_what_it_needs(sharing: coble.Engine) -> None:
    with sharing.containers.run("box", ["sleep", "1000"], pid_mode="host") as container:
        monitor = monitor_of(container)
        keeper = eventually(lambda: keeper_of(monitor), "the keeper")
        eventually(lambda: len(os.listdir(f"/proc/{keeper}/fd")) == 7, "a keeper that has closed everything else")
        files = {number: os.readlink(f"/proc/{keeper}/fd/{number}") for number in os.listdir(f"/proc/{keeper}/fd")}
        kinds = {Path(target).name for number, target in files.items() if int(number) > 2}
        assert kinds == {"cgroup.events", "cgroup.kill", "lock", "anon_inode:[pidfd]"}, files
        assert {target for number, target in files.items() if int(number) <= 2} == {"/dev/null"}


@pytest.mark.vm
def test_the_processes_of_the_host(sharing: coble.Engine) -> None:
    found = sh(sharing, f"{SHOW}; echo $$; ls -d /proc/{os.getpid()}", pid_mode="host")
    assert links(found)["pid"] == HOST["pid"]
    lines = found.splitlines()
    assert int(lines[7]) > 1 and lines[8] == f"/proc/{os.getpid()}"
    # Masked and read-only as ever.
    def mounted(**options: Any) -> set[str]:
        # Without the source, which is what whoever mounted it calls it.
        return {line.split(" ", 1)[1] for line in sh(sharing, "grep ' /proc/' /proc/mounts", **options).splitlines()}

    own, hosts = mounted(), mounted(pid_mode="host")
    # In a user namespace it is a copy of the host's, with what the host has mounted there.
    assert own <= hosts and len(own) > 5
    with sharing.containers.run("box", ["sleep", "1000"], pid_mode="host") as container:
        pid = container.inspect().pid
        assert of(container)["pid"] == HOST["pid"]
        assert container.exec(["cat", f"/proc/{pid}/comm"]).stdout == b"sleep\n"


def test_a_program_that_is_restarted_among_others(sharing: coble.Engine, first: coble.Container) -> None:
    script = f"{DAEMONS}; echo x >> /runs; [ $(wc -l < /runs) -ge 3 ] && exec sleep 1000; exit 1"
    with sharing.containers.run("box", ["sh", "-c", script], pid_mode=f"container:{first.id}", restart_policy="on-failure") as second:
        eventually(lambda: second.inspect().restart_count == 2 and second.state == "running", "two restarts")
        eventually(lambda: second.exec(["wc", "-l", "/runs"]).stdout.split()[:1] == [b"3"], "the third run")
        # What the runs before left has ended with them.
        eventually(lambda: len(members(second)) == 7, "the third run's processes alone")
        assert of(second)["pid"] == of(first)["pid"] and of(second)["net"] != of(first)["net"]


def test_init_and_health_among_the_processes_of_others(sharing: coble.Engine, first: coble.Container) -> None:
    check = {"test": ["CMD", "true"], "interval": 200_000_000, "timeout": 5_000_000_000}
    with sharing.containers.run("box", ["sh", "-c", "trap 'exit 3' TERM; while :; do sleep 0.1; done"], pid_mode=f"container:{first.id}", init=True, healthcheck=check) as second:
        eventually(lambda: (health := second.health) is not None and health.status == "healthy", "health")
        second.stop(timeout=10)
        assert second.inspect().exit_code == 3
    assert first.state == "running"


def test_pause_and_files_among_the_processes_of_others(sharing: coble.Engine, first: coble.Container) -> None:
    with sharing.containers.run("box", ["sleep", "1000"], pid_mode=f"container:{first.id}") as second:
        second.write_file("/file", b"content")
        assert second.read_file("/file") == b"content" and second.exec(["cat", "/file"]).stdout == b"content"
        second.pause()
        assert second.state == "paused" and first.state == "running"
        os.kill(monitor_of(second), signal.SIGKILL)
        eventually(lambda: second.state == "exited", "the end of what is frozen")


# --- what is said and what is refused -------------------------------------------------------------------------------


@pytest.mark.vm
def test_the_isolation_says_what_is_shared(shared: coble.Engine, first: coble.Container) -> None:
    """ISO-21."""
    done = shared.run("box", ["true"], network=f"container:{first.name}", ipc_mode=f"container:{first.name}", uts_mode="host", cgroupns="host")
    assert done.isolation is not None
    found = {one.name: (one.own, one.container) for one in done.isolation.namespaces}
    assert found["net"] == found["ipc"] == (False, first.id)
    assert found["uts"] == found["cgroup"] == (False, None)
    assert found["pid"] == found["mnt"] == (True, None)
    assert done.isolation.to_dict()["namespaces"]


def test_inspect_says_what_was_asked_for(shared: coble.Engine, first: coble.Container) -> None:
    container = shared.containers.create("box", ["true"], ipc_mode=f"container:{first.name}", uts_mode="host", pid_mode="host", dns_search=["a.example"], dns_opt=["rotate"])
    spec = container.inspect().spec
    assert (spec.ipc_mode, spec.uts_mode, spec.pid_mode, spec.cgroupns) == (f"container:{first.id}", "host", "host", "private")
    assert (spec.dns_search, spec.dns_opt) == (["a.example"], ["rotate"])
    host = container.inspect_docker()["HostConfig"]
    assert [host[key] for key in ("IpcMode", "UTSMode", "PidMode", "CgroupnsMode")] == [f"container:{first.id}", "host", "host", "private"]
    assert (host["DnsSearch"], host["DnsOptions"]) == (["a.example"], ["rotate"])
    container.remove()


@pytest.mark.parametrize(
    "options",
    [
        {"uts_mode": "host", "hostname": "x"},
        {"uts_mode": "host", "domainname": "x"},
        {"network": "container:first", "hostname": "x"},
        {"network": "container:first", "dns": ["192.0.2.1"]},
        {"network": "container:first", "extra_hosts": {"a": "192.0.2.1"}},
        {"network": "container:first", "sysctls": {"net.core.somaxconn": "1"}},
        {"ipc_mode": "host", "sysctls": {"kernel.shmmax": "1"}},
        {"uts_mode": "host", "sysctls": {"kernel.domainname": "x"}},
        {"pid_mode": "shareable"},
        {"pid_mode": "none"},
        {"pid_mode": "container:"},
        {"pid_mode": "ns:/proc/1/ns/pid"},
        {"uts_mode": "container:first"},
        {"cgroupns": "none"},
        {"network": "bridge"},
        {"dns_search": ["a b"]},
        {"dns_opt": ["a\nnameserver 192.0.2.9"]},
        {"domainname": "-x"},
    ],
    ids=str,
)
def test_what_is_refused(shared: coble.Engine, options: dict[str, object]) -> None:
    with pytest.raises(coble.InvalidArgumentError):
        shared.containers.create("box", ["true"], **options)  # type: ignore[arg-type]


def test_whoever_is_joined_has_to_be_there_and_run(shared: coble.Engine) -> None:
    for option in ("network", "network_mode", "pid_mode", "ipc_mode"):
        with pytest.raises(coble.ContainerNotFoundError):
            shared.run("box", ["true"], **{option: "container:nobody"})
    idle = shared.containers.create("box", ["sleep", "1000"], ipc_mode="shareable")
    try:
        for option in ("network", "pid_mode", "ipc_mode"):
            with pytest.raises(coble.InvalidStateError, match="does not run") as caught:
                shared.run("box", ["true"], **{option: f"container:{idle.name}"})
            assert caught.value.hint == "start it first"
            second = shared.containers.create("box", ["true"], **{option: f"container:{idle.name}"})
            with pytest.raises(coble.InvalidStateError, match="does not run"):
                second.start()
            second.remove()
    finally:
        idle.remove(force=True)
    with pytest.raises(TypeError, match="two names"):
        shared.containers.create("box", network="none", network_mode="none")


@pytest.mark.skipif(MODE == "root", reason="a container of root has no user namespace of its own; the suites of ordinary users have it")
def test_two_user_namespaces_are_too_many(shared: coble.Engine, first: coble.Container) -> None:
    with shared.containers.run("box", ["sleep", "1000"], ipc_mode="shareable") as other:
        with pytest.raises(coble.UnsupportedError, match="another user namespace"):
            shared.run("box", ["true"], network=f"container:{first.id}", ipc_mode=f"container:{other.id}")


@pytest.mark.root
def test_joining_in_user_namespaces_that_root_makes(store: Store, assets: object, shared: coble.Engine, tmp_path: Path) -> None:
    """What an ordinary user has with a delegated cgroup: user namespaces, and cgroups of version 2."""
    archive = tmp_path / "box.tar"
    shared.images.save("box", archive)
    with coble.Engine(data_root=store.data_root, run_root=store.run_root, rootless=True) as engine:
        engine.images.load(archive)
        try:
            engine.run("box", ["true"], pid_mode="host")
        except coble.UnsupportedError:
            pytest.skip("no cgroup of version 2")
        with engine.containers.run("box", ["sleep", "1000"], ipc_mode="shareable") as first:
            with engine.containers.run(
                "box", ["sleep", "2000"], pid_mode=f"container:{first.id}", network=f"container:{first.id}", ipc_mode=f"container:{first.id}"
            ) as second:
                ours, theirs = of(second), of(first)
                assert {name for name in NAMES if ours[name] != theirs[name]} == {"uts", "cgroup", "mnt"}
                assert ours["user"] != HOST["user"]
                os.kill(monitor_of(second), signal.SIGKILL)
                eventually(lambda: second.state == "exited", "its end")
            assert first.state == "running"
            foreign = engine.containers.run("box", ["sleep", "1000"])
            with foreign, pytest.raises(coble.UnsupportedError, match="another user namespace"):
                engine.run("box", ["true"], pid_mode=f"container:{first.id}", network=f"container:{foreign.id}")
        found = sh(engine, f"{SHOW}; ls -d /proc/{os.getpid()}", pid_mode="host")
        assert links(found)["pid"] == HOST["pid"] and links(found)["user"] != HOST["user"]
    assert store.litter() == []
