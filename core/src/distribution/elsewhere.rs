//! Content that a registry does not have, from the URLs that its descriptor names, where the caller allows that. A manifest is somebody else's word: what it names is
//! asked with nobody's credentials, over TLS, on public addresses, and what comes is verified as everything is.

use std::cell::Cell;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use ureq::http::StatusCode;
use ureq::http::header::RANGE;

use super::answer::refused_silently;
use super::blob::{BlobBody, wrong_length};
use super::client::Client;
use super::net::{Guard, Http, Origin, Request, TlsSettings, Trust, parse};
use super::redirect::follow;
use super::settings::{self, Host, Scheme};
use crate::error::{Error, ErrorKind, Result};
use crate::oci::{Descriptor, Digest, media_type};

/// So many failures are told, of places that fail one after the other.
const SHOWN: usize = 4;

/// What the caller says of URLs in descriptors.
#[derive(Debug, Clone, Default)]
pub(super) struct UrlPolicy {
    allowed: bool,
    /// Hosts that may be in the caller's own network.
    hosts: Vec<String>,
}

impl UrlPolicy {
    pub(super) fn new(allowed: bool, hosts: &[String]) -> Result<UrlPolicy> {
        if !allowed && !hosts.is_empty() {
            return Err(Error::new(
                ErrorKind::InvalidArgument,
                "hosts of foreign URLs are named, but none of them may be asked",
            )
            .with_hint("set allow_foreign_urls (command line: --allow-foreign-urls), too"));
        }
        for host in hosts {
            let probe = parse(&format!("https://{host}/")).ok();
            let whole = probe.is_some_and(|url| url.authority().is_some_and(|own| own.as_str() == host));
            if !whole {
                let text = format!("\"{}\" is not a host", host.escape_debug());
                return Err(Error::new(ErrorKind::InvalidArgument, text)
                    .with_object(host.as_str())
                    .with_hint("give host or host:port"));
            }
        }
        Ok(UrlPolicy { allowed, hosts: hosts.to_vec() })
    }
}

/// Where else a blob may be had.
#[derive(Debug, Default)]
pub(super) struct Elsewhere {
    urls: Vec<String>,
    /// Whether it need not be in a registry.
    is_foreign: bool,
    /// The first of the URLs that has not failed.
    next: AtomicUsize,
    /// The registry has said that it does not have it.
    absent: AtomicBool,
}

impl Elsewhere {
    pub(super) fn of(descriptor: &Descriptor) -> Elsewhere {
        Elsewhere {
            urls: descriptor.urls.clone(),
            is_foreign: media_type::is_foreign(&descriptor.media_type),
            ..Elsewhere::default()
        }
    }

    fn current(&self) -> Option<(usize, &str)> {
        let place = self.next.load(Ordering::Relaxed);
        self.urls.get(place).map(|url| (place, url.as_str()))
    }

    /// Whether another URL is left beside this one.
    pub(super) fn has_more(&self, place: usize) -> bool {
        place + 1 < self.urls.len()
    }

    /// Does not ask a URL any more.
    pub(super) fn give_up(&self, place: usize) {
        self.next.fetch_max(place + 1, Ordering::Relaxed);
    }
}

impl Client<'_> {
    /// As [`Client::blob_for`], and if the registry does not have the blob, from elsewhere, if that is allowed.
    pub(super) fn blob_or_elsewhere(
        &self,
        digest: &Digest,
        (offset, size): (u64, u64),
        elsewhere: &Elsewhere,
        target: Option<&str>,
    ) -> Result<BlobBody> {
        if !elsewhere.absent.load(Ordering::Relaxed) {
            let missing = Cell::new(false);
            let error = match self.blob_noting(digest, offset, size, target, &missing) {
                Err(error)
                    if missing.get()
                        && !matches!(error.kind(), ErrorKind::Cancelled | ErrorKind::Offline) =>
                {
                    error
                }
                result => return result,
            };
            if !elsewhere.is_foreign && elsewhere.urls.is_empty() {
                return Err(error);
            }
            if !self.urls.allowed || elsewhere.urls.is_empty() {
                return Err(self.kept_elsewhere(error, digest, elsewhere));
            }
            elsewhere.absent.store(true, Ordering::Relaxed);
        }
        let mut failed = Vec::new();
        while let Some((place, url)) = elsewhere.current() {
            let retries = if elsewhere.has_more(place) { self.mirror_retries() } else { self.retries() };
            let ask = || self.blob_at(url, digest, (offset, size), target);
            match self.persistence(retries).until_done(digest.as_str(), ask) {
                Ok(mut body) => {
                    body.url = Some(place);
                    return Ok(body);
                }
                Err(error) if matches!(error.kind(), ErrorKind::Cancelled | ErrorKind::Offline) => {
                    return Err(error);
                }
                Err(error) => {
                    if elsewhere.has_more(place) {
                        self.warn(format!("a URL of {digest} is passed over: {}", error.message()));
                    }
                    elsewhere.give_up(place);
                    failed.push(error);
                }
            }
        }
        Err(nowhere(digest, failed))
    }

    /// The error for what the registry does not have and that is not looked for elsewhere.
    fn kept_elsewhere(&self, error: Error, digest: &Digest, elsewhere: &Elsewhere) -> Error {
        let count = elsewhere.urls.len();
        let hint = "a pull or copy with allow_foreign_urls (command line: --allow-foreign-urls) asks them";
        if !elsewhere.is_foreign {
            return error.with_hint(format!("its manifest names {count} URLs for it; {hint}"));
        }
        let name = self.servers.last().map(|server| server.host.authority()).unwrap_or_default();
        let text = format!("\"{name}\" does not have the layer {digest}, which is not distributable");
        let (text, hint) = match count {
            0 => (format!("{text}, and its manifest names no URL for it"), None),
            count => {
                (format!("{text}; its manifest names {count} URLs for it, which are not asked"), Some(hint))
            }
        };
        let error = Error::new(ErrorKind::Unsupported, text).with_object(digest.as_str());
        match hint {
            Some(hint) => error.with_hint(hint),
            None => error,
        }
    }

    /// What one URL has.
    fn blob_at(
        &self,
        url: &str,
        digest: &Digest,
        (offset, size): (u64, u64),
        target: Option<&str>,
    ) -> Result<BlobBody> {
        let url = parse(url)?;
        let http = self.http_elsewhere(&Origin::of(&url))?;
        let ask = |offset: u64| {
            let mut request = Request::get(url.clone());
            request.passed_on_to = target.map(str::to_owned);
            if offset > 0 {
                request = request.header(RANGE, &format!("bytes={offset}-{}", size.saturating_sub(1)))?;
            }
            follow(&http, request)
        };
        let mut answer = ask(offset)?;
        let mut begin = BlobBody::begin(&answer, digest, offset);
        if offset > 0 && matches!(begin, Ok(None)) {
            // It does not do what it says of ranges, so it is asked for everything.
            drop(answer);
            answer = ask(0)?;
            begin = BlobBody::begin(&answer, digest, 0);
        }
        match begin? {
            Some(begin) => BlobBody::new(answer, digest, begin, size),
            None if answer.status == StatusCode::PARTIAL_CONTENT => Err(wrong_length(digest, "shorter")),
            // Whatever it says, it may be something that is not for the caller to know.
            None => Err(refused_silently(answer, digest.as_str())),
        }
    }

    /// HTTP for a place that a descriptor names: with nobody's credentials and certificates.
    fn http_elsewhere(&self, origin: &Origin) -> Result<Http> {
        let mut guard = Guard { anywhere: self.urls.hosts.clone(), plain: Vec::new() };
        let mut tls = TlsSettings::new(false);
        let mut is_own = false;
        // What the call and the files say of the registry itself is known already.
        if let Some(own) = self.servers.iter().rfind(|server| server.host.is_origin) {
            let Host { host, port, trust, scheme, .. } = &own.host;
            for port in port.map_or(vec![443, 80], |port| vec![port]) {
                is_own |= *host == origin.host && port == origin.port;
                guard.anywhere.push(format!("{host}:{port}"));
                tls.set(host, port, Trust { client: None, ..trust.clone() });
                if *scheme != Scheme::Https {
                    guard.plain.push(Origin { https: false, host: host.clone(), port }.authority());
                }
            }
        }
        if !is_own {
            let (insecure, trust) = settings::elsewhere(&self.places, origin)?;
            tls.set(&origin.host, origin.port, trust);
            guard.plain.extend(insecure.then(|| origin.authority()));
        }
        Ok(self.http.guarded(tls, guard))
    }
}

/// The error for a blob that could be had from nowhere.
fn nowhere(digest: &Digest, mut failed: Vec<Error>) -> Error {
    let more = failed.len().saturating_sub(SHOWN);
    let texts: Vec<String> = failed.iter().take(SHOWN).map(|error| error.message().to_owned()).collect();
    let Some(last) = failed.pop() else {
        // All were given up before.
        let text = format!("{digest} is at none of the URLs that its manifest names");
        return Error::new(ErrorKind::Registry, text).with_object(digest.as_str());
    };
    let mut text =
        format!("{digest} is not in the registry, nor where its manifest says: {}", texts.join("; "));
    if more > 0 {
        text.push_str(&format!("; and {more} more"));
    }
    let error = Error::new(last.kind(), text).with_object(digest.as_str());
    match last.hint() {
        Some(hint) => error.with_hint(hint),
        None => error,
    }
}

/// Whether a status says that there is nothing.
pub(super) fn is_absent(status: StatusCode) -> bool {
    matches!(status, StatusCode::NOT_FOUND | StatusCode::GONE)
}
