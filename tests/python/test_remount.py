"""SEC-35, SEC-38: who may make a read-only mount writable, in each way that a container's mounts belong to somebody.

The kernel locks `ro` only in mounts that are copied into the mount namespace of another user namespace. Those of a container are made for its own, so they are locked where it makes another user namespace, and free for
who has SYS_ADMIN in its own one: `docs/security.md` says so."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import coble
import pytest
from conftest import IS_ROOT, MODE

#: The user namespaces that containers of this caller can have.
NAMESPACES: list[dict[str, Any]] = [{}, {"userns_mode": "auto"}] if IS_ROOT else [{}]
PLACES = ["/b", "/", "/proc/sys", "/proc/bus", "/sys"]
SCRIPT = f"probe remount {' '.join(PLACES)}; (echo x > /b/file) 2>/dev/null && echo wrote; (echo x > /file) 2>/dev/null && echo wrote; true"
NESTED = ["unshare", "-U", "-r", "-m", "sh", "-c", SCRIPT]


@pytest.fixture
def shown(tmp_path: Path) -> Path:
    """A directory of the host into which everybody may write."""
    folder = tmp_path / "shown"
    folder.mkdir()
    folder.chmod(0o777)
    return folder


def remounted(engine: coble.Engine, shown: Path, command: list[str], **options: Any) -> list[str]:
    try:
        done = engine.run("box", command, volumes=[f"{shown}:/b:ro"], read_only=True, **options)
    except coble.UnsupportedError as error:
        pytest.skip(f"not to be had here: {error}")
    assert done.exit_code == 0, done
    return done.stdout.decode().splitlines()


@pytest.mark.vm
@pytest.mark.parametrize("namespace", NAMESPACES, ids=str)
@pytest.mark.parametrize("options", [{}, {"security_opt": ["seccomp=unconfined"]}, {"cap_drop": ["ALL"]}], ids=["default", "unconfined", "nothing"])
def test_without_sys_admin_nothing_is_remounted(shared: coble.Engine, shown: Path, namespace: dict[str, Any], options: dict[str, Any]) -> None:
    assert remounted(shared, shown, ["sh", "-c", SCRIPT], **namespace, **options) == [f"{place} EPERM" for place in PLACES]
    assert list(shown.iterdir()) == []


@pytest.mark.vm
@pytest.mark.parametrize("namespace", NAMESPACES, ids=str)
@pytest.mark.parametrize("options", [{"cap_add": ["SYS_ADMIN"]}, {"security_opt": ["seccomp=unconfined"]}], ids=["SYS_ADMIN", "unconfined"])
def test_all_is_locked_in_another_user_namespace(shared: coble.Engine, shown: Path, namespace: dict[str, Any], options: dict[str, Any]) -> None:
    """What a program has in a user namespace that it made itself, whatever it may do outside of it."""
    if MODE == "single" and "cap_add" in options:
        pytest.skip("the kernel wants a second id for it; the other suites have it")
    assert remounted(shared, shown, NESTED, **namespace, **options) == [f"{place} EPERM" for place in PLACES]
    assert list(shown.iterdir()) == []


@pytest.mark.parametrize("namespace", NAMESPACES, ids=str)
def test_sys_admin_is_the_right_to_remount(shared: coble.Engine, shown: Path, namespace: dict[str, Any]) -> None:
    """What the page on security says. If this changes for the better, it has to be said there."""
    found = remounted(shared, shown, ["sh", "-c", SCRIPT], cap_add=["SYS_ADMIN"], **namespace)
    assert found == [f"{place} 0" for place in PLACES] + ["wrote"] * 2


def test_of_a_file_that_others_may_not_write_not_even_sys_admin_gets_it(shared: coble.Engine, shown: Path) -> None:
    """In a user namespace the ids still count: what belongs to root of the host is not written."""
    if not IS_ROOT:
        pytest.skip("the caller's own files are written by the caller; the suite that root runs has files of another user")
    shown.chmod(0o755)
    found = remounted(shared, shown, ["sh", "-c", SCRIPT], cap_add=["SYS_ADMIN"], userns_mode="auto")
    assert found == [f"{place} 0" for place in PLACES] + ["wrote"]
    assert list(shown.iterdir()) == []
