"""Options of new containers that have no file of their own."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import coble
import pytest
from conftest import Store
from helpers import eventually, log_bytes, sh, wait_for_output
from test_command import Command

pytestmark = pytest.mark.vm


@pytest.fixture
def command(shared_store: Store, shared: coble.Engine) -> Command:
    return Command(shared_store)


# --- what is only said ----------------------------------------------------------------------------------------------


def test_exposed_ports_and_annotations(box: coble.Engine, store: Store) -> None:
    container = box.containers.create("box", ["true"], name="said", exposed_ports=[80, "53/UDP", "8000-8010"], annotations={"a": "1", "b": ""})
    spec = container.inspect().spec
    assert (spec.exposed_ports, spec.annotations) == (["80", "53/UDP", "8000-8010"], {"a": "1", "b": ""})
    command = Command(store)
    (details,) = json.loads(command.good("inspect", "said"))
    ports = {"80/tcp": {}, "53/udp": {}, "8000-8010/tcp": {}}
    assert (details["Config"]["ExposedPorts"], details["HostConfig"]["Annotations"]) == (ports, {"a": "1", "b": ""})
    container.commit("made")
    other = box.containers.create("made", exposed_ports=["90/sctp"], name="other")
    (details,) = json.loads(command.good("inspect", "other"))
    assert details["Config"]["ExposedPorts"] == {**ports, "90/sctp": {}}
    other.remove()
    container.remove()


def test_the_command_says_them_too(command: Command) -> None:
    identifier = command.good("create", "--expose", "80", "--expose", "90-91/udp", "--annotation", "a=b=c", "--annotation", "d", "box", "true").strip()
    (details,) = json.loads(command.good("inspect", identifier))
    assert details["Config"]["ExposedPorts"] == {"80/tcp": {}, "90-91/udp": {}}
    assert details["HostConfig"]["Annotations"] == {"a": "b=c", "d": ""}
    command.good("rm", identifier)


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"exposed_ports": ["0"]}, "exposed_ports"),
        ({"exposed_ports": ["80/icmp"]}, "exposed_ports"),
        ({"exposed_ports": ["9-1"]}, "exposed_ports"),
        ({"exposed_ports": [70000]}, "exposed_ports"),
        ({"annotations": {"": "x"}}, "annotations"),
        ({"annotations": {"x": "a\0"}}, "annotations"),
        ({"network_disabled": True, "network": "host"}, "network"),
        ({"run_timeout": 0}, "run_timeout"),
        ({"run_timeout": 1 << 33}, "run_timeout"),
        ({"blkio_weight_device": {"/dev/null": 5}}, "blkio_weight_device"),
        ({"blkio_weight_device": {"null": 50}}, "blkio_weight_device"),
    ],
)
def test_what_is_refused(shared: coble.Engine, options: dict[str, Any], field: str) -> None:
    with pytest.raises(coble.InvalidArgumentError, match=field):
        shared.containers.create("box", ["true"], **options)


def test_no_network(shared: coble.Engine) -> None:
    assert sh(shared, "ls /sys/class/net", network_disabled=True).split() == ["lo"]
    container = shared.containers.create("box", ["true"], network_disabled=True, network="none")
    assert container.inspect().spec.network_disabled
    container.remove()


# --- block devices --------------------------------------------------------------------------------------------------


def test_the_weight_of_a_device(shared: coble.Engine) -> None:
    devices = [f"/dev/{name}" for name in sorted(os.listdir("/sys/block")) if Path(f"/dev/{name}").is_block_device()]
    if not devices:
        pytest.skip("there is no block device")
    for given in ({devices[0]: 300}, [f"{devices[0]}:300"], [{"Path": devices[0], "Weight": 300}]):
        done = shared.run("box", ["true"], blkio_weight_device=given)
        assert done.isolation is not None
        (limit,) = [limit for limit in done.isolation.limits if limit.name == f"blkio_weight_device:{devices[0]}"]
        assert limit.requested == 300
        assert limit.applied == 300 or "blkio-weight-device-not-applied" in [warning.code for warning in done.warnings]
    with pytest.raises(coble.InvalidArgumentError, match="not a block device"):
        shared.run("box", ["true"], blkio_weight_device={"/dev/null": 300})
    with pytest.raises(TypeError):
        shared.run("box", ["true"], blkio_weight_device=[{"Path": devices[0], "Rate": 300}])


# --- the time of a run ----------------------------------------------------------------------------------------------


def test_a_run_that_takes_too_long(shared: coble.Engine) -> None:
    done = shared.run("box", ["sleep", "1000"], run_timeout=1)
    assert done.exit_code == 137 and "run-timeout" in [warning.code for warning in done.warnings]
    done = shared.run("box", ["true"], run_timeout=60)
    assert done.exit_code == 0 and "run-timeout" not in [warning.code for warning in done.warnings]


def test_the_monitor_sees_to_it(shared: coble.Engine, command: Command) -> None:
    """Nobody who started it is there any more, and an exec in the container ends with it."""
    identifier = command.good("run", "-d", "--timeout", "1", "box", "sleep", "1000").strip()
    container = shared.containers.get(identifier)

    def beside() -> coble.Process | None:
        try:
            return container.popen(["sleep", "1000"])
        except coble.InvalidStateError:
            # Its second was over before that: another one.
            assert container.wait(timeout=20) == 137
            container.start()
            return None

    other = eventually(beside, "a program that is started in time")
    assert container.wait(timeout=20) == 137
    assert other.wait(timeout=20) == 137
    details = container.inspect()
    assert [warning.code for warning in details.warnings].count("run-timeout") == 1
    # From each start.
    container.start()
    assert container.wait(timeout=20) == 137
    assert container.inspect().started_at != details.started_at
    container.remove()


def test_a_policy_starts_it_again(shared: coble.Engine) -> None:
    container = shared.containers.create("box", ["sh", "-c", "echo begun; sleep 1000"], run_timeout=1, restart_policy="on-failure:2")
    container.start()
    try:
        eventually(lambda: container.state == "exited", "the last end")
        details = container.inspect()
        assert (details.exit_code, details.restart_count) == (137, 2)
        assert b"begun\n" in log_bytes(container)
    finally:
        container.remove(force=True)


# --- proxies --------------------------------------------------------------------------------------------------------


PROXY = "http://user:canary-of-the-proxy@proxy:3128"


@pytest.fixture
def docker_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    config = tmp_path / "docker"
    config.mkdir()
    (config / "config.json").write_text(json.dumps({"proxies": {"default": {"httpProxy": PROXY, "noProxy": "localhost"}}}))
    monkeypatch.setenv("DOCKER_CONFIG", str(config))
    yield config


def test_proxies_of_dockers_configuration(shared: coble.Engine, docker_config: Path) -> None:
    assert "_proxy" not in sh(shared, "env").lower()
    lines = sh(shared, "env", use_config_proxy=True, environment={"http_proxy": "mine"}).splitlines()
    proxies = sorted(line for line in lines if "_proxy" in line.lower())
    assert proxies == [f"HTTP_PROXY={PROXY}", "NO_PROXY=localhost", "http_proxy=mine", "no_proxy=localhost"]


def test_proxies_are_kept_nowhere(box: coble.Engine, store: Store, docker_config: Path) -> None:
    container = box.containers.create("box", ["sh", "-c", "echo $HTTP_PROXY; sleep 1000"], use_config_proxy=True, log_driver="json-file", log_opt={"env-regex": "PROXY"})
    container.start()
    try:
        wait_for_output(container, PROXY.encode())
        assert container.exec(["sh", "-c", "echo $http_proxy"]).stdout.decode().strip() == PROXY
        # What it wrote itself is in its log.
        for path in [*store.data_root.rglob("*"), *store.run_root.rglob("*")]:
            if path.is_file() and "log" not in path.name:
                assert b"canary-of-the-proxy" not in path.read_bytes(), path
        assert "canary" not in json.dumps(container.inspect().to_dict())
        assert "canary" not in Command(store).good("inspect", container.id)
        assert all("canary" not in json.dumps(json.loads(line).get("attrs", {})) for line in Path(json.loads(Command(store).good("inspect", container.id))[0]["LogPath"]).read_text().splitlines())
        # The next start has what the file says then.
        container.stop(timeout=0)
        (docker_config / "config.json").write_text("{}")
        container.start()
        assert container.exec(["sh", "-c", "echo $http_proxy"]).stdout == b"\n"
    finally:
        container.remove(force=True)


def test_a_malformed_file_is_a_warning(shared: coble.Engine, docker_config: Path) -> None:
    (docker_config / "config.json").write_text("{canary")
    done = shared.run("box", ["true"], use_config_proxy=True)
    (warning,) = [warning for warning in done.warnings if warning.code == "config-proxy-not-used"]
    assert done.exit_code == 0 and "canary" not in warning.message


def test_the_command_uses_them_unless_told_otherwise(command: Command, docker_config: Path) -> None:
    assert f"HTTP_PROXY={PROXY}\n" in command.good("run", "--rm", "box", "env")
    assert "HTTP_PROXY=other\n" in command.good("run", "--rm", "-e", "HTTP_PROXY=other", "box", "env")
    assert "PROXY" not in command.good("run", "--rm", "--use-config-proxy=false", "box", "env")


# --- words that mean nothing ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("word", "why"),
    [
        ("kernel_memory", "mem_limit"),
        ("lxc_conf", "gave up"),
        ("version", "daemon"),
        ("isolation", "Windows"),
        ("cpu_count", "Windows"),
        ("cpu_percent", "Windows"),
        ("detach", "always in the background"),
        ("remove", "auto_remove=True"),
        ("ports", 'network="host"'),
        ("links", "container:NAME"),
        ("volume_driver", "local"),
        ("init_path", "init=True"),
        ("runtime", "no choice"),
        ("device_requests", "devices"),
        ("storage_opt", "tmpfs"),
        ("cpu_rt_period", "cpu_shares"),
        ("cpu_rt_runtime", "cpu_shares"),
    ],
)
def test_dead_words_are_refused_by_name(shared: coble.Engine, word: str, why: str) -> None:
    for call in (shared.run, shared.containers.create, shared.containers.run):
        with pytest.raises(TypeError, match=f"'{word}': .*{why}"):
            call("box", ["true"], **{word: 1})  # type: ignore[arg-type, call-overload]


def test_the_log_in_docker_py_s_form(shared: coble.Engine) -> None:
    for config, found in (
        ({"Type": "json-file", "Config": {"max-size": "1m", "max-file": 2}}, {"Type": "json-file", "Config": {"max-size": "1m", "max-file": "2"}}),
        ({"Type": "none"}, {"Type": "none", "Config": {}}),
        ({"Type": None, "Config": None}, {"Type": "local", "Config": {}}),
    ):
        container = shared.containers.create("box", ["true"], log_config=config)  # type: ignore[arg-type]
        assert container.inspect_docker()["HostConfig"]["LogConfig"] == found
        container.remove()
    bads: list[dict[str, Any]] = [{"log_config": "local"}, {"log_config": {"type": "local"}}, {"log_config": {"Type": 7}}, {"log_config": {"Type": "local"}, "log_driver": "local"}]
    for bad in bads:
        with pytest.raises(TypeError, match="log_config"):
            shared.containers.create("box", ["true"], **bad)


def test_words_of_docker_lead_to_a_way(command: Command) -> None:
    container = command.good("create", "box", "true").strip()
    for arguments, way in (
        (["run", "-p", "80:80", "box", "true"], "--network host"),
        (["build", "."], "coble load"),
        (["create", "--volume-driver", "nfs", "box"], "local is the only driver"),
        (["run", "--network", "bridge", "box", "true"], "there is no bridge yet; use host (shares the host's ports) or none"),
        (["run", "--mount", "src=/a,dst=/b", "box", "true"], "type=bind"),
        (["inspect", "-f", "{{.Id}}", container], "--format json | jq"),
        (["ps", "--format", "{{.ID}}"], "--format json | jq"),
    ):
        done = command(*arguments)
        assert done.returncode == 125 and way in done.stderr.decode(), (arguments, done.stderr)
        assert done.stdout == b""
    assert command.good("system", "info") == command.good("info")
    assert container in command.good("system", "events", "--since", "0", "--until", "0s", "--filter", f"container={container}")
    assert command.good("container", "remove", "-v", container) == f"{container}\n"


def test_dead_flags_are_refused_by_name(command: Command) -> None:
    for flag, why in (("--isolation=process", "Windows"), ("--cpu-count=1", "--cpus"), ("--kernel-memory=1g", "--memory")):
        done = command("run", flag, "box", "true")
        assert done.returncode == 125 and why in done.stderr.decode(), done.stderr
