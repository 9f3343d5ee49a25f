"""What README.md and docs/ show, executed as it stands there: in a store of its own, at the place where the default one is.

    tests/docs/run        builds the library, and calls pytest with this file
"""

from __future__ import annotations

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


def test_readme(shown: Shown) -> None:
    (python,) = blocks("README.md", "python")
    lines = shown.python(python).splitlines()
    assert lines[0] == "0 b'hello\\nworld\\n'" and lines[2] == "filter" and re.fullmatch(r"b'[0-9a-f]{12}\\n'", lines[1]), lines
    (block,) = blocks("README.md", "c")
    assert shown.c(block) == "hello\n"
    make, shell = blocks("README.md", "shell")
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
    whole, kept, verbs, mounts, secrets, root, hooks, terminal, health, events, images, store, progress = blocks("docs/python.md", "python")
    assert shown.python(whole).startswith("filter ")
    save(shown)
    opened = "import coble\nengine = coble.Engine()\n"
    shown.python(opened + kept)
    # As the page says: a user may have no freezer, and no limits either.
    if os.geteuid() == 0:
        shown.python(opened + verbs)
    shown.python(opened + mounts)
    shown.python(opened + secrets)
    roots(shown)
    shown.python(opened + root + 'assert engine.run(bundle="bundle").stdout == b"of a bundle\\n"\n')
    shown.python(opened + hooks)
    running = "container = running = engine.containers.create('demo', ['sleep', '600'])\nrunning.start()\n"
    shown.python(opened + running + terminal + "running.remove(force=True)\n")
    shown.python(opened + health)
    # The part that waits for what is to come gets something to see, and ends with it.
    later = "import threading, time\nthreading.Timer(1, lambda: engine.run('demo', ['sh', '-c', 'exit 3'])).start()\n"
    told = 'event.attributes["exitCode"]\n'
    assert events.count(told) == 1
    shown.python(opened + later + events.replace(told, told + "        break\n"))
    shown.python(opened + images)
    # What the last part is about: two images with a shell, and an archive of one.
    shown.python(
        opened + "engine.images.from_host(['sh', 'cat', '/etc/passwd'], 'app:1')\n"
        "engine.images.from_host(['sh', 'cat', '/etc/passwd'], 'debian:12')\n"
        "engine.images.save(['app:1'], 'multi.tar')\n"
    )
    trees(shown)
    shown.python(opened + store)
    assert "\nread 0 " in shown.python(opened + progress)
    shown.shell("coble rm $(coble ps -aq)")


def test_c(shown: Shown) -> None:
    shown.python("import coble; coble.Engine().images.from_host(['sh', 'cat', 'sleep'], 'demo')")
    run, details, load = blocks("docs/c.md", "c")
    assert shown.c(run, OPENED) == "hello"
    save(shown)
    _, show = blocks("docs/registries.md", "c")
    assert "read 0 of " in shown.c(load, OPENED, show)
    assert re.match(r"process \d+, seccomp filter\n", shown.c(details + "  coble_engine_close(engine);\n", STARTED))


def test_cli(shown: Shown) -> None:
    save(shown)
    trees(shown)
    roots(shown)
    (examples,) = blocks("docs/cli.md", "shell")
    # Those for a terminal get one, and somebody who leaves at once.
    examples = re.sub(r"^(coble \w+ -it [^#\n]*?)\s*(#.*)?$", r"script -qec '\1' /dev/null <<< exit", examples, flags=re.MULTILINE)
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
    pull, push, progress, beside, knowing, locked, without, looked = parts("python")
    digest, missing, present = shown.python(pull).split()
    assert digest.startswith("sha256:") and (int(missing), int(present) > 0) == (0, True)
    opened = "import coble\nengine = coble.Engine()\n"
    assert len(shown.python("import coble\n" + push).split()) == 4
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


def test_every_verb_has_help_and_is_in_the_documentation(shown: Shown) -> None:
    table = (ROOT / "docs" / "cli.md").read_text()
    text = shown.shell("coble --help")
    verbs = re.findall(r"^  ([a-z-]+) {2,}\S", text.split("Commands:")[1].split("Options:")[0], re.MULTILINE)
    assert len(verbs) > 20
    for verb in verbs:
        if verb != "help":
            assert "Usage: coble " in shown.shell(f"coble {verb} --help"), verb
            assert re.search(rf"\b{verb}\b", table), f"docs/cli.md does not have {verb}"
