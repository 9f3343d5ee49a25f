"""What the doctor says about a host, and that it is said before anything fails."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import coble
import pytest
from conftest import MODE, Store


def test_this_host_can_run_containers(engine: coble.Engine) -> None:
    report = engine.doctor()
    assert report.ok
    names = [check.name for check in report.checks]
    assert len(names) == len(set(names)) > 3
    for check in report.checks:
        assert check.status in ("ok", "warning", "fail")
        assert check.summary
        if check.status != "ok":
            assert check.fix, f"{check.name} has no fix"


def test_without_an_engine(tmp_path: Path) -> None:
    """It works where no engine can be opened, and says why."""
    (tmp_path / "file").write_text("not a directory")
    report = coble.doctor(data_root=tmp_path / "file", run_root=tmp_path / "run")
    assert not report.ok
    assert any(check.status == "fail" and str(tmp_path / "file") in check.summary for check in report.checks)


@pytest.mark.skipif(MODE != "single", reason="about a user without ranges; that user's suite has it")
def test_missing_ranges_are_said(engine: coble.Engine) -> None:
    found = [check for check in engine.doctor().checks if check.status == "warning" and "subuid" in f"{check.summary} {check.fix}"]
    assert found, [(check.name, check.status, check.summary) for check in engine.doctor().checks]


@pytest.mark.skipif(MODE != "ranges", reason="about a user with ranges; that user's suite has it")
def test_missing_helpers_are_said(store: Store, tmp_path: Path) -> None:
    """Ranges are of no use without newuidmap."""
    script = "import sys, coble\nfor check in coble.doctor(data_root=sys.argv[1], run_root=sys.argv[2]).checks: print(check.status, check.summary, check.fix)"
    environment = {**os.environ, "PATH": str(tmp_path)}
    command = [sys.executable, "-c", script, str(store.data_root), str(store.run_root)]
    text = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True).stdout
    if not any(os.path.exists(f"{folder}/newuidmap") for folder in ("/usr/bin", "/bin", "/usr/local/bin")):
        assert "newuidmap" in text
    assert text.strip()


def test_info(engine: coble.Engine, store: Store) -> None:
    info = engine.info()
    assert Path(info.data_root) == store.data_root and Path(info.run_root) == store.run_root
    assert (info.images, info.containers, info.running) == (0, 0, 0)
    assert info.kernel == os.uname().release
    assert info.cgroup_version in ("v1", "hybrid", "v2", "none")
    assert info.version == coble.__version__
