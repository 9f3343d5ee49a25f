//! Checks on the process that asks.

use std::fs;

use rustix::process::{Resource, geteuid, getrlimit};

use super::Check;
use crate::isolation::capabilities as caps;
use crate::isolation::userns;

/// What making a container as root takes.
const ESSENTIAL: u64 = 1 << caps::SYS_ADMIN | 1 << caps::SETUID | 1 << caps::SETGID | 1 << caps::SYS_CHROOT;

/// What it takes to do it completely: beside the default set, networks, owners of any file, and raising resource limits.
const WANTED: u64 =
    ESSENTIAL | caps::DEFAULT | 1 << caps::NET_ADMIN | 1 << caps::DAC_READ_SEARCH | 1 << caps::SYS_RESOURCE;

/// The fewest open files that a container's start needs with room to spare.
const FILES: u64 = 256;

/// The facts about the calling thread.
#[derive(Debug, Clone, Copy)]
pub(super) struct Caller {
    pub(super) uid: u32,
    effective: u64,
    no_new_privileges: bool,
}

impl Caller {
    pub(super) fn look() -> Caller {
        Caller::of(geteuid().as_raw(), &fs::read_to_string("/proc/thread-self/status").unwrap_or_default())
    }

    fn of(uid: u32, status: &str) -> Caller {
        let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        Caller {
            uid,
            effective: field("CapEff:").and_then(|hex| u64::from_str_radix(hex, 16).ok()).unwrap_or(0),
            no_new_privileges: field("NoNewPrivs:").is_some_and(|value| value != "0"),
        }
    }

    /// Root, with what makes root able to make containers.
    pub(super) fn is_capable_root(&self) -> bool {
        self.uid == 0 && ESSENTIAL & !self.effective == 0
    }

    pub(super) fn capabilities(&self, rootless: bool) -> Check {
        const NAME: &str = "capabilities";
        if rootless && self.uid == 0 && self.effective & (1 << caps::SETFCAP) == 0 {
            // The kernel's rule since Linux 5.12: files could get capabilities of user 0 otherwise.
            return Check::fail(
                NAME,
                "user 0 without CAP_SETFCAP cannot be mapped into a user namespace",
                "start the caller, or the container around it, as another user (--user), or with --cap-add SETFCAP",
            );
        }
        if rootless {
            return Check::ok(NAME, "not needed: containers run in a user namespace");
        }
        if self.uid != 0 {
            return Check::fail(NAME, format!("user {} is not root", self.uid), "run rootless, or as root");
        }
        let lacking = caps::names(ESSENTIAL & !self.effective);
        if !lacking.is_empty() {
            return Check::fail(
                NAME,
                format!("root lacks {}", lacking.join(", ")),
                "run rootless, or start the surrounding container with these capabilities (--cap-add)",
            );
        }
        let lacking = caps::names(WANTED & !self.effective);
        if lacking.is_empty() {
            return Check::ok(NAME, "root has everything that containers can get");
        }
        Check::warning(
            NAME,
            format!(
                "root lacks {}: containers do without, and resource limits may not be raised",
                lacking.join(", ")
            ),
            "start the caller, or the container around it, with these capabilities (--cap-add)",
        )
    }

    pub(super) fn no_new_privileges(&self, rootless: bool) -> Check {
        const NAME: &str = "no-new-privileges";
        match (self.no_new_privileges, rootless && self.uid != 0) {
            (false, _) => Check::ok(NAME, "not set on the caller"),
            (true, false) => Check::ok(NAME, "set on the caller, and without consequences for root"),
            (true, true) => Check::warning(
                NAME,
                "set on the caller: newuidmap has no effect, so containers have a single user id",
                "start the caller without NoNewPrivileges=, setpriv --no-new-privs or a sandbox that sets it",
            ),
        }
    }
}

/// Ranges for user namespaces.
pub(super) fn subordinate_ids(rootless: bool) -> Check {
    const NAME: &str = "subordinate-ids";
    if !rootless {
        return Check::ok(NAME, "not needed: containers run without a user namespace");
    }
    match userns::single_id_reason() {
        None => Check::ok(NAME, "ranges of user and group ids, and the helpers that map them"),
        Some(reason) => {
            Check::warning(NAME, format!("containers have a single user id: {}", reason.cause), reason.fix)
        }
    }
}

pub(super) fn resource_limits() -> Check {
    let soft = |resource| getrlimit(resource).current.unwrap_or(u64::MAX);
    resource_limits_of(soft(Resource::Nofile), soft(Resource::Fsize))
}

fn resource_limits_of(files: u64, size: u64) -> Check {
    const NAME: &str = "resource-limits";
    if files < FILES {
        return Check::warning(NAME, format!("the caller may open {files} files only"), "ulimit -n 1024");
    }
    if size < 1 << 30 {
        return Check::warning(
            NAME,
            format!("the caller may write files of {size} bytes only"),
            "ulimit -f unlimited",
        );
    }
    Check::ok(NAME, "enough open files")
}

#[cfg(test)]
mod tests {
    use super::super::CheckStatus;
    use super::*;

    fn caller(uid: u32, effective: u64, no_new_privileges: bool) -> Caller {
        Caller { uid, effective, no_new_privileges }
    }

    #[test]
    fn status_files_are_read() {
        let read = Caller::of(0, "CapEff:\t000001fffeffffff\nNoNewPrivs:\t1\n");
        assert_eq!((read.effective, read.no_new_privileges), (0x1ff_feff_ffff, true));
        assert!(read.is_capable_root());
        assert!(!Caller::of(1000, "CapEff:\t000001fffeffffff\n").is_capable_root());
        assert!(!Caller::of(0, "").is_capable_root());
    }

    #[test]
    fn lacking_capabilities_are_named() {
        assert_eq!(caller(0, u64::MAX, false).capabilities(false).status, CheckStatus::Ok);
        let check = caller(0, caps::ALL & !(1 << caps::SYS_RESOURCE), false).capabilities(false);
        assert_eq!(check.status, CheckStatus::Warning);
        assert!(check.summary.contains("CAP_SYS_RESOURCE"));
        let check = caller(0, caps::DEFAULT, false).capabilities(false);
        assert_eq!(check.status, CheckStatus::Fail);
        assert!(check.summary.contains("CAP_SYS_ADMIN") && !check.summary.contains("CAP_SETUID"));
        assert_eq!(caller(1000, 0, false).capabilities(false).status, CheckStatus::Fail);
        assert_eq!(caller(1000, 0, false).capabilities(true).status, CheckStatus::Ok);
        assert_eq!(caller(0, caps::DEFAULT, false).capabilities(true).status, CheckStatus::Ok);
        let check = caller(0, caps::DEFAULT & !(1 << caps::SETFCAP), false).capabilities(true);
        assert_eq!(check.status, CheckStatus::Fail);
        assert!(check.summary.contains("CAP_SETFCAP"));
    }

    #[test]
    fn no_new_privileges_matters_to_users_only() {
        assert_eq!(caller(1000, 0, true).no_new_privileges(true).status, CheckStatus::Warning);
        assert_eq!(caller(1000, 0, false).no_new_privileges(true).status, CheckStatus::Ok);
        assert_eq!(caller(0, 0, true).no_new_privileges(true).status, CheckStatus::Ok);
    }

    #[test]
    fn low_limits_are_named() {
        assert_eq!(resource_limits_of(1024, u64::MAX).status, CheckStatus::Ok);
        assert_eq!(resource_limits_of(64, u64::MAX).fix.unwrap(), "ulimit -n 1024");
        assert_eq!(resource_limits_of(1024, 4096).status, CheckStatus::Warning);
    }
}
