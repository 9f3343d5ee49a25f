"""Every operation exists on every surface: operations.toml against what is really there, in both directions."""

from __future__ import annotations

import fnmatch
import inspect
import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import coble
import coble.aio
import pytest

try:
    import tomllib
except ModuleNotFoundError:  # Python 3.10
    import tomli as tomllib

ROOT = Path(__file__).resolve().parent.parent.parent
BUILT = Path(os.environ.get("COBLE_BUILT", ROOT / "target" / "debug"))
TABLE: dict[str, Any] = tomllib.loads((Path(__file__).parent / "operations.toml").read_text())
OPERATIONS: list[dict[str, Any]] = TABLE["operation"]
OPTIONS: dict[str, dict[str, str]] = TABLE["options"]
SURFACES = ("rust", "c", "python", "cli")
#: The types of the crate whose functions are operations.
RUST_TYPES = ("Engine", "Images", "ImageMount", "Registries", "Containers", "Container", "Process", "LogStream", "StatsStream", "EventStream", "CancelToken", "Volumes", "Volume", "Ready", "ReadyWait")


# --- what is there --------------------------------------------------------------------------------------------------


def rust() -> set[str]:
    """The public functions of the public types, from the sources."""
    found = set()
    for path in (ROOT / "core" / "src").rglob("*.rs"):
        source = path.read_text()
        for block in re.finditer(r"^impl (\w+)(?:<'_>)? \{\n(.*?)^\}\n", source, re.MULTILINE | re.DOTALL):
            if block.group(1) in RUST_TYPES:
                functions = re.findall(r"^    pub (?:const )?fn (\w+)", block.group(2), re.MULTILINE)
                found |= {f"{block.group(1)}::{function}" for function in functions}
        if path.name == "doctor.rs" or path.parts[-2:] == ("doctor", "mod.rs"):
            found |= set(re.findall(r"^pub fn (doctor)\b", source, re.MULTILINE))
    found |= set(re.findall(r"^pub const fn (version)\b", (ROOT / "core" / "src" / "lib.rs").read_text(), re.MULTILINE))
    return found


def c() -> set[str]:
    """The exported symbols of the built library."""
    text = subprocess.run(["readelf", "-W", "--dyn-syms", BUILT / "libcoble.so"], check=True, stdout=subprocess.PIPE, text=True).stdout
    symbols = [line.split() for line in text.splitlines()]
    return {fields[7] for fields in symbols if len(fields) >= 8 and fields[4] == "GLOBAL" and fields[6] != "UND"}


def result_types() -> set[str]:
    """Classes that only hold what an operation returned: they have no verbs."""
    return set(TABLE["results"]["python"])


def public() -> set[str]:
    """Also what is not in `__all__` because Python has something of that name itself."""
    return set(dir(coble)) - {"__version__"}


def errors() -> set[str]:
    return {name for name in public() if isinstance(getattr(coble, name), type) and issubclass(getattr(coble, name), coble.CobleError)}


def python() -> set[str]:
    """The public names of the package and the members of its classes."""
    found = public() - result_types() - errors()
    for name in list(found):
        value = getattr(coble, name)
        if isinstance(value, type):
            members = {member for member in vars(value) if not member.startswith("_")}
            found |= {f"{name}.{member}" for member in members}
    return found


def help_of(*words: str) -> str:
    return subprocess.run([BUILT / "coble", *words, "--help"], check=True, stdout=subprocess.PIPE, text=True).stdout


def subcommands(*words: str) -> list[str]:
    section = re.search(r"^Commands:\n(.*?)\n\n", help_of(*words), re.MULTILINE | re.DOTALL)
    names = re.findall(r"^  (\S+)", section.group(1), re.MULTILINE) if section else []
    return [name for name in names if name != "help"]


def cli() -> set[str]:
    """The verbs of the built command."""
    found = set()
    for verb in subcommands():
        below = subcommands(verb)
        found |= {f"{verb} {name}" for name in below} if below else {verb}
    return found


THERE: dict[str, Callable[[], set[str]]] = {"rust": rust, "c": c, "python": python, "cli": cli}


# --- the comparison -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("surface", SURFACES)
def test_what_the_table_says_is_there(surface: str) -> None:
    said = {name for operation in OPERATIONS for name in operation[surface]}
    assert said - THERE[surface]() == set()


@pytest.mark.parametrize("surface", SURFACES)
def test_what_is_there_is_in_the_table(surface: str) -> None:
    said = {name for operation in OPERATIONS for name in operation[surface]}
    patterns = TABLE["only"][surface]
    extra = {name for name in THERE[surface]() - said if not any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)}
    assert extra == set()


@pytest.mark.parametrize("surface", SURFACES)
def test_no_exception_without_a_case(surface: str) -> None:
    there = THERE[surface]()
    idle = [pattern for pattern in TABLE["only"][surface] if not any(fnmatch.fnmatchcase(name, pattern) for name in there)]
    assert idle == []


def test_what_is_left_out_has_a_reason() -> None:
    silent = [operation["name"] for operation in OPERATIONS if any(not operation[surface] for surface in SURFACES) and "why" not in operation]
    assert silent == []


# --- options --------------------------------------------------------------------------------------------------------


def fields(name: str) -> set[str]:
    source = (ROOT / "core" / "src" / "container" / "spec.rs").read_text()
    block = re.search(rf"^pub struct {name} \{{\n(.*?)^\}}\n", source, re.MULTILINE | re.DOTALL)
    assert block
    return set(re.findall(r"^    pub (\w+):", block.group(1), re.MULTILINE))


def test_options_of_rust() -> None:
    assert fields("ContainerSpec") == {"image", *OPTIONS}


def test_options_of_c() -> None:
    prefix = "coble_container_spec_"
    setters = {name.removeprefix(prefix) for name in c() if name.startswith(prefix)} - {"new", "delete"}
    # A number says what kind of network, and a text whose it is.
    assert "set_network_of" in setters
    setters.discard("set_network_of")
    assert setters == {option["c"] for option in OPTIONS.values()}


def parameters(function: Callable[..., object]) -> set[str]:
    return set(inspect.signature(function).parameters) - {"self", "image"}


def test_options_of_python() -> None:
    options = {option["python"] for option in OPTIONS.values()} | {"cpus", "network_mode", "log_config"}
    streams = {"stdin", "stdout", "stderr"}
    assert parameters(coble.Containers.create) == options
    assert parameters(coble.Containers.run) == options | streams | {"wait", "wait_timeout"}
    # A run has a lifetime of its own, and is removed at its end.
    run = {"check", "timeout", "input", "capture_limit", "text", "encoding", "errors", *streams}
    assert parameters(coble.Engine.run) == (options - {"lifetime", "auto_remove", "restart_policy"}) | run
    assert parameters(coble.Container.exec) == fields("ExecSpec") | run
    assert parameters(coble.Container.popen) == fields("ExecSpec") | streams


def test_results_of_python() -> None:
    """What Rust returns as a structure has the same fields in Python, under the same name."""
    for name in result_types():
        cls = getattr(coble, name)
        ours = {member for member in dir(cls) if not member.startswith("_")} - {"to_dict"}
        source = "\n".join(path.read_text() for path in (ROOT / "core" / "src").rglob("*.rs"))
        block = re.search(rf"^pub struct {name} \{{\n(.*?)^\}}\n", source, re.MULTILINE | re.DOTALL)
        assert block, name
        theirs = set(re.findall(r"^    pub (\w+):", block.group(1), re.MULTILINE))
        if "summary" in theirs and name.endswith("Details"):
            theirs = (theirs - {"summary"}) | fields_anywhere(source, name.replace("Details", "Summary"))
        # Warnings are known to the call that unpacked an image, and not to a later look at it.
        # When a registry was asked is not kept with a container.
        differences = {"ContainerSpec": {"pull"}, "RunResult": {"records"}, "LogRecord": {"source", "stream", "time_ns"}, "Event": {"kind", "type", "time_ns"}, "Report": {"ok"}, "ImageDetails": {"warnings"}, "Mount": {"kind", "type"}}
        assert ours ^ theirs <= differences.get(name, set()), (name, ours ^ theirs)


def fields_anywhere(source: str, name: str) -> set[str]:
    block = re.search(rf"^pub struct {name} \{{\n(.*?)^\}}\n", source, re.MULTILINE | re.DOTALL)
    assert block, name
    return set(re.findall(r"^    pub (\w+):", block.group(1), re.MULTILINE))


@pytest.mark.parametrize("verb", ["run", "create"])
def test_options_of_the_command(verb: str) -> None:
    flags = set(re.findall(r"^\s+(?:-\w, )?(--[a-z-]+)", help_of(verb), re.MULTILINE))
    expected = {option["cli"] for option in OPTIONS.values()} - {""}
    if verb == "create":
        expected.discard("--detach")
    assert expected <= flags
    rest = {"--help", "--data-root", "--run-root", "--rootless", "--lock-file", "--offline", "--connections", "--connections-per-host", "--connect-timeout", "--idle-timeout", "--registry-mirror", "--registries-conf", "--hosts-dir", "--env-file", "--label-file", "--cidfile", "--quiet"}
    rest |= {f"--health-{name}" for name in ("interval", "timeout", "retries", "start-period", "start-interval")} | {"--no-healthcheck"}
    if verb == "run":
        rest |= {"--detach-keys", "--sig-proxy", "--attach", "--wait", "--wait-timeout"}
    assert flags - expected == rest


# --- the rest of Python's -------------------------------------------------------------------------------------------


def test_error_kinds() -> None:
    """The kinds of the engine, the status codes of the header and the classes of Python are the same."""
    header = (ROOT / "include" / "coble" / "coble.h").read_text()
    codes = {name: int(code) for name, code in re.findall(r"^#define COBLE_ERR_(\w+) (-\d+)$", header, re.MULTILINE)}
    classes = {name: getattr(coble, name) for name in errors() - {"CobleError"}}
    named = {re.sub(r"(?<!^)(?=[A-Z])", "_", cls.kind).upper(): cls.code for cls in classes.values()}
    assert named == codes
    assert all(name == cls.kind + "Error" and cls.__module__ == "coble" for name, cls in classes.items())


def test_the_asynchronous_names_are_the_same() -> None:
    for name in coble.aio.__all__:
        mine, others = getattr(coble.aio, name), getattr(coble, name, None)
        if isinstance(mine, type) and isinstance(others, type):
            public = {member for member in dir(others) if not member.startswith("_")}
            missing = public - {member for member in dir(mine) if not member.startswith("_")}
            assert missing == set(), name
