"""What README.md and docs/ show, executed as it stands there: in a store of its own, at the place where the default one is.

    tests/docs/run        builds the library, and calls pytest with this file
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "tests" / "python"))

from registry.debian import DebianRegistry, program  # noqa: E402

BUILT = Path(os.environ.get("COBLE_BUILT", ROOT / "target" / "debug"))
#: The default places of a store of root.
PLACES = [Path("/var/lib/coble"), Path("/run/coble")]

CONTEXT = """\
#include <stdio.h>
#include <string.h>
#include <coble/coble.h>
%s
int main(void) {
%s
  return 0;
}
"""
OPENED = """\
  coble_engine_t *engine = NULL;
  if (coble_engine_open(NULL, &engine, NULL) != COBLE_OK)
    return 1;
"""
STARTED = OPENED + """\
  static const char *const sleep_[] = {"sleep", "600"};
  coble_container_spec_t *spec_ = NULL;
  coble_container_t *container = NULL;
  if (coble_container_spec_new("demo", &spec_, NULL) != COBLE_OK ||
      coble_container_spec_set_command(spec_, sleep_, 2, NULL) != COBLE_OK ||
      coble_container_spec_set_lifetime(spec_, COBLE_LIFETIME_SESSION, NULL) != COBLE_OK ||
      coble_container_create(engine, spec_, &container, NULL) != COBLE_OK ||
      coble_container_start(container, NULL, NULL, NULL) != COBLE_OK)
    return 1;
"""
#: Somebody who pastes what a file has into Python, line by line. The first error is the end.
PASTE = """
import code, sys
class Console(code.InteractiveConsole):
    def showtraceback(self, *rest, **more):
        super().showtraceback(*rest, **more)
        raise SystemExit(1)
    def showsyntaxerror(self, *rest, **more):
        super().showsyntaxerror(*rest, **more)
        raise SystemExit(1)
console = Console()
for line in open(sys.argv[1]).read().split(chr(10)):
    more = console.push(line)
assert not more, "something is not complete"
"""
#: What README.md calls alpine and python:3.12: images of this machine, since a registry is not asked.
STAND_INS = """
import pathlib, shutil, sys, sysconfig, coble
library = pathlib.Path(sysconfig.get_path("stdlib"))
shutil.copytree(library, "modules", ignore=shutil.ignore_patterns("site-packages", "test", "config-*", "__pycache__"))
with coble.Engine() as engine:
    engine.images.from_host(["sh", "echo"], "alpine", command=["sh"])
    engine.images.from_host([(pathlib.Path(sys.executable).resolve(), "/usr/bin/python"), (pathlib.Path("modules").resolve(), f"/usr/lib/{library.name}")], "python:3.12")
"""


def blocks(document: str, language: str) -> list[str]:
    """The fenced blocks of a language; for the shell, the indented ones."""
    text = (ROOT / document).read_text()
    if language == "shell":
        return [re.sub("^    ", "", block, flags=re.MULTILINE) for block in re.findall(r"(?:^    .*\n)+", re.sub("```.*?```", "", text, flags=re.DOTALL), re.MULTILINE)]
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


class Shown:
    """Runs things in a folder, with a store where the default one would be."""

    def __init__(self, folder: Path, installed: Path) -> None:
        self.folder = folder
        self.installed = installed
        self.work = folder / "work"
        self.roots = [folder / "data", folder / "run"]
        for path in (self.work, *self.roots):
            path.mkdir()
        self.environment = {
            **os.environ,
            "HOME": str(folder),
            "XDG_CONFIG_HOME": str(folder / ".config"),
            "XDG_DATA_HOME": str(folder / "data"),
            "XDG_RUNTIME_DIR": str(folder / "run"),
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "PKG_CONFIG_PATH": str(installed / "lib" / "pkgconfig"),
            "LD_LIBRARY_PATH": str(installed / "lib"),
        }

    def __call__(self, *command: str, data: bytes = b"") -> str:
        prefix: list[str] = []
        if os.geteuid() == 0:
            script = 'mount --bind "$1" "$2" && mount --bind "$3" "$4" && shift 4 && exec "$@"'
            pairs = [str(path) for pair in zip(self.roots, PLACES, strict=True) for path in pair]
            prefix = ["unshare", "--mount", "sh", "-c", script, "sh", *pairs]
        done = subprocess.run([*prefix, *command], input=data, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd=self.work, env=self.environment, timeout=120)
        assert done.returncode == 0, f"{command}\n{done.stdout.decode()}"
        return done.stdout.decode()

    def python(self, code: str) -> str:
        return self(sys.executable, "-c", code)

    def pasted(self, blocks: list[str]) -> str:
        """Blocks of Python, one after the other into the same session, with nothing before them."""
        (self.work / "pasted").write_text("\n".join(f"{block}\n" for block in blocks))
        return self(sys.executable, "-c", PASTE, "pasted")

    def shell(self, script: str) -> str:
        return self("bash", "-e", "-o", "pipefail", "-c", script)

    def c(self, block: str, before: str = "", functions: str = "") -> str:
        (self.work / "program.c").write_text(CONTEXT % (functions, before + block))
        flags = "-std=c99 -Wall -Wextra -Werror -Wno-missing-field-initializers"
        # As docs/c.md has it, but for the warnings.
        (compile_it,) = [line for line in "".join(blocks("docs/c.md", "shell")).splitlines() if line.startswith("cc ")]
        self.shell(f"{compile_it.replace('cc ', f'cc {flags} ', 1)} && test -x a.out")
        return self("./a.out")


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    prefix = tmp_path_factory.mktemp("installed")
    subprocess.run([ROOT / "ffi" / "pkg" / "install", BUILT, prefix], check=True, stdout=subprocess.PIPE)
    return prefix


@pytest.fixture
def shown(tmp_path: Path, installed: Path) -> Iterator[Shown]:
    made = []
    if os.geteuid() == 0:
        for place in PLACES:
            if not place.exists():
                place.mkdir(mode=0o700)
                made.append(place)
    shown = Shown(tmp_path, installed)
    # What the examples call image.tar, rootfs.tar and so on.
    (shown.work / "app").mkdir()
    (shown.work / "app" / "main.py").write_text("print('app')\n")
    (shown.work / "file").write_text("from the file\n")
    with tarfile.open(shown.work / "rootfs.tar", "w") as tar:
        tar.add(shown.work / "file", "etc/file")
    shown.shell("gzip -k rootfs.tar && zstd -q -k rootfs.tar")
    yield shown
    assert shown.shell("coble ps -aq") == ""
    assert shown.shell("coble verify") == ""
    for place in made:
        place.rmdir()


def save(shown: Shown) -> None:
    """An OCI layout, which is what the store's content is."""
    shown.shell("coble image from-host -t saved true")
    content = next(path for path in (shown.roots[0] / "content", shown.roots[0] / "coble" / "content") if path.exists())
    with tarfile.open(shown.work / "image.tar", "w") as tar:
        for name in ("oci-layout", "index.json", "blobs"):
            tar.add(content / name, name)


def at_a_terminal(script: str) -> str:
    """Commands for a terminal get one, and somebody who leaves at once."""
    return re.sub(r"^(coble \w+ -it [^#\n]*?)\s*(#.*)?$", r"script -qec '\1' /dev/null <<< exit", script, flags=re.MULTILINE)


def test_readme(shown: Shown) -> None:
    shown.environment["COBLE_OFFLINE"] = "1"
    shown.python(STAND_INS)
    (shown.work / "test_it.py").write_text("import os, unittest\nclass Tests(unittest.TestCase):\n    def test(self): self.assertEqual(os.environ['CI'], '1')\n")
    first, python = blocks("README.md", "python")
    assert "Ran 1 test" in shown.python(first)
    lines = shown.python(python).splitlines()
    assert lines[0] == "0 b'hello\\nworld\\n'" and lines[2] == "filter" and re.fullmatch(r"b'[0-9a-f]{12}\\n'", lines[1]), lines
    (block,) = blocks("README.md", "c")
    assert shown.c(block) == "hello\n"
    (block,) = blocks("python/README.md", "python")
    assert shown.python(block) == "0 b'hello\\n'\n"
    begin, make, shell = blocks("README.md", "shell")
    assert begin.count("coble run ") == 3
    out = shown.shell(at_a_terminal(begin))
    assert "hi\n" in out and "Ran 1 test" in out, out
    assert [line.split("#")[0].strip() for line in make.splitlines()] == ["make quickstart", "make test"]
    save(shown)
    out = shown.shell(shell)
    for expected in ("bin\n", "worker", "Loaded image: docker.io/library/", "Usage: coble inspect", "overlay"):
        assert expected in out, out


def trees(shown: Shown) -> None:
    """The files that the examples copy."""
    for name in ("site", "data"):
        (shown.work / name).mkdir(exist_ok=True)
        (shown.work / name / "index.html").write_text("hello")
    shown.shell("tar c data | zstd -q > data.tar.zst")


def roots(shown: Shown) -> None:
    """A directory that can be a container's root, and a bundle that has it."""
    place = shown.work / "rootfs" / "bin"
    place.mkdir(parents=True)
    for name in ("sh", "cat"):
        shutil.copy("/bin/busybox", place / name)
    process = {"args": ["sh", "-c", "echo of a bundle"], "env": ["PATH=/bin"], "cwd": "/"}
    config = {"ociVersion": "1.2.0", "process": process, "root": {"path": "rootfs"}, "linux": {"namespaces": [{"type": kind} for kind in ("pid", "ipc", "uts", "mount", "network")]}}
    (shown.work / "bundle").mkdir()
    (shown.work / "bundle" / "config.json").write_text(json.dumps(config))
    shutil.copytree(shown.work / "rootfs", shown.work / "bundle" / "rootfs")


def test_python(shown: Shown) -> None:
    """As the page says: in an empty folder, one block after the other, with nothing of ours before them."""
    shown.work = shown.folder / "empty"
    shown.work.mkdir()
    out = shown.pasted(blocks("docs/python.md", "python"))
    for expected in ("filter [", "(b'over real pipes', None)", "b'ready\\n'", "50 132\\r\\n", "healthy 0", " die ", "b'of the app'", "read 0 ", "CommandNotFound"):
        assert expected in out, out
    assert shown.shell("coble images -q") == ""


def test_c(shown: Shown) -> None:
    shown.python("import coble; coble.Engine().images.from_host(['sh', 'cat', 'sleep'], 'demo')")
    run, options, volumes, details, load = blocks("docs/c.md", "c")
    assert shown.c(run) == "hello"
    assert shown.c(options + "  coble_engine_close(engine);\n", OPENED) == ""
    assert shown.c(volumes + "  coble_engine_close(engine);\n", OPENED) == ""
    save(shown)
    _, show = blocks("docs/registries.md", "c")
    assert "read 0 of " in shown.c(load, OPENED, show)
    assert re.match(r"process \d+, seccomp filter\n", shown.c(details + "  coble_engine_close(engine);\n", STARTED))


def test_cli(shown: Shown) -> None:
    save(shown)
    trees(shown)
    roots(shown)
    (examples,) = blocks("docs/cli.md", "shell")
    examples = at_a_terminal(examples)
    assert examples.count("script -qec") == 2
    out = shown.shell(examples)
    assert "seen by nobody else\nof a bundle\nhi\nfrom the file\n" in out and '"name": "worker"' in out, out
    shown.shell("coble rm -f worker")


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[str]:
    """What the page calls localhost:5000."""
    if program() is None:
        pytest.skip("needs docker-registry: the package docker-registry")
    made = DebianRegistry(tmp_path / "registry")
    yield f"localhost:{made.port}"
    made.close()


def test_registries(shown: Shown, registry: str) -> None:
    def parts(language: str) -> list[str]:
        return [block.replace("localhost:5000", registry) for block in blocks("docs/registries.md", language)]

    settings, _ = parts("toml")
    (shown.folder / ".config" / "containers").mkdir(parents=True)
    (shown.folder / ".config" / "containers" / "registries.conf").write_text(settings)
    shown.shell(f"coble image from-host -t {registry}/demo:1 sh true && coble push -q {registry}/demo:1 && coble rmi {registry}/demo:1")
    # Those of the first part are for a registry that there is not.
    _, lock, offline, look = parts("shell")
    pull, push, elsewhere, progress, beside, knowing, locked, without, looked = parts("python")
    digest, missing, present = shown.python(pull).split()
    assert digest.startswith("sha256:") and (int(missing), int(present) > 0) == (0, True)
    opened = "import coble\nengine = coble.Engine()\n"
    said = shown.python("import coble\n" + push).split()
    assert len(said) == 5 and said[4] == "application/vnd.docker.distribution.manifest.v2+json", said
    shown.python(opened + elsewhere)
    assert "done " in shown.python(opened + progress)
    # Debian's registry has nothing to say.
    assert shown.python(opened + beside) == ""
    assert "'1'" in shown.python("import coble\n" + knowing)
    call, show = parts("c")
    assert "done " in shown.c(call, OPENED, show)
    out = shown.shell(lock)
    assert digest in out and "Status: Image is up to date" in out, out
    shown.python(opened + locked)
    assert "Image is up to date" in shown.shell(offline)
    shown.python("import coble\n" + without)
    out = shown.shell(look)
    assert "copies/demo" in out and digest in out, out
    assert digest in shown.python(opened + looked)


def test_testing(shown: Shown, registry: str) -> None:
    """The page's code is that of examples/python, which is executed."""
    folder = ROOT / "examples" / "python"
    there = shown.work / "examples" / "python"
    there.mkdir(parents=True)
    code = ""
    for name in ("conftest.py", "test_server.py"):
        shutil.copy(folder / name, there)
        code += (folder / name).read_text()
    *parts, offline = blocks("docs/testing.md", "python")
    assert [part for part in parts if part not in code] == []
    all_of_them, keep, lock = blocks("docs/testing.md", "shell")
    options = "-p no:cacheprovider"
    shown.environment |= {"PYTHONDONTWRITEBYTECODE": "1", "COBLE_OFFLINE": "1", "PYTEST_ADDOPTS": options}
    if importlib.util.find_spec("xdist"):
        shown.environment["PYTEST_ADDOPTS"] = f"{options} -n 2"
    assert "4 passed" in shown.shell(all_of_them)
    shown.environment["PYTEST_ADDOPTS"] = options
    (there / "test_server.py").write_text("def test(start):\n    start(['python3', '-c', 'print(5)']).wait()\n    assert False\n")
    kept = re.search(r"^kept (\S+): (coble) exec", shown.shell(f"cd examples/python; ! {keep.strip()}"), re.MULTILINE)
    assert kept and shown.shell(f"{kept[2]} logs {kept[1]}") == "5\n"
    shown.shell(f"coble rm {kept[1]}")

    del shown.environment["COBLE_OFFLINE"]
    configuration = shown.folder / ".config" / "containers"
    configuration.mkdir(parents=True)
    (configuration / "registries.conf").write_text(f'[[registry]]\nlocation = "{registry}"\ninsecure = true\n')
    image = f"{registry}/demo:1"
    shown.shell(f"coble image from-host -t {image} sh true && coble push -q {image} && coble rmi {image}")
    shown.shell(lock.replace("localhost:5000", registry))
    shown.python("import coble\n" + offline.replace("localhost:5000", registry))


def test_troubleshooting(shown: Shown) -> None:
    demo = "import coble; coble.Engine().images.from_host(['sh', 'cat'], 'demo')"
    shown.python(demo)
    failed, look, clean, everything = blocks("docs/troubleshooting.md", "shell")
    out = shown.shell(failed)
    for expected in ("exit status 3\n", "no settings\n", '"ExitCode": 3', " container die ", "A /state", "half\n", "bin/sh\n"):
        assert expected in out, out
    doctor, error, dead = blocks("docs/troubleshooting.md", "python")
    shown.python(doctor)
    assert shown.python("import coble\n" + error).startswith("ImageNotFound\n")
    assert "b'half\\n'" in shown.python("import coble\n" + dead)
    assert "Error" not in shown.shell(at_a_terminal(look))
    shown.shell(clean)
    shown.python(demo)
    shown.shell("coble run -d demo cat")
    shown.shell(everything)
    assert shown.shell("coble images -aq") == ""


def test_rootless(shown: Shown) -> None:
    shown.environment["COBLE_OFFLINE"] = "1"
    shown.shell(f"coble image from-host -t demo sh true cat id; coble tag demo alpine; coble image from-host -t outer sh echo {shown.installed}/bin/coble:/usr/bin/coble")
    (python,) = blocks("docs/rootless.md", "python")
    assert "mem_limit 67108864 " in shown.python(python)
    own, limits, inside = blocks("docs/rootless.md", "shell")
    # Root's ids are those of the host.
    told = shown.shell(own).split()
    assert "uid=4000(4000)" in told and told[-6:] == ["0", "1", "1000", "1000", "0", "1"]
    # There need be no systemd here.
    assert limits.count("systemd-run --user --scope -p Delegate=yes ") == 2
    (shown.work / "program.py").write_text(python)
    shown.shell(limits.replace("systemd-run --user --scope -p Delegate=yes ", ""))
    # What docker is told is told to coble.
    for line in inside.replace("docker run", "coble run").splitlines():
        options, command = line.split(" IMAGE ")
        assert "\nhi\n" in shown.shell(f"{options} outer sh -c 'coble image from-host -q -t alpine sh echo && {command}'")


def test_the_tests_that_security_names_are_there() -> None:
    file, found = "", 0
    for name in re.findall(r"`((?:core|tests)/[\w/.]*?\.(?:py|rs)(?:::\w+)?|::\w+)`", (ROOT / "SECURITY.md").read_text()):
        path, _, test = name.partition("::")
        file = path or file
        assert not test or re.search(rf"^(async )?def {test}\(", (ROOT / file).read_text(), re.M), f"{file}::{test}"
        assert (ROOT / file).is_file(), file
        found += 1
    assert found > 50


def test_links_lead_somewhere() -> None:
    """Those from page to page, to the headline too."""
    pages = [ROOT / "README.md", ROOT / "SECURITY.md", *sorted((ROOT / "docs").glob("*.md"))]
    headlines = {page: [re.sub(r"[^\w\- ]", "", line.lower()).replace(" ", "-") for line in re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)] for page in pages}
    for page in pages:
        for path, headline in re.findall(r"\]\((?!https?:)([^)#\s]*)(?:#([^)\s]+))?\)", page.read_text()):
            target = (page.parent / path).resolve() if path else page
            assert target.exists(), f"{page}: {path}"
            assert not headline or headline in headlines[target], f"{page}: {path}#{headline}"


def test_every_verb_has_help_and_is_in_the_documentation(shown: Shown) -> None:
    table = (ROOT / "docs" / "cli.md").read_text()
    text = shown.shell("coble --help")
    verbs = re.findall(r"^  ([a-z-]+) {2,}\S", text.split("Commands:")[1].split("Options:")[0], re.MULTILINE)
    assert len(verbs) > 20
    for verb in verbs:
        if verb != "help":
            assert "Usage: coble " in shown.shell(f"coble {verb} --help"), verb
            assert re.search(rf"\b{verb}\b", table), f"docs/cli.md does not have {verb}"
