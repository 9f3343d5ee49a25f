"""coble in a container of coble: what that one needs, and what is said where it lacks something."""

from __future__ import annotations

import io
import json
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import coble
import pytest
from conftest import MODE, Store

FREE = ["seccomp=unconfined", "systempaths=unconfined"]
#: In the outer container: a container of an image that is made there, and what the doctor says.
INNER = """
import json, sys, coble
checks = {check.name: [check.status, check.summary, check.fix] for check in coble.doctor(data_root="/store/data", run_root="/store/run").checks}
result = {"checks": checks, "error": None}
try:
    with coble.Engine(data_root="/store/data", run_root="/store/run") as engine:
        engine.images.from_host(["sh", "id", "cat", "sleep"], "inner")
        done = engine.run("inner", ["sh", "-c", "id -u; cat /proc/1/comm; echo $$; cat; exit 7"], input=b"through both")
        container = engine.containers.create("inner", ["sh", "-c", "echo started; sleep 1000"])
        container.start()
        executed = container.exec(["id", "-u"]).stdout.decode()
        container.remove(force=True)
        result |= {"code": done.exit_code, "out": done.stdout.decode(), "exec": executed, "left": engine.verify()}
except coble.CobleError as error:
    result["error"] = [error.kind, str(error), error.hint]
print(json.dumps(result))
"""


@pytest.fixture(scope="module")
def outer(workplace: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[coble.Engine]:
    """An engine with the image `outer`, which has nothing but places: programs are the host's."""
    tar = tmp_path_factory.mktemp("outer") / "outer.tar"
    with tarfile.open(tar, "w") as archive:
        for name in ("usr", "tmp", "proc", "sys", "dev", "etc", "package", "store"):
            entry = tarfile.TarInfo(name)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o755
            archive.addfile(entry)
        for name in ("bin", "sbin", "lib", "lib64"):
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname = tarfile.SYMTYPE, f"usr/{name}"
            archive.addfile(entry)
        for name, content in (("etc/passwd", b"root:x:0:0::/:/bin/sh\n"), ("etc/group", b"root:x:0:\n")):
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    with Store(workplace / "nested-data", workplace / "nested-run").engine() as engine:
        engine.images.import_rootfs(tar, "outer")
        yield engine


def nested(engine: coble.Engine, **options: Any) -> dict[str, Any]:
    """Runs the inner engine, and returns what it tells."""
    package = Path(coble.__file__).resolve().parent
    python = Path("/usr/bin/python3")
    # The package is for any Python of the right kind; the tests' own may be in a place that the container does not have.
    if not python.exists() or sys.platform != "linux":
        pytest.skip("needs python3 of the host: the package python3")
    volumes = {"/usr": {"bind": "/usr", "mode": "ro"}, str(package): {"bind": "/package/coble", "mode": "ro"}}
    done = engine.run(
        "outer", [str(python), "-c", INNER], environment={"PYTHONPATH": "/package", "PYTHONDONTWRITEBYTECODE": "1"},
        volumes=volumes, tmpfs={"/store": "mode=1777,exec", "/tmp": "mode=1777"}, timeout=120, **options,
    )  # fmt: skip
    assert done.exit_code == 0, done.stderr.decode()
    return json.loads(done.stdout)  # type: ignore[no-any-return]


def check_works(told: dict[str, Any]) -> None:
    assert told["error"] is None, told["error"]
    assert told["code"] == 7
    assert told["out"] == "0\nsh\n1\nthrough both"
    assert told["exec"] == "0\n" and told["left"] == []
    assert told["checks"]["nesting"][0] == told["checks"]["system-calls"][0] == "ok"


def test_in_a_container_with_the_usual_capabilities(outer: coble.Engine) -> None:
    check_works(nested(outer, security_opt=FREE))


@pytest.mark.skipif(MODE == "single", reason="there is one user in a container of this mode")
@pytest.mark.parametrize("capabilities", [[], ["ALL"]], ids=["default", "none"])
def test_as_an_ordinary_user_in_a_container(outer: coble.Engine, capabilities: list[str]) -> None:
    """Of which no capability is needed."""
    check_works(nested(outer, security_opt=FREE, user="1000:1000", cap_drop=capabilities))


@pytest.mark.parametrize(
    ("options", "kind", "check", "fix"),
    [
        ({}, "Unsupported", "system-calls", "seccomp=unconfined"),
        ({"security_opt": FREE[:1]}, "Unsupported", "nesting", "systempaths=unconfined"),
        ({"security_opt": FREE, "cap_drop": ["ALL"]}, "PermissionDenied", "capabilities", "CAP_SETFCAP"),
    ],
    ids=["filtered", "covered", "user 0 without capabilities"],
)
def test_what_is_missing_is_said(outer: coble.Engine, options: dict[str, Any], kind: str, check: str, fix: str) -> None:
    told = nested(outer, **options)
    assert told["error"] is not None
    assert told["error"][0] == kind, told["error"]
    assert "doctor" in (told["error"][2] or "")
    status, summary, mended = told["checks"][check]
    assert status == "fail" and fix in f"{summary} {mended}"

