//! `hosts.toml` of containerd: mirrors and the server of one registry, in a directory of certificates that has the registry's name.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use toml::Value;
use ureq::http::{HeaderName, Uri};

use super::places::{Places, read_toml};
use super::{Answers, Host, Scheme, certs, split_port};
use crate::distribution::net::{Trust, header_value, parse};
use crate::error::{Context, Error, ErrorKind, Result};

/// What can be said of a server. What is not known is not looked at, since the file is another program's.
#[derive(Debug, Default, Deserialize)]
struct Entry {
    capabilities: Option<Vec<String>>,
    ca: Option<Value>,
    client: Option<Value>,
    #[serde(default)]
    skip_verify: bool,
    #[serde(default)]
    override_path: bool,
    #[serde(default)]
    header: toml::Table,
    /// Ours: hosts of token servers that may get the credentials.
    #[serde(default)]
    token_hosts: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct File {
    server: Option<String>,
    #[serde(default)]
    host: toml::map::Map<String, Value>,
    #[serde(flatten)]
    entry: Entry,
}

/// The servers for a domain: those that the file names, then its server, which is `origin` unless the file says otherwise.
pub(super) fn expand(places: &Places, domain: &str, origin: Host) -> Result<Vec<Host>> {
    let Some((path, file)) = find(places, domain)? else { return Ok(vec![origin]) };
    read(&path, file, domain, origin).context(|| format!("\"{}\"", path.display()))
}

fn find(places: &Places, domain: &str) -> Result<Option<(PathBuf, File)>> {
    let (host, port) = split_port(domain);
    let mut names = vec![domain.to_owned()];
    // Where a colon is no part of a file name.
    names.extend(port.map(|port| format!("{host}_{port}_")));
    names.push("_default".to_owned());
    for name in names {
        for directory in certs::directories(places) {
            let path = directory.join(&name).join(certs::HOSTS_TOML);
            if let Some(file) = read_toml(&path)? {
                return Ok(Some((path, file)));
            }
        }
    }
    Ok(None)
}

fn read(path: &Path, file: File, domain: &str, origin: Host) -> Result<Vec<Host>> {
    let directory = path.parent().unwrap_or(path);
    let mut hosts = Vec::new();
    for (url, value) in file.host {
        let entry: Entry = value.try_into().map_err(|error: toml::de::Error| bad(error.message()))?;
        let mut host = at(&url, entry.override_path, &origin)?;
        // The registry itself may be among them.
        if !(is_at(&host, &origin) && host.base == origin.base) {
            stand_in(&mut host, domain);
        }
        apply(&mut host, &entry, false, directory)?;
        hosts.push(host);
    }
    // It has the last word, wherever it stands.
    hosts.sort_by_key(|host| host.is_origin);
    let mut server = match &file.server {
        Some(url) => at(url, file.entry.override_path, &origin)?,
        None => origin.clone(),
    };
    if !is_at(&server, &origin) {
        stand_in(&mut server, domain);
    }
    apply(&mut server, &file.entry, true, directory)?;
    if !(server.is_origin && hosts.iter().any(|host| host.is_origin)) {
        hosts.push(server);
    }
    Ok(hosts)
}

/// A mirror that the caller names, as one that a file names without a word more. None if it is the registry itself, which is asked anyway.
pub(super) fn mirror(url: &str, domain: &str, origin: &Host) -> Result<Option<Host>> {
    let mut host = at(url, false, origin)?;
    if is_at(&host, origin) && host.base == origin.base {
        return Ok(None);
    }
    stand_in(&mut host, domain);
    host.push = false;
    Ok(Some(host))
}

/// Whether a server is where the registry is.
fn is_at(host: &Host, origin: &Host) -> bool {
    let port = |host: &Host| host.port.unwrap_or(443);
    let same_port = host.port == origin.port || (host.scheme == Scheme::Https && port(host) == port(origin));
    host.host == origin.host && same_port
}

/// Makes a server one that answers for a registry, and has no claim to what is meant for that.
fn stand_in(host: &mut Host, domain: &str) {
    host.is_origin = false;
    host.keys = vec![host.authority()];
    host.namespace = Some(domain.to_owned());
}

/// The server of a URL: `https://host:port`, with a path in front of `/v2` or instead of it.
fn at(url: &str, override_path: bool, origin: &Host) -> Result<Host> {
    let full = if url.contains("://") { url.to_owned() } else { format!("https://{url}") };
    let parsed: Uri = parse(&full).map_err(|_| match url.contains('@') {
        // There may be a password in it.
        true => bad("a URL with a user name in it is not used"),
        false => bad(&format!("\"{}\" is not a usable URL", url.escape_debug())),
    })?;
    let mut host = origin.clone();
    host.host = parsed.host().unwrap_or_default().to_ascii_lowercase();
    host.port = parsed.port_u16();
    host.scheme = if parsed.scheme_str() == Some("http") { Scheme::Http } else { Scheme::Https };
    let path = parsed.path().trim_end_matches('/');
    host.base = if override_path || path.ends_with("/v2") { path.to_owned() } else { format!("{path}/v2") };
    Ok(host)
}

/// `is_server`: it is the one that the file has for everything that the others do not do.
fn apply(host: &mut Host, entry: &Entry, is_server: bool, directory: &Path) -> Result<()> {
    if let Some(capabilities) = &entry.capabilities {
        let can = |what: &str| capabilities.iter().any(|capability| capability == what);
        host.pull = can("pull") || can("resolve");
        host.push = can("push");
        host.answers = match (can("resolve"), can("pull")) {
            (false, _) => Answers::Digests,
            (true, true) => Answers::Everything,
            (true, false) => Answers::Tags,
        };
    } else if !host.is_origin && !is_server {
        host.push = false;
    }
    host.token_hosts.clone_from(&entry.token_hosts);
    let mut trust = Trust { skip_verify: entry.skip_verify, ..Trust::default() };
    for path in strings(entry.ca.as_ref())? {
        trust.authorities.push(directory.join(path));
    }
    trust.client = client_of(entry.client.as_ref(), directory)?;
    host.trust = trust;
    for (name, value) in &entry.header {
        let header: HeaderName =
            name.parse().map_err(|_| bad(&format!("\"{}\" is not a header", name.escape_debug())))?;
        for value in strings(Some(value))? {
            let mut value = header_value(&header, &value)?;
            value.set_sensitive(true);
            host.headers.push((header.clone(), value));
        }
    }
    Ok(())
}

/// A string or a list of them.
fn strings(value: Option<&Value>) -> Result<Vec<String>> {
    match value {
        None => Ok(Vec::new()),
        Some(Value::String(text)) => Ok(vec![text.clone()]),
        Some(Value::Array(list)) => list
            .iter()
            .map(|value| {
                value.as_str().map(str::to_owned).ok_or_else(|| bad("a list has something else than strings"))
            })
            .collect(),
        Some(_) => Err(bad("something else than a string or a list of strings")),
    }
}

/// `"both.pem"`, `["both.pem", ...]` or `[["certificate", "key"], ...]`. The first is used.
fn client_of(value: Option<&Value>, directory: &Path) -> Result<Option<(PathBuf, PathBuf)>> {
    let first = match value {
        Some(Value::Array(list)) => list.first(),
        value => value,
    };
    let both = |path: &str| Some((directory.join(path), directory.join(path)));
    match first {
        None => Ok(None),
        Some(Value::String(path)) => Ok(both(path)),
        Some(Value::Array(pair)) => {
            match pair.iter().map(Value::as_str).collect::<Option<Vec<_>>>().as_deref() {
                Some([certificate, ""] | [certificate]) => Ok(both(certificate)),
                Some([certificate, key]) => Ok(Some((directory.join(certificate), directory.join(key)))),
                _ => Err(bad("\"client\" has an entry that is not a certificate and a key")),
            }
        }
        Some(_) => Err(bad("\"client\" is not a path")),
    }
}

fn bad(why: &str) -> Error {
    Error::new(ErrorKind::InvalidArgument, format!("malformed: {why}"))
}
