"""Looks for what containers may leave behind, and says what it found in words.

The test process runs below a supervisor that is a "child subreaper": whatever a test starts stays the supervisor's descendant, also
when it leaves the test process's own family, as monitors do. So the processes that are ours are known from the kernel, whatever
else runs on the machine.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

PR_SET_CHILD_SUBREAPER = 36
CGROUP_ROOT = Path("/sys/fs/cgroup")


def supervise() -> None:
    """Forks: the child returns, the parent adopts what the child's descendants orphan and ends as the child ends."""
    if os.environ.get("COBLE_TEST_SUPERVISOR"):
        return
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER)")
    sys.stdout.flush()
    sys.stderr.flush()
    supervisor = os.getpid()
    child = os.fork()
    if child == 0:
        libc.prctl(PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)
        os.environ["COBLE_TEST_SUPERVISOR"] = str(supervisor)
        return
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def pass_on(number: int, _: object) -> None:
        try:
            os.kill(child, number)
        except ProcessLookupError:
            pass

    signal.signal(signal.SIGTERM, pass_on)
    status = 0
    while True:
        try:
            pid, ended = os.waitpid(-1, 0)
        except ChildProcessError:
            break
        if pid == child:
            status = ended
            break
    for pid in descendants(supervisor):
        print(f"supervisor: ending what the tests left: {process_text(pid)}", file=sys.stderr)
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
    os._exit(os.waitstatus_to_exitcode(status) if os.WIFEXITED(status) else 128 + os.WTERMSIG(status))


def parents() -> dict[int, tuple[int, str]]:
    """(parent, state) of every process."""
    found = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                # A name may be cut in the middle of a character.
                text = Path(f"/proc/{name}/stat").read_text(errors="replace")
            except OSError:
                continue
            state, parent = text[text.rindex(")") + 2 :].split()[:2]
            found[int(name)] = (int(parent), state)
    return found


def descendants(ancestor: int, *, without: int | None = None) -> list[int]:
    """The living descendants of a process, but not those that descend from `without`, nor zombies."""
    table = parents()
    children: dict[int, list[int]] = {}
    for pid, (parent, _) in table.items():
        children.setdefault(parent, []).append(pid)
    found, todo = [], list(children.get(ancestor, []))
    while todo:
        pid = todo.pop()
        if pid == without:
            continue
        if table[pid][1] not in "ZX":
            found.append(pid)
        todo += children.get(pid, [])
    return sorted(found)


def process_text(pid: int) -> str:
    def read(name: str) -> str:
        try:
            return Path(f"/proc/{pid}/{name}").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
        except OSError:
            return "?"

    try:
        executable = os.readlink(f"/proc/{pid}/exe")
    except OSError:
        executable = "?"
    return f"process {pid} ({read('comm')}: {read('cmdline')[:200]!r}, executable {executable})"


def our_processes() -> list[int]:
    """What the test process started and what left its family, but not the test process itself."""
    supervisor = os.environ.get("COBLE_TEST_SUPERVISOR")
    mine = descendants(os.getpid())
    if supervisor is None:
        return mine
    return sorted(mine + descendants(int(supervisor), without=os.getpid()))


def mounts() -> set[str]:
    with open("/proc/self/mountinfo") as file:
        return {" ".join(line.split()[2:5]) for line in file}


def interfaces() -> set[str]:
    return {line.split(":")[0].strip() for line in Path("/proc/net/dev").read_text().splitlines()[2:]}


def cgroups() -> set[str]:
    """Cgroups of containers: below one whose name has coble in it, in every hierarchy, wherever it is."""
    found = set()
    for folder, names, _ in os.walk(CGROUP_ROOT):
        if len(Path(folder).relative_to(CGROUP_ROOT).parts) > 8:
            names.clear()
        for name in names:
            path = os.path.join(folder, name)
            if "coble" in path[len(str(CGROUP_ROOT)) :] and name != "coble" and ours(path):
                found.add(path)
    return found


def ours(path: str) -> bool:
    """An ordinary user cannot have made what is somebody else's."""
    try:
        return os.geteuid() == 0 or os.stat(path).st_uid == os.geteuid()
    except OSError:
        return False


def empty_cgroup(path: str) -> bool:
    try:
        return not Path(path, "cgroup.procs").read_text().strip()
    except OSError:
        return False  # gone


def descriptors() -> dict[int, str]:
    """What each is of. A mount that is attached nowhere is a `mount:` and its root."""
    attached = {line.split()[0] for line in Path("/proc/self/mountinfo").read_text().splitlines()}
    found = {}
    for name in os.listdir("/proc/self/fd"):
        try:
            target = os.readlink(f"/proc/self/fd/{name}")
            if target == "/" and mount_of(name) not in attached:
                target = "mount:/"
            found[int(name)] = target
        except OSError:
            continue  # the one that listed
    return found


def mount_of(descriptor: str) -> str:
    """The number of the mount that a descriptor leads to."""
    lines = Path(f"/proc/self/fdinfo/{descriptor}").read_text().splitlines()
    return next((line.split()[1] for line in lines if line.startswith("mnt_id:")), "")


#: Directories of a data root or run root that have nothing in them when no container exists and nothing is on its way.
EMPTY_WHEN_IDLE = ("containers", "content/ingest")


def store_litter(data_root: Path, run_root: Path | None, containers: int = 0) -> list[str]:
    """What an idle store with that many containers should not have."""
    found = []
    for name in EMPTY_WHEN_IDLE:
        folder = data_root / name
        entries = sorted(os.listdir(folder)) if folder.is_dir() else []
        allowed = containers if name == "containers" else 0
        if len(entries) > allowed:
            found.append(f"{folder} has {len(entries)} entries, not {allowed}: {entries[:5]}")
    layers = data_root / "layers"
    if layers.is_dir():
        found += [f"unfinished layer {layers / name}" for name in os.listdir(layers) if not name.isalnum()]
    blobs = data_root / "content/blobs/sha256"
    if blobs.is_dir():
        found += [f"odd blob {blobs / name}" for name in os.listdir(blobs) if len(name) != 64]
    if run_root is not None and (run_root / "containers").is_dir():
        entries = os.listdir(run_root / "containers")
        if len(entries) > containers:
            found.append(f"{run_root / 'containers'} has {len(entries)} entries, not {containers}: {entries[:5]}")
    return found


@dataclass
class Snapshot:
    """What is there now."""

    mounts: set[str] = field(default_factory=mounts)
    interfaces: set[str] = field(default_factory=interfaces)
    cgroups: set[str] = field(default_factory=cgroups)
    descriptors: dict[int, str] = field(default_factory=descriptors)
    threads: set[str] = field(default_factory=lambda: set(os.listdir("/proc/self/task")))
    processes: set[int] = field(default_factory=lambda: set(our_processes()))

    def difference(self) -> list[str]:
        """What is there now and was not then."""
        found = [f"mount {line}" for line in sorted(mounts() - self.mounts)]
        found += [f"network interface {name}" for name in sorted(interfaces() - self.interfaces)]
        # A cgroup with processes is a container of somebody else's on this machine: ours would show as processes.
        found += [f"cgroup {path}" for path in sorted(cgroups() - self.cgroups) if empty_cgroup(path)]
        for fd, target in descriptors().items():
            # 0 to 2 are what pytest captures, and changes. An engine keeps connections to its database for later.
            if fd > 2 and not kept_by_engine(target) and self.descriptors.get(fd) != target and not harmless(target):
                found.append(f"descriptor {fd} -> {target}")
        extra = set(os.listdir("/proc/self/task")) - self.threads
        if len(extra) and threading.active_count() < len(os.listdir("/proc/self/task")):
            found.append(f"{len(extra)} new threads of the test process, {threading.active_count()} are Python's")
        found += [process_text(pid) for pid in our_processes() if pid not in self.processes]
        return found

    def litter(self, seconds: float = 15.0) -> list[str]:
        """As `difference`, but the kernel gets some time: a killed process is gone only after its memory is. Litter is what stays: nothing that others on this machine make is the
        same for a second."""
        end = time.monotonic() + seconds
        pause = 0.001
        since: dict[str, float] = {}
        while True:
            now = time.monotonic()
            since = {what: since.get(what, now) for what in self.difference()}
            if not since:
                return []
            if now > end:
                return [what for what, first in since.items() if now - first > min(1.0, seconds / 2)]
            time.sleep(pause)
            pause = min(pause * 2, 0.2)


def kept_by_engine(target: str) -> bool:
    """What an engine opens and keeps until it is closed; one that tests share stays open, and tests of their own see to the rest. The last two are a network namespace for the
    next container, and what shows it."""
    return "/coble-tests-" in target or target.startswith(("/memfd:coble-shim", "anon_inode:bpf-prog", "net:[", "mount:"))


def harmless(target: str) -> bool:
    """Descriptors that pytest itself opens and closes: its capture files."""
    return target.startswith("/proc/") or "/#" in target and target.endswith("(deleted)")
