//! Searching a registry by a term: Docker Hub's way, and the one of the first protocol that some others kept.

use serde::Serialize;

use super::options::RegistryOptions;
use crate::cancel::CancelToken;
use crate::error::{Error, ErrorKind, Result};
use crate::image::Images;

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

impl Images<'_> {
    /// Searches a registry for repositories, best first.
    pub fn search(
        &self,
        term: &str,
        options: &SearchOptions,
        cancel: &CancelToken,
    ) -> Result<Vec<SearchResult>> {
        let _ = (term, options, cancel);
        Err(Error::new(ErrorKind::Unsupported, "not there yet"))
    }
}
