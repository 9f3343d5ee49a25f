//! Lists that come in pages: tags, repositories. A registry can go on for ever, and is not followed for ever.

use std::collections::{BTreeSet, HashSet};
use std::hash::{BuildHasher, RandomState};

use serde::Deserialize;
use ureq::http::header::{HeaderName, LINK};
use ureq::http::{Method, StatusCode, Uri};

use super::answer::refused_as;
use super::auth::Scopes;
use super::client::Client;
use super::net::{Answer, MAX_SMALL_BODY, Origin, join};
use super::server::{Ask, Server};
use crate::error::{Error, ErrorKind, Result};

/// The most pages of a list, and the most entries of all of them together.
const MAX_PAGES: usize = 1000;
const MAX_ENTRIES: usize = 100_000;
/// The most bytes of all pages.
const MAX_BYTES: u64 = 64 << 20;
/// The longest tag or name that a registry can have.
const MAX_NAME: usize = 512;
const PAGE: &str = "1000";

#[derive(Deserialize)]
struct Tags {
    #[serde(default)]
    tags: Option<Vec<String>>,
}

#[derive(Deserialize)]
struct Catalog {
    #[serde(default)]
    repositories: Option<Vec<String>>,
}

impl Client<'_> {
    /// The tags of the repository, sorted.
    pub(crate) fn tags(&self) -> Result<Vec<String>> {
        let object = self.origin()?.host.repository.clone();
        self.first_of("tags", false, |server| {
            let first = server.url(&self.http, &format!("tags/list?n={PAGE}"))?;
            self.names(server, first, &self.scopes, &object, |bytes| {
                Ok(serde_json::from_slice::<Tags>(bytes)?.tags.unwrap_or_default())
            })
        })
    }

    /// The repositories of the registry, sorted.
    pub(crate) fn catalog(&self) -> Result<Vec<String>> {
        let server = self.origin()?;
        let scopes = Scopes::catalog();
        let first = self.persist("_catalog", || server.url(&self.http, &format!("_catalog?n={PAGE}")))?;
        let listed = self.names(server, first, &scopes, "_catalog", |bytes| {
            Ok(serde_json::from_slice::<Catalog>(bytes)?.repositories.unwrap_or_default())
        });
        listed.map_err(|error| match error.kind() {
            ErrorKind::ImageNotFound => {
                let text = format!("\"{}\" does not list its repositories", server.host.authority());
                Error::new(ErrorKind::Unsupported, text).with_object(server.host.authority())
            }
            _ => error,
        })
    }

    fn names(
        &self,
        server: &Server,
        first: Uri,
        scopes: &Scopes,
        object: &str,
        read: impl Fn(&[u8]) -> serde_json::Result<Vec<String>>,
    ) -> Result<Vec<String>> {
        let mut all = BTreeSet::new();
        self.pages(server, first, scopes, &[], object, ErrorKind::ImageNotFound, |bytes, _| {
            let names = read(bytes).map_err(|_| {
                let text =
                    format!("\"{}\" answered for \"{object}\" without a list", server.host.authority());
                Error::new(ErrorKind::Registry, text).with_object(object)
            })?;
            all.extend(
                names
                    .into_iter()
                    .filter(|name| name.len() <= MAX_NAME && !name.chars().any(char::is_control)),
            );
            Ok(all.len())
        })?;
        Ok(all.into_iter().collect())
    }

    /// Gives every page to `take`, which says how many entries there are by now.
    #[allow(clippy::too_many_arguments)]
    pub(super) fn pages(
        &self,
        server: &Server,
        first: Uri,
        scopes: &Scopes,
        headers: &[(HeaderName, &str)],
        object: &str,
        missing: ErrorKind,
        mut take: impl FnMut(&[u8], &ureq::http::HeaderMap) -> Result<usize>,
    ) -> Result<()> {
        let origin = Origin::of(&first);
        let too_many = || {
            let text =
                format!("\"{}\": the list for \"{object}\" does not come to an end", server.host.authority());
            Error::new(ErrorKind::LimitExceeded, text).with_object(object)
        };
        let mut next = Some(first);
        // As numbers, since addresses can be long.
        let (hasher, mut seen) = (RandomState::new(), HashSet::new());
        let mut bytes = 0;
        for _ in 0..MAX_PAGES {
            let Some(url) = next.take() else { return Ok(()) };
            // A page may be empty and not the last, as when what it has is filtered; but one that leads back leads nowhere.
            if !seen.insert(hasher.hash_one(&url)) {
                let text = format!(
                    "\"{}\": the list for \"{object}\" goes on with what it began with",
                    server.host.authority()
                );
                return Err(Error::new(ErrorKind::Registry, text).with_object(object));
            }
            let answer = self.persist(object, || {
                let mut ask = Ask::new(Method::GET, url.clone(), scopes);
                for (name, value) in headers {
                    ask = ask.header(name.clone(), *value);
                }
                let answer = self.ask(server, &ask)?;
                match answer.status {
                    StatusCode::OK => Ok(answer),
                    _ => Err(refused_as(answer, object, missing)),
                }
            })?;
            next = next_page(&answer)?;
            if let Some(next) = &next
                && Origin::of(next) != origin
            {
                let text =
                    format!("\"{}\" continues its list on \"{}\"", origin.authority(), Origin::of(next));
                return Err(Error::new(ErrorKind::Registry, text).with_object(object));
            }
            let headers = answer.headers.clone();
            let page = answer.bytes(MAX_SMALL_BODY)?;
            bytes += page.len() as u64;
            let count = take(&page, &headers)?;
            if count > MAX_ENTRIES || bytes > MAX_BYTES {
                return Err(too_many());
            }
        }
        if next.is_none() { Ok(()) } else { Err(too_many()) }
    }
}

/// The links of a header. An address may have commas, too.
fn links(value: &str) -> impl Iterator<Item = &str> {
    let mut inside = false;
    value.split(move |c| {
        inside = (inside || c == '<') && c != '>';
        c == ',' && !inside
    })
}

/// The address of the next page: `Link: </v2/x/tags/list?last=a>; rel="next"`.
fn next_page(answer: &Answer) -> Result<Option<Uri>> {
    for value in answer.headers.get_all(LINK).iter().filter_map(|value| value.to_str().ok()) {
        for link in links(value) {
            let Some((target, parameters)) =
                link.trim().strip_prefix('<').and_then(|link| link.split_once('>'))
            else {
                continue;
            };
            let is_next = parameters.split(';').any(|parameter| {
                let parameter = parameter.trim().to_ascii_lowercase();
                parameter.strip_prefix("rel=").is_some_and(|rel| rel.trim_matches('"') == "next")
            });
            if is_next {
                return join(&answer.url, target).map(Some);
            }
        }
    }
    Ok(None)
}
