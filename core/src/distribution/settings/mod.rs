//! Where a repository is to be found and how its servers are talked to: from the call, `registries.conf`, `hosts.toml` and the directories of
//! certificates. Credentials are elsewhere.

mod certs;
mod hosts_toml;
mod places;
mod registries_conf;

pub(crate) use places::{Places, read_file};

use ureq::http::{HeaderName, HeaderValue};

use self::registries_conf::RegistriesConf;
use super::client::Access;
use super::net::{Network, Origin, Trust};
use super::options::RegistryOptions;
use crate::error::{Context, Error, ErrorKind, Result};
use crate::oci::Reference;

/// The name of Docker Hub in references, and the host that serves it.
const HUB: (&str, &str) = ("docker.io", "registry-1.docker.io");

/// One server that has, or may have, the repository.
#[derive(Debug, Clone)]
pub(super) struct Host {
    /// Host, with brackets for IPv6.
    pub(super) host: String,
    pub(super) port: Option<u16>,
    pub(super) scheme: Scheme,
    /// What is in front of the repository in a URL: `/v2`.
    pub(super) base: String,
    /// The repository on this server.
    pub(super) repository: String,
    /// The registry that this server stands in for, if it has to be told.
    pub(super) namespace: Option<String>,
    pub(super) trust: Trust,
    /// Headers for this server alone.
    pub(super) headers: Vec<(HeaderName, HeaderValue)>,
    /// Which names it may be asked for.
    pub(super) answers: Answers,
    /// Whether blobs and manifests by digest may come from it.
    pub(super) pull: bool,
    pub(super) push: bool,
    /// The names that credentials for it are kept under, the most exact first.
    pub(super) keys: Vec<String>,
    /// Hosts of token servers that may get its credentials, beside those that evidently belong to it.
    pub(super) token_hosts: Vec<String>,
    /// The registry itself, not one of its mirrors.
    pub(super) is_origin: bool,
}

/// How a server is talked to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scheme {
    Https,
    /// Marked: TLS if it can, otherwise plain HTTP.
    Either,
    /// Named so.
    Http,
}

/// What a mirror is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answers {
    Everything,
    Tags,
    Digests,
}

impl Host {
    /// `host:port`, as it is called in files and messages.
    pub(super) fn authority(&self) -> String {
        match self.port {
            Some(port) => format!("{}:{port}", self.host),
            None => self.host.clone(),
        }
    }

    /// The server of a domain as it stands in references.
    fn of_domain(domain: &str, repository: &str) -> Host {
        let served_by = if domain == HUB.0 { HUB.1 } else { domain };
        let (host, port) = split_port(served_by);
        let mut keys = vec![format!("{domain}/{repository}")];
        let mut rest = repository;
        while let Some((front, _)) = rest.rsplit_once('/') {
            keys.push(format!("{domain}/{front}"));
            rest = front;
        }
        keys.push(domain.to_owned());
        Host {
            host: host.to_ascii_lowercase(),
            port,
            scheme: Scheme::Https,
            base: "/v2".to_owned(),
            repository: repository.to_owned(),
            namespace: None,
            trust: Trust::default(),
            headers: Vec::new(),
            answers: Answers::Everything,
            pull: true,
            push: true,
            keys,
            token_hosts: Vec::new(),
            is_origin: true,
        }
    }

    /// Accepts plain HTTP and any certificate.
    fn mark_insecure(&mut self) {
        self.trust.skip_verify = true;
        if self.scheme == Scheme::Https {
            self.scheme = Scheme::Either;
        }
    }
}

/// The servers of a repository, in the order in which they are asked.
pub(super) fn hosts_of(
    places: &Places,
    reference: &Reference,
    options: &RegistryOptions,
    access: Access,
) -> Result<Vec<Host>> {
    let name = reference.to_string();
    check_hosts_dir(places)?;
    let conf = RegistriesConf::read(places)?;
    let found = conf.find(reference)?;
    let mut hosts = mirrors_of(reference, options)?;
    for place in found {
        let (domain, path) = place.name.split_once('/').ok_or_else(|| {
            let text = format!("\"{}\" in registries.conf leaves no repository of \"{name}\"", place.name);
            Error::new(ErrorKind::InvalidArgument, text)
        })?;
        let mut several = servers_of(places, domain, path)?;
        for host in &mut several {
            if place.insecure && host.is_origin {
                host.mark_insecure();
            }
            if place.is_mirror {
                host.is_origin = false;
                host.push = false;
                host.answers = place.answers;
            }
        }
        hosts.extend(several);
    }
    if access != Access::Pull {
        // Several servers can take what is pushed only if the configuration names them for it; the first of them gets it.
        hosts.retain(|host| host.push);
        hosts.truncate(1);
    } else {
        hosts.retain(|host| host.pull);
    }
    for host in &mut hosts {
        finish(places, host, options)?;
    }
    if hosts.is_empty() {
        let text = format!("the configuration names no server for \"{name}\" that may be used for this");
        return Err(Error::new(ErrorKind::InvalidArgument, text).with_object(name));
    }
    Ok(hosts)
}

/// A directory that the caller names is one that the caller wants to be read.
fn check_hosts_dir(places: &Places) -> Result<()> {
    match places.hosts_dir() {
        Some(directory) if !directory.is_dir() => Err(Error::syscall("opendir", directory, libc::ENOENT)),
        _ => Ok(()),
    }
}

/// The mirrors that the call names for a registry.
fn mirrors_of(reference: &Reference, options: &RegistryOptions) -> Result<Vec<Host>> {
    let domain = reference.domain();
    let repository = reference.repository();
    let path = repository.split_once('/').map_or("", |(_, path)| path);
    let origin = Host::of_domain(domain, path);
    let mut hosts = Vec::new();
    for given in &options.mirrors {
        let (of, url) = match given.split_once('=') {
            Some((of, url)) if !of.contains(['/', '?']) => (Some(of), url),
            _ => (None, given.as_str()),
        };
        let mirror =
            hosts_toml::mirror(url, domain, &origin).context(|| "the mirrors of the call".to_owned())?;
        if of.is_none_or(|of| of == domain) {
            hosts.extend(mirror);
        }
    }
    Ok(hosts)
}

/// A server by its name alone, for what concerns no repository.
pub(super) fn host_of_server(places: &Places, server: &str, options: &RegistryOptions) -> Result<Host> {
    let stripped = server.trim_end_matches('/');
    let (scheme, rest) = match stripped.split_once("://") {
        Some((scheme @ ("http" | "https"), rest)) => (Some(scheme), rest),
        Some(_) => return Err(not_a_server(server)),
        None => (None, stripped),
    };
    let domain = rest.split('/').next().unwrap_or_default();
    let domain = match domain {
        "index.docker.io" | "registry-1.docker.io" => HUB.0,
        domain => domain,
    };
    // What can be the domain of a reference can be a server.
    let probe = format!("{domain}/x");
    let reference = Reference::parse(&probe).map_err(|_| not_a_server(server))?;
    if reference.domain() != domain {
        return Err(not_a_server(server));
    }
    check_hosts_dir(places)?;
    let conf = RegistriesConf::read(places)?;
    let place = conf.find(&reference)?.pop();
    let served = servers_of(places, domain, "x")?.into_iter().rfind(|host| host.is_origin);
    let mut host = served.unwrap_or_else(|| Host::of_domain(domain, "x"));
    if place.is_some_and(|place| place.insecure) {
        host.mark_insecure();
    }
    host.keys = vec![domain.to_owned()];
    host.repository = String::new();
    finish(places, &mut host, options)?;
    if scheme == Some("http") && host.scheme == Scheme::Https {
        return Err(Error::new(
            ErrorKind::InvalidArgument,
            format!("\"{domain}\" is not marked insecure, so plain HTTP is not used for it"),
        )
        .with_object(domain)
        .with_hint("mark it in registries.conf or hosts.toml, or allow it for this call"));
    }
    Ok(host)
}

/// What the configuration says of a host that a descriptor names: whether it is insecure, and whose certificates are good there. Nothing is shown to it, and nobody stands in for it.
pub(super) fn elsewhere(places: &Places, origin: &Origin) -> Result<(bool, Trust)> {
    let full = format!("{}:{}", origin.host, origin.port);
    let mut names = vec![origin.authority()];
    if !names.contains(&full) {
        names.push(full);
    }
    let mut trust = Trust::default();
    let mut insecure = false;
    for name in &names {
        // What cannot be the domain of a reference is in no file of registries.
        let Ok(reference) = Reference::parse(&format!("{name}/x")) else { continue };
        if reference.domain() == name {
            let conf = RegistriesConf::read(places)?;
            insecure |= conf.find(&reference)?.pop().is_some_and(|place| place.insecure);
        }
    }
    certs::add(places, &names, None, &mut trust)
        .context(|| format!("the certificates for \"{}\"", origin.authority()))?;
    trust.client = None;
    trust.skip_verify = insecure;
    Ok((insecure, trust))
}

/// The candidates for a name without a registry. Docker's rule, unless `registries.conf` lists registries to search, which is how its administrator
/// asks for that file's rules: then its aliases and that list.
pub(crate) fn short_names(
    network: &Network,
    text: &str,
    options: &RegistryOptions,
) -> Result<Vec<Reference>> {
    candidates(&Places::of_process().with(&options.or(network.defaults())), text)
}

/// As [`short_names`], by the files of other places.
pub(super) fn candidates(places: &Places, text: &str) -> Result<Vec<Reference>> {
    let plain = Reference::parse(text)?;
    if Reference::names_domain(text) {
        return Ok(vec![plain]);
    }
    let conf = RegistriesConf::read(places)?;
    match conf.candidates(text) {
        None => Ok(vec![plain]),
        Some(candidates) => candidates.iter().map(|text| Reference::parse(text)).collect(),
    }
}

fn not_a_server(server: &str) -> Error {
    let shown: String = server.chars().take(200).collect();
    Error::new(
        ErrorKind::InvalidArgument,
        format!("\"{}\" is not the name of a registry", shown.escape_debug()),
    )
    .with_object(shown)
    .with_hint("give host or host:port")
}

/// The mirrors that `hosts.toml` has for a domain, then the domain's own server.
fn servers_of(places: &Places, domain: &str, path: &str) -> Result<Vec<Host>> {
    let origin = Host::of_domain(domain, path);
    hosts_toml::expand(places, domain, origin)
}

/// What the call says, and the directories of certificates. The call speaks of the registry that it names, not of who stands in for it.
fn finish(places: &Places, host: &mut Host, options: &RegistryOptions) -> Result<()> {
    if options.insecure && host.is_origin {
        host.mark_insecure();
    }
    let given = options.cert_dir.as_deref().filter(|_| host.is_origin);
    let mut names = vec![host.authority()];
    if host.port.is_none() {
        names.push(format!("{}:443", host.host));
    }
    if host.host == HUB.1 {
        names.push(HUB.0.to_owned());
    }
    certs::add(places, &names, given, &mut host.trust)
        .context(|| format!("the certificates for \"{}\"", host.authority()))
}

/// Host and port of `host:port`, `[v6]:port`.
fn split_port(authority: &str) -> (&str, Option<u16>) {
    match authority.rsplit_once(':') {
        Some((host, port)) if !host.is_empty() && !port.contains(']') => match port.parse() {
            Ok(port) => (host, Some(port)),
            Err(_) => (authority, None),
        },
        _ => (authority, None),
    }
}
