"""Hooks of the OCI runtime specification: when and where each is run, what it gets, and what its failure means."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

import coble
import pytest
from conftest import CGROUPS, IS_ROOT, MODE, Store
from helpers import eventually, monitor_of, remove_all, wait_for_exit

Hooks = dict[str, list[dict[str, Any]]]
ORDER = ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"]


#: How long those sleep that are to be ended: as nobody else does here, not even the same test of another user.
LONG = str(10_000_000 + os.getpid())


def gone() -> None:
    """Waits until none of them is there any more. A process that was killed may be seen for a moment."""
    eventually(lambda: subprocess.run(["pgrep", "-f", f"^sleep {LONG}"], capture_output=True, check=False).stdout == b"", "the end of the hook")


def until(file: Path) -> str:
    """What a hook waits with for a file, but not for ever."""
    return f"n=0; while [ ! -e {file} ] && [ $n -lt 1200 ]; do sleep 0.05; n=$((n+1)); done"


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A directory that hooks of the host write to."""
    folder = tmp_path / "said"
    folder.mkdir(mode=0o777)
    return folder


def note(place: Path, name: str, more: str = "") -> dict[str, Any]:
    """A hook that writes down what it got."""
    script = f'cat > "$1/{name}.state"; env | sort > "$1/{name}.env"; ls /proc/self/fd > "$1/{name}.fds"; echo {name} >> "$1/order"; {more}'
    return {"path": "/bin/sh", "args": ["hook", "-c", script, "hook", str(place)], "env": ["PATH=/usr/bin:/bin", f"NAME={name}"]}


def state(place: Path, name: str) -> dict[str, Any]:
    found = json.loads((place / f"{name}.state").read_text())
    assert isinstance(found, dict)
    return found


def order(place: Path) -> list[str]:
    return (place / "order").read_text().split() if (place / "order").exists() else []


@pytest.mark.vm
def test_each_is_run_when_and_where_it_has_to_be(engine: coble.Engine, box: coble.Engine, place: Path) -> None:
    inside = {"path": "/bin/sh", "args": ["sh", "-c", "cat > /state; id -u > /user; env > /env; grep -E 'CapBnd|Seccomp:|NoNewPrivs' /proc/self/status > /status; ls /proc/self/fd > /fds"], "env": ["IN=1"]}
    look = 'readlink /proc/self/ns/mnt > "$1/$NAME.mnt"; readlink /proc/self/ns/net > "$1/$NAME.net"; ls > "$1/$NAME.cwd"'
    hooks: Hooks = {name: [note(place, name, look)] for name in ORDER if name != "startContainer"}
    hooks["startContainer"] = [inside]
    container = engine.containers.create("box", ["sleep", "1000"], hooks=hooks, annotations={"org.example": "x\"y"}, volumes=[f"{place}:{place}"])
    assert container.inspect().spec.hooks == hooks
    container.start()
    assert order(place) == ["prestart", "createRuntime", "createContainer", "poststart"]
    pid = container.inspect().pid
    for name, status in [("prestart", "creating"), ("createRuntime", "creating"), ("createContainer", "creating"), ("poststart", "running")]:
        found = state(place, name)
        assert found["ociVersion"].startswith("1.") and found["id"] == container.id and found["status"] == status and found["pid"] == pid
        assert found["annotations"] == {"org.example": 'x"y'} and Path(found["bundle"]).is_dir()
        # Only what the hook was given, and what a shell adds; the descriptors are the three streams and that of ls.
        names = {line.partition("=")[0] for line in (place / f"{name}.env").read_text().splitlines()}
        assert names - {"PWD", "SHLVL", "_", "OLDPWD"} == {"PATH", "NAME"}
        assert (place / f"{name}.fds").read_text().split() == ["0", "1", "2", "3"]
    host_mnt, host_net = os.readlink("/proc/self/ns/mnt"), os.readlink("/proc/self/ns/net")
    for name in ("prestart", "createRuntime", "poststart"):
        assert (place / f"{name}.mnt").read_text().strip() == host_mnt and (place / f"{name}.net").read_text().strip() == host_net
    own = container.exec(["sh", "-c", "readlink /proc/self/ns/mnt; readlink /proc/self/ns/net"], check=True).stdout.decode().split()
    assert (place / "createContainer.mnt").read_text().strip() == own[0]
    assert (place / "createContainer.net").read_text().strip() == own[1]
    # The working directory is the root to be.
    assert {"bin", "etc", "proc"} <= set((place / "createContainer.cwd").read_text().split())
    read = {name: container.read_file(f"/{name}").decode() for name in ("state", "user", "env", "status", "fds")}
    found = json.loads(read["state"])
    assert found["status"] == "created" and found["pid"] == 1 and found["id"] == container.id
    assert read["user"] == "0\n" and "IN=1" in read["env"].split() and "IMAGE_VARIABLE" not in read["env"]
    assert read["fds"].split() == ["0", "1", "2", "3"]
    program = container.exec(["grep", "-E", "CapBnd|Seccomp:|NoNewPrivs", "/proc/1/status"], check=True).stdout.decode()
    assert read["status"] == program
    container.stop(timeout=0)
    assert order(place)[-1] == "poststop" and state(place, "poststop")["status"] == "stopped" and "pid" not in state(place, "poststop")
    container.start()
    container.remove(force=True)
    assert order(place).count("poststop") == 2


@pytest.mark.vm
@pytest.mark.parametrize("moment", ["prestart", "createRuntime", "createContainer", "startContainer"])
def test_one_that_fails_is_the_end_of_the_start(engine: coble.Engine, box: coble.Engine, place: Path, moment: str) -> None:
    script = "echo one >&2; printf 'bad \\033[1m thing' >&2; exit 3"
    hooks: Hooks = {moment: [{"path": "/bin/sh", "args": ["sh", "-c", script]}], "poststop": [note(place, "poststop")]}
    container = engine.containers.create("box", ["touch", "/ran"], hooks=hooks)
    with pytest.raises(coble.InvalidStateError, match="exit code 3") as caught:
        container.start()
    stage = "createRuntime" if moment == "prestart" else moment
    assert all(text in str(caught.value) for text in ("/bin/sh", stage, "bad ", "thing")) and "\033" not in str(caught.value)
    assert container.state == "exited" and order(place) == ["poststop"]
    with pytest.raises(coble.PathNotFoundError):
        container.read_file("/ran")
    container.remove()
    with pytest.raises(coble.InvalidStateError, match="exit code 3"):
        engine.run("box", ["true"], hooks=hooks)


def test_the_first_argument_is_what_a_hook_is_called(engine: coble.Engine, box: coble.Engine) -> None:
    """By which a program that is several knows which one is meant."""
    with pytest.raises(coble.InvalidStateError, match="exit code 1"):
        engine.run("box", ["true"], hooks={"startContainer": [{"path": "/bin/busybox", "args": ["false"]}]})
    engine.run("box", ["true"], hooks={"startContainer": [{"path": "/bin/busybox", "args": ["true"]}]}, check=True)


def test_a_hook_sees_the_hosts_files_and_no_secret(engine: coble.Engine, box: coble.Engine, place: Path) -> None:
    """SEC-30."""
    hook = {"path": "/bin/sh", "args": ["sh", "-c", f"ls /dev > {place}/dev; cat ./run/secrets/key > {place}/key; mkdir ./made; echo x > ./made/file || exit 1"], "env": ["PATH=/usr/bin:/bin"]}
    done = engine.run("box", ["cat", "/run/secrets/key", "/made/file"], secrets={"key": b"abc\n"}, hooks={"createContainer": [hook]}, check=True)
    assert done.stdout == b"abc\nx\n"
    assert set(os.listdir("/dev")) & {"null", "zero", "full"} <= set((place / "dev").read_text().split()) and (place / "key").read_bytes() == b""


@pytest.mark.parametrize("moment", ["createRuntime", "createContainer", "startContainer"])
def test_one_that_is_not_there(engine: coble.Engine, box: coble.Engine, moment: str) -> None:
    with pytest.raises(coble.CobleError, match="/no/such/hook") as caught:
        engine.run("box", ["true"], hooks={moment: [{"path": "/no/such/hook"}]})
    assert caught.value.errno == 2


@pytest.mark.vm
def test_after_the_start_a_failure_is_a_warning(engine: coble.Engine, box: coble.Engine, place: Path) -> None:
    bad = {"path": "/bin/sh", "args": ["sh", "-c", "echo no >&2; exit 4"]}
    hooks: Hooks = {"poststart": [bad, note(place, "poststart")], "poststop": [bad, note(place, "poststop")]}
    done = engine.run("box", ["true"], hooks=hooks, check=True)
    found = [warning.message for warning in done.warnings if warning.code == "hook"]
    assert len(found) == 2 and "poststart: it ended with exit code 4" in found[0] and "poststop: it ended with exit code 4" in found[1]
    assert order(place) == ["poststart", "poststop"]
    container = engine.containers.create("box", ["true"], hooks=hooks)
    container.start()
    assert container.wait() == 0
    assert [warning.code for warning in container.inspect().warnings].count("hook") == 2
    container.remove()


def test_a_time_out_kills(engine: coble.Engine, box: coble.Engine) -> None:
    hangs = {"path": "/bin/sleep", "args": ["sleep", LONG], "timeout": 1}
    cases = {
        "createRuntime": {"path": "/bin/sh", "args": ["sh", "-c", f"sleep {LONG} & exec sleep {LONG}"], "timeout": 1},
        "startContainer": hangs,
        "poststop": hangs,
    }
    begin = time.monotonic()
    with ThreadPoolExecutor(len(cases)) as pool:
        runs = {moment: pool.submit(engine.run, "box", ["true"], hooks={moment: [hook]}) for moment, hook in cases.items()}
        for moment in ("createRuntime", "startContainer"):
            with pytest.raises(coble.InvalidStateError, match="longer than 1 second"):
                runs[moment].result()
        warnings = runs["poststop"].result().warnings
    assert time.monotonic() - begin < 10
    assert [warning.code for warning in warnings].count("hook") == 1
    gone()


@pytest.mark.vm
def test_who_stops_it_meanwhile_waits_and_loses_nothing(engine: coble.Engine, box: coble.Engine, place: Path) -> None:
    """The program has ended: its exit is its own, the hook goes on to its end, and nobody starts the program again."""

    def killed(container: coble.Container) -> None:
        with pytest.raises(coble.InvalidStateError, match="is not running"):
            container.kill("KILL")
        container.wait(timeout=30)

    ways: list[Callable[[coble.Container], None]] = [lambda c: c.stop(timeout=0), lambda c: c.remove(force=True), killed]

    def one(policy: str, way: Callable[[coble.Container], None], folder: Path) -> None:
        # Longer than a monitor has to answer otherwise; the emulated machine may take that long for the rest of this.
        script = f"echo begun >> {folder}/order; sleep 20; echo done >> {folder}/order"
        hook = {"path": "/bin/sh", "args": ["sh", "-c", script], "timeout": 60}
        container = engine.containers.create("box", ["sh", "-c", "exit 7"], hooks={"poststop": [hook]}, restart_policy=policy)
        container.start()
        eventually(lambda: order(folder)[:1] == ["begun"], "the hook")
        way(container)
        # Who stops it waits for the program, and for the hook as long as a monitor has to answer.
        eventually(lambda: order(folder)[-1:] == ["done"], "the end of the hook")
        ends = [event.attributes["exitCode"] for event in engine.events(follow=False, filters={"container": container.id, "event": "die"})]
        assert (order(folder), ends) == (["begun", "done"], ["7"])
        if way is not ways[1]:
            eventually(lambda: container.state == "exited", "its end")
            details = container.inspect()
            assert (details.state, details.exit_code, details.error) == ("exited", 7, None)
            container.remove()

    # All at once, since each takes its time.
    cases = [(policy, way, place / f"{policy}{n}") for policy in ("no", "always") for n, way in enumerate(ways)]
    for _, _, folder in cases:
        folder.mkdir(mode=0o777)
    with ThreadPoolExecutor(len(cases)) as pool:
        for done in [pool.submit(one, *case) for case in cases]:
            done.result()


def test_an_end_is_known_also_if_the_monitor_is_killed_meanwhile(engine: coble.Engine, box: coble.Engine, place: Path) -> None:
    for policy in ("no", "always"):
        hook = {"path": "/bin/sh", "args": ["sh", "-c", f"echo begun >> {place}/{policy}; exec sleep 60"]}
        script = f"while [ ! -e /place/{policy}.go ]; do sleep 0.05; done; exit 7"
        container = engine.containers.create("box", ["sh", "-c", script], hooks={"poststop": [hook]}, restart_policy=policy, volumes=[f"{place}:/place:ro"])
        container.start()
        monitor = monitor_of(container)
        (place / f"{policy}.go").touch()
        eventually(lambda: (place / policy).exists(), "the hook")
        os.kill(monitor, signal.SIGKILL)
        assert wait_for_exit(monitor)
        assert container.wait(timeout=30) == 7
        details = container.inspect()
        assert (details.state, details.exit_code, details.error) == ("exited", 7, None)
        ends = [event.attributes["exitCode"] for event in engine.events(follow=False, filters={"container": container.id, "event": "die"})]
        assert ends == ["7"]
        container.remove()


def test_much_output_and_a_child_that_stays_hold_nobody_up(engine: coble.Engine, box: coble.Engine) -> None:
    script = "sleep 600 & head -c 3000000 /dev/zero | tr '\\0' x >&2; exit 0"
    begin = time.monotonic()
    done = engine.run("box", ["echo", "hi"], hooks={"createRuntime": [{"path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/usr/bin:/bin"]}]})
    assert done.stdout == b"hi\n" and time.monotonic() - begin < 8


def test_cancelling_a_start_ends_its_hook(engine: coble.Engine, store: Store, box: coble.Engine, place: Path) -> None:
    """The program that starts is killed while a hook runs."""
    code = (
        "import coble, sys\n"
        f"engine = coble.Engine(data_root={str(store.data_root)!r}, run_root={str(store.run_root)!r})\n"
        f"hook = {{'path': '/bin/sh', 'args': ['sh', '-c', 'echo > {place}/runs; exec sleep {LONG}']}}\n"
        "engine.run('box', ['true'], hooks={'createRuntime': [hook]})\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code])
    eventually(lambda: (place / "runs").exists(), "the hook")
    process.kill()
    process.wait()
    gone()
    remove_all(engine)


@pytest.mark.vm
def test_poststop_needs_no_engine(engine: coble.Engine, store: Store, box: coble.Engine, place: Path) -> None:
    """The monitor runs it, also for a session-scoped container whose program was killed."""
    hooks = {"poststop": [note(place, "poststop")]}
    code = (
        "import coble, sys\n"
        f"engine = coble.Engine(data_root={str(store.data_root)!r}, run_root={str(store.run_root)!r})\n"
        f"engine.containers.run('box', ['sleep', '1000'], hooks={hooks!r}, name='session')\n"
        "print('up', flush=True)\n"
        "sys.stdin.read()\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout is not None and process.stdout.readline() == b"up\n"
    process.kill()
    process.wait()
    eventually(lambda: order(place) == ["poststop"], "the hook")
    process.stdout.close()
    assert process.stdin is not None
    process.stdin.close()
    remove_all(engine)


def test_each_run_of_a_restart_has_its_hooks(engine: coble.Engine, box: coble.Engine, place: Path) -> None:
    hooks: Hooks = {name: [note(place, name)] for name in ("createRuntime", "poststart", "poststop")}
    container = engine.containers.create("box", ["false"], hooks=hooks, restart_policy="on-failure:2")
    container.start()
    eventually(lambda: container.state == "exited", "the last end")
    assert order(place) == ["createRuntime", "poststart", "poststop"] * 3
    container.remove()


def test_with_the_monitor_its_hook_ends(engine: coble.Engine, box: coble.Engine, place: Path) -> None:
    """A hook that is running when somebody kills the monitor does not outlive it."""
    hook = {"path": "/bin/sh", "args": ["sh", "-c", f"echo $PPID > {place}/runs; exec sleep {LONG}"]}
    container = engine.containers.create("box", ["sleep", "1000"], hooks={"poststop": [hook]})
    container.start()
    monitor = monitor_of(container)
    container.kill()
    eventually(lambda: (place / "runs").exists(), "the hook")
    os.kill(monitor, signal.SIGKILL)
    assert wait_for_exit(monitor)
    gone()
    container.remove(force=True)


def killed(engine: coble.Engine, hooks: Hooks) -> coble.Container:
    """A container whose monitor was killed, which nobody has noticed."""
    container = engine.containers.create("box", ["sleep", "1000"], hooks=hooks)
    container.start()
    monitor = monitor_of(container)
    os.kill(monitor, signal.SIGKILL)
    assert wait_for_exit(monitor)
    return container


def test_what_a_killed_monitor_owes_holds_up_nobody_who_looks(engine: coble.Engine, store: Store, box: coble.Engine, place: Path) -> None:
    """Who notices the end is gone at once; the hook goes on, and until it has ended nobody starts or removes the container."""

    def one(way: str) -> coble.Container:
        script = f"echo begun >> {place}/{way}; {until(place / 'go')}; cat > {place}/{way}.state; echo done >> {place}/{way}"
        return killed(engine, {"poststop": [{"path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/usr/bin:/bin"]}]})

    started, removed = one("start"), one("remove")
    code = (
        "import coble, os, signal\n"
        f"engine = coble.Engine(data_root={str(store.data_root)!r}, run_root={str(store.run_root)!r})\n"
        f"print([summary.state for summary in engine.containers.list(all=True)], flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert (done.stdout, done.returncode) == (b"['running', 'running']\n", -signal.SIGKILL), done.stderr
    assert [summary.state for summary in engine.containers.list(all=True)] == ["running"] * 2
    for container in (started, removed):
        assert container.state == "running"
        with pytest.raises(coble.TimeoutError):
            container.wait(timeout=0.2)

    def said() -> list[str]:
        return [(place / way).read_text() if (place / way).exists() else "" for way in ("start", "remove")]

    eventually(lambda: said() == ["begun\n"] * 2, "the hooks")
    with ThreadPoolExecutor(2) as pool:
        waiting = [pool.submit(lambda: started.start()), pool.submit(lambda: removed.remove())]
        # For longer than anything has to answer in.
        assert not wait(waiting, 6, FIRST_COMPLETED).done, "one of them does not wait"
        assert said() == ["begun\n"] * 2
        (place / "go").touch()
        for call in waiting:
            call.result()
    assert said() == ["begun\ndone\n"] * 2
    ends = [event.attributes["exitCode"] for event in engine.events(follow=False, filters={"container": started.id, "event": "die"})]
    assert ends == ["137"] and started.state == "running"
    started.remove(force=True)
    assert [state(place, way)["status"] for way in ("start", "remove")] == ["stopped"] * 2


def test_what_a_killed_monitor_owes_is_run_by_who_looks(engine: coble.Engine, box: coble.Engine, place: Path) -> None:
    bad = {"path": "/bin/sh", "args": ["sh", "-c", "exit 4"]}
    container = killed(engine, {"poststop": [note(place, "poststop"), bad]})
    assert container.wait(timeout=30) == 137
    assert order(place) == ["poststop"] and state(place, "poststop")["status"] == "stopped"
    details = container.inspect()
    assert details.state == "exited"
    assert ["poststop: it ended with exit code 4" in warning.message for warning in details.warnings if warning.code == "hook"] == [True]
    container.start()
    assert [warning for warning in container.inspect().warnings if warning.code == "hook"] == []
    container.remove(force=True)
    assert order(place) == ["poststop"] * 2


@pytest.mark.parametrize("way", ["start", "open", "remove"])
def test_what_a_start_that_was_cut_short_owes(engine: coble.Engine, store: Store, box: coble.Engine, place: Path, way: str) -> None:
    """The engine and the monitor were killed together, before it was on record that the program runs."""
    container = engine.containers.create("box", ["sleep", "1000"], hooks={"createRuntime": [note(place, "createRuntime")], "poststop": [note(place, "poststop")]})
    (store.run_root / "containers" / container.id / "poststop").touch()
    assert container.state == "created" and order(place) == []
    if way == "start":
        container.start()
        assert order(place) == ["poststop", "createRuntime"]
        container.remove(force=True)
        assert order(place) == ["poststop", "createRuntime", "poststop"]
        return
    if way == "open":
        with store.engine():
            eventually(lambda: order(place) == ["poststop"], "the hook")
    container.remove()
    assert order(place) == ["poststop"]


BAD: list[tuple[Any, str]] = [
    ("{", "hooks"),
    ({"never": []}, "never"),
    ({"poststop": [{"path": "relative"}]}, "absolute"),
    ({"poststop": [{"args": ["x"]}]}, "path"),
    ({"poststop": [{"path": "/x", "env": ["=y"]}]}, "NAME=value"),
    ({"poststop": [{"path": "/x", "args": ["a\0b"]}]}, "NUL"),
    ({"poststop": [{"path": "/x", "timeout": 0}]}, "timeout"),
    ({"poststop": [{"path": "/x", "timeout": -1}]}, "hooks"),
    ({"poststop": [{"path": "/x", "more": 1}]}, "more"),
    ({"poststop": [{"path": "/x"}] * 65}, "64"),
]


@pytest.mark.parametrize(("hooks", "why"), BAD, ids=[str(n) for n in range(len(BAD))])
def test_what_is_no_hook(shared: coble.Engine, hooks: Any, why: str) -> None:
    with pytest.raises(coble.InvalidArgumentError, match=why):
        shared.containers.create("box", ["true"], hooks=hooks)


def test_hooks_of_a_bundle_and_of_the_command(engine: coble.Engine, store: Store, box: coble.Engine, place: Path, tmp_path: Path) -> None:
    file = tmp_path / "hooks.json"
    file.write_text(json.dumps({"poststop": [note(place, "command")]}))
    command = [os.environ.get("COBLE_TEST_COMMAND", str(Path(sys.executable).parent / "coble")), "--data-root", store.data_root, "--run-root", store.run_root]
    subprocess.run([*command, "run", "--rm", "--hooks", file, "box", "true"], check=True)
    assert order(place) == ["command"]
    tree = tmp_path / "tree"
    tree.mkdir()
    with engine.containers.run("box", ["sleep", "1000"]) as container:
        container.export(tmp_path / "tree.tar")
    subprocess.run(["tar", "-x", "--no-same-owner", "-f", tmp_path / "tree.tar", "-C", tree], check=True)
    config = {
        "ociVersion": "1.2.0",
        "root": {"path": "tree"},
        "process": {"cwd": "/", "args": ["true"]},
        "linux": {"namespaces": [{"type": kind} for kind in ("pid", "network", "ipc", "uts", "mount")]},
        "hooks": {"createRuntime": [note(place, "bundle")]},
    }
    (tmp_path / "config.json").write_text(json.dumps(config))
    engine.run(bundle=tmp_path, hooks={"createRuntime": [note(place, "caller")]}, check=True)
    assert order(place) == ["command", "bundle", "caller"]
    assert state(place, "bundle")["bundle"] == str(tmp_path)
    config["hooks"] = {"createRuntime": [{"path": "x"}]}
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(coble.InvalidArgumentError, match="absolute"):
        engine.run(bundle=tmp_path)


@pytest.mark.root
def test_the_hook_is_the_callers_user(engine: coble.Engine, box: coble.Engine, place: Path) -> None:
    assert IS_ROOT and MODE == "root"
    hook = {"path": "/bin/sh", "args": ["sh", "-c", f"id -u > {place}/id; umask > {place}/umask"], "env": ["PATH=/usr/bin:/bin"]}
    engine.run("box", ["true"], user="1000", hooks={"createRuntime": [hook]})
    assert (place / "id").read_text() == "0\n" and (place / "umask").read_text() == "0022\n"


@pytest.mark.vm
def test_poststop_of_a_monitor_that_was_killed_is_run_by_who_comes_next(engine: coble.Engine, store: Store, box: coble.Engine, place: Path) -> None:
    """Once, whoever that is: an engine that opens the store, one that looks, starts or removes."""

    def killed(name: str, **options: Any) -> coble.Container:
        bad = {"path": "/bin/sh", "args": ["sh", "-c", "echo no >&2; exit 4"]}
        container = engine.containers.create("box", ["sleep", "1000"], hooks={"poststop": [bad, note(place, "poststop", "sleep 0.2")]}, name=name, **options)
        container.start()
        monitor = monitor_of(container)
        os.kill(monitor, signal.SIGKILL)
        assert wait_for_exit(monitor)
        assert order(place) == []
        return container

    def over() -> list[str]:
        found = order(place)
        (place / "order").unlink(missing_ok=True)
        return found

    def begun() -> None:
        """Without a look at the container: whoever opens the store waits for its hooks for a second at most, which may be too short."""
        eventually(lambda: order(place) == ["poststop"], "the hook", 30)

    def ended(container: coble.Container) -> None:
        """Nobody who looks waits for them."""
        eventually(lambda: container.state == "exited", "its end, once the hooks were run", 30)

    def gone(container: coble.Container) -> bool:
        try:
            container.inspect()
        except coble.ContainerNotFoundError:
            return True
        return False

    for end in ("open", "look", "start", "remove", "many"):
        container = killed(end)
        if end == "open":
            # That makes them begin, and waits for a second only.
            with store.engine():
                begun()
            assert state(place, "poststop")["status"] == "stopped" and state(place, "poststop")["id"] == container.id
            ended(container)
        elif end == "look":
            ended(container)
            assert container.inspect().exit_code == 137
        elif end == "start":
            container.start()
            assert over() == ["poststop"]
            container.stop(timeout=0)
        elif end == "many":
            code = f"import coble; coble.Engine(data_root={str(store.data_root)!r}, run_root={str(store.run_root)!r})"
            processes = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(4)]
            assert [process.wait(60) for process in processes] == [0] * 4
        if end in ("open", "look"):
            warnings = [warning.message for warning in container.inspect().warnings if warning.code == "hook"]
            assert len(warnings) == 1 and "poststop: it ended with exit code 4" in warnings[0] and "no" in warnings[0]
        container.remove(force=True)
        assert over() == ["poststop"], end
    # What is removed at its end.
    container = killed("gone", auto_remove=True)
    with store.engine():
        begun()
    eventually(lambda: gone(container), "its removal", 30)
    assert over() == ["poststop"]
    # Where it is restarted, each run has its own.
    container = engine.containers.create("box", ["sh", "-c", "[ -e /again ] && exec sleep 1000; touch /again; exit 1"], hooks={"poststop": [note(place, "poststop")]}, restart_policy="always")
    container.start()
    eventually(lambda: container.inspect().restart_count == 1 and container.state == "running", "the second run")
    monitor = monitor_of(container)
    os.kill(monitor, signal.SIGKILL)
    assert wait_for_exit(monitor) and over() == ["poststop"]
    with store.engine():
        begun()
    ended(container)
    assert over() == ["poststop"]
    container.remove()
    assert over() == []


def test_a_poststop_that_has_begun_is_not_begun_again(engine: coble.Engine, store: Store, box: coble.Engine, place: Path) -> None:
    """The monitor is killed in the middle of it."""
    container = engine.containers.create("box", ["sleep", "1000"], hooks={"poststop": [note(place, "poststop", f"exec sleep {LONG}")]})
    container.start()
    monitor = monitor_of(container)
    container.kill()
    eventually(lambda: order(place) == ["poststop"], "the hook")
    os.kill(monitor, signal.SIGKILL)
    assert wait_for_exit(monitor)
    with store.engine():
        eventually(lambda: container.state == "exited", "its end")
        assert order(place) == ["poststop"]
    gone()
    container.remove()
    assert order(place) == ["poststop"]


def test_poststop_without_a_monitor_goes_on_without_an_engine(engine: coble.Engine, store: Store, box: coble.Engine, place: Path) -> None:
    """The engine that has come next is killed while the hook runs: it is run to its end, and nobody runs it again."""
    container = engine.containers.create("box", ["sleep", "1000"], hooks={"poststop": [note(place, "poststop", f"{until(place / 'go')}; echo end >> {place}/order")]})
    container.start()
    monitor = monitor_of(container)
    os.kill(monitor, signal.SIGKILL)
    assert wait_for_exit(monitor)
    code = f"import coble; coble.Engine(data_root={str(store.data_root)!r}, run_root={str(store.run_root)!r})"
    process = subprocess.Popen([sys.executable, "-c", code])
    eventually(lambda: order(place) == ["poststop"], "the hook")
    process.kill()
    process.wait()
    (place / "go").touch()
    with store.engine():
        eventually(lambda: container.state == "exited", "its end")
    assert order(place) == ["poststop", "end"]
    container.remove()
    assert order(place) == ["poststop", "end"]
