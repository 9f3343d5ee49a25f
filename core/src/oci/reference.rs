//! Image references: the grammar of the distribution project, and docker's rules between what people write and the canonical form.

use std::fmt;

use super::digest::Digest;
use crate::error::{Error, ErrorKind, Result};

const DEFAULT_DOMAIN: &str = "docker.io";
const LEGACY_DEFAULT_DOMAIN: &str = "index.docker.io";
const OFFICIAL: &str = "library/";
const DEFAULT_TAG: &str = "latest";
/// The longest path, and the longest domain.
const MAX_NAME: usize = 255;

/// A name in its canonical form: `docker.io/library/debian`, with a tag, a digest or both.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Reference {
    domain: String,
    path: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

impl Reference {
    /// Parses what people write. Without tag and digest, the tag is `latest`.
    pub(crate) fn parse(text: &str) -> Result<Reference> {
        let invalid = |why: &str| {
            let shown: String = text.chars().take(300).collect();
            Error::new(
                ErrorKind::InvalidReference,
                format!("\"{}\" is not an image reference: {why}", shown.escape_debug()),
            )
            .with_object(shown)
        };
        if text.is_empty() {
            return Err(invalid("it is empty"));
        }
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => (rest, Some(Digest::parse(digest)?)),
            None => (text, None),
        };
        // A colon behind the last slash starts the tag; any other one belongs to a port.
        let name_end = rest.rfind('/').map_or(0, |slash| slash + 1);
        let (name, tag) = match rest.get(name_end..).and_then(|last| last.find(':')) {
            Some(colon) => {
                let (name, tag) = rest.split_at(name_end + colon);
                (name, Some(tag.get(1..).unwrap_or_default()))
            }
            None => (rest, None),
        };
        if tag.is_some_and(|tag| !is_tag(tag)) {
            return Err(invalid("the tag is malformed"));
        }
        if name.len() == 64 && name.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(invalid("64 hexadecimal digits are an id and cannot be a name"));
        }
        let (domain, path) = split_domain(name);
        if !is_domain(&domain) {
            return Err(invalid("the domain is malformed"));
        }
        if path.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return Err(invalid("the name has upper-case letters"));
        }
        if !is_path(&path) {
            return Err(invalid("the name is malformed"));
        }
        if path.len() > MAX_NAME || domain.len() > MAX_NAME {
            return Err(invalid("the name is longer than 255 characters"));
        }
        let tag = match (tag, &digest) {
            (Some(tag), _) => Some(tag.to_owned()),
            (None, Some(_)) => None,
            (None, None) => Some(DEFAULT_TAG.to_owned()),
        };
        Ok(Reference { domain, path, tag, digest })
    }

    /// Whether a name says which registry it is of; otherwise that is Docker Hub.
    pub(crate) fn names_domain(text: &str) -> bool {
        let name = text.split('@').next().unwrap_or_default();
        split_domain(name).0 != DEFAULT_DOMAIN
            || name
                .split_once('/')
                .is_some_and(|(first, _)| first == DEFAULT_DOMAIN || first == LEGACY_DEFAULT_DOMAIN)
    }

    /// Whether a name has a tag of its own, and not the one that is taken when there is none.
    pub(crate) fn names_tag(text: &str) -> bool {
        let name = text.split('@').next().unwrap_or_default();
        let end = name.rfind('/').map_or(0, |slash| slash + 1);
        name.get(end..).is_some_and(|last| last.contains(':'))
    }

    /// Parses a reference that is to be given to an image: a digest cannot be given.
    pub(crate) fn parse_tag(text: &str) -> Result<Reference> {
        let reference = Reference::parse(text)?;
        match reference.digest {
            None => Ok(reference),
            Some(_) => Err(Error::new(
                ErrorKind::InvalidReference,
                format!("\"{text}\" has a digest, which cannot be given as a name"),
            )
            .with_object(text)
            .with_hint("leave out the part from \"@\" on")),
        }
    }

    /// Domain and path, without tag and digest.
    pub(crate) fn repository(&self) -> String {
        format!("{}/{}", self.domain, self.path)
    }

    /// The registry, with its port: `docker.io`.
    pub(crate) fn domain(&self) -> &str {
        &self.domain
    }

    /// The repository within the registry: `library/debian`.
    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    pub(crate) fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    pub(crate) fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }

    /// The short form, as docker shows it: `debian:latest`.
    pub(crate) fn familiar(&self) -> String {
        let mut text = if self.domain == DEFAULT_DOMAIN {
            match self.path.strip_prefix(OFFICIAL) {
                // The prefix of an official image may be dropped only when what is left has no further part.
                Some(rest) if !rest.contains('/') => rest.to_owned(),
                // Nor may the domain, when what follows would be taken for one.
                _ if Reference::names_domain(&self.path) => self.repository(),
                _ => self.path.clone(),
            }
        } else {
            self.repository()
        };
        self.push_suffix(&mut text);
        text
    }

    fn push_suffix(&self, text: &mut String) {
        if let Some(tag) = &self.tag {
            text.push(':');
            text.push_str(tag);
        }
        if let Some(digest) = &self.digest {
            text.push('@');
            text.push_str(digest.as_str());
        }
    }
}

/// The canonical form.
impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = self.repository();
        self.push_suffix(&mut text);
        f.write_str(&text)
    }
}

/// Docker's rule: the first part is a domain if it has a dot or a port, is `localhost`, or has upper-case letters.
fn split_domain(name: &str) -> (String, String) {
    let (domain, path) = match name.split_once('/') {
        Some((first, rest))
            if first.contains(['.', ':', '['])
                || first == "localhost"
                || first.bytes().any(|byte| byte.is_ascii_uppercase()) =>
        {
            (first, rest)
        }
        _ => (DEFAULT_DOMAIN, name),
    };
    let domain = if domain == LEGACY_DEFAULT_DOMAIN { DEFAULT_DOMAIN } else { domain };
    if domain == DEFAULT_DOMAIN && !path.contains('/') {
        (domain.to_owned(), format!("{OFFICIAL}{path}"))
    } else {
        (domain.to_owned(), path.to_owned())
    }
}

/// `host`, `host:port` or `[v6]:port`.
fn is_domain(domain: &str) -> bool {
    let (host, port) = if let Some(rest) = domain.strip_prefix('[') {
        let Some((address, rest)) = rest.split_once(']') else { return false };
        let valid =
            !address.is_empty() && address.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b':');
        if !valid {
            return false;
        }
        match rest.strip_prefix(':') {
            Some(port) => (None, Some(port)),
            None if rest.is_empty() => (None, None),
            None => return false,
        }
    } else {
        match domain.split_once(':') {
            Some((host, port)) => (Some(host), Some(port)),
            None => (Some(domain), None),
        }
    };
    let host_ok = host.is_none_or(|host| {
        host.split('.').all(|label| {
            let bytes = label.as_bytes();
            let edge = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
            edge(bytes.first())
                && edge(bytes.last())
                && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'-')
        })
    });
    let port_ok = port.is_none_or(|port| !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()));
    host_ok && port_ok
}

/// Components of lower-case letters and digits, joined by `.`, `_`, `__` or dashes, separated by slashes.
fn is_path(path: &str) -> bool {
    path.split('/').all(|component| {
        let bytes = component.as_bytes();
        let word = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        if !bytes.first().is_some_and(word) || !bytes.last().is_some_and(word) {
            return false;
        }
        bytes.split(word).all(|separator| {
            matches!(separator, b"" | b"." | b"_" | b"__") || separator.iter().all(|byte| *byte == b'-')
        })
    })
}

fn is_tag(tag: &str) -> bool {
    let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let bytes = tag.as_bytes();
    bytes.len() <= 128
        && bytes.first().is_some_and(|byte| word(*byte))
        && bytes.iter().all(|byte| word(*byte) || matches!(byte, b'.' | b'-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn canonical_and_familiar_forms() {
        let digest = format!("sha256:{}", "ab".repeat(32));
        let table = [
            ("debian", "docker.io/library/debian:latest", "debian:latest"),
            ("debian:12", "docker.io/library/debian:12", "debian:12"),
            ("user/app", "docker.io/user/app:latest", "user/app:latest"),
            ("docker.io/debian", "docker.io/library/debian:latest", "debian:latest"),
            ("index.docker.io/library/debian", "docker.io/library/debian:latest", "debian:latest"),
            ("library/debian", "docker.io/library/debian:latest", "debian:latest"),
            ("library/foo/bar", "docker.io/library/foo/bar:latest", "library/foo/bar:latest"),
            ("localhost/app", "localhost/app:latest", "localhost/app:latest"),
            ("localhost:5000/app:1", "localhost:5000/app:1", "localhost:5000/app:1"),
            (
                "example.com/a/b__c-d.e:V1.0_x",
                "example.com/a/b__c-d.e:V1.0_x",
                "example.com/a/b__c-d.e:V1.0_x",
            ),
            ("[::1]:5000/app", "[::1]:5000/app:latest", "[::1]:5000/app:latest"),
            ("Host/app", "Host/app:latest", "Host/app:latest"),
            ("a---b", "docker.io/library/a---b:latest", "a---b:latest"),
        ];
        for (text, canonical, familiar) in table {
            let reference = Reference::parse(text).unwrap();
            assert_eq!(
                (reference.to_string().as_str(), reference.familiar().as_str()),
                (canonical, familiar)
            );
            assert_eq!(Reference::parse(canonical).unwrap(), reference);
            assert_eq!(Reference::parse(familiar).unwrap(), reference);
        }
        let pinned = Reference::parse(&format!("debian@{digest}")).unwrap();
        assert_eq!(
            (pinned.tag.as_deref(), pinned.to_string()),
            (None, format!("docker.io/library/debian@{digest}"))
        );
        let both = Reference::parse(&format!("debian:12@{digest}")).unwrap();
        assert_eq!((both.tag.as_deref(), both.digest().unwrap().as_str()), (Some("12"), digest.as_str()));
        assert_eq!(
            Reference::parse_tag(&format!("debian@{digest}")).unwrap_err().kind(),
            ErrorKind::InvalidReference
        );
    }

    #[test]
    fn what_is_not_a_reference() {
        let long_tag = format!("a:{}", "t".repeat(129));
        let long_name = "a/".repeat(128) + "a";
        let id = "0a".repeat(32);
        for text in [
            "",
            ":",
            "/",
            "a/",
            "/a",
            "a//b",
            "Debian",
            "a:",
            "a:b:c",
            "a b",
            "a\n",
            "a_",
            "-a",
            "a..b",
            "a___b",
            "a@b:",
            "example.com",
            "-x.com/a",
            "a.-b.c/x",
            "x:port/a",
            "x:/a",
            "a/../b",
            "a/.hidden",
            "[::1/a",
            "[]:1/a",
            "é",
            &long_tag,
            &long_name,
            &id,
            &format!("{id}:tag"),
        ] {
            // "example.com" alone is a name with a dot, as docker has it.
            if text == "example.com" {
                assert_eq!(
                    Reference::parse(text).unwrap().to_string(),
                    "docker.io/library/example.com:latest"
                );
                continue;
            }
            assert!(Reference::parse(text).is_err(), "{text:?}");
        }
        assert_eq!(Reference::parse("a@sha256:../../x").unwrap_err().kind(), ErrorKind::InvalidDigest);
        assert!(Reference::parse(&"t".repeat(128)).is_ok());
    }

    /// The published grammar, rule by rule: what a reference is made of, and what breaks it.
    #[test]
    fn the_grammar_of_the_distribution_project() {
        let digest = format!("sha256:{}", "0a".repeat(32));
        let sha512 = format!("sha512:{}", "0a".repeat(64));
        let longest = format!("example.com/{}", ["a"; 128].join("/"));
        // Text, domain, path, tag, whether there is a digest.
        let good: &[(&str, &str, &str, Option<&str>, bool)] = &[
            // domain := domain-name | IPv4address | "[" IPv6address "]", with a port
            ("test.com/repo:tag", "test.com", "repo", Some("tag"), false),
            ("test:5000/repo", "test:5000", "repo", Some("latest"), false),
            ("192.0.2.1/repo", "192.0.2.1", "repo", Some("latest"), false),
            ("192.0.2.1:5000/a/b:t", "192.0.2.1:5000", "a/b", Some("t"), false),
            ("[2001:db8::1]/repo", "[2001:db8::1]", "repo", Some("latest"), false),
            (
                "[2001:db8:1:2:3:4:5:6]:5000/repo:tag",
                "[2001:db8:1:2:3:4:5:6]:5000",
                "repo",
                Some("tag"),
                false,
            ),
            ("[2001:DB8::1]:80/repo", "[2001:DB8::1]:80", "repo", Some("latest"), false),
            ("xn--n3h.com/myimage:x", "xn--n3h.com", "myimage", Some("x"), false),
            ("a.b-c.D:1/x", "a.b-c.D:1", "x", Some("latest"), false),
            ("0.0/x", "0.0", "x", Some("latest"), false),
            ("localhost:80/x", "localhost:80", "x", Some("latest"), false),
            // path-component := alpha-numeric (separator alpha-numeric)*, separator := [_.] | "__" | "-"+
            ("a/b.c/d_e/f__g/h-i/j--k", "docker.io", "a/b.c/d_e/f__g/h-i/j--k", Some("latest"), false),
            ("0/1/2", "docker.io", "0/1/2", Some("latest"), false),
            ("a.b/c", "a.b", "c", Some("latest"), false),
            (
                "aa/aa/aa/aa/aa/aa/aa/aa/aa/bb/bb",
                "docker.io",
                "aa/aa/aa/aa/aa/aa/aa/aa/aa/bb/bb",
                Some("latest"),
                false,
            ),
            (longest.as_str(), "example.com", longest.split_once('/').unwrap().1, Some("latest"), false),
            // tag := [A-Za-z0-9_][A-Za-z0-9_.-]{0,127}
            ("a:_", "docker.io", "library/a", Some("_"), false),
            ("a:1.0-rc_1.", "docker.io", "library/a", Some("1.0-rc_1."), false),
            ("lower:UPPER", "docker.io", "library/lower", Some("UPPER"), false),
            // digest, alone or behind a tag
            (&format!("a@{digest}"), "docker.io", "library/a", None, true),
            (&format!("x.y/a:t@{digest}"), "x.y", "a", Some("t"), true),
            (&format!("a@{sha512}"), "docker.io", "library/a", None, true),
        ];
        for (text, domain, path, tag, has_digest) in good {
            let parsed = Reference::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(
                (parsed.domain(), parsed.path(), parsed.tag(), parsed.digest().is_some()),
                (*domain, *path, *tag, *has_digest),
                "{text}"
            );
        }
        let too_long = format!("example.com/{}", ["a"; 129].join("/"));
        let bad = [
            // domains
            "a_b.com/x".to_owned(),
            "-test.com/x".into(),
            "test-.com/x".into(),
            "test..com/x".into(),
            ".test.com/x".into(),
            "test.com./x".into(),
            "test.com:/x".into(),
            "test.com:5000a/x".into(),
            "test.com:-1/x".into(),
            "[2001:db8::1/x".into(),
            "2001:db8::1]/x".into(),
            "[2001:db8::1]5000/x".into(),
            "[fe80::1%eth0]:5000/x".into(),
            "[fe80::1%@invalid]/x".into(),
            "user@host.com/x".into(),
            "https://test.com/x".into(),
            "héllo.com/x".into(),
            // paths
            "test.com/".into(),
            "test.com//x".into(),
            "test.com/X".into(),
            "test.com/a/B".into(),
            "-foo/bar".into(),
            "foo/-bar".into(),
            "foo-/bar".into(),
            "foo./bar/x".into(),
            "foo/bar_".into(),
            "foo/b..r".into(),
            "foo/b___r".into(),
            "foo/b._r".into(),
            "foo/b-_r".into(),
            "foo/$bar".into(),
            "foo/b ar".into(),
            "foo/b\u{0}r".into(),
            "foo/bär".into(),
            "foo/%2e%2e/bar".into(),
            too_long,
            // tags
            "a:".into(),
            "a:-t".into(),
            "a:.t".into(),
            "a:t t".into(),
            "a:t/u".into(),
            "a:t:u".into(),
            "a:té".into(),
            // digests
            "a@".into(),
            "a@sha256".into(),
            "a@sha256:".into(),
            "a@sha256:0a".into(),
            format!("a@sha256:{}", "0A".repeat(32)),
            format!("a@{digest}0a"),
            format!("a@{digest}@{digest}"),
            format!("a@{digest}:tag"),
            format!("@{digest}"),
            ":justtag".into(),
        ];
        for text in bad {
            assert!(Reference::parse(&text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_short_form_means_the_same() {
        for text in [
            "docker.io/a.b/c",
            "docker.io/localhost/x",
            "docker.io/library/x/y",
            "docker.io/library/localhost",
        ] {
            let parsed = Reference::parse(text).unwrap();
            assert_eq!(Reference::parse(&parsed.familiar()).unwrap(), parsed, "{}", parsed.familiar());
        }
        for (text, domain, tag) in [
            ("debian", false, false),
            ("debian:12", false, true),
            ("user/app", false, false),
            ("docker.io/debian", true, false),
            ("index.docker.io/a:1", true, true),
            ("reg.example:5000/a", true, false),
            ("localhost/a:1", true, true),
        ] {
            assert_eq!((Reference::names_domain(text), Reference::names_tag(text)), (domain, tag), "{text}");
        }
    }
}
