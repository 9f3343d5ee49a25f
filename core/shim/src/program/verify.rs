//! Reads back from the kernel what the process about to become the program has, and compares it with what was asked for. A difference
//! is a failure: the program does not run.

use std::os::fd::{BorrowedFd, OwnedFd};

use coble_protocol::{Failure, Isolation, Step};
use rustix::fs::{OFlags, ResolveFlags};

use super::caps::Granted;
use super::user::Identity;
use crate::failure::During;

/// Enough for `status` with 65536 groups.
const MAX_BYTES: usize = 1 << 20;

/// Opens a file of this process in procfs. `proc` is the shim's own procfs; nothing may be mounted over what is opened.
pub(crate) fn open(proc: BorrowedFd<'_>, path: &str) -> Result<OwnedFd, Failure> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_XDEV | ResolveFlags::NO_MAGICLINKS;
    crate::root::open(proc, path.as_bytes(), OFlags::RDONLY, resolve).during(Step::ReadBack, path)
}

/// Reads all of a file of procfs.
pub(crate) fn read(file: BorrowedFd<'_>, name: &str) -> Result<String, Failure> {
    read_until(file, name, |_, _| false)
}

/// As [`read`], for a file that the kernel makes as one piece, such as `status`: where a read does not fill what it was given, that was all. One more read would make it all again.
pub(crate) fn read_piece(file: BorrowedFd<'_>, name: &str) -> Result<String, Failure> {
    read_until(file, name, |got, asked| got < asked)
}

fn read_until(
    file: BorrowedFd<'_>,
    name: &str,
    is_all: impl Fn(usize, usize) -> bool,
) -> Result<String, Failure> {
    let mut bytes = vec![0; 4096];
    let mut filled = 0;
    loop {
        let room = &mut bytes[filled..];
        let asked = room.len();
        match rustix::io::read(file, room).during(Step::ReadBack, name)? {
            0 => break,
            n => {
                filled += n;
                if is_all(n, asked) {
                    break;
                }
            }
        }
        if bytes.len() - filled < 2048 {
            if bytes.len() >= MAX_BYTES {
                return Err(Failure::rule(Step::ReadBack, name, "longer than it can be"));
            }
            bytes.resize(bytes.len() * 4, 0);
        }
    }
    bytes.truncate(filled);
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Fills in what `/proc/self/status` says.
pub(crate) fn status(text: &str, isolation: &mut Isolation) -> Result<(), Failure> {
    let broken = |name: &str| Failure::rule(Step::ReadBack, name, "not as expected in /proc/self/status");
    let field = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.map(str::trim).ok_or_else(|| broken(name))
    };
    let hex = |name| u64::from_str_radix(field(name)?, 16).map_err(|_| broken(name));
    let number = |name| field(name)?.parse::<u8>().map_err(|_| broken(name));
    let numbers = |name| {
        let list = field(name)?.split_ascii_whitespace().map(|word| word.parse::<u32>());
        list.collect::<Result<Vec<_>, _>>().map_err(|_| broken(name))
    };
    let same = |name| {
        let ids = numbers(name)?;
        match ids[..] {
            // Real, effective, saved and file system id.
            [a, b, c, d] if a == b && b == c && c == d => Ok(a),
            _ => Err(broken(name)),
        }
    };
    isolation.uid = same("Uid")?;
    isolation.gid = same("Gid")?;
    isolation.groups = numbers("Groups")?;
    isolation.inheritable = hex("CapInh")?;
    isolation.permitted = hex("CapPrm")?;
    isolation.effective = hex("CapEff")?;
    isolation.bounding = hex("CapBnd")?;
    isolation.ambient = hex("CapAmb")?;
    isolation.no_new_privileges = number("NoNewPrivs")? == 1;
    isolation.seccomp = number("Seccomp")?;
    isolation.umask = u32::from_str_radix(field("Umask")?, 8).map_err(|_| broken("Umask"))?;
    Ok(())
}

/// What the program must have.
pub(crate) struct Expected<'a> {
    pub(crate) identity: &'a Identity,
    /// Whether the groups could be set.
    pub(crate) groups: bool,
    pub(crate) granted: Granted,
    pub(crate) no_new_privileges: bool,
    pub(crate) seccomp: bool,
    pub(crate) umask: u32,
}

/// Compares.
pub(crate) fn compare(got: &Isolation, expected: &Expected<'_>) -> Result<(), Failure> {
    let Granted { bounding, ambient } = expected.granted;
    let permitted = if expected.identity.uid == 0 { bounding } else { ambient };
    let mut groups = got.groups.clone();
    groups.sort_unstable();
    let mut wanted = expected.identity.groups.clone();
    wanted.sort_unstable();
    for (name, fine) in [
        ("user", got.uid == expected.identity.uid),
        ("group", got.gid == expected.identity.gid),
        ("supplementary groups", !expected.groups || groups == wanted),
        ("bounding capabilities", got.bounding & !bounding == 0 && permitted & !got.bounding == 0),
        ("permitted capabilities", got.permitted == permitted),
        ("effective capabilities", got.effective == permitted),
        ("inheritable capabilities", got.inheritable == ambient),
        ("ambient capabilities", got.ambient == ambient),
        ("no_new_privs", got.no_new_privileges || !expected.no_new_privileges),
        ("seccomp", got.seccomp == 2 || !expected.seccomp),
        ("umask", got.umask == expected.umask),
    ] {
        if !fine {
            return Err(Failure::rule(Step::ReadBack, name, "the process does not have what was set"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATUS: &str = "Name:\tx\nUmask:\t0027\nUid:\t7\t7\t7\t7\nGid:\t8\t8\t8\t8\nGroups:\t8 9 \nCapInh:\t0000000000000000\n\
        CapPrm:\t0000000000000000\nCapEff:\t0000000000000000\nCapBnd:\t00000000000000ff\nCapAmb:\t0000000000000000\n\
        NoNewPrivs:\t1\nSeccomp:\t2\nSeccomp_filters:\t1\n";

    #[test]
    fn what_differs_is_a_failure() {
        let identity = Identity { uid: 7, gid: 8, groups: vec![8, 9], home: None };
        let expected = Expected {
            identity: &identity,
            groups: true,
            granted: Granted { bounding: 0xff, ambient: 0 },
            no_new_privileges: true,
            seccomp: true,
            umask: 0o27,
        };
        let check = |text: &str| {
            let mut isolation = Isolation::default();
            status(text, &mut isolation)?;
            compare(&isolation, &expected)
        };
        assert_eq!(check(STATUS), Ok(()));
        for (from, to) in [
            ("Uid:\t7\t7\t7\t7", "Uid:\t7\t7\t7\t0"),
            ("Uid:\t7\t7\t7\t7", "Uid:\t0\t0\t0\t0"),
            ("Gid:\t8\t8\t8\t8", "Gid:\t0\t0\t0\t0"),
            ("Groups:\t8 9 ", "Groups:\t8 9 0"),
            ("Groups:\t8 9 ", "Groups:\t9"),
            ("CapInh:\t0000000000000000", "CapInh:\t0000000000000001"),
            ("CapPrm:\t0000000000000000", "CapPrm:\t0000000000000001"),
            ("CapEff:\t0000000000000000", "CapEff:\t0000000000000001"),
            ("CapAmb:\t0000000000000000", "CapAmb:\t0000000000000001"),
            ("CapBnd:\t00000000000000ff", "CapBnd:\t00000000000001ff"),
            ("NoNewPrivs:\t1", "NoNewPrivs:\t0"),
            ("Seccomp:\t2", "Seccomp:\t0"),
            ("Seccomp:\t2\n", ""),
            ("Umask:\t0027", "Umask:\t0022"),
        ] {
            let text = STATUS.replace(from, to);
            assert_ne!(text, STATUS);
            assert_eq!(check(&text).unwrap_err().step, Step::ReadBack, "{to}");
        }
    }
}
