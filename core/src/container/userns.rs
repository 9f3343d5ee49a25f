//! The user namespace of a container: which one it has, and the ids in it. The words are podman's.
//!
//! Root's containers get ids that no other one has, and files are mounted with those. An ordinary user may not mount with other ids. His containers can have the ids of the engine's user namespace in another order, all but
//! the caller's own, those that are asked for, or some that no other one has; then the layers of their images are unpacked once more, with the owners that this takes.

use std::fmt;
use std::os::fd::AsFd;

use coble_protocol::{IdMapping, IdRange, UserNamespace};
use serde::{Deserialize, Serialize};

use super::validate::invalid;
use super::{ContainerSpec, NamespaceMode, NetworkMode, source};
use crate::cancel::CancelToken;
use crate::engine::Inner;
use crate::error::{Context, Error, ErrorKind, Result};
use crate::image::ResolvedImage;
use crate::isolation::userns::{
    CONTAINERS, MOST_BYTES, MOST_LINES, OtherIds, caller, mapped, pools, single_id_reason, told, within,
};
use crate::process::reader::{self, View};
use crate::snapshot;
use crate::state::ContainerRow;
use crate::state::ids::{self, NOBODY, Need, Pool, Wanted};

/// How many ids a range has that is made automatically.
const SIZE: u32 = 65_536;
/// The largest id that the caller can have in a container.
const MOST_KEPT: u32 = 1 << 30;
/// How many an ordinary user's has at least: few, since he has few.
const LEAST: u32 = 1024;
/// The most that is read of an image's list of users, or of groups.
const MOST_LISTED: u64 = 1 << 20;

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
    /// Its own, with as many ids as this, from 0, that no other container of the store has. None: 65536, or, of an ordinary user, who has few, as many as the users and groups of the image need, 1024 at least, and 65534.
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
    if lines.len() > MOST_LINES {
        return Err(invalid(field, format!("has more than {MOST_LINES} lines")));
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

/// Checks whether a new container can have what is asked for on this host, before an image is pulled for nothing.
pub(super) fn check_host(inner: &Inner, spec: &ContainerSpec) -> Result<()> {
    match (&inner.userns, &spec.userns_mode) {
        _ if !is_own(spec) => Ok(()),
        (None, _) => of_root(spec).map(drop),
        (Some(own), UsernsMode::Auto(size)) => {
            let pools = pools_of_a_user(own, spec)?;
            check_binds(spec, None)?;
            // What nobody has now may be somebody's when the container is made; what is too much stays so.
            let enough = |pool: &Pool| pool.iter().any(|(_, count)| *count >= size.unwrap_or(1));
            match pools.iter().position(|pool| !enough(pool)) {
                Some(kind) => Err(too_few(own, kind == 0, size.unwrap_or(1))),
                None => Ok(()),
            }
        }
        (Some(own), _) => owners(inner, spec, &of_a_user(own, spec)?).map(drop),
    }
}

/// The ids that a new container is to have for itself; None if it has no user namespace of its own, or one with the ids that other containers of an ordinary user have as well. `need` is how many it needs if nobody has said so.
pub(super) fn wanted(
    inner: &Inner,
    spec: &ContainerSpec,
    need: impl FnOnce() -> Result<Need>,
) -> Result<Option<Wanted>> {
    match (&inner.userns, &spec.userns_mode) {
        _ if !is_own(spec) => Ok(None),
        (None, _) => of_root(spec).map(Some),
        (Some(own), UsernsMode::Auto(given)) => {
            let pools = pools_of_a_user(own, spec)?;
            let need = given.map_or_else(need, |count| Ok(Need { count, nobody: false }))?;
            ids::choose(&inner.store.db, &pools, need, &caller()).map(|maps| Some(Wanted::Chosen(maps)))
        }
        (Some(_), UsernsMode::KeepId(..) | UsernsMode::NoMap) => Ok(None),
        (Some(own), _) => of_a_user(own, spec).map(|maps| Some(Wanted::Maps(maps))),
    }
}

/// What a container of root is to have.
fn of_root(spec: &ContainerSpec) -> Result<Wanted> {
    match spec.userns_mode {
        UsernsMode::Auto(size) => {
            let [uids, gids] = pools()?;
            Ok(Wanted::Range { uids, gids, count: size.unwrap_or(SIZE), whose: CONTAINERS })
        }
        UsernsMode::KeepId(..) | UsernsMode::NoMap => {
            let why = format!("\"{}\" is for the containers of an ordinary user", spec.userns_mode);
            Err(unsupported(why).with_hint("use auto"))
        }
        _ => maps(spec).map(Wanted::Maps),
    }
}

/// The ids of a container that has a user namespace of its own, as those of the engine's; None if it has none.
pub(super) fn ids(inner: &Inner, row: &ContainerRow, spec: &ContainerSpec) -> Result<Option<IdMapping>> {
    match (&inner.userns, &spec.userns_mode) {
        _ if !is_own(spec) => return Ok(None),
        (Some(own), UsernsMode::KeepId(..) | UsernsMode::NoMap) => {
            return Ok(Some(parts(own, &of_a_user(own, spec)?)));
        }
        _ => {}
    }
    let maps = ids::of(&inner.store.db, &row.id)?.ok_or_else(|| {
        let why = format!("container \"{}\" has no ids for its user namespace", row.name);
        Error::new(ErrorKind::Database, why).with_object(&row.name)
    })?;
    let Some(own) = &inner.userns else { return Ok(Some(maps)) };
    if let Some(missing) = outside_of(own, &maps) {
        let why = format!("container \"{}\" has ids that do not exist any more: {missing}", row.name);
        return Err(unsupported(why).with_hint("give them back to the user, or make the container again"));
    }
    Ok(Some(parts(own, &maps)))
}

/// What the files of a container are owned by on the disk, where that is not what the engine's user namespace makes of them.
pub(super) fn on_disk(inner: &Inner, row: &ContainerRow, spec: &ContainerSpec) -> Result<Option<OtherIds>> {
    match ids(inner, row, spec)? {
        Some(maps) => owners(inner, spec, &maps),
        None => Ok(None),
    }
}

/// As [`on_disk`], for a container that is about to be made with these ids.
pub(super) fn on_disk_of(
    inner: &Inner,
    spec: &ContainerSpec,
    wanted: Option<&Wanted>,
) -> Result<Option<OtherIds>> {
    match (wanted, &inner.userns) {
        (Some(Wanted::Chosen(maps) | Wanted::Maps(maps)), Some(_)) => owners(inner, spec, maps),
        (None, Some(own)) if is_own(spec) => owners(inner, spec, &of_a_user(own, spec)?),
        _ => Ok(None),
    }
}

fn owners(inner: &Inner, spec: &ContainerSpec, maps: &IdMapping) -> Result<Option<OtherIds>> {
    let Some(own) = &inner.userns else { return Ok(None) };
    let owners = match spec.userns_mode {
        UsernsMode::KeepId(..) | UsernsMode::NoMap => OtherIds::of(own, maps),
        _ => OtherIds::of_its_own(own, maps),
    };
    if owners.as_ref().is_some_and(|owners| !owners.fits()) {
        let why = format!(
            "has more than the {MOST_LINES} lines or {MOST_BYTES} bytes that the kernel takes, as what it maps lies apart on the host"
        );
        return Err(invalid("uidmap", why));
    }
    Ok(owners)
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

/// The ids of a container of an ordinary user that are known beforehand, as those of his engine's user namespace, in which he is 0.
fn of_a_user(own: &UserNamespace, spec: &ContainerSpec) -> Result<IdMapping> {
    let [users, groups] = counts(own);
    let maps = match spec.userns_mode {
        UsernsMode::KeepId(Some(uid), Some(gid)) => {
            IdMapping { uids: around(uid, users), gids: around(gid, groups) }
        }
        UsernsMode::NoMap => {
            let all = |count: u32| vec![IdRange { inside: 0, outside: 1, count: count - 1 }];
            several(own)?;
            IdMapping { uids: all(users), gids: all(groups) }
        }
        UsernsMode::Default | UsernsMode::Private => {
            several(own)?;
            let maps = maps(spec)?;
            if let Some(missing) = outside_of(own, &maps) {
                let field = if spec.uidmap.is_empty() { "gidmap" } else { "uidmap" };
                return Err(invalid(field, missing).with_hint(format!(
                    "ids are counted from 0 there, which is the caller, and not as on the host; user \"{}\" can be given more of them in /etc/subuid and /etc/subgid",
                    caller()
                )));
            }
            maps
        }
        _ => {
            let why = format!("the ids of \"{}\" are not known beforehand", spec.userns_mode);
            return Err(Error::new(ErrorKind::Internal, why));
        }
    };
    check_binds(spec, Some(&maps))?;
    Ok(maps)
}

/// The same map, in which no range is in several of the namespace's, since the kernel takes none.
fn parts(own: &UserNamespace, maps: &IdMapping) -> IdMapping {
    let part = |map: &[IdRange], users| within(map, &mapped(own, users));
    IdMapping { uids: part(&maps.uids, true), gids: part(&maps.gids, false) }
}

/// How many user and group ids containers of an ordinary user can have. They follow one another from 0.
fn counts(own: &UserNamespace) -> [u32; 2] {
    [true, false]
        .map(|users| mapped(own, users).iter().fold(0u32, |sum, range| sum.saturating_add(range.count)))
}

/// Fails if an ordinary user has no ranges.
fn several(own: &UserNamespace) -> Result<()> {
    if counts(own).iter().all(|count| *count > 1) {
        return Ok(());
    }
    let reason = single_id_reason().map(|reason| format!(": {reason}")).unwrap_or_default();
    Err(unsupported(format!("there are no other ids than the caller's own{reason}")))
}

/// The ids that containers of an ordinary user can be given for themselves: all but his own.
fn pools_of_a_user(own: &UserNamespace, spec: &ContainerSpec) -> Result<[Pool; 2]> {
    several(own).context(|| format!("\"{}\"", spec.userns_mode))?;
    Ok(counts(own).map(|count| vec![(1, count - 1)]))
}

fn too_few(own: &UserNamespace, users: bool, count: u32) -> Error {
    let why = format!("there are less than {count} of them: {}", told(own, users));
    let hint = format!(
        "ask for fewer with auto:size=, or give user \"{}\" more of them in /etc/subuid and /etc/subgid",
        caller()
    );
    Error::new(ErrorKind::LimitExceeded, why).with_object("userns_mode").with_hint(hint)
}

/// What of a map is none of an ordinary user's ids, as an error says it.
fn outside_of(own: &UserNamespace, maps: &IdMapping) -> Option<String> {
    let [users, groups] = counts(own).map(u64::from);
    [(true, &maps.uids, users), (false, &maps.gids, groups)].into_iter().find_map(|(users, map, count)| {
        let end = |range: &IdRange| u64::from(range.outside) + u64::from(range.count);
        let range = map.iter().find(|range| end(range) > count)?;
        let IdRange { inside, outside, count } = range;
        Some(format!("\"{inside}:{outside}:{count}\" maps what does not exist: {}", told(own, users)))
    })
}

/// Where an ordinary user may not mount with other ids, a bind that is to have those of its files can only be one that has them anyway: the caller is who he is outside. `maps`: the container's ids, None if he is none of them.
fn check_binds(spec: &ContainerSpec, maps: Option<&IdMapping>) -> Result<()> {
    let Some(mount) = spec.volumes.iter().chain(&spec.mounts).find(|mount| mount.is_mapped()) else {
        return Ok(());
    };
    let is = |map: &[IdRange], id: u32| map.iter().any(|range| range.outside == 0 && range.inside == id);
    let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    if maps.is_some_and(|maps| is(&maps.uids, uid) && is(&maps.gids, gid)) {
        return Ok(());
    }
    let target = mount.target.escape_default();
    let why = format!("\"{target}\": only root may mount files of the host with other ids");
    let hint = "with userns_mode keep-id the caller's files have his ids inside, with idmap or without; for other ids copy the files into the container";
    Err(Error::new(ErrorKind::Unsupported, why).with_object("volumes").with_hint(hint))
}

/// How many ids a container of an ordinary user has that no other one has, and that its files on the disk belong to. None: those belong to ids that a container with the same options has as well.
pub(super) fn its_own(inner: &Inner, row: &ContainerRow, spec: &ContainerSpec) -> Result<Option<Need>> {
    if !inner.rootless() || !matches!(spec.userns_mode, UsernsMode::Auto(_)) {
        return Ok(None);
    }
    Ok(ids::of(&inner.store.db, &row.id)?.map(|maps| Need::of(&maps.uids)))
}

/// How many ids an image needs: those of its lists of users and groups, and of the program's user. `nobody` is one more, since its number is far above all others. Lists that cannot be read are no reason to fail: the
/// program will say what it is missing.
pub(super) fn needed(
    inner: &Inner,
    spec: &ContainerSpec,
    image: &ResolvedImage,
    cancel: &CancelToken,
) -> Result<Need> {
    let lower = snapshot::ensure(&inner.store, inner, image, cancel)?;
    let rootfs = source::open(spec)?;
    let view = match &rootfs {
        Some(directory) => View::Directory(directory.as_fd()),
        None => View::Merged {
            layers: inner.store.layers.as_fd(),
            lower: &lower,
            directory: None,
            container: None,
        },
    };
    let read = |path: &[u8]| {
        let content = reader::content(inner, view, path, MOST_LISTED, cancel);
        String::from_utf8_lossy(&content.unwrap_or_default()).into_owned()
    };
    let user = spec.user.as_ref().or(image.config.user.as_ref()).map_or("", String::as_str);
    let words: Vec<&str> = user.split(':').chain(spec.group_add.iter().map(String::as_str)).collect();
    let (users, groups) = (read(b"/etc/passwd"), read(b"/etc/group"));
    cancel.check()?;
    Ok(count_of(&users, &groups, &words))
}

fn count_of(users: &str, groups: &str, words: &[&str]) -> Need {
    let listed = users.lines().map(|line| (line, 2)).chain(groups.lines().map(|line| (line, 1)));
    let listed = listed.flat_map(|(line, ids)| line.split(':').skip(2).take(ids));
    // Numbers that are no ids are names, or damage.
    let ids = listed.chain(words.iter().copied()).filter_map(|word| word.parse::<u32>().ok());
    let most = ids.filter(|id| *id != NOBODY).max().unwrap_or_default();
    let count = most.saturating_add(1).clamp(LEAST, SIZE);
    Need { count, nobody: count <= NOBODY }
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
        let scattered = UserNamespace::Ranges {
            uids: vec![range(0, 1000, 1), range(1, 100_000, 10), range(11, 300_000, 10)],
            gids: vec![range(0, 100, 1), range(1, 100_000, 20)],
            newuidmap: "/x".into(),
            newgidmap: "/x".into(),
        };
        let one = IdMapping { uids: vec![range(0, 0, 15)], gids: vec![range(7, 3, 2)] };
        let apart = parts(&scattered, &one);
        assert_eq!(apart.uids, [range(0, 0, 1), range(1, 1, 10), range(11, 11, 4)]);
        assert_eq!(apart.gids, one.gids);

        let single = UserNamespace::Single { uid: 1000, gid: 100 };
        assert_eq!(
            parts(&single, &IdMapping { uids: vec![range(5, 0, 1)], gids: vec![range(6, 0, 1)] }).uids,
            [range(5, 0, 1)]
        );
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
        assert_eq!(of("nomap", &single).unwrap_err().kind(), ErrorKind::Unsupported);
        let spec = ContainerSpec::new("i");
        assert_eq!(pools_of_a_user(&single, &spec).unwrap_err().kind(), ErrorKind::Unsupported);
        assert_eq!(pools_of_a_user(&own, &spec).unwrap(), [vec![(1, 10)], vec![(1, 20)]]);
        let of_maps = |uidmap: &str, gidmap: &str, own: &UserNamespace| {
            let mut spec = ContainerSpec::new("i");
            (spec.uidmap, spec.gidmap) = (vec![uidmap.to_owned()], vec![gidmap.to_owned()]);
            check(&spec).unwrap();
            of_a_user(own, &spec)
        };
        assert_eq!(of_maps("0:1:10", "0:0:21", &own).unwrap().gids, [range(0, 0, 21)]);
        assert_eq!(of_maps("0:0:1", "0:0:1", &single).unwrap_err().kind(), ErrorKind::Unsupported);
        for (uidmap, gidmap, text) in [
            ("0:1:11", "0:0:1", "1 to 10, which are 100000 to 100009 of /etc/subuid"),
            ("0:100000:1", "0:0:1", "\"0:100000:1\" maps what does not exist"),
            ("0:0:1", "0:21:1", "of /etc/subgid"),
            ("0:0:1", "0:0:4294967295", "of /etc/subgid"),
        ] {
            let error = of_maps(uidmap, gidmap, &own).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidArgument);
            assert!(error.to_string().contains(text), "{error}");
        }
    }

    #[test]
    fn an_image_needs_what_its_lists_have() {
        let users =
            "root:x:0:0::/:/bin/sh\napp:x:1500:65534::/:\nnobody:x:65534:65534::/:\nbad\nworse:x:-1:x\n";
        let groups = "root:x:0:\nnogroup:x:65534:\nmany:x:2000:\n";
        let count = |users: &str, groups: &str, words: &[&str]| {
            let Need { count, nobody } = count_of(users, groups, words);
            assert_eq!(nobody, count <= NOBODY);
            count
        };
        assert_eq!(count("", "", &[""]), LEAST);
        assert_eq!(count(users, "", &[""]), 1501);
        assert_eq!(count(users, groups, &["app", "many"]), 2001);
        assert_eq!(count(users, groups, &["3000", "5000"]), 5001);
        assert_eq!(count(users, groups, &["nobody", "65534"]), 2001);
        assert_eq!(count("a:x:65533:0:", groups, &[]), NOBODY);
        assert_eq!(count("a:x:65535:0:", groups, &[]), SIZE);
        assert_eq!(count("a:x:4294967295:0:", groups, &[]), SIZE);
        assert_eq!(count("\u{fffd}\0:::::", ":", &[":"]), LEAST);
    }

    #[test]
    fn a_users_binds_have_other_ids_only_where_he_is_himself() {
        let mut spec = ContainerSpec::new("i");
        let mut mount = super::super::Mount::bind("/x", "/x");
        mount.options.push("idmap".into());
        spec.volumes = vec![mount];
        let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
        let map = |inside| vec![IdRange { inside, outside: 0, count: 1 }];
        check_binds(&spec, Some(&IdMapping { uids: map(uid), gids: map(gid) })).unwrap();
        for maps in [
            None,
            Some(IdMapping { uids: map(uid + 1), gids: map(gid) }),
            Some(IdMapping { uids: map(uid), gids: map(gid + 1) }),
        ] {
            let error = check_binds(&spec, maps.as_ref()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unsupported);
            assert!(error.hint().is_some_and(|hint| hint.contains("keep-id")), "{error}");
        }
        spec.volumes.clear();
        check_binds(&spec, None).unwrap();
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
