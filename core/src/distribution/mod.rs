//! Images from and to registries: pull, push, copy, and the lock file that pins what names stand for. And, below images, the registry client: One request of the distribution specification is one method of [`Client`]; settings, TLS,
//! authentication, mirrors, redirects and retries are its own business. Not for what to fetch or to send, and not for the store.

// Until the transfer of images uses it.
#![allow(dead_code, unused_imports)]

mod answer;
mod auth;
mod blob;
mod client;
mod event;
mod fetch;
mod listing;
mod local;
mod lockfile;
mod manifest;
mod net;
mod options;
mod progress;
mod pull;
mod redirect;
mod referrers;
mod registries;
mod retry;
mod search;
mod server;
mod settings;
mod types;
mod upload;

pub(crate) use blob::BlobBody;
pub(crate) use client::{Access, Client, Fetched, Head, Reopen};
pub(crate) use event::Event;
pub use options::{Credentials, RegistryOptions};
pub(crate) use pull::{plan, pull, pull_until};
pub use registries::{LoginResult, Referrer, Registries, RemoteImage};
pub use search::{SearchOptions, SearchResult};
pub use types::*;

use std::path::Path;

use crate::cancel::CancelToken;
use crate::engine::Inner;
use crate::error::{Error, ErrorKind, Result};

fn not_yet<T>() -> Result<T> {
    Err(Error::new(ErrorKind::Unsupported, "registries are not there yet"))
}

pub(crate) fn push(
    _inner: &Inner,
    _reference: &str,
    _options: &PushOptions,
    _progress: ProgressSink<'_>,
    _cancel: &CancelToken,
) -> Result<Pushed> {
    not_yet()
}

pub(crate) fn copy(
    _inner: &Inner,
    _source: &str,
    _target: &str,
    _options: &CopyOptions,
    _progress: ProgressSink<'_>,
    _cancel: &CancelToken,
) -> Result<Pushed> {
    not_yet()
}

pub(crate) fn lock(
    _inner: &Inner,
    _references: &[&str],
    _path: &Path,
    _options: &RegistryOptions,
    _cancel: &CancelToken,
) -> Result<Vec<Pin>> {
    not_yet()
}
