"""Many processes on one store that pull, name, use, remove and prune, some of them killed; and pulls killed at random moments."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time

import litter
import pytest
from conftest import IS_ROOT, Store
from helpers import kill_for_good
from registry import content
from registry.own import Registry

pytestmark = pytest.mark.usefixtures("home")

WORKER = """
import os, random, sys, time
import coble

data, run, host, seconds, number = sys.argv[1:]
choose = random.Random(int(number))
engine = coble.Engine(data_root=data, run_root=run)
end = time.monotonic() + float(seconds)
expected = ("ImageNotFound", "InUse", "NameInUse", "ContainerNotFound", "InvalidState")
done = 0
while time.monotonic() < end:
    what = choose.choice(["pull", "pull", "pull", "tag", "remove", "prune", "use", "list"])
    name = f"{host}/team/image{choose.randrange(6)}:1"
    try:
        if what == "pull":
            engine.images.pull(name, insecure=True, policy=choose.choice(["always", "missing"]))
        elif what == "tag":
            engine.images.tag(name, f"more{choose.randrange(5)}")
        elif what == "remove":
            engine.images.remove(choose.choice([name, f"more{choose.randrange(5)}"]))
        elif what == "prune":
            engine.images.prune(all=choose.random() < 0.5)
        elif what == "use":
            # An image in use is never lost.
            container = engine.containers.create(name, ["x"], pull="never")
            engine.images.inspect(container.image_id)
            time.sleep(0.01)
            engine.images.inspect(container.image_id)
            container.remove()
        else:
            engine.images.list()
        done += 1
    except coble.CobleError as error:
        if what == "use" and error.kind != "ImageNotFound" or what == "pull" or error.kind not in expected:
            print(what, name, error.kind, error, flush=True)
            sys.exit(3)
engine.close()
print(done, flush=True)
"""


def test_many_processes_pull_into_one_store(store: Store, registry: Registry) -> None:
    """32 processes. `COBLE_TEST_STRESS_SECONDS` makes it longer: 60 is what is promised."""
    seconds = float(os.environ.get("COBLE_TEST_STRESS_SECONDS", "8"))
    shared = content.small("shared", layers=2, size=200_000)
    for n in range(6):
        registry.put(f"team/image{n}", "1", shared if n == 0 else content.small("shared" if n % 2 else f"own {n}", layers=2 + n % 3, size=200_000))
    with store.engine() as engine:
        before = engine.disk_usage()
    choose = random.Random(7)
    command = [sys.executable, "-c", WORKER, str(store.data_root), str(store.run_root), registry.host, str(seconds)]
    workers = [subprocess.Popen([*command, str(number)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) for number in range(32)]
    end = time.monotonic() + seconds
    killed = []
    while time.monotonic() < end:
        time.sleep(seconds / 20)
        victim = choose.choice(workers)
        if victim not in killed and victim.poll() is None:
            victim.kill()
            killed.append(victim)
    said = [(worker, *worker.communicate(timeout=seconds + 120)) for worker in workers]
    failed = [(worker.returncode, out) for worker, out, _ in said if worker not in killed and worker.returncode != 0]
    assert failed == []
    assert sum(int(out) for worker, out, _ in said if worker not in killed) > 32
    with store.engine() as engine:
        assert engine.verify() == [] and engine.scrub().problems == []
        for name in [container.name for container in engine.containers.list(all=True)]:
            engine.containers.get(name).remove(force=True)
        engine.images.prune(all=True)
        assert engine.images.list() == [] and engine.verify() == []
        after = engine.disk_usage()
        assert (after.blobs, after.layers, after.writable, after.images) == (before.blobs, before.layers, before.writable, [])
    assert store.litter() == []


LOOP = """
import sys
import coble
engine = coble.Engine(data_root=sys.argv[1], run_root=sys.argv[2])
print("open", flush=True)
while True:
    engine.images.pull(sys.argv[3], insecure=True)
    engine.images.remove(sys.argv[3], force=True)
    engine.images.prune(all=True)
    print("round", flush=True)
"""


@pytest.mark.kills
def test_pulls_killed_at_random_moments(store: Store, registry: Registry) -> None:
    """Whoever opens the store next finds it in order."""
    kills = int(os.environ.get("COBLE_TEST_KILLS", "200" if IS_ROOT else "40")) // 10
    seed = int(os.environ.get("COBLE_TEST_SEED", str(int.from_bytes(os.urandom(4), "big"))))
    dice = random.Random(seed)
    print(f"seed {seed}")
    made = content.small(layers=4, size=500_000)
    registry.put("team/image", "1", made)
    reference = f"{registry.host}/team/image:1"
    before = litter.Snapshot()
    span = 1.0
    for number in range(kills):
        process = subprocess.Popen([sys.executable, "-c", LOOP, str(store.data_root), str(store.run_root), reference], stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None and process.stdout.readline() == "open\n"
        if number == 0:
            begin = time.monotonic()
            assert process.stdout.readline() == "round\n"
            span = time.monotonic() - begin
        time.sleep(dice.uniform(0, span * 1.5))
        kill_for_good(process)
        note = f"seed {seed}, kill {number}"
        with store.engine() as engine:
            assert engine.verify() == [], note
            if number % 4 == 0:
                assert engine.images.pull(reference, insecure=True).digest == made.digest, note
                assert engine.verify() == [] and engine.scrub().problems == [], note
        found = [one for one in before.litter(20) if "socket:" not in one]
        assert found == [], f"{note}: {found}"
    with store.engine() as engine:
        for image in engine.images.list():
            engine.images.remove(image, force=True)
        engine.images.prune(all=True)
        assert engine.verify() == []
    assert store.litter() == []
