//! The namespaces that a container has in common with the host or with another container: what may be asked for, and the namespaces of containers that run.

use std::fmt;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use coble_protocol::{FdList, IdMapping, Network, Request, Response, Shm, Space, Spaces, UserNamespace};

use super::monitor::Monitor;
use super::start::hostname_of;
use super::validate::invalid;
use super::{ContainerSpec, Isolation, NetworkMode, namespace};
use crate::cancel::CancelToken;
use crate::engine::Inner;
use crate::error::{Call, Error, ErrorKind, Result};
use crate::isolation::userns::ranges;
use crate::process::{self, Deadline};
use crate::state::{ContainerRow, containers};

/// How long a monitor may take to tell of its container.
const ANSWER: Duration = Duration::from_secs(5);
/// The same, when the monitor may have to wait for others first.
const SHARED: Duration = Duration::from_secs(60);

/// Whose a namespace of a container is.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
#[non_exhaustive]
pub enum NamespaceMode {
    /// The container's alone.
    #[default]
    Private,
    /// The container's, and others may join it.
    Shareable,
    /// The host's.
    Host,
    /// The container's alone, and nothing of it is to be seen: there is no `/dev/shm`.
    None,
    /// That of another container, by its name or id.
    Container(String),
}

impl NamespaceMode {
    /// `private`, `shareable`, `host`, `none` or `container:` and a name or id; nothing is `private`. Which of them a namespace can be, the option says.
    pub fn parse(text: &str) -> Result<NamespaceMode> {
        Ok(match text {
            "" | "private" => NamespaceMode::Private,
            "shareable" => NamespaceMode::Shareable,
            "host" => NamespaceMode::Host,
            "none" => NamespaceMode::None,
            text => match text.strip_prefix("container:") {
                Some(name) if !name.is_empty() => NamespaceMode::Container(name.to_owned()),
                _ => {
                    let why = format!("\"{}\" is nobody whose a namespace could be", text.escape_default());
                    return Err(Error::new(ErrorKind::InvalidArgument, why)
                        .with_object(text)
                        .with_hint("use private, host, or container:NAME"));
                }
            },
        })
    }

    fn container(&self) -> Option<&str> {
        match self {
            NamespaceMode::Container(name) => Some(name),
            _ => None,
        }
    }
}

impl fmt::Display for NamespaceMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NamespaceMode::Private => f.write_str("private"),
            NamespaceMode::Shareable => f.write_str("shareable"),
            NamespaceMode::Host => f.write_str("host"),
            NamespaceMode::None => f.write_str("none"),
            NamespaceMode::Container(name) => write!(f, "container:{name}"),
        }
    }
}

impl TryFrom<String> for NamespaceMode {
    type Error = Error;

    fn try_from(text: String) -> Result<NamespaceMode> {
        NamespaceMode::parse(&text)
    }
}

impl From<NamespaceMode> for String {
    fn from(mode: NamespaceMode) -> String {
        mode.to_string()
    }
}

/// What a container is called, and how it finds others: its own, or that of the container whose network it has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Names {
    pub(crate) hostname: String,
    pub(crate) domainname: Option<String>,
    pub(crate) extra_hosts: Vec<(String, String)>,
    pub(crate) dns: Vec<String>,
    pub(crate) dns_search: Vec<String>,
    pub(crate) dns_opt: Vec<String>,
    pub(crate) host_network: bool,
}

impl Names {
    pub(super) fn of(spec: &ContainerSpec, id: &str) -> Names {
        spec.names.as_deref().cloned().unwrap_or_else(|| Names {
            hostname: hostname_of(spec, id),
            domainname: spec.domainname.clone(),
            extra_hosts: spec.extra_hosts.clone(),
            dns: spec.dns.clone(),
            dns_search: spec.dns_search.clone(),
            dns_opt: spec.dns_opt.clone(),
            host_network: spec.network == NetworkMode::Host,
        })
    }
}

/// The fields that say what is joined.
fn joined(spec: &mut ContainerSpec) -> [Option<&mut String>; 3] {
    fn name(mode: &mut NamespaceMode) -> Option<&mut String> {
        match mode {
            NamespaceMode::Container(name) => Some(name),
            _ => None,
        }
    }
    let network = match &mut spec.network {
        NetworkMode::Container(name) => Some(name),
        _ => None,
    };
    [network, name(&mut spec.pid_mode), name(&mut spec.ipc_mode)]
}

/// Checks what a container is to have in common with others.
pub(super) fn check(spec: &ContainerSpec) -> Result<()> {
    use NamespaceMode as Mode;
    let refuse = |field: &str, mode: &Mode, hint: &str| {
        Err(invalid(field, format!("it cannot be \"{}\"", mode.to_string().escape_default())).with_hint(hint))
    };
    match &spec.pid_mode {
        Mode::Private | Mode::Host | Mode::Container(_) => {}
        mode => return refuse("pid_mode", mode, "use private, host, or container:NAME"),
    }
    for (field, mode) in [("uts_mode", &spec.uts_mode), ("cgroupns", &spec.cgroupns)] {
        if !matches!(mode, Mode::Private | Mode::Host) {
            return refuse(field, mode, "use private or host");
        }
    }
    let given = [
        ("hostname", spec.hostname.is_some()),
        ("domainname", spec.domainname.is_some()),
        ("extra_hosts", !spec.extra_hosts.is_empty()),
        ("dns", !spec.dns.is_empty()),
        ("dns_search", !spec.dns_search.is_empty()),
        ("dns_opt", !spec.dns_opt.is_empty()),
    ];
    let (count, whose) = match (&spec.network, &spec.uts_mode) {
        (NetworkMode::Container(_), _) => {
            (given.len(), "the container with another one's network has its names")
        }
        (_, Mode::Host) => (2, "a container with the host's uts namespace has its names"),
        _ => return Ok(()),
    };
    match given.iter().take(count).find(|(_, given)| *given) {
        Some((field, _)) => Err(invalid(field, whose).with_hint("leave it out")),
        None => Ok(()),
    }
}

/// Puts ids for the names of other containers, so that another one that gets the name is not meant, and takes over what belongs to another's network.
pub(super) fn resolve(inner: &Inner, spec: &mut ContainerSpec) -> Result<()> {
    for name in joined(spec).into_iter().flatten() {
        *name = other(inner, name)?.id;
    }
    if let NetworkMode::Container(id) = &spec.network {
        let other = other(inner, id)?;
        spec.names = Some(Box::new(Names::of(&other.spec()?, &other.id)));
    }
    if let Some(id) = spec.ipc_mode.container() {
        let other = other(inner, id)?;
        if matches!(other.spec()?.ipc_mode, NamespaceMode::Private | NamespaceMode::None) {
            let why = format!("the ipc namespace of container \"{}\" is its own", other.name);
            return Err(Error::new(ErrorKind::InvalidArgument, why)
                .with_object(&other.name)
                .with_hint("create that one with ipc_mode shareable"));
        }
    }
    Ok(())
}

fn idle(row: &ContainerRow) -> Error {
    let why = format!("container \"{}\" does not run, so it cannot be joined", row.name);
    Error::new(ErrorKind::InvalidState, why).with_object(&row.name).with_hint("start it first")
}

fn other(inner: &Inner, name: &str) -> Result<ContainerRow> {
    containers::find(&inner.store.db, name)?.ok_or_else(|| super::list::not_found(name))
}

/// The namespaces of other containers that a container joins, opened.
#[derive(Debug, Default)]
pub(super) struct Joined {
    pid: Whose,
    /// The mount namespace that shows them.
    proc: Option<OwnedFd>,
    ipc: Whose,
    network: Whose,
    /// The mount namespace whose `/dev/shm` it has.
    shm: Option<OwnedFd>,
    /// The user namespace that they belong to, if it is not this engine's.
    user: Option<(OwnedFd, u64)>,
    /// The ids of that, if this engine makes none.
    pub(super) maps: Option<IdMapping>,
    /// Some of them belong to the user namespace of this engine.
    ours: bool,
    /// Names of namespaces, and whose they are.
    pub(super) others: Vec<(&'static str, String)>,
}

#[derive(Debug, Default)]
enum Whose {
    #[default]
    Own,
    Host,
    Other(OwnedFd),
}

/// Another container that runs.
struct Other {
    row: ContainerRow,
    init: OwnedFd,
    pid: i32,
    host: Vec<(String, u64)>,
    isolation: Option<Isolation>,
}

impl Other {
    /// `processes`: its namespace of processes is meant, too.
    fn find(inner: &Inner, id: &str, processes: bool, cancel: &CancelToken) -> Result<Other> {
        let row = other(inner, id)?;
        let idle = || idle(&row);
        let monitor = Monitor::connect(inner, &row.id, &row.name)?.ok_or_else(idle)?;
        let late = format!("the monitor of \"{}\" was asked for its container", row.name);
        let request = if processes { Request::Share } else { Request::Init };
        // Who is on the way into the container, and does not get on, is waited for until the monitor ends it.
        let patience = if processes { SHARED } else { ANSWER };
        let answer = monitor.ask(&request, &[], Deadline::after(Some(patience)), cancel, &late)?;
        let init = match answer {
            Some((Response::Ok, mut fds)) => fds.take_nth(0).map_err(|error| {
                Error::new(ErrorKind::MonitorLost, format!("the monitor's answer: {error}"))
            })?,
            Some(_) => return Err(Error::new(ErrorKind::MonitorLost, "an unexpected answer of the monitor")),
            None => return Err(idle()),
        };
        let pid = process::host_pid(&init).ok_or_else(idle)?;
        let isolation = row.run()?.isolation;
        Ok(Other { host: namespace::of_the_host()?, isolation, init, pid, row })
    }

    /// The ids of its user namespace.
    fn maps(&self) -> Result<IdMapping> {
        let read = |name: &str| {
            let path = format!("/proc/{}/{name}", self.pid);
            let text = std::fs::read_to_string(&path).map_err(|error| Error::io("read", &path, &error));
            // As in `open`.
            if process::is_over(&self.init) { Err(idle(&self.row)) } else { text }
        };
        Ok(IdMapping { uids: ranges(&read("uid_map")?), gids: ranges(&read("gid_map")?) })
    }

    /// Opens one of its namespaces. None: it is the host's, as it was from the start.
    fn open(&self, kind: &str) -> Result<Option<(OwnedFd, u64)>> {
        let path = format!("/proc/{}/ns/{kind}", self.pid);
        let opened = rustix::fs::open(&path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
        // The number means that process only as long as it lives, and who is about to end has none any more.
        if process::is_over(&self.init) || matches!(opened, Err(Errno::NOENT | Errno::SRCH)) {
            return Err(idle(&self.row));
        }
        let namespace = opened.call("open", &path)?;
        let inode = rustix::fs::fstat(&namespace).call("fstat", &path)?.st_ino;
        if !self.host.iter().any(|(name, host)| name == kind && *host == inode) {
            return Ok(Some((namespace, inode)));
        }
        let known = self.isolation.iter().flat_map(|isolation| &isolation.namespaces);
        if known.into_iter().any(|known| known.name == kind && known.inode == inode) {
            return Ok(None);
        }
        // Its program is not where it was put, and nobody gets the host's by that.
        let why = format!("container \"{}\" has left its {kind} namespace", self.row.name);
        Err(Error::new(ErrorKind::InvalidState, why).with_object(&self.row.name))
    }
}

/// Whether a process is in another user namespace than this one. None: it has ended.
pub(super) fn is_elsewhere(init: &OwnedFd) -> Result<Option<bool>> {
    let Some(pid) = process::host_pid(init) else { return Ok(None) };
    let path = format!("/proc/{pid}/ns/user");
    match (rustix::fs::stat(&path), process::is_over(init)) {
        (_, true) | (Err(Errno::SRCH), _) => Ok(None),
        // A kernel without them.
        (Err(Errno::NOENT), _) => Ok(Some(false)),
        (found, _) => {
            let own = "/proc/thread-self/ns/user";
            let own = rustix::fs::stat(own).call("stat", own)?.st_ino;
            Ok(Some(found.call("stat", path)?.st_ino != own))
        }
    }
}

/// Refuses what a container with ids that are not the engine's cannot have.
fn refuse_mapped(spec: &ContainerSpec) -> Result<()> {
    let why = "the other container has a user namespace of its own";
    if spec.privileged {
        return Err(invalid("privileged", why));
    }
    if !spec.hooks.create_container.is_empty() {
        return Err(invalid(
            "hooks",
            format!("{why}, with which there are none of the kind createContainer"),
        ));
    }
    Ok(())
}

impl Joined {
    /// Opens what the options say. The other containers have to run.
    pub(super) fn open(inner: &Inner, spec: &ContainerSpec, cancel: &CancelToken) -> Result<Joined> {
        let mut joined = Joined::default();
        let mut take = |id: &str, kind: &'static str| {
            let other = Other::find(inner, id, kind == "pid", cancel)?;
            joined.of_one_user(inner, &other)?;
            joined.others.push((kind, other.row.id.clone()));
            let whose = match other.open(kind)? {
                Some((namespace, _)) => Whose::Other(namespace),
                None => Whose::Host,
            };
            Ok::<_, Error>((whose, other))
        };
        let mut network = Whose::Own;
        if let NetworkMode::Container(id) = &spec.network {
            network = take(id, "net")?.0;
        }
        let mut proc = None;
        let mut pid = if spec.pid_mode == NamespaceMode::Host { Whose::Host } else { Whose::Own };
        if let Some(id) = spec.pid_mode.container() {
            let (whose, other) = take(id, "pid")?;
            pid = whose;
            if let Whose::Other(_) = pid {
                proc = other.open("mnt")?.map(|(namespace, _)| namespace);
            }
        }
        let mut ipc = if spec.ipc_mode == NamespaceMode::Host { Whose::Host } else { Whose::Own };
        let mut shm = None;
        if let Some(id) = spec.ipc_mode.container() {
            let (whose, other) = take(id, "ipc")?;
            ipc = whose;
            if let Whose::Other(_) = ipc {
                shm = other.open("mnt")?.map(|(namespace, _)| namespace);
            }
        }
        if joined.maps.is_some() {
            refuse_mapped(spec)?;
        }
        Ok(Joined { pid, proc, ipc, network, shm, ..joined })
    }

    /// What is joined has to belong to one user namespace, which is joined, too.
    fn of_one_user(&mut self, inner: &Inner, other: &Other) -> Result<()> {
        let foreign = |hint: &str| {
            let why = format!("container \"{}\" is in another user namespace", other.row.name);
            Err(Error::new(ErrorKind::Unsupported, why).with_object(&other.row.name).with_hint(hint))
        };
        if inner.rootless() && super::userns::is_own(&other.row.spec()?) {
            // Its processes see files of images with other ids.
            return foreign("join containers that have the ids of all others");
        }
        match (other.open("user")?, inner.rootless()) {
            (None, false) if self.user.is_none() => {
                self.ours = true;
                Ok(())
            }
            (Some(_), false) if self.ours => foreign("join containers of one user namespace"),
            (None, _) => foreign("join containers of an engine of the same kind, and of one user namespace"),
            (Some((namespace, inode)), rootless) => match &self.user {
                None => {
                    self.user = Some((namespace, inode));
                    if !rootless {
                        self.maps = Some(other.maps()?);
                        self.others.push(("user", other.row.id.clone()));
                    }
                    Ok(())
                }
                Some((_, known)) if *known == inode => Ok(()),
                Some(_) => foreign(
                    "join containers that have joined each other: each other one has a user namespace of its own",
                ),
            },
        }
    }

    /// Whether its processes are among those of others.
    pub(super) fn shares_pids(&self) -> bool {
        !matches!(self.pid, Whose::Own)
    }

    /// The network as the monitor is to know it from the start.
    pub(super) fn network(&self, spec: &ContainerSpec) -> Network {
        match (&spec.network, &self.network) {
            (NetworkMode::None, _) => Network::None,
            (NetworkMode::Container(_), Whose::Other(_)) => Network::Joined,
            (NetworkMode::Host | NetworkMode::Container(_), _) => Network::Host,
        }
    }

    /// The user namespace that the container gets.
    pub(super) fn userns<'a>(
        &'a self,
        own: Option<&UserNamespace>,
        fds: &mut FdList<'a>,
    ) -> Option<UserNamespace> {
        match (own, &self.user) {
            (Some(own), Some((namespace, _))) => Some(UserNamespace::Joined {
                namespace: fds.push(namespace.as_fd()),
                groups: matches!(own, UserNamespace::Ranges { .. }),
            }),
            (own, _) => own.cloned(),
        }
    }

    /// What the monitor gets.
    pub(super) fn describe<'a>(&'a self, spec: &ContainerSpec, fds: &mut FdList<'a>) -> Spaces {
        let mut space = |whose: &'a Whose| match whose {
            Whose::Own => Space::Own,
            Whose::Host => Space::Host,
            Whose::Other(namespace) => Space::Joined(fds.push(namespace.as_fd())),
        };
        let (pid, ipc) = (space(&self.pid), space(&self.ipc));
        let network = match space(&self.network) {
            Space::Joined(index) => Some(index),
            Space::Own | Space::Host => None,
        };
        let shm = match (&self.shm, &self.ipc) {
            (Some(namespace), _) => Shm::Joined(fds.push(namespace.as_fd())),
            (None, Whose::Host) => Shm::Host,
            _ if spec.ipc_mode == NamespaceMode::None => Shm::None,
            _ => Shm::Own,
        };
        let host = |mode: &NamespaceMode| *mode == NamespaceMode::Host;
        let uts = if host(&spec.uts_mode) { Space::Host } else { Space::Own };
        let proc = self.proc.as_ref().map(|namespace| fds.push(namespace.as_fd()));
        let user = self.user.as_ref().filter(|_| self.maps.is_some());
        let user = user.map(|(namespace, _)| fds.push(namespace.as_fd()));
        Spaces { pid, proc, ipc, uts, network, shm, host_cgroups: host(&spec.cgroupns), user }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_are_read_and_written() {
        for text in ["private", "shareable", "host", "none", "container:web"] {
            assert_eq!(NamespaceMode::parse(text).unwrap().to_string(), text);
        }
        assert_eq!(NamespaceMode::parse("").unwrap(), NamespaceMode::Private);
        for text in ["container:", "container", "Host", "ns:/proc/1/ns/pid"] {
            assert_eq!(NamespaceMode::parse(text).unwrap_err().kind(), ErrorKind::InvalidArgument, "{text}");
        }
    }

    #[test]
    fn what_belongs_to_others_is_not_the_containers_to_say() {
        type Change = fn(&mut ContainerSpec);
        let table: [(&str, Change); 9] = [
            ("pid_mode", |s| s.pid_mode = NamespaceMode::Shareable),
            ("uts_mode", |s| s.uts_mode = NamespaceMode::Container("x".into())),
            ("cgroupns", |s| s.cgroupns = NamespaceMode::None),
            ("hostname", |s| {
                s.uts_mode = NamespaceMode::Host;
                s.hostname = Some("x".into());
            }),
            ("domainname", |s| {
                s.uts_mode = NamespaceMode::Host;
                s.domainname = Some("x".into());
            }),
            ("hostname", |s| {
                s.network = NetworkMode::Container("x".into());
                s.hostname = Some("x".into());
            }),
            ("dns", |s| {
                s.network = NetworkMode::Container("x".into());
                s.dns = vec!["10.0.0.1".into()];
            }),
            ("extra_hosts", |s| {
                s.network = NetworkMode::Container("x".into());
                s.extra_hosts = vec![("a".into(), "10.0.0.1".into())];
            }),
            ("dns_opt", |s| {
                s.network = NetworkMode::Container("x".into());
                s.dns_opt = vec!["ndots:1".into()];
            }),
        ];
        for (field, change) in table {
            let mut spec = ContainerSpec::new("i");
            change(&mut spec);
            let error = check(&spec).unwrap_err();
            assert_eq!((error.kind(), error.object()), (ErrorKind::InvalidArgument, Some(field)), "{error}");
        }
    }
}
