//! The registry client: everything below images. One request of the distribution specification is one method of [`Client`]; settings, TLS,
//! authentication, mirrors, redirects and retries are its own business. Not for what to fetch or to send, and not for the store.

// Until the transfer of images uses it.
#![allow(dead_code, unused_imports)]

mod client;
mod event;
mod options;
mod registries;
mod search;

pub(crate) use client::{Access, BlobBody, Client, Fetched, Head, Reopen};
pub(crate) use event::Event;
pub use options::{Credentials, RegistryOptions};
pub use registries::{LoginResult, Referrer, Registries, RemoteImage};
pub use search::{SearchOptions, SearchResult};
