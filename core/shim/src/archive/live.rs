//! The files of a running container, with what is mounted in it: the container's mount namespace, copied, so that nothing that happens in the one shows in the other.
//!
//! The worker loads nothing of what it finds there, and the container sees neither the worker, which stays in its own pid namespace, nor the copy. What the kernel shows of
//! itself (`/proc`, `/sys`, `/dev` and file systems of their kind) is taken out of the copy first: a link of the container that leads there leads to an empty directory.

use std::os::fd::{AsFd, OwnedFd};

use coble_protocol::{Failure, Fds, Live, Step};
use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{OpenTreeFlags, UnmountFlags};
use rustix::thread::ThreadNameSpaceType;

use super::sandbox::{self, INERT, READ_ONLY, fail};
use super::take;
use crate::failure::During;
use crate::ids::IdMaps;
use crate::program::verify;
use crate::userns;

/// The places where every container has file systems of the kernel.
const PLACES: &[&str] = &["/proc", "/sys", "/dev"];

/// File systems that are no storage: what is read from them is made up by the kernel, and what is written to them does something.
const KERNEL: &[&str] = &[
    "autofs",
    "binder",
    "binfmt_misc",
    "bpf",
    "cgroup",
    "cgroup2",
    "configfs",
    "debugfs",
    "devpts",
    "devtmpfs",
    "efivarfs",
    "fusectl",
    "mqueue",
    "nfsd",
    "nsfs",
    "proc",
    "pstore",
    "resctrl",
    "rpc_pipefs",
    "securityfs",
    "selinuxfs",
    "smackfs",
    "sysfs",
    "tracefs",
];

/// How often the list of mounts is gone through. Those of a container that mounts things over each other go one after the other.
const ROUNDS: usize = 64;
/// The longest list of mounts.
const MAX_MOUNTS: usize = 16 << 20;

/// Makes the root of a copy of the container's mount namespace the working directory and the root of this process. Returns a pidfd of the container's first process.
pub(super) fn enter(live: Live, writable: bool, fds: &mut Fds) -> Result<OwnedFd, Failure> {
    let init = take(fds, live.init)?;
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let proc =
        rustix::fs::openat(CWD, "/proc", flags, Mode::empty()).map_err(|errno| fail(errno, "/proc"))?;
    let mut namespaces = ThreadNameSpaceType::MOUNT;
    if live.userns {
        namespaces |= ThreadNameSpaceType::USER;
    }
    rustix::thread::move_into_thread_name_spaces(init.as_fd(), namespaces).during(Step::Join, "container")?;
    if live.userns {
        become_root(&proc)?;
    }
    sandbox::private_namespace()?;
    take_out_kernel(&proc)?;
    drop(proc);
    let root = rustix::mount::open_tree(CWD, "/", OpenTreeFlags::OPEN_TREE_CLOEXEC)
        .map_err(|errno| fail(errno, "root of the container"))?;
    sandbox::set_mount(&root, if writable { INERT } else { INERT | READ_ONLY })?;
    rustix::process::chdir("/").map_err(|errno| fail(errno, "chdir"))?;
    Ok(init)
}

/// Becomes user 0 of the container's user namespace, with no other group: in one that is not the engine's, the worker would be nobody.
fn become_root(proc: &OwnedFd) -> Result<(), Failure> {
    let maps = IdMaps::collect(|file| {
        let path = format!("self/{file}");
        verify::read(verify::open(proc.as_fd(), &path)?.as_fd(), &path)
    })?;
    userns::become_root(&maps)
}

/// Takes the kernel's file systems out of this mount namespace, which is a copy, and makes sure that they are gone.
fn take_out_kernel(proc: &OwnedFd) -> Result<(), Failure> {
    let detach = UnmountFlags::DETACH | UnmountFlags::NOFOLLOW;
    for place in PLACES {
        // Not there, or no mount.
        let _ = rustix::mount::unmount(*place, detach);
    }
    for _ in 0..ROUNDS {
        let list = mounts(proc)?;
        let mut found = false;
        // What is mounted last comes first, as it may be on top of others.
        for path in kernel_mounts(&list).into_iter().rev() {
            found = true;
            // Somebody may put a link in the way: then another mount of the copy goes, or none, and it is looked at again.
            let _ = rustix::mount::unmount(path.as_slice(), detach);
        }
        if !found {
            return Ok(());
        }
    }
    Err(Failure::rule(
        Step::Sandbox,
        "mounts of the container",
        "file systems of the kernel cannot be taken out of it",
    ))
}

/// This process's list of mounts, as of `/proc/self/mountinfo`.
fn mounts(proc: &OwnedFd) -> Result<Vec<u8>, Failure> {
    let fail = |errno: Errno| fail(errno, "mountinfo");
    let file = rustix::fs::openat(proc, "self/mountinfo", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
        .map_err(fail)?;
    let mut list = Vec::new();
    let mut buffer = vec![0; 64 << 10];
    loop {
        match rustix::io::read(&file, &mut buffer[..]) {
            Ok(0) => return Ok(list),
            Ok(count) => list.extend_from_slice(buffer.get(..count).unwrap_or_default()),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(fail(errno)),
        }
        if list.len() > MAX_MOUNTS {
            return Err(fail(Errno::FBIG));
        }
    }
}

/// The mount points of file systems that are the kernel's, or are where those belong.
fn kernel_mounts(list: &[u8]) -> Vec<Vec<u8>> {
    let of_line = |line: &[u8]| {
        let mut fields = line.split(|&byte| byte == b' ');
        let point = unescape(fields.nth(4)?);
        let kind = fields.skip_while(|field| *field != b"-").nth(1)?;
        let place = PLACES.iter().any(|place| {
            let rest = point.strip_prefix(place.as_bytes());
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
        });
        (place || KERNEL.iter().any(|name| name.as_bytes() == kind)).then_some(point)
    };
    list.split(|&byte| byte == b'\n').filter_map(of_line).collect()
}

/// Spaces, tabs, newlines and backslashes stand there as three octal digits.
fn unescape(field: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&byte, tail)) = rest.split_first() {
        let digits = tail.get(..3).filter(|_| byte == b'\\');
        let code = digits.and_then(|digits| std::str::from_utf8(digits).ok()?.parse::<OctalByte>().ok());
        match code {
            Some(OctalByte(code)) => {
                out.push(code);
                rest = tail.get(3..).unwrap_or_default();
            }
            None => {
                out.push(byte);
                rest = tail;
            }
        }
    }
    out
}

struct OctalByte(u8);

impl std::str::FromStr for OctalByte {
    type Err = std::num::ParseIntError;

    fn from_str(digits: &str) -> Result<OctalByte, Self::Err> {
        u8::from_str_radix(digits, 8).map(OctalByte)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_file_systems_are_found_in_the_list() {
        let list = b"36 35 0:30 / / rw - overlay overlay rw\n\
            37 36 0:31 / /proc rw,nosuid shared:3 - proc proc rw\n\
            38 37 0:32 /x /proc/kcore rw - tmpfs tmpfs rw\n\
            39 36 0:33 / /tmp/a\\040b rw - cgroup2 cgroup rw\n\
            40 36 0:34 / /process rw - tmpfs - rw\n\
            41 36 0:35 / /data rw master:1 - ext4 /dev/vda rw\n";
        let found = kernel_mounts(list);
        assert_eq!(found, [&b"/proc"[..], b"/proc/kcore", b"/tmp/a b"]);
        assert_eq!(unescape(b"a\\134\\04\\999"), b"a\\\\04\\999");
    }
}
