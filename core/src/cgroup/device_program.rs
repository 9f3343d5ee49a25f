//! Device rules of a version 2 cgroup: a program that the kernel asks. Works in any version 2 hierarchy, also in the one of a hybrid host, which has
//! no controllers.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::OnceLock;

use rustix::io::Errno;

use super::{Problem, devices};
use crate::error::{Error, Result};
use crate::isolation::defaults::{DEVICE_RULES, DeviceRule};
use crate::sys::bpf;

/// The program for the default rules, loaded at its first use and then attached to every cgroup.
#[derive(Debug, Default)]
pub(super) struct DeviceProgram(OnceLock<std::result::Result<OwnedFd, Errno>>);

impl DeviceProgram {
    /// Puts rules in force for a cgroup. None if they are.
    pub(super) fn attach(
        &self,
        rules: &[DeviceRule],
        cgroup: BorrowedFd<'_>,
        path: &Path,
    ) -> Result<Option<Problem>> {
        let load = || bpf::load_device_program(&devices::program(rules));
        let own;
        let loaded = if rules == DEVICE_RULES {
            self.0.get_or_init(load)
        } else {
            own = load();
            &own
        };
        let result = match loaded {
            Ok(program) => bpf::attach_device_program(program.as_fd(), cgroup),
            Err(errno) => Err(*errno),
        };
        match result {
            Ok(()) => Ok(None),
            Err(Errno::PERM | Errno::ACCESS | Errno::NOSYS | Errno::INVAL) => Ok(Some(Problem::new(
                "the caller may not load device programs into the kernel (bpf)",
                "run the caller with CAP_BPF and CAP_NET_ADMIN or CAP_SYS_ADMIN, outside of a seccomp filter that forbids bpf",
            ))),
            Err(errno) => Err(Error::syscall("bpf", path, errno.raw_os_error())),
        }
    }
}
