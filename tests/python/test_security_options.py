"""Security options: seccomp profiles, and what the kernel has no module for."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import coble
import pytest
from conftest import IS_ROOT
from helpers import output, sh, status_fields

pytestmark = pytest.mark.vm

ALLOW_ALL: dict[str, Any] = {"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_AARCH64"]}


def forbidding(*names: str, **more: Any) -> dict[str, Any]:
    return {**ALLOW_ALL, "syscalls": [{"names": list(names), "action": "SCMP_ACT_ERRNO", **more}]}


@pytest.mark.parametrize("form", ["text", "file", "relative", "colon"])
def test_a_profile(shared: coble.Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str) -> None:
    text = json.dumps(forbidding("mkdir", "mkdirat", errnoRet=28))
    (tmp_path / "profile.json").write_text(text)
    monkeypatch.chdir(tmp_path)
    option = {"text": f"seccomp={text}", "file": f"seccomp={tmp_path}/profile.json", "relative": "seccomp=profile.json", "colon": f"seccomp:{text}"}[form]
    done = shared.run("box", ["sh", "-c", "mkdir /x; touch /y && echo made"], security_opt=[option])
    assert done.stdout == b"made\n"
    assert b"No space left" in done.stderr
    assert done.isolation is not None and done.isolation.seccomp == "filter"


def test_arguments(shared: coble.Engine) -> None:
    """Making directories of mode 0700 only."""
    mode = {"index": 1, "value": 0o777, "valueTwo": 0o700, "op": "SCMP_CMP_MASKED_EQ"}
    allowed = {"names": ["mkdir"], "action": "SCMP_ACT_ALLOW", "args": [mode]}
    refused = {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO"}
    profile = {**ALLOW_ALL, "syscalls": [allowed, refused]}
    done = shared.run("box", ["sh", "-c", "mkdir -m 700 /a; umask 077; mkdir /b; ls -d /a /b 2>/dev/null"], security_opt=[f"seccomp={json.dumps(profile)}"])
    assert b"Operation not permitted" in done.stderr


def test_it_kills(shared: coble.Engine) -> None:
    profile = {**ALLOW_ALL, "syscalls": [{"names": ["chroot"], "action": "SCMP_ACT_KILL_PROCESS"}]}
    done = shared.run("box", ["sh", "-c", "chroot / true; echo $?"], security_opt=[f"seccomp={json.dumps(profile)}"])
    assert done.stdout == b"159\n"


def test_what_is_forbidden_in_vain_is_told(shared: coble.Engine) -> None:
    def warnings(profile: dict[str, object]) -> list[str]:
        done = shared.run("box", ["true"], security_opt=[f"seccomp={json.dumps(profile)}"])
        return [warning.message for warning in done.warnings if warning.code == "seccomp-unknown-calls"]

    (message,) = warnings(forbidding("mkdir", "mkdri", "swapon"))
    assert '"mkdri"' in message and "swapon" not in message
    assert warnings(forbidding("mkdir")) == []
    assert warnings({**ALLOW_ALL, "syscalls": [{"names": ["mkdri"], "action": "SCMP_ACT_ALLOW"}]}) == []


def test_capabilities_of_the_container_decide(shared: coble.Engine) -> None:
    profile = {
        **ALLOW_ALL,
        "syscalls": [
            {"names": ["sethostname"], "action": "SCMP_ACT_ERRNO", "errnoRet": 28, "excludes": {"caps": ["CAP_SYS_ADMIN"]}},
        ],
    }
    option = f"seccomp={json.dumps(profile)}"
    assert b"No space left" in shared.run("box", ["hostname", "new"], security_opt=[option]).stderr
    assert sh(shared, "hostname new && hostname", security_opt=[option], cap_add=["SYS_ADMIN"]) == "new\n"


def test_exec_has_it_and_so_has_the_next_start(shared: coble.Engine, tmp_path: Path) -> None:
    path = tmp_path / "profile.json"
    path.write_text(json.dumps(forbidding("mkdir", "mkdirat")))
    container = shared.containers.create("box", ["sleep", "1000"], security_opt=[f"seccomp={path}"])
    path.unlink()
    container.start()
    assert container.exec(["mkdir", "/x"]).exit_code == 1
    container.stop(timeout=0)
    container.start()
    assert container.exec(["mkdir", "/x"]).exit_code == 1
    assert json.loads(container.inspect().spec.security_opt[0].removeprefix("seccomp=")) == forbidding("mkdir", "mkdirat")
    container.remove(force=True)


@pytest.mark.parametrize("word", ["unconfined", "builtin"])
def test_words(shared: coble.Engine, word: str) -> None:
    fields = status_fields(output(shared, "cat", "/proc/self/status", security_opt=[f"seccomp={word}"]))
    assert fields["Seccomp"] == ("0" if word == "unconfined" else "2")


@pytest.mark.parametrize(
    ("option", "error"),
    [
        ("seccomp=/no/such/file", coble.PathNotFoundError),
        ("seccomp=", coble.InvalidArgumentError),
        ("seccomp={", coble.InvalidArgumentError),
        ("seccomp={}", coble.InvalidArgumentError),
        ('seccomp={"defaultAction":"SCMP_ACT_NOTIFY"}', coble.UnsupportedError),
        ("label=frob", coble.InvalidArgumentError),
        ("apparmor=two words", coble.InvalidArgumentError),
        ("writable-cgroups=perhaps", coble.InvalidArgumentError),
        ("frob", coble.InvalidArgumentError),
    ],
)
def test_what_is_refused(shared: coble.Engine, option: str, error: type[coble.CobleError]) -> None:
    with pytest.raises(error):
        shared.containers.create("box", ["true"], security_opt=[option])


def test_a_profile_that_is_no_file(shared: coble.Engine, tmp_path: Path) -> None:
    with pytest.raises(coble.CobleError):
        shared.containers.create("box", ["true"], security_opt=[f"seccomp={tmp_path}"])
    (tmp_path / "long").write_bytes(b" " * (2 << 20))
    with pytest.raises(coble.InvalidArgumentError):
        shared.containers.create("box", ["true"], security_opt=[f"seccomp={tmp_path}/long"])


# --- modules that this kernel may not have --------------------------------------------------------------------------


def enabled(module: str) -> bool:
    try:
        return Path(f"/sys/module/{module}/parameters/enabled").read_text().startswith("Y")
    except OSError:
        return False


def test_apparmor(shared: coble.Engine) -> None:
    assert output(shared, "echo", "fine", security_opt=["apparmor=unconfined"]) == "fine\n"
    if enabled("apparmor") and IS_ROOT:
        return  # what it is then is the next test's
    with pytest.raises(coble.UnsupportedError):
        shared.run("box", ["true"], security_opt=["apparmor=some-profile"])


PROFILE = """
profile coble-test flags=(attach_disconnected,mediate_deleted) {
    file, capability, network, signal, ptrace, mount, umount, pivot_root, unix,
    deny /etc/passwd r,
}
"""


@pytest.fixture
def profile() -> Iterator[str]:
    """A profile of AppArmor that the kernel knows meanwhile. The virtual machine has all that is needed."""
    parser = shutil.which("apparmor_parser", path="/usr/sbin:/sbin")
    if not enabled("apparmor") or not IS_ROOT or parser is None:
        pytest.skip("AppArmor is off, or there is no apparmor_parser, or the caller is not root; the virtual machine has it")
    place = Path("/sys/kernel/security")
    mounted = (place / "apparmor").exists()
    if not mounted:
        subprocess.run(["mount", "-t", "securityfs", "securityfs", place], check=True)
    try:
        subprocess.run([parser, "--replace", "--skip-cache"], input=PROFILE.encode(), check=True)
        yield "coble-test"
        subprocess.run([parser, "--remove"], input=PROFILE.encode(), check=True)
    finally:
        if not mounted:
            subprocess.run(["umount", place], check=True)


def test_an_apparmor_profile(shared: coble.Engine, profile: str) -> None:
    """ISO-08: it is in force from the first instruction of the program, for those of exec as well, and is told of."""
    script = "cat /proc/self/attr/current; cat /etc/passwd > /dev/null 2>&1 && echo read; cat /etc/group > /dev/null && echo well"
    option = [f"apparmor={profile}"]
    done = shared.run("box", ["sh", "-c", script], security_opt=option)
    assert done.stdout.decode().splitlines() == [f"{profile} (enforce)", "well"], done
    assert done.isolation is not None and done.isolation.apparmor == f"{profile} (enforce)"
    with shared.containers.run("box", ["sleep", "1000"], security_opt=option) as container:
        assert container.exec(["sh", "-c", script]).stdout.decode().splitlines() == [f"{profile} (enforce)", "well"]
        isolation = container.inspect().isolation
        assert isolation is not None and isolation.apparmor == f"{profile} (enforce)"
    free = shared.run("box", ["sh", "-c", script], security_opt=["apparmor=unconfined"])
    assert free.stdout.decode().splitlines()[-2:] == ["read", "well"] and free.isolation is not None and free.isolation.apparmor is None
    with pytest.raises(coble.InvalidArgumentError, match="no-such-profile"):
        shared.run("box", ["true"], security_opt=["apparmor=no-such-profile"])


def test_labels(shared: coble.Engine) -> None:
    assert shared.run("box", ["true"], security_opt=["label=disable"]).warnings == shared.run("box", ["true"]).warnings
    if Path("/sys/fs/selinux/enforce").exists():
        with pytest.raises(coble.UnsupportedError):
            shared.run("box", ["true"], security_opt=["label=type:container_t"])
    else:
        done = shared.run("box", ["true"], security_opt=["label=type:container_t", "label=level:s0:c1,c2"])
        assert [warning.code for warning in done.warnings].count("label-not-applied") == 1
