"""Devices of the host in a container, the rules for them, and containers that nothing is held back from."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

import coble
import pytest
from conftest import CGROUPS, MODE
from helpers import output, sh, status_fields

pytestmark = pytest.mark.vm

#: A device that is harmless, has no rule of its own by default, and that everybody may open.
FUSE = Path("/dev/fuse")


def usable(path: Path) -> bool:
    return path.exists() and stat.S_ISCHR(path.stat().st_mode) and os.access(path, os.R_OK | os.W_OK)


needs_fuse = pytest.mark.skipif(not usable(FUSE), reason="needs a /dev/fuse that this user may open")


def restricted(done: coble.RunResult) -> bool:
    return MODE == "root" and not any(warning.code == "device-rules-not-applied" for warning in done.warnings)


@needs_fuse
def test_a_device(shared: coble.Engine) -> None:
    assert "No such" in sh(shared, "ls /dev/fuse 2>&1 || true")
    script = "stat -c '%F %t:%T' /dev/fuse && : <> /dev/fuse && echo opened"
    number = f"{os.major(FUSE.stat().st_rdev):x}:{os.minor(FUSE.stat().st_rdev):x}"
    assert sh(shared, script, devices=["/dev/fuse"]) == f"character special file {number}\nopened\n"
    script = script.replace("/dev/fuse", "/dev/sub/other")
    assert sh(shared, script, devices=["/dev/fuse:/dev/sub/other"]) == f"character special file {number}\nopened\n"
    assert sh(shared, "ls /x", devices=["/dev/fuse:/x:rw"]) == "/x\n"


def test_a_device_of_everybody(shared: coble.Engine) -> None:
    for target in ("/dev/other", "/dev/deep/other", "/other"):
        script = f"head -c 3 {target} | wc -c; stat -c %t:%T {target}"
        assert sh(shared, script, devices=[f"/dev/zero:{target}"]).split() == ["3", "1:5"]
    assert sh(shared, "head -c 3 /dev/zero | wc -c", devices=["/dev/zero", "/dev/full:/dev/null2"]).strip() == "3"


@needs_fuse
def test_access(shared: coble.Engine) -> None:
    """What is not among the letters is refused, where the caller may set device rules."""
    done = shared.run("box", ["sh", "-c", ": < /dev/fuse && echo read; : <> /dev/fuse && echo written"], devices=["/dev/fuse:r"])
    if restricted(done):
        assert done.stdout == b"read\n"
    else:
        assert any(warning.code == "device-rules-not-applied" for warning in done.warnings)
    with shared.containers.run("box", ["sleep", "1000"], devices=["/dev/fuse"]) as container:
        assert container.exec(["sh", "-c", ": <> /dev/fuse"]).exit_code == 0


@pytest.mark.skipif(MODE != "root", reason="an ordinary user may set no device rules")
def test_rules(shared: coble.Engine) -> None:
    # A number that no driver has: what the rules allow ends there.
    script = "mount -t tmpfs -o dev t /tmp && mknod /tmp/x c 60 7 && : < /tmp/x"
    options: dict[str, Any] = {"cap_add": ["SYS_ADMIN"], "security_opt": ["seccomp=unconfined"]}
    assert b"Operation not permitted" in shared.run("box", ["sh", "-c", script], **options).stderr
    for rules in (["c 60:7 rm", "b *:* m"], ["a 60:* r"], ["c *:* rw"]):
        assert b"No such device" in shared.run("box", ["sh", "-c", script], device_cgroup_rules=rules, **options).stderr
    done = shared.run("box", ["sh", "-c", script.replace("<", ">")], device_cgroup_rules=["c 60:7 r"], **options)
    assert b"Operation not permitted" in done.stderr


@pytest.mark.skipif(MODE == "root", reason="root sets them")
def test_rules_of_an_ordinary_user_are_a_warning(shared: coble.Engine) -> None:
    done = shared.run("box", ["true"], device_cgroup_rules=["c 10:* rwm"])
    assert [warning.code for warning in done.warnings].count("device-rules-not-applied") == 1


def test_a_directory_of_devices(shared: coble.Engine) -> None:
    if not Path("/dev/net/tun").exists():
        pytest.skip("needs /dev/net")
    assert "tun" in sh(shared, "ls /dev/other", devices=["/dev/net:/dev/other"])


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"devices": ["/dev/none-such"]}, coble.PathNotFoundError),
        ({"devices": ["/etc/passwd"]}, coble.InvalidArgumentError),
        ({"devices": ["fuse"]}, coble.InvalidArgumentError),
        ({"devices": ["/dev/null:x"]}, coble.InvalidArgumentError),
        ({"devices": ["/dev/null:/dev/x:q"]}, coble.InvalidArgumentError),
        ({"devices": ["/dev/null:/proc/x"]}, coble.InvalidArgumentError),
        ({"device_cgroup_rules": ["c 1:3"]}, coble.InvalidArgumentError),
        ({"device_cgroup_rules": ["c 1:3 x"]}, coble.InvalidArgumentError),
        ({"device_cgroup_rules": ["c 1:3 r\nb"]}, coble.InvalidArgumentError),
    ],
)
def test_what_is_refused(shared: coble.Engine, options: dict[str, Any], error: type[coble.CobleError]) -> None:
    with pytest.raises(error):
        shared.run("box", ["true"], **options)


def test_inspect(shared: coble.Engine) -> None:
    container = shared.containers.create("box", devices=["/dev/null:/dev/x:rw"], device_cgroup_rules=["c 1:3 r"], privileged=True)
    said = container.inspect_docker()["HostConfig"]
    assert said["Devices"] == [{"PathOnHost": "/dev/null", "PathInContainer": "/dev/x", "CgroupPermissions": "rw"}]
    assert (said["DeviceCgroupRules"], said["Privileged"]) == (["c 1:3 r"], True)
    assert container.inspect().spec.privileged is True
    container.remove()


# --- privileged -----------------------------------------------------------------------------------------------------


def test_privileged(shared: coble.Engine) -> None:
    fields = status_fields(output(shared, "cat", "/proc/self/status", privileged=True))
    own = status_fields(Path("/proc/self/status").read_text())
    everything = int(own["CapBnd"], 16) if MODE == "root" else (1 << (int(Path("/proc/sys/kernel/cap_last_cap").read_text()) + 1)) - 1
    assert int(fields["CapEff"], 16) == everything
    assert (fields["Seccomp"], fields["NoNewPrivs"]) == ("0", "0")
    done = shared.run("box", ["sh", "-c", "mount -t tmpfs t /home && echo mounted"], privileged=True)
    assert done.stdout == b"mounted\n", done.stderr
    assert done.isolation is not None
    assert (done.isolation.masked_paths, done.isolation.readonly_paths) == ([], [])


def test_privileged_has_the_devices_that_the_caller_may_use(shared: coble.Engine) -> None:
    def host() -> set[Path]:
        return {path for path in Path("/dev").iterdir() if not path.is_symlink() and (path.is_char_device() or path.is_block_device())}

    before = host()
    inside = set(sh(shared, "cd /dev && find . -type c -o -type b", privileged=True).split())
    # Others make some, too, as for a file that they mount.
    for path in before & host():
        mine = MODE == "root" or os.access(path, os.R_OK) or os.access(path, os.W_OK)
        if path.name not in ("console", "ptmx"):
            assert (f"./{path.name}" in inside) == mine, path


@pytest.mark.skipif(MODE != "root", reason="what an ordinary user may write there differs")
def test_privileged_may_write_to_sys_and_cgroups(shared: coble.Engine) -> None:
    lines = sh(shared, "grep -E ' /sys( |/fs/cgroup )' /proc/mounts", privileged=True).splitlines()
    sys = next(line for line in lines if line.split()[1] == "/sys")
    assert sys.split()[3].startswith("rw")
    if CGROUPS == "v2":
        script = "mkdir /sys/fs/cgroup/x && echo made && rmdir /sys/fs/cgroup/x"
        assert sh(shared, script, privileged=True) == "made\n"
        assert sh(shared, script, security_opt=["writable-cgroups=true"]) == "made\n"
        assert shared.run("box", ["sh", "-c", script]).exit_code != 0


def test_privileged_less_what_is_asked_for(shared: coble.Engine) -> None:
    fields = status_fields(output(shared, "cat", "/proc/self/status", privileged=True, cap_drop=["SYS_MODULE"], security_opt=["no-new-privileges"]))
    assert not int(fields["CapEff"], 16) & 1 << 16
    assert fields["NoNewPrivs"] == "1"
