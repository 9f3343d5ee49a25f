#!/usr/bin/env python3
"""A virtual machine with nothing but cgroup version 2, for the tests that need such a host.

    machine.py build            make the kernel, the initramfs and the disk (kept in target/vm, made again when the recipe changes)
    machine.py run SITE TESTS   boot it, run TESTS with the Python packages of SITE, print what it prints

The kernel is Debian's cloud kernel, the disk a minimal Debian. The guest gets its payload (packages, tests, the list of
commands) as a tar on a second disk, and says how each command ended on the serial line. The disk is never written to.
"""

from __future__ import annotations

import argparse
import hashlib
import inspect
import io
import os
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import threading
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
PACKAGES = ["apparmor", "python3", "uidmap", "busybox-static", "iproute2", "procps", "util-linux"]
#: What the guest needs beside what is built into the kernel, in words of the module files.
MODULES = ["virtio_pci", "virtio_blk", "ext4", "crc32c_generic", "overlay", "af_alg", "algif_hash"]
DISK_MEGABYTES = 3072
MEMORY = "4G"


def fail(text: str) -> None:
    print(f"vm: {text}", file=sys.stderr)
    sys.exit(2)


def output(*command: str, cwd: Path | None = None) -> str:
    return subprocess.run(command, cwd=cwd, check=True, stdout=subprocess.PIPE, text=True, stdin=subprocess.DEVNULL).stdout


def release() -> str:
    text = Path("/etc/os-release").read_text()
    found = re.search(r'^VERSION_CODENAME="?(\w+)"?$', text, re.M)
    if not found:
        fail("this host is not a Debian: /etc/os-release has no VERSION_CODENAME")
        raise AssertionError
    return found.group(1)


# --- kernel ---------------------------------------------------------------------------------------------------------


def fetch_kernel(folder: Path) -> None:
    """Downloads the newest cloud kernel of the host's release and unpacks it into `folder`."""
    text = output("apt-cache", "depends", "linux-image-cloud-amd64")
    found = re.search(r"Depends: (linux-image-\S+-cloud-amd64)", text)
    if not found:
        fail("no package linux-image-cloud-amd64; run apt-get update")
        raise AssertionError
    downloads = folder.with_name(folder.name + ".deb")
    shutil.rmtree(downloads, ignore_errors=True)
    downloads.mkdir(parents=True)
    subprocess.run(["apt-get", "download", "-q", found.group(1)], cwd=downloads, check=True, stdin=subprocess.DEVNULL)
    (package,) = downloads.glob("*.deb")
    shutil.rmtree(folder, ignore_errors=True)
    subprocess.run(["dpkg-deb", "-x", package, folder], check=True)
    shutil.rmtree(downloads)


def module_files(folder: Path) -> dict[str, Path]:
    found = {}
    for path in folder.glob("**/lib/modules/*/**/*.ko"):
        found[path.stem.replace("-", "_")] = path
    return found


def depends(path: Path) -> list[str]:
    """The modules that a module needs, from its .modinfo section."""
    found = re.search(rb"\x00depends=([^\x00]*)\x00", b"\x00" + path.read_bytes())
    names = found.group(1).decode() if found else ""
    return [name.replace("-", "_") for name in names.split(",") if name]


def load_order(folder: Path) -> list[Path]:
    files = module_files(folder)
    order: list[Path] = []

    def add(name: str) -> None:
        path = files.get(name)
        if path is None or path in order:
            return  # built in
        for needed in depends(path):
            add(needed)
        order.append(path)

    for name in MODULES:
        add(name)
    return order


# --- initramfs ------------------------------------------------------------------------------------------------------

INITRAMFS_INIT = """#!/bin/sh
/bin/busybox mkdir -p /proc /sys /dev /root
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t sysfs sys /sys
/bin/busybox mount -t devtmpfs dev /dev
for module in $(/bin/busybox cat /modules/order); do
    /bin/busybox insmod /modules/$module || echo "cannot load $module"
done
tries=0
while ! [ -b /dev/vda ] && [ $tries -lt 100 ]; do /bin/busybox sleep 0.1; tries=$((tries + 1)); done
/bin/busybox mount -t ext4 /dev/vda /root || { echo COBLE-VM-BROKEN no disk; /bin/busybox poweroff -f; }
/bin/busybox umount /proc /sys
/bin/busybox mount -o move /dev /root/dev
exec /bin/busybox switch_root /root /sbin/guest-init
"""


def cpio(entries: list[tuple[str, int, bytes]]) -> bytes:
    """An archive in the kernel's `newc` format of (name, mode, content)."""
    out = io.BytesIO()
    for number, (name, mode, content) in enumerate([*entries, ("TRAILER!!!", 0, b"")], start=1):
        fields = [number, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(name) + 1, 0]
        out.write(b"070701" + b"".join(b"%08x" % field for field in fields))
        out.write(name.encode() + b"\0")
        out.write(b"\0" * (-out.tell() % 4))
        out.write(content)
        out.write(b"\0" * (-out.tell() % 4))
    return out.getvalue()


def make_initramfs(kernel: Path, target: Path) -> None:
    directory, file = 0o040755, 0o100755
    entries = [(name, directory, b"") for name in ("bin", "modules", "dev")]
    entries += [
        ("bin/busybox", file, Path("/bin/busybox").read_bytes()),
        ("bin/sh", 0o120777, b"busybox"),
        ("init", file, INITRAMFS_INIT.encode()),
    ]
    order = load_order(kernel)
    entries += [(f"modules/{path.name}", file, path.read_bytes()) for path in order]
    entries.append(("modules/order", 0o100644, "\n".join(path.name for path in order).encode()))
    target.write_bytes(cpio(entries))


# --- disk -----------------------------------------------------------------------------------------------------------


def make_disk(target: Path) -> None:
    root = target.with_name("root")
    shutil.rmtree(root, ignore_errors=True)
    subprocess.run(
        # What it mounts meanwhile is nobody else's business: other tests look at the mounts of the machine.
        ["unshare", "--mount", "mmdebstrap", "--quiet", "--variant=minbase", f"--include={','.join(PACKAGES)}", release(), str(root)],
        check=True,
        stdin=subprocess.DEVNULL,
    )
    shutil.copy(HERE / "guest-init", root / "sbin/guest-init")
    (root / "sbin/guest-init").chmod(0o755)
    (root / "payload").mkdir()
    # The two ordinary users of the rootless tests: one with ranges of ids, one with nothing but its own.
    with (root / "etc/passwd").open("a") as passwd, (root / "etc/group").open("a") as group:
        for name, number in (("coble-test-ranges", 2001), ("coble-test-single", 2002)):
            passwd.write(f"{name}:x:{number}:{number}::/home/{name}:/bin/sh\n")
            group.write(f"{name}:x:{number}:\n")
            home = root / "home" / name
            home.mkdir()
            os.chown(home, number, number)
    for name in ("subuid", "subgid"):
        (root / "etc" / name).write_text("coble-test-ranges:200000:65536\n")
    for name in ("var/lib/apt/lists", "var/cache/apt", "usr/share/doc", "usr/share/man", "usr/share/locale"):
        shutil.rmtree(root / name, ignore_errors=True)
    unfinished = target.with_suffix(".part")
    with unfinished.open("wb") as disk:
        disk.truncate(DISK_MEGABYTES << 20)
    subprocess.run(["mke2fs", "-q", "-t", "ext4", "-O", "^has_journal", "-E", "root_owner=0:0", "-d", root, unfinished], check=True)
    unfinished.rename(target)
    shutil.rmtree(root)


def recipe() -> str:
    """Changes when what `build` makes would change."""
    parts = [repr((PACKAGES, MODULES, DISK_MEGABYTES, INITRAMFS_INIT)), (HERE / "guest-init").read_text()]
    parts += [inspect.getsource(function) for function in (fetch_kernel, load_order, cpio, make_initramfs, make_disk)]
    return hashlib.sha256("".join(parts).encode()).hexdigest()


def build(folder: Path) -> None:
    if os.geteuid() != 0:
        fail("building the machine needs root")
    stamp = folder / "recipe"
    if stamp.exists() and stamp.read_text() == recipe():
        return
    folder.mkdir(parents=True, exist_ok=True)
    stamp.unlink(missing_ok=True)
    kernel = folder / "kernel"
    if not list(kernel.glob("boot/vmlinuz-*")):
        fetch_kernel(kernel)
    make_initramfs(kernel, folder / "initramfs")
    make_disk(folder / "disk")
    stamp.write_text(recipe())


# --- run ------------------------------------------------------------------------------------------------------------


def make_payload(target: Path, site: Path, tests: Path, commands: list[str], extra: list[str]) -> None:
    def owner(entry: tarfile.TarInfo) -> tarfile.TarInfo | None:
        if "__pycache__" in entry.name and not entry.name.startswith("site/"):
            return None
        entry.uid = entry.gid = 0
        entry.uname = entry.gname = ""
        return entry

    with tarfile.open(target, "w") as tar:
        tar.add(site, "site", filter=owner)
        tar.add(tests, "tests", filter=owner)
        for item in extra:
            source, _, name = item.partition(":")
            tar.add(source, name or Path(source).name, filter=owner)
        script = "".join(command + "\n" for command in commands).encode()
        entry = tarfile.TarInfo("commands")
        entry.size = len(script)
        tar.addfile(entry, io.BytesIO(script))
    # The guest sees whole sectors only.
    with target.open("ab") as file:
        file.write(b"\0" * (-file.tell() % 1048576))


def boot(folder: Path, payload: Path, accel: str, seconds: float) -> tuple[int, list[str]]:
    """Boots and copies the serial line to stdout. Returns qemu's status and the lines."""
    (kernel,) = (folder / "kernel").glob("boot/vmlinuz-*")
    command = ["qemu-system-x86_64", "-accel", accel, "-m", MEMORY, "-smp", "2", "-nographic", "-no-reboot", "-nic", "none"]
    command += ["-cpu", "max" if accel.startswith("tcg") else "host,-arch-capabilities"]
    command += ["-kernel", str(kernel), "-initrd", str(folder / "initramfs")]
    command += ["-append", "console=ttyS0 quiet loglevel=3 panic=-1 random.trust_cpu=on mitigations=off nokaslr"]
    command += ["-drive", f"file={folder / 'disk'},format=raw,if=virtio,snapshot=on"]
    command += ["-drive", f"file={payload},format=raw,if=virtio,readonly=on"]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    timer = threading.Timer(seconds, process.send_signal, [signal.SIGKILL])
    timer.start()
    lines = []
    try:
        assert process.stdout is not None
        for raw in process.stdout:
            line = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]|\x1bc", "", raw.decode(errors="replace")).rstrip("\r\n")
            lines.append(line)
            print(f"vm| {line}", flush=True)
        return process.wait(), lines
    finally:
        timer.cancel()
        if process.poll() is None:
            process.kill()
            process.wait()


def run(folder: Path, site: Path, tests: Path, commands: list[str], extra: list[str], accel: str, seconds: float) -> int:
    payload = folder / "payload.tar"
    make_payload(payload, site, tests, commands, extra)
    begin = time.monotonic()
    status, lines = boot(folder, payload, accel, seconds)
    payload.unlink()
    results = {}
    for line in lines:
        found = re.fullmatch(r"COBLE-VM-RESULT (\d+) (\d+)", line)
        if found:
            results[int(found.group(1))] = int(found.group(2))
    took = time.monotonic() - begin
    bad = [f"{number}: {command}" for number, command in enumerate(commands, start=1) if results.get(number) != 0]
    if status != 0:
        bad.append(f"the machine ended with status {status}" + (f" after {took:.0f} s, its time" if took >= seconds else ""))
    if "COBLE-VM-END" not in lines:
        bad.append("the machine did not come to its end")
    for text in bad:
        print(f"vm: FAILED {text}")
    print(f"vm: {len(commands)} commands in {took:.0f} s, {len(bad)} problems")
    return 1 if bad else 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=HERE.parent.parent / "target" / "vm")
    parser.add_argument("--accel", default=os.environ.get("COBLE_VM_ACCEL", "tcg,thread=multi"))
    parser.add_argument("--timeout", type=float, default=2100)
    sub = parser.add_subparsers(dest="verb", required=True)
    sub.add_parser("build")
    run_parser = sub.add_parser("run")
    run_parser.add_argument("site", type=Path)
    run_parser.add_argument("tests", type=Path)
    run_parser.add_argument("--extra", action="append", default=[], help="FILE[:NAME] for the payload")
    run_parser.add_argument("--command", action="append", default=[], help="a shell command, instead of those of the file `commands`")
    options = parser.parse_args()
    build(options.folder)
    if options.verb == "build":
        return 0
    listed = [line for line in (HERE / "commands").read_text().splitlines() if line.strip() and not line.startswith("#")]
    return run(options.folder, options.site, options.tests, options.command or listed, options.extra, options.accel, options.timeout)


if __name__ == "__main__":
    sys.exit(main())
