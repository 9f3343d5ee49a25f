//! The user namespace of a container: which one it has, and the ids in it. The words are podman's.

use std::fmt;

use coble_protocol::{IdMapping, IdRange};
use serde::{Deserialize, Serialize};

use super::validate::invalid;
use super::{ContainerSpec, NamespaceMode, NetworkMode};
use crate::engine::Inner;
use crate::error::{Error, ErrorKind, Result};
use crate::isolation::userns::{CONTAINERS, pools};
use crate::state::ids::Wanted;

/// How many ids a range has that is made automatically.
const SIZE: u32 = 65_536;
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
}

impl UsernsMode {
    /// `host`, `auto`, `auto:size=` and a number, or `private`; nothing is the default.
    pub fn parse(text: &str) -> Result<UsernsMode> {
        let unknown = || {
            let why = format!("\"{}\" is no user namespace that a container can have", text.escape_default());
            Error::new(ErrorKind::InvalidArgument, why)
                .with_object("userns_mode")
                .with_hint("use host, auto, auto:size=65536, or uidmap and gidmap")
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
            ("keep-id" | "nomap" | "ns" | "container", _) => {
                let why = format!("the user namespace \"{}\" is not supported", text.escape_default());
                return Err(Error::new(ErrorKind::Unsupported, why)
                    .with_object("userns_mode")
                    .with_hint("use host, auto, or uidmap and gidmap"));
            }
            _ => return Err(unknown()),
        })
    }
}

impl fmt::Display for UsernsMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            UsernsMode::Default => Ok(()),
            UsernsMode::Host => f.write_str("host"),
            UsernsMode::Auto(None) => f.write_str("auto"),
            UsernsMode::Auto(Some(size)) => write!(f, "auto:size={size}"),
            UsernsMode::Private => f.write_str("private"),
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
        UsernsMode::Auto(_) | UsernsMode::Private => true,
    }
}

/// Checks what is asked for, without a look at the host.
pub(super) fn check(spec: &ContainerSpec) -> Result<()> {
    let given = !spec.uidmap.is_empty() || !spec.gidmap.is_empty();
    match (&spec.userns_mode, given) {
        (UsernsMode::Private, false) => {
            return Err(invalid("userns_mode", "private needs uidmap and gidmap").with_hint("or use auto"));
        }
        (UsernsMode::Host | UsernsMode::Auto(_), true) => {
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

/// The ids that a new container is to have; None if it has no user namespace of its own.
pub(super) fn wanted(inner: &Inner, spec: &ContainerSpec) -> Result<Option<Wanted>> {
    if !is_own(spec) {
        return Ok(None);
    }
    if inner.rootless() {
        return Err(Error::new(
            ErrorKind::Unsupported,
            "a container of an ordinary user has the ids of the caller's user namespace: only root may mount an image with others",
        )
        .with_object("userns_mode")
        .with_hint("leave userns_mode, uidmap and gidmap out"));
    }
    match spec.userns_mode {
        UsernsMode::Auto(size) => {
            let [uids, gids] = pools()?;
            Ok(Some(Wanted::Range { uids, gids, count: size.unwrap_or(SIZE), whose: CONTAINERS }))
        }
        _ => maps(spec).map(|maps| Some(Wanted::Maps(maps))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_come_back_as_they_went() {
        for text in ["", "host", "auto", "auto:size=1000", "private"] {
            assert_eq!(UsernsMode::parse(text).unwrap().to_string(), text);
        }
        for (text, kind) in [
            ("keep-id", ErrorKind::Unsupported),
            ("nomap", ErrorKind::Unsupported),
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
