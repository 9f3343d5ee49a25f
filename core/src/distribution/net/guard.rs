//! Whom may be asked when it is not the caller but a manifest that names the place: nobody in the caller's own network, and nobody without TLS, unless the
//! caller has said so.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::url::Origin;
use crate::error::{Error, ErrorKind, Result};

/// What a client obeys with every connection, also where a redirect leads to.
#[derive(Debug, Clone, Default)]
pub(in crate::distribution) struct Guard {
    /// Hosts that may be anywhere: `host`, or `host:port` for that port alone; IPv6 with brackets.
    pub(in crate::distribution) anywhere: Vec<String>,
    /// As authorities: who may be asked without TLS.
    pub(in crate::distribution) plain: Vec<String>,
}

impl Guard {
    /// Whether a target may be asked, as far as its name tells. `proxied`: nobody here learns its addresses.
    pub(super) fn check(&self, target: &Origin, proxied: bool) -> Result<()> {
        if !target.https && !self.plain.iter().any(|plain| plain.eq_ignore_ascii_case(&target.authority())) {
            let text = format!("\"{}\" is not asked without TLS", target.authority());
            return Err(Error::new(ErrorKind::Registry, text)
                .with_object(target.authority())
                .with_hint("mark the host with `insecure = true` in registries.conf, if it has none"));
        }
        if !proxied || self.is_anywhere(target) {
            return Ok(());
        }
        let host = target.host.trim_start_matches('[').trim_end_matches(']').trim_end_matches('.');
        let last = host.rsplit('.').next().unwrap_or_default();
        let open = match host.parse::<IpAddr>() {
            Ok(address) => is_public(address),
            // Numbers are other ways to write addresses, and names without a dot are of the proxy's own network.
            Err(_) => {
                host.contains('.') && last != "localhost" && !last.starts_with(|c: char| c.is_ascii_digit())
            }
        };
        if open { Ok(()) } else { Err(private(target)) }
    }

    /// The addresses of a target that may be connected to.
    pub(super) fn open(&self, target: &Origin, mut addresses: Vec<SocketAddr>) -> Result<Vec<SocketAddr>> {
        if !self.is_anywhere(target) {
            addresses.retain(|address| is_public(address.ip()));
        }
        if addresses.is_empty() { Err(private(target)) } else { Ok(addresses) }
    }

    fn is_anywhere(&self, target: &Origin) -> bool {
        let full = format!("{}:{}", target.host, target.port);
        self.anywhere
            .iter()
            .any(|host| host.eq_ignore_ascii_case(&target.host) || host.eq_ignore_ascii_case(&full))
    }
}

fn private(target: &Origin) -> Error {
    let text = format!("\"{}\" is an address that is not public, which is not asked", target.authority());
    Error::new(ErrorKind::Registry, text)
        .with_object(target.authority())
        .with_hint("name the host, if it is meant: foreign_url_hosts (command line: --foreign-url-host)")
}

/// Whether an address is one of the public internet: not of this host, of its link, of a private network, of a test, or of a way to reach one of these.
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

/// By the registry of special addresses of IANA (RFC 6890).
fn is_public_v4(address: Ipv4Addr) -> bool {
    !matches!(
        address.octets(),
        [0 | 10 | 127 | 224..=255, ..]
            | [100, 64..=127, ..]
            | [169, 254, ..]
            | [172, 16..=31, ..]
            | [192, 168, ..]
            | [192, 0, 0 | 2, _]
            | [192, 88, 99, _]
            | [198, 18 | 19, ..]
            | [198, 51, 100, _]
            | [203, 0, 113, _]
    )
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let [first, second, third, fourth, fifth, sixth, seventh, eighth] = address.segments();
    let embedded = {
        let ([a, b], [c, d]) = (seventh.to_be_bytes(), eighth.to_be_bytes());
        Ipv4Addr::new(a, b, c, d)
    };
    match (first, second) {
        // An IPv4 address that is written as one of IPv6, and one behind a translator (RFC 6052).
        (0, 0) if (third, fourth, fifth, sixth) == (0, 0, 0, 0xffff) => is_public_v4(embedded),
        (0x64, 0xff9b) if (third, fourth, fifth, sixth) == (0, 0, 0, 0) => is_public_v4(embedded),
        // Protocols (also Teredo), documentation, 6to4.
        (0x2001, 0..=0x1ff) | (0x2001, 0xdb8) | (0x2002, _) | (0x3fff, 0..=0xfff) => false,
        (0x2000..=0x3fff, _) => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::super::url::parse;
    use super::*;

    #[test]
    fn addresses_that_are_not_public() {
        for address in [
            "0.0.0.0",
            "10.1.2.3",
            "100.64.0.1",
            "100.127.255.255",
            "127.0.0.1",
            "127.9.9.9",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.8",
            "192.0.2.1",
            "192.88.99.1",
            "192.168.1.1",
            "198.18.0.1",
            "198.19.0.1",
            "198.51.100.1",
            "203.0.113.9",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "::7f00:1",
            "64:ff9b::a00:1",
            "64:ff9b:1::1",
            "100::1",
            "2001::1",
            "2001:db8::1",
            "2002:7f00:1::",
            "3fff::1",
            "fc00::1",
            "fd00:ec2::254",
            "fe80::1",
            "fec0::1",
            "ff02::1",
            "4000::1",
        ] {
            assert!(!is_public(address.parse().unwrap()), "{address}");
        }
        for address in [
            "1.1.1.1",
            "100.63.0.1",
            "100.128.0.1",
            "172.15.0.1",
            "172.32.0.1",
            "192.0.1.1",
            "192.167.0.1",
            "198.17.0.1",
            "198.20.0.1",
            "223.255.255.1",
            "::ffff:1.1.1.1",
            "64:ff9b::101:101",
            "2001:200::1",
            "2001:4860:4860::8888",
            "2606:4700::1",
            "2a00:1450::1",
        ] {
            assert!(is_public(address.parse().unwrap()), "{address}");
        }
    }

    #[test]
    fn who_may_be_asked() {
        let origin = |url: &str| Origin::of(&parse(url).unwrap());
        let guard = Guard {
            anywhere: vec!["Near.example".into(), "[::1]:5000".into(), "10.0.0.1:8443".into()],
            plain: vec!["near.example:5000".into()],
        };
        for (url, direct, proxied) in [
            ("https://away.example/x", true, true),
            ("http://away.example/x", false, false),
            ("http://near.example:5000/x", true, true),
            ("http://near.example/x", false, false),
            ("https://1.1.1.1/x", true, true),
            ("https://10.0.0.1/x", true, false),
            ("https://10.0.0.1:8443/x", true, true),
            ("https://[::1]:5000/x", true, true),
            ("https://[::1]/x", true, false),
            ("https://localhost/x", true, false),
            ("https://a.localhost./x", true, false),
            ("https://intranet/x", true, false),
            ("https://2130706433/x", true, false),
            ("https://127.1/x", true, false),
            ("https://0x7f.0.0.1/x", true, false),
        ] {
            assert_eq!(guard.check(&origin(url), false).is_ok(), direct, "{url}");
            assert_eq!(guard.check(&origin(url), true).is_ok(), proxied, "{url}");
        }
        let addresses =
            |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect::<Vec<SocketAddr>>();
        let open =
            |url: &str, texts: &[&str]| guard.open(&origin(url), addresses(texts)).map(|found| found.len());
        assert_eq!(open("https://away.example/", &["127.0.0.1:443", "1.1.1.1:443"]).unwrap(), 1);
        assert_eq!(
            open("https://away.example/", &["127.0.0.1:443"]).unwrap_err().kind(),
            ErrorKind::Registry
        );
        assert_eq!(open("https://near.example/", &["127.0.0.1:443"]).unwrap(), 1);
        assert!(open("https://10.0.0.1/", &["10.0.0.1:443"]).is_err());
        assert_eq!(open("https://10.0.0.1:8443/", &["10.0.0.1:8443"]).unwrap(), 1);
    }
}
