"""`engine.run`: exit codes, streams, environment, user, working directory, command and entrypoint."""

from __future__ import annotations

import asyncio
import os
import pickle
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import coble
import coble.aio
import pytest
from conftest import CGROUPS, MODE, Store
from helpers import output, sh


# --- exit codes -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [0, 1, 3, 42, 125, 126, 127, 128, 200, 255])
def test_exit_code(shared: coble.Engine, code: int) -> None:
    assert shared.run("box", ["sh", "-c", f"exit {code}"]).exit_code == code


@pytest.mark.vm
@pytest.mark.parametrize("name", ["TERM", "KILL", "SEGV", "ABRT", "USR1", "HUP"])
def test_a_signal_is_128_and_its_number(shared: coble.Engine, name: str) -> None:
    # Process 1 ignores signals without a handler that come from its own namespace, so the one that dies is its child.
    number = getattr(signal, f"SIG{name}")
    assert shared.run("box", ["sh", "-c", f"sh -c 'kill -{number} $$'; exit $?"]).exit_code == 128 + number


def test_a_program_killed_from_outside(shared: coble.Engine) -> None:
    container = shared.containers.create("box", ["sleep", "1000"])
    container.start()
    container.kill("SIGKILL")
    assert container.wait() == 137
    container.remove()


@pytest.mark.vm
@pytest.mark.parametrize(
    ("command", "error", "kind"),
    [
        (["no-such-program"], coble.CommandNotFoundError, "CommandNotFound"),
        (["/no/such/program"], coble.CommandNotFoundError, "CommandNotFound"),
        (["./no-such-program"], coble.CommandNotFoundError, "CommandNotFound"),
        (["/etc/not-executable"], coble.CommandNotExecutableError, "CommandNotExecutable"),
        (["/etc"], coble.CommandNotExecutableError, "CommandNotExecutable"),
        (["/bin/not-a-program"], coble.CommandNotExecutableError, "CommandNotExecutable"),
    ],
)
def test_a_program_that_cannot_be_started(shared: coble.Engine, command: list[str], error: type[coble.CobleError], kind: str) -> None:
    with pytest.raises(error) as caught:
        shared.run("box", command)
    assert caught.value.kind == kind
    assert command[0] in str(caught.value)


def test_a_missing_interpreter_is_said(shared: coble.Engine) -> None:
    with pytest.raises((coble.CommandNotFoundError, coble.CommandNotExecutableError)) as caught:
        shared.run("box", ["/bin/bad-interpreter"])
    assert "bad-interpreter" in str(caught.value)


@pytest.mark.parametrize("command", [[], [""], ["sh\0x"], ["echo", "a\0b"]])
def test_a_command_that_cannot_be_is_refused(shared: coble.Engine, command: list[str]) -> None:
    with pytest.raises((coble.CobleError, ValueError)):
        shared.run("box", command, entrypoint=[])


def test_an_absent_image(shared: coble.Engine) -> None:
    with pytest.raises(coble.ImageNotFoundError) as caught:
        shared.run("no-such-image:1", ["true"], pull="never")
    assert isinstance(caught.value, LookupError)
    assert caught.value.kind == "ImageNotFound"
    assert "no-such-image" in str(caught.value)


# --- streams --------------------------------------------------------------------------------------------------------


@pytest.mark.vm
def test_outputs_are_separate(shared: coble.Engine) -> None:
    done = shared.run("box", ["sh", "-c", "echo to-out; echo to-err >&2"])
    assert (done.exit_code, done.stdout, done.stderr) == (0, b"to-out\n", b"to-err\n")


def test_output_is_bytes_as_they_are(shared: coble.Engine) -> None:
    done = shared.run("box", ["printf", "\\377\\000\\n\\360\\237\\220\\263 no newline at the end"])
    assert done.stdout == b"\xff\x00\n\xf0\x9f\x90\xb3 no newline at the end"


def test_unicode_in_arguments_and_environment(shared: coble.Engine) -> None:
    done = shared.run("box", ["sh", "-c", 'printf "%s %s" "$1" "$WORT"', "sh", "grüße 🐳"], environment={"WORT": "größe"})
    assert done.stdout.decode() == "grüße 🐳 größe"


def test_no_input_is_end_of_file(shared: coble.Engine) -> None:
    assert shared.run("box", ["cat"]).stdout == b""


@pytest.mark.parametrize("size", [0, 1, 65536, 65537, 5_000_000])
def test_input_comes_back(shared: coble.Engine, size: int) -> None:
    data = os.urandom(size)
    assert shared.run("box", ["cat"], input=data).stdout == data


def test_input_that_nobody_reads(shared: coble.Engine) -> None:
    """A program that ends without reading its input is not an error, and does not block."""
    done = shared.run("box", ["true"], input=b"x" * 10_000_000)
    assert done.exit_code == 0


def test_both_outputs_at_once_do_not_block(shared: coble.Engine) -> None:
    script = "head -c 4194304 /dev/zero & head -c 4194304 /dev/zero >&2; wait"
    done = shared.run("box", ["sh", "-c", script])
    assert (len(done.stdout), len(done.stderr)) == (64 * 65536, 64 * 65536)


def test_output_of_background_children_does_not_hold_the_run(shared: coble.Engine) -> None:
    """When process 1 ends the kernel kills the rest, so open pipes of theirs cannot keep the run waiting."""
    begin = time.monotonic()
    done = shared.run("box", ["sh", "-c", "sleep 1000 & echo done"])
    assert done.stdout == b"done\n"
    assert time.monotonic() - begin < 10


def test_a_limit_of_captured_output(shared: coble.Engine) -> None:
    """SEC-146: collecting has a bound, and reaching it is an error, not a cut."""
    assert len(shared.run("box", ["probe", "write", "1"], capture_limit=1 << 20).stdout) == 1 << 20
    with pytest.raises(coble.LimitExceededError):
        shared.run("box", ["probe", "write", "1"], capture_limit=(1 << 20) - 1)
    with pytest.raises(coble.LimitExceededError) as caught:
        shared.run("box", ["sh", "-c", "while :; do echo endless; done"], capture_limit=100_000)
    # What there was is as long as it may be.
    assert (caught.value.stdout, caught.value.stderr) == ((b"endless\n" * 12_500), b"")


def test_output_into_a_file(shared: coble.Engine, tmp_path: Path) -> None:
    with (tmp_path / "out").open("wb") as out, (tmp_path / "err").open("wb") as err:
        done = shared.run("box", ["sh", "-c", "echo out; echo err >&2"], stdout=out, stderr=err)
    assert (done.stdout, done.stderr) == (b"", b"")
    assert ((tmp_path / "out").read_bytes(), (tmp_path / "err").read_bytes()) == (b"out\n", b"err\n")


def test_order_of_timings(shared: coble.Engine) -> None:
    done = shared.run("box", ["true"])
    assert done.timings
    assert done.warnings is not None


# --- check and timeout ----------------------------------------------------------------------------------------------


@pytest.mark.vm
def test_check_raises_with_everything(shared: coble.Engine) -> None:
    with pytest.raises(coble.ContainerExitError) as caught:
        shared.run("box", ["sh", "-c", "echo out; echo err >&2; exit 9"], check=True)
    error = caught.value
    assert (error.exit_code, error.stdout, error.stderr) == (9, b"out\n", b"err\n")
    assert error.kind == "ContainerExit"
    assert "9" in str(error)


def test_check_is_quiet_about_zero(shared: coble.Engine) -> None:
    assert shared.run("box", ["true"], check=True).exit_code == 0


@pytest.mark.vm
def test_timeout_kills_and_raises(shared: coble.Engine) -> None:
    begin = time.monotonic()
    with pytest.raises(coble.TimeoutError) as caught:
        shared.run("box", ["sleep", "1000"], timeout=0.3)
    assert isinstance(caught.value, TimeoutError)
    assert time.monotonic() - begin < 15


def test_a_timeout_has_what_was_written_until_then(shared: coble.Engine) -> None:
    for seconds in (1, 5, 30):  # A start may take long when everything is busy.
        with pytest.raises(coble.TimeoutError) as caught:
            shared.run("box", ["sh", "-c", "echo out; echo err >&2; sleep 1000"], timeout=seconds)
        error = caught.value
        if error.stderr:
            break
    assert (error.stdout, error.stderr) == (b"out\n", b"err\n")
    assert error.result is not None and (error.result.exit_code, error.result.stdout) == (137, b"out\n")
    assert not hasattr(error, "exit_code")
    # One that has nothing to do with a program's output.
    with shared.containers.run("box", ["sleep", "1000"]) as container, pytest.raises(coble.TimeoutError) as caught:
        container.wait(timeout=0)
    assert (caught.value.stdout, caught.value.stderr, caught.value.result) == (None, None, None)


def test_a_timeout_ends_a_program_that_always_writes(shared: coble.Engine) -> None:
    with pytest.raises(coble.TimeoutError):
        shared.run("box", ["yes"], timeout=0.5)


def test_timeout_long_enough(shared: coble.Engine) -> None:
    assert shared.run("box", ["true"], timeout=60).exit_code == 0


INTERRUPTED = """
import os, signal, sys, threading, time
import coble
engine = coble.Engine(data_root=sys.argv[1], run_root=sys.argv[2])
def interrupt():
    global sent
    while not os.path.exists(sys.argv[3] + "/up"):
        time.sleep(0.01)
    sent = time.monotonic()
    os.kill(os.getpid(), signal.SIGINT)
threading.Thread(target=interrupt, daemon=True).start()
try:
    engine.run("box", ["sh", "-c", "echo > /up/up; exec sleep 1000"], volumes=[sys.argv[3] + ":/up"])
except KeyboardInterrupt:
    print(f"interrupted after {time.monotonic() - sent:.3f}")
print(len(engine.containers.list(all=True)), "containers")
engine.close()
"""


@pytest.mark.vm
def test_interrupt(shared: coble.Engine, shared_store: object, tmp_path: Path) -> None:
    """Ctrl-C ends a run at once, with KeyboardInterrupt, and nothing stays."""
    tmp_path.chmod(0o755)
    command = [sys.executable, "-c", INTERRUPTED, str(shared_store.data_root), str(shared_store.run_root), str(tmp_path)]  # type: ignore[attr-defined]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    found = re.fullmatch(r"interrupted after ([\d.]+)\n0 containers\n", done.stdout)
    assert found, done.stdout
    # The emulated machine is many times slower.
    assert float(found.group(1)) < (4.0 if CGROUPS != "v2" else 8.0)


# --- environment ----------------------------------------------------------------------------------------------------


def environment(engine: coble.Engine, **options: object) -> dict[str, str]:
    text = output(engine, "cat", "/proc/self/environ", **options)
    return dict(line.split("=", 1) for line in text.split("\0") if line)


@pytest.mark.vm
def test_environment_is_the_images_and_the_callers(shared: coble.Engine) -> None:
    found = environment(shared, environment={"MINE": "a=b c", "EMPTY": ""})
    assert found["IMAGE_VARIABLE"] == "image"
    assert found["MINE"] == "a=b c"
    assert found["EMPTY"] == ""
    assert found["PATH"] == "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    assert found["HOME"] == "/root"


def test_the_callers_variable_wins(shared: coble.Engine) -> None:
    assert environment(shared, environment={"IMAGE_VARIABLE": "mine"})["IMAGE_VARIABLE"] == "mine"


def test_nothing_of_the_host_leaks(shared: coble.Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_OF_THE_HOST", "x")
    assert set(environment(shared)) <= {"PATH", "HOME", "HOSTNAME", "IMAGE_VARIABLE", "TERM", "PWD", "SHLVL"}


def test_environments_of_many_containers_do_not_mix(shared: coble.Engine) -> None:
    """SEC-54."""
    wrong: list[str] = []

    def one(number: int) -> None:
        text = output(shared, "env", environment={f"ONLY_{number}": str(number)})
        names = {line.split("=")[0] for line in text.splitlines() if line.startswith("ONLY_")}
        if names != {f"ONLY_{number}"}:
            wrong.append(text)

    threads = [threading.Thread(target=one, args=[number]) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


@pytest.mark.parametrize("name", ["", "A=B", "A\0B"])
def test_names_of_variables_that_cannot_be(shared: coble.Engine, name: str) -> None:
    with pytest.raises((coble.InvalidArgumentError, ValueError)):
        shared.run("box", ["env"], environment={name: "x"})


def test_home_of_a_user(shared: coble.Engine) -> None:
    if MODE == "single":
        pytest.skip("a single id has no other user; the other suites have it")
    assert environment(shared, user="alice")["HOME"] == "/home/alice"
    assert environment(shared, user="alice", environment={"HOME": "/tmp"})["HOME"] == "/tmp"


# --- user -----------------------------------------------------------------------------------------------------------


@pytest.mark.vm
@pytest.mark.parametrize(
    ("user", "uid", "gid", "groups"),
    [
        (None, 0, 0, {0}),
        ("root", 0, 0, {0}),
        ("0", 0, 0, {0}),
        ("0:0", 0, 0, {0}),
        ("alice", 1000, 1000, {1000, 100, 50}),
        ("1000", 1000, 1000, {1000, 100, 50}),
        ("bob", 1001, 100, {100, 50}),
        ("alice:users", 1000, 100, {100}),
        ("alice:100", 1000, 100, {100}),
        ("1000:1001", 1000, 1001, {1001}),
        ("4000", 4000, 0, {0}),
        ("4000:5000", 4000, 5000, {5000}),
        # SEC-45: a number is a number, also when a line of passwd has it as a name.
        ("1002", 1002, 0, {0}),
    ],
)
def test_user(shared: coble.Engine, user: str | None, uid: int, gid: int, groups: set[int]) -> None:
    if MODE == "single" and (uid, gid) != (0, 0):
        pytest.skip("a single id has no other user; the other suites have it")
    found = sh(shared, "id -u; id -g; id -G", user=user).splitlines()
    assert (int(found[0]), int(found[1])) == (uid, gid)
    # SEC-42: the primary group is among the groups.
    assert {int(group) for group in found[2].split()} == groups


def test_group_add(shared: coble.Engine) -> None:
    if MODE == "single":
        pytest.skip("a single id has no groups; the other suites have it")
    found = sh(shared, "id -G", user="bob", group_add=["users", "4711"]).split()
    assert set(found) == {"100", "50", "4711"}


HOSTILE_USERS = [
    "2147483648", "4294967295", "4294967296", "-1", "+1", "1e3", "0x10", " 0", "0 ", "1" * 40, "nobody-here", "alice:nothing",
    "alice:-1", "0:4294967295", ":", "::", "0:0:0", ":0x", "../etc", "alice\n", "al\0ice", "root:",
]  # fmt: skip


@pytest.mark.parametrize("user", HOSTILE_USERS)
def test_users_that_are_refused(shared: coble.Engine, user: str) -> None:
    """SEC-43: nothing out of range, nothing malformed becomes root or a name."""
    with pytest.raises((coble.UserNotFoundError, coble.InvalidArgumentError, ValueError)):
        shared.run("box", ["id"], user=user)


@pytest.mark.parametrize("user", HOSTILE_USERS)
def test_exec_refuses_the_same_users(idle: coble.Container, user: str) -> None:
    """SEC-44."""
    with pytest.raises((coble.UserNotFoundError, coble.InvalidArgumentError, ValueError)):
        idle.exec(["id"], user=user)


@pytest.fixture
def idle(shared: coble.Engine):  # noqa: ANN201
    container = shared.containers.create("box", ["sleep", "1000"])
    container.start()
    yield container
    container.remove(force=True)


# --- working directory, host name -----------------------------------------------------------------------------------


@pytest.mark.vm
def test_working_directory(shared: coble.Engine) -> None:
    assert output(shared, "pwd") == "/\n"
    assert output(shared, "pwd", working_dir="/tmp") == "/tmp\n"


def test_a_missing_working_directory_is_made(shared: coble.Engine) -> None:
    assert output(shared, "pwd", working_dir="/a/new/one") == "/a/new/one\n"


@pytest.mark.parametrize("path", ["tmp", "", "./tmp", "../tmp", "/tmp\0x"])
def test_a_relative_working_directory_is_refused(shared: coble.Engine, path: str) -> None:
    with pytest.raises((coble.InvalidArgumentError, ValueError)):
        shared.run("box", ["pwd"], working_dir=path)


def test_a_working_directory_that_is_a_file(shared: coble.Engine) -> None:
    with pytest.raises(coble.CobleError) as caught:
        shared.run("box", ["pwd"], working_dir="/etc/passwd")
    assert "/etc/passwd" in str(caught.value)


@pytest.mark.vm
def test_host_name(shared: coble.Engine) -> None:
    assert sh(shared, "hostname; cat /etc/hostname", hostname="my-host") == "my-host\nmy-host\n"
    assert "my-host" in sh(shared, "cat /etc/hosts", hostname="my-host")
    container = shared.containers.create("box", ["hostname"])
    assert re.fullmatch(r"[0-9a-f]{12}\n", output(shared, "hostname"))
    container.remove()


@pytest.mark.parametrize("name", ["", "a b", "a\nb", "a:b", "x" * 65, "-a", "a\0b", "ü"])
def test_host_names_that_are_refused(shared: coble.Engine, name: str) -> None:
    """SEC-142."""
    with pytest.raises((coble.InvalidArgumentError, ValueError)):
        shared.run("box", ["true"], hostname=name)


# --- file system ----------------------------------------------------------------------------------------------------


def test_what_a_container_writes_is_its_own(shared: coble.Engine) -> None:
    assert sh(shared, "echo x > /new; echo y >> /etc/passwd; rm -r /home; ls /new /etc/passwd") == "/etc/passwd\n/new\n"
    assert "y" not in sh(shared, "cat /etc/passwd").splitlines()
    assert sh(shared, "ls -d /home; ls /new 2>/dev/null || true") == "/home\n"


@pytest.mark.vm
def test_read_only_root(shared: coble.Engine) -> None:
    done = shared.run("box", ["sh", "-c", "touch /new; touch /tmp/new; echo x > /dev/shm/x && echo shm"], read_only=True)
    assert done.stderr.decode().count("Read-only file system") == 2
    assert done.stdout == b"shm\n"


def test_from_a_process_with_many_descriptors(shared: coble.Engine) -> None:
    held = [os.open("/dev/null", os.O_RDONLY) for _ in range(300)]
    try:
        assert output(shared, "echo", "x") == "x\n"
    finally:
        for fd in held:
            os.close(fd)


def test_closed_standard_streams_of_the_host(shared_store: object, shared: coble.Engine) -> None:
    """A host program that has closed 0, 1 and 2 gets right results, and none of its files is a container's stream."""
    script = """
import os, sys
import coble
path = sys.argv[3]
for fd in (0, 1, 2):
    os.close(fd)
with coble.Engine(data_root=sys.argv[1], run_root=sys.argv[2]) as engine:
    done = engine.run("box", ["sh", "-c", "cat; echo out; echo err >&2"])
with open(path, "wb") as file:
    file.write(b"%d %s %s" % (done.exit_code, done.stdout, done.stderr))
"""
    target = Path(str(shared_store.data_root)).parent / "closed-result"  # type: ignore[attr-defined]
    command = [sys.executable, "-c", script, str(shared_store.data_root), str(shared_store.run_root), str(target)]  # type: ignore[attr-defined]
    subprocess.run(command, check=True, timeout=60)
    assert target.read_bytes() == b"0 out\n err\n"
    target.unlink()


# --- text -----------------------------------------------------------------------------------------------------------


def test_output_as_text(shared: coble.Engine) -> None:
    script = "printf 'ä\\r\\nb\\rc\\n'; printf ö >&2"
    done = shared.run("box", ["sh", "-c", script], text=True)
    assert (done.stdout, done.stderr) == ("ä\nb\nc\n", "ö")
    assert shared.run("box", ["cat"], input="ß", encoding="latin-1").stdout == "ß"
    assert shared.run("box", ["cat"], input="ß", encoding="latin-1", stderr=coble.DEVNULL).stderr == ""
    # The bytes of another encoding really arrive there.
    assert shared.run("box", ["sh", "-c", "wc -c"], input="ß", encoding="latin-1").stdout.strip() == "1"
    assert shared.run("box", ["cat"], input=b"a\xffb", errors="replace").stdout == "a\ufffdb"
    assert shared.run("box", ["cat"], input="ß").stdout == "ß".encode()
    with pytest.raises(UnicodeDecodeError):
        shared.run("box", ["cat"], input=b"a\xffb", text=True)
    with pytest.raises(UnicodeEncodeError):
        shared.run("box", ["cat"], input="\u20ac", encoding="latin-1")
    for bad in ({"encoding": "nothing"}, {"errors": "nothing"}):
        with pytest.raises(LookupError):
            shared.run("box", ["true"], **bad)
    with shared.containers.run("box", ["sh", "-c", "printf 'ä\\r\\nb\\nc'; sleep 1000"], wait=coble.wait.log("c")) as container:
        assert container.exec(["echo", "ä"], text=True).stdout == "ä\n"
        assert list(container.logs().lines(text=True)) == ["ä", "b", "c"]
        assert list(container.logs().lines(encoding="latin-1")) == ["Ã¤", "b", "c"]
        assert list(container.logs().lines()) == ["ä\r".encode(), b"b", b"c"]


def test_an_error_has_text(shared: coble.Engine) -> None:
    with pytest.raises(coble.ContainerExitError) as caught:
        shared.run("box", ["sh", "-c", "echo out; echo why >&2; exit 3"], check=True, text=True)
    error = caught.value
    assert (error.stdout, error.stderr, error.exit_code) == ("out\n", "why\n", 3)
    assert error.result is not None and error.result.stdout == "out\n"
    again = pickle.loads(pickle.dumps(error.result))
    assert (again.stdout, again.stderr) == ("out\n", "why\n")
    with pytest.raises(coble.TimeoutError) as late:
        shared.run("box", ["sh", "-c", "echo out; exec sleep 1000"], timeout=2, text=True)
    assert late.value.stdout == "out\n"
    # What cannot be decoded does not hide why it failed.
    with pytest.raises(coble.ContainerExitError) as odd:
        shared.run("box", ["sh", "-c", "printf 'a\\377'; exit 3"], check=True, text=True)
    assert odd.value.stdout == b"a\xff"


def test_text_for_asyncio(shared_store: Store) -> None:
    async def main() -> None:
        async with coble.aio.Engine(shared_store.data_root, shared_store.run_root) as engine:
            assert (await engine.run("box", ["echo", "ä"], text=True)).stdout == "ä\n"
            async with engine.containers.run("box", ["sh", "-c", "echo ä; sleep 1000"]) as container:
                assert (await container.exec(["echo", "ö"], encoding="utf-8")).stdout == "ö\n"
                async for line in container.logs(follow=True).lines(text=True):
                    assert line == "ä"
                    break

    asyncio.run(main())


# --- the order of the output ----------------------------------------------------------------------------------------


def test_output_in_its_order(shared: coble.Engine) -> None:
    script = "for n in 1 2 3; do echo out$n; sleep 0.3; echo err$n >&2; sleep 0.3; done"
    expected = [item for n in "123" for item in (("stdout", f"out{n}\n"), ("stderr", f"err{n}\n"))]
    done = shared.run("box", ["sh", "-c", script])
    assert done.records == [(stream, data.encode()) for stream, data in expected]
    assert pickle.loads(pickle.dumps(done)).records == done.records
    with shared.containers.run("box", ["sleep", "1000"]) as container:
        assert container.exec(["sh", "-c", script], text=True).records == expected
    with pytest.raises(coble.ContainerExitError) as caught:
        shared.run("box", ["sh", "-c", "echo a; sleep 0.3; echo b >&2; exit 3"], check=True)
    assert caught.value.result is not None and caught.value.result.records == [("stdout", b"a\n"), ("stderr", b"b\n")]
    # A character in two pieces.
    script = "printf 'a\\303'; sleep 0.3; printf x >&2; sleep 0.3; printf '\\244b'"
    assert shared.run("box", ["sh", "-c", script], text=True).records == [("stdout", "a"), ("stderr", "x"), ("stdout", "äb")]
    assert shared.run("box", ["true"]).records == []
    big = shared.run("box", ["sh", "-c", "seq 1 100000; seq 1 100000 >&2"])
    assert b"".join(data for stream, data in big.records if stream == "stdout") == big.stdout
    assert b"".join(data for stream, data in big.records if stream == "stderr") == big.stderr
