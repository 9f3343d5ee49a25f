//! Images from and to registries: pull, push, copy, and the lock file that pins what names stand for.
//!
//! Below that is the registry client. One request of the distribution specification is one method of [`Client`]; settings, TLS,
//! authentication, mirrors, redirects and retries are its own business. It knows neither images nor the store.

// Until the client is complete.
#![allow(dead_code, unused_imports)]

mod answer;
mod auth;
mod blob;
mod client;
mod copy;
mod event;
#[cfg(test)]
mod fake;
mod fetch;
mod inspect;
mod listing;
mod local;
mod lock;
mod lockfile;
mod login;
mod manifest;
mod net;
mod options;
mod progress;
mod pull;
mod push;
mod redirect;
mod referrers;
mod registries;
mod retry;
mod search;
mod send;
mod server;
mod settings;
#[cfg(test)]
mod tests;
mod types;
mod upload;

pub(crate) use blob::BlobBody;
pub(crate) use client::{Access, Client, Fetched, Head, Reopen};
pub(crate) use copy::copy;
pub(crate) use event::Event;
pub(crate) use lock::lock;
pub use options::{Credentials, RegistryOptions};
pub(crate) use pull::{plan, pull, pull_until};
pub(crate) use push::push;
pub use registries::{LoginResult, Referrer, Registries, RemoteImage};
pub use search::{SearchOptions, SearchResult};
pub(crate) use settings::{Places, short_names};
pub use types::*;
