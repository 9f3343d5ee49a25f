//! Which token server may get the credentials of a registry. The registry names it, so a hostile or tampered one could name its own: credentials go only to
//! where they evidently belong.

use std::net::IpAddr;

use ureq::http::Uri;

use crate::distribution::net::{Origin, parse};
use crate::distribution::settings::Host;
use crate::error::{Error, ErrorKind, Result};

/// Domains below which names belong to different owners, and which the public suffix list does not have: registries and object stores for rent.
const SHARED: [&str; 12] = [
    "aliyuncs.com",
    "amazonaws.com",
    "azurecr.cn",
    "azurecr.io",
    "azurecr.us",
    "gcr.io",
    "icr.io",
    "jfrog.io",
    "myhuaweicloud.com",
    "ocir.io",
    "pkg.dev",
    "scw.cloud",
];

/// The token server of a realm, if it may be asked: never over a weaker connection than the registry, and with credentials only on the registry's own
/// host, on one of the same owner (that is, below the same registered domain), or on one that the configuration names.
pub(super) fn check(realm: &str, registry: &Origin, host: &Host, with_credentials: bool) -> Result<Uri> {
    let url = parse(realm)?;
    let target = Origin::of(&url);
    let refuse = |why: &str| {
        let text =
            format!("\"{}\" sends its clients for a token to \"{target}\", {why}", registry.authority());
        Error::new(ErrorKind::Unauthorized, text).with_object(registry.authority())
    };
    if registry.https && !target.https {
        return Err(refuse("which is not encrypted as the registry itself is"));
    }
    if !with_credentials {
        // There is nothing to lose, and a registry that is in public use may have any token server.
        return Ok(url);
    }
    let named = |name: &String| {
        name.eq_ignore_ascii_case(&target.host) || name.eq_ignore_ascii_case(&target.authority())
    };
    if target.host == registry.host || host.token_hosts.iter().any(named) {
        return Ok(url);
    }
    if target.https && (same_owner(&registry.host, &target.host) || is_known(&registry.host, &target.host)) {
        return Ok(url);
    }
    Err(refuse("to which its credentials do not belong")
        .with_hint("if they do, name that host in \"token_hosts\" of the registry's hosts.toml"))
}

/// Pairs below a shared domain: the registries of a region of Alibaba Cloud have one token server.
fn is_known(registry: &str, target: &str) -> bool {
    let region = registry.strip_prefix("registry.").filter(|region| region.ends_with(".aliyuncs.com"));
    region.is_some_and(|region| target.strip_prefix("dockerauth.") == Some(region))
}

/// Whether two names are below one registered domain, by the public suffix list.
fn same_owner(one: &str, other: &str) -> bool {
    let registered = |host: &str| {
        let host = host.trim_end_matches('.').to_ascii_lowercase();
        let is_address = host.starts_with('[') || host.parse::<IpAddr>().is_ok();
        if is_address { None } else { psl::domain_str(&host).map(str::to_owned) }
    };
    match (registered(one), registered(other)) {
        (Some(one), Some(other)) => one == other && !SHARED.contains(&one.as_str()),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sec_100_same_owner_by_the_public_suffix_list() {
        for (one, other, same) in [
            ("registry-1.docker.io", "auth.docker.io", true),
            ("registry.gitlab.com", "gitlab.com", true),
            ("registry.example.com", "auth.example.com", true),
            ("Registry.Example.com", "example.com.", true),
            ("registry.example.co.uk", "evil.co.uk", false),
            ("one.azurecr.io", "two.azurecr.io", false),
            ("one.github.io", "two.github.io", false),
            ("registry.example.com", "example.com.evil.net", false),
            ("registry.example.com", "evilexample.com", false),
            ("10.0.0.1", "20.0.0.1", false),
            ("127.0.0.1", "127.0.0.2", false),
            ("[::1]", "[::2]", false),
            ("localhost", "evil.localhost", false),
            ("registry", "auth", false),
            ("com", "com", false),
        ] {
            assert_eq!(same_owner(one, other), same, "{one} {other}");
        }
    }
}
