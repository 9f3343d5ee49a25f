"""What an image's configuration may influence: command, entrypoint, environment, user, working directory, stop signal. And what not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import archives
import coble
import pytest
from conftest import MODE, Assets
from helpers import wait_for_output

Loader = Callable[..., str]


@pytest.fixture
def load(engine: coble.Engine, assets: Assets, tmp_path: Path) -> Loader:
    """Loads an image of busybox with a configuration; returns its reference."""

    def loader(config: dict[str, Any], **fields: Any) -> str:
        archives.write_oci_layout(tmp_path / "layout", archives.Image([assets.busybox.read_bytes()], config, "config:1", **fields))
        engine.images.load(tmp_path / "layout")
        return "config:1"

    return loader


@pytest.mark.parametrize("entrypoint", [None, [], ["echo", "mine"]])
@pytest.mark.parametrize("command", [None, [], ["c1", "c2"]])
@pytest.mark.parametrize("image", [(None, ["echo", "cmd"]), (["echo", "entry"], None), (["echo", "entry"], ["cmd"])])
def test_entrypoint_and_command(
    engine: coble.Engine, load: Loader, image: tuple[list[str] | None, list[str] | None], command: list[str] | None, entrypoint: list[str] | None
) -> None:
    """Docker's rules: a given entrypoint drops the image's command; a given command replaces the image's."""
    config = {key: value for key, value in (("Entrypoint", image[0]), ("Cmd", image[1])) if value is not None}
    reference = load(config)
    if entrypoint is None:
        program = (image[0] or []) + (command if command else (image[1] or []))
    else:
        program = entrypoint + (command or [])
    if not program:
        with pytest.raises(coble.InvalidArgumentError):
            engine.run(reference, command, entrypoint=entrypoint)
    elif program[0] != "echo":
        with pytest.raises(coble.CommandNotFoundError):
            engine.run(reference, command, entrypoint=entrypoint)
    else:
        assert engine.run(reference, command, entrypoint=entrypoint).stdout.decode() == " ".join(program[1:]) + "\n"


@pytest.mark.parametrize(
    ("shell", "said"),
    [
        (["/bin/echo", "mine"], "mine it's $0 line"),
        (None, "it's sh line"),
        ([], "it's sh line"),
        ("/bin/echo", "it's sh line"),
        ([7], "it's sh line"),
        ([""], "it's sh line"),
    ],
    ids=str,
)
def test_a_line_for_health_goes_to_the_shell_of_the_image(engine: coble.Engine, load: Loader, shell: Any, said: str) -> None:
    line = "it's $0 line" if isinstance(shell, list) and shell[:1] == ["/bin/echo"] else "echo \"it's ${0##*/} line\""
    config = {"Cmd": ["sleep", "1000"], "Healthcheck": {"Test": ["CMD-SHELL", line], "Interval": 100_000_000}}
    reference = load(config if shell is None else config | {"Shell": shell})
    with engine.containers.run(reference) as container:
        container.wait(condition="healthy", timeout=30)
        health = container.health
        assert health is not None and health.log[0].output == said + "\n"


def test_no_command_at_all(engine: coble.Engine, load: Loader) -> None:
    with pytest.raises(coble.InvalidArgumentError) as caught:
        engine.run(load({}))
    assert "command" in str(caught.value)


def test_environment_working_directory_labels(engine: coble.Engine, load: Loader) -> None:
    reference = load({"Env": ["PATH=/bin", "A=1=2", "B="], "WorkingDir": "/var/app", "Labels": {"l": "image", "m": "image"}, "Cmd": ["sh", "-c", "pwd; env"]})
    done = engine.run(reference, environment={"B": "mine"}).stdout.decode().splitlines()
    assert done[0] == "/var/app"
    assert {"PATH=/bin", "A=1=2", "B=mine"} <= set(done)
    container = engine.containers.create(reference, labels={"m": "mine"})
    assert container.inspect().labels == {"l": "image", "m": "mine"}
    container.remove()


@pytest.mark.skipif(MODE == "single", reason="a single id has no other user; the other suites have it")
def test_user_of_the_image(engine: coble.Engine, load: Loader) -> None:
    reference = load({"User": "alice", "Cmd": ["id", "-u"]})
    assert engine.run(reference).stdout == b"1000\n"
    assert engine.run(reference, user="0").stdout == b"0\n"


@pytest.mark.parametrize("user", ["4294967295", "nobody-here", "-1", "root\n"])
def test_a_bad_user_of_the_image(engine: coble.Engine, load: Loader, user: str) -> None:
    reference = load({"User": user, "Cmd": ["id"]})
    with pytest.raises((coble.UserNotFoundError, coble.InvalidArgumentError, coble.InvalidImageError)):
        engine.run(reference)


def test_stop_signal_of_the_image(engine: coble.Engine, load: Loader) -> None:
    reference = load({"StopSignal": "SIGUSR1", "Cmd": ["sh", "-c", "trap 'exit 7' USR1; echo ready; while :; do sleep 0.05; done"]})
    container = engine.containers.create(reference)
    container.start()
    wait_for_output(container, b"ready")
    container.stop(timeout=10)
    assert container.wait() == 7
    container.remove()


HOSTILE_ENVIRONMENT = ["*", "NOEQUALS", "=x", "A\nB=1", "LD_PRELOAD=/evil.so", "BASH_ENV=/x", "PATH="]


def test_hostile_environment_never_imports_the_hosts(engine: coble.Engine, load: Loader, monkeypatch: pytest.MonkeyPatch) -> None:
    """SEC-54: keys such as `*` or a bare name never take a value from the host."""
    monkeypatch.setenv("NOEQUALS", "of-the-host")
    try:
        reference = load({"Env": HOSTILE_ENVIRONMENT, "Cmd": ["/bin/env"]})
        done = engine.run(reference)
    except coble.InvalidImageError:
        return  # refused is fine, too
    assert b"of-the-host" not in done.stdout


def test_other_keys_have_no_influence(engine: coble.Engine, load: Loader) -> None:
    """SEC-29, SEC-87, SEC-88, SEC-133, SEC-144: host options, privileges, annotations and hooks in an image start with exactly the default profile."""
    plain = ["sh", "-c", "grep -E 'Cap|NoNew|Seccomp:' /proc/self/status; mount | wc -l; ls /dev; cat /proc/mounts | wc -l"]
    reference = load(
        {
            "Cmd": plain,
            "HostConfig": {"Privileged": True, "Binds": ["/:/host"], "CapAdd": ["ALL"], "SecurityOpt": ["seccomp=unconfined"]},
            "Privileged": True,
            "NetworkMode": "host",
            "Labels": {"io.containers.capabilities": "ALL", "io.podman.annotations.privileged": "TRUE"},
            "Volumes": {"/../../etc": {}},
        },
        configuration={"host_config": {"Privileged": True}, "annotations": {"run.oci.hooks": "/bin/sh"}},
    )
    with_keys = engine.run(reference).stdout
    fields = dict(line.split(":\t") for line in with_keys.decode().splitlines() if ":\t" in line)
    assert fields["CapEff"] == "00000000a80425fb"
    assert fields["NoNewPrivs"] == "1"
    assert fields["Seccomp"] == "2"


@pytest.mark.parametrize(
    "configuration",
    [
        {"rootfs": None},
        {"rootfs": {"type": "layers", "diff_ids": []}},
        {"rootfs": {"type": "layers", "diff_ids": ["sha256:" + "0" * 64]}},
        {"rootfs": {"type": "layers", "diff_ids": ["../../x"]}},
        {"config": []},
        {"config": {"Cmd": 5}},
        {"config": {"Env": {"a": "b"}}},
        {"architecture": 5},
        {"history": "none"},
    ],
    ids=str,
)
def test_malformed_configurations(engine: coble.Engine, load: Loader, configuration: dict[str, Any]) -> None:
    """A typed error, and nothing in the store."""
    with pytest.raises((coble.InvalidImageError, coble.InvalidDigestError, coble.DigestMismatchError)):
        load({}, configuration=configuration)
    assert engine.images.list() == []


@pytest.mark.parametrize("history", [None, [], [{}], [{"created_by": "x", "empty_layer": True}] * 5, [{"created_by": None}]], ids=str)
def test_odd_histories(engine: coble.Engine, load: Loader, history: Any) -> None:
    """SEC-148: missing, empty and short histories."""
    reference = load({"Cmd": ["true"]}, configuration={"history": history})
    engine.images.history(reference)
    assert engine.run(reference).exit_code == 0
