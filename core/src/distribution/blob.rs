//! Blobs: fetch from an offset on, look, mount.

use std::cell::Cell;
use std::io::{self, Read};
use std::sync::PoisonError;

use ureq::http::header::RANGE;
use ureq::http::{Method, StatusCode};

use super::answer::refused;
use super::auth::Scopes;
use super::client::Client;
use super::elsewhere::is_absent;
use super::net::{Answer, BodyReader, Turn, encode};
use super::server::{Ask, Server};
use super::upload::Location;
use crate::content::{mismatch, read_small};
use crate::error::{Error, ErrorKind, Result};
use crate::oci::{Algorithm, Digest, Hasher};

/// A blob on its way. Not verified: who reads it hashes it anyway. It gives no more than was announced, and is an error if there is less or more.
pub(crate) struct BlobBody {
    inner: Option<BodyReader>,
    offset: u64,
    left: u64,
    /// Whether the length was announced, so that an end before its time is a cut connection.
    announced: bool,
    /// What came instead of the end, for the next one who reads.
    no_end: Option<io::Error>,
    digest: Digest,
    mirror: Option<String>,
    /// Which of the URLs of its descriptor it is from, if it is from one.
    pub(super) url: Option<usize>,
}

impl BlobBody {
    /// Who sends it, if that is not the registry itself.
    pub(crate) fn mirror(&self) -> Option<&str> {
        self.mirror.as_deref()
    }

    /// The turn that it is read under, for whoever takes care to have it until then. None if there is nothing to read.
    pub(super) fn take_turn(&mut self) -> Option<Turn> {
        self.inner.as_mut().and_then(BodyReader::take_turn)
    }

    /// Where in the blob the first byte is: 0 if the registry does not know ranges.
    pub(crate) fn offset(&self) -> u64 {
        self.offset
    }
}

impl BlobBody {
    /// Where in the blob an answer begins; None if it is something else than was asked for, or no success.
    pub(super) fn begin(answer: &Answer, digest: &Digest, offset: u64) -> Result<Option<u64>> {
        Ok(match answer.status {
            StatusCode::OK => Some(0),
            StatusCode::PARTIAL_CONTENT => {
                answer.header("content-range").and_then(begin_of).filter(|begin| *begin == offset)
            }
            StatusCode::RANGE_NOT_SATISFIABLE => return Err(wrong_length(digest, "shorter")),
            _ => None,
        })
    }

    /// The body of an answer that begins at an offset of a blob of that size.
    pub(super) fn new(answer: Answer, digest: &Digest, begin: u64, size: u64) -> Result<BlobBody> {
        let left = size.saturating_sub(begin);
        let length = answer.length();
        match length {
            Some(length) if length > left => return Err(wrong_length(digest, "longer")),
            Some(length) if length < left => return Err(wrong_length(digest, "shorter")),
            _ => {}
        }
        Ok(BlobBody {
            inner: Some(answer.reader()),
            offset: begin,
            left,
            announced: length.is_some(),
            no_end: None,
            digest: digest.clone(),
            mirror: None,
            url: None,
        })
    }

    /// Reads the end of the body as soon as all bytes are there: whoever knows how many those are asks for no more, and the connection can be used again.
    fn finish(&mut self) {
        let Some(mut inner) = self.inner.take() else { return };
        self.no_end = match inner.read(&mut [0]) {
            Ok(0) => None,
            Ok(_) => Some(io::Error::other(wrong_length(&self.digest, "longer"))),
            Err(error) => Some(error),
        };
    }
}

impl Read for BlobBody {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        if self.left == 0 {
            self.finish();
            return self.no_end.take().map_or(Ok(0), Err);
        }
        let Some(inner) = &mut self.inner else { return Ok(0) };
        let space = usize::try_from(self.left).map_or(buffer.len(), |left| left.min(buffer.len()));
        let amount = inner.read(buffer.get_mut(..space).unwrap_or_default())?;
        self.left -= amount as u64;
        match amount {
            0 if self.announced => {
                let text = format!("the connection was cut in the middle of \"{}\"", self.digest);
                Err(io::Error::other(Error::new(ErrorKind::Network, text).transient()))
            }
            0 => Err(io::Error::other(wrong_length(&self.digest, "shorter"))),
            amount => {
                if self.left == 0 {
                    self.finish();
                }
                Ok(amount)
            }
        }
    }
}

pub(super) fn wrong_length(digest: &Digest, how: &str) -> Error {
    Error::new(ErrorKind::DigestMismatch, format!("\"{digest}\" is {how} than announced"))
        .with_object(digest.as_str())
}

impl Client<'_> {
    /// A blob from an offset on. An error in the middle of it is one of [`std::io::Error`] that holds an [`Error`]; see [`Error::of_read`].
    pub(crate) fn blob(&self, digest: &Digest, offset: u64, size: u64) -> Result<BlobBody> {
        self.blob_for(digest, offset, size, None)
    }

    /// As [`Client::blob`], for a host that it is passed on to as it comes, if there is one. The turn of the body is one with that host, too.
    pub(super) fn blob_for(
        &self,
        digest: &Digest,
        offset: u64,
        size: u64,
        target: Option<&str>,
    ) -> Result<BlobBody> {
        self.blob_noting(digest, offset, size, target, &Cell::new(false))
    }

    /// As [`Client::blob_for`]; whether the last one who was asked has said that there is no such blob is noted.
    pub(super) fn blob_noting(
        &self,
        digest: &Digest,
        offset: u64,
        size: u64,
        target: Option<&str>,
        missing: &Cell<bool>,
    ) -> Result<BlobBody> {
        if offset >= size && size > 0 {
            return Ok(BlobBody {
                inner: None,
                offset: size,
                left: 0,
                announced: true,
                no_end: None,
                digest: digest.clone(),
                mirror: None,
                url: None,
            });
        }
        self.first_of(digest.as_str(), true, |server| {
            self.blob_from(server, digest, (offset, size), target, missing)
        })
    }

    fn blob_from(
        &self,
        server: &Server,
        digest: &Digest,
        (offset, size): (u64, u64),
        target: Option<&str>,
        missing: &Cell<bool>,
    ) -> Result<BlobBody> {
        missing.set(false);
        let mut ask = self.request(server, Method::GET, &format!("blobs/{digest}"))?;
        ask.passed_on_to = target;
        if offset > 0 {
            ask = ask.header(RANGE, format!("bytes={offset}-{}", size - 1));
        }
        let answer = self.ask(server, &ask)?;
        let begin = match BlobBody::begin(&answer, digest, offset)? {
            Some(begin) => begin,
            None if answer.status != StatusCode::PARTIAL_CONTENT => {
                missing.set(is_absent(answer.status));
                return Err(refused(answer, digest.as_str()));
            }
            // It does not do what it says of ranges, so it is asked for everything.
            None if offset > 0 => {
                drop(answer);
                return self.blob_from(server, digest, (0, size), target, missing);
            }
            None => {
                let text = format!(
                    "\"{}\" sent another part of \"{digest}\" than was asked for",
                    server.host.authority()
                );
                return Err(Error::new(ErrorKind::Registry, text).with_object(digest.as_str()));
            }
        };
        Client::check_namespace(server, &answer)?;
        let mut body = BlobBody::new(answer, digest, begin, size)?;
        body.mirror = self.is_mirror(server).then(|| server.host.authority());
        Ok(body)
    }

    /// A small blob, all of it and verified. What a mirror has in its place is asked of the registry.
    pub(super) fn small_blob(&self, digest: &Digest, size: u64) -> Result<Vec<u8>> {
        loop {
            let mut body = self.blob(digest, 0, size)?;
            let mirrored = body.mirror().is_some();
            let read = read_small(&mut body, size, digest.as_str());
            match read.and_then(|bytes| verified(bytes, digest, size)) {
                Err(error) if mirrored && error.kind() == ErrorKind::DigestMismatch => {
                    self.distrust_mirrors(error.message());
                }
                result => return result,
            }
        }
    }

    /// Whether the repository has a blob.
    pub(crate) fn blob_exists(&self, digest: &Digest) -> Result<bool> {
        self.first_of(digest.as_str(), true, |server| self.has_blob(server, digest))
    }

    /// As [`Client::blob_exists`], asked once.
    pub(super) fn has_blob(&self, server: &Server, digest: &Digest) -> Result<bool> {
        let answer = self.ask(server, &self.request(server, Method::HEAD, &format!("blobs/{digest}"))?)?;
        let exists = match answer.status {
            StatusCode::OK => true,
            // A registry that is not to be asked is sent everything.
            StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED => false,
            _ => return Err(refused(answer, digest.as_str())),
        };
        answer.discard();
        Ok(exists)
    }

    /// Makes a blob of another repository of the registry one of this one; without a name the registry may look for one. False if it has to be sent.
    pub(crate) fn mount(&self, digest: &Digest, from: Option<&str>) -> Result<bool> {
        let server = self.origin()?;
        let mut rest = format!("blobs/uploads/?mount={}", encode(digest.as_str()));
        let mut scopes = self.scopes.clone();
        if let Some(from) = from {
            rest.push_str(&format!("&from={}", encode(from)));
            scopes = scopes.and(Scopes::repository(from, &["pull"]));
        }
        self.persist(digest.as_str(), || {
            let url = server.url(&self.http, &rest)?;
            let answer = match self.ask(server, &Ask::new(Method::POST, url, &scopes)) {
                // Whoever may not read the other repository has to send.
                Err(error) if error.kind() == ErrorKind::Unauthorized => return Ok(false),
                result => result?,
            };
            match answer.status {
                StatusCode::CREATED => {
                    answer.discard();
                    let opened = self.sessions.lock().unwrap_or_else(PoisonError::into_inner).remove(digest);
                    if let Some(opened) = opened {
                        self.abandon(server, &opened);
                    }
                    Ok(true)
                }
                StatusCode::ACCEPTED => {
                    // It will be sent in the session that was opened. One for another algorithm is of no use.
                    let location = Location::of(&answer)?;
                    answer.discard();
                    if digest.algorithm() == Algorithm::Sha256 {
                        let mut sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
                        let another = sessions.insert(digest.clone(), location);
                        drop(sessions);
                        // One is enough.
                        if let Some(another) = another {
                            self.abandon(server, &another);
                        }
                    } else {
                        self.abandon(server, &location);
                    }
                    Ok(false)
                }
                status if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS => {
                    Err(refused(answer, digest.as_str()))
                }
                // That it cannot be mounted, or not by us, is no reason not to send it.
                _ => {
                    answer.discard();
                    Ok(false)
                }
            }
        })
    }
}

/// Checks the size and the digest of a small thing.
pub(super) fn verified(bytes: Vec<u8>, digest: &Digest, size: u64) -> Result<Vec<u8>> {
    if bytes.len() as u64 != size {
        return Err(Error::new(
            ErrorKind::DigestMismatch,
            format!("{digest} has {} bytes instead of {size}", bytes.len()),
        )
        .with_object(digest.as_str()));
    }
    let mut hasher = Hasher::new(digest.algorithm());
    hasher.update(&bytes);
    let found = hasher.finish();
    if found == *digest { Ok(bytes) } else { Err(mismatch(digest, &found)) }
}

/// The first byte of `bytes 10-19/20`.
fn begin_of(range: &str) -> Option<u64> {
    range.trim().strip_prefix("bytes")?.trim_start().split('-').next()?.trim().parse().ok()
}

#[cfg(any(test, fuzzing))]
pub(super) fn fuzz(text: &str) -> bool {
    begin_of(text).is_some()
}
