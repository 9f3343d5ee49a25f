//! The little that is needed of URLs: origins, references relative to a base, escaping.

use std::fmt;

use ureq::http::Uri;

use crate::error::{Error, ErrorKind, Result};

/// Longer ones are refused. Signed URLs of object stores have two or three thousand characters.
const MAX_URL: usize = 16 << 10;

/// What decides who gets to see credentials: scheme, host and port.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(in crate::distribution) struct Origin {
    pub(in crate::distribution) https: bool,
    /// Lower case; with brackets for IPv6.
    pub(in crate::distribution) host: String,
    pub(in crate::distribution) port: u16,
}

impl Origin {
    pub(in crate::distribution) fn of(url: &Uri) -> Origin {
        let https = url.scheme_str() != Some("http");
        let port = url.port_u16().unwrap_or(if https { 443 } else { 80 });
        Origin { https, host: url.host().unwrap_or_default().to_ascii_lowercase(), port }
    }

    /// `host`, or `host:port` if the port is not the usual one.
    pub(in crate::distribution) fn authority(&self) -> String {
        let usual = if self.https { 443 } else { 80 };
        if self.port == usual { self.host.clone() } else { format!("{}:{}", self.host, self.port) }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", if self.https { "https" } else { "http" }, self.authority())
    }
}

/// An absolute URL of HTTP. User names and passwords in it are refused: they end in logs. Nor is it shown when it is of no use: a server may have made it
/// of what it was sent.
pub(in crate::distribution) fn parse(text: &str) -> Result<Uri> {
    let invalid = |why: &str| Error::new(ErrorKind::Registry, format!("a URL that cannot be used: {why}"));
    if text.len() > MAX_URL {
        return Err(invalid("it is too long"));
    }
    let url: Uri = text.parse().map_err(|_| invalid("it is malformed"))?;
    let authority = url.authority().map(|authority| authority.as_str()).unwrap_or_default();
    match url.scheme_str() {
        Some("http" | "https") if authority.contains('@') => {
            // The text is not shown: it has a password in it.
            Err(Error::new(ErrorKind::Registry, "a URL with a user name in it is not used"))
        }
        Some("http" | "https") if url.host().is_some_and(|host| !host.is_empty()) => Ok(url),
        _ => Err(invalid("it is not one of HTTP")),
    }
}

/// What a `Location` or `Link` means, seen from the URL that it came with.
pub(in crate::distribution) fn join(base: &Uri, reference: &str) -> Result<Uri> {
    let reference = reference.split('#').next().unwrap_or_default();
    let scheme = base.scheme_str().unwrap_or("https");
    let authority = base.authority().map(|authority| authority.as_str()).unwrap_or_default();
    let path = base.path();
    let has_scheme = reference
        .split_once(':')
        .is_some_and(|(scheme, rest)| !scheme.contains(['/', '?', '.']) && rest.starts_with("//"));
    let text = if has_scheme {
        reference.to_owned()
    } else if reference.starts_with("//") {
        format!("{scheme}:{reference}")
    } else if reference.starts_with('/') {
        format!("{scheme}://{authority}{reference}")
    } else if reference.starts_with('?') {
        format!("{scheme}://{authority}{path}{reference}")
    } else if reference.is_empty() {
        format!("{scheme}://{authority}{}", base.path_and_query().map_or(path, |path| path.as_str()))
    } else {
        let folder = path.rfind('/').map_or("/", |slash| path.get(..=slash).unwrap_or("/"));
        let (relative, query) = match reference.split_once('?') {
            Some((relative, query)) => (relative, format!("?{query}")),
            None => (reference, String::new()),
        };
        format!("{scheme}://{authority}{}{query}", without_dots(&format!("{folder}{relative}")))
    };
    parse(&text)
}

fn without_dots(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/').skip(1) {
        match part {
            "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

/// Escapes everything that is not unreserved, for a value of a query or a form.
pub(in crate::distribution) fn encode(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => escaped.push(byte as char),
            byte => escaped.push_str(&format!("%{byte:02X}")),
        }
    }
    escaped
}

/// A URL with more parameters in its query.
pub(in crate::distribution) fn with_query(url: &Uri, parameters: &[(&str, &str)]) -> Result<Uri> {
    let mut text = url.to_string();
    for (name, value) in parameters {
        text.push(if text.contains('?') { '&' } else { '?' });
        text.push_str(&format!("{}={}", encode(name), encode(value)));
    }
    parse(&text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_resolved_as_browsers_do() {
        let base = parse("https://reg.example:5000/v2/a/b/blobs/uploads/?x=1").unwrap();
        for (reference, expected) in [
            ("/v2/a/x", "https://reg.example:5000/v2/a/x"),
            ("https://cdn.example/x?y=z", "https://cdn.example/x?y=z"),
            ("//cdn.example/x", "https://cdn.example/x"),
            ("uuid?state=1", "https://reg.example:5000/v2/a/b/blobs/uploads/uuid?state=1"),
            ("../x", "https://reg.example:5000/v2/a/b/blobs/x"),
            ("?next=2", "https://reg.example:5000/v2/a/b/blobs/uploads/?next=2"),
            ("", "https://reg.example:5000/v2/a/b/blobs/uploads/?x=1"),
            ("x:y", "https://reg.example:5000/v2/a/b/blobs/uploads/x:y"),
        ] {
            assert_eq!(join(&base, reference).unwrap().to_string(), expected, "{reference}");
        }
        for bad in
            ["ftp://x/y", "https://user:secret@x/", "https:///x", "http://", "file:///etc/passwd", "/a b"]
        {
            let error = join(&base, bad).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Registry, "{bad}");
            assert!(!error.to_string().contains("secret"));
        }
    }

    #[test]
    fn origins_and_escapes() {
        let origin = Origin::of(&parse("https://Reg.Example/x").unwrap());
        assert_eq!(origin, Origin::of(&parse("https://reg.example:443/").unwrap()));
        assert_ne!(origin, Origin::of(&parse("http://reg.example:443/").unwrap()));
        assert_eq!(Origin::of(&parse("http://[::1]:5000/").unwrap()).to_string(), "http://[::1]:5000");
        let url =
            with_query(&parse("https://a/b?x=1").unwrap(), &[("scope", "repository:a/b:pull,push")]).unwrap();
        assert_eq!(url.to_string(), "https://a/b?x=1&scope=repository%3Aa%2Fb%3Apull%2Cpush");
    }
}
