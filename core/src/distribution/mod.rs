//! Images from and to registries: pull, push, copy, and the lock file that pins what names stand for. And, below images, the registry client: One request of the distribution specification is one method of [`Client`]; settings, TLS,
//! authentication, mirrors, redirects and retries are its own business. Not for what to fetch or to send, and not for the store.

// Until the transfer of images uses it.
#![allow(dead_code, unused_imports)]

mod client;
mod copy;
mod event;
mod fetch;
mod local;
mod lock;
mod lockfile;
mod options;
mod progress;
mod pull;
mod push;
mod registries;
mod search;
mod send;
mod types;

pub(crate) use client::{Access, BlobBody, Client, Fetched, Head, Reopen};
pub(crate) use copy::copy;
pub(crate) use event::Event;
pub(crate) use lock::lock;
pub use options::{Credentials, RegistryOptions};
pub(crate) use pull::{plan, pull, pull_until};
pub(crate) use push::push;
pub use registries::{LoginResult, Referrer, Registries, RemoteImage};
pub use search::{SearchOptions, SearchResult};
pub use types::*;
