"""Events: what is told, to whom, when; across processes, after crashes, once."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import coble
import coble.aio
import pytest
from conftest import CGROUPS, Store
from test_command import COMMAND
from helpers import eventually, monitor_of, wait_for_exit, wait_for_output
from registry.own import Registry

FOREVER = ["sh", "-c", "trap 'exit 143' TERM; echo ready; while :; do sleep 0.05; done"]


def actions(events: list[coble.Event]) -> list[str]:
    return [event.action for event in events]


def of(engine: coble.Engine, container: coble.Container | str) -> list[coble.Event]:
    actor = container if isinstance(container, str) else container.id
    return [event for event in engine.events(follow=False, filters={"container": actor})]


# --- what is told ---------------------------------------------------------------------------------------------------


@pytest.mark.vm
def test_a_life(shared: coble.Engine) -> None:
    container = shared.containers.create("box", FOREVER, name="told", labels={"stage": "test"})
    container.start()
    wait_for_output(container, b"ready")
    container.exec(["sh", "-c", "exit 3"])
    container.rename("told-again")
    container.stop()
    container.start()
    container.kill()
    container.wait()
    container.remove()
    events = of(shared, container)
    told = actions(events)
    assert told == [
        "create", "start", "exec_create: sh -c exit 3", "exec_start: sh -c exit 3", "exec_die", "rename", "kill", "die", "stop",
        "start", "kill", "die", "destroy",
    ]  # fmt: skip
    assert {event.type for event in events} == {"container"}
    assert {event.actor for event in events} == {container.id}
    assert [event.id for event in events] == sorted({event.id for event in events})
    assert all(event.attributes["image"] == "box" and event.attributes["stage"] == "test" for event in events)
    by_action = {event.action.partition(":")[0]: event for event in events}
    assert by_action["create"].attributes["name"] == "told"
    assert by_action["rename"].attributes["name"] == "told-again"
    assert by_action["rename"].attributes["oldName"] == "told"
    kills = [event.attributes["signal"] for event in events if event.action == "kill"]
    assert kills == ["15", "9"]
    dies = [event.attributes["exitCode"] for event in events if event.action == "die"]
    assert dies == ["143", "137"]
    assert by_action["exec_die"].attributes["exitCode"] == "3"
    execs = {event.attributes["execID"] for event in events if event.action.startswith("exec_")}
    assert len(execs) == 1 and len(execs.pop()) == 64


def test_a_run(shared: coble.Engine) -> None:
    shared.run("box", ["sh", "-c", "exit 5"], name="told-run")
    events = list(shared.events(follow=False, filters=["container=told-run"]))
    assert actions(events) == ["create", "start", "die", "destroy"]
    assert events[2].attributes["exitCode"] == "5"


def test_pause_update_export_commit(shared: coble.Engine) -> None:
    container = shared.containers.create("box", FOREVER)
    container.start()
    try:
        container.pause()
        container.unpause()
    except coble.UnsupportedError:
        paused = []
    else:
        paused = ["pause", "unpause"]
    container.kill()
    container.wait()
    container.update(pids_limit=50)
    with open(os.devnull, "wb") as nowhere:
        container.export(nowhere)
    image = container.commit("told:1", message="why")
    container.restart(timeout=0)
    container.remove(force=True)
    told = actions(of(shared, container))
    before = ["create", "start", *paused, "kill", "die"]
    assert told == [*before, "update", "export", "commit", "start", "restart", "kill", "die", "destroy"]
    images = list(shared.events(follow=False, filters={"type": "image", "image": image.id}))
    assert actions(images) == ["create"]
    shared.images.remove("told:1")
    images = list(shared.events(follow=False, filters={"type": "image", "image": image.id}))
    assert actions(images) == ["create", "untag", "delete"]
    assert images[1].attributes["name"] == "told:1"


def test_images(shared: coble.Engine, tmp_path) -> None:
    start = max((event.id for event in shared.events(follow=False)), default=0)
    made = shared.images.from_host(["true"], "told-image:1")
    shared.images.tag("told-image:1", "told-image:2")
    shared.images.save("told-image:1", tmp_path / "saved.tar")
    shared.images.untag("told-image:2")
    shared.images.remove("told-image:1")
    shared.images.load(tmp_path / "saved.tar")
    shared.images.remove("told-image:1")
    events = [event for event in shared.events(follow=False, after=start) if event.actor == made.id]
    assert [(event.type, event.action, event.attributes["name"]) for event in events] == [
        ("image", "import", "told-image:1"),
        ("image", "tag", "told-image:2"),
        ("image", "save", "told-image:1"),
        ("image", "untag", "told-image:2"),
        ("image", "untag", "told-image:1"),
        ("image", "delete", made.id),
        ("image", "load", "told-image:1"),
        ("image", "untag", "told-image:1"),
        ("image", "delete", made.id),
    ]


#: What docker documents for containers (https://docs.docker.com/reference/cli/docker/system/events/), and where a change of the container shows. `copy` is that of an interface that docker has
#: given up: its `docker cp` tells `archive-path` and `extract-to-dir`.
CONTAINER_EVENTS = (
    "attach commit create destroy detach die exec_create exec_detach exec_die exec_start export health_status kill oom pause rename resize restart start stop top unpause update "
    "archive-path extract-to-dir prune"
).split()
IMAGE_EVENTS = "delete import load pull push save tag untag prune".split()


def test_every_event_of_a_container_that_docker_documents(shared: coble.Engine, tmp_path: Path) -> None:
    """Each is caused once, and told with docker's attributes."""
    start = max((event.id for event in shared.events(follow=False)), default=0)
    script = "trap 'exit 0' TERM; echo ready; while :; do read line; sleep 0.05; done"
    options: dict[str, Any] = {"tty": True, "stdin_open": True, "labels": {"stage": "all"}, "mem_limit": "32m", "memswap_limit": "32m"}
    container = shared.containers.create("box", ["sh", "-c", script], name="documented", healthcheck={"test": ["CMD", "true"], "interval": 200_000_000}, **options)
    expected: dict[str, dict[str, str]] = {name: {} for name in CONTAINER_EVENTS}

    with container.start_attached(stdin=True) as process:
        wait_for_output(container, b"ready")
        process.resize(31, 99)
        process.detach()
    expected["resize"] = {"height": "31", "width": "99"}
    container.attach().detach()
    with container.popen(["sh", "-c", "sleep 1000"], tty=True) as other:
        other.detach()
    number = 1 + [event.action for event in of(shared, container)].count("exec_detach")
    assert number == 2
    container.exec(["sh", "-c", "exit 3"])
    container.top()
    source = tmp_path / "file"
    source.write_text("text")
    container.copy_to(source, "/tmp/copied")
    container.copy_from("/tmp/copied", tmp_path / "back")
    expected["extract-to-dir"] = {"path": "/tmp"}
    expected["archive-path"] = {"path": "/tmp/copied"}
    with open(os.devnull, "wb") as nowhere:
        container.export(nowhere)
    image = container.commit("documented:1", message="why", pause=False)
    expected["commit"] = {"imageID": image.id, "imageRef": "documented:1", "comment": "why"}
    container.rename("documented-again")
    expected["rename"] = {"oldName": "documented"}
    try:
        container.update(pids_limit=100)
    except coble.UnsupportedError:
        del expected["update"]
    eventually(lambda: container.health is not None and container.health.status == "healthy", "a container that is healthy")
    try:
        container.pause()
        container.unpause()
    except coble.UnsupportedError:
        del expected["pause"], expected["unpause"]
    container.restart(timeout=0)
    # Its own way out is quick: with no time at all, stop may still need nothing but TERM.
    container.kill()
    container.wait()
    container.start()
    if any("limit-not-applied" in warning.code for warning in container.inspect().warnings):
        del expected["oom"]
    else:
        container.stop(timeout=0)
        hog = shared.containers.create("box", ["sh", "-c", "x=x; while :; do x=$x$x; done"], name="documented-hog", mem_limit="8m", memswap_limit="8m")
        hog.start()
        hog.wait()
        hog.remove()
    container.stop(timeout=0)
    expected["kill"] = {"signal": "9"}
    expected["die"] = {"exitCode": "137"}
    shared.containers.prune(filters={"label": "stage=all"})
    shared.images.remove("documented:1")

    told = [event for event in shared.events(follow=False, after=start) if event.type == "container"]
    by_name: dict[str, list[coble.Event]] = {}
    for event in told:
        by_name.setdefault(event.action.partition(":")[0], []).append(event)
    assert set(by_name) == set(expected)
    for name, attributes in expected.items():
        assert any(attributes.items() <= event.attributes.items() for event in by_name[name]), (name, by_name[name])
    assert [event.action for event in by_name["health_status"]][0] == "health_status: healthy"
    (prune,) = by_name["prune"]
    assert prune.actor == "" and int(prune.attributes["reclaimed"]) > 0
    assert len({event.attributes["execID"] for name in by_name if name.startswith("exec_") for event in by_name[name]}) == 2
    (left,) = by_name["exec_detach"]
    assert left.attributes["execID"] == by_name["exec_create"][0].attributes["execID"]
    ours = [event for event in told if event.actor == container.id]
    assert all(event.attributes["stage"] == "all" and event.attributes["image"] == "box" for event in ours)
    assert [actions(ours).index(name) for name in ("create", "attach", "start", "resize", "detach", "top")] == sorted(
        actions(ours).index(name) for name in ("create", "attach", "start", "resize", "detach", "top")
    )


def test_every_event_of_an_image_that_docker_documents(engine: coble.Engine, registry: Registry, tmp_path: Path) -> None:
    engine.images.from_host(["true"], "documented:1")
    name = f"{registry.host}/documented:1"
    engine.images.tag("documented:1", name)
    engine.images.push(name, insecure=True)
    engine.images.save("documented:1", tmp_path / "saved.tar")
    engine.images.untag("documented:1")
    engine.images.remove(name)
    engine.images.load(tmp_path / "saved.tar")
    engine.images.pull(name, insecure=True)
    engine.images.prune(all=True)
    events = [event for event in engine.events(follow=False) if event.type == "image"]
    assert set(actions(events)) == set(IMAGE_EVENTS)
    assert all(event.attributes["name"] for event in events if event.action != "prune")


def test_programs_with_long_commands_are_all_told(shared: coble.Engine) -> None:
    """Though nobody looks, and the monitor keeps fewer of them for those who do."""
    with shared.containers.run("box", ["sleep", "1000"]) as container:
        for number in range(100):
            container.exec(["true", f"{number:03}", "x" * 2000], check=True)
        told = of(shared, container)
        for action in ("exec_create", "exec_start"):
            assert [event.action.split()[2] for event in told if event.action.startswith(action)] == [f"{number:03}" for number in range(100)]
        assert actions(told).count("exec_die") == 100


def test_very_many_signals_are_all_told(shared: coble.Engine) -> None:
    with shared.containers.run("box", ["sleep", "1000"]) as container:
        for _ in range(7000):
            container.kill("SIGWINCH")
        assert actions(of(shared, container)).count("kill") == 7000


def test_what_is_left_goes_on(shared: coble.Engine) -> None:
    """A program with a terminal that somebody leaves is not hung up, and what it writes holds it up never."""
    container = shared.containers.create("box", ["sleep", "1000"])
    container.start()
    script = "trap 'echo hung > /tmp/hung' HUP; for i in $(seq 3000); do echo 0123456789012345678901234567890123456789; done; echo done > /tmp/done; sleep 1000"
    with container.popen(["sh", "-c", script], tty=True) as process:
        process.detach()
        assert process.poll() is None
        eventually(lambda: container.exec(["cat", "/tmp/done"]).stdout == b"done\n", "a program that has written a lot", 30)
    assert container.exec(["cat", "/tmp/hung"]).exit_code != 0
    # The handle is still good for what needs no stream.
    process.kill()
    assert process.wait(timeout=20) == 137
    # One that has ended was left in time.
    process.detach()
    container.remove(force=True)


def test_out_of_memory(shared: coble.Engine) -> None:
    if any("limit-not-applied" in warning.code for warning in shared.run("box", ["true"], mem_limit="8m").warnings):
        pytest.skip("no memory limit here")
    shared.run("box", ["sh", "-c", "x=x; while :; do x=$x$x; done"], mem_limit="8m", memswap_limit="8m", name="told-oom", timeout=60)
    assert actions(list(shared.events(follow=False, filters=["container=told-oom"]))) == ["create", "start", "oom", "die", "destroy"]


@pytest.mark.vm
def test_a_child_that_is_killed_for_memory_is_told_of_while_the_program_goes_on(shared: coble.Engine) -> None:
    if any("limit-not-applied" in warning.code for warning in shared.run("box", ["true"], mem_limit="16m").warnings):
        pytest.skip("no memory limit here")
    script = "until [ -e /go ]; do sleep 0.02; done; probe memory 64; echo after $?; until [ -e /end ]; do sleep 0.02; done; exit 1"
    for late in (False, True):
        limits = {"mem_limit": "16m", "memswap_limit": "16m"}
        container = shared.containers.create("box", ["sh", "-c", script], **({} if late else limits))  # type: ignore[arg-type]
        container.start()
        if late:
            # The monitor hears of a limit that comes later.
            container.update(**limits)  # type: ignore[arg-type]
        assert not container.inspect().oom_killed
        with shared.events(filters={"container": container.id, "event": "oom"}) as events:
            container.exec(["touch", "/go"], check=True)
            assert next(iter(events)).action == "oom"
        found = container.inspect()
        assert found.oom_killed and [warning.code for warning in found.warnings].count("out-of-memory") == 1
        assert container.inspect_docker()["State"]["OOMKilled"] is True and container.state == "running"
        container.exec(["touch", "/end"], check=True)
        assert container.wait(60) == 1
        found = container.inspect()
        assert found.oom_killed and [warning.code for warning in found.warnings].count("out-of-memory") == 1
        assert actions(list(shared.events(follow=False, filters=[f"container={container.id}", "event=oom"]))) == ["oom"]
        container.start()
        assert not container.inspect().oom_killed
        container.remove(force=True)


def test_a_shell_whose_child_was_killed_for_memory_ends_with_another_code(shared: coble.Engine) -> None:
    done = shared.run("box", ["sh", "-c", "probe memory 64; exit 1"], mem_limit="16m", memswap_limit="16m", timeout=60)
    if any("limit-not-applied" in warning.code for warning in done.warnings):
        pytest.skip("no memory limit here")
    assert done.exit_code == 1 and [warning.code for warning in done.warnings].count("out-of-memory") == 1


# --- filters and bounds ---------------------------------------------------------------------------------------------


def test_since_until_and_after(shared: coble.Engine) -> None:
    first = shared.containers.create("box", ["true"], name="bounds-1")
    middle = time.time()
    second = shared.containers.create("box", ["true"], name="bounds-2")
    ours = {"container": ["bounds-1", "bounds-2"]}
    assert [e.actor for e in shared.events(follow=False, since=middle, filters=ours)] == [second.id]
    assert [e.actor for e in shared.events(follow=False, until=middle, filters=ours)] == [first.id]
    # With a time that is over, the stream ends by itself.
    assert [e.actor for e in shared.events(since=0, until=time.time(), filters=ours)] == [first.id, second.id]
    (event,) = shared.events(follow=False, until=middle, filters=ours)
    assert [e.actor for e in shared.events(follow=False, after=event.id, filters=ours)] == [second.id]
    assert event.to_dict()["Actor"]["ID"] == first.id
    assert event.to_dict()["timeNano"] == event.time_ns
    for container in (first, second):
        container.remove()
    with pytest.raises(coble.InvalidArgumentError):
        shared.events(filters=["colour=red"])


def test_until_in_the_future(shared: coble.Engine) -> None:
    begin = time.monotonic()
    assert list(shared.events(until=time.time() + 0.5, filters=["container=nobody"])) == []
    assert 0.4 < time.monotonic() - begin < 5


# --- followers ------------------------------------------------------------------------------------------------------


@pytest.mark.vm
def test_a_follower_of_another_process_hears_at_once(shared: coble.Engine) -> None:
    """How long it takes is bounded generously; the figure itself is measured by the benchmark."""
    info = shared.info()
    script = (
        "import sys, time, coble\n"
        "engine = coble.Engine(data_root=sys.argv[1], run_root=sys.argv[2])\n"
        "with engine.events(filters=['container=heard']) as events:\n"
        "    print('ready', flush=True)\n"
        "    for event in events:\n"
        "        print(event.action, time.time_ns() - event.time_ns, flush=True)\n"
        "        if event.action == 'destroy': break\n"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", script, info.data_root, info.run_root], stdout=subprocess.PIPE, text=True
    )
    assert other.stdout is not None
    assert other.stdout.readline() == "ready\n"
    container = shared.containers.create("box", ["sh", "-c", "sleep 0.2; exit 7"], name="heard")
    container.start()
    # Nobody waits for it: the end is noticed by the follower alone.
    lines = [other.stdout.readline().split() for _ in range(3)]
    assert [line[0] for line in lines] == ["create", "start", "die"]
    container.remove()
    lines.append(other.stdout.readline().split())
    assert other.wait(20) == 0
    # The emulated machine is many times slower.
    within = 2_000_000_000 if CGROUPS != "v2" else 10_000_000_000
    assert all(int(line[1]) < within for line in lines), lines


def test_the_end_of_a_killed_monitor_is_told(shared: coble.Engine) -> None:
    container = shared.containers.create("box", FOREVER)
    container.start()
    wait_for_output(container, b"ready")
    with shared.events(filters={"container": container.id}) as events:
        os.kill(monitor_of(container), signal.SIGKILL)
        event = events.next(timeout=30)
        assert event is not None
        assert (event.action, event.attributes["exitCode"]) == ("die", "137")
    container.remove()


def test_the_end_that_nobody_saw_has_its_time(store: Store) -> None:
    with store.engine() as engine:
        engine.images.from_host(["sh", "sleep"], "box")
        container = engine.containers.create("box", ["sh", "-c", "trap 'sleep 0.3; exit 9' USR1; echo ready; while :; do sleep 0.05; done"])
        container.start()
        wait_for_output(container, b"ready")
        monitor = monitor_of(container)
        begin = time.time()
        container.kill("USR1")
    assert wait_for_exit(monitor)
    end = time.time()
    # Whoever looks now is late.
    time.sleep(0.3)
    with store.engine() as engine:
        events = of(engine, container.id)
        assert actions(events) == ["create", "start", "kill", "die"]
        assert events[-1].attributes["exitCode"] == "9"
        assert begin + 0.2 < events[-1].time_ns / 1e9 < end + 0.1
        engine.containers.get(container.id).remove()


def test_many_followers_and_lookers_record_everything_once(shared: coble.Engine) -> None:
    streams = [shared.events(filters=["container=once-"]) for _ in range(4)]
    heard: list[list[coble.Event]] = [[] for _ in streams]

    def follow(n: int) -> None:
        heard[n].extend(iter(streams[n]))

    threads = [threading.Thread(target=follow, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    containers = [shared.containers.create("box", ["sh", "-c", "exit 2"], name=f"once-{n}") for n in range(6)]

    def live(container: coble.Container) -> None:
        container.start()
        while container.state != "exited":
            pass
        container.remove()

    lives = [threading.Thread(target=live, args=(container,)) for container in containers]
    for thread in lives:
        thread.start()
    for thread in lives:
        thread.join()
    eventually(lambda: all(actions(events).count("destroy") == 6 for events in heard), "every end at every follower")
    for stream in streams:
        stream.close()
    for thread in threads:
        thread.join(10)
        assert not thread.is_alive()
    assert heard[0] == heard[1] == heard[2] == heard[3]
    for container in containers:
        assert actions([event for event in heard[0] if event.actor == container.id]) == ["create", "start", "die", "destroy"]


def test_an_idle_follower_uses_no_processor(shared: coble.Engine) -> None:
    stream = shared.events(filters=["container=nobody-at-all"])
    thread = threading.Thread(target=lambda: list(stream))
    thread.start()
    time.sleep(0.6)

    def used() -> float:
        times = os.times()
        return times.user + times.system

    before = used()
    time.sleep(1)
    spent = used() - before
    stream.close()
    thread.join(10)
    assert not thread.is_alive()
    assert stream.closed and stream.next() is None
    assert spent < 0.05


def test_closing_the_engine_ends_a_follower(store: Store) -> None:
    engine = store.engine()
    stream = engine.events()
    ended = threading.Event()

    def follow() -> None:
        with pytest.raises(coble.ClosedError):
            list(stream)
        ended.set()

    thread = threading.Thread(target=follow)
    thread.start()
    time.sleep(0.2)
    engine.close()
    assert ended.wait(20)
    thread.join()


def test_timeout_and_asyncio(shared: coble.Engine) -> None:
    with shared.events(filters=["container=nobody"]) as stream, pytest.raises(coble.TimeoutError):
        stream.next(timeout=0.1)
    info = shared.info()

    async def main() -> list[str]:
        async with coble.aio.Engine(data_root=info.data_root, run_root=info.run_root) as engine:
            async with engine.events(filters=["container=told-async"]) as events:
                await engine.run("box", ["true"], name="told-async")
                return [event.action async for event in _first(events, 4)]

    async def _first(events, count):
        async for event in events:
            yield event
            count -= 1
            if not count:
                return

    assert asyncio.run(main()) == ["create", "start", "die", "destroy"]


# --- the command ----------------------------------------------------------------------------------------------------


def test_the_command(shared: coble.Engine) -> None:
    info = shared.info()
    shared.run("box", ["true"], name="told-cli", labels={"a": "b"})
    base = [*COMMAND, "events", "--data-root", str(info.data_root), "--run-root", str(info.run_root)]
    bounds = ["--since", "10m", "--until", str(time.time()), "--filter", "container=told-cli"]
    lines = subprocess.run([*base, *bounds], stdout=subprocess.PIPE, text=True, check=True).stdout.splitlines()
    words = [line.split(" ", 4) for line in lines]
    assert [(word[1], word[2]) for word in words] == [("container", action) for action in ("create", "start", "die", "destroy")]
    assert "name=told-cli" in words[0][4] and "exitCode=0" in words[2][4] and "a=b" in words[0][4]
    text = subprocess.run([*base, *bounds, "--format", "json", "-f", "event=die"], stdout=subprocess.PIPE, text=True, check=True).stdout
    (event,) = [json.loads(line) for line in text.splitlines()]
    assert (event["Type"], event["Action"], event["Actor"]["Attributes"]["exitCode"]) == ("container", "die", "0")


# --- who is too slow ------------------------------------------------------------------------------------------------

#: As the engine keeps them.
KEPT = 20_000


#: In a process of its own: two libraries for SQLite in one process take each other's locks away.
CROWD = """
import contextlib, json, sqlite3, sys, time
database = sqlite3.connect(sys.argv[1], timeout=30)
with contextlib.closing(database), database:
    row = (time.time_ns(), "image", "tag", "sha256:x", json.dumps({"name": "crowd"}))
    database.executemany("INSERT INTO events (time, kind, action, actor, attributes) VALUES (?, ?, ?, ?, ?)", [row] * int(sys.argv[2]))
    (newest,) = database.execute("SELECT max(id) FROM events").fetchone()
    database.execute("DELETE FROM events WHERE id <= ?", (newest - int(sys.argv[3]),))
print(newest)
"""


def crowd(store: Store, count: int) -> int:
    """Puts events on record as other processes would, and drops those that are too many. Returns the newest id."""
    return int(subprocess.run([sys.executable, "-c", CROWD, store.data_root / "store.db", str(count), str(KEPT)], stdout=subprocess.PIPE, check=True).stdout)


def test_who_is_too_far_behind_is_told_so(engine: coble.Engine, store: Store) -> None:
    first = crowd(store, 10)
    with engine.events() as events, engine.events(after=first - 5) as again, engine.events(filters={"type": "container"}) as other:
        newest = crowd(store, 1)
        for stream in (events, again):
            event = stream.next(timeout=30)
            assert event is not None and event.id == (newest if stream is events else first - 4)
        newest = crowd(store, KEPT + 300)
        for stream, behind in ((events, first + 1), (again, first - 4)):
            # What it has read already comes first.
            seen = behind
            with pytest.raises(coble.EventsLostError) as caught:
                while True:
                    event = stream.next(timeout=30)
                    assert event is not None and event.id == seen + 1
                    seen = event.id
            assert str(caught.value).startswith(f"{newest - KEPT - seen} events were dropped before they were read")
            # Once, and then all that there are.
            assert [event.id for event in (stream.next(timeout=30) for _ in range(700)) if event] == list(range(newest - KEPT + 1, newest - KEPT + 701))
        # A filter lets nothing of it through but this.
        with pytest.raises(coble.EventsLostError):
            other.next(timeout=30)
        with pytest.raises(coble.TimeoutError):
            other.next(timeout=0.1)
    # Who goes on from an event that is long gone, without waiting; not who begins with what there is.
    with engine.events(after=first, follow=False) as events:
        with pytest.raises(coble.EventsLostError):
            next(events)
        assert next(events).id == newest - KEPT + 1
    for options in ({"since": 1}, {"after": newest - KEPT}):
        with engine.events(follow=False, **options) as events:  # type: ignore[arg-type]
            assert sum(1 for _ in events) == KEPT, options


def test_the_command_tells_of_lost_events(engine: coble.Engine, store: Store, tmp_path: Path) -> None:
    out, err = tmp_path / "out", tmp_path / "err"
    where = ["--data-root", str(store.data_root), "--run-root", str(store.run_root)]
    with out.open("wb") as stdout, err.open("wb") as stderr, subprocess.Popen([*COMMAND, *where, "events"], stdout=stdout, stderr=stderr) as follower:
        try:
            # It follows from some moment on.
            eventually(lambda: crowd(store, 1) and out.stat().st_size, "an event")
            follower.send_signal(signal.SIGSTOP)
            newest = crowd(store, KEPT + 300)
            follower.send_signal(signal.SIGCONT)
            eventually(lambda: len(out.read_bytes().splitlines()) > KEPT, "all that are kept")
        finally:
            follower.kill()
    (line,) = err.read_text().splitlines()
    assert line.startswith("warning: ") and line.endswith("events were dropped before they were read") and newest > KEPT
