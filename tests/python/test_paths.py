"""Masked and read-only paths of the caller's choice."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import coble
import pytest
from conftest import IS_ROOT, Store
from helpers import sh
from test_command import Command

pytestmark = pytest.mark.vm


def test_lists_take_the_place_of_the_usual_ones(shared: coble.Engine) -> None:
    script = "cat /etc/passwd /proc/version; ls -A /bin /proc/scsi; wc -c < /proc/keys; echo x > /tmp/x"
    done = shared.run("box", ["sh", "-c", script], masked_paths=["/etc/passwd", "/proc/version", "/proc/scsi", "/no/such"], readonly_paths=["/tmp"])
    assert b"Read-only file system" in done.stderr
    assert b"root:" not in done.stdout and b"Linux" not in done.stdout
    assert done.isolation is not None
    assert list(done.isolation.masked_paths) == [path for path in ("/etc/passwd", "/proc/version", "/proc/scsi") if Path(path).exists()]
    assert list(done.isolation.readonly_paths) == ["/tmp"]


def test_empty_lists_are_nothing(shared: coble.Engine) -> None:
    isolation = shared.run("box", ["true"], masked_paths=[], readonly_paths=[]).isolation
    assert isolation is not None and (list(isolation.masked_paths), list(isolation.readonly_paths)) == ([], [])
    usual = shared.run("box", ["true"], masked_paths=[]).isolation
    assert usual is not None and "/proc/sys" in usual.readonly_paths


def test_what_is_masked_looks_empty_and_cannot_be_written(shared: coble.Engine) -> None:
    script = "mkdir -p /data/d; echo s > /data/f; echo s > /data/d/f; sleep 1000"
    container = shared.containers.create("box", ["sh", "-c", script], masked_paths=["/data/f", "/data/d"])
    container.start()
    try:
        # Nothing was there at the first start.
        container.exec(["sh", "-c", "until test -s /data/d/f; do :; done"], check=True, timeout=30)
        assert container.exec(["cat", "/data/f"], check=True).stdout == b"s\n"
        container.stop(timeout=0)
        container.start()
        script = "cat /data/f; ls -A /data/d; touch /data/d/x; mv /data/f /data/g; rm /data/f; rmdir /data/d; mount --bind / /data/d"
        done = container.exec(["sh", "-c", script])
        assert (done.stdout, done.exit_code != 0) == (b"", True)
        assert container.exec(["test", "-c", "/data/f"]).exit_code == 0
    finally:
        container.remove(force=True)


def test_podmans_words(shared: coble.Engine) -> None:
    done = shared.run("box", ["sh", "-c", "cat /proc/version"], security_opt=["mask=/proc/version:/proc/uptime", "unmask=/proc/sched*:/proc/sys"])
    assert done.stdout == b"" and done.isolation is not None
    masked, readonly = set(done.isolation.masked_paths), set(done.isolation.readonly_paths)
    assert {"/proc/version", "/proc/uptime", "/proc/keys"} <= masked and "/proc/sys" not in readonly and "/proc/bus" in readonly
    none = shared.run("box", ["true"], security_opt=["unmask=ALL"]).isolation
    assert none is not None and (list(none.masked_paths), list(none.readonly_paths)) == ([], [])


def test_a_link_of_the_image_is_followed_inside(shared: coble.Engine, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("of the host")
    container = shared.containers.create("box", ["sh", "-c", f"mkdir -p {tmp_path}; echo in > {secret}; ln -sf {secret} /link; sleep 1000"], masked_paths=["/link"])
    container.start()
    try:
        container.exec(["sh", "-c", "until test -e /link; do :; done"], check=True, timeout=30)
        container.stop(timeout=0)
        container.start()
        assert container.exec(["cat", "/link", str(secret)]).stdout == b""
        assert secret.read_text() == "of the host"
    finally:
        container.remove(force=True)


@pytest.mark.parametrize("path", ["relative", "/", "/a/../../b", "", "/a\0b"])
@pytest.mark.parametrize("field", ["masked_paths", "readonly_paths"])
def test_what_cannot_be_covered_is_refused(shared: coble.Engine, field: str, path: str) -> None:
    with pytest.raises(coble.InvalidArgumentError, match=field):
        shared.containers.create("box", ["true"], **{field: [path]})
    if ":" not in path:
        with pytest.raises(coble.InvalidArgumentError, match="security_opt"):
            shared.containers.create("box", ["true"], security_opt=[f"mask={path}"])


@pytest.mark.skipif(not IS_ROOT, reason="only root can share mounts with the host")
def test_nothing_is_masked_for_the_host(shared: coble.Engine, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "none", source], check=True)
    try:
        subprocess.run(["mount", "--make-shared", source], check=True)
        (source / "file").write_text("mine")
        for options in ({"masked_paths": ["/data/file"]}, {"readonly_paths": ["/data/file"]}):
            with pytest.raises(coble.CobleError, match="shared with the host"):
                shared.run("box", ["true"], volumes=[f"{source}:/data:rshared"], **options)
        assert (source / "file").read_text() == "mine"
        assert [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()].count(str(source / "file")) == 0
    finally:
        subprocess.run(["umount", source], check=True)


def test_inspect_and_the_command(shared: coble.Engine, shared_store: Store) -> None:
    command = Command(shared_store)
    identifier = command.good("create", "--security-opt", "mask=/opt/keys", "--security-opt", "unmask=/proc/kcore", "box", "true").strip()
    (details,) = json.loads(command.good("inspect", identifier))
    command.good("rm", identifier)
    masked = details["HostConfig"]["MaskedPaths"]
    assert "/opt/keys" in masked and "/proc/kcore" not in masked and "/proc/keys" in masked
    assert "/proc/sys" in details["HostConfig"]["ReadonlyPaths"]
    container = shared.containers.create("box", ["true"], masked_paths=["/a"], readonly_paths=[])
    assert (container.inspect().spec.masked_paths, container.inspect().spec.readonly_paths) == (["/a"], [])
    container.remove()


def test_a_script_sees_the_usual_ones_all_the_same(shared: coble.Engine) -> None:
    assert sh(shared, "wc -c < /proc/keys") == "0\n"
