"""The time zone of a container, and the lines of /etc/passwd and /etc/group for a user whom the image lacks."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import coble
import pytest
from conftest import IS_ROOT, MODE, Store
from test_command import Command

ZONE = "Asia/Tokyo"
needs_zones = pytest.mark.skipif(not Path("/usr/share/zoneinfo", ZONE).exists(), reason="needs the host's time zones (tzdata)")
#: A user and group that the image lacks and that every container may have.
OTHER = "1234:56" if MODE != "single" else "0:0"
several = pytest.mark.skipif(MODE == "single", reason="there is no id but 0")
LOOK = "cat /etc/passwd; echo -; cat /etc/group; id -un 2>&1; echo $HOME"


def sh(engine: coble.Engine, script: str, image: str = "box", **options: Any) -> str:
    return engine.run(image, ["sh", "-c", script], check=True, **options).stdout.decode()


@pytest.fixture
def image(box: coble.Engine) -> str:
    """An image that has users."""
    script = "mkdir -p /etc; printf 'root:x:0:0:root:/root:/bin/sh\\nnobody:x:65534:65534::/:/bin/false' > /etc/passwd; printf 'root:x:0:\\n' > /etc/group"
    with box.containers.create("box", ["sh", "-c", script]) as container:
        container.start()
        assert container.wait() == 0
        container.commit("users")
    return "users"


# --- the time zone --------------------------------------------------------------------------------------------------


@needs_zones
def test_a_time_zone(box: coble.Engine) -> None:
    with box.containers.create("box", ["sh", "-c", "date +%Z; date -d @0 +%H"], tz=ZONE) as container:
        container.start()
        assert container.wait() == 0
        assert container.logs().read() == b"JST\n09\n"
        # Its place is no change of the container.
        assert container.diff() == []
        assert container.inspect().spec.tz == ZONE


def test_the_time_zone_of_the_host(box: coble.Engine) -> None:
    if not Path("/etc/localtime").exists():
        with pytest.raises(coble.PathNotFoundError):
            box.run("box", ["true"], tz="local")
        return
    with box.containers.run("box", ["sleep", "1000"], tz="local") as container:
        assert container.exec(["cat", "/etc/localtime"], check=True).stdout == Path("/etc/localtime").read_bytes()


@pytest.mark.once
@pytest.mark.parametrize("zone", ["", "/etc/passwd", "../../../etc/passwd", "Europe/../x", "a b", "a\nb", ".x"])
def test_what_is_no_time_zone(shared: coble.Engine, zone: str) -> None:
    with pytest.raises(coble.InvalidArgumentError):
        shared.containers.create("box", tz=zone)


@pytest.mark.once
def test_a_time_zone_that_the_host_lacks(shared: coble.Engine) -> None:
    with pytest.raises(coble.PathNotFoundError):
        shared.run("box", ["true"], tz="Nowhere/Town")


# --- users ----------------------------------------------------------------------------------------------------------


@several
def test_a_user_that_the_image_lacks(box: coble.Engine, image: str) -> None:
    with box.containers.create(image, ["sh", "-c", LOOK], user=OTHER) as container:
        for count in (1, 2):
            container.start()
            assert container.wait() == 0
            text = (
                b"root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534::/:/bin/false\n1234:*:1234:56:container user:/:/bin/sh\n-\nroot:x:0:\n56:x:56:\n1234\n/\n"
            )
            assert container.logs().read() == text * count
        assert container.diff() == []
    assert sh(box, LOOK, image=image, user="1234", passwd=False).splitlines()[:3] == [
        "root:x:0:0:root:/root:/bin/sh", "nobody:x:65534:65534::/:/bin/false-", "root:x:0:"
    ]


@several
def test_lines_of_the_caller(box: coble.Engine, image: str) -> None:
    text = sh(
        box, LOOK, image=image, user=OTHER, passwd_entry="me:x:$UID:$GID:$NAME $$USERNAME:/tmp:/bin/$USERNAME", group_entry="us:x:$GID:me$USERLIST"
    )
    assert "me:x:1234:56:container user $1234:/tmp:/bin/1234\n" in text and "us:x:56:me\n" in text
    assert text.endswith("\nme\n/tmp\n")


def test_a_user_whom_the_image_has(box: coble.Engine, image: str) -> None:
    for user in ("0", "root", "0:0"):
        text = sh(box, LOOK, image=image, user=user)
        assert text == "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534::/:/bin/false-\nroot:x:0:\nroot\n/root\n"


@several
def test_an_image_without_the_files(box: coble.Engine) -> None:
    with box.containers.create("box", ["sh", "-c", "ls /etc/passwd /etc/group; id -u"], user=OTHER) as container:
        container.start()
        container.wait()
        assert container.diff() == []


@several
def test_files_of_the_caller(box: coble.Engine, image: str, tmp_path: Path) -> None:
    (tmp_path / "passwd").write_text("mine:x:1234:56::/home:/bin/sh\n")
    tmp_path.chmod(0o755)
    text = sh(box, LOOK, image=image, user=OTHER, volumes=[f"{tmp_path}/passwd:/etc/passwd:ro"])
    assert text.startswith("mine:x:1234:56::/home:/bin/sh\n-\n") and text.endswith("\nmine\n/home\n")


@several
def test_a_link_gets_no_line(box: coble.Engine, image: str) -> None:
    with box.containers.create(image, ["sh", "-c", "mv /etc/passwd /etc/other; ln -s other /etc/passwd"]) as container:
        container.start()
        assert container.wait() == 0
        container.commit("linked-users")
    text = sh(box, LOOK, image="linked-users", user=OTHER)
    assert "container user" not in text and "56:x:56:" in text


@pytest.mark.skipif(IS_ROOT, reason="keep-id is for ordinary users")
def test_the_caller_himself(box: coble.Engine, image: str) -> None:
    import grp
    import pwd

    own, group = pwd.getpwuid(os.getuid()), grp.getgrgid(os.getgid())
    text = sh(box, LOOK, image=image, userns_mode="keep-id")
    assert f"{own.pw_name}:*:{own.pw_uid}:{own.pw_gid}:container user:/:/bin/sh\n" in text
    assert f"{group.gr_name}:x:{group.gr_gid}:\n" in text
    # One in the image who is called so is somebody else.
    entry = f"{own.pw_name}:x:77:77::/:/bin/sh"
    with box.containers.create(image, ["sh", "-c", f"echo; echo {entry} >> /etc/passwd"]) as container:
        container.start()
        container.wait()
        container.write_file("/etc/passwd", f"root:x:0:0::/root:/bin/sh\n{entry}\n".encode())
        container.commit("namesake")
    text = sh(box, LOOK, image="namesake", userns_mode="keep-id")
    assert f"{own.pw_uid}:*:{own.pw_uid}:" in text and text.count(f"{own.pw_name}:x:77:") == 1


@pytest.mark.once
@pytest.mark.parametrize(
    "options",
    [
        {"passwd_entry": "a:x:1:1::/:/bin/sh\nroot2:x:0:0::/:/bin/sh"}, {"passwd_entry": "a:x:1"}, {"passwd_entry": ":x:1:1::/:/b"}, {"passwd_entry": ""},
        {"group_entry": "a:x:1:\nroot:x:0:a"}, {"group_entry": "a:x:1:a:b"}, {"group_entry": "a:x:1:" + "b" * 2000}, {"passwd": False, "group_entry": "a:x:1:"},
    ],
)
def test_no_line_makes_another_one(shared: coble.Engine, options: dict[str, object]) -> None:
    with pytest.raises(coble.InvalidArgumentError):
        shared.containers.create("box", **options)


@needs_zones
def test_the_command(box: coble.Engine, image: str, store: Store) -> None:
    command = Command(store)
    assert command.good("run", "--rm", "--tz", ZONE, "box", "date", "+%Z") == "JST\n"
    if MODE == "single":
        return
    flags = ["--user", OTHER, "--passwd-entry", "x:x:$UID:$GID::/:/bin/sh", "--group-entry", "y:x:$GID:"]
    text = command.good("run", "--rm", *flags, image, "sh", "-c", LOOK)
    assert "x:x:1234:56::/:/bin/sh\n" in text and "y:x:56:\n" in text
    assert "1234:" not in command.good("run", "--rm", "--user", OTHER, "--passwd=false", image, "sh", "-c", "cat /etc/passwd")
