"""The command's verbs for registries: docker's words, data on standard output, the rest on standard error, passwords that nobody sees, and what a terminal shows."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import signal
import subprocess
import termios
import threading
import time
from pathlib import Path
from typing import Any

import coble
import pytest
from conftest import Assets, Store
from helpers import eventually
from registry import content
from registry.debian import PASSWORD, USER, DebianRegistry
from registry.http import Exchange
from registry.own import BLOB, Registry
from test_command import COMMAND, Command

pytestmark = pytest.mark.usefixtures("home")
PLAIN = "--tls-verify=false"


@pytest.fixture
def own(store: Store, engine: coble.Engine) -> Command:
    """The command on a store of its own."""
    return Command(store)


def test_pull(own: Command, registry: Registry) -> None:
    made = content.small(layers=2)
    registry.put("team/image", "1", made)
    name = f"{registry.host}/team/image:1"
    done = own("pull", PLAIN, name)
    assert done.returncode == 0, done.stderr
    assert done.stdout.decode().splitlines() == [f"Digest: {made.digest}", f"Status: Downloaded newer image for {name}", name]
    lines = done.stderr.decode().splitlines()
    assert lines[0] == f"1: Pulling from {registry.host}/team/image"
    for layer in made.layers:
        short = layer[7:19]
        assert [line for line in lines if line.startswith(short)] == [f"{short}: Pulling fs layer", f"{short}: Download complete", f"{short}: Pull complete"]
    assert f"Status: Image is up to date for {name}" in own.good("pull", PLAIN, name)
    assert own.good("pull", "-q", PLAIN, name) == name + "\n"
    image = json.loads(own.good("pull", "--format", "json", PLAIN, name))
    assert image["digest"] == made.digest and image["references"] == [name]
    quiet = own("pull", "-q", PLAIN, "--policy", "missing", name)
    assert (quiet.stdout.decode(), quiet.stderr) == (name + "\n", b"")
    absent = own("pull", PLAIN, f"{registry.host}/team/absent")
    assert absent.returncode == 125 and absent.stdout == b"" and b"team/absent" in absent.stderr
    refused = own("pull", PLAIN, "--policy", "sometimes", name)
    assert refused.returncode == 125 and b"hint: " in refused.stderr


def test_all_tags(own: Command, engine: coble.Engine, debian: DebianRegistry, assets: Assets) -> None:
    repository = f"{debian.host}/command/tags"
    image = engine.images.import_rootfs(assets.busybox, f"{repository}:1")
    for name in (f"{repository}:2", "other:3"):
        engine.images.tag(image, name)
    assert own.good("push", "-a", "-q", PLAIN, repository).split() == [f"{repository}:1", f"{repository}:2"]
    own.good("rmi", f"{repository}:1", f"{repository}:2")
    assert own.good("pull", "-a", "-q", PLAIN, repository).split() == [f"{repository}:1", f"{repository}:2"]
    assert len(json.loads(own.good("pull", "-a", "--format", "json", PLAIN, repository))) == 2
    for verb in ("pull", "push"):
        assert b"exclude" in own(verb, "-a", PLAIN, f"{repository}:1").stderr
    assert own("push", "-a", PLAIN, f"{debian.host}/command/none").returncode == 125


def test_several_tags(own: Command, engine: coble.Engine, registry: Registry, assets: Assets) -> None:
    repository = f"{registry.host}/command/tags"
    image = engine.images.import_rootfs(assets.busybox, f"{repository}:1")
    pushed = own.good("push", PLAIN, "--tag", "1.0", "--tag", "latest", f"{repository}:1")
    assert [line.split(":")[0] for line in pushed.splitlines()] == ["1", "1.0", "latest"]
    assert sorted(tag for _, tag in registry.tags) == ["1", "1.0", "latest"]
    # Those of one image go together.
    engine.images.tag(image, f"{repository}:3")
    engine.images.import_rootfs(assets.busybox, f"{repository}:2", labels={"other": "image"})
    registry.forget()
    found = json.loads(own.good("push", "-a", "--format", "json", PLAIN, repository))
    assert [one["tags"] for one in found] == [["1", "3"], ["2"]]
    assert registry.count("PUT", r".*/manifests/.*") == 2
    assert own("push", "-a", "--tag", "x", PLAIN, repository).returncode == 125
    assert b"cannot be a tag" in own("push", PLAIN, "--tag", "a/b", f"{repository}:1").stderr


def test_compression_in_podmans_words(own: Command, engine: coble.Engine, registry: Registry, assets: Assets) -> None:
    name = f"{registry.host}/command/compressed:1"
    engine.images.import_rootfs(assets.busybox, name)
    sizes = []
    for level in ("1", "12"):
        pushed = json.loads(own.good("push", PLAIN, "--format", "json", "--compression-format", "zstd", "--compression-level", level, name))
        layer = json.loads(registry.manifests["command/compressed", pushed["digest"]][1])["layers"][0]
        assert layer["mediaType"].endswith("+zstd")
        sizes.append(layer["size"])
    assert sizes[1] < sizes[0]
    for words, said in ((["--compression-format", "zstd:chunked"], b"unknown compression"), (["--compression-level", "5"], b"level"), (["--compression", "gzip", "--compression-level", "10"], b"not from 1 to 9")):
        refused = own("push", PLAIN, *words, name)
        assert refused.returncode == 125 and said in refused.stderr


def test_what_registries_say_beside_their_answers(own: Command, registry: Registry, tmp_path: Path, home: Path) -> None:
    """It goes to standard error, and what is asked for stays as it is."""
    registry.put("team/image", "1", content.small())
    registry.extra_headers["Warning"] = '299 - "it closes on friday"'
    name = f"{registry.host}/team/image:1"
    said = f'warning: "{registry.host}" warns: it closes on friday\n'.encode()
    for words in (
        ["registry", "tags", PLAIN, f"{registry.host}/team/image"], ["registry", "catalog", PLAIN, registry.host], ["registry", "inspect", PLAIN, name],
        ["registry", "referrers", PLAIN, name], ["search", PLAIN, f"{registry.host}/team"], ["pull", "--dry-run", PLAIN, name],
        ["image", "lock", PLAIN, "-o", str(tmp_path / "lock"), name], ["pull", "-q", PLAIN, name], ["push", "-q", PLAIN, name], ["registry", "delete", PLAIN, name],
    ):
        done = own(*words)
        assert done.returncode == 0 and done.stderr == said and b"friday" not in done.stdout, (words, done)
    done = own("login", PLAIN, "-u", "me", "--password-stdin", registry.host, data=b"secret")
    assert done.returncode == 0 and said in done.stderr and done.stdout == b"Login Succeeded\n"
    registry.extra_headers.clear()
    registry.put("team/image", "1", content.small())
    registry.on("GET", r".*/tags/list.*", lambda exchange: exchange.reply(503, b"", {"Retry-After": "0"}), times=1)
    done = own("registry", "tags", PLAIN, f"{registry.host}/team/image")
    assert done.stdout == b"1\n" and b"503" in done.stderr and b"attempt 1" in done.stderr


def test_what_a_pull_would_fetch(own: Command, registry: Registry) -> None:
    made = content.small()
    registry.put("team/image", "1", made)
    name = f"{registry.host}/team/image:1"
    text = own.good("pull", "--dry-run", PLAIN, name)
    assert text.startswith("BLOB") and text.count("missing") == 3 and f"Digest: {made.digest}" in text
    plan = json.loads(own.good("pull", "--dry-run", "--format", "json", PLAIN, name))
    assert plan["missing_bytes"] == sum(map(len, made.blobs.values())) and registry.blob_requests() == {}


def test_run_pulls(own: Command, engine: coble.Engine, debian: DebianRegistry, assets: Assets, home: Path) -> None:
    (home / "config/containers").mkdir()
    (home / "config/containers/registries.conf").write_text(f'[[registry]]\nlocation = "{debian.host}"\ninsecure = true\n')
    name = f"{debian.host}/command/run:1"
    engine.images.import_rootfs(assets.busybox, name)
    assert re.fullmatch(r"1: digest: sha256:[0-9a-f]{64} size: \d+\n", own.good("push", name))
    engine.images.remove(name)
    done = own("run", "--rm", "--pull", "never", name, "true")
    assert done.returncode == 125 and b"command/run" in done.stderr
    done = own("run", "--rm", name, "echo", "here")
    assert done.stdout == b"here\n" and f"Unable to find image '{name}' locally".encode() in done.stderr and b"Status: Downloaded" in done.stderr
    for options in ([], ["--pull", "always", "-q"]):
        done = own("run", "--rm", *options, name, "echo", "here")
        # What the host does not have for every container is said in any case.
        assert done.stdout == b"here\n" and [line for line in done.stderr.splitlines() if not line.startswith(b"warning: ")] == []
    assert b"Status: Image is up to date" in own("create", "--pull", "newer", "--name", "made", name, "true").stderr
    own.good("rm", "made")


def test_push_copy_and_look(own: Command, engine: coble.Engine, debian: DebianRegistry, assets: Assets) -> None:
    name, copy = f"{debian.host}/command/image:1", f"{debian.host}/command/copy:2"
    image = engine.images.import_rootfs(assets.busybox, name)
    done = own("push", PLAIN, name)
    assert done.returncode == 0 and re.fullmatch(rf"1: digest: {image.digest} size: \d+\n", done.stdout.decode())
    assert done.stderr.decode().count(": Pushed\n") == 2
    again = own("push", PLAIN, name)
    assert again.stderr.decode().count(": Layer already exists\n") == 2
    assert json.loads(own.good("push", PLAIN, "--format", "json", name))["blobs_present"] == 2
    assert own.good("push", "-q", PLAIN, name) == name + "\n"
    assert own.good("image", "copy", "-q", "--src-tls-verify=false", "--dest-tls-verify=false", name, copy) == copy + "\n"
    assert own.good("registry", "tags", PLAIN, f"{debian.host}/command/copy") == "2\n"
    assert "command/copy\n" in own.good("registry", "catalog", PLAIN, debian.host)
    assert json.loads(own.good("registry", "tags", PLAIN, "--format", "json", f"{debian.host}/command/copy")) == ["2"]
    found = json.loads(own.good("registry", "inspect", PLAIN, copy))
    assert (found["digest"], found["reference"]) == (image.digest, copy)
    assert own.good("registry", "referrers", PLAIN, copy).split() == ["DIGEST", "ARTIFACT", "TYPE", "MEDIA", "TYPE", "SIZE"]
    digest = f"{debian.host}/command/copy@{image.digest}"
    assert own.good("registry", "delete", PLAIN, digest) == f"Deleted: {digest}\n"
    assert own("registry", "inspect", PLAIN, digest).returncode == 125


@pytest.mark.once
def test_every_tag_is_copied(own: Command, registry: Registry) -> None:
    made = {tag: content.small(tag) for tag in ("1", "2")}
    for tag, one in made.items():
        registry.put("team/image", tag, one)
    source, target, plain = f"{registry.host}/team/image", f"{registry.host}/there/copy", ["--src-tls-verify=false", "--dest-tls-verify=false"]
    assert own.good("image", "copy", "-aq", *plain, source, target) == f"{target}:1\n{target}:2\n"
    assert {tag: registry.tags["there/copy", tag] for tag in made} == {tag: one.digest for tag, one in made.items()}
    found = json.loads(own.good("image", "copy", "-a", "--format", "json", *plain, source, target))
    assert [one["reference"] for one in found] == [f"{target}:1", f"{target}:2"]
    assert own("image", "copy", "-a", *plain, f"{source}:1", target).returncode == 125


def test_lock_files(own: Command, registry: Registry, tmp_path: Path) -> None:
    old, new = content.small("old"), content.small("new")
    registry.put("team/image", "1", old)
    name, lock = f"{registry.host}/team/image:1", str(tmp_path / "coble.lock")
    assert own.good("image", "lock", PLAIN, "-o", lock, name).split() == ["NAME", "DIGEST", name, old.digest]
    assert own.good("pull", "-q", PLAIN, "--lock", lock, name) == name + "\n"
    registry.put("team/image", "1", new)
    for arguments in (["pull", PLAIN, "--lock", lock, name], ["--lock-file", lock, "pull", PLAIN, name]):
        done = own(*arguments)
        assert done.returncode == 125 and old.digest.encode() in done.stderr and new.digest.encode() in done.stderr
    assert json.loads(own.good("image", "lock", PLAIN, "-o", lock, "--format", "json", name)) == [{"reference": name, "digest": new.digest}]


def test_search(own: Command, registry: Registry) -> None:
    results = [{"name": "team/tool", "description": "d" * 60, "star_count": 7, "is_official": False, "is_automated": False},
               {"name": "tool", "description": "official", "star_count": 3, "is_official": True, "is_automated": False}]  # fmt: skip
    registry.on("GET", r"/v1/search.*", lambda exchange: exchange.reply(200, json.dumps({"results": results}).encode(), {"Content-Type": "application/json"}))
    lines = own.good("search", PLAIN, f"{registry.host}/tool").splitlines()
    assert lines[0].split() == ["NAME", "DESCRIPTION", "STARS", "OFFICIAL"]
    assert "d" * 44 + "…" in lines[1] and lines[2].endswith("[OK]")
    assert "d" * 60 in own.good("search", "--no-trunc", PLAIN, f"{registry.host}/tool")
    assert len(json.loads(own.good("search", "--format", "json", PLAIN, f"{registry.host}/tool"))) == 2


# --- passwords ------------------------------------------------------------------------------------------------------


def test_login_and_logout(own: Command, debian_basic: DebianRegistry, cert_dir: Path, home: Path) -> None:
    host, trust = debian_basic.host, ["--cert-dir", str(cert_dir)]
    assert own("registry", "catalog", *trust, host).returncode == 125
    wrong = own("login", *trust, "-u", USER, "--password-stdin", host, data=b"wrong\n")
    assert wrong.returncode == 125 and wrong.stdout == b"" and b"wrong" not in wrong.stderr
    done = own("login", *trust, "-u", USER, "--password-stdin", host, data=f"{PASSWORD}\n".encode())
    assert (done.returncode, done.stdout) == (0, b"Login Succeeded\n"), done.stderr
    assert b"unencrypted" in done.stderr and PASSWORD.encode() not in done.stderr
    assert own.good("registry", "catalog", *trust, host) == "" or True
    assert own("registry", "catalog", *trust, host).returncode == 0
    assert own.good("logout", host) == f"Removing login credentials for {host}\n"
    assert own.good("logout", host) == f"Not logged in to {host}\n"
    assert own("registry", "catalog", *trust, "--creds", f"{USER}:{PASSWORD}", host).returncode == 0
    seen = own("login", *trust, "-u", USER, "-p", PASSWORD, "--authfile", str(home / "other.json"), host)
    assert seen.returncode == 0 and b"--password-stdin" in seen.stderr and (home / "other.json").exists()
    assert json.loads((home / "other.json").read_text())["auths"]
    for arguments in (["login", host], ["login", "-u", USER, host], ["login", "--password-stdin", host], ["pull", "--creds", USER, f"{host}/x"]):
        refused = own(*arguments)
        assert refused.returncode == 125 and b"hint: " in refused.stderr, arguments


def test_tokens_of_files_and_mirrors(own: Command, registry: Registry, tmp_path: Path) -> None:
    """What would be seen in the list of processes is in a file, or comes from standard input."""
    registry.put("team/image", "1", content.small())

    def allowed(exchange: Exchange) -> bool:
        if exchange.headers.get("authorization") == "Bearer the-token":
            return False
        exchange.reply(401, b"", {"WWW-Authenticate": f'Bearer realm="http://{registry.host}/token"'})
        return True

    registry.on("GET|HEAD", r"/v2/.*", allowed)
    name, token = f"{registry.host}/team/image", tmp_path / "token"
    token.write_text("the-token\n")
    assert own.good("registry", "tags", PLAIN, "--registry-token-file", str(token), name) == "1\n"
    assert own("registry", "tags", PLAIN, "--registry-token-file", "-", name, data=b"the-token").stdout == b"1\n"
    assert own("registry", "tags", PLAIN, "--identity-token-file", str(token), name).returncode == 125
    assert own("registry", "tags", PLAIN, "--creds", "a:b", "--registry-token-file", str(token), name).returncode != 0
    token.write_text("")
    assert b"hint: " in own("registry", "tags", PLAIN, "--registry-token-file", str(token), name).stderr
    other = own("--registry-mirror", f"docker.io=http://{registry.host}", "--connect-timeout", "5", "--idle-timeout", "5", "registry", "tags", "team/image")
    assert other.returncode == 125 and registry.host.encode() in other.stderr
    assert own("--connect-timeout", "0", "registry", "tags", name).returncode == 125


class Terminal:
    """A command on a terminal of its own, and what that showed."""

    def __init__(self, own: Command, *arguments: str) -> None:
        where = ["--data-root", str(own.store.data_root), "--run-root", str(own.store.run_root)]
        self.master, slave = pty.openpty()
        self.process = subprocess.Popen([*COMMAND, *where, *arguments], stdin=slave, stdout=subprocess.PIPE, stderr=slave, start_new_session=True, env={**os.environ, "TERM": "xterm"})
        os.close(slave)
        self.shown = b""

    def read(self, seconds: float) -> bool:
        """Some more of what it shows. False when nothing comes, and when nobody has the terminal any more."""
        try:
            data = os.read(self.master, 65536) if select.select([self.master], [], [], seconds)[0] else b""
        except OSError:
            return False
        self.shown += data
        return bool(data)

    def until(self, text: bytes) -> None:
        eventually(lambda: text in self.shown or (self.read(0.1) and text in self.shown), f"{text!r} on the terminal")

    def until_hidden(self) -> None:
        """Until what is typed is not shown: what came before may be shown, and is thrown away."""
        self.until(b"Password: ")
        eventually(lambda: not termios.tcgetattr(self.master)[3] & termios.ECHO, "a terminal that shows nothing")

    def type(self, text: bytes) -> None:
        os.write(self.master, text)

    def end(self) -> tuple[int, bytes]:
        assert self.process.stdout is not None
        # To its end, so that it is not held up by what nobody reads.
        while self.read(60):
            pass
        out = self.process.stdout.read()
        status = self.process.wait(30)
        os.close(self.master)
        self.process.stdout.close()
        return status, out


def test_a_password_is_typed_unseen(own: Command, debian_basic: DebianRegistry, cert_dir: Path) -> None:
    terminal = Terminal(own, "login", "--cert-dir", str(cert_dir), debian_basic.host)
    terminal.until(b"Username: ")
    terminal.type(USER.encode() + b"\n")
    terminal.until_hidden()
    terminal.type(b"wrong\x15" + PASSWORD.encode() + b"x\x7f\n")
    status, out = terminal.end()
    assert (status, out) == (0, b"Login Succeeded\n"), terminal.shown
    assert PASSWORD.encode() not in terminal.shown and b"wrong" not in terminal.shown
    # Ctrl-C, and the terminal is as it was.
    terminal = Terminal(own, "login", "-u", USER, debian_basic.host)
    terminal.until_hidden()
    terminal.type(b"sec\x03")
    status, out = terminal.end()
    assert status == 125 and out == b"" and b"sec" not in terminal.shown


# --- what a terminal shows ------------------------------------------------------------------------------------------


def test_bars(own: Command, registry: Registry) -> None:
    made = content.small(layers=2, size=300_000)
    registry.put("team/image", "1", made)
    gate = threading.Event()

    def slowly(exchange: Exchange) -> Any:
        if exchange.url_path.rsplit("/", 1)[1] in made.layers:
            gate.wait(20)
        return False

    registry.on("GET", BLOB, slowly)
    terminal = Terminal(own, "pull", PLAIN, f"{registry.host}/team/image:1")
    terminal.until(made.layers[0][7:19].encode() + b": Downloading")
    gate.set()
    status, out = terminal.end()
    assert status == 0 and b"Status: Downloaded" in out
    for layer in made.layers:
        assert layer[7:19].encode() + b": Pull complete" in terminal.shown


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_pull(own: Command, registry: Registry, engine: coble.Engine, number: signal.Signals) -> None:
    made = content.small(size=100_000)
    registry.put("team/image", "1", made)
    arrived = threading.Event()

    def hang(exchange: Exchange) -> None:
        data = registry.blobs[exchange.url_path.rsplit("/", 1)[1]]
        exchange.begin(200, {}, len(data))
        exchange.chunk(data[:10])
        arrived.set()
        exchange.pause(60)

    registry.on("GET", BLOB, hang)
    process = own.popen("pull", PLAIN, f"{registry.host}/team/image:1")
    assert arrived.wait(30)
    begin = time.monotonic()
    process.send_signal(number)
    out, _ = process.communicate(timeout=30)
    assert time.monotonic() - begin < 5
    assert (process.returncode, out) == (128 + number, b"")
    assert engine.images.list() == [] and engine.verify() == []
