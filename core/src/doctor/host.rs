//! Checks on the kernel and its settings.

use std::fs;

use rustix::fs::MemfdFlags;
use rustix::io::Errno;
use rustix::mount::{FsOpenFlags, OpenTreeFlags, fsopen, open_tree};
use rustix::process::{PidfdFlags, getpid, pidfd_open};

use super::Check;
use crate::sys::probe;

/// The oldest kernel.
const MINIMUM: (u32, u32) = (5, 14);

pub(super) fn kernel() -> Check {
    kernel_of(&rustix::system::uname().release().to_string_lossy())
}

fn kernel_of(release: &str) -> Check {
    match version(release) {
        Some(found) if found >= MINIMUM => Check::ok("kernel", format!("Linux {release}")),
        _ => Check::fail(
            "kernel",
            format!("Linux {release} is older than {}.{}", MINIMUM.0, MINIMUM.1),
            format!("boot a kernel of version {}.{} or newer", MINIMUM.0, MINIMUM.1),
        ),
    }
}

/// The first two numbers of a release.
pub(super) fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

/// The system calls that the shim needs, asked for here: a surrounding container may filter them.
pub(super) fn system_calls(rootless: bool) -> Check {
    let refused = |errno: Errno| matches!(errno, Errno::NOSYS | Errno::PERM);
    let mut missing = Vec::new();
    if pidfd_open(getpid(), PidfdFlags::empty()).is_err_and(refused) {
        missing.push("pidfd_open");
    }
    if refused(probe::clone3()) {
        missing.push("clone3");
    }
    if open_tree(rustix::fs::CWD, "/", OpenTreeFlags::OPEN_TREE_CLOEXEC).is_err_and(refused) {
        missing.push("open_tree");
    }
    // Needs privileges by itself, which a rootless shim has in its own user namespace only.
    let fsopen = fsopen("tmpfs", FsOpenFlags::FSOPEN_CLOEXEC).err();
    if fsopen.is_some_and(|errno| errno == Errno::NOSYS || (errno == Errno::PERM && !rootless)) {
        missing.push("fsopen");
    }
    if probe::mount_setattr() == Errno::NOSYS || (refused(probe::mount_setattr()) && !rootless) {
        missing.push("mount_setattr");
    }
    if missing.is_empty() {
        return Check::ok("system-calls", "pidfds, clone3 and the mount calls are there");
    }
    Check::fail(
        "system-calls",
        format!("not there, or forbidden by a filter around this process: {}", missing.join(", ")),
        "inside another container, start that one with --security-opt seccomp=unconfined (and --cap-add SYS_ADMIN); otherwise boot a newer kernel",
    )
}

/// The settings that user namespaces depend on; None where the kernel does not have the setting.
#[derive(Debug, Clone, Copy, Default)]
struct UserNamespaces {
    supported: bool,
    most: Option<u64>,
    debian: Option<u64>,
    apparmor: Option<u64>,
}

pub(super) fn user_namespaces(rootless: bool, uid: u32) -> Check {
    user_namespaces_of(
        UserNamespaces {
            supported: fs::exists("/proc/self/ns/user").unwrap_or(false),
            most: number("/proc/sys/user/max_user_namespaces"),
            debian: number("/proc/sys/kernel/unprivileged_userns_clone"),
            apparmor: number("/proc/sys/kernel/apparmor_restrict_unprivileged_userns"),
        },
        rootless,
        uid,
    )
}

fn user_namespaces_of(found: UserNamespaces, rootless: bool, uid: u32) -> Check {
    const NAME: &str = "user-namespaces";
    // As root they are needed for rootless mode only.
    let problem = |summary: &str, fix: &str| Check::needed(rootless, NAME, summary, fix);
    if !found.supported {
        return problem("the kernel has no user namespaces", "boot a kernel with CONFIG_USER_NS");
    }
    if found.most == Some(0) {
        return problem(
            "user namespaces are turned off (user.max_user_namespaces is 0)",
            "sysctl -w user.max_user_namespaces=15000",
        );
    }
    if uid != 0 && found.debian == Some(0) {
        return problem(
            "only root may make user namespaces (kernel.unprivileged_userns_clone is 0)",
            "sysctl -w kernel.unprivileged_userns_clone=1",
        );
    }
    if uid != 0 && found.apparmor.is_some_and(|value| value != 0) {
        // Whether a profile allows it for the helper cannot be seen without trying, so this is no failure.
        return Check::warning(
            NAME,
            "AppArmor lets only programs with a profile make usable user namespaces (kernel.apparmor_restrict_unprivileged_userns is 1)",
            "put the helper into a file, name it in COBLE_SHIM, and load a profile for it: \
             printf 'abi <abi/4.0>,\\nprofile coble-shim %s flags=(unconfined) { userns, }\\n' \"$COBLE_SHIM\" > /etc/apparmor.d/coble-shim && \
             apparmor_parser -r /etc/apparmor.d/coble-shim; or: sysctl -w kernel.apparmor_restrict_unprivileged_userns=0",
        );
    }
    Check::ok(NAME, "can be made")
}

pub(super) fn overlay(rootless: bool) -> Check {
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    let known = fs::read_to_string("/proc/filesystems").unwrap_or_default();
    let modules: String = ["modules.builtin", "modules.dep"]
        .map(|list| fs::read_to_string(format!("/lib/modules/{release}/{list}")).unwrap_or_default())
        .concat();
    overlay_of(&known, &modules, rootless)
}

fn overlay_of(filesystems: &str, modules: &str, rootless: bool) -> Check {
    if filesystems.lines().any(|line| line.split_whitespace().last() == Some("overlay")) {
        return Check::ok("overlay", "the kernel has the overlay file system");
    }
    let loadable =
        modules.lines().any(|line| line.split(':').next().is_some_and(|path| path.contains("/overlay.ko")));
    match (loadable, rootless) {
        (true, false) => Check::ok("overlay", "the overlay module can be loaded"),
        (true, true) => Check::warning(
            "overlay",
            "the overlay module is not loaded, and users may not be able to",
            "modprobe overlay",
        ),
        (false, _) => Check::fail(
            "overlay",
            "the kernel has no overlay file system",
            "modprobe overlay, or boot a kernel with CONFIG_OVERLAY_FS",
        ),
    }
}

pub(super) fn seccomp() -> Check {
    seccomp_of(&fs::read_to_string("/proc/sys/kernel/seccomp/actions_avail").unwrap_or_default())
}

fn seccomp_of(actions: &str) -> Check {
    let missing: Vec<&str> = ["kill_process", "errno", "allow"]
        .into_iter()
        .filter(|wanted| !actions.split_whitespace().any(|known| known == *wanted))
        .collect();
    if missing.is_empty() {
        return Check::ok("seccomp", "system call filters are there");
    }
    Check::fail(
        "seccomp",
        format!("the kernel cannot filter system calls: no {}", missing.join(", ")),
        "boot a kernel with CONFIG_SECCOMP_FILTER, or run containers with the security option seccomp=unconfined",
    )
}

/// Whether a program can be started from memory.
pub(super) fn memfd() -> Check {
    let exec = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING | MemfdFlags::EXEC;
    let made = match rustix::fs::memfd_create("coble-doctor", exec) {
        // Before Linux 6.3 all of them were executable, and the flag was unknown.
        Err(Errno::INVAL) => {
            rustix::fs::memfd_create("coble-doctor", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)
        }
        result => result,
    };
    match made {
        Ok(_) => Check::ok("memfd-exec", "the helper can be started from memory"),
        Err(errno) => Check::warning(
            "memfd-exec",
            format!(
                "the helper cannot be started from memory (memfd_create: {errno}), and is started from a file"
            ),
            "sysctl -w vm.memfd_noexec=1",
        ),
    }
}

/// Whether procfs and sysfs can be mounted afresh: in a user namespace the kernel allows it only where nothing covers parts of them.
pub(super) fn nesting(rootless: bool) -> Check {
    nesting_of(&fs::read_to_string("/proc/self/mountinfo").unwrap_or_default(), rootless)
}

fn nesting_of(mountinfo: &str, rootless: bool) -> Check {
    let covered: Vec<&str> = mountinfo
        .lines()
        .filter_map(|line| line.split(' ').nth(4))
        .filter(|point| {
            let below = point.starts_with("/proc/") || point.starts_with("/sys/");
            // Places that the kernel makes for mounting: they hide nothing.
            let meant = ["/proc/sys/fs/binfmt_misc", "/sys/fs/", "/sys/kernel/", "/sys/firmware/efi/efivars"];
            below && !meant.iter().any(|prefix| point.starts_with(prefix))
        })
        .collect();
    if covered.is_empty() {
        return Check::ok("nesting", "nothing covers parts of /proc and /sys");
    }
    let most = 4;
    let mut shown = covered.iter().take(most).copied().collect::<Vec<_>>().join(", ");
    if covered.len() > most {
        shown.push_str(&format!(" and {} more", covered.len() - most));
    }
    Check::needed(
        rootless,
        "nesting",
        format!(
            "mounts cover parts of /proc or /sys ({shown}), as in a container: user namespaces cannot mount their own"
        ),
        "start the surrounding container with --security-opt systempaths=unconfined (podman: --security-opt unmask=ALL)",
    )
}

fn number(path: &str) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::super::CheckStatus;
    use super::*;

    #[test]
    fn releases_are_compared_by_number() {
        for (release, expected) in [
            ("6.18.44-x", CheckStatus::Ok),
            ("5.14.0", CheckStatus::Ok),
            ("5.14-rc1+", CheckStatus::Ok),
            ("5.9.9", CheckStatus::Fail),
            ("4.19.0-amd64", CheckStatus::Fail),
            ("strange", CheckStatus::Fail),
        ] {
            assert_eq!(kernel_of(release).status, expected, "{release}");
        }
        assert_eq!(version("10.2"), Some((10, 2)));
    }

    #[test]
    fn each_obstacle_to_user_namespaces_is_named() {
        let good = UserNamespaces { supported: true, most: Some(100), debian: None, apparmor: None };
        assert_eq!(user_namespaces_of(good, true, 1000).status, CheckStatus::Ok);
        for (found, word) in [
            (UserNamespaces { supported: false, ..good }, "CONFIG_USER_NS"),
            (UserNamespaces { most: Some(0), ..good }, "user.max_user_namespaces"),
            (UserNamespaces { debian: Some(0), ..good }, "kernel.unprivileged_userns_clone"),
        ] {
            let check = user_namespaces_of(found, true, 1000);
            assert_eq!(check.status, CheckStatus::Fail);
            assert!(check.fix.unwrap().contains(word));
            assert_ne!(user_namespaces_of(found, false, 0).status, CheckStatus::Fail);
        }
        let ubuntu = UserNamespaces { apparmor: Some(1), debian: Some(1), ..good };
        let check = user_namespaces_of(ubuntu, true, 1000);
        assert_eq!(check.status, CheckStatus::Warning);
        assert!(check.fix.unwrap().contains("COBLE_SHIM"));
        assert_eq!(user_namespaces_of(ubuntu, true, 0).status, CheckStatus::Ok);
    }

    #[test]
    fn overlay_is_there_or_loadable_or_missing() {
        let ask = |known: &str, modules: &str, rootless| overlay_of(known, modules, rootless).status;
        assert_eq!(ask("nodev\ttmpfs\nnodev\toverlay\n", "", true), CheckStatus::Ok);
        assert_eq!(ask("nodev\toverlayx\n", "", false), CheckStatus::Fail);
        let modules = "kernel/fs/overlayfs/overlay.ko.xz: kernel/x.ko\n";
        assert_eq!(ask("", modules, false), CheckStatus::Ok);
        assert_eq!(ask("", modules, true), CheckStatus::Warning);
        assert_eq!(ask("", "kernel/a.ko: kernel/fs/overlayfs/overlay.ko\n", true), CheckStatus::Fail);
    }

    #[test]
    fn seccomp_needs_its_actions() {
        assert_eq!(seccomp_of("kill_process kill_thread trap errno allow\n").status, CheckStatus::Ok);
        assert_eq!(seccomp_of("").status, CheckStatus::Fail);
        assert!(seccomp_of("kill_process allow").summary.ends_with("no errno"));
    }

    #[test]
    fn covered_proc_is_seen() {
        let plain = "22 1 0:20 / /proc rw - proc proc rw\n23 22 0:30 / /proc/sys/fs/binfmt_misc rw - autofs a rw\n\
                     24 1 0:21 / /sys rw - sysfs s rw\n25 24 0:22 / /sys/fs/cgroup rw - cgroup2 c rw\n";
        assert_eq!(nesting_of(plain, true).status, CheckStatus::Ok);
        let docker = format!(
            "{plain}26 22 0:40 / /proc/kcore rw - tmpfs tmpfs rw\n27 24 0:41 / /sys/firmware ro - tmpfs t rw\n"
        );
        let check = nesting_of(&docker, true);
        assert_eq!(check.status, CheckStatus::Fail);
        assert!(check.summary.contains("/proc/kcore, /sys/firmware"));
        assert_eq!(nesting_of(&docker, false).status, CheckStatus::Warning);
    }
}
