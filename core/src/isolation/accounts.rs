//! The time zone of a container, and the lines that its `/etc/passwd` and `/etc/group` get for a user whom the image lacks.
//!
//! Every field is checked here: a line break or a colon in one of them would be another account, and one has been made that way elsewhere.

use std::io::Read;
use std::path::{Path, PathBuf};

use coble_protocol::Accounts;
use rustix::fs::{Mode, OFlags};

use crate::container::{ContainerSpec, UsernsMode};
use crate::error::{Call, Error, ErrorKind, Result};

/// Where the host has its time zones: the places that the C library looks in.
const ZONES: [&str; 2] = ["/usr/share/zoneinfo", "/etc/zoneinfo"];
pub(crate) const LOCALTIME: &str = "/etc/localtime";
/// The largest zone of the tz database has a few kilobytes.
const MAX_ZONE: u64 = 256 << 10;
/// The longest line of a caller.
const MAX_ENTRY: usize = 1024;

/// Whether it is the name of a time zone, or `local`.
pub(crate) fn check_zone(name: &str) -> Result<()> {
    let part = |part: &str| {
        !part.is_empty()
            && !part.starts_with('.')
            && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-_.".contains(&byte))
    };
    if name.len() <= 255 && name.split('/').all(part) {
        return Ok(());
    }
    Err(Error::new(ErrorKind::InvalidArgument, format!("tz: \"{}\" is not a time zone", name.escape_debug()))
        .with_object("tz")
        .with_hint("use a name such as Europe/Berlin, or local"))
}

/// The content of `/etc/localtime` for a time zone.
pub(crate) fn zone(name: &str) -> Result<Vec<u8>> {
    check_zone(name)?;
    let path = match name {
        "local" => PathBuf::from(LOCALTIME),
        name => {
            let all = ZONES.iter().map(|directory| Path::new(directory).join(name));
            let found = all.clone().find(|path| path.is_file());
            found.ok_or_else(|| {
                Error::new(ErrorKind::PathNotFound, format!("tz: this host has no time zone \"{name}\""))
                    .with_object(name)
                    .with_hint("install the zone data of the host (tzdata), or use local")
            })?
        }
    };
    // A FIFO must not hold us up.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = rustix::fs::open(&path, flags, Mode::empty()).call("open", &path)?;
    let mut bytes = Vec::new();
    std::fs::File::from(file).take(MAX_ZONE + 1).read_to_end(&mut bytes).call("read", &path)?;
    // RFC 9636, section 3.1.
    if !bytes.starts_with(b"TZif") || bytes.len() as u64 > MAX_ZONE {
        let text = format!("tz: \"{}\" is no time zone file", path.display());
        return Err(Error::new(ErrorKind::InvalidArgument, text).with_object(name));
    }
    Ok(bytes)
}

/// Checks the caller's lines.
pub(crate) fn check(spec: &ContainerSpec) -> Result<()> {
    for (field, entry, colons) in
        [("passwd_entry", &spec.passwd_entry, 6), ("group_entry", &spec.group_entry, 3)]
    {
        let Some(entry) = entry else { continue };
        let refuse = |why: &str| {
            let text = format!("{field}: \"{}\" {why}", entry.escape_debug());
            Err(Error::new(ErrorKind::InvalidArgument, text).with_object(field))
        };
        if !spec.passwd {
            return refuse("is for nothing without passwd");
        }
        if entry.chars().any(char::is_control) {
            return refuse("has a control character");
        }
        if entry.len() > MAX_ENTRY {
            return refuse("is too long");
        }
        // Nothing that a variable stands for has a colon.
        if entry.bytes().filter(|byte| *byte == b':').count() != colons {
            return refuse(&format!("has not {colons} colons"));
        }
        if entry.starts_with([':', '#', '+', '-']) {
            return refuse("begins with no name");
        }
    }
    Ok(())
}

/// What the shim makes lines of.
pub(crate) fn of(spec: &ContainerSpec) -> Option<Accounts> {
    spec.passwd.then(|| Accounts {
        user: match spec.userns_mode {
            UsernsMode::KeepId(..) => own_name("/etc/passwd", rustix::process::getuid().as_raw()),
            _ => None,
        },
        group: match spec.userns_mode {
            UsernsMode::KeepId(..) => own_name("/etc/group", rustix::process::getgid().as_raw()),
            _ => None,
        },
        passwd_entry: spec.passwd_entry.clone(),
        group_entry: spec.group_entry.clone(),
    })
}

/// The name of a user or a group of the host. One that is not plain is none.
fn own_name(path: &str, id: u32) -> Option<String> {
    let text = std::fs::read_to_string(path).ok()?;
    let id = id.to_string();
    let name = text.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)? == id).then(|| name.to_owned())
    })?;
    let plain = name.len() <= 32
        && name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte));
    plain.then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zones_are_names_and_lead_nowhere_else() {
        for good in ["UTC", "Europe/Berlin", "America/Argentina/Buenos_Aires", "Etc/GMT+5", "local", "GMT-0"]
        {
            check_zone(good).unwrap();
        }
        for bad in [
            "",
            "/etc/passwd",
            "../x",
            "a/../b",
            "a//b",
            "a b",
            "a\nb",
            "a\0",
            ".hidden",
            "a/",
            "\u{e4}",
            &"x".repeat(256),
        ] {
            assert_eq!(check_zone(bad).unwrap_err().kind(), ErrorKind::InvalidArgument, "{bad:?}");
        }
        assert_eq!(zone("No/Such").unwrap_err().kind(), ErrorKind::PathNotFound);
        for directory in ZONES {
            if Path::new(directory).join("Etc/UTC").is_file() {
                assert!(zone("Etc/UTC").unwrap().starts_with(b"TZif"));
            }
        }
    }

    #[test]
    fn no_entry_can_make_another_line() {
        let with = |passwd: Option<&str>, group: Option<&str>| {
            let mut spec = ContainerSpec::new("i");
            (spec.passwd_entry, spec.group_entry) = (passwd.map(Into::into), group.map(Into::into));
            check(&spec).is_ok()
        };
        assert!(with(None, None));
        assert!(with(Some("$USERNAME:x:$UID:$GID:Me:$HOME:/bin/bash"), Some("$GROUPNAME:x:$GID:$USERLIST")));
        for bad in [
            "",
            "a:x:1:1::/:/bin/sh\nroot2:x:0:0::/:/bin/sh",
            "a:x:1:1::/",
            "a:x:1:1::/:/bin/sh:",
            ":x:1:1::/:/bin/sh",
            "a\0:x:1:1::/:/b",
            "+a:x:1:1::/:/b",
        ] {
            assert!(!with(Some(bad), None), "{bad:?}");
        }
        for bad in ["g:x:1:\nroot:x:0:me", "g:x:1", "g:x:1:a:b", "#g:x:1:"] {
            assert!(!with(None, Some(bad)), "{bad:?}");
        }
        let mut spec = ContainerSpec::new("i");
        (spec.passwd, spec.group_entry) = (false, Some("g:x:1:".into()));
        assert!(check(&spec).is_err());
        assert_eq!(of(&spec), None);
    }
}
