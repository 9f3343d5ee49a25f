"""The program that embeds coble is left as it was, whatever it does meanwhile; and misuse of handles is an error, not a crash."""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from contextlib import ExitStack, suppress
from pathlib import Path

import coble
import litter
import pytest
from conftest import IS_ROOT, Store

STARTS = int(os.environ.get("COBLE_TEST_STARTS", "1000" if IS_ROOT else "100"))

BUSY_HOST = """
import ctypes, json, os, resource, signal, sys, threading, time
import coble

starts = int(sys.argv[3])
signal.signal(signal.SIGUSR1, lambda *_: None)
signal.signal(signal.SIGUSR2, signal.SIG_IGN)
os.umask(0o027)
os.environ["HOST_VARIABLE"] = "host"
os.chdir("/usr")
resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
libc = ctypes.CDLL(None)

def facts():
    mask = os.umask(0)
    os.umask(mask)
    status = {line.split(":")[0]: line.split(":")[1].strip() for line in open("/proc/self/status")}
    try:
        children = os.waitpid(-1, os.WNOHANG)
    except ChildProcessError:
        children = "none"
    return {
        "cwd": os.getcwd(),
        "environ": dict(os.environ),
        "umask": mask,
        "signals": {str(int(number)): str(signal.getsignal(number)).split(" at 0x")[0] for number in signal.valid_signals()},
        "kernel": {name: status[name] for name in ("SigBlk", "SigIgn", "SigCgt", "Uid", "Gid", "Groups", "CapEff", "CapBnd", "NoNewPrivs", "Seccomp")},
        "descriptors": {name: os.readlink(f"/proc/self/fd/{name}") for name in os.listdir("/proc/self/fd") if os.path.exists(f"/proc/self/fd/{name}")
                        # The engine keeps a connection to its database for each of the most threads that used it at once, and a network namespace with its /sys for the next start.
                        and not any(part in os.readlink(f"/proc/self/fd/{name}") for part in ("/store.db", "net:["))
                        and os.readlink(f"/proc/self/fd/{name}") != "/"},
        "threads": len(os.listdir("/proc/self/task")),
        "children": children,
        "children of threads": [text for text in (open(f"/proc/self/task/{task}/children").read() for task in os.listdir("/proc/self/task")) if text],
        "limits": {name: resource.getrlimit(getattr(resource, name)) for name in dir(resource) if name.startswith("RLIMIT")},
        "namespaces": {name: os.readlink(f"/proc/self/ns/{name}") for name in os.listdir("/proc/self/ns")},
        "cgroup": open("/proc/self/cgroup").read(),
        "subreaper": subreaper(),
        "dumpable": libc.prctl(3, 0, 0, 0, 0),
        "death signal": death_signal(),
    }

def settle():
    # A thread that was joined is gone for the kernel a moment later.
    end = time.monotonic() + 20
    while len(os.listdir("/proc/self/task")) > threading.active_count() and time.monotonic() < end:
        time.sleep(0.01)

def subreaper():
    value = ctypes.c_int(-1)
    libc.prctl(37, ctypes.byref(value), 0, 0, 0)
    return value.value

def death_signal():
    value = ctypes.c_int(-1)
    libc.prctl(2, ctypes.byref(value), 0, 0, 0)
    return value.value

engine = coble.Engine(data_root=sys.argv[1], run_root=sys.argv[2])
engine.run("box", ["true"])  # what is made once for each engine is there now

stop = False
lock = threading.Lock()
done_work = [0] * 64

libc.malloc.restype = ctypes.c_void_p
libc.malloc.argtypes = [ctypes.c_size_t]
libc.free.argtypes = [ctypes.c_void_p]

def work(number):
    # malloc without the interpreter's lock, so that threads are inside the allocator when a container is started.
    while not stop:
        pointers = [libc.malloc(size) for size in (10, 1000, 100_000, 300_000)]
        with lock:
            done_work[number] += 1
        for pointer in pointers:
            libc.free(pointer)

workers = [threading.Thread(target=work, args=[number]) for number in range(64)]
for worker in workers:
    worker.start()

settle()
before = facts()
wrong = []
def start(count):
    for _ in range(count):
        done = engine.run("box", ["echo", "x"], timeout=120)
        if (done.exit_code, done.stdout) != (0, b"x\\n"):
            wrong.append(str(done))

starters = [threading.Thread(target=start, args=[starts // 4]) for _ in range(4)]
begin = time.monotonic()
for starter in starters:
    starter.start()
for starter in starters:
    starter.join()
took = time.monotonic() - begin
settle()
after = facts()
stop = True
for worker in workers:
    worker.join()
print(json.dumps({"before": before, "after": after, "wrong": wrong[:3], "took": took, "work": min(done_work)}))
engine.close()
"""


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_busy_host_is_untouched(shared: coble.Engine, shared_store: Store) -> None:
    """SEC-120, SEC-124: 64 threads allocate and lock while containers start."""
    command = [sys.executable, "-c", BUSY_HOST, str(shared_store.data_root), str(shared_store.run_root), str(STARTS)]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=880)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    print(f"{STARTS} containers in {found['took']:.1f} s beside 64 busy threads")
    assert found["wrong"] == []
    assert found["work"] > 0
    for name, value in found["before"].items():
        assert found["after"][name] == value, name
    assert found["after"]["children"] == "none"
    assert shared.containers.list(all=True) == []


def test_a_host_that_waits_for_any_child(shared: coble.Engine) -> None:
    """`waitpid(-1)` in another thread never meets a process of coble's, and coble never eats the host's children."""
    stop = threading.Event()
    met: list[int] = []

    def reap() -> None:
        while not stop.is_set():
            try:
                pid, _ = os.waitpid(-1, os.WNOHANG)
                if pid:
                    met.append(pid)
            except ChildProcessError:
                time.sleep(0.0001)

    thread = threading.Thread(target=reap)
    thread.start()
    results = [shared.run("box", ["sh", "-c", "exit 3"]).exit_code for _ in range(30)]
    stop.set()
    thread.join()
    assert results == [3] * 30
    assert met == []
    child = subprocess.Popen(["sh", "-c", "exit 5"])
    assert shared.run("box", ["true"]).exit_code == 0
    assert child.wait() == 5


# --- handles --------------------------------------------------------------------------------------------------------


def test_use_after_close(store: Store) -> None:
    """SEC-125."""
    engine = store.engine()
    engine.close()
    engine.close()
    for call in (
        lambda: engine.run("box", ["true"]),
        lambda: engine.images.list(),
        lambda: engine.containers.list(),
        lambda: engine.info(),
        lambda: engine.verify(),
    ):
        with pytest.raises(coble.ClosedError):
            call()


def test_a_container_after_its_engine_is_closed(shared_store: Store, shared: coble.Engine) -> None:
    engine = shared_store.engine()
    container = engine.containers.create("box", ["true"], name="after-close")
    engine.close()
    with pytest.raises(coble.ClosedError):
        container.start()
    shared.containers.get("after-close").remove()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_use_after_fork(shared: coble.Engine) -> None:
    """SEC-125."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            shared.containers.list()
            os.write(write, b"no error")
        except coble.CobleError as error:
            os.write(write, error.kind.encode())
        finally:
            os._exit(0)
    os.close(write)
    assert os.read(read, 100) == b"Closed"
    os.close(read)
    os.waitpid(pid, 0)
    assert shared.run("box", ["true"]).exit_code == 0


def test_a_new_engine_after_fork(shared_store: Store, shared: coble.Engine) -> None:
    """multiprocessing with fork: the child opens its own."""
    read, write = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pid = os.fork()
    if pid == 0:
        try:
            with shared_store.engine() as engine:
                os.write(write, engine.run("box", ["echo", "child"]).stdout)
        finally:
            os._exit(0)
    os.close(write)
    assert os.read(read, 100) == b"child\n"
    os.close(read)
    os.waitpid(pid, 0)


def test_a_leaked_session_container_warns(shared: coble.Engine) -> None:
    with pytest.warns(ResourceWarning):
        container = shared.containers.create("box", ["sleep", "1000"], lifetime="session")
        container.start()
        name = container.name
        del container
        gc.collect()
    with suppress(coble.ContainerNotFoundError):
        shared.containers.get(name).remove(force=True)


def test_importing_is_cheap() -> None:
    """Some milliseconds, and no thread."""
    script = """
import time
begin = time.perf_counter()
import coble
took = time.perf_counter() - begin
import os
print(took, len(os.listdir("/proc/self/task")), len(os.listdir("/proc/self/fd")))
"""
    runs = []
    for _ in range(5):
        took, threads, _ = subprocess.run([sys.executable, "-c", script], check=True, stdout=subprocess.PIPE, text=True).stdout.split()
        assert threads == "1"
        runs.append(float(took))
    assert min(runs) < 0.15, runs


def test_the_type_of_every_error_kind() -> None:
    """One class for each kind, named after it."""
    classes = [value for name, value in vars(coble).items() if isinstance(value, type) and issubclass(value, coble.CobleError) and value is not coble.CobleError]
    names = {cls.__name__ for cls in classes}
    assert {"ImageNotFoundError", "ContainerNotFoundError", "InvalidArgumentError", "StorageFullError", "TimeoutError", "ClosedError"} <= names
    assert issubclass(coble.TimeoutError, TimeoutError)
    assert issubclass(coble.ImageNotFoundError, LookupError)
    assert issubclass(coble.PermissionDeniedError, PermissionError)
    with pytest.raises(coble.CobleError) as caught:
        coble.Engine(data_root="/proc/no-such-place", run_root="/proc/no-such-place")
    assert caught.value.kind and isinstance(caught.value.code, int) and caught.value.code < 0


def test_close_releases_what_the_engine_holds(box: coble.Engine, store: Store) -> None:
    """At once, though there are still objects that belong to it."""
    image = box.images.get("box")
    container = box.containers.create("box", ["sleep", "1000"])
    container.start()
    container.exec(["true"])
    container.remove(force=True)
    box.close()
    held = {fd: os.readlink(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd") if os.path.exists(f"/proc/self/fd/{fd}")}
    assert {fd: target for fd, target in held.items() if str(store.data_root.parent) in target} == {}
    assert image.id and container.id


@pytest.mark.root
def test_one_network_namespace_is_kept_for_the_next_start(box: coble.Engine) -> None:
    """By an engine that starts one container after the other, until it is closed, with the /sys that shows it; no two containers get the same one."""
    here = os.stat("/proc/self/ns/net").st_ino

    def mounts() -> int:
        return list(litter.descriptors().values()).count("mount:/")

    def kept() -> list[str]:
        return [target for target in litter.descriptors().values() if target.startswith("net:[") and target not in of_others]

    # Another engine of this process may have one.
    of_others: list[str] = []
    of_others = kept()
    mounts_of_others = mounts()
    look = ["sh", "-c", "readlink /proc/self/ns/net; cat /sys/class/net/lo/flags; ls /sys/class/net"]
    seen = set()
    taken = 0
    with ExitStack() as stack:
        # One is made ahead only for who starts the next one soon, and a slow machine may be too late for that.
        for turn in range(40):
            if turn >= 8 and taken:
                break
            container = box.containers.create("box", ["sleep", "1000"], lifetime="session")
            stack.callback(container.remove, force=True)
            ahead = kept()
            container.start()
            namespace, flags, *interfaces = container.exec(look, check=True).stdout.decode().split()
            # Up, and nothing else is there.
            assert int(flags, 16) & 1 and interfaces == ["lo"]
            assert namespace not in seen and namespace != f"net:[{here}]"
            assert len(ahead) <= 1 and len(kept()) <= 1 and mounts() <= mounts_of_others + 1
            taken += ahead == [namespace]
            seen.add(namespace)
    assert taken > 0
    box.close()
    assert kept() == [] and mounts() == mounts_of_others


def test_many_engines_leave_no_descriptor(store: Store) -> None:
    store.engine().close()
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(50):
        with store.engine():
            pass
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_working_directory_of_the_host_that_is_gone(shared: coble.Engine, tmp_path: Path) -> None:
    here = os.getcwd()
    (tmp_path / "gone").mkdir()
    os.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    try:
        assert shared.run("box", ["pwd"]).stdout == b"/\n"
    finally:
        os.chdir(here)


def test_relative_roots_mean_the_directory_at_open(workplace: Path) -> None:
    folder = Path(tempfile.mkdtemp(prefix="relative-", dir=workplace))
    here = os.getcwd()
    os.chdir(folder)
    try:
        engine = coble.Engine(data_root="data", run_root="run")
    finally:
        os.chdir(here)
    with engine:
        assert engine.images.list() == []
        assert Path(engine.info().data_root) == folder / "data"
