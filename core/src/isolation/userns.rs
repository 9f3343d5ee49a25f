//! The user namespace of rootless containers: which ids it can have here. The shim makes it.

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use coble_protocol::{IdMapping, IdRange, UserNamespace};
use rustix::fs::StatVfsMountFlags;
use sha2::{Digest, Sha256};

use crate::container::Warning;
use crate::error::{Error, ErrorKind, Result};
use crate::state::ids::Pool;

/// The most that is read of a file of accounts.
const MAX_FILE: u64 = 16 << 20;
/// The most lines of a map: the kernel takes 340, and the first one is the caller's own id.
const MAX_RANGES: usize = 339;

/// Plans the user namespace: None if there is to be none. The text is the kind of id map, for names of unpacked layers, whose owners
/// depend on it: `host`, `single:<uid>:<gid>` or `ranges:<hash>`. Where only the caller's own id can be had, the warning
/// `single-id` says why.
pub(crate) fn plan(rootless: bool) -> Result<(Option<UserNamespace>, String, Vec<Warning>)> {
    if !rootless {
        return Ok((None, "host".into(), Vec::new()));
    }
    let (namespace, reason) = Facts::of_this_process().plan();
    let kind = kind(&namespace);
    let warnings = reason.map(|reason| Warning {
        code: "single-id".into(),
        message: format!("containers have a single user and group id: {reason}"),
    });
    Ok((Some(namespace), kind, warnings.into_iter().collect()))
}

/// Why there is only one id, and what could be done; None if there are ranges. For the doctor.
pub(crate) fn single_id_reason() -> Option<Single> {
    Facts::of_this_process().plan().1
}

/// Where files of a container are on the disk with other owners than the engine's own user namespace gives them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OtherIds {
    /// The user namespace in which they have the ids that the container sees. It has the caller, too, who owns the directories of the store.
    pub(crate) userns: UserNamespace,
    /// Its kind, for the names of unpacked layers.
    pub(crate) kind: String,
}

impl OtherIds {
    /// What is on the disk for a container with these ids of the engine's user namespace. None: what is there for all others.
    pub(crate) fn of(own: &UserNamespace, container: &IdMapping) -> Option<OtherIds> {
        // With a single id everything on the disk is the caller's.
        let UserNamespace::Ranges { uids, gids, newuidmap, newgidmap } = own else { return None };
        let userns = UserNamespace::Ranges {
            uids: with_caller(through(&container.uids, uids), uids),
            gids: with_caller(through(&container.gids, gids), gids),
            newuidmap: newuidmap.clone(),
            newgidmap: newgidmap.clone(),
        };
        (userns != *own).then(|| OtherIds { kind: kind(&userns), userns })
    }

    /// As [`OtherIds::of`], for ids that few containers have: what is unpacked for them goes when none of those is left.
    pub(crate) fn of_its_own(own: &UserNamespace, container: &IdMapping) -> Option<OtherIds> {
        let found = OtherIds::of(own, container)?;
        Some(OtherIds { kind: found.kind.replacen("ranges:", OWN, 1), ..found })
    }

    /// Whether it is for ids that few containers have.
    pub(crate) fn is_of_its_own(&self) -> bool {
        self.kind.starts_with(OWN)
    }

    /// Whether the kernel takes maps of so many lines.
    pub(crate) fn fits(&self) -> bool {
        let fits = |map: &[IdRange]| {
            let text =
                |range: &IdRange| format!("{} {} {}\n", range.inside, range.outside, range.count).len();
            map.len() <= MOST_LINES && map.iter().map(text).sum::<usize>() <= MOST_BYTES
        };
        match &self.userns {
            UserNamespace::Ranges { uids, gids, .. } => fits(uids) && fits(gids),
            UserNamespace::Single { .. } | UserNamespace::Joined { .. } => true,
        }
    }
}

/// The beginning of the kinds of [`OtherIds::of_its_own`]. The database knows it, too.
const OWN: &str = "own:";

/// The most lines of a map, and the most bytes of its text, which are the kernel's.
pub(crate) const MOST_LINES: usize = 340;
pub(crate) const MOST_BYTES: usize = 4095;
/// Where the caller is who is none of a container's ids: no image has files of such a user.
const ASIDE: u32 = u32::MAX - 1;

/// The map of a namespace in another one, as a map of what is outside of both.
fn through(inner: &[IdRange], outer: &[IdRange]) -> Vec<IdRange> {
    common(inner, outer)
        .map(|(one, other)| IdRange { outside: other.outside + (one.outside - other.inside), ..one })
        .collect()
}

/// The map of a namespace in another one, of which no range is in several of that.
pub(crate) fn within(inner: &[IdRange], outer: &[IdRange]) -> Vec<IdRange> {
    common(inner, outer).map(|(one, _)| one).collect()
}

/// What each range of a map has in common with each one of a map around it, by the ids inside, with the latter.
fn common(inner: &[IdRange], outer: &[IdRange]) -> impl Iterator<Item = (IdRange, IdRange)> {
    let mut found = Vec::new();
    for one in inner {
        for other in outer {
            let first = one.outside.max(other.inside);
            let end = |first: u32, count: u32| u64::from(first) + u64::from(count);
            let end = end(one.outside, one.count).min(end(other.inside, other.count));
            let Some(count) = end.checked_sub(u64::from(first)).filter(|count| *count > 0) else { continue };
            // No more than either has.
            let part =
                IdRange { inside: one.inside + (first - one.outside), outside: first, count: count as u32 };
            found.push((part, *other));
        }
    }
    found.sort_unstable_by_key(|(part, _)| part.inside);
    found.into_iter()
}

/// A map with the caller's own id, which is 0 in `own`: far behind all others, if it is none of them.
fn with_caller(mut map: Vec<IdRange>, own: &[IdRange]) -> Vec<IdRange> {
    let caller = own.iter().find(|range| range.inside == 0).map(|range| range.outside);
    let has =
        |id: u32| map.iter().any(|range| id.checked_sub(range.outside).is_some_and(|at| at < range.count));
    if let Some(caller) = caller.filter(|caller| !has(*caller)) {
        let mut inside = ASIDE;
        let at = |id: u32| {
            map.iter().find(|range| id.checked_sub(range.inside).is_some_and(|at| at < range.count))
        };
        // There is one: they are less than all that there are, since he is none of them.
        while let Some(below) = at(inside).and_then(|range| range.inside.checked_sub(1)) {
            inside = below;
        }
        map.push(IdRange { inside, outside: caller, count: 1 });
    }
    map
}

/// The ids of users or groups that a namespace maps.
pub(crate) fn mapped(userns: &UserNamespace, users: bool) -> Vec<IdRange> {
    match userns {
        UserNamespace::Single { uid, gid } => {
            vec![IdRange { inside: 0, outside: if users { *uid } else { *gid }, count: 1 }]
        }
        UserNamespace::Ranges { uids, gids, .. } => if users { uids } else { gids }.clone(),
        UserNamespace::Joined { .. } => Vec::new(),
    }
}

/// The caller's name in the local accounts, or his number: whose ranges `/etc/subuid` has.
pub(crate) fn caller() -> String {
    let facts =
        Facts { uid: rustix::process::geteuid().as_raw(), passwd: read("/etc/passwd"), ..Facts::default() };
    facts.user_name().unwrap_or_else(|| facts.uid.to_string())
}

/// The ids of users or groups that containers of an ordinary user can be given, for an error: what they are called, and what they are on the host.
pub(crate) fn told(userns: &UserNamespace, users: bool) -> String {
    let (kind, file) = if users { ("user", "/etc/subuid") } else { ("group", "/etc/subgid") };
    let last = |first: u32, count: u32| u64::from(first) + u64::from(count) - 1;
    let parts: Vec<String> = mapped(userns, users)
        .iter()
        .filter(|range| range.count > 0)
        .map(|range| match range.inside {
            0 => format!("0, which is the caller's {}", range.outside),
            first => format!(
                "{first} to {}, which are {} to {} of {file}",
                last(first, range.count),
                range.outside,
                last(range.outside, range.count)
            ),
        })
        .collect();
    // A handful says enough.
    let more = if parts.len() > 4 { ", and others" } else { "" };
    format!("the {kind} ids are {}{more}", parts.get(..4).unwrap_or(&parts).join(", and "))
}

/// Why a user namespace gets only one id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Single {
    /// The cause.
    pub(crate) cause: String,
    /// The way out.
    pub(crate) fix: String,
}

impl std::fmt::Display for Single {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({})", self.cause, self.fix)
    }
}

/// What the plan depends on.
#[derive(Debug, Default)]
struct Facts {
    uid: u32,
    gid: u32,
    /// `/etc/passwd`.
    passwd: String,
    /// `/etc/subuid`.
    subuid: String,
    /// `/etc/subgid`.
    subgid: String,
    /// `/proc/self/uid_map`: the ids that exist here.
    uid_map: String,
    /// `/proc/self/gid_map`.
    gid_map: String,
    newuidmap: Option<PathBuf>,
    newgidmap: Option<PathBuf>,
    no_new_privileges: bool,
}

impl Facts {
    fn of_this_process() -> Facts {
        let status = fs::read_to_string("/proc/thread-self/status").unwrap_or_default();
        Facts {
            uid: rustix::process::geteuid().as_raw(),
            gid: rustix::process::getegid().as_raw(),
            passwd: read("/etc/passwd"),
            subuid: read("/etc/subuid"),
            subgid: read("/etc/subgid"),
            uid_map: read("/proc/self/uid_map"),
            gid_map: read("/proc/self/gid_map"),
            newuidmap: helper("newuidmap"),
            newgidmap: helper("newgidmap"),
            no_new_privileges: status
                .lines()
                .any(|line| line.strip_prefix("NoNewPrivs:").is_some_and(|value| value.trim() != "0")),
        }
    }

    fn plan(&self) -> (UserNamespace, Option<Single>) {
        match self.ranges() {
            Ok(namespace) => (namespace, None),
            Err(reason) => (UserNamespace::Single { uid: self.uid, gid: self.gid }, Some(reason)),
        }
    }

    fn ranges(&self) -> std::result::Result<UserNamespace, Single> {
        let single = |cause: String, fix: String| Single { cause, fix };
        let name = self.user_name().unwrap_or_else(|| self.uid.to_string());
        let (Some(newuidmap), Some(newgidmap)) = (&self.newuidmap, &self.newgidmap) else {
            let missing = if self.newuidmap.is_none() { "newuidmap" } else { "newgidmap" };
            return Err(single(
                format!(
                    "there is no usable \"{missing}\": none is set-user-id root or has file capabilities"
                ),
                "install the package uidmap, or shadow-utils".into(),
            ));
        };
        // A process that gains no privileges gains none from a set-user-id program; root needs none to gain.
        if self.no_new_privileges && self.uid != 0 {
            return Err(single(
                "the caller has no_new_privs set, so newuidmap has no effect".into(),
                "start the caller without no_new_privs, NoNewPrivileges= or a sandbox that sets it".into(),
            ));
        }
        let fix = || format!("usermod --add-subuids 100000-165535 --add-subgids 100000-165535 {name}");
        let mut maps = [Vec::new(), Vec::new()];
        for (map, file, text, known, own) in [
            (0, "/etc/subuid", &self.subuid, &self.uid_map, self.uid),
            (1, "/etc/subgid", &self.subgid, &self.gid_map, self.gid),
        ] {
            let listed = subordinate(text, &name, self.uid);
            if listed.is_empty() {
                return Err(single(format!("\"{file}\" has no range for user \"{name}\""), fix()));
            }
            let usable = usable(&listed, &existing(known), own);
            if usable.is_empty() {
                return Err(single(
                    format!("no range of user \"{name}\" in \"{file}\" exists in this user namespace"),
                    "give the surrounding container more ids, or other ranges to the user".into(),
                ));
            }
            maps[map] = lines(own, &usable);
        }
        let [uids, gids] = maps;
        let text = |path: &Path| path.to_string_lossy().into_owned();
        Ok(UserNamespace::Ranges { uids, gids, newuidmap: text(newuidmap), newgidmap: text(newgidmap) })
    }

    /// The name of the user in the local accounts. Directory services are not asked: that would load their code into the host program.
    fn user_name(&self) -> Option<String> {
        self.passwd.lines().find_map(|line| {
            let mut fields = line.split(':');
            let (name, _, uid) = (fields.next()?, fields.next()?, fields.next()?);
            (uid.parse() == Ok(self.uid) && !name.is_empty()).then(|| name.to_owned())
        })
    }
}

/// The user in `/etc/subuid` and `/etc/subgid` whose ranges are for the containers of root, as podman has it.
pub(crate) const CONTAINERS: &str = "containers";
/// What there is where that user has none: the upper half of all ids, less the last 65536, which some programs use for what is no id. Distributions give nothing of it to anybody.
const UPPER: (u32, u32) = (1 << 31, (1 << 31) - 65_536);

/// The user and the group ids that containers of root can have.
pub(crate) fn pools() -> Result<[Pool; 2]> {
    let pool = |file: &str, map: &str| pool(&read(file), &read(map));
    let found = [pool("/etc/subuid", "/proc/self/uid_map"), pool("/etc/subgid", "/proc/self/gid_map")];
    if found.iter().any(Vec::is_empty) {
        return Err(Error::new(
            ErrorKind::Unsupported,
            "there are no ids for user namespaces of containers in the user namespace of the caller",
        )
        .with_object("userns_mode")
        .with_hint(format!(
            "give the user \"{CONTAINERS}\" ranges in /etc/subuid and /etc/subgid that exist there"
        )));
    }
    Ok(found)
}

fn pool(listed: &str, map: &str) -> Pool {
    // No user has this number, so only the name counts.
    let mut listed = subordinate(listed, CONTAINERS, u32::MAX);
    if listed.is_empty() {
        listed.push(UPPER);
    }
    // User 0 is the host's own.
    usable(&listed, &existing(map), 0)
}

/// The ranges of a user, by name or by number, in the order of the file.
fn subordinate(text: &str, name: &str, uid: u32) -> Vec<(u32, u32)> {
    let number = uid.to_string();
    text.lines()
        .filter_map(|line| {
            let mut fields = line.trim().split(':');
            let (owner, first, count) = (fields.next()?, fields.next()?, fields.next()?);
            if fields.next().is_some() || (owner != name && owner != number) {
                return None;
            }
            Some((first.parse().ok()?, count.parse().ok()?))
        })
        .collect()
}

/// The ids of this user namespace: the first column of an id map with the third.
fn existing(map: &str) -> Vec<(u32, u32)> {
    map.lines()
        .filter_map(|line| {
            let mut fields = line.split_whitespace();
            let (first, count) = (fields.next()?, fields.nth(1)?);
            Some((first.parse().ok()?, count.parse().ok()?))
        })
        .collect()
}

/// The lines of an id map.
pub(crate) fn ranges(map: &str) -> Vec<IdRange> {
    let line = |line: &str| {
        let mut fields = line.split_whitespace().map(|field| field.parse().ok());
        let mut next = || fields.next().flatten();
        Some(IdRange { inside: next()?, outside: next()?, count: next()? })
    };
    map.lines().filter_map(line).collect()
}

/// The ranges that can be mapped: not empty, in order, existing, not overlapping each other and the caller's own id.
fn usable(listed: &[(u32, u32)], existing: &[(u32, u32)], own: u32) -> Vec<(u32, u32)> {
    let end = |(first, count): (u32, u32)| u64::from(first) + u64::from(count);
    let overlap = |a: (u32, u32), b: (u32, u32)| u64::from(a.0) < end(b) && u64::from(b.0) < end(a);
    let mut taken = vec![(own, 1)];
    let mut inside = 1u64;
    for range in listed.iter().copied().filter(|range| range.1 > 0) {
        // 4294967295 is no id.
        let fits = end(range) <= u64::from(u32::MAX) && inside + u64::from(range.1) <= u64::from(u32::MAX);
        let exists = existing.iter().any(|have| have.0 <= range.0 && end(range) <= end(*have));
        if fits && exists && !taken.iter().any(|other| overlap(*other, range)) && taken.len() <= MAX_RANGES {
            taken.push(range);
            inside += u64::from(range.1);
        }
    }
    taken.split_off(1)
}

/// The map: 0 is the caller's own id, the ranges follow one another from 1.
fn lines(own: u32, ranges: &[(u32, u32)]) -> Vec<IdRange> {
    let mut map = vec![IdRange { inside: 0, outside: own, count: 1 }];
    let mut inside = 1;
    for (outside, count) in ranges.iter().copied() {
        map.push(IdRange { inside, outside, count });
        inside += count;
    }
    map
}

/// The name of an id map, for keys: the same for the same map only.
fn kind(namespace: &UserNamespace) -> String {
    match namespace {
        UserNamespace::Single { uid, gid } => format!("single:{uid}:{gid}"),
        UserNamespace::Ranges { uids, gids, .. } => {
            let mut hash = Sha256::new();
            for (tag, map) in [(b'u', uids), (b'g', gids)] {
                for range in map {
                    hash.update([tag]);
                    for number in [range.inside, range.outside, range.count] {
                        hash.update(number.to_le_bytes());
                    }
                }
            }
            let hex: String = hash.finalize().iter().take(16).map(|byte| format!("{byte:02x}")).collect();
            format!("ranges:{hex}")
        }
        // Only a container's, never an engine's.
        UserNamespace::Joined { .. } => "joined".to_owned(),
    }
}

/// A helper that can write maps: a root-owned program that is set-user-id or has file capabilities, on a file system where that counts. The
/// system's directories come first.
fn helper(name: &str) -> Option<PathBuf> {
    let system = ["/usr/bin", "/bin", "/usr/sbin", "/sbin", "/usr/local/bin", "/usr/local/sbin"];
    let path = std::env::var_os("PATH").unwrap_or_default();
    let directories = system.into_iter().map(PathBuf::from).chain(std::env::split_paths(&path));
    directories.filter(|dir| dir.is_absolute()).map(|dir| dir.join(name)).find(|file| is_privileged(file))
}

fn is_privileged(file: &Path) -> bool {
    let Ok(metadata) = fs::metadata(file) else { return false };
    if !metadata.is_file()
        || metadata.uid() != 0
        || metadata.mode() & 0o111 == 0
        || metadata.mode() & 0o022 != 0
    {
        return false;
    }
    if rustix::fs::statvfs(file).is_ok_and(|fs| fs.f_flag.contains(StatVfsMountFlags::NOSUID)) {
        return false;
    }
    let capabilities = || {
        let mut value = [0u8; 64];
        rustix::fs::getxattr(file, "security.capability", &mut value[..]).is_ok_and(|length| length > 0)
    };
    metadata.mode() & libc::S_ISUID != 0 || capabilities()
}

/// A text file; a missing, unreadable or oversized one is empty.
fn read(path: &str) -> String {
    let mut bytes = Vec::new();
    match File::open(path).and_then(|file| file.take(MAX_FILE).read_to_end(&mut bytes)) {
        Ok(length) if (length as u64) < MAX_FILE => String::from_utf8_lossy(&bytes).into_owned(),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVERYTHING: &str = "         0          0 4294967295\n";

    fn facts() -> Facts {
        Facts {
            uid: 1000,
            gid: 100,
            passwd: "root:x:0:0::/root:/bin/sh\nalice:x:1000:100::/home/alice:/bin/sh\n".into(),
            subuid: "root:1000000:65536\nalice:100000:65536\n".into(),
            subgid: "alice:200000:65536\nalice:300000:10\n".into(),
            uid_map: EVERYTHING.into(),
            gid_map: EVERYTHING.into(),
            newuidmap: Some("/usr/bin/newuidmap".into()),
            newgidmap: Some("/usr/bin/newgidmap".into()),
            no_new_privileges: false,
        }
    }

    fn range(inside: u32, outside: u32, count: u32) -> IdRange {
        IdRange { inside, outside, count }
    }

    fn maps(facts: &Facts) -> (Vec<IdRange>, Vec<IdRange>) {
        match facts.plan() {
            (UserNamespace::Ranges { uids, gids, .. }, None) => (uids, gids),
            other => panic!("{other:?}"),
        }
    }

    fn cause(facts: &Facts) -> String {
        match facts.plan() {
            (UserNamespace::Single { uid, gid }, Some(reason)) if (uid, gid) == (facts.uid, facts.gid) => {
                reason.cause
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_own_id_is_root_and_the_ranges_follow() {
        let (uids, gids) = maps(&facts());
        assert_eq!(uids, [range(0, 1000, 1), range(1, 100_000, 65_536)]);
        assert_eq!(gids, [range(0, 100, 1), range(1, 200_000, 65_536), range(65_537, 300_000, 10)]);
    }

    #[test]
    fn ranges_go_by_name_and_by_number() {
        let by_number = Facts { subuid: "1000:100000:5\n".into(), ..facts() };
        assert_eq!(maps(&by_number).0[1], range(1, 100_000, 5));
        let nameless = Facts {
            passwd: String::new(),
            subuid: "1000:100000:5\n".into(),
            subgid: "1000:100000:5\n".into(),
            ..facts()
        };
        assert_eq!(maps(&nameless).0[1], range(1, 100_000, 5));
        // A group file is keyed by the user as well.
        assert_eq!(maps(&nameless).1[1], range(1, 100_000, 5));
    }

    #[test]
    fn damaged_and_overlapping_lines_are_left_out() {
        let subuid = "alice:0:\nalice:x:1\nalice:100000:0\nalice:4294967290:100\nalice:500:1000\nalice:100000:10:1\n\
                      alice:100000:10\n1000:100005:10\n  alice:100000:10\nalice:100010:10\n:1:1\n";
        let map = maps(&Facts { subuid: subuid.into(), ..facts() }).0;
        assert_eq!(map, [range(0, 1000, 1), range(1, 100_000, 10), range(11, 100_010, 10)]);
        let many: String = (0..1000).map(|n| format!("alice:{}:1\n", 100_000 + 2 * n)).collect();
        assert_eq!(maps(&Facts { subuid: many, ..facts() }).0.len(), 340);
    }

    #[test]
    fn what_is_missing_is_named() {
        assert!(cause(&Facts { newgidmap: None, ..facts() }).contains("\"newgidmap\""));
        assert!(
            cause(&Facts { subuid: String::new(), ..facts() })
                .contains("\"/etc/subuid\" has no range for user \"alice\"")
        );
        assert!(cause(&Facts { subgid: "bob:1:1".into(), ..facts() }).contains("/etc/subgid"));
        assert!(cause(&Facts { no_new_privileges: true, ..facts() }).contains("no_new_privs"));
        // Inside a container that has a few ids only.
        let nested = Facts { uid_map: "0 100000 65536\n".into(), ..facts() };
        assert!(cause(&nested).contains("exists in this user namespace"));
        let (_, reason) = Facts { subuid: String::new(), ..facts() }.plan();
        assert!(reason.unwrap().fix.ends_with(" alice"));
    }

    #[test]
    fn root_in_rootless_mode_maps_its_own_id_too() {
        let root =
            Facts { uid: 0, gid: 0, no_new_privileges: true, subgid: "root:7000:3\n".into(), ..facts() };
        let (uids, gids) = maps(&root);
        assert_eq!(uids, [range(0, 0, 1), range(1, 1_000_000, 65_536)]);
        assert_eq!(gids, [range(0, 0, 1), range(1, 7000, 3)]);
    }

    #[test]
    fn layers_of_other_ids_are_owned_through_both_maps() {
        let (own, _) = facts().plan();
        let container = |uids: Vec<IdRange>| IdMapping { gids: uids.clone(), uids };
        // The caller stays who he is, and the ranges are around him.
        let kept = container(vec![range(0, 1, 1000), range(1000, 0, 1), range(1001, 1001, 64_536)]);
        let other = OtherIds::of(&own, &kept).unwrap();
        let UserNamespace::Ranges { uids, gids, .. } = &other.userns else { panic!("{other:?}") };
        assert_eq!(*uids, [range(0, 100_000, 1000), range(1000, 1000, 1), range(1001, 101_000, 64_536)]);
        assert_eq!(gids[2], range(1001, 201_000, 64_536));
        assert_eq!(gids[1], range(1000, 100, 1));
        // A range of the container may be in two of the caller's.
        let far = container(vec![range(0, 65_530, 12)]);
        let UserNamespace::Ranges { gids, .. } = OtherIds::of(&own, &far).unwrap().userns else { panic!() };
        assert_eq!(gids, [range(0, 265_529, 7), range(7, 300_000, 5), range(ASIDE, 100, 1)]);
        // Who does not have the caller has him far behind everything.
        let without = OtherIds::of(&own, &container(vec![range(0, 1, 10)])).unwrap();
        let UserNamespace::Ranges { uids, .. } = &without.userns else { panic!() };
        assert_eq!(*uids, [range(0, 100_000, 10), range(ASIDE, 1000, 1)]);
        assert_ne!(without.kind, other.kind);
        let high = container(vec![range(0, 1, 10), range(ASIDE - 4, 11, 5)]);
        let UserNamespace::Ranges { uids, .. } = OtherIds::of(&own, &high).unwrap().userns else { panic!() };
        assert_eq!(uids[2], range(ASIDE - 5, 1000, 1));
        // What is for few is told from what is for all.
        let few = OtherIds::of_its_own(&own, &container(vec![range(0, 1, 10)])).unwrap();
        assert!(
            few.is_of_its_own() && !without.is_of_its_own() && few.userns == without.userns && few.fits()
        );
        let scattered = (0..340).map(|n| range(2 * n, 1 + 2 * n, 1)).collect();
        assert!(!OtherIds::of_its_own(&own, &container(scattered)).unwrap().fits());
        let same = IdMapping { uids: vec![range(0, 0, 65_537)], gids: vec![range(0, 0, 65_547)] };
        assert_eq!(OtherIds::of(&own, &same), None);
        let single = UserNamespace::Single { uid: 5, gid: 6 };
        assert_eq!(OtherIds::of(&single, &container(vec![range(5, 0, 1)])), None);
    }

    #[test]
    fn an_error_can_name_the_ranges() {
        let (own, _) = facts().plan();
        assert_eq!(
            told(&own, true),
            "the user ids are 0, which is the caller's 1000, and 1 to 65536, which are 100000 to 165535 of /etc/subuid"
        );
        assert!(told(&own, false).ends_with("65537 to 65546, which are 300000 to 300009 of /etc/subgid"));
    }

    #[test]
    fn kinds_tell_maps_apart() {
        assert_eq!(plan(false).unwrap(), (None, "host".to_owned(), Vec::new()));
        assert_eq!(kind(&UserNamespace::Single { uid: 5, gid: 6 }), "single:5:6");
        let (namespace, _) = facts().plan();
        let (other, _) = Facts { subuid: "alice:100000:65535\n".into(), ..facts() }.plan();
        assert_eq!(kind(&namespace).len(), "ranges:".len() + 32);
        assert_eq!(kind(&namespace), kind(&facts().plan().0));
        assert_ne!(kind(&namespace), kind(&other));
        let (namespace, kind, warnings) = plan(true).unwrap();
        let single = matches!(namespace, Some(UserNamespace::Single { .. }));
        assert_eq!(single, kind.starts_with("single:"));
        assert_eq!(single, warnings.iter().any(|warning| warning.code == "single-id"));
    }

    #[test]
    fn only_privileged_programs_are_helpers() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("newuidmap");
        fs::write(&file, "#!/bin/sh\n").unwrap();
        assert!(!is_privileged(&file));
        assert!(!is_privileged(dir.path()));
        assert!(!is_privileged(&dir.path().join("missing")));
    }
}
