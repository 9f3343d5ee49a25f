"""Engines, images and the search for litter. See litter.py for how processes of ours are known."""

from __future__ import annotations

import litter

litter.supervise()  # forks: before anything has threads

import os  # noqa: E402
import pwd  # noqa: E402
import shutil  # noqa: E402
import signal  # noqa: E402
import subprocess  # noqa: E402
import sys  # noqa: E402
import tempfile  # noqa: E402
from collections.abc import Callable, Iterator  # noqa: E402
from dataclasses import dataclass  # noqa: E402
from pathlib import Path  # noqa: E402

import pytest  # noqa: E402

# A job in the background of a shell is started with it ignored.
signal.signal(signal.SIGINT, signal.default_int_handler)

FIXTURES = Path(os.environ.get("COBLE_TEST_FIXTURES", Path(__file__).resolve().parent.parent / "fixtures"))
sys.path.insert(0, str(FIXTURES))

from assets import Assets  # noqa: E402
from helpers import remove_all  # noqa: E402

import coble  # noqa: E402

# What it asserts is explained, as in the tests themselves.
pytest.register_assert_rewrite("registry.scene")
pytest_plugins = ["registry.fixtures"]

#: Things that are made once and shared by the suites of all users: see `Assets`.
ASSETS = Path(os.environ["COBLE_TEST_ASSETS"]) if "COBLE_TEST_ASSETS" in os.environ else None
#: Where stores go: a real file system.
BASE = Path(os.environ.get("COBLE_TEST_BASE", "/var/tmp"))
IS_ROOT = os.geteuid() == 0


def user_mode() -> str:
    """`root`, `ranges` (an ordinary user with ranges of ids) or `single` (one with nothing but its own)."""
    if IS_ROOT:
        return "root"
    name = pwd.getpwuid(os.geteuid()).pw_name
    for line in Path("/etc/subuid").read_text().splitlines() if Path("/etc/subuid").exists() else []:
        if line.split(":")[0] in (name, str(os.geteuid())):
            return "ranges"
    return "single"


MODE = user_mode()


def cgroup_version() -> str:
    with open("/proc/self/mountinfo") as file:
        types = {line.split(" - ")[1].split()[0] for line in file}
    return "v2" if "cgroup2" in types and "cgroup" not in types else "v1" if "cgroup" in types else "none"


CGROUPS = cgroup_version()


def pytest_report_header() -> list[str]:
    return [f"coble {coble.__version__} from {Path(coble.__file__).parent}, user {MODE}, cgroup {CGROUPS}, kernel {os.uname().release}"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.get_closest_marker("root") and not IS_ROOT:
            item.add_marker(pytest.mark.skip(reason="needs root; the suite that root runs has it"))
        if item.get_closest_marker("once") and os.environ.get("COBLE_TEST_AGAIN"):
            item.add_marker(pytest.mark.skip(reason="the same for every user; the suite that root runs has it"))
        if item.get_closest_marker("kills"):
            # The moment would not come again: what it finds once is there.
            item.add_marker(pytest.mark.flaky(reruns=0))


# --- assets ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def assets() -> Iterator[Assets]:
    if ASSETS is not None:
        yield Assets(ASSETS, FIXTURES)
        return
    with tempfile.TemporaryDirectory(prefix="coble-assets-") as folder:
        yield Assets(Path(folder), FIXTURES)


# --- stores and engines ---------------------------------------------------------------------------------------------


@dataclass
class Store:
    """A place for an engine of a test's own."""

    data_root: Path
    run_root: Path

    def engine(self) -> coble.Engine:
        return coble.Engine(data_root=self.data_root, run_root=self.run_root)

    def litter(self, containers: int = 0) -> list[str]:
        return litter.store_litter(self.data_root, self.run_root, containers)


def remove_tree(path: Path) -> None:
    """Removes a store, also what belongs to mapped ids of a user namespace."""
    if not path.exists():
        return
    if MODE == "ranges":
        # Files of other ids inside: only a mapped root may remove them.
        subprocess.run([sys.executable, FIXTURES / "mapped.py", "rm", "-rf", str(path)], check=True)
    elif MODE == "single":
        subprocess.run(["chmod", "-R", "u+rwX", str(path)], check=False, stderr=subprocess.DEVNULL)
        shutil.rmtree(path)
    else:
        shutil.rmtree(path)


@pytest.fixture(scope="session")
def workplace() -> Iterator[Path]:
    """A directory for stores, removed with the session."""
    folder = Path(tempfile.mkdtemp(prefix="coble-tests-", dir=BASE))
    yield folder
    remove_tree(folder)


_numbers = iter(range(1_000_000))


@pytest.fixture
def store(workplace: Path) -> Iterator[Store]:
    """An empty store of the test's own. When the test is over nothing may be in it that an idle store does not have."""
    folder = workplace / f"s{next(_numbers)}"
    folder.mkdir()
    made = Store(folder / "data", folder / "run")
    yield made
    remove_tree(folder)


@pytest.fixture
def stores(workplace: Path) -> Iterator[Callable[[], Store]]:
    """Makes more stores than one."""
    made: list[Path] = []

    def make() -> Store:
        folder = workplace / f"s{next(_numbers)}"
        folder.mkdir()
        made.append(folder)
        return Store(folder / "data", folder / "run")

    yield make
    for folder in made:
        remove_tree(folder)


@pytest.fixture
def engine(store: Store) -> Iterator[coble.Engine]:
    """An engine with a store of the test's own."""
    with store.engine() as opened:
        yield opened
        try:
            opened.info()
        except coble.ClosedError:
            return  # closed by the test
        remove_all(opened)
        problems = opened.verify()
    assert problems == []
    assert store.litter() == []


@pytest.fixture
def box(engine: coble.Engine, assets: Assets) -> coble.Engine:
    """An engine of the test's own with the image `box`: busybox, users, the probe."""
    engine.images.import_rootfs(assets.busybox, "box", environment={"IMAGE_VARIABLE": "image"})
    return engine


@pytest.fixture(scope="session")
def shared_store(workplace: Path, assets: Assets) -> Store:
    made = Store(workplace / "shared-data", workplace / "shared-run")
    with made.engine() as opened:
        opened.images.import_rootfs(assets.busybox, "box", command=["sh"], environment={"IMAGE_VARIABLE": "image"})
    return made


@pytest.fixture(scope="session")
def shared_engine(shared_store: Store) -> Iterator[coble.Engine]:
    opened = shared_store.engine()
    yield opened
    opened.close()


@pytest.fixture
def shared(shared_engine: coble.Engine, shared_store: Store) -> Iterator[coble.Engine]:
    """An engine that tests share which leave nothing in it: image `box`. A container that is left fails its test."""
    yield shared_engine
    assert remove_all(shared_engine) == [], "the test left containers"
    assert shared_store.litter() == []


@pytest.fixture(scope="session")
def debian_engine(workplace: Path, assets: Assets) -> Iterator[coble.Engine]:
    """An engine with the image `debian`."""
    tar = assets.debian
    made = Store(workplace / "debian-data", workplace / "debian-run")
    with made.engine() as opened:
        opened.images.import_rootfs(tar, "debian", command=["bash"])
        yield opened


@pytest.fixture
def canary(tmp_path: Path) -> Iterator[Path]:
    """A directory of the host with a file. After the test, both must be as they were."""
    folder = tmp_path / "canary"
    folder.mkdir(mode=0o755)
    file = folder / "file"
    file.write_text("untouched\n")
    file.chmod(0o644)
    os.utime(file, (1_600_000_000, 1_600_000_000))
    os.utime(folder, (1_600_000_000, 1_600_000_000))

    def facts() -> list[object]:
        found: list[object] = [sorted(os.listdir(folder)), file.read_bytes()]
        for path in (folder, file):
            stat = path.lstat()
            found += [stat.st_mode, stat.st_uid, stat.st_gid, stat.st_mtime_ns, stat.st_nlink, stat.st_ino, os.listxattr(path)]
        return found

    before = facts()
    yield folder
    assert facts() == before, "the canary was touched"


# --- litter ---------------------------------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def no_litter(request: pytest.FixtureRequest) -> Iterator[None]:
    """No test may leave a process, a mount, an interface, a cgroup, a thread or a descriptor."""
    # Shared things that open descriptors for the session are made before the first look.
    for name in ("shared_engine", "debian_engine", "assets"):
        if name in request.fixturenames or (name == "shared_engine" and "shared" in request.fixturenames):
            request.getfixturevalue(name)
    before = litter.Snapshot()
    yield
    found = before.litter(20)
    assert found == [], "litter: " + "; ".join(found)


@pytest.fixture(scope="session", autouse=True)
def no_litter_at_all(workplace: Path) -> Iterator[None]:
    before = litter.Snapshot()
    yield
    found = before.litter(20)
    assert found == [], "litter of the session: " + "; ".join(found)
