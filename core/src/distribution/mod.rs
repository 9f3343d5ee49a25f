//! Images from and to registries: pull, push, copy, and the lock file that pins what names stand for.
//!
//! Below that is the registry client. One request of the distribution specification is one method of [`Client`]; settings, TLS,
//! authentication, mirrors, redirects and retries are its own business. It knows neither images nor the store.

mod answer;
mod auth;
mod blob;
mod client;
mod convert;
mod copy;
mod elsewhere;
mod event;
#[cfg(test)]
mod fake;
mod fetch;
mod foreign;
mod ground;
mod header;
mod inspect;
mod jobs;
mod listing;
mod local;
mod lock;
mod lockfile;
mod login;
mod manifest;
mod net;
mod notice;
mod options;
mod progress;
mod pull;
mod push;
mod put;
mod redirect;
mod referrers;
mod registries;
mod remote;
mod retry;
mod search;
mod send;
mod server;
mod settings;
#[cfg(test)]
mod tests;
mod types;
mod upload;

pub(crate) use client::{Access, Client, Fetched, Opened, Reopen};
pub(crate) use copy::copy;
pub(crate) use event::Event;
pub(crate) use lock::lock;
pub(crate) use net::{Network, Telling};
pub use options::{CredentialProvider, CredentialRequest, Credentials, RegistryOptions};
pub(crate) use pull::{plan, pull, pull_until};
pub(crate) use push::push;
pub use registries::{LoginResult, Referrer, Registries, RemoteImage};
pub use search::{SearchOptions, SearchResult};
pub(crate) use settings::{Places, read_file, short_names};
pub use types::*;

#[cfg(test)]
use crate::progress::Progress;
use crate::progress::{ProgressKind, ProgressSink};

/// Every parser of what a registry says. Whether any of them took it.
#[cfg(any(test, fuzzing))]
pub(crate) fn fuzz_answer(input: &[u8]) -> bool {
    let text = String::from_utf8_lossy(input);
    let base = net::parse("https://reg.example/v2/a/b/blobs/uploads/?x").ok();
    let location = base.and_then(|base| net::join(&base, &text).ok());
    if let Some(url) = &location {
        // What is taken is a URL of HTTP with a host and without a user, and is taken again.
        assert!(matches!(url.scheme_str(), Some("http" | "https")));
        assert!(url.host().is_some_and(|host| !host.is_empty()));
        assert!(!url.authority().is_some_and(|authority| authority.as_str().contains('@')));
        assert!(net::parse(&url.to_string()).is_ok());
    }
    let challenges = auth::challenges_of([text.as_ref()].into_iter());
    let manifest = manifest::check(input, None, "x");
    let shown = net::text_of(input, 100);
    assert!(shown.chars().count() <= 100 * 12 && !shown.chars().any(char::is_control));
    location.is_some()
        || !challenges.is_empty()
        || manifest.is_ok()
        || answer::fuzz(input) | notice::fuzz(&text) | blob::fuzz(&text) | convert::fuzz(input)
}
