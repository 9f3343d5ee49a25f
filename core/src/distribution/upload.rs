//! Sending a blob: whole, or in pieces, and on from where it stopped when the connection was cut.

use std::sync::PoisonError;
use std::time::Duration;

use ureq::http::header::{CONTENT_RANGE, CONTENT_TYPE, LOCATION};
use ureq::http::{Method, StatusCode, Uri};

use super::answer::refused;
use super::client::{Client, Reopen};
use super::net::{Answer, Origin, Patience, Request, join, with_query};
use super::server::{Ask, Body, Server};
use crate::cancel::CancelToken;
use crate::error::{Error, ErrorKind, Result};
use crate::oci::{Algorithm, Digest};

/// Blobs up to this size are offered with the request that would open a session.
const SINGLE_POST: u64 = 16 << 10;
/// The smallest piece that is sent, however small a one is asked for: each costs a round trip.
const MIN_CHUNK: u64 = 64 << 10;
const OCTETS: &str = "application/octet-stream";

/// An upload session: where its next request goes.
#[derive(Debug, Clone)]
pub(super) struct Location {
    url: Uri,
    /// The smallest piece that the registry takes.
    min_chunk: u64,
}

impl Location {
    /// The session of an answer, which may be relative, and may be on another server.
    pub(super) fn of(answer: &Answer) -> Result<Location> {
        let authority = answer.origin().authority();
        let text = answer.header(LOCATION.as_str()).ok_or_else(|| {
            Error::new(ErrorKind::Registry, format!("\"{authority}\" opened an upload without saying where"))
        })?;
        let url = join(&answer.url, text)?;
        let (from, to) = (answer.origin(), Origin::of(&url));
        if from.https && !to.https {
            let text =
                format!("\"{authority}\" wants an upload to be sent to \"{to}\", which is not encrypted");
            return Err(Error::new(ErrorKind::Registry, text)
                .with_object(authority)
                .with_hint("a proxy in front of the registry may have to pass on X-Forwarded-Proto"));
        }
        let min_chunk = answer.header("oci-chunk-min-length").and_then(|text| text.parse().ok()).unwrap_or(0);
        Ok(Location { url, min_chunk })
    }

    /// As said by a later answer of the session; what that leaves out stays.
    fn next(self, answer: &Answer) -> Result<Location> {
        if answer.headers.get(LOCATION).is_none() {
            return Ok(self);
        }
        let next = Location::of(answer)?;
        Ok(Location { min_chunk: next.min_chunk.max(self.min_chunk), ..next })
    }
}

/// A blob being sent.
struct Upload<'b> {
    digest: &'b Digest,
    size: u64,
    content: &'b dyn Reopen,
    chunk: Option<u64>,
    sent: &'b dyn Fn(u64),
}

/// How far a session has come.
enum Step {
    Done,
    /// Go on from here.
    At(Location, u64),
}

impl Client<'_> {
    /// Sends a blob; in pieces of `chunk` bytes if that is given. `sent` gets how much the registry has, which may go back.
    pub(crate) fn upload(
        &self,
        digest: &Digest,
        size: u64,
        content: &dyn Reopen,
        chunk: Option<u64>,
        sent: &dyn Fn(u64),
    ) -> Result<()> {
        let server = self.origin()?;
        let upload = Upload { digest, size, content, chunk, sent };
        let opened = self.sessions.lock().unwrap_or_else(PoisonError::into_inner).remove(digest);
        let mut session = opened.map(|location| (location, 0));
        let mut failed_before = false;
        let result = self.persist(digest.as_str(), || {
            if std::mem::replace(&mut failed_before, true) {
                // The answer to the last request may be all that was lost.
                if self.has_blob(server, digest)? {
                    return Ok(());
                }
                // A question without an answer leaves the session as it was.
                if let Some((location, _)) = session.clone() {
                    session = self.status(server, &upload, location)?;
                }
            }
            self.send(server, &upload, &mut session)
        });
        if result.is_err()
            && let Some((location, _)) = session
        {
            self.abandon(server, &location);
        }
        result
    }

    /// Sends what is left, with the session in a place where it is found when this fails.
    fn send(
        &self,
        server: &Server,
        upload: &Upload<'_>,
        session: &mut Option<(Location, u64)>,
    ) -> Result<()> {
        loop {
            let (location, offset) = match session.take() {
                Some(open) => open,
                None => match self.open(server, upload)? {
                    Step::Done => {
                        (upload.sent)(upload.size);
                        return Ok(());
                    }
                    Step::At(location, offset) => (location, offset),
                },
            };
            *session = Some((location.clone(), offset));
            (upload.sent)(offset);
            let whole = offset == 0 && upload.chunk.is_none();
            let step = if whole || offset == upload.size {
                self.close(server, upload, location, offset)?
            } else {
                self.piece(server, upload, location, offset)?
            };
            match step {
                Step::Done => {
                    *session = None;
                    (upload.sent)(upload.size);
                    return Ok(());
                }
                Step::At(location, offset) => *session = Some((location, offset)),
            }
        }
    }

    /// Opens a session. A small blob is sent along, which spares a request where the registry takes it.
    fn open(&self, server: &Server, upload: &Upload<'_>) -> Result<Step> {
        let digest = upload.digest;
        if upload.chunk.is_none() && upload.size <= SINGLE_POST {
            let url = server
                .url(&self.http, &format!("blobs/uploads/?digest={}", super::net::encode(digest.as_str())))?;
            let content =
                Body::Content { content: upload.content, offset: 0, size: upload.size, sent: upload.sent };
            let ask = Ask::new(Method::POST, url, &self.scopes).header(CONTENT_TYPE, OCTETS).body(content);
            let answer = self.ask(server, &ask)?;
            match answer.status {
                StatusCode::CREATED => {
                    answer.discard();
                    return Ok(Step::Done);
                }
                // Another algorithm than the usual one has to be said when a session is opened.
                StatusCode::ACCEPTED if digest.algorithm() == Algorithm::Sha256 => {
                    let location = Location::of(&answer)?;
                    answer.discard();
                    return Ok(Step::At(location, 0));
                }
                StatusCode::ACCEPTED => {
                    let location = Location::of(&answer)?;
                    answer.discard();
                    self.abandon(server, &location);
                }
                // Registries that do not know this way have many words for it.
                StatusCode::BAD_REQUEST
                | StatusCode::NOT_FOUND
                | StatusCode::METHOD_NOT_ALLOWED
                | StatusCode::LENGTH_REQUIRED
                | StatusCode::UNSUPPORTED_MEDIA_TYPE
                | StatusCode::NOT_IMPLEMENTED => answer.discard(),
                _ => return Err(refused(answer, digest.as_str())),
            }
        }
        let mut rest = "blobs/uploads/".to_owned();
        if digest.algorithm() != Algorithm::Sha256 {
            rest.push_str(&format!("?digest-algorithm={}", digest.algorithm().name()));
        }
        let answer = self.ask(server, &self.request(server, Method::POST, &rest)?)?;
        match answer.status {
            StatusCode::ACCEPTED => {
                let location = Location::of(&answer)?;
                answer.discard();
                Ok(Step::At(location, 0))
            }
            StatusCode::CREATED => {
                answer.discard();
                Ok(Step::Done)
            }
            _ => Err(refused(answer, digest.as_str())),
        }
    }

    /// The closing request, with everything if nothing has been sent.
    fn close(&self, server: &Server, upload: &Upload<'_>, location: Location, offset: u64) -> Result<Step> {
        let url = with_query(&location.url, &[("digest", upload.digest.as_str())])?;
        let mut ask = Ask::new(Method::PUT, url, &self.scopes).header(CONTENT_TYPE, OCTETS);
        if offset < upload.size {
            let Upload { content, size, sent, .. } = *upload;
            ask = ask.body(Body::Content { content, offset, size: size - offset, sent });
        }
        let answer = self.ask(server, &ask)?;
        match answer.status {
            StatusCode::CREATED | StatusCode::OK | StatusCode::NO_CONTENT => {
                let stored = answer.header("docker-content-digest").and_then(|text| Digest::parse(text).ok());
                answer.discard();
                let same = |stored: &Digest| {
                    stored == upload.digest || stored.algorithm() != upload.digest.algorithm()
                };
                match stored {
                    Some(stored) if !same(&stored) => {
                        let text = format!(
                            "\"{}\" stored \"{stored}\" instead of \"{}\"",
                            server.host.authority(),
                            upload.digest
                        );
                        Err(Error::new(ErrorKind::DigestMismatch, text).with_object(upload.digest.as_str()))
                    }
                    _ => Ok(Step::Done),
                }
            }
            _ => Err(out_of_step(upload, answer)),
        }
    }

    /// One piece. The range is inclusive at both ends; each answer says where the next one goes.
    fn piece(&self, server: &Server, upload: &Upload<'_>, location: Location, offset: u64) -> Result<Step> {
        let left = upload.size - offset;
        let length =
            upload.chunk.map_or(left, |chunk| chunk.max(MIN_CHUNK).max(location.min_chunk)).min(left);
        let ask = Ask::new(Method::PATCH, location.url.clone(), &self.scopes)
            .header(CONTENT_TYPE, OCTETS)
            .header(CONTENT_RANGE, format!("{offset}-{}", offset + length - 1))
            .body(Body::Content { content: upload.content, offset, size: length, sent: upload.sent });
        let answer = self.ask(server, &ask)?;
        match answer.status {
            StatusCode::ACCEPTED | StatusCode::CREATED | StatusCode::NO_CONTENT | StatusCode::OK => {
                let reached = reached(&answer).unwrap_or(offset + length);
                let location = location.next(&answer)?;
                answer.discard();
                if reached <= offset || reached > upload.size {
                    let text = format!(
                        "\"{}\" has {reached} bytes of \"{}\" after those up to {} were sent",
                        server.host.authority(),
                        upload.digest,
                        offset + length
                    );
                    return Err(Error::new(ErrorKind::Registry, text).with_object(upload.digest.as_str()));
                }
                Ok(Step::At(location, reached))
            }
            _ => Err(out_of_step(upload, answer)),
        }
    }

    /// Where a session stands; None if it is gone, or the registry does not say.
    fn status(
        &self,
        server: &Server,
        upload: &Upload<'_>,
        location: Location,
    ) -> Result<Option<(Location, u64)>> {
        let ask = Ask::new(Method::GET, location.url.clone(), &self.scopes);
        let answer = self.ask(server, &ask)?;
        match answer.status {
            StatusCode::NO_CONTENT | StatusCode::OK | StatusCode::ACCEPTED => {
                let reached = reached(&answer).unwrap_or(0);
                let location = location.next(&answer)?;
                answer.discard();
                if reached > upload.size {
                    // Whatever it has, it is not the blob.
                    self.abandon(server, &location);
                    return Ok(None);
                }
                Ok(Some((location, reached)))
            }
            status if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS => {
                Err(refused(answer, "upload"))
            }
            _ => {
                answer.discard();
                self.abandon(server, &location);
                Ok(None)
            }
        }
    }

    /// Tells the registry that a session will not be used any more. Whether it hears that does not matter, and it is not waited for: the caller may have
    /// cancelled.
    pub(super) fn abandon(&self, server: &Server, location: &Location) {
        let ask = Ask::new(Method::DELETE, location.url.clone(), &self.scopes);
        if !self.cancel.is_cancelled() {
            if let Ok(answer) = server.ask(&self.http, &ask) {
                answer.discard();
            }
            return;
        }
        let brief = Duration::from_millis(300);
        let patience = Patience { connect: brief, idle: brief, turn: Some(brief) };
        if let Ok(request) = server.farewell(Request::new(Method::DELETE, location.url.clone())) {
            let _ = self.http.again(patience, &CancelToken::never()).send(request).map(Answer::discard);
        }
    }
}

/// The error of a request that a session refused. Either the registry is elsewhere than we are, which it tells when it is asked, or the session is over, and
/// a new one is begun: both are worth another try.
fn out_of_step(upload: &Upload<'_>, answer: Answer) -> Error {
    let passes = matches!(answer.status, StatusCode::RANGE_NOT_SATISFIABLE | StatusCode::NOT_FOUND);
    let error = refused(answer, upload.digest.as_str());
    if passes { error.transient() } else { error }
}

/// How many bytes a registry has: `Range: 0-99` are a hundred. None if it does not say; `0-0` is what some say of nothing.
fn reached(answer: &Answer) -> Option<u64> {
    let text = answer.header("range")?;
    let text = text.strip_prefix("bytes=").unwrap_or(text);
    match text.split_once('-')? {
        ("0", "0" | "-1") => Some(0),
        (_, end) => end.parse::<u64>().ok()?.checked_add(1),
    }
}
