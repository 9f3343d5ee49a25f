//! Capabilities: names, masks, the default set, and docker's rules for adding and dropping.

use std::fs;
use std::sync::OnceLock;

use rustix::thread::CapabilitySet;

use crate::container::Warning;
use crate::error::{Call, Error, ErrorKind, Result};

macro_rules! capabilities {
    ($($name:ident = $number:literal;)*) => {
        $(#[doc = concat!("`CAP_", stringify!($name), "`")] #[allow(dead_code)] pub(crate) const $name: u8 = $number;)*

        /// Every capability, by number: the place in the list is the number.
        const NAMES: &[&str] = &[$(concat!("CAP_", stringify!($name)),)*];
    };
}

capabilities! {
    CHOWN = 0; DAC_OVERRIDE = 1; DAC_READ_SEARCH = 2; FOWNER = 3; FSETID = 4; KILL = 5; SETGID = 6; SETUID = 7; SETPCAP = 8;
    LINUX_IMMUTABLE = 9; NET_BIND_SERVICE = 10; NET_BROADCAST = 11; NET_ADMIN = 12; NET_RAW = 13; IPC_LOCK = 14; IPC_OWNER = 15;
    SYS_MODULE = 16; SYS_RAWIO = 17; SYS_CHROOT = 18; SYS_PTRACE = 19; SYS_PACCT = 20; SYS_ADMIN = 21; SYS_BOOT = 22;
    SYS_NICE = 23; SYS_RESOURCE = 24; SYS_TIME = 25; SYS_TTY_CONFIG = 26; MKNOD = 27; LEASE = 28; AUDIT_WRITE = 29;
    AUDIT_CONTROL = 30; SETFCAP = 31; MAC_OVERRIDE = 32; MAC_ADMIN = 33; SYSLOG = 34; WAKE_ALARM = 35; BLOCK_SUSPEND = 36;
    AUDIT_READ = 37; PERFMON = 38; BPF = 39; CHECKPOINT_RESTORE = 40;
}

/// The mask of every capability that has a name.
pub(crate) const ALL: u64 = (1 << 41) - 1;

/// What a container has unless asked otherwise: docker's fourteen.
pub(crate) const DEFAULT: u64 = 1 << CHOWN
    | 1 << DAC_OVERRIDE
    | 1 << FSETID
    | 1 << FOWNER
    | 1 << MKNOD
    | 1 << NET_RAW
    | 1 << SETGID
    | 1 << SETUID
    | 1 << SETFCAP
    | 1 << SETPCAP
    | 1 << NET_BIND_SERVICE
    | 1 << SYS_CHROOT
    | 1 << KILL
    | 1 << AUDIT_WRITE;

/// A list of the caller's, read.
struct List {
    mask: u64,
    all: bool,
}

fn read(option: &str, names: &[String]) -> Result<List> {
    let mut list = List { mask: 0, all: false };
    for name in names {
        let upper = name.to_ascii_uppercase();
        if upper == "ALL" {
            list.all = true;
            continue;
        }
        let short = upper.strip_prefix("CAP_").unwrap_or(&upper);
        match NAMES.iter().position(|known| known.strip_prefix("CAP_") == Some(short)) {
            Some(number) => list.mask |= 1 << number,
            None => {
                let shown = name.escape_debug();
                return Err(Error::new(
                    ErrorKind::InvalidArgument,
                    format!("{option}: unknown capability \"{shown}\""),
                )
                .with_object(name.clone()));
            }
        }
    }
    Ok(list)
}

/// The set that these lists ask for, by docker's rules: `ALL` added is everything but what is dropped, `ALL` dropped is nothing but
/// what is added, and otherwise the default set without what is dropped and with what is added. Case and the prefix
/// `CAP_` do not matter.
pub(crate) fn from_lists(add: &[String], drop: &[String]) -> Result<u64> {
    let (add, drop) = (read("cap_add", add)?, read("cap_drop", drop)?);
    Ok(match (add.all, drop.all) {
        (true, _) => ALL & !drop.mask,
        (false, true) => add.mask,
        (false, false) => DEFAULT & !drop.mask | add.mask,
    })
}

/// What of a set (see [`from_lists`]) the calling thread can give to a container. In a user namespace of its own the first process has
/// every capability that the kernel knows; otherwise it has what the caller has and its bounding set leaves. A capability
/// that was added by its name and cannot be had is an error; of the others those that cannot be had are left out, with the warning
/// `capability-not-available`.
pub(crate) fn available(asked: u64, add: &[String], rootless: bool) -> Result<(u64, Vec<Warning>)> {
    let kernel = kernel_mask();
    let available = if rootless { kernel } else { own(asked & kernel)? };
    within(asked, add, available, kernel)
}

fn within(asked: u64, add: &[String], available: u64, kernel: u64) -> Result<(u64, Vec<Warning>)> {
    let add = read("cap_add", add)?;
    let missing = asked & !available;
    let refused = missing & add.mask;
    if refused != 0 {
        let refused = names(refused).join(", ");
        return Err(Error::new(
            ErrorKind::PermissionDenied,
            format!("cap_add: the caller lacks \"{refused}\" and cannot give it to a container"),
        )
        .with_object(refused)
        .with_hint(
            "give the caller this capability in its permitted and bounding sets, or leave it out of cap_add",
        ));
    }
    let mut warnings = Vec::new();
    // Of ALL, what the kernel does not know is not missed.
    let missed = if add.all { missing & kernel } else { missing };
    if missed != 0 {
        warnings.push(Warning {
            code: "capability-not-available".into(),
            message: format!("the container lacks {}, because the caller lacks it", names(missed).join(", ")),
        });
    }
    Ok((asked & available, warnings))
}

/// What of these is in the permitted set and in the bounding set of the calling thread. Threads may differ, and the shim descends from this one.
fn own(asked: u64) -> Result<u64> {
    let permitted = crate::sys::permitted_capabilities().call("capget", "capabilities")?;
    let mut found = 0;
    for bit in (0..64).map(|number| 1 << number).filter(|bit| asked & permitted & bit != 0) {
        let one = CapabilitySet::from_bits_retain(bit);
        if rustix::thread::capability_is_in_bounding_set(one)
            .call("prctl", format!("capabilities {bit:#x}"))?
        {
            found |= bit;
        }
    }
    Ok(found)
}

/// The capabilities that the running kernel knows.
fn kernel_mask() -> u64 {
    static MASK: OnceLock<u64> = OnceLock::new();
    *MASK.get_or_init(read_kernel_mask)
}

fn read_kernel_mask() -> u64 {
    let last = fs::read_to_string("/proc/sys/kernel/cap_last_cap")
        .ok()
        .and_then(|text| text.trim().parse::<u32>().ok());
    match last {
        Some(last) if last < 63 => ALL & ((1 << (last + 1)) - 1),
        _ => ALL,
    }
}

/// The mask of these names, with `CAP_`. Others are left out.
pub(crate) fn mask(names: &[String]) -> u64 {
    let number = |name: &String| NAMES.iter().position(|known| known == name);
    names.iter().filter_map(number).fold(0, |mask, number| mask | 1 << number)
}

/// The names in a mask, in the order of their numbers. Numbers without a name are written as `CAP_<number>`.
pub(crate) fn names(mask: u64) -> Vec<String> {
    (0..64)
        .filter(|number| mask & (1 << number) != 0)
        .map(|number| NAMES.get(number).map_or_else(|| format!("CAP_{number}"), |name| (*name).to_owned()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    fn ask(add: &[&str], drop: &[&str]) -> u64 {
        from_lists(&list(add), &list(drop)).unwrap()
    }

    #[test]
    fn names_and_numbers_belong_together() {
        assert_eq!(NAMES.len(), 41);
        assert_eq!(NAMES[usize::from(CHECKPOINT_RESTORE)], "CAP_CHECKPOINT_RESTORE");
        assert_eq!(NAMES[usize::from(SYS_ADMIN)], "CAP_SYS_ADMIN");
        assert_eq!(NAMES[usize::from(SETFCAP)], "CAP_SETFCAP");
        assert_eq!(names(1 << 0 | 1 << 21 | 1 << 50), ["CAP_CHOWN", "CAP_SYS_ADMIN", "CAP_50"]);
        assert_eq!(names(ALL).len(), 41);
    }

    #[test]
    fn the_default_set_is_the_published_one() {
        // The mask that /proc/self/status shows in a docker container.
        assert_eq!(DEFAULT, 0xa804_25fb);
        assert_eq!(DEFAULT.count_ones(), 14);
        assert_eq!(ask(&[], &[]), DEFAULT);
    }

    #[test]
    fn lists_follow_dockers_rules() {
        assert_eq!(ask(&["net_admin"], &["CAP_MKNOD"]), (DEFAULT | 1 << NET_ADMIN) & !(1 << MKNOD));
        assert_eq!(ask(&["Cap_Net_Admin", "NET_ADMIN"], &[]), DEFAULT | 1 << NET_ADMIN);
        assert_eq!(ask(&["ALL"], &[]), ALL);
        assert_eq!(ask(&["all"], &["sys_admin"]), ALL & !(1 << SYS_ADMIN));
        assert_eq!(ask(&[], &["ALL"]), 0);
        assert_eq!(ask(&["CHOWN"], &["ALL"]), 1 << CHOWN);
        assert_eq!(ask(&["ALL"], &["ALL"]), ALL);
        // Added and dropped: added wins.
        assert_eq!(ask(&["CHOWN"], &["CHOWN"]), DEFAULT);
        for bad in ["", "CAP_", "CAP_ALL", "SYS_ADMIN ", "CAP_CAP_CHOWN", "21", "CHOWN,KILL", "ſys_admin"] {
            let error = from_lists(&list(&[bad]), &[]).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{bad}");
            assert_eq!(
                from_lists(&[], &list(&[bad])).unwrap_err().kind(),
                ErrorKind::InvalidArgument,
                "{bad}"
            );
        }
    }

    #[test]
    fn what_the_caller_lacks_is_an_error_by_name_and_a_warning_by_default() {
        let lacking = ALL & !(1 << SYS_RESOURCE) & !(1 << MKNOD);
        let resolve = |add: &[&str], drop: &[&str], own: u64| within(ask(add, drop), &list(add), own, ALL);
        let (mask, warnings) = resolve(&[], &[], lacking).unwrap();
        assert_eq!(mask, DEFAULT & !(1 << MKNOD));
        assert_eq!(warnings.len(), 1);
        assert_eq!(warnings[0].code, "capability-not-available");
        assert!(warnings[0].message.contains("CAP_MKNOD"));
        let error = resolve(&["sys_resource"], &[], lacking).unwrap_err();
        assert_eq!((error.kind(), error.object()), (ErrorKind::PermissionDenied, Some("CAP_SYS_RESOURCE")));
        let (mask, warnings) = resolve(&["ALL"], &[], lacking).unwrap();
        assert_eq!((mask, warnings.len()), (lacking, 1));
        assert!(resolve(&[], &["mknod"], lacking).unwrap().1.is_empty());
        assert_eq!(resolve(&[], &[], ALL).unwrap(), (DEFAULT, Vec::new()));
    }

    #[test]
    fn the_callers_sets_are_those_of_its_status() {
        let status = fs::read_to_string("/proc/thread-self/status").unwrap();
        let set = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
            u64::from_str_radix(line.trim(), 16).unwrap()
        };
        let both = set("CapPrm:") & set("CapBnd:");
        assert_eq!(own(kernel_mask()).unwrap(), both & kernel_mask());
        assert_eq!(own(DEFAULT).unwrap(), both & DEFAULT);
        assert_eq!(own(0).unwrap(), 0);
        assert_eq!(available(DEFAULT, &[], true).unwrap(), (DEFAULT, Vec::new()));
        assert_eq!(available(ALL, &[], false).unwrap().0 & !kernel_mask(), 0);
        assert_eq!(mask(&names(DEFAULT)), DEFAULT);
    }
}
