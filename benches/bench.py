#!/usr/bin/env python3
"""Measures coble against the kernel's floor and against what else is installed, in one run.

Everything is measured in rounds, each contender a few times in every round, so that what disturbs the machine for a while
disturbs all of them. Printed are medians, and ratios to the floor (for another program in a running container: to fork and exec).

    bench.py [--rounds N] [--times N] [--json FILE] [--check] [--no-peers]
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
MIB = 1 << 20

#: (name, limit): what a measure may be at most.
BUDGETS = {
    "run from Python": ("ratio to the floor", 2.5),
    "exec from Python": ("ratio to fork and exec", 2.0),
    "2 GiB resident": ("ratio to a small host", 1.15),
    "monitor private memory": ("MiB", 1.0),
}

# --- a host program that runs containers, in a process of its own ---------------------------------------------------


def worker(data_root: str, run_root: str, ballast: int) -> None:
    """Answers lines `run N` and `exec N` with N times in seconds."""
    import coble

    held = bytearray(ballast)
    for offset in range(0, ballast, 4096):
        held[offset] = 1
    with coble.Engine(data_root=data_root, run_root=run_root) as engine:
        container = engine.containers.create("bench", ["sleep", "100000"], lifetime="session")
        container.start()
        calls: dict[str, Callable[[], Any]] = {
            "run": lambda: engine.run("bench", ["true"], check=True),
            "exec": lambda: container.exec(["true"], check=True),
        }
        print(container.inspect().pid, flush=True)
        for line in sys.stdin:
            what, count = line.split()
            times = []
            for _ in range(int(count)):
                begin = time.perf_counter()
                calls[what]()
                times.append(time.perf_counter() - begin)
            print(json.dumps(times), flush=True)
        container.remove(force=True)


class Worker:
    def __init__(self, place: Path, run: Path, ballast: int) -> None:
        command = [sys.executable, str(Path(__file__).resolve()), "--worker", str(place / "data"), str(run), str(ballast)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.pid = int(self.read())

    def read(self) -> str:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError("the host program ended")
        return line

    def ask(self, what: str, count: int) -> list[float]:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{what} {count}\n")
        self.process.stdin.flush()
        times: list[float] = json.loads(self.read())
        return times

    def close(self) -> None:
        self.process.communicate()


# --- contenders -----------------------------------------------------------------------------------------------------


def command_times(command: list[str], count: int, **options: Any) -> list[float]:
    times = []
    for _ in range(count):
        begin = time.perf_counter()
        done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, **options)
        times.append(time.perf_counter() - begin)
        if done.returncode != 0:
            raise RuntimeError(done.stderr.decode(errors="replace").strip()[-200:] or f"status {done.returncode}")
    return times


def floor_times(program: Path, arguments: list[str], count: int) -> list[float]:
    command = [str(program), "--rounds", str(count), "--warm-up", "2", *arguments]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if done.returncode != 0:
        raise RuntimeError(done.stderr.strip())
    return [float(line) / 1e6 for line in done.stdout.split()]


def bundle(place: Path, runtime: str, rootfs: Path) -> Path:
    """A bundle of the runtime's own default configuration, with `true` for its program."""
    folder = place / f"bundle-{runtime}"
    folder.mkdir()
    rootless = [] if os.geteuid() == 0 else ["--rootless"]
    subprocess.run([runtime, "spec", *rootless], cwd=folder, check=True, stdout=subprocess.DEVNULL)
    config = json.loads((folder / "config.json").read_text())
    config["process"]["terminal"] = False
    config["process"]["args"] = ["/bin/true"]
    config["root"] = {"path": str(rootfs), "readonly": True}
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def peers(place: Path, rootfs: Path, tar: Path) -> dict[str, Callable[[int], list[float]]]:
    found: dict[str, Callable[[int], list[float]]] = {}

    def numbered(make: Callable[[str], list[str]]) -> Callable[[int], list[float]]:
        numbers = iter(range(1_000_000))
        return lambda count: [command_times(make(f"bench-{os.getpid()}-{next(numbers)}"), 1)[0] for _ in range(count)]

    for runtime in ("crun", "runc"):
        if shutil.which(runtime):
            folder = bundle(place, runtime, rootfs)
            state = str(place / f"state-{runtime}")
            command = [runtime, "--root", state, "run", "--bundle", str(folder)]
            if runtime == "crun" and os.path.ismount("/sys/fs/cgroup/unified") and os.geteuid() == 0:
                # crun refuses a host with both versions of cgroups: it gets a view without the second.
                found[runtime] = lambda count, c=command: without_unified(c, count)  # type: ignore[misc]
            else:
                found[runtime] = numbered(lambda name, c=command: [*c, name])  # type: ignore[misc]
    if shutil.which("bwrap"):
        command = ["bwrap", "--unshare-all", "--ro-bind", str(rootfs), "/", "--proc", "/proc", "--dev", "/dev", "/bin/true"]
        found["bubblewrap"] = lambda count: command_times(command, count)
    if shutil.which("podman"):
        podman = ["podman", "--root", str(place / "podman"), "--runroot", str(place / "podman-run"), "--cgroup-manager", "cgroupfs"]
        done = subprocess.run([*podman, "import", "-q", str(tar), "localhost/bench"], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        if done.returncode == 0:
            # Limits that it need not raise, for a caller who may not; and the runtime that takes every kind of cgroups.
            limits = [f"--ulimit={name}={soft}:{hard}" for name, (soft, hard) in (("nofile", nofile()), ("nproc", (100, 100)))]
            runtime = ["--runtime", "runc"] if shutil.which("runc") else []
            run = [*podman, *runtime, "run", "--rm", "--network", "none", *limits, "localhost/bench", "/bin/true"]
            # It is slow: once a round is enough.
            found["podman"] = lambda count: command_times(run, 1)
        else:
            print(f"podman: {done.stderr.strip()[-200:]}", file=sys.stderr)
    return found


def nofile() -> tuple[int, int]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return min(soft, 1024), min(hard, 1024)


def without_unified(command: list[str], count: int) -> list[float]:
    """Times of a command that gets one more argument, a name, in a mount namespace without the second version of cgroups."""
    inside = [sys.executable, str(Path(__file__).resolve()), "--times-of", str(count), *command]
    script = 'umount -l /sys/fs/cgroup/unified && exec "$@"'
    done = subprocess.run(["unshare", "--mount", "sh", "-c", script, "sh", *inside], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if done.returncode != 0:
        raise RuntimeError(done.stderr.strip()[-200:])
    times: list[float] = json.loads(done.stdout)
    return times


def find_command() -> str | None:
    for candidate in (os.environ.get("COBLE_COMMAND"), HERE.parent / "target/release/coble", Path(sys.executable).parent / "coble", shutil.which("coble")):
        if candidate and os.access(candidate, os.X_OK):
            return str(candidate)
    return None


# --- single measures ------------------------------------------------------------------------------------------------


def private_memory(pid: int) -> tuple[float, float]:
    """Private and resident MiB of a process, once it is at rest."""
    time.sleep(0.2)
    fields = {}
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]:
        name, value, _ = line.split()
        fields[name] = int(value) / 1024
    return fields["Private_Clean:"] + fields["Private_Dirty:"], fields["Rss:"]


def parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def at_once(engine: Any, count: int, threads: int) -> float:
    """Seconds for so many runs, started from so many threads; all must be right."""
    todo = iter(range(count))
    lock = threading.Lock()
    wrong: list[str] = []

    def work() -> None:
        while True:
            with lock:
                number = next(todo, None)
            if number is None:
                return
            try:
                done = engine.run("bench", ["echo", str(number)])
                if done.stdout != b"%d\n" % number or done.exit_code != 0:
                    wrong.append(str(done))
            except Exception as error:
                wrong.append(repr(error))

    workers = [threading.Thread(target=work) for _ in range(threads)]
    begin = time.perf_counter()
    for one in workers:
        one.start()
    for one in workers:
        one.join()
    took = time.perf_counter() - begin
    if wrong:
        raise RuntimeError(f"{len(wrong)} of {count} were wrong: {wrong[0]}")
    return took


# --- the run --------------------------------------------------------------------------------------------------------


def run_root(place: Path) -> Path:
    """Where a run root belongs, on a tmpfs, or else beside the data."""
    for folder in ("/run", "/dev/shm"):
        done = subprocess.run(["stat", "-f", "-c", "%T", folder], stdout=subprocess.PIPE, text=True)
        if done.stdout.strip() == "tmpfs" and os.access(folder, os.W_OK):
            return Path(tempfile.mkdtemp(prefix="coble-bench-", dir=folder))
    return place / "run"


def make_rootfs(place: Path) -> tuple[Path, Path]:
    program = next((Path(name) for name in ("/bin/busybox", "/usr/bin/busybox") if os.path.exists(name)), None)
    if program is None or b".interp" in program.read_bytes()[:4096]:
        raise SystemExit("bench: needs a static busybox: the package busybox-static")
    rootfs = place / "rootfs"
    for name in ("bin", "proc", "sys", "dev", "etc", "tmp", "run", "var", "root"):
        (rootfs / name).mkdir(parents=True)
    shutil.copy(program, rootfs / "bin/busybox")
    for name in ("true", "sleep", "echo", "sh"):
        (rootfs / "bin" / name).symlink_to("busybox")
    tar = place / "rootfs.tar"
    subprocess.run(["tar", "-C", str(rootfs), "-cf", str(tar), "."], check=True)
    return rootfs, tar


def measure(options: argparse.Namespace, place: Path, run: Path) -> dict[str, Any]:
    import coble

    place.chmod(0o755)
    rootfs, tar = make_rootfs(place)
    floor = place / "floor"
    subprocess.run(["cc", "-O2", "-o", str(floor), str(HERE / "floor.c")], check=True)
    (place / "floor-work").mkdir()
    with coble.Engine(data_root=place / "data", run_root=run) as engine:
        engine.images.import_rootfs(tar, "bench", command=["true"])
    command = find_command()
    small = Worker(place, run, 0)
    big = Worker(place, run, 2 << 30)
    contenders: dict[str, Callable[[int], list[float]]] = {
        "floor": lambda count: floor_times(floor, ["--rootfs", str(rootfs), "--work", str(place / "floor-work"), "/bin/true"], count),
        "fork and exec": lambda count: floor_times(floor, ["--plain", str(rootfs / "bin/true")], count),
        "run from Python": lambda count: small.ask("run", count),
        "2 GiB resident": lambda count: big.ask("run", count),
        "exec from Python": lambda count: small.ask("exec", count),
    }
    if command:
        where = ["--data-root", str(place / "data"), "--run-root", str(run)]
        contenders["coble run"] = lambda count: command_times([command, *where, "run", "--rm", "bench", "true"], count)
    if options.peers:
        contenders.update(peers(place, rootfs, tar))
    times: dict[str, list[float]] = {name: [] for name in contenders}
    failures: dict[str, str] = {}
    for number in range(-1, options.rounds):
        for name, contender in contenders.items():
            if name in failures:
                continue
            try:
                # The first round warms up.
                found = contender(options.times if number >= 0 else 2)
            except (RuntimeError, OSError) as error:
                failures[name] = str(error)
                continue
            if number >= 0:
                times[name] += found
    memory = private_memory(parent(small.pid))
    small.close()
    big.close()
    with coble.Engine(data_root=place / "data", run_root=run) as engine:
        seconds = at_once(engine, options.many, 16)
        problems = engine.verify()
        left = engine.containers.list(all=True)
    if problems or left:
        raise SystemExit(f"bench: the store is not clean: {problems} {left}")
    medians = {name: statistics.median(values) for name, values in times.items() if values}
    return {
        "medians": medians,
        "best": {name: min(values) for name, values in times.items() if values},
        "samples": {name: len(values) for name, values in times.items() if values},
        "failures": failures,
        "monitor_private_mib": memory[0],
        "monitor_resident_mib": memory[1],
        "at_once": {"count": options.many, "threads": 16, "seconds": seconds},
        "host": {"kernel": os.uname().release, "cores": os.cpu_count(), "root": os.geteuid() == 0},
    }


def judge(found: dict[str, Any]) -> list[tuple[str, str, float, float]]:
    """(name, unit, value, limit) of what has a limit."""
    medians = found["medians"]
    values = {
        "run from Python": medians["run from Python"] / medians["floor"],
        "exec from Python": medians["exec from Python"] / medians["fork and exec"],
        "2 GiB resident": medians["2 GiB resident"] / medians["run from Python"],
        "monitor private memory": found["monitor_private_mib"],
    }
    return [(name, BUDGETS[name][0], value, BUDGETS[name][1]) for name, value in values.items()]


def show(found: dict[str, Any]) -> None:
    medians = found["medians"]
    print(f"kernel {found['host']['kernel']}, {found['host']['cores']} cores, {'root' if found['host']['root'] else 'ordinary user'}")
    print(f"{'':28}{'median ms':>10}{'best ms':>10}{'floor x':>10}{'samples':>9}")
    for name, median in medians.items():
        ratio = median / medians["floor"]
        print(f"{name:28}{median * 1e3:10.2f}{found['best'][name] * 1e3:10.2f}{ratio:10.2f}{found['samples'][name]:9}")
    for name, reason in found["failures"].items():
        print(f"{name:28}failed: {reason}")
    print(f"monitor: {found['monitor_private_mib']:.2f} MiB private, {found['monitor_resident_mib']:.2f} MiB resident")
    many = found["at_once"]
    print(f"{many['count']} runs from {many['threads']} threads: {many['seconds']:.2f} s, {many['count'] / many['seconds']:.0f} a second, all right")
    for name, unit, value, limit in judge(found):
        print(f"{'within' if value <= limit else 'OVER'} the limit: {name}, {value:.2f} {unit}, at most {limit}")


def main() -> int:
    if sys.argv[1:2] == ["--worker"]:
        worker(sys.argv[2], sys.argv[3], int(sys.argv[4]))
        return 0
    if sys.argv[1:2] == ["--times-of"]:
        print(json.dumps([command_times([*sys.argv[3:], f"bench-{os.getpid()}-{number}"], 1)[0] for number in range(int(sys.argv[2]))]))
        return 0
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--times", type=int, default=10, help="measures of each contender in a round")
    parser.add_argument("--many", type=int, default=200, help="containers of the measure of many at once")
    parser.add_argument("--json", type=Path, help="also write everything to this file")
    parser.add_argument("--check", action="store_true", help="fail when something is over its limit")
    parser.add_argument("--no-peers", dest="peers", action="store_false", help="leave out other tools")
    parser.add_argument("--place", type=Path, default=Path("/var/tmp"), help="a directory on a real file system")
    options = parser.parse_args()
    place = Path(tempfile.mkdtemp(prefix="coble-bench-", dir=options.place))
    run = run_root(place)
    try:
        found = measure(options, place, run)
    finally:
        if shutil.which("podman") and (place / "podman").exists():
            podman = ["podman", "--root", str(place / "podman"), "--runroot", str(place / "podman-run")]
            subprocess.run([*podman, "rmi", "--all", "--force"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            for folder, _, _ in os.walk("/sys/fs/cgroup", topdown=False):
                if "libpod_parent" in folder:
                    os.rmdir(folder)
        shutil.rmtree(place, ignore_errors=True)
        shutil.rmtree(run, ignore_errors=True)
    show(found)
    if options.json:
        options.json.write_text(json.dumps(found, indent=2) + "\n")
    return 1 if options.check and any(value > limit for _, _, value, limit in judge(found)) else 0


if __name__ == "__main__":
    sys.exit(main())
