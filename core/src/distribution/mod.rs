//! The registry client: everything below images. One request of the distribution specification is one method of [`Client`]; settings, TLS,
//! authentication, mirrors, redirects and retries are its own business. Not for what to fetch or to send, and not for the store.

// Until the transfer of images uses it.
#![allow(dead_code, unused_imports)]

mod answer;
mod auth;
mod blob;
mod client;
mod event;
#[cfg(test)]
mod fake;
mod inspect;
mod listing;
mod login;
mod manifest;
mod net;
mod options;
mod redirect;
mod referrers;
mod registries;
mod retry;
mod search;
mod server;
mod settings;
#[cfg(test)]
mod tests;
mod upload;

pub(crate) use blob::BlobBody;
pub(crate) use client::{Access, Client, Fetched, Head, Reopen};
pub(crate) use event::Event;
pub use options::{Credentials, RegistryOptions};
pub use registries::{LoginResult, Referrer, Registries, RemoteImage};
pub use search::{SearchOptions, SearchResult};
pub(crate) use settings::{Places, short_names};
