//! Searching a registry by a term: Docker Hub's way, and the one of the first protocol that some others kept.

use serde::{Deserialize, Serialize};
use ureq::http::{Method, StatusCode};

use super::ProgressSink;
use super::answer::refused;
use super::auth::Scopes;
use super::client::{Client, World};
use super::event::Event;
use super::net::{MAX_SMALL_BODY, encode, parse};
use super::options::RegistryOptions;
use super::progress::Reporter;
use super::server::Ask;
use crate::cancel::CancelToken;
use crate::error::{Context, Error, ErrorKind, Result};
use crate::image::Images;
use crate::oci::Reference;

const HUB: &str = "docker.io";
/// Where Docker Hub is searched.
const HUB_SEARCH: &str = "hub.docker.com";
const DEFAULT_LIMIT: u32 = 25;
const MAX_LIMIT: u32 = 100;
const MAX_TERM: usize = 200;
const MAX_DESCRIPTION: usize = 1000;

/// Where and how to search. Everything has a default.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SearchOptions {
    /// The registry. Default: what is in front of the term, as in `example.com/term`, otherwise Docker Hub.
    pub registry: Option<String>,
    /// The most results. Default: 25; at most 100.
    pub limit: Option<u32>,
    /// Conditions that all have to be met: `is-official=true`, `is-automated=false`, `stars=3` (at least).
    pub filters: Vec<String>,
    /// How to talk to the registry.
    pub options: RegistryOptions,
}

/// An entry that was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct SearchResult {
    /// The name of the repository, as it can be pulled.
    pub name: String,
    /// What its owner says of it, on one line.
    pub description: String,
    /// How many people like it.
    pub stars: u64,
    /// Whether it is one of Docker's official images.
    pub official: bool,
    /// Whether it is built by the registry; current registries always say no.
    pub automated: bool,
}

/// What the answers of both ways have, under two names each.
#[derive(Deserialize)]
struct Page {
    #[serde(default)]
    results: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    #[serde(alias = "repo_name")]
    name: String,
    #[serde(default, alias = "short_description")]
    description: Option<String>,
    #[serde(default)]
    star_count: Option<f64>,
    #[serde(default)]
    is_official: Option<bool>,
    #[serde(default)]
    is_automated: Option<bool>,
}

impl Images<'_> {
    /// Searches a registry for repositories, best first. `progress` gets what the registry says beside its answer.
    pub fn search(
        &self,
        term: &str,
        options: &SearchOptions,
        progress: ProgressSink<'_>,
        cancel: &CancelToken,
    ) -> Result<Vec<SearchResult>> {
        let world = World::of_process(&self.engine.inner()?.network);
        search(&world, term, options, progress, cancel)
            .context(|| format!("searching for \"{}\"", term.escape_debug()))
    }
}

/// As [`Images::search`].
pub(super) fn search(
    world: &World,
    term: &str,
    options: &SearchOptions,
    progress: ProgressSink<'_>,
    cancel: &CancelToken,
) -> Result<Vec<SearchResult>> {
    let filters = options.filters.iter().map(|filter| Filter::parse(filter)).collect::<Result<Vec<_>>>()?;
    let limit = options.limit.unwrap_or(DEFAULT_LIMIT);
    if limit == 0 || limit > MAX_LIMIT {
        return Err(Error::new(
            ErrorKind::InvalidArgument,
            format!("a limit of {limit} is not from 1 to {MAX_LIMIT}"),
        ));
    }
    let (server, term) = match (&options.registry, term.split_once('/')) {
        (Some(server), _) => (server.as_str(), term),
        (None, Some((server, term))) if Reference::names_domain(&format!("{server}/x")) => (server, term),
        _ => (HUB, term),
    };
    if term.is_empty() || term.len() > MAX_TERM {
        return Err(Error::new(ErrorKind::InvalidArgument, "a search needs a term, and not a very long one")
            .with_hint("a registry goes before the term: registry.example/term"));
    }
    let is_hub =
        matches!(server.trim_end_matches('/'), "docker.io" | "index.docker.io" | "registry-1.docker.io");
    let reporter = Reporter::new(server, progress);
    let events = |event: Event| reporter.event(event);
    let (host, talk) = if is_hub {
        // Another host than the registry's, which has no claim to the registry's credentials.
        (HUB_SEARCH, RegistryOptions { credentials: None, ..options.options.clone() })
    } else {
        (server, options.options.clone())
    };
    let client = Client::of_server(world, host, &talk, &events, cancel)?;
    let asked = Asked { client: &client, term, limit };
    let mut found = match is_hub {
        true => asked.repositories()?.ok_or_else(|| asked.unsupported())?,
        false => asked.ways()?,
    };
    found.retain(|result| filters.iter().all(|filter| filter.fits(result)));
    found.truncate(limit as usize);
    if !is_hub {
        // The registry as references have it, without a scheme.
        let domain = client.origin()?.host.keys.last().cloned().unwrap_or_default();
        for result in &mut found {
            result.name = format!("{domain}/{}", result.name);
        }
    }
    Ok(found)
}

struct Asked<'c> {
    client: &'c Client<'c>,
    term: &'c str,
    limit: u32,
}

impl Asked<'_> {
    /// The ways of registries, the most telling first.
    fn ways(&self) -> Result<Vec<SearchResult>> {
        let query = format!("/v1/search?q={}&n={}", encode(self.term), self.limit);
        if let Some(found) = self.page(&query)? {
            return Ok(found);
        }
        if let Some(found) = self.repositories()? {
            return Ok(found);
        }
        match self.client.catalog() {
            Ok(names) => Ok(names.into_iter().filter(|name| name.contains(self.term)).map(plain).collect()),
            Err(error) if error.kind() == ErrorKind::Unsupported => Err(self.unsupported()),
            Err(error) => Err(error),
        }
    }

    /// Docker Hub's way.
    fn repositories(&self) -> Result<Option<Vec<SearchResult>>> {
        self.page(&format!("/v2/search/repositories/?query={}&page_size={}", encode(self.term), self.limit))
    }

    /// None if the server does not know the address.
    fn page(&self, query: &str) -> Result<Option<Vec<SearchResult>>> {
        let server = self.client.origin()?;
        let scopes = Scopes::default();
        self.client.persist("search", || {
            let url = parse(&format!("{}{query}", server.origin(&self.client.http)?))?;
            let answer = self.client.ask(server, &Ask::new(Method::GET, url, &scopes))?;
            match answer.status {
                StatusCode::OK => {}
                StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED | StatusCode::GONE => {
                    answer.discard();
                    return Ok(None);
                }
                _ => return Err(refused(answer, "search")),
            }
            let authority = answer.origin().authority();
            let bytes = answer.bytes(MAX_SMALL_BODY)?;
            let page: Page = serde_json::from_slice(&bytes).map_err(|_| {
                Error::new(ErrorKind::Registry, format!("\"{authority}\" answered a search without results"))
                    .with_object(authority.clone())
            })?;
            Ok(Some(page.results.into_iter().filter_map(Entry::result).collect()))
        })
    }

    fn unsupported(&self) -> Error {
        let name = self.client.servers.last().map(|server| server.host.authority()).unwrap_or_default();
        Error::new(ErrorKind::Unsupported, format!("\"{name}\" cannot be searched")).with_object(name)
    }
}

fn plain(name: String) -> SearchResult {
    SearchResult { name, description: String::new(), stars: 0, official: false, automated: false }
}

impl Entry {
    /// None for a name that is none.
    fn result(self) -> Option<SearchResult> {
        Reference::parse(&self.name).ok()?;
        let words: Vec<&str> = self.description.as_deref().unwrap_or_default().split_whitespace().collect();
        let description = words.join(" ").chars().filter(|c| !c.is_control()).take(MAX_DESCRIPTION).collect();
        Some(SearchResult {
            name: self.name,
            description,
            stars: self.star_count.filter(|stars| *stars > 0.0).map_or(0, |stars| stars as u64),
            official: self.is_official.unwrap_or(false),
            automated: self.is_automated.unwrap_or(false),
        })
    }
}

/// A condition.
#[derive(Debug, PartialEq, Eq)]
enum Filter {
    Official(bool),
    Automated(bool),
    Stars(u64),
}

impl Filter {
    fn parse(text: &str) -> Result<Filter> {
        let bad = || {
            Error::new(
                ErrorKind::InvalidArgument,
                format!("\"{}\" is not a condition of searches", text.escape_debug()),
            )
            .with_object(text)
            .with_hint("conditions are is-official=true, is-automated=true and stars=3")
        };
        let flag = |value: &str| match value {
            "true" | "1" => Ok(true),
            "false" | "0" => Ok(false),
            _ => Err(bad()),
        };
        match text.split_once('=').ok_or_else(bad)? {
            ("is-official", value) => flag(value).map(Filter::Official),
            ("is-automated", value) => flag(value).map(Filter::Automated),
            ("stars", value) => value.parse().map(Filter::Stars).map_err(|_| bad()),
            _ => Err(bad()),
        }
    }

    fn fits(&self, result: &SearchResult) -> bool {
        match self {
            Filter::Official(wanted) => result.official == *wanted,
            Filter::Automated(wanted) => result.automated == *wanted,
            Filter::Stars(least) => result.stars >= *least,
        }
    }
}
