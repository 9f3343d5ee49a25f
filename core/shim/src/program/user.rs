//! Who the program runs as: user strings and the container's own `passwd` and `group` files. Pure; the files come from [`Database`].
//!
//! The rules, for create and exec alike: a string of digits is a number, whatever the files say; numbers end at 2147483647; what begins with a digit or
//! a sign and is no number is refused even if the files have such a name. A user without an explicit group gets the group of its
//! passwd entry and the supplementary groups that list it by name. The primary group is always among the groups.

use coble_protocol::{Accounts, Failure, Step};

/// The largest user or group id.
const MAX_ID: u32 = i32::MAX as u32;
/// As many groups as the kernel takes.
const MAX_GROUPS: usize = 65_536;

/// Reads the container's files.
pub(crate) trait Database {
    /// The content of `/etc/passwd`; empty if there is none.
    fn passwd(&mut self) -> Result<&[u8], Failure>;
    /// The content of `/etc/group`; empty if there is none.
    fn group(&mut self) -> Result<&[u8], Failure>;
}

/// The ids of a program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// All groups, the primary one first, each once.
    pub(crate) groups: Vec<u32>,
    /// The home directory of the passwd entry.
    pub(crate) home: Option<Vec<u8>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Name<'a> {
    Id(u32),
    Name(&'a str),
}

/// A passwd entry.
struct Entry<'a> {
    name: &'a [u8],
    uid: Option<u32>,
    gid: Option<u32>,
    home: &'a [u8],
}

/// Looks up a user string with additional groups.
pub(crate) fn resolve(
    user: &str,
    additional: &[String],
    database: &mut dyn Database,
) -> Result<Identity, Failure> {
    let (user_part, group_part) = match user.split_once(':') {
        Some((user, group)) if user.is_empty() || group.is_empty() => {
            return Err(Failure::rule(
                Step::User,
                format!("{user}:{group}"),
                "a colon stands between a user and a group",
            ));
        }
        Some((user, group)) => (user, Some(group)),
        None => (user, None),
    };
    // No user at all is user 0, and then nothing in the files can keep the container from starting.
    let optional = user_part.is_empty();
    let wanted = if optional { Name::Id(0) } else { parse(user_part, Step::User, user)? };
    let explicit = group_part.map(|group| parse(group, Step::Group, user)).transpose()?;

    let entry = match database.passwd() {
        Ok(passwd) => find_user(passwd, wanted).map(|entry| {
            (entry.name.to_vec(), entry.uid, entry.gid, entry.home.first().map(|_| entry.home.to_vec()))
        }),
        // With numbers for both, the files matter only for the home directory.
        Err(_) if optional || matches!((wanted, explicit), (Name::Id(_), Some(Name::Id(_)))) => None,
        Err(failure) => return Err(failure),
    };
    let out_of_range =
        |what| Failure::rule(Step::User, user, format!("its passwd entry has no valid {what}"));
    let (uid, primary, name, home) = match (wanted, entry) {
        (Name::Id(uid), Some((name, _, gid, home))) => (uid, gid, Some(name), home),
        (Name::Name(_), Some((name, uid, gid, home))) => {
            (uid.ok_or_else(|| out_of_range("user id"))?, gid, Some(name), home)
        }
        (Name::Id(uid), None) => (uid, Some(0), None, None),
        (Name::Name(_), None) => return Err(Failure::rule(Step::User, user, "not in /etc/passwd")),
    };
    let mut groups = Vec::new();
    let gid = match explicit {
        Some(Name::Id(gid)) => gid,
        Some(Name::Name(group)) => find_group(database.group()?, group)
            .ok_or_else(|| Failure::rule(Step::Group, group, "not in /etc/group"))?,
        None => {
            if let Some(name) = name {
                match database.group() {
                    Ok(group) => groups = groups_of(group, &name),
                    Err(_) if optional => {}
                    Err(failure) => return Err(failure),
                }
            }
            primary.ok_or_else(|| out_of_range("group id"))?
        }
    };
    for extra in additional {
        groups.push(match parse(extra, Step::Group, extra)? {
            Name::Id(gid) => gid,
            Name::Name(group) => find_group(database.group()?, group)
                .ok_or_else(|| Failure::rule(Step::Group, group, "not in /etc/group"))?,
        });
    }
    groups.sort_unstable();
    groups.dedup();
    groups.retain(|group| *group != gid);
    groups.insert(0, gid);
    if groups.len() > MAX_GROUPS {
        return Err(Failure::rule(Step::Group, user, "more groups than the kernel takes"));
    }
    Ok(Identity { uid, gid, groups, home })
}

/// Both files with one more line, as far as they lack the user or the group. A file that is empty, or not there, stays so.
pub(crate) fn missing(
    accounts: &Accounts,
    identity: &Identity,
    passwd: &[u8],
    group: &[u8],
) -> [Option<Vec<u8>>; 2] {
    let name = |wanted: &Option<String>, id: u32, taken: &dyn Fn(&str) -> bool| match wanted {
        Some(name) if !taken(name) => name.clone(),
        _ => id.to_string(),
    };
    let user = name(&accounts.user, identity.uid, &|name| find_user(passwd, Name::Name(name)).is_some());
    let group_name = name(&accounts.group, identity.gid, &|name| find_group(group, name).is_some());
    let home = "/".to_owned();
    let lacks_user = !passwd.is_empty() && find_user(passwd, Name::Id(identity.uid)).is_none();
    let of_group = |line: &[u8]| line.split(|byte| *byte == b':').nth(2).and_then(id) == Some(identity.gid);
    let lacks_group = !group.is_empty() && !lines(group).any(of_group);
    let (uid, gid) = (identity.uid.to_string(), identity.gid.to_string());
    let values: [(&str, &str); 7] = [
        // The longer ones first: one is the beginning of another.
        ("$USERNAME", &user),
        ("$USERLIST", ""),
        ("$GROUPNAME", &group_name),
        ("$NAME", "container user"),
        ("$HOME", &home),
        ("$UID", &uid),
        ("$GID", &gid),
    ];
    let entry = |given: &Option<String>, usual: &str| {
        let mut rest = given.as_deref().unwrap_or(usual);
        let mut line = String::new();
        // Once over it, so that nothing that was put in is looked at again.
        while let Some(first) = rest.chars().next() {
            match values.iter().find_map(|(name, value)| Some((rest.strip_prefix(name)?, value))) {
                Some((after, value)) => {
                    line.push_str(value);
                    rest = after;
                }
                None => {
                    line.push(first);
                    rest = rest.get(first.len_utf8()..).unwrap_or_default();
                }
            }
        }
        line
    };
    let with = |file: &[u8], line: String| {
        // Whatever it came from, it is one line.
        let line: String = line.chars().filter(|c| !c.is_control()).collect();
        let end: &[u8] = if file.ends_with(b"\n") { b"" } else { b"\n" };
        [file, end, line.as_bytes(), b"\n"].concat()
    };
    [
        lacks_user.then(|| {
            with(passwd, entry(&accounts.passwd_entry, "$USERNAME:*:$UID:$GID:$NAME:$HOME:/bin/sh"))
        }),
        lacks_group.then(|| with(group, entry(&accounts.group_entry, "$GROUPNAME:x:$GID:$USERLIST"))),
    ]
}

/// A number or a name, of a user or a group.
fn parse<'a>(text: &'a str, step: Step, whole: &str) -> Result<Name<'a>, Failure> {
    if text.bytes().all(|byte| byte.is_ascii_digit()) && !text.is_empty() {
        return match text.parse::<u32>() {
            Ok(id) if id <= MAX_ID => Ok(Name::Id(id)),
            _ => Err(Failure::rule(step, whole, format!("numbers end at {MAX_ID}"))),
        };
    }
    let odd = |c: char| c == ':' || c == ',' || c == '/' || c.is_whitespace() || c.is_control();
    let number_like = text.starts_with(|c: char| c.is_ascii_digit() || c == '+' || c == '-');
    if text.is_empty() || text.len() > 256 || number_like || text.contains(odd) {
        return Err(Failure::rule(step, whole, "neither a number nor a name"));
    }
    Ok(Name::Name(text))
}

/// A number in one of the files; None if it is none or out of range.
fn id(field: &[u8]) -> Option<u32> {
    let digits = !field.is_empty() && field.len() <= 10 && field.iter().all(u8::is_ascii_digit);
    let value = std::str::from_utf8(field).ok().filter(|_| digits)?.parse().ok()?;
    (value <= MAX_ID).then_some(value)
}

fn lines(file: &[u8]) -> impl Iterator<Item = &[u8]> {
    file.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii).filter(|line| !line.contains(&0))
}

fn find_user<'a>(passwd: &'a [u8], wanted: Name<'_>) -> Option<Entry<'a>> {
    lines(passwd).find_map(|line| {
        let mut fields = line.split(|byte| *byte == b':');
        let name = fields.next().filter(|name| !name.is_empty())?;
        let uid = id(fields.nth(1)?);
        let gid = id(fields.next()?);
        let home = fields.nth(1).unwrap_or_default();
        let matches = match wanted {
            Name::Id(number) => uid == Some(number),
            Name::Name(text) => name == text.as_bytes(),
        };
        matches.then_some(Entry { name, uid, gid, home })
    })
}

fn find_group(group: &[u8], wanted: &str) -> Option<u32> {
    lines(group).find_map(|line| {
        let mut fields = line.split(|byte| *byte == b':');
        (fields.next()? == wanted.as_bytes()).then(|| id(fields.nth(1)?))?
    })
}

fn groups_of(group: &[u8], user: &[u8]) -> Vec<u32> {
    lines(group)
        .filter_map(|line| {
            let mut fields = line.split(|byte| *byte == b':').skip(2);
            let gid = id(fields.next()?)?;
            fields.next()?.split(|byte| *byte == b',').any(|member| member == user).then_some(gid)
        })
        .take(MAX_GROUPS + 1)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Files(Result<&'static [u8], ()>, Result<&'static [u8], ()>);

    impl Database for Files {
        fn passwd(&mut self) -> Result<&[u8], Failure> {
            self.0.map_err(|()| Failure::rule(Step::User, "/etc/passwd", "not a regular file"))
        }
        fn group(&mut self) -> Result<&[u8], Failure> {
            self.1.map_err(|()| Failure::rule(Step::Group, "/etc/group", "not a regular file"))
        }
    }

    const PASSWD: &[u8] = b"root:x:0:0:root:/root:/bin/sh\n# comment\nbroken\n1000:x:0:0::/evil:\n1e3:x:0:0::/:\n\
        -1:x:0:0::/:\n+1:x:0:0::/:\nweb:x:33:33:www:/var/www:/bin/sh\n  bob:x:1001:100::/home/bob:\nbig:x:4294967296:0::/:\n\
        biggid:x:50:9999999999::/:\nnul\0:x:60:60::/:\n2147483648:x:0:0::/:\nbob:x:7:7::/second:\nneg:x:-1:0::/:\n";
    const GROUP: &[u8] = b"root:x:0:\nusers:x:100:\nstaff:x:50:bob,web\naudio:x:29:web,bob\nbad:x:x:bob\nhuge:x:99999999999:\n\
        adm:x:4:root,daemon\n";

    fn files() -> Files {
        Files(Ok(PASSWD), Ok(GROUP))
    }

    #[test]
    fn user_strings() {
        let who = |uid, gid, groups: &[u32], home: Option<&str>| Identity {
            uid,
            gid,
            groups: groups.to_vec(),
            home: home.map(|home| home.as_bytes().to_vec()),
        };
        for (user, expected) in [
            ("", who(0, 0, &[0, 4], Some("/root"))),
            ("0", who(0, 0, &[0, 4], Some("/root"))),
            ("root", who(0, 0, &[0, 4], Some("/root"))),
            ("0:0", who(0, 0, &[0], Some("/root"))),
            ("web", who(33, 33, &[33, 29, 50], Some("/var/www"))),
            ("33", who(33, 33, &[33, 29, 50], Some("/var/www"))),
            ("bob", who(1001, 100, &[100, 29, 50], Some("/home/bob"))),
            ("bob:staff", who(1001, 50, &[50], Some("/home/bob"))),
            ("bob:77", who(1001, 77, &[77], Some("/home/bob"))),
            ("1000", who(1000, 0, &[0], None)),
            ("0001000", who(1000, 0, &[0], None)),
            ("4242:4343", who(4242, 4343, &[4343], None)),
            ("2147483647", who(2147483647, 0, &[0], None)),
            ("50:1", who(50, 1, &[1], Some("/"))),
        ] {
            assert_eq!(resolve(user, &[], &mut files()), Ok(expected), "{user:?}");
        }
    }

    #[test]
    fn refused_user_strings() {
        let forty = "1".repeat(40);
        for (user, step) in [
            ("2147483648", Step::User),
            ("4294967295", Step::User),
            ("4294967296", Step::User),
            ("-1", Step::User),
            ("+1", Step::User),
            ("1e3", Step::User),
            ("0x10", Step::User),
            (" 0", Step::User),
            ("0 ", Step::User),
            ("ro ot", Step::User),
            ("root\n", Step::User),
            (":", Step::User),
            ("bob:", Step::User),
            (":staff", Step::User),
            (forty.as_str(), Step::User),
            ("nobody", Step::User),
            ("nul", Step::User),
            ("big", Step::User),
            ("neg", Step::User),
            ("biggid", Step::User),
            ("50", Step::User),
            ("broken", Step::User),
            ("root:none", Step::Group),
            ("root:-1", Step::Group),
            ("root:2147483648", Step::Group),
            ("root:huge", Step::Group),
            ("root:bad", Step::Group),
            ("root:0:0", Step::Group),
            ("root: 0", Step::Group),
        ] {
            let failure = resolve(user, &[], &mut files()).unwrap_err();
            assert_eq!(failure.step, step, "{user:?}: {failure:?}");
        }
    }

    #[test]
    fn additional_groups() {
        let add = |groups: &[&str]| groups.iter().map(ToString::to_string).collect::<Vec<_>>();
        let got = resolve("web", &add(&["audio", "7", "33"]), &mut files()).unwrap();
        assert_eq!(got.groups, [33, 7, 29, 50]);
        assert_eq!(resolve("0:0", &add(&["7"]), &mut files()).unwrap().groups, [0, 7]);
        assert_eq!(resolve("web", &add(&["nogroup"]), &mut files()).unwrap_err().step, Step::Group);
        assert_eq!(resolve("web", &add(&["+7"]), &mut files()).unwrap_err().step, Step::Group);
    }

    #[test]
    fn unreadable_files_matter_only_when_they_are_needed() {
        let mut bad = Files(Err(()), Err(()));
        for (user, fine) in
            [("", true), ("0:0", true), ("5:6", true), ("5", false), ("root", false), ("0:root", false)]
        {
            assert_eq!(resolve(user, &[], &mut bad).is_ok(), fine, "{user:?}");
        }
        let mut no_group = Files(Ok(PASSWD), Err(()));
        assert_eq!(resolve("", &[], &mut no_group).unwrap().groups, [0]);
        assert_eq!(resolve("bob", &[], &mut no_group).unwrap_err().step, Step::Group);
        let mut none = Files(Ok(b""), Ok(b""));
        assert_eq!(resolve("12", &[], &mut none).unwrap().gid, 0);
        assert!(resolve("root", &[], &mut none).is_err());
    }
}
