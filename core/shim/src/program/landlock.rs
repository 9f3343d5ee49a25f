//! Landlock: rules about files and ports that hold for the program and all that it starts, on top of everything else.

use std::os::fd::{AsFd, OwnedFd};

use coble_protocol::{Failure, Landlock, Step};
use rustix::fs::{FileType, OFlags};
use rustix::io::Errno;

use crate::failure::{During, explained};
use crate::root::Root;
use crate::sys;

const EXECUTE: u64 = 1 << 0;
const WRITE_FILE: u64 = 1 << 1;
const READ_FILE: u64 = 1 << 2;
const READ_DIR: u64 = 1 << 3;
const TRUNCATE: u64 = 1 << 14;
const IOCTL_DEV: u64 = 1 << 15;
/// What there is to a file that is no directory.
const OF_FILES: u64 = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEV;
const BIND_TCP: u64 = 1 << 0;
const CONNECT_TCP: u64 = 1 << 1;
/// Abstract sockets and signals.
const SCOPES: u64 = 0b11;

/// The rights to files that a version of the kernel's interface knows.
const fn rights(abi: u32) -> u64 {
    match abi {
        1 => (1 << 13) - 1,
        2 => (1 << 14) - 1,
        3 | 4 => (1 << 15) - 1,
        _ => (1 << 16) - 1,
    }
}

/// Rules whose files were found, which hold from [`Rules::enforce`] on.
pub(crate) struct Rules(OwnedFd);

impl Rules {
    /// Finds the files in the container's root.
    pub(crate) fn prepare(wanted: &Landlock, root: &Root) -> Result<Rules, Failure> {
        let step = Step::Landlock;
        let abi = sys::landlock_version().map_err(|errno| {
            explained(step, errno, "landlock", "this kernel has none, or has it turned off")
        })?;
        if abi < wanted.version() {
            let detail = format!(
                "this kernel has version {abi}, and what is asked for is of version {}",
                wanted.version()
            );
            return Err(Failure::rule(step, "landlock", detail));
        }
        let all = rights(abi);
        let paths = [
            (&wanted.read, READ_FILE | READ_DIR),
            (&wanted.write, all & !EXECUTE),
            (&wanted.exec, READ_FILE | READ_DIR | EXECUTE),
        ];
        let ports = [(&wanted.bind, BIND_TCP), (&wanted.connect, CONNECT_TCP)];
        let files = if paths.iter().all(|(list, _)| list.is_empty()) { 0 } else { all };
        let net = ports.iter().filter(|(list, _)| !list.is_empty()).fold(0, |net, (_, right)| net | right);
        let scopes = if wanted.scope { SCOPES } else { 0 };
        let rules = sys::landlock_ruleset(files, net, scopes).during(step, "rules")?;
        for (list, allowed) in paths {
            for path in list {
                let file = find(root, path)?;
                let kind = FileType::from_raw_mode(rustix::fs::fstat(&file).during(step, path)?.st_mode);
                let of = if kind == FileType::Directory { all } else { OF_FILES };
                sys::landlock_path(rules.as_fd(), file.as_fd(), allowed & of & all).during(step, path)?;
            }
        }
        for (list, right) in ports {
            for port in list {
                sys::landlock_port(rules.as_fd(), *port, right).during(step, port.to_string())?;
            }
        }
        Ok(Rules(rules))
    }

    /// Needs `no_new_privs` or the right to administer the user namespace.
    pub(crate) fn enforce(self) -> Result<(), Failure> {
        sys::landlock_enforce(self.0.as_fd()).map_err(|errno| match errno {
            Errno::TOOBIG => explained(Step::Landlock, errno, "rules", "there are too many upon each other"),
            errno => Failure::new(Step::Landlock, errno.raw_os_error(), "rules"),
        })
    }
}

/// Finds the file of a rule. No link is followed: where the program may write it makes those that it likes, and files are found anew at each start and for each program of exec.
fn find(root: &Root, path: &str) -> Result<OwnedFd, Failure> {
    root.strict(path.as_bytes(), OFlags::PATH).map_err(|errno| match errno {
        Errno::LOOP => {
            explained(Step::Landlock, errno, path, "there is a symbolic link in it: say where that leads")
        }
        errno => Failure::new(Step::Landlock, errno.raw_os_error(), path),
    })
}
