//! The user namespace of a container: which one it has, and the ids in it. The words are podman's.
//!
//! Root's containers get ids that no other one has, and files are mounted with those. An ordinary user may not mount with other ids. His containers can have the ids of the engine's user namespace in another order, or all but
//! the caller's own; then the layers of their images are unpacked once more, with the owners that this takes.

use std::fmt;

use coble_protocol::{IdMapping, IdRange, UserNamespace};
use serde::{Deserialize, Serialize};

use super::validate::invalid;
use super::{ContainerSpec, NamespaceMode, NetworkMode};
use crate::engine::Inner;
use crate::error::{Error, ErrorKind, Result};
use crate::isolation::userns::{CONTAINERS, OtherIds, mapped, pools, single_id_reason};
use crate::state::ContainerRow;
use crate::state::ids::{self, Wanted};

/// How many ids a range has that is made automatically.
const SIZE: u32 = 65_536;
/// The largest id that the caller can have in a container.
const MOST_KEPT: u32 = 1 << 30;
/// The most lines of a map, and the most bytes of its text, which are the kernel's.
const MOST: usize = 340;
const MOST_BYTES: usize = 4095;

/// Which user namespace a container is in.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
#[non_exhaustive]
pub enum UsernsMode {
    /// Its own if there are maps for it, else as with `host`.
    #[default]
    Default,
    /// That of the engine's containers: the host's, or the caller's if the engine is rootless.
    Host,
    /// Its own, with as many ids as this, from 0, that no other container of the store has. None: 65536.
    Auto(Option<u32>),
    /// Its own, with the maps that are given.
    Private,
    /// Its own, in which the caller, an ordinary user, has these ids, those that he has outside if none are given, and all others are from the caller's ranges. The container's program runs as that user, unless it is said
    /// otherwise.
    KeepId(Option<u32>, Option<u32>),
    /// Its own, with all ids of an ordinary user's ranges, and without his own.
    NoMap,
}

impl UsernsMode {
    /// `host`, `auto`, `auto:size=` and a number, `keep-id`, `keep-id:uid=` and a number, with `,gid=` and a number or that alone, `nomap`, or `private`; nothing is the default.
    pub fn parse(text: &str) -> Result<UsernsMode> {
        let unknown = || {
            let why = format!("\"{}\" is no user namespace that a container can have", text.escape_default());
            Error::new(ErrorKind::InvalidArgument, why)
                .with_object("userns_mode")
                .with_hint("use host, auto, auto:size=65536, keep-id, nomap, or uidmap and gidmap")
        };
        Ok(match text.split_once(':').map_or((text, None), |(word, options)| (word, Some(options))) {
            ("", None) => UsernsMode::Default,
            ("host", None) => UsernsMode::Host,
            ("private", None) => UsernsMode::Private,
            ("auto", None) => UsernsMode::Auto(None),
            ("auto", Some(options)) => {
                let Some(size) = options.strip_prefix("size=") else {
                    let why = format!("auto: \"{}\" is not supported", options.escape_default());
                    return Err(Error::new(ErrorKind::Unsupported, why)
                        .with_object("userns_mode")
                        .with_hint("size= is, and uidmap and gidmap without auto"));
                };
                let size = size.parse().ok().filter(|size| (1..=1 << 24).contains(size));
                UsernsMode::Auto(Some(size.ok_or_else(|| {
                    invalid("userns_mode", "auto: the size is a number from 1 to 16777216")
                })?))
            }
            ("keep-id", options) => keep_id(options.unwrap_or_default())?,
            ("nomap", None) => UsernsMode::NoMap,
            ("ns" | "container", _) => {
                let why = format!("the user namespace \"{}\" is not supported", text.escape_default());
                return Err(Error::new(ErrorKind::Unsupported, why)
                    .with_object("userns_mode")
                    .with_hint("use host, auto, keep-id, nomap, or uidmap and gidmap"));
            }
            _ => return Err(unknown()),
        })
    }
}

/// The options of `keep-id`.
fn keep_id(options: &str) -> Result<UsernsMode> {
    let (mut uid, mut gid) = (None, None);
    for option in options.split(',').filter(|option| !option.is_empty()) {
        let (name, value) = option.split_once('=').unwrap_or((option, ""));
        let slot = match name {
            "uid" => &mut uid,
            "gid" => &mut gid,
            _ => {
                let why = format!("keep-id: \"{}\" is not supported", option.escape_default());
                return Err(Error::new(ErrorKind::Unsupported, why)
                    .with_object("userns_mode")
                    .with_hint("uid= and gid= are"));
            }
        };
        // Far above what anybody has, and far below what does not fit any more with all others around it.
        let id = value.parse().ok().filter(|id| *id <= MOST_KEPT);
        *slot = Some(id.ok_or_else(|| {
            invalid("userns_mode", format!("keep-id: {name} is a number from 0 to {MOST_KEPT}"))
        })?);
    }
    Ok(UsernsMode::KeepId(uid, gid))
}

impl fmt::Display for UsernsMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            UsernsMode::Default => Ok(()),
            UsernsMode::Host => f.write_str("host"),
            UsernsMode::Auto(None) => f.write_str("auto"),
            UsernsMode::Auto(Some(size)) => write!(f, "auto:size={size}"),
            UsernsMode::Private => f.write_str("private"),
            UsernsMode::KeepId(uid, gid) => {
                f.write_str("keep-id")?;
                let options = [("uid", uid), ("gid", gid)];
                let given = options.iter().filter_map(|(name, id)| id.map(|id| (name, id)));
                given.zip([':', ',']).try_for_each(|((name, id), before)| write!(f, "{before}{name}={id}"))
            }
            UsernsMode::NoMap => f.write_str("nomap"),
        }
    }
}

impl TryFrom<String> for UsernsMode {
    type Error = Error;

    fn try_from(text: String) -> Result<UsernsMode> {
        UsernsMode::parse(&text)
    }
}

impl From<UsernsMode> for String {
    fn from(mode: UsernsMode) -> String {
        mode.to_string()
    }
}

/// Whether the container has a user namespace of its own.
pub(crate) fn is_own(spec: &ContainerSpec) -> bool {
    match spec.userns_mode {
        UsernsMode::Default => !spec.uidmap.is_empty() || !spec.gidmap.is_empty(),
        UsernsMode::Host => false,
        UsernsMode::Auto(_) | UsernsMode::Private | UsernsMode::KeepId(..) | UsernsMode::NoMap => true,
    }
}

/// Checks what is asked for, without a look at the host.
pub(super) fn check(spec: &ContainerSpec) -> Result<()> {
    let given = !spec.uidmap.is_empty() || !spec.gidmap.is_empty();
    match (&spec.userns_mode, given) {
        (UsernsMode::Private, false) => {
            return Err(invalid("userns_mode", "private needs uidmap and gidmap").with_hint("or use auto"));
        }
        (UsernsMode::Host | UsernsMode::Auto(_) | UsernsMode::KeepId(..) | UsernsMode::NoMap, true) => {
            let why = format!("\"{}\" and uidmap or gidmap exclude each other", spec.userns_mode);
            return Err(invalid("userns_mode", why));
        }
        _ => {}
    }
    let mapped = |mount: &&super::Mount| mount.is_mapped();
    if let Some(mount) = spec.volumes.iter().chain(&spec.mounts).find(mapped).filter(|_| !is_own(spec)) {
        let why = format!(
            "\"{}\": idmap is for a container with a user namespace of its own",
            mount.target.escape_default()
        );
        return Err(invalid("volumes", why).with_hint("add userns_mode=auto"));
    }
    if !is_own(spec) {
        return Ok(());
    }
    let binds = spec.volumes.iter().chain(&spec.mounts);
    if let Some(mount) = binds.clone().find(|mount| mount.is_overlay() || mount.changes_owner()) {
        let why = format!(
            "\"{}\": O and U are not for a container with a user namespace of its own",
            mount.target.escape_default()
        );
        return Err(Error::new(ErrorKind::Unsupported, why)
            .with_object("volumes")
            .with_hint("the option idmap mounts a bind with the container's ids, and changes no file"));
    }
    if given {
        maps(spec)?;
    }
    if spec.privileged {
        return Err(invalid("userns_mode", "a privileged container has the ids of the host"));
    }
    let joins = matches!(spec.network, NetworkMode::Container(_))
        || [&spec.pid_mode, &spec.ipc_mode]
            .into_iter()
            .any(|mode| matches!(mode, NamespaceMode::Container(_)));
    if joins {
        let why =
            "a container with a user namespace of its own has no rights in the namespaces of another one";
        return Err(invalid("userns_mode", why));
    }
    if !spec.hooks.create_container.is_empty() {
        return Err(invalid(
            "hooks",
            "with a user namespace of its own a container has none of the kind createContainer",
        ));
    }
    Ok(())
}

/// Both maps; one alone is the other one, too.
fn maps(spec: &ContainerSpec) -> Result<IdMapping> {
    let (uids, gids) = (&spec.uidmap, &spec.gidmap);
    Ok(IdMapping {
        uids: map("uidmap", if uids.is_empty() { gids } else { uids })?,
        gids: map("gidmap", if gids.is_empty() { uids } else { gids })?,
    })
}

fn map(field: &str, lines: &[String]) -> Result<Vec<IdRange>> {
    if lines.len() > MOST {
        return Err(invalid(field, format!("has more than {MOST} lines")));
    }
    let mut map: Vec<IdRange> = Vec::with_capacity(lines.len());
    let overlap = |a: u32, b: u32, one: u32, other: u32| {
        u64::from(a) < u64::from(b) + u64::from(other) && u64::from(b) < u64::from(a) + u64::from(one)
    };
    for line in lines {
        let numbers: Option<Vec<u32>> = line.split(':').map(|number| number.parse().ok()).collect();
        let range = match numbers.as_deref() {
            Some(&[inside, outside]) => IdRange { inside, outside, count: 1 },
            Some(&[inside, outside, count]) => IdRange { inside, outside, count },
            _ => {
                let why = format!("\"{}\" is not of the form container:host:count", line.escape_default());
                return Err(invalid(field, why));
            }
        };
        // 4294967295 is no id.
        let fits = |first: u32| u64::from(first) + u64::from(range.count) <= u64::from(u32::MAX);
        if range.count == 0 || !fits(range.inside) || !fits(range.outside) {
            return Err(invalid(
                field,
                format!("\"{}\" has no ids, or more than there are", line.escape_default()),
            ));
        }
        if map.iter().any(|known| {
            overlap(known.inside, range.inside, known.count, range.count)
                || overlap(known.outside, range.outside, known.count, range.count)
        }) {
            return Err(invalid(field, format!("\"{}\" maps an id twice", line.escape_default())));
        }
        map.push(range);
    }
    let line = |range: &IdRange| format!("{} {} {}\n", range.inside, range.outside, range.count).len();
    if map.iter().map(line).sum::<usize>() > MOST_BYTES {
        return Err(invalid(field, format!("is longer than the {MOST_BYTES} bytes that the kernel takes")));
    }
    if !map.iter().any(|range| range.inside == 0) {
        return Err(invalid(field, "does not map 0, which owns the container's files"));
    }
    Ok(map)
}

/// The ids of the host that a new container is to have for itself; None if it has no user namespace of its own, or that of an ordinary user, whose containers share his.
pub(super) fn wanted(inner: &Inner, spec: &ContainerSpec) -> Result<Option<Wanted>> {
    if !is_own(spec) {
        return Ok(None);
    }
    if let Some(own) = &inner.userns {
        return of_a_user(own, spec).map(|_| None);
    }
    match spec.userns_mode {
        UsernsMode::Auto(size) => {
            let [uids, gids] = pools()?;
            Ok(Some(Wanted::Range { uids, gids, count: size.unwrap_or(SIZE), whose: CONTAINERS }))
        }
        UsernsMode::KeepId(..) | UsernsMode::NoMap => {
            let why = format!("\"{}\" is for the containers of an ordinary user", spec.userns_mode);
            Err(unsupported(why).with_hint("use auto"))
        }
        _ => maps(spec).map(|maps| Some(Wanted::Maps(maps))),
    }
}

/// The ids of a container that has a user namespace of its own, as those of the engine's; None if it has none.
pub(super) fn ids(inner: &Inner, row: &ContainerRow, spec: &ContainerSpec) -> Result<Option<IdMapping>> {
    match &inner.userns {
        _ if !is_own(spec) => Ok(None),
        Some(own) => of_a_user(own, spec).map(Some),
        None => ids::of(&inner.store.db, &row.id)?.map(Some).ok_or_else(|| {
            let why = format!("container \"{}\" has no ids for its user namespace", row.name);
            Error::new(ErrorKind::Database, why).with_object(&row.name)
        }),
    }
}

/// What the files of a container are owned by on the disk, where that is not what the engine's user namespace makes of them.
pub(super) fn on_disk(inner: &Inner, spec: &ContainerSpec) -> Result<Option<OtherIds>> {
    match &inner.userns {
        Some(own) if is_own(spec) => Ok(OtherIds::of(own, &of_a_user(own, spec)?)),
        _ => Ok(None),
    }
}

/// Puts in what a new container takes from its creator: who he is.
pub(super) fn resolve(spec: &mut ContainerSpec) {
    if let UsernsMode::KeepId(uid, gid) = &mut spec.userns_mode {
        uid.get_or_insert_with(|| rustix::process::geteuid().as_raw());
        gid.get_or_insert_with(|| rustix::process::getegid().as_raw());
    }
}

/// The user that the program is, if nobody says otherwise.
pub(super) fn user(spec: &ContainerSpec) -> Option<String> {
    match spec.userns_mode {
        UsernsMode::KeepId(Some(uid), Some(gid)) => Some(format!("{uid}:{gid}")),
        _ => None,
    }
}

/// The ids of a container of an ordinary user, as those of his engine's user namespace, in which he is 0.
fn of_a_user(own: &UserNamespace, spec: &ContainerSpec) -> Result<IdMapping> {
    if let Some(mount) = spec.volumes.iter().chain(&spec.mounts).find(|mount| mount.is_mapped()) {
        let why = format!("\"{}\": only root may mount with other ids", mount.target.escape_default());
        let hint = "leave idmap out: with keep-id, files of the caller belong to the container's user";
        return Err(Error::new(ErrorKind::Unsupported, why).with_object("volumes").with_hint(hint));
    }
    let count = |users| mapped(own, users).iter().fold(0u32, |sum, range| sum.saturating_add(range.count));
    let (users, groups) = (count(true), count(false));
    match spec.userns_mode {
        UsernsMode::KeepId(Some(uid), Some(gid)) => {
            Ok(IdMapping { uids: around(uid, users), gids: around(gid, groups) })
        }
        UsernsMode::NoMap if users > 1 && groups > 1 => {
            let all = |count: u32| vec![IdRange { inside: 0, outside: 1, count: count - 1 }];
            Ok(IdMapping { uids: all(users), gids: all(groups) })
        }
        UsernsMode::NoMap => {
            let reason = single_id_reason().map(|reason| format!(": {reason}")).unwrap_or_default();
            Err(unsupported(format!("there are no other ids than the caller's own{reason}")))
        }
        _ => Err(unsupported(
            "a container of an ordinary user has ids of the caller's user namespace: only root may mount an image with others, and each container would need a copy of its own",
        )
        .with_hint("use keep-id or nomap, or leave userns_mode, uidmap and gidmap out")),
    }
}

/// So many ids of which 0 becomes `kept`, and the others what they would be without it, in their order.
fn around(kept: u32, count: u32) -> Vec<IdRange> {
    let others = count.saturating_sub(1);
    let below = kept.min(others);
    let mut map = vec![
        IdRange { inside: 0, outside: 1, count: below },
        IdRange { inside: kept, outside: 0, count: 1 },
        IdRange { inside: kept + 1, outside: below + 1, count: others - below },
    ];
    map.retain(|range| range.count > 0);
    map
}

fn unsupported(why: impl Into<String>) -> Error {
    Error::new(ErrorKind::Unsupported, why).with_object("userns_mode")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_come_back_as_they_went() {
        for text in [
            "",
            "host",
            "auto",
            "auto:size=1000",
            "private",
            "keep-id",
            "keep-id:uid=5",
            "keep-id:gid=7",
            "keep-id:uid=5,gid=7",
            "nomap",
        ] {
            assert_eq!(UsernsMode::parse(text).unwrap().to_string(), text);
        }
        for (text, kind) in [
            ("keep-id:size=5", ErrorKind::Unsupported),
            ("keep-id:uid=", ErrorKind::InvalidArgument),
            ("keep-id:uid=-1", ErrorKind::InvalidArgument),
            ("keep-id:gid=1073741825", ErrorKind::InvalidArgument),
            ("nomap:1", ErrorKind::InvalidArgument),
            ("ns:/proc/1/ns/user", ErrorKind::Unsupported),
            ("auto:uidmapping=0:1:2", ErrorKind::Unsupported),
            ("auto:size=0", ErrorKind::InvalidArgument),
            ("auto:size=x", ErrorKind::InvalidArgument),
            ("auto:", ErrorKind::Unsupported),
            ("host:1", ErrorKind::InvalidArgument),
            ("somebody", ErrorKind::InvalidArgument),
        ] {
            let error = UsernsMode::parse(text).unwrap_err();
            assert_eq!((error.kind(), error.object()), (kind, Some("userns_mode")), "{text}");
        }
    }

    #[test]
    fn maps_are_the_kernels_and_one_alone_is_both() {
        let spec = |uidmap: &[&str], gidmap: &[&str]| {
            let mut spec = ContainerSpec::new("i");
            spec.uidmap = uidmap.iter().map(|line| (*line).to_owned()).collect();
            spec.gidmap = gidmap.iter().map(|line| (*line).to_owned()).collect();
            spec
        };
        let one = spec(&["0:100000:10", "10:7"], &[]);
        check(&one).unwrap();
        let read = maps(&one).unwrap();
        assert_eq!(read.uids, read.gids);
        assert_eq!(read.uids[1], IdRange { inside: 10, outside: 7, count: 1 });
        assert_eq!(maps(&spec(&["0:1:1"], &["0:2:1"])).unwrap().gids[0].outside, 2);
        for (lines, field) in [
            (&["1:100000:10"][..], "uidmap"),
            (&["0:100000:0"], "uidmap"),
            (&["0:4294967295:1"], "uidmap"),
            (&["0:100000:4294967295"], "uidmap"),
            (&["0:100000:10", "9:200000:2"], "uidmap"),
            (&["0:100000:10", "20:100009:2"], "uidmap"),
            (&["0"], "uidmap"),
            (&["0:1:2:3"], "uidmap"),
            (&["0:-1:2"], "uidmap"),
        ] {
            let error = check(&spec(lines, &["0:1:1"])).unwrap_err();
            assert_eq!(
                (error.kind(), error.object()),
                (ErrorKind::InvalidArgument, Some(field)),
                "{lines:?}"
            );
        }
        let many: Vec<String> = (0..341).map(|n| format!("{n}:{n}")).collect();
        assert!(map("uidmap", &many).is_err());
        let lines = |first: u32| -> Vec<String> { (0..340).map(|n| format!("{n}:{}", first + n)).collect() };
        assert!(map("uidmap", &lines(1000)).is_ok() && map("uidmap", &lines(1_000_000)).is_err());
    }

    #[test]
    fn a_users_ids_are_his_own_in_another_order() {
        let range = |inside, outside, count| IdRange { inside, outside, count };
        assert_eq!(around(1000, 65_537), [range(0, 1, 1000), range(1000, 0, 1), range(1001, 1001, 64_536)]);
        assert_eq!(around(0, 5), [range(0, 0, 1), range(1, 1, 4)]);
        assert_eq!(around(4, 5), [range(0, 1, 4), range(4, 0, 1)]);
        assert_eq!(around(1000, 5), [range(0, 1, 4), range(1000, 0, 1)]);
        assert_eq!(around(1000, 1), [range(1000, 0, 1)]);

        let own = UserNamespace::Ranges {
            uids: vec![range(0, 1000, 1), range(1, 100_000, 10)],
            gids: vec![range(0, 100, 1), range(1, 100_000, 20)],
            newuidmap: "/x".into(),
            newgidmap: "/x".into(),
        };
        let single = UserNamespace::Single { uid: 1000, gid: 100 };
        let of = |mode: &str, own: &UserNamespace| {
            let mut spec = ContainerSpec::new("i");
            spec.userns_mode = UsernsMode::parse(mode).unwrap();
            check(&spec).unwrap();
            of_a_user(own, &spec)
        };
        let ids = of("keep-id:uid=1000,gid=3", &own).unwrap();
        assert_eq!(ids.uids, [range(0, 1, 10), range(1000, 0, 1)]);
        assert_eq!(ids.gids, [range(0, 1, 3), range(3, 0, 1), range(4, 4, 17)]);
        let ids = of("nomap", &own).unwrap();
        assert_eq!((ids.uids, ids.gids), (vec![range(0, 1, 10)], vec![range(0, 1, 20)]));
        assert_eq!(of("keep-id:uid=7,gid=8", &single).unwrap().gids, [range(8, 0, 1)]);
        for (mode, own) in [("nomap", &single), ("auto", &single), ("auto", &own)] {
            assert_eq!(of(mode, own).unwrap_err().kind(), ErrorKind::Unsupported, "{mode}");
        }
    }

    #[test]
    fn what_a_user_namespace_excludes() {
        type Change = fn(&mut ContainerSpec);
        let table: [(&str, Change); 7] = [
            ("userns_mode", |s| s.privileged = true),
            ("userns_mode", |s| s.uidmap = vec!["0:1:1".into()]),
            ("userns_mode", |s| s.network = NetworkMode::Container("x".into())),
            ("userns_mode", |s| s.pid_mode = NamespaceMode::Container("x".into())),
            ("userns_mode", |s| s.ipc_mode = NamespaceMode::Container("x".into())),
            ("userns_mode", |s| s.userns_mode = UsernsMode::Private),
            ("volumes", |s| {
                s.userns_mode = UsernsMode::Host;
                let mut mount = super::super::Mount::bind("/x", "/x");
                mount.options.push("idmap".into());
                s.volumes = vec![mount];
            }),
        ];
        for (field, change) in table {
            let mut spec = ContainerSpec::new("i");
            spec.userns_mode = UsernsMode::Auto(None);
            check(&spec).unwrap();
            change(&mut spec);
            let error = check(&spec).unwrap_err();
            assert_eq!((error.kind(), error.object()), (ErrorKind::InvalidArgument, Some(field)), "{error}");
        }
    }
}
