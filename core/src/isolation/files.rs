//! The content of the small files that the engine provides: `/etc/hosts`, `/etc/resolv.conf`, `/etc/hostname`.
//!
//! Every field is checked here once more, whatever checked it before: a line break in one of them would be a line of the
//! attacker's, and an account has been made that way elsewhere.

use std::fs::File;
use std::io::Read;
use std::net::IpAddr;
use std::path::Path;

use crate::container::Names;
use crate::error::{Error, ErrorKind, Result};

/// The most that is read of a file of the host.
const MAX_FILE: u64 = 64 << 10;
/// The most name servers and search domains that are taken over. The C library reads three name servers.
const MAX_ENTRIES: usize = 16;

const RESOLV_CONF: &str = "/etc/resolv.conf";
/// Where systemd-resolved writes the servers that it asks itself.
const RESOLVED_CONF: &str = "/run/systemd/resolve/resolv.conf";

const LOCALHOST: &str = "127.0.0.1\tlocalhost\n\
    ::1\tlocalhost ip6-localhost ip6-loopback\n\
    fe00::\tip6-localnet\n\
    ff00::\tip6-mcastprefix\n\
    ff02::1\tip6-allnodes\n\
    ff02::2\tip6-allrouters\n";

/// `/etc/hosts`: the loopback names, the container's own name, the caller's entries. On the host's network it begins with the host's file, as
/// docker has it.
pub(crate) fn hosts(names: &Names) -> Result<Vec<u8>> {
    let host = names.host_network.then(|| read(Path::new("/etc/hosts")));
    hosts_from(host.as_deref(), &names.hostname, names.domainname.as_deref(), &names.extra_hosts)
}

fn hosts_from(
    host: Option<&str>,
    hostname: &str,
    domainname: Option<&str>,
    extra: &[(String, String)],
) -> Result<Vec<u8>> {
    check_name("hostname", hostname, 64)?;
    let mut text = String::new();
    for line in host.unwrap_or(LOCALHOST).lines().filter(|line| printable(line)) {
        text.push_str(line);
        text.push('\n');
    }
    let named = |line: &str| {
        line.split('#').next().unwrap_or("").split_whitespace().skip(1).any(|name| name == hostname)
    };
    if !text.lines().any(named) {
        // There is no address of its own without a network. This one is loopback everywhere, and is not what "localhost" resolves to.
        text.push_str("127.0.1.1\t");
        if let Some(domainname) = domainname {
            check_name("domainname", domainname, 64)?;
            text.push_str(&format!("{hostname}.{domainname} "));
        }
        text.push_str(&format!("{hostname}\n"));
    }
    for (name, address) in extra {
        check_name("extra_hosts", name, 253)?;
        let address = check_address("extra_hosts", address)?;
        text.push_str(&format!("{address}\t{name}\n"));
    }
    Ok(text.into_bytes())
}

/// `/etc/resolv.conf`: the caller's name servers, search domains and options, or the host's. Servers on the host's
/// loopback are left out unless the container is on the host's network, because nothing answers at its own; where the host uses
/// systemd-resolved, the servers behind that are taken. None at all is fine: the C library then asks the container's own loopback.
pub(crate) fn resolv_conf(names: &Names) -> Result<Vec<u8>> {
    let host_network = names.host_network;
    let host = read(Path::new(RESOLV_CONF));
    let stub_only = {
        let servers = Resolver::parse(&host).servers;
        !servers.is_empty() && servers.iter().all(IpAddr::is_loopback)
    };
    let host = if stub_only && !host_network && Path::new(RESOLVED_CONF).exists() {
        read(Path::new(RESOLVED_CONF))
    } else {
        host
    };
    resolv_conf_from(&host, &names.dns, &names.dns_search, &names.dns_opt, host_network)
}

fn resolv_conf_from(
    host: &str,
    dns: &[String],
    search: &[String],
    options: &[String],
    host_network: bool,
) -> Result<Vec<u8>> {
    let mut resolver = Resolver::parse(host);
    if !search.is_empty() {
        // Docker's word for none.
        let domains = search.iter().filter(|domain| *domain != ".").take(MAX_ENTRIES);
        resolver.search = domains
            .map(|domain| check_name("dns_search", domain, 253).map(|()| domain.clone()))
            .collect::<Result<_>>()?;
    }
    if !options.is_empty() {
        resolver.options = options
            .iter()
            .take(MAX_ENTRIES)
            .map(|option| check_option(option).map(|()| option.clone()))
            .collect::<Result<_>>()?;
    }
    if !dns.is_empty() {
        resolver.servers =
            dns.iter().take(MAX_ENTRIES).map(|server| check_address("dns", server)).collect::<Result<_>>()?;
    } else if !host_network {
        resolver.servers.retain(|server| !server.is_loopback());
    }
    let mut text = String::new();
    for server in &resolver.servers {
        text.push_str(&format!("nameserver {server}\n"));
    }
    for (word, values) in [("search", &resolver.search), ("options", &resolver.options)] {
        if !values.is_empty() {
            text.push_str(&format!("{word} {}\n", values.join(" ")));
        }
    }
    Ok(text.into_bytes())
}

/// `/etc/hostname`.
pub(crate) fn hostname(hostname: &str) -> Result<Vec<u8>> {
    check_name("hostname", hostname, 64)?;
    Ok(format!("{hostname}\n").into_bytes())
}

/// What counts in a `resolv.conf`.
#[derive(Debug, Default, PartialEq, Eq)]
struct Resolver {
    servers: Vec<IpAddr>,
    search: Vec<String>,
    options: Vec<String>,
}

impl Resolver {
    /// Reads a file of the host. Lines that are not understood are left out; of several `search` lines the last one counts.
    fn parse(text: &str) -> Resolver {
        let mut resolver = Resolver::default();
        for line in text.lines().filter(|line| printable(line)) {
            let mut words = line.split_whitespace();
            let keyword = words.next().unwrap_or("");
            let values = || {
                let plain = |value: &&str| value.chars().all(|c| c.is_ascii_graphic());
                words.clone().filter(plain).take(MAX_ENTRIES).map(str::to_owned)
            };
            match keyword {
                // A scope (fe80::1%eth0) means nothing in another network namespace.
                "nameserver" => {
                    let address: Option<IpAddr> = words.next().and_then(|word| word.parse().ok());
                    if resolver.servers.len() < MAX_ENTRIES {
                        resolver.servers.extend(address);
                    }
                }
                "search" | "domain" => resolver.search = values().collect(),
                "options" => {
                    resolver.options.extend(values());
                    resolver.options.truncate(MAX_ENTRIES);
                }
                _ => {}
            }
        }
        resolver
    }
}

/// The start of a text file of the host. A missing or unreadable one is empty.
fn read(path: &Path) -> String {
    let mut bytes = Vec::new();
    if let Ok(file) = File::open(path) {
        // What cannot be read is as if it were not there.
        let _ = file.take(MAX_FILE).read_to_end(&mut bytes);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn printable(line: &str) -> bool {
    !line.chars().any(|c| c.is_control() && c != '\t')
}

fn check_name(field: &str, name: &str, most: usize) -> Result<()> {
    let good = !name.is_empty()
        && name.len() <= most
        && name.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_'));
    if good {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::InvalidArgument,
        format!("{field}: \"{}\" is not a host name", name.escape_debug()),
    )
    .with_object(field))
}

fn check_option(option: &str) -> Result<()> {
    if !option.is_empty() && option.len() <= 255 && option.chars().all(|c| c.is_ascii_graphic()) {
        return Ok(());
    }
    let why = format!("dns_opt: \"{}\" is not an option", option.escape_debug());
    Err(Error::new(ErrorKind::InvalidArgument, why).with_object("dns_opt"))
}

fn check_address(field: &str, address: &str) -> Result<IpAddr> {
    address.parse().map_err(|_| {
        Error::new(
            ErrorKind::InvalidArgument,
            format!("{field}: \"{}\" is not an address", address.escape_debug()),
        )
        .with_object(field)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(result: Result<Vec<u8>>) -> String {
        String::from_utf8(result.unwrap()).unwrap()
    }

    fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect()
    }

    #[test]
    fn hosts_has_loopback_the_own_name_and_the_callers_entries() {
        let hosts = text(hosts_from(None, "web", None, &pairs(&[("db", "10.0.0.2"), ("v6", "FE80::0:1")])));
        assert!(hosts.starts_with("127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost"));
        assert!(hosts.ends_with("127.0.1.1\tweb\n10.0.0.2\tdb\nfe80::1\tv6\n"));
        let host = "127.0.0.1 localhost\n10.1.1.1 box web # mine\nevil\u{1b}[0m\n";
        assert_eq!(
            text(hosts_from(Some(host), "web", None, &[])),
            "127.0.0.1 localhost\n10.1.1.1 box web # mine\n"
        );
        let complete = text(hosts_from(None, "web", Some("b.example"), &[]));
        assert!(complete.ends_with("127.0.1.1\tweb.b.example web\n"));
        assert!(text(hosts_from(Some("10.0.0.1 a # web\n"), "web", None, &[])).ends_with("127.0.1.1\tweb\n"));
    }

    #[test]
    fn no_field_can_make_a_line() {
        for bad in ["", "a\nb", "a b", "a\tb", "a:b", "a\0", "-a", "a#", "ä", &"x".repeat(254)] {
            assert_eq!(hostname(bad).unwrap_err().kind(), ErrorKind::InvalidArgument, "{bad:?}");
            assert!(hosts_from(None, bad, None, &[]).is_err(), "{bad:?}");
            assert!(hosts_from(None, "web", None, &pairs(&[(bad, "10.0.0.2")])).is_err(), "{bad:?}");
        }
        for bad in ["", "10.0.0.1\nnameserver 6.6.6.6", "10.0.0", "host", "10.0.0.1 x", "::1%lo"] {
            assert!(hosts_from(None, "web", None, &pairs(&[("db", bad)])).is_err(), "{bad:?}");
            assert!(resolv_conf_from("", &[bad.to_owned()], &[], &[], false).is_err(), "{bad:?}");
        }
        assert_eq!(text(hostname("a.b-c_d")), "a.b-c_d\n");
    }

    #[test]
    fn resolvers_are_taken_from_the_host_without_its_loopback() {
        let host = "# comment\nnameserver 127.0.0.53\nnameserver 10.0.0.1\nnameserver ::1\nnameserver fe80::1%eth0\n\
                    domain old\nsearch a.example b.example\noptions edns0 trust-ad\nsortlist x\nnameserver\x07 6.6.6.6\n";
        assert_eq!(
            text(resolv_conf_from(host, &[], &[], &[], false)),
            "nameserver 10.0.0.1\nsearch a.example b.example\noptions edns0 trust-ad\n"
        );
        assert!(
            text(resolv_conf_from(host, &[], &[], &[], true))
                .starts_with("nameserver 127.0.0.53\nnameserver 10.0.0.1\nnameserver ::1\n")
        );
        assert_eq!(
            text(resolv_conf_from(host, &["127.0.0.1".into(), "9.9.9.9".into()], &[], &[], false)),
            "nameserver 127.0.0.1\nnameserver 9.9.9.9\nsearch a.example b.example\noptions edns0 trust-ad\n"
        );
        assert_eq!(text(resolv_conf_from("", &[], &[], &[], false)), "");
        let search = ["c.example".to_owned()];
        assert_eq!(
            text(resolv_conf_from(host, &[], &search, &["ndots:3".into()], false)),
            "nameserver 10.0.0.1\nsearch c.example\noptions ndots:3\n"
        );
        assert!(!text(resolv_conf_from(host, &[], &[".".into()], &[], false)).contains("search"));
        let many = "nameserver 10.0.0.1\n".repeat(1000);
        assert_eq!(text(resolv_conf_from(&many, &[], &[], &[], false)).lines().count(), MAX_ENTRIES);
    }
}
