"""The C interface, from C: every program here, compiled by gcc and clang against an installed tree, run, and run under valgrind.

    tests/c/run        builds the library, and calls pytest with this file
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "tests" / "python"))

from registry.debian import DebianRegistry, program  # noqa: E402

BUILT = Path(os.environ.get("COBLE_BUILT", ROOT / "target" / "debug"))
HEADER = ROOT / "include" / "coble" / "coble.h"
SYMBOLS = (ROOT / "ffi" / "coble.symbols").read_text().split()
COMPILERS = ["gcc", "clang"]
C_STANDARDS = ["c99", "c11", "c17"]
WARNINGS = ["-Wall", "-Wextra", "-Wpedantic", "-Werror", "-Wshadow", "-Wstrict-prototypes", "-Wconversion"]
CXX_WARNINGS = ["-Wall", "-Wextra", "-Wpedantic", "-Werror", "-Wshadow"]
PROGRAMS = {path.stem: [path] for path in sorted(Path(__file__).parent.glob("test_*.c"))}
PROGRAMS["double_include"] = sorted(Path(__file__).parent.glob("double_include_*.c"))
CXX_PROGRAM = sorted((ROOT / "tests" / "cpp").glob("*.cc"))
EXAMPLES = sorted((ROOT / "examples" / "c").glob("*.c")) + sorted((ROOT / "examples" / "cpp").glob("*.cc"))
ENVIRONMENT = {**os.environ, "LC_ALL": "C.UTF-8"}


def run(*command: object, **options: object) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [str(word) for word in command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=ENVIRONMENT, timeout=600, **options
    )  # type: ignore[call-overload]
    assert done.returncode == 0, f"{' '.join(map(str, command))}\n{done.stdout}"
    return done


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tree as `make install` makes it."""
    prefix = tmp_path_factory.mktemp("installed")
    run(ROOT / "ffi" / "pkg" / "install", BUILT, prefix)
    return prefix


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory, installed: Path) -> Iterator[list[str]]:
    """The arguments of the programs: a data root and a run root, with the image `tests`."""
    folder = tmp_path_factory.mktemp("store")
    roots = [str(folder / "data"), str(folder / "run")]
    command = [installed / "bin" / "coble", "--data-root", roots[0], "--run-root", roots[1]]
    run(*command, "image", "from-host", "--tag", "tests", "sh", "echo", "cat", "sleep", "true", "false", "test")
    yield roots
    assert run(*command, "ps", "-a", "-q").stdout == "", "a program left containers"
    assert run(*command, "verify").stdout == ""


@pytest.fixture
def registry(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A registry for the program that wants one."""
    parameters = request.node.callspec.params if hasattr(request.node, "callspec") else {}
    if parameters.get("name", "test_registry") != "test_registry":
        yield
        return
    if program() is None:
        pytest.skip("needs docker-registry: the package docker-registry")
    made = DebianRegistry(tmp_path / "registry")
    monkeypatch.setitem(ENVIRONMENT, "COBLE_TEST_REGISTRY", made.host)
    # As a user would say it of a registry without TLS.
    settings = tmp_path / "registries.conf"
    settings.write_text(f'[[registry]]\nlocation = "{made.host}"\ninsecure = true\n')
    monkeypatch.setitem(ENVIRONMENT, "CONTAINERS_REGISTRIES_CONF", str(settings))
    for name in ("HOME", "DOCKER_CONFIG", "XDG_CONFIG_HOME", "XDG_RUNTIME_DIR"):
        monkeypatch.setitem(ENVIRONMENT, name, str(tmp_path / "nothing"))
    yield
    made.close()


def flags(installed: Path, *options: str) -> list[str]:
    environment = {**ENVIRONMENT, "PKG_CONFIG_PATH": str(installed / "lib" / "pkgconfig")}
    return subprocess.run(["pkg-config", *options, "coble"], check=True, stdout=subprocess.PIPE, text=True, env=environment).stdout.split()


def compile_shared(compiler: str, standard: str, sources: list[Path], target: Path, installed: Path) -> None:
    is_cxx = standard.startswith("c++")
    front = {"gcc": "g++", "clang": "clang++"}[compiler] if is_cxx else compiler
    run(
        front, f"-std={standard}", *(CXX_WARNINGS if is_cxx else WARNINGS), "-g", "-D_POSIX_C_SOURCE=200809L", "-pthread",
        *sources, "-o", target, *flags(installed, "--cflags", "--libs"), f"-Wl,-rpath,{installed}/lib",
    )  # fmt: skip


def arguments(name: str, store: list[str]) -> list[str]:
    return [] if name in ("test_version", "double_include") else store


@pytest.mark.parametrize("standard", C_STANDARDS)
@pytest.mark.parametrize("compiler", COMPILERS)
@pytest.mark.parametrize("name", PROGRAMS)
@pytest.mark.usefixtures("registry")
def test_program(name: str, compiler: str, standard: str, installed: Path, store: list[str], tmp_path: Path) -> None:
    compile_shared(compiler, standard, PROGRAMS[name], tmp_path / name, installed)
    # The compilers differ in what they compile; the newest standard says nothing about the library that the oldest does not.
    if standard == C_STANDARDS[0]:
        run(tmp_path / name, *arguments(name, store))


@pytest.mark.parametrize("standard", ["c++17", "c++20"])
@pytest.mark.parametrize("compiler", COMPILERS)
@pytest.mark.usefixtures("registry")
def test_cxx(compiler: str, standard: str, installed: Path, store: list[str], tmp_path: Path) -> None:
    compile_shared(compiler, standard, CXX_PROGRAM, tmp_path / "wrapper", installed)
    run(tmp_path / "wrapper", *store)


@pytest.mark.parametrize("compiler", ["g++", "clang++"])
@pytest.mark.parametrize("standard", ["c++11", "c++17"])
def test_the_header_is_cxx(compiler: str, standard: str, installed: Path, tmp_path: Path) -> None:
    """The plain header, in C++, with every warning."""
    (tmp_path / "plain.cc").write_text('#include <coble/coble.h>\nint main() { return coble_abi_version() == COBLE_ABI_VERSION ? 0 : 1; }\n')
    run(
        compiler, f"-std={standard}", *CXX_WARNINGS, tmp_path / "plain.cc", "-o", tmp_path / "plain",
        *flags(installed, "--cflags", "--libs"), f"-Wl,-rpath,{installed}/lib",
    )  # fmt: skip
    run(tmp_path / "plain")


@pytest.mark.parametrize("name", PROGRAMS)
@pytest.mark.usefixtures("registry")
def test_valgrind(name: str, installed: Path, store: list[str], tmp_path: Path) -> None:
    if name == "double_include":
        pytest.skip("it calls nothing but the version, as test_version does")
    compile_shared("gcc", "c99", PROGRAMS[name], tmp_path / name, installed)
    valgrind(tmp_path / name, *arguments(name, store))


@pytest.mark.usefixtures("registry")
def test_valgrind_cxx(installed: Path, store: list[str], tmp_path: Path) -> None:
    compile_shared("gcc", "c++17", CXX_PROGRAM, tmp_path / "wrapper", installed)
    valgrind(tmp_path / "wrapper", *store)


def valgrind(*command: object) -> None:
    # It cannot execute what has no name in a file system, so the helper is a file for once.
    (helper,) = BUILT.parent.glob("shim-build/*/shim/coble-shim")
    run(
        "env", "UNDER_VALGRIND=1", f"COBLE_SHIM={helper}", "valgrind", "--quiet", "--error-exitcode=99", "--leak-check=full", "--show-leak-kinds=definite,indirect,possible",
        "--errors-for-leak-kinds=definite,indirect", "--trace-children=no", "--child-silent-after-fork=yes",
        f"--suppressions={Path(__file__).parent / 'valgrind.supp'}", *command,
    )  # fmt: skip


def test_static(installed: Path, store: list[str], tmp_path: Path) -> None:
    """The static library needs what the pkg-config file says and no more, and has nothing global but the interface."""
    archive = installed / "lib" / "libcoble.a"
    # A program with an SQLite of its own would meet ours otherwise.
    (tmp_path / "own.c").write_text("int sqlite3_open(void);\nint sqlite3_open(void) { return 42; }\n")
    run(
        "gcc", "-std=c99", "-D_POSIX_C_SOURCE=200809L", Path(__file__).parent / "test_engine.c", tmp_path / "own.c", "-o", tmp_path / "static",
        *flags(installed, "--cflags"), archive, *[word for word in flags(installed, "--libs", "--static") if word != "-lcoble"],
    )  # fmt: skip
    assert "libcoble" not in run("ldd", tmp_path / "static").stdout
    run(tmp_path / "static", *store)
    assert defined(archive) == SYMBOLS


def defined(library: Path) -> list[str]:
    """The names that a library defines for others."""
    dynamic = [] if library.suffix == ".a" else ["--dyn-syms"]
    symbols = subprocess.run(["readelf", "-W", *(dynamic or ["--syms"]), library], check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    names = set()
    for line in symbols.stdout.splitlines():
        fields = line.split()
        if len(fields) >= 8 and fields[4] in ("GLOBAL", "WEAK") and fields[6] != "UND":
            names.add(fields[7].split("@")[0])
    return sorted(names)


def test_every_function_is_called_by_a_program() -> None:
    """What no program here calls, no program here has found wrong."""
    called = "".join(path.read_text() for path in Path(__file__).parent.glob("*.[ch]"))
    declared = set(re.findall(r"\b(coble_\w+)\(", HEADER.read_text()))
    assert sorted(name for name in declared if not re.search(rf"\b{name}\(", called)) == []


def test_exported_symbols() -> None:
    assert defined(BUILT / "libcoble.so") == SYMBOLS


def test_soname(installed: Path) -> None:
    number = re.search(r"^#define COBLE_ABI_VERSION (\d+)$", HEADER.read_text(), re.MULTILINE)
    assert number
    name = f"libcoble.so.{number.group(1)}"
    assert f"soname: [{name}]" in run("readelf", "-d", BUILT / "libcoble.so").stdout
    assert (installed / "lib" / "libcoble.so").resolve() == (installed / "lib" / name).resolve()


def test_the_header_is_up_to_date() -> None:
    run(os.environ.get("CARGO", "cargo"), "run", "--quiet", "--locked", "-p", "coble-header", "--", "--check", cwd=ROOT)


def test_every_export_has_a_boundary() -> None:
    """No export without its guard against panics, and none that takes a reference."""
    found = []
    for path in sorted((ROOT / "ffi" / "src").glob("*.rs")):
        source = path.read_text()
        for match in re.finditer(r"#\[unsafe\(no_mangle\)\]\npub (?:unsafe )?extern \"C\" fn (\w+)\((.*?)\)(?: -> [^{]+)? \{\n(.*?)\n\}\n", source, re.DOTALL):
            name, parameters, body = match.groups()
            found.append(name)
            assert re.match(r"    boundary(_value)?!\(", body), f"{name} has no boundary"
            assert body.rstrip().endswith(")"), f"{name} does something outside of its boundary"
            assert "&" not in parameters, f"{name} takes a reference"
    assert sorted(found) == SYMBOLS


def test_cmake(installed: Path, tmp_path: Path) -> None:
    if shutil.which("cmake") is None:
        pytest.skip("needs cmake: the package cmake")
    (tmp_path / "CMakeLists.txt").write_text(
        "cmake_minimum_required(VERSION 3.16)\nproject(t C)\nfind_package(coble 0.1 REQUIRED)\nadd_executable(t t.c)\ntarget_link_libraries(t coble::coble)\n"
    )
    (tmp_path / "t.c").write_text((Path(__file__).parent / "test_version.c").read_text())
    (tmp_path / "check.h").write_text((Path(__file__).parent / "check.h").read_text())
    run("cmake", "-S", tmp_path, "-B", tmp_path / "build", f"-DCMAKE_PREFIX_PATH={installed}")
    run("cmake", "--build", tmp_path / "build")
    run(tmp_path / "build" / "t")


@pytest.mark.parametrize("source", EXAMPLES, ids=lambda path: path.name)
@pytest.mark.parametrize("compiler", COMPILERS)
def test_example(source: Path, compiler: str, installed: Path, store: list[str], tmp_path: Path) -> None:
    standards = ["c++17"] if source.suffix == ".cc" else ["c99", "c++17"]
    for standard in standards:
        as_cxx = ["-x", "c++"] if standard == "c++17" and source.suffix == ".c" else []
        front = {"gcc": "g++", "clang": "clang++"}[compiler] if standard == "c++17" else compiler
        run(
            front, f"-std={standard}", *CXX_WARNINGS, "-g", "-D_POSIX_C_SOURCE=200809L", *as_cxx, source, "-x", "none",
            "-o", tmp_path / "example", *flags(installed, "--cflags", "--libs"), f"-Wl,-rpath,{installed}/lib",
        )  # fmt: skip
        run(tmp_path / "example", *store)
    if compiler == "gcc":
        valgrind(tmp_path / "example", *store)
