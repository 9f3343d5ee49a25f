//! The proxies of the environment, as the field reads them: `HTTPS_PROXY` or `HTTP_PROXY` by the scheme, then `ALL_PROXY`, and `NO_PROXY` for what
//! goes without, each in lower case first.

use std::net::IpAddr;

use base64::Engine as _;

use super::url::{Origin, parse};
use crate::error::{Error, ErrorKind, Result};

/// A proxy of HTTP.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Proxy {
    pub(super) origin: Origin,
    /// `user:password`.
    pub(super) user: Option<String>,
}

impl std::fmt::Debug for Proxy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Proxy({})", self.origin)
    }
}

/// The proxies of all URLs.
#[derive(Debug, Clone, Default)]
pub(in crate::distribution) struct Proxies {
    http: Option<Found>,
    https: Option<Found>,
    without: Vec<Exception>,
}

/// A proxy, or the variable that has something else, which matters only where it would be used.
type Found = std::result::Result<Proxy, Unusable>;

#[derive(Debug, Clone)]
struct Unusable(&'static str);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Exception {
    Everything,
    /// A network; the number of bits.
    Network(IpAddr, u8),
    /// A host and what is below it, or, with a leading dot, only that; a port.
    Name(String, Option<u16>),
    Address(IpAddr, Option<u16>),
}

impl Proxies {
    /// Those of the environment.
    pub(in crate::distribution) fn of_environment(var: &dyn Fn(&str) -> Option<String>) -> Proxies {
        let get = |name: &str| {
            let lower = var(&name.to_ascii_lowercase()).filter(|value| !value.is_empty());
            lower.or_else(|| var(name).filter(|value| !value.is_empty()))
        };
        // A program that serves HTTP for others finds a header `Proxy` of a request in this variable.
        let in_request = var("REQUEST_METHOD").is_some();
        let http =
            if in_request { var("http_proxy").filter(|value| !value.is_empty()) } else { get("HTTP_PROXY") };
        // Docker and podman do not look at this one at all. It is often set for other protocols, by a proxy that is none of HTTP.
        let all = get("ALL_PROXY").as_deref().and_then(Proxy::parse);
        let read = |name: &'static str, value: Option<String>| match value {
            Some(value) => Some(Proxy::parse(&value).ok_or(Unusable(name))),
            None => all.clone().map(Ok),
        };
        let without = get("NO_PROXY").unwrap_or_default();
        Proxies {
            http: read("HTTP_PROXY", http),
            https: read("HTTPS_PROXY", get("HTTPS_PROXY")),
            without: without.split([',', ' ']).filter_map(Exception::parse).collect(),
        }
    }

    /// The proxy for a target; None if it is reached straight. Fails if the environment names something else for it.
    pub(super) fn of(&self, target: &Origin) -> Result<Option<&Proxy>> {
        self.found(target).map(|found| found.as_ref().map_err(Unusable::error)).transpose()
    }

    fn found(&self, target: &Origin) -> Option<&Found> {
        let proxy = if target.https { &self.https } else { &self.http }.as_ref()?;
        let host = target.host.trim_start_matches('[').trim_end_matches(']').trim_end_matches('.');
        let address = host.parse::<IpAddr>().ok();
        // What is here never goes through a proxy, as everywhere.
        if host == "localhost" || address.is_some_and(|address| address.is_loopback()) {
            return None;
        }
        (!self.without.iter().any(|exception| exception.covers(host, address, target.port))).then_some(proxy)
    }
}

impl Unusable {
    /// The value is not shown: it may hold a password.
    fn error(&self) -> Error {
        let Unusable(variable) = self;
        let text = format!("the proxy in the variable \"{variable}\" is not a usable URL");
        Error::new(ErrorKind::InvalidArgument, text)
            .with_object(*variable)
            .with_hint("proxies are http://host:port or https://host:port")
    }
}

impl Proxy {
    /// None for what is no URL of a proxy of HTTP.
    fn parse(text: &str) -> Option<Proxy> {
        let text = text.trim();
        let (scheme, rest) = text.split_once("://").unwrap_or(("http", text));
        if !matches!(scheme, "http" | "https") {
            return None;
        }
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        let (user, host) = match authority.rsplit_once('@') {
            Some((user, host)) => (Some(decode(user)), host),
            None => (None, authority),
        };
        let origin = Origin::of(&parse(&format!("{scheme}://{host}/")).ok()?);
        Some(Proxy { origin, user })
    }
}

/// Undoes percent-encoding.
fn decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let digits = tail.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        let escaped =
            digits.filter(|_| *first == b'%').and_then(|digits| u8::from_str_radix(digits, 16).ok());
        bytes.push(escaped.unwrap_or(*first));
        rest = tail.get(if escaped.is_some() { 2 } else { 0 }..).unwrap_or_default();
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

impl Exception {
    fn parse(text: &str) -> Option<Exception> {
        let text = text.trim().to_ascii_lowercase();
        if text.is_empty() {
            return None;
        }
        if text == "*" {
            return Some(Exception::Everything);
        }
        if let Some((address, bits)) = text.split_once('/') {
            let address: IpAddr = address.parse().ok()?;
            let bits: u8 = bits.parse().ok()?;
            let most = if address.is_ipv4() { 32 } else { 128 };
            return (bits <= most).then_some(Exception::Network(address, bits));
        }
        if let Ok(address) = text.trim_start_matches('[').trim_end_matches(']').parse() {
            return Some(Exception::Address(address, None));
        }
        let (host, port) = match text.rsplit_once(':') {
            Some((host, port)) => (host.to_owned(), Some(port.parse().ok()?)),
            None => (text, None),
        };
        if let Ok(address) = host.trim_start_matches('[').trim_end_matches(']').parse() {
            return Some(Exception::Address(address, port));
        }
        let host = host.strip_prefix('*').unwrap_or(&host);
        Some(Exception::Name(host.trim_end_matches('.').to_owned(), port))
    }

    fn covers(&self, host: &str, address: Option<IpAddr>, port: u16) -> bool {
        match self {
            Exception::Everything => true,
            Exception::Network(network, bits) => {
                address.is_some_and(|address| within(address, *network, *bits))
            }
            Exception::Address(exception, wanted) => {
                address == Some(*exception) && wanted.is_none_or(|wanted| wanted == port)
            }
            Exception::Name(name, wanted) => {
                let below = match name.strip_prefix('.') {
                    Some(_) => host.ends_with(name.as_str()),
                    None => {
                        host == name
                            || host.strip_suffix(name.as_str()).is_some_and(|front| front.ends_with('.'))
                    }
                };
                below && wanted.is_none_or(|wanted| wanted == port)
            }
        }
    }
}

fn within(address: IpAddr, network: IpAddr, bits: u8) -> bool {
    let (address, network, width) = match (address, network) {
        (IpAddr::V4(address), IpAddr::V4(network)) => {
            (u128::from(address.to_bits()), u128::from(network.to_bits()), 32)
        }
        (IpAddr::V6(address), IpAddr::V6(network)) => (address.to_bits(), network.to_bits(), 128),
        _ => return false,
    };
    let drop = u32::from(width - bits);
    address.checked_shr(drop).unwrap_or(0) == network.checked_shr(drop).unwrap_or(0)
}

/// The value of a header for a name and a password.
pub(in crate::distribution) fn basic(username: &str, password: &str) -> String {
    format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(format!("{username}:{password}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxies(variables: &[(&str, &str)]) -> Proxies {
        let find =
            |name: &str| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
        Proxies::of_environment(&find)
    }

    fn used(proxies: &Proxies, url: &str) -> Option<String> {
        proxies.of(&Origin::of(&parse(url).unwrap())).unwrap().map(|proxy| proxy.origin.to_string())
    }

    #[test]
    fn by_scheme_then_for_all_lower_case_first() {
        let all = proxies(&[
            ("HTTPS_PROXY", "http://up:1"),
            ("https_proxy", "http://low:2"),
            ("ALL_PROXY", "all:3"),
        ]);
        assert_eq!(used(&all, "https://x.example/").as_deref(), Some("http://low:2"));
        assert_eq!(used(&all, "http://x.example/").as_deref(), Some("http://all:3"));
        assert_eq!(used(&all, "http://127.0.0.1:5000/"), None);
        assert_eq!(used(&all, "http://localhost:5000/"), None);
        let web = proxies(&[("HTTP_PROXY", "http://evil:1"), ("REQUEST_METHOD", "GET")]);
        assert_eq!(used(&web, "http://x.example/"), None);
    }

    #[test]
    fn exceptions() {
        let all = proxies(&[
            ("HTTPS_PROXY", "http://proxy:1"),
            (
                "NO_PROXY",
                "one.example,.two.example, *.three.example,four.example:8443,10.0.0.0/8,192.0.2.1,[2001:db8::1]:5000,fd00::/8",
            ),
        ]);
        for (host, straight) in [
            ("one.example", true),
            ("a.one.example", true),
            ("notone.example", false),
            ("two.example", false),
            ("a.two.example", true),
            ("a.three.example", true),
            ("four.example", false),
            ("four.example:8443", true),
            ("10.1.2.3", true),
            ("11.1.2.3", false),
            ("192.0.2.1:5000", true),
            ("192.0.2.2", false),
            ("[2001:db8::1]:5000", true),
            ("[2001:db8::1]", false),
            ("[fd12::1]", true),
            ("ONE.example", true),
        ] {
            assert_eq!(used(&all, &format!("https://{host}/")).is_none(), straight, "{host}");
        }
        assert_eq!(
            used(&proxies(&[("HTTPS_PROXY", "http://p:1"), ("NO_PROXY", "*")]), "https://x.example/"),
            None
        );
    }

    #[test]
    fn passwords_of_proxies_are_decoded_and_not_shown() {
        let one = proxies(&[("HTTPS_PROXY", "http://us%40er:se%3Acret@proxy.example:3128/")]);
        assert_eq!(one.https.as_ref().unwrap().as_ref().unwrap().user.as_deref(), Some("us@er:se:cret"));
        assert!(!format!("{one:?}").contains("cret"));
        for bad in ["socks5://secret@x", "http://user:secret@/", "http://a b"] {
            let one = proxies(&[("HTTPS_PROXY", bad), ("NO_PROXY", "near.example")]);
            let of = |url: &str| one.of(&Origin::of(&parse(url).unwrap())).map(|proxy| proxy.is_some());
            let error = of("https://x.example/").unwrap_err();
            assert!(error.to_string().contains("HTTPS_PROXY"), "{error}");
            assert!(
                !error.to_string().contains("secret") && !format!("{one:?}").contains("secret"),
                "{error}"
            );
            // Where it is not used, it does no harm.
            for straight in ["http://x.example/", "https://near.example/", "https://127.0.0.1/"] {
                assert!(!of(straight).unwrap(), "{straight}");
            }
            let other = proxies(&[("ALL_PROXY", bad), ("HTTP_PROXY", "http://p:1")]);
            assert_eq!(used(&other, "https://x.example/"), None);
            assert_eq!(used(&other, "http://x.example/").as_deref(), Some("http://p:1"));
        }
    }
}
