"""Other tools and coble on one registry: what one pushes the other pulls and runs, and digests survive."""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import archives
import coble
import pytest
from conftest import CGROUPS, Assets, Store
from helpers import sh
from registry import content
from registry.debian import PASSWORD, USER, DebianRegistry

pytestmark = pytest.mark.usefixtures("home")


def needs(program: str) -> str:
    path = shutil.which(program)
    if path is None:
        pytest.skip(f"needs {program}")
    return path


def run(*command: object, **options: Any) -> str:
    done = subprocess.run([str(word) for word in command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, **options)
    assert done.returncode == 0, f"{command}: {done.stderr.decode()}"
    return done.stdout.decode()


@pytest.fixture(autouse=True)
def config(home: Path) -> None:
    """Podman and buildah want the file that the environment names to be there."""
    (home / "docker/config.json").write_text("{}")


@pytest.fixture(scope="session")
def tools(workplace: Path) -> Iterator[Any]:
    """Podman and buildah with a store of the tests, which they share."""
    place = workplace / "tools"

    def command(program: str, *words: object) -> list[object]:
        return [needs(program), "--root", place / "root", "--runroot", place / "run", "--storage-driver", "vfs", *words]

    yield command
    for program, words in (("buildah", ["rm", "--all"]), ("podman", ["rmi", "--all", "--force"])):
        if shutil.which(program) and place.exists():
            subprocess.run([str(word) for word in command(program, *words)], check=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    shutil.rmtree(place, ignore_errors=True)


def podman_run(tools: Any, image: str, *command: str) -> str:
    """The output of a program in a container of podman."""
    limit = lambda which: min(4096, resource.getrlimit(which)[0] % (1 << 63))  # noqa: E731
    limits = [f"--ulimit=nofile={limit(resource.RLIMIT_NOFILE)}", f"--ulimit=nproc={limit(resource.RLIMIT_NPROC)}"]
    # Debian's crun knows no hosts with cgroups of both versions, and its runc no containers without one.
    runc = shutil.which("runc") if CGROUPS == "v1" else None
    before = [f"--runtime={runc}", "--cgroup-manager=cgroupfs"] if runc else ["--cgroup-manager=cgroupfs"]
    after = [] if runc else ["--cgroups=disabled"]
    return run(*tools("podman", *before, "run", "--rm", "--network=none", *after, "--log-driver=none", *limits, image, *command))


def test_skopeo_copies_what_is_pushed_and_the_other_way_round(box: coble.Engine, debian: DebianRegistry, tmp_path: Path) -> None:
    skopeo = needs("skopeo")
    mine = f"{debian.host}/skopeo/mine:1"
    box.images.tag("box", mine)
    pushed = box.images.push(mine, insecure=True)
    raw = run(skopeo, "inspect", "--tls-verify=false", "--raw", f"docker://{mine}")
    assert content.digest_of(raw.encode()) == pushed.digest
    shown = json.loads(run(skopeo, "inspect", "--tls-verify=false", f"docker://{mine}"))
    assert shown["Digest"] == pushed.digest and shown["RepoTags"] == ["1"]
    assert shown["Layers"] == [layer.digest for layer in box.images.inspect(mine).layers]
    # Through a layout and back into the registry, changed by nobody.
    run(skopeo, "copy", "--quiet", "--src-tls-verify=false", f"docker://{mine}", f"oci:{tmp_path}/layout:1")
    theirs = f"{debian.host}/skopeo/theirs:1"
    run(skopeo, "copy", "--quiet", "--dest-tls-verify=false", f"oci:{tmp_path}/layout:1", f"docker://{theirs}")
    image = box.images.pull(theirs, insecure=True)
    assert image.digest == pushed.digest
    # As docker's formats, which is another manifest of the same layers.
    docker = f"{debian.host}/skopeo/docker:1"
    run(skopeo, "copy", "--quiet", "--format", "v2s2", "--src-tls-verify=false", "--dest-tls-verify=false", f"docker://{mine}", f"docker://{docker}")
    # An image that is here in another form stays as it is.
    for name in ("box", mine, theirs):
        box.images.remove(name)
    image = box.images.pull(docker, insecure=True)
    assert image.digest != pushed.digest and box.run(image, ["echo", "runs"]).stdout == b"runs\n"
    again = f"{debian.host}/skopeo/again:1"
    box.images.tag(docker, again)
    assert box.images.push(again, insecure=True).digest == image.digest
    assert json.loads(run(skopeo, "inspect", "--tls-verify=false", f"docker://{again}"))["Digest"] == image.digest
    tags = json.loads(run(skopeo, "list-tags", "--tls-verify=false", f"docker://{debian.host}/skopeo/again"))["Tags"]
    assert tags == box.registry.tags(f"{debian.host}/skopeo/again", insecure=True) == ["1"]


def test_skopeo_reads_the_form_that_was_asked_for_and_the_other_way_round(box: coble.Engine, debian: DebianRegistry, tmp_path: Path) -> None:
    skopeo = needs("skopeo")
    box.images.tag("box", f"{debian.host}/forms/mine:1")
    raw = lambda name: run(skopeo, "inspect", "--tls-verify=false", "--raw", f"docker://{debian.host}/forms/{name}").encode()  # noqa: E731
    pushed = box.images.push(f"{debian.host}/forms/mine:1", format="v2s2", compression="gzip", insecure=True)
    found = json.loads(raw("mine:1"))
    assert content.digest_of(raw("mine:1")) == pushed.digest
    assert (found["mediaType"], found["config"]["mediaType"]) == (content.DOCKER_MANIFEST, content.DOCKER_CONFIG)
    assert {layer["mediaType"] for layer in found["layers"]} == {content.DOCKER_LAYER + ".gzip"}
    config = json.loads(run(skopeo, "inspect", "--tls-verify=false", "--config", f"docker://{debian.host}/forms/mine:1"))
    assert config["rootfs"]["diff_ids"] == [layer.diff_id for layer in box.images.inspect("box").layers]
    # Skopeo makes of it what it was, and of that what it is now, with the same blobs.
    both = ["--src-tls-verify=false", "--dest-tls-verify=false"]
    for name, form in (("theirs-oci:1", "oci"), ("theirs-v2s2:1", "v2s2")):
        run(skopeo, "copy", "--quiet", "--format", form, *both, f"docker://{debian.host}/forms/mine:1", f"docker://{debian.host}/forms/{name}")
        other = "oci" if form == "v2s2" else "v2s2"
        back = box.images.copy(f"{debian.host}/forms/{name}", f"{debian.host}/forms/back-{form}:1", format=other, source_insecure=True, target_insecure=True)  # type: ignore[call-overload]
        found = json.loads(raw(f"back-{form}:1"))
        assert content.digest_of(raw(f"back-{form}:1")) == back.digest and found["mediaType"] == back.media_type
        assert found["mediaType"] == {"oci": content.OCI_MANIFEST, "v2s2": content.DOCKER_MANIFEST}[other]
        run(skopeo, "copy", "--quiet", "--src-tls-verify=false", f"docker://{debian.host}/forms/back-{form}:1", f"dir:{tmp_path}/{form}")
    # Layers that are not compressed have a type, too.
    box.images.tag("box", f"{debian.host}/forms/plain:1")
    box.images.push(f"{debian.host}/forms/plain:1", format="v2s2", insecure=True)
    assert {layer["mediaType"] for layer in json.loads(raw("plain:1"))["layers"]} == {content.DOCKER_LAYER}
    run(skopeo, "copy", "--quiet", "--src-tls-verify=false", f"docker://{debian.host}/forms/plain:1", f"docker-archive:{tmp_path}/plain.tar:plain:1")
    assert box.images.load(tmp_path / "plain.tar")[0].id == box.images.get("box").id
    # Several platforms, as a list.
    made = [(content.content(archives.Image([archives.tar(archives.file("f", name.encode()))], {}, configuration={"architecture": name})), name) for name in ("amd64", "s390x")]
    whole = content.index(*((one, {"os": "linux", "architecture": name}) for one, name in made))
    with content.Client(debian.host) as client:
        client.put("forms/several", "1", whole)
    copied = box.images.copy(f"{debian.host}/forms/several:1", f"{debian.host}/forms/list:1", format="v2s2", source_insecure=True, target_insecure=True)
    assert content.digest_of(raw("list:1")) == copied.digest and json.loads(raw("list:1"))["mediaType"] == content.DOCKER_INDEX
    run(skopeo, "copy", "--quiet", "--all", "--src-tls-verify=false", f"docker://{debian.host}/forms/list:1", f"dir:{tmp_path}/list")
    shown = json.loads(run(skopeo, "inspect", "--tls-verify=false", "--override-arch", "s390x", f"docker://{debian.host}/forms/list:1"))
    assert shown["Architecture"] == "s390x"


def test_skopeo_with_credentials_and_certificates(box: coble.Engine, debian_tokens: DebianRegistry, cert_dir: Path, home: Path) -> None:
    """What one logs in, the other is."""
    skopeo = needs("skopeo")
    path = home / "auth.json"
    box.registry.login(debian_tokens.host, (USER, PASSWORD), cert_dir=cert_dir, auth_file=path)
    mine = f"{debian_tokens.host}/skopeo/mine:1"
    box.images.tag("box", mine)
    pushed = box.images.push(mine, cert_dir=cert_dir, auth_file=path)
    shown = json.loads(run(skopeo, "inspect", "--cert-dir", cert_dir, "--authfile", path, f"docker://{mine}"))
    assert shown["Digest"] == pushed.digest
    run(skopeo, "logout", "--authfile", path, debian_tokens.host)
    with pytest.raises(coble.UnauthorizedError):
        box.images.pull(mine, cert_dir=cert_dir, auth_file=path)
    subprocess.run(
        [skopeo, "login", "--cert-dir", str(cert_dir), "--authfile", str(path), "-u", USER, "--password-stdin", debian_tokens.host],
        input=PASSWORD.encode(), check=True, stdout=subprocess.DEVNULL,
    )
    assert box.images.pull(mine, cert_dir=cert_dir, auth_file=path).digest == pushed.digest


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
def test_skopeo_of_several_platforms(engine: coble.Engine, debian: DebianRegistry, tmp_path: Path, compression: str) -> None:
    skopeo = needs("skopeo")
    made = [
        (content.content(archives.Image([archives.tar(archives.file("f", name.encode()))], {}, compression=compression, configuration={"architecture": name})), name)
        for name in ("amd64", "arm64", "s390x")
    ]
    whole = content.index(*((one, {"os": "linux", "architecture": name}) for one, name in made))
    with content.Client(debian.host) as client:
        client.put(f"several/{compression}", "1", whole)
    reference = f"{debian.host}/several/{compression}:1"
    engine.images.pull(reference, platform="all", insecure=True)
    target = f"{debian.host}/several/{compression}-again:1"
    engine.images.tag(reference, target)
    assert engine.images.push(target, insecure=True).digest == whole.digest
    run(skopeo, "copy", "--quiet", "--all", "--src-tls-verify=false", f"docker://{target}", f"oci:{tmp_path}/layout:1")
    assert content.digest_of(run(skopeo, "inspect", "--tls-verify=false", "--raw", f"docker://{target}").encode()) == whole.digest


@pytest.mark.root
def test_podman_runs_what_is_pushed_and_the_other_way_round(box: coble.Engine, debian: DebianRegistry, tools: Any) -> None:
    needs("podman")
    mine = f"{debian.host}/podman/mine:1"
    box.images.tag("box", mine)
    pushed = box.images.push(mine, insecure=True)
    run(*tools("podman", "pull", "--quiet", "--tls-verify=false", mine))
    shown = json.loads(run(*tools("podman", "image", "inspect", mine)))[0]
    assert (shown["Digest"], shown["Id"]) == (pushed.digest, box.images.get("box").id.split(":")[1])
    assert podman_run(tools, mine, "cat", "/etc/passwd") == sh(box, "cat /etc/passwd")
    # Podman pushes, in both formats, compressed by itself.
    for form in ("oci", "v2s2"):
        theirs = f"{debian.host}/podman/{form}:1"
        run(*tools("podman", "push", "--quiet", "--tls-verify=false", "--format", form, mine, f"docker://{theirs}"))
        image = box.images.pull(theirs, insecure=True)
        assert box.run(image, ["cat", "/etc/passwd"]).stdout.decode() == sh(box, "cat /etc/passwd")
        again = f"{debian.host}/podman/{form}-again:1"
        box.images.tag(theirs, again)
        assert box.images.push(again, insecure=True).digest == image.digest
    assert box.verify() == []


@pytest.mark.root
def test_podman_runs_the_form_that_was_asked_for_and_the_other_way_round(box: coble.Engine, debian: DebianRegistry, tools: Any) -> None:
    needs("podman")
    container = box.containers.create("box", ["sh", "-c", "echo made > /file"])
    container.start()
    container.wait()
    container.commit("made")
    container.remove()
    # Layers of zstd become such as docker's form can have.
    zstd = f"{debian.host}/podman/zstd:1"
    box.images.tag("made", zstd)
    box.images.push(zstd, compression="zstd", insecure=True)
    for name in ("made", zstd):
        box.images.remove(name)
    box.images.pull(zstd, insecure=True)
    mine = f"{debian.host}/podman/converted:1"
    box.images.tag(zstd, mine)
    pushed = box.images.push(mine, format="v2s2", insecure=True)
    run(*tools("podman", "pull", "--quiet", "--tls-verify=false", mine))
    shown = json.loads(run(*tools("podman", "image", "inspect", mine)))[0]
    assert (shown["Digest"], shown["ManifestType"]) == (pushed.digest, content.DOCKER_MANIFEST)
    assert shown["Id"] == box.images.get(mine).id.split(":")[1]
    assert podman_run(tools, mine, "cat", "/file") == "made\n"
    # What podman pushes in one form goes on in the other.
    for form, other in (("oci", "v2s2"), ("v2s2", "oci")):
        theirs, copied = f"{debian.host}/podman/from-{form}:1", f"{debian.host}/podman/to-{other}:1"
        run(*tools("podman", "push", "--quiet", "--tls-verify=false", "--format", form, mine, f"docker://{theirs}"))
        box.images.copy(theirs, copied, format=other, source_insecure=True, target_insecure=True)  # type: ignore[call-overload]
        run(*tools("podman", "pull", "--quiet", "--tls-verify=false", copied))
        assert podman_run(tools, copied, "cat", "/file") == "made\n"


@pytest.mark.root
def test_buildah_builds_on_what_is_pushed_and_the_other_way_round(box: coble.Engine, debian: DebianRegistry, tools: Any) -> None:
    needs("buildah")
    mine = f"{debian.host}/buildah/mine:1"
    box.images.tag("box", mine)
    box.images.push(mine, compression="zstd", insecure=True)
    container = run(*tools("buildah", "from", "--quiet", "--tls-verify=false", mine)).strip().split("\n")[-1]
    run(*tools("buildah", "config", "--label", "by=buildah", "--cmd", "echo built", container))
    theirs = f"{debian.host}/buildah/theirs:1"
    run(*tools("buildah", "commit", "--quiet", container, f"{debian.host}/buildah/local:1"))
    run(*tools("buildah", "push", "--quiet", "--tls-verify=false", f"{debian.host}/buildah/local:1", f"docker://{theirs}"))
    image = box.images.pull(theirs, insecure=True)
    assert image.labels["by"] == "buildah" and box.run(image).stdout == b"built\n"


@pytest.mark.root
def test_umoci_unpacks_what_is_pushed_and_the_other_way_round(box: coble.Engine, debian: DebianRegistry, tmp_path: Path) -> None:
    umoci, skopeo = needs("umoci"), needs("skopeo")
    mine = f"{debian.host}/umoci/mine:1"
    box.images.tag("box", mine)
    box.images.push(mine, insecure=True)
    run(skopeo, "copy", "--quiet", "--src-tls-verify=false", f"docker://{mine}", f"oci:{tmp_path}/layout:mine")
    run(umoci, "unpack", "--image", f"{tmp_path}/layout:mine", tmp_path / "bundle")
    assert (tmp_path / "bundle/rootfs/etc/passwd").read_text() == sh(box, "cat /etc/passwd")
    (tmp_path / "bundle/rootfs/new").write_text("by umoci")
    (tmp_path / "bundle/rootfs/etc/group").unlink()
    run(umoci, "repack", "--image", f"{tmp_path}/layout:theirs", tmp_path / "bundle")
    theirs = f"{debian.host}/umoci/theirs:1"
    run(skopeo, "copy", "--quiet", "--dest-tls-verify=false", f"oci:{tmp_path}/layout:theirs", f"docker://{theirs}")
    image = box.images.pull(theirs, insecure=True)
    assert box.run(image, ["sh", "-c", "cat /new; test ! -e /etc/group"], check=True).stdout == b"by umoci"


def test_the_command(store: Store, assets: Assets, debian: DebianRegistry, command: Any) -> None:
    """Docker's words."""
    with store.engine() as engine:
        engine.images.import_rootfs(assets.busybox, "box", command=["echo", "hello"])
        engine.images.tag("box", f"{debian.host}/tools/box:1")
    name = f"{debian.host}/tools/box:1"
    pushed = command("push", "--tls-verify=false", name)
    assert "sha256:" in pushed
    command("rmi", name)
    digest = command("pull", "-q", "--tls-verify=false", name)
    assert digest.strip()
    assert command("registry", "tags", "--tls-verify=false", f"{debian.host}/tools/box").split() == ["1"]
    command("image", "copy", "--src-tls-verify=false", "--dest-tls-verify=false", name, f"{debian.host}/tools/copy:1")
    assert command("run", "--rm", name).strip() == "hello"


@pytest.fixture
def command(store: Store) -> Any:
    program = os.environ.get("COBLE_TEST_COMMAND") or shutil.which("coble", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    if program is None:
        pytest.skip("needs the command coble")
    return lambda *words: run(program, "--data-root", store.data_root, "--run-root", store.run_root, *words)
